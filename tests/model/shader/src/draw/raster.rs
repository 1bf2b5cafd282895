// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Pixels that a triangle covers: those whose center it holds. A center on an edge belongs to it
//! where the edge is a top or a left one, so that neighbors share no pixel.

use super::{
    primitive::{
        STEPS,
        Triangle,
        cross, //
    },
    registers::*, //
};
use crate::wave::{
    LANES,
    Row, //
};

/// Quads of a wave.
pub const QUADS: usize = LANES / 4;
/// Quads that are looked at for the price of an instruction.
const QUADS_AN_INSTRUCTION: i64 = 8;

/// Pixels that may be written: first column and row, and those past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scissor {
    pub first: [i64; 2],
    pub end: [i64; 2],
}

impl Scissor {
    /// Returns the intersection of the screen, window, generic and viewport scissors.
    pub fn new(r: &Registers) -> Scissor {
        let mut all = Scissor { first: [0; 2], end: [1 << 14; 2] };
        let by_viewport = r.get(PA_SC_MODE_CNTL_0) & 2 != 0;
        let scissors = [(SCREEN_SCISSOR, true), (WINDOW_SCISSOR, true), (GENERIC_SCISSOR, true)];
        for (index, _) in
            scissors.into_iter().chain([(VPORT_SCISSOR, by_viewport)]).filter(|(_, on)| *on)
        {
            let corner =
                |index| [i64::from(r.get(index) & 0x7fff), i64::from(r.get(index) >> 16 & 0x7fff)];
            let (first, end) = (corner(index), corner(index + 1));
            for n in 0..2 {
                all.first[n] = all.first[n].max(first[n]);
                all.end[n] = all.end[n].min(end[n]);
            }
        }
        all
    }
}

/// Four pixels, by the first of them, and those that are covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quad {
    pub x: i64,
    pub y: i64,
    pub mask: u8,
}

impl Quad {
    /// Column and row of one of the four.
    pub fn pixel(self, n: usize) -> [i64; 2] {
        [self.x + (n as i64 & 1), self.y + (n as i64 >> 1)]
    }
}

/// A half plane: inside where `x * a + y * b + c` is not negative.
#[derive(Clone, Copy)]
struct Edge {
    a: i64,
    b: i64,
    c: i64,
}

impl Edge {
    fn new(from: [i64; 2], to: [i64; 2]) -> Edge {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let top_or_left = dy < 0 || dy == 0 && dx > 0;
        Edge { a: -dy, b: dx, c: dy * from[0] - dx * from[1] - i64::from(!top_or_left) }
    }

    fn holds(self, [x, y]: [i64; 2]) -> bool {
        self.a * x + self.b * y + self.c >= 0
    }
}

/// A triangle that is being rasterized.
pub struct Raster {
    pub triangle: Triangle,
    edges: Vec<Edge>,
    area: f64,
    /// From a pixel's corner to its center, on the grid.
    center: i64,
    scissor: Scissor,
    next: [i64; 2],
    first: i64,
    end: [i64; 2],
}

impl Raster {
    /// Nothing of the triangle looked at.
    pub fn new(triangle: Triangle, scissor: Scissor, half: bool) -> Raster {
        let [a, b, c] = triangle.points;
        let area = cross(a, b, c);
        let [p, q, s] = if area > 0 { [a, b, c] } else { [a, c, b] };
        let least = |n: usize| a[n].min(b[n]).min(c[n]);
        let most = |n: usize| a[n].max(b[n]).max(c[n]);
        let edges = if triangle.rectangle {
            let corners = [
                [least(0), least(1)],
                [most(0), least(1)],
                [most(0), most(1)],
                [least(0), most(1)],
            ];
            (0..4).map(|n| Edge::new(corners[n], corners[(n + 1) % 4])).collect()
        } else {
            vec![Edge::new(p, q), Edge::new(q, s), Edge::new(s, p)]
        };
        let first = [0, 1].map(|n| least(n).div_euclid(STEPS).max(scissor.first[n]) & !1);
        let end = [0, 1].map(|n| (most(n).div_euclid(STEPS) + 1).min(scissor.end[n]));
        let center = if half { STEPS / 2 } else { 0 };
        Raster {
            triangle,
            edges,
            area: area as f64,
            center,
            scissor,
            next: first,
            first: first[0],
            end,
        }
    }

