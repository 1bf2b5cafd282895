// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Descriptors of compute queues (MQD; the C driver's `struct cik_mqd`).
//!
//! A descriptor is the state of a queue in memory. It begins with a packet that sets the registers
//! of the queue's dispatches (`COMPUTE_*`), which the engine may execute when it takes up the queue
//! (a preload). The queue's own registers follow (`CP_MQD_BASE_ADDR` to `CP_MQD_CONTROL`), in the
//! order of their offsets. When the engine switches queues, it saves them there, and later loads
//! them. So registers and descriptor must agree when a queue is started.

use kernel::{
    io::{
        register::Register,
        Io, //
    },
    prelude::*, //
};

use super::{
    pm4::header,
    regs::*, //
};
use crate::hw::{
    card::Card,
    Scratch, //
};

/// First byte and last register of the queue's registers.
const FIRST: usize = CP_MQD_BASE_ADDR::OFFSET;
const LAST: usize = CP_MQD_CONTROL::OFFSET;
/// Number of the queue's registers.
const REGISTERS: usize = (LAST - FIRST) / size_of::<u32>() + 1;
/// Dword of the descriptor at which they begin.
const SAVED: usize = 51;
/// Dwords that are not always zero.
const DWORDS: usize = SAVED + REGISTERS;

/// Header of the packet at the start: it has all that comes before the queue's registers.
const HEADER: u32 = header(0x08, SAVED - 2);
/// Dwords of `COMPUTE_STATIC_THREAD_MGMT_SE0` to `SE3`: the compute units on which dispatches run.
const THREAD_MANAGEMENT: [usize; 4] = [23, 24, 26, 27];

/// Registers that keep the values which they have, as nobody but AMD knows better ones.
const KEPT: [usize; 14] = [
    CP_HQD_PERSISTENT_STATE::OFFSET,
    CP_HQD_PIPE_PRIORITY::OFFSET,
    CP_HQD_QUEUE_PRIORITY::OFFSET,
    CP_HQD_IB_BASE_ADDR::OFFSET,
    CP_HQD_IB_BASE_ADDR_HI::OFFSET,
    CP_HQD_IB_RPTR::OFFSET,
    CP_HQD_IB_CONTROL::OFFSET,
    CP_HQD_IQ_RPTR::OFFSET,
    CP_HQD_SEMA_CMD::OFFSET,
    CP_HQD_MSG_TYPE::OFFSET,
    CP_HQD_ATOMIC0_PREOP_LO::OFFSET,
    CP_HQD_ATOMIC0_PREOP_HI::OFFSET,
    CP_HQD_ATOMIC1_PREOP_LO::OFFSET,
    CP_HQD_ATOMIC1_PREOP_HI::OFFSET,
];

/// A descriptor that is being made.
pub(super) struct Descriptor([u32; DWORDS]);

impl Descriptor {
    /// Bytes kept for a descriptor.
    pub(super) const SIZE: usize = 2048;

    /// Returns a descriptor whose dispatches may use all compute units. Registers that are not set
    /// later are zero, or keep their values in the selected queue. So nothing is left of what
    /// another user of the queue had set up: neither offloading nor scheduling by firmware.
    pub(super) fn new(card: &Card<'_>) -> Self {
        let mut mqd = Self([0; DWORDS]);
        mqd.0[0] = HEADER;
        for dword in THREAD_MANAGEMENT {
            mqd.0[dword] = !0;
        }
        for offset in KEPT {
            mqd.0[place(offset)] = card.regs().try_read32(offset).unwrap_or(0);
        }
        mqd
    }

    /// Sets one of the queue's registers.
    pub(super) fn set<R: Register>(&mut self, value: R)
    where
        u32: From<R>,
    {
        self.0[const { place(R::OFFSET) }] = value.into();
    }

    /// Writes the descriptor to memory, at an offset in bytes.
    pub(super) fn store(&self, scratch: &dyn Scratch, offset: usize) {
        let first = offset / size_of::<u32>();
        for n in 0..Self::SIZE / size_of::<u32>() {
            scratch.write(first + n, self.0.get(n).copied().unwrap_or(0));
        }
    }

    /// Writes the registers of the selected queue. The last one makes the queue live.
    pub(super) fn load(&self, card: &Card<'_>) {
        self.load_range(card, CP_HQD_VMID::OFFSET, LAST);
        self.load_range(card, FIRST, CP_HQD_ACTIVE::OFFSET);
    }

    fn load_range(&self, card: &Card<'_>, first: usize, last: usize) {
        for offset in (first..=last).step_by(size_of::<u32>()) {
            let _ = card.regs().try_write32(self.0[place(offset)], offset);
        }
    }
}

/// Returns the dword of the descriptor for one of the queue's registers.
const fn place(offset: usize) -> usize {
    assert!(FIRST <= offset && offset <= LAST);
    SAVED + (offset - FIRST) / size_of::<u32>()
}
