// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The command processors: PM4 packets of the gfx ring and of the compute queues.
//!
//! This file has the packets' names and lengths, the gfx ring's registers, and the errors. What
//! packets do is in `cp/packets.rs` (control), `cp/fence.rs` (fences), `cp/data.rs` (memory and
//! registers), `cp/on_chip.rs` (the global data share), `cp/dispatch.rs` (compute) and
//! `cp/draw.rs` (draws), how the front end runs ahead in `cp/prefetch.rs`.

mod data;
pub(crate) mod dispatch;
pub(crate) mod draw;
mod fence;
pub(crate) mod on_chip;
mod packets;
mod prefetch;

pub use prefetch::Fetched;

use std::ops::RangeInclusive;

use crate::{
    engine::{
        Block,
        EngineId,
        Need, //
    },
    gpu::{
        Gpu,
        Ring, //
    },
    pace::Since,
    regs::{
        Store,
        index::*, //
    },
    strict::Rule, //
};

/// Opcodes of type-3 packets.
pub mod op {
    #![expect(missing_docs, reason = "the names of the packet headers")]
    pub const NOP: u32 = 0x10;
    pub const SET_BASE: u32 = 0x11;
    pub const CLEAR_STATE: u32 = 0x12;
    pub const INDEX_BUFFER_SIZE: u32 = 0x13;
    pub const DISPATCH_DIRECT: u32 = 0x15;
    pub const DISPATCH_INDIRECT: u32 = 0x16;
    pub const ATOMIC_MEM: u32 = 0x1e;
    pub const SET_PREDICATION: u32 = 0x20;
    pub const COND_EXEC: u32 = 0x22;
    pub const DRAW_INDIRECT: u32 = 0x24;
    pub const DRAW_INDEX_INDIRECT: u32 = 0x25;
    pub const INDEX_BASE: u32 = 0x26;
    pub const DRAW_INDEX_2: u32 = 0x27;
    pub const CONTEXT_CONTROL: u32 = 0x28;
    pub const INDEX_TYPE: u32 = 0x2a;
    pub const DRAW_INDIRECT_MULTI: u32 = 0x2c;
    pub const DRAW_INDEX_AUTO: u32 = 0x2d;
    pub const NUM_INSTANCES: u32 = 0x2f;
    pub const INDIRECT_BUFFER_CONST: u32 = 0x33;
    pub const DRAW_INDEX_OFFSET_2: u32 = 0x35;
    pub const WRITE_DATA: u32 = 0x37;
    pub const DRAW_INDEX_INDIRECT_MULTI: u32 = 0x38;
    pub const WAIT_REG_MEM: u32 = 0x3c;
    pub const INDIRECT_BUFFER: u32 = 0x3f;
    pub const COPY_DATA: u32 = 0x40;
    pub const PFP_SYNC_ME: u32 = 0x42;
    pub const SURFACE_SYNC: u32 = 0x43;
    pub const EVENT_WRITE: u32 = 0x46;
    pub const EVENT_WRITE_EOP: u32 = 0x47;
    pub const RELEASE_MEM: u32 = 0x49;
    pub const PREAMBLE_CNTL: u32 = 0x4a;
    pub const DMA_DATA: u32 = 0x50;
    pub const ACQUIRE_MEM: u32 = 0x58;
    pub const REWIND: u32 = 0x59;
    pub const SET_CONFIG_REG: u32 = 0x68;
    pub const SET_CONTEXT_REG: u32 = 0x69;
    pub const SET_SH_REG: u32 = 0x76;
    pub const SET_UCONFIG_REG: u32 = 0x79;
    pub const INCREMENT_CE_COUNTER: u32 = 0x84;
    pub const INCREMENT_DE_COUNTER: u32 = 0x85;
    pub const WAIT_ON_CE_COUNTER: u32 = 0x86;
    pub const SWITCH_BUFFER: u32 = 0x8b;
}

