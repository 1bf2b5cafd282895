// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random programs and descriptors that mostly mean something.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    sync::LazyLock, //
};

use amdgpu_shader::{
    draw::Registers,
    format::Format as Layout,
    gfx7::{
        Words,
        decode,
        entries, //
    },
    isa::{
        Entry,
        Format,
        Op, //
    },
    rng::Rng,
    tiling::Modes, //
};

#[path = "../random/mod.rs"]
mod random;
use random::random_words;

/// Implemented opcodes, by format: each format is as likely as another.
static FORMATS: LazyLock<Vec<Vec<&'static Entry>>> = LazyLock::new(|| {
    let mut formats: BTreeMap<Format, Vec<&'static Entry>> = BTreeMap::new();
    for entry in entries() {
        if entry.op != Op::Absent {
            formats.entry(entry.format).or_default().push(entry);
        }
    }
    formats.into_values().collect()
});

/// A value as programs have them: a small number, a float, or anything.
pub fn value(rng: &mut Rng) -> u32 {
    match rng.below(5) {
        0 => rng.below(100) as u32,
        1 => (rng.below(4000) as f32 / 16.0 - 100.0).to_bits(),
        2 => (rng.below(1000) as f32 / 1000.0).to_bits(),
        3 => [0, 1 << 31, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 1, 0x8000_0001][rng.below(7)],
        _ => rng.word(),
    }
}

/// A coordinate of a vertex.
pub fn corner(rng: &mut Rng) -> u32 {
    match rng.below(12) {
        0 => value(rng),
        1..7 => (rng.below(9) as f32 / 4.0 - 1.0).to_bits(),
        _ => [1.0f32, 0.5, 2.0][rng.below(3)].to_bits(),
    }
}

/// A vector register.
fn vector(rng: &mut Rng) -> u64 {
    match rng.below(60) {
        0 if rng.below(10) == 0 => rng.below(256) as u64,
        0..20 => rng.below(4) as u64,
        _ => rng.below(40) as u64,
    }
}

/// A scalar register that is written: not those with descriptors, seldom EXEC.
fn target(rng: &mut Rng) -> u64 {
    match rng.below(50) {
        0 => rng.below(128) as u64,
        1 => 126,
        2..6 => 106,
        6 => 124,
        _ => 20 + 2 * rng.below(36) as u64,
    }
}

/// An operand that may be scalar or a constant.
fn scalar(rng: &mut Rng) -> u64 {
    match rng.below(40) {
        0 => rng.below(256) as u64,
        1..4 => 255,
        4..10 => 128 + rng.below(81) as u64,
        10..13 => 240 + rng.below(8) as u64,
        13..16 => [106, 124, 126, 251, 252, 253][rng.below(6)],
        _ => 2 * rng.below(50) as u64,
    }
}

fn any(rng: &mut Rng) -> u64 {
    if rng.below(2) == 0 { 256 + vector(rng) } else { scalar(rng) }
}

/// A field of registers: low bit, width, what it may hold.
type Field = (u32, u32, fn(&mut Rng) -> u64);

/// Registers of an instruction.
fn operands(format: Format) -> &'static [Field] {
    fn address(rng: &mut Rng) -> u64 {
        2 * rng.below(8) as u64
    }
    fn descriptor(rng: &mut Rng) -> u64 {
        if rng.below(30) == 0 { rng.below(32) as u64 } else { 3 }
    }
    fn image(rng: &mut Rng) -> u64 {
        if rng.below(30) == 0 { rng.below(32) as u64 } else { 0 }
    }
    fn sampler(rng: &mut Rng) -> u64 {
        if rng.below(30) == 0 { rng.below(32) as u64 } else { 2 }
    }
    match format {
        Format::Sop2 => &[(0, 8, scalar), (8, 8, scalar), (16, 7, target)],
        Format::Sopk => &[(16, 7, target)],
        Format::Sop1 => &[(0, 8, scalar), (16, 7, target)],
        Format::Sopc => &[(0, 8, scalar), (8, 8, scalar)],
        Format::Sopp => &[],
        Format::Smrd => &[(9, 6, address), (15, 7, target)],
        Format::Vop2 | Format::Vopc => &[(0, 9, any), (9, 8, vector)],
        Format::Vop1 => &[(0, 9, any)],
        Format::Vop3 => &[(0, 8, vector), (32, 9, any), (41, 9, any), (50, 9, any)],
        Format::Ds => &[(32, 8, vector), (40, 8, vector), (48, 8, vector), (56, 8, vector)],
        Format::Flat => &[(32, 8, vector), (40, 8, vector), (56, 8, vector)],
        Format::Mubuf | Format::Mtbuf => {
            &[(32, 8, vector), (40, 8, vector), (48, 5, descriptor), (56, 8, scalar)]
        }
        Format::Vintrp => &[(0, 8, vector), (18, 8, vector)],
        Format::Exp => &[(32, 8, vector), (40, 8, vector), (48, 8, vector), (56, 8, vector)],
        Format::Mimg => &[(32, 8, vector), (40, 8, vector), (48, 5, image), (53, 5, sampler)],
    }
}

