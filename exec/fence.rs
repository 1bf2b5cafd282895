// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Hardware fences: the progress of a ring, in the form that the rest of the kernel waits for.
//!
//! The C driver has this in amdgpu_fence.c (`amdgpu_fence_driver`, `amdgpu_fence_emit`,
//! `amdgpu_fence_process`).
//!
//! Submissions of a ring are numbered, and finish in order. The last command of each writes its
//! number, 32 bits wide, to memory and raises an interrupt. A [`Timeline`] assigns the numbers and
//! keeps the fences of unfinished submissions. Its own numbers are 64 bits wide, so they never
//! wrap; the hardware's number is the lower half.
//!
//! The interrupt thread calls [`Timeline::process`]. No fallback timer looks for lost interrupts:
//! the job timeout does so, and reports that it had to.
//!
//! A submission whose commands are left out is a submission like any other: its fence has an error
//! from the start, and ends with that error when the engine reaches it.
//!
//! When the engine will make no more progress, because it hangs or the card is gone,
//! [`Timeline::abort`] ends all fences with an error. Fences of later submissions end at once,
//! after these.
//!
//! # Invariants
//!
//! Fences of a timeline are signaled in the order in which they were emitted, each exactly once.
//! Emitting a fence never fails, so there is no other way for a submission to end: the order of all
//! fences of the driver rests on this (see the head of `abstractions/drm/sched.rs`).
//!
//! # Lock order
//!
//! `signaling`, then `state`; fences are signaled under the first only. Neither is held while
//! memory is allocated.

use kernel::{
    new_condvar,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        CondVar,
        Mutex,
        SpinLock, //
    }, //
};

use crate::abstractions::dma_fence::{
    DriverFence,
    Fence,
    FenceContext,
    PendingFence,
    SignalingSection,
    UniqueFence, //
};

/// Names of the driver's fences, as the kernel reports them.
pub(crate) struct RingName(&'static CStr);

#[cfg(CONFIG_KUNIT = "y")]
impl RingName {
    /// Name for fences that belong to no ring.
    pub(crate) const TEST: Self = Self(c"test");
}

impl DriverFence for RingName {
    const DRIVER_NAME: &'static CStr = c"amdgpu_rs";

    fn timeline_name(&self) -> &'static CStr {
        self.0
    }
}

/// Fence memory of a submission, allocated before the point of no return.
pub(crate) type HwFence = UniqueFence<RingName>;

/// A submission's place on its ring.
pub(crate) struct Emission {
    /// Number that the hardware writes when the submission is done. `None` if the engine will make
    /// no more progress: then [`Timeline::end_late`] must be called.
    pub(crate) seq: Option<u32>,
    /// Fence of the submission, signaled when the number has been written.
    pub(crate) fence: ARef<Fence>,
}

/// An unfinished submission.
struct Unfinished {
    fence: PendingFence<RingName>,
    /// Result with which the fence ends if the engine reaches it.
    result: Result,
}

/// The unfinished submissions of a ring.
#[pin_data(PinnedDrop)]
pub(crate) struct Timeline {
    name: &'static CStr,
    context: FenceContext,
    /// Held while fences are signaled, so that they are signaled in order.
    #[pin]
    signaling: Mutex<()>,
    #[pin]
    state: SpinLock<State>,
    /// Notified when a submission has finished.
    #[pin]
    room: CondVar,
}

struct State {
    window: Window,
    /// The fence numbered `n` is at index `n` modulo the length.
    pending: KVec<Option<Unfinished>>,
    /// Error with which fences end once the engine makes no more progress.
    aborted: Option<Error>,
}

/// The numbers that were assigned and have not been seen finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Oldest unfinished number.
    first: u64,
    /// Number after the newest one.
    next: u64,
}

