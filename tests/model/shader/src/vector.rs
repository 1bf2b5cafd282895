// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The vector ALU: operations on 64 lanes (ISA manual, chapter 6 and the VOP instructions of
//! chapter 12). This file has integers and movement between lanes.

mod compare;
mod convert;
mod double;
mod math;
mod single;
#[cfg(test)]
mod tests;

pub use compare::execute as compare;

use crate::{
    isa::{
        Inst,
        Vector,
        code, //
    },
    stop::Stop,
    wave::{
        LANES,
        Row,
        Row64,
        Wave,
        mask_of, //
    }, //
};

/// Executes a vector ALU instruction.
pub fn execute(w: &mut Wave, i: &Inst, op: Vector) -> Result<(), Stop> {
    match op {
        Vector::Nop => {}
        Vector::Mov => unary(w, i, |a| a),
        Vector::Select => select(w, i),
        Vector::ReadFirstLane => {
            let exec = w.exec();
            let lane = if exec == 0 { 0 } else { exec.trailing_zeros() as usize };
            read_lane(w, i, lane);
        }
        Vector::ReadLane => {
            let lane = (w.source(i, 1) & 63) as usize;
            read_lane(w, i, lane);
        }
        Vector::WriteLane => {
            let (value, lane) = (w.source(i, 0), (w.source(i, 1) & 63) as usize);
            w.put_lane(i.dst, lane, value);
        }
        Vector::MovRelDest | Vector::MovRelSource | Vector::MovRelBoth => {
            return relative(w, i, op);
        }
        Vector::Not => unary(w, i, |a| !a),
        Vector::Reverse => unary(w, i, u32::reverse_bits),
        Vector::FirstBitHigh => unary(w, i, |a| found(a.leading_zeros())),
        Vector::FirstBitLow => unary(w, i, |a| found(a.trailing_zeros())),
        Vector::FirstSignHigh => {
            unary(w, i, |a| found((a ^ ((a as i32) >> 31) as u32).leading_zeros()))
        }
        Vector::MulI24 => binary(w, i, |a, b| (signed24(a) * signed24(b)) as u32),
        Vector::MulHighI24 => binary(w, i, |a, b| ((signed24(a) * signed24(b)) >> 32) as u32),
        Vector::MulU24 => binary(w, i, |a, b| (unsigned24(a) * unsigned24(b)) as u32),
        Vector::MulHighU24 => binary(w, i, |a, b| ((unsigned24(a) * unsigned24(b)) >> 32) as u32),
        Vector::MulLow => binary(w, i, u32::wrapping_mul),
        Vector::MulHighU32 => binary(w, i, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Vector::MulHighI32 => {
            binary(w, i, |a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32)
        }
        Vector::MinI32 => binary(w, i, |a, b| (a as i32).min(b as i32) as u32),
        Vector::MaxI32 => binary(w, i, |a, b| (a as i32).max(b as i32) as u32),
        Vector::MinU32 => binary(w, i, u32::min),
        Vector::MaxU32 => binary(w, i, u32::max),
        Vector::ShiftRight => binary(w, i, |a, b| a >> (b & 31)),
        Vector::ShiftRightRev => binary(w, i, |a, b| b >> (a & 31)),
        Vector::ShiftRightSigned => binary(w, i, |a, b| ((a as i32) >> (b & 31)) as u32),
        Vector::ShiftRightSignedRev => binary(w, i, |a, b| ((b as i32) >> (a & 31)) as u32),
        Vector::ShiftLeft => binary(w, i, |a, b| a << (b & 31)),
        Vector::ShiftLeftRev => binary(w, i, |a, b| b << (a & 31)),
        Vector::And => binary(w, i, |a, b| a & b),
        Vector::Or => binary(w, i, |a, b| a | b),
        Vector::Xor => binary(w, i, |a, b| a ^ b),
        Vector::FieldMask => binary(w, i, |a, b| ((1 << (a & 31)) - 1) << (b & 31)),
        Vector::CountOnes => binary(w, i, |a, b| a.count_ones().wrapping_add(b)),
        Vector::MaskCountLow => mask_count(w, i, 0),
        Vector::MaskCountHigh => mask_count(w, i, 32),
        Vector::PackU16 => binary(w, i, |a, b| a.min(0xffff) | b.min(0xffff) << 16),
        Vector::PackI16 => binary(w, i, |a, b| signed16(a) | signed16(b) << 16),
        Vector::Add => carry(w, i, 0, |a, b, _| a.wrapping_add(b), |a, b, _| a.wrapping_add(b) < a),
        Vector::Sub => carry(w, i, 0, |a, b, _| a.wrapping_sub(b), |a, b, _| a < b),
        Vector::SubRev => carry(w, i, 0, |a, b, _| b.wrapping_sub(a), |a, b, _| b < a),
        Vector::AddCarry => {
            let carries = w.pair(i.src[2]);
            carry(w, i, carries, add, add_carries)
        }
        Vector::SubBorrow => {
            let borrows = w.pair(i.src[2]);
            carry(w, i, borrows, subtract, subtract_borrows)
        }
        Vector::SubBorrowRev => {
            let borrows = w.pair(i.src[2]);
            carry(w, i, borrows, |a, b, c| subtract(b, a, c), |a, b, c| subtract_borrows(b, a, c))
        }
        Vector::ShiftLeft64 => wide(w, i, |a, by| a << by),
        Vector::ShiftRight64 => wide(w, i, |a, by| a >> by),
        Vector::ShiftRightSigned64 => wide(w, i, |a, by| ((a as i64) >> by) as u64),
        Vector::MadU64 => mad64(w, i, |a, b| u128::from(a) * u128::from(b)),
        Vector::MadI64 => {
            mad64(w, i, |a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64 as u128)
        }
        _ => return three(w, i, op),
    }
    Ok(())
}

/// Integer operations of three sources; what is none goes on to floats.
fn three(w: &mut Wave, i: &Inst, op: Vector) -> Result<(), Stop> {
    match op {
        Vector::MadI24 => {
            ternary(w, i, |a, b, c| ((signed24(a) * signed24(b)) as u32).wrapping_add(c))
        }
        Vector::MadU24 => {
            ternary(w, i, |a, b, c| ((unsigned24(a) * unsigned24(b)) as u32).wrapping_add(c))
        }
        Vector::ExtractUnsigned => ternary(w, i, |a, b, c| a >> (b & 31) & ((1 << (c & 31)) - 1)),
        Vector::ExtractSigned => ternary(w, i, |a, b, c| extract_signed(a, b & 31, c & 31)),
        Vector::Insert => ternary(w, i, |a, b, c| a & b | !a & c),
        Vector::Lerp => ternary(w, i, lerp),
        Vector::AlignBit => ternary(w, i, |a, b, c| (pair(a, b) >> (c & 31)) as u32),
        Vector::AlignByte => ternary(w, i, |a, b, c| (pair(a, b) >> (8 * (c & 3))) as u32),
        Vector::Min3I32 => ternary(w, i, |a, b, c| (a as i32).min(b as i32).min(c as i32) as u32),
        Vector::Min3U32 => ternary(w, i, |a, b, c| a.min(b).min(c)),
        Vector::Max3I32 => ternary(w, i, |a, b, c| (a as i32).max(b as i32).max(c as i32) as u32),
        Vector::Max3U32 => ternary(w, i, |a, b, c| a.max(b).max(c)),
        Vector::Med3I32 => ternary(w, i, |a, b, c| median(a as i32, b as i32, c as i32) as u32),
        Vector::Med3U32 => ternary(w, i, median),
        Vector::SadU8 => ternary(w, i, |a, b, c| bytes_apart(a, b).wrapping_add(c)),
        Vector::SadHighU8 => ternary(w, i, |a, b, c| (bytes_apart(a, b) << 16).wrapping_add(c)),
        Vector::SadU16 => ternary(w, i, |a, b, c| {
            let apart = (a & 0xffff).abs_diff(b & 0xffff) + (a >> 16).abs_diff(b >> 16);
            apart.wrapping_add(c)
        }),
        Vector::SadU32 => ternary(w, i, |a, b, c| a.abs_diff(b).wrapping_add(c)),
        _ if convert::execute(w, i, op)
            || single::execute(w, i, op)
            || double::execute(w, i, op) => {}
        _ => return Err(Stop::illegal(format!("{}: no operation", i.entry.name))),
    }
    Ok(())
}

/// All ones where no bit was found.
fn found(zeros: u32) -> u32 {
    if zeros == 32 { !0 } else { zeros }
}

fn signed24(a: u32) -> i64 {
    i64::from((a << 8) as i32 >> 8)
}

fn unsigned24(a: u32) -> u64 {
    u64::from(a & 0xff_ffff)
}

fn signed16(a: u32) -> u32 {
    (a as i32).clamp(-0x8000, 0x7fff) as u32 & 0xffff
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn extract_signed(a: u32, offset: u32, size: u32) -> u32 {
    if size == 0 {
        0
    } else {
        (((i64::from(a as i32) >> offset) << (64 - size)) >> (64 - size)) as u32
    }
}

fn median<T: Ord + Copy>(a: T, b: T, c: T) -> T {
    a.min(b).max(a.max(b).min(c))
}

fn bytes_apart(a: u32, b: u32) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
}

/// The mean of each byte, rounded up where the third operand says.
fn lerp(a: u32, b: u32, c: u32) -> u32 {
    (0..4).fold(0, |all, n| {
        let byte = |v: u32| v >> (8 * n) & 0xff;
        all | ((byte(a) + byte(b) + (c >> (8 * n) & 1)) >> 1) << (8 * n)
    })
}

/// Names the lanes of a source. Memory for a scalar that is spread over them is touched only where
/// there is one.
macro_rules! lanes_of {
    ($row:ident = $wave:expr, $inst:expr, $n:expr) => {
        let spread: Row;
        let $row: &Row = match $inst.src[$n].checked_sub(code::VGPR) {
            Some(v) => &$wave.vector[usize::from(v)],
            None => {
                spread = [$wave.source($inst, $n); LANES];
                &spread
            }
        };
    };
}

#[inline(always)]
fn unary(w: &mut Wave, i: &Inst, f: impl Fn(u32) -> u32) {
    let mut out: Row = [0; LANES];
    lanes_of!(a = w, i, 0);
    for lane in 0..LANES {
        out[lane] = f(a[lane]);
    }
    w.put(i.dst, &out);
}

#[inline(always)]
fn binary(w: &mut Wave, i: &Inst, f: impl Fn(u32, u32) -> u32) {
    let mut out: Row = [0; LANES];
    lanes_of!(a = w, i, 0);
    lanes_of!(b = w, i, 1);
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane]);
    }
    w.put(i.dst, &out);
}