/// Opcodes that the model knows, with name and number of body dwords (least, most).
const KNOWN: &[(u32, &str, u32, u32)] = &[
    (op::NOP, "NOP", 0, 0x3fff),
    (op::SET_BASE, "SET_BASE", 2, 3),
    (op::CLEAR_STATE, "CLEAR_STATE", 1, 1),
    (op::INDEX_BUFFER_SIZE, "INDEX_BUFFER_SIZE", 1, 1),
    (op::DISPATCH_DIRECT, "DISPATCH_DIRECT", 4, 4),
    (op::DISPATCH_INDIRECT, "DISPATCH_INDIRECT", 2, 3),
    (op::ATOMIC_MEM, "ATOMIC_MEM", 8, 8),
    (op::SET_PREDICATION, "SET_PREDICATION", 2, 2),
    (op::COND_EXEC, "COND_EXEC", 4, 4),
    (op::DRAW_INDIRECT, "DRAW_INDIRECT", 4, 4),
    (op::DRAW_INDEX_INDIRECT, "DRAW_INDEX_INDIRECT", 4, 4),
    (op::INDEX_BASE, "INDEX_BASE", 2, 2),
    (op::DRAW_INDEX_2, "DRAW_INDEX_2", 5, 5),
    (op::CONTEXT_CONTROL, "CONTEXT_CONTROL", 2, 2),
    (op::INDEX_TYPE, "INDEX_TYPE", 1, 1),
    (op::DRAW_INDIRECT_MULTI, "DRAW_INDIRECT_MULTI", 8, 9),
    (op::DRAW_INDEX_AUTO, "DRAW_INDEX_AUTO", 2, 2),
    (op::NUM_INSTANCES, "NUM_INSTANCES", 1, 1),
    (op::INDIRECT_BUFFER_CONST, "INDIRECT_BUFFER_CONST", 3, 3),
    (op::DRAW_INDEX_OFFSET_2, "DRAW_INDEX_OFFSET_2", 4, 4),
    (op::WRITE_DATA, "WRITE_DATA", 4, 0x3fff),
    (op::DRAW_INDEX_INDIRECT_MULTI, "DRAW_INDEX_INDIRECT_MULTI", 8, 9),
    (op::WAIT_REG_MEM, "WAIT_REG_MEM", 6, 6),
    (op::INDIRECT_BUFFER, "INDIRECT_BUFFER", 3, 3),
    (op::COPY_DATA, "COPY_DATA", 5, 5),
    (op::PFP_SYNC_ME, "PFP_SYNC_ME", 1, 1),
    (op::SURFACE_SYNC, "SURFACE_SYNC", 4, 4),
    (op::EVENT_WRITE, "EVENT_WRITE", 1, 3),
    (op::EVENT_WRITE_EOP, "EVENT_WRITE_EOP", 5, 5),
    (op::RELEASE_MEM, "RELEASE_MEM", 6, 6),
    (op::PREAMBLE_CNTL, "PREAMBLE_CNTL", 1, 1),
    (op::DMA_DATA, "DMA_DATA", 6, 6),
    (op::ACQUIRE_MEM, "ACQUIRE_MEM", 6, 6),
    (op::REWIND, "REWIND", 1, 1),
    (op::SET_CONFIG_REG, "SET_CONFIG_REG", 2, 0x3fff),
    (op::SET_CONTEXT_REG, "SET_CONTEXT_REG", 2, 0x3fff),
    (op::SET_SH_REG, "SET_SH_REG", 2, 0x3fff),
    (op::SET_UCONFIG_REG, "SET_UCONFIG_REG", 2, 0x3fff),
    (op::INCREMENT_CE_COUNTER, "INCREMENT_CE_COUNTER", 1, 1),
    (op::INCREMENT_DE_COUNTER, "INCREMENT_DE_COUNTER", 1, 1),
    (op::WAIT_ON_CE_COUNTER, "WAIT_ON_CE_COUNTER", 1, 1),
    (op::SWITCH_BUFFER, "SWITCH_BUFFER", 1, 1),
];

