// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VM: one VMID of the card kept for one file.

use amdgpu_client::{
    drm::File,
    uapi::{
        VM,
        VM_OP_RESERVE_VMID,
        VM_OP_UNRESERVE_VMID,
        Vm, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Setup,
        bad,
        good, //
    },
    rig::Rig, //
};

type Outcome = Result<(), Failure>;

fn call(file: &File, op: u32, flags: u32) -> Outcome {
    Ok(file.call(VM, &Vm { op, flags })?)
}

fn reserve(file: &File) -> Outcome {
    call(file, VM_OP_RESERVE_VMID, 0)
}

fn unreserve(file: &File) -> Outcome {
    call(file, VM_OP_UNRESERVE_VMID, 0)
}

/// A job of a file that has reserved a VMID.
fn submit(rig: &Rig) -> Outcome {
    let ib = [rig.session.nop_ib(crate::rig::ENGINE)];
    let chunks = [crate::rig::ib_chunk(&ib)];
    rig.file().cs(rig.session.ctx, 0, &chunks).setup("CS").map(|_| ())
}

pub fn cases() -> Vec<Case> {
    vec![
        good("reserve, work, give back", |rig| {
            reserve(rig.file())?;
            submit(rig)?;
            unreserve(rig.file())
        }),
        good("reserve twice", |rig| {
            reserve(rig.file())?;
            reserve(rig.file())?;
            unreserve(rig.file())
        }),
        good("give back what one has not", |rig| unreserve(rig.file())),
        good("reserve after another has given back", |rig| {
            let other = rig.node.open().setup("open")?;
            reserve(&other)?;
            unreserve(&other)?;
            reserve(rig.file())?;
            unreserve(rig.file())
        }),
        good("reserve after another has been closed", |rig| {
            let other = rig.node.open().setup("open")?;
            reserve(&other)?;
            drop(other);
            reserve(rig.file())?;
            unreserve(rig.file())
        }),
        bad("reserve what another has", libc::ENOENT, |rig| {
            let other = rig.node.open().setup("open")?;
            reserve(&other)?;
            // The other's end is the end of it.
            reserve(rig.file())
        }),
        bad("operation 0", libc::EINVAL, |rig| call(rig.file(), 0, 0)),
        bad("operation 3", libc::EINVAL, |rig| call(rig.file(), 3, 0)),
        bad("with flags", libc::EINVAL, |rig| call(rig.file(), VM_OP_RESERVE_VMID, 1)),
    ]
}
