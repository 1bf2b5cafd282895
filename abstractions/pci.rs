// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PCI device functions that the kernel crate lacks.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

mod driver;
mod error;
mod link;

pub(crate) use self::{
    driver::{
        Adapter,
        Shutdown,
        SystemSleep, //
    },
    error::{
        Answer,
        Channel,
        ErrorRecovery, //
    },
    link::Link, //
};

use crate::bindings;
use core::ptr::without_provenance_mut;
use kernel::{
    device::{
        self,
        Bound,
        Core, //
    },
    error::to_result,
    ffi,
    io::{
        io_project,
        Io,
        IoBackend,
        Mmio,
        MmioBackend,
        MmioRaw,
        Region, //
    },
    pci,
    prelude::*,
    types::ScopeGuard, //
};

/// Returns the C object.
pub(super) fn as_raw(pdev: &pci::Device<Bound>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a transparent wrapper of `struct pci_dev`.
    core::ptr::from_ref(pdev).cast_mut().cast()
}

/// An enabled device, disabled when this is dropped.
pub(crate) struct Enabled<'a>(&'a pci::Device<Bound>);

impl<'a> Enabled<'a> {
    /// Enables the device's memory space.
    pub(crate) fn new(pdev: &'a pci::Device<Core<'_>>) -> Result<Self> {
        pdev.enable_device_mem()?;
        Ok(Self(pdev))
    }
}

impl Drop for Enabled<'_> {
    fn drop(&mut self) {
        // SAFETY: The device is bound, and was enabled when this was made.
        unsafe { bindings::pci_disable_device(as_raw(self.0)) };
    }
}

/// Saves the configuration space, for [`restore_state`].
///
/// # Errors
///
/// `ENOMEM` if there is no memory to save it to.
pub(crate) fn save_state(pdev: &pci::Device<Core<'_>>) -> Result {
    // SAFETY: The device is bound, and its lock is held, as the type says. Everybody else who saves
    // or restores its state holds that lock, too.
    to_result(unsafe { bindings::pci_save_state(as_raw(pdev)) })
}

/// Restores the configuration space of a device that was reset as it was saved last, by
/// [`save_state`] or by the PCI core, which saves it before the device is bound, and when the
/// system is suspended. Interrupts that the driver has allocated are set up again.
pub(crate) fn restore_state(pdev: &pci::Device<Core<'_>>) {
    // SAFETY: As in `save_state`.
    unsafe { bindings::pci_restore_state(as_raw(pdev)) };
}

/// Returns the number of the bus that the device is on, within its domain.
pub(crate) fn bus_number(pdev: &pci::Device<Bound>) -> u8 {
    // The high byte is the bus.
    pdev.dev_id().to_be_bytes()[0]
}

/// Returns the place of a capability in the device's configuration space, or `None` if the device
/// does not have it. `id` is one of the PCI specification (`PCI_CAP_ID_*`).
pub(crate) fn find_capability(pdev: &pci::Device<Bound>, id: u8) -> Option<usize> {
    // SAFETY: The device is valid.
    match unsafe { bindings::pci_find_capability(as_raw(pdev), id.into()) } {
        0 => None,
        place => Some(place.into()),
    }
}

/// Removes drivers that draw to the device's memory through a framebuffer that the system firmware
/// has set up. `name` is the name of the calling driver.
pub(crate) fn remove_firmware_framebuffer(
    pdev: &pci::Device<Bound>,
    name: &'static CStr,
) -> Result {
    // SAFETY: The device is bound, and the name is a static.
    to_result(unsafe {
        bindings::aperture_remove_conflicting_pci_devices(as_raw(pdev), name.as_char_ptr())
    })
}

/// Returns true for the flags of a BAR that has addresses of memory.
fn is_memory(flags: ffi::c_ulong) -> bool {
    // CAST: The flags are 32 bits wide, and `c_ulong` is never narrower.
    let [memory, unset] =
        [bindings::IORESOURCE_MEM, bindings::IORESOURCE_UNSET].map(|flag| flag as ffi::c_ulong);
    flags & (memory | unset) == memory
}

/// Number of writes of a BAR that go together without a look at whether there are more.
const UNROLLED: usize = 8;

/// A memory BAR, claimed and mapped write-combined.
///
/// # Invariants
///
/// The BAR `number` is claimed; `io` maps all of it.
pub(crate) struct WriteCombinedBar<'a> {
    pdev: &'a pci::Device<Bound>,
    number: ffi::c_int,
    phys: u64,
    io: MmioRaw<Region>,
}

