// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Location of memory in the GPU's own address space, context 0 (the C driver's `vram_start` and
//! `gart_start`).
//!
//! VRAM is a range of it that is not translated. The GART window is another range, through which
//! the kernel gives the GPU access to system memory: see `exec/gart.rs`.

use core::ops::Range;

use kernel::num::casts::usize_as_u64;

use super::page_table::{
    ENTRY_SIZE,
    PAGE_SIZE, //
};

/// VRAM, and the parts of it that are not free to be managed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VramLayout {
    /// Start of VRAM in the GPU's address space.
    pub(crate) start: u64,
    /// Size of VRAM in bytes.
    pub(crate) size: u64,
    /// Bytes, from the start of VRAM, that the CPU can access.
    pub(crate) visible: u64,
    /// Bytes, from the start of VRAM, that are on the screen, where the firmware put its picture.
    pub(crate) picture: u64,
    /// Offsets that the driver keeps for itself, at the end of the visible part.
    pub(crate) reserved: (u64, u64),
}

impl VramLayout {
    /// Returns the address, in the GPU's address space, of the byte at `offset` in VRAM.
    pub(crate) fn mc_addr(&self, offset: u64) -> u64 {
        self.start + offset
    }

    /// Returns the offsets that the driver keeps for itself.
    pub(crate) fn reserved(&self) -> Range<u64> {
        self.reserved.0..self.reserved.1
    }
}

/// Location of the GART window and its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GartLayout {
    /// Address of the window in the GPU's address space.
    pub(crate) start: u64,
    /// Offset of the table from the start of VRAM.
    pub(crate) table: u64,
}

impl GartLayout {
    /// Number of pages of the window.
    pub(crate) const PAGES: usize = 1 << 18;
    /// Size of the window in bytes.
    pub(crate) const SIZE: u64 = usize_as_u64(Self::PAGES) * PAGE_SIZE;
    /// Size of the table in bytes.
    pub(crate) const TABLE_SIZE: u64 = usize_as_u64(Self::PAGES * ENTRY_SIZE);

    /// Returns the address, in the GPU's address space, of a page of the window.
    pub(crate) fn gpu_addr(&self, page: usize) -> u64 {
        self.start + usize_as_u64(page) * PAGE_SIZE
    }

    /// Returns the offset, from the start of VRAM, of the entry of a page of the window.
    pub(crate) fn entry(&self, page: usize) -> u64 {
        self.table + usize_as_u64(page * ENTRY_SIZE)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_layout)]
mod tests {
    use super::*;

    const LAYOUT: GartLayout = GartLayout {
        start: 0xff_0000_0000,
        table: 0x3fe0_0000,
    };

    #[test]
    fn arithmetic() {
        assert_eq!(GartLayout::SIZE, 1 << 30);
        assert_eq!(GartLayout::TABLE_SIZE, 2 << 20);
        assert_eq!(LAYOUT.gpu_addr(0), 0xff_0000_0000);
        assert_eq!(LAYOUT.gpu_addr(GartLayout::PAGES - 1), 0xff_3fff_f000);
        assert_eq!(LAYOUT.entry(0), 0x3fe0_0000);
        assert_eq!(
            LAYOUT.entry(GartLayout::PAGES - 1) + usize_as_u64(ENTRY_SIZE),
            LAYOUT.table + GartLayout::TABLE_SIZE
        );
    }
}
