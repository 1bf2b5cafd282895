// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Places of the texels of a tiled surface.
//!
//! The order of bytes follows AMD's address library as Mesa has it (`src/amd/addrlib`, files
//! `egbaddrlib.cpp`, `siaddrlib.cpp`, `ciaddrlib.cpp`): texels in micro tiles of 8 by 8, those in
//! macro tiles that spread over pipes and banks. Only Bonaire's four pipes are known here.

/// Contents of GB_TILE_MODE0 to 31 and GB_MACROTILE_MODE0 to 15, and GB_ADDR_CONFIG.ROW_SIZE.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// GB_TILE_MODE.
    pub tile: [u32; 32],
    /// GB_MACROTILE_MODE.
    pub macrotile: [u32; 16],
    /// DRAM row size in bytes.
    pub row: u64,
}

/// PIPE_CONFIG of four pipes, each of 16 by 16 texels.
const P4_16X16: u32 = 5;
/// Pipes of that.
const PIPES: u64 = 4;
/// Bytes of a pipe before the next one's.
const INTERLEAVE: u64 = 256;
/// Levels that an image can have.
const LEVELS: u32 = 16;

/// Order of texels in a micro tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Micro {
    Display,
    Thin,
    Depth,
}

/// A surface's layout.
#[derive(Clone, Debug)]
pub struct Layout {
    bytes: u64,
    pitch: u64,
    height: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Linear,
    /// Micro tiles in rows.
    Micro {
        micro: Micro,
        thickness: u64,
    },
    Macro(Macro),
}

/// Macro tiles.
#[derive(Clone, Debug)]
struct Macro {
    micro: Micro,
    thickness: u64,
    /// Partially resident: pipes and banks start anew in each macro tile.
    resident: bool,
    split: u64,
    bank_width: u64,
    bank_height: u64,
    width: u64,
    height: u64,
    banks: u64,
}

fn bit(value: u64, n: u32) -> u64 {
    value >> n & 1
}

/// Puts bits together, the lowest first.
fn bits<const N: usize>(all: [u64; N]) -> u64 {
    all.into_iter().enumerate().fold(0, |value, (n, bit)| value | bit << n)
}

impl Layout {
    /// The layout of a surface with `index` as TILING_INDEX, `bytes` a texel, and the descriptor's
    /// pitch and height.
    pub fn new(
        modes: &Modes,
        index: usize,
        bytes: u64,
        pitch: u64,
        height: u64,
    ) -> Result<Layout, String> {
        let mode = modes.tile[index & 31];
        let array = mode >> 2 & 15;
        let layout = |kind, height| Layout { bytes, pitch, height, kind };
        if array <= 1 {
            return Ok(layout(Kind::Linear, height));
        }
        let micro = match mode >> 22 & 7 {
            0 => Micro::Display,
            1 => Micro::Thin,
            2 => Micro::Depth,
            other => {
                return Err(format!(
                    "tile mode {index}: MICRO_TILE_MODE {other} is not implemented"
                ));
            }
        };
        let thickness = match array {
            3 | 7 => 4,
            8 => 8,
            2 | 4 | 5 => 1,
            other => {
                return Err(format!("tile mode {index}: ARRAY_MODE {other} is not implemented"));
            }
        };
        if array <= 3 {
            return Ok(layout(Kind::Micro { micro, thickness }, height.next_multiple_of(8)));
        }
        if mode >> 6 & 31 != P4_16X16 {
            return Err(format!(
                "tile mode {index}: PIPE_CONFIG {} is not implemented",
                mode >> 6 & 31
            ));
        }
        let tiles = Macro::new(modes, mode, micro, thickness, bytes);
        let height = height.next_multiple_of(tiles.height);
        Ok(layout(Kind::Macro(tiles), height))
    }

    /// Base and layout of the levels 0 to `last` of a surface with several (POW2_PAD). Each is
    /// padded to powers of two: its pitch is that of the first halved, its height the image's.
    /// `slices` says how many slices a level has.
    pub fn levels(
        modes: &Modes,
        index: usize,
        bytes: u64,
        (base, [pitch, height]): (u64, [u64; 2]),
        slices: impl Fn(u32) -> u64,
        last: u32,
    ) -> Result<Vec<(u64, Layout)>, String> {
        let (mut all, mut end, mut mixed): (Vec<(u64, Layout)>, u64, u64) = (vec![], 0, 0);
        for level in 0..=last.min(LEVELS - 1) {
            let size = [pitch, height].map(|n| (n >> level).max(1).next_power_of_two());
            let mut layout = Layout::new(modes, index, bytes, size[0], size[1])?;
            if level > 0 {
                layout = layout.fitted(size);
            } else {
                mixed = layout.mixed();
            }
            let at = end.next_multiple_of(layout.alignment());
            end = at + layout.bytes_of(slices(level).next_power_of_two());
            // Pipe and bank of the surface are nothing to levels without macro tiles.
            let base = if layout.mixed() == 0 { base & !mixed } else { base };
            all.push((base.wrapping_add(at), layout));
        }
        Ok(all)
    }

