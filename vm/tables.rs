// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The page directory and page tables of one address space, as they are in video memory (VRAM): the
//! PDB and PTBs of the C driver.
//!
//! A table is added when something is first mapped in its range. The directory and the tables may
//! lose their memory to others while no job of the address space runs. Their contents follow from
//! the mappings, so they are not kept. A table that lost its memory maps nothing until it has
//! memory again and its entries are written. The directory only has to link its tables again.
//! Writing entries neither allocates nor fails: pages without a table, or whose table has no
//! memory, are not mapped.
//!
//! A whole table is made to map nothing by clearing its entry in the directory instead of its own
//! entries: one write for 1024. Such a table is *unlinked*. Its entries mean nothing until they are
//! written and the directory links the table again. A new table starts out unlinked.
//!
//! The GPU sees a write once the host data path (HDP) is flushed, and uses it once the translation
//! caches are flushed. Both are up to the caller, who knows when a change is complete. There is one
//! exception: jobs that run meanwhile must not find a table before its contents, so the HDP is
//! flushed between writing a table's entries and linking it.

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
pub(super) mod fake;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use core::ops::Range;

use kernel::rbtree::{
    RBTree,
    RBTreeNode,
    RBTreeNodeReservation, //
};

use super::layout::{
    self,
    ENTRY_SIZE, //
};
use crate::hw::page_table::{
    Pde,
    Pte, //
};

/// VRAM, addressed by offset from its start: as the CPU sees it, or as it will be.
pub(super) trait Memory {
    /// Writes `values`, eight bytes each, starting at `offset`.
    fn write(&self, offset: u64, values: &[u64]);
    /// Makes the `count` page-table entries from `offset` on map nothing.
    fn clear(&self, offset: u64, count: u64);
    /// Makes each of the `count` page-table entries from `offset` on describe its own page only.
    fn strip_fragments(&self, offset: u64, count: u64);
    /// Orders writes: the GPU sees everything written before this before anything written after it.
    fn flush(&self);
    /// Returns the number of the update at whose end the writes are done, or 0 if they are done at
    /// once.
    fn update(&self) -> u64;
}

/// Makes page-table entries map nothing, by [`Memory::write`].
pub(super) fn write_nothing(memory: &impl Memory, offset: u64, count: u64) {
    static NOTHING: [u64; CLEAR_BLOCK] = [Pte::INVALID.into_raw(); CLEAR_BLOCK];

    for first in (0..count).step_by(CLEAR_BLOCK) {
        // LOSSLESS: At most `CLEAR_BLOCK`.
        let some = (count - first).min(CLEAR_BLOCK as u64) as usize;
        memory.write(offset + first * ENTRY_SIZE, &NOTHING[..some]);
    }
}

/// A sequence of page-table entries.
pub(super) trait Fill {
    /// Fills `into` with the next entries, and with entries that map nothing once the sequence has
    /// ended.
    fn fill(&mut self, into: &mut [u64]);
}

/// Number of entries that are generated, and that are cleared, at a time.
const BLOCK: usize = 64;
const CLEAR_BLOCK: usize = 256;

/// Location of a page table.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Offset in VRAM.
    pub(super) offset: u64,
    /// Address in the GPU's own address space.
    pub(super) mc_addr: u64,
}

/// A page table.
pub(super) struct Table<T> {
    /// `None` if the table has lost its memory.
    place: Option<Place>,
    link: Link,
    /// The owner of the table's memory.
    owner: T,
}

impl<T> Table<T> {
    /// Creates a table in the memory that `owner` keeps, with arbitrary contents.
    pub(super) fn new(place: Place, owner: T) -> Self {
        Self {
            place: Some(place),
            link: Link::Unlinked,
            owner,
        }
    }
}

/// State of a table's entry in the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The directory points to the table, or will as soon as it has memory.
    Linked,
    /// The directory does not point to the table: all of its pages map nothing, whatever its
    /// entries hold.
    Unlinked,
}

/// Result of writing entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what was not written is not mapped"]
pub(super) enum Written {
    /// All entries were written.
    All,
    /// Entries of tables that are missing or have no memory were not written.
    WithHoles,
}

/// The page directory and page tables of an address space.
///
/// # Invariants
///
/// - The directory and every table that has a place is memory of this address space alone.
/// - An entry of a directory that has a place is valid if and only if its table is in `tables`, and
///   linked.
/// - A table that is linked has a place.
/// - `evicted` is the number of tables without a place.
pub(super) struct Tables<T> {
    /// The page directory's offset in VRAM, if it has memory.
    directory: Option<u64>,
    /// Page tables by their index in the directory.
    tables: RBTree<u64, Table<T>>,
    evicted: usize,
}

