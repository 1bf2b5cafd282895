// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers that tell a person what state a card is in: for the report of a first boot.
//!
//! The C driver reports nothing of the kind.

use kernel::{
    io::{
        register::{
            Register,
            RegisterBase,
            WithBase, //
        },
        Io, //
    },
    prelude::*, //
};

use super::{
    mec,
    regs::*,
    smc, //
};
use crate::hw::{
    card::Card,
    command::RingId,
    Say, //
};

/// Names and places of registers.
type Table = &'static [(&'static str, usize)];

macro_rules! table {
    ($($register:ident)*) => { &[$((stringify!($register), $register::OFFSET)),*] };
}

/// State that the firmware has left: identity, memory, display, and whether anything runs.
const FOUND: Table = table![
    BIOS_SCRATCH_7 CONFIG_MEMSIZE CC_DRM_ID_STRAPS BUS_CNTL BIF_FB_EN
    MC_VM_FB_LOCATION MC_SHARED_CHMAP MC_SHARED_BLACKOUT_CNTL MC_ARB_RAMCFG MC_SEQ_MISC0
    MC_SEQ_SUP_CNTL MC_SEQ_TRAIN_WAKEUP_CNTL
    D1VGA_CONTROL GRBM_STATUS SRBM_STATUS SRBM_STATUS2 CP_ME_CNTL CP_MEC_CNTL RLC_CNTL
    IH_RB_CNTL VM_CONTEXT0_CNTL VM_CONTEXT1_CNTL
];

/// Power, clocks, heat and fan.
const POWER: Table = table![
    SMC_SYSCON_CLOCK_CNTL_0 SMC_PC_C GENERAL_PWRMGT
    CG_SPLL_FUNC_CNTL CG_SPLL_FUNC_CNTL_3 CG_CLKPIN_CNTL
    CG_MULT_THERMAL_STATUS CG_FDO_CTRL0 CG_FDO_CTRL1 CG_FDO_CTRL2 CG_TACH_STATUS
];

/// Registers of a compute queue.
const QUEUE: Table = table![CP_HQD_ACTIVE CP_HQD_PERSISTENT_STATE CP_HQD_PQ_BASE];

/// Registers that may tell why a ring does not work.
const STUCK: Table = table![
    GRBM_STATUS GRBM_STATUS2 GRBM_STATUS_SE0 GRBM_STATUS_SE1 SRBM_STATUS SRBM_STATUS2
    CP_STAT CP_BUSY_STAT CP_STALLED_STAT1 CP_STALLED_STAT2 CP_STALLED_STAT3
    CP_CPC_STATUS CP_CPC_BUSY_STAT CP_CPC_STALLED_STAT1
    CP_CPF_STATUS CP_CPF_BUSY_STAT CP_CPF_STALLED_STAT1
    CP_ME_CNTL CP_MEC_CNTL CP_RB0_RPTR CP_RB0_WPTR
    CP_IB1_BASE_LO CP_IB1_BASE_HI CP_IB1_BUFSZ CP_IB1_OFFSET
    CP_IB2_BASE_LO CP_IB2_BASE_HI CP_IB2_BUFSZ
    IH_RB_RPTR IH_RB_WPTR
    VM_CONTEXT0_PROTECTION_FAULT_STATUS VM_CONTEXT0_PROTECTION_FAULT_ADDR
    VM_CONTEXT1_PROTECTION_FAULT_STATUS VM_CONTEXT1_PROTECTION_FAULT_ADDR
];
const STUCK_QUEUE: Table = table![
    CP_HQD_ACTIVE CP_HQD_PERSISTENT_STATE CP_HQD_PQ_RPTR CP_HQD_PQ_WPTR CP_HQD_PQ_DOORBELL_CONTROL
    CP_HQD_IB_BASE_ADDR CP_HQD_IB_BASE_ADDR_HI CP_HQD_IB_RPTR CP_HQD_IB_CONTROL
];

/// Says what state the card is in.
pub(super) fn found(card: &Card<'_>, say: Say<'_>) {
    tell(card, FOUND, say);
    for queue in 0..mec::QUEUES {
        tell_queue(card, queue, QUEUE, say);
    }
}

/// Says what is known of power, clocks and heat.
pub(super) fn power(card: &Card<'_>, say: Say<'_>) {
    for (name, address) in POWER {
        // CAST: Addresses have 32 bits.
        let value = smc::read_at(card, *address as u32);
        say(fmt!("{name}"), fmt!("{value:#010x}"));
    }
}

/// Says what may tell why a ring does not work.
pub(super) fn stuck(card: &Card<'_>, ring: RingId, say: Say<'_>) {
    tell(card, STUCK, say);
    match ring {
        RingId::Compute(queue) => tell_queue(card, queue, STUCK_QUEUE, say),
        RingId::Sdma(0) => tell_sdma::<Sdma0>(card, say),
        RingId::Sdma(_) => tell_sdma::<Sdma1>(card, say),
        RingId::Gfx => (),
    }
}

fn tell(card: &Card<'_>, table: Table, say: Say<'_>) {
    for (name, offset) in table {
        let value = card.regs().try_read32(*offset).unwrap_or(!0);
        say(fmt!("{name}"), fmt!("{value:#010x}"));
    }
}

fn tell_queue(card: &Card<'_>, queue: u8, table: Table, say: Say<'_>) {
    mec::select(card, 0, queue.into());
    tell(card, table, &mut |name, value| {
        say(fmt!("queue{queue}.{name}"), value)
    });
    mec::select_none(card);
}

fn tell_sdma<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>, say: Say<'_>) {
    macro_rules! tell {
        ($($name:literal $register:ident)*) => {
            $(
                let value = card.regs().read($register::of::<Engine>()).into_raw();
                say(fmt!("{}", $name), fmt!("{value:#010x}"));
            )*
        };
    }

    tell!(
        "SDMA_STATUS_REG" SDMA0_STATUS_REG
        "SDMA_F32_CNTL" SDMA0_F32_CNTL
        "SDMA_GFX_RB_RPTR" SDMA0_GFX_RB_RPTR
        "SDMA_GFX_RB_WPTR" SDMA0_GFX_RB_WPTR
        "SDMA_GFX_IB_BASE_LO" SDMA0_GFX_IB_BASE_LO
        "SDMA_GFX_IB_BASE_HI" SDMA0_GFX_IB_BASE_HI
        "SDMA_GFX_IB_SIZE" SDMA0_GFX_IB_SIZE
        "SDMA_GFX_IB_RPTR" SDMA0_GFX_IB_RPTR
    );
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_survey)]
mod tests {
    use super::*;
    use crate::debug::report::Text;
    use core::fmt::Write;

    #[test]
    fn names_and_values() -> Result {
        // CONFIG_MEMSIZE, CP_HQD_PERSISTENT_STATE
        let card = Card::fake(&[(0x5428, 0x400), (0xc924, 0x3301)])?;
        let mut said = Text::new();
        found(&card, &mut |name, value| {
            let _ = writeln!(said, "{name}={value}");
        });
        let holds = |wanted: &str| said.as_str().split('\n').any(|line| line == wanted);
        assert!(holds("CONFIG_MEMSIZE=0x00000400"));
        assert!(holds("queue7.CP_HQD_PERSISTENT_STATE=0x00003301"));
        Ok(())
    }
}
