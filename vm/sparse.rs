// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Ranges that are mapped, but of no buffer: a partially resident texture (PRT), where it is not
//! resident. The C driver's are `fpriv->prt_va` and `amdgpu_vm_prt_get()`. Shaders read zeros
//! there, and what they write vanishes.
//!
//! The page tables show nothing there. What makes reads of it zeros is a setting of the card
//! (`exec/unmapped.rs`), which an address space asks for with its first such range. It gives it
//! back when the file is closed and no job is left, and not with its last range: a job may then
//! still be in that range.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

use super::{
    mapping::Spare,
    Overlap,
    Vm, //
};
use crate::{
    abstractions::drm::exec::Locked,
    mem::BoId, //
};

impl Vm {
    /// Maps `pages` to no BO. `space` is all that user space may map. `locked` must hold
    /// [`Vm::root`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if something else is mapped there, `ENOMEM`.
    pub(crate) fn map_nothing(
        self: &Arc<Self>,
        locked: &Locked,
        pages: Range<u64>,
        overlap: Overlap,
        space: Range<u64>,
    ) -> Result {
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;
        let mut spare = Spare::new()?;

        if overlap == Overlap::Refuse && self.is_mapped(pages.clone()) {
            return Err(EINVAL);
        }
        // Before any job that may read there.
        if !self.is_sparse.xchg(true, Relaxed) {
            self.root.drm().unmapped.begin(space);
        }
        self.unmap_pages(&root, pages.clone(), &mut spare)?;
        let mapped = self.publish.lock().map_nothing(pages, &mut spare);
        mapped.map_err(|_| EINVAL)
    }

    /// Unmaps what was mapped to no BO and starts at `page`. `locked` must hold [`Vm::root`].
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such mapping, `ENOMEM`.
    pub(crate) fn unmap_nothing(self: &Arc<Self>, locked: &Locked, page: u64) -> Result {
        self.unmap_starting_at(locked, BoId::NONE, page)
    }

    /// Gives back the card's setting. No job is left, and none will come.
    pub(super) fn end_sparse(&self) {
        if self.is_sparse.xchg(false, Relaxed) {
            self.root.drm().unmapped.end();
        }
    }
}
