// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Random but plausible calls of everything that user space may ask, from several threads of
//! several processes that are killed now and then. Beside them a client does ordinary work, and
//! looks for what they must not do: change memory that is not theirs, take the card from others,
//! refuse to die, leave something behind, or make the kernel complain.

mod acts;
mod calls;
mod pick;
mod world;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{
        AtomicU64,
        Ordering::Relaxed, //
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
    child::{
        Child,
        WELL, //
    },
    drm::Node,
    engine::Engine,
    klog::KernelLog,
    mem::UserMem,
    num::u64_of,
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
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use acts::ACTS;
use calls::{
    Action,
    CALLS,
    Worker, //
};
use pick::Pick;
use world::{
    USER,
    World, //
};

/// At least as many as there are actions.
const ACTIONS: usize = 64;

/// Calls and successes of each action, shared by all processes.
type Counts = [[AtomicU64; 2]; ACTIONS];

impl Worker<'_> {
    /// Does one of the actions.
    fn act(&mut self, actions: &[Action]) {
        let total = actions.iter().map(|(_, weight, _)| weight).sum();
        let mut at = self.pick.below(total);
        for (index, (_, weight, act)) in actions.iter().enumerate() {
            if at < *weight {
                let done = act(self);
                let first = if std::ptr::eq(actions, CALLS) { 0 } else { CALLS.len() };
                self.counts[first + index][0].fetch_add(1, Relaxed);
                self.counts[first + index][1].fetch_add(u64::from(done), Relaxed);
                return;
            }
            at -= *weight;
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Asks everything, at random.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("seed", "of the random numbers (default: a new one)"),
            ("seconds", "how long (default 20)"),
            ("processes", "at a time (default 2)"),
            ("threads", "of each (default 3)"),
            ("hangs", "one of so many jobs hangs its engine (default 0: none)"),
        ],
    );
    let seed = args.get("seed").unwrap_or_else(Rng::fresh_seed);
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("fuzz", why),
    };
    println!("fuzz: {} (driver {}), seed {seed}", node.path.display(), node.driver.name());
    let plan = Plan {
        seconds: args.get("seconds").unwrap_or(20),
        processes: args.get("processes").unwrap_or(2),
        threads: args.get("threads").unwrap_or(3),
        hangs: args.get("hangs").unwrap_or(0),
    };
    match run(&node, seed, &plan) {
        Ok(status) => status,
        Err(why) => give_up("fuzz", why),
    }
}

struct Plan {
    seconds: u64,
    processes: usize,
    threads: usize,
    hangs: u64,
}

/// Text of an error.
fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

fn run(node: &Node, seed: u64, plan: &Plan) -> Result<ExitCode, String> {
    let mut log = KernelLog::open()?;
    let counts = shared()?;
    let mut bystander = Bystander::new(node)?;
    let before = bystander.session.usage().map_err(text("INFO MEMORY"))?;
    let mut rng = Rng::new(seed);
    let mut tally = Tally::new();

    let dies = fuzz(node, plan, counts, &mut rng, &mut bystander);
    tally.record("processes die when they are killed", dies);
    let worked = bystander.failed.take();
    let jobs = bystander.jobs;
    tally.record(
        "another client works all the time",
        match worked {
            None => Ok(format!("{jobs} jobs")),
            Some(why) => Err(why),
        },
    );
    tally.record("its memory is as it was", bystander.unchanged());
    tally.record("all engines work afterward", engines(node));
    tally.record("nothing is left of the others", left(&bystander.session, before));
    match coverage(counts) {
        Some(outcome) => _ = tally.record("all calls come through", outcome),
        None => tally.skip("all calls come through", "too few calls to tell"),
    }
    tally.record(
        "the kernel does not complain",
        match log.complaints()?.as_slice() {
            [] => Ok(String::new()),
            lines => Err(lines.join("; ")),
        },
    );
    Ok(tally.close())
}

