// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Whatever a guest does, the model reports it and goes on: it must never panic.

mod bench;

use amdgpu_model::{
    config::{
        Chip,
        Config, //
    },
    hdp::Hdp,
    regs::is_known, //
};
use bench::*;
use rand::{
    Rng,
    RngCore,
    SeedableRng, //
};
use rand_chacha::ChaCha8Rng;

const PM4: &[u32] = &[
    0x10, 0x11, 0x12, 0x1e, 0x20, 0x22, 0x28, 0x33, 0x37, 0x3c, 0x3f, 0x40, 0x42, 0x43, 0x46, 0x47,
    0x49, 0x4a, 0x50, 0x58, 0x68, 0x69, 0x76, 0x79, 0x8b,
];

/// A dword that is often an address, a small number or a register.
fn dword(r: &mut ChaCha8Rng) -> u32 {
    match r.random_range(0..6) {
        0 => r.random_range(0..16),
        1 => lo(GART + DATA) + r.random_range(0..0x1000) * 4,
        2 => hi(GART),
        3 => r.random_range(0..0x1_0000),
        4 => 1 << r.random_range(0..32),
        _ => r.next_u32(),
    }
}

fn bench(seed: u64) -> Bench {
    let chip = if seed % 2 == 0 { Chip::Bonaire } else { Chip::Hawaii };
    let hdp = if seed % 3 == 0 { Hdp::Strict } else { Hdp::Direct };
    Bench::with(Config { chip, hdp, vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() })
}

#[test]
fn random_packets() {
    for seed in 0..60 {
        let mut r = ChaCha8Rng::seed_from_u64(seed);
        let mut b = bench(seed);
        for _ in 0..40 {
            let n = r.random_range(1..9);
            let body: Vec<u32> = (0..n).map(|_| dword(&mut r)).collect();
            match r.random_range(0..3) {
                0 => b.gfx_submit(&pm4(PM4[r.random_range(0..PM4.len())], &body)),
                1 => b.compute_submit(
                    r.random_range(0..8),
                    &pm4(PM4[r.random_range(0..PM4.len())], &body),
                ),
                _ => {
                    let header =
                        r.random_range(0..16) | r.random_range(0..2) << 8 | r.next_u32() << 16;
                    b.sdma_submit(r.random_range(0..2), &[&[header], body.as_slice()].concat());
                }
            }
            b.gpu.run(50);
            if r.random_range(0..8) == 0 {
                b.w("GRBM_SOFT_RESET", 1);
                b.w("SRBM_SOFT_RESET", 1 << 20 | 1 << 6);
            }
        }
        assert!(!b.gpu.log.violations().is_empty(), "seed {seed}: garbage, and nothing to report");
    }
}

#[test]
fn random_registers() {
    let known: Vec<u32> = (0..0x1_0000).filter(|r| is_known(*r)).collect();
    for seed in 0..20 {
        let mut r = ChaCha8Rng::seed_from_u64(seed);
        let mut b = bench(seed);
        for _ in 0..3000 {
            let reg = known[r.random_range(0..known.len())];
            if r.random() {
                b.gpu.reg_write(reg, dword(&mut r));
            } else {
                b.gpu.reg_read(reg);
            }
            if r.random_range(0..50) == 0 {
                b.gpu.doorbell(r.random_range(0..0x100) * 4, r.next_u32());
            }
            b.gpu.run(5);
        }
        assert!(b.gpu.log.violation_count() > 0);
    }
}

#[test]
fn every_register_with_every_bit() {
    let mut b = bench(0);
    for reg in 0..0x1_0000 {
        for value in [0, 1, 0x8000_0000, 0x5555_5555, 0xaaaa_aaaa, !0] {
            b.gpu.reg_write(reg, value);
        }
        b.gpu.reg_read(reg);
        b.gpu.run(3);
    }
    assert!(b.gpu.log.violation_count() > 0);
}

#[test]
fn random_configuration_writes() {
    let mut r = ChaCha8Rng::seed_from_u64(1);
    let mut b = bench(1);
    for _ in 0..10_000 {
        let bytes = r.next_u32().to_le_bytes();
        b.gpu.config_write(r.random_range(0..5000), &bytes[..r.random_range(1..5)]);
    }
    let mut id = [0; 4];
    b.gpu.pci.read(0, &mut id);
    assert_eq!(u32::from_le_bytes(id), 0x67b0_1002);
}
