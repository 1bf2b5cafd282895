// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tables of the platform's firmware (ACPI).
//!
//! C header: [`include/acpi/acpixf.h`](srctree/include/acpi/acpixf.h)

use crate::bindings;
use core::{
    ptr,
    slice, //
};
use kernel::{
    prelude::*,
    str::CStr, //
};

/// A table that is kept mapped.
///
/// # Invariants
///
/// The pointer is to a table that `acpi_get_table` has returned, and that was not put yet: all of
/// its `length` bytes are mapped, and nobody changes them.
pub(crate) struct Table(ptr::NonNull<bindings::acpi_table_header>);

impl Table {
    /// Returns the first table with a signature of four letters, or `None` if there is none.
    pub(crate) fn find(signature: &'static CStr) -> Option<Self> {
        if signature.to_bytes().len() != 4 {
            return None;
        }
        let mut table = ptr::null_mut();
        // SAFETY: The signature is a string that the function only reads, and `table` is writable.
        let status =
            unsafe { bindings::acpi_get_table(signature.as_char_ptr().cast_mut(), 1, &mut table) };
        if status != 0 {
            return None;
        }
        // INVARIANT: On success the function has mapped the table, and holds it for us.
        ptr::NonNull::new(table).map(Self)
    }

    /// Returns the bytes of the table, its header among them.
    pub(crate) fn bytes(&self) -> &[u8] {
        let table = self.0.as_ptr();
        // SAFETY: By the type invariant the table is mapped, as long as it says, and unchanged.
        unsafe {
            let length = (&raw const (*table).length).read_unaligned();
            // CAST: 32 bits fit into 64.
            slice::from_raw_parts(table.cast::<u8>(), length as usize)
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the table was not put yet.
        unsafe { bindings::acpi_put_table(self.0.as_ptr()) };
    }
}
