// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operands of command tables.
//!
//! The C driver's are `atom_get_src`, `atom_get_dst` and `atom_put_dst`.
//!
//! An instruction names its destination by its opcode, and the kind of its source in a byte of
//! attributes. Both may be a part of a dword: a byte, or a word at bit 0, 8 or 16. The destination
//! has the same width as the source, and a position of its own.
//!
//! | bits of the attributes | |
//! |---|---|
//! | 2:0 | kind of the source |
//! | 5:3 | part of the source |
//! | 7:6 | position of the destination, in bytes |

use super::{
    Cause,
    Machine,
    RegisterSet, //
};

/// Value of an operand that does not exist, as in the C driver.
const NOTHING: u32 = 0xcdcd_cdcd;

/// Kind of an operand that is not a constant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A register, through the port that is set.
    Register,
    /// A dword of the parameter space (PS).
    Parameter,
    /// A dword of the workspace (WS), or a special register.
    Workspace,
    /// A dword of the scratch area (FB), behind the start of its window.
    Scratch,
    /// A dword of the image (ID), behind the start of the data block.
    Data,
    /// A register of the clock generators.
    Pll,
    /// A register of the memory controller.
    Mc,
}

impl Kind {
    /// Kinds of destinations, in the order of the opcodes of an instruction.
    pub(super) const DESTINATIONS: [Self; 6] = [
        Self::Register,
        Self::Parameter,
        Self::Workspace,
        Self::Scratch,
        Self::Pll,
        Self::Mc,
    ];

    /// Returns the kind that attributes have in bits 2:0, or `None` if they stand for a constant.
    fn of(bits: u8) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Register,
            1 => Self::Parameter,
            2 => Self::Workspace,
            3 => Self::Scratch,
            4 => Self::Data,
            5 => return None,
            6 => Self::Pll,
            _ => Self::Mc,
        })
    }
}

/// Width of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Dword,
    Word,
    Byte,
}

impl Width {
    fn mask(self) -> u32 {
        match self {
            Self::Dword => 0xffff_ffff,
            Self::Word => 0xffff,
            Self::Byte => 0xff,
        }
    }
}

/// A part of a dword.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) width: Width,
    shift: u8,
}

impl Part {
    const WHOLE: Self = Self {
        width: Width::Dword,
        shift: 0,
    };

    /// Returns the part that the attributes have in bits 5:3.
    fn of(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::WHOLE,
            word @ 1..=3 => Self::at(Width::Word, word - 1),
            byte => Self::at(Width::Byte, byte - 4),
        }
    }

    /// Returns the part of this width at a position in bytes. At the last byte there is no room for
    /// a word: that stands for the whole dword.
    fn at(width: Width, position: u8) -> Self {
        match (width, position) {
            (Width::Dword, _) | (Width::Word, 3) => Self::WHOLE,
            _ => Self {
                width,
                shift: 8 * position,
            },
        }
    }

    pub(super) fn extract(self, whole: u32) -> u32 {
        whole >> self.shift & self.width.mask()
    }

    fn insert(self, whole: u32, value: u32) -> u32 {
        let mask = self.width.mask();
        whole & !(mask << self.shift) | (value & mask) << self.shift
    }
}

/// Attributes of an instruction.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    /// Kind of the source, or `None` if it is a constant in the code.
    source: Option<Kind>,
    /// Part of the source. In instructions without one, part of the destination.
    pub(super) part: Part,
    pub(super) destination: Part,
}

impl From<u8> for Attributes {
    fn from(bits: u8) -> Self {
        let part = Part::of(bits >> 3);
        Self {
            source: Kind::of(bits),
            part,
            destination: Part::at(part.width, bits >> 6),
        }
    }
}

/// Port through which registers are reached.
#[derive(Clone, Copy)]
pub(super) enum Port {
    /// Registers in the register BAR.
    Mmio,
    /// Registers of the PCI configuration space, or the system's I/O ports. They read as zero, as
    /// in the C driver: the kernel looks after both.
    System,
    /// Registers that the programs of this number reach.
    Indirect(u8),
}

