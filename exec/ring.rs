// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rings: how the kernel hands commands to an engine.
//!
//! The C driver has this in amdgpu_ring.c (`amdgpu_ring`, `amdgpu_ring_commit`).
//!
//! A ring is a circular buffer of dwords that the kernel writes and one engine reads. A submission
//! is written as a whole, and then the engine is told the new write pointer. Its last command
//! writes the submission's number to the ring's write-back slot and raises an interrupt: all
//! submissions up to that number are done. Numbers are 32 bits wide, rise by one, and wrap.
//!
//! There is always room: at most [`Ring::MAX_SUBMISSIONS`] may be unfinished at a time (the
//! scheduler's credits ensure that), and none is longer than [`MAX_SUBMISSION_DWORDS`].
//!
//! Lock order: of all locks but its timeline's, a ring's lock is taken last. Nothing is allocated
//! and nobody sleeps under it.

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
        command::{
            Commands,
            FenceWrite,
            RingId,
            RingMemory,
            Sink,
            Submission,
            MAX_SUBMISSION_DWORDS,
            RING_DWORDS,
            RING_SHIFT, //
        },
        Chip,
        Engine, //
    },
};

/// Longest time that a test of a ring may take, in ms.
const TEST_MILLISECONDS: Msecs = 2000;

/// The slots of each ring in the write-back page.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Slot {
    /// Number of the last finished submission.
    Fence = 0,
    /// The engine's read pointer.
    ReadPointer = 2,
    /// The kernel's write pointer, for engines that poll it here.
    WritePointer = 4,
    /// Slot for the kernel's tests of the engine.
    Scratch = 6,
}

/// The page to which all engines write back their progress.
pub(crate) struct Writeback(KernelBuffer);

impl Writeback {
    /// Distance between the slots of two rings, in dwords.
    const STRIDE: usize = 16;

    pub(crate) fn new(dev: &device::Device<Bound>, gart: &Gart) -> Result<Self> {
        let size = RingId::PLACES * Self::STRIDE * size_of::<u32>();
        Ok(Self(KernelBuffer::new(dev, gart, size)?))
    }

    fn index(kind: RingId, slot: Slot) -> usize {
        kind.place() * Self::STRIDE + slot as usize
    }

    fn gpu_addr(&self, kind: RingId, slot: Slot) -> u64 {
        self.0.gpu_addr() + usize_as_u64(Self::index(kind, slot) * size_of::<u32>())
    }
}

/// A ring and its state.
#[pin_data]
pub(crate) struct Ring {
    pub(crate) kind: RingId,
    engine: &'static dyn Engine,
    card: CardHandle,
    buffer: KernelBuffer,
    writeback: Arc<Writeback>,
    /// Submissions that are not finished.
    #[pin]
    pub(crate) timeline: Timeline,
    /// Completed number that [`Ring::look`] saw last.
    looked_at: Atomic<u32>,
    #[pin]
    state: SpinLock<State>,
}

struct State {
    /// Position of the next dword; not wrapped.
    write_pointer: u64,
}

impl Ring {
    /// Number of unfinished submissions that a ring has room for. One more fits: the one that may
    /// still be executing the padding behind its fence.
    pub(crate) const MAX_SUBMISSIONS: u32 = (1 << RING_SHIFT) / MAX_SUBMISSION_DWORDS - 1;

