// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Physical pages behind memory of this process, and what the kernel made of them, as
//! `/proc/self/pagemap` and `/proc/kpageflags` tell the superuser.

use std::{
    fs::File,
    os::unix::fs::FileExt, //
};

use crate::{
    Errno,
    PAGE,
    Result,
    mem::UserMem,
    num::{
        u64_of,
        usize_of, //
    }, //
};

/// Place of the bytes of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Nowhere: it was never touched, or was given back.
    None,
    /// In swap.
    Swapped,
    /// In memory.
    At {
        /// Number of the physical page.
        number: u64,
        /// It is part of a huge page.
        huge: bool,
        /// It stands for several pages of equal content.
        merged: bool,
    },
}

/// The kernel's tables.
#[derive(Debug)]
pub struct Frames {
    map: File,
    flags: File,
}

impl Frames {
    /// Opens them; this takes root.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn open() -> std::result::Result<Self, String> {
        let open = |path: &str| File::open(path).map_err(|e| format!("{path}: {e}"));
        Ok(Self { map: open("/proc/self/pagemap")?, flags: open("/proc/kpageflags")? })
    }

    /// Returns what is behind a page.
    ///
    /// # Errors
    ///
    /// That of reading a table.
    pub fn of(&self, mem: &UserMem, page: usize) -> Result<Frame> {
        const SWAPPED: u64 = 1 << 62;
        const MERGED: u64 = 1 << 21;
        const HUGE: u64 = 1 << 22;
        let entry = word(&self.map, usize_of(mem.addr()) / PAGE + page)?;
        if entry & SWAPPED != 0 {
            return Ok(Frame::Swapped);
        }
        if entry & PRESENT == 0 {
            return Ok(Frame::None);
        }
        let number = entry & NUMBER;
        let flags = word(&self.flags, usize_of(number))?;
        Ok(Frame::At { number, huge: flags & HUGE != 0, merged: flags & MERGED != 0 })
    }

    /// The number of the physical page behind each page that is in memory.
    ///
    /// # Errors
    ///
    /// That of reading a table.
    pub fn numbers(&self, mem: &UserMem) -> Result<Vec<Option<u64>>> {
        let mut bytes = vec![0; mem.pages() * 8];
        read(&self.map, usize_of(mem.addr()) / PAGE, &mut bytes)?;
        let (entries, _) = bytes.as_chunks();
        let number = |entry: &[u8; 8]| {
            let entry = u64::from_le_bytes(*entry);
            (entry & PRESENT != 0).then_some(entry & NUMBER)
        };
        Ok(entries.iter().map(number).collect())
    }

    /// Returns what is behind each of `pages`.
    ///
    /// # Errors
    ///
    /// That of reading a table.
    pub fn of_all(
        &self,
        mem: &UserMem,
        pages: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<Frame>> {
        pages.into_iter().map(|page| self.of(mem, page)).collect()
    }
}

/// In an entry of the map of pages: it is in memory.
const PRESENT: u64 = 1 << 63;
/// And then these bits are its number.
const NUMBER: u64 = (1 << 55) - 1;

fn word(table: &File, index: usize) -> Result<u64> {
    let mut bytes = [0; 8];
    read(table, index, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read(table: &File, index: usize, bytes: &mut [u8]) -> Result {
    table
        .read_exact_at(bytes, u64_of(index * 8))
        .map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))
}
