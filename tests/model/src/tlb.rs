// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Translation look-aside buffers. An entry stays, and is used, until its VMID is invalidated:
//! by VM_INVALIDATE_REQUEST, or for all by VM_L2_CNTL2.
//!
//! As on hardware up to GFX8, what is cached is an aligned block of eight page-table entries when
//! any of them is valid, the invalid ones included. An entry with a fragment serves every page of
//! its fragment, before any other: the one that was touched first. Page-directory entries are
//! cached too.
//!
//! An entry that was cached before the host unmapped the page that it leads to is *lost*: the bus
//! address may be mapped again, for somebody else, and the table may even hold the same entry
//! again.

use std::{
    collections::HashMap,
    ops::Range, //
};

use crate::mc::{
    PAGE,
    pte, //
};

/// Pages in a cached block.
pub const BLOCK: u64 = 8;

/// The fragment exponent of a page-table entry.
pub fn fragment(entry: u64) -> u32 {
    (entry >> 7 & 0x1f) as u32
}

/// Ways in which an entry serves the other pages of its fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serve {
    /// The address moves with the page. The C driver relies on it: it does not align targets.
    #[default]
    Offset,
    /// The low bits of the address are those of the page.
    LowBits,
}

impl Serve {
    /// Returns what the entry of page `from` says of page `to` of its fragment.
    pub fn entry(self, entry: u64, from: u64, to: u64) -> u64 {
        let inside = (1 << fragment(entry)) - 1;
        match self {
            Serve::LowBits if inside != 0 => {
                entry & !(inside << 12 & pte::ADDRESS) | (to & inside) << 12
            }
            _ => entry.wrapping_add(to.wrapping_sub(from) << 12),
        }
    }
}

/// A bus address range longer than this is not noted page by page.
const LONG: u64 = 1 << 30;

/// The translation caches of all VMIDs. Keys are page numbers.
#[derive(Default)]
pub struct Tlb {
    /// Way in which fragments are served.
    pub serve: Serve,
    blocks: HashMap<(u8, u64), Cached<[u64; BLOCK as usize]>>,
    /// The page that the entry was cached for, and the entry.
    fragments: HashMap<(u8, u32, u64), Cached<(u64, u64)>>,
    /// Fragment sizes present, a bit each, by VMID.
    sizes: [u32; 16],
    directory: HashMap<(u8, u64), u64>,
    unmapped: Unmapped,
}

/// Something in the cache, and how many unmaps came before it.
struct Cached<T> {
    what: T,
    at: u64,
}

/// Result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The page-table entry.
    pub entry: u64,
    /// Set if the host has unmapped the page since the entry was cached.
    pub lost: bool,
}

/// Bus pages that the host has unmapped, with their times: after how many unmaps.
#[derive(Default)]
struct Unmapped {
    count: u64,
    pages: HashMap<u64, u64>,
    long: Vec<(Range<u64>, u64)>,
}

impl Unmapped {
    fn note(&mut self, bus: Range<u64>) {
        self.count += 1;
        if bus.end - bus.start > LONG {
            self.long.push((bus, self.count));
            return;
        }
        for page in bus.start / PAGE..bus.end.div_ceil(PAGE) {
            self.pages.insert(page, self.count);
        }
    }

    /// Returns true if the page of a valid entry was unmapped after the entry was cached.
    fn after(&self, at: u64, entry: u64) -> bool {
        if self.count <= at || entry & (pte::VALID | pte::SYSTEM) != pte::VALID | pte::SYSTEM {
            return false;
        }
        let bus = entry & pte::ADDRESS;
        let long = self.long.iter().any(|(range, when)| *when > at && range.contains(&bus));
        long || self.pages.get(&(bus / PAGE)).is_some_and(|when| *when > at)
    }
}

/// Returns true if a page-table entry leads to a page of these bus addresses.
pub fn leads_to(entry: u64, bus: &Range<u64>) -> bool {
    let at = entry & pte::ADDRESS;
    entry & (pte::VALID | pte::SYSTEM) == pte::VALID | pte::SYSTEM
        && at < bus.end
        && bus.start < at + PAGE
}

impl Tlb {
    /// An empty one.
    pub fn new(serve: Serve) -> Self {
        Tlb { serve, ..Tlb::default() }
    }

    /// The cached entry of a page, if there is one.
    pub fn lookup(&self, vmid: u8, page: u64) -> Option<Hit> {
        let hit = |entry, at| Hit { entry, lost: self.unmapped.after(at, entry) };
        let mut sizes = self.sizes[usize::from(vmid)];
        while sizes != 0 {
            let order = sizes.trailing_zeros();
            sizes &= sizes - 1;
            if let Some(f) = self.fragments.get(&(vmid, order, page >> order)) {
                let (first, pte) = f.what;
                return Some(hit(self.serve.entry(pte, first, page), f.at));
            }
        }
        let b = self.blocks.get(&(vmid, page / BLOCK))?;
        Some(hit(b.what[(page % BLOCK) as usize], b.at))
    }

    /// A page of `vmid` whose cached entry leads to one of these bus addresses, and the entry.
    pub fn find(&self, vmid: u8, bus: &Range<u64>) -> Option<(u64, u64)> {
        let blocks = self.blocks.iter().filter(|((v, _), _)| *v == vmid);
        let pages = blocks.flat_map(|((_, block), b)| (block * BLOCK..).zip(b.what));
        let fragments = self.fragments.iter().filter(|((v, ..), _)| *v == vmid);
        let reached = fragments.filter_map(|((_, order, number), f)| {
            // Of the pages of the fragment, the first that lies in the range, if any does.
            let ((first, pte), start) = (f.what, number << order);
            let base = self.serve.entry(pte, first, start) & pte::ADDRESS;
            let page = start + (bus.start.saturating_sub(base) >> 12);
            (page >> order == *number).then(|| (page, self.serve.entry(pte, first, page)))
        });
        pages.chain(reached).find(|(_, entry)| leads_to(*entry, bus))
    }

