// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The location of a buffer object's bytes, and the page-table entries that show them to the GPU.
//!
//! The C driver walks them with `amdgpu_res_cursor` in `amdgpu_vm_update_range`.

use super::{
    layout::{
        self,
        Run,
        ENTRY_SIZE, //
    },
    mapping::Mapping,
    tables::{
        EntrySource,
        Memory, //
    },
    update::Room, //
};
use crate::{
    hw::page_table::{
        Access,
        Format,
        Fragment,
        Pte,
        PAGE_SHIFT, //
    },
    mem::{
        Backing,
        SystemPages,
        VramBlock, //
    },
};

impl<'a> Backing<'a> {
    /// Returns the entries of the pages of `mapping`, in order.
    pub(super) fn entries<K: Copy, A: Copy + Into<Access>>(
        self,
        format: &'a Format,
        mapping: &Mapping<K, A>,
    ) -> impl EntrySource + 'a {
        let access = mapping.access.into();
        let (page, bo_page, count) = (mapping.page, mapping.bo_page, mapping.count);

        match self {
            Self::Vram(blocks) => Entries::Vram(VramEntries {
                format,
                access,
                pieces: vram_pieces(format, blocks, page, bo_page, count),
                next: Pte::INVALID,
                left: 0,
            }),
            Self::System {
                pages,
                snoop,
                read_only,
            } => Entries::System(SystemEntries {
                pages,
                next: bo_page,
                end: bo_page + count,
                of_page_0: format.system(
                    0,
                    Access {
                        write: access.write && !read_only,
                        ..access
                    },
                    snoop,
                ),
            }),
        }
    }
}

/// Returns the pieces of `count` pages of a buffer in VRAM, each with its fragment. The pages start
/// at page `bo_page` of the buffer and are mapped from `page` of the address space on.
fn vram_pieces<'a>(
    format: &'a Format,
    blocks: &'a [VramBlock],
    page: u64,
    bo_page: u64,
    count: u64,
) -> impl Iterator<Item = (Run, Fragment)> + 'a {
    let blocks = blocks
        .iter()
        .map(|block| (block.offset, block.size >> PAGE_SHIFT));
    layout::runs(blocks, page, bo_page, count).flat_map(|run| layout::fragments(format, run))
}

/// Returns the room for writing the entries of a mapping of a buffer whose bytes are at `backing`.
pub(super) fn room<K: Copy, A: Copy>(
    format: &Format,
    mapping: &Mapping<K, A>,
    backing: Option<Backing<'_>>,
) -> Room {
    match backing {
        Some(Backing::Vram(blocks)) => {
            let runs = count_runs(format, blocks, mapping);
            Room::to_write_runs(format, mapping.pages(), runs)
        }
        Some(Backing::System { .. }) | None => Room::to_write(format, mapping.pages()),
    }
}

/// Returns the number of runs of entries that show a part of a buffer in these blocks of VRAM, each
/// of like entries for consecutive pages.
fn count_runs<K: Copy, A: Copy>(
    format: &Format,
    blocks: &[VramBlock],
    mapping: &Mapping<K, A>,
) -> usize {
    let (page, bo_page, count) = (mapping.page, mapping.bo_page, mapping.count);
    let mut runs = 0;
    let mut last = None;
    for (piece, fragment) in vram_pieces(format, blocks, page, bo_page, count) {
        if last != Some((piece.address, fragment)) {
            runs += 1;
        }
        last = Some((piece.address + (piece.count << PAGE_SHIFT), fragment));
    }
    runs
}

/// The entries of a mapping's pages that have not been handed out yet.
enum Entries<'a, P> {
    Vram(VramEntries<'a, P>),
    System(SystemEntries<'a>),
}

struct VramEntries<'a, P> {
    format: &'a Format,
    access: Access,
    /// The pieces that follow the one of `next`.
    pieces: P,
    next: Pte,
    /// Number of pages of the piece that are left.
    left: u64,
}

struct SystemEntries<'a> {
    pages: &'a dyn SystemPages,
    next: u64,
    end: u64,
    of_page_0: Pte,
}

/// Number of entries for system pages that are made at a time.
const BLOCK: usize = 64;

