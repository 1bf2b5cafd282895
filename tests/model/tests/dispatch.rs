// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Compute dispatches on the gfx ring and the compute queues, through page tables.

mod bench;
#[path = "../shader/tests/common/vector_add.rs"]
mod vector_add;

use amdgpu_model::{
    config::{
        Cache,
        Config, //
    },
    engine::{
        Block,
        EngineId,
        Step, //
    }, //
};
use bench::{
    BUS,
    Bench,
    DATA,
    GART,
    SYSTEM_RW,
    VRAM_DATA,
    VRAM_RW,
    hi,
    lo,
    pm4, //
};
use vector_add::VECTOR_ADD;

const SET_SH_REG: u32 = 0x76;
const DISPATCH_DIRECT: u32 = 0x15;
const DISPATCH_INDIRECT: u32 = 0x16;
const SET_BASE: u32 = 0x11;
const SET_UCONFIG_REG: u32 = 0x79;
const INDIRECT_BUFFER: u32 = 0x3f;
const WRITE_DATA: u32 = 0x37;

/// Address space of the jobs.
const VMID: u32 = 2;
/// Places in it: code and buffers, a page each.
const CODE: u64 = 0x10_0000;
const A: u64 = 0x20_0000;
const B: u64 = 0x20_1000;
const OUT: u64 = 0x20_2000;
const ARGUMENTS: u64 = 0x20_3000;
const COMMANDS: u64 = 0x20_4000;

/// s_branch to itself.
const ENDLESS: &[u32] = &[0xbf82_ffff];

/// Maps the pages of the jobs: code and `a` in VRAM, the rest in the host's memory.
fn space(b: &mut Bench, program: &[u32]) {
    b.map(VMID, CODE, (VRAM_DATA & !0xfff) | VRAM_RW);
    b.map(VMID, A, (VRAM_DATA + 0x1000) | VRAM_RW);
    for (n, va) in (1..).zip([B, OUT, ARGUMENTS, COMMANDS]) {
        b.map(VMID, va, (BUS + DATA + n * 0x1000) | SYSTEM_RW);
    }
    b.flush(VMID);
    for (n, word) in (0..).zip(program) {
        b.gpu.vram().write_u32(VRAM_DATA + n * 4, *word);
    }
    for n in 0..512u64 {
        b.gpu.vram().write_u32(VRAM_DATA + 0x1000 + n * 4, (n as f32).to_bits());
        b.put(DATA + 0x1000 + n * 4, &[(n as f32 * 0.5).to_bits()]);
    }
    b.put(DATA + 0x3000, &[lo(A), hi(A), lo(B), hi(B), lo(OUT), hi(OUT)]);
}

/// SET_SH_REG of consecutive registers from a byte address of the window at 0xb000.
fn set(byte: u32, values: &[u32]) -> Vec<u32> {
    let mut body = vec![(byte - 0xb000) / 4];
    body.extend(values);
    pm4(SET_SH_REG, &body)
}

/// Registers of a program with `threads` threads a group.
fn registers(threads: u32) -> Vec<u32> {
    let mut p = set(0xb810, &[0, 0, 0]);
    p.extend(set(0xb81c, &[threads, 1, 1]));
    p.extend(set(0xb830, &[lo(CODE >> 8), hi(CODE >> 8)]));
    p.extend(set(0xb848, &[15 | 12 << 6 | 0xc0 << 12 | 1 << 21, 2 << 1 | 1 << 7]));
    p.extend(set(0xb900, &[lo(ARGUMENTS), hi(ARGUMENTS)]));
    p
}

fn direct(groups: u32) -> Vec<u32> {
    pm4(DISPATCH_DIRECT, &[groups, 1, 1, 0x45])
}

/// Puts an indirect buffer in its page and gives the packet that launches it.
fn job(b: &mut Bench, at: u64, packets: &[u32]) -> Vec<u32> {
    b.put(DATA + 0x4000 + at, packets);
    let control = packets.len() as u32 | VMID << 24 | 1 << 23;
    pm4(INDIRECT_BUFFER, &[lo(COMMANDS + at), hi(COMMANDS + at), control])
}

/// A bench without caches, where no packet has to flush them.
fn direct_bench() -> Bench {
    Bench::with(Config {
        vram: 64 << 20,
        visible: 64 << 20,
        cache: Cache::Direct,
        ..Config::default()
    })
}

