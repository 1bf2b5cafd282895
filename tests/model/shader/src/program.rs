// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A program, decoded as it is reached: each instruction once a dispatch.

use std::collections::HashMap;

use crate::{
    bus::Bus,
    gfx7::{
        Words,
        decode,
        text, //
    },
    isa::Inst,
    memory::{
        Memory,
        PAGE,
        Path, //
    },
    stop::Stop, //
};

/// Dwords of a page of code.
const SLOTS: usize = PAGE as usize / 4;
/// Not decoded yet.
const EMPTY: u32 = 0;
/// No page has this number.
const NOWHERE: u64 = !0;
/// Most instructions kept: a hostile program may run through all of memory.
const MOST: usize = 1 << 18;

/// Registers that a wave has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Vector registers.
    pub vector: u16,
    /// Scalar registers.
    pub scalar: u16,
}

/// A decoded program.
pub struct Program {
    allocation: Allocation,
    /// Place of each page in `pages`.
    index: HashMap<u64, usize>,
    /// By dword, one more than the position in `code`.
    pages: Vec<Box<[u32; SLOTS]>>,
    /// The last page that was asked for, and where it is.
    last: (u64, usize),
    code: Vec<Result<Inst, Stop>>,
}

impl Program {
    /// A program of which nothing is known.
    pub fn new(allocation: Allocation) -> Self {
        Program {
            allocation,
            index: HashMap::new(),
            pages: vec![],
            last: (NOWHERE, 0),
            code: vec![],
        }
    }

    /// Makes sure that the instruction at `pc` is decoded. Returns its position.
    #[inline]
    pub fn position<M: Memory + ?Sized>(
        &mut self,
        pc: u64,
        bus: &mut Bus<'_, M>,
    ) -> Result<usize, Stop> {
        let (page, slot) = (pc / PAGE, (pc % PAGE) as usize / 4);
        if self.last.0 == page && self.pages[self.last.1][slot] != EMPTY {
            return Ok(self.pages[self.last.1][slot] as usize - 1);
        }
        self.look_up(pc, bus)
    }

    /// The same for a page other than the last, or an instruction that was not reached yet.
    #[cold]
    fn look_up<M: Memory + ?Sized>(
        &mut self,
        pc: u64,
        bus: &mut Bus<'_, M>,
    ) -> Result<usize, Stop> {
        let (page, slot) = (pc / PAGE, (pc % PAGE) as usize / 4);
        if self.code.len() >= MOST {
            *self = Program::new(self.allocation);
        }
        let next = self.pages.len();
        let at = *self.index.entry(page).or_insert(next);
        if at == next {
            self.pages.push(Box::new([EMPTY; SLOTS]));
        }
        self.last = (page, at);
        if self.pages[at][slot] == EMPTY {
            let inst = self.fetch(pc, bus)?;
            self.code.push(inst);
            self.pages[at][slot] = self.code.len() as u32;
        }
        Ok(self.pages[at][slot] as usize - 1)
    }

    /// The instruction at a position.
    #[inline]
    pub fn at(&self, position: usize) -> Result<&Inst, Stop> {
        self.code[position].as_ref().map_err(Clone::clone)
    }

    /// Fetches and decodes. What is no instruction is an error only when it is executed.
    fn fetch<M: Memory + ?Sized>(
        &self,
        pc: u64,
        bus: &mut Bus<'_, M>,
    ) -> Result<Result<Inst, Stop>, Stop> {
        let first = bus.word(Path::Instruction, pc)?;
        let long = Words::size(first) == 2;
        let second = if long { bus.word(Path::Instruction, pc + 4)? } else { 0 };
        let inst = decode(Words { first, second })
            .map_err(|why| Stop::illegal(format!("at {pc:#x}: {why}")));
        Ok(inst.and_then(|inst| self.bounded(pc, inst)))
    }

    /// Refuses registers beyond the allocation.
    fn bounded(&self, pc: u64, inst: Inst) -> Result<Inst, Stop> {
        let mut used = inst.reads;
        used.join(&inst.writes);
        let vector = used.highest_vector().filter(|n| *n >= self.allocation.vector);
        let scalar = used.highest_scalar().filter(|n| *n >= self.allocation.scalar);
        let what = match (vector, scalar) {
            (Some(v), _) => format!("v{v}, {} are allocated", self.allocation.vector),
            (_, Some(s)) => format!("s{s}, {} are allocated", self.allocation.scalar),
            _ => return Ok(inst),
        };
        Err(Stop::bounds(format!("at {pc:#x}: {}: {what}", text(&inst))))
    }
}
