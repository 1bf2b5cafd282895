// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs: from the scheduler to a ring.
//!
//! A [`Job`] is everything that a submission needs on its way through the scheduler, gathered while
//! that could still fail. The scheduler waits for its dependencies, then:
//!
//! ```text
//! prepare   if it is one of a gang: wait for the others (exec/gang.rs)
//!           borrow a VM context (exec/vmid.rs); if all are in use: wait for one, again
//! run       write the submission to the ring; its fence is signaled by the interrupt (exec/fence.rs)
//! reap      drop all that the job kept
//! ```
//!
//! Neither `prepare` nor `run` allocates: memory reclaim may be waiting for them.
//!
//! # Jobs that are not run
//!
//! A job of a process that was killed, or of a file that was closed, is not run any more. It stays
//! in the queue all the same, and goes on its ring in its turn, with no commands and an error: so
//! its fence ends after those of the jobs before it, which may be running. See the head of
//! `abstractions/drm/sched.rs` for why that matters.
//!
//! # When a job takes too long
//!
//! While a ring has jobs, [`Queue::tick`] looks at it every [`TICK`]. If it has finished some and
//! the interrupt was lost, they end well, and that is counted. If the first of them is there for
//! longer than [`TIMEOUT`], the card hangs. There is no way yet to reset it, so it is given up: all
//! engines are stopped, so that they touch no memory any more, and only then do fences end, as
//! those who wait for them will reuse that memory: the guilty job's with `ETIME`, all others with
//! `ECANCELED`, as will those of jobs to come. The same way ends what is unfinished when the driver
//! is unbound, with `ENODEV`.

use kernel::{
    device,
    new_mutex,
    num::casts::usize_as_u64,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic,
        Msecs, //
    }, //
};

use crate::{
    abstractions::{
        dma_fence::Fence,
        drm::sched::{
            JobOps,
            Scheduler, //
        },
        workqueue::OwnedQueue, //
    },
    debug::stats::Stats,
    exec::{
        fence::HwFence,
        gang::{
            Floor,
            Seat, //
        },
        ring::Ring,
        submitter::Submitter,
        vmid::{
            Lease,
            Loan,
            OwnVmid,
            Space,
            Vmids, //
        },
    },
    hw::{
        card::CardHandle,
        command::{
            Commands,
            FenceSlot,
            Fill,
            Ib,
            RingId,
            Submission,
            VmState, //
        },
        Chip, //
    },
};

/// Time that a job may be the first on its ring, in ms.
const TIMEOUT: Msecs = 10_000;
/// Time between two looks at a ring that has jobs, in ms. A lost interrupt costs two of these at most.
const TICK: Msecs = 200;

/// What of an address space a job needs.
pub(crate) trait AddressSpace: Send + Sync {
    /// Which it is, and the state of its page tables.
    fn space(&self) -> Space;

    /// Where its page directory is, in the GPU's own address space. Never changes.
    fn pd_addr(&self) -> u64;

    /// Returns true if the jobs that are still queued are not to be run. Does not change back.
    fn is_abandoned(&self) -> bool;
}

/// What a client wants to have run, and what must stay until it has.
pub(crate) struct Work {
    /// `None`: the kernel's own address space.
    pub(crate) space: Option<Arc<dyn AddressSpace>>,
    /// The process that wants it; `None`: the kernel.
    pub(crate) submitter: Option<Arc<Submitter>>,
    /// What interrupts that the job causes bear.
    pub(crate) pasid: u16,
    pub(crate) task: Task,
    pub(crate) user_fence: Option<FenceSlot>,
    /// Its place in a gang, if it is one of several jobs that run at the same time.
    pub(crate) seat: Option<Seat>,
    /// Dropped when the job is done; nobody looks at it before.
    pub(crate) _keep: Option<KBox<dyn Send>>,
}

impl Work {
    /// Returns an error if the job is not to be run any more. Does not change back.
    fn check_wanted(&self) -> Result {
        let killed = self.submitter.as_ref().is_some_and(|s| s.is_killed());
        let abandoned = self.space.as_ref().is_some_and(|s| s.is_abandoned());
        if killed || abandoned {
            return Err(ESRCH);
        }
        Ok(())
    }
}

