// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Translation look-aside buffers. An entry stays, and is used, until its VMID is invalidated:
//! by VM_INVALIDATE_REQUEST, or for all by VM_L2_CNTL2.
//!
//! As on hardware up to GFX8, what is cached is an aligned block of eight page-table entries when
//! any of them is valid, the invalid ones included. An entry with a fragment larger than a block
//! also serves every page of its fragment. Page-directory entries are cached too.

use std::collections::HashMap;

/// Pages in a cached block.
pub const BLOCK: u64 = 8;
/// Largest fragment exponent.
const MAX_FRAGMENT: u32 = 31;

/// The translation caches of all VMIDs. Keys are page numbers.
#[derive(Default)]
pub struct Tlb {
    blocks: HashMap<(u8, u64), [u64; BLOCK as usize]>,
    fragments: HashMap<(u8, u32, u64), (u64, u64)>,
    /// Fragment sizes present, a bit each, by VMID.
    sizes: [u32; 16],
    directory: HashMap<(u8, u64), u64>,
}

impl Tlb {
    /// The cached entry of a page, if there is one.
    pub fn lookup(&self, vmid: u8, page: u64) -> Option<u64> {
        if let Some(b) = self.blocks.get(&(vmid, page / BLOCK)) {
            return Some(b[(page % BLOCK) as usize]);
        }
        let mut sizes = self.sizes[usize::from(vmid)];
        while sizes != 0 {
            let order = sizes.trailing_zeros();
            sizes &= sizes - 1;
            if let Some((first, pte)) = self.fragments.get(&(vmid, order, page >> order)) {
                // Pages of a fragment are contiguous: the address moves with the page.
                let delta = page.wrapping_sub(*first) << 12;
                return Some(pte.wrapping_add(delta));
            }
        }
        None
    }

    /// Caches the block around `page` if any entry in it is valid, and the fragment of `page`.
    pub fn fill(&mut self, vmid: u8, page: u64, block: [u64; BLOCK as usize], fragment: u32) {
        if block.iter().all(|p| p & 1 == 0) {
            return;
        }
        let pte = block[(page % BLOCK) as usize];
        self.blocks.insert((vmid, page / BLOCK), block);
        if pte & 1 != 0 && (4..=MAX_FRAGMENT).contains(&fragment) {
            self.fragments.insert((vmid, fragment, page >> fragment), (page, pte));
            self.sizes[usize::from(vmid)] |= 1 << fragment;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_one_valid_entry_caches_the_invalid_ones() {
        let mut t = Tlb::default();
        let mut b = [0; 8];
        b[3] = 0x5061;
        t.fill(2, 0x103, b, 0);
        assert_eq!(t.lookup(2, 0x103), Some(0x5061));
        assert_eq!(t.lookup(2, 0x104), Some(0));
        assert_eq!(t.lookup(2, 0x108), None);
        assert_eq!(t.lookup(3, 0x103), None);
    }

    #[test]
    fn an_all_invalid_block_is_not_cached() {
        let mut t = Tlb::default();
        t.fill(1, 0, [0x1000; 8], 0);
        assert_eq!(t.lookup(1, 0), None);
    }

    #[test]
    fn a_fragment_serves_its_pages_until_invalidated() {
        let mut t = Tlb::default();
        let block = std::array::from_fn(|i| 0x10_0061 + ((i as u64) << 12) | 9 << 7);
        t.fill(1, 0x200, block, 9);
        assert_eq!(t.lookup(1, 0x3ff), Some(block[0] + (0x1ff << 12)));
        assert_eq!(t.lookup(1, 0x400), None);
        t.invalidate(1 << 1);
        assert_eq!(t.lookup(1, 0x3ff), None);
        assert_eq!(t.lookup(1, 0x200), None);
    }
}
