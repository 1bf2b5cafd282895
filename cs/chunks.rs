// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The chunks of a submission: copied from user space, checked, and sorted into a [`Request`]
//! (`amdgpu_cs_pass1` in the C driver).
//!
//! A submission is an array of user pointers, each to a header `{ id, length in dwords, data }`
//! (`struct drm_amdgpu_cs_chunk`). Nothing here looks up a handle or takes a lock: the result is
//! numbers that have been checked as far as possible by themselves. The layouts are those of
//! `include/uapi/drm/amdgpu_drm.h`.

use crate::{
    bindings,
    bo_list,
    ctx::{
        Ip,
        QueueName, //
    },
    hw::command::Ib,
    sync::Wait, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// Maximum number of chunks in one submission. The C driver has no limit of its own; user space
/// sends fewer than 20.
const MAX_CHUNKS: u32 = 256;

/// Maximum number of dwords in one chunk: 64 Ki entries of the largest kind, of 6 dwords.
const MAX_CHUNK_DWORDS: u32 = 6 * 65536;

/// Maximum number of fences that one submission waits for, and of places that get its own.
const MAX_ORDERS: usize = 65536;

/// Maximum number of rings in one submission.
pub(crate) const MAX_RINGS: usize = 4;

/// Returns the maximum number of indirect buffers in one job, as the C driver reports it in
/// `AMDGPU_INFO_MAX_IBS`.
const fn max_ibs(ip: Ip) -> usize {
    match ip {
        Ip::Gfx => 192,
        Ip::Compute => 125,
        Ip::Dma => 49,
    }
}

/// A fence of an earlier submission that this one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Queue to which the submission went.
    pub(crate) queue: QueueName,
    /// Context from which the submission came.
    pub(crate) ctx: u32,
    /// Sequence number, as that submission returned it.
    pub(crate) sequence: u64,
}

/// An ordering between a job and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The job comes after another submission.
    AfterJob(Dependency),
    /// The job comes after the fence of a synchronization object.
    After(Wait),
    /// The job's own fence goes into a synchronization object.
    Signal {
        /// Handle of the object.
        handle: u32,
        /// Point of a timeline; 0 means the object as a whole.
        point: u64,
    },
}

/// Location to which the GPU writes the 64-bit sequence number for user space to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserFenceRequest {
    /// GEM handle of a one-page buffer.
    pub(crate) handle: u32,
    /// Offset in bytes: a multiple of 8, at most 4088.
    pub(crate) offset: u32,
}

/// The indirect buffers of one queue.
#[derive(Debug)]
pub(crate) struct QueueIbs {
    /// The queue.
    pub(crate) queue: QueueName,
    /// Indirect buffers in the order in which they run; not empty.
    pub(crate) ibs: KVec<Ib>,
}

/// Everything that one submission requests.
#[derive(Debug)]
pub(crate) struct Request {
    /// The part whose number, user fence and fence become those of the submission: the one with the
    /// last indirect buffer.
    pub(crate) leader: QueueIbs,
    /// Parts that run at the same time, in the order in which user space names their queues.
    pub(crate) others: KVec<QueueIbs>,
    /// The user fence, if any.
    pub(crate) user_fence: Option<UserFenceRequest>,
    /// A buffer list that came with the submission.
    pub(crate) bo_handles: Option<bo_list::Source>,
    /// Orderings, in the order in which user space names them.
    pub(crate) orders: KVVec<Order>,
}

/// One chunk, checked by itself.
#[derive(Debug)]
enum Chunk {
    Ib(QueueName, Ib),
    UserFence(UserFenceRequest),
    BoHandles(bo_list::Source),
    /// Fences that the job waits for. There may be several such chunks.
    Waits(KVVec<Order>),
    /// Places that get the job's fence. There may be one such chunk, of either kind.
    Signals(KVVec<Order>),
    /// A request for nothing.
    Nothing,
}

/// Returns the first `N` dwords of `data`.
fn fixed<const N: usize>(data: &[u32]) -> Result<[u32; N]> {
    data.first_chunk::<N>().copied().ok_or(EINVAL)
}

const fn join(low: u32, high: u32) -> u64 {
    // LOSSLESS: both halves are 32 bits wide.
    low as u64 | (high as u64) << 32
}

/// Decodes `struct drm_amdgpu_cs_chunk_ib`.
///
/// None of the flags changes anything: caches are synchronized before and after every job, a
/// preamble is run like any other buffer, and nothing is ever preempted.
fn decode_ib(data: &[u32]) -> Result<(QueueName, Ib)> {
    let [_pad, flags, va_low, va_high, bytes, ip_type, instance, ring] = fixed(data)?;
    let va = join(va_low, va_high);
    let dwords = bytes / 4;
    if va % 4 != 0 || bytes % 4 != 0 || !(1..=Ib::MAX_DWORDS).contains(&dwords) {
        return Err(EINVAL);
    }
    // The constant engine of GFX7 has no use in this interface; the C driver rejects it too.
    if flags & bindings::AMDGPU_IB_FLAG_CE != 0 {
        return Err(EINVAL);
    }
    let queue = QueueName::from_user(ip_type, instance, ring)?;
    Ok((queue, Ib { va, dwords }))
}

