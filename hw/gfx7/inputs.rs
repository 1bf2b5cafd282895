// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Inputs of bring-up for tests: a fake card, microcode of a few dwords, and memory that keeps what
//! is written to it.
//!
//! The C driver has no such thing.

use kernel::{
    new_mutex,
    num::casts::usize_as_u64,
    prelude::*,
    sync::Mutex, //
};

use super::{
    bonaire,
    mec, //
};
use crate::hw::{
    card::Card,
    command::{
        RingId,
        RingMemory,
        Sink, //
    },
    firmware::Files,
    layout::{
        GartLayout,
        VramLayout, //
    },
    BringUp,
    Graphics,
    GraphicsInfo,
    InterruptRing,
    MemoryInfo,
    Rings,
    Scratch,
    Translation, //
};

/// Value of the scratch memory's dwords that nobody has written.
pub(super) const UNWRITTEN: u32 = 0xdead_beef;

/// A gibibyte of VRAM, all of it visible.
pub(super) const TRANSLATION: Translation = Translation {
    vram: VramLayout {
        start: 0xf4_0000_0000,
        size: 1 << 30,
        visible: 1 << 30,
        picture: 0,
        reserved: (0x3fdf_f000, 0x4000_0000),
    },
    gart: GartLayout {
        start: 0xff_0000_0000,
        table: 0x3fdf_f000,
    },
    dummy_page: 0x2fd_f000,
};

/// Everything that a block of Bonaire needs to start.
pub(super) struct Inputs {
    pub(super) card: Card<'static>,
    pub(super) files: Files,
    pub(super) graphics: GraphicsInfo,
    pub(super) memory: FakeMemory,
}

impl Inputs {
    /// Returns inputs with a fake card whose registers hold `values`, by byte offset.
    pub(super) fn new(values: &[(usize, u32)]) -> Result<Self> {
        let chips = MemoryInfo {
            kind: 5,
            bus_width: 128,
            ram_config: 0,
            row_kib: 2,
        };
        Ok(Self {
            card: Card::fake(values)?,
            files: Files::for_test()?,
            // Accesses to another card, so that they are not among those of the test.
            graphics: bonaire::PARTS.describe(&Card::fake(&[])?, &chips),
            memory: FakeMemory::new()?,
        })
    }

    pub(super) fn bring_up(&self) -> BringUp<'_> {
        BringUp {
            card: &self.card,
            firmware: &self.files,
            graphics: &self.graphics,
            translation: TRANSLATION,
            interrupts: InterruptRing {
                base: 0xff_0000_1000,
                write_pointer: 0xff_0001_1000,
                dummy_page: 0x2fd_f000,
            },
            rings: &self.memory,
            scratch: &self.memory,
        }
    }
}

/// Rings, and the scratch memory at 0xff_0002_0000.
///
/// A ring has 0x8000 bytes from 0xff_0010_0000 on, and 0x20 bytes of slots from 0xff_0000_8000 on,
/// by its place.
pub(super) struct FakeMemory(Pin<KBox<Mutex<Written>>>);

struct Written {
    scratch: KVec<u32>,
    commands: Commands,
}

/// Commands, as a sink of dwords.
struct Commands(KVec<u32>);

impl Sink for Commands {
    fn put(&mut self, dwords: &[u32]) {
        // A lost command fails the test that looks for it.
        let _ = self.0.extend_from_slice(dwords, GFP_KERNEL);
    }

    fn position(&self) -> u64 {
        usize_as_u64(self.0.len())
    }
}

impl FakeMemory {
    fn new() -> Result<Self> {
        let written = Written {
            scratch: KVec::from_elem(UNWRITTEN, mec::SCRATCH / size_of::<u32>(), GFP_KERNEL)?,
            commands: Commands(KVec::new()),
        };
        Ok(Self(KBox::pin_init(new_mutex!(written), GFP_KERNEL)?))
    }

    /// Returns true if the scratch memory has these dwords from dword `first` on.
    pub(super) fn holds(&self, first: usize, expected: &[u32]) -> bool {
        self.0.lock().scratch[first..].starts_with(expected)
    }

    /// Runs `look` with the commands of all rings, in the order in which they were emitted.
    pub(super) fn with_commands<R>(&self, look: impl FnOnce(&[u32]) -> R) -> R {
        look(&self.0.lock().commands.0)
    }
}

impl Rings for FakeMemory {
    fn memory(&self, ring: RingId) -> Result<RingMemory> {
        let place = usize_as_u64(ring.place());
        let slots = 0xff_0000_8000 + place * 0x20;
        Ok(RingMemory {
            base: 0xff_0010_0000 + place * 0x8000,
            read_pointer: slots + 8,
            write_pointer: slots + 0x10,
        })
    }

    fn emit(&self, _ring: RingId, commands: &dyn Fn(&mut dyn Sink)) -> Result {
        commands(&mut self.0.lock().commands);
        Ok(())
    }
}

impl Scratch for FakeMemory {
    fn gpu_addr(&self) -> u64 {
        0xff_0002_0000
    }

    fn write(&self, index: usize, value: u32) {
        self.0.lock().scratch[index] = value;
    }
}
