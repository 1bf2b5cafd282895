// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Description of a video BIOS by itself, for people and for tools that compare boards (the C
//! driver's `drm_amdgpu_info_vbios`).
//!
//! The image has a number of strings, each ended by a zero. The first is the part number of the
//! BIOS. The last is followed by a carriage return, a line feed and the name of the board. The date
//! and the version of the BIOS are elsewhere. The card runs without any of them, so a missing
//! string is empty, and no offset in the image is trusted.

use crate::hw::atom::image::{
    Image,
    ATOM_HEADER, //
};

/// Offset of the number of strings.
const TEXTS_NUMBER: usize = 0x2f;
/// Offset of the word that points to the first string.
const TEXTS_START: usize = 0x6e;
/// Offset of the date.
const DATE: usize = 0x50;
/// Offset of the part number, if there are no strings.
const PART_NUMBER: usize = 0x80;

/// First letters of a part number that has to be searched for.
const PART_NUMBER_PREFIX: &[u8] = b"ATOMBIOS";
/// Maximum number of letters of a part number.
const PART_NUMBER_LETTERS: usize = 43;
/// Letters before the version of the BIOS, not counting four that vary.
const VERSION_PREFIX: &[u8] = b"ATOMBIOSBK-AMD";
const VERSION_AFTER: usize = VERSION_PREFIX.len() + 4;
/// Offsets at which both are searched for, if the image does not say where they are.
const SEARCHED: core::ops::RangeInclusive<usize> = 3..=1024;

/// Name of a board whose image has none.
const NO_NAME: &[u8] = b"--N/A--";

/// Identity of a video BIOS. Strings end with a zero, and are padded with zeros.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: [u8; 64],
    pub(crate) part_number: [u8; 64],
    /// Version of the firmware, as a number.
    pub(crate) version: u32,
    /// Version of the BIOS.
    pub(crate) version_text: [u8; 32],
    /// Year, month, day, and time of the day.
    pub(crate) date: [u8; 32],
}

impl Identity {
    /// Reads the identity from `image`.
    pub(crate) fn of(image: &[u8]) -> Self {
        let image = Image(image);
        Self {
            name: text(image.name().unwrap_or(NO_NAME)),
            part_number: text(image.part_number().unwrap_or(&[])),
            version: image.firmware_version().unwrap_or(0),
            version_text: text(image.version_text().unwrap_or(&[])),
            date: text(&image.date().unwrap_or_default()),
        }
    }
}

/// Returns as many letters as fit, followed by a zero.
fn text<const N: usize>(letters: &[u8]) -> [u8; N] {
    let mut text = [0; N];
    for (to, &letter) in text.iter_mut().zip(letters).take(N - 1) {
        *to = letter;
    }
    text
}

/// Returns `letters` up to the first one that `ends` a string.
fn until(letters: &[u8], ends: impl Fn(u8) -> bool) -> &[u8] {
    let end = letters.iter().position(|&letter| ends(letter));
    &letters[..end.unwrap_or(letters.len())]
}

