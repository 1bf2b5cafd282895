// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A BO as one file has it.

use amdgpu_client::drm::{
    File,
    IoMap,
    MapKind, //
};
use amdgpu_client::engine::Engine;
use amdgpu_client::ib::Stream;
use amdgpu_client::num::{
    u64_of,
    usize_of, //
};
use amdgpu_client::session::{
    PATIENCE_MS,
    Session, //
};
use amdgpu_client::uapi::{
    DOMAIN_CPU,
    VA_OP_MAP, //
};
use amdgpu_client::{
    PAGE,
    Result, //
};
use std::os::fd::OwnedFd;

/// Bytes of the buffers.
pub const SIZE: u64 = 16 * u64_of(PAGE);
/// Place in a buffer of the word that goes from one to the other: not in its first page.
pub const PLACE: usize = 5 * PAGE + 0x404;
/// And where in the session's page of data a job puts it.
const WORD: usize = 0x100;

/// The engine of jobs.
pub const ENGINE: Engine = Engine::Dma(1);

/// A BO that is mapped for the GPU.
pub struct View<'s> {
    pub session: &'s Session,
    pub handle: u32,
    va: u64,
}

/// Names the step that an error came from.
pub fn at<T>(what: &str, result: Result<T>) -> std::result::Result<T, String> {
    result.map_err(|e| format!("{what}: {e}"))
}

pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> std::result::Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl<'s> View<'s> {
    pub fn create(session: &'s Session, domain: u64) -> std::result::Result<Self, String> {
        let handle = at("GEM_CREATE", session.file.gem_create(SIZE, domain, 0))?;
        Self::of(session, handle)
    }

    /// The BO of a DMA buffer.
    pub fn import(session: &'s Session, buffer: &OwnedFd) -> std::result::Result<Self, String> {
        let handle = at("PRIME_FD_TO_HANDLE", session.file.import(buffer))?;
        Self::of(session, handle)
    }

    fn of(session: &'s Session, handle: u32) -> std::result::Result<Self, String> {
        let va = session.reserve_va(SIZE);
        at("GEM_VA", session.file.gem_va(VA_OP_MAP, handle, va, 0, SIZE))?;
        Ok(Self { session, handle, va })
    }

    pub fn export(&self) -> std::result::Result<OwnedFd, String> {
        at("PRIME_HANDLE_TO_FD", self.session.file.export(self.handle))
    }

    pub fn map(&self) -> std::result::Result<IoMap, String> {
        at("GEM_MMAP", self.session.file.map(self.handle, SIZE))
    }

    /// Appends a store to the word.
    pub fn store(&self, stream: &mut Stream, value: u32) {
        self.store_by(ENGINE, stream, value);
    }

    /// Appends a store to the word, by an engine of the caller's choice.
    pub fn store_by(&self, engine: Engine, stream: &mut Stream, value: u32) {
        stream.store(engine, self.va + u64_of(PLACE), value);
    }

    /// Has a job write the word.
    pub fn write(&self, value: u32) -> std::result::Result<(), String> {
        let mut stream = Stream::new();
        self.store(&mut stream, value);
        self.session.run(ENGINE, &stream, &[self.handle])
    }

    /// Submits a job that reads the word.
    pub fn begin_read(&self) -> std::result::Result<u64, String> {
        let mut stream = Stream::new();
        let data = &self.session.data;
        data.map.write(WORD, 0);
        stream.copy(ENGINE, self.va + u64_of(PLACE), data.va + u64_of(WORD), 4);
        at("CS", self.session.submit(ENGINE, &stream, &[self.handle]))
    }

    /// Returns the word that the job has read.
    pub fn end_read(&self, job: u64) -> std::result::Result<u32, String> {
        let done = at("WAIT_CS", self.session.wait(ENGINE, job, PATIENCE_MS))?;
        expect(done, || "a job that reads does not end".into())?;
        Ok(self.session.data.map.read(WORD))
    }

    /// Has a job read the word.
    pub fn read(&self) -> std::result::Result<u32, String> {
        let job = self.begin_read()?;
        self.end_read(job)
    }

    /// Has a job read the word, and expects this.
    pub fn expect(&self, value: u32) -> std::result::Result<(), String> {
        let seen = self.read()?;
        expect(seen == value, || format!("a job read {seen:#x}, not {value:#x}"))
    }

    /// Has the driver move the BO to another domain, by way of memory that no device reaches.
    pub fn move_to(&self, domain: u64) -> std::result::Result<(), String> {
        for domain in [DOMAIN_CPU, domain] {
            at("SET_PLACEMENT", self.session.file.set_placement(self.handle, domain))?;
            self.session.run(ENGINE, &Stream::new(), &[self.handle])?;
        }
        Ok(())
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // The device may be gone.
        let _ = self.session.file.gem_close(self.handle);
    }
}

/// Maps a DMA buffer itself.
pub fn map_buffer(buffer: &OwnedFd) -> std::result::Result<IoMap, String> {
    let again = buffer.try_clone().map_err(|e| format!("dup: {e}"))?;
    at("mmap", IoMap::new(&File::from_fd(again), 0, usize_of(SIZE), MapKind::Shared))
}
