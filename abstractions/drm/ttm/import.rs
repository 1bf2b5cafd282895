// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Import: buffer objects whose memory is a DMA buffer of another device.
//!
//! Such an object has the reservation of the DMA buffer, and no pages of its own: its table
//! ([`tt`](super::tt)) holds the DMA addresses that the exporter has mapped for us. It is mapped
//! when the object is populated, and unmapped when it is unpopulated.
//!
//! We are a *dynamic* importer: before the exporter moves the memory it calls
//! [`DriverObject::revoked`], and the mapping is given back as soon as the fences in the
//! reservation have signaled. The object then lies nowhere until it is validated again.
//!
//! Memory of other devices (peer-to-peer) is not accepted: exporters move it to system memory for
//! us.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use super::{
    bo::{
        Buffer,
        Ctx,
        DriverObject,
        Drm,
        Object,
        Source, //
    },
    Driver,
    MemType,
    Place,
    Placement, //
};
use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        dma_fence::Interruptible,
        dma_resv::{
            HeldResv,
            Usage, //
        },
        drm, //
    },
    bindings, //
};
use core::ptr;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};

/// Direction of the mappings: jobs read and write.
const DIRECTION: bindings::dma_data_direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

impl<T: DriverObject> Object<T> {
    const ATTACH_OPS: bindings::dma_buf_attach_ops = bindings::dma_buf_attach_ops {
        allow_peer2peer: false,
        invalidate_mappings: Some(Self::invalidate_callback),
    };

    /// Implements the `gem_prime_import` callback. Returns a reference to an object.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_driver` whose objects are `Self`s.
    pub(super) unsafe extern "C" fn import_callback(
        drm: *mut bindings::drm_device,
        buf: *mut bindings::dma_buf,
    ) -> *mut bindings::drm_gem_object {
        // SAFETY: The core calls us with a device of ours, which is open, and a DMA buffer that
        // it has a reference to.
        let (drm, buf) = unsafe { (drm::Device::from_raw(drm), DmaBuf::from_raw(buf)) };
        match Self::own(drm, buf).map_or_else(|| Self::import(drm, buf), Ok) {
            // The reference is the core's.
            Ok(bo) => ARef::into_raw(bo).cast().as_ptr(),
            Err(e) => e.to_ptr(),
        }
    }

    /// Returns the object behind a DMA buffer that the device has exported itself.
    fn own(drm: &drm::Device<Drm<T>>, buf: &DmaBuf) -> Option<ARef<Self>> {
        let buf = buf.as_raw();
        // SAFETY: The buffer has references; these fields are constant. With our operations it is
        // one of ours, and has a reference to its object.
        unsafe {
            if (*buf).ops != T::Driver::device(drm).dma_buf_ops() {
                return None;
            }
            let bo = <Self as drm::gem::Object>::from_gem((*buf).priv_.cast());
            ((*bo.gem()).dev == drm.as_raw()).then(|| bo.into())
        }
    }

    /// Makes an object of a DMA buffer of another device.
    fn import(drm: &drm::Device<Drm<T>>, buf: &DmaBuf) -> Result<ARef<Self>> {
        const NOWHERE: Placement = Placement::new(&[Place::new(MemType::SYSTEM)]);

        if buf.size() % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let data = T::imported(drm, buf.size())?;
        let lock = buf.resv().lock(Interruptible::Yes)?;
        let source = Source::Import {
            buf: buf.into(),
            held: lock.held(),
        };
        let mut ctx = Ctx::new(Interruptible::Yes);
        let bo = Self::create_from(drm, buf.size(), 0, &NOWHERE, source, &mut ctx, data)?;
        drop(lock);
        bo.attach(drm, buf)?;
        Ok(bo)
    }

    /// Attaches the device to the DMA buffer behind a new object.
    fn attach(&self, drm: &drm::Device<Drm<T>>, buf: &DmaBuf) -> Result {
        // SAFETY: The buffer has references, and the object keeps one. The object ends the
        // attachment before it is freed. Its parent device exists as long as the DRM device.
        let attachment = unsafe {
            from_err_ptr(bindings::dma_buf_dynamic_attach(
                buf.as_raw(),
                (*drm.as_raw()).dev,
                const { &Self::ATTACH_OPS },
                self.gem().cast(),
            ))?
        };
        // SAFETY: Nobody else knows of the new object, but for the exporter, which does not look
        // at the field.
        unsafe { (*self.gem()).import_attach = attachment };
        Ok(())
    }

