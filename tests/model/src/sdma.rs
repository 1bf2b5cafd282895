// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The two system DMA engines: registers of the gfx ring and the packets.
//!
//! Counts are exact (no minus one), ring pointers are in bytes in the registers, TRAP is one
//! dword. Register offsets: POLL_REG_MEM has them in bytes, SRBM_WRITE in dwords.

use crate::{
    engine::{
        EngineId,
        Front,
        Need,
        Stop,
        Stream,
        compare, //
    },
    gpu::{
        Flow,
        Gpu,
        Ring, //
    },
    regs::index::*,
    trace::Source, //
};

const RB_ENABLE: u32 = 1;
const RB_CNTL_DEFAULT: u32 = 0x0004_0000;
const RPTR_WRITEBACK: u32 = 1 << 12;
/// SRBM_SOFT_RESET of each engine.
const RESET: [u32; 2] = [1 << 20, 1 << 6];
const HALT: u32 = 1;
const TRAP_ENABLE: u32 = 1;
const IB_ENABLE: u32 = 1;
/// Interrupt source of TRAP.
const TRAP_SOURCE: u8 = 224;
/// Interrupt source of an illegal instruction, by engine.
const ILLEGAL_SOURCE: [u8; 2] = [241, 247];
/// The byte counts of COPY and CONSTANT_FILL have 22 bits,
const COUNT: u32 = 0x3f_ffff;
/// of which the C driver's packets use 21.
const DRIVER_COUNT: u32 = 0x1f_ffff;
/// Retry count of POLL_REG_MEM that means for ever.
const FOREVER: u32 = 0xfff;

const NOP: u32 = 0;
const COPY: u32 = 1;
const WRITE: u32 = 2;
const INDIRECT: u32 = 4;
const FENCE: u32 = 5;
const TRAP: u32 = 6;
const POLL: u32 = 8;
const COND_EXEC: u32 = 9;
const FILL: u32 = 11;
const PTE_PDE: u32 = 12;
const TIMESTAMP: u32 = 13;
const SRBM_WRITE: u32 = 14;

fn fields(header: u32) -> (u32, u32, u32) {
    (header & 0xff, header >> 8 & 0xff, header >> 16)
}

/// The packet's name.
pub fn name(header: u32) -> &'static str {
    match fields(header).0 {
        NOP => "NOP",
        COPY => "COPY",
        WRITE => "WRITE",
        INDIRECT => "INDIRECT_BUFFER",
        FENCE => "FENCE",
        TRAP => "TRAP",
        POLL => "POLL_REG_MEM",
        COND_EXEC => "COND_EXEC",
        FILL => "CONSTANT_FILL",
        PTE_PDE => "GENERATE_PTE_PDE",
        TIMESTAMP => "TIMESTAMP",
        SRBM_WRITE => "SRBM_WRITE",
        _ => "?",
    }
}

/// Length of the packet whose first dwords are `dw`, as far as they tell.
pub fn length(dw: &[u32]) -> Result<Need, String> {
    let (op, sub, extra) = fields(dw[0]);
    let exact = |dwords| Ok(Need { dwords, exact: true });
    match (op, sub) {
        (NOP, 0) => exact(1 + (extra & 0x3fff)),
        (COPY, 0) => exact(7),
        (WRITE, 0) => match dw.get(3) {
            Some(n) if *n < 1 << 20 => exact(4 + n),
            Some(n) => Err(format!("SDMA WRITE of {n:#x} dwords")),
            None => Ok(Need { dwords: 4, exact: false }),
        },
        (INDIRECT, 0) | (FENCE, 0) => exact(4),
        (TRAP, 0) => exact(1),
        (POLL, 0) => exact(6),
        (COND_EXEC, 0) => exact(5),
        (FILL, 0) => exact(5),
        (PTE_PDE, 0) => exact(10),
        (TIMESTAMP, 0..=2) | (SRBM_WRITE, 0) => exact(3),
        _ => {
            Err(format!("SDMA packet {:#010x}: operation {op}, sub-operation {sub} unknown", dw[0]))
        }
    }
}

fn address(lo: u32, hi: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}

/// Refuses a count of the driver with bits that the engine does not look at. A driver must know how
/// much a packet moves; what users write into their own buffers is their affair.
fn check_count(packet: &str, s: &Stream, bytes: u32) -> Result<(), Stop> {
    if s.vmid == 0 && bytes > DRIVER_COUNT {
        return Err(Stop::Illegal(format!("{packet} of {bytes:#x} bytes: more than 21 bits")));
    }
    Ok(())
}

