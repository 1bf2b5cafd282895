// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The chunks of a submission: copied from user space, checked, and sorted into a [`Request`]
//! (`amdgpu_cs_pass1` in the C driver).
//!
//! A submission is an array of user pointers, each to a header `{ id, length in dwords, data }`
//! (`struct drm_amdgpu_cs_chunk`). Nothing here looks up a handle or takes a lock: the result is
//! numbers that have been checked as far as possible by themselves. The layouts are those of
//! `include/uapi/drm/amdgpu_drm.h`.

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

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
    /// The event that is waited for.
    pub(crate) event: JobEvent,
}

/// The event of another job that a dependency waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobEvent {
    /// The job is on its ring: it may have begun, or will as soon as those before it have ended.
    Start,
    /// The job has ended.
    End,
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
    Ib(QueueName, Ib, Preemption),
    UserFence(UserFenceRequest),
    BoHandles(bo_list::Source),
    /// Fences that the job waits for. There may be several such chunks.
    Waits(KVVec<Order>),
    /// Places that get the job's fence. There may be one such chunk, of either kind.
    Signals(KVVec<Order>),
    /// A request for nothing.
    Nothing,
}

/// User space's permission to interrupt an indirect buffer of a graphics engine. Nothing uses it,
/// but one submission may give it for one of its buffers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preemption {
    Allowed,
    NotAllowed,
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
/// None of the flags changes how the buffer is run: caches are synchronized before and after every
/// job, a preamble is run like any other buffer, and nothing is ever preempted.
fn decode_ib(data: &[u32]) -> Result<Chunk> {
    let [_pad, flags, va_low, va_high, bytes, ip_type, instance, ring] = fixed(data)?;
    let va = join(va_low, va_high);
    let dwords = bytes / 4;
    if va % 4 != 0 || bytes % 4 != 0 || !(1..=Ib::MAX_DWORDS).contains(&dwords) {
        return Err(EINVAL);
    }
    // The constant engine has no use in this interface; the C driver rejects it too.
    if flags & bindings::AMDGPU_IB_FLAG_CE != 0 {
        return Err(EINVAL);
    }
    let queue = QueueName::from_user(ip_type, instance, ring)?;
    let preemption = match queue.ip {
        Ip::Gfx if flags & bindings::AMDGPU_IB_FLAG_PREEMPT != 0 => Preemption::Allowed,
        _ => Preemption::NotAllowed,
    };
    Ok(Chunk::Ib(queue, Ib { va, dwords }, preemption))
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
    fn after_job(
        [ip_type, instance, ring, ctx, low, high]: [u32; 6],
        event: JobEvent,
    ) -> Result<Self> {
        Ok(Self::AfterJob(Dependency {
            queue: QueueName::from_user(ip_type, instance, ring)?,
            ctx,
            sequence: join(low, high),
            event,
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
            bindings::AMDGPU_CHUNK_ID_IB => decode_ib(data),
            bindings::AMDGPU_CHUNK_ID_FENCE => UserFenceRequest::decode(data).map(Self::UserFence),
            bindings::AMDGPU_CHUNK_ID_BO_HANDLES => {
                let [operation, handle, number, entry_size, low, high] = fixed(data)?;
                // The chunk always creates a list: operation and handle are ignored.
                let _ = (operation, handle);
                bo_list::Source::new(number, entry_size, join(low, high)).map(Self::BoHandles)
            }
            bindings::AMDGPU_CHUNK_ID_DEPENDENCIES => {
                Order::decode_all(data, |dep| Order::after_job(dep, JobEvent::End)).map(Self::Waits)
            }
            bindings::AMDGPU_CHUNK_ID_SCHEDULED_DEPENDENCIES => {
                Order::decode_all(data, |dep| Order::after_job(dep, JobEvent::Start))
                    .map(Self::Waits)
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
    /// Set by the one buffer that may be preempted.
    preemptible: Option<()>,
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
            preemptible: None,
        }
    }

    fn add(&mut self, chunk: Chunk) -> Result {
        match chunk {
            Chunk::Ib(queue, ib, preemption) => {
                if preemption == Preemption::Allowed {
                    set_once(&mut self.preemptible, ())?;
                }
                self.add_ib(queue, ib)
            }
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
