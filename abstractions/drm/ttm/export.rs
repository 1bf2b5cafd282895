// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Export: buffer objects that other devices use, as DMA buffers (amdgpu: `amdgpu_dma_buf.c`).
//!
//! Other devices get at system pages only: an object is moved to memory that has them
//! ([`MemType::TT`]) when a device maps it. A *dynamic* importer is told before the object moves on
//! ([`Buffer::tell_importers`]), and maps it anew before it uses it again. Its work has fences in
//! the reservation, as that of our own device has, for which moves wait. A *static* importer, and
//! one that maps the buffer for the processor, pins the object where it is.
//!
//! The processor's access by way of the DMA buffer needs no work here: the core waits for the
//! fences of devices, and user space's mappings are those of the object.
//!
//! # When the device is unbound
//!
//! The pages are mapped for DMA by our parent, but others use them too. So the end of an
//! [`Attachment`](super::Attachment) tells all importers, and waits until none has a mapping or a
//! pin (`lent`), before any page goes. Dynamic importers unmap in bounded time. Static ones keep
//! their mapping for as long as their user does: then whoever unbinds the device waits for that.

use super::{
    bo::{
        Buffer,
        Ctx,
        DriverObject,
        Object, //
    },
    MemType,
    Place,
    Placement,
    Reserved, //
};
use crate::{
    abstractions::{
        dma::IN_PLACE,
        dma_fence::Interruptible,
        dma_resv::{
            HeldResv,
            Usage, //
        },
        drm::gem::Object as _, //
    },
    bindings, //
};
use core::ptr;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi,
    prelude::*, //
};

/// Place at which other devices reach an object.
const SHARED: Placement = Placement::new(&[Place::new(MemType::TT)]);

impl<T: DriverObject> Buffer<T> {
    /// Called before the object moves: tells those who have mapped it that they must map it anew.
    /// The caller holds the reservation.
    pub(super) fn tell_importers(&self) {
        let buf = self.exported();
        if !buf.is_null() {
            // SAFETY: The DMA buffer is not released yet, and its reservation, which is the
            // object's, is held.
            unsafe { bindings::dma_buf_invalidate_mappings(buf) };
        }
    }

    /// Returns true if another device is attached. The caller holds the reservation.
    pub(super) fn is_attached(&self) -> bool {
        let buf = self.exported();
        // SAFETY: As above: the list belongs to the holder of the reservation.
        !buf.is_null() && unsafe { !bindings::rust_ext_list_empty(&raw const (*buf).attachments) }
    }
}

impl<T: DriverObject> Object<T> {
    pub(super) const DMA_BUF_OPS: bindings::dma_buf_ops = {
        let mut ops: bindings::dma_buf_ops = pin_init::zeroed();
        ops.attach = Some(Self::attach_callback);
        ops.pin = Some(Self::pin_callback);
        ops.unpin = Some(Self::unpin_callback);
        ops.map_dma_buf = Some(Self::map_callback);
        ops.unmap_dma_buf = Some(Self::unmap_callback);
        ops.release = Some(Self::release_callback);
        ops.mmap = Some(bindings::drm_gem_dmabuf_mmap);
        ops.vmap = Some(Self::vmap_callback);
        ops.vunmap = Some(Self::vunmap_callback);
        ops
    };

    /// Implements the `export` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_gem_object_funcs` of `Self`.
    pub(super) unsafe extern "C" fn export_callback(
        gem: *mut bindings::drm_gem_object,
        flags: ffi::c_int,
    ) -> *mut bindings::dma_buf {
        // SAFETY: GEM calls this with a referenced object of ours.
        let bo = unsafe { <Self as super::super::gem::Object>::from_gem(gem) };
        match T::export(bo).and_then(|()| bo.export(flags)) {
            Ok(buf) => buf,
            Err(e) => e.to_ptr(),
        }
    }

