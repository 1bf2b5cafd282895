// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver as the DRM core sees it: its name and version, its ioctls, its files and buffers. The
//! C driver has this in amdgpu_drv.c (`amdgpu_kms_driver`, `amdgpu_ioctls_kms`).

use core::ops::Deref;

use kernel::{
    device::Bound,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::Arc, //
};

use crate::{
    absent,
    abstractions::{
        dma::{
            Bounces,
            DmaReach, //
        },
        drm::{
            self,
            ioctl::drm_ioctls,
            DriverInfo,
            Features, //
        },
    },
    bo_list,
    cs,
    ctx::{
        self,
        pstate::Pstates, //
    },
    device::Device,
    drm::{
        Driver,
        DrmDevice,
        DrmFile, //
    },
    fdinfo,
    fences,
    file::{
        self,
        File, //
    },
    gem,
    info::{
        self,
        Info, //
    },
    ttm::{
        self,
        Bo, //
    },
    userptr, //
};

/// The driver's data in a DRM device.
#[pin_data]
pub(crate) struct Data {
    device: Arc<Device>,
    /// Memory manager from which buffers get their memory.
    #[pin]
    pub(crate) memory: ttm::DeviceMemory,
    #[pin]
    pub(crate) info: Info,
    /// Power state of the card, which one context may hold.
    pub(crate) pstates: Arc<Pstates>,
}

impl Data {
    /// Creates the data of the DRM device `base`, which reaches `reach` of system memory.
    pub(crate) fn new<'a>(
        base: &'a drm::device::Base,
        device: Arc<Device>,
        reach: DmaReach,
    ) -> impl PinInit<Self, Error> + 'a {
        let (vram, on_chip) = (device.facts.vram, device.facts.graphics.on_chip);

        try_pin_init!(Self {
            device,
            memory <- ttm::DeviceMemory::new(base, vram, reach, on_chip),
            info <- Info::new(),
            pstates: Pstates::new()?,
        }? Error)
    }
}

/// Creates the DRM device of a card. User space does not see it yet.
pub(crate) fn allocate(
    parent: &kernel::device::Device<Bound>,
    device: Arc<Device>,
) -> Result<drm::UnregisteredDevice<Driver>> {
    let reach = DmaReach::of(parent, device.hw.format.address_bits())?;
    if reach.bounces == Bounces::Everything {
        dev_warn!(
            parent,
            "the platform bounces all DMA: memory of processes is refused (GEM_USERPTR)\n"
        );
    }
    let allocation = drm::device::Allocation::<Driver>::new(parent)?;
    allocation.init(Data::new(allocation.base(), device, reach))
}

impl Deref for Data {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

#[vtable]
impl drm::Driver for Driver {
    type Data = Data;
    type File = File;
    type Object = Bo;

    // User space identifies the driver by its name, and its features by the minor version. The
    // kernel's amdgpu_drv.c lists which version added which feature. From 59 on, all VRAM is handed
    // out zeroed. From 64 on, user space can query the queues that it may own: there are none.
    const INFO: DriverInfo = DriverInfo {
        major: 3,
        minor: 64,
        patchlevel: 0,
        name: c"amdgpu",
        desc: c"AMD GPU, in Rust",
    };

    // No MODESET: the card has no display here. The core then answers EOPNOTSUPP to all of its
    // display ioctls, as for every driver that only renders. libdrm's drmIsKMS() relies on that.
    const FEATURES: Features = Features::GEM
        .and(Features::RENDER)
        .and(Features::SYNCOBJ)
        .and(Features::SYNCOBJ_TIMELINE);

