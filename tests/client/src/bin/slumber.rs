// SPDX-License-Identifier: GPL-2.0 OR MIT

//! System sleep with buffers in memory of all kinds and jobs on all engines.
//!
//! A client holds what it has written to VRAM, to GTT and to its own memory; others copy to and fro
//! on an engine each, and compare every byte. Then the system sleeps, in the middle of that, as
//! often as it is asked to. Nobody may notice but by the clock: each byte is there, for the CPU and
//! for the GPU, jobs go on on all engines, and no context is told of a reset.
//!
//! `--state` is what is written to /sys/power/state, and `--wake` the seconds after which the clock
//! wakes the system; 0 if it comes back by itself, as it does with /sys/power/pm_test.
//!
//! `--hang 1`: a job that never ends is there each time. It is lost, and its context is told, and
//! all else is as without it. `--refused 1`: a job does not end in time, but may take as long as it
//! likes: the system does not sleep, and the job ends well.

use amdgpu_client::args::Args;
use amdgpu_client::drm::Node;
use amdgpu_client::engine::Engine;
use amdgpu_client::hang::flags;
use amdgpu_client::ib::Stream;
use amdgpu_client::mem::UserMem;
use amdgpu_client::num::u64_of;
use amdgpu_client::race::Target;
use amdgpu_client::report::{
    Outcome,
    Tally,
    give_up, //
};
use amdgpu_client::rng::Rng;
use amdgpu_client::session::{
    Buffer,
    PATIENCE_MS,
    Session, //
};
use amdgpu_client::start::NODE;
use amdgpu_client::uapi::{
    CREATE_VM_ALWAYS_VALID,
    DOMAIN_GTT,
    DOMAIN_VRAM, //
};
use amdgpu_client::{
    Errno,
    PAGE, //
};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};
use std::thread;
use std::time::{
    Duration,
    Instant, //
};

/// Pages of each buffer that is held.
const HELD: usize = 64;
/// Pages that a worker copies.
const COPIED: usize = 8;
/// Time that the engines have for their first jobs after a sleep.
const PATIENCE: Duration = Duration::from_secs(60);

/// Way in which the system is put to sleep.
struct Bed {
    state: String,
    wake: u32,
}

impl Bed {
    /// Sleeps. How long that took, with waking up.
    fn sleep(&self) -> Result<Duration, String> {
        const ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
        if self.wake != 0 {
            // One that is set already cannot be set.
            fs::write(ALARM, "0")
                .and_then(|()| fs::write(ALARM, format!("+{}", self.wake)))
                .map_err(|e| format!("the alarm: {e}"))?;
        }
        let ports = PowerPorts::of_machine();
        let (start, asleep) = (Instant::now(), time_asleep());
        fs::write("/sys/power/state", &self.state).map_err(|e| format!("no sleep: {e}"))?;
        if let Some(ports) = ports {
            ports.restore()?;
        }
        if self.wake != 0 && time_asleep() == asleep {
            return Err("the kernel came back at once: the machine did not sleep".into());
        }
        Ok(start.elapsed())
    }
}

/// The whole seconds that the machine has slept, as the kernel knows them from the clock that goes
/// on meanwhile.
fn time_asleep() -> i64 {
    let [with, without] = [libc::CLOCK_BOOTTIME, libc::CLOCK_MONOTONIC].map(|clock| {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is writable for the call, and nothing else uses it.
        let status = unsafe { libc::clock_gettime(clock, &raw mut now) };
        assert_eq!(status, 0, "clocks that each kernel has");
        now.tv_sec * 10 + now.tv_nsec / 100_000_000
    });
    // The two are not read at the same moment.
    (with - without + 5) / 10
}

/// Ports of the emulated machine for sleep and power: PMBASE and `ACPI_CNTL` of its bridge, an ICH9
/// (Intel 316972, 13.1.13 and 13.1.14). A real machine's firmware sets them again after S3.
/// `SeaBIOS` leaves them as the reset does, and the machine could neither sleep a second time nor
/// be switched off.
struct PowerPorts {
    config: fs::File,
    values: [u8; 8],
}

impl PowerPorts {
    const AT: u64 = 0x40;

    /// None if the machine is another one.
    fn of_machine() -> Option<Self> {
        let config = fs::File::options()
            .read(true)
            .write(true)
            .open("/sys/bus/pci/devices/0000:00:1f.0/config")
            .ok()?;
        let mut ids = [0; 4];
        config.read_exact_at(&mut ids, 0).ok()?;
        let mut values = [0; 8];
        config.read_exact_at(&mut values, Self::AT).ok()?;
        (ids == [0x86, 0x80, 0x18, 0x29]).then_some(Self { config, values })
    }

