// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Queues of a context, and the submissions that each remembers.
//!
//! The C driver has this in amdgpu_ctx.c (`amdgpu_ctx_entity`, `amdgpu_ctx_wait_prev_fence`).
//!
//! A queue numbers its submissions from 1. User space gets that number, and passes it in to wait
//! for the job. Only the fences of the last [`HISTORY`] submissions are kept. Older submissions are
//! done: a new one is admitted ([`Queue::admit`]) only when the submission whose place it will take
//! is done. An admitted submission has a place that is given to no other, so at most [`HISTORY`]
//! are admitted at a time.
//!
//! # Gangs are never of low priority
//!
//! All gangs of a card wait for the one that is on its way onto the rings (`exec/gang.rs`). Were a
//! job of that gang of low priority, anybody could hold up all gangs: with jobs of ordinary
//! priority on one ring, without pause. So a queue of low priority has a second entity, of ordinary
//! priority, for the jobs of gangs (the C driver does not). A job that goes to the other entity
//! than the one before it comes after that one's end.

use kernel::{
    new_condvar,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        CondVar,
        Mutex,
        SpinLock, //
    },
    types::ScopeGuard, //
};

use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        drm::sched::{
            Entity,
            Priority, //
        },
    },
    bindings,
    exec::{
        engine_time::EngineTime,
        job::{
            Job,
            Schedulers, //
        },
        verdict::Standing, //
    },
    hw::command::EngineKind, //
};

/// Number of submissions of a queue that may be unfinished, and are remembered. A power of two.
const HISTORY: usize = 32;

/// A kind of engine, as user space names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    Gfx,
    Compute,
    Dma,
}

impl Ip {
    /// Converts from `AMDGPU_HW_IP_*`. Returns `None` if there are no such engines.
    pub(crate) fn from_user(ip: u32) -> Option<Self> {
        match ip {
            bindings::AMDGPU_HW_IP_GFX => Some(Self::Gfx),
            bindings::AMDGPU_HW_IP_COMPUTE => Some(Self::Compute),
            bindings::AMDGPU_HW_IP_DMA => Some(Self::Dma),
            _ => None,
        }
    }

    /// Converts to `AMDGPU_HW_IP_*`.
    fn as_uapi(self) -> u32 {
        match self {
            Self::Gfx => bindings::AMDGPU_HW_IP_GFX,
            Self::Compute => bindings::AMDGPU_HW_IP_COMPUTE,
            Self::Dma => bindings::AMDGPU_HW_IP_DMA,
        }
    }

    /// Returns the number of queues of this kind in a context.
    pub(crate) const fn queues(self) -> usize {
        match self {
            Self::Gfx => 1,
            Self::Compute => 4,
            Self::Dma => 2,
        }
    }

    /// Returns the kind of engine that runs the jobs.
    pub(super) fn engine(self) -> EngineKind {
        match self {
            Self::Gfx => EngineKind::Gfx,
            Self::Compute => EngineKind::Compute,
            Self::Dma => EngineKind::Sdma,
        }
    }

    /// Returns the position of the first queue of this kind among all queues of a context.
    const fn first_queue(self) -> usize {
        match self {
            Self::Gfx => 0,
            Self::Compute => Self::Gfx.queues(),
            Self::Dma => Self::Compute.first_queue() + Self::Compute.queues(),
        }
    }
}

/// Number of queues in a context.
pub(super) const QUEUES: usize = Ip::Dma.first_queue() + Ip::Dma.queues();

/// The name of one of a context's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueName {
    pub(crate) ip: Ip,
    index: usize,
}

impl QueueName {
    /// Converts from user space's name: a kind of engine (`AMDGPU_HW_IP_*`), an instance of it, and
    /// a ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such queue.
    pub(crate) fn from_user(ip: u32, instance: u32, ring: u32) -> Result<Self> {
        let ip = Ip::from_user(ip).ok_or(EINVAL)?;
        let index = usize::try_from(ring)?;
        if instance != 0 || index >= ip.queues() {
            return Err(EINVAL);
        }
        Ok(Self { ip, index })
    }

    /// Returns user space's name for the queue: a kind of engine and a ring.
    pub(crate) fn as_uapi(self) -> (u32, u32) {
        // CAST: The index is less than `QUEUES`.
        (self.ip.as_uapi(), self.index as u32)
    }

