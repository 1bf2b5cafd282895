// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs: from the scheduler to a ring.
//!
//! The C driver has this in amdgpu_job.c (`amdgpu_job`, `amdgpu_job_run`, `amdgpu_job_timedout`).
//!
//! A [`Job`] is everything that a submission needs on its way through the scheduler, collected
//! while failure is still possible. The scheduler waits for its dependencies, then:
//!
//! ```text
//! prepare   wait for changes of the page tables (vm.rs) that were published before the job
//!           if the job is one of a gang: wait for the others (exec/gang.rs)
//!           borrow a VM context (exec/vmid.rs); if all are in use: wait for one, and ask again
//! run       write the submission to the ring; the interrupt signals its fence (exec/fence.rs)
//! reap      drop everything that the job kept
//! ```
//!
//! Neither `prepare` nor `run` allocates: memory reclaim may be waiting for them.
//!
//! # Jobs that are not run
//!
//! Jobs of a process that was killed, or of a file that was closed, are no longer run. Such a job
//! stays in the queue all the same and goes onto its ring in its turn, with no commands and an
//! error: so its fence ends after those of the jobs before it, which may be running. See the head
//! of `abstractions/drm/sched.rs` for the reason.
//!
//! # When a job takes too long
//!
//! This is the job timeout. While a ring has jobs, [`Queue::tick`] looks at it every [`TICK`]. If
//! the ring has finished jobs and their interrupt was lost, they end well, and the loss is counted.
//! If the first job has been there for longer than the ring's [`Limits`] allow, however many others
//! came after it, the ring hangs, and the [`Alarm`] is raised: see `exec/recovery.rs`.
//!
//! If the recovery fails, the card is given up: all engines are stopped, so that they no longer
//! access memory, and only then do fences end, as those who wait for them will reuse that memory.
//! The fence of a guilty job ends with `ETIME`, all others and those of jobs to come with
//! `ECANCELED`. Unbinding the driver ends all unfinished jobs the same way, with `ENODEV`.