    fn restore(&self) -> Result<(), String> {
        let (base, control) = self.values.split_at(4);
        self.config
            .write_all_at(base, Self::AT)
            .and_then(|()| self.config.write_all_at(&control[..1], Self::AT + 4))
            .map_err(|e| format!("the machine's ports for sleep: {e}"))
    }
}

/// Random bytes.
fn noise(rng: &mut Rng, pages: usize) -> Vec<u8> {
    (0..pages * PAGE / 8).flat_map(|_| rng.next().to_le_bytes()).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

fn compare(seen: &[u8], expected: &[u8]) -> Outcome {
    match seen.iter().zip(expected).position(|(seen, expected)| seen != expected) {
        None => Ok(String::new()),
        Some(at) => Err(format!("byte {at:#x} is {:#x}, not {:#x}", seen[at], expected[at])),
    }
}

fn compare_memory(memory: &UserMem, expected: &[u8]) -> Outcome {
    let mut page = [0; PAGE];
    for (n, expected) in expected.chunks_exact(PAGE).enumerate() {
        memory.read_page(n, &mut page);
        compare(&page, expected).map_err(|e| format!("page {n}: {e}"))?;
    }
    Ok(String::new())
}

fn contents(buffer: &Buffer, pages: usize) -> Vec<u8> {
    let mut bytes = vec![0; pages * PAGE];
    buffer.map.copy_out(0, &mut bytes);
    bytes
}

/// Memory of some kind, and what it must hold.
struct Held<'s> {
    name: &'static str,
    place: Place<'s>,
    expected: Vec<u8>,
}

enum Place<'s> {
    Buffer(Buffer),
    User(UserMem, Target<'s>),
}

impl Held<'_> {
    fn handle(&self) -> u32 {
        match &self.place {
            Place::Buffer(buffer) => buffer.handle,
            Place::User(_, target) => target.handle,
        }
    }

    fn va(&self) -> u64 {
        match &self.place {
            Place::Buffer(buffer) => buffer.va,
            Place::User(_, target) => target.va,
        }
    }

    /// Checks the bytes that the CPU finds there.
    fn by_cpu(&self) -> Outcome {
        match &self.place {
            Place::Buffer(buffer) => compare(&contents(buffer, HELD), &self.expected),
            Place::User(memory, _) => compare_memory(memory, &self.expected),
        }
    }
}

/// A client that holds memory, and looks whether it is still there.
struct Keeper<'s> {
    session: &'s Session,
    held: Vec<Held<'s>>,
    /// Target of the GPU's copies, for the CPU to look at.
    seen: Buffer,
}

impl<'s> Keeper<'s> {
    fn new(session: &'s Session, rng: &mut Rng) -> Result<Self, String> {
        let fail = |e: Errno| format!("a buffer: {e}");
        let size = u64_of(HELD * PAGE);
        let mut held = Vec::new();
        for (name, domain, flags) in [
            ("VRAM", DOMAIN_VRAM, 0),
            ("VRAM that is always mapped", DOMAIN_VRAM, CREATE_VM_ALWAYS_VALID),
            ("GTT", DOMAIN_GTT, 0),
        ] {
            let expected = noise(rng, HELD);
            let buffer = session.buffer(size, domain, flags).map_err(fail)?;
            buffer.map.copy_in(0, &words(&expected));
            held.push(Held { name, place: Place::Buffer(buffer), expected });
        }
        let expected = noise(rng, HELD);
        let mut memory = UserMem::anonymous(HELD).map_err(fail)?;
        for (n, bytes) in expected.chunks_exact(PAGE).enumerate() {
            let mut page = [0; PAGE];
            page.copy_from_slice(bytes);
            memory.write_page(n, &page);
        }
        let target = Target::of_any(session, &memory).map_err(fail)?;
        held.push(Held {
            name: "the process's memory",
            place: Place::User(memory, target),
            expected,
        });
        let seen = session.buffer(size, DOMAIN_GTT, 0).map_err(fail)?;
        let keeper = Self { session, held, seen };
        keeper.look(Look::Gpu)?;
        Ok(keeper)
    }

