// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Images of several levels: which of them an instruction looks at, and what is between two.

mod common;

use amdgpu_shader::memory::Flat;
use common::{
    PROGRAM,
    Setup, //
};

const IMAGE: u64 = 0x20_0000;
const OUT: u64 = 0x30_0000;
const LANES: usize = 8;
/// Texels of a side of the first level; the last has one.
const SIZE: u32 = 8;
const LEVELS: u32 = 4;
/// Place of each level in linear tiling, and the texels of its rows: 64 bytes at least, and whole
/// slices of 256 bytes.
const PLACES: [(u64, u64); LEVELS as usize] = [(0, 16), (0x200, 16), (0x300, 32), (0x400, 64)];

/// A lane N stores: what is sampled at level N / 2, a texel of level N, and how wide level N is.
const SAMPLE: &[u32] = &[
    0x7e06_0d00, // v_cvt_f32_u32_e32 v3, v0
    0x1006_06f0, // v_mul_f32_e32 v3, 0.5, v3
    0x7e02_02f0, // v_mov_b32_e32 v1, 0.5
    0x7e04_02f0, // v_mov_b32_e32 v2, 0.5
    0x7e0a_0280, // v_mov_b32_e32 v5, 0
    0x7e0c_0280, // v_mov_b32_e32 v6, 0
    0x7e0e_0300, // v_mov_b32_e32 v7, v0
    0xf090_0100,
    0x0040_0801, // image_sample_l v8, v[1:4], s[0:7], s[8:11] dmask:0x1
    0xf004_1100,
    0x0000_0905, // image_load_mip v9, v[5:8], s[0:7] dmask:0x1 unorm
    0xf038_1100,
    0x0000_0a07, // image_get_resinfo v10, v7, s[0:7] dmask:0x1 unorm
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xe07c_2000,
    0x8003_0800, // buffer_store_dwordx3 v[8:10], v0, s[12:15], 0 idxen
    0xbf81_0000, // s_endpgm
];

/// Returns the values that each lane stores, with these levels of the image and this filter between
/// levels.
fn seen(first: u32, last: u32, filter: u32) -> Vec<[f32; 3]> {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, SAMPLE);
    memory.map(OUT, 0x1000);
    // Between the texels is nothing that may be seen.
    memory.put_words(IMAGE, &[f32::NAN.to_bits(); 0x200]);
    for (level, (at, pitch)) in (0u32..).zip(PLACES) {
        for y in 0..u64::from(SIZE >> level) {
            let row = vec![(10.0 * level as f32).to_bits(); (SIZE >> level) as usize];
            memory.put_words(IMAGE + at + 4 * pitch * y, &row);
        }
    }
    // 32 FLOAT, two-dimensional, POW2_PAD; clamped to the edge, linear along the image.
    let (image, out) = ((IMAGE >> 8) as u32, OUT as u32);
    let kind = 4 | first << 12 | last << 16 | 1 << 25 | 9 << 28;
    let descriptor =
        [image, 4 << 20 | 7 << 26, (SIZE - 1) | (SIZE - 1) << 14, kind, 15 << 13, 0, 0, 0];
    let sampler = [2 | 2 << 3 | 2 << 6, 0xfff << 12, 1 << 20 | 1 << 22 | filter << 26, 0];
    let buffer = [out, 16 << 16, LANES as u32, 0x0002_7fac];
    let user: Vec<u32> = descriptor.into_iter().chain(sampler).chain(buffer).collect();
    Setup::new(LANES as u32, 1, &user).run(&mut memory).unwrap();
    (0..LANES as u64)
        .map(|lane| {
            let words = memory.words(OUT + 16 * lane, 3);
            [f32::from_bits(words[0]), f32::from_bits(words[1]), words[2] as f32]
        })
        .collect()
}

#[test]
fn levels_and_what_is_between_them() {
    for (first, last) in [(0, 3), (1, 3), (1, 2), (2, 2)] {
        for (lane, [sampled, loaded, width]) in seen(first, last, 2).into_iter().enumerate() {
            let most = (last - first) as f32;
            let level = first as f32 + (lane as f32 / 2.0).min(most);
            assert_eq!(sampled, 10.0 * level, "levels {first} to {last}, lane {lane}");
            let there = lane as u32 <= last - first;
            let wanted = if there {
                (10.0 * (first as f32 + lane as f32), SIZE >> first >> lane)
            } else {
                (0.0, 0)
            };
            assert_eq!((loaded, width as u32), wanted, "levels {first} to {last}, lane {lane}");
        }
    }
}

#[test]
fn without_a_filter_between_levels() {
    // The nearest; of two the larger image.
    let nearest: Vec<f32> = seen(0, 3, 1).into_iter().map(|lane| lane[0]).collect();
    assert_eq!(nearest, [0.0, 0.0, 10.0, 10.0, 20.0, 20.0, 30.0, 30.0]);
    // None: the first.
    assert!(seen(1, 3, 0).into_iter().all(|lane| lane[0] == 10.0));
}
