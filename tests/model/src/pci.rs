// SPDX-License-Identifier: GPL-2.0 OR MIT
//! PCI configuration space: identity, BARs, and the capabilities power management, MSI (one
//! 64-bit message), PCI Express endpoint and, in the extended space, Advanced Error Reporting. Also
//! the vendor's reset through dword 0x7c.

use crate::config::{
    Class,
    Config, //
};

/// Size of the extended configuration space in bytes.
pub const CONFIG_SIZE: usize = 4096;
/// BAR2, doorbells, in bytes.
pub const DOORBELL_SIZE: u64 = 8 << 20;
/// BAR5, registers, in bytes.
pub const REGISTER_SIZE: u64 = 256 << 10;

const COMMAND: usize = 0x04;
const MEMORY: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
const PM: usize = 0x48;
const MSI: usize = 0x50;
const PCIE: usize = 0xa0;
const AER: usize = 0x100;
/// Writing `RESET_MAGIC` here resets the ASIC.
const RESET: usize = 0x7c;
const RESET_MAGIC: u32 = 0x39d5_e86b;

/// Effect of a configuration write beyond storage.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigEffect {
    /// Nothing.
    None,
    /// The ASIC is to be reset.
    Reset,
    /// The function goes to D3.
    Asleep,
    /// The function comes back from D3, in which the platform may have taken its power.
    Woken,
}

/// The configuration space: bytes and which of their bits can be written.
pub struct Pci {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl Pci {
    /// The space after power-up.
    pub fn new(config: &Config) -> Self {
        let mut p = Pci { bytes: vec![0; CONFIG_SIZE], writable: vec![0; CONFIG_SIZE] };
        let id = u32::from(config.chip.device_id()) << 16 | 0x1002;
        p.set(0x00, id, 0);
        // Status: capability list. Command: memory, bus master, parity, SERR, INTx disable.
        p.set(COMMAND, 0x0010_0000, 0x0546);
        let class = match config.class {
            Class::Display => 0x0380_0000,
            Class::Vga => 0x0300_0000,
        };
        p.set(0x08, class, 0);
        p.bar64(0x10, config.visible);
        p.bar64(0x18, DOORBELL_SIZE);
        p.set(0x24, 0, !(REGISTER_SIZE as u32 - 1));
        p.set(0x2c, id, 0);
        p.set(0x30, 0, !(crate::rom::SIZE as u32 - 1) | 1);
        p.set(0x34, PM as u32, 0);
        p.set(0x3c, 0, 0xff);
        // Power management v3, then MSI: one message, 64-bit.
        p.set(PM, 0x0003_0001 | (MSI as u32) << 8, 0);
        p.set(PM + 4, 0x0000_0008, 0x0000_0003);
        p.set(MSI, 0x0080_0005 | (PCIE as u32) << 8, 0x0071_0000);
        p.set(MSI + 4, 0, !3);
        p.set(MSI + 8, 0, !0);
        p.set(MSI + 12, 0, 0xffff);
        // PCI Express v2 endpoint, 128-byte payloads, link x16 at 8 GT/s.
        p.set(PCIE, 0x0002_0010, 0);
        p.set(PCIE + 0x04, 0x0000_8fa0, 0);
        p.set(PCIE + 0x08, 0x0000_2810, 0x0000_ffff);
        p.set(PCIE + 0x0c, 0x0000_0103, 0);
        // What became of it: a port may have fewer lanes, and be slower.
        let link = if config.odd { 0x0082 } else { 0x0103 };
        p.set(PCIE + 0x10, link << 16, 0x0000_0fff);
        // Advanced Error Reporting v2. No error is ever reported by the card itself; which ones are
        // masked, and which are fatal, is stored.
        p.set(AER, 0x0002_0001, 0);
        p.set(AER + 0x08, 0x0040_0000, 0x07ff_f030);
        p.set(AER + 0x0c, 0x0046_2030, 0x07ff_f030);
        p.set(AER + 0x14, 0x0000_2000, 0x0000_f1c1);
        p.set(RESET, 0, 0);
        p
    }

