// SPDX-License-Identifier: GPL-2.0 OR MIT
//! An executor of GFX7 compute shaders, over any memory.

pub mod gfx7;
pub mod isa;
pub mod regset;
pub mod rng;
