// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Microcode: taken in through the upload ports, counted, not executed. An engine that is let go
//! without any is a violation, and stays still, as on a card.

use crate::{
    gpu::Gpu,
    regs::index::*, //
};

/// Dwords written to each upload port since power-up.
#[derive(Default)]
pub struct Ucode {
    pfp: u32,
    ce: u32,
    me: u32,
    mec: u32,
    sdma: [u32; 2],
}

impl Ucode {
    /// Counts a write to `reg`, if that is an upload port.
    pub fn written(&mut self, reg: u32) {
        let port = match reg {
            CP_PFP_UCODE_DATA => &mut self.pfp,
            CP_CE_UCODE_DATA => &mut self.ce,
            CP_ME_RAM_DATA => &mut self.me,
            CP_MEC_ME1_UCODE_DATA => &mut self.mec,
            SDMA0_UCODE_DATA => &mut self.sdma[0],
            r if r == SDMA0_UCODE_DATA + SDMA_STRIDE => &mut self.sdma[1],
            _ => return,
        };
        *port += 1;
    }

    /// The command processors were reset: their programs are gone.
    pub fn lose_cp(&mut self) {
        *self = Ucode { sdma: self.sdma, ..Ucode::default() };
    }

    /// An SDMA engine was reset: its program is gone.
    pub fn lose_sdma(&mut self, n: usize) {
        self.sdma[n] = 0;
    }

    /// Returns true if the graphics command processor has all three of its programs.
    pub fn gfx(&self) -> bool {
        self.pfp > 0 && self.ce > 0 && self.me > 0
    }

    /// Returns true if the compute micro-engine has its program.
    pub fn compute(&self) -> bool {
        self.mec > 0
    }

    /// Returns true if an SDMA engine has its program.
    pub fn sdma(&self, n: u8) -> bool {
        self.sdma[usize::from(n)] > 0
    }
}

impl Gpu {
    /// A write to a register that halts or releases an engine.
    pub(crate) fn check_ucode(&mut self, reg: u32, value: u32) {
        let (name, halted, loaded) = match reg {
            CP_ME_CNTL => ("gfx", value & (1 << 24 | 1 << 26 | 1 << 28) != 0, self.ucode.gfx()),
            CP_MEC_CNTL => ("compute", value & 1 << 30 != 0, self.ucode.compute()),
            SDMA0_F32_CNTL => ("sdma0", value & 1 != 0, self.ucode.sdma(0)),
            r if r == SDMA0_F32_CNTL + SDMA_STRIDE => ("sdma1", value & 1 != 0, self.ucode.sdma(1)),
            _ => return,
        };
        if !halted && !loaded {
            self.log.violation(
                "no-microcode",
                format!("{name} is let go before its microcode was uploaded"),
            );
        }
    }
}
