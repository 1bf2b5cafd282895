// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counting instructions.
//!
//! In a machine whose clock counts instructions, processor time does too: the time of a thread is
//! the number of instructions that ran in its name. What a call lets others do later, the
//! scheduler's thread or the interrupt's, is in no thread of ours. So a thread of the lowest kind
//! ([`Meter`]'s spinner) uses up what nobody else wants, and what it has not used was work. It also
//! keeps the processor from idling: an idle processor's clock would run on its own.

use std::{
    hint::black_box,
    os::unix::thread::JoinHandleExt,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering, //
        }, //
    },
    thread::{
        self,
        JoinHandle, //
    },
    time::Duration, //
};

use crate::{
    Errno,
    Result, //
};

/// Reads a clock, in ns.
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// The middle one of some values.
pub fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Unit of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// The machine's clock counts instructions.
    Instructions,
    /// It is an ordinary clock.
    Nanoseconds,
}

impl Unit {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

/// Counts instructions.
pub struct Meter {
    /// Result of a measurement of nothing.
    overhead: u64,
    spinner: Option<JoinHandle<()>>,
    spinner_clock: libc::clockid_t,
    stop: Arc<AtomicBool>,
}

impl Meter {
    /// Starts the spinner, and measures what measuring costs.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn new() -> std::result::Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let spinner = thread::spawn(move || {
            if be_idle().is_ok() {
                while !seen.load(Ordering::Relaxed) {}
            }
        });
        let mut spinner_clock = 0;
        // SAFETY: the thread is alive: it is not joined before `self` is dropped.
        let code =
            unsafe { libc::pthread_getcpuclockid(spinner.as_pthread_t(), &raw mut spinner_clock) };
        if code != 0 {
            return Err(format!("a clock of the spinning thread: {}", Errno(code)));
        }
        let mut meter = Self { overhead: 0, spinner: Some(spinner), spinner_clock, stop };
        meter.overhead = median((0..101).map(|_| meter.thread(|| ()).0).collect());
        Ok(meter)
    }

    /// Lets the others finish what they have to do, so that the next measurement finds them at
    /// rest.
    ///
    /// A call that wakes a thread costs more than one that finds it still at work from the call
    /// before: some 2,000 instructions for a submission, by luck. The model takes its own time, so
    /// which of the two it is would follow the host's load.
    pub fn settle(&self) {
        thread::sleep(SETTLE);
    }

    /// Measures the cost of `work` to this thread.
    pub fn thread<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        let before = read(libc::CLOCK_THREAD_CPUTIME_ID);
        mark_begin();
        let answer = work();
        mark_end();
        let cost = read(libc::CLOCK_THREAD_CPUTIME_ID) - before;
        (cost.saturating_sub(self.overhead), answer)
    }

    /// Measures the work of the whole machine while `work` goes on.
    pub fn machine<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        let now = || (read(libc::CLOCK_MONOTONIC), read(self.spinner_clock));
        let (start, unused) = now();
        mark_begin();
        let answer = work();
        mark_end();
        let (end, unused_now) = now();
        ((end - start).saturating_sub(unused_now - unused), answer)
    }

    /// Returns the unit of the figures: a loop of known length tells.
    pub fn unit(&self) -> Unit {
        // Two instructions a round, and now and then a timer's interrupt.
        let off = self.known_loop().abs_diff(2 * ROUNDS);
        if off < ROUNDS / 50 { Unit::Instructions } else { Unit::Nanoseconds }
    }

    /// The cost of a loop of 2,000,000 instructions.
    pub fn known_loop(&self) -> u64 {
        median((0..9).map(|_| self.thread(|| count_down(black_box(ROUNDS))).0).collect())
    }
}

/// More than threads of the driver need for what is left when a job is done.
const SETTLE: Duration = Duration::from_millis(1);

/// Rounds of the loop by which a clock is known.
const ROUNDS: u64 = 1_000_000;

/// Two instructions a round, and none besides.
#[cfg(target_arch = "x86_64")]
fn count_down(rounds: u64) {
    // SAFETY: changes the one register that it is given, and the flags.
    unsafe {
        std::arch::asm!(
            "2: dec {n}", "jnz 2b",
            n = inout(reg) rounds => _,
            options(nomem, nostack)
        );
    }
}

/// Tells the emulator's profile (tests/bench/profile.c) that a measurement begins: a no-operation
/// with a number in it.
#[cfg(target_arch = "x86_64")]
fn mark_begin() {
    // SAFETY: does nothing.
    unsafe { std::arch::asm!(".byte 0x0f, 0x1f, 0x84, 0x00", ".ascii \"BEGN\"", options(nostack)) };
}

/// And that it ends.
#[cfg(target_arch = "x86_64")]
fn mark_end() {
    // SAFETY: does nothing.
    unsafe { std::arch::asm!(".byte 0x0f, 0x1f, 0x84, 0x00", ".ascii \"ENDN\"", options(nostack)) };
}

#[cfg(not(target_arch = "x86_64"))]
fn count_down(_rounds: u64) {}

#[cfg(not(target_arch = "x86_64"))]
fn mark_begin() {}

#[cfg(not(target_arch = "x86_64"))]
fn mark_end() {}

/// Makes this thread run only when no other wants to.
fn be_idle() -> Result {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are valid, and 0 is the calling thread.
    Errno::of(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) })
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(spinner) = self.spinner.take() {
            let _ = spinner.join();
        }
    }
}
