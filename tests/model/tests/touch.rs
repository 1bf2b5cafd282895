// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Addresses that are handed over are used.

mod bench;

use amdgpu_model::memory::Memory;
use bench::*;

const GONE: u64 = 0x9000_0000;

fn eop(b: &mut Bench, at: u64) {
    b.compute_submit(1, &pm4(0x49, &[0x514, 1 << 29, lo(at), hi(at), 5, 0]));
    b.run();
}

/// Lets the GART's page at `at` lead to a page of its own, and takes that away again.
fn freed(b: &mut Bench, at: u64) {
    let entry = b.gart_entry(at);
    b.gpu.host.map(GONE, std::sync::Arc::new(Memory::anonymous("page", 4096).unwrap()));
    b.gpu.vram().write_u64(entry, GONE | SYSTEM_RW);
    b.flush(0);
    b.gpu.host.unmap(GONE, 4096);
}

#[test]
fn end_of_pipe_events_pass_through_the_ring_of_their_pipe() {
    let mut b = Bench::new();
    let ring = |b: &Bench| (0..128).map(|n| b.get(EOP_RING + n * 4)).collect::<Vec<_>>();
    for n in 1..=20 {
        eop(&mut b, GART + DATA);
        let used = ring(&b).iter().rposition(|d| *d != 0).unwrap_or(0);
        assert!(
            used < 64.min(n * 8) && used + 8 >= 64.min(n * 8),
            "{n} events: up to dword {used}"
        );
    }
    b.clean();
    freed(&mut b, EOP_RING);
    eop(&mut b, GART + DATA);
    b.broke("dma-unmapped");
    let mut b = Bench::new();
    b.w("SRBM_GFX_CNTL", 1 << 2);
    b.w("CP_HPD_EOP_BASE_ADDR", 0);
    b.w("CP_HPD_EOP_BASE_ADDR_HI", 0);
    b.w("SRBM_GFX_CNTL", 0);
    eop(&mut b, GART + DATA);
    b.broke("eop-ring");
}

#[test]
fn pages_for_dummy_reads_and_stray_accesses_are_used() {
    let interrupts = |b: &mut Bench| {
        for _ in 0..64 {
            b.sdma_submit(0, &[6]);
            b.run();
        }
    };
    let mut b = Bench::new();
    b.w("INTERRUPT_CNTL2", lo((BUS + DATA) >> 8));
    let page = VRAM_DATA + 0x1000;
    b.w("MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR", lo((FB + page) >> 12));
    interrupts(&mut b);
    assert!((0..512).any(|n| b.gpu.vram().read_u64(page + n * 8) != 0));
    assert!((0..512).all(|n| b.gpu.vram().read_u64(page + 0x1000 + n * 8) == 0));
    b.clean();
    b.w("INTERRUPT_CNTL2", lo(GONE >> 8));
    interrupts(&mut b);
    assert!(b.broke("dma-unmapped").contains("0x90000000"));
}
