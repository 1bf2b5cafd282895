// SPDX-License-Identifier: GPL-2.0 OR MIT

//! State of each open file (`amdgpu_fpriv` in the C driver).
//!
//! # Closing a file
//!
//! Closing a file or exiting never waits for the GPU, whatever is queued:
//!
//! - jobs of a process that is killed are no longer run: `flush` marks them before any handle is
//!   closed, and so does the notifier of user memory, which runs before the files are closed;
//! - other jobs get some time ([`File::GRACE`], or less if the process exits), and are not run
//!   after it;
//! - memory that jobs on the rings may reach stays until they have ended: a worker waits for that,
//!   and tears down the mappings.

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
/// Fields are dropped in order: first those that submit jobs, then those that jobs use.
#[pin_data]
pub(crate) struct File {
    /// Contexts, through which the file's submissions come.
    #[pin]
    pub(crate) contexts: Contexts,
    /// Buffer lists of the file, by handle.
    #[pin]
    pub(crate) bo_lists: BoLists,
    /// Address space that the GPU uses for this file.
    pub(crate) vm: OpenVm,
    /// Reserved VMID of the file, if it has one.
    own_vmid: OwnVmid,
    /// Time that remaining jobs may go on, in ms; set when the file is released.
    grace: Atomic<Msecs>,
    /// Work queue on which the file is torn down if jobs remain.
    closing: Arc<OwnedQueue>,
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
    /// Time that the jobs of a closed file may go on, in ms.
    const GRACE: Msecs = 10_000;
    /// Time that they may go on if the process has exited, in ms.
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
                closing: dev.closing.clone(),
                tear_down <- new_work!("File::tear_down"),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Called when a file descriptor of the file is closed.
    pub(crate) fn flush(&self) {
        self.vm.submitters().leave();
    }

    /// Called when the last file descriptor is closed, before the handles are.
    pub(crate) fn release(&self) {
        let grace = match Exit::of_current() {
            Exit::No => Self::GRACE,
            Exit::Exiting => Self::GRACE_OF_EXITED,
            Exit::Killed => 0,
        };
        self.grace.store(grace, Relaxed);
        self.vm.begin_close();
    }

    /// Called when the file and all of its handles are closed.
    pub(crate) fn close(this: Pin<KBox<Self>>) {
        if this.vm.is_idle() {
            this.vm.tear_down(0);
        } else {
            // The tear-down may wait for a long time. The module waits for `closing` on exit.
            let closing = this.closing.clone();
            closing.enqueue(this);
        }
    }

    /// Returns true if a VMID is reserved for the file.
    pub(crate) fn has_own_vmid(&self) -> bool {
        self.own_vmid.is_reserved()
    }
}

/// Handles the `VM` ioctl: reserves a VMID for the file, or ends the reservation.
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
