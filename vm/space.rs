// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The mappings of one address space, the part of them that the page tables show, and the
//! transitions between the two.
//!
//! The page-table entries of a buffer object (BO) are in one of four states. The C driver keeps a
//! `bo_va` on a list instead: evicted, needs_update (formerly moved) or idle.
//!
//! | state | contents of the page tables for the BO's mappings |
//! |---|---|
//! | current | the place where its bytes are; also the state while it has no mapping |
//! | holes | the place where its bytes are, or nothing |
//! | stale | a place where its bytes were: no further job may run before they are rewritten |
//! | clear | nothing |
//!
//! Bytes that are about to move, or pages that are about to go, make entries stale
//! ([`Space::invalidate`]). Entries leave that state only while no job runs: a job that names the
//! BO makes them current again, any other job clears them ([`Space::update`]). A page table that
//! loses its memory leaves holes ([`Space::evict_table`]), which a job that names the BO fills.
//!
//! All of this is protected by the publish lock of `vm.rs`, which reclaim may take: nothing here
//! allocates unless it says so, nothing fails half way, and no BO is released.

use core::ops::Range;

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
};

use super::{
    backing::Backing,
    layout,
    mapping::{
        self,
        Mappings,
        Spare, //
    },
    tables::{
        Memory,
        Table,
        Tables,
        Written, //
    },
};
use crate::{
    bindings,
    hw::page_table::Access,
    ttm::BoId, //
};

/// Flags of a mapping: `AMDGPU_VM_PAGE_*` and any others that user space passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapFlags(pub(crate) u32);

impl From<MapFlags> for Access {
    fn from(flags: MapFlags) -> Self {
        Self {
            read: flags.0 & bindings::AMDGPU_VM_PAGE_READABLE != 0,
            write: flags.0 & bindings::AMDGPU_VM_PAGE_WRITEABLE != 0,
        }
    }
}

pub(crate) type Mapping = mapping::Mapping<BoId, MapFlags>;

/// Ability of jobs to reach the bytes of a BO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "bytes that jobs reach may not go before those jobs have ended"]
pub(crate) enum Reach {
    /// No job of this address space can reach them.
    None,
    /// Published jobs can reach them. No later job will.
    PublishedJobs,
}

/// Ability of a BO's bytes to go away without a call of [`Space::invalidate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// The bytes stay as long as the BO's reservation is held, which it is now.
    Here,
    /// The bytes may go at any time, or are not where the GPU can reach them.
    NotHere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    Current,
    Holes,
    Stale,
    Clear,
}

impl Entries {
    /// Returns the state of a BO after writing all its entries, with `written` as the result.
    fn after(written: Written) -> Self {
        match written {
            Written::All => Self::Current,
            Written::WithHoles => Self::Holes,
        }
    }
}

/// Progress of [`Space::unmap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "there may be more"]
pub(super) enum Unmapped {
    /// Nothing is mapped in the range any more.
    All,
    /// More mappings are left in the range.
    Some,
}

/// State that the address space keeps for a BO with a handle: the `amdgpu_bo_va` of the C driver.
pub(super) struct BoVa<B> {
    bo: B,
    /// Number of handles.
    handles: usize,
    entries: Entries,
    /// Memory for the BO's node in `Space::pending`, while the node is not in the tree.
    pending: Option<RBTreeNodeReservation<BoId, ()>>,
}

impl<B> BoVa<B> {
    /// Creates the state for a first handle. Allocates.
    pub(super) fn new(bo: B) -> Result<Self> {
        Ok(Self {
            bo,
            handles: 1,
            entries: Entries::Current,
            pending: Some(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?),
        })
    }
}

/// An address space.
///
/// # Invariants
///
/// - Every mapping is of a BO in `bos`.
/// - A BO is in `pending` if and only if its entries are not current.
/// - A BO without mappings has current entries.
/// - A BO with current entries has no mapping where there is no table, or one without memory.
pub(super) struct Space<B, T> {
    mappings: Mappings<BoId, MapFlags>,
    bos: RBTree<BoId, BoVa<B>>,
    pending: RBTree<BoId, ()>,
    tables: Tables<T>,
    any_stale: bool,
}

