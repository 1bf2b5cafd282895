// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Updates of page tables that wait for jobs, in order. The C driver has its scheduler run them as
//! jobs of an entity of the address space (`amdgpu_vm_sdma_update`).
//!
//! ```text
//! Draft ---- begin ----> Recording ---- queue ----> Update ---- fence ends ----> dropped
//! memory, and the        has a number, and its      waits for its fences, and    on the reaper:
//! fences to come after   fence is in the root       for the updates before       may take any lock
//! ```
//!
//! Everything that can fail or allocates is in [`Draft::new`]. A [`Timeline`] does one update after
//! the other: it waits for the fences that an update comes after, one at a time, writes its steps,
//! and ends its fence. All fences are of one context, and end in order.
//!
//! The caller holds the reservation of the address space from the draft until the update is queued:
//! no other update and no job of the address space is published meanwhile. So updates are queued in
//! the order of their numbers.
//!
//! # What runs where
//!
//! The timeline's work item is on the way to the signal of a fence that reclaim may wait for. It
//! takes no lock but that of `state`, allocates nothing, and drops no update: the last reference to
//! a buffer or to an address space may hang on it.

use kernel::{
    impl_has_work,
    new_spinlock,
    new_work,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        SpinLock, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use super::update::{
    Recorder,
    Room,
    Steps, //
};
use crate::abstractions::{
    dma_fence::{
        DriverFence,
        Fence,
        FenceContext,
        FenceWork,
        FenceWorkItem,
        PendingFence,
        SignalingSection,
        UniqueFence, //
    },
    dma_resv::{
        HeldResv,
        Usage, //
    },
    workqueue::OwnedQueue, //
};

/// The page tables that updates change.
pub(super) trait PageTables: Send + Sync + Sized + 'static {
    /// Writes an update to the page tables. Called on the way to the signal of a fence.
    fn write(&self, steps: &Steps);

    /// Called after an update has ended, where any lock may be taken.
    fn ended(&self);

    /// Returns the work queue on which updates are dropped.
    fn reaper(&self) -> &Arc<OwnedQueue>;
}

/// Name of the fences of updates.
struct UpdateName;

impl DriverFence for UpdateName {
    const DRIVER_NAME: &'static CStr = c"amdgpu_rs";

    fn timeline_name(&self) -> &'static CStr {
        c"page tables"
    }
}

/// An update that has been published.
#[pin_data]
struct Update<O: PageTables> {
    number: u64,
    /// Fences to wait for, in any order.
    after: KVVec<ARef<Fence>>,
    steps: Steps,
    fence: Option<PendingFence<UpdateName>>,
    #[pin]
    reap: Work<Update<O>>,
    // Dropped last.
    owner: Arc<O>,
}

impl_has_work! {
    impl{O: PageTables} HasWork<Self> for Update<O> { self.reap }
}

impl<O: PageTables> WorkItem for Update<O> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        this.owner.ended();
    }
}

type Node<O> = RBTreeNodeReservation<u64, Pin<KBox<Update<O>>>>;

/// All that an update needs, before it is published.
pub(super) struct Draft<O: PageTables> {
    owner: Arc<O>,
    steps: Steps,
    after: KVVec<ARef<Fence>>,
    fence: UniqueFence<UpdateName>,
    update: KBox<core::mem::MaybeUninit<Update<O>>>,
    node: Node<O>,
}

