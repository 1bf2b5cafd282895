// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Submissions whose waves are killed.
//!
//! The C driver sets an error on one fence before it does so (`amdgpu_ring_soft_recovery`). It does
//! not look at those of other rings in the same VM context.

use kernel::prelude::*;

use super::{
    unfinished::Window,
    Timeline, //
};
use crate::hw::command::Vmid;

/// Progress of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Number of the last submission whose commands have begun.
    pub(crate) begun: u32,
    /// Number of the last submission that is finished.
    pub(crate) completed: u32,
}

impl Timeline {
    /// Fails the submission that the engine is in the middle of, if it runs in the context `vmid`,
    /// whose waves are about to be killed: with `ENODATA`, which says that nothing else is
    /// affected. Those behind it in its queue fail with `ECANCELED`. They are on the ring already,
    /// and their commands run: the engine may have fetched them.
    ///
    /// Fences of what had finished before have ended, and no other submission can have begun since.
    /// `progress` is asked for under the lock that keeps fences from ending. Returns true if there
    /// is such a submission.
    pub(crate) fn interrupt(&self, vmid: Vmid, progress: impl FnOnce() -> Progress) -> bool {
        let mut state = self.state.lock();
        let mut window = state.window;
        let (first, next) = (window.first, window.next);
        let Progress { begun, completed } = progress();
        let is_over = window.finish_one(completed).is_some();
        match state.place(first) {
            Some(Some(head))
                if head.party.vmid() == Some(vmid) && begun == Window::low(first) && !is_over =>
            {
                head.fail(ENODATA)
            }
            _ => return false,
        }
        for seqno in first + 1..next {
            if let Some(Some(unfinished)) = state.place(seqno) {
                if unfinished.party.check().is_err() {
                    unfinished.fail(ECANCELED);
                }
            }
        }
        true
    }

    /// Returns the context in which the oldest unfinished submission runs.
    pub(crate) fn head_vmid(&self) -> Option<Vmid> {
        let mut state = self.state.lock();
        let first = state.window.first;
        state.place(first)?.as_ref()?.party.vmid()
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_fence_interrupted)]
mod tests {
    use super::*;
    use crate::{
        exec::{
            fence::HwFence,
            verdict::{
                Party,
                Standing,
                Verdict, //
            }, //
        },
        hw::Stopped, //
    };
    use kernel::sync::Arc;

    const OURS: Option<Vmid> = Vmid::new(3);
    const THEIRS: Option<Vmid> = Vmid::new(4);

    fn timeline() -> Result<Pin<KBox<Timeline>>> {
        KBox::pin_init(Timeline::new(c"test", 4), GFP_KERNEL)
    }

    fn emit(timeline: &Timeline, standing: &Arc<Standing>, vmid: Option<Vmid>) -> Result {
        let party = Party::Client {
            standing: standing.clone(),
            gang: None,
            tenant: None,
            vmid,
        };
        let emitted = timeline.emit(HwFence::new(GFP_KERNEL)?, party, Ok(()));
        emitted.map(drop).map_err(|_| EBUSY)
    }

    /// Interrupts the first submission, which has begun in [`OURS`].
    fn interrupt_the_first(timeline: &Timeline) -> Result {
        let progress = || Progress {
            begun: 1,
            completed: 0,
        };
        assert!(timeline.interrupt(OURS.ok_or(EINVAL)?, progress));
        Ok(())
    }

    /// Results of all submissions, which end.
    fn ends(timeline: &Timeline) -> Result<KVec<Result>> {
        let mut state = timeline.state.lock();
        let (first, next) = (state.window.first, state.window.next);
        let mut ends = KVec::new();
        for seqno in first..next {
            if let Some(Some(unfinished)) = state.place(seqno) {
                ends.push(unfinished.result, GFP_ATOMIC)?;
            }
        }
        drop(state);
        // CAST: There are few.
        timeline.process((next - 1) as u32);
        Ok(ends)
    }

    #[test]
    fn only_what_has_begun_in_the_context_is_interrupted() -> Result {
        let (ours, theirs) = (Standing::for_test()?, Standing::for_test()?);
        // (context of the first one, begun, completed, whether it is interrupted)
        let cases = [
            (OURS, 1, 0, true),
            // Another context, or none.
            (THEIRS, 1, 0, false),
            (None, 1, 0, false),
            // It has not begun, or is over.
            (OURS, 0, 0, false),
            (OURS, 1, 1, false),
        ];
        for (vmid, begun, completed, expected) in cases {
            let timeline = timeline()?;
            emit(&timeline, &ours, vmid)?;
            emit(&timeline, &theirs, OURS)?;
            let killed = OURS.ok_or(EINVAL)?;
            let found = timeline.interrupt(killed, || Progress { begun, completed });
            assert_eq!(found, expected);
            let end = if expected { Err(ENODATA) } else { Ok(()) };
            assert_eq!(&ends(&timeline)?[..], &[end, Ok(())]);
        }
        assert_eq!((ours.check(), theirs.check()), (Err(ENODATA), Ok(())));
        Ok(())
    }

    #[test]
    fn what_is_behind_in_the_queue_is_canceled() -> Result {
        let (ours, theirs) = (Standing::for_test()?, Standing::for_test()?);
        let timeline = timeline()?;
        for standing in [&ours, &theirs, &ours] {
            emit(&timeline, standing, OURS)?;
        }
        interrupt_the_first(&timeline)?;
        let expected = [Err(ENODATA), Ok(()), Err(ECANCELED)];
        assert_eq!(&ends(&timeline)?[..], &expected);
        Ok(())
    }

    #[test]
    fn a_kill_in_vain_becomes_a_time_out() -> Result {
        let ours = Standing::for_test()?;
        let timeline = timeline()?;
        emit(&timeline, &ours, OURS)?;
        interrupt_the_first(&timeline)?;
        timeline.carry_out(Verdict::Fail(ETIME), &Stopped::for_test());
        assert_eq!(&ends(&timeline)?[..], &[Err(ETIME)]);
        assert_eq!(ours.check(), Err(ETIME));
        Ok(())
    }

    #[test]
    fn a_bystander_keeps_its_error() -> Result {
        let ours = Standing::for_test()?;
        let timeline = timeline()?;
        emit(&timeline, &ours, OURS)?;
        interrupt_the_first(&timeline)?;
        timeline.carry_out(Verdict::Fail(ECANCELED), &Stopped::for_test());
        assert_eq!(&ends(&timeline)?[..], &[Err(ENODATA)]);
        assert_eq!(ours.check(), Err(ENODATA));
        Ok(())
    }
}
