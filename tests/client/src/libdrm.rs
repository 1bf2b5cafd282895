// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The distribution's `libdrm_amdgpu`, opened at run time, behind types that give back what they
//! hold. Function and structure declarations follow the library's public header `amdgpu/amdgpu.h`.
//!
//! The published Rust bindings (`libdrm_amdgpu_sys`) keep buffers and submissions to themselves,
//! so the two dozen functions that are needed are declared here.

use crate::drm::{self, IoMap, Node};
use crate::engine::Engine;
use crate::ib::{START_ALIGN, Stream};
use crate::mem::UserMem;
use crate::num::{u32_of, u64_of, usize_of};
use crate::uapi::{self, Chunk, DOMAIN_GTT, HwIp, VA_OP_MAP, VA_OP_UNMAP};
use crate::{Errno, Result};
use std::ffi::{c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

/// Declares the function table and the loader that fills it.
macro_rules! library {
    ($($name:ident: fn($($arg:ty),* $(,)?) $(-> $ret:ty)?;)+) => {
        struct Api {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)+
            // Last, so that it outlives the functions that lie in it.
            _library: libloading::Library,
        }

        impl Api {
            fn load() -> std::result::Result<Self, libloading::Error> {
                // SAFETY: the library's initialisers do nothing that Rust could mind.
                let library = unsafe { libloading::Library::new("libdrm_amdgpu.so.1") }?;
                $(
                    // SAFETY: the type is that of the function of this name in the library's
                    // header, whose interface is fixed by its major version.
                    let $name = *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?;
                )+
                Ok(Self { $($name,)+ _library: library })
            }
        }
    };
}

/// The library's own object types, of which only addresses are known.
mod object {
    #[repr(C)]
    pub struct Device([u8; 0]);
    #[repr(C)]
    pub struct Bo([u8; 0]);
    #[repr(C)]
    pub struct Context([u8; 0]);
    #[repr(C)]
    pub struct List([u8; 0]);
    #[repr(C)]
    pub struct Va([u8; 0]);
}

#[repr(C)]
struct AllocRequest {
    alloc_size: u64,
    phys_alignment: u64,
    preferred_heap: u32,
    flags: u64,
}

#[repr(C)]
struct IbInfo {
    flags: u64,
    ib_mc_address: u64,
    size: u32,
}

#[repr(C)]
struct FenceInfo {
    handle: *mut object::Bo,
    offset: u64,
}

#[repr(C)]
struct CsRequest {
    flags: u64,
    ip_type: c_uint,
    ip_instance: c_uint,
    ring: u32,
    resources: *mut object::List,
    number_of_dependencies: u32,
    dependencies: *mut CsFence,
    number_of_ibs: u32,
    ibs: *mut IbInfo,
    seq_no: u64,
    fence_info: FenceInfo,
}

#[repr(C)]
struct CsFence {
    context: *mut object::Context,
    ip_type: u32,
    ip_instance: u32,
    ring: u32,
    fence: u64,
}

