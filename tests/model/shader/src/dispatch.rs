// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A dispatch: groups that start in order, as many at a time as the seed allows, and waves that
//! take turns.
//!
//! Hardware starts groups in order and lets them run as they can; so here, where the seed decides
//! how many run at once and which wave goes next, for how long. A dispatch is executed in slices:
//! see [`Dispatch::run`].

use crate::{
    bus::Bus,
    context::{
        Config,
        Context, //
    },
    launch::Launch,
    machine::{
        self,
        Shared, //
    },
    memory::Memory,
    noise::Noise,
    program::Program,
    rng::Rng,
    stop::Stop,
    units::{
        Unit,
        Units,
        hardware_id, //
    },
    wave::{
        Row,
        State,
        Wave, //
    }, //
};

/// Most groups at once.
const GROUPS: usize = 8;
/// Most instructions of a wave before another's turn.
const TURN: usize = 256;

/// What a slice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to execute.
    More,
    /// All groups have ended.
    Done,
}

/// What was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions of waves.
    pub instructions: u64,
    /// Groups started.
    pub groups: u64,
}

/// A dispatch that goes on.
pub struct Dispatch {
    launch: Launch,
    config: Config,
    /// The next group to start; `None` if all have.
    next: Option<[u32; 3]>,
    resident: Vec<Group>,
    /// Groups that may be resident.
    most: usize,
    program: Program,
    rng: Rng,
    noise: Noise,
    units: Units,
    /// Scratch slots in use.
    slots: Vec<bool>,
    /// Registers of waves that have ended.
    spare: Vec<Vec<Row>>,
    /// What was executed.
    pub count: Count,
}

/// A group that runs.
struct Group {
    waves: Vec<Wave>,
    lds: Vec<u8>,
    context: Context,
    slots: Vec<usize>,
}

impl Dispatch {
    /// A dispatch of which nothing has been executed.
    pub fn new(launch: Launch, config: Config) -> Dispatch {
        let mut rng = Rng::new(config.seed);
        let noise = Noise::new(&mut rng, config.noise);
        let empty = (0..3).any(|n| launch.start[n] >= launch.end[n]);
        let waves = launch.waves(launch.threads).max(1) as usize;
        let slots = if launch.scratch_enabled() { launch.scratch.1 as usize } else { 0 };
        let by_scratch = if launch.scratch_enabled() { (slots / waves).max(1) } else { GROUPS };
        Dispatch {
            next: (!empty).then_some(launch.start),
            most: (1 + rng.below(GROUPS)).min(by_scratch),
            program: Program::new(launch.allocation),
            resident: vec![],
            units: Units::new(config.units, launch.units, launch.limits),
            slots: vec![false; slots],
            spare: vec![],
            count: Count::default(),
            launch,
            config,
            rng,
            noise,
        }
    }

