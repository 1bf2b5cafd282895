// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Results on their way, and S_WAITCNT (ISA manual, "Data dependency resolution").
//!
//! Vector memory returns in order and counts in VMCNT. The local data share returns in order too,
//! scalar memory in any, and both count in LGKMCNT. A flat instruction counts in both, but what it
//! loads from memory is there when VMCNT says so: Mesa's compiler waits for no more. A register that a
//! result is on its way to may not be used: what is in it is not said.

use std::collections::VecDeque;

use crate::regset::RegSet;

/// VMCNT has four bits: the sixteenth access waits for the first.
const VECTOR_MAX: usize = 15;
/// LGKMCNT has four bits on this generation.
const SCALAR_MAX: usize = 15;

/// Which unit an instruction's result comes from.
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
    vector: VecDeque<RegSet>,
    others: VecDeque<(Unit, RegSet)>,
    /// All registers of `vector`.
    by_vector: RegSet,
    /// All registers of `others` that come in order.
    by_lds: RegSet,
    /// The rest.
    unordered: RegSet,
}

impl Pending {
    /// Notes an instruction that will write `registers`.
    pub fn issue(&mut self, unit: Unit, registers: RegSet) {
        if unit == Unit::Vector {
            if self.vector.len() == VECTOR_MAX {
                self.vector.pop_front();
            }
            self.vector.push_back(registers);
        } else {
            if self.others.len() == SCALAR_MAX && self.in_order() {
                self.others.pop_front();
            }
            self.others.push_back((unit, registers));
        }
        self.sum();
    }

    fn in_order(&self) -> bool {
        self.others.iter().all(|(unit, _)| *unit == Unit::Lds)
    }

    fn sum(&mut self) {
        self.by_vector = RegSet::default();
        self.by_lds = RegSet::default();
        self.unordered = RegSet::default();
        self.vector.iter().for_each(|set| self.by_vector.join(set));
        for (unit, set) in &self.others {
            if *unit == Unit::Lds { self.by_lds.join(set) } else { self.unordered.join(set) }
        }
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

    /// Returns true if an instruction uses a register before its content has come. A unit that
    /// returns in order may write one twice.
    pub fn too_early(&self, reads: &RegSet, writes: &RegSet, unit: Option<Unit>) -> bool {
        let read = reads.meets(&self.by_vector) || reads.meets(&self.by_lds) || reads.meets(&self.unordered);
        read || writes.meets(&self.unordered)
            || unit != Some(Unit::Vector) && writes.meets(&self.by_vector)
            || unit != Some(Unit::Lds) && writes.meets(&self.by_lds)
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
        p.too_early(&v(n), &RegSet::default(), None)
    }

    #[test]
    fn vector_memory_returns_in_order() {
        let mut p = Pending::default();
        p.issue(Unit::Vector, v(1));
        p.issue(Unit::Vector, v(2));
        assert!(early(&p, 1) && early(&p, 2) && !early(&p, 3));
        p.wait(0xf71);
        assert!(!early(&p, 1) && early(&p, 2));
        p.wait(0x3f70);
        assert!(p.is_empty());
    }

    #[test]
    fn only_zero_covers_scalar_memory() {
        let mut p = Pending::default();
        p.issue(Unit::Lds, v(1));
        p.issue(Unit::Scalar, v(2));
        p.wait(0x17f);
        assert!(early(&p, 1) && early(&p, 2));
        p.wait(0x07f);
        assert!(p.is_empty());
    }

    #[test]
    fn a_second_load_may_follow_the_first_into_a_register() {
        let mut p = Pending::default();
        p.issue(Unit::Vector, v(1));
        assert!(!p.too_early(&RegSet::default(), &v(1), Some(Unit::Vector)));
        assert!(p.too_early(&RegSet::default(), &v(1), None));
    }
}
