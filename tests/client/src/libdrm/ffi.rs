// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The library's functions and structures, after its public header `amdgpu/amdgpu.h`.

use std::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    sync::OnceLock, //
};

use crate::uapi::{
    self,
    Chunk,
    HwIp, //
};

/// Declares the function table and the loader that fills it.
macro_rules! library {
    ($($name:ident: fn($($arg:ty),* $(,)?) $(-> $ret:ty)?;)+) => {
        pub(super) struct Api {
            $(pub(super) $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)+
            // Last, so that it outlives the functions that lie in it.
            _library: libloading::Library,
        }

        impl Api {
            fn load() -> std::result::Result<Self, libloading::Error> {
                // SAFETY: the library's initializers do nothing that Rust could mind.
                let library = unsafe { libloading::Library::new("libdrm_amdgpu.so.1") }?;
                $(
                    let name = concat!(stringify!($name), "\0").as_bytes();
                    // SAFETY: the type is that of the function of this name in the library's
                    // header, whose interface is fixed by its major version.
                    let $name = *unsafe { library.get(name) }?;
                )+
                Ok(Self { $($name,)+ _library: library })
            }
        }
    };
}

/// The library's own object types, of which only addresses are known.
pub(super) mod object {
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
pub(super) struct AllocRequest {
    pub(super) alloc_size: u64,
    pub(super) phys_alignment: u64,
    pub(super) preferred_heap: u32,
    pub(super) flags: u64,
}

#[repr(C)]
pub(super) struct IbInfo {
    pub(super) flags: u64,
    pub(super) ib_mc_address: u64,
    pub(super) size: u32,
}

#[repr(C)]
pub(super) struct FenceInfo {
    pub(super) handle: *mut object::Bo,
    pub(super) offset: u64,
}

#[repr(C)]
pub(super) struct CsRequest {
    pub(super) flags: u64,
    pub(super) ip_type: c_uint,
    pub(super) ip_instance: c_uint,
    pub(super) ring: u32,
    pub(super) resources: *mut object::List,
    pub(super) number_of_dependencies: u32,
    pub(super) dependencies: *mut CsFence,
    pub(super) number_of_ibs: u32,
    pub(super) ibs: *mut IbInfo,
    pub(super) seq_no: u64,
    pub(super) fence_info: FenceInfo,
}

#[repr(C)]
pub(super) struct CsFence {
    pub(super) context: *mut object::Context,
    pub(super) ip_type: u32,
    pub(super) ip_instance: u32,
    pub(super) ring: u32,
    pub(super) fence: u64,
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
        fn(
            *mut object::Device, u32, *mut *mut object::Bo, *mut u8, *mut *mut object::List,
        ) -> c_int;
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
    amdgpu_cs_wait_fences: fn(*mut CsFence, u32, bool, u64, *mut u32, *mut u32) -> c_int;
    amdgpu_cs_fence_to_handle: fn(*mut object::Device, *mut CsFence, u32, *mut u32) -> c_int;
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

/// The library, opened once.
pub(super) fn api() -> std::result::Result<&'static Api, String> {
    static API: OnceLock<std::result::Result<Api, String>> = OnceLock::new();
    API.get_or_init(|| Api::load().map_err(|e| e.to_string())).as_ref().map_err(Clone::clone)
}
