// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The period in which the objects of a TTM device may use the hardware below it.
//!
//! Objects outlive the binding of the parent device: an open file, a mapping or a DMA buffer keeps
//! them. Their system pages are mapped for DMA by the parent, and their other memory is one of its
//! BARs. Both must be gone when the parent is unbound, and neither may come back. An [`Attachment`]
//! stands for that period: it is made for a bound parent. The driver core ends it when the parent
//! is unbound, if its owner has not done so before. Outside of it, populating an object, moving it,
//! or mapping it for the kernel fails with `ENODEV`.
//!
//! `ttm_device_clear_dma_mappings()` serves the same purpose, but is not used. It unpopulates
//! objects whose reservations others hold. With a spin lock held, it also waits for objects whose
//! destruction needs that lock.
//!
//! # The end of an attachment
//!
//! 1. The [`Gate`] is closed: no new use of the hardware begins, and those under way are waited
//!    for.
//! 2. Other devices are told to give up their mappings of objects, and those and their pins are
//!    waited for: see [`export`](super::export).
//! 3. Each object that is not already being destroyed gives up its system pages, with its
//!    reservation held and after the fences in it have signaled.
//! 4. The rest are objects on their way out and remnants of moves (ghost objects). TTM destroys
//!    them itself when their fences are signaled, and this step waits for that.
//!
//! # Lock order
//!
//! Reservations, then [`Gate`], then [`Objects`].

use super::{
    bo::{
        Buffer,
        DriverObject, //
    },
    device::Device,
    driver::Driver, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Interruptible,
            FOREVER, //
        },
        dma_resv::Usage,
        drm::{
            self,
            children::Children, //
        },
    },
    bindings, //
};
use core::ptr::NonNull;
use kernel::{
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    new_spinlock,
    new_srcu,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        srcu,
        SpinLock,
        Srcu, //
    }, //
};

/// States of a [`Gate`]. Each is entered once, in this order.
mod state {
    /// No attachment was made yet.
    pub(super) const NEW: u32 = 0;
    /// An attachment exists.
    pub(super) const OPEN: u32 = 1;
    /// The attachment has ended.
    pub(super) const CLOSED: u32 = 2;
}

/// A gate that every user of the hardware below a device passes.
///
/// # Invariants
///
/// While the state is `OPEN`, and while a [`Section`] lives, the parent device is bound.
#[pin_data]
pub(super) struct Gate {
    #[pin]
    sections: Srcu,
    state: Atomic<u32>,
}

/// A section of code in which the parent device stays bound.
pub(super) struct Section<'a> {
    _guard: srcu::Guard<'a>,
}

impl Gate {
    /// Returns a gate that was not opened yet.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: Neither is it open, nor is there a section.
        try_pin_init!(Self {
            sections <- new_srcu!("ttm::Gate"),
            state: Atomic::new(state::NEW),
        })
    }

    /// Enters a section, if the gate is open. Sections may be nested, and may sleep.
    pub(super) fn enter(&self) -> Option<Section<'_>> {
        let guard = self.sections.read_lock();
        // INVARIANT: `close` waits for the section, as it has begun before this look at the state.
        (self.state.load(Acquire) == state::OPEN).then_some(Section { _guard: guard })
    }

    /// Opens the gate. Returns `EBUSY` if it was opened before.
    ///
    /// # Safety
    ///
    /// The parent device must stay bound until `close` has returned.
    unsafe fn open(&self) -> Result {
        // INVARIANT: By the safety requirements.
        self.state
            .cmpxchg(state::NEW, state::OPEN, Release)
            .map_err(|_| EBUSY)?;
        Ok(())
    }

    /// Closes the gate, and waits for the sections that were entered.
    fn close(&self) {
        self.state.store(state::CLOSED, Relaxed);
        self.sections.synchronize();
    }
}

/// A node of [`Objects`], allocated ahead of time.
pub(super) type Node = RBTreeNode<usize, Entry>;

/// An object of a device.
///
/// # Invariants
///
/// The object is initialized, and is not freed before it is removed from its device's [`Objects`].
pub(super) struct Entry(NonNull<bindings::ttm_buffer_object>);

// SAFETY: A buffer object may be used from any thread.
unsafe impl Send for Entry {}

/// The set of objects of a device that are complete and not being freed.
#[pin_data]
pub(super) struct Objects {
    /// Entries by address.
    #[pin]
    entries: SpinLock<RBTree<usize, Entry>>,
}

impl Objects {
    /// Returns an empty set.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self { entries <- new_spinlock!(RBTree::new(), "ttm::Objects") })
    }

    /// Allocates the node for an object.
    pub(super) fn node(bo: NonNull<bindings::ttm_buffer_object>) -> Result<Node> {
        // INVARIANT: By the safety requirements of `add`.
        RBTreeNode::new(bo.addr().get(), Entry(bo), GFP_KERNEL)
    }

    /// Adds an object.
    ///
    /// # Safety
    ///
    /// The object of `node` must be initialized, and may be freed only after `remove`.
    pub(super) unsafe fn add(&self, node: Node) {
        let replaced = self.entries.lock().insert(node);
        drop(replaced);
    }

    /// Removes an object, if it was added.
    pub(super) fn remove(&self, bo: NonNull<bindings::ttm_buffer_object>) {
        let removed = self.entries.lock().remove_node(&bo.addr().get());
        drop(removed);
    }

    /// Calls `f` with each object that is not already being destroyed.
    fn for_each(&self, mut f: impl FnMut(&Referenced)) {
        let mut from = 0;
        while let Some(bo) = self.next(from) {
            from = bo.after();
            f(&bo);
        }
    }

    /// Returns the first object at or after `from` that is not already being destroyed.
    fn next(&self, from: usize) -> Option<Referenced> {
        let entries = self.entries.lock();
        let mut from = from;
        loop {
            let bo = entries.cursor_lower_bound(&from)?.current().1 .0;
            // SAFETY: By the type invariant of `Entry` the object is not freed while we hold the
            // lock.
            if unsafe { bindings::rust_ext_ttm_bo_get_unless_zero(bo.as_ptr()) } {
                // INVARIANT: The reference was just taken.
                return Some(Referenced(bo));
            }
            from = bo.addr().get() + 1;
        }
    }
}

