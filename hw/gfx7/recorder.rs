// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A sink for tests, which keeps the dwords that an encoder writes.

use kernel::num::casts::usize_as_u64;

use crate::hw::command::Sink;

/// Room for more dwords than any submission of the tests has.
const ROOM: usize = 256;

pub(super) struct Recorder {
    dwords: [u32; ROOM],
    len: usize,
}

impl Recorder {
    /// Returns a recorder of the dwords that `encode` writes.
    pub(super) fn of(encode: impl FnOnce(&mut Self)) -> Self {
        let mut recorder = Self {
            dwords: [0; ROOM],
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
    fn put(&mut self, dwords: &[u32]) {
        let end = self.len + dwords.len();
        self.dwords[self.len..end].copy_from_slice(dwords);
        self.len = end;
    }

    fn position(&self) -> u64 {
        usize_as_u64(self.len)
    }
}
