// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Direct Rendering Manager (DRM): devices, open files, ioctls and memory managers of GPU drivers.
//!
//! `kernel::drm` exists only where the DRM core is built into the kernel. It does not support
//! buffer objects of the Translation Table Maps memory manager (TTM) or synchronization objects.
//! This module is for drivers that need those, and for kernels whose DRM core is a module.
//!
//! The life of a device:
//!
//! 1. [`device::Allocation::new`] allocates the `struct drm_device` with room for the driver's data
//!    behind it, and [`device::Allocation::init`] initializes that data. The result is an
//!    [`UnregisteredDevice`].
//! 2. [`Registration::new`] makes the device visible to user space.
//! 3. Dropping the [`Registration`], at the latest when the parent device is unbound, unplugs the
//!    device and waits for the ioctls in progress. Open files stay; their ioctls fail with
//!    `ENODEV`.
//! 4. When the last [`ARef`](kernel::sync::aref::ARef) and the last open file are gone, the
//!    driver's data is dropped.
//!
//! The parts of a driver's interface (device, driver, file, GEM object, ioctl) are defined in terms
//! of each other, as in C: these files import each other in a circle.

mod children;
pub(crate) mod debugfs;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod gem;
pub(crate) mod ioctl;
pub(crate) mod sched;
pub(crate) mod syncobj;
pub(crate) mod ttm;

pub(crate) use self::{
    device::{
        Device,
        UnregisteredDevice, //
    },
    driver::{
        Driver,
        DriverInfo,
        Features,
        Registration, //
    },
    file::File, //
};
