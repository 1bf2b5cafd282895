// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What rings are made of, and what can be submitted to them.
//!
//! These are the words that the driver and its engines have in common: `exec/` says what is to run,
//! and `hw/` encodes it for the engine behind the ring.

use kernel::prelude::*;

/// A kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Gfx,
    Compute,
    Sdma,
}

/// Which ring. A chip need not have all that have a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingId {
    /// Graphics.
    Gfx,
    /// A compute queue.
    Compute(u8),
    /// A DMA engine.
    Sdma(u8),
}

impl RingId {
    /// Number of places in tables of rings.
    pub(crate) const PLACES: usize = 1 + Self::COMPUTE.len() + Self::SDMA.len();

    const COMPUTE: [&CStr; 8] = [
        c"compute0",
        c"compute1",
        c"compute2",
        c"compute3",
        c"compute4",
        c"compute5",
        c"compute6",
        c"compute7",
    ];
    const SDMA: [&CStr; 2] = [c"sdma0", c"sdma1"];

    /// The kind of engine behind the ring.
    pub(crate) const fn engine(self) -> EngineKind {
        match self {
            Self::Gfx => EngineKind::Gfx,
            Self::Compute(_) => EngineKind::Compute,
            Self::Sdma(_) => EngineKind::Sdma,
        }
    }

    /// What the ring is called in messages and traces.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Gfx => c"gfx",
            Self::Compute(queue) => Self::COMPUTE[usize::from(queue)],
            Self::Sdma(engine) => Self::SDMA[usize::from(engine)],
        }
    }

    /// The ring's place in tables of rings.
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Gfx => 0,
            Self::Compute(queue) => 1 + usize::from(queue),
            Self::Sdma(engine) => 1 + Self::COMPUTE.len() + usize::from(engine),
        }
    }
}

/// log2 of the size of a ring in dwords.
pub(crate) const RING_SHIFT: u32 = 13;
/// Size of a ring in dwords.
pub(crate) const RING_DWORDS: usize = 1 << RING_SHIFT;
/// What of a position is its place in the ring.
pub(crate) const RING_MASK: u32 = (1 << RING_SHIFT) - 1;
/// Size of the longest submission in dwords, padding included.
pub(crate) const MAX_SUBMISSION_DWORDS: u32 = 1024;

/// Where a ring and its write-back slots are in the GPU's address space (context 0).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingMemory {
    pub(crate) base: u64,
    /// Where the engine reports how far it has read.
    pub(crate) read_pointer: u64,
    /// Where an engine may look for how far the kernel has written.
    pub(crate) write_pointer: u64,
}

/// A virtual memory context that is lent to a job, 1 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vmid(u8);

impl Vmid {
    /// The context with this number; 0 is the kernel's own.
    pub(crate) const fn new(id: u8) -> Option<Self> {
        if 1 <= id && id <= 15 {
            Some(Self(id))
        } else {
            None
        }
    }

    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

/// Whether the context must forget the translations that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Needed,
    NotNeeded,
}

/// The address space that a submission runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmState {
    pub(crate) vmid: Vmid,
    /// Address of the page directory in the GPU's address space.
    pub(crate) pd_addr: u64,
    pub(crate) flush: Flush,
    /// Number of the process, which interrupts then bear.
    pub(crate) pasid: u16,
}

/// A buffer of commands, called from the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ib {
    /// Address, in the submission's address space; a multiple of 4.
    pub(crate) va: u64,
    /// Length; at most [`Ib::MAX_DWORDS`].
    pub(crate) dwords: u32,
}

impl Ib {
    /// What the length field of the packets holds.
    pub(crate) const MAX_DWORDS: u32 = (1 << 20) - 1;
}

/// The write by which user space sees that its job is done (the C driver's user fence).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FenceSlot {
    /// Address in the GPU's address space (context 0).
    pub(crate) gpu_addr: u64,
    pub(crate) value: u64,
}

/// Memory to be filled with one dword again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Address in the GPU's own address space (context 0); a multiple of 4.
    pub(crate) addr: u64,
    /// A multiple of 4, at most [`Fill::MAX_BYTES`].
    pub(crate) bytes: u64,
    pub(crate) value: u32,
}

impl Fill {
    /// What one submission can fill: its packets fit into [`MAX_SUBMISSION_DWORDS`].
    pub(crate) const MAX_BYTES: u64 = 256 << 20;
}

/// What a submission has an engine do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Commands<'a> {
    /// Execute these buffers, one after the other.
    Ibs(&'a [Ib]),
    /// Fill memory. DMA engines only.
    Fill(Fill),
    /// Execute nothing. The submission cannot be run; it ends with this error in its turn.
    Fail(Error),
}

impl Commands<'_> {
    /// How the submission ends if the engine gets to its end.
    pub(crate) fn result(&self) -> Result {
        match self {
            Self::Ibs(_) | Self::Fill(_) => Ok(()),
            Self::Fail(error) => Err(*error),
        }
    }
}

/// What to execute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission<'a> {
    /// `None`: the kernel's own context.
    pub(crate) vm: Option<VmState>,
    pub(crate) commands: Commands<'a>,
    pub(crate) user_fence: Option<FenceSlot>,
}

impl Submission<'_> {
    /// Number of the context that the buffers run in.
    pub(crate) fn vmid(&self) -> u8 {
        self.vm.map_or(0, |vm| vm.vmid.get())
    }

    /// The address space, if its context must forget the translations that it knows.
    pub(crate) fn vm_to_flush(&self) -> Option<&VmState> {
        self.vm.as_ref().filter(|vm| vm.flush == Flush::Needed)
    }
}

/// The write by which an engine says that it got so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FenceWrite {
    pub(crate) gpu_addr: u64,
    pub(crate) seq: u32,
}

/// What a fence writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FenceValue {
    Dword(u32),
    Qword(u64),
}

impl FenceValue {
    /// The number before.
    pub(crate) fn before(self) -> Self {
        match self {
            Self::Dword(value) => Self::Dword(value.wrapping_sub(1)),
            Self::Qword(value) => Self::Qword(value.wrapping_sub(1)),
        }
    }
}

/// Whether a fence raises an interrupt, once its write has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    No,
    Yes,
}

/// Where commands are written to.
pub(crate) trait Sink {
    /// Appends dwords.
    fn put(&mut self, dwords: &[u32]);

    /// Number of dwords that were put there before, ever.
    fn position(&self) -> u64;
}

#[kunit_tests(amdgpu_rs_command)]
mod tests {
    use super::*;

    #[test]
    fn vmids() {
        assert!(Vmid::new(0).is_none());
        assert_eq!(Vmid::new(1).map(Vmid::get), Some(1));
        assert_eq!(Vmid::new(15).map(Vmid::get), Some(15));
        assert!(Vmid::new(16).is_none());
    }
}
