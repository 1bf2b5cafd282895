// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the order of updates, and of who writes them.

use super::*;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_timeline)]
mod order {
    use super::*;
    use crate::{
        abstractions::{
            dma_fence::Interruptible,
            dma_resv::OwnResv, //
        },
        hw::page_table::{
            fake::TWO,
            Pte, //
        },
        vm::tables::Memory, //
    };
    use kernel::sync::atomic::{
        AtomicFlag,
        Relaxed, //
    };

    /// Number of entries that an engine writes.
    const MANY: u64 = 1 << 16;

    /// Page tables that count what is done to them.
    struct Counted {
        reaper: Arc<OwnedQueue>,
        written: Atomic<u32>,
        ended: Atomic<u32>,
        /// Fences of the parts of an engine's work, if there is one.
        engine: KVec<ARef<Fence>>,
        /// Set once nothing can be submitted any more.
        is_unplugged: AtomicFlag,
        /// What was written, three hexadecimal digits each: by whom (C, E), from which step on, and
        /// to before which step.
        log: Atomic<u64>,
    }

    impl Counted {
        fn note(&self, by: u64, part: &Range<usize>) {
            let note = by << 8 | (part.start << 4 | part.end) as u64;
            self.log.store(self.log.load(Relaxed) << 12 | note, Relaxed);
        }
    }

    impl PageTables for Counted {
        /// Number of parts that have begun.
        type Job = usize;

        fn prepare(&self, room: Room) -> Option<usize> {
            room.for_engine()?;
            (!self.engine.is_empty()).then_some(0)
        }

        fn start(&self, job: &mut usize, steps: &Steps, part: Range<usize>) -> Option<ARef<Fence>> {
            self.note(0xe, &part);
            assert_eq!(steps.runs(part.clone()).count(), part.len());
            let fence = self.engine.get(*job).cloned();
            *job += 1;
            fence.filter(|_| !self.is_unplugged.load(Relaxed))
        }

        fn write(&self, _steps: &Steps, part: Range<usize>) {
            if !part.is_empty() {
                self.note(0xc, &part);
            }
            self.written.fetch_add(1, Relaxed);
        }

        fn ended(&self) {
            self.ended.fetch_add(1, Relaxed);
        }

        fn reaper(&self) -> &Arc<OwnedQueue> {
            &self.reaper
        }
    }

    struct World {
        tables: Arc<Counted>,
        queue: Arc<OwnedQueue>,
        timeline: Arc<FenceWork<Timeline<Counted>>>,
        root: Pin<KBox<OwnResv>>,
    }

    impl Drop for World {
        fn drop(&mut self) {
            // Otherwise the last one to know the reaper may be its own worker.
            self.queue.flush();
            self.tables.reaper.flush();
        }
    }

    impl World {
        fn new() -> Result<Self> {
            Self::with_engine(&[])
        }

        /// Makes tables that an engine writes parts of, whose fences are these.
        fn with_engine(parts: &[&PendingFence<UpdateName>]) -> Result<Self> {
            let mut engine = KVec::with_capacity(parts.len(), GFP_KERNEL)?;
            for part in parts {
                engine.push(part.fence().clone(), GFP_KERNEL)?;
            }
            let queue = Arc::new(OwnedQueue::for_reclaim(c"test")?, GFP_KERNEL)?;
            let counted = Counted {
                reaper: Arc::new(OwnedQueue::new(c"test")?, GFP_KERNEL)?,
                written: Atomic::new(0),
                ended: Atomic::new(0),
                engine,
                is_unplugged: AtomicFlag::new(false),
                log: Atomic::new(0),
            };
            Ok(Self {
                tables: Arc::new(counted, GFP_KERNEL)?,
                timeline: Timeline::new(queue.clone())?,
                queue,
                root: KBox::pin_init(OwnResv::new(), GFP_KERNEL)?,
            })
        }

        /// Adds the fence of a job to the root.
        fn job(&self) -> Result<PendingFence<UpdateName>> {
            let memory = UniqueFence::new(GFP_KERNEL)?;
            let job = memory.publish(&FenceContext::new(), 1, UpdateName);
            let root = self.root.lock(Interruptible::No)?;
            root.held().reserve_fences(1)?;
            root.held().add_fence(job.fence(), Usage::Bookkeep);
            Ok(job)
        }

        /// Publishes an update, and returns its fence.
        fn update(&self, number: u64) -> Result<ARef<Fence>> {
            self.update_after(number, &[])
        }

