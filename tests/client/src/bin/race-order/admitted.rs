// SPDX-License-Identifier: GPL-2.0 OR MIT

//! More submissions of one queue inside CS at a time than it remembers.

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
    }, //
};

use crate::gated::submit_beside;

const ENGINE: Engine = Engine::Dma(0);
/// Half as many again as a queue remembers.
const THREADS: usize = 48;
/// Pages that each submission has to gather, so that it is in CS for a while.
const PAGES: usize = 1024;
/// How long the gate is shut: well below the driver's patience with a job.
const SHUT: Duration = Duration::from_secs(4);

pub fn run(node: &Node) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let latch = Latch::shut(&session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&session, ENGINE, &mut stream);
    session.submit(ENGINE, &stream, &[]).map_err(|e| format!("a job that waits: {e}"))?;
    let ib = session.place_ib_at(2 * PAGE, ENGINE, &Stream::new());
    let memory: Result<Vec<UserMem>, Errno> =
        (0..THREADS).map(|_| UserMem::anonymous(PAGES)).collect();
    let memory = memory.map_err(|e| format!("mmap: {e}"))?;
    let targets: Result<Vec<Target<'_>>, Errno> =
        memory.iter().map(|mem| Target::of_any(&session, mem)).collect();
    let targets = targets.map_err(|e| format!("userptr: {e}"))?;
    let (barrier, submitted) = (Barrier::new(THREADS), Mutex::new(Vec::new()));
    let (file, ctx) = (&session.file, session.ctx);
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
        let end = Instant::now() + SHUT;
        let mut lies = 0;
        let mut inside = 0;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
            let answers = submitted.lock().map_or_else(|_| Vec::new(), |answers| answers.clone());
            inside = answers.len();
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
        (inside, lies)
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
    match seen {
        (inside, 0) => {
            Ok(format!("{inside} of {THREADS} were queued behind the gate, none was done"))
        }
        (inside, lies) => Err(format!("{lies} of {inside} were done behind a gate that was shut")),
    }
}
