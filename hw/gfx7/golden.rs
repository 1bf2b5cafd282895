// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Golden registers: values that AMD found by measurement and asks every driver to set (the C
//! driver's `cik_init_golden_registers`).
//!
//! They set clock gating, arbitration and workarounds in most blocks of the chip. No document
//! explains them one by one. Each chip has tables of its own, in its file.

use kernel::io::Io;

use crate::hw::card::Card;

/// A register (offset in dwords), the bits to change, and their value.
pub(super) struct Golden(pub(super) usize, pub(super) u32, pub(super) u32);

/// Programs golden registers, in the order of the tables.
pub(super) fn program(card: &Card<'_>, tables: &[&[Golden]]) {
    for entry in tables.iter().copied().flatten() {
        entry.program(card);
    }
}

impl Golden {
    fn program(&self, card: &Card<'_>) {
        let Self(register, mask, value) = *self;
        let offset = register * size_of::<u32>();
        // The tables' offsets lie within the register BAR; see the test below.
        let old = match mask {
            u32::MAX => 0,
            _ => card.regs().try_read32(offset).unwrap_or(0),
        };
        let _ = card.regs().try_write32((old & !mask) | value, offset);
    }
}

/// Broadcast of register writes to all instances, which stays in effect.
#[rustfmt::skip]
pub(super) static BROADCAST: &[Golden] = &[
    Golden(0xc200, 0xe0ff_ffff, 0xe000_0000), // GRBM_GFX_INDEX
];

#[kernel::macros::kunit_tests(amdgpu_rs_golden)]
mod tests {
    use super::{
        super::CHIPS,
        *, //
    };
    use crate::hw::card::REGISTERS_SIZE;

    #[test]
    fn offsets_and_masks() {
        for parts in CHIPS {
            for Golden(register, mask, value) in parts.golden.iter().copied().flatten() {
                assert!(register * size_of::<u32>() < REGISTERS_SIZE);
                assert!(*mask != 0 || *value != 0);
            }
        }
    }
}
