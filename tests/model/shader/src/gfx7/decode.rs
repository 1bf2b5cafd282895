// SPDX-License-Identifier: GPL-2.0 OR MIT
//! From one or two dwords to an instruction (ISA manual, chapter 13, "Microcode formats").
//!
//! A bit that the manual reserves and a field that an operation does not use must be zero: what
//! this model does not know it refuses.

use super::{
    entry,
    memory::width_dwords,
    vector::{
        MADAK,
        MADMK, //
    }, //
};
use crate::{
    isa::{
        Access,
        Control,
        Flag,
        Flags,
        Format,
        Image,
        Inst,
        Kind,
        Lds,
        Level,
        Op,
        Sample,
        Scalar,
        ScalarMemory,
        Vector,
        code, //
    },
    regset::RegSet, //
};

/// Dwords of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// First dword.
    pub first: u32,
    /// Second dword; 0 where [`Words::size`] is 1.
    pub second: u32,
}

impl Words {
    /// Dwords that an instruction with this first one takes.
    pub fn size(first: u32) -> u8 {
        let literal = |operand: u32| operand == u32::from(code::LITERAL);
        let long = match format(first) {
            Some(Format::Vop2) if matches!(bits(first, 30, 25) as u16, MADMK | MADAK) => true,
            Some(Format::Vop1 | Format::Vop2 | Format::Vopc) => literal(bits(first, 8, 0)),
            Some(Format::Sop1) => literal(bits(first, 7, 0)),
            Some(Format::Sop2 | Format::Sopc) => {
                literal(bits(first, 7, 0)) || literal(bits(first, 15, 8))
            }
            Some(Format::Sopk) => bits(first, 27, 23) == 21,
            Some(Format::Smrd) => bits(first, 8, 0) == 0xff,
            Some(Format::Sopp | Format::Vintrp) | None => false,
            Some(_) => true,
        };
        1 + u8::from(long)
    }
}

/// Bits `high` to `low` of a dword.
pub(super) fn bits(word: u32, high: u32, low: u32) -> u32 {
    word >> low & (!0 >> (31 - (high - low)))
}

pub(super) fn bit(word: u32, n: u32) -> bool {
    word >> n & 1 != 0
}

fn format(first: u32) -> Option<Format> {
    Some(match first >> 23 {
        0x17d => Format::Sop1,
        0x17e => Format::Sopc,
        0x17f => Format::Sopp,
        n if n >> 5 == 0b1011 => Format::Sopk,
        n if n >> 7 == 0b10 => Format::Sop2,
        n if n >> 4 == 0b11000 => Format::Smrd,
        n if n >> 8 == 0 => match first >> 25 {
            0x3f => Format::Vop1,
            0x3e => Format::Vopc,
            _ => Format::Vop2,
        },
        n => match n >> 3 {
            0b110010 => Format::Vintrp,
            0b110100 => Format::Vop3,
            0b110110 => Format::Ds,
            0b110111 => Format::Flat,
            0b111000 => Format::Mubuf,
            0b111010 => Format::Mtbuf,
            0b111100 => Format::Mimg,
            0b111110 => Format::Exp,
            _ => return None,
        },
    })
}

/// An instruction under construction.
pub(super) struct Decoder {
    pub(super) words: Words,
    pub(super) inst: Inst,
}

/// Decodes an instruction. The error says why it is none that this generation has or this model
/// knows.
pub fn decode(words: Words) -> Result<Inst, String> {
    let Words { first, second } = words;
    let Some(format) = format(first) else {
        return Err(format!("no instruction: {first:#010x} (no format)"));
    };
    let opcode = match format {
        Format::Sop1 => bits(first, 15, 8),
        Format::Sop2 => bits(first, 29, 23),
        Format::Sopk => bits(first, 27, 23),
        Format::Sopc | Format::Sopp => bits(first, 22, 16),
        Format::Smrd => bits(first, 26, 22),
        Format::Vop1 => bits(first, 16, 9),
        Format::Vop2 => bits(first, 30, 25),
        Format::Vopc => bits(first, 24, 17),
        Format::Vop3 => bits(first, 25, 17),
        Format::Ds => bits(first, 25, 18),
        Format::Mtbuf => bits(first, 18, 16),
        Format::Vintrp => bits(first, 17, 16),
        Format::Exp => 0,
        Format::Flat | Format::Mubuf | Format::Mimg => bits(first, 24, 18),
    } as u16;
    let Some(entry) = entry(format, opcode) else {
        return Err(format!(
            "no instruction: {format:?} opcode {opcode} ({first:08x} {second:08x})"
        ));
    };
    let inst = Inst {
        op: entry.op,
        entry,
        size: Words::size(first),
        wide: entry.signature.result(0).is_some_and(|kind| kind.dwords() == 2),
        dst: 0,
        sdst: code::VCC,
        src: [0; 3],
        literal: second,
        imm: 0,
        flags: Flags::default(),
        typed: (0, 0),
        reads: RegSet::default(),
        writes: RegSet::default(),
    };
    let mut decoder = Decoder { words, inst };
    decoder
        .fields(format)
        .map_err(|why| format!("{} ({first:08x} {second:08x}): {why}", entry.name))?;
    Ok(decoder.inst)
}

