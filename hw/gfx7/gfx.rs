// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The graphics command processor and its ring.

use kernel::{
    io::Io,
    prelude::*,
    time::{
        delay::{fsleep, udelay},
        Delta,
    },
};

use super::{
    clear_state, high, low, page_number,
    pm4::{
        self, emit, By, ClearState, ContextControl, EndOfPipe, EopData, EventWrite, EventWriteEop,
        IndirectBuffer, Interrupt, PfpSyncMe, PreambleCntl, Queue, SetCePartition, SetContextReg,
        SurfaceSync, SwitchBuffer, Wait, WriteMemory, WriteRegister,
    },
    regs::*,
    rlc,
};
use crate::{
    card::Card,
    firmware,
    hw::{BringUp, Engine, FenceWrite, GraphicsInfo, Raster},
    ring::{Flush, Ring, RingKind, Sink, Submission, VmState, Writer, RING_MASK, RING_SHIFT},
};

pub(super) struct Gfx;

impl Engine for Gfx {
    fn start(&self, up: &BringUp<'_>) -> Result {
        let card = up.card;
        rlc::start(card, &up.firmware.rlc);
        rlc::enable_idle_interrupts(card, false);
        halt_processors(card);
        load_microcode(card, up.firmware);
        let ring = up.device.ring(RingKind::Gfx);
        set_up_ring(card, ring);
        start_ring(card, ring, &up.device.facts.graphics);
        rlc::enable_idle_interrupts(card, true);
        Ok(())
    }

    fn halt(&self, card: &Card<'_>) {
        halt_processors(card);
        rlc::halt(card);
    }

    fn emit_nops(&self, ring: &mut Writer<'_>, dwords: u32) {
        for _ in 0..dwords {
            ring.push(pm4::NOP);
        }
    }

    fn emit_write(&self, ring: &mut Writer<'_>, addr: u64, value: u32) {
        let by = By::Me;
        emit(ring, WriteMemory { by, addr, value });
    }

    fn emit_submission(
        &self,
        ring: &mut Writer<'_>,
        _kind: RingKind,
        submission: &Submission<'_>,
        fence: FenceWrite,
    ) {
        // What ran before must be out of the pipeline: it may belong to another process.
        emit(
            ring,
            Wait::memory(By::Pfp, fence.gpu_addr, fence.seq.wrapping_sub(1)),
        );
        if let Some(vm) = &submission.vm {
            emit_vm_flush(ring, By::Pfp, vm);
        }
        emit(ring, SurfaceSync);
        emit(ring, hdp_flush(By::Pfp, GPU_HDP_FLUSH_DONE::CP0_MASK));
        if submission.vm.is_some() {
            emit(ring, EventWrite::VS_PARTIAL_FLUSH);
            emit(ring, EventWrite::VGT_FLUSH);
            emit(ring, ContextControl::SWITCH);
        }
        for ib in submission.ibs {
            emit(
                ring,
                IndirectBuffer {
                    addr: ib.va,
                    dwords: ib.dwords,
                    vmid: submission.vmid(),
                    queue: Queue::Gfx,
                },
            );
        }
        emit(ring, hdp_invalidate(By::Pfp));
        if let Some(user) = submission.user_fence {
            emit_end_of_pipe(
                ring,
                user.gpu_addr,
                EopData::Qword(user.value.wrapping_sub(1)),
                EopData::Qword(user.value),
                Interrupt::No,
            );
        }
        emit_end_of_pipe(
            ring,
            fence.gpu_addr,
            EopData::Dword(fence.seq.wrapping_sub(1)),
            EopData::Dword(fence.seq),
            Interrupt::Yes,
        );
        emit(ring, SwitchBuffer);
    }

    fn kick(&self, card: &Card<'_>, _kind: RingKind, write_pointer: u32) {
        let position = write_pointer & RING_MASK;
        card.regs.write_reg(CP_RB0_WPTR::from(position));
        card.regs.read(CP_RB0_WPTR);
    }
}

/// Halts the three engines of the graphics command processor.
fn halt_processors(card: &Card<'_>) {
    card.regs.write_reg(
        CP_ME_CNTL::zeroed()
            .with_ce_halt(true)
            .with_pfp_halt(true)
            .with_me_halt(true),
    );
    udelay(Delta::from_micros(50));
}

