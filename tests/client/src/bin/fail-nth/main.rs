// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Every allocation of every ioctl on the path of a submission fails once.
//!
//! For each ioctl: its first allocation fails, then its second, and so on, until a call comes
//! through untouched. Whatever fails, the answer is `ENOMEM` or what the kernel makes of it, or
//! success, where the kernel had another way; the same call then succeeds and does what it should;
//! and the device still works. What was leaked or touched too late, the debug kernel's checkers
//! tell.

mod cases;
mod inject;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    thread,
    time::Duration, //
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
    start::{
        self,
        Start, //
    }, //
};
use cases::{
    CASES,
    Case, //
};
use inject::{
    Injector,
    Kind,
    Seen, //
};

/// No call has more allocations than this.
const MOST: u32 = 2000;

/// Place of the cases.
pub struct Rig<'a> {
    /// The device.
    pub node: &'a Node,
    /// A file that is opened for the case, and closed after it.
    pub session: &'a Session,
    /// The engine that runs the jobs.
    pub engine: Engine,
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Lets every allocation of every ioctl on the path of a submission fail once.",
        &[
            start::NODE,
            start::ENGINE,
            ("only", "the cases whose name has this in it"),
            ("verbose", "2: the kernel's log has the stack of each failure (default 0)"),
        ],
    );
    let only: String = args.get("only").unwrap_or_default();
    let injector = match Injector::new(args.get("verbose").unwrap_or(0)) {
        Ok(injector) => injector,
        Err(why) => return give_up("fail-nth", why),
    };
    let Start { node, engine, session: witness } = match Start::new("fail-nth", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    let mut hit = 0;
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        tally.check(case.name, || {
            let swept = leaves_nothing(&witness, || {
                let mut swept = Swept::default();
                Kind::ALL
                    .into_iter()
                    .try_for_each(|kind| sweep(&node, &injector, engine, case, kind, &mut swept))?;
                Ok(swept)
            })?;
            hit += swept.objects + swept.pages;
            swept.judge()
        });
    }
    println!("{hit} allocations failed in all");
    tally.close()
}

/// Outcome of the shots at one call.
#[derive(Default)]
struct Swept {
    /// Objects that were not to be had, and pages.
    objects: u32,
    pages: u32,
    /// Answers of the call, with their numbers.
    answers: BTreeMap<String, u32>,
}

impl Swept {
    fn judge(&self) -> Outcome {
        if self.objects == 0 {
            return Err("no allocation failed".into());
        }
        let answers: Vec<_> = self.answers.iter().map(|(what, n)| format!("{n} {what}")).collect();
        let (objects, pages) = (self.objects, self.pages);
        Ok(format!("{objects} objects and {pages} pages failed; answers: {}", answers.join(", ")))
    }
}

/// Lets one allocation after the other fail, until there are no more.
fn sweep(
    node: &Node,
    injector: &Injector,
    engine: Engine,
    case: &Case,
    kind: Kind,
    swept: &mut Swept,
) -> Result<(), String> {
    /// So many calls in a row have come through when there are no more: the number varies a little.
    const UNTOUCHED: u32 = 3;

    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let rig = Rig { node, session: &session, engine };
    let mut untouched = 0;
    injector.aim(kind)?;
    for n in 1..MOST {
        let shot = injector.nth(n);
        let at = |why| format!("{kind:?} {n}: {why}");
        (case.run)(&rig, &shot).map_err(at)?;
        match shot.seen() {
            Seen::NotFired => return Err("the case makes no call".into()),
            Seen::Missed(Ok(())) => untouched += 1,
            Seen::Missed(Err(e)) => return Err(at(format!("untouched, it answers {e}"))),
            Seen::Hit(answer) => {
                untouched = 0;
                *swept.answers.entry(said(case, answer).map_err(at)?).or_default() += 1;
                match kind {
                    Kind::Object => swept.objects += 1,
                    Kind::Pages => swept.pages += 1,
                }
            }
        }
        session.prove_alive(engine).map_err(at)?;
        if untouched == UNTOUCHED {
            return Ok(());
        }
    }
    Err(format!("more than {MOST} allocations"))
}

fn said(case: &Case, answer: amdgpu_client::Result) -> Result<String, String> {
    match answer {
        Ok(()) => Ok("success".into()),
        Err(e) if case.errors.contains(&e.0) => Ok(e.to_string()),
        Err(e) => Err(format!("without memory, it answers {e}")),
    }
}

/// As much memory of the device must be in use after a sweep as before.
fn leaves_nothing<T>(
    witness: &Session,
    sweep: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let usage = || witness.usage().map_err(|e| format!("INFO: {e}"));
    let before = usage()?;
    let swept = sweep()?;
    // Memory may be given back with the last fence that used it, a moment later.
    let mut after = usage()?;
    for _ in 0..20 {
        if after == before {
            return Ok(swept);
        }
        thread::sleep(Duration::from_millis(100));
        after = usage()?;
    }
    Err(format!("(VRAM, GTT) in use: {before:?} bytes before, {after:?} after"))
}
