// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rings: how the kernel hands commands to an engine.
//!
//! A ring is a circular buffer of dwords that the kernel writes and one engine reads. A submission
//! is written whole, then the engine is told the new write pointer. Its last command writes the
//! submission's number to the ring's write-back slot and raises an interrupt: all submissions up
//! to that number are done. Numbers are 32 bits wide, rise by one, and wrap.
//!
//! There is always room: at most [`Ring::MAX_SUBMISSIONS`] may be unfinished at a time (whoever
//! queues jobs sees to that), and none is longer than [`MAX_SUBMISSION_DWORDS`].
//!
//! Lock order: a ring's lock is taken last but for its timeline's; nothing is allocated and nobody
//! sleeps under it.

use kernel::{
    device::{
        self,
        Bound, //
    },
    dma::CoherentView,
    io::{
        io_write,
        poll::read_poll_timeout, //
    },
    new_spinlock,
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            self,
            mb, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        msecs_to_jiffies,
        Delta,
        Msecs, //
    },
};

use crate::{
    abstractions::dma_fence::{
        Fence,
        Interruptible,
        Waited, //
    },
    exec::{
        fence::{
            HwFence,
            Timeline, //
        },
        gart::{
            Gart,
            KernelBuffer, //
        },
    },
    hw::{
        card::CardHandle,
        Engine,
        FenceWrite,
        Generation, //
    },
};

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingKind {
    /// Graphics.
    Gfx,
    /// A compute queue, 0 to 7.
    Compute(u8),
    /// A DMA engine, 0 or 1.
    Sdma(u8),
}

impl RingKind {
    /// Number of compute queues.
    pub(crate) const COMPUTE: u8 = 8;
    /// Number of DMA engines.
    pub(crate) const SDMA: u8 = 2;
    /// Number of rings.
    pub(crate) const COUNT: usize = 1 + Self::COMPUTE as usize + Self::SDMA as usize;

    /// Every ring, by index.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Gfx,
        Self::Compute(0),
        Self::Compute(1),
        Self::Compute(2),
        Self::Compute(3),
        Self::Compute(4),
        Self::Compute(5),
        Self::Compute(6),
        Self::Compute(7),
        Self::Sdma(0),
        Self::Sdma(1),
    ];

    /// What the ring is called in messages and traces.
    pub(crate) fn name(self) -> &'static CStr {
        const NAMES: [&CStr; RingKind::COUNT] = [
            c"gfx",
            c"compute0",
            c"compute1",
            c"compute2",
            c"compute3",
            c"compute4",
            c"compute5",
            c"compute6",
            c"compute7",
            c"sdma0",
            c"sdma1",
        ];
        NAMES[self.index()]
    }

    /// Whether the engine behind the ring is one that can do this.
    fn can(self, commands: &Commands<'_>) -> bool {
        match commands {
            Commands::Ibs(_) | Commands::Fail(_) => true,
            Commands::Fill(fill) => matches!(self, Self::Sdma(_)) && fill.bytes <= Fill::MAX_BYTES,
        }
    }

    /// The ring's place among all.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Gfx => 0,
            Self::Compute(queue) => 1 + usize::from(queue),
            Self::Sdma(engine) => 1 + usize::from(Self::COMPUTE) + usize::from(engine),
        }
    }
}

/// log2 of the size of a ring in dwords.
pub(crate) const RING_SHIFT: u32 = 13;
/// Size of a ring in dwords.
pub(crate) const RING_DWORDS: usize = 1 << RING_SHIFT;
/// What of a position is its place in the ring.
pub(crate) const RING_MASK: u32 = (1 << RING_SHIFT) - 1;
/// How long a test of a ring may take.
const TEST_MILLISECONDS: Msecs = 2000;
/// Size of the longest submission in dwords, padding included.
pub(crate) const MAX_SUBMISSION_DWORDS: u32 = 1024;

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

