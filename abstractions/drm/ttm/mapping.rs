// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Kernel access to the contents of a buffer object.
//!
//! C header: [`include/drm/ttm/ttm_bo.h`](srctree/include/drm/ttm/ttm_bo.h)

use super::{
    attachment::Section,
    bo::DriverObject,
    driver::Driver,
    reserved::Reserved,
    MemType, //
};
use crate::bindings;
use core::ops::Range;
use kernel::{
    error::to_result,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

/// Pages of an object, mapped for the kernel.
///
/// # Invariants
///
/// `map` is a mapping of `len` bytes of the object, which is pinned for the lifetime of the
/// mapping.
pub(crate) struct Mapping<'a, T: DriverObject> {
    // The mapped memory is gone when the device is.
    _section: Section<'a>,
    reserved: Reserved<'a, T>,
    map: bindings::ttm_bo_kmap_obj,
    len: usize,
}

impl<'a, T: DriverObject> Mapping<'a, T> {
    /// Maps `pages` of an object.
    ///
    /// - `EINVAL`: there are no such pages, they are those of a process, or they are no system
    ///   pages and the driver has a location for each.
    /// - `ENXIO`: the object lies nowhere.
    /// - `ENODEV`: the device is gone.
    pub(super) fn new(reserved: Reserved<'a, T>, pages: Range<usize>) -> Result<Self> {
        if pages.is_empty()
            || pages.end > reserved.size() >> PAGE_SHIFT
            || reserved.has_user_pages()
        {
            return Err(EINVAL);
        }
        let placed = reserved.placed().ok_or(ENXIO)?;
        let device = reserved.bo.ttm_device();
        let section = device.gate().enter().ok_or(ENODEV)?;
        if <T::Driver as Driver>::HAS_IO_PAGE
            && placed.mem_type != MemType::SYSTEM
            && !device.uses_tt(placed.mem_type)
        {
            return Err(EINVAL);
        }
        // SAFETY: The object is valid and reserved.
        if device.uses_tt(placed.mem_type) && unsafe { (*reserved.as_raw()).ttm.is_null() } {
            return Err(ENXIO);
        }
        let mut map = bindings::ttm_bo_kmap_obj::default();
        // SAFETY: The object is valid and reserved, lies somewhere, and the pages are within it.
        to_result(unsafe {
            bindings::ttm_bo_kmap(reserved.as_raw(), pages.start, pages.len(), &mut map)
        })?;
        // SAFETY: The object is valid and reserved.
        unsafe { bindings::ttm_bo_pin(reserved.as_raw()) };
        // INVARIANT: It is mapped and pinned.
        Ok(Self {
            _section: section,
            reserved,
            map,
            len: pages.len() * PAGE_SIZE,
        })
    }

    fn check(&self, offset: usize, len: usize) -> Result {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Copies bytes from the object.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> Result {
        self.check(offset, into.len())?;
        // SAFETY: The range is within the mapping.
        unsafe {
            bindings::rust_ext_ttm_kmap_read(
                &raw const self.map,
                offset,
                into.as_mut_ptr().cast(),
                into.len(),
            )
        };
        Ok(())
    }

    /// Copies bytes to the object.
    #[cfg_attr(
        not(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST),
        expect(dead_code, reason = "used by tests only")
    )]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result {
        self.check(offset, bytes.len())?;
        // SAFETY: The range is within the mapping.
        unsafe {
            bindings::rust_ext_ttm_kmap_write(
                &raw const self.map,
                offset,
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        };
        Ok(())
    }
}

impl<T: DriverObject> Drop for Mapping<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is mapped and pinned; the reservation is still held.
        unsafe {
            bindings::ttm_bo_kunmap(&mut self.map);
            bindings::ttm_bo_unpin(self.reserved.as_raw());
        }
    }
}
