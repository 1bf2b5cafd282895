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
//! have ended, and fences end at any time; so they are looked at once ([`State::forget_ended`]).

use core::ops::Range;

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
    hw::command::{
        Flush,
        RingId,
        Vmid, //
    },
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

/// The VM contexts of a card.
#[pin_data]
pub(crate) struct Vmids {
    #[pin]
    state: SpinLock<State>,
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
}

/// Whoever has to be told of what happens in a context.
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

struct State {
    /// Contexts; VMID `n` is at index `n - 1`.
    contexts: KVec<Context>,
    /// Number of loans so far, which orders contexts by their last loan.
    clock: u64,
    /// ID of the address space for which the last context is reserved.
    holder: Option<u64>,
}

struct Context {
    /// Address space whose translations the context holds.
    resident: Option<Resident>,
    /// Number of outstanding leases.
    leases: usize,
    /// Last submission of each ring that runs in the context.
    users: [Option<ARef<Fence>>; RingId::PLACES],
    /// Value of `clock` at the last loan.
    lent: u64,
}

struct Resident {
    /// Address space, with the number of the job that did the last flush. What changed before that
    /// job was published had been written when the job began; a later change may or may not.
    space: SpaceVersion,
    /// Whoever submitted last in this address space, once known.
    tenant: Option<Tenant>,
    /// Ring and fence of the submission that does, or did, the flush; `None` until it is submitted.
    flusher: Option<(RingId, ARef<Fence>)>,
}

impl Context {
    const UNUSED: Self = Self {
        resident: None,
        leases: 0,
        users: [const { None }; RingId::PLACES],
        lent: 0,
    };

    /// Returns a submission that runs in the context, as of the last [`State::forget_ended`].
    fn user(&self) -> Option<&ARef<Fence>> {
        self.users.iter().flatten().next()
    }

    fn is_idle(&self) -> bool {
        self.leases == 0 && self.user().is_none()
    }

    /// Returns true if a job on `ring` can use the context without a flush.
    fn is_ready_for(&self, space: SpaceVersion, ring: RingId) -> bool {
        let Some(resident) = &self.resident else {
            return false;
        };
        let Some((flusher, fence)) = &resident.flusher else {
            return false;
        };
        resident.space.id == space.id
            && resident.space.seq >= space.seq
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

impl State {
    fn vmid(index: usize) -> Option<Vmid> {
        Vmid::new(u8::try_from(index + 1).ok()?)
    }

    fn context(&mut self, vmid: Vmid) -> &mut Context {
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
    fn choose(&mut self, space: SpaceVersion, ring: RingId) -> Choice {
        self.forget_ended();
        let count = self.contexts.len();
        // Index of the context that can be reserved for an address space.
        let reserved = count - 1;
        match self.holder {
            None => self.choose_among(0..count, space, ring),
            Some(holder) if holder != space.id => self.choose_among(0..reserved, space, ring),
            Some(_) => match self.choose_among(reserved..count, space, ring) {
                // Another ring has just claimed the reserved context: there is no fence to wait for
                // yet. Another context is better than none.
                Err(None) => self.choose_among(0..reserved, space, ring),
                choice => choice,
            },
        }
    }

    fn choose_among(&self, among: Range<usize>, space: SpaceVersion, ring: RingId) -> Choice {
        let ready = |context: &&Context| context.is_ready_for(space, ring);
        if let Some(index) = self.position(&among, ready) {
            return Ok((index, Flush::NotNeeded));
        }
        // Prefer an idle context of this address space: translations of other address spaces may
        // still be of use to them.
        let own = |context: &&Context| {
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
            .and_then(Context::user)
            .cloned())
    }

    /// Returns the least recently lent of the contexts in `among` that `accept` selects.
    fn position(&self, among: &Range<usize>, accept: impl Fn(&&Context) -> bool) -> Option<usize> {
        self.contexts
            .iter()
            .enumerate()
            .filter(|(index, context)| among.contains(index) && accept(context))
            .min_by_key(|(_, context)| context.lent)
            .map(|(index, _)| index)
    }
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
                    contexts.push(Context::UNUSED, GFP_KERNEL)?;
                }
                new_spinlock!(State { contexts, clock: 0, holder: None })
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
            drop(state);
            // What it refers to is dropped without the lock.
            drop(resident);
            state = self.state.lock();
        }
    }

