// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Process memory for userptr BOs, which can be taken away and replaced while a BO covers it.
//!
//! The GPU reads and writes such memory on its own, so it is never borrowed as a slice: bytes are
//! copied in and out.

use std::{
    fs::File,
    io::PipeWriter,
    ops::Range,
    os::fd::{
        AsRawFd,
        FromRawFd, //
    },
    ptr::NonNull,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};

use crate::{
    Errno,
    PAGE,
    Result,
    num::u64_of,
    rng::Rng, //
};

/// One page's bytes.
pub type Page = [u8; PAGE];

/// A mapping of whole pages.
///
/// Anonymous memory has a guard page on each side. Without them the kernel might join a replaced
/// part with a stranger's mapping next door rather than with the rest of this one, and a range of
/// two mappings is not what the C driver takes as anonymous (`AMDGPU_GEM_USERPTR_ANONONLY`: the
/// first mapping must cover it all).
#[derive(Debug)]
pub struct UserMem {
    at: NonNull<u8>,
    pages: usize,
    /// The guard pages.
    guards: Option<[NonNull<u8>; 2]>,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for UserMem {}
// SAFETY: through a shared reference bytes are only copied out or reached as atomic words; that
// other threads, processes and the GPU change them meanwhile is what this memory is for.
unsafe impl Sync for UserMem {}

/// Advice to the kernel that leaves what a page holds alone, or says what it may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// MADV_DONTNEED: give the pages back at once.
    Discard,
    /// MADV_FREE: give them back when memory is short, unless they are written to before.
    FreeLater,
    /// MADV_PAGEOUT: write them out to swap, or drop what may be dropped.
    PageOut,
    /// MADV_COLLAPSE: make huge pages of them now.
    Collapse,
    /// MADV_NOHUGEPAGE: never make huge pages of them.
    Small,
    /// MADV_HUGEPAGE: make huge pages of them when they are touched.
    Huge,
    /// MADV_DONTFORK: a child process gets none of them.
    NotForked,
    /// MADV_DOFORK: a child process gets them after all.
    Forked,
    /// MADV_MERGEABLE: pages of equal content may become one.
    Mergeable,
    /// MADV_POPULATE_WRITE: have all of them in memory now.
    Populate,
}

impl Advice {
    const fn code(self) -> i32 {
        match self {
            Self::Discard => libc::MADV_DONTNEED,
            Self::FreeLater => libc::MADV_FREE,
            Self::PageOut => libc::MADV_PAGEOUT,
            Self::Collapse => libc::MADV_COLLAPSE,
            Self::Small => libc::MADV_NOHUGEPAGE,
            Self::Huge => libc::MADV_HUGEPAGE,
            Self::NotForked => libc::MADV_DONTFORK,
            Self::Forked => libc::MADV_DOFORK,
            Self::Mergeable => libc::MADV_MERGEABLE,
            Self::Populate => libc::MADV_POPULATE_WRITE,
        }
    }
}

/// A file of whole pages that lies in memory and has no name (memfd_create). It can be mapped more
/// than once, and so show what happens to pages that one of its mappings has given up.
///
/// # Errors
///
/// memfd_create(2)'s and ftruncate(2)'s.
pub fn memory_file(pages: usize) -> Result<File> {
    // SAFETY: a name, which the call copies; the descriptor is new and nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(c"pages".as_ptr(), libc::MFD_CLOEXEC);
        Errno::of(fd)?;
        File::from_raw_fd(fd)
    };
    file.set_len(u64_of(pages * PAGE)).map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(file)
}

/// The same of memory that the kernel keeps from everyone but this process (memfd_secret).
///
/// # Errors
///
/// memfd_secret(2)'s and ftruncate(2)'s.
pub fn secret_file(pages: usize) -> Result<File> {
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe {
        let fd = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        let fd = i32::try_from(fd).map_err(|_| Errno(libc::EBADF))?;
        Errno::of(fd)?;
        File::from_raw_fd(fd)
    };
    file.set_len(u64_of(pages * PAGE)).map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(file)
}

/// Alignment of [`UserMem::aligned`] in pages: a huge page.
pub const HUGE_PAGES: usize = 512;

/// Rights of the CPU to a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// PROT_READ
    ReadOnly,
    /// PROT_READ | PROT_WRITE
    ReadWrite,
}

