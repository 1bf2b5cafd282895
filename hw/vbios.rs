// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The video BIOS (the C driver's `amdgpu_bios.c`): the card's ROM image.
//!
//! The system firmware may hand the image over ([`vfct`]), as it does where the card has no ROM of
//! its own. Otherwise it is read from the ROM's BAR, or, where that shows none, from the card's own
//! port to the ROM, dword by dword: of a primary graphics card the platform may have put the BAR
//! out of use.
//!
//! An ATOM BIOS image begins like any PCI expansion ROM (55 AA). The word at 0x48 points to the
//! ATOM header, which contains the letters "ATOM" and points to the lists of tables. Of the data
//! tables, the driver needs FirmwareInfo, for the clocks. User space may ask for the whole image,
//! and for its description of itself ([`Identity`]).
//!
//! The image also holds the program that initializes a card after power-on ("posting"). The system
//! firmware runs it for the cards that it uses itself; for others the driver does ([`posting`]).

mod identity;
mod posting;
mod vfct;

pub(crate) use self::identity::Identity;
use self::posting::Workplace;

use kernel::{
    device::{
        self,
        Bound, //
    },
    pci,
    prelude::*, //
};

use crate::{
    abstractions::{
        acpi,
        pci::{
            bus_number,
            read_rom, //
        },
    },
    hw::atom::image::Image, //
};

/// An image that has been checked.
pub(crate) struct Vbios {
    pub(crate) image: KVVec<u8>,
    pub(crate) source: RomSource,
    pub(crate) clocks: Clocks,
    workplace: Workplace,
}

/// Way by which an image was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RomSource {
    Vfct,
    Bar,
    Port,
}

/// Clocks in units of 10 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// Clock of the engine, unless power management changes it.
    pub(crate) engine: u32,
    /// Clock of the memory, unless power management changes it.
    pub(crate) memory: u32,
    /// Clock of the crystal, from which timestamps are counted.
    pub(crate) reference: u32,
}

/// Defect of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    NoRomSignature,
    NotAnAtiRom,
    NoAtomHeader,
    NoFirmwareInfo,
    NoClocks,
    /// There is no memory to run its programs in. This is no defect of the image.
    NoMemory,
}

impl Vbios {
    /// Reads the image and checks it. `port` reads from the start of the ROM by the card's port.
    /// Logs any failure.
    pub(crate) fn read(pdev: &pci::Device<Bound>, port: impl Fn(&mut [u8])) -> Result<Self> {
        let dev: &device::Device<Bound> = pdev.as_ref();
        if let Some(Ok(vbios)) = handed_over(pdev).map(|image| Self::check(image, RomSource::Vfct))
        {
            return Ok(vbios);
        }
        let by_bar = match read_rom(pdev) {
            Ok(image) => Self::check(image, RomSource::Bar),
            Err(_) => Err(Defect::NoRomSignature),
        };
        by_bar
            .or_else(|defect| match read_port(port) {
                Some(image) => Self::check(image, RomSource::Port),
                None => Err(defect),
            })
            .map_err(|defect| {
                dev_err!(dev, "the video BIOS (VBIOS) is not usable: {defect:?}\n");
                match defect {
                    Defect::NoMemory => ENOMEM,
                    _ => EINVAL,
                }
            })
    }

    fn check(image: KVVec<u8>, source: RomSource) -> Result<Self, Defect> {
        let clocks = Image(&image).clocks()?;
        Ok(Self {
            workplace: Workplace::new(&image).map_err(|_| Defect::NoMemory)?,
            image,
            source,
            clocks,
        })
    }
}

/// Returns the image that the system firmware has handed over, or `None` if there is none, or no
/// memory for it.
fn handed_over(pdev: &pci::Device<Bound>) -> Option<KVVec<u8>> {
    let table = acpi::Table::find(c"VFCT")?;
    let devfn = u32::from(pdev.dev_id()) & 0xff;
    let card = vfct::BoardId {
        bus: bus_number(pdev).into(),
        slot: (devfn >> 3, devfn & 7),
        id: (pdev.vendor_id().as_raw(), pdev.device_id()),
    };
    let bytes = table.bytes();
    let mut image = KVVec::new();
    image
        .extend_from_slice(bytes.get(vfct::find(bytes, card)?)?, GFP_KERNEL)
        .ok()?;
    Some(image)
}

