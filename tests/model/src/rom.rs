// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The expansion ROM: a synthetic ATOM BIOS. It has what a driver's checks ask for, and an
//! ASIC_Init that posts the card, but only for an interpreter that does every instruction right. It
//! is an EFI image by its PCIR header, so that no PC firmware executes it.

mod asm;
mod self_test;
mod tables;

use crate::{
    config::{
        Chip,
        Config, //
    },
    regs::reset::{
        ENGINE_CLOCK,
        MEMORY_CLOCK,
        REFERENCE_CLOCK, //
    }, //
};

/// Size of the image in bytes.
pub const SIZE: usize = 0x1_0000;

const PCIR: usize = 0x100;
const HEADER: usize = 0x200;
const COMMAND_TABLE: usize = HEADER + 0x40;
const DATA_TABLE: usize = HEADER + 0x140;
const FIRMWARE_INFO: usize = HEADER + 0x240;
/// Start of the other tables.
const TABLES: usize = 0x1000;

struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn u16(&mut self, at: usize, v: u16) {
        self.put(at, &v.to_le_bytes());
    }
    fn u32(&mut self, at: usize, v: u32) {
        self.put(at, &v.to_le_bytes());
    }
    /// Header of an ATOM table: size, format revision, content revision.
    fn table(&mut self, at: usize, size: u16, format: u8, content: u8) {
        self.u16(at, size);
        self.put(at + 2, &[format, content]);
    }
}

/// Builds the image for `config`.
pub fn build(config: &Config) -> Vec<u8> {
    let mut i = Image(vec![0; SIZE]);
    if config.inject.no_rom {
        return i.0;
    }
    i.put(0, if config.inject.rom_signature { &[0x12, 0x34] } else { &[0x55, 0xaa] });
    // Length in 512-byte units, then a far return in case something calls the image.
    i.put(2, &[(SIZE / 512) as u8, 0xcb]);
    i.put(0x30, b" 761295520");
    i.u16(0x48, HEADER as u16);
    i.put(0x50, b"22/11/26 00:00");
    i.put(
        0x80,
        match config.chip {
            Chip::Bonaire => b"MODEL-BONAIRE",
            Chip::Hawaii => b"MODEL-HAWAII\0",
        },
    );
    pcir(&mut i, config);

    i.table(HEADER, 0x24, 1, 1);
    i.put(HEADER + 4, b"ATOM");
    i.u16(HEADER + 0x1e, COMMAND_TABLE as u16);
    i.u16(HEADER + 0x20, DATA_TABLE as u16);
    i.table(COMMAND_TABLE, 4 + 2 * 81, 1, 1);
    i.table(DATA_TABLE, 4 + 2 * 35, 1, 1);
    // Entry 4 of the data tables: FirmwareInfo.
    i.u16(DATA_TABLE + 4 + 2 * 4, FIRMWARE_INFO as u16);
    firmware_info(&mut i);
    let commands =
        tables::commands(config).into_iter().map(|(n, table)| (COMMAND_TABLE, n, table.bytes));
    let data = tables::data(config).into_iter().map(|(n, table)| (DATA_TABLE, n, table));
    let mut free = TABLES;
    for (list, number, table) in commands.chain(data) {
        i.u16(list + 4 + 2 * usize::from(number), free as u16);
        i.put(free, &table);
        free += table.len().next_multiple_of(4);
    }
    i.0
}

fn pcir(i: &mut Image, config: &Config) {
    i.u16(0x18, PCIR as u16);
    i.put(PCIR, b"PCIR");
    i.u16(PCIR + 4, 0x1002);
    i.u16(PCIR + 6, config.chip.device_id());
    // Header length, class code 03 00 00, image length in 512-byte units.
    i.u16(PCIR + 0xa, 0x18);
    i.put(PCIR + 0xd, &[0, 0, 3]);
    i.u16(PCIR + 0x10, (SIZE / 512) as u16);
    // Code type 3 (EFI), last image.
    i.put(PCIR + 0x14, &[3, 0x80]);
}

/// FirmwareInfo V2.2: clocks in 10 kHz.
fn firmware_info(i: &mut Image) {
    i.table(FIRMWARE_INFO, 0x6c, 2, 2);
    i.u32(FIRMWARE_INFO + 4, 0x0f00_0000);
    i.u32(FIRMWARE_INFO + 8, ENGINE_CLOCK);
    i.u32(FIRMWARE_INFO + 0xc, MEMORY_CLOCK);
    i.u16(FIRMWARE_INFO + 0x52, REFERENCE_CLOCK as u16);
    i.u16(FIRMWARE_INFO + 0x54, REFERENCE_CLOCK as u16);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u16_at(r: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes([r[at], r[at + 1]]))
    }

    #[test]
    fn a_driver_finds_what_it_checks() {
        let r = build(&Config::default());
        assert_eq!(&r[..2], [0x55, 0xaa]);
        let p = u16_at(&r, 0x18);
        assert_eq!(&r[p..p + 4], b"PCIR");
        assert_eq!(u16_at(&r, p + 0x10) * 512, SIZE);
        let h = u16_at(&r, 0x48);
        assert_eq!(&r[h + 4..h + 8], b"ATOM");
        let firmware = u16_at(&r, u16_at(&r, h + 0x20) + 12);
        assert_eq!(u16_at(&r, firmware), 0x6c);
        let init = u16_at(&r, u16_at(&r, h + 0x1e) + 4);
        assert_eq!(r[init + u16_at(&r, init) - 1], 0x5b);
    }

    #[test]
    fn a_wrong_signature_can_be_asked_for() {
        let mut c = Config::default();
        c.inject.add("rom-signature").unwrap();
        assert_ne!(&build(&c)[..2], [0x55, 0xaa]);
    }
}
