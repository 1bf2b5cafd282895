// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The local data share of a group (ISA manual, chapter 10 and the DS instructions).
//!
//! An address beyond the lesser of M0 and the allocation reads zeros and drops writes.

use crate::{
    bus::apply,
    isa::{
        Atomic,
        Element,
        Inst,
        Lds,
        Width,
        code, //
    },
    wave::{
        LANES,
        Row,
        Wave,
        join,
        lanes, //
    }, //
};

/// Executes an instruction of the local data share.
pub fn execute(w: &mut Wave, i: &Inst, op: Lds, lds: &mut [u8]) {
    let limit = lds.len().min(w.scalar[usize::from(code::M0)] as usize);
    let mut share = Share { bytes: &mut lds[..limit] };
    match op {
        Lds::Read(element) => read(w, i, element, &mut share),
        Lds::Write(element) => write(w, i, element, &mut share),
        Lds::Read2(width, stride) => read2(w, i, width, stride, &share),
        Lds::Write2(width, stride) => write2(w, i, width, stride, &mut share),
        Lds::Atomic { op, width, returns } => atomic(w, i, (op, width, returns), &mut share),
        Lds::Swizzle => swizzle(w, i),
        Lds::Append | Lds::Consume => append(w, i, op, lds),
        Lds::Nothing => {}
    }
}

/// The bytes that may be reached.
struct Share<'a> {
    bytes: &'a mut [u8],
}

impl Share<'_> {
    fn get<const N: usize>(&self, at: u32) -> [u8; N] {
        let at = at as usize;
        match at.checked_add(N).and_then(|end| self.bytes.get(at..end)) {
            Some(bytes) => std::array::from_fn(|n| bytes[n]),
            None => [0; N],
        }
    }

    fn word(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.get(at))
    }

    /// The bytes of all lanes, if their elements of `size` bytes follow each other, inside.
    fn whole(&mut self, at: &Row, size: usize) -> Option<&mut [u8]> {
        let mut apart = 0;
        for lane in 0..LANES {
            apart |= at[lane].wrapping_sub(at[0]).wrapping_sub((lane * size) as u32);
        }
        let first = at[0] as usize;
        if apart == 0 { self.bytes.get_mut(first..first + LANES * size) } else { None }
    }

    fn put(&mut self, at: u32, from: &[u8]) {
        let at = at as usize;
        if let Some(to) = at.checked_add(from.len()).and_then(|end| self.bytes.get_mut(at..end)) {
            to.copy_from_slice(from);
        }
    }
}

fn vector(i: &Inst, n: usize) -> usize {
    usize::from(i.src[n].saturating_sub(code::VGPR))
}

/// Byte addresses of an access with one offset, aligned to dwords where it moves dwords.
fn addresses(w: &Wave, i: &Inst, align: u32) -> Row {
    let row = &w.vector[vector(i, 0)];
    std::array::from_fn(|lane| row[lane].wrapping_add(i.imm) & !(align - 1))
}

fn read(w: &mut Wave, i: &Inst, element: Element, share: &mut Share<'_>) {
    let at = addresses(w, i, element.bytes().min(4));
    if element == Element::Dwords(1) {
        return read_words(w, i, &at, share);
    }
    let mut rows = [[0; LANES]; 4];
    for lane in lanes(w.exec()) {
        match element {
            Element::U8 => rows[0][lane] = share.get::<1>(at[lane])[0].into(),
            Element::I8 => rows[0][lane] = share.get::<1>(at[lane])[0] as i8 as u32,
            Element::U16 => rows[0][lane] = u16::from_le_bytes(share.get(at[lane])).into(),
            Element::I16 => rows[0][lane] = i16::from_le_bytes(share.get(at[lane])) as u32,
            Element::Dwords(n) => {
                for (k, row) in (0..u32::from(n)).zip(&mut rows) {
                    row[lane] = share.word(at[lane].wrapping_add(4 * k));
                }
            }
        }
    }
    for (n, row) in (0..element.dwords()).zip(&rows) {
        w.put(i.dst + n, row);
    }
}

/// A dword of each lane.
fn read_words(w: &mut Wave, i: &Inst, at: &Row, share: &mut Share<'_>) {
    let mut row = [0; LANES];
    match share.whole(at, 4) {
        Some(bytes) => {
            for (to, word) in row.iter_mut().zip(bytes.chunks_exact(4)) {
                *to = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            }
        }
        // What inactive lanes would read is not written to them.
        None => (0..LANES).for_each(|lane| row[lane] = share.word(at[lane])),
    }
    w.put(i.dst, &row);
}