library! {
    amdgpu_device_initialize: fn(c_int, *mut u32, *mut u32, *mut *mut object::Device) -> c_int;
    amdgpu_device_deinitialize: fn(*mut object::Device) -> c_int;
    amdgpu_bo_alloc: fn(*mut object::Device, *mut AllocRequest, *mut *mut object::Bo) -> c_int;
    amdgpu_create_bo_from_user_mem:
        fn(*mut object::Device, *mut c_void, u64, *mut *mut object::Bo) -> c_int;
    amdgpu_bo_free: fn(*mut object::Bo) -> c_int;
    amdgpu_bo_export: fn(*mut object::Bo, c_uint, *mut u32) -> c_int;
    amdgpu_bo_cpu_map: fn(*mut object::Bo, *mut *mut c_void) -> c_int;
    amdgpu_bo_cpu_unmap: fn(*mut object::Bo) -> c_int;
    amdgpu_bo_wait_for_idle: fn(*mut object::Bo, u64, *mut bool) -> c_int;
    amdgpu_bo_list_create:
        fn(*mut object::Device, u32, *mut *mut object::Bo, *mut u8, *mut *mut object::List) -> c_int;
    amdgpu_bo_list_create_raw:
        fn(*mut object::Device, u32, *mut uapi::BoListEntry, *mut u32) -> c_int;
    amdgpu_bo_list_destroy_raw: fn(*mut object::Device, u32) -> c_int;
    amdgpu_bo_list_update: fn(*mut object::List, u32, *mut *mut object::Bo, *mut u8) -> c_int;
    amdgpu_bo_list_destroy: fn(*mut object::List) -> c_int;
    amdgpu_cs_ctx_create: fn(*mut object::Device, *mut *mut object::Context) -> c_int;
    amdgpu_cs_ctx_free: fn(*mut object::Context) -> c_int;
    amdgpu_cs_query_reset_state: fn(*mut object::Context, *mut u32, *mut u32) -> c_int;
    amdgpu_cs_query_reset_state2: fn(*mut object::Context, *mut u64) -> c_int;
    amdgpu_cs_submit: fn(*mut object::Context, u64, *mut CsRequest, u32) -> c_int;
    amdgpu_cs_submit_raw2: fn(
        *mut object::Device, *mut object::Context, u32, c_int, *mut Chunk<'static>, *mut u64,
    ) -> c_int;
    amdgpu_cs_query_fence_status: fn(*mut CsFence, u64, u64, *mut u32) -> c_int;
    amdgpu_query_info: fn(*mut object::Device, c_uint, c_uint, *mut c_void) -> c_int;
    amdgpu_query_hw_ip_info: fn(*mut object::Device, c_uint, c_uint, *mut HwIp) -> c_int;
    amdgpu_query_firmware_version:
        fn(*mut object::Device, c_uint, c_uint, c_uint, *mut u32, *mut u32) -> c_int;
    amdgpu_read_mm_registers:
        fn(*mut object::Device, c_uint, c_uint, u32, u32, *mut u32) -> c_int;
    amdgpu_va_range_alloc: fn(
        *mut object::Device, c_uint, u64, u64, u64, *mut u64, *mut *mut object::Va, u64,
    ) -> c_int;
    amdgpu_va_range_free: fn(*mut object::Va) -> c_int;
    amdgpu_bo_va_op: fn(*mut object::Bo, u64, u64, u64, u64, u32) -> c_int;
}

fn api() -> std::result::Result<&'static Api, String> {
    static API: OnceLock<std::result::Result<Api, String>> = OnceLock::new();
    API.get_or_init(|| Api::load().map_err(|e| e.to_string())).as_ref().map_err(Clone::clone)
}

/// A device as libdrm sees it.
pub struct Device {
    api: &'static Api,
    raw: *mut object::Device,
    /// What the library reported: DRM version, major and minor.
    pub version: (u32, u32),
    // Closed after the library has let go of its copy of the descriptor.
    file: drm::File,
}

