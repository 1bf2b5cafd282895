// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Engine time: how long the submissions of an open file have had engines.
//!
//! The C driver computes it in `amdgpu_ctx_mgr_usage` from fences of the scheduler, and so counts a
//! submission also while it waits on its ring for those before it. Here the ring's timeline charges
//! the time from when a submission became the oldest on its ring to its end: see
//! [`Timeline::settle`](super::fence::Timeline::settle). Several submissions that end with one
//! interrupt are one interval, which is charged to the first of them.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Delta, //
};

use crate::hw::command::EngineKind;

/// Engine time of an open file, by kind of engine, in nanoseconds. It only grows.
pub(crate) struct EngineTime {
    gfx: Atomic<u64>,
    compute: Atomic<u64>,
    sdma: Atomic<u64>,
}

impl EngineTime {
    /// Creates the account of a new file.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let account = Self {
            gfx: Atomic::new(0),
            compute: Atomic::new(0),
            sdma: Atomic::new(0),
        };
        Ok(Arc::new(account, GFP_KERNEL_ACCOUNT)?)
    }

    fn of(&self, engine: EngineKind) -> &Atomic<u64> {
        match engine {
            EngineKind::Gfx => &self.gfx,
            EngineKind::Compute => &self.compute,
            EngineKind::Sdma => &self.sdma,
        }
    }

    /// Charges time on an engine.
    pub(crate) fn charge(&self, engine: EngineKind, time: Delta) {
        // The clock never goes back.
        let ns = u64::try_from(time.as_nanos()).unwrap_or(0);
        self.of(engine).fetch_add(ns, Relaxed);
    }

    /// Returns the time charged so far, in nanoseconds.
    pub(crate) fn get(&self, engine: EngineKind) -> u64 {
        self.of(engine).load(Relaxed)
    }
}
