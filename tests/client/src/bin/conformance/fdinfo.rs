// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Engine time and memory of a file as monitors read them in `/proc/PID/fdinfo`, against known
//! loads.

use crate::case::{
    Case,
    Expect,
    Failure,
    OK,
    Outcome,
    Setup,
    differ,
    expect,
    good, //
};
use crate::rig::Rig;
use amdgpu_client::drm::{
    File,
    now_ns, //
};
use amdgpu_client::engine::Engine;
use amdgpu_client::fdinfo::Fdinfo;
use amdgpu_client::ib::Stream;
use amdgpu_client::race::{
    Latch,
    wait_at_gate, //
};
use amdgpu_client::session::Session;
use amdgpu_client::uapi::{
    CREATE_DISCARDABLE,
    DOMAIN_CPU,
    DOMAIN_GTT,
    DOMAIN_VRAM,
    VA_OP_MAP, //
};
use std::thread::sleep;
use std::time::Duration;

const SIZE: u64 = 1 << 20;

/// For how long an engine is held, in milliseconds: long against what a reading takes.
const HELD_MS: u64 = 400;

fn read(file: &File) -> Result<Fdinfo, Failure> {
    Fdinfo::of(file).map_err(Failure::Wrong)
}

fn bytes(file: &File, key: &str) -> Result<u64, Failure> {
    read(file)?.bytes(key).map_err(Failure::Wrong)
}

fn engine_ns(file: &File, engine: Engine) -> Result<u64, Failure> {
    read(file)?.engine_ns(name(engine)).map_err(Failure::Wrong)
}

/// The kernel's name for an engine of this kind.
const fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Gfx => "gfx",
        Engine::Compute(_) => "compute",
        Engine::Dma(_) => "dma",
    }
}

/// Engine time, and between which times on the clock it was read.
struct Sample {
    ns: u64,
    from: u64,
    to: u64,
}

impl Sample {
    fn of(file: &File, engine: Engine) -> Result<Self, Failure> {
        let from = now_ns();
        let ns = engine_ns(file, engine)?;
        Ok(Self { ns, from, to: now_ns() })
    }

    /// Checks that an engine that was held all the time until `later` was charged for that, within
    /// a percent.
    fn shows_held_until(&self, later: &Self) -> Outcome {
        let charged = later.ns.saturating_sub(self.ns);
        let (least, most) = (later.from - self.to, later.to - self.from);
        expect(charged >= least - least / 100 && charged <= most + most / 100, || {
            format!("held for {least} to {most} ns, charged {charged} ns")
        })
    }
}

/// Submits a job that waits at the gate.
fn hold(session: &Session, engine: Engine) -> Result<u64, Failure> {
    let mut stream = Stream::new();
    wait_at_gate(session, engine, &mut stream);
    session.submit(engine, &stream, &[]).setup("CS")
}

/// Waits until an engine is seen to be charged to the file: the job has begun.
fn wait_until_charged(file: &File, engine: Engine) -> Outcome {
    const TRIES: usize = 500;
    let before = engine_ns(file, engine)?;
    for _ in 0..TRIES {
        sleep(Duration::from_millis(2));
        if engine_ns(file, engine)? > before {
            return Ok(());
        }
    }
    expect(false, || "a job that runs is not charged".into())
}

/// A job that holds an engine is charged to its file while it runs, and no longer.
fn held(rig: &Rig<'_>, engine: Engine) -> Outcome {
    let (file, other) = (rig.file(), rig.node.open().setup("a second file")?);
    let gate = Latch::shut(&rig.session.data.map);
    let job = hold(&rig.session, engine)?;
    let judged = wait_until_charged(file, engine).and_then(|()| {
        let first = Sample::of(file, engine)?;
        sleep(Duration::from_millis(HELD_MS));
        first.shows_held_until(&Sample::of(file, engine)?)
    });
    gate.open();
    rig.finish(engine, job)?;
    judged?;
    let ended = engine_ns(file, engine)?;
    sleep(Duration::from_millis(HELD_MS / 4));
    let later = engine_ns(file, engine)?;
    expect(later == ended, || format!("charged {} ns after its end", later - ended))?;
    let stranger = engine_ns(&other, engine)?;
    expect(stranger == 0, || format!("another file is charged {stranger} ns"))
}

/// A job that waits on its ring for one of another file is not charged.
fn waiting(rig: &Rig<'_>) -> Outcome {
    const ENGINE: Engine = Engine::Gfx;
    let second = Session::open(rig.node).setup("a second session")?;
    let gate = Latch::shut(&rig.session.data.map);
    let first = hold(&rig.session, ENGINE)?;
    let behind = second.submit(ENGINE, &Stream::new(), &[]);
    sleep(Duration::from_millis(HELD_MS));
    let charged = engine_ns(&second.file, ENGINE);
    gate.open();
    rig.finish(ENGINE, first)?;
    let charged = charged?;
    let done = second.wait(ENGINE, behind?, HELD_MS * 50).setup("WAIT_CS")?;
    expect(done && charged == 0, || format!("charged {charged} ns while it waited"))
}

