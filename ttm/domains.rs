// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Domains that user space requests for a buffer object (`amdgpu_bo_placement_from_domain`).

use kernel::prelude::*;

use crate::{
    abstractions::drm::ttm::{
        MemType,
        Place,
        Placement, //
    },
    bindings, //
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
    pub(crate) const CPU: Self = Self(CPU);

    /// Returns the domains that user space requests for a new object, or `EINVAL` for any other
    /// bits.
    pub(crate) fn from_user(domains: u64) -> Result<Self> {
        let domains = u32::try_from(domains).map_err(|_| EINVAL)?;
        if domains & !(VRAM | GTT | CPU) != 0 {
            return Err(EINVAL);
        }
        Ok(Self(domains))
    }

    /// Returns the domains that user space requests for an existing object. Other bits are ignored.
    pub(crate) fn masked(domains: u64) -> Self {
        // CAST: The bits that are cut off would be ignored.
        Self(domains as u32 & (VRAM | GTT | CPU))
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Returns true if these domains include all of `others`.
    pub(crate) fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Returns these domains and GTT.
    #[must_use]
    pub(crate) fn or_gtt(self) -> Self {
        Self(self.0 | GTT)
    }

    /// Returns the places to try, best first, for an object that prefers these domains.
    ///
    /// An object that prefers VRAM may also be used from GTT, when there is no room.
    pub(crate) fn placement(self) -> Placement {
        const IN_VRAM: Place = Place::new(MemType::VRAM).contiguous();
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_domains)]
mod tests {
    use super::*;

    #[test]
    fn from_user() {
        for good in [0, 1, 2, 4, 7] {
            assert_eq!(Domains::from_user(good).map(Domains::bits), Ok(good as u32));
        }
        for bad in [8, 0x10, 0x20, 0x40, 0x80, 6 | 8, 1 << 32, u64::MAX] {
            assert_eq!(Domains::from_user(bad), Err(EINVAL));
        }
        assert_eq!(Domains::masked(u64::MAX), Domains(7));
        assert_eq!(Domains::masked(1 << 34), Domains(0));
    }

    #[test]
    fn places() {
        let first = |bits| Domains(bits).placement().places()[0].mem_type();
        let count = |bits| Domains(bits).placement().places().len();

        assert_eq!((first(VRAM), count(VRAM)), (MemType::VRAM, 1));
        assert_eq!((first(GTT), count(GTT)), (MemType::TT, 1));
        assert_eq!((first(CPU), count(CPU)), (MemType::SYSTEM, 1));
        assert_eq!((first(0), count(0)), (MemType::SYSTEM, 1));
        assert_eq!((first(VRAM | GTT), count(VRAM | GTT)), (MemType::VRAM, 2));
        assert_eq!((first(GTT | CPU), count(GTT | CPU)), (MemType::TT, 1));
    }
}
