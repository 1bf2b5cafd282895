// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The location of a buffer object's bytes, and the page-table entries that show them to the GPU.

use kernel::dma::DmaAddress;

use super::{
    layout::{
        self,
        Run, //
    },
    mapping::Mapping,
    tables::Fill, //
};
use crate::hw::page_table::{
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
    Vram(&'a [Block]),
    /// These pages of system memory.
    System {
        pages: &'a dyn SystemPages,
        snoop: Snoop,
        /// Forbids the GPU to write to the pages, whatever access a mapping asks for.
        read_only: bool,
    },
}

impl<'a> Backing<'a> {
    /// Returns the entries of the pages of `mapping`, in order.
    pub(super) fn entries<K: Copy, A: Copy + Into<Access>>(
        self,
        mapping: &Mapping<K, A>,
    ) -> impl Fill + 'a {
        let access = mapping.access.into();
        let (page, bo_page, count) = (mapping.page, mapping.bo_page, mapping.count);

        match self {
            Self::Vram(blocks) => Entries::Vram {
                pieces: vram_pieces(blocks, page, bo_page, count),
                access,
                next: Pte::INVALID,
                left: 0,
            },
            Self::System {
                pages,
                snoop,
                read_only,
            } => Entries::System {
                pages,
                next: bo_page,
                end: bo_page + count,
                of_page_0: Pte::system(
                    0,
                    Access {
                        write: access.write && !read_only,
                        ..access
                    },
                    snoop,
                ),
            },
        }
    }
}

/// Returns the pieces of `count` pages of a buffer in VRAM, each with its fragment. The pages start
/// at page `bo_page` of the buffer and are mapped from `page` of the address space on.
fn vram_pieces(
    blocks: &[Block],
    page: u64,
    bo_page: u64,
    count: u64,
) -> impl Iterator<Item = (Run, Fragment)> + '_ {
    let blocks = blocks
        .iter()
        .map(|block| (block.offset, block.size >> PAGE_SHIFT));
    layout::runs(blocks, page, bo_page, count).flat_map(layout::fragments)
}

/// The entries of a mapping's pages that have not been handed out yet.
enum Entries<'a, P> {
    Vram {
        /// The pieces that follow the one of `next`.
        pieces: P,
        access: Access,
        next: Pte,
        /// Number of pages of the piece that are left.
        left: usize,
    },
    System {
        pages: &'a dyn SystemPages,
        next: u64,
        end: u64,
        of_page_0: Pte,
    },
}

impl<P: Iterator<Item = (Run, Fragment)>> Fill for Entries<'_, P> {
    fn fill(&mut self, into: &mut [u64]) {
        let filled = match self {
            Self::Vram {
                pieces,
                access,
                next,
                left,
            } => fill_vram(pieces, *access, next, left, into),
            Self::System {
                pages,
                next,
                end,
                of_page_0,
            } => fill_system(*pages, next, *end, *of_page_0, into),
        };
        if filled < into.len() {
            into[filled..].fill(Pte::INVALID.into_raw());
        }
    }
}

/// Writes entries for as many pages as `into` has room for. Returns their number.
fn fill_vram(
    pieces: &mut impl Iterator<Item = (Run, Fragment)>,
    access: Access,
    next: &mut Pte,
    left: &mut usize,
    into: &mut [u64],
) -> usize {
    let mut filled = 0;

    while filled < into.len() {
        if *left == 0 {
            let Some((piece, fragment)) = pieces.next() else {
                break;
            };
            // LOSSLESS: A fragment has few pages.
            *left = piece.count as usize;
            *next = Pte::vram(piece.address, access, fragment);
        }
        let count = (into.len() - filled).min(*left);
        let mut entry = *next;
        for to in &mut into[filled..filled + count] {
            *to = entry.into_raw();
            entry = entry.next_page();
        }
        *next = entry;
        filled += count;
        *left -= count;
    }
    filled
}

/// Writes entries for as many pages as `into` has room for. Returns their number.
fn fill_system(
    pages: &dyn SystemPages,
    next: &mut u64,
    end: u64,
    of_page_0: Pte,
    into: &mut [u64],
) -> usize {
    let count = usize::try_from(end - *next).map_or(into.len(), |left| left.min(into.len()));
    let Ok(first) = usize::try_from(*next) else {
        return 0;
    };

    // LOSSLESS: No more than `into` has room for.
    *next += count as u64;
    pages.entries(first, of_page_0, &mut into[..count])
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_vm_backing)]
mod tests {
    use super::*;

    struct Pages(&'static [DmaAddress]);

    impl SystemPages for Pages {
        fn address(&self, page: usize) -> Option<DmaAddress> {
            self.0.get(page).copied()
        }

        fn entries(&self, first: usize, of_page_0: Pte, into: &mut [u64]) -> usize {
            let pages = self.0.get(first..).unwrap_or(&[]);
            for (to, page) in into.iter_mut().zip(pages) {
                *to = of_page_0.into_raw() | *page;
            }
            pages.len().min(into.len())
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
        // In steps that do not divide the number of pages, and beyond the end.
        [1, 2, 5].into_iter().all(|step| {
            let mut entries = backing.entries(&mapping);
            let mut seen = [!0; 10];
            for block in seen.chunks_mut(step) {
                entries.fill(block);
            }
            let (expected, rest) = seen.split_at(raw.len());
            expected == raw && rest.iter().all(|entry| *entry == Pte::INVALID.into_raw())
        })
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
        // No more than the buffer has.
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
        // A missing page maps nothing.
        assert!(same(cached, 2, 2, true, &[0x1_0000_0067, 0]));
        let read_only = Backing::System {
            pages: &pages,
            snoop: Snoop::No,
            read_only: true,
        };
        assert!(same(read_only, 1, 1, true, &[0x3023]));
    }
}