fn sums_are_there(b: &Bench) -> bool {
    (0..256u64).all(|n| f32::from_bits(b.get(DATA + 0x2000 + n * 4)) == n as f32 * 1.5)
}

#[test]
fn vector_add_on_the_gfx_ring() {
    let mut b = direct_bench();
    space(&mut b, VECTOR_ADD);
    let mut packets = registers(64);
    packets.extend(direct(4));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    assert!(sums_are_there(&b));
}

#[test]
fn a_dead_unit_does_nothing_and_others_do_it_all() {
    for (units, done) in [([1 << 2, 0], false), ([1 << 2 | 1, 0], true), ([1 << 2, 1 << 2], true)] {
        let mut config = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
        config.cache = Cache::Direct;
        config.inject.add("dead-unit=2").unwrap();
        let mut b = Bench::with(config);
        space(&mut b, VECTOR_ADD);
        let mut p = registers(64);
        // COMPUTE_STATIC_THREAD_MGMT_SE0, SE1
        p.extend(set(0xb858, &units));
        p.extend(direct(4));
        let launch = job(&mut b, 0, &p);
        b.gfx_submit(&launch);
        assert_eq!(b.run(), Step::Idle);
        b.clean();
        assert_eq!(sums_are_there(&b), done, "{units:?}");
    }
}

#[test]
fn each_queue_has_its_own_registers() {
    let mut b = direct_bench();
    space(&mut b, VECTOR_ADD);
    // Registers and dispatch in two buffers each, so that the queues come between one another.
    let mut starts = vec![];
    for q in 0..4usize {
        let mut first = registers(64);
        first.extend(set(0xb810, &[q as u32, 0, 0]));
        starts.push(job(&mut b, q as u64 * 0x200, &first));
    }
    let group = pm4(DISPATCH_DIRECT, &[4, 1, 1, 0x41]);
    for (q, start) in starts.into_iter().enumerate() {
        // From its own start to group q.
        let mut one = group.clone();
        one[1] = q as u32 + 1;
        let go = job(&mut b, 0x800 + q as u64 * 0x100, &one);
        b.compute_submit(q, &[start, go].concat());
    }
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    assert!(sums_are_there(&b));
}

#[test]
fn indirect_dimensions() {
    let mut b = direct_bench();
    space(&mut b, VECTOR_ADD);
    b.put(DATA + 0x3100, &[2, 1, 1, 4, 1, 1, 0, 0, 4, 1, 1]);
    let mut packets = registers(64);
    let base = ARGUMENTS + 0x100;
    packets.extend(pm4(SET_BASE, &[1, lo(base), hi(base)]));
    packets.extend(pm4(DISPATCH_INDIRECT, &[12, 0x45]));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    assert!(sums_are_there(&b));

    b.put(DATA + 0x2000, &[0; 256]);
    let mut packets = registers(64);
    packets.extend(pm4(DISPATCH_INDIRECT, &[lo(base + 0x20), hi(base), 0x45]));
    let launch = job(&mut b, 0, &packets);
    b.compute_submit(1, &launch);
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    assert!(sums_are_there(&b));
}

/// Stores what four lanes see of the image at `s[0:1]`, where the color of the border is.
const BORDER: &[u32] = &[
    0xc0c4_0100, // s_load_dwordx8 s[8:15], s[0:1], 0x0
    0xc088_0108, // s_load_dwordx4 s[16:19], s[0:1], 0x8
    0xc08a_010c, // s_load_dwordx4 s[20:23], s[0:1], 0xc
    0x7e02_02f7, // v_mov_b32_e32 v1, -4.0
    0x7e04_02f7, // v_mov_b32_e32 v2, -4.0
    0xbf8c_007f, // s_waitcnt lgkmcnt(0)
    0xf09c_0f00,
    0x0082_0401, // image_sample_lz v[4:7], v[1:2], s[8:15], s[16:19] dmask:0xf
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xe078_2000,
    0x8005_0400, // buffer_store_dwordx4 v[4:7], v0, s[20:23], 0 idxen
    0xbf81_0000, // s_endpgm
];

