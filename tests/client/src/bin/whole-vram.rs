// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card of which the CPU sees a part only: for a guest with such a card (`--visible-mib` of the
//! model).
//!
//! Every byte of VRAM is used, and each keeps what was written to it: seen by the GPU, by the CPU,
//! which brings a buffer to where it sees it, and by a debugger, which does not. Whoever needs room
//! in the part that the CPU sees gets it from those who need not be there, and they stay in VRAM.
//! The numbers that the driver tells of all this are right.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    process::ExitCode, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    args::Args,
    drm::IoMap,
    engine::Engine,
    ib::Stream,
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    session::{
        Buffer,
        Session, //
    },
    start::{
        ENGINE,
        NODE,
        Start, //
    },
    uapi::{
        CREATE_CPU_ACCESS_REQUIRED,
        CREATE_NO_CPU_ACCESS,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_MEMORY,
        INFO_NUM_EVICTIONS,
        INFO_NUM_VRAM_CPU_PAGE_FAULTS,
        INFO_VIS_VRAM_USAGE,
        INFO_VRAM_GTT,
        Memory,
        VA_OP_UNMAP,
        VramGtt, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Sizes of buffers, one after the other: also some that no power of two holds well, and one that
/// an engine would not be asked to clear or move if the CPU saw it.
const SIZES: [u64; 4] = [2 * MIB, 3 * MIB + 5 * 4096, 7 * 4096, MIB];
const LARGEST: u64 = SIZES[1];
/// Bytes that the session itself, and page tables, may take while buffers are counted.
const SLACK: u64 = 2 * MIB;

/// Numbers that the driver gives.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    vram: u64,
    visible: u64,
    gtt: u64,
    faults: u64,
    evictions: u64,
}

impl Numbers {
    fn of(session: &Session) -> Result<Self, String> {
        let info = |query| session.file.info(query, [0; 4]).map_err(|e| format!("INFO: {e}"));
        let (vram, gtt) = session.usage().map_err(|e| format!("INFO_MEMORY: {e}"))?;
        Ok(Self {
            vram,
            gtt,
            visible: info(INFO_VIS_VRAM_USAGE)?,
            faults: info(INFO_NUM_VRAM_CPU_PAGE_FAULTS)?,
            evictions: info(INFO_NUM_EVICTIONS)?,
        })
    }
}

fn memory(session: &Session) -> Result<Memory, String> {
    session.file.info(INFO_MEMORY, [0; 4]).map_err(|e| format!("INFO_MEMORY: {e}"))
}

/// Ends with `why` unless `holds`.
fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// The pattern from which buffers are filled: words of which no two are the same.
const fn word(index: u32) -> u32 {
    index.wrapping_mul(0x85eb_ca6b) ^ 0x9e37_79b9
}

/// Distance in the pattern from the first byte of a buffer to that of the next. So no page holds
/// what it would hold if it were a page of another buffer.
const STEP: usize = 17 * 4;
/// And how many buffers there are before it is the first one's turn again.
const STEPS: usize = 900;

/// A buffer, and where in the pattern its bytes begin.
struct Held {
    buffer: Buffer,
    from: usize,
}

impl Held {
    fn bytes(&self) -> usize {
        usize_of(self.buffer.size)
    }

    /// Offsets of the first word, of one in the middle and of the last.
    fn some_words(&self) -> [usize; 3] {
        [0, self.bytes() / 8 * 4, self.bytes() - 4]
    }
}

/// Writes and reads buffers by the GPU, by way of two in GTT.
struct Bench<'a> {
    session: &'a Session,
    engine: Engine,
    /// The pattern, as the GPU finds it.
    source: Buffer,
    /// The same.
    pattern: Vec<u8>,
    staging: Buffer,
    seen: Vec<u8>,
    count: usize,
}

