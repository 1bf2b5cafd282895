// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The processes whose jobs are queued, so that jobs of a killed process are no longer run.
//!
//! Several processes may use an open file in turn: after a fork, or when the file is passed on. The
//! C driver kills the queues of a file (`drm_sched_entity_flush`) when the process that used them
//! last is killed. Here each job keeps the [`Submitter`] that it belongs to, and only jobs of the
//! killed process go.
//!
//! Killing only sets a mark: no fence ends by it. See [`job`](super::job) for what becomes of the
//! jobs.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
};

use crate::abstractions::task::{
    CommandLine,
    Exit,
    Process,
    TaskName, //
};

/// A process that has submitted jobs to a file.
pub(crate) struct Submitter {
    process: Process,
    /// Task that submitted first.
    name: TaskName,
    /// Command line of the process, at that time.
    command: CommandLine,
    killed: AtomicFlag,
}

impl Submitter {
    /// Returns the name of the task that submitted the process's first job.
    pub(crate) fn name(&self) -> &TaskName {
        &self.name
    }

    /// Returns the command line of the process.
    pub(crate) fn command(&self) -> &CommandLine {
        &self.command
    }

    /// Returns true once the process was killed.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }
}

/// The process that was the last to submit jobs to a file.
#[pin_data]
pub(crate) struct LastSubmitter {
    #[pin]
    last: SpinLock<Option<Arc<Submitter>>>,
}

impl LastSubmitter {
    /// Creates one that names no process yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { last <- new_spinlock!(None, "LastSubmitter::last") })
    }

    fn get(&self, process: Process) -> Option<Arc<Submitter>> {
        let last = self.last.lock();
        last.as_ref()
            .filter(|last| last.process == process)
            .cloned()
    }

    /// Returns the calling process, which is about to submit a job.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn current(&self) -> Result<Arc<Submitter>> {
        let process = Process::current();
        if let Some(submitter) = self.get(process).filter(|s| !s.is_killed()) {
            return Ok(submitter);
        }
        let submitter = Arc::new(
            Submitter {
                process,
                name: TaskName::current(),
                command: CommandLine::current(),
                killed: AtomicFlag::new(false),
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        let before = self.last.lock().replace(submitter.clone());
        drop(before);
        Ok(submitter)
    }

    /// Marks the calling process's jobs as unwanted if it is exiting because it was killed, and was
    /// the last to submit any.
    pub(crate) fn leave(&self) {
        if Exit::of_current() == Exit::Killed {
            if let Some(submitter) = self.get(Process::current()) {
                submitter.killed.store(true, Relaxed);
            }
        }
    }
}
