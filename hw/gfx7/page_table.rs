// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The page tables of this generation: two levels, for an address space of 64 GiB.
//!
//! The C driver's are in gmc_v7_0.c (`amdgpu_vm_adjust_size`, `AMDGPU_PTE_*`).

use crate::hw::page_table::{
    Format,
    TableLevel,
    PAGE_SHIFT, //
};

/// log2 of the number of entries of one page table: 8 KiB.
pub(super) const TABLE_SHIFT: u32 = 10;
/// log2 of the number of entries of the page directory: 128 KiB.
const DIRECTORY_SHIFT: u32 = 14;
/// log2 of the number of pages of the largest fragment, 2 MiB.
pub(super) const FRAGMENT_SHIFT: u32 = 9;

pub(super) const FORMAT: Format = Format::new(
    &[
        TableLevel {
            shift: TABLE_SHIFT,
            bits: DIRECTORY_SHIFT,
        },
        TableLevel {
            shift: 0,
            bits: TABLE_SHIFT,
        },
    ],
    40,
    FRAGMENT_SHIFT,
    0,
);

// The directory and the tables of the C driver have these sizes, too.
const _: () = assert!(FORMAT.pages() == (64 << 30) >> PAGE_SHIFT);
