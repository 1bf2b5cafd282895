// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card whose interrupts no longer come: for a guest with such a card (`--fail no-interrupt=N` of
//! the model). A job costs its owner about half a second then, and ends well.

use std::{
    process::ExitCode,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    args::Args,
    engine::Engine,
    report::{
        Outcome,
        Tally, //
    },
    session::Session,
    start::{
        NODE,
        Start, //
    },
    stats::Stats, //
};

/// A job that takes so long has lost its interrupt.
const LOST: Duration = Duration::from_millis(150);
/// Most time that a lost interrupt may cost.
const MOST: Duration = Duration::from_millis(900);
const JOBS: usize = 4;

/// Runs jobs until one has lost its interrupt.
fn lose(session: &Session) -> Outcome {
    const TRIES: usize = 2000;
    for n in 0..TRIES {
        let start = Instant::now();
        session.prove_alive(Engine::Dma(0))?;
        if start.elapsed() > LOST {
            return Ok(format!("of job {n}"));
        }
    }
    Err(format!("{TRIES} jobs, and all interrupts come"))
}

fn cost(session: &Session, engine: Engine) -> Outcome {
    let mut longest = Duration::ZERO;
    for _ in 0..JOBS {
        let start = Instant::now();
        session.prove_alive(engine)?;
        longest = longest.max(start.elapsed());
    }
    let seen = format!("{JOBS} jobs, up to {longest:.0?} each");
    if longest > MOST {
        return Err(format!("{seen}: more than {MOST:?}"));
    }
    Ok(seen)
}

fn main() -> ExitCode {
    let args = Args::parse("Runs jobs on a card whose interrupts get lost.", &[NODE]);
    let start = match Start::new("lost-interrupts", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let session = &start.session;
    let mut tally = Tally::new();
    tally.check("an interrupt is lost", || lose(session));
    for engine in Engine::ALL {
        tally.check(format!("{engine} without interrupts"), || cost(session, engine));
    }
    tally.check("the driver has counted them", || {
        match Stats::count(&start.node.slot, "lost_interrupts").0 {
            Some(count) if count >= 7 => Ok(count.to_string()),
            count => Err(format!("{count:?}")),
        }
    });
    tally.close()
}
