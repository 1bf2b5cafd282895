// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work that is done once a fence has ended.
//!
//! A fence's callbacks run wherever it is signaled, often with interrupts off. A [`FenceWork`] does
//! the least there: it queues itself on a work queue, where its item may do what code on the way to
//! the signal of another fence may do.
//!
//! C: `dma_fence_add_callback()`.

use super::Fence;
use crate::{
    abstractions::{
        module::Drained,
        workqueue::OwnedQueue, //
    },
    bindings, //
};
use core::ops::Deref;
use kernel::{
    container_of,
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Full,
            Release, //
        },
        Arc, //
    },
    types::Opaque,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// A driver's work item that can wait for fences.
#[vtable]
pub(crate) trait FenceWorkItem: Send + Sync + Sized + 'static {
    /// The module that the functions are part of.
    type OwnerModule: Drained;

    /// Does the work. Called on the work queue, once for each [`FenceWork::enqueue`] or
    /// [`FenceWork::enqueue_after`] that had an effect.
    fn run(this: Arc<FenceWork<Self>>);
}

/// A work item with room for one callback on a fence.
///
/// # Invariants
///
/// While `waiting` is set, `callback` belongs to [`FenceWork::enqueue_after`] or to the fence that
/// it was added to, and so does one reference to this value.
#[pin_data]
pub(crate) struct FenceWork<T: FenceWorkItem> {
    #[pin]
    callback: Opaque<bindings::dma_fence_cb>,
    waiting: AtomicFlag,
    #[pin]
    work: Work<FenceWork<T>>,
    queue: Arc<OwnedQueue>,
    #[pin]
    data: T,
}

// SAFETY: The callback may be used from any thread, and all else that this holds is `Send`.
unsafe impl<T: FenceWorkItem> Send for FenceWork<T> {}
// SAFETY: `waiting` decides on who uses `callback`, and all else that this holds is `Sync`.
unsafe impl<T: FenceWorkItem> Sync for FenceWork<T> {}

impl_has_work! {
    impl{T: FenceWorkItem} HasWork<Self> for FenceWork<T> { self.work }
}

impl<T: FenceWorkItem> WorkItem for FenceWork<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        T::run(this);
    }
}

impl<T: FenceWorkItem> FenceWork<T> {
    /// Creates an item that runs on `queue`. Whoever owns the queue keeps it until no item is left,
    /// because an item may not drop its own queue.
    pub(crate) fn new(
        queue: Arc<OwnedQueue>,
        data: impl PinInit<T, Error>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            callback: Opaque::zeroed(),
            waiting: AtomicFlag::new(false),
            work <- new_work!("dma_fence::FenceWork"),
            queue,
            data <- data,
        })
    }

    /// Queues the item now. Without effect if it is queued already.
    pub(crate) fn enqueue(this: Arc<Self>) {
        let queue = this.queue.clone();
        // The reference that comes back is not the last one: the queued item has another.
        let _ = queue.enqueue(this);
    }

    /// Queues the item when `fence` ends; now, if it has ended. Without effect if the item waits
    /// for a fence already.
    pub(crate) fn enqueue_after(this: Arc<Self>, fence: &Fence) {
        // INVARIANT: The callback, and the reference that is given away, are ours.
        if this.waiting.xchg(true, Full) {
            return;
        }
        let this = Arc::into_raw(this);
        // SAFETY: The reference keeps the item alive until the callback has run, and the module has
        // promised (`Drained`) not to be unloaded before. By the type invariant nobody else uses
        // `callback` meanwhile.
        let added = unsafe {
            bindings::dma_fence_add_callback(
                fence.as_raw(),
                (*this).callback.get(),
                Some(Self::signaled),
            )
        };
        if added != 0 {
            // SAFETY: The fence has ended and did not take the callback, so the reference is ours.
            Self::wake(unsafe { Arc::from_raw(this) });
        }
    }

    /// Queues the item after its wait.
    fn wake(this: Arc<Self>) {
        // INVARIANT: The fence does not touch the callback any more.
        this.waiting.store(false, Release);
        Self::enqueue(this);
    }

    /// # Safety
    ///
    /// Only a fence may call this, on the callback that [`FenceWork::enqueue_after`] added.
    unsafe extern "C" fn signaled(
        _fence: *mut bindings::dma_fence,
        callback: *mut bindings::dma_fence_cb,
    ) {
        let this = container_of!(Opaque::cast_from(callback), Self, callback);
        // SAFETY: By the type invariant a reference came along with the callback.
        Self::wake(unsafe { Arc::from_raw(this) });
    }
}

impl<T: FenceWorkItem> Deref for FenceWork<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_fence_work)]
mod tests {
    use super::*;
    use crate::abstractions::dma_fence::{
        DriverFence,
        FenceContext,
        PendingFence,
        UniqueFence, //
    };
    use kernel::sync::atomic::{
        Atomic,
        Relaxed, //
    };

    struct Name;

    #[vtable]
    impl DriverFence for Name {
        const DRIVER_NAME: &'static CStr = c"test";

        fn timeline_name(&self) -> &'static CStr {
            c"test"
        }
    }

    /// Counts its runs.
    struct Count(Atomic<u32>);

    #[vtable]
    impl FenceWorkItem for Count {
        fn run(this: Arc<FenceWork<Self>>) {
            this.0.fetch_add(1, Relaxed);
        }
    }

    struct World {
        queue: Arc<OwnedQueue>,
        item: Arc<FenceWork<Count>>,
    }

    impl World {
        fn new() -> Result<Self> {
            let queue = Arc::new(OwnedQueue::for_reclaim(c"test")?, GFP_KERNEL)?;
            let item = FenceWork::new(queue.clone(), Ok::<_, Error>(Count(Atomic::new(0))));
            let item = Arc::pin_init(item, GFP_KERNEL)?;
            Ok(Self { queue, item })
        }

        /// Returns the number of runs so far.
        fn runs(&self) -> u32 {
            self.queue.flush();
            self.item.0.load(Relaxed)
        }
    }

    fn pending() -> Result<PendingFence<Name>> {
        Ok(UniqueFence::new(GFP_KERNEL)?.publish(&FenceContext::new(), 1, Name))
    }

    #[test]
    fn runs_when_the_fence_ends() -> Result {
        let world = World::new()?;
        let fence = pending()?;
        FenceWork::enqueue_after(world.item.clone(), fence.fence());
        assert_eq!(world.runs(), 0);
        // It waits for one fence at a time.
        FenceWork::enqueue_after(world.item.clone(), &Fence::stub());
        assert_eq!(world.runs(), 0);
        fence.signal(Err(EIO));
        assert_eq!(world.runs(), 1);
        Ok(())
    }

    #[test]
    fn runs_at_once_after_a_fence_that_has_ended() -> Result {
        let world = World::new()?;
        FenceWork::enqueue_after(world.item.clone(), &Fence::stub());
        assert_eq!(world.runs(), 1);
        FenceWork::enqueue(world.item.clone());
        assert_eq!(world.runs(), 2);
        // The callback can be used again.
        let fence = pending()?;
        FenceWork::enqueue_after(world.item.clone(), fence.fence());
        drop(fence);
        assert_eq!(world.runs(), 3);
        Ok(())
    }
}
