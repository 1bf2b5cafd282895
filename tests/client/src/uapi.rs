// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel interface as numbers and structures, after `include/uapi/drm/amdgpu_drm.h` and
//! `include/uapi/drm/drm.h` of Linux 7.3. Names are the header's, without its prefixes.
//!
//! A structure that holds a user address holds it as an [`Addr`], which can only be made from
//! something that is alive, or from an address that no process ever maps: so a hostile structure
//! can be built in safe code, and cannot make the kernel write where Rust does not expect it.

use std::marker::PhantomData;

/// Data that the kernel may read or write byte by byte.
///
/// # Safety
///
/// The type must be `repr(C)`, have no padding, and be valid for every bit pattern.
pub unsafe trait Pod: Copy {}

// SAFETY: integers have no padding and no invalid values.
unsafe impl Pod for u8 {}
// SAFETY: as above.
unsafe impl Pod for u32 {}
// SAFETY: as above.
unsafe impl Pod for u64 {}
// SAFETY: the empty answer.
unsafe impl Pod for () {}
// SAFETY: an array has no padding between its elements.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// Marks a structure as [`Pod`] after checking that its size is the header's, and so that the
/// fields leave no padding.
macro_rules! pod {
    ($($name:ident $(<$lt:lifetime>)? = $size:literal),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: `repr(C)`, integers only; the size, the sum of the fields', is checked above.
        unsafe impl $(<$lt>)? Pod for $name $(<$lt>)? {}
    )+};
}

/// A user address handed to the kernel, which outlives the call it is handed to.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Addr<'a>(u64, PhantomData<&'a ()>);

impl<'a> Addr<'a> {
    /// The null pointer.
    pub const NULL: Self = Self(0, PhantomData);
    /// An address below `vm.mmap_min_addr`, at which nothing can be mapped.
    pub const UNMAPPED: Self = Self(0x10, PhantomData);
    /// An address in the kernel's half.
    pub const KERNEL: Self = Self(0xffff_8000_0000_0000, PhantomData);

    /// Where the kernel may read `values`.
    pub fn of<T: Pod>(values: &'a [T]) -> Self {
        Self(values.as_ptr().expose_provenance() as u64, PhantomData)
    }

    /// Where the kernel may write `values`.
    pub fn of_mut<T: Pod>(values: &'a mut [T]) -> Self {
        Self(values.as_mut_ptr().expose_provenance() as u64, PhantomData)
    }

    /// Where the kernel may read an array of chunk headers.
    pub fn of_chunks(chunks: &'a [Chunk<'a>]) -> Vec<Addr<'a>> {
        chunks
            .iter()
            .map(|c| Addr(std::ptr::from_ref(c).expose_provenance() as u64, PhantomData))
            .collect()
    }

    /// Where the kernel may read an array of addresses.
    pub fn of_addrs(addrs: &'a [Addr<'a>]) -> Self {
        Self(addrs.as_ptr().expose_provenance() as u64, PhantomData)
    }
}

// ---------------------------------------------------------------------------------------------
// Memory domains and flags of GEM_CREATE.

/// System memory that the GPU cannot reach.
pub const DOMAIN_CPU: u64 = 0x1;
/// System memory mapped for the GPU.
pub const DOMAIN_GTT: u64 = 0x2;
/// The card's own memory.
pub const DOMAIN_VRAM: u64 = 0x4;
/// On-chip global data share.
pub const DOMAIN_GDS: u64 = 0x8;

/// The CPU will map this BO.
pub const CREATE_CPU_ACCESS_REQUIRED: u64 = 1 << 0;
/// The CPU will never map this BO.
pub const CREATE_NO_CPU_ACCESS: u64 = 1 << 1;
/// Write-combined CPU mapping.
pub const CREATE_CPU_GTT_USWC: u64 = 1 << 2;
/// VRAM is handed out cleared.
pub const CREATE_VRAM_CLEARED: u64 = 1 << 3;
/// VRAM is wiped when it is given back.
pub const CREATE_VRAM_WIPE_ON_RELEASE: u64 = 1 << 9;
/// Always part of its file's VM; needs no place in a BO list.
pub const CREATE_VM_ALWAYS_VALID: u64 = 1 << 6;
/// Jobs of others that name it are not waited for.
pub const CREATE_EXPLICIT_SYNC: u64 = 1 << 7;
/// Trusted-memory encryption.
pub const CREATE_ENCRYPTED: u64 = 1 << 10;

