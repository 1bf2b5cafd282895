// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operations on buffer objects whose reservation is held (amdgpu: `amdgpu_bo_reserve()`).
//!
//! C header: [`include/drm/ttm/ttm_bo.h`](srctree/include/drm/ttm/ttm_bo.h)

use super::{
    bo::{
        Buffer,
        Ctx,
        DriverObject,
        Object, //
    },
    mapping::Mapping,
    resource::{
        Placed,
        Resource,
        ResourceManager, //
    },
    tt::{
        self,
        Tt, //
    },
    MemType,
    Placement, //
};
use crate::{
    abstractions::{
        dma_resv::{
            HeldResv,
            LockedResv, //
        },
        mm::hmm::Pfn, //
    },
    bindings, //
};
use core::{
    ops::{
        Deref,
        Range, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::aref::ARef, //
};

/// An object whose reservation was taken alone; released on drop.
pub(crate) struct LockedObject<'a, T: DriverObject> {
    pub(super) bo: &'a Object<T>,
    pub(super) lock: LockedResv<'a>,
}

impl<T: DriverObject> LockedObject<'_, T> {
    /// Returns the operations on the object.
    pub(crate) fn reserved(&self) -> Reserved<'_, T> {
        // INVARIANT: The lock is that of the object.
        Reserved {
            bo: self.bo,
            held: self.lock.held(),
        }
    }
}

impl<T: DriverObject> Drop for LockedObject<'_, T> {
    fn drop(&mut self) {
        self.reserved().touch();
    }
}

/// An object whose reservation is held.
///
/// # Invariants
///
/// `held` is the proof for the object's reservation.
pub(crate) struct Reserved<'a, T: DriverObject> {
    pub(super) bo: &'a Buffer<T>,
    pub(super) held: HeldResv<'a>,
}

impl<T: DriverObject> Clone for Reserved<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: DriverObject> Copy for Reserved<'_, T> {}

impl<T: DriverObject> Deref for Reserved<'_, T> {
    type Target = Buffer<T>;

    fn deref(&self) -> &Buffer<T> {
        self.bo
    }
}

