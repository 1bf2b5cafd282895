// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Tests of the driver's interpreter of ATOM BIOS tables.
//!
//! `beside_c` runs random programs on it and on the C driver's own, and compares each access to the
//! card. `hostile` gives it what no card has. `limits` tries its bounds one by one.
#![cfg(test)]

mod beside_c;
mod card;
mod generate;
mod hostile;
mod limits;
mod oracle;
mod random;

/// The driver's own files.
#[rustfmt::skip]
#[path = "../../../hw"]
mod hw {
    pub(crate) mod atom;
}

use hw::atom::{
    Budget,
    Bus,
    Fault,
    Machine,
    Memory,
    SCRATCH,
    WORKSPACE, //
};

/// Memory for a machine.
struct Room {
    workspace: Vec<u32>,
    scratch: Vec<u32>,
}

impl Room {
    fn new() -> Self {
        Self { workspace: vec![0; WORKSPACE], scratch: vec![0; SCRATCH] }
    }

    fn memory(&mut self) -> Memory<'_> {
        self.scratch.fill(0);
        Memory { workspace: &mut self.workspace, scratch: &mut self.scratch }
    }
}

/// Clocks that ASIC_Init gets, in the images of these tests.
const CLOCKS: [u32; 2] = [70_000, 150_000];

/// Runs ASIC_Init of an image. Returns its result and the steps that it took.
fn asic_init(
    image: &[u8],
    bus: &mut dyn Bus,
    room: &mut Room,
    budget: Budget,
) -> (Result<(), Fault>, u32) {
    match Machine::new(image, bus, room.memory(), budget) {
        Ok(mut machine) => {
            let result = machine.run(Machine::ASIC_INIT, &CLOCKS);
            (result, budget.steps - machine.budget().steps)
        }
        Err(fault) => (Err(fault), 0),
    }
}
