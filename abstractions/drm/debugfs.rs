// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Files in the debugfs directory of a DRM device (`/sys/kernel/debug/dri/`).
//!
//! C header: [`include/drm/drm_debugfs.h`](srctree/include/drm/drm_debugfs.h)

use super::{
    Device,
    Driver, //
};
use crate::bindings;
use core::ptr;
use kernel::{
    ffi,
    prelude::*,
    seq_file::SeqFile, //
};

/// A file that each device of a driver has while it is registered. Only root can read it.
pub(crate) struct File<T: Driver> {
    /// Name of the file.
    pub(crate) name: &'static CStr,
    /// Called when the file is read. Unregistering the device waits for it.
    pub(crate) show: fn(&Device<T>, &SeqFile) -> Result,
}

impl<T: Driver> File<T> {
    /// Creates the file for a device that is about to be registered.
    pub(super) fn create(&'static self, dev: &Device<T>) {
        let data = ptr::from_ref(self).cast_mut().cast();
        let show = Some(Self::show_callback as unsafe extern "C" fn(_, _) -> _);
        // SAFETY: The device is valid, and the name is a static. `show_callback` expects a file of
        // this type.
        unsafe {
            bindings::drm_debugfs_add_file(dev.as_raw(), self.name.as_char_ptr(), show, data)
        };
    }

    /// Implements the `show` callback.
    ///
    /// # Safety
    ///
    /// Must only be called by the DRM core, for a file made by [`File::create`].
    unsafe extern "C" fn show_callback(
        seq: *mut bindings::seq_file,
        _: *mut ffi::c_void,
    ) -> ffi::c_int {
        // SAFETY: The core calls this with the file's entry, which it made for a device and with
        // the data of `create`. The device is not gone before the file is.
        let (dev, file) = unsafe {
            let entry: *mut bindings::drm_debugfs_entry = (*seq).private.cast();
            let file: *const Self = (*entry).file.data.cast_const().cast();
            (Device::<T>::from_raw((*entry).dev), &*file)
        };
        // SAFETY: The core calls this with a valid sequence file, which only this thread uses.
        let seq = unsafe { SeqFile::from_raw(seq) };
        match (file.show)(dev, seq) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
}
