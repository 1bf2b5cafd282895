// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Changes of page tables that are not written at once: recorded while the mappings change, and
//! written when the jobs that may use the old entries have ended.
//!
//! The C driver's are the two `amdgpu_vm_update_funcs`, by the CPU and by SDMA.
//!
//! A [`Recorder`] is a [`Memory`] like VRAM, so that the code that writes page tables is the same
//! for both. What it records are [`Steps`], which are later done to VRAM in the same order. Nothing
//! can be allocated while the mappings change, so the memory for the steps is counted ([`Room`])
//! and allocated before.

use core::{
    cell::RefCell,
    ops::{
        Add,
        Range, //
    },
};

use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*, //
};

use super::{
    layout,
    tables::Memory, //
};
use crate::hw::page_table::{
    Format,
    Pte, //
};

/// Memory that a change takes, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    steps: usize,
    /// Page-table and directory entries.
    values: usize,
    /// Runs of entries, which are steps besides.
    runs: usize,
    /// The part of them that an engine should write.
    long: LongRuns,
}

/// Runs of entries that an engine should write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LongRuns {
    /// Number of *stretches*: runs with nothing in between.
    pub(super) stretches: usize,
    /// Number of runs in all stretches, at most.
    pub(super) runs: usize,
}

/// Number of entries from which on a DMA engine writes them: for fewer, its jobs take more
/// instructions than to write them (docs/performance.md, row `va`).
pub(super) const BY_ENGINE_FROM: u64 = 16384;

/// Returns true if it is worthwhile to have an engine write a stretch of `runs` runs with `entries`
/// entries.
fn is_long(runs: usize, entries: u64) -> bool {
    /// Number of entries of a run, on average, that a packet is worth.
    const LONG: u64 = 64;

    // LOSSLESS: The kernel is a 64-bit one.
    entries >= BY_ENGINE_FROM && runs as u64 * LONG <= entries
}

impl Room {
    /// Returns the room for writing the entries of `pages`.
    pub(super) fn to_write(format: &Format, pages: Range<u64>) -> Self {
        /// For each page table: what comes before the entries and after them is cleared, the
        /// entries are written and what is beyond the buffer is cleared, and the table is linked
        /// after a flush.
        const STEPS: usize = 6;
        /// For each table above: it is cleared, one entry is written, and it is linked after a
        /// flush.
        const STEPS_ABOVE: usize = 4;

        // CAST: The kernel is a 64-bit one.
        let count = (pages.end - pages.start) as usize;
        let tables = layout::chunks(format, pages.clone()).count();
        let above = if format.levels() == 2 {
            0
        } else {
            format.tables_of(pages).count() - tables
        };
        Self {
            steps: STEPS * tables + STEPS_ABOVE * above,
            values: count + tables + above,
            ..Self::default()
        }
    }

    /// Returns the room for writing the entries of `pages`, which are in `runs` runs of like
    /// entries for consecutive pages.
    pub(super) fn to_write_runs(format: &Format, pages: Range<u64>, runs: usize) -> Self {
        let count = pages.end - pages.start;
        let tables = layout::chunks(format, pages.clone()).count();
        let Self { steps, values, .. } = Self::to_write(format, pages);
        // The end of a table cuts a run.
        let runs = runs + tables;
        let long = LongRuns { stretches: 1, runs };
        Self {
            steps,
            // CAST: The kernel is a 64-bit one.
            values: values - count as usize,
            runs,
            // The entries of a mapping are written with nothing in between.
            long: is_long(runs, count).then_some(long).unwrap_or_default(),
        }
    }

    /// Returns the runs that an engine should write, if there are any.
    pub(super) fn for_engine(self) -> Option<LongRuns> {
        (self.long.stretches != 0).then_some(self.long)
    }

    /// Returns the room for clearing the entries of `pages`.
    pub(super) fn to_clear(format: &Format, pages: Range<u64>) -> Self {
        let tables = layout::chunks(format, pages).count();
        Self {
            steps: tables,
            ..Self::default()
        }
    }

    /// The room for stripping entries of their fragments around both ends of a range. Those around
    /// one end are in one table.
    pub(super) const BORDERS: Self = Self {
        steps: 2,
        values: 0,
        runs: 0,
        long: LongRuns {
            stretches: 0,
            runs: 0,
        },
    };

    /// Returns the room that the mappings of a buffer take besides, if they are written after one
    /// of them was cut at both ends of a range. Before a border fragments shrink, and after it they
    /// grow again, with a run for each size; and what was one run is two.
    pub(super) fn to_cut(format: &Format) -> Self {
        let sizes = format.fragment_pages().ilog2() as usize + 1;
        Self {
            runs: 2 * sizes,
            ..Self::default()
        }
    }

