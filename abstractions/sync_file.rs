// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync files: fences behind file descriptors of user space.
//!
//! C header: [`include/linux/sync_file.h`](srctree/include/linux/sync_file.h)

use crate::{
    abstractions::dma_fence::Fence,
    bindings, //
};
use core::ptr::NonNull;
use kernel::{
    fs::file::{
        flags,
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// Makes a sync file for `fence`, and installs a descriptor for it in the current process, with
/// close-on-exec set.
///
/// # Errors
///
/// `EMFILE` if the process has no free descriptor; `ENOMEM`.
pub(crate) fn install(fence: &Fence) -> Result<u32> {
    let reservation = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    // SAFETY: The fence is alive; the sync file takes a reference of its own.
    let sync_file = unsafe { bindings::sync_file_create(fence.as_raw()) };
    let sync_file = NonNull::new(sync_file).ok_or(ENOMEM)?;
    // SAFETY: The function gives a sync file, which has a file.
    let file = NonNull::new(unsafe { (*sync_file.as_ptr()).file }).ok_or(EINVAL)?;
    // SAFETY: The file is new: nobody else uses it, and the only reference is ours. `File` is
    // transparent.
    let file = unsafe { ARef::<File>::from_raw(file.cast()) };
    let fd = reservation.reserved_fd();
    reservation.fd_install(file);
    Ok(fd)
}
