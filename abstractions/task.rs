// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Properties of the calling task that the kernel crate does not provide.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use core::ptr::NonNull;

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

/// Command line of a process, as far as messages show it. Bytes that are not printable are escaped.
pub(crate) struct CommandLine(KVec<u8>);

impl CommandLine {
    /// Longest command line that is kept, in bytes.
    const LEN: usize = 256;

    /// Returns that of the calling process; an empty one if it cannot be read. Accesses the memory
    /// of the process: no lock may be held.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn current() -> Result<Self> {
        let mut line = KVec::new();
        // SAFETY: There are no requirements.
        let Some(quoted) = NonNull::new(unsafe { bindings::rust_ext_get_quoted_cmdline() }) else {
            return Ok(Self(line));
        };
        // SAFETY: The function returns a string, which is ours.
        let bytes = unsafe { CStr::from_char_ptr(quoted.as_ptr()) }.to_bytes();
        let len = bytes.len().min(Self::LEN);
        let copied = line.extend_from_slice(&bytes[..len], GFP_KERNEL_ACCOUNT);
        // SAFETY: The string was allocated for us, and nobody uses it any more.
        unsafe { bindings::kfree(quoted.as_ptr().cast()) };
        copied?;
        Ok(Self(line))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}", BStr::from_bytes(&self.0)))
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
