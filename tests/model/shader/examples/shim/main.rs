// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The shader core in the process of a Mesa program: a library to preload before Mesa's no-op shim.
//!
//!     LD_PRELOAD=libshim.so:libamdgpu_noop_drm_shim.so AMDGPU_GPU_ID=bonaire PROGRAM
//!
//! The no-op shim plays a kernel driver that executes nothing. This library stands before it at
//! `ioctl`, notes BOs and address spaces, and executes the command streams in the ioctl that
//! submits them. There is no kernel and no guest, so large suites run at the speed of the host.
//! What is executed is counted, and said at the end with `SHADER_REPORT=1`: a suite that executed
//! nothing has proven nothing.

mod clear_state;
mod memory;
mod stream;
mod uapi;

use std::{
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    sync::{
        Mutex,
        OnceLock, //
    }, //
};

use memory::Space;
use stream::Streams;

/// State of the process's GPU.
#[derive(Default)]
struct State {
    space: Space,
    streams: Streams,
    sequence: u64,
    asked: bool,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

type Ioctl = unsafe extern "C" fn(c_int, c_ulong, *mut c_void) -> c_int;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const std::ffi::c_char) -> *mut c_void;
    fn atexit(f: extern "C" fn()) -> c_int;
}

/// The next library's `ioctl`.
fn next() -> Ioctl {
    static NEXT: OnceLock<Ioctl> = OnceLock::new();
    const RTLD_NEXT: *mut c_void = -1isize as *mut c_void;
    *NEXT.get_or_init(|| {
        // SAFETY: the name is a C string; the symbol, if there is one, is libc's or a shim's ioctl
        // and has this type.
        unsafe {
            let symbol = dlsym(RTLD_NEXT, c"ioctl".as_ptr());
            assert!(!symbol.is_null(), "no ioctl behind this library");
            atexit(report);
            std::mem::transmute::<*mut c_void, Ioctl>(symbol)
        }
    })
}

extern "C" fn report() {
    let state = STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(state) = state.as_ref().filter(|_| std::env::var_os("SHADER_REPORT").is_some()) {
        state.streams.report();
    }
}

/// Stands before the system call.
///
/// # Safety
///
/// As of ioctl(2): `arg` is what `request` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int {
    let call = |request: c_ulong, arg: *mut c_void| {
        // SAFETY: the caller's promise is handed on; requests of our own pass our own structures.
        unsafe { next()(fd, request, arg) }
    };
    let number = request & 0xffff;
    if !uapi::is_ours(number) {
        return call(request, arg);
    }
    let mut guard = STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let state = guard.get_or_insert_default();
    if !std::mem::replace(&mut state.asked, true) {
        state.streams.tiling = uapi::tile_modes(&call);
    }
    let word = |n: usize| {
        // SAFETY: each of these requests has an argument of at least 16 bytes.
        unsafe { arg.cast::<u32>().add(n).read() }
    };
    match number {
        uapi::GEM_CREATE => {
            let size = u64::from(word(0)) | u64::from(word(1)) << 32;
            let result = call(request, arg);
            if result == 0 {
                state.space.create(fd, word(0), size, &call);
            }
            result
        }
        uapi::GEM_CLOSE => {
            state.space.close(word(0));
            call(request, arg)
        }
        uapi::GEM_VA => {
            // SAFETY: the argument of this request is this structure.
            let va = unsafe { arg.cast::<uapi::Va>().read() };
            state.space.map(&va);
            call(request, arg)
        }
        uapi::CS => {
            // SAFETY: the argument of this request is this structure.
            let cs = unsafe { uapi::submission(arg) };
            state.sequence += 1;
            for ib in &cs.ibs {
                state.streams.execute(&mut state.space, ib);
            }
            if let Some((handle, offset)) = cs.fence {
                state.space.write_bo(handle, offset, &state.sequence.to_le_bytes());
            }
            // SAFETY: the result of this request is 64 bits at its start.
            unsafe { arg.cast::<u64>().write(state.sequence) };
            0
        }
        _ => call(request, arg),
    }
}
