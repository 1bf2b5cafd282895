// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Rules that a wrong driver breaks, each shown to be noticed; and interrupts, and injected faults.

mod bench;

use amdgpu_model::{
    config::Config,
    control,
    engine::{
        EngineId,
        Step, //
    },
    gpu::Gpu,
    memory::Memory, //
};
use bench::*;

fn config(faults: &[&str]) -> Config {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    faults.iter().for_each(|f| c.inject.add(f).unwrap());
    c
}

#[test]
fn unknown_registers_name_themselves() {
    let mut b = Bench::new();
    b.gpu.reg_write(0xfffe, 1);
    assert!(b.broke("unknown-register").contains("0xfffe"));
    assert_eq!(b.gpu.reg_read(0xfffd), 0);
    b.broke("unknown-register");
}

#[test]
fn undefined_bits_name_themselves() {
    let mut b = Bench::new();
    b.w("SRBM_GFX_CNTL", 1 << 31);
    assert!(b.broke("reserved-bits").contains("0x80000000"));
}

#[test]
fn read_only_registers_stay() {
    let mut b = Bench::new();
    b.w("CONFIG_MEMSIZE", 1);
    assert!(b.broke("read-only").contains("CONFIG_MEMSIZE"));
    assert_eq!(b.r("CONFIG_MEMSIZE"), 64);
}

#[test]
fn unknown_packets_stop_their_engine_and_interrupt() {
    let mut b = Bench::new();
    b.gfx_submit(&pm4(0xfe, &[0]));
    b.run();
    assert!(b.broke("illegal-packet").contains("opcode 0xfe unknown"));
    assert!(b.gpu.hung(EngineId::Gfx).is_some());
    assert_eq!(b.get(IH_RING), 183);
    b.w("SCRATCH_REG0", 0);
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.run();
    assert_eq!(b.r("SCRATCH_REG0"), 0, "it stays stopped");
    assert_ne!(b.r("GRBM_STATUS") & 1 << 31, 0, "and busy");
    b.sdma_submit(1, &[0x33]);
    b.run();
    b.broke("illegal-packet");
    assert_eq!(b.get(IH_RING + 16), 247);
}

#[test]
fn a_write_pointer_inside_a_packet_is_noticed() {
    let mut b = Bench::new();
    b.gfx_submit(&pm4(0x79, &[0x40, 1])[..2]);
    b.run();
    let v = b.gpu.log.take_violations();
    assert!(v.iter().any(|v| v.rule == "packet-overrun"));
    assert!(
        v[0].history.iter().any(|h| h.contains("CP_RB0_WPTR")),
        "the history tells the register"
    );
}

#[test]
fn a_driver_may_not_copy_more_than_the_count_can_say() {
    let mut b = Bench::new();
    let (from, to) = (GART + DATA, GART + DATA + 0x100);
    b.sdma_submit(0, &[1, 1 << 21, 0, lo(from), hi(from), lo(to), hi(to)]);
    b.run();
    assert!(b.broke("illegal-packet").contains("more than 21 bits"));
    b.sdma_submit(1, &[11, lo(to), hi(to), 0, 1 << 21]);
    b.run();
    assert!(b.broke("illegal-packet").contains("more than 21 bits"));
}

#[test]
fn a_user_copies_what_the_count_does_say() {
    let mut b = Bench::new();
    b.put(DATA, &[11, 22, 33]);
    b.map(2, 0x1000, (BUS + DATA) | SYSTEM_RW);
    b.put(DATA + 0x100, &[1, 1 << 22 | 4, 0, 0x1000, 0, 0x1008, 0, 0]);
    b.sdma_ib(0, 2, 0x1100, 8);
    assert_eq!(b.run(), Step::Idle);
    assert_eq!((b.get(DATA + 4), b.get(DATA + 8)), (22, 11));
    b.clean();
}

#[test]
fn users_may_not_write_privileged_registers() {
    let mut b = Bench::new();
    b.put(DATA, &pm4(0x37, &[0, reg("VM_INVALIDATE_REQUEST"), 0, 2]));
    b.map(2, 0x1000, (BUS + DATA) | SYSTEM_RW);
    b.gfx_submit(&pm4(0x3f, &[0x1000, 0, 5 | 2 << 24]));
    b.run();
    assert_eq!(b.job_error(), "privilege");
    assert_eq!(b.get(IH_RING), 184);
    assert!(b.gpu.hung(EngineId::Gfx).is_some());
    // By SDMA: POLL_REG_MEM, operation 1.
    let (polled, written) = (reg("SCRATCH_REG0") * 4, reg("VM_INVALIDATE_REQUEST") * 4);
    b.put(DATA, &[8 | 1 << 26 | 3 << 28, polled, written, 4, 4, 0xfff << 16, 0, 0]);
    b.sdma_ib(1, 2, 0x1000, 8);
    b.run();
    assert_eq!(b.job_error(), "privilege");
    assert_eq!((b.r("VM_INVALIDATE_REQUEST"), b.get(IH_RING + 16)), (0, 247));
    b.clean();
}

