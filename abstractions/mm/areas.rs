// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Mappings (virtual memory areas) that make up a range of user memory.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    hmm::DeviceAccess,
    ReadGuard, //
};
use crate::bindings;
use core::ops::Range;
use kernel::{
    mm::{
        virt::{
            flags,
            VmaRef, //
        },
        MmWithUser, //
    },
    prelude::*, //
};

/// A mapping, while the `mmap_lock` is held.
pub(crate) struct Area<'a>(&'a VmaRef);

impl<'a> Area<'a> {
    pub(super) fn new(vma: &'a VmaRef) -> Self {
        Self(vma)
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::vm_area_struct {
        self.0.as_ptr()
    }

    /// Returns the end address (exclusive).
    pub(crate) fn end(&self) -> usize {
        self.0.end()
    }

    /// Returns true if the mapping has a file, including an unnamed one.
    pub(crate) fn has_file(&self) -> bool {
        // SAFETY: The area is valid, and does not change while the `mmap_lock` is held.
        !unsafe { (*self.0.as_ptr()).vm_file }.is_null()
    }

    /// Returns true if the kernel promises to keep the memory from everyone but the process or a
    /// virtual machine: `memfd_secret()` and guest memory. The kernel's own page pinning refuses
    /// such memory, or its direct map omits it.
    pub(crate) fn is_secret(&self) -> bool {
        // SAFETY: The area is valid, and does not change while the `mmap_lock` is held.
        unsafe { bindings::rust_ext_vma_is_secret(self.0.as_ptr()) }
    }

    /// Checks that a device may use the memory with `access`.
    ///
    /// # Errors
    ///
    /// `EFAULT` for a mapping that is not memory, that the process itself may not read, or that is
    /// secret; `EPERM` for a write where the process may not write.
    pub(crate) fn check(&self, access: DeviceAccess) -> Result {
        let has = |flag| self.0.flags() & flag != 0;

        if has(flags::IO) || has(flags::PFNMAP) || !has(flags::READ) || self.is_secret() {
            return Err(EFAULT);
        }
        if access == DeviceAccess::Write && !has(flags::WRITE) {
            return Err(EPERM);
        }
        Ok(())
    }
}

/// Calls `look` for each mapping in `range`, in order, until `look` fails.
///
/// Takes the `mmap_lock`, so the answer may be stale by the time it is used. An
/// [`IntervalNotifier`](super::interval_notifier::IntervalNotifier) on the range is notified when a
/// mapping goes away, but not when a new mapping fills a hole.
///
/// # Errors
///
/// The error of `look`; `EFAULT` if there is a hole; `EINTR` if the caller is being killed.
pub(crate) fn for_each(
    mm: &MmWithUser,
    range: Range<usize>,
    mut look: impl FnMut(&Area<'_>) -> Result,
) -> Result {
    let guard = ReadGuard::new(mm)?;
    let mut address = range.start;
    while address < range.end {
        let area = guard.area_at(address).ok_or(EFAULT)?;
        look(&area)?;
        address = area.end();
    }
    Ok(())
}
