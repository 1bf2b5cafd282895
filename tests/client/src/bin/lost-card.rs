// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card whose DMA engines hang, while one of them was to clear a new buffer: for a guest with
//! such a card (`--fail hang-sdma=N` of the model).
//!
//! What others had in VRAM must not be seen even so, and nobody may wait for ever: who looks at a
//! new buffer waits until the card is given up, and then finds zeros; other threads of the process
//! map memory meanwhile. Jobs are refused from then on.

use std::{
    fs,
    process::ExitCode,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    engine::Engine,
    given_up::{
        asks_for_rebind,
        refuses,
        shows_nobodys_page, //
    },
    hang::{
        flag,
        flags, //
    },
    ib::Stream,
    loss::Marked,
    mem::UserMem,
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    report::{
        Outcome,
        Tally, //
    },
    session::{
        Buffer,
        Session, //
    },
    start::{
        NODE,
        Start, //
    },
    uapi::{
        self,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_MEMORY, //
    },
    uevent::Uevents, //
};

/// Large enough that an engine is to clear it.
const SIZE: u64 = 2 << 20;
const PATTERN: u32 = 0x5ec2_e700;

/// Clients that hang. A job goes to the engine that has the least to do, so the first two may meet
/// at one engine; with so many each engine has one.
const CLIENTS: usize = 4;

/// Fills most of VRAM with a pattern, and frees it.
fn leave_secrets(session: &Session) -> Outcome {
    let memory: uapi::Memory =
        session.file.info(INFO_MEMORY, [0; 4]).map_err(|e| format!("INFO_MEMORY: {e}"))?;
    let count = usize_of(memory.vram.usable_heap_size / SIZE) * 3 / 4;
    let buffers: Result<Vec<Buffer>, _> =
        (0..count).map(|_| session.buffer(SIZE, DOMAIN_VRAM, 0)).collect();
    for buffer in buffers.map_err(|e| format!("a buffer: {e}"))? {
        for page in 0..usize_of(SIZE) / PAGE {
            buffer.map.write(page * PAGE, PATTERN | u32_of(page));
        }
        session.file.gem_close(buffer.handle).map_err(|e| format!("freeing a buffer: {e}"))?;
    }
    Ok(format!("{count} buffers"))
}

/// Submits to a DMA engine until one job is not done soon.
fn hang(session: &Session) -> Outcome {
    const JOBS: usize = 1000;
    const SOON_MS: u64 = 500;
    let engine = Engine::Dma(0);
    for n in 0..JOBS {
        let seq = session
            .submit(engine, &Stream::new(), &[])
            .map_err(|e| format!("job {n} on {engine}: {e}"))?;
        let done = session
            .wait(engine, seq, SOON_MS)
            .map_err(|e| format!("WAIT_CS for job {n} on {engine}: {e}"))?;
        if !done {
            return Ok(format!("at job {n}"));
        }
    }
    Err(format!("{JOBS} jobs, and it does not"))
}

/// Looks at a buffer that is not cleared yet, and maps memory while that waits. How long it waited,
/// and the slowest of the others.
fn look_beside_others(buffer: &Buffer) -> Result<(Duration, Duration), String> {
    const PAUSE: Duration = Duration::from_millis(5);
    let began = Instant::now();
    thread::scope(|scope| {
        let looks = scope.spawn(|| buffer.map.read(0));
        let mut slowest = Duration::ZERO;
        while !looks.is_finished() {
            let now = Instant::now();
            drop(UserMem::anonymous(1).map_err(|e| format!("mmap: {e}"))?);
            slowest = slowest.max(now.elapsed());
            thread::sleep(PAUSE);
        }
        Ok((began.elapsed(), slowest))
    })
}

