// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bad input to every ioctl: one defect a case, everything else valid, the errno compared.
//!
//! After each case a known-good submission runs on a second file; after each group of cases the
//! group's file is closed, and what it had of VRAM and GTT must be free again; and the kernel log
//! must stay free of warnings. The C driver is the reference; where `amdgpu_rs` is stricter by
//! design, the case says so, and what is expected depends on which of the two answers.

mod argv;
mod bo_list;
mod case;
mod common;
mod cs;
mod ctx;
mod debugger;
mod fdinfo;
mod fences;
mod gang;
mod gem;
mod handles;
mod info;
mod on_chip;
mod order;
mod pages;
mod process;
mod rig;
mod sched;
mod sharing;
mod sync;
mod va;
mod vmid;
mod wait;

use std::{
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::Duration, //
};

use amdgpu_client::{
    args::Args,
    drm::Node,
    engine::Engine,
    klog::KernelLog,
    report::{
        Tally,
        give_up, //
    },
    session::Session, //
};
use case::{
    Case,
    Expect, //
};

use rig::{
    ENGINE,
    Rig, //
};

/// A group of cases, and the ioctl that they are about.
type Group = (&'static str, fn() -> Vec<Case>);

const GROUPS: [Group; 30] = [
    ("common", common::cases),
    ("GEM_CREATE", gem::create),
    ("on-chip memory", on_chip::cases),
    ("GEM_MMAP", gem::mmap),
    ("GEM_USERPTR", gem::userptr),
    ("GEM_USERPTR/pages", pages::cases),
    ("GEM_METADATA", gem::metadata),
    ("debugger", debugger::cases),
    ("GEM_WAIT_IDLE", wait::idle),
    ("GEM_VA", va::cases),
    ("VM", vmid::cases),
    ("BO_LIST", bo_list::cases),
    ("CTX", ctx::cases),
    ("CTX/pstate", ctx::pstate_cases),
    ("CS", cs::envelope),
    ("CS/IB", cs::ib),
    ("CS/chunks", cs::chunks),
    ("CS/syncobj", sync::cases),
    ("CS/gang", gang::cases),
    ("CS/order", order::cases),
    ("sharing", sharing::cases),
    ("WAIT_CS", wait::cs),
    ("WAIT_FENCES", fences::wait_cases),
    ("FENCE_TO_HANDLE", fences::handle_cases),
    ("GEM_LIST_HANDLES", handles::cases),
    ("fdinfo", fdinfo::cases),
    ("SCHED", sched::cases),
    ("INFO", info::cases),
    ("processes", process::cases),
    ("processes/command line", argv::cases),
];

fn main() -> ExitCode {
    let args = Args::parse(
        "Hands every ioctl bad input and compares the errno.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("only", "run the groups whose name contains this"),
        ],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("conformance", why),
    };
    println!("conformance: {} ({}, driver {})", node.path.display(), node.slot, node.driver.name());
    let only: String = args.get("only").unwrap_or_default();

    let mut log = KernelLog::open();
    let mut tally = Tally::new();
    match Session::open(&node) {
        Ok(witness) => {
            for (name, cases) in GROUPS.into_iter().filter(|(name, _)| name.contains(&only)) {
                run_group(&node, &witness, name, &cases(), &mut tally);
            }
            for engine in Engine::ALL {
                tally.check(format_args!("afterward {engine} still works"), || {
                    witness.prove_alive(engine).map(|()| String::new())
                });
            }
        }
        Err(e) => {
            tally.record("a session on a file of its own", Err(format!("{e}")));
        }
    }
    match &mut log {
        Ok(log) => {
            tally.check("the kernel log has no complaint", || match log.complaints()?.as_slice() {
                [] => Ok(String::new()),
                found => Err(found.join(" | ")),
            });
        }
        Err(why) => tally.skip("the kernel log has no complaint", why),
    }
    tally.close()
}

fn run_group(node: &Node, witness: &Session, group: &str, cases: &[Case], tally: &mut Tally) {
    // Once before the count, so that what the device allocates on first use is not in it.
    let before = witness
        .prove_alive(ENGINE)
        .and_then(|()| witness.usage().map_err(|e| format!("INFO MEMORY: {e}")));
    let rig = match Rig::new(node) {
        Ok(rig) => rig,
        Err(e) => {
            tally.record(format_args!("{group}: a file of its own"), Err(format!("{e}")));
            return;
        }
    };
    for case in cases {
        let name = format!("{group}: {}", case.name);
        let expected = case.expected(node.driver);
        if let Expect::Skip(why) = expected {
            tally.skip(name, why);
            continue;
        }
        let outcome = (case.run)(&rig);
        let verdict = expected.meets(&outcome).and_then(|()| {
            witness.prove_alive(ENGINE).map_err(|why| format!("afterward, elsewhere: {why}"))
        });
        tally.record(name, verdict.map(|()| expected.to_string()));
    }
    drop(rig);
    tally.check(format_args!("{group}: nothing leaked"), || no_more_than(witness, before?));
}

/// Waits, for a short while, until no more VRAM and GTT is in use than there was.
fn no_more_than(witness: &Session, before: (u64, u64)) -> Result<String, String> {
    const TRIES: usize = 30;
    let mut now = before;
    for _ in 0..TRIES {
        now = witness.usage().map_err(|e| format!("INFO MEMORY: {e}"))?;
        if now.0 <= before.0 && now.1 <= before.1 {
            return Ok(String::new());
        }
        // What a closed file had is given back when the last job that might use it is done.
        sleep(Duration::from_millis(100));
    }
    Err(format!("(VRAM, GTT) in use: {before:?} bytes before, {now:?} afterward"))
}
