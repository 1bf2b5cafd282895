// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Heterogeneous Memory Management (HMM): the pages that a range of user memory has now.
//!
//! In amdgpu this is the lookup in `amdgpu_hmm_range_get_pages()`.
//!
//! C header: [`include/linux/hmm.h`](srctree/include/linux/hmm.h)

use super::interval_notifier::{
    Callbacks,
    IntervalNotifier, //
};
use crate::bindings;
use core::ops::Range;
use kernel::{
    error::to_result,
    page::{
        PAGE_MASK,
        PAGE_SIZE, //
    },
    prelude::*,
    time::msecs_to_jiffies, //
};

/// Access that the device needs to the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceAccess {
    /// Reads.
    Read,
    /// Reads and writes. Each page is made writable, as if the process wrote to it.
    Write,
}

/// An entry for one page of a range, which may be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pfn(usize);

impl Pfn {
    /// Entry without a page.
    pub(crate) const NONE: Self = Self(0);

    /// Entry for something that is not a page.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    pub(crate) const ERROR: Self = Self(bindings::hmm_pfn_flags_HMM_PFN_ERROR);

    /// Returns an entry that allows `access`, for tests that do not access the page.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    pub(crate) fn for_test(number: usize, access: DeviceAccess) -> Self {
        let flags = match access {
            DeviceAccess::Read => 0,
            DeviceAccess::Write => bindings::hmm_pfn_flags_HMM_PFN_WRITE,
        };
        Self(number | bindings::hmm_pfn_flags_HMM_PFN_VALID | flags)
    }

    /// Returns true if there is a page.
    pub(crate) fn is_valid(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_VALID != 0
    }

    /// Returns true if the entry is something other than a page, which no device can use.
    pub(crate) fn is_error(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_ERROR != 0
    }

    /// Returns true if the page is present and allows `access`.
    pub(crate) fn allows(self, access: DeviceAccess) -> bool {
        match access {
            DeviceAccess::Read => self.is_valid(),
            DeviceAccess::Write => self.is_valid() && self.is_writable(),
        }
    }

    /// Returns true if the page may be written to.
    pub(crate) fn is_writable(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_WRITE != 0
    }

    /// Returns the page. Only the protocol of the [parent module](super) keeps the page from being
    /// freed.
    pub(crate) fn page(self) -> Option<*mut bindings::page> {
        self.is_valid().then(|| {
            // SAFETY: HMM only yields numbers of pages that have a `struct page`.
            unsafe { bindings::rust_ext_hmm_pfn_to_page(self.0) }
        })
    }
}

/// Time in ms for which a range may be invalidated repeatedly before [`snapshot`] gives up. Looking
/// up the pages that are present takes much less.
const PATIENCE: u32 = 100;

/// Looks up the pages of `range` in one walk that no invalidation disturbed. `range` must be
/// page-aligned, lie within that of `notifier`, and be as long as `pfns`. The contents of `pfns`
/// are overwritten; a missing page is [`Pfn::NONE`].
///
/// Takes `mmap_lock`, and may drop the last use of the address space. The caller must hold no lock
/// that comes after those, in particular no reservation. Waits for invalidations that are under
/// way.
///
/// # Errors
///
/// `ESRCH` if the address space has no users any more, `EBUSY` if the range was invalidated
/// throughout, `EINTR` if the caller is being killed.
pub(crate) fn snapshot<T: Callbacks>(
    notifier: &IntervalNotifier<T>,
    range: Range<usize>,
    pfns: &mut [Pfn],
) -> Result {
    let whole = notifier.range();
    if range.start < whole.start
        || range.end > whole.end
        || range.start & !PAGE_MASK != 0
        || range.end.checked_sub(range.start) != pfns.len().checked_mul(PAGE_SIZE)
    {
        return Err(EINVAL);
    }
    let _mm = notifier.mm().mmget_not_zero().ok_or(ESRCH)?;

    // The old contents must not affect the lookup.
    pfns.fill(Pfn::NONE);
    let mut walk = bindings::hmm_range {
        notifier: notifier.as_raw(),
        start: range.start,
        end: range.end,
        hmm_pfns: pfns.as_mut_ptr().cast(),
        ..Default::default()
    };
    // SAFETY: The notifier is registered for an address space that has users, as we hold one. The
    // array has room for each page of the range, and `Pfn` is transparent.
    to_result(unsafe {
        bindings::hmm_range_fault_unlocked_timeout(&mut walk, msecs_to_jiffies(PATIENCE))
    })
}
