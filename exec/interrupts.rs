// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts: reads the interrupt ring and passes each event on.
//!
//! The C driver calls it the IH ring (amdgpu_ih.c, `amdgpu_ih_process`; amdgpu_irq.c).
//!
//! The card writes entries of 16 bytes into a ring in system memory, writes its write pointer to
//! memory as well, and sends a message. The handler's thread reads the entries up to there and
//! acknowledges them. The card sends no further message before that.
//!
//! # When there are too many
//!
//! A process can make an engine interrupt as often as it likes. So a pass over the ring first notes
//! all that the entries ask for, and then does each of those things once: each ring is looked at
//! once, however often it interrupted, and so is the register that holds a fault. If the ring
//! overflowed, its entries are dropped, and everything that they could have asked for is done. The
//! thread rests after an overflow, and after a ring full of entries.
//!
//! The card writes its write pointer to memory with each entry, and at no other time. So after an
//! overflow, the copy in memory reports the overflow until the next entry comes. In that case the
//! register is right.

use core::ops::Range;

use kernel::{
    irq::{
        IrqReturn,
        ThreadedHandler, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use crate::{
    device::Device,
    hw::{
        card::Card,
        command::{
            EngineKind,
            RingId, //
        },
        Event,
        Fault,
        InterruptRing, //
    },
};

/// Size of an entry in bytes.
const ENTRY_SIZE: u32 = 16;
/// Number of entries in the ring.
const ENTRIES: u32 = InterruptRing::SIZE / ENTRY_SIZE;
/// Pause after more than [`ENTRIES`] entries.
const REST: Delta = Delta::from_millis(2);
/// Time between two faults that are logged, in ms: any process can cause any number of them.
const FAULT_PAUSE: i64 = 1000;
/// Bit of the write pointer that is set when entries were lost because the ring was full.
const OVERFLOW: u32 = 1 << 0;

/// The handler, which reads the ring.
pub(crate) struct Handler {
    device: Arc<Device>,
    /// Set when the first overflow was logged; later ones would say the same.
    said_overflow: AtomicFlag,
    start: Instant<Monotonic>,
    /// Time before which no fault is logged, in ms from `start`.
    silent_until: Atomic<i64>,
}

impl Handler {
    pub(crate) fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            said_overflow: AtomicFlag::new(false),
            start: Instant::now(),
            silent_until: Atomic::new(0),
        }
    }

    /// Handles all entries of the ring. None may be left: the card need not interrupt again for
    /// them before the next entry comes. Returns `None` if the ring is not in use, or the driver is
    /// being unbound.
    fn process(&self) -> Option<()> {
        let mut pass = self.device.interrupt_memory.position.lock();
        let reached = Option::as_mut(&mut pass)?;
        let mut left = ENTRIES;
        let mut written = self.written()?;
        loop {
            let (position, found) = match written {
                Written::UpTo(end) => self.read(*reached..end, &mut left)?,
                Written::Overflow(end) => {
                    self.report_overflow();
                    left = 0;
                    (end, Found::EVERYTHING)
                }
            };
            *reached = position;
            self.act_on(&found);
            if left == 0 {
                fsleep(REST);
                left = ENTRIES;
            }
            let card = self.device.card()?;
            self.device.hw.interrupts.acknowledge(&card, position);
            drop(card);
            written = self.written()?;
            if written == Written::UpTo(position) {
                return Some(());
            }
        }
    }

    /// Returns the write pointer. Clears the overflow if the ring overflowed.
    fn written(&self) -> Option<Written> {
        let written = self.device.interrupt_memory.written()?;
        if written & OVERFLOW == 0 {
            return Some(Written::UpTo(written % InterruptRing::SIZE));
        }
        let card = self.device.card()?;
        let interrupts = self.device.hw.interrupts;
        let written = interrupts.write_pointer(&card);
        let end = (written & !OVERFLOW) % InterruptRing::SIZE;
        if written & OVERFLOW == 0 {
            return Some(Written::UpTo(end));
        }
        interrupts.clear_overflow(&card);
        Some(Written::Overflow(end))
    }

    /// Reads the entries at these positions, which wrap, but no more than `left`. Returns the
    /// position reached and the requests of the entries read.
    fn read(&self, positions: Range<u32>, left: &mut u32) -> Option<(u32, Found)> {
        let device = &*self.device;
        let mut position = positions.start;
        let mut found = Found::default();
        while position != positions.end && *left != 0 {
            let entry = device.interrupt_memory.entry(position)?;
            found.note(device, device.hw.interrupts.decode(entry));
            position = next(position);
            *left -= 1;
        }
        Some((position, found))
    }

    fn act_on(&self, found: &Found) {
        for ring in self.device.rings().filter(|ring| found.has(ring.kind)) {
            // The interrupt of one compute queue stands for all: the card need not say which it is.
            ring.process_news();
        }
        let suspects = found.suspects;
        for ring in self
            .device
            .rings()
            .filter(|ring| suspects & ring.bit() != 0)
        {
            self.device.schedulers.suspect(ring);
        }
        if found.fault {
            self.report_fault();
        }
    }

    /// Tells the owner of the address space of a fault that the memory controller has found, and
    /// logs it, unless another one was logged a moment ago.
    fn report_fault(&self) {
        let device = &*self.device;
        let take = |card: &Card<'_>| device.hw.memory.take_fault(card);
        let Some(fault) = device.card().and_then(|card| take(&card)) else {
            return;
        };
        let tenant = device.schedulers.tenant(fault.vmid);
        if let Some(tenant) = &tenant {
            tenant.faults.set(fault);
        }
        if !self.may_say_fault() {
            return;
        }
        let access = if fault.write { "write to" } else { "read of" };
        let client = fault.client_name();
        let Fault {
            vmid, protections, ..
        } = fault;
        let addr = fault.addr();
        match tenant {
            Some(tenant) => dev_notice!(
                device.dev,
                "VM fault: {access} {addr:#x} by {client} in context {vmid} ({protections:#x}); {}\n",
                tenant.submitter.name()
            ),
            None => dev_notice!(
                device.dev,
                "VM fault: {access} {addr:#x} by {client} in context {vmid} ({protections:#x})\n"
            ),
        }
    }

    /// Returns true if the last fault was logged at least [`FAULT_PAUSE`] ago.
    fn may_say_fault(&self) -> bool {
        let now = self.start.elapsed().as_millis();
        let may = now >= self.silent_until.load(Relaxed);
        if may {
            self.silent_until.store(now + FAULT_PAUSE, Relaxed);
        }
        may
    }

    fn report_overflow(&self) {
        let device = &*self.device;
        device.stats.interrupt_overflows.add(1);
        if !self.said_overflow.xchg(true, Relaxed) {
            dev_notice!(
                device.dev,
                "interrupts were lost: their ring is full; not said again\n"
            );
        }
    }
}

