// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Interpolation and exports: opcodes, decoding, text (ISA manual, VINTRP and EXP).

use super::{
    Line,
    decode::{
        Decoder,
        bit,
        bits, //
    },
    text::range, //
};
use crate::isa::{
    Format,
    Inst,
    Interpolate as I,
    Op::{
        Export,
        Interpolate, //
    },
    code, //
};

pub(super) fn lines() -> Vec<(Format, Line)> {
    const INTERPOLATE: &[Line] = &[
        (0, "v_interp_p1_f32", Interpolate(I::First), ""),
        (1, "v_interp_p2_f32", Interpolate(I::Second), ""),
        (2, "v_interp_mov_f32", Interpolate(I::Move), ""),
    ];
    let interpolate = INTERPOLATE.iter().map(|line| (Format::Vintrp, *line));
    interpolate.chain([(Format::Exp, (0, "exp", Export, ""))]).collect()
}

/// Registers that an export names, by component.
pub fn exported(i: &Inst) -> [usize; 4] {
    i.literal.to_le_bytes().map(usize::from)
}

impl Decoder {
    /// Attribute in IMM 7:2, component in 1:0. For a move, SRC0 says which of the three.
    pub(super) fn interpolate(&mut self) -> Result<(), String> {
        let word = self.words.first;
        self.inst.imm = bits(word, 15, 8);
        let source = bits(word, 7, 0);
        self.vector_result(bits(word, 25, 18), 1)?;
        self.inst.reads.add_scalar(code::M0, 1);
        match self.inst.op {
            Interpolate(I::Move) if source > 2 => {
                return Err(format!("parameter {source} of three"));
            }
            Interpolate(I::Move) => self.inst.src[0] = source as u16,
            _ => self.vector_source(0, source, 1)?,
        }
        if self.inst.op == Interpolate(I::Second) {
            self.inst.reads.add_vector(self.inst.dst, 1);
        }
        if bits(word, 15, 10) > 32 {
            Err(format!("attribute {}", bits(word, 15, 10)))
        } else {
            Ok(())
        }
    }

    /// The mask of components in IMM 3:0, the target in 9:4.
    pub(super) fn export(&mut self) -> Result<(), String> {
        let word = self.words.first;
        self.reserved(0x3ff_e000, 0)?;
        let flags = &mut self.inst.flags;
        flags.compr = bit(word, 10);
        flags.done = bit(word, 11);
        flags.vm = bit(word, 12);
        self.inst.imm = bits(word, 9, 0);
        let (mask, target) = (bits(word, 3, 0), bits(word, 9, 4));
        if !matches!(target, 0..=9 | 12..=15 | 32..=63) {
            return Err(format!("target {target}"));
        }
        for (n, register) in exported(&self.inst).into_iter().enumerate() {
            let components = if self.inst.flags.compr { 3 << (2 * n) } else { 1 << n };
            if mask & components != 0 {
                self.inst.reads.add_vector(register as u16, 1);
            }
        }
        Ok(())
    }
}

pub(super) fn interpolate_text(i: &Inst) -> String {
    let attribute = format!("attr{}.{}", i.imm >> 2, ["x", "y", "z", "w"][(i.imm & 3) as usize]);
    let source = match i.op {
        Interpolate(I::Move) => ["p10", "p20", "p0"][usize::from(i.src[0]) % 3].into(),
        _ => range('v', i.src[0].wrapping_sub(code::VGPR), 1),
    };
    format!("{}, {source}, {attribute}", range('v', i.dst, 1))
}

pub(super) fn export_text(i: &Inst) -> String {
    let target = match i.imm >> 4 {
        n @ 0..8 => format!("mrt{n}"),
        8 => "mrtz".into(),
        9 => "null".into(),
        n @ 12..16 => format!("pos{}", n - 12),
        n => format!("param{}", n - 32),
    };
    let register = exported(i);
    let component = |n: usize| match i.imm >> n & 1 {
        0 => "off".into(),
        // Two components are in each register.
        _ => format!("v{}", register[if i.flags.compr { n / 2 } else { n }]),
    };
    let all: Vec<String> = (0..4).map(component).collect();
    let bits = [(i.flags.done, " done"), (i.flags.compr, " compr"), (i.flags.vm, " vm")];
    let bits: String = bits.into_iter().filter(|b| b.0).map(|b| b.1).collect();
    format!("{target} {}{bits}", all.join(", "))
}
