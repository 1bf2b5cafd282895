// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's counters: one decimal number a file, in a debugfs directory of its own. The C
//! driver has none, and then every column reads '-'.

use std::{
    fmt,
    fs,
    path::PathBuf, //
};

/// Returns the directory in which `amdgpu_rs` keeps the counters of the card in `slot`.
pub fn directory(slot: &str) -> PathBuf {
    PathBuf::from("/sys/kernel/debug/amdgpu_rs").join(slot)
}

/// A file by which the driver is told to let one job in so many fail.
#[derive(Debug)]
pub struct FailJobs(PathBuf);

impl FailJobs {
    /// That of the card in `slot`, if its driver has one.
    pub fn find(slot: &str) -> Option<Self> {
        let path = directory(slot).join("fail_jobs");
        path.exists().then_some(Self(path))
    }

    /// Lets one job in `every` fail; 0: none.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn set(&self, every: u32) -> Result<(), String> {
        fs::write(&self.0, every.to_string()).map_err(|e| format!("{}: {e}", self.0.display()))
    }
}

impl Drop for FailJobs {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.set(0);
    }
}

/// A count, where the driver counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count(pub Option<u64>);

impl Count {
    /// Returns the increase since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self(self.0.zip(before.0).map(|(now, then)| now.wrapping_sub(then)))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(n) => f.pad(&n.to_string()),
            None => f.pad("-"),
        }
    }
}

/// The counters of the userptr path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Number of times that the pages of a userptr BO were gathered.
    pub gathers: Count,
    /// Pages in those gathers.
    pub pages_gathered: Count,
    /// Invalidations that the notifier saw.
    pub invalidations: Count,
    /// Submissions sent round again because an invalidation overtook them.
    pub retries: Count,
    /// Submissions given up after the last try.
    pub edeadlk: Count,
    /// Invalidations that found jobs under way, and waited for them.
    pub waits: Count,
    /// Invalidations that may not wait, and were refused.
    pub would_block: Count,
}

impl Stats {
    /// One of them, by the name of its file.
    pub fn count(slot: &str, name: &str) -> Count {
        let text = fs::read_to_string(directory(slot).join(name));
        Count(text.ok().and_then(|text| text.trim().parse().ok()))
    }

    /// The counters as they stand.
    pub fn read(slot: &str) -> Self {
        let count = |name| Self::count(slot, name);
        Self {
            gathers: count("gathers"),
            pages_gathered: count("pages_gathered"),
            invalidations: count("invalidations"),
            retries: count("retries"),
            edeadlk: count("edeadlk"),
            waits: count("waits"),
            would_block: count("would_block"),
        }
    }

    /// Returns the counts since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            gathers: self.gathers.since(before.gathers),
            pages_gathered: self.pages_gathered.since(before.pages_gathered),
            invalidations: self.invalidations.since(before.invalidations),
            retries: self.retries.since(before.retries),
            edeadlk: self.edeadlk.since(before.edeadlk),
            waits: self.waits.since(before.waits),
            would_block: self.would_block.since(before.would_block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_counters_stay_absent() {
        let none = Stats::read("no such slot");
        assert_eq!(none, Stats::default());
        assert_eq!(none.since(none).gathers.to_string(), "-");
        assert_eq!(Count(Some(7)).since(Count(Some(3))), Count(Some(4)));
        assert_eq!(format!("{:>4}", Count(Some(12))), "  12");
    }
}
