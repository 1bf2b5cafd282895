// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Open files of DRM devices.
//!
//! C header: [`include/drm/drm_file.h`](srctree/include/drm/drm_file.h)
//!
//! Order of events at close: [`Driver::release`] is called. Then the core closes the file's
//! handles: synchronization objects first, then buffer objects, for each of which the driver's
//! `close` is called. Then [`Driver::close`] receives the driver's data.

use super::{
    Device,
    Driver, //
};
use crate::bindings;
use core::{
    fmt,
    marker::PhantomData,
    ops::Deref, //
};
use kernel::{
    ffi,
    fs::LocalFile,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// An open file of a DRM device, with the driver's data.
///
/// # Invariants
///
/// The C object is an open file of a `Device<D>`, whose `driver_priv` is a pinned `D::File`, which
/// lives until `postclose`.
#[repr(transparent)]
pub(crate) struct File<D: Driver>(Opaque<bindings::drm_file>, PhantomData<D>);

impl<D: Driver> File<D> {
    /// Turns a pointer to the C object into a reference.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a `struct drm_file` whose `open` callback has succeeded, of a
    /// `Device<D>`. Its `postclose` callback must not begin during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_file) -> &'a Self {
        // SAFETY: By the safety requirements of this function.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_file {
        self.0.get()
    }

    /// Returns the driver's data.
    pub(crate) fn inner(&self) -> Pin<&D::File> {
        // SAFETY: By the type invariant.
        unsafe { Pin::new_unchecked(&*(*self.as_raw()).driver_priv.cast()) }
    }

    /// Returns a number that no other open file has had since boot.
    pub(crate) fn client_id(&self) -> u64 {
        // SAFETY: By the type invariant; constant since before `open`.
        unsafe { (*self.as_raw()).client_id }
    }

    /// Returns true if this file is the current master of the primary node.
    pub(crate) fn is_current_master(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::drm_is_current_master(self.as_raw()) }
    }

    /// Returns the device that was opened.
    pub(crate) fn device(&self) -> &Device<D> {
        // SAFETY: By the type invariant; an open file keeps its minor and that its device alive.
        unsafe { Device::from_raw((*(*self.as_raw()).minor).dev) }
    }

    /// Implements the `open` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_driver` of `D`.
    pub(super) unsafe extern "C" fn open_callback(
        dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
    ) -> ffi::c_int {
        // SAFETY: By the safety requirements the device is one of `D`.
        match D::open(unsafe { Device::from_raw(dev) }) {
            Ok(data) => {
                // SAFETY: The data stays where it is until `postclose_callback` drops it there.
                let data = KBox::into_raw(unsafe { Pin::into_inner_unchecked(data) });
                // SAFETY: The core gives us a valid, not yet open file.
                unsafe { (*file).driver_priv = data.cast() };
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// Implements the `postclose` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_driver` of `D`.
    pub(super) unsafe extern "C" fn postclose_callback(
        _dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: `open_callback` has put the pointer there, to data that was pinned; nobody uses
        // it after this callback.
        D::close(unsafe { Pin::new_unchecked(KBox::from_raw((*file).driver_priv.cast())) });
    }

    /// Implements the `release` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct file_operations` of `D`.
    pub(super) unsafe extern "C" fn release_callback(
        inode: *mut bindings::inode,
        filp: *mut bindings::file,
    ) -> ffi::c_int {
        // SAFETY: `drm_open()` has put the `struct drm_file` there, and the file is open until
        // `drm_release()`.
        let file = unsafe { Self::from_raw((*filp).private_data.cast()) };
        D::release(file.device(), file);
        // SAFETY: We pass on what we were called with.
        unsafe { bindings::drm_release(inode, filp) }
    }

    /// Implements the `flush` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct file_operations` of `D`.
    pub(super) unsafe extern "C" fn flush_callback(
        filp: *mut bindings::file,
        _id: bindings::fl_owner_t,
    ) -> ffi::c_int {
        // SAFETY: `drm_open()` has put the `struct drm_file` there, and the file is open.
        let file = unsafe { Self::from_raw((*filp).private_data.cast()) };
        D::flush(file.device(), file);
        0
    }

    /// Implements the `show_fdinfo` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_driver` of `D`.
    pub(super) unsafe extern "C" fn show_fdinfo_callback(
        // The kernel crate only declares this type.
        printer: *mut kernel::bindings::drm_printer,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: The core calls us with an open file of a device of `D`.
        let file = unsafe { Self::from_raw(file) };
        D::show_fdinfo(file.device(), file, &mut Printer(printer.cast()));
    }
}

/// An open file that was looked up by its descriptor. It stays open while this lives.
///
/// # Invariants
///
/// The `private_data` of the C object is an open file of a device of `D`.
pub(crate) struct Opened<D: Driver>(ARef<LocalFile>, PhantomData<D>);

impl<D: Driver> Opened<D> {
    /// Returns the file behind a descriptor of the current process, or `None` unless it is a file
    /// of the same driver as `dev`. Its device may be another one.
    pub(crate) fn from_fd(dev: &Device<D>, fd: u32) -> Option<Self> {
        let file = LocalFile::fget(fd).ok()?;
        // SAFETY: The device is valid, and its driver's description a constant.
        let driver = unsafe { (*dev.as_raw()).driver };
        // SAFETY: The file is valid, and its operations do not change any more, as it has a
        // descriptor. As above.
        if unsafe { (*file.as_ptr()).f_op != (*driver).fops } {
            return None;
        }
        // SAFETY: With these operations it was opened by `drm_open()`, which has put an open file
        // there; that keeps its minor and the device.
        let found = unsafe {
            let private: *mut bindings::drm_file = (*file.as_ptr()).private_data.cast();
            (*(*(*private).minor).dev).driver
        };
        // INVARIANT: A device with this description is a `Device<D>`, as `dev` is.
        core::ptr::eq(found, driver).then(|| Self(file, PhantomData))
    }
}

impl<D: Driver> Deref for Opened<D> {
    type Target = File<D>;

    fn deref(&self) -> &File<D> {
        // SAFETY: By the type invariant; `postclose` waits for the reference to the file.
        unsafe { File::from_raw((*self.0.as_ptr()).private_data.cast()) }
    }
}

/// A printer of the DRM core.
///
/// # Invariants
///
/// The pointer is valid.
pub(crate) struct Printer(*mut bindings::drm_printer);

impl fmt::Write for Printer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let len = ffi::c_int::try_from(s.len()).map_err(|_| fmt::Error)?;
        // SAFETY: The printer is valid by the type invariant, and the format asks for a length and
        // a pointer to that many bytes.
        unsafe {
            bindings::drm_printf(
                self.0,
                c"%.*s".as_char_ptr(),
                len,
                s.as_ptr().cast::<ffi::c_char>(),
            )
        };
        Ok(())
    }
}
