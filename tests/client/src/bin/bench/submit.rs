// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Costs of a submission, and their growth.

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    clock::median,
    drm,
    engine::Engine,
    mem::UserMem,
    num::u64_of,
    race::Target,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk, //
    }, //
};

use crate::{
    Bench,
    Outcome,
    PAGES_PER_MIB,
    say,
    size, //
};

/// A session, and a submission of nothing with a BO list.
struct Nothing<'s> {
    session: &'s Session,
    engine: Engine,
    ib: [uapi::ChunkIb; 1],
    list: u32,
}

impl<'s> Nothing<'s> {
    /// With the command buffer and `others` in the list.
    fn new(
        session: &'s Session,
        engine: Engine,
        others: &[u32],
    ) -> std::result::Result<Self, String> {
        let handles: Vec<_> =
            [session.ib.handle].into_iter().chain(others.iter().copied()).collect();
        let list = session.file.bo_list(&handles).map_err(|e| format!("BO_LIST: {e}"))?;
        Ok(Self { session, engine, ib: [session.nop_ib(engine)], list })
    }

    fn submit(&self) -> Result<u64> {
        let chunks = [Chunk::of(uapi::CHUNK_ID_IB, &self.ib)];
        self.again(|| self.session.file.cs(self.session.ctx, self.list, &chunks))
    }

    /// The C driver says EAGAIN where user memory changed, and libdrm goes round.
    fn again(&self, submit: impl Fn() -> Result<u64>) -> Result<u64> {
        loop {
            match submit() {
                Err(Errno(libc::EAGAIN)) => {}
                answer => return answer,
            }
        }
    }

    fn finish(&self, seq: Result<u64>) -> Outcome {
        let seq = seq.map_err(|e| format!("CS: {e}"))?;
        match self.session.wait(self.engine, seq, PATIENCE_MS) {
            Ok(true) => Ok(()),
            Ok(false) => Err("a job does not end".into()),
            Err(e) => Err(format!("WAIT_CS: {e}")),
        }
    }

    /// The median cost of `submit`; each job is waited for, which does not count.
    fn cost(
        &self,
        bench: &Bench,
        submit: impl Fn() -> Result<u64>,
    ) -> std::result::Result<u64, String> {
        let mut costs = Vec::new();
        // The first ones make what later ones find.
        for _ in 0..bench.samples + 3 {
            bench.meter.settle();
            let (cost, seq) = bench.meter.thread(&submit);
            self.finish(seq)?;
            costs.push(cost);
        }
        Ok(median(costs.split_off(3)))
    }
}

fn open(bench: &Bench) -> std::result::Result<Session, String> {
    Session::open(&bench.node).map_err(|e| format!("open: {e}"))
}

/// An IB of eight no-operations, on each kind of engine: the ioctl, and all that happens until the
/// client is told.
pub fn empty(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    for engine in [Engine::Gfx, Engine::Compute(0), Engine::Dma(0)] {
        let nothing = Nothing::new(&session, engine, &[])?;
        say("submit-empty", engine, nothing.cost(bench, || nothing.submit())?);
        let rounds = bench.samples;
        let (cost, outcome) =
            bench.meter.machine(|| (0..rounds).try_for_each(|_| nothing.finish(nothing.submit())));
        outcome?;
        say("submit-empty, all", engine, cost / u64_of(rounds));
    }
    Ok(())
}

/// The same with a user fence, as Mesa asks for with every submission.
pub fn user_fence(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    for engine in [Engine::Gfx, Engine::Dma(0)] {
        let nothing = Nothing::new(&session, engine, &[])?;
        let fence = [uapi::ChunkFence { handle: session.data.handle, offset: 0 }];
        let chunks =
            [Chunk::of(uapi::CHUNK_ID_IB, &nothing.ib), Chunk::of(uapi::CHUNK_ID_FENCE, &fence)];
        let submit = || session.file.cs(session.ctx, nothing.list, &chunks);
        say("submit-fence", engine, nothing.cost(bench, submit)?);
    }
    Ok(())
}

/// Numbers of BOs in the rows with lists.
const LENGTHS: [usize; 4] = [1, 16, 256, 4096];

/// BOs of a page, mapped, as many as the longest list has besides the command buffer.
fn many(session: &Session) -> std::result::Result<Vec<u32>, String> {
    let page = u64_of(PAGE);
    (1..LENGTHS[LENGTHS.len() - 1])
        .map(|_| {
            let handle = session.file.gem_create(page, uapi::DOMAIN_GTT, 0)?;
            let va = session.reserve_va(page);
            session.file.gem_va(uapi::VA_OP_MAP, handle, va, 0, page)?;
            Ok(handle)
        })
        .collect::<Result<_>>()
        .map_err(|e| format!("many BOs: {e}"))
}

/// A list of so many BOs, made before.
pub fn bos(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    let many = many(&session)?;
    for length in LENGTHS {
        let nothing = Nothing::new(&session, Engine::Gfx, &many[..length - 1])?;
        say("submit-bos", length, nothing.cost(bench, || nothing.submit())?);
    }
    Ok(())
}

/// The same list, brought along by each submission.
pub fn handles(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    let many = many(&session)?;
    for length in LENGTHS {
        let nothing = Nothing::new(&session, Engine::Gfx, &[])?;
        let handles: Vec<_> =
            [session.ib.handle].into_iter().chain(many[..length - 1].iter().copied()).collect();
        let entries = drm::list_entries(&handles);
        let list = [drm::list_request(&entries)];
        let chunks = [
            Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list),
            Chunk::of(uapi::CHUNK_ID_IB, &nothing.ib),
        ];
        let submit = || session.file.cs(session.ctx, 0, &chunks);
        say("submit-handles", length, nothing.cost(bench, submit)?);
    }
    Ok(())
}

/// User memory of some sizes, in pages.
const USER: [usize; 4] = [1, PAGES_PER_MIB, 64 * PAGES_PER_MIB, 1024 * PAGES_PER_MIB];

/// Memory that is there.
fn present(pages: usize) -> std::result::Result<UserMem, String> {
    let mut mem = UserMem::anonymous(pages).map_err(|e| format!("mmap: {e}"))?;
    touch(&mut mem);
    Ok(mem)
}

fn touch(mem: &mut UserMem) {
    (0..mem.pages()).for_each(|page| mem.write_byte(page, 1));
}

/// With a userptr BO in the list, of which nothing changes.
pub fn userptr(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    for pages in bench.sizes(&USER) {
        let mem = present(pages)?;
        let target = Target::new(&session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
        let nothing = Nothing::new(&session, Engine::Gfx, &[target.handle])?;
        say("submit-userptr", size(pages), nothing.cost(bench, || nothing.submit())?);
    }
    Ok(())
}

/// The first submission after all of the memory was replaced (and is there again), for each page.
pub fn invalidated(bench: &Bench) -> Outcome {
    let session = open(bench)?;
    for pages in bench.sizes(&USER[..3]) {
        let mut mem = present(pages)?;
        let target = Target::new(&session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
        let nothing = Nothing::new(&session, Engine::Gfx, &[target.handle])?;
        let mut costs = Vec::new();
        for _ in 0..bench.samples.min(15) {
            mem.discard(0..pages).map_err(|e| format!("madvise: {e}"))?;
            touch(&mut mem);
            bench.meter.settle();
            let (cost, seq) = bench.meter.thread(|| nothing.submit());
            nothing.finish(seq)?;
            costs.push(cost);
        }
        say("submit-invalidated, a page", size(pages), median(costs) / u64_of(pages));
    }
    Ok(())
}
