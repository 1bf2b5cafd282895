// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Effects of a register access beyond storage.

use crate::{
    cp::MEC_HALT,
    engine::Block,
    gpu::Gpu,
    inject::Moment,
    pace::Since,
    regs::{
        self,
        QueueSel,
        index::*, //
    },
    trace::{
        Event,
        Source, //
    }, //
};

/// SRBM_STATUS: MCB, MCB_NON_DISPLAY, MCC, MCD.
const MC_BUSY: u32 = 0x1e00;

/// Registers that only the hardware writes.
fn read_only(reg: u32) -> bool {
    matches!(
        reg,
        GRBM_STATUS
            | SRBM_STATUS
            | SRBM_STATUS2
            | MC_SEQ_TRAIN_WAKEUP_CNTL
            | VM_INVALIDATE_RESPONSE
            | GPU_HDP_FLUSH_DONE
            | RLC_GPU_CLOCK_COUNT_LSB
            | RLC_GPU_CLOCK_COUNT_MSB
    )
}

impl Gpu {
    /// A register read by the host.
    pub fn reg_read(&mut self, reg: u32) -> u32 {
        self.log.settle(true);
        if self.config.inject.unplugged || self.gone {
            return !0;
        }
        self.read_by(reg, Source::Host)
    }

    /// A register write by the host.
    pub fn reg_write(&mut self, reg: u32, value: u32) {
        self.log.settle(true);
        if !self.config.inject.unplugged && !self.gone {
            self.write_by(reg, value, Source::Host);
        }
    }

    /// A register's value, without trace or side effect.
    pub fn peek(&self, reg: u32) -> u32 {
        self.regs.read(reg)
    }

    /// The value of a queue's register.
    pub fn queue_register(&self, sel: QueueSel, reg: u32) -> u32 {
        self.regs.queue(sel, reg)
    }

    pub(crate) fn read_by(&mut self, reg: u32, by: Source) -> u32 {
        if !regs::is_known(reg) {
            self.log.violation("unknown-register", format!("{by} reads register {reg:#06x}"));
            return 0;
        }
        let value = self.read_effect(reg, by);
        self.log.event(Event::Read { reg, value, by });
        value
    }

    pub(crate) fn write_by(&mut self, reg: u32, value: u32, by: Source) {
        self.log.event(Event::Write { reg, value, by });
        if !regs::is_known(reg) {
            self.log.violation(
                "unknown-register",
                format!("{by} writes register {reg:#06x} := {value:#x}"),
            );
            return;
        }
        let extra = value & !regs::defined_bits(reg);
        if extra != 0 {
            let what = format!(
                "{by} writes {} := {value:#x}: bits {extra:#x} are not defined",
                regs::label(reg)
            );
            self.log.violation("reserved-bits", what);
        }
        if let Source::Engine(id) = by {
            self.shaders.register(id, reg, value);
            self.graphics.register(reg, value);
        }
        self.write_effect(reg, value, by);
    }

    fn read_effect(&mut self, reg: u32, by: Source) -> u32 {
        match reg {
            MM_DATA => self.mm_data(None),
            PCIE_DATA => self.indirect("PCIE", self.regs.get(PCIE_INDEX), None),
            DIDT_IND_DATA => self.indirect("DIDT", self.regs.get(DIDT_IND_INDEX), None),
            MC_SEQ_IO_DEBUG_DATA => {
                self.indirect("MC_IO", self.regs.get(MC_SEQ_IO_DEBUG_INDEX), None)
            }
            // SMC pairs: even index, odd data.
            SMC_IND_INDEX_0..=0x8f if reg % 2 == 1 => self.smc(reg, None),
            SQ_IND_DATA => 0,
            GRBM_STATUS => self.grbm_status(),
            SRBM_STATUS if self.is_busy(reg) => MC_BUSY,
            SRBM_STATUS => 0,
            SRBM_STATUS2 => self.srbm_status2(),
            MC_SEQ_TRAIN_WAKEUP_CNTL => self.training(),
            IH_RB_WPTR => self.ih_read_wptr(),
            GPU_HDP_FLUSH_DONE => self.hdp_flush_done(),
            VM_INVALIDATE_REQUEST | VM_INVALIDATE_RESPONSE => {
                self.finish_flushes(by);
                self.regs.get(reg)
            }
            RLC_SERDES_CU_MASTER_BUSY | RLC_SERDES_NONCU_MASTER_BUSY => self.is_busy(reg).into(),
            RLC_GPM_STAT => self.regs.get(reg) | u32::from(self.is_busy(reg)),
            CP_HQD_ACTIVE => self.queue_active(),
            SDMA0_STATUS_REG => self.sdma_status(0),
            r if r == SDMA0_STATUS_REG + SDMA_STRIDE => self.sdma_status(1),
            _ => self.regs.read(reg),
        }
    }

