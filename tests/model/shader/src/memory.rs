// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Memory as the shader core sees it: pages that an address space maps, and bytes.

use std::{
    collections::HashMap,
    hash::{
        BuildHasherDefault,
        Hasher, //
    }, //
};

use crate::stop::Stop;

/// Page size in bytes.
pub const PAGE: u64 = 4096;

/// Which way bytes come. Caches tell the ways apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Instruction fetch.
    Instruction,
    /// Scalar loads.
    Scalar,
    /// Vector accesses of a compute unit.
    Vector(u8),
    /// Vector accesses that leave the unit's cache aside (GLC).
    Coherent(u8),
    /// The fixed functions of draws, which go past the caches of programs.
    Target,
}

/// What an access wants to do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// A position in memory: one for each byte that there is, in whatever address space it was found.
/// Pages stay whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u64);

impl Place {
    /// From here on places have no memory behind them, and caches keep nothing of them.
    pub const NOWHERE: u64 = 1 << 63;
}

/// Bytes behind an address space.
pub trait Memory {
    /// Where the page of `va` is. Called once a page and slice; a fault is taken here.
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop>;

    /// Reads bytes of one page.
    fn read(&mut self, path: Path, at: Place, to: &mut [u8]);

    /// Writes bytes of one page.
    fn write(&mut self, path: Path, at: Place, from: &[u8]);

    /// Replaces 4 or 8 bytes, aligned, by what `f` makes of them. Returns what was there.
    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64;

    /// Drops a compute unit's vector cache (BUFFER_WBINVL1).
    fn drop_vector(&mut self, _unit: u8) {}

    /// Drops the scalar cache (S_DCACHE_INV).
    fn drop_scalar(&mut self) {}

    /// A clock.
    fn clock(&mut self) -> u64;
}

/// Hashes page numbers, the same in every run.
#[derive(Default)]
pub struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64((*b).into()));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// Something of pages, by their numbers.
pub(crate) type PageMap<T> = HashMap<u64, T, BuildHasherDefault<PageHasher>>;

/// Memory for tests and for programs without a GPU: pages by number, all of them readable and
/// writable. What is not mapped is a fault.
#[derive(Default)]
pub struct Flat {
    /// Where each page is in `pages`.
    index: PageMap<usize>,
    pages: Vec<Box<[u8; PAGE as usize]>>,
    /// The page that was used last, by its number plus one, and where it is.
    last: (u64, usize),
    ticks: u64,
}

impl Flat {
    /// Maps the pages of a range, as zeros.
    pub fn map(&mut self, va: u64, len: u64) {
        for page in va / PAGE..(va + len).div_ceil(PAGE) {
            let next = self.pages.len();
            if *self.index.entry(page).or_insert(next) == next {
                self.pages.push(Box::new([0; PAGE as usize]));
            }
        }
    }

    /// Maps a range and fills it.
    pub fn put(&mut self, va: u64, bytes: &[u8]) {
        self.map(va, bytes.len() as u64);
        for (at, byte) in (va..).zip(bytes) {
            if let Some(page) = self.index.get(&(at / PAGE)) {
                self.pages[*page][(at % PAGE) as usize] = *byte;
            }
        }
    }

    /// Maps a range and fills it with dwords.
    pub fn put_words(&mut self, va: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.put(va, &bytes);
    }

    /// Dwords of a mapped range; what is not mapped reads as zeros.
    pub fn words(&self, va: u64, count: usize) -> Vec<u32> {
        let page = |at: u64| self.index.get(&(at / PAGE)).map(|n| &self.pages[*n]);
        let byte = |at: u64| page(at).map_or(0, |p| p[(at % PAGE) as usize]);
        (0..count as u64)
            .map(|n| u32::from_le_bytes(std::array::from_fn(|b| byte(va + 4 * n + b as u64))))
            .collect()
    }

    fn bytes(&mut self, at: Place, len: usize) -> &mut [u8] {
        let (page, start) = (at.0 / PAGE, (at.0 % PAGE) as usize);
        if self.last.0 != page + 1 {
            let Some(n) = self.index.get(&page) else { return &mut [] };
            self.last = (page + 1, *n);
        }
        &mut self.pages[self.last.1][start..start + len]
    }
}

impl Memory for Flat {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        match self.index.contains_key(&(va / PAGE)) {
            true => Ok(Place(va & !(PAGE - 1))),
            false => Err(Stop::memory(format!("{access:?} at {va:#x}: not mapped"))),
        }
    }

    fn read(&mut self, _path: Path, at: Place, to: &mut [u8]) {
        let from = self.bytes(at, to.len());
        to[..from.len()].copy_from_slice(from);
    }

    fn write(&mut self, _path: Path, at: Place, from: &[u8]) {
        let to = self.bytes(at, from.len());
        let len = to.len();
        to.copy_from_slice(&from[..len]);
    }

    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        let memory = self.bytes(at, bytes);
        let old = memory.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
        let new = f(old).to_le_bytes();
        let len = memory.len();
        memory.copy_from_slice(&new[..len]);
        old
    }

    fn clock(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}
