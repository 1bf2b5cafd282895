// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Child processes of a test, which say through a pipe how they fared.

use std::{
    io::{
        PipeReader,
        PipeWriter,
        Read,
        Write, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    Errno,
    Result, //
};

/// Seconds that a process that was told to go may take.
const REAP_SECS: u64 = 60;

/// Report of a child process when all was well; anything else is its complaint.
pub const WELL: &str = "well";

/// First byte of a number, and of no text.
const NUMBER: u8 = 1;

/// A child process that reports through a pipe.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Pipe by which it reports.
    pub report: PipeReader,
}

impl Child {
    /// Runs `body` in a child process, which tells what it answers and exits. To be called by a
    /// process of one thread.
    ///
    /// # Errors
    ///
    /// In words, when there can be none.
    pub fn new(
        body: impl FnOnce(&mut PipeWriter) -> std::result::Result<(), String>,
    ) -> std::result::Result<Self, String> {
        let (report, mut writer) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        // SAFETY: this program has one thread when it forks, so the child is as whole as it is.
        match unsafe { libc::fork() } {
            0 => {
                drop(report);
                let said = body(&mut writer).err().unwrap_or_else(|| WELL.into());
                let _ = writer.write_all(said.as_bytes());
                // SAFETY: ends the child without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
            pid if pid > 0 => Ok(Self { pid, report }),
            _ => Err(format!("fork: {}", Errno::last())),
        }
    }

    /// Its process ID.
    pub const fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// SIGKILL.
    pub fn kill(&self) {
        // SAFETY: our child, which is not reaped before `self` is.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits until the child is gone, which the kernel lets it be only when its memory and its
    /// files are given back. How long that took.
    ///
    /// # Errors
    ///
    /// In words, when it took too long.
    pub fn reap(&self) -> std::result::Result<Duration, String> {
        let started = Instant::now();
        self.wait(0).map_err(|e| format!("waitpid: {e}"))?;
        let took = started.elapsed();
        if took > Duration::from_secs(REAP_SECS) {
            return Err(format!("the process took {took:?} to go"));
        }
        Ok(took)
    }

    /// Returns true if the child is gone. It is then reaped.
    ///
    /// # Errors
    ///
    /// waitpid(2)'s.
    pub fn is_gone(&self) -> Result<bool> {
        self.wait(libc::WNOHANG)
    }

    fn wait(&self, flags: i32) -> Result<bool> {
        let mut status = 0;
        // SAFETY: our child, and a place for its status.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
        Errno::of(pid).map(|()| pid == self.pid)
    }

    /// Everything that the child says, to the end.
    ///
    /// # Errors
    ///
    /// What it complains of.
    pub fn listen(&mut self) -> std::result::Result<(), String> {
        match self.hear_all()?.as_str() {
            WELL => Ok(()),
            said => Err(format!("the child: {said}")),
        }
    }

    /// Everything that the child says, to the end, whatever it is.
    ///
    /// # Errors
    ///
    /// In words, when it cannot be heard.
    pub fn hear_all(&mut self) -> std::result::Result<String, String> {
        let mut said = String::new();
        self.report.read_to_string(&mut said).map_err(|e| format!("pipe: {e}"))?;
        Ok(said)
    }

    /// As much of what the child says as fills `words`.
    ///
    /// # Errors
    ///
    /// In words, with what it said instead.
    pub fn hear<const N: usize>(&mut self) -> std::result::Result<[u64; N], String> {
        let mut words = [0; N];
        for word in &mut words {
            let mut bytes = [0; 9];
            let [kind, number @ ..] = &mut bytes;
            let ended = |e| format!("the child ended: {e}");
            self.report.read_exact(std::slice::from_mut(kind)).map_err(ended)?;
            if *kind != NUMBER {
                let first = char::from(*kind);
                return Err(format!("the child: {first}{}", self.hear_all()?));
            }
            self.report.read_exact(number).map_err(ended)?;
            *word = u64::from_le_bytes(*number);
        }
        Ok(words)
    }
}

/// Says numbers, for [`Child::hear`].
///
/// # Errors
///
/// In words, when nobody listens.
pub fn say(report: &mut PipeWriter, words: &[u64]) -> std::result::Result<(), String> {
    let number = |word: &u64| [NUMBER].into_iter().chain(word.to_le_bytes());
    let bytes: Vec<_> = words.iter().flat_map(number).collect();
    report.write_all(&bytes).map_err(|e| format!("pipe: {e}"))
}