/// The card's write pointer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// All entries before this position are there.
    UpTo(u32),
    /// The card got to this position, and has overwritten entries that were not read.
    Overflow(u32),
}

/// Requests that entries of the ring stand for.
#[derive(Default)]
struct Found {
    /// Rings that have written fences, one bit each, by place.
    rings: u32,
    /// Rings that have met an illegal command, likewise.
    suspects: u32,
    /// Set if the memory controller has found a fault.
    fault: bool,
}

impl Found {
    /// All requests that unread entries may have stood for.
    const EVERYTHING: Self = Self {
        rings: !0,
        // The time limit finds these.
        suspects: 0,
        fault: true,
    };

    fn has(&self, ring: RingId) -> bool {
        self.rings & 1 << ring.place() != 0
    }

    fn note(&mut self, device: &Device, event: Event) {
        match event {
            Event::Fence(ring) => self.rings |= 1 << ring.place(),
            Event::ComputeFence => {
                for ring in device.rings().filter(|ring| is_compute(ring.kind)) {
                    self.rings |= ring.bit();
                }
            }
            Event::Fault => self.fault = true,
            Event::Illegal(what, ring) => {
                dev_dbg!(
                    device.dev,
                    "{ring:?}: illegal {what:?} in a command buffer\n"
                );
                // The card does not reliably say which compute queue.
                if !is_compute(ring) {
                    self.suspects |= 1 << ring.place();
                }
            }
            Event::Other { source, data } => {
                dev_dbg!(
                    device.dev,
                    "interrupt {source} ({data:#x}) that nobody asked for\n"
                );
            }
        }
    }
}

fn is_compute(ring: RingId) -> bool {
    ring.engine() == EngineKind::Compute
}

/// Returns the position of the entry after the one at `position`.
const fn next(position: u32) -> u32 {
    (position + ENTRY_SIZE) % InterruptRing::SIZE
}

impl ThreadedHandler for Handler {
    fn handle_threaded(&self) -> IrqReturn {
        let _ = self.process();
        IrqReturn::Handled
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_interrupts)]
mod tests {
    use super::*;

    #[test]
    fn positions_wrap() {
        assert_eq!(next(0), 16);
        assert_eq!(next(InterruptRing::SIZE - 16), 0);
    }
}