use kernel::{
    device,
    new_mutex,
    new_spinlock,
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
        Mutex,
        SpinLock, //
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
        faults::FaultRecord,
        fence::{
            Culprit,
            HwFence, //
        },
        gang::{
            Floor,
            Seat, //
        },
        ring::Ring,
        submitter::Submitter,
        verdict::{
            Party,
            Standing, //
        },
        vmid::{
            Lease,
            Loan,
            OwnVmid,
            Space,
            Tenant,
            Vmids, //
        },
    },
    hw::{
        card::CardHandle,
        command::{
            Block,
            Commands,
            EngineKind,
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

/// Time that a job may be the first on its ring, in ms, if no module parameter says otherwise.
const LIMIT: i64 = 2000;
/// Time between two looks at a ring that has jobs, in ms. A lost interrupt costs at most two of
/// these.
const TICK: Msecs = 200;

/// The part of an address space that a job needs.
pub(crate) trait AddressSpace: Send + Sync {
    /// Returns the number that identifies the address space.
    fn id(&self) -> u64;

    /// Returns the address of the page directory in the GPU's own address space. It never changes.
    fn pd_addr(&self) -> u64;

    /// Returns the record of the address space's faults.
    fn faults(&self) -> &Arc<FaultRecord>;

    /// Returns true if jobs that are still queued must not run. Never changes back.
    fn is_abandoned(&self) -> bool;
}

/// The page tables of an address space as a job finds them, from when it was published on.
#[derive(Clone)]
pub(crate) struct SpaceAt {
    /// Number of the last change of the page tables.
    pub(crate) seq: u64,
    /// Fence of the changes that are not written yet. The job runs after it.
    pub(crate) after: Option<ARef<Fence>>,
}

/// Work that a client submits, and the objects that must stay until it is done.
pub(crate) struct Work {
    /// Address space of the job. `None`: the kernel's own.
    pub(crate) space: Option<Arc<dyn AddressSpace>>,
    /// Process that submitted the job. `None`: the kernel.
    pub(crate) submitter: Option<Arc<Submitter>>,
    /// Standing of the job's queue. `None`: the kernel's.
    pub(crate) standing: Option<Arc<Standing>>,
    /// PASID that interrupts caused by the job carry.
    pub(crate) pasid: u16,
    pub(crate) task: Task,
    pub(crate) user_fence: Option<FenceSlot>,
    /// The job's place in a gang, if it is one of several jobs that run at the same time.
    pub(crate) seat: Option<Seat>,
    /// Objects dropped when the job is done; nothing reads them before.
    pub(crate) _keep: Option<KBox<dyn Send>>,
}

impl Work {
    /// Returns an error if the job must no longer run. Never changes back.
    fn check_wanted(&self) -> Result {
        let killed = self.submitter.as_ref().is_some_and(|s| s.is_killed());
        let abandoned = self.space.as_ref().is_some_and(|s| s.is_abandoned());
        if killed || abandoned {
            return Err(ESRCH);
        }
        match &self.standing {
            Some(standing) => standing.check().map_err(|_| ECANCELED),
            None => Ok(()),
        }
    }

    /// Returns those on whose behalf the job runs.
    fn party(&self) -> Party {
        match &self.standing {
            None => Party::Kernel,
            Some(standing) => Party::Client {
                standing: standing.clone(),
                gang: self.seat.as_ref().map(|seat| seat.gang_of()),
            },
        }
    }
}

/// The commands of a job.
pub(crate) enum Task {
    /// Executes these indirect buffers.
    Ibs(KVec<Ib>),
    /// Fills memory. Only for queues whose rings all belong to DMA engines.
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
    /// Set when the job is published, if it has an address space.
    at: Option<SpaceAt>,
    stage: Stage,
}

/// Progress of a job.
enum Stage {
    /// The job waits for its dependencies, or for a VM context.
    Waiting(HwFence),
    /// The job may run.
    Ready(HwFence, Option<Lease>),
    /// The job is on the ring, or done.
    Running(ARef<Fence>),
    /// The job is between two stages.
    Changing,
}

impl Job {
    /// Scheduler credits of a job. Each takes one of a ring's [`Ring::MAX_SUBMISSIONS`] places.
    pub(crate) const CREDITS: u32 = 1;

    /// Creates a job.
    pub(crate) fn new(work: Work) -> Result<Self> {
        Ok(Self {
            work,
            at: None,
            stage: Stage::Waiting(HwFence::new(GFP_KERNEL_ACCOUNT)?),
        })
    }

    /// Sets the number that the job writes to its user fence.
    pub(crate) fn set_number(&mut self, number: u64) {
        if let Some(fence) = &mut self.work.user_fence {
            fence.value = number;
        }
    }

    /// Sets the state of the job's address space. To be called when the job is published.
    pub(crate) fn set_space_at(&mut self, at: SpaceAt) {
        self.at = Some(at);
    }

    /// Returns the fence of a change of the page tables that the job has to wait for.
    fn pending_update(&self) -> Option<ARef<Fence>> {
        let after = self.at.as_ref()?.after.as_ref()?;
        (!after.is_signaled()).then(|| after.clone())
    }

    /// Moves to the stage that `step` makes of the current one.
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
        if let Some(pending) = self.pending_update() {
            return Some(pending);
        }
        // Without a number the job trusts no translation that is cached.
        let seq = self.at.as_ref().map_or(u64::MAX, |at| at.seq);
        self.advance(|work, stage| {
            let (stage, pending) = match stage {
                Stage::Waiting(fence) => equip(queue, work, seq, fence),
                stage => (stage, None),
            };
            let pending = pending.or_else(|| work.seat.as_mut()?.equip());
            (stage, pending)
        })
    }

    fn run(&mut self, queue: &Queue) -> ARef<Fence> {
        queue.tick_if_due();
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
        queue.tick();
    }
}

/// Gets a job ready to run: its gang assembled, a VM context lent to it. If that cannot be done
/// yet, returns the fence to wait for before trying again.
fn equip(queue: &Queue, work: &mut Work, seq: u64, fence: HwFence) -> (Stage, Option<ARef<Fence>>) {
    let executor = &*queue.executor;
    if let Some(seat) = &mut work.seat {
        if let Some(pending) = seat.assemble(&executor.floor) {
            return (Stage::Waiting(fence), Some(pending));
        }
    }
    if let (Some(seat), Err(error)) = (&work.seat, queue.check_wanted(work)) {
        seat.give_up(error);
    }
    // A job that does not run needs no context.
    let Some(space) = work.space.as_ref().filter(|_| work.check_wanted().is_ok()) else {
        return (Stage::Ready(fence, None), None);
    };
    let at = Space {
        id: space.id(),
        seq,
    };
    match executor.vmids.lend(at, queue.ring.kind) {
        Loan::Lent(lease) => {
            if let Some(submitter) = &work.submitter {
                lease.set_tenant(Tenant {
                    submitter: submitter.clone(),
                    faults: space.faults().clone(),
                });
            }
            (Stage::Ready(fence, Some(lease)), None)
        }
        Loan::Busy(user) => (Stage::Waiting(fence), Some(user)),
    }
}

/// Puts a job on its ring, with its commands if it is to run and has all that it needs.
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
    let fence = queue.ring.submit(&submission, fence, work.party());
    // A job that does not run does not do its flush.
    if let Some(lease) = lease.filter(|_| submission.vm.is_some()) {
        lease.submitted(queue.ring.kind, &fence);
    }
    fence
}

