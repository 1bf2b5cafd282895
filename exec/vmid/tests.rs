// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of loans: whom a context is lent to, and what is written to it before.

use super::*;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vmid)]
mod loans {
    use super::*;
    use crate::{
        abstractions::dma_fence::{
            FenceContext,
            PendingFence,
            UniqueFence, //
        },
        exec::fence::RingName,
        hw::on_chip::{
            OnChipKind,
            OnChipRange, //
        },
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

    fn wish(space: SpaceVersion, ring: RingId) -> Wish {
        let on_chip = OnChip::NONE;
        Wish {
            space,
            ring,
            on_chip,
        }
    }

    fn lend(vmids: &Arc<Vmids>, space: SpaceVersion, ring: RingId) -> Result<Lease> {
        match vmids.lend(&wish(space, ring)) {
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
    fn a_context_is_in_use_without_a_flush_of_its_own() -> Result {
        let vmids = vmids()?;
        let (vmid, _, flusher) = run(&vmids, space(1, 1), RING)?;
        flusher.signal(Ok(()));
        let (same, flush, running) = run(&vmids, space(1, 1), OTHER_RING)?;
        assert_eq!((same, flush), (vmid, Flush::NotNeeded));
        // It is lent neither for a change nor, when no other is left, to another address space.
        let mut others = KVec::new();
        for id in 1..COUNT as u64 {
            let (other, flush, fence) = run(&vmids, space(id, 2), RING)?;
            assert!(other != vmid && flush == Flush::Needed);
            others.push(fence, GFP_KERNEL)?;
        }
        assert!(matches!(
            vmids.lend(&wish(space(100, 1), RING)),
            Loan::Busy(_)
        ));
        running.signal(Ok(()));
        assert_eq!(run(&vmids, space(100, 1), RING)?.0, vmid);
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
        let Loan::Busy(fence) = vmids.lend(&wish(space(100, 1), RING)) else {
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
        let Loan::Busy(fence) = vmids.lend(&wish(space(100, 1), RING)) else {
            return Err(EINVAL);
        };
        // The caller may ask again at once.
        assert!(fence.is_signaled());
        // Once one is submitted, its fence is the one to wait for.
        let submitted = leases.remove(7).map_err(|_| EINVAL)?;
        let running = pending()?;
        submitted.submitted(RING, running.fence());
        let Loan::Busy(fence) = vmids.lend(&wish(space(100, 1), RING)) else {
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
        let Loan::Busy(busy) = vmids.lend(&wish(space(1, 2), RING)) else {
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
        assert!(matches!(
            vmids.lend(&wish(space(100, 1), RING)),
            Loan::Busy(_)
        ));

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

    fn part(first: u32, count: u32) -> OnChip {
        OnChip::NONE.with(OnChipKind::Gds, OnChipRange { first, count })
    }

    /// Lends a context to a job that uses on-chip memory, and submits. Returns the context's
    /// number, what is written to its registers, and the fence.
    fn run_with(
        vmids: &Arc<Vmids>,
        on_chip: OnChip,
        ring: RingId,
    ) -> Result<(u8, Option<OnChip>, PendingFence<RingName>)> {
        let space = space(1, 1);
        let wish = Wish {
            space,
            ring,
            on_chip,
        };
        let Loan::Lent(lease) = vmids.lend(&wish) else {
            return Err(EBUSY);
        };
        let (vmid, written) = (lease.vmid().get(), lease.on_chip());
        assert!(written.is_none() || lease.flush() == Flush::Needed);
        let fence = pending()?;
        lease.submitted(ring, fence.fence());
        Ok((vmid, written, fence))
    }

    #[test]
    fn on_chip_memory_is_given_once() -> Result {
        let vmids = vmids()?;
        let some = part(16, 64);
        let (vmid, written, fence) = run_with(&vmids, some, RING)?;
        assert_eq!(written, Some(some));
        // Behind the writer, on the same ring.
        let (again, written, _) = run_with(&vmids, some, RING)?;
        assert_eq!((again, written), (vmid, None));
        fence.signal(Ok(()));
        assert_eq!(vmids.on_chip(Vmid::new(vmid).unwrap()), Some(some));
        Ok(())
    }

    #[test]
    fn parts_are_not_changed_under_a_job() -> Result {
        let vmids = vmids()?;
        let compute = RingId::Compute(0);
        let (first, _, running) = run_with(&vmids, part(0, 4), RING)?;
        for other in [part(4, 4), OnChip::NONE] {
            let (vmid, _, fence) = run_with(&vmids, other, compute)?;
            assert!(vmid != first);
            fence.signal(Ok(()));
        }
        running.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn nobody_inherits_a_part() -> Result {
        let vmids = vmids()?;
        for id in 1..=COUNT as u64 {
            let wish = Wish {
                on_chip: part(0, 64),
                ..wish(space(id, 1), RING)
            };
            let Loan::Lent(lease) = vmids.lend(&wish) else {
                return Err(EBUSY);
            };
            let fence = pending()?;
            lease.submitted(RING, fence.fence());
            fence.signal(Ok(()));
        }
        // All contexts have the part. Whoever gets one next has nothing.
        for id in 1..=COUNT as u64 {
            let lease = lend(&vmids, space(100 + id, 1), RING)?;
            assert_eq!(lease.on_chip(), Some(OnChip::NONE));
            let fence = pending()?;
            lease.submitted(RING, fence.fence());
            fence.signal(Ok(()));
        }
        // And that is written once.
        assert_eq!(lend(&vmids, space(200, 1), RING)?.on_chip(), None);
        Ok(())
    }

    #[test]
    fn dma_engines_take_any_part() -> Result {
        let vmids = vmids()?;
        let (vmid, _, fence) = run_with(&vmids, part(0, 64), RING)?;
        fence.signal(Ok(()));
        let (dma, written, fence) = run_with(&vmids, OnChip::NONE, OTHER_RING)?;
        assert_eq!((dma, written), (vmid, None));
        fence.signal(Ok(()));
        // And what they do not write is not taken for written.
        let (dma, written, fence) = run_with(&vmids, part(64, 64), OTHER_RING)?;
        assert_eq!((dma, written), (vmid, None));
        fence.signal(Ok(()));
        let (_, written, _) = run_with(&vmids, part(64, 64), RING)?;
        assert_eq!(written, Some(part(64, 64)));
        Ok(())
    }

    #[test]
    fn a_part_that_may_not_have_been_written_is_written_again() -> Result {
        let vmids = vmids()?;
        let (vmid, _, fence) = run_with(&vmids, part(0, 64), RING)?;
        fence.signal(Err(ETIME));
        let (again, written, fence) = run_with(&vmids, part(0, 64), RING)?;
        assert_eq!((again, written), (vmid, Some(part(0, 64))));
        fence.signal(Ok(()));
        // What runs again after a reset of the card may write what it did before.
        vmids.forget();
        let lease = lend(&vmids, space(2, 1), RING)?;
        assert_eq!(lease.on_chip(), Some(OnChip::NONE));
        drop(lease);
        let (_, written, _) = run_with(&vmids, part(0, 64), RING)?;
        assert_eq!(written, Some(part(0, 64)));
        Ok(())
    }
}
