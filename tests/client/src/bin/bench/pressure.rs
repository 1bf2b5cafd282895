// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What it costs when there is much of something: buffers that come back to VRAM, buffers that
//! displace each other, mappings, mapped buffers to drop, user memory in a process that forks.

use amdgpu_client::{
    PAGE,
    child::Child,
    clock::median,
    drm::{
        deadline_ms,
        list_entries,
        list_request, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::{
        u64_of,
        usize_of, //
    },
    race::Target,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        CHUNK_ID_BO_HANDLES,
        CHUNK_ID_IB,
        CREATE_NO_CPU_ACCESS,
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_NUM_BYTES_MOVED,
        INFO_NUM_EVICTIONS,
        INFO_VRAM_GTT,
        VA_OP_MAP,
        VA_OP_UNMAP,
        VramGtt, //
    }, //
};

use crate::{
    Bench,
    Outcome,
    PAGES_PER_MIB,
    say,
    size, //
};

const PAGE64: u64 = u64_of(PAGE);
const ENGINE: Engine = Engine::Dma(0);

fn open(bench: &Bench) -> Result<Session, String> {
    Session::open(&bench.node).map_err(|e| format!("open: {e}"))
}

/// Turns the kernel's error into text.
fn bad(what: &str) -> impl Fn(amdgpu_client::Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// A BO of VRAM that is mapped, and that nobody uses.
struct Mapped {
    handle: u32,
    va: u64,
}

impl Mapped {
    fn new(session: &Session, bytes: u64, domain: u64) -> Result<Self, String> {
        let file = &session.file;
        let handle = file.gem_create(bytes, domain, CREATE_NO_CPU_ACCESS).map_err(bad("a BO"))?;
        let va = session.reserve_va(bytes);
        file.gem_va(VA_OP_MAP, handle, va, 0, bytes).map_err(bad("GEM_VA"))?;
        Ok(Self { handle, va })
    }

    fn many(session: &Session, count: usize, bytes: u64, domain: u64) -> Result<Vec<Self>, String> {
        (0..count).map(|_| Self::new(session, bytes, domain)).collect()
    }
}

/// Submits nothing, with these BOs in the list. The ioctl's cost, and the job's number.
fn submit_naming(bench: &Bench, session: &Session, named: &[Mapped]) -> Result<(u64, u64), String> {
    let own = [session.ib.handle, session.data.handle];
    let handles: Vec<_> = own.into_iter().chain(named.iter().map(|bo| bo.handle)).collect();
    let entries = list_entries(&handles);
    let list = [list_request(&entries)];
    let ib = [session.nop_ib(ENGINE)];
    let chunks = [Chunk::of(CHUNK_ID_BO_HANDLES, &list), Chunk::of(CHUNK_ID_IB, &ib)];
    let (cost, seq) = bench.meter.thread(|| session.file.cs(session.ctx, 0, &chunks));
    Ok((cost, seq.map_err(bad("CS"))?))
}

fn finish(session: &Session, seq: u64) -> Outcome {
    match session.wait(ENGINE, seq, PATIENCE_MS) {
        Ok(true) => Ok(()),
        Ok(false) => Err("a job does not end".into()),
        Err(e) => Err(format!("WAIT_CS: {e}")),
    }
}

fn moved(session: &Session) -> Result<u64, String> {
    session.file.info(INFO_NUM_BYTES_MOVED, [0; 4]).map_err(bad("bytes moved"))
}

/// A submission that names some of the mapped buffers of its file that are not where they should
/// be: they come back to VRAM with it. The ioctl.
pub fn evicted(bench: &Bench) -> Outcome {
    /// Of 64 KiB each.
    const MANY: usize = 256;
    const BYTES: u64 = 64 << 10;

    let session = open(bench)?;
    let all = Mapped::many(&session, MANY, BYTES, DOMAIN_VRAM)?;
    let place = |domain| {
        let mut bos = all.iter();
        bos.try_for_each(|bo| session.file.set_placement(bo.handle, domain))
            .map_err(bad("SET_PLACEMENT"))
    };
    for count in [1, 16, MANY] {
        let (mut costs, mut came) = (Vec::new(), Vec::new());
        for _ in 0..bench.samples.min(7) + 1 {
            place(DOMAIN_GTT)?;
            let (_, seq) = submit_naming(bench, &session, &all)?;
            finish(&session, seq)?;
            place(DOMAIN_VRAM)?;
            bench.meter.settle();
            let before = moved(&session)?;
            let (cost, seq) = submit_naming(bench, &session, &all[..count])?;
            finish(&session, seq)?;
            costs.push(cost);
            came.push(moved(&session)? - before);
        }
        let point = format!("{count} of {MANY}");
        say("evicted, brought back", &point, median(costs.split_off(1)));
        say("evicted, bytes moved", point, median(came.split_off(1)));
    }
    Ok(())
}

/// Two clients, each with as many buffers as VRAM holds, that submit in turn: a copy of a page
/// from one of four buffers to another, with all four in the list. Everything until the jobs are
/// done, for each job.
pub fn thrash(bench: &Bench) -> Outcome {
    const BYTES: u64 = 8 << 20;
    const JOBS: usize = 128;
    const NAMED: usize = 4;

    let pair = [open(bench)?, open(bench)?];
    let sizes: VramGtt = pair[0].file.info(INFO_VRAM_GTT, [0; 4]).map_err(bad("VRAM_GTT"))?;
    let count = usize_of(sizes.vram_size / BYTES);
    let clients = pair.map(|session| {
        let bos = Mapped::many(&session, count, BYTES, DOMAIN_VRAM);
        (session, bos)
    });
    let mut with = Vec::new();
    for (session, bos) in clients {
        let bos = bos?;
        for bo in &bos {
            session
                .file
                .wait_idle(bo.handle, deadline_ms(PATIENCE_MS))
                .map_err(bad("wait for a BO"))?;
        }
        with.push((session, bos));
    }
    let file = &with[0].0.file;
    let counters = || -> Result<[u64; 2], String> {
        let evictions = file.info(INFO_NUM_EVICTIONS, [0; 4]).map_err(bad("evictions"))?;
        Ok([moved(&with[0].0)?, evictions])
    };
    let job = |turn: usize| -> Outcome {
        let (session, bos) = &with[turn % 2];
        let first = turn / 2 * NAMED % (bos.len() - NAMED);
        let named = &bos[first..first + NAMED];
        let mut stream = Stream::new();
        stream.copy(ENGINE, named[0].va, named[NAMED - 1].va, PAGE64);
        let handles: Vec<_> = named.iter().map(|bo| bo.handle).collect();
        session.run(ENGINE, &stream, &handles)
    };
    // Once around, so that the buffers are where they tend to be.
    (0..JOBS).try_for_each(job)?;
    let before = counters()?;
    bench.meter.settle();
    let (cost, outcome) = bench.meter.machine(|| (0..JOBS).try_for_each(job));
    outcome?;
    let after = counters()?;
    let point = format!("{count} and {count} of {} MiB", BYTES >> 20);
    say("thrash, a job, all", &point, cost / u64_of(JOBS));
    say("thrash, bytes moved, a job", &point, (after[0] - before[0]) / u64_of(JOBS));
    say("thrash, evictions", point, after[1] - before[1]);
    Ok(())
}

/// A page mapped once more, and that mapping dropped, where there are many others.
pub fn mappings(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    let file = &session.file;
    let handle = file.gem_create(PAGE64, DOMAIN_GTT, 0).map_err(bad("a BO"))?;
    let va = session.reserve_va(1 << 30);
    let map = |at: usize| file.gem_va(VA_OP_MAP, handle, va + u64_of(at) * PAGE64, 0, PAGE64);
    let unmap = |at: usize| file.gem_va(VA_OP_UNMAP, handle, va + u64_of(at) * PAGE64, 0, PAGE64);
    let mut there = 0;
    for count in [100, 1_000, 10_000, 100_000] {
        (there..count).try_for_each(map).map_err(bad("map"))?;
        there = count;
        let (mut mapped, mut unmapped) = (Vec::new(), Vec::new());
        for _ in 0..bench.samples.min(31) + 1 {
            let (cost, outcome) = bench.meter.thread(|| map(count));
            outcome.map_err(bad("map"))?;
            mapped.push(cost);
            let (cost, outcome) = bench.meter.thread(|| unmap(count));
            outcome.map_err(bad("unmap"))?;
            unmapped.push(cost);
        }
        say("mappings, one more", count, median(mapped.split_off(1)));
        say("mappings, that dropped", count, median(unmapped.split_off(1)));
    }
    let (cost, outcome) = bench.meter.machine(|| file.gem_close(handle));
    outcome.map_err(bad("GEM_CLOSE"))?;
    say("mappings, their BO closed, a mapping, all", there, cost / u64_of(there));
    Ok(())
}

/// Many mapped buffers closed, one after the other, and those of a file that is closed.
pub fn destroy(bench: &Bench) -> Outcome {
    const MANY: usize = 1_000;

    for (name, domain) in [("VRAM", DOMAIN_VRAM), ("GTT", DOMAIN_GTT)] {
        for pages in [1, PAGES_PER_MIB / 16] {
            let bytes = u64_of(pages) * PAGE64;
            let point = size(pages);
            let session = open(bench)?;
            let many = Mapped::many(&session, MANY, bytes, domain)?;
            bench.meter.settle();
            let close = || many.iter().try_for_each(|bo| session.file.gem_close(bo.handle));
            let (cost, outcome) = bench.meter.machine(close);
            outcome.map_err(bad("GEM_CLOSE"))?;
            say(
                &format!("destroy mapped {name}, each of {MANY}, all"),
                &point,
                cost / u64_of(MANY),
            );

            let _many = Mapped::many(&session, MANY, bytes, domain)?;
            bench.meter.settle();
            let (cost, ()) = bench.meter.machine(|| drop(session));
            let row = format!("close a file with {MANY} mapped {name}, each, all");
            say(&row, point, cost / u64_of(MANY));
        }
    }
    Ok(())
}

/// A process with much user memory forks; the child ends at once. Then the first submission after
/// that, for each page.
pub fn fork(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    for pages in bench.sizes(&[PAGES_PER_MIB, 64 * PAGES_PER_MIB, 1024 * PAGES_PER_MIB]) {
        let mut mem = UserMem::anonymous(pages).map_err(|e| format!("mmap: {e}"))?;
        (0..pages).for_each(|page| mem.write_byte(page, 1));
        let target = Target::new(&session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
        let submit = || session.submit_again(ENGINE, &Stream::new(), &[target.handle]);
        let (mut forks, mut submissions) = (Vec::new(), Vec::new());
        for _ in 0..bench.samples.min(3) {
            finish(&session, submit()?)?;
            bench.meter.settle();
            let (cost, outcome) = bench.meter.machine(|| {
                let child = Child::new(|_| Ok(()))?;
                child.reap().map(drop)
            });
            outcome?;
            forks.push(cost);
            let (cost, seq) = bench.meter.thread(submit);
            finish(&session, seq?)?;
            submissions.push(cost);
        }
        let each = |costs| median(costs) / u64_of(pages);
        say("fork with userptr, a page, all", size(pages), each(forks));
        say("submit after a fork, a page", size(pages), each(submissions));
    }
    Ok(())
}
