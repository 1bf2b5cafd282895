// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A small seeded generator (SplitMix64), so that a failing run can be repeated from its seed.

use std::ops::Range;

use crate::num::usize_of;

/// A stream of pseudo-random numbers. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from the clock and the process ID, for runs that do not name one.
    pub fn fresh_seed() -> u64 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs() ^ (u64::from(d.subsec_nanos()) << 20));
        Self::new(now ^ u64::from(std::process::id())).next()
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "endless, so an Iterator says too much")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `range`, which must not be empty. (The bias of the remainder is of no matter
    /// for choosing pages.)
    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + usize_of(self.next() % crate::num::u64_of(range.len()))
    }

    /// Overwrites `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_stream() {
        // The reference values of SplitMix64 for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn fills_odd_lengths() {
        let mut a = [0; 13];
        Rng::new(7).fill(&mut a);
        assert!(a[8..].iter().any(|&b| b != 0));
    }
}