impl<B, T> Space<B, T> {
    /// Creates an empty address space, see [`Tables::new`].
    pub(super) fn new() -> Self {
        Self {
            mappings: Mappings::new(),
            bos: RBTree::new(),
            pending: RBTree::new(),
            tables: Tables::new(),
            any_stale: false,
        }
    }

    /// Adds a handle to a BO. Returns `node` if it was not needed, as the BO has one already.
    pub(super) fn open(
        &mut self,
        bo: BoId,
        node: RBTreeNode<BoId, BoVa<B>>,
    ) -> Option<RBTreeNode<BoId, BoVa<B>>> {
        if let Some(va) = self.bos.get_mut(&bo) {
            va.handles += 1;
            return Some(node);
        }
        self.bos.insert(node)
    }

    /// Removes a handle to a BO. Returns true if it was the last: then the BO's mappings must be
    /// cleared, and [`Space::forget`] called.
    pub(super) fn close(&mut self, bo: BoId) -> bool {
        match self.bos.get_mut(&bo) {
            Some(va) => {
                va.handles = va.handles.saturating_sub(1);
                va.handles == 0
            }
            None => false,
        }
    }

    /// Removes a BO that has no mapping and no handle. The caller drops the node after releasing
    /// the lock.
    pub(super) fn forget(&mut self, bo: BoId) -> Option<RBTreeNode<BoId, BoVa<B>>> {
        if self.is_mapped(bo) || self.bos.get(&bo).is_some_and(|va| va.handles != 0) {
            return None;
        }
        self.bos.remove_node(&bo)
    }

    /// Returns true if user space holds a handle to the BO.
    pub(super) fn knows(&self, bo: BoId) -> bool {
        self.bos.get(&bo).is_some_and(|va| va.handles != 0)
    }

    /// Returns any BO that is known to the address space.
    pub(super) fn any_bo(&self) -> Option<&B> {
        self.bos.values().next().map(|va| &va.bo)
    }

    /// Returns the first BO after `after` whose entries are not current.
    pub(super) fn next_pending(&self, after: Option<BoId>) -> Option<&B> {
        let from = after.map_or(BoId::FIRST, BoId::next);
        let cursor = self.pending.cursor_lower_bound(&from)?;
        self.bos.get(cursor.current().0).map(|va| &va.bo)
    }

    pub(super) fn mappings(&self) -> &Mappings<BoId, MapFlags> {
        &self.mappings
    }

    pub(super) fn tables(&mut self) -> &mut Tables<T> {
        &mut self.tables
    }

    /// Adds a page table, see [`Tables::add`].
    pub(super) fn add_table(
        &mut self,
        index: u64,
        table: Table<T>,
        node: RBTreeNodeReservation<u64, Table<T>>,
    ) {
        self.tables.add(index, table, node);
    }

    /// Called when a page table loses its memory, see [`Tables::evict`]. No job may run.
    pub(super) fn evict_table(&mut self, memory: &impl Memory, index: u64) {
        self.tables.evict(memory, index);

        let pages = layout::pages_of_table(index);
        let mut next = pages.start;
        while let Some(mapping) = self.mappings.first_in(next..pages.end) {
            next = mapping.pages().end;
            if let Some(va) = self.bos.get_mut(&mapping.bo) {
                if va.entries == Entries::Current {
                    Self::set(&mut self.pending, mapping.bo, va, Entries::Holes);
                }
            }
        }
    }

    /// Returns true if anything is mapped in the range of a page table.
    pub(super) fn is_table_used(&self, index: u64) -> bool {
        let pages = layout::pages_of_table(index);
        self.mappings.first_in(pages).is_some()
    }

