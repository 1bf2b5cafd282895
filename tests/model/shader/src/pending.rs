// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Results on their way, and S_WAITCNT (ISA manual, "Data dependency resolution").
//!
//! Vector memory returns in order and counts in VMCNT. The local data share returns in order too,
//! scalar memory in any, and both count in LGKMCNT. A flat instruction counts in both, but what it
//! loads from memory is there when VMCNT says so, and in LGKMCNT it comes after what the local data
//! share was asked before: Mesa's compiler waits for no more. A register that a
//! result is on its way to may not be used: what is in it is not said.

use std::collections::VecDeque;

use crate::regset::RegSet;

/// A result on its way: its registers, and the lanes that it writes.
#[derive(Clone, Copy, Debug)]
struct Coming {
    unit: Unit,
    registers: RegSet,
    lanes: u64,
}

/// VMCNT has four bits: the sixteenth access waits for the first.
const VECTOR_MAX: usize = 15;
/// LGKMCNT has four bits on this generation.
const SCALAR_MAX: usize = 15;

/// Unit that an instruction's result comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Buffers, flat addresses and images.
    Vector,
    /// Local data share.
    Lds,
    /// Scalar memory.
    Scalar,
}

/// Results on their way.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    vector: VecDeque<Coming>,
    others: VecDeque<Coming>,
    /// All registers of both.
    all: RegSet,
}

impl Pending {
    /// Notes an instruction that will write `registers` of these lanes.
    pub fn issue(&mut self, unit: Unit, registers: RegSet, lanes: u64) {
        let coming = Coming { unit, registers, lanes };
        if unit == Unit::Vector {
            if self.vector.len() == VECTOR_MAX {
                self.vector.pop_front();
            }
            self.vector.push_back(coming);
        } else {
            self.count(coming);
        }
        self.sum();
    }

    /// Notes that the instruction was a flat one, which counts in LGKMCNT too.
    pub fn was_flat(&mut self) {
        self.count(Coming { unit: Unit::Lds, registers: RegSet::default(), lanes: 0 });
        self.sum();
    }

    fn count(&mut self, coming: Coming) {
        if self.others.len() == SCALAR_MAX && self.in_order() {
            self.others.pop_front();
        }
        self.others.push_back(coming);
    }

    fn in_order(&self) -> bool {
        self.others.iter().all(|coming| coming.unit == Unit::Lds)
    }

    fn sum(&mut self) {
        self.all = RegSet::default();
        self.vector.iter().chain(&self.others).for_each(|coming| self.all.join(&coming.registers));
    }

    /// S_WAITCNT: VMCNT in bits 3:0, LGKMCNT in 11:8.
    pub fn wait(&mut self, imm: u32) {
        let (vector, others) = ((imm & 15) as usize, (imm >> 8 & 15) as usize);
        if vector < self.vector.len() && vector < VECTOR_MAX {
            self.vector.drain(..self.vector.len() - vector);
        }
        // With anything that comes in no order, only zero says which have come.
        if others == 0 {
            self.others.clear();
        } else if self.in_order() && others < self.others.len() {
            self.others.drain(..self.others.len() - others);
        }
        self.sum();
    }

    /// Returns true if nothing is on its way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.others.is_empty()
    }

    /// Returns true if an instruction that acts on `lanes` uses a register before its content has
    /// come. Units that return in order may write one twice, and other lanes of a vector register
    /// may be used: compilers do so on the two sides of a branch.
    pub fn too_early(
        &self,
        reads: &RegSet,
        writes: &RegSet,
        unit: Option<Unit>,
        lanes: u64,
    ) -> bool {
        if !reads.meets(&self.all) && !writes.meets(&self.all) {
            return false;
        }
        self.vector.iter().chain(&self.others).any(|coming| {
            let ordered = unit == Some(coming.unit) && coming.unit != Unit::Scalar;
            let clash =
                reads.meets(&coming.registers) || writes.meets(&coming.registers) && !ordered;
            clash && (coming.unit == Unit::Scalar || coming.lanes & lanes != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(n: u16) -> RegSet {
        let mut set = RegSet::default();
        set.add_vector(n, 1);
        set
    }

    fn early(p: &Pending, n: u16) -> bool {
        p.too_early(&v(n), &RegSet::default(), None, 1)
    }

    #[test]
    fn vector_memory_returns_in_order() {
        let mut p = Pending::default();
        p.issue(Unit::Vector, v(1), 3);
        p.issue(Unit::Vector, v(2), 3);
        assert!(early(&p, 1) && early(&p, 2) && !early(&p, 3));
        p.wait(0xf71);
        assert!(!early(&p, 1) && early(&p, 2));
        p.wait(0x3f70);
        assert!(p.is_empty());
    }

    #[test]
    fn only_zero_covers_scalar_memory() {
        let mut p = Pending::default();
        p.issue(Unit::Lds, v(1), 3);
        p.issue(Unit::Scalar, v(2), 3);
        p.wait(0x17f);
        assert!(early(&p, 1) && early(&p, 2));
        p.wait(0x07f);
        assert!(p.is_empty());
    }

    #[test]
    fn flat_instructions_count_behind_the_local_data_share() {
        let mut p = Pending::default();
        p.issue(Unit::Lds, v(1), 3);
        p.issue(Unit::Lds, v(2), 3);
        p.issue(Unit::Vector, v(3), 3);
        p.was_flat();
        p.wait(0x27f);
        assert!(!early(&p, 1) && early(&p, 2) && early(&p, 3));
        p.wait(0x17f);
        assert!(!early(&p, 2) && early(&p, 3), "the flat load's result counts by VMCNT");
        p.wait(0x170);
        assert!(!early(&p, 3));
    }

    #[test]
    fn a_second_load_may_follow_the_first_into_a_register() {
        let mut p = Pending::default();
        p.issue(Unit::Vector, v(1), 3);
        assert!(!p.too_early(&RegSet::default(), &v(1), Some(Unit::Vector), 1));
        assert!(p.too_early(&RegSet::default(), &v(1), None, 1));
        assert!(!p.too_early(&RegSet::default(), &v(1), None, 4), "lanes that it does not write");
    }
}
