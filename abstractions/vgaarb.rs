// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The arbiter of legacy VGA.
//!
//! A VGA device answers to some addresses that no BAR names: memory from 0xa0000 on, and I/O ports.
//! Only one device of a bus may answer to them at a time, so the arbiter switches others off when
//! somebody wants them of one: with the bits of the PCI command register, which switch off the
//! device's BARs as well. A device that answers to none of these addresses is left alone.
//!
//! C header: [`include/linux/vgaarb.h`](srctree/include/linux/vgaarb.h)

use kernel::{
    device::Bound,
    error::to_result,
    ffi,
    pci, //
};

use crate::{
    abstractions::pci::as_raw,
    bindings, //
};

/// A guard for the time during which the arbiter leaves a device alone.
///
/// # Invariants
///
/// The device is one of the arbiter's, and [`decodes`] is its callback.
pub(crate) struct Unarbitrated<'a>(&'a pci::Device<Bound>);

impl<'a> Unarbitrated<'a> {
    /// Tells the arbiter that a device answers to no legacy address, and will not, whoever asks for
    /// it. The caller has seen to that. Returns `None` if the device is no VGA device.
    ///
    /// # Safety
    ///
    /// The value must be dropped before the device is unbound.
    pub(crate) unsafe fn new(pdev: &'a pci::Device<Bound>) -> Option<Self> {
        // SAFETY: The device is bound. By the caller's promise the callback is taken back in time,
        // and the module stays until then.
        let added = unsafe { bindings::rust_ext_vga_client_register(as_raw(pdev), Some(decodes)) };
        to_result(added).ok()?;
        // SAFETY: The device is bound.
        unsafe {
            bindings::rust_ext_vga_set_legacy_decoding(as_raw(pdev), bindings::RUST_EXT_VGA_NORMAL)
        };
        // INVARIANT: Just registered.
        Some(Self(pdev))
    }
}

impl Drop for Unarbitrated<'_> {
    fn drop(&mut self) {
        // The device still answers to no legacy address: that stays as it is.
        // SAFETY: The device is bound, and by the type invariant one of the arbiter's.
        unsafe { bindings::rust_ext_vga_client_register(as_raw(self.0), None) };
    }
}

/// Answers the arbiter's question which addresses a device decodes if it may decode legacy ones:
/// those of its BARs, whatever it may. Called with the arbiter's lock held, in any context.
extern "C" fn decodes(_pdev: *mut bindings::pci_dev, _may: bool) -> ffi::c_uint {
    bindings::RUST_EXT_VGA_NORMAL
}
