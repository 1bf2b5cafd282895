// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Page tables: their shape and their entries (the C driver's PDE and PTE).
//!
//! A process's address space has two levels of tables or more. The *page directory* is the root.
//! Each of its entries, a [`Pde`], names a table of the next level. The tables of the last level
//! are the *page tables*. Their entries are [`Pte`]s, one for each 4 KiB page. The number of
//! levels, and of entries in a table, is in the generation's [`Format`]: data, over which the code
//! that walks and writes tables is written once. The kernel's own context 0 has one flat table of
//! [`Pte`]s (see `gart.rs`).
//!
//! A PTE names either VRAM, by the offset from VRAM's start, or system memory, by bus address; a
//! PDE names its table by address in the GPU's own (MC) address space. Addresses stand at their own
//! place in an entry, and the low 12 bits are flags, the same in each generation so far. A fragment
//! says that `2^n` pages are contiguous and equally aligned in both address spaces, so that one
//! translation cache entry may stand for all of them.
//!
//! Entries above the last level that map pages (the C driver's PDE as PTE) have no user yet.

use core::ops::Range;

use kernel::{
    dma::DmaAddress,
    fmt,
    prelude::*,
    sizes::SZ_4K, //
};

/// log2 of the size of a page.
pub(crate) const PAGE_SHIFT: u32 = 12;
/// Size of a page in bytes.
pub(crate) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Size of an entry of any kind in bytes.
pub(crate) const ENTRY_SIZE: usize = size_of::<u64>();

const _: () = assert!(PAGE_SIZE == SZ_4K as u64);

/// A level of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableLevel {
    /// log2 of the number of pages that an entry stands for: 0 at the last level.
    pub(crate) shift: u32,
    /// log2 of the number of entries of a table.
    pub(crate) bits: u32,
}

/// The page tables of a generation.
#[derive(Debug)]
pub(crate) struct Format {
    /// The directory first.
    levels: &'static [TableLevel],
    /// Number of bits of an address in an entry, including those of system memory.
    address_bits: u32,
    /// log2 of the number of pages of the largest fragment that the caches are set up for.
    fragment: u32,
    /// Bits that each entry has that maps a page, besides those that all generations have.
    mapped: u64,
    /// log2 of the number of entries of a page table: `bits` of the last level.
    table_shift: u32,
    /// Bits of an entry that hold an address.
    address_mask: u64,
}

impl Format {
    /// Largest number of levels.
    pub(crate) const MAX_LEVELS: usize = 4;

    /// Creates a format of these levels, the directory first.
    pub(crate) const fn new(
        levels: &'static [TableLevel],
        address_bits: u32,
        fragment: u32,
        mapped: u64,
    ) -> Self {
        assert!(2 <= levels.len() && levels.len() <= Self::MAX_LEVELS);
        let last = levels[levels.len() - 1];
        let mut level = 1;
        while level < levels.len() {
            let below = levels[level];
            assert!(levels[level - 1].shift == below.shift + below.bits);
            level += 1;
        }
        // A fragment is in one table.
        assert!(last.shift == 0 && fragment <= last.bits);
        let address_mask = (1 << address_bits) - PAGE_SIZE;
        assert!(mapped & address_mask == 0);
        Self {
            levels,
            address_bits,
            fragment,
            mapped,
            table_shift: last.bits,
            address_mask,
        }
    }

    /// Returns the number of bits of an address in an entry.
    pub(crate) const fn address_bits(&self) -> u32 {
        self.address_bits
    }

    /// Returns the number of levels.
    pub(crate) const fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Returns the number of pages of an address space.
    pub(crate) const fn pages(&self) -> u64 {
        let root = self.levels[0];
        1 << (root.shift + root.bits)
    }

    /// Returns log2 of the number of entries of a page table.
    pub(crate) const fn table_shift(&self) -> u32 {
        self.table_shift
    }

    /// Returns the number of entries of the page directory.
    pub(crate) const fn directory_entries(&self) -> u64 {
        1 << self.levels[0].bits
    }

    /// Returns the number of entries of a table.
    pub(crate) fn entries_of(&self, table: TableKey) -> u64 {
        1 << self.levels[table.level()].bits
    }

    /// Returns true if the entries of the table are those of pages.
    pub(crate) fn is_page_table(&self, table: TableKey) -> bool {
        table.level() + 1 == self.levels.len()
    }

    /// Returns the page table that has the entry of `page`.
    pub(crate) fn page_table(&self, page: u64) -> TableKey {
        TableKey::new(self.levels.len() - 1, page >> self.table_shift)
    }

