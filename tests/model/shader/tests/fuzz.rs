// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random programs in dispatches and in draws, behind the caches: whatever they are, they end in a
//! result, never in a panic, and soon.
//!
//! Operands are such that most programs go on for long: registers that are there, descriptors that
//! mean something, branches that stay inside. `SHADER_FUZZ_SECS=N` goes on for so long,
//! `SHADER_FUZZ=N` for so many cases, `SHADER_FUZZ_SEED=N` begins with another one; a case that
//! panics says which it was.

mod common;
#[allow(dead_code, reason = "no pixel is compared here")]
#[path = "common/first_draw.rs"]
mod first_draw;
#[path = "common/tame.rs"]
mod tame;

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    panic::{
        AssertUnwindSafe,
        catch_unwind, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_shader::{
    cache::Caches,
    context::Config,
    dispatch::Progress,
    draw::{
        Call,
        Draw,
        Indices,
        Registers, //
    },
    memory::{
        Access,
        Flat,
        Memory,
        PAGE,
        Path,
        Place, //
    },
    rng::Rng,
    stop::Stop, //
};
use common::{
    PROGRAM,
    Setup, //
};
use tame::Writer;

/// Cases of an ordinary run.
const DISPATCHES: u64 = 3000;
const DRAWS: u64 = 1500;
/// Instructions of a program.
const LENGTH: usize = 40;
/// Target of all addresses, and the number of bytes there.
const DATA: u64 = 0x20_0000;
const SIZE: u64 = 0x8000;
/// No case takes longer than this.
const SOON: Duration = Duration::from_secs(60);

/// Memory in which nearly every address leads somewhere, so that programs go on.
struct Everywhere {
    flat: Flat,
    rng: Rng,
}

impl Memory for Everywhere {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        if access == Access::Execute {
            return self.flat.translate(va, access);
        }
        match self.rng.below(3000) {
            0 => Err(Stop::memory(format!("{access:?} at {va:#x}: not mapped"))),
            1..30 => Ok(Place(Place::NOWHERE | va & 0xffff_f000)),
            _ => Ok(Place(DATA + va % SIZE / PAGE * PAGE)),
        }
    }

    fn read(&mut self, path: Path, at: Place, to: &mut [u8]) {
        self.flat.read(path, at, to);
    }

    fn write(&mut self, path: Path, at: Place, from: &[u8]) {
        self.flat.write(path, at, from);
    }

    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        self.flat.update(at, bytes, f)
    }

    fn clock(&mut self) -> u64 {
        self.flat.clock()
    }
}

/// Outcomes of cases.
#[derive(Default)]
struct Ends {
    cases: u64,
    instructions: u64,
    /// Mnemonics of programs that came to their end.
    ended: BTreeSet<&'static str>,
    /// First words of what stopped the others.
    stops: BTreeMap<String, u64>,
    slowest: Duration,
}

impl Ends {
    fn note(&mut self, outcome: Result<bool, Stop>, names: &BTreeSet<&'static str>) {
        match outcome {
            Ok(true) => self.ended.extend(names),
            Ok(false) => *self.stops.entry("no end".into()).or_default() += 1,
            Err(stop) => {
                // The reason without its numbers; the instruction stands before it.
                let why = stop.what.rsplit(": ").next().unwrap_or("");
                let short: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
                let key = format!("{:?}: {short:.50}", stop.cause);
                *self.stops.entry(key).or_default() += 1;
            }
        }
    }
}