#[inline(always)]
fn ternary(w: &mut Wave, i: &Inst, f: impl Fn(u32, u32, u32) -> u32) {
    let mut out: Row = [0; LANES];
    lanes_of!(a = w, i, 0);
    lanes_of!(b = w, i, 1);
    lanes_of!(c = w, i, 2);
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane], c[lane]);
    }
    w.put(i.dst, &out);
}

#[inline(always)]
fn wide(w: &mut Wave, i: &Inst, f: impl Fn(u64, u32) -> u64) {
    let mut buffer = [0; LANES];
    let (a, by) = (w.row64(i, 0), w.row(i, 1, &mut buffer));
    let out: Row64 = std::array::from_fn(|lane| f(a[lane], by[lane] & 63));
    w.put64(i.dst, &out);
}

/// An addition or subtraction, and its carry or borrow.
#[inline(always)]
fn carry(
    w: &mut Wave,
    i: &Inst,
    carry_in: u64,
    f: impl Fn(u32, u32, u32) -> u32,
    carries: impl Fn(u32, u32, u32) -> bool,
) {
    lanes_of!(a = w, i, 0);
    lanes_of!(b = w, i, 1);
    let mut out: Row = [0; LANES];
    let carry = |lane: usize| (carry_in >> lane & 1) as u32;
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane], carry(lane));
    }
    let mask = mask_of(|lane| carries(a[lane], b[lane], carry(lane))) & w.exec();
    w.put(i.dst, &out);
    w.set_pair(i.sdst, mask);
}