    /// Returns the pages in the range of a table.
    pub(crate) fn pages_of(&self, table: TableKey) -> Range<u64> {
        let shift = self.levels[table.level() - 1].shift;
        table.index() << shift..(table.index() + 1) << shift
    }

    /// Returns the tables of all levels in whose range there is one of `pages`, each after the
    /// table whose entry names it. The directory is none of them.
    pub(crate) fn tables_of(&self, pages: Range<u64>) -> impl Iterator<Item = TableKey> + '_ {
        let above = self.levels.iter().take(self.levels.len() - 1);
        (1..).zip(above).flat_map(move |(level, above)| {
            let last = pages.end.saturating_sub(1);
            let end = if pages.is_empty() {
                pages.start >> above.shift
            } else {
                (last >> above.shift) + 1
            };
            (pages.start >> above.shift..end).map(move |index| TableKey::new(level, index))
        })
    }

    /// Returns the tables in the range of another, for each level below it.
    pub(crate) fn below(&self, table: TableKey) -> impl Iterator<Item = Range<TableKey>> + '_ {
        let pages = self.pages_of(table);
        let level = table.level();
        let above = self.levels[..self.levels.len() - 1].iter();
        (1..).zip(above).skip(level).map(move |(level, above)| {
            let key = |page: u64| TableKey::new(level, page >> above.shift);
            key(pages.start)..key(pages.end)
        })
    }

    /// Returns the place of the entry that names a table: the table that has it, or `None` for the
    /// directory, and its number there.
    pub(crate) fn parent(&self, table: TableKey) -> (Option<TableKey>, u64) {
        let level = table.level() - 1;
        if level == 0 {
            return (None, table.index());
        }
        let bits = self.levels[level].bits;
        let parent = TableKey::new(level, table.index() >> bits);
        (Some(parent), table.index() & ((1 << bits) - 1))
    }

    /// Returns the size of the largest fragment in bytes.
    pub(crate) const fn fragment_bytes(&self) -> u64 {
        PAGE_SIZE << self.fragment
    }

    /// Returns the number of pages of the largest fragment.
    pub(crate) const fn fragment_pages(&self) -> u64 {
        1 << self.fragment
    }

    /// Returns the largest fragment that fits at page number `va_page` of the address space when
    /// `pages` pages from there are contiguous at page number `target_page` of the memory.
    pub(crate) fn fragment(&self, va_page: u64, target_page: u64, pages: u64) -> Fragment {
        Fragment::largest(va_page, target_page, pages, self.fragment)
    }

    /// Returns the entry for the page of VRAM that is `offset` bytes from VRAM's start.
    pub(crate) fn vram(&self, offset: u64, access: Access, fragment: Fragment) -> Pte {
        debug_assert!(offset & !self.address_mask == 0);
        let address = offset & self.address_mask;
        Pte(address | (fragment.0 << FRAGMENT_SHIFT) | access.bits() | self.mapped | VALID)
    }

    /// Returns the entry for a page of system memory. Adjacent pages in bus address space are no
    /// part of the mapping, so there is no fragment.
    pub(crate) fn system(&self, page: DmaAddress, access: Access, snoop: Snoop) -> Pte {
        debug_assert!(page & !self.address_mask == 0);
        let snooped = match snoop {
            Snoop::Yes => SNOOPED,
            Snoop::No => 0,
        };
        let address = page & self.address_mask;
        Pte(address | access.bits() | snooped | self.mapped | SYSTEM | VALID)
    }

    /// Returns the entry that points to the table at this address of the GPU's address space.
    pub(crate) fn table(&self, mc_addr: u64) -> Pde {
        debug_assert!(mc_addr & !self.address_mask == 0);
        Pde((mc_addr & self.address_mask) | VALID)
    }
}

/// A table below the page directory: its level, and its number among the tables of its level. The
/// order is that of levels, then of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableKey(u64);

impl TableKey {
    /// The key that comes before all others.
    pub(crate) const FIRST: Self = Self::new(1, 0);

    const LEVEL_SHIFT: u32 = 56;

    const fn new(level: usize, index: u64) -> Self {
        Self((level as u64) << Self::LEVEL_SHIFT | index)
    }

    /// Returns the level. That of the directory is 0.
    fn level(self) -> usize {
        // CAST: There are few levels.
        (self.0 >> Self::LEVEL_SHIFT) as usize
    }

    fn index(self) -> u64 {
        self.0 & ((1 << Self::LEVEL_SHIFT) - 1)
    }

