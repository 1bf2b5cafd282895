// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One call takes many mappings away, beside a job that is about to use them.
//!
//! The driver takes away some hundred mappings at a time, for others wait for its lock. The change
//! as a whole is written to the page tables when the job has ended, from memory that is counted
//! before: no piece may take any that was not counted.

use amdgpu_client::{
    PAGE,
    drm::Node,
    engine::Engine,
    ib::Stream,
    num::u64_of,
    race::Gate,
    report::Tally,
    session::{
        Buffer,
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM,
        VA_OP_CLEAR,
        VA_OP_MAP,
        VA_OP_REPLACE, //
    }, //
};

use crate::{
    objects::each,
    updates::{
        say,
        submit, //
    }, //
};

const FIRST: u32 = 0x0b5e_55ed;
const SECOND: u32 = 0x5eed_0b5e;
/// Long against any call that does not wait for the gate.
const SHUT_MS: u64 = 2000;
/// Pages of the mappings at both ends, of which half is taken away: large enough for a fragment.
const EDGE: usize = 16;
const HALF: usize = EDGE / 2;
const PAGE64: u64 = u64_of(PAGE);

/// Takes away what is mapped, and maps another BO there: `(session, BO, address, bytes)`.
type Change = fn(&Session, u32, u64, u64) -> amdgpu_client::Result;

pub fn checks(node: &Node, rounds: usize, tally: &mut Tally) {
    let changes: [(&str, Change); 2] = [
        ("CLEAR", |session, bo, va, bytes| {
            session.file.gem_va(VA_OP_CLEAR, 0, va, 0, bytes)?;
            session.file.gem_va(VA_OP_MAP, bo, va, 0, bytes)
        }),
        ("REPLACE", |session, bo, va, bytes| session.file.gem_va(VA_OP_REPLACE, bo, va, 0, bytes)),
    ];
    for count in [300, 3_000] {
        for (what, change) in changes {
            let name = format!("GEM_VA {what} of {count} mappings that a job will use");
            each(tally, rounds, &name, || many(node, count, change));
        }
    }
}

/// A range of the address space: the second half of a mapping of `edge`, mappings of a page each,
/// the first half of another mapping of `edge`.
struct Range<'s> {
    session: &'s Session,
    count: usize,
    edge: Buffer,
    /// The BO of the mappings between: each shows a page.
    old: Buffer,
    /// Address of the first mapping.
    start: u64,
}

impl<'s> Range<'s> {
    fn new(session: &'s Session, count: usize) -> Result<Self, String> {
        let edge = session.buffer(u64_of(EDGE) * PAGE64, DOMAIN_VRAM, 0).map_err(say("a BO"))?;
        let old = session.buffer(u64_of(count) * PAGE64, DOMAIN_GTT, 0).map_err(say("a BO"))?;
        let start = session.reserve_va(u64_of(count + 2 * EDGE) * PAGE64);
        let range = Self { session, count, edge, old, start };
        for place in [range.start, range.last()] {
            range.map(range.edge.handle, place, 0, EDGE)?;
        }
        for page in 0..count {
            range.map(range.old.handle, range.address(page), page, 1)?;
        }
        Ok(range)
    }

    fn map(&self, bo: u32, va: u64, page: usize, count: usize) -> Result<(), String> {
        let (offset, bytes) = (u64_of(page) * PAGE64, u64_of(count) * PAGE64);
        self.session.file.gem_va(VA_OP_MAP, bo, va, offset, bytes).map_err(say("MAP"))
    }

    /// The address of one of the mappings between.
    fn address(&self, page: usize) -> u64 {
        self.start + u64_of(EDGE + page) * PAGE64
    }

    /// The address of the last mapping.
    fn last(&self) -> u64 {
        self.address(self.count)
    }

    /// Address and pages of what is taken away.
    fn taken(&self) -> (u64, usize) {
        (self.start + u64_of(HALF) * PAGE64, self.count + EDGE)
    }

    /// Some of the mappings between: around the borders of pieces, and at both ends.
    fn some(&self) -> impl Iterator<Item = usize> {
        let count = self.count;
        [0, 1, 254, 255, 256, 257, 511, 512, count - 2, count - 1]
            .into_iter()
            .filter(move |&n| n < count)
    }

    /// Stores to the mappings between, and to both halves of both mappings at the ends.
    fn stores(&self, engine: Engine, value: u32, at: u64, stream: &mut Stream) {
        for page in self.some() {
            stream.store(engine, self.address(page) + at, value);
        }
        for place in [self.start, self.last()] {
            for page in [0, HALF] {
                stream.store(engine, place + u64_of(page) * PAGE64 + at, value);
            }
        }
    }
}

/// A job waits at a gate. What it will write is taken away, and another BO is mapped there; a
/// second job, on another ring, writes to the same addresses.
fn many(node: &Node, count: usize, change: Change) -> Result<(), String> {
    const HELD: Engine = Engine::Gfx;
    const LATER: Engine = Engine::Dma(1);
    /// Place in each page at which the second job writes.
    const BESIDE: usize = 8;

    let session = Session::open(node).map_err(say("a session"))?;
    let range = Range::new(&session, count)?;
    let (va, pages) = range.taken();
    let bytes = u64_of(pages) * PAGE64;
    let new = session.buffer(bytes, DOMAIN_GTT, 0).map_err(say("a BO"))?;
    let handles = [range.edge.handle, range.old.handle, new.handle];
    // What clears them is over, and so is the first use of the addresses.
    for engine in [HELD, LATER] {
        session.run(engine, &Stream::new(), &handles)?;
    }
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(HELD, &mut stream);
    range.stores(HELD, FIRST, 0, &mut stream);
    let held = submit(&session, 0, HELD, &stream, &handles, None)?;
    let (later, timing) = gate.open_soon(|| {
        change(&session, new.handle, va, bytes).map_err(say("the change"))?;
        let mut stream = Stream::new();
        range.stores(LATER, SECOND, u64_of(BESIDE), &mut stream);
        submit(&session, 1, LATER, &stream, &handles, None)
    });
    let later = later?;
    if timing.waited() {
        return Err("the calls came back after the gate was opened".into());
    }
    for (engine, seq) in [(HELD, held), (LATER, later)] {
        if !session.wait(engine, seq, PATIENCE_MS).map_err(say("WAIT_CS"))? {
            return Err(format!("the job on {engine} is not done"));
        }
    }
    let words =
        |bo: &Buffer, page: usize| (bo.map.read(page * PAGE), bo.map.read(page * PAGE + BESIDE));
    for page in range.some() {
        let seen = (words(&range.old, page), words(&new, page + HALF));
        if seen != ((FIRST, 0), (0, SECOND)) {
            return Err(format!("mapping {page}: the old and the new BO hold {seen:#x?}"));
        }
    }
    // One mapping keeps its first half, the other its second; both have a page of either half
    // written.
    let seen = [words(&range.edge, 0), words(&range.edge, HALF)];
    if seen != [(FIRST, SECOND); 2] {
        return Err(format!("the BO at both ends holds {seen:#x?}"));
    }
    let seen = [words(&new, 0), words(&new, HALF + count)];
    if seen != [(0, SECOND); 2] {
        return Err(format!("the new BO holds {seen:#x?} in the places of what was at both ends"));
    }
    Ok(())
}
