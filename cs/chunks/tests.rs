// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of chunks, as user space writes them.

use super::*;

#[kunit_tests(amdgpu_rs_cs_chunks)]
mod decoding {
    use super::*;

    const IB: u32 = bindings::AMDGPU_CHUNK_ID_IB;
    const FENCE: u32 = bindings::AMDGPU_CHUNK_ID_FENCE;
    const BO_HANDLES: u32 = bindings::AMDGPU_CHUNK_ID_BO_HANDLES;
    const DEPENDENCIES: u32 = bindings::AMDGPU_CHUNK_ID_DEPENDENCIES;
    const SCHEDULED: u32 = bindings::AMDGPU_CHUNK_ID_SCHEDULED_DEPENDENCIES;
    const SYNCOBJ_IN: u32 = bindings::AMDGPU_CHUNK_ID_SYNCOBJ_IN;
    const SYNCOBJ_OUT: u32 = bindings::AMDGPU_CHUNK_ID_SYNCOBJ_OUT;
    const TIMELINE_WAIT: u32 = bindings::AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_WAIT;
    const TIMELINE_SIGNAL: u32 = bindings::AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL;

    const SHADOW: u32 = bindings::AMDGPU_CHUNK_ID_CP_GFX_SHADOW;

    const COMPUTE: u32 = bindings::AMDGPU_HW_IP_COMPUTE;
    const GFX: u32 = bindings::AMDGPU_HW_IP_GFX;
    const DMA: u32 = bindings::AMDGPU_HW_IP_DMA;
    const UVD: u32 = bindings::AMDGPU_HW_IP_UVD;

    fn ib(va: u64, bytes: u32, ip_type: u32, ring: u32) -> [u32; 8] {
        [0, 0, va as u32, (va >> 32) as u32, bytes, ip_type, 0, ring]
    }

    fn request(chunks: &[(u32, &[u32])]) -> Result<Request> {
        let mut collector = Collector::new();
        for (id, data) in chunks {
            collector.add(Chunk::decode(*id, data)?)?;
        }
        collector.finish()
    }

    fn error(chunks: &[(u32, &[u32])]) -> Option<Error> {
        request(chunks).err()
    }

    #[test]
    fn an_ib_is_decoded_field_by_field() -> Result {
        let mut raw = ib(0x12_3456_7890, 64, DMA, 1);
        raw[1] = bindings::AMDGPU_IB_FLAG_PREAMBLE;
        let request = request(&[(IB, &raw)])?;
        assert!(request.others.is_empty());
        assert_eq!(request.leader.queue, QueueName::from_user(DMA, 0, 1)?);
        assert_eq!(request.leader.ibs.len(), 1);
        let Ib { va, dwords } = request.leader.ibs[0];
        assert_eq!((va, dwords), (0x12_3456_7890, 16));
        assert!(request.user_fence.is_none() && request.bo_handles.is_none());
        Ok(())
    }

    #[test]
    fn short_chunks_are_refused_and_long_ones_accepted() {
        let raw = ib(0x10000, 64, GFX, 0);
        assert_eq!(error(&[(IB, &raw[..7])]), Some(EINVAL));
        assert_eq!(error(&[(IB, &[])]), Some(EINVAL));
        let mut long = [0; 12];
        long[..8].copy_from_slice(&raw);
        assert_eq!(error(&[(IB, &long)]), None);
        assert_eq!(error(&[(IB, &raw), (FENCE, &[1])]), Some(EINVAL));
        assert_eq!(
            error(&[(IB, &raw), (BO_HANDLES, &[0, 0, 0, 8, 0])]),
            Some(EINVAL)
        );
    }

    #[test]
    fn addresses_and_sizes_of_ibs_are_whole_dwords() {
        for (va, bytes, good) in [
            (0x10000, 4, true),
            (0x10000, 0, false),
            (0x10000, 2, false),
            (0x10000, 6, false),
            (0x10002, 4, false),
            (0x10004, 4, true),
            (u64::MAX - 3, 4 * Ib::MAX_DWORDS, true),
            (0x10000, 4 * Ib::MAX_DWORDS + 4, false),
        ] {
            let raw = ib(va, bytes, GFX, 0);
            assert_eq!(error(&[(IB, &raw)]).is_none(), good);
        }
    }

    #[test]
    fn engines_that_do_not_exist_are_refused() {
        assert_eq!(error(&[(IB, &ib(0x10000, 4, UVD, 0))]), Some(EINVAL));
        assert_eq!(error(&[(IB, &ib(0x10000, 4, u32::MAX, 0))]), Some(EINVAL));
        let mut ce = ib(0x10000, 4, GFX, 0);
        ce[1] = bindings::AMDGPU_IB_FLAG_CE;
        assert_eq!(error(&[(IB, &ce)]), Some(EINVAL));
    }

