// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Draws: programs of vertices and pixels, against what they must leave in a linear target; and random
//! registers, which end in a result, never in a panic.

use amdgpu_shader::context::Config;
use amdgpu_shader::dispatch::Progress;
use amdgpu_shader::draw::{Call, Draw, Indices, Registers};
use amdgpu_shader::memory::Flat;
use amdgpu_shader::rng::Rng;
use amdgpu_shader::stop::Stop;

/// A vertex is its index's 16 bytes of the buffer that s[0:3] describes; its color is its position.
const VERTEX: &[u32] = &[
    0xe038_2000,
    0x8000_0400, // buffer_load_dwordx4 v[4:7], v0, s[0:3], 0 idxen
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xf800_08cf,
    0x0706_0504, // exp pos0 v4, v5, v6, v7 done
    0xf800_020f,
    0x0706_0504, // exp param0 v4, v5, v6, v7
    0xbf81_0000, // s_endpgm
];

/// Interpolates two components, and kills where the first is not above zero.
const PIXEL: &[u32] = &[
    0xbefc_0300, // s_mov_b32 m0, s0
    0xc808_0000, // v_interp_p1_f32 v2, v0, attr0.x
    0xc809_0001, // v_interp_p2_f32 v2, v1, attr0.x
    0xc80c_0100, // v_interp_p1_f32 v3, v0, attr0.y
    0xc80d_0101, // v_interp_p2_f32 v3, v1, attr0.y
    0x7e08_02f2, // v_mov_b32_e32 v4, 1.0
    0x7c02_0480, // v_cmp_lt_f32_e32 vcc, 0, v2
    0x87fe_6a7e, // s_and_b64 exec, exec, vcc
    0xf800_180f,
    0x0404_0302, // exp mrt0 v2, v3, v4, v4 done vm
    0xbf81_0000, // s_endpgm
];

const PROGRAMS: u64 = 0x10_0000;
const VERTICES: u64 = 0x20_0000;
const TARGET: u64 = 0x30_0000;
/// Pixels of a row of the target, and rows.
const SIZE: u32 = 64;

fn registers(primitive: u32) -> Registers {
    let mut r = Registers { context: Box::new([0; 0x400]), shader: Box::new([0; 0x200]), primitive };
    for (stage, program) in [(0x2c48, PROGRAMS), (0x2c08, PROGRAMS + 0x1000)] {
        let at = (stage - 0x2c00) as usize;
        // 8 vector and 16 scalar registers; four user scalars of vertices.
        let user = if stage == 0x2c48 { 4 } else { 0 };
        r.shader[at..at + 4].copy_from_slice(&[(program >> 8) as u32, 0, 1 | 1 << 6 | 0xc0 << 12 | 1 << 21, user << 1]);
    }
    r.shader[0x4c..0x50].copy_from_slice(&[VERTICES as u32, 16 << 16, 64, 0x0002_7fac]);
    let half = (SIZE as f32 / 2.0).to_bits();
    let scissor = SIZE | SIZE << 16;
    let settings = [
        (0xa00d, scissor), // scissors: screen, window, generic
        (0xa082, scissor),
        (0xa091, scissor),
        (0xa083, 0xffff), // PA_SC_CLIPRECT_RULE
        (0xa08e, 0xf),    // CB_TARGET_MASK, CB_SHADER_MASK
        (0xa08f, 0xf),
        (0xa0b5, 1.0f32.to_bits()), // PA_SC_VPORT_ZMAX_0
        (0xa100, !0),               // VGT_MAX_VTX_INDX
        (0xa1b4, 1 << 1),           // SPI_PS_INPUT_ADDR: perspective, center
        (0xa1b6, 1),                // SPI_PS_IN_CONTROL: one parameter
        (0xa1c5, 9),                // SPI_SHADER_COL_FORMAT: 32_ABGR
        (0xa202, 1 << 4 | 0xcc << 16),
        (0xa206, 0x43f),               // PA_CL_VTE_CNTL
        (0xa2f9, 1 | 2 << 1 | 5 << 3), // PA_SU_VTX_CNTL
        (0xa318, (TARGET >> 8) as u32),
        (0xa319, SIZE / 8 - 1),
        (0xa31a, SIZE * SIZE / 64 - 1),
        (0xa31c, 14 << 2 | 7 << 8), // CB_COLOR0_INFO: 32_32_32_32 FLOAT
    ];
    settings.into_iter().for_each(|(index, value)| r.context[index - 0xa000] = value);
    // The viewport: the whole target, Y down.
    [half, half, half, half, 1.0f32.to_bits(), 0].into_iter().zip(0x10f..).for_each(|(v, n)| r.context[n] = v);
    r
}

fn memory(vertices: &[[f32; 4]]) -> Flat {
    let mut memory = Flat::default();
    memory.put_words(PROGRAMS, VERTEX);
    memory.put_words(PROGRAMS + 0x1000, PIXEL);
    let words: Vec<u32> = vertices.iter().flatten().map(|v| v.to_bits()).collect();
    memory.map(VERTICES, 0x1000);
    memory.put_words(VERTICES, &words);
    memory.map(TARGET, u64::from(SIZE * SIZE) * 16);
    memory
}

fn draw(r: Registers, memory: &mut Flat, count: u32) -> Result<Draw, Stop> {
    let call = Call { count, instances: 1, indices: Indices::Automatic };
    let mut draw = Draw::new(r, call, Config::default())?;
    for _ in 0..100_000 {
        if draw.run(memory, 100)? == Progress::Done {
            return Ok(draw);
        }
    }
    panic!("no end after {:?}", draw.count);
}

fn pixel(memory: &Flat, x: u32, y: u32) -> [f32; 4] {
    let words = memory.words(TARGET + u64::from(y * SIZE + x) * 16, 4);
    std::array::from_fn(|n| f32::from_bits(words[n]))
}