#[test]
fn border_colors_are_those_of_the_register_for_dispatches() {
    let mut b = direct_bench();
    space(&mut b, BORDER);
    // 32 UINT, two-dimensional, as wide as it is high; clamped to color 5 of the table, which is in
    // `b`.
    let image =
        [(A >> 8) as u32, 4 << 20 | 4 << 26, 7 | 7 << 14, 0xfac | 9 << 28, 63 << 13, 0, 0, 0];
    let sampler = [6 | 6 << 3, 0, 0, 5 | 3 << 30];
    let out = [lo(OUT), 16 << 16, 4, 0x0002_7fac];
    b.put(DATA + 0x3000, &[&image[..], &sampler, &out].concat());
    b.put(DATA + 0x1000 + 5 * 16, &[11, 12, 13, 14]);
    let mut packets = pm4(SET_UCONFIG_REG, &[0x380, lo(B >> 8), 0]);
    packets.extend(registers(4));
    packets.extend(direct(1));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    for at in (0..64).step_by(4) {
        assert_eq!(b.get(DATA + 0x2000 + at), 11 + at as u32 / 4 % 4, "at {at}");
    }
}

#[test]
fn an_endless_shader_lets_others_run_and_ends_with_its_engine() {
    let mut b = direct_bench();
    space(&mut b, ENDLESS);
    let mut packets = registers(64);
    packets.extend(direct(1));
    let launch = job(&mut b, 0, &packets);
    b.compute_submit(0, &launch);
    assert_eq!(b.gpu.run(200), Step::Progress);
    // The gfx ring is not held up.
    let mark = DATA + 0x5000;
    b.gfx_submit(&pm4(WRITE_DATA, &[5 << 8, lo(GART + mark), hi(GART + mark), 7]));
    assert_eq!(b.gpu.run(200), Step::Progress);
    assert_eq!(b.get(mark), 7);
    b.gpu.hold(Block::Compute);
    assert_eq!(b.gpu.run(200), Step::Idle);
    b.gpu.release(Block::Compute);
    assert!(b.gpu.busy(EngineId::Compute { me: 1, pipe: 0, queue: 0 }));
    b.w("GRBM_SOFT_RESET", 1 << 18);
    b.w("GRBM_SOFT_RESET", 0);
    b.clean();
}

/// SQ_CMD: kills all waves of a VMID.
fn kill(b: &mut Bench, vmid: u32) {
    b.w("SQ_CMD", 3 | 1 << 4 | 1 << 7 | vmid << 28);
}

#[test]
fn killing_waves_ends_a_job_in_the_end() {
    const GROUPS: u32 = 40;
    let mut b = direct_bench();
    space(&mut b, ENDLESS);
    let mark = DATA + 0x5000;
    let fence = pm4(WRITE_DATA, &[5 << 8, lo(GART + mark), hi(GART + mark), 7]);
    let mut packets = registers(64);
    packets.extend(direct(GROUPS));
    let mut launch = job(&mut b, 0, &packets);
    launch.extend(&fence);
    b.gfx_submit(&launch);
    b.gpu.run(200);
    // Nobody else's.
    for _ in 0..GROUPS {
        kill(&mut b, VMID + 1);
        assert_eq!(b.gpu.run(20), Step::Progress);
    }
    assert_ne!(b.get(mark), 7);
    // Those that are there, each time: there are more groups than can be there at once.
    let mut kills = 0;
    while b.get(mark) != 7 {
        kill(&mut b, VMID);
        b.gpu.run(20);
        kills += 1;
        assert!(kills <= GROUPS);
    }
    assert!(kills > 1, "{kills}");
    b.clean();
}

#[test]
fn what_is_no_wave_cannot_be_killed() {
    // A wait.
    let mut b = direct_bench();
    space(&mut b, &[]);
    let wait = pm4(0x3c, &[3 | 1 << 4, lo(B), hi(B), 0xdead, !0, 4]);
    let launch = job(&mut b, 0, &wait);
    b.compute_submit(0, &launch);
    let queue = EngineId::Compute { me: 1, pipe: 0, queue: 0 };
    b.gpu.run(200);
    kill(&mut b, VMID);
    b.gpu.run(200);
    assert!(b.gpu.busy(queue));
    b.clean();
    b.w("SQ_CMD", 0);
    b.broke("wave-command");
    // And where it is told not to, the model does not kill.
    let mut b = direct_bench();
    b.gpu.config.inject.add("no-wave-kill").unwrap();
    space(&mut b, ENDLESS);
    let mut packets = registers(64);
    packets.extend(direct(1));
    let launch = job(&mut b, 0, &packets);
    b.compute_submit(0, &launch);
    b.gpu.run(200);
    kill(&mut b, VMID);
    assert_eq!(b.gpu.run(200), Step::Progress);
    assert!(b.gpu.busy(queue));
}