/// Memory that this process and those to come share.
fn shared() -> Result<&'static Counts, String> {
    let len = size_of::<Counts>();
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice, disturbs nothing.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(format!("mmap: {}", Errno::last()));
    }
    // SAFETY: zeros are valid for atomics; the mapping is large enough, aligned, and stays.
    Ok(unsafe { &*at.cast::<Counts>() })
}

/// Starts processes that fuzz, kills them or waits for their end, and works meanwhile.
fn fuzz(
    node: &Node,
    plan: &Plan,
    counts: &'static Counts,
    rng: &mut Rng,
    bystander: &mut Bystander,
) -> Outcome {
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let mut longest = Duration::ZERO;
    let mut number = 0;
    let mut running = Vec::new();
    while Instant::now() < end {
        while running.len() < plan.processes {
            let (seed, life) = (rng.next(), Duration::from_millis(500 + rng.next() % 4000));
            // Some end by themselves.
            let work = if rng.next().is_multiple_of(3) { life * 4 } else { life / 2 };
            let child = Child::new(|_| worker(node, seed, plan, counts, work))?;
            running.push((child, Instant::now() + life));
            number += 1;
        }
        bystander.work(rng);
        let mut left = Vec::new();
        for (mut child, until) in running {
            if Instant::now() < until {
                left.push((child, until));
                continue;
            }
            longest = longest.max(end_of(&mut child)?);
        }
        running = left;
    }
    for (child, _) in &mut running {
        longest = longest.max(end_of(child)?);
    }
    Ok(format!("{number} processes, the longest took {} ms to go", longest.as_millis()))
}

/// Kills a process, and waits until it is gone.
fn end_of(child: &mut Child) -> Result<Duration, String> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    child.kill();
    while start.elapsed() < PATIENCE {
        if child.is_gone().map_err(text("waitpid"))? {
            let took = start.elapsed();
            return match child.hear_all()?.as_str() {
                "" | WELL => Ok(took),
                said => Err(format!("a process cannot begin: {said}")),
            };
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(format!("process {} does not go: {}", child.pid(), stacks(child.pid())))
}

/// Reads the places of a process's threads in the kernel.
fn stacks(pid: libc::pid_t) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("stack")).ok()).collect()
}

/// The main function of a process that fuzzes, for some time.
fn worker(
    node: &Node,
    seed: u64,
    plan: &Plan,
    counts: &'static Counts,
    life: Duration,
) -> Result<(), String> {
    extern "C" fn nothing(_: i32) {}
    let world = World::new(node, seed, plan.hangs).map_err(text("a file"))?;
    // SAFETY: the handler does nothing: its purpose is to interrupt. Children are not waited for.
    // The memory file has no name that others could know.
    let scratch = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        let every = libc::timeval { tv_sec: 0, tv_usec: 3000 + (seed % 30_000).cast_signed() };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
        let scratch = libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC);
        libc::ftruncate(scratch, USER.cast_signed());
        scratch
    };
    let end = Instant::now() + life;
    thread::scope(|scope| {
        for number in 0..u64_of(plan.threads) {
            let world = &world;
            scope.spawn(move || {
                let Ok(pick) = Pick::new(seed.wrapping_add(number), (world.user, USER)) else {
                    return;
                };
                let mut worker = Worker { pick, world, counts, scratch, may_allocate: true };
                while Instant::now() < end {
                    let actions = if worker.pick.once_in(4) { ACTS } else { CALLS };
                    worker.act(actions);
                }
            });
        }
    });
    Ok(())
}

/// A client that does nothing wrong.
struct Bystander {
    session: Session,
    kept: Vec<Buffer>,
    memory: UserMem,
    jobs: usize,
    failed: Option<String>,
}

/// Returns the contents of its memory, by the number of the page.
fn pattern(page: usize) -> u8 {
    0x51 ^ page.to_le_bytes()[0]
}

const KEPT: usize = 64;