    /// Adds quads to those of a wave, until it is full, the triangle is through, or the time is up.
    /// Returns true if the triangle is through.
    pub fn fill(&mut self, quads: &mut Vec<Quad>, left: &mut u64) -> bool {
        while quads.len() < QUADS && *left > 0 {
            if self.next[1] >= self.end[1] || self.first >= self.end[0] {
                return true;
            }
            let [x, y] = self.next;
            if x % (2 * QUADS_AN_INSTRUCTION) == 0 {
                *left -= 1;
            }
            self.next = if x + 2 < self.end[0] { [x + 2, y] } else { [self.first, y + 2] };
            let mut quad = Quad { x, y, mask: 0 };
            for n in 0..4 {
                quad.mask |= u8::from(self.covers(quad.pixel(n))) << n;
            }
            if quad.mask != 0 {
                quads.push(quad);
            }
        }
        false
    }

    fn covers(&self, pixel: [i64; 2]) -> bool {
        let Scissor { first, end } = self.scissor;
        let inside = (0..2).all(|n| (first[n]..end[n]).contains(&pixel[n]));
        inside && self.edges.iter().all(|edge| edge.holds(self.middle(pixel)))
    }

    fn middle(&self, pixel: [i64; 2]) -> [i64; 2] {
        pixel.map(|v| v * STEPS + self.center)
    }

    /// Shares of the second and the third vertex at a pixel's center, on the screen.
    pub fn shares(&self, pixel: [i64; 2]) -> [f64; 2] {
        let at = self.middle(pixel);
        let [a, b, c] = self.triangle.points;
        [cross(c, a, at) as f64 / self.area, cross(a, b, at) as f64 / self.area]
    }

    /// The same in space, and W.
    fn perspective(&self, [second, third]: [f64; 2]) -> ([f64; 2], f64) {
        let [p, q, r] = self.triangle.inverse;
        let sum = (1.0 - second - third) * p + second * q + third * r;
        ([second * q / sum, third * r / sum], 1.0 / sum)
    }

    /// Depth on the screen.
    pub fn depth(&self, [second, third]: [f64; 2]) -> f64 {
        let [a, b, c] = self.triangle.depth;
        a + second * (b - a) + third * (c - a)
    }

    /// Vector registers of a pixel wave, in the order of SPI_PS_INPUT_ADDR.
    pub fn inputs(&self, quads: &[Quad], r: &Registers) -> Vec<Row> {
        let address = r.get(SPI_PS_INPUT_ADDR);
        let centers_at_corner = r.get(SPI_BARYC_CNTL) & 1 << 20 != 0;
        let all_bits = r.get(SPI_BARYC_CNTL) & 1 << 24 != 0;
        let mut rows = vec![];
        for bit in (0..16).filter(|bit| address >> bit & 1 != 0) {
            let count = if matches!(bit, 0..=2 | 4..=6) { 2 } else { 1 };
            let first = rows.len();
            rows.extend(std::iter::repeat_n([0; LANES], count));
            for (lane, pixel) in quads.iter().flat_map(|q| (0..4).map(|n| q.pixel(n))).enumerate() {
                let shares = self.shares(pixel);
                let float = |value: f64| (value as f32).to_bits();
                let place =
                    |n: usize| float(pixel[n] as f64 + if centers_at_corner { 0.0 } else { 0.5 });
                let values = match bit {
                    0..=2 => self.perspective(shares).0.map(float),
                    4..=6 => shares.map(float),
                    8 | 9 => [place(bit - 8), 0],
                    10 => [float(self.depth(shares)), 0],
                    11 => [float(self.perspective(shares).1), 0],
                    12 => [front_face(self.triangle.front, all_bits), 0],
                    14 => [(quads[lane / 4].mask >> (lane % 4) & 1).into(), 0],
                    15 => [pixel[0] as u32 & 0xffff | (pixel[1] as u32) << 16, 0],
                    _ => [0, 0],
                };
                for (row, value) in rows[first..].iter_mut().zip(values) {
                    row[lane] = value;
                }
            }
        }
        rows
    }
}