impl Access {
    const fn prot(self) -> i32 {
        match self {
            Self::ReadOnly => libc::PROT_READ,
            Self::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

/// A new mapping where nothing is mapped: of nothing, or of `file` from a page on.
fn mmap(
    at: Option<NonNull<u8>>,
    len: usize,
    prot: i32,
    file: Option<(&File, usize)>,
) -> Result<NonNull<u8>> {
    let place = at.map_or(0, |_| libc::MAP_FIXED_NOREPLACE);
    let kind = file.map_or(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, |_| libc::MAP_SHARED);
    let address = at.map_or(std::ptr::null_mut(), |p| p.as_ptr().cast());
    let fd = file.map_or(-1, |(file, _)| file.as_raw_fd());
    let offset = offset_of(file.map_or(0, |(_, page)| page))?;
    // SAFETY: a new mapping where nothing is mapped (NOREPLACE, or the kernel's choice) disturbs
    // nothing.
    let got = unsafe { libc::mmap(address, len, prot, kind | place, fd, offset) };
    if got == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(got.cast()).ok_or(Errno(libc::ENOMEM))
}

/// Returns the place in its file at which a page begins.
fn offset_of(page: usize) -> Result<i64> {
    i64::try_from(page * PAGE).map_err(|_| Errno(libc::EOVERFLOW))
}

impl UserMem {
    /// Fresh anonymous memory, which reads as zero.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn anonymous(pages: usize) -> Result<Self> {
        Self::anonymous_with(pages, Access::ReadWrite)
    }

    /// Fresh anonymous memory with given rights.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn anonymous_with(pages: usize, access: Access) -> Result<Self> {
        let reserved = mmap(None, (pages + 2) * PAGE, libc::PROT_NONE, None)?;
        // SAFETY: within the reservation, which is two pages longer than what is asked for.
        let (at, end) = unsafe { (reserved.add(PAGE), reserved.add((pages + 1) * PAGE)) };
        let mem = Self { at, pages, guards: Some([reserved, end]) };
        // SAFETY: the pages just reserved, of which nobody else knows.
        let code = unsafe { libc::mprotect(at.as_ptr().cast(), mem.len(), access.prot()) };
        Errno::of(code).map(|()| mem)
    }

    /// Fresh anonymous memory without guard pages, to be filled and given to
    /// [`UserMem::replace`].
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn unguarded(pages: usize) -> Result<Self> {
        let at = mmap(None, pages * PAGE, Access::ReadWrite.prot(), None)?;
        Ok(Self { at, pages, guards: None })
    }

    /// Fresh anonymous memory that starts at a multiple of [`HUGE_PAGES`].
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn aligned(pages: usize) -> Result<Self> {
        Self::aligned_with(pages, Access::ReadWrite)
    }

    /// The same with given rights.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn aligned_with(pages: usize, access: Access) -> Result<Self> {
        let align = HUGE_PAGES * PAGE;
        let spare = mmap(None, pages * PAGE + 2 * align, libc::PROT_NONE, None)?;
        let lead = align - spare.addr().get() % align;
        let tail = 2 * align - lead;
        // SAFETY: within the reservation, which is two alignments longer than what is asked for.
        // What is not used of it is given back, but for a guard page on each side.
        unsafe {
            let at = spare.add(lead);
            let end = at.add(pages * PAGE);
            let mem = Self { at, pages, guards: Some([at.sub(PAGE), end]) };
            libc::munmap(spare.as_ptr().cast(), lead - PAGE);
            libc::munmap(end.as_ptr().add(PAGE).cast(), tail - PAGE);
            mem.protect(access).map(|()| mem)
        }
    }

