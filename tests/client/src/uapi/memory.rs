// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects, their mappings and lists, and address spaces.

use super::{
    Addr,
    Ioctl,
    READ_WRITE,
    WRITE,
    driver,
    ioctl,
    pod, //
};

/// System memory that the GPU cannot reach.
pub const DOMAIN_CPU: u64 = 0x1;
/// System memory mapped for the GPU.
pub const DOMAIN_GTT: u64 = 0x2;
/// The card's own memory.
pub const DOMAIN_VRAM: u64 = 0x4;
/// On-chip global data share.
pub const DOMAIN_GDS: u64 = 0x8;
/// Global wave sync: counters on the chip.
pub const DOMAIN_GWS: u64 = 0x10;
/// Ordered append: counters on the chip.
pub const DOMAIN_OA: u64 = 0x20;

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
/// The contents may be dropped rather than saved.
pub const CREATE_DISCARDABLE: u64 = 1 << 12;
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
/// Rights that every ordinary mapping here asks for.
pub const VM_PAGE_RWX: u32 = VM_PAGE_READABLE | VM_PAGE_WRITEABLE | VM_PAGE_EXECUTABLE;

/// BO_LIST operations.
pub const BO_LIST_OP_CREATE: u32 = 0;
/// Gives a list back.
pub const BO_LIST_OP_DESTROY: u32 = 1;
/// Replaces a list's content.
pub const BO_LIST_OP_UPDATE: u32 = 2;

/// VM operations: keeps one VMID for the file.
pub const VM_OP_RESERVE_VMID: u32 = 1;
/// Gives it back.
pub const VM_OP_UNRESERVE_VMID: u32 = 2;

/// GEM_LIST_HANDLES: the BO came from another device.
pub const LIST_HANDLES_IS_IMPORT: u32 = 1;

/// GEM_METADATA operations.
pub const METADATA_OP_SET: u32 = 1;
/// Asks for what was set.
pub const METADATA_OP_GET: u32 = 2;

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

pod! {
    GemCreate = 32, Handle = 8, GemUserptr = 24, WaitIdle = 16, WaitIdleOut = 8, Vm = 8,
    GemVa<'a> = 64, BoList<'a> = 24, BoListEntry = 8, ListHandles<'a> = 16, ListedHandle = 40,
    GemClose = 8, GemMetadata = 288, GemOp = 24,
}

/// DRM_IOCTL_GEM_CLOSE
pub const GEM_CLOSE: Ioctl<GemClose, ()> = ioctl(WRITE, 0x09, "GEM_CLOSE");
/// GEM_CREATE
pub const GEM_CREATE: Ioctl<GemCreate, Handle> = driver(READ_WRITE, 0x00, "GEM_CREATE");
/// GEM_MMAP: handle in, offset for mmap(2) out.
pub const GEM_MMAP: Ioctl<Handle, u64> = driver(READ_WRITE, 0x01, "GEM_MMAP");
/// BO_LIST
pub const BO_LIST: Ioctl<BoList<'_>, Handle> = driver(READ_WRITE, 0x03, "BO_LIST");
/// GEM_METADATA
pub const GEM_METADATA: Ioctl<GemMetadata, GemMetadata> = driver(READ_WRITE, 0x06, "GEM_METADATA");
/// GEM_WAIT_IDLE
pub const GEM_WAIT_IDLE: Ioctl<WaitIdle, WaitIdleOut> = driver(READ_WRITE, 0x07, "GEM_WAIT_IDLE");
/// GEM_VA
pub const GEM_VA: Ioctl<GemVa<'_>, ()> = driver(WRITE, 0x08, "GEM_VA");
/// GEM_OP
pub const GEM_OP: Ioctl<GemOp, GemOp> = driver(READ_WRITE, 0x10, "GEM_OP");
/// GEM_LIST_HANDLES
pub const GEM_LIST_HANDLES: Ioctl<ListHandles<'_>, ListHandles<'_>> =
    driver(READ_WRITE, 0x19, "GEM_LIST_HANDLES");
/// VM: nothing comes out.
pub const VM: Ioctl<Vm, ()> = driver(READ_WRITE, 0x13, "VM");
/// GEM_USERPTR
pub const GEM_USERPTR: Ioctl<GemUserptr, GemUserptr> = driver(READ_WRITE, 0x11, "GEM_USERPTR");
