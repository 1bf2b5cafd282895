// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Whole programs, and the rules that they break.

mod common;
#[path = "common/vector_add.rs"]
mod vector_add;

use amdgpu_shader::{
    memory::Flat,
    stop::Cause, //
};
use common::{
    PROGRAM,
    Setup, //
};
use vector_add::VECTOR_ADD;

const IN_A: u64 = 0x20_0000;
const IN_B: u64 = 0x30_0000;
const OUT: u64 = 0x40_0000;
const ARGUMENTS: u64 = 0x50_0000;

fn vector_add_memory(count: u32, program: &[u32]) -> Flat {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, program);
    memory.put_words(IN_A, &(0..count).map(|i| (i as f32).to_bits()).collect::<Vec<u32>>());
    memory.put_words(IN_B, &(0..count).map(|i| (i as f32 * 0.5).to_bits()).collect::<Vec<u32>>());
    memory.map(OUT, u64::from(count) * 4);
    memory.put_words(ARGUMENTS, &[IN_A as u32, 0, IN_B as u32, 0, OUT as u32, 0]);
    memory
}

#[test]
fn vector_add() {
    for seed in 0..20 {
        let mut memory = vector_add_memory(64 * 50, VECTOR_ADD);
        let mut setup = Setup::new(64, 50, &[ARGUMENTS as u32, 0]);
        setup.config.seed = seed;
        let count = setup.run(&mut memory).unwrap();
        assert_eq!(count.groups, 50);
        assert_eq!(count.instructions, 50 * 22);
        let out = memory.words(OUT, 64 * 50);
        assert!(
            out.iter().enumerate().all(|(i, v)| f32::from_bits(*v) == i as f32 * 1.5),
            "seed {seed}"
        );
    }
}

#[test]
fn a_register_is_not_there_before_the_wait() {
    for wait in [6, 18] {
        let mut program = VECTOR_ADD.to_vec();
        let at = program
            .iter()
            .enumerate()
            .filter(|(_, w)| **w >> 16 == 0xbf8c)
            .nth(usize::from(wait == 18))
            .unwrap()
            .0;
        program[at] = 0xbf80_0000; // s_nop
        let mut memory = vector_add_memory(64, &program);
        let stop = Setup::new(64, 1, &[ARGUMENTS as u32, 0]).run(&mut memory).unwrap_err();
        assert_eq!(stop.cause, Cause::Hazard, "{}", stop.what);
        let mut lax = Setup::new(64, 1, &[ARGUMENTS as u32, 0]);
        lax.config.waits = false;
        lax.run(&mut memory).unwrap();
    }
}

#[test]
fn a_fault_stops_the_dispatch() {
    let mut memory = vector_add_memory(64, VECTOR_ADD);
    let stop = Setup::new(64, 100, &[ARGUMENTS as u32, 0]).run(&mut memory).unwrap_err();
    assert_eq!(stop.cause, Cause::Memory);
    assert!(stop.what.contains("not mapped"), "{}", stop.what);
}

#[test]
fn registers_beyond_the_allocation_are_refused() {
    let mut memory = vector_add_memory(64, VECTOR_ADD);
    let mut setup = Setup::new(64, 1, &[ARGUMENTS as u32, 0]);
    setup.set(0xb848, 12 << 6);
    let stop = setup.run(&mut memory).unwrap_err();
    assert_eq!(stop.cause, Cause::Bounds);
    assert!(stop.what.contains("v4, 4 are allocated"), "{}", stop.what);
    setup.set(0xb848, 15);
    assert!(setup.run(&mut memory).unwrap_err().what.contains("s9, 8 are allocated"));
}

#[test]
fn an_endless_loop_is_sliced() {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, &[0xbf82_ffff]); // s_branch -1
    let mut dispatch = Setup::new(64, 1, &[]).dispatch().unwrap().unwrap();
    for n in 1..5 {
        assert_eq!(dispatch.run(&mut memory, 1000), Ok(amdgpu_shader::dispatch::Progress::More));
        assert_eq!(dispatch.count.instructions, 1000 * n);
    }
}