impl Decoder {
    fn fields(&mut self, format: Format) -> Result<(), String> {
        if self.inst.op == Op::Absent {
            return Err("not implemented".into());
        }
        match format {
            Format::Sop1 | Format::Sop2 | Format::Sopk | Format::Sopc => self.scalar(format),
            Format::Sopp => self.control(),
            Format::Smrd => self.scalar_memory(),
            Format::Vop1 | Format::Vop2 | Format::Vopc => self.vector_short(format),
            Format::Vop3 => self.vector_long(),
            Format::Ds => self.lds(),
            Format::Flat => self.flat(),
            Format::Mubuf | Format::Mtbuf => self.buffer(format),
            Format::Mimg => self.image(),
            Format::Vintrp => self.interpolate(),
            Format::Exp => self.export(),
        }
    }

    pub(super) fn reserved(&self, first: u32, second: u32) -> Result<(), String> {
        let set = (self.words.first & first, self.words.second & second);
        if set == (0, 0) {
            Ok(())
        } else {
            Err(format!("reserved bits {:08x} {:08x}", set.0, set.1))
        }
    }

    /// Takes a scalar result.
    fn scalar_result(&mut self, operand: u32, dwords: u16) -> Result<u16, String> {
        let operand = operand as u16;
        let last = operand + dwords - 1;
        let known = last <= 107 || (124..=127).contains(&operand) && last <= 127 && operand != 125;
        if !known || dwords > 1 && (operand % 2 != 0 || operand == code::M0) {
            return Err(format!(
                "scalar result {operand}, {dwords} dwords: reserved, privileged or not aligned"
            ));
        }
        self.inst.writes.add_scalar(operand, dwords);
        Ok(operand)
    }

    /// Takes source `n`.
    fn source(&mut self, n: usize, operand: u32, kind: Kind) -> Result<(), String> {
        let operand = operand as u16;
        let dwords = kind.dwords();
        match operand {
            0..=107 | 124 | 126 | 127 => {
                let last = operand + dwords - 1;
                if dwords > 1 && (operand % 2 != 0 || last == 125) || last > 127 {
                    return Err(format!("scalar source {operand}: a pair that is not aligned"));
                }
            }
            128..=208 | 240..=247 | 251..=253 | 255 => {}
            code::VGPR.. => {
                if operand - code::VGPR + dwords > 256 {
                    return Err(format!("source v{} reaches past v255", operand - code::VGPR));
                }
            }
            _ => return Err(format!("source {operand}: reserved or privileged")),
        }
        self.inst.src[n] = operand;
        self.inst.reads.add_source(operand, dwords);
        Ok(())
    }

    /// Takes a vector register that is read.
    pub(super) fn vector_source(
        &mut self,
        n: usize,
        register: u32,
        dwords: u16,
    ) -> Result<(), String> {
        let register = register as u16;
        if register + dwords > 256 {
            return Err(format!("v{register} and {} more reach past v255", dwords - 1));
        }
        self.inst.src[n] = code::VGPR + register;
        self.inst.reads.add_vector(register, dwords);
        Ok(())
    }

    /// Takes a vector register that is written.
    pub(super) fn vector_result(&mut self, register: u32, dwords: u16) -> Result<(), String> {
        let register = register as u16;
        if register + dwords > 256 {
            return Err(format!("v{register} and {} more reach past v255", dwords.max(1) - 1));
        }
        self.inst.dst = register;
        self.inst.writes.add_vector(register, dwords);
        Ok(())
    }

