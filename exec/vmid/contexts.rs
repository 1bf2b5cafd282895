// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The VM contexts of a card, each with its address space and its users, and the choice of one for
//! a job (`amdgpu_vmid_grab_idle` and `amdgpu_vmid_grab_used` in the C driver).

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    SpaceVersion,
    Tenant,
    Wish, //
};
use crate::{
    abstractions::dma_fence::Fence,
    hw::{
        command::{
            Flush,
            RingId,
            Vmid, //
        },
        on_chip::OnChip, //
    },
};

/// The contexts of a card, and for whom one is reserved.
pub(super) struct VmContexts {
    /// Contexts; VMID `n` is at index `n - 1`.
    pub(super) contexts: KVec<VmContext>,
    /// Number of loans so far, which orders contexts by their last loan.
    pub(super) clock: u64,
    /// ID of the address space for which the last context is reserved.
    pub(super) holder: Option<u64>,
}

/// A VM context.
pub(super) struct VmContext {
    pub(super) resident: Option<Resident>,
    /// Number of outstanding leases.
    pub(super) leases: usize,
    /// Last submission of each ring that runs in the context.
    pub(super) users: [Option<ARef<Fence>>; RingId::PLACES],
    /// Value of `clock` at the last loan.
    pub(super) lent: u64,
    /// On-chip memory that the registers give, or will give when their writer gets to it; `None` if
    /// that is not known.
    pub(super) on_chip: Option<OnChip>,
    /// The submission that wrote, or writes, these registers; `None` if they are as the bring-up
    /// left them.
    pub(super) writer: Option<ARef<Fence>>,
}

/// An address space whose translations a context holds.
pub(super) struct Resident {
    /// Address space, with the number of the job that did the last flush. What changed before that
    /// job was published had been written when the job began; a later change may or may not.
    pub(super) space: SpaceVersion,
    /// The one that submitted last in this address space, once known.
    pub(super) tenant: Option<Tenant>,
    /// Ring and fence of the submission that does, or did, the flush; `None` until it is submitted.
    pub(super) flusher: Option<(RingId, ARef<Fence>)>,
}

impl VmContext {
    pub(super) const UNUSED: Self = Self {
        resident: None,
        leases: 0,
        users: [const { None }; RingId::PLACES],
        lent: 0,
        on_chip: Some(OnChip::NONE),
        writer: None,
    };

    /// Returns a submission that runs in the context, as of the last [`VmContexts::forget_ended`].
    fn user(&self) -> Option<&ARef<Fence>> {
        self.users.iter().flatten().next()
    }

    fn is_idle(&self) -> bool {
        self.leases == 0 && self.user().is_none()
    }

    /// Returns true if the registers give a job the on-chip memory that it wishes. A writer that
    /// has not ended is the flusher, too.
    pub(super) fn gives(&self, wish: &Wish) -> bool {
        let Some(on_chip) = wish.registers() else {
            return true;
        };
        let written = self.writer.as_ref().and_then(|fence| fence.status());
        self.on_chip == Some(on_chip) && written.is_none_or(|result| result.is_ok())
    }

    /// Returns true if a job can use the context without a flush.
    fn is_ready_for(&self, wish: &Wish) -> bool {
        let Wish { space, ring, .. } = *wish;
        let Some(resident) = &self.resident else {
            return false;
        };
        let Some((flusher, fence)) = &resident.flusher else {
            return false;
        };
        resident.space.id == space.id
            && resident.space.seq >= space.seq
            && self.gives(wish)
            && match fence.status() {
                None => *flusher == ring,
                Some(result) => result.is_ok(),
            }
    }
}

/// A context and the need to flush it, or else a submission that stands in the way.
///
/// There is no such submission only if all contexts are claimed.
type Choice = Result<(usize, Flush), Option<ARef<Fence>>>;

impl VmContexts {
    pub(super) fn vmid(index: usize) -> Option<Vmid> {
        Vmid::new(u8::try_from(index + 1).ok()?)
    }

    pub(super) fn context(&mut self, vmid: Vmid) -> &mut VmContext {
        &mut self.contexts[usize::from(vmid.get()) - 1]
    }

    /// Forgets the submissions that have ended. Fences may be signaled at any time, so this is the
    /// only look at them: later decisions rest on what it saw.
    fn forget_ended(&mut self) {
        for user in self.contexts.iter_mut().flat_map(|c| &mut c.users) {
            if user.as_ref().is_some_and(|fence| fence.is_signaled()) {
                *user = None;
            }
        }
    }

    /// Chooses the context for a job.
    pub(super) fn choose(&mut self, wish: &Wish) -> Choice {
        self.forget_ended();
        let space = wish.space;
        let count = self.contexts.len();
        // Index of the context that can be reserved for an address space.
        let reserved = count - 1;
        match self.holder {
            None => self.choose_among(0..count, wish),
            Some(holder) if holder != space.id => self.choose_among(0..reserved, wish),
            Some(_) => match self.choose_among(reserved..count, wish) {
                // Another ring has just claimed the reserved context: there is no fence to wait for
                // yet. Another context is better than none.
                Err(None) => self.choose_among(0..reserved, wish),
                choice => choice,
            },
        }
    }

    fn choose_among(&self, among: Range<usize>, wish: &Wish) -> Choice {
        let space = wish.space;
        let ready = |context: &&VmContext| context.is_ready_for(wish);
        if let Some(index) = self.position(&among, ready) {
            return Ok((index, Flush::NotNeeded));
        }
        // Prefer an idle context of this address space: translations of other address spaces may
        // still be of use to them.
        let own = |context: &&VmContext| {
            let resident = context.resident.as_ref();
            context.is_idle() && resident.is_some_and(|resident| resident.space.id == space.id)
        };
        let idle = self
            .position(&among, own)
            .or_else(|| self.position(&among, |context| context.is_idle()));
        if let Some(index) = idle {
            return Ok((index, Flush::Needed));
        }
        // The context that was lent first is likely to come back first.
        Err(self.contexts[among]
            .iter()
            .filter(|context| context.leases == 0)
            .min_by_key(|context| context.lent)
            .and_then(VmContext::user)
            .cloned())
    }

    /// Returns the least recently lent of the contexts in `among` that `accept` selects.
    fn position(
        &self,
        among: &Range<usize>,
        accept: impl Fn(&&VmContext) -> bool,
    ) -> Option<usize> {
        self.contexts
            .iter()
            .enumerate()
            .filter(|(index, context)| among.contains(index) && accept(context))
            .min_by_key(|(_, context)| context.lent)
            .map(|(index, _)| index)
    }
}
