// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random programs and launches: whatever they are, they end in a result, never in a panic.
//!
//! `SHADER_FUZZ=N` runs N programs instead of the few of every day; `SHADER_FUZZ_SEED=N` others.

mod common;
mod random;

use amdgpu_shader::{
    gfx7::{
        Words,
        decode,
        entries, //
    },
    isa::{
        Entry,
        Op, //
    },
    memory::{
        Access,
        Flat,
        Memory,
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
use random::random_words;

/// Programs of an ordinary run.
const PROGRAMS: u64 = 20_000;
/// Instructions of a program.
const LENGTH: usize = 40;
/// Where registers often lead.
const DATA: u64 = 0x20_0000;

/// Memory in which every address leads somewhere, so that programs run on.
struct Everywhere(Flat);

impl Memory for Everywhere {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        let there = if access == Access::Execute { va } else { DATA | va & 0x3000 };
        self.0.translate(there, access)
    }

    fn read(&mut self, path: Path, at: Place, to: &mut [u8]) {
        self.0.read(path, at, to);
    }

    fn write(&mut self, path: Path, at: Place, from: &[u8]) {
        self.0.write(path, at, from);
    }

    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        self.0.update(at, bytes, f)
    }

    fn clock(&mut self) -> u64 {
        self.0.clock()
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// An instruction that decodes, mostly; the rest is anything.
fn instruction(all: &[&'static Entry], rng: &mut Rng, program: &mut Vec<u32>) {
    if rng.below(40) == 0 {
        program.push(rng.word());
        return;
    }
    for _ in 0..50 {
        let entry = all[rng.below(all.len())];
        let mut words = random_words(entry, rng);
        // Low registers, so that there is something in them.
        if rng.below(2) == 0 {
            words.second &= 0x3f3f_3f3f;
        }
        if decode(words).is_ok() {
            program.push(words.first);
            if Words::size(words.first) == 2 {
                program.push(words.second);
            }
            return;
        }
    }
}

fn launch(rng: &mut Rng) -> Setup {
    let user: Vec<u32> = (0..16)
        .map(|n| match (n % 4, rng.below(4)) {
            (0, _) => DATA as u32 + rng.below(0x1000) as u32,
            (1, 0) => rng.word(),
            (1, _) => [0, 0x0004_0000, 0x8010_0000][rng.below(3)],
            (2, _) => rng.below(0x2000) as u32,
            (_, 0) => rng.word(),
            _ => 0x0002_7fac,
        })
        .collect();
    let mut setup = Setup::new(1 + rng.below(200) as u32, 1 + rng.below(3) as u32, &user);
    setup.resource((rng.below(20) as u32) << 15 | (rng.below(3) as u32) << 11);
    setup.set(0xb848, 63 | 15 << 6 | (rng.word() & 0xff) << 12 | (rng.word() & 5) << 21);
    setup.config.seed = rng.long();
    setup.config.waits = rng.below(8) == 0;
    setup.config.unaligned = rng.below(2) == 0;
    for mode in &mut setup.config.tiling.tile {
        *mode = rng.word();
    }
    for mode in &mut setup.config.tiling.macrotile {
        *mode = rng.word() & 0xff;
    }
    setup.config.tiling.row = 1024 << rng.below(3);
    setup
}

#[test]
fn random_programs_do_not_panic() {
    let mut rng = Rng::new(variable("SHADER_FUZZ_SEED", 1));
    let all: Vec<&Entry> = entries().into_iter().filter(|e| e.op != Op::Absent).collect();
    let (mut instructions, mut ended) = (0, 0);
    let programs = variable("SHADER_FUZZ", PROGRAMS);
    for _ in 0..programs {
        let mut program = vec![];
        while program.len() < LENGTH {
            instruction(&all, &mut rng, &mut program);
        }
        program.push(0xbf81_0000);
        let mut memory = Flat::default();
        memory.put_words(PROGRAM, &program);
        memory.map(DATA, 0x4000);
        let setup = launch(&mut rng);
        let Ok(Some(mut dispatch)) = setup.dispatch() else { continue };
        let mut memory = Everywhere(memory);
        ended += u64::from(dispatch.run(&mut memory, 2000).is_ok());
        instructions += dispatch.count.instructions;
    }
    eprintln!("{programs} programs, {ended} without an error, {instructions} instructions");
    assert!(instructions > programs, "hardly anything was executed");
}

#[test]
fn random_registers_do_not_panic() {
    let mut rng = Rng::new(2);
    for _ in 0..200_000 {
        let mut setup = Setup::new(64, 1, &[]);
        for _ in 0..1 + rng.below(8) {
            let n = rng.below(setup.window.len());
            setup.window[n] = rng.word() >> rng.below(32);
        }
        setup.dims = std::array::from_fn(|_| rng.word() >> rng.below(32));
        setup.initiator = if rng.below(2) == 0 { rng.word() } else { 0x45 };
        let mut memory = Flat::default();
        if let Ok(Some(mut dispatch)) = setup.dispatch() {
            let _ = dispatch.run(&mut memory, 10);
        }
    }
}

#[test]
fn random_words_do_not_panic() {
    let mut rng = Rng::new(3);
    for _ in 0..5_000_000 {
        let first = rng.word();
        let second = if Words::size(first) == 2 { rng.word() } else { 0 };
        if let Ok(inst) = decode(Words { first, second }) {
            assert!(!amdgpu_shader::gfx7::text(&inst).is_empty());
        }
    }
}
