// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A forked process, which keeps the memory of the moment in which it was made.

use std::io::{
    PipeWriter,
    Read,
    Write, //
};

use amdgpu_client::mem::UserMem;

use crate::{
    buffer::WORDS_OF_PAGE,
    gpu::Result, //
};

/// The child. It waits until it is asked whether its memory is still what it was.
pub struct Snapshot {
    pid: libc::pid_t,
    ask: PipeWriter,
    asked: bool,
}

impl Snapshot {
    /// Forks, with `words` in `mem`.
    ///
    /// # Errors
    ///
    /// fork(2)'s and pipe(2)'s, in words.
    pub fn take(mem: &UserMem, words: &[u32]) -> Result<Self> {
        let (mut question, ask) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        // SAFETY: the child waits, reads memory and ends: nothing for which it needs a lock that
        // another thread might have held.
        match unsafe { libc::fork() } {
            0 => {
                let told = question.read_exact(&mut [0]);
                let same = words.iter().enumerate().all(|(n, &word)| {
                    mem.load(n / WORDS_OF_PAGE, n % WORDS_OF_PAGE * size_of::<u32>()) == word
                });
                // SAFETY: ends the child without the parent's exit handlers.
                unsafe { libc::_exit(i32::from(told.is_err() || !same)) }
            }
            pid if pid > 0 => Ok(Self { pid, ask, asked: false }),
            _ => Err(format!("fork: {}", std::io::Error::last_os_error())),
        }
    }

    /// Asks the child, which then ends.
    ///
    /// # Errors
    ///
    /// If its memory is not what it was.
    pub fn check(mut self) -> Result {
        self.ask.write_all(&[1]).map_err(|e| format!("the child is gone: {e}"))?;
        self.asked = true;
        match self.reap() {
            0 => Ok(()),
            status => Err(format!("the child saw the device's writes (status {status:#x})")),
        }
    }

    fn reap(&self) -> i32 {
        let mut status = -1;
        // SAFETY: our child, which is reaped once.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        status
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.asked {
            // SAFETY: our child, which was not reaped yet.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            self.reap();
        }
    }
}
