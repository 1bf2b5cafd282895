// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command buffers that end with a copy of the command processor's own DMA and do not wait for it.
//!
//! When the job is done, so is the copy: what comes next for the memory is not the job's.

use amdgpu_client::{
    PAGE,
    drm::Node,
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::{
        u32_of,
        u64_of, //
    },
    pm4::{
        By,
        DmaData,
        LooseDmaData, //
    },
    race::Target,
    report::Outcome,
    session::Session, //
};

pub const CASES: [(Engine, By); 3] =
    [(Engine::Gfx, By::Me), (Engine::Gfx, By::Pfp), (Engine::Compute(0), By::Me)];

const ROUNDS: u8 = 10;
/// Of the source and of the destination: 1 MiB.
const PAGES: usize = 256;

pub fn run(node: &Node, engine: Engine, by: By) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let mut from = UserMem::anonymous(PAGES).map_err(|e| format!("mmap: {e}"))?;
    for round in 1..=ROUNDS {
        for page in 0..PAGES {
            from.write_page(page, &[round; PAGE]);
        }
        let mut to = UserMem::anonymous(PAGES).map_err(|e| format!("mmap: {e}"))?;
        let source = Target::new(&session, &from).map_err(|e| format!("userptr: {e}"))?;
        let target = Target::new(&session, &to).map_err(|e| format!("userptr: {e}"))?;
        let mut stream = Stream::new();
        let bytes = u32_of(PAGES * PAGE);
        stream.push(LooseDmaData(DmaData { src: source.va, dst: target.va, bytes }, by));
        session.run(engine, &stream, &[source.handle, target.handle])?;
        let mut last = [0; PAGE];
        to.read_page(PAGES - 1, &mut last);
        if last != [round; PAGE] {
            return Err(format!("round {round}: the job is done, and its copy is not"));
        }
        to.unmap_and_map(0..PAGES).map_err(|e| format!("munmap and mmap: {e}"))?;
        for page in 0..PAGES {
            to.read_page(page, &mut last);
            if last != [0; PAGE] {
                return Err(format!("round {round}: fresh page {page} was written"));
            }
        }
    }
    Ok(format!("{ROUNDS} copies of {} KiB", u64_of(PAGES * PAGE) >> 10))
}
