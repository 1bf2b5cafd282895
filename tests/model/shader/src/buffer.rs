// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Vector memory through buffer descriptors and flat addresses (ISA manual, chapters 8 and 9; bits
//! of the descriptor as in Mesa's `gfx7.json`, 0x8F00).

use std::borrow::Cow;

use crate::{
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
        self,
        Atomic,
        Element,
        Inst,
        Width,
        code, //
    },
    memory::{
        Memory,
        Path, //
    },
    stop::Stop,
    wave::{
        LANES,
        Row,
        Wave,
        join,
        lanes,
        mask_of, //
    }, //
};

/// A buffer descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    base: u64,
    stride: u64,
    records: u64,
    swizzle: bool,
    /// Adds the lane's number to the index.
    lane_index: bool,
    element: u64,
    index_stride: u64,
    select: u32,
    format: (u32, u32),
}

impl Descriptor {
    /// From its four dwords.
    pub fn new(d: [u32; 4]) -> Result<Descriptor, String> {
        for (bits, name) in [(1 << 24, "ATC"), (1 << 25, "HASH_ENABLE"), (3 << 30, "TYPE")] {
            if d[3] & bits != 0 {
                return Err(format!("buffer descriptor {d:08x?}: {name} is not implemented"));
            }
        }
        if d[1] & 1 << 30 != 0 {
            return Err(format!("buffer descriptor {d:08x?}: CACHE_SWIZZLE is not implemented"));
        }
        Ok(Descriptor {
            base: u64::from(d[0]) | u64::from(d[1] & 0xffff) << 32,
            stride: (d[1] >> 16 & 0x3fff).into(),
            records: d[2].into(),
            swizzle: d[1] >> 31 != 0,
            lane_index: d[3] & 1 << 23 != 0,
            element: 2 << (d[3] >> 19 & 3),
            index_stride: 8 << (d[3] >> 21 & 3),
            select: d[3] & 0xfff,
            format: (d[3] >> 15 & 15, d[3] >> 12 & 7),
        })
    }

    /// Position of an element from the base.
    fn position(&self, index: u64, offset: u64) -> u64 {
        if !self.swizzle {
            return index * self.stride + offset;
        }
        let (es, is) = (self.element, self.index_stride);
        offset % es + es * (index % is) + is * (index / is * self.stride + offset / es * es)
    }

    /// Bytes from an element that may be reached. With a stride the index counts, else the offset.
    fn room(&self, index: u64, offset: u64, soffset: u64) -> u64 {
        if self.stride != 0 || self.swizzle {
            return if index < self.records { u64::MAX } else { 0 };
        }
        self.records.saturating_sub(soffset).saturating_sub(offset)
    }
}

/// Picks components by DST_SEL: 0, 1, or one of the texel's.
pub fn select(texel: Texel, select: u32, one: u32) -> Result<Texel, String> {
    let mut out = [0; 4];
    for (n, value) in out.iter_mut().enumerate() {
        *value = match select >> (3 * n) & 7 {
            0 => 0,
            1 => one,
            s @ 4..=7 => texel[s as usize - 4],
            s => return Err(format!("DST_SEL {s}")),
        };
    }
    Ok(out)
}

/// Where each lane goes, and how many bytes it may reach there.
struct Targets {
    address: [u64; LANES],
    room: [u64; LANES],
}

/// Executes a buffer instruction.
pub fn execute<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: isa::Access,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    if op == isa::Access::Invalidate {
        bus.memory().drop_vector(context.unit);
        return Ok(());
    }
    let s = usize::from(i.src[1]);
    let words = std::array::from_fn(|n| w.scalar[s + n]);
    let descriptor = Descriptor::new(words).map_err(|why| bad(i, why))?;
    let targets = buffer_targets(w, i, &descriptor);
    match op {
        isa::Access::LoadFormat(n) => load_format(w, i, n, (&descriptor, &targets), bus, context),
        isa::Access::StoreFormat(n) => store_format(w, i, n, (&descriptor, &targets), bus, context),
        _ => access(w, i, op, code::VGPR + i.dst, &targets, bus, context),
    }
}

pub(crate) fn bad(i: &Inst, why: String) -> Stop {
    Stop::illegal(format!("{}: {why}", i.entry.name))
}