    fn scalar(&mut self, format: Format) -> Result<(), String> {
        let word = self.words.first;
        let signature = self.inst.entry.signature;
        if format == Format::Sopk {
            self.inst.imm = word & 0xffff;
        }
        let sources = match format {
            Format::Sop1 => [Some(bits(word, 7, 0)), None],
            Format::Sop2 | Format::Sopc => [Some(bits(word, 7, 0)), Some(bits(word, 15, 8))],
            _ => [None, None],
        };
        for (n, field) in sources.into_iter().enumerate() {
            match (signature.source(n), field) {
                (Some(kind), Some(field)) => self.source(n, field, kind)?,
                (None, Some(field)) if field != 0 => return Err(format!("unused source {field}")),
                _ => {}
            }
        }
        let field = bits(word, 22, 16);
        match signature.result(0) {
            Some(kind) => self.inst.dst = self.scalar_result(field, kind.dwords())?,
            None if format != Format::Sopc && field != 0 => {
                return Err(format!("unused result {field}"));
            }
            None => {}
        }
        self.scalar_implied();
        self.scalar_register_only()
    }

    /// Registers that a scalar operation uses without naming them, or reads and writes at once.
    fn scalar_implied(&mut self) {
        let dst = self.inst.dst;
        match self.inst.op {
            Op::Scalar(Scalar::SaveExec(_)) => {
                self.inst.reads.add_scalar(code::EXEC, 2);
                self.inst.writes.add_scalar(code::EXEC, 2);
            }
            Op::Scalar(Scalar::BitSet0(w) | Scalar::BitSet1(w)) => {
                self.inst.reads.add_scalar(dst, width_dwords(w))
            }
            Op::Scalar(Scalar::AddK | Scalar::MulK) => self.inst.reads.add_scalar(dst, 1),
            Op::Scalar(Scalar::SetReg) | Op::ScalarCompare(_)
                if self.inst.entry.format == Format::Sopk =>
            {
                self.inst.reads.add_scalar(dst, 1);
                self.inst.writes = RegSet::default();
            }
            Op::Scalar(Scalar::MovRelSource(_) | Scalar::MovRelDest(_)) => {
                self.inst.reads.add_scalar(code::M0, 1)
            }
            _ => {}
        }
    }

    /// Scalar operations whose source is a register and no constant.
    fn scalar_register_only(&self) -> Result<(), String> {
        let only = matches!(
            self.inst.op,
            Op::Scalar(Scalar::MovRelSource(_) | Scalar::SetPc | Scalar::SwapPc)
        );
        if only && self.inst.src[0] > 127 {
            Err(format!("source {}: a register is needed", self.inst.src[0]))
        } else {
            Ok(())
        }
    }

