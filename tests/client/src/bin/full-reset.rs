// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Hangs that no block's reset mends, on a card that can be reset as a whole: for a guest with such
//! a card (`--fail no-soft-reset --fail smc-runs` of the model, with the rules `config-reset` and
//! `reset-vram`).
//!
//! What was in VRAM is lost, page tables among it, and all jobs. Everybody is told. Buffers in
//! system memory are intact, and contexts that are made afterward work at once, with what was
//! mapped before. A client that goes on in a new context whenever its old one is refused never
//! finds wrong bytes.

use std::{
    process::ExitCode,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    thread,
    time::Instant, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    drm::Node,
    engine::Engine,
    hang::{
        Hang,
        Raw,
        ends_with,
        flag,
        flags,
        submit,
        submit_hang, //
    },
    ib::Stream,
    loss::{
        Belongings,
        check_counted,
        check_innocent,
        check_others,
        go_on,
        losses,
        renew, //
    },
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    report::Tally,
    session::Session,
    start::{
        NODE,
        Start, //
    },
    uapi::{
        DOMAIN_VRAM,
        VA_OP_MAP, //
    }, //
};

fn open(node: &Node) -> Result<Session, String> {
    Session::open(node).map_err(|e| format!("a session: {e}"))
}

/// A hang, and what everybody sees.
fn scene(tally: &mut Tally, node: &Node, engine: Engine, hang: Hang) -> Result<(), String> {
    let title = format!("{engine}: {}", hang.name());
    let (guilty, mut innocent) = (open(node)?, open(node)?);
    let belongings = Belongings::new(&innocent)?;
    let before = losses(&guilty)?;
    guilty.prove_alive(engine)?;
    let over = AtomicBool::new(false);
    let elsewhere = if engine.is_dma() { Engine::Gfx } else { Engine::Dma(0) };
    let others = thread::scope(|scope| {
        let worker = scope.spawn(|| go_on(node, elsewhere, &over));
        let begun = Instant::now();
        let first = submit_hang(&guilty, engine, hang).map_err(|e| format!("CS: {e}"))?;
        let mut stream = Stream::new();
        stream.store(engine, innocent.data.va + 64, 2);
        let behind = submit(&innocent, 1, engine, &stream).map_err(|e| format!("CS: {e}"))?;
        tally.check(format!("{title}: the guilty job ends with ETIME"), || {
            ends_with(&guilty, engine, first, &[libc::ETIME])
                .map(|_| format!("after {} ms", begun.elapsed().as_millis()))
        });
        // Jobs of DMA go to whichever of the engines has less to do.
        if !engine.is_dma() {
            tally.check(format!("{title}: a job behind it is lost"), || {
                ends_with(&innocent, engine, behind, &[libc::ECANCELED])
            });
        }
        over.store(true, Ordering::Relaxed);
        worker.join().unwrap_or_else(|_| Err("it panicked".into()))
    });
    check_counted(tally, &title, &guilty, before);
    tally.check(format!("{title}: contexts are told, new ones are clean"), || {
        let new = innocent.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
        let told =
            [flags(&guilty, guilty.ctx)?, flags(&innocent, innocent.ctx)?, flags(&innocent, new)?];
        let all = flag::RESET | flag::VRAM_LOST;
        let expected = [all | flag::GUILTY, all, 0];
        if told == expected {
            Ok(String::new())
        } else {
            Err(format!("{told:x?}, not {expected:x?}"))
        }
    });
    check_innocent(tally, &title, &mut innocent, &belongings)?;
    check_others(tally, &title, others);
    Ok(())
}

