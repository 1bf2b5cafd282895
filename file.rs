// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What each open file has of its own.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings::{
        self,
        drm_amdgpu_vm_in,
        drm_amdgpu_vm_out, //
    },
    bo_list::BoLists,
    ctx::Contexts,
    drm::{
        DrmDevice,
        DrmFile, //
    },
    exec::vmid::OwnVmid,
    vm::Vm, //
};

/// The driver's data of an open file.
///
/// Fields are dropped in order: first what submits jobs, then what jobs use.
#[pin_data]
pub(crate) struct File {
    /// Where its submissions come from.
    #[pin]
    pub(crate) contexts: Contexts,
    /// Its lists of buffers, by handle.
    #[pin]
    pub(crate) bo_lists: BoLists,
    /// What the GPU sees when it works for this file.
    pub(crate) vm: Arc<Vm>,
    /// Its VMID, if it has one for itself.
    own_vmid: OwnVmid,
}

impl File {
    pub(crate) fn new(dev: &DrmDevice) -> Result<Pin<KBox<Self>>> {
        let vm = Vm::new(dev)?;
        KBox::pin_init(
            try_pin_init!(Self {
                contexts <- Contexts::new(),
                bo_lists <- BoLists::new(),
                own_vmid: dev.schedulers.own_vmid(&*vm),
                vm,
            }? Error),
            GFP_KERNEL,
        )
    }
}

/// `VM`: has one VMID kept for the file, or gives it back.
pub(crate) fn vm(
    _dev: &DrmDevice,
    args: &drm_amdgpu_vm_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_vm_out> {
    let own_vmid = &file.inner().get_ref().own_vmid;

    if args.flags != 0 {
        return Err(EINVAL);
    }
    match args.op {
        bindings::AMDGPU_VM_OP_RESERVE_VMID => own_vmid.reserve()?,
        bindings::AMDGPU_VM_OP_UNRESERVE_VMID => own_vmid.unreserve(),
        _ => return Err(EINVAL),
    }
    Ok(drm_amdgpu_vm_out { flags: 0 })
}
