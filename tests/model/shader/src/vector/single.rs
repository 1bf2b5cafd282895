// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Single precision.
//!
//! Lanes are computed by the host, which rounds to nearest, with denormals flushed before and after
//! as the mode says. Where the mode rounds otherwise, or a lane is a NaN, the lane is computed
//! again in integers ([`crate::float`]).

use super::math;
use crate::{
    float::{
        self,
        Env,
        F32, //
    },
    isa::{
        Inst,
        Vector, //
    },
    mode::{
        Denormals,
        Mode,
        Rounding, //
    },
    wave::{
        LANES,
        Row,
        Wave,
        lanes,
        mask_of, //
    }, //
};

/// A lane in integers.
type Exact<const N: usize> = fn([u64; N], Env) -> u64;

/// Executes an operation of single precision. Returns false if it is none.
pub fn execute(w: &mut Wave, i: &Inst, op: Vector) -> bool {
    let env = w.mode.single();
    let flush = Env { denormals: Denormals::FLUSH, ..env };
    match op {
        Vector::AddF32 => run(w, i, env, |[a, b]| a + b, |[a, b], e| float::add(F32, a, b, e)),
        Vector::SubF32 => {
            run(w, i, env, |[a, b]| a - b, |[a, b], e| float::add(F32, a, negate(b), e))
        }
        Vector::SubRevF32 => {
            run(w, i, env, |[a, b]| b - a, |[a, b], e| float::add(F32, b, negate(a), e))
        }
        Vector::MulF32 => run(w, i, env, |[a, b]| a * b, |[a, b], e| float::mul(F32, a, b, e)),
        Vector::MulLegacyF32 => {
            run(w, i, env, |[a, b]| legacy(a, b), |[a, b], e| legacy_exact(a, b, e))
        }
        // These two flush whatever the mode says (LLVM, SIInstrInfo: "mad flushes denormals").
        Vector::MadF32 | Vector::MacF32 => run(
            w,
            i,
            flush,
            |[a, b, c]| tidy(a * b) + c,
            |[a, b, c], e| float::add(F32, float::mul(F32, a, b, e), c, e),
        ),
        Vector::MadLegacyF32 | Vector::MacLegacyF32 => run(
            w,
            i,
            flush,
            |[a, b, c]| tidy(legacy(a, b)) + c,
            |[a, b, c], e| float::add(F32, legacy_exact(a, b, e), c, e),
        ),
        Vector::FmaF32 => {
            run(w, i, env, |[a, b, c]| fused(a, b, c), |[a, b, c], e| float::fma(F32, a, b, c, e))
        }
        Vector::LdexpF32 => ldexp(w, i),
        Vector::FractF32 => rounded(w, i, fract),
        Vector::TruncF32 => rounded(w, i, f32::trunc),
        Vector::CeilF32 => rounded(w, i, f32::ceil),
        Vector::RoundEvenF32 => rounded(w, i, f32::round_ties_even),
        Vector::FloorF32 => rounded(w, i, f32::floor),
        Vector::ExpF32 => rounded(w, i, math::exp),
        Vector::LogF32 => rounded(w, i, math::log),
        Vector::RcpF32 => rounded(w, i, math::rcp),
        Vector::RsqF32 => rounded(w, i, math::rsq),
        Vector::SqrtF32 => rounded(w, i, f32::sqrt),
        Vector::SinF32 => rounded(w, i, math::sin),
        Vector::CosF32 => rounded(w, i, math::cos),
        Vector::FrexpMantF32 => {
            rounded(w, i, |a| f32::from_bits(float::split(F32, a.to_bits().into()).0 as u32))
        }
        Vector::CubeId => chosen(w, i, |[a, b, c]| math::cube(a, b, c).face),
        Vector::CubeS => chosen(w, i, |[a, b, c]| math::cube(a, b, c).s),
        Vector::CubeT => chosen(w, i, |[a, b, c]| math::cube(a, b, c).t),
        Vector::CubeMajor => chosen(w, i, |[a, b, c]| math::cube(a, b, c).major),
        _ if w.mode.ieee() => return extreme::<true>(w, i, op),
        _ => return extreme::<false>(w, i, op),
    }
    true
}