    fn has_room_for(self, other: Self) -> bool {
        self.steps >= other.steps && self.values >= other.values && self.runs >= other.runs
    }
}

impl Add for Room {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_add(other.steps),
            values: self.values.saturating_add(other.values),
            runs: self.runs.saturating_add(other.runs),
            long: LongRuns {
                stretches: self.long.stretches.saturating_add(other.long.stretches),
                runs: self.long.runs.saturating_add(other.long.runs),
            },
        }
    }
}

impl core::iter::Sum for Room {
    fn sum<I: Iterator<Item = Self>>(rooms: I) -> Self {
        rooms.fold(Self::default(), Self::add)
    }
}

/// A write to page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Writes the next `count` of [`Steps::values`].
    Write { offset: u64, count: usize },
    /// Writes `count` entries: the first, and each like the one before it for the next page.
    Run { offset: u64, first: Pte, count: u64 },
    /// Makes `count` entries map nothing.
    Clear { offset: u64, count: u64 },
    /// Strips `count` entries of their fragments.
    Strip { offset: u64, count: u64 },
    /// Makes what was written visible to the GPU before what comes.
    Flush,
}

impl Step {
    /// Appends `next` to this step, if it does the same to the entries that follow.
    fn merge(&mut self, next: Self) -> bool {
        // CAST: The kernel is a 64-bit one.
        match (self, next) {
            (
                Self::Write { offset, count },
                Self::Write {
                    offset: o,
                    count: c,
                },
            ) if *offset + *count as u64 * layout::ENTRY_SIZE == o => {
                *count += c;
            }
            (
                Self::Run {
                    offset,
                    first,
                    count,
                },
                Self::Run {
                    offset: o,
                    first: f,
                    count: c,
                },
            ) if *offset + *count * layout::ENTRY_SIZE == o && first.after(*count) == f => {
                *count += c;
            }
            (
                Self::Clear { offset, count },
                Self::Clear {
                    offset: o,
                    count: c,
                },
            )
            | (
                Self::Strip { offset, count },
                Self::Strip {
                    offset: o,
                    count: c,
                },
            ) if *offset + *count * layout::ENTRY_SIZE == o => {
                *count += c;
            }
            _ => return false,
        }
        true
    }
}

/// Writes to page tables, in order.
pub(super) struct Steps {
    steps: KVVec<Step>,
    values: KVVec<u64>,
    room: Room,
}

impl Steps {
    /// Allocates memory for a change that takes at most `room`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(room: Room) -> Result<Self> {
        // A client with very many mappings may ask for more than the kernel thinks anybody wants.
        let flags = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
        Ok(Self {
            steps: KVVec::with_capacity(room.steps + room.runs, flags)?,
            values: KVVec::with_capacity(room.values, flags)?,
            room,
        })
    }

    /// Returns true if there is memory for a change that takes `room`.
    pub(super) fn has_room_for(&self, room: Room) -> bool {
        self.room.has_room_for(room)
    }

    /// Appends a step. Does not allocate.
    fn push(&mut self, step: Step) {
        let merged = self.steps.last_mut().is_some_and(|last| last.merge(step));
        if !merged {
            // An entry that stays would show memory that is somebody else's.
            assert!(self.steps.push_within_capacity(step).is_ok(), "uncounted");
        }
    }

    /// Appends a write of `values`. Does not allocate.
    fn push_values(&mut self, offset: u64, values: &[u64]) {
        self.push(Step::Write {
            offset,
            count: values.len(),
        });
        for value in values {
            assert!(
                self.values.push_within_capacity(*value).is_ok(),
                "uncounted"
            );
        }
    }

    /// Returns the next stretch of steps, from step `from` on, that are nothing but runs and that
    /// an engine should write.
    pub(super) fn next_long_runs(&self, from: usize) -> Option<Range<usize>> {
        let is_run = |step: &Step| matches!(step, Step::Run { .. });
        let mut from = from;
        loop {
            let start = from + self.steps[from..].iter().position(is_run)?;
            let rest = &self.steps[start..];
            let length = rest.iter().position(|step| !is_run(step));
            let part = start..start + length.unwrap_or(rest.len());
            let entries = self.runs(part.clone()).map(|(_, _, count)| count).sum();
            if is_long(part.len(), entries) {
                return Some(part);
            }
            from = part.end;
        }
    }

    /// Returns the runs among some steps: their offset, first entry, and number of entries.
    pub(super) fn runs(
        &self,
        part: Range<usize>,
    ) -> impl Iterator<Item = (u64, Pte, u64)> + Clone + '_ {
        self.steps[part].iter().filter_map(|step| match *step {
            Step::Run {
                offset,
                first,
                count,
            } => Some((offset, first, count)),
            _ => None,
        })
    }

    /// Returns the number of steps.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Does the steps of a part, in order.
    pub(super) fn write_to(&self, memory: &impl Memory, part: Range<usize>) {
        let mut values = &self.values[..];

        for (n, step) in self.steps.iter().enumerate().take(part.end) {
            let is_wanted = n >= part.start;
            match *step {
                Step::Write { offset, count } => {
                    let (now, later) = values.split_at(count);
                    if is_wanted {
                        memory.write(offset, now);
                    }
                    // Also those of other parts.
                    values = later;
                }
                _ if !is_wanted => (),
                Step::Run {
                    offset,
                    first,
                    count,
                } => memory.write_run(offset, first, count),
                Step::Clear { offset, count } => memory.clear(offset, count),
                Step::Strip { offset, count } => memory.strip_fragments(offset, count),
                Step::Flush => memory.flush(),
            }
        }
    }
}

