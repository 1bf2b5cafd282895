// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A limit on messages that user space can bring about as often as it likes.
//!
//! The C driver uses `dev_err_ratelimited()` and its like, whose limit all cards share.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// Number of messages that may come at once.
const BURST: i64 = 10;
/// Time after which one more may come, in ms.
const EVERY: i64 = 1000;

/// The pace at which something is logged.
#[pin_data]
pub(crate) struct Pace {
    start: Instant<Monotonic>,
    #[pin]
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    /// Time at which a whole burst may come again, in ms.
    rested: i64,
    /// Number of messages left out since the last one.
    left_out: u64,
}

impl Pace {
    /// Creates the pace of something that was not logged yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            start: Instant::now(),
            state <- new_spinlock!(State::default(), "Pace::state"),
        })
    }

    /// Returns the number of messages that were left out before this one, or `None` if it is to be
    /// left out, too.
    pub(crate) fn ask(&self) -> Option<u64> {
        self.state.lock().ask(self.start.elapsed().as_millis())
    }
}

impl State {
    fn ask(&mut self, now: i64) -> Option<u64> {
        let rested = self.rested.max(now) + EVERY;
        if rested > now + BURST * EVERY {
            self.left_out += 1;
            return None;
        }
        self.rested = rested;
        Some(core::mem::take(&mut self.left_out))
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_pace)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let mut state = State::default();
        for _ in 0..BURST {
            assert_eq!(state.ask(5), Some(0));
        }
        assert_eq!(state.ask(5), None);
        assert_eq!(state.ask(5 + EVERY - 1), None);
        assert_eq!(state.ask(5 + EVERY), Some(2));
        assert_eq!(state.ask(5 + EVERY), None);
        // After a rest, all of them again, and no more.
        let later = 5 + 100 * EVERY;
        assert_eq!(state.ask(later), Some(1));
        for _ in 1..BURST {
            assert_eq!(state.ask(later), Some(0));
        }
        assert_eq!(state.ask(later), None);
    }
}
