// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Data and number formats of buffers and images (ISA manual, "Buffer resource descriptor"; numbers
//! as in Mesa's `gfx7.json`).

use crate::{
    float::{
        self,
        Env,
        F16,
        F32,
        Format as Float, //
    },
    mode::Rounding, //
};

/// Four components, as bits.
pub type Texel = [u32; 4];

/// A format: widths of the components from the lowest bit, and what the bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    widths: [u8; 4],
    number: Number,
}

/// Meaning of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Number {
    Unorm,
    Snorm,
    Uscaled,
    Sscaled,
    Uint,
    Sint,
    Float,
    Srgb,
}

impl Number {
    /// From NUM_FORMAT.
    fn parse(number: u32) -> Option<Number> {
        Some(match number {
            0 => Number::Unorm,
            1 | 6 => Number::Snorm,
            2 => Number::Uscaled,
            3 => Number::Sscaled,
            4 => Number::Uint,
            5 => Number::Sint,
            7 => Number::Float,
            9 => Number::Srgb,
            _ => return None,
        })
    }

    /// Returns true for integers, which are not filtered and whose 1 is an integer.
    pub fn is_integer(self) -> bool {
        matches!(self, Number::Uint | Number::Sint)
    }
}

/// Widths by DATA_FORMAT; those from 16 are of images alone.
fn widths(data: u32) -> Option<[u8; 4]> {
    Some(match data {
        1 => [8, 0, 0, 0],
        2 => [16, 0, 0, 0],
        3 => [8, 8, 0, 0],
        4 => [32, 0, 0, 0],
        5 => [16, 16, 0, 0],
        6 => [11, 11, 10, 0],
        7 => [10, 11, 11, 0],
        8 => [2, 10, 10, 10],
        9 => [10, 10, 10, 2],
        10 => [8, 8, 8, 8],
        11 => [32, 32, 0, 0],
        12 => [16, 16, 16, 16],
        13 => [32, 32, 32, 0],
        14 => [32, 32, 32, 32],
        16 => [5, 6, 5, 0],
        17 => [5, 5, 5, 1],
        18 => [1, 5, 5, 5],
        19 => [4, 4, 4, 4],
        20 => [24, 8, 0, 0],
        21 => [8, 24, 0, 0],
        _ => return None,
    })
}

impl Format {
    /// From DATA_FORMAT and NUM_FORMAT. `None` for what is reserved or not implemented.
    pub fn new(data: u32, number: u32) -> Option<Format> {
        let (widths, number) = (widths(data)?, Number::parse(number)?);
        let half = |width: &u8| matches!(width, 0 | 10 | 11 | 16 | 32);
        let fits = number != Number::Float || widths.iter().all(half) && data != 9 && data != 8;
        fits.then_some(Format { widths, number })
    }

    /// Size in bytes.
    pub fn bytes(self) -> usize {
        self.widths.iter().map(|w| usize::from(*w)).sum::<usize>() / 8
    }

    /// Returns the meaning of the bits.
    pub fn number(self) -> Number {
        self.number
    }

    /// Returns the number of components.
    pub fn components(self) -> usize {
        self.widths.iter().filter(|width| **width != 0).count()
    }

    /// Components within what the format holds, before they are blended.
    pub fn clamped(self, texel: Texel) -> Texel {
        let within =
            |least: f32| texel.map(|bits| f32::from_bits(bits).clamp(least, 1.0).to_bits());
        match self.number {
            Number::Unorm | Number::Srgb => within(0.0),
            Number::Snorm => within(-1.0),
            _ => texel,
        }
    }

    /// The 1 of missing components.
    pub fn one(self) -> u32 {
        if self.number.is_integer() { 1 } else { 1.0f32.to_bits() }
    }

    /// Converts bytes of memory to components; missing ones are 0, 0, 0, 1.
    pub fn load(self, bytes: &[u8]) -> Texel {
        let all = bytes.iter().take(16).rev().fold(0u128, |v, b| v << 8 | u128::from(*b));
        let mut out = [0, 0, 0, self.one()];
        let mut at = 0;
        for (n, width) in self.widths.into_iter().enumerate().filter(|(_, w)| *w != 0) {
            let raw = (all >> at) as u32 & mask(width);
            out[n] = self.component(raw, width, n == 3);
            at += width;
        }
        out
    }

    fn component(self, raw: u32, width: u8, alpha: bool) -> u32 {
        let signed = ((raw << (32 - width)) as i32) >> (32 - width);
        let most = f64::from(mask(width));
        let value = match self.number {
            Number::Uint => return raw,
            Number::Sint => return signed as u32,
            Number::Float => return float_from(raw, width),
            Number::Unorm => (f64::from(raw) / most) as f32,
            Number::Srgb if alpha => (f64::from(raw) / most) as f32,
            Number::Srgb => linear(f64::from(raw) / most) as f32,
            Number::Snorm => ((f64::from(signed) / f64::from(mask(width) >> 1)) as f32).max(-1.0),
            Number::Uscaled => raw as f32,
            Number::Sscaled => signed as f32,
        };
        value.to_bits()
    }

