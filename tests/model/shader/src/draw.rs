// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A draw: vertices through their program, primitives, pixels through theirs, targets.
//!
//! Primitives go one after another, a wave of pixels has one primitive, and depth and stencil are
//! tested behind the program, as if EARLY_Z were never asked for. A draw is executed in slices, as
//! a dispatch is: see [`Draw::run`]. What is not implemented is refused by its name
//! (`registers.rs`).

mod assembly;
mod color;
mod depth;
pub mod packets;
mod primitive;
mod raster;
mod registers;
mod stage;

use std::collections::VecDeque;

use assembly::{
    Assembly,
    Primitive, //
};
use color::Target;
use depth::Depth;
use primitive::{
    Triangle,
    Vertex,
    View, //
};
use raster::{
    QUADS,
    Quad,
    Raster,
    Scissor, //
};

use crate::{
    bus::Bus,
    context::{
        Config,
        Context, //
    },
    dispatch::Progress,
    export::{
        Exports,
        Parameters,
        target, //
    },
    machine::{
        self,
        Graphics,
        Shared, //
    },
    memory::Memory,
    noise::Noise,
    rng::Rng,
    stop::Stop,
    wave::{
        LANES,
        Row,
        State,
        Wave, //
    }, //
};
pub use registers::Registers;
use registers::*;
use stage::Stage;

/// Most instructions of a wave before the rest of a draw is looked at.
const TURN: u64 = 1024;
/// Primitives whose vertices make a wave.
const BATCH: usize = LANES / 3;
/// Vertex caches that the waves of a draw are spread over.
const UNITS: usize = 4;

/// Source of indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Indices {
    /// They count from 0.
    Automatic,
    /// Words of 16 bits in memory, `most` of them.
    Short { base: u64, most: u32 },
    /// Words of 32 bits.
    Long { base: u64, most: u32 },
}

/// Contents of a draw packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Indices of an instance.
    pub count: u32,
    /// Instances; 0 is one.
    pub instances: u32,
    /// Source of indices.
    pub indices: Indices,
}

/// Counts of what was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions of waves.
    pub instructions: u64,
    /// Primitives assembled.
    pub primitives: u64,
    /// Pixels that were covered.
    pub pixels: u64,
}

/// A wave, and what it is for.
enum Work {
    Vertices(Vec<Primitive>),
    Pixels(Vec<Quad>),
}

/// A draw that goes on.
pub struct Draw {
    registers: Registers,
    config: Config,
    context: Context,
    rng: Rng,
    noise: Noise,
    assembly: Assembly,
    view: View,
    scissor: Scissor,
    targets: Vec<Target>,
    depth: Depth,
    vertex: Stage,
    pixel: Stage,
    /// Triangles whose vertices have been computed.
    triangles: VecDeque<Triangle>,
    raster: Option<Raster>,
    /// Quads of the next wave of pixels.
    quads: Vec<Quad>,
    running: Option<(Wave, Exports, Work)>,
    /// Counts of what was executed.
    pub count: Count,
}

impl Draw {
    /// A draw of which nothing has been executed.
    pub fn new(registers: Registers, call: Call, config: Config) -> Result<Draw, Stop> {
        registers::check(&registers)?;
        let r = &registers;
        let mut rng = Rng::new(config.seed);
        let noise = Noise::new(&mut rng, config.noise);
        let context = Context {
            unit: rng.below(UNITS) as u8,
            unaligned: config.unaligned,
            apertures: config.apertures,
            borders: config.borders,
            tiling: config.tiling.clone(),
        };
        Ok(Draw {
            assembly: Assembly::new(r, call)?,
            view: View::new(r)?,
            scissor: Scissor::new(r),
            targets: color::targets(r, &config.tiling)?,
            depth: Depth::new(r, &config.tiling)?,
            vertex: Stage::new(r, stage::VERTEX)?,
            pixel: Stage::new(r, stage::PIXEL)?,
            triangles: VecDeque::new(),
            raster: None,
            quads: vec![],
            running: None,
            count: Count::default(),
            registers,
            config,
            context,
            rng,
            noise,
        })
    }

