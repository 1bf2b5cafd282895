// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The mode register (ISA manual, "MODE register"): rounding, denormals, clamping, exceptions.

/// Rounding directions, as encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rounding {
    NearestEven,
    Up,
    Down,
    Zero,
}

/// Denormals that are kept, of operands and of results. One that is not kept becomes a zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Denormals {
    pub input: bool,
    pub output: bool,
}

impl Denormals {
    /// All of them.
    pub const KEEP: Denormals = Denormals { input: true, output: true };
    /// None.
    pub const FLUSH: Denormals = Denormals { input: false, output: false };

    fn from_bits(bits: u32) -> Self {
        Denormals { input: bits & 1 != 0, output: bits & 2 != 0 }
    }
}

/// The mode register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Mode {
    const DX10_CLAMP: u32 = 1 << 8;
    const IEEE: u32 = 1 << 9;
    /// Bits that may be set: FP_ROUND, FP_DENORM, DX10_CLAMP, IEEE.
    pub const KNOWN: u32 = 0x3ff;

    /// From COMPUTE_PGM_RSRC1: FLOAT_MODE, DX10_CLAMP, IEEE_MODE.
    pub fn from_rsrc1(rsrc1: u32) -> Mode {
        let clamp = if rsrc1 & 1 << 21 != 0 { Self::DX10_CLAMP } else { 0 };
        let ieee = if rsrc1 & 1 << 23 != 0 { Self::IEEE } else { 0 };
        Mode(rsrc1 >> 12 & 0xff | clamp | ieee)
    }

    fn rounding(bits: u32) -> Rounding {
        [Rounding::NearestEven, Rounding::Up, Rounding::Down, Rounding::Zero][(bits & 3) as usize]
    }

    /// Of single precision.
    pub fn single(self) -> crate::float::Env {
        crate::float::Env {
            rounding: Self::rounding(self.0),
            denormals: Denormals::from_bits(self.0 >> 4),
        }
    }

    /// Of double and half precision.
    pub fn double(self) -> crate::float::Env {
        crate::float::Env {
            rounding: Self::rounding(self.0 >> 2),
            denormals: Denormals::from_bits(self.0 >> 6),
        }
    }

    /// CLAMP turns a NaN into 0.
    pub fn dx10_clamp(self) -> bool {
        self.0 & Self::DX10_CLAMP != 0
    }

    /// A signaling NaN goes through minima and maxima, quiet.
    pub fn ieee(self) -> bool {
        self.0 & Self::IEEE != 0
    }
}
