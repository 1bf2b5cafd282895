// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Kernel errors, by the names that the manual pages use.

use std::fmt;

/// A positive errno value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// Answer of a system call or a libdrm function.
pub type Result<T = ()> = std::result::Result<T, Errno>;

impl Errno {
    /// The calling thread's last error.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Turns the convention of libdrm (0, or a negative errno) into a result.
    ///
    /// # Errors
    ///
    /// The one that `code` names.
    pub fn check(code: i32) -> Result {
        match code {
            0 => Ok(()),
            e => Err(Self(e.abs())),
        }
    }

    /// Turns the convention of system calls (-1, and `errno`) into a result.
    ///
    /// # Errors
    ///
    /// The calling thread's last error, when `code` is negative.
    pub fn of(code: i32) -> Result {
        if code < 0 { Err(Self::last()) } else { Ok(()) }
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::ENXIO => "ENXIO",
            libc::EBADF => "EBADF",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::EINVAL => "EINVAL",
            libc::ENOTTY => "ENOTTY",
            libc::ENOSPC => "ENOSPC",
            libc::EDEADLK => "EDEADLK",
            libc::ENODATA => "ENODATA",
            libc::ETIME => "ETIME",
            libc::EOVERFLOW => "EOVERFLOW",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::ECANCELED => "ECANCELED",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libdrm_convention() {
        assert_eq!(Errno::check(0), Ok(()));
        assert_eq!(Errno::check(-libc::EINVAL), Err(Errno(libc::EINVAL)));
        assert_eq!(Errno(libc::EDEADLK).to_string(), "EDEADLK");
        assert_eq!(Errno(999).to_string(), "errno 999");
    }
}