    /// Converts components to bytes of memory. Returns how many.
    pub fn store(self, texel: Texel, bytes: &mut [u8; 16]) -> usize {
        let mut all = 0u128;
        let mut at = 0;
        for (n, width) in self.widths.into_iter().enumerate().filter(|(_, w)| *w != 0) {
            all |= u128::from(self.raw(texel[n], width, n == 3) & mask(width)) << at;
            at += width;
        }
        bytes.copy_from_slice(&all.to_le_bytes());
        self.bytes()
    }

    fn raw(self, bits: u32, width: u8, alpha: bool) -> u32 {
        let value = f32::from_bits(bits);
        let most = f64::from(mask(width));
        let half = f64::from(mask(width) >> 1);
        let number = |v: f32| if v.is_nan() { 0.0 } else { f64::from(v) };
        match self.number {
            Number::Uint => bits.min(mask(width)),
            Number::Sint => {
                let limit = (mask(width) >> 1) as i32;
                (bits as i32).clamp(-limit - 1, limit) as u32
            }
            Number::Float => float_to(bits, width),
            Number::Srgb if !alpha => {
                (curved(number(value).clamp(0.0, 1.0)) * most).round_ties_even() as u32
            }
            Number::Unorm | Number::Srgb => {
                (number(value).clamp(0.0, 1.0) * most).round_ties_even() as u32
            }
            Number::Snorm => {
                (number(value).clamp(-1.0, 1.0) * half).round_ties_even() as i32 as u32
            }
            Number::Uscaled => number(value).clamp(0.0, most) as u32,
            Number::Sscaled => number(value).clamp(-half - 1.0, half) as i32 as u32,
        }
    }
}

fn mask(width: u8) -> u32 {
    !0 >> (32 - u32::from(width))
}

/// Floats of 10 and 11 bits are halves without sign and with a shorter fraction.
fn float_from(raw: u32, width: u8) -> u32 {
    let half = match width {
        32 => return raw,
        16 => raw,
        _ => raw << (15 - width),
    };
    float::convert(F16, F32, half.into(), Env::HOST) as u32
}

fn float_to(bits: u32, width: u8) -> u32 {
    let small = |fraction| {
        let format = Float { fraction, exponent: 5 };
        let positive =
            if bits >> 31 != 0 && !F32.is_nan(bits.into()) { 0 } else { bits & 0x7fff_ffff };
        float::convert(F32, format, positive.into(), Env { rounding: Rounding::Zero, ..Env::HOST })
            as u32
    };
    match width {
        32 => bits,
        16 => float::convert(F32, F16, bits.into(), Env::HOST) as u32,
        11 => small(6),
        _ => small(5),
    }
}

/// sRGB to linear (IEC 61966-2-1).
fn linear(c: f64) -> f64 {
    if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

/// Linear to sRGB.
fn curved(c: f64) -> f64 {
    if c <= 0.0031308 { c * 12.92 } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn what_is_stored_is_loaded_again() {
        let mut rng = Rng::new(3);
        for (data, number) in (1..22).flat_map(|d| (0..10).map(move |n| (d, n))) {
            let Some(format) = Format::new(data, number) else { continue };
            for _ in 0..200 {
                let mut bytes = [0; 16];
                bytes.iter_mut().for_each(|b| *b = rng.word() as u8);
                let len = format.bytes();
                let texel = format.load(&bytes[..len]);
                let nan = |bits: &u32| number == 7 && f32::from_bits(*bits).is_nan();
                if texel.iter().any(nan) {
                    continue;
                }
                let mut again = [0; 16];
                assert_eq!(format.store(texel, &mut again), len);
                // The lowest signed value means what the next one means; scaled words lose bits.
                let same = format.load(&again[..len]) == texel;
                assert!(
                    same || matches!(number, 2 | 3),
                    "format {data} {number}: {bytes:x?} {again:x?}"
                );
            }
        }
    }

    #[test]
    fn numbers_that_are_known() {
        let load = |d, n, b: &[u8]| Format::new(d, n).unwrap().load(b).map(f32::from_bits);
        assert_eq!(load(10, 0, &[255, 0, 51, 255]), [1.0, 0.0, 0.2, 1.0]);
        assert_eq!(load(1, 1, &[0x80]), [-1.0, 0.0, 0.0, 1.0]);
        assert_eq!(load(6, 7, &[0xc0, 0x03, 0x1e, 0x78]), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(load(5, 7, &[0, 0x3c, 0, 0xc0]), [1.0, -2.0, 0.0, 1.0]);
        let mut bytes = [0; 16];
        let half = |x: f32| x.to_bits();
        assert_eq!(
            Format::new(10, 9)
                .unwrap()
                .store([half(0.5), half(0.0), half(1.0), half(0.5)], &mut bytes),
            4
        );
        assert_eq!(bytes[..4], [188, 0, 255, 128]);
    }
}
