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

mod interrupted;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;
mod unfinished;

pub(crate) use self::{
    interrupted::Progress,
    unfinished::{
        Oldest,
        Span, //
    }, //
};

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
    },
    time::Instant, //
};

use crate::{
    abstractions::{
        dma_fence::{
            DriverFence,
            Fence,
            FenceContext,
            SignalingSection,
            UniqueFence, //
        },
        task::TaskName, //
    },
    exec::{
        verdict::{
            Head,
            Party,
            Verdict, //
        }, //
    },
    hw::Stopped, //
};

use self::unfinished::{
    State,
    Unfinished,
    Window, //
};

/// Names of the driver's fences, as the kernel reports them.
pub(crate) struct RingName(&'static CStr);

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl RingName {
    /// Name for fences that belong to no ring.
    pub(crate) const TEST: Self = Self(c"test");
}

#[vtable]
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
                    head_since: Instant::now(),
                    charged_until: Instant::now(),
                    pending,
                    aborted: None,
                })
            },
            room <- new_condvar!("Timeline::room"),
        })
    }

    /// Assigns the next number to `fence`, the fence of a submission by `party`. The submission
    /// must be written to the ring before `emit` is called again for that ring. The fence ends with
    /// `result` if the engine reaches it.
    ///
    /// Returns the fence memory if too many submissions are unfinished: see
    /// [`Timeline::wait_for_room`].
    pub(crate) fn emit(
        &self,
        fence: HwFence,
        party: Party,
        result: Result,
    ) -> Result<Emission, (HwFence, Party)> {
        let mut state = self.state.lock();
        let Window { first, next } = state.window;
        let Some(place) = state.place(next).filter(|place| place.is_none()) else {
            return Err((fence, party));
        };
        let fence = fence.publish(&self.context, next, RingName(self.name));
        let emitted = fence.fence().clone();
        *place = Some(Unfinished {
            fence,
            result,
            party,
            tried: None,
            span: Span::default(),
        });
        state.window.next += 1;
        if first == next {
            // The engine had no work until now.
            state.set_new_head(Instant::now());
        }
        Ok(Emission {
            seq: state.aborted.is_none().then(|| Window::low(next)),
            fence: emitted,
        })
    }

    /// Notes the place of the newest submission in its ring. Must be called before the engine is
    /// told of the submission.
    pub(crate) fn place(&self, span: Span) {
        let mut state = self.state.lock();
        let newest = state.window.next - 1;
        if let Some(Some(unfinished)) = state.place(newest) {
            unfinished.span = span;
        }
    }

    /// Returns the time for which the oldest unfinished submission has been the oldest, in ms.
    /// Later submissions do not change it. Returns 0 if there is none.
    pub(crate) fn age(&self) -> i64 {
        let state = self.state.lock();
        if state.window.first == state.window.next {
            return 0;
        }
        state.head_since.elapsed().as_millis()
    }

    /// Charges the oldest unfinished submission up to now. Later ones have not had the engine yet.
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let time = now - state.charged_until;
        let first = state.window.first;
        if let Some(Some(oldest)) = state.place(first) {
            oldest.party.charge(time);
            state.charged_until = now;
        }
    }

    /// Returns what is known of the oldest unfinished submission, given the number of the
    /// submission that the engine began last. Returns `None` if there is none.
    pub(crate) fn head(&self, begun: u32) -> Option<Head> {
        let mut state = self.state.lock();
        let first = state.window.first;
        let head = state.place(first)?.as_ref()?;
        Some(Head {
            begun: begun == Window::low(first),
            kernel: head.party.is_kernel(),
            tried: head.tried,
        })
    }

    /// Returns the oldest unfinished submission, if there is one, for a dump.
    pub(crate) fn oldest(&self) -> Option<Oldest> {
        let mut state = self.state.lock();
        let first = state.window.first;
        let unfinished = state.place(first)?.as_ref()?;
        Some(Oldest {
            span: unfinished.span.clone(),
            tenant: unfinished.party.tenant().cloned(),
        })
    }

    /// Returns the task that submitted the oldest unfinished submission, if a client's did.
    pub(crate) fn submitter(&self) -> Option<TaskName> {
        let mut state = self.state.lock();
        let first = state.window.first;
        let head = state.place(first)?.as_ref()?;
        Some(*head.party.tenant()?.submitter.name())
    }

    /// Carries out the verdict on the oldest unfinished submission, whose engine was reset.
    pub(crate) fn carry_out(&self, verdict: Verdict, _stopped: &Stopped) {
        let mut state = self.state.lock();
        let first = state.window.first;
        let Some(Some(head)) = state.place(first) else {
            return;
        };
        match verdict {
            Verdict::Replay => (),
            Verdict::OnTrial(level) => head.tried = Some(level),
            Verdict::Fail(error) => head.fail(error),
        }
    }

    /// Fails all submissions of clients, as the page tables that they were to use are lost.
    pub(crate) fn lose_clients(&self, _stopped: &Stopped) {
        let mut state = self.state.lock();
        let Window { first, next } = state.window;
        for seqno in first..next {
            if let Some(Some(unfinished)) = state.place(seqno) {
                if !unfinished.party.is_kernel() {
                    unfinished.fail(ECANCELED);
                }
            }
        }
    }

    /// Fails the submissions that come after a failed one in their queue, or belong to a gang of
    /// which a job has failed. Then writes all unfinished submissions again, the oldest first:
    /// `write` gets the former place of each, and whether its commands may run, and returns its new
    /// place. Returns how many run again, and how many do not.
    pub(crate) fn replay(
        &self,
        mut write: impl FnMut(&Span, bool) -> Span,
        _stopped: &Stopped,
    ) -> (usize, usize) {
        let mut state = self.state.lock();
        let Window { first, next } = state.window;
        let (mut again, mut failed) = (0, 0);
        for seqno in first..next {
            let Some(Some(unfinished)) = state.place(seqno) else {
                continue;
            };
            if unfinished.party.check().is_err() {
                unfinished.fail(ECANCELED);
            }
            let runs = unfinished.result.is_ok();
            unfinished.span = write(&unfinished.span, runs);
            if runs {
                again += 1;
            } else {
                failed += 1;
            }
        }
        state.head_since = Instant::now();
        (again, failed)
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
        while let Some(Unfinished { fence, result, .. }) = self.finish_one(completed) {
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
        let now = Instant::now();
        if let Some(finished) = &finished {
            finished.party.charge(now - state.charged_until);
        }
        state.set_new_head(now);
        self.room.notify_all();
        finished
    }

    /// Ends the fences of all unfinished submissions, as the hardware will not. Fences of later
    /// submissions also end with `error`. A [`Culprit`] ends with `ETIME`.
    ///
    /// The caller has ensured that the hardware no longer accesses memory on their behalf.
    pub(crate) fn abort(&self, culprit: Option<Culprit>, error: Error) {
        let _signaling = self.signaling.lock();
        let _section = SignalingSection::begin();
        let mut state = self.state.lock();
        state.aborted = Some(error);
        let first = state.window.first;
        if let (Some(Culprit { begun }), Some(Some(head))) = (culprit, state.place(first)) {
            if begun == Window::low(first) && !head.party.is_kernel() {
                head.fail(ETIME);
            }
        }
        drop(state);
        self.end_all(error);
    }

    /// Ends the fences that were emitted after [`Timeline::abort`].
    pub(crate) fn end_late(&self) {
        let _signaling = self.signaling.lock();
        let _section = SignalingSection::begin();
        let aborted = self.state.lock().aborted;
        if let Some(error) = aborted {
            self.end_all(error);
        }
    }

    /// Ends the fences of all unfinished submissions. The caller holds `signaling`.
    fn end_all(&self, error: Error) {
        while let Some(Unfinished { fence, result, .. }) = self.abort_one() {
            fence.signal(result.and(Err(error)));
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

/// The oldest submission of a ring that hangs, if it is the one whose commands have begun: its
/// number is `begun`.
pub(crate) struct Culprit {
    pub(crate) begun: u32,
}
