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
//! While jobs run, changes that take entries away are recorded as an update
//! ([`Timeline`](super::timeline::Timeline)), and what is said above of the page tables is true of
//! them as they will be. Until the update has ended, jobs may reach what the tables showed before:
//! so a BO keeps the number of the last update that took entries of it away.
//!
//! All of this is protected by the publish lock of `vm.rs`, which reclaim may take: nothing here
//! allocates unless it says so, nothing fails half way, and no BO is released.

mod bo_va;
mod nothing;
mod pending;
mod sizing;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use core::ops::Range;

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
};

pub(super) use self::{
    bo_va::BoVa,
    pending::Users, //
};

use self::pending::Pending;
use super::{
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
    }, //
};
use crate::{
    bindings,
    hw::page_table::{
        Access,
        Format,
        TableKey, //
    },
    mem::{
        Backing,
        BoId,
        Reach, //
    },
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

/// An address space.
///
/// # Invariants
///
/// - Every mapping is of a BO in `bos`, or of none: then the page tables show nothing there.
/// - `pending` knows the BOs whose entries are not current.
/// - A BO without mappings has current entries.
/// - A BO with current entries has no mapping where there is no table, or one without memory.
/// - `closed` has the BOs whose `BoVa::closed` says so, under the number that it says.
pub(super) struct Space<B, T> {
    mappings: Mappings<BoId, MapFlags>,
    bos: RBTree<BoId, BoVa<B>>,
    pending: Pending,
    /// BOs to be forgotten once an update has ended, by its number.
    closed: RBTree<(u64, BoId), ()>,
    tables: Tables<T>,
    any_stale: bool,
}

impl<B, T> Space<B, T> {
    /// Creates an empty address space, see [`Tables::new`].
    pub(super) fn new(format: &'static Format) -> Self {
        Self {
            mappings: Mappings::new(),
            bos: RBTree::new(),
            pending: Pending::new(),
            closed: RBTree::new(),
            tables: Tables::new(format),
            any_stale: false,
        }
    }

    /// Returns the first BO after `after` whose entries are not current and that every job has to
    /// do with: it is private to the address space, or its entries are stale.
    pub(super) fn next_due(&self, after: Option<BoId>) -> Option<&B> {
        let from = after.map_or(BoId::FIRST, BoId::next);
        self.bo(self.pending.due_from(from)?)
    }

    /// Returns true if the entries of any BO wait for a job that names it.
    pub(super) fn has_waiting(&self) -> bool {
        self.pending.has_waiting()
    }

    /// Returns true if the entries of a BO wait for a job that names it.
    pub(super) fn is_waiting(&self, bo: BoId) -> bool {
        self.bos.get(&bo).is_some_and(|va| va.state.is_waiting())
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
        key: TableKey,
        table: Table<T>,
        node: RBTreeNodeReservation<TableKey, Table<T>>,
    ) {
        self.tables.add(key, table, node);
    }

    /// Called when a table loses its memory, see [`Tables::evict`]. No job may run.
    pub(super) fn evict_table(&mut self, memory: &impl Memory, key: TableKey) {
        self.tables.evict(memory, key);

        let pages = self.tables.format().pages_of(key);
        let mut next = pages.start;
        while let Some(mapping) = self.mappings.first_in(next..pages.end) {
            next = mapping.pages().end;
            if let Some(va) = self.bos.get_mut(&mapping.bo) {
                if va.state.entries() == Entries::Current {
                    self.pending.set(mapping.bo, &mut va.state, Entries::Holes);
                }
            }
        }
    }

    /// Called when all page tables have lost their contents, see [`Tables::lose`]. No job may run.
    pub(super) fn lose_tables(&mut self) {
        self.tables.lose();
        for (bo, va) in self.bos.iter_mut() {
            let mapped = self.mappings.of(*bo).next().is_some();
            if va.state.entries() == Entries::Current && mapped {
                self.pending.set(*bo, &mut va.state, Entries::Holes);
            }
        }
    }

    /// Returns true if anything is mapped in the range of a table.
    pub(super) fn is_table_used(&self, key: TableKey) -> bool {
        let pages = self.tables.format().pages_of(key);
        self.mappings.first_in(pages).is_some()
    }

    /// Returns true if published jobs must have ended before [`Space::update`] is called.
    pub(super) fn has_stale(&self) -> bool {
        self.any_stale
    }

    /// Called before the BO's bytes move or go away. `done` is the number of the last update that
    /// has ended.
    pub(super) fn invalidate(&mut self, bo: BoId, done: u64) -> Reach {
        let mapped = self.is_mapped(bo);
        let Some(va) = self.bos.get_mut(&bo) else {
            return Reach::None;
        };
        match va.state.entries() {
            Entries::Current | Entries::Holes if mapped => {
                self.pending.set(bo, &mut va.state, Entries::Stale);
                self.any_stale = true;
                Reach::PublishedJobs
            }
            Entries::Stale => Reach::PublishedJobs,
            _ if va.shown_until > done => Reach::PublishedJobs,
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
        let format = self.tables.format();
        self.mappings.insert(mapping, spare)?;

        let Some(va) = self.bos.get_mut(&mapping.bo) else {
            return Ok(());
        };
        match (va.state.entries(), backing) {
            // Current entries imply that nothing has moved since they were written.
            (Entries::Current, Some(backing)) if held == Held::Here || !first => {
                let written = self.tables.write(
                    memory,
                    mapping.pages(),
                    &mut backing.entries(format, &mapping),
                );
                self.pending
                    .set(mapping.bo, &mut va.state, Entries::after(written));
            }
            (Entries::Current, _) if first => {
                self.pending.set(mapping.bo, &mut va.state, Entries::Clear);
            }
            (Entries::Current, _) => {
                self.pending.set(mapping.bo, &mut va.state, Entries::Stale);
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
                self.pending.set(mapping.bo, &mut va.state, entries);
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
        let format = tables.format();
        let mut entries = Entries::Current;
        for mapping in mappings.of(bo) {
            let written = tables.write(
                memory,
                mapping.pages(),
                &mut backing.entries(format, &mapping),
            );
            if written == Written::WithHoles {
                entries = Entries::Holes;
            }
        }
        entries
    }

    /// Splits the fragments across the borders of `pages`, once before [`Space::unmap`]. No job may
    /// run when `memory` is written.
    pub(super) fn split_borders(&mut self, memory: &impl Memory, pages: &Range<u64>) {
        for border in [pages.start, pages.end] {
            if self.is_within_mapping(border) {
                self.tables.split_fragments(memory, border);
            }
        }
    }

    /// Unmaps at most `most` mappings in `pages`, from the start on. Nothing may be mapped across a
    /// border without [`Space::split_borders`]. No job may run when `memory` is written.
    pub(super) fn unmap(
        &mut self,
        memory: &impl Memory,
        pages: Range<u64>,
        spare: &mut Spare<BoId, MapFlags>,
        most: usize,
    ) -> Unmapped {
        for _ in 0..most {
            if !self.unmap_next(memory, pages.clone(), spare) {
                return Unmapped::All;
            }
        }
        Unmapped::Some
    }

    /// Unmaps at most `most` mappings of a BO. No job may run when `memory` is written.
    pub(super) fn unmap_bo(&mut self, memory: &impl Memory, bo: BoId, most: usize) -> Unmapped {
        // Unmapping whole mappings takes no memory.
        let mut spare = Spare::none();
        for _ in 0..most {
            let Some(mapping) = self.mappings.of(bo).next() else {
                return Unmapped::All;
            };
            self.unmap_next(memory, mapping.pages(), &mut spare);
        }
        Unmapped::Some
    }

    /// Unmaps the first mapping in `pages`, as far as it is there. Returns false if there is none.
    fn unmap_next(
        &mut self,
        memory: &impl Memory,
        pages: Range<u64>,
        spare: &mut Spare<BoId, MapFlags>,
    ) -> bool {
        let Some(part) = self.mappings.carve_next(pages, spare) else {
            return false;
        };
        self.tables.clear(memory, part.pages());
        if let Some(va) = self.bos.get_mut(&part.bo) {
            va.shown_until = va.shown_until.max(memory.update());
        }
        self.settle(part.bo);
        true
    }

    /// Brings the page tables up to date for a job that is about to be published and names the BOs
    /// `named`. `find` calls its second argument with the location of the BO's bytes, if they will
    /// stay there until the job has ended. The entries of such BOs become current, stale entries of
    /// all others are cleared. If any are stale, no job may run when `memory` is written.
    ///
    /// BOs that are neither named nor due are not looked at.
    pub(super) fn update(
        &mut self,
        memory: &impl Memory,
        named: impl Iterator<Item = BoId>,
        mut find: impl FnMut(&B, &mut dyn FnMut(Backing<'_>)),
    ) {
        // Before those that are due, which may wait afterward: each BO is written once.
        if self.has_waiting() {
            for bo in named {
                if self.is_waiting(bo) {
                    self.update_bo(memory, bo, &mut find);
                }
            }
        }
        let mut next = self.pending.due_from(BoId::FIRST);
        while let Some(bo) = next {
            self.update_bo(memory, bo, &mut find);
            next = self.pending.due_from(bo.next());
        }
        self.any_stale = false;
    }

    fn update_bo(
        &mut self,
        memory: &impl Memory,
        bo: BoId,
        find: &mut impl FnMut(&B, &mut dyn FnMut(Backing<'_>)),
    ) {
        let Some(va) = self.bos.get_mut(&bo) else {
            return;
        };
        let is_stale = va.state.entries() == Entries::Stale;
        if is_stale {
            va.shown_until = va.shown_until.max(memory.update());
        }
        let (mappings, tables) = (&self.mappings, &mut self.tables);
        let mut entries = None;
        find(&va.bo, &mut |backing| {
            entries = Some(Self::write(mappings, tables, memory, bo, backing));
        });
        if let Some(entries) = entries {
            self.pending.set(bo, &mut va.state, entries);
        } else if is_stale {
            for mapping in self.mappings.of(bo) {
                self.tables.clear(memory, mapping.pages());
            }
            self.pending.set(bo, &mut va.state, Entries::Clear);
        }
    }

    /// Returns true if the entries of any BO are not current, so that [`Space::update`] may have
    /// work.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
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
            self.pending.set(bo, &mut va.state, Entries::Current);
        }
    }
}
