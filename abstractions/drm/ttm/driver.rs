// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operations of a driver for TTM.
//!
//! The C object is `struct ttm_device_funcs` (amdgpu: `amdgpu_bo_driver`).
//!
//! C header: [`include/drm/ttm/ttm_device.h`](srctree/include/drm/ttm/ttm_device.h)

use super::{
    bo::{
        Buffer,
        DriverObject,
        Object, //
    },
    device::Device,
    moves::{
        Move,
        Moved, //
    },
    reserved::Reserved,
    resource::Resource,
    tt::{
        Caching,
        Tt, //
    },
    Placement, //
};
use crate::{
    abstractions::{
        dma_resv::HeldResv,
        drm::{
            self,
            device::device_as_raw, //
        },
        pci::WriteCombinedBar, //
    },
    bindings, //
};
use core::{
    ptr,
    slice, //
};
use kernel::{
    ffi,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// Operations of a driver for TTM.
///
/// They are called with the reservation of the object held, unless stated otherwise.
#[vtable]
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    /// The DRM driver.
    type Drm: drm::Driver<Object = Object<Self::Bo>>;

    /// The driver's data in each buffer object.
    type Bo: DriverObject<Driver = Self>;

    /// Returns the TTM device of a DRM device. It must be part of the DRM driver's data.
    fn device(drm: &drm::Device<Self::Drm>) -> &Device<Self>;

    /// Returns the places where `bo`, which lies in `from`, may go to make room.
    /// `Placement::NOWHERE` discards its contents.
    fn evict(bo: &Buffer<Self::Bo>, from: Resource<'_, Self>) -> Placement;

    /// Returns true if `bo` may be evicted.
    fn evictable(_bo: &Buffer<Self::Bo>) -> bool {
        true
    }

    /// Moves an object, or gives it its first place, as `mv` requests.
    ///
    /// On failure nothing may have changed.
    fn move_(mv: Move<'_, Self>) -> Result<Moved>;

    /// Returns the CPU-visible location of memory that has no `struct page`s, or `None` if
    /// `resource` is system memory. The returned memory must be as large as `resource`, unless
    /// there is [`Driver::io_page`], which returns the location of each page: then it is that of
    /// the first.
    ///
    /// Called while the resource belongs to an object that is reserved or being destroyed.
    fn io_memory(
        _drm: &drm::Device<Self::Drm>,
        _resource: Resource<'_, Self>,
    ) -> Result<Option<IoMemory>> {
        Ok(None)
    }

    /// Returns the location of one page of memory for which [`Driver::io_memory`] returned a
    /// location. A page for which this returns `None` is shown as the first.
    fn io_page(
        _drm: &drm::Device<Self::Drm>,
        _resource: Resource<'_, Self>,
        _page: usize,
    ) -> Option<IoMemory> {
        None
    }

    /// Called before [`Driver::fault`], to move `bo` to a place that the processor can access, if
    /// it does not lie in one. Kernel work on `bo`, such as the move, is waited for before `fault`
    /// is called, without the `mmap_lock` where possible. Errors mean the same.
    fn prepare_fault(_bo: &Reserved<'_, Self::Bo>) -> Result {
        Ok(())
    }

    /// Called before the processor accesses `bo` through a mapping of user space.
    ///
    /// `EINTR`, `ERESTARTSYS`, `EAGAIN` and `EBUSY` let the access be retried. Any other error is a
    /// bus error to the process. Called within a section of [`drm::Device::enter`].
    fn fault(_bo: &Reserved<'_, Self::Bo>) -> Result {
        Ok(())
    }

    /// Returns true if the processor is not to reach `bo`, because the device no longer works. A
    /// mapping of user space then shows a page that nobody else sees. Called as
    /// [`Driver::fault`] is, and before that.
    fn is_out_of_reach(_bo: &Reserved<'_, Self::Bo>) -> bool {
        false
    }

    /// Called when a debugger reads or writes the contents of `bo` from byte `offset` on, through a
    /// mapping of the debugged process. Accesses the whole range, or returns an error. TTM does
    /// this itself if `bo` is backed by system memory.
    ///
    /// The range lies within `bo`, and is not empty.
    fn access_memory(
        _bo: &Reserved<'_, Self::Bo>,
        _offset: usize,
        _access: BytesAccess<'_>,
    ) -> Result {
        Err(EIO)
    }
}

/// Request to [`Driver::access_memory`].
pub(crate) enum BytesAccess<'a> {
    /// Fills these bytes with the contents of the object. They are zero before.
    Read(&'a mut [u8]),
    /// Writes these bytes to the object.
    Write(&'a [u8]),
}

impl BytesAccess<'_> {
    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Read(into) => into.len(),
            Self::Write(from) => from.len(),
        }
    }
}

