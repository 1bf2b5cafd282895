// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The project's main job, on an unmodified libdrm: user memory goes through the GPU and comes
//! back right, also when the process replaces it meanwhile.
//!
//! 1. *copy*: 64 MiB of random bytes in anonymous memory, a userptr BO; by SDMA into VRAM, from
//!    there into GTT, from there into a second userptr BO; compared byte for byte.
//! 2. *again*: the same memory, untouched, with BO_HANDLES chunks in place of the BO list. A
//!    driver that knows that nothing changed gathers nothing.
//! 3. *remap*: between submissions of the same BO list, with no ioctl on any BO, parts of the
//!    source and of the destination are replaced in three manners. The GPU must read and write the
//!    new pages.
//! 4. *race*: another thread replaces parts of the source without pause while jobs are submitted
//!    (see [`amdgpu_client::generations`] for what the GPU may then have read).
//!
//! The exit status is 0 only if every byte was right.

mod copy;
mod race;
mod table;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    drm::Node,
    engine::Engine,
    generations::Manner,
    libdrm::Device,
    report::give_up,
    rng::Rng, //
};
use table::Table;

/// Choices of the command line.
struct Options {
    engine: Engine,
    /// Pages of the source.
    pages: usize,
    /// Submissions with replaced memory.
    rounds: usize,
    /// Pages of the source in the race.
    race_pages: usize,
    /// Jobs of each race.
    race_jobs: usize,
    /// Latest end of a race, in seconds.
    race_secs: u64,
    /// Longest rest between two replacements in the race, in ms. A kernel that checks itself
    /// gathers more slowly than pages are filled: without a rest the process wins every race, which
    /// is `EDEADLK` by design.
    race_rest_ms: usize,
    seed: u64,
}

const PAGES_PER_MIB: usize = 256;

fn main() -> ExitCode {
    let args = Args::parse(
        "Copies user memory through the GPU while it is being replaced, and checks every byte.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("engine", "gfx, compute0..3, dma0, dma1 (default dma0)"),
            ("mib", "size of the source in MiB (default 64)"),
            ("rounds", "submissions with replaced memory (default 3)"),
            ("race-mib", "size of the source in the race in MiB (default 4)"),
            ("race-jobs", "jobs of each race (default 40)"),
            ("race-secs", "longest duration of each race (default 30)"),
            ("race-rest-ms", "longest rest between replacements in the race (default 0)"),
            ("seed", "of all random choices (default: from the clock)"),
        ],
    );
    let options = Options {
        engine: args.get("engine").unwrap_or(Engine::Dma(0)),
        pages: args.get("mib").unwrap_or(64) * PAGES_PER_MIB,
        rounds: args.get("rounds").unwrap_or(3),
        race_pages: args.get("race-mib").unwrap_or(4) * PAGES_PER_MIB,
        race_jobs: args.get("race-jobs").unwrap_or(40),
        race_secs: args.get("race-secs").unwrap_or(30),
        race_rest_ms: args.get("race-rest-ms").unwrap_or(0),
        seed: args.get("seed").unwrap_or_else(Rng::fresh_seed),
    };
    if options.pages == 0 || options.race_pages == 0 {
        return give_up("main-job", "a size of 0 MiB leaves nothing to copy");
    }
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("main-job", why),
    };
    let device = match Device::open(&node) {
        Ok(device) => device,
        Err(why) => return give_up("main-job", why),
    };
    let (major, minor) = device.version;
    println!(
        "main-job: {} ({}, driver {}, DRM {major}.{minor}), engine {}, seed {}",
        node.path.display(),
        node.slot,
        node.driver.name(),
        options.engine,
        options.seed,
    );

    let mut table = Table::new(&node);
    // What fails does not keep the rest from being tried.
    let results = [
        copy::run(&device, &options, &mut table),
        race::run(&device, &options, Manner::Whole, &mut table),
        race::run(&device, &options, Manner::InPlace, &mut table),
    ];
    table.print();
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        println!("main-job: every byte was right");
        return ExitCode::SUCCESS;
    }
    give_up("main-job: FAILED", failures.join("; "))
}
