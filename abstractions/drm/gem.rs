// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Graphics Execution Manager (GEM): buffer objects, and the handles that open files have to them.
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)
//!
//! This is the part that all kinds of buffer objects share. The objects themselves come from a
//! memory manager such as [`ttm`](super::ttm).

use super::{
    Driver,
    File, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
};

/// Implementation of the `gem_prime_import` callback: returns a reference to an object for a DMA
/// buffer, or an error.
pub(crate) type Import = unsafe extern "C" fn(
    *mut bindings::drm_device,
    *mut bindings::dma_buf,
) -> *mut bindings::drm_gem_object;

/// A type of buffer object.
///
/// # Safety
///
/// * `as_gem` must return an initialized `struct drm_gem_object` of a `Device<Self::Driver>`. Its
///   reference count must be that of `self`, and its reservation must stay the same while there are
///   references. `from_gem` must be the inverse of `as_gem`.
/// * `IMPORT` must be callable in a `struct drm_driver` of that driver.
/// * Every object that has a handle in a file of that driver must be a `Self`.
pub(crate) unsafe trait Object: AlwaysRefCounted + Send + Sync {
    /// The driver that the objects belong to.
    type Driver: Driver<Object = Self>;

    /// Returns an object for a DMA buffer.
    const IMPORT: Import;

    /// Returns the C object.
    fn as_gem(&self) -> *mut bindings::drm_gem_object;

    /// Turns a pointer to the C object into a reference.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the C object of a `Self`, whose reference count must not fall to zero
    /// during `'a`.
    unsafe fn from_gem<'a>(ptr: *mut bindings::drm_gem_object) -> &'a Self;
}

/// Operations on all kinds of buffer objects.
pub(crate) trait ObjectExt: Object {
    /// Returns the size in bytes, a multiple of the page size.
    fn size(&self) -> usize {
        // SAFETY: By the safety requirements of `Object`; constant.
        unsafe { (*self.as_gem()).size }
    }

    /// Returns true if the object was imported as a DMA buffer of another device.
    fn is_imported(&self) -> bool {
        // SAFETY: By the safety requirements of `Object`; set before the object has a handle.
        !unsafe { (*self.as_gem()).import_attach }.is_null()
    }

    /// Returns true if the object has several handles or was exported, for memory statistics.
    fn is_shared(&self) -> bool {
        // SAFETY: By the safety requirements of `Object`; this only looks at two fields.
        unsafe { bindings::rust_ext_drm_gem_object_is_shared(self.as_gem()) }
    }

    /// Creates a handle to the object in an open file, which then holds a reference.
    ///
    /// Calls the driver's `open` for the object.
    fn create_handle(&self, file: &File<Self::Driver>) -> Result<Handle> {
        let mut handle = 0;
        // SAFETY: File and object are valid, and of one driver.
        to_result(unsafe {
            bindings::drm_gem_handle_create(file.as_raw(), self.as_gem(), &mut handle)
        })?;
        Ok(Handle(handle))
    }

    /// Returns the offset of the object for `mmap` on the device.
    fn mmap_offset(&self) -> Result<u64> {
        let gem = self.as_gem();
        // SAFETY: The object is valid; an offset that it already has is kept.
        to_result(unsafe { bindings::drm_gem_create_mmap_offset(gem) })?;
        // SAFETY: The object is valid, and has an offset now.
        Ok(unsafe { bindings::rust_ext_drm_vma_node_offset_addr(&raw mut (*gem).vma_node) })
    }
}

impl<T: Object> ObjectExt for T {}

/// Calls `f` with each handle of an open file and its object, in the order of the handles.
///
/// Handles are neither added nor removed meanwhile: a spin lock of the file is held, so `f` may not
/// sleep.
pub(crate) fn for_each_handle<D: Driver>(file: &File<D>, mut f: impl FnMut(Handle, &D::Object)) {
    let file = file.as_raw();
    // SAFETY: The file is valid, and so is its lock.
    unsafe { bindings::spin_lock(&raw mut (*file).table_lock) };
    visit::<D, _>(file, &mut f);
    // SAFETY: The lock was taken above.
    unsafe { bindings::spin_unlock(&raw mut (*file).table_lock) };
}

/// Calls `f` as [`for_each_handle`] does, with the file's `table_lock` held.
fn visit<D: Driver, F: FnMut(Handle, &D::Object)>(file: *mut bindings::drm_file, f: &mut F) {
    /// # Safety
    ///
    /// `data` must be an `F` that nobody else uses. `object` must be null or an object with a
    /// handle in a file of the driver `D`, which stays for the duration of the call.
    unsafe extern "C" fn each<D: Driver, F: FnMut(Handle, &D::Object)>(
        handle: ffi::c_int,
        object: *mut ffi::c_void,
        data: *mut ffi::c_void,
    ) -> ffi::c_int {
        // A null object means that the handle is just being created or deleted.
        if !object.is_null() {
            // SAFETY: By the function's requirement.
            let f = unsafe { &mut *data.cast::<F>() };
            // SAFETY: Objects with handles in a file of the driver are `D::Object`s, and by the
            // function's requirement this one stays.
            let object = unsafe { <D::Object as Object>::from_gem(object.cast()) };
            // CAST: Handles are positive.
            f(Handle(handle as u32), object);
        }
        0
    }

    // SAFETY: The file is valid, and its table does not change while its lock is held: each object
    // in it has a reference from its handle. `data` is the closure.
    unsafe {
        bindings::idr_for_each(
            &raw const (*file).object_idr,
            Some(each::<D, F>),
            core::ptr::from_mut(f).cast(),
        )
    };
}

/// A handle to a buffer object in an open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handle(pub u32);

impl Handle {
    /// Returns the object with this handle in `file`, or `ENOENT`.
    pub(crate) fn lookup<D: Driver>(self, file: &File<D>) -> Result<ARef<D::Object>> {
        // SAFETY: The file is valid.
        let gem = unsafe { bindings::drm_gem_object_lookup(file.as_raw(), self.0) };
        if gem.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: Objects with handles in a file of the driver are `D::Object`s, and we got a
        // reference to this one.
        Ok(unsafe { ARef::from_raw(NonNull::from(<D::Object as Object>::from_gem(gem))) })
    }
}
