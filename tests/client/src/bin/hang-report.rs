// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reports of a job that hangs: the dump (devcoredump), the event (WEDGED), and the way to ask for
//! a reset (`amdgpu_gpu_recover`).
//!
//! A client hangs an engine, while another has jobs on other rings of the same block. The dump has
//! to say who it was, where the engine got to, and what the job's command buffer holds; of the
//! other's command buffer it must hold nothing.
//!
//! `--leave 1` leaves a dump behind, for others to find after the driver was unloaded.

use amdgpu_client::{
    Errno,
    PAGE,
    args::Args,
    drm::{
        self,
        Driver,
        Node, //
    },
    engine::Engine,
    ib::{
        Packet,
        Stream, //
    },
    num::{
        u32_of,
        u64_of, //
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
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    },
    uevent::Uevents, //
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

/// A word in the command buffer of the client that hangs, and one in that of the other.
const MARK: u32 = 0x0bad_c0de;
const SECRET: u32 = 0x5ec2_e701;
/// The driver's time limit.
const LIMIT: Duration = Duration::from_secs(2);
/// Time that a dump or an event may take.
const SOON: Duration = Duration::from_secs(20);

/// Words that are no packet of the library.
struct Raw<'a>(&'a [u32]);

impl Packet for Raw<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        words.extend(self.0);
    }
}

/// The dump of the card in `slot`, if there is one.
fn dump_of(slot: &str) -> Option<PathBuf> {
    let entries = fs::read_dir("/sys/class/devcoredump").ok()?;
    let dumps = entries.flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let card = fs::canonicalize(path.join("failing_device"));
        card.is_ok_and(|card| card.ends_with(slot))
    };
    dumps.filter(|path| path.join("data").exists()).find(is_ours).map(|path| path.join("data"))
}

/// The dump of a card, once there is one that is whole.
struct Dump {
    path: PathBuf,
    text: String,
}

impl Dump {
    fn wait(slot: &str) -> Result<Self, String> {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if let Some(path) = dump_of(slot) {
                let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                return Ok(Self { path, text: String::from_utf8_lossy(&bytes).into_owned() });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("there is none".into())
    }

    /// Checks that it has each of these, in this order.
    fn has(&self, wanted: &[&str]) -> Outcome {
        let mut rest = &*self.text;
        for part in wanted {
            let at =
                rest.find(part).ok_or_else(|| format!("no `{part}` (then):\n{}", self.text))?;
            rest = &rest[at + part.len()..];
        }
        Ok(String::new())
    }

    fn dismiss(self) -> Outcome {
        dismiss(&self.path)
    }
}

fn dismiss(path: &Path) -> Outcome {
    fs::write(path, "0").map_err(|e| format!("{}: {e}", path.display()))?;
    let start = Instant::now();
    while path.exists() && start.elapsed() < SOON {
        thread::sleep(Duration::from_millis(10));
    }
    if path.exists() { Err("it stays".into()) } else { Ok(String::new()) }
}

/// Submits a command buffer of one packet after the other.
fn submit(session: &Session, engine: Engine, ib: &Buffer, stream: &Stream) -> Result<u64, Errno> {
    let words = stream.padded(engine);
    ib.map.copy_in(0, &words);
    submit_at(session, engine, ib.va, u32_of(words.len() * 4), ib.handle)
}

fn submit_at(
    session: &Session,
    engine: Engine,
    va_start: u64,
    ib_bytes: u32,
    handle: u32,
) -> Result<u64, Errno> {
    let (ip_type, ring) = (engine.ip_type(), engine.ring());
    let ib = [uapi::ChunkIb { va_start, ib_bytes, ip_type, ring, ..Default::default() }];
    let entries = drm::list_entries(&[session.ib.handle, session.data.handle, handle]);
    let list = [drm::list_request(&entries)];
    let chunks = [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    session.file.cs(session.ctx, 0, &chunks)
}

/// Place of the guilty job's command buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    System,
    Vram,
    Nowhere,
}

struct Scene<'a> {
    node: &'a Node,
    engine: Engine,
    place: Place,
}

