// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs that hang: what becomes of them, of those who have nothing to do with them, and of the
//! card.
//!
//! A client hangs an engine, in each of several ways, with a job of its own behind. Others have
//! jobs behind on the same ring, and work on all other engines meanwhile. The guilty job and the
//! one behind it end with an error, and the guilty client is told; all others end well, and VRAM
//! keeps what it held. The smallest step that can help has to be the one that does. What the C
//! driver does otherwise is skipped on it, with the reason.
//!
//! `--broken 1` is for a card on which waves cannot be killed and queues not be taken off: then the
//! next step has to do.
//!
//! `--hang ENGINE:KIND` only hangs an engine, and stays until it is killed; `--alive 1` only shows
//! that all engines work: for scripts that take the driver away meanwhile.

use std::{
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
    PAGE,
    args::Args,
    drm::{
        Driver,
        Node, //
    },
    engine::Engine,
    hang::{
        Hang,
        Named,
        Raw,
        ends_with,
        flag,
        flags,
        query,
        submit,
        submit_hang, //
    },
    ib::Stream,
    klog::KernelLog,
    num::{
        hi32,
        lo32,
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
        PATIENCE_MS,
        Session, //
    },
    start::{
        NODE,
        Start, //
    },
    uapi::{
        self,
        DOMAIN_VRAM, //
    }, //
};

/// Time that noticing a hang, beyond the time limit, and the reset may take.
const RESET: Duration = Duration::from_secs(3);

fn ends_well(session: &Session, engine: Engine, seq: u64) -> Outcome {
    match session.wait(engine, seq, PATIENCE_MS) {
        Ok(true) => Ok(String::new()),
        answer => Err(format!("{answer:?}")),
    }
}

/// Checks that the session's job has written `expected` where it was to write; 0: nothing.
fn has_written(session: &Session, expected: u32) -> Outcome {
    match session.data.map.read(64) {
        seen if seen == expected => Ok(String::new()),
        seen => Err(format!("it has written {seen:#x}, not {expected:#x}")),
    }
}

/// Contents of VRAM that nobody is to touch.
struct Canary(Buffer);

impl Canary {
    const PAGES: usize = 256;

    fn word(page: usize) -> u32 {
        0x5a5a_0000 | u32_of(page)
    }

    fn new(session: &Session) -> Result<Self, String> {
        let buffer = session.buffer(u64_of(Self::PAGES * PAGE), DOMAIN_VRAM, 0);
        let buffer = buffer.map_err(|e| format!("VRAM: {e}"))?;
        (0..Self::PAGES).for_each(|page| buffer.map.write(page * PAGE, Self::word(page)));
        Ok(Self(buffer))
    }

    fn check(&self) -> Outcome {
        let changed = |page: &usize| self.0.map.read(page * PAGE) != Self::word(*page);
        match (0..Self::PAGES).find(changed) {
            None => Ok(String::new()),
            Some(page) => Err(format!("page {page} of VRAM has changed")),
        }
    }
}

/// The longest time that a job took, and how many there were.
type Worked = Result<(Duration, usize), String>;

/// Runs jobs on an engine until told to stop.
fn work(session: &Session, engine: Engine, until: &dyn Fn() -> bool) -> Worked {
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while !until() {
        let start = Instant::now();
        session.prove_alive(engine)?;
        longest = longest.max(start.elapsed());
        count += 1;
    }
    Ok((longest, count))
}

/// Observations of the others while a job hangs.
struct Seen {
    guilty: Outcome,
    behind: Outcome,
    innocent: Outcome,
    elsewhere: Vec<(Engine, Worked)>,
}

/// A part of the card that has to be reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The shaders of the job.
    Waves,
    /// One compute queue.
    Queue,
    /// All engines of a block, or more.
    Block,
}

impl Step {
    /// The smallest one that can help.
    fn of(engine: Engine, hang: Hang, is_broken: bool) -> Self {
        match (hang, engine) {
            _ if is_broken => Self::Block,
            (Hang::Shader, _) => Self::Waves,
            (Hang::Wait, Engine::Compute(_)) => Self::Queue,
            _ => Self::Block,
        }
    }

