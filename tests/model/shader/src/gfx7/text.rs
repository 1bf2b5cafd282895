// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Instructions as text, in the syntax of LLVM's assembler for `-mcpu=bonaire`. For reports, and
//! for the test that assembles them again.

use super::vector::{
    MADAK,
    MADMK, //
};
use crate::isa::{
    Access,
    Control,
    Format,
    Image,
    Inst,
    Kind,
    Lds,
    Op,
    Scalar,
    ScalarMemory,
    Vector,
    code, //
};

/// The instruction in assembler syntax.
pub fn text(i: &Inst) -> String {
    let (suffix, operands) = match i.entry.format {
        Format::Sop1 | Format::Sop2 | Format::Sopc => ("", scalar(i)),
        Format::Sopk => ("", constant(i)),
        Format::Sopp => ("", control(i)),
        Format::Smrd => ("", scalar_memory(i)),
        Format::Vop1 | Format::Vop2 | Format::Vopc => ("_e32", vector(i, false)),
        Format::Vop3 => ("_e64", vector(i, true)),
        Format::Ds => ("", lds(i)),
        Format::Flat => ("", flat(i)),
        Format::Mubuf | Format::Mtbuf => ("", buffer(i)),
        Format::Mimg => ("", image(i)),
        Format::Vintrp => ("", super::graphics::interpolate_text(i)),
        Format::Exp => ("", super::graphics::export_text(i)),
    };
    // Where there is one encoding LLVM knows no suffix.
    let single = i.entry.format == Format::Vop3 && (320..384).contains(&i.entry.opcode)
        || matches!(i.entry.name, "v_madmk_f32" | "v_madak_f32" | "v_readfirstlane_b32")
        || matches!(i.op, Op::Vector(Vector::ReadLane | Vector::WriteLane));
    let suffix = if single { "" } else { suffix };
    let separator = if operands.is_empty() { "" } else { " " };
    format!("{}{suffix}{separator}{operands}", i.entry.name)
}

pub(super) fn range(letter: char, first: u16, dwords: u16) -> String {
    match dwords {
        1 => format!("{letter}{first}"),
        n => format!("{letter}[{first}:{}]", first + n - 1),
    }
}

/// A scalar register or pair.
fn scalar_register(operand: u16, dwords: u16) -> String {
    let name = match operand {
        104 => "flat_scratch",
        106 => "vcc",
        126 => "exec",
        105 => return "flat_scratch_hi".into(),
        107 => return "vcc_hi".into(),
        124 => return "m0".into(),
        127 => return "exec_hi".into(),
        _ => return range('s', operand, dwords),
    };
    if dwords == 1 { format!("{name}_lo") } else { name.into() }
}

fn source(i: &Inst, operand: u16, dwords: u16) -> String {
    match operand {
        0..=127 => scalar_register(operand, dwords),
        128..=192 => (operand - 128).to_string(),
        193..=208 => format!("-{}", operand - 192),
        240..=247 => ["0.5", "-0.5", "1.0", "-1.0", "2.0", "-2.0", "4.0", "-4.0"]
            [usize::from(operand - 240)]
        .into(),
        code::VCCZ => "src_vccz".into(),
        code::EXECZ => "src_execz".into(),
        code::SCC => "src_scc".into(),
        code::LITERAL => format!("{:#x}", i.literal),
        _ => range('v', operand.wrapping_sub(code::VGPR), dwords),
    }
}

fn scalar(i: &Inst) -> String {
    let signature = i.entry.signature;
    let mut all = vec![];
    if let Some(kind) = signature.result(0) {
        all.push(scalar_register(i.dst, kind.dwords()));
    }
    for n in 0..2 {
        if let Some(kind) = signature.source(n) {
            all.push(source(i, i.src[n], kind.dwords()));
        }
    }
    all.join(", ")
}

fn constant(i: &Inst) -> String {
    let dst = || scalar_register(i.dst, 1);
    let register = format!("hwreg({}, {}, {})", i.imm & 63, i.imm >> 6 & 31, (i.imm >> 11) + 1);
    match i.op {
        Op::Scalar(Scalar::GetReg) => format!("{}, {register}", dst()),
        Op::Scalar(Scalar::SetReg) => format!("{register}, {}", dst()),
        Op::Scalar(Scalar::SetRegImmediate) => format!("{register}, {:#x}", i.literal),
        _ => format!("{}, {:#x}", dst(), i.imm),
    }
}

fn control(i: &Inst) -> String {
    match i.op {
        Op::Control(Control::End | Control::Barrier) => String::new(),
        Op::Control(Control::Nothing) if i.entry.name == "s_ttracedata" => String::new(),
        Op::Control(Control::Branch | Control::BranchIf(..)) => (i.imm as i16).to_string(),
        _ => format!("{:#x}", i.imm),
    }
}

