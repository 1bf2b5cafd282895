// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Resets: of a block whose ring hangs, and if that does not help, of the whole card.
//!
//! The C driver has this in `amdgpu_device_gpu_recover` and `amdgpu_ring_reset_helper_begin`.
//!
//! First the guilty jobs are ended alone, if there is a chance of it ([`alone`]). What follows is
//! done if that is not enough.
//!
//! 1. Schedulers of the block are held, so that nothing new comes onto its rings.
//! 2. The gates are shut: no ring of the block begins another job. Those that are in the middle of
//!    one get [`GRACE`] to finish it, unless they hang themselves.
//! 3. A snapshot is taken for user space ([`super::dump`]).
//! 4. The engines are halted and reset. They are proved to be idle ([`Stopped`]).
//! 5. Fences of submissions that have finished by then are signaled. Their owners are not guilty.
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
//! # The whole card
//!
//! If any of steps 4 to 7 fails, the next [`Level`] is tried: then what is said above of the block
//! is true of all blocks. The chip is reset as a whole, which it must show to have happened. It is
//! brought up as after system sleep ([`super::revive`]): posted by its video BIOS, the memory
//! controller trained, the GART's table written from what is bound, and all engines started.
//!
//! What was in VRAM is lost, page tables among it. So are all jobs of clients, on the rings or
//! queued: these were published with the tables that are lost ([`Executor::vram_losses`]). Each
//! address space writes its tables again before its next job (`vm.rs`). The kernel's own jobs run
//! again; what they move from VRAM is what is found there. Buffers in system memory are intact.
//!
//! # Fences
//!
//! *No fence ends here that the engine has not reached.* That of a job that is lost ends with its
//! error when the engine gets to its number again, in its turn: its commands are left out, what the
//! kernel has put around them is not. Only if all levels fail do fences end otherwise: the card is
//! given up ([`Executor::give_up`]).
//!
//! # Locks
//!
//! Those of `exec/recovery.rs`, for which all of this runs: nothing is allocated.

mod alone;

use core::iter::Peekable;

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use crate::{
    abstractions::{
        drm::{
            device::Remedy,
            sched::Scheduler, //
        },
        task::TaskName, //
    },
    debug::pace::Pace,
    exec::{
        dump::Dumps,
        executor::Executor,
        job::Job,
        level::{
            Level,
            Plan,
            Suspect, //
        },
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
            Marks,
            RingId, //
        },
        ClockGating,
        Stopped, //
    },
};

/// Time that a job may take to end when another ring of its block hangs, in ms.
const GRACE: i64 = 500;
/// Pause between two looks at jobs that are about to end.
const PAUSE: Delta = Delta::from_millis(2);