/// GEM_USERPTR: the GPU only reads.
pub const USERPTR_READONLY: u32 = 1 << 0;
/// GEM_USERPTR: refuse ranges that hold a file mapping.
pub const USERPTR_ANONONLY: u32 = 1 << 1;
/// GEM_USERPTR: gather and bind the pages at once.
pub const USERPTR_VALIDATE: u32 = 1 << 2;
/// GEM_USERPTR: follow changes of the mapping.
pub const USERPTR_REGISTER: u32 = 1 << 3;

/// GEM_OP: new preferred domains.
pub const GEM_OP_SET_PLACEMENT: u32 = 1;
/// Map at an address that holds nothing yet.
pub const VA_OP_MAP: u32 = 1;
/// Remove the mapping that starts at an address.
pub const VA_OP_UNMAP: u32 = 2;
/// Remove whatever lies in a range.
pub const VA_OP_CLEAR: u32 = 3;
/// Map, taking the place of whatever is there.
pub const VA_OP_REPLACE: u32 = 4;

/// Leave the page tables for the next submission.
pub const VM_DELAY_UPDATE: u32 = 1 << 0;
/// The GPU may read.
pub const VM_PAGE_READABLE: u32 = 1 << 1;
/// The GPU may write.
pub const VM_PAGE_WRITEABLE: u32 = 1 << 2;
/// The GPU may execute.
pub const VM_PAGE_EXECUTABLE: u32 = 1 << 3;
/// Partially resident: no BO behind it.
pub const VM_PAGE_PRT: u32 = 1 << 4;
/// What every ordinary mapping here asks for.
pub const VM_PAGE_RWX: u32 = VM_PAGE_READABLE | VM_PAGE_WRITEABLE | VM_PAGE_EXECUTABLE;

/// BO_LIST operations.
pub const BO_LIST_OP_CREATE: u32 = 0;
/// Gives a list back.
pub const BO_LIST_OP_DESTROY: u32 = 1;
/// Replaces a list's content.
pub const BO_LIST_OP_UPDATE: u32 = 2;

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

/// VM operations: keeps one VMID for the file.
pub const VM_OP_RESERVE_VMID: u32 = 1;
/// Gives it back.
pub const VM_OP_UNRESERVE_VMID: u32 = 2;

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

/// GEM_LIST_HANDLES: the BO came from another device.
pub const LIST_HANDLES_IS_IMPORT: u32 = 1;

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
/// Where to write the user fence.
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

/// Where the graphics engine keeps its state while it does something else (GFX11 and later).
pub const CHUNK_ID_CP_GFX_SHADOW: u32 = 0x0a;

/// GEM_METADATA operations.
pub const METADATA_OP_SET: u32 = 1;
/// Asks for what was set.
pub const METADATA_OP_GET: u32 = 2;

/// SYNCOBJ_HANDLE_TO_FD: of the fence alone.
pub const EXPORT_SYNC_FILE: u32 = 1 << 0;

/// A fence that others' reads come after.
pub const DMA_BUF_SYNC_READ: u32 = 1 << 0;
/// A fence that all comes after.
pub const DMA_BUF_SYNC_RW: u32 = 3;

/// The fence may not be there yet.
pub const SYNCOBJ_WAIT_FOR_SUBMIT: u32 = 1 << 1;

/// Run on the constant engine.
pub const IB_FLAG_CE: u32 = 1 << 0;