    /// Bits of an address that pipe and bank are mixed into.
    fn mixed(&self) -> u64 {
        match &self.kind {
            Kind::Macro(tiles) => PIPES * tiles.banks * INTERLEAVE - INTERLEAVE,
            _ => 0,
        }
    }

    /// Fits a level's layout: macro tiles that it does not fill, or that are too small for the
    /// pipes, give way to micro tiles; rows are made longer until a slice ends with a pipe's bytes.
    fn fitted(mut self, [pitch, height]: [u64; 2]) -> Layout {
        if let Kind::Macro(tiles) = &self.kind {
            let (micro, thickness) = (tiles.micro, tiles.thickness);
            let fills = thickness > 1 || tiles.least_run(self.bytes) >= INTERLEAVE;
            if pitch >= tiles.width && height >= tiles.height && fills {
                return self;
            }
            self = Layout { height, kind: Kind::Micro { micro, thickness }, ..self };
        }
        let step = match self.kind {
            Kind::Linear => (64 / self.bytes).max(8),
            _ => 8,
        };
        self.pitch = pitch.next_multiple_of(step);
        if let Kind::Micro { .. } = self.kind {
            self.height = height.next_multiple_of(8);
        }
        let whole = match self.kind {
            Kind::Micro { thickness, .. } => INTERLEAVE.div_ceil(self.bytes * thickness),
            _ => INTERLEAVE.div_ceil(self.bytes).max(64),
        };
        while self.pitch * self.height % whole != 0 {
            self.pitch += step;
        }
        self
    }

    /// Layers of a tile.
    fn thickness(&self) -> u64 {
        match &self.kind {
            Kind::Linear => 1,
            Kind::Micro { thickness, .. } => *thickness,
            Kind::Macro(tiles) => tiles.thickness,
        }
    }

    /// Bytes of so many slices.
    fn bytes_of(&self, slices: u64) -> u64 {
        self.pitch * self.height * self.bytes * slices.next_multiple_of(self.thickness())
    }

    /// Returns the alignment of a surface of this layout.
    fn alignment(&self) -> u64 {
        match &self.kind {
            Kind::Macro(tiles) => tiles.bytes(self.bytes).max(INTERLEAVE),
            _ => INTERLEAVE,
        }
    }

    /// Address of a texel of the surface at `base`, whose low bits are mixed into pipe and bank.
    pub fn address(&self, base: u64, x: u64, y: u64, z: u64) -> u64 {
        match &self.kind {
            Kind::Linear => {
                base.wrapping_add(((z * self.height + y) * self.pitch + x) * self.bytes)
            }
            Kind::Micro { micro, thickness } => {
                let tile = 64 * thickness * self.bytes;
                let slice = self.pitch * self.height * thickness * self.bytes;
                let inside = self.element(*micro, *thickness, x, y, z) * self.bytes;
                let tiles = y / 8 * (self.pitch / 8) + x / 8;
                base.wrapping_add(z / thickness * slice + tiles * tile + inside)
            }
            Kind::Macro(tiles) => {
                let element = self.element(tiles.micro, tiles.thickness, x, y, z) * self.bytes;
                let (total, pipe, bank) = tiles.place(self, x, y, z, element);
                let low = total % INTERLEAVE | pipe << 8 | bank << 10;
                let high = (total / INTERLEAVE) << (10 + tiles.banks.trailing_zeros());
                (base ^ low).wrapping_add(high)
            }
        }
    }

