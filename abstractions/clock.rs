// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The time of day, and the version of the kernel, for reports.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
//! [`include/linux/utsname.h`](srctree/include/linux/utsname.h)

use crate::bindings;
use kernel::prelude::*;

/// Returns the time of day, in seconds since 1970 (UTC).
pub(crate) fn real_seconds() -> i64 {
    // SAFETY: There are no requirements.
    unsafe { bindings::rust_ext_real_seconds() }
}

/// Returns the release of the kernel that runs.
pub(crate) fn kernel_release() -> &'static CStr {
    // SAFETY: The string is a static one, and ends with a zero.
    unsafe { CStr::from_char_ptr(bindings::rust_ext_kernel_release()) }
}
