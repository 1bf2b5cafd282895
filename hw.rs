// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operations of the hardware, independent of its generation (the C driver's `amdgpu_ip_block` and
//! tables of functions).
//!
//! Each trait describes one part of the card. A generation is a set of implementations, chosen
//! once, at probe ([`ChipId::chip`]). After that, no code asks which chip it runs on.

mod atom;
pub(crate) mod bring_up;
pub(crate) mod card;
pub(crate) mod command;
pub(crate) mod decode;
pub(crate) mod engine;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
pub(crate) mod fake;
pub(crate) mod firmware;
pub(crate) mod gfx7;
pub(crate) mod graphics;
pub(crate) mod layout;
pub(crate) mod on_chip;
pub(crate) mod page_table;
pub(crate) mod vbios;

use core::ops::Range;

use kernel::{
    device,
    dma::DmaMask,
    fmt,
    prelude::*,
    str::BStr, //
};

pub(crate) use self::{
    bring_up::{
        BringUp,
        InterruptRing,
        Rings,
        Scratch,
        Translation, //
    },
    graphics::{
        GraphicsInfo,
        Raster,
        ShaderTest,
        TilingTables,
        MAX_SHADER_ENGINES, //
    }, //
};

use crate::abstractions::pci::Link;

use self::{
    card::Card,
    command::{
        Block,
        EngineKind,
        RingId,
        Sink,
        Vmid, //
    },
    engine::{
        Engine,
        QueueReset, //
    },
    layout::{
        GartLayout,
        VramLayout, //
    },
    on_chip::OnChip,
    vbios::Vbios, //
};

/// A GPU model (the C driver's `CHIP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChipId {
    Bonaire,
    Hawaii,
}

impl ChipId {
    pub(crate) const ALL: [Self; 2] = [Self::Bonaire, Self::Hawaii];

    /// Returns the chip's operations and facts.
    pub(crate) const fn chip(self) -> &'static Chip {
        match self {
            Self::Bonaire => &gfx7::BONAIRE,
            Self::Hawaii => &gfx7::HAWAII,
        }
    }
}

/// Operations and facts of one chip.
pub(crate) struct Chip {
    pub(crate) name: &'static str,
    pub(crate) firmware: firmware::Names,
    pub(crate) system: &'static dyn System,
    pub(crate) memory: &'static dyn MemoryController,
    pub(crate) interrupts: &'static dyn InterruptController,
    pub(crate) graphics: &'static dyn Graphics,
    /// All rings of the chip.
    pub(crate) rings: &'static [RingId],
    /// All blocks of the chip, in the order in which they are started.
    pub(crate) blocks: &'static [Block],
    pub(crate) gfx: EngineFacts,
    pub(crate) compute: EngineFacts,
    pub(crate) sdma: EngineFacts,
    /// Bytes of memory that the engines need for their own use.
    pub(crate) scratch: usize,
    /// Number of virtual memory contexts (VMIDs), including the kernel's.
    pub(crate) vmids: u8,
    pub(crate) format: &'static page_table::Format,
    /// Width of the bus addresses that the chip can use.
    pub(crate) dma_mask: DmaMask,
    /// Family of the chip: `AMDGPU_FAMILY_*`.
    pub(crate) family: u32,
    /// PCI Express link that the chip is made for.
    pub(crate) link: Link,
    /// Lanes of a wavefront.
    pub(crate) wave_size: u32,
    /// Vector registers that a shader may have.
    pub(crate) vector_registers: u32,
    /// Set if tessellation has twice the off-chip buffers (the C driver's
    /// `double_offchip_lds_buf`).
    pub(crate) has_double_offchip_buffers: bool,
    /// Bytes of the constant engine's memory.
    pub(crate) constant_ram: u32,
}

