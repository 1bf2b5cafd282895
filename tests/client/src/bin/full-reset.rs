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
    Errno,
    PAGE,
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
    num::{
        u32_of,
        u64_of, //
    },
    report::Tally,
    session::{
        Buffer,
        PATIENCE_MS,
        Session, //
    },
    start::{
        NODE,
        Start, //
    },
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_VRAM_LOST_COUNTER, //
    }, //
};

const PAGES: usize = 256;

/// Pages with a number each.
struct Marked {
    buffer: Buffer,
    mark: u32,
}

impl Marked {
    fn new(session: &Session, domain: u64, mark: u32) -> Result<Self, String> {
        let buffer = session.buffer(u64_of(PAGES * PAGE), domain, 0);
        let this = Self { buffer: buffer.map_err(|e| format!("a buffer: {e}"))?, mark };
        (0..PAGES).for_each(|page| this.buffer.map.write(page * PAGE, this.word(page)));
        Ok(this)
    }

    fn word(&self, page: usize) -> u32 {
        self.mark | u32_of(page)
    }

    /// How many pages of `buffer` have the numbers.
    fn right(&self, buffer: &Buffer) -> usize {
        (0..PAGES).filter(|page| buffer.map.read(page * PAGE) == self.word(*page)).count()
    }

    /// Has an engine copy it to another buffer, which then has the same.
    fn copy_to(&self, session: &Session, engine: Engine, to: &Buffer) -> Result<(), Errno> {
        let mut stream = Stream::new();
        stream.copy(engine, self.buffer.va, to.va, self.buffer.size);
        let handles = [self.buffer.handle, to.handle];
        let seq = session.submit(engine, &stream, &handles)?;
        match session.wait(engine, seq, PATIENCE_MS)? {
            true => Ok(()),
            false => Err(Errno(libc::ETIMEDOUT)),
        }
    }
}

fn open(node: &Node) -> Result<Session, String> {
    Session::open(node).map_err(|e| format!("a session: {e}"))
}

fn losses(session: &Session) -> Result<u32, String> {
    let info = session.file.info(INFO_VRAM_LOST_COUNTER, [0; 4]);
    info.map_err(|e| format!("VRAM_LOST_COUNTER: {e}"))
}

/// Has a new context, in which what was mapped before is still mapped.
fn renew(session: &mut Session) -> Result<(), String> {
    session.ctx = session.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
    Ok(())
}

/// A client that makes a new context whenever its old one is refused, and compares all it copies,
/// until told to stop. How often it had to, and how often it copied.
fn go_on(node: &Node, engine: Engine, over: &AtomicBool) -> Result<(usize, usize), String> {
    let mut session = open(node)?;
    let source = Marked::new(&session, DOMAIN_GTT, 0x6000_0000)?;
    let to = session.buffer(u64_of(PAGES * PAGE), DOMAIN_GTT, 0).map_err(|e| format!("{e}"))?;
    let (mut renewed, mut copied) = (0, 0);
    // On a slow machine all is over before the first copy after the reset.
    while !over.load(Ordering::Relaxed) || (copied == 0 && renewed < 3) {
        to.map.fill(0);
        match source.copy_to(&session, engine, &to) {
            Ok(()) => copied += 1,
            Err(Errno(libc::ECANCELED)) => {
                renew(&mut session)?;
                renewed += 1;
                continue;
            }
            Err(e) => return Err(format!("a copy on {engine}: {e}")),
        }
        let right = source.right(&to);
        if right != PAGES {
            return Err(format!("{right} of {PAGES} pages are right after copy {copied}"));
        }
    }
    Ok((renewed, copied))
}

/// A hang, and what everybody sees.
fn scene(tally: &mut Tally, node: &Node, engine: Engine, hang: Hang) -> Result<(), String> {
    let title = format!("{engine}: {}", hang.name());
    let (guilty, mut innocent) = (open(node)?, open(node)?);
    let kept = Marked::new(&innocent, DOMAIN_GTT, 0x5a5a_0000)?;
    let lost = Marked::new(&innocent, DOMAIN_VRAM, 0x7b7b_0000)?;
    let before = losses(&guilty)?;
    // Page tables, and whatever has to be cleared, come before the hang.
    Engine::ALL.into_iter().try_for_each(|engine| innocent.prove_alive(engine))?;
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
    tally.check(format!("{title}: contexts from before are refused"), || {
        for engine in Engine::ALL {
            match submit(&innocent, 2, engine, &Stream::new()) {
                Err(Errno(libc::ECANCELED)) => {}
                answer => return Err(format!("{engine}: {answer:?}")),
            }
        }
        Ok(String::new())
    });
    renew(&mut innocent)?;
    tally.check(format!("{title}: what was mapped is mapped, for all engines"), || {
        Engine::ALL.into_iter().try_for_each(|engine| innocent.prove_alive(engine))?;
        Ok(String::new())
    });
    tally.check(format!("{title}: system memory is intact, for the CPU and for engines"), || {
        let to = innocent.buffer(kept.buffer.size, DOMAIN_GTT, 0).map_err(|e| format!("{e}"))?;
        kept.copy_to(&innocent, Engine::Dma(0), &to).map_err(|e| format!("a copy: {e}"))?;
        match (kept.right(&kept.buffer), kept.right(&to)) {
            (PAGES, PAGES) => Ok(String::new()),
            right => Err(format!("{right:?} of {PAGES} pages are right")),
        }
    });
    tally.check(format!("{title}: VRAM was lost, and works"), || {
        let left = lost.right(&lost.buffer);
        if left != 0 {
            return Err(format!("{left} pages have what they had"));
        }
        kept.copy_to(&innocent, Engine::Gfx, &lost.buffer).map_err(|e| format!("a copy: {e}"))?;
        match kept.right(&lost.buffer) {
            PAGES => Ok(String::new()),
            right => Err(format!("{right} of {PAGES} pages are right")),
        }
    });
    tally.check(format!("{title}: new VRAM is zeroed"), || {
        for pages in [1, PAGES] {
            let new = innocent.buffer(u64_of(pages * PAGE), DOMAIN_VRAM, 0);
            let new = new.map_err(|e| format!("a buffer: {e}"))?;
            let bad = (0..pages * PAGE).step_by(4).find(|at| new.map.read(*at) != 0);
            if let Some(at) = bad {
                return Err(format!("{:#x} at {at:#x}", new.map.read(at)));
            }
        }
        Ok(String::new())
    });
    tally.check(format!("{title}: whoever makes a new context goes on"), || {
        let (renewed, copied) = others?;
        let seen = format!("{copied} copies, {renewed} new contexts");
        if copied == 0 { Err(seen) } else { Ok(seen) }
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
    tally.close()
}