    fn set(&mut self, at: usize, value: u32, writable: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
    }

    /// A 64-bit prefetchable memory BAR.
    fn bar64(&mut self, at: usize, size: u64) {
        let mask = !(size - 1);
        self.set(at, 0xc, mask as u32);
        self.set(at + 4, 0, (mask >> 32) as u32);
    }

    /// Reads bytes; beyond the space, zeros.
    pub fn read(&self, at: usize, to: &mut [u8]) {
        for (i, b) in to.iter_mut().enumerate() {
            *b = self.bytes.get(at + i).copied().unwrap_or(0);
        }
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, at: usize, from: &[u8]) -> ConfigEffect {
        let slept = self.sleeps();
        for (i, v) in from.iter().enumerate() {
            if let (Some(b), Some(m)) = (self.bytes.get_mut(at + i), self.writable.get(at + i)) {
                *b = *b & !m | v & m;
            }
        }
        if at == RESET && from == RESET_MAGIC.to_le_bytes() {
            ConfigEffect::Reset
        } else if slept && !self.sleeps() {
            ConfigEffect::Woken
        } else if !slept && self.sleeps() {
            ConfigEffect::Asleep
        } else {
            ConfigEffect::None
        }
    }

    /// Returns true if the function is in D3.
    fn sleeps(&self) -> bool {
        self.bytes[PM + 4] & 3 == 3
    }

    /// Returns true if the card is cut off from the bus: it may access nothing, and nobody may
    /// access it. That is how a platform leaves it that is about to reset it.
    pub fn is_cut_off(&self) -> bool {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]]) & (MEMORY | BUS_MASTER)
            == 0
    }

    /// Returns true if the host lets the device access memory.
    pub fn bus_master(&self) -> bool {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]]) & BUS_MASTER != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(p: &Pci, at: usize) -> u32 {
        let mut b = [0; 4];
        p.read(at, &mut b);
        u32::from_le_bytes(b)
    }

    #[test]
    fn bars_answer_with_their_size() {
        let mut p = Pci::new(&Config::default());
        for (at, size) in [(0x10, 1u64 << 30), (0x18, DOORBELL_SIZE)] {
            p.write(at, &[0xff; 8]);
            let v = u64::from(u32_at(&p, at + 4)) << 32 | u64::from(u32_at(&p, at) & !0xf);
            assert_eq!(!v + 1, size);
        }
        p.write(0x24, &[0xff; 4]);
        assert_eq!(u64::from(!u32_at(&p, 0x24) + 1), REGISTER_SIZE);
    }

    #[test]
    fn capabilities_form_a_list() {
        let p = Pci::new(&Config::default());
        let (mut at, mut ids) = (u32_at(&p, 0x34) as usize & 0xff, vec![]);
        while at != 0 {
            let c = u32_at(&p, at);
            ids.push(c & 0xff);
            at = (c >> 8 & 0xff) as usize;
        }
        assert_eq!(ids, [1, 5, 0x10]);
    }

    #[test]
    fn the_odd_card_s_link_is_less_than_it_can_be() {
        let link = |odd| {
            let p = Pci::new(&Config { odd, ..Config::default() });
            (u32_at(&p, PCIE + 0x0c), u32_at(&p, PCIE + 0x10) >> 16)
        };
        assert_eq!(link(false), (0x103, 0x103));
        assert_eq!(link(true), (0x103, 0x82));
    }

    #[test]
    fn back_from_d3() {
        let mut p = Pci::new(&Config::default());
        for (state, effect) in [
            (0, ConfigEffect::None),
            (3, ConfigEffect::Asleep),
            (3, ConfigEffect::None),
            (0, ConfigEffect::Woken),
        ] {
            assert_eq!(p.write(PM + 4, &[state, 0]), effect);
        }
    }

    #[test]
    fn the_reset_dword() {
        let mut p = Pci::new(&Config::default());
        assert_eq!(p.write(RESET, &RESET_MAGIC.to_le_bytes()), ConfigEffect::Reset);
        assert_eq!(p.write(RESET, &[0; 4]), ConfigEffect::None);
    }
}
