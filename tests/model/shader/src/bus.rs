// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The way from a wave to memory: pages looked up once, and lanes that lie side by side moved
//! together.

use crate::{
    isa::{
        Atomic,
        Element,
        Width, //
    },
    memory::{
        Access,
        Memory,
        PAGE,
        Path,
        Place, //
    },
    stop::Stop,
    wave::{
        LANES,
        Row,
        lanes,
        mask_of, //
    }, //
};

/// Entries of the page cache, a power of two.
const ENTRIES: usize = 256;
/// Bytes of a whole wave's widest access.
const WIDEST: usize = LANES * 16;
/// No page has this number: addresses have 64 bits.
const NOWHERE: u64 = !0;

/// Memory, with the pages that it has been asked for.
///
/// A page that was found stays found as long as this value lives: that is a slice of a dispatch, in
/// which nothing else moves.
pub struct Bus<'a, M: Memory + ?Sized> {
    memory: &'a mut M,
    read: Box<[(u64, u64); ENTRIES]>,
    write: Box<[(u64, u64); ENTRIES]>,
    /// Bytes between memory and registers. They are here so that no access has to clear them.
    bytes: Vec<u8>,
}

impl<'a, M: Memory + ?Sized> Bus<'a, M> {
    /// A way to `memory`, with no page looked up.
    pub fn new(memory: &'a mut M) -> Self {
        Bus {
            memory,
            read: Box::new([(NOWHERE, 0); ENTRIES]),
            write: Box::new([(NOWHERE, 0); ENTRIES]),
            bytes: vec![0; WIDEST],
        }
    }

    /// The memory behind it.
    pub fn memory(&mut self) -> &mut M {
        self.memory
    }

    #[inline]
    fn place(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        let page = va / PAGE;
        let cache = if access == Access::Write { &mut self.write } else { &mut self.read };
        let slot = &mut cache[page as usize % ENTRIES];
        if slot.0 != page {
            *slot = (page, self.memory.translate(va & !(PAGE - 1), access)?.0);
        }
        Ok(Place(slot.1 + va % PAGE))
    }

