// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Gangs: jobs on several rings that run at the same time.
//!
//! The C driver calls this gang submit (`gang_size` jobs, `amdgpu_device_switch_gang`).
//!
//! User space may submit to several rings at once, and the jobs of such a gang may wait for each
//! other while they run. A ring executes its jobs in order. Suppose that one job of a gang is on
//! its ring, and another job cannot get onto its own before something happens that itself waits for
//! the first ring: none of them would make progress. So a gang goes through steps. All of its jobs
//! reach a step before any of them goes on:
//!
//! ```text
//! assembled   each is the first of its queue, with no dependencies left; none holds anything
//!     |       then they take the floor, which one gang has at a time
//! equipped    each has the VM context that it needs to run; none is on a ring
//!     |
//! entered     each is on its ring; the next gang may take the floor
//! ```
//!
//! # Why they all get there
//!
//! A job depends on older jobs only, and its gang is submitted as a whole: so *assembled* waits for
//! older jobs only. The floor goes to a gang that is assembled. To leave the floor, that gang needs
//! nothing more than VM contexts. Those are held by jobs that are on rings, and those jobs end: an
//! entered gang ends because all of its jobs are on rings, and the gang that has the floor has no
//! job on a ring yet. From *equipped* on, no job waits for anything but room on its ring.
//!
//! All of this takes turns with other jobs. Those of a higher priority always come first, and could
//! keep a gang that has the floor waiting for ever. So no job of a gang is of low priority,
//! whatever its context is (`ctx/queue.rs`). Only those who may have high priority can still do it.
//!
//! # All or none
//!
//! Once the jobs are equipped it is settled that all of them run, or none ([`Seat::give_up`] comes
//! before). A job that never gets that far, as the card is gone, is no longer waited for.
//!
//! # Lock order
//!
//! The locks here are taken last. No fence is signaled and nothing is allocated under them.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SpinLock, //
    },
};

use crate::abstractions::dma_fence::{
    DriverFence,
    Fence,
    FenceContext,
    PendingFence,
    UniqueFence, //
};

/// Names of the fences of the steps.
struct StepName;

#[vtable]
impl DriverFence for StepName {
    const DRIVER_NAME: &'static CStr = c"amdgpu_rs";

    fn timeline_name(&self) -> &'static CStr {
        c"gang"
    }
}

/// A step that all jobs of a gang have to reach.
#[pin_data]
struct Barrier {
    /// Signaled when all jobs have reached the step.
    fence: ARef<Fence>,
    #[pin]
    missing: SpinLock<Missing>,
}

struct Missing {
    jobs: usize,
    promise: Option<PendingFence<StepName>>,
}

impl Barrier {
    /// Creates a step that `jobs` jobs have to reach.
    fn new(jobs: usize) -> Result<impl PinInit<Self>> {
        // Each fence has a context of its own: there is no order between them.
        let memory = UniqueFence::new(GFP_KERNEL_ACCOUNT)?;
        let promise = memory.publish(&FenceContext::new(), 1, StepName);
        let fence = promise.fence().clone();
        Ok(pin_init!(Self {
            fence,
            missing <- new_spinlock!(Missing { jobs, promise: Some(promise) }, "Barrier::missing"),
        }))
    }

    /// Notes that one more job has reached the step.
    fn reach(&self) {
        let mut missing = self.missing.lock();
        missing.jobs = missing.jobs.saturating_sub(1);
        let promise = match missing.jobs {
            0 => missing.promise.take(),
            _ => None,
        };
        drop(missing);
        if let Some(promise) = promise {
            promise.signal(Ok(()));
        }
    }

    /// Returns the step's fence, unless all jobs have reached the step.
    fn pending(&self) -> Option<ARef<Fence>> {
        (!self.fence.is_signaled()).then(|| self.fence.clone())
    }
}

/// A gang.
#[pin_data]
pub(crate) struct Gang {
    #[pin]
    assembled: Barrier,
    #[pin]
    equipped: Barrier,
    #[pin]
    entered: Barrier,
    /// Error with which the jobs end without running. Once the jobs are equipped, only the loss of
    /// one of them in a reset changes it.
    #[pin]
    given_up: SpinLock<Result>,
}

impl Gang {
    /// Returns an error if the jobs must not run.
    pub(crate) fn check_wanted(&self) -> Result {
        *self.given_up.lock()
    }

    /// Prevents jobs that have not begun from running: they end with `error`.
    pub(crate) fn give_up(&self, error: Error) {
        *self.given_up.lock() = Err(error);
    }
}

/// The steps of a job of a gang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Queued,
    Assembled,
    Equipped,
    Entered,
}

/// A job's place in its gang. Dropping it means that the job is no longer waited for.
pub(crate) struct Seat {
    gang: Arc<Gang>,
    reached: Step,
}