/// Memory at a physical address that the processor can access: a part of one of the device's BARs.
///
/// # Invariants
///
/// `phys..phys + len` is within a BAR of the device at the address `parent`, and that keeps the BAR
/// for as long as it is bound.
#[derive(Clone, Copy)]
pub(crate) struct IoMemory {
    parent: usize,
    phys: u64,
    len: usize,
    caching: Caching,
}

impl IoMemory {
    /// Returns the part of a BAR from `offset` on, or `None` if that is beyond its end.
    pub(crate) fn in_bar(bar: &WriteCombinedBar<'_>, offset: u64) -> Option<Self> {
        let start = usize::try_from(offset).ok()?;
        // INVARIANT: It is within the BAR.
        Some(Self {
            parent: device_as_raw(bar.parent()).addr(),
            phys: bar.phys() + offset,
            len: bar.size().checked_sub(start).filter(|&len| len != 0)?,
            caching: Caching::WriteCombined,
        })
    }
}

impl<D: Driver> Device<D> {
    /// Returns true if `io` has room for `size` bytes, and belongs to the device that the objects
    /// are for: that of another may go away while they are mapped.
    fn reaches(&self, io: &IoMemory, size: usize) -> bool {
        io.parent == self.dma_device().addr() && io.len >= size
    }

    /// Table of functions for TTM.
    pub(super) const FUNCS: bindings::ttm_device_funcs = bindings::ttm_device_funcs {
        ttm_tt_create: Some(Tt::create::<D>),
        ttm_tt_populate: Some(Tt::populate::<D>),
        ttm_tt_unpopulate: Some(Tt::unpopulate::<D>),
        ttm_tt_destroy: Some(Tt::destroy),
        eviction_valuable: Some(Self::eviction_valuable_callback),
        evict_flags: Some(Self::evict_flags_callback),
        move_: Some(Self::move_callback),
        delete_mem_notify: None,
        swap_notify: None,
        io_mem_reserve: Some(Self::io_mem_reserve_callback),
        io_mem_free: None,
        io_mem_pfn: if D::HAS_IO_PAGE {
            Some(Self::io_mem_pfn_callback)
        } else {
            None
        },
        access_memory: if D::HAS_ACCESS_MEMORY {
            Some(Self::access_memory_callback)
        } else {
            None
        },
        release_notify: None,
    };

