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
//! The callbacks run in a [`SignalingSection`](crate::abstractions::dma_fence::SignalingSection),
//! on the way to the signal of a fence, so they may not allocate except from pools that need no
//! reclaim.
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

mod entity;
mod job;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use self::job::Job;
pub(crate) use self::{
    entity::{
        Entity,
        Priority, //
    },
    job::{
        start_of,
        Owner,
        PendingJob, //
    },
};

use crate::{
    abstractions::{
        dma_fence::{
            timeout_to_c,
            Fence, //
        },
        module::Drained,
        workqueue::OwnedQueue, //
    },
    bindings, //
};
use kernel::{
    container_of,
    device,
    error::to_result,
    new_condvar,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        rcu::synchronize_rcu,
        Arc,
        CondVar,
        SpinLock, //
    },
    time::Jiffies,
    types::Opaque, //
};

/// Operations on a driver's job. None of the callbacks may wait for memory.
#[vtable]
pub(crate) trait JobOps: Send + Sized + 'static {
    /// The module that the functions are part of.
    type OwnerModule: Drained;

    /// The driver's data for each scheduler of such jobs, for example the ring that it feeds.
    type Queue: Send + Sync + 'static;

    /// Called when all dependencies of the job are signaled. Acquires the resources that it needs
    /// to run.
    ///
    /// If one is missing, returns the fence after whose signal the scheduler calls this again.
    /// After the *finished* fence of a job of the same scheduler, it does so once that job is on
    /// the hardware: such a fence must not be returned a second time.
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
    /// The scheduler panics if this returns a scheduler's fence: the job would wait for itself. Or
    /// if it returns a container, in which such a fence may be: see [`Fence::is_container`].
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
                    // `args` refers to is a device that we hold, or lives as long as the module,
                    // which has promised (`Drained`) that `self` does not outlive it.
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

    /// Returns true if every job that was pushed to this scheduler is done and dropped.
    pub(crate) fn is_idle(&self) -> bool {
        *self.jobs.count.lock() == 0
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