    fn write_effect(&mut self, reg: u32, value: u32, by: Source) {
        // Posting sets the size of the memory, nobody after it.
        let locked = reg == CONFIG_MEMSIZE && self.is_posted();
        if read_only(reg) || locked {
            self.log.violation("read-only", format!("write of {value:#x} to {}", regs::label(reg)));
            return;
        }
        self.ucode.written(reg);
        self.check_ucode(reg, value);
        match reg {
            MM_DATA => {
                let _ = self.mm_data(Some(value));
            }
            PCIE_DATA => {
                let _ = self.indirect("PCIE", self.regs.get(PCIE_INDEX), Some(value));
            }
            DIDT_IND_DATA => {
                let _ = self.indirect("DIDT", self.regs.get(DIDT_IND_INDEX), Some(value));
            }
            MC_SEQ_IO_DEBUG_DATA => {
                let _ = self.indirect("MC_IO", self.regs.get(MC_SEQ_IO_DEBUG_INDEX), Some(value));
            }
            SMC_IND_INDEX_0..=0x8f if reg % 2 == 1 => {
                let _ = self.smc(reg, Some(value));
            }
            VM_INVALIDATE_REQUEST => {
                self.regs.set(reg, value);
                self.request_flush(by, value & 0xffff);
            }
            VM_CONTEXT0_PAGE_TABLE_BASE_ADDR..=VM_CONTEXT7_PAGE_TABLE_BASE_ADDR => {
                self.set_directory(by, reg - VM_CONTEXT0_PAGE_TABLE_BASE_ADDR, reg, value);
            }
            VM_CONTEXT8_PAGE_TABLE_BASE_ADDR..=VM_CONTEXT15_PAGE_TABLE_BASE_ADDR => {
                self.set_directory(by, reg - VM_CONTEXT8_PAGE_TABLE_BASE_ADDR + 8, reg, value);
            }
            GDS_VMID0_BASE..=GDS_OA_VMID15 => self.set_on_chip(by, reg, value),
            VM_L2_CNTL2 => {
                self.regs.set(reg, value & !3);
                if value & 3 == 3 {
                    self.tlb_flush(0xffff);
                }
            }
            VM_CONTEXT0_CNTL2 | VM_CONTEXT1_CNTL2 => {
                self.fault_control(reg - VM_CONTEXT0_CNTL2, value)
            }
            HDP_MEM_COHERENCY_FLUSH_CNTL => {
                self.regs.set(reg, value);
                self.hdp_flush();
            }
            BIF_FB_EN | MC_SHARED_BLACKOUT_CNTL => {
                self.regs.set(reg, value);
                self.keep_busy(SRBM_STATUS);
            }
            RLC_CNTL | RLC_SERDES_WR_CTRL => {
                self.regs.set(reg, value);
                self.keep_busy(RLC_SERDES_CU_MASTER_BUSY);
                self.keep_busy(RLC_SERDES_NONCU_MASTER_BUSY);
                self.keep_busy(RLC_GPM_STAT);
            }
            MC_SEQ_SUP_CNTL => {
                self.regs.set(reg, value);
                self.keep_busy(MC_SEQ_TRAIN_WAKEUP_CNTL);
            }
            MPLL_CNTL_MODE => self.set_memory_clock(value),
            BIOS_SCRATCH_7 => self.set_posting(value),
            HDP_DEBUG0 => {
                self.regs.set(reg, value);
                if value & 1 != 0 {
                    self.vram.invalidate();
                }
            }
            GPU_HDP_FLUSH_REQ => self.request_hdp_flush(by, value),
            IH_RB_CNTL => self.ih_write_cntl(value),
            IH_RB_RPTR => self.ih_write_rptr(value),
            IH_RB_WPTR => self.ih_write_wptr(value),
            RLC_GPR_REG2 => self.regs.set(reg, value & !1),
            SQ_CMD => self.wave_command(value),
            RLC_CAPTURE_GPU_CLOCK_COUNT => {
                let clock = self.clock();
                self.regs.set(RLC_GPU_CLOCK_COUNT_LSB, clock as u32);
                self.regs.set(RLC_GPU_CLOCK_COUNT_MSB, (clock >> 32) as u32);
            }
            GRBM_SOFT_RESET | SRBM_SOFT_RESET if value != 0 && self.vanishes(Moment::SoftReset) => {
            }
            GRBM_SOFT_RESET => self.grbm_soft_reset(value),
            SRBM_SOFT_RESET => self.srbm_soft_reset(value),
            CP_RB0_BASE..=CP_RB0_WPTR | CP_ME_CNTL | CP_RB0_RPTR | CP_RB_VMID | CP_RB0_BASE_HI => {
                self.gfx_write(reg, value)
            }
            CP_MEC_CNTL => {
                let halts = value & !self.regs.get(reg) & MEC_HALT != 0;
                if self.regs.get(reg) & !value & MEC_HALT != 0 {
                    self.mark(Since::Compute);
                }
                self.regs.set(reg, value);
                if halts {
                    self.check_left();
                    self.halted(Block::Compute);
                }
                self.kick();
            }
            CP_MQD_BASE_ADDR..=CP_MQD_CONTROL => self.queue_write(reg, value),
            0x3400..=0x37ff => self.sdma_write(reg, value),
            _ => self.regs.write(reg, value),
        }
    }