impl<'a> Bench<'a> {
    fn new(session: &'a Session, engine: Engine) -> Result<Self, Errno> {
        let size = LARGEST + u64_of((STEP * STEPS).next_multiple_of(PAGE));
        let source = session.buffer(size, DOMAIN_GTT, 0)?;
        let words: Vec<u32> = (0..u32_of(usize_of(size) / 4)).map(word).collect();
        source.map.copy_in(0, &words);
        let pattern = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let staging = session.buffer(LARGEST, DOMAIN_GTT, 0)?;
        let seen = vec![0; usize_of(LARGEST)];
        Ok(Self { session, engine, source, pattern, staging, seen, count: 0 })
    }

    fn numbers(&self) -> Result<Numbers, String> {
        Numbers::of(self.session)
    }

    /// A new buffer, which nobody has looked at yet.
    fn create(&mut self, size: u64, flags: u64) -> Result<Held, String> {
        let buffer = self
            .session
            .buffer(size, DOMAIN_VRAM, flags)
            .map_err(|e| format!("a buffer of {size} bytes: {e}"))?;
        self.count += 1;
        Ok(Held { buffer, from: self.count % STEPS * STEP })
    }

    /// Returns the contents of a buffer that was filled.
    fn expected(&self, held: &Held) -> &[u8] {
        &self.pattern[held.from..][..held.bytes()]
    }

    fn free(&self, held: Held) -> Result<(), String> {
        let Buffer { handle, va, size, map } = held.buffer;
        drop(map);
        self.session
            .file
            .gem_va(VA_OP_UNMAP, handle, va, 0, size)
            .and_then(|()| self.session.file.gem_close(handle))
            .map_err(|e| format!("freeing a buffer: {e}"))
    }

    fn free_all(&self, held: &mut Vec<Held>) -> Result<(), String> {
        held.drain(..).try_for_each(|one| self.free(one))
    }

    /// The GPU fills a buffer.
    fn fill(&self, held: &Held) -> Result<(), String> {
        let mut stream = Stream::new();
        let from = self.source.va + u64_of(held.from);
        stream.copy(self.engine, from, held.buffer.va, held.buffer.size);
        self.session.run(self.engine, &stream, &[self.source.handle, held.buffer.handle])
    }

    /// The GPU copies a buffer to where the CPU can look at it.
    fn fetch(&self, held: &Held) -> Result<(), String> {
        let mut stream = Stream::new();
        stream.copy(self.engine, held.buffer.va, self.staging.va, held.buffer.size);
        self.session.run(self.engine, &stream, &[held.buffer.handle, self.staging.handle])
    }

    /// The GPU reads a buffer, and every byte is right.
    fn check_by_gpu(&mut self, held: &Held) -> Result<(), String> {
        self.fetch(held)?;
        let mut seen = std::mem::take(&mut self.seen);
        self.staging.map.copy_out(0, &mut seen[..held.bytes()]);
        let same = compare(&seen[..held.bytes()], self.expected(held), "the GPU");
        self.seen = seen;
        same
    }

    /// The CPU reads it, and every byte is right.
    fn check_by_cpu(&mut self, held: &Held) -> Result<(), String> {
        let mut seen = std::mem::take(&mut self.seen);
        held.buffer.map.copy_out(0, &mut seen[..held.bytes()]);
        let same = compare(&seen[..held.bytes()], self.expected(held), "the CPU");
        self.seen = seen;
        same
    }

    /// New buffers of all sizes, until less than the largest of them is left of `room`.
    fn fill_up(&mut self, room: u64, held: &mut Vec<Held>) -> Result<(), String> {
        for size in SIZES.iter().cycle() {
            if self.numbers()?.vram + LARGEST + SLACK > room {
                return Ok(());
            }
            let new = self.create(*size, 0)?;
            self.fill(&new)?;
            held.push(new);
        }
        Ok(())
    }
}

fn compare(seen: &[u8], expected: &[u8], who: &str) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    let at = seen.iter().zip(expected).position(|(seen, expected)| seen != expected).unwrap_or(0);
    let (seen, expected) = (seen[at], expected[at]);
    Err(format!("{who} finds {seen:#x} at {at:#x} of a buffer, not {expected:#x}"))
}

