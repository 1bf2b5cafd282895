// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The page directory and page tables of one address space, as they are in video memory (VRAM): the
//! PDB and PTBs of the C driver.
//!
//! The number of levels is the generation's ([`Format`]). A table is named by its [`TableKey`],
//! whatever its level; the directory, the root of all, is kept apart, as it is always there.
//!
//! A table is added when something is first mapped in its range. The directory and the tables may
//! lose their memory to others while no job of the address space runs. Their contents follow from
//! the mappings, so they are not kept. A table that lost its memory maps nothing until it has
//! memory again and its entries are written. The directory only has to link its tables again.
//! Writing entries neither allocates nor fails: pages without a table, or whose table has no
//! memory, are not mapped.
//!
//! A whole page table is made to map nothing by clearing its entry in the table above instead of
//! its own entries: one write for 1024. Such a table is *unlinked*. Its entries mean nothing until
//! they are written and the table is linked again. A new table starts out unlinked. A table between
//! the directory and the page tables is linked with the first page table in its range, and stays
//! linked until it loses its memory.
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
    Chunk,
    ENTRY_SIZE, //
};
use crate::hw::page_table::{
    Format,
    Pde,
    Pte,
    TableKey, //
};

/// VRAM, addressed by offset from its start: as the CPU sees it, or as it will be.
pub(super) trait Memory {
    /// Writes `values`, eight bytes each, starting at `offset`.
    fn write(&self, offset: u64, values: &[u64]);
    /// Writes `count` page-table entries, starting at `offset`: `first`, and each like the one
    /// before it, but for the next page.
    fn write_run(&self, offset: u64, first: Pte, count: u64);
    /// Makes the `count` entries from `offset` on map nothing: those of pages, or of tables.
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
pub(super) trait EntrySource {
    /// Writes the next `count` entries to `memory`, starting at `offset`, and entries that map
    /// nothing once the sequence has ended.
    fn write(&mut self, memory: &impl Memory, offset: u64, count: u64);

    /// Leaves out the next `count` entries.
    fn skip(&mut self, count: u64);
}

/// Number of entries that are cleared at a time.
const CLEAR_BLOCK: usize = 256;

/// Location of a page table.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Offset in VRAM.
    pub(super) offset: u64,
    /// Address in the GPU's own address space.
    pub(super) mc_addr: u64,
}

/// A table of any level but the first.
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

/// State of a table's entry in the table above.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The entry points to the table, or will as soon as the directory has memory.
    Linked,
    /// The entry does not point to the table: all of its pages map nothing, whatever its own
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
/// - An entry of a directory that has a place, or of a linked table that is not a page table, is
///   valid if and only if the table that it is for is in `tables`, and linked.
/// - A table that is linked has a place. The table above it is the directory, or linked.
/// - `evicted` is the number of tables without a place.
pub(super) struct Tables<T> {
    format: &'static Format,
    /// The page directory's offset in VRAM, if it has memory.
    directory: Option<u64>,
    tables: RBTree<TableKey, Table<T>>,
    evicted: usize,
}

impl<T> Tables<T> {
    /// Creates an empty address space, whose directory has no memory yet.
    pub(super) fn new(format: &'static Format) -> Self {
        Self {
            format,
            directory: None,
            tables: RBTree::new(),
            evicted: 0,
        }
    }

