// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What every case is given.

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

/// What a case begins with to say that it came to nothing, and nothing was wrong.
pub const NOT_HIT: &str = "no race was hit";

/// What came of a case.
#[derive(Debug)]
pub struct Seen {
    /// How often memory was taken away while a job was under way that may write it, or a submission
    /// in the kernel that needs it.
    pub hit: u64,
    /// That and more, in words.
    pub said: String,
}

/// What a case answers.
pub type Answer = Result<Seen, String>;

/// Where and for how long a case races.
#[derive(Clone)]
pub struct Setting {
    pub node: Node,
    /// Where jobs run.
    pub engine: Engine,
    /// How long a race goes on.
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

    /// How often the driver has waited for jobs: one counter, for who asks without pause.
    pub fn waits(&self) -> Count {
        Stats::count(&self.node.slot, "waits")
    }

    /// An engine that does not wait when [`Setting::engine`] does.
    pub fn other_engine(&self) -> Engine {
        if self.engine == Engine::Dma(1) { Engine::Dma(0) } else { Engine::Dma(1) }
    }
}
