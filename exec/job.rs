// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs: from the scheduler to a ring.
//!
//! The C driver has this in amdgpu_job.c (`amdgpu_job`, `amdgpu_job_run`, `amdgpu_job_timedout`).
//!
//! A [`Job`] is everything that a submission needs on its way through the scheduler, collected
//! while failure is still possible. The scheduler waits for its dependencies, then:
//!
//! ```text
//! prepare   wait for the fences that the submission names, one at a time
//!           wait for changes of the page tables (vm.rs) that were published before the job
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
//! `exec/executor.rs` says when a job takes too long.

use kernel::{
    device,
    dma::DmaAddress,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use super::executor::{
    Executor,
    Limits,
    WatchedRing,
    TICK, //
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
        copy::CopyTask,
        faults::FaultRecord,
        fence::HwFence,
        fence_pages::ShownPage,
        gang::Seat,
        ring::Ring,
        submitter::Submitter,
        verdict::{
            Party,
            Standing, //
        },
        view::View,
        vmid::{
            Lease,
            Loan,
            OwnVmid,
            SpaceVersion,
            Tenant,
            Wish, //
        },
    },
    hw::{
        card::CardHandle,
        command::{
            Commands,
            EngineKind,
            EntryRun,
            FenceSlot,
            Fill,
            Ib,
            RingId,
            Submission,
            VmState,
            Vmid, //
        },
        on_chip::{
            OnChip,
            OnChipRange, //
        },
        Chip, //
    },
};

/// Pause between two looks at jobs that are about to end.
const PAUSE: Delta = Delta::from_millis(2);

/// The part of an address space that a job needs.
pub(crate) trait AddressSpace: Send + Sync {
    /// Returns the number that identifies the address space.
    fn id(&self) -> u64;

    /// Returns the address of the page directory in the GPU's own address space. It never changes.
    fn pd_addr(&self) -> u64;

    /// Returns the record of the address space's faults.
    fn faults(&self) -> &Arc<FaultRecord>;

    /// Returns the view of the address space's memory.
    fn view(&self) -> &Arc<View>;

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

/// Number that a job writes for user space when it is done.
pub(crate) struct UserFenceWrite {
    pub(crate) place: FencePlace,
    pub(crate) value: u64,
}

/// Location of a user fence. What is there stays in its place until the job has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FencePlace {
    /// An address in VRAM, as the GPU's own address space has it (context 0).
    Vram(u64),
    /// An offset in a page of system memory.
    System { page: DmaAddress, offset: u64 },
}

impl UserFenceWrite {
    /// Has the next job of `ring` see the location. Returns its address, and what keeps it there.
    fn show(&self, ring: &Ring) -> Option<(FenceSlot, Option<ShownPage>)> {
        let (gpu_addr, page) = match self.place {
            FencePlace::Vram(addr) => (addr, None),
            FencePlace::System { page, offset } => {
                let page = ring.fence_pages.show(page);
                (page.gpu_addr()? + offset, Some(page))
            }
        };
        let value = self.value;
        Some((FenceSlot { gpu_addr, value }, page))
    }
}

/// Work that a client submits, and the objects that must stay until it is done.
pub(crate) struct Work {
    /// Address space of the job. `None`: the kernel's own.
    pub(crate) space: Option<Arc<dyn AddressSpace>>,
    /// Process that submitted the job. `None`: the kernel.
    pub(crate) submitter: Option<Arc<Submitter>>,
    /// Standing of the job's queue. `None`: the kernel's.
    pub(crate) standing: Option<Arc<Standing>>,
    /// Number of losses of VRAM that whoever submitted the job knows of: see
    /// [`Executor::vram_losses`]. `None`: the kernel, which relies on nothing that VRAM held.
    ///
    /// The job's page tables were written after as many losses, or more.
    pub(crate) known_losses: Option<u64>,
    /// On-chip memory that the job uses.
    pub(crate) on_chip: OnChip,
    /// PASID that interrupts caused by the job carry.
    pub(crate) pasid: u16,
    /// Job before this one in its queue, if the scheduler does not keep the two in order.
    pub(crate) previous: Option<ARef<Fence>>,
    /// Fences that the job waits for, in any order, besides the dependencies that the scheduler
    /// knows of. User space may name very many: the scheduler compares each new dependency with all
    /// that it has, and nobody is charged for its list of them.
    pub(crate) after: KVVec<ARef<Fence>>,
    pub(crate) task: Task,
    pub(crate) user_fence: Option<UserFenceWrite>,
    /// The job's place in a gang, if it is one of several jobs that run at the same time.
    pub(crate) seat: Option<Seat>,
    /// Objects dropped when the job is done; nothing reads them before.
    pub(crate) _keep: Option<KBox<dyn Send>>,
}

