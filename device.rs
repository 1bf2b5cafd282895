// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's view of one GPU: the C driver's `struct amdgpu_device`.
//!
//! A [`Device`] lives as long as user space has it open, which may be longer than the driver is
//! bound to it. So everything that touches the card goes through [`CardHandle`] and through buffers
//! that are gone after unbinding.

use core::fmt::Write;

use kernel::{
    device::{
        self,
        Bound, //
    },
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    }, //
};

use crate::{
    abstractions::{
        pci::Link,
        workqueue::OwnedQueue, //
    },
    debug::{
        report::{
            Report,
            Text, //
        },
        stats::Stats, //
    },
    exec::{
        dump::Dumps,
        executor::Limits,
        gart::{
            Gart,
            KernelBuffer, //
        },
        heat::Heat,
        interrupt_ring::InterruptMemory,
        job::Schedulers,
        kernel_queue::KernelQueue,
        recovery::Recovery,
        ring::{
            Ring,
            Writeback, //
        },
        unmapped::UnmappedReads, //
    },
    hw::{
        card::{
            Card,
            CardGuard,
            CardHandle, //
        },
        command::{
            EngineKind,
            RingId,
            RingMemory,
            Sink, //
        },
        firmware,
        layout::{
            GartLayout,
            VramLayout, //
        },
        vbios::Vbios,
        BringUp,
        Chip,
        GraphicsInfo,
        InterruptRing,
        MemoryInfo,
        Revision,
        Rings,
        Translation, //
    },
};

/// Facts about the card that bring-up learned and that never change.
pub(crate) struct Facts {
    pub(crate) pci: PciIds,
    /// Link to the card, as the firmware has trained it: the driver changes neither speed nor
    /// width.
    pub(crate) link: Link,
    pub(crate) revision: Revision,
    pub(crate) vbios: Vbios,
    pub(crate) firmware: firmware::Versions,
    pub(crate) vram: VramLayout,
    pub(crate) gart: GartLayout,
    pub(crate) memory: MemoryInfo,
    pub(crate) graphics: GraphicsInfo,
}

impl Facts {
    /// Describes the card in lines, for a dump.
    fn describe(&self, hw: &Chip) -> Result<Text> {
        let mut text = Text::new();
        self.write_to(&mut text, hw).map_err(|_| ENOMEM)?;
        Ok(text)
    }

    fn write_to(&self, text: &mut Text, hw: &Chip) -> core::fmt::Result {
        let Revision { internal, external } = self.revision;
        text.write_fmt(fmt!("chip: {} revision {internal} ({external})\n", hw.name))?;
        let PciIds { device, revision } = self.pci;
        text.write_fmt(fmt!("pci: 1002:{device:04x} revision {revision:#04x}\n"))?;
        let (size, visible) = (self.vram.size >> 20, self.vram.visible >> 20);
        let start = self.vram.start;
        text.write_fmt(fmt!(
            "vram: {size} MiB at {start:#x}, {visible} MiB visible\n"
        ))?;
        for (name, version) in self.firmware.all() {
            let firmware::Version { version, feature } = version;
            text.write_fmt(fmt!("firmware {name}: {version:#x}, feature {feature}\n"))?;
        }
        Ok(())
    }
}

/// The card's identity on the PCI bus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PciIds {
    pub(crate) device: u16,
    pub(crate) revision: u8,
}

/// One GPU.
#[pin_data]
pub(crate) struct Device {
    /// Kernel device, for messages.
    pub(crate) dev: ARef<device::Device>,
    pub(crate) hw: &'static Chip,
    pub(crate) facts: Facts,
    pub(crate) card: CardHandle,
    pub(crate) gart: Gart,
    /// Page that receives accesses that no page table allows.
    dummy_page: KernelBuffer,
    #[pin]
    pub(crate) interrupt_memory: InterruptMemory,
    /// Scratch memory of the engines.
    scratch: KernelBuffer,
    rings: KVec<Arc<Ring>>,
    /// Memory of tests that an engine may still reach.
    #[pin]
    abandoned: Mutex<KVec<KernelBuffer>>,
    /// Counters for debugfs.
    pub(crate) stats: Arc<Stats>,
    /// Work queue that drops jobs and updates. Its items take locks, but wait for no job.
    pub(crate) reaper: Arc<OwnedQueue>,
    /// Work queue that tears down files whose jobs have to be waited for.
    pub(crate) closing: Arc<OwnedQueue>,
    /// Work queue on which page tables are updated.
    pub(crate) updates: Arc<OwnedQueue>,
    /// Microcode of the engines, which lose theirs when they are reset.
    pub(crate) firmware: firmware::Files,
    /// Schedulers, which feed the rings with jobs.
    pub(crate) schedulers: Schedulers,
    /// Recovery of rings that hang.
    pub(crate) recovery: Arc<Recovery>,
    /// Watch over the card's temperature.
    #[pin]
    pub(crate) heat: Heat,
    /// Setting of what shaders get where nothing is mapped.
    #[pin]
    pub(crate) unmapped: UnmappedReads,
    /// Queue of the kernel's own jobs for DMA engines.
    #[pin]
    pub(crate) kernel_queue: KernelQueue,
}