// SAFETY: libdrm_amdgpu locks its device object itself.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Opens the node and hands it to the library, which asks the driver a few dozen questions
    /// before it takes it.
    ///
    /// # Errors
    ///
    /// In words: no library, no node, or a question that the driver did not answer.
    pub fn open(node: &Node) -> std::result::Result<Self, String> {
        let api = api()?;
        let file = node.open().map_err(|e| format!("{}: {e}", node.path.display()))?;
        let (mut major, mut minor, mut raw) = (0, 0, ptr::null_mut());
        // SAFETY: an open DRM file and three places to write.
        let code = unsafe {
            (api.amdgpu_device_initialize)(file.fd(), &raw mut major, &raw mut minor, &raw mut raw)
        };
        Errno::check(code).map_err(|e| format!("amdgpu_device_initialize: {e}"))?;
        Ok(Self { api, raw, version: (major, minor), file })
    }

    /// Allocates a BO in a domain.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn alloc(&self, size: usize, domain: u64, flags: u64) -> Result<Bo<'_>> {
        let mut request = AllocRequest {
            alloc_size: u64_of(size),
            phys_alignment: u64_of(crate::PAGE),
            preferred_heap: crate::num::lo32(domain),
            flags,
        };
        let mut raw = ptr::null_mut();
        // SAFETY: a live device, a request, and a place for the result.
        let code = unsafe { (self.api.amdgpu_bo_alloc)(self.raw, &raw mut request, &raw mut raw) };
        Errno::check(code)?;
        Ok(Bo { device: self, raw, size: u64_of(size) })
    }

    /// Makes a userptr BO. The library asks for ANONONLY, REGISTER and VALIDATE. From then on
    /// jobs that name the BO read and write the memory, like another process on shared memory.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn userptr(&self, mem: &UserMem) -> Result<Bo<'_>> {
        let mut raw = ptr::null_mut();
        let (at, size) = (mem.as_ptr().cast(), u64_of(mem.len()));
        // SAFETY: a live device, an address range (the kernel checks it), a place for the result.
        let code =
            unsafe { (self.api.amdgpu_create_bo_from_user_mem)(self.raw, at, size, &raw mut raw) };
        Errno::check(code)?;
        Ok(Bo { device: self, raw, size })
    }

    /// Makes a userptr BO with flags of the caller's choice, which the library does not offer,
    /// and maps it for the GPU.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn userptr_with(&self, mem: &UserMem, flags: u32) -> Result<RawUserptr<'_>> {
        let size = u64_of(mem.len());
        let handle = self.file.gem_userptr(mem.addr(), size, flags)?;
        // From here on dropping undoes what there is.
        let mut bo = RawUserptr { device: self, handle, va: 0, range: ptr::null_mut() };
        (bo.va, bo.range) = self.reserve(size)?;
        self.file.gem_va(VA_OP_MAP, handle, bo.va, 0, size)?;
        Ok(bo)
    }

    /// A GPU address range of the library's choice.
    fn reserve(&self, size: u64) -> Result<(u64, *mut object::Va)> {
        let (mut va, mut range) = (0, ptr::null_mut());
        let align = u64_of(crate::PAGE);
        // SAFETY: a live device and two places to write; range type 0 is the general one.
        let code = unsafe {
            let alloc = self.api.amdgpu_va_range_alloc;
            alloc(self.raw, 0, size, align, 0, &raw mut va, &raw mut range, 0)
        };
        Errno::check(code).map(|()| (va, range))
    }

    /// Makes a BO list from handles.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bo_list_of_handles(&self, handles: &[u32]) -> Result<RawList<'_>> {
        let mut entries = drm::list_entries(handles);
        let mut handle = 0;
        // SAFETY: a live device, as many entries as said, and a place for the result.
        Errno::check(unsafe {
            let (len, at) = (u32_of(entries.len()), entries.as_mut_ptr());
            (self.api.amdgpu_bo_list_create_raw)(self.raw, len, at, &raw mut handle)
        })?;
        Ok(RawList { device: self, handle })
    }

    /// Makes a BO list.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bo_list(&self, bos: &[&Bo<'_>]) -> Result<BoList<'_>> {
        let mut handles: Vec<_> = bos.iter().map(|bo| bo.raw).collect();
        let mut raw = ptr::null_mut();
        // SAFETY: a live device and as many live BOs as said; without priorities the library
        // gives all the same.
        let code = unsafe {
            let (len, at) = (u32_of(handles.len()), handles.as_mut_ptr());
            (self.api.amdgpu_bo_list_create)(self.raw, len, at, ptr::null_mut(), &raw mut raw)
        };
        Errno::check(code)?;
        Ok(BoList { device: self, raw })
    }

    /// Makes a context.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn context(&self) -> Result<Context<'_>> {
        let mut raw = ptr::null_mut();
        // SAFETY: a live device and a place for the result.
        Errno::check(unsafe { (self.api.amdgpu_cs_ctx_create)(self.raw, &raw mut raw) })?;
        Ok(Context { device: self, raw })
    }

    /// An INFO query without parameters, with as many bytes as a `T` has.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn info<T: uapi::Pod + Default>(&self, query: u32) -> Result<T> {
        let mut out = T::default();
        let size = u32_of(size_of::<T>());
        // SAFETY: `out` has `size` bytes, which may hold anything.
        let code =
            unsafe { (self.api.amdgpu_query_info)(self.raw, query, size, (&raw mut out).cast()) };
        Errno::check(code)?;
        Ok(out)
    }

    /// What the driver says of one kind of engine.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn hw_ip(&self, ip_type: u32) -> Result<HwIp> {
        let mut out = HwIp::default();
        // SAFETY: a live device and a structure of at least the library's size.
        let code =
            unsafe { (self.api.amdgpu_query_hw_ip_info)(self.raw, ip_type, 0, &raw mut out) };
        Errno::check(code)?;
        Ok(out)
    }

    /// Version and feature number of a microcode.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn firmware(&self, kind: u32, index: u32) -> Result<(u32, u32)> {
        let (mut version, mut feature) = (0, 0);
        // SAFETY: a live device and two places to write.
        let code = unsafe {
            let query = self.api.amdgpu_query_firmware_version;
            query(self.raw, kind, 0, index, &raw mut version, &raw mut feature)
        };
        Errno::check(code)?;
        Ok((version, feature))
    }

    /// Registers from a dword offset on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn registers(&self, offset: u32, instance: u32, values: &mut [u32]) -> Result {
        let count = u32_of(values.len());
        // SAFETY: a live device and `count` words to write.
        Errno::check(unsafe {
            let read = self.api.amdgpu_read_mm_registers;
            read(self.raw, offset, count, instance, 0, values.as_mut_ptr())
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: everything made from the device borrows it, and so is gone.
        unsafe { (self.api.amdgpu_device_deinitialize)(self.raw) };
    }
}

