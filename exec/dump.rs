// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Dumps of hangs, and the news of them for user space (the C driver's `amdgpu_dev_coredump.c`).
//!
//! A dump is made in two steps. Before the recovery resets anything, [`Dumps::capture`] copies what
//! the reset will change, or what may be gone after it, to a [`Snapshot`], whose memory was
//! allocated when the driver was bound: reclaim may wait for the recovery. Then a work item, on
//! another queue, makes a text of it while the reset goes on, reads the command buffers (IBs) of
//! the guilty job, and hands the dump to the core (devcoredump). When the recovery has ended,
//! [`Dumps::tell`] has the same item tell user space (the wedged uevent), after the dump.
//!
//! # Memory of others
//!
//! IBs are read through the address space of the job that hangs: only what its own process has
//! mapped there. Of the memory of others there is nothing. Of their jobs there is what the kernel
//! itself has written to the rings: addresses and numbers.
//!
//! # Lock order
//!
//! `spare`, `full` and `news` are taken last. Nothing is allocated under them. Memory is allocated
//! under `herald`, which only the work item and the (un)binding of the driver take.

mod report;

use kernel::{
    device,
    impl_has_work,
    new_mutex,
    new_spinlock,
    new_work,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SpinLock, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use crate::{
    abstractions::{
        clock::real_seconds,
        devcoredump,
        drm::device::Remedy,
        task::TaskName,
        workqueue::OwnedQueue, //
    },
    debug::{
        report::Text,
        text::BoundedText, //
    },
    exec::{
        executor::Executor,
        ring::{
            Captured,
            Ring, //
        },
        vmid::{
            Occupancy,
            Tenant, //
        },
    },
    hw::{
        card::Card,
        command::RingId,
        decode::{
            packets,
            Call, //
        },
        layout::VramLayout,
        page_table::Walk,
        Chip,
        Fault, //
    },
};

/// Number of a job's IBs that a dump looks at, with those that they call.
const CALLS: usize = 16;
/// Number of page-table walks of a dump.
const WALKS: usize = 8;
/// Number of bytes for the values of registers.
const REGISTERS: usize = 8 << 10;

/// A channel by which user space learns that the card hung.
pub(crate) trait Herald: Send + Sync {
    /// Tells what is to be done, and which task is to blame. Sleeps.
    fn tell(&self, remedy: Remedy, task: Option<&TaskName>);
}

/// Events of a hang that user space is told of.
#[derive(Clone, Copy)]
struct News {
    remedy: Remedy,
    culprit: Option<TaskName>,
}

/// The oldest job of the ring that hangs.
struct Subject {
    ring: RingId,
    number: u64,
    tenant: Option<Tenant>,
    /// The last fault in its address space.
    fault: Option<Fault>,
    /// Its IBs.
    calls: KVec<Call>,
    /// Walks to its IBs, and to the fault.
    walks: KVec<Walk>,
}

/// State of a card that hangs.
struct Snapshot {
    /// Time of day, in seconds.
    time: i64,
    block: &'static str,
    rings: KVec<Captured>,
    contexts: KVec<(u8, Occupancy)>,
    registers: BoundedText,
    subject: Subject,
}

impl Snapshot {
    /// Allocates the memory for a snapshot of a card.
    fn new(hw: &Chip) -> Result<Self> {
        let mut rings = KVec::with_capacity(hw.rings.len(), GFP_KERNEL)?;
        for &ring in hw.rings {
            rings.push(Captured::new(ring)?, GFP_KERNEL)?;
        }
        Ok(Self {
            time: 0,
            block: "",
            rings,
            contexts: KVec::with_capacity(usize::from(hw.vmids), GFP_KERNEL)?,
            registers: BoundedText::new(REGISTERS)?,
            subject: Subject {
                ring: RingId::Gfx,
                number: 0,
                tenant: None,
                fault: None,
                calls: KVec::with_capacity(CALLS, GFP_KERNEL)?,
                walks: KVec::with_capacity(WALKS, GFP_KERNEL)?,
            },
        })
    }

    /// Drops what the snapshot knows of clients, and keeps its memory.
    fn clear(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.oldest = None);
        self.contexts.clear();
        self.registers.clear();
        self.subject.tenant = None;
        self.subject.calls.clear();
        self.subject.walks.clear();
    }

    /// Notes the commands of the job that `ring` hangs with.
    fn note_subject(&mut self, executor: &Executor, ring: &Ring) {
        let Some(captured) = self.rings.iter().find(|c| c.ring == ring.kind) else {
            return;
        };
        let subject = &mut self.subject;
        subject.ring = ring.kind;
        subject.number = captured.unfinished.start;
        let tenant = captured.oldest.as_ref().and_then(|o| o.tenant.as_ref());
        subject.tenant = tenant.cloned();
        subject.fault = tenant.and_then(|tenant| tenant.faults.last());
        let engine = executor.hw.engine(ring.kind.engine()).driver;
        let packets = packets(captured.commands(), |rest| engine.decode(rest));
        for call in packets.filter_map(|(_, packet)| packet.call) {
            let _ = subject.calls.push_within_capacity(call);
        }
    }

    /// Walks the page tables as the engine does: to the job's IBs, and to the last fault.
    fn walk(&mut self, card: &Card<'_>, hw: &Chip, vram: &VramLayout) {
        let subject = &mut self.subject;
        let Some(vmid) = subject.calls.first().map(|call| call.vmid) else {
            return;
        };
        let directory = hw.memory.directory(card, vmid);
        let read = |addr: u64| {
            let offset = addr.checked_sub(vram.start)?;
            let inside = offset % 8 == 0 && offset < card.vram().size();
            inside.then(|| card.vram().read64(offset))
        };
        let ibs = subject.calls.iter().map(|call| call.ib.va);
        let fault = subject.fault.map(|fault| fault.addr());
        let mut walk = |va| {
            let walk = Walk::new(hw.format, directory, va, read);
            let _ = subject.walks.push_within_capacity(walk);
        };
        fault.into_iter().for_each(&mut walk);
        ibs.for_each(walk);
    }
}

