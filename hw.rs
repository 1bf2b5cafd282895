// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the driver asks of the hardware, and which generation of it answers.
//!
//! Each trait is one noun of the card. A generation is a set of implementations, chosen once, at
//! probe ([`ChipId::chip`]); from then on nobody asks what the card is.

pub(crate) mod card;
pub(crate) mod command;
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) mod fake;
pub(crate) mod firmware;
pub(crate) mod gfx7;
pub(crate) mod layout;
pub(crate) mod page_table;
pub(crate) mod vbios;

use kernel::{
    device,
    dma::{
        DmaAddress,
        DmaMask, //
    },
    prelude::*, //
};

use self::{
    card::Card,
    command::{
        Commands,
        EngineKind,
        FenceValue,
        FenceWrite,
        Fill,
        Ib,
        Interrupt,
        RingId,
        RingMemory,
        Sink,
        Submission,
        VmState, //
    },
    layout::{
        GartLayout,
        VramLayout, //
    },
};

/// A model of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChipId {
    Bonaire,
    Hawaii,
}

impl ChipId {
    /// Its operations and facts, or `None` while there are none.
    pub(crate) fn chip(self) -> Option<&'static Chip> {
        match self {
            Self::Bonaire => Some(&gfx7::BONAIRE),
            Self::Hawaii => None,
        }
    }
}

/// The operations and facts of one chip.
pub(crate) struct Chip {
    pub(crate) firmware: firmware::Names,
    pub(crate) system: &'static dyn System,
    pub(crate) memory: &'static dyn MemoryController,
    pub(crate) interrupts: &'static dyn InterruptController,
    pub(crate) graphics: &'static dyn Graphics,
    /// All of its rings.
    pub(crate) rings: &'static [RingId],
    pub(crate) gfx: EngineFacts,
    pub(crate) compute: EngineFacts,
    pub(crate) sdma: EngineFacts,
    /// Bytes of memory that the engines want to have for themselves.
    pub(crate) scratch: usize,
    /// Number of its contexts for address spaces, that of the kernel included.
    pub(crate) vmids: u8,
    /// Width of the bus addresses that it can use.
    pub(crate) dma_mask: DmaMask,
    /// `AMDGPU_FAMILY_*`.
    pub(crate) family: u32,
    /// The link that the chip is made for.
    pub(crate) link: Link,
    /// Lanes of a wave front.
    pub(crate) wave_size: u32,
    /// Bytes of the constant engine's memory.
    pub(crate) constant_ram: u32,
}

/// Facts of one kind of engine, and what drives it.
pub(crate) struct EngineFacts {
    pub(crate) driver: &'static dyn Engine,
    /// Major and minor version, as user space knows them.
    pub(crate) version: (u32, u32),
    /// Of what the address and the size in bytes of a command buffer must be multiples.
    pub(crate) ib_alignment: u32,
    pub(crate) ib_size_alignment: u32,
}

/// A PCI Express link.
pub(crate) struct Link {
    pub(crate) generation: u32,
    pub(crate) lanes: u32,
}

impl Chip {
    /// A kind of engine.
    pub(crate) fn engine(&self, kind: EngineKind) -> &EngineFacts {
        match kind {
            EngineKind::Gfx => &self.gfx,
            EngineKind::Compute => &self.compute,
            EngineKind::Sdma => &self.sdma,
        }
    }

    /// Number of the rings of a kind of engine.
    pub(crate) fn ring_count(&self, kind: EngineKind) -> usize {
        let of_kind = |ring: &&RingId| ring.engine() == kind;
        self.rings.iter().filter(of_kind).count()
    }

    /// Stops every engine and every interrupt, so that the card touches no memory any more.
    ///
    /// To halt an engine keeps it from beginning anything. What it has begun goes on, as do
    /// shaders, until the engines are idle; they are reset if they do not get there. Then the card
    /// loses the right to reach the memory of the system, and translation, without which addresses
    /// mean anything.
    ///
    /// May be called in any state of the card; does not sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the engines are busy even so: then they may still write to VRAM.
    pub(crate) fn quiesce(&self, card: &Card<'_>) -> Result {
        for engine in [&self.sdma, &self.compute, &self.gfx] {
            engine.driver.halt(card);
        }
        let idle = self.system.wait_idle(card).or_else(|_| {
            self.system.reset_engines(card);
            self.system.wait_idle(card)
        });
        self.interrupts.stop(card);
        card.end_bus_mastering();
        self.memory.disable_translation(card);
        idle
    }
}