/// Times that a job may be the first on its ring, in ms, for each kind of engine. `None`: any time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) gfx: Option<i64>,
    pub(crate) compute: Option<i64>,
    pub(crate) sdma: Option<i64>,
}

impl Limits {
    /// Returns the limit for a value of a module parameter: 0 stands for the default, and a
    /// negative number for no limit.
    pub(crate) fn from_parameter(value: i32) -> Option<i64> {
        match value {
            ..0 => None,
            0 => Some(LIMIT),
            _ => Some(value.into()),
        }
    }

    fn of(&self, engine: EngineKind) -> Option<i64> {
        match engine {
            EngineKind::Gfx => self.gfx,
            EngineKind::Compute => self.compute,
            EngineKind::Sdma => self.sdma,
        }
    }

    /// Returns true if the oldest job of a ring has been the oldest for too long.
    pub(crate) fn is_over(&self, ring: &Ring) -> bool {
        let limit = self.of(ring.kind.engine());
        limit.is_some_and(|limit| ring.timeline.age() >= limit)
    }
}

/// Whoever has to be told of a ring that hangs.
pub(crate) trait Alarm: Send + Sync {
    /// Has the rings looked at. Neither sleeps nor allocates.
    fn raise(self: Arc<Self>);
}

/// The ring on which a scheduler's jobs run, and its watch.
pub(crate) struct Queue {
    executor: Arc<Executor>,
    ring: Arc<Ring>,
    watch: Watch,
}

/// Time of the last look at a ring.
struct Watch {
    start: Instant<Monotonic>,
    /// Time of the last look at the ring, in ms from `start`.
    looked: Atomic<i64>,
}

