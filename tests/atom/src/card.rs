// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A card for tests: registers that keep what is written, some that change, and a log.

use std::collections::HashMap;

use crate::{
    hw::atom::{
        Bus,
        RegisterSet, //
    },
    random::mix, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read(u32, u32, u32),
    Write(u32, u32, u32),
    Delay(u32),
}

/// Accesses that are logged at most.
pub const LOGGED: usize = 50_000;

/// A card whose registers hold what the seed says until they are written.
pub struct Card {
    seed: u64,
    registers: HashMap<(u32, u32), u32>,
    reads: u32,
    pub log: Vec<Access>,
    pub pauses: u32,
}

impl Card {
    pub fn new(seed: u64) -> Self {
        Self { seed, registers: HashMap::new(), reads: 0, log: Vec::new(), pauses: 0 }
    }

    fn note(&mut self, access: Access) {
        if self.log.len() < LOGGED {
            self.log.push(access);
        }
    }

    pub fn read(&mut self, space: u32, register: u32) -> u32 {
        let noise = mix(self.seed ^ u64::from(space) << 32 ^ u64::from(register));
        let initial = if noise & 1 == 0 { (noise >> 32) as u32 } else { (noise >> 32 & 3) as u32 };
        let kept = self.registers.get(&(space, register)).copied().unwrap_or(initial);
        // Every eighth register changes by itself, so that loops end.
        self.reads += 1;
        let value = if register % 8 == 7 { kept.wrapping_add(self.reads) } else { kept };
        self.note(Access::Read(space, register, value));
        value
    }

    pub fn write(&mut self, space: u32, register: u32, value: u32) {
        self.registers.insert((space, register), value);
        self.note(Access::Write(space, register, value));
    }

    pub fn delay(&mut self, microseconds: u32) {
        self.note(Access::Delay(microseconds));
    }
}

fn number(space: RegisterSet) -> u32 {
    match space {
        RegisterSet::Mmio => 0,
        RegisterSet::Pll => 1,
        RegisterSet::Mc => 2,
    }
}

impl Bus for Card {
    fn read(&mut self, space: RegisterSet, register: u32) -> u32 {
        Card::read(self, number(space), register)
    }

    fn write(&mut self, space: RegisterSet, register: u32, value: u32) {
        Card::write(self, number(space), register, value);
    }

    fn delay(&mut self, microseconds: u32) {
        Card::delay(self, microseconds);
    }

    fn pause(&mut self) {
        self.pauses += 1;
    }
}