    /// The host has unmapped these bus addresses: what is cached of them is lost.
    pub fn unmapped(&mut self, bus: Range<u64>) {
        self.unmapped.note(bus);
    }

    /// Caches the block around `page` if any entry in it is valid, and the fragment of `page`.
    pub fn fill(&mut self, vmid: u8, page: u64, block: [u64; BLOCK as usize]) {
        if block.iter().all(|p| p & 1 == 0) {
            return;
        }
        let pte = block[(page % BLOCK) as usize];
        let at = self.unmapped.count;
        self.blocks.insert((vmid, page / BLOCK), Cached { what: block, at });
        let order = fragment(pte);
        if pte & 1 != 0 && order != 0 {
            self.fragments.insert((vmid, order, page >> order), Cached { what: (page, pte), at });
            self.sizes[usize::from(vmid)] |= 1 << order;
        }
    }

    /// The cached directory entry.
    pub fn directory(&self, vmid: u8, index: u64) -> Option<u64> {
        self.directory.get(&(vmid, index)).copied()
    }

    /// Caches a directory entry.
    pub fn fill_directory(&mut self, vmid: u8, index: u64, pde: u64) {
        self.directory.insert((vmid, index), pde);
    }

    /// Drops everything of the VMIDs in the mask.
    pub fn invalidate(&mut self, vmids: u32) {
        let gone = |v: u8| vmids & 1 << v != 0;
        self.blocks.retain(|(v, _), _| !gone(*v));
        self.fragments.retain(|(v, _, _), _| !gone(*v));
        self.directory.retain(|(v, _), _| !gone(*v));
        for v in 0..16u8 {
            if gone(v) {
                self.sizes[usize::from(v)] = 0;
            }
        }
        if self.blocks.is_empty() {
            // Nothing is cached that could be lost. (Where there is a fragment, there is its
            // block.)
            self.unmapped.pages.clear();
            self.unmapped.long.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(t: &Tlb, vmid: u8, page: u64) -> Option<u64> {
        t.lookup(vmid, page).map(|hit| hit.entry)
    }

    #[test]
    fn a_block_with_one_valid_entry_caches_the_invalid_ones() {
        let mut t = Tlb::default();
        let mut b = [0; 8];
        b[3] = 0x5061;
        t.fill(2, 0x103, b);
        assert_eq!(entry(&t, 2, 0x103), Some(0x5061));
        assert_eq!(entry(&t, 2, 0x104), Some(0));
        assert_eq!(entry(&t, 2, 0x108), None);
        assert_eq!(entry(&t, 3, 0x103), None);
    }

    #[test]
    fn an_all_invalid_block_is_not_cached() {
        let mut t = Tlb::default();
        t.fill(1, 0, [0x1000; 8]);
        assert_eq!(entry(&t, 1, 0), None);
    }

    #[test]
    fn a_fragment_serves_its_pages_until_invalidated() {
        let mut t = Tlb::default();
        let block = std::array::from_fn(|i| 0x20_0061 + ((i as u64) << 12) | 9 << 7);
        t.fill(1, 0x200, block);
        assert_eq!(entry(&t, 1, 0x3ff), Some(block[0] + (0x1ff << 12)));
        assert_eq!(entry(&t, 1, 0x400), None);
        t.invalidate(1 << 1);
        assert_eq!(entry(&t, 1, 0x3ff), None);
        assert_eq!(entry(&t, 1, 0x200), None);
    }

    #[test]
    fn what_was_cached_before_an_unmap_is_lost() {
        let mut t = Tlb::default();
        let block = |bus: u64| std::array::from_fn(|i| (bus + ((i as u64) << 12)) | 0x67);
        t.fill(1, 0x10, block(0x8000_0000));
        t.unmapped(0x8000_1000..0x8000_2000);
        let lost = |t: &Tlb, page| t.lookup(1, page).unwrap().lost;
        assert_eq!([lost(&t, 0x10), lost(&t, 0x11), lost(&t, 0x12)], [false, true, false]);
        t.unmapped(0..1 << 38);
        assert!(lost(&t, 0x12));
        // Cached again, or of VRAM: not lost.
        t.fill(1, 0x10, block(0x8000_0000));
        assert!(!lost(&t, 0x11));
        t.fill(1, 0x20, [0x8000_1061; 8]);
        t.unmapped(0x8000_1000..0x8000_2000);
        assert!(!lost(&t, 0x20));
    }

    #[test]
    fn who_leads_to_a_bus_address_is_found() {
        let mut t = Tlb::default();
        t.fill(1, 0x10, std::array::from_fn(|i| (0x8000_0000 + ((i as u64) << 12)) | 0x67));
        assert_eq!(t.find(1, &(0x8000_2000..0x8000_3000)), Some((0x12, 0x8000_2067)));
        assert_eq!(t.find(2, &(0x8000_2000..0x8000_3000)), None);
        assert_eq!(t.find(1, &(0x8000_8000..0x8000_9000)), None);
        // A fragment of 64 pages, cached by way of its tenth.
        let block = std::array::from_fn(|i| (0x9000_8000 + ((i as u64) << 12)) | 0x67 | 6 << 7);
        t.fill(3, 0x10a, block);
        assert_eq!(t.find(3, &(0x9003_f000..0x9010_0000)).map(|(page, _)| page), Some(0x13f));
        assert_eq!(t.find(3, &(0x9004_0000..0x9010_0000)), None);
        assert_eq!(t.find(3, &(0x8000_0000..0x9000_1000)).map(|(page, _)| page), Some(0x100));
    }
}
