// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The compute micro-engines: hardware queue descriptors and doorbells. A queue executes from the
//! moment CP_HQD_ACTIVE is written until it is dequeued.

use crate::{
    engine::EngineId,
    gpu::{
        Gpu,
        Ring, //
    },
    pace::Since,
    regs::{
        QueueSel,
        index::*, //
    },
    strict::Rule,
    trace::Event, //
};

const ME1_HALT: u32 = 1 << 30;
const ME2_HALT: u32 = 1 << 28;
const DOORBELL_EN: u32 = 1 << 30;
const DOORBELL_HIT: u32 = 1 << 31;
const DEQUEUE: u32 = 3;

impl Gpu {
    pub(crate) fn compute_ring(&self, sel: QueueSel) -> Option<Ring> {
        if self.is_halted(sel)
            || !self.ucode.compute()
            || self.cp_in_reset()
            || self.is_dequeuing(sel)
            || self.regs.queue(sel, CP_HQD_ACTIVE) & 1 == 0
        {
            return None;
        }
        let q = |reg| self.regs.queue(sel, reg);
        // QUEUE_SIZE n means 2^(n+1) dwords.
        let size = 2u32 << (q(CP_HQD_PQ_CONTROL) & 0x3f).min(20);
        let base = u64::from(q(CP_HQD_PQ_BASE)) << 8 | u64::from(q(CP_HQD_PQ_BASE_HI)) << 40;
        let (rptr, wptr) = (q(CP_HQD_PQ_RPTR) & (size - 1), q(CP_HQD_PQ_WPTR) & (size - 1));
        Some(Ring { vmid: (q(CP_HQD_VMID) & 0xf) as u8, base, size, rptr, wptr })
    }

    /// Returns true if the micro-engine of a queue is halted.
    pub(crate) fn is_halted(&self, sel: QueueSel) -> bool {
        let halt = if sel.0 == 1 { ME1_HALT } else { ME2_HALT };
        self.regs.get(CP_MEC_CNTL) & halt != 0
    }

    /// The engines are being halted: their queues should have been taken off.
    pub(crate) fn check_left(&mut self) {
        let left: Vec<QueueSel> = self.mec.keys().copied().collect();
        if !left.is_empty() && self.config.strict.has(Rule::LeftActive) {
            self.log.violation(
                "left-active",
                format!("the compute engine is halted with queues active: {left:?}"),
            );
        }
    }

    /// Leaves what another driver may have left: queues that are active, on an engine that is
    /// halted.
    pub(crate) fn leave_queues(&mut self) {
        if !self.config.inject.active_queues {
            return;
        }
        for queue in 0..8 {
            let sel = (1, 0, queue);
            self.regs.set_queue(sel, CP_HQD_ACTIVE, 1);
            self.regs.set_queue(sel, CP_HQD_PQ_BASE, 0x1234_5600 | u32::from(queue));
            self.mec.entry(sel).or_default();
        }
    }

    pub(crate) fn compute_set_rptr(&mut self, sel: QueueSel, rptr: u32) {
        self.regs.set_queue(sel, CP_HQD_PQ_RPTR, rptr);
        let lo = self.regs.queue(sel, CP_HQD_PQ_RPTR_REPORT_ADDR);
        let hi = self.regs.queue(sel, CP_HQD_PQ_RPTR_REPORT_ADDR_HI);
        let at = u64::from(hi & 0xffff) << 32 | u64::from(lo & !3);
        let id = EngineId::Compute { me: sel.0, pipe: sel.1, queue: sel.2 };
        let vmid = (self.regs.queue(sel, CP_HQD_VMID) & 0xf) as u8;
        if self.mem_write_u32(Self::access(id, vmid), at, rptr).is_err() {
            self.log.violation(
                "rptr-writeback",
                format!("{id}: the read pointer cannot be written to {at:#x}"),
            );
        }
    }

    /// A write to a register of the selected queue.
    pub(crate) fn queue_write(&mut self, reg: u32, value: u32) {
        let sel = self.regs.selected_queue();
        if !(1..=2).contains(&sel.0) {
            let what = format!(
                "{} := {value:#x} with SRBM_GFX_CNTL selecting no compute engine",
                crate::regs::label(reg)
            );
            self.log.violation("wrong-bank", what);
        }
        let active = self.regs.queue(sel, CP_HQD_ACTIVE) & 1 != 0;
        if active
            && matches!(reg, CP_HQD_PQ_BASE | CP_HQD_PQ_BASE_HI | CP_HQD_PQ_CONTROL)
            && self.regs.queue(sel, reg) != value
        {
            let what = format!("{} changed while queue {sel:?} is active", crate::regs::label(reg));
            self.log.violation("ring-moved", what);
        }
        if reg != CP_HQD_DEQUEUE_REQUEST && self.is_dequeuing(sel) {
            let what = format!(
                "{} := {value:#x} while queue {sel:?} is being taken off",
                crate::regs::label(reg)
            );
            self.log.violation("too-early", what);
        }
        self.regs.write(reg, value);
        match reg {
            CP_HQD_ACTIVE if value & 1 != 0 => self.start_queue(sel),
            CP_HQD_ACTIVE => {
                self.mec.remove(&sel);
            }
            CP_HQD_DEQUEUE_REQUEST if value & DEQUEUE != 0 => self.begin_dequeue(sel),
            _ => {}
        }
        self.kick();
    }

    /// Work is given to an engine: by then the selectors of banked registers must be back at their
    /// defaults, or the engines' own accesses would go to a bank.
    pub(crate) fn check_banks(&mut self, by: &str) {
        let (queue, engine) = (self.regs.get(SRBM_GFX_CNTL), self.regs.get(GRBM_GFX_INDEX));
        if queue != 0 || engine != 0xe000_0000 {
            let what = format!(
                "{by} with SRBM_GFX_CNTL {queue:#x} and GRBM_GFX_INDEX {engine:#x} left selected"
            );
            self.log.violation("bank-left", what);
        }
    }

    /// A write to the doorbell aperture: a queue's write pointer, in dwords.
    pub fn doorbell(&mut self, offset: u64, value: u32) {
        self.log.event(Event::Doorbell { offset, value });
        if self.gone {
            return;
        }
        // DOORBELL_OFFSET (bits 22:2) counts dwords, as a byte offset in place.
        let wanted = offset as u32 & 0x7f_fffc;
        let hit = self.mec.keys().copied().find(|sel| {
            let control = self.regs.queue(*sel, CP_HQD_PQ_DOORBELL_CONTROL);
            control & DOORBELL_EN != 0 && control & 0x7f_fffc == wanted
        });
        let Some(sel) = hit else {
            self.log.violation(
                "doorbell",
                format!("doorbell {offset:#x} := {value:#x} belongs to no active queue"),
            );
            return;
        };
        self.check_banks("a doorbell");
        self.check_wait(Since::Compute, "a doorbell");
        self.regs.set_queue(sel, CP_HQD_PQ_WPTR, value);
        let control = self.regs.queue(sel, CP_HQD_PQ_DOORBELL_CONTROL);
        self.regs.set_queue(sel, CP_HQD_PQ_DOORBELL_CONTROL, control | DOORBELL_HIT);
        self.kick();
    }
}
