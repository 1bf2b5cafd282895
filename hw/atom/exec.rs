// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions of command tables, and their execution.
//!
//! The C driver's are the `atom_op_*` functions of atom.c.
//!
//! Most instructions have six opcodes in a row, one for each kind of destination. The code of a
//! table follows its header. Jumps are relative to the start of the table, and may leave it.

use core::ops::Range;

use super::{
    image::{
        entry,
        Header, //
    },
    operand::{
        Attributes,
        Kind,
        Place,
        Port,
        Special,
        Width, //
    },
    Cause,
    Fault,
    Machine,
    PARAMETERS, //
};

/// An instruction.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes the source to the destination.
    Move(Kind),
    /// Combines the destination with the source.
    Combine(Combine, Kind),
    /// Combines the destination with a mask, a constant, by AND, and then with the source by OR.
    Mask(Kind),
    Clear(Kind),
    /// Shifts a part of the destination. The distance is a constant byte.
    ShiftPart(Direction, Kind),
    /// Shifts the destination by the source, and keeps a part of the result.
    Shift(Direction, Kind),
    Multiply(Precision, Kind),
    Divide(Precision, Kind),
    Compare(Kind),
    /// Compares with zero what the destination and the source have in common.
    Test(Kind),
    Jump(Condition),
    Switch,
    Call,
    End,
    /// Waits a number of units, of so many microseconds each.
    Delay(u32),
    SetPort,
    /// Sets a port of the system.
    SetSystemPort,
    SetRegisterBlock,
    SetScratchWindow,
    SetDataBlock,
    /// Does nothing. So many bytes follow.
    Nop(usize),
    /// Does nothing. The number of bytes that follow is a word. (`PROCESS_DS`)
    Data,
}

/// Operation of two values.
#[derive(Clone, Copy, Debug)]
enum Combine {
    And,
    Or,
    Xor,
    Add,
    Subtract,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Left,
    Right,
}

/// Precision of a multiplication or division.
#[derive(Clone, Copy, Debug)]
enum Precision {
    /// Results have 32 bits.
    Single,
    /// The product, or the dividend and the quotient, have 64 bits.
    Double,
}

/// Condition of a jump, by the result of the last comparison.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Always,
    Equal,
    Below,
    Above,
    BelowOrEqual,
    AboveOrEqual,
    NotEqual,
}

/// Result of a comparison.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    equal: bool,
    above: bool,
}

/// State of a table that was called. Small, as those of all callers lie on the kernel's stack.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame {
    /// Offset of the next byte of the code.
    pub(super) at: usize,
    /// Offset of the table in the image.
    start: u16,
    /// Number of the first parameter.
    parameters: u16,
    /// Number of the first dword of the machine's workspace that is the table's.
    workspace: u16,
    header: Header,
}

impl Frame {
    /// Returns the state of a table that begins.
    fn begin(start: u16, header: Header, parameters: u16, workspace: u16) -> Self {
        Self {
            at: usize::from(start) + Header::SIZE,
            start,
            parameters,
            workspace,
            header,
        }
    }

    /// Returns the number of a parameter in the machine's parameter space.
    pub(super) fn parameter(&self, index: u8) -> usize {
        usize::from(self.parameters) + usize::from(index)
    }

    /// Returns the table's part of the machine's workspace.
    pub(super) fn workspace(&self) -> Range<usize> {
        self.workspace.into()..self.workspace_end().into()
    }

    // Neither sum is too large: no more than `NESTING` tables call each other.

    fn workspace_end(&self) -> u16 {
        self.workspace + u16::from(self.header.workspace)
    }

    /// Returns the number of the first parameter of a called table.
    fn parameters_of_callee(&self) -> u16 {
        self.parameters + u16::from(self.header.parameters)
    }
}

/// The way on after an instruction.
enum Flow {
    Next,
    /// The first table has ended.
    Done,
}

