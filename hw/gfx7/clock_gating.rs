// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clock gating: idle blocks stop their clocks, and their memories enter light sleep (the C
//! driver's MGCG, CGCG and LS).
//!
//! Clock gating saves power and changes nothing else. The golden registers prepare it. This file
//! turns on the kinds that work on the chip once all engines have been tested, and turns them off
//! before the engines are stopped. Coarse-grain gating of the graphics engine is not among them. A
//! block's clock may only be switched while the run list controller is halted.

use kernel::{
    io::{
        register::{
            RegisterBase,
            WithBase, //
        },
        Io, //
    },
    prelude::*, //
};

use super::{
    regs::*,
    rlc,
    shaders,
    Parts, //
};
use crate::hw::{
    card::Card,
    ClockGating, //
};

pub(super) fn set(card: &Card<'_>, parts: &Parts, gating: ClockGating) {
    match gating {
        ClockGating::On => {
            set_memory(card, true);
            set_host_data_path(card, true);
            set_graphics(card, parts, true);
            set_dma(card, true);
        }
        ClockGating::Off => {
            set_dma(card, false);
            set_graphics(card, parts, false);
            set_host_data_path(card, false);
            set_memory(card, false);
        }
    }
}

/// Sets a field of all registers of the memory controller that gate clocks, which are alike.
macro_rules! set_in_all {
    ($card:ident, $set:ident, $on:ident) => {
        set_in_all!(@ $card, $set, $on:
            MC_HUB_MISC_HUB_CG MC_HUB_MISC_SIP_CG MC_HUB_MISC_VM_CG MC_XPB_CLK_GAT ATC_MISC_CG
            MC_CITF_MISC_WR_CG MC_CITF_MISC_RD_CG MC_CITF_MISC_VM_CG VM_L2_CG)
    };
    (@ $card:ident, $set:ident, $on:ident: $($register:ident)*) => {
        $($card.regs().update($register, |r| r.$set($on));)*
    };
}

fn set_memory(card: &Card<'_>, on: bool) {
    set_in_all!(card, with_enable, on);
    set_in_all!(card, with_mem_ls_enable, on);
}

fn set_host_data_path(card: &Card<'_>, on: bool) {
    card.regs()
        .update(HDP_HOST_PATH_CNTL, |r| r.with_clock_gating_dis(!on));
    card.regs()
        .update(HDP_MEM_POWER_LS, |r| r.with_ls_enable(on));
}

fn set_graphics(card: &Card<'_>, parts: &Parts, on: bool) {
    rlc::enable_idle_interrupts(card, false);
    if on {
        set_medium_grain(card, parts, true);
        disable_coarse_grain(card);
    } else {
        disable_coarse_grain(card);
        set_medium_grain(card, parts, false);
    }
    rlc::enable_idle_interrupts(card, true);
}

/// Enables or disables gating of the clocks of parts of a block (medium grain).
fn set_medium_grain(card: &Card<'_>, parts: &Parts, on: bool) {
    let regs = card.regs();
    if on {
        regs.update(CP_MEM_SLP_CNTL, |r| r.with_cp_mem_ls_en(true));
    }
    regs.update(RLC_CGTT_MGCG_OVERRIDE, |r| {
        // The first bit stays set, gated or not.
        const ALWAYS: u32 = 1 << 0;
        const NOT_GATED: u32 = 1 << 1;
        let others = r.into_raw() & !NOT_GATED | ALWAYS;
        (if on { others } else { others | NOT_GATED }).into()
    });
    if !on {
        regs.update(CP_MEM_SLP_CNTL, |r| r.with_cp_mem_ls_en(false));
        set_shader_clocks(card, parts, false);
    }
    rlc::while_halted(card, parts, || {
        shaders::select_all(card);
        regs.write_reg(RLC_SERDES_WR_CU_MASTER_MASK::from(!0));
        regs.write_reg(RLC_SERDES_WR_NONCU_MASTER_MASK::from(!0));
        regs.write_reg(
            RLC_SERDES_WR_CTRL::zeroed()
                .with_const_bpm_addr::<0xff>()
                .with_mgcg_override_0(on)
                .with_mgcg_override_1(!on),
        );
    });
    if on {
        set_shader_clocks(card, parts, true);
    }
}

