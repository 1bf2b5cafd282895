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
//! # After a reset
//!
//! An engine that was reset begins at the start of its ring. The submissions that it has not
//! finished are still in the ring's memory, in any place. So a ring has two buffers: the engine
//! gets the other one, into which the submissions are copied, in their order and with their
//! numbers. Commands that may not run are replaced by ones that do nothing.
//!
//! There is always room: at most [`Ring::MAX_SUBMISSIONS`] may be unfinished at a time (the
//! scheduler's credits ensure that), and none is longer than [`MAX_SUBMISSION_DWORDS`].
//!
//! Lock order: of all locks but its timeline's, a ring's lock is taken last. Nothing is allocated
//! and nobody sleeps under it.

mod capture;

pub(crate) use self::capture::Captured;

use core::ops::Range;

use kernel::{
    device::{
        self,
        Bound, //
    },
    dma::CoherentView,
    io::{
        io_read,
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
            AtomicFlag,
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
            Progress,
            Span,
            Timeline, //
        },
        fence_pages::FencePages,
        gart::{
            Gart,
            GartRange,
            KernelBuffer, //
        },
        verdict::{
            Head,
            Party, //
        },
    },
    hw::{
        card::CardHandle,
        command::{
            Commands,
            EngineKind,
            FenceWrite,
            GartWindow,
            Marks,
            RingId,
            RingMemory,
            Sink,
            Submission,
            Vmid,
            MAX_SUBMISSION_DWORDS,
            RING_DWORDS,
            RING_SHIFT, //
        },
        engine::Engine,
        Chip,
        Stopped, //
    },
};

/// Longest time that a test of a ring may take, in ms.
const TEST_MILLISECONDS: Msecs = 2000;

/// The slots of each ring in the write-back page.
#[derive(Clone, Copy)]
#[repr(usize)]
enum WritebackSlot {
    /// Number of the last finished submission.
    Fence = 0,
    /// The engine's read pointer.
    ReadPointer = 2,
    /// The kernel's write pointer, for engines that poll it here.
    WritePointer = 4,
    /// Slot for the kernel's tests of the engine.
    Scratch = 6,
    /// Number of the last submission whose commands have begun.
    Begun = 8,
    /// The gate, which has to be open for commands to begin.
    Gate = 10,
    /// Slot for the engine's waits for its own writes.
    Settled = 12,
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

    fn index(kind: RingId, slot: WritebackSlot) -> usize {
        kind.place() * Self::STRIDE + slot as usize
    }

    fn gpu_addr(&self, kind: RingId, slot: WritebackSlot) -> u64 {
        self.0.gpu_addr() + usize_as_u64(Self::index(kind, slot) * size_of::<u32>())
    }
}

/// A ring and its state.
#[pin_data]
pub(crate) struct Ring {
    pub(crate) kind: RingId,
    engine: &'static dyn Engine,
    card: CardHandle,
    /// The engine reads one of these. The other one is for the time after a reset.
    buffers: [KernelBuffer; 2],
    writeback: Arc<Writeback>,
    /// The part of the GART window through which a DMA engine copies system memory.
    window: Option<GartRange>,
    /// Pages of the GART window for user fences.
    pub(crate) fence_pages: Arc<FencePages>,
    /// Submissions that are not finished.
    #[pin]
    pub(crate) timeline: Timeline,
    /// Completed number that [`Ring::look`] saw last.
    looked_at: Atomic<u32>,
    /// Number of the last submission that was finished at the last interrupt.
    reported: Atomic<u32>,
    /// Set if the engine has met an illegal command.
    suspect: AtomicFlag,
    /// Set if the ring has failed its test, so that it gets no jobs.
    left_out: AtomicFlag,
    #[pin]
    state: SpinLock<State>,
}

/// Results of a ring's test. No step is tried after one that failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tested {
    /// The engine executes commands.
    pub(crate) write: bool,
    /// The engine writes fences.
    pub(crate) fence: bool,
    /// The engine's interrupt arrives.
    pub(crate) interrupt: bool,
}

struct State {
    /// Position of the next dword; not wrapped.
    write_pointer: u64,
    /// Index of the buffer that the engine reads.
    active: usize,
    /// Index of the buffer that has the unfinished submissions. It is another one only between
    /// [`Ring::restart`] and [`Ring::replay`].
    home: usize,
}

