// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's own complaints while a program runs.

use std::{
    fs::{
        File,
        OpenOptions, //
    },
    io::{
        ErrorKind,
        Read,
        Seek,
        SeekFrom, //
    },
    os::unix::fs::OpenOptionsExt, //
};

/// Complaints that no input from user space may bring forth.
const COMPLAINTS: [&str; 18] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "KASAN",
    "UBSAN",
    "kernel BUG",
    "general protection fault",
    "unable to handle",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "sleeping function called",
    "suspicious RCU",
    "page allocation failure",
    "vmalloc error",
    "Failed allocating",
    "refcount_t:",
    "list_del corruption",
];

/// `/dev/kmsg`, from the moment of opening on.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// Opens it; this takes root.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn open() -> Result<Self, String> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .map_err(|e| format!("/dev/kmsg: {e}"))?;
        file.seek(SeekFrom::End(0)).map_err(|e| format!("/dev/kmsg: {e}"))?;
        Ok(Self(file))
    }

    /// The complaints since opening, or since the last call of this or of [`KernelLog::lines`].
    ///
    /// # Errors
    ///
    /// In words.
    pub fn complaints(&mut self) -> Result<Vec<String>, String> {
        self.lines(|line| COMPLAINTS.iter().any(|c| line.contains(c)))
    }

    /// The messages since then that `wanted` chooses.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn lines(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        // One record a read; longer ones do not exist (`CONSOLE_EXT_LOG_MAX`).
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return Ok(found),
                Ok(n) => {
                    let text = String::from_utf8_lossy(&record[..n]);
                    // "priority,sequence,time,flags;message", then continuation lines.
                    let message = text.split_once(';').map_or("", |(_, m)| m);
                    let line = message.lines().next().unwrap_or("");
                    if wanted(line) {
                        found.push(line.to_owned());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(found),
                // Records were overwritten before they were read.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
                Err(e) => return Err(format!("/dev/kmsg: {e}")),
            }
        }
    }
}
