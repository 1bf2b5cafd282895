// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The scalar ALU (ISA manual, chapter 5 and the SOP instructions of chapter 12).

#[cfg(test)]
mod tests;

use crate::{
    isa::{
        Condition,
        Flag,
        Format,
        Inst,
        Scalar,
        ScalarCompare,
        Width::{
            self,
            B32,
            B64, //
        },
        code, //
    },
    mode::Mode,
    stop::Stop,
    wave::Wave, //
};

/// Executes a scalar ALU instruction. `pc` is that of the next one.
pub fn execute(w: &mut Wave, i: &Inst, op: Scalar) -> Result<(), Stop> {
    match op {
        Scalar::Mov => write_same(w, i, 0),
        Scalar::ConditionalMov if w.scc => write_same(w, i, 0),
        Scalar::ConditionalMov => {}
        Scalar::Select => write_same(w, i, usize::from(!w.scc)),
        Scalar::Not(width) => logic(w, i, width, |a, _| !a),
        Scalar::Logic(op, width) => logic(w, i, width, |a, b| op.apply(a, b)),
        Scalar::WholeQuad(width) => logic(w, i, width, |a, _| quads(a) * 15),
        Scalar::QuadMask(width) => logic(w, i, width, |a, _| quad_mask(a)),
        Scalar::SaveExec(op) => {
            let (exec, source) = (w.exec(), w.source64(i, 0));
            let new = op.apply(source, exec);
            w.set_pair(i.dst, exec);
            w.set_pair(code::EXEC, new);
            w.scc = new != 0;
        }
        Scalar::GetPc | Scalar::SetPc | Scalar::SwapPc => jump(w, i, op),
        Scalar::GetReg | Scalar::SetReg | Scalar::SetRegImmediate => return register(w, i, op),
        Scalar::MovRelSource(width) | Scalar::MovRelDest(width) => {
            return relative(w, i, op, width);
        }
        Scalar::Reverse(_)
        | Scalar::CountZeros(_)
        | Scalar::CountOnes(_)
        | Scalar::FirstZero(_)
        | Scalar::FirstOne(_)
        | Scalar::LeadingBit(_)
        | Scalar::LeadingSign(_)
        | Scalar::SignExtend8
        | Scalar::SignExtend16
        | Scalar::BitSet0(_)
        | Scalar::BitSet1(_)
        | Scalar::Abs => unary(w, i, op),
        Scalar::ShiftLeft(_)
        | Scalar::ShiftRight(_)
        | Scalar::ShiftRightSigned(_)
        | Scalar::FieldMask(_)
        | Scalar::ExtractUnsigned(_)
        | Scalar::ExtractSigned(_) => bits(w, i, op),
        _ => arithmetic(w, i, op),
    }
    Ok(())
}

/// SIMM16 with its sign.
fn constant(i: &Inst) -> u32 {
    i.imm as u16 as i16 as i32 as u32
}

/// Writes source `n` as it is.
fn write_same(w: &mut Wave, i: &Inst, n: usize) {
    if i.entry.format == Format::Sopk {
        w.set(i.dst, constant(i));
    } else if i.wide {
        let value = w.source64(i, n);
        w.set_pair(i.dst, value);
    } else {
        let value = w.source(i, n);
        w.set(i.dst, value);
    }
}

/// Writes a result and whether it is not zero.
fn write(w: &mut Wave, i: &Inst, width: Width, value: u64) {
    match width {
        B32 => {
            w.set(i.dst, value as u32);
            w.scc = value as u32 != 0;
        }
        B64 => {
            w.set_pair(i.dst, value);
            w.scc = value != 0;
        }
    }
}

fn wide(w: &Wave, i: &Inst, n: usize, width: Width) -> u64 {
    match width {
        B32 => w.source(i, n).into(),
        B64 => w.source64(i, n),
    }
}

fn logic(w: &mut Wave, i: &Inst, width: Width, f: impl Fn(u64, u64) -> u64) {
    let value = f(wide(w, i, 0, width), wide(w, i, 1, width));
    write(w, i, width, value);
}

/// The lowest bit of each quad, set if any of its bits is.
fn quads(a: u64) -> u64 {
    let two = a | a >> 1;
    (two | two >> 2) & 0x1111_1111_1111_1111
}

/// A bit for each quad that has one.
fn quad_mask(a: u64) -> u64 {
    (0..16).fold(0, |mask, quad| mask | u64::from(a >> (4 * quad) & 15 != 0) << quad)
}

fn jump(w: &mut Wave, i: &Inst, op: Scalar) {
    let (next, target) = (w.pc, w.source64(i, 0));
    if op != Scalar::GetPc {
        w.pc = target & 0xffff_ffff_fffc;
    }
    if op != Scalar::SetPc {
        w.set_pair(i.dst, next);
    }
}

/// Hardware registers by their numbers.
const MODE: u32 = 1;
const HW_ID: u32 = 4;

