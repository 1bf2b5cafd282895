// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A debugger's view of a mapped BO, and its changes there. It goes through `/proc/self/mem` here,
//! for which the kernel does as it does for ptrace and `/proc/PID/mem`: no page stands behind a
//! mapping of VRAM, so it asks the driver. (process_vm_readv wants pages, and cannot read such a
//! mapping under any driver.)

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    drm::{
        self,
        IoMap, //
    },
    ib::Stream,
    num::u64_of,
    session::{
        Buffer,
        PATIENCE_MS, //
    },
    uapi::{
        CREATE_CPU_ACCESS_REQUIRED,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Setup,
        bad,
        good, //
    },
    rig::{
        ENGINE,
        Rig, //
    }, //
};

type Outcome = Result<(), Failure>;

/// More than an engine is asked to clear, and than the kernel copies at a time.
const SIZE: usize = 64 * PAGE;

/// Single bytes, words at odd addresses, within a page, across one page's end and across many.
const RANGES: [Range<usize>; 7] = [
    0..1,
    1..4,
    PAGE - 3..PAGE + 4,
    2 * PAGE + 1..2 * PAGE + 8,
    4 * PAGE..5 * PAGE,
    7 * PAGE + 5..30 * PAGE + 12,
    SIZE - 3..SIZE,
];

/// The memory of this process, as a debugger finds it.
struct Memory(File);

impl Memory {
    fn open() -> Result<Self, Failure> {
        let file = File::options().read(true).write(true).open("/proc/self/mem");
        file.map(Self).map_err(errno).setup("open /proc/self/mem")
    }

    /// Reads bytes of a mapping.
    fn read(&self, map: &IoMap, range: Range<usize>) -> Result<Vec<u8>, Errno> {
        // Not what is expected anywhere, so that bytes which nobody filled in are seen.
        let mut bytes = vec![0xee; range.len()];
        self.0.read_exact_at(&mut bytes, map.addr() + u64_of(range.start)).map_err(errno)?;
        Ok(bytes)
    }

    /// Writes bytes of a mapping.
    fn write(&self, map: &IoMap, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write_all_at(bytes, map.addr() + u64_of(offset)).map_err(errno)
    }
}

fn errno(e: io::Error) -> Errno {
    Errno(e.raw_os_error().unwrap_or(libc::EIO))
}

/// A BO that both sides have mapped.
fn buffer(rig: &Rig, domain: u64) -> Result<Buffer, Failure> {
    let flags = if domain == DOMAIN_VRAM { CREATE_CPU_ACCESS_REQUIRED } else { 0 };
    rig.session.buffer(u64_of(SIZE), domain, flags).setup("BO")
}

/// Bytes of which neighbors differ, and pages, and those of another `salt`.
fn pattern(salt: u8) -> Vec<u8> {
    let byte = |i: usize| (i.to_le_bytes()[0] ^ (i / PAGE).to_le_bytes()[0]).wrapping_add(salt);
    (0..SIZE).map(byte).collect()
}

