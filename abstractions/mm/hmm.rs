// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Heterogeneous Memory Management (HMM): which pages a range of user memory consists of now.
//!
//! C header: [`include/linux/hmm.h`](srctree/include/linux/hmm.h)

use super::interval_notifier::{
    Callbacks,
    IntervalNotifier,
    Seq, //
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

/// What the device will do with the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read them.
    Read,
    /// Read and write them: each page is made writable, as if the process wrote to it.
    Write,
}

/// A page of a range, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pfn(usize);

impl Pfn {
    /// No page.
    pub(crate) const NONE: Self = Self(0);

    /// Something that is no page.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) const ERROR: Self = Self(bindings::hmm_pfn_flags_HMM_PFN_ERROR);

    /// A page for `access`, for tests of what does not look at it.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) fn for_test(number: usize, access: Access) -> Self {
        let flags = match access {
            Access::Read => 0,
            Access::Write => bindings::hmm_pfn_flags_HMM_PFN_WRITE,
        };
        Self(number | bindings::hmm_pfn_flags_HMM_PFN_VALID | flags)
    }

    /// Whether there is a page.
    pub(crate) fn is_valid(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_VALID != 0
    }

    /// Whether there is something that is no page, and that no device can use.
    pub(crate) fn is_error(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_ERROR != 0
    }

    /// Whether the page is there for `access`.
    pub(crate) fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.is_valid(),
            Access::Write => self.is_valid() && self.is_writable(),
        }
    }

    /// Whether the page may be written to.
    pub(crate) fn is_writable(self) -> bool {
        self.0 & bindings::hmm_pfn_flags_HMM_PFN_WRITE != 0
    }

    /// The number of the page in physical memory.
    pub(crate) fn number(self) -> usize {
        self.0 & !bindings::hmm_pfn_flags_HMM_PFN_FLAGS
    }

    /// The power of two of pages, in virtual and physical memory, of which this is one.
    pub(crate) fn order(self) -> usize {
        (self.0 >> bindings::hmm_pfn_flags_HMM_PFN_ORDER_SHIFT) & 0x1f
    }

    /// The page. Nothing but the protocol of the [parent module](super) keeps it from being freed.
    pub(crate) fn page(self) -> Option<*mut bindings::page> {
        self.is_valid().then(|| {
            // SAFETY: HMM only yields numbers of pages that have a `struct page`.
            unsafe { bindings::rust_ext_hmm_pfn_to_page(self.0) }
        })
    }
}

/// How long a range may be invalidated again and again before [`snapshot`] gives up, in ms. A look at what is
/// there takes much less.
const PATIENCE: u32 = 100;

/// Looks up the pages of `range`, which must lie within that of `notifier`, page-aligned, and be as
/// long as `pfns`, all in one walk that no invalidation disturbed. What `pfns` holds is overwritten; a page
/// that is not there is [`Pfn::NONE`].
///
/// Takes `mmap_lock`, and may drop the last use of the address space: no lock may be held that comes
/// after those, in particular no reservation. Waits for invalidations that are under way.
///
/// # Errors
///
/// `ESRCH` if the address space has no users any more, `EBUSY` if the range was invalidated all the
/// time, `EINTR` if the caller is being killed.
pub(crate) fn snapshot<T: Callbacks>(
    notifier: &IntervalNotifier<T>,
    range: Range<usize>,
    pfns: &mut [Pfn],
) -> Result<Seq> {
    let whole = notifier.range();
    if range.start < whole.start
        || range.end > whole.end
        || range.start & !PAGE_MASK != 0
        || range.end.checked_sub(range.start) != pfns.len().checked_mul(PAGE_SIZE)
    {
        return Err(EINVAL);
    }
    let _mm = notifier.mm().mmget_not_zero().ok_or(ESRCH)?;

    // What pages had before is not part of the question.
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
    })?;
    Ok(Seq::from_raw(walk.notifier_seq))
}
