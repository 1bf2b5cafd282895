// SPDX-License-Identifier: GPL-2.0 OR MIT

//! More buffers than VRAM holds. Two clients, each with enough buffers to fill VRAM, copy them to
//! and fro by the GPU, look at them with the CPU, free them and make new ones, so that the driver
//! moves buffers out of VRAM all the time, also those that jobs are using. Every buffer must hold
//! what was put there last, and a new one must be zeroed.
//!
//! At the end VRAM is full of page tables: some clients map one page all over their address spaces.
//! Another client must come through nevertheless, and the tables must be there again when they are
//! needed.
//!
//! Before all that, a client alone frees buffers and looks at new ones at once, which get the same
//! VRAM: by the CPU, and by a copy of the GPU. And the kernel writes private buffers of a client to
//! files, which jobs use without naming them.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    args::Args,
    drm::Node,
    engine::Engine,
    fdinfo::Fdinfo,
    ib::Stream,
    num::{
        lo32,
        u32_of,
        u64_of,
        usize_of, //
    },
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    rng::Rng,
    session::{
        Buffer,
        Session, //
    },
    uapi::{
        self,
        CREATE_VM_ALWAYS_VALID,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_MEMORY,
        INFO_NUM_EVICTIONS,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

/// Buffers of each client.
const BUFFERS: usize = 24;

/// Work of a client.
#[derive(Default, Debug)]
struct Done {
    copies: usize,
    looks: usize,
    renewals: usize,
}

/// A buffer and what must be in it: `tag ^ page` in the first word of each page, or zeros.
struct Held {
    buffer: Buffer,
    tag: Option<u32>,
}

impl Held {
    fn new(session: &Session, size: u64) -> Result<Self, String> {
        let buffer = session.buffer(size, DOMAIN_VRAM, 0).map_err(|e| format!("new BO: {e}"))?;
        Ok(Self { buffer, tag: None })
    }

    fn pages(&self) -> usize {
        usize_of(self.buffer.size) / PAGE
    }

    fn write(&mut self, tag: u32) {
        for page in 0..self.pages() {
            self.buffer.map.write(page * PAGE, tag ^ u32_of(page));
        }
        self.tag = Some(tag);
    }

    fn verify(&self, when: &str) -> Result<(), String> {
        for page in 0..self.pages() {
            let expected = self.tag.map_or(0, |tag| tag ^ u32_of(page));
            let seen = self.buffer.map.read(page * PAGE);
            if seen != expected {
                return Err(format!("{when}: page {page} holds {seen:#x}, not {expected:#x}"));
            }
        }
        Ok(())
    }

    fn free(self, session: &Session) -> Result<(), String> {
        let Buffer { handle, va, size, map } = self.buffer;
        drop(map);
        session
            .file
            .gem_va(VA_OP_UNMAP, handle, va, 0, size)
            .and_then(|()| session.file.gem_close(handle))
            .map_err(|e| format!("freeing a BO: {e}"))
    }
}

struct Client {
    session: Session,
    size: u64,
    held: Vec<Held>,
    rng: Rng,
    done: Done,
}

impl Client {
    fn new(node: &Node, size: u64, seed: u64) -> Result<Self, String> {
        let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
        let mut rng = Rng::new(seed);
        let mut held = Vec::new();
        for _ in 0..BUFFERS {
            let mut one = Held::new(&session, size)?;
            one.verify("a new buffer")?;
            one.write(lo32(rng.next()) & !0xffff);
            held.push(one);
        }
        Ok(Self { session, size, held, rng, done: Done::default() })
    }

    /// The GPU copies one buffer over another.
    fn copy(&mut self) -> Result<(), String> {
        let (from, to) = (self.rng.within(0..BUFFERS), self.rng.within(0..BUFFERS));
        if from == to {
            return Ok(());
        }
        let engine = [Engine::Dma(0), Engine::Dma(1), Engine::Gfx][self.rng.within(0..3)];
        let (source, target) = (&self.held[from].buffer, &self.held[to].buffer);
        let mut stream = Stream::new();
        stream.copy(engine, source.va, target.va, self.size);
        self.session.run(engine, &stream, &[source.handle, target.handle])?;
        self.held[to].tag = self.held[from].tag;
        self.done.copies += 1;
        Ok(())
    }

    /// The CPU looks at one.
    fn look(&mut self) -> Result<(), String> {
        let one = self.rng.within(0..BUFFERS);
        self.done.looks += 1;
        self.held[one].verify("an old buffer")
    }

    /// One makes place for a new one.
    fn renew(&mut self) -> Result<(), String> {
        let one = self.rng.within(0..BUFFERS);
        self.held.swap_remove(one).free(&self.session)?;
        let mut new = Held::new(&self.session, self.size)?;
        new.verify("a new buffer")?;
        // Some stay as they came: zeroed.
        if self.rng.within(0..4) > 0 {
            new.write(lo32(self.rng.next()) & !0xffff);
        }
        self.held.push(new);
        self.done.renewals += 1;
        Ok(())
    }

    fn run(mut self, until: Instant) -> Result<Done, String> {
        while Instant::now() < until {
            match self.rng.within(0..8) {
                0..5 => self.copy()?,
                5..7 => self.look()?,
                _ => self.renew()?,
            }
        }
        for held in &self.held {
            held.verify("a buffer at the end")?;
        }
        Ok(self.done)
    }
}

/// Sizes of new buffers: some that the driver may find too small for an engine to clear, some that
/// take several packets.
const FRESH_SIZES: [usize; 5] = [PAGE, 15 * PAGE, 16 * PAGE, 257 * PAGE, 1030 * PAGE];

/// The engines that look at new buffers.
const LOOKERS: [Engine; 3] = [Engine::Dma(0), Engine::Dma(1), Engine::Gfx];

/// The GPU copies a new buffer, right after it was made.
fn look_by_gpu(
    session: &Session,
    engine: Engine,
    new: &Held,
    target: &Buffer,
) -> Result<(), String> {
    for page in 0..new.pages() {
        target.map.write(page * PAGE, !0);
    }
    let mut stream = Stream::new();
    stream.copy(engine, new.buffer.va, target.va, new.buffer.size);
    session.run(engine, &stream, &[new.buffer.handle, target.handle])?;
    for page in 0..new.pages() {
        let seen = target.map.read(page * PAGE);
        if seen != 0 {
            return Err(format!("{engine} found {seen:#x} in page {page} of a new buffer"));
        }
    }
    Ok(())
}

/// New buffers, each right after another was freed that had a pattern.
fn fresh(node: &Node, rounds: usize, seed: u64) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let largest = u64_of(FRESH_SIZES[FRESH_SIZES.len() - 1]);
    let target = session.buffer(largest, DOMAIN_GTT, 0).map_err(|e| format!("a target: {e}"))?;
    let mut rng = Rng::new(seed);
    let mut by_gpu = 0;

    for _ in 0..rounds {
        let size = u64_of(FRESH_SIZES[rng.within(0..FRESH_SIZES.len())]);
        let mut old = Held::new(&session, size)?;
        old.write(lo32(rng.next()) | 1);
        old.free(&session)?;

        let new = Held::new(&session, size)?;
        if rng.within(0..2) == 0 {
            let engine = LOOKERS[rng.within(0..LOOKERS.len())];
            look_by_gpu(&session, engine, &new, &target)?;
            by_gpu += 1;
        }
        new.verify("a new buffer")?;
        new.free(&session)?;
    }
    Ok(format!("{rounds} new buffers, {by_gpu} of them seen by the GPU first"))
}

