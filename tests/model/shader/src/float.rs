// SPDX-License-Identifier: GPL-2.0 OR MIT
//! IEEE 754 arithmetic in integers: exact results rounded as the mode register says.
//!
//! The host rounds to nearest and keeps denormals. The vector ALU uses it where that is what the
//! mode asks for, and this otherwise; a test holds one against the other.

use crate::mode::{
    Denormals,
    Rounding, //
};

/// A binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the fraction.
    pub fraction: u32,
    /// Bits of the exponent.
    pub exponent: u32,
}

/// Half precision.
pub const F16: Format = Format { fraction: 10, exponent: 5 };
/// Single precision.
pub const F32: Format = Format { fraction: 23, exponent: 8 };
/// Double precision.
pub const F64: Format = Format { fraction: 52, exponent: 11 };

/// Rounding and denormals of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Direction.
    pub rounding: Rounding,
    /// Denormals that are kept.
    pub denormals: Denormals,
}

impl Env {
    /// To nearest, denormals kept: as the host computes.
    pub const HOST: Env = Env { rounding: Rounding::NearestEven, denormals: Denormals::KEEP };
}

impl Format {
    fn fraction_mask(self) -> u64 {
        (1 << self.fraction) - 1
    }

    fn exponent_mask(self) -> u64 {
        (1 << self.exponent) - 1
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The sign bit.
    pub fn sign(self) -> u64 {
        1 << (self.fraction + self.exponent)
    }

    /// Positive infinity.
    pub fn infinity(self) -> u64 {
        self.exponent_mask() << self.fraction
    }

    /// The bit that makes a NaN quiet.
    pub fn quiet(self) -> u64 {
        1 << (self.fraction - 1)
    }

    /// The NaN of an invalid operation.
    pub fn nan(self) -> u64 {
        self.infinity() | self.quiet()
    }

    /// Returns true for any NaN.
    pub fn is_nan(self, bits: u64) -> bool {
        bits & !self.sign() > self.infinity()
    }

    /// Returns true for a signaling NaN.
    pub fn is_signaling(self, bits: u64) -> bool {
        self.is_nan(bits) && bits & self.quiet() == 0
    }

    /// Turns a denormal into a zero of its sign.
    pub fn flush(self, bits: u64) -> u64 {
        if bits & self.infinity() == 0 { bits & self.sign() } else { bits }
    }

    fn unpack(self, bits: u64) -> Number {
        let sign = bits & self.sign() != 0;
        let exponent = (bits >> self.fraction & self.exponent_mask()) as i32;
        let fraction = bits & self.fraction_mask();
        let (mantissa, exponent) = match exponent {
            0 => (fraction, 1),
            e => (fraction | 1 << self.fraction, e),
        };
        Number {
            sign,
            mantissa: mantissa.into(),
            exponent: exponent - self.bias() - self.fraction as i32,
            sticky: false,
        }
    }
}

/// A finite number: mantissa * 2^exponent, and whether something smaller than its last bit was cut.
#[derive(Clone, Copy, Debug)]
struct Number {
    sign: bool,
    mantissa: u128,
    exponent: i32,
    sticky: bool,
}

impl Number {
    fn product(self, other: Number) -> Number {
        Number {
            sign: self.sign != other.sign,
            mantissa: self.mantissa * other.mantissa,
            exponent: self.exponent + other.exponent,
            sticky: false,
        }
    }

    /// The same number with a smaller exponent as far as it has room, then cut to that exponent.
    fn align(self, exponent: i32) -> Number {
        let by = self.exponent - exponent;
        if by >= 0 {
            return Number { mantissa: self.mantissa << by, exponent, ..self };
        }
        let cut = by.unsigned_abs().min(127);
        let kept = self.mantissa >> cut;
        Number { mantissa: kept, exponent, sticky: kept << cut != self.mantissa, ..self }
    }

