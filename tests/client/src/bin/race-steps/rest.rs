// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Submissions that are made to rest between two steps. Each answers whether the invalidation
//! struck while it rested.

use std::{
    sync::atomic::{
        AtomicI32,
        Ordering, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        File,
        deadline_ms,
        list_entries,
        list_request, //
    },
    ib::Stream,
    mem::{
        Advice,
        UserMem, //
    },
    num::{
        u32_of,
        u64_of, //
    },
    race::{
        Gate,
        Target, //
    },
    session::{
        Buffer,
        PATIENCE_MS, //
    },
    stats::{
        Count,
        Stats, //
    },
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        USERPTR_REGISTER, //
    }, //
};

use crate::{
    BEFORE,
    Rig,
    WRITTEN,
    expect,
    say, //
};

type Check = fn(&Rig<'_>) -> std::result::Result<bool, String>;

pub const CASES: [(&str, Check); 2] =
    [("between gathering and binding", gathered), ("between binding and publishing", bound)];

/// Pages that are written and moved away.
const PAGES: usize = 4;
/// How long something may take to come about: twice that is less than the driver's patience with a job.
const SOON: Duration = Duration::from_secs(4);

/// Waits for a moment, as short a while as possible.
fn until(mut come: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + SOON;
    while !come() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_micros(100));
    }
    true
}

/// A thread that makes an ioctl, as others see it.
#[derive(Default)]
struct Caller(AtomicI32);

impl Caller {
    /// To be called by the thread.
    fn is_me(&self) {
        // SAFETY: no requirement.
        self.0.store(unsafe { libc::gettid() }, Ordering::SeqCst);
    }

    /// Whether it sleeps in an ioctl.
    fn rests(&self) -> bool {
        let path = format!("/proc/self/task/{}/syscall", self.0.load(Ordering::SeqCst));
        let sleeps = || {
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            said.starts_with(&format!("{} ", libc::SYS_ioctl))
        };
        // It may have slept for a lock that somebody was about to release.
        sleeps() && {
            thread::sleep(Duration::from_millis(20));
            sleeps()
        }
    }
}

/// A command buffer beside the session's own, in which a job that waits is running.
struct Commands<'a> {
    rig: &'a Rig<'a>,
    buffer: Buffer,
}

impl<'a> Commands<'a> {
    fn new(rig: &'a Rig<'a>) -> std::result::Result<Self, String> {
        let buffer = rig.session.buffer(u64_of(PAGE), DOMAIN_GTT, 0).map_err(say("a BO"))?;
        Ok(Self { rig, buffer })
    }

    /// A job that writes the first pages of `target`, which it names, as it does `others`.
    fn job(&self, target: &Target<'_>, others: &[u32]) -> Job<'a> {
        let mut stream = Stream::new();
        target.stores(self.rig.engine, PAGES, WRITTEN, &mut stream);
        self.job_of(&stream, [target.handle].into_iter().chain(others.iter().copied()))
    }

    /// A job that names BOs.
    fn job_of(&self, stream: &Stream, handles: impl Iterator<Item = u32>) -> Job<'a> {
        let (session, engine) = (self.rig.session, self.rig.engine);
        let words = stream.padded(engine);
        self.buffer.map.copy_in(0, &words);
        let ib = uapi::ChunkIb {
            va_start: self.buffer.va,
            ib_bytes: u32_of(words.len() * 4),
            ip_type: engine.ip_type(),
            ring: engine.ring(),
            ..Default::default()
        };
        let handles: Vec<_> = [self.buffer.handle].into_iter().chain(handles).collect();
        let entries = list_entries(&handles);
        Job { file: &session.file, ctx: session.ctx, ib: [ib], entries }
    }

    /// Waits for what was submitted; if it was refused because of a hole, which there was for a
    /// moment, submits it again.
    fn finish(&self, job: &Job<'_>, submitted: Result<u64>) -> std::result::Result<(), String> {
        let answer = match submitted {
            Err(Errno(libc::EFAULT | libc::EDEADLK | libc::EAGAIN)) => job.submit(),
            answer => answer,
        };
        let seq = answer.map_err(say("CS"))?;
        match self.rig.session.wait(self.rig.engine, seq, PATIENCE_MS) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the job is not done".into()),
            Err(e) => Err(format!("WAIT_CS: {e}")),
        }
    }
}

impl Drop for Commands<'_> {
    fn drop(&mut self) {
        // If it fails there is nothing left to undo.
        let _ = self.rig.session.file.gem_close(self.buffer.handle);
    }
}

/// A job that is ready to be submitted, by any thread.
struct Job<'a> {
    file: &'a File,
    ctx: u32,
    ib: [uapi::ChunkIb; 1],
    entries: Vec<uapi::BoListEntry>,
}

impl Job<'_> {
    fn submit(&self) -> Result<u64> {
        let requests = [list_request(&self.entries)];
        let chunks = [
            Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &requests),
            Chunk::of(uapi::CHUNK_ID_IB, &self.ib),
        ];
        self.file.cs(self.ctx, 0, &chunks)
    }
}

/// One of the driver's counters, and where it stands.
struct Counter<'a> {
    slot: &'a str,
    of: fn(&Stats) -> Count,
    before: Count,
}

impl<'a> Counter<'a> {
    fn new(rig: &'a Rig<'_>, of: fn(&Stats) -> Count) -> std::result::Result<Self, String> {
        let slot = &rig.node.slot;
        let before = of(&Stats::read(slot));
        match before.0 {
            Some(_) => Ok(Self { slot, of, before }),
            None => Err("the driver has no counters, by which to know its steps".into()),
        }
    }

