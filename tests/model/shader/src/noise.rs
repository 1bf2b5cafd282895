// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Contents of what was never written: noise of the seed.

use crate::{
    rng::Rng,
    wave::{
        LANES,
        Row, //
    }, //
};

/// Rows of noise, a prime, so that registers repeat late.
const ROWS: usize = 67;

/// A stock of noise, made once a dispatch.
pub struct Noise {
    rows: Vec<Row>,
    on: bool,
}

impl Noise {
    /// Noise, or zeros.
    pub fn new(rng: &mut Rng, on: bool) -> Noise {
        let rows = if on {
            (0..ROWS).map(|_| std::array::from_fn(|_| rng.word())).collect()
        } else {
            vec![]
        };
        Noise { rows, on }
    }

    /// Makes `to` a file of `count` vector registers.
    pub fn rows(&self, rng: &mut Rng, count: usize, to: &mut Vec<Row>) {
        if !self.on {
            to.clear();
            to.resize(count, [0; LANES]);
            return;
        }
        let first = rng.below(ROWS);
        to.truncate(count);
        let have = to.len();
        let row = |n: usize| self.rows[(first + n) % ROWS];
        to.iter_mut().enumerate().for_each(|(n, to)| *to = row(n));
        to.extend((have..count).map(row));
    }

    /// Scalar registers. EXEC and what else has a value at the start is written after.
    pub fn scalars(&self, rng: &mut Rng) -> [u32; 128] {
        if !self.on {
            return [0; 128];
        }
        let (a, b) = (rng.below(ROWS), rng.below(ROWS));
        std::array::from_fn(|n| self.rows[if n < LANES { a } else { b }][n % LANES])
    }

    /// Bytes of the local data share.
    pub fn bytes(&self, rng: &mut Rng, count: usize) -> Vec<u8> {
        if !self.on {
            return vec![0; count];
        }
        let first = rng.below(ROWS);
        let rows = self.rows.iter().cycle().skip(first).flatten();
        rows.flat_map(|word| word.to_le_bytes()).take(count).collect()
    }
}
