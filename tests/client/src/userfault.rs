// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory of which a fault does not end before the test wants it to: userfaultfd(2), of
//! `linux/userfaultfd.h`.

use crate::{
    Errno,
    Result,
    mem::UserMem,
    num::u64_of, //
};

/// `UFFDIO_API` and `UFFDIO_REGISTER`.
const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const VERSION: u64 = 0xaa;
const MODE_MISSING: u64 = 1;
/// Size of `struct uffd_msg`.
const MESSAGE: usize = 32;

/// Holds back the pages of memory that is registered with it, until it is dropped: then they are
/// zeros.
#[derive(Debug)]
pub struct Userfault(libc::c_int);

impl Userfault {
    /// One without any memory yet.
    ///
    /// # Errors
    ///
    /// userfaultfd(2)'s.
    pub fn new() -> Result<Self> {
        // SAFETY: the descriptor is new and nobody else's.
        let fd =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        let fd = libc::c_int::try_from(fd).map_err(|_| Errno(libc::EBADF))?;
        Errno::of(fd)?;
        let userfault = Self(fd);
        let mut api = [VERSION, 0, 0];
        // SAFETY: `struct uffdio_api`, three words.
        Errno::of(unsafe { libc::ioctl(userfault.0, API, api.as_mut_ptr()) })?;
        Ok(userfault)
    }

    /// Holds back the pages of `mem` that are not there yet.
    ///
    /// # Errors
    ///
    /// ioctl(2)'s.
    pub fn hold(&self, mem: &UserMem) -> Result {
        let mut register = [mem.addr(), u64_of(mem.len()), MODE_MISSING, 0];
        // SAFETY: `struct uffdio_register`, four words.
        Errno::of(unsafe { libc::ioctl(self.0, REGISTER, register.as_mut_ptr()) })
    }

    /// The number of faults that began to wait since this was asked last.
    pub fn new_faults(&self) -> usize {
        let mut count = 0;
        let mut message = [0_u8; MESSAGE];
        // SAFETY: room for a message.
        while usize::try_from(unsafe { libc::read(self.0, message.as_mut_ptr().cast(), MESSAGE) })
            == Ok(MESSAGE)
        {
            count += 1;
        }
        count
    }
}

impl Drop for Userfault {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { libc::close(self.0) };
    }
}
