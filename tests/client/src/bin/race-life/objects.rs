// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Objects of a file go away while a job that uses them waits.

use std::{
    fs::File,
    os::unix::fs::FileExt,
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
        Driver,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    mem::{
        UserMem,
        memory_file, //
    },
    num::u64_of,
    race::{
        Gate,
        Target, //
    },
    report::{
        Outcome,
        Tally, //
    },
    session::{
        Buffer,
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        VA_OP_UNMAP, //
    }, //
};

const WRITTEN: u32 = 0x0b5e_55ed;
/// Long against any call that does not wait for the gate.
const SHUT_MS: u64 = 500;

pub fn checks(node: &Node, engine: Engine, rounds: usize, tally: &mut Tally) {
    for (name, domain) in [("GTT", DOMAIN_GTT), ("VRAM", DOMAIN_VRAM)] {
        each(tally, rounds, &format!("GEM_CLOSE of a {name} BO that a job will write"), || {
            one(node, engine, domain, |session, bo| session.file.gem_close(bo.handle))
        });
        each(tally, rounds, &format!("GEM_VA unmap of a {name} BO that a job will write"), || {
            one(node, engine, domain, |session, bo| {
                session.file.gem_va(VA_OP_UNMAP, bo.handle, bo.va, 0, 0)
            })
        });
    }
    each(tally, rounds, "CTX FREE while its job waits", || {
        one(node, engine, DOMAIN_GTT, |session, _| session.file.ctx_free(session.ctx))
    });
    each(tally, rounds, "BO_LIST DESTROY while its job waits", || bo_list(node, engine));
    each(tally, rounds, "close of the file while its job waits", || close(node, engine));
    let name = "one BO list from two threads, its memory replaced";
    match node.driver {
        Driver::Rust => {
            tally.check(name, || two_threads(node, engine));
        }
        Driver::Reference => tally.skip(name, "the C driver promises nothing"),
    }
}

/// Makes a check `rounds` times.
pub fn each(
    tally: &mut Tally,
    rounds: usize,
    name: &str,
    mut check: impl FnMut() -> Result<(), String>,
) {
    tally.check(name, || {
        for round in 0..rounds {
            check().map_err(|why| format!("round {round}: {why}"))?;
        }
        Ok(format!("{rounds} times"))
    });
}

/// A job that will write every page of a BO waits at a gate; `take` takes something away; the gate
/// is opened; and the job must have written all of it.
fn one(
    node: &Node,
    engine: Engine,
    domain: u64,
    take: impl FnOnce(&Session, &Buffer) -> amdgpu_client::Result,
) -> Result<(), String> {
    const PAGES: usize = 3;
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let bo = session.buffer(u64_of(PAGES * PAGE), domain, 0).map_err(|e| format!("a BO: {e}"))?;
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(engine, &mut stream);
    for page in 0..PAGES {
        stream.store(engine, bo.va + u64_of(page * PAGE), WRITTEN);
    }
    session.submit(engine, &stream, &[bo.handle]).map_err(|e| format!("CS: {e}"))?;
    let (taken, timing) = gate.open_soon(|| take(&session, &bo));
    taken.map_err(|e| format!("taking away: {e}"))?;
    if timing.waited() {
        return Err("the call came back after the gate was opened: it waits for jobs".into());
    }
    written(&bo, PAGES)
}

