// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The chip as a whole (the C driver's `cik_asic_funcs`).

use kernel::{
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    prelude::*,
    time::{
        delay::udelay,
        Delta, //
    },
};

use super::{
    clock_gating,
    golden,
    mec,
    regs::*,
    smc,
    survey,
    Parts, //
};
use crate::hw::{
    card::Card,
    command::{
        Block,
        RingId, //
    },
    ClockGating,
    Condition,
    Revision,
    Say,
    System, //
};

impl System for Parts {
    fn responds(&self, card: &Card<'_>) -> bool {
        // Reads that no device answers return all ones. But registers of a card that is gone may
        // read as anything, if the bridge decodes none of them.
        card.is_present() && card.regs().read(CONFIG_MEMSIZE).into_raw() != !0
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

    fn condition(&self, card: &Card<'_>) -> Condition {
        /// Bit of the clock's control register: the clock is off.
        const CLOCK_OFF: u32 = 1 << 0;
        /// Program counter at which the power controller has left its boot code.
        const BOOTED: u32 = 0x2_0100;

        let clock: SMC_SYSCON_CLOCK_CNTL_0 = smc::read(card);
        let position: SMC_PC_C = smc::read(card);
        let power: GENERAL_PWRMGT = smc::read(card);
        let heat: CG_MULT_THERMAL_STATUS = smc::read(card);
        Condition {
            power_controller_runs: clock.into_raw() & CLOCK_OFF == 0
                && position.into_raw() >= BOOTED,
            thermal_protection_off: power.thermal_protection_dis(),
            temperature: heat.ctf_temp().get(),
        }
    }

    fn survey(&self, card: &Card<'_>, say: Say<'_>) {
        survey::found(card, say);
    }

    fn survey_power(&self, card: &Card<'_>, say: Say<'_>) {
        survey::power(card, say);
    }

    fn survey_stuck(&self, card: &Card<'_>, ring: RingId, say: Say<'_>) {
        survey::stuck(card, ring, say);
    }

    fn read_rom(&self, card: &Card<'_>, image: &mut [u8]) {
        smc::read_rom(card, image);
    }

    fn crystal_divider(&self, card: &Card<'_>) -> u32 {
        let pins: CG_CLKPIN_CNTL = smc::read(card);
        if pins.xtalin_divide() {
            4
        } else {
            1
        }
    }

    fn program_golden_registers(&self, card: &Card<'_>) {
        golden::program(card, self.golden);
    }

    fn wait_idle(&self, card: &Card<'_>, blocks: &[Block]) -> Result {
        for _ in 0..IDLE_LOOKS {
            if blocks.iter().all(|block| is_idle(card, *block)) {
                // A queue that was active when its engine was halted stays with it.
                let held = blocks.contains(&Block::Graphics) && mec::any_active(card);
                return if held { Err(EBUSY) } else { Ok(()) };
            }
            udelay(IDLE_PAUSE);
        }
        Err(EBUSY)
    }

    fn reset(&self, card: &Card<'_>, blocks: &[Block]) {
        let graphics = blocks.contains(&Block::Graphics);
        if graphics {
            stall_graphics(card, true);
            pulse_graphics(card);
        }
        pulse_bus(card, blocks);
        if graphics {
            stall_graphics(card, false);
        }
    }

    fn reset_card(&self, card: &Card<'_>) -> Result {
        let witness = Witness::before(self, card);
        card.end_bus_mastering();
        card.write_config(RESET_AT, RESET_KEY);
        udelay(RESET_PULSE);
        read_poll_timeout(
            || Ok(self.responds(card)),
            |responds| *responds,
            Delta::from_micros(50),
            RESET_PATIENCE,
        )
        .map_err(|_| ENODEV)?;
        if !witness.has_changed(self, card) {
            return Err(EIO);
        }
        // If only a part of the chip was reset, all of it is initialized again.
        card.regs().write_reg(BIOS_SCRATCH_7::from(0));
        Ok(())
    }

    fn gate_clocks(&self, card: &Card<'_>, gating: ClockGating) {
        clock_gating::set(card, self, gating);
    }
}

/// Place in the configuration space where this key, written by the CPU, resets the chip.
const RESET_AT: usize = 0x7c;
const RESET_KEY: u32 = 0x39d5_e86b;
/// Time that the chip has to come out of that reset.
const RESET_PATIENCE: Delta = Delta::from_millis(100);

/// State that a reset of the chip changes. The chip's power controller does the reset, if it runs:
/// otherwise nothing happens, and nothing says so.
struct Witness {
    /// The pattern was in a register of the graphics block, which each kind of reset resets.
    marked: bool,
    /// The video BIOS had noted that it has initialized the chip.
    posted: bool,
}

impl Witness {
    const PATTERN: u32 = 0x5ee_d0fa;

