// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The engines execute what a driver gives them.

mod bench;

use amdgpu_model::{
    config::Config,
    engine::{
        Block,
        EngineId,
        Step, //
    }, //
};
use bench::*;

#[test]
fn sdma_ring_test_on_both_engines() {
    let mut b = Bench::new();
    for n in 0..2 {
        b.put(DATA, &[0]);
        b.sdma_submit(n, &[2, lo(GART + DATA), hi(GART + DATA), 1, 0xdead_beef]);
        b.run();
        assert_eq!(b.get(DATA), 0xdead_beef);
    }
    b.clean();
}

#[test]
fn sdma_copies_fills_and_makes_entries() {
    let mut b = Bench::new();
    let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * 7) as u8).collect();
    b.ram.write(DATA + 3, &bytes);
    let (src, dst, back) = (GART + DATA + 3, FB + VRAM_DATA + 5, GART + DATA + 0x1_0001);
    b.sdma_submit(0, &[1, 10_000, 0, lo(src), hi(src), lo(dst), hi(dst)]);
    b.sdma_submit(0, &[1, 10_000, 0, lo(dst), hi(dst), lo(back), hi(back)]);
    let fill = GART + DATA + 0x2_0000;
    b.sdma_submit(0, &[11 | 2 << 30, lo(fill), hi(fill), 0x1234_5678, 8192]);
    let table = FB + VRAM_DATA + 0x10_0000;
    b.sdma_submit(0, &[12, lo(table), hi(table), 0x67, 0, 0x4000_0000, 0, 4096, 0, 600]);
    b.run();
    let mut got = vec![0; 10_000];
    b.ram.read(DATA + 0x1_0001, &mut got);
    assert_eq!(got, bytes);
    assert_eq!(b.get(DATA + 0x2_0000 + 8188), 0x1234_5678);
    assert_eq!(b.get(DATA + 0x2_0000 + 8192), 0);
    let last = b.gpu.vram().read_u64(VRAM_DATA + 0x10_0000 + 599 * 8);
    assert_eq!(last, (0x4000_0000 + 599 * 4096) | 0x67);
    b.clean();
}

#[test]
fn sdma_indirect_buffer_fence_and_trap() {
    let mut b = Bench::new();
    b.put(DATA, &[2, lo(GART + DATA + 0x100), hi(GART + DATA), 1, 42, 0, 0, 0]);
    b.sdma_ib(1, 0, GART + DATA, 8);
    b.sdma_submit(1, &[5, lo(GART + DATA + 0x200), hi(GART + DATA), 7, 6]);
    b.run();
    assert_eq!((b.get(DATA + 0x100), b.get(DATA + 0x200)), (42, 7));
    assert_eq!(b.msis(), 1);
    // Vector: source 224, ring 1; the write pointer is in memory.
    assert_eq!((b.get(IH_RING), b.get(IH_RING + 8), b.get(IH_WPTR)), (224, 1, 16));
    b.clean();
}

#[test]
fn sdma_polls_until_memory_changes() {
    let mut b = Bench::new();
    let at = GART + DATA;
    // Function 3 (equal), memory, for ever.
    b.sdma_submit(0, &[8 | 3 << 28 | 1 << 31, lo(at), hi(at), 5, 0xff, 0xfff << 16 | 4]);
    b.sdma_submit(0, &[5, lo(at + 4), hi(at), 1]);
    assert_eq!(b.run(), Step::Waiting);
    assert_eq!(b.get(DATA + 4), 0);
    b.put(DATA, &[0x105]);
    assert_eq!(b.run(), Step::Idle);
    assert_eq!(b.get(DATA + 4), 1);
    b.clean();
}

#[test]
fn sdma_flushes_hdp_and_writes_registers() {
    let mut b = Bench::new();
    let (req, done) = (reg("GPU_HDP_FLUSH_REQ") * 4, reg("GPU_HDP_FLUSH_DONE") * 4);
    b.sdma_submit(0, &[8 | 1 << 26 | 3 << 28, done, req, 1 << 10, 1 << 10, 0xfff << 16 | 10]);
    b.sdma_submit(0, &[14 | 0xf << 28, reg("SCRATCH_REG0") + 1, 99]);
    b.settle();
    assert_eq!(b.r("SCRATCH_REG1"), 99);
    b.clean();
}

#[test]
fn gfx_ring_test_through_a_wrapping_ring() {
    let mut b = Bench::new();
    for i in 0..100 {
        b.w("SCRATCH_REG0", 0xcafe_dead);
        b.gfx_submit(&pm4(0x79, &[0x40, i]));
        b.gfx_submit(&[0xffff_1000; 13]);
        b.run();
        assert_eq!(b.r("SCRATCH_REG0"), i);
    }
    assert_eq!(b.r("CP_RB0_RPTR"), b.r("CP_RB0_WPTR"));
    b.clean();
}

