// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VM contexts, lent to jobs: the VMID manager (`amdgpu_vmid_grab` in the C driver).
//!
//! The hardware walks the page tables of 16 address spaces at a time, each known by a VM context
//! number (VMID). VMID 0 is the kernel's. The others are lent: a job gets one when it is about to
//! run, and has it until the hardware is done with the job.
//!
//! A context keeps the translations that it has cached, so a later job of the same address space
//! needs no flush if the page tables have not changed since. This hardware cannot flush a context
//! that is in use. So:
//!
//! - jobs of one address space share a context if none of them needs a flush, and the earlier flush
//!   is certain to precede them: the job that did it comes before on the same ring, or is done;
//! - otherwise a job gets a context that is not in use, the least recently used one, with a flush;
//! - if all contexts are in use, the job waits for one of their users.
//!
//! One context may be reserved for one address space, so that a debugger knows its number:
//! [`OwnVmid`] (the C driver's reserved VMID).
//!
//! A context also has registers that give it parts of the on-chip memories (`hw/on_chip.rs`). Jobs
//! of one address space that name different parts, or none, do not share a context: its registers
//! are written together with a flush, when nobody uses the context, and only if they change. DMA
//! engines do not reach on-chip memory: their jobs share any context of their address space.
//!
//! # A context's states
//!
//! ```text
//!            lend, with a flush                submitted
//!     idle ----------------------> claimed ----------------> in use <-- lend, submitted: shared
//!      ^                              | dropped                 |
//!      +------------------------------+-------------------------+ all its fences are signaled
//! ```
//!
//! A [`Lease`] covers the time between 'lend' and 'submitted'. If it is dropped instead, its flush
//! has not happened.
//!
//! # Invariants
//!
//! Between two flushes a context is only lent for one page directory.
//!
//! There is always an answer: a context, or a fence to wait for. The answer depends on which fences
//! have ended, and fences end at any time; so they are looked at once
//! ([`VmContexts::forget_ended`]).

mod contexts;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SpinLock, //
    },
};

use crate::{
    abstractions::dma_fence::Fence,
    exec::{
        faults::FaultRecord,
        submitter::Submitter,
        view::View, //
    },
    hw::{
        command::{
            EngineKind,
            Flush,
            RingId,
            Vmid, //
        },
        on_chip::OnChip, //
    },
};

use self::contexts::{
    Resident,
    VmContext,
    VmContexts, //
};

/// An address space, as far as VM contexts are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceVersion {
    /// Unique ID of the address space, never reused.
    pub(crate) id: u64,
    /// Number of the last change of the page tables before the job, see
    /// [`SpaceAt::seq`](super::job::SpaceAt::seq).
    pub(crate) seq: u64,
}

/// A job's requirements of a VM context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Address space of the job.
    pub(crate) space: SpaceVersion,
    /// Ring of the job.
    pub(crate) ring: RingId,
    /// On-chip memory that the job uses, on a ring that reaches it.
    pub(crate) on_chip: OnChip,
}

impl Wish {
    /// Returns the contents that the context's registers must have, if they matter.
    fn registers(&self) -> Option<OnChip> {
        match self.ring.engine() {
            EngineKind::Gfx | EngineKind::Compute => Some(self.on_chip),
            EngineKind::Sdma => None,
        }
    }
}

/// The VM contexts of a card.
#[pin_data]
pub(crate) struct Vmids {
    #[pin]
    state: SpinLock<VmContexts>,
}

/// The outcome of a request for a context.
pub(crate) enum Loan {
    /// A context was lent.
    Lent(Lease),
    /// All contexts are in use. The caller should ask again once this fence is signaled.
    Busy(ARef<Fence>),
}

/// A context that was lent for a submission to come.
///
/// # Invariants
///
/// The context counts this lease in its `leases`.
pub(crate) struct Lease {
    vmids: Arc<Vmids>,
    vmid: Vmid,
    flush: Flush,
    /// On-chip memory that the flush gives to the context.
    on_chip: Option<OnChip>,
}