impl Gpu {
    fn sdma_reg(&self, n: u8, reg: u32) -> u32 {
        self.regs.get(reg + u32::from(n) * SDMA_STRIDE)
    }

    pub(crate) fn sdma_ring(&self, n: u8) -> Option<Ring> {
        let cntl = self.sdma_reg(n, SDMA0_GFX_RB_CNTL);
        let reset = self.regs.get(SRBM_SOFT_RESET) & RESET[usize::from(n)] != 0;
        if reset
            || cntl & RB_ENABLE == 0
            || self.sdma_reg(n, SDMA0_F32_CNTL) & HALT != 0
            || !self.ucode.sdma(n)
        {
            return None;
        }
        let size = 1u32 << (cntl >> 1 & 0x1f);
        let base = u64::from(self.sdma_reg(n, SDMA0_GFX_RB_BASE)) << 8
            | u64::from(self.sdma_reg(n, SDMA0_GFX_RB_BASE_HI)) << 40;
        let dword = |reg| self.sdma_reg(n, reg) / 4 & (size - 1);
        let vmid = (cntl >> 24 & 0xf) as u8;
        Some(Ring {
            vmid,
            base,
            size,
            rptr: dword(SDMA0_GFX_RB_RPTR),
            wptr: dword(SDMA0_GFX_RB_WPTR),
        })
    }

    pub(crate) fn sdma_set_rptr(&mut self, n: u8, rptr: u32) {
        let stride = u32::from(n) * SDMA_STRIDE;
        self.regs.set(SDMA0_GFX_RB_RPTR + stride, rptr * 4);
        if self.sdma_reg(n, SDMA0_GFX_RB_CNTL) & RPTR_WRITEBACK != 0 {
            let at = address(
                self.sdma_reg(n, SDMA0_GFX_RB_RPTR_ADDR_LO),
                self.sdma_reg(n, SDMA0_GFX_RB_RPTR_ADDR_HI),
            );
            let a = Self::access(EngineId::Sdma(n), 0);
            if self.mem_write_u32(a, at & !3, rptr * 4).is_err() {
                self.log.violation(
                    "rptr-writeback",
                    format!("sdma{n}: the read pointer cannot be written to {at:#x}"),
                );
            }
        }
    }

    pub(crate) fn sdma_status(&self, n: u8) -> u32 {
        const IDLE: u32 = 0x4600_f555 | 1;
        if self.busy(EngineId::Sdma(n)) { 0 } else { IDLE }
    }

    /// SRBM_SOFT_RESET: SDMA engines (bits 20 and 6); other blocks hold no state here. An engine is
    /// halted, its ring off, its interrupts too, its microcode gone; as long as the bit is set it
    /// does nothing.
    pub(crate) fn srbm_soft_reset(&mut self, value: u32) {
        self.regs.set(SRBM_SOFT_RESET, value);
        if self.config.inject.no_soft_reset {
            return;
        }
        for (n, bit) in (0..).zip(RESET) {
            if value & bit == 0 {
                continue;
            }
            let id = EngineId::Sdma(n);
            self.sdma[usize::from(n)].reset();
            self.under_way.drop_of(id.block());
            self.ucode.lose_sdma(n.into());
            let stride = u32::from(n) * SDMA_STRIDE;
            for (reg, value) in [
                (SDMA0_F32_CNTL, HALT),
                (SDMA0_CNTL, 0),
                (SDMA0_GFX_RB_CNTL, RB_CNTL_DEFAULT),
                (SDMA0_GFX_RB_RPTR, 0),
                (SDMA0_GFX_RB_WPTR, 0),
            ] {
                self.regs.set(reg + stride, value);
            }
        }
    }

    /// SRBM_STATUS2: SDMA engines busy (bits 5 and 6).
    pub(crate) fn srbm_status2(&self) -> u32 {
        u32::from(self.busy(EngineId::Sdma(0))) << 5 | u32::from(self.busy(EngineId::Sdma(1))) << 6
    }

