// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of page tables, in memory that is a list of writes.

use kernel::prelude::*;

use super::{
    fake::Fake,
    *, //
};

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_tables)]
mod entries {
    use super::*;
    use crate::hw::page_table::{
        fake::{
            FOUR,
            SMALL,
            TWO, //
        },
        Access,
        Fragment,
        Walk, //
    };

    const FIRST: TableKey = TableKey::FIRST;
    const SECOND: TableKey = FIRST.next();
    const THIRD: TableKey = SECOND.next();

    const DIRECTORY: u64 = 0x4_0000;

    /// Entries from an iterator.
    struct Each<I>(I);

    impl<I: Iterator<Item = Pte>> EntrySource for Each<I> {
        fn write(&mut self, memory: &impl Memory, offset: u64, count: u64) {
            for n in 0..count {
                let entry = self.0.next().unwrap_or(Pte::INVALID);
                memory.write(offset + 8 * n, &[entry.into_raw()]);
            }
        }

        fn skip(&mut self, count: u64) {
            for _ in 0..count {
                let _ = self.0.next();
            }
        }
    }

    /// Entries that are all alike.
    struct All(Pte);

    impl EntrySource for All {
        fn write(&mut self, memory: &impl Memory, offset: u64, count: u64) {
            for n in 0..count {
                memory.write(offset + 8 * n, &[self.0.into_raw()]);
            }
        }

        fn skip(&mut self, _count: u64) {}
    }

    fn place(offset: u64) -> Place {
        Place {
            offset,
            mc_addr: 0xf4_0000_0000 + offset,
        }
    }

    /// Creates tables 0 at 0x2000 and 1 at 0x8000.
    fn two_tables() -> Result<(Fake, Tables<()>)> {
        let memory = Fake::new();
        let mut tables = Tables::new(&TWO);
        tables.place_directory(DIRECTORY);
        for (key, offset) in [(FIRST, 0x2000), (SECOND, 0x8000)] {
            // Leftovers of a previous owner.
            memory.write(offset, &[!0; 1024]);
            let table = Table::new(place(offset), ());
            tables.add(key, table, RBTreeNodeReservation::new(GFP_KERNEL)?);
        }
        Ok((memory, tables))
    }

    /// Writes entries, all of which can be written.
    fn write(
        tables: &mut Tables<()>,
        memory: &Fake,
        pages: Range<u64>,
        mut entries: impl EntrySource,
    ) {
        let written = tables.write(memory, pages, &mut entries);
        assert_eq!(written, Written::All);
    }

    fn vram(page: u64, fragment: Fragment) -> Pte {
        TWO.vram(page << 12, Access::READ_WRITE, fragment)
    }

    #[test]
    fn directory_names_tables_that_map_something() -> Result {
        let (memory, mut tables) = two_tables()?;
        assert_eq!(memory.read(DIRECTORY), 0);
        write(
            &mut tables,
            &memory,
            1023..1025,
            All(vram(5, Fragment::NONE)),
        );
        assert_eq!(memory.read(DIRECTORY), 0xf4_0000_2001);
        assert_eq!(memory.read(DIRECTORY + 8), 0xf4_0000_8001);
        assert!(tables.get(FIRST).is_some_and(|(_, placed)| placed));
        assert!(tables.get(THIRD).is_none());
        Ok(())
    }

    #[test]
    fn writes_across_tables() -> Result {
        let (memory, mut tables) = two_tables()?;
        write(
            &mut tables,
            &memory,
            1022..1026,
            Each((5..9).map(|page| vram(page, Fragment::NONE))),
        );
        assert_eq!(memory.read(0x2000 + 1021 * 8), 0);
        assert_eq!(memory.read(0x2000 + 1022 * 8), 0x5061);
        assert_eq!(memory.read(0x2000 + 1023 * 8), 0x6061);
        assert_eq!(memory.read(0x8000), 0x7061);
        assert_eq!(memory.read(0x8008), 0x8061);
        assert_eq!(memory.read(0x8010), 0);
        tables.clear(&memory, 1023..1025);
        assert_eq!(memory.read(0x2000 + 1022 * 8), 0x5061);
        assert_eq!(memory.read(0x2000 + 1023 * 8), 0);
        assert_eq!(memory.read(0x8000), 0);
        assert_eq!(memory.read(0x8008), 0x8061);
        Ok(())
    }

