// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's fault injection: the n-th allocation that this thread makes fails.
//!
//! Small objects and pages are counted apart. The small objects of a call are the same each time,
//! so that counting finds each of them; how many pages it takes depends on how full the caches of
//! small objects are.

use std::{
    cell::Cell,
    fs::{
        self,
        File,
        OpenOptions, //
    },
    os::unix::fs::FileExt, //
};

use amdgpu_client::{
    Errno,
    Result, //
};

/// Kinds of allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Small objects.
    Object,
    /// Pages, of any number.
    Pages,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Object, Self::Pages];

    /// Settings that make every allocation of this kind a point that can fail, and none of the
    /// other.
    const fn knobs(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Object => [("failslab/cache-filter", "N"), ("fail_page_alloc/min-order", "31")],
            Self::Pages => [("failslab/cache-filter", "Y"), ("fail_page_alloc/min-order", "0")],
        }
    }
}

/// Settings that add the points that may sleep, which nearly all may.
const KNOBS: [(&str, &str); 3] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
];
/// Settings for the kernel's log of each failure: up to 2, its stack.
const VERBOSE: [&str; 2] = ["failslab/verbose", "fail_page_alloc/verbose"];

fn turn(knob: &str, value: &str) -> std::result::Result<(), String> {
    let path = format!("/sys/kernel/debug/{knob}");
    fs::write(&path, value).map_err(|e| format!("{path}: {e}"))
}

/// The calling thread's injection.
pub struct Injector(File);

impl Injector {
    /// # Errors
    ///
    /// In words, when the kernel cannot inject faults.
    pub fn new(verbose: u8) -> std::result::Result<Self, String> {
        let verbose = verbose.to_string();
        KNOBS.into_iter().try_for_each(|(knob, value)| turn(knob, value))?;
        VERBOSE.into_iter().try_for_each(|knob| turn(knob, &verbose))?;
        let path = "/proc/thread-self/fail-nth";
        let file = OpenOptions::new().read(true).write(true).open(path);
        file.map(Self).map_err(|e| format!("{path}: {e}"))
    }

    /// From now on it is allocations of this kind that fail.
    ///
    /// # Errors
    ///
    /// In words, when the kernel cannot.
    pub fn aim(&self, kind: Kind) -> std::result::Result<(), String> {
        kind.knobs().into_iter().try_for_each(|(knob, value)| turn(knob, value))
    }

    /// A shot at the `n`-th allocation of a call.
    pub fn nth(&self, n: u32) -> Shot<'_> {
        Shot { injector: self, n, seen: Cell::new(Seen::NotFired) }
    }

    fn set(&self, n: u32) {
        let written = self.0.write_at(format!("{n}\n").as_bytes(), 0);
        assert!(written.is_ok(), "fail-nth: {written:?}");
    }

    /// Returns the number of allocations left before one fails.
    fn left(&self) -> u32 {
        let mut text = [0; 16];
        let len = self.0.read_at(&mut text, 0).expect("fail-nth can be read");
        let text = std::str::from_utf8(&text[..len]).expect("fail-nth is text");
        text.trim().parse().expect("fail-nth is a number")
    }
}

/// Outcome of a shot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The call was not made.
    NotFired,
    /// The call has fewer allocations than that, and answered this.
    Missed(Result),
    /// The allocation failed, and the call answered this.
    Hit(Result),
}

/// One allocation that is to fail.
pub struct Shot<'i> {
    injector: &'i Injector,
    n: u32,
    seen: Cell<Seen>,
}

impl Shot<'_> {
    /// Makes the call, in which the allocation fails. Once for each shot.
    ///
    /// # Errors
    ///
    /// The call's.
    pub fn fire<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        assert_eq!(self.seen.get(), Seen::NotFired, "one shot, one call");
        self.injector.set(self.n);
        let answer = call();
        let left = self.injector.left();
        self.injector.set(0);
        let outcome = answer.as_ref().map(|_| ()).map_err(|e: &Errno| *e);
        self.seen.set(if left == 0 { Seen::Hit(outcome) } else { Seen::Missed(outcome) });
        answer
    }

    /// Returns the outcome.
    pub fn seen(&self) -> Seen {
        self.seen.get()
    }
}
