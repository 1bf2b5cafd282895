// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The choice of what shaders get where nothing is mapped: for partially resident textures (PRT),
//! of which a process maps some pages only.
//!
//! The hardware of this generation has no mark for such a page. It can be told not to fault on what
//! is not mapped, for all processes at once: reads return zeros then, and writes vanish. So this is
//! on for as long as any address space needs it, and meanwhile no process learns of a stray access
//! of its shaders. The C driver does the same (`gmc_v7_0_set_prt`).
//!
//! # Lock order
//!
//! `state` is taken last. Registers are written under it.

use core::ops::Range;

use kernel::{
    device,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    }, //
};

use crate::hw::{
    card::{
        Card,
        CardHandle, //
    },
    MemoryController,
    UnmappedAccess, //
};

/// The setting of one card.
#[pin_data]
pub(crate) struct UnmappedReads {
    dev: ARef<device::Device>,
    memory: &'static dyn MemoryController,
    card: CardHandle,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// Number of address spaces that need zeros.
    users: usize,
    setting: UnmappedAccess,
    said: bool,
}

impl UnmappedReads {
    /// Creates the setting of a card as it is without power.
    pub(crate) fn new<'a>(
        dev: &'a device::Device,
        memory: &'static dyn MemoryController,
        card: CardHandle,
    ) -> impl PinInit<Self> + 'a {
        pin_init!(Self {
            dev: dev.into(),
            memory,
            card,
            state <- new_mutex!(
                State {
                    users: 0,
                    setting: UnmappedAccess::Faults,
                    said: false,
                },
                "UnmappedReads::state"
            ),
        })
    }

    /// Adds an address space that needs zeros in `pages`, the same pages for all.
    pub(crate) fn begin(&self, pages: Range<u64>) {
        let mut state = self.state.lock();
        state.users += 1;
        if state.users == 1 {
            self.set(&mut state, UnmappedAccess::ReadsZero(pages));
            if !core::mem::replace(&mut state.said, true) {
                dev_info!(
                    self.dev,
                    "a process has sparse memory: stray accesses of shaders are not reported\n"
                );
            }
        }
    }

    /// Removes an address space that needed zeros. None of its jobs runs.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.users -= 1;
        if state.users == 0 {
            self.set(&mut state, UnmappedAccess::Faults);
        }
    }

    /// Tells the card, which was just started, if that is not what it does by itself.
    pub(crate) fn restore(&self, card: &Card<'_>) {
        let state = self.state.lock();
        if state.setting != UnmappedAccess::Faults {
            self.memory.set_unmapped(card, &state.setting);
        }
    }

    fn set(&self, state: &mut State, setting: UnmappedAccess) {
        // A card that is gone runs no shaders.
        if let Some(card) = self.card.try_access() {
            self.memory.set_unmapped(&card, &setting);
        }
        state.setting = setting;
    }
}
