// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Translations: flushes take time and disturb others, entries of the directory are cached too, a
//! fragment's entries serve for each other, system pages are snooped.

mod bench;

use amdgpu_model::{
    config::Config,
    engine::Step, //
};
use bench::*;

const VA: u64 = 0x0234_0000;
/// Place of the jobs' commands, in every address space.
const IB: u64 = 0x0800_0000;

fn bench(seed: u64, strict: &[&str], kind: &[&str]) -> Bench {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, seed, ..Config::default() };
    strict.iter().for_each(|s| c.strict.switch(s, true).unwrap());
    kind.iter().for_each(|s| c.strict.switch(s, false).unwrap());
    Bench::with(c)
}

/// An SDMA job of vmid 3 that writes a dword.
fn write(b: &mut Bench, va: u64, value: u32) {
    b.put(DATA + 0xf000, &[2, lo(va), hi(va), 1, value, 0, 0, 0]);
    b.map(3, IB, (BUS + DATA + 0xf000) | SYSTEM_RW);
    b.sdma_ib(0, 3, IB, 8);
    b.sdma_submit(0, &[5, lo(GART + DATA + 0x100), hi(GART), 1]);
    b.run();
}

/// One on sdma1 that polls the word at `VA` until it is 1.
fn polling_job(b: &mut Bench) {
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    b.map(3, IB + 0x1000, (BUS + DATA + 0xe000) | SYSTEM_RW);
    b.put(DATA + 0xe000, &[8 | 3 << 28 | 1 << 31, lo(VA), hi(VA), 1, !0, 0xfff << 16, 0, 0]);
    b.sdma_ib(1, 3, IB + 0x1000, 8);
    assert_eq!(b.run(), Step::Waiting);
}

/// Packets that flush vmid 3: of SDMA, and of the gfx ring.
fn flush_by_sdma() -> Vec<u32> {
    vec![14 | 0xf << 28, reg("VM_INVALIDATE_REQUEST"), 1 << 3]
}
fn flush_by_gfx() -> Vec<u32> {
    pm4(0x37, &[0, reg("VM_INVALIDATE_REQUEST"), 0, 1 << 3])
}

#[test]
fn a_flush_is_done_when_it_is_read_back() {
    let at = reg("VM_INVALIDATE_REQUEST");
    // Always true, of the register.
    let read_by_sdma = [8, at * 4, 0, 0, 0, 0xfff << 16];
    let read_by_gfx = pm4(0x3c, &[0, at, 0, 0, 0, 4]);
    for seed in 0..16 {
        let mut b = bench(seed, &[], &[]);
        b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
        write(&mut b, VA, 1);
        b.map(3, VA, (BUS + DATA + 0x1000) | SYSTEM_RW);
        b.sdma_submit(0, &[&flush_by_sdma()[..], &read_by_sdma[..]].concat());
        write(&mut b, VA, 2);
        assert_eq!((b.get(DATA), b.get(DATA + 0x1000)), (1, 2));
        b.put(DATA + 0xf000, &pm4(0x37, &[5 << 8, lo(VA), hi(VA), 3]));
        b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
        b.gfx_submit(
            &[flush_by_gfx(), read_by_gfx.clone(), pm4(0x3f, &[lo(IB), hi(IB), 5 | 3 << 24])]
                .concat(),
        );
        b.run();
        assert_eq!(b.get(DATA), 3);
        b.clean();
    }
}

#[test]
fn a_flush_that_nobody_reads_back_is_late() {
    let late = |kind: &[&str]| {
        let found = (0..16).filter(|seed| {
            let mut b = bench(*seed, &[], kind);
            b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
            write(&mut b, VA, 1);
            b.sdma_submit(0, &flush_by_sdma());
            write(&mut b, VA, 2);
            b.gpu.log.take_violations().iter().any(|v| v.rule == "flush-pending")
        });
        found.count()
    };
    assert!(late(&[]) >= 12);
    assert_eq!(late(&["tlb-delay"]), 0);
}

#[test]
fn a_vmid_whose_job_runs_elsewhere_is_left_alone() {
    let change = |b: &mut Bench| {
        let directory = b.r("VM_CONTEXT3_PAGE_TABLE_BASE_ADDR");
        pm4(0x37, &[0, reg("VM_CONTEXT3_PAGE_TABLE_BASE_ADDR"), 0, directory + 0x20])
    };
    for what in 0..3 {
        let mut b = Bench::new();
        polling_job(&mut b);
        match what {
            0 => b.gfx_submit(&flush_by_gfx()),
            1 => {
                let packet = change(&mut b);
                b.gfx_submit(&packet);
            }
            _ => b.flush(3),
        }
        b.run();
        let v = b.gpu.log.take_violations();
        assert!(
            v[0].rule == "vmid-in-use" && v[0].what.contains("vmid 3 runs a job on sdma1"),
            "{}",
            v[0].what
        );
    }
    // Another VMID, and one whose job is over.
    let mut b = Bench::new();
    polling_job(&mut b);
    b.flush(2);
    b.put(DATA, &[1]);
    b.sdma_submit(1, &[5, lo(GART + DATA + 0x100), hi(GART + DATA), 7]);
    b.run();
    b.flush(3);
    let packet = change(&mut b);
    b.gfx_submit(&packet);
    b.run();
    b.clean();
}