    /// Lends a context for a submission to `ring`. Neither sleeps nor allocates.
    ///
    /// A ring has at most one lease for its next submission, and one more for a job of the gang
    /// that has the floor.
    pub(crate) fn lend(self: &Arc<Self>, space: SpaceVersion, ring: RingId) -> Loan {
        let mut state = self.state.lock();
        let choice = state.choose(space, ring).and_then(|(index, flush)| {
            let vmid = State::vmid(index).ok_or(None)?;
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
        drop(state);
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vmid)]
mod tests {
    use super::*;
    use crate::{
        abstractions::dma_fence::{
            FenceContext,
            PendingFence,
            UniqueFence, //
        },
        exec::fence::RingName, //
    };

    const RING: RingId = RingId::Gfx;
    const OTHER_RING: RingId = RingId::Sdma(0);
    /// Number of contexts that can be lent.
    const COUNT: usize = 15;
    /// Index of the context that can be reserved for an address space.
    const RESERVED: usize = COUNT - 1;

    fn space(id: u64, seq: u64) -> SpaceVersion {
        SpaceVersion { id, seq }
    }

    fn vmids() -> Result<Arc<Vmids>> {
        Arc::pin_init(Vmids::new(COUNT as u8 + 1), GFP_KERNEL)
    }

    fn pending() -> Result<PendingFence<RingName>> {
        let context = FenceContext::new();
        Ok(UniqueFence::new(GFP_KERNEL)?.publish(&context, 1, RingName::TEST))
    }

    fn lend(vmids: &Arc<Vmids>, space: SpaceVersion, ring: RingId) -> Result<Lease> {
        match vmids.lend(space, ring) {
            Loan::Lent(lease) => Ok(lease),
            Loan::Busy(_) => Err(EBUSY),
        }
    }

    /// Lends a context and submits. Returns its number, the flush, and the fence.
    fn run(
        vmids: &Arc<Vmids>,
        space: SpaceVersion,
        ring: RingId,
    ) -> Result<(u8, Flush, PendingFence<RingName>)> {
        let lease = lend(vmids, space, ring)?;
        let (vmid, flush) = (lease.vmid().get(), lease.flush());
        let fence = pending()?;
        lease.submitted(ring, fence.fence());
        Ok((vmid, flush, fence))
    }

    #[test]
    fn first_use_flushes_and_later_use_does_not() -> Result {
        let vmids = vmids()?;
        let (vmid, flush, fence) = run(&vmids, space(1, 1), RING)?;
        assert_eq!(flush, Flush::Needed);
        fence.signal(Ok(()));
        let (again, flush, fence) = run(&vmids, space(1, 1), OTHER_RING)?;
        assert_eq!((again, flush), (vmid, Flush::NotNeeded));
        fence.signal(Ok(()));
        // A change of the page tables needs a flush of the same context.
        let (again, flush, _fence) = run(&vmids, space(1, 2), RING)?;
        assert_eq!((again, flush), (vmid, Flush::Needed));
        Ok(())
    }

    #[test]
    fn a_job_from_before_a_change_does_not_flush_for_it() -> Result {
        let vmids = vmids()?;
        let (vmid, _, fence) = run(&vmids, space(1, 1), RING)?;
        fence.signal(Ok(()));
        // The change was published, and is written at some time while this job waits or runs.
        let (_, flush, fence) = run(&vmids, space(1, 1), OTHER_RING)?;
        assert_eq!(flush, Flush::NotNeeded);
        fence.signal(Ok(()));
        let (again, flush, fence) = run(&vmids, space(1, 2), RING)?;
        assert_eq!((again, flush), (vmid, Flush::Needed));
        fence.signal(Ok(()));
        // A flush for a later job is good for an earlier one.
        assert_eq!(run(&vmids, space(1, 1), OTHER_RING)?.1, Flush::NotNeeded);
        Ok(())
    }

    #[test]
    fn a_card_without_its_state_needs_all_flushes() -> Result {
        let vmids = vmids()?;
        for id in 1..=COUNT as u64 {
            run(&vmids, space(id, 1), RING)?.2.signal(Ok(()));
        }
        assert_eq!(run(&vmids, space(1, 1), RING)?.1, Flush::NotNeeded);
        vmids.forget();
        for id in 1..=COUNT as u64 {
            assert_eq!(run(&vmids, space(id, 1), RING)?.1, Flush::Needed);
        }
        Ok(())
    }

    #[test]
    fn sharing_waits_for_the_flush() -> Result {
        let vmids = vmids()?;
        let (vmid, _, flusher) = run(&vmids, space(1, 1), RING)?;
        // A job on the same ring comes after the flush; one on another ring may come before it.
        let (same, flush, _same) = run(&vmids, space(1, 1), RING)?;
        assert_eq!((same, flush), (vmid, Flush::NotNeeded));
        let (other, flush, _other) = run(&vmids, space(1, 1), OTHER_RING)?;
        assert!(other != vmid && flush == Flush::Needed);
        flusher.signal(Ok(()));
        let (third, flush, _third) = run(&vmids, space(1, 1), RingId::Sdma(1))?;
        assert_eq!((third, flush), (vmid, Flush::NotNeeded));
        Ok(())
    }

    #[test]
    fn a_context_in_use_is_not_flushed() -> Result {
        let vmids = vmids()?;
        let (vmid, _, _running) = run(&vmids, space(1, 1), RING)?;
        let (other, flush, _fence) = run(&vmids, space(1, 2), RING)?;
        assert!(other != vmid && flush == Flush::Needed);
        Ok(())
    }

    #[test]
    fn a_failed_flush_does_not_count() -> Result {
        let vmids = vmids()?;
        let (_, _, fence) = run(&vmids, space(1, 1), RING)?;
        fence.signal(Err(ETIME));
        assert_eq!(run(&vmids, space(1, 1), RING)?.1, Flush::Needed);
        // A flush that was never submitted does not count, either.
        let vmids = self::vmids()?;
        drop(lend(&vmids, space(1, 1), RING)?);
        assert_eq!(run(&vmids, space(1, 1), RING)?.1, Flush::Needed);
        Ok(())
    }

    #[test]
    fn nobody_shares_before_the_flush_is_submitted() -> Result {
        let vmids = vmids()?;
        let first = lend(&vmids, space(1, 1), RING)?;
        let second = lend(&vmids, space(1, 1), RING)?;
        assert!(first.vmid() != second.vmid());
        assert_eq!(second.flush(), Flush::Needed);
        Ok(())
    }

    #[test]
    fn when_all_are_in_use_the_first_is_waited_for() -> Result {
        let vmids = vmids()?;
        let mut fences = KVec::new();
        for id in 0..COUNT as u64 {
            let (vmid, _, fence) = run(&vmids, space(id, 1), RING)?;
            assert_eq!(u64::from(vmid), id + 1);
            fences.push(fence, GFP_KERNEL)?;
        }
        let Loan::Busy(fence) = vmids.lend(space(100, 1), RING) else {
            return Err(EINVAL);
        };
        assert!(core::ptr::eq(&*fence, &**fences[0].fence()));
        // An address space that has a context already does not wait.
        assert_eq!(run(&vmids, space(3, 1), RING)?.0, 4);

        fences.remove(0).map_err(|_| EINVAL)?.signal(Ok(()));
        let (vmid, flush, _fence) = run(&vmids, space(100, 1), RING)?;
        assert_eq!((vmid, flush), (1, Flush::Needed));
        Ok(())
    }

    #[test]
    fn there_is_always_something_to_wait_for() -> Result {
        let vmids = vmids()?;
        // All are claimed and none submitted. The driver never gets here, as there are fewer rings.
        let mut leases = KVec::new();
        for id in 0..COUNT as u64 {
            leases.push(lend(&vmids, space(id, 1), RING)?, GFP_KERNEL)?;
        }
        let Loan::Busy(fence) = vmids.lend(space(100, 1), RING) else {
            return Err(EINVAL);
        };
        // The caller may ask again at once.
        assert!(fence.is_signaled());
        // Once one is submitted, its fence is the one to wait for.
        let submitted = leases.remove(7).map_err(|_| EINVAL)?;
        let running = pending()?;
        submitted.submitted(RING, running.fence());
        let Loan::Busy(fence) = vmids.lend(space(100, 1), RING) else {
            return Err(EINVAL);
        };
        assert!(core::ptr::eq(&*fence, &**running.fence()));
        running.signal(Ok(()));
        assert_eq!(run(&vmids, space(100, 1), RING)?.0, 8);
        Ok(())
    }

    #[test]
    fn a_reserved_context_is_its_holders_only() -> Result {
        const VMID: u8 = RESERVED as u8 + 1;

        let vmids = vmids()?;
        let own = OwnVmid::new(vmids.clone(), 1);
        let late = OwnVmid::new(vmids.clone(), 2);
        own.reserve()?;
        own.reserve()?;
        assert_eq!(late.reserve(), Err(ENOENT));
        late.unreserve();
        assert_eq!(late.reserve(), Err(ENOENT));

        let (vmid, flush, fence) = run(&vmids, space(1, 1), RING)?;
        assert_eq!((vmid, flush), (VMID, Flush::Needed));
        // The holder waits for its own context, and not for another.
        let Loan::Busy(busy) = vmids.lend(space(1, 2), RING) else {
            return Err(EINVAL);
        };
        assert!(core::ptr::eq(&*busy, &**fence.fence()));
        fence.signal(Ok(()));
        assert_eq!(run(&vmids, space(1, 2), RING)?.0, VMID);

        let mut fences = KVec::new();
        for id in 10..10 + RESERVED as u64 {
            let (vmid, _, fence) = run(&vmids, space(id, 1), RING)?;
            assert!(vmid != VMID);
            fences.push(fence, GFP_KERNEL)?;
        }
        assert!(matches!(vmids.lend(space(100, 1), RING), Loan::Busy(_)));

        drop(own);
        late.reserve()
    }

    #[test]
    fn a_claimed_reserved_context_is_not_waited_for() -> Result {
        let vmids = vmids()?;
        let own = OwnVmid::new(vmids.clone(), 1);
        own.reserve()?;
        let first = lend(&vmids, space(1, 1), RING)?;
        let second = lend(&vmids, space(1, 1), OTHER_RING)?;
        assert!(first.vmid() != second.vmid());
        Ok(())
    }
}
