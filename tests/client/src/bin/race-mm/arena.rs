// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The arena: jobs meet what takes memory away from them, and that is counted.

use std::{
    sync::{
        Barrier,
        atomic::{
            AtomicBool,
            AtomicU64,
            AtomicUsize,
            Ordering, //
        }, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    engine::Engine,
    ib::Stream,
    rng::Rng,
    session::{
        PATIENCE_MS,
        Session, //
    }, //
};

use crate::setting::{
    NOT_HIT,
    Seen, //
};

/// Errors of a submission that lost to the process again and again, from this driver and from the C
/// driver.
const LOST: [i32; 2] = [libc::EDEADLK, libc::EAGAIN];

/// One race, with all that takes part in it.
pub struct Arena {
    end: Instant,
    over: AtomicBool,
    /// Submissions that are in the kernel.
    submitting: AtomicUsize,
    /// Jobs that were submitted and are not known to be done.
    under_way: AtomicUsize,
    jobs: AtomicU64,
    refused: AtomicU64,
    rounds: AtomicU64,
    rounds_hit: AtomicU64,
    jobs_hit: AtomicU64,
    submissions_hit: AtomicU64,
}

/// Things to race with at some moment.
#[derive(Clone, Copy, Debug)]
struct Busy {
    /// A job was under way.
    job: bool,
    /// A submission was in the kernel.
    submission: bool,
}

/// One that takes part: a thread of its own, until the race is over.
pub type Side<'a> = Box<dyn FnOnce(&Arena) -> Result<(), String> + Send + 'a>;

/// Outcome of a race.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Jobs that ran.
    pub jobs: u64,
    /// Submissions that were refused as they may be.
    pub refused: u64,
    /// Times that memory was taken away.
    pub rounds: u64,
    /// Those of them that found a job under way, or a submission in the kernel.
    pub rounds_hit: u64,
    /// Those that found a job under way.
    pub jobs_hit: u64,
    /// Those that found a submission in the kernel.
    pub submissions_hit: u64,
}

impl Arena {
    /// Lets all sides race until the time is over or one of them ends.
    ///
    /// # Errors
    ///
    /// What a side says; that no race was hit.
    pub fn race(time: Duration, sides: Vec<Side<'_>>) -> Result<Score, String> {
        let arena = Self::new(time);
        // A thread that begins maps memory for itself, which may end up in a hole that another
        // makes.
        let all_are_there = Barrier::new(sides.len());
        thread::scope(|scope| {
            let (arena, all_are_there) = (&arena, &all_are_there);
            let threads: Vec<_> = sides
                .into_iter()
                .map(|side| {
                    scope.spawn(move || {
                        all_are_there.wait();
                        let result = side(arena);
                        arena.over.store(true, Ordering::SeqCst);
                        result
                    })
                })
                .collect();
            // All of them are joined, whatever the first one says.
            let ends: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
            ends.into_iter().try_for_each(|end| end.map_err(|_| "a thread panicked".to_owned())?)
        })?;
        arena.score()
    }

    fn new(time: Duration) -> Self {
        Self {
            end: Instant::now() + time,
            over: AtomicBool::new(false),
            submitting: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            jobs: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
            rounds_hit: AtomicU64::new(0),
            jobs_hit: AtomicU64::new(0),
            submissions_hit: AtomicU64::new(0),
        }
    }

    fn score(self) -> Result<Score, String> {
        let score = Score {
            jobs: self.jobs.into_inner(),
            refused: self.refused.into_inner(),
            rounds: self.rounds.into_inner(),
            rounds_hit: self.rounds_hit.into_inner(),
            jobs_hit: self.jobs_hit.into_inner(),
            submissions_hit: self.submissions_hit.into_inner(),
        };
        if score.jobs == 0 || score.rounds_hit == 0 {
            return Err(format!("{NOT_HIT}: {score}"));
        }
        Ok(score)
    }