    fn before(parts: &Parts, card: &Card<'_>) -> Self {
        card.regs().write_reg(SCRATCH_REG0::from(Self::PATTERN));
        Self {
            // The graphics block may be in no state to keep it.
            marked: Self::is_marked(card),
            posted: parts.is_posted(card),
        }
    }

    fn is_marked(card: &Card<'_>) -> bool {
        card.regs().read(SCRATCH_REG0).into_raw() == Self::PATTERN
    }

    fn has_changed(&self, parts: &Parts, card: &Card<'_>) -> bool {
        (self.marked && !Self::is_marked(card)) || (self.posted && !parts.is_posted(card))
    }
}

/// Number of checks for idle engines, and the pause between two checks: 5 ms in all.
const IDLE_LOOKS: u32 = 100;
const IDLE_PAUSE: Delta = Delta::from_micros(50);
/// Time for which engines are held in reset, and left alone after it.
const RESET_PULSE: Delta = Delta::from_micros(100);

/// Returns true if the engines of a block have no work in progress.
///
/// The read also makes the engines' writes to memory arrive: no answer of the card overtakes them.
fn is_idle(card: &Card<'_>, block: Block) -> bool {
    let regs = card.regs();
    match block {
        Block::Graphics => !regs.read(GRBM_STATUS).gui_active(),
        Block::Sdma(0) => !regs.read(SRBM_STATUS2).sdma_busy(),
        Block::Sdma(_) => !regs.read(SRBM_STATUS2).sdma1_busy(),
    }
}

/// Keeps the memory controller from taking requests of the graphics block, and drops those that it
/// has taken; or ends that.
fn stall_graphics(card: &Card<'_>, stall: bool) {
    card.regs().update(GMCON_DEBUG, |r| {
        r.with_gfx_stall(stall).with_gfx_clear(stall)
    });
    udelay(RESET_PULSE);
}

/// Resets the command processors, the run list controller and the shaders.
fn pulse_graphics(card: &Card<'_>) {
    for reset in [true, false] {
        card.regs().update(GRBM_SOFT_RESET, |r| {
            r.with_soft_reset_cp(reset)
                .with_soft_reset_rlc(reset)
                .with_soft_reset_gfx(reset)
                .with_soft_reset_cpf(reset)
                .with_soft_reset_cpc(reset)
                .with_soft_reset_cpg(reset)
        });
        // This read returns once the reset has begun, or ended.
        card.regs().read(GRBM_SOFT_RESET);
        udelay(RESET_PULSE);
    }
}

/// Resets what these blocks have on the system's register bus: the DMA engines, and the graphics
/// block's register bus and semaphores.
fn pulse_bus(card: &Card<'_>, blocks: &[Block]) {
    let has = |block| blocks.contains(&block);
    for reset in [true, false] {
        card.regs().update(SRBM_SOFT_RESET, |r| {
            r.with_soft_reset_grbm(reset && has(Block::Graphics))
                .with_soft_reset_sem(reset && has(Block::Graphics))
                .with_soft_reset_sdma(reset && has(Block::Sdma(0)))
                .with_soft_reset_sdma1(reset && has(Block::Sdma(1)))
        });
        // As above.
        card.regs().read(SRBM_SOFT_RESET);
        udelay(RESET_PULSE);
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_gfx7_system)]
mod tests {
    use super::*;
    use crate::hw::{
        fake::{
            write,
            Effect, //
        },
        ChipId, //
    };
    use kernel::io::register::Register;

    /// A card that takes no notice of the reset keeps what its registers hold.
    #[test]
    fn a_reset_without_effect_is_not_believed() -> Result {
        const INITIALIZED: u32 = 1 << 9;
        let system = ChipId::Bonaire.chip().system;
        for posted in [0, INITIALIZED] {
            let card = Card::fake(&[(BIOS_SCRATCH_7::OFFSET, posted)])?;
            assert_eq!(system.reset_card(&card), Err(EIO));
            assert!(card.saw(&[
                write(SCRATCH_REG0::OFFSET, Witness::PATTERN),
                Effect::BusMastering(false),
                Effect::Config(RESET_AT, RESET_KEY),
            ]));
        }
        // One that does not come back.
        let gone = Card::fake(&[(CONFIG_MEMSIZE::OFFSET, !0)])?;
        assert_eq!(system.reset_card(&gone), Err(ENODEV));
        Ok(())
    }
}