    /// Reads bytes, across pages.
    pub fn read(&mut self, path: Path, va: u64, to: &mut [u8]) -> Result<(), Stop> {
        let access = if path == Path::Instruction { Access::Execute } else { Access::Read };
        if va % PAGE + to.len() as u64 <= PAGE {
            let place = self.place(va, access)?;
            self.memory.read(path, place, to);
            return Ok(());
        }
        let mut done = 0;
        while done < to.len() {
            let at = va.wrapping_add(done as u64);
            let n = ((PAGE - at % PAGE) as usize).min(to.len() - done);
            let place = self.place(at, access)?;
            self.memory.read(path, place, &mut to[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Writes bytes, across pages.
    pub fn write(&mut self, path: Path, va: u64, from: &[u8]) -> Result<(), Stop> {
        if va % PAGE + from.len() as u64 <= PAGE {
            let place = self.place(va, Access::Write)?;
            self.memory.write(path, place, from);
            return Ok(());
        }
        let mut done = 0;
        while done < from.len() {
            let at = va.wrapping_add(done as u64);
            let n = ((PAGE - at % PAGE) as usize).min(from.len() - done);
            let place = self.place(at, Access::Write)?;
            self.memory.write(path, place, &from[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Reads a dword.
    pub fn word(&mut self, path: Path, va: u64) -> Result<u32, Stop> {
        let mut bytes = [0; 4];
        self.read(path, va, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Changes a word in one step. Returns what was there.
    pub fn atomic(&mut self, va: u64, width: Width, f: impl Fn(u64) -> u64) -> Result<u64, Stop> {
        let bytes = if width == Width::B32 { 4 } else { 8 };
        let place = self.place(va & !(bytes - 1), Access::Write)?;
        Ok(self.memory.update(place, bytes as usize, &mut |old| f(old)))
    }

    /// Loads an element for each lane of `mask` into `rows`, of which there is one for each of its
    /// dwords.
    pub fn load(
        &mut self,
        path: Path,
        addresses: &[u64; LANES],
        mask: u64,
        element: Element,
        rows: &mut [Row],
    ) -> Result<(), Stop> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let outcome = self.load_by(path, addresses, mask, element, rows, &mut bytes);
        self.bytes = bytes;
        outcome
    }

    fn load_by(
        &mut self,
        path: Path,
        addresses: &[u64; LANES],
        mask: u64,
        element: Element,
        rows: &mut [Row],
        bytes: &mut [u8],
    ) -> Result<(), Stop> {
        let size = element.bytes() as usize;
        let runs = Runs::new(addresses, mask, size as u64);
        let mut left = mask;
        while left != 0 {
            let run = runs.first(left);
            let bytes = &mut bytes[..run.bytes(size)];
            self.read(path, addresses[run.lanes.trailing_zeros() as usize], bytes)?;
            if run.lanes == !0 && !run.same {
                unpack_all(element, bytes, rows);
            } else {
                let step = if run.same { 0 } else { size };
                for (n, lane) in lanes(run.lanes).enumerate() {
                    unpack(element, &bytes[n * step..n * step + size], lane, rows);
                }
            }
            left &= !run.lanes;
        }
        Ok(())
    }

    /// Stores an element for each lane of `mask` from `rows`.
    pub fn store(
        &mut self,
        path: Path,
        addresses: &[u64; LANES],
        mask: u64,
        element: Element,
        rows: &[&Row],
    ) -> Result<(), Stop> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let outcome = self.store_by(path, addresses, mask, element, rows, &mut bytes);
        self.bytes = bytes;
        outcome
    }

    fn store_by(
        &mut self,
        path: Path,
        addresses: &[u64; LANES],
        mask: u64,
        element: Element,
        rows: &[&Row],
        bytes: &mut [u8],
    ) -> Result<(), Stop> {
        let size = element.bytes() as usize;
        let runs = Runs::new(addresses, mask, size as u64);
        let mut left = mask;
        while left != 0 {
            let run = runs.first(left);
            let bytes = &mut bytes[..run.bytes(size)];
            if run.lanes == !0 && !run.same && size >= 4 {
                pack_all(bytes, rows);
            } else {
                // Of lanes at one address the last one stays.
                let step = if run.same { 0 } else { size };
                for (n, lane) in lanes(run.lanes).enumerate() {
                    pack(size, &mut bytes[n * step..n * step + size], lane, rows);
                }
            }
            self.write(path, addresses[run.lanes.trailing_zeros() as usize], bytes)?;
            left &= !run.lanes;
        }
        Ok(())
    }
}

/// Lanes whose addresses follow each other, or are all the same.
struct Run {
    lanes: u64,
    same: bool,
}

impl Run {
    /// Bytes of memory that its lanes reach.
    fn bytes(&self, size: usize) -> usize {
        if self.same { size } else { self.lanes.count_ones() as usize * size }
    }
}

/// The active lanes that go on from the lane before, itself active: at the next element, and at the
/// same one.
struct Runs {
    next: u64,
    same: u64,
}

impl Runs {
    /// Compares each lane's address with that of the lane before.
    fn new(addresses: &[u64; LANES], mask: u64, size: u64) -> Runs {
        let mut steps = [!0; LANES];
        for lane in 1..LANES {
            steps[lane] = addresses[lane].wrapping_sub(addresses[lane - 1]);
        }
        let active = mask & mask << 1;
        let next = mask_of(|lane| steps[lane] == size) & active;
        // Most often all of them follow each other.
        let same = if next == !1 { 0 } else { mask_of(|lane| steps[lane] == 0) & active };
        Runs { next, same }
    }

    /// The run that begins with the first lane of `left`, which is not empty.
    fn first(&self, left: u64) -> Run {
        let first = left.trailing_zeros();
        let after = |lanes: u64| lanes.checked_shr(first + 1).unwrap_or(0).trailing_ones();
        let same = after(self.same);
        let more = if same != 0 { same } else { after(self.next) };
        Run { lanes: (!0 >> (63 - more)) << first, same: same != 0 }
    }
}

#[inline(always)]
fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline(always)]
fn unpack(element: Element, bytes: &[u8], lane: usize, rows: &mut [Row]) {
    match element {
        Element::U8 => rows[0][lane] = bytes[0].into(),
        Element::I8 => rows[0][lane] = bytes[0] as i8 as u32,
        Element::U16 => rows[0][lane] = u16::from_le_bytes([bytes[0], bytes[1]]).into(),
        Element::I16 => rows[0][lane] = i16::from_le_bytes([bytes[0], bytes[1]]) as u32,
        Element::Dwords(_) => {
            for (bytes, row) in bytes.chunks_exact(4).zip(rows) {
                row[lane] = word(bytes);
            }
        }
    }
}

/// The same for all lanes, whose elements follow each other.
fn unpack_all(element: Element, bytes: &[u8], rows: &mut [Row]) {
    match (element, rows) {
        (Element::Dwords(_), [row]) => {
            row.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(to, from)| *to = word(from));
        }
        (Element::Dwords(n), rows) => {
            for (k, row) in rows.iter_mut().enumerate() {
                for (to, from) in row.iter_mut().zip(bytes.chunks_exact(4 * usize::from(n))) {
                    *to = word(&from[4 * k..4 * k + 4]);
                }
            }
        }
        (element, rows) => {
            let size = element.bytes() as usize;
            for (lane, bytes) in bytes.chunks_exact(size).enumerate() {
                unpack(element, bytes, lane, rows);
            }
        }
    }
}

#[inline(always)]
fn pack(size: usize, bytes: &mut [u8], lane: usize, rows: &[&Row]) {
    if size < 4 {
        bytes.copy_from_slice(&rows[0][lane].to_le_bytes()[..size]);
        return;
    }
    for (word, row) in bytes.chunks_exact_mut(4).zip(rows) {
        word.copy_from_slice(&row[lane].to_le_bytes());
    }
}

/// The same for all lanes, of dwords.
fn pack_all(bytes: &mut [u8], rows: &[&Row]) {
    for (k, row) in rows.iter().enumerate() {
        for (to, from) in bytes.chunks_exact_mut(4 * rows.len()).zip(*row) {
            to[4 * k..4 * k + 4].copy_from_slice(&from.to_le_bytes());
        }
    }
}

/// The new value of an atomic operation. `compare` is what a compare-and-swap compares with, or the
/// second operand of a masked or.
pub fn apply(op: Atomic, width: Width, old: u64, data: u64, compare: u64) -> u64 {
    let wide = width == Width::B64;
    let signed = |v: u64| if wide { v as i64 } else { i64::from(v as u32 as i32) };
    let float = |v: u64| if wide { f64::from_bits(v) } else { f64::from(f32::from_bits(v as u32)) };
    let pick = |is_replaced: bool| if is_replaced { data } else { old };
    let new = match op {
        Atomic::Swap => data,
        Atomic::CompareSwap => pick(old == compare),
        Atomic::Add => old.wrapping_add(data),
        Atomic::Sub => old.wrapping_sub(data),
        Atomic::ReverseSub => data.wrapping_sub(old),
        Atomic::MinSigned => pick(signed(data) < signed(old)),
        Atomic::MaxSigned => pick(signed(data) > signed(old)),
        Atomic::MinUnsigned => old.min(data),
        Atomic::MaxUnsigned => old.max(data),
        Atomic::And => old & data,
        Atomic::Or => old | data,
        Atomic::Xor => old ^ data,
        Atomic::Increment => {
            if old >= data {
                0
            } else {
                old + 1
            }
        }
        Atomic::Decrement => {
            if old == 0 || old > data {
                data
            } else {
                old - 1
            }
        }
        Atomic::MaskOr => old & !data | compare,
        Atomic::FloatCompareSwap => pick(float(old) == float(compare)),
        Atomic::FloatMin => pick(float(data) < float(old)),
        Atomic::FloatMax => pick(float(data) > float(old)),
    };
    if wide { new } else { new & 0xffff_ffff }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Flat;

    #[test]
    fn lanes_side_by_side_and_apart_move_alike() {
        let mut memory = Flat::default();
        memory.put_words(0x1000, &(0..4096).collect::<Vec<u32>>());
        let mut bus = Bus::new(&mut memory);
        // Runs of many lengths, one across a page, some lanes at one address.
        let addresses: [u64; LANES] = std::array::from_fn(|lane| match lane {
            0..=9 => 0x1ff0 + 4 * lane as u64,
            10..=19 => 0x1100,
            _ => 0x1000 + (lane as u64 * 37 % 64) * 16,
        });
        let mut rows = [[0; LANES]; 2];
        bus.load(Path::Vector(0), &addresses, !4, Element::Dwords(2), &mut rows).unwrap();
        for lane in 0..LANES {
            let word = if lane == 2 { 0 } else { ((addresses[lane] - 0x1000) / 4) as u32 };
            assert_eq!(rows[0][lane], word, "lane {lane}");
            assert_eq!(rows[1][lane], if lane == 2 { 0 } else { word + 1 }, "lane {lane}");
        }
        let to: [u64; LANES] = std::array::from_fn(|lane| 0x2000 + (lane as u64 ^ 5) * 8);
        bus.store(Path::Vector(0), &to, !0, Element::Dwords(2), &[&rows[0], &rows[1]]).unwrap();
        let words = memory.words(0x2000, 128);
        for lane in 0..LANES {
            assert_eq!(words[(lane ^ 5) * 2..][..2], [rows[0][lane], rows[1][lane]]);
        }
    }

    #[test]
    fn atomics() {
        let of = |op, old, data| apply(op, Width::B32, old, data, 7);
        assert_eq!(of(Atomic::Add, 0xffff_ffff, 2), 1);
        assert_eq!(of(Atomic::MinSigned, 0xffff_ffff, 2), 0xffff_ffff);
        assert_eq!(of(Atomic::MinUnsigned, 0xffff_ffff, 2), 2);
        assert_eq!((of(Atomic::Increment, 5, 5), of(Atomic::Increment, 4, 5)), (0, 5));
        assert_eq!(
            (of(Atomic::Decrement, 0, 5), of(Atomic::Decrement, 9, 5), of(Atomic::Decrement, 3, 5)),
            (5, 5, 2)
        );
        assert_eq!((of(Atomic::CompareSwap, 7, 1), of(Atomic::CompareSwap, 8, 1)), (1, 8));
        assert_eq!(apply(Atomic::MaxSigned, Width::B64, 1 << 63, 1, 0), 1);
    }
}