#[test]
fn what_a_user_says_wrong_is_the_users_error() {
    let bad = pm4(0xfe, &[0]);
    let cut = pm4(0x79, &[0x40, 1]);
    let unknown = pm4(0x79, &[0x1fff, 1]);
    for (commands, len, rule) in [
        (&bad, 2, "illegal-packet"),
        (&cut, 2, "packet-overrun"),
        (&unknown, 3, "unknown-register"),
    ] {
        let mut b = Bench::new();
        b.put(DATA, commands);
        b.map(2, 0x1000, (BUS + DATA) | SYSTEM_RW);
        b.gfx_submit(&pm4(0x3f, &[0x1000, 0, len | 2 << 24]));
        b.run();
        let errors = b.gpu.log.job_errors();
        assert!(errors.contains_key(rule), "{rule}: {:?}", errors.keys());
        b.clean();
        // In the kernel's own buffers the same is the driver's fault.
        let mut b = Bench::new();
        b.put(DATA, commands);
        b.gfx_submit(&pm4(0x3f, &[lo(GART + DATA), hi(GART + DATA), len]));
        b.run();
        assert!(b.gpu.log.take_violations().iter().any(|v| v.rule == rule), "{rule}");
    }
}

#[test]
fn a_users_bad_opcode_is_an_illegal_instruction() {
    let mut b = Bench::new();
    b.put(DATA, &pm4(0xfe, &[0]));
    b.map(2, 0x1000, (BUS + DATA) | SYSTEM_RW);
    // As drivers have it: bad opcodes are not reported, illegal instructions are.
    b.w("CP_INT_CNTL_RING0", 1 << 26 | 1 << 22 | 1 << 23);
    b.gfx_submit(&pm4(0x3f, &[0x1000, 0, 2 | 2 << 24]));
    b.run();
    assert_eq!((b.get(IH_RING), b.get(IH_RING + 8) >> 8 & 0xff), (185, 2));
    assert_eq!(b.get(IH_WPTR), 16);
    b.clean();
}

#[test]
fn ring_and_microcode_are_left_alone_while_running() {
    let mut b = Bench::new();
    b.w("SDMA0_UCODE_DATA", 0);
    b.broke("ucode-while-running");
    b.sdma_submit(
        0,
        &[8 | 3 << 28 | 1 << 31, lo(GART + DATA), hi(GART + DATA), 5, 0xff, 0xfff << 16],
    );
    b.run();
    b.w("SDMA0_GFX_RB_BASE", 0);
    b.broke("ring-moved");
    b.w("SRBM_GFX_CNTL", 1 << 2);
    b.w("CP_HQD_PQ_BASE", 0);
    b.broke("ring-moved");
}

#[test]
fn engines_need_their_microcode() {
    for cntl in ["CP_ME_CNTL", "CP_MEC_CNTL", "SDMA0_F32_CNTL", "SDMA1_F32_CNTL"] {
        let mut gpu = Gpu::new(config(&[])).unwrap();
        gpu.reg_write(reg(cntl), 0);
        let v = gpu.log.take_violations();
        assert_eq!(v.iter().map(|v| v.rule).collect::<Vec<_>>(), ["no-microcode"], "{cntl}");
    }
}

#[test]
fn queue_registers_need_a_selected_queue() {
    let mut b = Bench::new();
    b.w("CP_HQD_PQ_BASE", 0);
    b.broke("wrong-bank");
}

#[test]
fn selected_banks_are_put_back() {
    let mut b = Bench::new();
    b.w("SRBM_GFX_CNTL", 3 << 4);
    b.sdma_submit(0, &[6]);
    assert!(b.broke("bank-left").contains("0x30"));
    b.w("SRBM_GFX_CNTL", 0);
    b.w("GRBM_GFX_INDEX", 0);
    b.gfx_submit(&[0xffff_1000]);
    b.broke("bank-left");
}