/// Expects that `change` adds this many bytes to each of some keys, and that nothing else of them
/// is left when the BO that it answers is closed.
fn adds(
    rig: &Rig<'_>,
    keys: &[(&str, u64)],
    change: impl FnOnce(&Rig<'_>) -> Result<u32, Failure>,
) -> Outcome {
    let file = rig.file();
    let before = read(file)?;
    let handle = change(rig)?;
    let after = read(file)?;
    file.gem_close(handle).setup("GEM_CLOSE")?;
    let closed = read(file)?;
    for (key, more) in keys {
        let of = |info: &Fdinfo| info.bytes(key).map_err(Failure::Wrong);
        let (was, is, end) = (of(&before)?, of(&after)?, of(&closed)?);
        expect(is == was + more, || format!("{key} went from {was} to {is}, not by {more}"))?;
        expect(end == was, || format!("{key} was {was} before, and {end} after all"))?;
    }
    Ok(())
}

fn create(rig: &Rig<'_>, domain: u64, flags: u64) -> Result<u32, Failure> {
    rig.file().gem_create(SIZE, domain, flags).setup("GEM_CREATE")
}

fn memory_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (region, domain) in [("vram", DOMAIN_VRAM), ("gtt", DOMAIN_GTT), ("cpu", DOMAIN_CPU)] {
        cases.push(good(format!("a BO counts in {region}"), move |rig| {
            let key = |key: &str| format!("drm-{key}-{region}");
            let keys = [
                (&*key("total"), SIZE),
                (&*key("resident"), SIZE),
                (&*key("memory"), SIZE),
                (&*key("shared"), 0),
                (&*key("purgeable"), 0),
            ];
            adds(rig, &keys, |rig| create(rig, domain, 0))
        }));
    }
    cases.extend([
        good("a BO counts as requested", |rig| {
            adds(rig, &[("amd-requested-vram", SIZE), ("amd-evicted-vram", 0)], |rig| {
                create(rig, DOMAIN_VRAM, 0)
            })
        }),
        good("a BO that may lie in VRAM or GTT is requested in VRAM", |rig| {
            let keys = [("amd-requested-vram", SIZE), ("amd-requested-gtt", 0)];
            adds(rig, &keys, |rig| create(rig, DOMAIN_VRAM | DOMAIN_GTT, 0))
        }),
        good("a BO that may be dropped is purgeable", |rig| {
            let keys = [("drm-purgeable-gtt", SIZE)];
            adds(rig, &keys, |rig| create(rig, DOMAIN_GTT, CREATE_DISCARDABLE))
        }),
        good("a BO with two handles is shared", |rig| {
            let keys = [("drm-shared-vram", SIZE), ("drm-total-vram", SIZE)];
            let other = rig.node.open().setup("a second file")?;
            adds(rig, &keys, |rig| {
                let handle = create(rig, DOMAIN_VRAM, 0)?;
                let buffer = rig.file().export(handle).setup("PRIME_HANDLE_TO_FD")?;
                other.import(&buffer).setup("PRIME_FD_TO_HANDLE")?;
                Ok(handle)
            })
        }),
        differ(
            "a BO that is not where it is wanted is evicted",
            Expect::Skip("counts only what it has moved"),
            OK,
            |rig| {
                let keys = [("amd-evicted-vram", SIZE), ("drm-resident-gtt", SIZE)];
                adds(rig, &keys, |rig| {
                    let handle = create(rig, DOMAIN_GTT, 0)?;
                    rig.file().set_placement(handle, DOMAIN_VRAM).setup("SET_PLACEMENT")?;
                    Ok(handle)
                })
            },
        ),
        differ(
            "a BO that a job uses is active",
            Expect::Skip("does not say what is active"),
            OK,
            active,
        ),
    ]);
    cases
}

fn active(rig: &Rig<'_>) -> Outcome {
    const ENGINE: Engine = Engine::Dma(0);
    const KEY: &str = "drm-active-vram";
    let session = &rig.session;
    let handle = create(rig, DOMAIN_VRAM, 0)?;
    let va = session.reserve_va(SIZE);
    session.file.gem_va(VA_OP_MAP, handle, va, 0, SIZE).setup("GEM_VA")?;
    session.file.wait_idle(handle, u64::MAX >> 1).setup("GEM_WAIT_IDLE")?;
    let idle = bytes(rig.file(), KEY)?;
    let gate = Latch::shut(&session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(session, ENGINE, &mut stream);
    let job = session.submit(ENGINE, &stream, &[handle]).setup("CS")?;
    let busy = bytes(rig.file(), KEY);
    gate.open();
    rig.finish(ENGINE, job)?;
    let (busy, after) = (busy?, bytes(rig.file(), KEY)?);
    session.file.gem_close(handle).setup("GEM_CLOSE")?;
    // Page tables are in use then, too.
    expect(busy >= idle + SIZE, || format!("{idle} bytes before, {busy} in use"))?;
    expect(after == idle, || format!("{idle} bytes before, {after} afterward"))
}

pub fn cases() -> Vec<Case> {
    let mut cases = memory_cases();
    for engine in [Engine::Gfx, Engine::Compute(1), Engine::Dma(1)] {
        cases.push(good(format!("time of {engine}"), move |rig| held(rig, engine)));
    }
    cases.extend([
        good("the file, its driver and its device", |rig| {
            let (one, two) = (read(rig.file())?, rig.node.open().setup("a second file")?);
            let two = read(&two)?;
            let of = |info: &'_ Fdinfo, key| -> Result<String, Failure> {
                info.text(key).map(str::to_owned).map_err(Failure::Wrong)
            };
            let (driver, slot) = (of(&one, "drm-driver")?, of(&one, "drm-pdev")?);
            expect(driver == "amdgpu", || format!("its driver is {driver}"))?;
            expect(slot == rig.node.slot, || format!("its device is {slot}"))?;
            let ids = (of(&one, "drm-client-id")?, of(&two, "drm-client-id")?);
            expect(ids.0 != ids.1, || format!("two files are both {}", ids.0))
        }),
        differ(
            "time of a job that waits on its ring",
            Expect::Skip("counts from when a job is on its ring"),
            OK,
            waiting,
        ),
    ]);
    cases
}