/// Starts or stops the state machine that gates the shaders' clocks.
fn set_shader_clocks(card: &Card<'_>, parts: &Parts, on: bool) {
    // The field is named with a Rust keyword, so it is not declared.
    const OVERRIDE: u32 = 1 << 21;

    card.regs().update(CGTS_SM_CTRL_REG, |r| {
        if on {
            CGTS_SM_CTRL_REG::from(r.into_raw() & !OVERRIDE)
                .with_const_sm_mode::<2>()
                .with_sm_mode_enable(true)
                .with_ls_override(r.ls_override() && !parts.shader_light_sleep)
                .with_const_on_monitor_add::<0x96>()
                .with_on_monitor_add_en(true)
        } else {
            CGTS_SM_CTRL_REG::from(r.into_raw() | OVERRIDE).with_ls_override(true)
        }
    });
}

/// Turns off the gating of whole blocks' clocks (coarse grain), which the driver never uses.
fn disable_coarse_grain(card: &Card<'_>) {
    rlc::enable_idle_interrupts(card, false);
    // Time for work that is in progress.
    for _ in 0..4 {
        card.regs().read(CB_CGTT_SCLK_CTRL);
    }
    card.regs().update(RLC_CGCG_CGLS_CTRL, |r| {
        r.with_cgcg_en(false).with_cgls_en(false)
    });
    rlc::enable_idle_interrupts(card, true);
}

fn set_dma(card: &Card<'_>, on: bool) {
    set_dma_engine::<Sdma0>(card, on);
    set_dma_engine::<Sdma1>(card, on);
}

fn set_dma_engine<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>, on: bool) {
    let regs = card.regs();
    if on {
        regs.write(
            SDMA0_CLK_CTRL::of::<Engine>(),
            SDMA0_CLK_CTRL::zeroed().with_const_off_hysteresis::<0x10>(),
        );
    } else {
        regs.update(SDMA0_CLK_CTRL::of::<Engine>(), |r| {
            // The eight overrides.
            (r.into_raw() | 0xff00_0000).into()
        });
    }
    regs.update(SDMA0_POWER_CNTL::of::<Engine>(), |r| {
        r.with_mem_power_override(on)
    });
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_clock_gating)]
mod tests {
    use super::{
        super::{
            bonaire,
            hawaii, //
        },
        *, //
    };
    use crate::hw::fake::{
        write,
        Effect, //
    };

    /// Registers of the memory controller that gate clocks.
    const MEMORY: [usize; 9] = [
        0x20b8, 0x20c0, 0x20bc, 0x2478, 0x3350, 0x264c, 0x2648, 0x2650, 0x15c0,
    ];

    /// Returns the accesses that halt the run list controller, tell all engines `control`, and let
    /// it run again.
    fn told(control: u32) -> [Effect; 9] {
        [
            write(0xc300, 0),             // RLC_CNTL
            write(0x3_0800, 0x6000_0000), // GRBM_GFX_INDEX
            write(0x3_0800, 0x6001_0000),
            write(0x3_0800, 0xe000_0000),
            write(0x3_0800, 0xe000_0000),
            write(0xc474, !0),      // RLC_SERDES_WR_CU_MASTER_MASK
            write(0xc478, !0),      // RLC_SERDES_WR_NONCU_MASTER_MASK
            write(0xc47c, control), // RLC_SERDES_WR_CTRL
            write(0xc300, 1),
        ]
    }

