// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Depth and stencil (DB; fields as in `gfx_7_2_sh_mask.h`).

use super::registers::*;
use crate::{
    bus::Bus,
    memory::{
        Memory,
        Path, //
    },
    stop::Stop,
    tiling::{
        Layout,
        Modes, //
    }, //
};

/// A surface of depths or stencils.
struct Surface {
    read: u64,
    write: u64,
    bytes: usize,
    layout: Layout,
}

/// Formats of depths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Bits(u32),
    Float,
}

/// The depth and stencil tests of a draw.
pub struct Depth {
    depth: Option<(Surface, Format)>,
    stencil: Option<Surface>,
    control: u32,
    operations: u32,
    references: [u32; 2],
    range: [f32; 2],
    slice: u64,
    read_only: [bool; 2],
    size: [i64; 2],
    /// Words of tiles, if there are any.
    tiles: Option<u64>,
    /// DB_RENDER_CONTROL.
    render: u32,
    clear: (f32, u32),
}

/// DB_RENDER_CONTROL: pixels get the values of clears; tiles are written out.
const CLEAR_DEPTH: u32 = 1;
const CLEAR_STENCIL: u32 = 1 << 1;
const EXPAND: u32 = 3 << 5;

impl Depth {
    /// From the registers.
    pub fn new(r: &Registers, modes: &Modes) -> Result<Depth, Stop> {
        let (info, stencil_info) = (r.get(DB_Z_INFO), r.get(DB_STENCIL_INFO));
        let (control, render) = (r.get(DB_DEPTH_CONTROL), r.get(DB_RENDER_CONTROL));
        let size = r.get(DB_DEPTH_SIZE);
        let (pitch, height) =
            (u64::from(size & 0x7ff) * 8 + 8, u64::from(size >> 11 & 0x7ff) * 8 + 8);
        let surface = |read: u32, write: u32, bytes: usize, split: u32| -> Result<Surface, Stop> {
            let modes = surface_modes(r.get(DB_DEPTH_INFO), split, modes.row);
            let layout =
                Layout::new(&modes, 0, bytes as u64, pitch, height).map_err(Stop::illegal)?;
            Ok(Surface {
                read: u64::from(r.get(read)) << 8,
                write: u64::from(r.get(write)) << 8,
                bytes,
                layout,
            })
        };
        let format = match info & 3 {
            1 => Some((Format::Bits(16), 2)),
            2 => Some((Format::Bits(24), 4)),
            3 => Some((Format::Float, 4)),
            _ => None,
        }
        .filter(|_| control & 2 != 0 || render & (CLEAR_DEPTH | EXPAND) != 0);
        let has_stencil =
            stencil_info & 1 != 0 && (control & 1 != 0 || render & (CLEAR_STENCIL | EXPAND) != 0);
        if (format.is_some() || has_stencil) && info >> 2 & 3 != 0 {
            return Err(Stop::illegal(format!(
                "DB_Z_INFO {info:#x}: several samples are not implemented"
            )));
        }
        let split = |info: u32| info >> 13 & 7;
        let depth = match format {
            Some((format, bytes)) => {
                Some((surface(DB_Z_READ_BASE, DB_Z_WRITE_BASE, bytes, split(info))?, format))
            }
            None => None,
        };
        let stencil = match has_stencil {
            true => {
                Some(surface(DB_STENCIL_READ_BASE, DB_STENCIL_WRITE_BASE, 1, split(stencil_info))?)
            }
            false => None,
        };
        let view = r.get(DB_DEPTH_VIEW);
        Ok(Depth {
            depth,
            stencil,
            control,
            operations: r.get(DB_STENCIL_CONTROL),
            references: [r.get(DB_STENCILREFMASK), r.get(DB_STENCILREFMASK_BF)],
            range: [r.float(VPORT_ZMIN), r.float(VPORT_ZMAX)],
            slice: (view & 0x7ff).into(),
            read_only: [view & 1 << 24 != 0, view & 1 << 25 != 0],
            size: [pitch as i64, height as i64],
            tiles: (info & 1 << 29 != 0).then(|| u64::from(r.get(DB_HTILE_DATA_BASE)) << 8),
            render,
            clear: (r.float(DB_DEPTH_CLEAR), r.get(DB_STENCIL_CLEAR) & 0xff),
        })
    }

    /// A tile of 8 by 8 pixels may be cleared by its word alone (HTILE): its pixels get the values
    /// of clears before the first of them is looked at. Words follow each other row by row here,
    /// which is not the order of hardware: whoever writes them from outside writes all of them
    /// alike.
    fn expand<M: Memory + ?Sized>(
        &self,
        [x, y]: [i64; 2],
        bus: &mut Bus<'_, M>,
    ) -> Result<(), Stop> {
        let Some(tiles) = self.tiles else { return Ok(()) };
        let [width, height] = self.size.map(|n| n as u64 / 8);
        let (column, row) = (x as u64 / 8, y as u64 / 8);
        let at = tiles + ((self.slice * height + row) * width + column) * 4;
        let word = bus.word(Path::Target, at)?;
        let (depth_cleared, stencil_cleared) = (word & 15 == 0, word >> 8 & 3 == 0);
        if !(depth_cleared || stencil_cleared && self.stencil.is_some()) {
            return Ok(());
        }
        for (x, y) in (0..64).map(|n| (8 * column + n % 8, 8 * row + n / 8)) {
            if let Some((depth, format)) = self.depth.as_ref().filter(|_| depth_cleared) {
                let bytes = format.bits(self.clear.0.into()).to_le_bytes();
                let to = depth.layout.address(depth.write, x, y, self.slice);
                bus.write(Path::Target, to, &bytes[..depth.bytes])?;
            }
            if let Some(stencil) = self.stencil.as_ref().filter(|_| stencil_cleared) {
                let to = stencil.layout.address(stencil.write, x, y, self.slice);
                bus.write(Path::Target, to, &[self.clear.1 as u8])?;
            }
        }
        let done = if self.depth.is_some() { 15 } else { 0 }
            | if self.stencil.is_some() { 3 << 8 } else { 0 };
        bus.write(Path::Target, at, &(word | done).to_le_bytes())
    }

