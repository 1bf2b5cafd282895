// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Safe Rust over the C subsystems that the kernel crate lacks.
//!
//! Each module lies where the kernel crate would have it and knows nothing of this driver. It is
//! written for any driver, but what this one does not use is left out.

pub(crate) mod acpi;
pub(crate) mod bound;
pub(crate) mod capability;
pub(crate) mod clock;
pub(crate) mod devcoredump;
pub(crate) mod dma;
pub(crate) mod dma_buf;
pub(crate) mod dma_fence;
pub(crate) mod dma_resv;
pub(crate) mod drm;
pub(crate) mod maple_tree;
pub(crate) mod mm;
pub(crate) mod module;
pub(crate) mod pci;
pub(crate) mod pm;
pub(crate) mod sync_file;
pub(crate) mod task;
pub(crate) mod tracepoint;
pub(crate) mod vgaarb;
pub(crate) mod workqueue;
