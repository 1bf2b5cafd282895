// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's own jobs: work that the driver has a DMA engine do, clearing and copying VRAM, or
//! a compute queue, clearing parts of the global data share.
//!
//! The C driver uses its TTM entities and buffer functions for that (`amdgpu_ttm_clear_buffer`,
//! `amdgpu_move_blit`).
//!
//! These jobs run before those of processes, in the kernel's own address space (context 0), which
//! reaches VRAM without page tables. Their commands are written straight into the ring.
//!
//! The submitter of such a job puts its fence into the reservation of the buffer, for
//! [`Usage::Kernel`], and checks how the fence ended: with an error only if the card was given up,
//! as jobs of the kernel that a reset interrupts run again (`exec/verdict.rs`). No later job runs
//! on such a card.
//!
//! # Lanes
//!
//! A job may have to wait for jobs of processes, as a move waits for whoever uses the buffer. So
//! that others do not wait with it, there are several queues, the lanes. An operation, which may be
//! several jobs, takes a lane that has nothing to do, if there is one.
//!
//! Entries of page tables have a lane of their own. A move in any other lane may wait for a job
//! that is to find these entries, so behind that move they would never be written. Such jobs wait
//! for nothing but each other. The global data share has a lane, too, on the compute queues.
//!
//! Jobs are submitted only within a section of
//! [`drm::Device::enter`](crate::abstractions::drm::Device::enter), so none is submitted after the
//! device was unplugged: [`KernelQueue::wait_idle`] waits for the rest.
//!
//! # Lock order
//!
//! A lane's `last` is taken last, and is taken on the way to the signaling of a fence: nothing is
//! allocated under it.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
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
    hw::{
        command::{
            EngineKind,
            EntryRun,
            Fill, //
        },
        on_chip::{
            OnChip,
            OnChipRange, //
        },
    },
};

/// The kernel's queues of jobs.
#[pin_data]
pub(crate) struct KernelQueue {
    /// Set once the rings are tested.
    lanes: SetOnce<KVec<Arc<Lane>>>,
    /// The lane of page-table entries. Set with `lanes`.
    entries: SetOnce<Arc<Lane>>,
    /// The lane of the global data share. Set with `lanes`, if there are compute queues.
    gds: SetOnce<Arc<Lane>>,
    /// Number of operations so far, by which a lane is chosen if all have something to do.
    count: Atomic<usize>,
}

/// A queue of jobs, which run in order.
#[pin_data]
struct Lane {
    entity: Arc<Entity<Job>>,
    /// Fence of the newest job.
    #[pin]
    last: Mutex<Option<ARef<Fence>>>,
}

impl KernelQueue {
    /// Number of lanes. TTM takes fences of evictions from no more than eight timelines.
    const LANES: usize = 8;

    /// Owner of kernel jobs. 0 is reserved: address-space IDs start at 1.
    const OWNER: Owner = Owner(0);
    /// Client ID of the kernel in traces.
    const CLIENT: u64 = 0;