/// Decodes `struct drm_amdgpu_cs_chunk_cp_gfx_shadow`.
///
/// The chunk says where the graphics engine of newer generations keeps its state while it does
/// something else. Hardware without this feature ignores the chunk after it has been checked.
fn decode_shadow(data: &[u32]) -> Result {
    let [_, _, _, _, _, _, low, high] = fixed(data)?;
    let known = u64::from(bindings::AMDGPU_CS_CHUNK_CP_GFX_SHADOW_FLAGS_INIT_SHADOW);
    if join(low, high) & !known != 0 {
        return Err(EINVAL);
    }
    Ok(())
}

impl UserFenceRequest {
    /// Decodes `struct drm_amdgpu_cs_chunk_fence`.
    fn decode(data: &[u32]) -> Result<Self> {
        let [handle, offset] = fixed(data)?;
        if offset % 8 != 0 || offset > 4088 {
            return Err(EINVAL);
        }
        Ok(Self { handle, offset })
    }
}

impl Order {
    /// Decodes an array of entries of `N` dwords. A trailing partial entry is ignored, as in the C
    /// driver.
    fn decode_all<const N: usize>(
        data: &[u32],
        decode: impl Fn([u32; N]) -> Result<Self>,
    ) -> Result<KVVec<Self>> {
        let entries = data.chunks_exact(N);
        if entries.len() > MAX_ORDERS {
            return Err(EINVAL);
        }
        let mut orders = KVVec::with_capacity(entries.len(), GFP_KERNEL_ACCOUNT)?;
        for entry in entries {
            orders.push(decode(fixed(entry)?)?, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(orders)
    }

    /// Decodes `struct drm_amdgpu_cs_chunk_dep`.
    fn after_job([ip_type, instance, ring, ctx, low, high]: [u32; 6]) -> Result<Self> {
        Ok(Self::AfterJob(Dependency {
            queue: QueueName::from_user(ip_type, instance, ring)?,
            ctx,
            sequence: join(low, high),
        }))
    }

    /// Decodes `struct drm_amdgpu_cs_chunk_sem` of a fence to wait for.
    fn after([handle]: [u32; 1]) -> Result<Self> {
        Ok(Self::After(Wait {
            handle,
            point: 0,
            flags: 0,
        }))
    }

    /// Decodes `struct drm_amdgpu_cs_chunk_syncobj` of a fence to wait for.
    fn after_point([handle, flags, low, high]: [u32; 4]) -> Result<Self> {
        Ok(Self::After(Wait {
            handle,
            point: join(low, high),
            flags,
        }))
    }

    /// Decodes `struct drm_amdgpu_cs_chunk_sem` of an object to signal.
    fn signal([handle]: [u32; 1]) -> Result<Self> {
        Ok(Self::Signal { handle, point: 0 })
    }

    /// Decodes `struct drm_amdgpu_cs_chunk_syncobj` of an object to signal. The chunk's flags are
    /// ignored.
    fn signal_point([handle, _flags, low, high]: [u32; 4]) -> Result<Self> {
        Ok(Self::Signal {
            handle,
            point: join(low, high),
        })
    }
}

impl Chunk {
    fn decode(id: u32, data: &[u32]) -> Result<Self> {
        match id {
            bindings::AMDGPU_CHUNK_ID_IB => decode_ib(data).map(|(queue, ib)| Self::Ib(queue, ib)),
            bindings::AMDGPU_CHUNK_ID_FENCE => UserFenceRequest::decode(data).map(Self::UserFence),
            bindings::AMDGPU_CHUNK_ID_BO_HANDLES => {
                let [operation, handle, number, entry_size, low, high] = fixed(data)?;
                // The chunk always creates a list: operation and handle are ignored.
                let _ = (operation, handle);
                bo_list::Source::new(number, entry_size, join(low, high)).map(Self::BoHandles)
            }
            // Waiting until the other job has ended includes waiting until it has reached the
            // hardware, and is always correct.
            bindings::AMDGPU_CHUNK_ID_DEPENDENCIES
            | bindings::AMDGPU_CHUNK_ID_SCHEDULED_DEPENDENCIES => {
                Order::decode_all(data, Order::after_job).map(Self::Waits)
            }
            bindings::AMDGPU_CHUNK_ID_SYNCOBJ_IN => {
                Order::decode_all(data, Order::after).map(Self::Waits)
            }
            bindings::AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_WAIT => {
                Order::decode_all(data, Order::after_point).map(Self::Waits)
            }
            bindings::AMDGPU_CHUNK_ID_SYNCOBJ_OUT => {
                Order::decode_all(data, Order::signal).map(Self::Signals)
            }
            bindings::AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL => {
                Order::decode_all(data, Order::signal_point).map(Self::Signals)
            }
            bindings::AMDGPU_CHUNK_ID_CP_GFX_SHADOW => decode_shadow(data).map(|()| Self::Nothing),
            _ => Err(EINVAL),
        }
    }

    /// Copies the chunk at `header` in and decodes it.
    fn copy_in(header: u64) -> Result<Self> {
        let mut header = user(header, size_of::<bindings::drm_amdgpu_cs_chunk>())?.reader();
        let id = header.read::<u32>()?;
        let dwords = header.read::<u32>()?;
        let address = header.read::<u64>()?;
        if dwords > MAX_CHUNK_DWORDS {
            return Err(EINVAL);
        }

        let dwords = usize::try_from(dwords)?;
        let mut data = KVVec::with_capacity(dwords, GFP_KERNEL_ACCOUNT)?;
        let mut reader = user(address, dwords * size_of::<u32>())?.reader();
        for _ in 0..dwords {
            data.push(reader.read::<u32>()?, GFP_KERNEL_ACCOUNT)?;
        }
        Self::decode(id, &data)
    }
}

fn user(address: u64, length: usize) -> Result<UserSlice> {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    Ok(UserSlice::new(UserPtr::from_addr(address), length))
}

/// Collects chunks into a request, and checks them against each other.
struct Collector {
    parts: KVec<QueueIbs>,
    /// Index of the part that has the last indirect buffer.
    last: usize,
    user_fence: Option<UserFenceRequest>,
    bo_handles: Option<bo_list::Source>,
    orders: KVVec<Order>,
    /// Set by the one chunk that says where the fence goes.
    signals: Option<()>,
}

impl Collector {
    fn new() -> Self {
        Self {
            parts: KVec::new(),
            last: 0,
            user_fence: None,
            bo_handles: None,
            orders: KVVec::new(),
            signals: None,
        }
    }

    fn add(&mut self, chunk: Chunk) -> Result {
        match chunk {
            Chunk::Ib(queue, ib) => self.add_ib(queue, ib),
            Chunk::UserFence(fence) => set_once(&mut self.user_fence, fence),
            Chunk::BoHandles(source) => set_once(&mut self.bo_handles, source),
            Chunk::Waits(orders) => self.add_orders(&orders),
            Chunk::Signals(orders) => {
                set_once(&mut self.signals, ())?;
                self.add_orders(&orders)
            }
            Chunk::Nothing => Ok(()),
        }
    }

    fn add_ib(&mut self, queue: QueueName, ib: Ib) -> Result {
        self.last = self.part(queue)?;
        let ibs = &mut self.parts[self.last].ibs;
        if ibs.len() >= max_ibs(queue.ip) {
            return Err(EINVAL);
        }
        Ok(ibs.push(ib, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the index of a queue's part, which is created if it does not exist yet.
    fn part(&mut self, queue: QueueName) -> Result<usize> {
        if let Some(index) = self.parts.iter().position(|part| part.queue == queue) {
            return Ok(index);
        }
        if self.parts.len() >= MAX_RINGS {
            return Err(EINVAL);
        }
        let ibs = KVec::new();
        self.parts
            .push(QueueIbs { queue, ibs }, GFP_KERNEL_ACCOUNT)?;
        Ok(self.parts.len() - 1)
    }

    fn add_orders(&mut self, orders: &[Order]) -> Result {
        if self.orders.len() + orders.len() > MAX_ORDERS {
            return Err(EINVAL);
        }
        Ok(self.orders.extend_from_slice(orders, GFP_KERNEL_ACCOUNT)?)
    }

    fn finish(mut self) -> Result<Request> {
        // Without an indirect buffer there is no such part.
        let leader = self.parts.remove(self.last).map_err(|_| EINVAL)?;
        Ok(Request {
            leader,
            others: self.parts,
            user_fence: self.user_fence,
            bo_handles: self.bo_handles,
            orders: self.orders,
        })
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result {
    match slot {
        Some(_) => Err(EINVAL),
        None => {
            *slot = Some(value);
            Ok(())
        }
    }
}

impl Request {
    /// Copies in and checks the `count` chunks that the pointers at `array` name.
    ///
    /// # Errors
    ///
    /// `EFAULT` for an address that cannot be read, `ENOMEM`, and `EINVAL` for anything invalid.
    pub(crate) fn copy_in(array: u64, count: u32) -> Result<Self> {
        if count == 0 || count > MAX_CHUNKS {
            return Err(EINVAL);
        }
        let mut collector = Collector::new();
        let mut headers = user(array, usize::try_from(count)? * size_of::<u64>())?.reader();
        for _ in 0..count {
            collector.add(Chunk::copy_in(headers.read::<u64>()?)?)?;
        }
        collector.finish()
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_cs_chunks)]
mod tests {
    use super::*;

    const IB: u32 = bindings::AMDGPU_CHUNK_ID_IB;
    const FENCE: u32 = bindings::AMDGPU_CHUNK_ID_FENCE;
    const BO_HANDLES: u32 = bindings::AMDGPU_CHUNK_ID_BO_HANDLES;
    const DEPENDENCIES: u32 = bindings::AMDGPU_CHUNK_ID_DEPENDENCIES;
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
        };
        assert_eq!(request.orders[0], Order::AfterJob(expected));
        Ok(())
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
