// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The executor: everything that runs jobs on a card, and the watch over its rings.
//!
//! # When a job takes too long
//!
//! This is the job timeout (`amdgpu_job_timedout`). While a ring has jobs, [`WatchedRing::tick`]
//! looks at it every [`TICK`]. If the ring has finished jobs and their interrupt was lost, they end
//! well, and the loss is counted. If the first job has been there for longer than the ring's
//! [`Limits`] allow, however many others came after it, the ring hangs, and the [`Alarm`] is
//! raised: see `exec/recovery.rs`.
//!
//! If the recovery fails, the card is given up: all engines are stopped, so that they no longer
//! access memory, and only then do fences end, as those who wait for them will reuse that memory.
//! The fence of a guilty job ends with `ETIME`, all others and those of jobs to come with
//! `ECANCELED`. Unbinding the driver ends all unfinished jobs the same way, with `ENODEV`.

use kernel::{
    device,
    new_mutex,
    new_spinlock,
    num::casts::usize_as_u64,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic,
        Msecs, //
    }, //
};

use crate::{
    debug::stats::Stats,
    exec::{
        fence::Culprit,
        gang::Floor,
        ring::Ring,
        vmid::Vmids, //
    },
    hw::{
        card::CardHandle,
        command::{
            Block,
            EngineKind, //
        },
        Chip, //
    },
};

/// Time that a job may be the first on its ring, in ms, if no module parameter says otherwise.
const LIMIT: i64 = 2000;
/// Time between two looks at a ring that has jobs, in ms. A lost interrupt costs at most two of
/// these.
pub(super) const TICK: Msecs = 200;

/// Times that a job may be the first on its ring, in ms, for each kind of engine. `None`: any time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) gfx: Option<i64>,
    pub(crate) compute: Option<i64>,
    pub(crate) sdma: Option<i64>,
}

impl Limits {
    /// Returns the limit for a value of a module parameter: 0 stands for the default, and a
    /// negative number for no limit.
    pub(crate) fn from_parameter(value: i32) -> Option<i64> {
        match value {
            ..0 => None,
            0 => Some(LIMIT),
            _ => Some(value.into()),
        }
    }

    fn of(&self, engine: EngineKind) -> Option<i64> {
        match engine {
            EngineKind::Gfx => self.gfx,
            EngineKind::Compute => self.compute,
            EngineKind::Sdma => self.sdma,
        }
    }

    /// Returns true if the oldest job of a ring has been the oldest for too long.
    pub(crate) fn is_over(&self, ring: &Ring) -> bool {
        let limit = self.of(ring.kind.engine());
        limit.is_some_and(|limit| ring.timeline.age() >= limit)
    }
}

/// The receiver of reports of rings that hang.
pub(crate) trait Alarm: Send + Sync {
    /// Has the rings looked at. Neither sleeps nor allocates.
    fn raise(self: Arc<Self>);
}

/// The ring on which a scheduler's jobs run, and its watch.
pub(crate) struct WatchedRing {
    pub(super) executor: Arc<Executor>,
    pub(super) ring: Arc<Ring>,
    watch: Watch,
}

/// Time of the last look at a ring.
struct Watch {
    start: Instant<Monotonic>,
    /// Time of the last look at the ring, in ms from `start`.
    looked: Atomic<i64>,
}

impl Watch {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            looked: Atomic::new(0),
        }
    }

    fn now(&self) -> i64 {
        self.start.elapsed().as_millis()
    }

    fn look(&self) {
        self.looked.store(self.now(), Relaxed);
    }

    /// Returns true if the last look is at least [`TICK`] ago.
    fn is_due(&self) -> bool {
        self.now() - self.looked.load(Relaxed) >= TICK.into()
    }
}

impl WatchedRing {
    pub(super) fn new(executor: Arc<Executor>, ring: Arc<Ring>) -> Self {
        Self {
            executor,
            ring,
            watch: Watch::new(),
        }
    }

    /// Returns the block of the ring.
    pub(crate) fn block(&self) -> Block {
        self.ring.kind.block()
    }

    /// Called every [`TICK`] while the ring has jobs and no new ones arrive.
    pub(super) fn tick(&self) {
        self.look();
        if self.executor.limits.is_over(&self.ring) {
            self.executor.raise_alarm();
        }
    }

    /// Does what [`WatchedRing::tick`] does, because each new job postpones the tick.
    pub(super) fn tick_if_due(&self) {
        if self.watch.is_due() {
            self.tick();
        }
    }

