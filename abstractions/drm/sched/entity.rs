// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Entities: `struct drm_sched_entity`.

use core::{
    mem::ManuallyDrop,
    ptr::null_mut, //
};

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

use super::{
    JobOps,
    Scheduler, //
};
use crate::bindings;

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
    pub(super) inner: ManuallyDrop<KBox<Opaque<bindings::drm_sched_entity>>>,
    // Held from arming to pushing a job, so that jobs are queued in the order of their fences.
    #[pin]
    pub(super) submission: Mutex<()>,
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
        let inner = KBox::new(Opaque::zeroed(), GFP_KERNEL_ACCOUNT)?;
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
    pub(super) fn scheduler(
        &self,
        ptr: *mut bindings::drm_gpu_scheduler,
    ) -> Option<&Arc<Scheduler<T>>> {
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