    /// Returns the key that comes next.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

const VALID: u64 = 1 << 0;
const SYSTEM: u64 = 1 << 1;
const SNOOPED: u64 = 1 << 2;
const READABLE: u64 = 1 << 5;
const WRITEABLE: u64 = 1 << 6;
const FRAGMENT_SHIFT: u32 = 7;
const FRAGMENT_MASK: u64 = 0x1f;

/// Accesses that the GPU may make to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Access {
    pub(crate) const READ: Self = Self {
        read: true,
        write: false,
    };
    pub(crate) const WRITE: Self = Self {
        read: false,
        write: true,
    };
    pub(crate) const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };

    const fn bits(self) -> u64 {
        (if self.read { READABLE } else { 0 }) | (if self.write { WRITEABLE } else { 0 })
    }
}

/// Snooping of the CPU's caches by the GPU's accesses to system memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snoop {
    /// Cached memory, whose accesses snoop.
    Yes,
    /// Write-combined memory, which no CPU cache holds.
    No,
}

/// log2 of the number of contiguous, equally aligned pages that an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment(u64);

impl Fragment {
    /// One page.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    pub(crate) const NONE: Self = Self(0);

    /// Implements [`Format::fragment`], for fragments of at most `2^most` pages.
    fn largest(va_page: u64, target_page: u64, pages: u64, most: u32) -> Self {
        let aligned = (va_page | target_page).trailing_zeros();
        let fits = pages.checked_ilog2().unwrap_or(0);
        Self(u64::from(aligned.min(fits).min(most)))
    }

    /// Returns the number of pages of the fragment.
    pub(crate) fn pages(self) -> u64 {
        1 << self.0
    }
}

/// A page-table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pte(u64);

impl Pte {
    /// Entry that maps nothing: an access faults.
    pub(crate) const INVALID: Self = Self(0);

    /// Returns the same entry for the page that comes `pages` later.
    pub(crate) const fn after(self, pages: u64) -> Self {
        Self(self.0.wrapping_add(pages << PAGE_SHIFT))
    }

    /// Returns an entry that was read back.
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Returns the same entry without its fragment: it stands for its own page only.
    pub(crate) const fn without_fragment(self) -> Self {
        Self(self.0 & !(FRAGMENT_MASK << FRAGMENT_SHIFT))
    }

    /// Returns the entry as the GPU reads it.
    pub(crate) const fn into_raw(self) -> u64 {
        self.0
    }
}

/// An entry of a table that is not of the last level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pde(u64);

impl Pde {
    /// Entry without a table: an access faults.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    pub(crate) const INVALID: Self = Self(0);

    /// Returns the entry as the GPU reads it.
    pub(crate) const fn into_raw(self) -> u64 {
        self.0
    }
}

/// The entries that the GPU finds on its way to a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    format: &'static Format,
    va: u64,
    /// Address of the page directory in the GPU's address space.
    directory: u64,
    /// The entry of each level, as far as there are tables, and it could be read.
    entries: [Option<u64>; Format::MAX_LEVELS],
}