/// Minima and maxima. They keep denormals, whatever the mode says (LLVM, GCNSubtarget:
/// "supportsMinMaxDenormModes" from GFX9).
fn extreme<const IEEE: bool>(w: &mut Wave, i: &Inst, op: Vector) -> bool {
    let min = |a: f32, b: f32| minimum(a, b, IEEE);
    let max = |a: f32, b: f32| maximum(a, b, IEEE);
    match op {
        Vector::MinF32 => chosen(w, i, |[a, b]| min(a, b)),
        Vector::MaxF32 => chosen(w, i, |[a, b]| max(a, b)),
        // Without care for NaN: the second operand if the comparison fails.
        Vector::MinLegacyF32 => chosen(w, i, |[a, b]| if a < b { a } else { b }),
        Vector::MaxLegacyF32 => chosen(w, i, |[a, b]| if a >= b { a } else { b }),
        Vector::Min3F32 => chosen(w, i, |[a, b, c]| min(min(a, b), c)),
        Vector::Max3F32 => chosen(w, i, |[a, b, c]| max(max(a, b), c)),
        Vector::Med3F32 => chosen(w, i, |[a, b, c]| {
            if a.is_nan() || b.is_nan() || c.is_nan() {
                min(min(a, b), c)
            } else {
                max(min(a, b), min(max(a, b), c))
            }
        }),
        _ => return false,
    }
    true
}

/// A source of single precision for each lane, with ABS and NEG.
#[inline(always)]
pub fn source<'a>(w: &'a Wave, i: &Inst, n: usize, buffer: &'a mut Row) -> &'a Row {
    let abs = if i.flags.abs >> n & 1 != 0 { !SIGN } else { !0 };
    let neg = if i.flags.neg >> n & 1 != 0 { SIGN } else { 0 };
    // The decoder refuses both of what is no float.
    if abs == !0 && neg == 0 {
        return w.row(i, n, buffer);
    }
    let mut spread = [0; LANES];
    let row = w.row(i, n, &mut spread);
    for lane in 0..LANES {
        buffer[lane] = row[lane] & abs ^ neg;
    }
    buffer
}

const SIGN: u32 = 1 << 31;
/// The smallest number that is no denormal.
const NORMAL: i32 = 0x0080_0000;

fn negate(bits: u64) -> u64 {
    bits ^ F32.sign()
}

/// Turns magnitudes below a limit into zeros.
#[inline(always)]
fn flush(bits: u32, limit: i32) -> u32 {
    if ((bits & !SIGN) as i32) < limit { bits & SIGN } else { bits }
}

/// Flushes an intermediate result.
#[inline(always)]
fn tidy(a: f32) -> f32 {
    f32::from_bits(flush(a.to_bits(), NORMAL))
}

/// The product in which zero times anything is zero.
#[inline(always)]
fn legacy(a: f32, b: f32) -> f32 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

fn legacy_exact(a: u64, b: u64, env: Env) -> u64 {
    let zero = |x: u64| (if env.denormals.input { x } else { F32.flush(x) }) & !F32.sign() == 0;
    if zero(a) || zero(b) { 0 } else { float::mul(F32, a, b, env) }
}

/// Rounded once: the product is exact in a double, and the sum is made odd where it is not.
fn fused(a: f32, b: f32, c: f32) -> f32 {
    let exact =
        float::fma(F32, a.to_bits().into(), b.to_bits().into(), c.to_bits().into(), Env::HOST);
    f32::from_bits(exact as u32)
}

fn fract(a: f32) -> f32 {
    // Below one, though a small negative number rounds up to it.
    let rest = a - a.floor();
    if rest >= 1.0 { f32::from_bits(0x3f7f_ffff) } else { rest }
}

/// The lesser; -0 is less than +0. Of a NaN and a number the number, unless the NaN signals and the
/// mode is IEEE's.
#[inline(always)]
fn minimum(a: f32, b: f32, ieee: bool) -> f32 {
    if let Some(other) = with_nan(a, b, ieee) {
        return other;
    }
    if a < b || a == b && a.is_sign_negative() { a } else { b }
}

/// The greater; likewise.
#[inline(always)]
fn maximum(a: f32, b: f32, ieee: bool) -> f32 {
    if let Some(other) = with_nan(a, b, ieee) {
        return other;
    }
    if a > b || a == b && b.is_sign_negative() { a } else { b }
}

#[inline(always)]
fn with_nan(a: f32, b: f32, ieee: bool) -> Option<f32> {
    let quiet = |x: f32| Some(f32::from_bits(x.to_bits() | F32.quiet() as u32));
    let signals = |x: f32| ieee && F32.is_signaling(x.to_bits().into());
    match (a.is_nan(), b.is_nan()) {
        _ if signals(a) => quiet(a),
        _ if signals(b) => quiet(b),
        (true, _) => Some(b),
        (_, true) => Some(a),
        _ => None,
    }
}

/// Makes the first `N` sources ready.
#[inline(always)]
fn spread<const N: usize>(w: &mut Wave, i: &Inst) {
    for n in 0..N {
        w.spread(i, n);
    }
}