#[test]
fn doorbells_belong_to_queues() {
    let mut b = Bench::new();
    b.gpu.doorbell(0x800, 1);
    b.broke("doorbell");
}

#[test]
fn sdma_indirect_buffers_end_on_eight() {
    let mut b = Bench::new();
    b.put(DATA, &[0; 8]);
    b.sdma_submit(0, &[4, lo(GART + DATA), hi(GART + DATA), 8]);
    b.run();
    b.broke("sdma-ib-alignment");
}

#[test]
fn interrupts_are_rearmed_by_the_read_pointer() {
    let mut b = Bench::new();
    for _ in 0..3 {
        b.sdma_submit(0, &[6]);
        b.run();
    }
    assert_eq!((b.msis(), b.get(IH_WPTR)), (1, 48));
    b.w("IH_RB_RPTR", 48);
    assert_eq!(b.msis(), 1, "no vector is left");
    b.sdma_submit(0, &[6]);
    b.run();
    assert_eq!(b.msis(), 2);
    b.clean();
}

#[test]
fn the_interrupt_ring_overflows() {
    let mut b = Bench::new();
    for _ in 0..256 {
        b.sdma_submit(0, &[6]);
        b.run();
    }
    assert_eq!(b.get(IH_WPTR) & 1, 1, "overflow flag in the write pointer");
    let cntl = b.r("IH_RB_CNTL");
    b.w("IH_RB_CNTL", cntl | 1 << 31);
    b.w("IH_RB_RPTR", b.get(IH_WPTR) & !1);
    b.sdma_submit(0, &[6]);
    b.run();
    assert_eq!(b.get(IH_WPTR) & 1, 0);
    b.clean();
}

#[test]
fn traps_are_silent_unless_enabled() {
    let mut b = Bench::new();
    b.w("SDMA0_CNTL", 0);
    b.sdma_submit(0, &[6]);
    b.w("CP_INT_CNTL_RING0", 0);
    b.gfx_submit(&pm4(0x47, &[0x514, lo(GART + DATA), hi(GART + DATA) | 1 << 29 | 2 << 24, 8, 0]));
    b.run();
    assert_eq!((b.get(DATA), b.msis()), (8, 0));
    b.clean();
}

#[test]
fn injected_faults_do_what_they_say() {
    let mut b = Bench::with(config(&["ring-gfx", "no-interrupt", "hang-sdma1=1"]));
    b.w("SCRATCH_REG0", 3);
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.sdma_submit(0, &[6]);
    b.put(DATA, &[0; 8]);
    b.sdma_ib(1, 0, GART + DATA, 8);
    b.run();
    assert_eq!((b.r("SCRATCH_REG0"), b.msis(), b.get(IH_WPTR)), (3, 0, 16));
    assert_eq!(b.gpu.hung(EngineId::Sdma(1)), None, "the first buffer passes");
    b.sdma_ib(1, 0, GART + DATA, 8);
    b.sdma_submit(1, &[5, lo(GART + DATA), hi(GART + DATA), 1]);
    b.run();
    assert!(b.gpu.hung(EngineId::Sdma(1)).is_some());
    assert_eq!(b.get(DATA), 0);
    b.clean();

    let b = Bench::with(config(&["not-posted"]));
    assert_eq!(b.gpu.peek(reg("BIOS_SCRATCH_7")) & 0x200, 0);
    let mut b = Bench::with(config(&["unplugged"]));
    assert_eq!(b.r("CONFIG_MEMSIZE"), !0);
}

#[test]
fn a_slow_engine_takes_its_time() {
    let mut b = Bench::with(config(&["slow-sdma=30"]));
    b.put(DATA, &[0; 8]);
    let start = std::time::Instant::now();
    b.sdma_ib(0, 0, GART + DATA, 8);
    b.sdma_submit(0, &[5, lo(GART + DATA + 64), hi(GART + DATA), 1]);
    assert_eq!(b.run(), Step::Waiting);
    while b.get(DATA + 64) == 0 {
        b.run();
    }
    assert!(start.elapsed().as_millis() >= 30);
    b.clean();
}

