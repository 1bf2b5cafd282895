// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every seed gives a card that a driver can bring up.

mod bench;

use amdgpu_model::config::Config;
use bench::*;

#[test]
fn every_seed_powers_up_with_bits_that_can_be_written_back() {
    for seed in 0..64 {
        let mut b =
            Bench::with(Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() });
        b.clean();
        for reg in 0..0x1_0000 {
            if amdgpu_model::regs::is_known(reg) {
                let value = b.gpu.peek(reg);
                b.gpu.reg_write(reg, value);
            }
        }
        b.gpu.log.settle(true);
        let bad: Vec<_> = b.gpu.log.take_violations();
        assert!(bad.iter().all(|v| v.rule != "reserved-bits"), "seed {seed}: {}", bad[0].what);
    }
}

#[test]
fn an_odd_card_is_of_the_same_kind_and_differs() {
    let card =
        |odd| Bench::with(Config { vram: 64 << 20, visible: 64 << 20, odd, ..Config::default() });
    let (mut plain, mut odd) = (card(false), card(true));
    let differ = |name: &str| plain.gpu.peek(reg(name)) != odd.gpu.peek(reg(name));
    for name in ["MC_SEQ_MISC0", "MC_ARB_RAMCFG", "CC_DRM_ID_STRAPS", "RLC_GPM_STAT"] {
        assert!(differ(name), "{name}");
    }
    for name in [
        "CONFIG_MEMSIZE",
        "MC_VM_FB_LOCATION",
        "MC_SHARED_CHMAP",
        "BIOS_SCRATCH_7",
        "GRBM_GFX_INDEX",
    ] {
        assert!(!differ(name), "{name}");
    }
    // By shader engine.
    for (engine, units) in [(0, 8), (1, 32)] {
        odd.w("GRBM_GFX_INDEX", 3 << 29 | engine << 16);
        assert_eq!(odd.r("CC_GC_SHADER_ARRAY_CONFIG") >> 16, units);
    }
    odd.clean();
    plain.clean();
}
