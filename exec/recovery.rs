// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Recovery of a card whose engines hang (the C driver's `amdgpu_device_gpu_recover`).
//!
//! A ring hangs if its oldest job has been the oldest for longer than the ring's limit allows,
//! or if its engine has said that it met an illegal command. Then the block of the ring is
//! reset, and all others go on. If that does not help, the whole card is reset. [`super::reset`]
//! says how.
//!
//! # Locks
//!
//! Recoveries of a card, and its unbinding, exclude each other by the [`BoundSlot`]. Reclaim may
//! wait for the fences that a recovery leads to: nothing is allocated, and no reservation is taken.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use crate::{
    abstractions::{
        bound::BoundSlot,
        dma_fence::SignalingSection,
        drm::{
            device::Remedy,
            sched::Scheduler, //
        },
        workqueue::OwnedQueue, //
    },
    debug::pace::Pace,
    exec::{
        dump::Dumps,
        executor::{
            Alarm,
            Executor, //
        },
        job::Job,
        level::Level,
        reset::{
            Accused,
            Reset,
            Restart, //
        },
        ring::Ring,
        verdict::is_guilty, //
    }, //
};

/// Time in which a ring on which an illegal command was met may still show that it goes on.
const DOUBT: Delta = Delta::from_millis(10);

/// The recovery of a card.
#[pin_data]
pub(crate) struct Recovery {
    executor: Arc<Executor>,
    schedulers: KVec<Arc<Scheduler<Job>>>,
    pub(crate) dumps: Arc<Dumps>,
    /// Set if all blocks are to be reset, whether they hang or not.
    wanted: AtomicFlag,
    /// Pace at which resets are logged: an illegal command brings one about at once.
    #[pin]
    pace: Pace,
    #[pin]
    bound: BoundSlot<Arc<dyn Restart>>,
    #[pin]
    work: Work<Self>,
    queue: Arc<OwnedQueue>,
}

impl_has_work! {
    impl HasWork<Self> for Recovery { self.work }
}

impl WorkItem for Recovery {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _section = SignalingSection::begin();
        this.bound.with(|dev, restart| this.look(dev, &**restart));
    }
}

impl Alarm for Recovery {
    fn raise(self: Arc<Self>) {
        let queue = self.queue.clone();
        // If it is queued already, it will see what there is to see.
        let _ = queue.enqueue(self);
    }
}

impl Recovery {
    /// Creates the recovery of a card, which runs on `queue`: an ordered queue for reclaim.
    pub(crate) fn new(
        executor: Arc<Executor>,
        schedulers: KVec<Arc<Scheduler<Job>>>,
        dumps: Arc<Dumps>,
        queue: Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                executor,
                schedulers,
                dumps,
                wanted: AtomicFlag::new(false),
                pace <- Pace::new(),
                bound <- BoundSlot::new(),
                work <- new_work!("Recovery::work"),
                queue,
            }),
            GFP_KERNEL,
        )
    }

    /// Has rings that hang recovered from now on.
    ///
    /// # Safety
    ///
    /// The caller must call [`Recovery::end`] before `dev` is unbound.
    pub(crate) unsafe fn begin(self: &Arc<Self>, dev: &Device<Bound>, restart: Arc<dyn Restart>) {
        // SAFETY: By the function's requirement, as `end` empties it.
        unsafe { self.bound.fill(dev, restart) };
        self.executor.set_alarm(Some(self.clone()));
    }

    /// Ends what [`Recovery::begin`] began. Waits for a recovery that is under way.
    pub(crate) fn end(&self) {
        self.executor.set_alarm(None);
        self.bound.empty();
    }

    /// Has all blocks reset, and waits for it. Jobs that are in the middle of something get some
    /// time to finish it.
    ///
    /// # Errors
    ///
    /// Returns `ECANCELED` if the card was given up.
    pub(crate) fn recover_all(self: &Arc<Self>) -> Result {
        self.wanted.store(true, Relaxed);
        self.clone().raise();
        self.queue.flush();
        if self.executor.is_given_up() {
            return Err(ECANCELED);
        }
        Ok(())
    }

    /// Gives the card up, for which no job is to blame, and tells user space. Jobs end with
    /// `error`.
    pub(crate) fn give_up(&self, error: Error) {
        self.executor.give_up(0, error);
        self.dumps.tell(Remedy::Rebind, None);
    }

    fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.executor.working_rings()
    }

    /// Recovers the blocks that have a ring that hangs.
    fn look(&self, dev: &Device<Bound>, restart: &dyn Restart) {
        let executor = &*self.executor;
        let Ok(card) = executor.card.access(dev) else {
            return;
        };
        let wanted = self.wanted.xchg(false, Relaxed);
        let accused = self.accused();
        for &block in executor.hw.blocks {
            let guilty = |ring: &Arc<Ring>| ring.kind.block() == block && accused.has(ring);
            if executor.is_given_up() || !(wanted || self.rings().any(guilty)) {
                continue;
            }
            let reset = Reset {
                executor,
                schedulers: &self.schedulers,
                dumps: &self.dumps,
                card,
                restart,
                block,
                accused,
                pace: &self.pace,
            };
            if reset.run() == Ok(Level::Full) {
                // That took all blocks along.
                return;
            }
        }
    }

    /// Returns the rings that hang.
    fn accused(&self) -> Accused {
        let mut accused = Accused::default();
        for ring in self.rings() {
            // Nobody may have looked since the last job ended.
            ring.process();
            if self.executor.limits.is_over(ring) {
                accused.add(ring);
            }
        }
        let mut suspects = Accused::default();
        for ring in self.rings().filter(|ring| ring.take_suspicion()) {
            suspects.add(ring);
        }
        if suspects.is_any() {
            fsleep(DOUBT);
        }
        for ring in self.rings().filter(|ring| suspects.has(ring)) {
            ring.process();
            if ring.head().is_some_and(|head| is_guilty(head, true)) {
                accused.add_stuck(ring);
            }
        }
        accused
    }
}
