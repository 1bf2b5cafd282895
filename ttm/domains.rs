// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where user space asks for a buffer object to be.

use kernel::prelude::*;

use crate::{
    abstractions::drm::ttm::{
        MemType,
        Place,
        Placement, //
    },
    bindings,
};

const VRAM: u32 = bindings::AMDGPU_GEM_DOMAIN_VRAM;
const GTT: u32 = bindings::AMDGPU_GEM_DOMAIN_GTT;
const CPU: u32 = bindings::AMDGPU_GEM_DOMAIN_CPU;

/// A set of `AMDGPU_GEM_DOMAIN_*` out of VRAM, GTT (system memory that the GPU reaches) and CPU
/// (system memory that it does not). The empty set means the same as CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domains(u32);

impl Domains {
    pub(crate) const VRAM: Self = Self(VRAM);
    pub(crate) const GTT: Self = Self(GTT);

    /// What user space asks of a new object. Anything else is `EINVAL`.
    pub(crate) fn from_user(domains: u64) -> Result<Self> {
        let domains = u32::try_from(domains).map_err(|_| EINVAL)?;
        if domains & !(VRAM | GTT | CPU) != 0 {
            return Err(EINVAL);
        }
        Ok(Self(domains))
    }

    /// What user space asks of an object that is there. Anything else is left out.
    pub(crate) fn masked(domains: u64) -> Self {
        // CAST: What is cut off would be left out.
        Self(domains as u32 & (VRAM | GTT | CPU))
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn has_vram(self) -> bool {
        self.0 & VRAM != 0
    }

    /// Whether the GPU reaches an object there.
    pub(crate) fn is_for_gpu(self) -> bool {
        self.0 & (VRAM | GTT) != 0
    }

    /// The same, with GTT.
    #[must_use]
    pub(crate) fn or_gtt(self) -> Self {
        Self(self.0 | GTT)
    }

    /// The places to try, best first, for an object that these domains are preferred for.
    ///
    /// An object that prefers VRAM may also be used from GTT, when there is no room.
    pub(crate) fn placement(self) -> Placement {
        const IN_VRAM: Place = Place::new(MemType::VRAM);
        const IN_GTT: Place = Place::new(MemType::TT);
        const IN_SYSTEM: Place = Place::new(MemType::SYSTEM);

        match self.0 & (VRAM | GTT) {
            VRAM => const { Placement::new(&[IN_VRAM]) },
            GTT => const { Placement::new(&[IN_GTT]) },
            0 => const { Placement::new(&[IN_SYSTEM]) },
            _ => const { Placement::new(&[IN_VRAM.desired(), IN_GTT.fallback()]) },
        }
    }
}