/// Registers that tables find in their workspace, beginning with number 0x40.
#[derive(Default)]
pub(super) struct Special {
    /// Results of the last multiplication or division.
    pub(super) quotient: u32,
    pub(super) remainder: u32,
    /// Offset in the image behind which [`Kind::Data`] lies.
    pub(super) data_block: u16,
    /// Number of a bit, for masks.
    shift: u8,
    /// Offset in the scratch area behind which [`Kind::Scratch`] lies.
    pub(super) scratch_window: u32,
    /// Attributes for programs for indirect access.
    pub(super) attributes: u16,
    /// Index behind which [`Kind::Register`] lies.
    pub(super) register_block: u16,
}

impl Special {
    const QUOTIENT: u8 = 0x40;
    const REMAINDER: u8 = 0x41;
    const DATA_BLOCK: u8 = 0x42;
    const SHIFT: u8 = 0x43;
    const OR_MASK: u8 = 0x44;
    const AND_MASK: u8 = 0x45;
    const SCRATCH_WINDOW: u8 = 0x46;
    const ATTRIBUTES: u8 = 0x47;
    const REGISTER_BLOCK: u8 = 0x48;

    /// Reads a register, if `number` is one.
    fn read(&self, number: u8) -> Option<u32> {
        let bit = 1u32.wrapping_shl(self.shift.into());
        Some(match number {
            Self::QUOTIENT => self.quotient,
            Self::REMAINDER => self.remainder,
            Self::DATA_BLOCK => self.data_block.into(),
            Self::SHIFT => self.shift.into(),
            Self::OR_MASK => bit,
            Self::AND_MASK => !bit,
            Self::SCRATCH_WINDOW => self.scratch_window,
            Self::ATTRIBUTES => self.attributes.into(),
            Self::REGISTER_BLOCK => self.register_block.into(),
            _ => return None,
        })
    }

    /// Writes a register, and returns true, if `number` is one.
    fn write(&mut self, number: u8, value: u32) -> bool {
        let [byte, high, ..] = value.to_le_bytes();
        let word = u16::from_le_bytes([byte, high]);
        match number {
            Self::QUOTIENT => self.quotient = value,
            Self::REMAINDER => self.remainder = value,
            Self::DATA_BLOCK => self.data_block = word,
            Self::SHIFT => self.shift = byte,
            Self::OR_MASK | Self::AND_MASK => {}
            Self::SCRATCH_WINDOW => self.scratch_window = value,
            Self::ATTRIBUTES => self.attributes = word,
            Self::REGISTER_BLOCK => self.register_block = word,
            _ => return false,
        }
        true
    }
}

/// An operand that is not a constant.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Register(u32),
    Parameter(u8),
    Workspace(u8),
    Scratch(u8),
    Data(u16),
    Pll(u8),
    Mc(u8),
}

