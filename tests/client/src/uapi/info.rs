// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Descriptions of the device and of its state.

use super::{
    Addr,
    Ioctl,
    READ_WRITE,
    WRITE,
    driver,
    ioctl,
    pod, //
};

/// INFO queries.
pub const INFO_ACCEL_WORKING: u32 = 0x00;
/// Display controller of an object.
pub const INFO_CRTC_FROM_ID: u32 = 0x01;
/// One kind of engine.
pub const INFO_HW_IP_INFO: u32 = 0x02;
/// Number of engines of one kind.
pub const INFO_HW_IP_COUNT: u32 = 0x03;
/// Microcode version.
pub const INFO_FW_VERSION: u32 = 0x0e;
/// Selected registers.
pub const INFO_READ_MMR_REG: u32 = 0x15;
/// Facts of the chip.
pub const INFO_DEV_INFO: u32 = 0x16;
/// Bytes that were moved for jobs.
pub const INFO_NUM_BYTES_MOVED: u32 = 0x0f;
/// Number of times that a BO had to leave VRAM.
pub const INFO_NUM_EVICTIONS: u32 = 0x18;
/// Sizes of VRAM and GTT.
pub const INFO_VRAM_GTT: u32 = 0x14;
/// VRAM in use that the CPU sees.
pub const INFO_VIS_VRAM_USAGE: u32 = 0x17;
/// Number of times that the CPU touched VRAM that it does not see.
pub const INFO_NUM_VRAM_CPU_PAGE_FAULTS: u32 = 0x1e;
/// Heap sizes and use.
pub const INFO_MEMORY: u32 = 0x19;
/// BIOS image.
pub const INFO_VBIOS: u32 = 0x1b;
/// Number of times that the contents of VRAM were lost.
pub const INFO_VRAM_LOST_COUNTER: u32 = 0x1f;
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

/// `drm_amdgpu_info_gpuvm_fault`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct GpuvmFault {
    pub addr: u64,
    pub status: u32,
    pub vmhub: u32,
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

/// `drm_amdgpu_info_vram_gtt`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the header's fields")]
pub struct VramGtt {
    pub vram_size: u64,
    pub vram_cpu_accessible_size: u64,
    pub gtt_size: u64,
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
    pub vce_harvest_config: u32,
    pub gc_double_offchip_lds_buf: u32,
    /// Of primitives, positions, control and parameters.
    pub buf_gpu_addr: [u64; 4],
    pub buf_size: [u32; 4],
    pub wave_front_size: u32,
    pub num_shader_visible_vgprs: u32,
    pub num_cu_per_sh: u32,
    pub num_tcc_blocks: u32,
    pub gs_vgt_table_depth: u32,
    pub gs_prim_buffer_depth: u32,
    pub max_gs_waves_per_vgt: u32,
    pub pcie_num_lanes: u32,
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
    GpuvmFault = 16, Info<'a> = 32, HwIp = 40, VbiosInfo = 200, Heap = 32, Memory = 96,
    VramGtt = 24, Firmware = 8, DevInfo = 272, Version<'a> = 64,
}

/// DRM_IOCTL_VERSION
pub const VERSION: Ioctl<Version<'_>, Version<'_>> = ioctl(READ_WRITE, 0x00, "VERSION");
/// INFO
pub const INFO: Ioctl<Info<'_>, ()> = driver(WRITE, 0x05, "INFO");
