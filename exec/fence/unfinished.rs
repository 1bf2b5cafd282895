// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The submissions of a ring that have not finished: their numbers, and what becomes of each.
//!
//! The C driver keeps their fences in an array (`fences` of `amdgpu_fence_driver`).

use core::ops::Range;

use kernel::{
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

use super::RingName;
use crate::{
    abstractions::dma_fence::PendingFence,
    exec::{
        level::Level,
        verdict::Party,
        vmid::Tenant, //
    }, //
};

/// An unfinished submission.
pub(super) struct Unfinished {
    pub(super) fence: PendingFence<RingName>,
    /// Result with which the fence ends if the engine reaches it.
    pub(super) result: Result,
    pub(super) party: Party,
    /// Highest level of a reset that was tried while the submission was the oldest of a ring that
    /// hung, with nobody else to blame.
    pub(super) tried: Option<Level>,
    pub(super) span: Span,
}

impl Unfinished {
    /// Ends the submission with an error instead of its commands.
    pub(super) fn fail(&mut self, error: Error) {
        // Its waves were killed, which has not ended it.
        let killed_in_vain = self.result == Err(ENODATA) && error == ETIME;
        if self.result.is_ok() || killed_in_vain {
            self.result = Err(error);
            self.party.lose(error);
        }
    }
}

/// The place of a submission in its ring, in positions that do not wrap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    /// The commands of the submission, without what the kernel puts before and after them.
    pub(crate) commands: Range<u64>,
    pub(crate) end: u64,
}

/// The oldest unfinished submission of a ring, as a dump shows it.
pub(crate) struct Oldest {
    pub(crate) span: Span,
    /// The client that submitted it. `None`: the kernel.
    pub(crate) tenant: Option<Tenant>,
}

/// The unfinished submissions, in the order of their numbers.
pub(super) struct State {
    pub(super) window: Window,
    /// Time since which the oldest unfinished submission has been the oldest.
    pub(super) head_since: Instant<Monotonic>,
    /// Time up to which the oldest unfinished submission has been charged.
    pub(super) charged_until: Instant<Monotonic>,
    /// The fence numbered `n` is at index `n` modulo the length.
    pub(super) pending: KVec<Option<Unfinished>>,
    /// Error with which fences end once the engine makes no more progress.
    pub(super) aborted: Option<Error>,
}

/// The numbers that were assigned and have not been seen finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Oldest unfinished number.
    pub(super) first: u64,
    /// Number after the newest one.
    pub(super) next: u64,
}

impl Window {
    /// Advances `first` by one if `completed` covers it, and returns the number that has finished
    /// by that. Returns `None` if `completed` covers no unfinished number.
    ///
    /// A `completed` number that was never assigned is wrong. Then nothing is finished.
    pub(super) fn finish_one(&mut self, completed: u32) -> Option<u64> {
        // Both numbers wrap at 32 bits, so their difference is right.
        let finished = completed
            .wrapping_sub(Self::low(self.first))
            .wrapping_add(1);
        if finished == 0 || u64::from(finished) > self.next - self.first {
            return None;
        }
        let seqno = self.first;
        self.first += 1;
        Some(seqno)
    }

    /// Returns the lower half of a number, which is all that the hardware knows of it.
    pub(super) fn low(seqno: u64) -> u32 {
        // CAST: Only the lower half is wanted.
        seqno as u32
    }
}

impl State {
    /// Returns true if there is no place for one more fence.
    pub(super) fn is_full(&mut self) -> bool {
        let next = self.window.next;
        self.place(next).is_some_and(|place| place.is_some())
    }

    /// Returns the place of the fence with number `seqno`, or `None` if the timeline has no places.
    pub(super) fn place(&mut self, seqno: u64) -> Option<&mut Option<Unfinished>> {
        let capacity = self.pending.len() as u64;
        // CAST: The remainder is smaller than the length, a `usize`.
        let index = seqno.checked_rem(capacity)? as usize;
        self.pending.get_mut(index)
    }

    /// Takes the submission with number `seqno` out of its place.
    pub(super) fn take(&mut self, seqno: u64) -> Option<Unfinished> {
        self.place(seqno)?.take()
    }

    /// Notes that another submission is the oldest now, or that there is none.
    pub(super) fn set_new_head(&mut self, now: Instant<Monotonic>) {
        self.head_since = now;
        self.charged_until = now;
    }
}
