// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Values of the registers after power-on, and after the firmware posted the card: straps and fuses
//! as Bonaire and Hawaii have them, memory configuration, and noise where hardware defines nothing.

use rand::{
    RngCore,
    SeedableRng, //
};
use rand_chacha::ChaCha8Rng;

use super::{
    COUNT,
    Store,
    defined_bits,
    index::*,
    is_known, //
};
use crate::{
    config::Config,
    strict::Rule, //
};

/// Address at which the firmware puts VRAM in the 40-bit address space of the memory controller.
pub const FB_BASE: u64 = 0xf4_0000_0000;
/// BIOS_SCRATCH_7: ASIC_Init has run.
pub const INIT_COMPLETE: u32 = 0x200;
/// Clocks in 10 kHz: of the engine, of memory, and the crystal's.
pub const ENGINE_CLOCK: u32 = 70_000;
#[expect(missing_docs, reason = "the names of the register headers")]
pub const MEMORY_CLOCK: u32 = 150_000;
#[expect(missing_docs, reason = "the names of the register headers")]
pub const REFERENCE_CLOCK: u32 = 2_700;

/// Registers whose contents hardware leaves undefined at power-up: first index, count. Bits that no
/// header defines are not storage: they read as zeros.
const UNDEFINED: &[(u32, u32)] = &[
    (SCRATCH_REG0, 8),
    (VM_CONTEXT0_PAGE_TABLE_BASE_ADDR, 8),
    (VM_CONTEXT8_PAGE_TABLE_BASE_ADDR, 8),
    (CP_RB0_BASE, 1),
    (CP_RB0_RPTR_ADDR, 1),
    (IH_RB_BASE, 1),
    (SDMA0_GFX_RB_BASE, 1),
    (SDMA0_GFX_RB_BASE + SDMA_STRIDE, 1),
    (IH_VMID_0_LUT, 16),
    // Context registers: a CLEAR_STATE defines them.
    (0xa000, 0x400),
];

/// Puts every register into its state after power-on, and then that after posting if it is
/// `posted`.
pub fn power_up(s: &mut Store, config: &Config, posted: bool) {
    let mut noise = ChaCha8Rng::seed_from_u64(config.seed ^ 0x5eed);
    for (first, count) in UNDEFINED {
        for reg in *first..*first + *count {
            if is_known(reg) {
                s.set(reg, noise.next_u32() & defined_bits(reg));
            }
        }
    }
    graphics(s);
    queues(s, config);
    if let Some(picture) = config.picture {
        picture.show(s);
    }
    for n in 0..2 {
        // Halted, idle.
        s.set(SDMA0_F32_CNTL + n * SDMA_STRIDE, 1);
        s.set(SDMA0_GFX_RB_CNTL + n * SDMA_STRIDE, 0x0004_0000);
    }
    s.set_indirect("SMC", CG_SPLL_FUNC_CNTL, SPLL_OFF);
    if posted {
        for (reg, value) in posting(config) {
            s.set(reg, value);
        }
        for (index, value) in clocks() {
            s.set_indirect("SMC", index, value);
        }
        s.set(BIOS_SCRATCH_7, INIT_COMPLETE);
    }
    power(s, config);
    // PCIe link: 8 GT/s is the current rate.
    s.set_indirect("PCIE", 0x1001_00a4, 2 << 13);
    if config.odd {
        odd(s);
    }
    if config.inject.unplugged {
        (0..COUNT as u32).for_each(|r| s.set(r, !0));
    }
}

/// Make and wiring of the memory.
pub struct MemoryKind {
    #[expect(missing_docs, reason = "the names of the register headers")]
    pub ramcfg: u32,
    #[expect(missing_docs, reason = "the names of the register headers")]
    pub chmap: u32,
    #[expect(missing_docs, reason = "the names of the register headers")]
    pub misc0: u32,
}

/// The memory of a card.
pub fn memory_of(config: &Config) -> MemoryKind {
    let chmap = config.chip.channel_code() << 12;
    match config.odd {
        // 8 banks, 2 KiB rows, 64-bit channels; GDDR5.
        false => MemoryKind { ramcfg: 0x0000_0151, chmap, misc0: 5 << 28 },
        // 16 banks, 4 KiB rows, 32-bit channels; DDR3.
        true => MemoryKind { ramcfg: 2 | 3 << 3 | 2 << 6, chmap, misc0: 3 << 28 },
    }
}

/// Registers that posting sets, and their values after it. Before it they hold zeros.
pub fn posting(config: &Config) -> [(u32, u32); 9] {
    let kind = memory_of(config);
    let top = FB_BASE + config.vram - 1;
    [
        (MC_ARB_RAMCFG, kind.ramcfg),
        (MC_SHARED_CHMAP, kind.chmap),
        (MC_SEQ_MISC0, kind.misc0),
        (CONFIG_MEMSIZE, (config.vram >> 20) as u32),
        (MC_VM_FB_LOCATION, ((top >> 24) as u32) << 16 | (FB_BASE >> 24) as u32),
        // An empty system aperture.
        (MC_VM_SYSTEM_APERTURE_LOW_ADDR, (FB_BASE >> 12) as u32),
        (MC_VM_SYSTEM_APERTURE_HIGH_ADDR, (top >> 12) as u32),
        (BIF_FB_EN, 3),
        (MPLL_CNTL_MODE, MCLK_SEL),
    ]
}

