// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the states of entries, at once and by updates, on memory that is a list of writes.

use super::*;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_space)]
mod states {
    use core::iter::once;

    use kernel::rbtree::RBTreeNode;

    use super::*;
    use crate::{
        hw::page_table::fake::TWO,
        mem::VramBlock,
        vm::{
            tables::{
                fake::Fake,
                Place, //
            },
            update::{
                Recorder,
                Room,
                Steps, //
            },
        },
    };

    const DIRECTORY: u64 = 0x1000;
    const TABLE: u64 = 0x8000;
    const PLACE: Place = Place {
        offset: TABLE,
        mc_addr: TABLE,
    };
    const NAMED: Users = Users::JobsThatNameIt;
    const READ_WRITE: u32 = bindings::AMDGPU_VM_PAGE_READABLE | bindings::AMDGPU_VM_PAGE_WRITEABLE;

    /// A test BO is a number: its place in VRAM.
    struct World {
        memory: Fake,
        space: Space<u64, ()>,
    }

    fn id(n: u64) -> BoId {
        (0..n).fold(BoId::FIRST, |id, _| id.next())
    }

    fn at(offset: u64) -> [VramBlock; 1] {
        [VramBlock {
            offset,
            size: 0x10_0000,
        }]
    }

    impl World {
        /// Creates one page table, and BOs 1 and 2.
        fn new() -> Result<Self> {
            let memory = Fake::new();
            let mut space = Space::new(&TWO);
            space.tables().place_directory(DIRECTORY);
            let table = Table::new(PLACE, ());
            space.add_table(
                TableKey::FIRST,
                table,
                RBTreeNodeReservation::new(GFP_KERNEL)?,
            );
            for n in 1..3 {
                let node = RBTreeNode::new(id(n), BoVa::new(n, NAMED)?, GFP_KERNEL)?;
                space.open(id(n), node);
            }
            Ok(Self { memory, space })
        }

        /// Adds BOs, the first of them `first`, and maps a page of each, with no bytes there yet.
        fn map_more(&mut self, first: u64, count: u64, users: Users) -> Result {
            for n in first..first + count {
                let node = RBTreeNode::new(id(n), BoVa::new(n, users)?, GFP_KERNEL)?;
                self.space.open(id(n), node);
                self.map(n, 1, n, Held::NotHere)?;
            }
            Ok(())
        }

        /// Publishes a job that names the BO `n`. Returns the number of BOs that were looked at, by
        /// the count of the room and by the update.
        fn looked_at(&mut self, n: u64) -> (usize, usize) {
            let (mut counted, mut updated) = (0, 0);
            let room = self.space.room_to_update(once(id(n)), |&bo, found| {
                counted += 1;
                found(Backing::Vram(&at(bo << 24)));
            });
            assert_eq!(room == Room::default(), counted == 0);
            self.space.update(&self.memory, once(id(n)), |&bo, found| {
                updated += 1;
                found(Backing::Vram(&at(bo << 24)));
            });
            (counted, updated)
        }

        fn map(&mut self, page: u64, count: u64, n: u64, held: Held) -> Result {
            let mapping = Mapping {
                page,
                count,
                bo: id(n),
                bo_page: 0,
                access: MapFlags(READ_WRITE),
            };
            let blocks = at(n << 24);
            let backing = (held == Held::Here).then_some(Backing::Vram(&blocks));
            self.space
                .map(&self.memory, mapping, &mut Spare::new()?, held, backing)
                .map_err(|_| EINVAL)
        }

        fn unmap(&mut self, pages: Range<u64>) -> Result {
            let mut spare = Spare::new()?;
            self.space.split_borders(&self.memory, &pages);
            while self.space.unmap(&self.memory, pages.clone(), &mut spare, 1) == Unmapped::Some {}
            Ok(())
        }

        /// Publishes a job that names the BO `n`, whose bytes are at `offset`.
        fn publish(&mut self, n: u64, offset: u64) {
            self.space.update(&self.memory, once(id(n)), |&bo, found| {
                if bo == n {
                    found(Backing::Vram(&at(offset)));
                }
            });
        }

        fn entry(&self, page: u64) -> u64 {
            self.memory.read(TABLE + page * 8)
        }
    }