impl<'a> WriteCombinedBar<'a> {
    /// Claims and maps a BAR. `name` is shown in /proc/iomem.
    ///
    /// - `EBUSY`: another driver has claimed the BAR.
    /// - `ENODEV`: there is no such BAR, it has no address, or it is one of I/O ports, whose
    ///   numbers are no addresses.
    /// - `ENOMEM`: the BAR cannot be mapped.
    pub(crate) fn map(
        pdev: &'a pci::Device<Bound>,
        number: u32,
        name: &'static CStr,
    ) -> Result<Self> {
        let phys = pdev.resource_start(number)?;
        let size = usize::try_from(pdev.resource_len(number)?)?;
        // SAFETY: The device is bound, and the BAR's number was checked when it was looked at.
        let flags = unsafe { (*as_raw(pdev)).resource[usize::try_from(number)?].flags };
        if size == 0 || !is_memory(flags) {
            return Err(ENODEV);
        }
        let number = ffi::c_int::try_from(number)?;
        // SAFETY: The device is bound, and the BAR's number was checked when it was looked at.
        to_result(unsafe {
            bindings::pci_request_region(as_raw(pdev), number, name.as_char_ptr())
        })?;
        let claimed = ScopeGuard::new(|| release(pdev, number));
        // SAFETY: These are start and size of a BAR that belongs to us.
        let addr = unsafe { bindings::ioremap_wc(phys, size) };
        if addr.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The address is that of the mapping, which nobody uses then.
        let mapped = ScopeGuard::new(|| unsafe { bindings::iounmap(addr) });
        let io = MmioRaw::new_region(addr.addr(), size)?;
        mapped.dismiss();
        claimed.dismiss();
        // INVARIANT: Claimed and mapped just above.
        Ok(Self {
            pdev,
            number,
            phys,
            io,
        })
    }

    /// Returns the device.
    pub(crate) fn parent(&self) -> &device::Device<Bound> {
        self.pdev.as_ref()
    }

    /// Returns the physical address.
    pub(crate) fn phys(&self) -> u64 {
        self.phys
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.io.size()
    }

    /// Returns the mapping.
    pub(crate) fn io(&self) -> Mmio<'_, Region> {
        // SAFETY: By the type invariant the whole range is mapped.
        unsafe { Mmio::from_raw(self.io) }
    }

    /// Returns a place in the BAR to which `count` values can be written. By the type invariant it
    /// is mapped, and as a mapping starts at a page, it is aligned.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the range is not within the BAR, or `offset` is not a multiple of 8.
    fn place64(&self, offset: usize, count: usize) -> Result<*mut u64> {
        let bytes = count.checked_mul(size_of::<u64>()).ok_or(EINVAL)?;
        let end = offset.checked_add(bytes).ok_or(EINVAL)?;
        if offset % size_of::<u64>() != 0 || end > self.size() {
            return Err(EINVAL);
        }
        Ok(without_provenance_mut(self.io.addr() + offset))
    }

    /// Writes `values` to consecutive locations, in no particular order.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the range is not within the BAR, or `offset` is not a multiple of 8.
    pub(crate) fn write64s(&self, offset: usize, values: &[u64]) -> Result {
        let mut to = self.place64(offset, values.len())?;
        let mut rest = values;
        while let Some((block, after)) = rest.split_first_chunk::<UNROLLED>() {
            for (n, value) in block.iter().enumerate() {
                // SAFETY: `place64` has returned room for all values.
                unsafe { to.wrapping_add(n).write_volatile(*value) };
            }
            to = to.wrapping_add(UNROLLED);
            rest = after;
        }
        for (n, value) in rest.iter().enumerate() {
            // SAFETY: As above.
            unsafe { to.wrapping_add(n).write_volatile(*value) };
        }
        Ok(())
    }

    /// Writes `count` values to consecutive locations, in no particular order: `first`, and `step`
    /// more each time.
    ///
    /// # Errors
    ///
    /// As those of [`Self::write64s`].
    pub(crate) fn write_run64(&self, offset: usize, first: u64, step: u64, count: usize) -> Result {
        let (mut to, mut value) = (self.place64(offset, count)?, first);
        for _ in 0..count / UNROLLED {
            for n in 0..UNROLLED {
                // SAFETY: `place64` has returned room for all values.
                unsafe { to.wrapping_add(n).write_volatile(value) };
                value = value.wrapping_add(step);
            }
            to = to.wrapping_add(UNROLLED);
        }
        for n in 0..count % UNROLLED {
            // SAFETY: As above.
            unsafe { to.wrapping_add(n).write_volatile(value) };
            value = value.wrapping_add(step);
        }
        Ok(())
    }

    /// Copies bytes from `offset` on, with accesses of any size and order.
    ///
    /// # Errors
    ///
    /// `ERANGE` if the range is not within the BAR.
    pub(crate) fn read_bytes(&self, offset: usize, into: &mut [u8]) -> Result {
        self.bytes(offset, into.len())?.copy_to_slice(into);
        Ok(())
    }

    /// Copies bytes to `offset` and on, with accesses of any size and order.
    ///
    /// # Errors
    ///
    /// `ERANGE` if the range is not within the BAR.
    pub(crate) fn write_bytes(&self, offset: usize, from: &[u8]) -> Result {
        self.bytes(offset, from.len())?.copy_from_slice(from);
        Ok(())
    }

    /// Returns `len` bytes of the mapping from `offset` on.
    fn bytes(&self, offset: usize, len: usize) -> Result<Mmio<'_, [u8]>> {
        let end = offset.checked_add(len).ok_or(ERANGE)?;
        let region = MmioBackend::as_ptr(self.io());
        // CAST: A region is a structure of its bytes and nothing else.
        // SAFETY: So the bytes are the whole region, which is a projection of itself.
        let bytes: Mmio<'_, [u8]> =
            unsafe { MmioBackend::project_view(self.io(), region as *mut [u8]) };
        Ok(io_project!(bytes, [try: offset..end]))
    }
}

