// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Wave instructions a second of processor time: `cargo bench`. One thread, flat memory.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/loops.rs"]
mod loops;

use std::fs;

use amdgpu_shader::memory::Flat;
use common::{
    PROGRAM,
    Setup, //
};
use loops::{
    ARITHMETIC,
    MEMORY, //
};

const DATA: u64 = 0x20_0000;

/// Time that this thread has had a processor, so that a busy machine does not count.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn measure(name: &str, program: &[u32], user: &[u32], groups: u32, change: impl Fn(&mut Setup)) {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, program);
    memory.map(DATA, 1 << 20);
    let mut setup = Setup::new(64, groups, user);
    change(&mut setup);
    let start = processor_seconds();
    let count = setup.run(&mut memory).unwrap();
    let seconds = processor_seconds() - start;
    let millions = count.instructions as f64 / 1e6;
    println!("{name:12} {millions:8.1} M wave instructions, {:6.1} M a second", millions / seconds);
}

fn main() {
    measure("arithmetic", ARITHMETIC, &[], 1000, |_| {});
    let mut user = [0; 12];
    user[8..].copy_from_slice(&[DATA as u32, 0, 1 << 20, 0x0002_7fac]);
    measure("memory", MEMORY, &user, 3000, |setup| {
        setup.resource(1 << 15);
    });
}