    /// Creates queues that take no jobs before they are opened.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lanes: SetOnce::new(),
            entries: SetOnce::new(),
            gds: SetOnce::new(),
            count: Atomic::new(0),
        })
    }

    /// Opens the queues, for the engines that work.
    pub(crate) fn open(&self, schedulers: &Schedulers) -> Result {
        const DMA: EngineKind = EngineKind::Sdma;

        let mut lanes = KVec::with_capacity(Self::LANES, GFP_KERNEL)?;
        for _ in 0..Self::LANES {
            lanes.push(Lane::new(schedulers, DMA)?, GFP_KERNEL)?;
        }
        match Lane::new(schedulers, EngineKind::Compute) {
            Ok(lane) => self.gds.populate(lane),
            Err(e) if e == ENOENT => false,
            Err(e) => return Err(e),
        };
        self.entries.populate(Lane::new(schedulers, DMA)?);
        self.lanes.populate(lanes);
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
        let mut operation = Operation::begin(self, after, Usage::Kernel)?;
        for fill in ranges.flat_map(fills) {
            operation.add(Task::Fill(fill))?;
        }
        operation.submit()
    }

    /// Begins a copy, which comes after all work on the buffer whose reservation is `after`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the queue is not open.
    pub(crate) fn copy<'a>(&'a self, after: HeldResv<'a>) -> Result<Operation<'a>> {
        Operation::begin(self, after, Usage::Bookkeep)
    }

    /// Fills a part of the global data share with zeros, after the kernel's work on the buffer
    /// whose reservation is `after`. The returned fence is signaled when that is done, or the card
    /// was given up.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENODEV` if the queue is not open.
    pub(crate) fn clear_gds(&self, range: OnChipRange, after: HeldResv<'_>) -> Result<ARef<Fence>> {
        let lane = self.gds.as_ref().ok_or(ENODEV)?;
        let mut job = lane.job(Task::ClearGds(range))?;
        job.add_resv_dependencies(after, Usage::Kernel)?;
        Ok(lane.submit(job, |_| ()))
    }

    /// Makes jobs that have room for `runs` runs of page-table entries, which are submitted in
    /// `parts` parts at most, however long each. What they write is said when they are submitted.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENODEV` if the queue is not open.
    pub(crate) fn prepare_entries(&self, parts: usize, runs: usize) -> Result<EntryJobs> {
        let lane = self.entries.as_ref().ok_or(ENODEV)?.clone();
        let mut jobs = KVec::new();
        for _ in 0..jobs_of(parts, runs) {
            let runs = KVec::with_capacity(runs.min(EntryRun::MOST), GFP_KERNEL_ACCOUNT)?;
            let job = lane.job(Task::Entries(runs))?;
            jobs.push(job, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(EntryJobs { lane, jobs })
    }

    /// Returns a lane that has nothing to do, or else the next one in turn.
    fn lane(&self) -> Result<&Lane> {
        let lanes = self.lanes.as_ref().ok_or(ENODEV)?;
        let turn = self.count.fetch_add(1, Relaxed) % lanes.len();
        let lane = lanes.iter().find(|lane| lane.is_idle());
        Ok(lane.unwrap_or(&lanes[turn]))
    }

    /// Waits until all jobs have ended, with or without an error.
    pub(crate) fn wait_idle(&self) {
        let lanes = self.lanes.as_ref().into_iter().flatten();
        let others = [self.entries.as_ref(), self.gds.as_ref()];
        for lane in Iterator::chain(lanes, others.into_iter().flatten()) {
            if let Some(fence) = lane.last() {
                // An uninterruptible wait cannot fail.
                let _ = fence.wait(Interruptible::No);
            }
        }
    }
}

impl Lane {
    fn new(schedulers: &Schedulers, engine: EngineKind) -> Result<Arc<Self>> {
        let engines = schedulers.of(|ring| ring.engine() == engine)?;
        let entity = Entity::new(Priority::Kernel, engines)?;
        let lane = pin_init!(Self {
            entity,
            last <- new_mutex!(None, "Lane::last"),
        });
        Arc::pin_init(lane, GFP_KERNEL)
    }

    /// Returns the fence of the newest job.
    fn last(&self) -> Option<ARef<Fence>> {
        self.last.lock().clone()
    }

    fn is_idle(&self) -> bool {
        self.last().is_none_or(|fence| fence.is_signaled())
    }

    /// Makes a job for this lane.
    fn job(&self, task: Task) -> Result<PendingJob<Job>> {
        let job = Job::new(Work {
            space: None,
            submitter: None,
            standing: None,
            known_losses: None,
            on_chip: OnChip::NONE,
            pasid: 0,
            previous: None,
            after: KVVec::new(),
            task,
            user_fence: None,
            seat: None,
            _keep: None,
        })?;
        let (owner, client) = (KernelQueue::OWNER, KernelQueue::CLIENT);
        PendingJob::new(self.entity.clone(), Job::CREDITS, owner, client, job)
    }

    /// Submits a job. `last_words` may still change it, but not allocate.
    fn submit(&self, job: PendingJob<Job>, last_words: impl FnOnce(&mut Job)) -> ARef<Fence> {
        let (fence, _previous) = job.submit(|fence, job| {
            last_words(job);
            let fence: ARef<Fence> = fence.into();
            let previous = self.last.lock().replace(fence.clone());
            (fence, previous)
        });
        fence
    }
}

/// Jobs that together do one thing. Nothing is submitted before all of them have been made.
#[must_use = "nothing is done before it is submitted"]
pub(crate) struct Operation<'a> {
    lane: &'a Lane,
    /// Reservation of a buffer, and the work in it that the first job comes after. The others come
    /// after the first.
    after: HeldResv<'a>,
    usage: Usage,
    jobs: KVVec<PendingJob<Job>>,
}

