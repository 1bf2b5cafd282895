// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Figures, printed; the bound is one that only a mistake exceeds.

mod bench;

use std::time::{
    Duration,
    Instant, //
};

use bench::*;

#[test]
fn copies_are_fast_enough_for_a_guest() {
    let mut b = Bench::new();
    let start = Instant::now();
    let mut bytes = 0u64;
    for _ in 0..16 {
        let (src, dst) = (GART + DATA, FB + VRAM_DATA);
        for part in 0..4u64 {
            let (s, d) = (src + part * 0x10_0000, dst + part * 0x10_0000);
            b.sdma_submit(0, &[1, 0x10_0000, 0, lo(s), hi(s), lo(d), hi(d)]);
            bytes += 0x10_0000;
        }
        b.run();
    }
    let took = start.elapsed();
    println!("{} MiB copied in {took:?}", bytes >> 20);
    assert!(took < Duration::from_secs(5), "{took:?}");
    b.clean();
}
