// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Access to a bound device for code that the driver core does not call.
//!
//! The driver core hands a [`Device<Bound>`] to the functions of a driver that it calls. A work
//! item that has to sleep while it uses the device gets it from a [`BoundSlot`], which the driver
//! fills when it is bound and empties before it is unbound.

use core::ptr::NonNull;

use kernel::{
    device::{
        Bound,
        Device, //
    },
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// A place for a bound device, and for what its user needs along with it.
#[pin_data]
pub(crate) struct BoundSlot<T> {
    #[pin]
    content: Mutex<Option<Content<T>>>,
}

/// # Invariants
///
/// `device` is bound for as long as this lies in its slot.
struct Content<T> {
    device: NonNull<Device<Bound>>,
    data: T,
}

// SAFETY: A `Device<Bound>` may be used from any thread.
unsafe impl<T: Send> Send for Content<T> {}

impl<T: Send + Unpin> BoundSlot<T> {
    /// Creates an empty slot.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            content <- new_mutex!(None, "BoundSlot"),
        })
    }

    /// Puts a device into the slot.
    ///
    /// # Safety
    ///
    /// The caller must call [`BoundSlot::empty`] before the device is unbound.
    pub(crate) unsafe fn fill(&self, device: &Device<Bound>, data: T) {
        let device = NonNull::from(device);
        // INVARIANT: By the function's requirement.
        let before = self.content.lock().replace(Content { device, data });
        drop(before);
    }

    /// Takes the device out of the slot. Waits for whoever is using it.
    pub(crate) fn empty(&self) {
        let content = self.content.lock().take();
        drop(content);
    }

    /// Calls `f` with the device, if there is one. It stays bound meanwhile. Others wait until `f`
    /// has returned.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Device<Bound>, &T) -> R) -> Option<R> {
        let content = self.content.lock();
        let Content { device, data } = content.as_ref()?;
        // SAFETY: By the type invariant of `Content` the device is bound while the lock is held.
        Some(f(unsafe { device.as_ref() }, data))
    }
}
