// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An invalidation strikes at a step of a submission, and not by luck: something makes the
//! submission rest there.
//!
//! The memory is moved elsewhere, and fresh pages come in its place. So the old pages live on, and
//! can be looked at: a job that is queued after the move must write the fresh ones, and never the
//! old ones.
//!
//! | strikes | what makes the submission rest |
//! |---|---|
//! | before the buffer has an address | nothing: it comes before |
//! | between gathering and binding | a larger buffer, whose pages are gathered after those |
//! | between binding and publishing | a larger buffer, whose pages are bound after those |
//! | when the job runs that does not name the buffer | it waits at a gate |
//! | before the next job, which names the buffer, or does not | nothing |

mod rest;
mod unnamed;

use std::process::ExitCode;

use amdgpu_client::{
    Errno,
    PAGE,
    args::Args,
    drm::{
        Driver,
        Node, //
    },
    engine::Engine,
    mem::UserMem,
    report::Tally,
    session::Session,
    start::{
        self,
        Start, //
    }, //
};

/// Word that the jobs write.
pub const WRITTEN: u32 = 0x7777_7777;
/// Word in the pages before.
pub const BEFORE: u32 = 0x0101_0101;

/// Place of the cases.
pub struct Rig<'a> {
    /// The device.
    pub node: &'a Node,
    /// An open file.
    pub session: &'a Session,
    /// The engine that runs the jobs.
    pub engine: Engine,
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Takes memory away at each step of a submission.",
        &[start::NODE, start::ENGINE, ("rounds", "of each (default 3)")],
    );
    let rounds: usize = args.get("rounds").unwrap_or(3);
    let Start { node, engine, session } = match Start::new("race-steps", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let rig = Rig { node: &node, session: &session, engine };
    let mut tally = Tally::new();
    for (name, check) in unnamed::CASES {
        tally.check(name, || {
            (0..rounds).try_for_each(|_| check(&rig))?;
            Ok(format!("{rounds} times"))
        });
    }
    for (name, check) in rest::CASES {
        if node.driver == Driver::Reference {
            tally.skip(name, "the C driver has no counters, by which to know its steps");
            continue;
        }
        tally.check(name, || {
            let mut hit = 0;
            for _ in 0..rounds {
                hit += usize::from(check(&rig)?);
            }
            match hit {
                0 => Err(format!("it never struck there, in {rounds} rounds")),
                hit => Ok(format!("struck there in {hit} of {rounds} rounds")),
            }
        });
    }
    tally.check("afterward the device works", || {
        session.prove_alive(engine).map(|()| String::new())
    });
    tally.close()
}

/// A page's first word.
pub fn word(mem: &UserMem, page: usize) -> u32 {
    let mut bytes = [0; PAGE];
    mem.read_page(page, &mut bytes);
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Checks that the first `pages` pages begin with `value`.
pub fn expect(what: &str, mem: &UserMem, pages: usize, value: u32) -> Result<(), String> {
    match (0..pages).find(|page| word(mem, *page) != value) {
        None => Ok(()),
        Some(page) => {
            Err(format!("{what}: page {page} has {:#x}, not {value:#x}", word(mem, page)))
        }
    }
}

/// An error, in words.
pub fn say(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}