impl State {
    /// Returns the index of the buffer that has no unfinished submissions.
    fn free(&self) -> usize {
        1 - self.home
    }
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
            buffers: [
                KernelBuffer::new(dev, gart, RING_DWORDS * size_of::<u32>())?,
                KernelBuffer::new(dev, gart, RING_DWORDS * size_of::<u32>())?,
            ],
            writeback: {
                writeback.0.write(Writeback::index(*kind, WritebackSlot::Gate), Marks::OPEN);
                writeback
            },
            window: match kind.engine() {
                EngineKind::Sdma => Some(gart.reserve(GartWindow::PAGES)?),
                EngineKind::Gfx | EngineKind::Compute => None,
            },
            fence_pages: FencePages::new(gart, Self::MAX_SUBMISSIONS)?,
            timeline <- Timeline::new(kind.name(), u32_as_usize(Self::MAX_SUBMISSIONS)),
            looked_at: Atomic::new(0),
            reported: Atomic::new(0),
            left_out: AtomicFlag::new(false),
            suspect: AtomicFlag::new(false),
            state <- new_spinlock!(State {
                write_pointer: 0,
                active: 0,
                home: 0,
            }),
        })
    }

    /// Returns the ring's bit in sets of rings.
    pub(crate) fn bit(&self) -> u32 {
        1 << self.kind.place()
    }

    /// Returns the addresses of the ring and its pointers.
    pub(crate) fn memory(&self) -> RingMemory {
        RingMemory {
            base: self.buffers[self.state.lock().active].gpu_addr(),
            read_pointer: self
                .writeback
                .gpu_addr(self.kind, WritebackSlot::ReadPointer),
            write_pointer: self
                .writeback
                .gpu_addr(self.kind, WritebackSlot::WritePointer),
        }
    }

    /// Returns the part of the GART window that is this ring's own, if it has one.
    pub(crate) fn window(&self) -> Option<&GartRange> {
        self.window.as_ref()
    }

    /// Queues a submission. Its fence ends when the engine has finished it, after all fences of
    /// earlier submissions.
    ///
    /// Never fails: commands that the engine cannot execute become [`Commands::Fail`], and if the
    /// ring was given up, the fence ends with an error, in its turn as well. Does not allocate.
    /// Sleeps only if there is no room, which the scheduler's credits prevent (see the head of this
    /// file).
    pub(crate) fn submit(
        &self,
        submission: &Submission<'_>,
        mut fence: HwFence,
        mut party: Party,
    ) -> ARef<Fence> {
        let mut submission = *submission;
        if !self.engine.can(&submission.commands) {
            submission.commands = Commands::Fail(EINVAL);
        }
        loop {
            match self.try_submit(&submission, fence, party) {
                Ok(fence) => return fence,
                Err(unused) => (fence, party) = unused,
            }
            self.timeline.wait_for_room();
        }
    }

    /// Queues a submission, or returns the fence memory if there is no room.
    fn try_submit(
        &self,
        submission: &Submission<'_>,
        fence: HwFence,
        party: Party,
    ) -> Result<ARef<Fence>, (HwFence, Party)> {
        let mut state = self.state.lock();
        state.home = state.active;
        let result = submission.commands.result();
        let emission = self.timeline.emit(fence, party, result)?;
        match emission.seq {
            Some(seq) => {
                let fence = FenceWrite {
                    gpu_addr: self.writeback.gpu_addr(self.kind, WritebackSlot::Fence),
                    seq,
                };
                let marks = Marks {
                    begun: self.writeback.gpu_addr(self.kind, WritebackSlot::Begun),
                    gate: self.writeback.gpu_addr(self.kind, WritebackSlot::Gate),
                    settled: self.writeback.gpu_addr(self.kind, WritebackSlot::Settled),
                };
                let span = self.write(&mut state, |out| {
                    self.engine
                        .emit_submission(out, self.kind, submission, marks, fence)
                });
                if let Some(span) = span {
                    self.timeline.place(span);
                }
                self.kick(&state);
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
        let mut state = self.state.lock();
        self.write(&mut state, |out| {
            emit(out);
            0..0
        });
        self.kick(&state);
    }

    /// Tests that the engine executes commands, writes fences, and interrupts. Logs the step that
    /// fails. A ring that fails is left out from then on.
    pub(crate) fn test(&self, dev: &device::Device) -> Tested {
        let name = self.kind.name();
        let mut tested = Tested::default();
        let done = self.run_test(&mut tested).inspect_err(|e| match tested {
            Tested { write: false, .. } => dev_err!(
                dev,
                "ring {name} does not execute commands ({e:?}); it read up to dword {:#x}\n",
                self.read_pointer()
            ),
            Tested { fence: false, .. } => {
                dev_err!(dev, "ring {name} does not write fences ({e:?})\n")
            }
            _ => dev_err!(
                dev,
                "ring {name} writes fences, but its interrupt does not come ({e:?})\n"
            ),
        });
        self.left_out.store(done.is_err(), Relaxed);
        tested
    }

    /// Runs the steps of the test up to the first that fails.
    fn run_test(&self, tested: &mut Tested) -> Result {
        self.test_write()?;
        tested.write = true;
        let fence = self.test_fence()?;
        tested.fence = true;
        self.test_interrupt(&fence)?;
        tested.interrupt = true;
        Ok(())
    }

    /// Has the ring get no jobs. To be called before there are any.
    pub(crate) fn leave_out(&self) {
        self.left_out.store(true, Relaxed);
    }

    /// Returns true if the ring has failed its test, and gets no jobs.
    pub(crate) fn is_left_out(&self) -> bool {
        self.left_out.load(Relaxed)
    }

    /// Has the engine write to memory, and waits for the value.
    pub(crate) fn test_write(&self) -> Result {
        const VALUE: u32 = 0xdead_beef;
        let index = Writeback::index(self.kind, WritebackSlot::Scratch);
        let addr = self.writeback.gpu_addr(self.kind, WritebackSlot::Scratch);
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

    /// Submits no commands at all, and waits until the engine has written the fence.
    fn test_fence(&self) -> Result<ARef<Fence>> {
        let submission = Submission {
            vm: None,
            commands: Commands::Ibs(&[]),
            user_fence: None,
        };
        let before = self.completed_seq();
        let fence = self.submit(&submission, HwFence::new(GFP_KERNEL)?, Party::Kernel);
        read_poll_timeout(
            || Ok(self.completed_seq()),
            |completed| *completed != before,
            Delta::from_micros(50),
            Delta::from_millis(TEST_MILLISECONDS.into()),
        )?;
        Ok(fence)
    }

    /// Has the engine execute commands in the kernel's own context, and waits for it. For tests,
    /// while nobody else uses the ring.
    pub(crate) fn execute(&self, commands: Commands<'_>) -> Result {
        let submission = Submission {
            vm: None,
            commands,
            user_fence: None,
        };
        let fence = self.submit(&submission, HwFence::new(GFP_KERNEL)?, Party::Kernel);
        self.test_interrupt(&fence)
    }

    /// Waits until the interrupt has signaled a fence that is written.
    fn test_interrupt(&self, fence: &Fence) -> Result {
        let timeout = msecs_to_jiffies(TEST_MILLISECONDS);
        match fence.wait_timeout(Interruptible::No, timeout)? {
            Waited::Done => fence.status().unwrap_or(Err(ETIMEDOUT)),
            Waited::TimedOut => Err(ETIMEDOUT),
        }
    }

    /// Returns the read pointer that the engine reports, in the units of its kind.
    fn read_pointer(&self) -> u32 {
        let slot = Writeback::index(self.kind, WritebackSlot::ReadPointer);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Signals the fences of finished submissions. Called when the engine reports progress; sleeps.
    pub(crate) fn process(&self) {
        self.timeline.process(self.completed_seq());
    }

    /// Signals the fences of submissions that the engine has finished since the last call, if there
    /// are any. Called by one thread at a time; sleeps.
    pub(crate) fn process_news(&self) {
        let completed = self.completed_seq();
        // Whatever that number covers, the call before has dealt with.
        if self.reported.xchg(completed, Relaxed) != completed {
            self.timeline.process(completed);
        }
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
        let slot = Writeback::index(self.kind, WritebackSlot::Fence);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Returns the number of the last submission whose commands the engine has begun.
    pub(crate) fn begun_seq(&self) -> u32 {
        let slot = Writeback::index(self.kind, WritebackSlot::Begun);
        self.writeback.0.read(slot).unwrap_or(0)
    }

    /// Returns true if the engine is between two submissions, or behind the last one.
    pub(crate) fn is_between(&self) -> bool {
        self.begun_seq() == self.completed_seq()
    }

    /// Opens or shuts the gate: [`Marks::OPEN`], [`Marks::SHUT`].
    pub(crate) fn set_gate(&self, value: u32) {
        let slot = Writeback::index(self.kind, WritebackSlot::Gate);
        self.writeback.0.write(slot, value);
    }

    /// Notes that the engine has met an illegal command.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Relaxed);
    }

    /// Returns true if [`Ring::suspect`] was called since the last call of this.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.suspect.xchg(false, Relaxed)
    }

    /// Returns what is known of the oldest unfinished submission.
    pub(crate) fn head(&self) -> Option<Head> {
        self.timeline.head(self.begun_seq())
    }

    /// Fails the submission that the engine is in the middle of, if it runs in a context whose
    /// waves are about to be killed: see [`Timeline::interrupt`]. The gate is shut.
    pub(crate) fn interrupt(&self, vmid: Vmid) -> bool {
        self.timeline.interrupt(vmid, || Progress {
            begun: self.begun_seq(),
            completed: self.completed_seq(),
        })
    }

    /// Empties the ring for an engine that was reset. Nobody may submit before [`Ring::replay`], if
    /// there are unfinished submissions. May be called again before that, if the engine had to be
    /// reset again.
    pub(crate) fn restart(&self, _stopped: &Stopped) {
        let mut state = self.state.lock();
        state.active = state.free();
        state.write_pointer = 0;
    }

    /// Has the engine, which was reset and started again, execute the unfinished submissions,
    /// except for the commands of those that have failed. Returns how many run again, and how many
    /// do not.
    pub(crate) fn replay(&self, stopped: &Stopped) -> (usize, usize) {
        let mut state = self.state.lock();
        let from = &self.buffers[state.home];
        let counts = self.timeline.replay(
            |span, runs| {
                let copied = from.with(|old| self.copy(&mut state, old, span, runs));
                copied.flatten().unwrap_or_default()
            },
            stopped,
        );
        state.home = state.active;
        self.kick(&state);
        counts
    }

    /// Copies a submission to the end of the ring, without its commands unless it `runs`.
    fn copy(
        &self,
        state: &mut State,
        old: CoherentView<'_, [u32]>,
        span: &Span,
        runs: bool,
    ) -> Option<Span> {
        let skip = if runs { 0..0 } else { span.commands.clone() };
        self.write(state, |out| {
            let start = out.position();
            for position in span.start..span.end {
                if skip.contains(&position) {
                    self.engine.nops(out, 1);
                } else {
                    out.put(&[load(&old, position)]);
                }
            }
            let moved = |position: u64| position - span.start + start;
            moved(span.commands.start)..moved(span.commands.end)
        })
    }

    /// Has `emit` write commands, of which it returns the positions of the client's, and pads them
    /// to the ring's alignment. Returns the place of all that. The engine is not told yet.
    ///
    /// Returns `None` if the driver is unbound: no engine executes this, and its fence is failed
    /// elsewhere.
    fn write(
        &self,
        state: &mut State,
        emit: impl FnOnce(&mut Writer<'_>) -> Range<u64>,
    ) -> Option<Span> {
        let start = state.write_pointer;
        let span = self.buffers[state.active].with(|memory| {
            let mut writer = Writer {
                memory,
                position: start,
            };
            let commands = emit(&mut writer);
            // CAST: The remainder is less than the alignment.
            let unaligned = (writer.position % u64::from(Self::ALIGNMENT)) as u32;
            if unaligned != 0 {
                let padding = Self::ALIGNMENT - unaligned;
                self.engine.nops(&mut writer, padding);
            }
            Span {
                start,
                commands,
                end: writer.position,
            }
        })?;
        state.write_pointer = span.end;
        Some(span)
    }

    /// Tells the engine how far the ring is written.
    fn kick(&self, state: &State) {
        let Some(card) = self.card.try_access() else {
            return;
        };
        // The commands must be in memory before the engine hears of them.
        mb(barrier::Write);
        self.engine.kick(&card, self.kind, state.write_pointer);
    }

    /// Alignment of the write pointer, in dwords.
    const ALIGNMENT: u32 = 16;
}

/// Returns the dword at a position of a ring.
fn load(memory: &CoherentView<'_, [u32]>, position: u64) -> u32 {
    // CAST: The kernel is a 64-bit one.
    let index = position as usize % RING_DWORDS;
    let read = || Ok::<_, Error>(io_read!(*memory, [try: index]));
    read().unwrap_or(0)
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_ring)]
mod tests {
    use super::*;

    #[test]
    fn write_back_slots_do_not_overlap() {
        assert!(WritebackSlot::Settled as usize + 2 <= Writeback::STRIDE);
    }
}