impl Op {
    /// Returns the instruction that an opcode stands for.
    fn decode(opcode: u8) -> Option<Self> {
        let kind = |first: u8| {
            let kind = usize::from(opcode).checked_sub(first.into())?;
            Kind::DESTINATIONS.get(kind).copied()
        };
        Some(match opcode {
            1..=6 => Self::Move(kind(1)?),
            7..=12 => Self::Combine(Combine::And, kind(7)?),
            13..=18 => Self::Combine(Combine::Or, kind(13)?),
            19..=24 => Self::ShiftPart(Direction::Left, kind(19)?),
            25..=30 => Self::ShiftPart(Direction::Right, kind(25)?),
            31..=36 => Self::Multiply(Precision::Single, kind(31)?),
            37..=42 => Self::Divide(Precision::Single, kind(37)?),
            43..=48 => Self::Combine(Combine::Add, kind(43)?),
            49..=54 => Self::Combine(Combine::Subtract, kind(49)?),
            55 => Self::SetPort,
            56 | 57 => Self::SetSystemPort,
            58 => Self::SetRegisterBlock,
            59 => Self::SetScratchWindow,
            60..=65 => Self::Compare(kind(60)?),
            66 => Self::Switch,
            67 => Self::Jump(Condition::Always),
            68 => Self::Jump(Condition::Equal),
            69 => Self::Jump(Condition::Below),
            70 => Self::Jump(Condition::Above),
            71 => Self::Jump(Condition::BelowOrEqual),
            72 => Self::Jump(Condition::AboveOrEqual),
            73 => Self::Jump(Condition::NotEqual),
            74..=79 => Self::Test(kind(74)?),
            80 => Self::Delay(1000),
            81 => Self::Delay(1),
            82 => Self::Call,
            // REPEAT, which nobody implements.
            83 => Self::Nop(0),
            84..=89 => Self::Clear(kind(84)?),
            90 => Self::Nop(0),
            91 => Self::End,
            92..=97 => Self::Mask(kind(92)?),
            // POST_CARD, a byte for a card that shows how far posting has come.
            98 => Self::Nop(1),
            // BEEP, SAVE_REG and RESTORE_REG. The C driver does nothing for them either.
            99..=101 => Self::Nop(0),
            102 => Self::SetDataBlock,
            103..=108 => Self::Combine(Combine::Xor, kind(103)?),
            109..=114 => Self::Shift(Direction::Left, kind(109)?),
            115..=120 => Self::Shift(Direction::Right, kind(115)?),
            // DEBUG, a byte for a debugger.
            121 => Self::Nop(1),
            122 => Self::Data,
            // There are only two: their destinations are parameters or in the workspace.
            123 | 124 => Self::Multiply(Precision::Double, kind(122)?),
            125 | 126 => Self::Divide(Precision::Double, kind(124)?),
            _ => return None,
        })
    }
}

impl Combine {
    fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
        }
    }
}

impl Direction {
    /// Shifts a value. A distance counts modulo 32, as the C driver's do on x86.
    fn shift(self, value: u32, distance: u8) -> u32 {
        match self {
            Self::Left => value.wrapping_shl(distance.into()),
            Self::Right => value.wrapping_shr(distance.into()),
        }
    }
}

impl Condition {
    fn holds(self, flags: Flags) -> bool {
        match self {
            Self::Always => true,
            Self::Equal => flags.equal,
            Self::Below => !flags.above && !flags.equal,
            Self::Above => flags.above,
            Self::BelowOrEqual => !flags.above,
            Self::AboveOrEqual => flags.above || flags.equal,
            Self::NotEqual => !flags.equal,
        }
    }
}

/// Destination of an instruction, and its value.
struct Destination {
    attributes: Attributes,
    place: Place,
    /// Value of the whole dword.
    whole: u32,
}

impl Destination {
    fn value(&self) -> u32 {
        self.attributes.destination.extract(self.whole)
    }
}

