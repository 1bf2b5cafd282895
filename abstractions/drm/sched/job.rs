// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs: `struct drm_sched_job`, from the driver to the scheduler and back.

use core::{
    mem::ManuallyDrop,
    ptr::{
        addr_of_mut,
        null_mut, //
    }, //
};

use kernel::{
    container_of,
    error::to_result,
    ffi,
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            AtomicFlag,
            Release, //
        },
        Arc, //
    },
    types::Opaque,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use super::{
    Entity,
    JobOps,
    Scheduler, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            SignalingSection, //
        },
        dma_resv::{
            HeldResv,
            Usage, //
        }, //
    },
    bindings, //
};

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

/// Returns the fence that is signaled when a job begins: when it has been handed to the hardware,
/// behind the jobs before it. `end` is the job's finished fence; of any other this is `None`.
///
/// The start of a job says nothing of what it does with memory. Only a job may wait for it, which
/// orders itself by its user's wish; a reservation must never hold it.
pub(crate) fn start_of(end: &Fence) -> Option<ARef<Fence>> {
    // SAFETY: The fence is alive. The function looks at what kind of fence it is.
    let fence = unsafe { bindings::to_drm_sched_fence(end.as_raw()) };
    if fence.is_null() {
        return None;
    }
    // SAFETY: It is a scheduler's, so it is part of this. The finished fence, which is alive, keeps
    // a reference to the other.
    let start = unsafe { Fence::from_raw(addr_of_mut!((*fence).scheduled)) };
    Some(start.into())
}

/// A job with the driver's data for it.
///
/// # Invariants
///
/// - `base` is initialized for an entity of schedulers with the operations of `T`.
/// - Once the job is armed, `scheduler` is the one that runs it, and counts it in its `jobs`.
#[pin_data]
pub(super) struct Job<T: JobOps> {
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
    pub(super) unsafe extern "C" fn prepare_job(
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
    pub(super) unsafe extern "C" fn run_job(
        job: *mut bindings::drm_sched_job,
    ) -> *mut bindings::dma_fence {
        let _section = SignalingSection::begin();
        // SAFETY: The scheduler calls this for jobs that were pushed to it, which are `Job<T>`.
        let (job, queue) = unsafe { (Self::from_raw(job), Self::queue(job)) };
        // SAFETY: As `started` is not set, nobody else uses the data.
        let data = unsafe { &mut *addr_of_mut!((*job).data) };
        let fence = data.run(queue);
        // SAFETY: The job is not freed before this function returns.
        unsafe { (*job).started.store(true, Release) };
        assert!(Owner::of(&fence).is_none() && !fence.is_container());
        Fence::into_raw(fence)
    }

    /// # Safety
    ///
    /// Only the scheduler may call this, on a job that was pushed to it.
    pub(super) unsafe extern "C" fn timedout_job(
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
    pub(super) unsafe extern "C" fn free_job(job: *mut bindings::drm_sched_job) {
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

    /// Makes the job wait for `fence` before it runs. Takes as long as there are dependencies.
    pub(super) fn add_dependency(&mut self, fence: ARef<Fence>) -> Result {
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
