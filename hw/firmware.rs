// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Microcode files (the C driver's ucode, `common_firmware_header`).
//!
//! Each engine of the card runs microcode that the driver uploads. A file has a header (sizes,
//! version, location of the microcode, a CRC of all that follows the common part of the header),
//! some fields that depend on the kind of file, and the microcode. No part of a file is used before
//! all of this has been checked.

use core::ops::Range;

use kernel::{
    device,
    firmware,
    num::casts::u32_as_usize,
    prelude::*, //
};

/// A file that has been checked.
pub(crate) struct Microcode {
    file: File,
    header: Header,
}

/// Contents of a file: loaded, or those of a test.
enum File {
    Loaded(firmware::Firmware),
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    Made(KVec<u8>),
}

impl File {
    fn data(&self) -> &[u8] {
        match self {
            Self::Loaded(file) => file.data(),
            #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
            Self::Made(data) => data,
        }
    }
}

/// Fields of the header, checked against the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    version: u32,
    /// First field after the common part. Its meaning depends on the kind of file.
    first: u32,
    second: u32,
    code: Range<usize>,
}

/// Defect of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// The file is shorter, or longer, than its header says.
    Size { said: usize, is: usize },
    /// The file is too short to have a header.
    NoHeader,
    /// The header is of a kind that this driver does not know.
    HeaderVersion(u16),
    /// The microcode is outside the file, or is empty, or does not consist of dwords.
    Layout,
    /// The contents do not match the CRC.
    Crc { said: u32, is: u32 },
}

impl Microcode {
    /// Loads and checks a file. Logs any failure.
    pub(crate) fn load(dev: &device::Device, name: &CStr) -> Result<Self> {
        let file = firmware::Firmware::request_nowarn(name, dev).inspect_err(|e| {
            dev_err!(
                dev,
                "cannot load firmware {name}: {e:?} (Debian has it in firmware-amd-graphics)\n"
            )
        })?;
        let header = Header::parse(file.data()).map_err(|defect| {
            dev_err!(dev, "firmware {name} is damaged: {defect:?}\n");
            EINVAL
        })?;
        let file = File::Loaded(file);
        Ok(Self { file, header })
    }

    /// Returns the file's version.
    pub(crate) fn version(&self) -> u32 {
        self.header.version
    }

    /// Returns the version of the file's features. Not every kind of file has one.
    pub(crate) fn feature_version(&self) -> u32 {
        self.header.first
    }

    /// Returns the microcode itself.
    pub(crate) fn code(&self) -> impl Iterator<Item = u32> + '_ {
        dwords(&self.file.data()[self.header.code.clone()])
    }

    /// Returns pairs of a register and its value. Only the memory controller's file has them.
    pub(crate) fn io_debug(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = self
            .header
            .io_debug()
            .filter(|range| range.end <= self.file.data().len())
            .unwrap_or(0..0);
        let pairs = self.file.data()[range].chunks_exact(2 * size_of::<u32>());
        pairs.filter_map(|pair| Some((dword(pair, 0)?, dword(pair, 4)?)))
    }
}

impl Header {
    /// Length of the part that is common to all kinds of file.
    const COMMON: usize = 32;

    fn parse(data: &[u8]) -> Result<Self, Defect> {
        let field = |offset| dword(data, offset).ok_or(Defect::NoHeader);
        let length = |offset| Ok::<_, Defect>(u32_as_usize(field(offset)?));

        let said = length(0)?;
        let header_size = length(4)?;
        let [header_version, _] = halves(field(8)?);
        let version = field(16)?;
        let code_size = length(20)?;
        let code_start = length(24)?;
        let crc = field(28)?;
        let first = field(32)?;
        let second = field(36)?;

        if said != data.len() {
            return Err(Defect::Size {
                said,
                is: data.len(),
            });
        }
        if header_version != 1 {
            return Err(Defect::HeaderVersion(header_version));
        }
        let code_end = code_start.checked_add(code_size).ok_or(Defect::Layout)?;
        let aligned = |value: usize| value % size_of::<u32>() == 0;
        if header_size < Self::COMMON
            || code_start < header_size
            || code_size == 0
            || data.len() < code_end
            || !aligned(code_start)
            || !aligned(code_size)
        {
            return Err(Defect::Layout);
        }
        let is = crc32(&data[Self::COMMON..]);
        if is != crc {
            return Err(Defect::Crc { said: crc, is });
        }
        Ok(Self {
            version,
            first,
            second,
            code: code_start..code_end,
        })
    }