    /// The exact sum, or one that rounds like it. Mantissas have at most 106 bits.
    fn sum(self, other: Number, zero_sign: bool) -> Number {
        let (high, low) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let Some(room) =
            high.mantissa.leading_zeros().checked_sub(2).filter(|_| high.mantissa != 0)
        else {
            return Number { sign: low.sign && (low.mantissa != 0 || high.sign), ..low }
                .or_zero(zero_sign, high.sign);
        };
        let exponent = low.exponent.max(high.exponent - room as i32);
        let (a, b) = (high.align(exponent), low.align(exponent));
        let sticky = a.sticky || b.sticky;
        if a.sign == b.sign {
            return Number { sign: a.sign, mantissa: a.mantissa + b.mantissa, exponent, sticky };
        }
        // What was cut from the subtrahend is taken from the difference's last bit.
        let cut = u128::from(b.sticky);
        match a.mantissa.checked_sub(b.mantissa + cut) {
            Some(0) if !sticky => Number { sign: zero_sign, mantissa: 0, exponent, sticky },
            Some(mantissa) => Number { sign: a.sign, mantissa, exponent, sticky },
            None => Number { sign: b.sign, mantissa: b.mantissa - a.mantissa, exponent, sticky },
        }
    }

    /// Sign of a sum of zeros: theirs if it is the same, else that of the rounding.
    fn or_zero(self, zero_sign: bool, other: bool) -> Number {
        let sign = if self.mantissa != 0 || self.sign == other { self.sign } else { zero_sign };
        Number { sign, ..self }
    }

    /// Rounds to a format.
    fn round(self, format: Format, env: Env) -> u64 {
        let sign = if self.sign { format.sign() } else { 0 };
        if self.mantissa == 0 && !self.sticky {
            return sign;
        }
        let least = 1 - format.bias() - format.fraction as i32;
        let width = 128 - self.mantissa.leading_zeros() as i32;
        let exponent = (self.exponent + width - 1 - format.fraction as i32).max(least);
        let drop = exponent - self.exponent;
        let (mut kept, rest) = self.split(drop);
        if env.rounding.up(self.sign, kept & 1 == 1, rest) {
            kept += 1;
        }
        // A carry out of the fraction raises the exponent by itself.
        let biased = (exponent - least) as u64;
        let bits =
            if kept >> format.fraction == 0 { kept } else { (biased << format.fraction) + kept };
        if bits >= format.infinity() {
            return sign
                | if env.rounding.overflows(self.sign) {
                    format.infinity()
                } else {
                    format.infinity() - 1
                };
        }
        let bits = if env.denormals.output { bits } else { format.flush(bits) };
        sign | bits
    }

    /// The mantissa without its last `drop` bits, and how those compare with a half.
    fn split(self, drop: i32) -> (u64, Rest) {
        if drop <= 0 {
            let rest = if self.sticky { Rest::Low } else { Rest::None };
            return ((self.mantissa << drop.unsigned_abs()) as u64, rest);
        }
        if drop > 127 {
            return (0, Rest::Low);
        }
        let cut = self.mantissa & ((1 << drop) - 1);
        let half = 1 << (drop - 1);
        let rest = match cut.cmp(&half) {
            std::cmp::Ordering::Less if cut == 0 && !self.sticky => Rest::None,
            std::cmp::Ordering::Less => Rest::Low,
            std::cmp::Ordering::Equal if !self.sticky => Rest::Half,
            _ => Rest::High,
        };
        ((self.mantissa >> drop) as u64, rest)
    }
}

/// Remainder that rounding drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// Less than a half.
    Low,
    /// A half.
    Half,
    /// More than a half.
    High,
}

impl Rounding {
    /// Returns true if the magnitude is rounded up.
    fn up(self, negative: bool, odd: bool, rest: Rest) -> bool {
        match self {
            Rounding::NearestEven => rest == Rest::High || rest == Rest::Half && odd,
            Rounding::Up => rest != Rest::None && !negative,
            Rounding::Down => rest != Rest::None && negative,
            Rounding::Zero => false,
        }
    }

    /// Returns true if an overflow of this sign is an infinity.
    fn overflows(self, negative: bool) -> bool {
        match self {
            Rounding::NearestEven => true,
            Rounding::Up => !negative,
            Rounding::Down => negative,
            Rounding::Zero => false,
        }
    }
}

/// The result of an operation with a NaN: the first one, quiet.
pub fn propagate(format: Format, operands: &[u64]) -> Option<u64> {
    operands.iter().find(|bits| format.is_nan(**bits)).map(|bits| bits | format.quiet())
}

fn input(format: Format, bits: u64, env: Env) -> u64 {
    if env.denormals.input { bits } else { format.flush(bits) }
}