impl Work {
    /// Returns a fence that the job has to wait for. Each is returned once only: where one is of a
    /// job of the same scheduler, that waits until this job is on the ring, behind which it comes.
    fn pending(&mut self) -> Option<ARef<Fence>> {
        while let Some(fence) = self.previous.take().or_else(|| self.after.pop()) {
            if !fence.is_signaled() {
                return Some(fence);
            }
        }
        None
    }

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

    /// Returns an error if the job must not run, or is meant to fail: see
    /// [`FailJobs`](crate::debug::stats::FailJobs).
    fn check(&self, executor: &Executor) -> Result {
        let luck = match self.submitter {
            Some(_) => executor.stats.fail_jobs.check(),
            None => Ok(()),
        };
        self.check_wanted().and(luck)
    }

    /// Returns the process and the address space, if the job has both.
    fn tenant(&self) -> Option<Tenant> {
        let space = self.space.as_ref()?;
        Some(Tenant {
            submitter: self.submitter.clone()?,
            faults: space.faults().clone(),
            view: space.view().clone(),
        })
    }

    /// Returns those on whose behalf the job runs.
    /// It runs in the context `vmid`, if it runs.
    fn party(&self, vmid: Option<Vmid>) -> Party {
        match &self.standing {
            None => Party::Kernel,
            Some(standing) => Party::Client {
                standing: standing.clone(),
                gang: self.seat.as_ref().map(|seat| seat.gang_of()),
                tenant: self.tenant(),
                vmid,
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
    /// Copies memory. Only for such queues, too.
    Copy(CopyTask),
    /// Writes page-table entries. Only for such queues, too.
    Entries(KVec<EntryRun>),
    /// Fills a part of the global data share with zeros. Only for queues whose rings are all
    /// compute queues.
    ClearGds(OnChipRange),
}

impl Task {
    fn commands<'a>(&'a self, ring: &Ring) -> Commands<'a> {
        match self {
            Self::Ibs(ibs) => Commands::Ibs(ibs),
            Self::Fill(fill) => Commands::Fill(*fill),
            Self::Copy(copy) => copy.commands(ring),
            Self::Entries(runs) => Commands::Entries(runs),
            Self::ClearGds(range) => Commands::ClearGds(*range),
        }
    }
}

/// A job for the scheduler.
pub(crate) struct Job {
    // Dropped first: no window may show a page that `work` keeps any longer than that.
    stage: Stage,
    work: Work,
    /// Set when the job is published, if it has an address space.
    at: Option<SpaceAt>,
}

/// Progress of a job.
enum Stage {
    /// The job waits for its dependencies, or for a VM context.
    Waiting(HwFence),
    /// The job may run.
    Ready(HwFence, Option<Lease>),
    /// The job is on the ring, or done.
    Running(
        ARef<Fence>,
        #[expect(dead_code, reason = "only kept")] Option<ShownPage>,
    ),
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

    /// Has the job come after the end of another. To be called when the job is submitted.
    pub(crate) fn set_previous(&mut self, previous: Option<ARef<Fence>>) {
        self.work.previous = previous;
    }

    /// Sets the number that the job writes to its user fence.
    pub(crate) fn set_number(&mut self, number: u64) {
        if let Some(fence) = &mut self.work.user_fence {
            fence.value = number;
        }
    }

