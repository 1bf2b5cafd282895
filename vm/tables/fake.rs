// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory for tests.

use core::cell::RefCell;

use kernel::prelude::*;

use super::{
    write_nothing,
    Memory,
    Pte, //
};

/// A small VRAM: records every write in order; the last one to an address counts.
pub(in crate::vm) struct Fake(RefCell<KVec<(u64, u64)>>);

impl Fake {
    pub(in crate::vm) fn new() -> Self {
        Self(RefCell::new(KVec::new()))
    }

    /// Offset at which flushes are recorded.
    pub(in crate::vm) const FLUSH: u64 = 1 << 60;

    /// Returns the number of writes.
    pub(in crate::vm) fn writes(&self) -> usize {
        self.0.borrow().len()
    }

    /// Returns the number of writes before the last one to `offset`.
    pub(in crate::vm) fn last_write_to(&self, offset: u64) -> Option<usize> {
        self.0.borrow().iter().rposition(|(to, _)| *to == offset)
    }

    /// Returns the eight bytes at `offset`.
    pub(in crate::vm) fn read(&self, offset: u64) -> u64 {
        let writes = self.0.borrow();
        let last = writes.iter().rev().find(|(to, _)| *to == offset);
        last.map_or(0, |(_, value)| *value)
    }
}

impl Memory for Fake {
    fn write(&self, offset: u64, values: &[u64]) {
        for (offset, value) in (offset..).step_by(8).zip(values) {
            // A lost write fails the test that looks for it.
            let _ = self.0.borrow_mut().push((offset, *value), GFP_KERNEL);
        }
    }

    fn write_run(&self, offset: u64, first: Pte, count: u64) {
        for n in 0..count {
            self.write(offset + 8 * n, &[first.after(n).into_raw()]);
        }
    }

    fn clear(&self, offset: u64, count: u64) {
        write_nothing(self, offset, count);
    }

    fn strip_fragments(&self, offset: u64, count: u64) {
        for offset in (offset..).step_by(8).take(count as usize) {
            let entry = Pte::from_raw(self.read(offset)).without_fragment();
            self.write(offset, &[entry.into_raw()]);
        }
    }

    fn flush(&self) {
        // A write that no reader looks for.
        self.write(Self::FLUSH, &[0]);
    }

    fn update(&self) -> u64 {
        0
    }
}
