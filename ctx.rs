// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Contexts: the objects through which a client submits jobs and finds them again.
//!
//! The C driver has this in amdgpu_ctx.c (`amdgpu_ctx`).
//!
//! A context has a priority, and queues ([`Queue`]) that are created when they are first named, by
//! the kind of engine and a number. Jobs of one queue run in order; those of different queues do
//! not. Several rings of a kind share the work: the number is that of a queue, not of a ring.
//!
//! # Answers of ioctls
//!
//! An unknown context or queue is `EINVAL`. A queue whose last job failed, or that has lost a job
//! in a reset, answers with that job's error to submissions from then on; user space creates a new
//! context. A wait is answered with the result of the job that it names.
//!
//! A context is told of each reset of a part of the card since it was created, even if it lost
//! nothing, but not of hangs that were ended at the cost of the guilty job alone, unless that was
//! its own; also if one of its jobs was guilty, and if the contents of VRAM were lost. After such a
//! loss no queue of the context takes any more jobs (`ECANCELED`). The same holds for a context
//! whose jobs have hung [`HANGS`] times: a queue is lost with its first hang, and a client that
//! goes on with the others is to have no more of the card's time.
//!
//! # Lock order
//!
//! `Context::pstate`, then the lock of [`pstate::Pstates`]. Memory is allocated under
//! `Context::queues`. A queue's `history` is taken last, also where nothing may be allocated.

pub(crate) mod pstate;
mod queue;
mod sched;

pub(crate) use self::{
    queue::{
        Admission,
        Ip,
        Queue,
        QueueName, //
    },
    sched::ioctl as sched, //
};

use kernel::{
    new_mutex,
    num::casts::usize_as_u64,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

use self::queue::QUEUES;
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
        }, //
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
        engine_time::EngineTime,
        job::{
            Job,
            Schedulers, //
        }, //
    },
    uapi::{
        self,
        HandleTable, //
    },
};

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

/// Number of hangs after which no queue of a context takes any more jobs.
const HANGS: usize = 2;

/// A context.
#[pin_data]
pub(crate) struct Context {
    /// Number of resets before the context was created, of which it has lost nothing.
    born: u64,
    /// Number of losses of VRAM before the context was created.
    losses: u64,
    /// Number of recoveries before the context was created.
    recoveries: u64,
    /// Number of resets, and of jobs of its own that hung, that the context was told of by
    /// `QUERY_STATE`.
    told: Atomic<u64>,
    /// Account of the file.
    account: Arc<EngineTime>,
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
    fn new(
        urgency: Urgency,
        schedulers: &Schedulers,
        account: Arc<EngineTime>,
    ) -> Result<Arc<Self>> {
        let (born, losses) = (schedulers.resets(), schedulers.vram_losses());
        Arc::pin_init(
            pin_init!(Self {
                born,
                losses,
                recoveries: schedulers.recoveries(),
                told: Atomic::new(*born),
                account,
                queues <- new_mutex!(Queues { urgency, made: [const { None }; QUEUES] }),
                pstate <- new_mutex!(None, "Context::pstate"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the number of losses of VRAM before the context was created.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Returns a queue of the context for a submission.
    ///
    /// # Errors
    ///
    /// The error of the queue; `ECANCELED` if the card hung beyond repair, if what was in VRAM is
    /// lost, or if jobs of the context have hung too often; `ENOENT` if no ring of this kind works;
    /// `ENOMEM`.
    pub(crate) fn queue(&self, schedulers: &Schedulers, name: QueueName) -> Result<Arc<Queue>> {
        let queue = self.named(schedulers, name)?;
        queue.check()?;
        let lost = self.losses != schedulers.vram_losses();
        // Most contexts have seen no hang.
        let hangs = || schedulers.recoveries() != self.recoveries && self.hangs() >= HANGS;
        if lost || hangs() || schedulers.is_given_up() {
            return Err(ECANCELED);
        }
        Ok(queue)
    }

    /// Returns the entity of a queue of the context for a job that is one of `jobs` which are
    /// submitted together: more than one are a gang.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::raised`].
    pub(crate) fn entity(
        &self,
        schedulers: &Schedulers,
        queue: &Queue,
        jobs: usize,
    ) -> Result<Arc<Entity<Job>>> {
        if jobs > 1 && self.queues.lock().urgency == Urgency::Low {
            return queue.raised(schedulers);
        }
        Ok(queue.entity.clone())
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
                let (priority, engine) = (urgency.priority(), name.ip.engine());
                let queue = Queue::new(schedulers, priority, engine, &self.account)?;
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

    /// Returns the number of jobs of the context that hung: at most one a queue.
    fn hangs(&self) -> usize {
        let mut hangs = 0;
        self.for_each_queue(|queue| hangs += usize::from(queue.standing.is_guilty()));
        hangs
    }

    /// Returns true if there was a reset, or a job of the context hung, since this was last called.
    fn is_news(&self, resets: u64) -> bool {
        let events = resets + usize_as_u64(self.hangs());
        self.told.xchg(events, Relaxed) != events
    }
}

/// The contexts of an open file.
#[pin_data]
pub(crate) struct Contexts {
    #[pin]
    table: HandleTable<Context>,
    account: Arc<EngineTime>,
}

impl Contexts {
    /// Creates an empty set of contexts.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- HandleTable::new(),
            account: EngineTime::new()?,
        }? Error)
    }

    /// Returns the engine time of the file. It lags behind until [`Schedulers::settle`].
    pub(crate) fn engine_time(&self) -> &EngineTime {
        &self.account
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
        let context = Context::new(urgency, schedulers, self.account.clone())?;
        self.table.insert(context)
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
    /// The contents of VRAM were lost since the context was created.
    vram_lost: bool,
    /// A part of the card is being reset.
    in_progress: bool,
}

impl Status {
    fn of(context: &Context, schedulers: &Schedulers) -> Self {
        let vram_lost = schedulers.vram_losses() != context.losses;
        let guilty = context.hangs() != 0;
        Self {
            // A context that was created meanwhile does not know the reset, but its loss.
            // The guilty one is told of what nobody else notices, too.
            reset: vram_lost || guilty || schedulers.resets() != context.born,
            guilty,
            vram_lost,
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
        if self.vram_lost {
            flags |= bindings::AMDGPU_CTX_QUERY2_FLAGS_VRAMLOST;
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
        _bindgen_opaque_blob: [pair([a, b]), pair([c, d])],
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_ctx)]
mod tests {
    use super::*;

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
                answer([1, 2, 3, 4])._bindgen_opaque_blob,
                [pair(1, 2), pair(3, 4)]
            );
        }
        assert_eq!(size_of::<drm_amdgpu_ctx_out>(), 16);
    }
}
