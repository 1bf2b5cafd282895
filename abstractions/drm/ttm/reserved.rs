// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects whose reservation is held: what can be done to them.
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

/// An object whose reservation was taken alone, released on drop.
pub(crate) struct LockedObject<'a, T: DriverObject> {
    pub(super) bo: &'a Object<T>,
    pub(super) lock: LockedResv<'a>,
}

impl<T: DriverObject> LockedObject<'_, T> {
    /// What can be done to the object.
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
    /// The proof that the reservation is held, for example to add fences.
    pub(crate) fn held(&self) -> HeldResv<'a> {
        self.held
    }

    /// A reference to the object, unless the last one is gone.
    fn object(&self) -> Result<ARef<Object<T>>> {
        // SAFETY: The object is valid.
        if unsafe { bindings::rust_ext_drm_gem_object_get_unless_zero(self.gem()) } {
            // SAFETY: We have just got a reference.
            Ok(unsafe { ARef::from_raw(NonNull::from(self.bo).cast()) })
        } else {
            Err(EINVAL)
        }
    }

    /// The object that the reservation is part of, unless its last reference is gone.
    pub(super) fn owner(&self) -> Result<ARef<Object<T>>> {
        // Not the one that only shares it: each would keep the one before.
        self.bo
            .share()
            .map_or_else(|| self.object(), |owner| Ok(owner.clone()))
    }

    fn is_pinned(&self) -> bool {
        // SAFETY: The object is valid and reserved.
        unsafe { (*self.as_raw()).pin_count != 0 }
    }

    /// Brings the object to one of the places of `placement`, if it is not there yet, and system
    /// pages behind it if it needs them.
    ///
    /// Moving it may use up the room for fences that was made in the reservation before.
    ///
    /// - `EINVAL`: `placement` is empty.
    /// - `ENOMEM`: there is no room.
    /// - `EBUSY`: it is mapped, or the device would have to be waited for.
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

    /// Throws away what the object holds, once the device is through with it. It then lies nowhere.
    ///
    /// User space's mappings of it are taken away; TTM leaves that to its caller.
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

    /// Brings system pages behind the object, if it lies in memory that has them.
    ///
    /// - `ENODEV`: the device is gone.
    /// - `ENXIO`: it lies nowhere.
    pub(crate) fn populate(&self, ctx: &mut Ctx) -> Result {
        if self.placed().is_none() {
            return Err(ENXIO);
        }
        // SAFETY: The object is valid and reserved.
        to_result(unsafe { bindings::ttm_bo_populate(self.as_raw(), &mut ctx.0) })
    }

    /// Where the object lies.
    pub(crate) fn placed(&self) -> Option<Placed> {
        self.resource().map(|resource| resource.placed())
    }

    /// The kind of memory that it lies in.
    pub(crate) fn mem_type(&self) -> Option<MemType> {
        self.placed().map(|placed| placed.mem_type)
    }

    /// What the manager gave out for it, if it lies somewhere, and `M` is the manager there.
    pub(crate) fn allocation<M: ResourceManager>(&self) -> Option<M::Allocation> {
        self.resource()?.allocation::<M>().cloned()
    }

    /// Not to be handed out, as it is gone when the object is moved.
    fn resource(&self) -> Option<Resource<'_, T::Driver>> {
        // SAFETY: The object is reserved; the resource stays until it is moved.
        unsafe { Resource::from_raw((*self.as_raw()).resource, self.ttm_device()) }
    }

    /// Whether the system pages behind it are there.
    pub(crate) fn is_populated(&self) -> bool {
        self.bo.is_populated()
    }

    /// The DMA address of one of the system pages behind it, if they are there.
    pub(crate) fn dma_address(&self, page: usize) -> Option<u64> {
        // SAFETY: The object is reserved.
        unsafe { tt::dma_address((*self.as_raw()).ttm, page) }
    }

    /// Puts the DMA addresses of its system pages from `first` on into `into`, each with `bits` set, as
    /// far as they are there. Gives how many those are.
    pub(crate) fn dma_addresses(&self, first: usize, bits: u64, into: &mut [u64]) -> usize {
        // SAFETY: The object is reserved.
        unsafe { tt::dma_addresses((*self.as_raw()).ttm, first, bits, into) }
    }

    /// Replaces the pages of a process behind the object, whose [`Backing`](super::Backing) says so.
    ///
    /// Pages that were there before are let go, once the device is through with them, and the
    /// object lies nowhere until it is validated, which maps the new pages for the device. The
    /// caller must see to it that the device does not use them once the process has taken them
    /// back; see [`tt`].
    ///
    /// - `EINVAL`: it is not that kind of object, or there are not as many pages as it needs.
    /// - `EFAULT`: a page is missing.
    pub(crate) fn set_user_pages(&self, pages: &[Pfn], ctx: &mut Ctx) -> Result {
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

    /// Marks the pages of a process behind the object as dirty, if the device may write to them. To be
    /// called before it may; see [`tt`]. Does not sleep, and does nothing to other objects.
    ///
    /// # Safety
    ///
    /// The process must not have taken its pages back since they were gathered, and must not be able to
    /// during the call: the lock that the notifier's callback takes is held, and what was gathered is
    /// current.
    pub(crate) unsafe fn mark_user_pages_dirty(&self) {
        if self.is_populated() {
            // SAFETY: The object is valid and reserved, and a populated one has a table; the rest by the
            // safety requirements.
            unsafe { Tt::mark_user_pages_dirty((*self.as_raw()).ttm) };
        }
    }

    /// Notes that the object was used: others are evicted before it.
    pub(crate) fn touch(&self) {
        // SAFETY: The object is valid and reserved.
        unsafe { bindings::rust_ext_ttm_bo_move_to_lru_tail_unlocked(self.as_raw()) };
    }

    /// Maps some pages of the object for the kernel. It stays in its place meanwhile.
    ///
    /// What the device does to the memory is not waited for.
    pub(crate) fn map(&self, pages: Range<usize>) -> Result<Mapping<'a, T>> {
        Mapping::new(*self, pages)
    }
}
