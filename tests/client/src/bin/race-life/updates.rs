// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Page tables change beside jobs: those from before the change find what was, later ones what is.

use amdgpu_client::{
    Errno,
    PAGE,
    drm::{
        Driver,
        Node,
        list_entries,
        list_request, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::{
        Gate,
        Target, //
    },
    report::Tally,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk,
        ChunkDep,
        DOMAIN_CPU,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        VA_OP_MAP,
        VA_OP_REPLACE,
        VA_OP_UNMAP, //
    }, //
};

use crate::objects::each;

const WRITTEN: u32 = 0x0b5e_55ed;
/// Long against any call that does not wait for the gate.
const SHUT_MS: u64 = 500;
/// Distance between the commands of two queued jobs.
const APART: usize = 4096;

pub fn checks(node: &Node, rounds: usize, tally: &mut Tally) {
    each(tally, rounds, "GEM_VA REPLACE between jobs: each finds its own", || between(node));
    each(tally, rounds.min(2), "GEM_VA MAP of much memory beside a job: jobs find it all", || {
        much(node)
    });
    each(
        tally,
        rounds.min(2),
        "GEM_VA REPLACE of a part of a BO that is still to be shown",
        || part_of_itself(node),
    );
    let takes: [(&str, Take); 3] = [
        ("GEM_VA UNMAP", |session, target| {
            session.file.gem_va(VA_OP_UNMAP, target.0, target.1, 0, 0)
        }),
        ("GEM_CLOSE", |session, target| session.file.gem_close(target.0)),
        ("UNMAP and CLOSE", |session, target| {
            session.file.gem_va(VA_OP_UNMAP, target.0, target.1, 0, 0)?;
            session.file.gem_close(target.0)
        }),
    ];
    for (what, take) in takes {
        let name = format!("{what} of user memory that a job will write, then munmap");
        match node.driver {
            Driver::Rust => each(tally, rounds, &name, || user_memory(node, take)),
            Driver::Reference => {
                tally.skip(&name, "the C driver waits for jobs that name the buffer only");
            }
        }
    }
}

type Take = fn(&Session, (u32, u64)) -> amdgpu_client::Result;