    /// Returns the range of the memory controller's register values.
    fn io_debug(&self) -> Option<Range<usize>> {
        let size = usize::try_from(self.first).ok()?;
        let start = usize::try_from(self.second).ok()?;
        Some(start..start.checked_add(size)?)
    }
}

/// Returns the little-endian dword at an offset.
fn dword(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..offset.checked_add(size_of::<u32>())?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Returns the lower and the upper half of a dword.
fn halves(dword: u32) -> [u16; 2] {
    let [a, b, c, d] = dword.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

fn dwords(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    data.chunks_exact(size_of::<u32>())
        .filter_map(|bytes| dword(bytes, 0))
}

/// Returns the CRC of IEEE 802.3.
fn crc32(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL * (crc & 1))
        })
    };
    !data.iter().fold(!0, step)
}

/// All files of a card.
pub(crate) struct Files {
    pub(crate) mc: Microcode,
    pub(crate) rlc: Microcode,
    pub(crate) pfp: Microcode,
    pub(crate) me: Microcode,
    pub(crate) ce: Microcode,
    pub(crate) mec: Microcode,
    pub(crate) sdma: [Microcode; 2],
}

/// Names of all files of a card.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) mc: &'static CStr,
    pub(crate) rlc: &'static CStr,
    pub(crate) pfp: &'static CStr,
    pub(crate) me: &'static CStr,
    pub(crate) ce: &'static CStr,
    pub(crate) mec: &'static CStr,
    pub(crate) sdma: [&'static CStr; 2],
}

impl Names {
    /// Returns all names.
    pub(crate) const fn all(&self) -> [&'static CStr; 8] {
        let [sdma0, sdma1] = self.sdma;
        [
            self.mc, self.rlc, self.pfp, self.me, self.ce, self.mec, sdma0, sdma1,
        ]
    }
}

impl Files {
    /// Loads and checks all files.
    pub(crate) fn load(dev: &device::Device, names: &Names) -> Result<Self> {
        Ok(Self {
            mc: Microcode::load(dev, names.mc)?,
            rlc: Microcode::load(dev, names.rlc)?,
            pfp: Microcode::load(dev, names.pfp)?,
            me: Microcode::load(dev, names.me)?,
            ce: Microcode::load(dev, names.ce)?,
            mec: Microcode::load(dev, names.mec)?,
            sdma: [
                Microcode::load(dev, names.sdma[0])?,
                Microcode::load(dev, names.sdma[1])?,
            ],
        })
    }

    /// Returns the versions of all files.
    pub(crate) fn versions(&self) -> Versions {
        let of = |file: &Microcode| Version {
            version: file.version(),
            feature: file.feature_version(),
        };
        Versions {
            mc: of(&self.mc),
            rlc: of(&self.rlc),
            pfp: of(&self.pfp),
            me: of(&self.me),
            ce: of(&self.ce),
            mec: of(&self.mec),
            sdma: [of(&self.sdma[0]), of(&self.sdma[1])],
        }
    }
}

/// Version of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) version: u32,
    pub(crate) feature: u32,
}

/// Versions of all files of a card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    pub(crate) mc: Version,
    pub(crate) rlc: Version,
    pub(crate) pfp: Version,
    pub(crate) me: Version,
    pub(crate) ce: Version,
    pub(crate) mec: Version,
    pub(crate) sdma: [Version; 2],
}

