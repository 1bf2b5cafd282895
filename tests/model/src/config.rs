// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Settings of a model: chip, memory, seed, faults.

use crate::{
    hdp::Hdp,
    inject::Injections,
    picture::Picture,
    strict::Strictness, //
};

/// The chips that the model can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// 1002:6658, 2 shader engines, 2 memory channels.
    Bonaire,
    /// 1002:67b0, 4 shader engines, 8 memory channels.
    Hawaii,
}

impl Chip {
    /// PCI device ID.
    pub fn device_id(self) -> u16 {
        match self {
            Chip::Bonaire => 0x6658,
            Chip::Hawaii => 0x67b0,
        }
    }

    /// Number of shader engines.
    pub fn shader_engines(self) -> u32 {
        match self {
            Chip::Bonaire => 2,
            Chip::Hawaii => 4,
        }
    }

    /// Compute units of each shader engine, which has one array of them.
    pub fn units(self) -> u32 {
        match self {
            Chip::Bonaire => 7,
            Chip::Hawaii => 11,
        }
    }

    /// `MC_SHARED_CHMAP.NOOFCHAN` as encoded in bits 15:12.
    pub fn channel_code(self) -> u32 {
        match self {
            Chip::Bonaire => 1,
            Chip::Hawaii => 3,
        }
    }
}

/// Behavior of the shader's caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// There are no caches.
    Direct,
    /// A line stays until a packet flushes it, and what is stored too.
    #[default]
    Strict,
}

/// Class that the card reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// 0380: a display controller, not VGA.
    #[default]
    Display,
    /// 0300: VGA, as graphics cards are. Linux looks for the ROM of a primary one at 0xc0000.
    Vga,
}

/// Options of one model.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chip.
    pub chip: Chip,
    /// PCI class.
    pub class: Class,
    /// A card of the same kind with other values at power-on: harvested units, other memory, a
    /// slower link, a later revision.
    pub odd: bool,
    /// VRAM in bytes, a multiple of 16 MiB.
    pub vram: u64,
    /// Size of BAR0 in bytes, a power of two not above `vram` rounded up.
    pub visible: u64,
    /// Setting of the host's writes to VRAM, which may wait for a flush.
    pub hdp: Hdp,
    /// Setting of the shader's caches, which may keep lines until they are flushed.
    pub cache: Cache,
    /// Seed of every random choice: engine order, contents at power-up.
    pub seed: u64,
    /// Faults to inject.
    pub inject: Injections,
    /// Rules of strictness that are on.
    pub strict: Strictness,
    /// Picture on the screen.
    pub picture: Option<Picture>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            chip: Chip::Bonaire,
            class: Class::default(),
            odd: false,
            vram: 1 << 30,
            visible: 1 << 30,
            hdp: Hdp::Direct,
            cache: Cache::Strict,
            seed: 0,
            inject: Injections::default(),
            strict: Strictness::default(),
            picture: None,
        }
    }
}
