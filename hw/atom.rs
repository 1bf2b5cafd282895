// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An interpreter of ATOM BIOS command tables (the C driver's `atom.c`).
//!
//! The video BIOS initializes the card ("posting") with programs in a byte code of their own, as
//! the same image has to serve any processor. Where the system firmware has not run the first of
//! them, `ASIC_Init`, the driver does. The header of the image points to two lists of tables:
//! command tables hold programs, data tables what the programs (and drivers) read.
//!
//! A program moves values between registers, four kinds of memory and constants ([`operand`]),
//! computes, compares, jumps, waits and calls other tables ([`exec`]). Registers that are not
//! mapped are reached by little programs of a second byte code ([`iio`]).
//!
//! No image is trusted. All reads are bounded by the image, nesting by [`NESTING`], and the time
//! that a program takes by a [`Budget`]. Code that makes no sense ends in a [`Fault`]: the C driver
//! skips some of it, or takes it for the end of a table. But where code is sound and only what it
//! names does not exist, such as a parameter behind the last one, it gets what the C driver gives
//! it, as images are tested with no other interpreter but AMD's own.
//!
//! These files use only `core`, so that the interpreter can be tested without a kernel: against the
//! C driver's, in `tests/atom`.

mod exec;
mod iio;
pub(crate) mod image;
mod operand;

use self::{
    exec::{
        Flags,
        Frame, //
    },
    iio::Programs,
    image::{
        Image,
        Tables, //
    },
    operand::{
        Port,
        Special, //
    },
};

/// Maximum number of tables that call each other.
const NESTING: usize = 32;

/// Dwords of memory for the workspaces of all tables: at most 255 dwords each.
pub(crate) const WORKSPACE: usize = NESTING * 255;

/// Dwords of the frame buffer scratch area, unless the image [asks for more](Image::scratch). The
/// area is in system memory, as in the C driver.
pub(crate) const SCRATCH: usize = 5 << 10;

/// Dwords of the parameter space, which a table shares with those that it calls.
pub(crate) const PARAMETERS: usize = 16;

/// Number of steps after which the bus may [pause](Bus::pause).
const BREATH: u32 = 4096;

/// Access to the card.
pub(crate) trait Bus {
    /// Reads a register.
    fn read(&mut self, space: RegisterSet, register: u32) -> u32;

    /// Writes a register.
    fn write(&mut self, space: RegisterSet, register: u32, value: u32);

    /// Waits.
    fn delay(&mut self, microseconds: u32);

    /// Called every few thousand steps, so that a program that takes long lets others run.
    fn pause(&mut self) {}
}

/// A set of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegisterSet {
    /// Registers in the register BAR, by dword index.
    Mmio,
    /// Registers of the clock generators. On this driver's chips there are none.
    Pll,
    /// Registers of the memory controller behind an index. On this driver's chips there are none.
    Mc,
}

/// Time that a program may still take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Instructions, cases of a switch, and instructions of programs for indirect access.
    pub(crate) steps: u32,
    /// Microseconds of delays that the program asks for.
    pub(crate) wait: u32,
}

impl Budget {
    fn step(&mut self) -> Result<(), Cause> {
        self.steps = self.steps.checked_sub(1).ok_or(Cause::Steps)?;
        Ok(())
    }

    fn wait(&mut self, microseconds: u32) -> Result<(), Cause> {
        self.wait = self.wait.checked_sub(microseconds).ok_or(Cause::Wait)?;
        Ok(())
    }
}

/// The reason why a program ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Offset of the instruction in the image.
    pub(crate) at: usize,
    pub(crate) what: Cause,
}

/// Kind of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The image has no such table.
    NoTable,
    /// A read behind the end of the image.
    OutOfImage,
    /// An instruction that does not exist.
    Opcode(u8),
    /// A switch that has something else where a case begins.
    Case(u8),
    /// An instruction for indirect access that does not exist.
    Indirect(u8),
    /// Too many tables that call each other.
    Nesting,
    /// An address in the scratch area that has more than 32 bits.
    Scratch,
    /// More memory for workspaces than the machine was given.
    Workspace,
    /// More steps than the budget has.
    Steps,
    /// More delays than the budget has.
    Wait,
}

/// Memory of a machine. It has to be zero before the first program runs.
pub(crate) struct Memory<'a> {
    /// Workspaces of the tables: [`WORKSPACE`] dwords.
    pub(crate) workspace: &'a mut [u32],
    /// Frame buffer scratch area, of any size.
    pub(crate) scratch: &'a mut [u32],
}

/// A machine that runs the command tables of one image.
pub(crate) struct Machine<'a> {
    image: Image<'a>,
    tables: Tables,
    programs: Programs,
    bus: &'a mut dyn Bus,
    memory: Memory<'a>,
    budget: Budget,
    parameters: [u32; PARAMETERS],
    special: Special,
    flags: Flags,
    port: Port,
    /// The table that runs, and those that wait for it.
    frame: Frame,
    callers: [Frame; NESTING - 1],
    depth: usize,
}

impl<'a> Machine<'a> {
    /// Number of the command table that initializes the card.
    pub(crate) const ASIC_INIT: u8 = 0;

    /// Returns a machine for an image.
    pub(crate) fn new(
        image: &'a [u8],
        bus: &'a mut dyn Bus,
        memory: Memory<'a>,
        budget: Budget,
    ) -> Result<Self, Fault> {
        let image = Image(image);
        let tables = image.tables().ok_or(Fault {
            at: 0,
            what: Cause::NoTable,
        })?;
        Ok(Self {
            image,
            tables,
            programs: Programs::of(image, tables.data),
            bus,
            memory,
            budget,
            parameters: [0; PARAMETERS],
            special: Special::default(),
            flags: Flags::default(),
            port: Port::Mmio,
            frame: Frame::default(),
            callers: [Frame::default(); NESTING - 1],
            depth: 0,
        })
    }

    /// Returns what is left of the budget.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// Takes a step off the budget.
    fn spend(&mut self) -> Result<(), Cause> {
        self.budget.step()?;
        if self.budget.steps % BREATH == 0 {
            self.bus.pause();
        }
        Ok(())
    }
}