    /// A shared mapping of a file's start.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn of_file(file: &File, pages: usize) -> Result<Self> {
        Self::of_file_from(file, 0, pages)
    }

    /// A shared mapping of a part of a file.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn of_file_from(file: &File, from: usize, pages: usize) -> Result<Self> {
        let at = mmap(None, pages * PAGE, Access::ReadWrite.prot(), Some((file, from)))?;
        Ok(Self { at, pages, guards: None })
    }

    /// Its address, for GEM_USERPTR.
    pub fn addr(&self) -> u64 {
        u64_of(self.at.as_ptr().expose_provenance())
    }

    /// Its address, for libdrm.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// Length in pages.
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.pages * PAGE
    }

    /// Returns true if it holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.pages == 0
    }

    fn place(&self, pages: &Range<usize>) -> NonNull<u8> {
        assert!(pages.start <= pages.end && pages.end <= self.pages, "outside the mapping");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.at.add(pages.start * PAGE) }
    }

    /// Copies a page out.
    pub fn read_page(&self, page: usize, into: &mut Page) {
        let from = self.place(&(page..page + 1));
        // SAFETY: a page of the mapping; `into` is borrowed mutably and the mapping is never lent,
        // so they do not overlap.
        unsafe { from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr(), PAGE) };
    }

    /// Copies a page in.
    pub fn write_page(&mut self, page: usize, from: &Page) {
        let to = self.place(&(page..page + 1));
        // SAFETY: as in `read_page`, the other way.
        unsafe { to.as_ptr().copy_from_nonoverlapping(from.as_ptr(), PAGE) };
    }

    /// Writes the first byte of a page, which makes it be there.
    pub fn write_byte(&mut self, page: usize, byte: u8) {
        let to = self.place(&(page..page + 1));
        // SAFETY: a byte of the mapping, which is never lent.
        unsafe { to.as_ptr().write_volatile(byte) };
    }

    /// Random bytes into `pages`.
    pub fn randomize(&mut self, pages: Range<usize>, rng: &mut Rng) {
        let mut bytes = [0; PAGE];
        for page in pages {
            rng.fill(&mut bytes);
            self.write_page(page, &bytes);
        }
    }

    /// The first page at which two mappings differ, and how many do. `None` when they are equal.
    ///
    /// # Panics
    ///
    /// When the lengths differ.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        assert_eq!(self.pages, other.pages);
        let (mut a, mut b) = ([0; PAGE], [0; PAGE]);
        let mut found: Option<Difference> = None;
        for page in 0..self.pages {
            self.read_page(page, &mut a);
            other.read_page(page, &mut b);
            if a != b {
                match &mut found {
                    Some(difference) => difference.pages += 1,
                    None => found = Some(Difference::first(page, &a, &b)),
                }
            }
        }
        found
    }

    /// munmap, then mmap at the same address: between the two there is a hole, and afterward
    /// fresh pages that read as zero.
    ///
    /// # Errors
    ///
    /// mmap(2)'s; EEXIST when another thread of this process mapped something into the hole.
    pub fn unmap_and_map(&mut self, pages: Range<usize>) -> Result {
        let at = self.place(&pages);
        // SAFETY: pages of this mapping, which is never lent; the hole is filled again below.
        Errno::of(unsafe { libc::munmap(at.as_ptr().cast(), pages.len() * PAGE) })?;
        mmap(Some(at), pages.len() * PAGE, Access::ReadWrite.prot(), None).map(|_| ())
    }

    /// Puts the whole of `fresh` in the place of the pages from `first` on, in one step: there is
    /// never a hole, and the old pages are given back.
    ///
    /// # Errors
    ///
    /// mremap(2)'s.
    pub fn replace(&mut self, first: usize, mut fresh: Self) -> Result {
        let to = self.place(&(first..first + fresh.pages));
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let len = fresh.len();
        // SAFETY: moves a mapping that `fresh` owns over pages that `self` owns, neither of them
        // lent. `fresh` keeps none of them, so they now have one owner.
        let moved = unsafe {
            libc::mremap(fresh.at.as_ptr().cast(), len, len, flags, to.as_ptr().cast::<u8>())
        };
        if moved == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        fresh.pages = 0;
        Ok(())
    }

    /// Moves pages elsewhere, with what is in them, and leaves fresh ones in their place. As the
    /// old pages live on, no fresh page can by chance be an old one.
    ///
    /// # Errors
    ///
    /// mmap(2)'s and mremap(2)'s.
    pub fn move_away(&mut self, pages: Range<usize>) -> Result<Self> {
        let away = Self::unguarded(pages.len())?;
        let from = self.place(&pages);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let len = away.len();
        // SAFETY: moves pages that `self` owns over a mapping that `away` owns, neither of them
        // lent; the hole in `self` is filled again below.
        let moved = unsafe {
            libc::mremap(from.as_ptr().cast(), len, len, flags, away.at.as_ptr().cast::<u8>())
        };
        if moved == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        mmap(Some(from), len, Access::ReadWrite.prot(), None)?;
        Ok(away)
    }

    /// MADV_DONTNEED: the mapping stays, its pages are given back and read as zero.
    ///
    /// # Errors
    ///
    /// madvise(2)'s.
    pub fn discard(&mut self, pages: Range<usize>) -> Result {
        self.advise(pages, Advice::Discard)
    }

    /// mprotect to read-only, and back again.
    ///
    /// # Errors
    ///
    /// mprotect(2)'s.
    pub fn protect_and_back(&mut self) -> Result {
        self.protect(Access::ReadOnly)?;
        self.protect(Access::ReadWrite)
    }

    /// mprotect. Who writes to memory that is read-only gets a signal: give it back first.
    ///
    /// # Errors
    ///
    /// mprotect(2)'s.
    pub fn protect(&self, access: Access) -> Result {
        // SAFETY: this mapping, which is never lent.
        Errno::of(unsafe { libc::mprotect(self.at.as_ptr().cast(), self.len(), access.prot()) })
    }

    /// munmap, which leaves a hole. Nobody may look at these pages before
    /// [`UserMem::fill_hole`].
    ///
    /// # Errors
    ///
    /// munmap(2)'s.
    pub fn unmap(&mut self, pages: Range<usize>) -> Result {
        let at = self.place(&pages);
        // SAFETY: pages of this mapping, which is never lent.
        Errno::of(unsafe { libc::munmap(at.as_ptr().cast(), pages.len() * PAGE) })
    }

    /// Maps a part of `file`, from its page `from` on, where there is a hole.
    ///
    /// # Errors
    ///
    /// mmap(2)'s; EEXIST when another thread of this process mapped something into the hole.
    pub fn fill_hole(&mut self, pages: Range<usize>, file: &File, from: usize) -> Result {
        let at = self.place(&pages);
        let prot = Access::ReadWrite.prot();
        mmap(Some(at), pages.len() * PAGE, prot, Some((file, from))).map(|_| ())
    }

    /// mmap over what is there: maps a part of `file`, from its page `from` on, in one step.
    ///
    /// # Errors
    ///
    /// mmap(2)'s.
    pub fn map_over(&mut self, pages: Range<usize>, file: &File, from: usize) -> Result {
        let at = self.place(&pages).as_ptr().cast();
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let (prot, len) = (Access::ReadWrite.prot(), pages.len() * PAGE);
        let offset = offset_of(from)?;
        // SAFETY: pages of this mapping, which is never lent.
        match unsafe { libc::mmap(at, len, prot, flags, file.as_raw_fd(), offset) } {
            libc::MAP_FAILED => Err(Errno::last()),
            _ => Ok(()),
        }
    }

    /// madvise.
    ///
    /// # Errors
    ///
    /// madvise(2)'s.
    pub fn advise(&self, pages: Range<usize>, advice: Advice) -> Result {
        let at = self.place(&pages);
        // SAFETY: pages of this mapping, which is never lent; none of the advices takes away more
        // than what they hold.
        Errno::of(unsafe { libc::madvise(at.as_ptr().cast(), pages.len() * PAGE, advice.code()) })
    }

    /// Puts the very pages, not what they hold, into a pipe, which keeps them until it is read.
    ///
    /// # Errors
    ///
    /// vmsplice(2)'s; EAGAIN when the pipe has no room for all of them.
    pub fn splice_into(&self, pages: Range<usize>, pipe: &PipeWriter) -> Result {
        let len = pages.len() * PAGE;
        let part = libc::iovec { iov_base: self.place(&pages).as_ptr().cast(), iov_len: len };
        let flags = libc::SPLICE_F_NONBLOCK;
        // SAFETY: one vector, of pages of this mapping, which the pipe may read at any time.
        let done = unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const part, 1, flags) };
        match usize::try_from(done) {
            Ok(done) if done == len => Ok(()),
            Ok(_) => Err(Errno(libc::EAGAIN)),
            Err(_) => Err(Errno::last()),
        }
    }

    fn word(&self, page: usize, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < PAGE, "not a word of a page");
        let at = self.place(&(page..page + 1));
        // SAFETY: an aligned word of the mapping, which lives as long as `self`.
        unsafe { AtomicU32::from_ptr(at.add(offset).as_ptr().cast()) }
    }

    /// Reads a word of a page.
    pub fn load(&self, page: usize, offset: usize) -> u32 {
        self.word(page, offset).load(Ordering::SeqCst)
    }

    /// Writes a word of a page, after everything that this thread wrote before.
    pub fn store(&self, page: usize, offset: usize, value: u32) {
        self.word(page, offset).store(value, Ordering::SeqCst);
    }

    /// Gives back all but the first `pages`, so that the address range behind them is empty.
    ///
    /// # Errors
    ///
    /// munmap(2)'s.
    pub fn truncate(&mut self, pages: usize) -> Result {
        let at = self.place(&(pages..self.pages));
        let len = (self.pages - pages) * PAGE;
        // SAFETY: pages of this mapping, which is never lent and from now on ends before them.
        Errno::of(unsafe { libc::munmap(at.as_ptr().cast(), len) })?;
        self.pages = pages;
        Ok(())
    }
}