    #[test]
    fn pages_without_a_table_take_their_entries_along() -> Result {
        let (memory, mut tables) = two_tables()?;
        write(&mut tables, &memory, 1024..2048, All(Pte::INVALID));
        let before = memory.writes();
        let mut entries = Each((1..4).map(|page| vram(page, Fragment::NONE)));
        let written = tables.write(&memory, 2047..2050, &mut entries);
        assert_eq!(written, Written::WithHoles);
        assert_eq!(memory.read(0x8000 + 1023 * 8), 0x1061);
        assert_eq!(memory.writes(), before + 1);
        Ok(())
    }

    #[test]
    fn a_whole_table_is_cleared_by_one_write() -> Result {
        let (memory, mut tables) = two_tables()?;
        write(&mut tables, &memory, 0..2048, All(vram(5, Fragment::NONE)));
        let before = memory.writes();
        tables.clear(&memory, 0..1024);
        assert_eq!(memory.writes(), before + 1);
        assert_eq!(memory.read(DIRECTORY), Pde::INVALID.into_raw());
        assert_eq!(memory.read(DIRECTORY + 8), 0xf4_0000_8001);
        // It already maps nothing.
        tables.clear(&memory, 0..1024);
        tables.clear(&memory, 3..5);
        assert_eq!(memory.writes(), before + 1);
        Ok(())
    }

    #[test]
    fn what_a_cleared_table_held_does_not_come_back() -> Result {
        let (memory, mut tables) = two_tables()?;
        write(&mut tables, &memory, 0..2048, All(vram(5, Fragment::NONE)));
        tables.clear(&memory, 0..2048);
        // The end of one table, and the beginning of the next.
        write(
            &mut tables,
            &memory,
            1022..1025,
            All(vram(9, Fragment::NONE)),
        );
        for (offset, entry) in [
            (0x2000, 0),
            (0x2000 + 1021 * 8, 0),
            (0x2000 + 1022 * 8, 0x9061),
            (0x2000 + 1023 * 8, 0x9061),
            (0x8000, 0x9061),
            (0x8008, 0),
            (0x8000 + 1023 * 8, 0),
            (DIRECTORY, 0xf4_0000_2001),
            (DIRECTORY + 8, 0xf4_0000_8001),
        ] {
            assert_eq!(memory.read(offset), entry);
        }
        Ok(())
    }

    #[test]
    fn a_table_is_named_after_it_is_written() -> Result {
        let (memory, mut tables) = two_tables()?;
        tables.clear(&memory, 0..1024);
        write(&mut tables, &memory, 7..8, All(vram(9, Fragment::NONE)));
        let entry = memory.last_write_to(0x2000 + 7 * 8);
        let around = memory.last_write_to(0x2000 + 1023 * 8);
        let flush = memory.last_write_to(Fake::FLUSH);
        let named = memory.last_write_to(DIRECTORY);
        assert!(entry < flush && around < flush && flush < named);
        // Nothing is linked, so nothing needs to be ordered.
        write(&mut tables, &memory, 8..9, All(vram(9, Fragment::NONE)));
        assert!(memory.last_write_to(Fake::FLUSH) == flush);
        Ok(())
    }

