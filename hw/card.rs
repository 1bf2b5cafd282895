// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card as the CPU sees it: registers (BAR 5), doorbells (BAR 2) and VRAM (BAR 0).
//!
//! A [`Card`] borrows the bound device, so it cannot be used once the driver is unbound. What may
//! outlive the binding (open files, fences) holds a [`CardHandle`] and asks it for access: it gets
//! none after unbinding.

use kernel::{
    device::{
        self,
        Bound, //
    },
    devres::{
        DevresGuard,
        DevresLt, //
    },
    io::Io,
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    pci,
    prelude::*,
    sizes::{
        SZ_256K,
        SZ_8K, //
    },
    sync::Arc,
    types::CovariantForLt,
    warn_on, //
};

use crate::abstractions::{
    drm::ttm::IoMemory,
    pci::WriteCombinedBar, //
};

const VRAM_BAR: u32 = 0;
const DOORBELL_BAR: u32 = 2;
const REGISTER_BAR: u32 = 5;

/// Size of the register BAR that the driver relies on.
pub(crate) const REGISTERS_SIZE: usize = SZ_256K;
/// Size of the doorbell BAR that the driver relies on.
const DOORBELLS_SIZE: usize = SZ_8K;

const _: () = assert!(u32_as_usize(Doorbells::COUNT) * size_of::<u32>() == DOORBELLS_SIZE);

/// Name that the card's resources bear in /proc/iomem.
const NAME: &CStr = c"amdgpu_rs";

/// The mapped BARs of a card.
pub(crate) struct Card<'a> {
    pdev: &'a pci::Device<Bound>,
    pub(crate) regs: pci::Bar<'a, REGISTERS_SIZE>,
    pub(crate) doorbells: Doorbells<'a>,
    pub(crate) vram: VramAperture<'a>,
}

impl<'a> Card<'a> {
    /// Claims and maps the BARs. Fails if another driver has one of them.
    pub(crate) fn map(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        Ok(Self {
            pdev,
            regs: pdev
                .iomap_region_sized(REGISTER_BAR, NAME)
                .inspect_err(|e| dev_err!(pdev, "cannot map the registers (BAR 5): {e:?}\n"))?,
            doorbells: pdev
                .iomap_region_sized(DOORBELL_BAR, NAME)
                .map(Doorbells)
                .inspect_err(|e| dev_err!(pdev, "cannot map the doorbells (BAR 2): {e:?}\n"))?,
            vram: WriteCombinedBar::map(pdev, VRAM_BAR, NAME)
                .map(VramAperture)
                .inspect_err(|e| dev_err!(pdev, "cannot map VRAM (BAR 0): {e:?}\n"))?,
        })
    }

    /// Takes from the card the right to access the memory of the system. When this returns, it is
    /// gone.
    pub(crate) fn end_bus_mastering(&self) {
        const COMMAND: usize = 0x04;
        const BUS_MASTER: u16 = 1 << 2;

        let config = self.pdev.config_space();
        let command = config.read16(COMMAND);
        config.write16(command & !BUS_MASTER, COMMAND);
        config.read16(COMMAND);
    }

    /// Makes the mappings accessible to what may outlive the binding.
    pub(crate) fn into_handle(self, dev: &'a device::Device<Bound>) -> Result<CardHandle> {
        // SAFETY: A `Card` holds mappings of the device's BARs, which stay valid for as long as
        // the device is bound.
        let managed = unsafe { DevresLt::new(dev, Ok::<_, Error>(self))? };
        Ok(CardHandle(Arc::new(managed, GFP_KERNEL)?))
    }
}

/// A card, for whatever lifetime.
type AnyCard = CovariantForLt!(Card<'_>);

/// Access to a card that ends when the driver is unbound.
#[derive(Clone)]
pub(crate) struct CardHandle(Arc<DevresLt<AnyCard>>);

/// Proof that the card is there. Nothing that sleeps may be called while one is held.
pub(crate) type CardGuard<'a> = DevresGuard<'a, AnyCard>;

impl CardHandle {
    /// The card, unless the driver is unbound.
    pub(crate) fn try_access(&self) -> Option<CardGuard<'_>> {
        self.0.try_access()
    }

    /// The card, for code that has the bound device.
    pub(crate) fn access<'a>(&'a self, dev: &'a device::Device<Bound>) -> Result<&'a Card<'a>> {
        self.0.access(dev)
    }
}

/// The doorbell BAR: a write tells a compute queue that its write pointer moved.
pub(crate) struct Doorbells<'a>(pci::Bar<'a, DOORBELLS_SIZE>);

impl Doorbells<'_> {
    /// Number of doorbells that are there on every card.
    pub(crate) const COUNT: u32 = 2048;

    /// Rings doorbell `index`. Out of range is a bug of the caller, and does nothing.
    pub(crate) fn ring(&self, index: u32, value: u32) {
        debug_assert!(index < Self::COUNT);
        let _ = self
            .0
            .try_write32(value, u32_as_usize(index) * size_of::<u32>());
    }
}

/// The part of VRAM that the CPU reaches, mapped write-combined.
///
/// What is written here lies in the host data path's cache, and what is read may come from it,
/// until the memory controller flushes or invalidates it.
pub(crate) struct VramAperture<'a>(WriteCombinedBar<'a>);

impl VramAperture<'_> {
    /// Memory for buffers from `offset` on; `None` if that is behind the end.
    pub(crate) fn io_memory(&self, offset: u64) -> Option<IoMemory> {
        IoMemory::in_bar(&self.0, offset)
    }

    /// Number of bytes of VRAM that the CPU reaches.
    pub(crate) fn size(&self) -> u64 {
        usize_as_u64(self.0.size())
    }

    /// Does something at an offset. One outside the aperture is a bug of the caller, and so is a
    /// range that is not whole in it.
    fn at<R>(&self, offset: u64, access: impl FnOnce(usize) -> Result<R>) -> Option<R> {
        let done = usize::try_from(offset)
            .map_err(Error::from)
            .and_then(access);
        warn_on!(done.is_err());
        done.ok()
    }

    /// Reads from VRAM.
    pub(crate) fn read64(&self, offset: u64) -> u64 {
        self.at(offset, |at| self.0.io().relaxed().try_read64(at))
            .unwrap_or(!0)
    }

    /// Writes to VRAM.
    pub(crate) fn write64(&self, offset: u64, value: u64) {
        self.at(offset, |at| self.0.io().relaxed().try_write64(value, at));
    }

    /// Writes `values`, one after the other.
    pub(crate) fn write64s(&self, offset: u64, values: &[u64]) {
        self.at(offset, |at| self.0.write64s(at, values));
    }

    /// Copies from VRAM.
    pub(crate) fn read_bytes(&self, offset: u64, into: &mut [u8]) {
        self.at(offset, |at| self.0.read_bytes(at, into));
    }

    /// Copies to VRAM.
    pub(crate) fn write_bytes(&self, offset: u64, from: &[u8]) {
        self.at(offset, |at| self.0.write_bytes(at, from));
    }

    /// Fills `len` bytes (a multiple of 8) with zeroes.
    pub(crate) fn zero(&self, offset: u64, len: u64) {
        static ZEROES: [u64; 512] = [0; 512];
        let end = offset + len;
        for at in (offset..end).step_by(size_of_val(&ZEROES)) {
            // CAST: No more than there is in `ZEROES`, which is a `usize`.
            let left = ((end - at) / size_of::<u64>() as u64).min(ZEROES.len() as u64) as usize;
            self.write64s(at, &ZEROES[..left]);
        }
    }
}
