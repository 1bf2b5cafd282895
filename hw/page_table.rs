// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Page tables: their shape and their entries (the C driver's PDE and PTE).
//!
//! A process's address space has two levels. The page directory holds one [`Pde`] for each 4 MiB
//! of address space; each names a page table of 1024 [`Pte`]s, one for each 4 KiB page. The
//! kernel's own context 0 has one flat table of [`Pte`]s (see `gart.rs`).
//!
//! A PTE names either VRAM, by the offset from VRAM's start, or system memory, by bus address; a
//! PDE names its page table by address in the GPU's own (MC) address space. Addresses have 40
//! bits, and the low 12 of an entry are flags. A fragment says that `2^n` pages are contiguous and
//! equally aligned in both address spaces, so that one translation cache entry may stand for all
//! of them.

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
/// log2 of the number of entries of one page table.
pub(crate) const TABLE_SHIFT: u32 = 10;
/// Number of entries of one page table.
pub(crate) const TABLE_ENTRIES: usize = 1 << TABLE_SHIFT;
/// log2 of the number of pages of a process's address space: 64 GiB.
pub(crate) const SPACE_SHIFT: u32 = 24;
/// Number of entries of a page directory.
pub(crate) const DIRECTORY_ENTRIES: usize = 1 << (SPACE_SHIFT - TABLE_SHIFT);
/// Size of one entry of either kind in bytes.
pub(crate) const ENTRY_SIZE: usize = size_of::<u64>();

const _: () = assert!(PAGE_SIZE == SZ_4K as u64);

/// Number of bits of an address, including those of system memory.
pub(crate) const ADDRESS_BITS: u32 = 40;

