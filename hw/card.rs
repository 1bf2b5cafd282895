// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card as the CPU accesses it: registers (BAR 5), doorbells (BAR 2) and VRAM (BAR 0). The C
//! driver's names are `RREG32` and `WREG32`, `WDOORBELL32`, and the visible VRAM (`aper_base`).
//!
//! A [`Card`] borrows the bound device, so it cannot be used once the driver is unbound. Objects
//! that may outlive the binding (open files, fences) hold a [`CardHandle`] and ask it for access,
//! which it refuses after unbinding (the C driver's `drm_dev_enter`).

mod indirect;

use core::ptr;

use kernel::{
    device::{
        self,
        Bound, //
    },
    devres::{
        DevresGuard,
        DevresLt, //
    },
    io::{
        Io,
        IoBackend,
        IoBase,
        IoCapable,
        Region, //
    },
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    pci,
    prelude::*,
    ptr::KnownSize,
    sizes::{
        SZ_256K,
        SZ_8K, //
    },
    sync::Arc,
    types::CovariantForLt,
    warn_on, //
};

use self::indirect::Indirect;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
use super::fake::{
    Effect,
    Fake, //
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

const _: () = assert!(u32_as_usize(Card::DOORBELLS) * size_of::<u32>() == DOORBELLS_SIZE);

/// Name of the card's resources in /proc/iomem.
const NAME: &CStr = c"amdgpu_rs";

/// A card: its mapped BARs, or a stand-in for tests.
pub(crate) enum Card<'a> {
    Mapped(Bars<'a>),
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    Fake(Fake),
}

/// The mapped BARs of a card.
pub(crate) struct Bars<'a> {
    pdev: &'a pci::Device<Bound>,
    registers: pci::Bar<'a, REGISTERS_SIZE>,
    doorbells: pci::Bar<'a, DOORBELLS_SIZE>,
    vram: WriteCombinedBar<'a>,
    indirect: Indirect,
}

impl<'a> Card<'a> {
    /// Number of doorbells that every card has.
    pub(crate) const DOORBELLS: u32 = 2048;

    /// Claims and maps the BARs. Fails if another driver has claimed one of them.
    pub(crate) fn map(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        Ok(Self::Mapped(Bars {
            pdev,
            registers: pdev
                .iomap_region_sized(REGISTER_BAR, NAME)
                .inspect_err(|e| dev_err!(pdev, "cannot map the registers (BAR 5): {e:?}\n"))?,
            doorbells: pdev
                .iomap_region_sized(DOORBELL_BAR, NAME)
                .inspect_err(|e| dev_err!(pdev, "cannot map the doorbells (BAR 2): {e:?}\n"))?,
            vram: WriteCombinedBar::map(pdev, VRAM_BAR, NAME)
                .inspect_err(|e| dev_err!(pdev, "cannot map VRAM (BAR 0): {e:?}\n"))?,
            indirect: Indirect::new()?,
        }))
    }

    /// Returns the card's PCI device ID, by which boards with the same chip are told apart.
    pub(crate) fn device_id(&self) -> u16 {
        match self {
            Self::Mapped(bars) => bars.pdev.device_id(),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(_) => 0,
        }
    }

