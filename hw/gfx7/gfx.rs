// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The graphics command processor and its ring (the C driver's `gfx_v7_0_cp_gfx_*`).

use kernel::{
    io::Io,
    prelude::*,
    time::{
        delay::{
            fsleep,
            udelay, //
        },
        Delta, //
    },
};

use super::{
    clear_state,
    cp,
    decode,
    high,
    low,
    place,
    pm4::{
        self,
        emit,
        By,
        ClearState,
        ContextControl,
        EndOfPipe,
        EventWrite,
        EventWriteEop,
        PfpSyncMe,
        PreambleCntl,
        QueueKind,
        SetCePartition,
        SetContextReg,
        SurfaceSync,
        SwitchBuffer,
        Wait,
        WriteMemory, //
    },
    regs::*,
    rlc,
    Parts, //
};
use crate::hw::{
    card::Card,
    command::{
        Block,
        FenceValue,
        Ib,
        Interrupt,
        RingId,
        RingMemory,
        Sink,
        VmState,
        RING_SHIFT, //
    },
    decode::DecodedPacket,
    engine::Engine,
    firmware,
    BringUp,
    Raster, //
};

/// The graphics engine of a chip with these parts.
pub(super) struct Gfx(pub(super) &'static Parts);

impl Engine for Gfx {
    fn start(&self, up: &BringUp<'_>, _block: Block) -> Result {
        let card = up.card;
        rlc::start(card, self.0, &up.firmware.rlc);
        rlc::enable_idle_interrupts(card, false);
        halt_processors(card);
        load_microcode(card, up.firmware);
        set_up_ring(card, self.0, &up.rings.memory(RingId::Gfx)?);
        start_ring(up)?;
        rlc::enable_idle_interrupts(card, true);
        Ok(())
    }

    fn halt(&self, card: &Card<'_>, _block: Block) {
        halt_processors(card);
        rlc::halt(card);
    }

    fn kick(&self, card: &Card<'_>, _ring: RingId, position: u64) {
        card.regs().write_reg(CP_RB0_WPTR::from(place(position)));
        card.regs().read(CP_RB0_WPTR);
    }

    fn decode(&self, dwords: &[u32]) -> DecodedPacket {
        decode::pm4(dwords)
    }

    fn nops(&self, out: &mut dyn Sink, dwords: u32) {
        cp::nops(out, dwords);
    }

    fn write(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        cp::write(out, addr, value);
    }

    fn mark(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        // The parser runs ahead of the micro engine, and fetches IBs.
        let by = By::Pfp;
        emit(out, WriteMemory { by, addr, value });
    }

    fn wait(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        emit(out, Wait::memory(By::Pfp, addr, value));
    }

    fn flush_vm(&self, out: &mut dyn Sink, vm: &VmState) {
        cp::flush_vm(out, By::Pfp, vm);
        // The parser must not translate what it reads next with the old page directory.
        emit(out, PfpSyncMe);
        // Nor may the constant engine run ahead with the old one.
        emit(out, SwitchBuffer);
        emit(out, SwitchBuffer);
    }

    fn invalidate_caches(&self, out: &mut dyn Sink) {
        emit(out, SurfaceSync);
    }

    fn flush_hdp(&self, out: &mut dyn Sink, _ring: RingId) {
        emit(out, cp::hdp_flush(By::Pfp, GPU_HDP_FLUSH_DONE::CP0_MASK));
    }

    fn begin(&self, out: &mut dyn Sink) {
        emit(out, EventWrite::VS_PARTIAL_FLUSH);
        emit(out, EventWrite::VGT_FLUSH);
        emit(out, ContextControl::SWITCH);
    }

    fn ib(&self, out: &mut dyn Sink, ib: &Ib, vmid: u8) {
        cp::ib(out, ib, vmid, QueueKind::Gfx);
    }

    fn drain(&self, out: &mut dyn Sink) {
        cp::dma_sync(out, &[By::Pfp, By::Me]);
    }

    fn invalidate_hdp(&self, out: &mut dyn Sink) {
        emit(out, cp::hdp_invalidate(By::Pfp));
    }

    fn fence(&self, out: &mut dyn Sink, addr: u64, value: FenceValue, interrupt: Interrupt) {
        let end_of_pipe = |value, interrupt| {
            EventWriteEop(EndOfPipe {
                addr,
                value,
                interrupt,
            })
        };
        // The first of two end-of-pipe events may overtake the cache flush that it asks for, so it
        // writes the preceding number.
        emit(out, end_of_pipe(value.before(), Interrupt::No));
        emit(out, end_of_pipe(value, interrupt));
    }

    fn end(&self, out: &mut dyn Sink) {
        emit(out, SwitchBuffer);
    }
}

/// Halts the three engines of the graphics command processor.
fn halt_processors(card: &Card<'_>) {
    card.regs().write_reg(
        CP_ME_CNTL::zeroed()
            .with_ce_halt(true)
            .with_pfp_halt(true)
            .with_me_halt(true),
    );
    udelay(Delta::from_micros(50));
}

/// Uploads the microcode of the three engines, then writes the version to their address registers.
fn load_microcode(card: &Card<'_>, firmware: &firmware::Files) {
    let regs = card.regs();

    regs.write_reg(CP_PFP_UCODE_ADDR::zeroed());
    for dword in firmware.pfp.code() {
        regs.write_reg(CP_PFP_UCODE_DATA::from(dword));
    }
    regs.write_reg(CP_PFP_UCODE_ADDR::from(firmware.pfp.version()));

    regs.write_reg(CP_CE_UCODE_ADDR::zeroed());
    for dword in firmware.ce.code() {
        regs.write_reg(CP_CE_UCODE_DATA::from(dword));
    }
    regs.write_reg(CP_CE_UCODE_ADDR::from(firmware.ce.version()));

    regs.write_reg(CP_ME_RAM_WADDR::zeroed());
    for dword in firmware.me.code() {
        regs.write_reg(CP_ME_RAM_DATA::from(dword));
    }
    regs.write_reg(CP_ME_RAM_WADDR::from(firmware.me.version()));
}

/// Tells the command processor where its ring is.
fn set_up_ring(card: &Card<'_>, parts: &Parts, ring: &RingMemory) {
    /// Sizes are in units of 8 bytes: the ring's, and that of the block which is read before the
    /// read pointer is written back.
    const LOG2_RING: u32 = RING_SHIFT - 1;
    const LOG2_BLOCK: u32 = 9;

    let regs = card.regs();
    regs.write_reg(CP_SEM_WAIT_TIMER::zeroed());
    if parts.has_semaphore_timer {
        regs.write_reg(CP_SEM_INCOMPLETE_TIMER_CNTL::zeroed());
    }
    regs.write_reg(CP_RB_WPTR_DELAY::zeroed());
    regs.write_reg(CP_RB_VMID::zeroed());
    regs.write_reg(SCRATCH_ADDR::zeroed());

    let control = CP_RB0_CNTL::zeroed()
        .with_const_rb_bufsz::<LOG2_RING>()
        .with_const_rb_blksz::<LOG2_BLOCK>();
    regs.write_reg(control);
    // The read pointer may be written only after this.
    regs.write_reg(control.with_rb_rptr_wr_ena(true));
    regs.write_reg(CP_RB0_WPTR::zeroed());
    regs.write_reg(CP_RB0_RPTR::zeroed());
    regs.write_reg(CP_RB0_RPTR_ADDR::from(low(ring.read_pointer)));
    regs.write_reg(CP_RB0_RPTR_ADDR_HI::from(high(ring.read_pointer) & 0xff));
    regs.write_reg(SCRATCH_UMSK::zeroed());
    fsleep(Delta::from_millis(1));
    regs.write_reg(control);

    let base = ring.base >> 8;
    regs.write_reg(CP_RB0_BASE::from(low(base)));
    regs.write_reg(CP_RB0_BASE_HI::from(high(base)));
}

/// Starts the command processor and gives it the clear state.
fn start_ring(up: &BringUp<'_>) -> Result {
    let regs = up.card.regs();
    regs.write_reg(CP_MAX_CONTEXT::from(up.graphics.contexts - 1));
    regs.write_reg(CP_ENDIAN_SWAP::zeroed());
    regs.write_reg(CP_DEVICE_ID::from(1));
    regs.write_reg(CP_ME_CNTL::zeroed());
    fsleep(Delta::from_micros(50));
    let raster = &up.graphics.rasters[0];
    up.rings.emit(RingId::Gfx, &|out| emit_start(out, raster))
}

/// Emits the start of the ring: divides the constant engine's memory, and sets all context
/// registers. The command processor keeps these for `CLEAR_STATE`.
fn emit_start(out: &mut dyn Sink, raster: &Raster) {
    /// Half of the memory, in units of 1/0x10000 of it: each side gets one half.
    const HALF: u32 = 0x8000;
    emit(
        out,
        SetCePartition {
            first: HALF,
            second: HALF,
        },
    );
    emit(out, PreambleCntl::BeginClearState);
    emit(out, ContextControl::NOTHING);
    clear_state::emit(out);
    SetContextReg {
        register: pm4::register::<PA_SC_RASTER_CONFIG>(),
        values: &[raster.config, raster.config_1],
    }
    .emit(out);
    emit(out, PreambleCntl::EndClearState);
    emit(out, ClearState);
    SetContextReg {
        register: pm4::register::<VGT_VERTEX_REUSE_BLOCK_CNTL>(),
        // And VGT_OUT_DEALLOC_CNTL, which follows it.
        values: &[0x0e, 0x10],
    }
    .emit(out);
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_gfx)]
mod tests {
    use super::{
        super::{
            bonaire,
            inputs::Inputs, //
        },
        *, //
    };
    use crate::hw::{
        fake::{
            write,
            Effect, //
        },
        Rings, //
    };