impl Device {
    /// Creates the device and everything that it shares with the card. Nothing is started yet. Jobs
    /// are dropped on `queues.reaper`, page tables updated on `queues.updates`, and rings that hang
    /// recovered on `queues.recovery`.
    pub(crate) fn new<'a>(
        parent: &'a device::Device<Bound>,
        hw: &'static Chip,
        facts: Facts,
        card: CardHandle,
        firmware: firmware::Files,
        limits: Limits,
        queues: Queues,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            dev: parent.into(),
            hw,
            gart: Gart::new(
                card.clone(),
                parent,
                (hw.memory, hw.format),
                facts.gart,
                &facts.vram,
            )?,
            facts,
            dummy_page: KernelBuffer::new(parent, gart, size_of::<u32>())?,
            interrupt_memory <- InterruptMemory::new(parent, gart),
            scratch: KernelBuffer::new(parent, gart, hw.scratch)?,
            rings: make_rings(parent, hw, &card, gart)?,
            abandoned <- new_mutex!(KVec::new(), "Device::abandoned"),
            stats: Arc::new(Stats::new(), GFP_KERNEL)?,
            schedulers: Schedulers::new(
                parent,
                hw,
                card.clone(),
                fed_by_schedulers(rings)?,
                stats.clone(),
                limits,
                &queues.reaper,
            )?,
            firmware,
            recovery: {
                let executor = schedulers.executor().clone();
                let schedulers = schedulers.of(|_| true)?;
                let card = facts.describe(hw)?;
                let dumps = Dumps::new(parent, hw, facts.vram, card, queues.reaper.clone())?;
                Recovery::new(executor, schedulers, dumps, queues.recovery)?
            },
            reaper: queues.reaper,
            closing: queues.closing,
            updates: queues.updates,
            heat <- Heat::new(parent, hw, card.clone()),
            unmapped <- UnmappedReads::new(parent, hw.memory, card.clone()),
            kernel_queue <- KernelQueue::new(),
            card,
        })
    }

    /// Returns the inputs of bring-up.
    pub(crate) fn bring_up<'a>(&'a self, card: &'a Card<'a>) -> BringUp<'a> {
        let dummy_page = self.dummy_page.dma_address();
        BringUp {
            card,
            firmware: &self.firmware,
            graphics: &self.facts.graphics,
            translation: Translation {
                vram: self.facts.vram,
                gart: self.facts.gart,
                dummy_page,
            },
            interrupts: InterruptRing {
                base: self.interrupt_memory.ring(),
                write_pointer: self.interrupt_memory.write_pointer(),
                dummy_page,
            },
            rings: self,
            scratch: &self.scratch,
        }
    }

    /// Enables address translation, for the table that the GART has in VRAM.
    pub(crate) fn begin_translation(&self, card: &Card<'_>) {
        let translation = &self.bring_up(card).translation;
        self.hw.memory.enable_translation(card, translation);
        self.unmapped.restore(card);
        self.gart.begin_translation();
    }

    /// Starts interrupts and all engines, whose rings are empty. Does not check that they work.
    pub(crate) fn start_engines(&self, card: &Card<'_>) -> Result {
        let hw = self.hw;
        let up = &self.bring_up(card);
        self.interrupt_memory.begin();
        hw.interrupts.start(card, &up.interrupts);
        for &block in hw.blocks {
            hw.start(up, block)?;
        }
        hw.interrupts.enable_sources(card);
        Ok(())
    }

    /// Returns the card, unless the driver is unbound. The caller must not sleep while holding it.
    pub(crate) fn card(&self) -> Option<CardGuard<'_>> {
        self.card.try_access()
    }

    /// Returns the ring with this ID, if the chip has it.
    pub(crate) fn ring(&self, id: RingId) -> Option<&Ring> {
        self.rings().find(|ring| ring.kind == id)
    }

    /// Tests all rings, and leaves out those that fail: they get no jobs.
    ///
    /// # Errors
    ///
    /// Returns `ENODEV` if no DMA engine works, as the kernel's own jobs need one.
    pub(crate) fn test_rings(&self, card: &Card<'_>, report: &Report) -> Result {
        for ring in self.rings() {
            self.test_ring(card, ring, report);
        }
        if self.working_rings(EngineKind::Sdma) == 0 {
            dev_err!(self.dev, "no DMA engine works\n");
            return Err(ENODEV);
        }
        self.kernel_queue.open(&self.schedulers)
    }

    /// Tests a ring, and reports each step's result. Of one that fails, reports the registers too.
    fn test_ring(&self, card: &Card<'_>, ring: &Ring, report: &Report) {
        let name = ring.kind.name();
        let tested = ring.test(&self.dev);
        let word = |passed| if passed { "ok" } else { "failed" };
        report.say(fmt!("ring.{name}.write"), fmt!("{}", word(tested.write)));
        report.say(fmt!("ring.{name}.fence"), fmt!("{}", word(tested.fence)));
        report.say(
            fmt!("ring.{name}.interrupt"),
            fmt!("{}", word(tested.interrupt)),
        );
        if !ring.is_left_out() {
            return;
        }
        dev_err!(self.dev, "ring {name} is left out\n");
        let mut say = |register: fmt::Arguments<'_>, value: fmt::Arguments<'_>| {
            report.say(fmt!("ring.{name}.{register}"), value);
        };
        self.hw.system.survey_stuck(card, ring.kind, &mut say);
    }

    /// Keeps memory that an engine may still reach, until the device is gone.
    pub(crate) fn abandon(&self, memory: KernelBuffer) {
        let mut abandoned = self.abandoned.lock();
        match abandoned.reserve(1, GFP_KERNEL) {
            Ok(()) => {
                let _ = abandoned.push_within_capacity(memory);
            }
            // Better lost than given to somebody else.
            Err(_) => core::mem::forget(memory),
        }
    }

    /// Returns the number of rings of a kind of engine that were not left out.
    pub(crate) fn working_rings(&self, kind: EngineKind) -> usize {
        self.rings()
            .filter(|ring| ring.kind.engine() == kind && !ring.is_left_out())
            .count()
    }

    /// Returns all rings, in the order of [`Chip::rings`].
    pub(crate) fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter().map(|ring| &**ring)
    }
}