/// Random words of an opcode with registers that are there; fields that it has no use for are zero
/// now and then, so that some try decodes.
fn tamed(entry: &Entry, rng: &mut Rng) -> Words {
    let words = random_words(entry, rng);
    let mut value = u64::from(words.first) | u64::from(words.second) << 32;
    for (low, width, pick) in operands(entry.format) {
        let mask = (!0 >> (64 - width)) << low;
        value &= !mask;
        // Descriptors have five bits; all zeros are a register.
        if *width == 5 || rng.below(5) != 0 {
            value |= pick(rng) << low & mask;
        }
    }
    if entry.name.starts_with("s_buffer_load") && rng.below(30) != 0 {
        value = value & !(63 << 9) | 6 << 9; // s[12:15]
    }
    if matches!(entry.name, "s_getreg_b32" | "s_setreg_b32" | "s_setreg_imm32_b32") {
        value = value & !63 | 1; // the mode
    }
    if entry.format == Format::Mtbuf {
        let (texel, number) = format(rng, 14);
        value = value & !(0x7f << 19) | u64::from(texel) << 19 | u64::from(number & 7) << 23;
    }
    // The rest of what VOP1 and VOP2 write.
    if matches!(entry.format, Format::Vop1 | Format::Vop2) {
        value = value & !(0xff << 17) | (20 + 2 * rng.below(16) as u64) << 17;
    }
    let first = value as u32;
    let second = if Words::size(first) == 2 { (value >> 32) as u32 } else { 0 };
    Words { first, second }
}

/// Writes a program.
#[derive(Default)]
pub struct Writer {
    /// The program.
    pub words: Vec<u32>,
    /// Mnemonics in it.
    pub names: BTreeSet<&'static str>,
    /// It may export and interpolate.
    pub graphics: bool,
}

impl Writer {
    /// One more instruction. One in four hundred is anything.
    pub fn instruction(&mut self, rng: &mut Rng) {
        if rng.below(400) == 0 {
            self.words.push(rng.word());
            return;
        }
        let format = &FORMATS[rng.below(FORMATS.len())];
        let entry = format[rng.below(format.len())];
        let graphics = matches!(entry.format, Format::Exp | Format::Vintrp);
        // Nearly all of these stop.
        let ends = matches!(entry.name, "s_endpgm" | "s_sendmsg" | "s_sethalt" | "s_sendmsghalt")
            || entry.name.contains("movrel");
        if graphics && !self.graphics || ends && rng.below(10) != 0 {
            return;
        }
        for _ in 0..100 {
            let mut words = tamed(entry, rng);
            // Jumps stay near: mostly ahead.
            if entry.name.contains("branch") {
                let step = if rng.below(8) == 0 { !(rng.below(12) as u32) } else { 0 };
                words.first = words.first & !0xffff | step & 0xffff;
            }
            if decode(words).is_ok() {
                self.words.push(words.first);
                if Words::size(words.first) == 2 {
                    self.words.push(words.second);
                }
                self.names.insert(entry.name);
                return;
            }
        }
    }
}

/// One of its bits is another, now and then.
fn shaken(words: &mut [u32], rng: &mut Rng) {
    if rng.below(8) == 0 {
        words[rng.below(words.len())] ^= 1 << rng.below(32);
    }
}

/// A format of images and buffers: data and numbers, that is implemented mostly.
fn format(rng: &mut Rng, most: usize) -> (u32, u32) {
    loop {
        let (data, number) = (1 + rng.below(most) as u32, rng.below(10) as u32);
        if rng.below(200) == 0 || Layout::new(data, number).is_some() {
            return (data, number);
        }
    }
}

/// A size: mostly small.
fn size(rng: &mut Rng) -> u32 {
    if rng.below(20) == 0 { rng.below(0x3fff) as u32 } else { rng.below(40) as u32 }
}

