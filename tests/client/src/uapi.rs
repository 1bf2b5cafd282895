// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel interface as numbers and structures, after `include/uapi/drm/amdgpu_drm.h` and
//! `include/uapi/drm/drm.h` of Linux 7.3. Names are the header's, without its prefixes. Fields are
//! the header's too; units are bytes and nanoseconds unless said.
//!
//! A structure that holds a user address holds it as an [`Addr`], which can only be made from
//! something that is alive, or from an address that no process ever maps: so a hostile structure
//! can be built in safe code, and cannot make the kernel write where Rust does not expect it.

mod info;
mod memory;
mod submission;
mod sync;

pub use self::{
    info::*,
    memory::*,
    submission::*,
    sync::*, //
};

use std::marker::PhantomData;

/// Data that the kernel may read or write byte by byte.
///
/// # Safety
///
/// The type must be `repr(C)`, have no padding, and be valid for every bit pattern.
pub unsafe trait Pod: Copy {}

// SAFETY: integers have no padding and no invalid values.
unsafe impl Pod for u8 {}
// SAFETY: as above.
unsafe impl Pod for u32 {}
// SAFETY: as above.
unsafe impl Pod for u64 {}
// SAFETY: the empty answer.
unsafe impl Pod for () {}
// SAFETY: an array has no padding between its elements.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// Marks a structure as [`Pod`] after checking that its size is the header's, and so that the
/// fields leave no padding.
macro_rules! pod {
    ($($name:ident $(<$lt:lifetime>)? = $size:literal),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: `repr(C)`, integers only; the size, the sum of the fields', is checked above.
        unsafe impl $(<$lt>)? $crate::uapi::Pod for $name $(<$lt>)? {}
    )+};
}
use pod;

/// A user address handed to the kernel, which outlives the call it is handed to.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Addr<'a>(u64, PhantomData<&'a ()>);

impl<'a> Addr<'a> {
    /// The null pointer.
    pub const NULL: Self = Self(0, PhantomData);
    /// An address below `vm.mmap_min_addr`, at which nothing can be mapped.
    pub const UNMAPPED: Self = Self(0x10, PhantomData);
    /// An address in the kernel's half.
    pub const KERNEL: Self = Self(0xffff_8000_0000_0000, PhantomData);

    /// Returns the address at which the kernel may read `values`.
    pub fn of<T: Pod>(values: &'a [T]) -> Self {
        Self(values.as_ptr().expose_provenance() as u64, PhantomData)
    }

    /// Returns the address at which the kernel may write `values`.
    pub fn of_mut<T: Pod>(values: &'a mut [T]) -> Self {
        Self(values.as_mut_ptr().expose_provenance() as u64, PhantomData)
    }

    /// Returns the addresses of chunk headers, for the kernel to read.
    pub fn of_chunks(chunks: &'a [Chunk<'a>]) -> Vec<Addr<'a>> {
        chunks
            .iter()
            .map(|c| Addr(std::ptr::from_ref(c).expose_provenance() as u64, PhantomData))
            .collect()
    }

    /// Returns the address of an array of addresses, for the kernel to read.
    pub fn of_addrs(addrs: &'a [Addr<'a>]) -> Self {
        Self(addrs.as_ptr().expose_provenance() as u64, PhantomData)
    }
}

/// An ioctl: what goes in, what comes out. Its encoded size is the larger of the two, as the
/// header's unions have it.
#[derive(Clone, Copy)]
pub struct Ioctl<I, O> {
    /// The encoded request.
    pub request: u64,
    /// Its name.
    pub name: &'static str,
    types: PhantomData<(I, O)>,
}

/// Direction bits of an ioctl request.
const WRITE: u64 = 1;
const READ_WRITE: u64 = 3;

/// Ioctl type byte of DRM.
pub const DRM_TYPE: u64 = b'd' as u64;
/// First driver-specific number.
pub const COMMAND_BASE: u64 = 0x40;

/// Encodes a request as `asm-generic/ioctl.h` does.
pub const fn encode(dir: u64, kind: u64, nr: u64, size: usize) -> u64 {
    dir << 30 | (size as u64) << 16 | kind << 8 | nr
}

const fn ioctl<I: Pod, O: Pod>(dir: u64, nr: u64, name: &'static str) -> Ioctl<I, O> {
    let size = if size_of::<I>() > size_of::<O>() { size_of::<I>() } else { size_of::<O>() };
    Ioctl { request: encode(dir, DRM_TYPE, nr, size), name, types: PhantomData }
}

const fn driver<I: Pod, O: Pod>(dir: u64, nr: u64, name: &'static str) -> Ioctl<I, O> {
    ioctl(dir, COMMAND_BASE + nr, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the values that a C compiler gives for the header's macros.
    #[test]
    fn request_numbers() {
        assert_eq!(VERSION.request, 0xc040_6400);
        assert_eq!(GEM_CLOSE.request, 0x4008_6409);
        assert_eq!(PRIME_HANDLE_TO_FD.request, 0xc00c_642d);
        assert_eq!(PRIME_FD_TO_HANDLE.request, 0xc00c_642e);
        assert_eq!(SYNCOBJ_HANDLE_TO_FD.request, 0xc018_64c1);
        assert_eq!(DMA_BUF_IMPORT_SYNC_FILE, 0x4008_6203);
        assert_eq!(DMA_BUF_EXPORT_SYNC_FILE, 0xc008_6202);
        assert_eq!(UDMABUF_CREATE, 0x4018_7542);
        assert_eq!(MODE_CREATE_DUMB.request, 0xc020_64b2);
        assert_eq!(GEM_CREATE.request, 0xc020_6440);
        assert_eq!(GEM_MMAP.request, 0xc008_6441);
        assert_eq!(CTX.request, 0xc010_6442);
        assert_eq!(CTX_QUERY.request, 0xc010_6442);
        assert_eq!(BO_LIST.request, 0xc018_6443);
        assert_eq!(CS.request, 0xc018_6444);
        assert_eq!(INFO.request, 0x4020_6445);
        assert_eq!(GEM_METADATA.request, 0xc120_6446);
        assert_eq!(GEM_WAIT_IDLE.request, 0xc010_6447);
        assert_eq!(GEM_VA.request, 0x4040_6448);
        assert_eq!(WAIT_CS.request, 0xc020_6449);
        assert_eq!(GEM_USERPTR.request, 0xc018_6451);
        assert_eq!(GEM_OP.request, 0xc018_6450);
        assert_eq!(VM.request, 0xc008_6453);
        assert_eq!(WAIT_FENCES.request, 0xc018_6452);
        assert_eq!(FENCE_TO_HANDLE.request, 0xc020_6454);
        assert_eq!(SCHED.request, 0x4010_6455);
        assert_eq!(GEM_LIST_HANDLES.request, 0xc010_6459);
    }

    #[test]
    fn chunk_length_counts_words() {
        let ib = [ChunkIb::default()];
        assert_eq!(Chunk::of(CHUNK_ID_IB, &ib).length_dw, 8);
    }
}