    pub(crate) fn new<'a>(
        kind: RingId,
        hw: &'static Chip,
        card: CardHandle,
        dev: &'a device::Device<Bound>,
        gart: &'a Gart,
        writeback: Arc<Writeback>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            kind,
            engine: hw.engine(kind.engine()).driver,
            card,
            buffer: KernelBuffer::new(dev, gart, RING_DWORDS * size_of::<u32>())?,
            writeback,
            timeline <- Timeline::new(kind.name(), u32_as_usize(Self::MAX_SUBMISSIONS)),
            looked_at: Atomic::new(0),
            state <- new_spinlock!(State { write_pointer: 0 }),
        })
    }

    /// Returns the addresses of the ring and its pointers.
    pub(crate) fn memory(&self) -> RingMemory {
        RingMemory {
            base: self.buffer.gpu_addr(),
            read_pointer: self.writeback.gpu_addr(self.kind, Slot::ReadPointer),
            write_pointer: self.writeback.gpu_addr(self.kind, Slot::WritePointer),
        }
    }

    /// Queues a submission. Its fence ends when the engine has finished it, after all fences of
    /// earlier submissions.
    ///
    /// Never fails: commands that the engine cannot execute become [`Commands::Fail`], and if the
    /// ring was given up, the fence ends with an error, in its turn as well. Does not allocate.
    /// Sleeps only if there is no room, which the scheduler's credits prevent (see the head of this
    /// file).
    pub(crate) fn submit(&self, submission: &Submission<'_>, mut fence: HwFence) -> ARef<Fence> {
        let mut submission = *submission;
        if !self.engine.can(&submission.commands) {
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

    /// Queues a submission, or returns the fence memory if there is no room.
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
                self.write(&mut state, |out| {
                    self.engine
                        .emit_submission(out, self.kind, submission, fence)
                });
            }
            None => {
                drop(state);
                self.timeline.end_late();
            }
        }
        Ok(emission.fence)
    }

    /// Executes commands without a fence. For bring-up, while nobody else uses the ring.
    pub(crate) fn emit(&self, emit: impl FnOnce(&mut Writer<'_>)) {
        self.write(&mut self.state.lock(), emit);
    }

    /// Tests that the engine executes commands, writes fences, and interrupts. Logs the step that
    /// fails.
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

    /// Has the engine write to memory, and waits for the value.
    fn test_write(&self) -> Result {
        const VALUE: u32 = 0xdead_beef;
        let index = Writeback::index(self.kind, Slot::Scratch);
        let addr = self.writeback.gpu_addr(self.kind, Slot::Scratch);
        self.writeback.0.write(index, !VALUE);
        self.emit(|out| self.engine.write(out, addr, VALUE));
        read_poll_timeout(
            || self.writeback.0.read(index).ok_or(ENODEV),
            |value| *value == VALUE,
            Delta::from_micros(50),
            Delta::from_millis(TEST_MILLISECONDS.into()),
        )?;
        Ok(())
    }

    /// Submits no commands at all, and waits for the fence.
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

    /// Returns the read pointer that the engine reports, in the units of its kind.
    fn read_pointer(&self) -> u32 {
        let slot = Writeback::index(self.kind, Slot::ReadPointer);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Signals the fences of finished submissions. Called when the engine reports progress; sleeps.
    pub(crate) fn process(&self) {
        self.timeline.process(self.completed_seq());
    }

    /// Signals the fences of submissions that the engine had finished by the last look, but that no
    /// interrupt has reported since. Returns the number of fences signaled; sleeps.
    pub(crate) fn look(&self) -> usize {
        let completed = self.completed_seq();
        let stood_still = self.looked_at.xchg(completed, Relaxed) == completed;
        if stood_still && self.timeline.is_behind(completed) {
            return self.timeline.process(completed);
        }
        0
    }

    /// Returns the number of the last submission that the engine has finished.
    pub(crate) fn completed_seq(&self) -> u32 {
        let slot = Writeback::index(self.kind, Slot::Fence);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Has `emit` write commands, pads them to the ring's alignment, and tells the engine to run
    /// them.
    fn write(&self, state: &mut State, emit: impl FnOnce(&mut Writer<'_>)) {
        let written = self.buffer.with(|memory| {
            let mut writer = Writer {
                memory,
                position: state.write_pointer,
            };
            emit(&mut writer);
            // CAST: The remainder is less than the alignment.
            let unaligned = (writer.position % u64::from(Self::ALIGNMENT)) as u32;
            if unaligned != 0 {
                let padding = Self::ALIGNMENT - unaligned;
                self.engine.nops(&mut writer, padding);
            }
            writer.position
        });
        let (Some(position), Some(card)) = (written, self.card.try_access()) else {
            // The driver is unbound: no engine executes this, and its fence is failed elsewhere.
            return;
        };
        state.write_pointer = position;
        // The commands must be in memory before the engine hears of them.
        mb(barrier::Write);
        self.engine.kick(&card, self.kind, position);
    }

    /// Alignment of the write pointer, in dwords.
    const ALIGNMENT: u32 = 16;
}

/// A writer of commands into a ring.
pub(crate) struct Writer<'a> {
    memory: CoherentView<'a, [u32]>,
    position: u64,
}

impl Sink for Writer<'_> {
    fn put(&mut self, dwords: &[u32]) {
        for dword in dwords {
            // CAST: The kernel is a 64-bit one.
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
    fn write_back_slots_do_not_overlap() {
        assert!(Slot::Scratch as usize + 2 <= Writeback::STRIDE);
    }
}
