// SPDX-License-Identifier: GPL-2.0 OR MIT
//! BOs mapped into the process, and where the program has put them in its GPU address space.

use std::{
    collections::{
        BTreeMap,
        HashMap, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    time::Instant, //
};

use amdgpu_shader::{
    memory::{
        Access,
        Memory,
        PAGE,
        Path,
        Place, //
    },
    stop::Stop, //
};

use crate::uapi::{
    Call,
    GEM_MMAP,
    Va,
    request, //
};

unsafe extern "C" {
    fn mmap(
        addr: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
}

/// A BO's bytes. They stay mapped when its handle is closed: an address space may go on with them.
#[derive(Clone, Copy)]
struct Bo {
    start: *mut u8,
    size: u64,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is never unmapped.
unsafe impl Send for Bo {}

/// The address space of the process.
#[derive(Default)]
pub struct Space {
    bos: HashMap<u32, Bo>,
    /// By first address: one past the last, and the byte behind the first.
    ranges: BTreeMap<u64, (u64, usize)>,
    start: Option<Instant>,
}

impl Space {
    /// Maps a new BO.
    pub fn create(&mut self, fd: c_int, handle: u32, size: u64, call: Call<'_>) {
        const READ_WRITE: c_int = 3;
        const SHARED: c_int = 1;
        let mut argument = [u64::from(handle)];
        call(request(GEM_MMAP, 8), argument.as_mut_ptr().cast());
        // SAFETY: a new mapping at an address that the system chooses.
        let start = unsafe {
            mmap(std::ptr::null_mut(), size as usize, READ_WRITE, SHARED, fd, argument[0] as i64)
        };
        if start as isize != -1 {
            self.bos.insert(handle, Bo { start: start.cast(), size });
        }
    }

    pub fn close(&mut self, handle: u32) {
        self.bos.remove(&handle);
    }

    /// Writes into a BO.
    pub fn write_bo(&mut self, handle: u32, offset: u32, from: &[u8]) {
        let Some(bo) = self.bos.get(&handle) else { return };
        if u64::from(offset) + from.len() as u64 <= bo.size {
            // SAFETY: inside the mapping.
            unsafe { bo.start.add(offset as usize).copy_from(from.as_ptr(), from.len()) }
        }
    }

    /// A change of the address space: 1 map, 2 unmap, 3 clear, 4 replace.
    pub fn map(&mut self, va: &Va) {
        let end = va.address.saturating_add(va.size);
        if va.operation != 1 {
            self.cut(va.address, end);
        }
        let bo = self.bos.get(&va.handle).filter(|_| matches!(va.operation, 1 | 4));
        if let Some(bo) = bo.filter(|bo| va.offset <= bo.size) {
            let end = end.min(va.address + (bo.size - va.offset).next_multiple_of(PAGE));
            self.ranges.insert(va.address, (end, bo.start as usize + va.offset as usize));
        }
    }

    /// Takes addresses out.
    fn cut(&mut self, from: u64, to: u64) {
        let met: Vec<u64> =
            self.ranges.range(..to).filter(|(_, r)| r.0 > from).map(|(start, _)| *start).collect();
        for start in met {
            let Some((end, at)) = self.ranges.remove(&start) else { continue };
            if start < from {
                self.ranges.insert(start, (from, at));
            }
            if end > to {
                self.ranges.insert(to, (end, at + (to - start) as usize));
            }
        }
    }
}

impl Memory for Space {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        let found = self.ranges.range(..=va).next_back().filter(|(_, r)| va < r.0);
        match found {
            Some((start, (_, at))) => Ok(Place(*at as u64 + (va - start))),
            None => Err(Stop::memory(format!("{access:?} at {va:#x}: not mapped"))),
        }
    }

    fn read(&mut self, _path: Path, at: Place, to: &mut [u8]) {
        // SAFETY: `translate` gave the place of a page of a BO, and the bytes lie in that page.
        unsafe { (at.0 as *const u8).copy_to(to.as_mut_ptr(), to.len()) }
    }

    fn write(&mut self, _path: Path, at: Place, from: &[u8]) {
        // SAFETY: as in `read`.
        unsafe { (at.0 as *mut u8).copy_from(from.as_ptr(), from.len()) }
    }

    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        let mut old = [0; 8];
        self.read(Path::Coherent(0), at, &mut old[..bytes]);
        let old = u64::from_le_bytes(old);
        self.write(Path::Coherent(0), at, &f(old).to_le_bytes()[..bytes]);
        old
    }

    fn clock(&mut self) -> u64 {
        // 27 MHz, as the chip's.
        (self.start.get_or_insert_with(Instant::now).elapsed().as_nanos() * 27 / 1000) as u64
    }
}
