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
//! # Engines
//!
//! The CPU writes the steps. Where an update has long runs of like entries, a DMA engine writes
//! those: its jobs are in the draft, and are submitted when the steps before the runs are written.
//! The timeline waits for their fence as for any other, and the CPU goes on after the runs, up to
//! the next ones. If the jobs end with an error, or cannot be submitted any more, the CPU writes
//! these runs and all that follows: a step may be written twice, as long as none of those after it
//! is.
//!
//! The caller holds the reservation of the address space from the draft until the update is queued:
//! no other update and no job of the address space is published meanwhile. So updates are queued in
//! the order of their numbers.
//!
//! # What runs where
//!
//! The timeline's work item is on the way to the signal of a fence that reclaim may wait for. It
//! takes no lock but that of `state`, and those by which jobs are submitted, allocates nothing, and
//! drops no update: the last reference to a buffer or to an address space may hang on it.

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use core::ops::Range;

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
    /// Work for an engine, of which parts have not begun.
    type Job: Send;

    /// Prepares an engine's work for an update that takes `room`, or returns `None` if the CPU is
    /// to write all of it.
    fn prepare(&self, room: Room) -> Option<Self::Job>;

    /// Has an engine write some steps, which are runs, by a part of its prepared work. Returns the
    /// fence of that, or `None` if nothing was begun. Called on the way to the signal of a fence.
    fn start(&self, job: &mut Self::Job, steps: &Steps, part: Range<usize>) -> Option<ARef<Fence>>;

    /// Writes some steps of an update to the page tables. Called on the way to the signal of a
    /// fence.
    fn write(&self, steps: &Steps, part: Range<usize>);

    /// Called after an update has ended, where any lock may be taken.
    fn ended(&self);

    /// Returns the work queue on which updates are dropped.
    fn reaper(&self) -> &Arc<OwnedQueue>;
}

/// Name of the fences of updates.
struct UpdateName;

#[vtable]
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
    /// Number of steps, from the first one on, that have been written.
    written: usize,
    /// An engine's work, as far as it has not begun.
    job: Option<O::Job>,
    /// Set once an engine has failed: the CPU writes the rest.
    engine_failed: bool,
    /// The steps that an engine writes, and the fence of its work.
    engine: Option<(Range<usize>, ARef<Fence>)>,
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

/// Jobs that an update comes after, besides the updates before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// All jobs that were published before.
    Jobs,
    /// No job, as it only adds entries: no job uses what was not there.
    Updates,
}

type Node<O> = RBTreeNodeReservation<u64, Pin<KBox<Update<O>>>>;

/// All that an update needs, before it is published.
pub(super) struct Draft<O: PageTables> {
    owner: Arc<O>,
    steps: Steps,
    after: KVVec<ARef<Fence>>,
    fence: UniqueFence<UpdateName>,
    job: Option<O::Job>,
    update: KBox<core::mem::MaybeUninit<Update<O>>>,
    node: Node<O>,
}

impl<O: PageTables> Draft<O> {
    /// Prepares an update that takes `room`, and that comes after `contents`: the clears and moves
    /// of the buffers that it shows. Jobs that it comes after are those whose fences are in `root`,
    /// the reservation of the address space. The caller adds at most `others` fences to `root`
    /// besides.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        owner: Arc<O>,
        root: HeldResv<'_>,
        others: u32,
        (order, contents): (After, &[ARef<Fence>]),
        room: Room,
    ) -> Result<Self> {
        let mut after = KVVec::new();
        for fence in contents {
            after.push(fence.clone(), GFP_KERNEL_ACCOUNT)?;
        }
        if order == After::Jobs {
            for fence in root.fences(Usage::Bookkeep) {
                after.push(fence, GFP_KERNEL_ACCOUNT)?;
            }
        }
        root.reserve_fences(others.saturating_add(1))?;
        Ok(Self {
            job: owner.prepare(room),
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
    /// which has room for it. Its writes are recorded next. Cannot fail.
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
            job: self.job,
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
    job: Option<O::Job>,
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
            job,
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
            written: 0,
            job,
            engine_failed: false,
            engine: None,
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

    /// Writes what is left of an update whose fences have ended.
    fn finish(&self, mut update: Pin<KBox<Update<O>>>) {
        let left = update.written..update.steps.len();
        update.owner.write(&update.steps, left);
        self.done.store(update.number, Release);
        if let Some(fence) = update.as_mut().project().fence.take() {
            fence.signal(Ok(()));
        }
        let reaper = update.owner.reaper().clone();
        reaper.enqueue(update);
    }
}

impl<O: PageTables> Update<O> {
    /// Has an engine write the next long runs, if that was prepared, and the CPU what comes before.
    /// Returns the fence of the engine's work. What it wrote before must have ended.
    fn go_on(self: Pin<&mut Self>) -> Option<ARef<Fence>> {
        let this = self.project();
        match this.engine.take() {
            Some((part, fence)) if fence.status() == Some(Ok(())) => *this.written = part.end,
            // It may have written some of its part: the CPU writes that, and what comes after it.
            Some(_) => *this.engine_failed = true,
            None => (),
        }
        let job = this.job.as_mut().filter(|_| !*this.engine_failed)?;
        let part = this.steps.next_long_runs(*this.written)?;
        this.owner.write(this.steps, *this.written..part.start);
        *this.written = part.start;
        let fence = this.owner.start(job, this.steps, part.clone());
        match &fence {
            Some(fence) => *this.engine = Some((part, fence.clone())),
            None => *this.engine_failed = true,
        }
        fence
    }

    /// Returns a fence that the update has to wait for.
    fn pending(self: Pin<&mut Self>) -> Option<ARef<Fence>> {
        let after = self.project().after;
        while after.last()?.is_signaled() {
            drop(after.pop());
        }
        after.last().cloned()
    }
}

#[vtable]
impl<O: PageTables> FenceWorkItem for Timeline<O> {
    fn run(this: Arc<FenceWork<Self>>) {
        let _section = SignalingSection::begin();
        while let Some(mut update) = this.next() {
            let pending = update.as_mut().pending();
            if let Some(fence) = pending.or_else(|| update.as_mut().go_on()) {
                this.state.lock().current = Some(update);
                return FenceWork::enqueue_after(this, &fence);
            }
            this.finish(update);
        }
    }
}
