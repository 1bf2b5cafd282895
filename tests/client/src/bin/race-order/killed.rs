// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processes with long queues that are killed.

use std::{
    io::PipeWriter,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    child::{
        Child,
        say, //
    },
    drm::{
        self,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::Target,
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT, //
    }, //
};

/// One ring takes all jobs of this kind, so another's job has to come behind them.
const ENGINE: Engine = Engine::Gfx;
/// Jobs that the process has queued: more than a ring takes at a time.
const JOBS: u32 = 28;
/// Jobs that may be on the ring already, and run to their end.
const ON_RING: u32 = 8;
/// Least time that one of them is to take.
const JOB: Duration = Duration::from_millis(100);
const SIZE: u64 = 32 << 20;
const PAGES: usize = 8192;
const CANARY: [u8; PAGE] = [0xca; PAGE];

fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// Queues jobs that each take some time, says how long, and waits to be killed.
fn queue(
    session: &Session,
    report: &mut PipeWriter,
    list: &[u32],
    mut work: impl FnMut(&mut Stream),
) -> Result<(), String> {
    let mut stream = Stream::new();
    let mut took = Duration::ZERO;
    // The first submission brings memory into place; it says nothing of the next.
    let mut ib = session.nop_ib(ENGINE);
    submit(session, ib, list)?;
    while took < JOB {
        for _ in 0..4 {
            work(&mut stream);
        }
        ib = session.place_ib(ENGINE, &stream);
        let start = Instant::now();
        submit(session, ib, list)?;
        took = start.elapsed();
    }
    let entries = drm::list_entries(list);
    let list = [drm::list_request(&entries)];
    for _ in 0..JOBS {
        let ib = [ib];
        let chunks =
            [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
        session.file.cs(session.ctx, 0, &chunks).map_err(text("CS"))?;
    }
    let micros = u64::try_from(took.as_micros()).map_err(|e| e.to_string())?;
    say(report, &[micros])?;
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Submits, and waits.
fn submit(session: &Session, ib: uapi::ChunkIb, list: &[u32]) -> Result<(), String> {
    let entries = drm::list_entries(list);
    let (list, ib) = ([drm::list_request(&entries)], [ib]);
    let chunks = [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    let seq = session.file.cs(session.ctx, 0, &chunks).map_err(text("CS"))?;
    match session.wait(ENGINE, seq, PATIENCE_MS) {
        Ok(true) => Ok(()),
        answer => Err(format!("a job: {answer:?}")),
    }
}

/// Kills the process; how long it took to go, and then for a job of another to run, in terms of one
/// job of the process.
fn kill(node: &Node, child: &mut Child) -> Result<(Duration, Duration, Duration), String> {
    let [micros] = child.hear()?;
    let job = Duration::from_micros(micros);
    let other = Session::open(node).map_err(text("a session"))?;
    let start = Instant::now();
    child.kill();
    let gone = child.reap()?;
    other.prove_alive(ENGINE)?;
    Ok((job, gone, start.elapsed()))
}

fn judge((job, gone, next): (Duration, Duration, Duration), may_take: Duration) -> Outcome {
    let seen = format!(
        "{JOBS} jobs of {job:?} queued; the process was gone after {gone:?}, \
         another's job done after {next:?}"
    );
    if gone > may_take {
        return Err(format!("{seen}: it should be gone after {may_take:?}"));
    }
    if next > job * (JOBS * 2 / 3) {
        return Err(format!("{seen}: the queue was not gone"));
    }
    Ok(seen)
}

/// Nothing that the process has must stay for its jobs: nobody waits.
pub fn plain(node: &Node) -> Outcome {
    let mut child = Child::new(|report| {
        let session = Session::open(node).map_err(text("a session"))?;
        let buffer = session.buffer(SIZE, DOMAIN_GTT, 0).map_err(text("a buffer"))?;
        let half = SIZE / 2;
        let list = [session.ib.handle, session.data.handle, buffer.handle];
        queue(&session, report, &list, |stream| {
            stream.copy(ENGINE, buffer.va, buffer.va + half, half);
        })
    })?;
    let seen = kill(node, &mut child)?;
    // Not even for those on the ring; on a busy machine all takes its time.
    judge(seen, seen.0 * 4)
}

/// Its memory must stay for the jobs that are on the ring, and no longer: canaries take it.
pub fn user(node: &Node) -> Outcome {
    let mut child = Child::new(|report| {
        let session = Session::open(node).map_err(text("a session"))?;
        let mem = UserMem::anonymous(PAGES).map_err(text("mmap"))?;
        let target = Target::new(&session, &mem).map_err(text("userptr"))?;
        let half = u64_of(PAGES / 2 * PAGE);
        let list = [session.ib.handle, session.data.handle, target.handle];
        queue(&session, report, &list, |stream| {
            stream.copy(ENGINE, target.va, target.va + half, half);
        })
    })?;
    let [micros] = child.hear()?;
    let job = Duration::from_micros(micros);
    let other = Session::open(node).map_err(text("a session"))?;
    let start = Instant::now();
    child.kill();
    let gone = child.reap()?;
    let mut canaries = UserMem::anonymous(2 * PAGES).map_err(text("canaries"))?;
    for page in 0..canaries.pages() {
        canaries.write_page(page, &CANARY);
    }
    other.prove_alive(ENGINE)?;
    let next = start.elapsed();
    thread::sleep(job);
    let mut bytes = [0; PAGE];
    for page in 0..canaries.pages() {
        canaries.read_page(page, &mut bytes);
        if bytes != CANARY {
            return Err(format!("canary page {page} was written"));
        }
    }
    judge((job, gone, next), job * (ON_RING + 2))
}