#[test]
fn a_fault_of_a_shader_is_its_vmids() {
    let mut b = direct_bench();
    space(&mut b, VECTOR_ADD);
    b.map(VMID, OUT, 0);
    b.flush(VMID);
    let mut packets = registers(64);
    packets.extend(direct(1));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    b.run();
    let status = b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS");
    assert_eq!(status >> 25 & 0xf, VMID);
    assert_eq!(status >> 24 & 1, 1, "a write");
    assert_eq!(b.r("VM_CONTEXT1_PROTECTION_FAULT_ADDR"), lo(OUT >> 12));
}

/// VM_PRT_CNTL: no faults of the texture caches' reads or writes of what is not mapped.
const TC_FAULTS_OFF: u32 = 1 << 1 | 1 << 5;

/// Runs the sums with some pages not mapped, and pages of partially resident textures from `low` to
/// `high`. Returns the fault status.
fn sums_with_holes(b: &mut Bench, holes: &[u64], (low, high): (u64, u64), cntl: u32) -> u32 {
    space(b, VECTOR_ADD);
    for va in holes {
        b.map(VMID, *va, 0);
    }
    b.flush(VMID);
    b.w("VM_PRT_APERTURE2_LOW_ADDR", lo(low >> 12));
    b.w("VM_PRT_APERTURE2_HIGH_ADDR", lo(high >> 12));
    b.w("VM_PRT_CNTL", cntl);
    let mut packets = registers(64);
    packets.extend(direct(4));
    let launch = job(b, 0, &packets);
    b.gfx_submit(&launch);
    b.run();
    b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS")
}

#[test]
fn holes_of_partially_resident_textures_read_as_zeros() {
    let mut b = direct_bench();
    assert_eq!(sums_with_holes(&mut b, &[B], (B, B), TC_FAULTS_OFF), 0);
    // One operand is zero.
    for n in 0..256u64 {
        assert_eq!(f32::from_bits(b.get(DATA + 0x2000 + n * 4)), n as f32);
    }
    b.clean();
    // Writes vanish.
    let mut b = direct_bench();
    assert_eq!(sums_with_holes(&mut b, &[OUT], (A, OUT), TC_FAULTS_OFF), 0);
    assert!((0..256u64).all(|n| b.get(DATA + 0x2000 + n * 4) == 0));
    b.clean();
}

#[test]
fn holes_are_told_from_other_faults() {
    for (holes, aperture, cntl) in [
        // Outside of the aperture.
        (B, (A, A), TC_FAULTS_OFF),
        // Reads, where only writes are allowed; and the other way round.
        (B, (B, B), 1 << 5),
        (OUT, (OUT, OUT), 1 << 1),
        // Of the color blocks.
        (B, (B, B), 1 | 1 << 4),
    ] {
        let status = sums_with_holes(&mut direct_bench(), &[holes], aperture, cntl);
        assert_eq!(status >> 25 & 0xf, VMID, "{holes:#x}, {cntl:#x}");
    }
}

#[test]
fn a_bad_shader_hangs_its_engine_with_the_reason() {
    let mut b = direct_bench();
    space(&mut b, &[0xbf92_0001]); // s_trap
    let mut packets = registers(64);
    packets.extend(direct(1));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    b.run();
    let why = b.gpu.hung(EngineId::Gfx).expect("hangs").to_string();
    assert!(why.contains("s_trap"), "{why}");
}

/// Runs a program of one group on the gfx ring until nothing moves.
fn run_program(b: &mut Bench, program: &[u32], more: &[u32]) {
    space(b, program);
    let mut packets = registers(64);
    packets.extend(more);
    packets.extend(direct(1));
    let launch = job(b, 0, &packets);
    b.gfx_submit(&launch);
    b.run();
}

