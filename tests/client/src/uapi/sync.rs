// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fences between processes and devices: syncobjs, PRIME and DMA buffers.

use super::{
    Addr,
    Ioctl,
    READ_WRITE,
    WRITE,
    encode,
    ioctl,
    pod, //
};

/// SYNCOBJ_HANDLE_TO_FD: of the fence alone.
pub const EXPORT_SYNC_FILE: u32 = 1 << 0;

/// A fence that others' reads come after.
pub const DMA_BUF_SYNC_READ: u32 = 1 << 0;
/// A fence that all comes after.
pub const DMA_BUF_SYNC_RW: u32 = 3;

/// The fence may not be there yet.
pub const SYNCOBJ_WAIT_FOR_SUBMIT: u32 = 1 << 1;

/// `drm_prime_handle`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct Prime {
    pub handle: u32,
    pub flags: u32,
    pub fd: u32,
}

/// `drm_mode_create_dumb`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct CreateDumb {
    pub height: u32,
    pub width: u32,
    pub bpp: u32,
    pub flags: u32,
    pub handle: u32,
    pub pitch: u32,
    pub size: u64,
}

/// `udmabuf_create`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct UdmabufCreate {
    pub memfd: u32,
    pub flags: u32,
    pub offset: u64,
    pub size: u64,
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

pod! {
    Syncobj = 8, TimelineWait<'a> = 48, SyncobjHandle = 24, Prime = 12, CreateDumb = 32,
    UdmabufCreate = 24, ImportSyncFile = 8,
}

/// DRM_IOCTL_PRIME_HANDLE_TO_FD
pub const PRIME_HANDLE_TO_FD: Ioctl<Prime, Prime> = ioctl(READ_WRITE, 0x2d, "PRIME_HANDLE_TO_FD");
/// DRM_IOCTL_PRIME_FD_TO_HANDLE
pub const PRIME_FD_TO_HANDLE: Ioctl<Prime, Prime> = ioctl(READ_WRITE, 0x2e, "PRIME_FD_TO_HANDLE");
/// DRM_IOCTL_MODE_CREATE_DUMB
pub const MODE_CREATE_DUMB: Ioctl<CreateDumb, CreateDumb> =
    ioctl(READ_WRITE, 0xb2, "MODE_CREATE_DUMB");
/// DMA_BUF_IOCTL_EXPORT_SYNC_FILE, of a DMA buffer; the request is like that of the import.
pub const DMA_BUF_EXPORT_SYNC_FILE: u64 =
    encode(READ_WRITE, b'b' as u64, 2, size_of::<ImportSyncFile>());
/// UDMABUF_CREATE
pub const UDMABUF_CREATE: u64 = encode(WRITE, b'u' as u64, 0x42, size_of::<UdmabufCreate>());
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