impl Seat {
    /// Creates the seats of a gang of `jobs` jobs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn gang(jobs: usize) -> Result<KVec<Self>> {
        let (assembled, equipped, entered) = (
            Barrier::new(jobs)?,
            Barrier::new(jobs)?,
            Barrier::new(jobs)?,
        );
        let gang = Arc::pin_init(
            pin_init!(Gang {
                assembled <- assembled,
                equipped <- equipped,
                entered <- entered,
                given_up <- new_spinlock!(Ok(()), "Gang::given_up"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut seats = KVec::with_capacity(jobs, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..jobs {
            let seat = Self {
                gang: gang.clone(),
                reached: Step::Queued,
            };
            seats.push(seat, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(seats)
    }

    /// Notes that the job has reached `step`, and all steps before.
    fn reach(&mut self, step: Step) {
        let gang = &self.gang;
        for (next, barrier) in [
            (Step::Assembled, &gang.assembled),
            (Step::Equipped, &gang.equipped),
            (Step::Entered, &gang.entered),
        ] {
            if self.reached < next && next <= step {
                barrier.reach();
            }
        }
        self.reached = self.reached.max(step);
    }

    /// Called when the job is the first of its queue, with no dependencies left. Returns the fence
    /// to wait for before the job may take a VM context.
    pub(crate) fn assemble(&mut self, floor: &Floor) -> Option<ARef<Fence>> {
        self.reach(Step::Assembled);
        let pending = self.gang.assembled.pending();
        pending.or_else(|| floor.take(&self.gang))
    }

    /// Prevents all jobs of the gang from running: they end with `error`. Must be called before
    /// [`Seat::equip`].
    pub(crate) fn give_up(&self, error: Error) {
        self.gang.give_up(error);
    }

    /// Returns the gang.
    pub(crate) fn gang_of(&self) -> Arc<Gang> {
        self.gang.clone()
    }

    /// Called when the job has all that it needs to run. Returns the fence to wait for before the
    /// job may go onto its ring.
    pub(crate) fn equip(&mut self) -> Option<ARef<Fence>> {
        self.reach(Step::Equipped);
        self.gang.equipped.pending()
    }

    /// Returns an error if the job must not run. The answer is the same for all jobs of the gang
    /// once they are equipped.
    pub(crate) fn check_wanted(&self) -> Result {
        self.gang.check_wanted()
    }

    /// Called when the job is on its ring.
    pub(crate) fn enter(&mut self) {
        self.reach(Step::Entered);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.reached < Step::Equipped {
            self.give_up(ECANCELED);
        }
        self.reach(Step::Entered);
    }
}

/// The right to go onto the rings, which one gang of a card has at a time.
#[pin_data]
pub(crate) struct Floor {
    /// Fence of the last gang that had the floor, signaled when that gang has left it.
    #[pin]
    left: SpinLock<Option<ARef<Fence>>>,
}

impl Floor {
    /// Creates a floor that no gang has.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            left <- new_spinlock!(None, "Floor::left"),
        })
    }

    /// Gives the floor to `gang`, or returns the fence that is signaled when the other gang leaves
    /// it.
    fn take(&self, gang: &Gang) -> Option<ARef<Fence>> {
        let mut left = self.left.lock();
        let replaced = match &*left {
            Some(fence) if core::ptr::eq(&**fence, &*gang.entered.fence) => return None,
            Some(fence) if !fence.is_signaled() => return Some(fence.clone()),
            _ => left.replace(gang.entered.fence.clone()),
        };
        drop(left);
        drop(replaced);
        None
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_gang)]
mod tests {
    use super::*;

    fn floor() -> Result<Pin<KBox<Floor>>> {
        KBox::pin_init(Floor::new(), GFP_KERNEL)
    }

    fn pair() -> Result<[Seat; 2]> {
        let mut seats = Seat::gang(2)?.into_iter();
        match (seats.next(), seats.next(), seats.next()) {
            (Some(a), Some(b), None) => Ok([a, b]),
            _ => Err(EINVAL),
        }
    }

    #[test]
    fn steps_are_taken_together() -> Result {
        let floor = floor()?;
        let [mut a, mut b] = pair()?;
        let assembled = a.assemble(&floor).ok_or(EINVAL)?;
        assert!(!assembled.is_signaled());
        // Asking again changes nothing.
        assert!(a.assemble(&floor).is_some());
        assert!(b.assemble(&floor).is_none());
        assert!(assembled.is_signaled());
        assert!(a.assemble(&floor).is_none());

        let equipped = b.equip().ok_or(EINVAL)?;
        assert!(a.equip().is_none() && equipped.is_signaled() && b.equip().is_none());
        assert!(a.check_wanted().is_ok() && b.check_wanted().is_ok());
        a.enter();
        b.enter();
        Ok(())
    }

    #[test]
    fn one_gang_at_a_time_has_the_floor() -> Result {
        let floor = floor()?;
        let ([mut a, mut b], [mut c, mut d]) = (pair()?, pair()?);
        a.assemble(&floor);
        c.assemble(&floor);
        assert!(d.assemble(&floor).is_none());
        // The floor goes to the gang that was complete first, not to the one that came first.
        let left = b.assemble(&floor).ok_or(EINVAL)?;
        for seat in [&mut c, &mut d] {
            assert!(!left.is_signaled());
            seat.enter();
        }
        assert!(left.is_signaled());
        assert!(a.assemble(&floor).is_none() && b.assemble(&floor).is_none());
        Ok(())
    }

    #[test]
    fn who_is_gone_is_not_waited_for() -> Result {
        let floor = floor()?;
        let ([mut a, b], [mut c, d]) = (pair()?, pair()?);
        let assembled = a.assemble(&floor).ok_or(EINVAL)?;
        drop(b);
        assert!(assembled.is_signaled() && a.assemble(&floor).is_none());
        // Then the other job of the gang does not run either.
        assert!(a.equip().is_none());
        assert_eq!(a.check_wanted(), Err(ECANCELED));
        let left = {
            c.assemble(&floor);
            drop(d);
            c.assemble(&floor).ok_or(EINVAL)?
        };
        drop(a);
        assert!(left.is_signaled() && c.assemble(&floor).is_none());
        Ok(())
    }

    #[test]
    fn giving_up_is_for_all() -> Result {
        let floor = floor()?;
        let [mut a, mut b] = pair()?;
        a.assemble(&floor);
        b.assemble(&floor);
        b.equip();
        a.give_up(ESRCH);
        assert!(a.equip().is_none());
        assert_eq!(a.check_wanted(), Err(ESRCH));
        assert_eq!(b.check_wanted(), Err(ESRCH));
        Ok(())
    }
}
