// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work queues that a driver owns.
//!
//! The system's queues outlive every module. A work item that ends in waking whoever waits for it may
//! still have some way to go when that one unloads the module, and with it the item's function. Whoever
//! owns the queue waits for that end, too.
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

/// A queue whose items may run on any processor, and long.
///
/// Dropping it waits for all items, to their last instruction; it may not be dropped by one of them.
///
/// # Invariants
///
/// It owns the queue.
pub(crate) struct OwnedQueue(NonNull<kernel::bindings::workqueue_struct>);

// SAFETY: A work queue may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: All that can be done with a `&OwnedQueue` is to enqueue.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a queue.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a string, which the function copies.
        let queue = unsafe { bindings::rust_ext_alloc_unbound_workqueue(name.as_char_ptr()) };
        // CAST: Both sets of bindings have but a declaration of this type.
        // INVARIANT: The queue is new.
        NonNull::new(queue.cast()).map(Self).ok_or(ENOMEM)
    }
}

impl OwnedQueue {
    /// Waits for the items that are in the queue now, to their last instruction.
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
