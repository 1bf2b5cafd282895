// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory is taken away from under a GPU that is writing it.
//!
//! The promise: a call that gives pages back (munmap, mremap, MADV_DONTNEED, fork's
//! write-protection) returns only when no job can reach them any more.
//!
//! 1. *Gated*: a job that is about to write the pages waits at a gate. The call must come back
//!    after the gate was opened, not before.
//! 2. *Canaries*: jobs write without pause while another thread gives the pages back, maps fresh
//!    ones, and at once fills as many pages elsewhere with a canary, which are very likely the
//!    very same. No canary may ever change. Each replacement during which a job was under way is
//!    counted as a race that was hit.

mod canary;
mod gated;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    drm::Node,
    engine::Engine,
    report::{
        Tally,
        give_up, //
    },
    rng::Rng,
    session::Session, //
};

fn main() -> ExitCode {
    let args = Args::parse(
        "Takes memory away from under a GPU that is writing it.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("engine", "gfx, compute0..3, dma0, dma1 (default dma0)"),
            ("rounds", "of each gated call (default 3)"),
            ("secs", "duration of the canaries (default 10)"),
            ("seed", "of all random choices (default: from the clock)"),
        ],
    );
    let engine = args.get("engine").unwrap_or(Engine::Dma(0));
    let rounds: usize = args.get("rounds").unwrap_or(3);
    let secs: u64 = args.get("secs").unwrap_or(10);
    let seed: u64 = args.get("seed").unwrap_or_else(Rng::fresh_seed);
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("race-unmap", why),
    };
    let session = match Session::open(&node) {
        Ok(session) => session,
        Err(e) => return give_up("race-unmap", format_args!("a session: {e}")),
    };
    println!(
        "race-unmap: {} ({}, driver {}), engine {engine}, seed {seed}",
        node.path.display(),
        node.slot,
        node.driver.name(),
    );
    let mut tally = Tally::new();
    gated::checks(&session, engine, rounds, &mut tally);
    canary::checks(&session, engine, secs, seed, &mut tally);
    tally.close()
}
