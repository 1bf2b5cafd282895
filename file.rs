// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What each open file has of its own.
//!
//! # When it is closed
//!
//! Nobody waits for the GPU to close a file, nor to exit, whatever is queued:
//!
//! - jobs of a process that is killed are not run any more: `flush` says so, before any handle is
//!   closed, and so does the notifier of user memory, which goes before the files;
//! - other jobs have some time ([`File::GRACE`], or less if the process exits), and are not run
//!   after it;
//! - what the jobs on the rings may reach stays until they have ended: a worker waits for that, and
//!   takes down what is mapped.

use kernel::{
    impl_has_work,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

use crate::{
    abstractions::{
        task::Exit,
        workqueue::OwnedQueue, //
    },
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
    vm::{
        OpenVm,
        Vm, //
    },
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
    pub(crate) vm: OpenVm,
    /// Its VMID, if it has one for itself.
    own_vmid: OwnVmid,
    /// Time that the jobs that are left may go on, in ms; set at the end.
    grace: Atomic<Msecs>,
    /// Where it is torn down if jobs are left.
    reaper: Arc<OwnedQueue>,
    #[pin]
    tear_down: Work<File>,
}

impl_has_work! {
    impl HasWork<Self> for File { self.tear_down }
}

impl WorkItem for File {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        this.vm
            .tear_down(msecs_to_jiffies(this.grace.load(Relaxed)));
    }
}

impl File {
    /// Time that the jobs of a file that was closed may go on, in ms.
    const GRACE: Msecs = 10_000;
    /// The same, if its process has exited.
    const GRACE_OF_EXITED: Msecs = 1_000;

    pub(crate) fn new(dev: &DrmDevice) -> Result<Pin<KBox<Self>>> {
        let vm = Vm::open_new(dev)?;
        KBox::pin_init(
            try_pin_init!(Self {
                contexts <- Contexts::new(),
                bo_lists <- BoLists::new(),
                own_vmid: dev.schedulers.own_vmid(&**vm),
                vm,
                grace: Atomic::new(0),
                reaper: dev.reaper.clone(),
                tear_down <- new_work!("File::tear_down"),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// A file descriptor of the file is closed.
    pub(crate) fn flush(&self) {
        self.vm.submitters().leave();
    }

    /// The last file descriptor is closed; next, the handles are.
    pub(crate) fn release(&self) {
        let grace = match Exit::of_current() {
            Exit::No => Self::GRACE,
            Exit::Exiting => Self::GRACE_OF_EXITED,
            Exit::Killed => 0,
        };
        self.grace.store(grace, Relaxed);
        self.vm.begin_close();
    }

    /// The file is closed, and its handles are.
    pub(crate) fn close(this: Pin<KBox<Self>>) {
        if this.vm.is_idle() {
            this.vm.tear_down(0);
        } else {
            // It may wait for long. And the module waits for it.
            let reaper = this.reaper.clone();
            reaper.enqueue(this);
        }
    }

    /// Returns true if one VMID is kept for the file.
    pub(crate) fn has_own_vmid(&self) -> bool {
        self.own_vmid.is_reserved()
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