/// Has the kernel write buffers that nobody uses to files, one after the other, until there are no
/// more.
fn swap_out() -> Result<(), String> {
    /// A look at this file does it with one buffer, and tells its pages.
    const SHRINK: &str = "/sys/kernel/debug/ttm/tt_shrink";
    /// More than there are.
    const MOST: usize = 500;

    for _ in 0..MOST {
        let said = fs::read_to_string(SHRINK).map_err(|e| format!("{SHRINK}: {e}"))?;
        let pages: i64 = said.trim().parse().map_err(|e| format!("{SHRINK} has {said:?}: {e}"))?;
        if pages <= 0 {
            return Ok(());
        }
    }
    Err(format!("{SHRINK} comes to no end"))
}

/// Buffers that are private to an address space, and that no job names, when the kernel has written
/// them to files.
fn private(node: &Node, seed: u64) -> Outcome {
    const COUNT: usize = 4;
    const SIZE: u64 = 16 * u64_of(PAGE);
    const ENGINE: Engine = Engine::Dma(0);

    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let mut rng = Rng::new(seed);
    let mut held = Vec::new();
    for _ in 0..COUNT {
        let buffer = session
            .buffer(SIZE, DOMAIN_GTT, CREATE_VM_ALWAYS_VALID)
            .map_err(|e| format!("a private BO: {e}"))?;
        let mut one = Held { buffer, tag: None };
        one.write(lo32(rng.next()) & !0xffff);
        held.push(one);
    }
    let look = |one: &Held| {
        let tag = one.tag.unwrap_or(0);
        session.data.map.write(0, !tag);
        let mut stream = Stream::new();
        stream.copy(ENGINE, one.buffer.va, session.data.va, 64);
        session.run(ENGINE, &stream, &[])?;
        match session.data.map.read(0) {
            seen if seen == tag => Ok(()),
            seen => Err(format!("{ENGINE} found {seen:#x} in a private buffer, not {tag:#x}")),
        }
    };
    held.iter().try_for_each(look)?;

    swap_out()?;
    let gone = Fdinfo::of(&session.file)?.bytes("drm-resident-cpu")?;
    if gone < u64_of(COUNT) * SIZE {
        return Err(format!("only {} KiB are where no engine reaches", gone >> 10));
    }
    held.iter().try_for_each(look)?;
    held.iter().try_for_each(|one| one.verify("a private buffer"))?;
    held.into_iter().try_for_each(|one| one.free(&session))?;
    Ok(format!("{COUNT} of {} KiB", SIZE >> 10))
}

