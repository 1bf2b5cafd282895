// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The host data path, and the graphics front end: what is seen too early, and what too late.

mod bench;

use amdgpu_model::{
    config::Config,
    engine::Step,
    hdp::Hdp,
    trace::Event, //
};
use bench::*;

const IB: u64 = 0x0800_0000;

fn bench(seed: u64, hdp: Hdp, kind: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, seed, hdp, ..Config::default() };
    kind.iter().for_each(|k| c.strict.switch(k, false).unwrap());
    Bench::with(c)
}

/// Writes the request, waits for the bit: of the gfx ring, by ME or PFP.
fn gfx_flush(bits: u32, engine: u32) -> Vec<u32> {
    let (request, done) = (reg("GPU_HDP_FLUSH_REQ"), reg("GPU_HDP_FLUSH_DONE"));
    pm4(0x3c, &[1 << 6 | 3 | engine << 8, request, done, bits, bits, 0x20])
}

#[test]
fn each_client_flushes_by_its_own_bit() {
    let sdma = |bit: u32| {
        [
            8 | 1 << 26 | 3 << 28,
            reg("GPU_HDP_FLUSH_DONE") * 4,
            reg("GPU_HDP_FLUSH_REQ") * 4,
            bit,
            bit,
            0xfff << 16,
        ]
    };
    let mut b = Bench::new();
    b.gfx_submit(&gfx_flush(1, 0));
    b.compute_submit(3, &gfx_flush(1 << 2, 0));
    b.sdma_submit(0, &sdma(1 << 10));
    b.sdma_submit(1, &sdma(1 << 11));
    b.settle();
    b.clean();
    b.gfx_submit(&gfx_flush(1 << 2, 0));
    b.settle();
    b.broke("hdp-client");
    b.sdma_submit(1, &sdma(1 << 10));
    b.settle();
    b.broke("hdp-client");
}

#[test]
fn a_flush_that_nobody_waits_for_is_late() {
    let write = pm4(0x37, &[0, reg("GPU_HDP_FLUSH_REQ"), 0, 1]);
    let mut b = bench(0, Hdp::Strict, &[]);
    b.gpu.vram().write_u32(VRAM_DATA, 5);
    b.gfx_submit(&write);
    b.gfx_submit(&pm4(0x40, &[1, lo(FB + VRAM_DATA), hi(FB + VRAM_DATA), reg("SCRATCH_REG0"), 0]));
    b.run();
    b.broke("hdp-stale");
    b.gfx_submit(&gfx_flush(1, 0));
    b.gfx_submit(&pm4(0x40, &[1, lo(FB + VRAM_DATA), hi(FB + VRAM_DATA), reg("SCRATCH_REG0"), 0]));
    b.settle();
    assert_eq!(b.r("SCRATCH_REG0"), 5);
    b.clean();
}

#[test]
fn the_host_reads_old_bytes_until_it_invalidates() {
    let at = FB + VRAM_DATA;
    let unseen = |kind: &[&str]| {
        let one = |seed| {
            let mut b = bench(seed, Hdp::Strict, kind);
            b.sdma_submit(0, &[2, lo(at), hi(at), 1, 9]);
            b.run();
            let before = b.gpu.vram().read_u32(VRAM_DATA);
            b.w("HDP_DEBUG0", 1);
            assert_eq!(b.gpu.vram().read_u32(VRAM_DATA), 9);
            b.clean();
            before != 9
        };
        (0..32).filter(|seed| one(*seed)).count()
    };
    assert!((1..32).contains(&unseen(&[])));
    assert_eq!(unseen(&["hdp-reads"]), 0);
}

#[test]
fn a_walk_sees_entries_in_any_order_and_the_unflushed_are_told() {
    let walk = |seed, flush| {
        let mut b = bench(seed, Hdp::Strict, &[]);
        b.put(DATA + 0x1000, &[0; 8]);
        b.map(3, IB, (BUS + DATA + 0x1000) | SYSTEM_RW);
        if flush {
            b.w("HDP_MEM_COHERENCY_FLUSH_CNTL", 1);
        }
        b.sdma_ib(0, 3, IB, 8);
        b.run();
        let told = b.gpu.log.take_violations().iter().any(|v| v.rule == "hdp-stale");
        let fault = |e: &Event| matches!(e, Event::Fault { vmid: 3, .. });
        let executed = !b.gpu.log.history().any(fault);
        (told, executed)
    };
    let unflushed: Vec<_> = (0..32).map(|seed| walk(seed, false)).collect();
    assert!(unflushed.iter().all(|(told, _)| *told));
    // Directory and table may both have arrived.
    assert!(
        unflushed.contains(&(true, true)) && unflushed.contains(&(true, false)),
        "{unflushed:?}"
    );
    assert!((0..32).all(|seed| walk(seed, true) == (false, true)));
}

/// A wait of the gfx ring, then what comes between, then an indirect buffer that sets SCRATCH_REG0
/// to what stands in it when it is fetched. While the ring waits the buffer changes.
fn fetched(seed: u64, engine: u32, between: &[u32]) -> (u32, bool) {
    let mut b = bench(seed, Hdp::Direct, &[]);
    let at = GART + DATA;
    b.put(DATA + 0x100, &pm4(0x79, &[0x40, 1]));
    b.gfx_submit(&pm4(0x3c, &[3 | 1 << 4 | engine << 8, lo(at), hi(at), 1, !0, 4]));
    b.gfx_submit(between);
    b.gfx_submit(&pm4(0x3f, &[lo(at + 0x100), hi(at), 3]));
    assert_eq!(b.run(), Step::Waiting);
    for _ in 0..8 {
        b.run();
    }
    b.put(DATA + 0x100, &pm4(0x79, &[0x40, 2]));
    b.put(DATA, &[1]);
    b.settle();
    let early = b.gpu.log.take_violations().iter().any(|v| v.rule == "fetched-early");
    (b.r("SCRATCH_REG0"), early)
}

#[test]
fn the_front_end_fetches_commands_while_the_engine_waits() {
    let nothing = [0xffff_1000];
    let sync = pm4(0x42, &[0]);
    let by_me: Vec<_> = (0..8).map(|seed| fetched(seed, 0, &nothing)).collect();
    assert!(by_me.contains(&(1, true)), "{by_me:?}");
    // The front end itself waits, or waits for the engine.
    assert!((0..8).all(|seed| fetched(seed, 1, &nothing) == (2, false)));
    assert!((0..8).all(|seed| fetched(seed, 0, &sync) == (2, false)));
}