    #[test]
    fn start() -> Result {
        let inputs = Inputs::new(&[])?;
        Gfx(&bonaire::PARTS).start(&inputs.bring_up(), Block::Graphics)?;

        // The run list controller and the ring have tests of their own.
        let parts = Inputs::new(&[])?;
        rlc::start(&parts.card, &bonaire::PARTS, &parts.files.rlc);
        let mut expected = parts.card.effects()?;
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        expect(&[
            write(0xc1a8, 0),           // CP_INT_CNTL_RING0
            write(0x86d8, 0x1500_0000), // CP_ME_CNTL
            write(0xc150, 0),           // CP_PFP_UCODE_ADDR
            write(0xc154, 0x31),        // CP_PFP_UCODE_DATA
            write(0xc154, 0x32),
            write(0xc150, 0x30), // CP_PFP_UCODE_ADDR: the version
            write(0xc168, 0),    // CP_CE_UCODE_ADDR
            write(0xc16c, 0x51), // CP_CE_UCODE_DATA
            write(0xc16c, 0x52),
            write(0xc168, 0x50), // CP_CE_UCODE_ADDR
            write(0xc15c, 0),    // CP_ME_RAM_WADDR
            write(0xc160, 0x41), // CP_ME_RAM_DATA
            write(0xc160, 0x42),
            write(0xc15c, 0x40), // CP_ME_RAM_WADDR
        ])?;
        let ring = Card::fake(&[])?;
        set_up_ring(&ring, &bonaire::PARTS, &inputs.memory.memory(RingId::Gfx)?);
        expect(&ring.effects()?)?;
        expect(&[
            write(0xc2b8, 7),           // CP_MAX_CONTEXT
            write(0xc140, 0),           // CP_ENDIAN_SWAP
            write(0xc12c, 1),           // CP_DEVICE_ID
            write(0x86d8, 0),           // CP_ME_CNTL
            write(0xc1a8, 0x0018_0000), // CP_INT_CNTL_RING0
        ])?;
        assert!(inputs.card.saw(&expected));
        Ok(())
    }