impl<O: PageTables> Draft<O> {
    /// Prepares an update that takes `room`, and that comes after all fences in `root`, the
    /// reservation of the address space, and after `contents`: the clears and moves of the buffers
    /// that it shows. The caller adds at most `others` fences to `root` besides.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        owner: Arc<O>,
        root: HeldResv<'_>,
        others: u32,
        contents: &[ARef<Fence>],
        room: Room,
    ) -> Result<Self> {
        let mut after = KVVec::new();
        for fence in contents {
            after.push(fence.clone(), GFP_KERNEL_ACCOUNT)?;
        }
        for fence in root.fences(Usage::Bookkeep) {
            after.push(fence, GFP_KERNEL_ACCOUNT)?;
        }
        root.reserve_fences(others.saturating_add(1))?;
        Ok(Self {
            owner,
            steps: Steps::new(room)?,
            after,
            fence: UniqueFence::new(GFP_KERNEL_ACCOUNT)?,
            update: KBox::new_uninit(GFP_KERNEL_ACCOUNT)?,
            node: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
        })
    }

    /// Returns true if the draft has memory for an update that takes `room`.
    pub(super) fn has_room_for(&self, room: Room) -> bool {
        self.steps.has_room_for(room)
    }

    /// Publishes the update `number`, which is higher than those before: adds its fence to `root`,
    /// which has room for it. What it does is recorded next. Cannot fail.
    pub(super) fn begin(
        self,
        timeline: &Timeline<O>,
        root: HeldResv<'_>,
        number: u64,
    ) -> Recording<O> {
        let fence = self.fence.publish(&timeline.context, number, UpdateName);
        root.add_fence(fence.fence(), Usage::Bookkeep);
        let newest = Newest {
            number,
            fence: fence.fence().clone(),
        };
        let before = timeline.state.lock().newest.replace(newest);
        drop(before);
        Recording {
            recorder: Recorder::new(self.steps, number),
            owner: self.owner,
            after: self.after,
            fence,
            update: self.update,
            node: self.node,
        }
    }
}

/// An update that is being recorded. Its fence may be waited for: it must be queued with
/// [`Timeline::queue`], and until then nothing may be allocated or waited for.
#[must_use = "somebody may wait for the fence"]
pub(super) struct Recording<O: PageTables> {
    recorder: Recorder,
    owner: Arc<O>,
    after: KVVec<ARef<Fence>>,
    fence: PendingFence<UpdateName>,
    update: KBox<core::mem::MaybeUninit<Update<O>>>,
    node: Node<O>,
}

impl<O: PageTables> Recording<O> {
    /// Returns the memory whose writes the update will do.
    pub(super) fn memory(&self) -> &Recorder {
        &self.recorder
    }
}

/// The updates of an address space.
#[pin_data]
pub(super) struct Timeline<O: PageTables> {
    context: FenceContext,
    #[pin]
    state: SpinLock<State<O>>,
    /// Number of the last update that has been written.
    done: Atomic<u64>,
}

struct State<O: PageTables> {
    /// Updates that the work item has not taken yet, by number.
    queue: RBTree<u64, Pin<KBox<Update<O>>>>,
    /// The update whose fences are being waited for.
    current: Option<Pin<KBox<Update<O>>>>,
    /// Set while the work item is queued, runs, or waits for a fence.
    is_busy: bool,
    newest: Option<Newest>,
}

/// The update that was published last.
struct Newest {
    number: u64,
    fence: ARef<Fence>,
}

impl<O: PageTables> Timeline<O> {
    /// Creates a timeline whose updates are written on `queue`.
    pub(super) fn new(queue: Arc<OwnedQueue>) -> Result<Arc<FenceWork<Self>>> {
        let timeline = try_pin_init!(Self {
            context: FenceContext::new(),
            state <- new_spinlock!(
                State {
                    queue: RBTree::new(),
                    current: None,
                    is_busy: false,
                    newest: None,
                },
                "Timeline::state"
            ),
            done: Atomic::new(0),
        }? Error);
        Arc::pin_init(FenceWork::new(queue, timeline), GFP_KERNEL_ACCOUNT)
    }