    /// Returns the registers.
    pub(crate) fn regs(&self) -> Registers<'_> {
        Registers {
            card: self,
            ptr: Region::ptr_from_raw_parts_mut(ptr::null_mut(), REGISTERS_SIZE),
        }
    }

    /// Returns VRAM, as the CPU can access it.
    pub(crate) fn vram(&self) -> VramAperture<'_> {
        VramAperture(self)
    }

    /// Rings doorbell `index`, which tells a queue how far its ring is written. An index out of
    /// range is a caller bug and does nothing.
    pub(crate) fn ring_doorbell(&self, index: u32, value: u32) {
        debug_assert!(index < Self::DOORBELLS);
        let offset = u32_as_usize(index) * size_of::<u32>();
        match self {
            Self::Mapped(bars) => {
                let _ = bars.doorbells.try_write32(value, offset);
            }
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(fake) => fake.ring_doorbell(index, value),
        }
    }

    /// Reads the register at a byte offset.
    fn read(&self, offset: usize) -> u32 {
        match self {
            Self::Mapped(bars) => bars.registers.try_read32(offset).unwrap_or(!0),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(fake) => fake.read(offset),
        }
    }

    /// Writes the register at a byte offset.
    fn write(&self, offset: usize, value: u32) {
        match self {
            Self::Mapped(bars) => {
                let _ = bars.registers.try_write32(value, offset);
            }
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(fake) => fake.write(offset, value),
        }
    }

    /// Turns off bus mastering: the card can no longer access system memory when this function
    /// returns.
    pub(crate) fn end_bus_mastering(&self) {
        self.set_bus_mastering(false);
    }

    /// Turns on bus mastering again.
    pub(crate) fn begin_bus_mastering(&self) {
        self.set_bus_mastering(true);
    }

    /// Returns true if the bus finds the card. Reads of a device that is gone return all ones.
    pub(crate) fn is_present(&self) -> bool {
        const VENDOR: usize = 0x00;

        match self {
            Self::Mapped(bars) => bars.pdev.config_space().read16(VENDOR) != !0,
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(_) => true,
        }
    }

    fn set_bus_mastering(&self, on: bool) {
        const COMMAND: usize = 0x04;
        const BUS_MASTER: u16 = 1 << 2;

        let config = match self {
            Self::Mapped(bars) => bars.pdev.config_space(),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(fake) => return fake.set_bus_mastering(on),
        };
        let command = config.read16(COMMAND) & !BUS_MASTER;
        config.write16(if on { command | BUS_MASTER } else { command }, COMMAND);
        config.read16(COMMAND);
    }

    /// Writes a dword of the configuration space at `offset`, which is no register of PCI's own.
    pub(crate) fn write_config(&self, offset: usize, value: u32) {
        match self {
            Self::Mapped(bars) => {
                let _ = bars.pdev.config_space().try_write32(value, offset);
            }
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Fake(fake) => fake.write_config(offset, value),
        }
    }

    /// Makes the mappings accessible to objects that may outlive the binding.
    pub(crate) fn into_handle(self, dev: &'a device::Device<Bound>) -> Result<CardHandle> {
        // SAFETY: A `Card` holds mappings of the device's BARs, which stay valid for as long as
        // the device is bound.
        let managed = unsafe { DevresLt::new(dev, Ok::<_, Error>(self))? };
        Ok(CardHandle(Arc::new(managed, GFP_KERNEL)?))
    }
}

/// A card of any lifetime.
type AnyCard = CovariantForLt!(Card<'_>);

/// Access to a card, which ends when the driver is unbound.
#[derive(Clone)]
pub(crate) struct CardHandle(Arc<DevresLt<AnyCard>>);

/// Proof that the card is there. No function that sleeps may be called while a guard is held.
pub(crate) type CardGuard<'a> = DevresGuard<'a, AnyCard>;

impl CardHandle {
    /// Returns the card, or `None` if the driver is unbound.
    pub(crate) fn try_access(&self) -> Option<CardGuard<'_>> {
        self.0.try_access()
    }

    /// Returns the card to code that has the bound device.
    pub(crate) fn access<'a>(&'a self, dev: &'a device::Device<Bound>) -> Result<&'a Card<'a>> {
        self.0.access(dev)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Card<'_> {
    /// Returns a fake card for tests. `values` are registers by byte offset; all others hold zero.
    pub(crate) fn fake(values: &[(usize, u32)]) -> Result<Self> {
        Fake::new(values).map(Self::Fake)
    }

    /// Returns the accesses to a fake card so far.
    pub(crate) fn effects(&self) -> Result<KVec<Effect>> {
        match self {
            Self::Mapped(_) => Err(EINVAL),
            Self::Fake(fake) => fake.effects(),
        }
    }

    /// Returns true if the accesses to a fake card were exactly these. Logs the first difference.
    pub(crate) fn saw(&self, expected: &[Effect]) -> bool {
        match self {
            Self::Mapped(_) => false,
            Self::Fake(fake) => fake.saw(expected),
        }
    }
}

/// The registers of a card, or one of them. `ptr` is an offset within the registers.
pub(crate) struct Registers<'a, T: ?Sized = Region<REGISTERS_SIZE>> {
    card: &'a Card<'a>,
    ptr: *mut T,
}

impl<T: ?Sized> Copy for Registers<'_, T> {}
impl<T: ?Sized> Clone for Registers<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: ?Sized + KnownSize> IoBase<'a> for Registers<'a, T> {
    type Backend = RegisterBackend;
    type Target = T;

    fn as_view(self) -> Self {
        self
    }
}

/// Backend that accesses registers through their card.
pub(crate) struct RegisterBackend;

impl IoBackend for RegisterBackend {
    type View<'a, T: ?Sized + KnownSize> = Registers<'a, T>;

    fn as_ptr<'a, T: ?Sized + KnownSize>(view: Self::View<'a, T>) -> *mut T {
        view.ptr
    }

    unsafe fn project_view<'a, T: ?Sized + KnownSize, U: ?Sized + KnownSize>(
        view: Self::View<'a, T>,
        ptr: *mut U,
    ) -> Self::View<'a, U> {
        Registers {
            card: view.card,
            ptr,
        }
    }
}

impl IoCapable<u32> for RegisterBackend {
    fn io_read(view: Registers<'_, u32>) -> u32 {
        view.card.read(view.ptr.addr())
    }

    fn io_write(view: Registers<'_, u32>, value: u32) {
        view.card.write(view.ptr.addr(), value);
    }
}

