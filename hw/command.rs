// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rings, and the submissions that they take (the C driver's `amdgpu_ring`, `amdgpu_job` and
//! `amdgpu_ib`).
//!
//! The driver and its engines share these types: `exec/` says what is to run, and `hw/` encodes it
//! for the engine behind the ring.

use kernel::prelude::*;

use super::on_chip::{
    OnChip,
    OnChipRange, //
};

/// A kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Gfx,
    Compute,
    Sdma,
}

/// Identity of a ring. A chip need not have all rings that are named here.
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

    /// Returns the kind of engine behind the ring.
    pub(crate) const fn engine(self) -> EngineKind {
        match self {
            Self::Gfx => EngineKind::Gfx,
            Self::Compute(_) => EngineKind::Compute,
            Self::Sdma(_) => EngineKind::Sdma,
        }
    }

    /// Returns the ring's name for messages and traces.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Gfx => c"gfx",
            Self::Compute(queue) => Self::COMPUTE[usize::from(queue)],
            Self::Sdma(engine) => Self::SDMA[usize::from(engine)],
        }
    }

    /// Returns the part of the card that has to be reset if the ring hangs.
    pub(crate) const fn block(self) -> Block {
        match self {
            Self::Gfx | Self::Compute(_) => Block::Graphics,
            Self::Sdma(engine) => Block::Sdma(engine),
        }
    }

    /// Returns the ring's place in tables of rings.
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Gfx => 0,
            Self::Compute(queue) => 1 + usize::from(queue),
            Self::Sdma(engine) => 1 + Self::COMPUTE.len() + usize::from(engine),
        }
    }
}

/// A part of the card that is reset as a whole, while the rest of the card goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Both command processors, graphics and compute, and the shaders behind them.
    Graphics,
    /// A DMA engine.
    Sdma(u8),
}

impl Block {
    /// Returns the block's name for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Graphics => "graphics",
            Self::Sdma(0) => "the first DMA engine",
            Self::Sdma(_) => "the second DMA engine",
        }
    }
}

/// log2 of the size of a ring in dwords.
pub(crate) const RING_SHIFT: u32 = 13;
/// Size of a ring in dwords.
pub(crate) const RING_DWORDS: usize = 1 << RING_SHIFT;
/// Bits of a position that are its place in the ring.
pub(crate) const RING_MASK: u32 = (1 << RING_SHIFT) - 1;
/// Size of the longest submission in dwords, including padding.
pub(crate) const MAX_SUBMISSION_DWORDS: u32 = 1024;

/// Location of a ring and its write-back slots in the GPU's address space (context 0).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingMemory {
    pub(crate) base: u64,
    /// Address to which the engine writes how far it has read.
    pub(crate) read_pointer: u64,
    /// Address from which an engine may read how far the kernel has written.
    pub(crate) write_pointer: u64,
}

/// A virtual memory context (VMID) that is lent to a job, 1 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vmid(u8);

impl Vmid {
    /// Returns the context with this number, or `None` if there is none. 0 is the kernel's own.
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

/// Need for a flush of the context's cached translations (the C driver's `vm_needs_flush`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Needed,
    NotNeeded,
}

/// Address space of a submission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmState {
    pub(crate) vmid: Vmid,
    /// Address of the page directory in the GPU's address space.
    pub(crate) pd_addr: u64,
    pub(crate) flush: Flush,
    /// On-chip memory that the context gets with the flush. `None`: it keeps what it has, or its
    /// job has no use for any.
    pub(crate) on_chip: Option<OnChip>,
    /// Number of the process (PASID), which its interrupts carry.
    pub(crate) pasid: u16,
}

/// An indirect buffer (IB): commands called from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ib {
    /// Address in the submission's address space, a multiple of 4.
    pub(crate) va: u64,
    /// Length, at most [`Ib::MAX_DWORDS`].
    pub(crate) dwords: u32,
}

impl Ib {
    /// Largest value of the length field of the packets.
    pub(crate) const MAX_DWORDS: u32 = (1 << 20) - 1;
}

/// Write that tells user space that its job is done (the C driver's user fence).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FenceSlot {
    /// Address in the GPU's address space (context 0).
    pub(crate) gpu_addr: u64,
    pub(crate) value: u64,
}

/// Memory to fill with a repeated dword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Address in the GPU's own address space (context 0), a multiple of 4.
    pub(crate) addr: u64,
    /// Length, a multiple of 4, at most [`Fill::MAX_BYTES`].
    pub(crate) bytes: u64,
    pub(crate) value: u32,
}

impl Fill {
    /// Largest fill of one submission: its packets fit into [`MAX_SUBMISSION_DWORDS`].
    pub(crate) const MAX_BYTES: u64 = 256 << 20;
}

