// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Conversions between formats. To integers they saturate, and a NaN becomes 0.

use super::{
    double,
    single, //
};
use crate::{
    float::{
        self,
        Env,
        F16,
        F32,
        F64,
        Format, //
    },
    isa::{
        Inst,
        Vector, //
    },
    mode::{
        Denormals,
        Rounding, //
    },
    wave::{
        LANES,
        Row,
        Wave, //
    }, //
};

/// Executes a conversion. Returns false if it is none.
pub fn execute(w: &mut Wave, i: &Inst, op: Vector) -> bool {
    match op {
        Vector::F32I32 => from_integer(w, i, |a| (a as i32).into()),
        Vector::F32U32 => from_integer(w, i, i64::from),
        Vector::F32Byte(n) => from_integer(w, i, |a| (a >> (8 * n) & 0xff).into()),
        Vector::OffsetF32I4 => offset4(w, i),
        Vector::U32F32 => to_integer(w, i, |a| a as u32),
        Vector::I32F32 => to_integer(w, i, |a| a as i32 as u32),
        Vector::RoundI32F32 => to_integer(w, i, |a| (f64::from(a) + 0.5).floor() as i32 as u32),
        Vector::FloorI32F32 => to_integer(w, i, |a| a.floor() as i32 as u32),
        Vector::FrexpExpF32 => to_integer(w, i, |a| float::split(F32, a.to_bits().into()).1 as u32),
        Vector::I32F64 => from_double(w, i, |a| a as i32 as u32),
        Vector::U32F64 => from_double(w, i, |a| a as u32),
        Vector::FrexpExpF64 => from_double(w, i, |a| float::split(F64, a.to_bits()).1 as u32),
        Vector::F64I32 => to_double(w, i, |a| f64::from(a as i32)),
        Vector::F64U32 => to_double(w, i, f64::from),
        Vector::F16F32 => to_half(w, i),
        Vector::F32F16 => from_half(w, i),
        Vector::F32F64 => narrow(w, i),
        Vector::F64F32 => widen(w, i),
        Vector::PackNormI16 => pack(w, i, |a| norm(a, -1.0, 32767.0)),
        Vector::PackNormU16 => pack(w, i, |a| norm(a, 0.0, 65535.0)),
        Vector::PackTowardZeroF16 => {
            // Toward zero in every mode.
            let denormals = w.mode.double().denormals;
            let env =
                Env { rounding: Rounding::Zero, denormals: Denormals { input: true, ..denormals } };
            pack(w, i, |a| float::convert(F32, F16, a.to_bits().into(), env) as u32);
        }
        Vector::PackU8F32 => pack_byte(w, i),
        _ => return false,
    }
    true
}

#[inline(always)]
fn from_integer(w: &mut Wave, i: &Inst, f: impl Fn(u32) -> i64) {
    let env = w.mode.single();
    let mut buffer = [0; LANES];
    let row = w.row(i, 0, &mut buffer);
    let out: Row = if env.rounding == Rounding::NearestEven {
        std::array::from_fn(|lane| (f(row[lane]) as f32).to_bits())
    } else {
        std::array::from_fn(|lane| float::from_integer(F32, f(row[lane]), env) as u32)
    };
    single::finish(w, i, env, out);
}

/// Four bits with a sign, in sixteenths.
fn offset4(w: &mut Wave, i: &Inst) {
    let env = w.mode.single();
    let mut buffer = [0; LANES];
    let row = w.row(i, 0, &mut buffer);
    let out: Row =
        std::array::from_fn(|lane| (((row[lane] << 28) as i32 >> 28) as f32 / 16.0).to_bits());
    single::finish(w, i, env, out);
}

fn flushed(format: Format, bits: u64, env: Env) -> u64 {
    if env.denormals.input { bits } else { format.flush(bits) }
}

#[inline(always)]
fn to_integer(w: &mut Wave, i: &Inst, f: impl Fn(f32) -> u32) {
    let env = w.mode.single();
    let mut buffer = [0; LANES];
    let row = single::source(w, i, 0, &mut buffer);
    let out: Row =
        std::array::from_fn(|n| f(f32::from_bits(flushed(F32, row[n].into(), env) as u32)));
    w.put(i.dst, &out);
}

#[inline(always)]
fn from_double(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> u32) {
    let env = w.mode.double();
    let row = double::source(w, i, 0);
    let out: Row = std::array::from_fn(|n| f(f64::from_bits(flushed(F64, row[n], env))));
    w.put(i.dst, &out);
}

