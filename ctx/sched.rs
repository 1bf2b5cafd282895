// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The `SCHED` ioctl (`amdgpu_sched_ioctl` in the C driver): the master of the primary node, a
//! compositor, sets the urgency of other clients' work.
//!
//! The DRM core lets nobody else call it. Files are named by descriptors of the caller, contexts by
//! their numbers in that file. The file may belong to another device of this driver.

use kernel::prelude::*;

use crate::{
    abstractions::drm::file::Opened,
    bindings::{
        self,
        drm_amdgpu_sched_in, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
};

use super::Urgency;

/// Changes the urgency of one context of a file, or of all that the file has at present.
///
/// # Errors
///
/// `EINVAL` for an unknown operation, priority, file or context; `ENOMEM`.
pub(crate) fn ioctl(
    dev: &DrmDevice,
    args: &mut drm_amdgpu_sched_in,
    _file: &DrmFile,
) -> Result<u32> {
    let whole_file = match args.op {
        bindings::AMDGPU_SCHED_OP_PROCESS_PRIORITY_OVERRIDE => true,
        bindings::AMDGPU_SCHED_OP_CONTEXT_PRIORITY_OVERRIDE => false,
        _ => return Err(EINVAL),
    };
    let urgency = Urgency::named(args.priority).ok_or(EINVAL)?;
    let file = Opened::from_fd(dev, args.fd).ok_or(EINVAL)?;
    let contexts = &file.inner().get_ref().contexts;
    if whole_file {
        for context in contexts.table.all()? {
            context.set_urgency(urgency);
        }
    } else {
        contexts.get(args.ctx_id)?.set_urgency(urgency);
    }
    Ok(0)
}