    /// Tests a pixel, and writes what the tests have written. Returns true if it goes on.
    pub fn test<M: Memory + ?Sized>(
        &self,
        [x, y]: [i64; 2],
        z: f64,
        front: bool,
        bus: &mut Bus<'_, M>,
    ) -> Result<bool, Stop> {
        if x >= self.size[0] || y >= self.size[1] {
            return Ok(self.depth.is_none() && self.stencil.is_none());
        }
        self.expand([x, y], bus)?;
        let place =
            |of: &Surface, base: u64| of.layout.address(base, x as u64, y as u64, self.slice);
        let back = !front && self.control & 1 << 7 != 0;
        let mut stencil_passes = true;
        let mut there = 0;
        if let Some(stencil) = &self.stencil {
            there = read(bus, place(stencil, stencil.read), 1)?;
            let reference = self.references[usize::from(back)];
            let mask = reference >> 8 & 0xff;
            let function = self.control >> if back { 20 } else { 8 } & 7;
            let tests = self.control & 1 != 0;
            stencil_passes = !tests || compare(function, reference & 0xff & mask, there & mask);
        }
        let mut depth_passes = true;
        if let Some((depth, format)) = &self.depth {
            let z = format.bits(z.clamp(
                self.range[0].min(self.range[1]).into(),
                self.range[1].max(self.range[0]).into(),
            ));
            let old = read(bus, place(depth, depth.read), depth.bytes)?;
            depth_passes = format.passes(self.control >> 4 & 7, z, old);
            if stencil_passes && depth_passes && self.control & 4 != 0 && !self.read_only[0] {
                // What a format of 24 bits leaves of the word stays.
                let keep = if *format == Format::Bits(24) { old & 0xff00_0000 } else { 0 };
                let bytes = (z | keep).to_le_bytes();
                bus.write(Path::Target, place(depth, depth.write), &bytes[..depth.bytes])?;
            }
        }
        if let Some(stencil) = self.stencil.as_ref().filter(|_| !self.read_only[1]) {
            let reference = self.references[usize::from(back)];
            let at = match (stencil_passes, depth_passes) {
                (false, _) => 0,
                (true, true) => 4,
                (true, false) => 8,
            };
            let operation = self.operations >> (at + if back { 12 } else { 0 }) & 15;
            let mask = reference >> 16 & 0xff;
            let new = match () {
                () if self.render & CLEAR_STENCIL != 0 => self.clear.1,
                () if self.control & 1 == 0 => there,
                () => {
                    there & !mask
                        | operate(operation, there, reference & 0xff, reference >> 24) & mask
                }
            };
            if new != there {
                bus.write(Path::Target, place(stencil, stencil.write), &[new as u8])?;
            }
        }
        Ok(stencil_passes && depth_passes)
    }
}

/// The one tile mode of DB_DEPTH_INFO, as the tables of tile modes would have it.
fn surface_modes(info: u32, split: u32, row: u64) -> Modes {
    const DEPTH: u32 = 2 << 22;
    let mut modes = Modes { row, ..Modes::default() };
    modes.tile[0] = (info >> 4 & 15) << 2 | (info >> 8 & 31) << 6 | split << 11 | DEPTH;
    let shape =
        info >> 13 & 3 | (info >> 15 & 3) << 2 | (info >> 17 & 3) << 4 | (info >> 19 & 3) << 6;
    modes.macrotile = [shape; 16];
    modes
}

fn read<M: Memory + ?Sized>(bus: &mut Bus<'_, M>, at: u64, size: usize) -> Result<u32, Stop> {
    let mut bytes = [0; 4];
    bus.read(Path::Target, at, &mut bytes[..size])?;
    Ok(u32::from_le_bytes(bytes))
}

impl Format {
    fn bits(self, z: f64) -> u32 {
        match self {
            Format::Bits(n) => {
                (z.clamp(0.0, 1.0) * f64::from((1u32 << n) - 1)).round_ties_even() as u32
            }
            Format::Float => (z as f32).to_bits(),
        }
    }

    fn passes(self, function: u32, new: u32, old: u32) -> bool {
        match self {
            Format::Bits(n) => compare(function, new, old & ((1 << n) - 1)),
            Format::Float => compare(function, f32::from_bits(new), f32::from_bits(old)),
        }
    }
}

/// A comparison, by its code.
fn compare<T: PartialOrd>(function: u32, a: T, b: T) -> bool {
    match function {
        0 => false,
        1 => a < b,
        2 => a == b,
        3 => a <= b,
        4 => a > b,
        5 => a != b,
        6 => a >= b,
        _ => true,
    }
}

/// A stencil operation, by its code. REPLACE_TEST takes the reference, the others that take a value
/// STENCILOPVAL.
fn operate(operation: u32, old: u32, reference: u32, value: u32) -> u32 {
    match operation {
        1 => 0,
        2 => 0xff,
        3 => reference,
        4 => value,
        5 => (old + value).min(0xff),
        6 => old.saturating_sub(value),
        7 => !old & 0xff,
        8 => old.wrapping_add(value) & 0xff,
        9 => old.wrapping_sub(value) & 0xff,
        10 => old & value,
        11 => old | value,
        12 => old ^ value,
        13 => !(old & value) & 0xff,
        14 => !(old | value) & 0xff,
        15 => !(old ^ value) & 0xff,
        _ => old,
    }
}
