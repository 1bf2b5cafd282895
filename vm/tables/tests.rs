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
        Access,
        Fragment, //
    };

    const DIRECTORY: u64 = 0x4_0000;

    /// Entries from an iterator.
    struct Each<I>(I);

    impl<I: Iterator<Item = Pte>> Fill for Each<I> {
        fn fill(&mut self, into: &mut [u64]) {
            for to in into {
                *to = self.0.next().unwrap_or(Pte::INVALID).into_raw();
            }
        }
    }

    /// Entries that are all alike.
    struct All(Pte);

    impl Fill for All {
        fn fill(&mut self, into: &mut [u64]) {
            into.fill(self.0.into_raw());
        }
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
        let mut tables = Tables::new();
        tables.place_directory(DIRECTORY);
        for (index, offset) in [(0, 0x2000), (1, 0x8000)] {
            // Leftovers of a previous owner.
            memory.write(offset, &[!0; 1024]);
            let table = Table::new(place(offset), ());
            tables.add(index, table, RBTreeNodeReservation::new(GFP_KERNEL)?);
        }
        Ok((memory, tables))
    }

    /// Writes entries, all of which can be written.
    fn write(tables: &mut Tables<()>, memory: &Fake, pages: Range<u64>, mut entries: impl Fill) {
        let written = tables.write(memory, pages, &mut entries);
        assert_eq!(written, Written::All);
    }

    fn vram(page: u64, fragment: Fragment) -> Pte {
        Pte::vram(page << 12, Access::READ_WRITE, fragment)
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
        assert!(tables.get(0).is_some_and(|(_, placed)| placed));
        assert!(tables.get(2).is_none());
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
        tables.evict(&memory, 1);
        assert!(!tables.is_complete());
        assert_eq!(memory.read(DIRECTORY), 0xf4_0000_2001);
        assert_eq!(memory.read(DIRECTORY + 8), Pde::INVALID.into_raw());
        assert_eq!(tables.next_evicted(0), Some(1));
        assert_eq!(tables.next_evicted(2), None);

        // Its former place belongs to somebody else.
        let before = memory.writes();
        tables.clear(&memory, 1030..1040);
        tables.split_fragments(&memory, 1030);
        let written = tables.write(&memory, 1024..1032, &mut All(vram(7, Fragment::NONE)));
        assert_eq!(written, Written::WithHoles);
        assert_eq!(memory.writes(), before);

        memory.write(0xc000, &[!0; 1024]);
        tables.place(1, place(0xc000));
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

        tables.fill_directory(&memory, ELSEWHERE, 0..1);
        tables.fill_directory(&memory, ELSEWHERE, 1..4);
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
        tables.evict(&memory, 0);
        assert!(tables.remove_evicted(1).is_none());
        assert!(tables.remove_evicted(2).is_none());
        assert!(tables.remove_evicted(0).is_some());
        assert!(tables.is_complete());
        assert_eq!(tables.next(0).map(|(index, _)| index), Some(1));
        Ok(())
    }

    #[test]
    fn a_cut_fragment_loses_its_size() -> Result {
        let (memory, mut tables) = two_tables()?;
        let fragment = Fragment::largest(512, 512, 4);
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
}