#[inline(always)]
fn to_double(w: &mut Wave, i: &Inst, f: impl Fn(u32) -> f64) {
    let env = w.mode.double();
    let mut buffer = [0; LANES];
    let row = w.row(i, 0, &mut buffer);
    let out = std::array::from_fn(|lane| f(row[lane]).to_bits());
    double::finish(w, i, env, out);
}

/// A conversion's rounding and denormals: of operands as their format has it, of results as theirs.
fn between(from: Env, to: Env) -> Env {
    let denormals = Denormals { input: from.denormals.input, output: to.denormals.output };
    Env { rounding: to.rounding, denormals }
}

fn to_half(w: &mut Wave, i: &Inst) {
    let env = between(w.mode.single(), w.mode.double());
    let mut buffer = [0; LANES];
    let row = single::source(w, i, 0, &mut buffer);
    let half = |bits: u32| float::convert(F32, F16, bits.into(), env);
    let out: Row = std::array::from_fn(|lane| half_finish(half(row[lane]), i, w) as u32);
    w.put(i.dst, &out);
}

/// OMOD and CLAMP of a half.
fn half_finish(bits: u64, i: &Inst, w: &Wave) -> u64 {
    let env = w.mode.double();
    let mut bits = bits;
    if i.flags.omod != 0 && !env.denormals.output {
        bits = float::scale(F16, bits, [0, 1, 2, -1][usize::from(i.flags.omod & 3)], env);
    }
    if !i.flags.clamp {
        return bits;
    }
    let one = 0x3c00;
    match bits {
        b if F16.is_nan(b) => {
            if w.mode.dx10_clamp() {
                0
            } else {
                b
            }
        }
        b if b & F16.sign() != 0 => 0,
        b => b.min(one),
    }
}

fn from_half(w: &mut Wave, i: &Inst) {
    let env = between(w.mode.double(), w.mode.single());
    let (abs, neg) = (i.flags.abs & 1 != 0, i.flags.neg & 1 != 0);
    let mut buffer = [0; LANES];
    let row = w.row(i, 0, &mut buffer);
    let out: Row = std::array::from_fn(|lane| {
        let mut half = u64::from(row[lane] & 0xffff);
        if abs {
            half &= !F16.sign();
        }
        if neg {
            half ^= F16.sign();
        }
        float::convert(F16, F32, half, env) as u32
    });
    single::finish(w, i, env, out);
}

fn narrow(w: &mut Wave, i: &Inst) {
    let env = between(w.mode.double(), w.mode.single());
    let row = double::source(w, i, 0);
    let out: Row = std::array::from_fn(|lane| float::convert(F64, F32, row[lane], env) as u32);
    single::finish(w, i, env, out);
}

fn widen(w: &mut Wave, i: &Inst) {
    let env = between(w.mode.single(), w.mode.double());
    let mut buffer = [0; LANES];
    let row = single::source(w, i, 0, &mut buffer);
    let out = std::array::from_fn(|lane| float::convert(F32, F64, row[lane].into(), env));
    double::finish(w, i, env, out);
}

/// Two results of sixteen bits.
#[inline(always)]
fn pack(w: &mut Wave, i: &Inst, f: impl Fn(f32) -> u32) {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, b) = (single::source(w, i, 0, p), single::source(w, i, 1, q));
    let half = |bits: u32| f(f32::from_bits(bits)) & 0xffff;
    let out: Row = std::array::from_fn(|lane| half(a[lane]) | half(b[lane]) << 16);
    w.put(i.dst, &out);
}

/// A number in [least, 1] as a fraction of `one`.
fn norm(a: f32, least: f32, one: f32) -> u32 {
    if a.is_nan() { 0 } else { (a.clamp(least, 1.0) * one).round_ties_even() as i32 as u32 }
}

/// A byte, put into one of the third operand's four.
fn pack_byte(w: &mut Wave, i: &Inst) {
    let mut buffers = [[0; LANES]; 3];
    let [p, q, r] = &mut buffers;
    let (a, at, into) = (single::source(w, i, 0, p), w.row(i, 1, q), w.row(i, 2, r));
    let out: Row = std::array::from_fn(|lane| {
        let shift = 8 * (at[lane] & 3);
        let byte = f32::from_bits(a[lane]).round_ties_even() as u8;
        into[lane] & !(0xff << shift) | u32::from(byte) << shift
    });
    w.put(i.dst, &out);
}