impl<P: Iterator<Item = (Run, Fragment)>> EntrySource for Entries<'_, P> {
    fn write(&mut self, memory: &impl Memory, offset: u64, count: u64) {
        let written = match self {
            Self::Vram(runs) => runs.take(count, |done, first, count| {
                memory.write_run(offset + done * ENTRY_SIZE, first, count);
            }),
            Self::System(left) => left.write(memory, offset, count),
        };
        if written < count {
            memory.clear(offset + written * ENTRY_SIZE, count - written);
        }
    }

    fn skip(&mut self, count: u64) {
        match self {
            Self::Vram(runs) => {
                runs.take(count, |_, _, _| ());
            }
            Self::System(left) => left.next = left.end.min(left.next + count),
        }
    }
}

impl<P: Iterator<Item = (Run, Fragment)>> VramEntries<'_, P> {
    /// Takes the next entries, at most `count`. Calls `f` with runs of them: the number of entries
    /// before, the first entry, and the number of entries. Returns the number that were left to
    /// take.
    fn take(&mut self, count: u64, mut f: impl FnMut(u64, Pte, u64)) -> u64 {
        let mut done = 0;
        while done < count {
            if self.left == 0 {
                let Some((piece, fragment)) = self.pieces.next() else {
                    break;
                };
                self.left = piece.count;
                self.next = self.format.vram(piece.address, self.access, fragment);
            }
            let some = self.left.min(count - done);
            f(done, self.next, some);
            self.next = self.next.after(some);
            self.left -= some;
            done += some;
        }
        done
    }
}

impl SystemEntries<'_> {
    /// Writes the next entries, at most `count`. Returns their number.
    fn write(&mut self, memory: &impl Memory, offset: u64, count: u64) -> u64 {
        let mut block = [0; BLOCK];
        let mut done = 0;
        while done < count {
            let most = (self.end - self.next).min(count - done).min(BLOCK as u64);
            let Ok(first) = usize::try_from(self.next) else {
                break;
            };
            // LOSSLESS: At most `BLOCK`.
            let into = &mut block[..most as usize];
            let found = self.pages.entries(first, self.of_page_0, into);
            if found == 0 {
                break;
            }
            memory.write(offset + done * ENTRY_SIZE, &block[..found]);
            // LOSSLESS: As above.
            let found = found as u64;
            self.next += found;
            done += found;
        }
        done
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_vm_backing)]
mod tests {
    use super::*;
    use crate::{
        hw::page_table::{
            fake::TWO,
            Snoop, //
        },
        vm::tables::fake::Fake, //
    };
    use kernel::dma::DmaAddress;

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
        let whole = [1, 2, 5].into_iter().all(|step| {
            let memory = Fake::new();
            memory.write(0, &[!0; 10]);
            let mut entries = backing.entries(&TWO, &mapping);
            for first in (0..10).step_by(step) {
                entries.write(&memory, first * ENTRY_SIZE, step as u64);
            }
            (0..10).all(|n| {
                let expected = raw.get(n as usize).copied();
                memory.read(n * ENTRY_SIZE) == expected.unwrap_or(Pte::INVALID.into_raw())
            })
        });
        // What is left out is gone.
        let memory = Fake::new();
        let mut entries = backing.entries(&TWO, &mapping);
        entries.skip(1);
        entries.write(&memory, 0, 1);
        whole && memory.read(0) == raw.get(1).copied().unwrap_or(Pte::INVALID.into_raw())
    }

    #[test]
    fn blocks_of_vram() {
        let blocks = [
            VramBlock {
                offset: 0x10000,
                size: 0x2000,
            },
            VramBlock {
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
    fn runs_of_vram() {
        let block = |offset, size| VramBlock { offset, size };
        let runs = |page, blocks: &[VramBlock]| {
            let mapping = Mapping {
                page,
                count: 4096,
                bo: (),
                bo_page: 0,
                access: Access::READ,
            };
            count_runs(&TWO, blocks, &mapping)
        };
        // One run, though of eight of the largest fragments.
        assert_eq!(runs(0, &[block(0, 16 << 20)]), 1);
        assert_eq!(runs(512, &[block(0, 8 << 20), block(8 << 20, 8 << 20)]), 1);
        assert_eq!(runs(0, &[block(8 << 20, 8 << 20), block(0, 8 << 20)]), 2);
        // Fragments that grow, and shrink again.
        assert_eq!(runs(1, &[block(0x1000, 16 << 20)]), 11);
        // None, as the addresses are aligned differently.
        assert_eq!(runs(1, &[block(0, 16 << 20)]), 1);
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
