// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Double precision, by the host or in integers as single precision is.

use super::math;
use crate::{
    float::{
        self,
        Env,
        F64, //
    },
    isa::{
        Inst,
        Vector, //
    },
    mode::Rounding,
    wave::{
        LANES,
        Row64,
        Wave, //
    }, //
};

/// Executes an operation of double precision. Returns false if it is none.
pub fn execute(w: &mut Wave, i: &Inst, op: Vector) -> bool {
    let ieee = w.mode.ieee();
    match op {
        Vector::AddF64 => run(w, i, |[a, b]| a + b, |[a, b], e| float::add(F64, a, b, e)),
        Vector::MulF64 => run(w, i, |[a, b]| a * b, |[a, b], e| float::mul(F64, a, b, e)),
        Vector::FmaF64 => {
            run(w, i, |[a, b, c]| a.mul_add(b, c), |[a, b, c], e| float::fma(F64, a, b, c, e))
        }
        Vector::MinF64 => chosen(w, i, |[a, b]| {
            extreme(a, b, ieee, |a, b| a < b || a == b && a.is_sign_negative())
        }),
        Vector::MaxF64 => chosen(w, i, |[a, b]| {
            extreme(a, b, ieee, |a, b| a > b || a == b && b.is_sign_negative())
        }),
        Vector::LdexpF64 => ldexp(w, i),
        Vector::TruncF64 => rounded(w, i, f64::trunc),
        Vector::CeilF64 => rounded(w, i, f64::ceil),
        Vector::RoundEvenF64 => rounded(w, i, f64::round_ties_even),
        Vector::FloorF64 => rounded(w, i, f64::floor),
        Vector::FractF64 => rounded(w, i, math::fract64),
        // The manual promises less: programs refine these two.
        Vector::RcpF64 => rounded(w, i, |a| 1.0 / a),
        Vector::RsqF64 => rounded(w, i, math::rsq64),
        Vector::SqrtF64 => rounded(w, i, f64::sqrt),
        Vector::FrexpMantF64 => rounded(w, i, |a| f64::from_bits(float::split(F64, a.to_bits()).0)),
        _ => return false,
    }
    true
}

/// A source of double precision for each lane, with ABS and NEG.
#[inline(always)]
pub fn source(w: &Wave, i: &Inst, n: usize) -> Row64 {
    let mut row = w.row_double(i, n);
    if i.flags.abs >> n & 1 != 0 {
        row.iter_mut().for_each(|bits| *bits &= !F64.sign());
    }
    if i.flags.neg >> n & 1 != 0 {
        row.iter_mut().for_each(|bits| *bits ^= F64.sign());
    }
    row
}

fn input(bits: u64, env: Env) -> u64 {
    if env.denormals.input { bits } else { F64.flush(bits) }
}

fn output(bits: u64, env: Env) -> u64 {
    if env.denormals.output { bits } else { F64.flush(bits) }
}

#[inline(always)]
fn run<const N: usize>(
    w: &mut Wave,
    i: &Inst,
    host: impl Fn([f64; N]) -> f64,
    exact: fn([u64; N], Env) -> u64,
) {
    let env = w.mode.double();
    let mut n = 0;
    let rows = [(); N].map(|()| {
        n += 1;
        source(w, i, n - 1)
    });
    let nearest = env.rounding == Rounding::NearestEven;
    let out = std::array::from_fn(|lane| {
        let operands = rows.each_ref().map(|row| row[lane]);
        let result = host(operands.map(|bits| f64::from_bits(input(bits, env))));
        if result.is_nan() || !nearest {
            exact(operands, env)
        } else {
            output(result.to_bits(), env)
        }
    });
    finish(w, i, env, out);
}

#[inline(always)]
fn rounded(w: &mut Wave, i: &Inst, f: impl Fn(f64) -> f64) {
    let env = w.mode.double();
    let row = source(w, i, 0);
    let out = std::array::from_fn(|lane| {
        let operand = input(row[lane], env);
        let result = f(f64::from_bits(operand)).to_bits();
        match (F64.is_nan(result), F64.is_nan(operand)) {
            (true, true) => operand | F64.quiet(),
            (true, false) => F64.nan(),
            _ => output(result, env),
        }
    });
    finish(w, i, env, out);
}

#[inline(always)]
fn chosen(w: &mut Wave, i: &Inst, f: impl Fn([f64; 2]) -> f64) {
    let env = w.mode.double();
    let (a, b) = (source(w, i, 0), source(w, i, 1));
    let out =
        std::array::from_fn(|lane| f([f64::from_bits(a[lane]), f64::from_bits(b[lane])]).to_bits());
    finish(w, i, env, out);
}

/// The operand that `first` prefers; a NaN loses, unless it signals and the mode is IEEE's.
fn extreme(a: f64, b: f64, ieee: bool, first: impl Fn(f64, f64) -> bool) -> f64 {
    let signals = |x: f64| ieee && F64.is_signaling(x.to_bits());
    let quiet = |x: f64| f64::from_bits(x.to_bits() | F64.quiet());
    match (a.is_nan(), b.is_nan()) {
        _ if signals(a) => quiet(a),
        _ if signals(b) => quiet(b),
        (true, _) => b,
        (_, true) => a,
        _ => {
            if first(a, b) {
                a
            } else {
                b
            }
        }
    }
}

fn ldexp(w: &mut Wave, i: &Inst) {
    let env = w.mode.double();
    let mut buffer = [0; LANES];
    let a = source(w, i, 0);
    let by = w.row(i, 1, &mut buffer);
    let out = std::array::from_fn(|lane| float::scale(F64, a[lane], by[lane] as i32, env));
    finish(w, i, env, out);
}

/// OMOD, CLAMP and the write.
pub fn finish(w: &mut Wave, i: &Inst, env: Env, mut out: Row64) {
    if i.flags.omod != 0 && !env.denormals.output {
        let factor = [1.0, 2.0, 4.0, 0.5][usize::from(i.flags.omod & 3)];
        out.iter_mut()
            .for_each(|bits| *bits = F64.flush((f64::from_bits(*bits) * factor).to_bits()));
    }
    if i.flags.clamp {
        let keep_nan = !w.mode.dx10_clamp();
        out.iter_mut().for_each(|bits| {
            let value = f64::from_bits(*bits);
            if !(keep_nan && value.is_nan()) {
                *bits = if value > 0.0 { value.min(1.0).to_bits() } else { 0 };
            }
        });
    }
    w.put64(i.dst, &out);
}
