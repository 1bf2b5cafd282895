// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The retry loop of a submission that uses user memory.
//!
//! The C driver tries once, and returns `EAGAIN` for libdrm to try again (`amdgpu_cs_submit`).
//!
//! User pages may only be faulted in while no reservation is held, and may go away again before
//! everything is reserved. So a submission tries: reserve, check whether pages are missing or were
//! invalidated since they were gathered, and if so drop all reservations, gather, and start over.
//! The number of tries is bounded: a process that remaps its memory faster than the kernel can
//! gather it gets `EDEADLK` instead of an endless ioctl.
//!
//! The loop does not know about buffers. It is written over the five operations that it needs
//! ([`Attempt`]), so that tests can make an invalidation strike at each of them.

use kernel::prelude::*;

/// Number of failed tries after which a submission fails with `EDEADLK`.
pub(crate) const MAX_TRIES: u32 = 10;

/// State of the user pages of a reserved submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Every user-memory buffer is bound to current pages, or holds current pages to be bound.
    Ready,
    /// At least one buffer has neither.
    Missing,
}

/// Result of an attempt to publish.
#[derive(Debug)]
pub(crate) enum Publication<T> {
    /// The job is queued; nothing can fail any more.
    Done(T),
    /// An invalidation came between gathering and publishing; nothing was queued.
    Invalidated,
}

/// Operations that the loop needs of a submission.
pub(crate) trait Attempt {
    /// The reservations, held. Dropping the value releases all of them.
    type Reservations;
    /// Result of a published submission.
    type Output;

    /// Reserves every buffer.
    fn reserve(&mut self) -> Result<Self::Reservations>;

    /// Drops gathered pages that were invalidated, and records the buffers that need pages.
    /// Everything is reserved.
    fn check_pages(&mut self, reserved: &Self::Reservations) -> Result<Pages>;

    /// Gathers the pages of the buffers recorded by [`Self::check_pages`]. Nothing is reserved.
    fn gather(&mut self) -> Result;

    /// Binds, writes page tables, and queues the job unless an invalidation came first.
    fn publish(&mut self, reserved: Self::Reservations) -> Result<Publication<Self::Output>>;

    /// Called for each failed try, for statistics, with the number of tries so far.
    fn retried(&mut self, _tries: u32) {}
}

/// Runs `attempt` until it is published, fails, or runs out of tries.
///
/// # Errors
///
/// `EDEADLK` on the tenth failed try; otherwise what the steps of `attempt` return.
pub(crate) fn run<A: Attempt>(attempt: &mut A) -> Result<A::Output> {
    for tries_left in (0..MAX_TRIES).rev() {
        let reserved = attempt.reserve()?;

        let missing = match attempt.check_pages(&reserved)? {
            Pages::Missing => {
                // Gathering takes `mmap_lock`, which comes before reservations.
                drop(reserved);
                true
            }
            Pages::Ready => match attempt.publish(reserved)? {
                Publication::Done(output) => return Ok(output),
                // The next try finds out whose pages are gone.
                Publication::Invalidated => false,
            },
        };

        attempt.retried(MAX_TRIES - tries_left);
        // After the last try nobody would use the pages.
        if missing && tries_left > 0 {
            attempt.gather()?;
        }
    }
    Err(EDEADLK)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_cs_retry)]
mod tests {
    use super::*;