/// The receiver of reports of what happens in a context.
#[derive(Clone)]
pub(crate) struct Tenant {
    /// Process that submitted last.
    pub(crate) submitter: Arc<Submitter>,
    /// Record of the address space's faults.
    pub(crate) faults: Arc<FaultRecord>,
    /// View of the address space's memory.
    pub(crate) view: Arc<View>,
}

/// State of a context, as a dump shows it.
pub(crate) struct Occupancy {
    /// ID of the address space whose translations the context holds.
    pub(crate) space: Option<u64>,
    pub(crate) tenant: Option<Tenant>,
    /// Rings with unfinished submissions that run in the context, one bit each, by place.
    pub(crate) rings: u32,
}

impl Vmids {
    /// Creates the contexts of a card that has `vmids` of them, including the kernel's. Their
    /// caches may hold anything.
    pub(crate) fn new(vmids: u8) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state <- {
                let count = usize::from(vmids).saturating_sub(1);
                // A claimed context has no fence to wait for. Each ring claims at most one for its
                // next job, so there must be others that are idle or have a fence. The jobs of one
                // gang (exec/gang.rs) at a time claim theirs a little earlier: meanwhile a look may
                // find all contexts claimed, and looks again.
                if count <= RingId::PLACES + 1 {
                    return Err(EINVAL);
                }
                let mut contexts = KVec::with_capacity(count, GFP_KERNEL)?;
                for _ in 0..count {
                    contexts.push(VmContext::UNUSED, GFP_KERNEL)?;
                }
                new_spinlock!(VmContexts { contexts, clock: 0, holder: None })
            },
        })
    }

    /// Returns whoever submitted last in the context with this number, if it holds translations of
    /// an address space.
    pub(crate) fn tenant(&self, vmid: u8) -> Option<Tenant> {
        let vmid = Vmid::new(vmid)?;
        let mut state = self.state.lock();
        state.context(vmid).resident.as_ref()?.tenant.clone()
    }

    /// Returns the state of the context with this number. Neither sleeps nor allocates.
    pub(crate) fn occupancy(&self, vmid: u8) -> Option<Occupancy> {
        let vmid = Vmid::new(vmid)?;
        let mut state = self.state.lock();
        let context = state.context(vmid);
        let resident = context.resident.as_ref();
        let in_use = |fence: &Option<ARef<Fence>>| {
            let fence = fence.as_ref();
            fence.is_some_and(|fence| !fence.is_signaled())
        };
        let rings = context.users.iter().enumerate();
        Some(Occupancy {
            space: resident.map(|resident| resident.space.id),
            tenant: resident.and_then(|resident| resident.tenant.clone()),
            rings: rings
                .filter(|(_, fence)| in_use(fence))
                .fold(0, |rings, (place, _)| rings | 1 << place),
        })
    }

    /// Forgets the translations of all contexts, because the card has lost its state. No job runs.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        for index in 0..state.contexts.len() {
            let resident = state.contexts[index].resident.take();
            // The bring-up writes the registers, but what runs again may write them, too.
            state.contexts[index].on_chip = None;
            let writer = state.contexts[index].writer.take();
            drop(state);
            // What it refers to is dropped without the lock.
            drop((resident, writer));
            state = self.state.lock();
        }
    }

    /// Returns the on-chip memory that a context has once all that was submitted has run; `None`
    /// if that is not known.
    pub(crate) fn on_chip(&self, vmid: Vmid) -> Option<OnChip> {
        self.state.lock().context(vmid).on_chip
    }

    /// Lends a context for a submission. Neither sleeps nor allocates.
    ///
    /// A ring has at most one lease for its next submission, and one more for a job of the gang
    /// that has the floor.
    pub(crate) fn lend(self: &Arc<Self>, wish: &Wish) -> Loan {
        let space = wish.space;
        let mut state = self.state.lock();
        let choice = state.choose(wish).and_then(|(index, flush)| {
            let vmid = VmContexts::vmid(index).ok_or(None)?;
            Ok((vmid, flush))
        });
        let (vmid, flush) = match choice {
            Ok(choice) => choice,
            // All contexts are claimed, but not for long.
            Err(user) => return Loan::Busy(user.unwrap_or_else(Fence::stub)),
        };
        state.clock += 1;
        let clock = state.clock;
        let context = state.context(vmid);
        context.lent = clock;
        // From here on nobody else is lent the context for another address space.
        context.leases += 1;
        let on_chip = match flush {
            Flush::Needed if !context.gives(wish) => wish.registers(),
            Flush::Needed | Flush::NotNeeded => None,
        };
        // The flush is the submission's. Until that has a fence, nobody can wait for the flush.
        if flush == Flush::Needed {
            let flusher = None;
            let tenant = None;
            context.resident = Some(Resident {
                space,
                tenant,
                flusher,
            });
        }
        // INVARIANT: The lease was counted just now.
        Loan::Lent(Lease {
            vmids: self.clone(),
            vmid,
            flush,
            on_chip,
        })
    }
}

