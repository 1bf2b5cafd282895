// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The global data share: each VMID has the part that its registers say.

mod bench;

use bench::*;

const CP_SYNC: u32 = 1 << 31;
const TO_SHARE: u32 = 1 << 20;
const FROM_SHARE: u32 = 1 << 29;
const IB: u64 = 0x0800_0000;
const VA: u64 = 0x0234_0000;

/// Gives a VMID a part of the data share.
fn give(b: &mut Bench, vmid: u32, base: u32, size: u32) {
    b.w(&format!("GDS_VMID{vmid}_BASE"), base);
    b.w(&format!("GDS_VMID{vmid}_SIZE"), size);
}

/// DMA_DATA; addresses in the share are offsets.
fn dma(select: u32, from: u64, to: u64, bytes: u32) -> Vec<u32> {
    pm4(0x50, &[select | CP_SYNC, lo(from), hi(from), lo(to), hi(to), bytes])
}

/// What ends a job.
fn fence() -> Vec<u32> {
    let at = GART + DATA + 0x800;
    pm4(0x47, &[0x514, lo(at), hi(at) | 1 << 29, 1, 0])
}

/// Runs commands as a job of a VMID, to which the host's data is mapped at [`VA`].
fn job(b: &mut Bench, vmid: u32, commands: &[u32]) {
    b.map(vmid, VA, (BUS + DATA) | SYSTEM_RW);
    b.put(DATA + 0x1000, commands);
    b.map(vmid, IB, (BUS + DATA + 0x1000) | SYSTEM_RW);
    let call = pm4(0x3f, &[lo(IB), hi(IB), commands.len() as u32 | vmid << 24]);
    b.gfx_submit(&[call, fence()].concat());
    b.settle();
    b.clean();
}

/// What a VMID reads of its part, at offsets from 0 to 0x20.
fn seen(b: &mut Bench, vmid: u32) -> [u32; 8] {
    b.put(DATA, &[!0; 8]);
    job(b, vmid, &dma(FROM_SHARE, 0, VA, 0x20));
    std::array::from_fn(|n| b.get(DATA + 4 * n as u64))
}

#[test]
fn a_vmid_reaches_its_part() {
    let mut b = Bench::new();
    give(&mut b, 3, 0x100, 0x10);
    give(&mut b, 4, 0x110, 0x10);
    b.put(DATA, &[1, 2, 3, 4, 5, 6, 7, 8]);
    job(&mut b, 3, &dma(TO_SHARE, VA, 0, 0x20));
    let arbitrary = 0xa5a5_a5a5;
    assert_eq!(seen(&mut b, 3), [1, 2, 3, 4, 0, 0, 0, 0]);
    assert_eq!(seen(&mut b, 4), [arbitrary, arbitrary, arbitrary, arbitrary, 0, 0, 0, 0]);
    // The same bytes through another VMID, or the kernel.
    give(&mut b, 4, 0x104, 8);
    assert_eq!(seen(&mut b, 4), [2, 3, 0, 0, 0, 0, 0, 0]);
    b.gfx_submit(&dma(FROM_SHARE, 0x108, GART + DATA, 4));
    b.settle();
    assert_eq!(b.get(DATA), 3);
    // A fill.
    b.compute_submit(0, &dma(TO_SHARE | 2 << 29, 9, 0x100, 8));
    b.settle();
    b.clean();
    assert_eq!(seen(&mut b, 3), [9, 9, 3, 4, 0, 0, 0, 0]);
    // Nobody has anything at first.
    assert_eq!(seen(&mut b, 5), [0; 8]);
}

#[test]
fn what_is_not_aligned_is_illegal() {
    for packet in [dma(TO_SHARE, GART + DATA, 2, 4), dma(FROM_SHARE, 0, GART + DATA, 6)] {
        let mut b = Bench::new();
        b.gfx_submit(&packet);
        b.settle();
        assert!(!b.gpu.log.take_violations().is_empty());
    }
}

#[test]
fn parts_are_not_changed_under_a_job() {
    for register in ["GDS_VMID3_BASE", "GDS_VMID3_SIZE", "GDS_GWS_VMID3", "GDS_OA_VMID3"] {
        for vmid in [3, 4] {
            let mut b = Bench::new();
            // A job that waits for memory.
            b.map(3, VA, (BUS + DATA) | SYSTEM_RW);
            b.put(DATA, &[0]);
            b.put(DATA + 0x1000, &pm4(0x3c, &[3 | 1 << 4, lo(VA), hi(VA), 1, !0, 4]));
            b.map(3, IB, (BUS + DATA + 0x1000) | SYSTEM_RW);
            b.gfx_submit(&[pm4(0x3f, &[lo(IB), hi(IB), 7 | 3 << 24]), fence()].concat());
            b.run();
            let register = register.replace('3', &vmid.to_string());
            let packet = pm4(0x37, &[0, reg(&register), 0, 4]);
            b.compute_submit(0, &packet);
            b.run();
            let broken = b.gpu.log.take_violations();
            let found = broken
                .iter()
                .any(|v| v.rule == "vmid-in-use" && v.what.contains("vmid 3 runs a job on gfx"));
            assert_eq!(found, vmid == 3, "{register}");
            b.put(DATA, &[1]);
            b.settle();
        }
    }
}