    #[test]
    fn a_held_bo_is_mapped_at_once() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        assert_eq!(world.entry(17), 0x100_0061);
        assert!(!world.space.is_pending());
        assert!(world.map(17, 1, 2, Held::Here).is_err());
        assert_eq!(world.entry(17), 0x100_0061);
        Ok(())
    }

    #[test]
    fn any_other_waits_for_a_job_that_names_it() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::NotHere)?;
        assert_eq!(world.entry(17), 0);
        assert!(world.space.is_pending());
        assert!(!world.space.has_stale());
        assert!(world.space.invalidate(id(1), 0) == Reach::None);

        world.publish(2, 0x300_0000);
        assert_eq!(world.entry(17), 0);
        world.publish(1, 0x100_0000);
        assert_eq!(world.entry(17), 0x100_0061);
        assert!(!world.space.is_pending());
        Ok(())
    }

    #[test]
    fn stale_entries_are_rewritten_or_cleared() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.map(19, 1, 1, Held::Here)?;
        world.map(21, 1, 2, Held::Here)?;

        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        assert!(world.space.has_stale());
        // Not before the jobs have ended.
        assert_eq!(world.entry(17), 0x100_0061);

        world.publish(1, 0x300_0000);
        assert!(!world.space.has_stale());
        assert_eq!(world.entry(17), 0x300_0061);
        assert_eq!(world.entry(19), 0x300_0061);
        assert_eq!(world.entry(21), 0x200_0061);

        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        world.publish(2, 0x300_0000);
        assert_eq!(world.entry(17), 0);
        assert_eq!(world.entry(19), 0);
        assert_eq!(world.entry(21), 0x200_0061);
        assert!(world.space.invalidate(id(1), 0) == Reach::None);

        world.publish(1, 0x100_0000);
        assert_eq!(world.entry(19), 0x100_0061);
        Ok(())
    }

    #[test]
    fn a_stale_bo_is_not_mapped_further() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        world.map(19, 1, 1, Held::Here)?;
        assert_eq!(world.entry(19), 0);
        world.publish(1, 0x300_0000);
        assert_eq!(world.entry(17), 0x300_0061);
        assert_eq!(world.entry(19), 0x300_0061);
        Ok(())
    }

    #[test]
    fn unmapping_settles_and_cuts_fragments() -> Result {
        let mut world = World::new()?;
        world.map(64, 16, 1, Held::Here)?;
        assert_eq!(world.entry(64), 0x100_0061 | 4 << 7);
        world.unmap(72..76)?;
        assert_eq!(world.entry(71), 0x100_7061);
        assert_eq!(world.entry(72), 0);
        assert_eq!(world.entry(75), 0);
        assert_eq!(world.entry(76), 0x100_c061);

        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        world.unmap(0..1024)?;
        assert!(!world.space.is_pending());
        assert!(world.space.invalidate(id(1), 0) == Reach::None);
        assert_eq!(world.entry(64), 0);
        assert_eq!(world.entry(79), 0);
        Ok(())
    }

    #[test]
    fn a_few_mappings_are_unmapped_at_a_time() -> Result {
        let mut world = World::new()?;
        for page in 1..4 {
            world.map(page, 1, 1, Held::Here)?;
        }
        let mut spare = Spare::none();
        let unmapped = world.space.unmap(&world.memory, 0..9, &mut spare, 2);
        assert!(unmapped == Unmapped::Some);
        assert_eq!((world.entry(2), world.entry(3)), (0, 0x100_0061));
        let unmapped = world.space.unmap(&world.memory, 0..9, &mut spare, 2);
        assert!(unmapped == Unmapped::All);
        assert_eq!(world.entry(3), 0);
        Ok(())
    }

    #[test]
    fn a_table_that_goes_leaves_holes() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.map(19, 1, 2, Held::Here)?;
        world.space.evict_table(&world.memory, TableKey::FIRST);
        assert_eq!(world.memory.read(DIRECTORY), 0);
        assert!(world.space.is_pending() && !world.space.has_stale());
        assert!(
            world.space.is_table_used(TableKey::FIRST)
                && !world.space.is_table_used(TableKey::FIRST.next())
        );

        // Without a table nothing is written, and nothing becomes current.
        world.publish(1, 0x100_0000);
        assert!(world.space.is_pending());

        world.memory.write(TABLE, &[!0; 64]);
        world.space.tables().place(TableKey::FIRST, PLACE);
        world.publish(1, 0x100_0000);
        assert_eq!(world.memory.read(DIRECTORY), TABLE | 1);
        assert_eq!((world.entry(17), world.entry(19)), (0x100_0061, 0));
        // The other BO keeps its hole until a job names it, and stays pending.
        assert!(world.space.is_pending());
        world.publish(2, 0x200_0000);
        assert_eq!(world.entry(19), 0x200_0061);
        assert!(!world.space.is_pending());
        Ok(())
    }

    #[test]
    fn all_tables_may_lose_their_contents() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.space.lose_tables();
        assert!(world.space.is_pending() && !world.space.has_stale());
        assert!(!world.space.tables().has_directory() && !world.space.tables().is_complete());
        assert_eq!(
            world.space.tables().next_evicted(TableKey::FIRST),
            Some(TableKey::FIRST)
        );

        // The same places, with anything in them.
        world.memory.write(TABLE, &[!0; 64]);
        world.memory.write(DIRECTORY, &[0; 4]);
        world.space.tables().place_directory(DIRECTORY);
        world.space.tables().place(TableKey::FIRST, PLACE);
        assert!(world.space.tables().is_complete());
        world.publish(1, 0x100_0000);
        assert_eq!(world.memory.read(DIRECTORY), TABLE | 1);
        assert_eq!((world.entry(17), world.entry(18)), (0x100_0061, 0));
        assert!(!world.space.is_pending());
        Ok(())
    }

    #[test]
    fn entries_beside_a_hole_can_go_stale() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.space.evict_table(&world.memory, TableKey::FIRST);
        assert!(world.space.invalidate(id(1), 0) == Reach::PublishedJobs);
        assert!(world.space.has_stale());
        world.space.tables().place(TableKey::FIRST, PLACE);
        world.publish(1, 0x300_0000);
        assert_eq!(world.entry(17), 0x300_0061);
        assert!(!world.space.is_pending());
        Ok(())
    }

    #[test]
    fn mapping_more_of_a_bo_fills_its_holes() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.space.evict_table(&world.memory, TableKey::FIRST);
        world.map(19, 1, 1, Held::Here)?;
        assert!(world.space.is_pending());
        world.space.tables().place(TableKey::FIRST, PLACE);
        world.map(21, 1, 1, Held::Here)?;
        assert!(!world.space.is_pending());
        for page in [17, 19, 21] {
            assert_eq!(world.entry(page), 0x100_0061);
        }
        Ok(())
    }

    #[test]
    fn a_job_looks_only_at_what_it_has_to_do_with() -> Result {
        let mut world = World::new()?;
        world.map(1, 1, 1, Held::NotHere)?;
        world.map(2, 1, 2, Held::Here)?;
        // No job names these. There is one page table.
        world.map_more(16, 900, NAMED)?;
        // Its name is of a BO whose entries are current.
        assert_eq!(world.looked_at(2), (0, 0));
        assert_eq!(world.looked_at(1), (1, 1));
        assert_eq!(world.looked_at(1), (0, 0));

        world.map_more(950, 3, Users::AllJobs)?;
        assert_eq!(world.looked_at(16), (4, 4));
        assert_eq!(world.looked_at(16), (0, 0));
        assert!(world.space.invalidate(id(16), 0) == Reach::PublishedJobs);
        assert!(world.space.invalidate(id(951), 0) == Reach::PublishedJobs);
        assert_eq!(world.looked_at(16), (2, 2));
        assert_eq!(world.entry(16), 16 << 24 | 0x61);

        // Stale entries are cleared once, by a job that does not name the BO.
        assert!(world.space.invalidate(id(16), 0) == Reach::PublishedJobs);
        world.publish(1, 0x100_0000);
        assert_eq!(world.entry(16), 0);
        assert_eq!(world.looked_at(1), (0, 0));
        assert!(world.space.is_pending() && !world.space.has_stale());

        // A table that goes leaves holes to all of them.
        world.space.evict_table(&world.memory, TableKey::FIRST);
        world.space.tables().place(TableKey::FIRST, PLACE);
        assert_eq!(world.looked_at(2), (4, 4));
        assert_eq!(world.looked_at(2), (0, 0));
        Ok(())
    }

    #[test]
    fn what_is_mapped_no_more_is_not_waited_for() -> Result {
        let mut world = World::new()?;
        world.map_more(16, 2, NAMED)?;
        world.map_more(32, 1, Users::AllJobs)?;
        assert!(world.space.has_waiting());
        for n in [16, 17] {
            assert!(world.space.is_waiting(id(n)) && !world.space.is_waiting(id(32)));
            world.unmap(n..n + 1)?;
        }
        assert!(!world.space.has_waiting());
        assert!(world.space.is_pending());
        assert!(world.space.next_due(None) == Some(&32));
        world.unmap(32..33)?;
        assert!(!world.space.is_pending());
        Ok(())
    }

    /// A change of the mappings, with the room that it takes.
    #[derive(Clone, Copy)]
    enum Change {
        Map { page: u64, count: u64, bo: u64 },
        Replace { page: u64, count: u64, bo: u64 },
        Unmap { start: u64, end: u64 },
        UnmapBo(u64),
        Publish(u64),
    }

    impl Change {
        fn mapping(page: u64, count: u64, n: u64) -> Mapping {
            Mapping {
                page,
                count,
                bo: id(n),
                bo_page: 0,
                access: MapFlags(READ_WRITE),
            }
        }

        /// Returns the two changes that a replacement is.
        fn replacement(page: u64, count: u64, bo: u64) -> [Self; 2] {
            let end = page + count;
            let start = page;
            [Self::Unmap { start, end }, Self::Map { page, count, bo }]
        }

        fn room(self, space: &Space<u64, ()>) -> Room {
            match self {
                Self::Replace { page, count, bo } => Self::replacement(page, count, bo)
                    .into_iter()
                    .map(|change| change.room(space))
                    .sum(),
                Self::Map { page, count, bo } => {
                    let blocks = at(bo << 24);
                    let mapping = Self::mapping(page, count, bo);
                    space.room_to_map(&mapping, Some(Backing::Vram(&blocks)))
                }
                Self::Unmap { start, end } => {
                    let (room, next) = space.room_to_clear(start..end, usize::MAX);
                    assert!(next.is_none());
                    Room::BORDERS + room
                }
                Self::UnmapBo(n) => space
                    .mappings
                    .of(id(n))
                    .map(|m| Room::to_clear(&TWO, m.pages()))
                    .sum(),
                Self::Publish(n) => space.room_to_update(once(id(n)), |&bo, found| {
                    if bo == n {
                        found(Backing::Vram(&at(n << 25)));
                    }
                }),
            }
        }

        fn make(self, space: &mut Space<u64, ()>, memory: &impl Memory) -> Result {
            match self {
                Self::Replace { page, count, bo } => Self::replacement(page, count, bo)
                    .into_iter()
                    .try_for_each(|change| change.make(space, memory)),
                Self::Map { page, count, bo } => {
                    let blocks = at(bo << 24);
                    let backing = Some(Backing::Vram(&blocks));
                    let mapping = Self::mapping(page, count, bo);
                    space
                        .map(memory, mapping, &mut Spare::new()?, Held::Here, backing)
                        .map_err(|_| EINVAL)
                }
                Self::Unmap { start, end } => {
                    // In pieces as small as can be: none may take room that was not counted.
                    let mut spare = Spare::new()?;
                    space.split_borders(memory, &(start..end));
                    while space.unmap(memory, start..end, &mut spare, 1) == Unmapped::Some {}
                    assert!(space.mappings.first_in(start..end).is_none());
                    Ok(())
                }
                Self::UnmapBo(n) => {
                    assert!(space.unmap_bo(memory, id(n), 99) == Unmapped::All);
                    Ok(())
                }
                Self::Publish(n) => {
                    space.update(memory, once(id(n)), |&bo, found| {
                        if bo == n {
                            found(Backing::Vram(&at(n << 25)));
                        }
                    });
                    Ok(())
                }
            }
        }
    }

    impl World {
        /// Makes a change as an update, and writes it.
        fn record(&mut self, change: Change, number: u64) -> Result {
            let steps = Steps::new(change.room(&self.space))?;
            let recorder = Recorder::new(steps, number);
            let before = self.memory.writes();
            change.make(&mut self.space, &recorder)?;
            assert_eq!(self.memory.writes(), before);
            let steps = recorder.into_steps();
            steps.write_to(&self.memory, 0..steps.len());
            Ok(())
        }
    }

    #[test]
    fn an_update_writes_what_is_written_at_once() -> Result {
        const CHANGES: [Change; 9] = [
            Change::Map {
                page: 64,
                count: 16,
                bo: 1,
            },
            // Beyond the only table.
            Change::Map {
                page: 1000,
                count: 100,
                bo: 2,
            },
            Change::Unmap { start: 72, end: 76 },
            Change::Publish(2),
            Change::Publish(1),
            Change::Unmap {
                start: 0,
                end: 1010,
            },
            Change::Map {
                page: 5,
                count: 3,
                bo: 1,
            },
            Change::UnmapBo(2),
            Change::Unmap {
                start: 0,
                end: 2048,
            },
        ];
        let (mut now, mut later) = (World::new()?, World::new()?);
        for (change, number) in CHANGES.into_iter().zip(1..) {
            if matches!(change, Change::Publish(_)) {
                for world in [&mut now, &mut later] {
                    let _ = world.space.invalidate(id(1), 0);
                }
            }
            change.make(&mut now.space, &now.memory)?;
            later.record(change, number)?;
            for page in [
                4, 5, 7, 8, 63, 64, 71, 72, 75, 76, 79, 80, 999, 1000, 1010, 1023,
            ] {
                assert_eq!(now.entry(page), later.entry(page));
            }
            assert_eq!(now.memory.read(DIRECTORY), later.memory.read(DIRECTORY));
            assert_eq!(now.space.is_pending(), later.space.is_pending());
        }
        Ok(())
    }

    #[test]
    fn borders_take_room_once_for_all_pieces() -> Result {
        let mut world = World::new()?;
        for (page, count) in [(0, 2), (4, 1), (6, 2)] {
            world.map(page, count, 1, Held::Here)?;
        }
        world.record(Change::Unmap { start: 1, end: 7 }, 1)?;
        for (page, is_there) in [(0, true), (1, false), (4, false), (6, false), (7, true)] {
            assert_eq!(is_there, world.entry(page) != 0);
        }
        Ok(())
    }

    #[test]
    fn cutting_a_mapping_that_is_still_to_be_written_takes_room() -> Result {
        // Each cut leaves fragments of all sizes, and all pieces are written with the new mapping.
        for (page, count) in [(383, 2), (256, 1), (511, 1), (257, 254), (300, 100)] {
            let mut world = World::new()?;
            world.map(256, 256, 1, Held::NotHere)?;
            assert!(world.space.is_waiting(id(1)));
            world.record(Change::Replace { page, count, bo: 1 }, 1)?;
            assert!(!world.space.is_pending());
            for at in [256, 257, 383, 384, 385, 511] {
                let shown = if (page..page + count).contains(&at) {
                    at - page
                } else {
                    at - 256
                };
                let address = world.entry(at) & !0xfff;
                assert_eq!(address, 0x100_0000 + (shown << 12));
            }
        }
        Ok(())
    }

    #[test]
    fn jobs_reach_a_bo_until_the_update_has_ended() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.map(19, 1, 2, Held::Here)?;
        world.record(Change::UnmapBo(1), 5)?;
        assert!(world.space.invalidate(id(1), 4) == Reach::PublishedJobs);
        assert!(world.space.invalidate(id(1), 5) == Reach::None);

        // Entries that an update clears because they are stale.
        assert!(world.space.invalidate(id(2), 5) == Reach::PublishedJobs);
        world.record(Change::Publish(1), 6)?;
        assert!(world.space.invalidate(id(2), 5) == Reach::PublishedJobs);
        assert!(world.space.invalidate(id(2), 6) == Reach::None);
        Ok(())
    }

    #[test]
    fn a_closed_bo_stays_until_the_update_has_ended() -> Result {
        let mut world = World::new()?;
        for (n, number) in [(1, 5), (2, 4)] {
            world.map(17, 1, n, Held::Here)?;
            world.record(Change::UnmapBo(n), number)?;
            assert!(world.space.close(id(n)));
            assert!(world.space.forget(id(n), 3).is_none());
        }
        assert_eq!(world.space.next_closed(3), None);
        assert_eq!(world.space.next_closed(4), Some(&2));

        // A new handle, which is closed again after another update.
        let node = RBTreeNode::new(id(2), BoVa::new(2, NAMED)?, GFP_KERNEL)?;
        assert!(world.space.open(id(2), node).is_some());
        assert!(world.space.forget(id(2), 4).is_none());
        assert_eq!(world.space.next_closed(5), Some(&1));
        world.map(17, 1, 2, Held::Here)?;
        world.record(Change::UnmapBo(2), 6)?;
        assert!(world.space.close(id(2)));
        assert!(world.space.forget(id(2), 5).is_none());

        assert!(world.space.forget(id(1), 5).is_some());
        assert_eq!(world.space.next_closed(5), None);
        assert_eq!(world.space.next_closed(6), Some(&2));
        assert!(world.space.forget(id(2), 6).is_some());
        assert_eq!(world.space.next_closed(6), None);
        Ok(())
    }

    #[test]
    fn a_bo_is_forgotten_with_its_last_handle() -> Result {
        let mut world = World::new()?;
        let node = RBTreeNode::new(id(1), BoVa::new(1, NAMED)?, GFP_KERNEL)?;
        assert!(world.space.open(id(1), node).is_some());
        world.map(17, 1, 1, Held::Here)?;
        assert!(!world.space.close(id(1)));
        assert!(world.space.close(id(1)));
        assert!(!world.space.knows(id(1)));
        assert!(world.space.forget(id(1), 0).is_none());
        world.unmap(17..18)?;
        assert!(world.space.forget(id(1), 0).is_some());
        assert!(world.space.forget(id(1), 0).is_none());
        Ok(())
    }
}
