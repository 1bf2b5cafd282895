// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Addresses that a driver hands over and that are seldom used: the end-of-pipe ring of the compute
//! engines, the page for dummy reads, the page for stray accesses. The model uses each of them, so
//! that memory that is too small, unmapped or freed is noticed. (Queue descriptors: `mqd.rs`.)

use rand::Rng;

use crate::{
    engine::EngineId,
    gpu::Gpu,
    mc::Access,
    regs::index::*, //
};

/// Bytes that an end-of-pipe event takes in the ring of its pipe.
const EVENT: u64 = 32;

/// An address of 48 bits in two registers.
pub(crate) fn address(lo: u32, hi: u32) -> u64 {
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
        let done = self.mem_write(
            Self::access(id, vmid),
            base + offset,
            &bytes[..EVENT.min(size) as usize],
        );
        if base == 0 || done.is_err() {
            let what =
                format!("{id}: no memory for its end-of-pipe events at {base:#x}, {size} bytes");
            self.log.violation("eop-ring", what);
        }
    }

    /// Now and then: the dummy read of the interrupt handler, and a stray write.
    pub(crate) fn touch_strays(&mut self) {
        if self.rng.random_ratio(7, 8) {
            return;
        }
        let dummy = u64::from(self.regs.get(INTERRUPT_CNTL2)) << 8;
        let a = Access { vmid: 0, client: crate::ih::CLIENT, client_id: 0x0e, copied: false };
        if dummy != 0 {
            self.bus_place(a, dummy, dummy, false);
        }
        let stray = u64::from(self.regs.get(MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR)) << 12;
        if stray != 0 {
            let bytes: [u8; 16] = self.rng.random();
            let at = stray + self.rng.random_range(0..256) * 16;
            if self.mem_write(a, at, &bytes).is_err() {
                self.log.violation(
                    "stray-page",
                    format!("the page for stray accesses at {stray:#x} is no memory"),
                );
            }
        }
    }
}
