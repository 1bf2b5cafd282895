// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Contexts: the objects through which a client submits jobs and finds them again.
//!
//! The C driver has this in amdgpu_ctx.c (`amdgpu_ctx`, `amdgpu_ctx_entity`,
//! `amdgpu_ctx_wait_prev_fence`).
//!
//! A context has a priority, and queues ([`Queue`]) that are created when they are first named, by
//! the kind of engine and a number. Jobs of one queue run in order; those of different queues do
//! not. Several rings of a kind share the work: the number is that of a queue, not of a ring.
//!
//! A queue numbers its submissions from 1. User space gets that number, and passes it in to wait
//! for the job. Only the fences of the last [`HISTORY`] submissions are kept. Older submissions are
//! done: a new one is admitted ([`Queue::admit`]) only when the submission whose place it will take
//! is done. An admitted submission has a place that is given to no other, so at most [`HISTORY`]
//! are admitted at a time.
//!
//! # Answers of ioctls
//!
//! An unknown context or queue is `EINVAL`. A queue whose last job failed, or that has lost a job
//! in a reset, answers with that job's error to submissions from then on; user space creates a new
//! context. A wait is answered with the result of the job that it names.
//!
//! A context is told of each reset of a part of the card since it was created, whether it has lost
//! anything or not, and whether one of its jobs was guilty.
//!
//! # Lock order
//!
//! `Context::pstate`, then the lock of [`pstate::Pstates`]. Memory is allocated under
//! `Context::queues`. A queue's `history` is taken last, also where nothing may be allocated.

pub(crate) mod pstate;
mod sched;

pub(crate) use self::sched::ioctl as sched;

use kernel::{
    new_condvar,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        Mutex,
        SpinLock, //
    },
    types::ScopeGuard, //
};