/// S_GETREG and S_SETREG: SIMM16 has the register in 5:0, an offset in 10:6, the size less one in
/// 15:11. Register 1 is the mode, 4 is HW_ID.
fn register(w: &mut Wave, i: &Inst, op: Scalar) -> Result<(), Stop> {
    let (number, offset, size) = (i.imm & 63, i.imm >> 6 & 31, (i.imm >> 11) + 1);
    let readable = op == Scalar::GetReg && number == HW_ID;
    if number != MODE && !readable {
        return Err(Stop::illegal(format!(
            "{}: hardware register {number} is not implemented",
            i.entry.name
        )));
    }
    let mask = (!0u32 >> (32 - size)) << offset;
    let value = match op {
        Scalar::GetReg => {
            let all = if number == HW_ID { w.hardware } else { w.mode.0 };
            let value = (all & mask) >> offset;
            w.set(i.dst, value);
            return Ok(());
        }
        Scalar::SetReg => w.scalar[usize::from(i.dst & 127)],
        _ => i.literal,
    };
    let mode = w.mode.0 & !mask | value << offset & mask;
    if mode & !Mode::KNOWN != 0 {
        return Err(Stop::illegal(format!(
            "{}: mode {mode:#x}: exceptions and debugging",
            i.entry.name
        )));
    }
    w.mode = Mode(mode);
    Ok(())
}

fn relative(w: &mut Wave, i: &Inst, op: Scalar, width: Width) -> Result<(), Stop> {
    let base = if matches!(op, Scalar::MovRelSource(_)) { i.src[0] } else { i.dst };
    let at = u64::from(base) + u64::from(w.scalar[usize::from(code::M0)]);
    let last = at + u64::from(width == B64);
    if last > 103 {
        return Err(Stop::bounds(format!(
            "{}: s{at}, {} of M0",
            i.entry.name,
            w.scalar[usize::from(code::M0)]
        )));
    }
    let mut moved = i.clone();
    if matches!(op, Scalar::MovRelSource(_)) {
        moved.src[0] = at as u16
    } else {
        moved.dst = at as u16
    }
    write_same(w, &moved, 0);
    Ok(())
}

/// Operations of one source. All ones stand for a bit that is not found.
fn unary(w: &mut Wave, i: &Inst, op: Scalar) {
    let (a, b) = (w.source(i, 0), w.source64(i, 0));
    let found = |zeros: u32, width: u32| if zeros == width { !0 } else { zeros };
    let value = match op {
        Scalar::Reverse(B32) => a.reverse_bits(),
        Scalar::Reverse(B64) => return w.set_pair(i.dst, b.reverse_bits()),
        Scalar::CountZeros(B32) => return write(w, i, B32, a.count_zeros().into()),
        Scalar::CountZeros(B64) => return write(w, i, B32, b.count_zeros().into()),
        Scalar::CountOnes(B32) => return write(w, i, B32, a.count_ones().into()),
        Scalar::CountOnes(B64) => return write(w, i, B32, b.count_ones().into()),
        Scalar::Abs => return write(w, i, B32, (a as i32).unsigned_abs().into()),
        Scalar::FirstZero(B32) => found(a.trailing_ones(), 32),
        Scalar::FirstZero(B64) => found(b.trailing_ones(), 64),
        Scalar::FirstOne(B32) => found(a.trailing_zeros(), 32),
        Scalar::FirstOne(B64) => found(b.trailing_zeros(), 64),
        Scalar::LeadingBit(B32) => found(a.leading_zeros(), 32),
        Scalar::LeadingBit(B64) => found(b.leading_zeros(), 64),
        Scalar::LeadingSign(B32) => found((a ^ ((a as i32) >> 31) as u32).leading_zeros(), 32),
        Scalar::LeadingSign(B64) => found((b ^ ((b as i64) >> 63) as u64).leading_zeros(), 64),
        Scalar::SignExtend8 => a as i8 as u32,
        Scalar::SignExtend16 => a as i16 as u32,
        Scalar::BitSet0(width) | Scalar::BitSet1(width) => return set_bit(w, i, op, width, a),
        _ => return,
    };
    w.set(i.dst, value);
}

fn set_bit(w: &mut Wave, i: &Inst, op: Scalar, width: Width, n: u32) {
    let (old, bit) = match width {
        B32 => (u64::from(w.scalar[usize::from(i.dst & 127)]), 1 << (n & 31)),
        B64 => (w.pair(i.dst), 1u64 << (n & 63)),
    };
    let new = if matches!(op, Scalar::BitSet0(_)) { old & !bit } else { old | bit };
    match width {
        B32 => w.set(i.dst, new as u32),
        B64 => w.set_pair(i.dst, new),
    }
}