    /// Executes about `budget` instructions. After an error the dispatch is over.
    pub fn run<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        budget: u64,
    ) -> Result<Progress, Stop> {
        let mut bus = Bus::new(memory);
        let mut left = budget;
        while left > 0 {
            self.fill();
            if self.resident.is_empty() {
                return self.end();
            }
            // A turn counts even if a group had nothing to execute: there may be many of those.
            let done = self.turn(&mut bus, left)?;
            self.count.instructions += done;
            left -= done.clamp(1, left);
        }
        Ok(Progress::More)
    }

    /// Ends the waves that are there. Groups that have not started will.
    pub fn kill(&mut self) {
        for group in std::mem::take(&mut self.resident) {
            self.retire(group);
        }
    }

    /// Gives back what a group had that is over.
    fn retire(&mut self, group: Group) {
        group.slots.iter().for_each(|slot| self.slots[*slot] = false);
        self.units.release(group.context.unit, group.waves.len() as u32);
        self.spare.extend(group.waves.into_iter().map(|w| w.vector));
    }

    /// Nothing runs: all has ended, or what is left can never start.
    fn end(&self) -> Result<Progress, Stop> {
        let Some(group) = self.next else { return Ok(Progress::Done) };
        Err(Stop::illegal(format!(
            "group {group:?} can start on no compute unit: {:x?} are there, {:x?} allowed, \
             COMPUTE_RESOURCE_LIMITS {:#x}",
            self.config.units, self.launch.units, self.launch.limits
        )))
    }

    /// Starts groups while there is room.
    fn fill(&mut self) {
        while self.resident.len() < self.most {
            let Some(group) = self.next else { return };
            let waves = self.launch.waves(self.launch.threads_of(group));
            let Some(unit) = self.units.place(waves, &mut self.rng) else { return };
            self.next = self.after(group);
            let group = self.start(group, unit);
            self.resident.push(group);
            self.count.groups += 1;
        }
    }

    /// The group that follows, x fastest.
    fn after(&self, mut group: [u32; 3]) -> Option<[u32; 3]> {
        for n in 0..3 {
            group[n] += 1;
            if group[n] < self.launch.end[n] {
                return Some(group);
            }
            group[n] = self.launch.start[n];
        }
        None
    }

    fn start(&mut self, group: [u32; 3], unit: Unit) -> Group {
        let threads = self.launch.threads_of(group);
        let waves = self.launch.waves(threads);
        let mut slots = vec![];
        let waves = (0..waves)
            .map(|number| {
                let slot = self.slots.iter().position(|used| !used);
                if let Some(slot) = slot {
                    self.slots[slot] = true;
                    slots.push(slot);
                }
                let slot = slot.unwrap_or(0) as u32;
                let mut wave = self.wave(group, threads, (number, waves), slot);
                wave.hardware = hardware_id(unit);
                wave
            })
            .collect();
        let context = Context {
            unit,
            unaligned: self.config.unaligned,
            apertures: self.config.apertures,
            borders: self.config.borders,
            tiling: self.config.tiling.clone(),
        };
        Group {
            waves,
            lds: self.noise.bytes(&mut self.rng, self.launch.lds as usize),
            context,
            slots,
        }
    }

    fn wave(&mut self, group: [u32; 3], threads: [u32; 3], number: (u32, u32), slot: u32) -> Wave {
        let mut vector = self.spare.pop().unwrap_or_default();
        self.noise.rows(&mut self.rng, self.launch.allocation.vector.into(), &mut vector);
        let mut scalar = self.noise.scalars(&mut self.rng);
        self.launch.scalars(group, number, slot.wrapping_mul(self.launch.scratch.0), &mut scalar);
        let exec = self.launch.threads_to(threads, number.0, &mut vector);
        let mut wave = Wave::new(self.launch.program, self.launch.mode, scalar, vector);
        wave.set_pair(crate::isa::code::EXEC, exec);
        wave.scc = self.config.noise && self.rng.below(2) == 1;
        wave
    }

    /// Lets one wave execute, then ends or releases what is through. Returns how many instructions.
    fn turn<M: Memory + ?Sized>(&mut self, bus: &mut Bus<'_, M>, limit: u64) -> Result<u64, Stop> {
        let n = self.rng.below(self.resident.len());
        let most = (1 + self.rng.below(TURN) as u64).min(limit);
        let group = &mut self.resident[n];
        let first = self.rng.below(group.waves.len());
        let order = (first..group.waves.len()).chain(0..first);
        let ready = order.into_iter().find(|w| group.waves[*w].state == State::Ready);
        let mut done = 0;
        if let Some(ready) = ready {
            let mut shared = Shared {
                program: &mut self.program,
                lds: &mut group.lds,
                context: &group.context,
                waits: self.config.waits,
                graphics: None,
            };
            done = machine::run(&mut group.waves[ready], &mut shared, bus, most)?;
        }
        group.release();
        if group.is_over() {
            let group = self.resident.swap_remove(n);
            self.retire(group);
        }
        Ok(done)
    }
}

impl Group {
    /// Lets waves go on if all that have not ended are at the barrier.
    fn release(&mut self) {
        if self.waves.iter().any(|w| w.state == State::Ready) {
            return;
        }
        for wave in self.waves.iter_mut().filter(|w| w.state == State::AtBarrier) {
            wave.state = State::Ready;
        }
    }

    fn is_over(&self) -> bool {
        self.waves.iter().all(|w| w.state == State::Ended)
    }
}
