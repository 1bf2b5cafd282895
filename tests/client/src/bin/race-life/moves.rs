// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers move while jobs that use them wait. No call waits for the move: jobs from before it find
//! the old place, later ones the new place and the bytes there, and nobody else gets the old place
//! before the bytes have left it.

use crate::objects::each;
use crate::updates::{
    say,
    submit, //
};
use amdgpu_client::PAGE;
use amdgpu_client::drm::{
    Driver,
    Node, //
};
use amdgpu_client::engine::Engine;
use amdgpu_client::ib::Stream;
use amdgpu_client::num::{
    u32_of,
    u64_of,
    usize_of, //
};
use amdgpu_client::race::Gate;
use amdgpu_client::report::Tally;
use amdgpu_client::session::{
    Buffer,
    PATIENCE_MS,
    Session, //
};
use amdgpu_client::uapi::{
    DOMAIN_GTT,
    DOMAIN_VRAM,
    VA_OP_MAP, //
};

/// Word that the job before the move writes to each page, at its start.
const WRITTEN: u32 = 0x0b5e_55ed;
/// Word that the processor has written there before, beside it.
const TAG: u32 = 0x7a90_0000;
const BESIDE: usize = 0x40;
/// Long against any call that does not wait for the gate.
const SHUT_MS: u64 = 800;
/// Sizes in pages: of a buffer that is smaller than what a job is worth, and of one whose copy
/// takes several jobs.
const SIZES: [usize; 2] = [3, 400];

/// The job before the move, the one that asks for it, and the one that looks.
const WRITER: Engine = Engine::Gfx;
const MOVER: Engine = Engine::Dma(0);
const LOOKER: Engine = Engine::Dma(1);

pub fn checks(node: &Node, rounds: usize, tally: &mut Tally) {
    for (way, from, to) in
        [("VRAM to GTT", DOMAIN_VRAM, DOMAIN_GTT), ("GTT to VRAM", DOMAIN_GTT, DOMAIN_VRAM)]
    {
        for pages in SIZES {
            let move_of = |names| Move { pages, from, to, names };
            let name = format!("{way}, {pages} pages, after a job that writes them");
            each(tally, rounds, &name, || move_of(Names::All).check(node));
            let name = format!("{way}, {pages} pages, by jobs that do not name the BO");
            match node.driver {
                Driver::Rust => {
                    each(tally, rounds, &name, || move_of(Names::Mover).check(node));
                }
                Driver::Reference => tally.skip(&name, "the C driver moves what no job names"),
            }
        }
    }
    let name = format!("VRAM to GTT, {} pages, that nobody uses", SIZES[0]);
    each(tally, rounds, &name, || unused(node));
    each(tally, rounds, "the old place of a BO that is still to be copied", || place(node));
    each(tally, rounds.min(2), "GTT to VRAM, much memory that is mapped twice", || twice(node));
}

/// The jobs that name the BO.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    All,
    /// Only that which makes it move.
    Mover,
}

struct Move {
    pages: usize,
    from: u64,
    to: u64,
    names: Names,
}

/// A buffer with a tag in each page, which the GPU has seen.
fn tagged(session: &Session, pages: usize, domain: u64) -> Result<Buffer, String> {
    let bo = session.buffer(u64_of(pages * PAGE), domain, 0).map_err(say("a BO"))?;
    for page in 0..pages {
        bo.map.write(page * PAGE + BESIDE, TAG ^ u32_of(page));
    }
    session.run(MOVER, &Stream::new(), &[bo.handle])?;
    Ok(bo)
}

fn pages_of(bo: &Buffer) -> usize {
    usize_of(bo.size) / PAGE
}

/// Each page has what the job wrote and what the processor wrote before.
fn verify(what: &str, bo: &Buffer) -> Result<(), String> {
    for page in 0..pages_of(bo) {
        let at = page * PAGE;
        let (by_job, beside) = (bo.map.read(at), bo.map.read(at + BESIDE));
        if (by_job, beside) != (WRITTEN, TAG ^ u32_of(page)) {
            return Err(format!("page {page} of {what} has {by_job:#x} and {beside:#x}"));
        }
    }
    Ok(())
}

fn finish(session: &Session, engine: Engine, job: u64) -> Result<(), String> {
    match session.wait(engine, job, PATIENCE_MS).map_err(say("WAIT_CS"))? {
        true => Ok(()),
        false => Err(format!("the job on {engine} is not done")),
    }
}

/// A job that waits at a gate, and then writes to every page of a buffer.
fn writer(session: &Session, gate: &Gate<'_>, bo: &Buffer, handles: &[u32]) -> Result<u64, String> {
    let mut stream = Stream::new();
    gate.wait(WRITER, &mut stream);
    for page in 0..pages_of(bo) {
        stream.store(WRITER, bo.va + u64_of(page * PAGE), WRITTEN);
    }
    submit(session, 0, WRITER, &stream, handles, None)
}

