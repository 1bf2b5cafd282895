// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Callbacks of PCI drivers that the kernel crate lacks: system sleep and shutdown, and with
//! [`super::error`] errors of the bus.
//!
//! # The device lock
//!
//! Every callback here runs with the device lock held: `device_prepare()`, `device_suspend()`,
//! `device_resume()` and `device_complete()` of the PM core take it around the callbacks that they
//! call, and so does `device_shutdown()`. The driver core holds the same lock while it probes and
//! removes a driver. So a callback sees a device to which the driver is bound from its first to its
//! last instruction, or is not called at all: the PCI bus looks at `dev->driver` with the lock
//! held.
//!
//! The callbacks of the later phases (`suspend_late`, `suspend_noirq` and what undoes them) run
//! without the lock, and are not offered.
//!
//! A device may be removed, and another driver instance be bound to it, between two callbacks. So a
//! driver must not rely on [`SystemSleep::prepare`] having been called before
//! [`SystemSleep::suspend`].
//!
//! C headers: [`include/linux/pci.h`](srctree/include/linux/pci.h),
//! [`include/linux/pm.h`](srctree/include/linux/pm.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    container_of,
    device::{
        Core,
        CoreInternal, //
    },
    driver::{
        DriverLayout,
        RegistrationOps, //
    },
    ffi,
    pci,
    prelude::*,
    types::Opaque, //
};

use super::error::ErrorRecovery;

/// A PCI driver that is notified of system shutdown.
pub(crate) trait Shutdown: pci::Driver {
    /// Called before the system is powered off, restarted, or replaced by another kernel (kexec).
    ///
    /// When this returns, the device must neither access memory nor interrupt. It stays bound:
    /// nothing is dropped, and holders of `this` may go on using it.
    fn shutdown<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>);
}

/// A PCI driver whose devices go through system sleep: `struct dev_pm_ops` without its later phases
/// and without runtime power management.
///
/// User space is frozen from before [`prepare`](SystemSleep::prepare) until after
/// [`complete`](SystemSleep::complete). Interrupts and work queues go on until all devices are
/// suspended, except for freezable queues.
///
/// The PCI bus saves the configuration space after the device is suspended, puts the device into a
/// low-power state if it can, and undoes both before the device is resumed.
///
/// Drivers that treat suspend and the phases of hibernation alike implement
/// [`suspend`](SystemSleep::suspend) and [`resume`](SystemSleep::resume) only.
pub(crate) trait SystemSleep: pci::Driver {
    /// Called while all devices still work, before any is suspended. An error calls the transition
    /// off. If a device after this one does so, only [`complete`](SystemSleep::complete) follows.
    fn prepare<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        _this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        Ok(())
    }

    /// Called when all devices work again, also after a transition that was called off.
    fn complete<'bound>(_pdev: &'bound pci::Device<Core<'_>>, _this: Pin<&Self::Data<'bound>>) {}

    /// Called before the system is suspended. When this returns, the device must neither access
    /// memory nor interrupt, and must expect to lose all its state. An error calls the transition
    /// off, and leaves the device as it was: it is not resumed.
    fn suspend<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result;

    /// Called after the system was suspended, or if it was not because another device could not be.
    /// The PM core logs an error and ignores it.
    fn resume<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result;

    /// Called before a memory image is created, or before one replaces the contents of memory.
    fn freeze<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        Self::suspend(pdev, this)
    }

    /// Called after an image was created, or one could not be restored.
    fn thaw<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) -> Result {
        Self::resume(pdev, this)
    }

    /// Called after an image was saved, before the system is powered off.
    fn poweroff<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        Self::suspend(pdev, this)
    }

    /// Called after the contents of memory were restored from an image, in the state in which
    /// [`freeze`](SystemSleep::freeze) left them.
    fn restore<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        Self::resume(pdev, this)
    }
}

/// [`pci::Adapter`] for drivers with [`Shutdown`], [`SystemSleep`] and [`ErrorRecovery`].
pub(crate) struct Adapter<T: Shutdown + SystemSleep + ErrorRecovery>(PhantomData<T>);

// SAFETY: All is as for `pci::Adapter<T>`.
unsafe impl<T: Shutdown + SystemSleep + ErrorRecovery> DriverLayout for Adapter<T> {
    type DriverType = <pci::Adapter<T> as DriverLayout>::DriverType;
    type DriverData<'bound> = T::Data<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = <pci::Adapter<T> as DriverLayout>::DEVICE_DRIVER_OFFSET;
}

