// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The shape of a GPU address space: the page table and entry that hold a page, and the number of
//! neighboring pages that one entry may describe.
//!
//! The C driver has this in amdgpu_vm_pt.c (`amdgpu_vm_pte_fragment`).
//!
//! Tables of all levels are the generation's (`hw/page_table.rs`). Only the entries of the last
//! level matter here, those of pages (PTEs). A PTE has a fragment field. It tells the translation
//! cache that the naturally aligned block of pages around it is mapped to memory that is contiguous
//! and aligned to the same size, so that one cache entry serves all of them.
//!
//! Everything here is arithmetic on page numbers; nothing touches memory.

use core::ops::Range;

use crate::hw::page_table::{
    self,
    Format,
    Fragment,
    TableKey,
    PAGE_SHIFT, //
};

/// Size in bytes of an entry.
pub(super) const ENTRY_SIZE: u64 = page_table::ENTRY_SIZE as u64;

/// Neighboring pages whose PTEs are in one page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) table: TableKey,
    /// The first page.
    pub(super) page: u64,
    /// The number of pages.
    pub(super) count: u64,
    /// The index of the first page's PTE in the table.
    pub(super) first: u64,
}

impl Chunk {
    /// Returns the indices of the PTEs in their table.
    pub(super) fn entries(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}

/// Cuts a range of pages at page-table boundaries.
pub(super) fn chunks(format: &Format, pages: Range<u64>) -> impl Iterator<Item = Chunk> {
    let size = 1 << format.table_shift();
    let mut page = pages.start;
    let mut table = format.page_table(page);

    core::iter::from_fn(move || {
        if page >= pages.end {
            return None;
        }
        let first = page & (size - 1);
        let end = pages.end.min(page - first + size);
        let chunk = Chunk {
            table,
            page,
            count: end - page,
            first,
        };
        page = end;
        table = table.next();
        Some(chunk)
    })
}

/// Pages that are contiguous both in the address space and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first page in the address space.
    pub(super) page: u64,
    /// The address of its memory: an offset in VRAM or a DMA address, a multiple of the page size.
    pub(super) address: u64,
    /// The number of pages.
    pub(super) count: u64,
}

/// Returns the runs of `count` pages of a buffer from its page `bo_page` on, as mapped from `page`
/// on. `blocks` is the buffer's memory in order: each an address and a number of pages.
pub(super) fn runs(
    blocks: impl Iterator<Item = (u64, u64)>,
    page: u64,
    bo_page: u64,
    count: u64,
) -> impl Iterator<Item = Run> {
    let wanted = bo_page..bo_page + count;
    let mut next = 0;

    blocks.filter_map(move |(address, pages)| {
        let start = next.max(wanted.start);
        let end = (next + pages).min(wanted.end);
        let first = next;
        next += pages;
        (start < end).then(|| Run {
            page: page + (start - wanted.start),
            address: address + ((start - first) << PAGE_SHIFT),
            count: end - start,
        })
    })
}

/// Cuts a run into pieces, each the largest fragment that its alignment allows.
pub(super) fn fragments(format: &Format, run: Run) -> impl Iterator<Item = (Run, Fragment)> + '_ {
    let mut left = run;

    core::iter::from_fn(move || {
        if left.count == 0 {
            return None;
        }
        let fragment = format.fragment(left.page, left.address >> PAGE_SHIFT, left.count);
        let piece = Run {
            count: fragment.pages(),
            ..left
        };
        left.page += piece.count;
        left.address += piece.count << PAGE_SHIFT;
        left.count -= piece.count;
        Some((piece, fragment))
    })
}

/// Returns the pages around `border` whose PTEs may carry a fragment that spans it.
///
/// When the mapping on one side of `border` goes, the PTEs on the other side must no longer claim
/// it.
pub(super) fn fragment_neighbors(format: &Format, border: u64) -> Range<u64> {
    let block = format.fragment_pages();
    let start = border - border % block;

    if start == border {
        border..border
    } else {
        start..start + block
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_vm_layout)]
mod tests {
    use super::*;
    use crate::hw::page_table::fake::{
        SMALL,
        TWO, //
    };

