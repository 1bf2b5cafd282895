// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VM contexts, lent to jobs.
//!
//! The hardware walks the page tables of 16 address spaces at a time, each known by a VM context
//! number (VMID). 0 is the kernel's. The others are lent: a job gets one when it is about to run,
//! and has it until the hardware is done with the job.
//!
//! What a context has cached of the page tables stays in it, so a later job of the same address
//! space needs no flush if the tables have not changed since. As this hardware cannot flush a
//! context that is in use:
//!
//! - jobs of one address space share a context if none of them needs a flush, where the one that
//!   did must have had it: it comes before on the same ring, or is done;
//! - otherwise a job gets a context that nobody uses, the one least recently used, with a flush;
//! - if all are in use the job waits for one of those who use it.
//!
//! One context may be kept for one address space, so that a debugger knows its number: [`OwnVmid`].
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
//! A [`Lease`] is what lies between 'lend' and 'submitted'; if it is dropped instead, the flush
//! that it stood for has not happened.
//!
//! # Invariants
//!
//! Between two flushes a context is only lent for one page directory.
//!
//! There is always an answer: a context, or a fence to wait for. It depends on which fences have
//! ended, and they end at any time; so they are looked at once ([`State::forget_ended`]).

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
    hw::command::{
        Flush,
        RingId,
        Vmid, //
    },
};

/// An address space, as far as contexts are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Tells it from all other address spaces that there ever were.
    pub(crate) id: u64,
    /// Raised with each change of the page tables.
    pub(crate) tlb_seq: u64,
}

/// The contexts of a card.
#[pin_data]
pub(crate) struct Vmids {
    #[pin]
    state: SpinLock<State>,
}

/// What came of asking for a context.
pub(crate) enum Loan {
    /// There it is.
    Lent(Lease),
    /// All are in use. After this fence is signaled it makes sense to ask again.
    Busy(ARef<Fence>),
}

/// A context that was lent for a submission to come.
///
/// # Invariants
///
/// The context counts it in its `leases`.
pub(crate) struct Lease {
    vmids: Arc<Vmids>,
    vmid: Vmid,
    flush: Flush,
}

struct State {
    /// VMID `n` is at index `n - 1`.
    contexts: KVec<Context>,
    /// Counts loans, to know which context was lent last.
    clock: u64,
    /// The ID of the address space that has the last context for itself.
    holder: Option<u64>,
}

struct Context {
    /// Whose translations it holds.
    resident: Option<Resident>,
    /// How many leases are out.
    leases: usize,
    /// The last submission of each ring that runs in it.
    users: [Option<ARef<Fence>>; RingId::PLACES],
    /// When it was lent last.
    lent: u64,
}

struct Resident {
    /// With the number of the change that was flushed last.
    space: Space,
    /// Who does, or did, the flush; `None` while that is not submitted.
    flusher: Option<(RingId, ARef<Fence>)>,
}

impl Context {
    const UNUSED: Self = Self {
        resident: None,
        leases: 0,
        users: [const { None }; RingId::PLACES],
        lent: 0,
    };

    /// A submission that runs in it, as of the last [`State::forget_ended`].
    fn user(&self) -> Option<&ARef<Fence>> {
        self.users.iter().flatten().next()
    }

    fn is_idle(&self) -> bool {
        self.leases == 0 && self.user().is_none()
    }

    /// Whether a job on `ring` can use it without a flush.
    fn is_ready_for(&self, space: Space, ring: RingId) -> bool {
        let Some(resident) = &self.resident else {
            return false;
        };
        let Some((flusher, fence)) = &resident.flusher else {
            return false;
        };
        resident.space.id == space.id
            && resident.space.tlb_seq >= space.tlb_seq
            && match fence.status() {
                None => *flusher == ring,
                Some(result) => result.is_ok(),
            }
    }
}