impl Watch {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            looked: Atomic::new(0),
        }
    }

    fn now(&self) -> i64 {
        self.start.elapsed().as_millis()
    }

    fn look(&self) {
        self.looked.store(self.now(), Relaxed);
    }

    /// Returns true if the last look is at least [`TICK`] ago.
    fn is_due(&self) -> bool {
        self.now() - self.looked.load(Relaxed) >= TICK.into()
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

    /// Returns the block of the ring.
    pub(crate) fn block(&self) -> Block {
        self.ring.kind.block()
    }

    /// Returns an error if a job must not run, or is meant to fail.
    fn check_wanted(&self, work: &Work) -> Result {
        work.check_wanted().and(self.check_luck(work))
    }

    /// Returns an error if a client's job is meant to fail: see
    /// [`FailJobs`](crate::debug::stats::FailJobs).
    fn check_luck(&self, work: &Work) -> Result {
        match work.submitter {
            Some(_) => self.executor.stats.fail_jobs.check(),
            None => Ok(()),
        }
    }

    /// Called every [`TICK`] while the ring has jobs and no new ones arrive.
    fn tick(&self) {
        self.look();
        if self.executor.limits.is_over(&self.ring) {
            self.executor.raise_alarm();
        }
    }

    /// Does what [`Queue::tick`] does, because each new job postpones the tick.
    fn tick_if_due(&self) {
        if self.watch.is_due() {
            self.tick();
        }
    }

    /// Looks for lost interrupts.
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

/// Everything that runs jobs on a card.
#[pin_data]
pub(crate) struct Executor {
    pub(crate) dev: ARef<device::Device>,
    pub(crate) hw: &'static Chip,
    pub(crate) card: CardHandle,
    pub(crate) rings: KVec<Arc<Ring>>,
    vmids: Arc<Vmids>,
    stats: Arc<Stats>,
    /// Floor that a gang must have to go onto its rings.
    #[pin]
    floor: Floor,
    pub(crate) limits: Limits,
    /// Set while a block is reset.
    pub(crate) recovering: AtomicFlag,
    /// Number of resets so far.
    pub(crate) resets: Atomic<u64>,
    /// Whoever recovers rings that hang. `None` while the driver is not bound.
    #[pin]
    alarm: SpinLock<Option<Arc<dyn Alarm>>>,
    /// Held while the card is given up: by its recovery, or because it is unbound.
    #[pin]
    giving_up: Mutex<()>,
    given_up: AtomicFlag,
    /// Set when the first lost interrupt was logged; later ones would say the same.
    said_lost: AtomicFlag,
}

impl Executor {
    fn new(
        dev: &device::Device,
        hw: &'static Chip,
        card: CardHandle,
        rings: KVec<Arc<Ring>>,
        stats: Arc<Stats>,
        limits: Limits,
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
                limits,
                recovering: AtomicFlag::new(false),
                resets: Atomic::new(0),
                alarm <- new_spinlock!(None, "Executor::alarm"),
                giving_up <- new_mutex!(()),
                given_up: AtomicFlag::new(false),
                said_lost: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Sets who is told of rings that hang.
    pub(crate) fn set_alarm(&self, alarm: Option<Arc<dyn Alarm>>) {
        let before = core::mem::replace(&mut *self.alarm.lock(), alarm);
        drop(before);
    }

    fn raise_alarm(&self) {
        let alarm = self.alarm.lock().clone();
        if let Some(alarm) = alarm {
            alarm.raise();
        }
    }

    /// Returns true if the card hung beyond repair, so that no job runs any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// Stops the card, and then ends all jobs on its rings and all later ones. `accused` has the
    /// bits of the rings that hang.
    pub(crate) fn give_up(&self, accused: u32, error: Error) {
        let _giving_up = self.giving_up.lock();
        self.given_up.store(true, Relaxed);
        // If the driver is unbound, the card was stopped earlier.
        if let Some(card) = self.card.try_access() {
            if self.hw.quiesce(&card).is_err() {
                dev_err!(self.dev, "the engines do not stop\n");
            }
        }
        for ring in &self.rings {
            let begun = ring.begun_seq();
            let culprit = (accused & ring.bit() != 0).then_some(Culprit { begun });
            ring.timeline.abort(culprit, error);
        }
    }
}

/// The schedulers of a card, one for each ring.
pub(crate) struct Schedulers {
    executor: Arc<Executor>,
    /// Schedulers in the order of [`Chip::rings`].
    schedulers: KVec<Arc<Scheduler<Job>>>,
}

impl Schedulers {
    /// Creates a scheduler for each of `rings`, which are all rings of a card, by index. Jobs are
    /// dropped on `reaper`.
    pub(crate) fn new(
        dev: &device::Device,
        hw: &'static Chip,
        card: CardHandle,
        rings: KVec<Arc<Ring>>,
        stats: Arc<Stats>,
        limits: Limits,
        reaper: &Arc<OwnedQueue>,
    ) -> Result<Self> {
        let executor = Executor::new(dev, hw, card, rings, stats, limits)?;
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

    /// Returns the schedulers of the rings that `accept` selects, for a queue whose jobs may run on
    /// any of them. Rings that are left out are not among them.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if no such ring works.
    pub(crate) fn of(
        &self,
        mut accept: impl FnMut(RingId) -> bool,
    ) -> Result<KVec<Arc<Scheduler<Job>>>> {
        let mut schedulers = KVec::new();
        for scheduler in &self.schedulers {
            let ring = &scheduler.queue().ring;
            if accept(ring.kind) && !ring.is_left_out() {
                schedulers.push(scheduler.clone(), GFP_KERNEL)?;
            }
        }
        if schedulers.is_empty() {
            return Err(ENOENT);
        }
        Ok(schedulers)
    }

    /// Returns the means to reserve a VM context for an address space.
    pub(crate) fn own_vmid(&self, space: &dyn AddressSpace) -> OwnVmid {
        OwnVmid::new(self.executor.vmids.clone(), space.id())
    }

    /// Returns whoever submitted last in a VM context, as far as it is known.
    pub(crate) fn tenant(&self, vmid: u8) -> Option<Tenant> {
        self.executor.vmids.tenant(vmid)
    }

    /// Returns what runs the jobs.
    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.executor
    }

    /// Has a ring recovered if it hangs, because its engine has met an illegal command.
    pub(crate) fn suspect(&self, ring: &Ring) {
        ring.suspect();
        self.executor.raise_alarm();
    }

    /// Returns true if the card hung beyond repair, so that no job runs any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.executor.is_given_up()
    }

    /// Returns the number of times that a part of the card was reset.
    pub(crate) fn resets(&self) -> u64 {
        self.executor.resets.load(Relaxed)
    }

    /// Returns true while a part of the card is being reset.
    pub(crate) fn is_recovering(&self) -> bool {
        self.executor.recovering.load(Relaxed)
    }

    /// Ends all jobs, on their rings or not, with `ENODEV`, and waits until they are dropped.
    /// Called when the driver is being unbound, and nobody can submit any more.
    pub(crate) fn shut_down(&self) {
        self.executor.give_up(0, ENODEV);
        for scheduler in &self.schedulers {
            scheduler.drain();
        }
    }
}
