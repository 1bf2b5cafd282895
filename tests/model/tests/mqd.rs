// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Queue descriptors: what a queue is started with has to be in memory too.

mod bench;

use amdgpu_model::config::Config;
use bench::*;

const QUEUE: u64 = 2;
const PLACE: u64 = DESCRIPTORS + QUEUE * 0x400;
/// Dword of CP_MQD_BASE_ADDR.
const SAVED: u64 = 51;
/// A seed with which the queues power up with PRELOAD_REQ, and one without.
fn seed(asked: bool) -> u64 {
    (0..64).find(|seed| preloads(&Bench::with(config(*seed))) == asked).expect("seeds decide")
}

fn config(seed: u64) -> Config {
    Config { seed, vram: 64 << 20, visible: 64 << 20, ..Config::default() }
}

fn preloads(b: &Bench) -> bool {
    b.gpu.queue_register((1, 0, QUEUE as u8), reg("CP_HQD_PERSISTENT_STATE")) & 1 != 0
}

fn select(b: &mut Bench, on: bool) {
    b.w("SRBM_GFX_CNTL", if on { 1 << 2 | (QUEUE as u32) << 8 } else { 0 });
}

/// Takes the queue off, lets its descriptor be changed, and starts it again.
fn restart(b: &mut Bench, change: impl FnOnce(&mut Bench)) {
    select(b, true);
    b.w("CP_HQD_DEQUEUE_REQUEST", 1);
    while b.r("CP_HQD_ACTIVE") != 0 {}
    b.w("CP_HQD_PQ_RPTR", 0);
    b.w("CP_HQD_PQ_WPTR", 0);
    b.describe_queue(PLACE);
    change(b);
    b.w("CP_HQD_ACTIVE", 1);
    select(b, false);
}

#[test]
fn a_descriptor_is_read_and_written() {
    let mut b = Bench::new();
    select(&mut b, true);
    b.w("CP_HQD_DEQUEUE_REQUEST", 1);
    while b.r("CP_HQD_ACTIVE") != 0 {}
    let base = b.r("CP_HQD_PQ_BASE");
    let saved = PLACE + SAVED * 4;
    assert_eq!(b.get(saved), lo(GART + PLACE));
    assert_eq!(b.get(saved + 4 * u64::from(reg("CP_HQD_PQ_BASE") - reg("CP_MQD_BASE_ADDR"))), base);
    // Another driver takes the queue up by what is there.
    assert_eq!(
        b.get(saved + 4 * u64::from(reg("CP_HQD_DEQUEUE_REQUEST") - reg("CP_MQD_BASE_ADDR"))),
        0
    );
    b.clean();
    b.w("CP_MQD_BASE_ADDR", 0);
    b.w("CP_MQD_BASE_ADDR_HI", 0);
    b.w("CP_HQD_ACTIVE", 1);
    b.broke("descriptor");
}

#[test]
fn a_good_descriptor_is_no_violation() {
    for asked in [false, true] {
        let mut b = Bench::with(config(seed(asked)));
        restart(&mut b, |_| {});
        b.clean();
    }
}

#[test]
fn each_part_of_a_descriptor_is_checked() {
    for (dword, value) in [(0, 0), (23, 0), (27, 0), (SAVED + 8, 0x1234), (SAVED + 4, 1)] {
        let mut b = Bench::with(config(seed(false)));
        restart(&mut b, |b| b.put(PLACE + dword * 4, &[value]));
        b.broke("descriptor");
    }
}

#[test]
fn a_queue_that_preloads_zeros_is_dead() {
    for asked in [false, true] {
        let mut b = Bench::with(config(seed(asked)));
        restart(&mut b, |b| b.put(PLACE, &[0; 51]));
        b.broke("descriptor");
        b.compute_submit(
            QUEUE as usize,
            &pm4(0x37, &[5 << 8 | 1 << 20, lo(GART + DATA), hi(GART + DATA), 0x77]),
        );
        b.run();
        assert_eq!(b.get(DATA) == 0x77, !asked);
    }
}

