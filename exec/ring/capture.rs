// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The state of a ring whose block is about to be reset, for the dump of a hang.
//!
//! The C driver's is `amdgpu_coredump_ring`.

use core::ops::Range;

use kernel::{
    num::casts::u32_as_usize,
    prelude::*, //
};

use super::{
    load,
    Ring,
    Writeback,
    WritebackSlot, //
};
use crate::{
    exec::fence::Oldest,
    hw::command::{
        RingId,
        MAX_SUBMISSION_DWORDS, //
    }, //
};

/// The state of a ring, in memory that is allocated in advance.
pub(crate) struct Captured {
    pub(crate) ring: RingId,
    /// Numbers of the oldest unfinished submission and of the next one.
    pub(crate) unfinished: Range<u64>,
    /// Numbers of the submissions that the engine has finished, and begun, last.
    pub(crate) completed: u32,
    pub(crate) begun: u32,
    pub(crate) gate: u32,
    /// Place in the ring that the engine reads from, as it has last reported.
    pub(crate) read: u32,
    /// Position of the next dword that the kernel writes.
    pub(crate) written: u64,
    /// The oldest unfinished submission.
    pub(crate) oldest: Option<Oldest>,
    /// Contents of the ring that belong to that submission.
    pub(crate) words: KVec<u32>,
}

impl Captured {
    /// Allocates the memory for the state of a ring.
    pub(crate) fn new(ring: RingId) -> Result<Self> {
        Ok(Self {
            ring,
            unfinished: 0..0,
            completed: 0,
            begun: 0,
            gate: 0,
            read: 0,
            written: 0,
            oldest: None,
            words: KVec::with_capacity(u32_as_usize(MAX_SUBMISSION_DWORDS), GFP_KERNEL)?,
        })
    }

    /// Returns the commands of the client among `words`.
    pub(crate) fn commands(&self) -> &[u32] {
        let commands = self.oldest.as_ref().and_then(|oldest| {
            let place =
                |position: u64| usize::try_from(position.checked_sub(oldest.span.start)?).ok();
            let span = &oldest.span.commands;
            self.words.get(place(span.start)?..place(span.end)?)
        });
        commands.unwrap_or(&[])
    }
}

impl Ring {
    /// Copies the state of the ring. Neither sleeps nor allocates.
    pub(crate) fn capture(&self, into: &mut Captured) {
        let slot = |slot| {
            let index = Writeback::index(self.kind, slot);
            self.writeback.0.read(index).unwrap_or(0)
        };
        into.completed = slot(WritebackSlot::Fence);
        into.begun = slot(WritebackSlot::Begun);
        into.gate = slot(WritebackSlot::Gate);
        into.read = self.engine.read_place(slot(WritebackSlot::ReadPointer));
        into.unfinished = self.timeline.unfinished();
        into.oldest = self.timeline.oldest();
        into.words.clear();
        let state = self.state.lock();
        into.written = state.write_pointer;
        let Some(oldest) = &into.oldest else { return };
        let words = &mut into.words;
        self.buffers[state.active].with(|memory| {
            for position in oldest.span.start..oldest.span.end {
                let _ = words.push_within_capacity(load(&memory, position));
            }
        });
    }
}