    #[test]
    fn an_evicted_table_maps_nothing_until_it_is_written() -> Result {
        let (memory, mut tables) = two_tables()?;
        write(&mut tables, &memory, 0..2048, All(vram(5, Fragment::NONE)));
        assert!(tables.is_complete());
        tables.evict(&memory, SECOND);
        assert!(!tables.is_complete());
        assert_eq!(memory.read(DIRECTORY), 0xf4_0000_2001);
        assert_eq!(memory.read(DIRECTORY + 8), Pde::INVALID.into_raw());
        assert_eq!(tables.next_evicted(FIRST), Some(SECOND));
        assert_eq!(tables.next_evicted(THIRD), None);

        // Its former place belongs to somebody else.
        let before = memory.writes();
        tables.clear(&memory, 1030..1040);
        tables.split_fragments(&memory, 1030);
        let written = tables.write(&memory, 1024..1032, &mut All(vram(7, Fragment::NONE)));
        assert_eq!(written, Written::WithHoles);
        assert_eq!(memory.writes(), before);

        memory.write(0xc000, &[!0; 1024]);
        tables.place(SECOND, place(0xc000));
        assert!(tables.is_complete());
        assert_eq!(memory.read(DIRECTORY + 8), Pde::INVALID.into_raw());
        write(
            &mut tables,
            &memory,
            1025..1026,
            All(vram(9, Fragment::NONE)),
        );
        assert_eq!(memory.read(DIRECTORY + 8), 0xf4_0000_c001);
        assert_eq!(memory.read(0xc000), 0);
        assert_eq!(memory.read(0xc008), 0x9061);
        assert_eq!(memory.read(0xc010), 0);
        Ok(())
    }

    #[test]
    fn a_directory_names_its_tables_anew() -> Result {
        const ELSEWHERE: u64 = 0x8_0000;

        let (memory, mut tables) = two_tables()?;
        write(&mut tables, &memory, 0..1024, All(vram(5, Fragment::NONE)));
        tables.evict_directory();
        assert!(!tables.has_directory());

        // Tables are written and cleared meanwhile, and the former place is left alone.
        let before = memory.last_write_to(DIRECTORY + 8);
        write(
            &mut tables,
            &memory,
            1024..1025,
            All(vram(7, Fragment::NONE)),
        );
        tables.clear(&memory, 0..1024);
        assert!(memory.last_write_to(DIRECTORY + 8) == before);
        assert_eq!(memory.read(DIRECTORY), 0xf4_0000_2001);

        let next = tables.fill_directory(&memory, ELSEWHERE, FIRST, 1);
        assert_eq!(next, Some(SECOND));
        let next = tables.fill_directory(&memory, ELSEWHERE, SECOND, 3);
        assert_eq!(next, None);
        tables.place_directory(ELSEWHERE);
        assert_eq!(memory.read(ELSEWHERE), 0);
        assert_eq!(memory.read(ELSEWHERE + 8), 0xf4_0000_8001);
        tables.clear(&memory, 1024..2048);
        assert_eq!(memory.read(ELSEWHERE + 8), Pde::INVALID.into_raw());
        Ok(())
    }

    #[test]
    fn only_evicted_tables_are_taken_out() -> Result {
        let (memory, mut tables) = two_tables()?;
        tables.evict(&memory, FIRST);
        assert!(tables.remove_evicted(SECOND).is_none());
        assert!(tables.remove_evicted(THIRD).is_none());
        assert!(tables.remove_evicted(FIRST).is_some());
        assert!(tables.is_complete());
        assert_eq!(tables.next(FIRST).map(|(key, _)| key), Some(SECOND));
        Ok(())
    }

    #[test]
    fn a_cut_fragment_loses_its_size() -> Result {
        let (memory, mut tables) = two_tables()?;
        let fragment = TWO.fragment(512, 512, 4);
        write(
            &mut tables,
            &memory,
            512..516,
            Each((512..516).map(|page| vram(page, fragment))),
        );
        assert_eq!(memory.read(0x2000 + 512 * 8), 0x20_0061 | 2 << 7);
        tables.split_fragments(&memory, 514);
        for n in 0..4 {
            assert_eq!(
                memory.read(0x2000 + (512 + n) * 8),
                (0x200 + n) << 12 | 0x61
            );
        }
        Ok(())
    }

    /// Address spaces of more levels than two, walked as the GPU does after each change.
    struct Deep {
        memory: Fake,
        tables: Tables<()>,
        /// The entry that each page should have.
        expected: [u64; 64],
        /// Offset of the next table to get memory.
        next: u64,
    }