    fn control(&mut self) -> Result<(), String> {
        self.inst.imm = self.words.first & 0xffff;
        if matches!(self.inst.op, Op::Control(Control::End | Control::Barrier))
            || self.inst.entry.name == "s_ttracedata"
        {
            self.reserved(0xffff, 0)?;
        }
        match self.inst.op {
            Op::Control(Control::BranchIf(Flag::VccZero, _)) => {
                self.inst.reads.add_scalar(code::VCC, 2)
            }
            Op::Control(Control::BranchIf(Flag::ExecZero, _)) => {
                self.inst.reads.add_scalar(code::EXEC, 2)
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar_memory(&mut self) -> Result<(), String> {
        let word = self.words.first;
        let base = bits(word, 14, 9) * 2;
        let (base_dwords, dwords) = match self.inst.op {
            Op::ScalarMemory(ScalarMemory::Load(n)) => (2, u16::from(n)),
            Op::ScalarMemory(ScalarMemory::BufferLoad(n)) => (4, u16::from(n)),
            Op::ScalarMemory(ScalarMemory::Time) => (0, 2),
            _ => (0, 0),
        };
        if base_dwords == 0 {
            // Only a result, or nothing.
            self.reserved(0x7fff, 0)?;
        }
        if dwords == 0 {
            return self.reserved(0x3f_8000, 0);
        }
        let dst = bits(word, 21, 15);
        if dst % u32::from(dwords.min(4)) != 0 || dst + u32::from(dwords) > 128 {
            return Err(format!("result s{dst}, {dwords} dwords: not aligned"));
        }
        let scalar = |n: u32, count: u16| {
            n + u32::from(count) <= 104 || n >= 104 && n + u32::from(count) <= 108
        };
        let special = dwords == 1 && (124..=127).contains(&dst) && dst != 125;
        if !scalar(dst, dwords) && !special
            || base_dwords == 4 && (base % 4 != 0 || base > 100)
            || base_dwords > 0 && !scalar(base, 2)
        {
            return Err(format!("result {dst} or base {base}: reserved or not aligned"));
        }
        self.inst.writes.add_scalar(dst as u16, dwords);
        self.inst.dst = dst as u16;
        if base_dwords == 0 {
            return Ok(());
        }
        self.inst.src[0] = base as u16;
        self.inst.reads.add_scalar(base as u16, base_dwords);
        let offset = bits(word, 7, 0);
        self.inst.flags.imm = bit(word, 8);
        self.inst.imm = offset;
        if !self.inst.flags.imm && offset != 0xff {
            if !matches!(offset, 0..=107 | 124) {
                return Err(format!("offset register {offset}"));
            }
            self.inst.src[1] = offset as u16;
            self.inst.reads.add_scalar(offset as u16, 1);
        }
        Ok(())
    }

    fn vector_short(&mut self, format: Format) -> Result<(), String> {
        let word = self.words.first;
        let dst = match format {
            Format::Vop1 | Format::Vop2 => bits(word, 24, 17),
            _ => 0,
        };
        let second = bits(word, 16, 9);
        let vgpr = u32::from(code::VGPR);
        // Lanes are chosen by a scalar.
        let lane = matches!(self.inst.op, Op::Vector(Vector::ReadLane | Vector::WriteLane));
        let second = if lane { second } else { vgpr + second };
        let literal = u32::from(code::LITERAL);
        let vcc = u32::from(code::VCC);
        let fields = match format {
            Format::Vop1 => [bits(word, 8, 0), 0, 0],
            Format::Vop2 if self.inst.entry.opcode == MADMK => [bits(word, 8, 0), literal, second],
            Format::Vop2 if self.inst.entry.opcode == MADAK => [bits(word, 8, 0), second, literal],
            _ => [bits(word, 8, 0), second, vcc],
        };
        if self.inst.op == Op::Vector(Vector::Nop) {
            self.reserved(0x1fe_01ff, 0)?;
        }
        self.vector(dst, fields)
    }

    fn vector_long(&mut self) -> Result<(), String> {
        let Words { first, second } = self.words;
        let signature = self.inst.entry.signature;
        let compare = matches!(self.inst.op, Op::Compare(_));
        let carry = signature.result(1).is_some();
        self.reserved(if carry { 0x1_8000 } else { 0x1_f000 }, 0)?;
        let flags = &mut self.inst.flags;
        flags.neg = bits(second, 31, 29) as u8;
        flags.omod = bits(second, 28, 27) as u8;
        if !carry {
            flags.abs = bits(first, 10, 8) as u8;
            flags.clamp = bit(first, 11);
        }
        let flags = *flags;
        for n in 0..3 {
            let float = signature.source(n).is_some_and(Kind::is_float);
            if !float && (flags.abs | flags.neg) >> n & 1 != 0 {
                return Err(format!("ABS or NEG of source {n}, which is no float"));
            }
        }
        let float = signature.result(0).is_some_and(Kind::is_float);
        if !float && (flags.omod != 0 || flags.clamp) {
            return Err("OMOD or CLAMP of a result that is no float".into());
        }
        let dst = bits(first, 7, 0);
        if self.inst.op == Op::Vector(Vector::Nop) {
            self.reserved(0xff, 0)?;
        }
        if compare {
            self.inst.sdst = self.scalar_result(dst, 2)?;
        } else if carry {
            self.inst.sdst = self.scalar_result(bits(first, 14, 8), 2)?;
        }
        let fields = [bits(second, 8, 0), bits(second, 17, 9), bits(second, 26, 18)];
        if fields.contains(&u32::from(code::LITERAL)) {
            return Err("a literal in VOP3".into());
        }
        for (n, field) in fields.into_iter().enumerate() {
            if signature.source(n).is_none() && field != 0 {
                return Err(format!("unused source {field}"));
            }
        }
        self.vector(if compare { 0 } else { dst }, fields)
    }

    /// Operands of the vector ALU, from their fields.
    fn vector(&mut self, dst: u32, fields: [u32; 3]) -> Result<(), String> {
        let signature = self.inst.entry.signature;
        for (n, field) in fields.into_iter().enumerate() {
            if let Some(kind) = signature.source(n) {
                self.source(n, field, kind)?;
                if kind == Kind::Mask && field > 107 && !(126..=127).contains(&field) {
                    return Err(format!("source {field} is no lane mask"));
                }
            }
        }
        match self.inst.op {
            Op::Vector(Vector::ReadLane | Vector::ReadFirstLane) => {
                self.inst.dst = self.scalar_result(dst, 1)?;
                if self.inst.src[0] < code::VGPR {
                    return Err("a lane of a scalar".into());
                }
            }
            Op::Compare(compare) => {
                let sdst = self.inst.sdst;
                self.inst.writes.add_scalar(sdst, 2);
                if compare.exec {
                    self.inst.writes.add_scalar(code::EXEC, 2);
                }
            }
            _ => {
                if let Some(kind) = signature.result(0) {
                    self.vector_result(dst, kind.dwords())?;
                }
                if signature.result(1).is_some() {
                    let sdst = self.inst.sdst;
                    self.inst.writes.add_scalar(sdst, 2);
                }
            }
        }
        self.vector_implied();
        self.lane_select()?;
        self.constant_bus()
    }

    /// Registers that a vector operation uses without naming them.
    fn vector_implied(&mut self) {
        match self.inst.op {
            Op::Vector(Vector::MacF32 | Vector::MacLegacyF32) => {
                self.inst.src[2] = code::VGPR + self.inst.dst;
                self.inst.reads.add_vector(self.inst.dst, 1);
            }
            Op::Vector(Vector::WriteLane) => self.inst.reads.add_vector(self.inst.dst, 1),
            Op::Vector(Vector::MovRelSource | Vector::MovRelDest | Vector::MovRelBoth) => {
                self.inst.reads.add_scalar(code::M0, 1);
            }
            _ => {}
        }
    }

    fn lane_select(&self) -> Result<(), String> {
        let [data, lane, _] = self.inst.src;
        match self.inst.op {
            Op::Vector(Vector::MovRelSource | Vector::MovRelBoth) if data < code::VGPR => {
                Err(format!("source {data}: a vector register is needed"))
            }
            Op::Vector(Vector::ReadLane) if lane >= 209 => Err(format!("lane select {lane}")),
            Op::Vector(Vector::WriteLane) if lane >= 209 || data >= code::VGPR => {
                Err(format!("v_writelane of {data}, lane select {lane}"))
            }
            _ => Ok(()),
        }
    }

    /// A vector instruction reads one scalar at most (ISA manual, "VALU operand restrictions").
    fn constant_bus(&self) -> Result<(), String> {
        let signature = self.inst.entry.signature;
        // A pair and its first half are two.
        let operand = |n: usize| signature.source(n).map(|kind| (self.inst.src[n], kind.dwords()));
        let scalar = |s: &(u16, u16)| matches!(s.0, 0..=127 | 251..=253 | code::LITERAL);
        let mut scalars: Vec<(u16, u16)> = (0..3).filter_map(operand).filter(scalar).collect();
        if matches!(
            self.inst.op,
            Op::Vector(Vector::MovRelDest | Vector::MovRelSource | Vector::MovRelBoth)
        ) {
            scalars.push((code::M0, 1));
        }
        if matches!(self.inst.op, Op::Vector(Vector::WriteLane | Vector::ReadLane)) {
            // A lane number in M0 does not count.
            scalars.retain(|s| s.0 != code::M0);
        }
        scalars.sort_unstable();
        scalars.dedup();
        if scalars.len() > 1 {
            Err(format!("scalar operands {scalars:?}: one is the limit"))
        } else {
            Ok(())
        }
    }

    fn lds(&mut self) -> Result<(), String> {
        let Words { first, second } = self.words;
        let Op::Lds(op) = self.inst.op else { return Ok(()) };
        self.reserved(1 << 16, 0)?;
        if bit(first, 17) {
            return Err("GDS".into());
        }
        self.inst.imm = first & 0xffff;
        let (addr, data0, data1, dst) =
            (bits(second, 7, 0), bits(second, 15, 8), bits(second, 23, 16), bits(second, 31, 24));
        // Registers of the address, of both data fields, of the result.
        let [a, d0, d1, r] = match op {
            Lds::Read(e) => [1, 0, 0, e.dwords()],
            Lds::Write(e) => [1, e.dwords(), 0, 0],
            Lds::Read2(w, _) => [1, 0, 0, 2 * width_dwords(w)],
            Lds::Write2(w, _) => [1, width_dwords(w), width_dwords(w), 0],
            Lds::Atomic { op, width, returns } => {
                let w = width_dwords(width);
                let two = op.operands() == 2 || op == crate::isa::Atomic::MaskOr;
                [1, w, if two { w } else { 0 }, if returns { w } else { 0 }]
            }
            Lds::Swizzle => [1, 0, 0, 1],
            Lds::Append | Lds::Consume => [0, 0, 0, 1],
            Lds::Nothing => {
                self.reserved(0xffff, 0)?;
                [0; 4]
            }
        };
        for (n, (field, dwords)) in [(addr, a), (data0, d0), (data1, d1)].into_iter().enumerate() {
            match dwords {
                0 if field != 0 => return Err(format!("unused field v{field}")),
                0 => {}
                _ => self.vector_source(n, field, dwords)?,
            }
        }
        if !matches!(op, Lds::Swizzle | Lds::Nothing) {
            self.inst.reads.add_scalar(code::M0, 1);
        }
        match r {
            0 if dst != 0 => Err(format!("unused result v{dst}")),
            0 => Ok(()),
            _ => self.vector_result(dst, r),
        }
    }

    /// Data registers of a buffer or flat instruction: those read and those written.
    fn data_dwords(&self) -> (u16, u16) {
        let glc = self.inst.flags.glc;
        match self.inst.op {
            Op::Memory(Access::Load(e)) => (0, e.dwords()),
            Op::Memory(Access::Store(e)) => (e.dwords(), 0),
            Op::Memory(Access::LoadFormat(n)) => (0, n.into()),
            Op::Memory(Access::StoreFormat(n)) => (n.into(), 0),
            Op::Memory(Access::Atomic(op, width)) => {
                let w = width_dwords(width);
                (w * op.operands(), if glc { w } else { 0 })
            }
            _ => (0, 0),
        }
    }

    fn flat(&mut self) -> Result<(), String> {
        let Words { first, second } = self.words;
        self.reserved(0x200_ffff, 0x7f_0000)?;
        self.inst.flags.slc = bit(first, 17);
        self.inst.flags.glc = bit(first, 16);
        if bit(second, 23) {
            return Err("TFE".into());
        }
        let (reads, writes) = self.data_dwords();
        self.vector_source(0, bits(second, 7, 0), 2)?;
        let (data, dst) = (bits(second, 15, 8), bits(second, 31, 24));
        if reads > 0 {
            self.vector_source(1, data, reads)?;
        } else if data != 0 {
            return Err(format!("unused field v{data}"));
        }
        if writes > 0 {
            self.vector_result(dst, writes)?;
        } else if dst != 0 {
            return Err(format!("unused result v{dst}"));
        }
        Ok(())
    }

    fn buffer(&mut self, format: Format) -> Result<(), String> {
        let Words { first, second } = self.words;
        let flags = &mut self.inst.flags;
        flags.offen = bit(first, 12);
        flags.idxen = bit(first, 13);
        flags.glc = bit(first, 14);
        flags.addr64 = bit(first, 15);
        flags.slc = bit(second, 22);
        self.inst.imm = bits(first, 11, 0);
        if format == Format::Mubuf {
            self.reserved(1 << 17 | 1 << 25, 1 << 21)?;
            if bit(first, 16) {
                return Err("LDS".into());
            }
        } else {
            self.reserved(0, 1 << 21)?;
            self.inst.typed = (bits(first, 22, 19) as u8, bits(first, 25, 23) as u8);
        }
        if bit(second, 23) {
            return Err("TFE".into());
        }
        if self.inst.op == Op::Memory(Access::Invalidate) {
            return self.reserved(0xffff, !0);
        }
        let flags = self.inst.flags;
        let address = match (flags.addr64, flags.offen, flags.idxen) {
            (true, false, false) => 2,
            (true, ..) => return Err("ADDR64 with OFFEN or IDXEN".into()),
            (_, a, b) => u16::from(a) + u16::from(b),
        };
        match (address, bits(second, 7, 0)) {
            // Without an address the field may be anything: Mesa's compiler writes 128.
            (0, _) => {}
            (n, field) => self.vector_source(0, field, n)?,
        }
        let resource = bits(second, 20, 16) * 4;
        if resource > 100 {
            return Err(format!("descriptor in s{resource}"));
        }
        self.inst.src[1] = resource as u16;
        self.inst.reads.add_scalar(resource as u16, 4);
        let soffset = bits(second, 31, 24);
        if soffset == u32::from(code::LITERAL) {
            return Err("a literal offset".into());
        }
        self.source(2, soffset, Kind::B32)?;
        let (reads, writes) = self.data_dwords();
        let data = bits(second, 15, 8);
        self.inst.dst = data as u16;
        if u32::from(reads.max(writes)) + data > 256 {
            return Err(format!("data v{data} reach past v255"));
        }
        self.inst.reads.add_vector(data as u16, reads);
        self.inst.writes.add_vector(data as u16, writes);
        Ok(())
    }

    fn image(&mut self) -> Result<(), String> {
        let Words { first, second } = self.words;
        self.reserved(0, 0xfc00_0000)?;
        let flags = &mut self.inst.flags;
        flags.slc = bit(first, 25);
        flags.glc = bit(first, 13);
        flags.unorm = bit(first, 12);
        flags.da = bit(first, 14);
        for (n, name) in [(17, "LWE"), (16, "TFE"), (15, "R128")] {
            if bit(first, n) {
                return Err(name.into());
            }
        }
        let Op::Image(op) = self.inst.op else { return Ok(()) };
        let dmask = bits(first, 11, 8);
        self.inst.imm = dmask;
        let resource = bits(second, 20, 16) * 4;
        if resource > 96 {
            return Err(format!("descriptor in s{resource}"));
        }
        self.inst.src[1] = resource as u16;
        self.inst.reads.add_scalar(resource as u16, 8);
        let sampler = bits(second, 25, 21) * 4;
        if matches!(op, Image::Sample(_) | Image::Gather(_) | Image::Lod) {
            if sampler > 100 {
                return Err(format!("sampler in s{sampler}"));
            }
            self.inst.src[2] = sampler as u16;
            self.inst.reads.add_scalar(sampler as u16, 4);
        } else if sampler != 0 {
            return Err(format!("unused sampler s{sampler}"));
        }
        // How many address registers there are depends on the descriptor: one at least.
        self.vector_source(0, bits(second, 7, 0), image_address_least(op))?;
        self.image_data(op, dmask, bits(second, 15, 8))
    }

    fn image_data(&mut self, op: Image, dmask: u32, data: u32) -> Result<(), String> {
        let dwords = match op {
            Image::Gather(_) => 4,
            _ => dmask.count_ones() as u16,
        };
        if dmask == 0 {
            return Err("DMASK 0".into());
        }
        let (reads, writes) = match op {
            Image::Store { .. } => (dwords, 0),
            Image::Atomic(_) => (dwords, if self.inst.flags.glc { dwords } else { 0 }),
            _ => (0, dwords),
        };
        if matches!(op, Image::Gather(_)) && dmask.count_ones() != 1 {
            return Err(format!("DMASK {dmask:#x} of a gather"));
        }
        if let Image::Atomic(op) = op {
            let expected = if op.operands() == 2 { [3, 15] } else { [1, 3] };
            if !expected.contains(&dmask) {
                return Err(format!("DMASK {dmask:#x} of an atomic"));
            }
        }
        if data as u16 + dwords > 256 {
            return Err(format!("data v{data} reach past v255"));
        }
        self.inst.dst = data as u16;
        self.inst.reads.add_vector(data as u16, reads);
        self.inst.writes.add_vector(data as u16, writes);
        Ok(())
    }
}

/// Address registers that an image instruction has at least.
fn image_address_least(op: Image) -> u16 {
    match op {
        Image::Sample(Sample { compare, offset, level, .. })
        | Image::Gather(Sample { compare, offset, level, .. }) => {
            1 + u16::from(compare)
                + u16::from(offset)
                + u16::from(matches!(level, Level::Bias | Level::Given))
        }
        Image::Load { mip } | Image::Store { mip } => 1 + u16::from(mip),
        _ => 1,
    }
}
