// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The tracepoints of the user-memory path: `amdgpu_rs:*` in tracefs.
//!
//! `bindings/trace.h` defines their format. The scheduler's own tracepoints (`gpu_scheduler:*`)
//! show when a job runs and when it is done; [`cs_publish`] names the fence that connects the two.
//! `make timeline` draws all of them.

use crate::abstractions::tracepoint::declare_tracepoints;

/// The reason for which a buffer makes a submission try again.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Why {
    /// The buffer has no pages.
    Missing = 0,
    /// The buffer's pages were invalidated since they were gathered or bound.
    Stale = 1,
    /// The buffer was invalidated while the submission was on its way to the queue.
    Overtaken = 2,
}

impl Why {
    /// Returns the number that the tracepoint records.
    pub(crate) fn number(self) -> u32 {
        // CAST: The enumeration is `repr(u32)`.
        self as u32
    }
}

declare_tracepoints! {
    /// Traces that the pages of a buffer are about to be gathered.
    pub(crate) fn userptr_gather(bo: u64, generation: u64, pages: u64);

    /// Traces that the pages were gathered, or could not be: `error` is 0 or negative.
    pub(crate) fn userptr_gathered(bo: u64, generation: u64, pages: u64, error: i32);

    /// Traces that the notifier has raised the generation and `pages` of the buffer are going away.
    /// If `wait` is set, jobs may reach some of them and are waited for.
    pub(crate) fn userptr_invalidate(bo: u64, generation: u64, pages: u64, wait: bool);

    /// Traces that the notifier returns: no job reaches the pages.
    pub(crate) fn userptr_invalidated(bo: u64, generation: u64, pages: u64);

    /// Traces that a buffer makes a submission try again: see [`Why`].
    pub(crate) fn userptr_retry(bo: u64, generation: u64, pages: u64, why: u32);

    /// Traces that a job that names a buffer is queued, with the pages of this generation.
    pub(crate) fn userptr_publish(
        bo: u64,
        generation: u64,
        pages: u64,
        ip: u32,
        queue: u32,
        seq: u64,
    );

    /// Traces that a submission is parsed, and begins its first try.
    pub(crate) fn cs_submit(client: u64, bos: u64, userptrs: u64);

    /// Traces that a try has failed; `tries` were made so far.
    pub(crate) fn cs_retry(client: u64, tries: u32);

    /// Traces that a job is queued; `context` and `seqno` are those of the scheduler's fence for
    /// it.
    pub(crate) fn cs_publish(
        client: u64,
        ip: u32,
        queue: u32,
        seq: u64,
        context: u64,
        seqno: u64,
    );
}
