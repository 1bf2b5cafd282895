// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory for devices that read and write it in place (userptr).
//!
//! A device that uses a process's pages without pinning them must follow the kernel's changes to
//! them. [`interval_notifier`] reports that pages of a range are about to go away. [`hmm`] returns
//! the pages that are present now. The protocol between the two:
//!
//! 1. Read a counter that the notifier's callback raises under a lock. Look up the pages of the
//!    range with [`hmm::snapshot`]. If a page is missing, bring it in with [`fault::fault_in`], and
//!    start over.
//! 2. Take the lock. If the counter has changed, drop the pages and start over.
//! 3. With the lock still held, let the device access the pages. From now on the callback finds
//!    them.
//!
//! The counter is the driver's own, where C drivers use `mmu_interval_check_retry()`: it may count
//! for several users of a range, and tests need no address space to raise it.
//!
//! Devices may not use all memory of a process: see [`areas`].
//!
//! Lock order: `mmap_lock`, reservations, reclaim, then the lock that the notifier's callback
//! takes.

pub(crate) mod areas;
pub(crate) mod fault;
pub(crate) mod hmm;
pub(crate) mod interval_notifier;

use self::areas::Area;
use crate::bindings;
use core::mem::ManuallyDrop;
use kernel::{
    error::to_result,
    mm::{
        virt::VmaRef,
        MmWithUser, //
    },
    prelude::*,
    types::NotThreadSafe, //
};

/// The `mmap_lock`, held for reading; released on drop.
///
/// # Invariants
///
/// This thread holds the lock of `mm`, and this value releases it.
struct ReadGuard<'a> {
    mm: &'a MmWithUser,
    _not_thread_safe: NotThreadSafe,
}

impl<'a> ReadGuard<'a> {
    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// `EINTR` if the caller is being killed.
    fn new(mm: &'a MmWithUser) -> Result<Self> {
        // SAFETY: The address space is valid, as there is a reference.
        to_result(unsafe { bindings::rust_ext_mmap_read_lock_killable(mm.as_raw()) })?;
        // INVARIANT: The lock was just taken.
        Ok(Self {
            mm,
            _not_thread_safe: NotThreadSafe,
        })
    }

    /// Returns the mapping at an address.
    fn area_at(&self, address: usize) -> Option<Area<'_>> {
        // SAFETY: By the type invariant the lock is held.
        let vma = unsafe { bindings::vma_lookup(self.mm.as_raw(), address) };
        // SAFETY: If there is a mapping, it stays as long as the lock is held, which it is for as
        // long as `self` is borrowed.
        (!vma.is_null()).then(|| Area::new(unsafe { VmaRef::from_raw(vma) }))
    }

    /// Forgets the lock, which the kernel has already released.
    ///
    /// # Safety
    ///
    /// The kernel must have released the lock.
    unsafe fn was_released(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the lock is held, and nobody else releases it.
        unsafe { bindings::rust_ext_mmap_read_unlock(self.mm.as_raw()) };
    }
}

/// Returns the address without the tag bits that the processor ignores and user space may use
/// freely.
pub(crate) fn untagged(address: usize) -> usize {
    // SAFETY: This function has no requirement; it looks at the current task's settings.
    unsafe { bindings::rust_ext_untagged_addr(address) }
}

/// Returns true if a process could have memory at these addresses.
pub(crate) fn is_user_range(start: usize, length: usize) -> bool {
    // SAFETY: This function has no requirement; it only compares numbers.
    unsafe { bindings::rust_ext_access_ok(start, length) }
}
