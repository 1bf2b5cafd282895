// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The setting of every case.

use std::time::Duration;

use amdgpu_client::{
    drm::Node,
    engine::Engine,
    rng::Rng,
    session::Session,
    stats::{
        Count,
        Stats, //
    }, //
};

use crate::writer::say;

/// First words of a case that came to nothing, with nothing wrong.
pub const NOT_HIT: &str = "no race was hit";

/// Outcome of a case.
#[derive(Debug)]
pub struct Seen {
    /// Number of times that memory was taken away while a job was under way that may write it, or a
    /// submission in the kernel that needs it.
    pub hit: u64,
    /// That and more, in words.
    pub said: String,
}

/// Answer of a case.
pub type Answer = Result<Seen, String>;

/// Place and time of a case's race.
#[derive(Clone)]
pub struct Setting {
    pub node: Node,
    /// Engine of the jobs.
    pub engine: Engine,
    /// Length of a race.
    pub time: Duration,
    pub seed: u64,
}

impl Setting {
    /// A file of its own.
    pub fn session(&self) -> Result<Session, String> {
        Session::open(&self.node).map_err(say("a session"))
    }

    /// The random choices of a case.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed)
    }

    /// The driver's counters.
    pub fn stats(&self) -> Stats {
        Stats::read(&self.node.slot)
    }

    /// Returns the number of times that the driver has waited for jobs: one counter, for who asks
    /// without pause.
    pub fn waits(&self) -> Count {
        Stats::count(&self.node.slot, "waits")
    }

    /// An engine that does not wait when [`Setting::engine`] does.
    pub fn other_engine(&self) -> Engine {
        if self.engine == Engine::Dma(1) { Engine::Dma(0) } else { Engine::Dma(1) }
    }
}
