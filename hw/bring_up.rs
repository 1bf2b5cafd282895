// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Inputs of bring-up: the places of memory that the card works on, and its rings.
//!
//! The C driver keeps these in its `amdgpu_device`, and each block's `hw_init` takes them from
//! there.

use kernel::{
    dma::DmaAddress,
    prelude::*, //
};

use super::{
    card::Card,
    command::{
        RingId,
        RingMemory,
        Sink, //
    },
    firmware,
    graphics::GraphicsInfo,
    layout::{
        GartLayout,
        VramLayout, //
    }, //
};

/// Inputs of bring-up. Addresses are the GPU's own (context 0), except for bus addresses.
pub(crate) struct BringUp<'a> {
    pub(crate) card: &'a Card<'a>,
    pub(crate) firmware: &'a firmware::Files,
    pub(crate) graphics: &'a GraphicsInfo,
    pub(crate) translation: Translation,
    pub(crate) interrupts: InterruptRing,
    pub(crate) rings: &'a dyn Rings,
    pub(crate) scratch: &'a dyn Scratch,
}

/// Inputs of address translation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translation {
    pub(crate) vram: VramLayout,
    pub(crate) gart: GartLayout,
    /// Bus address of the page that receives the accesses that no page table allows.
    pub(crate) dummy_page: DmaAddress,
}

/// Location of the interrupt ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterruptRing {
    pub(crate) base: u64,
    /// Address to which the card writes its write pointer.
    pub(crate) write_pointer: u64,
    /// Bus address of a page that the card may read at any time.
    pub(crate) dummy_page: DmaAddress,
}

impl InterruptRing {
    /// Size of the ring in bytes, a power of two.
    pub(crate) const SIZE: u32 = 64 << 10;
}

/// The rings, for the code that sets up their engines. Both methods return `ENODEV` for a ring that
/// does not exist.
pub(crate) trait Rings {
    /// Returns the location of a ring and of its write-back slots.
    fn memory(&self, ring: RingId) -> Result<RingMemory>;

    /// Has the ring's engine execute commands that have no fence.
    fn emit(&self, ring: RingId, commands: &dyn Fn(&mut dyn Sink)) -> Result;
}

/// The memory that [`Chip::scratch`](super::Chip::scratch) asks for, zeroed when it is allocated.
pub(crate) trait Scratch {
    /// Returns its address.
    fn gpu_addr(&self) -> u64;

    /// Writes dword `index`.
    fn write(&self, index: usize, value: u32);
}