/// Facts of one kind of engine, and its driver.
pub(crate) struct EngineFacts {
    pub(crate) driver: &'static dyn Engine,
    /// Major and minor version, as reported to user space.
    pub(crate) version: (u32, u32),
    /// Alignment of a command buffer: of its address, and in the next field, of its size in bytes.
    pub(crate) ib_alignment: u32,
    pub(crate) ib_size_alignment: u32,
}

impl Chip {
    /// Returns the facts of a kind of engine.
    pub(crate) fn engine(&self, kind: EngineKind) -> &EngineFacts {
        match kind {
            EngineKind::Gfx => &self.gfx,
            EngineKind::Compute => &self.compute,
            EngineKind::Sdma => &self.sdma,
        }
    }

    /// Stops every engine and every interrupt, so that the card no longer accesses memory.
    ///
    /// Halting an engine only keeps it from starting anything new. Work already started goes on, as
    /// do shaders, until the engines are idle. Engines that do not become idle are reset. Then the
    /// card loses access to system memory (bus mastering), and address translation, without which
    /// addresses mean nothing.
    ///
    /// May be called in any state of the card. Does not sleep.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` if the engines are busy even after the reset. They may then still write to
    /// VRAM.
    pub(crate) fn quiesce(&self, card: &Card<'_>) -> Result {
        for &block in self.blocks.iter().rev() {
            self.halt(card, block);
        }
        let idle = self.system.wait_idle(card, self.blocks).or_else(|_| {
            self.system.reset(card, self.blocks);
            self.system.wait_idle(card, self.blocks)
        });
        self.interrupts.stop(card);
        card.end_bus_mastering();
        self.memory.disable_translation(card);
        idle
    }

    /// Stops the card as [`Chip::quiesce`] does, and resets all engines, whatever state another
    /// driver or kernel has left them in. An engine that hangs is idle while it is halted, and
    /// would go on hanging when it is started.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` if the engines are busy even after the reset.
    pub(crate) fn clear(&self, card: &Card<'_>) -> Result<Stopped> {
        // The reset that follows is what counts.
        let _ = self.quiesce(card);
        self.system.reset(card, self.blocks);
        self.system.wait_idle(card, self.blocks)?;
        Ok(Stopped(()))
    }

