// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Images that no card has: a hundred million steps of them end well or in a fault, within their
//! budgets, and never in a panic.

use std::collections::BTreeMap;

use crate::{
    asic_init,
    generate::{
        self,
        SIZE, //
    },
    hw::atom::{
        Budget,
        Bus,
        Cause,
        Fault,
        RegisterSet, //
    },
    random::{
        mix,
        Random, //
    },
    Room, //
};

const STEPS: u64 = 100_000_000;
const BUDGET: Budget = Budget { steps: 20_000, wait: 1_000_000 };

/// A card that answers with noise, and counts what it is to wait.
struct Noise {
    count: u64,
    waited: u32,
}

impl Bus for Noise {
    fn read(&mut self, _: RegisterSet, register: u32) -> u32 {
        self.count += 1;
        mix(self.count ^ u64::from(register) << 32) as u32
    }

    fn write(&mut self, _: RegisterSet, _: u32, _: u32) {}

    fn delay(&mut self, microseconds: u32) {
        self.waited += microseconds;
    }
}

/// Changes an image anywhere: its code, its headers, its pointers.
fn spoil(random: &mut Random, image: &mut Vec<u8>) {
    for _ in 0..=random.below(12) {
        let (at, end) = match random.below(16) {
            0 => (random.below(SIZE), 256),
            // Pointers to tables.
            1 => (0x200 + random.below(0x200), 256),
            // Programs for indirect access.
            2 => (0x404 + random.below(0x100), 10),
            n => (0x2000 + random.below(0x4800), if n % 2 == 0 { 127 } else { 256 }),
        };
        let byte = random.below(end) as u8;
        if let Some(place) = image.get_mut(at) {
            *place = byte;
        }
    }
    if random.one_in(64) {
        image.truncate(random.below(SIZE));
    }
}

/// Noise with as much of an image as it takes for a program to begin.
fn noise(random: &mut Random) -> Vec<u8> {
    let mut image: Vec<u8> = (0..SIZE).map(|_| random.byte() % 128).collect();
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x48, &[0x00, 0x02]);
    put(0x204, b"ATOM");
    put(0x21e, &[0x40, 0x02, 0x00, 0x03]);
    put(0x244, &[0x00, 0x20]);
    image
}

#[test]
fn nothing_panics_in_a_hundred_million_steps() {
    let mut random = Random::new(13);
    let mut room = Room::new();
    let (mut steps, mut runs) = (0, 0);
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    while steps < STEPS {
        let mut image = match random.below(4) {
            0 => noise(&mut random),
            _ => generate::image(&mut random, true).bytes,
        };
        for _ in 0..40 {
            spoil(&mut random, &mut image);
            let mut card = Noise { count: random.next(), waited: 0 };
            let (result, used) = asic_init(&image, &mut card, &mut room, BUDGET);
            assert!(used <= BUDGET.steps && card.waited <= BUDGET.wait);
            steps += u64::from(used);
            runs += 1;
            let end = match result {
                Ok(()) => "well".into(),
                Err(Fault { what, .. }) => kind(what),
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!("{steps} steps of {runs} images: {ends:?}");
    for end in ["well", "NoTable", "OutOfImage", "Opcode", "Case", "Indirect", "Nesting", "Steps"] {
        assert!(ends.contains_key(end), "no image ended by `{end}`");
    }
}

/// The name of a cause, without its value.
fn kind(what: Cause) -> String {
    let name = format!("{what:?}");
    name.split('(').next().unwrap_or_default().to_string()
}