/// A type-2 packet: one dword of filler.
const TYPE2: u32 = 0x8000_0000;
/// A NOP whose count says: header only.
const FILLER: u32 = 0xffff_1000;

/// GRBM_SOFT_RESET: the command processors.
const CP_RESET: u32 = 1 | 1 << 17 | 1 << 18 | 1 << 19;
/// GRBM_SOFT_RESET: the run list controller,
const RLC_RESET: u32 = 1 << 2;
/// and the rest of the graphics block,
const GFX_RESET: u32 = 1 << 16;
/// which loses its address configuration and tables of tile modes among others.
const GFX_SETTINGS: RangeInclusive<u32> = 0x263d..=0x26ff;
/// CP_MEC_CNTL: both micro-engines halted.
pub(crate) const MEC_HALT: u32 = 1 << 28 | 1 << 30;
const CE_HALT: u32 = 1 << 24;
const ME_HALT: u32 = 1 << 28;
const PFP_HALT: u32 = 1 << 26;
const RPTR_WR_ENA: u32 = 1 << 31;
const NO_UPDATE: u32 = 1 << 27;
/// GRBM_STATUS.GUI_ACTIVE.
const GUI_ACTIVE: u32 = 1 << 31;
/// CP_RB_RPTR_WR, the value that the read pointer takes when it may be written.
const CP_RB_RPTR_WR: u32 = 0x3042;

fn known(header: u32) -> Option<&'static (u32, &'static str, u32, u32)> {
    let opcode = header >> 8 & 0xff;
    KNOWN.iter().find(|k| k.0 == opcode)
}

/// The packet's name.
pub fn name(header: u32) -> &'static str {
    if header == TYPE2 {
        return "NOP";
    }
    known(header).map_or("?", |k| k.1)
}

/// Length of the packet with this header.
pub fn length(header: u32) -> Result<Need, String> {
    let exact = |dwords| Ok(Need { dwords, exact: true });
    if header == TYPE2 || header == FILLER {
        return exact(1);
    }
    if header >> 30 != 3 {
        return Err(format!(
            "PM4 packet {header:#010x}: type {} does not exist here",
            header >> 30
        ));
    }
    let body = (header >> 16 & 0x3fff) + 1;
    let Some((_, name, least, most)) = known(header) else {
        return Err(format!("PM4 packet {header:#010x}: opcode {:#x} unknown", header >> 8 & 0xff));
    };
    if !(*least..=*most).contains(&body) && header >> 8 & 0xff != op::NOP {
        return Err(format!("PM4 {name} with {body} body dwords, expected {least} to {most}"));
    }
    // Bits 7:2 are reserved; bit 1 is the shader type, bit 0 the predicate.
    if header & 0xfc != 0 {
        return Err(format!("PM4 {name} {header:#010x}: reserved bits in the header"));
    }
    exact(1 + body)
}

impl Gpu {
    pub(crate) fn gfx_ring(&self) -> Option<Ring> {
        if self.regs.get(CP_ME_CNTL) & (ME_HALT | PFP_HALT) != 0
            || !self.ucode.gfx()
            || self.cp_in_reset()
        {
            return None;
        }
        // BUFSZ is log2 of the size in 8-byte units.
        let size = 2u32 << (self.regs.get(CP_RB0_CNTL) & 0x3f).min(20);
        let base = u64::from(self.regs.get(CP_RB0_BASE)) << 8
            | u64::from(self.regs.get(CP_RB0_BASE_HI)) << 40;
        Some(Ring {
            vmid: (self.regs.get(CP_RB_VMID) & 0xf) as u8,
            base,
            size,
            rptr: self.regs.get(CP_RB0_RPTR) & (size - 1),
            wptr: self.regs.get(CP_RB0_WPTR) & (size - 1),
        })
    }

