// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Callbacks to drivers before system sleep begins (PM notifiers).
//!
//! C header: [`include/linux/suspend.h`](srctree/include/linux/suspend.h)

use crate::bindings;
use kernel::{
    container_of,
    device::{
        Bound,
        Device, //
    },
    devres::Devres,
    error::to_result,
    ffi,
    prelude::*,
    types::Opaque, //
};

/// A transition that the system is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Suspend to RAM or idle, with memory kept.
    Suspend,
    /// Hibernation: memory is saved and the system powered off.
    Hibernation,
    /// Restore: a saved memory image replaces the current contents.
    Restore,
}

impl Sleep {
    /// Converts an event of the notifier chain; `None` for the end of a sleep.
    fn from_event(event: ffi::c_ulong) -> Option<Self> {
        match event {
            bindings::RUST_EXT_PM_SUSPEND_PREPARE => Some(Self::Suspend),
            bindings::RUST_EXT_PM_HIBERNATION_PREPARE => Some(Self::Hibernation),
            bindings::RUST_EXT_PM_RESTORE_PREPARE => Some(Self::Restore),
            _ => None,
        }
    }
}

/// Operations of a driver before system sleep.
pub(crate) trait Callbacks: Send + Sync + 'static {
    /// Called before processes are frozen. An error aborts the transition and is returned to its
    /// initiator.
    fn prepare(&self, sleep: Sleep) -> Result;
}

/// A registration of [`Callbacks`], which lasts until it is dropped or the device is unbound. If it
/// is leaked, the driver core ends it, and so the module that has the callbacks outlives it.
pub(crate) struct Notifier<T: Callbacks>(
    #[expect(dead_code, reason = "kept for its drop")] Devres<Registered<T>>,
);

impl<T: Callbacks> Notifier<T> {
    /// Registers `callbacks` for as long as `dev` is bound.
    pub(crate) fn new(dev: &Device<Bound>, callbacks: T) -> Result<Self> {
        Ok(Self(Devres::new(dev, Registered::new(callbacks))?))
    }
}

/// The notifier block that the kernel calls.
///
/// # Invariants
///
/// `block` is registered until `self` is dropped.
#[pin_data(PinnedDrop)]
struct Registered<T: Callbacks> {
    callbacks: T,
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: A `struct notifier_block` may be unregistered from any thread; the rest is `Send`.
unsafe impl<T: Callbacks> Send for Registered<T> {}
// SAFETY: There are no methods on a `&Registered` but the callback; the rest is `Sync`.
unsafe impl<T: Callbacks> Sync for Registered<T> {}

impl<T: Callbacks> Registered<T> {
    fn new(callbacks: T) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            callbacks,
            // This comes last, because the callback uses the other field.
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                // SAFETY: `block` is valid for writes, and pinned until it is unregistered.
                to_result(unsafe {
                    block.write_bytes(0, 1);
                    (*block).notifier_call = Some(Self::callback);
                    bindings::rust_ext_register_pm_notifier(block)
                })
            }),
        })
    }

    /// # Safety
    ///
    /// Only the kernel may call this, with a registered block that is the field of a `Self`.
    unsafe extern "C" fn callback(
        block: *mut bindings::notifier_block,
        event: ffi::c_ulong,
        _data: *mut ffi::c_void,
    ) -> ffi::c_int {
        let block: *const Opaque<bindings::notifier_block> = Opaque::cast_from(block);
        // SAFETY: By the function's requirement `block` is the field of a `Self`, which unregisters
        // it before it goes, and that waits for this function.
        let this = unsafe { &*container_of!(block, Self, block) };
        let result = Sleep::from_event(event).map_or(Ok(()), |sleep| this.callbacks.prepare(sleep));
        // SAFETY: This function only computes.
        unsafe { bindings::rust_ext_notifier_from_errno(result.err().map_or(0, |e| e.to_errno())) }
    }
}

#[pinned_drop]
impl<T: Callbacks> PinnedDrop for Registered<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the block is registered.
        unsafe { bindings::rust_ext_unregister_pm_notifier(self.block.get()) };
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_pm)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginnings_are_told() {
        let told = [1, 2, 3, 4, 5, 6].map(Sleep::from_event);
        assert_eq!(
            told,
            [
                Some(Sleep::Hibernation),
                None,
                Some(Sleep::Suspend),
                None,
                Some(Sleep::Restore),
                None
            ]
        );
    }
}
