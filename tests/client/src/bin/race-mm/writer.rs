// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GPU's side of a race: jobs that write every page of user memory again and again, and say
//! what they read there.

use std::{
    ops::Range,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    engine::Engine,
    ib::Stream,
    num::u64_of,
    race::Target,
    session::Session, //
};

use crate::arena::Arena;

/// Place in a page of the word that the GPU writes.
pub const WRITTEN: usize = 0;
/// Place in a page at which the process says which generation of it this is.
pub const STAMP: usize = 2048;
/// Place in the session's page of data at which a job puts the stamps that it read.
const SEEN: usize = 2048;
/// Number of times that a job writes each page.
const SWEEPS: usize = 8;

/// Generations of each page that a job may have seen: those that were there at some moment between
/// its submission and its end.
pub struct Marks {
    /// Generations that are about to be put in place.
    begun: Vec<AtomicU32>,
    /// Generations that are in place.
    settled: Vec<AtomicU32>,
    fresh: Fresh,
}

/// Contents of fresh pages when they come into place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fresh {
    /// Their stamp.
    Stamped,
    /// Nothing but zeros, and the stamp a little later.
    Zeros,
}

impl Marks {
    /// Every page is in generation 0.
    pub fn new(pages: usize, fresh: Fresh) -> Self {
        let zeros = || (0..pages).map(|_| AtomicU32::new(0)).collect();
        Self { begun: zeros(), settled: zeros(), fresh }
    }

    /// To be called before pages are replaced.
    pub fn begin(&self, pages: Range<usize>, generation: u32) {
        self.begun[pages].iter().for_each(|mark| mark.store(generation, Ordering::SeqCst));
    }

    /// To be called after pages were replaced.
    pub fn settle(&self, pages: Range<usize>, generation: u32) {
        self.settled[pages].iter().for_each(|mark| mark.store(generation, Ordering::SeqCst));
    }

    /// Returns what is in place, to be asked before a submission.
    fn before(&self) -> Vec<u32> {
        self.settled.iter().map(|mark| mark.load(Ordering::SeqCst)).collect()
    }

    /// Judges the stamp that a job saw, after it has ended.
    fn judge(&self, page: usize, before: u32, seen: u32) -> Result<(), String> {
        let begun = self.begun[page].load(Ordering::SeqCst);
        let zeros = self.fresh == Fresh::Zeros && begun > before;
        if (before..=begun).contains(&seen) || zeros && seen == 0 {
            return Ok(());
        }
        Err(format!(
            "page {page}: a job saw generation {seen:#x}, but {before} to {begun} were there"
        ))
    }
}

/// Ways in which a job names BOs, besides those of its session.
pub enum Names {
    /// By these handles.
    Handles(Vec<u32>),
    /// By this BO list, in which those of its session are, too.
    List(u32),
}

/// One that submits jobs, each of which writes its number to every page.
pub struct Writer<'a> {
    /// A session of its own.
    pub session: Session,
    /// Engine of the jobs.
    pub engine: Engine,
    /// BOs that the jobs name.
    pub names: Names,
    /// GPU address of the pages.
    pub va: u64,
    /// Those of them that it looks at and writes.
    pub pages: Vec<usize>,
    /// Stamps that the jobs may see; of a writer that does not name the memory, nobody can say.
    pub marks: Option<&'a Marks>,
    /// Errors that a submission may meet.
    pub refusals: &'a [i32],
}

impl<'a> Writer<'a> {
    /// One that names what a target covers, of `pages` pages, and looks at all of it.
    pub fn over(
        target: &Target<'_>,
        pages: usize,
        engine: Engine,
        marks: Option<&'a Marks>,
        refusals: &'a [i32],
    ) -> Result<Self, String> {
        Ok(Self {
            session: target.session.another().map_err(say("a session"))?,
            engine,
            names: Names::Handles(vec![target.handle]),
            va: target.va,
            pages: (0..pages).collect(),
            marks,
            refusals,
        })
    }

    /// Submits until the race is over.
    pub fn run(self, arena: &Arena) -> Result<(), String> {
        for tick in 1.. {
            if !arena.goes_on() {
                break;
            }
            self.one(arena, tick)?;
        }
        Ok(())
    }

    fn one(&self, arena: &Arena, tick: u32) -> Result<(), String> {
        let stream = self.stream(tick);
        let before = self.marks.map(Marks::before);
        let (session, engine) = (&self.session, self.engine);
        let ran = arena.run_with(session, engine, self.refusals, || match &self.names {
            Names::Handles(handles) => session.submit(engine, &stream, handles),
            Names::List(list) => session.submit_listed(engine, &stream, *list),
        })?;
        let (true, Some(marks), Some(before)) = (ran, self.marks, before) else {
            return Ok(());
        };
        self.pages.iter().try_for_each(|&page| {
            marks.judge(page, before[page], self.session.data.map.read(SEEN + 4 * page))
        })
    }

    fn stream(&self, tick: u32) -> Stream {
        let mut stream = Stream::new();
        let at = |page: usize| self.va + u64_of(page * PAGE);
        for &page in &self.pages {
            let seen = self.session.data.va + u64_of(SEEN + 4 * page);
            stream.copy(self.engine, at(page) + u64_of(STAMP), seen, 4);
        }
        for _ in 0..SWEEPS {
            for &page in &self.pages {
                stream.store(self.engine, at(page) + u64_of(WRITTEN), tick);
            }
        }
        stream
    }
}

/// Says what was being done when a call failed.
pub fn say(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}
