// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Raster configuration: the distribution of screen tiles over render backends (the C driver's
//! `gfx_v7_0_write_harvested_raster_configs`).
//!
//! Backends come in halves of halves: two are a packer, the packers are a shader engine, two engines
//! are a pair, and the pairs are the chip. At each of these levels a field says which half a tile
//! goes to. On a board where one half has no working backend, all tiles go to the other.
//!
//! The C driver takes engine 0 for all of them when it looks for engines without backends: it
//! shifts the first engine's mask where it would have to shift the mask of all backends. A board
//! whose engines lost different backends may then lose a whole engine. Here each engine counts for
//! itself.

use super::{
    regs::*,
    Parts, //
};

/// Values of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) config: u32,
    pub(super) config_1: u32,
}

/// Number of backends in a packer.
const PER_PACKER: u32 = 2;

/// Values of a field: all tiles go to one half.
const FIRST_ONLY: u32 = 0;
const SECOND_ONLY: u32 = 3;

/// Returns the configuration of a shader engine. `backends` is the mask of the working backends.
pub(super) fn config(parts: &Parts, backends: u32, engine: u32) -> Config {
    let per_engine = parts.backends_per_engine;
    let halves = |register, field, first, half| {
        steer(
            register,
            field,
            works(backends, first, half),
            works(backends, first + half, half),
        )
    };
    let Config {
        mut config,
        mut config_1,
    } = parts.raster;
    // A board on which none works is not to be believed.
    if !works(backends, 0, parts.shader_engines * per_engine) {
        return parts.raster;
    }

    let first = engine * per_engine;
    config = halves(config, PA_SC_RASTER_CONFIG::RB_MAP_PKR0_MASK, first, 1);
    if per_engine > PER_PACKER {
        let second = first + PER_PACKER;
        config = halves(config, PA_SC_RASTER_CONFIG::RB_MAP_PKR1_MASK, second, 1);
        config = halves(config, PA_SC_RASTER_CONFIG::PKR_MAP_MASK, first, PER_PACKER);
    }
    let pair = (engine & !1) * per_engine;
    config = halves(config, PA_SC_RASTER_CONFIG::SE_MAP_MASK, pair, per_engine);
    if parts.shader_engines > 2 {
        config_1 = halves(
            config_1,
            PA_SC_RASTER_CONFIG_1::SE_PAIR_MAP_MASK,
            0,
            2 * per_engine,
        );
    }
    Config { config, config_1 }
}

/// Returns true if any of `count` backends from `first` on works.
const fn works(backends: u32, first: u32, count: u32) -> bool {
    backends >> first & ((1 << count) - 1) != 0
}

/// Returns a register's value with the field changed unless both halves work.
const fn steer(register: u32, field: u32, first: bool, second: bool) -> u32 {
    let one = field & field.wrapping_neg();
    match (first, second) {
        (true, true) => register,
        (true, false) => register & !field | FIRST_ONLY * one,
        (false, _) => register & !field | SECOND_ONLY * one,
    }
}

#[kernel::macros::kunit_tests(amdgpu_rs_raster)]
mod tests {
    use super::{
        super::bonaire,
        *, //
    };

    #[test]
    fn two_engines_of_a_packer() {
        let cases = [
            // (working backends, engine, configuration)
            (0b1111, 0, 0x1600_0012),
            (0b1110, 0, 0x1600_0013),
            (0b1110, 1, 0x1600_0012),
            (0b1101, 0, 0x1600_0010),
            (0b1100, 1, 0x1700_0012),
            (0b0011, 0, 0x1400_0012),
            // Each engine lost another one.
            (0b0110, 0, 0x1600_0013),
            (0b0110, 1, 0x1600_0010),
            (0, 0, 0x1600_0012),
        ];
        for (backends, engine, config) in cases {
            let is = super::config(&bonaire::PARTS, backends, engine);
            assert_eq!(
                is,
                Config {
                    config,
                    config_1: 0
                }
            );
        }
    }
}
