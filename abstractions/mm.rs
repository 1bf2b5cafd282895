// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory of user space, for devices that read and write it in place.
//!
//! A device that uses pages of a process without pinning them must follow what the kernel does with
//! them: [`interval_notifier`] tells it that pages of a range are about to go away, [`hmm`] gives it
//! those that are there now. The protocol between the two:
//!
//! 1. Gather the pages of the range, with [`hmm::fault`], which yields an
//!    [`interval_notifier::Seq`].
//! 2. Take the lock that the notifier's callback takes too, and ask
//!    [`interval_notifier::IntervalNotifier::is_current`]. If it says no, drop all and begin again.
//! 3. With the lock still held, let the device see the pages. From now on the callback finds them.
//!
//! Lock order: `mmap_lock`, reservations, reclaim, then what a notifier's callback takes.

pub(crate) mod hmm;
pub(crate) mod interval_notifier;

use crate::bindings;
use core::ops::Range;
use kernel::mm::MmWithUser;

/// What lies in a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Anonymous memory, all of it.
    Anonymous,
    /// Anonymous memory, then a mapping of a file.
    File,
    /// Anonymous memory, then nothing.
    Hole,
}

/// Says what lies in `range`, up to the first page that is not anonymous memory.
///
/// Takes `mmap_lock`, so the answer may be old when it is read.
pub(crate) fn coverage(mm: &MmWithUser, range: Range<usize>) -> Coverage {
    let guard = mm.mmap_read_lock();
    let mut address = range.start;
    while address < range.end {
        let Some(area) = guard.vma_lookup(address) else {
            return Coverage::Hole;
        };
        // SAFETY: The area is valid, and does not change while the guard lives.
        if !unsafe { (*area.as_ptr()).vm_file }.is_null() {
            return Coverage::File;
        }
        address = area.end();
    }
    Coverage::Anonymous
}

/// The address without the bits that the processor ignores, and user space may use as it likes.
pub(crate) fn untagged(address: usize) -> usize {
    // SAFETY: This function has no requirement; it looks at the current task's settings.
    unsafe { bindings::rust_ext_untagged_addr(address) }
}

/// Whether these are addresses that a process could have memory at.
pub(crate) fn is_user_range(start: usize, length: usize) -> bool {
    // SAFETY: This function has no requirement; it only compares numbers.
    unsafe { bindings::rust_ext_access_ok(start, length) }
}
