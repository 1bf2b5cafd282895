// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Faults that the model can be told to have: a card that is not posted, an engine that never
//! runs, an interrupt that never comes. Each has a name, given with `--fail NAME`.

use std::{
    str::FromStr,
    time::Duration, //
};

use crate::engine::Block;

/// Kind of the ROM's ASIC_Init.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsicInit {
    /// A program that posts the card.
    #[default]
    Sound,
    /// One that does nothing.
    Empty,
    /// Instructions that do not exist.
    Garbage,
    /// One that comes to no end.
    Loop,
}

/// A moment at which a card is taken out of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So many indirect buffers of users have begun.
    Jobs(u64),
    /// A block is reset, after such a buffer.
    SoftReset,
    /// The card is reset by configuration space, after such a buffer.
    ConfigReset,
    /// It is put to sleep, after such a buffer.
    Sleep,
}

/// The faults of one model.
#[derive(Clone, Debug, Default)]
pub struct Injections {
    /// The firmware has not posted the card: it has no clocks, and knows nothing of its memory.
    pub not_posted: bool,
    /// The program that a driver may post it with.
    pub asic_init: AsicInit,
    /// The ROM does not begin with 55 AA.
    pub rom_signature: bool,
    /// The ROM's BAR shows nothing, as where the platform puts another ROM in its place.
    pub no_rom_bar: bool,
    /// The ROM is empty (reads as zeros).
    pub no_rom: bool,
    /// After how many interrupts no more are delivered.
    pub no_interrupt: Option<u64>,
    /// Interrupt vectors are delivered, but the write pointer is not written back.
    pub no_ih_writeback: bool,
    /// MC_SEQ never reports that training is done.
    pub mc_training: bool,
    /// A reset by the bus, and D3, take the power away: the card is not posted, VRAM is lost.
    pub power_loss: bool,
    /// Soft resets do nothing: an engine that hangs goes on hanging.
    pub no_soft_reset: bool,
    /// The command that kills waves does nothing.
    pub no_wave_kill: bool,
    /// A compute queue is not taken off its engine by a request.
    pub no_dequeue: bool,
    /// The reset by configuration space does nothing, whatever runs on the SMC.
    pub no_config_reset: bool,
    /// Another driver has left compute queues active on a halted engine.
    pub active_queues: bool,
    /// Another driver has left the card without protection against heat.
    pub no_thermal_protection: bool,
    /// Another driver has left firmware running on the SMC.
    pub smc_runs: bool,
    /// A compute unit of the first shader engine that does nothing.
    pub dead_unit: Option<u64>,
    /// Heat of the card, in degrees Celsius.
    pub hot: Option<u64>,
    /// A reset by the bus, once the card was in use, is its end.
    pub lost_by_reset: bool,
    /// Moment at which the card is taken out of its slot.
    pub vanish: Option<Moment>,
    /// Every register reads as all ones, as after the card fell off the bus.
    pub unplugged: bool,
    /// Blocks whose engines never execute anything.
    pub dead: Vec<Block>,
    /// Blocks that hang when they meet an indirect buffer: after how many of them.
    pub hang: Vec<(Block, u64)>,
    /// Blocks that wait before each indirect buffer.
    pub slow: Vec<(Block, Duration)>,
}

impl Injections {
    /// Adds the fault called `name`.
    pub fn add(&mut self, name: &str) -> Result<(), String> {
        let (key, value) = match name.split_once('=') {
            Some((k, v)) => (k, Some(v)),
            None => (name, None),
        };
        let number = |default: u64| match value {
            None => Ok(default),
            Some(v) => u64::from_str(v).map_err(|e| format!("fault `{name}`: {e}")),
        };
        match key {
            "not-posted" => self.not_posted = true,
            "asic-init" => {
                self.not_posted = true;
                self.asic_init = match value {
                    Some("empty") => AsicInit::Empty,
                    Some("garbage") => AsicInit::Garbage,
                    Some("loop") => AsicInit::Loop,
                    _ => return Err(format!("fault `{name}`: asic-init=empty, garbage or loop")),
                };
            }
            "rom-signature" => self.rom_signature = true,
            "no-rom" => self.no_rom = true,
            "no-rom-bar" => self.no_rom_bar = true,
            "no-interrupt" => self.no_interrupt = Some(number(0)?),
            "no-ih-writeback" => self.no_ih_writeback = true,
            "mc-training" => self.mc_training = true,
            "power-loss" => self.power_loss = true,
            "no-soft-reset" => self.no_soft_reset = true,
            "no-wave-kill" => self.no_wave_kill = true,
            "no-dequeue" => self.no_dequeue = true,
            "no-config-reset" => self.no_config_reset = true,
            "active-queues" => self.active_queues = true,
            "no-thermal-protection" => self.no_thermal_protection = true,
            "smc-runs" => self.smc_runs = true,
            "dead-unit" => self.dead_unit = Some(number(0)?).filter(|n| *n < 16),
            "hot" => self.hot = Some(number(99)?),
            "lost-by-reset" => self.lost_by_reset = true,
            "vanish-jobs" => self.vanish = Some(Moment::Jobs(number(1)?)),
            "vanish-reset" => self.vanish = Some(Moment::SoftReset),
            "vanish-full" => self.vanish = Some(Moment::ConfigReset),
            "vanish-sleep" => self.vanish = Some(Moment::Sleep),
            "unplugged" => self.unplugged = true,
            _ => {
                let unknown = || format!("no fault is called `{name}`; see --help");
                let (verb, block) = key.split_once('-').ok_or_else(unknown)?;
                let blocks = Block::parse(block).ok_or_else(unknown)?;
                for b in blocks {
                    match verb {
                        "ring" => self.dead.push(b),
                        "hang" => self.hang.push((b, number(0)?)),
                        "slow" => self.slow.push((b, Duration::from_millis(number(10)?))),
                        _ => return Err(unknown()),
                    }
                }
            }
        }
        Ok(())
    }

    /// After how many indirect buffers `block` hangs, if it does.
    pub fn hang_after(&self, block: Block) -> Option<u64> {
        self.hang.iter().find(|(b, _)| *b == block).map(|(_, n)| *n)
    }

    /// Returns the time that `block` waits before an indirect buffer.
    pub fn delay(&self, block: Block) -> Option<Duration> {
        self.slow.iter().find(|(b, _)| *b == block).map(|(_, d)| *d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_or_refused() {
        let mut i = Injections::default();
        for n in [
            "not-posted",
            "no-interrupt=9",
            "ring-gfx",
            "hang-compute=3",
            "slow-sdma=50",
            "ring-sdma1",
            "vanish-jobs=7",
        ] {
            i.add(n).unwrap();
        }
        assert_eq!(i.vanish, Some(Moment::Jobs(7)));
        assert_eq!(i.no_interrupt, Some(9));
        assert_eq!(i.dead, [Block::Gfx, Block::Sdma1]);
        assert_eq!(i.hang_after(Block::Compute), Some(3));
        assert_eq!(i.delay(Block::Sdma0), Some(Duration::from_millis(50)));
        assert_eq!(i.delay(Block::Sdma1), Some(Duration::from_millis(50)));
        for n in ["ring-", "asic-init", "asic-init=x", "ring-foo", "burn", "hang-gfx=x"] {
            assert!(i.add(n).is_err(), "{n}");
        }
    }
}
