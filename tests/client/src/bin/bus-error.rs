// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Errors of the PCI bus while clients work: for a guest whose card is behind a port that reports
//! errors (`scripts/guest --root-port`), with the kernel's `aer_inject`.
//!
//! After an error that is not fatal nobody notices anything. After a fatal one the bus is reset,
//! and the card with it: what was in VRAM is lost, and all jobs; everybody is told, buffers in
//! system memory are intact, and contexts that are made afterward work at once. So often one after
//! the other.
//!
//! `--lost 1`: the card does not survive the reset (`--fail lost-by-reset` of the model). Every job
//! ends, and user space is asked to bind the driver again.
//!
//! `--unbind 1`: the driver is taken away between the error and its recovery, which then has nobody
//! to end what was running. It is not bound again.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    args::{
        Args,
        Known, //
    },
    bus_error::BusError,
    drm::Node,
    engine::Engine,
    given_up::{
        asks_for_rebind,
        refuses, //
    },
    hang::{
        Hang,
        ends_with,
        flag,
        flags,
        submit,
        submit_hang, //
    },
    ib::Stream,
    klog::KernelLog,
    loss::{
        Belongings,
        check_counted,
        check_innocent,
        check_others,
        go_on,
        losses, //
    },
    report::{
        Outcome,
        Tally, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    start::{
        NODE,
        Start, //
    },
    uapi::DOMAIN_VRAM,
    uevent::Uevents, //
};

/// Time that the PCI core has to recover, or to give up.
const LONG: Duration = Duration::from_secs(60);

fn open(node: &Node) -> Result<Session, String> {
    Session::open(node).map_err(|e| format!("a session: {e}"))
}