/// The means to reserve a context for an address space, for as long as this value lives.
pub(crate) struct OwnVmid {
    vmids: Arc<Vmids>,
    space_id: u64,
}

impl OwnVmid {
    /// Creates one for the address space with this [`SpaceVersion::id`]. No context is reserved
    /// yet.
    pub(crate) fn new(vmids: Arc<Vmids>, space_id: u64) -> Self {
        Self { vmids, space_id }
    }

    /// Reserves a context for the address space. Its jobs may have to wait for that context then.
    /// Returns `ENOENT` if the context is reserved for another address space.
    pub(crate) fn reserve(&self) -> Result {
        let holder = &mut self.vmids.state.lock().holder;
        if holder.is_some_and(|holder| holder != self.space_id) {
            return Err(ENOENT);
        }
        *holder = Some(self.space_id);
        Ok(())
    }

    /// Returns true if a context is reserved for the address space.
    pub(crate) fn is_reserved(&self) -> bool {
        self.vmids.state.lock().holder == Some(self.space_id)
    }

    /// Ends the reservation, if there is one.
    pub(crate) fn unreserve(&self) {
        let holder = &mut self.vmids.state.lock().holder;
        if *holder == Some(self.space_id) {
            *holder = None;
        }
    }
}

impl Drop for OwnVmid {
    fn drop(&mut self) {
        self.unreserve();
    }
}

impl Lease {
    /// Returns the VMID of the context.
    pub(crate) fn vmid(&self) -> Vmid {
        self.vmid
    }

    /// Returns the submission's need to flush the context.
    pub(crate) fn flush(&self) -> Flush {
        self.flush
    }

    /// Returns the on-chip memory that the submission has to give to the context.
    pub(crate) fn on_chip(&self) -> Option<OnChip> {
        self.on_chip
    }

    /// Notes whoever submits.
    pub(crate) fn set_tenant(&self, tenant: Tenant) {
        let mut state = self.vmids.state.lock();
        let resident = state.context(self.vmid).resident.as_mut();
        let before = resident.and_then(|resident| resident.tenant.replace(tenant));
        drop(state);
        drop(before);
    }

    /// Called when the submission is on the ring: the context is in use until `fence` is signaled.
    pub(crate) fn submitted(mut self, ring: RingId, fence: &Fence) {
        let mut state = self.vmids.state.lock();
        let context = state.context(self.vmid);
        context.users[ring.place()] = Some(fence.into());
        if self.flush == Flush::Needed {
            if let Some(resident) = &mut context.resident {
                resident.flusher = Some((ring, fence.into()));
            }
        }
        let mut writer = None;
        if self.on_chip.is_some() {
            context.on_chip = self.on_chip;
            writer = context.writer.replace(fence.into());
        }
        drop(state);
        drop(writer);
        // From here on, dropping the lease only has to decrement the count.
        self.flush = Flush::NotNeeded;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.vmids.state.lock();
        let context = state.context(self.vmid);
        context.leases -= 1;
        if self.flush == Flush::Needed {
            context.resident = None;
        }
    }
}
