// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the driver asks of the hardware, and which generation of it answers.
//!
//! Each trait is one noun of the card. A generation is a set of implementations, chosen once, at
//! probe ([`Chip::generation`]); from then on nobody asks what the card is.

pub(crate) mod gfx7;

use kernel::{device, prelude::*};

use crate::{
    card::Card,
    device::VramLayout,
    gart::GartLayout,
    ring::{RingKind, Sink, Submission, Writer},
};

/// A model of GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chip {
    Bonaire,
    Hawaii,
}

impl Chip {
    /// The hardware layer of this chip, or `None` while it has none.
    pub(crate) fn generation(self) -> Option<&'static Generation> {
        match self {
            Self::Bonaire => Some(&gfx7::GENERATION),
            Self::Hawaii => None,
        }
    }
}

/// The implementations that belong together.
pub(crate) struct Generation {
    pub(crate) memory: &'static dyn MemoryController,
    pub(crate) gfx: &'static dyn Engine,
    pub(crate) compute: &'static dyn Engine,
    pub(crate) sdma: &'static dyn Engine,
    /// What [`RingKind::Sdma`] rings understand.
    pub(crate) mover: &'static dyn Mover,
}

impl Generation {
    /// The engine behind a ring.
    pub(crate) fn engine(&self, kind: RingKind) -> &'static dyn Engine {
        match kind {
            RingKind::Gfx => self.gfx,
            RingKind::Compute(_) => self.compute,
            RingKind::Sdma(_) => self.sdma,
        }
    }
}

/// The memory controller: where memory lies in the GPU's address space, and its caches.
pub(crate) trait MemoryController: Sync {
    /// Reads where VRAM is, and decides where the kernel's own memory goes.
    fn layout(&self, card: &Card<'_>, dev: &device::Device) -> Result<(VramLayout, GartLayout)>;

    /// Makes what the CPU wrote to VRAM visible to the GPU.
    fn flush_hdp(&self, card: &Card<'_>);

    /// Makes what the GPU wrote to VRAM visible to the CPU.
    fn invalidate_hdp(&self, card: &Card<'_>);

    /// Drops the kernel's (context 0) cached translations.
    fn flush_gart_tlb(&self, card: &Card<'_>);
}

/// An engine that executes the commands of a ring.
pub(crate) trait Engine: Sync {
    /// The command that fills `dwords` of a ring with nothing.
    fn emit_nops(&self, ring: &mut Writer<'_>, dwords: usize);

    /// Everything that a submission asks for, and then the kernel's fence with its interrupt.
    fn emit_submission(
        &self,
        ring: &mut Writer<'_>,
        kind: RingKind,
        submission: &Submission<'_>,
        fence: FenceWrite,
    );

    /// A write of one dword to memory, to see whether the engine lives.
    fn emit_write(&self, ring: &mut Writer<'_>, addr: u64, value: u32);

    /// Tells the engine how far its ring is written, in dwords.
    fn kick(&self, card: &Card<'_>, kind: RingKind, write_pointer: u32);
}

/// The write by which an engine says that it got so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FenceWrite {
    pub(crate) gpu_addr: u64,
    pub(crate) seq: u32,
}

/// Commands that move memory, for buffers of commands that the kernel itself writes.
///
/// Addresses are those of the context that the buffer runs in.
pub(crate) trait Mover: Sync {
    /// The most bytes that one command moves; a multiple of the page size.
    fn max_bytes(&self) -> u32;

    /// The most dwords that one command takes.
    fn max_dwords(&self) -> usize;

    /// Copies `bytes` (at most [`Mover::max_bytes`]).
    fn emit_copy(&self, out: &mut dyn Sink, source: u64, destination: u64, bytes: u32);

    /// Fills `bytes` (at most [`Mover::max_bytes`], a multiple of 4, as is `addr`) with a dword.
    fn emit_fill(&self, out: &mut dyn Sink, addr: u64, value: u32, bytes: u32);
}