/// VRAM as it will be: what is written to it is recorded.
pub(super) struct Recorder {
    steps: RefCell<Steps>,
    number: u64,
}

impl Recorder {
    /// Begins to record the update `number`, which is not 0, into `steps`.
    pub(super) fn new(steps: Steps, number: u64) -> Self {
        Self {
            steps: RefCell::new(steps),
            number,
        }
    }

    /// Returns what was recorded.
    pub(super) fn into_steps(self) -> Steps {
        self.steps.into_inner()
    }
}

impl Memory for Recorder {
    fn write(&self, offset: u64, values: &[u64]) {
        self.steps.borrow_mut().push_values(offset, values);
    }

    fn write_run(&self, offset: u64, first: Pte, count: u64) {
        self.steps.borrow_mut().push(Step::Run {
            offset,
            first,
            count,
        });
    }

    fn clear(&self, offset: u64, count: u64) {
        self.steps.borrow_mut().push(Step::Clear { offset, count });
    }

    fn strip_fragments(&self, offset: u64, count: u64) {
        self.steps.borrow_mut().push(Step::Strip { offset, count });
    }

    fn flush(&self) {
        self.steps.borrow_mut().push(Step::Flush);
    }

    fn update(&self) -> u64 {
        self.number
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_update)]
mod tests {
    use super::*;
    use crate::{
        hw::page_table::fake::{
            SMALL,
            TWO, //
        },
        vm::tables::fake::Fake, //
    };

    fn recorder(steps: usize, values: usize) -> Result<Recorder> {
        let room = Room {
            steps,
            values,
            ..Room::default()
        };
        Ok(Recorder::new(Steps::new(room)?, 1))
    }

    #[test]
    fn steps_come_in_order() -> Result {
        let recorder = recorder(4, 4)?;
        recorder.write(0x1000, &[1, 2]);
        recorder.flush();
        recorder.clear(0x1000, 1);
        recorder.write(0x2000, &[3]);
        let memory = Fake::new();
        let steps = recorder.into_steps();
        steps.write_to(&memory, 0..steps.len());
        assert_eq!(memory.read(0x1000), 0);
        assert_eq!(memory.read(0x1008), 2);
        assert_eq!(memory.read(0x2000), 3);
        assert!(memory.last_write_to(0x1008) < memory.last_write_to(Fake::FLUSH));
        assert!(memory.last_write_to(Fake::FLUSH) < memory.last_write_to(0x1000));
        Ok(())
    }

    #[test]
    fn neighbors_are_one_step() -> Result {
        let recorder = recorder(3, 4)?;
        recorder.write(0x1000, &[1, 2]);
        recorder.write(0x1010, &[3, 4]);
        recorder.clear(0x1020, 256);
        recorder.clear(0x1820, 2);
        recorder.strip_fragments(0x4000, 64);
        recorder.strip_fragments(0x4200, 64);
        let steps = recorder.into_steps();
        let whole = [
            Step::Write {
                offset: 0x1000,
                count: 4,
            },
            Step::Clear {
                offset: 0x1020,
                count: 258,
            },
            Step::Strip {
                offset: 0x4000,
                count: 128,
            },
        ];
        assert!(steps.steps[..] == whole);
        assert!(steps.values[..] == [1, 2, 3, 4]);
        Ok(())
    }