    /// Maps the DMA buffer for user space, in place of the object.
    ///
    /// # Safety
    ///
    /// `vma` must be the mapping that the core is making, and `self` an import.
    pub(super) unsafe fn mmap_import(&self, vma: *mut bindings::vm_area_struct) -> Result {
        // SAFETY: By the safety requirements. The mapping becomes the exporter's, and the reference
        // to us that the core has made for it is one too many.
        unsafe {
            (*vma).vm_private_data = ptr::null_mut();
            (*vma).vm_ops = ptr::null();
            let buf = (*(*self.gem()).import_attach).dmabuf;
            to_result(bindings::dma_buf_mmap(buf, vma, 0))?;
            bindings::rust_ext_drm_gem_object_put(self.gem());
        }
        Ok(())
    }

    /// Implements the `invalidate_mappings` callback: the memory is about to move. The reservation
    /// is held.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct dma_buf_attach_ops` of `Self`.
    unsafe extern "C" fn invalidate_callback(attach: *mut bindings::dma_buf_attachment) {
        // SAFETY: The exporter calls us for an attachment that has not ended. An object ends it
        // before it is freed, which takes the reservation that the exporter holds now.
        let bo: *mut bindings::ttm_buffer_object = unsafe { (*attach).importer_priv.cast() };
        // SAFETY: As above; objects that are attached are no remnants.
        let Some(buffer) = (unsafe { Buffer::<T>::from_raw(bo) }) else {
            return;
        };
        // It may just be being mapped by the very call that makes the exporter move the memory.
        if !buffer.is_populated() {
            return;
        }
        // SAFETY: The object is alive. Without a reference it is about to be unpopulated by TTM.
        if !unsafe { bindings::rust_ext_ttm_bo_get_unless_zero(bo) } {
            return;
        }
        // SAFETY: The exporter holds the reservation, which is the object's.
        buffer.revoke(unsafe { HeldResv::new(buffer.resv()) });
        // SAFETY: The reference was taken above. If it is the last, TTM leaves the rest to a
        // worker: an object that was populated just now has not been cleaned up by that yet.
        unsafe { bindings::ttm_bo_fini(bo) };
    }
}

impl<T: DriverObject> Buffer<T> {
    /// Gives back the mapping of an import, once the fences in its reservation have signaled.
    fn revoke(&self, held: HeldResv<'_>) {
        T::revoked(self, held);
        let Some(reserved) = self.reserved(held) else {
            return;
        };
        let discard = || reserved.discard(&mut Ctx::new(Interruptible::No));
        if discard().is_err() {
            // There is no memory to let the mapping live on until then. Only interruptible waits
            // fail, and discarding an idle object needs no memory.
            let _ = self.resv().wait(Usage::Bookkeep, Interruptible::No);
            let _ = discard();
        }
    }
}

/// Maps the DMA buffer behind an import, and stores the DMA addresses of its `count` pages.
///
/// # Safety
///
/// `gem` must be an import that is attached, with its reservation held, whose device is bound until
/// [`unmap`]. `addresses` must have room for `count`.
pub(super) unsafe fn map(
    gem: *mut bindings::drm_gem_object,
    addresses: *mut u64,
    count: u32,
) -> Result<*mut bindings::sg_table> {
    // SAFETY: By the safety requirements.
    unsafe {
        let attach = (*gem).import_attach;
        if attach.is_null() {
            return Err(ENODEV);
        }
        let sgt = from_err_ptr(bindings::dma_buf_map_attachment(attach, DIRECTION))?;
        // A page that the exporter left out would be read and written at address 0.
        let result = if bindings::rust_ext_sgtable_dma_pages(sgt) == u64::from(count) {
            // CAST: As its caller does in C.
            to_result(bindings::drm_prime_sg_to_dma_addr_array(
                sgt,
                addresses,
                count as kernel::ffi::c_int,
            ))
        } else {
            Err(EINVAL)
        };
        result
            .inspect_err(|_| bindings::dma_buf_unmap_attachment(attach, sgt, DIRECTION))
            .map(|()| sgt)
    }
}

/// Undoes [`map`].
///
/// # Safety
///
/// `sgt` must come from [`map`] for this object, whose reservation is held, and is gone afterward.
pub(super) unsafe fn unmap(gem: *mut bindings::drm_gem_object, sgt: *mut bindings::sg_table) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::dma_buf_unmap_attachment((*gem).import_attach, sgt, DIRECTION) };
}