/// Uploads the microcode of the three engines. After it their address registers take the version.
fn load_microcode(card: &Card<'_>, firmware: &firmware::Files) {
    let regs = &card.regs;

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
fn set_up_ring(card: &Card<'_>, ring: &Ring) {
    /// Sizes are in units of 8 bytes: the ring's, and of what is read before the read pointer is
    /// written back.
    const LOG2_RING: u32 = RING_SHIFT - 1;
    const LOG2_BLOCK: u32 = 9;

    let regs = &card.regs;
    regs.write_reg(CP_SEM_WAIT_TIMER::zeroed());
    regs.write_reg(CP_SEM_INCOMPLETE_TIMER_CNTL::zeroed());
    regs.write_reg(CP_RB_WPTR_DELAY::zeroed());
    regs.write_reg(CP_RB_VMID::zeroed());
    regs.write_reg(SCRATCH_ADDR::zeroed());

    let control = CP_RB0_CNTL::zeroed()
        .with_const_rb_bufsz::<LOG2_RING>()
        .with_const_rb_blksz::<LOG2_BLOCK>();
    regs.write_reg(control);
    // Only now may the read pointer be written.
    regs.write_reg(control.with_rb_rptr_wr_ena(true));
    regs.write_reg(CP_RB0_WPTR::zeroed());
    regs.write_reg(CP_RB0_RPTR::zeroed());
    let read_pointer = ring.read_pointer_addr();
    regs.write_reg(CP_RB0_RPTR_ADDR::from(low(read_pointer)));
    regs.write_reg(CP_RB0_RPTR_ADDR_HI::from(high(read_pointer) & 0xff));
    regs.write_reg(SCRATCH_UMSK::zeroed());
    fsleep(Delta::from_millis(1));
    regs.write_reg(control);

    let base = ring.gpu_addr() >> 8;
    regs.write_reg(CP_RB0_BASE::from(low(base)));
    regs.write_reg(CP_RB0_BASE_HI::from(high(base)));
}

/// Lets the command processor run, and gives it the clear state.
fn start_ring(card: &Card<'_>, ring: &Ring, info: &GraphicsInfo) {
    let regs = &card.regs;
    regs.write_reg(CP_MAX_CONTEXT::from(info.contexts - 1));
    regs.write_reg(CP_ENDIAN_SWAP::zeroed());
    regs.write_reg(CP_DEVICE_ID::from(1));
    regs.write_reg(CP_ME_CNTL::zeroed());
    fsleep(Delta::from_micros(50));
    ring.emit(|ring| emit_start(ring, &info.rasters[0]));
}

/// What the ring begins with: the constant engine's memory is divided, and all context registers
/// are set, which is kept for `CLEAR_STATE`.
fn emit_start(ring: &mut Writer<'_>, raster: &Raster) {
    /// In units of 1/0x10000 of its memory: half to each side.
    const HALF: u32 = 0x8000;
    emit(
        ring,
        SetCePartition {
            first: HALF,
            second: HALF,
        },
    );
    emit(ring, PreambleCntl::BeginClearState);
    emit(ring, ContextControl::NOTHING);
    clear_state::emit(ring);
    SetContextReg {
        register: pm4::register::<PA_SC_RASTER_CONFIG>(),
        values: &[raster.config, raster.config_1],
    }
    .emit(ring);
    emit(ring, PreambleCntl::EndClearState);
    emit(ring, ClearState);
    SetContextReg {
        register: pm4::register::<VGT_VERTEX_REUSE_BLOCK_CNTL>(),
        // And VGT_OUT_DEALLOC_CNTL, which follows it.
        values: &[0x0e, 0x10],
    }
    .emit(ring);
}

/// The write that says that the ring got so far. The first of two end-of-pipe events may overtake
/// the cache flush that it asks for, so it writes the number before.
fn emit_end_of_pipe(
    ring: &mut Writer<'_>,
    addr: u64,
    before: EopData,
    data: EopData,
    interrupt: Interrupt,
) {
    let eop = |data, interrupt| {
        EventWriteEop(EndOfPipe {
            addr,
            data,
            interrupt,
        })
    };
    emit(ring, eop(before, Interrupt::No));
    emit(ring, eop(data, interrupt));
}

/// Sets the context's page directory and drops the translations that it knows.
pub(super) fn emit_vm_flush(ring: &mut Writer<'_>, by: By, vm: &VmState) {
    match vm.flush {
        Flush::NotNeeded => return,
        Flush::Needed => {}
    }
    for (register, value) in vm_flush_writes(vm) {
        emit(
            ring,
            WriteRegister {
                by,
                register,
                value,
            },
        );
    }
    emit(
        ring,
        Wait::register_read(By::Me, pm4::register::<VM_INVALIDATE_REQUEST>()),
    );
    if let By::Pfp = by {
        // What the parser reads next must not be translated the old way.
        emit(ring, PfpSyncMe);
        // Nor may the constant engine run ahead with it.
        emit(ring, SwitchBuffer);
        emit(ring, SwitchBuffer);
    }
}

/// Registers (numbers in dwords) and values that make a context a process's.
pub(super) fn vm_flush_writes(vm: &VmState) -> [(u32, u32); 3] {
    let vmid = u32::from(vm.vmid.get());
    let directory = match vmid {
        0..8 => pm4::register::<VM_CONTEXT0_PAGE_TABLE_BASE_ADDR>() + vmid,
        _ => pm4::register::<VM_CONTEXT8_PAGE_TABLE_BASE_ADDR>() + vmid - 8,
    };
    [
        (directory, page_number(vm.pd_addr)),
        (pm4::register::<IH_VMID_LUT>() + vmid, u32::from(vm.pasid)),
        (pm4::register::<VM_INVALIDATE_REQUEST>(), 1 << vmid),
    ]
}

/// Makes what the CPU wrote to VRAM visible to what follows. Each client has a bit of its own.
pub(super) fn hdp_flush(by: By, client: u32) -> Wait {
    let request = pm4::register::<GPU_HDP_FLUSH_REQ>();
    Wait::handshake(by, request, pm4::register::<GPU_HDP_FLUSH_DONE>(), client)
}

/// Makes what was written to VRAM visible to the CPU.
pub(super) fn hdp_invalidate(by: By) -> WriteRegister {
    WriteRegister {
        by,
        register: pm4::register::<HDP_DEBUG0>(),
        value: 1,
    }
}
