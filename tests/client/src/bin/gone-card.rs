// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card that is taken out of its slot while clients work: for a guest with a card that goes at a
//! certain moment (`--fail vanish-jobs=N` and its like of the model).
//!
//! `--moment` says how it comes to that: `jobs` while jobs run; `reset` while a block is reset, and
//! `full` while the whole card is, as a job hangs; `sleep` while the system sleeps. From then on
//! nobody answers: neither registers nor configuration space.
//!
//! Every call has to end, with an error. Mappings of VRAM show a page of nobody's, and system
//! memory stays. Then the kernel is told that the card is gone, with files and mappings still held.

use std::{
    fs,
    process::ExitCode,
    str::FromStr,
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
    drm::Node,
    engine::Engine,
    given_up::{
        asks_for_rebind,
        refuses,
        shows_nobodys_page, //
    },
    hang::{
        Hang,
        submit,
        submit_hang, //
    },
    ib::Stream,
    loss::Marked,
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
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    },
    uevent::Uevents, //
};

/// Longest time that anything may take: a job's limit, and the search for a way to help it.
const LONG: Duration = Duration::from_secs(20);
const PAGES: usize = 64;
const MARK: u32 = 0x3a4c_0000;

/// Moment at which the card goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Jobs,
    Reset,
    Full,
    Sleep,
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "jobs" => Ok(Self::Jobs),
            "reset" => Ok(Self::Reset),
            "full" => Ok(Self::Full),
            "sleep" => Ok(Self::Sleep),
            _ => Err("jobs, reset, full or sleep is needed".into()),
        }
    }
}

fn open(node: &Node) -> Result<Session, String> {
    Session::open(node).map_err(|e| format!("a session: {e}"))
}

/// Runs jobs until one fails. How many ended well, and what the last one ended with.
fn work(session: &Session, engine: Engine) -> (usize, Errno) {
    let mut count = 0;
    loop {
        let answer = submit(session, 1, engine, &Stream::new())
            .and_then(|seq| session.wait(engine, seq, PATIENCE_MS));
        match answer {
            Ok(true) => count += 1,
            Ok(false) => return (count, Errno(libc::ETIMEDOUT)),
            Err(error) => return (count, error),
        }
    }
}

/// Has the system sleep, as far as the devices are concerned.
fn sleep() -> Outcome {
    const TEST: &str = "/sys/power/pm_test";
    let write = |file, text| fs::write(file, text).map_err(|e| format!("{file}: {e}"));
    write(TEST, "platform")?;
    let slept = write("/sys/power/state", "mem");
    write(TEST, "none")?;
    slept.map(|()| String::new())
}

/// Has the card go, while an engine of each kind works.
fn take_out(tally: &mut Tally, node: &Node, moment: Moment) -> Result<(), String> {
    let engines = [Engine::Gfx, Engine::Compute(1), Engine::Dma(0)];
    let guilty = open(node)?;
    let sessions: Result<Vec<Session>, String> = engines.iter().map(|_| open(node)).collect();
    let sessions = sessions?;
    for (session, engine) in sessions.iter().zip(engines) {
        session.prove_alive(engine)?;
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = sessions
            .into_iter()
            .zip(engines)
            .map(|(session, engine)| (engine, scope.spawn(move || work(&session, engine))))
            .collect();
        let hang = match moment {
            Moment::Jobs => Ok(None),
            Moment::Reset | Moment::Full => {
                submit_hang(&guilty, Engine::Gfx, Hang::Illegal).map(Some)
            }
            Moment::Sleep => {
                tally.check("the system comes back from sleep", sleep);
                Ok(None)
            }
        };
        for (engine, worker) in workers {
            tally.check(format!("{engine}: a job ends, with an error"), || match worker.join() {
                Ok((count, Errno(libc::ECANCELED))) => Ok(format!("after {count} others")),
                Ok((count, error)) => Err(format!("{error}, after {count} others")),
                Err(_) => Err("it panicked".into()),
            });
        }
        if let Some(seq) = hang.map_err(|e| format!("CS: {e}"))? {
            tally.check("the job that hangs ends, too", || {
                match guilty.wait(Engine::Gfx, seq, PATIENCE_MS) {
                    Err(Errno(libc::ETIME)) => Ok(String::new()),
                    answer => Err(format!("{answer:?}")),
                }
            });
        }
        Ok::<_, String>(())
    })?;
    tally.check("all that did not take long", || match start.elapsed() {
        took if took < LONG => Ok(format!("{} ms", took.as_millis())),
        took => Err(format!("{} ms", took.as_millis())),
    });
    Ok(())
}

/// Tells the kernel that the card is gone.
fn removed(node: &Node, session: &Session) -> Outcome {
    let file = format!("/sys/bus/pci/devices/{}/remove", node.slot);
    let start = Instant::now();
    fs::write(&file, "1").map_err(|e| format!("{file}: {e}"))?;
    let took = start.elapsed();
    match submit(session, 0, Engine::Gfx, &Stream::new()) {
        Err(Errno(libc::ENODEV)) if took < LONG => Ok(format!("in {} ms", took.as_millis())),
        answer => Err(format!("{answer:?}, in {} ms", took.as_millis())),
    }
}

fn play(tally: &mut Tally, start: &Start, moment: Moment) -> Result<(), String> {
    let Start { node, session, .. } = start;
    let events = Uevents::listen().map_err(|e| format!("a netlink socket: {e}"))?;
    let [system, vram] =
        [DOMAIN_GTT, DOMAIN_VRAM].map(|domain| Marked::new(session, domain, MARK, PAGES));
    let (system, vram) = (system?, vram?);
    take_out(tally, node, moment)?;
    tally.check("no job runs any more", || {
        for engine in Engine::ALL {
            refuses(session, engine)?;
        }
        Ok(String::new())
    });
    tally.check("user space is told", || asks_for_rebind(&events, LONG));
    tally.check("mappings of VRAM show nobody's page", || shows_nobodys_page(&system, &vram, LONG));
    tally.check("files are closed at once", || {
        let start = Instant::now();
        drop(open(node)?);
        let took = start.elapsed();
        if took < LONG { Ok(String::new()) } else { Err(format!("{} ms", took.as_millis())) }
    });
    tally.check("the kernel lets go of the card", || removed(node, session));
    // Without a driver, system memory is nobody's either.
    tally.check("mappings are still there", || {
        for map in [&system, &vram].map(|marked| &marked.buffer().map) {
            map.write(128, 9);
            if map.read(128) != 9 {
                return Err("one keeps nothing".into());
            }
        }
        Ok(String::new())
    });
    Ok(())
}

fn main() -> ExitCode {
    const MOMENT: Known = ("moment", "when the card goes: jobs, reset, full, sleep");
    let args = Args::parse("Works on a card that is taken out of its slot.", &[NODE, MOMENT]);
    let start = match Start::new("gone-card", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    let moment = args.get(MOMENT.0).unwrap_or(Moment::Jobs);
    if let Err(why) = play(&mut tally, &start, moment) {
        tally.record("a card to be taken out", Err(why));
    }
    tally.close()
}