impl<T> Tables<T> {
    /// Creates an empty address space, whose directory has no memory yet.
    pub(super) fn new() -> Self {
        Self {
            directory: None,
            tables: RBTree::new(),
            evicted: 0,
        }
    }

    /// Returns true if the directory and all tables have memory.
    pub(super) fn is_complete(&self) -> bool {
        self.directory.is_some() && self.evicted == 0
    }

    /// Returns true if the directory has memory.
    pub(super) fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Writes the directory entries `entries` to the directory at VRAM offset `directory`, which
    /// must be zeroed. Prepares for [`Tables::place_directory`].
    pub(super) fn fill_directory(&self, memory: &impl Memory, directory: u64, entries: Range<u64>) {
        for index in entries {
            let table = self.tables.get(&index);
            if let Some(place) = table
                .filter(|t| t.link == Link::Linked)
                .and_then(|t| t.place)
            {
                write_pde(memory, directory, index, Pde::table(place.mc_addr));
            }
        }
    }

    /// Sets the directory's place to VRAM offset `directory`. All of its entries must have been
    /// written by [`Tables::fill_directory`] since tables were last linked or unlinked.
    pub(super) fn place_directory(&mut self, directory: u64) {
        // INVARIANT: The caller has written the entries of all linked tables.
        self.directory = Some(directory);
    }

    /// Called when the directory loses its memory. No job may run.
    pub(super) fn evict_directory(&mut self) {
        self.directory = None;
    }

    /// Returns the owner of a table's memory, and whether it has any, if there is such a table.
    pub(super) fn get(&self, index: u64) -> Option<(&T, bool)> {
        let table = self.tables.get(&index)?;
        Some((&table.owner, table.place.is_some()))
    }

    /// Returns the first table from `index` on.
    pub(super) fn next(&self, index: u64) -> Option<(u64, &T)> {
        let cursor = self.tables.cursor_lower_bound(&index)?;
        let (&index, _) = cursor.current();
        Some((index, &self.tables.get(&index)?.owner))
    }

    /// Returns the first table from `index` on that has no memory.
    pub(super) fn next_evicted(&self, index: u64) -> Option<u64> {
        if self.evicted == 0 {
            return None;
        }
        let mut next = index;
        loop {
            let cursor = self.tables.cursor_lower_bound(&next)?;
            let (&index, table) = cursor.current();
            if table.place.is_none() {
                return Some(index);
            }
            next = index + 1;
        }
    }

    /// Adds a table. There must be none at that index.
    pub(super) fn add(
        &mut self,
        index: u64,
        table: Table<T>,
        node: RBTreeNodeReservation<u64, Table<T>>,
    ) {
        // INVARIANT: The table is not linked, and the directory does not point to it.
        self.tables.insert(node.into_node(index, table));
    }

    /// Gives a table memory again, with arbitrary contents. The table maps nothing.
    pub(super) fn place(&mut self, index: u64, place: Place) {
        if let Some(table) = self.tables.get_mut(&index) {
            if table.place.replace(place).is_none() {
                // INVARIANT: The table is not linked, and has a place now.
                self.evicted -= 1;
            }
        }
    }

    /// Called when a table loses its memory: it no longer maps anything. No job may run.
    pub(super) fn evict(&mut self, memory: &impl Memory, index: u64) {
        self.unlink(memory, index);
        if let Some(table) = self.tables.get_mut(&index) {
            if table.place.take().is_some() {
                // INVARIANT: The table is not linked, and has no place now.
                self.evicted += 1;
            }
        }
    }

    /// Called when the directory and all tables have lost their contents: they have no memory until
    /// they are placed again. No job may run.
    pub(super) fn lose(&mut self) {
        self.directory = None;
        self.evicted = 0;
        for table in self.tables.values_mut() {
            // INVARIANT: The table is not linked, and has no place now.
            table.link = Link::Unlinked;
            table.place = None;
            self.evicted += 1;
        }
    }

    /// Removes a table that has no memory. The caller drops it after releasing the lock.
    pub(super) fn remove_evicted(&mut self, index: u64) -> Option<RBTreeNode<u64, Table<T>>> {
        if self.get(index)?.1 {
            return None;
        }
        // INVARIANT: The table had no place, so it was not linked.
        self.evicted -= 1;
        self.tables.remove_node(&index)
    }

