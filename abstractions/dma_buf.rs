// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DMA buffers: memory that several devices use, which user space hands about as files.
//!
//! The device whose driver made a buffer *exports* it; other devices *import* it. This is what
//! both sides share. How objects of a memory manager are exported and imported is in
//! [`drm::ttm::export`](super::drm::ttm::export) and [`drm::ttm::import`](super::drm::ttm::import).
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    abstractions::dma_resv::Resv,
    bindings, //
};
use core::ptr::NonNull;
use kernel::{
    sync::aref::AlwaysRefCounted,
    types::Opaque, //
};

/// A DMA buffer (`struct dma_buf`).
///
/// # Invariants
///
/// The wrapped `struct dma_buf` is initialized, and has references.
#[repr(transparent)]
pub(crate) struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: A DMA buffer may be used, and its references dropped, in any thread.
unsafe impl Send for DmaBuf {}
// SAFETY: The methods read constants.
unsafe impl Sync for DmaBuf {}

// SAFETY: The references are those of the buffer's file.
unsafe impl AlwaysRefCounted for DmaBuf {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant there are references.
        unsafe { bindings::rust_ext_get_dma_buf(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns.
        unsafe { bindings::dma_buf_put(obj.cast().as_ptr()) };
    }
}

impl DmaBuf {
    /// Borrows a DMA buffer that C code holds.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a DMA buffer that has references for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the safety requirements; the layouts are the same as `DmaBuf` is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: By the type invariant; constant.
        unsafe { (*self.as_raw()).size }
    }

    /// Returns the reservation.
    pub(crate) fn resv(&self) -> &Resv {
        // SAFETY: By the type invariant; the buffer keeps its reservation.
        unsafe { Resv::from_raw((*self.as_raw()).resv) }
    }
}