    /// The step at which the scripted invalidation strikes.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Step {
        Reserve,
        Check,
        Gather,
        Publish,
    }

    /// A submission of one user-memory buffer, with a counter instead of memory.
    struct Script {
        generation: u64,
        /// Generation of the pages that the entry holds.
        gathered: Option<u64>,
        /// Generation of the pages that the buffer is bound with.
        bound: Option<u64>,
        /// Invalidate at this step, this many times.
        strike: Option<(Step, u32)>,
        reserved: u32,
        reserves: u32,
        gathers: u32,
        dropped: u32,
        fail_gather: bool,
    }

    impl Script {
        fn new(strike: Option<(Step, u32)>) -> Self {
            Self {
                generation: 1,
                gathered: None,
                bound: None,
                strike,
                reserved: 0,
                reserves: 0,
                gathers: 0,
                dropped: 0,
                fail_gather: false,
            }
        }

        fn maybe_strike(&mut self, step: Step) {
            if let Some((at, times)) = self.strike {
                if at == step && times > 0 {
                    self.generation += 1;
                    self.strike = Some((at, times - 1));
                }
            }
        }
    }

    impl Attempt for Script {
        type Reservations = ();
        type Output = u64;

        fn reserve(&mut self) -> Result {
            self.reserves += 1;
            self.maybe_strike(Step::Reserve);
            Ok(())
        }

        fn check_pages(&mut self, _reserved: &()) -> Result<Pages> {
            let generation = self.generation;
            if self.gathered.is_some_and(|g| g != generation) {
                self.gathered = None;
                self.dropped += 1;
            }
            let pages = if self.bound == Some(generation) || self.gathered.is_some() {
                Pages::Ready
            } else {
                Pages::Missing
            };
            self.maybe_strike(Step::Check);
            Ok(pages)
        }

        fn gather(&mut self) -> Result {
            self.gathers += 1;
            if self.fail_gather {
                return Err(EFAULT);
            }
            self.gathered = Some(self.generation);
            self.maybe_strike(Step::Gather);
            Ok(())
        }

        fn publish(&mut self, _reserved: ()) -> Result<Publication<u64>> {
            if let Some(gathered) = self.gathered.take() {
                self.bound = Some(gathered);
            }
            self.maybe_strike(Step::Publish);
            if self.bound == Some(self.generation) {
                Ok(Publication::Done(self.generation))
            } else {
                Ok(Publication::Invalidated)
            }
        }

        fn retried(&mut self, tries: u32) {
            self.reserved += 1;
            assert_eq!(tries, self.reserved);
        }
    }

    #[test]
    fn undisturbed_submission_gathers_once() {
        let mut s = Script::new(None);
        assert_eq!(run(&mut s), Ok(1));
        assert_eq!((s.reserves, s.gathers, s.dropped), (2, 1, 0));
    }

    #[test]
    fn bound_buffer_needs_no_pages() {
        let mut s = Script::new(None);
        s.bound = Some(1);
        assert_eq!(run(&mut s), Ok(1));
        assert_eq!((s.reserves, s.gathers), (1, 0));
    }

    #[test]
    fn invalidation_before_reserving_gathers_the_new_pages() {
        let mut s = Script::new(Some((Step::Reserve, 1)));
        assert_eq!(run(&mut s), Ok(2));
        assert_eq!((s.reserves, s.gathers, s.dropped), (2, 1, 0));
    }

    #[test]
    fn invalidation_after_the_check_is_caught_when_publishing() {
        let mut s = Script::new(Some((Step::Check, 1)));
        s.bound = Some(1);
        assert_eq!(run(&mut s), Ok(2));
        assert_eq!((s.reserves, s.gathers), (3, 1));
    }

    #[test]
    fn invalidation_after_gathering_drops_the_pages() {
        let mut s = Script::new(Some((Step::Gather, 1)));
        assert_eq!(run(&mut s), Ok(2));
        assert_eq!((s.reserves, s.gathers, s.dropped), (3, 2, 1));
    }

    #[test]
    fn invalidation_before_publishing_starts_over() {
        let mut s = Script::new(Some((Step::Publish, 1)));
        assert_eq!(run(&mut s), Ok(2));
        assert_eq!((s.reserves, s.gathers), (4, 2));
    }

    #[test]
    fn tenth_failed_try_is_edeadlk() {
        let mut s = Script::new(Some((Step::Gather, u32::MAX)));
        assert_eq!(run(&mut s), Err(EDEADLK));
        // The tenth try fails at the check; no page is gathered for a try that will not come.
        assert_eq!(
            (s.reserves, s.gathers, s.reserved),
            (MAX_TRIES, MAX_TRIES - 1, MAX_TRIES)
        );
    }

    #[test]
    fn nine_lost_gathers_still_succeed() {
        let mut s = Script::new(Some((Step::Gather, MAX_TRIES - 2)));
        assert_eq!(run(&mut s), Ok(u64::from(MAX_TRIES) - 1));
        assert_eq!((s.reserves, s.gathers), (MAX_TRIES, MAX_TRIES - 1));
    }

    #[test]
    fn lost_races_at_the_publish_point_are_bounded_too() {
        let mut s = Script::new(Some((Step::Publish, u32::MAX)));
        assert_eq!(run(&mut s), Err(EDEADLK));
        assert_eq!((s.reserves, s.gathers), (MAX_TRIES, MAX_TRIES / 2));
    }

    #[test]
    fn failing_to_gather_ends_the_submission() {
        let mut s = Script::new(None);
        s.fail_gather = true;
        assert_eq!(run(&mut s), Err(EFAULT));
        assert_eq!((s.reserves, s.gathers), (1, 1));
    }
}