    /// Checks the bytes that the GPU finds there: it copies from a kind of memory to the buffer for
    /// that.
    fn by_gpu(&self, held: &Held<'_>, engine: Engine) -> Outcome {
        self.seen.map.fill(0);
        let mut stream = Stream::new();
        stream.copy(engine, held.va(), self.seen.va, self.seen.size);
        self.session.run(engine, &stream, &[held.handle(), self.seen.handle])?;
        compare(&contents(&self.seen, HELD), &held.expected)
    }

    fn look(&self, look: Look) -> Outcome {
        for held in &self.held {
            match look {
                Look::Cpu => held.by_cpu(),
                Look::Gpu => {
                    self.by_gpu(held, Engine::Dma(0)).and_then(|_| self.by_gpu(held, Engine::Gfx))
                }
            }
            .map_err(|e| format!("{}: {e}", held.name))?;
        }
        Ok(format!("{} kinds of {} pages", self.held.len(), HELD))
    }
}

#[derive(Clone, Copy)]
enum Look {
    Cpu,
    Gpu,
}

/// Whoever copies on an engine, again and again, and compares each time.
struct Worker {
    engine: Engine,
    /// Copies so far.
    copies: AtomicUsize,
}

impl Worker {
    const fn new(engine: Engine) -> Self {
        Self { engine, copies: AtomicUsize::new(0) }
    }

    fn copies(&self) -> usize {
        self.copies.load(Ordering::Relaxed)
    }

    /// Works until told to stop. Returns what its context was told.
    fn work(&self, node: &Node, over: &AtomicBool) -> Result<u64, String> {
        let engine = self.engine;
        let fail = |e: Errno| format!("memory: {e}");
        let session = Session::open(node).map_err(fail)?;
        let size = u64_of(COPIED * PAGE);
        let from = session.buffer(size, DOMAIN_VRAM, 0).map_err(fail)?;
        let to = session.buffer(size, DOMAIN_VRAM, 0).map_err(fail)?;
        let memory = UserMem::anonymous(COPIED).map_err(fail)?;
        let target = Target::of_any(&session, &memory).map_err(fail)?;
        let handles = [from.handle, to.handle, target.handle];
        let mut rng = Rng::new(u64::from(engine.ip_type() * 8 + engine.ring()));
        while !over.load(Ordering::Relaxed) {
            let bytes = noise(&mut rng, COPIED);
            from.map.copy_in(0, &words(&bytes));
            for (from, to) in [(from.va, to.va), (to.va, target.va)] {
                let mut stream = Stream::new();
                stream.copy(engine, from, to, size);
                session.run(engine, &stream, &handles)?;
            }
            compare_memory(&memory, &bytes)?;
            self.copies.fetch_add(1, Ordering::Relaxed);
        }
        flags(&session, session.ctx)
    }
}