    /// Number of a texel in its micro tile.
    fn element(&self, micro: Micro, thickness: u64, x: u64, y: u64, z: u64) -> u64 {
        let [x0, x1, x2] = [bit(x, 0), bit(x, 1), bit(x, 2)];
        let [y0, y1, y2] = [bit(y, 0), bit(y, 1), bit(y, 2)];
        let flat = match (micro, self.bytes) {
            (Micro::Thin | Micro::Depth, _) => bits([x0, y0, x1, y1, x2, y2]),
            (_, 1) => bits([x0, x1, x2, y1, y0, y2]),
            (_, 2) => bits([x0, x1, x2, y0, y1, y2]),
            (_, 4) => bits([x0, x1, y0, x2, y1, y2]),
            (_, 8) => bits([x0, y0, x1, x2, y1, y2]),
            _ => bits([y0, x0, x1, x2, y1, y2]),
        };
        flat | (z % thickness) << 6
    }
}

impl Macro {
    fn new(modes: &Modes, mode: u32, micro: Micro, thickness: u64, bytes: u64) -> Macro {
        let tile = 64 * thickness * bytes;
        let split = match micro {
            Micro::Depth => 64 << (mode >> 11 & 7),
            _ => ((1 << (mode >> 25 & 3)) * tile).max(256),
        };
        let split = split.min(modes.row.max(1024));
        let resident = mode >> 2 & 15 == 5;
        let index = (tile.min(split).max(64) / 64).ilog2() as usize + if resident { 8 } else { 0 };
        let shape = modes.macrotile[index.min(15)];
        let (bank_width, bank_height) = (1 << (shape & 3), 1 << (shape >> 2 & 3));
        let (aspect, banks) = (1 << (shape >> 4 & 3), 2 << (shape >> 6 & 3));
        let width = 8 * bank_width * PIPES * aspect;
        let height = (8 * bank_height * banks / aspect).max(8);
        Macro { micro, thickness, resident, split, bank_width, bank_height, width, height, banks }
    }

    /// Bytes of a micro tile, as far as a DRAM row takes it whole.
    fn tile(&self, bytes: u64) -> u64 {
        (64 * self.thickness * bytes).min(self.split)
    }

    /// Bytes of a macro tile.
    fn bytes(&self, bytes: u64) -> u64 {
        self.tile(bytes) * PIPES * self.banks * self.bank_width * self.bank_height
    }

    /// Bytes that one after another go to all pipes, or to one bank; the fewer of them.
    fn least_run(&self, bytes: u64) -> u64 {
        let aspect = self.width / (8 * self.bank_width * PIPES);
        self.tile(bytes) * self.bank_width * (PIPES * aspect).min(self.bank_height)
    }

    /// Position on its pipe and bank, pipe and bank of a texel.
    fn place(&self, surface: &Layout, x: u64, y: u64, z: u64, element: u64) -> (u64, u64, u64) {
        let whole = 64 * self.thickness * surface.bytes;
        // A tile that is larger than a DRAM row is split.
        let splits = whole > self.split && self.thickness == 1;
        let (parts, tile) = if splits { (whole / self.split, self.split) } else { (1, whole) };
        let (part, inside) = (element / tile, element % tile);
        let macro_bytes = tile * self.bank_width * self.bank_height;
        let row = (surface.pitch / self.width).max(1);
        let slice = row * (surface.height / self.height) * macro_bytes;
        let macro_tile = y / self.height * row + x / self.width;
        let micro_tile =
            y / 8 % self.bank_height * self.bank_width + x / 8 / PIPES % self.bank_width;
        let total = slice * (part + parts * (z / self.thickness))
            + macro_tile * macro_bytes
            + micro_tile * tile
            + inside;
        let (tx, ty) =
            if self.resident { (x % self.width / 8, y % self.height / 8) } else { (x / 8, y / 8) };
        let pipe = bits([bit(tx, 0) ^ bit(ty, 0) ^ bit(tx, 1), bit(tx, 1) ^ bit(ty, 1)]);
        (total, pipe, self.bank(tx, ty, z / self.thickness, part))
    }

