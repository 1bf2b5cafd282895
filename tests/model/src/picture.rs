// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The picture that the firmware left on the screen: what a display controller scans out from the
//! start of VRAM. A driver that does not drive the display leaves it alone: whoever changes it has
//! put something else on the screen.

use std::{
    fmt,
    str::FromStr, //
};

use crate::{
    memory::Memory,
    regs::{
        Store,
        index::{
            CRTC0_CRTC_CONTROL,
            DCP0_GRPH_PITCH,
            DCP0_GRPH_PRIMARY_SURFACE_ADDRESS,
            DCP0_GRPH_PRIMARY_SURFACE_ADDRESS_HIGH,
            DCP0_GRPH_Y_END,
            VIEWPORT_SIZE, //
        },
        reset::FB_BASE, //
    }, //
};

/// `CRTC_CONTROL.CRTC_MASTER_EN`.
const MASTER_EN: u32 = 1;
/// Largest width and height that the registers hold.
const MOST: u32 = 0x3fff;

/// A picture of four bytes a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
}

impl FromStr for Picture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=MOST).contains(side));
        let sides = text.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?)));
        let (width, height) =
            sides.ok_or_else(|| format!("a picture is WIDTHxHEIGHT, not `{text}`"))?;
        Ok(Picture { width, height })
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Picture {
    /// Bytes.
    pub fn size(self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * 4
    }

    /// Has the first display controller scan it out.
    pub(crate) fn show(self, regs: &mut Store) {
        regs.set(CRTC0_CRTC_CONTROL, MASTER_EN);
        regs.set(DCP0_GRPH_PRIMARY_SURFACE_ADDRESS, FB_BASE as u32);
        regs.set(DCP0_GRPH_PRIMARY_SURFACE_ADDRESS_HIGH, (FB_BASE >> 32) as u32);
        regs.set(DCP0_GRPH_PITCH, self.width);
        regs.set(DCP0_GRPH_Y_END, self.height);
        regs.set(VIEWPORT_SIZE, self.width << 16 | self.height);
    }

    /// Paints it.
    pub(crate) fn paint(self, vram: &Memory) {
        for n in 0..self.size() / 4 {
            vram.write(n * 4, &pixel(n).to_le_bytes());
        }
    }

    /// The offset of the first pixel that is not as it was painted.
    pub(crate) fn first_change(self, vram: &Memory) -> Option<u64> {
        let is_changed = |n: &u64| {
            let mut seen = [0; 4];
            vram.read(n * 4, &mut seen);
            u32::from_le_bytes(seen) != pixel(*n)
        };
        (0..self.size() / 4).find(is_changed).map(|n| n * 4)
    }
}

/// Neighbors differ, and lines do.
fn pixel(n: u64) -> u32 {
    (n as u32).wrapping_mul(0x9e37_79b9) ^ 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("1024x768".parse(), Ok(Picture { width: 1024, height: 768 }));
        for wrong in ["1024", "x", "0x1", "1x0", "16384x1", "1024x768x1"] {
            assert!(wrong.parse::<Picture>().is_err());
        }
    }

    #[test]
    fn a_change_is_seen() -> std::io::Result<()> {
        let picture = Picture { width: 64, height: 16 };
        let vram = Memory::anonymous("test", 1 << 16)?;
        picture.paint(&vram);
        assert_eq!(picture.first_change(&vram), None);
        vram.write(picture.size(), &[1; 8]);
        assert_eq!(picture.first_change(&vram), None);
        vram.write(0x104, &[0]);
        assert_eq!(picture.first_change(&vram), Some(0x104));
        Ok(())
    }
}
