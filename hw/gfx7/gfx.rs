// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The graphics command processor and its ring.

use kernel::io::Io;

use super::{
    pm4::{
        self, emit, By, ContextControl, EndOfPipe, EopData, EventWrite, EventWriteEop,
        IndirectBuffer, Interrupt, PfpSyncMe, Queue, SurfaceSync, SwitchBuffer, Wait, WriteMemory,
        WriteRegister,
    },
    regs::*,
};
use crate::{
    card::Card,
    hw::{Engine, FenceWrite},
    ring::{Flush, RingKind, Sink, Submission, VmState, Writer, RING_DWORDS},
};

pub(super) struct Gfx;

impl Engine for Gfx {
    fn emit_nops(&self, ring: &mut Writer<'_>, dwords: usize) {
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
        let position = write_pointer % RING_DWORDS as u32;
        card.regs.write_reg(CP_RB0_WPTR::from(position));
        card.regs.read(CP_RB0_WPTR);
    }
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
    let page = (vm.pd_addr >> super::pte::PAGE_SHIFT) as u32;
    [
        (directory, page),
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