    /// Looks for lost interrupts.
    fn look(&self) {
        self.watch.look();
        let lost = self.ring.look();
        if lost == 0 {
            return;
        }
        let executor = &*self.executor;
        executor.stats.lost_interrupts.add(usize_as_u64(lost));
        if !executor.said_lost.xchg(true, Relaxed) {
            let name = self.ring.kind.name();
            dev_warn!(
                executor.dev,
                "ring {name}: a job was done, but no interrupt said so; not said again\n"
            );
        }
    }
}

/// Everything that runs jobs on a card.
#[pin_data]
pub(crate) struct Executor {
    pub(crate) dev: ARef<device::Device>,
    pub(crate) hw: &'static Chip,
    pub(crate) card: CardHandle,
    pub(crate) rings: KVec<Arc<Ring>>,
    pub(super) vmids: Arc<Vmids>,
    pub(super) stats: Arc<Stats>,
    /// Floor that a gang must have to go onto its rings.
    #[pin]
    pub(super) floor: Floor,
    pub(crate) limits: Limits,
    /// Set while a block, or the card, is reset.
    pub(crate) recovering: AtomicFlag,
    /// Number of resets so far, of a block or more.
    pub(crate) resets: Atomic<u64>,
    /// Number of recoveries so far, of which some reset nothing but the job that hung.
    pub(crate) recoveries: Atomic<u64>,
    /// Number of resets so far that have lost what is in VRAM. Page tables, jobs and contexts from
    /// before the last one are of no use. Changed while no job runs.
    pub(crate) vram_losses: Atomic<u64>,
    /// The one that recovers rings that hang. `None` while the driver is not bound.
    #[pin]
    alarm: SpinLock<Option<Arc<dyn Alarm>>>,
    /// Held while the card is given up: by its recovery, or because it is unbound.
    #[pin]
    giving_up: Mutex<()>,
    given_up: AtomicFlag,
    /// Set when the first lost interrupt was logged; later ones would say the same.
    said_lost: AtomicFlag,
}

impl Executor {
    /// Creates what runs jobs on `rings`, which are all rings of a card, by index.
    pub(super) fn new(
        dev: &device::Device,
        hw: &'static Chip,
        card: CardHandle,
        rings: KVec<Arc<Ring>>,
        stats: Arc<Stats>,
        limits: Limits,
    ) -> Result<Arc<Self>> {
        let vmids = Arc::pin_init(Vmids::new(hw.vmids), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                hw,
                card,
                rings,
                vmids,
                stats,
                floor <- Floor::new(),
                limits,
                recovering: AtomicFlag::new(false),
                resets: Atomic::new(0),
                recoveries: Atomic::new(0),
                vram_losses: Atomic::new(0),
                alarm <- new_spinlock!(None, "Executor::alarm"),
                giving_up <- new_mutex!(()),
                given_up: AtomicFlag::new(false),
                said_lost: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the rings that get jobs. Of one that failed its test nothing is expected.
    pub(super) fn working_rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        self.rings.iter().filter(|ring| !ring.is_left_out())
    }

    /// Sets who is told of rings that hang.
    pub(crate) fn set_alarm(&self, alarm: Option<Arc<dyn Alarm>>) {
        let before = core::mem::replace(&mut *self.alarm.lock(), alarm);
        drop(before);
    }

    /// Tells whoever recovers rings, if anybody does.
    pub(super) fn raise_alarm(&self) {
        let alarm = self.alarm.lock().clone();
        if let Some(alarm) = alarm {
            alarm.raise();
        }
    }

    /// Returns an error if VRAM was lost again since a job was submitted by somebody who knew of so
    /// many losses: its page tables may be lost, and what it relies on.
    pub(super) fn check_losses(&self, losses: Option<u64>) -> Result {
        match losses {
            Some(losses) if losses != self.vram_losses.load(Relaxed) => Err(ECANCELED),
            _ => Ok(()),
        }
    }

    /// Returns true if the card hung beyond repair, so that no job runs any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// Stops the card, and then ends all jobs on its rings and all later ones. `accused` has the
    /// bits of the rings that hang.
    pub(crate) fn give_up(&self, accused: u32, error: Error) {
        let _giving_up = self.giving_up.lock();
        self.given_up.store(true, Relaxed);
        // If the driver is unbound, the card was stopped earlier.
        if let Some(card) = self.card.try_access() {
            if self.hw.quiesce(&card).is_err() {
                dev_err!(self.dev, "the engines do not stop\n");
            }
        }
        for ring in &self.rings {
            let begun = ring.begun_seq();
            let culprit = (accused & ring.bit() != 0).then_some(Culprit { begun });
            ring.timeline.abort(culprit, error);
        }
    }
}
