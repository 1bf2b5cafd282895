// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The chip as a whole.

use kernel::io::Io;

use super::{
    clock_gating,
    golden,
    regs::*, //
};
use crate::hw::{
    card::Card,
    ClockGating,
    Revision,
    System, //
};

pub(super) struct Bonaire;

impl System for Bonaire {
    fn responds(&self, card: &Card<'_>) -> bool {
        // What nobody answers reads as ones.
        card.regs.read(CONFIG_MEMSIZE).into_raw() != !0
    }

    fn is_posted(&self, card: &Card<'_>) -> bool {
        // The video BIOS leaves a mark when its initialization is complete.
        const ASIC_INIT_COMPLETE: u32 = 1 << 9;
        card.regs.read(BIOS_SCRATCH_7).into_raw() & ASIC_INIT_COMPLETE != 0
    }

    fn revision(&self, card: &Card<'_>) -> Revision {
        let internal = u32::from(card.regs.read(CC_DRM_ID_STRAPS).ati_rev_id());
        Revision {
            internal,
            external: internal + 0x14,
        }
    }

    fn program_golden_registers(&self, card: &Card<'_>) {
        golden::program_bonaire(card);
    }

    fn gate_clocks(&self, card: &Card<'_>, gating: ClockGating) {
        clock_gating::set(card, gating);
    }
}