    /// Adds page-table entries to a [`Task::Entries`] that has room for more. To be called before
    /// the job is pushed. Does not allocate.
    pub(crate) fn push_entries(&mut self, run: EntryRun) -> Result {
        match &mut self.work.task {
            Task::Entries(runs) => runs.push_within_capacity(run).map_err(|_| EINVAL),
            Task::Ibs(_) | Task::Fill(_) | Task::Copy(_) | Task::ClearGds(_) => Err(EINVAL),
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

#[vtable]
impl JobOps for Job {
    type Queue = WatchedRing;

    fn prepare(&mut self, queue: &WatchedRing) -> Option<ARef<Fence>> {
        let pending = self.work.pending().or_else(|| self.pending_update());
        if pending.is_some() {
            return pending;
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

    fn run(&mut self, queue: &WatchedRing) -> ARef<Fence> {
        queue.tick_if_due();
        self.advance(|work, stage| {
            let shown = work.user_fence.as_ref().and_then(|f| f.show(&queue.ring));
            let (slot, page) = shown.unzip();
            let fence = match stage {
                Stage::Waiting(fence) => submit(queue, work, fence, None, slot),
                Stage::Ready(fence, lease) => submit(queue, work, fence, lease, slot),
                Stage::Running(fence, _) => fence,
                // `advance` does not nest.
                Stage::Changing => Fence::stub(),
            };
            if let Some(seat) = &mut work.seat {
                seat.enter();
            }
            (Stage::Running(fence.clone(), page.flatten()), fence)
        })
    }

    fn timed_out(&mut self, queue: &WatchedRing) {
        queue.tick();
    }
}

/// Gets a job ready to run: its gang assembled, a VM context lent to it. If that cannot be done
/// yet, returns the fence to wait for before trying again.
fn equip(
    queue: &WatchedRing,
    work: &mut Work,
    seq: u64,
    fence: HwFence,
) -> (Stage, Option<ARef<Fence>>) {
    let executor = &*queue.executor;
    if let Some(seat) = &mut work.seat {
        if let Some(pending) = seat.assemble(&executor.floor) {
            return (Stage::Waiting(fence), Some(pending));
        }
    }
    // All jobs of a gang go by what each was found to be here: looked at again, a job may be found
    // to be unwanted when others of its gang run already.
    let wanted = match &work.seat {
        Some(seat) => {
            if let Err(error) = work.check(executor) {
                seat.give_up(error);
            }
            seat.check_wanted()
        }
        None => work.check_wanted(),
    };
    // A job that does not run needs no context.
    let Some(space) = work.space.as_ref().filter(|_| wanted.is_ok()) else {
        return (Stage::Ready(fence, None), None);
    };
    let at = SpaceVersion {
        id: space.id(),
        seq,
    };
    let wish = Wish {
        space: at,
        ring: queue.ring.kind,
        on_chip: work.on_chip,
    };
    match executor.vmids.lend(&wish) {
        Loan::Lent(lease) => {
            if let Some(tenant) = work.tenant() {
                lease.set_tenant(tenant);
            }
            (Stage::Ready(fence, Some(lease)), None)
        }
        Loan::Busy(user) => (Stage::Waiting(fence), Some(user)),
    }
}

/// Puts a job on its ring, with its commands if it is to run and has all that it needs.
fn submit(
    queue: &WatchedRing,
    work: &Work,
    fence: HwFence,
    lease: Option<Lease>,
    user_fence: Option<FenceSlot>,
) -> ARef<Fence> {
    let vm = match (&work.space, &lease) {
        (Some(space), Some(lease)) => Ok(Some(VmState {
            vmid: lease.vmid(),
            pd_addr: space.pd_addr(),
            flush: lease.flush(),
            on_chip: lease.on_chip(),
            pasid: work.pasid,
        })),
        (Some(_), None) => Err(ECANCELED),
        (None, _) => Ok(None),
    };
    let wanted = match &work.seat {
        Some(seat) => seat.check_wanted(),
        None => work.check(&queue.executor),
    };
    let lost = queue.executor.check_losses(work.known_losses);
    let vm = wanted.and(lost).and(vm);
    let submission = Submission {
        vm: vm.unwrap_or(None),
        commands: match vm {
            Ok(_) => work.task.commands(&queue.ring),
            Err(error) => Commands::Fail(error),
        },
        user_fence,
    };
    let vmid = submission.vm.map(|vm| vm.vmid);
    let fence = queue.ring.submit(&submission, fence, work.party(vmid));
    // A job that does not run does not do its flush.
    if let Some(lease) = lease.filter(|_| submission.vm.is_some()) {
        lease.submitted(queue.ring.kind, &fence);
    }
    fence
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
            let queue = WatchedRing::new(executor.clone(), ring.clone());
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
                schedulers.push(scheduler.clone(), GFP_KERNEL_ACCOUNT)?;
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

    /// Returns the number of rings that run jobs of a kind.
    pub(crate) fn count(&self, engine: EngineKind) -> usize {
        let rings = self.executor.rings.iter();
        rings
            .filter(|ring| ring.kind.engine() == engine && !ring.is_left_out())
            .count()
    }

    /// Charges the jobs that have engines at present up to now.
    pub(crate) fn settle(&self) {
        for ring in &self.executor.rings {
            ring.timeline.settle();
        }
    }

    /// Returns the number of times that a part of the card was reset.
    pub(crate) fn resets(&self) -> u64 {
        self.executor.resets.load(Relaxed)
    }

    /// Returns the number of times that rings which hang were recovered, by a reset or by less.
    pub(crate) fn recoveries(&self) -> u64 {
        self.executor.recoveries.load(Relaxed)
    }

    /// Returns the number of times that what is in VRAM was lost.
    pub(crate) fn vram_losses(&self) -> u64 {
        self.executor.vram_losses.load(Acquire)
    }

    /// Returns true while a part of the card is being reset.
    pub(crate) fn is_recovering(&self) -> bool {
        self.executor.recovering.load(Relaxed)
    }

    /// Waits until all jobs have ended and are dropped, for at most `limit` ms.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` if there are jobs by then.
    pub(crate) fn wait_idle(&self, limit: i64) -> Result {
        let start = Instant::<Monotonic>::now();
        while !self.schedulers.iter().all(|scheduler| scheduler.is_idle()) {
            if start.elapsed().as_millis() >= limit {
                return Err(EBUSY);
            }
            fsleep(PAUSE);
        }
        Ok(())
    }

    /// Holds back all jobs that are not on their rings yet, until [`Schedulers::release`].
    pub(crate) fn hold(&self) {
        self.schedulers.iter().for_each(|s| s.hold());
    }

    /// Ends [`Schedulers::hold`].
    pub(crate) fn release(&self) {
        self.schedulers.iter().for_each(|s| s.release());
    }

    /// Forgets what VM contexts hold of page tables, as the card has lost its state. No job runs.
    pub(crate) fn forget_contexts(&self) {
        self.executor.vmids.forget();
    }

    /// Calls `give` for each VM context that has on-chip memory, as its registers have lost it.
    /// What is not finished may run again afterward.
    pub(crate) fn restore_on_chip(&self, give: impl Fn(Vmid, &OnChip)) {
        for vmid in (1..).map_while(Vmid::new) {
            let on_chip = self.executor.vmids.on_chip(vmid);
            if let Some(on_chip) = on_chip.filter(|on_chip| *on_chip != OnChip::NONE) {
                give(vmid, &on_chip);
            }
        }
    }

    /// Ends all jobs, on their rings or not, with `ENODEV`, and waits until they are dropped.
    /// Called when the driver is being unbound, and nobody can submit any more.
    pub(crate) fn shut_down(&self) {
        self.executor.give_up(0, ENODEV);
        // The card may be asleep.
        self.release();
        for scheduler in &self.schedulers {
            scheduler.drain();
        }
    }
}
