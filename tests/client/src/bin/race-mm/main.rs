// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory changes under jobs that use it, in every way that it can.
//!
//! Each case has jobs that write, and something that takes their memory away: the process itself
//! (`give.rs`), the kernel (`kernel.rs`), the end of processes (`processes.rs`), other submissions
//! (`submissions.rs`). What was taken away has a witness that the GPU must not reach any more: a second
//! mapping of the same file (`banks.rs`, `owner.rs`), a pipe that keeps the pages (`held.rs`), or, where
//! the process keeps its memory, processor and GPU that check each other (`beat.rs`).
//!
//! A case counts what it took away while a job was under way or a submission in the kernel (`arena.rs`),
//! and the driver how often it had to wait for a job; where either never happened, in some tries, the case
//! fails. After each, the device must work, and nothing be left over (`leftovers.rs`).

mod arena;
mod banks;
mod beat;
mod give;
mod held;
mod keeper;
mod kernel;
mod leftovers;
mod owner;
mod processes;
mod setting;
mod submissions;
mod writer;

use amdgpu_client::args::Args;
use amdgpu_client::drm::Node;
use amdgpu_client::engine::Engine;
use amdgpu_client::report::{Outcome, Tally, give_up};
use amdgpu_client::rng::Rng;
use amdgpu_client::session::Session;
use amdgpu_client::stats::Stats;
use leftovers::InUse;
use setting::{NOT_HIT, Setting};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A race.
type Case = fn(&Setting) -> Outcome;

const CASES: [(&str, Case); 22] = [
    ("munmap", give::munmap),
    ("mremap", give::mremap),
    ("MADV_DONTNEED", give::discard),
    ("MADV_FREE", give::free_later),
    ("mprotect to read-only", give::protect),
    ("file truncated under the range", give::truncate),
    ("huge pages: collapse and split", kernel::collapse),
    ("KSM", kernel::merge),
    ("compaction and migration", kernel::migrate),
    ("swap", kernel::swap),
    ("fork, with writes on both sides", processes::fork),
    ("exec with the file kept", processes::exec),
    ("the owner exits, the file is passed on", processes::passed_on),
    ("the owner exits, a parent has the file", processes::exit),
    ("SIGKILL of the owner", processes::kill),
    ("the main thread ends", processes::main_thread_ends),
    ("close of the file", processes::close),
    ("the OOM reaper", processes::reaper),
    ("one BO list from two threads", submissions::one_list),
    ("a job that does not name the memory", submissions::unlisted),
    ("GEM_VA of an invalidated BO", submissions::gem_va),
    ("a range of more than 2 GiB", submissions::beyond_2_gib),
];

/// Cases that are no race for memory, but for what guards it.
const OTHERS: [(&str, Case); 2] = [
    ("the same buffers in opposite orders", submissions::opposite_orders),
    ("another process is not delayed", submissions::another_process),
];

fn main() -> ExitCode {
    let args = Args::parse(
        "Changes user memory under jobs that use it, in every way that it can.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("engine", "gfx, compute0..3, dma0, dma1 (default dma0)"),
            ("secs", "duration of each race (default 2)"),
            ("only", "cases whose name has these letters"),
            ("seed", "of all random choices (default: from the clock)"),
            ("after-exec", "for this program's own use"),
        ],
    );
    let engine = args.get("engine").unwrap_or(Engine::Dma(0));
    if let Some(what) = args.get::<String>("after-exec") {
        return processes::after_exec(&what, engine)
            .map_or_else(|why| give_up("race-mm", why), |()| ExitCode::SUCCESS);
    }
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("race-mm", why),
    };
    let setting = Setting {
        node,
        engine,
        time: Duration::from_secs_f64(args.get("secs").unwrap_or(2.0)),
        seed: args.get("seed").unwrap_or_else(Rng::fresh_seed),
    };
    let Setting { node, seed, .. } = &setting;
    println!(
        "race-mm: {} ({}, driver {}), engine {engine}, seed {seed}",
        node.path.display(),
        node.slot,
        node.driver.name(),
    );
    let only: String = args.get("only").unwrap_or_default();
    let mut tally = Tally::new();
    for (name, case) in CASES.into_iter().filter(|(name, _)| name.contains(&only)) {
        tally.check(name, || until_hit(&setting, case));
    }
    for (name, case) in OTHERS.into_iter().filter(|(name, _)| name.contains(&only)) {
        tally.check(name, || watched(&setting, case));
    }
    tally.close()
}

/// Runs a case until the driver had to wait for a job. Whether a race is hit is luck, and on a machine
/// that does much else it takes longer; but it must be hit.
fn until_hit(setting: &Setting, case: Case) -> Outcome {
    const TRIES: usize = 8;
    let mut last = String::new();
    for _ in 0..TRIES {
        let before = setting.stats();
        match watched(setting, case) {
            Err(why) if why.starts_with(NOT_HIT) => last = why,
            Ok(seen) if setting.stats().since(before).waits.0 == Some(0) => {
                last = format!("{seen}: but the driver never had to wait for a job");
            }
            outcome => return outcome,
        }
    }
    Err(format!("{last} ({TRIES} times)"))
}

/// Runs a case, and looks at what it leaves behind.
fn watched(setting: &Setting, case: Case) -> Outcome {
    let witness = Session::open(&setting.node).map_err(|e| format!("a session: {e}"))?;
    let before = InUse::now(&witness)?;
    let counted = setting.stats();
    let seen = case(setting)?;
    let counted = setting.stats().since(counted);
    witness.prove_alive(setting.engine)?;
    InUse::settles(&witness, &before)?;
    let Stats { invalidations, waits, retries, .. } = counted;
    Ok(format!("{seen} ({invalidations} invalidations, {waits} waits, {retries} retries)"))
}
