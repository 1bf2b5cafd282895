// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of timelines: how numbers follow the hardware, and how fences end.

use super::*;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_fence)]
mod tests {
    use super::*;
    use crate::{
        exec::{
            engine_time::EngineTime,
            verdict::Standing, //
        },
        hw::command::EngineKind, //
    };
    use kernel::{
        sync::Arc,
        time::{
            delay::fsleep,
            Delta,
            Monotonic, //
        }, //
    };

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
        emit_by(timeline, Party::Kernel, result)
    }

    fn emit_by(timeline: &Timeline, party: Party, result: Result) -> Result<Emission> {
        timeline
            .emit(HwFence::new(GFP_KERNEL)?, party, result)
            .map_err(|_| EBUSY)
    }

    fn client(standing: &Arc<Standing>) -> Party {
        Party::Client {
            standing: standing.clone(),
            gang: None,
            tenant: None,
            vmid: None,
        }
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
        let standing = Standing::for_test()?;
        let emit_client = || emit_by(&timeline, client(&standing), Ok(()));
        let fences = [emit_client()?, emit_client()?, emit_client()?];
        timeline.process(1);
        timeline.abort(Some(Culprit { begun: 2 }), ECANCELED);
        assert_eq!(standing.check(), Err(ETIME));
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
    fn after_a_reset_all_but_the_lost_run_again() -> Result {
        let timeline = timeline(0)?;
        let (guilty, other) = (Standing::for_test()?, Standing::for_test()?);
        let emit = |standing| -> Result<Emission> {
            let emission = emit_by(&timeline, client(standing), Ok(()))?;
            let start = emission.fence.seqno() * 16;
            timeline.place(Span {
                start,
                commands: start + 4..start + 8,
                end: start + 16,
            });
            Ok(emission)
        };
        let fences = [emit(&guilty)?, emit(&other)?, emit(&guilty)?, emit(&other)?];
        let stopped = Stopped::for_test();
        let head = timeline.head(1).ok_or(EINVAL)?;
        assert!(head.begun && !head.kernel && head.tried.is_none());
        timeline.carry_out(Verdict::Fail(ETIME), &stopped);
        assert_eq!((guilty.check(), other.check()), (Err(ETIME), Ok(())));

        let (mut written, mut count) = ([(0, false); 4], 0);
        let counts = timeline.replay(
            |span, runs| {
                written[count] = (span.start, runs);
                count += 1;
                span.clone()
            },
            &stopped,
        );
        assert_eq!(counts, (2, 2));
        assert_eq!(written, [(16, false), (32, true), (48, false), (64, true)]);
        // None has ended yet: each ends in its turn.
        for emission in &fences {
            assert_eq!(emission.fence.status(), None);
        }
        timeline.process(4);
        let ends = [Err(ETIME), Ok(()), Err(ECANCELED), Ok(())];
        for (emission, end) in fences.iter().zip(ends) {
            assert_eq!(emission.fence.status(), Some(end));
        }
        Ok(())
    }

    #[test]
    fn with_the_page_tables_all_clients_lose() -> Result {
        let timeline = timeline(0)?;
        let (guilty, other) = (Standing::for_test()?, Standing::for_test()?);
        let fences = [
            emit_by(&timeline, client(&guilty), Ok(()))?,
            emit(&timeline)?,
            emit_by(&timeline, client(&other), Ok(()))?,
        ];
        let stopped = Stopped::for_test();
        timeline.carry_out(Verdict::Fail(ETIME), &stopped);
        timeline.lose_clients(&stopped);
        assert_eq!(
            (guilty.check(), other.check()),
            (Err(ETIME), Err(ECANCELED))
        );
        assert_eq!(timeline.replay(|span, _| span.clone(), &stopped), (1, 2));
        timeline.process(3);
        let ends = [Err(ETIME), Ok(()), Err(ECANCELED)];
        for (emission, end) in fences.iter().zip(ends) {
            assert_eq!(emission.fence.status(), Some(end));
        }
        Ok(())
    }

    #[test]
    fn time_is_charged_to_the_oldest() -> Result {
        let timeline = timeline(0)?;
        let (first, second) = (EngineTime::new()?, EngineTime::new()?);
        let emit = |account: &Arc<EngineTime>| {
            let standing = Standing::new(EngineKind::Gfx, account.clone())?;
            emit_by(&timeline, client(&standing), Ok(()))
        };
        let times = || (first.get(EngineKind::Gfx), second.get(EngineKind::Gfx));
        let a_while = || fsleep(Delta::from_micros(100));
        emit_with(&timeline, Ok(()))?;
        emit(&first)?;
        emit(&second)?;
        a_while();
        timeline.settle();
        // The kernel's own work comes first.
        assert_eq!(times(), (0, 0));
        timeline.process(1);
        a_while();
        timeline.settle();
        let settled = times();
        assert!(settled.0 >= 100_000 && settled.1 == 0);
        a_while();
        timeline.process(2);
        assert!(times().0 >= settled.0 + 100_000 && times().1 == 0);
        let ended = times();
        a_while();
        timeline.process(3);
        assert!(times().0 == ended.0 && times().1 >= 100_000);
        let ended = times();
        // An engine without work is charged to nobody.
        a_while();
        timeline.settle();
        let begun = Instant::<Monotonic>::now();
        emit(&first)?;
        timeline.settle();
        let charged = times().0 - ended.0;
        assert!(i128::from(charged) <= i128::from(begun.elapsed().as_nanos()));
        assert_eq!(times().1, ended.1);
        assert_eq!(first.get(EngineKind::Compute), 0);
        timeline.process(4);
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