/// What bring-up works with. Addresses are the GPU's own (context 0), but for those of the bus.
pub(crate) struct BringUp<'a> {
    pub(crate) card: &'a Card<'a>,
    pub(crate) firmware: &'a firmware::Files,
    pub(crate) graphics: &'a GraphicsInfo,
    pub(crate) translation: Translation,
    pub(crate) interrupts: InterruptRing,
    pub(crate) rings: &'a dyn Rings,
    /// Address of the memory that [`Chip::scratch`] asks for.
    pub(crate) scratch: u64,
}

/// What address translation is set up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translation {
    pub(crate) vram: VramLayout,
    pub(crate) gart: GartLayout,
    /// Bus address of the page to which accesses go that no page table allows.
    pub(crate) dummy_page: DmaAddress,
}

/// Where the interrupt ring is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterruptRing {
    pub(crate) base: u64,
    /// Where the card writes how far it has written.
    pub(crate) write_pointer: u64,
    /// Bus address of a page that the card may read at any time.
    pub(crate) dummy_page: DmaAddress,
}

impl InterruptRing {
    /// Its size in bytes, a power of two.
    pub(crate) const SIZE: u32 = 64 << 10;
}

/// The rings, for those who set up the engines behind them. `ENODEV` for one that there is not.
pub(crate) trait Rings {
    /// Where a ring and its write-back slots are.
    fn memory(&self, ring: RingId) -> Result<RingMemory>;

    /// Has the ring's engine execute commands that have no fence.
    fn emit(&self, ring: RingId, commands: &dyn Fn(&mut dyn Sink)) -> Result;
}