/// The part of a device that stops and starts its engines.
pub(crate) trait Restart: Send + Sync {
    /// Stops interrupts, and the engines as far as they can be stopped. The card, which is about to
    /// lose its state, can no longer access system memory.
    fn stop(&self, card: &Card<'_>);

    /// Brings up a card that has lost its state: see [`super::revive`].
    fn revive(&self, card: &Card<'_>) -> Result;

    /// Starts the engines of a block that was reset, and enables its interrupts.
    fn restart(&self, card: &Card<'_>, block: Block) -> Result;

    /// Starts a queue that was taken off its engine.
    fn restart_queue(&self, card: &Card<'_>, ring: RingId) -> Result;
}

/// Rings, one bit each, by their places.
#[derive(Clone, Copy, Default)]
pub(super) struct Accused {
    rings: u32,
    /// Those whose engines have met an illegal command.
    stuck: u32,
}

impl Accused {
    /// Returns true if there is any.
    pub(super) fn is_any(self) -> bool {
        self.rings != 0
    }

    pub(super) fn has(self, ring: &Ring) -> bool {
        self.rings & ring.bit() != 0
    }

    pub(super) fn add(&mut self, ring: &Ring) {
        self.rings |= ring.bit();
    }

    /// Adds a ring whose engine has met an illegal command.
    pub(super) fn add_stuck(&mut self, ring: &Ring) {
        self.add(ring);
        self.stuck |= ring.bit();
    }
}

/// A reset because rings of a block hang.
pub(super) struct Reset<'a> {
    pub(super) executor: &'a Executor,
    pub(super) schedulers: &'a [Arc<Scheduler<Job>>],
    pub(super) dumps: &'a Arc<Dumps>,
    pub(super) card: &'a Card<'a>,
    pub(super) restart: &'a dyn Restart,
    pub(super) block: Block,
    pub(super) accused: Accused,
    pub(super) pace: &'a Pace,
}

/// A reset that has helped.
struct Done {
    /// Task whose job was guilty.
    culprit: Option<TaskName>,
    /// Numbers of jobs that run again, and that do not.
    again: usize,
    lost: usize,
}

impl Reset<'_> {
    /// Returns the rings that a reset of this level takes along.
    fn rings(&self, level: Level) -> impl Iterator<Item = &Arc<Ring>> {
        let block = self.block;
        let rings = self.executor.working_rings();
        rings.filter(move |ring| level == Level::Full || ring.kind.block() == block)
    }

    fn schedulers_of(&self, of_block: bool) -> impl Iterator<Item = &Arc<Scheduler<Job>>> {
        let block = self.block;
        self.schedulers
            .iter()
            .filter(move |s| (s.queue().block() == block) == of_block)
    }

    /// Returns the name of what a reset of this level resets.
    fn name(&self, level: Level) -> &'static str {
        match level {
            Level::Waves => "the job's shader",
            Level::Queue => "the compute queue",
            Level::Block => self.block.name(),
            Level::Full => "the card",
        }
    }

    /// Resets as much of the card as is needed for jobs to go on. Returns the level that has
    /// helped. If none has, gives the card up.
    pub(super) fn run(&self) -> Result<Level> {
        // Before any fence ends: whoever sees an error asks for the reason next.
        self.executor.recoveries.fetch_add(1, Relaxed);
        self.schedulers_of(true).for_each(|s| s.hold());
        let result = self.help();
        self.schedulers.iter().for_each(|s| s.release());
        result
    }

    /// Does so. The schedulers of the block are held.
    fn help(&self) -> Result<Level> {
        let executor = self.executor;
        let start = Instant::<Monotonic>::now();
        if !executor.hw.system.responds(self.card) {
            // It was taken out of its slot: no job is to blame.
            dev_err!(executor.dev, "the card does not respond\n");
            executor.resets.fetch_add(1, Relaxed);
            self.give_up(Accused::default(), None);
            return Err(ENODEV);
        }
        let mut plan = self.plan().peekable();
        let is_aloud = self.complain(plan.peek().copied());
        let suspect = self.suspects().max_by_key(|ring| ring.timeline.age());
        // The dump shows what was there before anything was changed.
        let unseen = suspect.filter(|_| !plan.peek().is_some_and(Level::is_alone));
        let done = match self.climb_alone(&mut plan, suspect, is_aloud) {
            Some(done) => Ok(done),
            None => self.climb(plan, unseen),
        };
        match done {
            Ok((level, done)) => {
                // What was lost with VRAM is always told. The core logs each event that it sends.
                if is_aloud || level == Level::Full {
                    self.dumps.tell(Remedy::None, done.culprit);
                    let Done { lost, again, .. } = done;
                    dev_notice!(
                        executor.dev,
                        "{} was reset in {} ms: {lost} jobs are lost, {again} run again{}\n",
                        self.name(level),
                        start.elapsed().as_millis(),
                        match level {
                            Level::Waves | Level::Queue | Level::Block => "",
                            Level::Full => "; what was in VRAM is lost",
                        }
                    );
                }
                Ok(level)
            }
            Err(error) => {
                self.give_up(self.accused, suspect);
                Err(error)
            }
        }
    }

    /// Gives the card up. `guilty` has the rings whose oldest jobs are to blame, and `suspect` is
    /// the one that is told of.
    fn give_up(&self, guilty: Accused, suspect: Option<&Arc<Ring>>) {
        let executor = self.executor;
        dev_err!(executor.dev, "the card is given up\n");
        let culprit = suspect.and_then(|ring| ring.timeline.submitter());
        executor.give_up(guilty.rings, ECANCELED);
        self.dumps.tell(Remedy::Rebind, culprit);
    }

    /// Returns the levels to try for what hangs now.
    fn plan(&self) -> Plan {
        Plan::new(self.suspects().filter_map(|ring| {
            let head = ring.head()?;
            Some(Suspect {
                engine: ring.kind.engine(),
                guilty: is_guilty(head, true),
                stuck: self.accused.stuck & ring.bit() != 0,
                tried: head.tried,
            })
        }))
    }

    /// Returns the rings of the block that hang.
    fn suspects(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.rings(Level::Block)
            .filter(|ring| self.accused.has(ring))
    }

    /// Logs the rings that hang, unless others have only just been logged. Returns true if the
    /// result is to be told, too.
    fn complain(&self, first: Option<Level>) -> bool {
        let Some(left_out) = self.pace.ask() else {
            return false;
        };
        if left_out != 0 {
            dev_notice!(
                self.executor.dev,
                "{left_out} resets since the last one were not logged\n"
            );
        }
        let what = first.map_or("nothing more", |level| self.name(level));
        for ring in self.suspects() {
            let unfinished = ring.timeline.unfinished();
            let (first, last) = (unfinished.start, unfinished.end.saturating_sub(1));
            let (dev, name) = (&self.executor.dev, ring.kind.name());
            match ring.timeline.submitter() {
                Some(task) => dev_err!(
                    dev,
                    "ring {name}: job {first} hangs (unfinished: {first} to {last}); it is of {task}; {what} is reset\n"
                ),
                None => dev_err!(
                    dev,
                    "ring {name}: job {first} hangs (unfinished: {first} to {last}); {what} is reset\n"
                ),
            }
        }
        true
    }

    /// Shuts the gates, and waits until rings that do not hang are between two jobs.
    fn wait_for_innocents(&self, level: Level) {
        self.rings(level)
            .for_each(|ring| ring.set_gate(Marks::SHUT));
        let start = Instant::<Monotonic>::now();
        let is_inside = |ring: &&Arc<Ring>| !self.accused.has(ring) && !ring.is_between();
        while self.rings(level).any(|ring| is_inside(&ring)) && start.elapsed().as_millis() < GRACE
        {
            fsleep(PAUSE);
        }
    }

    /// Tries the levels that end more than the guilty jobs, one after the other. `unseen` is a ring
    /// that hangs, if there is no snapshot yet. Afterward all schedulers are held.
    fn climb(&self, plan: Peekable<Plan>, unseen: Option<&Arc<Ring>>) -> Result<(Level, Done)> {
        let executor = self.executor;
        // As above.
        executor.resets.fetch_add(1, Relaxed);
        executor.recovering.store(true, Relaxed);
        self.wait_for_innocents(Level::Block);
        self.schedulers_of(false).for_each(|s| s.hold());
        if let Some(ring) = unseen {
            self.dumps.capture(self.card, executor, ring);
        }
        let mut result = Err(EIO);
        for level in plan {
            let reset = match level {
                Level::Full => self.reset_card(),
                Level::Waves | Level::Queue | Level::Block => self.reset_block(),
            };
            result = reset.map(|(stopped, culprit)| (level, stopped, culprit));
            let Err(error) = &result else { break };
            dev_err!(
                executor.dev,
                "the reset of {} failed ({error:?})\n",
                self.name(level)
            );
        }
        executor.recovering.store(false, Relaxed);
        let (level, stopped, culprit) = result?;
        let (again, lost) = replay(self.rings(level), &stopped);
        Ok((
            level,
            Done {
                culprit,
                again,
                lost,
            },
        ))
    }

    /// Resets the block, and starts it with empty rings. Returns the task whose job was guilty,
    /// too.
    fn reset_block(&self) -> Result<(Stopped, Option<TaskName>)> {
        let hw = self.executor.hw;
        hw.system.gate_clocks(self.card, ClockGating::Off);
        let stopped = hw.reset(self.card, self.block)?;
        let culprit = self.judge(Level::Block, &stopped)?;
        for ring in self.rings(Level::Block) {
            ring.restart(&stopped);
        }
        self.restart.restart(self.card, self.block)?;
        self.rings(Level::Block)
            .try_for_each(|ring| ring.test_write())?;
        hw.system.gate_clocks(self.card, ClockGating::On);
        Ok((stopped, culprit))
    }

    /// Resets the whole card, and brings it up with empty rings. Returns the task whose job was
    /// guilty, too.
    fn reset_card(&self) -> Result<(Stopped, Option<TaskName>)> {
        let executor = self.executor;
        let hw = executor.hw;
        self.wait_for_innocents(Level::Full);
        hw.system.gate_clocks(self.card, ClockGating::Off);
        self.restart.stop(self.card);
        let stopped = hw.reset_card(self.card)?;
        let culprit = self.judge(Level::Full, &stopped)?;
        for ring in self.rings(Level::Full) {
            ring.timeline.lose_clients(&stopped);
        }
        self.restart.revive(self.card)?;
        // Whoever sees this may write to VRAM again. No fence has ended yet that says otherwise.
        executor.vram_losses.fetch_add(1, Release);
        Ok((stopped, culprit))
    }

    /// Decides what becomes of the oldest job of each ring, after it was seen what has finished.
    /// Returns the task of the guilty one.
    fn judge(&self, level: Level, stopped: &Stopped) -> Result<Option<TaskName>> {
        self.rings(level).for_each(|ring| ring.process());
        let heads = || {
            self.rings(level)
                .filter_map(|ring| ring.head().map(|head| (ring, head, self.accused.has(ring))))
        };
        let solved = heads().any(|(_, head, accused)| is_guilty(head, accused));
        let mut culprit = None;
        for (ring, head, accused) in heads() {
            if is_guilty(head, accused) {
                culprit = culprit.or_else(|| ring.timeline.submitter());
            }
            ring.timeline
                .carry_out(verdict(head, accused, solved, level)?, stopped);
        }
        Ok(culprit)
    }
}

/// Opens the gates of rings whose engines were reset, and has the unfinished jobs run again.
/// Returns how many do, and how many do not.
pub(super) fn replay<'a>(
    rings: impl Iterator<Item = &'a Arc<Ring>>,
    stopped: &Stopped,
) -> (usize, usize) {
    let (mut again, mut lost) = (0, 0);
    for ring in rings {
        ring.set_gate(Marks::OPEN);
        let (runs, failed) = ring.replay(stopped);
        again += runs;
        lost += failed;
    }
    (again, lost)
}
