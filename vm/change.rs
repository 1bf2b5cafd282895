// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Changes of an address space's page tables: written at once, or recorded as an update
//! ([`timeline`](super::timeline)).
//!
//! The C driver has this in amdgpu_vm.c (`amdgpu_vm_bo_map`, `amdgpu_vm_bo_update`).

use core::{
    cell::Cell,
    mem::replace,
    ops::Range, //
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Release,
        Arc, //
    }, //
};

use super::{
    layout,
    mapping::Spare,
    space::{
        Space,
        Unmapped, //
    },
    tables::{
        self,
        Memory, //
    },
    timeline::{
        After,
        Draft,
        PageTables,
        Timeline, //
    },
    update::{
        Recorder,
        Room,
        Steps, //
    },
    MapFlags,
    Vm,
    AT_ONCE, //
};
use crate::{
    abstractions::{
        dma_fence::Fence,
        dma_resv::HeldResv,
        workqueue::OwnedQueue, //
    },
    drm::DrmDevice,
    exec::kernel_queue::EntryJobs,
    hw::{
        card::Card,
        command::EntryRun,
        page_table::{
            Pte,
            PAGE_SIZE, //
        }, //
    },
    mem::BoId,
    ttm::{
        Bo,
        ReservedBo, //
    },
};

/// Fragments at the borders of what is unmapped.
#[derive(PartialEq, Eq)]
pub(super) enum Borders {
    Whole,
    Split,
}

/// Mappings to be taken away.
pub(super) enum Unmapping<'a> {
    /// Everything mapped in these pages, whose borders are still to be split or have been.
    Pages(Range<u64>, &'a mut Spare<BoId, MapFlags>, Borders),
    /// All mappings of a BO.
    Bo(BoId),
}

impl<'a> Unmapping<'a> {
    /// Returns everything mapped in `pages`.
    pub(super) fn pages(pages: Range<u64>, spare: &'a mut Spare<BoId, MapFlags>) -> Self {
        Self::Pages(pages, spare, Borders::Whole)
    }

    /// Takes away as many as may be under one hold of the publish lock.
    fn take_some(
        &mut self,
        space: &mut Space<ARef<Bo>, ARef<Bo>>,
        memory: &impl Memory,
    ) -> Unmapped {
        match self {
            Self::Pages(pages, spare, borders) => {
                if replace(borders, Borders::Split) == Borders::Whole {
                    space.split_borders(memory, pages);
                }
                space.unmap(memory, pages.clone(), spare, AT_ONCE)
            }
            Self::Bo(bo) => space.unmap_bo(memory, *bo, AT_ONCE),
        }
    }
}

/// Divides a run of page-table entries at `addr` into what an engine can write.
fn entry_runs(addr: u64, first: Pte, count: u64) -> impl Iterator<Item = EntryRun> + Clone {
    const MOST: u64 = EntryRun::MAX_COUNT as u64;

    (0..count.div_ceil(MOST)).map(move |n| EntryRun {
        addr: addr + n * MOST * layout::ENTRY_SIZE,
        first: first.after(n * MOST).into_raw(),
        // CAST: At most `MOST`, a `u32`.
        count: (count - n * MOST).min(MOST) as u32,
    })
}

impl Vm {
    /// Unmaps everything mapped in `pages`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, with nothing unmapped.
    pub(super) fn unmap_pages(
        self: &Arc<Self>,
        root: &ReservedBo<'_>,
        pages: Range<u64>,
        spare: &mut Spare<BoId, MapFlags>,
    ) -> Result {
        if !self.is_mapped(pages.clone()) {
            return Ok(());
        }
        let room = || self.room_to_unmap(pages.clone());
        let unmapping = Unmapping::pages(pages.clone(), spare);
        self.unmap_mappings(root, room, unmapping)
    }

    /// Unmaps all mappings of a BO.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, with nothing unmapped.
    pub(super) fn unmap_bo(self: &Arc<Self>, root: &ReservedBo<'_>, bo: &Bo) -> Result {
        if self.publish.lock().mappings().of(bo.id()).next().is_none() {
            return Ok(());
        }
        let room = || {
            let mut room = Room::default();
            self.for_each_mapping(bo, |mapping| {
                room = room + Room::to_clear(self.format(), mapping.pages());
            });
            room
        };
        self.unmap_mappings(root, room, Unmapping::Bo(bo.id()))
    }

    /// Unmaps at once if no job may run, and else by an update, which takes `room`.
    fn unmap_mappings(
        self: &Arc<Self>,
        root: &ReservedBo<'_>,
        room: impl FnOnce() -> Room,
        unmapping: Unmapping<'_>,
    ) -> Result {
        if self.is_idle() {
            self.unmap_at_once(unmapping);
            return Ok(());
        }
        let draft = self.draft(root, 0, (After::Jobs, &[]), room())?;
        self.record(draft, root.held(), |memory| {
            self.unmap_in(memory, unmapping)
        });
        Ok(())
    }

    /// Unmaps at once. No job may run.
    pub(super) fn unmap_at_once(&self, mut unmapping: Unmapping<'_>) {
        self.in_pieces(|space| self.change(|memory| unmapping.take_some(space, memory)));
    }

    /// Unmaps by writes to `memory`, which stands for VRAM as it will be.
    pub(super) fn unmap_in(&self, memory: &Recorder, mut unmapping: Unmapping<'_>) {
        self.in_pieces(|space| unmapping.take_some(space, memory));
    }

