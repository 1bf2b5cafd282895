// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ioctls of the interface for features that the card or the driver does not have.
//!
//! They answer as the C driver does on a card without the feature, so that user space can tell this
//! from an interface that does not know the call.

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

/// Handles `USERQ`, `USERQ_SIGNAL` and `USERQ_WAIT`: queues that user space owns. `INFO` reports
/// that there are none.
pub(crate) fn user_queues<T>(_dev: &DrmDevice, _args: &mut T, _file: &DrmFile) -> Result<u32> {
    Err(ENOTSUPP)
}

/// Handles `PROC_OPTIONS`: options of the compute interface (KFD) for the process. KFD has no part
/// in this driver.
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