    /// A write to a register of an SDMA engine.
    pub(crate) fn sdma_write(&mut self, reg: u32, value: u32) {
        let n = u8::from(reg >= SDMA0_UCODE_ADDR + SDMA_STRIDE);
        let base = reg - u32::from(n) * SDMA_STRIDE;
        let running = self.sdma_ring(n).is_some();
        match base {
            SDMA0_UCODE_DATA if self.sdma_reg(n, SDMA0_F32_CNTL) & HALT == 0 => {
                self.log.violation(
                    "ucode-while-running",
                    format!("sdma{n}: microcode written while the engine runs"),
                );
            }
            SDMA0_GFX_RB_BASE | SDMA0_GFX_RB_BASE_HI
                if running && self.has_work(EngineId::Sdma(n)) =>
            {
                self.log.violation(
                    "ring-moved",
                    format!("sdma{n}: ring base changed while the engine executes"),
                );
            }
            SDMA0_GFX_RB_WPTR if value & !0x3_fffc != 0 => {
                self.log.violation(
                    "wptr",
                    format!("sdma{n}: write pointer {value:#x} is not a dword in bytes"),
                );
            }
            SDMA0_GFX_RB_WPTR if value != 0 => self.check_banks("a write of an SDMA write pointer"),
            _ => {}
        }
        self.regs.write(reg, value);
        if running && self.sdma_ring(n).is_none() {
            self.halted(EngineId::Sdma(n).block());
        }
        if base == SDMA0_GFX_RB_CNTL && value & RB_ENABLE == 0 {
            self.sdma[usize::from(n)].ibs.clear();
        }
        self.kick();
    }

    /// The engine met what it cannot execute.
    pub(crate) fn sdma_illegal(&mut self, n: u8) {
        self.interrupt(ILLEGAL_SOURCE[usize::from(n)], 0, u32::from(n), 0);
    }

    /// Executes one packet.
    pub(crate) fn sdma_packet(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        dw: &[u32],
    ) -> Result<Flow, Stop> {
        let EngineId::Sdma(n) = id else { return Err(Stop::Hang("not an SDMA engine".into())) };
        let a = Self::access(id, s.vmid);
        let (op, sub, extra) = fields(dw[0]);
        match op {
            NOP => {}
            COPY => {
                check_count("COPY", s, dw[1])?;
                if dw[2] != 0 {
                    return Err(Stop::Illegal(format!(
                        "COPY with swap or cache bits {:#x}: not modeled",
                        dw[2]
                    )));
                }
                let a = crate::mc::Access { copied: true, ..a };
                let (to, len) = (address(dw[5], dw[6]), u64::from(dw[1] & COUNT));
                self.mem_copy((a, address(dw[3], dw[4])), (a, to), len)?;
                self.issued(id, a, to, len);
            }
            WRITE => {
                let bytes: Vec<u8> = dw[4..].iter().flat_map(|d| d.to_le_bytes()).collect();
                self.write_dwords(a, address(dw[1], dw[2]), &bytes)?;
                self.issued(id, a, address(dw[1], dw[2]), bytes.len() as u64);
            }
            INDIRECT => return self.sdma_ib(n, front, dw, extra),
            FENCE => {
                let at = address(dw[1], dw[2]);
                if at % 4 != 0 {
                    return Err(Stop::Illegal(format!("FENCE to {at:#x}: not aligned")));
                }
                self.mem_write_u32(a, at, dw[3])?;
                // What a user's commands write ends no job.
                if front.ibs.is_empty() {
                    front.job = None;
                    self.last_write.remove(&id);
                }
            }
            TRAP => {
                if self.sdma_reg(n, SDMA0_CNTL) & TRAP_ENABLE != 0 {
                    self.interrupt(TRAP_SOURCE, 0, u32::from(n), front.vmid);
                }
            }
            POLL => return self.sdma_poll(id, front, s, dw, extra),
            COND_EXEC => {
                let value = self.mem_read_u32(a, address(dw[1], dw[2]))?;
                if value != dw[3] {
                    return Ok(Flow::Skip(dw[4] & 0x3fff));
                }
            }
            FILL => {
                check_count("CONSTANT_FILL", s, dw[4])?;
                self.sdma_fill(s, id, dw, extra)?;
            }
            PTE_PDE => {
                let (at, flags) = (address(dw[1], dw[2]), address(dw[3], dw[4]));
                let (value, increment) = (address(dw[5], dw[6]), address(dw[7], dw[8]));
                let entries = (0..u64::from(dw[9] & 0x7_ffff))
                    .map(|i| flags | value.wrapping_add(i.wrapping_mul(increment)));
                let bytes: Vec<u8> = entries.flat_map(u64::to_le_bytes).collect();
                self.write_dwords(a, at, &bytes)?;
            }
            TIMESTAMP if sub == 0 => {}
            TIMESTAMP => {
                let clock = self.clock();
                self.mem_write_u64(a, address(dw[1], dw[2]) & !7, clock)?;
            }
            _ => {
                if s.vmid != 0 {
                    return Err(Stop::Privilege(format!(
                        "SRBM_WRITE to {:#x} by vmid {}",
                        dw[1], s.vmid
                    )));
                }
                if extra >> 12 != 0xf {
                    return Err(Stop::Illegal(format!(
                        "SRBM_WRITE with byte enables {:#x}: not modeled",
                        extra >> 12
                    )));
                }
                self.write_by(dw[1] & 0xffff, dw[2], Source::Engine(id));
            }
        }
        Ok(Flow::Next)
    }

