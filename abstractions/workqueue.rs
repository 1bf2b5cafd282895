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
    workqueue::Queue, //
};

/// A queue for long-running items that may run on any processor.
///
/// Dropping it waits for all items, to their last instruction. An item may not drop its own queue.
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
    /// Waits for the items that are queued now, to their last instruction.
    pub(crate) fn flush(&self) {
        // SAFETY: By the type invariant the queue is valid.
        unsafe { kernel::bindings::__flush_workqueue(self.0.as_ptr()) };
    }
}

impl Deref for OwnedQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: By the type invariant the queue is valid as long as `self` lives.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own it, and nobody can enqueue any more.
        unsafe { kernel::bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
