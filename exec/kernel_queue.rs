// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's own jobs: work that the driver has a DMA engine do, so far clearing VRAM.
//!
//! The C driver uses its TTM entity and buffer functions for that (`amdgpu_ttm_clear_buffer`).
//!
//! These jobs run before those of processes, in order, in the kernel's own address space (context
//! 0), which reaches VRAM without page tables. Their commands are written straight into the ring.
//!
//! The submitter of such a job puts its fence into the reservation of the buffer, for
//! [`Usage::Kernel`], and checks how the fence ended: the card may be given up in the meantime.
//!
//! Jobs are submitted only within a section of
//! [`drm::Device::enter`](crate::abstractions::drm::Device::enter), so none is submitted after the
//! device was unplugged: [`KernelQueue::wait_idle`] waits for the rest.
//!
//! # Lock order
//!
//! `last` is taken last, and is taken on the way to the signaling of a fence: nothing is allocated
//! under it.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SetOnce, //
    },
};

use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        dma_resv::{
            HeldResv,
            Usage, //
        },
        drm::sched::{
            Entity,
            Owner,
            PendingJob,
            Priority, //
        },
    },
    exec::job::{
        Job,
        Schedulers,
        Task,
        Work, //
    },
    hw::command::{
        EngineKind,
        Fill, //
    },
};

/// A queue of jobs for the DMA engines.
#[pin_data]
pub(crate) struct KernelQueue {
    /// Set once the rings are tested.
    entity: SetOnce<Arc<Entity<Job>>>,
    /// Fence of the newest job.
    #[pin]
    last: Mutex<Option<ARef<Fence>>>,
}

impl KernelQueue {
    /// Owner of kernel jobs. 0 is reserved: address-space IDs start at 1.
    const OWNER: Owner = Owner(0);
    /// Client ID of the kernel in traces.
    const CLIENT: u64 = 0;

    /// Creates a queue that takes no jobs before it is opened.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            entity: SetOnce::new(),
            last <- new_mutex!(None, "KernelQueue::last"),
        })
    }

    /// Opens the queue, for the DMA engines that work.
    pub(crate) fn open(&self, schedulers: &Schedulers) -> Result {
        let engines = schedulers.of(|ring| ring.engine() == EngineKind::Sdma)?;
        self.entity
            .populate(Entity::new(Priority::Kernel, engines)?);
        Ok(())
    }

    /// Fills ranges of the GPU's own address space with zeros, after the kernel's work on the
    /// buffer whose reservation is `after`. The returned fence is signaled when the ranges are
    /// cleared, or the clearing has failed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENODEV` if the queue is not open, or `EINVAL` if there is nothing to fill. No job
    /// was submitted then.
    pub(crate) fn clear(
        &self,
        ranges: impl Iterator<Item = Range<u64>>,
        after: HeldResv<'_>,
    ) -> Result<ARef<Fence>> {
        let mut jobs = KVec::new();
        for fill in ranges.flat_map(fills) {
            jobs.push(self.job(Task::Fill(fill), after)?, GFP_KERNEL)?;
        }
        // The jobs run in order. If one fails because the card is given up, later ones fail, too.
        let fences = jobs.into_iter().map(|job| self.submit(job));
        fences.last().ok_or(EINVAL)
    }

    /// Creates a job that waits for the kernel's other work on a buffer.
    fn job(&self, task: Task, after: HeldResv<'_>) -> Result<PendingJob<Job>> {
        let job = Job::new(Work {
            space: None,
            submitter: None,
            standing: None,
            pasid: 0,
            task,
            user_fence: None,
            seat: None,
            _keep: None,
        })?;
        let entity = self.entity.as_ref().ok_or(ENODEV)?.clone();
        let mut job = PendingJob::new(entity, Job::CREDITS, Self::OWNER, Self::CLIENT, job)?;
        job.add_resv_dependencies(after, Usage::Kernel)?;
        Ok(job)
    }

    fn submit(&self, job: PendingJob<Job>) -> ARef<Fence> {
        let (fence, _previous) = job.submit(|fence, _| {
            let fence: ARef<Fence> = fence.into();
            let previous = self.last.lock().replace(fence.clone());
            (fence, previous)
        });
        fence
    }

    /// Waits until all jobs have ended, with or without an error.
    pub(crate) fn wait_idle(&self) {
        let last = self.last.lock().clone();
        if let Some(fence) = last {
            // An uninterruptible wait cannot fail.
            let _ = fence.wait(Interruptible::No);
        }
    }
}

/// Returns the submissions that clear a range.
fn fills(range: Range<u64>) -> impl Iterator<Item = Fill> {
    let end = range.end;
    // CAST: The kernel is a 64-bit one.
    range
        .step_by(Fill::MAX_BYTES as usize)
        .map(move |addr| Fill {
            addr,
            bytes: (end - addr).min(Fill::MAX_BYTES),
            value: 0,
        })
}

#[kunit_tests(amdgpu_rs_kernel_queue)]
mod tests {
    use super::*;

    #[test]
    fn large_ranges_take_several_submissions() {
        const MAX: u64 = Fill::MAX_BYTES;

        for (bytes, submissions) in [
            (0, 0),
            (0x1000, 1),
            (MAX, 1),
            (MAX + 0x1000, 2),
            (3 * MAX, 3),
        ] {
            let start = 0xf4_0000_1000;
            let mut end = start;
            for fill in fills(start..start + bytes) {
                assert_eq!((fill.addr, fill.value), (end, 0));
                assert!(0 < fill.bytes && fill.bytes <= MAX);
                end += fill.bytes;
            }
            assert_eq!(end, start + bytes);
            assert_eq!(fills(start..start + bytes).count(), submissions);
        }
    }
}
