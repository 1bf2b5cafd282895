// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Translation tables: the system pages behind a buffer object (`struct ttm_tt`).
//!
//! C header: [`include/drm/ttm/ttm_tt.h`](srctree/include/drm/ttm/ttm_tt.h)
//!
//! The pages come from TTM's pool, which also maps them for DMA, or from a process (userptr). Pages
//! of a process are not held: the caller of [`Reserved::set_user_pages`] promises that the device
//! does not use them once the process has taken them back. So the processor never touches their
//! contents here, and writes to their `struct page` only while they cannot be taken back. (The DMA
//! layer reads it when it maps them, to see on which bus the memory is. Nothing keeps a page that
//! was taken back from being removed from the machine just then, as nothing does where C drivers
//! map what HMM found.)
//!
//! * They are marked as external, so that TTM does not swap them, map them, or copy from them.
//! * The DMA layer is asked for a mapping without bounce buffers ([`IN_PLACE`]), because it would
//!   copy to and from those at any time. If that is impossible, there is no mapping.
//! * They are marked as dirty before the device may write to them
//!   ([`Reserved::mark_user_pages_dirty`]). They are not marked when they are released, as they may
//!   belong to another process by then. The page tables of the process do not always record the
//!   write: a page that the process has only read since it came from swap, or freed lazily, is
//!   writable there and clean, and the kernel would drop the device's writes to it. Code that
//!   cleans pages invalidates them first, so the mark lasts as long as the pages do.
//!
//! [`Reserved::set_user_pages`]: super::Reserved::set_user_pages
//! [`Reserved::mark_user_pages_dirty`]: super::Reserved::mark_user_pages_dirty

use super::{
    attachment::Section,
    bo::Buffer,
    device::Device,
    driver::Driver,
    import, //
};
use crate::{
    abstractions::{
        dma::IN_PLACE,
        mm::hmm::Pfn, //
    },
    bindings, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::to_result,
    ffi,
    page::{
        BorrowedPage,
        PAGE_SHIFT, //
    },
    prelude::*,
    types::Opaque, //
};

/// CPU caching of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Caching {
    /// Writes are combined, reads are not cached.
    WriteCombined,
    /// Cached like any memory.
    Cached,
}

impl Caching {
    pub(super) fn as_raw(self) -> bindings::ttm_caching {
        match self {
            Self::WriteCombined => bindings::ttm_caching_ttm_write_combined,
            Self::Cached => bindings::ttm_caching_ttm_cached,
        }
    }
}

/// Source of the system pages behind an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageSource {
    /// TTM's pool.
    Pages(Caching),
    /// A process. The device reads the pages.
    UserRead,
    /// A process. The device reads and writes the pages.
    UserWrite,
}

impl PageSource {
    /// Returns true if the pages are those of a process.
    pub(crate) fn is_user(self) -> bool {
        self.direction().is_some()
    }

    fn direction(self) -> Option<bindings::dma_data_direction> {
        match self {
            Self::Pages(_) => None,
            Self::UserRead => Some(bindings::dma_data_direction::DMA_TO_DEVICE),
            Self::UserWrite => Some(bindings::dma_data_direction::DMA_BIDIRECTIONAL),
        }
    }
}

/// A C translation table with our data.
///
/// # Invariants
///
/// * `raw` was initialized by `ttm_sg_tt_init()`, with room for pages and DMA addresses, in one
///   piece of memory that `kvfree()` frees.
/// * `user` is `Some` if and only if the pages are those of a process; `raw` is then marked as
///   external, and its pages are all null or all valid.
/// * If user pages are populated, `sg` is a scatter list of them that is mapped for the device.
/// * `import` is the object if its memory is a DMA buffer of another device; `raw` is then marked
///   as external, and has room for DMA addresses only. If it is populated, `raw.sg` is the mapping
///   that the exporter has made. The object lives as long as the table, or the remnant of a move
///   that the table went to keeps it.
#[repr(C)]
pub(super) struct Tt {
    raw: Opaque<bindings::ttm_tt>,
    sg: Opaque<bindings::sg_table>,
    user: Option<bindings::dma_data_direction>,
    import: Option<NonNull<bindings::drm_gem_object>>,
}

