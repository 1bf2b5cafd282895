// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Functions that hardware gives within one unit in the last place (ISA manual, the VOP1
//! instructions): computed in double precision, then rounded, which is nearer than it promises.

use std::f64::consts::TAU;

/// Beyond this many turns sine and cosine are 0 and 1 (ISA manual, V_SIN_F32).
const TURNS: f32 = 256.0;

pub fn exp(a: f32) -> f32 {
    f64::from(a).exp2() as f32
}

pub fn log(a: f32) -> f32 {
    f64::from(a).log2() as f32
}

pub fn rcp(a: f32) -> f32 {
    (1.0 / f64::from(a)) as f32
}

pub fn rsq(a: f32) -> f32 {
    // Of -0 it is -infinity.
    if a == 0.0 { 1.0 / a } else { (1.0 / f64::from(a).sqrt()) as f32 }
}

/// The sine of so many turns.
pub fn sin(a: f32) -> f32 {
    match a {
        a if a.abs() > TURNS && a.is_finite() => 0.0,
        a => (f64::from(a).fract() * TAU).sin() as f32,
    }
}

/// The cosine of so many turns.
pub fn cos(a: f32) -> f32 {
    match a {
        a if a.abs() > TURNS && a.is_finite() => 1.0,
        a => (f64::from(a).fract() * TAU).cos() as f32,
    }
}

/// A direction on a cube: face, coordinates, twice the major axis.
pub struct Cube {
    pub face: f32,
    pub s: f32,
    pub t: f32,
    pub major: f32,
}

/// Projects a direction (ISA manual, V_CUBEID_F32 and its siblings).
pub fn cube(x: f32, y: f32, z: f32) -> Cube {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let flip = |value: f32, by: f32| if by < 0.0 { -value } else { value };
    let below = |by: f32| f32::from(u8::from(by < 0.0));
    if az >= ax && az >= ay {
        Cube { face: 4.0 + below(z), s: flip(x, z), t: -y, major: 2.0 * z }
    } else if ay >= ax {
        Cube { face: 2.0 + below(y), s: x, t: flip(z, y), major: 2.0 * y }
    } else {
        Cube { face: below(x), s: -flip(z, x), t: -y, major: 2.0 * x }
    }
}

/// The parts of a double that [0, 1) holds.
pub fn fract64(a: f64) -> f64 {
    let rest = a - a.floor();
    if rest >= 1.0 { f64::from_bits(0x3fef_ffff_ffff_ffff) } else { rest }
}

pub fn rsq64(a: f64) -> f64 {
    if a == 0.0 { 1.0 / a } else { 1.0 / a.sqrt() }
}
