// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ioctls of the interface that ask for what the card or the driver has not.
//!
//! They answer as the C driver does where it has it not either, so that user space can tell that from
//! an interface that does not know the call.

use kernel::{
    error::code::ENOTSUPP,
    prelude::*, //
};

use crate::{
    bindings::{
        self,
        drm_amdgpu_proc_options, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
};

/// `USERQ`, `USERQ_SIGNAL`, `USERQ_WAIT`: queues that user space owns. `INFO` says that there are none.
pub(crate) fn user_queues<T>(_dev: &DrmDevice, _args: &mut T, _file: &DrmFile) -> Result<u32> {
    Err(ENOTSUPP)
}

/// `PROC_OPTIONS`: what the compute interface (KFD) does for the process; it has no part in this
/// driver.
pub(crate) fn process_options(
    _dev: &DrmDevice,
    args: &mut drm_amdgpu_proc_options,
    _file: &DrmFile,
) -> Result<u32> {
    match args.op {
        bindings::AMDGPU_PROC_OPTIONS_OP_KFD_SIGBUS_DELAY => Err(EOPNOTSUPP),
        _ => Err(EINVAL),
    }
}
