// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work queues that a driver owns.
//!
//! The system's queues outlive every module. A work item may wake a waiter as its last act, and
//! still have some instructions to run when the waiter unloads the module, and with it the item's
//! function. An owned queue lets the driver wait for the end of those instructions, too.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    workqueue::{
        Queue,
        RawWorkItem, //
    }, //
};

/// A queue for long-running items that may run on any processor.
///
/// Dropping it waits for all items, to their last instruction. An item may not drop its own queue.
///
/// It is no [`Queue`], though it has one: what is put onto that with a delay is not waited for, as
/// it is an item only when its timer has expired, and then the queue may be gone.
///
/// # Invariants
///
/// This value owns the queue.
pub(crate) struct OwnedQueue(NonNull<kernel::bindings::workqueue_struct>);

// SAFETY: A work queue may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: All that can be done with a `&OwnedQueue` is to enqueue.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Allocates a queue that runs one item at a time, in their order, and makes progress when
    /// there is no memory: reclaim may wait for its items.
    pub(crate) fn ordered(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a string, which the function copies.
        let queue = unsafe { bindings::rust_ext_alloc_ordered_workqueue(name.as_char_ptr()) };
        // CAST: As below.
        // INVARIANT: The queue is new.
        NonNull::new(queue.cast()).map(Self).ok_or(ENOMEM)
    }

    /// Allocates a queue.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a string, which the function copies.
        Self::from_raw(unsafe { bindings::rust_ext_alloc_unbound_workqueue(name.as_char_ptr()) })
    }

    /// Allocates a queue whose items make progress without new memory: those on the way to the
    /// signal of a fence, which memory reclaim may wait for.
    pub(crate) fn for_reclaim(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a string, which the function copies.
        Self::from_raw(unsafe { bindings::rust_ext_alloc_reclaim_workqueue(name.as_char_ptr()) })
    }

    /// Takes over a new queue, if the allocation has not failed.
    fn from_raw(queue: *mut bindings::workqueue_struct) -> Result<Self> {
        // CAST: Both sets of bindings have but a declaration of this type.
        // INVARIANT: The queue is new.
        NonNull::new(queue.cast()).map(Self).ok_or(ENOMEM)
    }
}

impl OwnedQueue {
    /// Puts an item onto the queue. What this returns depends on the item; it says if the item is
    /// on a queue already.
    pub(crate) fn enqueue<W, const ID: u64>(&self, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        // SAFETY: By the type invariant the queue is valid as long as `self` lives.
        let queue = unsafe { Queue::from_raw(self.0.as_ptr()) };
        queue.enqueue(item)
    }

    /// Waits for the items that are queued now, to their last instruction.
    pub(crate) fn flush(&self) {
        // SAFETY: By the type invariant the queue is valid.
        unsafe { kernel::bindings::__flush_workqueue(self.0.as_ptr()) };
    }
}

// What is delayed must not get onto a queue that ends: this is ambiguous if it can.
const _: fn() = || {
    trait AmbiguousIfQueue<A> {
        fn check() {}
    }
    impl<T> AmbiguousIfQueue<()> for T {}
    struct Everything;
    impl<T: Deref<Target = Queue>> AmbiguousIfQueue<Everything> for T {}

    let _ = <OwnedQueue as AmbiguousIfQueue<_>>::check;
};

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own it, and nobody can enqueue any more.
        unsafe { kernel::bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
