// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random instructions.

use amdgpu_shader::{
    gfx7::Words,
    isa::{
        Entry,
        Format, //
    },
    rng::Rng, //
};

/// Format mark, position of the opcode, and the other fields as (low bit, width) of both dwords.
fn layout(format: Format) -> (u64, u32, &'static [(u32, u32)]) {
    let long = |mark: u64| mark << 26;
    match format {
        Format::Sop2 => (0b10 << 30, 23, &[(0, 8), (8, 8), (16, 7), (32, 32)]),
        Format::Sopk => (0b1011 << 28, 23, &[(0, 16), (16, 7), (32, 32)]),
        Format::Sop1 => (0b1_0111_1101 << 23, 8, &[(0, 8), (16, 7), (32, 32)]),
        Format::Sopc => (0b1_0111_1110 << 23, 16, &[(0, 8), (8, 8), (32, 32)]),
        Format::Sopp => (0b1_0111_1111 << 23, 16, &[(0, 16)]),
        Format::Smrd => (0b11000 << 27, 22, &[(0, 8), (8, 1), (9, 6), (15, 7), (32, 32)]),
        Format::Vop2 => (0, 25, &[(0, 9), (9, 8), (17, 8), (32, 32)]),
        Format::Vop1 => (0x3f << 25, 9, &[(0, 9), (17, 8), (32, 32)]),
        Format::Vopc => (0x3e << 25, 17, &[(0, 9), (9, 8), (32, 32)]),
        Format::Vop3 => {
            let fields =
                &[(0, 8), (8, 3), (11, 1), (12, 3), (32, 9), (41, 9), (50, 9), (59, 2), (61, 3)];
            (long(0b110100), 17, fields)
        }
        Format::Ds => (long(0b110110), 18, &[(0, 8), (8, 8), (32, 8), (40, 8), (48, 8), (56, 8)]),
        Format::Flat => (long(0b110111), 18, &[(16, 1), (17, 1), (32, 8), (40, 8), (56, 8)]),
        Format::Mubuf => {
            let fields = &[
                (0, 12),
                (12, 1),
                (13, 1),
                (14, 1),
                (15, 1),
                (32, 8),
                (40, 8),
                (48, 5),
                (54, 1),
                (56, 8),
            ];
            (long(0b111000), 18, fields)
        }
        Format::Mtbuf => {
            let fields = &[(0, 12), (12, 4), (19, 7), (32, 8), (40, 8), (48, 5), (54, 1), (56, 8)];
            (long(0b111010), 16, fields)
        }
        Format::Vintrp => (long(0b110010), 16, &[(0, 8), (8, 2), (10, 6), (18, 8)]),
        Format::Exp => (long(0b111110), 26, &[(0, 4), (4, 6), (10, 3), (32, 32)]),
        Format::Mimg => {
            let fields =
                &[(8, 4), (12, 1), (13, 1), (14, 1), (25, 1), (32, 8), (40, 8), (48, 5), (53, 5)];
            (long(0b111100), 18, fields)
        }
    }
}

/// Random dwords of an opcode: each field is left zero half of the time.
pub fn random_words(entry: &Entry, rng: &mut Rng) -> Words {
    let (mark, position, fields) = layout(entry.format);
    let mut value = mark | u64::from(entry.opcode) << position;
    for (low, width) in fields {
        if rng.below(2) == 1 {
            value |= (rng.long() & (!0 >> (64 - width))) << low;
        }
    }
    let first = value as u32;
    let second = if Words::size(first) == 2 { (value >> 32) as u32 } else { 0 };
    Words { first, second }
}