fn sum(held: &[Held]) -> u64 {
    held.iter().map(|one| one.buffer.size).sum()
}

/// The sizes of heaps fit each other.
fn heaps(session: &Session) -> Outcome {
    let memory = memory(session)?;
    let (vram, visible) = (memory.vram, memory.cpu_accessible_vram);
    let sizes: VramGtt =
        session.file.info(INFO_VRAM_GTT, [0; 4]).map_err(|e| format!("INFO_VRAM_GTT: {e}"))?;
    let seen = format!(
        "{} MiB of VRAM, {} MiB of them visible; usable {} and {} KiB",
        vram.total_heap_size / MIB,
        visible.total_heap_size / MIB,
        vram.usable_heap_size >> 10,
        visible.usable_heap_size >> 10
    );
    expect(visible.total_heap_size < vram.total_heap_size, || {
        format!("{seen}: this needs a card of which less is visible")
    })?;
    let invisible = vram.total_heap_size - visible.total_heap_size;
    expect(vram.usable_heap_size > invisible, || format!("{seen}: not all of VRAM is usable"))?;
    expect(visible.max_allocation == visible.usable_heap_size * 3 / 4, || {
        format!("{seen}: the largest allocation is {}", visible.max_allocation)
    })?;
    expect(
        sizes.vram_size == vram.usable_heap_size
            && sizes.vram_cpu_accessible_size == visible.usable_heap_size,
        || format!("{seen}, but by VRAM_GTT {sizes:?}"),
    )?;
    Ok(seen)
}

/// Buffers lie where their flags say.
fn flags(bench: &mut Bench<'_>) -> Outcome {
    const COUNT: u64 = 4;
    let file = &bench.session.file;
    let mut grown = Vec::new();
    let mut handles = Vec::new();
    for flags in [CREATE_CPU_ACCESS_REQUIRED, 0, CREATE_NO_CPU_ACCESS] {
        let before = bench.numbers()?;
        for _ in 0..COUNT {
            let handle = file.gem_create(MIB, DOMAIN_VRAM, flags);
            handles.push((flags, handle.map_err(|e| format!("GEM_CREATE: {e}"))?));
        }
        let after = bench.numbers()?;
        expect(after.vram - before.vram == COUNT * MIB, || format!("{before:?}, then {after:?}"))?;
        grown.push((after.visible - before.visible) / MIB);
    }
    expect(grown == [COUNT, 0, 0], || format!("visible of {COUNT} MiB each: {grown:?}"))?;
    let before = bench.numbers()?;
    for (flags, handle) in handles {
        match (flags, file.map(handle, MIB)) {
            (CREATE_NO_CPU_ACCESS, Err(Errno(libc::EPERM))) => {}
            (CREATE_CPU_ACCESS_REQUIRED, Ok(map)) => map.fill(1),
            (0, Ok(_)) => {}
            (flags, map) => return Err(format!("flags {flags:#x}: mapping answers {map:?}")),
        }
        file.gem_close(handle).map_err(|e| format!("GEM_CLOSE: {e}"))?;
    }
    let faults = bench.numbers()?.faults - before.faults;
    expect(faults == 0, || format!("{faults} faults where the CPU sees everything"))?;
    Ok(format!("visible of {COUNT} MiB each: {grown:?}"))
}