    #[test]
    fn a_submission_needs_an_ib() {
        let gfx = ib(0x10000, 4, GFX, 0);
        assert_eq!(error(&[]), Some(EINVAL));
        assert_eq!(error(&[(FENCE, &[1, 0])]), Some(EINVAL));
        assert_eq!(error(&[(SHADOW, &[0; 8])]), Some(EINVAL));
        assert_eq!(error(&[(IB, &gfx), (IB, &gfx)]), None);
    }

    #[test]
    fn the_last_ib_leads() -> Result {
        let queue = |ip, ring| QueueName::from_user(ip, 0, ring);
        let at = |va, ip, ring| ib(va, 4, ip, ring);
        let ibs = [
            at(0x10000, GFX, 0),
            at(0x20000, DMA, 1),
            at(0x30000, GFX, 0),
            at(0x40000, DMA, 0),
            at(0x50000, DMA, 1),
        ];
        let [a, b, c, d, e] = &ibs;
        let request = request(&[(IB, a), (IB, b), (IB, c), (IB, d), (IB, e)])?;
        let parts = [&request.leader, &request.others[0], &request.others[1]];
        let expected: [(_, &[u64]); 3] = [
            (queue(DMA, 1)?, &[0x20000, 0x50000]),
            (queue(GFX, 0)?, &[0x10000, 0x30000]),
            (queue(DMA, 0)?, &[0x40000]),
        ];
        for (part, (queue, addresses)) in parts.into_iter().zip(expected) {
            assert_eq!(part.queue, queue);
            assert_eq!(part.ibs.len(), addresses.len());
            for (ib, va) in part.ibs.iter().zip(addresses) {
                assert_eq!(ib.va, *va);
            }
        }
        assert_eq!(request.others.len(), 2);
        Ok(())
    }

    #[test]
    fn rings_are_limited() {
        let [a, b, c, d, e] = [(GFX, 0), (DMA, 0), (DMA, 1), (COMPUTE, 0), (COMPUTE, 1)]
            .map(|(ip, ring)| ib(0x10000, 4, ip, ring));
        assert_eq!(error(&[(IB, &a), (IB, &b), (IB, &c), (IB, &d)]), None);
        let five: [(u32, &[u32]); 5] = [(IB, &a), (IB, &b), (IB, &c), (IB, &d), (IB, &e)];
        assert_eq!(error(&five), Some(EINVAL));
    }

