// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A fake card for tests: registers that keep the values written to them, and a log.
//!
//! The C driver has no such thing.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// An access by the driver that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A write to a register: its offset in bytes, and the value.
    Register(usize, u32),
    /// A write to a doorbell: its index, and the value.
    Doorbell(u32, u32),
    /// The beginning or the end of bus mastering: whether the card can access system memory.
    BusMastering(bool),
    /// A write to the configuration space: its offset in bytes, and the value.
    Config(usize, u32),
}

/// Returns a write to the register at a byte offset.
pub(crate) const fn write(offset: usize, value: u32) -> Effect {
    Effect::Register(offset, value)
}

/// A fake card.
pub(crate) struct Fake(Pin<KBox<Mutex<State>>>);

struct State {
    /// Last values of registers, by byte offset. All others are zero.
    registers: KVec<(usize, u32)>,
    log: KVec<Effect>,
}

impl Fake {
    /// Addresses at which the CPU finds the card's VRAM.
    pub(crate) const VRAM: Range<u64> = 0xe000_0000..0xf000_0000;

    /// Returns a card whose registers hold `values`, by byte offset. All others hold zero.
    pub(super) fn new(values: &[(usize, u32)]) -> Result<Self> {
        let mut registers = KVec::new();
        registers.extend_from_slice(values, GFP_KERNEL)?;
        let state = State {
            registers,
            log: KVec::new(),
        };
        Ok(Self(KBox::pin_init(new_mutex!(state), GFP_KERNEL)?))
    }

    pub(super) fn read(&self, offset: usize) -> u32 {
        let state = self.0.lock();
        let register = state.registers.iter().find(|(at, _)| *at == offset);
        register.map_or(0, |(_, value)| *value)
    }

    pub(super) fn write(&self, offset: usize, value: u32) {
        let mut state = self.0.lock();
        // A lost write fails the test that looks for it.
        let _ = state.log.push(Effect::Register(offset, value), GFP_KERNEL);
        match state.registers.iter_mut().find(|(at, _)| *at == offset) {
            Some(register) => register.1 = value,
            None => {
                let _ = state.registers.push((offset, value), GFP_KERNEL);
            }
        }
    }

    pub(super) fn ring_doorbell(&self, index: u32, value: u32) {
        let access = Effect::Doorbell(index, value);
        let _ = self.0.lock().log.push(access, GFP_KERNEL);
    }

    pub(super) fn set_bus_mastering(&self, on: bool) {
        let _ = self.0.lock().log.push(Effect::BusMastering(on), GFP_KERNEL);
    }

    pub(super) fn write_config(&self, offset: usize, value: u32) {
        let access = Effect::Config(offset, value);
        let _ = self.0.lock().log.push(access, GFP_KERNEL);
    }

    /// Returns the accesses so far.
    pub(super) fn effects(&self) -> Result<KVec<Effect>> {
        let mut effects = KVec::new();
        effects.extend_from_slice(&self.0.lock().log, GFP_KERNEL)?;
        Ok(effects)
    }

    /// Returns true if the accesses were exactly these. Logs the first difference.
    pub(super) fn saw(&self, expected: &[Effect]) -> bool {
        let state = self.0.lock();
        let count = state.log.len().max(expected.len());
        let differs = (0..count).find(|&n| state.log.get(n) != expected.get(n));
        if let Some(n) = differs {
            let (is, expected) = (state.log.get(n), expected.get(n));
            pr_err!("access {n} is {is:x?}, not {expected:x?}\n");
        }
        differs.is_none()
    }
}
