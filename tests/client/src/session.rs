// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A DRM file that is ready to give the GPU work, made of raw ioctls: a context, a BO for command
//! buffers, and a page of results. The conformance cases start from one that is whole and break
//! one thing in it; another one shows, after each case, that the device still works.

use std::cell::Cell;

use crate::{
    Errno,
    PAGE,
    Result,
    drm::{
        self,
        File,
        IoMap,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    num::{
        u32_of,
        u64_of, //
    },
    uapi::{
        self,
        Chunk, //
    }, //
};

/// A BO that both sides have mapped.
#[derive(Debug)]
pub struct Buffer {
    /// GEM handle.
    pub handle: u32,
    /// GPU address.
    pub va: u64,
    /// Bytes.
    pub size: u64,
    /// The CPU's view.
    pub map: IoMap,
}

/// Milliseconds that a job may take before the device counts as hung. Software emulation of the
/// machine makes everything slow.
pub const PATIENCE_MS: u64 = 20_000;

/// A file, a context, and a little memory.
#[derive(Debug)]
pub struct Session {
    /// The open DRM file.
    pub file: File,
    /// Its context.
    pub ctx: u32,
    /// Buffer of commands.
    pub ib: Buffer,
    /// Buffer of small results.
    pub data: Buffer,
    next_va: Cell<u64>,
    ticks: Cell<u32>,
}

impl Session {
    /// Opens the node and makes everything that a submission needs.
    ///
    /// # Errors
    ///
    /// The first ioctl that failed.
    pub fn open(node: &Node) -> Result<Self> {
        Self::on(node.open()?, drm::VA_START)
    }

    /// The same in an open file, with GPU addresses from `first_va` on.
    ///
    /// # Errors
    ///
    /// The first ioctl that failed.
    pub fn on(file: File, first_va: u64) -> Result<Self> {
        let ctx = file.ctx_alloc()?;
        let next_va = Cell::new(first_va);
        let gtt = |size| buffer(&file, &next_va, size, uapi::DOMAIN_GTT, 0);
        let (ib, data) = (gtt(16 * u64_of(PAGE))?, gtt(u64_of(PAGE))?);
        Ok(Self { file, ctx, ib, data, next_va, ticks: Cell::new(0) })
    }

    /// A new BO, mapped for both sides.
    ///
    /// # Errors
    ///
    /// The first ioctl that failed.
    pub fn buffer(&self, size: u64, domain: u64, flags: u64) -> Result<Buffer> {
        buffer(&self.file, &self.next_va, size, domain, flags)
    }

    /// Another session in the same open file, so of the same GPU address space: for another thread.
    ///
    /// # Errors
    ///
    /// The first ioctl that failed.
    pub fn another(&self) -> Result<Self> {
        /// More than a session of a test uses.
        const ROOM: u64 = 1 << 32;
        Self::on(self.file.again()?, self.reserve_va(ROOM))
    }

    /// A GPU address range that nothing uses.
    pub fn reserve_va(&self, size: u64) -> u64 {
        reserve(&self.next_va, size)
    }

    /// The IB chunk's body for eight no-operations on `engine`, freshly written.
    pub fn nop_ib(&self, engine: Engine) -> uapi::ChunkIb {
        self.place_ib(engine, &Stream::new())
    }

    /// Puts a stream into the command buffer and describes it. The one before it is overwritten,
    /// so it must have run.
    pub fn place_ib(&self, engine: Engine, stream: &Stream) -> uapi::ChunkIb {
        self.place_ib_at(0, engine, stream)
    }

    /// As [`Session::place_ib`], at an offset in the command buffer, a multiple of
    /// [`START_ALIGN`](crate::ib::START_ALIGN): for several jobs at once.
    pub fn place_ib_at(&self, at: usize, engine: Engine, stream: &Stream) -> uapi::ChunkIb {
        let words = stream.padded(engine);
        self.ib.map.copy_in(at, &words);
        uapi::ChunkIb {
            va_start: self.ib.va + u64_of(at),
            ib_bytes: u32_of(words.len() * 4),
            ip_type: engine.ip_type(),
            ring: engine.ring(),
            ..Default::default()
        }
    }

    /// Submits a stream with a BO_HANDLES chunk that names the session's own BOs and `others`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn submit(&self, engine: Engine, stream: &Stream, others: &[u32]) -> Result<u64> {
        let ib = [self.place_ib(engine, stream)];
        let handles: Vec<_> =
            [self.ib.handle, self.data.handle].into_iter().chain(others.iter().copied()).collect();
        let entries = drm::list_entries(&handles);
        let list = [drm::list_request(&entries)];
        let chunks =
            [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
        self.file.cs(self.ctx, 0, &chunks)
    }

    /// Submits a stream with a BO list made before, which names the session's own BOs too.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn submit_listed(&self, engine: Engine, stream: &Stream, list: u32) -> Result<u64> {
        let ib = [self.place_ib(engine, stream)];
        self.file.cs(self.ctx, list, &[Chunk::of(uapi::CHUNK_ID_IB, &ib)])
    }

    /// Waits for a submission; false when the time is over first.
    ///
    /// # Errors
    ///
    /// The kernel's, or the error with which the job ended.
    pub fn wait(&self, engine: Engine, seq: u64, ms: u64) -> Result<bool> {
        let request = uapi::WaitCs {
            handle: seq,
            timeout: drm::deadline_ms(ms),
            ip_type: engine.ip_type(),
            ip_instance: 0,
            ring: engine.ring(),
            ctx_id: self.ctx,
        };
        self.file.call(uapi::WAIT_CS, &request).map(|status| status == 0)
    }

    /// Submits, and goes round again on EAGAIN, as libdrm does: so the C driver says that user
    /// memory changed since it was gathered.
    ///
    /// # Errors
    ///
    /// As text, with what was being done.
    pub fn submit_again(
        &self,
        engine: Engine,
        stream: &Stream,
        others: &[u32],
    ) -> std::result::Result<u64, String> {
        const TRIES: usize = 1000;
        for _ in 0..TRIES {
            match self.submit(engine, stream, others) {
                Err(Errno(libc::EAGAIN)) => {}
                answer => return answer.map_err(|e| format!("CS on {engine}: {e}")),
            }
        }
        Err(format!("CS on {engine}: {TRIES} times EAGAIN"))
    }

    /// Submits a stream and waits for it.
    ///
    /// # Errors
    ///
    /// As text, with what was being done.
    pub fn run(
        &self,
        engine: Engine,
        stream: &Stream,
        others: &[u32],
    ) -> std::result::Result<(), String> {
        let seq = self.submit_again(engine, stream, others)?;
        match self.wait(engine, seq, PATIENCE_MS) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("job {seq} on {engine} not done after {PATIENCE_MS} ms")),
            Err(e) => Err(format!("WAIT_CS on {engine}: {e}")),
        }
    }

    /// Shows that the device still does what it is told: `engine` writes a number that was never
    /// written before, and the CPU finds it.
    ///
    /// # Errors
    ///
    /// As text, with what did not happen.
    pub fn prove_alive(&self, engine: Engine) -> std::result::Result<(), String> {
        let tick = self.ticks.get() + 1;
        self.ticks.set(tick);
        let value = 0x5eed_0000 ^ tick;
        let mut stream = Stream::new();
        stream.store(engine, self.data.va, value);
        self.run(engine, &stream, &[])?;
        match self.data.map.read(0) {
            seen if seen == value => Ok(()),
            seen => Err(format!("{engine} should have written {value:#x}, memory has {seen:#x}")),
        }
    }

    /// Bytes of VRAM and of GTT that the whole device has in use.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn usage(&self) -> Result<(u64, u64)> {
        let memory: uapi::Memory = self.file.info(uapi::INFO_MEMORY, [0; 4])?;
        Ok((memory.vram.heap_usage, memory.gtt.heap_usage))
    }
}

fn reserve(next: &Cell<u64>, size: u64) -> u64 {
    /// Keeps neighbors in different page tables apart by a guard page, and 64 KiB aligned.
    const ALIGN: u64 = 0x1_0000;
    let va = next.get();
    next.set((va + size + 1).next_multiple_of(ALIGN));
    va
}

fn buffer(file: &File, next: &Cell<u64>, size: u64, domain: u64, flags: u64) -> Result<Buffer> {
    if !size.is_multiple_of(u64_of(PAGE)) {
        return Err(Errno(libc::EINVAL));
    }
    let handle = file.gem_create(size, domain, flags)?;
    let va = reserve(next, size);
    file.gem_va(uapi::VA_OP_MAP, handle, va, 0, size)?;
    let map = file.map(handle, size)?;
    Ok(Buffer { handle, va, size, map })
}