use crate::{
    abstractions::{
        capability::{
            has_capability,
            CAP_SYS_NICE, //
        },
        dma_fence::{
            Fence,
            Interruptible,
            Waited, //
        },
        drm::sched::{
            Entity,
            Priority, //
        },
    },
    bindings::{
        self,
        drm_amdgpu_ctx_in,
        drm_amdgpu_ctx_out,
        drm_amdgpu_wait_cs_in,
        drm_amdgpu_wait_cs_out, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    exec::{
        job::{
            Job,
            Schedulers, //
        },
        verdict::Standing, //
    },
    hw::command::{
        EngineKind,
        RingId, //
    },
    uapi::{
        self,
        HandleTable, //
    },
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

    /// Returns true if jobs of this kind run on `ring`.
    fn runs_on(self, ring: RingId) -> bool {
        ring.engine()
            == match self {
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
const QUEUES: usize = Ip::Dma.first_queue() + Ip::Dma.queues();

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

    fn position(self) -> usize {
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

/// A queue of a context.
#[pin_data]
pub(crate) struct Queue {
    pub(crate) entity: Arc<Entity<Job>>,
    /// Standing of the queue: lost if a reset took one of its jobs.
    pub(crate) standing: Arc<Standing>,
    #[pin]
    history: SpinLock<History<ARef<Fence>>>,
    /// Notified when an admitted submission was submitted, or given up.
    #[pin]
    admitted: CondVar,
}

impl Queue {
    fn new(schedulers: &Schedulers, priority: Priority, ip: Ip) -> Result<Arc<Self>> {
        let entity = Entity::new(priority, schedulers.of(|ring| ip.runs_on(ring))?)?;
        let standing = Standing::new()?;
        Arc::pin_init(
            pin_init!(Self {
                entity,
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
    fn check(&self) -> Result {
        self.standing.check()?;
        match self.entity.error() {
            Err(ESRCH) => Ok(()),
            result => result,
        }
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

/// Context priority as requested by the client. Only the named values are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Low,
    Normal,
    High,
}

impl Urgency {
    /// Converts from `AMDGPU_CTX_PRIORITY_*`. Old clients leave garbage there, which means
    /// 'normal'.
    fn from_user(priority: i32) -> Self {
        Self::named(priority).unwrap_or(Self::Normal)
    }

    /// Converts from `AMDGPU_CTX_PRIORITY_*`. Returns `None` unless it is a priority that a context
    /// can have.
    fn named(priority: i32) -> Option<Self> {
        const VERY_LOW: i32 = bindings::AMDGPU_CTX_PRIORITY_VERY_LOW;
        const LOW: i32 = bindings::AMDGPU_CTX_PRIORITY_LOW;
        const NORMAL: i32 = bindings::AMDGPU_CTX_PRIORITY_NORMAL as i32;
        const HIGH: i32 = bindings::AMDGPU_CTX_PRIORITY_HIGH as i32;
        const VERY_HIGH: i32 = bindings::AMDGPU_CTX_PRIORITY_VERY_HIGH as i32;
        match priority {
            VERY_LOW | LOW => Some(Self::Low),
            NORMAL => Some(Self::Normal),
            HIGH | VERY_HIGH => Some(Self::High),
            _ => None,
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Low => Priority::Low,
            Self::Normal => Priority::Normal,
            Self::High => Priority::High,
        }
    }
}

/// A context.
#[pin_data]
pub(crate) struct Context {
    /// Number of resets before the context was created, of which it has lost nothing.
    born: u64,
    /// Number of resets that the context was told of by `QUERY_STATE`.
    told: Atomic<u64>,
    #[pin]
    queues: Mutex<Queues>,
    /// Hold of the context on the card's power state, if it has one.
    #[pin]
    pstate: Mutex<Option<pstate::Hold>>,
}

/// The queues of a context.
struct Queues {
    /// Urgency of their jobs, including jobs to come.
    urgency: Urgency,
    /// Queues named so far, by position.
    made: [Option<Arc<Queue>>; QUEUES],
}

impl Context {
    fn new(urgency: Urgency, born: u64) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                born,
                told: Atomic::new(*born),
                queues <- new_mutex!(Queues { urgency, made: [const { None }; QUEUES] }),
                pstate <- new_mutex!(None, "Context::pstate"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns a queue of the context for a submission.
    ///
    /// # Errors
    ///
    /// The error of the queue, `ECANCELED` if the card hung beyond repair, `ENOENT` if no ring of
    /// this kind works, `ENOMEM`.
    pub(crate) fn queue(&self, schedulers: &Schedulers, name: QueueName) -> Result<Arc<Queue>> {
        let queue = self.named(schedulers, name)?;
        queue.check()?;
        if schedulers.is_given_up() {
            return Err(ECANCELED);
        }
        Ok(queue)
    }

    /// Returns a queue of the context, which is created if it was never named before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn named(&self, schedulers: &Schedulers, name: QueueName) -> Result<Arc<Queue>> {
        let mut queues = self.queues.lock();
        let urgency = queues.urgency;
        let place = &mut queues.made[name.position()];
        Ok(match place {
            Some(queue) => queue.clone(),
            None => {
                let queue = Queue::new(schedulers, urgency.priority(), name.ip)?;
                place.insert(queue).clone()
            }
        })
    }

    /// Calls `f` with each queue that was named so far.
    fn for_each_queue(&self, mut f: impl FnMut(&Queue)) {
        for name in 0..QUEUES {
            // Not within the `if let` below: the lock would be held for the whole statement.
            let queue = self.queues.lock().made[name].clone();
            if let Some(queue) = queue {
                f(&queue);
            }
        }
    }

    /// Changes the urgency of jobs that are submitted from now on.
    fn set_urgency(&self, urgency: Urgency) {
        let mut queues = self.queues.lock();
        queues.urgency = urgency;
        for queue in queues.made.iter().flatten() {
            queue.entity.set_priority(urgency.priority());
        }
    }

    /// Returns true if a job of a queue caused a reset.
    fn is_guilty(&self) -> bool {
        let mut guilty = false;
        self.for_each_queue(|queue| guilty |= queue.standing.check() == Err(ETIME));
        guilty
    }

    /// Returns true if there was a reset since this was last called.
    fn is_news(&self, resets: u64) -> bool {
        self.told.xchg(resets, Relaxed) != resets
    }
}

/// The contexts of an open file.
#[pin_data]
pub(crate) struct Contexts {
    #[pin]
    table: HandleTable<Context>,
}

impl Contexts {
    /// Creates an empty set of contexts.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { table <- HandleTable::new() })
    }

    /// Returns the context with number `id`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub(crate) fn get(&self, id: u32) -> Result<Arc<Context>> {
        self.table.get(id).ok_or(EINVAL)
    }

    fn alloc(
        &self,
        args: &drm_amdgpu_ctx_in,
        file: &DrmFile,
        schedulers: &Schedulers,
    ) -> Result<u32> {
        let urgency = Urgency::from_user(args.priority);
        if urgency == Urgency::High && !has_capability(CAP_SYS_NICE) && !file.is_current_master() {
            return Err(EACCES);
        }
        self.table
            .insert(Context::new(urgency, schedulers.resets())?)
    }

    /// Answers the older query, which tells of each reset once.
    fn query(&self, args: &drm_amdgpu_ctx_in, schedulers: &Schedulers) -> Result<u32> {
        let context = self.get(args.ctx_id)?;
        let status = Status::of(&context, schedulers);
        Ok(match context.is_news(schedulers.resets()) {
            true => status.reset_status(),
            false => bindings::AMDGPU_CTX_NO_RESET,
        })
    }

    /// Answers the newer query.
    fn query2(&self, args: &drm_amdgpu_ctx_in, schedulers: &Schedulers) -> Result<u32> {
        Ok(Status::of(&*self.get(args.ctx_id)?, schedulers).flags())
    }
}

/// The fate of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    /// A part of the card was reset since the context was created.
    reset: bool,
    /// A job of the context was to blame.
    guilty: bool,
    /// A part of the card is being reset.
    in_progress: bool,
}

impl Status {
    fn of(context: &Context, schedulers: &Schedulers) -> Self {
        Self {
            reset: schedulers.resets() != context.born,
            guilty: context.is_guilty(),
            in_progress: schedulers.is_recovering(),
        }
    }

    /// Returns the answer to `AMDGPU_CTX_OP_QUERY_STATE`, one of `AMDGPU_CTX_*_RESET`.
    fn reset_status(self) -> u32 {
        match self {
            Self { guilty: true, .. } => bindings::AMDGPU_CTX_GUILTY_RESET,
            Self { reset: true, .. } => bindings::AMDGPU_CTX_UNKNOWN_RESET,
            _ => bindings::AMDGPU_CTX_NO_RESET,
        }
    }

    /// Returns the answer to `AMDGPU_CTX_OP_QUERY_STATE2`, `AMDGPU_CTX_QUERY2_FLAGS_*`.
    fn flags(self) -> u32 {
        let mut flags = 0;
        if self.reset {
            flags |= bindings::AMDGPU_CTX_QUERY2_FLAGS_RESET;
        }
        if self.guilty {
            flags |= bindings::AMDGPU_CTX_QUERY2_FLAGS_GUILTY;
        }
        if self.in_progress {
            flags |= bindings::AMDGPU_CTX_QUERY2_FLAGS_RESET_IN_PROGRESS;
        }
        flags
    }
}

/// Builds an answer of the `AMDGPU_CTX` ioctl from four fields, of which all kinds of answers
/// consist.
fn answer(fields: [u32; 4]) -> drm_amdgpu_ctx_out {
    let pair = |[low, high]: [u32; 2]| {
        let [a, b, c, d] = low.to_ne_bytes();
        let [e, f, g, h] = high.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let [a, b, c, d] = fields;
    drm_amdgpu_ctx_out {
        bindgen_union_field: [pair([a, b]), pair([c, d])],
        ..Default::default()
    }
}

/// Handles the `AMDGPU_CTX` ioctl. `ctx/pstate.rs` explains power states.
pub(crate) fn ioctl(
    dev: &DrmDevice,
    args: &drm_amdgpu_ctx_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_ctx_out> {
    let contexts = &file.inner().contexts;
    let allowed_flags = match args.op {
        bindings::AMDGPU_CTX_OP_SET_STABLE_PSTATE => bindings::AMDGPU_CTX_STABLE_PSTATE_FLAGS_MASK,
        _ => 0,
    };
    if args.flags & !allowed_flags != 0 {
        return Err(EINVAL);
    }
    match args.op {
        bindings::AMDGPU_CTX_OP_ALLOC_CTX => {
            let id = contexts.alloc(args, file, &dev.schedulers)?;
            Ok(answer([id, 0, 0, 0]))
        }
        bindings::AMDGPU_CTX_OP_FREE_CTX => {
            contexts.table.remove(args.ctx_id).ok_or(EINVAL)?;
            Ok(answer([0; 4]))
        }
        bindings::AMDGPU_CTX_OP_QUERY_STATE => {
            let status = contexts.query(args, &dev.schedulers)?;
            Ok(answer([0, 0, 0, status]))
        }
        bindings::AMDGPU_CTX_OP_QUERY_STATE2 => {
            let flags = contexts.query2(args, &dev.schedulers)?;
            Ok(answer([flags, 0, 0, 0]))
        }
        bindings::AMDGPU_CTX_OP_GET_STABLE_PSTATE => {
            contexts.get(args.ctx_id)?;
            Ok(answer([bindings::AMDGPU_CTX_STABLE_PSTATE_NONE, 0, 0, 0]))
        }
        bindings::AMDGPU_CTX_OP_SET_STABLE_PSTATE => {
            if args.flags > bindings::AMDGPU_CTX_STABLE_PSTATE_PEAK {
                return Err(EINVAL);
            }
            let context = contexts.get(args.ctx_id)?;
            dev.pstates.set(&context.pstate, args.flags)?;
            Ok(answer([0; 4]))
        }
        _ => Err(EINVAL),
    }
}

/// Returns the fence of a submission if it may still be unfinished.
///
/// # Errors
///
/// `EINVAL` for a context, queue or number that never existed; `ENOMEM`; `ENODEV`.
pub(crate) fn find_fence(
    dev: &DrmDevice,
    file: &DrmFile,
    ctx: u32,
    queue: QueueName,
    number: u64,
) -> Result<Option<ARef<Fence>>> {
    let _section = dev.enter().ok_or(ENODEV)?;
    let context = file.inner().contexts.get(ctx)?;
    context.named(&dev.schedulers, queue)?.fence(number)
}

/// Waits until a job has ended, but no longer than until `deadline`, in nanoseconds since boot.
///
/// # Errors
///
/// The error that the job ended with; `ERESTARTSYS`.
pub(crate) fn wait_until(fence: &Fence, deadline: u64) -> Result<Waited> {
    let waited = fence.wait_timeout(Interruptible::Yes, uapi::timeout(deadline))?;
    if let (Waited::Done, Some(status)) = (waited, fence.status()) {
        status?;
    }
    Ok(waited)
}

/// Handles the `AMDGPU_WAIT_CS` ioctl: waits for a submission.
pub(crate) fn wait_cs(
    dev: &DrmDevice,
    args: &drm_amdgpu_wait_cs_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_wait_cs_out> {
    let queue = QueueName::from_user(args.ip_type, args.ip_instance, args.ring)?;
    let waited = match find_fence(dev, file, args.ctx_id, queue, args.handle)? {
        None => Waited::Done,
        Some(fence) => wait_until(&fence, args.timeout)?,
    };
    Ok(drm_amdgpu_wait_cs_out {
        status: match waited {
            Waited::Done => 0,
            Waited::TimedOut => 1,
        },
    })
}

#[kunit_tests(amdgpu_rs_ctx)]
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

    #[test]
    fn priorities() {
        let cases = [
            (-2048, Urgency::Normal),
            (-1023, Urgency::Low),
            (-512, Urgency::Low),
            (0, Urgency::Normal),
            (512, Urgency::High),
            (1023, Urgency::High),
            (1, Urgency::Normal),
            (i32::MAX, Urgency::Normal),
            (i32::MIN, Urgency::Normal),
        ];
        for (priority, urgency) in cases {
            assert_eq!(Urgency::from_user(priority), urgency);
        }
        for priority in [-2048, 1, i32::MAX, i32::MIN] {
            assert_eq!(Urgency::named(priority), None);
        }
        assert_eq!(Urgency::named(0), Some(Urgency::Normal));
    }

    #[test]
    fn answers_have_the_layout_of_the_interface() {
        let pair = |low: u64, high: u64| low | high << 32;
        if cfg!(target_endian = "little") {
            assert_eq!(
                answer([1, 2, 3, 4]).bindgen_union_field,
                [pair(1, 2), pair(3, 4)]
            );
        }
        assert_eq!(size_of::<drm_amdgpu_ctx_out>(), 16);
    }
}
