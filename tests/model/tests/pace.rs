// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Tests of things that take time.

mod bench;

use amdgpu_model::config::Config;
use bench::*;

fn bench(seed: u64, kind: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() };
    kind.iter().for_each(|k| c.strict.switch(k, false).unwrap());
    Bench::with(c)
}

#[test]
fn a_queue_is_taken_off_some_reads_later() {
    let reads = |seed, kind: &[&str]| {
        let mut b = bench(seed, kind);
        b.w("SRBM_GFX_CNTL", 1 << 2);
        b.w("CP_HQD_DEQUEUE_REQUEST", 1);
        let n = (0..100).find(|_| b.r("CP_HQD_ACTIVE") == 0);
        b.w("CP_HQD_PQ_RPTR", 0);
        b.clean();
        n.expect("it ends")
    };
    assert!((0..16).any(|seed| reads(seed, &[]) > 2));
    assert!((0..16).all(|seed| reads(seed, &["busy"]) == 0));
    let early = |seed| {
        let mut b = bench(seed, &[]);
        b.w("SRBM_GFX_CNTL", 1 << 2);
        b.w("CP_HQD_DEQUEUE_REQUEST", 1);
        b.w("CP_HQD_PQ_RPTR", 0);
        b.gpu.log.take_violations().iter().any(|v| v.rule == "too-early")
    };
    assert!((0..16).filter(|seed| early(*seed)).count() > 8);
}

#[test]
fn blocks_are_busy_for_some_reads() {
    for (told, value, status, mask, busy) in [
        ("RLC_CNTL", 0, "RLC_GPM_STAT", 1, 1),
        ("RLC_CNTL", 0, "RLC_SERDES_CU_MASTER_BUSY", 1, 1),
        ("RLC_SERDES_WR_CTRL", 0, "RLC_SERDES_NONCU_MASTER_BUSY", 1, 1),
        ("BIF_FB_EN", 3, "SRBM_STATUS", 0x1e00, 0x1e00),
        ("MC_SEQ_SUP_CNTL", 1, "MC_SEQ_TRAIN_WAKEUP_CNTL", 3 << 30, 0),
    ] {
        let mut b = bench(1, &[]);
        b.w(told, value);
        assert_eq!(b.r(status) & mask, busy, "{status}");
        assert!((0..10).any(|_| b.r(status) & mask != busy), "{status} for ever");
        let mut b = bench(1, &["busy"]);
        b.w(told, value);
        assert_ne!(b.r(status) & mask, busy, "{status}");
        b.clean();
    }
}

#[test]
fn command_processors_need_their_time() {
    let at_once = |strict: &[&str], gfx: bool| {
        // A slow machine may make the delay by itself.
        (0..50).any(|_| {
            let mut c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
            strict.iter().for_each(|s| c.strict.switch(s, true).unwrap());
            let mut b = Bench::with(c);
            if gfx {
                b.w("CP_RB0_CNTL", 8 | 1 << 31);
                b.w("CP_RB0_CNTL", 8);
            } else {
                b.w("CP_MEC_CNTL", 1 << 30);
                b.w("CP_MEC_CNTL", 0);
                b.gpu.doorbell(0x40, 0);
            }
            b.gpu.log.take_violations().iter().any(|v| v.rule == "too-early")
        })
    };
    for gfx in [false, true] {
        assert!(at_once(&["delays"], gfx));
        assert!(!at_once(&[], gfx));
    }
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    c.strict.switch("delays", true).unwrap();
    let mut b = Bench::with(c);
    b.w("CP_RB0_CNTL", 8 | 1 << 31);
    std::thread::sleep(std::time::Duration::from_millis(1));
    b.w("CP_RB0_CNTL", 8);
    b.clean();
}