    /// Returns the shape of the tables.
    pub(super) fn format(&self) -> &'static Format {
        self.format
    }

    /// Returns true if the directory and all tables have memory.
    pub(super) fn is_complete(&self) -> bool {
        self.directory.is_some() && self.evicted == 0
    }

    /// Returns true if the directory has memory.
    pub(super) fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Writes the directory entries of the tables from `from` to before `to` to the directory at
    /// VRAM offset `directory`, which must be zeroed: at most `most` of them. Returns where to go
    /// on, if there may be more. Prepares for [`Tables::place_directory`].
    pub(super) fn fill_directory(
        &self,
        memory: &impl Memory,
        directory: u64,
        from: TableKey,
        most: usize,
    ) -> Option<TableKey> {
        let mut next = from;
        for _ in 0..most {
            let cursor = self.tables.cursor_lower_bound(&next)?;
            let (&key, table) = cursor.current();
            // Those of lower levels come after all whose entries the directory has.
            let (None, index) = self.format.parent(key) else {
                return None;
            };
            if let (Link::Linked, Some(place)) = (table.link, table.place) {
                let entry = self.format.table(place.mc_addr);
                write_pde(memory, directory, index, entry);
            }
            next = key.next();
        }
        Some(next)
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
    pub(super) fn get(&self, key: TableKey) -> Option<(&T, bool)> {
        let table = self.tables.get(&key)?;
        Some((&table.owner, table.place.is_some()))
    }

    /// Returns the first table from `key` on.
    pub(super) fn next(&self, key: TableKey) -> Option<(TableKey, &T)> {
        let cursor = self.tables.cursor_lower_bound(&key)?;
        let (&key, _) = cursor.current();
        Some((key, &self.tables.get(&key)?.owner))
    }

    /// Returns the first table from `key` on that has no memory.
    pub(super) fn next_evicted(&self, key: TableKey) -> Option<TableKey> {
        if self.evicted == 0 {
            return None;
        }
        let mut next = key;
        loop {
            let cursor = self.tables.cursor_lower_bound(&next)?;
            let (&key, table) = cursor.current();
            if table.place.is_none() {
                return Some(key);
            }
            next = key.next();
        }
    }

    /// Adds a table. There must be none with that key.
    pub(super) fn add(
        &mut self,
        key: TableKey,
        table: Table<T>,
        node: RBTreeNodeReservation<TableKey, Table<T>>,
    ) {
        // INVARIANT: The table is not linked, and no entry points to it.
        self.tables.insert(node.into_node(key, table));
    }

    /// Gives a table memory again, with arbitrary contents. The table maps nothing.
    pub(super) fn place(&mut self, key: TableKey, place: Place) {
        if let Some(table) = self.tables.get_mut(&key) {
            if table.place.replace(place).is_none() {
                // INVARIANT: The table is not linked, and has a place now.
                self.evicted -= 1;
            }
        }
    }

    /// Called when a table loses its memory: nothing is mapped in its range any more. No job may
    /// run.
    pub(super) fn evict(&mut self, memory: &impl Memory, key: TableKey) {
        self.unlink(memory, key);
        if !self.format.is_page_table(key) {
            self.unlink_below(key);
        }
        if let Some(table) = self.tables.get_mut(&key) {
            if table.place.take().is_some() {
                // INVARIANT: The table is not linked, and has no place now.
                self.evicted += 1;
            }
        }
    }

    /// Called when the directory and all tables, of whatever level, have lost their contents: they
    /// have no memory until they are placed again. No job and no update may run.
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

    /// Notes that the tables in the range of an unlinked one, whose entries are lost, are not
    /// linked.
    fn unlink_below(&mut self, key: TableKey) {
        for range in self.format.below(key) {
            let mut next = range.start;
            while let Some(cursor) = self.tables.cursor_lower_bound(&next) {
                let (&below, _) = cursor.current();
                if below >= range.end {
                    break;
                }
                if let Some(table) = self.tables.get_mut(&below) {
                    // INVARIANT: No entry means anything that points to the table.
                    table.link = Link::Unlinked;
                }
                next = below.next();
            }
        }
    }

    /// Removes a table that has no memory. The caller drops it after releasing the lock.
    pub(super) fn remove_evicted(
        &mut self,
        key: TableKey,
    ) -> Option<RBTreeNode<TableKey, Table<T>>> {
        if self.get(key)?.1 {
            return None;
        }
        // INVARIANT: The table had no place, so it was not linked.
        self.evicted -= 1;
        self.tables.remove_node(&key)
    }

    /// Writes the entries of `pages`, one after the other. Pages beyond the last entry map nothing.
    pub(super) fn write(
        &mut self,
        memory: &impl Memory,
        pages: Range<u64>,
        entries: &mut impl EntrySource,
    ) -> Written {
        self.clear_around(memory, pages.clone());
        let mut written = Written::All;
        for chunk in layout::chunks(self.format, pages.clone()) {
            match self.entries_at(&chunk) {
                Some(offset) => entries.write(memory, offset, chunk.count),
                None => {
                    entries.skip(chunk.count);
                    written = Written::WithHoles;
                }
            }
        }
        self.link(memory, pages);
        written
    }

    /// Makes `pages` map nothing.
    pub(super) fn clear(&mut self, memory: &impl Memory, pages: Range<u64>) {
        let whole = 1 << self.format.table_shift();
        let mut unlinked = Above::NOTHING;
        for chunk in layout::chunks(self.format, pages) {
            if chunk.count == whole {
                if self.note_unlinked(chunk.table) {
                    let (parent, index) = self.format.parent(chunk.table);
                    if !unlinked.add(parent, index) {
                        self.clear_above(memory, &unlinked);
                        unlinked = Above::one(parent, index);
                    }
                }
                continue;
            }
            let table = self.tables.get(&chunk.table);
            if let Some(table) = table.filter(|table| table.link == Link::Linked) {
                clear_entries(memory, table, chunk.entries());
            }
        }
        self.clear_above(memory, &unlinked);
    }

    /// Makes everything in the range of a table map nothing.
    fn unlink(&mut self, memory: &impl Memory, key: TableKey) {
        if self.note_unlinked(key) {
            let (parent, index) = self.format.parent(key);
            self.clear_above(memory, &Above::one(parent, index));
        }
    }

    /// Notes that a table is not linked. Returns true if it was: then its entry in the table above
    /// has to be cleared.
    fn note_unlinked(&mut self, key: TableKey) -> bool {
        let table = self.tables.get_mut(&key);
        let Some(table) = table.filter(|table| table.link == Link::Linked) else {
            return false;
        };
        // INVARIANT: The caller clears the entry, if the table above has memory.
        table.link = Link::Unlinked;
        true
    }

    /// Clears entries of a table that is not a page table, if it has memory.
    fn clear_above(&self, memory: &impl Memory, entries: &Above) {
        if entries.count != 0 {
            if let Some(table) = self.offset_of(entries.table) {
                memory.clear(table + entries.first * ENTRY_SIZE, entries.count);
            }
        }
    }

    /// Returns the offset of the directory, or of another table, if it has memory.
    fn offset_of(&self, key: Option<TableKey>) -> Option<u64> {
        match key {
            None => self.directory,
            Some(key) => Some(self.tables.get(&key)?.place?.offset),
        }
    }

    /// Returns a page table, if it and all between it and the directory have memory.
    fn page_table(&self, key: TableKey) -> Option<&Table<T>> {
        let mut above = self.format.parent(key).0;
        while let Some(parent) = above {
            self.tables.get(&parent)?.place?;
            above = self.format.parent(parent).0;
        }
        self.tables.get(&key).filter(|table| table.place.is_some())
    }

    /// Clears the entries outside of `pages` in those of its tables that are not linked.
    fn clear_around(&self, memory: &impl Memory, pages: Range<u64>) {
        let size = 1 << self.format.table_shift();
        for chunk in layout::chunks(self.format, pages) {
            // Those of whole tables are none.
            if chunk.count == size {
                continue;
            }
            let table = self.page_table(chunk.table);
            if let Some(table) = table.filter(|table| table.link == Link::Unlinked) {
                let Range { start, end } = chunk.entries();
                clear_entries(memory, table, 0..start);
                clear_entries(memory, table, end..size);
            }
        }
    }

    /// Links the tables of `pages`.
    fn link(&mut self, memory: &impl Memory, pages: Range<u64>) {
        let mut flushed = false;

        for chunk in layout::chunks(self.format, pages) {
            let table = self.page_table(chunk.table);
            if table.is_some_and(|table| table.link == Link::Unlinked) {
                if !flushed && self.directory.is_some() {
                    memory.flush();
                    flushed = true;
                }
                self.link_table(memory, chunk.table);
            }
        }
    }

    /// Links a table whose contents the GPU sees, and those above it that are not linked.
    fn link_table(&mut self, memory: &impl Memory, key: TableKey) {
        let mut key = key;
        loop {
            let Some(table) = self.tables.get_mut(&key) else {
                return;
            };
            let (Link::Unlinked, Some(place)) = (table.link, table.place) else {
                return;
            };
            // INVARIANT: The table has a place, and the table above points to it, or will. If that
            // is not linked, it is next.
            table.link = Link::Linked;
            let entry = self.format.table(place.mc_addr);
            let (parent, index) = self.format.parent(key);
            let Some(parent) = parent else {
                if let Some(directory) = self.directory {
                    write_pde(memory, directory, index, entry);
                }
                return;
            };
            let Some(above) = self.tables.get(&parent) else {
                return;
            };
            let Some(at) = above.place else { return };
            if above.link == Link::Linked {
                return write_pde(memory, at.offset, index, entry);
            }
            // The table above held arbitrary entries: it names this one alone.
            memory.clear(at.offset, self.format.entries_of(parent));
            write_pde(memory, at.offset, index, entry);
            memory.flush();
            key = parent;
        }
    }

    /// Stops entries next to `border` from describing pages on its other side.
    ///
    /// To be called before the mapping on one side of `border` is changed, if the same mapping is
    /// on the other side.
    pub(super) fn split_fragments(&self, memory: &impl Memory, border: u64) {
        // They are in one table.
        let neighbors = layout::fragment_neighbors(self.format, border);
        for chunk in layout::chunks(self.format, neighbors) {
            if let Some(offset) = self.entries_at(&chunk) {
                memory.strip_fragments(offset, chunk.count);
            }
        }
    }

    /// Returns the VRAM offset of the entries of a chunk, if its table has memory.
    fn entries_at(&self, chunk: &Chunk) -> Option<u64> {
        let place = self.page_table(chunk.table)?.place?;
        Some(place.offset + chunk.first * ENTRY_SIZE)
    }
}

/// Consecutive entries of the directory, or of another table that is not a page table.
struct Above {
    table: Option<TableKey>,
    first: u64,
    count: u64,
}

impl Above {
    const NOTHING: Self = Self {
        table: None,
        first: 0,
        count: 0,
    };

    fn one(table: Option<TableKey>, index: u64) -> Self {
        Self {
            table,
            first: index,
            count: 1,
        }
    }

    /// Adds an entry that follows, if it does.
    fn add(&mut self, table: Option<TableKey>, index: u64) -> bool {
        let follows = self.table == table && self.first + self.count == index;
        self.count += u64::from(follows);
        follows
    }
}

/// Writes an entry of the directory, or of another table that is not a page table.
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
