// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Common parts of the test programs: two ways to reach an amdgpu-compatible kernel driver, and all
//! that is needed to give it work and to judge the result.
//!
//! Two ways, because they ask different questions:
//!
//! - [`libdrm`] goes through the distribution's own, unmodified `libdrm_amdgpu`, as Mesa and every
//!   other program does. It shows that the driver is *usable*.
//! - [`drm`] issues the ioctls itself, with any bytes at all in them. It shows what the driver
//!   *refuses*, and races it in ways that a well-behaved library would not.
//!
//! The rest: [`uapi`] the structures of `include/uapi/drm/amdgpu_drm.h`; [`sdma`] and [`pm4`]
//! packets, one type each, collected in an [`ib::Stream`]; [`hang`] jobs that hang, and [`loss`]
//! what is seen of VRAM that was lost; [`bus_error`] errors of the PCI bus; [`mem`] anonymous
//! memory that can be replaced under the GPU, and [`generations`] what the GPU may then have read;
//! [`session`] a file with a context and a command buffer, made of raw ioctls; [`start`] how a
//! program begins; [`stats`] the driver's counters, [`fdinfo`] what monitors read; [`clock`] what a
//! call costs; [`trace`] marks in the kernel's trace, [`klog`] its complaints; [`uevent`] what the
//! kernel tells of devices; [`userfault`] memory that is held back; [`report`] how results are
//! said.

pub mod args;
pub mod bus_error;
pub mod child;
pub mod clock;
pub mod drm;
pub mod engine;
pub mod error;
pub mod fdinfo;
pub mod frames;
pub mod generations;
pub mod given_up;
pub mod hang;
pub mod ib;
pub mod klog;
pub mod libdrm;
pub mod loss;
pub mod mem;
pub mod num;
pub mod pm4;
pub mod race;
pub mod report;
pub mod rng;
pub mod sdma;
pub mod session;
pub mod start;
pub mod stats;
pub mod trace;
pub mod uapi;
pub mod uevent;
pub mod userfault;

pub use error::{
    Errno,
    Result, //
};

/// Size of a CPU page and of a GFX7 GPU page, in bytes.
pub const PAGE: usize = 4096;
