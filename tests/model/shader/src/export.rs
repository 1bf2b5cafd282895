// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Exports of vertices and pixels, and parameters that pixels interpolate: all that passes between
//! a program of a draw and the fixed functions.

use std::collections::BTreeMap;

use crate::{
    gfx7::exported,
    isa::{
        Inst,
        Interpolate,
        code, //
    },
    wave::{
        LANES,
        Row,
        Wave,
        lanes, //
    }, //
};

/// Targets of exports (ISA manual, "EXP").
pub mod target {
    #![allow(missing_docs, reason = "the names say it")]
    pub const DEPTH: u8 = 8;
    pub const POSITION: u8 = 12;
    pub const PARAMETER: u8 = 32;
}

/// Components that were exported to a target.
#[derive(Clone)]
pub struct Export {
    /// The components of each lane. Two to a register, they stand in the first two rows.
    pub rows: [Row; 4],
    /// Components that were named.
    pub mask: u8,
    /// Two components a register.
    pub compressed: bool,
}

/// The exports of a wave.
#[derive(Clone, Default)]
pub struct Exports {
    targets: BTreeMap<u8, Export>,
    /// Lanes that the last export with VM left valid.
    valid: Option<u64>,
}

impl Exports {
    /// Returns the export to a target.
    pub fn get(&self, target: u8) -> Option<&Export> {
        self.targets.get(&target)
    }

    /// A dword of an export; zero if there is none.
    pub fn word(&self, target: u8, component: usize, lane: usize) -> u32 {
        self.targets.get(&target).map_or(0, |export| export.rows[component][lane])
    }

    /// One more than the highest parameter that was exported.
    pub fn parameters(&self) -> u8 {
        let last = self.targets.range(target::PARAMETER..).next_back();
        last.map_or(0, |(of, _)| of - target::PARAMETER + 1)
    }

    /// Lanes of pixels that go on.
    pub fn valid(&self) -> u64 {
        self.valid.unwrap_or(!0)
    }

    /// Executes an export.
    pub(crate) fn execute(&mut self, w: &Wave, i: &Inst) {
        let (mask, target) = ((i.imm & 15) as u8, (i.imm >> 4) as u8);
        let empty = || Export { rows: [[0; LANES]; 4], mask: 0, compressed: false };
        let export = self.targets.entry(target).or_insert_with(empty);
        export.mask |= mask;
        export.compressed = i.flags.compr;
        for (n, register) in exported(i).into_iter().enumerate() {
            let components =
                if i.flags.compr { 3u8.checked_shl(2 * n as u32).unwrap_or(0) } else { 1 << n };
            if mask & components & 15 == 0 {
                continue;
            }
            for lane in lanes(w.exec()) {
                export.rows[n][lane] = w.vector[register][lane];
            }
        }
        if i.flags.vm {
            self.valid = Some(w.exec());
        }
    }
}

/// A component of a parameter: at the first vertex, and how it differs at the other two.
pub type Plane = [f32; 3];

/// Parameters of a primitive, component by component.
#[derive(Clone, Default)]
pub struct Parameters(pub Vec<[Plane; 4]>);

impl Parameters {
    /// Executes an interpolation. Products and sums are rounded together: how
    /// hardware rounds them is not said.
    pub(crate) fn execute(&self, w: &mut Wave, i: &Inst, op: Interpolate) {
        let none = [0.0; 3];
        let plane = self.0.get((i.imm >> 2) as usize).map_or(none, |of| of[(i.imm & 3) as usize]);
        let [first, second, third] = plane;
        let fused = |a: f32, b: u32, c: u32| {
            let product = f64::from(a) * f64::from(f32::from_bits(b));
            ((product + f64::from(f32::from_bits(c))) as f32).to_bits()
        };
        let source = |w: &Wave, lane: usize| {
            w.vector[usize::from(i.src[0].saturating_sub(code::VGPR))][lane]
        };
        let out: Row = std::array::from_fn(|lane| match op {
            Interpolate::First => fused(second, source(w, lane), first.to_bits()),
            Interpolate::Second => {
                fused(third, source(w, lane), w.vector[usize::from(i.dst)][lane])
            }
            Interpolate::Move => [second, third, first][usize::from(i.src[0]) % 3].to_bits(),
        });
        w.put(i.dst, &out);
    }
}