/// Runs cases, each from its own seed.
fn fuzz(what: &str, cases: u64, case: impl Fn(&mut Rng, &mut Ends)) -> Ends {
    let variable = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let first = variable("SHADER_FUZZ_SEED").unwrap_or(1);
    let time = variable("SHADER_FUZZ_SECS").map(Duration::from_secs);
    let cases = variable("SHADER_FUZZ").unwrap_or(cases);
    let (begin, mut ends) = (Instant::now(), Ends::default());
    while time.map_or(ends.cases < cases, |time| begin.elapsed() < time) {
        let seed = first.wrapping_add(ends.cases);
        let start = Instant::now();
        let run = AssertUnwindSafe(|| case(&mut Rng::new(seed), &mut ends));
        assert!(catch_unwind(run).is_ok(), "{what}: SHADER_FUZZ=1 SHADER_FUZZ_SEED={seed}");
        let took = start.elapsed();
        assert!(took < SOON, "{what}: SHADER_FUZZ=1 SHADER_FUZZ_SEED={seed} takes {took:?}");
        ends.slowest = ends.slowest.max(took);
        ends.cases += 1;
    }
    let mut stops: Vec<_> = ends.stops.iter().map(|(why, n)| (n, why)).collect();
    stops.sort_by(|a, b| b.cmp(a));
    stops.truncate(16);
    eprintln!(
        "{what}: {} cases from {first} in {:?}, {} instructions, the slowest {:?}; {} opcodes in \
         programs that ended; stopped by {stops:?}",
        ends.cases,
        begin.elapsed(),
        ends.instructions,
        ends.slowest,
        ends.ended.len()
    );
    ends
}

/// Memory with a program's words and random data.
fn everywhere(rng: &mut Rng, programs: &[(u64, &[u32])]) -> Everywhere {
    let mut flat = Flat::default();
    for (at, words) in programs {
        flat.put_words(*at, words);
    }
    let data: Vec<u32> = (0..SIZE / 4).map(|_| tame::value(rng)).collect();
    flat.put_words(DATA, &data);
    Everywhere { flat, rng: Rng::new(rng.long()) }
}

fn config(rng: &mut Rng) -> Config {
    Config {
        seed: rng.long(),
        noise: rng.below(8) != 0,
        waits: rng.below(16) == 0,
        unaligned: rng.below(2) == 0,
        apertures: [[0; 2], [0x1000, 0x2000]][rng.below(2)],
        borders: DATA,
        units: Config::default().units,
        tiling: tame::tiling(rng),
    }
}

/// Does the work of other packets between two slices.
fn between(rng: &mut Rng, caches: &mut Caches, memory: &mut Everywhere) {
    match rng.below(6) {
        0 => caches.act(rng.word(), memory),
        1 => caches.age(rng, memory),
        2 => caches.release(Place(DATA + rng.below(8) as u64 * PAGE), memory),
        _ => {}
    }
}

fn dispatch(rng: &mut Rng, ends: &mut Ends) {
    let mut writer = Writer::default();
    while writer.words.len() < LENGTH {
        writer.instruction(rng);
    }
    writer.words.push(0xbf81_0000);
    let mut setup = Setup::new(1 + rng.below(200) as u32, 1 + rng.below(6) as u32, &[]);
    for (n, value) in (0..).zip(tame::user(rng, DATA)) {
        setup.set(0xb900 + 4 * n, value);
    }
    let shared = (rng.below(20) as u32) << 15;
    setup.set(0xb84c, 16 << 1 | 1 << 7 | shared | (rng.below(3) as u32) << 11);
    // Registers 64 and 104; rounding, denormals, DX10_CLAMP and IEEE as they come.
    setup.set(0xb848, 15 | 12 << 6 | (rng.word() & 0xff) << 12 | (rng.word() & 5) << 21);
    if rng.below(4) == 0 {
        setup.resource(1).set(0xb860, 64 | 4 << 12);
    }
    setup.config = config(rng);
    let mut memory = everywhere(rng, &[(PROGRAM, &writer.words)]);
    let Ok(Some(mut dispatch)) = setup.dispatch() else { return };
    let mut caches = Caches::default();
    let mut outcome = Ok(false);
    for _ in 0..40 {
        let slice = 1 + rng.below(400) as u64;
        match dispatch.run(&mut caches.over(&mut memory), slice) {
            Ok(Progress::More) => between(rng, &mut caches, &mut memory),
            Ok(Progress::Done) => outcome = Ok(true),
            Err(stop) => outcome = Err(stop),
        }
        if outcome != Ok(false) {
            break;
        }
    }
    ends.instructions += dispatch.count.instructions;
    ends.note(outcome, &writer.names);
}

