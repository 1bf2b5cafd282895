// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The publication of a job, with the page tables that it finds.
//!
//! The C driver has this in `amdgpu_cs_vm_handling` and `amdgpu_vm_handle_moved`.

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Acquire,
        Arc, //
    }, //
};

use super::{
    space::Space,
    tables::Memory,
    timeline::{
        After,
        Draft, //
    },
    update::Room,
    Vm, //
};
use crate::{
    abstractions::{
        dma_fence::Fence,
        drm::exec::Locked, //
    },
    exec::job::SpaceAt,
    mem::{
        Backing,
        BoId, //
    },
    ttm::{
        Bo,
        ReservedExt, //
    },
};

impl Vm {
    /// Takes the publish lock with what [`PublishGuard::update`] needs, and calls `f`. `locked`
    /// must hold [`Vm::root`], which has room for `fences` more fences.
    ///
    /// The entries of those BOs in `named`, and of those whose entries are stale, for which
    /// `is_current` returns true can be brought up to date. It may return true only for BOs that
    /// get the job's fence. For a userptr BO it may do so only if the BO is bound to the pages of
    /// its present generation. It runs under the publish lock.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, without having called `f`.
    pub(crate) fn publish<'n, R, N>(
        self: &Arc<Self>,
        locked: &Locked,
        fences: u32,
        named: N,
        is_current: impl Fn(&Bo) -> bool,
        f: impl FnOnce(&mut PublishGuard<'_, N>) -> R,
    ) -> Result<R>
    where
        N: Iterator<Item = &'n Bo> + Clone,
    {
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;
        // Jobs and updates are published with the root's reservation held, which this caller holds.
        // So if there are none, there are none later.
        let (idle, behind) = (self.is_idle(), self.timeline.is_behind());
        // BOs that are reserved do not move.
        let contents = self.coming_contents(locked, named.clone())?;
        let is_current = |bo: &Bo| bo.is_always_valid() || is_current(bo);
        let find = |bo: &Bo, found: &mut dyn FnMut(Backing<'_>)| {
            if let Some(bo) = bo.reserved_in(locked).filter(|_| is_current(bo)) {
                bo.with_backing(|backing| backing.into_iter().for_each(found));
            }
        };
        let mut draft: Option<Draft<Self>> = None;

        // BOs may be invalidated while memory is allocated, each once.
        loop {
            let mut space = self.publish.lock();
            let at_once = !behind && (idle || !space.has_stale()) && contents.is_empty();
            let room = (space.is_pending() && !at_once)
                .then(|| space.room_to_update(ids(&named), |bo, found| find(bo, found)))
                .unwrap_or_default();
            let has_room = |draft: &Draft<Self>| draft.has_room_for(room);
            if room != Room::default() && !draft.as_ref().is_some_and(has_room) {
                drop(space);
                draft = Some(self.draft(&root, fences, (After::Jobs, &contents), room)?);
                continue;
            }
            let mut guard = PublishGuard {
                vm: self,
                space: &mut space,
                locked,
                draft: &mut draft,
                named: &named,
                is_current: &is_current,
            };
            return Ok(f(&mut guard));
        }
    }

    /// Returns the fences after which the BOs in `locked`, whose entries may be written, have their
    /// bytes: clears and moves that are under way. The job names `named`.
    fn coming_contents<'n>(
        &self,
        locked: &Locked,
        named: impl Iterator<Item = &'n Bo>,
    ) -> Result<KVVec<ARef<Fence>>> {
        let mut fences = KVVec::new();
        let mut add = |bo: &Bo| -> Result {
            for fence in bo.content_fences() {
                fences.push(fence, GFP_KERNEL_ACCOUNT)?;
            }
            Ok(())
        };
        let mut after = None;
        loop {
            let next = self.publish.lock().next_due(after).cloned();
            let Some(bo) = next else { break };
            after = Some(bo.id());
            if bo.reserved_in(locked).is_some() {
                add(&bo)?;
            }
        }
        if self.publish.lock().has_waiting() {
            for bo in named {
                let is_waiting = self.publish.lock().is_waiting(bo.id());
                if is_waiting {
                    add(bo)?;
                }
            }
        }
        Ok(fences)
    }
}

fn ids<'n, N>(bos: &N) -> impl Iterator<Item = BoId> + use<'n, N>
where
    N: Iterator<Item = &'n Bo> + Clone,
{
    bos.clone().map(|bo| bo.id())
}

/// The publish lock, held by a submission: see [`Vm::publish`].
pub(crate) struct PublishGuard<'a, N> {
    vm: &'a Vm,
    space: &'a mut Space<ARef<Bo>, ARef<Bo>>,
    locked: &'a Locked,
    /// Memory for an update, if the page tables cannot be written at once.
    draft: &'a mut Option<Draft<Vm>>,
    /// BOs that the job names.
    named: &'a N,
    is_current: &'a dyn Fn(&Bo) -> bool,
}

impl<'n, N: Iterator<Item = &'n Bo> + Clone> PublishGuard<'_, N> {
    /// Brings the page tables up to date for the job. Entries that are not current are rewritten
    /// for each BO that the job names or that is private, and stale entries of all others are
    /// cleared.
    pub(crate) fn update(&mut self) {
        if !self.space.is_pending() {
            return;
        }
        let (vm, locked) = (self.vm, self.locked);
        match (self.draft.take(), locked.held(vm.root())) {
            (Some(draft), Some(root)) => vm.record(draft, root, |memory| self.update_in(memory)),
            _ => vm.change(|memory| self.update_in(memory)),
        }
    }

    fn update_in(&mut self, memory: &impl Memory) {
        let (locked, is_current) = (self.locked, self.is_current);
        self.space.update(memory, ids(self.named), |bo, found| {
            if !is_current(bo) {
                return;
            }
            if let Some(reserved) = bo.reserved_in(locked) {
                // SAFETY: The publish lock is held, which the notifier takes, and `is_current` says
                // that the pages are those of the present generation. This `unsafe` is above the
                // abstractions, because only here both facts are known.
                unsafe { reserved.mark_user_pages_dirty() };
                reserved.with_backing(|backing| backing.into_iter().for_each(found));
            }
        });
    }

    /// Returns the address space as a job finds it that is published now.
    pub(crate) fn at(&self) -> SpaceAt {
        SpaceAt {
            seq: self.vm.seq.load(Acquire),
            after: self.vm.timeline.pending(),
        }
    }
}
