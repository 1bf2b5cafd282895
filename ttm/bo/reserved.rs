// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operations on a BO whose reservation is held: its place, and its bytes.
//!
//! The C driver has these in amdgpu_object.c, for an `amdgpu_bo` that is reserved.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use super::{
    clear,
    Domains,
    OnChipMemory,
    Part,
    ReservedBo,
    Vram, //
};
use crate::{
    abstractions::{
        dma_fence::Interruptible,
        drm::ttm, //
    },
    hw::{
        on_chip::OnChipRange,
        page_table::{
            Pte,
            Snoop, //
        },
    },
    mem::{
        Backing,
        SystemPages, //
    },
};

/// Operations on a BO whose reservation is held.
pub(crate) trait ReservedExt {
    /// Moves the BO to the domains that user space prefers if there is room, or at least to where
    /// the GPU reaches it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`; `EFAULT` for a userptr BO without pages.
    fn place(&self) -> Result;

    /// Moves the BO of a page table or directory to VRAM, in one piece that the CPU can access.
    /// This may evict others.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    fn place_in_vram(&self) -> Result;

    /// Moves the BO out of VRAM, if it is there and may move. Returns true if it does. Does not
    /// wait for the move.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    fn leave_vram(&self) -> Result<bool>;

    /// Moves the BO out of VRAM that the CPU cannot access, before the CPU accesses it: to VRAM
    /// that it can if there is room, else to GTT. Does not wait for the move.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the BO is pinned; `ENOMEM`, `ERESTARTSYS`; `ENODEV` if the card is gone.
    fn place_for_cpu(&self) -> Result;

    /// Waits until the BO's bytes are where they belong: its VRAM has been cleared of its previous
    /// owner's data, or the bytes have been copied there.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`; `ENODEV` if the card is gone.
    fn finish_content(&self, intr: Interruptible) -> Result;

    /// Maps the pages of a process that the BO has got for DMA. No job reaches them before its
    /// page-table entries are made current.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`, `EFAULT` if the BO has no such pages.
    fn map_user_pages(&self) -> Result;

    /// Returns the part of on-chip memory that the BO has, if it has any.
    fn on_chip(&self) -> Option<OnChipRange>;

    /// Calls `f` with the location of the bytes, or `None` if no address leads to them.
    fn with_backing<R>(&self, f: impl FnOnce(Option<Backing<'_>>) -> R) -> R;
}

impl ReservedExt for ReservedBo<'_> {
    fn place(&self) -> Result {
        // No job evicts others from VRAM: two that do not fit there together would evict each other
        // in turn.
        let domains = match self.domains() {
            _ if self.is_import() => Domains::GTT,
            Domains::VRAM => Domains::VRAM.or_gtt(),
            domains => domains,
        };
        // Another device has the BO here, and would fetch it back.
        let stays = self.is_pinned() || (self.is_attached() && domains.has(Domains::GTT));
        if self.mem_type() == Some(ttm::MemType::TT) && stays {
            return Ok(());
        }
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);

        let part = if self.needs_cpu() {
            Part::visible(self.drm())
        } else {
            Part::Any
        };
        let result = self.validate(&domains.placement(part), &mut ctx);
        if domains.on_chip().is_some() {
            // No bytes move.
            return result;
        }
        let moved = ctx.bytes_moved();
        self.drm().memory.bytes_moved.add(moved, Relaxed);
        result
    }

    fn place_in_vram(&self) -> Result {
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);
        let place = Part::visible(self.drm()).place().contiguous();
        self.validate(&ttm::Placement::new(&[place]), &mut ctx)
    }

    fn leave_vram(&self) -> Result<bool> {
        if self.mem_type() != Some(ttm::MemType::VRAM) || self.is_pinned() {
            return Ok(false);
        }
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);
        self.validate(&Domains::GTT.placement(Part::Any), &mut ctx)?;
        Ok(true)
    }

    fn place_for_cpu(&self) -> Result {
        let dev = self.drm();
        self.note_cpu_access();
        let visible = dev.facts.vram.visible;
        if self
            .allocation::<Vram>()
            .is_none_or(|piece| piece.is_before(visible))
        {
            return Ok(());
        }
        dev.memory.faults.add(1, Relaxed);
        let placement = Domains::VRAM.or_gtt().placement(Part::visible(dev));
        self.validate(&placement, &mut ttm::Ctx::new(Interruptible::Yes))
    }

    fn finish_content(&self, intr: Interruptible) -> Result {
        clear::finish(self, || self.allocation::<Vram>(), intr)
    }

    fn map_user_pages(&self) -> Result {
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);
        self.validate(&Domains::GTT.placement(Part::Any), &mut ctx)
    }

    fn on_chip(&self) -> Option<OnChipRange> {
        self.allocation::<OnChipMemory>()
    }

    fn with_backing<R>(&self, f: impl FnOnce(Option<Backing<'_>>) -> R) -> R {
        match self.mem_type() {
            Some(ttm::MemType::VRAM) => {
                let piece = self.allocation::<Vram>();
                f(piece.as_ref().map(|piece| Backing::Vram(piece.blocks())))
            }
            Some(ttm::MemType::TT) if self.is_populated() => f(Some(Backing::System {
                pages: self,
                snoop: snoop(self.page_source()),
                read_only: self.page_source() == ttm::PageSource::UserRead,
            })),
            _ => f(None),
        }
    }
}

/// Returns the GPU's need to look into the CPU's caches for pages of this kind.
pub(in crate::ttm) fn snoop(source: ttm::PageSource) -> Snoop {
    match source {
        ttm::PageSource::Pages(ttm::Caching::WriteCombined) => Snoop::No,
        _ => Snoop::Yes,
    }
}

impl SystemPages for ReservedBo<'_> {
    fn address(&self, page: usize) -> Option<u64> {
        self.dma_address(page)
    }

    fn entries(&self, first: usize, of_page_0: Pte, into: &mut [u64]) -> usize {
        // The device's DMA mask keeps addresses within the address field of an entry.
        self.dma_addresses(first, of_page_0.into_raw(), into)
    }
}
