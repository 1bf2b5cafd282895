// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tiling modes: the order in which the texels of a surface lie in memory (the C driver's
//! `gfx_v7_0_tiling_mode_table_init`).
//!
//! The chip has 32 tile modes and 16 macrotile modes. The kernel fills them in, and user space then
//! refers to them by number (and asks for them through the INFO ioctl). The meaning of each number
//! is fixed by convention between all drivers. Only the number of bytes in a memory row differs
//! between boards.

use kernel::io::{
    register::Array,
    Io, //
};

use super::regs::*;
use crate::hw::{
    card::Card,
    TilingTables, //
};

/// Order of tiles.
#[derive(Clone, Copy)]
enum ArrayMode {
    LinearAligned = 1,
    Thin1D = 2,
    Thick1D = 3,
    Thin2D = 4,
    ThinPrt = 5,
    Thick2D = 7,
    XThick2D = 8,
    ThickPrt = 9,
    Thin3D = 12,
    Thick3D = 13,
    XThick3D = 14,
}

/// Order of texels within a tile.
#[derive(Clone, Copy)]
enum Micro {
    Display = 0,
    Thin = 1,
    Depth = 2,
    Rotated = 3,
}

/// Rule that decides where a tile is split over memory rows.
#[derive(Clone, Copy)]
enum Split {
    /// Bytes: 64 shifted by this.
    Bytes(u32),
    /// Samples: 1 shifted by this.
    Samples(u32),
}

/// Distribution of tiles over four pipes: `ADDR_SURF_P4_16x16`.
const PIPE_CONFIG_P4_16X16: u32 = 5;

const fn tile(mode: ArrayMode, micro: Micro, split: Split) -> u32 {
    let split = match split {
        Split::Bytes(shift) => shift << 11,
        Split::Samples(shift) => shift << 25,
    };
    (mode as u32) << 2 | PIPE_CONFIG_P4_16X16 << 6 | (micro as u32) << 22 | split
}

/// Returns a mode that holds only the split at a memory row.
const fn row_only(row: Split) -> u32 {
    match row {
        Split::Bytes(shift) => shift << 11,
        Split::Samples(_) => 0,
    }
}

/// Returns the tile modes of Bonaire. `row` is the split at a memory row.
const fn tile_modes(row: Split) -> [u32; 32] {
    use ArrayMode::*;
    use Micro::*;
    use Split::*;

    const ONE: Split = Samples(0);
    const TWO: Split = Samples(1);
    const EIGHT: Split = Samples(3);
    [
        tile(Thin2D, Depth, Bytes(0)),
        tile(Thin2D, Depth, Bytes(1)),
        tile(Thin2D, Depth, Bytes(2)),
        tile(Thin2D, Depth, Bytes(3)),
        tile(Thin2D, Depth, row),
        tile(Thin1D, Depth, ONE),
        tile(ThinPrt, Depth, row),
        row_only(row),
        tile(LinearAligned, Display, ONE),
        tile(Thin1D, Display, ONE),
        tile(Thin2D, Display, TWO),
        tile(ThinPrt, Display, EIGHT),
        row_only(row),
        tile(Thin1D, Thin, ONE),
        tile(Thin2D, Thin, TWO),
        tile(Thin3D, Thin, TWO),
        tile(ThinPrt, Thin, EIGHT),
        row_only(row),
        tile(Thick1D, Thin, ONE),
        tile(Thick1D, Thin, ONE),
        tile(Thick2D, Thin, ONE),
        tile(Thick3D, Thin, ONE),
        tile(ThickPrt, Thin, ONE),
        row_only(row),
        tile(Thick2D, Thin, ONE),
        tile(XThick2D, Thin, ONE),
        tile(XThick3D, Thin, ONE),
        tile(Thin1D, Rotated, ONE),
        tile(Thin2D, Rotated, TWO),
        tile(ThinPrt, Rotated, EIGHT),
        row_only(row),
        0,
    ]
}

/// Returns a macrotile mode. All four numbers are powers of two.
const fn macrotile(width: u32, height: u32, aspect: u32, banks: u32) -> u32 {
    width.trailing_zeros()
        | height.trailing_zeros() << 2
        | aspect.trailing_zeros() << 4
        | (banks.trailing_zeros() - 1) << 6
}

/// Macrotile modes of Bonaire. Number 7 (and its counterpart 15) is not used.
const MACROTILE_MODES: [u32; 16] = [
    macrotile(1, 4, 4, 16),
    macrotile(1, 2, 4, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 8),
    macrotile(1, 1, 1, 4),
    0,
    macrotile(2, 8, 4, 16),
    macrotile(2, 4, 4, 16),
    macrotile(1, 4, 4, 16),
    macrotile(1, 2, 4, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 8),
    macrotile(1, 1, 1, 4),
    0,
];

/// Number of the only mode that must keep the value set by the video BIOS.
const UNUSED_MACROTILE_MODE: usize = 7;

/// Returns the tables for a board whose memory rows have `row_kib` KiB (1, 2 or 4).
pub(super) fn tables(row_kib: u32) -> TilingTables {
    TilingTables {
        tile_modes: tile_modes(Split::Bytes(4 + row_kib.trailing_zeros())),
        macrotile_modes: MACROTILE_MODES,
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

#[kernel::macros::kunit_tests(amdgpu_rs_tiling)]
mod tests {
    use super::*;

    #[test]
    fn known_modes() {
        // As the C driver writes them for a row of 2 KiB.
        let tables = tables(2);
        let cases = [
            (0, 0x0080_0150),
            (4, 0x0080_2950),
            (5, 0x0080_0148),
            (7, 0x0000_2800),
            (8, 0x0000_0144),
            (10, 0x0200_0150),
            (14, 0x0240_0150),
            (29, 0x06c0_0154),
            (31, 0),
        ];
        for (index, mode) in cases {
            assert_eq!(tables.tile_modes[index], mode);
        }
        assert_eq!(tables.macrotile_modes[0], 0xe8);
        assert_eq!(tables.macrotile_modes[8], 0xed);
        assert_eq!(tables.macrotile_modes[14], 0x40);
    }
}
