// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Resets: what each needs, keeps, and loses.

mod bench;

use amdgpu_model::{
    config::Config,
    engine::EngineId, //
};
use bench::*;

const CP: u32 = 1 | 1 << 16;
const SDMA: [u32; 2] = [1 << 20, 1 << 6];

fn bench(strict: &[&str], kind: &[&str], faults: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    strict.iter().for_each(|s| c.strict.switch(s, true).unwrap());
    kind.iter().for_each(|s| c.strict.switch(s, false).unwrap());
    faults.iter().for_each(|f| c.inject.add(f).unwrap());
    Bench::with(c)
}

/// Returns true if the gfx ring executes what it is given.
fn gfx_works(b: &mut Bench) -> bool {
    b.w("SCRATCH_REG0", 0);
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.run();
    b.r("SCRATCH_REG0") == 1
}

#[test]
fn a_soft_reset_of_graphics_loses_the_microcode_and_the_queues() {
    let mut b = Bench::new();
    b.gfx_submit(&pm4(0xfe, &[0]));
    b.run();
    b.broke("illegal-packet");
    b.gpu.vram().write_u32(VRAM_DATA, 5);
    b.w("GRBM_SOFT_RESET", CP);
    b.w("GRBM_SOFT_RESET", 0);
    assert_eq!(b.gpu.hung(EngineId::Gfx), None);
    assert_eq!(b.gpu.engines().len(), 3, "no compute queue is left");
    // Kept: VRAM, translation, the interrupt ring.
    assert_eq!(b.gpu.vram().read_u32(VRAM_DATA), 5);
    assert_ne!(b.r("VM_CONTEXT0_CNTL") & b.r("IH_RB_CNTL") & 1, 0);
    b.w("CP_ME_CNTL", 0);
    b.broke("no-microcode");
    assert!(!gfx_works(&mut b));
    // Loaded again, it runs.
    b.revive_cp();
    assert!(gfx_works(&mut b));
    b.compute_submit(0, &pm4(0x79, &[0x40, 7]));
    b.run();
    assert_eq!(b.r("SCRATCH_REG0"), 7);
    b.clean();
}

#[test]
fn an_engine_in_reset_stays_there_until_the_bit_is_cleared() {
    let mut b = Bench::new();
    b.w("GRBM_SOFT_RESET", CP);
    b.revive_cp();
    assert!(!gfx_works(&mut b));
    b.w("GRBM_SOFT_RESET", 0);
    b.run();
    assert_eq!(b.r("SCRATCH_REG0"), 1);
    b.clean();
}

#[test]
fn a_soft_reset_of_one_sdma_engine_leaves_the_other() {
    for (n, bit) in SDMA.into_iter().enumerate() {
        let mut b = Bench::new();
        let poll = [8 | 3 << 28 | 1 << 31, lo(GART + DATA), hi(GART), 5, !0, 0xfff << 16];
        b.sdma_submit(0, &poll);
        b.sdma_submit(1, &poll);
        b.run();
        b.w("SRBM_SOFT_RESET", bit);
        b.w("SRBM_SOFT_RESET", 0);
        assert!(!b.gpu.busy(EngineId::Sdma(n as u8)) && b.gpu.busy(EngineId::Sdma(1 - n as u8)));
        let stride = n as u32 * 0x200;
        assert_eq!(b.gpu.peek(reg("SDMA0_CNTL") + stride) & 1, 0, "its interrupts are off");
        b.gpu.reg_write(reg("SDMA0_F32_CNTL") + stride, 0);
        b.broke("no-microcode");
    }
}

#[test]
fn the_reset_dword_loses_registers_posting_and_vram() {
    let mut b = bench(&["reset-vram"], &[], &[]);
    b.gpu.vram().write_u32(VRAM_DATA, 1);
    b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
    assert_eq!(b.r("CONFIG_MEMSIZE"), 0);
    assert_eq!(b.r("BIOS_SCRATCH_7") & 0x200, 0, "to be posted again");
    assert_eq!(b.r("CP_HQD_ACTIVE"), 0);
    assert_ne!(b.gpu.vram().read_u32(VRAM_DATA), 1);
    b.clean();
    let mut b = Bench::new();
    b.gpu.vram().write_u32(VRAM_DATA, 1);
    b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
    assert_eq!(b.gpu.vram().read_u32(VRAM_DATA), 1);
}

#[test]
fn the_reset_dword_may_need_firmware_on_the_smc() {
    let mut b = bench(&["config-reset"], &[], &[]);
    let smc = |b: &mut Bench, index: u32, value: u32| {
        b.w("SMC_IND_INDEX_0", index);
        b.w("SMC_IND_DATA_0", value);
    };
    let reset = |b: &mut Bench| {
        b.w("SCRATCH_REG0", 7);
        b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
        b.r("BIOS_SCRATCH_7") & 0x200 == 0
    };
    assert!(!reset(&mut b));
    assert_eq!(b.r("SCRATCH_REG0"), 7);
    // Its clock on, its program beyond the boot code.
    smc(&mut b, 0x8000_0004, 0);
    assert!(!reset(&mut b));
    smc(&mut b, 0x8000_0370, 0x2_0100);
    assert!(reset(&mut b));
    b.clean();
}