/// The VMID of the fault that was latched, and the page's address.
fn fault(b: &mut Bench) -> (u32, u64) {
    let status = b.r("VM_CONTEXT1_PROTECTION_FAULT_STATUS");
    (status >> 25 & 0xf, u64::from(b.r("VM_CONTEXT1_PROTECTION_FAULT_ADDR")) << 12)
}

/// A mark that the second compute queue writes, whatever the others do.
fn another_queue_goes_on(b: &mut Bench) {
    let mark = DATA + 0x6000;
    b.put(mark, &[0]);
    b.compute_submit(1, &pm4(WRITE_DATA, &[5 << 8, lo(GART + mark), hi(GART + mark), 7]));
    for _ in 0..100 {
        b.gpu.run(200);
        if b.get(mark) == 7 {
            return;
        }
    }
    panic!("another queue is held up");
}

#[test]
fn hostile_a_jump_out_of_the_program_is_a_fault() {
    let mut b = direct_bench();
    run_program(&mut b, &[0xbf82_7fff], &[]); // s_branch to 0x20000 bytes behind it
    assert_eq!(fault(&mut b), (VMID, CODE + 0x2_0000));
    another_queue_goes_on(&mut b);
    b.clean();
}

#[test]
fn hostile_descriptors_that_mean_nothing_end_their_job() {
    for (word, name) in [(0xc000_0000u32, "TYPE"), (1 << 24, "ATC"), (1 << 25, "HASH_ENABLE")] {
        let program = [
            0xbe84_0380, // s_mov_b32 s4, 0
            0xbe85_0380, // s_mov_b32 s5, 0
            0xbe86_03c1, // s_mov_b32 s6, -1
            0xbe87_03ff,
            word, // s_mov_b32 s7, WORD
            0xe030_2000,
            0x8001_0100, // buffer_load_dword v1, v0, s[4:7], 0 idxen
            0xbf81_0000, // s_endpgm
        ];
        let mut b = direct_bench();
        run_program(&mut b, &program, &[]);
        let why = b.gpu.hung(EngineId::Gfx).expect("hangs").to_string();
        assert!(why.contains(name), "{why}");
        another_queue_goes_on(&mut b);
        b.clean();
    }
}

#[test]
fn hostile_all_of_vram_as_scratch_is_no_memory_of_ours() {
    // COMPUTE_TMPRING_SIZE: 4,095 waves of 8 MiB each; RSRC2: scratch, two user scalars, the group.
    let mut more = set(0xb860, &[0x1fff << 12 | 0xfff]);
    more.extend(set(0xb84c, &[1 | 2 << 1 | 1 << 7]));
    let program = [
        0xbe84_0380, // s_mov_b32 s4, 0
        0xbe85_0380, // s_mov_b32 s5, 0
        0xbe86_03c1, // s_mov_b32 s6, -1
        0xbe87_03ff,
        0x0002_7fac, // s_mov_b32 s7, a buffer of words
        0xe070_1000,
        0x0301_0000, // buffer_store_dword v0, v0, s[4:7], s3 offen
        0xbf81_0000, // s_endpgm
    ];
    let mut b = direct_bench();
    run_program(&mut b, &program, &more);
    assert_eq!(fault(&mut b), (VMID, 0), "a wave's scratch is where its descriptor says");
    another_queue_goes_on(&mut b);
    b.clean();
}

#[test]
fn hostile_dispatches_of_nothing_end_and_others_go_on() {
    let mut b = direct_bench();
    space(&mut b, &[0xbf81_0000]); // s_endpgm
    // A hundred thousand groups of one thread and four registers.
    let mut packets = registers(1);
    packets.extend(set(0xb848, &[2 << 6]));
    packets.extend(direct(100_000));
    // Dispatches of no group at all.
    (0..150).for_each(|_| packets.extend(direct(0)));
    let launch = job(&mut b, 0, &packets);
    b.gfx_submit(&launch);
    another_queue_goes_on(&mut b);
    while b.run() != Step::Idle {}
    assert_eq!(b.gpu.wave_instructions(), 100_000);
    // More than would end in a lifetime.
    let mut packets = registers(1);
    packets.extend(pm4(DISPATCH_DIRECT, &[!0, !0, !0, 0x45]));
    let launch = job(&mut b, 0, &packets);
    b.compute_submit(0, &launch);
    another_queue_goes_on(&mut b);
    assert!(b.gpu.busy(EngineId::Compute { me: 1, pipe: 0, queue: 0 }));
    b.w("GRBM_SOFT_RESET", 1 << 18);
    b.w("GRBM_SOFT_RESET", 0);
    b.clean();
}