/// Bits of an entry that hold an address.
const ADDRESS_MASK: u64 = 0xff_ffff_f000;

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
    /// Largest fragment that the caches are set up for: 2 MiB.
    pub(crate) const MAX: u32 = 9;

    /// Returns the largest fragment that fits at page number `va_page` of the address space when
    /// `pages` pages from there are contiguous at page number `target_page` of the memory.
    pub(crate) fn largest(va_page: u64, target_page: u64, pages: u64) -> Self {
        let aligned = (va_page | target_page).trailing_zeros();
        let fits = pages.checked_ilog2().unwrap_or(0);
        Self(u64::from(aligned.min(fits).min(Self::MAX)))
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

    /// Maps the page of VRAM that is `offset` bytes from VRAM's start.
    pub(crate) fn vram(offset: u64, access: Access, fragment: Fragment) -> Self {
        debug_assert!(offset & !ADDRESS_MASK == 0);
        Self((offset & ADDRESS_MASK) | (fragment.0 << FRAGMENT_SHIFT) | access.bits() | VALID)
    }

    /// Maps a page of system memory. Adjacent pages in bus address space are no part of the
    /// mapping, so there is no fragment.
    pub(crate) fn system(page: DmaAddress, access: Access, snoop: Snoop) -> Self {
        debug_assert!(page & !ADDRESS_MASK == 0);
        let snooped = match snoop {
            Snoop::Yes => SNOOPED,
            Snoop::No => 0,
        };
        Self((page & ADDRESS_MASK) | access.bits() | snooped | SYSTEM | VALID)
    }

    /// Returns the same entry for the next page, which must exist.
    pub(crate) const fn next_page(self) -> Self {
        Self(self.0.wrapping_add(PAGE_SIZE))
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

/// An entry of the page directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pde(u64);

impl Pde {
    /// Entry without a page table: an access faults.
    pub(crate) const INVALID: Self = Self(0);

    /// Points to the page table at this address of the GPU's address space.
    pub(crate) fn table(mc_addr: u64) -> Self {
        debug_assert!(mc_addr & !ADDRESS_MASK == 0);
        Self((mc_addr & ADDRESS_MASK) | VALID)
    }

    /// Returns the entry as the GPU reads it.
    pub(crate) const fn into_raw(self) -> u64 {
        self.0
    }
}

/// The entries that the GPU finds on its way to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    va: u64,
    /// Address of the page directory in the GPU's address space.
    directory: u64,
    /// The directory's entry, if it could be read.
    pde: Option<u64>,
    /// The page's entry, if there is one and it could be read.
    pte: Option<u64>,
}

impl Walk {
    /// Walks to the page of `va`. `read` returns the entry at an address of the GPU's address
    /// space, or `None` if the CPU does not reach it.
    pub(crate) fn new(directory: u64, va: u64, read: impl Fn(u64) -> Option<u64>) -> Self {
        let entry = |table: u64, index: u64| read(table + index * ENTRY_SIZE as u64);
        let page = va >> PAGE_SHIFT;
        let pde = if page >> SPACE_SHIFT == 0 {
            entry(directory, page >> TABLE_SHIFT)
        } else {
            None
        };
        let table = pde.filter(|pde| pde & VALID != 0);
        Self {
            va,
            directory,
            pde,
            pte: table.and_then(|pde| entry(pde & ADDRESS_MASK, page & ((1 << TABLE_SHIFT) - 1))),
        }
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { va, directory, .. } = self;
        f.write_fmt(fmt!("{va:#x}: directory {directory:#x}"))?;
        let Some(pde) = self.pde else {
            return f.write_str(", no entry that can be read");
        };
        f.write_fmt(fmt!(", PDE {pde:#x}"))?;
        if pde & VALID == 0 {
            return f.write_str(" (no table)");
        }
        let Some(pte) = self.pte else {
            return f.write_str(", a table that cannot be read");
        };
        f.write_fmt(fmt!(", PTE {pte:#x}"))?;
        if pte & VALID == 0 {
            return f.write_str(" (not mapped)");
        }
        let memory = if pte & SYSTEM == 0 { "VRAM" } else { "system" };
        let flag = |bit, name| if pte & bit == 0 { "-" } else { name };
        f.write_fmt(fmt!(
            " ({memory} {:#x} {}{}{} fragment {})",
            pte & ADDRESS_MASK,
            flag(READABLE, "r"),
            flag(WRITEABLE, "w"),
            flag(SNOOPED, "s"),
            pte >> FRAGMENT_SHIFT & FRAGMENT_MASK
        ))
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_page_table)]
mod tests {
    use super::*;
    use kernel::str::CString;

    #[test]
    fn vram_entry() {
        // Values as the C driver writes them: valid, readable, writeable, and the fragment.
        let one = Pte::vram(0x1000, Access::READ_WRITE, Fragment::NONE);
        assert_eq!(one.into_raw(), 0x1061);
        let big = Pte::vram(
            0x20_0000,
            Access::READ_WRITE,
            Fragment::largest(0x200, 0x200, 0x200),
        );
        assert_eq!(big.into_raw(), 0x20_0000 | 0x61 | 9 << 7);
        let last = Pte::vram(0xff_ffff_f000, Access::READ, Fragment::NONE);
        assert_eq!(last.into_raw(), 0xff_ffff_f021);
    }

    #[test]
    fn system_entry() {
        let cached = Pte::system(0x1_2345_6000, Access::READ_WRITE, Snoop::Yes);
        assert_eq!(cached.into_raw(), 0x1_2345_6067);
        let combined = Pte::system(0x1_2345_6000, Access::READ, Snoop::No);
        assert_eq!(combined.into_raw(), 0x1_2345_6023);
    }

    #[test]
    fn directory_entry() {
        assert_eq!(Pde::table(0xf4_0012_3000).into_raw(), 0xf4_0012_3001);
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
            (0, 0, 1 << 20, Fragment::MAX),
            (0x100, 0x300, 1 << 20, 8),
        ];
        for (va, target, pages, log2) in cases {
            let fragment = Fragment::largest(va, target, pages);
            assert_eq!(fragment.pages(), 1 << log2);
        }
    }

    #[test]
    fn walks() -> Result {
        const DIRECTORY: u64 = 0xf4_0010_0000;
        const TABLE: u64 = 0xf4_0020_0000;
        const VA: u64 = (3 << 22) + (5 << 12) + 0x10;

        let pte = Pte::vram(0x7000, Access::READ, Fragment::NONE).into_raw();
        let read = |addr| match addr {
            a if a == DIRECTORY + 3 * 8 => Some(Pde::table(TABLE).into_raw()),
            a if a == TABLE + 5 * 8 => Some(pte),
            _ => Some(0),
        };
        let says = |va, expected: &str| -> Result<bool> {
            let said = CString::try_from_fmt(fmt!("{}", Walk::new(DIRECTORY, va, read)))?;
            Ok(said.to_bytes() == expected.as_bytes())
        };
        assert!(says(
            VA,
            "0xc05010: directory 0xf400100000, PDE 0xf400200001, PTE 0x7021 (VRAM 0x7000 r-- fragment 0)"
        )?);
        assert!(says(
            VA + 0x1000,
            "0xc06010: directory 0xf400100000, PDE 0xf400200001, PTE 0x0 (not mapped)"
        )?);
        assert!(says(0, "0x0: directory 0xf400100000, PDE 0x0 (no table)")?);
        // Beyond the address space nothing is read.
        assert_eq!(Walk::new(DIRECTORY, 64 << 30, read).pde, None);
        assert_eq!(Walk::new(DIRECTORY, VA, |_| None).pte, None);
        Ok(())
    }

    #[test]
    fn geometry() {
        // Two levels cover the address space exactly.
        assert_eq!(
            (DIRECTORY_ENTRIES * TABLE_ENTRIES) as u64 * PAGE_SIZE,
            1 << (SPACE_SHIFT + PAGE_SHIFT)
        );
    }
}