fn scalar_memory(i: &Inst) -> String {
    let (base, dwords) = match i.op {
        Op::ScalarMemory(ScalarMemory::Load(n)) => (2, n),
        Op::ScalarMemory(ScalarMemory::BufferLoad(n)) => (4, n),
        Op::ScalarMemory(ScalarMemory::Time) => return scalar_register(i.dst, 2),
        _ => return String::new(),
    };
    let offset = match (i.flags.imm, i.imm) {
        (true, n) => format!("{n:#x}"),
        (false, 0xff) => format!("{:#x}", i.literal),
        _ => scalar_register(i.src[1], 1),
    };
    format!(
        "{}, {}, {offset}",
        scalar_register(i.dst, dwords.into()),
        scalar_register(i.src[0], base)
    )
}

fn modified(i: &Inst, n: usize, kind: Kind) -> String {
    let plain = source(i, i.src[n], kind.dwords());
    let abs = i.flags.abs >> n & 1 != 0;
    let neg = i.flags.neg >> n & 1 != 0;
    match (neg, abs) {
        (false, false) => plain,
        (false, true) => format!("|{plain}|"),
        // Of a number a sign would be part of it.
        (true, false) if i.src[n] < code::VGPR && i.src[n] >= 128 => format!("neg({plain})"),
        (true, false) => format!("-{plain}"),
        (true, true) => format!("-|{plain}|"),
    }
}

fn vector(i: &Inst, long: bool) -> String {
    let signature = i.entry.signature;
    let mut all = vec![];
    match i.op {
        Op::Compare(_) => all.push(scalar_register(i.sdst, 2)),
        Op::Vector(Vector::ReadLane | Vector::ReadFirstLane) => all.push(scalar_register(i.dst, 1)),
        _ => {
            if let Some(kind) = signature.result(0) {
                all.push(range('v', i.dst, kind.dwords()));
            }
            if signature.result(1).is_some() {
                all.push(scalar_register(i.sdst, 2));
            }
        }
    }
    for n in 0..3 {
        if let Some(kind) = signature.source(n) {
            all.push(modified(i, n, kind));
        }
    }
    let mut out = all.join(", ");
    if long && i.flags.clamp {
        out += " clamp";
    }
    if long {
        out += ["", " mul:2", " mul:4", " div:2"][usize::from(i.flags.omod)];
    }
    debug_assert!(
        !matches!(i.entry.opcode, MADMK | MADAK)
            || i.entry.format != Format::Vop2
            || all.len() == 4
    );
    out
}

fn lds(i: &Inst) -> String {
    let Op::Lds(op) = i.op else { return String::new() };
    let offset = if i.imm == 0 { String::new() } else { format!(" offset:{}", i.imm) };
    let two = || {
        let part = |n: u32, value: u32| {
            if value == 0 { String::new() } else { format!(" offset{n}:{value}") }
        };
        part(0, i.imm & 0xff) + &part(1, i.imm >> 8)
    };
    let v = |n: usize, dwords: u16| range('v', i.src[n].wrapping_sub(code::VGPR), dwords);
    let dst = |dwords: u16| range('v', i.dst, dwords);
    let words = super::width_dwords;
    match op {
        Lds::Read(e) => format!("{}, {}{offset}", dst(e.dwords()), v(0, 1)),
        Lds::Write(e) => format!("{}, {}{offset}", v(0, 1), v(1, e.dwords())),
        Lds::Read2(w, _) => format!("{}, {}{}", dst(2 * words(w)), v(0, 1), two()),
        Lds::Write2(w, _) => {
            format!("{}, {}, {}{}", v(0, 1), v(1, words(w)), v(2, words(w)), two())
        }
        Lds::Atomic { op, width, returns } => {
            let w = words(width);
            let result = if returns { dst(w) + ", " } else { String::new() };
            let more = op.operands() == 2 || op == crate::isa::Atomic::MaskOr;
            let second = if more { format!(", {}", v(2, w)) } else { String::new() };
            format!("{result}{}, {}{second}{offset}", v(0, 1), v(1, w))
        }
        Lds::Swizzle => format!("{}, {}{offset}", dst(1), v(0, 1)),
        Lds::Append | Lds::Consume => format!("{}{offset}", dst(1)),
        Lds::Nothing => String::new(),
    }
}

fn cache_bits(i: &Inst) -> String {
    let glc = if i.flags.glc { " glc" } else { "" };
    let slc = if i.flags.slc { " slc" } else { "" };
    format!("{glc}{slc}")
}