    /// Returns true if the race goes on.
    pub fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst) && Instant::now() < self.end
    }

    /// Before memory is taken away: half of the time waits for a job, so that neither side always
    /// wins.
    pub fn ready(&self, rng: &mut Rng) {
        /// Longer than a job that has nothing to wait for.
        const PATIENCE: Duration = Duration::from_millis(20);
        if rng.next() & 1 == 0 {
            self.wait_for_job(PATIENCE);
        }
    }

    /// Waits until a job is under way, for a while.
    pub fn wait_for_job(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.busy().job && self.goes_on() && Instant::now() < end {
            thread::yield_now();
        }
    }

    /// Returns true if a submission is in the kernel.
    pub fn is_submitting(&self) -> bool {
        self.submitting.load(Ordering::SeqCst) > 0
    }

    /// Submits a job and waits for it. Whether it ran: it may be refused because memory was taken
    /// away faster than it could be gathered, or with one of `refusals`.
    ///
    /// # Errors
    ///
    /// In words, for any other refusal, and for a job that does not end.
    pub fn run(
        &self,
        session: &Session,
        engine: Engine,
        stream: &Stream,
        handles: &[u32],
        refusals: &[i32],
    ) -> Result<bool, String> {
        self.run_with(session, engine, refusals, || session.submit(engine, stream, handles))
    }

    /// The same with any manner of submission.
    ///
    /// # Errors
    ///
    /// As [`Arena::run`].
    pub fn run_with(
        &self,
        session: &Session,
        engine: Engine,
        refusals: &[i32],
        submit: impl FnOnce() -> amdgpu_client::Result<u64>,
    ) -> Result<bool, String> {
        match self.submit(engine, refusals, submit)? {
            Some(seq) => self.finish(session, engine, seq).map(|()| true),
            None => Ok(false),
        }
    }

    /// The first half of [`Arena::run_with`]: nothing if the submission was refused.
    ///
    /// # Errors
    ///
    /// In words, for a refusal that may not be.
    pub fn submit(
        &self,
        engine: Engine,
        refusals: &[i32],
        submit: impl FnOnce() -> amdgpu_client::Result<u64>,
    ) -> Result<Option<u64>, String> {
        self.submitting.fetch_add(1, Ordering::SeqCst);
        let answer = submit();
        if answer.is_ok() {
            self.under_way.fetch_add(1, Ordering::SeqCst);
        }
        self.submitting.fetch_sub(1, Ordering::SeqCst);
        match answer {
            Ok(seq) => Ok(Some(seq)),
            Err(Errno(e)) if LOST.contains(&e) || refusals.contains(&e) => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Ok(None)
            }
            Err(e) => Err(format!("a submission to {engine}: {e}")),
        }
    }

    /// The second half of [`Arena::run_with`].
    ///
    /// # Errors
    ///
    /// In words, for a job that does not end well.
    pub fn finish(&self, session: &Session, engine: Engine, seq: u64) -> Result<(), String> {
        let done = session.wait(engine, seq, PATIENCE_MS);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match done {
            Ok(true) => {
                self.jobs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Ok(false) => Err(format!("job {seq} on {engine} not done after {PATIENCE_MS} ms")),
            Err(e) => Err(format!("waiting for job {seq} on {engine}: {e}")),
        }
    }

    /// Returns the things to race with now.
    fn busy(&self) -> Busy {
        Busy { job: self.under_way.load(Ordering::SeqCst) > 0, submission: self.is_submitting() }
    }

    /// Takes memory away, and notes what that raced with.
    pub fn take<T>(&self, call: impl FnOnce() -> T) -> T {
        let busy = self.busy();
        let answer = call();
        self.took(busy);
        answer
    }

    /// Notes that memory was taken away from under a job.
    pub fn took_from_a_job(&self) {
        self.took(Busy { job: true, submission: false });
    }

    /// Notes that a submission was made, and whether it met another.
    pub fn met(&self, another: bool) {
        self.took(Busy { job: false, submission: another });
    }

    /// Notes that memory was taken away, and what there was to race with.
    fn took(&self, busy: Busy) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        self.rounds_hit.fetch_add(u64::from(busy.job || busy.submission), Ordering::SeqCst);
        self.jobs_hit.fetch_add(u64::from(busy.job), Ordering::SeqCst);
        self.submissions_hit.fetch_add(u64::from(busy.submission), Ordering::SeqCst);
    }
}

impl Score {
    /// Returns the report of a case that has nothing else to say.
    pub fn seen(self) -> Seen {
        self.seen_as(self)
    }

    /// Returns the report of a case that says more than this.
    pub fn seen_as(self, said: impl std::fmt::Display) -> Seen {
        Seen { hit: self.rounds_hit, said: said.to_string() }
    }

    /// Two races as one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            jobs: self.jobs + other.jobs,
            refused: self.refused + other.refused,
            rounds: self.rounds + other.rounds,
            rounds_hit: self.rounds_hit + other.rounds_hit,
            jobs_hit: self.jobs_hit + other.jobs_hit,
            submissions_hit: self.submissions_hit + other.submissions_hit,
        }
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { jobs, refused, rounds, jobs_hit, submissions_hit, .. } = self;
        write!(
            f,
            "{rounds} rounds hit {jobs_hit} jobs and {submissions_hit} submissions; \
             {jobs} jobs, {refused} refused"
        )
    }
}