    #[test]
    fn runs_go_on_in_the_next_table() -> Result {
        let entry = |page: u64| Pte::from_raw(0x61).after(page);
        let room = Room::to_write_runs(&TWO, 0..BY_ENGINE_FROM, 2);
        let recorder = Recorder::new(Steps::new(room)?, 1);
        recorder.clear(0x100, 1);
        recorder.write_run(0x1000, entry(0), 512);
        recorder.write_run(0x2000, entry(512), 512);
        recorder.write_run(0x3000, entry(1024), BY_ENGINE_FROM - 1024);
        recorder.flush();
        let steps = recorder.into_steps();
        assert_eq!(steps.next_long_runs(0), Some(1..2));
        assert_eq!(steps.next_long_runs(2), None);
        assert!(steps.runs(0..3).eq([(0x1000, entry(0), BY_ENGINE_FROM)]));
        let memory = Fake::new();
        steps.write_to(&memory, 2..3);
        assert_eq!(memory.writes(), 1);

        // Neither what is in between, nor the memory after them, may be left out.
        let recorder = Recorder::new(Steps::new(room)?, 1);
        recorder.write_run(0x1000, entry(0), BY_ENGINE_FROM / 2);
        recorder.flush();
        recorder.write_run(0x8000_0000, entry(9), BY_ENGINE_FROM / 2);
        recorder.write_run(0x9000_0000, entry(9), 1);
        let steps = recorder.into_steps();
        assert_eq!(steps.next_long_runs(0), None);
        assert_eq!(steps.len(), 4);
        Ok(())
    }

    #[test]
    fn short_stretches_are_passed_over() -> Result {
        let room = Room::to_write_runs(&TWO, 0..2 * BY_ENGINE_FROM, 1);
        let recorder = Recorder::new(Steps::new(room)?, 1);
        recorder.write_run(0x1000, Pte::from_raw(0x61), BY_ENGINE_FROM);
        recorder.flush();
        recorder.write_run(0x10_0000, Pte::from_raw(0x61), BY_ENGINE_FROM - 1);
        recorder.flush();
        recorder.write_run(0x20_0000, Pte::from_raw(0x61), BY_ENGINE_FROM);
        let steps = recorder.into_steps();
        assert_eq!(steps.next_long_runs(0), Some(0..1));
        assert_eq!(steps.next_long_runs(1), Some(4..5));
        assert_eq!(steps.next_long_runs(5), None);
        Ok(())
    }

    #[test]
    fn engines_write_what_is_long() {
        let mapping = |entries, runs| Room::to_write_runs(&TWO, 0..entries, runs);
        let long = |stretches, runs| Some(LongRuns { stretches, runs });
        assert_eq!(mapping(BY_ENGINE_FROM, 1).for_engine(), long(1, 17));
        assert_eq!(mapping(BY_ENGINE_FROM - 1, 1).for_engine(), None);
        assert_eq!(mapping(BY_ENGINE_FROM, 1024).for_engine(), None);
        assert_eq!(Room::to_write(&TWO, 0..BY_ENGINE_FROM).for_engine(), None);
        // Only what is long counts.
        let some = [
            mapping(BY_ENGINE_FROM, 1),
            mapping(BY_ENGINE_FROM - 1, 1),
            mapping(2 * BY_ENGINE_FROM, 2),
            mapping(BY_ENGINE_FROM, 1024),
        ];
        assert_eq!(some.into_iter().sum::<Room>().for_engine(), long(2, 51));
        let short = [mapping(BY_ENGINE_FROM / 2, 1); 4];
        assert_eq!(short.into_iter().sum::<Room>().for_engine(), None);
    }

    #[test]
    fn room_is_counted_by_table() {
        let room = |steps, values| Room {
            steps,
            values,
            ..Room::default()
        };
        assert_eq!(Room::to_write(&TWO, 5..6), room(6, 2));
        assert_eq!(Room::to_write(&TWO, 1023..1025), room(12, 4));
        let runs = Room::to_write_runs(&TWO, 1023..1025, 1);
        assert_eq!((runs.steps, runs.values, runs.runs), (12, 2, 3));
        assert_eq!(Room::to_write(&SMALL, 15..17), room(20, 6));
        assert_eq!(Room::to_clear(&TWO, 0..3072), room(3, 0));
        assert_eq!(Room::to_clear(&TWO, 0..1) + Room::BORDERS, room(3, 0));
        assert!(room(3, 3).has_room_for(room(3, 2)));
        assert!(!room(3, 3).has_room_for(room(4, 2)));
    }
}
