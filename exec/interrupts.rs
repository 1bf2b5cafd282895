// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts: reads the interrupt ring and tells whom it concerns.
//!
//! The card writes entries of 16 bytes into a ring in system memory, writes how far it got beside
//! it, and sends a message. The handler's thread reads the entries up to there and says so; not
//! before that will the card send another message.

use kernel::{
    device::{
        self,
        Bound, //
    },
    irq::{
        IrqReturn,
        ThreadedHandler, //
    },
    num::casts::u32_as_usize,
    prelude::*,
    str::BStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            self,
            mb, //
        },
        Arc, //
    },
};

use crate::{
    device::Device,
    exec::gart::{
        Gart,
        KernelBuffer, //
    },
    hw::{
        card::Card,
        Event,
        Fault,
        InterruptMemory, //
    },
};

/// Size of the interrupt ring in bytes.
pub(crate) const RING_SIZE: u32 = 64 << 10;
/// Size of an entry in bytes.
const ENTRY_SIZE: u32 = 16;
/// Set in the write pointer when entries were lost because the ring was full.
const OVERFLOW: u32 = 1 << 0;

impl InterruptMemory {
    pub(crate) fn new(dev: &device::Device<Bound>, gart: &Gart) -> Result<Self> {
        Ok(Self {
            ring: KernelBuffer::new(dev, gart, u32_as_usize(RING_SIZE))?,
            write_pointer: KernelBuffer::new(dev, gart, size_of::<u32>())?,
        })
    }

    /// How far the card has written, in bytes.
    fn written(&self) -> Option<u32> {
        let written = self.write_pointer.read(0);
        // No entry may be read before the pointer that says that it is there.
        mb(barrier::Read);
        written
    }

    /// The entry at a position in bytes.
    fn entry(&self, position: u32) -> Option<[u32; 4]> {
        let first = u32_as_usize(position) / size_of::<u32>();
        let mut entry = [0; 4];
        for (index, dword) in (first..).zip(&mut entry) {
            *dword = self.ring.read(index)?;
        }
        Some(entry)
    }
}

/// Reads the ring.
pub(crate) struct Handler {
    device: Arc<Device>,
    /// How far the ring has been read, in bytes. Only the handler's thread uses it.
    position: Atomic<u32>,
}

impl Handler {
    pub(crate) fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            position: Atomic::new(0),
        }
    }

    /// Handles all entries that are there. `None` if the driver is being unbound.
    fn process(&self) -> Option<()> {
        let device = &*self.device;
        let memory = &device.interrupt_memory;
        let mut position = self.position.load(Relaxed);
        let mut written = memory.written()?;
        loop {
            if written & OVERFLOW != 0 {
                dev_warn!(device.dev, "interrupts were lost: their ring is full\n");
                // The oldest entry that was not overwritten.
                position = next(written & !OVERFLOW);
                device.hw.interrupts.clear_overflow(&*device.card()?);
            }
            let end = written & !OVERFLOW & (RING_SIZE - 1);
            while position != end {
                let entry = memory.entry(position)?;
                handle(device, device.hw.interrupts.decode(entry));
                position = next(position);
            }
            self.position.store(position, Relaxed);
            let card = device.card()?;
            device.hw.interrupts.acknowledge(&card, position);
            drop(card);
            written = memory.written()?;
            if written == position {
                return Some(());
            }
        }
    }
}

/// Position of the entry after this one.
const fn next(position: u32) -> u32 {
    (position + ENTRY_SIZE) % RING_SIZE
}

impl ThreadedHandler for Handler {
    fn handle_threaded(&self) -> IrqReturn {
        let _ = self.process();
        IrqReturn::Handled
    }
}

fn handle(device: &Device, event: Event) {
    match event {
        Event::Fence(ring) => device.ring(ring).process(),
        Event::Fault => report_fault(device),
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
        assert_eq!(next(RING_SIZE - 16), 0);
    }
}