fn buffer_targets(w: &Wave, i: &Inst, d: &Descriptor) -> Targets {
    let soffset = u64::from(w.source(i, 2));
    let base = d.base.wrapping_add(soffset);
    let first = usize::from(i.src[0].saturating_sub(code::VGPR));
    let imm = u64::from(i.imm);
    let mut targets = Targets { address: [0; LANES], room: [u64::MAX; LANES] };
    if i.flags.addr64 {
        let at = join(&w.vector[first], &w.vector[first + 1]);
        let base = base.wrapping_add(imm);
        targets.address = at.map(|at| base.wrapping_add(at));
        return targets;
    }
    let index = if i.flags.idxen { &w.vector[first] } else { &[0; LANES] };
    let offset =
        if i.flags.offen { &w.vector[first + usize::from(i.flags.idxen)] } else { &[0; LANES] };
    if d.swizzle || d.lane_index {
        for lane in 0..LANES {
            let index = u64::from(index[lane]) + if d.lane_index { lane as u64 } else { 0 };
            let offset = imm + u64::from(offset[lane]);
            targets.address[lane] = base.wrapping_add(d.position(index, offset));
            targets.room[lane] = d.room(index, offset, soffset);
        }
        return targets;
    }
    // What programs use most, in loops that the compiler makes vectors of.
    let (base, stride) = (base.wrapping_add(imm), d.stride as u32);
    for lane in 0..LANES {
        let element = u64::from(index[lane]) * u64::from(stride);
        targets.address[lane] = base.wrapping_add(element).wrapping_add(offset[lane].into());
    }
    if stride != 0 {
        for (room, index) in targets.room.iter_mut().zip(index) {
            *room = if u64::from(*index) < d.records { u64::MAX } else { 0 };
        }
    } else {
        let most = d.records.saturating_sub(soffset).saturating_sub(imm);
        for (room, offset) in targets.room.iter_mut().zip(offset) {
            *room = most.saturating_sub((*offset).into());
        }
    }
    targets
}

/// Executes a flat instruction.
pub fn flat<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: isa::Access,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let first = usize::from(i.src[0] - code::VGPR);
    let address = join(&w.vector[first], &w.vector[first + 1]);
    let [a, b] = context.apertures.map(u64::from);
    let beside = mask_of(|lane| {
        let aperture = address[lane] >> 48;
        aperture != 0 && (aperture == a || aperture == b)
    });
    if let Some(lane) = lanes(beside & w.exec()).next() {
        let why = format!(
            "address {:#x} in the aperture of LDS or scratch is not implemented",
            address[lane]
        );
        return Err(bad(i, why));
    }
    access(w, i, op, i.src[1], &Targets { address, room: [u64::MAX; LANES] }, bus, context)
}

/// The way of a vector access.
pub fn path(i: &Inst, context: &Context) -> Path {
    if i.flags.glc { Path::Coherent(context.unit) } else { Path::Vector(context.unit) }
}

fn access<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: isa::Access,
    data: u16,
    targets: &Targets,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let data = usize::from(data.saturating_sub(code::VGPR));
    match op {
        isa::Access::Load(element) => load(w, i, element, targets, bus, context),
        isa::Access::Store(element) => store(w, i, (element, data), targets, bus, context),
        isa::Access::Atomic(op, width) => atomic(w, i, (op, width, data), targets, bus),
        _ => Ok(()),
    }
}

/// Addresses as the alignment mode of the address space has them (SH_MEM_CONFIG.ALIGNMENT_MODE).
fn aligned<'a>(targets: &'a Targets, element: Element, context: &Context) -> Cow<'a, [u64; LANES]> {
    let align = u64::from(element.bytes().min(4));
    if context.unaligned {
        Cow::Borrowed(&targets.address)
    } else {
        Cow::Owned(targets.address.map(|at| at & !(align - 1)))
    }
}

/// Active lanes that may reach all of an element, and those that may reach some dwords of it.
fn inside(w: &Wave, targets: &Targets, element: Element) -> (u64, u64) {
    let (exec, size) = (w.exec(), u64::from(element.bytes()));
    let at_least = |bytes: u64| mask_of(|lane| targets.room[lane] >= bytes) & exec;
    let whole = at_least(size);
    (whole, if size > 4 { at_least(4) & !whole } else { 0 })
}

fn load<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    element: Element,
    targets: &Targets,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    match element.dwords() {
        1 => load_rows::<1, M>(w, i, element, targets, bus, context),
        2 => load_rows::<2, M>(w, i, element, targets, bus, context),
        3 => load_rows::<3, M>(w, i, element, targets, bus, context),
        _ => load_rows::<4, M>(w, i, element, targets, bus, context),
    }
}

