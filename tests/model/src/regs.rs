// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The register file: names, banks and storage. Registers are named by dword index, as in the
//! kernel's `asic_reg` headers (byte offset in BAR5 = index * 4). Side effects are in `mmio.rs`.
//!
//! Some indices are banked: which register answers depends on SRBM_GFX_CNTL (a VMID, a pipe or a
//! hardware queue) or on GRBM_GFX_INDEX (a shader engine).

pub mod index;
mod names;
pub mod reset;

use std::collections::HashMap;

use crate::config::Config;
pub use names::{
    defined_bits,
    index_of,
    is_known,
    label,
    name, //
};

/// Dwords in BAR5.
pub const COUNT: usize = 0x1_0000;

/// Selector of the instance of a banked register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// One instance.
    Flat,
    /// One per VMID (SRBM_GFX_CNTL.VMID).
    Vmid,
    /// One per compute pipe (SRBM_GFX_CNTL.MEID, PIPEID).
    Pipe,
    /// One per hardware queue (SRBM_GFX_CNTL.MEID, PIPEID, QUEUEID).
    Queue,
    /// One per shader engine (GRBM_GFX_INDEX.SE_INDEX, with broadcast).
    ShaderEngine,
}

/// The bank of a register.
pub fn bank(reg: u32) -> Bank {
    use index::*;
    match reg {
        SH_MEM_BASES | SH_MEM_APE1_BASE | SH_MEM_APE1_LIMIT | SH_MEM_CONFIG => Bank::Vmid,
        SDMA0_GFX_VIRTUAL_ADDR | SDMA0_GFX_APE1_CNTL => Bank::Vmid,
        SDMA1_GFX_VIRTUAL_ADDR | SDMA1_GFX_APE1_CNTL => Bank::Vmid,
        CP_HPD_EOP_BASE_ADDR..=CP_HPD_EOP_CONTROL => Bank::Pipe,
        CP_MQD_BASE_ADDR..=CP_MQD_CONTROL => Bank::Queue,
        CC_RB_BACKEND_DISABLE | GC_USER_RB_BACKEND_DISABLE => Bank::ShaderEngine,
        CC_GC_SHADER_ARRAY_CONFIG | GC_USER_SHADER_ARRAY_CONFIG => Bank::ShaderEngine,
        PA_SC_RASTER_CONFIG | PA_SC_RASTER_CONFIG_1 => Bank::ShaderEngine,
        RLC_SERDES_CU_MASTER_BUSY => Bank::ShaderEngine,
        _ => Bank::Flat,
    }
}

/// One hardware queue: micro-engine (1 or 2), pipe (0-3), queue (0-7).
pub type QueueSel = (u8, u8, u8);

/// Storage of every register.
pub struct Store {
    flat: Vec<u32>,
    banked: HashMap<(u32, u32), u32>,
    /// Indirect spaces (PCIE, SMC, DIDT, MC IO debug), by space and index.
    indirect: HashMap<(&'static str, u32), u32>,
    shader_engines: u32,
}

impl Store {
    /// The registers after power-on; if it is `posted`, after the firmware has posted the card.
    pub fn new(config: &Config, posted: bool) -> Self {
        let mut s = Store {
            flat: vec![0; COUNT],
            banked: HashMap::new(),
            indirect: HashMap::new(),
            shader_engines: config.chip.shader_engines(),
        };
        reset::power_up(&mut s, config, posted);
        s
    }

    /// A register that is not banked.
    pub fn get(&self, reg: u32) -> u32 {
        self.flat[reg as usize % COUNT]
    }

    /// Stores into a register that is not banked.
    pub fn set(&mut self, reg: u32, value: u32) {
        self.flat[reg as usize % COUNT] = value;
    }

    /// Two registers as one 64-bit value.
    pub fn get64(&self, lo: u32, hi: u32) -> u64 {
        u64::from(self.get(hi)) << 32 | u64::from(self.get(lo))
    }

    /// A register of the given hardware queue.
    pub fn queue(&self, sel: QueueSel, reg: u32) -> u32 {
        self.banked.get(&(reg, queue_key(sel))).copied().unwrap_or(0)
    }

