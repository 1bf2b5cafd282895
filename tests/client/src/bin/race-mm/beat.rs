// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processor and GPU write the same pages in turn, and each reads what the other wrote. Memory that
//! nobody gives back must hold at any time what was written last, wherever the kernel moves it: a
//! job that writes to where a page was, or reads there, is found out at once.

use amdgpu_client::{
    PAGE,
    drm::IoMap,
    engine::Engine,
    ib::Stream,
    mem::{
        Advice,
        UserMem, //
    },
    num::u64_of,
    race::{
        Latch,
        Target,
        wait_at_gate, //
    },
    session::Session, //
};

use crate::{
    arena::Arena,
    keeper::Keeper,
    setting::Setting,
    writer::{
        STAMP,
        WRITTEN,
        say, //
    }, //
};

/// Place in the session's page of data at which a job puts the word that it read.
const SEEN: usize = 2048;

/// The two, and what they have written.
pub struct Beat<'a> {
    session: Session,
    /// Opener of the session's gate.
    keeper: Option<Keeper>,
    engine: Engine,
    mem: &'a UserMem,
    handle: u32,
    va: u64,
    /// The pages that they look at.
    spots: Vec<usize>,
    /// Number of times that a job writes its word.
    sweeps: usize,
    /// Words that the GPU wrote last, by spot.
    written: Vec<u32>,
    /// Word that the processor wrote last.
    stamp: u32,
    tick: u32,
}

impl<'a> Beat<'a> {
    /// On memory that `target` covers, whose `spots` are written once to begin with.
    pub fn new(
        setting: &Setting,
        session: &Session,
        target: &Target<'_>,
        mem: &'a UserMem,
        spots: Vec<usize>,
        sweeps: usize,
    ) -> Result<Self, String> {
        for &page in &spots {
            mem.store(page, WRITTEN, 0);
            mem.store(page, STAMP, 0);
        }
        Ok(Self {
            session: session.another().map_err(say("a session"))?,
            keeper: None,
            engine: setting.engine,
            mem,
            handle: target.handle,
            va: target.va,
            written: vec![0; spots.len()],
            spots,
            sweeps,
            stamp: 0,
            tick: 0,
        })
    }

    /// Another mapping of the gate, for whom the race is over: who waits at it need not wait
    /// longer.
    pub fn gate(&self) -> Result<IoMap, String> {
        let data = &self.session.data;
        self.session.file.map(data.handle, data.size).map_err(say("mmap of a BO"))
    }

    /// The same, with a keeper for jobs that wait. To be called by a process of one thread.
    pub fn kept(mut self, setting: &Setting) -> Result<Self, String> {
        // The keeper is to have no part in the memory.
        self.mem.advise(0..self.mem.pages(), Advice::NotForked).map_err(say("madvise"))?;
        self.keeper = Some(Keeper::new(setting, &self.session)?);
        self.mem.advise(0..self.mem.pages(), Advice::Forked).map_err(say("madvise"))?;
        Ok(self)
    }

    /// Goes on until the race is over. Most jobs wait at a gate until the kernel is about to take
    /// pages away from them, if it ever is.
    pub fn run_gated(mut self, arena: &Arena, setting: &Setting) -> Result<(), String> {
        /// The ones that do not are one of so many. Odd, as two of each four jobs are unlike the
        /// others.
        const FREE: u32 = 5;
        while arena.goes_on() {
            if self.tick % FREE == FREE - 1 {
                self.one(arena)?;
            } else {
                self.gated(arena, setting)?;
            }
        }
        Ok(())
    }

    /// Each writes once. Every other time the processor only reads: a page that it has read, and
    /// the GPU then writes, must count as written. And every other pair of times the GPU writes
    /// only the first half of the pages: the others must stay as they are.
    pub fn one(&mut self, arena: &Arena) -> Result<(), String> {
        let stores = self.begin()?;
        let stream = self.stream(Stream::new(), stores);
        let ran = arena.run(&self.session, self.engine, &stream, &[self.handle], &[])?;
        if ran { self.end(stores) } else { Ok(()) }
    }

    /// The same with a job that waits at a gate, until somebody waits for it who wants to take its
    /// pages away: nobody but the kernel does then. Whether that came to be.
    pub fn gated(&mut self, arena: &Arena, setting: &Setting) -> Result<bool, String> {
        let stores = self.begin()?;
        let mut stream = Stream::new();
        wait_at_gate(&self.session, self.engine, &mut stream);
        let stream = self.stream(stream, stores);
        let session = &self.session;
        let latch = Latch::shut(&session.data.map);
        let Some(keeper) = &mut self.keeper else { return Err("a gate without a keeper".into()) };
        // No other job of this file is under way.
        keeper.ask(setting.waits())?;
        let job =
            arena.submit(self.engine, &[], || session.submit(self.engine, &stream, &[self.handle]));
        let hit = keeper.answer()?;
        let Some(job) = job? else { return Ok(false) };
        drop(latch);
        arena.finish(session, self.engine, job)?;
        if hit {
            arena.took_from_a_job();
        }
        self.end(stores).map(|()| hit)
    }

    /// Before a job: what the processor does. How many spots the job is to write.
    fn begin(&mut self) -> Result<usize, String> {
        self.tick += 1;
        if self.tick % 2 == 1 {
            self.stamp = self.tick;
            self.spots.iter().for_each(|&page| self.mem.store(page, STAMP, self.stamp));
        }
        self.look("before the job")?;
        Ok(if self.tick % 4 < 2 { self.spots.len() } else { self.spots.len() / 2 })
    }

    /// After a job: what it did.
    fn end(&mut self, stores: usize) -> Result<(), String> {
        self.written[..stores].fill(self.tick);
        self.look("after the job")?;
        for (n, page) in self.spots.iter().enumerate() {
            let seen = self.session.data.map.read(SEEN + 4 * n);
            if seen != self.stamp {
                let stamp = self.stamp;
                return Err(format!("page {page}: the GPU read {seen:#x}, not {stamp:#x}"));
            }
        }
        Ok(())
    }

    fn look(&self, when: &str) -> Result<(), String> {
        for (&page, &written) in self.spots.iter().zip(&self.written) {
            let (word, stamp) = (self.mem.load(page, WRITTEN), self.mem.load(page, STAMP));
            if (word, stamp) != (written, self.stamp) {
                return Err(format!(
                    "page {page} {when} {}: it has {word:#x} of the GPU and {stamp:#x} of the \
                     processor, not {written:#x} and {:#x}",
                    self.tick, self.stamp
                ));
            }
        }
        Ok(())
    }

    fn stream(&self, mut stream: Stream, stores: usize) -> Stream {
        let at = |page: usize| self.va + u64_of(page * PAGE);
        for (n, &page) in self.spots.iter().enumerate() {
            let seen = self.session.data.va + u64_of(SEEN + 4 * n);
            stream.copy(self.engine, at(page) + u64_of(STAMP), seen, 4);
        }
        for _ in 0..self.sweeps {
            for &page in &self.spots[..stores] {
                stream.store(self.engine, at(page) + u64_of(WRITTEN), self.tick);
            }
        }
        stream
    }
}
