// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Raster configuration: the distribution of screen tiles over render backends (the C driver's
//! `gfx_v7_0_write_harvested_raster_configs`).
//!
//! Backends come in halves of halves: two are a packer, the packers are a shader engine, two
//! engines are a pair, and the pairs are the chip. At each of these levels a field says which half
//! a tile goes to. On a board where one half has no working backend, all tiles go to the other.
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
const PACKER: u32 = 2;

/// Returns the configuration of a shader engine. `backends` is the mask of the working backends.
pub(super) fn config(parts: &Parts, backends: u32, engine: u32) -> Config {
    use PA_SC_RASTER_CONFIG as Register;
    use PA_SC_RASTER_CONFIG_1 as Register1;

    let count = parts.backends_per_engine;
    let (first, pair) = (engine * count, (engine & !1) * count);
    let mut result = parts.raster;
    let Config { config, config_1 } = &mut result;
    let working = Working(backends);
    // A board on which none works is not to be believed.
    if !working.any(0, parts.shader_engines * count) {
        return result;
    }

    working.steer(config, Register::RB_MAP_PKR0_MASK, first, 1);
    if count > PACKER {
        working.steer(config, Register::RB_MAP_PKR1_MASK, first + PACKER, 1);
        working.steer(config, Register::PKR_MAP_MASK, first, PACKER);
    }
    working.steer(config, Register::SE_MAP_MASK, pair, count);
    if parts.shader_engines > 2 {
        working.steer(config_1, Register1::SE_PAIR_MAP_MASK, 0, 2 * count);
    }
    result
}

/// Mask of the working backends of a board.
struct Working(u32);

impl Working {
    /// Returns true if any of `count` backends from `first` on works.
    const fn any(&self, first: u32, count: u32) -> bool {
        self.0 >> first & ((1 << count) - 1) != 0
    }

    /// Sets the field `map` to one half, of `count` backends each from `first` on, if the other has
    /// none that works.
    fn steer(&self, register: &mut u32, map: u32, first: u32, count: u32) {
        match (self.any(first, count), self.any(first + count, count)) {
            (true, true) => (),
            // 0 sends all to the first half, 3 all to the second.
            (true, false) => *register &= !map,
            (false, _) => *register |= map,
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(amdgpu_rs_raster)]
mod tests {
    use super::{
        super::{
            bonaire,
            hawaii, //
        },
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
    #[test]
    fn two_pairs_of_engines_of_two_packers() {
        let cases = [
            // (working backends, engine, configuration, its second register)
            (0xffff, 0, 0x3a00_161a, 0x2e),
            (0xffff, 3, 0x3a00_161a, 0x2e),
            // A backend of the first packer, and one of the second.
            (0xfffe, 0, 0x3a00_161b, 0x2e),
            (0xff7f, 1, 0x3a00_1612, 0x2e),
            // A packer, an engine, a pair of engines.
            (0xff3f, 1, 0x3a00_141e, 0x2e),
            (0xfff0, 1, 0x3b00_161a, 0x2e),
            (0x0fff, 2, 0x3800_161a, 0x2e),
            (0xff00, 2, 0x3a00_161a, 0x2f),
            (0x00ff, 0, 0x3a00_161a, 0x2c),
        ];
        for (backends, engine, config, config_1) in cases {
            let is = super::config(&hawaii::PARTS, backends, engine);
            assert_eq!(is, Config { config, config_1 });
        }
    }
}
