// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory that nothing happens to costs nothing, however large it is.
//!
//! 1. A thousand submissions that name an untouched userptr BO of 1 GiB: the driver's counters must
//!    show no gather, and no retry.
//! 2. Where the machine's clock counts instructions: a submission that names an untouched userptr BO
//!    costs the same from 4 KiB to 1 GiB, within 5 %.
//!
//! On a driver without counters only what it costs is said.

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    clock::{
        Meter,
        Unit,
        median, //
    },
    drm::Node,
    engine::Engine,
    mem::UserMem,
    race::Target,
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    stats::Stats,
    uapi::{
        self,
        Chunk, //
    }, //
};

/// Pages in a MiB.
const PAGES_PER_MIB: usize = 256;

/// Sizes of the second check, in MiB; 0 stands for one page.
const SIZES: [usize; 5] = [0, 1, 16, 128, 1024];

/// How far the costs of two sizes may be apart, as a share: one in so many.
const WITHIN: u64 = 20;

/// Submissions of nothing, with a list that names user memory.
struct Work<'s> {
    session: &'s Session,
    _target: Target<'s>,
    _mem: UserMem,
    ib: [uapi::ChunkIb; 1],
    list: u32,
}

impl<'s> Work<'s> {
    /// Over `pages` of memory that is there.
    fn new(session: &'s Session, pages: usize) -> Result<Self, String> {
        let mut mem = UserMem::anonymous(pages).map_err(|e| format!("mmap: {e}"))?;
        (0..pages).for_each(|page| mem.write_byte(page, 1));
        let target = Target::new(session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
        let handles = [session.ib.handle, target.handle];
        let list = session.file.bo_list(&handles).map_err(|e| format!("BO_LIST: {e}"))?;
        let ib = [session.nop_ib(Engine::Gfx)];
        Ok(Self { session, _target: target, _mem: mem, ib, list })
    }

    /// Submits, waits, and says what the submission cost.
    fn once(&self, meter: &Meter) -> Result<u64, String> {
        let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &self.ib)];
        let submit = || self.session.file.cs(self.session.ctx, self.list, &chunks);
        let (cost, seq) = meter.thread(submit);
        let seq = seq.map_err(|e| format!("CS: {e}"))?;
        match self.session.wait(Engine::Gfx, seq, PATIENCE_MS) {
            Ok(true) => Ok(cost),
            Ok(false) => Err("a job does not end".into()),
            Err(e) => Err(format!("WAIT_CS: {e}")),
        }
    }

    /// The median of many.
    fn cost(&self, meter: &Meter) -> Result<u64, String> {
        const SAMPLES: usize = 101;
        self.once(meter)?;
        let costs: Result<Vec<_>, _> = (0..SAMPLES)
            .map(|_| {
                meter.settle();
                self.once(meter)
            })
            .collect();
        Ok(median(costs?))
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // If it fails the list goes with the file.
        let _ = self.session.file.bo_list_destroy(self.list);
    }
}

/// The first check.
fn nothing_gathered(node: &Node, meter: &Meter, mib: usize) -> Outcome {
    const SUBMISSIONS: usize = 1000;
    const TRIES: usize = 5;
    let session = Session::open(node).map_err(|e| format!("open: {e}"))?;
    let work = Work::new(&session, mib * PAGES_PER_MIB)?;
    // The first writes page-table entries.
    work.once(meter)?;
    let mut seen = String::new();
    for _ in 0..TRIES {
        let before = Stats::read(&node.slot);
        for _ in 0..SUBMISSIONS {
            work.once(meter)?;
        }
        let Stats { gathers, pages_gathered, invalidations, retries, .. } =
            Stats::read(&node.slot).since(before);
        seen = format!(
            "{SUBMISSIONS} submissions, {gathers} gathers, {pages_gathered} pages, {retries} retries, \
             {invalidations} invalidations"
        );
        let nothing =
            [gathers, pages_gathered, retries].iter().all(|n| matches!(n.0, None | Some(0)));
        match invalidations.0 {
            // The kernel may move pages at any time, which is an invalidation like any other.
            Some(n) if n > 0 => {}
            _ if nothing => return Ok(seen),
            _ => return Err(seen),
        }
    }
    Err(format!("the memory did not stay untouched, in {TRIES} times: {seen}"))
}

/// The second check.
fn cost_is_constant(node: &Node, meter: &Meter, mib: usize) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("open: {e}"))?;
    let mut costs = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= mib) {
        let pages = (size * PAGES_PER_MIB).max(1);
        costs.push((pages * PAGE, Work::new(&session, pages)?.cost(meter)?));
    }
    let seen: Vec<_> = costs.iter().map(|(bytes, cost)| format!("{bytes} bytes: {cost}")).collect();
    let seen = format!("instructions with {}", seen.join(", "));
    let values = || costs.iter().map(|&(_, cost)| cost);
    let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    if least == 0 || (most - least) > least / WITHIN { Err(seen) } else { Ok(seen) }
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Shows that user memory which does not change costs a submission nothing.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("mib", "size of the largest userptr BO in MiB (default 1024)"),
        ],
    );
    let mib = args.get("mib").unwrap_or(1024);
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("cost", why),
    };
    let meter = match Meter::new() {
        Ok(meter) => meter,
        Err(why) => return give_up("cost", why),
    };
    let mut tally = Tally::new();
    tally.check(format!("an untouched userptr BO of {mib} MiB is not gathered again"), || {
        nothing_gathered(&node, &meter, mib)
    });
    let name = "the cost of a submission does not depend on the size of user memory";
    if meter.unit() == Unit::Instructions {
        tally.check(name, || cost_is_constant(&node, &meter, mib));
    } else {
        tally.skip(name, "the clock does not count instructions");
    }
    tally.close()
}
