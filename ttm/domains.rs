// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Domains that user space requests for a buffer object (`amdgpu_bo_placement_from_domain`).

use kernel::prelude::*;

use crate::{
    abstractions::drm::ttm::{
        MemType,
        Place,
        Placement, //
    },
    bindings,
    drm::DrmDevice,
    hw::{
        on_chip::OnChipKind,
        page_table::PAGE_SHIFT, //
    },
};

use super::on_chip::OnChipExt;

const VRAM: u32 = bindings::AMDGPU_GEM_DOMAIN_VRAM;
const GTT: u32 = bindings::AMDGPU_GEM_DOMAIN_GTT;
const CPU: u32 = bindings::AMDGPU_GEM_DOMAIN_CPU;
const GDS: u32 = bindings::AMDGPU_GEM_DOMAIN_GDS;
const GWS: u32 = bindings::AMDGPU_GEM_DOMAIN_GWS;
const OA: u32 = bindings::AMDGPU_GEM_DOMAIN_OA;

/// The part of VRAM that an object may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it. The part that the CPU does not see is preferred.
    Any,
    /// As many pages at the start, which the CPU sees.
    Visible(u64),
    /// The rest, behind as many pages, which the CPU sees.
    Invisible(u64),
}

impl Part {
    /// Returns the part that the CPU sees.
    pub(super) fn visible(dev: &DrmDevice) -> Self {
        let vram = &dev.facts.vram;
        if vram.is_all_visible() {
            Self::Any
        } else {
            Self::Visible(vram.visible >> PAGE_SHIFT)
        }
    }

    /// Returns the part for a new object with these flags, `AMDGPU_GEM_CREATE_*`. When no engine
    /// can clear it, the CPU has to.
    pub(super) fn of_new(dev: &DrmDevice, flags: u32) -> Self {
        let required = flags & bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED != 0;
        if required || dev.schedulers.is_given_up() {
            Self::visible(dev)
        } else {
            Self::Any
        }
    }

    /// Returns the place in VRAM.
    pub(crate) const fn place(self) -> Place {
        const VRAM: Place = Place::new(MemType::VRAM);

        match self {
            Self::Any => VRAM.top_down(),
            Self::Visible(pages) => VRAM.within(0..pages),
            Self::Invisible(pages) => VRAM.within(pages..0),
        }
    }
}

/// A set of `AMDGPU_GEM_DOMAIN_*` out of VRAM, GTT (system memory that the GPU reaches) and CPU
/// (system memory that it does not). The empty set means the same as CPU. Or else one kind of
/// on-chip memory: GDS, GWS or OA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domains(u32);

impl Domains {
    pub(crate) const VRAM: Self = Self(VRAM);
    pub(crate) const GTT: Self = Self(GTT);
    pub(crate) const CPU: Self = Self(CPU);

    /// Returns the domains that user space requests for a new object, or `EINVAL` for any other
    /// bits.
    pub(crate) fn from_user(domains: u64) -> Result<Self> {
        let domains = Self(u32::try_from(domains).map_err(|_| EINVAL)?);
        if domains.0 & !(VRAM | GTT | CPU) != 0 && domains.on_chip().is_none() {
            return Err(EINVAL);
        }
        Ok(domains)
    }

    /// Returns the kind of on-chip memory, if the domains are that.
    pub(crate) fn on_chip(self) -> Option<OnChipKind> {
        match self.0 {
            GDS => Some(OnChipKind::Gds),
            GWS => Some(OnChipKind::Gws),
            OA => Some(OnChipKind::Oa),
            _ => None,
        }
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
    /// An object that prefers VRAM may also be used from GTT, when there is no room in this `part`
    /// of VRAM.
    pub(crate) fn placement(self, part: Part) -> Placement {
        const IN_GTT: Place = Place::new(MemType::TT);
        const IN_SYSTEM: Place = Place::new(MemType::SYSTEM);

        if let Some(kind) = self.on_chip() {
            return Placement::new(&[Place::new(kind.mem_type())]);
        }
        match self.0 & (VRAM | GTT) {
            VRAM => Placement::new(&[part.place()]),
            GTT => const { Placement::new(&[IN_GTT]) },
            0 => const { Placement::new(&[IN_SYSTEM]) },
            _ => Placement::new(&[part.place().desired(), IN_GTT.fallback()]),
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
        for bad in [
            0x40,
            0x80,
            6 | 8,
            8 | 0x10,
            0x38,
            1 | 0x20,
            1 << 32,
            u64::MAX,
        ] {
            assert_eq!(Domains::from_user(bad), Err(EINVAL));
        }
        for (bits, kind) in [8, 0x10, 0x20].into_iter().zip(OnChipKind::ALL) {
            assert_eq!(
                Domains::from_user(bits).map(Domains::on_chip),
                Ok(Some(kind))
            );
        }
        assert_eq!(Domains::masked(u64::MAX), Domains(7));
        assert_eq!(Domains::masked(1 << 34), Domains(0));
    }

    #[test]
    fn places() {
        let placement = |bits| Domains(bits).placement(Part::Any);
        let first = |bits| placement(bits).places()[0].mem_type();
        let count = |bits| placement(bits).places().len();

        assert_eq!((first(VRAM), count(VRAM)), (MemType::VRAM, 1));
        assert_eq!((first(GTT), count(GTT)), (MemType::TT, 1));
        assert_eq!((first(CPU), count(CPU)), (MemType::SYSTEM, 1));
        assert_eq!((first(0), count(0)), (MemType::SYSTEM, 1));
        assert_eq!((first(VRAM | GTT), count(VRAM | GTT)), (MemType::VRAM, 2));
        assert_eq!((first(GTT | CPU), count(GTT | CPU)), (MemType::TT, 1));
        for (bit, kind) in [GDS, GWS, OA].into_iter().zip(OnChipKind::ALL) {
            assert_eq!((first(bit), count(bit)), (kind.mem_type(), 1));
        }
    }

    #[test]
    fn parts() {
        let vram = |part| Domains::VRAM.or_gtt().placement(part).places()[0];
        assert!(vram(Part::Any).is_top_down());
        assert_eq!(vram(Part::Any).pages(), 0..0);
        assert_eq!(vram(Part::Visible(5)).pages(), 0..5);
        assert_eq!(vram(Part::Invisible(5)).pages(), 5..0);
        assert!(!vram(Part::Visible(5)).is_top_down());
    }
}
