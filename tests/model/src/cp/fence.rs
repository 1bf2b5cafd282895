// SPDX-License-Identifier: GPL-2.0 OR MIT
//! End-of-pipe fences. The command processor goes on when it has passed one; its data and its
//! interrupt follow later, in order. How much later, the seed decides.

use super::packets::address;
use crate::{
    engine::{
        EngineId,
        Fence,
        Front,
        Stop,
        Stream, //
    },
    gpu::Gpu, //
};

/// Interrupt source of an end-of-pipe event.
const EOP_SOURCE: u8 = 181;
/// TIME_STAMP_INT_ENABLE in the interrupt control registers.
const TIMESTAMP_ENABLE: u32 = 1 << 26;

impl Gpu {
    /// Queues a fence: to `at`, what DATA_SEL and INT_SEL say.
    pub(super) fn end_of_pipe(
        &mut self,
        front: &mut Front,
        s: &Stream,
        at: u64,
        select: (u32, u32),
        value: [u32; 2],
    ) -> Result<(), Stop> {
        let (data, int) = select;
        let alignment = match data {
            0 => 1,
            1 => 4,
            2..=4 => 8,
            _ => return Err(Stop::Illegal(format!("fence with DATA_SEL {data}: reserved"))),
        };
        if at % alignment != 0 {
            return Err(Stop::Illegal(format!("fence at {at:#x}: not aligned to {alignment}")));
        }
        // 0 none; 1 an interrupt, without data; 2 the data, confirmed, then an interrupt; 3 the
        // data, confirmed.
        if int > 3 {
            return Err(Stop::Illegal(format!("fence with INT_SEL {int}: reserved")));
        }
        let value = address(value[0], value[1], 32);
        // What a user's commands write ends no job.
        let ends = if front.ibs.is_empty() { front.job.take() } else { None };
        let fence = Fence {
            vmid: s.vmid,
            at,
            data,
            interrupt: matches!(int, 1 | 2),
            value,
            job_vmid: front.vmid,
            ends,
        };
        front.fences.push_back(fence);
        Ok(())
    }

    /// Writes the oldest queued fence of an engine: data, then the interrupt.
    pub(crate) fn retire_fence(&mut self, id: EngineId) {
        let Some(fence) = self.front(id).and_then(|f| f.fences.pop_front()) else { return };
        if let EngineId::Compute { me, pipe, queue } = id {
            self.touch_eop(me, pipe, queue);
        }
        let a = Self::access(id, fence.vmid);
        let done = match fence.data {
            0 => Ok(()),
            1 => self.mem_write_u32(a, fence.at, fence.value as u32),
            2 => self.mem_write_u64(a, fence.at, fence.value),
            _ => {
                let clock = self.clock();
                self.mem_write_u64(a, fence.at, clock)
            }
        };
        if done.is_err() {
            self.log.user(fence.vmid != 0);
            self.log
                .violation("fence", format!("{id}: a fence cannot be written to {:#x}", fence.at));
            self.log.user(false);
        }
        if fence.vmid == 0 {
            self.release_late(id);
        }
        if fence.ends.is_some() {
            self.last_write.remove(&id);
        }
        if fence.interrupt && self.int_cntl(id) & TIMESTAMP_ENABLE != 0 {
            self.interrupt(EOP_SOURCE, 0, self.ring_id(id), fence.job_vmid);
        }
    }

    /// Writes all queued fences of an engine.
    pub(crate) fn drain_fences(&mut self, id: EngineId) {
        while self.front(id).is_some_and(|f| !f.fences.is_empty()) {
            self.retire_fence(id);
        }
    }
}