    /// Executes about `budget` instructions. After an error the draw is over.
    pub fn run<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        budget: u64,
    ) -> Result<Progress, Stop> {
        let mut bus = Bus::new(memory);
        let mut left = budget;
        while left > 0 {
            if self.running.is_some() {
                self.turn(&mut bus, &mut left)?;
            } else if self.raster.is_some() {
                self.rasterize(&mut left)?;
            } else if let Some(triangle) = self.triangles.pop_front() {
                let half = self.registers.get(PA_SU_VTX_CNTL) & 1 != 0;
                self.raster = Some(Raster::new(triangle, self.scissor, half));
            } else if !self.assemble(&mut bus, &mut left)? {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// Ends the wave that is there: its vertices or pixels are lost. Others will start.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Lets the wave execute, and takes what it has exported when it has ended.
    fn turn<M: Memory + ?Sized>(
        &mut self,
        bus: &mut Bus<'_, M>,
        left: &mut u64,
    ) -> Result<(), Stop> {
        let Some((mut wave, mut exports, work)) = self.running.take() else { return Ok(()) };
        let none = Parameters::default();
        let (stage, parameters) = match (&work, &self.raster) {
            (Work::Pixels(_), Some(raster)) => (&mut self.pixel, &raster.triangle.parameters),
            _ => (&mut self.vertex, &none),
        };
        let mut shared = Shared {
            program: &mut stage.program,
            lds: &mut [],
            context: &self.context,
            waits: self.config.waits,
            graphics: Some(Graphics { exports: &mut exports, parameters }),
        };
        let done = machine::run(&mut wave, &mut shared, bus, TURN.min(*left))?;
        self.count.instructions += done;
        *left -= done.clamp(1, *left);
        if wave.state != State::Ended {
            // A barrier of one wave.
            wave.state = State::Ready;
            self.running = Some((wave, exports, work));
            return Ok(());
        }
        match work {
            Work::Vertices(batch) => {
                self.vertex.ended(wave);
                self.place(&batch, &exports);
                Ok(())
            }
            Work::Pixels(quads) => {
                self.pixel.ended(wave);
                self.write(&quads, &exports, bus)
            }
        }
    }

    /// Starts a wave of vertices. Returns false if there are no more.
    fn assemble<M: Memory + ?Sized>(
        &mut self,
        bus: &mut Bus<'_, M>,
        left: &mut u64,
    ) -> Result<bool, Stop> {
        let mut batch = vec![];
        while batch.len() < BATCH {
            match self.assembly.next(bus, left)? {
                Some(primitive) => batch.push(primitive),
                None => break,
            }
        }
        *left = left.saturating_sub(1);
        if batch.is_empty() {
            return Ok(!self.assembly.ended() || self.assembly.next_instance());
        }
        self.count.primitives += batch.len() as u64;
        let step = self.registers.get(VGT_INSTANCE_STEP_RATE_0).max(1);
        let instance = self.assembly.instance;
        let mut inputs: Vec<Row> = vec![[0; LANES]; 1 + self.vertex.components as usize];
        for (lane, (primitive, n)) in
            batch.iter().flat_map(|p| (0..3).map(move |n| (p, n))).enumerate()
        {
            let values = [primitive.vertices[n], instance / step, primitive.number, instance];
            for (row, value) in inputs.iter_mut().zip(values) {
                row[lane] = value;
            }
        }
        let exec = (1 << (3 * batch.len())) - 1;
        let wave = self.vertex.wave((&mut self.rng, &self.noise), exec, &[], &inputs)?;
        self.running = Some((wave, Exports::default(), Work::Vertices(batch)));
        Ok(true)
    }

    /// Puts the triangles of vertices that have been computed on the screen.
    fn place(&mut self, batch: &[Primitive], exports: &Exports) {
        for (n, primitive) in batch.iter().enumerate() {
            let vertices: [Vertex; 3] = std::array::from_fn(|k| self.vertex_of(exports, 3 * n + k));
            let rectangles = self.assembly.rectangles();
            let triangles =
                self.view.triangles(vertices.each_ref(), primitive.provoking, rectangles);
            self.triangles.extend(triangles);
        }
    }

    /// A vertex as its lane has exported it. Positions follow each other: of those that
    /// PA_CL_VS_OUT_CNTL names, the vector of point size and the like, then distances.
    fn vertex_of(&self, exports: &Exports, lane: usize) -> Vertex {
        let word = |of: u8, n: usize| exports.word(of, n, lane);
        let four = |of: u8| std::array::from_fn(|n| word(of, n));
        let parameters = (0..exports.parameters()).map(|n| four(target::PARAMETER + n)).collect();
        let position: [u32; 4] = four(target::POSITION);
        let control = self.registers.get(PA_CL_VS_OUT_CNTL);
        let first = target::POSITION + 1 + (control >> 21 & 1) as u8;
        // Without the first four the last four take their place.
        let second = first + (control >> 22 & 1) as u8;
        let distances: [u32; 8] =
            std::array::from_fn(|n| if n < 4 { word(first, n) } else { word(second, n - 4) });
        let float = |bits: u32| f64::from(f32::from_bits(bits));
        Vertex { position: position.map(float), parameters, distances: distances.map(float) }
    }

    /// Finds covered quads, and starts a wave of pixels when it is full or the triangle is through.
    fn rasterize(&mut self, left: &mut u64) -> Result<(), Stop> {
        let Some(raster) = &mut self.raster else { return Ok(()) };
        let through = raster.fill(&mut self.quads, left);
        if self.quads.is_empty() && through {
            self.raster = None;
            return Ok(());
        }
        if self.quads.len() < QUADS && !through {
            return Ok(());
        }
        let quads = std::mem::take(&mut self.quads);
        let inputs = raster.inputs(&quads, &self.registers);
        let exec = quads
            .iter()
            .enumerate()
            .fold(0, |exec, (n, quad)| exec | u64::from(quad.mask) << (4 * n));
        // The mask of primitives: all quads are of one.
        let wave = self.pixel.wave((&mut self.rng, &self.noise), exec, &[0], &inputs)?;
        self.running = Some((wave, Exports::default(), Work::Pixels(quads)));
        Ok(())
    }

    /// Tests and writes the pixels that a wave leaves.
    fn write<M: Memory + ?Sized>(
        &mut self,
        quads: &[Quad],
        exports: &Exports,
        bus: &mut Bus<'_, M>,
    ) -> Result<(), Stop> {
        let Some(raster) = &self.raster else { return Ok(()) };
        let exported_depth = self.registers.get(DB_SHADER_CONTROL) & 1 != 0;
        for (quad, n) in quads.iter().enumerate().flat_map(|(q, _)| (0..4).map(move |n| (q, n))) {
            let lane = 4 * quad + n;
            let covered = quads[quad].mask >> n & 1 != 0;
            self.count.pixels += u64::from(covered);
            if !covered || exports.valid() >> lane & 1 == 0 {
                continue;
            }
            let pixel = quads[quad].pixel(n);
            let z = match exported_depth {
                true => f64::from(f32::from_bits(exports.word(target::DEPTH, 0, lane))),
                false => raster.depth(raster.shares(pixel)),
            };
            if !self.depth.test(pixel, z, raster.triangle.front, bus)? {
                continue;
            }
            for target in &self.targets {
                if let Some(export) = exports.get(target.number) {
                    target.write(pixel, target.exported(export, lane), bus)?;
                }
            }
        }
        Ok(())
    }
}