    /// Returns the words with which the driver's log tells that it has helped.
    const fn line(self) -> &'static str {
        match self {
            Self::Waves => "the job's shader was reset in ",
            Self::Queue => "the compute queue was reset in ",
            Self::Block => " was reset in ",
        }
    }
}

struct Scene<'a> {
    node: &'a Node,
    limit: Duration,
    engine: Engine,
    hang: Hang,
    /// The card can do no less than to reset a block.
    is_broken: bool,
}

impl Scene<'_> {
    fn is_c(&self) -> bool {
        self.node.driver == Driver::Reference
    }

    /// Returns what has to be reset. The C driver resets no single queue.
    fn step(&self) -> Step {
        match Step::of(self.engine, self.hang, self.is_broken) {
            Step::Queue if self.is_c() => Step::Block,
            step => step,
        }
    }

    /// Returns true if the C driver resets the whole card.
    fn is_whole(&self) -> bool {
        self.is_c() && self.engine.is_dma()
    }

    fn session(&self) -> Result<Session, String> {
        Session::open(self.node).map_err(|e| format!("a session: {e}"))
    }

    fn play(&self, tally: &mut Tally) -> Result<(), String> {
        let engine = self.engine;
        let (guilty, innocent) = (self.session()?, self.session()?);
        let neighbor = guilty.another().map_err(|e| format!("a context: {e}"))?;
        let canary = Canary::new(&innocent)?;
        // What has to be moved or cleared is before the hang.
        innocent.prove_alive(engine)?;
        neighbor.prove_alive(engine)?;
        let mut log = KernelLog::open()?;
        let start = Instant::now();
        let seen = self.hang(&guilty, &innocent, &neighbor)?;
        let took = start.elapsed();
        let title = format!("{engine}: {}", self.hang.name());
        let end = if self.step() == Step::Waves { "ENODATA" } else { "ETIME" };
        tally.check(format!("{title}: the guilty job ends with {end}"), || {
            seen.guilty.map(|_| format!("all was over after {} ms", took.as_millis()))
        });
        let name = format!("{title}: no more is reset than is needed");
        if self.is_c() {
            tally.skip(name, "the C driver's log says it in another way");
        } else {
            tally.check(name, || self.is_smallest(&mut log));
        }
        tally.record(format!("{title}: the job behind it with ECANCELED"), seen.behind);
        if self.is_whole() {
            tally.skip(
                format!("{title}: an innocent job behind them"),
                "the C driver resets the whole card",
            );
        } else {
            tally.record(format!("{title}: an innocent job behind them ends well"), seen.innocent);
        }
        self.judge_elsewhere(tally, &title, seen.elsewhere);
        tally.check(format!("{title}: contexts know what happened"), || {
            self.contexts(&guilty, &innocent)
        });
        tally.check(format!("{title}: the guilty queue is refused, others are not"), || {
            self.refused(&guilty, &neighbor)
        });
        tally.check(format!("{title}: VRAM is intact"), || canary.check());
        tally.check(format!("{title}: all engines work"), || {
            let session = self.session()?;
            Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
            Ok(String::new())
        });
        let waits = if self.hang.is_told(engine) { Duration::ZERO } else { self.limit };
        let most = waits + RESET;
        tally.check(format!("{title}: it is noticed in time"), || {
            let seen = format!("{} ms, of at most {}", took.as_millis(), most.as_millis());
            if took <= most { Ok(seen) } else { Err(seen) }
        });
        Ok(())
    }

    /// Hangs the engine, and watches.
    fn hang(
        &self,
        guilty: &Session,
        innocent: &Session,
        neighbor: &Session,
    ) -> Result<Seen, String> {
        let engine = self.engine;
        let fail = |e: Errno| format!("CS on {engine}: {e}");
        let store = |session: &Session, value| {
            let mut stream = Stream::new();
            stream.store(engine, session.data.va + 64, value);
            submit(session, 1, engine, &stream).map_err(fail)
        };
        let first = submit_hang(guilty, engine, self.hang).map_err(fail)?;
        let behind = store(guilty, 1)?;
        let others = (store(innocent, 2)?, store(neighbor, 3)?);
        let waves = self.step() == Step::Waves;
        // On the C driver the error of the queue's last job stands for that of any other, too.
        let either = [if waves { libc::ENODATA } else { libc::ETIME }, libc::ECANCELED];
        let (expected, then): (&[i32], &[i32]) =
            if self.is_c() { (&either, &either) } else { (&either[..1], &either[1..]) };
        // What is on the ring already runs if nothing but waves is reset.
        let written = u32::from(waves);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for other in self.elsewhere() {
                let (session, over) = (self.session()?, &over);
                let worker = move || work(&session, other, &|| over.load(Ordering::Relaxed));
                workers.push((other, scope.spawn(worker)));
            }
            let end = ends_with(guilty, engine, first, expected);
            over.store(true, Ordering::Relaxed);
            let panicked = |_| Err("it panicked".into());
            let elsewhere =
                workers.into_iter().map(|(e, w)| (e, w.join().unwrap_or_else(panicked)));
            Ok(Seen {
                guilty: end,
                elsewhere: elsewhere.collect(),
                behind: ends_with(guilty, engine, behind, then).and(has_written(guilty, written)),
                innocent: ends_well(innocent, engine, others.0)
                    .and(has_written(innocent, 2))
                    .and(ends_well(neighbor, engine, others.1))
                    .and(has_written(neighbor, 3)),
            })
        })
    }

    /// The engines on which others work meanwhile: of each kind one that does not hang.
    fn elsewhere(&self) -> Vec<Engine> {
        match self.engine {
            Engine::Gfx => vec![Engine::Compute(1), Engine::Dma(0)],
            Engine::Compute(_) => vec![Engine::Gfx, Engine::Dma(0)],
            // Which of the two a queue uses is the driver's choice.
            Engine::Dma(_) => vec![Engine::Gfx, Engine::Compute(1)],
        }
    }

    fn judge_elsewhere(&self, tally: &mut Tally, title: &str, seen: Vec<(Engine, Worked)>) {
        for (engine, outcome) in seen {
            let name = format!("{title}: work on {engine} goes on");
            if self.is_whole() {
                tally.skip(name, "the C driver resets the whole card");
                continue;
            }
            tally.check(name, || {
                let (longest, count) = outcome?;
                Ok(format!("{count} jobs, up to {} ms each", longest.as_millis()))
            });
        }
    }

    /// Checks that the smallest step that can help did.
    fn is_smallest(&self, log: &mut KernelLog) -> Outcome {
        let start = Instant::now();
        loop {
            let lines = log.lines(|line| line.contains(" was reset in "))?;
            let wanted = self.step().line();
            let small = |line: &String| {
                [Step::Waves, Step::Queue].iter().any(|step| line.contains(step.line()))
            };
            let is_right = |line: &String| {
                line.contains(wanted) && (small(line) == (self.step() != Step::Block))
            };
            match lines.first() {
                Some(line) if is_right(line) => return Ok(String::new()),
                Some(_) => return Err(format!("{lines:?}, not `{wanted}`")),
                None if start.elapsed() > RESET => return Err("the log says nothing".into()),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn contexts(&self, guilty: &Session, innocent: &Session) -> Outcome {
        let lost = if self.is_whole() { flag::VRAM_LOST } else { 0 };
        // On the C driver a job behind the guilty one may hide the guilt.
        let hidden = if self.is_c() { flag::GUILTY } else { 0 };
        let fresh = guilty.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
        let seen =
            [flags(guilty, guilty.ctx)?, flags(innocent, innocent.ctx)?, flags(guilty, fresh)?];
        // What costs nobody else anything is told to nobody else.
        let all = if self.step() == Step::Block { flag::RESET } else { 0 };
        let expected = [flag::RESET | flag::GUILTY | lost, all | lost, 0];
        let told = [seen[0] | hidden, seen[1], seen[2]];
        if told != expected {
            return Err(format!("guilty, innocent, new: {seen:x?}, not {expected:x?}"));
        }
        let state = || query(guilty, uapi::CTX_OP_QUERY_STATE, guilty.ctx).map(|s| s.reset_status);
        match (state()?, state()?) {
            (1..=3, 0) => Ok(String::new()),
            other => Err(format!("the older query says {other:?}, one after the other")),
        }
    }

    fn refused(&self, guilty: &Session, neighbor: &Session) -> Outcome {
        match submit(guilty, 2, self.engine, &Stream::new()) {
            Err(Errno(libc::ETIME | libc::ECANCELED | libc::ENODATA)) => {}
            answer => return Err(format!("the guilty queue answers {answer:?}")),
        }
        if !self.is_whole() {
            neighbor.prove_alive(self.engine)?;
        }
        let again = guilty.another().map_err(|e| format!("a context: {e}"))?;
        again.prove_alive(self.engine).map(|()| String::new())
    }
}

/// A job that has begun when another ring of its block hangs does not begin again, whatever becomes
/// of it.
fn begins_once(node: &Node) -> Outcome {
    let open = || Session::open(node).map_err(|e| format!("a session: {e}"));
    let (guilty, innocent) = (open()?, open()?);
    let compute = Engine::Compute(0);
    innocent.prove_alive(compute)?;
    let (count, gate) = (innocent.data.va + 128, innocent.data.va + 192);
    let mut stream = Stream::new();
    // ATOMIC_MEM: adds one.
    stream.push(Raw(&[0xc007_1e00, 0xf, lo32(count), hi32(count), 1, 0, 0, 0, 0]));
    stream.wait_equal(compute, gate, 1);
    let seq = submit(&innocent, 1, compute, &stream).map_err(|e| format!("CS: {e}"))?;
    let begun = Instant::now();
    while innocent.data.map.read(128) == 0 {
        if begun.elapsed() > Duration::from_secs(5) {
            return Err("the job does not begin".into());
        }
    }
    let hang = submit_hang(&guilty, Engine::Gfx, Hang::Illegal).map_err(|e| format!("CS: {e}"))?;
    ends_with(&guilty, Engine::Gfx, hang, &[libc::ETIME])?;
    let end = innocent.wait(compute, seq, PATIENCE_MS);
    let begun = innocent.data.map.read(128);
    if begun != 1 {
        return Err(format!("it began {begun} times"));
    }
    match end {
        Err(Errno(libc::ECANCELED | libc::ETIME)) => Ok(format!("it ends with {end:?}")),
        end => Err(format!("it ends with {end:?}")),
    }
}

/// A job whose waves may have been killed with those of another, as both are of one address space,
/// is told so.
fn bystander_is_told(node: &Node, limit: Duration) -> Outcome {
    const GATE: usize = 192;
    let guilty = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let bystander = guilty.another().map_err(|e| format!("a context: {e}"))?;
    let (gfx, compute) = (Engine::Gfx, Engine::Compute(1));
    // From then on both rings use the same VM context: its flush is over.
    bystander.prove_alive(gfx)?;
    guilty.prove_alive(compute)?;
    let hang = submit_hang(&guilty, compute, Hang::Shader).map_err(|e| format!("CS: {e}"))?;
    // Its own time is not up when the other's is.
    thread::sleep(limit / 2);
    let (count, gate) = (bystander.data.va + 128, bystander.data.va + u64_of(GATE));
    let mut stream = Stream::new();
    stream.store(gfx, count, 1).wait_equal(gfx, gate, 1);
    let seq = submit(&bystander, 1, gfx, &stream).map_err(|e| format!("CS: {e}"))?;
    let begun = Instant::now();
    while bystander.data.map.read(128) == 0 {
        if begun.elapsed() > limit {
            return Err("the job does not begin".into());
        }
    }
    ends_with(&guilty, compute, hang, &[libc::ENODATA])?;
    bystander.data.map.write(GATE, 1);
    ends_with(&bystander, gfx, seq, &[libc::ENODATA])?;
    // Those of other address spaces go on.
    let other = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    other.prove_alive(gfx)?;
    match flags(&other, other.ctx)? {
        0 => Ok(String::new()),
        seen => Err(format!("another's flags are {seen:#x}")),
    }
}

/// Later jobs on a ring do not put off the end of one that hangs.
fn pushes_do_not_prolong(node: &Node, limit: Duration) -> Outcome {
    let open = || Session::open(node).map_err(|e| format!("a session: {e}"));
    let guilty = open()?;
    let others: Result<Vec<Session>, _> = (0..6).map(|_| open()).collect();
    let start = Instant::now();
    let seq = submit_hang(&guilty, Engine::Gfx, Hang::Wait).map_err(|e| format!("CS: {e}"))?;
    let mut pushed = Vec::new();
    for session in &others? {
        // Less often would not prolong it anyway.
        if guilty.wait(Engine::Gfx, seq, 600) != Ok(false) {
            break;
        }
        submit(session, 1, Engine::Gfx, &Stream::new()).map_err(|e| format!("CS: {e}"))?;
        pushed.push(start.elapsed().as_millis());
    }
    ends_with(&guilty, Engine::Gfx, seq, &[libc::ETIME])?;
    match start.elapsed() {
        took if took <= limit + RESET => {
            Ok(format!("{} ms, with pushes at {pushed:?}", took.as_millis()))
        }
        took => Err(format!("{} ms, with pushes at {pushed:?}", took.as_millis())),
    }
}

/// An access that no page table allows is told to its owner, and to nobody else.
fn faults_are_told(node: &Node) -> Outcome {
    let open = || Session::open(node).map_err(|e| format!("a session: {e}"));
    let (owner, other) = (open()?, open()?);
    let last = |session: &Session| {
        let fault: Result<uapi::GpuvmFault, _> = session.file.info(uapi::INFO_GPUVM_FAULT, [0; 4]);
        fault.map_err(|e| format!("GPUVM_FAULT: {e}"))
    };
    let engine = Engine::Dma(0);
    let va = owner.reserve_va(u64_of(PAGE));
    let mut stream = Stream::new();
    stream.store(engine, va, 1);
    owner.run(engine, &stream, &[])?;
    let began = Instant::now();
    while last(&owner)?.addr == 0 && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(10));
    }
    match (last(&owner)?, last(&other)?) {
        (own, foreign) if own.addr == va && own.status != 0 && foreign.addr == 0 => {
            Ok(format!("at {va:#x}, status {:#x}", own.status))
        }
        seen => Err(format!("{seen:x?}, not {va:#x} and nothing")),
    }
}