impl Scene<'_> {
    fn session(&self) -> Result<Session, String> {
        Session::open(self.node).map_err(|e| format!("a session: {e}"))
    }

    fn title(&self) -> String {
        let place = match self.place {
            Place::System => "commands in system memory",
            Place::Vram => "commands in VRAM",
            Place::Nowhere => "commands nowhere",
        };
        format!("{}, {place}", self.engine)
    }

    /// The guilty job: a mark, then what hangs the engine.
    fn stream(&self, session: &Session) -> Stream {
        let engine = self.engine;
        let mut stream = Stream::new();
        stream.store(engine, session.data.va + 64, MARK);
        if engine.is_dma() {
            stream.push(Raw(&[0xff]));
        } else {
            stream.wait_equal(engine, session.data.va + u64_of(PAGE) - 4, 0xdead);
        }
        stream
    }

    /// Hangs the engine. Meanwhile somebody else has a job on another ring of the block, if it has
    /// one, which does not end either. Answers where the command buffer of the guilty job is.
    fn hang(&self, guilty: &Session, other: Option<&Session>) -> Result<u64, String> {
        let domain = if self.place == Place::Vram { DOMAIN_VRAM } else { DOMAIN_GTT };
        let ib = guilty.buffer(u64_of(PAGE), domain, 0).map_err(|e| format!("a buffer: {e}"))?;
        let (va, seq) = match self.place {
            Place::Nowhere => {
                let va = guilty.reserve_va(u64_of(PAGE));
                (va, submit_at(guilty, self.engine, va, 256, ib.handle))
            }
            _ => (ib.va, submit(guilty, self.engine, &ib, &self.stream(guilty))),
        };
        let seq = seq.map_err(|e| format!("CS: {e}"))?;
        if let Some(other) = other {
            // Its own time must not be over.
            thread::sleep(LIMIT / 2);
            self.wait_beside(other)?;
        }
        match guilty.wait(self.engine, seq, PATIENCE_MS) {
            Err(Errno(libc::ETIME)) => Ok(va),
            answer => Err(format!("the guilty job ends with {answer:?}")),
        }
    }

    fn wait_beside(&self, other: &Session) -> Result<(), String> {
        let engine = Engine::Compute(1);
        let mut stream = Stream::new();
        stream.store(engine, other.data.va + 64, SECRET);
        stream.wait_equal(engine, other.data.va + 128, SECRET);
        submit(other, engine, &other.ib, &stream).map(drop).map_err(|e| format!("CS: {e}"))
    }

    fn play(&self, tally: &mut Tally, events: &Uevents) -> Result<(), String> {
        let title = self.title();
        let guilty = self.session()?;
        let other = if self.engine.is_dma() { None } else { Some(self.session()?) };
        let va = self.hang(&guilty, other.as_ref())?;
        // It may have lost nothing, and would hang next.
        if let Some(other) = &other {
            other.data.map.write(128, SECRET);
        }
        let dump = Dump::wait(&self.node.slot)?;
        tally.check(format!("{title}: the dump is for root alone"), || {
            let mode = fs::metadata(&dump.path).map_err(|e| e.to_string())?.permissions().mode();
            if mode & 0o177 == 0 { Ok(format!("{mode:o}")) } else { Err(format!("{mode:o}")) }
        });
        tally.record(format!("{title}: it names the job"), self.names(&dump));
        tally.record(format!("{title}: it shows where the engine is"), self.shows(&dump, va));
        tally.record(format!("{title}: it shows the command buffer"), self.commands(&dump, va));
        if other.is_some() {
            tally.check(format!("{title}: it holds nothing of others"), || {
                match dump.text.contains(&format!("{SECRET:08x}")) {
                    true => Err(format!("the other's word is in it:\n{}", dump.text)),
                    false => Ok(format!("{} bytes", dump.text.len())),
                }
            });
        }
        tally.check(format!("{title}: it goes when it was read"), || dump.dismiss());
        tally.record(format!("{title}: an event says who it was"), event(events));
        Ok(())
    }

    fn names(&self, dump: &Dump) -> Outcome {
        let pid = std::process::id();
        let ring = match self.engine {
            Engine::Gfx => "ring: gfx\n",
            Engine::Compute(_) => "ring: compute",
            Engine::Dma(_) => "ring: sdma",
        };
        let process = format!("process: hang-report (task {pid} of process {pid})\n");
        let firmware = ["chip: ", "firmware mec: 0x"];
        dump.has(&["kernel: ", "module: amdgpu_rs\n", firmware[0], firmware[1]])?;
        dump.has(&[ring, "job: ", &process, "command: hang-report"])
    }

    fn shows(&self, dump: &Dump, va: u64) -> Outcome {
        let walk = format!("walk: {va:#x}: directory 0x");
        match self.place {
            Place::System => dump.has(&[&walk, "PTE 0x", " (system 0x"])?,
            Place::Vram => dump.has(&[&walk, "PTE 0x", " (VRAM 0x"])?,
            Place::Nowhere => dump.has(&["fault: read of ", &walk, "not mapped"])?,
        };
        let status =
            if self.engine.is_dma() { "SDMA_STATUS_REG: 0x" } else { "CP_IB1_BASE_LO: 0x" };
        dump.has(&["Registers", "GRBM_STATUS: 0x", status, "Contexts", "in use by"])?;
        dump.has(&["unfinished: ", "\n> 0x", "INDIRECT_BUFFER\n"]).or_else(|_| {
            // The engine may have read on behind the call.
            dump.has(&["unfinished: ", "INDIRECT_BUFFER", "\n> 0x"])
        })
    }

    fn commands(&self, dump: &Dump, va: u64) -> Outcome {
        let head = format!("\nIB {va:#x}, ");
        let mark = format!(" {MARK:08x}");
        match (self.place, self.engine.is_dma()) {
            (Place::Nowhere, _) => {
                dump.has(&[&head, "cannot be read: nothing is mapped there", "\nend\n"])
            }
            (_, true) => dump.has(&[&head, &mark, "WRITE\n", "\nend\n"]),
            (_, false) => dump.has(&[&head, &mark, "WRITE_DATA\n", "WAIT_REG_MEM\n", "\nend\n"]),
        }
    }
}