/// As much of an address space as one page table is for.
const TABLE_SPAN: u64 = 4 << 20;
/// Number of tables that an address space can have, but for those that hold the session's own
/// buffers.
const TABLES: u64 = 15_000;
/// And what one takes of VRAM.
const TABLE_BYTES: u64 = 8192;
/// Start of the addresses at which the session has no buffers of its own.
const SPREAD: u64 = 1 << 32;
/// A fresh number goes to this word of the page that is mapped everywhere.
const WORD: u64 = 0x20;

/// A client that has one page mapped all over its address space.
struct Spread {
    session: Session,
    page: Buffer,
    tables: u64,
}

impl Spread {
    fn new(node: &Node, tables: u64) -> Result<Self, String> {
        let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
        let page =
            session.buffer(u64_of(PAGE), DOMAIN_GTT, 0).map_err(|e| format!("a page: {e}"))?;
        for n in 0..tables {
            let va = SPREAD + n * TABLE_SPAN;
            session
                .file
                .gem_va(VA_OP_MAP, page.handle, va, 0, u64_of(PAGE))
                .map_err(|e| format!("mapping number {n}: {e}"))?;
        }
        Ok(Self { session, page, tables })
    }

    /// A job finds the page in the first, the last and the middle one of its tables.
    fn check(&self, engine: Engine, number: u32) -> Result<(), String> {
        for n in [0, self.tables / 2, self.tables - 1] {
            let value = number ^ lo32(n);
            let mut stream = Stream::new();
            stream.store(engine, SPREAD + n * TABLE_SPAN + WORD, value);
            self.session.run(engine, &stream, &[self.page.handle])?;
            let seen = self.page.map.read(usize_of(WORD));
            if seen != value {
                return Err(format!("by table {n} a job wrote {seen:#x}, not {value:#x}"));
            }
        }
        Ok(())
    }
}

/// VRAM is full of page tables.
fn greedy(node: &Node, seed: u64) -> Outcome {
    /// More takes too long on a machine without hardware virtualization.
    const MOST: u64 = 256 << 20;

    let witness = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let memory: uapi::Memory =
        witness.file.info(INFO_MEMORY, [0; 4]).map_err(|e| format!("INFO_MEMORY: {e}"))?;
    let vram = memory.vram.usable_heap_size;
    if vram > MOST {
        return Ok(format!("not tried, with {} MiB of VRAM", vram >> 20));
    }
    let mut left = vram / TABLE_BYTES + TABLES / 4;
    let mut clients = Vec::new();
    while left > 0 {
        let tables = left.min(TABLES);
        clients.push(Spread::new(node, tables)?);
        left -= tables;
    }
    let tables: u64 = clients.iter().map(|client| client.tables).sum();

    for engine in [Engine::Dma(0), Engine::Gfx] {
        witness.prove_alive(engine)?;
    }
    let other = Session::open(node).map_err(|e| format!("another client: {e}"))?;
    other.prove_alive(Engine::Dma(1))?;
    let size = (vram / 8).next_multiple_of(u64_of(PAGE));
    let mut fresh = Held::new(&other, size)?;
    fresh.verify("a new buffer")?;
    fresh.write(lo32(seed) & !0xffff);
    for client in &clients {
        client.check(Engine::Dma(0), lo32(seed))?;
    }
    // Whoever was in the way of whom: all is there for the second time, too.
    for client in clients.iter().rev() {
        client.check(Engine::Gfx, !lo32(seed))?;
    }
    fresh.verify("a buffer")?;
    Ok(format!("{} clients with {tables} page tables, {} MiB of VRAM", clients.len(), vram >> 20))
}

