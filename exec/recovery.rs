// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Recovery of a card whose engines hang (the C driver's `amdgpu_device_gpu_recover`, in its form
//! for one IP block).
//!
//! A ring hangs if its oldest job has been the oldest for longer than the ring's limit allows,
//! or if its engine has said that it met an illegal command. Then the [`Block`] of the ring is
//! reset, and all others go on:
//!
//! 1. Schedulers of the block are held, so that nothing new comes onto its rings.
//! 2. The gates are shut: no ring of the block begins another job. Those that are in the middle of
//!    one get [`GRACE`] to finish it, unless they hang themselves.
//! 3. A snapshot is taken for user space ([`super::dump`]).
//! 4. The engines are halted and reset. They are proved to be idle ([`Stopped`]).
//! 5. Fences of what was finished by then are signaled. Who has finished is not guilty.
//! 6. Verdicts ([`super::verdict`]).
//! 7. The block is started as at bring-up, with empty rings, and each ring is tested.
//! 8. The gates are opened, and the rest runs again ([`Ring::replay`]).
//!
//! While a block is started, banked registers are selected. No engine may be told of work
//! meanwhile. So all other schedulers are held, too, in steps 3 to 7; their engines go on with what
//! is on their rings.
//!
//! Memory, page tables and what engines have cached of those stay as they are: the memory
//! controller is not reset.
//!
//! *No fence ends here that the engine has not reached.* That of a job that is lost ends with its
//! error when the engine gets to its number again, in its turn: its commands are left out, what the
//! kernel has put around them is not. Only if the reset fails do fences end otherwise: the card is
//! given up ([`Executor::give_up`]).
//!
//! # Locks
//!
//! Recoveries of a card, and its unbinding, exclude each other by the [`BoundSlot`]. Reclaim may
//! wait for the fences that a recovery leads to: nothing is allocated, and no reservation is taken.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use crate::{
    abstractions::{
        bound::BoundSlot,
        dma_fence::SignalingSection,
        drm::{
            device::Remedy,
            sched::Scheduler, //
        },
        task::TaskName,
        workqueue::OwnedQueue, //
    },
    exec::{
        dump::Dumps,
        executor::{
            Alarm,
            Executor, //
        },
        job::Job,
        ring::Ring,
        verdict::{
            is_guilty,
            verdict, //
        },
    },
    hw::{
        card::Card,
        command::{
            Block,
            Marks, //
        },
        ClockGating,
        Stopped, //
    },
};

/// Time that a job may take to end when another ring of its block hangs, in ms.
const GRACE: i64 = 500;
/// Pause between two looks at jobs that are about to end.
const PAUSE: Delta = Delta::from_millis(2);
/// Time in which a ring on which an illegal command was met may still show that it goes on.
const DOUBT: Delta = Delta::from_millis(10);

/// The part of a device that starts its engines.
pub(crate) trait Restart: Send + Sync {
    /// Starts the engines of a block that was reset, and enables its interrupts.
    fn restart(&self, card: &Card<'_>, block: Block) -> Result;
}

/// Rings, one bit each, by their places.
#[derive(Clone, Copy, Default)]
struct Accused(u32);

impl Accused {
    fn has(self, ring: &Ring) -> bool {
        self.0 & ring.bit() != 0
    }

    fn add(&mut self, ring: &Ring) {
        self.0 |= ring.bit();
    }
}

/// The recovery of a card.
#[pin_data]
pub(crate) struct Recovery {
    executor: Arc<Executor>,
    schedulers: KVec<Arc<Scheduler<Job>>>,
    pub(crate) dumps: Arc<Dumps>,
    /// Set if all blocks are to be reset, whether they hang or not.
    wanted: AtomicFlag,
    #[pin]
    bound: BoundSlot<Arc<dyn Restart>>,
    #[pin]
    work: Work<Self>,
    queue: Arc<OwnedQueue>,
}

impl_has_work! {
    impl HasWork<Self> for Recovery { self.work }
}

impl WorkItem for Recovery {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _section = SignalingSection::begin();
        this.bound.with(|dev, restart| this.look(dev, &**restart));
    }
}

impl Alarm for Recovery {
    fn raise(self: Arc<Self>) {
        let queue = self.queue.clone();
        // If it is queued already, it will see what there is to see.
        let _ = queue.enqueue(self);
    }
}

