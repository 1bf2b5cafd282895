// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The requests that are looked at (`include/uapi/drm/amdgpu_drm.h`).

use std::ffi::{
    c_int,
    c_ulong,
    c_void, //
};

use amdgpu_shader::tiling::Modes;

/// Type 'd' and the first number of a driver's requests.
const DRIVER: c_ulong = 0x6440;
pub const GEM_CLOSE: c_ulong = 0x6409;
pub const GEM_CREATE: c_ulong = DRIVER;
pub const GEM_MMAP: c_ulong = DRIVER + 1;
pub const CS: c_ulong = DRIVER + 4;
pub const INFO: c_ulong = DRIVER + 5;
pub const GEM_VA: c_ulong = DRIVER + 8;

/// Reads registers (AMDGPU_INFO_READ_MMR_REG).
const READ_REGISTERS: u32 = 0x15;
const CHUNK_IB: u32 = 1;
const CHUNK_FENCE: u32 = 2;

/// A request to the next library.
pub type Call<'a> = &'a dyn Fn(c_ulong, *mut c_void) -> c_int;

pub fn is_ours(number: c_ulong) -> bool {
    matches!(number, GEM_CLOSE | GEM_CREATE | CS | GEM_VA)
}

/// A request that reads and writes an argument of this size.
pub fn request(number: c_ulong, size: usize) -> c_ulong {
    3 << 30 | (size as c_ulong) << 16 | number
}

/// struct drm_amdgpu_gem_va.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Va {
    pub handle: u32,
    pad: u32,
    pub operation: u32,
    pub flags: u32,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
}

/// struct drm_amdgpu_info, with the part for registers.
#[repr(C)]
struct Info {
    pointer: u64,
    size: u32,
    query: u32,
    register: u32,
    count: u32,
    instance: u32,
    flags: u32,
}

/// Registers of the tile modes, as the next library has them.
pub fn tile_modes(call: Call<'_>) -> Modes {
    let read = |register: u32, to: &mut [u32]| {
        let (pointer, size) = (to.as_mut_ptr() as u64, to.len() as u32 * 4);
        let count = to.len() as u32;
        let mut info =
            Info { pointer, size, query: READ_REGISTERS, register, count, instance: !0, flags: 0 };
        call(request(INFO, size_of::<Info>()), (&raw mut info).cast());
    };
    let mut modes = Modes { row: 2048, ..Modes::default() };
    read(0x2644, &mut modes.tile);
    read(0x2664, &mut modes.macrotile);
    modes
}

/// An indirect buffer: address, bytes, engine type.
#[derive(Clone, Copy, Debug)]
pub struct Ib {
    pub address: u64,
    pub bytes: u32,
    pub engine: u32,
}

/// Objects that a submission names.
#[derive(Default)]
pub struct Submission {
    pub ibs: Vec<Ib>,
    pub fence: Option<(u32, u32)>,
}

/// Reads a submission.
///
/// # Safety
///
/// `arg` is the argument of a CS request.
pub unsafe fn submission(arg: *mut c_void) -> Submission {
    let mut all = Submission::default();
    // SAFETY: the structure has the number of chunks at byte 8, and at byte 16 where pointers to
    // them are; each chunk has its kind, its length and a pointer to its data, of the layouts read
    // here.
    unsafe {
        let count = arg.cast::<u32>().add(2).read();
        let chunks = arg.cast::<u64>().add(2).read() as *const *const u32;
        for n in 0..count as usize {
            let chunk = chunks.add(n).read();
            let data = chunk.add(2).cast::<u64>().read() as *const u32;
            match chunk.read() {
                CHUNK_IB => all.ibs.push(Ib {
                    address: data.add(2).cast::<u64>().read(),
                    bytes: data.add(4).read(),
                    engine: data.add(5).read(),
                }),
                CHUNK_FENCE => all.fence = Some((data.read(), data.add(1).read())),
                _ => {}
            }
        }
    }
    all
}
