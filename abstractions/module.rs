// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The end of a module that C code calls.
//!
//! C keeps pointers to a module's functions in what the module gives to it: fences, notifiers,
//! jobs, devices. Here each of these is a value, which takes the pointers back when it ends. But
//! safe code may leak a value, or keep it where nobody drops it; if the module is then unloaded, C
//! calls functions that are no longer there.
//!
//! A reference to the module in each value would prevent that. It would also prevent that a module
//! is unloaded while a device is bound to it, though unbinding the device, which is a part of
//! unloading the module, ends the values. So the module makes a promise, once: [`Drained`]. The
//! traits that a driver implements for such values name the module by `OwnerModule`, as all traits
//! with `#[vtable]` do, and require the promise.
//!
//! The C driver has no counterpart: it relies on the same, and nothing says so.
//!
//! Values that the driver core ends when a device is unbound (`Devres`) need no promise, as they
//! cannot be leaked: [`drm::Registration`], [`ttm::Attachment`], [`pm::Notifier`].
//!
//! [`drm::Registration`]: super::drm::Registration
//! [`ttm::Attachment`]: super::drm::ttm::Attachment
//! [`pm::Notifier`]: super::pm::Notifier

use kernel::ModuleMetadata;

/// A module that ends what it has given to C before it is unloaded.
///
/// # Safety
///
/// When the last function of the module has returned to the code that unloads it:
///
/// - Every fence with the data of a [`DriverFence`] of the module has been signaled, that is, no
///   [`PendingFence`] is left.
/// - No [`FenceWork`] of the module is queued or waits for a fence.
/// - No [`IntervalNotifier`] is left whose [`Callbacks`] are the module's.
/// - No job of a [`JobOps`] of the module is left, and no scheduler of such jobs.
/// - No DRM device of a [`drm::Driver`] of the module is left, and so no buffer object.
///
/// [`Callbacks`]: super::mm::interval_notifier::Callbacks
/// [`DriverFence`]: super::dma_fence::DriverFence
/// [`FenceWork`]: super::dma_fence::FenceWork
/// [`IntervalNotifier`]: super::mm::interval_notifier::IntervalNotifier
/// [`JobOps`]: super::drm::sched::JobOps
/// [`PendingFence`]: super::dma_fence::PendingFence
/// [`drm::Driver`]: super::drm::Driver
#[allow(dead_code, reason = "the compiler does not take a bound for a use")]
pub(crate) unsafe trait Drained: ModuleMetadata {}