impl Window {
    /// Advances `first` by one if `completed` covers it, and returns the number that has finished
    /// by that. Returns `None` if `completed` covers no unfinished number.
    ///
    /// A `completed` number that was never assigned is wrong. Then nothing is finished.
    fn finish_one(&mut self, completed: u32) -> Option<u64> {
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
    fn low(seqno: u64) -> u32 {
        // CAST: Only the lower half is wanted.
        seqno as u32
    }
}

impl State {
    /// Returns true if there is no place for one more fence.
    fn is_full(&mut self) -> bool {
        let next = self.window.next;
        self.place(next).is_some_and(|place| place.is_some())
    }

    /// Returns the place of the fence with number `seqno`, or `None` if the timeline has no places.
    fn place(&mut self, seqno: u64) -> Option<&mut Option<Unfinished>> {
        let capacity = self.pending.len() as u64;
        // CAST: The remainder is smaller than the length, a `usize`.
        let index = seqno.checked_rem(capacity)? as usize;
        self.pending.get_mut(index)
    }

    fn take(&mut self, seqno: u64) -> Option<Unfinished> {
        self.place(seqno)?.take()
    }
}

impl Timeline {
    /// Number that the hardware must report before the first submission.
    const START: u64 = 0;

    /// Creates a timeline with at most `capacity` unfinished submissions at a time.
    pub(crate) fn new(name: &'static CStr, capacity: usize) -> impl PinInit<Self, Error> {
        Self::starting_at(name, capacity, Self::START)
    }

    fn starting_at(name: &'static CStr, capacity: usize, start: u64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            name,
            context: FenceContext::new(),
            signaling <- new_mutex!(()),
            state <- {
                let mut pending = KVec::with_capacity(capacity, GFP_KERNEL)?;
                for _ in 0..capacity {
                    pending.push(None, GFP_KERNEL)?;
                }
                new_spinlock!(State {
                    window: Window { first: start + 1, next: start + 1 },
                    pending,
                    aborted: None,
                })
            },
            room <- new_condvar!("Timeline::room"),
        })
    }

    /// Assigns the next number to `fence`. The submission must be written to the ring before `emit`
    /// is called again for that ring. The fence ends with `result` if the engine reaches it.
    ///
    /// Returns the fence memory if too many submissions are unfinished: see
    /// [`Timeline::wait_for_room`].
    pub(crate) fn emit(&self, fence: HwFence, result: Result) -> Result<Emission, HwFence> {
        let mut state = self.state.lock();
        let seqno = state.window.next;
        let Some(place) = state.place(seqno).filter(|place| place.is_none()) else {
            return Err(fence);
        };
        let fence = fence.publish(&self.context, seqno, RingName(self.name));
        let emitted = fence.fence().clone();
        *place = Some(Unfinished { fence, result });
        state.window.next += 1;
        Ok(Emission {
            seq: state.aborted.is_none().then(|| Window::low(seqno)),
            fence: emitted,
        })
    }

    /// Sleeps until one more submission can be emitted.
    pub(crate) fn wait_for_room(&self) {
        let mut state = self.state.lock();
        while state.is_full() {
            self.room.wait(&mut state);
        }
    }

    /// Signals the fences of all submissions up to number `completed`, which the hardware has
    /// written. Returns the number of fences signaled.
    pub(crate) fn process(&self, completed: u32) -> usize {
        let _signaling = self.signaling.lock();
        let _section = SignalingSection::begin();
        let mut count = 0;
        while let Some(Unfinished { fence, result }) = self.finish_one(completed) {
            fence.signal(result);
            count += 1;
        }
        count
    }

    fn finish_one(&self, completed: u32) -> Option<Unfinished> {
        let mut state = self.state.lock();
        let seqno = state.window.finish_one(completed)?;
        self.take(&mut state, seqno)
    }

    fn take(&self, state: &mut State, seqno: u64) -> Option<Unfinished> {
        let finished = state.take(seqno);
        self.room.notify_all();
        finished
    }

    /// Ends the fences of all unfinished submissions, as the hardware will not: `guilty` with
    /// `ETIME`, all others with `error`. Fences of later submissions also end with `error`.
    ///
    /// The caller has ensured that the hardware no longer accesses memory on their behalf.
    pub(crate) fn abort(&self, guilty: Option<&Fence>, error: Error) {
        let _signalling = self.signaling.lock();
        let _section = SignalingSection::begin();
        self.state.lock().aborted = Some(error);
        self.end_all(guilty, error);
    }

    /// Ends the fences that were emitted after [`Timeline::abort`].
    pub(crate) fn end_late(&self) {
        let _signaling = self.signaling.lock();
        let _section = SignalingSection::begin();
        let aborted = self.state.lock().aborted;
        if let Some(error) = aborted {
            self.end_all(None, error);
        }
    }

    /// Ends the fences of all unfinished submissions. The caller holds `signaling`.
    fn end_all(&self, guilty: Option<&Fence>, error: Error) {
        while let Some(Unfinished { fence, .. }) = self.abort_one() {
            let error = match guilty {
                Some(guilty) if core::ptr::eq(guilty, &**fence.fence()) => ETIME,
                _ => error,
            };
            fence.signal(Err(error));
        }
    }

    fn abort_one(&self) -> Option<Unfinished> {
        let mut state = self.state.lock();
        if state.window.first == state.window.next {
            return None;
        }
        let seqno = state.window.first;
        state.window.first += 1;
        self.take(&mut state, seqno)
    }

    /// Returns true if `completed`, the hardware's number, covers fences that were not signaled
    /// yet.
    pub(crate) fn is_behind(&self, completed: u32) -> bool {
        let mut window = self.state.lock().window;
        window.finish_one(completed).is_some()
    }

    /// Returns the numbers of the oldest unfinished submission and of the next one, for messages.
    pub(crate) fn unfinished(&self) -> core::ops::Range<u64> {
        let state = self.state.lock();
        state.window.first..state.window.next
    }
}

