// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Properties of the calling task that the kernel crate does not provide.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use kernel::{
    current,
    fmt,
    prelude::*,
    str::BStr,
    task::Pid, //
};

use crate::bindings;

/// Identity of a process, for comparison only. Two values are equal only if they stand for the same
/// process, or if one of the two processes is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(usize);

impl Process {
    /// Returns the process of the calling task.
    pub(crate) fn current() -> Self {
        Self(current!().group_leader().as_ptr().addr())
    }
}

/// Name and numbers of a task, for messages. They stay those of the time when they were taken.
#[derive(Clone, Copy)]
pub(crate) struct TaskName {
    comm: [u8; Self::LEN],
    pid: Pid,
    process: Pid,
}

impl TaskName {
    /// `TASK_COMM_LEN`
    const LEN: usize = 16;

    /// Returns those of the calling task.
    pub(crate) fn current() -> Self {
        let mut comm = [0; Self::LEN];
        // SAFETY: The function writes `LEN` bytes, the last of which is zero.
        unsafe { bindings::rust_ext_get_comm(comm.as_mut_ptr().cast()) };
        Self {
            comm,
            pid: current!().pid(),
            process: current!().tgid(),
        }
    }
}

impl TaskName {
    /// Returns the task as the DRM core names the one that is to blame for a hang.
    pub(super) fn as_wedge_info(&self) -> bindings::drm_wedge_task_info {
        bindings::drm_wedge_task_info {
            pid: self.pid,
            comm: self.comm,
        }
    }
}

/// Command line of a process, as far as messages show it: its words, with spaces in between. Bytes
/// that are not printable are escaped.
pub(crate) struct CommandLine {
    bytes: [u8; Self::LEN],
    len: usize,
}

impl CommandLine {
    /// Longest command line that is kept, in bytes.
    const LEN: usize = 256;

    /// Returns that of the calling process, up to the first page of it that is not in memory. Never
    /// faults, and so never waits: the process determines how long a fault takes.
    pub(crate) fn current() -> Self {
        let mut bytes = [0; Self::LEN];
        // SAFETY: The function writes at most `LEN` bytes, and returns their number.
        let len =
            unsafe { bindings::rust_ext_get_cmdline_nofault(bytes.as_mut_ptr().cast(), Self::LEN) };
        let mut len = len.min(Self::LEN);
        while len > 0 && bytes[len - 1] == 0 {
            len -= 1;
        }
        for byte in bytes[..len].iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
        Self { bytes, len }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}", BStr::from_bytes(&self.bytes[..self.len])))
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.comm.iter().position(|byte| *byte == 0);
        let comm = BStr::from_bytes(&self.comm[..len.unwrap_or(Self::LEN)]);
        let Self { pid, process, .. } = self;
        f.write_fmt(fmt!("{comm} (task {pid} of process {process})"))
    }
}

/// Exit state of the calling task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The task is not exiting.
    No,
    /// The task is exiting.
    Exiting,
    /// The task is exiting because it was killed with `SIGKILL`, by another process or the OOM
    /// killer.
    Killed,
}

impl Exit {
    /// Returns the exit state of the calling task.
    pub(crate) fn of_current() -> Self {
        let task: *mut bindings::task_struct = current!().as_ptr();
        // SAFETY: The calling task is alive. It alone writes its exit code, and that flag.
        let (flags, code) = unsafe { ((*task).flags, (*task).exit_code) };
        if flags & bindings::PF_EXITING == 0 {
            return Self::No;
        }
        // The lower 7 bits are the signal number.
        if u32::try_from(code & 0x7f) == Ok(bindings::SIGKILL) {
            Self::Killed
        } else {
            Self::Exiting
        }
    }
}
