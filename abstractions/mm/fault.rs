// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults user memory in, as if the process touched it.
//!
//! [`hmm::snapshot`](super::hmm::snapshot) returns the pages that are present; this module brings
//! in the missing ones. The kernel combines both in [`hmm_range_fault`](srctree/mm/hmm.c), which
//! restarts its walk after each change of the range, including changes that its own faults made:
//! copying a page that was shared with a child process is such a change. And while it waits for the
//! provider of a page (a userfaultfd, a file system), only a fatal signal interrupts it.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    hmm::DeviceAccess,
    ReadGuard, //
};
use crate::bindings;
use core::ops::Range;
use kernel::{
    error::to_result,
    ffi,
    mm::MmWithUser,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Number of pages that are brought in before the `mmap_lock` is released for other users.
const AT_ONCE: usize = 512;

/// Faults in the pages of `range`, which is page-aligned, and makes them writable if `access` asks
/// for it. The pages may be gone again when this returns.
///
/// Takes the `mmap_lock`, and waits for the provider of the pages. The caller must hold no lock
/// that comes after `mmap_lock`, in particular no reservation.
///
/// # Errors
///
/// Those of [`Area::check`](super::areas::Area::check) for each mapping; `EFAULT` for a hole or a
/// page that cannot be provided; `ENOMEM`; `ERESTARTSYS` if a signal arrived during the wait,
/// `EINTR` if the caller is being killed.
pub(crate) fn fault_in(mm: &MmWithUser, range: Range<usize>, access: DeviceAccess) -> Result {
    let mut next = Next {
        address: range.start,
        tried: false,
    };
    while next.address < range.end {
        let stop = range
            .end
            .min(next.address.saturating_add(AT_ONCE * PAGE_SIZE));
        let mut guard = Some(ReadGuard::new(mm)?);
        while next.address < stop {
            let Some(held) = guard.take() else { break };
            guard = next.fault(held, access)?;
        }
        if current!().signal_pending() && guard.is_none() {
            return Err(ERESTARTSYS);
        }
    }
    Ok(())
}

/// The next page to fault in.
struct Next {
    address: usize,
    /// Set if this page has been waited for already.
    tried: bool,
}

impl Next {
    /// Faults one page in. Returns the lock, or `None` if it was dropped to wait for the page. In
    /// that case the same page may be next.
    fn fault<'a>(
        &mut self,
        guard: ReadGuard<'a>,
        access: DeviceAccess,
    ) -> Result<Option<ReadGuard<'a>>> {
        const DROPPED: ffi::c_uint =
            bindings::vm_fault_reason_VM_FAULT_RETRY | bindings::vm_fault_reason_VM_FAULT_COMPLETED;

        let area = guard.area_at(self.address).ok_or(EFAULT)?;
        area.check(access)?;
        // SAFETY: The area is valid and contains the address, and the lock is held. The flags say
        // that it may be dropped.
        let ret = unsafe {
            bindings::handle_mm_fault(
                area.as_raw(),
                self.address,
                self.flags(access),
                core::ptr::null_mut(),
            )
        };
        if ret & DROPPED != 0 {
            // SAFETY: These answers say that the lock was released.
            unsafe { guard.was_released() };
            self.tried = ret & bindings::vm_fault_reason_VM_FAULT_RETRY != 0;
            if !self.tried {
                self.address += PAGE_SIZE;
            }
            return Ok(None);
        }
        // SAFETY: This function has no requirement.
        to_result(unsafe { bindings::rust_ext_vm_fault_to_errno(ret) })?;
        // SAFETY: As above; the lock that is held is one that may be held in sleep.
        to_result(unsafe { bindings::rust_ext_cond_resched_killable() })?;
        self.tried = false;
        self.address += PAGE_SIZE;
        Ok(Some(guard))
    }

    fn flags(&self, access: DeviceAccess) -> ffi::c_uint {
        let mut flags = bindings::fault_flag_FAULT_FLAG_REMOTE
            | bindings::fault_flag_FAULT_FLAG_ALLOW_RETRY
            | bindings::fault_flag_FAULT_FLAG_KILLABLE
            | bindings::fault_flag_FAULT_FLAG_INTERRUPTIBLE;
        if access == DeviceAccess::Write {
            flags |= bindings::fault_flag_FAULT_FLAG_WRITE;
        }
        if self.tried {
            flags |= bindings::fault_flag_FAULT_FLAG_TRIED;
        }
        flags
    }
}
