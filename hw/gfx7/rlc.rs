// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The run list controller (RLC; the C driver's `gfx_v7_0_rlc_*`): a small processor that saves and
//! restores state, balances load and gates clocks for the graphics engine. The command processors
//! do not run without it.

use kernel::{
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use super::{
    regs::*,
    shaders,
    Parts, //
};
use crate::hw::{
    card::Card,
    firmware::Microcode, //
};

/// Resets the controller, uploads its microcode and starts it.
pub(super) fn start(card: &Card<'_>, parts: &Parts, microcode: &Microcode) {
    let regs = card.regs();
    stop(card, parts);
    regs.update(RLC_CGCG_CGLS_CTRL, |r| {
        r.with_cgcg_en(false).with_cgls_en(false)
    });
    reset(card);

    // No load balancing.
    regs.write_reg(RLC_LB_CNTR_INIT::zeroed());
    regs.write_reg(RLC_LB_CNTR_MAX::from(0x8000));
    shaders::select_all(card);
    regs.write_reg(RLC_LB_INIT_CU_MASK::from(!0));
    regs.write_reg(RLC_LB_PARAMS::from(0x0060_0408));
    regs.write_reg(RLC_LB_CNTL::from(0x8000_0004));

    // Performance counters must not be streamed into the kernel's memory.
    regs.update(RLC_SPM_VMID, |r| r.with_const_rlc_spm_vmid::<0xf>());

    regs.write_reg(RLC_MC_CNTL::zeroed());
    regs.write_reg(RLC_UCODE_CNTL::zeroed());
    regs.write_reg(RLC_GPM_UCODE_ADDR::zeroed());
    for dword in microcode.code() {
        regs.write_reg(RLC_GPM_UCODE_DATA::from(dword));
    }
    regs.write_reg(RLC_GPM_UCODE_ADDR::from(microcode.version()));

    regs.update(RLC_LB_CNTL, |r| r.with_load_balance_enable(false));
    if parts.has_copy_status {
        regs.write_reg(RLC_DRIVER_CPDMA_STATUS::zeroed());
    }
    regs.write_reg(RLC_CNTL::zeroed().with_rlc_enable_f32(true));
    enable_idle_interrupts(card, true);
    fsleep(Delta::from_micros(50));
}

/// Stops the controller without waiting for it.
pub(super) fn halt(card: &Card<'_>) {
    card.regs().write_reg(RLC_CNTL::zeroed());
    enable_idle_interrupts(card, false);
}

/// Stops the controller and waits for its serial links.
fn stop(card: &Card<'_>, parts: &Parts) {
    halt(card);
    wait_serdes(card, parts);
}

/// Runs `f` while the controller is halted. A controller that was running runs again afterward.
pub(super) fn while_halted(card: &Card<'_>, parts: &Parts, f: impl FnOnce()) {
    let control = card.regs().read(RLC_CNTL);
    if control.rlc_enable_f32() {
        card.regs().write_reg(control.with_rlc_enable_f32(false));
        wait(|| !card.regs().read(RLC_GPM_STAT).rlc_busy());
        wait_serdes(card, parts);
    }
    f();
    card.regs().write_reg(control);
}

fn reset(card: &Card<'_>) {
    for reset in [true, false] {
        card.regs()
            .update(GRBM_SOFT_RESET, |r| r.with_soft_reset_rlc(reset));
        fsleep(Delta::from_micros(50));
    }
}

/// Enables or disables the interrupts that tell the controller that the graphics engine became busy
/// or idle.
pub(super) fn enable_idle_interrupts(card: &Card<'_>, enable: bool) {
    card.regs().update(CP_INT_CNTL_RING0, |r| {
        r.with_cntx_busy_int_enable(enable)
            .with_cntx_empty_int_enable(enable)
    });
}

/// Waits until the controller's serial links are idle.
fn wait_serdes(card: &Card<'_>, parts: &Parts) {
    shaders::for_each_engine(card, parts.shader_engines, |_| {
        wait(|| card.regs().read(RLC_SERDES_CU_MASTER_BUSY).into_raw() == 0);
    });
    wait(|| {
        const BUSY: u32 = RLC_SERDES_NONCU_MASTER_BUSY::SE_MASTER_BUSY_MASK
            | RLC_SERDES_NONCU_MASTER_BUSY::GC_MASTER_BUSY_MASK
            | RLC_SERDES_NONCU_MASTER_BUSY::TC0_MASTER_BUSY_MASK
            | RLC_SERDES_NONCU_MASTER_BUSY::TC1_MASTER_BUSY_MASK;
        card.regs().read(RLC_SERDES_NONCU_MASTER_BUSY).into_raw() & BUSY == 0
    });
}

/// Waits until `idle` returns true. Goes on after a timeout.
fn wait(idle: impl Fn() -> bool) {
    let _ = read_poll_timeout(
        || Ok(idle()),
        |idle| *idle,
        Delta::from_micros(10),
        Delta::from_millis(20),
    );
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_rlc)]
mod tests {
    use super::{
        super::{
            bonaire,
            hawaii,
            inputs::Inputs, //
        },
        *, //
    };
    use crate::hw::fake::write;