/// Waits for a line of the kernel's log.
fn wait_for(log: &mut KernelLog, what: &str) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < LONG {
        if !log.lines(|line| line.contains(what))?.is_empty() {
            return Ok(format!("after {} ms", start.elapsed().as_millis()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("the log does not say '{what}'"))
}

/// Has an error reported, and waits until the PCI core says that all is well.
fn survive(error: BusError, node: &Node) -> Outcome {
    let mut log = KernelLog::open()?;
    error.report(&node.slot)?;
    wait_for(&mut log, "device recovery successful")
}

/// Waits until a session's job has begun: it writes a word before it waits.
fn begins(session: &Session) -> Result<(), String> {
    let start = Instant::now();
    while session.data.map.read(64) == 0 {
        if start.elapsed() > Duration::from_secs(10) {
            return Err("the job does not begin".into());
        }
    }
    Ok(())
}

/// A job that has begun, and waits for what never comes.
fn submit_begun(session: &Session, engine: Engine) -> Result<u64, String> {
    session.data.map.write(64, 0);
    let mut stream = Stream::new();
    stream.store(engine, session.data.va + 64, 1);
    stream.wait_equal(engine, session.data.va + 128, 0xdead);
    let seq = submit(session, 0, engine, &stream).map_err(|e| format!("CS on {engine}: {e}"))?;
    begins(session).map(|()| seq)
}

/// An error that costs nobody anything.
fn harmless(tally: &mut Tally, node: &Node) -> Result<(), String> {
    let (witness, before) = (open(node)?, losses(&open(node)?)?);
    let over = AtomicBool::new(false);
    let others = thread::scope(|scope| {
        let worker = scope.spawn(|| go_on(node, Engine::Dma(0), &over));
        tally.check("not fatal: the card recovers", || survive(BusError::NonFatal, node));
        over.store(true, Ordering::Relaxed);
        worker.join().unwrap_or_else(|_| Err("it panicked".into()))
    });
    tally.check("not fatal: nobody is told, nothing is lost", || {
        match (flags(&witness, witness.ctx)?, losses(&witness)?.wrapping_sub(before), others?) {
            (0, 0, (0, copied)) => Ok(format!("{copied} copies meanwhile")),
            seen => Err(format!("flags, losses, (new contexts, copies): {seen:?}")),
        }
    });
    Ok(())
}

/// A fatal error while jobs are on all kinds of engines.
fn fatal(tally: &mut Tally, node: &Node, round: u32) -> Result<(), String> {
    let title = format!("fatal, {round}");
    let (running, mut innocent) = (open(node)?, open(node)?);
    let belongings = Belongings::new(&innocent)?;
    let before = losses(&running)?;
    let engines = [Engine::Gfx, Engine::Compute(1), Engine::Dma(1)];
    let over = AtomicBool::new(false);
    let others = thread::scope(|scope| {
        let worker = scope.spawn(|| go_on(node, Engine::Dma(0), &over));
        let engine = engines[round as usize % engines.len()];
        let begun = submit_begun(&running, engine)?;
        let queued = submit(&innocent, 1, engine, &Stream::new()).map_err(|e| format!("{e}"))?;
        tally.check(format!("{title}: the card recovers"), || survive(BusError::Fatal, node));
        tally.check(format!("{title}: a job that had begun on {engine} is lost"), || {
            ends_with(&running, engine, begun, &[libc::ECANCELED])
        });
        // Other jobs go to whichever of several rings has less to do.
        if engine == Engine::Gfx {
            tally.check(format!("{title}: a job behind it is lost"), || {
                ends_with(&innocent, engine, queued, &[libc::ECANCELED])
            });
        }
        over.store(true, Ordering::Relaxed);
        worker.join().unwrap_or_else(|_| Err("it panicked".into()))
    });
    check_counted(tally, &title, &running, before);
    tally.check(
        format!("{title}: contexts are told, nobody is guilty, new ones are clean"),
        || {
            let new = innocent.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
            let told = [
                flags(&running, running.ctx)?,
                flags(&innocent, innocent.ctx)?,
                flags(&innocent, new)?,
            ];
            let all = flag::RESET | flag::VRAM_LOST;
            if told == [all, all, 0] { Ok(String::new()) } else { Err(format!("{told:x?}")) }
        },
    );
    check_innocent(tally, &title, &mut innocent, &belongings)?;
    check_others(tally, &title, others);
    // A hang is still found, and costs a block only.
    tally.check(format!("{title}: hangs are recovered from as before"), || {
        let (guilty, losses_before) = (open(node)?, losses(&innocent)?);
        let seq = submit_hang(&guilty, Engine::Gfx, Hang::Illegal).map_err(|e| format!("{e}"))?;
        ends_with(&guilty, Engine::Gfx, seq, &[libc::ETIME])?;
        innocent.prove_alive(Engine::Gfx)?;
        match losses(&innocent)?.wrapping_sub(losses_before) {
            0 => Ok(String::new()),
            more => Err(format!("VRAM was lost {more} times")),
        }
    });
    Ok(())
}

/// A card that does not survive its reset.
fn lost(tally: &mut Tally, node: &Node) -> Result<(), String> {
    let running = open(node)?;
    let events = Uevents::listen().map_err(|e| format!("a netlink socket: {e}"))?;
    let begun = submit_begun(&running, Engine::Gfx)?;
    tally.check("lost: the PCI core gives up", || {
        let mut log = KernelLog::open()?;
        BusError::Fatal.report(&node.slot)?;
        wait_for(&mut log, "device recovery failed")
    });
    tally.check("lost: a job that had begun ends", || {
        ends_with(&running, Engine::Gfx, begun, &[libc::ECANCELED])
    });
    tally.check("lost: no job runs any more", || refuses(&open(node)?, Engine::Dma(0)));
    tally.check("lost: user space is asked to bind the driver again", || {
        asks_for_rebind(&events, LONG)
    });
    Ok(())
}

/// The driver goes between the error and the end of its recovery.
fn unbound(tally: &mut Tally, node: &Node) -> Result<(), String> {
    const UNBIND: &str = "/sys/bus/pci/drivers/amdgpu_rs/unbind";
    let running = open(node)?;
    let mut log = KernelLog::open()?;
    let begun = submit_begun(&running, Engine::Compute(0))?;
    // New buffers are to be cleared by an engine: the kernel's own jobs, which nobody ends either.
    let kernels = running.buffer(4 << 20, DOMAIN_VRAM, 0);
    kernels.map_err(|e| format!("a buffer: {e}"))?;
    BusError::Fatal.report(&node.slot)?;
    wait_for(&mut log, "the bus has cut the card off")?;
    let start = Instant::now();
    let told = fs::write(UNBIND, &node.slot);
    tally.check("unbound: the driver can be unbound in an outage", || {
        told.map_err(|e| format!("{UNBIND}: {e}"))?;
        let took = start.elapsed();
        if Path::new(&format!("/sys/bus/pci/drivers/amdgpu_rs/{}", node.slot)).exists() {
            return Err("it is still bound".into());
        }
        Ok(format!("in {} ms", took.as_millis()))
    });
    tally.check("unbound: the job has ended", || {
        // Its file knows no device any more: the call itself is refused.
        match running.wait(Engine::Compute(0), begun, PATIENCE_MS) {
            Err(Errno(libc::ENODEV | libc::ECANCELED)) => Ok(String::new()),
            answer => Err(format!("{answer:?}")),
        }
    });
    Ok(())
}

/// Records that a scene could not be played.
fn record(tally: &mut Tally, name: &str, done: Result<(), String>) {
    if let Err(why) = done {
        tally.record(name, Err(why));
    }
}

fn main() -> ExitCode {
    const LOST: Known = ("lost", "1: the card does not survive a reset by the bus");
    const UNBIND: Known = ("unbind", "1: the driver is unbound before the recovery is over");
    const ROUNDS: Known = ("rounds", "how many fatal errors one after the other (default 3)");
    let args = Args::parse("Has the PCI bus report errors.", &[NODE, LOST, UNBIND, ROUNDS]);
    let start = match Start::new("bus-error", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let node = &start.node;
    let is_set = |name: &str| args.get::<u32>(name).is_some_and(|n| n != 0);
    let mut tally = Tally::new();
    if is_set(LOST.0) {
        let done = lost(&mut tally, node);
        record(&mut tally, "lost", done);
    } else if is_set(UNBIND.0) {
        let done = unbound(&mut tally, node);
        record(&mut tally, "unbound", done);
    } else {
        let done = harmless(&mut tally, node);
        record(&mut tally, "not fatal", done);
        for round in 0..args.get(ROUNDS.0).unwrap_or(3) {
            let done = fatal(&mut tally, node, round);
            record(&mut tally, "fatal", done);
        }
    }
    tally.close()
}
