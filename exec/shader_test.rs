// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Test of the shaders, for a card that nobody has run before: each ring that takes shaders runs a
//! small one, and then each compute unit runs it alone.
//!
//! The C driver has no such test.
//!
//! Run at probe only. The shader runs in the kernel's own context (VMID 0), and reaches nothing but
//! a page of system memory.

use core::mem::replace;

use kernel::{
    device::{
        self,
        Bound, //
    },
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    prelude::*,
    sizes::SZ_4K, //
};

use crate::{
    debug::report::Report,
    device::Device,
    exec::{
        gart::KernelBuffer,
        ring::Ring, //
    },
    hw::{
        command::{
            Commands,
            EngineKind,
            Ib,
            Sink, //
        },
        ShaderTest,
        MAX_SHADER_ENGINES, //
    },
};

/// Places in the memory of the test, in bytes: the shader, the commands that dispatch it, and a
/// dword for each thread.
const CODE: usize = 0;
const COMMANDS: usize = 256;
const RESULT: usize = SZ_4K;

const _: () = assert!(u32_as_usize(ShaderTest::THREADS) * size_of::<u32>() <= SZ_4K);

/// Has each ring that takes shaders run one, and then each compute unit. Reports how many threads
/// have written something wrong or nothing, and which units have computed all of it right.
///
/// A ring that does not finish is left out: it gets no jobs.
pub(crate) fn run(device: &Device, dev: &device::Device<Bound>, report: &Report) -> Result {
    let mut bench = Bench::new(device, dev)?;
    for ring in device.rings().filter(|ring| takes_shaders(ring)) {
        let name = ring.kind.name();
        match bench.run(ring, [!0; MAX_SHADER_ENGINES])? {
            Some(wrong) => report.say(
                fmt!("shader.{name}"),
                fmt!("{wrong} wrong of {}", ShaderTest::THREADS),
            ),
            None => report.say(fmt!("shader.{name}"), fmt!("does not finish")),
        }
    }
    let Some(sound) = bench.sound_units()? else {
        return Ok(());
    };
    report.say(fmt!("shader.units"), fmt!("{sound:x?}"));
    let units = device.facts.graphics.units;
    if sound != units {
        dev_err!(
            device.dev,
            "not all compute units compute: {sound:x?} of {units:x?}\n"
        );
    }
    Ok(())
}

fn takes_shaders(ring: &Ring) -> bool {
    ring.kind.engine() != EngineKind::Sdma && !ring.is_left_out()
}

/// The memory of the test.
struct Bench<'a> {
    device: &'a Device,
    dev: &'a device::Device<Bound>,
    memory: KernelBuffer,
    runs: u32,
}

impl<'a> Bench<'a> {
    fn new(device: &'a Device, dev: &'a device::Device<Bound>) -> Result<Self> {
        let memory = Self::allocate(device, dev)?;
        Ok(Self {
            device,
            dev,
            memory,
            runs: 0,
        })
    }

    /// Returns memory with the shader in it.
    fn allocate(device: &Device, dev: &device::Device<Bound>) -> Result<KernelBuffer> {
        let memory = KernelBuffer::new(dev, &device.gart, RESULT + SZ_4K)?;
        let mut code = Words::at(&memory, CODE);
        code.put(device.hw.graphics.test_shader());
        Ok(memory)
    }

    /// Returns masks of the compute units that compute right when they are the only ones that may,
    /// on the first ring that runs shaders, or `None` if no ring does.
    fn sound_units(&mut self) -> Result<Option<[u32; MAX_SHADER_ENGINES]>> {
        let device = self.device;
        let mut sound = [0; MAX_SHADER_ENGINES];
        for (engine, units) in device.facts.graphics.units.iter().enumerate() {
            for unit in (0..u32::BITS)
                .map(|n| 1 << n)
                .filter(|unit| units & unit != 0)
            {
                let mut rings = device.rings();
                let Some(ring) = rings.find(|ring| takes_shaders(ring)) else {
                    return Ok(None);
                };
                let mut alone = [0; MAX_SHADER_ENGINES];
                alone[engine] = unit;
                if self.run(ring, alone)? == Some(0) {
                    sound[engine] |= unit;
                }
            }
        }
        Ok(Some(sound))
    }

    /// Runs the shader on some compute units. Returns the number of threads that have written
    /// something wrong or nothing, or `None` if the ring did not finish, which is left out then.
    fn run(&mut self, ring: &Ring, units: [u32; MAX_SHADER_ENGINES]) -> Result<Option<u32>> {
        self.runs += 1;
        let start = self.memory.gpu_addr();
        let test = ShaderTest {
            code: start + usize_as_u64(CODE),
            result: start + usize_as_u64(RESULT),
            // What an earlier run has written is wrong.
            key: self.runs.wrapping_mul(0x9e37_79b9),
            units,
        };
        let ib = [self.commands(ring, &test)];
        if let Err(error) = ring.execute(Commands::Ibs(&ib)) {
            let name = ring.kind.name();
            dev_err!(
                self.device.dev,
                "ring {name} does not run shaders ({error:?}): it is left out\n"
            );
            ring.leave_out();
            // The engine may still reach the memory.
            let unreached = Self::allocate(self.device, self.dev)?;
            self.device.abandon(replace(&mut self.memory, unreached));
            return Ok(None);
        }
        let is_wrong = |thread: &u32| {
            let index = RESULT / size_of::<u32>() + u32_as_usize(*thread);
            self.memory.read(index) != Some(test.expected(*thread))
        };
        let wrong = (0..ShaderTest::THREADS).filter(is_wrong).count();
        Ok(Some(u32::try_from(wrong)?))
    }

    /// Writes the commands of a run, and returns them as an IB.
    fn commands(&self, ring: &Ring, test: &ShaderTest) -> Ib {
        let facts = self.device.hw.engine(ring.kind.engine());
        let alignment = facts.ib_size_alignment / 4;
        let mut out = Words::at(&self.memory, COMMANDS);
        self.device.hw.graphics.emit_test(&mut out, test);
        let padding = out.put.next_multiple_of(alignment) - out.put;
        facts.driver.nops(&mut out, padding);
        Ib {
            va: self.memory.gpu_addr() + usize_as_u64(COMMANDS),
            dwords: out.put,
        }
    }
}

/// A place in memory to which dwords are written, one behind the other.
struct Words<'a> {
    memory: &'a KernelBuffer,
    /// Index of the first dword.
    start: usize,
    /// Number of dwords so far.
    put: u32,
}

impl<'a> Words<'a> {
    /// Begins at a byte of `memory`.
    fn at(memory: &'a KernelBuffer, byte: usize) -> Self {
        Self {
            memory,
            start: byte / size_of::<u32>(),
            put: 0,
        }
    }
}

impl Sink for Words<'_> {
    fn put(&mut self, dwords: &[u32]) {
        for dword in dwords {
            let index = self.start + u32_as_usize(self.put);
            self.memory.write(index, *dword);
            self.put += 1;
        }
    }

    fn position(&self) -> u64 {
        self.put.into()
    }
}