/// The chip as a whole.
pub(crate) trait System: Sync {
    /// Whether the card answers at all.
    fn responds(&self, card: &Card<'_>) -> bool;

    /// Whether the system firmware has made the card ready.
    fn is_posted(&self, card: &Card<'_>) -> bool;

    /// Which revision of the chip it is.
    fn revision(&self, card: &Card<'_>) -> Revision;

    /// Sets what AMD found by measurement to be right for the chip.
    fn program_golden_registers(&self, card: &Card<'_>);

    /// Waits until the engines, which were halted, have ended what they had begun, for some
    /// milliseconds. Does not sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if they have not.
    fn wait_idle(&self, card: &Card<'_>) -> Result;

    /// Ends what the engines, which were halted, are doing. They have to be started anew. Does not
    /// sleep.
    fn reset_engines(&self, card: &Card<'_>);

    /// Lets blocks that have nothing to do stop their clocks, or no longer. For a card whose
    /// engines run, and are idle.
    fn gate_clocks(&self, card: &Card<'_>, gating: ClockGating);
}

/// Whether blocks that have nothing to do stop their clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockGating {
    On,
    Off,
}

/// Revision of a chip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revision {
    /// As the chip says.
    pub(crate) internal: u32,
    /// As user space knows it, unique within the family.
    pub(crate) external: u32,
}

/// The memory controller: where memory lies in the GPU's address space, and its caches.
pub(crate) trait MemoryController: Sync {
    /// Reads where VRAM is, and decides where the kernel's own memory goes.
    fn layout(&self, card: &Card<'_>, dev: &device::Device) -> Result<(VramLayout, GartLayout)>;

    /// What memory chips the board has, and how they are wired.
    fn describe(&self, card: &Card<'_>) -> MemoryInfo;

    /// Loads the memory controller's microcode, unless it runs already, and opens VRAM to the CPU
    /// and to the engines.
    fn start(
        &self,
        card: &Card<'_>,
        dev: &device::Device,
        vram: &VramLayout,
        microcode: &firmware::Microcode,
    );

    /// Sets up address translation: the GART for the kernel, page tables for processes.
    fn enable_translation(&self, card: &Card<'_>, translation: &Translation);

    /// Ends address translation.
    fn disable_translation(&self, card: &Card<'_>);

    /// Makes what the CPU wrote to VRAM visible to the GPU.
    fn flush_hdp(&self, card: &Card<'_>);

    /// Makes what the GPU wrote to VRAM visible to the CPU.
    fn invalidate_hdp(&self, card: &Card<'_>);

    /// Drops the kernel's (context 0) cached translations.
    fn flush_gart_tlb(&self, card: &Card<'_>);

    /// The protection fault that the processes' contexts hold, which is cleared.
    fn take_fault(&self, card: &Card<'_>) -> Option<Fault>;
}

/// What memory chips a board has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryInfo {
    /// Kind of memory, in the numbers of `AMDGPU_VRAM_TYPE_*`.
    pub(crate) kind: u32,
    /// Width of the memory bus in bits.
    pub(crate) bus_width: u32,
    /// The register that describes the chips, which user space wants as it is.
    pub(crate) ram_config: u32,
    /// Size of a row in KiB.
    pub(crate) row_kib: u32,
}

/// An access that a page table forbade.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Page of the address space.
    pub(crate) page: u32,
    pub(crate) vmid: u8,
    pub(crate) write: bool,
    /// What was wrong: see `VM_CONTEXT1_PROTECTION_FAULT_STATUS`.
    pub(crate) protections: u8,
    /// Four letters that name the memory client.
    pub(crate) client: [u8; 4],
}

/// The interrupt ring: who interrupts, and why.
pub(crate) trait InterruptController: Sync {
    /// Sets up the ring and lets interrupts through.
    fn start(&self, card: &Card<'_>, ring: &InterruptRing);

    /// Lets no interrupt through any more.
    fn stop(&self, card: &Card<'_>);

    /// Lets the engines interrupt at fences and on errors.
    fn enable_sources(&self, card: &Card<'_>);

    /// Says how far the ring has been read, after which the card may interrupt again.
    fn acknowledge(&self, card: &Card<'_>, read_pointer: u32);

    /// Returns the card's write pointer in bytes, with bit 0 set if entries were lost because the
    /// ring was full.
    fn write_pointer(&self, card: &Card<'_>) -> u32;

    /// Goes on after entries were lost because the ring was full.
    fn clear_overflow(&self, card: &Card<'_>);

    /// What an entry of the ring means.
    fn decode(&self, entry: [u32; 4]) -> Event;
}

/// What an interrupt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A ring wrote a fence.
    Fence(RingId),
    /// A compute queue wrote a fence; the card does not say reliably which.
    ComputeFence,
    /// A process's page table forbade an access.
    Fault,
    /// A ring executed something that it must not.
    Illegal(Illegal, RingId),
    /// Nothing that the driver asked for.
    Other { source: u8, data: u32 },
}

/// What a ring executed that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illegal {
    /// A command that does not exist.
    Opcode,
    /// A privileged register.
    Register,
    /// An instruction that is not allowed.
    Instruction,
}

/// Shaders and render backends.
pub(crate) trait Graphics: Sync {
    /// What of them this card has.
    fn describe(&self, card: &Card<'_>, memory: &MemoryInfo) -> GraphicsInfo;

    /// Sets up what never changes while the driver runs.
    fn configure(&self, card: &Card<'_>, info: &GraphicsInfo);

    /// The value of a register that user space may read, by its dword index, for a shader engine if
    /// it is banked.
    fn register(
        &self,
        card: &Card<'_>,
        info: &GraphicsInfo,
        memory: &MemoryInfo,
        engine: usize,
        register: usize,
    ) -> Option<u32>;

    /// The clock that time stamps are taken from, in units of the crystal's.
    ///
    /// Only one reader at a time gets a right answer.
    fn clock(&self, card: &Card<'_>) -> u64;
}

/// Shader engines of the largest chip.
pub(crate) const MAX_SHADER_ENGINES: usize = 4;

/// What shaders and render backends a card has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GraphicsInfo {
    pub(crate) shader_engines: u32,
    pub(crate) arrays_per_engine: u32,
    /// Compute units that an array may have.
    pub(crate) max_units_per_array: u32,
    /// Render backends that an engine may have.
    pub(crate) max_backends_per_engine: u32,
    pub(crate) texture_caches: u32,
    pub(crate) gs_threads: u32,
    pub(crate) contexts: u32,
    /// Render backends that work, one bit each.
    pub(crate) backends: u32,
    /// Compute units that work, one bit each, of each engine's only array.
    pub(crate) units: [u32; MAX_SHADER_ENGINES],
    /// Each engine's render backends, as the registers say.
    pub(crate) rasters: [Raster; MAX_SHADER_ENGINES],
    pub(crate) address_config: u32,
    /// Size of the global data share in bytes.
    pub(crate) gds_size: u32,
    pub(crate) tiling: TilingTables,
}

/// Registers about one shader engine's render backends, which user space wants as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raster {
    pub(crate) backend_disable: u32,
    pub(crate) user_backend_disable: u32,
    pub(crate) config: u32,
    pub(crate) config_1: u32,
}

/// What the tile mode numbers mean on this card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TilingTables {
    pub(crate) tile_modes: [u32; 32],
    pub(crate) macrotile_modes: [u32; 16],
}

/// An engine that executes the commands of one or more rings.
pub(crate) trait Engine: Sync {
    /// Uploads the microcode, sets up the rings and sets them going. They answer nothing yet that
    /// would show that they work.
    fn start(&self, up: &BringUp<'_>) -> Result;

    /// Stops the engine at once. May be called in any state; does not sleep.
    fn halt(&self, card: &Card<'_>);

    /// Tells the engine how far its ring is written: the position of the dword that comes next.
    fn kick(&self, card: &Card<'_>, ring: RingId, position: u64);

    /// Its way of moving memory by itself, if it has one.
    fn dma(&self) -> Option<&dyn Dma> {
        None
    }

    /// Writes commands that do nothing, `dwords` in all.
    fn nops(&self, out: &mut dyn Sink, dwords: u32);

    /// Writes one dword to memory.
    fn write(&self, out: &mut dyn Sink, addr: u64, value: u32);

    /// Waits until a dword of memory has a value.
    fn wait(&self, out: &mut dyn Sink, addr: u64, value: u32);

    /// Sets the context's page directory and drops the translations that it knows.
    fn flush_vm(&self, out: &mut dyn Sink, vm: &VmState);

    /// Drops what the engine's own caches hold of memory, if it has any.
    fn invalidate_caches(&self, _out: &mut dyn Sink) {}

    /// Makes what the CPU wrote to VRAM visible to what follows.
    fn flush_hdp(&self, out: &mut dyn Sink, ring: RingId);

    /// Leaves the state of the process before.
    fn begin(&self, _out: &mut dyn Sink) {}

    /// Executes a buffer in the context `vmid`.
    fn ib(&self, out: &mut dyn Sink, ib: &Ib, vmid: u8);

    /// Waits for what buffers have left behind and a fence does not wait for.
    fn drain(&self, _out: &mut dyn Sink) {}

    /// Makes what was written to VRAM visible to the CPU.
    fn invalidate_hdp(&self, out: &mut dyn Sink);

    /// When all before it is done and the caches are written back: writes `value`, and interrupts.
    fn fence(&self, out: &mut dyn Sink, addr: u64, value: FenceValue, interrupt: Interrupt);

    /// What the next submission relies on.
    fn end(&self, _out: &mut dyn Sink) {}
}

/// An engine that moves memory by itself.
pub(crate) trait Dma {
    /// Fills memory.
    fn fill(&self, out: &mut dyn Sink, fill: Fill);
}

impl dyn Engine {
    /// Whether the engine can do this.
    pub(crate) fn can(&self, commands: &Commands<'_>) -> bool {
        match commands {
            Commands::Ibs(_) | Commands::Fail(_) => true,
            Commands::Fill(fill) => self.dma().is_some() && fill.bytes <= Fill::MAX_BYTES,
        }
    }

    /// Writes all that a submission asks for, and then the kernel's fence with its interrupt.
    ///
    /// The order is the same for every engine, and no engine has one of its own.
    pub(crate) fn emit_submission(
        &self,
        out: &mut dyn Sink,
        ring: RingId,
        submission: &Submission<'_>,
        fence: FenceWrite,
    ) {
        // What ran before must be out of the pipeline: it may belong to another process.
        self.wait(out, fence.gpu_addr, fence.seq.wrapping_sub(1));
        if let Some(vm) = submission.vm_to_flush() {
            self.flush_vm(out, vm);
        }
        self.invalidate_caches(out);
        self.flush_hdp(out, ring);
        if submission.vm.is_some() {
            self.begin(out);
        }
        match submission.commands {
            Commands::Ibs(ibs) => {
                for ib in ibs {
                    self.ib(out, ib, submission.vmid());
                }
            }
            Commands::Fill(fill) => {
                if let Some(dma) = self.dma() {
                    dma.fill(out, fill);
                }
            }
            Commands::Fail(_) => (),
        }
        self.drain(out);
        // What the CPU reads from VRAM after the fence is what was written.
        self.invalidate_hdp(out);
        if let Some(user) = submission.user_fence {
            let value = FenceValue::Qword(user.value);
            self.fence(out, user.gpu_addr, value, Interrupt::No);
        }
        let value = FenceValue::Dword(fence.seq);
        self.fence(out, fence.gpu_addr, value, Interrupt::Yes);
        self.end(out);
    }
}