/// What a job does.
pub(crate) enum Task {
    /// Executes these buffers.
    Ibs(KVec<Ib>),
    /// Fills memory. For queues whose rings are all those of DMA engines.
    Fill(Fill),
}

impl Task {
    fn commands(&self) -> Commands<'_> {
        match self {
            Self::Ibs(ibs) => Commands::Ibs(ibs),
            Self::Fill(fill) => Commands::Fill(*fill),
        }
    }
}

/// A job for the scheduler.
pub(crate) struct Job {
    work: Work,
    stage: Stage,
}

/// How far a job has got.
enum Stage {
    /// It waits for its dependencies, or for a VM context.
    Waiting(HwFence),
    /// It may run.
    Ready(HwFence, Option<Lease>),
    /// It is on the ring, or done.
    Running(ARef<Fence>),
    /// Between two stages.
    Changing,
}

impl Job {
    /// Credits of a job: each takes one of a ring's [`Ring::MAX_SUBMISSIONS`] places.
    pub(crate) const CREDITS: u32 = 1;

    /// Makes a job.
    pub(crate) fn new(work: Work) -> Result<Self> {
        Ok(Self {
            work,
            stage: Stage::Waiting(HwFence::new(GFP_KERNEL_ACCOUNT)?),
        })
    }

    /// Says what the job's user fence is to be.
    pub(crate) fn set_number(&mut self, number: u64) {
        if let Some(fence) = &mut self.work.user_fence {
            fence.value = number;
        }
    }

    /// Goes to the next stage with what `step` makes of this one.
    fn advance<R>(&mut self, step: impl FnOnce(&mut Work, Stage) -> (Stage, R)) -> R {
        let stage = core::mem::replace(&mut self.stage, Stage::Changing);
        let (stage, result) = step(&mut self.work, stage);
        self.stage = stage;
        result
    }
}

impl JobOps for Job {
    type Queue = Queue;

    fn prepare(&mut self, queue: &Queue) -> Option<ARef<Fence>> {
        self.advance(|work, stage| {
            let (stage, pending) = match stage {
                Stage::Waiting(fence) => equip(queue, work, fence),
                stage => (stage, None),
            };
            let pending = pending.or_else(|| work.seat.as_mut()?.equip());
            (stage, pending)
        })
    }

    fn run(&mut self, queue: &Queue) -> ARef<Fence> {
        queue.look_if_due();
        self.advance(|work, stage| {
            let fence = match stage {
                Stage::Waiting(fence) => submit(queue, work, fence, None),
                Stage::Ready(fence, lease) => submit(queue, work, fence, lease),
                Stage::Running(fence) => fence,
                // `advance` does not nest.
                Stage::Changing => Fence::stub(),
            };
            if let Some(seat) = &mut work.seat {
                seat.enter();
            }
            (Stage::Running(fence.clone()), fence)
        })
    }

    fn timed_out(&mut self, queue: &Queue) {
        if let Stage::Running(fence) = &self.stage {
            queue.tick(fence);
        }
    }
}

/// Gathers what a job needs to run, or returns what it has to wait for before that can be had.
fn equip(queue: &Queue, work: &mut Work, fence: HwFence) -> (Stage, Option<ARef<Fence>>) {
    let executor = &*queue.executor;
    if let Some(seat) = &mut work.seat {
        if let Some(pending) = seat.assemble(&executor.floor) {
            return (Stage::Waiting(fence), Some(pending));
        }
    }
    if let (Some(seat), Err(error)) = (&work.seat, queue.check_wanted(work)) {
        seat.give_up(error);
    }
    // What is not run needs no context.
    let Some(space) = work.space.as_ref().filter(|_| work.check_wanted().is_ok()) else {
        return (Stage::Ready(fence, None), None);
    };
    match executor.vmids.lend(space.space(), queue.ring.kind) {
        Loan::Lent(lease) => (Stage::Ready(fence, Some(lease)), None),
        Loan::Busy(user) => (Stage::Waiting(fence), Some(user)),
    }
}

