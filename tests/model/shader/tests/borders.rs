// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Beside an image: the color of the border, by its kind and from the table in memory.

mod common;

use amdgpu_shader::{
    memory::Flat,
    stop::{
        Cause,
        Stop, //
    }, //
};
use common::{
    PROGRAM,
    Setup, //
};

const IMAGE: u64 = 0x20_0000;
const OUT: u64 = 0x30_0000;
const TABLE: u64 = 0x40_0000;

/// Stores the texel half an image to the left of the first one.
const SAMPLE: &[u32] = &[
    0x7e02_02f1, // v_mov_b32_e32 v1, -0.5
    0x7e04_02f0, // v_mov_b32_e32 v2, 0.5
    0xf09c_0f00,
    0x0040_0401, // image_sample_lz v[4:7], v[1:2], s[0:7], s[8:11] dmask:0xf
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xe078_2000,
    0x8003_0400, // buffer_store_dwordx4 v[4:7], v0, s[12:15], 0 idxen
    0xbf81_0000, // s_endpgm
];

/// Ways of S#.CLAMP_X: to the edge, to the border.
const EDGE: u32 = 2;
const BORDER: u32 = 6;
/// Formats of four components: 32 bits, floats or not.
const FLOATS: u32 = 14 << 20 | 7 << 26;
const INTEGERS: u32 = 14 << 20 | 4 << 26;

/// Returns what is seen of an image of 9s with this way of clamping, and a border of this kind and
/// of this number in the table.
fn seen(format: u32, clamp: u32, kind: u32, number: u32, table: bool) -> Result<Vec<u32>, Stop> {
    let mut memory = Flat::default();
    memory.put_words(PROGRAM, SAMPLE);
    memory.put_words(IMAGE, &[9; 4 * 64 * 8]);
    memory.map(OUT, 0x1000);
    if table {
        memory.put_words(TABLE, &(0..4 * 4096).collect::<Vec<u32>>());
    }
    let descriptor = [(IMAGE >> 8) as u32, format, 7 | 7 << 14, 0xfac | 9 << 28, 63 << 13, 0, 0, 0];
    let sampler = [clamp | clamp << 3, 0, 0, number | kind << 30];
    let buffer = [OUT as u32, 16 << 16, 1, 0x0002_7fac];
    let user: Vec<u32> = descriptor.into_iter().chain(sampler).chain(buffer).collect();
    let mut setup = Setup::new(1, 1, &user);
    setup.config.borders = TABLE;
    setup.run(&mut memory)?;
    Ok(memory.words(OUT, 4))
}

#[test]
fn kinds_of_borders() {
    let one = 1.0f32.to_bits();
    for (format, one) in [(FLOATS, one), (INTEGERS, 1)] {
        assert_eq!(seen(format, BORDER, 0, 0, false).unwrap(), [0; 4]);
        assert_eq!(seen(format, BORDER, 1, 0, false).unwrap(), [0, 0, 0, one]);
        assert_eq!(seen(format, BORDER, 2, 0, false).unwrap(), [one; 4]);
        for number in [0, 1, 4095] {
            let first = 4 * number;
            let wanted = [first, first + 1, first + 2, first + 3];
            assert_eq!(seen(format, BORDER, 3, number, true).unwrap(), wanted, "color {number}");
        }
    }
}

#[test]
fn the_table_is_read_only_for_a_border() {
    assert_eq!(seen(FLOATS, EDGE, 3, 7, false).unwrap(), [9; 4]);
    let stop = seen(FLOATS, BORDER, 3, 7, false).unwrap_err();
    assert_eq!(stop.cause, Cause::Memory);
    assert!(stop.what.contains("0x400000"), "{}", stop.what);
}