#[pinned_drop]
impl PinnedDrop for Timeline {
    fn drop(self: Pin<&mut Self>) {
        self.abort(None, ECANCELED);
    }
}

#[kunit_tests(amdgpu_rs_fence)]
mod tests {
    use super::*;

    const WRAP: u64 = 1 << 32;

    /// Returns all numbers that are finished when the hardware reports `completed`.
    fn finish(window: &mut Window, completed: u32) -> core::ops::Range<u64> {
        let first = window.first;
        while window.finish_one(completed).is_some() {}
        first..window.first
    }

    #[test]
    fn window_follows_the_hardware() {
        // (first, next, number that the hardware reports, first afterward)
        let cases = [
            (1, 1, 0, 1),
            (1, 4, 0, 1),
            (1, 4, 1, 2),
            (1, 4, 3, 4),
            // A number that was never assigned: nothing is finished.
            (1, 4, 4, 1),
            (1, 4, u32::MAX, 1),
            // An old number: nothing is finished.
            (3, 4, 1, 3),
            (3, 4, 2, 3),
            // Around the wrap of the hardware's number.
            (WRAP - 2, WRAP + 2, u32::MAX - 2, WRAP - 2),
            (WRAP - 2, WRAP + 2, u32::MAX - 1, WRAP - 1),
            (WRAP - 2, WRAP + 2, u32::MAX, WRAP),
            (WRAP - 2, WRAP + 2, 0, WRAP + 1),
            (WRAP - 2, WRAP + 2, 1, WRAP + 2),
            (WRAP - 2, WRAP + 2, 2, WRAP - 2),
            (WRAP, WRAP + 1, u32::MAX, WRAP),
            (WRAP, WRAP + 1, 0, WRAP + 1),
            // A later round.
            (5 * WRAP, 5 * WRAP + 8, 6, 5 * WRAP + 7),
        ];
        for (first, next, completed, expected) in cases {
            let mut window = Window { first, next };
            assert_eq!(finish(&mut window, completed), first..expected);
            assert_eq!(window.next, next);
        }
    }

    fn timeline(start: u64) -> Result<Pin<KBox<Timeline>>> {
        KBox::pin_init(Timeline::starting_at(c"test", 4, start), GFP_KERNEL)
    }