/// INFO queries.
pub const INFO_ACCEL_WORKING: u32 = 0x00;
/// Display controller of an object.
pub const INFO_CRTC_FROM_ID: u32 = 0x01;
/// One kind of engine.
pub const INFO_HW_IP_INFO: u32 = 0x02;
/// How many of one kind.
pub const INFO_HW_IP_COUNT: u32 = 0x03;
/// Microcode version.
pub const INFO_FW_VERSION: u32 = 0x0e;
/// Selected registers.
pub const INFO_READ_MMR_REG: u32 = 0x15;
/// What the chip is.
pub const INFO_DEV_INFO: u32 = 0x16;
/// How often a BO had to leave VRAM.
pub const INFO_NUM_EVICTIONS: u32 = 0x18;
/// Heap sizes and use.
pub const INFO_MEMORY: u32 = 0x19;
/// BIOS image.
pub const INFO_VBIOS: u32 = 0x1b;
/// INFO: the last fault of the file's address space.
pub const INFO_GPUVM_FAULT: u32 = 0x23;

/// INFO_VBIOS: the size of the image.
pub const VBIOS_SIZE: u32 = 1;
/// INFO_VBIOS: the image, from an offset on.
pub const VBIOS_IMAGE: u32 = 2;
/// INFO_VBIOS: what the image says of itself.
pub const VBIOS_INFO: u32 = 3;

/// [`DevInfo::ids_flags`]: one submission may go to several rings.
pub const IDS_FLAGS_GANG_SUBMIT: u64 = 0x10;

/// INFO_FW_VERSION: graphics microengine.
pub const FW_GFX_ME: u32 = 0x04;
/// INFO_FW_VERSION: graphics prefetch parser.
pub const FW_GFX_PFP: u32 = 0x05;
/// INFO_FW_VERSION: compute microengine.
pub const FW_GFX_MEC: u32 = 0x08;
/// INFO_FW_VERSION: SDMA.
pub const FW_SDMA: u32 = 0x0b;

/// Sea Islands dGPUs (Bonaire, Hawaii), in [`DevInfo::family`].
pub const FAMILY_CI: u32 = 120;

// ---------------------------------------------------------------------------------------------
// Structures. Fields are the header's; units are bytes and nanoseconds unless said.

/// `drm_amdgpu_gem_create_in`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemCreate {
    pub bo_size: u64,
    pub alignment: u64,
    pub domains: u64,
    pub domain_flags: u64,
}

/// The many answers that are one handle.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Handle {
    pub handle: u32,
    pub pad: u32,
}

/// `drm_amdgpu_gem_userptr`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemUserptr {
    pub addr: u64,
    pub size: u64,
    pub flags: u32,
    pub handle: u32,
}

/// `drm_amdgpu_gem_wait_idle_in`; `timeout` is absolute, on the monotonic clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct WaitIdle {
    pub handle: u32,
    pub flags: u32,
    pub timeout: u64,
}

/// `drm_amdgpu_gem_wait_idle_out`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct WaitIdleOut {
    pub status: u32,
    pub domain: u32,
}

/// `drm_amdgpu_vm_in`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Vm {
    pub op: u32,
    pub flags: u32,
}

/// `drm_amdgpu_gem_va`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemVa<'a> {
    pub handle: u32,
    pub pad: u32,
    pub operation: u32,
    pub flags: u32,
    pub va_address: u64,
    pub offset_in_bo: u64,
    pub map_size: u64,
    pub vm_timeline_point: u64,
    pub vm_timeline_syncobj_out: u32,
    pub num_syncobj_handles: u32,
    pub input_fence_syncobj_handles: Addr<'a>,
}

/// `drm_amdgpu_bo_list_in`; also the content of a BO_HANDLES chunk.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct BoList<'a> {
    pub operation: u32,
    pub list_handle: u32,
    pub bo_number: u32,
    pub bo_info_size: u32,
    pub bo_info_ptr: Addr<'a>,
}

