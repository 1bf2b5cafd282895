// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Vulkan programs that compute, on whatever Vulkan driver there is: vectors, a reduction with
//! shared memory and barriers, images and samplers, indirect dispatches, timestamps, events,
//! transfers, and user memory that changes. Each result is compared with the processor's.

mod buffer;
mod compute;
mod gpu;
mod image;
mod images;
mod job;
mod program;
mod snapshot;
mod soak;
mod user_memory;

use std::{
    process::ExitCode,
    time::Duration, //
};

use amdgpu_client::{
    args::Args,
    report::{
        Outcome,
        Tally,
        give_up, //
    }, //
};
use compute::On;
use gpu::{
    Gpu,
    Queue, //
};

/// A check on a queue.
type Check = fn(&On<'_>) -> Outcome;

/// All checks. Images are filled by drawing where a queue can draw: RADV does.
const CHECKS: [(&str, Check); 10] = [
    ("sums of two vectors", compute::add),
    ("a reduction with shared memory and barriers", compute::reduce),
    ("fills, updates and copies", compute::transfers),
    ("a dispatch whose size another one writes", compute::indirect),
    ("timestamps before, between and after dispatches", compute::timestamps),
    ("an event", compute::events),
    ("copies through images of each size of texel", images::copied),
    ("images turned by a shader", images::turned),
    ("an image sampled, nearest texel", images::nearest),
    ("an image sampled, linear filter", images::linear),
];

/// Checks that were asked for.
struct Wanted {
    /// Each check's name has this in it.
    only: String,
    /// Source of the data.
    seed: u64,
    /// Jobs for each change of user memory.
    rounds: u32,
    /// Time in which user memory changes meanwhile.
    time: Duration,
}

/// Makes the wanted checks on one queue.
fn check(gpu: &Gpu, queue: &Queue, wanted: &Wanted, tally: &mut Tally) {
    let on = On { gpu, queue, seed: wanted.seed };
    let mut check = |name: String, run: &dyn Fn() -> Outcome| {
        let name = format!("{queue}: {name}");
        if name.contains(&wanted.only) {
            tally.check(name, run);
        }
    };
    for (name, run) in CHECKS {
        check(name.into(), &|| run(&on));
    }
    for change in user_memory::CHANGES {
        let name = format!("user memory, {change}");
        check(name, &|| user_memory::between(&on, change, wanted.rounds));
    }
    if !wanted.time.is_zero() {
        let name = "user memory that changes meanwhile".into();
        check(name, &|| user_memory::meanwhile(&on, wanted.time));
    }
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Computes with Vulkan, and compares each result with the processor's.",
        &[
            ("device", "a word in the device's name (default RADV)"),
            ("only", "checks with this in their names (default all)"),
            ("seed", "what the data come from (default 1)"),
            ("rounds", "jobs for each change of user memory (default 6)"),
            ("secs", "seconds in which user memory changes meanwhile (default 2)"),
            ("soak", "seconds in which user memory changes in all ways, and nothing else is done"),
        ],
    );
    let word: String = args.get("device").unwrap_or_else(|| "RADV".into());
    let wanted = Wanted {
        only: args.get("only").unwrap_or_default(),
        seed: args.get("seed").unwrap_or(1),
        rounds: args.get("rounds").unwrap_or(6),
        time: Duration::from_secs_f64(args.get("secs").unwrap_or(2.0)),
    };
    let mut tally = Tally::new();
    if let Some(secs) = args.get("soak") {
        let time = Duration::from_secs_f64(secs);
        println!("seed {}", wanted.seed);
        tally.check("user memory in all ways", || soak::soak(&word, wanted.seed, time));
        return tally.close();
    }
    let gpu = match Gpu::open(&word) {
        Ok(gpu) => gpu,
        Err(why) => return give_up("vulkan-compute", why),
    };
    println!("{}, seed {}", gpu.name, wanted.seed);
    for queue in &gpu.queues {
        check(&gpu, queue, &wanted, &mut tally);
    }
    tally.close()
}