    pub(super) fn position(self) -> usize {
        self.ip.first_queue() + self.index
    }
}

/// The numbers that were assigned, and the fences of the last ones.
struct History<F> {
    /// Number of the next submission.
    next: u64,
    /// Admissions that have no number yet.
    admitted: u64,
    /// Fences; that of submission `n` is at index `n` modulo the length.
    fences: [Option<F>; HISTORY],
}

/// The state of a submission number.
#[derive(Debug, PartialEq, Eq)]
enum Lookup<F> {
    /// A submission that may be unfinished.
    Recent(F),
    /// A submission that is done, or no submission.
    Done,
    /// A number that was never assigned.
    Future,
}

/// Obstacle to one more submission.
#[derive(Debug, PartialEq, Eq)]
enum InTheWay<F> {
    /// An unfinished submission still has its place.
    Submission(F),
    /// All places are promised to admitted submissions: one of them has to be submitted, or given
    /// up.
    Admitted,
}

impl<F: Clone> History<F> {
    fn new() -> Self {
        Self {
            next: 1,
            admitted: 0,
            fences: [const { None }; HISTORY],
        }
    }

    fn index(number: u64) -> usize {
        // CAST: The remainder is smaller than `HISTORY`, a `usize`.
        (number % HISTORY as u64) as usize
    }

    /// Admits one more submission, or returns the obstacle.
    fn admit(&mut self, is_done: impl FnOnce(&F) -> bool) -> Result<(), InTheWay<F>> {
        if self.admitted == HISTORY as u64 {
            return Err(InTheWay::Admitted);
        }
        match &self.fences[Self::index(self.next + self.admitted)] {
            Some(fence) if !is_done(fence) => Err(InTheWay::Submission(fence.clone())),
            _ => {
                self.admitted += 1;
                Ok(())
            }
        }
    }

    /// Numbers an admitted submission. Returns the number and the fence that it replaces.
    fn record(&mut self, fence: F) -> (u64, Option<F>) {
        let number = self.next;
        self.next += 1;
        self.admitted -= 1;
        (number, self.fences[Self::index(number)].replace(fence))
    }

    fn look_up(&self, number: u64) -> Lookup<F> {
        if number >= self.next {
            return Lookup::Future;
        }
        if number + (HISTORY as u64) < self.next {
            return Lookup::Done;
        }
        match &self.fences[Self::index(number)] {
            Some(fence) => Lookup::Recent(fence.clone()),
            None => Lookup::Done,
        }
    }
}

/// The newest job of a queue.
struct Newest {
    /// Set if it went to the entity for gangs.
    is_raised: bool,
    fence: ARef<Fence>,
}

/// A queue of a context.
#[pin_data]
pub(crate) struct Queue {
    pub(super) entity: Arc<Entity<Job>>,
    engine: EngineKind,
    /// Entity of the jobs of gangs, once there was one while the context was of low priority.
    #[pin]
    raised: Mutex<Option<Arc<Entity<Job>>>>,
    #[pin]
    newest: SpinLock<Option<Newest>>,
    /// Standing of the queue: lost if a reset took one of its jobs.
    pub(crate) standing: Arc<Standing>,
    #[pin]
    history: SpinLock<History<ARef<Fence>>>,
    /// Notified when an admitted submission was submitted, or given up.
    #[pin]
    admitted: CondVar,
}

