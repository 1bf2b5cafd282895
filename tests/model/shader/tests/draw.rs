// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Draws: programs of vertices and pixels, against what they must leave in a linear target; and
//! random registers, which end in a result, never in a panic.

#[path = "common/first_draw.rs"]
mod first_draw;

use amdgpu_shader::{
    context::Config,
    dispatch::Progress,
    draw::{
        Call,
        Draw,
        Indices,
        Registers, //
    },
    memory::Flat,
    rng::Rng,
    stop::Stop, //
};
use first_draw::{
    PIXEL,
    SIZE,
    VERTEX,
    place,
    settings, //
};

const PROGRAMS: u64 = 0x10_0000;
const VERTICES: u64 = 0x20_0000;
const TARGET: u64 = 0x30_0000;

fn registers(primitive: u32) -> Registers {
    let mut r =
        Registers { context: Box::new([0; 0x400]), shader: Box::new([0; 0x200]), primitive };
    for (index, value) in settings(PROGRAMS, PROGRAMS + 0x1000, VERTICES, TARGET) {
        match index {
            0xa000.. => r.context[index as usize - 0xa000] = value,
            _ => r.shader[index as usize - 0x2c00] = value,
        }
    }
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
        assert!(
            close(r, wanted_x) && close(g, wanted_y) && (b, a) == (1.0, 1.0),
            "({x}, {y}): {r} {g}"
        );
    }
    assert!(covered > 400 && killed > 400);
    assert_eq!(done.count.pixels, covered + u64::from(killed));
}

#[test]
fn a_rectangle_and_a_clipped_triangle() {
    let mut flat = memory(&[[0.5, -0.5, 0.0, 1.0], [0.5, 0.5, 0.0, 1.0], [1.0, -0.5, 0.0, 1.0]]);
    draw(registers(17), &mut flat, 3).unwrap();
    let count = |memory: &Flat| {
        (0..SIZE * SIZE).filter(|n| pixel(memory, n % SIZE, n / SIZE)[3] == 1.0).count()
    };
    assert_eq!(count(&flat), 16 * 32);
    // A corner behind the eye: the rest goes to the border.
    let mut flat = memory(&[[0.1, -0.9, 0.0, 1.0], [0.9, -0.9, 0.0, 1.0], [5.0, 50.0, -3.0, -1.0]]);
    draw(registers(4), &mut flat, 3).unwrap();
    assert!(count(&flat) > 300 && pixel(&flat, 48, 4)[3] == 1.0 && pixel(&flat, 48, 1)[3] == 0.0);
}

/// A target of 8_8_8_8 UNORM, its tiles' numbers behind it.
fn fast_cleared(mode: u32) -> Registers {
    let mut r = registers(17);
    r.context[0x202] = mode << 4 | 0xcc << 16;
    r.context[0x31c] = 10 << 2 | 1 << 13;
    r.context[0x31f] = ((TARGET + u64::from(SIZE * SIZE) * 4) >> 8) as u32;
    r.context[0x323] = CLEAR;
    r
}

const CLEAR: u32 = 0x1122_3344;