/// Registers of data that an access names.
fn data(i: &Inst) -> u16 {
    match i.op {
        Op::Memory(Access::Load(e) | Access::Store(e)) => e.dwords(),
        Op::Memory(Access::LoadFormat(n) | Access::StoreFormat(n)) => n.into(),
        Op::Memory(Access::Atomic(op, w)) => op.operands() * super::width_dwords(w),
        _ => 0,
    }
}

fn flat(i: &Inst) -> String {
    let v = |n: usize, dwords| range('v', i.src[n].wrapping_sub(code::VGPR), dwords);
    let operands = match i.op {
        Op::Memory(Access::Load(e)) => format!("{}, {}", range('v', i.dst, e.dwords()), v(0, 2)),
        Op::Memory(Access::Atomic(_, w)) if i.flags.glc => {
            format!("{}, {}, {}", range('v', i.dst, super::width_dwords(w)), v(0, 2), v(1, data(i)))
        }
        _ => format!("{}, {}", v(0, 2), v(1, data(i))),
    };
    operands + &cache_bits(i)
}

fn buffer(i: &Inst) -> String {
    if i.op == Op::Memory(Access::Invalidate) {
        return String::new();
    }
    let f = i.flags;
    let address = match (f.addr64, f.offen, f.idxen) {
        (false, false, false) => "off".into(),
        (_, a, b) => {
            range('v', i.src[0].wrapping_sub(code::VGPR), if f.addr64 || a && b { 2 } else { 1 })
        }
    };
    let format = match i.entry.format {
        Format::Mtbuf => {
            format!(" format:[{},{}]", DFMT[usize::from(i.typed.0)], NFMT[usize::from(i.typed.1)])
        }
        _ => String::new(),
    };
    let bits = [(f.idxen, " idxen"), (f.offen, " offen"), (f.addr64, " addr64")];
    let bits: String = bits.into_iter().filter(|b| b.0).map(|b| b.1).collect();
    let offset = if i.imm == 0 { String::new() } else { format!(" offset:{}", i.imm) };
    format!(
        "{}, {address}, {}, {}{format}{bits}{offset}{}",
        range('v', i.dst, data(i)),
        range('s', i.src[1], 4),
        source(i, i.src[2], 1),
        cache_bits(i)
    )
}

const DFMT: [&str; 16] = [
    "BUF_DATA_FORMAT_INVALID",
    "BUF_DATA_FORMAT_8",
    "BUF_DATA_FORMAT_16",
    "BUF_DATA_FORMAT_8_8",
    "BUF_DATA_FORMAT_32",
    "BUF_DATA_FORMAT_16_16",
    "BUF_DATA_FORMAT_10_11_11",
    "BUF_DATA_FORMAT_11_11_10",
    "BUF_DATA_FORMAT_10_10_10_2",
    "BUF_DATA_FORMAT_2_10_10_10",
    "BUF_DATA_FORMAT_8_8_8_8",
    "BUF_DATA_FORMAT_32_32",
    "BUF_DATA_FORMAT_16_16_16_16",
    "BUF_DATA_FORMAT_32_32_32",
    "BUF_DATA_FORMAT_32_32_32_32",
    "BUF_DATA_FORMAT_RESERVED_15",
];

const NFMT: [&str; 8] = [
    "BUF_NUM_FORMAT_UNORM",
    "BUF_NUM_FORMAT_SNORM",
    "BUF_NUM_FORMAT_USCALED",
    "BUF_NUM_FORMAT_SSCALED",
    "BUF_NUM_FORMAT_UINT",
    "BUF_NUM_FORMAT_SINT",
    "BUF_NUM_FORMAT_SNORM_OGL",
    "BUF_NUM_FORMAT_FLOAT",
];

fn image(i: &Inst) -> String {
    let f = i.flags;
    let data =
        if matches!(i.op, Op::Image(Image::Gather(_))) { 4 } else { i.imm.count_ones() as u16 };
    let sampler = match i.op {
        Op::Image(Image::Sample(_) | Image::Gather(_) | Image::Lod) => {
            format!(", {}", range('s', i.src[2], 4))
        }
        _ => String::new(),
    };
    let bits = [(f.unorm, " unorm"), (f.glc, " glc"), (f.slc, " slc"), (f.da, " da")];
    let bits: String = bits.into_iter().filter(|b| b.0).map(|b| b.1).collect();
    let v = i.src[0].wrapping_sub(code::VGPR);
    format!(
        "{}, {}, {}{sampler} dmask:{:#x}{bits}",
        range('v', i.dst, data),
        range('v', v, image_address_text(i)),
        range('s', i.src[1], 8),
        i.imm
    )
}

/// Width of the address that LLVM wants: it allows 1 to 4, 8 or 16 registers, whatever the image's
/// type is.
fn image_address_text(i: &Inst) -> u16 {
    let v = i.src[0].wrapping_sub(code::VGPR);
    4.min(256 - v)
}