impl Walk {
    /// Walks to the page of `va`. `read` returns the entry at an address of the GPU's address
    /// space, or `None` if the CPU does not reach it.
    pub(crate) fn new(
        format: &'static Format,
        directory: u64,
        va: u64,
        read: impl Fn(u64) -> Option<u64>,
    ) -> Self {
        let page = va >> PAGE_SHIFT;
        let mut table = (page < format.pages()).then_some(directory);
        let mut entries = [None; Format::MAX_LEVELS];
        for (level, entry) in format.levels.iter().zip(&mut entries) {
            let index = page >> level.shift & ((1 << level.bits) - 1);
            *entry = table.and_then(|table| read(table + index * ENTRY_SIZE as u64));
            let valid = entry.filter(|entry| entry & VALID != 0);
            table = valid.map(|entry| entry & format.address_mask);
        }
        Self {
            format,
            va,
            directory,
            entries,
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Walk {
    /// Returns the page's entry, if there is a table for it.
    pub(crate) fn page(&self) -> Option<u64> {
        self.entries[self.format.levels() - 1]
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { va, directory, .. } = self;
        f.write_fmt(fmt!("{va:#x}: directory {directory:#x}"))?;
        let (tables, pte) = self.entries[..self.format.levels()].split_at(self.format.levels() - 1);
        let mut missing = ", no entry that can be read";
        for pde in tables {
            let Some(pde) = pde else {
                return f.write_str(missing);
            };
            f.write_fmt(fmt!(", PDE {pde:#x}"))?;
            if pde & VALID == 0 {
                return f.write_str(" (no table)");
            }
            missing = ", a table that cannot be read";
        }
        let Some(pte) = pte[0] else {
            return f.write_str(missing);
        };
        f.write_fmt(fmt!(", PTE {pte:#x}"))?;
        if pte & VALID == 0 {
            return f.write_str(" (not mapped)");
        }
        let memory = if pte & SYSTEM == 0 { "VRAM" } else { "system" };
        let flag = |bit, name| if pte & bit == 0 { "-" } else { name };
        f.write_fmt(fmt!(
            " ({memory} {:#x} {}{}{} fragment {})",
            pte & self.format.address_mask,
            flag(READABLE, "r"),
            flag(WRITEABLE, "w"),
            flag(SNOOPED, "s"),
            pte >> FRAGMENT_SHIFT & FRAGMENT_MASK
        ))
    }
}

/// Formats for tests.
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
pub(crate) mod fake {
    use crate::hw::page_table::{
        Format,
        TableLevel, //
    };

    const fn level(shift: u32, bits: u32) -> TableLevel {
        TableLevel { shift, bits }
    }

    /// Two levels, of 2^14 and 2^10 entries.
    pub(crate) static TWO: Format = Format::new(&[level(10, 14), level(0, 10)], 40, 9, 0);

    /// Three levels of four entries: 64 pages.
    pub(crate) static SMALL: Format =
        Format::new(&[level(4, 2), level(2, 2), level(0, 2)], 40, 2, 0);

    /// Four levels of 512 entries, a bit that each page has, and addresses of 48 bits.
    pub(crate) static FOUR: Format = Format::new(
        &[level(27, 9), level(18, 9), level(9, 9), level(0, 9)],
        48,
        9,
        1 << 4,
    );
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_page_table)]
mod tests {
    use super::{
        fake::{
            FOUR,
            SMALL,
            TWO, //
        },
        *, //
    };
    use kernel::str::CString;

    #[test]
    fn vram_entry() {
        // Values as the C driver writes them: valid, readable, writeable, and the fragment.
        let one = TWO.vram(0x1000, Access::READ_WRITE, Fragment::NONE);
        assert_eq!(one.into_raw(), 0x1061);
        let fragment = TWO.fragment(0x200, 0x200, 0x200);
        let big = TWO.vram(0x20_0000, Access::READ_WRITE, fragment);
        assert_eq!(big.into_raw(), 0x20_0000 | 0x61 | 9 << 7);
        let last = TWO.vram(0xff_ffff_f000, Access::READ, Fragment::NONE);
        assert_eq!(last.into_raw(), 0xff_ffff_f021);
        // Wider addresses, and a bit of the generation's own.
        let wide = FOUR.vram(0xffff_ffff_f000, Access::READ, Fragment::NONE);
        assert_eq!(wide.into_raw(), 0xffff_ffff_f031);
    }

    #[test]
    fn system_entry() {
        let cached = TWO.system(0x1_2345_6000, Access::READ_WRITE, Snoop::Yes);
        assert_eq!(cached.into_raw(), 0x1_2345_6067);
        let combined = TWO.system(0x1_2345_6000, Access::READ, Snoop::No);
        assert_eq!(combined.into_raw(), 0x1_2345_6023);
        let wide = FOUR.system(0x1_2345_6000, Access::READ_WRITE, Snoop::Yes);
        assert_eq!(wide.into_raw(), 0x1_2345_6077);
    }

    #[test]
    fn directory_entry() {
        assert_eq!(TWO.table(0xf4_0012_3000).into_raw(), 0xf4_0012_3001);
        assert_eq!(FOUR.table(0x80f4_0012_3000).into_raw(), 0x80f4_0012_3001);
        assert_eq!(Pde::INVALID.into_raw() & VALID, 0);
    }

    #[test]
    fn fragments() {
        let cases = [
            // (va page, target page, pages, log2)
            (0, 0, 1, 0),
            (0, 0, 2, 1),
            (0, 0, 3, 1),
            (1, 0, 512, 0),
            (0x200, 0x201, 512, 0),
            (0x200, 0x202, 512, 1),
            (0, 0, 1 << 20, 9),
            (0x100, 0x300, 1 << 20, 8),
        ];
        for (va, target, pages, log2) in cases {
            let fragment = TWO.fragment(va, target, pages);
            assert_eq!(fragment.pages(), 1 << log2);
        }
        assert_eq!(SMALL.fragment(0, 0, 64).pages(), 4);
    }

    /// Returns true if a walk is described by these words.
    fn says(walk: Walk, expected: &str) -> Result<bool> {
        let said = CString::try_from_fmt(fmt!("{walk}"))?;
        Ok(said.to_bytes() == expected.as_bytes())
    }

    #[test]
    fn walks() -> Result {
        const DIRECTORY: u64 = 0xf4_0010_0000;
        const TABLE: u64 = 0xf4_0020_0000;
        const VA: u64 = (3 << 22) + (5 << 12) + 0x10;

        let pte = TWO.vram(0x7000, Access::READ, Fragment::NONE).into_raw();
        let read = |addr| match addr {
            a if a == DIRECTORY + 3 * 8 => Some(TWO.table(TABLE).into_raw()),
            a if a == TABLE + 5 * 8 => Some(pte),
            _ => Some(0),
        };
        let walk = |va| Walk::new(&TWO, DIRECTORY, va, read);
        assert!(says(
            walk(VA),
            "0xc05010: directory 0xf400100000, PDE 0xf400200001, \
             PTE 0x7021 (VRAM 0x7000 r-- fragment 0)"
        )?);
        assert!(says(
            walk(VA + 0x1000),
            "0xc06010: directory 0xf400100000, PDE 0xf400200001, PTE 0x0 (not mapped)"
        )?);
        assert!(says(
            walk(0),
            "0x0: directory 0xf400100000, PDE 0x0 (no table)"
        )?);
        // Beyond the address space nothing is read.
        assert_eq!(walk(64 << 30).entries, [None; Format::MAX_LEVELS]);
        assert_eq!(
            Walk::new(&TWO, DIRECTORY, VA, |_| None).entries,
            [None; Format::MAX_LEVELS]
        );
        Ok(())
    }

    #[test]
    fn walks_over_four_levels() -> Result {
        const VA: u64 = (1 << 39) + (2 << 30) + (3 << 21) + (4 << 12);

        // The tables lie at 0x1000 to 0x4000. Each entry is looked up at its own place only.
        let pte = FOUR.vram(0x7000, Access::READ, Fragment::NONE).into_raw();
        let entries = [(0x1008, 0x2001), (0x2010, 0x3001), (0x3018, 0x4001)];
        let find = |addr| entries.iter().find(|(at, _)| *at == addr).map(|(_, e)| *e);
        let read = |addr| {
            if addr == 0x4020 {
                Some(pte)
            } else {
                find(addr)
            }
        };
        let walk = |va| Walk::new(&FOUR, 0x1000, va, read);
        assert!(says(
            walk(VA),
            "0x8080604000: directory 0x1000, PDE 0x2001, PDE 0x3001, PDE 0x4001, \
             PTE 0x7031 (VRAM 0x7000 r-- fragment 0)"
        )?);
        assert!(says(
            walk(VA + (1 << 21)),
            "0x8080804000: directory 0x1000, PDE 0x2001, PDE 0x3001, a table that cannot be read"
        )?);
        assert_eq!(walk(1 << 48).entries, [None; Format::MAX_LEVELS]);
        Ok(())
    }

    #[test]
    fn geometry() {
        for (format, bits) in [(&TWO, 36), (&SMALL, 18), (&FOUR, 48)] {
            assert_eq!(format.pages() * PAGE_SIZE, 1 << bits);
        }
        let table = SMALL.page_table(27);
        assert_eq!(SMALL.pages_of(table), 24..28);
        assert!(SMALL.is_page_table(table));
        // Its entry is the third of the second directory below the root.
        let (parent, index) = SMALL.parent(table);
        assert_eq!(index, 2);
        assert!(parent.is_some_and(|parent| !SMALL.is_page_table(parent)));
        assert_eq!(parent.map(|parent| SMALL.pages_of(parent)), Some(16..32));
        assert_eq!(parent.map(|parent| SMALL.parent(parent)), Some((None, 1)));
        assert_eq!(TWO.parent(TWO.page_table(3 << 10)), (None, 3));
        let below = parent.map(|parent| SMALL.below(parent));
        assert!(below
            .into_iter()
            .flatten()
            .eq([SMALL.page_table(16)..SMALL.page_table(32)]));
        assert_eq!(SMALL.below(table).count(), 0);
    }

    #[test]
    fn tables_come_after_those_that_name_them() {
        let tables = |pages: Range<u64>| SMALL.tables_of(pages).count();
        assert_eq!(tables(5..5), 0);
        assert_eq!(tables(5..6), 2);
        assert_eq!(tables(15..17), 4);
        assert_eq!(tables(0..64), 4 + 16);
        for table in SMALL.tables_of(0..64) {
            let (parent, _) = SMALL.parent(table);
            assert!(parent.is_none_or(|parent| parent < table && TableKey::FIRST <= parent));
        }
        assert_eq!(TWO.tables_of(1023..1025).count(), 2);
    }
}