    /// Returns the number of the last update that has been written.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Acquire)
    }

    /// Returns true if there are updates that have not been written.
    pub(super) fn is_behind(&self) -> bool {
        let newest = self
            .state
            .lock()
            .newest
            .as_ref()
            .map(|newest| newest.number);
        newest.is_some_and(|number| number > self.done())
    }

    /// Returns the fence of the newest update, unless it has ended.
    pub(super) fn pending(&self) -> Option<ARef<Fence>> {
        let fence = self
            .state
            .lock()
            .newest
            .as_ref()
            .map(|newest| newest.fence.clone());
        fence.filter(|fence| !fence.is_signaled())
    }

    /// Queues an update. Neither allocates nor fails.
    pub(super) fn queue(this: &Arc<FenceWork<Self>>, recording: Recording<O>) {
        let Recording {
            recorder,
            owner,
            after,
            fence,
            update,
            node,
        } = recording;
        let steps = recorder.into_steps();
        let number = fence.fence().seqno();
        let Ok(update) = update.write_pin_init(pin_init!(Update {
            number,
            after,
            steps,
            fence: Some(fence),
            reap <- new_work!("Update::reap"),
            owner,
        }));
        let mut state = this.state.lock();
        state.queue.insert(node.into_node(number, update));
        let was_busy = core::mem::replace(&mut state.is_busy, true);
        drop(state);
        if !was_busy {
            FenceWork::enqueue(this.clone());
        }
    }

    /// Returns the update to be done next.
    fn next(&self) -> Option<Pin<KBox<Update<O>>>> {
        let mut state = self.state.lock();
        if let Some(current) = state.current.take() {
            return Some(current);
        }
        let first = state.queue.keys().next().copied();
        let node = first.and_then(|number| state.queue.remove_node(&number));
        state.is_busy = node.is_some();
        drop(state);
        Some(node?.to_key_value().1)
    }

    /// Writes an update whose fences have ended.
    fn finish(&self, mut update: Pin<KBox<Update<O>>>) {
        update.owner.write(&update.steps);
        self.done.store(update.number, Release);
        if let Some(fence) = update.as_mut().project().fence.take() {
            fence.signal(Ok(()));
        }
        let reaper = update.owner.reaper().clone();
        reaper.enqueue(update);
    }
}

impl<O: PageTables> Update<O> {
    /// Returns a fence that the update has to wait for.
    fn pending(self: Pin<&mut Self>) -> Option<ARef<Fence>> {
        let after = self.project().after;
        while after.last()?.is_signaled() {
            drop(after.pop());
        }
        after.last().cloned()
    }
}

impl<O: PageTables> FenceWorkItem for Timeline<O> {
    fn run(this: Arc<FenceWork<Self>>) {
        let _section = SignalingSection::begin();
        while let Some(mut update) = this.next() {
            if let Some(fence) = update.as_mut().pending() {
                this.state.lock().current = Some(update);
                return FenceWork::enqueue_after(this, &fence);
            }
            this.finish(update);
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_timeline)]
mod tests {
    use super::*;
    use crate::abstractions::{
        dma_fence::Interruptible,
        dma_resv::OwnResv, //
    };
    use kernel::sync::atomic::Relaxed;

    /// Page tables that count what is done to them.
    struct Counted {
        reaper: Arc<OwnedQueue>,
        written: Atomic<u32>,
        ended: Atomic<u32>,
    }

    impl PageTables for Counted {
        fn write(&self, _steps: &Steps) {
            self.written.fetch_add(1, Relaxed);
        }

        fn ended(&self) {
            self.ended.fetch_add(1, Relaxed);
        }

        fn reaper(&self) -> &Arc<OwnedQueue> {
            &self.reaper
        }
    }

    struct World {
        tables: Arc<Counted>,
        queue: Arc<OwnedQueue>,
        timeline: Arc<FenceWork<Timeline<Counted>>>,
        root: Pin<KBox<OwnResv>>,
    }

    impl World {
        fn new() -> Result<Self> {
            let queue = Arc::new(OwnedQueue::for_reclaim(c"test")?, GFP_KERNEL)?;
            let counted = Counted {
                reaper: Arc::new(OwnedQueue::new(c"test")?, GFP_KERNEL)?,
                written: Atomic::new(0),
                ended: Atomic::new(0),
            };
            Ok(Self {
                tables: Arc::new(counted, GFP_KERNEL)?,
                timeline: Timeline::new(queue.clone())?,
                queue,
                root: KBox::pin_init(OwnResv::new(), GFP_KERNEL)?,
            })
        }

        /// Adds the fence of a job to the root.
        fn job(&self) -> Result<PendingFence<UpdateName>> {
            let memory = UniqueFence::new(GFP_KERNEL)?;
            let job = memory.publish(&FenceContext::new(), 1, UpdateName);
            let root = self.root.lock(Interruptible::No)?;
            root.held().reserve_fences(1)?;
            root.held().add_fence(job.fence(), Usage::Bookkeep);
            Ok(job)
        }

