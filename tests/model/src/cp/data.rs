// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Packets that move data: register writes, WRITE_DATA, COPY_DATA, DMA_DATA, ATOMIC_MEM.

use super::packets::address;
use crate::{
    engine::{
        EngineId,
        Front,
        Stop,
        Stream, //
    },
    gpu::{
        Flow,
        Gpu, //
    },
    late::Transfer,
    trace::Source, //
};

/// DMA_DATA: the graphics command processor waits for this transfer and all before it.
const CP_SYNC: u32 = 1 << 31;
/// DMA_DATA: this transfer reads what the ones before it wrote.
const RAW_WAIT: u32 = 1 << 30;

impl Gpu {
    /// SET_*_REG: consecutive registers from `base` + offset.
    pub(super) fn set_registers(
        &mut self,
        id: EngineId,
        s: &Stream,
        body: &[u32],
        base: u32,
        window: u32,
    ) -> Result<(), Stop> {
        let offset = body[0] & 0xffff;
        let count = body.len() as u32 - 1;
        if offset + count > window {
            return Err(Stop::Illegal(format!(
                "SET_*_REG of {count} registers at {offset:#x}: beyond the window"
            )));
        }
        for (reg, value) in (base + offset..).zip(&body[1..]) {
            self.allowed(id, s, reg)?;
            self.write_by(reg, *value, Source::Engine(id));
        }
        Ok(())
    }

    pub(super) fn write_data(
        &mut self,
        id: EngineId,
        s: &Stream,
        body: &[u32],
    ) -> Result<(), Stop> {
        let (select, same) = (body[0] >> 8 & 0xf, body[0] >> 16 & 1 != 0);
        let data = &body[3..];
        match select {
            0 => {
                for (i, value) in (0u32..).zip(data) {
                    let reg = (body[1] + if same { 0 } else { i }) & 0xffff;
                    self.allowed(id, s, reg)?;
                    self.write_by(reg, *value, Source::Engine(id));
                }
                Ok(())
            }
            1 | 2 | 5 => {
                let at = address(body[1], body[2], 16);
                if at % 4 != 0 {
                    return Err(Stop::Illegal(format!("WRITE_DATA to {at:#x}: not aligned")));
                }
                let a = Self::access(id, s.vmid);
                if same {
                    return data.iter().try_for_each(|v| self.mem_write_u32(a, at, *v));
                }
                let bytes: Vec<u8> = data.iter().flat_map(|d| d.to_le_bytes()).collect();
                self.mem_write(a, at, &bytes)?;
                self.issued(id, a, at, bytes.len() as u64);
                Ok(())
            }
            other => Err(Stop::Illegal(format!("WRITE_DATA with DST_SEL {other}: not modeled"))),
        }
    }

    pub(super) fn copy_data(&mut self, id: EngineId, s: &Stream, body: &[u32]) -> Result<(), Stop> {
        let (from, to, wide) = (body[0] & 0xf, body[0] >> 8 & 0xf, body[0] >> 16 & 1 != 0);
        let a = Self::access(id, s.vmid);
        let by = Source::Engine(id);
        let (src, dst) = (address(body[1], body[2], 16), address(body[3], body[4], 16));
        let lo_hi = |v: u64| [v as u32, (v >> 32) as u32];
        let value = match from {
            0 => [
                self.read_by(body[1] & 0xffff, by),
                if wide { self.read_by((body[1] + 1) & 0xffff, by) } else { 0 },
            ],
            1 | 2 => {
                [self.mem_read_u32(a, src)?, if wide { self.mem_read_u32(a, src + 4)? } else { 0 }]
            }
            5 => [body[1], body[2]],
            9 => lo_hi(self.clock()),
            other => {
                return Err(Stop::Illegal(format!("COPY_DATA with SRC_SEL {other}: not modeled")));
            }
        };
        match to {
            0 => {
                for (i, v) in (0u32..).zip(&value[..if wide { 2 } else { 1 }]) {
                    let reg = (body[3] + i) & 0xffff;
                    self.allowed(id, s, reg)?;
                    self.write_by(reg, *v, by);
                }
                Ok(())
            }
            1 | 2 | 5 if wide && dst % 8 == 0 => {
                self.mem_write_u64(a, dst, address(value[0], value[1], 32))
            }
            1 | 2 | 5 if !wide && dst % 4 == 0 => self.mem_write_u32(a, dst, value[0]),
            1 | 2 | 5 => Err(Stop::Illegal(format!("COPY_DATA to {dst:#x}: not aligned"))),
            other => Err(Stop::Illegal(format!("COPY_DATA with DST_SEL {other}: not modeled"))),
        }
    }