/// The job may not be there to wait for any more: waits for what it writes last.
fn written(bo: &Buffer, pages: usize) -> Result<(), String> {
    let end = Instant::now() + Duration::from_millis(PATIENCE_MS);
    while bo.map.read((pages - 1) * PAGE) != WRITTEN {
        if Instant::now() > end {
            return Err("the job never wrote what it should".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    for page in 0..pages {
        let word = bo.map.read(page * PAGE);
        if word != WRITTEN {
            return Err(format!("page {page} has {word:#x}"));
        }
    }
    Ok(())
}

fn bo_list(node: &Node, engine: Engine) -> Result<(), String> {
    let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
    let session = Session::open(node).map_err(say("a session"))?;
    let bo = session.buffer(u64_of(PAGE), DOMAIN_GTT, 0).map_err(say("a BO"))?;
    let handles = [session.ib.handle, session.data.handle, bo.handle];
    let list = session.file.bo_list(&handles).map_err(say("BO_LIST"))?;
    let gate = Gate::shut(&session)?;
    let mut stream = Stream::new();
    gate.wait(engine, &mut stream);
    stream.store(engine, bo.va, WRITTEN);
    let ib = [session.place_ib(engine, &stream)];
    let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    session.file.cs(session.ctx, list, &chunks).map_err(say("CS"))?;
    gate.open_soon(|| session.file.bo_list_destroy(list)).0.map_err(say("DESTROY"))?;
    match session.file.cs(session.ctx, list, &chunks) {
        Err(Errno(libc::ENOENT)) => written(&bo, 1),
        other => Err(format!("CS with the destroyed list: {other:?}, not ENOENT")),
    }
}

/// Gate and result are in memory that does not go with the file, and nobody else holds the file. A
/// job that runs is not stopped by that, and is not waited for.
fn close(node: &Node, engine: Engine) -> Result<(), String> {
    const RESULT: usize = PAGE / 2;
    let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
    let file = memory_file(1).map_err(say("memfd"))?;
    let board = UserMem::of_file(&file, 1).map_err(say("mmap"))?;
    let session = Session::open(node).map_err(say("a session"))?;
    let (handle, va) = Target::of_any(&session, &board).map_err(say("userptr"))?.leak();
    let mut begun = Stream::new();
    begun.store(engine, va + u64_of(BEGUN), WRITTEN);
    begun.wait_equal(engine, va, 1);
    begun.store(engine, va + u64_of(RESULT), WRITTEN);
    session.submit(engine, &begun, &[handle]).map_err(say("CS"))?;
    appears(&file, BEGUN)?;
    let (closed, opened) = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            thread::sleep(Duration::from_millis(SHUT_MS));
            let now = Instant::now();
            file.write_all_at(&1u32.to_ne_bytes(), 0).map(|()| now)
        });
        drop(session);
        (Instant::now(), opener.join())
    });
    let opened = opened.map_err(|_| "a thread panicked")?.map_err(|e| format!("write: {e}"))?;
    if closed > opened {
        return Err("the close came back after the gate was opened: it waits for jobs".into());
    }
    appears(&file, RESULT)
}

/// Place in the memory of [`close`] at which a job says that it has begun.
const BEGUN: usize = PAGE / 4;

/// Waits until a job has written to a place in a file.
fn appears(file: &File, at: usize) -> Result<(), String> {
    let end = Instant::now() + Duration::from_millis(PATIENCE_MS);
    let mut word = [0; 4];
    while u32::from_ne_bytes(word) != WRITTEN {
        if Instant::now() > end {
            return Err(format!("the job never wrote to {at:#x} what it should"));
        }
        thread::sleep(Duration::from_millis(1));
        file.read_exact_at(&mut word, u64_of(at)).map_err(|e| format!("read: {e}"))?;
    }
    Ok(())
}

/// Two threads submit one list as fast as they can, while the memory in it is replaced.
fn two_threads(node: &Node, engine: Engine) -> Outcome {
    const PAGES: usize = 16;
    const JOBS: usize = 200;
    let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
    let session = Session::open(node).map_err(say("a session"))?;
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    let handles = [session.ib.handle, session.data.handle, target.handle];
    let list = session.file.bo_list(&handles).map_err(say("BO_LIST"))?;
    let mut stream = Stream::new();
    target.stores(engine, PAGES, WRITTEN, &mut stream);
    let ib = [session.place_ib(engine, &stream)];
    let other = session.file.ctx_alloc().map_err(say("CTX"))?;
    let (file, ctx) = (&session.file, session.ctx);
    let submit = |ctx| {
        let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &ib)];
        let mut lost = 0;
        for _ in 0..JOBS {
            match file.cs(ctx, list, &chunks) {
                Ok(_) => {}
                Err(Errno(libc::EDEADLK)) => lost += 1,
                Err(e) => return Err(format!("CS: {e}")),
            }
        }
        Ok(lost)
    };
    let lost = thread::scope(|scope| {
        let threads = [ctx, other].map(|ctx| scope.spawn(move || submit(ctx)));
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            // Never a hole: every submission finds memory.
            mem.discard(0..PAGES).map_err(say("MADV_DONTNEED"))?;
        }
        let mut lost = 0;
        for thread in threads {
            lost += thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<_, String>(lost)
    })?;
    // One job after the last replacement, to see that the list still reaches the memory: whoever
    // wrote to these pages before is done when they are gone.
    mem.discard(0..PAGES).map_err(say("MADV_DONTNEED"))?;
    let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    let seq = session.file.cs(ctx, list, &chunks).map_err(say("the last CS"))?;
    if !session.wait(engine, seq, PATIENCE_MS).map_err(say("WAIT_CS"))? {
        return Err("the last job is not done".into());
    }
    let mut bytes = [0; PAGE];
    for page in 0..PAGES {
        mem.read_page(page, &mut bytes);
        if !bytes.starts_with(&WRITTEN.to_ne_bytes()) {
            return Err(format!("the last job has not written to page {page}"));
        }
    }
    Ok(format!("{} submissions, {lost} of them refused with EDEADLK", 2 * JOBS))
}