    pub(crate) fn gfx_set_rptr(&mut self, rptr: u32) {
        self.regs.set(CP_RB0_RPTR, rptr);
        if self.regs.get(CP_RB0_CNTL) & NO_UPDATE != 0 {
            return;
        }
        let at = self.regs.get64(CP_RB0_RPTR_ADDR, CP_RB0_RPTR_ADDR_HI);
        if self.mem_write_u32(Self::access(EngineId::Gfx, 0), at & !3, rptr).is_err() {
            self.log.violation(
                "rptr-writeback",
                format!("gfx: the read pointer cannot be written to {at:#x}"),
            );
        }
    }

    /// A write to a register of the gfx ring.
    pub(crate) fn gfx_write(&mut self, reg: u32, value: u32) {
        let moving = matches!(reg, CP_RB0_BASE | CP_RB0_BASE_HI) && self.has_work(EngineId::Gfx);
        let running = self.gfx_ring().is_some();
        if moving {
            self.log.violation("ring-moved", "gfx: ring base changed while the ring executes");
        }
        if reg == CP_RB0_RPTR && self.regs.get(CP_RB0_CNTL) & RPTR_WR_ENA == 0 {
            self.log.violation(
                "read-only",
                format!("CP_RB0_RPTR := {value:#x} without RB_RPTR_WR_ENA"),
            );
            return;
        }
        if reg == CP_RB0_WPTR && value != 0 {
            self.check_banks("a write of CP_RB0_WPTR");
            self.check_wait(Since::Gfx, "a write of CP_RB0_WPTR");
        }
        let had = self.regs.get(reg);
        self.regs.set(reg, value);
        if running && self.gfx_ring().is_none() {
            self.halted(Block::Gfx);
        }
        if reg == CP_ME_CNTL && had & ME_HALT != 0 && value & ME_HALT == 0 {
            self.mark(Since::Gfx);
        }
        if reg == CP_RB0_CNTL && had & RPTR_WR_ENA != 0 && value & RPTR_WR_ENA == 0 {
            self.check_wait(Since::ReadPointer, "CP_RB0_CNTL without RB_RPTR_WR_ENA");
        }
        if reg == CP_RB0_CNTL && value & RPTR_WR_ENA != 0 {
            let rptr = self.regs.get(CP_RB_RPTR_WR);
            self.regs.set(CP_RB0_RPTR, rptr);
            self.mark(Since::ReadPointer);
            self.gfx.ibs.clear();
        }
        self.kick();
    }

    /// GRBM_STATUS as read.
    pub(crate) fn grbm_status(&self) -> u32 {
        let mut queues =
            self.mec.keys().map(|&(me, pipe, queue)| EngineId::Compute { me, pipe, queue });
        let busy =
            self.busy(EngineId::Gfx) || self.gfx.hung.is_some() || queues.any(|q| self.busy(q));
        u32::from(busy) * GUI_ACTIVE
    }

    /// GRBM_SOFT_RESET: command processors (bits 0, 17, 18, 19). They are halted, their queues and
    /// rings empty, their microcode gone; as long as the bit is set they do nothing. The run list
    /// controller (bit 2) stops. The rest of the block (bit 16) loses its settings.
    pub(crate) fn grbm_soft_reset(&mut self, value: u32) {
        self.regs.set(GRBM_SOFT_RESET, value);
        if self.config.inject.no_soft_reset {
            return;
        }
        if value & RLC_RESET != 0 {
            self.regs.set(RLC_CNTL, 0);
        }
        if value & GFX_RESET != 0 {
            self.power_up(GFX_SETTINGS);
            self.power_up(GDS_VMID0_BASE..=GDS_OA_VMID15);
        }
        if value & CP_RESET == 0 {
            return;
        }
        self.power_up(CP_RB0_BASE..=CP_RB_VMID);
        if self.config.strict.has(Rule::ResetInterrupts) {
            self.regs.set(CP_INT_CNTL_RING0, 0);
            (0..8).for_each(|pipe| self.regs.set(CP_ME1_PIPE0_INT_CNTL + pipe, 0));
        }
        self.under_way.drop_of(Block::Gfx);
        self.under_way.drop_of(Block::Compute);
        self.gfx.reset();
        for sel in std::mem::take(&mut self.mec).into_keys() {
            self.regs.set_queue(sel, CP_HQD_ACTIVE, 0);
        }
        self.forget_queues();
        self.ucode.lose_cp();
        self.regs.set(CP_ME_CNTL, CE_HALT | PFP_HALT | ME_HALT);
        self.regs.set(CP_MEC_CNTL, MEC_HALT);
        self.regs.set(CP_RB0_RPTR, 0);
        self.regs.set(CP_RB0_WPTR, 0);
    }

