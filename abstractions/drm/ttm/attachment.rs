// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The time for which the objects of a TTM device may use the hardware below it.
//!
//! Objects outlive the binding of the parent device: an open file, a mapping or a DMA buffer keeps
//! them. Their system pages are mapped for DMA by the parent, and their other memory is a BAR of it,
//! so both must be gone when the parent is unbound, and neither may come back. An [`Attachment`] is
//! that time: it is made for a bound parent, and the driver core ends it when the parent is unbound,
//! if its owner has not done so before. Outside of it, nothing is populated, moved or mapped for the
//! kernel: `ENODEV`.
//!
//! `ttm_device_clear_dma_mappings()` is there for the same purpose, and is not used: it unpopulates
//! objects whose reservations others hold, and waits with a spin lock held for objects that need that
//! lock to go away.
//!
//! # The end of an attachment
//!
//! 1. The [`Gate`] is closed: nobody begins to use the hardware any more, and those who have begun
//!    are waited for.
//! 2. Each object that is not being destroyed already gives up its system pages, with its reservation
//!    held, and after the fences in it.
//! 3. What is left belongs to objects on their way out, and to remnants of moves, which TTM destroys
//!    by itself when their fences are signalled: that is waited for.
//!
//! # Lock order
//!
//! Reservations, then [`Gate`], then [`Objects`].

use super::driver::Driver;
use crate::{
    abstractions::{
        dma_fence::FOREVER,
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

/// The states of a [`Gate`]. Each is entered once, in this order.
mod state {
    /// Nothing was attached yet.
    pub(super) const NEW: u32 = 0;
    /// There is an attachment.
    pub(super) const OPEN: u32 = 1;
    /// The attachment is over.
    pub(super) const CLOSED: u32 = 2;
}

/// What everyone passes who is about to use the hardware below a device.
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

/// A time in which the parent device stays bound.
pub(super) struct Section<'a> {
    _guard: srcu::Guard<'a>,
}

impl Gate {
    /// A gate that nobody has opened yet.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: Neither is it open, nor is there a section.
        try_pin_init!(Self {
            sections <- new_srcu!("ttm::Gate"),
            state: Atomic::new(state::NEW),
        })
    }

    /// Begins a section, if the gate is open. Sections may be nested, and may sleep.
    pub(super) fn enter(&self) -> Option<Section<'_>> {
        let guard = self.sections.read_lock();
        // INVARIANT: `close` waits for the section, as it has begun before this look at the state.
        (self.state.load(Acquire) == state::OPEN).then_some(Section { _guard: guard })
    }

    /// Opens the gate. `EBUSY` if somebody has done so before.
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

    /// Closes the gate, and waits for the sections that have begun.
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

/// The objects of a device that are complete, and not being freed.
#[pin_data]
pub(super) struct Objects {
    /// By address.
    #[pin]
    entries: SpinLock<RBTree<usize, Entry>>,
}

impl Objects {
    /// None yet.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self { entries <- new_spinlock!(RBTree::new(), "ttm::Objects") })
    }

    /// The node for an object.
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

    /// The first object from `from` on that is not being destroyed already.
    fn next(&self, from: usize) -> Option<Referenced> {
        let entries = self.entries.lock();
        let mut from = from;
        loop {
            let bo = entries.cursor_lower_bound(&from)?.current().1 .0;
            // SAFETY: By the type invariant of `Entry` the object is not freed while we hold the lock.
            if unsafe { bindings::rust_ext_ttm_bo_get_unless_zero(bo.as_ptr()) } {
                // INVARIANT: The reference was just taken.
                return Some(Referenced(bo));
            }
            from = bo.addr().get() + 1;
        }
    }
}

/// An object with a reference of TTM's own kind, as those have that are without users but not idle yet.
///
/// # Invariants
///
/// It owns the reference.
struct Referenced(NonNull<bindings::ttm_buffer_object>);

impl Referenced {
    /// The least address that a next object may have.
    fn after(&self) -> usize {
        self.0.addr().get() + 1
    }

    /// Takes the system pages behind the object away, and user space's mappings of them, once its fences
    /// are signalled. The caller must hold no reservation.
    fn take_pages(&self) {
        let bo = self.0.as_ptr();
        // SAFETY: By the type invariant the object is alive, and as long as it is referenced its
        // reservation stays the same. What is done to the object is done with that held. An object with a
        // table that is idle is emptied without fail.
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

/// The time for which the objects of a device may use the hardware below it; see the head of this file.
///
/// Dropping it ends that time. If it is leaked, the driver core does so when the parent is unbound. The
/// caller must hold no reservation, and the hardware must have been stopped, so that the fences of its
/// work are signalled; what it wrote to the objects' system pages is lost.
pub(crate) struct Attachment<D: Driver>(#[expect(dead_code)] Devres<Attached<D>>);

impl<D: Driver> Attachment<D> {
    /// Lets the objects of the TTM device of `drm` use the hardware. `parent` must be the device that
    /// `drm` was allocated with. This works once for each device.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another parent; `EBUSY` for the second time; `ENOMEM`.
    pub(crate) fn new(
        parent: &device::Device<Bound>,
        drm: &drm::device::Shared<D::Drm>,
    ) -> Result<Self> {
        let device = D::device(drm);
        if device.dma_device() != drm::device::device_as_raw(parent) {
            return Err(EINVAL);
        }
        let attached = try_init!(Attached::<D> {
            drm: {
                // SAFETY: The driver core drops what is made here before the parent is unbound, and that
                // closes the gate.
                unsafe { device.gate().open() }?;
                drm.into()
            },
        }? Error);
        Ok(Self(Devres::new(parent, attached)?))
    }
}

/// What the driver core drops before the parent is unbound.
struct Attached<D: Driver> {
    drm: ARef<drm::device::Shared<D::Drm>>,
}

impl<D: Driver> Drop for Attached<D> {
    fn drop(&mut self) {
        let device = D::device(&self.drm);

        device.gate().close();
        let mut from = 0;
        while let Some(bo) = device.objects().next(from) {
            from = bo.after();
            bo.take_pages();
        }
        device.populated().wait();
    }
}
