// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Images: loads, stores and atomics at integer coordinates (ISA manual, chapter 8; bits of the
//! descriptor as in Mesa's `gfx7.json`, 0x8F10). Sampling is in `image/sample.rs`. Levels are
//! counted from the descriptor's first, BASE_LEVEL, and where each lies is in `tiling.rs`.

mod sample;

use crate::{
    buffer::{
        path,
        select, //
    },
    bus::{
        Bus,
        apply, //
    },
    context::Context,
    format::{
        Format,
        Texel, //
    },
    isa::{
        Atomic,
        Image,
        Inst,
        Width,
        code, //
    },
    memory::Memory,
    stop::Stop,
    tiling::Layout,
    wave::{
        LANES,
        Row,
        Wave,
        lanes, //
    }, //
};

/// Dimensions are padded to powers of two, as surfaces with several levels are.
const POW2_PAD: u32 = 1 << 25;

/// Kinds of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    D1,
    D2,
    D3,
    Cube,
    D1Array,
    D2Array,
}

impl Kind {
    /// Coordinates of a texel, with the slice.
    fn coordinates(self) -> usize {
        match self {
            Kind::D1 => 1,
            Kind::D2 | Kind::D1Array => 2,
            Kind::D3 | Kind::Cube | Kind::D2Array => 3,
        }
    }

    /// Directions that are filtered.
    fn directions(self) -> usize {
        match self {
            Kind::D1 | Kind::D1Array => 1,
            Kind::D3 => 3,
            _ => 2,
        }
    }

    fn is_array(self) -> bool {
        matches!(self, Kind::D1Array | Kind::D2Array | Kind::Cube)
    }
}

/// An image descriptor.
struct Descriptor {
    /// `None` for a descriptor of nothing.
    format: Option<Format>,
    kind: Kind,
    /// Width, height, depth or slices of the surface.
    size: [i64; 3],
    first_slice: i64,
    select: u32,
    first_level: usize,
    /// Base and layout of each level of the surface, to the last one that may be used.
    surfaces: Vec<(u64, Layout)>,
}

impl Descriptor {
    fn new(d: [u32; 8], context: &Context) -> Result<Descriptor, String> {
        let (data, number) = (d[1] >> 20 & 63, d[1] >> 26 & 15);
        let format = match data {
            0 => None,
            _ => Some(
                Format::new(data, number)
                    .ok_or(format!("image format {data}, {number} is not implemented"))?,
            ),
        };
        let kind = match d[3] >> 28 {
            8 => Kind::D1,
            9 => Kind::D2,
            10 => Kind::D3,
            11 => Kind::Cube,
            12 => Kind::D1Array,
            13 => Kind::D2Array,
            other => return Err(format!("image type {other} is not implemented")),
        };
        let (first_level, last_level) = (d[3] >> 12 & 15, d[3] >> 16 & 15);
        if first_level > last_level {
            return Err(format!("BASE_LEVEL {first_level} behind LAST_LEVEL {last_level}"));
        }
        let (first, last) = (i64::from(d[5] & 0x1fff), i64::from(d[5] >> 13 & 0x1fff));
        let depth = match kind {
            Kind::D3 => i64::from(d[4] & 0x1fff) + 1,
            k if k.is_array() => (last - first + 1).max(0),
            _ => 1,
        };
        let height = if kind.directions() == 1 { 1 } else { i64::from(d[2] >> 14 & 0x3fff) + 1 };
        let pitch = u64::from(d[4] >> 13 & 0x3fff) + 1;
        let bytes = format.map_or(4, |f| f.bytes() as u64);
        let base = (u64::from(d[0]) | u64::from(d[1] & 0xff) << 32) << 8;
        let (modes, index) = (&context.tiling, (d[3] >> 20 & 31) as usize);
        let surfaces = if d[3] & POW2_PAD != 0 {
            let whole = u64::from(d[4] & 0x1fff) + 1;
            let slices = |level: u32| match kind {
                Kind::D3 => (whole >> level).max(1),
                Kind::Cube => 6 * whole,
                _ => whole,
            };
            Layout::levels(modes, index, bytes, (base, [pitch, height as u64]), slices, last_level)?
        } else if last_level > 0 {
            return Err(format!("LAST_LEVEL {last_level} without POW2_PAD is not implemented"));
        } else {
            vec![(base, Layout::new(modes, index, bytes, pitch, height as u64)?)]
        };
        Ok(Descriptor {
            format,
            kind,
            size: [i64::from(d[2] & 0x3fff) + 1, height, depth],
            first_slice: if kind == Kind::D3 { 0 } else { first },
            select: d[3] & 0xfff,
            first_level: first_level as usize,
            surfaces,
        })
    }

