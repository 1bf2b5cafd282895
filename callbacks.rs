// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The system's calls to a driver that is bound: for quiet at its end, for sleep, and for recovery
//! from errors of the bus. [`power`](crate::power) says what becomes of the card.
//!
//! In the C driver these are `amdgpu_pci_shutdown`, `amdgpu_pm_ops` and `amdgpu_pci_err_handler`.

use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

use crate::{
    abstractions::pci::{
        Answer,
        Channel,
        ErrorRecovery,
        Shutdown,
        SystemSleep, //
    },
    AmdgpuDriver,
    Binding, //
};

impl Shutdown for AmdgpuDriver {
    /// Stops the card. Files may be open and jobs on the rings: they end with an error, as they do
    /// when the driver is unbound.
    fn shutdown<'bound>(_pdev: &'bound pci::Device<Core<'_>>, binding: Pin<&Binding<'bound>>) {
        binding.running.stop();
    }
}

impl SystemSleep for AmdgpuDriver {
    fn prepare<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
    ) -> Result {
        binding.running.prepare()
    }

    fn suspend<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
    ) -> Result {
        binding.running.suspend()
    }

    fn resume<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
    ) -> Result {
        binding.running.resume(pdev);
        Ok(())
    }
}

impl ErrorRecovery for AmdgpuDriver {
    fn error_detected<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
        channel: Channel,
    ) -> Answer {
        match channel {
            Channel::Normal => Answer::CanRecover,
            Channel::Frozen => {
                binding.running.cut_off();
                Answer::NeedsReset
            }
            Channel::Failed => {
                binding.running.lose();
                Answer::Disconnect
            }
        }
    }

    fn mmio_enabled<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
    ) -> Answer {
        if binding.running.responds() {
            return Answer::Recovered;
        }
        binding.running.cut_off();
        Answer::NeedsReset
    }

    fn slot_reset<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        binding: Pin<&Binding<'bound>>,
    ) -> Result {
        binding.running.come_back(pdev)
    }

    fn resume<'bound>(_pdev: &'bound pci::Device<Core<'_>>, binding: Pin<&Binding<'bound>>) {
        binding.running.go_on();
    }
}