    #[test]
    fn on() -> Result {
        let card = Card::fake(&[
            (0x2c00, 0x80_0001),   // HDP_HOST_PATH_CNTL
            (0xc1a8, 0x0418_0000), // CP_INT_CNTL_RING0
            (0xc420, !1),          // RLC_CGTT_MGCG_OVERRIDE
            (0xc300, 1),           // RLC_CNTL
            (0x3_c000, !0),        // CGTS_SM_CTRL_REG
            (0xc424, 0x3f),        // RLC_CGCG_CGLS_CTRL
        ])?;
        set(&card, &bonaire::PARTS, ClockGating::On);

        let mut expected = KVec::new();
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        for value in [0x4_0000, 0xc_0000] {
            let all = MEMORY.map(|register| write(register, value));
            expect(&all)?;
        }
        expect(&[
            write(0x2c00, 1),           // HDP_HOST_PATH_CNTL
            write(0x2f50, 1),           // HDP_MEM_POWER_LS
            write(0xc1a8, 0x0400_0000), // CP_INT_CNTL_RING0
            write(0xc1e4, 1),           // CP_MEM_SLP_CNTL
            write(0xc420, !2),          // RLC_CGTT_MGCG_OVERRIDE
        ])?;
        expect(&told(0x40_00ff))?;
        expect(&[
            write(0x3_c000, 0x9695_ffff), // CGTS_SM_CTRL_REG
            write(0xc1a8, 0x0400_0000),   // CP_INT_CNTL_RING0
            write(0xc424, 0x3c),          // RLC_CGCG_CGLS_CTRL
            write(0xc1a8, 0x0418_0000),
            write(0xc1a8, 0x0418_0000),
            write(0xd00c, 0x100), // SDMA0_CLK_CTRL
            write(0xd008, 0x100), // SDMA0_POWER_CNTL
            write(0xd80c, 0x100),
            write(0xd808, 0x100),
        ])?;
        assert!(card.saw(&expected));
        Ok(())
    }

    #[test]
    fn off() -> Result {
        let card = Card::fake(&[
            (0xd00c, 0x100),         // SDMA0_CLK_CTRL
            (0xd008, 0x103),         // SDMA0_POWER_CNTL
            (0xd80c, 0x100),         // SDMA1_CLK_CTRL
            (0xd808, 0x103),         // SDMA1_POWER_CNTL
            (0xc1a8, 0x0418_0000),   // CP_INT_CNTL_RING0
            (0xc420, !2),            // RLC_CGTT_MGCG_OVERRIDE
            (0xc1e4, 1),             // CP_MEM_SLP_CNTL
            (0x3_c000, 0x9695_ffff), // CGTS_SM_CTRL_REG
            (0xc300, 1),             // RLC_CNTL
            (0x2c00, 1),             // HDP_HOST_PATH_CNTL
            (0x2f50, 3),             // HDP_MEM_POWER_LS
            (0x20b8, 0xc_0001),      // MC_HUB_MISC_HUB_CG
            (0x15c0, 0xc_0001),      // VM_L2_CG
        ])?;
        set(&card, &bonaire::PARTS, ClockGating::Off);

        let mut expected = KVec::new();
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        expect(&[
            write(0xd00c, 0xff00_0100), // SDMA0_CLK_CTRL
            write(0xd008, 0x3),         // SDMA0_POWER_CNTL
            write(0xd80c, 0xff00_0100),
            write(0xd808, 0x3),
            write(0xc1a8, 0x0400_0000), // CP_INT_CNTL_RING0
            write(0xc1a8, 0x0400_0000),
            write(0xc424, 0), // RLC_CGCG_CGLS_CTRL
            write(0xc1a8, 0x0418_0000),
            write(0xc420, !0),            // RLC_CGTT_MGCG_OVERRIDE
            write(0xc1e4, 0),             // CP_MEM_SLP_CNTL
            write(0x3_c000, 0x96f5_ffff), // CGTS_SM_CTRL_REG
        ])?;
        expect(&told(0x80_00ff))?;
        expect(&[
            write(0xc1a8, 0x0418_0000), // CP_INT_CNTL_RING0
            write(0x2c00, 0x80_0001),   // HDP_HOST_PATH_CNTL
            write(0x2f50, 2),           // HDP_MEM_POWER_LS
        ])?;
        for (first, last) in [(0x8_0001, 0x8_0001), (1, 1)] {
            let all = MEMORY.map(|register| match register {
                0x20b8 => write(register, first),
                0x15c0 => write(register, last),
                _ => write(register, 0),
            });
            expect(&all)?;
        }
        assert!(card.saw(&expected));
        Ok(())
    }

    #[test]
    fn shaders_of_hawaii_do_not_sleep_lightly() -> Result {
        let card = Card::fake(&[(0x3_c000, !0)])?;
        set_shader_clocks(&card, &hawaii::PARTS, true);
        assert!(card.saw(&[write(0x3_c000, 0x96d5_ffff)])); // CGTS_SM_CTRL_REG
        Ok(())
    }
}
