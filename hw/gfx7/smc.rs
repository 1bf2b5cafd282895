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