/// More files than there is VRAM for page directories.
fn many_files(node: &Node) -> Outcome {
    /// Beside those that the program has for itself.
    const FILES: usize = 900;

    let mut files = Vec::new();
    for n in 0..FILES {
        files.push(node.open().map_err(|e| format!("file number {n}: {e}"))?);
    }
    let session = Session::open(node).map_err(|e| format!("one more: {e}"))?;
    session.prove_alive(Engine::Dma(0))?;
    let used = session.usage().map_err(|e| format!("INFO_MEMORY: {e}"))?.0;
    Ok(format!("{FILES} files, {} KiB of VRAM in use", used >> 10))
}

/// Evictions of the whole device, if this driver counts them.
fn evictions(session: &Session) -> Result<u64, Errno> {
    session.file.info(INFO_NUM_EVICTIONS, [0; 4])
}

fn run(node: &Node, secs: u64, seed: u64) -> Outcome {
    let witness = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let memory: uapi::Memory =
        witness.file.info(INFO_MEMORY, [0; 4]).map_err(|e| format!("INFO_MEMORY: {e}"))?;
    let vram = memory.vram.usable_heap_size;
    let size = (vram / u64_of(BUFFERS)).next_multiple_of(u64_of(PAGE));
    let before = evictions(&witness).map_err(|e| format!("INFO_NUM_EVICTIONS: {e}"))?;

    // Both have all their buffers first, which takes its time on a slow machine.
    let clients = [seed, !seed].map(|seed| Client::new(node, size, seed));
    let until = Instant::now() + Duration::from_secs(secs);
    let clients = clients.map(|client| thread::spawn(move || client?.run(until)));
    let mut done = Vec::new();
    for client in clients {
        done.push(client.join().map_err(|_| "a client panicked")??);
    }

    let after = evictions(&witness).map_err(|e| format!("INFO_NUM_EVICTIONS: {e}"))?;
    let sum = |f: fn(&Done) -> usize| done.iter().map(f).sum::<usize>();
    let evicted = after - before;
    let seen = format!(
        "{} MiB of VRAM, {} buffers of {} KiB: {} copies, {} looks, {} new buffers, \
         {evicted} evictions",
        vram >> 20,
        2 * BUFFERS,
        size >> 10,
        sum(|d| d.copies),
        sum(|d| d.looks),
        sum(|d| d.renewals),
    );
    if evicted == 0 {
        return Err(format!("{seen}: nothing was ever evicted"));
    }
    Ok(seen)
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Uses more buffers than VRAM holds.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("secs", "duration (default 10)"),
            ("rounds", "new buffers that are looked at (default 200)"),
            ("seed", "of all random choices (default: from the clock)"),
        ],
    );
    let secs = args.get("secs").unwrap_or(10);
    let rounds = args.get("rounds").unwrap_or(200);
    let seed = args.get("seed").unwrap_or_else(Rng::fresh_seed);
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("eviction", why),
    };
    println!("eviction: {} (driver {}), seed {seed}", node.path.display(), node.driver.name());
    let mut tally = Tally::new();
    tally.check("new buffers are zeroed", || fresh(&node, rounds, seed));
    tally.check("private buffers come back from where no engine reaches", || private(&node, seed));
    tally.check("buffers keep their bytes when VRAM is full", || run(&node, secs, seed));
    tally.check("files that do nothing take no VRAM from others", || many_files(&node));
    tally.check("page tables make room, and come back", || greedy(&node, seed));
    tally.close()
}