/// `drm_amdgpu_bo_list_entry`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct BoListEntry {
    pub bo_handle: u32,
    pub bo_priority: u32,
}

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

/// `drm_amdgpu_info_gpuvm_fault`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GpuvmFault {
    pub addr: u64,
    pub status: u32,
    pub vmhub: u32,
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

/// `drm_prime_handle`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Prime {
    pub handle: u32,
    pub flags: u32,
    pub fd: u32,
}

/// `drm_syncobj_create` and `drm_syncobj_destroy`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Syncobj {
    pub handle: u32,
    pub flags: u32,
}

/// `dma_buf_import_sync_file`, of `linux/dma-buf.h`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ImportSyncFile {
    pub flags: u32,
    pub fd: u32,
}

/// `drm_amdgpu_gem_metadata`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemMetadata {
    pub handle: u32,
    pub op: u32,
    pub flags: u64,
    pub tiling_info: u64,
    pub data_size_bytes: u32,
    pub data: [u32; 64],
    pub pad: u32,
}

/// `drm_syncobj_timeline_wait`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct TimelineWait<'a> {
    pub handles: Addr<'a>,
    pub points: Addr<'a>,
    pub timeout_nsec: u64,
    pub count_handles: u32,
    pub flags: u32,
    pub first_signaled: u32,
    pub pad: u32,
    pub deadline_nsec: u64,
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

/// `drm_amdgpu_gem_list_handles`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ListHandles<'a> {
    pub entries: Addr<'a>,
    pub num_entries: u32,
    pub padding: u32,
}

/// `drm_amdgpu_gem_list_handles_entry`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct ListedHandle {
    pub gem_handle: u32,
    pub flags: u32,
    pub size: u64,
    pub preferred_domains: u64,
    pub alloc_flags: u64,
    pub alignment: u64,
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

/// `drm_amdgpu_info_vbios`; texts end at their first zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct VbiosInfo {
    pub name: [u8; 64],
    pub vbios_pn: [u8; 64],
    pub version: u32,
    pub pad: u32,
    pub vbios_ver_str: [u8; 32],
    pub date: [u8; 32],
}

impl Default for VbiosInfo {
    fn default() -> Self {
        Self {
            name: [0; 64],
            vbios_pn: [0; 64],
            version: 0,
            pad: 0,
            vbios_ver_str: [0; 32],
            date: [0; 32],
        }
    }
}

/// `drm_syncobj_handle`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct SyncobjHandle {
    pub handle: u32,
    pub flags: u32,
    pub fd: i32,
    pub pad: u32,
    pub point: u64,
}

/// `drm_amdgpu_info`; `param` is the union of the header, as four words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Info<'a> {
    pub return_pointer: Addr<'a>,
    pub return_size: u32,
    pub query: u32,
    pub param: [u32; 4],
}

/// `drm_amdgpu_info_hw_ip`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct HwIp {
    pub hw_ip_version_major: u32,
    pub hw_ip_version_minor: u32,
    pub capabilities_flags: u64,
    pub ib_start_alignment: u32,
    pub ib_size_alignment: u32,
    pub available_rings: u32,
    pub ip_discovery_version: u32,
    pub userq_num_slots: u32,
    pub tail_pad: u32,
}

/// `drm_amdgpu_heap_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Heap {
    pub total_heap_size: u64,
    pub usable_heap_size: u64,
    pub heap_usage: u64,
    pub max_allocation: u64,
}

/// `drm_amdgpu_memory_info`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Memory {
    pub vram: Heap,
    pub cpu_accessible_vram: Heap,
    pub gtt: Heap,
}

/// `drm_amdgpu_info_firmware`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Firmware {
    pub ver: u32,
    pub feature: u32,
}

