// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Addresses that a driver hands over and that are seldom used: the end-of-pipe ring and the queue
//! descriptors of the compute engines, the page for dummy reads, the page for stray accesses. The model
//! uses each of them, so that memory that is too small, unmapped or freed is noticed.

use rand::Rng;

use crate::engine::EngineId;
use crate::gpu::Gpu;
use crate::mc::Access;
use crate::regs::QueueSel;
use crate::regs::index::*;

/// Bytes that an end-of-pipe event takes in the ring of its pipe.
const EVENT: u64 = 32;
/// Dword of a queue's descriptor where the registers from CP_MQD_BASE_ADDR on are.
const SAVED: u64 = 51;

fn address(lo: u32, hi: u32) -> u64 {
    u64::from(hi & 0xffff) << 32 | u64::from(lo)
}

impl Gpu {
    /// An end-of-pipe event of a compute queue passes through the ring of its pipe.
    pub(crate) fn touch_eop(&mut self, me: u8, pipe: u8, queue: u8) {
        let r = |reg| self.regs.queue((me, pipe, 0), reg);
        let base = address(r(CP_HPD_EOP_BASE_ADDR), r(CP_HPD_EOP_BASE_ADDR_HI)) << 8;
        // EOP_SIZE n means 2^(n+1) dwords.
        let size = 8_u64 << (r(CP_HPD_EOP_CONTROL) & 0x3f).min(28);
        let vmid = (r(CP_HPD_EOP_VMID) & 0xf) as u8;
        let id = EngineId::Compute { me, pipe, queue };
        let at = self.eop_at.entry((me, pipe)).or_default();
        let offset = *at % size;
        *at = offset + EVENT;
        let bytes: [u8; EVENT as usize] = self.rng.random();
        let done = self.mem_write(Self::access(id, vmid), base + offset, &bytes[..EVENT.min(size) as usize]);
        if base == 0 || done.is_err() {
            let what = format!("{id}: no memory for its end-of-pipe events at {base:#x}, {size} bytes");
            self.log.violation("eop-ring", what);
        }
    }

    /// A queue is started: its descriptor is read.
    pub(crate) fn touch_descriptor(&mut self, sel: QueueSel) {
        let (a, at) = self.descriptor(sel);
        let done = self.mem_read_u32(a, at & !3);
        self.check_descriptor(sel, at, done.is_ok());
    }

    /// A queue is taken off: its registers are saved in its descriptor.
    pub(crate) fn save_descriptor(&mut self, sel: QueueSel) {
        let (a, at) = self.descriptor(sel);
        let saved = (CP_MQD_BASE_ADDR..=CP_MQD_CONTROL).flat_map(|reg| self.regs.queue(sel, reg).to_le_bytes());
        let bytes: Vec<u8> = saved.collect();
        let done = self.mem_write(a, at + SAVED * 4, &bytes);
        self.check_descriptor(sel, at, done.is_ok());
    }

    fn descriptor(&self, sel: QueueSel) -> (Access, u64) {
        let r = |reg| self.regs.queue(sel, reg);
        let id = EngineId::Compute { me: sel.0, pipe: sel.1, queue: sel.2 };
        let vmid = (r(CP_MQD_CONTROL) & 0xf) as u8;
        (Self::access(id, vmid), address(r(CP_MQD_BASE_ADDR), r(CP_MQD_BASE_ADDR_HI)))
    }

    fn check_descriptor(&mut self, sel: QueueSel, at: u64, reached: bool) {
        if at == 0 || !reached {
            self.log.violation("descriptor", format!("queue {sel:?}: its descriptor at {at:#x} is no memory"));
        }
    }

    /// Now and then: the dummy read of the interrupt handler, and a stray write.
    pub(crate) fn touch_strays(&mut self) {
        if self.rng.random_ratio(7, 8) {
            return;
        }
        let dummy = u64::from(self.regs.get(INTERRUPT_CNTL2)) << 8;
        let a = Access { vmid: 0, client: crate::ih::CLIENT, client_id: 0x0e };
        if dummy != 0 {
            self.bus_place(a, dummy, dummy, false);
        }
        let stray = u64::from(self.regs.get(MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR)) << 12;
        if stray != 0 {
            let bytes: [u8; 16] = self.rng.random();
            let at = stray + self.rng.random_range(0..256) * 16;
            if self.mem_write(a, at, &bytes).is_err() {
                self.log.violation("stray-page", format!("the page for stray accesses at {stray:#x} is no memory"));
            }
        }
    }
}