#[test]
fn the_control_socket_holds_and_tells() {
    let mut b = Bench::new();
    assert_eq!(control::command(&mut b.gpu, "hold gfx"), "ok");
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.run();
    assert!(control::command(&mut b.gpu, "status").contains("gfx=held, busy"));
    for word in ["hold", "release", "fail", "status", "violations", "job-errors"] {
        assert!(control::command(&mut b.gpu, "help").contains(word));
    }
    assert_eq!(control::command(&mut b.gpu, "job-errors"), "0");
    assert_eq!(control::command(&mut b.gpu, "release gfx"), "ok");
    b.run();
    assert!(control::command(&mut b.gpu, "status").contains("gfx=idle"));
    assert!(control::command(&mut b.gpu, "hold x").starts_with("error"));
    assert!(control::command(&mut b.gpu, "dance").starts_with("error"));
}

/// A page of its own on the bus, apart from the bench's memory.
const PAGE_BUS: u64 = 0x9000_0000;
const VA: u64 = 0x0234_0000;
/// Place of the jobs' commands, in every address space.
const IB: u64 = 0x0800_0000;

fn map_page(b: &mut Bench) {
    b.gpu.host.map(PAGE_BUS, std::sync::Arc::new(Memory::anonymous("page", 4096).unwrap()));
}

/// A job on sdma0 that polls the word at `va` until it is 1, and then its fence.
fn polling_job(b: &mut Bench, vmid: u32, va: u64) {
    let poll = 8 | 3 << 28 | 1 << 31;
    b.put(DATA, &[poll, lo(va), hi(va), 1, !0, 0xfff << 16, 0, 0]);
    b.map(vmid, IB, (BUS + DATA) | SYSTEM_RW);
    b.sdma_ib(0, vmid, IB, 8);
    b.sdma_submit(0, &[5, lo(GART + DATA + 0x100), hi(GART + DATA), 7]);
    assert_eq!(b.run(), Step::Waiting);
}

#[test]
fn a_page_stays_while_a_job_can_reach_it() {
    // The job polls the page: the TLB tells. Or it polls another one: the page table tells.
    for (polled, place) in [(VA, "TLB"), (VA + 0x1_0000, "page table")] {
        let mut b = Bench::new();
        map_page(&mut b);
        b.map(3, VA, PAGE_BUS | SYSTEM_RW);
        b.map(3, VA + 0x1_0000, (BUS + DATA + 0x1000) | SYSTEM_RW);
        polling_job(&mut b, 3, polled);
        b.clean();
        b.gpu.unmap(PAGE_BUS, 4096);
        let what = b.broke("unmap-in-use");
        assert!(
            what.contains("sdma0 runs a job: vmid 3 va 0x2340000") && what.contains(place),
            "{what}"
        );
    }
}

#[test]
fn a_cleared_entry_is_reached_until_the_flush() {
    let mut b = Bench::new();
    map_page(&mut b);
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    polling_job(&mut b, 3, VA);
    b.map(3, VA, 0);
    b.gpu.unmap(PAGE_BUS, 4096);
    assert!(b.broke("unmap-in-use").contains("in the TLB"));

    let mut b = Bench::new();
    map_page(&mut b);
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    polling_job(&mut b, 3, VA);
    b.map(3, VA, 0);
    b.flush(3);
    // Not a thing to do under a running job; but now nothing leads to the page.
    b.broke("vmid-in-use");
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
}

#[test]
fn a_page_may_go_when_no_job_can_reach_it() {
    let mut b = Bench::new();
    map_page(&mut b);
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    b.map(4, VA, (BUS + DATA + 0x1000) | SYSTEM_RW);
    // Another address space's job.
    polling_job(&mut b, 4, VA);
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
    b.put(DATA + 0x1000, &[1]);
    b.run();
    // One that is over.
    map_page(&mut b);
    b.gpu.host.reach(PAGE_BUS, true).unwrap().memory.write_u32(0, 1);
    b.put(DATA, &[8 | 3 << 28 | 1 << 31, lo(VA), hi(VA), 1, !0, 0xfff << 16, 0, 0]);
    b.map(3, IB, (BUS + DATA) | SYSTEM_RW);
    b.sdma_ib(0, 3, IB, 8);
    b.sdma_submit(0, &[5, lo(GART + DATA + 0x100), hi(GART + DATA), 8]);
    assert_eq!((b.run(), b.get(DATA + 0x100)), (Step::Idle, 8));
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
    // One whose engine was stopped.
    map_page(&mut b);
    b.flush(3);
    polling_job(&mut b, 3, VA);
    b.w("SDMA0_F32_CNTL", 1);
    b.settle();
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
}

