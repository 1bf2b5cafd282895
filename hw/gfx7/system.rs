// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The chip as a whole (the C driver's `cik_asic_funcs`).

use kernel::{
    io::Io,
    prelude::*,
    time::{
        delay::udelay,
        Delta, //
    },
};

use super::{
    clock_gating,
    golden,
    regs::*,
    Parts, //
};
use crate::hw::{
    card::Card,
    ClockGating,
    Revision,
    System, //
};

impl System for Parts {
    fn responds(&self, card: &Card<'_>) -> bool {
        // Reads that no device answers return all ones.
        card.regs().read(CONFIG_MEMSIZE).into_raw() != !0
    }

    fn is_posted(&self, card: &Card<'_>) -> bool {
        // The video BIOS sets this bit when its initialization is complete.
        const ASIC_INIT_COMPLETE: u32 = 1 << 9;
        card.regs().read(BIOS_SCRATCH_7).into_raw() & ASIC_INIT_COMPLETE != 0
    }

    fn revision(&self, card: &Card<'_>) -> Revision {
        let internal = u32::from(card.regs().read(CC_DRM_ID_STRAPS).ati_rev_id());
        Revision {
            internal,
            external: (self.external_revision)(internal),
        }
    }

    fn program_golden_registers(&self, card: &Card<'_>) {
        golden::program(card, self.golden);
    }

    fn wait_idle(&self, card: &Card<'_>) -> Result {
        for _ in 0..IDLE_LOOKS {
            if is_idle(card) {
                return Ok(());
            }
            udelay(IDLE_PAUSE);
        }
        Err(EBUSY)
    }

    fn reset_engines(&self, card: &Card<'_>) {
        let regs = card.regs();
        for reset in [true, false] {
            regs.update(GRBM_SOFT_RESET, |r| {
                r.with_soft_reset_cp(reset)
                    .with_soft_reset_rlc(reset)
                    .with_soft_reset_gfx(reset)
                    .with_soft_reset_cpf(reset)
                    .with_soft_reset_cpc(reset)
                    .with_soft_reset_cpg(reset)
            });
            regs.update(SRBM_SOFT_RESET, |r| {
                r.with_soft_reset_sdma(reset).with_soft_reset_sdma1(reset)
            });
            // These reads return once the reset has begun, or ended.
            regs.read(GRBM_SOFT_RESET);
            regs.read(SRBM_SOFT_RESET);
            udelay(RESET_PULSE);
        }
    }

    fn gate_clocks(&self, card: &Card<'_>, gating: ClockGating) {
        clock_gating::set(card, self, gating);
    }
}

/// Number of checks for idle engines, and the pause between two checks: 5 ms in all.
const IDLE_LOOKS: u32 = 100;
const IDLE_PAUSE: Delta = Delta::from_micros(50);
/// Time for which engines are held in reset, and left alone after it.
const RESET_PULSE: Delta = Delta::from_micros(50);

/// Returns true if the graphics, compute and DMA engines have no work in progress.
///
/// The read also makes the engines' writes to memory arrive: no answer of the card overtakes them.
fn is_idle(card: &Card<'_>) -> bool {
    let graphics = card.regs().read(GRBM_STATUS);
    let dma = card.regs().read(SRBM_STATUS2);
    !(graphics.gui_active() || dma.sdma_busy() || dma.sdma1_busy())
}
