// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's news of devices (uevents), as udev hears it.

use crate::Errno;
use std::{
    os::fd::{
        AsRawFd,
        FromRawFd,
        OwnedFd, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

/// A listener, which hears all events from its making on.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn listen() -> Result<Self, Errno> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a structure of integers, of which zeros are values.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or(0);
        // The kernel's own group.
        address.nl_groups = 1;
        let size = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
        // SAFETY: the address is one of that size.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        if bound == 0 { Ok(Self(socket)) } else { Err(Errno::last()) }
    }

    /// The next event that has a variable of this name, as lines of `NAME=value`; none, if there is
    /// none for so long.
    pub fn next_with(&self, variable: &str, patience: Duration) -> Option<Vec<String>> {
        let start = Instant::now();
        while start.elapsed() < patience {
            let Some(lines) = self.next() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            if lines.iter().any(|line| line.starts_with(variable)) {
                return Some(lines);
            }
        }
        None
    }

    fn next(&self) -> Option<Vec<String>> {
        let mut buffer = [0_u8; 8192];
        // SAFETY: the buffer is of that length.
        let read =
            unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let message = buffer.get(..usize::try_from(read).ok()?)?;
        let lines = message.split(|byte| *byte == 0);
        Some(lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }
}