impl Recovery {
    /// Creates the recovery of a card, which runs on `queue`: an ordered queue for reclaim.
    pub(crate) fn new(
        executor: Arc<Executor>,
        schedulers: KVec<Arc<Scheduler<Job>>>,
        dumps: Arc<Dumps>,
        queue: Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                executor,
                schedulers,
                dumps,
                wanted: AtomicFlag::new(false),
                bound <- BoundSlot::new(),
                work <- new_work!("Recovery::work"),
                queue,
            }),
            GFP_KERNEL,
        )
    }

    /// Has rings that hang recovered from now on.
    ///
    /// # Safety
    ///
    /// The caller must call [`Recovery::end`] before `dev` is unbound.
    pub(crate) unsafe fn begin(self: &Arc<Self>, dev: &Device<Bound>, restart: Arc<dyn Restart>) {
        // SAFETY: By the function's requirement, as `end` empties it.
        unsafe { self.bound.fill(dev, restart) };
        self.executor.set_alarm(Some(self.clone()));
    }

    /// Ends what [`Recovery::begin`] began. Waits for a recovery that is under way.
    pub(crate) fn end(&self) {
        self.executor.set_alarm(None);
        self.bound.empty();
    }

    /// Has all blocks reset, and waits for it. Jobs that are in the middle of something get
    /// [`GRACE`] to finish it.
    ///
    /// # Errors
    ///
    /// Returns `ECANCELED` if the card was given up.
    pub(crate) fn recover_all(self: &Arc<Self>) -> Result {
        self.wanted.store(true, Relaxed);
        self.clone().raise();
        self.queue.flush();
        if self.executor.is_given_up() {
            return Err(ECANCELED);
        }
        Ok(())
    }

    /// Returns the rings that get jobs. Of one that failed its test nothing is expected.
    fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        let rings = self.executor.rings.iter();
        rings.filter(|ring| !ring.is_left_out())
    }

    /// Recovers the blocks that have a ring that hangs.
    fn look(&self, dev: &Device<Bound>, restart: &dyn Restart) {
        let executor = &*self.executor;
        let Ok(card) = executor.card.access(dev) else {
            return;
        };
        let wanted = self.wanted.xchg(false, Relaxed);
        let accused = self.accused();
        for &block in executor.hw.blocks {
            let guilty = |ring: &Arc<Ring>| ring.kind.block() == block && accused.has(ring);
            if executor.is_given_up() || !(wanted || self.rings().any(guilty)) {
                continue;
            }
            Reset {
                recovery: self,
                card,
                restart,
                block,
                accused,
            }
            .run();
        }
    }

    /// Returns the rings that hang.
    fn accused(&self) -> Accused {
        let mut accused = Accused::default();
        for ring in self.rings() {
            // Nobody may have looked since the last job ended.
            ring.process();
            if self.executor.limits.is_over(ring) {
                accused.add(ring);
            }
        }
        let mut suspects = Accused::default();
        for ring in self.rings().filter(|ring| ring.take_suspicion()) {
            suspects.add(ring);
        }
        if suspects.0 != 0 {
            fsleep(DOUBT);
        }
        for ring in self.rings().filter(|ring| suspects.has(ring)) {
            ring.process();
            if ring.head().is_some_and(|head| is_guilty(head, true)) {
                accused.add(ring);
            }
        }
        accused
    }
}

/// A reset of a block.
struct Reset<'a> {
    recovery: &'a Recovery,
    card: &'a Card<'a>,
    restart: &'a dyn Restart,
    block: Block,
    accused: Accused,
}