/// A context, and whether it must be flushed; if there is none, a submission that stands in the
/// way.
///
/// No submission stands in the way only if all contexts are claimed.
type Choice = Result<(usize, Flush), Option<ARef<Fence>>>;

impl State {
    fn vmid(index: usize) -> Option<Vmid> {
        Vmid::new(u8::try_from(index + 1).ok()?)
    }

    fn context(&mut self, vmid: Vmid) -> &mut Context {
        &mut self.contexts[usize::from(vmid.get()) - 1]
    }

    /// Forgets the submissions that have ended. Fences may be signaled at any time, so this is the
    /// only look at them: what is decided next is decided on what it saw.
    fn forget_ended(&mut self) {
        for user in self.contexts.iter_mut().flat_map(|c| &mut c.users) {
            if user.as_ref().is_some_and(|fence| fence.is_signaled()) {
                *user = None;
            }
        }
    }

    /// Chooses the context for a job.
    fn choose(&mut self, space: Space, ring: RingId) -> Choice {
        self.forget_ended();
        let count = self.contexts.len();
        // The index of the context that an address space may have for itself.
        let reserved = count - 1;
        match self.holder {
            None => self.choose_among(0..count, space, ring),
            Some(holder) if holder != space.id => self.choose_among(0..reserved, space, ring),
            Some(_) => match self.choose_among(reserved..count, space, ring) {
                // Another ring has just claimed it: there is no fence to wait for yet. Rather
                // another context than none.
                Err(None) => self.choose_among(0..reserved, space, ring),
                choice => choice,
            },
        }
    }

    fn choose_among(&self, among: Range<usize>, space: Space, ring: RingId) -> Choice {
        let ready = |context: &&Context| context.is_ready_for(space, ring);
        if let Some(index) = self.position(&among, ready) {
            return Ok((index, Flush::NotNeeded));
        }
        // Its own, if it has one that is idle: the others' translations may still be of use to
        // them.
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
        // The one that was lent first is the one that may come back first.
        Err(self.contexts[among]
            .iter()
            .filter(|context| context.leases == 0)
            .min_by_key(|context| context.lent)
            .and_then(Context::user)
            .cloned())
    }

    /// Of the contexts in `among` for which `accept` says true, the one that was lent least
    /// recently.
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
    /// All contexts of a card that has `vmids` of them, the kernel's included; their caches may hold
    /// anything.
    pub(crate) fn new(vmids: u8) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state <- {
                let count = usize::from(vmids).saturating_sub(1);
                // A claimed context has no fence to wait for. Each ring claims one at most for the job
                // that goes on it next, so there must be others that are idle or have one. The jobs of
                // one gang (exec/gang.rs) at a time claim theirs a little earlier: while they do, a
                // look may find all claimed, and looks again.
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

    /// Asks for a context for a submission to `ring`. Neither sleeps nor allocates.
    ///
    /// A ring has one lease at a time, what [`Loan::Lent`] gives for its next submission, and that
    /// of a job of the gang that has the floor.
    pub(crate) fn lend(self: &Arc<Self>, space: Space, ring: RingId) -> Loan {
        let mut state = self.state.lock();
        let choice = state.choose(space, ring).and_then(|(index, flush)| {
            let vmid = State::vmid(index).ok_or(None)?;
            Ok((vmid, flush))
        });
        let (vmid, flush) = match choice {
            Ok(choice) => choice,
            // All are claimed: soon not any more.
            Err(user) => return Loan::Busy(user.unwrap_or_else(Fence::stub)),
        };
        state.clock += 1;
        let clock = state.clock;
        let context = state.context(vmid);
        context.lent = clock;
        context.leases += 1;
        if flush == Flush::Needed {
            let flusher = None;
            context.resident = Some(Resident { space, flusher });
        }
        // INVARIANT: The lease was just counted.
        Loan::Lent(Lease {
            vmids: self.clone(),
            vmid,
            flush,
        })
    }
}

/// What lets an address space have a context for itself, for as long as this lives.
pub(crate) struct OwnVmid {
    vmids: Arc<Vmids>,
    space_id: u64,
}

impl OwnVmid {
    /// For the address space with that [`Space::id`]; it has none yet.
    pub(crate) fn new(vmids: Arc<Vmids>, space_id: u64) -> Self {
        Self { vmids, space_id }
    }

