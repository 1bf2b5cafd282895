// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Sets of registers: 256 vector registers and the 128 codes of scalar ones.

use crate::isa::code;

/// A set of registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegSet {
    vector: [u64; 4],
    scalar: u128,
}

impl RegSet {
    /// Adds `count` vector registers from `first`. Those past 255 wrap into no register: see
    /// [`RegSet::highest_vector`].
    pub fn add_vector(&mut self, first: u16, count: u16) {
        for n in (first..first.saturating_add(count)).take_while(|n| *n < 256) {
            self.vector[usize::from(n / 64)] |= 1 << (n % 64);
        }
    }

    /// Adds `count` scalar registers from code `first`.
    pub fn add_scalar(&mut self, first: u16, count: u16) {
        for n in (first..first.saturating_add(count)).take_while(|n| *n < 128) {
            self.scalar |= 1 << n;
        }
    }

    /// Adds the registers of a source operand.
    pub fn add_source(&mut self, operand: u16, count: u16) {
        match operand {
            0..=127 => self.add_scalar(operand, count),
            code::VCCZ => self.add_scalar(code::VCC, 2),
            code::EXECZ => self.add_scalar(code::EXEC, 2),
            code::VGPR.. => self.add_vector(operand - code::VGPR, count),
            _ => {}
        }
    }

    /// Returns true if no register is in it.
    pub fn is_empty(&self) -> bool {
        *self == RegSet::default()
    }

    /// Returns true if a register is in both.
    #[inline]
    pub fn meets(&self, other: &RegSet) -> bool {
        let v = &self.vector;
        let o = &other.vector;
        v[0] & o[0] | v[1] & o[1] | v[2] & o[2] | v[3] & o[3] != 0
            || self.scalar & other.scalar != 0
    }

    /// Adds all of `other`.
    pub fn join(&mut self, other: &RegSet) {
        for (a, b) in self.vector.iter_mut().zip(other.vector) {
            *a |= b;
        }
        self.scalar |= other.scalar;
    }

    /// The highest vector register in it.
    pub fn highest_vector(&self) -> Option<u16> {
        (0..4)
            .rev()
            .find(|i| self.vector[*i] != 0)
            .map(|i| i as u16 * 64 + 63 - self.vector[i].leading_zeros() as u16)
    }

    /// The highest general scalar register (0 to 103) in it.
    pub fn highest_scalar(&self) -> Option<u16> {
        let general = self.scalar & ((1 << 104) - 1);
        (general != 0).then(|| 127 - general.leading_zeros() as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_and_meeting() {
        let mut a = RegSet::default();
        assert!(a.is_empty() && a.highest_vector().is_none() && a.highest_scalar().is_none());
        a.add_source(code::VGPR + 63, 2);
        a.add_source(102, 2);
        assert_eq!((a.highest_vector(), a.highest_scalar()), (Some(64), Some(103)));
        let mut b = RegSet::default();
        b.add_source(code::VCCZ, 1);
        assert!(!a.meets(&b));
        b.add_vector(64, 1);
        assert!(a.meets(&b));
        assert_eq!(b.highest_scalar(), None, "VCC has no number of its own");
    }
}
