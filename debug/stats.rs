// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters of the driver since the device was bound, one number per file. debugfs shows them under
//! `amdgpu_rs/`, in a directory named by the PCI slot.

use kernel::{
    debugfs::ScopedDir,
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A number that only grows.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds `amount`.
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// Returns the current value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Format in which debugfs shows a counter.
impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// The counters of one device.
pub(crate) struct Stats {
    /// Walks over the memory of a buffer.
    pub(crate) gathers: Counter,
    /// Pages that those walks returned.
    pub(crate) pages_gathered: Counter,
    /// Invalidations of the memory behind a buffer.
    pub(crate) invalidations: Counter,
    /// Tries of a submission that had to start over.
    pub(crate) retries: Counter,
    /// Submissions given up after too many tries.
    pub(crate) edeadlk: Counter,
    /// Invalidations that found unfinished jobs, and waited for them.
    pub(crate) waits: Counter,
    /// Invalidations that must not wait for the GPU, and were put off.
    pub(crate) would_block: Counter,
    /// Submissions whose interrupt did not come.
    pub(crate) lost_interrupts: Counter,
    /// Number of times that the interrupt ring was full.
    pub(crate) interrupt_overflows: Counter,
    /// Setting that makes jobs fail.
    pub(crate) fail_jobs: FailJobs,
}

/// A setting that makes every n-th job of clients fail with `EIO` on the way to its ring. 0: none.
///
/// The order in which fences end must hold in the kernel that people run, and that kernel is built
/// without the kernel's own fault injection. So this is a debugfs file, which only root can write.
/// It costs a job one read of a number that does not change.
pub(crate) struct FailJobs {
    every: Atomic<u32>,
    count: Atomic<u32>,
}

impl FailJobs {
    const fn new() -> Self {
        Self {
            every: Atomic::new(0),
            count: Atomic::new(0),
        }
    }

    /// Counts a job, and returns an error if the job is meant to fail.
    pub(crate) fn check(&self) -> Result {
        let every = self.every.load(Relaxed);
        if every != 0 && self.count.fetch_add(1, Relaxed) % every == every - 1 {
            return Err(EIO);
        }
        Ok(())
    }
}

impl Stats {
    /// Creates counters that are all zero.
    pub(crate) const fn new() -> Self {
        Self {
            gathers: Counter::new(),
            pages_gathered: Counter::new(),
            invalidations: Counter::new(),
            retries: Counter::new(),
            edeadlk: Counter::new(),
            waits: Counter::new(),
            would_block: Counter::new(),
            lost_interrupts: Counter::new(),
            interrupt_overflows: Counter::new(),
            fail_jobs: FailJobs::new(),
        }
    }

    /// Creates one file for each counter in `dir`.
    pub(crate) fn show_in<'data>(&'data self, dir: &ScopedDir<'data, '_>) {
        dir.read_only_file(c"gathers", &self.gathers);
        dir.read_only_file(c"pages_gathered", &self.pages_gathered);
        dir.read_only_file(c"invalidations", &self.invalidations);
        dir.read_only_file(c"retries", &self.retries);
        dir.read_only_file(c"edeadlk", &self.edeadlk);
        dir.read_only_file(c"waits", &self.waits);
        dir.read_only_file(c"would_block", &self.would_block);
        dir.read_only_file(c"lost_interrupts", &self.lost_interrupts);
        dir.read_only_file(c"interrupt_overflows", &self.interrupt_overflows);
        dir.read_write_file(c"fail_jobs", &self.fail_jobs.every);
    }
}
