// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Sampling: coordinates in floats, filters, borders, comparisons (bits of the descriptor as in
//! Mesa's `gfx7.json`, 0x8F30).

use super::{
    Addresses,
    Descriptor,
    Kind,
    bad,
    set_lane,
    write, //
};
use crate::{
    buffer::path,
    bus::Bus,
    context::Context,
    format::{
        Format,
        Texel, //
    },
    isa::{
        Image,
        Inst,
        Level,
        Sample, //
    },
    memory::{
        Memory,
        Path, //
    },
    stop::Stop,
    wave::{
        LANES,
        Wave,
        lanes, //
    }, //
};

/// Weights of the linear filter, along the image and between levels, have 8 bits of fraction.
const WEIGHT_STEPS: f32 = 256.0;

/// Ways to bring in a coordinate outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Repeat,
    Mirror,
    ClampToEdge,
    MirrorOnceToEdge,
    Border,
    MirrorOnceBorder,
}

impl Wrap {
    fn parse(bits: u32) -> Wrap {
        match bits & 7 {
            0 => Wrap::Repeat,
            1 => Wrap::Mirror,
            2 => Wrap::ClampToEdge,
            3 => Wrap::MirrorOnceToEdge,
            5 | 7 => Wrap::MirrorOnceBorder,
            _ => Wrap::Border,
        }
    }

    /// The texel for position `at` of `size`; outside only for a border.
    fn apply(self, at: i64, size: i64) -> i64 {
        let mirrored = if at < 0 { -1 - at } else { at };
        match self {
            Wrap::Repeat => at.rem_euclid(size),
            Wrap::Mirror => {
                let twice = at.rem_euclid(2 * size);
                twice.min(2 * size - 1 - twice)
            }
            Wrap::ClampToEdge => at.clamp(0, size - 1),
            Wrap::MirrorOnceToEdge => mirrored.min(size - 1),
            Wrap::Border => at,
            Wrap::MirrorOnceBorder => mirrored,
        }
    }
}

/// The filter between levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mips {
    None,
    Point,
    Linear,
}

/// A sampler descriptor.
struct Sampler {
    wrap: [Wrap; 3],
    compare: u32,
    texels: bool,
    lods: (f32, f32),
    bias: f32,
    magnify_linear: bool,
    minify_linear: bool,
    mips: Mips,
    /// BORDER_COLOR_TYPE, and a number of the table.
    border: (u32, u64),
}

impl Sampler {
    fn new(s: [u32; 4]) -> Result<Sampler, String> {
        if s[0] >> 9 & 7 != 0 {
            return Err(format!(
                "MAX_ANISO_RATIO {}: anisotropic filters are not implemented",
                s[0] >> 9 & 7
            ));
        }
        let fixed = |bits: u32| bits as f32 / 256.0;
        let bias = ((s[2] << 18) as i32 >> 18) as f32 / 256.0;
        Ok(Sampler {
            wrap: [0, 3, 6].map(|shift| Wrap::parse(s[0] >> shift)),
            compare: s[0] >> 12 & 7,
            texels: s[0] & 1 << 15 != 0,
            lods: (fixed(s[1] & 0xfff), fixed(s[1] >> 12 & 0xfff)),
            bias,
            magnify_linear: s[2] >> 20 & 1 != 0,
            minify_linear: s[2] >> 22 & 1 != 0,
            mips: match s[2] >> 26 & 3 {
                0 => Mips::None,
                1 => Mips::Point,
                _ => Mips::Linear,
            },
            border: (s[3] >> 30, u64::from(s[3] & 0xfff)),
        })
    }

