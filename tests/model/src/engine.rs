// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Common parts of the engines: their names, the streams of dwords that they execute, and the
//! possible results of one step of one of them.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::Instant, //
};

use crate::cp::{
    Fetched,
    dispatch::Running, //
};

/// A hardware block that executes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Block {
    /// The graphics command processor.
    Gfx,
    /// The compute micro-engines.
    Compute,
    /// First system DMA engine.
    Sdma0,
    /// Second system DMA engine.
    Sdma1,
}

impl Block {
    /// The blocks that a name on the command line means; `sdma` means both engines.
    pub fn parse(name: &str) -> Option<Vec<Block>> {
        Some(match name {
            "gfx" => vec![Block::Gfx],
            "compute" => vec![Block::Compute],
            "sdma" => vec![Block::Sdma0, Block::Sdma1],
            "sdma0" => vec![Block::Sdma0],
            "sdma1" => vec![Block::Sdma1],
            _ => return None,
        })
    }
}

/// One executor of packets: the gfx ring, one compute queue, or one SDMA engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineId {
    /// The gfx ring (ring 0 of the graphics command processor).
    Gfx,
    /// A compute hardware queue. `me` is 1 or 2.
    Compute { me: u8, pipe: u8, queue: u8 },
    /// An SDMA engine, 0 or 1.
    Sdma(u8),
}

impl EngineId {
    /// The block that it belongs to.
    pub fn block(self) -> Block {
        match self {
            EngineId::Gfx => Block::Gfx,
            EngineId::Compute { .. } => Block::Compute,
            EngineId::Sdma(0) => Block::Sdma0,
            EngineId::Sdma(_) => Block::Sdma1,
        }
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineId::Gfx => write!(f, "gfx"),
            EngineId::Compute { me, pipe, queue } => write!(f, "comp_{me}.{pipe}.{queue}"),
            EngineId::Sdma(n) => write!(f, "sdma{n}"),
        }
    }
}

/// Source of dwords: a ring or an indirect buffer, in the address space of a VMID.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Address space.
    pub vmid: u8,
    /// Address of dword 0.
    pub base: u64,
    /// Size in dwords; for a ring, a power of two.
    pub size: u32,
    /// Next dword.
    pub pos: u32,
    /// Its first dwords, if they were fetched before it began.
    pub ahead: Option<Arc<Vec<u32>>>,
}

impl Stream {
    /// The dword `n` from the position on, if it was fetched before the stream began.
    pub fn fetched(&self, n: u32) -> Option<u32> {
        self.ahead.as_ref()?.get((self.pos + n) as usize).copied()
    }

    /// Address of the dword `ahead` of the position, wrapping at the end.
    pub fn addr(&self, ahead: u32) -> u64 {
        let i = u64::from(self.pos) + u64::from(ahead);
        self.base.wrapping_add(i % u64::from(self.size.max(1)) * 4)
    }
}

/// Number of dwords that a packet needs.
pub struct Need {
    /// Dwords needed to go on.
    pub dwords: u32,
    /// Set if that is the whole packet.
    pub exact: bool,
}

/// A fence that an engine has passed and not yet written.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Address space of `at`.
    pub vmid: u8,
    /// Target of the data.
    pub at: u64,
    /// DATA_SEL: 0 nothing, 1 32 bits, 2 64 bits, 3 and 4 the clock.
    pub data: u32,
    /// Set if an interrupt follows.
    pub interrupt: bool,
    /// The data.
    pub value: u64,
    /// VMID for the interrupt vector.
    pub job_vmid: u8,
    /// VMID of the job that is over with this fence, if one is.
    pub ends: Option<u8>,
}

/// State of every executor besides its registers.
#[derive(Debug, Default)]
pub struct Front {
    /// Indirect buffers being executed, the innermost last. The ring lies under them.
    pub ibs: Vec<Stream>,
    /// Why the engine stopped, if it hangs.
    pub hung: Option<String>,
    /// The packet at the position has begun (its write was done) and is waiting.
    pub begun: bool,
    /// The engine may not go on before this moment (injected slowness).
    pub not_before: Option<Instant>,
    /// The delay of the packet at the position has been served.
    pub delayed: bool,
    /// Indirect buffers begun so far.
    pub ib_count: u64,
    /// Polls of the packet at the position so far.
    pub polls: u64,
    /// VMID of the last indirect buffer launched from the ring, for fences that follow it.
    pub vmid: u8,
    /// VMID of the job that runs: from its first indirect buffer to the fence after its last. 0,
    /// the kernel's, is never over and not told here.
    pub job: Option<u8>,
    /// Fences passed and not yet written, the oldest first.
    pub fences: VecDeque<Fence>,
    /// The dispatch at the position, if it has begun.
    pub dispatch: Option<Running>,
    /// Commands of the next indirect buffer that the front end has fetched.
    pub fetched: Option<Fetched>,
    /// The last packets, for a report.
    pub recent: VecDeque<String>,
}

impl Front {
    /// Forgets the packet at the position: it is done.
    pub fn advance(&mut self) {
        self.begun = false;
        self.delayed = false;
        self.polls = 0;
    }

    /// Back to power-up.
    pub fn reset(&mut self) {
        *self = Front::default();
    }
}

/// Result of an attempt at one packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was executed.
    Progress,
    /// The engine waits on something that may change without notice (memory, a register, time).
    Waiting,
    /// Nothing to do.
    Idle,
}

/// Why an engine cannot go on.
#[derive(Debug)]
pub enum Stop {
    /// The packet waits: try again later.
    Wait,
    /// The engine hangs, with the reason.
    Hang(String),
    /// The packet or a bit in it is illegal.
    Illegal(String),
    /// A user's command touched what only the kernel may.
    Privilege(String),
}

/// Comparison functions of WAIT_REG_MEM and POLL_REG_MEM. `None` for reserved encodings.
pub fn compare(func: u32, value: u32, reference: u32) -> Option<bool> {
    Some(match func {
        0 => true,
        1 => value < reference,
        2 => value <= reference,
        3 => value == reference,
        4 => value != reference,
        5 => value >= reference,
        6 => value > reference,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_wraps() {
        let s = Stream { vmid: 0, base: 0x1000, size: 16, pos: 15, ahead: None };
        assert_eq!(s.addr(0), 0x103c);
        assert_eq!(s.addr(1), 0x1000);
    }

    #[test]
    fn comparisons() {
        assert_eq!(compare(0, 1, 2), Some(true));
        assert_eq!(compare(3, 2, 2), Some(true));
        assert_eq!(compare(6, 2, 2), Some(false));
        assert_eq!(compare(7, 2, 2), None);
    }
}