    /// An indirect register, through its data port.
    fn indirect(&mut self, space: &'static str, index: u32, write: Option<u32>) -> u32 {
        if let Some(v) = write {
            self.regs.set_indirect(space, index, v);
        }
        let value = self.regs.indirect(space, index);
        self.log.event(Event::Indexed { space, index, value, write: write.is_some() });
        value
    }

    /// An SMC register or, at ROM_DATA, the next dword of the ROM.
    fn smc(&mut self, port: u32, write: Option<u32>) -> u32 {
        const ROM_INDEX: u32 = 0xc060_0010;
        const ROM_DATA: u32 = 0xc060_0014;
        let index = self.regs.get(port - 1);
        if index == ROM_DATA && write.is_none() {
            let at = self.regs.indirect("SMC", ROM_INDEX);
            self.regs.set_indirect("SMC", ROM_INDEX, at.wrapping_add(4));
            let byte = |i: u32| u32::from(self.rom.get((at + i) as usize).copied().unwrap_or(0xff));
            return (0..4).fold(0, |v, i| v | byte(i) << (8 * i));
        }
        if index == CG_SPLL_STATUS && write.is_none() {
            return if self.engine_clock_runs() { SPLL_LOCKED } else { 0 };
        }
        self.indirect("SMC", index, write)
    }

    /// VRAM through MM_INDEX/MM_DATA. With bit 31 of the index clear, the register of that byte
    /// offset.
    fn mm_data(&mut self, write: Option<u32>) -> u32 {
        let index = self.regs.get(MM_INDEX);
        if index & 1 << 31 == 0 {
            let reg = index / 4;
            if matches!(reg, MM_INDEX | MM_DATA) {
                return 0;
            }
            return match write {
                Some(v) => {
                    self.write_effect(reg, v, Source::Host);
                    v
                }
                None => self.read_effect(reg, Source::Host),
            };
        }
        let at = u64::from(self.regs.get(MM_INDEX_HI)) << 31 | u64::from(index & 0x7fff_fffc);
        if at + 4 > self.config.vram {
            self.log.violation(
                "beyond-vram",
                format!("MM_INDEX names VRAM offset {at:#x}, beyond the end"),
            );
            return !0;
        }
        match write {
            Some(v) => {
                self.vram.device().write_u32(at, v);
                self.vram.host().write_u32(at, v);
                v
            }
            None => self.vram.host().read_u32(at),
        }
    }

    /// Memory training: done once the microcode runs.
    fn training(&mut self) -> u32 {
        let busy = self.is_busy(MC_SEQ_TRAIN_WAKEUP_CNTL);
        let done =
            !busy && self.regs.get(MC_SEQ_SUP_CNTL) & 1 != 0 && !self.config.inject.mc_training;
        if done { 3 << 30 } else { 0 }
    }
}
