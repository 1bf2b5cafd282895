// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Address spaces: walks, permissions, faults, TLBs, and the host's memory.

mod bench;

use amdgpu_model::{
    config::Config,
    hdp::Hdp, //
};
use bench::*;

const VA: u64 = 0x0234_0000;

/// Fills a page of the host through vmid 3 at `va`, by an SDMA indirect buffer.
fn write_as_vmid_3(b: &mut Bench, va: u64, value: u32) {
    let ib = DATA + 0xf000;
    b.put(ib, &[2, lo(va), hi(va), 1, value, 0, 0, 0]);
    // The buffer itself is fetched in the same address space.
    b.map(3, 0x0800_0000, (BUS + ib) | SYSTEM_RW);
    b.sdma_ib(0, 3, 0x0800_0000, 8);
    b.sdma_submit(0, &[5, lo(GART + DATA + 0xe000), hi(GART), 1]);
    b.run();
}

#[test]
fn a_vmid_reaches_host_and_vram_through_two_levels() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    b.map(3, VA + 0x1000, (VRAM_DATA + 0x5000) | VRAM_RW);
    write_as_vmid_3(&mut b, VA + 8, 77);
    write_as_vmid_3(&mut b, VA + 0x1010, 78);
    assert_eq!(b.get(DATA + 8), 77);
    assert_eq!(b.gpu.vram().read_u32(VRAM_DATA + 0x5010), 78);
    b.clean();
}

#[test]
fn vmids_do_not_see_each_other() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    b.map(4, VA, (BUS + DATA + 0x1000) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 1);
    assert_eq!((b.get(DATA), b.get(DATA + 0x1000)), (1, 0));
    b.clean();
}

#[test]
fn faults_are_latched_redirected_and_reported_once() {
    let mut b = Bench::new();
    b.w("IH_VMID_0_LUT", 0);
    let pasid_reg = reg("IH_VMID_0_LUT") + 3;
    b.gpu.reg_write(pasid_reg, 0x8001);
    b.map(3, VA + 0x1000, (BUS + DATA) | 0x67);
    b.map(3, VA, 0);
    write_as_vmid_3(&mut b, VA + 0x24, 5);
    // Page invalid (bit 2), a write (bit 24), vmid 3 (bits 28:25).
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_ADDR"), (VA >> 12) as u32);
    let status = b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS");
    assert_eq!((status & 0xff, status >> 24 & 1, status >> 25 & 0xf), (4, 1, 3));
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_MCCLIENT").to_be_bytes(), *b"SDM0");
    assert_eq!(b.get(0x24), 5, "the write went to the default page");
    assert_eq!(b.msis(), 1);
    assert_eq!((b.get(IH_RING), b.get(IH_RING + 4)), (146, (VA >> 12) as u32));
    assert_eq!(b.get(IH_RING + 8), 3 << 8 | 0x8001 << 16);
    // A second fault elsewhere leaves the first latched, without interrupt.
    write_as_vmid_3(&mut b, VA + 0x9000, 6);
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_ADDR"), (VA >> 12) as u32);
    assert_eq!(b.get(IH_WPTR), 16);
    // Cleared, the next one is latched.
    b.w("VM_CONTEXT1_CNTL2", 5);
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS"), 0);
    write_as_vmid_3(&mut b, VA + 0x5000, 6);
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_ADDR"), ((VA + 0x5000) >> 12) as u32);
    b.clean();
}

#[test]
fn permissions_are_kept() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | 0x27);
    write_as_vmid_3(&mut b, VA, 9);
    let status = b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS");
    assert_eq!(status & 0xff, 1 << 4, "write protection");
    assert_eq!(b.get(DATA), 0);
    assert_eq!(b.get(IH_RING), 147);
    b.clean();
}

#[test]
fn an_address_beyond_the_end_is_a_range_fault() {
    let mut b = Bench::new();
    write_as_vmid_3(&mut b, 0xff_0000_0000, 9);
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS") & 0xff, 1);
    b.clean();
}

#[test]
fn a_fault_that_is_not_redirected_hangs_the_engine() {
    let mut b = Bench::new();
    let cntl = b.r("VM_CONTEXT1_CNTL");
    b.w("VM_CONTEXT1_CNTL", cntl & !(1 << 13 | 1 << 10));
    write_as_vmid_3(&mut b, VA, 9);
    assert!(b.gpu.hung(amdgpu_model::engine::EngineId::Sdma(0)).is_some());
    assert_eq!(b.job_error(), "engine-hang");
    b.clean();
}