    /// The border's color. One of the table is four dwords, floats or integers as the format has
    /// them, and is looked up only if some coordinate may lead to it.
    fn border<M: Memory + ?Sized>(
        &self,
        format: Format,
        bus: &mut Bus<'_, M>,
        path: Path,
        table: u64,
    ) -> Result<Texel, Stop> {
        let one = format.one();
        let seen = self.wrap.iter().any(|w| matches!(w, Wrap::Border | Wrap::MirrorOnceBorder));
        match self.border {
            _ if !seen => Ok([0; 4]),
            (0, _) => Ok([0; 4]),
            (1, _) => Ok([0, 0, 0, one]),
            (2, _) => Ok([one; 4]),
            (_, number) => {
                let mut bytes = [0; 16];
                bus.read(path, table.wrapping_add(16 * number), &mut bytes)?;
                let word = |n: usize| std::array::from_fn(|byte| bytes[4 * n + byte]);
                Ok(std::array::from_fn(|n| u32::from_le_bytes(word(n))))
            }
        }
    }

    /// The result of a comparison, by DEPTH_COMPARE.
    fn passes(&self, reference: f32, value: f32) -> bool {
        match self.compare {
            0 => false,
            1 => reference < value,
            2 => reference == value,
            3 => reference <= value,
            4 => reference > value,
            5 => reference != value,
            6 => reference >= value,
            _ => true,
        }
    }
}

/// Places of the parts of the address: numbers of registers from the first.
struct Parts {
    with: Sample,
    bias: usize,
    reference: usize,
    derivatives: usize,
    coordinates: usize,
    level: usize,
    clamp: usize,
    total: usize,
}

impl Parts {
    fn new(with: Sample, kind: Kind) -> Parts {
        let bias = usize::from(with.offset);
        let reference = bias + usize::from(with.level == Level::Bias);
        let derivatives = reference + usize::from(with.compare);
        let per = if with.level == Level::Derivative { 2 * kind.directions() } else { 0 };
        let coordinates = derivatives + per;
        let level = coordinates + kind.coordinates();
        let clamp = level + usize::from(with.level == Level::Given);
        let total = clamp + usize::from(with.clamp);
        Parts { with, bias, reference, derivatives, coordinates, level, clamp, total }
    }
}

/// A sampling instruction at work.
struct Work<'a> {
    i: &'a Inst,
    image: &'a Descriptor,
    sampler: Sampler,
    parts: Parts,
    addresses: Addresses,
    border: Texel,
    format: Format,
    context: &'a Context,
}

/// Executes a sampling instruction.
pub fn execute<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: Image,
    image: &Descriptor,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let with = match op {
        Image::Sample(with) | Image::Gather(with) => with,
        _ => Sample::default(),
    };
    let nothing = image.selected([0; 4], i)?;
    let s = usize::from(i.src[2]);
    let sampler =
        Sampler::new(std::array::from_fn(|n| w.scalar[s + n])).map_err(|why| bad(i, why))?;
    let parts = Parts::new(with, image.kind);
    let addresses = Addresses::new(w, i, parts.total)?;
    let mut rows = [[0; LANES]; 4];
    if let Some(format) = image.format {
        let border = sampler.border(format, bus, path(i, context), context.borders)?;
        let work = Work { i, image, sampler, parts, addresses, border, format, context };
        for lane in lanes(w.exec()) {
            let texel = match op {
                Image::Lod => work.lod_pair(w, lane),
                Image::Gather(_) => work.gather(w, lane, bus)?,
                _ => work.sample(w, lane, bus)?,
            };
            set_lane(&mut rows, lane, texel);
        }
    } else {
        rows = nothing.map(|value| [value; LANES]);
    }
    if matches!(op, Image::Gather(_)) {
        (0..4).for_each(|n| w.put(i.dst + n, &rows[usize::from(n)]));
    } else {
        write(w, i, &rows);
    }
    Ok(())
}