/// The whole register says it, or its sign.
fn front_face(front: bool, all_bits: bool) -> u32 {
    match (all_bits, front) {
        (true, front) => front.into(),
        (false, true) => 1.0f32.to_bits(),
        (false, false) => (-1.0f32).to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        export::Parameters,
        rng::Rng, //
    };

    const SCREEN: Scissor = Scissor { first: [0; 2], end: [64; 2] };

    fn triangle(points: [[i64; 2]; 3], rectangle: bool) -> Triangle {
        let parameters = Parameters::default();
        Triangle {
            points,
            depth: [0.0, 0.5, 1.0],
            inverse: [1.0; 3],
            parameters,
            front: true,
            rectangle,
        }
    }

    fn pixels(points: [[i64; 2]; 3], rectangle: bool) -> Vec<[i64; 2]> {
        let mut raster = Raster::new(triangle(points, rectangle), SCREEN, true);
        let mut all = vec![];
        loop {
            let mut quads = vec![];
            let through = raster.fill(&mut quads, &mut 1000);
            let covered = |q: &Quad| {
                (0..4).filter(|n| q.mask >> n & 1 != 0).map(|n| q.pixel(n)).collect::<Vec<_>>()
            };
            all.extend(quads.iter().flat_map(covered));
            if through {
                return all;
            }
        }
    }

    #[test]
    fn triangles_round_a_point_cover_each_pixel_once() {
        let mut rng = Rng::new(5);
        for _ in 0..50 {
            // A square of whole pixels, cut at a point inside it and at points on its border.
            let inside = [rng.below(60 * 4096) as i64 + 8192, rng.below(60 * 4096) as i64 + 8192];
            let top = [rng.below(64 * 4096) as i64, 0];
            let corners = [[0, 0], top, [64 * 4096, 0], [64 * 4096, 64 * 4096], [0, 64 * 4096]];
            let mut times: HashMap<[i64; 2], u32> = HashMap::new();
            for n in 0..5 {
                // Either way round.
                let (a, b) = (corners[n], corners[(n + 1) % 5]);
                let three = if n % 2 == 0 { [inside, a, b] } else { [b, a, inside] };
                if cross(three[0], three[1], three[2]) != 0 {
                    pixels(three, false)
                        .into_iter()
                        .for_each(|p| *times.entry(p).or_default() += 1);
                }
            }
            assert_eq!(times.len(), 64 * 64, "{inside:?} {top:?}");
            assert!(times.values().all(|n| *n == 1), "{inside:?} {top:?}");
        }
    }

    #[test]
    fn rectangles_are_whole_and_scissors_cut() {
        let three = [[-8192, 4096], [40960, 4096], [-8192, 16384]];
        let all = pixels(three, true);
        assert_eq!(all.len(), 10 * 3);
        assert!(all.iter().all(|[x, y]| (0..10).contains(x) && (1..4).contains(y)));
        assert!(pixels(three, false).len() < 30);
    }

    #[test]
    fn shares_are_exact_at_vertices() {
        let raster = Raster::new(
            triangle([[2048, 2048], [43008, 2048], [2048, 83968]], false),
            SCREEN,
            true,
        );
        assert_eq!(raster.shares([0, 0]), [0.0, 0.0]);
        assert_eq!(raster.shares([10, 0]), [1.0, 0.0]);
        assert_eq!(raster.shares([0, 20]), [0.0, 1.0]);
        assert_eq!(raster.depth(raster.shares([5, 10])), 0.75);
    }
}