        /// Publishes an update that only adds `entries` entries, and is: a clear, runs, a flush and
        /// a write.
        fn add(&self, number: u64, entries: u64) -> Result<ARef<Fence>> {
            self.add_some(number, &[entries])
        }

        /// Publishes an update that does the same once for each number of entries.
        fn add_some(&self, number: u64, entries: &[u64]) -> Result<ARef<Fence>> {
            let root = self.root.lock(Interruptible::No)?;
            let tables = self.tables.clone();
            let room = entries
                .iter()
                .map(|_| Room::to_write_runs(&TWO, 0..MANY, 1))
                .sum();
            let draft = Draft::new(tables, root.held(), 0, (After::Updates, &[]), room)?;
            let recording = draft.begin(&self.timeline, root.held(), number);
            let fence = recording.fence.fence().clone();
            let memory = recording.memory();
            for count in entries {
                memory.clear(0x1000, 1);
                memory.write_run(0x2000, Pte::from_raw(0x61), count / 2);
                memory.write_run(0x8000, Pte::from_raw(0x61), count / 2);
                memory.flush();
                memory.write(0x3000, &[1]);
            }
            Timeline::queue(&self.timeline, recording);
            Ok(fence)
        }

        /// Returns what was written so far.
        fn log(&self) -> u64 {
            self.queue.flush();
            self.tables.log.load(Relaxed)
        }

        /// Publishes an update that shows bytes which are there after `contents`.
        fn update_after(&self, number: u64, contents: &[ARef<Fence>]) -> Result<ARef<Fence>> {
            let root = self.root.lock(Interruptible::No)?;
            let tables = self.tables.clone();
            let draft = Draft::new(
                tables,
                root.held(),
                0,
                (After::Jobs, contents),
                Room::default(),
            )?;
            let recording = draft.begin(&self.timeline, root.held(), number);
            let fence = recording.fence.fence().clone();
            // It is waited for before it is queued.
            assert!(!self.root.is_idle(Usage::Bookkeep));
            Timeline::queue(&self.timeline, recording);
            Ok(fence)
        }

        /// Returns the numbers of updates that were written and that were dropped.
        fn counts(&self) -> (u32, u32) {
            self.queue.flush();
            self.tables.reaper.flush();
            let count = |atomic: &Atomic<u32>| atomic.load(Relaxed);
            (count(&self.tables.written), count(&self.tables.ended))
        }
    }

    #[test]
    fn an_update_comes_after_the_jobs_before_it() -> Result {
        let world = World::new()?;
        let (first, second) = (world.job()?, world.job()?);
        let update = world.update(3)?;
        let later = world.job()?;
        assert_eq!(world.counts(), (0, 0));
        assert!(world.timeline.is_behind() && world.timeline.pending().is_some());

        second.signal(Ok(()));
        assert_eq!(world.counts(), (0, 0));
        assert!(!update.is_signaled());
        // A job that fails has ended as well.
        first.signal(Err(EIO));
        assert_eq!(world.counts(), (1, 1));
        assert_eq!(update.status(), Some(Ok(())));
        assert_eq!(world.timeline.done(), 3);
        assert!(!world.timeline.is_behind() && world.timeline.pending().is_none());
        assert!(!world.root.is_idle(Usage::Bookkeep));
        drop(later);
        Ok(())
    }

    #[test]
    fn an_update_comes_after_the_bytes_that_it_shows() -> Result {
        let world = World::new()?;
        let copy = UniqueFence::new(GFP_KERNEL)?.publish(&FenceContext::new(), 1, UpdateName);
        let update = world.update_after(1, &[copy.fence().clone()])?;
        assert_eq!(world.counts(), (0, 0));
        copy.signal(Ok(()));
        assert_eq!(world.counts(), (1, 1));
        assert!(update.is_signaled());
        Ok(())
    }

    #[test]
    fn updates_end_in_order() -> Result {
        let world = World::new()?;
        let job = world.job()?;
        let updates = [world.update(1)?, world.update(2)?, world.update(5)?];
        assert_eq!(world.counts(), (0, 0));
        // Of one context a reservation keeps the newest only.
        let root = world.root.fences(Usage::Bookkeep).count();
        assert_eq!(root, 2);
        drop(job);
        assert_eq!(world.counts(), (3, 3));
        assert!(updates.iter().all(|update| update.is_signaled()));
        assert!(world.root.is_idle(Usage::Bookkeep));
        Ok(())
    }

