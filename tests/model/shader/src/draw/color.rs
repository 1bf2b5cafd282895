// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Color targets: what a program exports, blended and put into the target's format (CB; fields as
//! in `gfx_7_2_sh_mask.h`).

use super::registers::*;
use crate::{
    bus::Bus,
    export::Export,
    float::{
        self,
        Env,
        F16,
        F32, //
    },
    format::{
        Format,
        Texel, //
    },
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

/// Registers of a target.
const STRIDE: u32 = 0xf;

/// Registers of a target, from its first.
const PITCH: u32 = 1;
const SLICE: u32 = 2;
const VIEW: u32 = 3;
const INFO: u32 = 4;
const ATTRIB: u32 = 5;
const CMASK: u32 = 7;
const CLEAR_WORD: u32 = 11;

/// Tiles of a target that are cleared by their number in CMASK alone.
struct FastClear {
    tiles: u64,
    texel: [u8; 8],
}

/// CMASK of a tile that is cleared, and of one that is as it is in memory.
const CLEARED: u8 = 0;
const EXPANDED: u8 = 0xc;

/// A color target.
pub struct Target {
    /// Number of the program's export that it takes.
    pub number: u8,
    base: u64,
    slice: u64,
    size: [i64; 2],
    layout: Layout,
    format: Format,
    /// Component of the format for each of the export's.
    order: &'static [usize],
    /// Components that are written.
    mask: u32,
    export: u32,
    blend: Option<Blend>,
    fast_clear: Option<FastClear>,
    /// Pixels are not written: tiles that they are in are, if they are cleared
    /// (ELIMINATE_FAST_CLEAR).
    eliminates: bool,
}

/// CB_COLOR_CONTROL.MODE.
const ELIMINATE_FAST_CLEAR: u32 = 2;

/// The targets that a draw writes.
pub fn targets(r: &Registers, modes: &Modes) -> Result<Vec<Target>, Stop> {
    let control = r.get(CB_COLOR_CONTROL);
    match control >> 4 & 7 {
        0 => return Ok(vec![]),
        1 | ELIMINATE_FAST_CLEAR => {}
        mode => {
            return Err(Stop::illegal(format!("CB_COLOR_CONTROL: MODE {mode} is not implemented")));
        }
    }
    if control >> 16 & 0xff != 0xcc {
        return Err(Stop::illegal(format!(
            "CB_COLOR_CONTROL: ROP3 {:#x} is not implemented",
            control >> 16 & 0xff
        )));
    }
    let all = (0..8u8).map(|n| Target::new(r, modes, n));
    all.filter_map(Result::transpose).collect()
}

impl Target {
    /// A target, if there is one that is written.
    fn new(r: &Registers, modes: &Modes, number: u8) -> Result<Option<Target>, Stop> {
        let (shift, first) = (4 * u32::from(number), CB_COLOR0_BASE + STRIDE * u32::from(number));
        let info = r.get(first + INFO);
        let mask = r.get(CB_TARGET_MASK) & r.get(CB_SHADER_MASK);
        let (mask, export) = (mask >> shift & 15, r.get(SPI_SHADER_COL_FORMAT) >> shift & 15);
        if info >> 2 & 31 == 0 || mask == 0 || export == 0 {
            return Ok(None);
        }
        let refuse = |what: String| {
            Stop::illegal(format!("CB_COLOR{number}_INFO {info:#x}: {what} is not implemented"))
        };
        for (bits, name) in [(3, "ENDIAN"), (1 << 14, "COMPRESSION")] {
            if info & bits != 0 {
                return Err(refuse(name.into()));
            }
        }
        let (data, kind) = (info >> 2 & 31, info >> 8 & 7);
        // SRGB is 6 here, and 9 in descriptors.
        let format = Format::new(data, if kind == 6 { 9 } else { kind });
        let format = format.ok_or_else(|| refuse(format!("format {data}, {kind}")))?;
        let swap = info >> 11 & 3;
        let order =
            order(format.components(), swap).ok_or_else(|| refuse(format!("COMP_SWAP {swap}")))?;
        let pitch = (u64::from(r.get(first + PITCH) & 0x7ff) + 1) * 8;
        let height = (u64::from(r.get(first + SLICE) & 0x3f_ffff) + 1) * 64 / pitch;
        let index = (r.get(first + ATTRIB) & 31) as usize;
        let layout = Layout::new(modes, index, format.bytes() as u64, pitch, height)
            .map_err(Stop::illegal)?;
        let blend = Blend::new(r, number).filter(|_| !format.number().is_integer());
        let fast_clear = (info & 1 << 13 != 0).then(|| {
            let words = [0, 1].map(|n| u64::from(r.get(first + CLEAR_WORD + n)));
            let texel = (words[0] | words[1] << 32).to_le_bytes();
            FastClear { tiles: u64::from(r.get(first + CMASK)) << 8, texel }
        });
        if fast_clear.is_some() && format.bytes() > 8 {
            return Err(refuse("FAST_CLEAR of 128 bits".into()));
        }
        Ok(Some(Target {
            number,
            base: u64::from(r.get(first)) << 8,
            slice: (r.get(first + VIEW) & 0x7ff).into(),
            size: [pitch as i64, height as i64],
            layout,
            format,
            order,
            mask,
            export,
            blend,
            fast_clear,
            eliminates: r.get(CB_COLOR_CONTROL) >> 4 & 7 == ELIMINATE_FAST_CLEAR,
        }))
    }

    /// The components of a lane's export.
    pub fn exported(&self, export: &Export, lane: usize) -> Texel {
        let word = |n: usize| export.rows[n][lane];
        let half = |n: usize| word(n / 2) >> (16 * (n % 2)) & 0xffff;
        let halves = |f: fn(u32) -> u32| [f(half(0)), f(half(1)), f(half(2)), f(half(3))];
        match self.export {
            1 => [word(0), 0, 0, 0],
            2 => [word(0), word(1), 0, 0],
            3 => [word(0), 0, 0, word(3)],
            4 => halves(|h| float::convert(F16, F32, h.into(), Env::HOST) as u32),
            5 => halves(|h| (h as f32 / 65535.0).to_bits()),
            6 => halves(|h| (f32::from(h as u16 as i16) / 32767.0).max(-1.0).to_bits()),
            7 => halves(|h| h),
            8 => halves(|h| h as u16 as i16 as u32),
            _ => [word(0), word(1), word(2), word(3)],
        }
    }

    /// A tile of 8 by 8 pixels that CMASK says is cleared gets the clear color before its first
    /// pixel is looked at. Its numbers, of four bits, follow each other row by row here, which is
    /// not the order of hardware: whoever writes them from outside writes all of them alike.
    fn expand<M: Memory + ?Sized>(
        &self,
        [x, y]: [u64; 2],
        bus: &mut Bus<'_, M>,
    ) -> Result<(), Stop> {
        let Some(FastClear { tiles, texel }) = &self.fast_clear else { return Ok(()) };
        let [width, height] = self.size.map(|n| (n as u64).div_ceil(8));
        let (column, row) = (x / 8, y / 8);
        let number = (self.slice * height + row) * width + column;
        let (at, shift) = (tiles.wrapping_add(number / 2), 4 * (number % 2));
        let mut pair = [0];
        bus.read(Path::Target, at, &mut pair)?;
        if pair[0] >> shift & 15 != CLEARED {
            return Ok(());
        }
        for (x, y) in (0..64).map(|n| (8 * column + n % 8, 8 * row + n / 8)) {
            let to = self.layout.address(self.base, x, y, self.slice);
            bus.write(Path::Target, to, &texel[..self.format.bytes()])?;
        }
        bus.write(Path::Target, at, &[pair[0] | EXPANDED << shift])
    }

    /// Writes a pixel.
    pub fn write<M: Memory + ?Sized>(
        &self,
        [x, y]: [i64; 2],
        color: Texel,
        bus: &mut Bus<'_, M>,
    ) -> Result<(), Stop> {
        if x >= self.size[0] || y >= self.size[1] {
            return Ok(());
        }
        self.expand([x as u64, y as u64], bus)?;
        if self.eliminates {
            return Ok(());
        }
        let at = self.layout.address(self.base, x as u64, y as u64, self.slice);
        let whole = self.order.iter().all(|c| self.mask >> c & 1 != 0);
        let mut texel = color;
        if self.blend.is_some() || !whole {
            let mut bytes = [0; 16];
            let bytes = &mut bytes[..self.format.bytes()];
            bus.read(Path::Target, at, bytes)?;
            let there = self.as_color(self.format.load(bytes));
            if let Some(blend) = &self.blend {
                texel = blend.mix(self.format.clamped(color), there).map(f32::to_bits);
            }
            for n in (0..4).filter(|n| self.mask >> n & 1 == 0) {
                texel[n] = there[n];
            }
        }
        let mut bytes = [0; 16];
        let size = self.format.store(self.in_order(texel), &mut bytes);
        bus.write(Path::Target, at, &bytes[..size])
    }

    fn in_order(&self, color: Texel) -> Texel {
        std::array::from_fn(|n| self.order.get(n).map_or(0, |c| color[*c]))
    }

    fn as_color(&self, texel: Texel) -> Texel {
        let mut color = [0, 0, 0, self.format.one()];
        for (n, c) in self.order.iter().enumerate() {
            color[*c] = texel[n];
        }
        color
    }
}

/// COMP_SWAP: red 0, green 1, blue 2, alpha 3.
fn order(components: usize, swap: u32) -> Option<&'static [usize]> {
    Some(match (components, swap) {
        (4, 0) => &[0, 1, 2, 3],
        (4, 1) => &[2, 1, 0, 3],
        (4, 2) => &[3, 2, 1, 0],
        (4, 3) => &[3, 0, 1, 2],
        (3, 0) => &[0, 1, 2],
        (3, 2) => &[2, 1, 0],
        (2, 0) => &[0, 1],
        (2, 1) => &[0, 3],
        (2, 2) => &[1, 0],
        (2, 3) => &[3, 0],
        (1, 0) => &[0],
        (1, 1) => &[1],
        (1, 2) => &[2],
        (1, 3) => &[3],
        _ => return None,
    })
}

