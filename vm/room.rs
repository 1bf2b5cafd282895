// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VRAM for page tables (`amdgpu_vm_pt.c`): getting it, losing it to eviction, and getting it back.
//!
//! The directory and the tables are ordinary BOs. TTM evicts them from VRAM when it needs their
//! room, after all other BOs, and after the jobs of the address space have ended
//! ([`Vm::evict_table`]). Their contents are not kept, as they follow from the mappings. Mapping
//! and submitting bring back the tables that they need first ([`Vm::validate`]), with the
//! reservation held, which keeps the tables in place. Until then a mapping is only recorded. An
//! address space that was never used has no VRAM at all.
//!
//! A reset of the whole card loses what is in VRAM, but nobody's place there. Each address space
//! notices it before its next job ([`Vm::notice_loss`]): from then on its tables have no memory, as
//! after an eviction, and get back what they had.
//!
//! The BOs know their address space by `BoData::add_space`, as any BO does, and the
//! address space has references to them. [`OpenVm`](super::OpenVm) breaks this cycle when the file
//! is closed.

use kernel::{
    prelude::*,
    rbtree::{
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Relaxed,
            Release, //
        },
        Arc, //
    },
};

use super::{
    layout,
    tables::{
        Memory,
        Place,
        Table, //
    },
    Vm, //
};
use crate::{
    abstractions::dma_fence::Interruptible,
    ttm::{
        Bo,
        ReservedBo,
        ReservedExt,
        Vram, //
    }, //
};

/// The page directory of an address space, or one of its page tables by its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableId {
    Directory,
    Table(u64),
}

impl Vm {
    /// Makes the BOs of the page tables forget the address space.
    pub(super) fn retire(&self) {
        self.root.remove_space(self.id());
        let mut next = 0;
        while let Some((index, table)) = self.next_table(next) {
            table.remove_space(self.id());
            next = index + 1;
        }
    }

    fn next_table(&self, index: u64) -> Option<(u64, ARef<Bo>)> {
        let mut space = self.publish.lock();
        let (index, table) = space.tables().next(index)?;
        Some((index, table.clone()))
    }

    /// Called before the page directory or a page table loses its memory. No job may run, and the
    /// reservation of [`Vm::root`] must be held.
    pub(crate) fn evict_table(&self, table: TableId) {
        let mut space = self.publish.lock();
        match table {
            TableId::Directory => space.tables().evict_directory(),
            TableId::Table(index) => self.change(|memory| space.evict_table(memory, index)),
        }
    }

    /// Called before page tables are brought up to date, with the reservation of [`Vm::root`] held.
    /// If VRAM was lost since they were written, none of them has memory any more.
    ///
    /// Jobs and updates that were published before come to their end first: jobs no longer run, so
    /// this is the one place where the caller waits for the GPU, and not for long.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`.
    pub(super) fn notice_loss(&self) -> Result {
        let losses = self.root.drm().schedulers.vram_losses();
        if self.losses.load(Relaxed) == losses {
            return Ok(());
        }
        self.wait_jobs(Interruptible::Yes)?;
        self.publish.lock().lose_tables();
        self.losses.store(losses, Relaxed);
        Ok(())
    }

    /// Ensures that the directory, and all tables in whose range something is mapped, have memory.
    pub(super) fn place_tables(self: &Arc<Self>, root: &ReservedBo<'_>) -> Result {
        if self.publish.lock().tables().is_complete() {
            return Ok(());
        }
        self.place_directory(root)?;
        let mut next = 0;
        while let Some((index, used)) = self.next_evicted(next) {
            next = index + 1;
            if used {
                self.place_table(root, index)?;
            } else {
                let removed = self.publish.lock().tables().remove_evicted(index);
                drop(removed);
            }
        }
        Ok(())
    }

    /// Returns the first table from `index` on that has no memory, and whether anything is mapped
    /// there.
    fn next_evicted(&self, index: u64) -> Option<(u64, bool)> {
        let mut space = self.publish.lock();
        let index = space.tables().next_evicted(index)?;
        Some((index, space.is_table_used(index)))
    }

    /// Ensures that the directory has memory.
    pub(super) fn place_directory(&self, root: &ReservedBo<'_>) -> Result {
        /// Number of entries written per hold of the publish lock: others have to wait for it.
        const STEP: usize = 1024;

        if self.publish.lock().tables().has_directory() {
            return Ok(());
        }
        let dev = self.root.drm();
        root.place_in_vram()?;
        let offset = vram_offset(root)?;
        dev.card()
            .ok_or(ENODEV)?
            .vram()
            .zero(offset, layout::DIRECTORY_SIZE as u64);
        for first in (0..layout::DIRECTORY_ENTRIES).step_by(STEP) {
            let mut space = self.publish.lock();
            let entries = first..first + STEP as u64;
            // Tables change only with the root's reservation held, which this caller holds.
            self.change(|memory| space.tables().fill_directory(memory, offset, entries));
        }
        // No job has run since the directory lost its memory. The next job flushes the translations
        // that were cached for its former place.
        self.pd_addr.store(dev.facts.vram.mc_addr(offset), Release);
        self.change(|memory| memory.flush());
        self.seq.fetch_add(1, Release);
        self.publish.lock().tables().place_directory(offset);
        Ok(())
    }

    /// Ensures that the page table at an index of the directory exists and has memory. The table
    /// stays, even if a later step fails.
    pub(super) fn place_table(self: &Arc<Self>, root: &ReservedBo<'_>, index: u64) -> Result {
        let dev = self.root.drm();
        let place = |bo: &Bo| {
            let offset = vram_offset(&bo.reserved(root.held()).ok_or(EINVAL)?)?;
            let mc_addr = dev.facts.vram.mc_addr(offset);
            Ok::<_, Error>(Place { offset, mc_addr })
        };

        let found = self.find_table(index);
        if let Some((bo, placed)) = found {
            if !placed {
                bo.reserved(root.held()).ok_or(EINVAL)?.place_in_vram()?;
                let place = place(&bo)?;
                self.publish.lock().tables().place(index, place);
            }
            return Ok(());
        }
        let space = RBTreeNode::new(self.id(), self.clone(), GFP_KERNEL_ACCOUNT)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let bo = Bo::create_table(dev, layout::TABLE_SIZE, index, root)?;
        let table = Table::new(place(&bo)?, bo.clone());
        bo.add_space(space);
        self.publish.lock().add_table(index, table, node);
        Ok(())
    }

    /// Returns the page table at an index of the directory, and whether it has memory.
    fn find_table(&self, index: u64) -> Option<(ARef<Bo>, bool)> {
        let mut space = self.publish.lock();
        let (bo, placed) = space.tables().get(index)?;
        Some((bo.clone(), placed))
    }
}

/// Returns the VRAM offset of a page directory or page table. The table stays there for as long as
/// the reservation is held.
fn vram_offset(table: &ReservedBo<'_>) -> Result<u64> {
    let piece = table.allocation::<Vram>().ok_or(EINVAL)?;
    Ok(piece.blocks().first().ok_or(EINVAL)?.offset)
}