/// Loads elements of `N` dwords.
fn load_rows<const N: usize, M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    element: Element,
    targets: &Targets,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let address = &aligned(targets, element, context);
    let (whole, partly) = inside(w, targets, element);
    let mut rows = [[0; LANES]; N];
    let path = path(i, context);
    bus.load(path, address, whole, element, &mut rows)?;
    // Each dword is bounded by itself.
    for lane in lanes(partly) {
        for n in 0..(targets.room[lane] / 4).min(N as u64) {
            rows[n as usize][lane] = bus.word(path, address[lane].wrapping_add(4 * n))?;
        }
    }
    for (n, row) in (0..).zip(&rows) {
        w.put(i.dst + n, row);
    }
    Ok(())
}

fn store<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    (element, data): (Element, usize),
    targets: &Targets,
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let address = &aligned(targets, element, context);
    let (whole, partly) = inside(w, targets, element);
    let dwords = usize::from(element.dwords());
    let rows: [&Row; 4] = std::array::from_fn(|n| &w.vector[data + n.min(dwords - 1)]);
    let path = path(i, context);
    bus.store(path, address, whole, element, &rows[..dwords])?;
    for lane in lanes(partly) {
        for n in 0..(targets.room[lane] / 4).min(4) {
            let word = w.vector[data + n as usize][lane].to_le_bytes();
            bus.write(path, address[lane].wrapping_add(4 * n), &word)?;
        }
    }
    Ok(())
}

/// Lane after lane. The first operand is stored, the second compared.
fn atomic<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    (op, width, data): (Atomic, Width, usize),
    targets: &Targets,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    let dwords = if width == Width::B32 { 1 } else { 2 };
    let (whole, _) = inside(w, targets, Element::Dwords(dwords as u8));
    let value = |w: &Wave, register: usize, lane: usize| match width {
        Width::B32 => u64::from(w.vector[register][lane]),
        Width::B64 => {
            u64::from(w.vector[register][lane]) | u64::from(w.vector[register + 1][lane]) << 32
        }
    };
    let mut old = [0u64; LANES];
    for lane in lanes(whole) {
        let operand = value(w, data, lane);
        let compare = if op.operands() == 2 { value(w, data + dwords, lane) } else { 0 };
        old[lane] = bus
            .atomic(targets.address[lane], width, |old| apply(op, width, old, operand, compare))?;
    }
    match (i.flags.glc, width) {
        (false, _) => {}
        (true, Width::B32) => w.put(i.dst, &old.map(|v| v as u32)),
        (true, Width::B64) => w.put64(i.dst, &old),
    }
    Ok(())
}

/// The format of a typed instruction, or of the descriptor.
fn format(i: &Inst, d: &Descriptor) -> Result<Format, Stop> {
    let (data, number) = match i.entry.format {
        isa::Format::Mtbuf => (i.typed.0.into(), i.typed.1.into()),
        _ => d.format,
    };
    let known = Format::new(data, number).filter(|_| data < 16);
    known.ok_or_else(|| bad(i, format!("buffer format {data}, {number} is not implemented")))
}

fn load_format<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    components: u8,
    (d, targets): (&Descriptor, &Targets),
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    let format = match format(i, d) {
        // Nothing is in it, so nothing has to be converted.
        Err(_) if d.records == 0 => Format::new(4, 4).ok_or_else(|| bad(i, "format".into()))?,
        format => format?,
    };
    let size = format.bytes();
    let mut rows = [[0; LANES]; 4];
    for lane in lanes(w.exec()) {
        let mut bytes = [0; 16];
        let texel = if targets.room[lane] >= size as u64 {
            bus.read(path(i, context), targets.address[lane], &mut bytes[..size])?;
            format.load(&bytes[..size])
        } else {
            [0; 4]
        };
        let texel = select(texel, d.select, format.one()).map_err(|why| bad(i, why))?;
        for (row, value) in rows.iter_mut().zip(texel) {
            row[lane] = value;
        }
    }
    for (n, row) in (0..u16::from(components)).zip(&rows) {
        w.put(i.dst + n, row);
    }
    Ok(())
}

fn store_format<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    components: u8,
    (d, targets): (&Descriptor, &Targets),
    bus: &mut Bus<'_, M>,
    context: &Context,
) -> Result<(), Stop> {
    if d.records == 0 {
        return Ok(());
    }
    let format = format(i, d)?;
    for lane in lanes(w.exec()) {
        let mut texel = [0; 4];
        for (n, value) in texel.iter_mut().enumerate().take(components.into()) {
            *value = w.vector[usize::from(i.dst) + n][lane];
        }
        let mut bytes = [0; 16];
        let size = format.store(texel, &mut bytes);
        if targets.room[lane] >= size as u64 {
            bus.write(path(i, context), targets.address[lane], &bytes[..size])?;
        }
    }
    Ok(())
}
