// SPDX-License-Identifier: GPL-2.0 OR MIT

//! More submissions of one queue inside CS at a time than it remembers.
//!
//! Each needs a page that is held back, so that all that are admitted stay inside until the test
//! lets them go on. Nothing stands in the queue's history before them: what keeps them from being
//! done is a job of another file, which waits on their ring. Were more admitted than the queue
//! remembers, the last would take the places of the first, which would then be said to be done.

use std::{
    sync::{
        Barrier,
        Mutex, //
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
    drm::{
        self,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    race::{
        Latch,
        Target,
        wait_at_gate, //
    },
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk, //
    },
    userfault::Userfault, //
};

use crate::gated::submit_beside;

// Of the DMA engines the driver takes the one that has less to do.
const ENGINE: Engine = Engine::Gfx;
/// Half as many again as a queue remembers.
const THREADS: usize = 48;
/// As many as a queue remembers.
const REMEMBERED: usize = 32;
/// Time that threads have to get into CS, and for which they are watched when they may go on.
/// Together well below the driver's patience with a job.
const GATHERING: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(3);
/// If for so long none has come, those who can are inside.
const QUIET: Duration = Duration::from_millis(500);

/// Waits until no more submissions are getting into CS. Their number.
fn get_inside(userfault: &Userfault) -> usize {
    let (end, mut last, mut inside) = (Instant::now() + GATHERING, Instant::now(), 0);
    while Instant::now() < end && (inside < REMEMBERED || last.elapsed() < QUIET) {
        thread::sleep(Duration::from_millis(20));
        let new = userfault.new_faults();
        if new != 0 {
            inside += new;
            last = Instant::now();
        }
    }
    inside
}

pub fn run(node: &Node) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let ib = session.place_ib_at(2 * PAGE, ENGINE, &Stream::new());
    let memory: Result<Vec<UserMem>, Errno> = (0..THREADS).map(|_| UserMem::anonymous(1)).collect();
    let memory = memory.map_err(|e| format!("mmap: {e}"))?;
    let userfault = Userfault::new().map_err(|e| format!("userfaultfd: {e}"))?;
    memory
        .iter()
        .try_for_each(|mem| userfault.hold(mem))
        .map_err(|e| format!("UFFDIO_REGISTER: {e}"))?;
    let targets: Result<Vec<Target<'_>>, Errno> =
        memory.iter().map(|mem| Target::of_any(&session, mem)).collect();
    let targets = targets.map_err(|e| format!("userptr: {e}"))?;
    let (barrier, submitted) = (Barrier::new(THREADS), Mutex::new(Vec::new()));
    let (file, ctx) = (&session.file, session.ctx);
    let other = Session::open(node).map_err(|e| format!("another session: {e}"))?;
    let latch = Latch::shut(&other.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&other, ENGINE, &mut stream);
    other.submit(ENGINE, &stream, &[]).map_err(|e| format!("a job that waits: {e}"))?;
    let seen = thread::scope(|scope| {
        for target in &targets {
            let handle = target.handle;
            let (barrier, submitted) = (&barrier, &submitted);
            scope.spawn(move || {
                let entries = drm::list_entries(&[handle]);
                let (list, ib) = ([drm::list_request(&entries)], [ib]);
                let chunks = [
                    Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list),
                    Chunk::of(uapi::CHUNK_ID_IB, &ib),
                ];
                barrier.wait();
                let answer = file.cs(ctx, 0, &chunks);
                if let Ok(mut submitted) = submitted.lock() {
                    submitted.push(answer);
                }
            });
        }
        let inside = get_inside(&userfault);
        drop(userfault);
        let end = Instant::now() + WATCHED;
        let mut lies = 0;
        let mut queued = 0;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
            let answers = submitted.lock().map_or_else(|_| Vec::new(), |answers| answers.clone());
            queued = answers.len();
            lies = answers
                .iter()
                .flatten()
                .filter(|seq| session.wait(ENGINE, **seq, 0) != Ok(false))
                .count();
            if lies != 0 {
                break;
            }
        }
        latch.open();
        (inside, queued, lies)
    });
    let answers = submitted.into_inner().map_err(|_| "a thread panicked")?;
    for answer in &answers {
        let seq = answer.map_err(|e| format!("CS: {e}"))?;
        if session.wait(ENGINE, seq, PATIENCE_MS) != Ok(true) {
            return Err(format!("job {seq} is not done"));
        }
    }
    let after = submit_beside(&session, ENGINE, &Stream::new());
    let next = after.map_err(|e| format!("CS after all: {e}"))?;
    session.wait(ENGINE, next, PATIENCE_MS).map_err(|e| format!("the job after all: {e}"))?;
    let (inside, queued, lies) = seen;
    let seen =
        format!("{inside} of {THREADS} were inside at a time, {queued} queued behind the gate");
    match lies {
        0 if inside < REMEMBERED => Err(format!("{seen}: too few to say anything")),
        0 => Ok(format!("{seen}, none was done")),
        _ => Err(format!("{seen}, {lies} done while it was shut")),
    }
}
