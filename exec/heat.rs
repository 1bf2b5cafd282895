// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Watch over the card's temperature.
//!
//! The C driver leaves this to its power management (amdgpu_dpm).
//!
//! Nothing else in the system looks after a card that this driver runs: clocks and fan stay as the
//! video BIOS has set them. So a card that gets too hot gets no more jobs until it has cooled down.
//! The temperature is read when jobs are submitted, at most once a second: a card without jobs does
//! not get hotter.

use kernel::{
    device,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};

use crate::hw::{
    card::CardHandle,
    Chip, //
};

/// Temperature in degrees Celsius from which on no jobs are taken.
const LIMIT: u32 = 90;
/// Temperature below which jobs are taken again.
const COOL: u32 = 85;
/// Time between two readings, in ms.
const PERIOD: i64 = 1000;

/// The watch over one card.
#[pin_data]
pub(crate) struct Heat {
    dev: ARef<device::Device>,
    hw: &'static Chip,
    card: CardHandle,
    start: Instant<Monotonic>,
    /// Time of the next reading, in ms from `start`.
    due: Atomic<i64>,
    hot: AtomicFlag,
    /// Held while the temperature is read, which takes two accesses.
    #[pin]
    reading: SpinLock<()>,
}

impl Heat {
    pub(crate) fn new<'a>(
        dev: &'a device::Device,
        hw: &'static Chip,
        card: CardHandle,
    ) -> impl PinInit<Self> + 'a {
        pin_init!(Self {
            dev: dev.into(),
            hw,
            card,
            start: Instant::now(),
            due: Atomic::new(0),
            hot: AtomicFlag::new(false),
            reading <- new_spinlock!((), "Heat::reading"),
        })
    }

    /// Checks that the card may get jobs.
    ///
    /// # Errors
    ///
    /// Returns `EBUSY` while the card is too hot.
    pub(crate) fn check(&self) -> Result {
        let now = self.start.elapsed().as_millis();
        let due = self.due.load(Relaxed);
        if now >= due && self.due.cmpxchg(due, now + PERIOD, Relaxed).is_ok() {
            self.read();
        }
        if self.hot.load(Relaxed) {
            return Err(EBUSY);
        }
        Ok(())
    }

    fn read(&self) {
        let Some(card) = self.card.try_access() else {
            return;
        };
        let reading = self.reading.lock();
        let temperature = self.hw.system.condition(&card).temperature;
        drop(reading);
        drop(card);
        let was_hot = self.hot.load(Relaxed);
        let hot = is_hot(temperature, was_hot);
        self.hot.store(hot, Relaxed);
        if hot && !was_hot {
            dev_err!(
                self.dev,
                "the card is at {temperature} degrees Celsius: it gets no jobs before it is below {COOL}\n"
            );
        }
    }
}

/// Returns true if a card at this temperature must not get jobs. One that was too hot has to cool
/// down by some degrees.
fn is_hot(temperature: u32, was_hot: bool) -> bool {
    temperature >= if was_hot { COOL } else { LIMIT }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_heat)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (temperature, was_hot, hot) in [
            (0, false, false),
            (89, false, false),
            (90, false, true),
            (511, false, true),
            (85, true, true),
            (84, true, false),
        ] {
            assert_eq!(is_hot(temperature, was_hot), hot);
        }
    }
}