/// An object with a reference of TTM's own kind (`ttm_bo_get()`). Objects without users that are
/// not idle yet have such references, too.
///
/// # Invariants
///
/// This value owns the reference.
struct Referenced(NonNull<bindings::ttm_buffer_object>);

impl Referenced {
    /// Returns the lowest address that the next object may have.
    fn after(&self) -> usize {
        self.0.addr().get() + 1
    }

    /// Tells other devices to give up their mappings of the object. The caller must hold no
    /// reservation.
    fn tell_importers<T: DriverObject>(&self) {
        // SAFETY: By the type invariant the object is alive, and it is no remnant.
        if let Some(buffer) = unsafe { Buffer::<T>::from_raw(self.0.as_ptr()) } {
            // Only interruptible waits fail.
            if let Ok(_lock) = buffer.resv().lock(Interruptible::No) {
                buffer.tell_importers();
            }
        }
    }

    /// Removes the system pages behind the object, and user space's mappings of them, once its
    /// fences are signaled. The caller must hold no reservation.
    fn take_pages(&self) {
        let bo = self.0.as_ptr();
        // SAFETY: By the type invariant the object is alive, and while it is referenced its
        // reservation stays the same. The object is modified with that held. An object with a table
        // that is idle is emptied without fail.
        unsafe {
            let resv = (*bo).base.resv;
            bindings::rust_ext_dma_resv_lock(resv, core::ptr::null_mut());
            let tt = (*bo).ttm;
            if !tt.is_null() && bindings::rust_ext_ttm_tt_is_populated(tt) {
                bindings::dma_resv_wait_timeout(resv, Usage::Bookkeep.as_raw(), false, FOREVER);
                bindings::ttm_bo_unmap_virtual(bo);
                bindings::ttm_bo_validate(
                    bo,
                    &mut bindings::ttm_placement::default(),
                    &mut bindings::ttm_operation_ctx::default(),
                );
            }
            bindings::rust_ext_dma_resv_unlock(resv);
        }
    }
}

impl Drop for Referenced {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own a reference.
        unsafe { bindings::ttm_bo_fini(self.0.as_ptr()) };
    }
}

/// The number of tables with pages that are mapped for DMA.
pub(super) type Populated = Children;

/// The period in which the objects of a device may use the hardware; see the head of this file.
///
/// Dropping it ends the period. If it is leaked, the driver core ends the period when the parent is
/// unbound. The caller must hold no reservation. The hardware must have been stopped, so that the
/// fences of its work are signaled. Data that it wrote to the objects' system pages is lost.
pub(crate) struct Attachment<D: Driver>(
    #[expect(dead_code, reason = "kept for its drop")] Devres<Attached<D>>,
);

impl<D: Driver> Attachment<D> {
    /// Lets the objects of the TTM device of `drm` use the hardware. `parent` must be the device
    /// that `drm` was allocated with. This succeeds once for each device.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another parent, or if the TTM device is part of another DRM device; `EBUSY` on
    /// a second call; `ENOMEM`.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        drm: &drm::device::Shared<D::Drm>,
    ) -> Result<Self> {
        let device = D::device(drm);
        if !device.belongs_to(drm) || device.dma_device() != drm::device::device_as_raw(parent) {
            return Err(EINVAL);
        }
        let attached = try_init!(Attached::<D> {
            // INVARIANT: It comes from `drm`, which is kept.
            device: {
                // SAFETY: The driver core drops what is made here before the parent is unbound, and
                // that closes the gate.
                unsafe { device.gate().open() }?;
                NonNull::from(device)
            },
            _drm: drm.into(),
        }? Error);
        Ok(Self(Devres::new(parent, attached)?))
    }
}

/// The part of an attachment that the driver core drops before the parent is unbound.
///
/// # Invariants
///
/// `device` is what [`Driver::device`] has returned for `_drm`. It is the device whose gate was
/// opened: the driver is not asked again, as it could give another answer.
struct Attached<D: Driver> {
    device: NonNull<Device<D>>,
    _drm: ARef<drm::device::Shared<D::Drm>>,
}

// SAFETY: A TTM device may be used from any thread, and so may a DRM device.
unsafe impl<D: Driver> Send for Attached<D> {}
// SAFETY: There are no methods on a `&Attached`.
unsafe impl<D: Driver> Sync for Attached<D> {}

impl<D: Driver> Drop for Attached<D> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it was borrowed from a DRM device that we keep. That does
        // not move, and its data is not changed while there are references to it, so the loan could
        // have been as long as that.
        let device = unsafe { self.device.as_ref() };

        device.gate().close();
        device.objects().for_each(|bo| bo.tell_importers::<D::Bo>());
        device.lent().wait();
        device.objects().for_each(Referenced::take_pages);
        device.populated().wait();
    }
}
