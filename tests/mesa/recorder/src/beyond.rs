// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The memory to which pointers in an ioctl's argument lead.

use std::ffi::c_ulong;

use crate::hex;

/// AMDGPU_INFO and AMDGPU_CS (`amdgpu_drm.h`), from DRM_COMMAND_BASE on.
const AMDGPU_CS: c_ulong = 0x44;
const AMDGPU_INFO: c_ulong = 0x45;

/// Describes what lies beyond the argument, or nothing.
pub fn beyond(number: c_ulong, asked: &[u8], result: i32) -> String {
    match number {
        AMDGPU_INFO if result == 0 => info(asked),
        AMDGPU_CS => chunks(asked),
        _ => String::new(),
    }
}

/// The answer of a query: a pointer, then its size.
fn info(asked: &[u8]) -> String {
    let (at, size) = (long(asked, 0), word(asked, 8));
    // SAFETY: the kernel wrote at most so many bytes there, and the caller had room for them.
    hex(&unsafe { copy(at, size as usize) })
}

/// The chunks of a submission: their number, then a pointer to pointers.
fn chunks(asked: &[u8]) -> String {
    let (count, list) = (word(asked, 8) as usize, long(asked, 16));
    let chunks: Vec<_> = (0..count as u64)
        .map(|n| {
            // SAFETY: so many pointers are there, each to a chunk of 16 bytes.
            let at = long(&unsafe { copy(list + 8 * n, 8) }, 0);
            // SAFETY: as above.
            let chunk = unsafe { copy(at, 16) };
            let (id, dwords) = (word(&chunk, 0), word(&chunk, 4) as usize);
            // SAFETY: the chunk says that so many dwords are there.
            let data = unsafe { copy(long(&chunk, 8), 4 * dwords) };
            format!("{id}:{}", hex(&data))
        })
        .collect();
    chunks.join(",")
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// Copies memory of the program.
///
/// # Safety
///
/// `len` bytes are there.
unsafe fn copy(at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let from = usize::try_from(at).map(std::ptr::with_exposed_provenance::<u8>);
    if let (Ok(from), 1..) = (from, len) {
        // SAFETY: the caller's promise.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
    }
    bytes
}
