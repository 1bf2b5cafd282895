// SPDX-License-Identifier: GPL-2.0 OR MIT
//! An executor of GFX7 compute shaders, over any memory.

pub mod bus;
pub mod float;
pub mod gfx7;
pub mod isa;
pub mod lds;
pub mod memory;
pub mod mode;
pub mod pending;
pub mod regset;
pub mod rng;
pub mod scalar;
pub mod stop;
pub mod vector;
pub mod wave;