/// Where a pixel's center is in the viewport.
fn place(n: u32) -> f32 {
    (n as f32 + 0.5) / (SIZE as f32 / 2.0) - 1.0
}

#[test]
fn a_triangle_interpolates_its_positions() {
    // W differs from vertex to vertex: on the screen positions are not linear.
    let corners = [[-1.0, -1.0, 0.5, 1.0], [2.0, -2.0, 1.0, 2.0], [-4.0, 4.0, 2.0, 4.0]];
    let mut memory = memory(&corners);
    let done = draw(registers(4), &mut memory, 3).unwrap();
    assert_eq!(done.count.primitives, 1);
    let (mut covered, mut killed) = (0, 0);
    for (x, y) in (0..SIZE).flat_map(|x| (0..SIZE).map(move |y| (x, y))) {
        let inside = x + y < SIZE - 1;
        let [r, g, b, a] = pixel(&memory, x, y);
        // What a position is by W, its place on the screen is; W is linear in what interpolates.
        let (sx, sy) = (place(x), place(y));
        // Shares by one over W: 1/w is linear on the screen.
        let inverse = 1.0 + (sx + 1.0) / 2.0 * (0.5 - 1.0) + (sy + 1.0) / 2.0 * (0.25 - 1.0);
        let (wanted_x, wanted_y) = (sx / inverse, sy / inverse);
        if !inside || wanted_x <= 0.0 {
            assert_eq!([r, g, b, a], [0.0; 4], "({x}, {y})");
            killed += u32::from(inside);
            continue;
        }
        covered += 1;
        let close = |seen: f32, wanted: f32| (seen - wanted).abs() < 1e-5 * wanted.abs().max(1.0);
        assert!(close(r, wanted_x) && close(g, wanted_y) && (b, a) == (1.0, 1.0), "({x}, {y}): {r} {g}");
    }
    assert!(covered > 400 && killed > 400);
    assert_eq!(done.count.pixels, covered + u64::from(killed));
}

#[test]
fn a_rectangle_and_a_clipped_triangle() {
    let mut flat = memory(&[[0.5, -0.5, 0.0, 1.0], [0.5, 0.5, 0.0, 1.0], [1.0, -0.5, 0.0, 1.0]]);
    draw(registers(17), &mut flat, 3).unwrap();
    let count = |memory: &Flat| (0..SIZE * SIZE).filter(|n| pixel(memory, n % SIZE, n / SIZE)[3] == 1.0).count();
    assert_eq!(count(&flat), 16 * 32);
    // A corner behind the eye: the rest goes to the border.
    let mut flat = memory(&[[0.1, -0.9, 0.0, 1.0], [0.9, -0.9, 0.0, 1.0], [5.0, 50.0, -3.0, -1.0]]);
    draw(registers(4), &mut flat, 3).unwrap();
    assert!(count(&flat) > 300 && pixel(&flat, 48, 4)[3] == 1.0 && pixel(&flat, 48, 1)[3] == 0.0);
}

#[test]
fn what_is_not_implemented_is_named() {
    let refused = |change: &dyn Fn(&mut Registers)| {
        let mut r = registers(4);
        change(&mut r);
        draw(r, &mut memory(&[]), 3).err().expect("refused").what
    };
    assert!(refused(&|r| r.primitive = 1).contains("points"));
    assert!(refused(&|r| r.context[0x2d5] = 1 << 5).contains("geometry"));
    assert!(refused(&|r| r.context[0x31c] |= 1 << 13).contains("FAST_CLEAR"));
    assert!(refused(&|r| r.context[0x2f8] = 2).contains("samples"));
}

#[test]
fn random_registers_do_not_panic() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let mut rng = Rng::new(variable("SHADER_FUZZ_SEED").unwrap_or(4));
    let mut ended = 0;
    for _ in 0..variable("SHADER_FUZZ").unwrap_or(3000) {
        let mut r = registers([4, 5, 6, 17, 19][rng.below(5)]);
        for _ in 0..rng.below(6) {
            let n = rng.below(0x400);
            r.context[n] = rng.word() >> rng.below(32);
        }
        for _ in 0..rng.below(3) {
            // Of registers that draws look at.
            let n = [0x0f, 0x10, 0x11, 0x16, 0x10f, 0x111, 0x1b4, 0x1c5, 0x200, 0x204, 0x206, 0x2f9, 0x31c, 0x31d]
                [rng.below(14)];
            r.context[n] = rng.word();
        }
        if rng.below(4) == 0 {
            let n = [0x48, 0x4a, 0x4b, 0x4d, 0x4e, 0x08, 0x0a, 0x0b][rng.below(8)];
            r.shader[n] = rng.word();
        }
        let vertices: Vec<[f32; 4]> = (0..12)
            .map(|_| {
                std::array::from_fn(|_| {
                    if rng.below(9) == 0 { f32::from_bits(rng.word()) } else { rng.below(5) as f32 - 2.0 }
                })
            })
            .collect();
        let mut config = Config { seed: rng.long(), ..Config::default() };
        config.tiling.tile.iter_mut().for_each(|mode| *mode = rng.word());
        config.tiling.macrotile.iter_mut().for_each(|mode| *mode = rng.word() & 0xff);
        let call = Call { count: 12, instances: rng.below(3) as u32, indices: Indices::Automatic };
        let Ok(mut draw) = Draw::new(r, call, config) else { continue };
        let mut memory = memory(&vertices);
        ended += u32::from((0..20).any(|_| !matches!(draw.run(&mut memory, 1000), Ok(Progress::More))));
    }
    assert!(ended > 100, "hardly any draw came to an end");
}