    #[test]
    fn chunks_stop_at_table_borders() {
        let cut = |format: &Format, pages: Range<u64>| {
            let mut found = [(0, 0, 0); 4];
            let mut n = 0;
            for chunk in chunks(format, pages) {
                assert_eq!(chunk.table, format.page_table(chunk.page));
                if n < found.len() {
                    found[n] = (chunk.page, chunk.entries().start, chunk.count);
                }
                n += 1;
            }
            (n, found)
        };
        let none = (0, 0, 0);

        assert_eq!(cut(&TWO, 5..5).0, 0);
        assert_eq!(cut(&TWO, 0..1), (1, [(0, 0, 1), none, none, none]));
        assert_eq!(
            cut(&TWO, 1023..1025),
            (2, [(1023, 1023, 1), (1024, 0, 1), none, none])
        );
        assert_eq!(
            cut(&TWO, 1000..3100),
            (
                4,
                [
                    (1000, 1000, 24),
                    (1024, 0, 1024),
                    (2048, 0, 1024),
                    (3072, 0, 28)
                ]
            )
        );
        let last = TWO.pages() - 1;
        assert_eq!(
            cut(&TWO, last..last + 1),
            (1, [(last, 1023, 1), none, none, none])
        );
        assert_eq!(
            cut(&SMALL, 15..21),
            (3, [(15, 3, 1), (16, 0, 4), (20, 0, 1), none])
        );
    }

    #[test]
    fn fragments_cover_the_run_and_are_aligned_on_both_sides() {
        // (page, address, count, number of fragments)
        let cases = [
            (0, 0, 0, 0),
            (0, 0, 1, 1),
            (0, 0, 512, 1),
            (0, 0, 2048, 4),
            (16, 16 << 12, 16, 1),
            // The address is less aligned than the page.
            (16, 2 << 12, 16, 8),
            (1, 1 << 12, 7, 3),
            (3, 3 << 12, 6, 3),
            (512, 1 << 32, 513, 2),
            (7, 8 << 12, 1000, 1000),
        ];
        for (page, address, count, expected) in cases {
            let (mut next, mut next_address, mut n) = (page, address, 0);
            for (piece, fragment) in fragments(
                &TWO,
                Run {
                    page,
                    address,
                    count,
                },
            ) {
                assert_eq!(piece.page, next);
                assert_eq!(piece.address, next_address);
                assert_eq!(piece.count, fragment.pages());
                assert_eq!(piece.page % piece.count, 0);
                assert_eq!((piece.address >> PAGE_SHIFT) % piece.count, 0);
                next += piece.count;
                next_address += piece.count << PAGE_SHIFT;
                n += 1;
            }
            assert_eq!(next, page + count);
            assert_eq!(n, expected);
        }
    }

    #[test]
    fn runs_of_a_part_of_a_buffer() {
        // Pages 0-3 at 0x8000, 4 at 0x1000, 5-6 at 0x20000.
        let blocks = [(0x8000, 4), (0x1000, 1), (0x20000, 2)];
        // (buffer page, count, the runs as (page, address, count))
        let cases: [(u64, u64, &[(u64, u64, u64)]); 5] = [
            (
                0,
                7,
                &[(100, 0x8000, 4), (104, 0x1000, 1), (105, 0x20000, 2)],
            ),
            (2, 1, &[(100, 0xa000, 1)]),
            (
                3,
                3,
                &[(100, 0xb000, 1), (101, 0x1000, 1), (102, 0x20000, 1)],
            ),
            (6, 1, &[(100, 0x21000, 1)]),
            (4, 0, &[]),
        ];
        for (bo_page, count, expected) in cases {
            let mut expected = expected.iter();
            for run in runs(blocks.into_iter(), 100, bo_page, count) {
                assert_eq!(Some(&(run.page, run.address, run.count)), expected.next());
            }
            assert!(expected.next().is_none());
        }
    }

    #[test]
    fn neighbors_of_a_border() {
        assert!(fragment_neighbors(&TWO, 0).is_empty());
        assert!(fragment_neighbors(&TWO, 512).is_empty());
        assert_eq!(fragment_neighbors(&TWO, 1), 0..512);
        assert_eq!(fragment_neighbors(&TWO, 511), 0..512);
        assert_eq!(fragment_neighbors(&TWO, 1025), 1024..1536);
    }
}
