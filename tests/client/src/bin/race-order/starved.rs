// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A gang of low priority that one ring has no time for: jobs of ordinary priority keep that ring
//! full.
//!
//! Gangs go onto the rings one after the other, so all others would wait for as long as that lasts.
//! The gang is made to be the next one while it could still run: its other job waits in its queue,
//! behind one that stands at a gate.

use std::{
    sync::atomic::{
        AtomicBool,
        AtomicUsize,
        Ordering::Relaxed, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    drm::{
        self,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    num::u64_of,
    race::{
        Latch,
        wait_at_gate, //
    },
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        CHUNK_ID_BO_HANDLES,
        CHUNK_ID_IB,
        CTX,
        CTX_OP_ALLOC,
        Chunk,
        ChunkIb,
        Ctx,
        DOMAIN_VRAM, //
    }, //
};

/// `AMDGPU_CTX_PRIORITY_LOW`
const LOW: i32 = -512;
/// The ring that is kept full, and the other one of the gang.
const GANG: [Engine; 2] = [Engine::Gfx, Engine::Dma(0)];
/// The rings of the gang that has nothing to do with either.
const OTHERS: [Engine; 2] = [Engine::Compute(0), Engine::Dma(1)];
/// Clients that keep the ring full.
const CLIENTS: usize = 3;
/// Jobs that each of them has queued at least before it counts.
const QUEUED: usize = 20;
/// How long one of those is to take at least.
const JOB: Duration = Duration::from_millis(10);
const SIZE: u64 = 8 << 20;
/// How long a gang may take. The clients' jobs on the ring at the time take a tenth of it.
const SOON_MS: u64 = 4000;
/// Bytes of the command buffer that each job has.
const ROOM: usize = 0x1000;

fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// Submits command buffers that were placed, the leader last.
fn submit(session: &Session, list: &[u32], ibs: &[ChunkIb]) -> Result<u64, String> {
    let entries = drm::list_entries(list);
    let list = [drm::list_request(&entries)];
    let mut chunks = vec![Chunk::of(CHUNK_ID_BO_HANDLES, &list)];
    chunks.extend(ibs.iter().map(|ib| Chunk::of(CHUNK_ID_IB, std::slice::from_ref(ib))));
    session.file.cs(session.ctx, 0, &chunks).map_err(text("CS"))
}

/// Submits a gang of stores.
fn gang(session: &Session, engines: [Engine; 2]) -> Result<u64, String> {
    let mut ibs = Vec::new();
    for (n, engine) in (1..).zip(engines) {
        let mut stream = Stream::new();
        stream.store(engine, session.data.va + u64_of(64 * n), 1);
        ibs.push(session.place_ib_at(n * ROOM, engine, &stream));
    }
    submit(session, &[session.ib.handle, session.data.handle], &ibs)
}

/// What the clients that keep the ring full are told, and what they tell.
#[derive(Default)]
struct Clients {
    /// How many know how large a job has to be.
    ready: AtomicUsize,
    /// They may submit.
    begin: AtomicBool,
    stop: AtomicBool,
}

/// Submits jobs to the busy ring, from when it is told to until it is told to stop.
fn keep_full(node: &Node, queued: &AtomicUsize, clients: &Clients) -> Result<(), String> {
    let engine = GANG[0];
    let session = Session::open(node).map_err(text("a session"))?;
    let buffer = session.buffer(SIZE, DOMAIN_VRAM, 0).map_err(text("a buffer"))?;
    let list = [session.ib.handle, buffer.handle];
    let mut stream = Stream::new();
    let mut took = Duration::ZERO;
    let mut ib = session.nop_ib(engine);
    while took < JOB {
        stream.copy(engine, buffer.va, buffer.va + SIZE / 2, SIZE / 2);
        ib = session.place_ib(engine, &stream);
        let start = Instant::now();
        let seq = submit(&session, &list, &[ib])?;
        finish(&session, engine, seq, PATIENCE_MS)?;
        took = start.elapsed();
    }
    clients.ready.fetch_add(1, Relaxed);
    while !clients.begin.load(Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    let mut last = None;
    while !clients.stop.load(Relaxed) {
        last = Some(submit(&session, &list, &[ib])?);
        queued.fetch_add(1, Relaxed);
    }
    last.map_or(Ok(()), |last| finish(&session, engine, last, PATIENCE_MS))
}

fn finish(session: &Session, engine: Engine, seq: u64, ms: u64) -> Result<(), String> {
    match session.wait(engine, seq, ms) {
        Ok(true) => Ok(()),
        answer => Err(format!("a job on {engine}: {answer:?} after {ms} ms")),
    }
}

/// The gangs, while the ring is full; how long each took.
fn gangs(node: &Node, low: &Session, full: impl Fn() -> bool) -> Result<[Duration; 2], String> {
    let [busy, free] = GANG;
    let other = Session::open(node).map_err(text("a session"))?;
    let gate = Latch::shut(&low.data.map);
    let mut waits = Stream::new();
    wait_at_gate(low, free, &mut waits);
    let list = [low.ib.handle, low.data.handle];
    submit(low, &list, &[low.place_ib_at(0, free, &waits)])?;
    let seq = gang(low, [busy, free])?;
    gate.expect_a_job()?;
    // The job on the other ring has nothing before it, and says so.
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    while !full() {
        if start.elapsed() > Duration::from_millis(PATIENCE_MS) {
            return Err("the ring is not full".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    gate.open();
    let start = Instant::now();
    // Time enough for the gang to be the next one.
    thread::sleep(Duration::from_millis(100));
    let [compute, dma] = OTHERS;
    let others = gang(&other, [compute, dma])?;
    finish(&other, dma, others, SOON_MS).map_err(|why| format!("the other gang: {why}"))?;
    let others = start.elapsed();
    finish(low, free, seq, SOON_MS).map_err(|why| format!("the gang of low priority: {why}"))?;
    Ok([others, start.elapsed()])
}

pub fn run(node: &Node) -> Outcome {
    let mut low = Session::open(node).map_err(text("a session"))?;
    let request = Ctx { op: CTX_OP_ALLOC, priority: LOW, ..Default::default() };
    low.ctx = low.file.call(CTX, &request).map_err(text("a context"))?.handle;
    let queued: [AtomicUsize; CLIENTS] = Default::default();
    let clients = &Clients::default();
    thread::scope(|scope| {
        let threads: Vec<_> = queued
            .iter()
            .map(|queued| scope.spawn(move || keep_full(node, queued, clients)))
            .collect();
        // Before the gate is shut: a job may not stand there for long.
        let start = Instant::now();
        while clients.ready.load(Relaxed) < CLIENTS
            && start.elapsed() < Duration::from_millis(PATIENCE_MS)
        {
            thread::sleep(Duration::from_millis(1));
        }
        // The clients begin when the gang has been submitted: one of its jobs is to find its ring
        // free.
        let seen = gangs(node, &low, || {
            clients.begin.store(true, Relaxed);
            queued.iter().all(|queued| queued.load(Relaxed) >= QUEUED)
        });
        let jobs: usize = queued.iter().map(|queued| queued.load(Relaxed)).sum();
        clients.stop.store(true, Relaxed);
        clients.begin.store(true, Relaxed);
        for client in threads {
            client.join().map_err(|_| "a client is gone")??;
        }
        let [others, own] = seen?;
        Ok(format!(
            "beside {jobs} jobs of {JOB:?} and more: the other gang after {others:.0?}, \
             that of low priority after {own:.0?}"
        ))
    })
}