/// The write by which user space sees that its job is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserFence {
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
    fn result(&self) -> Result {
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
    pub(crate) user_fence: Option<UserFence>,
}

impl Submission<'_> {
    /// Number of the context that the buffers run in.
    pub(crate) fn vmid(&self) -> u8 {
        self.vm.map_or(0, |vm| vm.vmid.get())
    }
}

impl<'a> Submission<'a> {
    /// The buffers to execute.
    pub(crate) fn ibs(&self) -> &'a [Ib] {
        match self.commands {
            Commands::Ibs(ibs) => ibs,
            Commands::Fill(_) | Commands::Fail(_) => &[],
        }
    }
}

/// What each ring has in the write-back page.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Slot {
    /// Number of the last finished submission.
    Fence = 0,
    /// How far the engine has read.
    ReadPointer = 2,
    /// How far the kernel has written, for engines that look here.
    WritePointer = 4,
    /// For the kernel's tests of the engine.
    Scratch = 6,
}

/// The page to which all engines write back how far they got.
pub(crate) struct Writeback(KernelBuffer);

impl Writeback {
    /// Dwords of each ring.
    const STRIDE: usize = 16;

    pub(crate) fn new(dev: &device::Device<Bound>, gart: &Gart) -> Result<Self> {
        let size = RingKind::COUNT * Self::STRIDE * size_of::<u32>();
        Ok(Self(KernelBuffer::new(dev, gart, size)?))
    }

    fn index(kind: RingKind, slot: Slot) -> usize {
        kind.index() * Self::STRIDE + slot as usize
    }

    fn gpu_addr(&self, kind: RingKind, slot: Slot) -> u64 {
        self.0.gpu_addr() + usize_as_u64(Self::index(kind, slot) * size_of::<u32>())
    }
}

/// A ring and its state.
#[pin_data]
pub(crate) struct Ring {
    pub(crate) kind: RingKind,
    engine: &'static dyn Engine,
    card: CardHandle,
    buffer: KernelBuffer,
    writeback: Arc<Writeback>,
    /// What was submitted, and is not finished.
    #[pin]
    pub(crate) timeline: Timeline,
    /// What [`Ring::look`] saw last.
    looked_at: Atomic<u32>,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    /// Where the next dword goes; not wrapped.
    write_pointer: u64,
}

impl Ring {
    /// How many unfinished submissions a ring has room for. One more fits, which is what may still
    /// be executing the padding behind its fence.
    pub(crate) const MAX_SUBMISSIONS: u32 = (1 << RING_SHIFT) / MAX_SUBMISSION_DWORDS - 1;