    /// Returns the number of levels.
    fn levels(&self) -> usize {
        self.surfaces.len() - self.first_level
    }

    /// Width, height, depth or slices of a level.
    fn size(&self, level: usize) -> [i64; 3] {
        let shift = self.first_level + level;
        let smaller = |n: usize| (self.size[n] >> shift.min(31)).max(1);
        [smaller(0), smaller(1), if self.kind == Kind::D3 { smaller(2) } else { self.size[2] }]
    }

    /// Address of a texel, if there is one at these coordinates of a level.
    fn address(&self, level: usize, [x, y, z]: [i64; 3]) -> Option<u64> {
        let (base, layout) = self.surfaces.get(level.checked_add(self.first_level)?)?;
        let inside = [x, y, z].iter().zip(self.size(level)).all(|(c, size)| (0..size).contains(c));
        let z = z + self.first_slice;
        inside.then(|| layout.address(*base, x as u64, y as u64, z as u64))
    }

    /// A texel with DST_SEL; nothing outside.
    fn fetch<M: Memory + ?Sized>(
        &self,
        (level, at): (usize, [i64; 3]),
        bus: &mut Bus<'_, M>,
        i: &Inst,
        context: &Context,
    ) -> Result<Option<Texel>, Stop> {
        let texel = self.stored((level, at), bus, i, context)?;
        texel.map(|texel| self.selected(texel, i)).transpose()
    }

    /// A texel as it is in memory; nothing outside.
    fn stored<M: Memory + ?Sized>(
        &self,
        (level, at): (usize, [i64; 3]),
        bus: &mut Bus<'_, M>,
        i: &Inst,
        context: &Context,
    ) -> Result<Option<Texel>, Stop> {
        let (Some(format), Some(address)) = (self.format, self.address(level, at)) else {
            return Ok(None);
        };
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..format.bytes()];
        bus.read(path(i, context), address, bytes)?;
        Ok(Some(format.load(bytes)))
    }

    fn selected(&self, texel: Texel, i: &Inst) -> Result<Texel, Stop> {
        let one = self.format.map_or(0, Format::one);
        select(texel, self.select, one).map_err(|why| bad(i, why))
    }
}

fn bad(i: &Inst, why: String) -> Stop {
    Stop::illegal(format!("{}: {why}", i.entry.name))
}

/// Executes an image instruction.
pub fn execute<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: Image,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let s = usize::from(i.src[1]);
    let d = Descriptor::new(std::array::from_fn(|n| w.scalar[s + n]), context)
        .map_err(|why| bad(i, why))?;
    match op {
        Image::Load { mip } => load(w, i, &d, mip, bus, context),
        Image::Store { mip } => store(w, i, &d, mip, bus, context),
        Image::Atomic(op) => atomic(w, i, &d, op, bus),
        Image::Resource => resource(w, i, &d),
        Image::Sample(_) | Image::Gather(_) | Image::Lod => {
            sample::execute(w, i, op, &d, bus, context)
        }
    }
}

/// Address registers: how many there are depends on the descriptor.
struct Addresses {
    first: usize,
    count: usize,
}

impl Addresses {
    fn new(w: &Wave, i: &Inst, count: usize) -> Result<Addresses, Stop> {
        let first = usize::from(i.src[0] - code::VGPR);
        if first + count > w.vector.len() {
            let what = format!("{}: {count} address registers from v{first}", i.entry.name);
            return Err(Stop::bounds(format!("{what}, {} are allocated", w.vector.len())));
        }
        Ok(Addresses { first, count })
    }

    fn get(&self, w: &Wave, n: usize, lane: usize) -> u32 {
        w.vector[self.first + n.min(self.count - 1)][lane]
    }

    fn float(&self, w: &Wave, n: usize, lane: usize) -> f32 {
        f32::from_bits(self.get(w, n, lane))
    }
}

/// Integer coordinates of a lane (x, y, z or slice), behind the level.
fn coordinates(
    w: &Wave,
    d: &Descriptor,
    addresses: &Addresses,
    mip: bool,
    lane: usize,
) -> (usize, [i64; 3]) {
    let c = |n| i64::from(addresses.get(w, n, lane) as i32);
    let level = if mip { addresses.get(w, d.kind.coordinates(), lane) as usize } else { 0 };
    let at = match d.kind {
        Kind::D1 => [c(0), 0, 0],
        Kind::D2 => [c(0), c(1), 0],
        Kind::D1Array => [c(0), 0, c(1)],
        _ => [c(0), c(1), c(2)],
    };
    (level, at)
}