#[test]
fn a_stale_translation_is_used_until_the_flush_and_reported() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 1);
    b.map(3, VA, (BUS + DATA + 0x1000) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 2);
    assert_eq!((b.get(DATA), b.get(DATA + 0x1000)), (2, 0), "the old page was written");
    assert!(b.broke("stale-tlb").contains("not flushed"));
    b.flush(3);
    write_as_vmid_3(&mut b, VA, 3);
    assert_eq!((b.get(DATA), b.get(DATA + 0x1000)), (2, 3));
    b.clean();
}

#[test]
fn an_invalid_neighbor_is_cached_with_its_block() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 1);
    b.map(3, VA + 0x3000, (BUS + DATA + 0x1000) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA + 0x3000, 2);
    assert_eq!(b.get(DATA + 0x1000), 0);
    assert_ne!(b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS"), 0);
    b.broke("stale-tlb");
}

#[test]
fn a_flush_of_another_vmid_does_not_help() {
    let mut b = Bench::new();
    b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 1);
    b.map(3, VA, (BUS + DATA + 0x1000) | SYSTEM_RW);
    b.flush(2);
    write_as_vmid_3(&mut b, VA, 2);
    b.broke("stale-tlb");
}

#[test]
fn reserved_bits_in_entries_are_reported() {
    for (bit, rule) in [(3, "pte-reserved"), (41, "pte-reserved")] {
        let mut b = Bench::new();
        b.map(3, VA, (BUS + DATA) | SYSTEM_RW | 1 << bit);
        write_as_vmid_3(&mut b, VA, 1);
        b.broke(rule);
    }
}

#[test]
fn memory_that_the_host_unmapped_is_not_reached() {
    let mut b = Bench::new();
    b.map(3, VA, 0x9000_0000 | SYSTEM_RW);
    write_as_vmid_3(&mut b, VA, 1);
    assert!(b.broke("dma-unmapped").contains("0x90000000"));
}

#[test]
fn no_dma_without_bus_mastering() {
    let mut b = Bench::new();
    b.gpu.config_write(4, &[2, 0]);
    b.w("SDMA0_CNTL", 1);
    b.sdma_submit(0, &[6]);
    b.run();
    // The ring reads as ones, so an illegal packet follows.
    let v = b.gpu.log.take_violations();
    assert_eq!(v[0].rule, "dma-without-bus-master");
    assert_eq!(b.msis(), 0);
}

#[test]
fn vram_ends() {
    let mut b = Bench::new();
    let past = FB + (64 << 20);
    // The system aperture as a careless driver would set it.
    b.w("MC_VM_SYSTEM_APERTURE_HIGH_ADDR", ((past >> 12) + 0x100) as u32);
    b.sdma_submit(0, &[5, lo(past), hi(past), 1]);
    b.run();
    b.broke("beyond-vram");
}

#[test]
fn vram_through_the_index_registers() {
    let mut b = Bench::new();
    b.w("MM_INDEX_HI", 0);
    b.w("MM_INDEX", (VRAM_DATA as u32) | 1 << 31);
    b.w("MM_DATA", 0x55aa);
    assert_eq!(b.gpu.vram().read_u32(VRAM_DATA), 0x55aa);
    assert_eq!(b.r("MM_DATA"), 0x55aa);
    b.clean();
}

#[test]
fn the_hosts_writes_to_vram_wait_for_the_flush() {
    let config =
        Config { vram: 64 << 20, visible: 64 << 20, hdp: Hdp::Strict, ..Config::default() };
    let mut b = Bench::with(config);
    let (src, dst) = (FB + VRAM_DATA, GART + DATA);
    let copy = [1, 64, 0, lo(src), hi(src), lo(dst), hi(dst)];
    b.gpu.vram().write_u32(VRAM_DATA, 0x1111);
    b.w("HDP_MEM_COHERENCY_FLUSH_CNTL", 1);
    b.sdma_submit(0, &copy);
    b.run();
    assert_eq!(b.get(DATA), 0x1111);
    b.clean();
    b.gpu.vram().write_u32(VRAM_DATA, 0x2222);
    b.sdma_submit(0, &copy);
    b.run();
    assert_eq!(b.get(DATA), 0x1111, "the engine does not see it yet");
    b.broke("hdp-stale");
    // What the engine writes, the host sees.
    b.sdma_submit(0, &[5, lo(src + 64), hi(src), 9]);
    b.run();
    assert_eq!(b.gpu.vram().read_u32(VRAM_DATA + 64), 9);
    b.clean();
}