/// All of VRAM holds bytes that differ, as the GPU sees it and as the CPU does.
fn every_byte(bench: &mut Bench<'_>) -> Outcome {
    let memory = memory(bench.session)?;
    let (room, visible) = (memory.vram.usable_heap_size, memory.cpu_accessible_vram);
    let mut held = Vec::new();
    bench.fill_up(room, &mut held)?;
    let full = bench.numbers()?;
    for one in &held {
        bench.check_by_gpu(one)?;
    }
    // Each look brings a buffer to where the CPU sees it: of VRAM, or to GTT.
    for one in &held {
        bench.check_by_cpu(one)?;
        let now = bench.numbers()?.visible;
        expect(now <= visible.total_heap_size, || format!("{now} bytes are visible"))?;
    }
    let after = bench.numbers()?;
    let seen = format!(
        "{} buffers, {} of {} MiB; then {} faults, {} MiB visible, {} MiB went to GTT",
        held.len(),
        sum(&held) / MIB,
        room / MIB,
        after.faults - full.faults,
        after.visible / MIB,
        (after.gtt - full.gtt) / MIB
    );
    let moved = sum(&held) - visible.total_heap_size;
    let fewest = moved.div_ceil(LARGEST);
    expect((fewest..=u64_of(held.len())).contains(&(after.faults - full.faults)), || {
        format!("{seen}: not {fewest} faults to {}", held.len())
    })?;
    expect(after.gtt - full.gtt >= moved, || format!("{seen}: {} MiB had to go", moved / MIB))?;
    expect(after.visible > visible.usable_heap_size - 2 * LARGEST - SLACK, || {
        format!("{seen}: there was room in what is visible")
    })?;
    expect(after.evictions == full.evictions, || format!("{seen}: somebody was evicted"))?;

    // Looked at again, nothing moves. What the CPU changes, the GPU sees.
    for (salt, one) in (0..).zip(&held) {
        for at in one.some_words() {
            one.buffer.map.write(at, word(u32_of(at)) ^ salt);
        }
    }
    let again = bench.numbers()?;
    expect(again.faults == after.faults, || format!("{seen}: and {} more", again.faults))?;
    for (salt, one) in (0..).zip(&held) {
        bench.fetch(one)?;
        for at in one.some_words() {
            let (found, written) = (bench.staging.map.read(at), word(u32_of(at)) ^ salt);
            expect(found == written, || {
                format!("the GPU finds {found:#x} at {at:#x}, where the CPU wrote {written:#x}")
            })?;
        }
    }
    bench.free_all(&mut held)?;
    Ok(seen)
}

/// Buffers that must be visible make those go that need not: to the rest of VRAM.
fn room_for_the_visible(bench: &mut Bench<'_>) -> Outcome {
    let memory = memory(bench.session)?;
    let (room, visible) = (memory.vram.usable_heap_size, memory.cpu_accessible_vram);
    let mut held = Vec::new();
    bench.fill_up(room, &mut held)?;
    let full = bench.numbers()?;
    // The first are where the CPU does not see them.
    let mut freed = 0;
    let mut count = 0;
    while freed < visible.total_heap_size + SLACK {
        freed += held[count].buffer.size;
        count += 1;
    }
    for one in held.drain(..count) {
        bench.free(one)?;
    }
    let before = bench.numbers()?;
    expect(before.visible > visible.usable_heap_size * 3 / 4, || {
        format!("{full:?}, then {before:?}: what is visible was to be full")
    })?;
    let mut wanted = Vec::new();
    while sum(&wanted) + 8 * MIB < visible.usable_heap_size {
        let new = bench.create(MIB, CREATE_CPU_ACCESS_REQUIRED)?;
        bench.fill(&new)?;
        wanted.push(new);
    }
    let after = bench.numbers()?;
    let evicted = after.evictions - before.evictions;
    let seen = format!(
        "{} MiB of {} are visible, for which {evicted} of {} buffers moved",
        sum(&wanted) / MIB,
        visible.usable_heap_size / MIB,
        held.len()
    );
    expect(evicted > 0, || seen.clone())?;
    expect(after.gtt == before.gtt, || {
        format!("{seen}: {} KiB more in GTT", (after.gtt - before.gtt) >> 10)
    })?;
    // No more than there were in the way.
    let smallest_first = before.visible / (sum(&held) / u64_of(held.len())) * 2;
    expect(evicted <= smallest_first, || format!("{seen}: at most {smallest_first} were visible"))?;
    for one in held.iter().chain(&wanted) {
        bench.check_by_gpu(one)?;
    }
    for one in &wanted {
        bench.check_by_cpu(one)?;
    }
    let faults = bench.numbers()?.faults - after.faults;
    expect(faults == 0, || format!("{seen}: {faults} faults"))?;
    bench.free_all(&mut held)?;
    bench.free_all(&mut wanted)?;
    Ok(seen)
}

