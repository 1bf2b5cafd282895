// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory changes under jobs that use it, in every way that it can.
//!
//! Each case has jobs that write, and something that takes their memory away: the process itself
//! (`give.rs`), the kernel (`kernel.rs`), the end of processes (`processes.rs`), other submissions
//! (`submissions.rs`). What was taken away has a witness that the GPU must not reach any more: a
//! second mapping of the same file (`banks.rs`, `owner.rs`), a pipe that keeps the pages
//! (`held.rs`), or, where the process keeps its memory, processor and GPU that check each other
//! (`beat.rs`).
//!
//! A case counts what it took away while a job was under way or a submission in the kernel
//! (`arena.rs`), and the driver how often it had to wait for a job; where either never happened, in
//! some tries, the case fails, or where the former did not happen as often as was asked for
//! (`goal.rs`). After each, the device must work, and nothing be left over (`leftovers.rs`).

mod arena;
mod banks;
mod beat;
mod give;
mod goal;
mod held;
mod keeper;
mod kernel;
mod leftovers;
mod owner;
mod processes;
mod setting;
mod submissions;
mod writer;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::Duration, //
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
    start, //
};
use goal::Goal;
use setting::{
    Answer,
    Setting, //
};

/// A race.
type Case = fn(&Setting) -> Answer;

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
            start::NODE,
            start::ENGINE,
            ("secs", "duration of each race (default 2)"),
            ("rounds", "race again until memory was so often taken away from jobs (default 1)"),
            ("most-secs", "for at most so long; else eight times"),
            ("only", "cases whose name has these letters, or those behind a semicolon"),
            ("seed", "of all random choices (default: from the clock)"),
            ("list", "1: only prints the names of the races"),
            ("after-exec", "for this program's own use"),
        ],
    );
    if args.get("list") == Some(1) {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
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
    let goal = Goal::new(args.get("rounds"), args.get("most-secs").map(Duration::from_secs_f64));
    let only: String = args.get("only").unwrap_or_default();
    let wanted = |(name, _): &(&str, Case)| only.split(';').any(|part| name.contains(part));
    let mut tally = Tally::new();
    for (name, case) in CASES.into_iter().filter(wanted) {
        tally.check(name, || goal.reach(&setting, case));
    }
    for (name, case) in OTHERS.into_iter().filter(wanted) {
        tally.check(name, || goal::watched(&setting, case).map(|seen| seen.said));
    }
    tally.close()
}
