// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Execution of jobs: queues, rings, VMIDs, fences and the interrupts that signal them.
//!
//! The C driver's words for these: entity and scheduler, `amdgpu_ring`, `amdgpu_job`, `amdgpu_ih`.
//!
//! A job goes from a scheduler's queue ([`job`]) to a ring ([`ring`]), over which the [`executor`]
//! watches. It runs in a VM context that was lent to it ([`vmid`]). It is done when the interrupt
//! handler ([`interrupts`]) finds its fence ([`fence`]) written. [`submitter`] tracks the processes
//! whose jobs must no longer run. Jobs that wait for each other form a [`gang`]. If a job does not
//! end, [`recovery`] has its part of the card [`reset`], or if that does not help, a higher
//! [`level`] of it; a [`verdict`] says what becomes of the jobs there. A [`dump`] shows root how it
//! came, with what the job's own process has mapped ([`view`]). A card that has lost its state is
//! brought up by [`revive`]; the bus may make that necessary by an [`outage`]. [`kernel_queue`]
//! holds the driver's own jobs, which clear memory and [`copy`] it. The memory that engines share
//! with the driver (rings, fences, descriptors) is bound into the [`gart`], and so are the pages of
//! user fences while their jobs run ([`fence_pages`]). A card that is too hot gets no jobs
//! ([`heat`]). Files are charged the time of their jobs ([`engine_time`]). [`memory_test`] and
//! [`shader_test`] are for the first boot of a card.

pub(crate) mod copy;
pub(crate) mod dump;
pub(crate) mod engine_time;
pub(crate) mod executor;
pub(crate) mod faults;
pub(crate) mod fence;
pub(crate) mod fence_pages;
pub(crate) mod gang;
pub(crate) mod gart;
pub(crate) mod heat;
pub(crate) mod interrupt_ring;
pub(crate) mod interrupts;
pub(crate) mod job;
pub(crate) mod kernel_queue;
pub(crate) mod level;
pub(crate) mod memory_test;
pub(crate) mod outage;
pub(crate) mod recovery;
pub(crate) mod reset;
pub(crate) mod revive;
pub(crate) mod ring;
pub(crate) mod shader_test;
pub(crate) mod submitter;
pub(crate) mod unmapped;
pub(crate) mod verdict;
pub(crate) mod view;
pub(crate) mod vmid;
