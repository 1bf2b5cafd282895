// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers of Sea Islands, under the vendor's names; offsets are in bytes.
//!
//! Only what the driver uses is declared. Offsets and fields are those of the kernel's own headers
//! in `drivers/gpu/drm/amd/include/asic_reg`.

mod bus;
mod cp;
mod display;
mod gfx;
mod ih;
mod mc;
mod sdma;
mod smc;

pub(crate) use bus::*;
pub(crate) use cp::*;
pub(crate) use display::*;
pub(crate) use gfx::*;
pub(crate) use ih::*;
pub(crate) use mc::*;
pub(crate) use sdma::*;
pub(crate) use smc::*;