    #[test]
    fn start_of_bonaire() -> Result {
        // CP_INT_CNTL_RING0, RLC_CGCG_CGLS_CTRL, GRBM_SOFT_RESET, RLC_SPM_VMID
        let inputs = Inputs::new(&[
            (0xc1a8, 0x0418_0000),
            (0xc424, 0x0020_003f),
            (0x8020, 0x1),
            (0xc4c4, 0x30),
        ])?;
        start(&inputs.card, &bonaire::PARTS, &inputs.files.rlc);
        assert!(inputs.card.saw(&[
            write(0xc300, 0),             // RLC_CNTL
            write(0xc1a8, 0x0400_0000),   // CP_INT_CNTL_RING0
            write(0x3_0800, 0x6000_0000), // GRBM_GFX_INDEX
            write(0x3_0800, 0x6001_0000),
            write(0x3_0800, 0xe000_0000),
            write(0xc424, 0x0020_003c), // RLC_CGCG_CGLS_CTRL
            write(0x8020, 0x5),         // GRBM_SOFT_RESET
            write(0x8020, 0x1),
            write(0xc36c, 0),             // RLC_LB_CNTR_INIT
            write(0xc348, 0x8000),        // RLC_LB_CNTR_MAX
            write(0x3_0800, 0xe000_0000), // GRBM_GFX_INDEX
            write(0xc43c, !0),            // RLC_LB_INIT_CU_MASK
            write(0xc444, 0x0060_0408),   // RLC_LB_PARAMS
            write(0xc364, 0x8000_0004),   // RLC_LB_CNTL
            write(0xc4c4, 0x3f),          // RLC_SPM_VMID
            write(0xc30c, 0),             // RLC_MC_CNTL
            write(0xc39c, 0),             // RLC_UCODE_CNTL
            write(0xc388, 0),             // RLC_GPM_UCODE_ADDR
            write(0xc38c, 0x21),          // RLC_GPM_UCODE_DATA
            write(0xc38c, 0x22),
            write(0xc388, 0x20),        // RLC_GPM_UCODE_ADDR: the version
            write(0xc364, 0x8000_0004), // RLC_LB_CNTL
            write(0xc378, 0),           // RLC_DRIVER_CPDMA_STATUS
            write(0xc300, 1),           // RLC_CNTL
            write(0xc1a8, 0x0418_0000), // CP_INT_CNTL_RING0
        ]));
        Ok(())
    }

    #[test]
    fn hawaii_has_four_engines_and_no_status_of_copies() -> Result {
        let inputs = Inputs::new(&[])?;
        start(&inputs.card, &hawaii::PARTS, &inputs.files.rlc);
        let effects = inputs.card.effects()?;
        let engines = [0x6000_0000, 0x6001_0000, 0x6002_0000, 0x6003_0000];
        let selected = engines.map(|engine| write(0x3_0800, engine)); // GRBM_GFX_INDEX
        assert!(effects[2..].starts_with(&selected));
        assert!(!effects.contains(&write(0xc378, 0))); // RLC_DRIVER_CPDMA_STATUS
        Ok(())
    }

    #[test]
    fn a_controller_that_ran_runs_again() -> Result {
        let during = write(0x3_0100, 1); // SCRATCH_REG0
        let halted = |running| -> Result<Card<'static>> {
            let card = Card::fake(&[(0xc300, running)])?;
            while_halted(&card, &bonaire::PARTS, || {
                card.regs().write_reg(SCRATCH_REG0::from(1));
            });
            Ok(card)
        };
        assert!(halted(1)?.saw(&[
            write(0xc300, 0),             // RLC_CNTL
            write(0x3_0800, 0x6000_0000), // GRBM_GFX_INDEX
            write(0x3_0800, 0x6001_0000),
            write(0x3_0800, 0xe000_0000),
            during,
            write(0xc300, 1),
        ]));
        assert!(halted(0)?.saw(&[during, write(0xc300, 0)]));
        Ok(())
    }
}
