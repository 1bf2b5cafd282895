// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Packets that control execution: indirect buffers, conditions, waits and events.

use super::op;
use crate::{
    engine::{
        EngineId,
        Front,
        Stop,
        Stream,
        compare, //
    },
    gpu::{
        Flow,
        Gpu, //
    },
    regs::index::*,
    trace::Source, //
};

/// A 64-bit address from two dwords; the high one has `bits` meaningful bits.
pub(super) fn address(lo: u32, hi: u32, bits: u32) -> u64 {
    u64::from(hi & ((1u64 << bits) - 1) as u32) << 32 | u64::from(lo)
}

impl Gpu {
    /// Executes one PM4 packet of a ring or an indirect buffer.
    pub(crate) fn cp_packet(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        dw: &[u32],
    ) -> Result<Flow, Stop> {
        if dw.len() == 1 {
            return Ok(Flow::Next);
        }
        let gfx = id == EngineId::Gfx;
        let opcode = dw[0] >> 8 & 0xff;
        let body = &dw[1..];
        match opcode {
            op::NOP => {}
            op::SET_CONFIG_REG => self.set_registers(id, s, body, 0x2000, 0xc00)?,
            op::SET_SH_REG => self.set_registers(id, s, body, 0x2c00, 0x400)?,
            op::SET_CONTEXT_REG if gfx => self.set_registers(id, s, body, 0xa000, 0x400)?,
            op::SET_UCONFIG_REG => self.set_registers(id, s, body, 0xc000, 0x2000)?,
            op::WRITE_DATA => self.write_data(id, s, body)?,
            op::COPY_DATA => self.copy_data(id, s, body)?,
            op::DMA_DATA => {
                self.dma_coherence(id, s, body);
                self.dma_data(id, s, body)?;
            }
            op::ATOMIC_MEM => return self.atomic_mem(id, front, s, body),
            op::WAIT_REG_MEM => return self.wait_reg_mem(id, front, s, body),
            op::DISPATCH_DIRECT | op::DISPATCH_INDIRECT => {
                return self.dispatch(id, front, s, opcode, body);
            }
            // Index 1: indirect arguments of draws and dispatches.
            op::SET_BASE if gfx && body[0] & 0xf == 1 && body.len() == 3 => {
                self.shaders.set_indirect_base(address(body[1], body[2], 16));
            }
            op::INDIRECT_BUFFER | op::INDIRECT_BUFFER_CONST => {
                return self.indirect_buffer(id, front, s, opcode, body);
            }
            op::COND_EXEC => {
                let a = Self::access(id, s.vmid);
                if self.mem_read_u32(a, address(body[0] & !3, body[1], 16))? == 0 {
                    return Ok(Flow::Skip(body[3] & 0x3fff));
                }
            }
            op::EVENT_WRITE => self.event_write(id, s, body)?,
            op::EVENT_WRITE_EOP if gfx => {
                self.event_actions(body[0]);
                let at = address(body[1], body[2], 16);
                let (data, int) = (body[2] >> 29, body[2] >> 24 & 3);
                self.end_of_pipe(front, s, at, (data, int), [body[3], body[4]])?;
            }
            op::RELEASE_MEM if !gfx => {
                self.event_actions(body[0]);
                let at = address(body[2], body[3], 16);
                let (data, int) = (body[1] >> 29, body[1] >> 24 & 7);
                self.end_of_pipe(front, s, at, (data, int), [body[4], body[5]])?;
            }
            // Ordering between the two halves of the command processor and between cache levels:
            // packets execute whole and in order here, caches are not modeled.
            op::SURFACE_SYNC | op::ACQUIRE_MEM => self.cache_actions(body[0]),
            op::PFP_SYNC_ME | op::SWITCH_BUFFER if gfx => {}
            op::CONTEXT_CONTROL | op::SET_BASE if gfx => {}
            op::PREAMBLE_CNTL if gfx => self.preamble(s, body[0]),
            op::CLEAR_STATE if gfx => self.clear_state()?,
            op::INDEX_TYPE | op::NUM_INSTANCES | op::INDEX_BASE | op::INDEX_BUFFER_SIZE if gfx => {
                return self.draw(id, front, s, opcode, body);
            }
            op::DRAW_INDEX_AUTO | op::DRAW_INDEX_2 | op::DRAW_INDEX_OFFSET_2 if gfx => {
                return self.draw(id, front, s, opcode, body);
            }
            op::INCREMENT_CE_COUNTER | op::INCREMENT_DE_COUNTER | op::WAIT_ON_CE_COUNTER if gfx => {
            }
            op::SET_PREDICATION if gfx && body[1] >> 16 & 7 == 0 => {}
            _ => return Err(Stop::Illegal(format!("{} on {id}: not modeled", super::name(dw[0])))),
        }
        Ok(Flow::Next)
    }

