// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Random numbers that the interface may take for something, and memory for what a call points at.

use std::ptr::NonNull;

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        VA_START,
        now_ns, //
    },
    num::{
        lo32,
        u64_of,
        usize_of, //
    },
    rng::Rng,
    uapi::{
        DOMAIN_CPU,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

/// Address of each file's streams: far from all else that is mapped and unmapped, as a job whose
/// commands are gone hangs.
pub const STREAMS_VA: u64 = 3 << 34;
/// Bytes from one stream to the next.
pub const STREAM: u64 = 512;
/// Streams for one kind of engine.
pub const STREAMS: u64 = 16;

/// GPU addresses of buffers begin here; each place is this far from the next.
pub const BUFFERS_VA: u64 = VA_START + (64 << 20);
/// Two MiB are half of what one page table maps.
pub const PLACE: u64 = 2 << 20;
const PLACES: u64 = 24;

/// End of the GPU's address space, the last megabytes of which are not for users.
const SPACE: u64 = 1 << 36;

const PAGE64: u64 = u64_of(PAGE);

/// Memory that calls point at, with nothing behind it. Never borrowed: the kernel, other threads
/// and the GPU may write it at any time.
pub struct Arena {
    at: NonNull<u8>,
    next: usize,
}

const ARENA: usize = 16 * PAGE;

impl Arena {
    pub fn new() -> Result<Self> {
        let (prot, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, at an address of the kernel's choice, disturbs nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), ARENA + PAGE, prot, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // SAFETY: all but the last page of our own mapping.
        Errno::of(unsafe { libc::mprotect(at, ARENA, libc::PROT_READ | libc::PROT_WRITE) })?;
        Ok(Self { at: NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))?, next: 0 })
    }

    fn base(&self) -> u64 {
        u64_of(self.at.as_ptr().expose_provenance())
    }

    /// Stores words where a call may point at, `end` at the last place before nothing.
    fn put(&mut self, words: &[u32], end: bool) -> u64 {
        let len = words.len() * 4;
        assert!(len <= ARENA / 4);
        let at = if end {
            ARENA - len
        } else {
            if self.next + len > ARENA / 2 {
                self.next = 0;
            }
            let at = self.next;
            self.next += len.next_multiple_of(8);
            at
        };
        for (i, word) in words.iter().enumerate() {
            // SAFETY: within the arena, by the arithmetic above; lengths are whole words.
            unsafe { self.at.as_ptr().add(at + 4 * i).cast::<u32>().write_volatile(*word) };
        }
        self.base() + u64_of(at)
    }
}

/// A source of numbers.
pub struct Pick {
    rng: Rng,
    arena: Arena,
    /// Memory of the process that may come and go.
    pub user: (u64, u64),
}

impl Pick {
    pub fn new(seed: u64, user: (u64, u64)) -> Result<Self> {
        Ok(Self { rng: Rng::new(seed), arena: Arena::new()?, user })
    }

    pub fn any(&mut self) -> u64 {
        self.rng.next()
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.any().is_multiple_of(n)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.any() % n
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.within(0..of.len())]
    }

    /// A bit set of which most members are usual.
    pub fn flags(&mut self, usual: &[u64]) -> u64 {
        match self.below(24) {
            0 => self.any(),
            1 => 1 << self.below(64),
            _ => self.one(usual) | if self.once_in(4) { self.one(usual) } else { 0 },
        }
    }

    /// A number of something that the kernel counts from 1.
    pub fn name(&mut self, most: u64) -> u32 {
        match self.below(48) {
            0 => 0,
            1 => lo32(self.any()),
            2 => u32::MAX,
            _ => lo32(1 + self.below(most)),
        }
    }

    /// A handle, but seldom that of the streams, which comes first.
    pub fn bo(&mut self) -> u32 {
        match self.name(28) {
            1 if !self.once_in(64) => 2,
            name => name,
        }
    }

    pub fn ctx(&mut self) -> u32 {
        self.name(6)
    }

    pub fn syncobj(&mut self) -> u32 {
        self.name(10)
    }

    pub fn list(&mut self) -> u32 {
        self.name(6)
    }

    /// A number of a submission, or a point of a timeline.
    pub fn point(&mut self) -> u64 {
        match self.below(24) {
            0 => u64::MAX,
            1 => self.any(),
            2 => 1 << 40,
            _ => self.below(40),
        }
    }

    /// A size in bytes: whole pages, as a rule.
    pub fn size(&mut self) -> u64 {
        match self.below(48) {
            0 => self.any(),
            1 => self.any() & !(PAGE64 - 1),
            2 => u64::MAX - self.below(2 * PAGE64),
            3 => self.below(3 * PAGE64),
            4 => 1 << self.below(64),
            5 => PAGE64 << self.below(16),
            6..20 => PLACE >> self.below(10),
            _ => PAGE64 * (1 + self.below(20)),
        }
    }

    /// A GPU address: where something is, as a rule.
    pub fn va(&mut self) -> u64 {
        match self.below(64) {
            0 => self.any(),
            1 => SPACE - PAGE64 * self.below(3),
            2 => SPACE - (5 << 20) + PAGE64 * self.below(600),
            3 => PAGE64 * self.below(32),
            4 => u64::MAX << self.below(64),
            5..40 => BUFFERS_VA + PLACE * self.below(PLACES),
            _ => BUFFERS_VA + PAGE64 * self.below(PLACES * PLACE / PAGE64),
        }
    }

    pub fn domains(&mut self) -> u64 {
        self.flags(&[DOMAIN_VRAM, DOMAIN_GTT, DOMAIN_GTT, DOMAIN_CPU, DOMAIN_VRAM | DOMAIN_GTT])
    }

    /// An absolute time, soon.
    pub fn deadline(&mut self) -> u64 {
        match self.below(32) {
            0 => self.any(),
            1 => u64::MAX,
            2..16 => 0,
            n => now_ns().wrapping_add(1 << n),
        }
    }

    /// An address of the process: of memory that stays, that goes, that is not there.
    pub fn memory(&mut self) -> u64 {
        match self.below(24) {
            0 => 0,
            1 => 0x10,
            2 => 0xffff_8000_0000_0000,
            3 => self.arena.base() + u64_of(ARENA) - self.below(64),
            4..8 => self.user.0 + self.below(self.user.1),
            _ => self.arena.base() + u64_of(ARENA) / 2 + 8 * self.below(512),
        }
    }

    /// The address of an array: of `words`, as a rule.
    pub fn array(&mut self, words: &[u32]) -> u64 {
        if self.once_in(40) {
            return self.memory();
        }
        let end = self.once_in(6);
        self.arena.put(words, end)
    }

    /// The length of something: right, as a rule.
    pub fn len(&mut self, right: usize) -> u32 {
        match self.below(40) {
            0 => lo32(self.any()),
            1 => u32::MAX,
            2 => lo32(u64_of(right) + 1),
            3 => lo32(self.below(u64_of(right) + 1)),
            4 => 0x2000_0000 << self.below(3),
            _ => lo32(u64_of(right)),
        }
    }

    /// A range of the memory that comes and goes: whole pages.
    pub fn user_range(&mut self) -> (u64, u64) {
        let pages = self.user.1 / PAGE64;
        let first = self.below(pages);
        let count = match self.below(8) {
            0 => pages,
            1 => 512,
            _ => 1 + self.below(24),
        };
        (self.user.0 + first * PAGE64, count.min(pages - first) * PAGE64)
    }

    /// An index.
    pub fn index(&mut self, n: usize) -> usize {
        usize_of(self.below(u64_of(n)))
    }
}
