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
    args::Args,
    drm::Node,
    engine::Engine,
    hang::{
        Hang,
        ends_with,
        flag,
        flags,
        submit,
        submit_hang, //
    },
    ib::Stream,
    loss::{
        Belongings,
        check_innocent,
        check_others,
        go_on,
        losses, //
    },
    report::Tally,
    session::Session,
    start::{
        NODE,
        Start, //
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
    tally.check(format!("{title}: the loss of VRAM is counted"), || {
        match losses(&guilty)?.wrapping_sub(before) {
            1 => Ok(String::new()),
            count => Err(format!("{count} times")),
        }
    });
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
    tally.close()
}