/// The part of VRAM that the CPU can access (*visible*), mapped write-combined. Bytes beyond it are
/// copied one by one, through a pair of registers: for where no engine can.
///
/// Writes stay in the host data path's (HDP) cache until the memory controller flushes it. Reads
/// may be served from that cache until the memory controller invalidates it.
#[derive(Clone, Copy)]
pub(crate) struct VramAperture<'a>(&'a Card<'a>);

impl VramAperture<'_> {
    /// Returns memory for BOs from `offset` on, or `None` if `offset` is beyond the end.
    pub(crate) fn io_memory(&self, offset: u64) -> Option<IoMemory> {
        match self.0 {
            Card::Mapped(bars) => IoMemory::in_bar(&bars.vram, offset),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Card::Fake(_) => None,
        }
    }

    /// Returns the number of bytes of VRAM that the CPU can access.
    pub(crate) fn size(&self) -> u64 {
        match self.0 {
            Card::Mapped(bars) => usize_as_u64(bars.vram.size()),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Card::Fake(_) => Fake::VRAM.end - Fake::VRAM.start,
        }
    }

    /// Runs `access` at an offset. Out-of-bounds accesses are a caller bug and return `None`.
    fn at<R>(
        &self,
        offset: u64,
        access: impl FnOnce(&WriteCombinedBar<'_>, usize) -> Result<R>,
    ) -> Option<R> {
        let bar = match self.0 {
            Card::Mapped(bars) => &bars.vram,
            // The drivers of the card's blocks do not access the contents of VRAM.
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Card::Fake(_) => return None,
        };
        let done = usize::try_from(offset)
            .map_err(Error::from)
            .and_then(|at| access(bar, at));
        warn_on!(done.is_err());
        done.ok()
    }

    /// Reads a qword from VRAM.
    pub(crate) fn read64(&self, offset: u64) -> u64 {
        self.at(offset, |bar, at| bar.io().relaxed().try_read64(at))
            .unwrap_or(!0)
    }

    /// Writes a qword to VRAM.
    pub(crate) fn write64(&self, offset: u64, value: u64) {
        self.at(offset, |bar, at| bar.io().relaxed().try_write64(value, at));
    }

    /// Writes consecutive qwords to VRAM.
    pub(crate) fn write64s(&self, offset: u64, values: &[u64]) {
        self.at(offset, |bar, at| bar.write64s(at, values));
    }

    /// Writes `count` consecutive qwords to VRAM: `first`, and `step` more each time.
    pub(crate) fn write_run64(&self, offset: u64, first: u64, step: u64, count: usize) {
        self.at(offset, |bar, at| bar.write_run64(at, first, step, count));
    }

    /// Returns the number of `len` bytes at an offset that can be copied or cleared at a time
    /// without sleeping. Not 0, unless `len` is.
    pub(crate) fn step(&self, offset: u64, len: u64) -> u64 {
        const STEP: u64 = 256 << 10;
        const STEP_BEYOND: u64 = 1 << 10;

        match self.size().checked_sub(offset) {
            Some(visible) if visible > 0 => len.min(visible).min(STEP),
            _ => len.min(STEP_BEYOND),
        }
    }

    /// Copies from VRAM. The bytes lie on one side of the end of the visible part.
    pub(crate) fn read_bytes(&self, offset: u64, into: &mut [u8]) {
        match self.0 {
            Card::Mapped(bars) if offset >= self.size() => {
                bars.indirect.read(&bars.registers, offset, into);
            }
            _ => {
                self.at(offset, |bar, at| bar.read_bytes(at, into));
            }
        }
    }

    /// Copies to VRAM. The bytes lie on one side of the end of the visible part.
    pub(crate) fn write_bytes(&self, offset: u64, from: &[u8]) {
        match self.0 {
            Card::Mapped(bars) if offset >= self.size() => {
                bars.indirect.write(&bars.registers, offset, from);
            }
            _ => {
                self.at(offset, |bar, at| bar.write_bytes(at, from));
            }
        }
    }

    /// Fills `len` bytes (a multiple of 8) with zeros. They lie on one side of the end of the
    /// visible part.
    pub(crate) fn zero(&self, offset: u64, len: u64) {
        static ZEROES: [u64; 512] = [0; 512];
        static BYTES: [u8; 512] = [0; 512];
        let end = offset + len;
        if offset >= self.size() {
            for at in (offset..end).step_by(BYTES.len()) {
                let left = usize::try_from(end - at).unwrap_or(usize::MAX);
                self.write_bytes(at, &BYTES[..left.min(BYTES.len())]);
            }
            return;
        }
        for at in (offset..end).step_by(size_of_val(&ZEROES)) {
            // CAST: At most the length of `ZEROES`, which is a `usize`.
            let left = ((end - at) / size_of::<u64>() as u64).min(ZEROES.len() as u64) as usize;
            self.write64s(at, &ZEROES[..left]);
        }
    }
}