impl Machine<'_> {
    /// Runs a command table to its end. The parameters that are not given are zero.
    pub(crate) fn run(&mut self, table: u8, parameters: &[u32]) -> Result<(), Fault> {
        self.reset(parameters);
        let fault = |at, what| Fault { at, what };
        let entry = entry(self.tables.commands, table);
        let start = self.image.word(entry).filter(|start| *start != 0);
        let start = start.ok_or(fault(entry, Cause::NoTable))?;
        self.enter(start, 0, 0)
            .map_err(|what| fault(start.into(), what))?;
        loop {
            let at = self.frame.at;
            match self.step() {
                Ok(Flow::Next) => {}
                Ok(Flow::Done) => return Ok(()),
                Err(what) => return Err(fault(at, what)),
            }
        }
    }

    fn reset(&mut self, parameters: &[u32]) {
        self.parameters = [0; PARAMETERS];
        for (to, from) in self.parameters.iter_mut().zip(parameters) {
            *to = *from;
        }
        self.special = Special::default();
        self.flags = Flags::default();
        self.port = Port::Mmio;
        self.depth = 0;
    }

    /// Begins a table, with its workspace cleared.
    fn enter(&mut self, start: u16, parameters: u16, workspace: u16) -> Result<(), Cause> {
        let header = self.image.header(start).ok_or(Cause::OutOfImage)?;
        self.frame = Frame::begin(start, header, parameters, workspace);
        let workspace = self.memory.workspace.get_mut(self.frame.workspace());
        workspace.ok_or(Cause::Workspace)?.fill(0);
        Ok(())
    }

    /// Calls a table, unless the image has none of that number.
    fn call(&mut self, table: u8) -> Result<(), Cause> {
        let entry = entry(self.tables.commands, table);
        let start = self.image.word(entry).ok_or(Cause::OutOfImage)?;
        if start == 0 {
            return Ok(());
        }
        let frame = self.frame;
        *self.callers.get_mut(self.depth).ok_or(Cause::Nesting)? = frame;
        self.depth += 1;
        self.enter(start, frame.parameters_of_callee(), frame.workspace_end())
    }

    /// Goes back to the caller of the table that ends.
    fn end(&mut self) -> Flow {
        let caller = self.depth.checked_sub(1);
        match caller.and_then(|caller| self.callers.get(caller)) {
            Some(caller) => {
                self.frame = *caller;
                self.depth -= 1;
                Flow::Next
            }
            None => Flow::Done,
        }
    }

    fn step(&mut self) -> Result<Flow, Cause> {
        self.spend()?;
        let opcode = self.fetch()?;
        match Op::decode(opcode).ok_or(Cause::Opcode(opcode))? {
            Op::Move(kind) => self.move_to(kind)?,
            Op::Combine(how, kind) => self.combine(how, kind)?,
            Op::Mask(kind) => self.mask(kind)?,
            Op::Clear(kind) => self.clear(kind)?,
            Op::ShiftPart(direction, kind) => self.shift_part(direction, kind)?,
            Op::Shift(direction, kind) => self.shift(direction, kind)?,
            Op::Multiply(precision, kind) => self.multiply(precision, kind)?,
            Op::Divide(precision, kind) => self.divide(precision, kind)?,
            Op::Compare(kind) => {
                let (a, b) = self.fetch_two(kind)?;
                self.flags = Flags {
                    equal: a == b,
                    above: a > b,
                };
            }
            Op::Test(kind) => {
                let (a, b) = self.fetch_two(kind)?;
                self.flags.equal = a & b == 0;
            }
            Op::Jump(condition) => {
                let target = self.fetch_word()?;
                if condition.holds(self.flags) {
                    self.jump(target);
                }
            }
            Op::Switch => self.switch()?,
            Op::Call => {
                let table = self.fetch()?;
                self.call(table)?;
            }
            Op::End => return Ok(self.end()),
            Op::Delay(unit) => self.delay(unit)?,
            Op::SetPort => self.set_port()?,
            Op::SetSystemPort => {
                self.fetch()?;
                self.port = Port::System;
            }
            Op::SetRegisterBlock => self.special.register_block = self.fetch_word()?,
            Op::SetScratchWindow => {
                let attributes = self.fetch_attributes()?;
                self.special.scratch_window = self.source(attributes)?;
            }
            Op::SetDataBlock => self.set_data_block()?,
            Op::Nop(bytes) => self.frame.at += bytes,
            Op::Data => {
                let bytes = self.fetch_word()?;
                self.frame.at += usize::from(bytes);
            }
        }
        Ok(Flow::Next)
    }

    /// Fetches the destination of an instruction, and reads it.
    fn destination(&mut self, kind: Kind) -> Result<Destination, Cause> {
        let attributes = self.fetch_attributes()?;
        let place = self.fetch_place(kind)?;
        Ok(Destination {
            attributes,
            place,
            whole: self.load(place)?,
        })
    }

    /// Writes to the part of the destination that its attributes name.
    fn write(&mut self, to: &Destination, value: u32) -> Result<(), Cause> {
        self.store(to.place, to.attributes.destination, to.whole, value)
    }

    /// Fetches the destination and the source of an instruction that only reads them.
    fn fetch_two(&mut self, kind: Kind) -> Result<(u32, u32), Cause> {
        let to = self.destination(kind)?;
        Ok((to.value(), self.source(to.attributes)?))
    }

    fn move_to(&mut self, kind: Kind) -> Result<(), Cause> {
        let attributes = self.fetch_attributes()?;
        let place = self.fetch_place(kind)?;
        // A register may not like to be read: it is not, where nothing of it stays.
        let whole = match attributes.part.width {
            Width::Dword => 0,
            Width::Word | Width::Byte => self.load(place)?,
        };
        let value = self.source(attributes)?;
        self.store(place, attributes.destination, whole, value)
    }

    fn combine(&mut self, how: Combine, kind: Kind) -> Result<(), Cause> {
        let to = self.destination(kind)?;
        let source = self.source(to.attributes)?;
        self.write(&to, how.apply(to.value(), source))
    }

    fn mask(&mut self, kind: Kind) -> Result<(), Cause> {
        let to = self.destination(kind)?;
        let mask = self.fetch_constant(to.attributes.part.width)?;
        let source = self.source(to.attributes)?;
        self.write(&to, to.value() & mask | source)
    }

    fn clear(&mut self, kind: Kind) -> Result<(), Cause> {
        let to = self.destination(kind)?;
        self.store(to.place, to.attributes.part, to.whole, 0)
    }

    fn shift_part(&mut self, direction: Direction, kind: Kind) -> Result<(), Cause> {
        let to = self.destination(kind)?;
        let distance = self.fetch()?;
        let part = to.attributes.part;
        let value = direction.shift(part.extract(to.whole), distance);
        self.store(to.place, part, to.whole, value)
    }

    fn shift(&mut self, direction: Direction, kind: Kind) -> Result<(), Cause> {
        let to = self.destination(kind)?;
        let [distance, ..] = self.source(to.attributes)?.to_le_bytes();
        let shifted = direction.shift(to.whole, distance);
        self.write(&to, to.attributes.destination.extract(shifted))
    }

    fn multiply(&mut self, precision: Precision, kind: Kind) -> Result<(), Cause> {
        let (a, b) = self.fetch_two(kind)?;
        let product = u64::from(a) * u64::from(b);
        self.special.quotient = low(product);
        if let Precision::Double = precision {
            self.special.remainder = high(product);
        }
        Ok(())
    }

    /// Divides. Division by zero gives zeros. A division of double precision takes the upper half
    /// of its dividend from the special registers, and leaves its quotient there, not a remainder.
    fn divide(&mut self, precision: Precision, kind: Kind) -> Result<(), Cause> {
        let (a, b) = self.fetch_two(kind)?;
        let special = &mut self.special;
        (special.quotient, special.remainder) = match precision {
            _ if b == 0 => (0, 0),
            Precision::Single => (a / b, a % b),
            Precision::Double => {
                let dividend = u64::from(special.remainder) << 32 | u64::from(a);
                let quotient = dividend / u64::from(b);
                (low(quotient), high(quotient))
            }
        };
        Ok(())
    }

    fn jump(&mut self, target: u16) {
        self.frame.at = usize::from(self.frame.start) + usize::from(target);
    }

    /// Jumps to the target of the case that the source equals, or goes on behind the last case.
    fn switch(&mut self) -> Result<(), Cause> {
        const CASE: u8 = 0x63;
        const CASES_END: [u8; 2] = [0x5a, 0x5a];

        let attributes = self.fetch_attributes()?;
        let value = self.source(attributes)?;
        loop {
            self.spend()?;
            let mark = self.fetch_word()?.to_le_bytes();
            if mark == CASES_END {
                return Ok(());
            }
            if mark[0] != CASE {
                return Err(Cause::Case(mark[0]));
            }
            // The second byte was the constant's first.
            self.frame.at -= 1;
            let case = self.fetch_constant(attributes.part.width)?;
            let target = self.fetch_word()?;
            if case == value {
                self.jump(target);
                return Ok(());
            }
        }
    }

    fn delay(&mut self, unit: u32) -> Result<(), Cause> {
        let microseconds = unit * u32::from(self.fetch()?);
        self.budget.wait(microseconds)?;
        self.bus.delay(microseconds);
        Ok(())
    }

    /// Sets the port for registers: zero is that for registers in the BAR.
    fn set_port(&mut self) -> Result<(), Cause> {
        let port = self.fetch_word()?;
        let [number, _] = port.to_le_bytes();
        self.port = match port {
            0 => Port::Mmio,
            _ => Port::Indirect(number & 0x7f),
        };
        Ok(())
    }

    /// Sets the data block to a data table, to the table that runs, or to the start of the image.
    fn set_data_block(&mut self) -> Result<(), Cause> {
        const IMAGE: u8 = 0;
        const THIS_TABLE: u8 = 255;

        self.special.data_block = match self.fetch()? {
            IMAGE => 0,
            THIS_TABLE => self.frame.start,
            table => {
                let entry = entry(self.tables.data, table);
                self.image.word(entry).ok_or(Cause::OutOfImage)?
            }
        };
        Ok(())
    }
}

fn low(value: u64) -> u32 {
    // CAST: Only the lower half is wanted.
    value as u32
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}
