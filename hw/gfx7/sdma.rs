// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The two DMA engines and their rings.

use kernel::io::{
    register::{RegisterBase, WithBase},
    Io,
};

use super::{
    gfx::vm_flush_writes,
    pm4::register,
    regs::*,
    sdma_packet::{
        self, emit, ConstantFill, Copy, Fence, IndirectBuffer, Poll, SrbmWrite, Trap, Write,
    },
};
use crate::{
    card::Card,
    hw::{Engine, FenceWrite, Mover},
    ring::{Flush, RingKind, Sink, Submission, VmState, Writer, RING_DWORDS},
};

pub(super) struct Sdma;

impl Engine for Sdma {
    fn emit_nops(&self, ring: &mut Writer<'_>, dwords: usize) {
        for _ in 0..dwords {
            ring.push(sdma_packet::NOP);
        }
    }

    fn emit_write(&self, ring: &mut Writer<'_>, addr: u64, value: u32) {
        emit(ring, Write { addr, value });
    }

    fn emit_submission(
        &self,
        ring: &mut Writer<'_>,
        kind: RingKind,
        submission: &Submission<'_>,
        fence: FenceWrite,
    ) {
        emit(
            ring,
            Poll::Memory {
                addr: fence.gpu_addr,
                value: fence.seq.wrapping_sub(1),
            },
        );
        if let Some(vm) = &submission.vm {
            emit_vm_flush(ring, vm);
        }
        emit(ring, hdp_flush(kind));
        for ib in submission.ibs {
            // The packet must end on a multiple of 8.
            let end = ring.position().wrapping_add(IndirectBuffer::DWORDS);
            self.emit_nops(ring, (end.wrapping_neg() % 8) as usize);
            emit(
                ring,
                IndirectBuffer {
                    addr: ib.va,
                    dwords: ib.dwords,
                    vmid: submission.vmid(),
                },
            );
        }
        emit(
            ring,
            SrbmWrite {
                register: register::<HDP_DEBUG0>(),
                value: 1,
            },
        );
        if let Some(user) = submission.user_fence {
            // A fence is one dword. The upper half goes first: the lower half is what changes.
            for (addr, value) in [
                (user.gpu_addr + 4, (user.value >> 32) as u32),
                (user.gpu_addr, user.value as u32),
            ] {
                emit(ring, Fence { addr, value });
            }
        }
        emit(
            ring,
            Fence {
                addr: fence.gpu_addr,
                value: fence.seq,
            },
        );
        emit(ring, Trap);
    }

    fn kick(&self, card: &Card<'_>, kind: RingKind, write_pointer: u32) {
        let bytes = (write_pointer % RING_DWORDS as u32) * size_of::<u32>() as u32;
        match kind {
            RingKind::Sdma(0) => set_write_pointer::<Sdma0>(card, bytes),
            _ => set_write_pointer::<Sdma1>(card, bytes),
        }
    }
}

fn set_write_pointer<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>, bytes: u32) {
    card.regs
        .write(SDMA0_GFX_RB_WPTR::of::<Engine>(), bytes.into());
}

/// Sets the context's page directory and drops the translations that it knows.
fn emit_vm_flush(ring: &mut Writer<'_>, vm: &VmState) {
    match vm.flush {
        Flush::NotNeeded => return,
        Flush::Needed => {}
    }
    for (register, value) in vm_flush_writes(vm) {
        emit(ring, SrbmWrite { register, value });
    }
    emit(
        ring,
        Poll::RegisterRead(register::<VM_INVALIDATE_REQUEST>()),
    );
}

/// Makes what the CPU wrote to VRAM visible to what follows.
fn hdp_flush(kind: RingKind) -> Poll {
    let client = match kind {
        RingKind::Sdma(0) => GPU_HDP_FLUSH_DONE::SDMA0_MASK,
        _ => GPU_HDP_FLUSH_DONE::SDMA1_MASK,
    };
    Poll::Handshake {
        request: register::<GPU_HDP_FLUSH_REQ>(),
        done: register::<GPU_HDP_FLUSH_DONE>(),
        bits: client,
    }
}

impl Mover for Sdma {
    fn max_bytes(&self) -> u32 {
        // The largest that keeps both ends on a page.
        Copy::MAX_BYTES & !0xfff
    }

    fn max_dwords(&self) -> usize {
        7
    }

    fn emit_copy(&self, out: &mut dyn Sink, source: u64, destination: u64, bytes: u32) {
        emit(
            out,
            Copy {
                source,
                destination,
                bytes,
            },
        );
    }

    fn emit_fill(&self, out: &mut dyn Sink, addr: u64, value: u32, bytes: u32) {
        emit(out, ConstantFill { addr, value, bytes });
    }
}