#[test]
fn a_halted_engine_takes_no_queue_off() {
    for strict in [false, true] {
        let mut config = config(0);
        config.strict.switch("halted-dequeue", strict).unwrap();
        let mut b = Bench::with(config);
        b.w("CP_MEC_CNTL", 1 << 28 | 1 << 30);
        select(&mut b, true);
        b.w("CP_HQD_PQ_RPTR", 0x40);
        b.w("CP_HQD_DEQUEUE_REQUEST", 1);
        let left = (0..100).all(|_| b.r("CP_HQD_ACTIVE") != 0);
        assert_eq!(left, strict);
        // Nobody saved its registers: another driver may have prepared the descriptor for itself.
        assert_ne!(
            b.get(PLACE + 4 * (SAVED + u64::from(reg("CP_HQD_PQ_RPTR") - reg("CP_MQD_BASE_ADDR")))),
            0x40
        );
        b.clean();
    }
}

/// Has the queue wait in an indirect buffer for what does not come, or meet what does not exist,
/// and asks for it to be taken off. Returns whether it is.
fn take_off(b: &mut Bench, packets: &[u32]) -> bool {
    b.put(DATA + 0x100, packets);
    let control = packets.len() as u32 | 1 << 23;
    b.compute_submit(QUEUE as usize, &pm4(0x3f, &[lo(GART + DATA + 0x100), hi(GART), control]));
    b.run();
    select(b, true);
    b.w("CP_HQD_DEQUEUE_REQUEST", 2);
    let off = (0..100).any(|_| b.r("CP_HQD_ACTIVE") == 0);
    select(b, false);
    off
}

/// A wait for what does not come.
fn wait() -> Vec<u32> {
    pm4(0x3c, &[3 | 1 << 4, lo(GART + DATA), hi(GART), 0xdead, !0, 4])
}

#[test]
fn a_queue_goes_on_where_it_was_taken_off_unless_told_not_to() {
    let store = pm4(0x37, &[5 << 8 | 1 << 20, lo(GART + DATA), hi(GART + DATA), 0x77]);
    for told in [true, false] {
        let mut b = Bench::with(config(0));
        assert!(take_off(&mut b, &wait()));
        b.clean();
        select(&mut b, true);
        if told {
            b.w("CP_HQD_IB_CONTROL", 0);
        }
        // Behind the packet that called the buffer.
        b.w("CP_HQD_PQ_RPTR", 4);
        b.w("CP_HQD_PQ_WPTR", 4);
        b.describe_queue(PLACE);
        b.w("CP_HQD_ACTIVE", 1);
        select(&mut b, false);
        if told {
            b.clean();
        } else {
            b.broke("old-buffer");
        }
        b.compute_submit(QUEUE as usize, &store);
        b.run();
        assert_eq!(b.get(DATA) == 0x77, told);
    }
}

#[test]
fn an_engine_that_does_not_respond_takes_no_queue_off() {
    let mut b = Bench::with(config(0));
    assert!(!take_off(&mut b, &pm4(0xfe, &[0])));
    b.broke("illegal-packet");
    let mut config = config(0);
    config.inject.add("no-dequeue").unwrap();
    let mut b = Bench::with(config);
    assert!(!take_off(&mut b, &wait()));
    b.clean();
}

#[test]
fn queues_are_taken_off_before_the_engine_is_halted() {
    let mut config = config(0);
    config.strict.switch("left-active", true).unwrap();
    let mut b = Bench::with(config);
    for queue in 0..8 {
        b.w("SRBM_GFX_CNTL", 1 << 2 | queue << 8);
        b.w("CP_HQD_DEQUEUE_REQUEST", 1);
        while b.r("CP_HQD_ACTIVE") != 0 {}
        b.clean();
        if queue == 6 {
            b.w("CP_MEC_CNTL", 1 << 28 | 1 << 30);
            b.broke("left-active");
            b.w("CP_MEC_CNTL", 0);
        }
    }
    b.w("CP_MEC_CNTL", 1 << 28 | 1 << 30);
    b.clean();
}

#[test]
fn another_driver_may_have_left_queues_active() {
    let mut config = config(0);
    config.inject.add("active-queues").unwrap();
    config.strict.switch("halted-dequeue", true).unwrap();
    let mut gpu = amdgpu_model::gpu::Gpu::new(config).unwrap();
    let active =
        |gpu: &mut amdgpu_model::gpu::Gpu| gpu.queue_register((1, 0, 5), reg("CP_HQD_ACTIVE"));
    assert_eq!(active(&mut gpu), 1);
    // SOFT_RESET_CP
    gpu.reg_write(reg("GRBM_SOFT_RESET"), 1);
    gpu.reg_write(reg("GRBM_SOFT_RESET"), 0);
    assert_eq!(active(&mut gpu), 0);
}
