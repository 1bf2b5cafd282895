// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Writes down each DRM ioctl of a program: what was asked and what was answered.
//!
//! `LD_PRELOAD=libioctl_recorder.so IOCTL_RECORD=FILE program`. A line for each call, with spaces
//! between:
//!
//! ```text
//! NUMBER RESULT ASKED ANSWERED [BEYOND]
//! ```
//!
//! The number in hexadecimal without direction and size; the result, or minus the errno; the
//! argument before and after the call in hexadecimal digits (`-` if it has none); and what pointers
//! in it led to: the answer of an INFO query, or the chunks of a submission (`ID:BYTES`, separated
//! by commas).
//! `tests/mesa/compare.py` knows what the bytes mean.

use std::{
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    fmt::Write as _,
    fs::File,
    io::Write as _,
    sync::{
        Mutex,
        OnceLock, //
    }, //
};

mod beyond;

/// Type of DRM's ioctls.
const DRM: c_ulong = 0x64;

type Ioctl = unsafe extern "C" fn(c_int, c_ulong, *mut c_void) -> c_int;

/// The C library's.
fn real() -> Ioctl {
    static REAL: OnceLock<Ioctl> = OnceLock::new();
    *REAL.get_or_init(|| {
        // SAFETY: a name that ends, and the handle that means the libraries after this one.
        let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, c"ioctl".as_ptr()) };
        assert!(!symbol.is_null(), "the C library has no ioctl");
        // SAFETY: that function, as it is called with one argument: on this machine a variadic
        // function takes it where any other does.
        unsafe { std::mem::transmute::<*mut c_void, Ioctl>(symbol) }
    })
}

/// The record, if one is wanted.
fn record() -> Option<&'static Mutex<File>> {
    static RECORD: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("IOCTL_RECORD")?;
        File::options().create(true).append(true).open(path).ok().map(Mutex::new)
    };
    RECORD.get_or_init(open).as_ref()
}

/// An ioctl's argument as bytes: its size is in the number.
fn bytes_of(request: c_ulong, argument: *const c_void) -> Vec<u8> {
    let size = (request >> 16 & 0x3fff) as usize;
    if argument.is_null() || size == 0 {
        return Vec::new();
    }
    let mut bytes = vec![0; size];
    // SAFETY: the caller hands the kernel so many bytes there.
    unsafe { argument.cast::<u8>().copy_to_nonoverlapping(bytes.as_mut_ptr(), size) };
    bytes
}

/// Bytes as digits.
fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The function of this name that programs find first.
///
/// # Safety
///
/// As the C library's: `argument` is what `request` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let file = match record() {
        Some(file) if request >> 8 & 0xff == DRM => file,
        // SAFETY: handed on as it came.
        _ => return unsafe { real()(fd, request, argument) },
    };
    let asked = bytes_of(request, argument);
    // SAFETY: as above.
    let result = unsafe { real()(fd, request, argument) };
    // SAFETY: this thread's.
    let errno = unsafe { *libc::__errno_location() };
    let said = if result < 0 { -errno } else { result };
    let answered = bytes_of(request, argument);
    let number = request & 0xff;
    let mut line = format!("{number:02x} {said} {} {}", hex(&asked), hex(&answered));
    let led = beyond::beyond(number, &asked, said);
    if !led.is_empty() {
        line.push(' ');
        line.push_str(&led);
    }
    line.push('\n');
    if let Ok(mut file) = file.lock() {
        // A record that ends early is seen when it is read.
        let _ = file.write_all(line.as_bytes());
    }
    // SAFETY: as above; writing may have changed it.
    unsafe { *libc::__errno_location() = errno };
    result
}
