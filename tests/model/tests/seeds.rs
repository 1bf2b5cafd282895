// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every seed gives a card that a driver can bring up.

mod bench;

use amdgpu_model::config::Config;
use bench::*;

#[test]
fn every_seed_powers_up_with_bits_that_can_be_written_back() {
    for seed in 0..64 {
        let mut b = Bench::with(Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() });
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