/// Puts bytes into a BO through the process's own mapping.
fn fill(map: &IoMap, bytes: &[u8]) {
    for (i, word) in bytes.chunks_exact(4).enumerate() {
        map.write(4 * i, u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
}

fn same(who: &str, from: usize, seen: &[u8], expected: &[u8]) -> Outcome {
    let mut pairs = seen.iter().zip(expected).enumerate();
    match pairs.find(|(_, (seen, expected))| seen != expected) {
        None => Ok(()),
        Some((at, (seen, expected))) => Err(Failure::Wrong(format!(
            "{who} sees {seen:#x} at {:#x}, not {expected:#x}",
            from + at
        ))),
    }
}

/// Checks the bytes that an engine finds in a BO, by way of another.
fn engine_sees(rig: &Rig, bo: &Buffer, expected: &[u8]) -> Outcome {
    let copy = buffer(rig, DOMAIN_GTT)?;
    run(rig, |stream| _ = stream.copy(ENGINE, bo.va, copy.va, bo.size), &[bo, &copy])?;
    let mut seen = vec![0; SIZE];
    copy.map.copy_out(0, &mut seen);
    same("the engine", 0, &seen, expected)
}

fn run(rig: &Rig, fill: impl FnOnce(&mut Stream), bos: &[&Buffer]) -> Outcome {
    let mut stream = Stream::new();
    fill(&mut stream);
    let handles: Vec<_> = bos.iter().map(|bo| bo.handle).collect();
    rig.session.run(ENGINE, &stream, &handles).map_err(Failure::Wrong)
}

/// A debugger reads the bytes that the process has written.
fn reads(rig: &Rig, domain: u64) -> Outcome {
    let (memory, bo, bytes) = (Memory::open()?, buffer(rig, domain)?, pattern(1));
    fill(&bo.map, &bytes);
    for range in RANGES {
        let seen = memory.read(&bo.map, range.clone())?;
        same("the debugger", range.start, &seen, &bytes[range])?;
    }
    Ok(())
}

/// The process and an engine read the bytes that a debugger writes, and nothing else has changed.
fn writes(rig: &Rig, domain: u64) -> Outcome {
    let (memory, bo) = (Memory::open()?, buffer(rig, domain)?);
    let (mut expected, new) = (pattern(1), pattern(0x80));
    fill(&bo.map, &expected);
    for range in RANGES {
        memory.write(&bo.map, range.start, &new[range.clone()])?;
        expected[range.clone()].copy_from_slice(&new[range]);
    }
    engine_sees(rig, &bo, &expected)?;
    let mut seen = vec![0; SIZE];
    bo.map.copy_out(0, &mut seen);
    same("the process", 0, &seen, &expected)?;
    let seen = memory.read(&bo.map, 0..SIZE)?;
    same("the debugger", 0, &seen, &expected)
}

/// A debugger reads the bytes that an engine writes, also where it has read before.
fn reads_the_engines(rig: &Rig, domain: u64) -> Outcome {
    const VALUE: u32 = 0x1357_9bdf;
    const AT: usize = 9 * PAGE;

    let (memory, bo) = (Memory::open()?, buffer(rig, domain)?);
    let seen = memory.read(&bo.map, AT..AT + 4)?;
    same("the debugger", AT, &seen, &[0; 4])?;
    run(rig, |stream| _ = stream.store(ENGINE, bo.va + u64_of(AT), VALUE), &[&bo])?;
    let seen = memory.read(&bo.map, AT..AT + 4)?;
    same("the debugger", AT, &seen, &VALUE.to_ne_bytes())
}

/// While a job runs a debugger sees what the job has written, and the job what the debugger writes.
/// (The start of a job is a flush, and its end too: only in between it takes the driver's.)
fn meets_a_job(rig: &Rig, domain: u64) -> Outcome {
    const VALUE: u32 = 0x2468_ace0;
    const BYTES: [u8; 4] = VALUE.to_ne_bytes();
    const FROM_JOB: usize = 3 * PAGE;
    // Words of lines of their own: a cache may have some of them, and not others.
    const LINES: usize = 32;
    const LINE: usize = 64;
    const TO_JOB: usize = 20 * PAGE;
    // In a BO that the job waits at, and answers in; and what it writes when it comes there.
    const GATE: usize = 0;
    const ANSWER: usize = PAGE;
    const COME: usize = 2 * PAGE;

    let (memory, bo, own) = (Memory::open()?, buffer(rig, domain)?, buffer(rig, DOMAIN_GTT)?);
    let va = |bo: &Buffer, offset| bo.va + u64_of(offset);
    let mut stream = Stream::new();
    for line in 0..LINES {
        stream.store(ENGINE, va(&bo, FROM_JOB + line * LINE), VALUE);
    }
    stream.store(ENGINE, va(&own, COME), VALUE);
    stream.wait_equal(ENGINE, va(&own, GATE), VALUE);
    stream.copy(ENGINE, va(&bo, TO_JOB), va(&own, ANSWER), u64_of(BYTES.len()));
    // Whatever keeps what was read has it now.
    memory.read(&bo.map, FROM_JOB..FROM_JOB + LINES * LINE)?;
    let seq = rig.session.submit(ENGINE, &stream, &[bo.handle, own.handle]).setup("CS")?;

    // No longer than the job that is to come there may wait.
    let deadline = drm::deadline_ms(PATIENCE_MS / 4);
    while own.map.read(COME) != VALUE && drm::now_ns() < deadline {
        std::hint::spin_loop();
    }
    // Once: it must be there at the first look.
    let seen = memory.read(&bo.map, FROM_JOB..FROM_JOB + LINES * LINE);
    let written = memory.write(&bo.map, TO_JOB, &BYTES);
    // First of all the job must end.
    own.map.write(GATE, VALUE);
    rig.finish(ENGINE, seq)?;
    written?;
    for (line, words) in seen?.chunks_exact(LINE).enumerate() {
        same("the debugger", FROM_JOB + line * LINE, &words[..BYTES.len()], &BYTES)?;
    }
    same("the job", TO_JOB, &own.map.read(ANSWER).to_ne_bytes(), &BYTES)
}

/// Memory that others have had is read as zeros, by a debugger before anybody else has touched it.
fn reads_nobodys_bytes(rig: &Rig, size: usize) -> Outcome {
    const ROUNDS: usize = 4;

    let memory = Memory::open()?;
    for _ in 0..ROUNDS {
        let flags = CREATE_CPU_ACCESS_REQUIRED;
        let handle = rig.file().gem_create(u64_of(size), DOMAIN_VRAM, flags).setup("VRAM BO")?;
        let map = rig.file().map(handle, u64_of(size)).setup("mmap")?;
        let seen = memory.read(&map, 0..size)?;
        same("the debugger", 0, &seen, &vec![0; size])?;
        map.fill(0x5a);
        rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, domain) in [("VRAM", DOMAIN_VRAM), ("GTT", DOMAIN_GTT)] {
        cases.extend([
            good(format!("{name}, read at odd places"), move |rig| reads(rig, domain)),
            good(format!("{name}, written at odd places"), move |rig| writes(rig, domain)),
            good(format!("{name}, read after an engine wrote it"), move |rig| {
                reads_the_engines(rig, domain)
            }),
            good(format!("{name}, beside a running job"), move |rig| meets_a_job(rig, domain)),
            bad(format!("{name}, from the last byte on"), libc::EIO, move |rig| {
                let bo = buffer(rig, domain)?;
                let end = Memory::open()?.read(&bo.map, SIZE - 1..SIZE + 1);
                Ok(end.map(|_| ())?)
            }),
        ]);
    }
    cases.extend([
        good("fresh VRAM that an engine clears", |rig| reads_nobodys_bytes(rig, SIZE)),
        good("fresh VRAM that the CPU clears", |rig| reads_nobodys_bytes(rig, PAGE)),
    ]);
    cases
}
