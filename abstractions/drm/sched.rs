// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU job scheduler: `struct drm_gpu_scheduler`, `drm_sched_entity` and `drm_sched_job`.
//!
//! A [`Scheduler`] feeds one hardware ring. An [`Entity`] is a queue of jobs that run in order. It
//! belongs to one or more schedulers; the least busy one takes its jobs. A job passes through
//! types, each of which consumes the previous one:
//!
//! 1. [`PendingJob`]: a new job. It may gain dependencies, and may be dropped.
//! 2. [`PendingJob::submit`] arms the job, which gives it its place in the entity and its
//!    *finished* fence. It then lets the caller publish that fence, and pushes the job. Nothing in
//!    between can fail, so a job can neither be pushed twice nor be forgotten after its fence was
//!    published.
//! 3. From then on the scheduler owns the job and calls the driver through [`JobOps`] (amdgpu:
//!    `amdgpu_sched_ops`). It waits for the dependencies, and calls [`JobOps::prepare`] for more
//!    until there is none. It then calls [`JobOps::run`], and waits for the hardware fence that
//!    this returns.
//! 4. The driver's data is dropped on a workqueue that the driver provides, so that its destructors
//!    may sleep and take any lock without delaying other jobs.
//!
//! The callbacks run in a [`SignalingSection`], on the way to the signal of a fence, so they may
//! not allocate except from pools that need no reclaim.
//!
//! # The order of fences
//!
//! *The finished fence of a job never ends before those of older jobs of its entity, whatever
//! happens to any of them.* A reservation keeps only the newest fence of a fence context, so a
//! fence that ends early hides the older ones, and memory is reused while their jobs still access
//! it.
//!
//! The C scheduler does not promise that. It ends the fence of a job immediately if `run_job`
//! returns an error, whatever the state of older jobs of the entity. It ends the fences of a killed
//! entity in an order of their own. When it is torn down, it ends the fences of jobs on the
//! hardware newest first. Here none of this happens:
//!
//! - Jobs of an entity are queued in the order of their fences (`Entity::submission`).
//! - A job keeps its entity, so an entity is destroyed with an empty queue, and none is ever
//!   killed. Jobs leave the queue only at its head, through [`JobOps::run`]. A driver that wants to
//!   cancel a job lets `run` return it undone, in its turn.
//! - A job keeps its scheduler, so a scheduler is torn down with no job on the hardware.
//! - `run` cannot return an error. It returns a fence, which the driver signals, with or without an
//!   error, after those that it returned before for the same scheduler. The finished fence ends by
//!   that fence only.
//! - An entity changes to another scheduler (`drm_sched_entity_select_rq`) only when its queue is
//!   empty and the finished fence of the job that left it last has ended.
//!
//! So by induction: while an older job of the entity has not ended, the next one is either queued,
//! or on the same scheduler behind it, and its hardware fence ends later. The callbacks that
//! propagate the end run in that order too: a callback that is added after its fence has signaled
//! runs at once, on the ordered workqueue that has added those before it.
//!
//! C header: [`include/drm/gpu_scheduler.h`](srctree/include/drm/gpu_scheduler.h)

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

use crate::{
    abstractions::{
        dma_fence::{
            timeout_to_c,
            Fence,
            SignalingSection, //
        },
        dma_resv::{
            HeldResv,
            Usage, //
        },
        workqueue::OwnedQueue, //
    },
    bindings, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        addr_of_mut,
        null_mut, //
    },
};
use kernel::{
    container_of,
    device,
    error::to_result,
    ffi,
    impl_has_work,
    new_condvar,
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            AtomicFlag,
            Release, //
        },
        rcu::synchronize_rcu,
        Arc,
        CondVar,
        Mutex,
        SpinLock, //
    },
    time::Jiffies,
    types::Opaque,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// Priority of an entity. Its jobs run only when there are none of a higher priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The kernel's own jobs.
    Kernel,
    /// Privileged clients.
    High,
    /// All other clients.
    Normal,
    /// Background work.
    Low,
}

