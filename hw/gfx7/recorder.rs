// SPDX-License-Identifier: GPL-2.0 OR MIT

//! For tests: keeps the dwords that an encoder writes.

use crate::exec::ring::Sink;

pub(super) struct Recorder {
    dwords: [u32; 8],
    len: usize,
}

impl Recorder {
    /// What `encode` writes: eight dwords at most.
    pub(super) fn of(encode: impl FnOnce(&mut Self)) -> Self {
        let mut recorder = Self {
            dwords: [0; 8],
            len: 0,
        };
        encode(&mut recorder);
        recorder
    }

    pub(super) fn dwords(&self) -> &[u32] {
        &self.dwords[..self.len]
    }
}

impl Sink for Recorder {
    fn push(&mut self, value: u32) {
        self.dwords[self.len] = value;
        self.len += 1;
    }
}