/// Waits until each worker has done something more.
fn all_go_on(workers: &[Worker]) -> Outcome {
    let start = Instant::now();
    // One that was under way may have begun before.
    let before: Vec<_> = workers.iter().map(|worker| worker.copies() + 2).collect();
    loop {
        let idle = workers.iter().zip(&before).find(|(worker, before)| worker.copies() < **before);
        match idle {
            None => return Ok(format!("after {} ms", start.elapsed().as_millis())),
            Some((worker, _)) if start.elapsed() > PATIENCE => {
                return Err(format!("{} stands still", worker.engine));
            }
            Some(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn told_nothing(session: &Session) -> Outcome {
    match flags(session, session.ctx)? {
        0 => Ok(String::new()),
        flags => Err(format!("it is told {flags:#x}")),
    }
}

/// A word in the session's data that a job waits for.
const WORD: usize = 2048;

/// Submits a job that waits for [`WORD`] to be set.
fn submit_wait(session: &Session, engine: Engine) -> Result<u64, String> {
    session.data.map.write(WORD, 0);
    let mut stream = Stream::new();
    stream.wait_equal(engine, session.data.va + u64_of(WORD), 1);
    session.submit(engine, &stream, &[]).map_err(|e| format!("CS: {e}"))
}

fn ends_with(
    session: &Session,
    engine: Engine,
    seq: u64,
    expected: Result<bool, Errno>,
) -> Outcome {
    match session.wait(engine, seq, PATIENCE_MS) {
        answer if answer == expected => Ok(String::new()),
        answer => Err(format!("{answer:?}, not {expected:?}")),
    }
}

/// A round: sleep, and what is there afterward.
fn round(tally: &mut Tally, title: &str, bed: &Bed, keeper: &Keeper<'_>, workers: &[Worker]) {
    let slept = tally.check(format!("{title}: the system sleeps"), || {
        bed.sleep().map(|took| format!("{} ms", took.as_millis()))
    });
    if !slept {
        return;
    }
    tally.check(format!("{title}: jobs go on on all engines"), || all_go_on(workers));
    tally.check(format!("{title}: the CPU finds each byte"), || keeper.look(Look::Cpu));
    tally.check(format!("{title}: the GPU finds each byte"), || keeper.look(Look::Gpu));
}

/// Rounds of sleep while all engines work.
fn rounds(
    tally: &mut Tally,
    node: &Node,
    bed: &Bed,
    count: usize,
    hang: bool,
) -> Result<(), String> {
    let open = || Session::open(node).map_err(|e| format!("a session: {e}"));
    let session = open()?;
    let keeper = Keeper::new(&session, &mut Rng::new(7))?;
    let workers = Engine::ALL.map(Worker::new);
    let over = AtomicBool::new(false);
    let results = thread::scope(|scope| {
        let threads: Vec<_> =
            workers.iter().map(|worker| scope.spawn(|| worker.work(node, &over))).collect();
        let began = tally.check("jobs run on all engines", || all_go_on(&workers));
        for n in (1..=count).filter(|_| began) {
            let title = format!("round {n}");
            if !hang {
                round(tally, &title, bed, &keeper, &workers);
                continue;
            }
            let engine = [Engine::Gfx, Engine::Compute(1), Engine::Dma(1)][n % 3];
            let hung = open().and_then(|guilty| Ok((submit_wait(&guilty, engine)?, guilty)));
            round(tally, &title, bed, &keeper, &workers);
            tally.check(format!("{title}: the job on {engine} that never ends is lost"), || {
                let (seq, guilty) = hung?;
                ends_with(&guilty, engine, seq, Err(Errno(libc::ETIME)))
            });
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    for (worker, result) in workers.iter().zip(results) {
        tally.check(format!("{}: every copy was right", worker.engine), || {
            match result.unwrap_or_else(|_| Err("it panicked".into()))? {
                told if told != 0 && !hang => Err(format!("its context is told {told:#x}")),
                _ => Ok(format!("{} of them", worker.copies())),
            }
        });
    }
    Ok(())
}

/// Nobody works, but what is held must be there.
fn idle(tally: &mut Tally, node: &Node, bed: &Bed) -> Result<(), String> {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let keeper = Keeper::new(&session, &mut Rng::new(3))?;
    round(tally, "nobody works", bed, &keeper, &[]);
    tally.check("nobody works: the context is told nothing", || told_nothing(&session));
    tally.check("nobody works: all engines work", || {
        Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
        Ok(String::new())
    });
    Ok(())
}

/// A job that may take any time does not end.
fn refused(tally: &mut Tally, node: &Node, bed: &Bed) -> Result<(), String> {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let engine = Engine::Gfx;
    let seq = submit_wait(&session, engine)?;
    tally.check("while a job does not end the system does not sleep", || match bed.sleep() {
        Ok(_) => Err("it does".into()),
        Err(why) => Ok(why),
    });
    session.data.map.write(WORD, 1);
    tally.check("the job ends well", || ends_with(&session, engine, seq, Ok(true)));
    tally.check("then the system sleeps", || bed.sleep().map(|_| String::new()));
    tally.check("all engines work", || {
        Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
        Ok(String::new())
    });
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse(
        "What clients notice of system sleep.",
        &[
            NODE,
            ("state", "what is written to /sys/power/state (default mem)"),
            ("wake", "seconds after which the clock wakes the system; 0: it comes back (default)"),
            ("rounds", "how often it sleeps while all engines work (default 2)"),
            ("hang", "1: each time with a job that never ends (default 0)"),
            ("refused", "1: only with a job that may take any time (default 0)"),
        ],
    );
    let node = match Node::find(args.get::<PathBuf>(NODE.0).as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("slumber", why),
    };
    let bed = Bed {
        state: args.get("state").unwrap_or_else(|| "mem".into()),
        wake: args.get("wake").unwrap_or(0),
    };
    let count = args.get("rounds").unwrap_or(2);
    let is_set = |name| args.get::<u32>(name).is_some_and(|value| value != 0);
    let mut tally = Tally::new();
    let done = if is_set("refused") {
        refused(&mut tally, &node, &bed)
    } else {
        idle(&mut tally, &node, &bed)
            .and_then(|()| rounds(&mut tally, &node, &bed, count, is_set("hang")))
    };
    if let Err(why) = done {
        tally.record("the test itself", Err(why));
    }
    tally.close()
}