/// Puts a job on its ring, with its commands if it is to be run and has what it needs.
fn submit(queue: &Queue, work: &Work, fence: HwFence, lease: Option<Lease>) -> ARef<Fence> {
    let vm = match (&work.space, &lease) {
        (Some(space), Some(lease)) => Ok(Some(VmState {
            vmid: lease.vmid(),
            pd_addr: space.pd_addr(),
            flush: lease.flush(),
            pasid: work.pasid,
        })),
        (Some(_), None) => Err(ECANCELED),
        (None, _) => Ok(None),
    };
    let wanted = match &work.seat {
        Some(seat) => seat.check_wanted(),
        None => queue.check_wanted(work),
    };
    let vm = wanted.and(vm);
    let submission = Submission {
        vm: vm.unwrap_or(None),
        commands: match vm {
            Ok(_) => work.task.commands(),
            Err(error) => Commands::Fail(error),
        },
        user_fence: work.user_fence,
    };
    let fence = queue.ring.submit(&submission, fence);
    // The flush of one that is not run does not happen.
    if let Some(lease) = lease.filter(|_| submission.vm.is_some()) {
        lease.submitted(queue.ring.kind, &fence);
    }
    fence
}

/// What a scheduler's jobs run on.
pub(crate) struct Queue {
    executor: Arc<Executor>,
    ring: Arc<Ring>,
    watch: Watch,
}

/// When a ring was looked at, and since when its first job is the first.
struct Watch {
    start: Instant<Monotonic>,
    /// When the ring was looked at last, in ms from `start`.
    looked: Atomic<i64>,
    /// The number of the first job at the last tick.
    head: Atomic<u64>,
    /// When it was first seen to be that, in ms from `start`.
    since: Atomic<i64>,
}

impl Watch {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            looked: Atomic::new(0),
            head: Atomic::new(0),
            since: Atomic::new(0),
        }
    }

    fn now(&self) -> i64 {
        self.start.elapsed().as_millis()
    }

    fn look(&self) {
        self.looked.store(self.now(), Relaxed);
    }

    /// Returns true if the last look is longer ago than [`TICK`].
    fn is_due(&self) -> bool {
        self.now() - self.looked.load(Relaxed) >= TICK.into()
    }

    /// Returns true if job `head` has been seen to be the first for longer than [`TIMEOUT`]. To be
    /// asked at each tick.
    fn is_stuck(&self, head: u64) -> bool {
        let now = self.now();
        if self.head.xchg(head, Relaxed) != head {
            self.since.store(now, Relaxed);
        }
        now - self.since.load(Relaxed) >= (TIMEOUT - TICK).into()
    }
}

impl Queue {
    fn new(executor: Arc<Executor>, ring: Arc<Ring>) -> Self {
        Self {
            executor,
            ring,
            watch: Watch::new(),
        }
    }

    /// Returns an error if a job is not to be run, or is to fail.
    fn check_wanted(&self, work: &Work) -> Result {
        work.check_wanted().and(self.check_luck(work))
    }

    /// Returns an error if a client's job is to fail: see
    /// [`FailJobs`](crate::debug::stats::FailJobs).
    fn check_luck(&self, work: &Work) -> Result {
        match work.submitter {
            Some(_) => self.executor.stats.fail_jobs.check(),
            None => Ok(()),
        }
    }

    /// Called every [`TICK`] while the ring has jobs and no new ones come. `first` is the first of
    /// them.
    fn tick(&self, first: &ARef<Fence>) {
        self.look();
        if first.is_signaled() || !self.watch.is_stuck(first.seqno()) {
            return;
        }
        let name = self.ring.kind.name();
        let unfinished = self.ring.timeline.unfinished();
        dev_err!(
            self.executor.dev,
            "ring {name}: job {} hangs (unfinished: {} to {}); the card is given up\n",
            first.seqno(),
            unfinished.start,
            unfinished.end.saturating_sub(1)
        );
        self.executor.give_up(Some(first), ECANCELED);
    }

    /// Does what [`Queue::tick`] does for lost interrupts, as each new job puts off the tick.
    fn look_if_due(&self) {
        if self.watch.is_due() {
            self.look();
        }
    }

    /// Looks after lost interrupts.
    fn look(&self) {
        self.watch.look();
        let lost = self.ring.look();
        if lost == 0 {
            return;
        }
        let executor = &*self.executor;
        executor.stats.lost_interrupts.add(usize_as_u64(lost));
        if !executor.said_lost.xchg(true, Relaxed) {
            let name = self.ring.kind.name();
            dev_warn!(
                executor.dev,
                "ring {name}: a job was done, but no interrupt said so; not said again\n"
            );
        }
    }
}