/// A context whose jobs hang again and again is refused on all its queues; others of the file are
/// not.
fn repeaters_are_refused(node: &Node) -> Outcome {
    let guilty = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let neighbor = guilty.another().map_err(|e| format!("a context: {e}"))?;
    let third = Engine::Dma(0);
    for (n, engine) in [Engine::Gfx, Engine::Compute(0)].into_iter().enumerate() {
        guilty.prove_alive(third).map_err(|e| format!("before hang {n}: {e}"))?;
        let seq = submit_hang(&guilty, engine, Hang::Illegal).map_err(|e| format!("CS: {e}"))?;
        ends_with(&guilty, engine, seq, &[libc::ETIME])?;
    }
    for engine in [third, Engine::Compute(1)] {
        match submit(&guilty, 2, engine, &Stream::new()) {
            Err(Errno(libc::ECANCELED)) => neighbor.prove_alive(engine)?,
            answer => return Err(format!("after two hangs, {engine} answers {answer:?}")),
        }
    }
    let seen = flags(&guilty, guilty.ctx)?;
    if seen & flag::GUILTY == 0 {
        return Err(format!("its flags are {seen:#x}"));
    }
    Ok("after the second hang".into())
}

/// The lines of the kernel's log that tell of a fault, since it was opened or last asked.
fn fault_lines(log: &mut KernelLog) -> Result<Vec<String>, String> {
    log.lines(|line| line.contains("VM fault:"))
}

