// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The distribution's `libdrm_amdgpu`, opened at run time, behind types that give back what they
//! hold.
//!
//! The published Rust bindings (`libdrm_amdgpu_sys`) keep buffers and submissions to themselves,
//! so the two dozen functions that are needed are declared here.

use std::{
    ffi::c_uint,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};

use crate::{
    Errno,
    Result,
    drm::{
        self,
        IoMap,
        Node, //
    },
    mem::UserMem,
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    uapi::{
        self,
        HwIp,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

mod ffi;
mod submit;

pub use submit::{
    Context,
    Fence,
    Ib,
    IbPool,
    UserFence,
    finish,
    wait_several, //
};

use ffi::{
    AllocRequest,
    Api,
    api,
    object, //
};

/// A device as libdrm sees it.
pub struct Device {
    api: &'static Api,
    raw: *mut object::Device,
    /// DRM version that the library reported, major and minor.
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

    /// Has a GPU address range where nothing is resident (PRT): shaders read zeros there, and what
    /// they write vanishes.
    ///
    /// # Errors
    ///
    /// The kernel's, or ENOMEM when no address is left.
    pub fn hole(&self, size: usize) -> Result<Hole<'_>> {
        let size = u64_of(size);
        let (va, range) = self.reserve(size)?;
        let hole = Hole { device: self, va, size, range };
        hole.op(VA_OP_MAP)?;
        Ok(hole)
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

    /// Returns the driver's account of one kind of engine.
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
    /// Start of the mapping.
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

/// A GPU address range where nothing is resident.
pub struct Hole<'d> {
    device: &'d Device,
    /// Start of the mapping.
    pub va: u64,
    size: u64,
    range: *mut object::Va,
}

impl Hole<'_> {
    fn op(&self, operation: u32) -> Result {
        let request = uapi::GemVa {
            operation,
            flags: uapi::VM_PAGE_PRT,
            va_address: self.va,
            map_size: self.size,
            ..Default::default()
        };
        self.device.file.call(uapi::GEM_VA, &request)
    }

    /// Shows a BO there instead, while `f` runs.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn filled<R>(&self, bo: &Bo<'_>, f: impl FnOnce() -> R) -> Result<R> {
        let handle = bo.handle()?;
        self.device.file.gem_va(uapi::VA_OP_REPLACE, handle, self.va, 0, self.size)?;
        let result = f();
        self.op(uapi::VA_OP_REPLACE)?;
        Ok(result)
    }
}

impl Drop for Hole<'_> {
    fn drop(&mut self) {
        // An error can only mean that it is not there.
        let _ = self.op(VA_OP_UNMAP);
        // SAFETY: the range is this value's, and nothing is mapped there any more.
        unsafe { (self.device.api.amdgpu_va_range_free)(self.range) };
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
