// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Mappings of no BO, which keep other mappings from their pages (`vm/sparse.rs`). The C driver's
//! are `amdgpu_bo_va_mapping`s of the `amdgpu_bo_va` that belongs to no BO, `fpriv->prt_va`.

use core::ops::Range;

use super::{
    MapFlags,
    Mapping,
    Space,
    Spare, //
};
use crate::{
    bindings,
    mem::BoId, //
};

impl<B, T> Space<B, T> {
    /// Maps `pages` to no BO, or returns the mapping as the error if it overlaps another.
    pub(in crate::vm) fn map_nothing(
        &mut self,
        pages: Range<u64>,
        spare: &mut Spare<BoId, MapFlags>,
    ) -> Result<(), Mapping> {
        let mapping = Mapping {
            page: pages.start,
            count: pages.end - pages.start,
            bo: BoId::NONE,
            bo_page: 0,
            access: MapFlags(bindings::AMDGPU_VM_PAGE_PRT),
        };
        // INVARIANT: As nothing else is mapped there, the page tables show nothing.
        self.mappings.insert(mapping, spare)
    }
}