#[test]
fn a_directory_entry_is_cached_until_the_flush() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    b.map(3, VA + 0x8_0000, (BUS + DATA + 0x1000) | SYSTEM_RW);
    write(&mut b, VA, 1);
    // Another table in its place. The page was never touched, nor its block.
    let directory = u64::from(b.r("VM_CONTEXT3_PAGE_TABLE_BASE_ADDR")) * 4096 - FB;
    let slot = directory + (VA >> 22) * 8;
    let entry = b.gpu.vram().read_u64(slot);
    b.gpu.vram().write_u64(slot, entry + 0x4000);
    write(&mut b, VA + 0x8_0000, 2);
    assert!(b.broke("stale-tlb").contains("directory entry"));
    b.gpu.vram().write_u64(slot, entry);
    b.flush(3);
    write(&mut b, VA + 0x8_0000, 3);
    b.clean();
}

#[test]
fn a_fragment_is_contiguous_and_may_have_to_be_aligned() {
    let page = |n: u64| VA + n * 0x1000;
    let map = |b: &mut Bench, n: u64, to: u64, order: u64| {
        b.map(3, page(n), (VRAM_DATA + to) | VRAM_RW | order << 7)
    };
    // Two pages, as they should be.
    let mut b = Bench::new();
    map(&mut b, 0, 0x2000, 1);
    map(&mut b, 1, 0x3000, 1);
    write(&mut b, page(1) + 4, 5);
    write(&mut b, page(0) + 4, 6);
    let word = |b: &Bench, at: u64| b.gpu.vram().read_u32(VRAM_DATA + at + 4);
    assert_eq!((word(&b, 0x3000), word(&b, 0x2000)), (5, 6));
    b.clean();
    // The target is not aligned: well, unless the low bits are the page's.
    let mut b = Bench::new();
    map(&mut b, 0, 0x1000, 1);
    map(&mut b, 1, 0x2000, 1);
    write(&mut b, page(0) + 4, 5);
    assert_eq!((word(&b, 0), word(&b, 0x1000)), (0, 5));
    b.clean();
    let mut b = bench(0, &["fragment-base"], &[]);
    map(&mut b, 0, 0x1000, 1);
    map(&mut b, 1, 0x2000, 1);
    write(&mut b, page(0) + 4, 5);
    assert_eq!((word(&b, 0), word(&b, 0x1000)), (5, 0));
    assert!(b.gpu.log.take_violations().iter().any(|v| v.rule == "fragment"));
    // The second page is elsewhere.
    let mut b = Bench::new();
    map(&mut b, 0, 0x2000, 1);
    map(&mut b, 1, 0x8000, 1);
    write(&mut b, page(0), 5);
    assert!(b.broke("fragment").contains("2 pages"));
    // The last of a fragment larger than a block is missing.
    let mut b = Bench::new();
    (0..15).for_each(|n| map(&mut b, n, 0x1_0000 + n * 0x1000, 4));
    write(&mut b, page(0), 5);
    b.broke("fragment");
}

#[test]
fn system_pages_are_snooped() {
    let unsnooped = SYSTEM_RW & !(1 << 2);
    let mut b = Bench::new();
    let entry = b.gart_entry(DATA);
    b.gpu.vram().write_u64(entry, (BUS + DATA) | unsnooped);
    b.sdma_submit(0, &[5, lo(GART + DATA), hi(GART + DATA), 9]);
    b.run();
    assert!(b.broke("unsnooped").contains("vmid 0"));
    let broke = |b: &mut Bench| b.gpu.log.take_violations().iter().any(|v| v.rule == "unsnooped");
    for (strict, broken) in [(&[][..], false), (&["snoop-users"], true)] {
        let mut b = bench(0, strict, &[]);
        b.map(3, VA, (BUS + DATA) | unsnooped);
        write(&mut b, VA, 1);
        assert_eq!(broke(&mut b), broken);
        // What the kernel copies is users' memory, too.
        let mut b = bench(0, strict, &[]);
        let entry = b.gart_entry(DATA);
        b.gpu.vram().write_u64(entry, (BUS + DATA) | unsnooped);
        let (from, to) = (GART + DATA, GART + DATA + 0x1000);
        b.sdma_submit(0, &[1, 64, 0, lo(from), hi(from), lo(to), hi(to)]);
        b.run();
        assert_eq!(broke(&mut b), broken);
    }
}

#[test]
fn an_address_has_forty_bits() {
    // A bus address above 1 TiB, as a driver with a wider mask would get: it does not fit an entry.
    let high = 1 << 40;
    let mut b = Bench::new();
    b.map(3, VA, (high + BUS) | SYSTEM_RW);
    write(&mut b, VA, 1);
    b.gpu.log.settle(true);
    assert!(b.gpu.log.take_violations().iter().any(|v| v.rule == "pte-reserved"));
    // The last page below it is one like others.
    let mut b = Bench::new();
    b.gpu.host.map(
        high - 0x1000,
        std::sync::Arc::new(amdgpu_model::memory::Memory::anonymous("p", 4096).unwrap()),
    );
    b.map(3, VA, (high - 0x1000) | SYSTEM_RW);
    write(&mut b, VA, 1);
    assert_eq!(b.gpu.host.reach(high - 0x1000, false).unwrap().memory.read_u32(0), 1);
    b.clean();
}
