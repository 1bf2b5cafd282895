// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Things that take time. A block that was told something is busy for some reads of its status, a
//! queue that is taken off stays active for some reads, and some registers may not be written right
//! after others: the C driver waits there, for reasons that it does not give.

use std::{
    collections::{
        BTreeMap,
        HashMap, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use rand::Rng;

use crate::{
    engine::EngineId,
    gpu::Gpu,
    regs::{
        QueueSel,
        index::*, //
    },
    strict::Rule, //
};

/// Reads of a status before what it tells is over, at most.
const READS: u32 = 8;
/// CP_HQD_IB_CONTROL: the queue is in the middle of an indirect buffer.
pub(crate) const PROCESSING_IB: u32 = 1 << 31;
/// From RB_RPTR_WR_ENA to the use of the ring: half of what the C driver waits.
const READ_POINTER: Duration = Duration::from_micros(500);
/// From the release of a command processor to its first work: half of what the C driver waits.
const RELEASE: Duration = Duration::from_micros(25);

/// Event after which something else must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Since {
    /// The gfx ring's read pointer was set.
    ReadPointer,
    /// The graphics command processor was released.
    Gfx,
    /// The compute micro-engines were.
    Compute,
}

impl Since {
    fn wait(self) -> Duration {
        match self {
            Since::ReadPointer => READ_POINTER,
            Since::Gfx | Since::Compute => RELEASE,
        }
    }
}

/// Things that are going on.
#[derive(Default)]
pub(crate) struct Pace {
    /// Status registers that read as busy, and for how many reads more.
    busy: HashMap<u32, u32>,
    /// Queues that are being taken off, and for how many reads of CP_HQD_ACTIVE more.
    dequeuing: BTreeMap<QueueSel, u32>,
    since: HashMap<Since, Instant>,
}

impl Gpu {
    /// Keeps a block busy, as the status register tells it, for some reads.
    pub(crate) fn keep_busy(&mut self, status: u32) {
        if self.config.strict.has(Rule::Busy) {
            let reads = self.rng.random_range(1..=READS);
            self.pace.busy.insert(status, reads);
        }
    }

    /// A read of a status register: whether it tells of something.
    pub(crate) fn is_busy(&mut self, status: u32) -> bool {
        let Some(left) = self.pace.busy.get_mut(&status) else { return false };
        *left -= 1;
        if *left == 0 {
            self.pace.busy.remove(&status);
        }
        true
    }

    /// A moment after which something has to wait.
    pub(crate) fn mark(&mut self, since: Since) {
        self.pace.since.insert(since, Instant::now());
    }

    /// Something that has to wait.
    pub(crate) fn check_wait(&mut self, since: Since, what: &str) {
        let early = self.pace.since.remove(&since).is_some_and(|t| t.elapsed() < since.wait());
        if early && self.config.strict.has(Rule::Delays) {
            self.log.violation(
                "too-early",
                format!("{what} less than {:?} after {since:?}", since.wait()),
            );
        }
    }

    /// A queue is to be taken off. That is the work of its engine's firmware.
    pub(crate) fn begin_dequeue(&mut self, sel: QueueSel) {
        if self.config.strict.has(Rule::HaltedDequeue) && self.is_halted(sel) {
            self.log.note(format!("queue {sel:?} is not taken off: its engine is halted"));
            return;
        }
        // It executes nothing any more, so it does not do this either.
        let stuck = self.mec.get(&sel).is_some_and(|front| front.hung.is_some());
        if stuck || self.config.inject.no_dequeue {
            self.log.note(format!("queue {sel:?} is not taken off: its engine does not respond"));
            return;
        }
        let reads =
            if self.config.strict.has(Rule::Busy) { self.rng.random_range(0..=READS) } else { 0 };
        if reads == 0 {
            self.finish_dequeue(sel);
        } else {
            self.pace.dequeuing.insert(sel, reads);
        }
    }

    /// A read of CP_HQD_ACTIVE.
    pub(crate) fn queue_active(&mut self) -> u32 {
        let sel = self.regs.selected_queue();
        if let Some(left) = self.pace.dequeuing.get_mut(&sel) {
            *left -= 1;
            if *left == 0 {
                self.finish_dequeue(sel);
            }
        }
        self.regs.queue(sel, CP_HQD_ACTIVE)
    }

    /// Returns true if a queue is being taken off.
    pub(crate) fn is_dequeuing(&self, sel: QueueSel) -> bool {
        self.pace.dequeuing.contains_key(&sel)
    }

    fn finish_dequeue(&mut self, sel: QueueSel) {
        self.pace.dequeuing.remove(&sel);
        self.drain_fences(EngineId::Compute { me: sel.0, pipe: sel.1, queue: sel.2 });
        // The request is fulfilled: whoever takes the queue up by its descriptor must not find it
        // there.
        self.regs.set_queue(sel, CP_HQD_DEQUEUE_REQUEST, 0);
        // In the middle of an indirect buffer: it goes on there when it is taken up again.
        if self.mec.get(&sel).is_some_and(|front| !front.ibs.is_empty()) {
            let control = self.regs.queue(sel, CP_HQD_IB_CONTROL);
            self.regs.set_queue(sel, CP_HQD_IB_CONTROL, control | PROCESSING_IB);
        }
        // To save its registers is the work of the engine's firmware.
        if self.regs.queue(sel, CP_HQD_ACTIVE) & 1 != 0 && !self.is_halted(sel) {
            self.save_descriptor(sel);
        }
        self.regs.set_queue(sel, CP_HQD_ACTIVE, 0);
        self.mec.remove(&sel);
    }

    /// Nothing is going on any more.
    pub(crate) fn forget_pace(&mut self) {
        self.pace = Pace::default();
    }

    /// No queue is left to be taken off, or in the middle of something.
    pub(crate) fn forget_queues(&mut self) {
        self.pace.dequeuing.clear();
        for (me, pipe, queue) in
            (1..=2).flat_map(|m| (0..4).flat_map(move |p| (0..8).map(move |q| (m, p, q))))
        {
            self.regs.set_queue((me, pipe, queue), CP_HQD_IB_CONTROL, 0);
        }
    }
}
