// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tiling modes: the order in which the texels of a surface lie in memory (the C driver's
//! `gfx_v7_0_tiling_mode_table_init`).
//!
//! The chip has 32 tile modes and 16 macrotile modes. The kernel fills them in, and user space then
//! refers to them by number (and asks for them through the INFO ioctl). The meaning of each number
//! is fixed by convention between all drivers of a chip, whose file has the tables. Only the number
//! of bytes in a memory row differs between boards.

use kernel::io::{
    register::Array,
    Io, //
};

use super::{
    regs::*,
    Parts, //
};
use crate::hw::{
    card::Card,
    TilingTables, //
};

/// Order of tiles.
#[derive(Clone, Copy)]
pub(super) enum ArrayMode {
    LinearGeneral = 0,
    LinearAligned = 1,
    Thin1D = 2,
    Thick1D = 3,
    Thin2D = 4,
    ThinPrt = 5,
    Thin2DPrt = 6,
    Thick2D = 7,
    XThick2D = 8,
    ThickPrt = 9,
    Thin3D = 12,
    Thick3D = 13,
    XThick3D = 14,
}

/// Order of texels within a tile.
#[derive(Clone, Copy)]
pub(super) enum Micro {
    Display = 0,
    Thin = 1,
    Depth = 2,
    Rotated = 3,
    Thick = 4,
}

/// Rule that decides where a tile is split over memory rows.
#[derive(Clone, Copy)]
pub(super) enum Split {
    /// After this number of bytes, a power of two from 64.
    Bytes(u32),
    /// After this number of samples, a power of two.
    Samples(u32),
    /// At the end of a memory row.
    Row,
}

/// A tile mode.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    mode: ArrayMode,
    /// Distribution of tiles over the memory's pipes: `ADDR_SURF_P*`.
    pipes: u32,
    micro: Micro,
    split: Split,
}

/// Returns a tile mode.
pub(super) const fn tile(mode: ArrayMode, pipes: u32, micro: Micro, split: Split) -> Tile {
    Tile {
        mode,
        pipes,
        micro,
        split,
    }
}

impl Tile {
    /// A mode that nobody uses.
    pub(super) const UNUSED: Self = tile(
        ArrayMode::LinearGeneral,
        0,
        Micro::Display,
        Split::Samples(1),
    );
    /// A mode that nobody uses, in which the split at a memory row is set all the same.
    pub(super) const UNUSED_BUT_ROW: Self =
        tile(ArrayMode::LinearGeneral, 0, Micro::Display, Split::Row);

    /// Returns the register's value for memory rows of `row_kib` KiB.
    const fn encode(self, row_kib: u32) -> u32 {
        let split = match self.split {
            Split::Bytes(bytes) => bytes_split(bytes),
            Split::Samples(samples) => samples.trailing_zeros() << 25,
            Split::Row => bytes_split(row_kib << 10),
        };
        (self.mode as u32) << 2 | self.pipes << 6 | (self.micro as u32) << 22 | split
    }
}

const fn bytes_split(bytes: u32) -> u32 {
    (bytes.trailing_zeros() - 6) << 11
}

/// Returns a macrotile mode. All four numbers are powers of two.
pub(super) const fn macrotile(width: u32, height: u32, aspect: u32, banks: u32) -> u32 {
    width.trailing_zeros()
        | height.trailing_zeros() << 2
        | aspect.trailing_zeros() << 4
        | (banks.trailing_zeros() - 1) << 6
}

/// Number of the only mode that must keep the value set by the video BIOS.
const UNUSED_MACROTILE_MODE: usize = 7;

/// Returns the tables for a board whose memory rows have `row_kib` KiB (1, 2 or 4).
pub(super) fn tables(parts: &Parts, row_kib: u32) -> TilingTables {
    TilingTables {
        tile_modes: parts.tiles.map(|tile| tile.encode(row_kib)),
        macrotile_modes: parts.macrotiles,
    }
}

/// Writes the tables to the chip.
pub(super) fn program(card: &Card<'_>, tables: &TilingTables) {
    for (index, mode) in tables.tile_modes.iter().enumerate() {
        if let Some(register) = GB_TILE_MODE::try_at(index) {
            card.regs().write(register, GB_TILE_MODE::from(*mode));
        }
    }
    for (index, mode) in tables.macrotile_modes.iter().enumerate() {
        match GB_MACROTILE_MODE::try_at(index) {
            Some(register) if index != UNUSED_MACROTILE_MODE => {
                card.regs().write(register, GB_MACROTILE_MODE::from(*mode));
            }
            _ => {}
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(amdgpu_rs_tiling)]
mod tests {
    use super::{
        super::{
            bonaire,
            hawaii, //
        },
        *, //
    };

    // As the C driver writes them for a row of 2 KiB.
    #[rustfmt::skip]
    const BONAIRE: TilingTables = TilingTables {
        tile_modes: [
            0x80_0150, 0x80_0950, 0x80_1150, 0x80_1950, 0x80_2950, 0x80_0148, 0x80_2954, 0x2800,
            0x144, 0x148, 0x200_0150, 0x600_0154, 0x2800, 0x40_0148, 0x240_0150, 0x240_0170,
            0x640_0154, 0x2800, 0x40_014c, 0x40_014c, 0x40_015c, 0x40_0174, 0x40_0164, 0x2800,
            0x40_015c, 0x40_0160, 0x40_0178, 0xc0_0148, 0x2c0_0150, 0x6c0_0154, 0x2800, 0x0,
        ],
        macrotile_modes: [
            0xe8, 0xe4, 0xd0, 0xd0, 0xd0, 0x90, 0x40, 0x0, 0xed, 0xe9, 0xe8, 0xe4, 0xd0, 0x90, 0x40,
            0x0,
        ],
    };
    #[rustfmt::skip]
    const HAWAII: TilingTables = TilingTables {
        tile_modes: [
            0x80_0450, 0x80_0c50, 0x80_1450, 0x80_1c50, 0x80_2c50, 0x80_2c48, 0x80_2c54, 0x80_2954,
            0x444, 0x448, 0x200_0450, 0x600_0454, 0x600_0158, 0x40_0448, 0x240_0450, 0x240_0470,
            0x640_0454, 0x640_0154, 0x40_044c, 0x100_044c, 0x100_045c, 0x100_0474, 0x100_0464,
            0x100_0164, 0x40_045c, 0x100_0460, 0x100_0478, 0xc0_0448, 0x2c0_0450, 0x6c0_0454,
            0x6c0_0154, 0x0,
        ],
        macrotile_modes: [
            0xd8, 0xd4, 0xc0, 0xc0, 0x80, 0x40, 0x40, 0x0, 0xd8, 0xd4, 0xc0, 0x80, 0xd0, 0x90, 0x40,
            0x0,
        ],
    };

    #[test]
    fn tables_of_chips() {
        for (parts, expected) in [(&bonaire::PARTS, BONAIRE), (&hawaii::PARTS, HAWAII)] {
            let tables = tables(parts, 2);
            assert_eq!(tables.tile_modes, expected.tile_modes);
            assert_eq!(tables.macrotile_modes, expected.macrotile_modes);
        }
    }

    #[test]
    fn rows() {
        let split = |row_kib| tables(&bonaire::PARTS, row_kib).tile_modes[7];
        assert_eq!(split(1), 4 << 11);
        assert_eq!(split(4), 6 << 11);
    }
}