fn add(a: u32, b: u32, carry: u32) -> u32 {
    a.wrapping_add(b).wrapping_add(carry)
}

fn add_carries(a: u32, b: u32, carry: u32) -> bool {
    u64::from(a) + u64::from(b) + u64::from(carry) >> 32 != 0
}

fn subtract(a: u32, b: u32, borrow: u32) -> u32 {
    a.wrapping_sub(b).wrapping_sub(borrow)
}

fn subtract_borrows(a: u32, b: u32, borrow: u32) -> bool {
    u64::from(a) < u64::from(b) + u64::from(borrow)
}

#[inline(always)]
fn mad64(w: &mut Wave, i: &Inst, product: impl Fn(u32, u32) -> u128) {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, b, c) = (w.row(i, 0, p), w.row(i, 1, q), w.row64(i, 2));
    let sums: [u128; LANES] = std::array::from_fn(|n| product(a[n], b[n]) + u128::from(c[n]));
    let carries = mask_of(|n| sums[n] >> 64 != 0) & w.exec();
    w.put64(i.dst, &std::array::from_fn(|n| sums[n] as u64));
    w.set_pair(i.sdst, carries);
}

fn select(w: &mut Wave, i: &Inst) {
    let mask = w.pair(i.src[2]);
    let mut out: Row = [0; LANES];
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    // Signs and magnitudes of floats, without their rounding.
    let (a, b) = (single::source(w, i, 0, p), single::source(w, i, 1, q));
    for lane in 0..LANES {
        let chosen = 0u32.wrapping_sub((mask >> lane & 1) as u32);
        out[lane] = a[lane] & !chosen | b[lane] & chosen;
    }
    w.put(i.dst, &out);
}