#[test]
fn programs_of_dispatches() {
    let ends = fuzz("dispatches", DISPATCHES, dispatch);
    if ends.cases >= DISPATCHES {
        assert!(ends.instructions > 150 * ends.cases, "programs stop too soon");
        assert!(ends.ended.len() > 700, "{} opcodes ran", ends.ended.len());
    }
}

/// A program between what it begins and ends with.
fn around(rng: &mut Rng, head: &[u32], tail: &[u32], most: usize) -> Writer {
    let mut writer = Writer { graphics: true, ..Writer::default() };
    writer.words.extend(head);
    let length = writer.words.len() + rng.below(most);
    while writer.words.len() < length {
        writer.instruction(rng);
    }
    writer.words.extend(tail);
    writer
}

fn draw(rng: &mut Rng, ends: &mut Ends) {
    const VERTEX: u64 = 0x10_0000;
    const PIXEL: u64 = 0x10_1000;
    // Behind the loads; before the exports. The pixels' M0 comes from behind sixteen user scalars.
    let vertex = around(rng, &first_draw::VERTEX[..3], &first_draw::VERTEX[3..], 12);
    let mut pixels = first_draw::PIXEL.to_vec();
    pixels[0] = 0xbefc_0310; // s_mov_b32 m0, s16
    let pixel = around(rng, &pixels[..5], &pixels[5..], 20);
    let primitive = [4, 5, 6, 17, 19][rng.below(5)];
    let mut r =
        Registers { context: Box::new([0; 0x400]), shader: Box::new([0; 0x200]), primitive };
    for (index, value) in first_draw::settings(VERTEX, PIXEL, DATA, DATA) {
        match index {
            0xa000.. => r.context[index as usize - 0xa000] = value,
            _ => r.shader[index as usize - 0x2c00] = value,
        }
    }
    // 64 vector and 104 scalar registers, 16 user scalars.
    for at in [0x4a, 0x0a] {
        r.shader[at] = 15 | 12 << 6 | (rng.word() & 0xff) << 12 | (rng.word() & 5) << 21;
        r.shader[at + 1] = 16 << 1;
    }
    for (n, value) in tame::user(rng, DATA).into_iter().enumerate() {
        r.shader[0x0c + n] = value;
        if n >= 4 {
            r.shader[0x4c + n] = value;
        }
    }
    tame::targets(rng, &mut r, DATA);
    let mut memory = everywhere(rng, &[(VERTEX, &vertex.words), (PIXEL, &pixel.words)]);
    let corners: Vec<u32> = (0..64 * 4).map(|_| tame::corner(rng)).collect();
    memory.flat.put_words(DATA, &corners);
    let indices = match rng.below(3) {
        0 => Indices::Automatic,
        1 => Indices::Short { base: DATA, most: rng.below(40) as u32 },
        _ => Indices::Long { base: DATA, most: rng.below(40) as u32 },
    };
    let count = rng.below(30) as u32;
    let call = Call { count, instances: rng.below(3) as u32, indices };
    let config = config(rng);
    let mut draw = match Draw::new(r, call, config) {
        Ok(draw) => draw,
        Err(stop) => return ends.note(Err(stop), &vertex.names),
    };
    let mut caches = Caches::default();
    let mut outcome = Ok(false);
    for _ in 0..60 {
        let slice = 1 + rng.below(2000) as u64;
        match draw.run(&mut caches.over(&mut memory), slice) {
            Ok(Progress::More) => between(rng, &mut caches, &mut memory),
            Ok(Progress::Done) => outcome = Ok(true),
            Err(stop) => outcome = Err(stop),
        }
        if outcome != Ok(false) {
            break;
        }
    }
    ends.instructions += draw.count.instructions;
    let mut names = vertex.names;
    if draw.count.pixels > 0 {
        names.extend(pixel.names);
    }
    ends.note(outcome, &names);
}

#[test]
fn programs_of_draws() {
    let ends = fuzz("draws", DRAWS, draw);
    if ends.cases >= DRAWS {
        assert!(ends.instructions > 80 * ends.cases, "programs stop too soon");
        assert!(ends.ended.len() > 500, "{} opcodes ran", ends.ended.len());
    }
}
