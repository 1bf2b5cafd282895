// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `GEM_LIST_HANDLES`: all BOs of a file, for tools that save a process and restore it later.
//!
//! The C driver's is `amdgpu_gem_list_handles_ioctl`.

use kernel::prelude::*;

use crate::{
    abstractions::drm::gem::{
        for_each_handle,
        Handle,
        ObjectExt, //
    },
    bindings::{
        self,
        drm_amdgpu_gem_list_handles,
        drm_amdgpu_gem_list_handles_entry, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    ttm::Bo,
    uapi, //
};

/// Returns the number of a file's BOs, and lists them if there is room for all of them.
///
/// # Errors
///
/// `EAGAIN` if BOs were created meanwhile; `EFAULT`; `ENOMEM`.
pub(crate) fn list_handles(
    _dev: &DrmDevice,
    args: &mut drm_amdgpu_gem_list_handles,
    file: &DrmFile,
) -> Result<u32> {
    let count = count(file)?;
    let has_room = args.num_entries >= count;
    args.num_entries = count;
    if has_room && count != 0 {
        let entries = entries(file, usize::try_from(count)?)?;
        args.num_entries = u32::try_from(entries.len())?;
        uapi::write(args.entries, &entries[..])?;
    }
    Ok(0)
}

fn count(file: &DrmFile) -> Result<u32> {
    let mut count: usize = 0;
    for_each_handle(file, |_, _| count += 1);
    Ok(u32::try_from(count)?)
}

/// Returns the entries of all BOs.
///
/// # Errors
///
/// `EAGAIN` if there are more than `room` BOs; `ENOMEM`.
fn entries(file: &DrmFile, room: usize) -> Result<KVVec<drm_amdgpu_gem_list_handles_entry>> {
    let mut entries = KVVec::with_capacity(room, GFP_KERNEL_ACCOUNT)?;
    let mut fits = true;
    for_each_handle(file, |handle, bo| {
        // Nothing may be allocated here.
        fits &= entries.push_within_capacity(entry(handle, bo)).is_ok();
    });
    if fits {
        Ok(entries)
    } else {
        Err(EAGAIN)
    }
}

/// Returns all that is needed to recreate the BO.
fn entry(handle: Handle, bo: &Bo) -> drm_amdgpu_gem_list_handles_entry {
    let info = bo.create_info();
    let flags = if bo.is_imported() {
        bindings::AMDGPU_GEM_LIST_HANDLES_FLAG_IS_IMPORT
    } else {
        0
    };

    drm_amdgpu_gem_list_handles_entry {
        gem_handle: handle.0,
        flags,
        size: info.bo_size,
        preferred_domains: info.domains,
        alloc_flags: info.domain_flags,
        alignment: info.alignment,
    }
}
