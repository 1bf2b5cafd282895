// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests for a new BO, before anything is allocated for it.
//!
//! The C driver's is `struct amdgpu_bo_param`.

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use super::Domains;
use crate::{
    bindings,
    drm::DrmDevice, //
};

/// Properties of a new BO.
#[derive(Clone, Copy)]
pub(crate) struct NewBo {
    /// Size in bytes; rounded up to whole pages.
    pub(crate) size: u64,
    /// Alignment in bytes; a power of two, or less than a page.
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
        let size = self
            .size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        usize::try_from(size).map_err(|_| EINVAL)
    }

    /// Returns the alignment in whole pages.
    pub(super) fn pages_alignment(&self) -> Result<usize> {
        let alignment = self.alignment.max(PAGE_SIZE as u64);
        if !alignment.is_power_of_two() || alignment > u64::from(u32::MAX) {
            return Err(EINVAL);
        }
        usize::try_from(alignment).map_err(|_| EINVAL)
    }
}

/// Returns `ENOMEM` if the BO would not fit into its preferred domains even if they were empty.
pub(super) fn check_room(dev: &DrmDevice, domains: Domains, size: u64) -> Result {
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
