// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts: reads the interrupt ring and tells whom it concerns.
//!
//! The card writes entries of 16 bytes into a ring in system memory, writes how far it got beside
//! it, and sends a message. The handler's thread reads the entries up to there and says so; not
//! before that will the card send another message.
//!
//! # When there are too many
//!
//! A process may have an engine interrupt as often as it likes. So what a pass over the ring asks
//! for is noted first and done once: each ring is looked at once, however often it interrupted, as
//! is the register that holds a fault. If the ring overflowed its entries are dropped, and all that
//! they could have asked for is done. The thread rests after that, and after a ring full of
//! entries.
//!
//! The card writes to memory how far it got with each entry, and only then. So after an overflow
//! what is in memory tells of it until the next entry comes: then the register is right.

use kernel::{
    irq::{
        IrqReturn,
        ThreadedHandler, //
    },
    prelude::*,
    str::BStr,
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
        Delta, //
    },
};

use crate::{
    device::Device,
    hw::{
        card::Card,
        command::RingId,
        Event,
        Fault,
        InterruptRing, //
    },
};

/// Size of an entry in bytes.
const ENTRY_SIZE: u32 = 16;
/// Entries in the ring.
const ENTRIES: u32 = InterruptRing::SIZE / ENTRY_SIZE;
/// Pause after more entries than that.
const REST: Delta = Delta::from_millis(2);
/// Set in the write pointer when entries were lost because the ring was full.
const OVERFLOW: u32 = 1 << 0;

/// Reads the ring.
pub(crate) struct Handler {
    device: Arc<Device>,
    /// How far the ring has been read, in bytes. Only the handler's thread uses it.
    position: Atomic<u32>,
    /// The first overflow is told of, as all others would say the same.
    said_overflow: AtomicFlag,
}

impl Handler {
    pub(crate) fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            position: Atomic::new(0),
            said_overflow: AtomicFlag::new(false),
        }
    }

    /// Handles all entries that are there: for those that are left the card need not interrupt
    /// again before the next one. `None` if the driver is being unbound.
    fn process(&self) -> Option<()> {
        let mut left = ENTRIES;
        let mut written = self.written()?;
        loop {
            let (position, found) = match written {
                Written::UpTo(end) => self.read(end, &mut left)?,
                Written::Overflow(end) => {
                    self.report_overflow();
                    left = 0;
                    (end, Found::EVERYTHING)
                }
            };
            self.position.store(position, Relaxed);
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

    /// Returns the write pointer. If the ring overflowed, that is cleared.
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

    /// Reads entries up to `end`, `left` at most. Returns how far that was, and what they ask for.
    fn read(&self, end: u32, left: &mut u32) -> Option<(u32, Found)> {
        let device = &*self.device;
        let mut position = self.position.load(Relaxed);
        let mut found = Found::default();
        while position != end && *left != 0 {
            let entry = device.interrupt_memory.entry(position)?;
            found.note(device, device.hw.interrupts.decode(entry));
            position = next(position);
            *left -= 1;
        }
        Some((position, found))
    }

    fn act_on(&self, found: &Found) {
        for ring in self.device.rings().filter(|ring| found.has(ring.kind)) {
            ring.process();
        }
        if found.fault {
            report_fault(&self.device);
        }
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
    /// All entries before this are there.
    UpTo(u32),
    /// It got here, and has overwritten some that were not read.
    Overflow(u32),
}

/// Requests that entries of the ring stand for.
#[derive(Default)]
struct Found {
    /// The rings that have written fences, a bit each, by place.
    rings: u32,
    /// The memory controller has found a fault.
    fault: bool,
}

impl Found {
    /// All that entries which nobody has read may have asked for.
    const EVERYTHING: Self = Self {
        rings: !0,
        fault: true,
    };

    fn has(&self, ring: RingId) -> bool {
        self.rings & 1 << ring.place() != 0
    }

    fn note(&mut self, device: &Device, event: Event) {
        match event {
            Event::Fence(ring) => self.rings |= 1 << ring.place(),
            Event::ComputeFence => {
                let is_compute = |ring: &RingId| matches!(ring, RingId::Compute(_));
                for ring in device.rings().map(|ring| ring.kind).filter(is_compute) {
                    self.rings |= 1 << ring.place();
                }
            }
            Event::Fault => self.fault = true,
            Event::Illegal(what, ring) => {
                dev_dbg!(
                    device.dev,
                    "{ring:?}: illegal {what:?} in a command buffer\n"
                );
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

/// Position of the entry after this one.
const fn next(position: u32) -> u32 {
    (position + ENTRY_SIZE) % InterruptRing::SIZE
}

impl ThreadedHandler for Handler {
    fn handle_threaded(&self) -> IrqReturn {
        let _ = self.process();
        IrqReturn::Handled
    }
}

fn report_fault(device: &Device) {
    let take = |card: &Card<'_>| device.hw.memory.take_fault(card);
    let Some(fault) = device.card().and_then(|card| take(&card)) else {
        return;
    };
    let Fault {
        page,
        vmid,
        write,
        protections,
        client,
    } = fault;
    let access = if write { "write" } else { "read" };
    let client = BStr::from_bytes(&client);
    dev_dbg!(
        device.dev,
        "{access} of page {page:#x} by {client} in context {vmid} forbidden ({protections:#x})\n"
    );
}

#[kunit_tests(amdgpu_rs_interrupts)]
mod tests {
    use super::*;

    #[test]
    fn positions_wrap() {
        assert_eq!(next(0), 16);
        assert_eq!(next(InterruptRing::SIZE - 16), 0);
    }
}
