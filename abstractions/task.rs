// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The calling task: what the kernel crate does not tell of it.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use kernel::current;

use crate::bindings;

/// A process, as something to compare: equal only if it is the same one, or if the other one is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(usize);

impl Process {
    /// The process of the calling task.
    pub(crate) fn current() -> Self {
        Self(current!().group_leader().as_ptr().addr())
    }
}

/// State of the calling task, as far as its end is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It goes on.
    No,
    /// It exits.
    Exiting,
    /// It exits because it was killed (`SIGKILL`), by someone or for want of memory.
    Killed,
}

impl Exit {
    /// Returns that of the calling task.
    pub(crate) fn of_current() -> Self {
        let task: *mut bindings::task_struct = current!().as_ptr();
        // SAFETY: The calling task is alive. It alone writes its exit code, and that flag.
        let (flags, code) = unsafe { ((*task).flags, (*task).exit_code) };
        if flags & bindings::PF_EXITING == 0 {
            return Self::No;
        }
        // The lower 7 bits are the signal.
        if u32::try_from(code & 0x7f) == Ok(bindings::SIGKILL) {
            Self::Killed
        } else {
            Self::Exiting
        }
    }
}