    #[test]
    fn first_commands() -> Result {
        let inputs = Inputs::new(&[])?;
        start_ring(&inputs.bring_up())?;
        inputs.memory.with_commands(|commands| {
            #[rustfmt::skip]
            let first = [
                0xc002_1100, 3, 0x8000, 0x8000, // SET_BASE: halves of the constant engine's memory
                0xc000_4a00, 0x2000_0000, // PREAMBLE_CNTL
                0xc001_2800, 0x8000_0000, 0x8000_0000, // CONTEXT_CONTROL
                0xc0d4_6900, 0, // SET_CONTEXT_REG: the clear state
            ];
            #[rustfmt::skip]
            let last = [
                0xc002_6900, 0xd4, 0x1600_0012, 0, // SET_CONTEXT_REG: PA_SC_RASTER_CONFIG
                0xc000_4a00, 0x3000_0000, // PREAMBLE_CNTL
                0xc000_1200, 0, // CLEAR_STATE
                0xc002_6900, 0x316, 0xe, 0x10, // SET_CONTEXT_REG: VGT_VERTEX_REUSE_BLOCK_CNTL
            ];
            assert!(commands.starts_with(&first));
            assert!(commands.ends_with(&last));
            assert_eq!(commands.len(), 920);
        });
        Ok(())
    }

    #[test]
    fn ring() -> Result {
        let card = Card::fake(&[])?;
        let ring = RingMemory {
            base: 0xff_0001_b000,
            read_pointer: 0xff_0001_a008,
            write_pointer: 0xff_0001_a010,
        };
        set_up_ring(&card, &bonaire::PARTS, &ring);
        assert!(card.saw(&[
            write(0x3_01bc, 0),   // CP_SEM_WAIT_TIMER
            write(0x3_01c8, 0),   // CP_SEM_INCOMPLETE_TIMER_CNTL
            write(0x8704, 0),     // CP_RB_WPTR_DELAY
            write(0xc144, 0),     // CP_RB_VMID
            write(0x3_0144, 0),   // SCRATCH_ADDR
            write(0xc104, 0x90c), // CP_RB0_CNTL
            write(0xc104, 0x8000_090c),
            write(0xc114, 0),           // CP_RB0_WPTR
            write(0x8700, 0),           // CP_RB0_RPTR
            write(0xc10c, 0x1_a008),    // CP_RB0_RPTR_ADDR
            write(0xc110, 0xff),        // CP_RB0_RPTR_ADDR_HI
            write(0x3_0140, 0),         // SCRATCH_UMSK
            write(0xc104, 0x90c),       // CP_RB0_CNTL
            write(0xc100, 0xff00_01b0), // CP_RB0_BASE
            write(0xc2c4, 0),           // CP_RB0_BASE_HI
        ]));
        Ok(())
    }
}
