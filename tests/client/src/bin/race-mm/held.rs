// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Pages that a pipe keeps alive after the process has given them up. Nobody else has them, so what
//! they hold then may not change any more.

use std::{
    io::{
        PipeReader,
        PipeWriter,
        Read, //
    },
    ops::Range,
    os::fd::AsRawFd, //
};

use amdgpu_client::{
    PAGE,
    mem::UserMem, //
};

use crate::writer::say;

/// The pages; by default a pipe has room for sixteen.
pub struct Held {
    pipe: PipeReader,
    pages: usize,
    /// Contents at the time when they were given up.
    then: Vec<u8>,
}

impl Held {
    /// Puts the pages into a new pipe. They must have been touched.
    pub fn new(mem: &UserMem, pages: Range<usize>) -> Result<Self, String> {
        let (pipe, into) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        mem.splice_into(pages.clone(), &into).map_err(say("vmsplice"))?;
        Ok(Self::of(pipe, pages.len()))
    }

    /// Pages that were put into a pipe, by whomever.
    pub const fn of(pipe: PipeReader, pages: usize) -> Self {
        Self { pipe, pages, then: Vec::new() }
    }

    /// To be called when they have been given up.
    pub fn given_up(&mut self) -> Result<(), String> {
        self.then = self.look()?;
        Ok(())
    }

    /// Returns true if all of them were written with `word` when they were given up.
    pub fn were(&self, word: u32) -> bool {
        self.then.chunks(PAGE).all(|page| page[..4] == word.to_le_bytes())
    }

    /// Checks that they still hold what they held then.
    pub fn unchanged(&self) -> Result<(), String> {
        let now = self.look()?;
        match self.then.iter().zip(&now).position(|(then, now)| then != now) {
            None => Ok(()),
            Some(at) => Err(format!(
                "byte {:#x} of page {} became {:#04x} after the page was given up",
                at % PAGE,
                at / PAGE,
                now[at],
            )),
        }
    }

    /// Reads what they hold now.
    fn look(&self) -> Result<Vec<u8>, String> {
        let (mut copy, into) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        self.tee(&into)?;
        let mut bytes = vec![0; self.pages * PAGE];
        copy.read_exact(&mut bytes).map_err(|e| format!("pipe: {e}"))?;
        Ok(bytes)
    }

    /// Puts the same pages into another pipe.
    fn tee(&self, into: &PipeWriter) -> Result<(), String> {
        let len = self.pages * PAGE;
        let flags = libc::SPLICE_F_NONBLOCK;
        // SAFETY: two pipes, and nothing of this process's memory.
        let done = unsafe { libc::tee(self.pipe.as_raw_fd(), into.as_raw_fd(), len, flags) };
        if usize::try_from(done) == Ok(len) {
            return Ok(());
        }
        Err(format!("tee of {len} bytes: {done}, {}", amdgpu_client::Errno::last()))
    }
}
