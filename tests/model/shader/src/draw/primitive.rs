// SPDX-License-Identifier: GPL-2.0 OR MIT
//! From vertices to triangles on the screen: clipping, the viewport, culling, parameters.

use super::registers::*;
use crate::{
    export::{
        Parameters,
        Plane, //
    },
    stop::Stop, //
};

/// A vertex as its program left it.
#[derive(Clone)]
pub struct Vertex {
    pub position: [f64; 4],
    /// Bits of the parameters that were exported.
    pub parameters: Vec<[u32; 4]>,
    /// Distances from the user's planes, negative outside.
    pub distances: [f64; 8],
}

/// A parameter of pixels: SPI_PS_INPUT_CNTL.
#[derive(Clone, Copy)]
struct Input {
    source: usize,
    default: Option<[f32; 4]>,
    flat: bool,
}

/// A triangle on the screen, or the rectangle that it is half of.
#[derive(Clone)]
pub struct Triangle {
    /// In steps of a pixel.
    pub points: [[i64; 2]; 3],
    pub depth: [f64; 3],
    /// One by W.
    pub inverse: [f64; 3],
    pub parameters: Parameters,
    pub front: bool,
    pub rectangle: bool,
}

/// A corner of what clipping leaves: its place, and its share of the three vertices.
#[derive(Clone, Copy)]
struct Corner {
    position: [f64; 4],
    share: [f64; 3],
}

/// View that turns vertices into triangles.
pub struct View {
    vte: u32,
    clip: u32,
    mode: u32,
    scale: [f64; 3],
    offset: [f64; 3],
    round: u32,
    /// Distances that clip, and from bit 8 those that cull.
    distances: u32,
    /// Steps of the grid that vertices lie on.
    grid: i64,
    inputs: Vec<Input>,
}

/// Steps of a pixel: those of the finest grid.
pub const STEPS: i64 = 4096;
/// Farthest from the viewport's middle that a corner may lie, in pixels: areas fit in 64 bits.
const FARTHEST: f64 = (1 << 16) as f64;
/// Factors of a position's components; what they sum up to is negative outside.
type Plane4 = [f64; 4];

impl View {
    /// From the registers.
    pub fn new(r: &Registers) -> Result<View, Stop> {
        if r.get(WINDOW_OFFSET) != 0 {
            return Err(Stop::illegal("PA_SC_WINDOW_OFFSET is not implemented".into()));
        }
        let viewport = |n: u32| f64::from(r.float(VPORT_XSCALE + n));
        let inputs = (0..r.get(SPI_PS_IN_CONTROL) & 0x3f)
            .map(|n| Input::new(r.get(SPI_PS_INPUT_CNTL + n.min(31))));
        Ok(View {
            vte: r.get(PA_CL_VTE_CNTL),
            clip: r.get(PA_CL_CLIP_CNTL),
            mode: r.get(PA_SU_SC_MODE_CNTL),
            scale: [viewport(0), viewport(2), viewport(4)],
            offset: [viewport(1), viewport(3), viewport(5)],
            round: r.bits(PA_SU_VTX_CNTL, 2, 1),
            distances: r.get(PA_CL_VS_OUT_CNTL) & 0xffff,
            // QUANT_MODE: steps of 1/16, 1/8, 1/4, 1/2, 1, 1/256, 1/1024, 1/4096.
            grid: STEPS / [16, 8, 4, 2, 1, 256, 1024, 4096][r.bits(PA_SU_VTX_CNTL, 5, 3) as usize],
            inputs: inputs.collect(),
        })
    }

    /// The triangles that a primitive leaves.
    pub fn triangles(&self, of: [&Vertex; 3], provoking: usize, rectangle: bool) -> Vec<Triangle> {
        let corner = |n: usize| {
            let mut share = [0.0; 3];
            share[n] = 1.0;
            Corner { position: of[n].position, share }
        };
        let mut corners = vec![corner(0), corner(1), corner(2)];
        if corners.iter().any(|c| c.position.iter().any(|v| v.is_nan())) {
            return vec![];
        }
        // Coordinates that are on the screen already are not clipped, nor are rectangles.
        if (0..8)
            .any(|n| self.distances >> (8 + n) & 1 != 0 && of.iter().all(|v| v.distances[n] < 0.0))
        {
            return vec![];
        }
        for n in (0..8).filter(|n| self.distances >> n & 1 != 0) {
            let distance = |c: Corner| (0..3).map(|k| c.share[k] * of[k].distances[n]).sum();
            corners = cut(&corners, distance);
        }
        let on_screen = self.vte & 1 << 8 != 0;
        if !on_screen && !rectangle && self.clip & 1 << 16 == 0 {
            corners = self.clipped(corners);
        }
        let fan =
            (1..corners.len().saturating_sub(1)).map(|n| [corners[0], corners[n], corners[n + 1]]);
        fan.filter_map(|three| self.triangle(of, three, provoking, rectangle)).collect()
    }