    pub(super) fn dma_data(&mut self, id: EngineId, s: &Stream, body: &[u32]) -> Result<(), Stop> {
        // Source: 0 address, 1 data share, 2 data, 3 address through L2. Destination: 0 address, 1
        // data share, 3 address through L2.
        let (from, to) = (body[0] >> 29 & 3, body[0] >> 20 & 3);
        let command = body[5];
        let len = u64::from(command & 0x1f_ffff);
        let (src, dst) = (address(body[1], body[2], 16), address(body[3], body[4], 16));
        let a = Self::access(id, s.vmid);
        // Byte swaps, register space and fixed addresses.
        if command & 0x3fc0_0000 != 0 {
            return Err(Stop::Illegal(format!(
                "DMA_DATA command {command:#x}: swap or register space not modeled"
            )));
        }
        if from == 1 || to == 1 {
            return self.share_dma(id, s, (from, src), (to, dst), len);
        }
        if !matches!(to, 0 | 3) {
            return Err(Stop::Illegal(format!("DMA_DATA with DST_SEL {to}: not modeled")));
        }
        let transfer = match from {
            0 | 3 => Transfer::Copy { from: src, to: dst, len },
            2 => Transfer::Fill { value: body[1], to: dst, len },
            other => {
                return Err(Stop::Illegal(format!("DMA_DATA with SRC_SEL {other}: not modeled")));
            }
        };
        // Only the graphics processor goes on; the compute processors wait for each transfer, and
        // know no flag (Mesa's RADV, `radv_cp_dma.c`).
        let sync = body[0] & CP_SYNC != 0 || matches!(id, EngineId::Compute { .. });
        self.cp_dma(id, a, transfer, sync, command & RAW_WAIT != 0)
    }

    /// ATOMIC_MEM: one operation on a dword or a quadword; with the loop command, until a
    /// compare-and-swap succeeds.
    pub(super) fn atomic_mem(
        &mut self,
        id: EngineId,
        _front: &mut Front,
        s: &Stream,
        body: &[u32],
    ) -> Result<Flow, Stop> {
        let (atomic, command) = (body[0] & 0x7f, body[0] >> 8 & 0xf);
        let wide = atomic & 0x20 != 0;
        let at = address(body[1], body[2], 16);
        let (operand, compare) = (address(body[3], body[4], 32), address(body[5], body[6], 32));
        let a = Self::access(id, s.vmid);
        let size = if wide { 8 } else { 4 };
        if at % size != 0 {
            return Err(Stop::Illegal(format!("ATOMIC_MEM at {at:#x}: not aligned")));
        }
        let lo = self.mem_read_u32(a, at)?;
        let hi = if wide { self.mem_read_u32(a, at + 4)? } else { 0 };
        let old = address(lo, hi, 32);
        let limit = if wide { !0 } else { u64::from(u32::MAX) };
        let (operand, compare) = (operand & limit, compare & limit);
        let new = match atomic & 0x1f {
            0x07 => operand,
            0x08 => {
                if old != compare {
                    return if command == 1 { Err(Stop::Wait) } else { Ok(Flow::Next) };
                }
                operand
            }
            0x0f => old.wrapping_add(operand) & limit,
            0x10 => old.wrapping_sub(operand) & limit,
            0x12 => old.min(operand),
            0x14 => old.max(operand),
            0x15 => old & operand,
            0x16 => old | operand,
            0x17 => old ^ operand,
            other => {
                return Err(Stop::Illegal(format!("ATOMIC_MEM operation {other:#x}: not modeled")));
            }
        };
        if wide {
            self.mem_write_u64(a, at, new)?;
        } else {
            self.mem_write_u32(a, at, new as u32)?;
        }
        Ok(Flow::Next)
    }
}