/// Counts the bits of a mask below the lane: of its low half, or from `first` of its high one.
fn mask_count(w: &mut Wave, i: &Inst, first: usize) {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, b) = (w.row(i, 0, p), w.row(i, 1, q));
    let out: Row = std::array::from_fn(|lane| {
        let below = (1u64 << lane.saturating_sub(first).min(32)) - 1;
        (a[lane] & below as u32).count_ones().wrapping_add(b[lane])
    });
    w.put(i.dst, &out);
}

fn read_lane(w: &mut Wave, i: &Inst, lane: usize) {
    let register = usize::from(i.src[0].saturating_sub(code::VGPR));
    let value = w.vector[register][lane];
    w.set(i.dst, value);
}

/// Moves whose source or result is M0 registers further.
fn relative(w: &mut Wave, i: &Inst, op: Vector) -> Result<(), Stop> {
    let by = u64::from(w.scalar[usize::from(code::M0)]);
    let mut moved = i.clone();
    let shift = |register: u16| {
        let at = u64::from(register) + by;
        let there = usize::try_from(at).is_ok_and(|n| n < w.vector.len());
        let beyond = || {
            Stop::bounds(format!(
                "{}: v{at} by way of M0, {} are allocated",
                i.entry.name,
                w.vector.len()
            ))
        };
        if there { Ok(at as u16) } else { Err(beyond()) }
    };
    if op != Vector::MovRelSource {
        moved.dst = shift(i.dst)?;
    }
    if op != Vector::MovRelDest {
        moved.src[0] = code::VGPR + shift(i.src[0].saturating_sub(code::VGPR))?;
    }
    unary(w, &moved, |a| a);
    Ok(())
}
