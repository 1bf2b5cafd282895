// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A DRM driver for AMD GPUs that speaks the amdgpu user-space interface.

use kernel::prelude::*;

mod abstractions;

/// C types and functions that the kernel crate has no bindings for.
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    improper_ctypes,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
mod bindings {
    use kernel::ffi;
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;
    include!(env!("AMDGPU_RS_BINDINGS"));
}

module! {
    type: Probe,
    name: "amdgpu_rs",
    authors: ["The amdgpu_rs authors"],
    description: "AMD GPU driver in Rust",
    license: "Dual MIT/GPL",
}

struct Probe;

impl kernel::Module for Probe {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!(
            "{} {}\n",
            size_of::<bindings::ttm_buffer_object>(),
            size_of::<bindings::drm_gpu_scheduler>()
        );
        Ok(Self)
    }
}