impl Tt {
    /// Implements the `ttm_tt_create` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    pub(super) unsafe extern "C" fn create<D: Driver>(
        bo: *mut bindings::ttm_buffer_object,
        page_flags: u32,
    ) -> *mut bindings::ttm_tt {
        // SAFETY: TTM gives us a valid object of this device.
        let page_source = match unsafe { Buffer::<D::Bo>::from_raw(bo) } {
            Some(buffer) => buffer.page_source(),
            // The remnant of an object that was moved away.
            None => PageSource::Pages(Caching::Cached),
        };
        let caching = match page_source {
            PageSource::Pages(caching) => caching,
            PageSource::UserRead | PageSource::UserWrite => Caching::Cached,
        };

        // TTM asks for this where the memory of an object is a DMA buffer.
        let is_import = page_flags & bindings::RUST_EXT_TTM_TT_FLAG_EXTERNAL != 0;
        // SAFETY: The object is valid; no reference is made.
        let gem = unsafe { &raw mut (*bo).base };

        // SAFETY: TTM gives us a valid object, reserved or not known to anyone yet.
        let (is_new, size) = unsafe { ((*bo).resource.is_null(), (*gem).size) };
        // Before TTM allocates its own, which are charged to nobody, and whose failure is logged.
        let charged = match is_new.then(|| Self::charged(size >> PAGE_SHIFT, is_import)) {
            Some(Err(_)) => return ptr::null_mut(),
            Some(Ok(arrays)) => Some(arrays),
            None => None,
        };

        let Ok(this) = KBox::new(
            Self {
                raw: Opaque::zeroed(),
                sg: Opaque::zeroed(),
                // The memory of an import is not a process's, whatever the driver says.
                user: page_source.direction().filter(|_| !is_import),
                import: NonNull::new(gem).filter(|_| is_import),
            },
            GFP_KERNEL_ACCOUNT,
        ) else {
            return ptr::null_mut();
        };

        // TTM asks for cleared pages only where an object is new. A device that moves an object may
        // not get to write all of them, and user space sees them before it has.
        let page_flags = page_flags | bindings::RUST_EXT_TTM_TT_FLAG_ZERO_ALLOC;
        let raw = this.raw.get();
        // SAFETY: The table is zeroed, and the object valid. Without the flag for external pages
        // it makes room for the pages, too.
        if unsafe { bindings::ttm_sg_tt_init(raw, bo, page_flags, caching.as_raw()) } != 0 {
            return ptr::null_mut();
        }
        if this.user.is_some() {
            // SAFETY: The table is initialized, and nobody else knows of it.
            unsafe { (*raw).page_flags |= bindings::RUST_EXT_TTM_TT_FLAG_EXTERNAL };
        }
        if let Some(arrays) = charged {
            this.replace_arrays(arrays);
        }
        // INVARIANT: No page is set, nothing is populated.
        KBox::into_raw(this).cast()
    }

    /// Greatest number of 64-bit words of a table. `kvmalloc()` takes more for a mistake of its
    /// caller, and warns.
    const MAX_WORDS: usize = i32::MAX as usize / size_of::<u64>();

    /// Allocates the arrays of a table of `count` pages, charged to the caller. A new object with
    /// pages of others may be large, and costs nothing but these arrays. (When an object that has
    /// a place gets a table, another task is evicting it.)
    fn charged(count: usize, is_import: bool) -> Result<KVVec<u64>> {
        let words = if is_import { count } else { 2 * count };
        if words > Self::MAX_WORDS {
            return Err(ENOMEM);
        }
        Ok(KVVec::from_elem(
            0,
            words,
            GFP_KERNEL_ACCOUNT | __GFP_NOWARN,
        )?)
    }

    /// Replaces the arrays of pages and addresses with those of [`Tt::charged`]. The table must be
    /// new, and of as many pages.
    fn replace_arrays(&self, arrays: KVVec<u64>) {
        let raw = self.raw.get();
        let (arrays, ..) = arrays.into_raw_parts();
        // SAFETY: By the type invariant the table is initialized. Nobody uses the arrays of a new
        // table yet. They are freed as they were allocated, and so will their replacements be,
        // which hold an address for each page, behind a pointer to each if there are pages at all.
        unsafe {
            if self.import.is_some() {
                bindings::kvfree((*raw).dma_address.cast());
                (*raw).dma_address = arrays;
                return;
            }
            bindings::kvfree((*raw).pages.cast());
            (*raw).pages = arrays.cast();
            (*raw).dma_address = arrays.add((*raw).num_pages as usize);
        }
    }

    /// Implements the `ttm_tt_destroy` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs`.
    pub(super) unsafe extern "C" fn destroy(
        _bdev: *mut bindings::ttm_device,
        raw: *mut bindings::ttm_tt,
    ) {
        // SAFETY: `create` made the table; TTM gives it back, unpopulated.
        unsafe {
            bindings::ttm_tt_fini(raw);
            drop(KBox::<Self>::from_raw(raw.cast()));
        }
    }

    /// Implements the `ttm_tt_populate` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    pub(super) unsafe extern "C" fn populate<D: Driver>(
        bdev: *mut bindings::ttm_device,
        raw: *mut bindings::ttm_tt,
        ctx: *mut bindings::ttm_operation_ctx,
    ) -> ffi::c_int {
        // SAFETY: `create` made the table, and TTM lets nobody else use it meanwhile.
        let this = unsafe { &*raw.cast::<Self>() };
        // SAFETY: This callback is only in devices of `D`.
        let device = unsafe { Device::<D>::from_raw(bdev) };
        let Some(section) = device.gate().enter() else {
            return ENODEV.to_errno();
        };
        let populated = match (this.import, this.user) {
            (Some(gem), _) => this.map_import(gem, &section),
            (None, Some(direction)) => this.map(device.dma_device(), direction, &section),
            (None, None) => {
                // SAFETY: Device, table and context are valid.
                to_result(unsafe { bindings::ttm_pool_alloc(&raw mut (*bdev).pool, raw, ctx) })
            }
        };
        match populated {
            Ok(()) => {
                device.populated().add();
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// Implements the `ttm_tt_unpopulate` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_device_funcs` of `D`.
    pub(super) unsafe extern "C" fn unpopulate<D: Driver>(
        bdev: *mut bindings::ttm_device,
        raw: *mut bindings::ttm_tt,
    ) {
        // SAFETY: As in `populate`.
        let this = unsafe { &*raw.cast::<Self>() };
        // SAFETY: This callback is only in devices of `D`.
        let device = unsafe { Device::<D>::from_raw(bdev) };
        match (this.import, this.user) {
            // SAFETY: By the type invariant the DMA buffer is mapped; TTM holds the reservation.
            (Some(gem), _) => unsafe {
                let sgt = core::mem::replace(&mut (*raw).sg, ptr::null_mut());
                import::unmap(gem.as_ptr(), sgt);
            },
            // SAFETY: Device and table are valid, and the table is populated.
            (None, None) => unsafe { bindings::ttm_pool_free(&raw mut (*bdev).pool, raw) },
            (None, Some(direction)) => {
                let dev = device.dma_device();
                // SAFETY: By the type invariant the scatter list is mapped, in this way.
                unsafe {
                    let sg = this.sg.get();
                    bindings::dma_unmap_sg_attrs(
                        dev,
                        (*sg).sgl,
                        // CAST: As `dma_unmap_sgtable()` does.
                        (*sg).orig_nents as ffi::c_int,
                        direction,
                        IN_PLACE,
                    );
                    bindings::sg_free_table(sg);
                }
            }
        }
        device.populated().remove();
    }

    /// Maps the DMA buffer behind the object for the device, which is bound for the section.
    fn map_import(&self, gem: NonNull<bindings::drm_gem_object>, _section: &Section<'_>) -> Result {
        let raw = self.raw.get();
        // SAFETY: By the type invariant the object is alive, and there is room for the addresses of
        // all pages. Its reservation is held. A table that is populated is unpopulated before the
        // device is unbound.
        // INVARIANT: The mapping is kept.
        unsafe {
            (*raw).sg = import::map(gem.as_ptr(), (*raw).dma_address, (*raw).num_pages)?;
        }
        Ok(())
    }

    /// Maps user pages for the device, and stores their DMA addresses. `dev` must be bound for the
    /// section.
    fn map(
        &self,
        dev: *mut bindings::device,
        direction: bindings::dma_data_direction,
        _section: &Section<'_>,
    ) -> Result {
        let (raw, sg) = (self.raw.get(), self.sg.get());
        // SAFETY: By the type invariant the table is initialized; the reservation is held.
        let (pages, count, addresses) =
            unsafe { ((*raw).pages, (*raw).num_pages, (*raw).dma_address) };
        // SAFETY: There is room for `count` pages, and at least one, as objects are not empty.
        if unsafe { (*pages).is_null() } {
            return Err(EFAULT);
        }

        // SAFETY: By the type invariant all pages are valid, as the first is. The device is bound
        // for the section, and the scatter list is not in use.
        unsafe {
            to_result(bindings::sg_alloc_table_from_pages_segment(
                sg,
                pages,
                count,
                0,
                (count as ffi::c_ulong) << PAGE_SHIFT,
                bindings::rust_ext_dma_get_max_seg_size(dev),
                bindings::GFP_KERNEL,
            ))?;
            to_result(bindings::dma_map_sgtable(dev, sg, direction, IN_PLACE))
                .and_then(|()| {
                    // CAST: As its caller does in C.
                    to_result(bindings::drm_prime_sg_to_dma_addr_array(
                        sg,
                        addresses,
                        count as ffi::c_int,
                    ))
                    .inspect_err(|_| {
                        bindings::dma_unmap_sg_attrs(
                            dev,
                            (*sg).sgl,
                            (*sg).orig_nents as ffi::c_int,
                            direction,
                            IN_PLACE,
                        )
                    })
                })
                .inspect_err(|_| bindings::sg_free_table(sg))
        }
    }

    /// Sets the table's pages, one for each entry.
    ///
    /// # Safety
    ///
    /// `raw` must be a table that `create` made, unpopulated, and the object's reservation held.
    pub(super) unsafe fn set_user_pages(raw: *mut bindings::ttm_tt, pages: &[Pfn]) -> Result {
        // SAFETY: By the safety requirements.
        let this = unsafe { &*raw.cast::<Self>() };
        // SAFETY: As above.
        let (array, count) = unsafe { ((*raw).pages, (*raw).num_pages as usize) };
        if this.user.is_none() || pages.len() != count {
            return Err(EINVAL);
        }

        for (i, page) in pages.iter().map(|pfn| pfn.page()).enumerate() {
            let Some(page) = page else {
                // INVARIANT: The table counts as without pages again.
                // SAFETY: There is room for `count` pages, at least one of them.
                unsafe { *array = ptr::null_mut() };
                return Err(EFAULT);
            };
            // SAFETY: There is room for `count` pages.
            unsafe { *array.add(i) = page };
        }
        Ok(())
    }

    /// Marks the user pages as dirty, if the device may write to them. Successive pages of one
    /// folio are marked as one, which the kernel does anyway.
    ///
    /// # Safety
    ///
    /// `raw` must be a table that `create` made, populated, and the object's reservation held. The
    /// process must not have taken its pages back, and must not be able to during the call.
    pub(super) unsafe fn mark_user_pages_dirty(raw: *mut bindings::ttm_tt) {
        // SAFETY: By the safety requirements.
        let this = unsafe { &*raw.cast::<Self>() };
        if this.user != Some(bindings::dma_data_direction::DMA_BIDIRECTIONAL) {
            return;
        }
        let mut last = ptr::null_mut();
        // SAFETY: By the type invariant there are `num_pages` valid pages, as the table is
        // populated. By the safety requirements they are the process's, which keeps them from being
        // freed.
        unsafe {
            for i in 0..(*raw).num_pages as usize {
                let folio = bindings::rust_ext_page_folio(*(*raw).pages.add(i));
                if folio != last {
                    bindings::folio_mark_dirty(folio);
                    last = folio;
                }
            }
        }
    }
}

/// Returns the number of bytes of system memory that may back the objects of all devices. It is 0
/// before there is any device.
pub(crate) fn system_limit() -> u64 {
    // SAFETY: It only reads a number.
    let pages = unsafe { bindings::ttm_tt_pages_limit() };
    // CAST: `u64` is never narrower than `c_ulong`.
    (pages as u64) << PAGE_SHIFT
}

/// Returns a page of a populated table, if it came from TTM's pool.
///
/// # Safety
///
/// `raw` must be null or valid, and its object's reservation held for as long as the page is used.
pub(super) unsafe fn page<'a>(raw: *mut bindings::ttm_tt, page: usize) -> Result<BorrowedPage<'a>> {
    // SAFETY: By the safety requirements. A populated table that is not external has all its pages,
    // which stay while the reservation is held.
    unsafe {
        if raw.is_null()
            || !bindings::rust_ext_ttm_tt_is_populated(raw)
            || (*raw).page_flags & bindings::RUST_EXT_TTM_TT_FLAG_EXTERNAL != 0
            || page >= (*raw).num_pages as usize
        {
            return Err(EINVAL);
        }
        let page = NonNull::new(*(*raw).pages.add(page)).ok_or(EINVAL)?;
        // CAST: These are bindings of the same type.
        Ok(BorrowedPage::from_raw(page.cast()))
    }
}

/// Returns the DMA address of a page of a populated table.
///
/// # Safety
///
/// `raw` must be null or valid, and its object's reservation held.
pub(super) unsafe fn dma_address(raw: *mut bindings::ttm_tt, page: usize) -> Option<u64> {
    let mut address = [0];
    // SAFETY: By the safety requirements.
    let count = unsafe { dma_addresses(raw, page, 0, &mut address) };
    (count == 1).then_some(address[0])
}

/// Writes the DMA addresses of the pages from `first` on to `into`, each with `bits` set, as far as
/// a populated table has them. Returns the number of addresses written.
///
/// # Safety
///
/// `raw` must be null or valid, and its object's reservation held.
pub(super) unsafe fn dma_addresses(
    raw: *mut bindings::ttm_tt,
    first: usize,
    bits: u64,
    into: &mut [u64],
) -> usize {
    if raw.is_null() {
        return 0;
    }
    // SAFETY: By the safety requirements.
    let (populated, pages, addresses) = unsafe {
        let populated = bindings::rust_ext_ttm_tt_is_populated(raw);
        (populated, (*raw).num_pages as usize, (*raw).dma_address)
    };
    if !populated {
        return 0;
    }
    let Some(there) = pages.checked_sub(first) else {
        return 0;
    };
    // SAFETY: A populated table has an address for each of its pages, of which these are the last.
    // They do not change before we return, as the reservation is held.
    let addresses = unsafe { core::slice::from_raw_parts(addresses.add(first), there) };
    for (to, address) in into.iter_mut().zip(addresses) {
        *to = *address | bits;
    }
    there.min(into.len())
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_ttm_tt)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_no_allocation_may_have_are_refused() {
        let most = Tt::MAX_WORDS;
        assert!(Tt::charged(most / 2 + 1, false).is_err());
        assert!(Tt::charged(most + 1, true).is_err());
        assert!(Tt::charged(3, false).is_ok_and(|table| table.len() == 6));
        assert!(Tt::charged(3, true).is_ok_and(|table| table.len() == 3));
    }
}
