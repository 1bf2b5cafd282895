// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A DRM driver for AMD GPUs that speaks the amdgpu user-space interface.

// Until the floors above are here.
#![allow(dead_code)]

use kernel::{
    device::Core,
    dma::{Device as _, DmaMask},
    pci,
    prelude::*,
    sync::Arc,
};

use crate::{
    card::Card,
    device::{Device, Facts},
    hw::Chip,
};

mod abstractions;
mod card;
mod device;
mod fence;
mod gart;
mod hw;
mod ring;
mod vmid;

/// C types and functions that the kernel crate has no bindings for.
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    improper_ctypes,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
mod bindings {
    use kernel::ffi;
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;
    include!(env!("AMDGPU_RS_BINDINGS"));
}

kernel::pci_device_table!(
    PCI_TABLE,
    <AmdgpuDriver as pci::Driver>::IdInfo,
    [
        (amd(0x6640), Chip::Bonaire),
        (amd(0x6641), Chip::Bonaire),
        (amd(0x6646), Chip::Bonaire),
        (amd(0x6647), Chip::Bonaire),
        (amd(0x6649), Chip::Bonaire),
        (amd(0x664d), Chip::Bonaire),
        (amd(0x6650), Chip::Bonaire),
        (amd(0x6651), Chip::Bonaire),
        (amd(0x6658), Chip::Bonaire),
        (amd(0x665c), Chip::Bonaire),
        (amd(0x665d), Chip::Bonaire),
        (amd(0x665f), Chip::Bonaire),
        (amd(0x67a0), Chip::Hawaii),
        (amd(0x67a1), Chip::Hawaii),
        (amd(0x67a2), Chip::Hawaii),
        (amd(0x67a8), Chip::Hawaii),
        (amd(0x67a9), Chip::Hawaii),
        (amd(0x67aa), Chip::Hawaii),
        (amd(0x67b0), Chip::Hawaii),
        (amd(0x67b1), Chip::Hawaii),
        (amd(0x67b8), Chip::Hawaii),
        (amd(0x67b9), Chip::Hawaii),
        (amd(0x67ba), Chip::Hawaii),
        (amd(0x67be), Chip::Hawaii),
    ]
);

const fn amd(device: u32) -> pci::DeviceId {
    pci::DeviceId::from_id(pci::Vendor::ATI, device)
}

pub(crate) struct AmdgpuDriver;

/// What belongs to a card for as long as the driver is bound to it.
#[pin_data]
pub(crate) struct Bound {
    device: Arc<Device>,
}

impl pci::Driver for AmdgpuDriver {
    type IdInfo = Chip;
    type Data<'bound> = Bound;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        chip: Option<&'bound Chip>,
    ) -> impl PinInit<Bound, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let chip = *chip.ok_or(ENODEV)?;
            let hw = chip
                .generation()
                .ok_or(ENODEV)
                .inspect_err(|_| dev_err!(pdev, "{chip:?} is not supported yet; Bonaire is\n"))?;

            pdev.enable_device_mem()?;
            // SAFETY: Nothing is allocated or mapped for DMA yet.
            unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<40>())? };
            let card = Card::map(pdev)?;

            let (vram, gart) = hw.memory.layout(&card, pdev.as_ref())?;
            let facts = Facts { chip, vram, gart };
            let card = card.into_handle(pdev.as_ref())?;
            let device = Arc::new(Device::new(pdev.as_ref(), hw, facts, card)?, GFP_KERNEL)?;
            Ok(try_pin_init!(Bound { device }? Error))
        })
    }
}

kernel::module_pci_driver! {
    type: AmdgpuDriver,
    name: "amdgpu_rs",
    authors: ["The amdgpu_rs authors"],
    description: "AMD GPU driver in Rust",
    license: "Dual MIT/GPL",
}
