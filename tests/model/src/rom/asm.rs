// SPDX-License-Identifier: GPL-2.0 OR MIT
//! An assembler of ATOM command tables and of programs for indirect access.

use std::collections::BTreeSet;

/// Length of a command table's header, before its code.
const HEADER: usize = 6;

/// Instructions that come in six opcodes, one for each kind of destination; the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    Move = 1,
    And = 7,
    Or = 13,
    /// Shifts a part by a constant.
    ShiftLeft = 19,
    ShiftRight = 25,
    Mul = 31,
    Div = 37,
    Add = 43,
    Sub = 49,
    Compare = 60,
    Test = 74,
    Clear = 84,
    Mask = 92,
    Xor = 103,
    /// Shifts the whole dword by an operand.
    Shl = 109,
    Shr = 115,
    /// These two have parameters and workspace only.
    Mul32 = 123,
    Div32 = 125,
}

/// Jumps.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum If {
    Always = 67,
    Equal = 68,
    Below = 69,
    Above = 70,
    BelowOrEqual = 71,
    AboveOrEqual = 72,
    NotEqual = 73,
}

/// An operand.
#[derive(Clone, Copy, Debug)]
pub enum To {
    Reg(u16),
    Ps(u8),
    Ws(u8),
    Fb(u8),
    Pll(u8),
    Mc(u8),
    /// Data of the image; only as a source.
    Id(u16),
    /// A constant; only as a source.
    Imm(u32),
}

impl To {
    /// Number of the kind among an instruction's destinations.
    fn nth(self) -> u8 {
        match self {
            To::Reg(_) => 0,
            To::Ps(_) => 1,
            To::Ws(_) => 2,
            To::Fb(_) => 3,
            To::Pll(_) => 4,
            To::Mc(_) => 5,
            To::Id(_) | To::Imm(_) => panic!("{self:?} is no destination"),
        }
    }

    /// Number of the kind in the attributes.
    fn kind(self) -> u8 {
        match self {
            To::Reg(_) => 0,
            To::Ps(_) => 1,
            To::Ws(_) => 2,
            To::Fb(_) => 3,
            To::Id(_) => 4,
            To::Imm(_) => 5,
            To::Pll(_) => 6,
            To::Mc(_) => 7,
        }
    }

    fn bytes(self, part: Part) -> Vec<u8> {
        match self {
            To::Reg(n) | To::Id(n) => n.to_le_bytes().to_vec(),
            To::Ps(n) | To::Ws(n) | To::Fb(n) | To::Pll(n) | To::Mc(n) => vec![n],
            To::Imm(value) => part.constant(value),
        }
    }
}

/// Part of a dword: number 0 is all of it, 1 to 3 are the words at bytes 0 to 2, 4 to 7 are bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part(pub u8);

impl Part {
    pub const DWORD: Part = Part(0);
    pub const WORD: Part = Part(1);
    pub const BYTE: Part = Part(4);

    /// Bits, and the lowest of them.
    pub fn bits(self) -> (u32, u32) {
        match self.0 {
            0 => (32, 0),
            n @ 1..=3 => (16, 8 * (u32::from(n) - 1)),
            n => (8, 8 * (u32::from(n) - 4)),
        }
    }

    /// The part of the same width at a byte of the destination.
    pub fn at(self, position: u8) -> Part {
        match (self.0, position) {
            (0, _) | (1..=3, 3) => Part(0),
            (1..=3, n) => Part(1 + n),
            (_, n) => Part(4 + n),
        }
    }

    fn constant(self, value: u32) -> Vec<u8> {
        let bytes = value.to_le_bytes();
        bytes[..(self.bits().0 / 8) as usize].to_vec()
    }
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A command table.
pub struct Table {
    pub bytes: Vec<u8>,
    /// Instructions in it, for a test.
    #[cfg_attr(not(test), expect(dead_code))]
    pub opcodes: BTreeSet<u8>,
}

/// A command table under construction.
#[derive(Default)]
pub struct Asm {
    code: Vec<u8>,
    opcodes: BTreeSet<u8>,
    /// Places of labels, relative to the table.
    labels: Vec<Option<usize>>,
    /// Words that take the place of a label.
    uses: Vec<(usize, Label)>,
}

impl Asm {
    /// A label to be put somewhere.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label here.
    pub fn put(&mut self, label: Label) {
        self.labels[label.0] = Some(HEADER + self.code.len());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.code.extend(bytes);
    }

    /// An instruction with what follows it.
    pub fn instruction(&mut self, opcode: u8, rest: &[u8]) {
        self.opcodes.insert(opcode);
        self.raw(&[opcode]);
        self.raw(rest);
    }

    /// An instruction on whole dwords.
    pub fn op(&mut self, op: Op, to: To, from: To) {
        self.part(op, to, 0, from, Part::DWORD);
    }

