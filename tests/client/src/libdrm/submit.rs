// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Contexts, and what is submitted to them.

use std::{
    ffi::c_int,
    os::fd::{
        FromRawFd,
        OwnedFd,
        RawFd, //
    },
    ptr, //
};

use super::{
    Bo,
    BoList,
    CpuMap,
    Device,
    GpuMap,
    RawList,
    ffi::{
        CsFence,
        CsRequest,
        FenceInfo,
        IbInfo,
        object, //
    }, //
};
use crate::{
    Errno,
    Result,
    drm,
    engine::Engine,
    ib::{
        START_ALIGN,
        Stream, //
    },
    num::{
        u32_of,
        u64_of, //
    },
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT, //
    }, //
};

/// A context: an order of jobs for each ring.
pub struct Context<'d> {
    pub(super) device: &'d Device,
    pub(super) raw: *mut object::Context,
}

/// A command buffer in GPU memory.
#[derive(Clone, Copy, Debug)]
pub struct Ib {
    /// GPU address.
    pub va: u64,
    /// 32-bit words.
    pub words: u32,
    /// IB_FLAG_*.
    pub flags: u32,
}

impl Ib {
    fn chunk_body(self, engine: Engine) -> uapi::ChunkIb {
        uapi::ChunkIb {
            flags: self.flags,
            va_start: self.va,
            ib_bytes: self.words * 4,
            ip_type: engine.ip_type(),
            ring: engine.ring(),
            ..Default::default()
        }
    }
}

/// Place to which the GPU writes a job's sequence number when the job is done.
#[derive(Clone, Copy)]
pub struct UserFence<'a, 'd> {
    /// One page.
    pub bo: &'a Bo<'d>,
    /// In 64-bit words.
    pub index: u64,
}

impl Context<'_> {
    /// `amdgpu_cs_submit`: one job with a BO list.
    ///
    /// # Errors
    ///
    /// The kernel's; but the library goes round again on EAGAIN and EINTR.
    pub fn submit(
        &self,
        engine: Engine,
        list: &BoList<'_>,
        ibs: &[Ib],
        fence: Option<UserFence<'_, '_>>,
    ) -> Result<Fence<'_>> {
        let mut infos: Vec<_> = ibs
            .iter()
            .map(|ib| IbInfo { flags: ib.flags.into(), ib_mc_address: ib.va, size: ib.words })
            .collect();
        let mut request = CsRequest {
            flags: 0,
            ip_type: engine.ip_type(),
            ip_instance: 0,
            ring: engine.ring(),
            resources: list.raw,
            number_of_dependencies: 0,
            dependencies: ptr::null_mut(),
            number_of_ibs: u32_of(infos.len()),
            ibs: infos.as_mut_ptr(),
            seq_no: 0,
            fence_info: FenceInfo {
                handle: fence.map_or(ptr::null_mut(), |f| f.bo.raw),
                offset: fence.map_or(0, |f| f.index),
            },
        };
        // SAFETY: a live context, one request, whose list, IBs and fence BO are alive.
        let code = unsafe { (self.device.api.amdgpu_cs_submit)(self.raw, 0, &raw mut request, 1) };
        Errno::check(code)?;
        Ok(Fence { context: self, engine, seq: request.seq_no })
    }

    /// `amdgpu_cs_submit_raw2`: one job with a BO_HANDLES chunk, as Mesa submits.
    ///
    /// # Errors
    ///
    /// As [`Context::submit`].
    pub fn submit_handles(&self, engine: Engine, handles: &[u32], ib: Ib) -> Result<Fence<'_>> {
        let entries = drm::list_entries(handles);
        let list = [drm::list_request(&entries)];
        let ibs = [ib.chunk_body(engine)];
        let mut chunks =
            [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ibs)];
        self.submit_chunks(engine, 0, &mut chunks)
    }

    /// `amdgpu_cs_submit_raw2`: one job with a BO list made from handles.
    ///
    /// # Errors
    ///
    /// As [`Context::submit`].
    pub fn submit_raw(&self, engine: Engine, list: &RawList<'_>, ib: Ib) -> Result<Fence<'_>> {
        let ibs = [ib.chunk_body(engine)];
        self.submit_chunks(engine, list.handle, &mut [Chunk::of(uapi::CHUNK_ID_IB, &ibs)])
    }

    fn submit_chunks(
        &self,
        engine: Engine,
        list: u32,
        chunks: &mut [Chunk<'_>],
    ) -> Result<Fence<'_>> {
        let count = c_int::try_from(chunks.len()).map_err(|_| Errno(libc::EINVAL))?;
        let (mut seq, at) = (0, chunks.as_mut_ptr().cast());
        // SAFETY: a live device and context, and as many chunks as said, whose bodies they borrow.
        let code = unsafe {
            let submit = self.device.api.amdgpu_cs_submit_raw2;
            submit(self.device.raw, self.raw, list, count, at, &raw mut seq)
        };
        Errno::check(code)?;
        Ok(Fence { context: self, engine, seq })
    }

    /// `amdgpu_cs_submit_raw2`: a gang, one job on each of several engines, of which the last
    /// leads.
    ///
    /// # Errors
    ///
    /// As [`Context::submit`].
    pub fn submit_gang(&self, handles: &[u32], members: &[(Engine, Ib)]) -> Result<Fence<'_>> {
        let entries = drm::list_entries(handles);
        let list = [drm::list_request(&entries)];
        let ibs: Vec<_> = members.iter().map(|(engine, ib)| [ib.chunk_body(*engine)]).collect();
        let mut chunks = vec![Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list)];
        chunks.extend(ibs.iter().map(|ib| Chunk::of(uapi::CHUNK_ID_IB, ib)));
        let (leader, _) = members.last().ok_or(Errno(libc::EINVAL))?;
        self.submit_chunks(*leader, 0, &mut chunks)
    }

    /// Reset status and number of hangs, from the older query, and flags from the newer.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn reset_state(&self) -> Result<(u32, u32, u64)> {
        let (mut state, mut hangs, mut flags) = (0, 0, 0);
        let api = self.device.api;
        // SAFETY: a live context and places to write.
        Errno::check(unsafe {
            (api.amdgpu_cs_query_reset_state)(self.raw, &raw mut state, &raw mut hangs)
        })?;
        // SAFETY: as above.
        Errno::check(unsafe { (api.amdgpu_cs_query_reset_state2)(self.raw, &raw mut flags) })?;
        Ok((state, hangs, flags))
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: fences borrow the context, so none is left.
        unsafe { (self.device.api.amdgpu_cs_ctx_free)(self.raw) };
    }
}