/// SMC registers that posting sets, and their values after it: the clock generator is on, and
/// divides the engine's clock down to the crystal's.
pub fn clocks() -> [(u32, u32); 2] {
    let divider = (u64::from(ENGINE_CLOCK) << 14) / u64::from(REFERENCE_CLOCK);
    [(CG_SPLL_FUNC_CNTL, SPLL_ON), (CG_SPLL_FUNC_CNTL_3, divider as u32)]
}

fn graphics(s: &mut Store) {
    // Halted command processors.
    s.set(CP_ME_CNTL, 1 << 24 | 1 << 26 | 1 << 28);
    s.set(CP_MEC_CNTL, 1 << 28 | 1 << 30);
    // Power and clocks of the graphics block on, RLC not busy.
    s.set(RLC_GPM_STAT, 6);
    s.set(GRBM_GFX_INDEX, 0xe000_0000);
    s.set(GDS_VMID0_SIZE, 0x1_0000);
    s.set(GDS_COMPUTE_MAX_WAVE_ID, 0x15f);
}

/// The SMC: no firmware runs on it, its clock is off. Heat, fan, clocks as the firmware leaves
/// them.
fn power(s: &mut Store, config: &Config) {
    const SMC_SYSCON_CLOCK_CNTL_0: u32 = 0x8000_0004;
    const SMC_PC_C: u32 = 0x8000_0370;
    const GENERAL_PWRMGT: u32 = 0xc020_0000;
    const CG_MULT_THERMAL_STATUS: u32 = 0xc030_0014;
    const CG_FDO_CTRL1: u32 = 0xc030_0068;
    const CG_FDO_CTRL2: u32 = 0xc030_006c;
    const CG_TACH_STATUS: u32 = 0xc030_0074;
    let runs = config.inject.smc_runs;
    s.set_indirect("SMC", SMC_SYSCON_CLOCK_CNTL_0, (!runs).into());
    s.set_indirect("SMC", SMC_PC_C, if runs { 0x2_0400 } else { 0 });
    s.set_indirect(
        "SMC",
        GENERAL_PWRMGT,
        if config.inject.no_thermal_protection { 1 << 2 } else { 0 },
    );
    let degrees = config.inject.hot.unwrap_or(if config.odd { 38 } else { 45 }) as u32 & 0x1ff;
    s.set_indirect("SMC", CG_MULT_THERMAL_STATUS, degrees << 9 | degrees);
    // Full duty is 100; by a table of the chip's own.
    s.set_indirect("SMC", CG_FDO_CTRL1, 100);
    s.set_indirect("SMC", CG_FDO_CTRL2, 1 << 11);
    s.set_indirect("SMC", CG_TACH_STATUS, 0x1_2345);
}

/// CP_HQD_PERSISTENT_STATE after power-up: later generations ask for the descriptor's packet to be
/// executed; of this one nobody says it.
fn queues(s: &mut Store, config: &Config) {
    /// PRELOAD_SIZE: the dwords of the packet.
    const SIZE: u32 = 0x33 << 8;
    let asked = config.strict.has(Rule::Preload)
        && ChaCha8Rng::seed_from_u64(config.seed ^ 0x9e10ad).next_u32() & 1 != 0;
    for (me, pipe, queue) in
        (1..=2).flat_map(|m| (0..4).flat_map(move |p| (0..8).map(move |q| (m, p, q))))
    {
        s.set_queue((me, pipe, queue), CP_HQD_PERSISTENT_STATE, SIZE | u32::from(asked));
    }
}

/// Sets what differs on another card of the same kind, for comparisons of first boots.
fn odd(s: &mut Store) {
    // The crystal's clock is divided.
    s.set_indirect("SMC", 0xc050_01a0, 1 << 1);
    // Revision 1; the link at 5 GT/s.
    s.set(CC_DRM_ID_STRAPS, 1 << 28);
    s.set_indirect("PCIE", 0x1001_00a4, 1 << 13);
    // Another compute unit of each shader engine is off, and a render backend of the second.
    for (engine, units, backends) in [(0, 1 << 3, 0), (1, 1 << 5, 1 << 1)] {
        s.set(GRBM_GFX_INDEX, 3 << 29 | engine << 16);
        s.write(CC_GC_SHADER_ARRAY_CONFIG, units << 16);
        s.write(CC_RB_BACKEND_DISABLE, backends << 16);
    }
    s.set(GRBM_GFX_INDEX, 0xe000_0000);
    // A graphics block that is clocked, its power gated.
    s.set(RLC_GPM_STAT, 2);
}