/// a + b.
pub fn add(format: Format, a: u64, b: u64, env: Env) -> u64 {
    if let Some(nan) = propagate(format, &[a, b]) {
        return nan;
    }
    let (a, b) = (input(format, a, env), input(format, b, env));
    let infinite = |x: u64| x & !format.sign() == format.infinity();
    match (infinite(a), infinite(b)) {
        (true, true) if a != b => format.nan(),
        (true, _) => a,
        (_, true) => b,
        _ => format
            .unpack(a)
            .sum(format.unpack(b), env.rounding == Rounding::Down)
            .round(format, env),
    }
}

/// a * b.
pub fn mul(format: Format, a: u64, b: u64, env: Env) -> u64 {
    if let Some(nan) = propagate(format, &[a, b]) {
        return nan;
    }
    let (a, b) = (input(format, a, env), input(format, b, env));
    match infinite_product(format, a, b) {
        Some(product) => product,
        None => format.unpack(a).product(format.unpack(b)).round(format, env),
    }
}

/// The product if a factor is infinite.
fn infinite_product(format: Format, a: u64, b: u64) -> Option<u64> {
    let magnitude = |x: u64| x & !format.sign();
    let infinite = |x: u64| magnitude(x) == format.infinity();
    if !infinite(a) && !infinite(b) {
        return None;
    }
    let zero = magnitude(a) == 0 || magnitude(b) == 0;
    Some(if zero { format.nan() } else { (a ^ b) & format.sign() | format.infinity() })
}

/// a * b + c, rounded once.
pub fn fma(format: Format, a: u64, b: u64, c: u64, env: Env) -> u64 {
    if let Some(nan) = propagate(format, &[a, b, c]) {
        return nan;
    }
    let [a, b, c] = [a, b, c].map(|x| input(format, x, env));
    if let Some(product) = infinite_product(format, a, b) {
        return if format.is_nan(product) { product } else { add(format, product, c, env) };
    }
    if c & !format.sign() == format.infinity() {
        return c;
    }
    let product = format.unpack(a).product(format.unpack(b));
    product.sum(format.unpack(c), env.rounding == Rounding::Down).round(format, env)
}

/// a * 2^n.
pub fn scale(format: Format, a: u64, n: i32, env: Env) -> u64 {
    if format.is_nan(a) {
        return a | format.quiet();
    }
    let a = input(format, a, env);
    if a & !format.sign() == format.infinity() {
        return a;
    }
    let number = format.unpack(a);
    // Enough to leave either end of any format.
    Number { exponent: number.exponent + n.clamp(-5000, 5000), ..number }.round(format, env)
}

/// The nearest number of another format. `env.denormals.input` is about `from`.
pub fn convert(from: Format, to: Format, a: u64, env: Env) -> u64 {
    let sign = if a & from.sign() != 0 { to.sign() } else { 0 };
    let fraction = a & from.fraction_mask();
    if a & !from.sign() >= from.infinity() {
        let shift = from.fraction.abs_diff(to.fraction);
        let payload =
            if from.fraction > to.fraction { fraction >> shift } else { fraction << shift };
        let quiet = if fraction != 0 { to.quiet() } else { 0 };
        return sign | to.infinity() | payload | quiet;
    }
    from.unpack(input(from, a, env)).round(to, env)
}

/// An integer as a float.
pub fn from_integer(format: Format, value: i64, env: Env) -> u64 {
    let mantissa = value.unsigned_abs().into();
    Number { sign: value < 0, mantissa, exponent: 0, sticky: false }.round(format, env)
}

/// Classes of V_CMP_CLASS, a bit each: signaling NaN, quiet NaN, then from -infinity to +infinity.
pub fn class(format: Format, bits: u64) -> u32 {
    let negative = bits & format.sign() != 0;
    let magnitude = bits & !format.sign();
    let rank = match magnitude {
        m if m > format.infinity() => return if format.is_signaling(bits) { 1 } else { 2 },
        m if m == format.infinity() => 3,
        0 => 0,
        m if m & format.infinity() == 0 => 1,
        _ => 2,
    };
    if negative { 1 << (5 - rank) } else { 1 << (6 + rank) }
}

