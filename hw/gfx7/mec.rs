// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The compute command processor (MEC) and its queues.
//!
//! The MEC has four pipes of eight queues; the driver uses the eight queues of pipe 0. A queue has
//! its ring, its doorbell, and a set of registers (HQD) that `SRBM_GFX_CNTL` chooses.

use super::{
    gfx::{emit_vm_flush, hdp_flush, hdp_invalidate},
    pm4::{
        self, emit, AcquireMem, By, EndOfPipe, EopData, IndirectBuffer, Interrupt, Queue,
        ReleaseMem, Wait, WriteMemory,
    },
    regs::*,
};
use crate::{
    card::Card,
    hw::{Engine, FenceWrite},
    ring::{RingKind, Sink, Submission, Writer, RING_DWORDS},
};

/// Doorbell of the first queue.
const FIRST_DOORBELL: usize = 0x10;

pub(super) struct Mec;

impl Engine for Mec {
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
            Wait::memory(By::Me, fence.gpu_addr, fence.seq.wrapping_sub(1)),
        );
        if let Some(vm) = &submission.vm {
            emit_vm_flush(ring, By::Me, vm);
        }
        emit(ring, AcquireMem);
        // All our queues are of the first pipe.
        emit(ring, hdp_flush(By::Me, GPU_HDP_FLUSH_DONE::CP2_MASK));
        for ib in submission.ibs {
            emit(
                ring,
                IndirectBuffer {
                    addr: ib.va,
                    dwords: ib.dwords,
                    vmid: submission.vmid(),
                    queue: Queue::Compute,
                },
            );
        }
        emit(ring, hdp_invalidate(By::Me));
        if let Some(user) = submission.user_fence {
            emit(
                ring,
                ReleaseMem(EndOfPipe {
                    addr: user.gpu_addr,
                    data: EopData::Qword(user.value),
                    interrupt: Interrupt::No,
                }),
            );
        }
        emit(
            ring,
            ReleaseMem(EndOfPipe {
                addr: fence.gpu_addr,
                data: EopData::Dword(fence.seq),
                interrupt: Interrupt::Yes,
            }),
        );
    }

    fn kick(&self, card: &Card<'_>, kind: RingKind, write_pointer: u32) {
        let RingKind::Compute(queue) = kind else {
            return;
        };
        let position = write_pointer % RING_DWORDS as u32;
        card.doorbells
            .ring(FIRST_DOORBELL + usize::from(queue), position);
    }
}