#[test]
fn gfx_fence_interrupts_after_the_data() {
    let mut b = Bench::new();
    let at = GART + DATA;
    b.gfx_submit(&pm4(0x47, &[0x514, lo(at), hi(at) | 1 << 29, 8, 0]));
    b.gfx_submit(&pm4(0x47, &[0x514, lo(at), hi(at) | 2 << 29 | 2 << 24, 9, 1]));
    b.run();
    // Data after the write's confirmation, no interrupt.
    b.gfx_submit(&pm4(0x47, &[0x514, lo(at + 8), hi(at) | 1 << 29 | 3 << 24, 10, 0]));
    b.compute_submit(0, &pm4(0x49, &[0x514, 1 << 29 | 3 << 24, lo(at + 12), hi(at), 11, 0]));
    b.run();
    assert_eq!((b.get(DATA + 8), b.get(DATA + 12)), (10, 11));
    assert_eq!((b.get(DATA), b.get(DATA + 4)), (9, 1));
    assert_eq!(b.msis(), 1);
    assert_eq!(b.get(IH_RING), 181);
    b.clean();
}

#[test]
fn gfx_indirect_buffers_nest_and_chain() {
    let mut b = Bench::new();
    let at = |n: u64| GART + DATA + n * 0x100;
    let call =
        |n: u64, flags: u32, len: usize| pm4(0x3f, &[lo(at(n)), hi(at(n)), flags | len as u32]);
    let set = |n: u32, v: u32| pm4(0x79, &[0x40 + n, v]);
    // Ring -> 0 -> (1) -> rest of 0 -> chain to 2.
    let two = set(2, 3);
    let one = set(1, 2);
    let mut zero = [set(0, 1), call(1, 0, one.len()), set(3, 4)].concat();
    zero.extend(call(2, 1 << 20, two.len()));
    zero.extend(set(0, 99));
    for (n, ib) in [&zero, &one, &two].into_iter().enumerate() {
        b.put(DATA + n as u64 * 0x100, ib);
    }
    b.gfx_submit(&call(0, 0, zero.len()));
    b.gfx_submit(&set(4, 5));
    b.run();
    let got: Vec<u32> = (0..5).map(|n| b.gpu.reg_read(reg("SCRATCH_REG0") + n)).collect();
    assert_eq!(got, [1, 2, 3, 4, 5]);
    b.clean();
}

#[test]
fn gfx_skips_conditionally() {
    let mut b = Bench::new();
    let set = |v: u32| pm4(0x79, &[0x40, v]);
    for (condition, want) in [(0u32, 7), (1, 8)] {
        b.put(DATA, &[condition]);
        b.gfx_submit(&set(7));
        b.gfx_submit(&pm4(0x22, &[lo(GART + DATA), hi(GART + DATA), 0, 3]));
        b.gfx_submit(&set(8));
        b.run();
        assert_eq!(b.r("SCRATCH_REG0"), want);
    }
    b.clean();
}

#[test]
fn gfx_moves_data() {
    let mut b = Bench::new();
    let at = |n: u64| GART + DATA + n * 0x1000;
    b.put(DATA, &[11, 22, 33]);
    // DMA_DATA 12 bytes, WRITE_DATA to memory, COPY_DATA memory to register and immediate to
    // memory.
    b.gfx_submit(&pm4(0x50, &[1 << 31, lo(at(0)), hi(at(0)), lo(at(1)), hi(at(1)), 12]));
    b.gfx_submit(&pm4(0x37, &[5 << 8 | 1 << 20, lo(at(2)), hi(at(2)), 44, 55]));
    b.gfx_submit(&pm4(0x40, &[1, lo(at(0)) + 4, hi(at(0)), reg("SCRATCH_REG0"), 0]));
    b.gfx_submit(&pm4(0x40, &[5 | 5 << 8 | 1 << 16, 66, 77, lo(at(3)), hi(at(3))]));
    b.gfx_submit(&pm4(0x50, &[1 << 31 | 2 << 29, 0x0102_0304, 0, lo(at(4)), hi(at(4)), 8]));
    b.gfx_submit(&pm4(0x1e, &[0x0f, lo(at(2)), hi(at(2)), 6, 0, 0, 0, 0]));
    b.run();
    b.clean();
    assert_eq!((b.get(DATA + 0x1008), b.get(DATA + 0x2000), b.get(DATA + 0x2004)), (33, 50, 55));
    assert_eq!(
        (b.get(DATA + 0x3000), b.get(DATA + 0x3004), b.get(DATA + 0x4004)),
        (66, 77, 0x0102_0304)
    );
    assert_eq!(b.r("SCRATCH_REG0"), 22);
}

