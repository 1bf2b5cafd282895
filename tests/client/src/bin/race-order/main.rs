// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fences of a queue end in order, whatever happens to its jobs.
//!
//! A reservation keeps only the newest fence of a queue. Were it to end before older ones, memory
//! would be given away while jobs still write it. So for jobs that fail, are killed, are too many,
//! or leave something behind:
//!
//! 1. *Gated*: a job waits at a gate, and is about to write memory of the process; the one behind
//!    it in the same queue fails. It must not be done before the first is, nor may `munmap` come
//!    back.
//! 2. *Killed*: a process with a long queue is killed. It is gone at once, as is its queue, and
//!    what it still has on the ring writes nobody else's memory.
//! 3. *Admitted*: more submissions of one queue than it remembers are inside CS at a time.
//! 4. *Loose copies*: a command buffer ends with a copy that it does not wait for.
//! 5. *Storm*: a job interrupts more often than the ring of interrupts has room, so that some are
//!    lost.
//! 6. *Starved*: a gang of low priority has no time on one of its rings; others do not wait for it.
//! 7. *Crowd*: many processes keep all rings busy and their address spaces changing, so that VM
//!    contexts are scarce, while some jobs fail, and plant canaries in the memory that they give
//!    back; as does one process that has nothing to do with the GPU.

mod admitted;
mod crowd;
mod gated;
mod killed;
mod loose;
mod starved;
mod storm;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    drm::Node,
    engine::Engine,
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    session::Session,
    stats::FailJobs, //
};

/// A process with a long queue that is killed.
type Kill = fn(&Node) -> Outcome;

fn main() -> ExitCode {
    let args = Args::parse(
        "Sees whether fences of a queue end in order, whatever happens to its jobs.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("clients", "processes in the crowd (default 40)"),
            ("secs", "how long the crowd works at least (default 8)"),
            ("jobs", "how many jobs it does at least (default 0)"),
            ("fail", "one of how many of its jobs fails (default 97; 0: none)"),
            (
                "kills",
                "0: no process is killed, where the checkers of the kernel take most of the time",
            ),
        ],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("race-order", why),
    };
    println!("race-order: {} ({}, driver {})", node.path.display(), node.slot, node.driver.name(),);
    let plan = crowd::Plan {
        clients: args.get("clients").unwrap_or(40),
        secs: args.get("secs").unwrap_or(8),
        jobs: args.get("jobs").unwrap_or(0),
        fail: args.get("fail").unwrap_or(97),
    };
    let knob = FailJobs::find(&node.slot);
    let mut tally = Tally::new();
    // Processes are forked while there is one thread.
    let kills: [(&str, Kill); 2] = [
        ("killed: a queue of copies", killed::plain),
        ("killed: a queue that writes memory of the process", killed::user),
    ];
    for (name, kill) in kills {
        if args.get("kills").unwrap_or(1) == 0 {
            tally.skip(name, "the time that it takes says nothing on this kernel");
        } else {
            tally.check(name, || kill(&node));
        }
    }
    tally.check("crowd", || crowd::run(&node, knob.as_ref(), plan));
    for engine in Engine::ALL {
        let name = format!("gated: a job that fails behind one that waits on {engine}");
        match &knob {
            Some(knob) => tally.check(name, || gated::behind(&node, engine, knob)),
            None => {
                tally.skip(name, "this driver cannot be told to fail");
                true
            }
        };
    }
    for (engine, by) in loose::CASES {
        tally.check(format!("loose copies on {engine}, by the {by:?}"), || {
            loose::run(&node, engine, by)
        });
    }
    tally.check("admitted: more submissions than a queue remembers", || admitted::run(&node));
    tally.check("starved: a gang of low priority, on a ring that others keep full", || {
        starved::run(&node)
    });
    tally.check("storm: more interrupts than there is room for", || storm::run(&node));
    for engine in Engine::ALL {
        tally.check(format!("afterward {engine} still works"), || {
            let session = Session::open(&node).map_err(|e| format!("a session: {e}"))?;
            session.prove_alive(engine).map(|()| String::new())
        });
    }
    tally.close()
}