impl Versions {
    /// Returns the versions of all files, each with its name.
    pub(crate) fn all(&self) -> [(&'static str, Version); 8] {
        let [sdma0, sdma1] = self.sdma;
        [
            ("mc", self.mc),
            ("rlc", self.rlc),
            ("pfp", self.pfp),
            ("me", self.me),
            ("ce", self.ce),
            ("mec", self.mec),
            ("sdma0", sdma0),
            ("sdma1", sdma1),
        ]
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Microcode {
    /// Returns a file of two dwords of microcode for tests: `version` + 1 and `version` + 2.
    fn for_test(version: u32) -> Result<Self> {
        let mut data = KVec::new();
        for dword in [version + 1, version + 2] {
            data.extend_from_slice(&dword.to_le_bytes(), GFP_KERNEL)?;
        }
        let header = Header {
            version,
            first: 0,
            second: 0,
            code: 0..data.len(),
        };
        let file = File::Made(data);
        Ok(Self { file, header })
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Files {
    /// Returns files for tests, each of which has other microcode and another version.
    pub(crate) fn for_test() -> Result<Self> {
        Ok(Self {
            mc: Microcode::for_test(0x10)?,
            rlc: Microcode::for_test(0x20)?,
            pfp: Microcode::for_test(0x30)?,
            me: Microcode::for_test(0x40)?,
            ce: Microcode::for_test(0x50)?,
            mec: Microcode::for_test(0x60)?,
            sdma: [Microcode::for_test(0x70)?, Microcode::for_test(0x80)?],
        })
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_firmware)]
mod tests {
    use super::*;

    const SIZE: usize = 52;

    /// Returns a file with a header of 40 bytes and three dwords of microcode.
    fn file() -> [u8; SIZE] {
        let mut data = [0; SIZE];
        let fields = [
            (0, 52),
            (4, 40),
            (8, 1),
            (16, 0x7b),
            (20, 12),
            (24, 40),
            (32, 29),
            (40, 0x1111_1111),
            (44, 0x2222_2222),
            (48, 0x3333_3333),
        ];
        for (offset, value) in fields {
            put(&mut data, offset, value);
        }
        let crc = crc32(&data[Header::COMMON..]);
        put(&mut data, 28, crc);
        data
    }

    fn put(data: &mut [u8], offset: usize, value: u32) {
        data[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Returns the file with one field changed and the CRC corrected.
    fn changed(offset: usize, value: u32) -> [u8; SIZE] {
        let mut data = file();
        put(&mut data, offset, value);
        let crc = crc32(&data[Header::COMMON..]);
        put(&mut data, 28, crc);
        data
    }

    #[test]
    fn crc() {
        // The check value that every description of this CRC gives.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn good_file() {
        let data = file();
        let header = Header::parse(&data).unwrap();
        assert_eq!(header.version, 0x7b);
        assert_eq!(header.first, 29);
        let mut code = dwords(&data[header.code]);
        assert_eq!(code.next(), Some(0x1111_1111));
        assert_eq!(code.last(), Some(0x3333_3333));
    }

    #[test]
    fn truncated_files() {
        let data = file();
        for length in 0..SIZE {
            assert!(Header::parse(&data[..length]).is_err());
        }
        assert_eq!(Header::parse(&data[..8]), Err(Defect::NoHeader));
        let said = SIZE;
        let is = SIZE - 4;
        assert_eq!(Header::parse(&data[..is]), Err(Defect::Size { said, is }));
    }

    #[test]
    fn nonsense() {
        let layout = Err(Defect::Layout);
        assert_eq!(Header::parse(&changed(20, 16)), layout);
        assert_eq!(Header::parse(&changed(20, 0)), layout);
        assert_eq!(Header::parse(&changed(20, 11)), layout);
        assert_eq!(Header::parse(&changed(24, 36)), layout);
        assert_eq!(Header::parse(&changed(24, 0xffff_fffc)), layout);
        assert_eq!(Header::parse(&changed(4, 8)), layout);
        assert_eq!(Header::parse(&changed(8, 2)), Err(Defect::HeaderVersion(2)));
    }

    #[test]
    fn flipped_bits() {
        for bit in 0..8 * (SIZE - Header::COMMON) {
            let mut data = file();
            data[Header::COMMON + bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::parse(&data), Err(Defect::Crc { .. })));
        }
    }
}