#[test]
fn tiles_are_cleared_by_their_number_alone() {
    let tiles = TARGET + u64::from(SIZE * SIZE) * 4;
    let mut flat = memory(&[[0.25, -0.5, 0.0, 1.0], [0.25, 0.5, 0.0, 1.0], [1.0, -0.5, 0.0, 1.0]]);
    let numbers = (SIZE * SIZE / 64 / 8) as usize;
    // All cleared but the first and the second.
    flat.put_words(tiles, &vec![0; numbers]);
    flat.put_words(tiles, &[0xcc]);
    draw(fast_cleared(1), &mut flat, 3).unwrap();
    let at =
        |memory: &Flat, x: u32, y: u32| memory.words(TARGET + u64::from(y * SIZE + x) * 4, 1)[0];
    // The rectangle begins in the middle of no tile: 40 to 63, 16 to 47.
    assert!(at(&flat, 40, 16) != 0 && at(&flat, 40, 16) != CLEAR);
    assert_eq!((at(&flat, 39, 16), at(&flat, 0, 0)), (0, 0), "tiles that nothing was drawn into");
    let half = [[0.3, -0.5, 0.0, 1.0], [0.3, 0.5, 0.0, 1.0], [1.0, -0.5, 0.0, 1.0]];
    flat.put_words(
        VERTICES,
        &half.as_flattened().iter().map(|v: &f32| v.to_bits()).collect::<Vec<_>>(),
    );
    flat.put_words(tiles, &vec![0; numbers]);
    flat.put_words(tiles, &[0xcc]);
    let drawn = at(&flat, 42, 16);
    draw(fast_cleared(1), &mut flat, 3).unwrap();
    assert_eq!(
        (at(&flat, 40, 16), at(&flat, 41, 16)),
        (CLEAR, CLEAR),
        "the rest of a tile that was drawn into"
    );
    assert!(at(&flat, 42, 16) != CLEAR && drawn != CLEAR);
    // What is drawn to eliminate writes the clear color where it is due, and nothing else.
    let whole = [[-1.0, -1.0, 0.0, 1.0], [-1.0, 1.0, 0.0, 1.0], [1.0, -1.0, 0.0, 1.0]];
    flat.put_words(
        VERTICES,
        &whole.as_flattened().iter().map(|v: &f32| v.to_bits()).collect::<Vec<_>>(),
    );
    let before = at(&flat, 50, 20);
    draw(fast_cleared(2), &mut flat, 3).unwrap();
    assert_eq!((at(&flat, 0, 0), at(&flat, 15, 7), at(&flat, 50, 20)), (0, 0, before));
    // Where its program kills, no tile is touched.
    assert_eq!((at(&flat, 33, 8), at(&flat, 63, 63), at(&flat, 41, 16)), (CLEAR, CLEAR, CLEAR));
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
    assert!(refused(&|r| r.context[0x31c] |= 1 << 13).contains("FAST_CLEAR of 128 bits"));
    assert!(refused(&|r| r.context[0x31c] |= 1 << 14).contains("COMPRESSION"));
    assert!(refused(&|r| r.context[0x2f8] = 2).contains("samples"));
}

#[test]
fn random_registers_do_not_panic() {
    let mut rng = Rng::new(4);
    let mut ended = 0;
    for _ in 0..3000 {
        let mut r = registers([4, 5, 6, 17, 19][rng.below(5)]);
        for _ in 0..rng.below(6) {
            let n = rng.below(0x400);
            r.context[n] = rng.word() >> rng.below(32);
        }
        for _ in 0..rng.below(3) {
            // Of registers that draws look at.
            let n = [
                0x0f, 0x10, 0x11, 0x16, 0x10f, 0x111, 0x1b4, 0x1c5, 0x200, 0x204, 0x206, 0x2f9,
                0x31c, 0x31d,
            ][rng.below(14)];
            r.context[n] = rng.word();
        }
        if rng.below(4) == 0 {
            let n = [0x48, 0x4a, 0x4b, 0x4d, 0x4e, 0x08, 0x0a, 0x0b][rng.below(8)];
            r.shader[n] = rng.word();
        }
        let vertices: Vec<[f32; 4]> = (0..12)
            .map(|_| {
                std::array::from_fn(|_| {
                    if rng.below(9) == 0 {
                        f32::from_bits(rng.word())
                    } else {
                        rng.below(5) as f32 - 2.0
                    }
                })
            })
            .collect();
        let mut config = Config { seed: rng.long(), ..Config::default() };
        config.tiling.tile.iter_mut().for_each(|mode| *mode = rng.word());
        config.tiling.macrotile.iter_mut().for_each(|mode| *mode = rng.word() & 0xff);
        let call = Call { count: 12, instances: rng.below(3) as u32, indices: Indices::Automatic };
        let Ok(mut draw) = Draw::new(r, call, config) else { continue };
        let mut memory = memory(&vertices);
        ended +=
            u32::from((0..20).any(|_| !matches!(draw.run(&mut memory, 1000), Ok(Progress::More))));
    }
    assert!(ended > 100, "hardly any draw came to an end");
}