impl Drop for WriteCombinedBar<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this is the address of our mapping.
        unsafe { bindings::iounmap(without_provenance_mut(self.io.addr())) };
        release(self.pdev, self.number);
    }
}

/// Releases a BAR that the caller has claimed.
fn release(pdev: &pci::Device<Bound>, number: ffi::c_int) {
    // SAFETY: The device is bound, and the BAR's number is that of one which was claimed.
    unsafe { bindings::pci_release_region(as_raw(pdev), number) };
}

/// Returns a copy of the device's expansion ROM, or `ENODEV` if it has none with a valid signature.
pub(crate) fn read_rom(pdev: &pci::Device<Bound>) -> Result<KVVec<u8>> {
    let rom = Rom::map(pdev)?;
    let io = rom.io();
    let mut image = KVVec::with_capacity(rom.io.size(), GFP_KERNEL)?;
    for offset in (0..rom.io.size()).step_by(size_of::<u32>()) {
        let dword = io.try_read32(offset)?;
        image.extend_from_slice(&dword.to_le_bytes(), GFP_KERNEL)?;
    }
    Ok(image)
}

/// The device's expansion ROM, mapped.
///
/// # Invariants
///
/// `io` is the mapping that `pci_map_rom()` returned for the device.
struct Rom<'a> {
    pdev: &'a pci::Device<Bound>,
    io: MmioRaw<Region>,
}

impl<'a> Rom<'a> {
    fn map(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        let mut size = 0;
        // SAFETY: The device is bound; `size` is written to.
        let address = unsafe { bindings::pci_map_rom(as_raw(pdev), &mut size) };
        if address.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: The address is that of the mapping, which nobody uses then.
        let mapped = ScopeGuard::new(|| unsafe { bindings::pci_unmap_rom(as_raw(pdev), address) });
        // Sizes of ROM images are multiples of 512.
        let io = MmioRaw::new_region(address.addr(), size & !3)?;
        mapped.dismiss();
        // INVARIANT: Just mapped.
        Ok(Self { pdev, io })
    }

    fn io(&self) -> Mmio<'_, Region> {
        // SAFETY: By the type invariant the range is mapped.
        unsafe { Mmio::from_raw(self.io) }
    }
}

impl Drop for Rom<'_> {
    fn drop(&mut self) {
        let address = without_provenance_mut(self.io.addr());
        // SAFETY: By the type invariant this is the mapping of this device's ROM.
        unsafe { bindings::pci_unmap_rom(as_raw(self.pdev), address) };
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_pci)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_memory() {
        // As include/linux/ioport.h numbers them: I/O, memory, prefetchable, of 64 bits, unset.
        let [io, memory, prefetchable, wide, unset] =
            [0x100, 0x200, 0x2000, 0x10_0000, 0x2000_0000];
        assert!(is_memory(memory));
        assert!(is_memory(memory | prefetchable | wide));
        for flags in [0, io, prefetchable, memory | unset] {
            assert!(!is_memory(flags));
        }
    }
}