/// The start of `drm_amdgpu_info_device`: the kernel copies as much as is asked for. Clocks in kHz.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct DevInfo {
    pub device_id: u32,
    pub chip_rev: u32,
    pub external_rev: u32,
    pub pci_rev: u32,
    pub family: u32,
    pub num_shader_engines: u32,
    pub num_shader_arrays_per_engine: u32,
    pub gpu_counter_freq: u32,
    pub max_engine_clock: u64,
    pub max_memory_clock: u64,
    pub cu_active_number: u32,
    pub cu_ao_mask: u32,
    pub cu_bitmap: [[u32; 4]; 4],
    pub enabled_rb_pipes_mask: u32,
    pub num_rb_pipes: u32,
    pub num_hw_gfx_contexts: u32,
    pub pcie_gen: u32,
    pub ids_flags: u64,
    pub virtual_address_offset: u64,
    pub virtual_address_max: u64,
    pub virtual_address_alignment: u32,
    pub pte_fragment_size: u32,
    pub gart_page_size: u32,
    pub ce_ram_size: u32,
    pub vram_type: u32,
    pub vram_bit_width: u32,
}

/// `drm_amdgpu_gem_op`; what `value` is depends on `op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemOp {
    pub handle: u32,
    pub op: u32,
    pub value: u64,
    pub num_entries: u32,
    pub padding: u32,
}

/// `drm_gem_close`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GemClose {
    pub handle: u32,
    pub pad: u32,
}

/// `drm_version`; lengths in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Version<'a> {
    pub major: i32,
    pub minor: i32,
    pub patchlevel: i32,
    pub pad: i32,
    pub name_len: u64,
    pub name: Addr<'a>,
    pub date_len: u64,
    pub date: Addr<'a>,
    pub desc_len: u64,
    pub desc: Addr<'a>,
}

pod! {
    GemCreate = 32, Handle = 8, GemUserptr = 24, WaitIdle = 16, WaitIdleOut = 8, Vm = 8, GemVa<'a> = 64,
    BoList<'a> = 24, BoListEntry = 8, Ctx = 16, CtxState = 16, GpuvmFault = 16, Chunk<'a> = 16, Cs<'a> = 24,
    ChunkIb = 32, ChunkSem = 4, ChunkSyncobj = 16, Syncobj = 8, TimelineWait<'a> = 48, ChunkFence = 8, ChunkDep = 24, WaitCs = 32, Info<'a> = 32, HwIp = 40,
    ChunkShadow = 32, Fence = 24, WaitFences<'a> = 24, WaitFencesOut = 8, FenceToHandle = 32,
    ListHandles<'a> = 16, ListedHandle = 40, Sched = 16, VbiosInfo = 200, SyncobjHandle = 24,
    Heap = 32, Memory = 96, Firmware = 8, DevInfo = 184, GemClose = 8, Prime = 12, Version<'a> = 64,
    ImportSyncFile = 8, GemMetadata = 288, GemOp = 24,
}

// ---------------------------------------------------------------------------------------------
// Ioctl numbers.

/// An ioctl: what goes in, what comes out. Its encoded size is the larger of the two, as the
/// header's unions have it.
#[derive(Clone, Copy)]
pub struct Ioctl<I, O> {
    /// The encoded request.
    pub request: u64,
    /// What it is called.
    pub name: &'static str,
    types: PhantomData<(I, O)>,
}

/// Direction bits of an ioctl request.
const WRITE: u64 = 1;
const READ_WRITE: u64 = 3;

/// Ioctl type byte of DRM.
pub const DRM_TYPE: u64 = b'd' as u64;
/// First driver-specific number.
pub const COMMAND_BASE: u64 = 0x40;

/// Encodes a request as `asm-generic/ioctl.h` does.
pub const fn encode(dir: u64, kind: u64, nr: u64, size: usize) -> u64 {
    dir << 30 | (size as u64) << 16 | kind << 8 | nr
}

const fn ioctl<I: Pod, O: Pod>(dir: u64, nr: u64, name: &'static str) -> Ioctl<I, O> {
    let size = if size_of::<I>() > size_of::<O>() { size_of::<I>() } else { size_of::<O>() };
    Ioctl { request: encode(dir, DRM_TYPE, nr, size), name, types: PhantomData }
}

