// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Contexts, submissions, and waits for them.

use super::{
    Addr,
    Handle,
    Ioctl,
    Pod,
    READ_WRITE,
    WRITE,
    driver,
    pod, //
};

/// CTX operations.
pub const CTX_OP_ALLOC: u32 = 1;
/// Gives a context back.
pub const CTX_OP_FREE: u32 = 2;
/// Reset state since the last query.
pub const CTX_OP_QUERY_STATE: u32 = 3;
/// Reset state as flags.
pub const CTX_OP_QUERY_STATE2: u32 = 4;
/// The power state that the card is held at.
pub const CTX_OP_GET_STABLE_PSTATE: u32 = 5;
/// Holds the card at a power state.
pub const CTX_OP_SET_STABLE_PSTATE: u32 = 6;

/// Power states: whatever the load asks for.
pub const STABLE_PSTATE_NONE: u32 = 0;
/// The highest one; there is none above.
pub const STABLE_PSTATE_PEAK: u32 = 4;

/// SCHED operations: changes the priority of all contexts of a file.
pub const SCHED_OP_PROCESS_PRIORITY: u32 = 1;
/// Changes the priority of one context of a file.
pub const SCHED_OP_CONTEXT_PRIORITY: u32 = 2;

/// FENCE_TO_HANDLE: a synchronization object.
pub const FENCE_TO_SYNCOBJ: u32 = 0;
/// FENCE_TO_HANDLE: a descriptor of a synchronization object.
pub const FENCE_TO_SYNCOBJ_FD: u32 = 1;
/// FENCE_TO_HANDLE: a descriptor of a sync file.
pub const FENCE_TO_SYNC_FILE_FD: u32 = 2;

/// Priority that is none.
pub const CTX_PRIORITY_UNSET: i32 = -2048;
/// Priority of background work.
pub const CTX_PRIORITY_LOW: i32 = -512;
/// Priority that needs no privilege.
pub const CTX_PRIORITY_NORMAL: i32 = 0;
/// Priority that needs `CAP_SYS_NICE`.
pub const CTX_PRIORITY_HIGH: i32 = 512;

/// Graphics.
pub const HW_IP_GFX: u32 = 0;
/// Compute.
pub const HW_IP_COMPUTE: u32 = 1;
/// SDMA.
pub const HW_IP_DMA: u32 = 2;
/// Video decode, which this hardware layer does not have.
pub const HW_IP_UVD: u32 = 3;
/// The first number that names no engine.
pub const HW_IP_NUM: u32 = 10;

/// An indirect buffer.
pub const CHUNK_ID_IB: u32 = 0x01;
/// Place of the user fence.
pub const CHUNK_ID_FENCE: u32 = 0x02;
/// Jobs to wait for.
pub const CHUNK_ID_DEPENDENCIES: u32 = 0x03;
/// Synchronization objects to wait for.
pub const CHUNK_ID_SYNCOBJ_IN: u32 = 0x04;
/// Synchronization objects that the job's fence goes into.
pub const CHUNK_ID_SYNCOBJ_OUT: u32 = 0x05;
/// A BO list given with the submission.
pub const CHUNK_ID_BO_HANDLES: u32 = 0x06;
/// Jobs whose start is waited for.
pub const CHUNK_ID_SCHEDULED_DEPENDENCIES: u32 = 0x07;
/// Points of timelines to wait for.
pub const CHUNK_ID_SYNCOBJ_TIMELINE_WAIT: u32 = 0x08;
/// Points of timelines that the job's fence becomes.
pub const CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL: u32 = 0x09;

/// Place at which the graphics engine keeps its state while it does something else (GFX11 and
/// later).
pub const CHUNK_ID_CP_GFX_SHADOW: u32 = 0x0a;

/// Run on the constant engine.
pub const IB_FLAG_CE: u32 = 1 << 0;
/// Make the shaders' caches see what was written before.
pub const IB_FLAG_EMIT_MEM_SYNC: u32 = 1 << 6;

/// May be interrupted for another.
pub const IB_FLAG_PREEMPT: u32 = 1 << 2;

/// `drm_amdgpu_ctx_in`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Ctx {
    pub op: u32,
    pub flags: u32,
    pub ctx_id: u32,
    pub priority: i32,
}

/// `drm_amdgpu_ctx_out`, the `state` member
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct CtxState {
    pub flags: u64,
    pub hangs: u32,
    pub reset_status: u32,
}

/// `drm_amdgpu_cs_chunk`; `length_dw` counts 32-bit words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Chunk<'a> {
    pub chunk_id: u32,
    pub length_dw: u32,
    pub chunk_data: Addr<'a>,
}

