// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The tracepoints of the user-memory path: `amdgpu_rs:*` in tracefs.
//!
//! `bindings/trace.h` says how they are shown. What the scheduler traces by itself
//! (`gpu_scheduler:*`) says when a job runs and when it is done; [`cs_publish`] names the fence
//! that connects the two. `make timeline` draws all of them.

use crate::abstractions::tracepoint::declare_tracepoints;

/// Why a buffer makes a submission try again.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Why {
    /// It has no pages.
    Missing = 0,
    /// Its pages were invalidated since they were gathered or bound.
    Stale = 1,
    /// It was invalidated while the submission was on its way to the queue.
    Overtaken = 2,
}

impl Why {
    /// As the tracepoint has it.
    pub(crate) fn number(self) -> u32 {
        // CAST: The enumeration is `repr(u32)`.
        self as u32
    }
}

declare_tracepoints! {
    /// The pages of a buffer are about to be gathered.
    pub(crate) fn userptr_gather(bo: u64, generation: u64, pages: u64);

    /// They were gathered, or could not be: `error` is 0 or negative.
    pub(crate) fn userptr_gathered(bo: u64, generation: u64, pages: u64, error: i32);

    /// The notifier has raised the generation; `pages` of the buffer are going, and if `wait` says
    /// so, jobs may reach some and are waited for.
    pub(crate) fn userptr_invalidate(bo: u64, generation: u64, pages: u64, wait: bool);

    /// The notifier returns: no job reaches the pages.
    pub(crate) fn userptr_invalidated(bo: u64, generation: u64, pages: u64);

    /// A buffer makes a submission try again: see [`Why`].
    pub(crate) fn userptr_retry(bo: u64, generation: u64, pages: u64, why: u32);

    /// A job that names a buffer is queued, with the pages of this generation.
    pub(crate) fn userptr_publish(
        bo: u64,
        generation: u64,
        pages: u64,
        ip: u32,
        queue: u32,
        seq: u64,
    );

    /// A submission is parsed, and begins its first try.
    pub(crate) fn cs_submit(client: u64, bos: u64, userptrs: u64);

    /// A try has failed; so many were made.
    pub(crate) fn cs_retry(client: u64, tries: u32);

    /// A job is queued; `context` and `seqno` are those of the scheduler's fence for it.
    pub(crate) fn cs_publish(
        client: u64,
        ip: u32,
        queue: u32,
        seq: u64,
        context: u64,
        seqno: u64,
    );
}