/// A buffer object.
pub struct Bo<'d> {
    device: &'d Device,
    raw: *mut object::Bo,
    size: u64,
}

impl<'d> Bo<'d> {
    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The kernel's handle.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn handle(&self) -> Result<u32> {
        /// `amdgpu_bo_handle_type_kms`
        const KMS: c_uint = 1;
        let mut handle = 0;
        // SAFETY: a live BO and a place for the result.
        let code = unsafe { (self.device.api.amdgpu_bo_export)(self.raw, KMS, &raw mut handle) };
        Errno::check(code)?;
        Ok(handle)
    }

    /// Maps the whole BO at a GPU address of the library's choice.
    ///
    /// # Errors
    ///
    /// The kernel's, or ENOMEM when no address is left.
    pub fn map_gpu<'b>(&'b self) -> Result<GpuMap<'b, 'd>> {
        let api = self.device.api;
        let (va, range) = self.device.reserve(self.size)?;
        // SAFETY: a live BO; the range is ours.
        let code = unsafe { (api.amdgpu_bo_va_op)(self.raw, 0, self.size, va, 0, VA_OP_MAP) };
        if let Err(e) = Errno::check(code) {
            // SAFETY: the range was allocated above, and nothing uses it.
            unsafe { (api.amdgpu_va_range_free)(range) };
            return Err(e);
        }
        Ok(GpuMap { bo: self, va, range })
    }

    /// Maps the whole BO for the CPU.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn map_cpu<'b>(&'b self) -> Result<CpuMap<'b, 'd>> {
        let mut at = ptr::null_mut();
        // SAFETY: a live BO and a place for the result.
        Errno::check(unsafe { (self.device.api.amdgpu_bo_cpu_map)(self.raw, &raw mut at) })?;
        let at = NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))?;
        // SAFETY: the library keeps the mapping until it is told to unmap, which `CpuMap` does
        // when it is dropped; `ManuallyDrop` keeps `IoMap` from doing so a second time.
        let map = ManuallyDrop::new(unsafe { IoMap::from_raw(at, usize_of(self.size)) });
        Ok(CpuMap { bo: self, map })
    }

    /// Waits until no job uses the BO; false when the time (nanoseconds from now) is over first.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn wait_idle(&self, timeout_ns: u64) -> Result<bool> {
        let mut busy = true;
        // SAFETY: a live BO and a place for the result.
        let code = unsafe {
            (self.device.api.amdgpu_bo_wait_for_idle)(self.raw, timeout_ns, &raw mut busy)
        };
        Errno::check(code)?;
        Ok(!busy)
    }
}

impl Drop for Bo<'_> {
    fn drop(&mut self) {
        // SAFETY: mappings and lists borrow the BO or hold it in the kernel; this reference ends.
        unsafe { (self.device.api.amdgpu_bo_free)(self.raw) };
    }
}

/// A BO in the GPU's address space.
pub struct GpuMap<'b, 'd> {
    bo: &'b Bo<'d>,
    /// Where it starts.
    pub va: u64,
    range: *mut object::Va,
}

impl Drop for GpuMap<'_, '_> {
    fn drop(&mut self) {
        let api = self.bo.device.api;
        // SAFETY: the mapping was made by `map_gpu`, of a BO that is still alive.
        unsafe {
            (api.amdgpu_bo_va_op)(self.bo.raw, 0, self.bo.size, self.va, 0, VA_OP_UNMAP);
            (api.amdgpu_va_range_free)(self.range);
        }
    }
}

