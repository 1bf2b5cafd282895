// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Interrupts where nobody knows what hardware does: the seed decides.

mod bench;

use amdgpu_model::config::Config;
use bench::*;

fn bench(seed: u64, strict: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() };
    strict.iter().for_each(|s| c.strict.switch(s, true).unwrap());
    Bench::with(c)
}

#[test]
fn vectors_that_are_left_may_wait_for_the_next_one() {
    let mut again = 0;
    for seed in 0..16 {
        let mut b = bench(seed, &[]);
        for _ in 0..2 {
            b.sdma_submit(0, &[6]);
            b.run();
        }
        assert_eq!(
            (b.msis(), b.get(IH_WPTR)),
            (1, 32),
            "one message until the read pointer is written"
        );
        b.w("IH_RB_RPTR", 16);
        again += b.msis() - 1;
        let before = b.msis();
        if before == 1 {
            // Not sent again: but the next vector's is.
            b.sdma_submit(0, &[6]);
            b.run();
            assert_eq!(b.msis(), 2);
        }
        b.clean();
    }
    assert!((1..16).contains(&again), "{again} of 16 sent again");
}

#[test]
fn compute_vectors_may_lack_the_queue() {
    let ring = |seed, strict: &[&str]| {
        let mut b = bench(seed, strict);
        b.compute_submit(
            3,
            &pm4(0x49, &[0x514, 1 << 29 | 2 << 24, lo(GART + DATA), hi(GART + DATA), 5, 0]),
        );
        b.run();
        b.clean();
        b.get(IH_RING + 8)
    };
    let with: Vec<u32> = (0..16).map(|seed| ring(seed, &["eop-queue"])).collect();
    assert!(
        with.contains(&4) && with.contains(&(4 | 3 << 4)) && with.iter().all(|r| r & 0xf == 4),
        "{with:?}"
    );
    assert!((0..16).all(|seed| ring(seed, &[]) == 4 | 3 << 4));
}