    #[test]
    fn shadows_are_checked() {
        let raw = ib(0x10000, 4, GFX, 0);
        for (shadow, good) in [
            (&[u32::MAX, 0, 1, 2, 3, 4, 1, 0][..], true),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 9][..], true),
            (&[0, 0, 0, 0, 0, 0, 2, 0][..], false),
            (&[0, 0, 0, 0, 0, 0, 0, 1][..], false),
            (&[0; 7][..], false),
            (&[][..], false),
        ] {
            assert_eq!(error(&[(IB, &raw), (SHADOW, shadow)]).is_none(), good);
        }
    }

    #[test]
    fn ibs_are_limited_by_engine() -> Result {
        let raw = ib(0x10000, 4, DMA, 0);
        let mut collector = Collector::new();
        for _ in 0..max_ibs(Ip::Dma) {
            collector.add(Chunk::decode(IB, &raw)?)?;
        }
        assert_eq!(collector.add(Chunk::decode(IB, &raw)?), Err(EINVAL));
        // Each ring has its own limit.
        collector.add(Chunk::decode(IB, &ib(0x10000, 4, DMA, 1))?)?;
        Ok(())
    }

    #[test]
    fn user_fences_fit_into_their_page() {
        let raw = ib(0x10000, 4, GFX, 0);
        for (offset, good) in [
            (0, true),
            (8, true),
            (4088, true),
            (4, false),
            (4096, false),
            (u32::MAX - 7, false),
        ] {
            assert_eq!(error(&[(IB, &raw), (FENCE, &[1, offset])]).is_none(), good);
        }
        let twice: [(u32, &[u32]); 3] = [(IB, &raw), (FENCE, &[1, 0]), (FENCE, &[1, 8])];
        assert_eq!(error(&twice), Some(EINVAL));
    }

    #[test]
    fn only_one_buffer_list() {
        let raw = ib(0x10000, 4, GFX, 0);
        let list = [0, 0, 0, 8, 0, 0];
        assert_eq!(error(&[(IB, &raw), (BO_HANDLES, &list)]), None);
        assert_eq!(
            error(&[(IB, &raw), (BO_HANDLES, &list), (BO_HANDLES, &list)]),
            Some(EINVAL)
        );
    }

    #[test]
    fn trailing_part_of_a_dependency_is_ignored() -> Result {
        let raw = ib(0x10000, 4, GFX, 0);
        let entry = [DMA, 0, 1, 7, 0x89ab_cdef, 0x0123_4567];
        let mut data = [0; 11];
        data[..6].copy_from_slice(&entry);
        let request = request(&[(IB, &raw), (DEPENDENCIES, &data)])?;
        assert_eq!(request.orders.len(), 1);
        let expected = Dependency {
            queue: QueueName::from_user(DMA, 0, 1)?,
            ctx: 7,
            sequence: 0x0123_4567_89ab_cdef,
            event: JobEvent::End,
        };
        assert_eq!(request.orders[0], Order::AfterJob(expected));
        Ok(())
    }

    #[test]
    fn a_dependency_says_what_it_waits_for() -> Result {
        let raw = ib(0x10000, 4, GFX, 0);
        let entry = [DMA, 0, 1, 7, 8, 0];
        let request = request(&[(IB, &raw), (SCHEDULED, &entry), (DEPENDENCIES, &entry)])?;
        let dependency = |event| {
            Ok::<_, Error>(Order::AfterJob(Dependency {
                queue: QueueName::from_user(DMA, 0, 1)?,
                ctx: 7,
                sequence: 8,
                event,
            }))
        };
        let expected = [dependency(JobEvent::Start)?, dependency(JobEvent::End)?];
        assert_eq!(request.orders[..], expected);
        Ok(())
    }

    #[test]
    fn one_graphics_buffer_may_be_preempted() {
        let preemptible = |ip_type| {
            let mut raw = ib(0x10000, 4, ip_type, 0);
            raw[1] = bindings::AMDGPU_IB_FLAG_PREEMPT;
            raw
        };
        let [gfx, compute] = [GFX, COMPUTE].map(preemptible);
        let plain = ib(0x20000, 4, GFX, 0);
        assert_eq!(error(&[(IB, &gfx), (IB, &plain)]), None);
        assert_eq!(error(&[(IB, &gfx), (IB, &plain), (IB, &gfx)]), Some(EINVAL));
        // Of other engines there may be any number.
        assert_eq!(error(&[(IB, &compute), (IB, &compute), (IB, &gfx)]), None);
    }

    #[test]
    fn orders_are_kept_in_order() -> Result {
        let raw = ib(0x10000, 4, GFX, 0);
        let request = request(&[
            (IB, &raw),
            (TIMELINE_SIGNAL, &[3, 0xff, 0x89ab_cdef, 1]),
            (SYNCOBJ_IN, &[4, 5]),
            (TIMELINE_WAIT, &[6, 2, 7, 8, 9]),
        ])?;
        let wait = |handle, point, flags| {
            Order::After(Wait {
                handle,
                point,
                flags,
            })
        };
        let signal = Order::Signal {
            handle: 3,
            point: 0x1_89ab_cdef,
        };
        let expected = [
            signal,
            wait(4, 0, 0),
            wait(5, 0, 0),
            wait(6, 0x8_0000_0007, 2),
        ];
        assert_eq!(request.orders[..], expected);
        Ok(())
    }

    #[test]
    fn the_fence_goes_out_by_one_chunk() {
        let raw = ib(0x10000, 4, GFX, 0);
        let point = [1, 0, 1, 0];
        assert_eq!(error(&[(IB, &raw), (SYNCOBJ_OUT, &[1, 2])]), None);
        for second in [(SYNCOBJ_OUT, &[1][..]), (TIMELINE_SIGNAL, &point[..])] {
            let chunks = [(IB, &raw[..]), (SYNCOBJ_OUT, &[1][..]), second];
            assert_eq!(error(&chunks), Some(EINVAL));
        }
    }

    #[test]
    fn orders_are_limited() -> Result {
        let mut collector = Collector::new();
        let half = KVVec::from_elem(1, MAX_ORDERS / 2, GFP_KERNEL)?;
        for _ in 0..2 {
            collector.add(Chunk::decode(SYNCOBJ_IN, &half)?)?;
        }
        assert_eq!(collector.add(Chunk::decode(SYNCOBJ_IN, &[1])?), Err(EINVAL));
        let more = KVVec::from_elem(1, MAX_ORDERS + 1, GFP_KERNEL)?;
        assert_eq!(Chunk::decode(SYNCOBJ_IN, &more).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn unknown_chunks_are_refused() {
        assert_eq!(error(&[(0, &[])]), Some(EINVAL));
        assert_eq!(error(&[(0xff, &[0; 16])]), Some(EINVAL));
    }
}
