// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How the platform lets a device reach system memory.
//!
//! Where a device does not reach all memory, or memory is encrypted, the DMA layer maps a copy instead
//! (a *bounce buffer*) and expects the driver to have it synchronized around each use. A driver whose
//! device and processor work on the same pages for long cannot do that: it has to ask before.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    abstractions::drm::device::device_as_raw,
    bindings, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    ffi,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Attributes of a mapping that must not be a copy.
pub(crate) const IN_PLACE: ffi::c_ulong =
    (bindings::DMA_ATTR_REQUIRE_COHERENT | bindings::DMA_ATTR_SKIP_CPU_SYNC) as ffi::c_ulong;

/// The pages that the DMA layer would map copies of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bounces {
    /// None.
    Nothing,
    /// Those that the device does not reach. There may be some.
    OutOfReach,
    /// All but those that come from the DMA layer itself.
    Everything,
}

/// What of system memory a device reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reach {
    /// What it reaches by copies only.
    pub(crate) bounces: Bounces,
    /// Whether there is memory behind its DMA mask.
    pub(crate) is_limited: bool,
}

impl Reach {
    /// Asks for a device whose DMA mask has `bits` bits, and is set.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for a number of bits that makes no sense.
    pub(crate) fn of(dev: &Device<Bound>, bits: u32) -> Result<Self> {
        // SAFETY: The device is bound.
        let is_limited = unsafe { bindings::dma_addressing_limited(device_as_raw(dev)) };
        // SAFETY: This function has no requirement; it looks at what the platform is like.
        let may_bounce = unsafe { bindings::drm_need_swiotlb(bits.try_into()?) };
        let bounces = if !maps_in_place(dev)? {
            Bounces::Everything
        } else if is_limited || may_bounce {
            Bounces::OutOfReach
        } else {
            Bounces::Nothing
        };
        Ok(Self {
            bounces,
            is_limited,
        })
    }
}

/// Returns true if a device works on pages themselves where its DMA mask allows for it, by trying one.
fn maps_in_place(dev: &Device<Bound>) -> Result<bool> {
    const DIRECTION: bindings::dma_data_direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

    // SAFETY: This function has no requirement. Such a page is within any device's mask.
    let page = unsafe { bindings::alloc_pages(bindings::RUST_EXT_GFP_DMA32, 0) };
    if page.is_null() {
        return Err(ENOMEM);
    }
    let (raw, size) = (device_as_raw(dev), PAGE_SIZE);
    // SAFETY: The device is bound, and the page is ours. It is unmapped before it is freed.
    let mapped = unsafe {
        let address = bindings::dma_map_page_attrs(raw, page, 0, size, DIRECTION, IN_PLACE);
        let mapped = !bindings::rust_ext_dma_mapping_failed(raw, address);
        if mapped {
            bindings::dma_unmap_page_attrs(raw, address, size, DIRECTION, IN_PLACE);
        }
        bindings::__free_pages(page, 0);
        mapped
    };
    Ok(mapped)
}