    /// Gives registers the values that they have at power-up.
    fn power_up(&mut self, registers: RangeInclusive<u32>) {
        let fresh = Store::new(&self.config, false);
        registers.for_each(|reg| self.regs.set(reg, fresh.get(reg)));
    }

    /// Returns true if the command processors are held in reset.
    pub(crate) fn cp_in_reset(&self) -> bool {
        self.regs.get(GRBM_SOFT_RESET) & CP_RESET != 0
    }

    /// Identity of an executor in an interrupt vector: pipe 1:0, micro-engine 3:2, queue 6:4.
    /// Nobody knows whether GFX7 fills the queue in, so a driver must do without.
    pub(crate) fn ring_id(&self, id: EngineId) -> u32 {
        match id {
            EngineId::Compute { me, pipe, queue } => {
                let queue = if self.queue_in_vectors { queue } else { 0 };
                u32::from(pipe) | u32::from(me) << 2 | u32::from(queue) << 4
            }
            _ => 0,
        }
    }

    /// The register that enables an executor's interrupts.
    pub(crate) fn int_cntl(&self, id: EngineId) -> u32 {
        let reg = match id {
            EngineId::Compute { me: 1, pipe, .. } => CP_ME1_PIPE0_INT_CNTL + u32::from(pipe),
            EngineId::Compute { pipe, .. } => CP_ME2_PIPE0_INT_CNTL + u32::from(pipe),
            _ => CP_INT_CNTL_RING0,
        };
        self.regs.get(reg)
    }

    /// The interrupts of a packet that cannot be executed: bad opcode 183, from a user also illegal
    /// instruction 185; privileged register 184. Each has an enable bit.
    pub(crate) fn cp_error(&mut self, id: EngineId, rule: &'static str, vmid: u8) {
        const OPCODE: (u8, u32) = (183, 24);
        const REGISTER: (u8, u32) = (184, 23);
        const INSTRUCTION: (u8, u32) = (185, 22);
        let sources: &[(u8, u32)] = match rule {
            "illegal-packet" if vmid != 0 => &[OPCODE, INSTRUCTION],
            "illegal-packet" => &[OPCODE],
            "privilege" => &[REGISTER],
            _ => return,
        };
        for (source, bit) in sources {
            if self.int_cntl(id) & 1 << bit != 0 {
                self.interrupt(*source, 0, self.ring_id(id), vmid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let len = |h| length(h).map(|n| n.dwords);
        assert_eq!(len(FILLER), Ok(1));
        assert_eq!(len(TYPE2), Ok(1));
        assert_eq!(len(0xc000_1000), Ok(2));
        assert_eq!(len(0xc005_3c00), Ok(7));
        assert!(len(0xc004_3c00).is_err(), "WAIT_REG_MEM with five body dwords");
        assert!(len(0xc000_ff00).is_err(), "unknown opcode");
        assert!(len(0x0000_1234).is_err(), "type 0");
        assert!(len(0xc005_3c04).is_err(), "reserved bit");
    }
}