/// A job that makes 100,000 faults costs others little, and the log a line a second.
fn fault_storm(node: &Node) -> Outcome {
    const PAGES: u64 = 100_000;
    /// Bytes that one packet fills.
    const PIECE: u64 = 0x3f_f000;
    const LONG: Duration = Duration::from_secs(3);
    let open = || Session::open(node).map_err(|e| format!("a session: {e}"));
    let (storm, other) = (open()?, open()?);
    let mut log = KernelLog::open()?;
    let (bytes, dma) = (PAGES * u64_of(PAGE), Engine::Dma(0));
    let va = storm.reserve_va(bytes);
    let began = Instant::now();
    let over = AtomicBool::new(false);
    let (longest, count) = thread::scope(|scope| {
        let ended = || over.load(Ordering::Relaxed);
        let worker = scope.spawn(move || work(&other, Engine::Gfx, &ended));
        let mut done = Ok(());
        for at in (0..bytes).step_by(16 * usize_of(PIECE)) {
            let mut stream = Stream::new();
            for at in (at..bytes.min(at + 16 * PIECE)).step_by(usize_of(PIECE)) {
                let (va, bytes) = (va + at, u32_of((bytes - at).min(PIECE) as usize));
                // CONSTANT_FILL
                stream.push(Raw(&[0x8000_000b, lo32(va), hi32(va), 0x5707_5707, bytes]));
            }
            done = done.and_then(|()| storm.run(dma, &stream, &[]));
        }
        over.store(true, Ordering::Relaxed);
        let worked = worker.join().unwrap_or_else(|_| Err("it panicked".into()));
        done.and(worked)
    })?;
    storm.prove_alive(dma)?;
    let (took, lines) = (began.elapsed(), fault_lines(&mut log)?);
    let most = took.as_secs() + 2;
    let seen = format!(
        "{} lines in {} ms; meanwhile {count} jobs of another, up to {} ms each",
        lines.len(),
        took.as_millis(),
        longest.as_millis()
    );
    let named = lines.iter().any(|line| line.contains("write to") && line.contains(" by SDM0 in"))
        || lines.iter().any(|line| line.contains(" by SDM1 in"));
    let odd = lines.iter().find(|line| line.contains("x00"));
    if let Some(odd) = odd {
        return Err(format!("{seen}: {odd}"));
    }
    if u64_of(lines.len()) > most || !named || count == 0 || longest > LONG {
        return Err(format!("{seen}: {:?}", lines.first()));
    }
    Ok(seen)
}