    /// Returns true if published jobs must have ended before [`Space::update`] is called.
    pub(super) fn has_stale(&self) -> bool {
        self.any_stale
    }

    /// Called before the BO's bytes move or go away.
    pub(super) fn invalidate(&mut self, bo: BoId) -> Reach {
        let mapped = self.is_mapped(bo);
        let Some(va) = self.bos.get_mut(&bo) else {
            return Reach::None;
        };
        match va.entries {
            Entries::Current | Entries::Holes if mapped => {
                Self::set(&mut self.pending, bo, va, Entries::Stale);
                self.any_stale = true;
                Reach::PublishedJobs
            }
            Entries::Stale => Reach::PublishedJobs,
            Entries::Current | Entries::Holes | Entries::Clear => Reach::None,
        }
    }

    /// Adds a mapping, or returns it as the error if it overlaps another. `backing` is the location
    /// of the BO's bytes; `held` tells whether they stay there.
    ///
    /// The entries are written at once if that is safe and there are tables, and otherwise when a
    /// job is published.
    pub(super) fn map(
        &mut self,
        memory: &impl Memory,
        mapping: Mapping,
        spare: &mut Spare<BoId, MapFlags>,
        held: Held,
        backing: Option<Backing<'_>>,
    ) -> Result<(), Mapping> {
        let first = !self.is_mapped(mapping.bo);
        self.mappings.insert(mapping, spare)?;

        let Some(va) = self.bos.get_mut(&mapping.bo) else {
            return Ok(());
        };
        match (va.entries, backing) {
            // Current entries imply that nothing has moved since they were written.
            (Entries::Current, Some(backing)) if held == Held::Here || !first => {
                let written =
                    self.tables
                        .write(memory, mapping.pages(), &mut backing.entries(&mapping));
                Self::set(&mut self.pending, mapping.bo, va, Entries::after(written));
            }
            (Entries::Current, _) if first => {
                Self::set(&mut self.pending, mapping.bo, va, Entries::Clear);
            }
            (Entries::Current, _) => {
                Self::set(&mut self.pending, mapping.bo, va, Entries::Stale);
                self.any_stale = true;
            }
            (Entries::Clear | Entries::Holes, Some(backing)) if held == Held::Here => {
                let entries = Self::write(
                    &self.mappings,
                    &mut self.tables,
                    memory,
                    mapping.bo,
                    backing,
                );
                Self::set(&mut self.pending, mapping.bo, va, entries);
            }
            (Entries::Clear | Entries::Holes | Entries::Stale, _) => (),
        }
        Ok(())
    }

    /// Writes the entries of all mappings of a BO whose bytes are at `backing`.
    fn write(
        mappings: &Mappings<BoId, MapFlags>,
        tables: &mut Tables<T>,
        memory: &impl Memory,
        bo: BoId,
        backing: Backing<'_>,
    ) -> Entries {
        let mut entries = Entries::Current;
        for mapping in mappings.of(bo) {
            let written = tables.write(memory, mapping.pages(), &mut backing.entries(&mapping));
            if written == Written::WithHoles {
                entries = Entries::Holes;
            }
        }
        entries
    }

    /// Unmaps at most `most` mappings in `pages`, from the start on. No job may run.
    pub(super) fn unmap(
        &mut self,
        memory: &impl Memory,
        pages: Range<u64>,
        spare: &mut Spare<BoId, MapFlags>,
        most: usize,
    ) -> Unmapped {
        for border in [pages.start, pages.end] {
            if self.is_within_mapping(border) {
                self.tables.split_fragments(memory, border);
            }
        }
        for _ in 0..most {
            let Some(part) = self.mappings.carve_next(pages.clone(), spare) else {
                return Unmapped::All;
            };
            self.tables.clear(memory, part.pages());
            self.settle(part.bo);
        }
        Unmapped::Some
    }