        /// Publishes an update, and returns its fence.
        fn update(&self, number: u64) -> Result<ARef<Fence>> {
            self.update_after(number, &[])
        }

        /// Publishes an update that shows bytes which are there after `contents`.
        fn update_after(&self, number: u64, contents: &[ARef<Fence>]) -> Result<ARef<Fence>> {
            let root = self.root.lock(Interruptible::No)?;
            let tables = self.tables.clone();
            let draft = Draft::new(tables, root.held(), 0, contents, Room::default())?;
            let recording = draft.begin(&self.timeline, root.held(), number);
            let fence = recording.fence.fence().clone();
            // It is waited for before it is queued.
            assert!(!self.root.is_idle(Usage::Bookkeep));
            Timeline::queue(&self.timeline, recording);
            Ok(fence)
        }

        /// Returns the numbers of updates that were written and that were dropped.
        fn counts(&self) -> (u32, u32) {
            self.queue.flush();
            self.tables.reaper.flush();
            let count = |atomic: &Atomic<u32>| atomic.load(Relaxed);
            (count(&self.tables.written), count(&self.tables.ended))
        }
    }

    #[test]
    fn an_update_comes_after_the_jobs_before_it() -> Result {
        let world = World::new()?;
        let (first, second) = (world.job()?, world.job()?);
        let update = world.update(3)?;
        let later = world.job()?;
        assert_eq!(world.counts(), (0, 0));
        assert!(world.timeline.is_behind() && world.timeline.pending().is_some());

        second.signal(Ok(()));
        assert_eq!(world.counts(), (0, 0));
        assert!(!update.is_signaled());
        // A job that fails has ended as well.
        first.signal(Err(EIO));
        assert_eq!(world.counts(), (1, 1));
        assert_eq!(update.status(), Some(Ok(())));
        assert_eq!(world.timeline.done(), 3);
        assert!(!world.timeline.is_behind() && world.timeline.pending().is_none());
        assert!(!world.root.is_idle(Usage::Bookkeep));
        drop(later);
        Ok(())
    }

    #[test]
    fn an_update_comes_after_the_bytes_that_it_shows() -> Result {
        let world = World::new()?;
        let copy = UniqueFence::new(GFP_KERNEL)?.publish(&FenceContext::new(), 1, UpdateName);
        let update = world.update_after(1, &[copy.fence().clone()])?;
        assert_eq!(world.counts(), (0, 0));
        copy.signal(Ok(()));
        assert_eq!(world.counts(), (1, 1));
        assert!(update.is_signaled());
        Ok(())
    }

    #[test]
    fn updates_end_in_order() -> Result {
        let world = World::new()?;
        let job = world.job()?;
        let updates = [world.update(1)?, world.update(2)?, world.update(5)?];
        assert_eq!(world.counts(), (0, 0));
        // Of one context a reservation keeps the newest only.
        let root = world.root.fences(Usage::Bookkeep).count();
        assert_eq!(root, 2);
        drop(job);
        assert_eq!(world.counts(), (3, 3));
        assert!(updates.iter().all(|update| update.is_signaled()));
        assert!(world.root.is_idle(Usage::Bookkeep));
        Ok(())
    }

    #[test]
    fn an_update_after_nothing_is_done_at_once() -> Result {
        let world = World::new()?;
        for number in 1..4 {
            world.update(number)?;
            assert_eq!(world.counts(), (number as u32, number as u32));
        }
        Ok(())
    }

    #[test]
    fn a_draft_can_be_dropped() -> Result {
        let world = World::new()?;
        let root = world.root.lock(Interruptible::No)?;
        let draft = Draft::new(world.tables.clone(), root.held(), 0, &[], Room::BORDERS)?;
        assert!(draft.has_room_for(Room::BORDERS));
        assert!(!draft.has_room_for(Room::to_clear(0..1) + Room::BORDERS));
        drop(draft);
        assert!(world.root.is_idle(Usage::Bookkeep));
        Ok(())
    }
}
