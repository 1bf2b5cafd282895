// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Moves of an object from one place to another (amdgpu: `amdgpu_bo_move()`).

use super::{
    bo::Buffer,
    device::Device,
    driver::Driver,
    resource::Resource,
    tt,
    Place, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        dma_resv::{
            HeldResv,
            Resv,
            Usage, //
        },
    },
    bindings, //
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A move that TTM requests from the driver.
///
/// The object's reservation is held. If the new place is backed by system pages, they exist, unless
/// it is [`MemType::SYSTEM`](super::MemType::SYSTEM).
///
/// A move is completed by one of the functions that consume it.
///
/// The device's work for a move must wait for the fences in [`Move::resv`]. These are the fences of
/// the object's users. Those for [`Usage::Kernel`]
/// also include the fences of evictions, which must signal before the new place is free.
///
/// # Invariants
///
/// `ctx`, `new_raw` and `hop` are the arguments that TTM gave to the `move` callback for `bo`,
/// which is reserved. The object has not been moved yet.
pub(crate) struct Move<'a, D: Driver> {
    bo: &'a Buffer<D::Bo>,
    evict: bool,
    ctx: NonNull<bindings::ttm_operation_ctx>,
    old: Option<Resource<'a, D>>,
    new: Resource<'a, D>,
    new_raw: NonNull<bindings::ttm_resource>,
    hop: *mut bindings::ttm_place,
}

/// Permission of an operation to wait for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The operation fails with `EBUSY` rather than wait.
    No,
    /// The operation may wait in this way.
    Yes(Interruptible),
}

impl Wait {
    /// Waits until every fence of this usage in `resv` is signaled, if waiting is allowed.
    ///
    /// # Errors
    ///
    /// `EBUSY`, `ERESTARTSYS`.
    pub(crate) fn wait(self, resv: &Resv, usage: Usage) -> Result {
        match self {
            Self::Yes(intr) => resv.wait(usage, intr),
            Self::No if resv.is_idle(usage) => Ok(()),
            Self::No => Err(EBUSY),
        }
    }
}

/// Proof that a move was completed, or that the object is to make an intermediate stop.
pub(crate) struct Moved(ffi::c_int);

impl Moved {
    pub(super) fn to_errno(&self) -> ffi::c_int {
        self.0
    }
}

impl<'a, D: Driver> Move<'a, D> {
    /// Wraps the arguments of the `move` callback.
    ///
    /// # Safety
    ///
    /// They must be the arguments of the callback for `bo`.
    pub(super) unsafe fn new(
        bo: &'a Buffer<D::Bo>,
        device: &'a Device<D>,
        evict: bool,
        ctx: *mut bindings::ttm_operation_ctx,
        new: *mut bindings::ttm_resource,
        hop: *mut bindings::ttm_place,
    ) -> Option<Self> {
        // SAFETY: By the safety requirements the object is reserved, so that its resource stays
        // until it is moved, and the new one belongs to us until then.
        // INVARIANT: By the safety requirements.
        unsafe {
            Some(Self {
                bo,
                evict,
                ctx: NonNull::new(ctx)?,
                old: Resource::from_raw((*bo.as_raw()).resource, device),
                new: Resource::from_raw(new, device)?,
                new_raw: NonNull::new(new)?,
                hop,
            })
        }
    }

