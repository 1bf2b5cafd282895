// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's own jobs: what it has a DMA engine do to memory, for now clearing VRAM.
//!
//! They run before those of processes, in order, in the kernel's own address space (context 0), in
//! which VRAM is found without page tables. Their commands are written straight into the ring.
//!
//! Whoever submits such a job puts its fence into the reservation of the buffer, for
//! [`Usage::Kernel`], and looks at how it ended: the card may be given up meanwhile.
//!
//! Jobs are submitted within a section of
//! [`drm::Device::enter`](crate::abstractions::drm::Device::enter) only, so that there are no more
//! when the device was unplugged: [`KernelQueue::wait_idle`] waits for the rest.
//!
//! # Lock order
//!
//! `last` is taken last, on the way to the signal of a fence: nothing is allocated under it.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
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
    entity: Arc<Entity<Job>>,
    /// The fence of the newest job.
    #[pin]
    last: Mutex<Option<ARef<Fence>>>,
}

impl KernelQueue {
    /// In whose name the jobs run: nobody's that has an address space, as those count from 1.
    const OWNER: Owner = Owner(0);
    /// The name of the kernel among the clients, in traces.
    const CLIENT: u64 = 0;

    pub(crate) fn new(schedulers: &Schedulers) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            entity: Entity::new(
                Priority::Kernel,
                schedulers.of(|ring| ring.engine() == EngineKind::Sdma)?,
            )?,
            last <- new_mutex!(None, "KernelQueue::last"),
        })
    }

    /// Fills ranges of the GPU's own address space with zeros, after what the kernel does to the
    /// buffer whose reservation is `after`. The fence is signaled when that is done, or has failed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EINVAL` if there is nothing to fill. Nothing was begun then.
    pub(crate) fn clear(
        &self,
        ranges: impl Iterator<Item = Range<u64>>,
        after: HeldResv<'_>,
    ) -> Result<ARef<Fence>> {
        let mut jobs = KVec::new();
        for fill in ranges.flat_map(fills) {
            jobs.push(self.job(Task::Fill(fill), after)?, GFP_KERNEL)?;
        }
        // They run in order, and if one fails because the card is given up, those after it do, too.
        let fences = jobs.into_iter().map(|job| self.submit(job));
        fences.last().ok_or(EINVAL)
    }

    /// A job that waits for what else the kernel does to a buffer.
    fn job(&self, task: Task, after: HeldResv<'_>) -> Result<PendingJob<Job>> {
        let job = Job::new(Work {
            space: None,
            submitter: None,
            pasid: 0,
            task,
            user_fence: None,
            seat: None,
            _keep: None,
        })?;
        let entity = self.entity.clone();
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

    /// Waits until all jobs have ended, well or not.
    pub(crate) fn wait_idle(&self) {
        let last = self.last.lock().clone();
        if let Some(fence) = last {
            // Not interruptible: cannot fail.
            let _ = fence.wait(Interruptible::No);
        }
    }
}

/// The submissions that clear a range.
fn fills(range: Range<u64>) -> impl Iterator<Item = Fill> {
    let end = range.end;
    // CAST: The kernel is one of 64 bits.
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
