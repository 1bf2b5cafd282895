// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Capabilities of the current task.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::bindings;
use kernel::ffi;

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability(u32);

/// Capability to raise priorities above those of other tasks.
pub(crate) const CAP_SYS_NICE: Capability = Capability(bindings::CAP_SYS_NICE);

/// Returns true if the current task has `capability` in the initial user namespace.
pub(crate) fn has_capability(capability: Capability) -> bool {
    // CAST: Capabilities are small numbers.
    // SAFETY: The current task may always be asked for any valid capability.
    unsafe { bindings::capable(capability.0 as ffi::c_int) }
}