impl<'a, T: DriverObject> Reserved<'a, T> {
    /// Returns the proof that the reservation is held, for example to add fences.
    pub(crate) fn held(&self) -> HeldResv<'a> {
        self.held
    }

    /// Returns a reference to the object, unless the last one is gone.
    fn object(&self) -> Result<ARef<Object<T>>> {
        // SAFETY: The object is valid.
        if unsafe { bindings::rust_ext_drm_gem_object_get_unless_zero(self.gem()) } {
            // SAFETY: We have just got a reference.
            Ok(unsafe { ARef::from_raw(NonNull::from(self.bo).cast()) })
        } else {
            Err(EINVAL)
        }
    }

    /// Returns the object that the reservation is part of, unless its last reference is gone.
    pub(super) fn owner(&self) -> Result<ARef<Object<T>>> {
        // An object that only shares the reservation must not be returned: each would keep the
        // previous one.
        self.bo
            .share()
            .map_or_else(|| self.object(), |owner| Ok(owner.clone()))
    }

    /// Returns true if the object must not move.
    pub(crate) fn is_pinned(&self) -> bool {
        // SAFETY: The object is valid and reserved.
        unsafe { (*self.as_raw()).pin_count != 0 }
    }

    /// Returns true if another device is attached to the object as a DMA buffer.
    pub(crate) fn is_attached(&self) -> bool {
        self.bo.is_attached()
    }

    /// Moves the object to one of the places of `placement`, if it is not there yet. Populates it
    /// with system pages if it needs them.
    ///
    /// Moving it may use up fence slots that were reserved before.
    ///
    /// - `EINVAL`: `placement` is empty.
    /// - `ENOMEM`: there is no room.
    /// - `EBUSY`: the object is mapped, or the operation would have to wait for the device.
    /// - `EFAULT`: it needs user pages and has none.
    pub(crate) fn validate(&self, placement: &Placement, ctx: &mut Ctx) -> Result {
        if placement.places().is_empty() {
            return Err(EINVAL);
        }
        // SAFETY: The object is valid and reserved.
        let ret = unsafe {
            bindings::ttm_bo_validate(self.as_raw(), &mut placement.as_raw(), &mut ctx.0)
        };
        to_result(ret).map_err(|e| {
            if self.is_pinned() && e == EINVAL {
                EBUSY
            } else {
                e
            }
        })
    }

    /// Discards the contents of the object, once the device is done with them. It then lies
    /// nowhere.
    ///
    /// User space's mappings of it are removed; TTM leaves that to its caller.
    pub(crate) fn discard(&self, ctx: &mut Ctx) -> Result {
        if self.is_pinned() {
            return Err(EBUSY);
        }
        // SAFETY: The object is valid and reserved.
        to_result(unsafe {
            bindings::ttm_bo_unmap_virtual(self.as_raw());
            bindings::ttm_bo_validate(self.as_raw(), &mut Placement::NOWHERE.as_raw(), &mut ctx.0)
        })
    }

    /// Populates the object with system pages, if it lies in memory that has them.
    ///
    /// - `ENODEV`: the device is gone.
    /// - `ENXIO`: the object lies nowhere.
    #[cfg_attr(
        not(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST),
        expect(dead_code, reason = "used by tests only")
    )]
    pub(crate) fn populate(&self, ctx: &mut Ctx) -> Result {
        if self.placed().is_none() {
            return Err(ENXIO);
        }
        // SAFETY: The object is valid and reserved.
        to_result(unsafe { bindings::ttm_bo_populate(self.as_raw(), &mut ctx.0) })
    }

    /// Returns the object's place, if any.
    pub(crate) fn placed(&self) -> Option<Placed> {
        self.resource().map(|resource| resource.placed())
    }

    /// Returns the kind of memory that the object lies in, if any.
    pub(crate) fn mem_type(&self) -> Option<MemType> {
        self.placed().map(|placed| placed.mem_type)
    }

    /// Returns the manager's allocation for the object, if it lies somewhere and `M` is the manager
    /// there.
    pub(crate) fn allocation<M: ResourceManager>(&self) -> Option<M::Allocation> {
        self.resource()?.allocation::<M>().cloned()
    }

    /// Returns the resource. It must not be handed out, as it is gone when the object is moved.
    fn resource(&self) -> Option<Resource<'_, T::Driver>> {
        // SAFETY: The object is reserved; the resource stays until it is moved.
        unsafe { Resource::from_raw((*self.as_raw()).resource, self.ttm_device()) }
    }

    /// Returns true if the system pages behind the object exist.
    pub(crate) fn is_populated(&self) -> bool {
        self.bo.is_populated()
    }

    /// Returns the DMA address of one of the system pages behind the object, if they exist.
    pub(crate) fn dma_address(&self, page: usize) -> Option<u64> {
        // SAFETY: The object is reserved.
        unsafe { tt::dma_address((*self.as_raw()).ttm, page) }
    }

    /// Writes the DMA addresses of the object's system pages from `first` on to `into`, each with
    /// `bits` set, as far as the pages exist. Returns the number of addresses written.
    pub(crate) fn dma_addresses(&self, first: usize, bits: u64, into: &mut [u64]) -> usize {
        // SAFETY: The object is reserved.
        unsafe { tt::dma_addresses((*self.as_raw()).ttm, first, bits, into) }
    }

    /// Replaces the user pages behind the object, whose [`PageSource`](super::PageSource) must be
    /// a process.
    ///
    /// Pages that were set before are released once the device is done with them. The object lies
    /// nowhere until it is validated, which maps the new pages for the device.
    ///
    /// - `EINVAL`: the object does not take user pages, or the number of pages is wrong.
    /// - `EFAULT`: a page is missing.
    ///
    /// # Safety
    ///
    /// The process may take the pages back at any time, even before this is called. From then on
    /// the device must not access them through the addresses that the object has for them. So the
    /// caller must follow the protocol of [`mm`](crate::abstractions::mm): the pages come from a
    /// look-up in a range with a notifier; the addresses reach the device only under the lock that
    /// the notifier's callback takes, after a check that no callback has come since the look-up;
    /// and a callback does not return before the device is done with them.
    pub(crate) unsafe fn set_user_pages(&self, pages: &[Pfn], ctx: &mut Ctx) -> Result {
        let raw = self.as_raw();
        // SAFETY: The object is valid and reserved.
        if self.is_populated() || unsafe { (*raw).ttm.is_null() } {
            self.discard(ctx)?;
        }
        // SAFETY: As above.
        let tt = unsafe { (*raw).ttm };
        if tt.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The table is unpopulated: either it was, or `discard` has made it so or put a new
        // one in its place.
        unsafe { Tt::set_user_pages(tt, pages) }
    }

    /// Marks the user pages behind the object as dirty, if the device may write to them. Must be
    /// called before the device may write; see [`tt`]. Does not sleep, and does not affect other
    /// objects.
    ///
    /// # Safety
    ///
    /// The process must not have taken its pages back since they were looked up, and must not be
    /// able to during the call: the lock that the notifier's callback takes is held, and the pages
    /// are current.
    pub(crate) unsafe fn mark_user_pages_dirty(&self) {
        if self.is_populated() {
            // SAFETY: The object is valid and reserved, and a populated one has a table; the rest
            // by the safety requirements.
            unsafe { Tt::mark_user_pages_dirty((*self.as_raw()).ttm) };
        }
    }

    /// Marks the object as recently used: others are evicted before it.
    pub(crate) fn touch(&self) {
        // SAFETY: The object is valid and reserved.
        unsafe { bindings::rust_ext_ttm_bo_move_to_lru_tail_unlocked(self.as_raw()) };
    }

    /// Maps some pages of the object for the kernel. The object stays in its place meanwhile.
    ///
    /// Does not wait for the device's work on the memory.
    pub(crate) fn map(&self, pages: Range<usize>) -> Result<Mapping<'a, T>> {
        Mapping::new(*self, pages)
    }
}
