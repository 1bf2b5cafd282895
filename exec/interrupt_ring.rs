// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory of the interrupt ring (the C driver's `amdgpu_ih_ring`), which the card writes and
//! [`super::interrupts`] reads.

use kernel::{
    device::{
        self,
        Bound, //
    },
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        barrier::{
            self,
            mb, //
        },
        Mutex, //
    },
};

use crate::{
    exec::gart::{
        Gart,
        KernelBuffer, //
    },
    hw::InterruptRing, //
};

/// Memory of the interrupt ring.
#[pin_data]
pub(crate) struct InterruptMemory {
    ring: KernelBuffer,
    /// Write-back of the card's write pointer, in bytes, in the first dword.
    write_pointer: KernelBuffer,
    /// Position up to which the entries were read, in bytes. `None` while the card writes none.
    /// Held during a pass over the ring.
    #[pin]
    pub(super) position: Mutex<Option<u32>>,
}

impl InterruptMemory {
    /// Allocates the memory of a ring that is not in use yet.
    pub(crate) fn new<'a>(
        dev: &'a device::Device<Bound>,
        gart: &'a Gart,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            ring: KernelBuffer::new(dev, gart, u32_as_usize(InterruptRing::SIZE))?,
            write_pointer: KernelBuffer::new(dev, gart, size_of::<u32>())?,
            position <- new_mutex!(None, "InterruptMemory::position"),
        })
    }

    /// Empties the ring, which the card is about to write from its start.
    pub(crate) fn begin(&self) {
        let mut position = self.position.lock();
        self.write_pointer.write(0, 0);
        *position = Some(0);
    }

    /// Ends the use of the ring, which the card no longer writes. Waits for a pass over it. Later
    /// interrupts do not touch the card.
    pub(crate) fn end(&self) {
        *self.position.lock() = None;
    }

    /// Returns the address of the ring in the GPU's address space (context 0).
    pub(crate) fn ring(&self) -> u64 {
        self.ring.gpu_addr()
    }

    /// Returns the address of the write pointer, likewise.
    pub(crate) fn write_pointer(&self) -> u64 {
        self.write_pointer.gpu_addr()
    }

    /// Returns the card's write pointer, in bytes, or its overflow bit, as of the last entry.
    pub(crate) fn written(&self) -> Option<u32> {
        let written = self.write_pointer.read(0);
        // No entry may be read before the pointer that covers it.
        mb(barrier::Read);
        written
    }

    /// Returns the entry at a position in bytes.
    pub(crate) fn entry(&self, position: u32) -> Option<[u32; 4]> {
        let first = u32_as_usize(position) / size_of::<u32>();
        let mut entry = [0; 4];
        for (index, dword) in (first..).zip(&mut entry) {
            *dword = self.ring.read(index)?;
        }
        Some(entry)
    }
}