impl Machine<'_> {
    /// Fetches the next byte of the code.
    pub(super) fn fetch(&mut self) -> Result<u8, Cause> {
        let byte = self.image.byte(self.frame.at).ok_or(Cause::OutOfImage)?;
        self.frame.at += 1;
        Ok(byte)
    }

    /// Fetches the next word of the code.
    pub(super) fn fetch_word(&mut self) -> Result<u16, Cause> {
        let word = self.image.word(self.frame.at).ok_or(Cause::OutOfImage)?;
        self.frame.at += 2;
        Ok(word)
    }

    fn fetch_dword(&mut self) -> Result<u32, Cause> {
        let dword = self.image.dword(self.frame.at).ok_or(Cause::OutOfImage)?;
        self.frame.at += 4;
        Ok(dword)
    }

    pub(super) fn fetch_attributes(&mut self) -> Result<Attributes, Cause> {
        self.fetch().map(Attributes::from)
    }

    /// Fetches a constant.
    pub(super) fn fetch_constant(&mut self, width: Width) -> Result<u32, Cause> {
        match width {
            Width::Dword => self.fetch_dword(),
            Width::Word => self.fetch_word().map(u32::from),
            Width::Byte => self.fetch().map(u32::from),
        }
    }

    /// Fetches the number of an operand.
    pub(super) fn fetch_place(&mut self, kind: Kind) -> Result<Place, Cause> {
        Ok(match kind {
            Kind::Register => {
                let block = u32::from(self.special.register_block);
                Place::Register(block + u32::from(self.fetch_word()?))
            }
            Kind::Parameter => Place::Parameter(self.fetch()?),
            Kind::Workspace => Place::Workspace(self.fetch()?),
            Kind::Scratch => Place::Scratch(self.fetch()?),
            Kind::Data => Place::Data(self.fetch_word()?),
            Kind::Pll => Place::Pll(self.fetch()?),
            Kind::Mc => Place::Mc(self.fetch()?),
        })
    }

    /// Fetches the source of an instruction, and returns its value.
    pub(super) fn source(&mut self, attributes: Attributes) -> Result<u32, Cause> {
        let Some(kind) = attributes.source else {
            return self.fetch_constant(attributes.part.width);
        };
        let place = self.fetch_place(kind)?;
        Ok(attributes.part.extract(self.load(place)?))
    }

    /// Reads the whole dword of an operand.
    pub(super) fn load(&mut self, place: Place) -> Result<u32, Cause> {
        Ok(match place {
            Place::Register(index) => match self.port {
                Port::Mmio => self.bus.read(RegisterSet::Mmio, index),
                Port::System => 0,
                Port::Indirect(port) => self.indirect(port, index, 0)?,
            },
            Place::Parameter(index) => self.parameter(index).map_or(NOTHING, |dword| *dword),
            Place::Workspace(index) => match self.special.read(index) {
                Some(value) => value,
                None => self.workspace(index).map_or(NOTHING, |dword| *dword),
            },
            Place::Scratch(index) => self.scratch(index)?.map_or(0, |dword| *dword),
            Place::Data(offset) => {
                let block = usize::from(self.special.data_block);
                let value = self.image.dword(block + usize::from(offset));
                value.ok_or(Cause::OutOfImage)?
            }
            Place::Pll(index) => self.bus.read(RegisterSet::Pll, index.into()),
            Place::Mc(index) => self.bus.read(RegisterSet::Mc, index.into()),
        })
    }

    /// Writes a part of an operand. `whole` is what the operand was.
    pub(super) fn store(
        &mut self,
        place: Place,
        part: Part,
        whole: u32,
        value: u32,
    ) -> Result<(), Cause> {
        /// Number of the first program that writes. Those before it read.
        const WRITE: u8 = 0x80;

        let value = part.insert(whole, value);
        match place {
            Place::Register(index) => match self.port {
                // Register 0 takes the offset of another register in bytes, where tables count
                // dwords.
                Port::Mmio if index == 0 => self.bus.write(RegisterSet::Mmio, index, value << 2),
                Port::Mmio => self.bus.write(RegisterSet::Mmio, index, value),
                Port::System => {}
                Port::Indirect(port) => {
                    self.indirect(WRITE | port, index, value)?;
                }
            },
            Place::Parameter(index) => set(self.parameter(index), value),
            Place::Workspace(index) => {
                if !self.special.write(index, value) {
                    set(self.workspace(index), value);
                }
            }
            Place::Scratch(index) => set(self.scratch(index)?, value),
            // No instruction has a destination in the image.
            Place::Data(_) => {}
            Place::Pll(index) => self.bus.write(RegisterSet::Pll, index.into(), value),
            Place::Mc(index) => self.bus.write(RegisterSet::Mc, index.into(), value),
        }
        Ok(())
    }

    /// Returns a parameter of the table that runs, if there are so many.
    fn parameter(&mut self, index: u8) -> Option<&mut u32> {
        self.parameters.get_mut(self.frame.parameter(index))
    }

    /// Returns a dword of the workspace of the table that runs, if there are so many.
    fn workspace(&mut self, index: u8) -> Option<&mut u32> {
        let workspace = self.memory.workspace.get_mut(self.frame.workspace());
        workspace?.get_mut(usize::from(index))
    }

    /// Returns a dword of the scratch area, if it is that large.
    fn scratch(&mut self, index: u8) -> Result<Option<&mut u32>, Cause> {
        let window = self.special.scratch_window;
        // The dword has to be in the area as a whole where the window begins within a dword.
        let last = window.checked_add(4 * u32::from(index) + 3);
        let last = last.ok_or(Cause::Scratch)?;
        let dword = window / 4 + u32::from(index);
        Ok(usize::try_from(last / 4)
            .is_ok_and(|last| last < self.memory.scratch.len())
            .then(|| usize::try_from(dword).ok())
            .flatten()
            .and_then(|dword| self.memory.scratch.get_mut(dword)))
    }
}

/// Sets a dword if it exists.
fn set(dword: Option<&mut u32>, value: u32) {
    if let Some(dword) = dword {
        *dword = value;
    }
}