#[test]
fn compute_queues_run_by_doorbell() {
    let mut b = Bench::new();
    for q in 0..8 {
        b.compute_submit(q, &pm4(0x79, &[0x40, q as u32 + 1]));
        b.run();
        assert_eq!(b.r("SCRATCH_REG0"), q as u32 + 1);
    }
    let at = GART + DATA;
    b.compute_submit(3, &pm4(0x49, &[0x514, 2 << 29 | 2 << 24, lo(at), hi(at), 5, 6]));
    b.run();
    assert_eq!((b.get(DATA), b.get(DATA + 4)), (5, 6));
    // Ring identity: pipe 0, micro-engine 1, queue 3.
    assert_eq!((b.get(IH_RING), b.get(IH_RING + 8)), (181, 1 << 2 | 3 << 4));
    b.clean();
}

#[test]
fn a_dequeued_queue_is_inactive() {
    let mut b = Bench::new();
    b.w("SRBM_GFX_CNTL", 1 << 2 | 2 << 8);
    b.w("CP_HQD_DEQUEUE_REQUEST", 1);
    while b.r("CP_HQD_ACTIVE") != 0 {}
    assert!(!b.gpu.engines().contains(&EngineId::Compute { me: 1, pipe: 0, queue: 2 }));
    b.clean();
}

#[test]
fn the_wait_is_a_wait() {
    let mut b = Bench::new();
    let at = GART + DATA;
    b.gfx_submit(&pm4(0x3c, &[5 | 1 << 4, lo(at), hi(at), 10, 0xffff_ffff, 4]));
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.w("SCRATCH_REG0", 0);
    assert_eq!(b.run(), Step::Waiting);
    assert_eq!(b.r("SCRATCH_REG0"), 0);
    // Another engine makes it go on.
    b.sdma_submit(0, &[5, lo(at), hi(at), 10]);
    assert_eq!(b.run(), Step::Idle);
    assert_eq!(b.r("SCRATCH_REG0"), 1);
    b.clean();
}

#[test]
fn the_seed_decides_the_order() {
    let order = |seed| {
        let mut b =
            Bench::with(Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() });
        for n in 0..2 {
            // Both engines write the same word; what it holds after each step tells who ran.
            for i in 0..20 {
                b.sdma_submit(n, &[5, lo(GART + DATA), hi(GART + DATA), n as u32 * 100 + i]);
            }
        }
        let mut seen = vec![];
        while b.gpu.step() == Step::Progress {
            seen.push(b.get(DATA));
        }
        seen
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_held_engine_waits_for_its_release() {
    let mut b = Bench::new();
    b.gpu.hold(Block::Sdma0);
    b.sdma_submit(0, &[5, lo(GART + DATA), hi(GART + DATA), 3]);
    b.run();
    assert_eq!(b.get(DATA), 0);
    b.gpu.release(Block::Sdma0);
    b.run();
    assert_eq!(b.get(DATA), 3);
    b.clean();
}

#[test]
fn fences_come_later_but_in_order() {
    let at = GART + DATA;
    let fence = |v: u32| pm4(0x47, &[0x514, lo(at), hi(at) | 1 << 29, v, 0]);
    let mut late = 0;
    for seed in 0..20 {
        let mut b =
            Bench::with(Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() });
        b.gfx_submit(&[fence(1), fence(2), pm4(0x79, &[0x40, 7])].concat());
        b.w("SCRATCH_REG0", 0);
        let mut seen = vec![0];
        while b.gpu.step() == Step::Progress {
            if b.gpu.peek(reg("SCRATCH_REG0")) == 7 && b.get(DATA) < 2 {
                late += 1;
            }
            let now = b.get(DATA);
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        assert_eq!(seen, [0, 1, 2]);
        b.clean();
    }
    assert!(late > 0, "no seed let the ring pass a fence before it was written");
}

#[test]
fn an_engine_runs_beside_dead_ones() {
    let mut config = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    for dead in ["ring-gfx", "ring-compute", "ring-sdma1"] {
        config.inject.add(dead).unwrap();
    }
    let mut b = Bench::with(config);
    let store = pm4(0x37, &[5 << 8 | 1 << 20, lo(GART + DATA), hi(GART + DATA), 0x77]);
    b.gfx_submit(&store);
    b.compute_submit(3, &store);
    b.sdma_submit(1, &[5, lo(GART + DATA + 4), hi(GART + DATA + 4), 0x78]);
    b.sdma_submit(0, &[5, lo(GART + DATA + 8), hi(GART + DATA + 8), 0x79]);
    b.run();
    assert_eq!([0, 4, 8].map(|at| b.get(DATA + at)), [0, 0, 0x79]);
    b.clean();
}
