// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the order of fences, on hardware that is a list of fences.

use super::*;
use crate::abstractions::dma_fence::{
    DriverFence,
    FenceContext,
    Interruptible,
    PendingFence,
    UniqueFence, //
};
use kernel::{
    faux,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
};

struct Name;

#[vtable]
impl DriverFence for Name {
    const DRIVER_NAME: &'static CStr = c"test";

    fn timeline_name(&self) -> &'static CStr {
        c"test"
    }
}

/// A ring whose jobs end in order, when the test says so.
#[pin_data]
struct Ring {
    context: FenceContext,
    emitted: Atomic<u64>,
    #[pin]
    unfinished: SpinLock<KVec<(PendingFence<Name>, Result)>>,
}

impl Ring {
    fn new() -> Result<Arc<Self>> {
        let unfinished = KVec::with_capacity(16, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                context: FenceContext::new(),
                emitted: Atomic::new(0),
                unfinished <- new_spinlock!(unfinished),
            }),
            GFP_KERNEL,
        )
    }

    /// Waits until `count` jobs are on the ring.
    fn wait_for(&self, count: usize) -> Result {
        for _ in 0..2000 {
            if self.unfinished.lock().len() == count {
                return Ok(());
            }
            fsleep(Delta::from_millis(1));
        }
        Err(ETIMEDOUT)
    }

    /// Finishes the first job on the ring.
    fn finish(&self) -> Result {
        let first = self.unfinished.lock().remove(0);
        let (fence, result) = first.map_err(|_| EINVAL)?;
        fence.signal(result);
        Ok(())
    }
}

struct TestJob {
    fence: Option<UniqueFence<Name>>,
    result: Result,
}

#[vtable]
impl JobOps for TestJob {
    type Queue = Arc<Ring>;

    fn run(&mut self, ring: &Arc<Ring>) -> ARef<Fence> {
        let Some(fence) = self.fence.take() else {
            return Fence::stub();
        };
        let seqno = ring.emitted.fetch_add(1, Relaxed) + 1;
        let pending = fence.publish(&ring.context, seqno, Name);
        let fence = pending.fence().clone();
        let mut unfinished = ring.unfinished.lock();
        // There is capacity for it.
        let _ = unfinished.push_within_capacity((pending, self.result));
        fence
    }

    fn timed_out(&mut self, _ring: &Arc<Ring>) {}
}

/// A scheduler with its ring, on a device of its own.
struct World {
    ring: Arc<Ring>,
    scheduler: Arc<Scheduler<TestJob>>,
    reaper: Arc<OwnedQueue>,
    // Dropped last.
    _device: faux::Registration,
}

impl World {
    fn new(credits: u32) -> Result<Self> {
        let device = faux::Registration::new(c"amdgpu_rs_sched_test", None)?;
        let ring = Ring::new()?;
        let dev: &device::Device<device::Bound> = device.as_ref().as_ref();
        let timeout = msecs_to_jiffies(10_000);
        let reaper = Arc::new(OwnedQueue::new(c"test")?, GFP_KERNEL)?;
        let name = c"test";
        let scheduler = Scheduler::new(name, dev, credits, timeout, ring.clone(), reaper.clone())?;
        Ok(Self {
            ring,
            scheduler,
            reaper,
            _device: device,
        })
    }

    fn entity(&self) -> Result<Arc<Entity<TestJob>>> {
        let mut schedulers = KVec::new();
        schedulers.push(self.scheduler.clone(), GFP_KERNEL)?;
        Entity::new(Priority::Normal, schedulers)
    }
}

impl Drop for World {
    /// Ends the jobs that a test has left, as they must be gone before their queue.
    fn drop(&mut self) {
        while *self.scheduler.jobs.count.lock() != 0 {
            let _ = self.ring.finish();
            fsleep(Delta::from_millis(1));
        }
        self.reaper.flush();
    }
}

/// Queues a job that ends with `result`, and returns its finished fence.
fn queue(entity: &Arc<Entity<TestJob>>, result: Result) -> Result<ARef<Fence>> {
    let fence = Some(UniqueFence::new(GFP_KERNEL)?);
    let data = TestJob { fence, result };
    let job = PendingJob::new(entity.clone(), 1, Owner(0), 0, data)?;
    Ok(job.submit(|fence, _| fence.into()))
}

fn wait(fence: &Fence) -> Result {
    fence.wait_timeout(Interruptible::No, msecs_to_jiffies(5_000))?;
    fence.status().unwrap_or(Err(ETIMEDOUT))
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(rust_drm_sched)]
mod order {
    use super::*;

    #[test]
    fn a_job_that_fails_ends_in_its_turn() -> Result {
        let world = World::new(4)?;
        let entity = world.entity()?;
        let first = queue(&entity, Ok(()))?;
        let second = queue(&entity, Err(EIO))?;
        let third = queue(&entity, Ok(()))?;
        world.ring.wait_for(3)?;
        assert_eq!(second.status(), None);
        world.ring.finish()?;
        assert_eq!(wait(&first), Ok(()));
        assert_eq!((second.status(), third.status()), (None, None));
        world.ring.finish()?;
        assert_eq!(wait(&second), Err(EIO));
        assert_eq!(third.status(), None);
        world.ring.finish()?;
        wait(&third)
    }

    #[test]
    fn jobs_outlive_who_queued_them() -> Result {
        let world = World::new(1)?;
        let entity = world.entity()?;
        let running = queue(&entity, Ok(()))?;
        let queued = [queue(&entity, Ok(()))?, queue(&entity, Err(EIO))?];
        world.ring.wait_for(1)?;
        // None of these drops ends a job.
        drop(entity);
        fsleep(Delta::from_millis(20));
        assert_eq!(running.status(), None);
        assert_eq!((queued[0].status(), queued[1].status()), (None, None));
        world.ring.finish()?;
        assert_eq!(wait(&running), Ok(()));
        world.ring.wait_for(1)?;
        assert_eq!((queued[0].status(), queued[1].status()), (None, None));
        world.ring.finish()?;
        assert_eq!(wait(&queued[0]), Ok(()));
        world.ring.wait_for(1)?;
        world.ring.finish()?;
        assert_eq!(wait(&queued[1]), Err(EIO));
        world.scheduler.drain();
        Ok(())
    }

    #[test]
    fn a_job_waits_for_what_it_depends_on_also_if_it_fails() -> Result {
        let world = World::new(4)?;
        let other = FenceContext::new();
        let dependency = UniqueFence::new(GFP_KERNEL)?.publish(&other, 1, Name);
        let entity = world.entity()?;
        let fence = Some(UniqueFence::new(GFP_KERNEL)?);
        let data = TestJob {
            fence,
            result: Err(EIO),
        };
        let mut job = PendingJob::new(entity.clone(), 1, Owner(0), 0, data)?;
        job.add_dependency(dependency.fence().clone())?;
        let first: ARef<Fence> = job.submit(|fence, _| fence.into());
        let second = queue(&entity, Ok(()))?;
        fsleep(Delta::from_millis(20));
        assert_eq!((first.status(), second.status()), (None, None));
        dependency.signal(Ok(()));
        world.ring.wait_for(2)?;
        world.ring.finish()?;
        assert_eq!(wait(&first), Err(EIO));
        assert_eq!(second.status(), None);
        world.ring.finish()?;
        wait(&second)
    }
}