impl Move {
    /// The handle of the BO, for a job that names it if all do.
    fn named(&self, bo: &Buffer) -> Vec<u32> {
        if self.names == Names::All { vec![bo.handle] } else { vec![] }
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        let session = Session::open(node).map_err(say("a session"))?;
        let bo = tagged(&session, self.pages, self.from)?;
        let seen = session.buffer(bo.size, DOMAIN_GTT, 0).map_err(say("a BO"))?;
        session.run(LOOKER, &Stream::new(), &[bo.handle, seen.handle])?;

        let gate = Gate::shut_for(&session, SHUT_MS)?;
        writer(&session, &gate, &bo, &self.named(&bo))?;
        let (jobs, timing) = gate.open_soon(|| {
            session.file.set_placement(bo.handle, self.to).map_err(say("SET_PLACEMENT"))?;
            let mover = submit(&session, MOVER_AT, MOVER, &Stream::new(), &[bo.handle], None)?;
            let mut stream = Stream::new();
            stream.copy(LOOKER, bo.va, seen.va, bo.size);
            let mut handles = self.named(&bo);
            handles.push(seen.handle);
            submit(&session, LOOKER_AT, LOOKER, &stream, &handles, None)
                .map(|looker| (mover, looker))
        });
        let (mover, looker) = jobs?;
        if timing.waited() {
            return Err("the calls came back after the gate was opened".into());
        }
        finish(&session, LOOKER, looker)?;
        finish(&session, MOVER, mover)?;
        verify("what a later job saw", &seen)?;
        verify("the buffer", &bo)
    }
}

/// A job has written to a buffer that the processor has looked at, and has ended: nobody uses it
/// when it moves.
fn unused(node: &Node) -> Result<(), String> {
    let session = Session::open(node).map_err(say("a session"))?;
    let bo = tagged(&session, SIZES[0], DOMAIN_VRAM)?;
    let mut stream = Stream::new();
    for page in 0..pages_of(&bo) {
        bo.map.read(page * PAGE);
        stream.store(WRITER, bo.va + u64_of(page * PAGE), WRITTEN);
    }
    session.run(WRITER, &stream, &[bo.handle])?;
    session.file.set_placement(bo.handle, DOMAIN_GTT).map_err(say("SET_PLACEMENT"))?;
    session.run(MOVER, &Stream::new(), &[bo.handle])?;
    verify("the buffer", &bo)
}

/// Place of the jobs' commands, behind those of the writer, which are many.
const MOVER_AT: usize = 14;
const LOOKER_AT: usize = 15;

/// A buffer is to leave VRAM, after a job that waits. New buffers must not get its place meanwhile,
/// as they are cleared.
fn place(node: &Node) -> Result<(), String> {
    const PAGES: usize = 64;
    const NEW: usize = 8;

    let session = Session::open(node).map_err(say("a session"))?;
    let bo = tagged(&session, PAGES, DOMAIN_VRAM)?;
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    writer(&session, &gate, &bo, &[bo.handle])?;
    let (made, timing) = gate.open_soon(|| {
        session.file.set_placement(bo.handle, DOMAIN_GTT).map_err(say("SET_PLACEMENT"))?;
        let mover = submit(&session, MOVER_AT, MOVER, &Stream::new(), &[bo.handle], None)?;
        let new = || session.file.gem_create(bo.size, DOMAIN_VRAM, 0).map_err(say("GEM_CREATE"));
        let new: Result<Vec<_>, _> = (0..NEW).map(|_| new()).collect();
        new.map(|new| (mover, new))
    });
    let (mover, new) = made?;
    if timing.waited() {
        return Err("the calls came back after the gate was opened".into());
    }
    finish(&session, MOVER, mover)?;
    verify("the buffer", &bo)?;
    for handle in new {
        let map = session.file.map(handle, bo.size).map_err(say("mmap"))?;
        if let Some(page) = (0..PAGES).find(|page| map.read(page * PAGE + BESIDE) != 0) {
            return Err(format!("page {page} of a new buffer has a former owner's bytes"));
        }
    }
    Ok(())
}

/// A buffer is mapped twice, and is so large that an engine writes the entries of either mapping.
/// It goes to VRAM after a job that waits; the next job finds it at both addresses.
fn twice(node: &Node) -> Result<(), String> {
    const PAGES: usize = 16_384 + 512;
    const SOME: [usize; 7] = [0, 1, 1023, 1024, 9_999, 16_384, PAGES - 1];

    let session = Session::open(node).map_err(say("a session"))?;
    let bo = session.buffer(u64_of(PAGES * PAGE), DOMAIN_GTT, 0).map_err(say("a BO"))?;
    let again = session.reserve_va(bo.size);
    session.file.gem_va(VA_OP_MAP, bo.handle, again, 0, bo.size).map_err(say("MAP"))?;
    for page in SOME {
        bo.map.write(page * PAGE + BESIDE, TAG ^ u32_of(page));
    }
    session.run(LOOKER, &Stream::new(), &[bo.handle])?;
    let vram = || session.usage().map(|usage| usage.0).map_err(say("MEMORY"));
    let before = vram()?;

    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    gate.wait(WRITER, &mut stream);
    let held = submit(&session, 0, WRITER, &stream, &[bo.handle], None)?;
    let (job, timing) = gate.open_soon(|| {
        session.file.set_placement(bo.handle, DOMAIN_VRAM).map_err(say("SET_PLACEMENT"))?;
        let mut stream = Stream::new();
        for page in SOME {
            let offset = u64_of(page * PAGE);
            stream.store(LOOKER, bo.va + offset, WRITTEN);
            stream.store(LOOKER, again + offset + 4, WRITTEN + 1);
        }
        submit(&session, 1, LOOKER, &stream, &[bo.handle], None)
    });
    let job = job?;
    if timing.waited() {
        return Err("the calls came back after the gate was opened".into());
    }
    finish(&session, WRITER, held)?;
    finish(&session, LOOKER, job)?;
    if vram()? < before + bo.size {
        return Err("the buffer is not in VRAM".into());
    }
    for page in SOME {
        let at = page * PAGE;
        let seen = [0, 4, BESIDE].map(|offset| bo.map.read(at + offset));
        let expected = [WRITTEN, WRITTEN + 1, TAG ^ u32_of(page)];
        if seen != expected {
            return Err(format!("page {page} has {seen:x?}, not {expected:x?}"));
        }
    }
    Ok(())
}