    /// Implements the `eviction_valuable` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn eviction_valuable_callback(
        bo: *mut bindings::ttm_buffer_object,
        place: *const bindings::ttm_place,
    ) -> bool {
        // SAFETY: TTM gives us a valid object of this device, reserved.
        unsafe {
            Buffer::<D::Bo>::from_raw(bo).is_none_or(D::evictable)
                && bindings::ttm_bo_eviction_valuable(bo, place)
        }
    }

    /// Implements the `evict_flags` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn evict_flags_callback(
        bo: *mut bindings::ttm_buffer_object,
        placement: *mut bindings::ttm_placement,
    ) {
        // The remnant of a moved object may be discarded once it is idle. An empty placement means
        // that.
        // SAFETY: TTM gives us a valid object of this device, reserved, in some place, and a
        // placement to fill in.
        unsafe {
            (*placement).num_placement = 0;
            let from = Resource::from_raw((*bo).resource, Self::from_raw((*bo).bdev));
            if let (Some(buffer), Some(from)) = (Buffer::<D::Bo>::from_raw(bo), from) {
                *placement = buffer.set_eviction(D::evict(buffer, from));
            }
            if (*placement).num_placement == 0 {
                // TTM removes the pages, and leaves user space's mappings of them to its caller.
                bindings::ttm_bo_unmap_virtual(bo);
            }
        }
    }

    /// Implements the `move` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn move_callback(
        bo: *mut bindings::ttm_buffer_object,
        evict: bool,
        ctx: *mut bindings::ttm_operation_ctx,
        new: *mut bindings::ttm_resource,
        hop: *mut bindings::ttm_place,
    ) -> ffi::c_int {
        // SAFETY: TTM gives us a valid object of this device, reserved, with the new place.
        unsafe {
            let Some(buffer) = Buffer::<D::Bo>::from_raw(bo) else {
                // This is the remnant of a moved object: once it is idle, its contents are not
                // needed.
                let ret = bindings::ttm_bo_wait_ctx(bo, ctx);
                if ret == 0 {
                    bindings::rust_ext_ttm_bo_move_null(bo, new);
                }
                return ret;
            };
            let device = Self::from_raw((*bo).bdev);
            let Some(mv) = Move::new(buffer, device, evict, ctx, new, hop) else {
                return EINVAL.to_errno();
            };
            if !(*bo).resource.is_null() {
                buffer.tell_importers();
            }
            let result = buffer.while_moving(|| D::move_(mv).map(|moved| moved.to_errno()));
            buffer.note_place();
            // TTM frees the new place after an error, and a move has already freed the old one. So
            // the result tells TTM which of them happened, whatever the driver returned.
            if (*bo).resource == new {
                return 0;
            }
            match result {
                Ok(0) => EINVAL.to_errno(),
                Ok(errno) => errno,
                Err(e) => e.to_errno(),
            }
        }
    }

    /// Implements the `io_mem_reserve` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn io_mem_reserve_callback(
        bdev: *mut bindings::ttm_device,
        res: *mut bindings::ttm_resource,
    ) -> ffi::c_int {
        // SAFETY: TTM gives us a device of this driver.
        let device = unsafe { Self::from_raw(bdev) };
        // SAFETY: TTM gives us a resource of that device, which stays during the call.
        let Some(resource) = (unsafe { Resource::from_raw(res, device) }) else {
            return EINVAL.to_errno();
        };
        let placed = resource.placed();
        let needed = if D::HAS_IO_PAGE {
            PAGE_SIZE
        } else {
            placed.size
        };
        match D::io_memory(device.drm(), resource) {
            Ok(None) if device.uses_tt(placed.mem_type) => 0,
            Ok(Some(io)) if device.reaches(&io, needed) => {
                // SAFETY: The caller may change the resource's bus placement, and asks us to.
                unsafe {
                    (*res).bus.offset = io.phys;
                    (*res).bus.is_iomem = true;
                    (*res).bus.caching = io.caching.as_raw();
                }
                0
            }
            // There are no pages, or the memory ends before the resource does, or is another's.
            Ok(_) => EINVAL.to_errno(),
            Err(e) => e.to_errno(),
        }
    }

    /// Implements the `io_mem_pfn` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn io_mem_pfn_callback(
        bo: *mut bindings::ttm_buffer_object,
        page: ffi::c_ulong,
    ) -> ffi::c_ulong {
        // SAFETY: TTM gives us a reserved object of this driver, with a bus placement.
        unsafe {
            let device = Self::from_raw((*bo).bdev);
            let res = (*bo).resource;
            // CAST: Page numbers fit.
            let first = ((*res).bus.offset >> PAGE_SHIFT) as ffi::c_ulong;
            Resource::from_raw(res, device)
                .and_then(|resource| D::io_page(device.drm(), resource, page))
                .filter(|io| device.reaches(io, PAGE_SIZE))
                // CAST: Page numbers fit.
                .map_or(first, |io| (io.phys >> PAGE_SHIFT) as ffi::c_ulong)
        }
    }

    /// Implements the `access_memory` callback. Returns the number of bytes copied: all.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    unsafe extern "C" fn access_memory_callback(
        bo: *mut bindings::ttm_buffer_object,
        offset: ffi::c_ulong,
        buf: *mut ffi::c_void,
        len: ffi::c_int,
        write: ffi::c_int,
    ) -> ffi::c_int {
        // SAFETY: TTM gives us a valid object of this device, reserved.
        let Some(buffer) = (unsafe { Buffer::<D::Bo>::from_raw(bo) }) else {
            return EIO.to_errno();
        };
        let Some(size) = size_within(buffer.size(), offset, len) else {
            return EIO.to_errno();
        };
        // SAFETY: The object is reserved for as long as this call takes.
        let held = unsafe { HeldResv::new(buffer.resv()) };
        // SAFETY: TTM gives us `size` bytes of its caller's, which nobody else uses during the
        // call. For a write its caller has filled them. For a read they need not be initialized
        // before we zero them.
        let access = unsafe {
            if write != 0 {
                BytesAccess::Write(slice::from_raw_parts(buf.cast(), size))
            } else {
                ptr::write_bytes(buf.cast::<u8>(), 0, size);
                BytesAccess::Read(slice::from_raw_parts_mut(buf.cast(), size))
            }
        };
        match buffer
            .reserved(held)
            .ok_or(EIO)
            .and_then(|reserved| D::access_memory(&reserved, offset, access))
        {
            Ok(()) => len,
            Err(e) => e.to_errno(),
        }
    }
}

/// Returns `len` if it is not 0 and that many bytes from `offset` on are within an object of
/// `size`.
fn size_within(size: usize, offset: usize, len: ffi::c_int) -> Option<usize> {
    let len = usize::try_from(len).ok().filter(|&len| len != 0)?;
    (offset.checked_add(len)? <= size).then_some(len)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_ttm_driver)]
mod tests {
    use super::*;

    #[test]
    fn accesses_stay_within_the_object() {
        assert_eq!(size_within(8, 0, 8), Some(8));
        assert_eq!(size_within(8, 7, 1), Some(1));
        assert_eq!(size_within(8, 7, 2), None);
        assert_eq!(size_within(8, 8, 1), None);
        assert_eq!(size_within(8, 8, 0), None);
        assert_eq!(size_within(8, 0, -1), None);
        assert_eq!(size_within(8, usize::MAX, 1), None);
        assert_eq!(size_within(usize::MAX, usize::MAX, 1), None);
    }
}