/// The reset comes while a DMA engine is to write page tables: its job is behind one that hangs,
/// whichever engine it is given to. Whoever goes on finds all that was mapped.
fn update_under_way(tally: &mut Tally, node: &Node) -> Result<(), String> {
    const TITLE: &str = "page tables that a DMA engine was to write";
    const ENGINE: Engine = Engine::Gfx;
    const MUCH: usize = 80 << 20;
    const SOME: [usize; 6] = [0, 1, 1023, 1024, 10_000, MUCH / PAGE - 1];
    const ENGINES: [Engine; 2] = [Engine::Dma(0), Engine::Dma(1)];
    /// Place of the word in the data of a session.
    const GATE: u64 = 128;
    /// Less than the time limit of jobs.
    const SHORT_MS: u64 = 200;

    let (guilty, mut innocent) = ([open(node)?, open(node)?], open(node)?);
    let buffer = innocent.buffer(u64_of(MUCH), DOMAIN_VRAM, 0);
    let buffer = buffer.map_err(|e| format!("a buffer: {e}"))?;
    let va = innocent.reserve_va(buffer.size);
    // Nothing of the buffer's own is to be waited for later.
    Engine::ALL.into_iter().try_for_each(|engine| innocent.prove_alive(engine))?;
    innocent.run(ENGINE, &Stream::new(), &[buffer.handle])?;
    let before = losses(&innocent)?;
    let marks = |mark: u32| {
        let mut stream = Stream::new();
        for page in SOME {
            let offset = u64_of(page * PAGE);
            stream.store(ENGINE, va + offset, mark | u32_of(page));
            stream.store(ENGINE, buffer.va + offset + 4, !(mark | u32_of(page)));
        }
        stream
    };

    // Each waits for a word, and then hangs so that only the reset of the card helps.
    let mut hung = Vec::new();
    for (guilty, engine) in guilty.iter().zip(ENGINES) {
        guilty.prove_alive(engine)?;
        let mut stream = Stream::new();
        stream.wait_equal(engine, guilty.data.va + GATE, 1).push(Raw(&[0xff]));
        hung.push(submit(guilty, 1, engine, &stream).map_err(|e| format!("CS: {e}"))?);
    }
    let mapped = innocent.file.gem_va(VA_OP_MAP, buffer.handle, va, 0, buffer.size);
    mapped.map_err(|e| format!("MAP: {e}"))?;
    let job = innocent.submit(ENGINE, &marks(0x1000_0000), &[buffer.handle]);
    let job = job.map_err(|e| format!("CS: {e}"))?;
    tally.check(format!("{TITLE}: a job waits for them"), || {
        match innocent.wait(ENGINE, job, SHORT_MS) {
            Ok(false) => Ok(String::new()),
            answer => Err(format!("{answer:?}")),
        }
    });
    guilty.iter().for_each(|guilty| guilty.data.map.write(usize_of(GATE), 1));
    tally.check(format!("{TITLE}: the card is reset, and the job is lost"), || {
        for (guilty, (engine, job)) in guilty.iter().zip(ENGINES.into_iter().zip(&hung)) {
            ends_with(guilty, engine, *job, &[libc::ETIME, libc::ECANCELED])?;
        }
        ends_with(&innocent, ENGINE, job, &[libc::ECANCELED])?;
        match losses(&innocent)?.wrapping_sub(before) {
            0 => Err("VRAM was not lost".into()),
            count => Ok(format!("{count} times")),
        }
    });
    renew(&mut innocent)?;
    tally.check(format!("{TITLE}: all is mapped, for the next job"), || {
        innocent.run(ENGINE, &marks(0x2000_0000), &[buffer.handle])?;
        for page in SOME {
            let mark = 0x2000_0000 | u32_of(page);
            let seen = (buffer.map.read(page * PAGE), buffer.map.read(page * PAGE + 4));
            if seen != (mark, !mark) {
                return Err(format!("page {page} has {:#x} and {:#x}", seen.0, seen.1));
            }
        }
        Engine::ALL.into_iter().try_for_each(|engine| innocent.prove_alive(engine))?;
        Ok(String::new())
    });
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse("Hangs a card that has to be reset as a whole.", &[NODE]);
    let start = match Start::new("full-reset", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    for (engine, hang) in [
        (Engine::Gfx, Hang::Unmapped),
        (Engine::Dma(0), Hang::Illegal),
        // Others end by what comes before the soft reset: by the halt, and by the dequeue.
        (Engine::Gfx, Hang::Illegal),
        (Engine::Dma(1), Hang::Illegal),
    ] {
        if let Err(why) = scene(&mut tally, &start.node, engine, hang) {
            tally.record(format!("{engine}: {}", hang.name()), Err(why));
        }
    }
    if let Err(why) = update_under_way(&mut tally, &start.node) {
        tally.record("an update of page tables under way", Err(why));
    }
    tally.close()
}
