// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Images.

use crate::bus::Bus;
use crate::context::Context;
use crate::isa::{Image, Inst};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::wave::Wave;

/// Executes an image instruction.
pub fn execute<M: Memory + ?Sized>(
    _w: &mut Wave,
    i: &Inst,
    _op: Image,
    _bus: &mut Bus<'_, M>,
    _context: &Context,
) -> Result<(), Stop> {
    Err(Stop::illegal(format!("{} is not implemented", i.entry.name)))
}