/// Makes buffers that no engine will clear, and looks at them.
fn look(session: &Session) -> Outcome {
    const BUFFERS: u64 = 8;
    let buffers: Result<Vec<Buffer>, _> =
        (0..BUFFERS).map(|_| session.buffer(SIZE, DOMAIN_VRAM, 0)).collect();
    let buffers = buffers.map_err(|e| format!("a new buffer: {e}"))?;
    let mut waiting = 0;
    for buffer in &buffers {
        let idle = session.file.wait_idle(buffer.handle, 0);
        waiting += u64::from(!idle.map_err(|e| format!("GEM_WAIT_IDLE: {e}"))?);
    }
    let (waited, slowest) = look_beside_others(&buffers[0])?;
    for buffer in &buffers {
        for at in (0..usize_of(SIZE)).step_by(size_of::<u32>()) {
            let seen = buffer.map.read(at);
            if seen != 0 {
                return Err(format!("a new buffer has {seen:#x} at {at:#x}"));
            }
        }
    }
    let seen = format!(
        "{} KiB, all zeros, after {waited:?}; the slowest mmap meanwhile took {slowest:?}",
        (u64_of(buffers.len()) * SIZE) >> 10
    );
    // The C driver has no such buffer by then: it resets the card.
    if waiting == 0 {
        return Err(format!("{seen}: but no clear was under way"));
    }
    if slowest > waited / 2 {
        return Err(format!("{seen}: it waited, too"));
    }
    Ok(seen)
}

/// Mark in a buffer that was mapped before the card was lost.
const MARK: u32 = 0x3a4c_0000;

/// Buffers in system memory and in VRAM, with a number on each page.
fn marked(session: &Session) -> Result<[Marked; 2], String> {
    let make = |domain| Marked::new(session, domain, MARK, usize_of(SIZE) / PAGE);
    Ok([make(DOMAIN_GTT)?, make(DOMAIN_VRAM)?])
}

/// Memory that the system has left, in KiB.
fn available() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/meminfo").map_err(|e| format!("/proc/meminfo: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| "/proc/meminfo has no MemAvailable".into())
}

/// Maps a buffer of the card, looks at it, and unmaps it: very often.
fn maps_without_end(session: &Session, [_, vram]: &[Marked; 2]) -> Outcome {
    const TIMES: u64 = 16_384;
    /// What the rest of the system may take meanwhile.
    const MAY_TAKE: u64 = 16 << 10;
    let before = available()?;
    for _ in 0..TIMES {
        let map = session.file.map(vram.buffer().handle, u64_of(PAGE));
        let map = map.map_err(|e| format!("a mapping: {e}"))?;
        map.write(0, 1);
    }
    let taken = before.saturating_sub(available()?);
    let seen = format!("{TIMES} mappings took {taken} KiB");
    if taken > MAY_TAKE { Err(seen) } else { Ok(seen) }
}

/// A context that was there has lost its jobs; one that is made now has not.
fn tells_of_the_reset(session: &Session) -> Outcome {
    let old = flags(session, session.ctx)?;
    let new = session.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
    match (old & flag::RESET, flags(session, new)? & flag::RESET) {
        (flag::RESET, 0) => Ok("to the context that was there only".into()),
        (old, new) => {
            Err(format!("RESET is {old} for a context that was there, {new} for a new one"))
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse("Looks at new buffers while the card's DMA engines hang.", &[NODE]);
    let start = match Start::new("lost-card", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let session = &start.session;
    let events = Uevents::listen();
    let mut tally = Tally::new();
    let marked = marked(session);
    tally.check("VRAM is full of what others had", || leave_secrets(session));
    // They stay open: closing one waits for its job.
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        tally.check(format!("client {n} hangs"), || {
            let client = Session::open(&start.node).map_err(|e| format!("a session: {e}"))?;
            let outcome = hang(&client);
            clients.push(client);
            outcome
        });
    }
    tally.check("new buffers are zeroed though no engine clears them", || look(session));
    tally.check("no job runs any more", || refuses(session, Engine::Gfx));
    tally.check("mappings show system memory, and of VRAM a page of nobody's", || match &marked {
        Ok([system, vram]) => shows_nobodys_page(system, vram, Duration::from_secs(5)),
        Err(why) => Err(why.clone()),
    });
    tally.check("mappings of a card that is lost take no memory", || match &marked {
        Ok(marked) => maps_without_end(session, marked),
        Err(why) => Err(why.clone()),
    });
    tally.check("contexts are told of the reset", || tells_of_the_reset(session));
    tally.check("user space is told", || {
        let events = events.map_err(|e| format!("a netlink socket: {e}"))?;
        asks_for_rebind(&events, Duration::from_secs(20))
    });
    tally.close()
}