const fn driver<I: Pod, O: Pod>(dir: u64, nr: u64, name: &'static str) -> Ioctl<I, O> {
    ioctl(dir, COMMAND_BASE + nr, name)
}

/// DRM_IOCTL_VERSION
pub const VERSION: Ioctl<Version<'_>, Version<'_>> = ioctl(READ_WRITE, 0x00, "VERSION");
/// DRM_IOCTL_GEM_CLOSE
pub const GEM_CLOSE: Ioctl<GemClose, ()> = ioctl(WRITE, 0x09, "GEM_CLOSE");
/// DRM_IOCTL_PRIME_HANDLE_TO_FD
pub const PRIME_HANDLE_TO_FD: Ioctl<Prime, Prime> = ioctl(READ_WRITE, 0x2d, "PRIME_HANDLE_TO_FD");
/// DRM_IOCTL_PRIME_FD_TO_HANDLE
pub const PRIME_FD_TO_HANDLE: Ioctl<Prime, Prime> = ioctl(READ_WRITE, 0x2e, "PRIME_FD_TO_HANDLE");
/// DRM_IOCTL_SYNCOBJ_CREATE
pub const SYNCOBJ_CREATE: Ioctl<Syncobj, Syncobj> = ioctl(READ_WRITE, 0xbf, "SYNCOBJ_CREATE");
/// DRM_IOCTL_SYNCOBJ_DESTROY
pub const SYNCOBJ_DESTROY: Ioctl<Syncobj, Syncobj> = ioctl(READ_WRITE, 0xc0, "SYNCOBJ_DESTROY");
/// DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD
pub const SYNCOBJ_HANDLE_TO_FD: Ioctl<SyncobjHandle, SyncobjHandle> =
    ioctl(READ_WRITE, 0xc1, "SYNCOBJ_HANDLE_TO_FD");
/// DMA_BUF_IOCTL_IMPORT_SYNC_FILE, of a DMA buffer.
pub const DMA_BUF_IMPORT_SYNC_FILE: u64 =
    encode(WRITE, b'b' as u64, 3, size_of::<ImportSyncFile>());
/// DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE
pub const SYNCOBJ_FD_TO_HANDLE: Ioctl<SyncobjHandle, SyncobjHandle> =
    ioctl(READ_WRITE, 0xc2, "SYNCOBJ_FD_TO_HANDLE");
/// DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT
pub const SYNCOBJ_TIMELINE_WAIT: Ioctl<TimelineWait<'_>, ()> =
    ioctl(READ_WRITE, 0xca, "SYNCOBJ_TIMELINE_WAIT");
/// GEM_CREATE
pub const GEM_CREATE: Ioctl<GemCreate, Handle> = driver(READ_WRITE, 0x00, "GEM_CREATE");
/// GEM_MMAP: handle in, offset for mmap(2) out.
pub const GEM_MMAP: Ioctl<Handle, u64> = driver(READ_WRITE, 0x01, "GEM_MMAP");
/// CTX, when a context ID comes out.
pub const CTX: Ioctl<Ctx, Handle> = driver(READ_WRITE, 0x02, "CTX");
/// CTX, when a state comes out.
pub const CTX_QUERY: Ioctl<Ctx, CtxState> = driver(READ_WRITE, 0x02, "CTX");
/// BO_LIST
pub const BO_LIST: Ioctl<BoList<'_>, Handle> = driver(READ_WRITE, 0x03, "BO_LIST");
/// CS: the sequence number comes out.
pub const CS: Ioctl<Cs<'_>, u64> = driver(READ_WRITE, 0x04, "CS");
/// INFO
pub const INFO: Ioctl<Info<'_>, ()> = driver(WRITE, 0x05, "INFO");
/// GEM_METADATA
pub const GEM_METADATA: Ioctl<GemMetadata, GemMetadata> = driver(READ_WRITE, 0x06, "GEM_METADATA");
/// GEM_WAIT_IDLE
pub const GEM_WAIT_IDLE: Ioctl<WaitIdle, WaitIdleOut> = driver(READ_WRITE, 0x07, "GEM_WAIT_IDLE");
/// GEM_VA
pub const GEM_VA: Ioctl<GemVa<'_>, ()> = driver(WRITE, 0x08, "GEM_VA");
/// GEM_OP
pub const GEM_OP: Ioctl<GemOp, GemOp> = driver(READ_WRITE, 0x10, "GEM_OP");
/// WAIT_CS: 0 done, 1 still busy.
pub const WAIT_CS: Ioctl<WaitCs, u64> = driver(READ_WRITE, 0x09, "WAIT_CS");
/// WAIT_FENCES
pub const WAIT_FENCES: Ioctl<WaitFences<'_>, WaitFencesOut> =
    driver(READ_WRITE, 0x12, "WAIT_FENCES");