    const IOCTLS: &'static [drm::ioctl::Descriptor<Self>] = drm_ioctls! { Driver;
        (IOWR, DRM_AMDGPU_GEM_CREATE,
         drm_amdgpu_gem_create: drm_amdgpu_gem_create_in => drm_amdgpu_gem_create_out,
         AUTH | RENDER_ALLOW, gem::create),
        (IOWR, DRM_AMDGPU_GEM_MMAP,
         drm_amdgpu_gem_mmap: drm_amdgpu_gem_mmap_in => drm_amdgpu_gem_mmap_out,
         AUTH | RENDER_ALLOW, gem::mmap),
        (IOW, DRM_AMDGPU_INFO, drm_amdgpu_info, AUTH | RENDER_ALLOW | OUTSIDE, info::ioctl),
        (IOWR, DRM_AMDGPU_CTX,
         drm_amdgpu_ctx: drm_amdgpu_ctx_in => drm_amdgpu_ctx_out,
         AUTH | RENDER_ALLOW, ctx::ioctl),
        (IOWR, DRM_AMDGPU_BO_LIST,
         drm_amdgpu_bo_list: drm_amdgpu_bo_list_in => drm_amdgpu_bo_list_out,
         AUTH | RENDER_ALLOW | OUTSIDE, bo_list::ioctl),
        (IOWR, DRM_AMDGPU_CS,
         drm_amdgpu_cs: drm_amdgpu_cs_in => drm_amdgpu_cs_out,
         AUTH | RENDER_ALLOW | OUTSIDE, cs::ioctl),
        (IOWR, DRM_AMDGPU_GEM_METADATA, drm_amdgpu_gem_metadata as (gem::MetadataArgs),
         AUTH | RENDER_ALLOW, gem::metadata),
        (IOWR, DRM_AMDGPU_GEM_WAIT_IDLE,
         drm_amdgpu_gem_wait_idle: drm_amdgpu_gem_wait_idle_in => drm_amdgpu_gem_wait_idle_out,
         AUTH | RENDER_ALLOW | OUTSIDE, gem::wait_idle),
        (IOW, DRM_AMDGPU_GEM_VA, drm_amdgpu_gem_va, AUTH | RENDER_ALLOW | OUTSIDE, gem::va),
        (IOWR, DRM_AMDGPU_WAIT_CS,
         drm_amdgpu_wait_cs: drm_amdgpu_wait_cs_in => drm_amdgpu_wait_cs_out,
         AUTH | RENDER_ALLOW | OUTSIDE, ctx::wait_cs),
        (IOWR, DRM_AMDGPU_WAIT_FENCES,
         drm_amdgpu_wait_fences: drm_amdgpu_wait_fences_in => drm_amdgpu_wait_fences_out,
         AUTH | RENDER_ALLOW | OUTSIDE, fences::wait),
        (IOWR, DRM_AMDGPU_FENCE_TO_HANDLE,
         drm_amdgpu_fence_to_handle: drm_amdgpu_fence_to_handle__bindgen_ty_1
             => drm_amdgpu_fence_to_handle__bindgen_ty_2,
         AUTH | RENDER_ALLOW, fences::to_handle),
        (IOWR, DRM_AMDGPU_GEM_OP, drm_amdgpu_gem_op, AUTH | RENDER_ALLOW | OUTSIDE, gem::op),
        (IOW, DRM_AMDGPU_SCHED, drm_amdgpu_sched_in, MASTER, ctx::sched),
        (IOWR, DRM_AMDGPU_GEM_LIST_HANDLES, drm_amdgpu_gem_list_handles,
         AUTH | RENDER_ALLOW | OUTSIDE, gem::list_handles),
        (IOWR, DRM_AMDGPU_VM,
         drm_amdgpu_vm: drm_amdgpu_vm_in => drm_amdgpu_vm_out,
         AUTH | RENDER_ALLOW, file::vm),
        (IOWR, DRM_AMDGPU_USERQ, drm_amdgpu_userq, AUTH | RENDER_ALLOW, absent::user_queues),
        (IOWR, DRM_AMDGPU_USERQ_SIGNAL, drm_amdgpu_userq_signal,
         AUTH | RENDER_ALLOW, absent::user_queues),
        (IOWR, DRM_AMDGPU_USERQ_WAIT, drm_amdgpu_userq_wait,
         AUTH | RENDER_ALLOW, absent::user_queues),
        (IOWR, DRM_AMDGPU_PROC_OPTIONS, drm_amdgpu_proc_options,
         AUTH | RENDER_ALLOW, absent::process_options),
        (IOWR, DRM_AMDGPU_GEM_USERPTR, drm_amdgpu_gem_userptr,
         AUTH | RENDER_ALLOW | OUTSIDE, userptr::ioctl),
    };

    const DEBUGFS: &'static [drm::debugfs::File<Self>] = &[drm::debugfs::File {
        name: c"amdgpu_gpu_recover",
        show: recover,
    }];

    fn open(dev: &DrmDevice) -> Result<Pin<KBox<File>>> {
        File::new(dev)
    }

    fn flush(_dev: &DrmDevice, file: &DrmFile) {
        file.inner().flush();
    }

    fn release(_dev: &DrmDevice, file: &DrmFile) {
        file.inner().release();
    }

    fn close(file: Pin<KBox<File>>) {
        File::close(file);
    }

    fn show_fdinfo(dev: &DrmDevice, file: &DrmFile, printer: &mut drm::file::Printer) {
        fdinfo::show(dev, file, printer);
    }
}

/// Resets all engines of a card, and shows the result: 0, or an error number.
fn recover(dev: &DrmDevice, seq: &SeqFile) -> Result {
    let result = dev.recovery.recover_all();
    seq_print!(seq, "{}\n", result.err().map_or(0, Error::to_errno));
    Ok(())
}