/// Mantissa in [0.5, 1) and exponent of a number; 0 for what is not finite or is zero.
pub fn split(format: Format, bits: u64) -> (u64, i32) {
    let magnitude = bits & !format.sign();
    if magnitude == 0 || magnitude >= format.infinity() {
        return (bits, 0);
    }
    let number = format.unpack(bits);
    let width = 128 - number.mantissa.leading_zeros() as i32;
    let half = Number { exponent: -width, ..number };
    (half.round(format, Env::HOST), number.exponent + width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Numbers around what matters: extremes, denormals, neighbors, ties.
    fn number(format: Format, rng: &mut Rng) -> u64 {
        let width = format.fraction + format.exponent + 1;
        let any = rng.long() >> (64 - width);
        let fraction = any & format.fraction_mask();
        let sign = any & format.sign();
        match rng.below(8) {
            0 => sign | fraction >> rng.below(format.fraction as usize),
            1 => sign | format.infinity() - 1 - rng.below(4) as u64,
            2 => sign | [0, format.infinity(), format.nan(), 1][rng.below(4)],
            3 => sign | ((format.bias() as u64) << format.fraction) + rng.below(5) as u64,
            4 => {
                let near = (format.bias() as u64 + rng.below(60) as u64).wrapping_sub(30)
                    & format.exponent_mask();
                sign | near << format.fraction
                    | fraction & !(format.fraction_mask() >> rng.below(24))
            }
            _ => any,
        }
    }

    fn same32(a: u64, b: f32, what: &str) {
        let nan = F32.is_nan(a) && b.is_nan();
        assert!(nan || a == u64::from(b.to_bits()), "{what}: {a:#x}, host {:#x}", b.to_bits());
    }

    fn same64(a: u64, b: f64, what: &str) {
        let nan = F64.is_nan(a) && b.is_nan();
        assert!(nan || a == b.to_bits(), "{what}: {a:#x}, host {:#x}", b.to_bits());
    }

    #[test]
    fn rounding_to_nearest_is_the_hosts() {
        let mut rng = Rng::new(1);
        for _ in 0..400_000 {
            let [a, b, c] = [(); 3].map(|()| number(F32, &mut rng));
            let [x, y, z] = [a, b, c].map(|v| f32::from_bits(v as u32));
            same32(add(F32, a, b, Env::HOST), x + y, &format!("{a:#x} + {b:#x}"));
            same32(mul(F32, a, b, Env::HOST), x * y, &format!("{a:#x} * {b:#x}"));
            same32(
                fma(F32, a, b, c, Env::HOST),
                x.mul_add(y, z),
                &format!("{a:#x} * {b:#x} + {c:#x}"),
            );
            let [a, b, c] = [(); 3].map(|()| number(F64, &mut rng));
            let [x, y, z] = [a, b, c].map(f64::from_bits);
            same64(add(F64, a, b, Env::HOST), x + y, &format!("{a:#x} + {b:#x}"));
            same64(mul(F64, a, b, Env::HOST), x * y, &format!("{a:#x} * {b:#x}"));
            same64(
                fma(F64, a, b, c, Env::HOST),
                x.mul_add(y, z),
                &format!("{a:#x} * {b:#x} + {c:#x}"),
            );
            same32(convert(F64, F32, a, Env::HOST), x as f32, &format!("{a:#x} as single"));
            same32(
                from_integer(F32, a as i64, Env::HOST),
                a as i64 as f32,
                &format!("{} as single", a as i64),
            );
        }
    }

    #[test]
    fn halves_convert_both_ways() {
        for h in 0..=0xffffu64 {
            let wide = convert(F16, F32, h, Env::HOST);
            let back = convert(F32, F16, wide, Env::HOST);
            assert_eq!(back, if F16.is_nan(h) { h | F16.quiet() } else { h });
        }
        let half =
            |x: f32, rounding| convert(F32, F16, x.to_bits().into(), Env { rounding, ..Env::HOST });
        assert_eq!(half(65519.99, Rounding::NearestEven), 0x7bff);
        assert_eq!(half(65520.0, Rounding::NearestEven), 0x7c00);
        assert_eq!(half(1e9, Rounding::Zero), 0x7bff);
        assert_eq!(half(2.0f32.powi(-25) * 1.5, Rounding::NearestEven), 1);
    }

    #[test]
    fn classes_and_splitting() {
        assert_eq!(class(F32, 0x7f80_0001), 1);
        assert_eq!(class(F32, 0xffc0_0000), 2);
        let of = |x: f32| class(F32, x.to_bits().into());
        let all = [f32::NEG_INFINITY, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, f32::INFINITY];
        assert_eq!(all.map(of), [4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(split(F64, 12.0f64.to_bits()), (0.75f64.to_bits(), 4));
        assert_eq!(split(F32, (-1e-40f32).to_bits().into()).1, -132);
    }
}
