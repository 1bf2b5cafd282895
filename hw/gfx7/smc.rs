// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers of the system management controller (SMC), behind an index and a data register.
//!
//! The driver only reads them. Concurrent reads return wrong values: callers must allow only one
//! reader at a time.

use kernel::io::{
    register::Register,
    Io, //
};

use super::regs::*;
use crate::hw::card::Card;

/// Reads a register.
pub(super) fn read<R: Register + From<u32>>(card: &Card<'_>) -> R {
    // CAST: Addresses have 32 bits.
    let address = R::OFFSET as u32;
    card.regs().write_reg(SMC_IND_INDEX_0::from(address));
    R::from(card.regs().read(SMC_IND_DATA_0).into_raw())
}