// SAFETY: As for `pci::Adapter<T>`, which does it.
unsafe impl<T: Shutdown + SystemSleep + ErrorRecovery> RegistrationOps for Adapter<T> {
    unsafe fn register(
        pdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The driver is not registered yet. The rest by the requirements of this function.
        unsafe {
            (*pdrv.get()).shutdown = Some(Self::shutdown_callback);
            (*pdrv.get()).driver.pm = const { &Self::PM };
            (*pdrv.get()).err_handler = const { &Self::ERROR_HANDLERS };
            pci::Adapter::<T>::register(pdrv, name, module)
        }
    }

    unsafe fn unregister(pdrv: &Opaque<Self::DriverType>) {
        // SAFETY: By the requirements of this function.
        unsafe { pci::Adapter::<T>::unregister(pdrv) }
    }
}

impl<T: Shutdown + SystemSleep + ErrorRecovery> Adapter<T> {
    const PM: bindings::dev_pm_ops = bindings::dev_pm_ops {
        prepare: Some(Self::prepare_callback),
        complete: Some(Self::complete_callback),
        suspend: Some(Self::suspend_callback),
        resume: Some(Self::resume_callback),
        freeze: Some(Self::freeze_callback),
        thaw: Some(Self::thaw_callback),
        poweroff: Some(Self::poweroff_callback),
        restore: Some(Self::restore_callback),
        ..pin_init::zeroed()
    };

    /// Calls `callback` with a device and the driver's data for it.
    ///
    /// # Safety
    ///
    /// `pdev` must be valid, bound to the driver, and locked until this returns.
    pub(super) unsafe fn call<R>(
        pdev: *mut bindings::pci_dev,
        callback: impl for<'bound> FnOnce(&'bound pci::Device<Core<'_>>, Pin<&T::Data<'bound>>) -> R,
    ) -> R {
        // CAST: `pci::Device` is a transparent wrapper of `struct pci_dev`.
        // SAFETY: By the safety requirements the device stays valid and bound. A callback with the
        // device lock held is one of the driver core's own.
        let pdev = unsafe { &*pdev.cast::<pci::Device<CoreInternal<'_>>>() };
        // SAFETY: A device is bound once its probe has succeeded, which stored this data, and the
        // lock is held when it is taken back.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };
        callback(pdev, data)
    }

    /// [`Adapter::call`] for the PM core.
    ///
    /// # Safety
    ///
    /// `dev` must be part of a `struct pci_dev` for which the requirements of [`Adapter::call`] are
    /// met.
    unsafe fn call_pm(
        dev: *mut bindings::device,
        callback: impl for<'bound> FnOnce(
            &'bound pci::Device<Core<'_>>,
            Pin<&T::Data<'bound>>,
        ) -> Result,
    ) -> ffi::c_int {
        // SAFETY: By the safety requirements.
        let result = unsafe { Self::call(container_of!(dev, bindings::pci_dev, dev), callback) };
        result.err().map_or(0, |e| e.to_errno())
    }

    extern "C" fn shutdown_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: The PCI bus calls this with a valid device that is bound to the driver, with the
        // device lock held.
        unsafe { Self::call(pdev, T::shutdown) }
    }

    /// # Safety
    ///
    /// Only the PM core may call this, for a device that is bound to the driver.
    unsafe extern "C" fn complete_callback(dev: *mut bindings::device) {
        // SAFETY: By the function's requirement, and as the device is locked: see the head of this
        // file. The driver is one of PCI devices.
        unsafe { Self::call(container_of!(dev, bindings::pci_dev, dev), T::complete) }
    }
}

/// Implements the callbacks of the PM core that return a result.
macro_rules! pm_callbacks {
    ($($callback:ident => $operation:ident,)*) => {
        impl<T: Shutdown + SystemSleep + ErrorRecovery> Adapter<T> {
            $(
                /// # Safety
                ///
                /// Only the PM core may call this, for a device that is bound to the driver.
                unsafe extern "C" fn $callback(dev: *mut bindings::device) -> ffi::c_int {
                    // SAFETY: By the function's requirement, and as the device is locked: see the
                    // head of this file. The driver is one of PCI devices.
                    unsafe { Self::call_pm(dev, <T as SystemSleep>::$operation) }
                }
            )*
        }
    };
}

pm_callbacks! {
    prepare_callback => prepare,
    suspend_callback => suspend,
    resume_callback => resume,
    freeze_callback => freeze,
    thaw_callback => thaw,
    poweroff_callback => poweroff,
    restore_callback => restore,
}
