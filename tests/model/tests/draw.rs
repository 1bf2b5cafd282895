// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Draws on the gfx ring, through page tables, and CLEAR_STATE.

mod bench;
#[path = "../shader/tests/common/first_draw.rs"]
mod first_draw;

use amdgpu_model::engine::{
    EngineId,
    Step, //
};
use bench::{
    BUS,
    Bench,
    DATA,
    SYSTEM_RW,
    VRAM_DATA,
    VRAM_RW,
    hi,
    lo,
    pm4, //
};
use first_draw::{
    PIXEL,
    SIZE,
    VERTEX,
    place,
    settings, //
};

const CLEAR_STATE: u32 = 0x12;
const DRAW_INDIRECT: u32 = 0x24;
const DRAW_INDEX_2: u32 = 0x27;
const INDEX_TYPE: u32 = 0x2a;
const DRAW_INDEX_AUTO: u32 = 0x2d;
const INDIRECT_BUFFER: u32 = 0x3f;
const PREAMBLE_CNTL: u32 = 0x4a;
const SET_CONTEXT_REG: u32 = 0x69;
const SET_SH_REG: u32 = 0x76;
const SET_UCONFIG_REG: u32 = 0x79;

const VMID: u32 = 2;
/// Places in the address space of the job: programs a page each, then vertices, indices and
/// commands.
const PROGRAMS: u64 = 0x10_0000;
const VERTICES: u64 = 0x20_0000;
const INDICES: u64 = 0x20_1000;
const COMMANDS: u64 = 0x20_2000;
const TARGET: u64 = 0x30_0000;
/// Pages of the target.
const TARGET_PAGES: u64 = SIZE as u64 * SIZE as u64 * 16 / 0x1000;
const TARGET_IN_VRAM: u64 = VRAM_DATA + 0x10_0000;

fn space(b: &mut Bench) {
    for (n, program) in [VERTEX, PIXEL].into_iter().enumerate() {
        let page = 0x1000 * n as u64;
        b.map(VMID, PROGRAMS + page, (VRAM_DATA + page) | VRAM_RW);
        for (at, word) in (0..).zip(program) {
            b.gpu.vram().write_u32(VRAM_DATA + page + 4 * at, *word);
        }
    }
    for (n, va) in (1..).zip([VERTICES, INDICES, COMMANDS]) {
        b.map(VMID, va, (BUS + DATA + n * 0x1000) | SYSTEM_RW);
    }
    for page in 0..TARGET_PAGES {
        b.map(VMID, TARGET + page * 0x1000, (TARGET_IN_VRAM + page * 0x1000) | VRAM_RW);
    }
    b.flush(VMID);
    // Of the target: linear.
    b.w("GB_TILE_MODE0", 0);
    b.gpu.vram().fill(TARGET_IN_VRAM, 0, (TARGET_PAGES * 0x1000) as usize);
    // Half of the target, in another order than that of the indices.
    let corners = [[1.0f32, 1.0, 0.0, 1.0], [1.0, -1.0, 0.0, 1.0], [-1.0, -1.0, 0.0, 1.0]];
    b.put(DATA + 0x1000, &corners.as_flattened().iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    b.put(DATA + 0x2000, &[2 | 1 << 16, 0]);
}

fn registers() -> Vec<u32> {
    let mut packets = pm4(SET_UCONFIG_REG, &[0x242, 4]);
    for (index, value) in settings(PROGRAMS, PROGRAMS + 0x1000, VERTICES, TARGET) {
        match index {
            0xa000.. => packets.extend(pm4(SET_CONTEXT_REG, &[index - 0xa000, value])),
            _ => packets.extend(pm4(SET_SH_REG, &[index - 0x2c00, value])),
        }
    }
    packets
}

fn submit(b: &mut Bench, packets: &[u32]) {
    b.put(DATA + 0x3000, packets);
    let control = packets.len() as u32 | VMID << 24 | 1 << 23;
    b.gfx_submit(&pm4(INDIRECT_BUFFER, &[lo(COMMANDS), hi(COMMANDS), control]));
}

/// The kernel teaches one value: a context register that a draw does not look at.
fn taught() -> Vec<u32> {
    let mut ring = pm4(PREAMBLE_CNTL, &[2 << 28]);
    ring.extend(pm4(SET_CONTEXT_REG, &[0x105, 77]));
    ring.extend(pm4(PREAMBLE_CNTL, &[3 << 28]));
    ring
}

#[test]
fn a_triangle_by_indices() {
    let mut b = Bench::new();
    space(&mut b);
    let mut packets = registers();
    packets.extend(pm4(INDEX_TYPE, &[0]));
    packets.extend(pm4(DRAW_INDEX_2, &[3, lo(INDICES), hi(INDICES), 3, 0]));
    submit(&mut b, &packets);
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    let red = |x: u32, y: u32| {
        let at = TARGET_IN_VRAM + u64::from(y * SIZE + x) * 16;
        f32::from_bits(b.gpu.vram().read_u32(at))
    };
    for (x, y) in (0..SIZE).flat_map(|x| (0..SIZE).map(move |y| (x, y))) {
        // The program kills what is left of the middle. The diagonal goes through centers: it is a
        // left edge.
        let wanted = if x >= y && x >= SIZE / 2 { place(x) } else { 0.0 };
        assert!((red(x, y) - wanted).abs() < 1e-6, "({x}, {y}): {} {wanted}", red(x, y));
    }
}

#[test]
fn clear_state_is_what_the_kernel_has_taught() {
    let mut b = Bench::new();
    b.gfx_submit(&[taught(), pm4(SET_CONTEXT_REG, &[0x105, 5]), pm4(CLEAR_STATE, &[0])].concat());
    assert_eq!(b.run(), Step::Idle);
    b.clean();
    assert_eq!(b.r("CB_BLEND_RED"), 77);
}

#[test]
fn clear_state_before_it_is_taught_is_refused() {
    let mut b = Bench::new();
    b.gfx_submit(&pm4(CLEAR_STATE, &[0]));
    b.run();
    assert!(b.gpu.hung(EngineId::Gfx).expect("hangs").contains("taught"));
}

#[test]
fn a_draw_that_is_not_implemented_says_so() {
    for (packet, name) in [
        (pm4(DRAW_INDIRECT, &[0, 0, 0, 0]), "DRAW_INDIRECT"),
        ([pm4(SET_UCONFIG_REG, &[0x242, 1]), pm4(DRAW_INDEX_AUTO, &[3, 2])].concat(), "points"),
    ] {
        let mut b = Bench::new();
        space(&mut b);
        submit(&mut b, &[registers(), packet].concat());
        b.run();
        let why = b.gpu.hung(EngineId::Gfx).expect("hangs").to_string();
        assert!(why.contains(name), "{why}");
    }
}