    fn clipped(&self, mut corners: Vec<Corner>) -> Vec<Corner> {
        let near_w = self.clip & 1 << 19 == 0;
        let guard = |n: usize| (FARTHEST / self.scale[n].abs().max(1.0)).max(2.0);
        let (gx, gy) = (guard(0), guard(1));
        let keep_near = self.clip & 1 << 26 == 0;
        let keep_far = self.clip & 1 << 27 == 0;
        let planes: [(bool, Plane4); 7] = [
            (true, [0.0, 0.0, 0.0, 1.0]),
            (keep_near, [0.0, 0.0, 1.0, if near_w { 1.0 } else { 0.0 }]),
            (keep_far, [0.0, 0.0, -1.0, 1.0]),
            (true, [1.0, 0.0, 0.0, gx]),
            (true, [-1.0, 0.0, 0.0, gx]),
            (true, [0.0, 1.0, 0.0, gy]),
            (true, [0.0, -1.0, 0.0, gy]),
        ];
        for (_, plane) in planes.into_iter().filter(|(on, _)| *on) {
            corners = cut(&corners, |c| plane.iter().zip(c.position).map(|(a, b)| a * b).sum());
        }
        corners
    }

    fn triangle(
        &self,
        of: [&Vertex; 3],
        corners: [Corner; 3],
        provoking: usize,
        rectangle: bool,
    ) -> Option<Triangle> {
        let screen = corners.map(|c| self.screen(c.position));
        let near = |v: f64| v.abs() <= 2.0 * FARTHEST;
        if !screen.iter().all(|s| near(s[0]) && near(s[1])) {
            return None;
        }
        let points = screen.map(|s| [self.fixed(s[0]), self.fixed(s[1])]);
        let area = cross(points[0], points[1], points[2]);
        // Down the screen Y grows: a negative area goes counter-clockwise.
        let front = (area < 0) != (self.mode & 4 != 0);
        let culled = self.mode & if front { 1 } else { 2 } != 0;
        if area == 0 || culled {
            return None;
        }
        let parameters = Parameters(
            self.inputs.iter().map(|input| input.planes(of, corners, provoking)).collect(),
        );
        let (depth, inverse) = (screen.map(|s| s[2]), screen.map(|s| s[3]));
        Some(Triangle { points, depth, inverse, parameters, front, rectangle })
    }

    /// Screen coordinates, depth, and one by W.
    fn screen(&self, [x, y, z, w]: [f64; 4]) -> [f64; 4] {
        // VTX_W0_FMT: W as it is, or one by W already.
        let inverse = if self.vte & 1 << 10 != 0 { 1.0 / w } else { w };
        let by_w =
            |value: f64, bit: u32| if self.vte >> bit & 1 == 0 { value * inverse } else { value };
        let placed = |value: f64, n: usize| {
            let scaled = if self.vte >> (2 * n) & 1 != 0 { value * self.scale[n] } else { value };
            if self.vte >> (2 * n + 1) & 1 != 0 { scaled + self.offset[n] } else { scaled }
        };
        [placed(by_w(x, 8), 0), placed(by_w(y, 8), 1), placed(by_w(z, 9), 2), inverse]
    }

    /// On the grid, as ROUND_MODE says.
    fn fixed(&self, value: f64) -> i64 {
        let steps = value * (STEPS / self.grid) as f64;
        let whole = match self.round {
            0 => steps.trunc(),
            1 => (steps + 0.5).floor(),
            _ => steps.round_ties_even(),
        };
        whole as i64 * self.grid
    }
}

/// Twice the area of a triangle, positive where it goes clockwise down the screen.
pub fn cross(a: [i64; 2], b: [i64; 2], c: [i64; 2]) -> i64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// The part of a polygon on one side of a plane.
fn cut(corners: &[Corner], plane: impl Fn(Corner) -> f64) -> Vec<Corner> {
    let mut kept = vec![];
    for (n, a) in corners.iter().enumerate() {
        let b = &corners[(n + 1) % corners.len()];
        let (da, db) = (plane(*a), plane(*b));
        if da >= 0.0 {
            kept.push(*a);
        }
        if (da >= 0.0) != (db >= 0.0) {
            let t = da / (da - db);
            let mix = |p: f64, q: f64| p + t * (q - p);
            kept.push(Corner {
                position: std::array::from_fn(|k| mix(a.position[k], b.position[k])),
                share: std::array::from_fn(|k| mix(a.share[k], b.share[k])),
            });
        }
    }
    kept
}

impl Input {
    fn new(control: u32) -> Input {
        let default = match control >> 8 & 3 {
            0 => [0.0; 4],
            1 => [0.0, 0.0, 0.0, 1.0],
            2 => [1.0, 1.0, 1.0, 0.0],
            _ => [1.0; 4],
        };
        Input {
            source: (control & 0x1f) as usize,
            default: (control & 0x20 != 0).then_some(default),
            flat: control & 1 << 10 != 0,
        }
    }

    /// Returns the planes that pixels interpolate, by component.
    fn planes(&self, of: [&Vertex; 3], corners: [Corner; 3], provoking: usize) -> [Plane; 4] {
        if let Some(default) = self.default {
            return default.map(|value| [value, 0.0, 0.0]);
        }
        std::array::from_fn(|c| {
            let value =
                |n: usize| f32::from_bits(of[n].parameters.get(self.source).map_or(0, |p| p[c]));
            if self.flat {
                return [value(provoking), 0.0, 0.0];
            }
            let at = |corner: &Corner| -> f32 {
                // A corner that is a vertex has its value, bit for bit.
                match corner.share.iter().position(|s| *s == 1.0) {
                    Some(n) => value(n),
                    None => {
                        (0..3).map(|n| f64::from(value(n)) * corner.share[n]).sum::<f64>() as f32
                    }
                }
            };
            let [first, second, third] = [at(&corners[0]), at(&corners[1]), at(&corners[2])];
            [first, second - first, third - first]
        })
    }
}
