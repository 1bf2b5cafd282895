// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests for a new BO, before anything is allocated for it.
//!
//! The C driver's is `struct amdgpu_bo_param`.

use kernel::{
    num::casts::u32_as_usize,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

use super::Domains;
use crate::{
    bindings,
    drm::DrmDevice,
    hw::on_chip::OnChipKind, //
};

/// Properties of a new BO.
#[derive(Clone, Copy)]
pub(crate) struct NewBo {
    /// Size in bytes; rounded up to whole pages. In the units of on-chip memory, if the domains are
    /// that; rounded up to whole granules.
    pub(crate) size: u64,
    /// Alignment in bytes; a power of two, or less than a page. In units of on-chip memory any
    /// number, rounded up to whole granules.
    pub(crate) alignment: u64,
    pub(crate) domains: Domains,
    /// `AMDGPU_GEM_CREATE_*`.
    pub(crate) flags: u32,
}

impl NewBo {
    /// Relaxes the request after an allocation failed. Returns false if it cannot be relaxed
    /// further.
    pub(crate) fn ask_for_less(&mut self) -> bool {
        if self.flags & bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED != 0 {
            self.flags &= !bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED;
            return true;
        }
        let same = self.domains;
        if self.domains == Domains::VRAM {
            self.domains = self.domains.or_gtt();
        }
        self.domains != same
    }

    /// Returns the size in whole pages, not 0.
    pub(super) fn pages_size(&self) -> Result<usize> {
        if self.size == 0 {
            return Err(ENOSPC);
        }
        if let Some(kind) = self.domains.on_chip() {
            return Self::granules(kind, self.size).ok_or(ENOMEM);
        }
        let size = self
            .size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        usize::try_from(size).map_err(|_| EINVAL)
    }

    /// Returns the alignment in whole pages, in bytes; 0 if there is none.
    pub(super) fn pages_alignment(&self) -> Result<usize> {
        if let Some(kind) = self.domains.on_chip() {
            return Self::granules(kind, self.alignment).ok_or(EINVAL);
        }
        let alignment = self.alignment.max(PAGE_SIZE as u64);
        if !alignment.is_power_of_two() || alignment > u64::from(u32::MAX) {
            return Err(EINVAL);
        }
        usize::try_from(alignment).map_err(|_| EINVAL)
    }

    /// Returns the alignment as user space is told, in bytes.
    pub(super) fn alignment_of_bo(&self) -> u64 {
        match self.domains.on_chip() {
            // LOSSLESS: `usize` has 64 bits.
            Some(kind) => Self::granules(kind, self.alignment).unwrap_or(0) as u64,
            None => self.alignment.next_multiple_of(PAGE_SIZE as u64),
        }
    }

    /// Returns a number of units of on-chip memory, rounded up to whole granules, with a page for
    /// each, in bytes. `None` if TTM has no such number.
    fn granules(kind: OnChipKind, units: u64) -> Option<usize> {
        let units = units.checked_next_multiple_of(kind.granule().into())?;
        let units = u32::try_from(units).ok()?;
        Some(u32_as_usize(units) << PAGE_SHIFT)
    }
}

/// Returns `ENOMEM` if the BO would not fit into its preferred domains even if they were empty.
pub(super) fn check_room(dev: &DrmDevice, domains: Domains, size: u64) -> Result {
    if let Some(kind) = domains.on_chip() {
        let there_is = dev.facts.graphics.on_chip.get(kind).count;
        let fits = size <= u64::from(there_is) << PAGE_SHIFT;
        return fits.then_some(()).ok_or(ENOMEM);
    }
    let limit = if domains == Domains::VRAM {
        dev.memory.vram_size()
    } else {
        dev.memory.gtt
    };
    if size < limit {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_bo)]
mod tests {
    use super::*;

    fn new(size: u64, alignment: u64, flags: u32) -> NewBo {
        NewBo {
            size,
            alignment,
            domains: Domains::VRAM,
            flags,
        }
    }

    #[test]
    fn sizes_and_alignments() {
        let size = |size| new(size, 0, 0).pages_size();
        assert_eq!(size(0), Err(ENOSPC));
        assert_eq!(size(u64::MAX), Err(EINVAL));
        assert_eq!(size(1), Ok(0x1000));
        assert_eq!(size(0x1000), Ok(0x1000));
        assert_eq!(size(0x1001), Ok(0x2000));

        let alignment = |alignment| new(1, alignment, 0).pages_alignment();
        assert_eq!(alignment(0), Ok(0x1000));
        assert_eq!(alignment(256), Ok(0x1000));
        assert_eq!(alignment(0x10000), Ok(0x10000));
        assert_eq!(alignment(0x3000), Err(EINVAL));
        assert_eq!(alignment(1 << 32), Err(EINVAL));
        assert_eq!(alignment(u64::MAX), Err(EINVAL));
    }

    #[test]
    fn units_of_on_chip_memory() {
        let of = |domains, size, alignment| {
            let new = NewBo {
                size,
                alignment,
                domains,
                flags: 0,
            };
            (new.pages_size(), new.pages_alignment())
        };
        let gds = Domains::from_bits(bindings::AMDGPU_GEM_DOMAIN_GDS);
        let gws = Domains::from_bits(bindings::AMDGPU_GEM_DOMAIN_GWS);
        assert_eq!(of(gds, 1, 0), (Ok(0x4000), Ok(0)));
        assert_eq!(of(gds, 5, 13), (Ok(0x8000), Ok(0x1_0000)));
        assert_eq!(of(gws, 5, 3), (Ok(0x5000), Ok(0x3000)));
        assert_eq!(of(gws, 0, 0).0, Err(ENOSPC));
        assert_eq!(of(gws, 1 << 32, 1 << 32), (Err(ENOMEM), Err(EINVAL)));
        assert_eq!(of(gds, u64::MAX, u64::MAX), (Err(ENOMEM), Err(EINVAL)));
    }

    #[test]
    fn less_is_asked_for_in_two_steps() {
        let mut bo = new(1, 0, bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED);
        assert!(bo.ask_for_less());
        assert_eq!((bo.flags, bo.domains), (0, Domains::VRAM));
        assert!(bo.ask_for_less());
        assert_eq!(bo.domains, Domains::VRAM.or_gtt());
        assert!(!bo.ask_for_less());
        bo.domains = Domains::GTT;
        assert!(!bo.ask_for_less());
    }
}