impl Priority {
    fn as_raw(self) -> bindings::drm_sched_priority {
        match self {
            Self::Kernel => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_KERNEL,
            Self::High => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_HIGH,
            Self::Normal => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_NORMAL,
            Self::Low => bindings::drm_sched_priority_DRM_SCHED_PRIORITY_LOW,
        }
    }
}

/// Owner of a job, numbered by the driver (amdgpu: `AMDGPU_FENCE_OWNER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) usize);

impl Owner {
    /// Returns the pointer that the C scheduler stores but never dereferences.
    fn as_raw(self) -> *mut ffi::c_void {
        core::ptr::without_provenance_mut(self.0)
    }

    /// Returns the owner of the job that a fence belongs to, if it is a scheduler's fence.
    fn of(fence: &Fence) -> Option<Self> {
        // SAFETY: The fence is alive. The function looks at what kind of fence it is.
        let fence = unsafe { bindings::to_drm_sched_fence(fence.as_raw()) };
        // SAFETY: If it is a scheduler's, the fence is part of this, and the owner never changes.
        (!fence.is_null()).then(|| Self(unsafe { (*fence).owner }.addr()))
    }
}

/// Operations on a driver's job. None of the callbacks may wait for memory.
pub(crate) trait JobOps: Send + Sized + 'static {
    /// The driver's data for each scheduler of such jobs, for example the ring that it feeds.
    type Queue: Send + Sync + 'static;

    /// Called when all dependencies of the job are signaled. Acquires the resources that it needs
    /// to run.
    ///
    /// If one is missing, returns the fence after whose signal the scheduler calls this again. It
    /// must not be the *finished* fence of a job of the same scheduler.
    fn prepare(&mut self, _queue: &Self::Queue) -> Option<ARef<Fence>> {
        None
    }

    /// Submits the job to the hardware, and returns the fence that the driver will signal when the
    /// hardware has finished it. The error of the fence becomes that of the job.
    ///
    /// The fence must end after those that earlier calls for the same scheduler returned, even if
    /// the job cannot be run: see the head of this file.
    ///
    /// # Panics
    ///
    /// The scheduler panics if this returns a scheduler's fence: the job would wait for itself.
    fn run(&mut self, queue: &Self::Queue) -> ARef<Fence>;

    /// Called on a job timeout: the hardware fence was not signaled in the scheduler's time limit.
    ///
    /// The scheduler keeps the job. It ends when its hardware fence is signaled, by this function
    /// or later. Until then this is called again after each further timeout.
    fn timed_out(&mut self, queue: &Self::Queue);
}

/// The number of jobs that were armed for a scheduler and not dropped yet.
#[pin_data]
struct JobCount {
    #[pin]
    count: SpinLock<usize>,
    #[pin]
    none: CondVar,
}

impl JobCount {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            count <- new_spinlock!(0),
            none <- new_condvar!(),
        })
    }

    fn add(&self) {
        *self.count.lock() += 1;
    }

    fn remove(&self) {
        let mut count = self.count.lock();
        *count -= 1;
        if *count == 0 {
            self.none.notify_all();
        }
    }

    fn wait_for_none(&self) {
        let mut count = self.count.lock();
        while *count != 0 {
            self.none.wait(&mut count);
        }
    }
}

/// A scheduler, which feeds one hardware ring.
///
/// # Invariants
///
/// - `inner` is an initialized `struct drm_gpu_scheduler` with the operations of `T`. Every entity
///   of it and every job that was pushed to it owns a reference.
/// - `jobs` is the number of jobs that were armed for this scheduler and not dropped yet.
#[pin_data(PinnedDrop)]
pub(crate) struct Scheduler<T: JobOps> {
    #[pin]
    inner: Opaque<bindings::drm_gpu_scheduler>,
    // A job releases this last, so it has an allocation of its own.
    jobs: Arc<JobCount>,
    reaper: Arc<OwnedQueue>,
    queue: T::Queue,
    // The C scheduler refers to this device.
    _device: ARef<device::Device>,
}

