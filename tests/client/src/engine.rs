// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The engines that take submissions.

use std::{
    fmt,
    str::FromStr, //
};

use crate::uapi::{
    HW_IP_COMPUTE,
    HW_IP_DMA,
    HW_IP_GFX, //
};

/// One ring, as user space names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// The graphics ring.
    Gfx,
    /// A compute ring, 0 to 3.
    Compute(u32),
    /// An SDMA engine, 0 or 1.
    Dma(u32),
}

impl Engine {
    /// Every ring that user space may name on GFX7. The chip has eight compute queues; the
    /// interface shows at most four (`amdgpu_ctx_num_entities`).
    pub const ALL: [Self; 7] = [
        Self::Gfx,
        Self::Compute(0),
        Self::Compute(1),
        Self::Compute(2),
        Self::Compute(3),
        Self::Dma(0),
        Self::Dma(1),
    ];

    /// `AMDGPU_HW_IP_*`
    pub const fn ip_type(self) -> u32 {
        match self {
            Self::Gfx => HW_IP_GFX,
            Self::Compute(_) => HW_IP_COMPUTE,
            Self::Dma(_) => HW_IP_DMA,
        }
    }

    /// Ring number within that type.
    pub const fn ring(self) -> u32 {
        match self {
            Self::Gfx => 0,
            Self::Compute(ring) | Self::Dma(ring) => ring,
        }
    }

    /// Returns true if the ring speaks SDMA packets rather than PM4.
    pub const fn is_dma(self) -> bool {
        matches!(self, Self::Dma(_))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gfx => f.write_str("gfx"),
            Self::Compute(ring) => write!(f, "compute{ring}"),
            Self::Dma(ring) => write!(f, "dma{ring}"),
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|e| e.to_string() == name).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            format!("no engine '{name}' (there are {})", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        assert!("dma2".parse::<Engine>().is_err());
    }
}