/// The first `N` sources, which are ready.
#[inline(always)]
fn floats<'a, const N: usize>(w: &'a Wave, i: &Inst) -> [&'a Row; N] {
    let mut rows = [w.float(i, 0); N];
    for (n, row) in rows.iter_mut().enumerate().skip(1) {
        *row = w.float(i, n);
    }
    rows
}

/// Arithmetic that the mode rounds.
#[inline(always)]
fn run<const N: usize>(
    w: &mut Wave,
    i: &Inst,
    env: Env,
    host: impl Fn([f32; N]) -> f32,
    exact: Exact<N>,
) {
    let mut out: Row = [0; LANES];
    let mut nan = false;
    spread::<N>(w, i);
    let rows = floats::<N>(w, i);
    let input = if env.denormals.input { 0 } else { NORMAL };
    let output = if env.denormals.output { 0 } else { NORMAL };
    for lane in 0..LANES {
        let operands = rows.map(|row| f32::from_bits(flush(row[lane], input)));
        let result = host(operands);
        nan |= result.is_nan();
        out[lane] = flush(result.to_bits(), output);
    }
    let again = match env.rounding {
        Rounding::NearestEven if nan => mask_of(|lane| f32::from_bits(out[lane]).is_nan()),
        Rounding::NearestEven => 0,
        _ => !0,
    };
    for lane in lanes(again) {
        out[lane] = exact(rows.map(|row| row[lane].into()), env) as u32;
    }
    finish(w, i, env, out);
}

/// A function that rounds to nearest in every mode, or not at all.
#[inline(always)]
fn rounded(w: &mut Wave, i: &Inst, f: impl Fn(f32) -> f32) {
    let env = Env { rounding: Rounding::NearestEven, ..w.mode.single() };
    w.spread(i, 0);
    let row = w.float(i, 0);
    let input = if env.denormals.input { 0 } else { NORMAL };
    let output = if env.denormals.output { 0 } else { NORMAL };
    let mut out: Row = [0; LANES];
    for lane in 0..LANES {
        let operand = f32::from_bits(flush(row[lane], input));
        let result = f(operand);
        out[lane] = if result.is_nan() { nan_of(operand) } else { flush(result.to_bits(), output) };
    }
    finish(w, i, env, out);
}

/// The NaN that a function of this operand gives.
fn nan_of(operand: f32) -> u32 {
    if operand.is_nan() { operand.to_bits() | F32.quiet() as u32 } else { F32.nan() as u32 }
}

/// A result that is one of the operands, or made of them without rounding.
#[inline(always)]
fn chosen<const N: usize>(w: &mut Wave, i: &Inst, f: impl Fn([f32; N]) -> f32) {
    spread::<N>(w, i);
    let rows = floats::<N>(w, i);
    let mut out: Row = [0; LANES];
    for lane in 0..LANES {
        out[lane] = f(rows.map(|row| f32::from_bits(row[lane]))).to_bits();
    }
    let env = w.mode.single();
    finish(w, i, env, out);
}

fn ldexp(w: &mut Wave, i: &Inst) {
    let env = w.mode.single();
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, by) = (source(w, i, 0, p), w.row(i, 1, q));
    let out: Row =
        std::array::from_fn(|lane| float::scale(F32, a[lane].into(), by[lane] as i32, env) as u32);
    finish(w, i, env, out);
}

/// OMOD, then CLAMP, then the write. With denormal results OMOD does nothing (ISA manual, "Output
/// modifiers").
#[inline(always)]
pub fn finish(w: &mut Wave, i: &Inst, env: Env, mut out: Row) {
    if i.flags.omod != 0 && !env.denormals.output {
        let factor = [1.0, 2.0, 4.0, 0.5][usize::from(i.flags.omod & 3)];
        for value in &mut out {
            *value = flush((f32::from_bits(*value) * factor).to_bits(), NORMAL);
        }
    }
    if i.flags.clamp {
        let mode = w.mode;
        for value in &mut out {
            *value = clamp(*value, mode);
        }
    }
    w.put(i.dst, &out);
}

/// Into [0, 1]. A NaN becomes 0, or stays, as the mode says.
fn clamp(bits: u32, mode: Mode) -> u32 {
    let value = f32::from_bits(bits);
    match value {
        v if v.is_nan() => {
            if mode.dx10_clamp() {
                0
            } else {
                bits
            }
        }
        v if v > 1.0 => 1.0f32.to_bits(),
        v if v > 0.0 => bits,
        _ => 0,
    }
}