    /// Returns the room for unmapping everything mapped in `pages`.
    pub(super) fn room_to_unmap(&self, pages: Range<u64>) -> Room {
        let mut room = Room::BORDERS;
        let mut next = Some(pages.start);
        while let Some(from) = next {
            let some;
            (some, next) = self.publish.lock().room_to_clear(from..pages.end, AT_ONCE);
            room = room + some;
        }
        room
    }

    /// Calls `f` until it has unmapped everything. The publish lock is dropped in between.
    fn in_pieces(&self, mut f: impl FnMut(&mut Space<ARef<Bo>, ARef<Bo>>) -> Unmapped) {
        while f(&mut self.publish.lock()) == Unmapped::Some {}
    }

    /// Prepares an update, see [`Draft::new`]. The caller adds at most `others` fences to the root
    /// besides.
    pub(super) fn draft(
        self: &Arc<Self>,
        root: &ReservedBo<'_>,
        others: u32,
        after: (After, &[ARef<Fence>]),
        room: Room,
    ) -> Result<Draft<Self>> {
        Draft::new(self.clone(), root.held(), others, after, room)
    }

    /// Publishes an update, and calls `f`, whose writes to page tables it will do. `f` may neither
    /// allocate nor wait: somebody may be waiting for the update.
    pub(super) fn record<R>(
        &self,
        draft: Draft<Self>,
        root: HeldResv<'_>,
        f: impl FnOnce(&Recorder) -> R,
    ) -> R {
        // Nobody else publishes a change while the root is held.
        let number = self.seq.fetch_add(1, Release) + 1;
        let recording = draft.begin(&self.timeline, root, number);
        let result = f(recording.memory());
        Timeline::queue(&self.timeline, recording);
        result
    }

    /// Calls `f`, which may write page tables, and makes its writes visible to the GPU. If the card
    /// is gone, nothing is written.
    pub(super) fn change<R>(&self, f: impl FnOnce(&Aperture<'_>) -> R) -> R {
        let (result, wrote) = self.access(f);
        if wrote {
            self.seq.fetch_add(1, Release);
        }
        result
    }

    /// Does what [`Vm::change`] does, without a number. Returns true if anything was written.
    fn access<R>(&self, f: impl FnOnce(&Aperture<'_>) -> R) -> (R, bool) {
        let dev = self.root.drm();
        let card = dev.card();
        let aperture = Aperture {
            dev,
            card: card.as_deref(),
            wrote: Cell::new(false),
        };
        let result = f(&aperture);
        let wrote = aperture.wrote.get();
        if wrote {
            aperture.flush();
        }
        (result, wrote)
    }
}

impl PageTables for Vm {
    type Job = EntryJobs;

    fn prepare(&self, room: Room) -> Option<EntryJobs> {
        let dev = self.root.drm();
        let long = room.for_engine()?;
        if dev.schedulers.is_given_up() {
            return None;
        }
        // Without memory for jobs the CPU writes.
        let prepared = dev.kernel_queue.prepare_entries(long.stretches, long.runs);
        prepared.ok()
    }

    fn start(
        &self,
        jobs: &mut EntryJobs,
        steps: &Steps,
        part: Range<usize>,
    ) -> Option<ARef<Fence>> {
        let dev = self.root.drm();
        let _section = dev.enter()?;
        jobs.submit(steps.runs(part).flat_map(|(offset, first, count)| {
            let addr = dev.facts.vram.mc_addr(offset);
            entry_runs(addr, first, count)
        }))
    }

    fn write(&self, steps: &Steps, part: Range<usize>) {
        if !part.is_empty() {
            self.access(|memory| steps.write_to(memory, part));
        }
    }

    fn ended(&self) {
        self.forget_closed();
    }

    fn reaper(&self) -> &Arc<OwnedQueue> {
        &self.root.drm().reaper
    }
}

/// VRAM as the CPU accesses it, if the card is there.
pub(super) struct Aperture<'a> {
    dev: &'a DrmDevice,
    card: Option<&'a Card<'a>>,
    wrote: Cell<bool>,
}

impl Memory for Aperture<'_> {
    fn write(&self, offset: u64, values: &[u64]) {
        if let Some(card) = self.card {
            card.vram().write64s(offset, values);
            self.wrote.set(true);
        }
    }

    fn write_run(&self, offset: u64, first: Pte, count: u64) {
        if let Some(card) = self.card {
            // CAST: The kernel is a 64-bit one.
            let count = count as usize;
            let raw = first.into_raw();
            card.vram().write_run64(offset, raw, PAGE_SIZE, count);
            self.wrote.set(true);
        }
    }

    fn clear(&self, offset: u64, count: u64) {
        tables::write_nothing(self, offset, count);
    }

    fn strip_fragments(&self, offset: u64, count: u64) {
        let Some(card) = self.card else { return };
        for n in 0..count {
            let offset = offset + n * layout::ENTRY_SIZE;
            let entry = Pte::from_raw(card.vram().read64(offset));
            self.write(offset, &[entry.without_fragment().into_raw()]);
        }
    }

    fn flush(&self) {
        if let Some(card) = self.card {
            self.dev.hw.memory.flush_hdp(card);
        }
    }

    fn update(&self) -> u64 {
        0
    }
}
