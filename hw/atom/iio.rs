// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Programs for indirect access (IIO) to registers, in a byte code of their own.
//!
//! The C driver's are `atom_index_iio` and `atom_iio_execute`.
//!
//! Data table 23 holds programs one after the other: 1, the number of the program, instructions, 9
//! and two more bytes. Program `n` reads a register through port `n`, and program `0x80 + n` writes
//! one. A program works on an accumulator. It typically writes a part of the register's index to an
//! index register, and moves the data through a data register.

use super::{
    image::Image,
    Cause,
    Machine,
    RegisterSet, //
};

/// Place of the programs in the list of data tables.
const INDIRECT_IO_ACCESS: u8 = 23;

/// First byte of a program.
const START: u8 = 1;
/// Last instruction of a program, and its length.
const END: u8 = 9;
const END_LENGTH: usize = 3;

/// The accumulator when a program begins, as in the C driver.
const INITIAL: u32 = 0xcdcd_cdcd;

/// Offsets of the programs, by their numbers. Zero: there is no such program.
pub(super) struct Programs([u16; 256]);

impl Programs {
    /// Finds the programs of an image. Those behind one that makes no sense are not found.
    pub(super) fn of(image: Image<'_>, tables: usize) -> Self {
        let mut programs = [0; 256];
        let table = image.pointer(super::image::entry(tables, INDIRECT_IO_ACCESS));
        // A table begins with four bytes of header.
        let mut at = table.map(|table| table + 4);
        while let Some((number, code)) = at.and_then(|at| begin(image, at)) {
            let end = end(image, code);
            if let (Some(_), Ok(code)) = (end, u16::try_from(code)) {
                programs[usize::from(number)] = code;
            }
            at = end;
        }
        Self(programs)
    }

    /// Returns the offset of the instructions of a program.
    pub(super) fn get(&self, number: u8) -> Option<usize> {
        let code = self.0[usize::from(number)];
        (code != 0).then(|| usize::from(code))
    }
}

/// Returns the number of the program at an offset, and the offset of its first instruction.
fn begin(image: Image<'_>, at: usize) -> Option<(u8, usize)> {
    let [start, number] = image.bytes(at)?;
    (start == START).then_some((number, at + 2))
}

/// Returns the offset behind the program whose instructions begin at an offset.
fn end(image: Image<'_>, code: usize) -> Option<usize> {
    /// Lengths of the instructions but for the last.
    const LENGTHS: [usize; 9] = [1, 2, 3, 3, 3, 3, 4, 4, 4];

    let mut at = code;
    loop {
        match image.byte(at)? {
            END => return Some(at + END_LENGTH),
            opcode => at += LENGTHS.get(usize::from(opcode))?,
        }
    }
}

/// An instruction.
enum Op {
    Nop,
    Read(u16),
    Write(u16),
    Clear(Field),
    Set(Field),
    /// Copies bits of the source, from bit `from` on, to a field of the accumulator.
    Move {
        source: Source,
        from: u8,
        to: Field,
    },
    End,
}

/// Bits of the accumulator.
#[derive(Clone, Copy)]
struct Field {
    width: u8,
    shift: u8,
}

impl Field {
    /// Mask of the field's bits, were it at bit 0. A width of zero means all of them: the C driver
    /// shifts by 32, which on x86 does nothing.
    fn mask(self) -> u32 {
        u32::MAX.wrapping_shr(32u32.wrapping_sub(self.width.into()))
    }

    fn insert(self, whole: u32, value: u32) -> u32 {
        let shift = self.shift.into();
        whole & !self.mask().wrapping_shl(shift) | (value & self.mask()).wrapping_shl(shift)
    }
}

/// Source of bits for the accumulator.
enum Source {
    /// Index of the register.
    Index,
    /// Attributes, which a command table may set.
    Attributes,
    /// Value to be written.
    Data,
}

/// Decodes the instruction at an offset. Returns it and its length.
fn decode(image: Image<'_>, at: usize) -> Result<(Op, usize), Cause> {
    let bytes: [u8; 4] = image.bytes(at).ok_or(Cause::OutOfImage)?;
    let [opcode, a, b, c] = bytes;
    let register = u16::from_le_bytes([a, b]);
    let field = |shift| Field { width: a, shift };
    let move_from = |source| Op::Move {
        source,
        from: b,
        to: field(c),
    };
    Ok(match opcode {
        0 => (Op::Nop, 1),
        2 => (Op::Read(register), 3),
        3 => (Op::Write(register), 3),
        4 => (Op::Clear(field(b)), 3),
        5 => (Op::Set(field(b)), 3),
        6 => (move_from(Source::Index), 4),
        7 => (move_from(Source::Attributes), 4),
        8 => (move_from(Source::Data), 4),
        END => (Op::End, END_LENGTH),
        _ => return Err(Cause::Indirect(opcode)),
    })
}

impl Machine<'_> {
    /// Runs a program for the register `index`, and returns its accumulator. If there is none it
    /// reads as zero and writes nothing.
    pub(super) fn indirect(&mut self, number: u8, index: u32, data: u32) -> Result<u32, Cause> {
        let Some(mut at) = self.programs.get(number) else {
            return Ok(0);
        };
        let mut value = INITIAL;
        loop {
            self.spend()?;
            let (op, length) = decode(self.image, at)?;
            at += length;
            match op {
                Op::Nop => {}
                Op::Read(register) => value = self.bus.read(RegisterSet::Mmio, register.into()),
                Op::Write(register) => self.bus.write(RegisterSet::Mmio, register.into(), value),
                Op::Clear(field) => value = field.insert(value, 0),
                Op::Set(field) => value = field.insert(value, u32::MAX),
                Op::Move { source, from, to } => {
                    let source = match source {
                        Source::Index => index,
                        Source::Attributes => self.special.attributes.into(),
                        Source::Data => data,
                    };
                    value = to.insert(value, source.wrapping_shr(from.into()));
                }
                Op::End => return Ok(value),
            }
        }
    }
}