/// Sixteen scalars: descriptors of an image, a sampler and a buffer, over memory at `data`.
pub fn user(rng: &mut Rng, data: u64) -> [u32; 16] {
    let mut all = [0; 16];
    let (level, last) = (rng.below(2) as u32, rng.below(4) as u32);
    let levels = if rng.below(3) == 0 { 1 << 25 | last << 16 | level.min(last) << 12 } else { 0 };
    let selects = [0xfac, 0xf2e, 0x924, 0x204][rng.below(4)];
    let (texel, number) = format(rng, 22);
    all[0] = (data >> 8) as u32 + rng.below(16) as u32;
    all[1] = texel << 20 | number << 26 | (rng.word() & 0xfff) << 8 & 0xf_ff00;
    all[2] = size(rng) | size(rng) << 14;
    all[3] = selects | levels | (rng.below(32) as u32) << 20 | (8 + rng.below(6) as u32) << 28;
    all[4] = (rng.below(8) as u32) | (size(rng) | 7) << 13;
    all[5] = rng.below(3) as u32 | (rng.below(6) as u32) << 13;
    shaken(&mut all[..8], rng);
    all[8] = rng.word() & !(7 << 9);
    all[9] = (rng.word() & 0xfff) | (rng.word() & 0xfff) << 12;
    all[10] = rng.word() & 0x0ff0_3fff;
    all[11] = rng.word() & (3 << 30 | 0xfff);
    shaken(&mut all[8..12], rng);
    let stride = [0, 0, 4, 16, 20][rng.below(5)];
    all[12] = data as u32 + 4 * rng.below(64) as u32;
    all[13] = stride << 16 | (rng.word() & 1) << 31;
    all[14] = rng.below(0x2000) as u32;
    let (texel, number) = format(rng, 14);
    all[15] = 0xfac | (number & 7) << 12 | texel << 15 | (rng.word() & 0x1f) << 19;
    shaken(&mut all[12..], rng);
    all
}

/// Tile modes: most of them of kinds that are implemented.
pub fn tiling(rng: &mut Rng) -> Modes {
    let mut modes = Modes::default();
    for mode in &mut modes.tile {
        let array = [0, 1, 2, 3, 4, 5, 7, 8][rng.below(8)];
        let parts = (rng.below(8) as u32) << 11 | (rng.below(4) as u32) << 25;
        *mode = array << 2 | 5 << 6 | parts | (rng.below(3) as u32) << 22;
        if rng.below(30) == 0 {
            *mode = rng.word();
        }
    }
    for mode in &mut modes.macrotile {
        *mode = rng.word() & 0xff;
    }
    modes.row = 1024 << rng.below(3);
    modes
}

/// Sets the targets of a draw: formats, blending, depth and stencil, and some registers that are
/// anything.
pub fn targets(rng: &mut Rng, r: &mut Registers, data: u64) {
    let color = |r: &mut Registers, rng: &mut Rng| {
        let (texel, number) = format(rng, 22);
        r.context[0x31c] = texel << 2 | (number & 7) << 8 | (rng.below(4) as u32) << 11;
        r.context[0x1c5] = rng.below(10) as u32;
        r.context[0x31d] = rng.below(32) as u32;
    };
    if rng.below(3) != 0 {
        color(r, rng);
    }
    if rng.below(3) == 0 {
        r.context[0x1e0] = rng.word();
    }
    if rng.below(2) == 0 {
        // Depth and stencil.
        r.context[0x200] = rng.word() & 0x00ff_ffff;
        r.context[0x10] = 1 + rng.below(3) as u32;
        r.context[0x11] = rng.below(2) as u32;
        r.context[0x0f] = (rng.below(8) as u32) << 4 | 5;
        for base in [0x12, 0x13, 0x14, 0x15, 0x05] {
            r.context[base] = (data >> 8) as u32;
        }
        r.context[0x16] = 7 | 7 << 11;
        if rng.below(3) == 0 {
            r.context[0x10] |= 1 << 29;
            r.context[0x00] = rng.word() & 3;
        }
    }
    if rng.below(3) == 0 {
        // No user clip planes.
        r.context[0x204] = rng.word() & !0x3f;
        r.context[0x205] = rng.word() & 7;
        r.context[0x207] = rng.word() & 0xff;
    }
    if rng.below(4) == 0 {
        r.context[0x31c] |= 1 << 13;
        r.context[0x31f] = (data >> 8) as u32 + 0x40;
        r.context[0x202] = (rng.below(3) as u32) << 4 | 0xcc << 16;
    }
    for _ in 0..rng.below(3) {
        let n = rng.below(0x400);
        r.context[n] = rng.word() >> rng.below(32);
    }
    if rng.below(12) == 0 {
        let n = [0x48, 0x4a, 0x4b, 0x08, 0x0a, 0x0b][rng.below(6)];
        r.shader[n] ^= 1 << rng.below(32);
    }
}