    /// Stores into a register of the given hardware queue.
    pub fn set_queue(&mut self, sel: QueueSel, reg: u32, value: u32) {
        self.banked.insert((reg, queue_key(sel)), value);
    }

    /// A register of the given VMID.
    pub fn of_vmid(&self, vmid: u8, reg: u32) -> u32 {
        self.banked.get(&(reg, vmid.into())).copied().unwrap_or(0)
    }

    /// The queue that SRBM_GFX_CNTL selects.
    pub fn selected_queue(&self) -> QueueSel {
        let s = self.get(index::SRBM_GFX_CNTL);
        ((s >> 2 & 3) as u8, (s & 3) as u8, (s >> 8 & 7) as u8)
    }

    fn selector(&self, bank: Bank) -> u32 {
        let (me, pipe, queue) = self.selected_queue();
        match bank {
            Bank::Flat => 0,
            Bank::Vmid => self.get(index::SRBM_GFX_CNTL) >> 4 & 0xf,
            Bank::Pipe => queue_key((me, pipe, 0)),
            Bank::Queue => queue_key((me, pipe, queue)),
            Bank::ShaderEngine => {
                let g = self.get(index::GRBM_GFX_INDEX);
                if g & 1 << 31 != 0 { 0 } else { g >> 16 & 0xff }
            }
        }
    }

    /// What a shader engine has in a register of its own.
    pub fn of_engine(&self, engine: u32, reg: u32) -> u32 {
        self.banked.get(&(reg, engine)).copied().unwrap_or(0)
    }

    /// Reads as the selected bank has it.
    pub fn read(&self, reg: u32) -> u32 {
        match bank(reg) {
            Bank::Flat => self.get(reg),
            b => self.banked.get(&(reg, self.selector(b))).copied().unwrap_or(0),
        }
    }

    /// Writes into the selected bank, or with shader-engine broadcast into all of them.
    pub fn write(&mut self, reg: u32, value: u32) {
        match bank(reg) {
            Bank::Flat => self.set(reg, value),
            Bank::ShaderEngine if self.get(index::GRBM_GFX_INDEX) & 1 << 31 != 0 => {
                for se in 0..self.shader_engines {
                    self.banked.insert((reg, se), value);
                }
            }
            b => {
                self.banked.insert((reg, self.selector(b)), value);
            }
        }
    }

    /// An indirect register.
    pub fn indirect(&self, space: &'static str, index: u32) -> u32 {
        self.indirect.get(&(space, index)).copied().unwrap_or(0)
    }

    /// Stores into an indirect register.
    pub fn set_indirect(&mut self, space: &'static str, index: u32, value: u32) {
        self.indirect.insert((space, index), value);
    }
}

fn queue_key((me, pipe, queue): QueueSel) -> u32 {
    u32::from(me) << 8 | u32::from(pipe) << 4 | u32::from(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_and_vmids_have_their_own_registers() {
        let mut s = Store::new(&Config::default(), true);
        s.write(index::SRBM_GFX_CNTL, 1 << 2 | 2 << 8);
        s.write(index::CP_HQD_PQ_BASE, 7);
        s.write(index::SRBM_GFX_CNTL, 1 << 2 | 3 << 8);
        assert_eq!(s.read(index::CP_HQD_PQ_BASE), 0);
        assert_eq!(s.queue((1, 0, 2), index::CP_HQD_PQ_BASE), 7);
        s.write(index::SRBM_GFX_CNTL, 5 << 4);
        s.write(index::SH_MEM_BASES, 9);
        s.write(index::SRBM_GFX_CNTL, 6 << 4);
        assert_eq!(s.read(index::SH_MEM_BASES), 0);
    }

    #[test]
    fn broadcast_reaches_every_shader_engine() {
        let mut s = Store::new(&Config::default(), true);
        s.write(index::GRBM_GFX_INDEX, 0xe000_0000);
        s.write(index::PA_SC_RASTER_CONFIG, 0x55);
        for se in 0..2 {
            s.write(index::GRBM_GFX_INDEX, se << 16);
            assert_eq!(s.read(index::PA_SC_RASTER_CONFIG), 0x55);
        }
    }
}