#[test]
fn hostile_indirect_buffers_at_unmapped_addresses_are_faults() {
    const NOWHERE: u64 = 0x70_0000;
    let control = 64 | VMID << 24 | 1 << 23;
    let launch = pm4(INDIRECT_BUFFER, &[lo(NOWHERE), hi(NOWHERE), control]);
    for engine in 0..3 {
        let mut b = direct_bench();
        space(&mut b, VECTOR_ADD);
        match engine {
            0 => b.gfx_submit(&launch),
            1 => b.compute_submit(0, &launch),
            _ => b.sdma_ib(0, VMID, NOWHERE, 64),
        }
        b.run();
        assert_eq!(fault(&mut b), (VMID, NOWHERE), "engine {engine}");
        another_queue_goes_on(&mut b);
        b.clean();
    }
}

const SURFACE_SYNC: u32 = 0x43;
const EVENT_WRITE_EOP: u32 = 0x47;
/// CP_COHER_CNTL: I$, K$, L1, L2.
const ALL_CACHES: u32 = 0x28c0_0000;

fn surface_sync(actions: u32) -> Vec<u32> {
    pm4(SURFACE_SYNC, &[actions, !0, 0, 10])
}

/// A fence of the kernel's ring, with the cache actions of its event.
fn fence(actions: u32, at: u64) -> Vec<u32> {
    pm4(EVENT_WRITE_EOP, &[0x14 | 5 << 8 | actions, lo(GART + at), hi(GART + at) | 1 << 29, 1, 0])
}

fn strict() -> Bench {
    let mut b = Bench::new();
    space(&mut b, VECTOR_ADD);
    b
}

#[test]
fn results_are_in_memory_after_the_fence_that_flushes_and_not_before() {
    for (actions, there) in
        [(0, false), (1 << 16, false), (1 << 17 | 1 << 16, true), (1 << 15, true)]
    {
        let mut b = strict();
        let mut packets = registers(64);
        packets.extend(direct(4));
        let mut ring = job(&mut b, 0, &packets);
        ring.extend(fence(actions, DATA + 0x5000));
        b.gfx_submit(&ring);
        assert_eq!(b.run(), Step::Idle);
        b.clean();
        assert_eq!(b.get(DATA + 0x5000), 1);
        assert_eq!(sums_are_there(&b), there, "actions {actions:#x}");
    }
}

#[test]
fn what_was_loaded_is_old_until_its_cache_is_flushed() {
    // The fence has emptied the second level, so that the vector caches decide.
    for (actions, fresh) in [(0, false), (1 << 23, false), (1 << 22, true), (ALL_CACHES, true)] {
        let mut b = strict();
        let mut packets = registers(64);
        // One compute unit, whose cache both dispatches go through.
        packets.extend(set(0xb858, &[1, 0]));
        packets.extend(direct(4));
        let ring = [job(&mut b, 0, &packets), fence(1 << 17, DATA + 0x5000)].concat();
        b.gfx_submit(&ring);
        assert_eq!(b.run(), Step::Idle);
        assert!(sums_are_there(&b));
        // Other numbers in one of the operands, by another engine than the shader.
        (0..512u64).for_each(|n| b.put(DATA + 0x1000 + n * 4, &[(n as f32 * 2.0).to_bits()]));
        let mut again = surface_sync(actions);
        again.extend(direct(4));
        let ring = [job(&mut b, 0x400, &again), fence(1 << 17, DATA + 0x5000)].concat();
        b.gfx_submit(&ring);
        assert_eq!(b.run(), Step::Idle);
        b.clean();
        let sum = |n: u64| f32::from_bits(b.get(DATA + 0x2000 + n * 4));
        let all = (0..256u64).all(|n| sum(n) == n as f32 * 3.0);
        assert_eq!(all, fresh, "actions {actions:#x}");
    }
}
