// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Recovery of PCI devices from errors of the bus (`struct pci_error_handlers`).
//!
//! The platform finds the errors (AER, DPC, EEH) and asks all drivers behind the part of the bus
//! that is concerned what they need. The strongest answer counts for all of them:
//!
//! 1. [`error_detected`](ErrorRecovery::error_detected), for each error.
//! 2. [`mmio_enabled`](ErrorRecovery::mmio_enabled), if all drivers can recover without a reset.
//! 3. If one cannot, or the link was down, the platform resets the devices, and
//!    [`slot_reset`](ErrorRecovery::slot_reset) is called.
//! 4. [`resume`](ErrorRecovery::resume), if all have recovered. Otherwise
//!    [`error_detected`](ErrorRecovery::error_detected) is called again, with [`Channel::Failed`].
//!
//! All of this runs with the device lock held. It is dropped between two calls: a driver may be
//! unbound, or bound, in the middle of it. So `slot_reset` and `resume` may come without
//! `error_detected`, and `error_detected` need not be followed by anything.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)
//!
//! Reference: <https://docs.kernel.org/PCI/pci-error-recovery.html>

use kernel::{
    bindings,
    device::Core,
    pci,
    prelude::*, //
};

use super::driver::{
    Adapter,
    Shutdown,
    SystemSleep, //
};

/// State of the connection between the system and a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// It works. What was under way when the error came may be lost.
    Normal,
    /// It is blocked: the device may not be accessed before it was reset.
    Frozen,
    /// It is lost for good.
    Failed,
}

impl Channel {
    /// Converts a state of the PCI core. One that is not known is taken for the worst.
    fn from_raw(state: bindings::pci_channel_state_t) -> Self {
        match state {
            bindings::pci_channel_io_normal => Self::Normal,
            bindings::pci_channel_io_frozen => Self::Frozen,
            _ => Self::Failed,
        }
    }
}

/// A driver's answer to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The device can recover without a reset. Asked of a driver that may not access it yet.
    CanRecover,
    /// The device works.
    Recovered,
    /// The device has to be reset.
    NeedsReset,
    /// The device is lost.
    Disconnect,
}

impl Answer {
    fn into_raw(self) -> bindings::pci_ers_result_t {
        match self {
            Self::CanRecover => bindings::pci_ers_result_PCI_ERS_RESULT_CAN_RECOVER,
            Self::Recovered => bindings::pci_ers_result_PCI_ERS_RESULT_RECOVERED,
            Self::NeedsReset => bindings::pci_ers_result_PCI_ERS_RESULT_NEED_RESET,
            Self::Disconnect => bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
        }
    }
}

/// A PCI driver whose devices recover from errors of the bus: see the head of this file.
///
/// The functions may sleep.
pub(crate) trait ErrorRecovery: pci::Driver {
    /// Called when an error was found. The device must not be accessed from here on until a later
    /// function is called, not by others either. With [`Channel::Failed`] nothing else follows: all
    /// that is under way is to end, and the answer does not count.
    fn error_detected<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
        channel: Channel,
    ) -> Answer;

    /// Called when the device can be accessed, but may not access memory. Nothing is to be started
    /// yet.
    fn mmio_enabled<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Answer;

    /// Called when the device was reset, and its configuration space is as after power-on: the
    /// driver restores it ([`restore_state`](super::restore_state)), and brings the device up.
    /// Nothing is to be started yet. An error means that the device is lost.
    fn slot_reset<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result;

    /// Called when all devices that were concerned work again.
    fn resume<'bound>(pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>);
}

impl<T: Shutdown + SystemSleep + ErrorRecovery> Adapter<T> {
    /// Callbacks for the PCI core.
    pub(super) const ERROR_HANDLERS: bindings::pci_error_handlers = bindings::pci_error_handlers {
        error_detected: Some(Self::error_detected_callback),
        mmio_enabled: Some(Self::mmio_enabled_callback),
        slot_reset: Some(Self::slot_reset_callback),
        resume: Some(Self::error_resume_callback),
        reset_prepare: None,
        reset_done: None,
        cor_error_detected: None,
    };

    /// # Safety
    ///
    /// Only the PCI core may call this, for a device that is bound to the driver.
    unsafe extern "C" fn error_detected_callback(
        pdev: *mut bindings::pci_dev,
        state: bindings::pci_channel_state_t,
    ) -> bindings::pci_ers_result_t {
        // SAFETY: By the function's requirement, and as the device is locked: see the head of this
        // file.
        let answer = unsafe {
            Self::call(pdev, |pdev, this| {
                T::error_detected(pdev, this, Channel::from_raw(state))
            })
        };
        answer.into_raw()
    }

    /// # Safety
    ///
    /// Only the PCI core may call this, for a device that is bound to the driver.
    unsafe extern "C" fn mmio_enabled_callback(
        pdev: *mut bindings::pci_dev,
    ) -> bindings::pci_ers_result_t {
        // SAFETY: As in `error_detected_callback`.
        unsafe { Self::call(pdev, T::mmio_enabled) }.into_raw()
    }

    /// # Safety
    ///
    /// Only the PCI core may call this, for a device that is bound to the driver.
    unsafe extern "C" fn slot_reset_callback(
        pdev: *mut bindings::pci_dev,
    ) -> bindings::pci_ers_result_t {
        // SAFETY: As in `error_detected_callback`.
        match unsafe { Self::call(pdev, T::slot_reset) } {
            Ok(()) => Answer::Recovered,
            Err(_) => Answer::Disconnect,
        }
        .into_raw()
    }

    /// # Safety
    ///
    /// Only the PCI core may call this, for a device that is bound to the driver.
    unsafe extern "C" fn error_resume_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: As in `error_detected_callback`.
        unsafe { Self::call(pdev, <T as ErrorRecovery>::resume) }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(rust_pci_error)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_the_core() {
        // `pci_channel_io_normal` and the ones after it; others there are none.
        let states = [1, 2, 3, 4].map(Channel::from_raw);
        assert_eq!(
            states,
            [
                Channel::Normal,
                Channel::Frozen,
                Channel::Failed,
                Channel::Failed
            ]
        );
    }

    #[test]
    fn answers_are_those_of_the_core() {
        // As include/linux/pci.h numbers them.
        for (answer, number) in [
            (Answer::CanRecover, 2),
            (Answer::NeedsReset, 3),
            (Answer::Disconnect, 4),
            (Answer::Recovered, 5),
        ] {
            assert_eq!(answer.into_raw(), number);
        }
    }
}
