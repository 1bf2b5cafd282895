// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Changes of page tables that are not written at once: recorded while the mappings change, and
//! written when the jobs that may use the old entries have ended.
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

use kernel::prelude::*;

use super::{
    layout,
    tables::Memory, //
};

/// Memory that a change takes, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    steps: usize,
    /// Page-table and directory entries.
    values: usize,
}

impl Room {
    /// Returns the room for writing the entries of `pages`.
    pub(super) fn to_write(pages: Range<u64>) -> Self {
        /// For each table: what comes before the entries and after them is cleared, the entries
        /// are written, and the table is linked after a flush.
        const STEPS: usize = 5;

        // CAST: The kernel is a 64-bit one.
        let count = (pages.end - pages.start) as usize;
        let tables = layout::chunks(pages).count();
        Self {
            steps: STEPS * tables,
            values: count + tables,
        }
    }

    /// Returns the room for clearing the entries of `pages`.
    pub(super) fn to_clear(pages: Range<u64>) -> Self {
        let tables = layout::chunks(pages).count();
        Self {
            steps: tables,
            values: tables,
        }
    }

    /// The room for stripping entries of their fragments around both ends of a range. Those around
    /// one end are in one table.
    pub(super) const BORDERS: Self = Self {
        steps: 2,
        values: 0,
    };

    fn has_room_for(self, other: Self) -> bool {
        self.steps >= other.steps && self.values >= other.values
    }
}

impl Add for Room {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_add(other.steps),
            values: self.values.saturating_add(other.values),
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
        Ok(Self {
            steps: KVVec::with_capacity(room.steps, GFP_KERNEL_ACCOUNT)?,
            values: KVVec::with_capacity(room.values, GFP_KERNEL_ACCOUNT)?,
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

    /// Does the steps, in order.
    pub(super) fn write_to(&self, memory: &impl Memory) {
        let mut values = &self.values[..];

        for step in &self.steps {
            match *step {
                Step::Write { offset, count } => {
                    let (now, later) = values.split_at(count);
                    memory.write(offset, now);
                    values = later;
                }
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
    use crate::vm::tables::fake::Fake;

    fn recorder(steps: usize, values: usize) -> Result<Recorder> {
        Ok(Recorder::new(Steps::new(Room { steps, values })?, 1))
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
        steps.write_to(&memory);
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
    fn room_is_counted_by_table() {
        let room = |steps, values| Room { steps, values };
        assert_eq!(Room::to_write(5..6), room(5, 2));
        assert_eq!(Room::to_write(1023..1025), room(10, 4));
        assert_eq!(Room::to_clear(0..3072), room(3, 3));
        assert_eq!(Room::to_clear(0..1) + Room::BORDERS, room(3, 1));
        assert!(room(3, 3).has_room_for(room(3, 2)));
        assert!(!room(3, 3).has_room_for(room(4, 2)));
    }
}