#[test]
fn a_reset_may_do_nothing_at_each_level() {
    let mut b = bench(&[], &[], &["no-soft-reset", "no-config-reset"]);
    b.gfx_submit(&pm4(0xfe, &[0]));
    b.run();
    b.broke("illegal-packet");
    b.w("GRBM_SOFT_RESET", CP);
    b.w("GRBM_SOFT_RESET", 0);
    assert!(b.gpu.hung(EngineId::Gfx).is_some());
    b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
    assert!(b.gpu.hung(EngineId::Gfx).is_some());
    assert_ne!(b.r("BIOS_SCRATCH_7") & 0x200, 0);
    b.clean();
}

#[test]
fn a_bus_reset_and_d3_may_take_the_power_away() {
    // In the capability for power management.
    const STATE: usize = 0x4c;
    let d3 =
        |b: &mut Bench| [3, 0].into_iter().for_each(|state| b.gpu.config_write(STATE, &[state, 0]));
    for (faults, posted) in [(&[][..], true), (&["power-loss"], false)] {
        // No_Soft_Reset is set: by D3 alone nothing is lost.
        for (sleep, resets) in [((|b| b.gpu.bus_reset()) as fn(&mut Bench), true), (d3, !posted)] {
            let mut b = bench(&[], &[], faults);
            b.gpu.vram().write_u32(VRAM_DATA, 1);
            sleep(&mut b);
            assert_eq!(b.r("BIOS_SCRATCH_7") & 0x200 != 0, posted);
            assert_eq!(b.gpu.vram().read_u32(VRAM_DATA) == 1, posted);
            assert_eq!(b.r("IH_RB_CNTL") & 1 == 0, resets);
            b.clean();
        }
    }
}

#[test]
fn a_card_that_the_platform_cuts_off_does_nothing() {
    let mut b = Bench::new();
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.gpu.config_write(4, &[0, 0]);
    b.run();
    assert_ne!(b.r("SCRATCH_REG0"), 1);
    b.gpu.config_write(4, &[6, 0]);
    b.run();
    assert_eq!(b.r("SCRATCH_REG0"), 1);
    b.clean();
}

#[test]
fn a_bus_reset_may_be_the_end_of_a_card_in_use() {
    let mut b = bench(&[], &[], &["lost-by-reset"]);
    b.gpu.bus_reset();
    assert_eq!(b.r("BIOS_SCRATCH_7"), !0);
    let c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    let mut new = amdgpu_model::gpu::Gpu::new(c).unwrap();
    new.config.inject.add("lost-by-reset").unwrap();
    // As when the machine is switched on.
    new.bus_reset();
    assert!(!new.config.inject.unplugged);
}

#[test]
fn a_card_may_be_taken_out_of_its_slot_at_any_moment() {
    const STATE: usize = 0x4c;
    type Act = fn(&mut Bench);
    let job: Act = |b| {
        // An indirect buffer of a user: WRITE_DATA would show that it ran.
        b.map(2, 0x10_0000, (bench::BUS + DATA) | bench::SYSTEM_RW);
        b.flush(2);
        b.put(DATA + 0x100, &pm4(0x10, &[0]));
        b.gfx_submit(&pm4(0x3f, &[0x10_0100, 0, 2 | 2 << 24]));
        b.run();
    };
    let soft: Act = |b| b.w("GRBM_SOFT_RESET", CP);
    let sdma: Act = |b| b.w("SRBM_SOFT_RESET", SDMA[0]);
    let full: Act = |b| b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
    let sleep: Act = |b| b.gpu.config_write(STATE, &[3, 0]);
    let none: Act = |_| {};
    for (fault, act) in [
        ("vanish-jobs=1", none),
        ("vanish-reset", soft),
        ("vanish-reset", sdma),
        ("vanish-full", full),
        ("vanish-sleep", sleep),
    ] {
        let mut b = bench(&[], &[], &[fault]);
        // Bring-up does the same, and is left in peace.
        act(&mut b);
        assert_ne!(b.r("CONFIG_MEMSIZE"), !0, "{fault}");
        if fault == "vanish-full" || fault == "vanish-reset" {
            b = bench(&[], &[], &[fault]);
        }
        b.gpu.config_write(STATE, &[0, 0]);
        job(&mut b);
        act(&mut b);
        assert_eq!(b.r("CONFIG_MEMSIZE"), !0, "{fault}");
        let mut id = [0; 4];
        b.gpu.config_read(0, &mut id);
        assert_eq!(id, [0xff; 4]);
        b.gfx_submit(&pm4(0x79, &[0x40, 1]));
        b.run();
        b.clean();
    }
}