    fn indirect_buffer(
        &mut self,
        id: EngineId,
        front: &Front,
        s: &Stream,
        opcode: u32,
        body: &[u32],
    ) -> Result<Flow, Stop> {
        const CHAIN: u32 = 1 << 20;
        const VALID: u32 = 1 << 23;
        if body[0] & 3 != 0 {
            return Err(Stop::Illegal(format!(
                "INDIRECT_BUFFER at {:#x}: not dword-aligned",
                body[0]
            )));
        }
        let control = body[2];
        if id != EngineId::Gfx && front.ibs.is_empty() && control & VALID == 0 {
            return Err(Stop::Illegal("INDIRECT_BUFFER on a compute queue without VALID".into()));
        }
        // Inside an indirect buffer the VMID is that of the outer one.
        let vmid = if front.ibs.is_empty() { (control >> 24 & 0xf) as u8 } else { s.vmid };
        let next = Stream {
            vmid,
            base: address(body[0], body[1], 16),
            size: control & 0xf_ffff,
            pos: 0,
            ahead: None,
        };
        if opcode == op::INDIRECT_BUFFER_CONST {
            // The constant engine's stream: executed in place, before the draw engine's.
            return Ok(Flow::Call(next));
        }
        if control & CHAIN != 0 {
            if front.ibs.is_empty() {
                return Err(Stop::Illegal("INDIRECT_BUFFER with CHAIN on the ring".into()));
            }
            return Ok(Flow::Chain(next));
        }
        if front.ibs.len() >= 2 {
            return Err(Stop::Illegal("INDIRECT_BUFFER nested three deep".into()));
        }
        Ok(Flow::Call(next))
    }

    fn wait_reg_mem(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        body: &[u32],
    ) -> Result<Flow, Stop> {
        let (func, memory, operation) = (body[0] & 7, body[0] >> 4 & 3, body[0] >> 6 & 3);
        let (reference, mask) = (body[3], body[4]);
        let by = Source::Engine(id);
        let value = match (memory, operation) {
            (1, 0) => {
                self.mem_read_u32(Self::access(id, s.vmid), address(body[1] & !3, body[2], 16))?
            }
            (0, 0) => self.read_by(body[1] & 0xffff, by),
            // Write the reference to one register, then wait on another.
            (0, 1) => {
                self.allowed(id, s, body[1] & 0xffff)?;
                if !front.begun {
                    self.write_by(body[1] & 0xffff, reference, by);
                    front.begun = true;
                }
                self.read_by(body[2] & 0xffff, by)
            }
            _ => {
                return Err(Stop::Illegal(format!(
                    "WAIT_REG_MEM {:#x}: space or operation reserved",
                    body[0]
                )));
            }
        };
        match compare(func, value & mask, reference) {
            Some(true) => Ok(Flow::Next),
            Some(false) => Err(Stop::Wait),
            None => Err(Stop::Illegal(format!("WAIT_REG_MEM function {func} is reserved"))),
        }
    }

    fn event_write(&mut self, id: EngineId, s: &Stream, body: &[u32]) -> Result<(), Stop> {
        let (event, index) = (body[0] & 0x3f, body[0] >> 8 & 0xf);
        match (index, body.len()) {
            // Flushes and partial flushes: nothing is in flight.
            (0 | 4 | 7, 1) => Ok(()),
            // Counter samples: no pipeline, so the counters are zero.
            (1..=3, 3) => {
                let at = address(body[1] & !7, body[2], 16);
                self.mem_write_u64(Self::access(id, s.vmid), at, 0)
            }
            _ => Err(Stop::Illegal(format!(
                "EVENT_WRITE event {event:#x} index {index}: not modeled"
            ))),
        }
    }

    /// Returns true if the stream may write a register: indirect buffers of users may not touch
    /// what is outside the draw state.
    pub(super) fn allowed(&mut self, id: EngineId, s: &Stream, reg: u32) -> Result<(), Stop> {
        let user = s.vmid != 0;
        let open = matches!(reg, 0x2c00..=0x2fff | 0xa000..=0xa3ff | 0xc000..=0xdfff)
            && reg != GRBM_GFX_INDEX;
        if user && !open && reg != GPU_HDP_FLUSH_REQ {
            let name = crate::regs::label(reg);
            return Err(Stop::Privilege(format!("{id}: a user's indirect buffer writes {name}")));
        }
        Ok(())
    }
}
