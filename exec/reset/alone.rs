// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Levels of a reset that end the guilty jobs, and at most others of the same process.
//!
//! The C driver kills waves, too (`amdgpu_ring_soft_recovery`). On this generation it resets no
//! queue by itself.
//!
//! # Waves
//!
//! All waves of the guilty job's VM context are killed until the job has ended. The engine writes
//! its fence then, as it does of any other: that is the proof that it has stopped. The job ends
//! with `ENODATA`.
//!
//! An address space has one context on all rings, as a rule. So jobs of the same process that are
//! under way on other rings lose their waves, too, and end with the same error. The gates are shut
//! meanwhile, so that no job begins whose waves would be killed without notice.
//!
//! # Queue
//!
//! A compute queue is taken off its engine, with its waves. That it is not active any more is the
//! proof that it has stopped; writes of the engine have arrived with that answer. Then it is set up
//! again with the ring's other buffer, as after the reset of a block.
//!
//! All other rings go on. The schedulers are held as long as banked registers are selected.

use core::iter::Peekable;

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use super::{
    replay,
    Done,
    Reset,
    PAUSE, //
};
use crate::{
    exec::{
        level::{
            Level,
            Plan, //
        },
        ring::Ring,
        verdict::{
            is_guilty,
            Verdict, //
        }, //
    },
    hw::{
        command::Marks,
        Stopped, //
    },
};

/// Time for which waves are killed, in ms: a job may start any number of them.
const KILLING: i64 = 100;
/// Pause between two looks at whether the job has ended.
const LOOK: Delta = Delta::from_micros(100);

/// Returns true if the engine of a ring is still in the middle of a client's job. The gate is shut,
/// so no other job can have begun.
fn hangs(ring: &Arc<Ring>) -> bool {
    ring.process();
    ring.head().is_some_and(|head| is_guilty(head, true))
}

impl Reset<'_> {
    /// Tries the levels of `plan` that end the guilty jobs alone, as far as it begins with such.
    /// Returns the one that has helped. The schedulers of the block are held.
    pub(super) fn climb_alone(
        &self,
        plan: &mut Peekable<Plan>,
        suspect: Option<&Arc<Ring>>,
        is_aloud: bool,
    ) -> Option<(Level, Done)> {
        plan.peek().filter(|level| level.is_alone())?;
        if let Some(ring) = suspect {
            self.with_all_held(|| self.dumps.capture(self.card, self.executor, ring));
        }
        while let Some(level) = plan.next_if(Level::is_alone) {
            let reset = match level {
                Level::Waves => self.kill_waves(),
                Level::Queue | Level::Block | Level::Full => {
                    self.with_all_held(|| self.reset_queues())
                }
            };
            match reset {
                Ok(done) => return Some((level, done)),
                Err(error) if is_aloud => dev_notice!(
                    self.executor.dev,
                    "the reset of {} failed ({error:?})\n",
                    self.name(level)
                ),
                Err(_) => (),
            }
        }
        None
    }

    /// Calls `f` while the other blocks' schedulers are held, too.
    fn with_all_held<R>(&self, f: impl FnOnce() -> R) -> R {
        self.schedulers_of(false).for_each(|s| s.hold());
        let result = f();
        self.schedulers_of(false).for_each(|s| s.release());
        result
    }

    /// Kills the waves of the guilty jobs until these have ended.
    ///
    /// # Errors
    ///
    /// Returns `ETIMEDOUT` if one of them does not end. The gates of the rings that hang stay shut.
    fn kill_waves(&self) -> Result<Done> {
        let hw = self.executor.hw;
        let rings = || self.rings(Level::Block);
        rings().for_each(|ring| ring.set_gate(Marks::SHUT));
        // A ring that was just passing its gate says by then that its job has begun.
        fsleep(PAUSE);
        let culprit = self.suspects().find_map(|ring| ring.timeline.submitter());
        let mut lost = 0;
        for vmid in self.suspects().filter_map(|ring| ring.timeline.head_vmid()) {
            let interrupted = |ring: &&Arc<Ring>| {
                // What has ended must not hide what came after it.
                ring.process();
                ring.interrupt(vmid)
            };
            lost += rings().filter(interrupted).count();
        }
        let start = Instant::<Monotonic>::now();
        let mut killed = Ok(());
        while self.suspects().any(hangs) {
            if start.elapsed().as_millis() >= KILLING {
                killed = Err(ETIMEDOUT);
                break;
            }
            for vmid in self.suspects().filter_map(|ring| ring.timeline.head_vmid()) {
                hw.graphics.kill_waves(self.card, vmid);
            }
            fsleep(LOOK);
        }
        let goes_on = |ring: &&Arc<Ring>| killed.is_ok() || !self.accused.has(ring);
        rings()
            .filter(goes_on)
            .for_each(|ring| ring.set_gate(Marks::OPEN));
        killed.map(|()| Done {
            culprit,
            again: 0,
            lost,
        })
    }

    /// Resets the compute queues that hang, one by one. All schedulers are held.
    ///
    /// # Errors
    ///
    /// Those of [`Chip::take_off`](crate::hw::Chip::take_off), and `ETIMEDOUT` if a queue does not
    /// execute commands afterward. No job runs again then.
    fn reset_queues(&self) -> Result<Done> {
        let mut culprit = None;
        let mut proof = None;
        for ring in self.suspects() {
            let stopped = self.executor.hw.take_off(self.card, ring.kind)?;
            if hangs(ring) {
                culprit = culprit.or_else(|| ring.timeline.submitter());
                ring.timeline.carry_out(Verdict::Fail(ETIME), &stopped);
            }
            proof = Some(self.start_queue(ring, stopped)?);
        }
        // Only now, as nothing may have begun where the next level is needed.
        let (again, lost) = proof.map_or((0, 0), |stopped| replay(self.suspects(), &stopped));
        Ok(Done {
            culprit,
            again,
            lost,
        })
    }

    /// Starts a compute queue that was taken off, with an empty ring.
    fn start_queue(&self, ring: &Arc<Ring>, stopped: Stopped) -> Result<Stopped> {
        ring.restart(&stopped);
        self.restart.restart_queue(self.card, ring.kind)?;
        ring.test_write()?;
        Ok(stopped)
    }
}
