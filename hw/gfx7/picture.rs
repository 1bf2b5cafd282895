// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The picture that the firmware left on the screen (the C driver's stolen VGA memory,
//! `stolen_vga_memory`).
//!
//! The driver does not touch the display. The card continues to scan out the memory that it scanned
//! out at probe, no matter what is written there. That memory must not be allocated, or the BOs of
//! processes would be on the screen. The firmware puts its picture at the start of VRAM, be it a
//! VGA console or an EFI frame buffer. Everything up to the end of what any pipe shows stays
//! reserved.

use kernel::{
    io::{
        register::{
            RegisterBase,
            WithBase, //
        },
        Io, //
    },
    sizes::SizeConstants, //
};

use super::regs::*;
use crate::hw::card::Card;

/// Bytes that VGA uses at the start of VRAM, in any mode.
const VGA_SIZE: u64 = 9 * u64::SZ_1M;
/// Alignment of the reserved size, as pictures begin and end somewhere within a tile.
const ALIGNMENT: u64 = u64::SZ_64K;
/// Least VRAM that must be left. Otherwise the contents of the registers are taken for garbage.
const MIN_LEFT: u64 = 8 * u64::SZ_1M;

/// Picture that one pipe shows.
#[derive(Clone, Copy)]
struct Plane {
    /// Start of the picture in the GPU's address space.
    address: u64,
    /// In pixels, of at most four bytes.
    pitch: u32,
    lines: u32,
}

impl Plane {
    /// Returns the picture that a pipe shows, or `None` if the pipe is off.
    fn of<P: RegisterBase<PipeBase>>(card: &Card<'_>) -> Option<Self> {
        let regs = card.regs();

        if !regs.read(CRTC0_CRTC_CONTROL::of::<P>()).crtc_master_en() {
            return None;
        }
        let low = regs
            .read(DCP0_GRPH_PRIMARY_SURFACE_ADDRESS::of::<P>())
            .into_raw();
        let high = regs
            .read(DCP0_GRPH_PRIMARY_SURFACE_ADDRESS_HIGH::of::<P>())
            .grph_primary_surface_address_high();
        Some(Self {
            address: u64::from(high.get()) << 32 | u64::from(low),
            pitch: regs.read(DCP0_GRPH_PITCH::of::<P>()).grph_pitch().get(),
            lines: regs.read(DCP0_GRPH_Y_END::of::<P>()).grph_y_end().get(),
        })
    }

    /// Returns the offset of the picture's end from `start`, the address of VRAM.
    fn end(&self, start: u64) -> Option<u64> {
        let size = u64::from(self.pitch) * u64::from(self.lines) * 4;
        self.address.checked_sub(start)?.checked_add(size)
    }
}

/// Returns how many bytes of VRAM, from its start, are shown. `start` is the address of VRAM.
/// `visible` is the size of the part that the CPU can access, which is all that is given out.
pub(super) fn size(card: &Card<'_>, start: u64, visible: u64) -> u64 {
    let planes = [
        Plane::of::<Pipe0>(card),
        Plane::of::<Pipe1>(card),
        Plane::of::<Pipe2>(card),
        Plane::of::<Pipe3>(card),
        Plane::of::<Pipe4>(card),
        Plane::of::<Pipe5>(card),
    ];
    shown(&planes, is_vga(card), start, visible)
}

/// Returns true if any pipe shows a VGA picture.
fn is_vga(card: &Card<'_>) -> bool {
    let regs = card.regs();

    regs.read(D1VGA_CONTROL).d1vga_mode_enable()
        || regs.read(D2VGA_CONTROL).d2vga_mode_enable()
        || regs.read(D3VGA_CONTROL).d3vga_mode_enable()
        || regs.read(D4VGA_CONTROL).d4vga_mode_enable()
        || regs.read(D5VGA_CONTROL).d5vga_mode_enable()
        || regs.read(D6VGA_CONTROL).d6vga_mode_enable()
}

fn shown(planes: &[Option<Plane>], vga: bool, start: u64, visible: u64) -> u64 {
    let ends = planes.iter().flatten().filter_map(|plane| plane.end(start));
    let plausible = |end: &u64| *end <= visible.saturating_sub(MIN_LEFT);
    let end = ends.filter(plausible).max().unwrap_or(0);
    let end = if vga { end.max(VGA_SIZE) } else { end };

    end.next_multiple_of(ALIGNMENT)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_picture)]
mod tests {
    use super::*;

    const START: u64 = 0xf4_0000_0000;
    const VISIBLE: u64 = 256 * u64::SZ_1M;

    fn plane(offset: u64, pitch: u32, lines: u32) -> Option<Plane> {
        Some(Plane {
            address: START + offset,
            pitch,
            lines,
        })
    }

    fn of(planes: &[Option<Plane>], vga: bool) -> u64 {
        shown(planes, vga, START, VISIBLE)
    }

    #[test]
    fn all_that_is_shown_is_reserved() {
        assert_eq!(of(&[None; 6], false), 0);
        assert_eq!(of(&[None; 6], true), VGA_SIZE);
        assert_eq!(of(&[plane(0, 1024, 768)], false), 3 * u64::SZ_1M);
        assert_eq!(of(&[plane(0, 1000, 1), None], false), u64::SZ_64K);
        let two = [plane(u64::SZ_1M, 1024, 768), plane(0, 64, 64)];
        assert_eq!(of(&two, false), 4 * u64::SZ_1M);
        assert_eq!(of(&two, true), VGA_SIZE);
    }

    #[test]
    fn garbage_takes_nothing() {
        assert_eq!(of(&[plane(0, 0x7fff, 0x7fff)], false), 0);
        assert_eq!(of(&[plane(1 << 38, 1024, 768)], false), 0);
        let elsewhere = Some(Plane {
            address: 0,
            pitch: 1024,
            lines: 768,
        });
        assert_eq!(of(&[elsewhere, plane(0, 64, 64)], false), u64::SZ_64K);
    }
}