    #[test]
    fn an_update_after_nothing_is_done_at_once() -> Result {
        let world = World::new()?;
        for number in 1..4 {
            world.update(number)?;
            assert_eq!(world.counts(), (number as u32, number as u32));
        }
        Ok(())
    }

    #[test]
    fn a_draft_can_be_dropped() -> Result {
        let world = World::new()?;
        let root = world.root.lock(Interruptible::No)?;
        let draft = Draft::new(
            world.tables.clone(),
            root.held(),
            0,
            (After::Jobs, &[]),
            Room::BORDERS,
        )?;
        assert!(draft.has_room_for(Room::BORDERS));
        assert!(!draft.has_room_for(Room::to_clear(&TWO, 0..1) + Room::BORDERS));
        drop(draft);
        assert!(world.root.is_idle(Usage::Bookkeep));
        Ok(())
    }

    /// Returns the fence of an engine's work.
    fn engine() -> Result<PendingFence<UpdateName>> {
        Ok(UniqueFence::new(GFP_KERNEL)?.publish(&FenceContext::new(), 1, UpdateName))
    }

    #[test]
    fn an_engine_writes_long_runs() -> Result {
        let work = engine()?;
        let world = World::with_engine(&[&work])?;
        // It comes before no job: what it adds, none uses.
        let job = world.job()?;
        let update = world.add(1, MANY)?;
        let later = world.add(2, 2)?;
        assert_eq!(world.log(), 0xc01_e13);
        assert!(!update.is_signaled() && world.timeline.is_behind());
        work.signal(Ok(()));
        // The second update has nothing for an engine.
        assert_eq!(world.log(), 0xc01_e13_c35_c05);
        assert!(update.is_signaled() && later.is_signaled());
        drop(job);
        Ok(())
    }

    #[test]
    fn what_an_engine_has_not_written_the_cpu_writes() -> Result {
        let work = engine()?;
        let world = World::with_engine(&[&work])?;
        let update = world.add(1, MANY)?;
        assert_eq!(world.log(), 0xc01_e13);
        work.signal(Err(ECANCELED));
        assert_eq!(world.log(), 0xc01_e13_c15);
        assert_eq!(update.status(), Some(Ok(())));

        // Nothing can be submitted any more.
        let work = engine()?;
        let world = World::with_engine(&[&work])?;
        world.tables.is_unplugged.store(true, Relaxed);
        let update = world.add(1, MANY)?;
        assert_eq!(world.log(), 0xc01_e13_c15);
        assert_eq!(update.status(), Some(Ok(())));
        Ok(())
    }

    #[test]
    fn an_engine_writes_each_long_stretch() -> Result {
        let (first, second) = (engine()?, engine()?);
        let world = World::with_engine(&[&first, &second])?;
        let update = world.add_some(1, &[MANY, MANY])?;
        assert_eq!(world.log(), 0xc01_e13);
        first.signal(Ok(()));
        // What is in between comes after the first, and before the second.
        assert_eq!(world.log(), 0xc01_e13_c36_e68);
        assert!(!update.is_signaled());
        second.signal(Ok(()));
        assert_eq!(world.log(), 0xc01_e13_c36_e68_c8a);
        assert!(update.is_signaled());

        // The CPU writes what is short.
        let work = engine()?;
        let world = World::with_engine(&[&work])?;
        world.add_some(1, &[2, MANY])?;
        assert_eq!(world.log(), 0xc06_e68);
        work.signal(Ok(()));
        assert_eq!(world.log(), 0xc06_e68_c8a);
        Ok(())
    }

    #[test]
    fn an_engine_that_failed_is_not_asked_again() -> Result {
        let (first, second) = (engine()?, engine()?);
        let world = World::with_engine(&[&first, &second])?;
        let update = world.add_some(1, &[MANY, MANY])?;
        assert_eq!(world.log(), 0xc01_e13);
        first.signal(Err(ECANCELED));
        assert_eq!(world.log(), 0xc01_e13_c1a);
        assert!(update.is_signaled());

        // The second part fails.
        let (first, second) = (engine()?, engine()?);
        let world = World::with_engine(&[&first, &second])?;
        let update = world.add_some(1, &[MANY, MANY])?;
        first.signal(Ok(()));
        assert_eq!(world.log(), 0xc01_e13_c36_e68);
        second.signal(Err(ECANCELED));
        assert_eq!(world.log(), 0xc01_e13_c36_e68_c6a);
        assert!(update.is_signaled());
        Ok(())
    }
}