/// A BO in this process's address space.
pub struct CpuMap<'b, 'd> {
    bo: &'b Bo<'d>,
    map: ManuallyDrop<IoMap>,
}

impl Deref for CpuMap<'_, '_> {
    type Target = IoMap;

    fn deref(&self) -> &IoMap {
        &self.map
    }
}

impl Drop for CpuMap<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map_cpu`; the view of it goes with this value.
        unsafe { (self.bo.device.api.amdgpu_bo_cpu_unmap)(self.bo.raw) };
    }
}

/// A BO list.
pub struct BoList<'d> {
    device: &'d Device,
    raw: *mut object::List,
}

impl BoList<'_> {
    /// Replaces the content.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn update(&self, bos: &[&Bo<'_>]) -> Result {
        let mut handles: Vec<_> = bos.iter().map(|bo| bo.raw).collect();
        // SAFETY: a live list and as many live BOs as said.
        Errno::check(unsafe {
            let (len, at) = (u32_of(handles.len()), handles.as_mut_ptr());
            (self.device.api.amdgpu_bo_list_update)(self.raw, len, at, ptr::null_mut())
        })
    }

    /// Destroys the list, and says whether the kernel agreed.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn destroy(self) -> Result {
        let list = ManuallyDrop::new(self);
        // SAFETY: a live list, which is not used again.
        Errno::check(unsafe { (list.device.api.amdgpu_bo_list_destroy)(list.raw) })
    }
}

impl Drop for BoList<'_> {
    fn drop(&mut self) {
        // SAFETY: a live list, which is not used again.
        unsafe { (self.device.api.amdgpu_bo_list_destroy)(self.raw) };
    }
}

/// A userptr BO that the library does not know, mapped for the GPU.
pub struct RawUserptr<'d> {
    device: &'d Device,
    /// The kernel's handle.
    pub handle: u32,
    /// GPU address.
    pub va: u64,
    range: *mut object::Va,
}

impl Drop for RawUserptr<'_> {
    fn drop(&mut self) {
        if !self.range.is_null() {
            // Closing the handle takes the mapping with it; an error here can only mean that
            // there is none.
            let _ = self.device.file.gem_va(VA_OP_UNMAP, self.handle, self.va, 0, 0);
            // SAFETY: the range is this value's, and nothing is mapped there any more.
            unsafe { (self.device.api.amdgpu_va_range_free)(self.range) };
        }
        let _ = self.device.file.gem_close(self.handle);
    }
}

/// A BO list made from handles.
pub struct RawList<'d> {
    device: &'d Device,
    handle: u32,
}

impl Drop for RawList<'_> {
    fn drop(&mut self) {
        // SAFETY: a live device; the handle is not used again.
        unsafe { (self.device.api.amdgpu_bo_list_destroy_raw)(self.device.raw, self.handle) };
    }
}

/// A context: an order of jobs for each ring.
pub struct Context<'d> {
    device: &'d Device,
    raw: *mut object::Context,
}

/// A command buffer in GPU memory.
#[derive(Clone, Copy, Debug)]
pub struct Ib {
    /// GPU address.
    pub va: u64,
    /// 32-bit words.
    pub words: u32,
}

impl Ib {
    fn chunk_body(self, engine: Engine) -> uapi::ChunkIb {
        uapi::ChunkIb {
            va_start: self.va,
            ib_bytes: self.words * 4,
            ip_type: engine.ip_type(),
            ring: engine.ring(),
            ..Default::default()
        }
    }
}

/// Where the GPU writes a job's sequence number when the job is done.
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
            .map(|ib| IbInfo { flags: 0, ib_mc_address: ib.va, size: ib.words })
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

impl Fence<'_> {
    /// Waits through the kernel; false when the time (nanoseconds from now) is over first.
    ///
    /// # Errors
    ///
    /// The kernel's, or the error with which the job ended.
    pub fn wait(&self, timeout_ns: u64) -> Result<bool> {
        let mut fence = CsFence {
            context: self.context.raw,
            ip_type: self.engine.ip_type(),
            ip_instance: 0,
            ring: self.engine.ring(),
            fence: self.seq,
        };
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
        Ib { va: self.gpu.va + u64_of(at), words: u32_of(words.len()) }
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
