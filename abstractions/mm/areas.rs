// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The mappings (virtual memory areas) that a range of user memory consists of.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    hmm::Access,
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

/// One mapping, while the `mmap_lock` is held.
pub(crate) struct Area<'a>(&'a VmaRef);

impl<'a> Area<'a> {
    pub(super) fn new(vma: &'a VmaRef) -> Self {
        Self(vma)
    }

    /// The C object.
    pub(super) fn as_raw(&self) -> *mut bindings::vm_area_struct {
        self.0.as_ptr()
    }

    /// Returns the address behind its last byte.
    pub(crate) fn end(&self) -> usize {
        self.0.end()
    }

    /// Returns true if a file stands behind it, also a nameless one.
    pub(crate) fn has_file(&self) -> bool {
        // SAFETY: The area is valid, and does not change while the `mmap_lock` is held.
        !unsafe { (*self.0.as_ptr()).vm_file }.is_null()
    }

    /// Returns true if it is memory that the kernel promises to keep from everyone but the process, or a
    /// virtual machine: `memfd_secret()`, and the memory of guests. The kernel's own page pinning, or the
    /// kernel's own mapping of memory, does without it, too.
    pub(crate) fn is_secret(&self) -> bool {
        // SAFETY: The area is valid, and does not change while the `mmap_lock` is held.
        unsafe { bindings::rust_ext_vma_is_secret(self.0.as_ptr()) }
    }

    /// Checks that a device may use the memory like this.
    ///
    /// # Errors
    ///
    /// `EFAULT` for what is not memory, what the process itself may not read, and what is secret;
    /// `EPERM` for a write where the process may not write.
    pub(crate) fn check(&self, access: Access) -> Result {
        let has = |flag| self.0.flags() & flag != 0;

        if has(flags::IO) || has(flags::PFNMAP) || !has(flags::READ) || self.is_secret() {
            return Err(EFAULT);
        }
        if access == Access::Write && !has(flags::WRITE) {
            return Err(EPERM);
        }
        Ok(())
    }
}

/// Calls `look` for each of the mappings that `range` consists of, in order, until it fails.
///
/// Takes the `mmap_lock`, so the answer may be old when it is read. Whoever watches the range with an
/// [`IntervalNotifier`](super::interval_notifier::IntervalNotifier) is told when a mapping goes; nothing is
/// said of one that comes where there was none.
///
/// # Errors
///
/// That of `look`; `EFAULT` if there is a hole; `EINTR` if the caller is being killed.
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