pub fn say(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// Submits the `n`th of a few jobs, after another.
pub fn submit(
    session: &Session,
    n: usize,
    engine: Engine,
    stream: &Stream,
    handles: &[u32],
    after: Option<(Engine, u64)>,
) -> Result<u64, String> {
    let ib = [session.place_ib_at(n * APART, engine, stream)];
    let handles: Vec<_> =
        [session.ib.handle, session.data.handle].iter().chain(handles).copied().collect();
    let entries = list_entries(&handles);
    let list = [list_request(&entries)];
    let after = after.map(|(engine, handle)| {
        [ChunkDep {
            ip_type: engine.ip_type(),
            ring: engine.ring(),
            ctx_id: session.ctx,
            handle,
            ..Default::default()
        }]
    });
    let mut chunks =
        vec![Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    if let Some(after) = &after {
        chunks.push(Chunk::of(uapi::CHUNK_ID_DEPENDENCIES, after));
    }
    session.file.cs(session.ctx, 0, &chunks).map_err(say("CS"))
}

/// One job waits at a gate, a second one for the first. Then another BO is mapped in place of the
/// one that they write, and a third job, on a ring of its own, writes there. The second job is
/// prepared when the change has been asked for, and not made: what it flushes is good for itself
/// only.
fn between(node: &Node) -> Result<(), String> {
    const ENGINES: [Engine; 3] = [Engine::Gfx, Engine::Compute(0), Engine::Dma(1)];
    let session = Session::open(node).map_err(say("a session"))?;
    let bytes = u64_of(PAGE);
    let old = session.buffer(bytes, DOMAIN_GTT, 0).map_err(say("a BO"))?;
    let new = session.buffer(bytes, DOMAIN_GTT, 0).map_err(say("a BO"))?;
    for (n, engine) in ENGINES.into_iter().enumerate() {
        old.map.write(n * 4, 0);
        new.map.write(n * 4, 0);
        session.run(engine, &Stream::new(), &[old.handle, new.handle])?;
    }
    let store = |n: usize| {
        let mut stream = Stream::new();
        let va = old.va + u64_of(n * 4);
        if let Some(engine) = ENGINES.get(n) {
            stream.store(*engine, va, WRITTEN);
        }
        stream
    };
    let [first, second, third] = ENGINES;
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(first, &mut stream);
    stream.store(first, old.va, WRITTEN);
    let held = submit(&session, 0, first, &stream, &[old.handle], None)?;
    submit(&session, 1, second, &store(1), &[old.handle], Some((first, held)))?;
    let (last, timing) = gate.open_soon(|| {
        let replaced = session.file.gem_va(VA_OP_REPLACE, new.handle, old.va, 0, bytes);
        replaced.map_err(say("REPLACE"))?;
        submit(&session, 2, third, &store(2), &[new.handle], None)
    });
    let last = last?;
    if timing.waited() {
        return Err("the calls came back after the gate was opened".into());
    }
    if !session.wait(third, last, PATIENCE_MS).map_err(say("WAIT_CS"))? {
        return Err("the last job is not done".into());
    }
    for (n, (in_old, in_new)) in [(WRITTEN, 0), (WRITTEN, 0), (0, WRITTEN)].into_iter().enumerate()
    {
        let (was, is) = (old.map.read(n * 4), new.map.read(n * 4));
        if (was, is) != (in_old, in_new) {
            return Err(format!("job {n} wrote {was:#x} to the old BO and {is:#x} to the new one"));
        }
    }
    Ok(())
}

/// So much video memory is mapped that an engine writes the page tables, while a job waits at a
/// gate. A job on another ring finds it at once, at both ends of page tables and in between. Then
/// other memory is mapped in its place: jobs from before find the first, later ones the second.
fn much(node: &Node) -> Result<(), String> {
    const ENGINES: [Engine; 2] = [Engine::Gfx, Engine::Compute(0)];
    const MUCH: usize = 80 << 20;
    const PAGES: [usize; 9] = [0, 1, 511, 512, 1023, 1024, 4095, 10_000, MUCH / PAGE - 1];
    let [first, second] = ENGINES;
    let session = Session::open(node).map_err(say("a session"))?;
    let bytes = u64_of(MUCH);
    let bos = [(); 2].map(|()| session.buffer(bytes, DOMAIN_VRAM, 0).map_err(say("a BO")));
    let [old, new] = bos;
    let (old, new) = (old?, new?);
    let handles = [old.handle, new.handle];
    for engine in ENGINES {
        session.run(engine, &Stream::new(), &handles)?;
    }
    let va = session.reserve_va(bytes);
    let stores = |engine, value, stream: &mut Stream| {
        for page in PAGES {
            stream.store(engine, va + u64_of(page * PAGE), value);
        }
    };
    let found = |who: &str, map: &dyn Fn(usize) -> u32, value| match PAGES
        .iter()
        .find(|page| map(**page * PAGE) != value)
    {
        Some(page) => Err(format!("{who}: page {page} holds {:#x}", map(page * PAGE))),
        None => Ok(()),
    };

    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(first, &mut stream);
    let held = submit(&session, 0, first, &stream, &handles, None)?;
    let (done, timing) = gate.open_soon(|| {
        session.file.gem_va(VA_OP_MAP, old.handle, va, 0, bytes).map_err(say("MAP"))?;
        let mut stream = Stream::new();
        stores(second, WRITTEN, &mut stream);
        submit(&session, 1, second, &stream, &handles, None)
    });
    let done = done?;
    if timing.waited() {
        return Err("MAP waited for the job".into());
    }
    for (engine, job) in [(first, held), (second, done)] {
        if !session.wait(engine, job, PATIENCE_MS).map_err(say("WAIT_CS"))? {
            return Err("a job is not done".into());
        }
    }
    found("mapped beside a job", &|at| old.map.read(at), WRITTEN)?;

    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(first, &mut stream);
    stores(first, WRITTEN + 1, &mut stream);
    let held = submit(&session, 0, first, &stream, &handles, None)?;
    let (done, timing) = gate.open_soon(|| {
        session.file.gem_va(VA_OP_REPLACE, new.handle, va, 0, bytes).map_err(say("REPLACE"))?;
        let mut stream = Stream::new();
        stores(second, WRITTEN + 2, &mut stream);
        submit(&session, 1, second, &stream, &handles, None)
    });
    let done = done?;
    if timing.waited() {
        return Err("REPLACE waited for the job".into());
    }
    for (engine, job) in [(first, held), (second, done)] {
        if !session.wait(engine, job, PATIENCE_MS).map_err(say("WAIT_CS"))? {
            return Err("a job is not done".into());
        }
    }
    found("replaced, the job before", &|at| old.map.read(at), WRITTEN + 1)?;
    found("replaced, the job after", &|at| new.map.read(at), WRITTEN + 2)
}

/// A BO is mapped while it has no place that the GPU reaches, and gets one by another file, so that
/// no entry shows it yet. Beside a job that waits at a gate, its own first pages are mapped in
/// place of two in the middle: all three parts are to be shown, by as many kinds of entries as can
/// be.
fn part_of_itself(node: &Node) -> Result<(), String> {
    const ENGINES: [Engine; 2] = [Engine::Gfx, Engine::Compute(0)];
    const BYTES: usize = 2 << 20;
    /// Page at which the two are mapped, and the pages of the BO that some pages show afterward.
    const CUT: usize = 255;
    const SHOWN: [(usize, usize); 6] =
        [(1, 1), (CUT - 1, CUT - 1), (CUT, 0), (CUT + 2, CUT + 2), (300, 300), (511, 511)];
    let [first, second] = ENGINES;
    let session = Session::open(node).map_err(say("a session"))?;
    let other = Session::open(node).map_err(say("another session"))?;
    let bytes = u64_of(BYTES);
    let bo = session.file.gem_create(bytes, DOMAIN_CPU, 0).map_err(say("a BO"))?;
    let va = session.reserve_va(2 * bytes).next_multiple_of(bytes);
    session.file.gem_va(VA_OP_MAP, bo, va, 0, bytes).map_err(say("MAP"))?;
    let buffer = session.file.export(bo).map_err(say("export"))?;
    let same = other.file.import(&buffer).map_err(say("import"))?;
    session.file.set_placement(bo, DOMAIN_VRAM).map_err(say("SET_PLACEMENT"))?;
    other.run(first, &Stream::new(), &[same])?;
    for engine in ENGINES {
        session.run(engine, &Stream::new(), &[])?;
    }

    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(first, &mut stream);
    let held = submit(&session, 0, first, &stream, &[], None)?;
    let (done, timing) = gate.open_soon(|| {
        let (at, two) = (va + u64_of(CUT * PAGE), u64_of(2 * PAGE));
        session.file.gem_va(VA_OP_REPLACE, bo, at, 0, two).map_err(say("REPLACE"))?;
        let mut stream = Stream::new();
        for (n, (page, _)) in (1..).zip(SHOWN) {
            stream.store(second, va + u64_of(page * PAGE), n);
        }
        submit(&session, 1, second, &stream, &[bo], None)
    });
    let done = done?;
    if timing.waited() {
        return Err("the calls came back after the gate was opened".into());
    }
    for (engine, job) in [(first, held), (second, done)] {
        if !session.wait(engine, job, PATIENCE_MS).map_err(say("WAIT_CS"))? {
            return Err("a job is not done".into());
        }
    }
    let map = session.file.map(bo, bytes).map_err(say("mmap"))?;
    match (1..).zip(SHOWN).find(|(n, (_, page))| map.read(page * PAGE) != *n) {
        Some((n, (at, page))) => Err(format!(
            "page {page}, which {at} shows, holds {:#x}, not {n}",
            map.read(page * PAGE)
        )),
        None => Ok(()),
    }
}

/// A job that will write user memory waits at a gate; the memory is taken from the address space,
/// which does not wait; the process gives it up, which has to.
fn user_memory(node: &Node, take: Take) -> Result<(), String> {
    const ENGINE: Engine = Engine::Gfx;
    const PAGES: usize = 4;
    let session = Session::open(node).map_err(say("a session"))?;
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    (0..PAGES).for_each(|page| mem.write_page(page, &[1; PAGE]));
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    session.run(ENGINE, &Stream::new(), &[target.handle])?;
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(ENGINE, &mut stream);
    target.stores(ENGINE, PAGES, WRITTEN, &mut stream);
    let held = submit(&session, 0, ENGINE, &stream, &[target.handle], None)?;
    let target = target.leak();
    let started = amdgpu_client::drm::now_ns();
    let (answer, timing) = gate.open_soon(|| {
        take(&session, target).map_err(say("taking away"))?;
        let taken = amdgpu_client::drm::now_ns();
        mem.unmap_and_map(0..PAGES).map_err(say("munmap and mmap"))?;
        Ok::<_, String>(taken)
    });
    let taken = answer?;
    if taken > timing.opened {
        let ms = (taken - started) / 1_000_000;
        return Err(format!("the call waited for the job: {ms} ms"));
    }
    if !timing.waited() {
        return Err("munmap came back while a job could reach the pages".into());
    }
    if !session.wait(ENGINE, held, PATIENCE_MS).map_err(say("WAIT_CS"))? {
        return Err("the job is not done".into());
    }
    match (0..PAGES).map(|page| mem.load(page, 0)).find(|word| *word != 0) {
        Some(word) => Err(format!("a fresh page holds {word:#x}")),
        None => mapped_again(&session, target.1),
    }
}

/// The address takes another BO, and jobs reach it there.
fn mapped_again(session: &Session, va: u64) -> Result<(), String> {
    let bytes = u64_of(PAGE);
    let bo = session.buffer(bytes, DOMAIN_GTT, 0).map_err(say("a BO"))?;
    session.file.gem_va(VA_OP_MAP, bo.handle, va, 0, bytes).map_err(say("MAP"))?;
    let mut stream = Stream::new();
    stream.store(Engine::Gfx, va, WRITTEN);
    session.run(Engine::Gfx, &stream, &[bo.handle])?;
    match bo.map.read(0) {
        WRITTEN => Ok(()),
        word => Err(format!("the next BO at the address holds {word:#x}")),
    }
}
