// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Wave instructions a second of processor time in dispatches of a job: through page walks, the TLB
//! and the shader's caches. `cargo bench -p amdgpu-model`.

#[path = "../tests/bench/mod.rs"]
mod bench;
#[path = "../shader/tests/common/loops.rs"]
mod loops;

use std::fs;

use amdgpu_model::{
    config::{
        Cache,
        Config, //
    },
    engine::Step, //
};
use bench::{
    BUS,
    Bench,
    SYSTEM_RW,
    VRAM_DATA,
    VRAM_RW,
    hi,
    lo,
    pm4, //
};
use loops::{
    ARITHMETIC,
    MEMORY, //
};

const SET_SH_REG: u32 = 0x76;
const DISPATCH_DIRECT: u32 = 0x15;
const INDIRECT_BUFFER: u32 = 0x3f;

const VMID: u32 = 2;
/// Places of code, commands and data in the address space of the job.
const CODE: u64 = 0x10_0000;
const COMMANDS: u64 = 0x10_1000;
const DATA: u64 = 0x20_0000;
const DATA_SIZE: u64 = 1 << 20;
/// Places of commands and data in the host's memory.
const RAM_COMMANDS: u64 = 0x20_0000;
const RAM_DATA: u64 = 0x40_0000;

/// Time that this thread has had a processor, so that a busy machine does not count.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// SET_SH_REG of consecutive registers from a byte address of the window at 0xb000.
fn set(byte: u32, values: &[u32]) -> Vec<u32> {
    let mut body = vec![(byte - 0xb000) / 4];
    body.extend(values);
    pm4(SET_SH_REG, &body)
}

/// Half of the data is in VRAM, half in the host's memory, page by page.
fn map(b: &mut Bench) {
    b.map(VMID, CODE, VRAM_DATA | VRAM_RW);
    b.map(VMID, COMMANDS, (BUS + RAM_COMMANDS) | SYSTEM_RW);
    for page in 0..DATA_SIZE >> 12 {
        let entry = match page % 2 {
            0 => (VRAM_DATA + (page + 1) * 0x1000) | VRAM_RW,
            _ => (BUS + RAM_DATA + page * 0x1000) | SYSTEM_RW,
        };
        b.map(VMID, DATA + page * 0x1000, entry);
    }
    b.flush(VMID);
}

fn measure(name: &str, cache: Cache, program: &[u32], groups: u32, lds: u32) {
    let mut b =
        Bench::with(Config { vram: 64 << 20, visible: 64 << 20, cache, ..Config::default() });
    map(&mut b);
    for (n, word) in (0..).zip(program) {
        b.gpu.vram().write_u32(VRAM_DATA + n * 4, *word);
    }
    let mut packets = set(0xb81c, &[64, 1, 1]);
    packets.extend(set(0xb830, &[lo(CODE >> 8), hi(CODE >> 8)]));
    packets.extend(set(0xb848, &[15 | 12 << 6 | 0xc0 << 12 | 1 << 21, 12 << 1 | 1 << 7 | lds]));
    packets.extend(set(0xb920, &[lo(DATA), hi(DATA), DATA_SIZE as u32, 0x0002_7fac]));
    packets.extend(pm4(DISPATCH_DIRECT, &[groups, 1, 1, 5]));
    b.put(RAM_COMMANDS, &packets);
    let control = packets.len() as u32 | VMID << 24 | 1 << 23;
    b.gfx_submit(&pm4(INDIRECT_BUFFER, &[lo(COMMANDS), hi(COMMANDS), control]));
    let start = processor_seconds();
    while b.run() != Step::Idle {}
    let seconds = processor_seconds() - start;
    b.clean();
    let millions = b.gpu.wave_instructions() as f64 / 1e6;
    println!(
        "{name:12} {cache:?} {millions:8.1} M wave instructions, {:6.1} M a second",
        millions / seconds
    );
}

fn main() {
    for cache in [Cache::Direct, Cache::Strict] {
        measure("arithmetic", cache, ARITHMETIC, 500, 0);
        measure("memory", cache, MEMORY, 2000, 1 << 15);
    }
}