    /// Brings the page tables up to date for a job that is about to be published. `find` calls its
    /// second argument with the location of the BO's bytes, if they will stay there until the job
    /// has ended. The entries of such BOs become current, stale entries of all others are cleared.
    /// If any are stale, no job may run.
    pub(super) fn update(
        &mut self,
        memory: &impl Memory,
        mut find: impl FnMut(&B, &mut dyn FnMut(Backing<'_>)),
    ) {
        let mut from = BoId::FIRST;

        while let Some(bo) = self.pending_from(from) {
            from = bo.next();
            let Some(va) = self.bos.get_mut(&bo) else {
                continue;
            };
            let (mappings, tables) = (&self.mappings, &mut self.tables);
            let mut entries = None;
            find(&va.bo, &mut |backing| {
                entries = Some(Self::write(mappings, tables, memory, bo, backing));
            });
            if let Some(entries) = entries {
                Self::set(&mut self.pending, bo, va, entries);
            } else if va.entries == Entries::Stale {
                for mapping in self.mappings.of(bo) {
                    self.tables.clear(memory, mapping.pages());
                }
                Self::set(&mut self.pending, bo, va, Entries::Clear);
            }
        }
        self.any_stale = false;
    }

    /// Returns true if anything is pending, so that [`Space::update`] would have work.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn pending_from(&self, from: BoId) -> Option<BoId> {
        let cursor = self.pending.cursor_lower_bound(&from)?;
        Some(*cursor.current().0)
    }

    fn is_mapped(&self, bo: BoId) -> bool {
        self.mappings.of(bo).next().is_some()
    }

    /// Returns true if the pages on both sides of `border` belong to one mapping.
    fn is_within_mapping(&self, border: u64) -> bool {
        self.mappings
            .first_in(border..border.saturating_add(1))
            .is_some_and(|mapping| mapping.page < border)
    }

    /// Makes the entries of a BO current once its last mapping is gone: none are left to be wrong.
    fn settle(&mut self, bo: BoId) {
        if self.is_mapped(bo) {
            return;
        }
        if let Some(va) = self.bos.get_mut(&bo) {
            Self::set(&mut self.pending, bo, va, Entries::Current);
        }
    }

    /// Sets the state of a BO's entries, and adds it to or removes it from `pending`.
    fn set(pending: &mut RBTree<BoId, ()>, bo: BoId, va: &mut BoVa<B>, entries: Entries) {
        // INVARIANT: The BO is in `pending` if and only if `entries` is not `Current`.
        if entries == Entries::Current {
            if let Some(node) = pending.remove_node(&bo) {
                va.pending = Some(node.into_reservation());
            }
        } else if let Some(node) = va.pending.take() {
            pending.insert(node.into_node(bo, ()));
        }
        va.entries = entries;
    }
}

#[kunit_tests(amdgpu_rs_vm_space)]
mod tests {
    use super::*;
    use crate::vm::{
        backing::Block,
        tables::{
            fake::Fake,
            Place, //
        },
    };

    const DIRECTORY: u64 = 0x1000;
    const TABLE: u64 = 0x8000;
    const PLACE: Place = Place {
        offset: TABLE,
        mc_addr: TABLE,
    };
    const READ_WRITE: u32 = bindings::AMDGPU_VM_PAGE_READABLE | bindings::AMDGPU_VM_PAGE_WRITEABLE;

    /// A test BO is a number: its place in VRAM.
    struct World {
        memory: Fake,
        space: Space<u64, ()>,
    }

    fn id(n: u64) -> BoId {
        (0..n).fold(BoId::FIRST, |id, _| id.next())
    }

    fn at(offset: u64) -> [Block; 1] {
        [Block {
            offset,
            size: 0x10_0000,
        }]
    }

