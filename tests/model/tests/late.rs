// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Late effects of what engines have issued: CP DMA that nobody waits for, and what a halt does not
//! stop.

mod bench;

use amdgpu_model::{
    config::Config,
    engine::Step,
    memory::Memory, //
};
use bench::*;

const CP_SYNC: u32 = 1 << 31;
const PAGE_BUS: u64 = 0x9000_0000;
const VA: u64 = 0x0234_0000;
const IB: u64 = 0x0800_0000;

fn bench(seed: u64, kind: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() };
    kind.iter().for_each(|k| c.strict.switch(k, false).unwrap());
    Bench::with(c)
}

fn fence(at: u64) -> Vec<u32> {
    pm4(0x47, &[0x514, lo(at), hi(at) | 1 << 29, 1, 0])
}

/// Copies 4 bytes by CP DMA.
fn dma(flags: u32, from: u64, to: u64, command: u32) -> Vec<u32> {
    pm4(0x50, &[flags, lo(from), hi(from), lo(to), hi(to), command])
}

/// Gives a copy and a fence to the gfx ring. Answers whether the fence came before the copy.
fn fence_first(b: &mut Bench, packets: &[u32]) -> bool {
    b.put(DATA, &[0x55, 0, 0, 0]);
    b.gfx_submit(packets);
    b.gfx_submit(&fence(GART + DATA + 12));
    let mut first = false;
    while b.get(DATA + 12) == 0 || b.get(DATA + 4) == 0 {
        first |= b.get(DATA + 12) != 0 && b.get(DATA + 4) == 0;
        b.gpu.step();
    }
    b.settle();
    b.clean();
    first
}

#[test]
fn cp_dma_passes_the_fence_unless_it_is_waited_for() {
    let (from, to) = (GART + DATA, GART + DATA + 4);
    let unsynced = |seed| fence_first(&mut bench(seed, &[]), &dma(0, from, to, 4));
    let late = (0..16).filter(|seed| unsynced(*seed)).count();
    assert!((8..16).contains(&late), "{late} of 16 late: by the seed, most of them");
    // Its own CP_SYNC, or that of a later one of no bytes.
    let waits: [Vec<u32>; 2] =
        [dma(CP_SYNC, from, to, 4), [dma(0, from, to, 4), dma(CP_SYNC, from, to, 0)].concat()];
    for packets in waits {
        assert!((0..16).all(|seed| !fence_first(&mut bench(seed, &[]), &packets)));
    }
    assert!(
        (0..16).all(|seed| !fence_first(&mut bench(seed, &["late-dma"]), &dma(0, from, to, 4)))
    );
}

#[test]
fn transfers_pass_each_other_unless_they_wait_for_what_they_read() {
    let at = |n: u64| GART + DATA + 4 * n;
    // The second copies what the first wrote.
    let result = |seed, command| {
        let mut b = bench(seed, &[]);
        b.put(DATA, &[7, 0, 0]);
        b.gfx_submit(&[dma(0, at(0), at(1), 4), dma(0, at(1), at(2), command)].concat());
        b.settle();
        b.clean();
        b.get(DATA + 8)
    };
    assert!((0..16).any(|seed| result(seed, 4) == 0));
    assert!((0..16).all(|seed| result(seed, 4 | 1 << 30) == 7));
}

#[test]
fn compute_queues_wait_for_each_transfer() {
    let (from, to) = (GART + DATA, GART + DATA + 4);
    // A transfer, and another value written to the same place after it.
    let packets = [dma(0, from, to, 4), pm4(0x37, &[5 << 8, lo(to), hi(to), 9])].concat();
    let last = |seed, submit: fn(&mut Bench, &[u32])| {
        let mut b = bench(seed, &[]);
        b.put(DATA, &[7, 0]);
        submit(&mut b, &packets);
        b.gfx_submit(&fence(GART + DATA + 12));
        while b.get(DATA + 12) == 0 {
            b.gpu.step();
        }
        b.settle();
        b.clean();
        b.get(DATA + 4)
    };
    assert!((0..16).any(|seed| last(seed, |b, packets| b.gfx_submit(packets)) == 7));
    assert!((0..16).all(|seed| last(seed, |b, packets| b.compute_submit(0, packets)) == 9));
}

/// A user's job in vmid 3 on a page of its own; its commands, then the fence.
fn job(b: &mut Bench, commands: &[u32]) {
    b.gpu.host.map(PAGE_BUS, std::sync::Arc::new(Memory::anonymous("page", 4096).unwrap()));
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    b.put(DATA + 0x1000, commands);
    b.map(3, IB, (BUS + DATA + 0x1000) | SYSTEM_RW);
    b.gfx_submit(&pm4(0x3f, &[lo(IB), hi(IB), commands.len() as u32 | 3 << 24]));
    b.gfx_submit(&fence(GART + DATA + 12));
}