    /// Writes bytes, eight at a time where the address allows, as the engine does with entries.
    pub(crate) fn write_dwords(
        &mut self,
        a: crate::mc::Access,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), Stop> {
        if at % 4 != 0 {
            return Err(Stop::Illegal(format!("write to {at:#x}: not aligned")));
        }
        self.mem_write(a, at, bytes)
    }

    fn sdma_ib(&mut self, n: u8, front: &Front, dw: &[u32], extra: u32) -> Result<Flow, Stop> {
        let base = address(dw[1], dw[2]);
        if !front.ibs.is_empty() {
            return Err(Stop::Illegal("INDIRECT_BUFFER inside an indirect buffer".into()));
        }
        if self.sdma_reg(n, SDMA0_GFX_IB_CNTL) & IB_ENABLE == 0 {
            return Err(Stop::Hang("INDIRECT_BUFFER while IB_CNTL.IB_ENABLE is clear".into()));
        }
        if base % 32 != 0 {
            return Err(Stop::Illegal(format!(
                "INDIRECT_BUFFER at {base:#x}: not 32-byte aligned"
            )));
        }
        // The packet must end on an 8-dword boundary of the ring.
        let ring = self.sdma_ring(n).ok_or(Stop::Wait)?;
        if (ring.rptr + 4) % 8 != 0 {
            let what =
                format!("sdma{n}: INDIRECT_BUFFER ends at ring dword {}, not on 8", ring.rptr + 4);
            self.log.violation("sdma-ib-alignment", what);
        }
        Ok(Flow::Call(Stream {
            vmid: (extra & 0xf) as u8,
            base,
            size: dw[3] & 0xf_ffff,
            pos: 0,
            ahead: None,
        }))
    }

    fn sdma_poll(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        dw: &[u32],
        extra: u32,
    ) -> Result<Flow, Stop> {
        let (op, func, memory) = (extra >> 10 & 3, extra >> 12 & 7, extra >> 15 & 1 != 0);
        let value = if memory {
            self.mem_read_u32(Self::access(id, s.vmid), address(dw[1], dw[2]) & !3)?
        } else {
            // Operation 1: write the reference to the second register, then wait on the first.
            if op == 1 && !front.begun {
                let reg = dw[2] / 4 & 0xffff;
                if s.vmid != 0 && reg != GPU_HDP_FLUSH_REQ {
                    let name = crate::regs::label(reg);
                    return Err(Stop::Privilege(format!(
                        "POLL_REG_MEM writes {name} by vmid {}",
                        s.vmid
                    )));
                }
                self.write_by(reg, dw[3], Source::Engine(id));
                front.begun = true;
            }
            self.read_by(dw[1] / 4 & 0xffff, Source::Engine(id))
        };
        let Some(met) = compare(func, value & dw[4], dw[3]) else {
            return Err(Stop::Illegal(format!("POLL_REG_MEM function {func} is reserved")));
        };
        let retries = dw[5] >> 16 & 0xfff;
        if met {
            return Ok(Flow::Next);
        }
        if retries != FOREVER && front.polls > u64::from(retries) {
            return Err(Stop::Hang(format!(
                "POLL_REG_MEM gave up: {value:#x} & {:#x}, wanted {:#x}",
                dw[4], dw[3]
            )));
        }
        Err(Stop::Wait)
    }

    fn sdma_fill(&mut self, s: &Stream, id: EngineId, dw: &[u32], extra: u32) -> Result<(), Stop> {
        let (at, len) = (address(dw[1], dw[2]), u64::from(dw[4] & COUNT));
        let a = Self::access(id, s.vmid);
        let pattern = dw[3].to_le_bytes();
        // Size field: 0 fills bytes, 1 half-words, 2 dwords.
        let pattern = match extra >> 14 {
            size @ 0..=2 => &pattern[..1 << size],
            other => {
                return Err(Stop::Illegal(format!("CONSTANT_FILL size {other}: not modeled")));
            }
        };
        self.mem_fill(a, at, pattern, len)?;
        self.issued(id, a, at, len);
        Ok(())
    }
}