/// Shifts and bit fields. SCC is set but by the masks.
fn bits(w: &mut Wave, i: &Inst, op: Scalar) {
    let by = w.source(i, 1);
    let a = w.source(i, 0);
    let b = w.source64(i, 0);
    let (width, value) = match op {
        Scalar::ShiftLeft(B32) => (B32, u64::from(a << (by & 31))),
        Scalar::ShiftLeft(B64) => (B64, b << (by & 63)),
        Scalar::ShiftRight(B32) => (B32, u64::from(a >> (by & 31))),
        Scalar::ShiftRight(B64) => (B64, b >> (by & 63)),
        Scalar::ShiftRightSigned(B32) => (B32, u64::from(((a as i32) >> (by & 31)) as u32)),
        Scalar::ShiftRightSigned(B64) => (B64, ((b as i64) >> (by & 63)) as u64),
        Scalar::FieldMask(B32) => return w.set(i.dst, ((1 << (a & 31)) - 1) << (by & 31)),
        Scalar::FieldMask(B64) => return w.set_pair(i.dst, ((1 << (a & 63)) - 1) << (by & 63)),
        Scalar::ExtractUnsigned(B32) => (B32, field(a.into(), by & 31, by >> 16 & 0x7f)),
        Scalar::ExtractUnsigned(_) => (B64, field(b, by & 63, by >> 16 & 0x7f)),
        Scalar::ExtractSigned(B32) => {
            let value = signed_field(i64::from(a as i32), by & 31, by >> 16 & 0x7f);
            (B32, u64::from(value as u32))
        }
        _ => (B64, signed_field(b as i64, by & 63, by >> 16 & 0x7f) as u64),
    };
    write(w, i, width, value);
}

fn field(value: u64, offset: u32, size: u32) -> u64 {
    let mask = if size >= 64 { !0 } else { (1 << size) - 1 };
    value >> offset & mask
}

fn signed_field(value: i64, offset: u32, size: u32) -> i64 {
    match size {
        0 => 0,
        1..=63 => (value >> offset) << (64 - size) >> (64 - size),
        _ => value >> offset,
    }
}

fn arithmetic(w: &mut Wave, i: &Inst, op: Scalar) {
    let short = i.entry.format == Format::Sopk;
    let a = if short { w.scalar[usize::from(i.dst & 127)] } else { w.source(i, 0) };
    let b = if short { constant(i) } else { w.source(i, 1) };
    let (x, y) = (a as i32, b as i32);
    let carry = w.scc;
    let chosen = |first: bool| (if first { a } else { b }, first);
    let signed = |(value, overflow): (i32, bool)| (value as u32, overflow);
    let (value, scc) = match op {
        Scalar::AddU32 => a.overflowing_add(b),
        Scalar::SubU32 => a.overflowing_sub(b),
        Scalar::AddI32 | Scalar::AddK => signed(x.overflowing_add(y)),
        Scalar::SubI32 => signed(x.overflowing_sub(y)),
        Scalar::AddCarry => {
            let sum = u64::from(a) + u64::from(b) + u64::from(carry);
            (sum as u32, sum >> 32 != 0)
        }
        Scalar::SubBorrow => {
            let difference = i64::from(a) - i64::from(b) - i64::from(carry);
            (difference as u32, difference < 0)
        }
        Scalar::MinI32 => chosen(x < y),
        Scalar::MinU32 => chosen(a < b),
        Scalar::MaxI32 => chosen(x > y),
        Scalar::MaxU32 => chosen(a > b),
        Scalar::AbsDifference => {
            let value = x.wrapping_sub(y).wrapping_abs() as u32;
            (value, value != 0)
        }
        _ => (a.wrapping_mul(b), carry),
    };
    w.set(i.dst, value);
    w.scc = scc;
}

/// Executes a comparison of scalars.
pub fn compare(w: &mut Wave, i: &Inst, op: ScalarCompare) {
    let short = i.entry.format == Format::Sopk;
    let a = if short { w.scalar[usize::from(i.dst & 127)] } else { w.source(i, 0) };
    w.scc = match op {
        ScalarCompare::Signed(condition) => {
            let b = if short { constant(i) } else { w.source(i, 1) };
            holds(condition, &(a as i32), &(b as i32))
        }
        ScalarCompare::Unsigned(condition) => {
            let b = if short { i.imm } else { w.source(i, 1) };
            holds(condition, &a, &b)
        }
        ScalarCompare::BitClear(width) => wide(w, i, 0, width) >> bit_number(w, i, width) & 1 == 0,
        ScalarCompare::BitSet(width) => wide(w, i, 0, width) >> bit_number(w, i, width) & 1 != 0,
    };
}

fn bit_number(w: &Wave, i: &Inst, width: Width) -> u32 {
    w.source(i, 1) & if width == B64 { 63 } else { 31 }
}

/// Returns true if the condition holds of integers.
pub fn holds<T: Ord>(condition: Condition, a: &T, b: &T) -> bool {
    match condition {
        Condition::Less => a < b,
        Condition::Equal => a == b,
        Condition::LessEqual => a <= b,
        Condition::Greater => a > b,
        Condition::LessGreater => a != b,
        Condition::GreaterEqual => a >= b,
        Condition::True => true,
        _ => false,
    }
}

/// Returns true if a conditional branch is taken.
pub fn taken(w: &Wave, flag: Flag, wanted: bool) -> bool {
    let now = match flag {
        Flag::Scc => w.scc,
        Flag::VccZero => w.pair(code::VCC) == 0,
        Flag::ExecZero => w.exec() == 0,
    };
    now == wanted
}