impl Reset<'_> {
    fn executor(&self) -> &Executor {
        &self.recovery.executor
    }

    /// Returns the rings of the block.
    fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        let block = self.block;
        let rings = self.recovery.rings();
        rings.filter(move |ring| ring.kind.block() == block)
    }

    fn schedulers(&self, of_block: bool) -> impl Iterator<Item = &Arc<Scheduler<Job>>> {
        let block = self.block;
        self.recovery
            .schedulers
            .iter()
            .filter(move |s| (s.queue().block() == block) == of_block)
    }

    /// Resets the block and starts it again. If that cannot be done, gives the card up.
    fn run(&self) {
        let executor = self.executor();
        let start = Instant::<Monotonic>::now();
        executor.recovering.store(true, Relaxed);
        // Before any fence ends: whoever sees an error asks for the reason next.
        executor.resets.fetch_add(1, Relaxed);
        self.schedulers(true).for_each(|s| s.hold());
        self.complain();
        self.wait_for_innocents();
        self.schedulers(false).for_each(|s| s.hold());
        let suspect = self.suspect();
        if let Some(ring) = suspect {
            self.recovery.dumps.capture(self.card, executor, ring);
        }
        let done = self.reset();
        executor.recovering.store(false, Relaxed);
        match done {
            Ok((stopped, culprit)) => {
                let (again, lost) = self.replay(&stopped);
                self.recovery.dumps.tell(Remedy::None, culprit);
                dev_notice!(
                    executor.dev,
                    "{} was reset in {} ms: {lost} jobs are lost, {again} run again\n",
                    self.block.name(),
                    start.elapsed().as_millis()
                );
            }
            Err(error) => {
                dev_err!(
                    executor.dev,
                    "the reset of {} failed ({error:?}); the card is given up\n",
                    self.block.name()
                );
                let culprit = suspect.and_then(|ring| ring.timeline.submitter());
                executor.give_up(self.accused.0, ECANCELED);
                self.recovery.dumps.tell(Remedy::Rebind, culprit);
            }
        }
        self.recovery.schedulers.iter().for_each(|s| s.release());
    }

    /// Returns the ring that has hung for the longest time, if any does.
    fn suspect(&self) -> Option<&Arc<Ring>> {
        let accused = self.rings().filter(|ring| self.accused.has(ring));
        accused.max_by_key(|ring| ring.timeline.age())
    }

    /// Logs the rings that hang.
    fn complain(&self) {
        for ring in self.rings().filter(|ring| self.accused.has(ring)) {
            let unfinished = ring.timeline.unfinished();
            let (first, last) = (unfinished.start, unfinished.end.saturating_sub(1));
            let (dev, name) = (&self.executor().dev, ring.kind.name());
            let block = self.block.name();
            match ring.timeline.submitter() {
                Some(task) => dev_err!(
                    dev,
                    "ring {name}: job {first} hangs (unfinished: {first} to {last}); it is of {task}; {block} is reset\n"
                ),
                None => dev_err!(
                    dev,
                    "ring {name}: job {first} hangs (unfinished: {first} to {last}); {block} is reset\n"
                ),
            }
        }
    }

    /// Shuts the gates, and waits until rings that do not hang are between two jobs.
    fn wait_for_innocents(&self) {
        self.rings().for_each(|ring| ring.set_gate(Marks::SHUT));
        let start = Instant::<Monotonic>::now();
        let is_inside = |ring: &&Arc<Ring>| !self.accused.has(ring) && !ring.is_between();
        while self.rings().any(|ring| is_inside(&ring)) && start.elapsed().as_millis() < GRACE {
            fsleep(PAUSE);
        }
    }

    /// Resets the block, and starts it with empty rings. Returns the task whose job was guilty,
    /// too.
    fn reset(&self) -> Result<(Stopped, Option<TaskName>)> {
        let Executor { hw, .. } = self.executor();
        hw.system.gate_clocks(self.card, ClockGating::Off);
        let stopped = hw.reset(self.card, self.block)?;
        self.rings().for_each(|ring| ring.process());
        let culprit = self.judge(&stopped)?;
        self.rings().for_each(|ring| ring.restart(&stopped));
        self.restart.restart(self.card, self.block)?;
        self.rings().try_for_each(|ring| ring.test_write())?;
        hw.system.gate_clocks(self.card, ClockGating::On);
        Ok((stopped, culprit))
    }

    /// Has the unfinished jobs of the block run again. Returns how many do, and how many do not.
    fn replay(&self, stopped: &Stopped) -> (usize, usize) {
        let (mut again, mut lost) = (0, 0);
        for ring in self.rings() {
            ring.set_gate(Marks::OPEN);
            let (runs, failed) = ring.replay(stopped);
            again += runs;
            lost += failed;
        }
        (again, lost)
    }

    /// Decides what becomes of the oldest job of each ring. Returns the task of the guilty one.
    fn judge(&self, stopped: &Stopped) -> Result<Option<TaskName>> {
        let heads = || {
            self.rings()
                .filter_map(|ring| ring.head().map(|head| (ring, head, self.accused.has(ring))))
        };
        let solved = heads().any(|(_, head, accused)| is_guilty(head, accused));
        let mut culprit = None;
        for (ring, head, accused) in heads() {
            if is_guilty(head, accused) {
                culprit = culprit.or_else(|| ring.timeline.submitter());
            }
            ring.timeline
                .carry_out(verdict(head, accused, solved)?, stopped);
        }
        Ok(culprit)
    }
}