/// Bytes to copy in the GPU's own address space (context 0).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer<'a> {
    /// Address of the source, a multiple of the page size.
    pub(crate) from: u64,
    /// Address of the destination, a multiple of the page size.
    pub(crate) to: u64,
    /// Length, a multiple of the page size, at most [`Transfer::MAX_BYTES`].
    pub(crate) bytes: u64,
    /// System pages at one of the two addresses, if they are there for the copy only.
    pub(crate) window: Option<GartWindow<'a>>,
}

impl Transfer<'_> {
    /// Largest copy of one submission: its packets fit into [`MAX_SUBMISSION_DWORDS`].
    pub(crate) const MAX_BYTES: u64 = 64 << 20;
}

/// System pages that a submission shows in a part of the GART window that is its ring's own. The
/// submission maps them before it copies, and unmaps them before its fence: whoever waits for the
/// fence may free them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GartWindow<'a> {
    /// Address of the page-table entry of the first page.
    pub(crate) table: u64,
    /// Page-table entries, at most [`GartWindow::PAGES`].
    pub(crate) entries: &'a [u64],
}

impl GartWindow<'_> {
    /// Largest number of pages: their entries fit into [`MAX_SUBMISSION_DWORDS`].
    pub(crate) const PAGES: usize = 384;
}

/// Page-table entries, each like the one before it, but for the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryRun {
    /// Address of the first entry in the GPU's own address space (context 0), a multiple of 8.
    pub(crate) addr: u64,
    /// The first entry.
    pub(crate) first: u64,
    /// Number of entries, at most [`EntryRun::MAX_COUNT`].
    pub(crate) count: u32,
}

impl EntryRun {
    /// Largest number of entries of one run.
    pub(crate) const MAX_COUNT: u32 = 0x3_ffff;
    /// Largest number of runs of one submission: their packets fit into
    /// [`MAX_SUBMISSION_DWORDS`].
    pub(crate) const MOST: usize = 92;
}

/// Commands of a submission.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Commands<'a> {
    /// Execute these IBs, one after the other.
    Ibs(&'a [Ib]),
    /// Fill memory. DMA engines only.
    Fill(Fill),
    /// Copy memory. DMA engines only.
    Transfer(Transfer<'a>),
    /// Write page-table entries. DMA engines only.
    Entries(&'a [EntryRun]),
    /// Fill a part of the global data share with zeros. Compute queues only.
    ClearGds(OnChipRange),
    /// Execute nothing. The submission cannot run; it ends with this error when its turn comes.
    Fail(Error),
}

impl Commands<'_> {
    /// Returns the result of the submission, if the engine gets to its end.
    pub(crate) fn result(&self) -> Result {
        match self {
            Self::Ibs(_)
            | Self::Fill(_)
            | Self::Transfer(_)
            | Self::Entries(_)
            | Self::ClearGds(_) => Ok(()),
            Self::Fail(error) => Err(*error),
        }
    }
}

/// A submission to a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission<'a> {
    /// Address space, or `None` for the kernel's own context.
    pub(crate) vm: Option<VmState>,
    pub(crate) commands: Commands<'a>,
    pub(crate) user_fence: Option<FenceSlot>,
}

impl Submission<'_> {
    /// Returns the number of the context in which the IBs run.
    pub(crate) fn vmid(&self) -> u8 {
        self.vm.map_or(0, |vm| vm.vmid.get())
    }

    /// Returns the address space, if its context's cached translations must be flushed.
    pub(crate) fn vm_to_flush(&self) -> Option<&VmState> {
        self.vm.as_ref().filter(|vm| vm.flush == Flush::Needed)
    }
}

/// Write by which an engine reports its progress (the C driver's hardware fence).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FenceWrite {
    pub(crate) gpu_addr: u64,
    pub(crate) seq: u32,
}

/// Memory by which the kernel knows what a ring's engine has begun, and keeps it from beginning
/// more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// Address to which the engine writes a submission's number just before its commands.
    pub(crate) begun: u64,
    /// Address of the gate, which has to hold [`Marks::OPEN`] for commands to begin.
    pub(crate) gate: u64,
    /// Address of a dword by which an engine sees that its own writes have arrived.
    pub(crate) settled: u64,
}

impl Marks {
    /// Value of an open gate.
    pub(crate) const OPEN: u32 = 1;
    /// Value of a gate that is shut.
    pub(crate) const SHUT: u32 = 0;
}

/// Value that a fence writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FenceValue {
    Dword(u32),
    Qword(u64),
}

impl FenceValue {
    /// Returns the number before this one.
    pub(crate) fn before(self) -> Self {
        match self {
            Self::Dword(value) => Self::Dword(value.wrapping_sub(1)),
            Self::Qword(value) => Self::Qword(value.wrapping_sub(1)),
        }
    }
}

/// Choice of an interrupt once the fence's write has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    No,
    Yes,
}

/// Destination of commands.
pub(crate) trait Sink {
    /// Appends dwords.
    fn put(&mut self, dwords: &[u32]);

    /// Returns the number of dwords ever put here before.
    fn position(&self) -> u64;
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
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