    impl Deep {
        /// Creates an address space in which each of 64 pages has all its tables, with leftovers of
        /// a previous owner.
        fn new() -> Result<Self> {
            let mut this = Self {
                memory: Fake::new(),
                tables: Tables::new(&SMALL),
                expected: [0; 64],
                next: 0x1000,
            };
            this.tables.place_directory(DIRECTORY);
            for key in SMALL.tables_of(0..64) {
                let table = Table::new(this.new_place(), ());
                let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
                this.tables.add(key, table, node);
            }
            Ok(this)
        }

        fn new_place(&mut self) -> Place {
            let offset = self.next;
            self.next += 0x20;
            // Whatever level the table is of, these name something.
            let leftover = SMALL.table(FOREIGN << 12).into_raw();
            self.memory.write(FOREIGN, &[!0; 4]);
            self.memory.write(offset, &[leftover; 4]);
            Place {
                offset,
                mc_addr: offset << 12,
            }
        }

        /// Maps pages, to bytes that no other change maps.
        fn write(&mut self, pages: Range<u64>, nth: u64) -> Written {
            let entry = |page| SMALL.vram((nth << 8 | page) << 12, Access::READ, Fragment::NONE);
            let mut entries = Each(pages.clone().map(entry));
            let written = self.tables.write(&self.memory, pages.clone(), &mut entries);
            for page in pages {
                self.expected[page as usize] = entry(page).into_raw();
            }
            written
        }

        fn clear(&mut self, pages: Range<u64>) {
            self.tables.clear(&self.memory, pages.clone());
            self.forget(pages);
        }

        fn forget(&mut self, pages: Range<u64>) {
            for page in pages {
                self.expected[page as usize] = 0;
            }
        }

        /// Returns true if the GPU finds for each page what it should.
        fn is_right(&self) -> bool {
            let read = |addr: u64| {
                // Addresses of tables are made of their offsets: see `new_place`.
                let (table, entry) = (addr & !0xfff, addr & 0xfff);
                let at = if table == ROOT {
                    DIRECTORY
                } else {
                    table >> 12
                };
                Some(self.memory.read(at + entry))
            };
            (0..).zip(self.expected).all(|(page, expected)| {
                let found = Walk::new(&SMALL, ROOT, page << 12, read).page();
                found.unwrap_or(0) == expected
            })
        }
    }

    /// Offset of a table of another address space, in which all is mapped.
    const FOREIGN: u64 = 0xf00;
    /// Address of the directory of [`Deep`], which no table has.
    const ROOT: u64 = 0xff_0000_0000;

    /// Ranges that begin and end within, and at the borders of, tables of all levels.
    fn ranges() -> impl Iterator<Item = Range<u64>> + Clone {
        const BORDERS: [u64; 8] = [0, 1, 4, 7, 16, 21, 32, 64];
        BORDERS.into_iter().flat_map(|start| {
            let ends = BORDERS.into_iter().filter(move |end| *end > start);
            ends.map(move |end| start..end)
        })
    }

    #[test]
    fn three_levels_show_what_was_mapped_and_unmapped() -> Result {
        for first in ranges() {
            for second in ranges() {
                let mut deep = Deep::new()?;
                assert_eq!(deep.write(first.clone(), 1), Written::All);
                deep.clear(second.clone());
                assert!(deep.is_right());
                assert_eq!(deep.write(second.clone(), 2), Written::All);
                assert!(deep.is_right());
            }
        }
        Ok(())
    }

    #[test]
    fn evicted_tables_of_three_levels_map_nothing() -> Result {
        for key in SMALL.tables_of(0..64) {
            let mut deep = Deep::new()?;
            assert_eq!(deep.write(0..64, 1), Written::All);
            let pages = SMALL.pages_of(key);
            deep.tables.evict(&deep.memory, key);
            deep.forget(pages.clone());
            assert!(deep.is_right());

            // Nothing below it can be written, and what is next to it can.
            assert_eq!(deep.write(0..64, 2), Written::WithHoles);
            deep.forget(pages.clone());
            assert!(deep.is_right());

            let place = deep.new_place();
            deep.tables.place(key, place);
            assert!(deep.is_right());
            let one = pages.start + 1..pages.start + 2;
            assert_eq!(deep.write(one, 3), Written::All);
            assert!(deep.is_right());
            assert_eq!(deep.write(pages, 4), Written::All);
            assert!(deep.is_right());
        }
        Ok(())
    }

