// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The registers of a launch (COMPUTE_*, dwords 0x2e00 to 0x2e7f; fields as in Mesa's `gfx7.json`
//! from 0xB800), and how a wave starts (ISA manual, "Wavefront initialization").

use crate::{
    mode::Mode,
    program::Allocation,
    stop::Stop,
    units::{
        ENGINES,
        WAVES, //
    },
    wave::LANES, //
};

/// First dword of the window.
pub const WINDOW: u32 = 0x2e00;
/// Dwords of the window.
pub const WINDOW_SIZE: u32 = 0x80;

/// Byte addresses of COMPUTE_STATIC_THREAD_MGMT_SE0 to 3.
pub const THREAD_MANAGEMENT: [u32; ENGINES] = [0xb858, 0xb85c, 0xb864, 0xb868];
/// The window at power-up: dispatches may use all compute units.
pub const POWER_ON: [u32; WINDOW_SIZE as usize] = {
    let mut registers = [0; WINDOW_SIZE as usize];
    let mut n = 0;
    while n < ENGINES {
        registers[((THREAD_MANAGEMENT[n] - 0xb800) / 4) as usize] = !0;
        n += 1;
    }
    registers
};

/// Bits of COMPUTE_DISPATCH_INITIATOR.
pub mod initiator {
    #![allow(missing_docs, reason = "the names say it")]
    pub const SHADER_ENABLE: u32 = 1;
    pub const PARTIAL_GROUPS: u32 = 1 << 1;
    pub const START_AT_ZERO: u32 = 1 << 2;
    pub const ORDERED_APPEND: u32 = 3 << 3;
    pub const THREAD_DIMENSIONS: u32 = 1 << 5;
    /// With ORDER_MODE and the invalidations of the caches' volatile lines, which a wave does not
    /// see.
    pub const KNOWN: u32 =
        SHADER_ENABLE | PARTIAL_GROUPS | START_AT_ZERO | THREAD_DIMENSIONS | 1 << 6 | 3 << 10;
}

/// Vector registers of a SIMD, and SIMDs of a compute unit.
const SIMD_REGISTERS: u32 = 256;
const SIMDS: u32 = 4;
/// Local data share of a group, in bytes.
const LDS_MOST: u32 = 64 << 10;

/// A launch, from the registers of its queue.
#[derive(Clone, Debug)]
pub struct Launch {
    /// First group.
    pub start: [u32; 3],
    /// One past the last group.
    pub end: [u32; 3],
    /// Threads of a group.
    pub threads: [u32; 3],
    /// Threads of the last group in each direction.
    pub last_threads: [u32; 3],
    /// Address of the program.
    pub program: u64,
    /// Registers of a wave.
    pub allocation: Allocation,
    /// Mode register at the start.
    pub mode: Mode,
    /// Bytes of the local data share.
    pub lds: u32,
    /// Bytes of scratch of a wave, and how many waves have some.
    pub scratch: (u32, u32),
    /// Compute units that groups may go to, by shader engine (see [`crate::units`]).
    pub units: [u32; ENGINES],
    /// COMPUTE_RESOURCE_LIMITS.
    pub limits: u32,
    rsrc2: u32,
    user: [u32; 16],
}

impl Launch {
    /// From the dwords of the window, and the packet's dimensions and initiator. `None` if the
    /// initiator launches nothing.
    pub fn new(
        registers: &[u32; WINDOW_SIZE as usize],
        dims: [u32; 3],
        bits: u32,
    ) -> Result<Option<Launch>, Stop> {
        if bits & initiator::SHADER_ENABLE == 0 {
            return Ok(None);
        }
        if bits & !initiator::KNOWN != 0 {
            let unknown = bits & !initiator::KNOWN;
            return Err(Stop::illegal(format!(
                "dispatch initiator {bits:#x}: bits {unknown:#x} are not implemented"
            )));
        }
        let r = |byte: u32| registers[((byte - 0xb800) / 4) as usize];
        let three = |byte: u32| [r(byte), r(byte + 4), r(byte + 8)];
        let (rsrc1, rsrc2) = (r(0xb848), r(0xb84c));
        check_resources(rsrc1, rsrc2)?;
        let threads = three(0xb81c).map(|n| n & 0xffff);
        let partial = three(0xb81c).map(|n| n >> 16);
        let start = if bits & initiator::START_AT_ZERO != 0 { [0; 3] } else { three(0xb810) };
        if threads.contains(&0) {
            return Err(Stop::illegal(format!("a group of {threads:?} threads")));
        }
        let in_threads = bits & initiator::THREAD_DIMENSIONS != 0;
        let end =
            if in_threads { std::array::from_fn(|n| dims[n].div_ceil(threads[n])) } else { dims };
        let last_threads = std::array::from_fn(|n| match bits & initiator::PARTIAL_GROUPS {
            0 if in_threads && dims[n] % threads[n] != 0 => dims[n] % threads[n],
            0 => threads[n],
            _ => partial[n],
        });
        let launch = Launch {
            start,
            end,
            threads,
            last_threads,
            program: u64::from(r(0xb830)) << 8 | u64::from(r(0xb834) & 0xff) << 40,
            allocation: Allocation {
                vector: ((rsrc1 & 0x3f) as u16 + 1) * 4,
                scalar: ((((rsrc1 >> 6) & 0xf) as u16 + 1) * 8).min(104),
            },
            mode: Mode::from_rsrc1(rsrc1),
            lds: (rsrc2 >> 15 & 0x1ff) * 512,
            scratch: ((r(0xb860) >> 12 & 0x1fff) * 1024, r(0xb860) & 0xfff),
            units: THREAD_MANAGEMENT.map(r),
            limits: r(0xb854),
            rsrc2,
            user: std::array::from_fn(|n| r(0xb900 + 4 * n as u32)),
        };
        launch.check()?;
        Ok(Some(launch))
    }