/// The next event of a hang has to say that nothing is to be done, and to name this process.
fn event(events: &Uevents) -> Outcome {
    let lines = events.next_with("WEDGED=", SOON).ok_or("there was none")?;
    let pid = std::process::id();
    let expected = ["WEDGED=none".into(), format!("PID={pid}"), "TASK=hang-report".into()];
    match expected.iter().all(|line| lines.contains(line)) {
        true => Ok(expected.join(" ")),
        false => Err(format!("{lines:?}, not {expected:?}")),
    }
}

/// Somebody asks for a reset while nothing hangs.
fn recovery_on_request(node: &Node) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    session.prove_alive(Engine::Gfx)?;
    let path = Path::new("/sys/kernel/debug/dri").join(&node.slot).join("amdgpu_gpu_recover");
    let start = Instant::now();
    let answer = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let took = start.elapsed().as_millis();
    if answer != "0\n" {
        return Err(format!("it answers {answer:?}"));
    }
    let request =
        uapi::Ctx { op: uapi::CTX_OP_QUERY_STATE2, ctx_id: session.ctx, ..Default::default() };
    let state: uapi::CtxState =
        session.file.call(uapi::CTX_QUERY, &request).map_err(|e| format!("a query: {e}"))?;
    if state.flags != 1 {
        return Err(format!("the context has flags {:#x}", state.flags));
    }
    Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
    Ok(format!("{took} ms"))
}

fn main() -> ExitCode {
    const LEAVE: (&str, &str) = ("leave", "1: only leaves a dump behind");
    let args = Args::parse("Hangs engines, and reads what is told of it.", &[NODE, LEAVE]);
    let start = match Start::new("hang-report", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let node = &start.node;
    let mut tally = Tally::new();
    if node.driver == Driver::Reference {
        tally.skip("dumps and events", "those of the C driver are other ones");
        return tally.close();
    }
    let events = match Uevents::listen() {
        Ok(events) => events,
        Err(e) => {
            println!("FAIL  a netlink socket: {e}");
            return ExitCode::FAILURE;
        }
    };
    let scene = Scene { node, engine: Engine::Gfx, place: Place::System };
    if args.get::<u32>(LEAVE.0).is_some_and(|n| n != 0) {
        tally.check("a dump is left behind", || {
            scene.hang(&scene.session()?, None)?;
            Dump::wait(&node.slot).map(|dump| dump.path.display().to_string())
        });
        return tally.close();
    }
    // Of a hang before: while there is one, there is no other.
    if let Some(Err(why)) = dump_of(&node.slot).map(|path| dismiss(&path)) {
        println!("an old dump: {why}");
    }
    for (engine, place) in [
        (Engine::Gfx, Place::System),
        (Engine::Compute(0), Place::Vram),
        (Engine::Gfx, Place::Nowhere),
        (Engine::Dma(0), Place::System),
    ] {
        let scene = Scene { node, engine, place };
        if let Err(why) = scene.play(&mut tally, &events) {
            tally.record(scene.title(), Err(why));
        }
    }
    tally.check("a reset on request", || recovery_on_request(node));
    tally.close()
}
