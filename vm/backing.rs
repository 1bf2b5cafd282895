// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where a buffer object's bytes are, and the page-table entries that show them to the GPU.

use core::ops::Range;

use kernel::{
    dma::DmaAddress,
    prelude::*, //
};

use super::{
    layout,
    mapping::Mapping, //
};
use crate::hw::gfx7::pte::{
    Access,
    Fragment,
    Pte,
    Snoop,
    PAGE_SHIFT, //
};

/// Contiguous VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Offset from the start of VRAM, and size, both in bytes and multiples of the page size.
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Pages of system memory, as the GPU finds them.
pub(crate) trait SystemPages {
    /// The DMA address of a page.
    fn address(&self, page: usize) -> Option<DmaAddress>;
}

/// Where the bytes of a buffer object are.
#[derive(Clone, Copy)]
pub(crate) enum Backing<'a> {
    /// In these blocks of VRAM, one after the other.
    Vram(&'a [Block]),
    /// In these pages of system memory.
    System {
        pages: &'a dyn SystemPages,
        snoop: Snoop,
        /// Whether the GPU may not write to them, whatever a mapping asks for.
        read_only: bool,
    },
}

impl<'a> Backing<'a> {
    /// The entries of the pages of `mapping`, in order.
    pub(super) fn entries<K: Copy, A: Copy + Into<Access>>(
        self,
        mapping: &Mapping<K, A>,
    ) -> impl Iterator<Item = Pte> + 'a {
        let access = mapping.access.into();
        let (page, bo_page, count) = (mapping.page, mapping.bo_page, mapping.count);

        match self {
            Self::Vram(blocks) => Entries::Vram(vram_entries(blocks, page, bo_page, count, access)),
            Self::System {
                pages,
                snoop,
                read_only,
            } => {
                let access = Access {
                    write: access.write && !read_only,
                    ..access
                };
                let wanted = bo_page..bo_page + count;
                Entries::System(system_entries(pages, wanted, access, snoop))
            }
        }
    }
}

/// The entries of `count` pages of a buffer in VRAM, from its page `bo_page` on, where the address
/// space has them from `page` on.
fn vram_entries(
    blocks: &[Block],
    page: u64,
    bo_page: u64,
    count: u64,
    access: Access,
) -> impl Iterator<Item = Pte> + '_ {
    let blocks = blocks
        .iter()
        .map(|block| (block.offset, block.size >> PAGE_SHIFT));
    layout::runs(blocks, page, bo_page, count).flat_map(move |run| run_entries(run, access))
}

/// The entries of pages that are contiguous in VRAM.
fn run_entries(run: layout::Run, access: Access) -> impl Iterator<Item = Pte> {
    layout::fragments(run).flat_map(move |(piece, fragment): (_, Fragment)| {
        (0..piece.count)
            .map(move |n| Pte::vram(piece.address + (n << PAGE_SHIFT), access, fragment))
    })
}

/// The entries of pages of system memory.
fn system_entries(
    pages: &dyn SystemPages,
    wanted: Range<u64>,
    access: Access,
    snoop: Snoop,
) -> impl Iterator<Item = Pte> + '_ {
    wanted.map(move |page| {
        usize::try_from(page)
            .ok()
            .and_then(|page| pages.address(page))
            .map_or(Pte::INVALID, |page| Pte::system(page, access, snoop))
    })
}

/// Entries of either kind.
enum Entries<V, S> {
    Vram(V),
    System(S),
}

impl<V: Iterator<Item = Pte>, S: Iterator<Item = Pte>> Iterator for Entries<V, S> {
    type Item = Pte;

    fn next(&mut self) -> Option<Pte> {
        match self {
            Self::Vram(entries) => entries.next(),
            Self::System(entries) => entries.next(),
        }
    }
}

#[kunit_tests(amdgpu_rs_vm_backing)]
mod tests {
    use super::*;

    struct Pages(&'static [DmaAddress]);

    impl SystemPages for Pages {
        fn address(&self, page: usize) -> Option<DmaAddress> {
            self.0.get(page).copied()
        }
    }

    fn same(backing: Backing<'_>, bo_page: u64, count: u64, write: bool, raw: &[u64]) -> bool {
        let mapping = Mapping {
            page: 16,
            count,
            bo: (),
            bo_page,
            access: Access { read: true, write },
        };
        let mut raw = raw.iter().copied();
        let mut entries = backing.entries(&mapping);
        loop {
            match (entries.next(), raw.next()) {
                (None, None) => return true,
                (entry, raw) if entry.map(Pte::into_raw) == raw => (),
                _ => return false,
            }
        }
    }

    #[test]
    fn blocks_of_vram() {
        let blocks = [
            Block {
                offset: 0x10000,
                size: 0x2000,
            },
            Block {
                offset: 0x4000,
                size: 0x1000,
            },
        ];
        let backing = Backing::Vram(&blocks);
        assert!(same(backing, 0, 3, true, &[0x100e1, 0x110e1, 0x4061]));
        assert!(same(backing, 1, 2, false, &[0x11021, 0x4021]));
        assert!(same(backing, 2, 0, true, &[]));
        // No more than there is.
        assert!(same(backing, 2, 5, true, &[0x4061]));
    }

    #[test]
    fn pages_of_the_system() {
        let pages = Pages(&[0x7000, 0x3000, 0x1_0000_0000]);
        let cached = Backing::System {
            pages: &pages,
            snoop: Snoop::Yes,
            read_only: false,
        };
        assert!(same(cached, 0, 2, true, &[0x7067, 0x3067]));
        assert!(same(cached, 2, 1, false, &[0x1_0000_0027]));
        // A page that is not there maps nothing.
        assert!(same(cached, 2, 2, true, &[0x1_0000_0067, 0]));
        let read_only = Backing::System {
            pages: &pages,
            snoop: Snoop::No,
            read_only: true,
        };
        assert!(same(read_only, 1, 1, true, &[0x3023]));
    }
}
