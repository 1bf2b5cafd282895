// SPDX-License-Identifier: GPL-2.0 OR MIT
//! S_BARRIER: no wave of a group passes it before all that have not ended have come.

mod common;

use amdgpu_shader::{
    memory::Flat,
    stop::Stop, //
};
use common::{
    PROGRAM,
    Setup, //
};

const DATA: u64 = 0x20_0000;
const GROUPS: u32 = 20;
const THREADS: u32 = 256;
const S_NOP: u32 = 0xbf80_0000;
const S_BARRIER: u32 = 0xbf8a_0000;

/// Each thread leaves its number in the local data share, and stores what the thread as far from
/// the other end has left there. s[8:11] is the descriptor.
const EXCHANGE: &[u32] = &[
    0x34000082, // v_lshlrev_b32_e32 v0, 2, v0
    0x8f0d8a0c, // s_lshl_b32 s13, s12, 10
    0xbefc03c1, // s_mov_b32 m0, -1
    0x7e020300, // v_mov_b32_e32 v1, v0
    0x7e1c0500, // v_readfirstlane_b32 s14, v0
    0xbf06ff0e, 0x00000400, // s_cmp_eq_u32 s14, 0x400
    0xbf85000d, // s_cbranch_scc1 to the end
    0xd8340000, 0x00000100, // ds_write_b32 v0, v1
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    S_BARRIER,  //
    0x3a0400ff, 0x000003fc, // v_xor_b32_e32 v2, 0x3fc, v0
    0xd8d80000, 0x03000002, // ds_read_b32 v3, v2
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    S_NOP,      //
    0xe0701000, 0x0d020300, // buffer_store_dword v3, v0, s[8:11], s13 offen
    S_NOP,      //
    0xbf810000, // s_endpgm
];
/// Where the number is that the branch compares: of the first thread of a wave, times four.
const LEAVES: usize = 6;

fn run(seed: u64, program: &[u32]) -> Result<Vec<u32>, Stop> {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, program);
    memory.map(DATA, u64::from(GROUPS * THREADS * 4));
    let mut user = [0; 12];
    user[8..].copy_from_slice(&[DATA as u32, 0, GROUPS * THREADS * 4, 0x0002_7fac]);
    let mut setup = Setup::new(THREADS, GROUPS, &user);
    setup.resource(2 << 15);
    setup.config.seed = seed;
    setup.run(&mut memory)?;
    Ok(memory.words(DATA, (GROUPS * THREADS) as usize))
}

/// Threads that did not get what their opposite left.
fn wrong(stored: &[u32]) -> usize {
    stored.iter().zip(0u32..).filter(|(v, n)| **v != 0x3fc ^ n % THREADS * 4).count()
}

#[test]
fn all_waves_have_come_before_one_goes_on() {
    for seed in 0..30 {
        assert_eq!(wrong(&run(seed, EXCHANGE).unwrap()), 0, "seed {seed}");
    }
}

#[test]
fn without_it_a_wave_reads_what_is_not_there_yet() {
    let mut program = EXCHANGE.to_vec();
    program.iter_mut().filter(|word| **word == S_BARRIER).for_each(|word| *word = S_NOP);
    assert!((0..30).any(|seed| wrong(&run(seed, &program).unwrap()) != 0));
}

#[test]
fn a_wave_that_has_ended_is_not_waited_for() {
    let mut program = EXCHANGE.to_vec();
    // The fourth wave leaves before it.
    program[LEAVES] = 192 * 4;
    for seed in 0..30 {
        let stored = run(seed, &program).unwrap();
        let middle = |n: usize| (64..192).contains(&(n % THREADS as usize));
        let right = (0..stored.len())
            .filter(|n| middle(*n) && stored[*n] == 0x3fc ^ (*n as u32 % THREADS) * 4)
            .count();
        assert_eq!(right, GROUPS as usize * 128, "seed {seed}: waves that exchange, 1 and 2");
    }
}
