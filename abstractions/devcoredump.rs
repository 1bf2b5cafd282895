// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Dumps of a device's state for user space (devcoredump).
//!
//! A dump is a file in sysfs that only root can read. It is there until somebody writes to it, or
//! for five minutes. While a device has one, others of the device are dropped.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)

use super::drm::device::device_as_raw;
use crate::bindings;
use kernel::{
    device,
    prelude::*, //
};

/// Hands over a dump of a device. The core frees the memory, and needs neither the driver nor its
/// module for that: the driver may be unloaded meanwhile.
///
/// Sleeps.
pub(crate) fn publish(dev: &device::Device, dump: VVec<u8>) {
    if dump.is_empty() {
        return;
    }
    let (data, len, _) = dump.into_raw_parts();
    // SAFETY: The device is valid. The vector is not empty, so its memory was allocated by
    // `Vmalloc`, as the function expects. It takes the memory over, of which `len` bytes are
    // initialized.
    unsafe { bindings::rust_ext_dev_coredumpv(device_as_raw(dev), data.cast(), len) };
}
