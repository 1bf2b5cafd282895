// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Engines: what each generation does in its own way, and the one order in which all of them
//! execute a submission.
//!
//! The C driver's are `amdgpu_ring_funcs`, and the order is that of `amdgpu_ib_schedule`.

use core::ops::Range;

use kernel::prelude::*;

use super::{
    bring_up::BringUp,
    card::Card,
    command::{
        Block,
        Commands,
        EntryRun,
        FenceValue,
        FenceWrite,
        Fill,
        GartWindow,
        Ib,
        Interrupt,
        Marks,
        RingId,
        Sink,
        Submission,
        Transfer,
        VmState, //
    },
    decode::DecodedPacket,
    on_chip::OnChipRange, //
};

/// An engine that executes the commands of one or more rings (the C driver's `amdgpu_ring_funcs`).
pub(crate) trait Engine: Sync {
    /// Uploads the microcode, sets up the rings of `block` and starts them. Does not check that
    /// they work.
    fn start(&self, up: &BringUp<'_>, block: Block) -> Result;

    /// Stops the engine of `block` at once. May be called in any state. Does not sleep.
    fn halt(&self, card: &Card<'_>, block: Block);

    /// Tells the engine how far its ring is written. `position` is that of the next dword.
    fn kick(&self, card: &Card<'_>, ring: RingId, position: u64);

    /// Returns the packet at the start of some commands, for a dump.
    fn decode(&self, dwords: &[u32]) -> DecodedPacket;

    /// Returns the place in the ring, in dwords, of a read pointer that the engine has reported.
    fn read_place(&self, reported: u32) -> u32 {
        reported
    }

    /// Returns the engine's way of moving memory by itself, if it has one.
    fn dma(&self) -> Option<&dyn Dma> {
        None
    }

    /// Returns the engine's way of resetting one queue, if it has any.
    fn queues(&self) -> Option<&dyn QueueReset> {
        None
    }

    /// Emits commands that do nothing, `dwords` in all.
    fn nops(&self, out: &mut dyn Sink, dwords: u32);

    /// Emits a write of one dword to memory.
    fn write(&self, out: &mut dyn Sink, addr: u64, value: u32);

    /// Emits a write of one dword to memory, which precedes whatever later commands do.
    fn mark(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        self.write(out, addr, value);
    }

    /// Emits a wait until a dword of memory has a value.
    fn wait(&self, out: &mut dyn Sink, addr: u64, value: u32);

    /// Emits the change of the context's page directory and the drop of its cached translations.
    fn flush_vm(&self, out: &mut dyn Sink, vm: &VmState);

    /// Emits the invalidation of the engine's own caches of memory, if it has any.
    fn invalidate_caches(&self, _out: &mut dyn Sink) {}

    /// Emits the HDP flush, which makes the CPU's writes to VRAM visible to later commands.
    fn flush_hdp(&self, out: &mut dyn Sink, ring: RingId);

    /// Emits the switch away from the state of the previous process.
    fn begin(&self, _out: &mut dyn Sink) {}

    /// Emits the execution of a command buffer (IB) in the context `vmid`.
    fn ib(&self, out: &mut dyn Sink, ib: &Ib, vmid: u8);

    /// Returns true if the engine reaches the global data share by itself.
    fn reaches_gds(&self) -> bool {
        false
    }

    /// Emits the filling of a part of the global data share with zeros.
    fn clear_gds(&self, _out: &mut dyn Sink, _range: OnChipRange) {}

    /// Emits waits for work that IBs have left behind and that a fence does not cover.
    fn drain(&self, _out: &mut dyn Sink) {}

    /// Emits the HDP invalidation, which makes writes to VRAM visible to the CPU.
    fn invalidate_hdp(&self, out: &mut dyn Sink);

    /// Emits a fence. Once all commands before it are done and the caches are written back, the
    /// engine writes `value` and, for [`Interrupt::Yes`], raises an interrupt.
    fn fence(&self, out: &mut dyn Sink, addr: u64, value: FenceValue, interrupt: Interrupt);

    /// Emits the commands whose effect the next submission relies on.
    fn end(&self, _out: &mut dyn Sink) {}
}

/// Operations of an engine that has queues which can be reset one by one. The engine runs. Banked
/// registers are selected, so no engine may be told of work meanwhile.
pub(crate) trait QueueReset {
    /// Takes a queue off the engine, and ends its waves. Does not sleep.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if the engine does not let go of the queue; `ENODEV` if there is no such queue.
    fn take_off(&self, card: &Card<'_>, ring: RingId) -> Result;

    /// Sets a queue up again that was taken off, and starts it.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is no such queue.
    fn start(&self, up: &BringUp<'_>, ring: RingId) -> Result;
}

/// Operations of an engine that moves memory by itself.
pub(crate) trait Dma {
    /// Emits the filling of memory.
    fn fill(&self, out: &mut dyn Sink, fill: Fill);

    /// Emits the copying of memory, after the mapping of its window, and before the unmapping. Both
    /// have taken effect for whatever comes next. `settled` is [`Marks::settled`].
    fn transfer(&self, out: &mut dyn Sink, transfer: &Transfer<'_>, settled: u64);

    /// Emits the writing of page-table entries.
    fn entries(&self, out: &mut dyn Sink, runs: &[EntryRun]);
}

impl dyn Engine {
    /// Returns true if the engine supports these commands.
    pub(crate) fn can(&self, commands: &Commands<'_>) -> bool {
        match commands {
            Commands::Ibs(_) | Commands::Fail(_) => true,
            Commands::Fill(fill) => self.dma().is_some() && fill.bytes <= Fill::MAX_BYTES,
            Commands::Transfer(transfer) => {
                let window = transfer.window.map_or(0, |window| window.entries.len());
                self.dma().is_some()
                    && transfer.bytes <= Transfer::MAX_BYTES
                    && window <= GartWindow::PAGES
            }
            Commands::Entries(runs) => {
                let fits = |run: &EntryRun| run.count <= EntryRun::MAX_COUNT;
                self.dma().is_some() && runs.len() <= EntryRun::MOST && runs.iter().all(fits)
            }
            Commands::ClearGds(_) => self.reaches_gds(),
        }
    }

    /// Emits all that a submission asks for, and then the kernel's fence with its interrupt.
    /// Returns the positions of the commands themselves, which can be replaced by ones that do
    /// nothing.
    ///
    /// The order is the same for every engine. No engine has one of its own.
    pub(crate) fn emit_submission(
        &self,
        out: &mut dyn Sink,
        ring: RingId,
        submission: &Submission<'_>,
        marks: Marks,
        fence: FenceWrite,
    ) -> Range<u64> {
        // The previous submission must have left the pipeline: it may belong to another process.
        self.wait(out, fence.gpu_addr, fence.seq.wrapping_sub(1));
        if let Some(vm) = submission.vm_to_flush() {
            self.flush_vm(out, vm);
        }
        self.invalidate_caches(out);
        self.flush_hdp(out, ring);
        // Before a reset the gate is shut, so that no ring begins anything new. What the mark says
        // not to have begun can safely run after the reset.
        self.wait(out, marks.gate, Marks::OPEN);
        self.mark(out, marks.begun, fence.seq);
        if submission.vm.is_some() {
            self.begin(out);
        }
        let start = out.position();
        match submission.commands {
            Commands::Ibs(ibs) => {
                for ib in ibs {
                    self.ib(out, ib, submission.vmid());
                }
            }
            Commands::Fill(fill) => {
                if let Some(dma) = self.dma() {
                    dma.fill(out, fill);
                }
            }
            Commands::Transfer(transfer) => {
                if let Some(dma) = self.dma() {
                    dma.transfer(out, &transfer, marks.settled);
                }
            }
            Commands::Entries(runs) => {
                if let Some(dma) = self.dma() {
                    dma.entries(out, runs);
                }
            }
            Commands::ClearGds(range) => self.clear_gds(out, range),
            Commands::Fail(_) => (),
        }
        let commands = start..out.position();
        self.drain(out);
        // The CPU must find the submission's writes to VRAM once the fence has signaled.
        self.invalidate_hdp(out);
        if let Some(user) = submission.user_fence {
            let value = FenceValue::Qword(user.value);
            self.fence(out, user.gpu_addr, value, Interrupt::No);
        }
        let value = FenceValue::Dword(fence.seq);
        self.fence(out, fence.gpu_addr, value, Interrupt::Yes);
        self.end(out);
        commands
    }
}