/// The dumps of a card.
#[pin_data]
pub(crate) struct Dumps {
    dev: ARef<device::Device>,
    hw: &'static Chip,
    vram: VramLayout,
    /// Description of the card, in lines.
    card: Text,
    /// Memory for the next snapshot. `None` while there is one that is not written yet.
    #[pin]
    spare: SpinLock<Option<KBox<Snapshot>>>,
    /// A snapshot of which a text is to be made.
    #[pin]
    full: SpinLock<Option<KBox<Snapshot>>>,
    /// Next event for user space.
    #[pin]
    news: SpinLock<Option<News>>,
    /// `None` while the card is not registered.
    #[pin]
    herald: Mutex<Option<KBox<dyn Herald>>>,
    #[pin]
    work: Work<Self>,
    queue: Arc<OwnedQueue>,
}

impl_has_work! {
    impl HasWork<Self> for Dumps { self.work }
}

impl WorkItem for Dumps {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.publish();
        this.spread();
    }
}

impl Dumps {
    /// Allocates the memory for the dumps of a card with this description. They are written on
    /// `queue`.
    pub(crate) fn new(
        dev: &device::Device,
        hw: &'static Chip,
        vram: VramLayout,
        card: Text,
        queue: Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        let spare = KBox::new(Snapshot::new(hw)?, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                dev: dev.into(),
                hw,
                vram,
                card,
                spare <- new_spinlock!(Some(spare), "Dumps::spare"),
                full <- new_spinlock!(None, "Dumps::full"),
                news <- new_spinlock!(None, "Dumps::news"),
                herald <- new_mutex!(None, "Dumps::herald"),
                work <- new_work!("Dumps::work"),
                queue,
            }),
            GFP_KERNEL,
        )
    }

    /// Sets who tells user space of hangs. Waits for what is being told.
    pub(crate) fn set_herald(&self, herald: Option<KBox<dyn Herald>>) {
        let before = core::mem::replace(&mut *self.herald.lock(), herald);
        drop(before);
    }

    /// Takes a snapshot of a card whose ring `hangs`. All schedulers are held, as banked registers
    /// are selected. Neither allocates nor sleeps for long.
    ///
    /// There is none if the last one was not written yet.
    pub(crate) fn capture(self: &Arc<Self>, card: &Card<'_>, executor: &Executor, hangs: &Ring) {
        let Some(mut snapshot) = self.spare.lock().take() else {
            return;
        };
        snapshot.time = real_seconds();
        snapshot.block = hangs.kind.block().name();
        for (captured, ring) in snapshot.rings.iter_mut().zip(&executor.rings) {
            ring.capture(captured);
        }
        for vmid in 0..self.hw.vmids {
            if let Some(occupancy) = executor.vmids.occupancy(vmid) {
                let _ = snapshot.contexts.push_within_capacity((vmid, occupancy));
            }
        }
        snapshot.note_subject(executor, hangs);
        snapshot.walk(card, self.hw, &self.vram);
        report::registers(&mut snapshot.registers, self.hw, card, hangs.kind);
        *self.full.lock() = Some(snapshot);
        let _ = self.queue.enqueue(self.clone());
    }

    /// Has user space told how a recovery has ended, after its dump.
    pub(crate) fn tell(self: &Arc<Self>, remedy: Remedy, culprit: Option<TaskName>) {
        *self.news.lock() = Some(News { remedy, culprit });
        let _ = self.queue.enqueue(self.clone());
    }

    /// Makes a text of the snapshot, if there is one, and hands it over.
    fn publish(&self) {
        let Some(mut snapshot) = self.full.lock().take() else {
            return;
        };
        if let Ok(mut text) = BoundedText::new(report::LENGTH) {
            report::write(&mut text, self.hw, self.card.as_str(), &snapshot);
            devcoredump::publish(&self.dev, text.into_bytes());
        }
        snapshot.clear();
        *self.spare.lock() = Some(snapshot);
    }

    /// Tells user space the news, if there are any.
    fn spread(&self) {
        let news = self.news.lock().take();
        let herald = self.herald.lock();
        if let (Some(news), Some(herald)) = (news, &*herald) {
            herald.tell(news.remedy, news.culprit.as_ref());
        }
    }
}

/// Returns the number of dwords that are left in the page of an address.
fn left_in_page(va: u64) -> usize {
    const PAGE: u32 = 4096;
    // CAST: Less than a page.
    let offset = (va % u64::from(PAGE)) as u32;
    u32_as_usize((PAGE - offset) / 4)
}