    /// Returns the object.
    pub(crate) fn buffer(&self) -> &'a Buffer<D::Bo> {
        self.bo
    }

    /// Returns true if the move makes room for other objects.
    pub(crate) fn is_eviction(&self) -> bool {
        self.evict
    }

    /// Returns the old place; `None` if there was none yet, or the contents were discarded.
    pub(crate) fn old(&self) -> Option<Resource<'_, D>> {
        self.old
    }

    /// Returns the new place.
    pub(crate) fn new_place(&self) -> Resource<'_, D> {
        self.new
    }

    /// Returns the permission of the move to wait for the device.
    pub(crate) fn may_wait(&self) -> Wait {
        // SAFETY: By the type invariant the context is valid.
        let ctx = unsafe { self.ctx.as_ref() };
        match (ctx.no_wait_gpu, ctx.interruptible) {
            (true, _) => Wait::No,
            (false, true) => Wait::Yes(Interruptible::Yes),
            (false, false) => Wait::Yes(Interruptible::No),
        }
    }

    /// Writes the DMA addresses of the object's system pages from `first` on to `into`, each with
    /// `bits` set, as far as the pages exist. Returns the number of addresses written. The pages
    /// are those of the old place or of the new one, whichever has them.
    pub(crate) fn dma_addresses(&self, first: usize, bits: u64, into: &mut [u64]) -> usize {
        // SAFETY: By the type invariant the object is reserved.
        unsafe { tt::dma_addresses((*self.bo.as_raw()).ttm, first, bits, into) }
    }

    /// Returns the object's reservation, for inspection.
    pub(crate) fn resv(&self) -> &Resv {
        self.bo.resv()
    }

    /// Returns the proof that the object's reservation is held.
    pub(crate) fn held(&self) -> HeldResv<'_> {
        // SAFETY: By the type invariant the object is reserved, which it stays until TTM's callback
        // returns, which takes this value away before.
        unsafe { HeldResv::new(self.resv()) }
    }

    /// Waits until the object is idle.
    pub(crate) fn wait_idle(&self) -> Result {
        // SAFETY: By the type invariant object and context are valid.
        to_result(unsafe { bindings::ttm_bo_wait_ctx(self.bo.as_raw(), self.ctx.as_ptr()) })
    }

    /// Completes the move at once: there is nothing to copy, or both places stand for the same
    /// pages.
    ///
    /// The old place is free for others immediately. If the device may still use it, call
    /// [`Move::wait_idle`] before.
    pub(crate) fn in_place(self) -> Result<Moved> {
        // SAFETY: By the type invariant the object is reserved and not moved yet.
        unsafe {
            bindings::rust_ext_ttm_bo_move_null(self.bo.as_raw(), self.new_raw.as_ptr());
        }
        Ok(Moved(0))
    }

    /// Completes the move at once: there is nothing to copy. The device prepares the new place for
    /// the object's users, which must wait for `fence`.
    ///
    /// The old place is free for others immediately, as with [`Move::in_place`].
    pub(crate) fn prepared(self, fence: &Fence) -> Result<Moved> {
        let resv = self.resv().as_raw();
        // SAFETY: By the type invariant the object is reserved.
        let reserved = to_result(unsafe { bindings::dma_resv_reserve_fences(resv, 1) });
        if reserved.is_err() {
            // Nobody else may get the new place before.
            let _ = fence.wait(Interruptible::No);
        }
        reserved?;
        // SAFETY: As above; there is room for a fence.
        unsafe {
            bindings::dma_resv_add_fence(
                resv,
                fence.as_raw(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
            );
        }
        self.in_place()
    }

    /// Copies one of the object's system pages, for a move by the processor. The pages are those of
    /// the old place or of the new one, whichever has them.
    ///
    /// - `EINVAL`: there is no such page, or it is not the object's own.
    pub(crate) fn read_page(&self, page: usize, into: &mut [u8; PAGE_SIZE]) -> Result {
        // SAFETY: By the type invariant the object is reserved. TTM has taken user space's mappings
        // of it away.
        unsafe {
            tt::page((*self.bo.as_raw()).ttm, page)?.read_raw(into.as_mut_ptr(), 0, PAGE_SIZE)
        }
    }

    /// Overwrites one of the object's system pages, as [`Move::read_page`] reads it.
    pub(crate) fn write_page(&self, page: usize, from: &[u8; PAGE_SIZE]) -> Result {
        // SAFETY: As in `read_page`.
        unsafe { tt::page((*self.bo.as_raw()).ttm, page)?.write_raw(from.as_ptr(), 0, PAGE_SIZE) }
    }

    /// Completes a move of an object that has a place, after the processor has copied its bytes.
    /// The old place and its system pages are freed, once the object is idle.
    pub(crate) fn copied(self) -> Result<Moved> {
        self.wait_idle()?;
        // SAFETY: By the type invariant the object is reserved and not moved yet. It is idle.
        unsafe {
            if (*self.bo.as_raw()).resource.is_null() {
                return self.in_place();
            }
            bindings::ttm_bo_move_sync_cleanup(self.bo.as_raw(), self.new_raw.as_ptr());
        }
        Ok(Moved(0))
    }

    /// Completes a move that the device copies. `fence` must signal when the copy is done.
    ///
    /// The object has the new place at once. The old place and its system pages are kept until the
    /// fence is signaled. Evictions out of memory that is backed by system pages wait here.
    ///
    /// The fences of evictions must belong to no more than eight timelines.
    pub(crate) fn pipelined(self, fence: &Fence) -> Result<Moved> {
        let bo = self.bo.as_raw();
        // SAFETY: By the type invariant the object is reserved and not moved yet.
        let result = unsafe {
            if (*bo).resource.is_null() {
                // There was no old place: the fence is that of a clear.
                return self.prepared(fence);
            } else {
                // TTM has reserved a slot for one fence, which another fence may have used by now.
                to_result(bindings::dma_resv_reserve_fences(self.resv().as_raw(), 1)).and_then(
                    |()| {
                        to_result(bindings::ttm_bo_move_accel_cleanup(
                            bo,
                            fence.as_raw(),
                            self.evict,
                            true,
                            self.new_raw.as_ptr(),
                        ))
                    },
                )
            }
        };
        if result.is_err() {
            // Both places must stay until the device is done with them.
            let _ = fence.wait(Interruptible::No);
        }
        result.map(|()| Moved(0))
    }

    /// Requests a stop at `place` first. The driver is then called for both moves.
    ///
    /// TTM does not allow this on the way to such a stop, nor when it swaps an object out.
    pub(crate) fn hop(self, place: Place) -> Result<Moved> {
        if self.hop.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant TTM gave us the memory to write to.
        unsafe { *self.hop = place.to_raw() };
        Ok(Moved(EMULTIHOP_ERRNO))
    }
}

/// `-EMULTIHOP`, which the kernel crate does not define.
// CAST: Error numbers are small.
const EMULTIHOP_ERRNO: ffi::c_int = -(bindings::EMULTIHOP as ffi::c_int);