/// A blend function: factors of source and destination, and how they come together.
#[derive(Clone, Copy)]
struct Function {
    source: u32,
    combine: u32,
    destination: u32,
}

/// Blending of a target.
struct Blend {
    color: Function,
    alpha: Function,
    constant: [f32; 4],
}

impl Blend {
    fn new(r: &Registers, number: u8) -> Option<Blend> {
        let control = r.get(CB_BLEND_CONTROL + u32::from(number));
        let function = |at: u32| Function {
            source: control >> at & 31,
            combine: control >> (at + 5) & 7,
            destination: control >> (at + 8) & 31,
        };
        let color = function(0);
        let separate = control >> 29 & 1 != 0;
        (control >> 30 & 1 != 0).then(|| Blend {
            color,
            alpha: if separate { function(16) } else { color },
            constant: [0, 1, 2, 3].map(|n| r.float(CB_BLEND_RED + n)),
        })
    }

    fn mix(&self, source: Texel, destination: Texel) -> [f32; 4] {
        let (s, d) = (source.map(f32::from_bits), destination.map(f32::from_bits));
        std::array::from_fn(|n| {
            let function = if n == 3 { self.alpha } else { self.color };
            let factor = |code: u32| self.factor(code, n, s, d);
            let (a, b) = (s[n] * factor(function.source), d[n] * factor(function.destination));
            match function.combine {
                0 => a + b,
                1 => a - b,
                2 => s[n].min(d[n]),
                3 => s[n].max(d[n]),
                _ => b - a,
            }
        })
    }

    fn factor(&self, code: u32, n: usize, s: [f32; 4], d: [f32; 4]) -> f32 {
        let k = self.constant;
        match code {
            0 => 0.0,
            2 => s[n],
            3 => 1.0 - s[n],
            4 => s[3],
            5 => 1.0 - s[3],
            6 => d[3],
            7 => 1.0 - d[3],
            8 => d[n],
            9 => 1.0 - d[n],
            10 if n == 3 => 1.0,
            10 => s[3].min(1.0 - d[3]),
            13 => k[n],
            14 => 1.0 - k[n],
            19 => k[3],
            20 => 1.0 - k[3],
            _ => 1.0,
        }
    }
}
