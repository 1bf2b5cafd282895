// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory that nothing happens to costs nothing, however large it is and however much of it there
//! is.
//!
//! 1. A thousand submissions that name an untouched userptr BO of 1 GiB: the driver's counters must
//!    show no gather, and no retry.
//! 2. Where the machine's clock counts instructions: a submission that names an untouched userptr
//!    BO costs the same from 4 KiB to 1 GiB, within 5 %.
//! 3. There, too: a submission costs the same beside 10,000 userptr BOs that are mapped, and that
//!    no list ever named, as beside none, within 5 %.
//! 4. There, too: a submission that waits for eight times as many synchronization objects costs at
//!    most ten times as much.
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
    num::u64_of,
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
        CHUNK_ID_SYNCOBJ_IN,
        CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL,
        Chunk,
        ChunkSem,
        ChunkSyncobj,
        USERPTR_REGISTER,
        VA_OP_MAP, //
    }, //
};

/// Pages in a MiB.
const PAGES_PER_MIB: usize = 256;

/// Sizes of the second check, in MiB; 0 stands for one page.
const SIZES: [usize; 5] = [0, 1, 16, 128, 1024];

/// Numbers of BOs of the third check.
const UNNAMED: [usize; 4] = [0, 100, 1_000, 10_000];

/// Largest difference of the costs of two sizes, as a share: one in so many.
const WITHIN: u64 = 20;

/// Numbers of synchronization objects of the fourth check, and how much more the second may cost.
const OBJECTS: [usize; 2] = [1_000, 8_000];
const FACTOR: u64 = 10;

/// Submissions of nothing, with a list that names user memory.
struct Work<'s> {
    session: &'s Session,
    _target: Option<(Target<'s>, UserMem)>,
    ib: [uapi::ChunkIb; 1],
    list: u32,
}

impl<'s> Work<'s> {
    /// Over `pages` of memory that is there.
    fn new(session: &'s Session, pages: usize) -> Result<Self, String> {
        let mem = present(pages)?;
        let target = Target::new(session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
        let mut work = Self::naming(session, &[session.ib.handle, target.handle])?;
        work._target = Some((target, mem));
        Ok(work)
    }

    fn naming(session: &'s Session, handles: &[u32]) -> Result<Self, String> {
        let list = session.file.bo_list(handles).map_err(|e| format!("BO_LIST: {e}"))?;
        let ib = [session.nop_ib(Engine::Gfx)];
        Ok(Self { session, _target: None, ib, list })
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

/// Memory that is there.
fn present(pages: usize) -> Result<UserMem, String> {
    let mut mem = UserMem::anonymous(pages).map_err(|e| format!("mmap: {e}"))?;
    (0..pages).for_each(|page| mem.write_byte(page, 1));
    Ok(mem)
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
            "{SUBMISSIONS} submissions, {gathers} gathers, {pages_gathered} pages, \
             {retries} retries, {invalidations} invalidations"
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

/// Costs of the same, which must be as good as equal. Each has a name.
fn are_constant(costs: &[(String, u64)]) -> Outcome {
    let seen: Vec<_> = costs.iter().map(|(what, cost)| format!("{what}: {cost}")).collect();
    let seen = format!("instructions with {}", seen.join(", "));
    let values = || costs.iter().map(|&(_, cost)| cost);
    let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    if least == 0 || (most - least) > least / WITHIN { Err(seen) } else { Ok(seen) }
}

/// The second check.
fn cost_is_constant(node: &Node, meter: &Meter, mib: usize) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("open: {e}"))?;
    let mut costs = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= mib) {
        let pages = (size * PAGES_PER_MIB).max(1);
        let cost = Work::new(&session, pages)?.cost(meter)?;
        costs.push((format!("{} bytes", pages * PAGE), cost));
    }
    are_constant(&costs)
}

/// The third check.
fn unnamed_cost_nothing(node: &Node, meter: &Meter) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("open: {e}"))?;
    let mem = present(1)?;
    let bytes = u64_of(mem.len());
    let (mut count, mut costs) = (0, Vec::new());
    for unnamed in UNNAMED {
        for _ in count..unnamed {
            let handle = session.file.gem_userptr(mem.addr(), bytes, USERPTR_REGISTER);
            let handle = handle.map_err(|e| format!("GEM_USERPTR: {e}"))?;
            let va = session.reserve_va(bytes);
            let mapped = session.file.gem_va(VA_OP_MAP, handle, va, 0, bytes);
            mapped.map_err(|e| format!("GEM_VA: {e}"))?;
        }
        count = unnamed;
        let cost = Work::naming(&session, &[session.ib.handle])?.cost(meter)?;
        costs.push((format!("{count} BOs"), cost));
    }
    are_constant(&costs)
}

/// The fourth check. Each object is a timeline of its own, so that no two fences are of one.
fn waits_are_linear(node: &Node, meter: &Meter) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("open: {e}"))?;
    let ib = [session.nop_ib(Engine::Gfx)];
    let list = session.file.bo_list(&[session.ib.handle]).map_err(|e| format!("BO_LIST: {e}"))?;
    let submit = |kind, entries: &[ChunkSyncobj]| {
        let sems: Vec<_> =
            entries.iter().map(|&ChunkSyncobj { handle, .. }| ChunkSem { handle }).collect();
        let objects = match kind {
            CHUNK_ID_SYNCOBJ_IN => Chunk::of(kind, &sems),
            _ => Chunk::of(kind, entries),
        };
        let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &ib), objects];
        let (cost, seq) = meter.thread(|| session.file.cs(session.ctx, list, &chunks));
        let seq = seq.map_err(|e| format!("CS: {e}"))?;
        match session.wait(Engine::Gfx, seq, PATIENCE_MS) {
            Ok(true) => Ok(cost),
            Ok(false) => Err("a job does not end".into()),
            Err(e) => Err(format!("WAIT_CS: {e}")),
        }
    };
    let mut objects = Vec::new();
    let mut costs = Vec::new();
    for count in OBJECTS {
        while objects.len() < count {
            let handle =
                session.file.syncobj_create().map_err(|e| format!("SYNCOBJ_CREATE: {e}"))?;
            objects.push(ChunkSyncobj { handle, flags: 0, point: 1 });
        }
        // What they hold has ended by then, but is a fence all the same.
        submit(CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, &objects)?;
        submit(CHUNK_ID_SYNCOBJ_IN, &objects)?;
        costs.push(submit(CHUNK_ID_SYNCOBJ_IN, &objects)?);
    }
    let seen = format!("instructions with {OBJECTS:?} objects: {costs:?}");
    if costs[1] > FACTOR * costs[0] { Err(seen) } else { Ok(seen) }
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Shows that memory which does not change costs a submission nothing.",
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
    let counted: [(_, &dyn Fn() -> Outcome); 3] = [
        ("the cost of a submission does not depend on the size of user memory", &|| {
            cost_is_constant(&node, &meter, mib)
        }),
        ("the cost of a submission does not depend on memory that no list names", &|| {
            unnamed_cost_nothing(&node, &meter)
        }),
        ("the cost of a submission grows as the number of objects that it waits for", &|| {
            waits_are_linear(&node, &meter)
        }),
    ];
    for (name, check) in counted {
        if meter.unit() == Unit::Instructions {
            tally.check(name, check);
        } else {
            tally.skip(name, "the clock does not count instructions");
        }
    }
    tally.close()
}
