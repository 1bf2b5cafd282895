// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory of the interrupt ring (the C driver's `amdgpu_ih_ring`), which the card writes and
//! [`super::interrupts`] reads.

use kernel::{
    device::{
        self,
        Bound, //
    },
    num::casts::u32_as_usize,
    prelude::*,
    sync::barrier::{
        self,
        mb, //
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
pub(crate) struct InterruptMemory {
    ring: KernelBuffer,
    /// Write-back of the card's write pointer, in bytes, in the first dword.
    write_pointer: KernelBuffer,
}

impl InterruptMemory {
    pub(crate) fn new(dev: &device::Device<Bound>, gart: &Gart) -> Result<Self> {
        Ok(Self {
            ring: KernelBuffer::new(dev, gart, u32_as_usize(InterruptRing::SIZE))?,
            write_pointer: KernelBuffer::new(dev, gart, size_of::<u32>())?,
        })
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
