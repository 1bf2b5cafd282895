// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Cases that hold for every ioctl.

use amdgpu_client::uapi::{
    self,
    Addr,
    COMMAND_BASE,
    DRM_TYPE,
    encode, //
};

use crate::{
    case::{
        Case,
        Expect,
        OK,
        bad,
        differ,
        good, //
    },
    rig::{
        NO_HANDLE,
        PAGE64, //
    }, //
};

const READ_WRITE: u64 = 3;

/// Numbers of ioctls that this card has no use for.
const USERQ: u64 = COMMAND_BASE + 0x16;
const PROC_OPTIONS: u64 = COMMAND_BASE + 0x1a;

/// An error that the kernel has for itself, and that the C driver lets out.
const ENOTSUPP: i32 = 524;

pub fn cases() -> Vec<Case> {
    vec![
        bad("another type byte", libc::ENOTTY, |rig| {
            let request = encode(READ_WRITE, u64::from(b'x'), COMMAND_BASE, 32);
            Ok(rig.file().call_any(request, &mut [0; 32])?)
        }),
        bad("a number behind the last", libc::EINVAL, |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, COMMAND_BASE + 0x40, 32);
            Ok(rig.file().call_any(request, &mut [0; 32])?)
        }),
        bad("the last number of the driver's space", libc::EINVAL, |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, 0x9f, 32);
            Ok(rig.file().call_any(request, &mut [0; 32])?)
        }),
        bad("an argument at an address of nothing", libc::EFAULT, |rig| {
            Ok(rig.file().call_at(uapi::GEM_CREATE.request, Addr::UNMAPPED)?)
        }),
        bad("an argument at a kernel address", libc::EFAULT, |rig| {
            Ok(rig.file().call_at(uapi::GEM_CREATE.request, Addr::KERNEL)?)
        }),
        good("a structure shorter than the kernel's", |rig| {
            // Without the last field, which is then taken as 0.
            let mut argument = gem_create_bytes();
            let request = encode(READ_WRITE, DRM_TYPE, COMMAND_BASE, 24);
            rig.file().call_any(request, &mut argument[..24])?;
            Ok(rig.file().gem_close(first_word(&argument))?)
        }),
        good("a structure longer than the kernel's", |rig| {
            let mut argument = [0xff; 64];
            argument[..32].copy_from_slice(&gem_create_bytes());
            let request = encode(READ_WRITE, DRM_TYPE, COMMAND_BASE, 64);
            rig.file().call_any(request, &mut argument)?;
            Ok(rig.file().gem_close(first_word(&argument))?)
        }),
        bad("queues of user space's own", ENOTSUPP, |rig| {
            Ok(rig.file().call_any(encode(READ_WRITE, DRM_TYPE, USERQ, 72), &mut [0; 72])?)
        }),
        bad("signals of queues of user space's own", ENOTSUPP, |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, USERQ + 1, 48);
            Ok(rig.file().call_any(request, &mut [0; 48])?)
        }),
        bad("waits of queues of user space's own", ENOTSUPP, |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, USERQ + 2, 72);
            Ok(rig.file().call_any(request, &mut [0; 72])?)
        }),
        // The C driver has this if it was built with the compute interface, for processes that use
        // it.
        differ("options of a process", OK, Expect::Refusal(libc::EOPNOTSUPP), |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, PROC_OPTIONS, 8);
            Ok(rig.file().call_any(request, &mut [0; 8])?)
        }),
        bad("no option of a process", libc::EINVAL, |rig| {
            let request = encode(READ_WRITE, DRM_TYPE, PROC_OPTIONS, 8);
            Ok(rig.file().call_any(request, &mut [1; 8])?)
        }),
        bad("GEM_CLOSE of no handle", libc::EINVAL, |rig| Ok(rig.file().gem_close(NO_HANDLE)?)),
        bad("GEM_CLOSE of handle 0", libc::EINVAL, |rig| Ok(rig.file().gem_close(0)?)),
    ]
}

/// A valid GEM_CREATE of one page of GTT, as bytes.
fn gem_create_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&PAGE64.to_le_bytes());
    bytes[16..24].copy_from_slice(&uapi::DOMAIN_GTT.to_le_bytes());
    bytes
}

fn first_word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
