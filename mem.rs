// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Types in which address spaces (`vm.rs`), buffer objects (`ttm.rs`) and user memory
//! (`userptr.rs`) speak of memory to each other. Nothing here knows any of the three.
//!
//! The C driver has structures of the objects themselves for this: `amdgpu_bo`, `ttm_resource`.

use kernel::{
    dma::DmaAddress,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use crate::hw::page_table::{
    Pte,
    Snoop,
    TableKey, //
};

/// ID of a BO, unique for as long as the driver is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BoId(u64);

impl BoId {
    /// The lowest ID.
    pub(crate) const FIRST: Self = Self(0);
    /// The ID of no BO.
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// Returns an ID that no BO has yet.
    pub(crate) fn new() -> Self {
        static LAST: Atomic<u64> = Atomic::new(0);

        Self(LAST.fetch_add(1, Relaxed)).next()
    }

    /// Returns the ID as a number.
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// Returns the next higher ID.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The page directory of an address space, or one of its other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableId {
    Directory,
    Table(TableKey),
}

/// Contiguous VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VramBlock {
    /// Offset from the start of VRAM, and size, both in bytes and multiples of the page size.
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Pages of system memory, as the GPU addresses them.
pub(crate) trait SystemPages {
    /// Returns the DMA address of a page.
    fn address(&self, page: usize) -> Option<DmaAddress>;

    /// Writes page-table entries for the pages from `first` on to `into`, as far as there are such
    /// pages, and returns their number. `of_page_0` is the entry for a page at address 0.
    fn entries(&self, first: usize, of_page_0: Pte, into: &mut [u64]) -> usize;
}

/// The location of the bytes of a buffer object.
#[derive(Clone, Copy)]
pub(crate) enum Backing<'a> {
    /// These blocks of VRAM, one after the other.
    Vram(&'a [VramBlock]),
    /// These pages of system memory.
    System {
        pages: &'a dyn SystemPages,
        snoop: Snoop,
        /// Forbids the GPU to write to the pages, whatever access a mapping asks for.
        read_only: bool,
    },
}

/// Ability of jobs to reach the bytes of a BO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "bytes that jobs reach may not go before those jobs have ended"]
pub(crate) enum Reach {
    /// No job of this address space can reach them.
    None,
    /// Published jobs can reach them. No later job will.
    PublishedJobs,
}