/// FENCE_TO_HANDLE: a handle or a descriptor comes out.
pub const FENCE_TO_HANDLE: Ioctl<FenceToHandle, u32> = driver(READ_WRITE, 0x14, "FENCE_TO_HANDLE");
/// SCHED: nothing comes out.
pub const SCHED: Ioctl<Sched, ()> = driver(WRITE, 0x15, "SCHED");
/// GEM_LIST_HANDLES
pub const GEM_LIST_HANDLES: Ioctl<ListHandles<'_>, ListHandles<'_>> =
    driver(READ_WRITE, 0x19, "GEM_LIST_HANDLES");
/// VM: nothing comes out.
pub const VM: Ioctl<Vm, ()> = driver(READ_WRITE, 0x13, "VM");
/// GEM_USERPTR
pub const GEM_USERPTR: Ioctl<GemUserptr, GemUserptr> = driver(READ_WRITE, 0x11, "GEM_USERPTR");

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the values that a C compiler gives for the header's macros.
    #[test]
    fn request_numbers() {
        assert_eq!(VERSION.request, 0xc040_6400);
        assert_eq!(GEM_CLOSE.request, 0x4008_6409);
        assert_eq!(PRIME_HANDLE_TO_FD.request, 0xc00c_642d);
        assert_eq!(PRIME_FD_TO_HANDLE.request, 0xc00c_642e);
        assert_eq!(SYNCOBJ_HANDLE_TO_FD.request, 0xc018_64c1);
        assert_eq!(DMA_BUF_IMPORT_SYNC_FILE, 0x4008_6203);
        assert_eq!(GEM_CREATE.request, 0xc020_6440);
        assert_eq!(GEM_MMAP.request, 0xc008_6441);
        assert_eq!(CTX.request, 0xc010_6442);
        assert_eq!(CTX_QUERY.request, 0xc010_6442);
        assert_eq!(BO_LIST.request, 0xc018_6443);
        assert_eq!(CS.request, 0xc018_6444);
        assert_eq!(INFO.request, 0x4020_6445);
        assert_eq!(GEM_METADATA.request, 0xc120_6446);
        assert_eq!(GEM_WAIT_IDLE.request, 0xc010_6447);
        assert_eq!(GEM_VA.request, 0x4040_6448);
        assert_eq!(WAIT_CS.request, 0xc020_6449);
        assert_eq!(GEM_USERPTR.request, 0xc018_6451);
        assert_eq!(GEM_OP.request, 0xc018_6450);
        assert_eq!(VM.request, 0xc008_6453);
        assert_eq!(WAIT_FENCES.request, 0xc018_6452);
        assert_eq!(FENCE_TO_HANDLE.request, 0xc020_6454);
        assert_eq!(SCHED.request, 0x4010_6455);
        assert_eq!(GEM_LIST_HANDLES.request, 0xc010_6459);
    }

    #[test]
    fn chunk_length_counts_words() {
        let ib = [ChunkIb::default()];
        assert_eq!(Chunk::of(CHUNK_ID_IB, &ib).length_dw, 8);
    }
}