/// Coordinates, then the level where the instruction has one.
fn texel_addresses(w: &Wave, i: &Inst, d: &Descriptor, mip: bool) -> Result<Addresses, Stop> {
    Addresses::new(w, i, d.kind.coordinates() + usize::from(mip))
}

/// Writes the components that DMASK names into registers that follow each other.
fn write(w: &mut Wave, i: &Inst, rows: &[Row; 4]) {
    let wanted = (0..4).filter(|n| i.imm >> n & 1 != 0);
    for (register, n) in (i.dst..).zip(wanted) {
        w.put(register, &rows[n]);
    }
}

fn set_lane(rows: &mut [Row; 4], lane: usize, texel: Texel) {
    for (row, value) in rows.iter_mut().zip(texel) {
        row[lane] = value;
    }
}

fn load<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    d: &Descriptor,
    mip: bool,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let addresses = texel_addresses(w, i, d, mip)?;
    let nothing = d.selected([0; 4], i)?;
    let mut rows = [[0; LANES]; 4];
    for lane in lanes(w.exec()) {
        let texel = d.fetch(coordinates(w, d, &addresses, mip, lane), bus, i, context)?;
        set_lane(&mut rows, lane, texel.unwrap_or(nothing));
    }
    write(w, i, &rows);
    Ok(())
}

fn store<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    d: &Descriptor,
    mip: bool,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let addresses = texel_addresses(w, i, d, mip)?;
    let Some(format) = d.format else { return Ok(()) };
    for lane in lanes(w.exec()) {
        let (level, at) = coordinates(w, d, &addresses, mip, lane);
        let Some(address) = d.address(level, at) else { continue };
        let mut texel = [0; 4];
        let wanted = texel.iter_mut().enumerate().filter(|(n, _)| i.imm >> n & 1 != 0);
        for (register, (_, value)) in (usize::from(i.dst)..).zip(wanted) {
            *value = w.vector[register][lane];
        }
        let mut bytes = [0; 16];
        let size = format.store(texel, &mut bytes);
        bus.write(path(i, context), address, &bytes[..size])?;
    }
    Ok(())
}

fn atomic<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    d: &Descriptor,
    op: Atomic,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    let addresses = texel_addresses(w, i, d, false)?;
    let dwords = i.imm.count_ones() as usize / usize::from(op.operands());
    let width = if dwords == 1 { Width::B32 } else { Width::B64 };
    if d.format.is_some_and(|f| f.bytes() != 4 * dwords) {
        return Err(bad(i, format!("{dwords} dwords of a texel of another size")));
    }
    let data = usize::from(i.dst);
    let mut old = [0u64; LANES];
    for lane in lanes(w.exec()) {
        let (level, at) = coordinates(w, d, &addresses, false, lane);
        let Some(address) = d.address(level, at).filter(|_| d.format.is_some()) else { continue };
        let value = |first: usize| {
            (0..dwords).rev().fold(0, |v, n| v << 32 | u64::from(w.vector[first + n][lane]))
        };
        let operand = value(data);
        let compare = if op.operands() == 2 { value(data + dwords) } else { 0 };
        old[lane] = bus.atomic(address, width, |old| apply(op, width, old, operand, compare))?;
    }
    match (i.flags.glc, width) {
        (false, _) => {}
        (true, Width::B32) => w.put(i.dst, &old.map(|v| v as u32)),
        (true, Width::B64) => w.put64(i.dst, &old),
    }
    Ok(())
}

/// IMAGE_GET_RESINFO: width, height, depth or slices, levels.
fn resource(w: &mut Wave, i: &Inst, d: &Descriptor) -> Result<(), Stop> {
    let addresses = Addresses::new(w, i, 1)?;
    let mut rows = [[0; LANES]; 4];
    let levels = d.levels() as u32;
    for lane in lanes(w.exec()) {
        let level = addresses.get(w, 0, lane);
        let size = if level < levels { d.size(level as usize).map(|n| n as u32) } else { [0; 3] };
        set_lane(&mut rows, lane, [size[0], size[1], size[2], levels]);
    }
    write(w, i, &rows);
    Ok(())
}