impl<'a> Chunk<'a> {
    /// A chunk that holds `values`, and nothing else.
    pub fn of<T: Pod>(chunk_id: u32, values: &'a [T]) -> Self {
        Self {
            chunk_id,
            length_dw: crate::num::u32_of(size_of_val(values) / 4),
            chunk_data: Addr::of(values),
        }
    }
}

/// `drm_amdgpu_cs_in`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Cs<'a> {
    pub ctx_id: u32,
    pub bo_list_handle: u32,
    pub num_chunks: u32,
    pub flags: u32,
    pub chunks: Addr<'a>,
}

/// `drm_amdgpu_cs_chunk_sem`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkSem {
    pub handle: u32,
}

/// `drm_amdgpu_cs_chunk_syncobj`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkSyncobj {
    pub handle: u32,
    pub flags: u32,
    pub point: u64,
}

/// `drm_amdgpu_cs_chunk_ib`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkIb {
    pub pad: u32,
    pub flags: u32,
    pub va_start: u64,
    pub ib_bytes: u32,
    pub ip_type: u32,
    pub ip_instance: u32,
    pub ring: u32,
}

/// `drm_amdgpu_cs_chunk_fence`; `offset` in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkFence {
    pub handle: u32,
    pub offset: u32,
}

/// `drm_amdgpu_cs_chunk_dep`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkDep {
    pub ip_type: u32,
    pub ip_instance: u32,
    pub ring: u32,
    pub ctx_id: u32,
    pub handle: u64,
}

/// `drm_amdgpu_wait_cs_in`; `timeout` is absolute, on the monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct WaitCs {
    pub handle: u64,
    pub timeout: u64,
    pub ip_type: u32,
    pub ip_instance: u32,
    pub ring: u32,
    pub ctx_id: u32,
}

/// `drm_amdgpu_cs_chunk_cp_gfx_shadow`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ChunkShadow {
    pub shadow_va: u64,
    pub csa_va: u64,
    pub gds_va: u64,
    pub flags: u64,
}

/// `drm_amdgpu_fence`: a submission, by its number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Fence {
    pub ctx_id: u32,
    pub ip_type: u32,
    pub ip_instance: u32,
    pub ring: u32,
    pub seq_no: u64,
}

/// `drm_amdgpu_wait_fences_in`; `timeout_ns` is absolute, on the monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct WaitFences<'a> {
    pub fences: Addr<'a>,
    pub fence_count: u32,
    pub wait_all: u32,
    pub timeout_ns: u64,
}

/// `drm_amdgpu_wait_fences_out`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct WaitFencesOut {
    /// 1 when what was waited for has come.
    pub status: u32,
    pub first_signaled: u32,
}

/// `drm_amdgpu_fence_to_handle`, what goes in
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct FenceToHandle {
    pub fence: Fence,
    pub what: u32,
    pub pad: u32,
}

/// `drm_amdgpu_sched_in`; `fd` is a file descriptor, or no such thing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Sched {
    pub op: u32,
    pub fd: u32,
    pub priority: i32,
    pub ctx_id: u32,
}

pod! {
    Ctx = 16, CtxState = 16, Chunk<'a> = 16, Cs<'a> = 24, ChunkIb = 32, ChunkSem = 4,
    ChunkSyncobj = 16, ChunkFence = 8, ChunkDep = 24, WaitCs = 32, ChunkShadow = 32, Fence = 24,
    WaitFences<'a> = 24, WaitFencesOut = 8, FenceToHandle = 32, Sched = 16,
}

/// CTX, when a context ID comes out.
pub const CTX: Ioctl<Ctx, Handle> = driver(READ_WRITE, 0x02, "CTX");
/// CTX, when a state comes out.
pub const CTX_QUERY: Ioctl<Ctx, CtxState> = driver(READ_WRITE, 0x02, "CTX");
/// CS: the sequence number comes out.
pub const CS: Ioctl<Cs<'_>, u64> = driver(READ_WRITE, 0x04, "CS");
/// WAIT_CS: 0 done, 1 still busy.
pub const WAIT_CS: Ioctl<WaitCs, u64> = driver(READ_WRITE, 0x09, "WAIT_CS");
/// WAIT_FENCES
pub const WAIT_FENCES: Ioctl<WaitFences<'_>, WaitFencesOut> =
    driver(READ_WRITE, 0x12, "WAIT_FENCES");
/// FENCE_TO_HANDLE: a handle or a descriptor comes out.
pub const FENCE_TO_HANDLE: Ioctl<FenceToHandle, u32> = driver(READ_WRITE, 0x14, "FENCE_TO_HANDLE");
/// SCHED: nothing comes out.
pub const SCHED: Ioctl<Sched, ()> = driver(WRITE, 0x15, "SCHED");