impl Drop for UserMem {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing borrows from it. (Of no pages, the
        // call does nothing.)
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len()) };
        for guard in self.guards.into_iter().flatten() {
            // SAFETY: a page of this value's reservation.
            unsafe { libc::munmap(guard.as_ptr().cast(), PAGE) };
        }
    }
}

/// Place and size of the difference of two mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Offset of the first byte that differs.
    pub offset: usize,
    /// That byte on the left.
    pub left: u8,
    /// That byte on the right.
    pub right: u8,
    /// Pages that differ.
    pub pages: usize,
}

impl Difference {
    fn first(page: usize, a: &Page, b: &Page) -> Self {
        let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(0);
        Self { offset: page * PAGE + at, left: a[at], right: b[at], pages: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pages: usize, byte: u8) -> UserMem {
        let mut mem = UserMem::anonymous(pages).unwrap();
        for page in 0..pages {
            mem.write_page(page, &[byte; PAGE]);
        }
        mem
    }

    fn first_bytes(mem: &UserMem) -> Vec<u8> {
        let mut page = [0; PAGE];
        (0..mem.pages())
            .map(|i| {
                mem.read_page(i, &mut page);
                page[0]
            })
            .collect()
    }

    #[test]
    fn replaces_what_it_says() {
        let mut mem = filled(5, 1);
        mem.unmap_and_map(1..2).unwrap();
        mem.replace(2, filled(1, 7)).unwrap();
        let away = mem.move_away(3..4).unwrap();
        mem.discard(4..5).unwrap();
        assert_eq!(first_bytes(&mem), [1, 0, 7, 0, 0]);
        assert_eq!(first_bytes(&away), [1]);
        mem.truncate(2).unwrap();
        assert_eq!(first_bytes(&mem), [1, 0]);
    }

    #[test]
    fn two_mappings_of_a_file() {
        let file = memory_file(4).unwrap();
        let view = UserMem::of_file(&file, 4).unwrap();
        (0..4).for_each(|page| view.store(page, 8, 10 + u32::try_from(page).unwrap()));
        let mut mem = UserMem::of_file_from(&file, 1, 2).unwrap();
        assert_eq!((mem.load(0, 8), mem.load(1, 8)), (11, 12));
        mem.unmap(0..1).unwrap();
        mem.fill_hole(0..1, &file, 3).unwrap();
        mem.map_over(1..2, &file, 0).unwrap();
        assert_eq!((mem.load(0, 8), mem.load(1, 8)), (13, 10));
        mem.store(1, 8, 9);
        assert_eq!(view.load(0, 8), 9);
    }

    #[test]
    fn a_pipe_keeps_pages() {
        use std::io::Read;
        let mut mem = filled(2, 5);
        let (mut reader, writer) = std::io::pipe().unwrap();
        mem.splice_into(0..2, &writer).unwrap();
        // Still the same pages, until they are given back.
        mem.write_page(1, &[6; PAGE]);
        mem.discard(0..2).unwrap();
        mem.write_page(1, &[7; PAGE]);
        let mut kept = [0; 2 * PAGE];
        reader.read_exact(&mut kept).unwrap();
        assert_eq!((kept[0], kept[PAGE]), (5, 6));
    }

    #[test]
    fn aligned_memory_is_aligned() {
        let mem = UserMem::aligned(2 * HUGE_PAGES).unwrap();
        assert!(mem.addr().is_multiple_of(u64_of(HUGE_PAGES * PAGE)));
        mem.store(2 * HUGE_PAGES - 1, PAGE - 4, 1);
    }

    #[test]
    fn finds_differences() {
        let mut a = filled(4, 1);
        let b = filled(4, 1);
        assert_eq!(a.difference(&b), None);
        let mut page = [1; PAGE];
        page[9] = 2;
        a.write_page(1, &page);
        a.write_page(3, &page);
        assert_eq!(
            a.difference(&b),
            Some(Difference { offset: PAGE + 9, left: 2, right: 1, pages: 2 })
        );
    }
}
