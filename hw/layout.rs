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
    /// Offsets that the driver keeps for itself, at the end of the visible part. They are in the
    /// middle of VRAM where the CPU does not reach all of it.
    pub(crate) reserved: (u64, u64),
}

impl VramLayout {
    /// Returns the address, in the GPU's address space, of the byte at `offset` in VRAM.
    pub(crate) fn mc_addr(&self, offset: u64) -> u64 {
        self.start + offset
    }

    /// Returns the bytes of VRAM that are free to be managed.
    pub(crate) fn managed(&self) -> u64 {
        self.size - self.kept()
    }

    /// Returns the bytes of VRAM that are free to be managed and that the CPU can access.
    pub(crate) fn managed_visible(&self) -> u64 {
        self.visible - self.kept()
    }

    /// Returns the bytes that are not free to be managed. The CPU can access them all.
    fn kept(&self) -> u64 {
        self.picture + (self.reserved.1 - self.reserved.0)
    }

    /// Returns true if the CPU can access all of VRAM.
    pub(crate) fn is_all_visible(&self) -> bool {
        self.visible == self.size
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
    fn what_is_kept_is_visible() {
        let layout = VramLayout {
            start: 0xf4_0000_0000,
            size: 0x8000_0000,
            visible: 0x1000_0000,
            picture: 0x30_0000,
            reserved: (0xfdf_f000, 0x1000_0000),
        };
        assert_eq!(layout.managed(), 0x8000_0000 - 0x30_0000 - 0x20_1000);
        assert_eq!(
            layout.managed_visible(),
            0x1000_0000 - 0x30_0000 - 0x20_1000
        );
        assert!(!layout.is_all_visible());
        let all = VramLayout {
            size: layout.visible,
            ..layout
        };
        assert_eq!(all.managed(), all.managed_visible());
        assert!(all.is_all_visible());
    }

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