    /// Has the video BIOS initialize the card. Sleeps.
    ///
    /// # Errors
    ///
    /// Returns an error, and logs it, if the card is not initialized afterward.
    pub(crate) fn post(&self, dev: &device::Device, card: &Card<'_>, vbios: &Vbios) -> Result {
        vbios.post(dev, card)?;
        if !self.system.is_posted(card) {
            dev_err!(
                dev,
                "ASIC_Init of the video BIOS (VBIOS) has not initialized the card\n"
            );
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Stops the engines of a block at once.
    fn halt(&self, card: &Card<'_>, block: Block) {
        match block {
            Block::Graphics => {
                self.compute.driver.halt(card, block);
                self.gfx.driver.halt(card, block);
            }
            Block::Sdma(_) => self.sdma.driver.halt(card, block),
        }
    }

    /// Stops the engines of a block and resets them, which ends what they are doing. The block has
    /// to be started again afterward. Does not sleep.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` if the block is busy even after the reset. It may then still access memory.
    pub(crate) fn reset(&self, card: &Card<'_>, block: Block) -> Result<Stopped> {
        self.halt(card, block);
        self.system.reset(card, &[block]);
        self.system.wait_idle(card, &[block])?;
        Ok(Stopped(()))
    }

    /// Takes a queue off its engine, whatever it is doing, with its waves. The engine's other
    /// queues go on. The queue has to be started again afterward. Does not sleep.
    ///
    /// # Errors
    ///
    /// Those of [`QueueReset::take_off`], and `ENODEV` if the engine cannot do this.
    pub(crate) fn take_off(&self, card: &Card<'_>, ring: RingId) -> Result<Stopped> {
        self.queues_of(ring)?.take_off(card, ring)?;
        Ok(Stopped(()))
    }

    /// Starts a queue that was taken off.
    ///
    /// # Errors
    ///
    /// Those of [`QueueReset::start`], and `ENODEV` if the engine cannot do this.
    pub(crate) fn start_queue(&self, up: &BringUp<'_>, ring: RingId) -> Result {
        self.queues_of(ring)?.start(up, ring)
    }

    fn queues_of(&self, ring: RingId) -> Result<&'static dyn QueueReset> {
        self.engine(ring.engine()).driver.queues().ok_or(ENODEV)
    }

    /// Resets the whole card, which has to be posted and started again afterward. The contents of
    /// VRAM are lost. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`System::reset_card`], and `EBUSY` if the engines are busy even after the reset.
    pub(crate) fn reset_card(&self, card: &Card<'_>) -> Result<Stopped> {
        self.system.reset_card(card)?;
        self.system.wait_idle(card, self.blocks)?;
        Ok(Stopped(()))
    }

    /// Starts the engines of a block. Does not check that they work.
    pub(crate) fn start(&self, up: &BringUp<'_>, block: Block) -> Result {
        match block {
            Block::Graphics => {
                self.graphics.configure(up.card, up.graphics);
                self.gfx.driver.start(up, block)?;
                self.compute.driver.start(up, block)
            }
            Block::Sdma(_) => self.sdma.driver.start(up, block),
        }
    }
}

/// Proof that the engines of a block, or a queue, were stopped: they no longer access memory, and
/// all that they have written has arrived.
pub(crate) struct Stopped(());

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Stopped {
    /// Returns a proof for tests, in which there are no engines.
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}

/// Destination of facts for a person: takes a name and a value.
pub(crate) type Say<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>, fmt::Arguments<'_>);

/// Operations on the chip as a whole (the C driver's `amdgpu_asic_funcs`).
pub(crate) trait System: Sync {
    /// Returns true if the card responds to register reads.
    fn responds(&self, card: &Card<'_>) -> bool;

    /// Returns true if the system firmware has initialized the card (posted it).
    fn is_posted(&self, card: &Card<'_>) -> bool;

    /// Returns the state of the card's power and heat. Callers must allow only one reader at a
    /// time, as for [`System::crystal_divider`].
    fn condition(&self, card: &Card<'_>) -> Condition;

    /// Says the registers that tell what state the card is in. Nothing may run on the card yet.
    fn survey(&self, card: &Card<'_>, say: Say<'_>);

    /// Says the registers of power, clocks and heat. One caller at a time, as for
    /// [`System::condition`].
    fn survey_power(&self, card: &Card<'_>, say: Say<'_>);

    /// Says the registers that may tell why a ring does not work.
    fn survey_stuck(&self, card: &Card<'_>, ring: RingId, say: Say<'_>);

    /// Reads the card's ROM from its start, by a port. One caller at a time, as for
    /// [`System::condition`].
    fn read_rom(&self, card: &Card<'_>, image: &mut [u8]);

    /// Returns the number by which the crystal's clock is divided before timestamps are counted.
    fn crystal_divider(&self, card: &Card<'_>) -> u32;

    /// Returns the revision of the chip.
    fn revision(&self, card: &Card<'_>) -> Revision;

    /// Programs the golden registers: values that AMD found by measurement to be right for the
    /// chip.
    fn program_golden_registers(&self, card: &Card<'_>);

    /// Waits some milliseconds for the halted engines of these blocks to finish what they had
    /// started. Does not sleep.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` if they have not finished, or were halted with a queue that they hold on to.
    fn wait_idle(&self, card: &Card<'_>, blocks: &[Block]) -> Result;

    /// Resets the halted engines of these blocks, which ends what they are doing. They have to be
    /// started again afterward. Memory, page tables, and the settings of the memory controller
    /// and of the interrupt ring stay. Does not sleep.
    fn reset(&self, card: &Card<'_>, blocks: &[Block]);

    /// Resets the whole card: it is not posted afterward, and can not access system memory. Its
    /// engines were stopped as far as they can be. Sleeps.
    ///
    /// # Errors
    ///
    /// Returns `EIO` if the card has not changed by it, and `ENODEV` if it no longer responds.
    fn reset_card(&self, card: &Card<'_>) -> Result;

    /// Enables or disables clock gating of idle blocks. The card's engines must be running and
    /// idle.
    fn gate_clocks(&self, card: &Card<'_>, gating: ClockGating);
}

/// State of a card's power and heat. No part of it is the work of this driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// Firmware of the power controller runs, which another driver has started.
    pub(crate) power_controller_runs: bool,
    /// The card does not switch itself off when it gets too hot.
    pub(crate) thermal_protection_off: bool,
    /// In degrees Celsius.
    pub(crate) temperature: u32,
}

/// Clock gating: idle blocks stop their clocks, or do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockGating {
    On,
    Off,
}

/// Revision of a chip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Revision {
    /// Revision as reported by the chip.
    pub(crate) internal: u32,
    /// Revision as reported to user space, unique within the family.
    pub(crate) external: u32,
}

/// The memory controller (the C driver's `amdgpu_gmc_funcs`): the location of memory in the GPU's
/// address space, and its caches.
pub(crate) trait MemoryController: Sync {
    /// Reads the location of VRAM, and decides where the kernel's own memory goes.
    fn layout(&self, card: &Card<'_>, dev: &device::Device) -> Result<(VramLayout, GartLayout)>;

    /// Returns the kind of the board's memory chips, and how they are wired.
    fn describe(&self, card: &Card<'_>) -> MemoryInfo;

    /// Loads the memory controller's microcode unless it is already running, and opens VRAM to the
    /// CPU and to the engines.
    fn start(
        &self,
        card: &Card<'_>,
        dev: &device::Device,
        vram: &VramLayout,
        microcode: &firmware::Microcode,
    );

    /// Sets up address translation: the GART for the kernel, page tables for processes.
    fn enable_translation(&self, card: &Card<'_>, translation: &Translation);

    /// Turns off address translation.
    fn disable_translation(&self, card: &Card<'_>);

    /// Makes the CPU's writes to VRAM visible to the GPU.
    fn flush_hdp(&self, card: &Card<'_>);

    /// Makes the GPU's writes to VRAM visible to the CPU.
    fn invalidate_hdp(&self, card: &Card<'_>);

    /// Drops the cached translations of the kernel's context (0).
    fn flush_gart_tlb(&self, card: &Card<'_>);

    /// Returns the address, in the GPU's address space, of the page directory that a context uses.
    fn directory(&self, card: &Card<'_>, vmid: u8) -> u64;

    /// Sets what shaders get where nothing is mapped in the address spaces of processes.
    fn set_unmapped(&self, card: &Card<'_>, unmapped: &UnmappedAccess);

    /// Returns and clears the protection fault recorded for the processes' contexts.
    fn take_fault(&self, card: &Card<'_>) -> Option<Fault>;
}

/// Result of a shader's access where nothing is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnmappedAccess {
    /// A fault.
    Faults,
    /// Within these pages of every process's address space, reads return zeros and writes vanish.
    /// A fault elsewhere.
    ReadsZero(Range<u64>),
}

/// Memory chips of a board.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryInfo {
    /// Kind of memory: `AMDGPU_VRAM_TYPE_*`.
    pub(crate) kind: u32,
    /// Width of the memory bus in bits.
    pub(crate) bus_width: u32,
    /// Value of the register that describes the chips, passed to user space unchanged.
    pub(crate) ram_config: u32,
    /// Size of a row in KiB.
    pub(crate) row_kib: u32,
}

/// An access that a page table does not allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Page number in the address space.
    pub(crate) page: u32,
    pub(crate) vmid: u8,
    pub(crate) write: bool,
    /// Kinds of violation: see `VM_CONTEXT1_PROTECTION_FAULT_STATUS`.
    pub(crate) protections: u8,
    /// That register, passed to user space unchanged.
    pub(crate) status: u32,
    /// Name of the memory client, in four letters.
    pub(crate) client: [u8; 4],
}

impl Fault {
    /// Returns the address of the page in the address space.
    pub(crate) fn addr(&self) -> u64 {
        u64::from(self.page) << page_table::PAGE_SHIFT
    }

    /// Returns the name of the memory client. Names may be shorter than four letters, and a card
    /// may say none at all.
    pub(crate) fn client_name(&self) -> &BStr {
        let end = self.client.iter().rposition(u8::is_ascii_graphic);
        match end {
            Some(end) => BStr::from_bytes(&self.client[..=end]),
            None => BStr::from_bytes(b"an unnamed client"),
        }
    }
}

/// The interrupt ring (the C driver's `amdgpu_ih_funcs`): sources and causes of interrupts.
pub(crate) trait InterruptController: Sync {
    /// Sets up the ring and enables interrupts.
    fn start(&self, card: &Card<'_>, ring: &InterruptRing);

    /// Disables all interrupts.
    fn stop(&self, card: &Card<'_>);

    /// Enables the engines' interrupts for fences and errors.
    fn enable_sources(&self, card: &Card<'_>);

    /// Tells the card how far the ring has been read. The card may interrupt again after that.
    fn acknowledge(&self, card: &Card<'_>, read_pointer: u32);

    /// Returns the card's write pointer in bytes, with bit 0 set if entries were lost because the
    /// ring was full.
    fn write_pointer(&self, card: &Card<'_>) -> u32;

    /// Resumes after an overflow, when entries were lost because the ring was full.
    fn clear_overflow(&self, card: &Card<'_>);

    /// Returns the meaning of an entry of the ring.
    fn decode(&self, entry: [u32; 4]) -> Event;
}

/// Meaning of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A ring wrote a fence.
    Fence(RingId),
    /// A compute queue wrote a fence. The card does not reliably say which queue.
    ComputeFence,
    /// A process's page table did not allow an access.
    Fault,
    /// A ring executed something that it must not.
    Illegal(Illegal, RingId),
    /// An interrupt that the driver did not ask for.
    Other { source: u8, data: u32 },
}

/// Kind of illegal action of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illegal {
    /// A command that does not exist.
    Opcode,
    /// An access to a privileged register.
    Register,
    /// An instruction that is not allowed.
    Instruction,
}

/// The shaders and render backends.
pub(crate) trait Graphics: Sync {
    /// Returns the shaders and render backends that this card has.
    fn describe(&self, card: &Card<'_>, memory: &MemoryInfo) -> GraphicsInfo;

    /// Programs the settings that never change while the driver runs.
    fn configure(&self, card: &Card<'_>, info: &GraphicsInfo);

    /// Gives a VM context on-chip memory. No job may run in it.
    fn give_on_chip(&self, card: &Card<'_>, vmid: Vmid, on_chip: &OnChip);

    /// Returns the value of a register that user space may read, by its dword index. For a banked
    /// register, `engine` selects the shader engine.
    fn register(
        &self,
        card: &Card<'_>,
        info: &GraphicsInfo,
        memory: &MemoryInfo,
        engine: usize,
        register: usize,
    ) -> Option<u32>;

    /// Kills the waves that are there in a context. Its jobs may start others.
    fn kill_waves(&self, card: &Card<'_>, vmid: Vmid);

    /// Returns the clock from which timestamps are taken, in ticks of the crystal's clock.
    ///
    /// Concurrent calls return wrong values: callers must allow only one reader at a time.
    fn clock(&self, card: &Card<'_>) -> u64;

    /// Returns the code of the test shader.
    fn test_shader(&self) -> &'static [u32];

    /// Emits a run of the test shader, at most 64 dwords. Afterward dispatches may use all compute
    /// units again.
    fn emit_test(&self, out: &mut dyn Sink, test: &ShaderTest);
}