impl Work<'_> {
    fn coordinate(&self, w: &Wave, n: usize, lane: usize) -> f32 {
        let value = self.addresses.float(w, self.parts.coordinates + n, lane);
        // Faces of a cube lie in [1, 2).
        if self.image.kind == Kind::Cube && n < 2 { value - 1.0 } else { value }
    }

    /// Position in texels of a level along a direction.
    fn position(&self, w: &Wave, level: usize, n: usize, lane: usize) -> f32 {
        let scale = if self.sampler.texels || self.i.flags.unorm {
            1.0
        } else {
            self.image.size(level)[n] as f32
        };
        self.coordinate(w, n, lane) * scale
    }

    /// The slice of an array; the nearest.
    fn slice(&self, w: &Wave, lane: usize) -> Option<i64> {
        let n = match self.image.kind {
            Kind::D1Array => 1,
            Kind::D2Array | Kind::Cube => 2,
            _ => return None,
        };
        let slice = self.coordinate(w, n, lane).round_ties_even() as i64;
        Some(slice.clamp(0, (self.image.size[2] - 1).max(0)))
    }

    /// The level that derivatives ask for: positive if the image is made smaller.
    fn implied_lod(&self, w: &Wave, lane: usize) -> f32 {
        let mut squares = [0.0f32; 2];
        for (axis, square) in squares.iter_mut().enumerate() {
            for n in 0..self.image.kind.directions() {
                let size = self.image.size(0)[n] as f32;
                let change = if self.parts.with.level == Level::Derivative {
                    let register = self.parts.derivatives + axis * self.image.kind.directions() + n;
                    self.addresses.float(w, register, lane) * size
                } else {
                    let step = 1 << axis;
                    self.position(w, 0, n, lane | step) - self.position(w, 0, n, lane & !step)
                };
                *square += change * change;
            }
        }
        squares[0].max(squares[1]).log2() / 2.0
    }

    /// The level, before and after it is clamped.
    fn lod(&self, w: &Wave, lane: usize) -> (f32, f32) {
        let raw = match self.parts.with.level {
            Level::Zero => return (0.0, 0.0),
            Level::Given => self.addresses.float(w, self.parts.level, lane),
            Level::Bias => {
                self.implied_lod(w, lane) + self.addresses.float(w, self.parts.bias, lane)
            }
            Level::Implicit | Level::Derivative => self.implied_lod(w, lane),
        } + self.sampler.bias;
        let (mut least, most) = self.sampler.lods;
        if self.parts.with.clamp {
            least = least.max(self.addresses.float(w, self.parts.clamp, lane));
        }
        let raw = if raw.is_nan() { 0.0 } else { raw };
        (raw, raw.max(least).min(most.max(least)))
    }

    fn lod_pair(&self, w: &Wave, lane: usize) -> Texel {
        let (raw, clamped) = self.lod(w, lane);
        [clamped.to_bits(), raw.to_bits(), 0, 0]
    }

    /// Texel offsets, six bits each.
    fn offset(&self, w: &Wave, n: usize, lane: usize) -> i64 {
        if !self.parts.with.offset {
            return 0;
        }
        let packed = self.addresses.get(w, 0, lane);
        i64::from((packed >> (8 * n) << 26) as i32 >> 26)
    }

    /// The levels that are sampled, and how much of the result is the second's.
    fn levels(&self, lod: f32) -> ([usize; 2], f32) {
        let lod = lod.clamp(0.0, (self.image.levels() - 1) as f32);
        match self.sampler.mips {
            Mips::None => ([0; 2], 0.0),
            // Half way between two, the larger one.
            Mips::Point => ([(lod - 0.5).ceil().max(0.0) as usize; 2], 0.0),
            Mips::Linear => {
                let share = (lod.fract() * WEIGHT_STEPS).floor() / WEIGHT_STEPS;
                ([lod as usize, lod.ceil() as usize], share)
            }
        }
    }

    /// Returns true if the filter is linear along the image.
    fn is_linear(&self, lod: f32) -> bool {
        let linear =
            if lod > 0.0 { self.sampler.minify_linear } else { self.sampler.magnify_linear };
        linear && !self.format.number().is_integer()
    }

    /// The lower texel of the filter along each direction, and how far the position is from it.
    fn corner(&self, w: &Wave, lane: usize, level: usize, linear: bool) -> ([i64; 3], [f32; 3]) {
        let (mut low, mut weight) = ([0; 3], [0.0; 3]);
        for n in 0..self.image.kind.directions() {
            let at = self.position(w, level, n, lane) - if linear { 0.5 } else { 0.0 };
            let floor = at.floor();
            low[n] = (floor as i64).saturating_add(self.offset(w, n, lane));
            weight[n] = ((at - floor) * WEIGHT_STEPS).floor() / WEIGHT_STEPS;
        }
        (low, weight)
    }

    /// A texel of a level near the corner; `step` has a bit for each direction.
    fn texel<M: Memory + ?Sized>(
        &self,
        w: &Wave,
        lane: usize,
        (level, corner): (usize, [i64; 3]),
        step: usize,
        bus: &mut Bus<'_, M>,
    ) -> Result<Texel, Stop> {
        let (mut at, size) = ([0; 3], self.image.size(level));
        for n in 0..self.image.kind.directions() {
            let next = corner[n].saturating_add((step >> n & 1) as i64);
            at[n] = self.sampler.wrap[n].apply(next, size[n]);
        }

        if let Some(slice) = self.slice(w, lane) {
            at[2] = slice;
        }
        if !self.parts.with.compare {
            return Ok(self
                .image
                .fetch((level, at), bus, self.i, self.context)?
                .unwrap_or(self.border));
        }
        // The result takes the place of the first component, and DST_SEL acts on it.
        let depth =
            self.image.stored((level, at), bus, self.i, self.context)?.unwrap_or(self.border)[0];
        // A reference is what the format can hold.
        let reference =
            self.format.clamped([self.addresses.get(w, self.parts.reference, lane); 4])[0];
        let passes = self.sampler.passes(f32::from_bits(reference), f32::from_bits(depth));
        let one = 1.0f32.to_bits();
        self.image.selected([if passes { one } else { 0 }, 0, 0, one], self.i)
    }

    fn sample<M: Memory + ?Sized>(
        &self,
        w: &Wave,
        lane: usize,
        bus: &mut Bus<'_, M>,
    ) -> Result<Texel, Stop> {
        let (_, lod) = self.lod(w, lane);
        let (levels, share) = self.levels(lod);
        let linear = self.is_linear(lod);
        let texel = self.filtered(w, lane, levels[0], linear, bus)?;
        if share == 0.0 || self.format.number().is_integer() {
            return Ok(texel);
        }
        let other = self.filtered(w, lane, levels[1], linear, bus)?;
        let mix = |a: u32, b: u32| f32::from_bits(a) * (1.0 - share) + f32::from_bits(b) * share;
        Ok(std::array::from_fn(|n| mix(texel[n], other[n]).to_bits()))
    }

    /// Returns the filter's value of one level.
    fn filtered<M: Memory + ?Sized>(
        &self,
        w: &Wave,
        lane: usize,
        level: usize,
        linear: bool,
        bus: &mut Bus<'_, M>,
    ) -> Result<Texel, Stop> {
        let (corner, weight) = self.corner(w, lane, level, linear);
        let corner = (level, corner);
        if !linear {
            return self.texel(w, lane, corner, 0, bus);
        }
        let mut sum = [0.0f32; 4];
        for step in 0..1 << self.image.kind.directions() {
            let texel = self.texel(w, lane, corner, step, bus)?;
            let along = |n: usize| if step >> n & 1 != 0 { weight[n] } else { 1.0 - weight[n] };
            let share: f32 = (0..self.image.kind.directions()).map(along).product();
            // A weight of zero takes nothing, not even of an infinity.
            if share != 0.0 {
                sum.iter_mut()
                    .zip(texel)
                    .for_each(|(sum, value)| *sum += f32::from_bits(value) * share);
            }
        }
        Ok(sum.map(f32::to_bits))
    }

    /// One component of the four texels of a linear filter, of one level.
    fn gather<M: Memory + ?Sized>(
        &self,
        w: &Wave,
        lane: usize,
        bus: &mut Bus<'_, M>,
    ) -> Result<Texel, Stop> {
        let ([level, _], _) = self.levels(self.lod(w, lane).1.floor());
        let corner = (level, self.corner(w, lane, level, true).0);
        let component = self.i.imm.trailing_zeros() as usize & 3;
        let mut out = [0; 4];
        for (value, step) in out.iter_mut().zip([2, 3, 1, 0]) {
            *value = self.texel(w, lane, corner, step, bus)?[component];
        }
        Ok(out)
    }
}