    fn export(&self, flags: ffi::c_int) -> Result<*mut bindings::dma_buf> {
        let gem = self.as_gem();
        // SAFETY: The object is valid, and its driver's description constant. The buffer takes
        // references to object, device and module.
        let buf = unsafe {
            let drm = (*gem).dev;
            let driver = (*drm).driver;
            from_err_ptr(bindings::drm_gem_dmabuf_export(
                drm,
                &mut bindings::dma_buf_export_info {
                    exp_name: (*driver).name,
                    owner: (*(*driver).fops).owner,
                    ops: self.ttm_device().dma_buf_ops(),
                    size: (*gem).size,
                    flags,
                    resv: (*gem).resv,
                    priv_: gem.cast(),
                },
            ))?
        };
        // Only an interruptible lock fails.
        if let Ok(lock) = self.lock(Interruptible::No) {
            lock.reserved().set_exported(buf);
        }
        Ok(buf)
    }

    /// Returns the object behind a DMA buffer.
    ///
    /// # Safety
    ///
    /// The buffer must have our operations, and must not be released during `'a`.
    unsafe fn of<'a>(buf: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the safety requirements it was exported by us. It has a reference to the
        // object.
        unsafe { <Self as super::super::gem::Object>::from_gem((*buf).priv_.cast()) }
    }

    /// Implements the `release` callback: the last reference to the DMA buffer is gone.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`.
    unsafe extern "C" fn release_callback(buf: *mut bindings::dma_buf) {
        // SAFETY: The core calls this with a buffer of ours, which still has its reference.
        let bo = unsafe { Self::of(buf) };
        // Only an interruptible lock fails.
        if let Ok(lock) = bo.lock(Interruptible::No) {
            if bo.exported() == buf {
                lock.reserved().set_exported(ptr::null_mut());
            }
        }
        // SAFETY: As above; the buffer is not used any more.
        unsafe { bindings::drm_gem_dmabuf_release(buf) };
    }

    /// Implements the `attach` callback. The device's own memory is not accessible to others.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`.
    unsafe extern "C" fn attach_callback(
        _buf: *mut bindings::dma_buf,
        attach: *mut bindings::dma_buf_attachment,
    ) -> ffi::c_int {
        // SAFETY: The core gives us a new attachment.
        unsafe { (*attach).peer2peer = false };
        0
    }

    /// Implements the `pin` callback. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`.
    unsafe extern "C" fn pin_callback(attach: *mut bindings::dma_buf_attachment) -> ffi::c_int {
        // SAFETY: The core calls this for an attachment to a buffer of ours.
        let bo = unsafe { Self::of((*attach).dmabuf) };
        // SAFETY: The core holds the reservation.
        match unsafe { bo.pin() } {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// Implements the `unpin` callback. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`, once for each time that
    /// `pin_callback` succeeded.
    unsafe extern "C" fn unpin_callback(attach: *mut bindings::dma_buf_attachment) {
        // SAFETY: The core calls this for an attachment to a buffer of ours, which is pinned and
        // reserved.
        unsafe { Self::of((*attach).dmabuf).unpin() };
    }

    /// Pins the object where others reach it, with its contents in place.
    ///
    /// # Safety
    ///
    /// The caller must hold the reservation.
    unsafe fn pin(&self) -> Result {
        // SAFETY: By the safety requirements.
        let held = unsafe { HeldResv::new(self.resv()) };
        self.lend(held, |reserved| {
            // Those who pin do not look at fences.
            self.resv().wait(Usage::Kernel, Interruptible::Yes)?;
            // SAFETY: The object is valid and reserved.
            unsafe { bindings::ttm_bo_pin(reserved.as_raw()) };
            Ok(())
        })
    }

    /// Undoes [`Object::pin`].
    ///
    /// # Safety
    ///
    /// The caller must hold the reservation, and there must be a pin that nobody else undoes.
    unsafe fn unpin(&self) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::ttm_bo_unpin(self.as_raw()) };
        self.ttm_device().lent().remove();
    }

    /// Implements the `map_dma_buf` callback. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`.
    unsafe extern "C" fn map_callback(
        attach: *mut bindings::dma_buf_attachment,
        direction: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The core calls this for an attachment to a buffer of ours, reserved. The device
        // that is attached is bound.
        let (bo, dev) = unsafe { (Self::of((*attach).dmabuf), (*attach).dev) };
        // SAFETY: As above.
        let held = unsafe { HeldResv::new(bo.resv()) };
        // SAFETY: As above.
        let mapped = bo.lend(held, |reserved| unsafe { map(reserved, dev, direction) });
        mapped.unwrap_or_else(|e| e.to_ptr())
    }

    /// Implements the `unmap_dma_buf` callback. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`, with a table that
    /// `map_callback` returned for this attachment.
    unsafe extern "C" fn unmap_callback(
        attach: *mut bindings::dma_buf_attachment,
        sgt: *mut bindings::sg_table,
        direction: bindings::dma_data_direction,
    ) {
        // SAFETY: By the safety requirements the table was mapped in this way, and is ours again.
        unsafe {
            let bo = Self::of((*attach).dmabuf);
            unmap((*attach).dev, sgt, direction);
            bo.ttm_device().lent().remove();
        }
    }

    /// Implements the `vmap` callback: maps the object for the kernel. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`.
    unsafe extern "C" fn vmap_callback(
        buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> ffi::c_int {
        // SAFETY: The core calls this with a buffer of ours, reserved.
        let bo = unsafe { Self::of(buf) };
        // SAFETY: As above.
        if let Err(e) = unsafe { bo.pin() } {
            return e.to_errno();
        }
        // SAFETY: The object is reserved, and pinned in system pages.
        unsafe {
            let ret = bindings::ttm_bo_vmap(bo.as_raw(), map);
            if ret != 0 {
                bo.unpin();
            }
            ret
        }
    }

    /// Implements the `vunmap` callback. The reservation is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_ops` of `Self`, with a mapping that
    /// `vmap_callback` made.
    unsafe extern "C" fn vunmap_callback(
        buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) {
        // SAFETY: By the safety requirements, and the core holds the reservation.
        unsafe {
            let bo = Self::of(buf);
            bindings::ttm_bo_vunmap(bo.as_raw(), map);
            bo.unpin();
        }
    }

    /// Calls `f` with the object where others reach it. If that succeeds, the object counts as lent
    /// until somebody removes it from the device's `lent`.
    ///
    /// - `ENODEV`: the device is unbound.
    /// - `EBUSY`: the object is being moved.
    fn lend<R>(
        &self,
        held: HeldResv<'_>,
        f: impl FnOnce(&Reserved<'_, T>) -> Result<R>,
    ) -> Result<R> {
        let device = self.ttm_device();
        // While it is entered, the end of the attachment has not begun to wait for what is lent.
        let _section = device.gate().enter().ok_or(ENODEV)?;
        let reserved = self.reserved(held).ok_or(EBUSY)?;
        if !reserved.is_pinned() {
            reserved.validate(&SHARED, &mut Ctx::new(Interruptible::Yes))?;
        }
        let result = f(&reserved)?;
        device.lent().add();
        Ok(result)
    }
}

/// Maps the object's system pages for a device.
///
/// # Safety
///
/// The device must be bound until the mapping is undone by [`unmap`].
unsafe fn map<T: DriverObject>(
    bo: &Reserved<'_, T>,
    dev: *mut bindings::device,
    direction: bindings::dma_data_direction,
) -> Result<*mut bindings::sg_table> {
    if bo.mem_type() != Some(MemType::TT) || !bo.is_populated() {
        return Err(EINVAL);
    }
    // SAFETY: The object is reserved, and has pages, which stay while it is lent.
    unsafe {
        let tt = (*bo.as_raw()).ttm;
        let sgt = from_err_ptr(bindings::drm_prime_pages_to_sg(
            (*bo.gem()).dev,
            (*tt).pages,
            (*tt).num_pages,
        ))?;
        // Nobody would keep a copy of the pages up to date.
        to_result(bindings::dma_map_sgtable(dev, sgt, direction, IN_PLACE)).inspect_err(|_| {
            bindings::sg_free_table(sgt);
            bindings::kfree(sgt.cast());
        })?;
        Ok(sgt)
    }
}

/// Undoes [`map`].
///
/// # Safety
///
/// `sgt` must come from [`map`] for this device and direction, and is gone afterward.
unsafe fn unmap(
    dev: *mut bindings::device,
    sgt: *mut bindings::sg_table,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        bindings::dma_unmap_sg_attrs(
            dev,
            (*sgt).sgl,
            // CAST: As `dma_unmap_sgtable()` does.
            (*sgt).orig_nents as ffi::c_int,
            direction,
            IN_PLACE,
        );
        bindings::sg_free_table(sgt);
        bindings::kfree(sgt.cast());
    }
}
