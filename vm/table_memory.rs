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
    layout::ENTRY_SIZE,
    tables::{
        Memory,
        Place,
        Table, //
    },
    Vm, //
};
use crate::{
    abstractions::{
        dma_fence::Interruptible,
        drm::exec::Locked, //
    },
    hw::page_table::TableKey,
    mem::{
        BoId,
        TableId, //
    },
    ttm::{
        Bo,
        ReservedBo,
        ReservedExt,
        Vram, //
    },
};

impl Vm {
    /// Makes the BOs of the page tables forget the address space.
    pub(super) fn retire(&self) {
        self.root.remove_space(self.id());
        let mut next = TableKey::FIRST;
        while let Some((key, table)) = self.next_table(next) {
            table.remove_space(self.id());
            next = key.next();
        }
    }

    fn next_table(&self, key: TableKey) -> Option<(TableKey, ARef<Bo>)> {
        let mut space = self.publish.lock();
        let (key, table) = space.tables().next(key)?;
        Some((key, table.clone()))
    }

    /// Called before the page directory or a page table loses its memory. No job may run, and the
    /// reservation of [`Vm::root`] must be held.
    pub(crate) fn evict_table(&self, table: TableId) {
        let mut space = self.publish.lock();
        match table {
            TableId::Directory => space.tables().evict_directory(),
            TableId::Table(key) => self.change(|memory| space.evict_table(memory, key)),
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

    /// Calls `place`, which places page tables. If there is no room in VRAM for them, moves BOs out
    /// of VRAM, one after the other, until there is: those whose reservation is held in `locked`,
    /// as nobody else can move them. A control group's limit may leave room for one of them or for
    /// the page tables.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`, and those of `place`.
    pub(super) fn make_room(&self, locked: &Locked, mut place: impl FnMut() -> Result) -> Result {
        let mut result = place();
        let mut next = Some(BoId::FIRST);
        while let Some(from) = next.filter(|_| result == Err(ENOMEM)) {
            let mut bo = None;
            next = self
                .publish
                .lock()
                .for_some_bos(from, 1, |found| bo = Some(found.clone()));
            let reserved = bo.as_ref().and_then(|bo| bo.reserved_in(locked));
            if let Some(bo) = reserved {
                if bo.leave_vram()? {
                    result = place();
                }
            }
        }
        result
    }

    /// Ensures that the directory, and all tables in whose range something is mapped, have memory.
    pub(super) fn place_tables(self: &Arc<Self>, root: &ReservedBo<'_>) -> Result {
        if self.publish.lock().tables().is_complete() {
            return Ok(());
        }
        self.place_directory(root)?;
        let mut next = TableKey::FIRST;
        while let Some((key, used)) = self.next_evicted(next) {
            next = key.next();
            if used {
                self.place_table(root, key)?;
            } else {
                let removed = self.publish.lock().tables().remove_evicted(key);
                drop(removed);
            }
        }
        Ok(())
    }

    /// Returns the first table from `key` on that has no memory, and whether anything is mapped
    /// there.
    fn next_evicted(&self, key: TableKey) -> Option<(TableKey, bool)> {
        let mut space = self.publish.lock();
        let key = space.tables().next_evicted(key)?;
        Some((key, space.is_table_used(key)))
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
            .zero(offset, self.format().directory_entries() * ENTRY_SIZE);
        let mut next = Some(TableKey::FIRST);
        while let Some(from) = next {
            let mut space = self.publish.lock();
            // Tables change only with the root's reservation held, which this caller holds.
            next = self.change(|memory| space.tables().fill_directory(memory, offset, from, STEP));
        }
        // No job has run since the directory lost its memory. The next job flushes the translations
        // that were cached for its former place.
        self.pd_addr.store(dev.facts.vram.mc_addr(offset), Release);
        self.change(|memory| memory.flush());
        self.seq.fetch_add(1, Release);
        self.publish.lock().tables().place_directory(offset);
        Ok(())
    }

    /// Ensures that a table exists and has memory. The table stays, even if a later step fails.
    pub(super) fn place_table(self: &Arc<Self>, root: &ReservedBo<'_>, key: TableKey) -> Result {
        let dev = self.root.drm();
        let place = |bo: &Bo| {
            let offset = vram_offset(&bo.reserved(root.held()).ok_or(EINVAL)?)?;
            let mc_addr = dev.facts.vram.mc_addr(offset);
            Ok::<_, Error>(Place { offset, mc_addr })
        };

        let found = self.find_table(key);
        if let Some((bo, placed)) = found {
            if !placed {
                bo.reserved(root.held()).ok_or(EINVAL)?.place_in_vram()?;
                let place = place(&bo)?;
                self.publish.lock().tables().place(key, place);
            }
            return Ok(());
        }
        let space = RBTreeNode::new(self.id(), self.clone(), GFP_KERNEL_ACCOUNT)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let size = usize::try_from(self.format().entries_of(key) * ENTRY_SIZE)?;
        let bo = Bo::create_table(dev, size, key, root)?;
        let table = Table::new(place(&bo)?, bo.clone());
        bo.add_space(space);
        self.publish.lock().add_table(key, table, node);
        Ok(())
    }

    /// Returns a table, and whether it has memory.
    fn find_table(&self, key: TableKey) -> Option<(ARef<Bo>, bool)> {
        let mut space = self.publish.lock();
        let (bo, placed) = space.tables().get(key)?;
        Some((bo.clone(), placed))
    }
}

/// Returns the VRAM offset of a page directory or page table. The table stays there for as long as
/// the reservation is held.
fn vram_offset(table: &ReservedBo<'_>) -> Result<u64> {
    let piece = table.allocation::<Vram>().ok_or(EINVAL)?;
    Ok(piece.blocks().first().ok_or(EINVAL)?.offset)
}