    pub(crate) fn new<'a>(
        kind: RingKind,
        hw: &'static Generation,
        card: CardHandle,
        dev: &'a device::Device<Bound>,
        gart: &'a Gart,
        writeback: Arc<Writeback>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            kind,
            engine: hw.engine(*kind),
            card,
            buffer: KernelBuffer::new(dev, gart, RING_DWORDS * size_of::<u32>())?,
            writeback,
            timeline <- Timeline::new(kind.name(), u32_as_usize(Self::MAX_SUBMISSIONS)),
            looked_at: Atomic::new(0),
            state <- new_spinlock!(State { write_pointer: 0 }),
        })
    }

    /// Address of the ring in the GPU's address space (context 0).
    pub(crate) fn gpu_addr(&self) -> u64 {
        self.buffer.gpu_addr()
    }

    /// Where the engine reports how far it has read.
    pub(crate) fn read_pointer_addr(&self) -> u64 {
        self.writeback.gpu_addr(self.kind, Slot::ReadPointer)
    }

    /// Where an engine may look for how far the kernel has written.
    pub(crate) fn write_pointer_addr(&self) -> u64 {
        self.writeback.gpu_addr(self.kind, Slot::WritePointer)
    }

    /// Queues a submission; the fence ends when the engine has finished it, after all fences of
    /// earlier submissions.
    ///
    /// Never fails: what the engine cannot do is [`Commands::Fail`], and if the ring was given up the
    /// fence ends with an error, in its turn as well. Does not allocate, and sleeps only if there is no
    /// room, which whoever queues jobs sees to (see the head of this file).
    pub(crate) fn submit(&self, submission: &Submission<'_>, mut fence: HwFence) -> ARef<Fence> {
        let mut submission = *submission;
        if !self.kind.can(&submission.commands) {
            submission.commands = Commands::Fail(EINVAL);
        }
        loop {
            match self.try_submit(&submission, fence) {
                Ok(fence) => return fence,
                Err(unused) => fence = unused,
            }
            self.timeline.wait_for_room();
        }
    }

    /// Queues a submission, or gives the fence back if there is no room.
    fn try_submit(
        &self,
        submission: &Submission<'_>,
        fence: HwFence,
    ) -> Result<ARef<Fence>, HwFence> {
        let mut state = self.state.lock();
        let emission = self.timeline.emit(fence, submission.commands.result())?;
        match emission.seq {
            Some(seq) => {
                let fence = FenceWrite {
                    gpu_addr: self.writeback.gpu_addr(self.kind, Slot::Fence),
                    seq,
                };
                self.write(&mut state, |ring| {
                    self.engine
                        .emit_submission(ring, self.kind, submission, fence)
                });
            }
            None => {
                drop(state);
                self.timeline.end_late();
            }
        }
        Ok(emission.fence)
    }

    /// Executes commands that have no fence. For bring-up, while nobody else uses the ring.
    pub(crate) fn emit(&self, emit: impl FnOnce(&mut Writer<'_>)) {
        self.write(&mut self.state.lock(), emit);
    }

    /// Sees whether the engine executes commands, writes fences, and interrupts. What fails is said
    /// in the log.
    pub(crate) fn test(&self, dev: &device::Device) -> Result {
        let name = self.kind.name();
        self.test_write().inspect_err(|e| {
            dev_err!(
                dev,
                "ring {name} does not execute commands ({e:?}); it read up to dword {:#x}\n",
                self.read_pointer()
            )
        })?;
        self.test_fence().inspect_err(|e| {
            let what = match self.completed_seq() {
                0 => "does not write fences",
                _ => "writes fences, but its interrupt does not come",
            };
            dev_err!(dev, "ring {name} {what} ({e:?})\n")
        })
    }

    /// Lets the engine write to memory, and waits for that.
    fn test_write(&self) -> Result {
        const VALUE: u32 = 0xdead_beef;
        let index = Writeback::index(self.kind, Slot::Scratch);
        let addr = self.writeback.gpu_addr(self.kind, Slot::Scratch);
        self.writeback.0.write(index, !VALUE);
        self.emit(|ring| self.engine.emit_write(ring, addr, VALUE));
        read_poll_timeout(
            || self.writeback.0.read(index).ok_or(ENODEV),
            |value| *value == VALUE,
            Delta::from_micros(50),
            Delta::from_millis(TEST_MILLISECONDS.into()),
        )?;
        Ok(())
    }

    /// Submits nothing at all, and waits for its fence.
    fn test_fence(&self) -> Result {
        let submission = Submission {
            vm: None,
            commands: Commands::Ibs(&[]),
            user_fence: None,
        };
        let fence = self.submit(&submission, HwFence::new(GFP_KERNEL)?);
        let timeout = msecs_to_jiffies(TEST_MILLISECONDS);
        match fence.wait_timeout(Interruptible::No, timeout)? {
            Waited::Done => fence.status().unwrap_or(Err(ETIMEDOUT)),
            Waited::TimedOut => Err(ETIMEDOUT),
        }
    }

    /// How far the engine says that it has read, in the units of its kind.
    fn read_pointer(&self) -> u32 {
        let slot = Writeback::index(self.kind, Slot::ReadPointer);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Signals the fences of what the engine has finished. Called when it says that it has finished
    /// something; sleeps.
    pub(crate) fn process(&self) {
        self.timeline.process(self.completed_seq());
    }

    /// Looks whether the engine has finished something that no interrupt has told of since the last
    /// look, and signals that. Returns how many submissions there were; sleeps.
    pub(crate) fn look(&self) -> usize {
        let completed = self.completed_seq();
        let stood_still = self.looked_at.xchg(completed, Relaxed) == completed;
        if stood_still && self.timeline.is_behind(completed) {
            return self.timeline.process(completed);
        }
        0
    }

    /// Number of the last submission that the engine has finished.
    pub(crate) fn completed_seq(&self) -> u32 {
        let slot = Writeback::index(self.kind, Slot::Fence);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Lets `emit` write commands, pads them as the engine wants it, and sets the engine going.
    fn write(&self, state: &mut State, emit: impl FnOnce(&mut Writer<'_>)) {
        let written = self.buffer.with(|memory| {
            let mut writer = Writer {
                memory,
                position: state.write_pointer,
            };
            emit(&mut writer);
            // CAST: Less than the alignment.
            let unaligned = (writer.position % u64::from(Self::ALIGNMENT)) as u32;
            if unaligned != 0 {
                let padding = Self::ALIGNMENT - unaligned;
                self.engine.emit_nops(&mut writer, padding);
            }
            writer.position
        });
        let (Some(position), Some(card)) = (written, self.card.try_access()) else {
            // The driver is unbound: nobody will execute this, and the fence is failed elsewhere.
            return;
        };
        state.write_pointer = position;
        // The commands must be in memory before the engine hears of them.
        mb(barrier::Write);
        self.engine.kick(&card, self.kind, position);
    }

    /// Dwords that the write pointer is kept a multiple of.
    const ALIGNMENT: u32 = 16;
}

/// Where commands are written to.
pub(crate) trait Sink {
    /// Appends dwords.
    fn put(&mut self, dwords: &[u32]);

    /// Number of dwords that were put there before, ever.
    fn position(&self) -> u64;
}

/// Writes commands into a ring.
pub(crate) struct Writer<'a> {
    memory: CoherentView<'a, [u32]>,
    position: u64,
}

impl Sink for Writer<'_> {
    fn put(&mut self, dwords: &[u32]) {
        for dword in dwords {
            // CAST: The kernel is one of 64 bits.
            let index = self.position as usize % RING_DWORDS;
            let _ = self.store(index, *dword);
            self.position += 1;
        }
    }

    fn position(&self) -> u64 {
        self.position
    }
}

impl Writer<'_> {
    fn store(&self, index: usize, value: u32) -> Result {
        io_write!(self.memory, [try: index], value);
        Ok(())
    }
}

#[kunit_tests(amdgpu_rs_ring)]
mod tests {
    use super::*;

    #[test]
    fn indices() {
        for (index, kind) in RingKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn fills_are_for_dma_engines() {
        let fill = |bytes| {
            Commands::Fill(Fill {
                addr: 0,
                bytes,
                value: 0,
            })
        };
        for kind in RingKind::ALL {
            let is_dma = matches!(kind, RingKind::Sdma(_));
            assert_eq!(kind.can(&fill(Fill::MAX_BYTES)), is_dma);
            assert!(!kind.can(&fill(Fill::MAX_BYTES + 4)));
            assert!(kind.can(&Commands::Ibs(&[])));
            assert!(kind.can(&Commands::Fail(EIO)));
        }
    }

    #[test]
    fn vmids() {
        assert!(Vmid::new(0).is_none());
        assert_eq!(Vmid::new(1).map(Vmid::get), Some(1));
        assert_eq!(Vmid::new(15).map(Vmid::get), Some(15));
        assert!(Vmid::new(16).is_none());
    }

    #[test]
    fn write_back_slots_do_not_overlap() {
        assert!(Slot::Scratch as usize + 2 <= Writeback::STRIDE);
    }
}