    #[test]
    fn tables_of_three_levels_may_all_lose_their_contents() -> Result {
        for one in [0..1, 7..8, 21..22, 63..64] {
            let mut deep = Deep::new()?;
            assert_eq!(deep.write(0..64, 1), Written::All);
            deep.tables.lose();
            // All get memory again, with anything in it.
            for key in SMALL.tables_of(0..64) {
                assert!(deep.tables.get(key).is_some_and(|(_, placed)| !placed));
                let place = deep.new_place();
                deep.tables.place(key, place);
            }
            deep.memory.write(DIRECTORY, &[0; 4]);
            deep.tables.place_directory(DIRECTORY);
            assert!(deep.tables.is_complete());
            deep.forget(0..64);
            assert!(deep.is_right());
            assert_eq!(deep.write(one, 2), Written::All);
            assert!(deep.is_right());
            assert_eq!(deep.write(0..64, 3), Written::All);
            assert!(deep.is_right());
        }
        Ok(())
    }

    #[test]
    fn a_directory_of_three_levels_names_its_tables_anew() -> Result {
        let mut deep = Deep::new()?;
        assert_eq!(deep.write(3..40, 1), Written::All);
        deep.tables.evict_directory();
        deep.clear(16..32);
        assert_eq!(deep.write(60..61, 2), Written::All);
        deep.memory.write(DIRECTORY, &[0; 4]);
        let next = deep
            .tables
            .fill_directory(&deep.memory, DIRECTORY, FIRST, 2);
        assert!(next.is_some_and(|next| {
            let rest = deep
                .tables
                .fill_directory(&deep.memory, DIRECTORY, next, 99);
            rest.is_none()
        }));
        deep.tables.place_directory(DIRECTORY);
        assert!(deep.is_right());
        Ok(())
    }

    #[test]
    fn a_table_of_three_levels_is_named_after_it_is_written() -> Result {
        let mut deep = Deep::new()?;
        let tables = SMALL.tables_of(5..6).count();
        assert_eq!(tables, 2);
        assert_eq!(deep.write(5..6, 1), Written::All);
        // The directory's entry came last, after a flush that came after the entry before it.
        let named = deep.memory.last_write_to(DIRECTORY);
        let flush = deep.memory.last_write_to(Fake::FLUSH);
        let above = deep.memory.last_write_to(0x1000 + 8);
        assert!(above < flush && flush < named && above.is_some());
        Ok(())
    }

    #[test]
    fn four_levels() -> Result {
        const PAGE: u64 = (1 << 27) + (2 << 18) + (3 << 9) + 4;

        let memory = Fake::new();
        let mut tables = Tables::new(&FOUR);
        tables.place_directory(0);
        for (n, key) in (1..).zip(FOUR.tables_of(PAGE..PAGE + 1)) {
            let place = Place {
                offset: n << 12,
                mc_addr: n << 12,
            };
            let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
            tables.add(key, Table::new(place, ()), node);
        }
        let entry = FOUR.vram(7 << 12, Access::READ, Fragment::NONE);
        let written = tables.write(&memory, PAGE..PAGE + 1, &mut All(entry));
        assert_eq!(written, Written::All);
        let walk = |page| Walk::new(&FOUR, 0, page << 12, |addr| Some(memory.read(addr))).page();
        assert_eq!(walk(PAGE), Some(entry.into_raw()));
        assert_eq!(walk(PAGE + 1), Some(0));
        assert_eq!(walk(PAGE + (1 << 9)), None);
        assert_eq!(walk(PAGE - (1 << 27)), None);
        Ok(())
    }
}
