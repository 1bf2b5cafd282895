// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's own DRM types. [`crate::driver`] defines how they behave toward the DRM core.
//!
//! The C driver's are `amdgpu_kms_driver`, `drm_device` and `drm_file`.

use crate::abstractions::drm;

/// The driver, as the DRM core knows it.
pub(crate) struct Driver;

/// A DRM device, which user space may keep open for longer than the driver is bound to its card.
pub(crate) type DrmDevice = drm::Device<Driver>;

/// An open file.
pub(crate) type DrmFile = drm::File<Driver>;
