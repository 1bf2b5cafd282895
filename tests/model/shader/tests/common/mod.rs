// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Common parts of the tests: registers of a launch, and programs that run to their end.
#![allow(dead_code, reason = "each test uses a part")]

use amdgpu_shader::{
    context::Config,
    dispatch::{
        Count,
        Dispatch,
        Progress, //
    },
    launch::{
        Launch,
        POWER_ON,
        WINDOW_SIZE,
        initiator, //
    },
    memory::Memory,
    stop::Stop, //
};

/// Address at which the tests put programs.
pub const PROGRAM: u64 = 0x10_0000;

/// Registers of a launch.
#[derive(Clone)]
pub struct Setup {
    pub window: [u32; WINDOW_SIZE as usize],
    pub dims: [u32; 3],
    pub initiator: u32,
    pub config: Config,
}

impl Setup {
    /// Groups of `threads` threads in one direction, `groups` of them: 64 vector registers, 104
    /// scalar ones, nearest rounding, denormals of doubles only.
    pub fn new(threads: u32, groups: u32, user: &[u32]) -> Self {
        let mut setup = Setup {
            window: POWER_ON,
            dims: [groups, 1, 1],
            initiator: initiator::SHADER_ENABLE | initiator::START_AT_ZERO,
            config: Config::default(),
        };
        setup.set(0xb81c, threads).set(0xb820, 1).set(0xb824, 1);
        setup.set(0xb830, (PROGRAM >> 8) as u32).set(0xb834, 0);
        setup.set(0xb848, 15 | 12 << 6 | 0xc0 << 12 | 1 << 21);
        setup.set(0xb84c, (user.len() as u32) << 1 | 1 << 7);
        for (n, value) in user.iter().enumerate() {
            setup.set(0xb900 + 4 * n as u32, *value);
        }
        setup
    }

    pub fn set(&mut self, byte: u32, value: u32) -> &mut Self {
        self.window[((byte - 0xb800) / 4) as usize] = value;
        self
    }

    pub fn get(&self, byte: u32) -> u32 {
        self.window[((byte - 0xb800) / 4) as usize]
    }

    /// Bits of COMPUTE_PGM_RSRC2 more.
    pub fn resource(&mut self, bits: u32) -> &mut Self {
        self.set(0xb84c, self.get(0xb84c) | bits)
    }

    pub fn dispatch(&self) -> Result<Option<Dispatch>, Stop> {
        let launch = Launch::new(&self.window, self.dims, self.initiator)?;
        Ok(launch.map(|launch| Dispatch::new(launch, self.config.clone())))
    }

    /// Runs to the end, in small slices.
    pub fn run(&self, memory: &mut impl Memory) -> Result<Count, Stop> {
        let Some(mut dispatch) = self.dispatch()? else { return Ok(Count::default()) };
        for _ in 0..100_000 {
            if dispatch.run(memory, 1000)? == Progress::Done {
                return Ok(dispatch.count);
            }
        }
        panic!("no end after {} instructions", dispatch.count.instructions);
    }
}