/// A client that hangs an engine as often as it can does not fill the kernel's log.
fn many_are_not_all_logged(node: &Node) -> Outcome {
    const HANGS: usize = 48;
    /// Number of lines that may be logged at once, and then one a second.
    const AT_ONCE: u64 = 10;
    const ENGINE: Engine = Engine::Dma(0);
    let mut log = KernelLog::open()?;
    let start = Instant::now();
    for _ in 0..HANGS {
        let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
        let hang = submit_hang(&session, ENGINE, Hang::Illegal).map_err(|e| format!("CS: {e}"))?;
        ends_with(&session, ENGINE, hang, &[libc::ETIME])?;
    }
    let most = AT_ONCE + start.elapsed().as_secs() + 1;
    // The second is what the kernel says when user space is sent an event.
    let said = [" was reset in ", "device wedged"];
    let lines = log.lines(|line| said.iter().any(|what| line.contains(what)))?;
    let logged = said.map(|what| lines.iter().filter(|line| line.contains(what)).count());
    let seen = format!("{logged:?} of {HANGS} logged, of at most {most}");
    match logged.map(u64_of) {
        counts if counts.contains(&0) => Err(format!("{seen}: that is too few")),
        counts if counts.iter().any(|&n| n > most) => Err(seen),
        _ => Ok(seen),
    }
}

