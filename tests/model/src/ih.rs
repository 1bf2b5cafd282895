// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The interrupt handler: a ring of 16-byte vectors in memory, its write pointer written back to
//! memory, and the message-signaled interrupt.
//!
//! Order kept: what the interrupt announces, then the vector, then the write pointer, then the
//! message. With RPTR_REARM, after a message no other is sent until the read pointer is written. If
//! vectors are left by then, one is sent at once, or not before the next vector: the seed decides,
//! each time, as nobody knows what hardware does.

use rand::Rng;

use crate::{
    gpu::Gpu,
    mc::Access,
    regs::index::*,
    trace::Event, //
};

/// Name of the interrupt handler as a memory client.
pub(crate) const CLIENT: &str = "IH";

const ENABLE: u32 = 1;
const WRITEBACK: u32 = 1 << 8;
const OVERFLOW_ENABLE: u32 = 1 << 16;
const OVERFLOW_CLEAR: u32 = 1 << 31;
const ENABLE_INTR: u32 = 1;
const REARM: u32 = 1 << 4;
/// Overflow flag in the write pointer.
const OVERFLOW: u32 = 1;
const VECTOR: u32 = 16;

/// State beside the registers.
#[derive(Default)]
pub struct Ih {
    /// A message was sent and the read pointer not written since.
    waiting_for_rptr: bool,
    overflow: bool,
    /// Vectors written since power-up.
    pub vectors: u64,
    /// Messages sent since power-up.
    pub messages: u64,
}

impl Gpu {
    fn ih_mask(&self) -> u32 {
        let log2_dwords = self.regs.get(IH_RB_CNTL) >> 1 & 0x1f;
        (4u64 << log2_dwords).wrapping_sub(1) as u32
    }

    fn ih_access(&self) -> Access {
        let vmid = (self.regs.get(IH_CNTL) >> 25 & 0xf) as u8;
        Access { vmid, client: CLIENT, client_id: 0x0e, copied: false }
    }

    /// Queues an interrupt vector and sends the message.
    pub(crate) fn interrupt(&mut self, source: u8, data: u32, ring_id: u32, vmid: u8) {
        let cntl = self.regs.get(IH_RB_CNTL);
        if cntl & ENABLE == 0 {
            self.log.note(format!("interrupt source {source} lost: the ring is disabled"));
            return;
        }
        self.touch_strays();
        let pasid = self.regs.get(IH_VMID_0_LUT + u32::from(vmid)) & 0xffff;
        let pasid = if vmid == 0 { 0 } else { pasid };
        let dwords = [
            u32::from(source),
            data & 0x0fff_ffff,
            ring_id | u32::from(vmid) << 8 | pasid << 16,
            0,
        ];
        let mask = self.ih_mask();
        let wptr = self.regs.get(IH_RB_WPTR) & mask;
        let base = u64::from(self.regs.get(IH_RB_BASE)) << 8;
        let bytes: Vec<u8> = dwords.iter().flat_map(|d| d.to_le_bytes()).collect();
        let a = self.ih_access();
        if self.mem_write(a, base + u64::from(wptr), &bytes).is_err() {
            self.log
                .violation("ih-ring", format!("the interrupt ring at {base:#x} cannot be written"));
            return;
        }
        let next = wptr.wrapping_add(VECTOR) & mask;
        if next == self.regs.get(IH_RB_RPTR) & mask && cntl & OVERFLOW_ENABLE != 0 {
            self.ih.overflow = true;
            self.log.note("interrupt ring overflow");
        }
        self.regs.set(IH_RB_WPTR, next);
        self.ih.vectors += 1;
        self.log.event(Event::Vector { source, dwords, wptr: next });
        self.ih_write_back();
        self.ih_message();
    }

    fn ih_write_back(&mut self) {
        if self.regs.get(IH_RB_CNTL) & WRITEBACK == 0 || self.config.inject.no_ih_writeback {
            return;
        }
        let value = self.regs.get(IH_RB_WPTR) & !OVERFLOW | u32::from(self.ih.overflow);
        let at = self.regs.get64(IH_RB_WPTR_ADDR_LO, IH_RB_WPTR_ADDR_HI);
        let a = self.ih_access();
        if self.mem_write_u32(a, at & !3, value).is_err() {
            self.log.violation(
                "ih-writeback",
                format!("the write pointer cannot be written to {at:#x}"),
            );
        }
    }

    fn ih_message(&mut self) {
        let cntl = self.regs.get(IH_CNTL);
        if cntl & ENABLE_INTR == 0 || (cntl & REARM != 0 && self.ih.waiting_for_rptr) {
            return;
        }
        self.ih.waiting_for_rptr = true;
        if self.config.inject.no_interrupt.is_some_and(|after| self.ih.messages >= after) {
            self.log.note("MSI withheld (injected)");
            return;
        }
        // A message is a write to memory: without bus mastering there is none.
        let delivered = self.pci.bus_master() && self.host.raise_msi();
        self.ih.messages += 1;
        self.log.event(Event::Msi { delivered });
    }

    /// A write to IH_RB_RPTR.
    pub(crate) fn ih_write_rptr(&mut self, value: u32) {
        let mask = self.ih_mask();
        if value & !mask & 0x3ffff != 0 || value % VECTOR != 0 {
            self.log.violation(
                "ih-rptr",
                format!("IH_RB_RPTR := {value:#x} is not a vector in the ring"),
            );
        }
        self.regs.set(IH_RB_RPTR, value);
        self.ih.waiting_for_rptr = false;
        let left = self.regs.get(IH_RB_CNTL) & ENABLE != 0
            && self.regs.get(IH_RB_WPTR) & mask != value & mask;
        if left && self.rng.random() {
            self.ih_message();
        }
    }

    /// A write to IH_RB_CNTL.
    pub(crate) fn ih_write_cntl(&mut self, value: u32) {
        if value & OVERFLOW_CLEAR != 0 {
            self.ih.overflow = false;
        }
        if value & ENABLE == 0 {
            self.ih.waiting_for_rptr = false;
        }
        self.regs.set(IH_RB_CNTL, value & !OVERFLOW_CLEAR);
    }

    /// A write to IH_RB_WPTR.
    pub(crate) fn ih_write_wptr(&mut self, value: u32) {
        self.ih.overflow = false;
        self.regs.set(IH_RB_WPTR, value);
    }

    /// IH_RB_WPTR as read: with the overflow flag.
    pub(crate) fn ih_read_wptr(&self) -> u32 {
        self.regs.get(IH_RB_WPTR) & !OVERFLOW | u32::from(self.ih.overflow)
    }
}