/// Reads the image by the card's port, or returns `None` if there is none, or no memory for it. Its
/// third byte says how long it is.
fn read_port(port: impl Fn(&mut [u8])) -> Option<KVVec<u8>> {
    /// Unit of the length.
    const BLOCK: usize = 512;

    let mut head = [0; 4];
    port(&mut head);
    let [0x55, 0xaa, blocks, _] = head else {
        return None;
    };
    if blocks == 0 {
        return None;
    }
    let mut image = KVVec::from_elem(0, usize::from(blocks) * BLOCK, GFP_KERNEL).ok()?;
    port(&mut image);
    Some(image)
}

impl Image<'_> {
    /// Returns the offset of the table with the clocks and the firmware's version.
    fn firmware_info(&self) -> Result<usize, Defect> {
        /// Magic of ATI's BIOSes.
        const ATI_MAGIC: &[u8; 10] = b" 761295520";
        /// Number of FirmwareInfo among the data tables.
        const FIRMWARE_INFO: u8 = 4;

        if self.bytes(0) != Some([0x55, 0xaa]) {
            return Err(Defect::NoRomSignature);
        }
        if self.bytes(0x30).as_ref() != Some(ATI_MAGIC) {
            return Err(Defect::NotAnAtiRom);
        }
        self.atom_header().ok_or(Defect::NoAtomHeader)?;
        self.data_table(FIRMWARE_INFO).ok_or(Defect::NoFirmwareInfo)
    }

    fn clocks(&self) -> Result<Clocks, Defect> {
        let info = self.firmware_info()?;
        let clocks = || {
            Some(Clocks {
                engine: self.dword(info + 0x08)?,
                memory: self.dword(info + 0x0c)?,
                reference: self.word(info + 0x52)?.into(),
            })
        };
        clocks()
            .filter(|clocks| clocks.engine != 0 && clocks.memory != 0 && clocks.reference != 0)
            .ok_or(Defect::NoClocks)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vbios)]
mod tests {
    use super::*;

    /// Returns the smallest valid image.
    fn image() -> [u8; 0x200] {
        let mut image = [0; 0x200];
        image[..2].copy_from_slice(&[0x55, 0xaa]);
        image[0x30..0x3a].copy_from_slice(b" 761295520");
        image[0x48] = 0x80;
        image[0x84..0x88].copy_from_slice(b"ATOM");
        image[0xa0] = 0xc0;
        image[0xcc..0xce].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x108..0x10c].copy_from_slice(&80_000u32.to_le_bytes());
        image[0x10c..0x110].copy_from_slice(&120_000u32.to_le_bytes());
        image[0x152..0x154].copy_from_slice(&2_700u16.to_le_bytes());
        image
    }

    #[test]
    fn good_image() {
        let expected = Clocks {
            engine: 80_000,
            memory: 120_000,
            reference: 2_700,
        };
        assert_eq!(Image(&image()).clocks(), Ok(expected));
    }

    #[test]
    fn defects() {
        let cases = [
            (0, Defect::NoRomSignature),
            (0x33, Defect::NotAnAtiRom),
            (0x48, Defect::NoAtomHeader),
            (0x85, Defect::NoAtomHeader),
            (0xa0, Defect::NoFirmwareInfo),
            (0xcd, Defect::NoFirmwareInfo),
        ];
        for (offset, defect) in cases {
            let mut bad = image();
            bad[offset] = 0;
            assert_eq!(Image(&bad).clocks(), Err(defect));
        }
    }

    #[test]
    fn by_port() -> Result {
        let mut rom = image();
        let read = |rom: &[u8]| {
            read_port(|into: &mut [u8]| {
                // Behind the ROM there is nothing.
                for (n, byte) in into.iter_mut().enumerate() {
                    *byte = rom.get(n).copied().unwrap_or(0xff);
                }
            })
        };
        // No length, no signature: no image.
        assert!(read(&rom).is_none());
        assert!(read(&[0xff; 0x200]).is_none());
        rom[2] = 1;
        let image = read(&rom).ok_or(EINVAL)?;
        assert_eq!(image.len(), rom.len());
        let vbios = Vbios::check(image, RomSource::Port).map_err(|_| EINVAL)?;
        assert_eq!(vbios.clocks.reference, 2_700);
        Ok(())
    }

    #[test]
    fn truncated_images() {
        let image = image();
        for length in 0..0x154 {
            assert!(Image(&image[..length]).clocks().is_err());
        }
    }
}