fn write(w: &mut Wave, i: &Inst, element: Element, share: &mut Share<'_>) {
    let at = addresses(w, i, element.bytes().min(4));
    let data = vector(i, 1);
    let all = w.exec() == !0 && element == Element::Dwords(1);
    if let Some(bytes) = all.then(|| share.whole(&at, 4)).flatten() {
        for (to, word) in bytes.chunks_exact_mut(4).zip(&w.vector[data]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        return;
    }
    for lane in lanes(w.exec()) {
        let first = w.vector[data][lane].to_le_bytes();
        match element {
            Element::U8 | Element::I8 => share.put(at[lane], &first[..1]),
            Element::U16 | Element::I16 => share.put(at[lane], &first[..2]),
            Element::Dwords(n) => {
                for k in 0..u32::from(n) {
                    let word = w.vector[data + k as usize][lane];
                    share.put(at[lane].wrapping_add(4 * k), &word.to_le_bytes());
                }
            }
        }
    }
}

/// Addresses of the two elements of a lane: offsets count elements, or 64 of them.
fn both(w: &Wave, i: &Inst, width: Width, stride: u16, lane: usize) -> [u32; 2] {
    let size = if width == Width::B32 { 4 } else { 8 };
    let base = w.vector[vector(i, 0)][lane];
    [i.imm & 0xff, i.imm >> 8]
        .map(|offset| base.wrapping_add(offset * size * u32::from(stride)) & !3)
}

fn read2(w: &mut Wave, i: &Inst, width: Width, stride: u16, share: &Share<'_>) {
    let words = if width == Width::B32 { 1 } else { 2 };
    let mut rows = [[0; LANES]; 4];
    for lane in lanes(w.exec()) {
        for (n, at) in both(w, i, width, stride, lane).into_iter().enumerate() {
            for k in 0..words {
                rows[n * words + k][lane] = share.word(at.wrapping_add(4 * k as u32));
            }
        }
    }
    for (n, row) in (0..2 * words as u16).zip(&rows) {
        w.put(i.dst + n, row);
    }
}

fn write2(w: &mut Wave, i: &Inst, width: Width, stride: u16, share: &mut Share<'_>) {
    let words = if width == Width::B32 { 1 } else { 2 };
    for lane in lanes(w.exec()) {
        for (n, at) in both(w, i, width, stride, lane).into_iter().enumerate() {
            for k in 0..words {
                let word = w.vector[vector(i, 1 + n) + k][lane];
                share.put(at.wrapping_add(4 * k as u32), &word.to_le_bytes());
            }
        }
    }
}

fn operand(w: &Wave, register: usize, width: Width) -> [u64; LANES] {
    match width {
        Width::B32 => std::array::from_fn(|lane| w.vector[register][lane].into()),
        Width::B64 => join(&w.vector[register], &w.vector[register + 1]),
    }
}

/// Lane after lane. In DS_CMPST the first operand is compared and the second stored, and DS_MSKOR
/// clears by the first and sets by the second.
fn atomic(
    w: &mut Wave,
    i: &Inst,
    (op, width, returns): (Atomic, Width, bool),
    share: &mut Share<'_>,
) {
    let wide = width == Width::B64;
    let at = addresses(w, i, if wide { 8 } else { 4 });
    let first = operand(w, vector(i, 1), width);
    let two = i.src[2] >= code::VGPR;
    let second = if two { operand(w, vector(i, 2), width) } else { [0; LANES] };
    let swaps = op.operands() == 2;
    let mut result = [0u64; LANES];
    for lane in lanes(w.exec()) {
        let old = if wide {
            u64::from_le_bytes(share.get(at[lane]))
        } else {
            share.word(at[lane]).into()
        };
        let (data, other) =
            if swaps { (second[lane], first[lane]) } else { (first[lane], second[lane]) };
        let new = apply(op, width, old, data, other);
        share.put(at[lane], &new.to_le_bytes()[..if wide { 8 } else { 4 }]);
        result[lane] = old;
    }
    match (returns, wide) {
        (false, _) => {}
        (true, true) => w.put64(i.dst, &result),
        (true, false) => w.put(i.dst, &result.map(|old| old as u32)),
    }
}

/// Moves between lanes: in quads, or in halves by and, or and xor of the lane's number. An inactive
/// lane gives 0.
fn swizzle(w: &mut Wave, i: &Inst) {
    let from = w.vector[vector(i, 0)];
    let exec = w.exec();
    let pattern = i.imm as usize;
    let out: Row = std::array::from_fn(|lane| {
        let source = if pattern & 0x8000 != 0 {
            lane & !3 | pattern >> (2 * (lane & 3)) & 3
        } else {
            let (and, or, xor) = (pattern & 31, pattern >> 5 & 31, pattern >> 10 & 31);
            lane & 32 | (lane & and | or) ^ xor
        };
        if exec >> source & 1 != 0 { from[source] } else { 0 }
    });
    w.put(i.dst, &out);
}

/// Adds or takes the number of active lanes, once. The base is in M0's high half, so its limit is
/// the allocation.
fn append(w: &mut Wave, i: &Inst, op: Lds, lds: &mut [u8]) {
    let at = (i.imm + (w.scalar[usize::from(code::M0)] >> 16)) & !3;
    let mut share = Share { bytes: lds };
    let old = share.word(at);
    let count = w.exec().count_ones();
    let new = if op == Lds::Append { old.wrapping_add(count) } else { old.wrapping_sub(count) };
    share.put(at, &new.to_le_bytes());
    w.put(i.dst, &[old; LANES]);
}