    fn bank(&self, tx: u64, ty: u64, slice: u64, part: u64) -> u64 {
        let (x, y) = (tx / (self.bank_width * PIPES), ty / self.bank_height);
        let (x, y) = (|n| bit(x, n), |n| bit(y, n));
        let mut bank = match self.banks {
            16 => bits([x(0) ^ y(3), x(1) ^ y(2) ^ y(3), x(2) ^ y(1), x(3) ^ y(0)]),
            8 => bits([x(0) ^ y(2), x(1) ^ y(1) ^ y(2), x(2) ^ y(0)]),
            4 => bits([x(0) ^ y(1), x(1) ^ y(0)]),
            _ => x(0) ^ y(0),
        };
        if !self.resident {
            // Slices and parts begin on banks of their own.
            bank ^= (self.banks / 2 - 1) * slice;
            bank ^= if self.thickness == 1 { (self.banks / 2 + 1) * part } else { 0 };
        }
        bank & (self.banks - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Bonaire's modes 8 (linear), 10 (display), 13 (1D thin), 14 (2D thin), 3 (depth).
    fn modes() -> Modes {
        let mut modes = Modes { row: 2048, ..Modes::default() };
        for (n, value) in
            [(8, 0x144), (10, 0x0200_0150), (13, 0x0040_0148), (14, 0x0240_0150), (3, 0x0080_1950)]
        {
            modes.tile[n] = value;
        }
        modes.macrotile[..7].copy_from_slice(&[0xe8, 0xe4, 0xd0, 0xd0, 0xd0, 0x90, 0x40]);
        modes
    }

    #[test]
    fn no_two_texels_share_a_byte() {
        for index in [8, 10, 13, 14, 3] {
            for bytes in [1, 2, 4, 8, 16] {
                let layout = Layout::new(&modes(), index, bytes, 256, 128).unwrap();
                let mut seen = HashSet::new();
                for (x, y, z) in (0..256)
                    .flat_map(|x| (0..128).flat_map(move |y| (0..2).map(move |z| (x, y, z))))
                {
                    let at = layout.address(0, x, y, z);
                    assert_eq!(at % bytes, 0);
                    assert!(
                        seen.insert(at),
                        "mode {index}, {bytes} bytes: ({x}, {y}, {z}) at {at:#x} twice"
                    );
                }
                let size = layout.pitch * layout.height * bytes * 2;
                assert!(
                    seen.into_iter().all(|at| at < size),
                    "mode {index}, {bytes} bytes: outside"
                );
            }
        }
    }

    #[test]
    fn levels_do_not_overlap() {
        for (index, bytes) in
            [8, 10, 13, 14, 3].into_iter().flat_map(|i| [1, 2, 4, 8, 16].map(|b| (i, b)))
        {
            // Not powers of two; a base with a pipe and a bank of its own where there are such.
            let (size, slices, base) =
                ([200u64, 72u64], 3, 1 << 30 | if index == 8 || index == 13 { 0 } else { 0x500 });
            let levels =
                Layout::levels(&modes(), index, bytes, (base, [256, 72]), |_| slices, 7).unwrap();
            let mut seen = HashSet::new();
            for (n, (base, layout)) in levels.iter().enumerate() {
                let [w, h] = size.map(|v| (v >> n).max(1));
                for (x, y, z) in (0..w)
                    .flat_map(|x| (0..h).flat_map(move |y| (0..slices).map(move |z| (x, y, z))))
                {
                    let at = layout.address(*base, x, y, z);
                    assert!(
                        at >= 1 << 30 && seen.insert(at),
                        "mode {index}, {bytes} bytes, level {n}: ({x}, {y}, {z})"
                    );
                }
            }
        }
    }

    #[test]
    fn small_levels_have_micro_tiles_and_whole_slices() {
        // As the address library has it for 256 by 256 texels of 4 bytes in mode 14: 64 by 64 to a
        // macro tile.
        let levels = Layout::levels(&modes(), 14, 4, (0, [256, 256]), |_| 1, 8).unwrap();
        let at: Vec<u64> = levels.iter().map(|(base, _)| *base).collect();
        assert_eq!(at, [0, 0x40000, 0x50000, 0x54000, 0x55000, 0x55400, 0x55500, 0x55600, 0x55700]);
        assert!(matches!(levels[2].1.kind, Kind::Macro(_)));
        assert!(matches!(levels[3].1.kind, Kind::Micro { .. }));
        // One byte a texel: 8 by 8 are a quarter of what a pipe takes.
        let levels = Layout::levels(&modes(), 13, 1, (0, [32, 32]), |_| 1, 5).unwrap();
        assert_eq!(
            levels.iter().map(|(base, _)| *base).collect::<Vec<_>>(),
            [0, 0x400, 0x500, 0x600, 0x700, 0x800]
        );
        assert_eq!(levels[2].1.pitch, 32);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut modes = modes();
        modes.tile[0] = 0x0240_0150 & !(31 << 6) | 12 << 6;
        assert!(Layout::new(&modes, 0, 4, 64, 64).unwrap_err().contains("PIPE_CONFIG 12"));
        modes.tile[0] = 0x00c0_0148;
        assert!(Layout::new(&modes, 0, 4, 64, 64).unwrap_err().contains("MICRO_TILE_MODE 3"));
    }
}