    /// Keeps a context for it, whose jobs may have to wait for that one then. `ENOENT` if another
    /// address space has it.
    pub(crate) fn reserve(&self) -> Result {
        let holder = &mut self.vmids.state.lock().holder;
        if holder.is_some_and(|holder| holder != self.space_id) {
            return Err(ENOENT);
        }
        *holder = Some(self.space_id);
        Ok(())
    }

    /// Returns true if it has one.
    pub(crate) fn is_reserved(&self) -> bool {
        self.vmids.state.lock().holder == Some(self.space_id)
    }

    /// Gives it back, if it has it.
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
    /// The context.
    pub(crate) fn vmid(&self) -> Vmid {
        self.vmid
    }

    /// Whether the submission must flush it.
    pub(crate) fn flush(&self) -> Flush {
        self.flush
    }

    /// The submission is on its way: the context is in use until `fence` is signaled.
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
        // What is left to do is what remains when there was nothing to flush.
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
    /// How many contexts can be lent.
    const COUNT: usize = 15;
    /// The index of the context that an address space may have for itself.
    const RESERVED: usize = COUNT - 1;

    fn space(id: u64, tlb_seq: u64) -> Space {
        Space { id, tlb_seq }
    }

    fn vmids() -> Result<Arc<Vmids>> {
        Arc::pin_init(Vmids::new(COUNT as u8 + 1), GFP_KERNEL)
    }

    fn pending() -> Result<PendingFence<RingName>> {
        let context = FenceContext::new();
        Ok(UniqueFence::new(GFP_KERNEL)?.publish(&context, 1, RingName::TEST))
    }

    fn lend(vmids: &Arc<Vmids>, space: Space, ring: RingId) -> Result<Lease> {
        match vmids.lend(space, ring) {
            Loan::Lent(lease) => Ok(lease),
            Loan::Busy(_) => Err(EBUSY),
        }
    }

    /// Lends a context and submits; gives its number, whether it was flushed, and the fence.
    fn run(
        vmids: &Arc<Vmids>,
        space: Space,
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
        // A change of the tables: a flush, of the same context.
        let (again, flush, _fence) = run(&vmids, space(1, 2), RING)?;
        assert_eq!((again, flush), (vmid, Flush::Needed));
        Ok(())
    }

    #[test]
    fn sharing_waits_for_the_flush() -> Result {
        let vmids = vmids()?;
        let (vmid, _, flusher) = run(&vmids, space(1, 1), RING)?;
        // The same ring comes after the flush, another may come before.
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
        // Neither does one that was never submitted.
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
        // Who has one already does not wait.
        assert_eq!(run(&vmids, space(3, 1), RING)?.0, 4);

        fences.remove(0).map_err(|_| EINVAL)?.signal(Ok(()));
        let (vmid, flush, _fence) = run(&vmids, space(100, 1), RING)?;
        assert_eq!((vmid, flush), (1, Flush::Needed));
        Ok(())
    }

    #[test]
    fn there_is_always_something_to_wait_for() -> Result {
        let vmids = vmids()?;
        // All claimed, and none submitted: not in the driver, as there are fewer rings.
        let mut leases = KVec::new();
        for id in 0..COUNT as u64 {
            leases.push(lend(&vmids, space(id, 1), RING)?, GFP_KERNEL)?;
        }
        let Loan::Busy(fence) = vmids.lend(space(100, 1), RING) else {
            return Err(EINVAL);
        };
        // The next look makes sense at once.
        assert!(fence.is_signaled());
        // One is submitted: then it is that which is waited for.
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
        // It waits for its own, and not for another.
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