#[test]
fn a_job_runs_until_its_end_of_pipe() {
    let mut b = Bench::new();
    map_page(&mut b);
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    // Its own end-of-pipe write ends nothing.
    let eop = |to: u64| pm4(0x47, &[0x514, lo(to), hi(to) | 1 << 29, 1, 0]);
    let mut commands = eop(VA);
    commands.extend(pm4(0x3c, &[3 | 1 << 4, lo(VA), hi(VA), 2, !0, 10]));
    b.put(DATA, &commands);
    b.map(3, IB, (BUS + DATA) | SYSTEM_RW);
    b.gfx_submit(&pm4(0x3f, &[lo(IB), hi(IB), commands.len() as u32 | 3 << 24]));
    b.gfx_submit(&eop(GART + DATA + 0x100));
    assert_eq!(b.run(), Step::Waiting);
    b.gpu.unmap(PAGE_BUS, 4096);
    assert!(b.broke("unmap-in-use").contains("gfx runs a job: vmid 3"));

    map_page(&mut b);
    b.gpu.host.reach(PAGE_BUS, true).unwrap().memory.write_u32(0, 2);
    b.flush(3);
    b.broke("vmid-in-use");
    while b.get(DATA + 0x100) == 0 {
        b.gpu.step();
    }
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
}

#[test]
fn a_bus_address_that_was_mapped_again_is_another_page() {
    let mut b = Bench::new();
    map_page(&mut b);
    b.map(3, VA, PAGE_BUS | SYSTEM_RW);
    polling_job(&mut b, 3, VA);
    b.gpu.host.reach(PAGE_BUS, true).unwrap().memory.write_u32(0, 1);
    assert_eq!(b.run(), Step::Idle);
    b.gpu.unmap(PAGE_BUS, 4096);
    // The same bus address, and the same entry: but not the same page.
    map_page(&mut b);
    polling_job(&mut b, 3, VA);
    assert!(b.broke("stale-tlb").contains("the host unmapped the page"));
    b.gpu.host.reach(PAGE_BUS, true).unwrap().memory.write_u32(0, 1);
    b.run();
    b.gpu.log.take_violations();
    b.flush(3);
    b.gpu.host.reach(PAGE_BUS, true).unwrap().memory.write_u32(0, 0);
    polling_job(&mut b, 3, VA);
    b.clean();
}

#[test]
fn the_kernels_pages_stay_as_long_as_they_are_mapped() {
    let mut b = Bench::new();
    map_page(&mut b);
    let entry = b.gart_entry(DATA);
    let window = GART + DATA;
    b.gpu.vram().write_u64(entry, PAGE_BUS | SYSTEM_RW);
    b.flush(0);
    b.sdma_submit(0, &[5, lo(window), hi(window), 9]);
    b.run();
    b.gpu.unmap(PAGE_BUS, 4096);
    assert!(b.broke("unmap-in-use").contains("vmid 0 va 0xff00100000"));
    // Cleared, but not flushed.
    map_page(&mut b);
    b.gpu.vram().write_u64(entry, PAGE_BUS | SYSTEM_RW);
    b.flush(0);
    b.sdma_submit(0, &[5, lo(window), hi(window), 9]);
    b.run();
    b.gpu.vram().write_u64(entry, 0);
    b.gpu.unmap(PAGE_BUS, 4096);
    b.broke("unmap-in-use");
    // As it should be.
    map_page(&mut b);
    b.gpu.vram().write_u64(entry, PAGE_BUS | SYSTEM_RW);
    b.flush(0);
    b.sdma_submit(0, &[5, lo(window), hi(window), 9]);
    b.run();
    b.gpu.vram().write_u64(entry, 0);
    b.flush(0);
    b.gpu.unmap(PAGE_BUS, 4096);
    b.clean();
}

#[test]
fn a_machine_that_is_switched_off_unmaps_what_it_likes() {
    let mut b = Bench::new();
    b.sdma_submit(0, &[5, lo(GART + DATA), hi(GART + DATA), 9]);
    b.run();
    b.gpu.unmap(BUS, RAM);
    b.gpu.log.settle(false);
    b.clean();
    // One that goes on must not.
    b.gpu.host.map(BUS, b.ram.clone());
    b.flush(0);
    b.sdma_submit(0, &[5, lo(GART + DATA), hi(GART + DATA), 9]);
    b.run();
    b.gpu.unmap(BUS, RAM);
    b.w("SCRATCH_REG0", 0);
    assert!(
        b.gpu.log.violations().iter().all(|v| v.rule == "unmap-in-use" && !v.history.is_empty())
    );
    b.broke("unmap-in-use");
}