impl Queue {
    pub(super) fn new(
        schedulers: &Schedulers,
        priority: Priority,
        engine: EngineKind,
        account: &Arc<EngineTime>,
    ) -> Result<Arc<Self>> {
        let entity = Entity::new(priority, schedulers.of(|ring| ring.engine() == engine)?)?;
        let standing = Standing::new(engine, account.clone())?;
        Arc::pin_init(
            pin_init!(Self {
                entity,
                engine,
                raised <- new_mutex!(None, "ctx::Queue::raised"),
                newest <- new_spinlock!(None, "ctx::Queue::newest"),
                standing,
                history <- new_spinlock!(History::new()),
                admitted <- new_condvar!("ctx::Queue::admitted"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the error of the queue, after which it accepts no more jobs: that of the first job
    /// that a reset took from it, or that of the last job.
    ///
    /// Jobs that did not run because the process that queued them was killed (`ESRCH`) do not
    /// count: another process may go on using the file.
    pub(super) fn check(&self) -> Result {
        let error_of = |entity: &Entity<Job>| match entity.error() {
            Err(ESRCH) => Ok(()),
            result => result,
        };
        self.standing.check()?;
        error_of(&self.entity)?;
        match &*self.raised.lock() {
            Some(raised) => error_of(raised),
            None => Ok(()),
        }
    }

    /// Returns the entity for the jobs of gangs while the context is of low priority.
    ///
    /// # Errors
    ///
    /// `ENOENT` if no ring of this kind works; `ENOMEM`.
    pub(super) fn raised(&self, schedulers: &Schedulers) -> Result<Arc<Entity<Job>>> {
        let mut raised = self.raised.lock();
        if let Some(entity) = &*raised {
            return Ok(entity.clone());
        }
        let engine = self.engine;
        let rings = schedulers.of(|ring| ring.engine() == engine)?;
        let entity = Entity::new(Priority::Normal, rings)?;
        *raised = Some(entity.clone());
        Ok(entity)
    }

    /// Notes a job that goes to `entity`, one of the queue's, with its fence. Returns the fence of
    /// the job before, if the new one has to wait for that.
    ///
    /// Must be called while the scheduler submits the job, as [`Admission::record`].
    pub(crate) fn follow(&self, entity: &Entity<Job>, fence: &Fence) -> Option<ARef<Fence>> {
        let is_raised = !core::ptr::eq(entity, &*self.entity);
        let newest = Newest {
            is_raised,
            fence: fence.into(),
        };
        let before = self.newest.lock().replace(newest)?;
        (before.is_raised != is_raised).then_some(before.fence)
    }

    /// Waits until one more submission may be made.
    ///
    /// Must be called with no reservation held.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admission> {
        loop {
            let mut history = self.history.lock();
            match history.admit(|fence| fence.is_signaled()) {
                Ok(()) => break,
                Err(InTheWay::Admitted) => {
                    if self.admitted.wait_interruptible(&mut history) {
                        return Err(ERESTARTSYS);
                    }
                }
                Err(InTheWay::Submission(fence)) => {
                    drop(history);
                    fence.wait(Interruptible::Yes)?;
                }
            }
        }
        Ok(Admission(ScopeGuard::new_with_data(
            self.clone(),
            |queue| {
                queue.history.lock().admitted -= 1;
                queue.admitted.notify_all();
            },
        )))
    }

    /// Returns the fence of a submission, or `None` if it finished too long ago to be remembered.
    /// [`u64::MAX`] stands for the last one.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there was no such submission.
    pub(crate) fn fence(&self, number: u64) -> Result<Option<ARef<Fence>>> {
        let history = self.history.lock();
        let number = match number {
            u64::MAX => history.next - 1,
            number => number,
        };
        match history.look_up(number) {
            Lookup::Recent(fence) => Ok(Some(fence)),
            Lookup::Done => Ok(None),
            Lookup::Future => Err(EINVAL),
        }
    }
}

/// The right to make one submission to a queue, counted as `admitted` until it is used or dropped.
pub(crate) struct Admission(ScopeGuard<Arc<Queue>, fn(Arc<Queue>)>);

impl Admission {
    /// Assigns the submission its number. Neither sleeps nor allocates.
    ///
    /// Must be called while the scheduler
    /// [`submit`](crate::abstractions::drm::sched::PendingJob::submit)s the job, so that numbers
    /// follow the order of jobs.
    pub(crate) fn record(self, fence: &Fence) -> u64 {
        let queue = self.0.dismiss();
        let (number, replaced) = queue.history.lock().record(fence.into());
        queue.admitted.notify_all();
        drop(replaced);
        number
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_ctx_queue)]
mod tests {
    use super::*;

    const HISTORY: u64 = super::HISTORY as u64;

    /// Submits; a submission is known by its number, which also stands for its fence.
    fn submit(history: &mut History<u64>, done: u64) -> Result<u64, InTheWay<u64>> {
        history.admit(|number| *number <= done)?;
        let number = history.next;
        assert_eq!(history.record(number).0, number);
        Ok(number)
    }

    #[test]
    fn numbers_begin_with_one() {
        let mut history = History::new();
        assert_eq!(history.look_up(0), Lookup::Done);
        assert_eq!(history.look_up(1), Lookup::Future);
        assert_eq!(submit(&mut history, 0), Ok(1));
        assert_eq!(history.look_up(0), Lookup::Done);
        assert_eq!(history.look_up(1), Lookup::Recent(1));
        assert_eq!(history.look_up(2), Lookup::Future);
    }

    #[test]
    fn no_more_than_the_history_is_unfinished() {
        let mut history = History::new();
        for number in 1..=HISTORY {
            assert_eq!(submit(&mut history, 0), Ok(number));
        }
        // The first must be done before there is room for another.
        assert_eq!(submit(&mut history, 0), Err(InTheWay::Submission(1)));
        assert_eq!(submit(&mut history, 1), Ok(HISTORY + 1));
        assert_eq!(submit(&mut history, 1), Err(InTheWay::Submission(2)));
        assert_eq!(history.look_up(1), Lookup::Done);
        assert_eq!(history.look_up(2), Lookup::Recent(2));
        assert_eq!(history.look_up(HISTORY + 1), Lookup::Recent(HISTORY + 1));
        assert_eq!(history.look_up(HISTORY + 2), Lookup::Future);
        assert_eq!(history.look_up(u64::MAX), Lookup::Future);
    }

    #[test]
    fn those_who_were_admitted_have_room() {
        let mut history = History::new();
        for number in 1..HISTORY {
            assert_eq!(submit(&mut history, 0), Ok(number));
        }
        assert_eq!(history.admit(|_| false), Ok(()));
        // The next one needs the place of the first, which is not done.
        assert_eq!(history.admit(|_| false), Err(InTheWay::Submission(1)));
        assert_eq!(history.record(HISTORY), (HISTORY, None));
        assert_eq!(history.admit(|number| *number <= 1), Ok(()));
        // Admits two at a time, one of which is given up.
        assert_eq!(history.admit(|number| *number <= 2), Ok(()));
        history.admitted -= 1;
        assert_eq!(history.record(HISTORY + 1), (HISTORY + 1, Some(1)));
        let in_the_way = InTheWay::Submission(2);
        assert_eq!(history.admit(|number| *number <= 1), Err(in_the_way));
    }

    #[test]
    fn no_place_is_promised_twice() {
        for before in [0, 1, HISTORY - 1, HISTORY, 3 * HISTORY + 5] {
            let mut history = History::new();
            for number in 1..=before {
                assert_eq!(submit(&mut history, number), Ok(number));
            }
            for _ in 0..HISTORY {
                assert_eq!(history.admit(|_| true), Ok(()));
            }
            assert_eq!(history.admit(|_| true), Err(InTheWay::Admitted));
            let first = before + 1;
            assert_eq!(history.record(first).0, first);
            assert_eq!(
                history.admit(|number| *number < first),
                Err(InTheWay::Submission(first))
            );
            // All that were admitted are found again: no other submission took their place.
            for number in first + 1..first + HISTORY {
                assert_eq!(history.record(number).0, number);
            }
            for number in first..first + HISTORY {
                assert_eq!(history.look_up(number), Lookup::Recent(number));
            }
        }
    }

    #[test]
    fn queue_names() {
        let (gfx, compute, dma) = (
            bindings::AMDGPU_HW_IP_GFX,
            bindings::AMDGPU_HW_IP_COMPUTE,
            bindings::AMDGPU_HW_IP_DMA,
        );
        let mut position = 0;
        for (ip, queues) in [(gfx, 1), (compute, 4), (dma, 2)] {
            for ring in 0..queues {
                let name = QueueName::from_user(ip, 0, ring).map(QueueName::position);
                assert_eq!(name, Ok(position));
                let name = QueueName::from_user(ip, 0, ring).map(QueueName::as_uapi);
                assert_eq!(name, Ok((ip, ring)));
                position += 1;
            }
            assert_eq!(QueueName::from_user(ip, 0, queues), Err(EINVAL));
            assert_eq!(QueueName::from_user(ip, 0, u32::MAX), Err(EINVAL));
            assert_eq!(QueueName::from_user(ip, 1, 0), Err(EINVAL));
        }
        assert_eq!(position, QUEUES);
        for ip in [
            bindings::AMDGPU_HW_IP_UVD,
            bindings::AMDGPU_HW_IP_NUM,
            u32::MAX,
        ] {
            assert_eq!(QueueName::from_user(ip, 0, 0), Err(EINVAL));
        }
    }
}