    fn emit(timeline: &Timeline) -> Result<Emission> {
        emit_with(timeline, Ok(()))
    }

    fn emit_with(timeline: &Timeline, result: Result) -> Result<Emission> {
        timeline
            .emit(HwFence::new(GFP_KERNEL)?, result)
            .map_err(|_| EBUSY)
    }

    #[test]
    fn fences_are_signaled_across_the_wrap() -> Result {
        let timeline = timeline(WRAP - 3)?;
        let mut emissions = KVec::new();
        for seq in [u32::MAX - 1, u32::MAX, 0, 1] {
            let emission = emit(&timeline)?;
            assert_eq!(emission.seq, Some(seq));
            emissions.push(emission, GFP_KERNEL)?;
        }
        // There is no more room.
        assert_eq!(emit(&timeline).err(), Some(EBUSY));
        for done in 0..=emissions.len() {
            for (i, emission) in emissions.iter().enumerate() {
                assert_eq!(emission.fence.is_signaled(), i < done);
            }
            if let Some(seq) = emissions.get(done).and_then(|emission| emission.seq) {
                assert!(timeline.is_behind(seq));
                assert_eq!(timeline.process(seq), 1);
                assert!(!timeline.is_behind(seq));
            }
        }
        assert_eq!(emissions[3].fence.seqno(), WRAP + 1);
        // There is room again.
        timeline.wait_for_room();
        assert_eq!(emit(&timeline)?.seq, Some(2));
        timeline.process(2);
        Ok(())
    }

    #[test]
    fn one_interrupt_may_stand_for_several() -> Result {
        let timeline = timeline(0)?;
        let fences = [emit(&timeline)?, emit(&timeline)?, emit(&timeline)?];
        timeline.process(2);
        assert!(fences[0].fence.is_signaled());
        assert!(fences[1].fence.is_signaled());
        assert!(!fences[2].fence.is_signaled());
        timeline.process(2);
        timeline.process(1);
        assert!(!fences[2].fence.is_signaled());
        timeline.process(3);
        assert_eq!(fences[2].fence.status(), Some(Ok(())));
        Ok(())
    }

    #[test]
    fn abort_ends_all() -> Result {
        let timeline = timeline(0)?;
        let fences = [emit(&timeline)?, emit(&timeline)?, emit(&timeline)?];
        timeline.process(1);
        timeline.abort(Some(&fences[1].fence), ECANCELED);
        assert_eq!(fences[0].fence.status(), Some(Ok(())));
        assert_eq!(fences[1].fence.status(), Some(Err(ETIME)));
        assert_eq!(fences[2].fence.status(), Some(Err(ECANCELED)));
        // Numbers that the hardware still writes change nothing.
        timeline.process(3);
        assert_eq!(timeline.unfinished(), 4..4);
        // Later fences end, too, but only after all earlier ones.
        let late = emit(&timeline)?;
        assert_eq!(late.seq, None);
        assert_eq!(late.fence.status(), None);
        timeline.end_late();
        assert_eq!(late.fence.status(), Some(Err(ECANCELED)));
        Ok(())
    }

    #[test]
    fn a_submission_that_fails_ends_in_its_turn() -> Result {
        let timeline = timeline(0)?;
        let fences = [
            emit(&timeline)?,
            emit_with(&timeline, Err(EIO))?,
            emit(&timeline)?,
        ];
        assert_eq!(fences[1].fence.status(), None);
        timeline.process(1);
        assert_eq!(fences[0].fence.status(), Some(Ok(())));
        assert_eq!(fences[1].fence.status(), None);
        timeline.process(3);
        assert_eq!(fences[1].fence.status(), Some(Err(EIO)));
        assert_eq!(fences[2].fence.status(), Some(Ok(())));
        Ok(())
    }

    #[test]
    fn dropping_a_timeline_cancels() -> Result {
        let timeline = timeline(0)?;
        let fence = emit(&timeline)?.fence;
        drop(timeline);
        assert_eq!(fence.status(), Some(Err(ECANCELED)));
        Ok(())
    }
}
