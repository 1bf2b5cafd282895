// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Whole programs, and the rules that they break.

mod common;

use amdgpu_shader::memory::Flat;
use amdgpu_shader::stop::Cause;
use common::{PROGRAM, Setup};

const IN_A: u64 = 0x20_0000;
const IN_B: u64 = 0x30_0000;
const OUT: u64 = 0x40_0000;
const ARGUMENTS: u64 = 0x50_0000;

/// out[i] = a[i] + b[i]; s[0:1] leads to the three addresses, s2 is the group's number.
const VECTOR_ADD: &[u32] = &[
    0xc0420100, // s_load_dwordx2 s[4:5], s[0:1], 0x0
    0xc0430102, // s_load_dwordx2 s[6:7], s[0:1], 0x2
    0xc0440104, // s_load_dwordx2 s[8:9], s[0:1], 0x4
    0x8f038602, // s_lshl_b32 s3, s2, 6
    0x4a000003, // v_add_i32_e32 v0, vcc, s3, v0
    0x34000082, // v_lshlrev_b32_e32 v0, 2, v0
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    0x7e040205, // v_mov_b32_e32 v2, s5
    0x4a020004, // v_add_i32_e32 v1, vcc, s4, v0
    0x50040480, // v_addc_u32_e32 v2, vcc, 0, v2, vcc
    0x7e080207, // v_mov_b32_e32 v4, s7
    0x4a060006, // v_add_i32_e32 v3, vcc, s6, v0
    0x50080880, // v_addc_u32_e32 v4, vcc, 0, v4, vcc
    0xdc300000, 0x01000001, // flat_load_dword v1, v[1:2]
    0xdc300000, 0x03000003, // flat_load_dword v3, v[3:4]
    0x7e0c0209, // v_mov_b32_e32 v6, s9
    0x4a0a0008, // v_add_i32_e32 v5, vcc, s8, v0
    0x500c0c80, // v_addc_u32_e32 v6, vcc, 0, v6, vcc
    0xbf8c0070, // s_waitcnt vmcnt(0) lgkmcnt(0)
    0x06020701, // v_add_f32_e32 v1, v1, v3
    0xdc700000, 0x00000105, // flat_store_dword v[5:6], v1
    0xbf810000, // s_endpgm
];

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
        assert!(out.iter().enumerate().all(|(i, v)| f32::from_bits(*v) == i as f32 * 1.5), "seed {seed}");
    }
}

#[test]
fn a_register_is_not_there_before_the_wait() {
    for wait in [6, 18] {
        let mut program = VECTOR_ADD.to_vec();
        let at =
            program.iter().enumerate().filter(|(_, w)| **w >> 16 == 0xbf8c).nth(usize::from(wait == 18)).unwrap().0;
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
