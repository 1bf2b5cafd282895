// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers of the system management controller (SMC), behind an index and a data register.
//!
//! In the C driver: `RREG32_SMC` and `WREG32_SMC`.
//!
//! The driver only reads them, but for the position in the ROM. Concurrent reads return wrong
//! values: callers must allow only one reader at a time.

use kernel::{
    io::{
        register::Register,
        Io, //
    },
    prelude::*, //
};

use super::regs::*;
use crate::hw::card::Card;

/// Reads a register.
pub(super) fn read<R: Register + From<u32>>(card: &Card<'_>) -> R {
    // CAST: Addresses have 32 bits.
    R::from(read_at(card, R::OFFSET as u32))
}

/// Reads the register at an address.
pub(super) fn read_at(card: &Card<'_>, address: u32) -> u32 {
    card.regs().write_reg(SMC_IND_INDEX_0::from(address));
    card.regs().read(SMC_IND_DATA_0).into_raw()
}

/// Reads the card's ROM from its start.
pub(super) fn read_rom(card: &Card<'_>, image: &mut [u8]) {
    let regs = card.regs();
    let select = |offset: usize| {
        // CAST: Addresses have 32 bits.
        regs.write_reg(SMC_IND_INDEX_0::from(offset as u32));
    };
    select(ROM_INDEX::OFFSET);
    regs.write_reg(SMC_IND_DATA_0::from(0));
    // Each read moves on to the next dword.
    select(ROM_DATA::OFFSET);
    for bytes in image.chunks_mut(size_of::<u32>()) {
        let dword = regs.read(SMC_IND_DATA_0).into_raw().to_le_bytes();
        bytes.copy_from_slice(&dword[..bytes.len()]);
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_smc)]
mod tests {
    use super::*;
    use crate::hw::{
        fake::write,
        ChipId, //
    };

    /// All registers behind the index hold the same on a fake card.
    #[test]
    fn the_power_controller_runs_beyond_its_boot_code_with_its_clock_on() -> Result {
        let system = ChipId::Bonaire.chip().system;
        let cases = [
            (0x2_0100, true),
            (0x2_00fe, false),
            (0x2_0101, false), // the clock is off
            (0xffff_fffe, true),
            (0, false),
        ];
        for (value, runs) in cases {
            let card = Card::fake(&[(0x204, value)])?;
            let condition = system.condition(&card);
            assert_eq!(condition.power_controller_runs, runs);
            assert_eq!(condition.thermal_protection_off, value & 4 != 0);
            assert_eq!(condition.temperature, value >> 9 & 0x1ff);
            assert!(card.saw(&[
                // SMC_IND_INDEX_0
                write(0x200, 0x8000_0004), // SMC_SYSCON_CLOCK_CNTL_0
                write(0x200, 0x8000_0370), // SMC_PC_C
                write(0x200, 0xc020_0000), // GENERAL_PWRMGT
                write(0x200, 0xc030_0014), // CG_MULT_THERMAL_STATUS
            ]));
        }
        Ok(())
    }

    #[test]
    fn crystal() -> Result {
        for (pins, divider) in [(0x2, 4), (0xd, 1)] {
            let card = Card::fake(&[(0x204, pins)])?;
            assert_eq!(
                ChipId::Bonaire.chip().system.crystal_divider(&card),
                divider
            );
            assert!(card.saw(&[write(0x200, 0xc050_01a0)])); // CG_CLKPIN_CNTL
        }
        Ok(())
    }

    #[test]
    fn rom() -> Result {
        let card = Card::fake(&[(0x204, !0)])?;
        let mut image = [0xff; 6];
        read_rom(&card, &mut image);
        assert!(card.saw(&[
            write(0x200, 0xc060_0010), // ROM_INDEX
            write(0x204, 0),
            write(0x200, 0xc060_0014), // ROM_DATA
        ]));
        assert_eq!(image, [0; 6]);
        Ok(())
    }
}
