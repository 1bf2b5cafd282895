// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Submissions that are made to rest between two steps. Each answers whether the invalidation
//! struck while it rested.

use std::{
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
    race::Target,
    session::{
        Buffer,
        PATIENCE_MS, //
    },
    stats::Stats,
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
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
/// Time that something has to come about: twice that is less than the driver's patience with a job.
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
        let handles: Vec<_> =
            [self.buffer.handle, target.handle].iter().chain(others).copied().collect();
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

/// Memory that is written and moved away.
fn memory() -> std::result::Result<UserMem, String> {
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let [byte, ..] = BEFORE.to_le_bytes();
    (0..PAGES).for_each(|page| mem.write_page(page, &[byte; PAGE]));
    Ok(mem)
}

/// Submits a job that writes `mem`, which is `target`'s, and names a much larger buffer behind it.
/// Moves the memory away once something was gathered, while the larger buffer keeps the submission.
fn beside_a_large_one(
    rig: &Rig<'_>,
    mut mem: UserMem,
    target: &Target<'_>,
    large: &UserMem,
) -> std::result::Result<bool, String> {
    let other = Target::with_flags(rig.session, large, USERPTR_REGISTER).map_err(say("userptr"))?;
    let commands = Commands::new(rig)?;
    let job = commands.job(target, &[other.handle]);
    let before = Stats::read(&rig.node.slot);
    let since = || Stats::read(&rig.node.slot).since(before);

    let (away, submitted) = thread::scope(|scope| {
        let submit = scope.spawn(|| job.submit());
        until(|| since().gathers.0 >= Some(1) || submit.is_finished());
        let away = mem.move_away(0..PAGES);
        let submitted = submit.join().map_err(|_| "the submitting thread panicked")?;
        Ok::<_, String>((away.map_err(say("mremap"))?, submitted))
    })?;
    // Once because something was to be gathered, and again because that had changed.
    let struck = since().retries.0 > Some(1);
    commands.finish(&job, submitted)?;
    if struck {
        expect("the old pages", &away, PAGES, BEFORE)?;
        expect("the fresh pages", &mem, PAGES, WRITTEN)?;
    }
    Ok(struck)
}

/// The submission has gathered its pages, and gathers those of a larger buffer, which are not there
/// yet. So it cannot bind.
fn gathered(rig: &Rig<'_>) -> std::result::Result<bool, String> {
    const MANY: usize = 8192;
    let mem = memory()?;
    let large = UserMem::anonymous(MANY).map_err(say("mmap"))?;
    large.advise(0..MANY, Advice::Small).map_err(say("madvise"))?;
    let target = Target::with_flags(rig.session, &mem, USERPTR_REGISTER).map_err(say("userptr"))?;
    beside_a_large_one(rig, mem, &target, &large)
}

/// The submission has bound its pages, and binds those of a larger buffer. So it cannot be
/// published.
fn bound(rig: &Rig<'_>) -> std::result::Result<bool, String> {
    const MANY: usize = 1 << 16;
    let mem = memory()?;
    let large = UserMem::anonymous(MANY).map_err(say("mmap"))?;
    large.advise(0..MANY, Advice::Populate).map_err(say("madvise"))?;
    let target = Target::new(rig.session, &mem).map_err(say("userptr"))?;
    beside_a_large_one(rig, mem, &target, &large)
}