// SAFETY: A `struct drm_gpu_scheduler` may be used and destroyed from any thread, and jobs are
// `Send`.
unsafe impl<T: JobOps> Send for Scheduler<T> {}
// SAFETY: The methods on a `&Scheduler` synchronize by themselves.
unsafe impl<T: JobOps> Sync for Scheduler<T> {}

impl<T: JobOps> Scheduler<T> {
    const OPS: bindings::drm_sched_backend_ops = bindings::drm_sched_backend_ops {
        prepare_job: Some(Job::<T>::prepare_job),
        run_job: Some(Job::<T>::run_job),
        timedout_job: Some(Job::<T>::timedout_job),
        free_job: Some(Job::<T>::free_job),
        // Called for jobs that are on the hardware when the scheduler is torn down: there are none.
        cancel_job: None,
    };

    /// Makes a scheduler for a ring.
    ///
    /// The jobs on the ring at any time have at most `credits` credits in total. They are dropped
    /// on `reaper`, which the owner flushes before the module is unloaded.
    pub(crate) fn new(
        name: &'static CStr,
        dev: &device::Device,
        credits: u32,
        timeout: Jiffies,
        queue: T::Queue,
        reaper: Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        let args = bindings::drm_sched_init_args {
            ops: const { &Self::OPS },
            num_rqs: bindings::drm_sched_priority_DRM_SCHED_PRIORITY_COUNT as u32,
            credit_limit: credits,
            timeout: timeout_to_c(timeout),
            name: name.as_char_ptr(),
            // `Device` is transparent.
            dev: core::ptr::from_ref(dev).cast_mut().cast(),
            ..Default::default()
        };
        Arc::pin_init(
            try_pin_init!(Self {
                inner <- Opaque::try_ffi_init(|ptr: *mut bindings::drm_gpu_scheduler| {
                    // SAFETY: `ptr` is valid for writes; the C function wants it zeroed. What
                    // `args` refers to is static, or a device that we hold.
                    to_result(unsafe {
                        ptr.write_bytes(0, 1);
                        bindings::drm_sched_init(ptr, &args)
                    })
                }),
                jobs: Arc::pin_init(JobCount::new(), GFP_KERNEL)?,
                reaper,
                queue,
                _device: dev.into(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the driver's data for the scheduler.
    pub(crate) fn queue(&self) -> &T::Queue {
        &self.queue
    }

    /// Holds back jobs that are not on the hardware yet, until [`Scheduler::release`]. None of the
    /// callbacks but [`JobOps::timed_out`] runs once this has returned. Sleeps.
    pub(crate) fn hold(&self) {
        // SAFETY: By the type invariant the scheduler is initialized.
        unsafe { bindings::drm_sched_wqueue_stop(self.inner.get()) };
    }

    /// Ends [`Scheduler::hold`].
    pub(crate) fn release(&self) {
        // SAFETY: By the type invariant the scheduler is initialized.
        unsafe { bindings::drm_sched_wqueue_start(self.inner.get()) };
    }

    /// Sleeps until every job that was pushed to this scheduler is done and dropped.
    ///
    /// The caller ensures that no more jobs are pushed and that the jobs on the hardware end.
    pub(crate) fn drain(&self) {
        self.jobs.wait_for_none();
    }

    /// Returns the driver's data for a C scheduler.
    ///
    /// # Safety
    ///
    /// `ptr` must be the `inner` of a `Scheduler<T>` that lives for `'a`.
    unsafe fn queue_of<'a>(ptr: *mut bindings::drm_gpu_scheduler) -> &'a T::Queue {
        // SAFETY: By the function's requirement `ptr` points into a `Scheduler<T>`, at an `Opaque`,
        // which has the layout of what it wraps.
        unsafe { &(*container_of!(Opaque::cast_from(ptr).cast_mut(), Self, inner)).queue }
    }
}

#[pinned_drop]
impl<T: JobOps> PinnedDrop for Scheduler<T> {
    fn drop(self: Pin<&mut Self>) {
        // `drm_sched_entity_wakeup()` may still look for this scheduler through an entity that is
        // gone.
        synchronize_rcu();
        // SAFETY: By the type invariant the scheduler is initialized. Each entity and each job owns
        // a reference to its schedulers, so there is none any more.
        unsafe { bindings::drm_sched_fini(self.inner.get()) };
        // Another thread may be reading the timeline name of a fence that has just been signaled.
        synchronize_rcu();
    }
}

/// A queue of jobs, which run in the order of submission.
///
/// Each of its jobs owns a reference to it.
///
/// # Invariants
///
/// `inner` is an initialized `struct drm_sched_entity` of the schedulers in `schedulers`, which
/// `list` names.
#[pin_data(PinnedDrop)]
pub(crate) struct Entity<T: JobOps> {
    // The signal of a dependency may still access this after the entity is destroyed.
    inner: ManuallyDrop<KBox<Opaque<bindings::drm_sched_entity>>>,
    // Held from arming to pushing a job, so that jobs are queued in the order of their fences.
    #[pin]
    submission: Mutex<()>,
    schedulers: KVec<Arc<Scheduler<T>>>,
    _list: KVec<*mut bindings::drm_gpu_scheduler>,
}

// SAFETY: A `struct drm_sched_entity` may be used and destroyed from any thread, and what it refers
// to is `Send` and `Sync`.
unsafe impl<T: JobOps> Send for Entity<T> {}
// SAFETY: The methods on an `&Entity` synchronize by themselves.
unsafe impl<T: JobOps> Sync for Entity<T> {}

impl<T: JobOps> Entity<T> {
    /// Makes a queue whose jobs run on the least busy of `schedulers`.
    pub(crate) fn new(
        priority: Priority,
        schedulers: KVec<Arc<Scheduler<T>>>,
    ) -> Result<Arc<Self>> {
        let mut list = KVec::with_capacity(schedulers.len(), GFP_KERNEL_ACCOUNT)?;
        for scheduler in &schedulers {
            list.push(scheduler.inner.get(), GFP_KERNEL_ACCOUNT)?;
        }
        // The address of the elements does not change when the vector moves.
        let elements = list.as_mut_ptr();
        let count = u32::try_from(list.len())?;
        let inner = KBox::new(Opaque::zeroed(), GFP_KERNEL)?;
        Arc::pin_init(
            try_pin_init!(Self {
                submission <- new_mutex!(()),
                schedulers,
                _list: list,
                // This comes last, because it is not undone if something else fails.
                inner: {
                    // SAFETY: The memory is valid for writes. The schedulers and the list live as
                    // long as the entity. The C function refuses an empty list.
                    to_result(unsafe {
                        bindings::drm_sched_entity_init(
                            inner.get(),
                            priority.as_raw(),
                            elements,
                            count,
                            null_mut(),
                        )
                    })?;
                    ManuallyDrop::new(inner)
                },
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the result of the last job that was submitted to the hardware, as far as it is
    /// known.
    pub(crate) fn error(&self) -> Result {
        // SAFETY: By the type invariant the entity is initialized.
        to_result(unsafe { bindings::drm_sched_entity_error(self.inner.get()) })
    }

    /// Changes the priority of jobs that are submitted from now on.
    pub(crate) fn set_priority(&self, priority: Priority) {
        // SAFETY: By the type invariant the entity is initialized.
        unsafe { bindings::drm_sched_entity_set_priority(self.inner.get(), priority.as_raw()) };
    }

    /// Returns the scheduler of this entity with the given C object.
    fn scheduler(&self, ptr: *mut bindings::drm_gpu_scheduler) -> Option<&Arc<Scheduler<T>>> {
        self.schedulers.iter().find(|s| s.inner.get() == ptr)
    }
}

#[pinned_drop]
impl<T: JobOps> PinnedDrop for Entity<T> {
    fn drop(self: Pin<&mut Self>) {
        let inner = self.inner.get();
        // SAFETY: By the type invariant the entity is initialized. Only the owner of a reference to
        // the entity could push a job, so nobody can. Each job owns a reference too, so the queue
        // is empty. The memory is that of a box, which is not used any more;
        // `drm_sched_entity_wakeup()` looks at it with interrupts off, which is an RCU section.
        unsafe {
            bindings::drm_sched_entity_fini(inner);
            bindings::rust_ext_kfree_rcu_mightsleep(inner.cast());
        }
    }
}

/// A job with the driver's data for it.
///
/// # Invariants
///
/// - `base` is initialized for an entity of schedulers with the operations of `T`.
/// - Once the job is armed, `scheduler` is the one that runs it, and counts it in its `jobs`.
#[pin_data]
struct Job<T: JobOps> {
    #[pin]
    base: Opaque<bindings::drm_sched_job>,
    entity: Arc<Entity<T>>,
    scheduler: Option<Arc<Scheduler<T>>>,
    // Set once `run` has returned, so that only `timed_out` uses `data`.
    started: AtomicFlag,
    #[pin]
    reap: Work<Job<T>>,
    data: T,
}

// SAFETY: A job may be used and freed from any thread, and all else that it holds is `Send`.
unsafe impl<T: JobOps> Send for Job<T> {}

impl_has_work! {
    impl{T: JobOps} HasWork<Self> for Job<T> { self.reap }
}

impl<T: JobOps> WorkItem for Job<T> {
    type Pointer = Pin<KBox<Self>>;

    /// Drops a finished job, and its entity if this was the last reference.
    fn run(this: Pin<KBox<Self>>) {
        let jobs = this.scheduler.as_ref().map(|s| s.jobs.clone());
        drop(this);
        if let Some(jobs) = jobs {
            jobs.remove();
        }
    }
}

impl<T: JobOps> Job<T> {
    /// Returns the job that a C job is part of.
    ///
    /// # Safety
    ///
    /// `ptr` must be the `base` of a `Job<T>`.
    unsafe fn from_raw(ptr: *mut bindings::drm_sched_job) -> *mut Self {
        // SAFETY: By the function's requirement `ptr` points into a `Job<T>`, at an `Opaque`, which
        // has the layout of what it wraps.
        unsafe { container_of!(Opaque::cast_from(ptr).cast_mut(), Self, base) }
    }

    /// Returns the driver's data for the scheduler that runs a job.
    ///
    /// # Safety
    ///
    /// `ptr` must be the `base` of a `Job<T>` that was armed, and is not freed within `'a`.
    unsafe fn queue<'a>(ptr: *mut bindings::drm_sched_job) -> &'a T::Queue {
        // SAFETY: By the invariants of `Job`, an armed job has a scheduler of this type, which it
        // keeps.
        unsafe { Scheduler::<T>::queue_of((*ptr).sched) }
    }

    /// # Safety
    ///
    /// Only the scheduler may call this, on a job that was pushed to it.
    unsafe extern "C" fn prepare_job(
        job: *mut bindings::drm_sched_job,
        _entity: *mut bindings::drm_sched_entity,
    ) -> *mut bindings::dma_fence {
        let _section = SignalingSection::begin();
        // SAFETY: The scheduler calls this for jobs that were pushed to it, which are `Job<T>`.
        let (job, queue) = unsafe { (Self::from_raw(job), Self::queue(job)) };
        // SAFETY: Nobody else uses the data before the job runs.
        let data = unsafe { &mut *addr_of_mut!((*job).data) };
        data.prepare(queue).map_or(null_mut(), Fence::into_raw)
    }

    /// # Safety
    ///
    /// Only the scheduler may call this, on a job that was pushed to it.
    unsafe extern "C" fn run_job(job: *mut bindings::drm_sched_job) -> *mut bindings::dma_fence {
        let _section = SignalingSection::begin();
        // SAFETY: The scheduler calls this for jobs that were pushed to it, which are `Job<T>`.
        let (job, queue) = unsafe { (Self::from_raw(job), Self::queue(job)) };
        // SAFETY: As `started` is not set, nobody else uses the data.
        let data = unsafe { &mut *addr_of_mut!((*job).data) };
        let fence = data.run(queue);
        // SAFETY: The job is not freed before this function returns.
        unsafe { (*job).started.store(true, Release) };
        assert!(Owner::of(&fence).is_none());
        Fence::into_raw(fence)
    }

    /// # Safety
    ///
    /// Only the scheduler may call this, on a job that was pushed to it.
    unsafe extern "C" fn timedout_job(
        job: *mut bindings::drm_sched_job,
    ) -> bindings::drm_gpu_sched_stat {
        let _section = SignalingSection::begin();
        // SAFETY: The scheduler calls this for jobs that were pushed to it, which are `Job<T>`.
        let (job, queue) = unsafe { (Self::from_raw(job), Self::queue(job)) };
        // SAFETY: The scheduler took the job from its list, so that it is not freed meanwhile.
        if unsafe { (*job).started.load(Acquire) } {
            // SAFETY: As `run` is over, nobody else uses the data: the job is not freed before this
            // function returns.
            unsafe { &mut *addr_of_mut!((*job).data) }.timed_out(queue);
        }
        // The job stays on the scheduler's list. If its fence is signaled by now, the job is freed;
        // otherwise the timeout starts again.
        bindings::drm_gpu_sched_stat_DRM_GPU_SCHED_STAT_NO_HANG
    }

    /// # Safety
    ///
    /// Only the scheduler may call this, on a job that was pushed to it.
    unsafe extern "C" fn free_job(job: *mut bindings::drm_sched_job) {
        // SAFETY: The scheduler calls this once for each job that was pushed to it, when the job's
        // finished fence is signaled.
        unsafe { bindings::drm_sched_job_cleanup(job) };
        // SAFETY: The job came from a pinned box in `PendingJob::submit`, and is ours again.
        let job = unsafe { Pin::new_unchecked(KBox::from_raw(Self::from_raw(job))) };
        if let Some(reaper) = job.scheduler.as_ref().map(|s| s.reaper.clone()) {
            reaper.enqueue(job);
        }
    }
}

/// A job that is not armed yet; cleaned up on drop.
///
/// # Invariants
///
/// The job's `base` is initialized, and not armed.
struct InitializedJob<T: JobOps>(Pin<KBox<Job<T>>>);

impl<T: JobOps> InitializedJob<T> {
    fn as_raw(&self) -> *mut bindings::drm_sched_job {
        self.0.base.get()
    }

    /// Gives up ownership of the job. Its address does not change.
    fn into_raw(self) -> *mut Job<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used nor dropped afterward, so the box moves out of it.
        let job = unsafe { core::ptr::read(&this.0) };
        // SAFETY: The job stays where it is until it is made a pinned box again.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(job) })
    }
}

impl<T: JobOps> Drop for InitializedJob<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the job is initialized and not armed.
        unsafe { bindings::drm_sched_job_cleanup(self.as_raw()) };
    }
}

/// A job that may gain dependencies, before it is submitted or dropped.
pub(crate) struct PendingJob<T: JobOps> {
    job: InitializedJob<T>,
}

impl<T: JobOps> PendingJob<T> {
    /// Makes a job for a queue. It takes `credits` of its scheduler's credits while it runs.
    ///
    /// `owner` is its owner for [`PendingJob::add_dependencies_of`]; `client_id` identifies the
    /// client in traces.
    pub(crate) fn new(
        entity: Arc<Entity<T>>,
        credits: u32,
        owner: Owner,
        client_id: u64,
        data: T,
    ) -> Result<Self> {
        let job = KBox::pin_init(
            pin_init!(Job {
                base: Opaque::zeroed(),
                entity,
                scheduler: None,
                started: AtomicFlag::new(false),
                reap <- new_work!("drm_sched::Job::reap"),
                data,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: The job is valid for writes, and by its type invariant the entity is initialized;
        // the job keeps it.
        to_result(unsafe {
            bindings::drm_sched_job_init(
                job.base.get(),
                job.entity.inner.get(),
                credits,
                owner.as_raw(),
                client_id,
            )
        })?;
        // INVARIANT: The job was just initialized.
        Ok(Self {
            job: InitializedJob(job),
        })
    }

    /// Makes the job wait for `fence` before it runs.
    pub(crate) fn add_dependency(&mut self, fence: ARef<Fence>) -> Result {
        // SAFETY: By the type invariant the job is initialized. The reference is given away.
        to_result(unsafe {
            bindings::drm_sched_job_add_dependency(self.job.as_raw(), Fence::into_raw(fence))
        })
    }

    /// Makes the job wait for all fences of this usage that are now in a reservation before it
    /// runs.
    pub(crate) fn add_resv_dependencies(&mut self, resv: HeldResv<'_>, usage: Usage) -> Result {
        // SAFETY: By the type invariants the job is initialized, and the reservation is held.
        to_result(unsafe {
            bindings::drm_sched_job_add_resv_dependencies(
                self.job.as_raw(),
                resv.as_raw(),
                usage.as_raw(),
            )
        })
    }

    /// Makes the job wait for those fences of this usage that are now in a reservation and whose
    /// owner `wanted` accepts. A fence that is not itself a scheduler's has no owner.
    pub(crate) fn add_dependencies_of(
        &mut self,
        resv: HeldResv<'_>,
        usage: Usage,
        wanted: impl Fn(Option<Owner>) -> bool,
    ) -> Result {
        for fence in resv.fences(usage) {
            if wanted(Owner::of(&fence)) {
                self.add_dependency(fence)?;
            }
        }
        Ok(())
    }

    /// Submits the job. Arms it, calls `publish`, and pushes it; none of this can fail. `publish`
    /// receives the driver's data and the fence that will be signaled when the job has ended, with
    /// or without an error.
    ///
    /// Submissions to one entity exclude each other, so the effects of `publish` are in the order
    /// in which the jobs run. `publish` is on the way to the signal of a fence: it may not wait for
    /// memory.
    pub(crate) fn submit<R>(self, publish: impl FnOnce(&Fence, &mut T) -> R) -> R {
        let job = self.job;
        let entity = job.0.entity.clone();
        let _submission = entity.submission.lock();
        let _section = SignalingSection::begin();

        let job = job.into_raw();
        // SAFETY: The job is initialized, and ours.
        let base = unsafe { (*job).base.get() };
        // SAFETY: The job is initialized and not armed, and will be pushed below.
        unsafe { bindings::drm_sched_job_arm(base) };
        // SAFETY: Arming chose one of the entity's schedulers.
        let scheduler = entity.scheduler(unsafe { (*base).sched }).cloned();
        if let Some(scheduler) = &scheduler {
            scheduler.jobs.add();
        }
        // SAFETY: The job is ours until it is pushed.
        // INVARIANT: The scheduler just counted the job.
        unsafe { (*job).scheduler = scheduler };

        // SAFETY: Arming initialized the fence, and the job owns a reference to it.
        let finished = unsafe { Fence::from_raw(addr_of_mut!((*(*base).s_fence).finished)) };
        // SAFETY: The job is ours until it is pushed.
        let data = unsafe { &mut *addr_of_mut!((*job).data) };
        let result = publish(finished, data);

        // SAFETY: The job is armed, and given away here. Its entity is alive, as we hold it.
        unsafe { bindings::drm_sched_entity_push_job(base) };
        result
    }
}