impl<'a> Image<'a> {
    fn from(&self, offset: usize) -> Option<&'a [u8]> {
        self.0.get(offset..).filter(|rest| !rest.is_empty())
    }

    fn number_of_texts(&self) -> Option<u8> {
        self.0
            .get(TEXTS_NUMBER)
            .copied()
            .filter(|&number| number != 0)
    }

    /// Returns the name of the board.
    fn name(&self) -> Option<&'a [u8]> {
        let mut rest = self.from(self.word(TEXTS_START)?.into())?;
        for _ in 0..self.number_of_texts()? {
            let end = rest.iter().position(|&letter| letter == 0)?;
            rest = &rest[end + 1..];
        }
        // The name follows a carriage return and a line feed.
        let name = until(rest.get(2..).filter(|name| !name.is_empty())?, |letter| {
            letter == 0
        });
        Some(name.trim_ascii_end())
    }

    /// Returns the part number of the BIOS.
    fn part_number(&self) -> Option<&'a [u8]> {
        let start = match self.number_of_texts() {
            Some(_) => self.word(TEXTS_START)?.into(),
            None => PART_NUMBER,
        };
        let letters = match self.from(start)? {
            [0, ..] => self.from(self.find(PART_NUMBER_PREFIX, SEARCHED)?)?,
            letters => letters,
        };
        let letters = until(letters, |letter| !(b' '..=b'z').contains(&letter));
        Some(&letters[..letters.len().min(PART_NUMBER_LETTERS)])
    }

    /// Returns the version of the BIOS.
    fn version_text(&self) -> Option<&'a [u8]> {
        let (start, end) = (self.word(TEXTS_START)?, self.word(ATOM_HEADER)?);
        let searched = match start < end {
            true => start.into()..=end.into(),
            false => SEARCHED,
        };
        let letters = self.from(self.find(VERSION_PREFIX, searched)? + VERSION_AFTER)?;
        Some(until(letters, |letter| letter == 0))
    }

    /// Returns the offset at which `wanted` begins, within a range of offsets.
    fn find(&self, wanted: &[u8], among: core::ops::RangeInclusive<usize>) -> Option<usize> {
        let start = *among.start();
        let range = self.0.get(start..)?;
        let places = range.windows(wanted.len()).take(among.end() - start + 1);
        let place = places.into_iter().position(|letters| letters == wanted)?;
        Some(start + place)
    }

    /// Returns the date as `2014/03/27 16:30`, from `03/27/14,16:30`.
    fn date(&self) -> Option<[u8; 16]> {
        let raw: [u8; 14] = self.bytes(DATE)?;
        let mut date = *b"20yy/mm/dd hh:mm";
        date[2..4].copy_from_slice(&raw[6..8]);
        date[5..7].copy_from_slice(&raw[..2]);
        date[8..10].copy_from_slice(&raw[3..5]);
        date[11..16].copy_from_slice(&raw[9..14]);
        Some(date)
    }

    fn firmware_version(&self) -> Option<u32> {
        self.dword(self.firmware_info().ok()? + 4)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_vbios_identity)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    /// An image of 4 KiB with all of it: `texts`, the offset of the texts, may be anywhere.
    fn image() -> Result<KVec<u8>> {
        let mut image = KVec::from_elem(0, 4096, GFP_KERNEL)?;
        let mut put = |offset: usize, bytes: &[u8]| {
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &[0x55, 0xaa]);
        put(0x30, b" 761295520");
        put(TEXTS_NUMBER, &[2]);
        put(TEXTS_START, &[0x00, 0x01]);
        put(DATE, b"03/27/14,16:30");
        put(ATOM_HEADER, &[0x00, 0x03]);
        put(0x304, b"ATOM");
        put(0x320, &[0x00, 0x04]);
        put(0x404 + 2 * 4, &[0x00, 0x05]);
        put(0x504, &[0x78, 0x56, 0x34, 0x12]);
        put(0x100, b"113-ABC-1\0BONAIRE\0\r\nBoard name   \0");
        put(0x200, b"ATOMBIOSBK-AMD VER015.046.000.003\0");
        Ok(image)
    }

    fn letters(text: &[u8]) -> &[u8] {
        until(text, |letter| letter == 0)
    }

    #[test]
    fn all_there() -> Result {
        let it = Identity::of(&image()?);
        assert_eq!(letters(&it.name), b"Board name");
        assert_eq!(letters(&it.part_number), b"113-ABC-1");
        assert_eq!(letters(&it.version_text), b"015.046.000.003");
        assert_eq!(letters(&it.date), b"2014/03/27 16:30");
        assert_eq!(it.version, 0x1234_5678);
        Ok(())
    }

    #[test]
    fn no_texts() -> Result {
        let mut image = image()?;
        image[TEXTS_NUMBER] = 0;
        image[PART_NUMBER..PART_NUMBER + 5].copy_from_slice(b"113-D");
        let it = Identity::of(&image);
        assert_eq!(letters(&it.name), NO_NAME);
        assert_eq!(letters(&it.part_number), b"113-D");
        image[PART_NUMBER] = 0;
        assert_eq!(
            letters(&Identity::of(&image).part_number),
            b"ATOMBIOSBK-AMD VER015.046.000.003"
        );
        Ok(())
    }

    #[test]
    fn texts_that_do_not_end() -> Result {
        let mut image = image()?;
        image[0x100..].fill(b'x');
        let it = Identity::of(&image);
        assert_eq!(letters(&it.name), NO_NAME);
        assert_eq!(letters(&it.part_number).len(), PART_NUMBER_LETTERS);
        assert_eq!(letters(&it.version_text), b"");
        assert_eq!(it.version, 0);
        Ok(())
    }

    #[test]
    fn texts_behind_the_end() -> Result {
        let mut image = image()?;
        image[TEXTS_START..TEXTS_START + 2].fill(0xff);
        let it = Identity::of(&image);
        assert_eq!(letters(&it.name), NO_NAME);
        assert_eq!(letters(&it.part_number), b"");
        assert_eq!(letters(&it.version_text), b"015.046.000.003");
        Ok(())
    }

    #[test]
    fn short_images() -> Result {
        let image = image()?;
        for length in (0..0x600).step_by(7) {
            let it = Identity::of(&image[..length]);
            assert_eq!(
                it.name[63] | it.part_number[63] | it.version_text[31] | it.date[31],
                0
            );
        }
        Ok(())
    }
}