    /// An instruction on a part of `from`, and the part of `to` of that width at `position`.
    pub fn part(&mut self, op: Op, to: To, position: u8, from: To, part: Part) {
        let nth = if matches!(op, Op::Mul32 | Op::Div32) { to.nth() - 1 } else { to.nth() };
        self.instruction(op as u8 + nth, &[from.kind() | part.0 << 3 | position << 6]);
        self.raw(&to.bytes(part));
        self.raw(&from.bytes(part));
    }

    /// Clears a part.
    pub fn clear(&mut self, to: To, part: Part) {
        self.instruction(Op::Clear as u8 + to.nth(), &[part.0 << 3]);
        self.raw(&to.bytes(part));
    }

    /// Shifts a part by a constant.
    pub fn shift(&mut self, op: Op, to: To, part: Part, distance: u8) {
        self.instruction(op as u8 + to.nth(), &[part.0 << 3]);
        self.raw(&to.bytes(part));
        self.raw(&[distance]);
    }

    /// `to := to & mask | from`, of parts.
    pub fn mask(&mut self, to: To, position: u8, mask: u32, from: To, part: Part) {
        self.instruction(Op::Mask as u8 + to.nth(), &[from.kind() | part.0 << 3 | position << 6]);
        self.raw(&to.bytes(part));
        self.raw(&part.constant(mask));
        self.raw(&from.bytes(part));
    }

    fn target(&mut self, label: Label) {
        self.uses.push((self.code.len(), label));
        self.raw(&[0; 2]);
    }

    pub fn jump(&mut self, condition: If, label: Label) {
        self.instruction(condition as u8, &[]);
        self.target(label);
    }

    pub fn switch(&mut self, from: To, part: Part, cases: &[(u32, Label)]) {
        self.instruction(66, &[from.kind() | part.0 << 3]);
        self.raw(&from.bytes(part));
        for (value, label) in cases {
            self.raw(&[0x63]);
            self.raw(&part.constant(*value));
            self.target(*label);
        }
        self.raw(&[0x5a; 2]);
    }

    pub fn call(&mut self, table: u8) {
        self.instruction(82, &[table]);
    }

    pub fn milliseconds(&mut self, n: u8) {
        self.instruction(80, &[n]);
    }

    pub fn microseconds(&mut self, n: u8) {
        self.instruction(81, &[n]);
    }

    /// Registers through a program for indirect access, or 0: as they are.
    pub fn port(&mut self, port: u16) {
        self.instruction(55, &port.to_le_bytes());
    }

    pub fn register_block(&mut self, first: u16) {
        self.instruction(58, &first.to_le_bytes());
    }

    pub fn scratch_window(&mut self, from: To) {
        self.instruction(59, &[from.kind()]);
        self.raw(&from.bytes(Part::DWORD));
    }

    pub fn data_block(&mut self, table: u8) {
        self.instruction(102, &[table]);
    }

    pub fn end(&mut self) {
        self.instruction(91, &[]);
    }

    /// The table, with so many dwords of workspace and bytes of parameters.
    pub fn table(mut self, workspace: u8, parameters: u8) -> Table {
        for (at, label) in &self.uses {
            let place = self.labels[label.0].expect("a label that was put");
            let place = u16::try_from(place).expect("a table of 64 KiB at most");
            self.code[*at..at + 2].copy_from_slice(&place.to_le_bytes());
        }
        let size = u16::try_from(HEADER + self.code.len()).expect("a table of 64 KiB at most");
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.extend([1, 1, workspace, parameters]);
        bytes.extend(self.code);
        Table { bytes, opcodes: self.opcodes }
    }
}

/// Instructions of programs for indirect access.
pub mod indirect {
    pub const NOP: [u8; 1] = [0];

    pub fn read(register: u16) -> [u8; 3] {
        let [lo, hi] = register.to_le_bytes();
        [2, lo, hi]
    }
    pub fn write(register: u16) -> [u8; 3] {
        let [lo, hi] = register.to_le_bytes();
        [3, lo, hi]
    }
    pub fn clear(bits: u8, at: u8) -> [u8; 3] {
        [4, bits, at]
    }
    pub fn set(bits: u8, at: u8) -> [u8; 3] {
        [5, bits, at]
    }
    pub fn index(bits: u8, from: u8, to: u8) -> [u8; 4] {
        [6, bits, from, to]
    }
    pub fn attributes(bits: u8, from: u8, to: u8) -> [u8; 4] {
        [7, bits, from, to]
    }
    pub fn data(bits: u8, from: u8, to: u8) -> [u8; 4] {
        [8, bits, from, to]
    }

    /// A program of that number.
    pub fn program(number: u8, instructions: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1, number];
        bytes.extend(instructions.concat());
        bytes.extend([9, 0, 0]);
        bytes
    }
}