    impl World {
        /// Creates one page table, and BOs 1 and 2.
        fn new() -> Result<Self> {
            let memory = Fake::new();
            let mut space = Space::new();
            space.tables().place_directory(DIRECTORY);
            let table = Table::new(PLACE, ());
            space.add_table(0, table, RBTreeNodeReservation::new(GFP_KERNEL)?);
            for n in 1..3 {
                let node = RBTreeNode::new(id(n), BoVa::new(n)?, GFP_KERNEL)?;
                space.open(id(n), node);
            }
            Ok(Self { memory, space })
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
            while self.space.unmap(&self.memory, pages.clone(), &mut spare, 1) == Unmapped::Some {}
            Ok(())
        }

        /// Publishes a job that names the BO `n`, whose bytes are at `offset`.
        fn publish(&mut self, n: u64, offset: u64) {
            self.space.update(&self.memory, |&bo, found| {
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
        assert!(world.space.invalidate(id(1)) == Reach::None);

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

        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
        assert!(world.space.has_stale());
        // Not before the jobs have ended.
        assert_eq!(world.entry(17), 0x100_0061);

        world.publish(1, 0x300_0000);
        assert!(!world.space.has_stale());
        assert_eq!(world.entry(17), 0x300_0061);
        assert_eq!(world.entry(19), 0x300_0061);
        assert_eq!(world.entry(21), 0x200_0061);

        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
        world.publish(2, 0x300_0000);
        assert_eq!(world.entry(17), 0);
        assert_eq!(world.entry(19), 0);
        assert_eq!(world.entry(21), 0x200_0061);
        assert!(world.space.invalidate(id(1)) == Reach::None);

        world.publish(1, 0x100_0000);
        assert_eq!(world.entry(19), 0x100_0061);
        Ok(())
    }

    #[test]
    fn a_stale_bo_is_not_mapped_further() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
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

        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
        world.unmap(0..1024)?;
        assert!(!world.space.is_pending());
        assert!(world.space.invalidate(id(1)) == Reach::None);
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
        world.space.evict_table(&world.memory, 0);
        assert_eq!(world.memory.read(DIRECTORY), 0);
        assert!(world.space.is_pending() && !world.space.has_stale());
        assert!(world.space.is_table_used(0) && !world.space.is_table_used(1));

        // Without a table nothing is written, and nothing becomes current.
        world.publish(1, 0x100_0000);
        assert!(world.space.is_pending());

        world.memory.write(TABLE, &[!0; 64]);
        world.space.tables().place(0, PLACE);
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
    fn entries_beside_a_hole_can_go_stale() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.space.evict_table(&world.memory, 0);
        assert!(world.space.invalidate(id(1)) == Reach::PublishedJobs);
        assert!(world.space.has_stale());
        world.space.tables().place(0, PLACE);
        world.publish(1, 0x300_0000);
        assert_eq!(world.entry(17), 0x300_0061);
        assert!(!world.space.is_pending());
        Ok(())
    }

    #[test]
    fn mapping_more_of_a_bo_fills_its_holes() -> Result {
        let mut world = World::new()?;
        world.map(17, 1, 1, Held::Here)?;
        world.space.evict_table(&world.memory, 0);
        world.map(19, 1, 1, Held::Here)?;
        assert!(world.space.is_pending());
        world.space.tables().place(0, PLACE);
        world.map(21, 1, 1, Held::Here)?;
        assert!(!world.space.is_pending());
        for page in [17, 19, 21] {
            assert_eq!(world.entry(page), 0x100_0061);
        }
        Ok(())
    }

    #[test]
    fn a_bo_is_forgotten_with_its_last_handle() -> Result {
        let mut world = World::new()?;
        let node = RBTreeNode::new(id(1), BoVa::new(1)?, GFP_KERNEL)?;
        assert!(world.space.open(id(1), node).is_some());
        world.map(17, 1, 1, Held::Here)?;
        assert!(!world.space.close(id(1)));
        assert!(world.space.close(id(1)));
        assert!(!world.space.knows(id(1)));
        assert!(world.space.forget(id(1)).is_none());
        world.unmap(17..18)?;
        assert!(world.space.forget(id(1)).is_some());
        assert!(world.space.forget(id(1)).is_none());
        Ok(())
    }
}