    /// Writes the entries of `pages`, one after the other. Pages beyond the last entry map nothing.
    pub(super) fn write(
        &mut self,
        memory: &impl Memory,
        pages: Range<u64>,
        entries: &mut impl Fill,
    ) -> Written {
        self.clear_around(memory, pages.clone());
        let mut block = [0; BLOCK];
        let mut written = Written::All;
        self.for_each_block(pages.clone(), BLOCK, |offset, count| {
            entries.fill(&mut block[..count]);
            match offset {
                Some(offset) => memory.write(offset, &block[..count]),
                None => written = Written::WithHoles,
            }
        });
        self.link(memory, pages);
        written
    }

    /// Makes `pages` map nothing.
    pub(super) fn clear(&mut self, memory: &impl Memory, pages: Range<u64>) {
        for chunk in layout::chunks(pages) {
            if chunk.is_whole_table() {
                self.unlink(memory, chunk.table);
                continue;
            }
            let table = self.tables.get(&chunk.table);
            if let Some(table) = table.filter(|table| table.link == Link::Linked) {
                clear_entries(memory, table, chunk.entries());
            }
        }
    }

    /// Makes a whole table map nothing.
    fn unlink(&mut self, memory: &impl Memory, index: u64) {
        let table = self.tables.get_mut(&index);
        if let Some(table) = table.filter(|table| table.link == Link::Linked) {
            // INVARIANT: The directory no longer points to the table.
            table.link = Link::Unlinked;
            if let Some(directory) = self.directory {
                write_pde(memory, directory, index, Pde::INVALID);
            }
        }
    }

    /// Clears the entries outside of `pages` in those of its tables that are not linked.
    fn clear_around(&self, memory: &impl Memory, pages: Range<u64>) {
        for chunk in layout::chunks(pages) {
            let table = self.tables.get(&chunk.table);
            if let Some(table) = table.filter(|table| table.link == Link::Unlinked) {
                let Range { start, end } = chunk.entries();
                clear_entries(memory, table, 0..start);
                clear_entries(memory, table, end..layout::TABLE_ENTRIES);
            }
        }
    }

    /// Links the tables of `pages` in the directory.
    fn link(&mut self, memory: &impl Memory, pages: Range<u64>) {
        let mut flushed = false;

        for chunk in layout::chunks(pages) {
            let Some(table) = self.tables.get_mut(&chunk.table) else {
                continue;
            };
            let (Link::Unlinked, Some(place)) = (table.link, table.place) else {
                continue;
            };
            // INVARIANT: The table has a place, and the directory points to it, or will.
            table.link = Link::Linked;
            let Some(directory) = self.directory else {
                continue;
            };
            if !flushed {
                memory.flush();
                flushed = true;
            }
            let entry = Pde::table(place.mc_addr);
            write_pde(memory, directory, chunk.table, entry);
        }
    }

    /// Stops entries next to `border` from describing pages on its other side.
    ///
    /// To be called before the mapping on one side of `border` is changed, if the same mapping is
    /// on the other side.
    pub(super) fn split_fragments(&self, memory: &impl Memory, border: u64) {
        let neighbors = layout::fragment_neighbors(border);
        self.for_each_block(neighbors, BLOCK, |offset, count| {
            if let Some(offset) = offset {
                memory.strip_fragments(offset, count as u64);
            }
        });
    }

    /// Calls `entries` for at most `most` pages at a time, in order. Its arguments are the VRAM
    /// offset of their entries, or `None` without a table that has memory, and the number of pages.
    fn for_each_block(
        &self,
        pages: Range<u64>,
        most: usize,
        mut entries: impl FnMut(Option<u64>, usize),
    ) {
        for chunk in layout::chunks(pages) {
            let place = self
                .tables
                .get(&chunk.table)
                .and_then(|table| table.place)
                .map(|place| place.offset + chunk.entries().start * ENTRY_SIZE);
            for first in (0..chunk.count).step_by(most) {
                // LOSSLESS: At most `most`.
                let count = (chunk.count - first).min(most as u64) as usize;
                entries(place.map(|start| start + first * ENTRY_SIZE), count);
            }
        }
    }
}

/// Writes an entry of a directory.
fn write_pde(memory: &impl Memory, directory: u64, index: u64, entry: Pde) {
    memory.write(directory + index * ENTRY_SIZE, &[entry.into_raw()]);
}

/// Makes some entries of a table map nothing.
fn clear_entries<T>(memory: &impl Memory, table: &Table<T>, entries: Range<u64>) {
    if let Some(place) = table.place.filter(|_| !entries.is_empty()) {
        let offset = place.offset + entries.start * ENTRY_SIZE;
        memory.clear(offset, entries.end - entries.start);
    }
}
