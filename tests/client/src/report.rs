// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reports of results: a line for each check, and a closing line with the count.

use std::{
    fmt::Display,
    process::ExitCode, //
};

/// Answer of a check: what was seen, or what was wrong.
pub type Outcome = Result<String, String>;

/// Counts checks, and prints each as it is made.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Nothing checked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a check.
    pub fn check(&mut self, name: impl Display, check: impl FnOnce() -> Outcome) -> bool {
        self.record(name, check())
    }

    /// Records a check that was made.
    pub fn record(&mut self, name: impl Display, outcome: Outcome) -> bool {
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                let gap = if seen.is_empty() { "" } else { ": " };
                println!("ok    {name}{gap}{seen}");
                true
            }
            Err(wrong) => {
                self.failed += 1;
                println!("FAIL  {name}: {wrong}");
                false
            }
        }
    }

    /// Says that a check was not made, and why. It counts for nothing.
    pub fn skip(&mut self, name: impl Display, why: &str) {
        self.skipped += 1;
        println!("skip  {name}: {why}");
    }

    /// The closing line, and the exit status: success when something was checked and nothing
    /// failed.
    pub fn close(self) -> ExitCode {
        let skipped = match self.skipped {
            0 => String::new(),
            n => format!(" ({n} skipped)"),
        };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Ends a program that cannot begin.
pub fn give_up(program: &str, why: impl Display) -> ExitCode {
    eprintln!("{program}: {why}");
    ExitCode::FAILURE
}