impl<'a> Operation<'a> {
    fn begin(queue: &'a KernelQueue, after: HeldResv<'a>, usage: Usage) -> Result<Self> {
        Ok(Self {
            lane: queue.lane()?,
            after,
            usage,
            jobs: KVVec::new(),
        })
    }

    /// Adds a job.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add(&mut self, task: Task) -> Result {
        let mut job = self.lane.job(task)?;
        if self.jobs.is_empty() {
            job.add_resv_dependencies(self.after, self.usage)?;
        }
        Ok(self.jobs.push(job, GFP_KERNEL)?)
    }

    /// Submits the jobs, and returns the fence of the last.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are none.
    pub(crate) fn submit(self) -> Result<ARef<Fence>> {
        // If one fails because the card is given up, later ones fail, too.
        let lane = self.lane;
        let fences = self.jobs.into_iter().map(|job| lane.submit(job, |_| ()));
        fences.last().ok_or(EINVAL)
    }
}

/// Jobs that write page-table entries, before it is known which.
#[must_use = "nothing is written before they are submitted"]
pub(crate) struct EntryJobs {
    lane: Arc<Lane>,
    jobs: KVec<PendingJob<Job>>,
}

impl EntryJobs {
    /// Submits as many of the jobs as these runs take, and returns the fence of the last: jobs of a
    /// lane end in order, and if one fails because the card is given up, later ones fail, too. The
    /// other jobs are left for the next part.
    ///
    /// Returns `None`, and submits nothing, if there are no runs or too many. Neither allocates nor
    /// frees: it may be called on the way to the signal of a fence.
    pub(crate) fn submit(
        &mut self,
        runs: impl Iterator<Item = EntryRun> + Clone,
    ) -> Option<ARef<Fence>> {
        if runs.clone().count() > self.jobs.len() * EntryRun::MOST {
            return None;
        }
        let mut runs = runs.peekable();
        let mut last = None;
        while runs.peek().is_some() {
            let Some(job) = self.jobs.pop() else { break };
            let fence = self.lane.submit(job, |job| {
                for run in runs.by_ref().take(EntryRun::MOST) {
                    // The job has room for as many.
                    let _ = job.push_entries(run);
                }
            });
            last = Some(fence);
        }
        last
    }
}

/// Returns the number of jobs for `runs` runs of page-table entries in `parts` parts, of which each
/// begins with a job of its own.
fn jobs_of(parts: usize, runs: usize) -> usize {
    runs.div_ceil(EntryRun::MOST) + parts.saturating_sub(1)
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_kernel_queue)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_jobs_enough() {
        const MOST: usize = EntryRun::MOST;

        assert_eq!(
            (jobs_of(1, 1), jobs_of(1, MOST), jobs_of(1, MOST + 1)),
            (1, 1, 2)
        );
        for lengths in [
            [1, 1, 1],
            [1, MOST, 2],
            [MOST + 1; 3],
            [2 * MOST, MOST - 1, 3],
        ] {
            let needed: usize = lengths.iter().map(|runs| runs.div_ceil(MOST)).sum();
            assert!(jobs_of(lengths.len(), lengths.iter().sum()) >= needed);
        }
    }

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
