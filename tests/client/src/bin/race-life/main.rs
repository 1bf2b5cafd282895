// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Everything that a job needs is taken away while it waits: context, list, handles, addresses,
//! the process. The job must end as if nothing had happened, or be refused cleanly; and
//! afterward the device works and nothing is left over.

mod many;
mod moves;
mod objects;
mod processes;
mod updates;

use std::{
    process::ExitCode,
    thread::sleep,
    time::Duration, //
};

use amdgpu_client::{
    args::Args,
    report::Tally,
    session::Session,
    start::{
        self,
        Start, //
    }, //
};

fn main() -> ExitCode {
    let args = Args::parse(
        "Takes away what a job needs while it waits.",
        &[start::NODE, start::ENGINE, ("rounds", "of each (default 5)")],
    );
    let rounds: usize = args.get("rounds").unwrap_or(5);
    let Start { node, engine, session: witness } = match Start::new("race-life", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    let before = witness
        .prove_alive(engine)
        .and_then(|()| witness.usage().map_err(|e| format!("INFO MEMORY: {e}")));
    objects::checks(&node, engine, rounds, &mut tally);
    updates::checks(&node, rounds, &mut tally);
    many::checks(&node, rounds, &mut tally);
    moves::checks(&node, rounds, &mut tally);
    processes::checks(&node, engine, rounds, &mut tally);
    tally.check("afterward the device works", || {
        witness.prove_alive(engine).map(|()| String::new())
    });
    tally.check("afterward nothing is left over", || left_over(&witness, before?));
    tally.close()
}

/// Waits, for a short while, until no more VRAM and GTT is in use than there was.
fn left_over(witness: &Session, before: (u64, u64)) -> Result<String, String> {
    const TRIES: usize = 50;
    let mut now = before;
    for _ in 0..TRIES {
        now = witness.usage().map_err(|e| format!("INFO MEMORY: {e}"))?;
        if now.0 <= before.0 && now.1 <= before.1 {
            return Ok(String::new());
        }
        sleep(Duration::from_millis(100));
    }
    Err(format!("(VRAM, GTT) in use: {before:?} bytes before, {now:?} afterward"))
}
