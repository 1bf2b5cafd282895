// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Scan-out of the display controllers (DCE 8.0). The driver only reads these registers.
//!
//! The C driver has them in dce_8_0_d.h.

use kernel::io::{
    register,
    register::RegisterBase, //
};

/// The family of registers that each pipe has, from its graphics plane on.
pub(crate) struct PipeBase;

/// The first pipe.
pub(crate) struct Pipe0;

/// The second pipe.
pub(crate) struct Pipe1;

/// The third pipe.
pub(crate) struct Pipe2;

/// The fourth pipe.
pub(crate) struct Pipe3;

/// The fifth pipe.
pub(crate) struct Pipe4;

/// The sixth pipe.
pub(crate) struct Pipe5;

impl RegisterBase<PipeBase> for Pipe0 {
    const BASE: usize = 0x06800;
}

impl RegisterBase<PipeBase> for Pipe1 {
    const BASE: usize = 0x07400;
}

impl RegisterBase<PipeBase> for Pipe2 {
    const BASE: usize = 0x10000;
}

impl RegisterBase<PipeBase> for Pipe3 {
    const BASE: usize = 0x10c00;
}

impl RegisterBase<PipeBase> for Pipe4 {
    const BASE: usize = 0x11800;
}

impl RegisterBase<PipeBase> for Pipe5 {
    const BASE: usize = 0x12400;
}

// The picture

register! {
    pub(crate) DCP0_GRPH_PRIMARY_SURFACE_ADDRESS(u32) @ PipeBase + 0x010 {}

    /// In pixels.
    pub(crate) DCP0_GRPH_PITCH(u32) @ PipeBase + 0x018 {
        14:0 grph_pitch;
    }

    pub(crate) DCP0_GRPH_PRIMARY_SURFACE_ADDRESS_HIGH(u32) @ PipeBase + 0x01c {
        7:0 grph_primary_surface_address_high;
    }

    /// The line behind the last.
    pub(crate) DCP0_GRPH_Y_END(u32) @ PipeBase + 0x038 {
        14:0 grph_y_end;
    }

    pub(crate) CRTC0_CRTC_CONTROL(u32) @ PipeBase + 0x670 {
        0:0 crtc_master_en => bool;
    }
}

// VGA

register! {
    pub(crate) D1VGA_CONTROL(u32) @ 0x00330 {
        0:0 d1vga_mode_enable => bool;
    }

    pub(crate) D2VGA_CONTROL(u32) @ 0x00338 {
        0:0 d2vga_mode_enable => bool;
    }

    pub(crate) D3VGA_CONTROL(u32) @ 0x003e0 {
        0:0 d3vga_mode_enable => bool;
    }

    pub(crate) D4VGA_CONTROL(u32) @ 0x003e4 {
        0:0 d4vga_mode_enable => bool;
    }

    pub(crate) D5VGA_CONTROL(u32) @ 0x003e8 {
        0:0 d5vga_mode_enable => bool;
    }

    pub(crate) D6VGA_CONTROL(u32) @ 0x003ec {
        0:0 d6vga_mode_enable => bool;
    }
}