    fn moved(&self) -> bool {
        (self.of)(&Stats::read(self.slot)) != self.before
    }
}

/// A job that waits at a gate, and does nothing else.
fn waiting_job<'s>(rig: &Rig<'s>) -> std::result::Result<(Gate<'s>, u64), String> {
    let gate = Gate::shut(rig.session)?;
    let mut stream = Stream::new();
    gate.wait(rig.engine, &mut stream);
    let seq = rig.session.submit(rig.engine, &stream, &[]).map_err(say("a job that waits"))?;
    Ok((gate, seq))
}

/// A buffer that the next job that names it has to move, with the address space's reservation held.
/// Jobs may reach it, so that waits for a job at a gate.
fn about_to_move(rig: &Rig<'_>) -> std::result::Result<Buffer, String> {
    let session = rig.session;
    let buffer = session.buffer(u64_of(PAGE), DOMAIN_VRAM, 0).map_err(say("a BO"))?;
    session.file.wait_idle(buffer.handle, deadline_ms(PATIENCE_MS)).map_err(say("WAIT_IDLE"))?;
    session.run(rig.engine, &Stream::new(), &[buffer.handle])?;
    session.file.set_placement(buffer.handle, DOMAIN_GTT).map_err(say("SET_PLACEMENT"))?;
    Ok(buffer)
}

/// Gathering takes a while, as the pages are many and not there yet. Meanwhile another submission
/// takes the address space's reservation, and has to move a buffer. So this one has gathered, and
/// cannot bind.
fn gathered(rig: &Rig<'_>) -> std::result::Result<bool, String> {
    const MANY: usize = 8192;
    let session = rig.session;
    let mut mem = UserMem::anonymous(MANY).map_err(say("mmap"))?;
    mem.advise(0..MANY, Advice::Small).map_err(say("madvise"))?;
    let target = Target::with_flags(session, &mem, USERPTR_REGISTER).map_err(say("userptr"))?;
    let (commands, others) = (Commands::new(rig)?, Commands::new(rig)?);
    let job = commands.job(&target, &[]);
    let moved = about_to_move(rig)?;
    let holding = others.job_of(&Stream::new(), [moved.handle].into_iter());
    let (holder, submitter) = (Caller::default(), Caller::default());
    let (began, done) = (Counter::new(rig, |s| s.retries)?, Counter::new(rig, |s| s.gathers)?);

    let (gate, waiting) = waiting_job(rig)?;
    let (struck, away, submitted) = thread::scope(|scope| {
        let hold = scope.spawn(|| {
            holder.is_me();
            until(|| began.moved());
            holding.submit()
        });
        let submit = scope.spawn(|| {
            submitter.is_me();
            job.submit()
        });
        let rests = until(|| done.moved()) && until(|| submit.is_finished() || submitter.rests());
        let struck = rests && holder.rests() && !submit.is_finished();
        // If the submission came through, the memory waits for the job at the gate.
        let away = gate.open_soon(|| mem.move_away(0..PAGES)).0;
        let submitted = submit.join().map_err(|_| "the submitting thread panicked")?;
        let held = hold.join().map_err(|_| "the holding thread panicked")?;
        others.finish(&holding, held)?;
        Ok::<_, String>((struck, away.map_err(say("mremap"))?, submitted))
    })?;
    session.wait(rig.engine, waiting, PATIENCE_MS).map_err(say("WAIT_CS"))?;
    commands.finish(&job, submitted)?;
    session.file.gem_close(moved.handle).map_err(say("GEM_CLOSE"))?;
    if struck {
        expect("the old pages", &away, PAGES, 0)?;
        expect("the fresh pages", &mem, PAGES, WRITTEN)?;
    }
    Ok(struck)
}

/// The submission has bound its pages, and has to move another buffer.
fn bound(rig: &Rig<'_>) -> std::result::Result<bool, String> {
    let session = rig.session;
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let [byte, ..] = BEFORE.to_le_bytes();
    (0..PAGES).for_each(|page| mem.write_page(page, &[byte; PAGE]));
    let target = Target::new(session, &mem).map_err(say("userptr"))?;
    let commands = Commands::new(rig)?;
    let moved = about_to_move(rig)?;
    let job = commands.job(&target, &[moved.handle]);
    let submitter = Caller::default();

    let (gate, waiting) = waiting_job(rig)?;
    let (struck, away, submitted) = thread::scope(|scope| {
        let submit = scope.spawn(|| {
            submitter.is_me();
            job.submit()
        });
        let struck = until(|| submit.is_finished() || submitter.rests()) && !submit.is_finished();
        // Were it to wait for the same job, it would be well beside the gate's opening.
        let away = gate.open_soon(|| mem.move_away(0..PAGES)).0;
        let submitted = submit.join().map_err(|_| "the submitting thread panicked")?;
        Ok::<_, String>((struck, away.map_err(say("mremap"))?, submitted))
    })?;
    session.wait(rig.engine, waiting, PATIENCE_MS).map_err(say("WAIT_CS"))?;
    commands.finish(&job, submitted)?;
    session.file.gem_close(moved.handle).map_err(say("GEM_CLOSE"))?;
    if struck {
        expect("the old pages", &away, PAGES, BEFORE)?;
        expect("the fresh pages", &mem, PAGES, WRITTEN)?;
    }
    Ok(struck)
}