/// A job that was submitted.
pub struct Fence<'c> {
    context: &'c Context<'c>,
    engine: Engine,
    /// Its number, which the user fence will show.
    pub seq: u64,
}

/// Waits for all of some jobs, or for the first of them; its index, or `None` when the time
/// (nanoseconds from now) is over first.
///
/// # Errors
///
/// The kernel's, or the error with which a job ended.
pub fn wait_several(fences: &[&Fence<'_>], all: bool, timeout_ns: u64) -> Result<Option<usize>> {
    let api = fences.first().ok_or(Errno(libc::EINVAL))?.context.device.api;
    let mut raw: Vec<_> = fences.iter().map(|fence| fence.raw()).collect();
    let (mut status, mut first) = (0, 0);
    let (at, count) = (raw.as_mut_ptr(), u32_of(raw.len()));
    // SAFETY: as many fences of live contexts as said, and two places for the result.
    let code = unsafe {
        (api.amdgpu_cs_wait_fences)(at, count, all, timeout_ns, &raw mut status, &raw mut first)
    };
    Errno::check(code)?;
    Ok((status != 0).then(|| crate::num::usize_of(first.into())))
}

impl Fence<'_> {
    const fn raw(&self) -> CsFence {
        CsFence {
            context: self.context.raw,
            ip_type: self.engine.ip_type(),
            ip_instance: 0,
            ring: self.engine.ring(),
            fence: self.seq,
        }
    }

    /// A sync file of the job's fence.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn sync_file(&self) -> Result<OwnedFd> {
        let (device, mut raw, mut fd) = (self.context.device, self.raw(), 0);
        // SAFETY: a fence of a live context and a place for the result.
        let code = unsafe {
            let convert = device.api.amdgpu_cs_fence_to_handle;
            convert(device.raw, &raw mut raw, uapi::FENCE_TO_SYNC_FILE_FD, &raw mut fd)
        };
        Errno::check(code)?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno(libc::EBADF))?;
        // SAFETY: the kernel has just made it, and told nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Waits through the kernel; false when the time (nanoseconds from now) is over first.
    ///
    /// # Errors
    ///
    /// The kernel's, or the error with which the job ended.
    pub fn wait(&self, timeout_ns: u64) -> Result<bool> {
        let mut fence = self.raw();
        let mut expired = 0;
        // SAFETY: a fence of a live context and a place for the result.
        let code = unsafe {
            let query = self.context.device.api.amdgpu_cs_query_fence_status;
            query(&raw mut fence, timeout_ns, 0, &raw mut expired)
        };
        Errno::check(code)?;
        Ok(expired != 0)
    }
}

/// A GTT BO that holds command buffers, one behind the other.
pub struct IbPool<'b, 'd> {
    cpu: CpuMap<'b, 'd>,
    gpu: GpuMap<'b, 'd>,
    used: usize,
}

impl<'b, 'd> IbPool<'b, 'd> {
    /// A BO to be given to [`IbPool::new`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bo(device: &'d Device, bytes: usize) -> Result<Bo<'d>> {
        device.alloc(bytes.next_multiple_of(crate::PAGE), DOMAIN_GTT, 0)
    }

    /// An empty pool.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new(bo: &'b Bo<'d>) -> Result<Self> {
        Ok(Self { cpu: bo.map_cpu()?, gpu: bo.map_gpu()?, used: 0 })
    }

    /// Writes a command buffer behind those that are there.
    ///
    /// # Panics
    ///
    /// When the BO is full.
    pub fn place(&mut self, engine: Engine, stream: &Stream) -> Ib {
        let words = stream.padded(engine);
        let at = self.used;
        assert!(at + words.len() * 4 <= self.cpu.len(), "the command buffers do not fit their BO");
        self.cpu.copy_in(at, &words);
        self.used = (at + words.len() * 4).next_multiple_of(START_ALIGN);
        Ib { va: self.gpu.va + u64_of(at), words: u32_of(words.len()), flags: 0 }
    }

    /// Forgets all command buffers; they must have run.
    pub const fn clear(&mut self) {
        self.used = 0;
    }
}

/// Waits for a job, and says in words what went wrong.
///
/// # Errors
///
/// A timeout, or the kernel's error.
pub fn finish(fence: &Fence<'_>) -> std::result::Result<(), String> {
    let ms = crate::session::PATIENCE_MS;
    match fence.wait(ms * 1_000_000) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("job {} on {} not done after {ms} ms", fence.seq, fence.engine)),
        Err(e) => Err(format!("waiting for job {} on {}: {e}", fence.seq, fence.engine)),
    }
}
