// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Memory shared with the guest: VRAM and the guest's own RAM, each a mapped file.
//!
//! The guest reads and writes the same bytes at any time, so nothing here hands out a reference to
//! them: words go through atomics, runs of bytes are copied. This file holds the crate's raw memory
//! accesses; every other module speaks of offsets.

use std::{
    fs::File,
    io,
    os::fd::{
        AsFd,
        BorrowedFd, //
    },
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering, //
    }, //
};

use memmap2::{
    MmapOptions,
    MmapRaw, //
};

/// A file mapped shared, read and write, whole.
///
/// # Invariants
///
/// `map` covers `len` bytes, page-aligned, for the life of the value.
pub struct Memory {
    map: MmapRaw,
    len: u64,
    file: File,
}

impl Memory {
    /// New memory of `len` bytes, zeroed, in a file that can be passed to another process.
    pub fn anonymous(name: &str, len: u64) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
        let file = File::from(fd);
        file.set_len(len)?;
        Self::of_file(file)
    }

    /// Maps the whole of `file`.
    pub fn of_file(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let size =
            usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let map = MmapOptions::new().len(size).map_raw(&file)?;
        Ok(Memory { map, len, file })
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns true if there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file behind it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Pointer to `offset`, after checking that `size` bytes follow.
    fn at(&self, offset: u64, size: usize) -> *mut u8 {
        let end = offset.checked_add(size as u64);
        assert!(end.is_some_and(|e| e <= self.len), "access beyond the mapping");
        // SAFETY: by the type invariant the mapping holds `len` bytes, and offset + size <= len.
        unsafe { self.map.as_mut_ptr().add(offset as usize) }
    }

    /// Gives back what is in it: it reads as zeros again, in every process.
    pub fn discard(&self) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, hole, 0, self.len)?)
    }

    /// Copies bytes out.
    pub fn read(&self, offset: u64, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: `at` checked the bounds; `to` is our own memory and cannot overlap the mapping.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes in.
    pub fn write(&self, offset: u64, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// Copies `size` bytes from `self` to `to`, which may be the same memory.
    pub fn copy_to(&self, offset: u64, to: &Memory, to_offset: u64, size: usize) {
        let (src, dst) = (self.at(offset, size), to.at(to_offset, size));
        // SAFETY: `at` checked both ranges; `copy` allows them to overlap.
        unsafe { std::ptr::copy(src, dst, size) }
    }

    /// Copies those 64-bit words of a range to the same place in `to` that differ there.
    pub fn copy_changed(&self, to: &Memory, offset: u64, size: u64) {
        for at in (offset..offset + size).step_by(8) {
            let value = self.read_u64(at);
            if to.read_u64(at) != value {
                to.write_u64(at, value);
            }
        }
    }

    /// Returns true if a range holds other bytes than the same range of `other`.
    pub fn differs(&self, other: &Memory, offset: u64, size: usize) -> bool {
        let (mut a, mut b) = (vec![0; size], vec![0; size]);
        self.read(offset, &mut a);
        other.read(offset, &mut b);
        a != b
    }

    /// Fills `size` bytes.
    pub fn fill(&self, offset: u64, byte: u8, size: usize) {
        let to = self.at(offset, size);
        // SAFETY: `at` checked the range.
        unsafe { std::ptr::write_bytes(to, byte, size) }
    }

    /// Reads the aligned word at `offset` in one access.
    pub fn read_u32(&self, offset: u64) -> u32 {
        assert_eq!(offset % 4, 0);
        let word = self.at(offset, 4).cast::<u32>();
        // SAFETY: in bounds (`at`), aligned (the mapping is page-aligned, offset checked), and the
        // guest accesses it atomically too.
        u32::from_le(unsafe { AtomicU32::from_ptr(word) }.load(Ordering::SeqCst))
    }

    /// Writes the aligned word at `offset` in one access.
    pub fn write_u32(&self, offset: u64, value: u32) {
        assert_eq!(offset % 4, 0);
        let word = self.at(offset, 4).cast::<u32>();
        // SAFETY: as in `read_u32`.
        unsafe { AtomicU32::from_ptr(word) }.store(value.to_le(), Ordering::SeqCst)
    }

    /// Reads the aligned 64-bit word at `offset` in one access.
    pub fn read_u64(&self, offset: u64) -> u64 {
        assert_eq!(offset % 8, 0);
        let word = self.at(offset, 8).cast::<u64>();
        // SAFETY: as in `read_u32`, with alignment 8.
        u64::from_le(unsafe { AtomicU64::from_ptr(word) }.load(Ordering::SeqCst))
    }

    /// Writes the aligned 64-bit word at `offset` in one access.
    pub fn write_u64(&self, offset: u64, value: u64) {
        assert_eq!(offset % 8, 0);
        let word = self.at(offset, 8).cast::<u64>();
        // SAFETY: as in `read_u64`.
        unsafe { AtomicU64::from_ptr(word) }.store(value.to_le(), Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_agree() {
        let m = Memory::anonymous("t", 4096).unwrap();
        m.write(8, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(m.read_u32(8), 0x0403_0201);
        assert_eq!(m.read_u64(8), 0x0807_0605_0403_0201);
        m.write_u32(12, 0xdead_beef);
        let mut b = [0; 8];
        m.read(8, &mut b);
        assert_eq!(b, [1, 2, 3, 4, 0xef, 0xbe, 0xad, 0xde]);
    }

    #[test]
    #[should_panic(expected = "beyond the mapping")]
    fn an_access_past_the_end_is_refused() {
        Memory::anonymous("t", 4096).unwrap().read_u32(4096);
    }
}