/// Work queues of the module that a device uses.
#[derive(Clone)]
pub(crate) struct Queues {
    /// Queue on which jobs are dropped.
    pub(crate) reaper: Arc<OwnedQueue>,
    /// Queue on which files are torn down, each of which may take some time. A work queue runs a
    /// limited number of items at a time, so nothing else is to wait behind these.
    pub(crate) closing: Arc<OwnedQueue>,
    /// Queue on which page tables are updated.
    pub(crate) updates: Arc<OwnedQueue>,
    /// Ordered queue on which rings that hang are recovered.
    pub(crate) recovery: Arc<OwnedQueue>,
}

impl Rings for Device {
    fn memory(&self, ring: RingId) -> Result<RingMemory> {
        Ok(self.ring(ring).ok_or(ENODEV)?.memory())
    }

    fn emit(&self, ring: RingId, commands: &dyn Fn(&mut dyn Sink)) -> Result {
        self.ring(ring).ok_or(ENODEV)?.emit(|out| commands(out));
        Ok(())
    }
}

fn make_rings(
    dev: &device::Device<Bound>,
    hw: &'static Chip,
    card: &CardHandle,
    gart: &Gart,
) -> Result<KVec<Arc<Ring>>> {
    let writeback = Arc::new(Writeback::new(dev, gart)?, GFP_KERNEL)?;
    let mut rings = KVec::with_capacity(hw.rings.len(), GFP_KERNEL)?;
    for id in hw.rings {
        let ring = Ring::new(*id, hw, card.clone(), dev, gart, writeback.clone());
        rings.push(Arc::pin_init(ring, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(rings)
}

/// Returns the rings in the form that the schedulers take.
fn fed_by_schedulers(rings: &[Arc<Ring>]) -> Result<KVec<Arc<Ring>>> {
    let mut fed = KVec::with_capacity(rings.len(), GFP_KERNEL)?;
    for ring in rings {
        fed.push(ring.clone(), GFP_KERNEL)?;
    }
    Ok(fed)
}