/// All that runs jobs on a card.
#[pin_data]
pub(crate) struct Executor {
    dev: ARef<device::Device>,
    hw: &'static Chip,
    card: CardHandle,
    rings: KVec<Arc<Ring>>,
    vmids: Arc<Vmids>,
    stats: Arc<Stats>,
    /// The gang that may go on its rings has it.
    #[pin]
    floor: Floor,
    /// Held while the card is given up: two rings may hang at a time.
    #[pin]
    giving_up: Mutex<()>,
    given_up: AtomicFlag,
    /// The first lost interrupt is told of, as all others would say the same.
    said_lost: AtomicFlag,
}

impl Executor {
    fn new(
        dev: &device::Device,
        hw: &'static Chip,
        card: CardHandle,
        rings: KVec<Arc<Ring>>,
        stats: Arc<Stats>,
    ) -> Result<Arc<Self>> {
        let vmids = Arc::pin_init(Vmids::new(hw.vmids), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                hw,
                card,
                rings,
                vmids,
                stats,
                floor <- Floor::new(),
                giving_up <- new_mutex!(()),
                given_up: AtomicFlag::new(false),
                said_lost: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Stops the card, and then ends all jobs that are on its rings, and all that would come.
    fn give_up(&self, guilty: Option<&Fence>, error: Error) {
        let _giving_up = self.giving_up.lock();
        self.given_up.store(true, Relaxed);
        // If the driver is unbound, the card was stopped before.
        if let Some(card) = self.card.try_access() {
            if self.hw.quiesce(&card).is_err() {
                dev_err!(self.dev, "the engines do not stop\n");
            }
        }
        for ring in &self.rings {
            ring.timeline.abort(guilty, error);
        }
    }
}

/// The schedulers of a card, one for each ring.
pub(crate) struct Schedulers {
    executor: Arc<Executor>,
    /// In the order of [`Chip::rings`].
    schedulers: KVec<Arc<Scheduler<Job>>>,
}

impl Schedulers {
    /// Makes a scheduler for each of `rings`, which are all of a card's, by index. Jobs are dropped on
    /// `reaper`.
    pub(crate) fn new(
        dev: &device::Device,
        hw: &'static Chip,
        card: CardHandle,
        rings: KVec<Arc<Ring>>,
        stats: Arc<Stats>,
        reaper: &Arc<OwnedQueue>,
    ) -> Result<Self> {
        let executor = Executor::new(dev, hw, card, rings, stats)?;
        let mut schedulers = KVec::with_capacity(executor.rings.len(), GFP_KERNEL)?;
        for ring in &executor.rings {
            let queue = Queue::new(executor.clone(), ring.clone());
            let scheduler = Scheduler::new(
                ring.kind.name(),
                dev,
                Ring::MAX_SUBMISSIONS,
                msecs_to_jiffies(TICK),
                queue,
                reaper.clone(),
            )?;
            schedulers.push(scheduler, GFP_KERNEL)?;
        }
        Ok(Self {
            executor,
            schedulers,
        })
    }

    /// The schedulers of some rings, for a queue whose jobs may run on any of them.
    pub(crate) fn of(
        &self,
        mut accept: impl FnMut(RingId) -> bool,
    ) -> Result<KVec<Arc<Scheduler<Job>>>> {
        let mut schedulers = KVec::new();
        for scheduler in &self.schedulers {
            if accept(scheduler.queue().ring.kind) {
                schedulers.push(scheduler.clone(), GFP_KERNEL)?;
            }
        }
        Ok(schedulers)
    }

    /// What lets an address space have a VM context for itself.
    pub(crate) fn own_vmid(&self, space: &dyn AddressSpace) -> OwnVmid {
        OwnVmid::new(self.executor.vmids.clone(), space.space().id)
    }

    /// Whether the card hung, so that no job runs any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.executor.given_up.load(Relaxed)
    }

    /// Ends all jobs, on their rings or not, with `ENODEV`, and waits until they are dropped. For
    /// when the driver is being unbound: nobody may submit any more.
    pub(crate) fn shut_down(&self) {
        self.executor.give_up(None, ENODEV);
        for scheduler in &self.schedulers {
            scheduler.drain();
        }
    }
}