    /// Refuses what fits no compute unit: on hardware it would never start.
    fn check(&self) -> Result<(), Stop> {
        let waves = self.waves(self.threads);
        let each = waves.div_ceil(SIMDS).saturating_mul(self.allocation.vector.into());
        let what = match () {
            () if waves > WAVES => format!("{waves} waves of a group"),
            () if each > SIMD_REGISTERS => {
                format!("{waves} waves of {} vector registers", self.allocation.vector)
            }
            () if self.lds > LDS_MOST => format!("{} bytes of LDS", self.lds),
            () if self.scratch_enabled() && self.scratch.1 < waves => {
                format!("{waves} waves of a group, scratch for {}", self.scratch.1)
            }
            () if self.first_system() + self.system() > self.allocation.scalar.into() => {
                format!(
                    "{} scalars at the start, {} allocated",
                    self.system(),
                    self.allocation.scalar
                )
            }
            () if self.ids() > usize::from(self.allocation.vector) => {
                "no registers for thread ids".into()
            }
            () => return Ok(()),
        };
        Err(Stop::illegal(format!("a launch that no compute unit can take: {what}")))
    }

    /// Waves of a group of so many threads.
    pub fn waves(&self, threads: [u32; 3]) -> u32 {
        let all = threads.iter().fold(1u64, |n, t| n * u64::from(*t));
        all.div_ceil(LANES as u64).min(u64::from(u32::MAX)) as u32
    }

    /// Threads of a group.
    pub fn threads_of(&self, group: [u32; 3]) -> [u32; 3] {
        std::array::from_fn(|n| {
            let last = group[n] + 1 == self.end[n];
            if last { self.last_threads[n].min(self.threads[n]) } else { self.threads[n] }
        })
    }

    /// Returns true if waves have scratch.
    pub fn scratch_enabled(&self) -> bool {
        self.rsrc2 & 1 != 0
    }

    fn first_system(&self) -> usize {
        (self.rsrc2 >> 1 & 0x1f) as usize
    }

    /// System scalars: group numbers, group size, scratch offset.
    fn system(&self) -> usize {
        (self.rsrc2 >> 7 & 0xf).count_ones() as usize + usize::from(self.scratch_enabled())
    }

    fn ids(&self) -> usize {
        (self.rsrc2 >> 11 & 3) as usize + 1
    }

    /// Writes the scalars of a wave: user data, then what the launch enables.
    pub fn scalars(&self, group: [u32; 3], wave: (u32, u32), scratch: u32, to: &mut [u32; 128]) {
        let (number, waves) = wave;
        let user = self.first_system();
        to[..user].copy_from_slice(&self.user[..user]);
        let size = waves | number << 6 | u32::from(number == 0) << 31;
        let system = [(7, group[0]), (8, group[1]), (9, group[2]), (10, size), (0, scratch)];
        let enabled = system.into_iter().filter(|(bit, _)| self.rsrc2 >> bit & 1 != 0);
        for (slot, (_, value)) in to[user..].iter_mut().zip(enabled) {
            *slot = value;
        }
    }

    /// Writes the thread numbers of a wave, x fastest. Returns EXEC.
    pub fn threads_to(&self, threads: [u32; 3], number: u32, to: &mut [[u32; LANES]]) -> u64 {
        let total = threads.iter().fold(1u64, |n, t| n * u64::from(*t));
        let first = u64::from(number) * LANES as u64;
        let mut exec = 0;
        for lane in 0..LANES {
            let n = first + lane as u64;
            if n >= total {
                break;
            }
            exec |= 1 << lane;
            let [x, y, _] = threads.map(u64::from);
            let ids = [n % x, n / x % y, n / (x * y)];
            for (row, id) in to.iter_mut().zip(ids).take(self.ids()) {
                row[lane] = id as u32;
            }
        }
        exec
    }
}

/// Refuses fields of COMPUTE_PGM_RSRC1 and 2 that mean something that is not implemented.
fn check_resources(rsrc1: u32, rsrc2: u32) -> Result<(), Stop> {
    let fields = [
        (rsrc1 & 1 << 20, "PRIV"),
        (rsrc1 & 1 << 22, "DEBUG_MODE"),
        (rsrc1 & 0x7f << 24, "RSRC1 bits 30:24"),
        (rsrc2 & 1 << 6, "TRAP_PRESENT"),
        (rsrc2 & (3 << 13 | 0x7f << 24), "EXCP_EN"),
        (u32::from(rsrc2 >> 11 & 3 == 3), "TIDIG_COMP_CNT 3"),
        (u32::from(rsrc2 >> 1 & 0x1f > 16), "more than 16 user scalars"),
    ];
    match fields.iter().find(|(set, _)| *set != 0) {
        Some((_, name)) => {
            Err(Stop::illegal(format!("{name} (RSRC1 {rsrc1:#x}, RSRC2 {rsrc2:#x})")))
        }
        None => Ok(()),
    }
}