/// Hangs an engine, says so, and stays.
fn stay(session: &Session, engine: Engine, hang: Hang) -> ExitCode {
    match submit_hang(session, engine, hang) {
        Ok(_) => println!("{engine} hangs by {}", hang.name()),
        Err(e) => {
            println!("FAIL  CS on {engine}: {e}");
            return ExitCode::FAILURE;
        }
    }
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn main() -> ExitCode {
    const SHORT: (&str, &str) = ("short", "1: one hang of each kind of engine only");
    const HANG: (&str, &str) = ("hang", "ENGINE:KIND; wait, illegal, privileged, unmapped, shader");
    const LIMIT: (&str, &str) = ("limit", "the driver's time limit in ms (default 2000)");
    const BROKEN: (&str, &str) = ("broken", "1: the card resets blocks only");
    const ALIVE: (&str, &str) = ("alive", "1: only shows that all engines work");
    let args = Args::parse(
        "Hangs engines, and sees who notices.",
        &[NODE, SHORT, HANG, LIMIT, BROKEN, ALIVE],
    );
    let start = match Start::new("reset", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let node = &start.node;
    let mut tally = Tally::new();
    if let Some(Named(engine, hang)) = args.get(HANG.0) {
        return stay(&start.session, engine, hang);
    }
    if args.get::<u32>(ALIVE.0).is_some_and(|n| n != 0) {
        for engine in Engine::ALL {
            tally.check(format!("{engine} works"), || {
                start.session.prove_alive(engine).map(|()| String::new())
            });
        }
        return tally.close();
    }
    let limit = Duration::from_millis(args.get(LIMIT.0).unwrap_or(2000));
    let is_broken = args.get::<u32>(BROKEN.0).is_some_and(|n| n != 0);
    let is_short = args.get::<u32>(SHORT.0).is_some_and(|n| n != 0);
    let mut scenes = vec![
        (Engine::Gfx, Hang::Unmapped),
        (Engine::Compute(0), Hang::Wait),
        (Engine::Dma(0), Hang::Illegal),
        (Engine::Compute(1), Hang::Shader),
    ];
    if is_broken {
        scenes = vec![
            (Engine::Compute(0), Hang::Wait),
            (Engine::Compute(1), Hang::Shader),
            (Engine::Gfx, Hang::Shader),
        ];
    } else if !is_short {
        scenes.extend([
            (Engine::Gfx, Hang::Wait),
            (Engine::Gfx, Hang::Illegal),
            (Engine::Gfx, Hang::Privileged),
            (Engine::Gfx, Hang::Shader),
            (Engine::Compute(0), Hang::Illegal),
            (Engine::Compute(0), Hang::Privileged),
            (Engine::Compute(0), Hang::Unmapped),
            (Engine::Dma(0), Hang::Wait),
            (Engine::Dma(1), Hang::Wait),
            (Engine::Dma(1), Hang::Privileged),
        ]);
    }
    for (engine, hang) in scenes {
        let scene = Scene { node, limit, engine, hang, is_broken };
        if let Err(why) = scene.play(&mut tally) {
            tally.record(format!("{engine}: {}", hang.name()), Err(why));
        }
    }
    if is_broken {
        return tally.close();
    }
    tally.check("a forbidden access is told to its owner only", || faults_are_told(node));
    if node.driver == Driver::Reference {
        for what in ["a context that hangs twice is refused", "faults without number"] {
            tally.skip(what, "the C driver has no such rule");
        }
    } else {
        tally.check("a context that hangs twice is refused", || repeaters_are_refused(node));
        tally.check("faults without number cost others little", || fault_storm(node));
    }
    tally.check("a job that has begun does not begin again", || begins_once(node));
    tally.check("jobs behind a hang do not prolong it", || pushes_do_not_prolong(node, limit));
    let name = "a job that may have lost waves with another's is told";
    match node.driver {
        Driver::Rust => _ = tally.check(name, || bystander_is_told(node, limit)),
        Driver::Reference => tally.skip(name, "the C driver does not look"),
    }
    let name = "hangs without a pause are not all logged";
    match node.driver {
        Driver::Rust => _ = tally.check(name, || many_are_not_all_logged(node)),
        Driver::Reference => tally.skip(name, "the C driver logs each of them"),
    }
    tally.close()
}