impl Bystander {
    fn new(node: &Node) -> Result<Self, String> {
        let session = Session::open(node).map_err(text("a session"))?;
        let mut kept = Vec::new();
        for domain in [DOMAIN_VRAM, DOMAIN_GTT] {
            let size = u64_of(KEPT * PAGE);
            let buffer = session.buffer(size, domain, 0).map_err(text("a BO"))?;
            let words = |page| vec![u32::from_ne_bytes([pattern(page); 4]); PAGE / 4];
            (0..KEPT).for_each(|page| buffer.map.copy_in(page * PAGE, &words(page)));
            kept.push(buffer);
        }
        let mut memory = UserMem::anonymous(KEPT).map_err(text("mmap"))?;
        (0..KEPT).for_each(|page| memory.write_page(page, &[pattern(page); PAGE]));
        let size = u64_of(KEPT * PAGE);
        let flags = uapi::USERPTR_ANONONLY | uapi::USERPTR_REGISTER | uapi::USERPTR_VALIDATE;
        let handle = session.file.gem_userptr(memory.addr(), size, flags);
        let (handle, va) = (handle.map_err(text("GEM_USERPTR"))?, session.reserve_va(size));
        let mapped = session.file.gem_va(uapi::VA_OP_MAP, handle, va, 0, size);
        mapped.map_err(text("GEM_VA"))?;
        session.prove_alive(Engine::Dma(0))?;
        Ok(Self { session, kept, memory, jobs: 0, failed: None })
    }

    /// A job on any engine, which has to end well.
    fn work(&mut self, rng: &mut Rng) {
        let engine = Engine::ALL[rng.within(0..Engine::ALL.len())];
        match self.session.prove_alive(engine) {
            Ok(()) => self.jobs += 1,
            Err(why) => {
                println!("# the client: {why}");
                self.failed.get_or_insert(why);
            }
        }
        thread::sleep(Duration::from_millis(rng.next() % 50));
    }

    fn unchanged(&self) -> Outcome {
        let mut page = [0; PAGE];
        for number in 0..KEPT {
            for buffer in &self.kept {
                buffer.map.copy_out(number * PAGE, &mut page);
                if page.iter().any(|&byte| byte != pattern(number)) {
                    return Err(format!("page {number} of BO {} changed", buffer.handle));
                }
            }
            self.memory.read_page(number, &mut page);
            if page.iter().any(|&byte| byte != pattern(number)) {
                return Err(format!("page {number} of user memory changed"));
            }
        }
        Ok(format!("{} pages", KEPT * (self.kept.len() + 1)))
    }
}

fn engines(node: &Node) -> Outcome {
    let session = Session::open(node).map_err(text("a session"))?;
    Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
    Ok(format!("{}", Engine::ALL.len()))
}

/// Memory that is in use goes back to what it was.
fn left(session: &Session, before: (u64, u64)) -> Outcome {
    let mut after = before;
    for _ in 0..200 {
        after = session.usage().map_err(text("INFO MEMORY"))?;
        if after.0 <= before.0 && after.1 <= before.1 {
            return Ok(String::new());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(format!("VRAM and GTT in use: {before:?} bytes before, {after:?} after"))
}

/// Calls from which on the rarest of them have to succeed.
const ENOUGH: u64 = 10_000;

/// Says how often each action was done. Each has to succeed now and then, but for those that
/// cannot. `None`: there were too few to tell.
fn coverage(counts: &Counts) -> Option<Outcome> {
    const REFUSED: [&str; 2] = ["SCHED", "any number"];
    let (mut total, mut never) = (0, Vec::new());
    for ((name, ..), [tried, done]) in CALLS.iter().chain(ACTS).zip(counts) {
        let (tried, done) = (tried.load(Relaxed), done.load(Relaxed));
        println!("# {tried:7} {done:7} {name}");
        total += tried;
        if done == 0 && !REFUSED.contains(name) {
            never.push(*name);
        }
    }
    (total >= ENOUGH).then(|| match never.as_slice() {
        [] => Ok(format!("{total} calls")),
        names => Err(format!("these never succeed: {}", names.join(", "))),
    })
}
