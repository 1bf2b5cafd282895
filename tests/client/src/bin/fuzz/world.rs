// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The world that the threads of a process share: two files of the device, other descriptors,
//! mappings, and memory that comes and goes. Any thread may take any of it away from the others at
//! any time.

use std::{
    os::fd::{
        IntoRawFd,
        RawFd, //
    },
    sync::atomic::{
        AtomicI32,
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        File,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    num::{
        u64_of,
        usize_of, //
    },
    pm4,
    rng::Rng,
    sdma,
    uapi::{
        self,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        VA_OP_MAP, //
    }, //
};

use crate::pick::{
    BUFFERS_VA,
    PLACE,
    STREAM,
    STREAMS,
    STREAMS_VA, //
};

/// Bytes of memory that comes and goes.
pub const USER: u64 = 6 << 20;
/// Bytes of a BO that are mapped at once.
pub const MAPPED: usize = 16 * PAGE;
const FDS: usize = 24;
const MAPS: usize = 8;

/// All that is shared. A descriptor is -1, and an address 0, where there is none.
pub struct World {
    node: Node,
    files: [AtomicI32; 2],
    fds: [AtomicI32; FDS],
    maps: [AtomicU64; MAPS],
    pub user: u64,
    /// One of so many jobs hangs its engine; 0: none does.
    pub hangs: u64,
}

impl World {
    pub fn new(node: &Node, seed: u64, hangs: u64) -> Result<Self> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, at an address of the kernel's choice, disturbs nothing.
        let user = unsafe { libc::mmap(std::ptr::null_mut(), usize_of(USER), prot, flags, -1, 0) };
        if user == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let world = Self {
            node: node.clone(),
            files: [const { AtomicI32::new(-1) }; 2],
            fds: [const { AtomicI32::new(-1) }; FDS],
            maps: [const { AtomicU64::new(0) }; MAPS],
            user: u64_of(user.expose_provenance()),
            hangs,
        };
        let mut rng = Rng::new(seed);
        for index in 0..world.files.len() {
            world.reopen(index, &mut rng)?;
        }
        Ok(world)
    }

    /// The descriptor of a file of the device.
    pub fn file(&self, index: usize) -> RawFd {
        self.files[index % self.files.len()].load(Relaxed)
    }

    /// Any other descriptor.
    pub fn fd(&self, index: usize) -> RawFd {
        self.fds[index % FDS].load(Relaxed)
    }

    /// Keeps a descriptor, in place of another.
    pub fn keep_fd(&self, index: usize, fd: RawFd) {
        close(self.fds[index % FDS].swap(fd, Relaxed));
    }

    /// Any mapping of a BO.
    pub fn map(&self, index: usize) -> u64 {
        self.maps[index % MAPS].load(Relaxed)
    }

    /// Keeps a mapping of [`MAPPED`] bytes, in place of another.
    pub fn keep_map(&self, index: usize, at: u64) {
        let old = self.maps[index % MAPS].swap(at, Relaxed);
        if old != 0 {
            // SAFETY: a mapping that nobody has borrowed anything of.
            unsafe { libc::munmap(pointer(old), MAPPED) };
        }
    }

    /// Opens a file anew, with all that a job needs, and closes the one before.
    pub fn reopen(&self, index: usize, rng: &mut Rng) -> Result {
        let file = self.node.open()?;
        let furnished = self.furnish(&file, rng);
        let fd = file.into_fd().into_raw_fd();
        close(self.files[index % self.files.len()].swap(fd, Relaxed));
        furnished
    }

    /// Makes the objects with the lowest numbers. Other threads do not know of the file yet.
    fn furnish(&self, file: &File, rng: &mut Rng) -> Result {
        let streams = 2 * STREAM * STREAMS;
        let handle = file.gem_create(streams, DOMAIN_GTT, 0)?;
        file.gem_va(VA_OP_MAP, handle, STREAMS_VA, 0, streams)?;
        let map = file.map(handle, streams)?;
        for (engine, first) in [(Engine::Dma(0), 0), (Engine::Gfx, STREAMS)] {
            for at in 0..STREAMS {
                let mut stream = Stream::new();
                fill(&mut stream, engine, at, rng);
                let mut words = stream.padded(engine);
                words.resize(
                    usize_of(STREAM) / 4,
                    if engine.is_dma() { sdma::NOP } else { pm4::NOP },
                );
                map.copy_in(usize_of((first + at) * STREAM), &words);
            }
        }
        for place in 0..12 {
            let domain = [DOMAIN_GTT, DOMAIN_VRAM][usize_of(place) % 2];
            let size = if place < 3 { PLACE } else { 16 * u64_of(PAGE) };
            let handle = file.gem_create(size, domain, 0)?;
            file.gem_va(VA_OP_MAP, handle, BUFFERS_VA + PLACE * place, 0, size)?;
        }
        for place in 0..3 {
            let flags = uapi::USERPTR_REGISTER | uapi::USERPTR_ANONONLY;
            let at = self.user + place * (USER / 3);
            let handle = file.gem_userptr(at, 32 * u64_of(PAGE), flags)?;
            file.gem_va(
                VA_OP_MAP,
                handle,
                BUFFERS_VA + PLACE * (12 + place),
                0,
                32 * u64_of(PAGE),
            )?;
        }
        for _ in 0..3 {
            file.ctx_alloc()?;
            file.syncobj_create()?;
            file.bo_list(&[1, 2, 3, 4, 14])?;
        }
        Ok(())
    }
}

/// The stream with a number: the first does nothing, the last waits for what never comes.
fn fill(stream: &mut Stream, engine: Engine, number: u64, rng: &mut Rng) {
    let mut place = || BUFFERS_VA + PLACE * (rng.next() % 20);
    if number == STREAMS - 1 {
        stream.wait_equal(engine, STREAMS_VA, 0xdead_0000);
        return;
    }
    for _ in 0..number.min(6) {
        let (src, dst) = (place(), place());
        if number.is_multiple_of(3) {
            stream.copy(engine, src, dst, u64_of(PAGE) << (number % 4));
        } else {
            stream.store(engine, dst + 8 * number, 0xf1f1_f1f1);
        }
    }
}

/// Closes a descriptor, if there is one.
pub fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: a descriptor that was taken out of where others find it.
        unsafe { libc::close(fd) };
    }
}

/// An address as the C library takes it.
pub fn pointer(at: u64) -> *mut libc::c_void {
    std::ptr::with_exposed_provenance_mut(usize_of(at))
}
