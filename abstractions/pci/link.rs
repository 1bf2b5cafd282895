// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The PCI Express link of a device.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::ptr::null_mut;

use kernel::{
    device::Bound,
    pci, //
};

use super::as_raw;
use crate::bindings;

/// A PCI Express link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Generation of the specification that has its speed: 1 is 2.5 GT/s, 2 is 5 GT/s, and so on.
    pub(crate) generation: u32,
    pub(crate) lanes: u32,
}

impl Link {
    /// Returns the slowest link between the device and the processor, as it is now, or `None` if
    /// there is none to be seen. A part of the processor's own has none, and a virtual machine may
    /// show a device as such.
    pub(crate) fn of(pdev: &pci::Device<Bound>) -> Option<Self> {
        let (mut speed, mut width) = (0, 0);
        // SAFETY: The device is bound, and its bridges are there for as long as it is; the
        // variables are written to. The limiting device is not asked for.
        unsafe {
            bindings::pcie_bandwidth_available(as_raw(pdev), null_mut(), &mut speed, &mut width)
        };
        Self::new(speed, width)
    }

    /// Returns a link of the speed `PCIE_SPEED_*` and the width `PCIE_LNK_*`, or `None` if one of
    /// them is none.
    fn new(speed: bindings::pci_bus_speed, width: bindings::pcie_link_width) -> Option<Self> {
        const FIRST: u32 = bindings::pci_bus_speed_PCIE_SPEED_2_5GT;
        const LAST: u32 = bindings::pci_bus_speed_PCIE_SPEED_64_0GT;

        // The speeds of PCI Express are consecutive, and a width is a number of lanes.
        match (speed, width) {
            (_, 0 | bindings::pcie_link_width_PCIE_LNK_WIDTH_UNKNOWN) => None,
            (FIRST..=LAST, lanes) => Some(Self {
                generation: speed - FIRST + 1,
                lanes,
            }),
            _ => None,
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_pci_link)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_widths() {
        let link = |speed, width| Link::new(speed, width).map(|l| (l.generation, l.lanes));
        assert_eq!(link(0x14, 1), Some((1, 1)));
        assert_eq!(link(0x15, 8), Some((2, 8)));
        assert_eq!(link(0x16, 16), Some((3, 16)));
        assert_eq!(link(0x19, 32), Some((6, 32)));
        // Not known, of PCI-X, and not there.
        for (speed, width) in [(0xff, 16), (0x13, 16), (0x1a, 16), (0x16, 0), (0x16, 0xff)] {
            assert_eq!(link(speed, width), None);
        }
    }
}
