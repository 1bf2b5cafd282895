// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Commands that the rings of both command processors, graphics and compute, have in common (the C
//! driver's `gfx_v7_0_ring_emit_*`).

use super::{
    on_chip,
    page_number,
    pm4::{
        self,
        emit,
        By,
        DmaSync,
        IndirectBuffer,
        QueueKind,
        Wait,
        WriteMemory,
        WriteRegister, //
    },
    regs::*, //
};
use crate::hw::command::{
    Ib,
    Sink,
    VmState, //
};

/// Emits `dwords` dwords that do nothing.
pub(super) fn nops(out: &mut dyn Sink, dwords: u32) {
    for _ in 0..dwords {
        out.put(&[pm4::NOP]);
    }
}

/// Emits a write of one dword to memory.
pub(super) fn write(out: &mut dyn Sink, addr: u64, value: u32) {
    let by = By::Me;
    emit(out, WriteMemory { by, addr, value });
}

/// Emits the change of the context's page directory, the drop of its cached translations, and the
/// change of its on-chip memory, if there is one.
pub(super) fn flush_vm(out: &mut dyn Sink, by: By, vm: &VmState) {
    let on_chip = vm.on_chip.map(|on_chip| on_chip::writes(vm.vmid, &on_chip));
    for (register, value) in on_chip.into_iter().flatten() {
        let by = By::Me;
        emit(
            out,
            WriteRegister {
                by,
                register,
                value,
            },
        );
    }
    for (register, value) in vm_flush_writes(vm) {
        emit(
            out,
            WriteRegister {
                by,
                register,
                value,
            },
        );
    }
    emit(
        out,
        Wait::register_read(By::Me, pm4::register::<VM_INVALIDATE_REQUEST>()),
    );
}

/// Emits the execution of a command buffer (IB).
pub(super) fn ib(out: &mut dyn Sink, ib: &Ib, vmid: u8, queue: QueueKind) {
    let packet = IndirectBuffer {
        addr: ib.va,
        dwords: ib.dwords,
        vmid,
        queue,
    };
    emit(out, packet);
}

/// Returns registers (numbers in dwords) and values that give a context to a process.
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

/// Returns the packet that makes the CPU's writes to VRAM visible to later commands. Each client
/// has its own bit.
pub(super) fn hdp_flush(by: By, client: u32) -> Wait {
    let request = pm4::register::<GPU_HDP_FLUSH_REQ>();
    Wait::handshake(by, request, pm4::register::<GPU_HDP_FLUSH_DONE>(), client)
}

/// Emits waits for the copies that IBs have left to the DMA of these engines. Without the waits,
/// copies may write to memory after the fence, when that memory may belong to someone else.
pub(super) fn dma_sync(out: &mut dyn Sink, engines: &[By]) {
    for by in engines {
        emit(out, DmaSync(*by));
    }
}

/// Returns the packet that makes writes to VRAM visible to the CPU.
pub(super) fn hdp_invalidate(by: By) -> WriteRegister {
    WriteRegister {
        by,
        register: pm4::register::<HDP_DEBUG0>(),
        value: 1,
    }
}
