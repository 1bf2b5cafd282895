// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A process that opens a gate as soon as somebody waits for the job behind it.
//!
//! It is a process of its own because whoever waits may hold locks on this one's address space, so
//! that here not even an allocation could be relied on to come back before the gate is open.

use std::{
    io::{
        PipeWriter,
        Read,
        Write, //
    },
    os::fd::AsRawFd,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    child::{
        self,
        Child, //
    },
    race::Latch,
    session::Session,
    stats::Count, //
};

use crate::{
    setting::Setting,
    writer::say, //
};

/// The process, and how it is asked.
pub struct Keeper {
    child: Child,
    ask: Option<PipeWriter>,
}

impl Keeper {
    /// For the gate of a session. To be called by a process of one thread.
    pub fn new(setting: &Setting, session: &Session) -> Result<Self, String> {
        let (mut asked, ask) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        let child = Child::new(|answer| {
            // SAFETY: this process's copy, which nobody uses: it would keep the pipe open.
            unsafe { libc::close(ask.as_raw_fd()) };
            stay_in_memory()?;
            loop {
                let mut before = [0; 8];
                if asked.read_exact(&mut before).is_err() {
                    return Ok(());
                }
                let latch = Latch::found(&session.data.map);
                let hit = wait(setting, &latch, u64::from_le_bytes(before));
                latch.open();
                child::say(answer, &[u64::from(hit)])?;
            }
        })?;
        Ok(Self { child, ask: Some(ask) })
    }

    /// Lets the keeper open the gate when the driver has waited for jobs more often than `before`,
    /// or after some time. To be called before there is a job behind the gate: with one, this
    /// process may not come to it any more.
    pub fn ask(&mut self, before: Count) -> Result<(), String> {
        let before = before.0.unwrap_or(0).to_le_bytes();
        match &mut self.ask {
            Some(ask) => ask.write_all(&before).map_err(|e| format!("pipe: {e}")),
            None => Ok(()),
        }
    }

    /// Waits until the gate is open. Whether the driver has waited.
    pub fn answer(&mut self) -> Result<bool, String> {
        let [hit] = self.child.hear()?;
        Ok(hit != 0)
    }
}

/// Locks what this process uses. Where the kernel takes pages in batches, it may have taken some of
/// this process's before it waits for a job, and who then touches them waits for that job, too.
fn stay_in_memory() -> Result<(), String> {
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: changes where pages may be, and nothing of what is in them.
    Errno::of(unsafe { libc::mlockall(all) }).map_err(say("mlockall"))
}

/// Waits until the driver has waited for jobs more often than `before`; not if somebody else opens
/// the gate.
fn wait(setting: &Setting, latch: &Latch<'_>, before: u64) -> bool {
    /// Time that the kernel has to get at the pages: short against the driver's patience.
    const PATIENCE: Duration = Duration::from_millis(1500);
    /// Leaves the processor to the kernel, which is to get at them.
    const PAUSE: Duration = Duration::from_micros(100);
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !latch.is_open() {
        if setting.waits().0.is_some_and(|now| now != before) {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Without anybody who could ask, it goes.
        self.ask = None;
        let _ = self.child.reap();
    }
}