/// A debugger reads and writes a buffer that the CPU does not see, which stays where it is.
fn debugger(bench: &mut Bench<'_>) -> Outcome {
    const RANGES: [(usize, usize); 4] =
        [(0, 64), (5, 1), (PAGE - 3, 9), (9 * PAGE + 2, 2 * PAGE + 7)];

    let process = File::options().read(true).write(true).open("/proc/self/mem");
    let process = process.map_err(|e| format!("/proc/self/mem: {e}"))?;
    let held = bench.create(16 * u64_of(PAGE), 0)?;
    bench.fill(&held)?;
    let before = bench.numbers()?;
    let at = |offset: usize| held.buffer.map.addr() + u64_of(offset);
    let expected = bench.expected(&held).to_vec();
    for (offset, len) in RANGES {
        let mut seen = vec![0xee; len];
        let read = process.read_exact_at(&mut seen, at(offset));
        read.map_err(|e| format!("reading {len} bytes at {offset:#x}: {e}"))?;
        expect(seen == expected[offset..offset + len], || {
            format!("{len} bytes at {offset:#x} are wrong")
        })?;
    }
    // Every other byte of a few, so that those between have to stay.
    let (mut changed, from) = (expected, 3 * PAGE - 5);
    for offset in (from..from + 10).step_by(2) {
        changed[offset] = !changed[offset];
        let written = process.write_all_at(&changed[offset..=offset], at(offset));
        written.map_err(|e| format!("writing a byte at {offset:#x}: {e}"))?;
    }
    bench.fetch(&held)?;
    let mut seen = vec![0; changed.len()];
    bench.staging.map.copy_out(0, &mut seen);
    expect(seen == changed, || "the GPU does not find what the debugger wrote".into())?;
    let after = bench.numbers()?;
    expect((after.visible, after.faults) == (before.visible, before.faults), || {
        format!("it moved: {before:?}, then {after:?}")
    })?;
    // As the process itself sees it, once it looks.
    expect(byte(&held.buffer.map, from) == changed[from], || "the CPU finds other bytes".into())?;
    let faults = bench.numbers()?.faults - after.faults;
    bench.free(held)?;
    expect(faults == 1, || format!("{faults} faults by one look"))?;
    Ok(format!("{} reads and 5 writes", RANGES.len()))
}

fn byte(map: &IoMap, offset: usize) -> u8 {
    let mut byte = [0];
    map.copy_out(offset, &mut byte);
    byte[0]
}

fn main() -> ExitCode {
    let args =
        Args::parse("Uses all VRAM of a card of which the CPU sees a part.", &[NODE, ENGINE]);
    let start = match Start::new("whole-vram", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let bench = start.session.prove_alive(start.engine).and_then(|()| {
        Bench::new(&start.session, start.engine).map_err(|e| format!("a buffer in GTT: {e}"))
    });
    let mut bench = match bench {
        Ok(bench) => bench,
        Err(why) => return give_up("whole-vram", why),
    };
    let mut tally = Tally::new();
    if !tally.check("heaps have the card's sizes", || heaps(&start.session)) {
        return tally.close();
    }
    tally.check("buffers lie where their flags say", || flags(&mut bench));
    tally.check("a debugger sees what the CPU does not", || debugger(&mut bench));
    tally.check("every byte of VRAM holds what was put there", || every_byte(&mut bench));
    tally.check("who must be visible gets room from others", || room_for_the_visible(&mut bench));
    tally.close()
}
