// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory with a witness.
//!
//! The memory is made of pages of a file, of which there are several *banks*: each page of the
//! memory can be mapped from any of them. A second mapping, the *view*, shows all banks all the
//! time. So when the memory gives up a page and takes the one of another bank, the view is there to
//! plant a canary in what was given up: it is somebody else's page now, and whatever changes it is
//! a fault.

use std::{
    fs::File,
    ops::Range, //
};

use amdgpu_client::{
    mem::{
        UserMem,
        memory_file, //
    },
    rng::Rng, //
};

use crate::{
    arena::Arena,
    writer::{
        Marks,
        STAMP,
        WRITTEN,
        say, //
    }, //
};

/// Pages of the memory.
pub const PAGES: usize = 16;
/// Pages that are replaced in one go.
const MOST: usize = 4;
/// More than the banks that such a range can be made of.
const BANKS: usize = 8;
const CANARY: u32 = 0xcaca_caca;

/// The memory, its file, and the view.
pub struct Banks {
    file: File,
    pub mem: UserMem,
    view: UserMem,
    /// Bank from which each page is mapped.
    bank_of: Vec<usize>,
    generation: u32,
}

/// Replaces a range of pages by those of a file from a page on; calls the closure as soon as the
/// old ones are given up.
pub type Call =
    fn(&mut UserMem, Range<usize>, &File, usize, &mut dyn FnMut()) -> amdgpu_client::Result;

/// munmap and mmap: between the two there is a hole.
pub const UNMAP: Call = |mem, pages, file, from, given_up| {
    mem.unmap(pages.clone())?;
    given_up();
    mem.fill_hole(pages, file, from)
};

/// mremap of other pages to where these are.
pub const REMAP: Call = |mem, pages, file, from, given_up| {
    mem.replace(pages.start, UserMem::of_file_from(file, from, pages.len())?)?;
    given_up();
    Ok(())
};

/// mmap over what is there.
pub const MAP_OVER: Call = |mem, pages, file, from, given_up| {
    mem.map_over(pages, file, from)?;
    given_up();
    Ok(())
};

impl Banks {
    /// All of it from the first bank.
    pub fn new() -> Result<Self, String> {
        Self::at_the_start_of(UserMem::anonymous(PAGES).map_err(say("mmap"))?, |_| Ok(()))
    }

    /// The same in the first pages of `mem`; `fill` maps what is to be behind them.
    pub fn at_the_start_of(
        mut mem: UserMem,
        fill: impl FnOnce(&mut UserMem) -> Result<(), String>,
    ) -> Result<Self, String> {
        fill(&mut mem)?;
        let file = memory_file(BANKS * PAGES).map_err(say("a file"))?;
        mem.map_over(0..PAGES, &file, 0).map_err(say("mmap"))?;
        let banks = Self {
            mem,
            view: UserMem::of_file(&file, BANKS * PAGES).map_err(say("mmap"))?,
            file,
            bank_of: vec![0; PAGES],
            generation: 0,
        };
        (PAGES..BANKS * PAGES).for_each(|page| banks.view.store(page, WRITTEN, CANARY));
        Ok(banks)
    }

    /// Replaces random ranges until the race is over.
    pub fn take(
        &mut self,
        arena: &Arena,
        marks: &Marks,
        mut rng: Rng,
        call: Call,
    ) -> Result<(), String> {
        while arena.goes_on() {
            arena.ready(&mut rng);
            self.replace(arena, marks, &mut rng, call)?;
            self.intact()?;
        }
        self.intact()
    }

    /// Replaces one random range.
    pub fn replace(
        &mut self,
        arena: &Arena,
        marks: &Marks,
        rng: &mut Rng,
        call: Call,
    ) -> Result<(), String> {
        let len = rng.within(1..MOST + 1);
        let first = rng.within(0..PAGES - len + 1);
        let pages = first..first + len;
        let bank = self.another_bank(&pages, rng.within(0..BANKS));
        self.generation += 1;
        let Self { file, mem, view, bank_of, generation } = self;

        for page in pages.clone() {
            view.store(bank * PAGES + page, WRITTEN, 0);
            view.store(bank * PAGES + page, STAMP, *generation);
        }
        marks.begin(pages.clone(), *generation);
        let mut given_up = || {
            for page in pages.clone() {
                view.store(bank_of[page] * PAGES + page, WRITTEN, CANARY);
                bank_of[page] = bank;
            }
        };
        arena
            .take(|| call(mem, pages.clone(), file, bank * PAGES + first, &mut given_up))
            .map_err(say("replacing memory"))?;
        marks.settle(pages, *generation);
        Ok(())
    }

    /// A bank that none of the pages is mapped from.
    fn another_bank(&self, pages: &Range<usize>, first: usize) -> usize {
        let unused = |bank: &usize| !self.bank_of[pages.clone()].contains(bank);
        // There are more banks than pages in a range.
        (0..BANKS).map(|n| (first + n) % BANKS).find(unused).unwrap_or(first)
    }

    /// Checks that every page that is not mapped holds its canary.
    pub fn intact(&self) -> Result<(), String> {
        for at in 0..BANKS * PAGES {
            let (bank, page) = (at / PAGES, at % PAGES);
            let word = self.view.load(at, WRITTEN);
            if self.bank_of[page] != bank && word != CANARY {
                return Err(format!(
                    "page {page} of bank {bank} was given up, and then written to: {word:#x}"
                ));
            }
        }
        Ok(())
    }
}