#[test]
fn a_job_is_not_over_while_its_dma_is_under_way() {
    let found = (0..8).filter(|seed| {
        let mut b = bench(*seed, &[]);
        job(&mut b, &dma(0, VA, VA + 8, 4));
        while b.get(DATA + 12) == 0 {
            b.gpu.step();
        }
        b.gpu.unmap(PAGE_BUS, 4096);
        b.gpu.log.settle(true);
        b.gpu.log.take_violations().iter().any(|v| v.rule == "unmap-in-use")
    });
    assert!(found.count() >= 4);
    // Drained before the fence.
    for seed in 0..8 {
        let mut b = bench(seed, &[]);
        job(&mut b, &[dma(0, VA, VA + 8, 4), dma(CP_SYNC, VA, VA, 0)].concat());
        while b.get(DATA + 12) == 0 {
            b.gpu.step();
        }
        b.gpu.unmap(PAGE_BUS, 4096);
        b.clean();
    }
}

/// A job on sdma0 that writes to its page and then polls for ever.
fn writes_and_hangs(b: &mut Bench) -> std::sync::Arc<Memory> {
    let page = std::sync::Arc::new(Memory::anonymous("page", 4096).unwrap());
    b.gpu.host.map(PAGE_BUS, page.clone());
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    let poll = [8 | 3 << 28 | 1 << 31, lo(VA), hi(VA), 1, !0, 0xfff << 16];
    let write = [2, lo(VA) + 0x20, hi(VA), 2, 0x11, 0x22];
    b.put(DATA, &[&write[..], &poll[..], &[0; 4]].concat());
    b.map(3, IB, (BUS + DATA) | SYSTEM_RW);
    b.sdma_ib(0, 3, IB, 16);
    assert_eq!(b.run(), Step::Waiting);
    assert_eq!(page.read_u32(0x20), 0x11);
    page
}

#[test]
fn a_halt_does_not_stop_what_is_under_way() {
    let mut b = Bench::new();
    let page = writes_and_hangs(&mut b);
    b.w("SDMA0_F32_CNTL", 1);
    assert_eq!(b.r("SDMA0_STATUS_REG") & 1, 0, "busy");
    assert_ne!(b.r("SRBM_STATUS2") & 1 << 5, 0);
    page.write_u32(0x20, 0);
    b.settle();
    assert_eq!((page.read_u32(0x20), page.read_u32(0x24)), (0x11, 0x22));
    assert_eq!(b.r("SDMA0_STATUS_REG") & 1, 1, "idle");
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
}

#[test]
fn what_a_job_wrote_that_is_over_has_landed() {
    let mut b = Bench::new();
    let page = writes_and_hangs(&mut b);
    page.write_u32(0, 1);
    b.sdma_submit(0, &[5, lo(GART + DATA + 0x800), hi(GART + DATA), 1]);
    b.run();
    assert_eq!(b.get(DATA + 0x800), 1);
    // The next job of the same address space writes nothing.
    page.write_u32(0x20, 0);
    b.put(DATA, &[8 | 3 << 28 | 1 << 31, lo(VA), hi(VA), 2, !0, 0xfff << 16, 0, 0]);
    b.sdma_ib(0, 3, IB, 8);
    assert_eq!(b.run(), Step::Waiting);
    b.w("SDMA0_F32_CNTL", 1);
    b.settle();
    assert_eq!(page.read_u32(0x20), 0);
    b.clean();
}

#[test]
fn memory_is_not_given_back_before_the_engine_is_idle() {
    let mut b = Bench::new();
    writes_and_hangs(&mut b);
    b.w("SDMA0_F32_CNTL", 1);
    b.gpu.unmap(PAGE_BUS, 4096);
    b.settle();
    b.w("SCRATCH_REG0", 0);
    let rules: std::collections::BTreeSet<_> =
        b.gpu.log.take_violations().iter().map(|v| v.rule).collect();
    assert_eq!(rules.into_iter().collect::<Vec<_>>(), ["dma-unmapped", "unmap-in-use"]);
}

#[test]
fn a_reset_or_the_loss_of_bus_mastering_ends_it() {
    for end in 0..3 {
        let mut b = Bench::new();
        let page = writes_and_hangs(&mut b);
        b.w("SDMA0_F32_CNTL", 1);
        match end {
            0 => b.w("SRBM_SOFT_RESET", 1 << 20),
            1 => b.gpu.config_write(4, &[2, 0]),
            _ => b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes()),
        }
        page.write_u32(0x20, 0);
        b.gpu.unmap(PAGE_BUS, 4096);
        b.settle();
        assert_eq!(page.read_u32(0x20), 0);
        b.clean();
    }
}

#[test]
fn a_halted_gfx_ring_is_busy_until_its_writes_landed() {
    let mut b = Bench::new();
    let wait = pm4(0x3c, &[3 | 1 << 4, lo(VA), hi(VA), 2, !0, 10]);
    job(&mut b, &[pm4(0x37, &[5 << 8, lo(VA) + 8, hi(VA), 9]), wait].concat());
    assert_eq!(b.run(), Step::Waiting);
    b.w("CP_ME_CNTL", 1 << 24 | 1 << 26 | 1 << 28);
    assert_ne!(b.r("GRBM_STATUS") & 1 << 31, 0);
    b.settle();
    assert_eq!(b.r("GRBM_STATUS") & 1 << 31, 0);
    b.clean();
}
