// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Canaries in pages that the GPU was writing a moment ago.

use std::{
    collections::VecDeque,
    sync::atomic::{
        AtomicBool,
        AtomicUsize,
        Ordering, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    engine::Engine,
    ib::Stream,
    mem::{
        Page,
        UserMem, //
    },
    race::Target,
    report::{
        Outcome,
        Tally, //
    },
    rng::Rng,
    session::{
        PATIENCE_MS,
        Session, //
    }, //
};

/// Pages that the GPU writes: each word of each, many times over in one job.
const PAGES: usize = 64;
/// Sweeps over all pages in one job.
const SWEEPS: usize = 16;
/// Sets of canaries that are kept.
const KEPT: usize = 16;
const CANARY: Page = [0xca; PAGE];
const WRITTEN: u32 = 0x6666_6666;

/// State that the two threads share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// A job has been submitted and is not known to be done.
    under_way: AtomicBool,
    replaced: AtomicUsize,
    hit: AtomicUsize,
}

pub fn checks(session: &Session, engine: Engine, secs: u64, seed: u64, tally: &mut Tally) {
    for (name, call) in CALLS {
        tally.check(format_args!("canaries: {name}"), || {
            run(session, engine, secs, Rng::new(seed), call)
        });
    }
}

/// Gives a range of pages back.
type Call = fn(&mut UserMem, std::ops::Range<usize>) -> amdgpu_client::Result;

const CALLS: [(&str, Call); 2] =
    [("munmap and mmap", UserMem::unmap_and_map), ("MADV_DONTNEED", UserMem::discard)];

fn run(session: &Session, engine: Engine, secs: u64, rng: Rng, call: Call) -> Outcome {
    let mut mem = UserMem::anonymous(PAGES).map_err(|e| format!("mmap: {e}"))?;
    let target = Target::new(session, &mem).map_err(|e| format!("userptr: {e}"))?;
    let shared = Shared::default();
    let (writer, taker) = thread::scope(|scope| {
        let taker = scope.spawn(|| {
            let result = take_away(&mut mem, rng, call, &shared);
            shared.stop.store(true, Ordering::SeqCst);
            result
        });
        let writer = write(session, engine, &target, Duration::from_secs(secs), &shared);
        shared.stop.store(true, Ordering::SeqCst);
        (writer, taker.join().unwrap_or_else(|_| Err("the other thread panicked".into())))
    });
    taker?;
    let (jobs, refused) = writer?;
    let (replaced, hit) = (shared.replaced.into_inner(), shared.hit.into_inner());
    if hit == 0 || jobs == 0 {
        return Err(format!("no race was hit: {jobs} jobs, {replaced} replacements"));
    }
    Ok(format!("{hit} races hit in {replaced} replacements; {jobs} jobs, {refused} refused"))
}

/// Submits writers until the time is over. Jobs that ran, and submissions that were refused.
fn write(
    session: &Session,
    engine: Engine,
    target: &Target<'_>,
    time: Duration,
    shared: &Shared,
) -> Result<(usize, usize), String> {
    let mut stream = Stream::new();
    for _ in 0..SWEEPS {
        target.stores(engine, PAGES, WRITTEN, &mut stream);
    }
    let end = Instant::now() + time;
    let (mut jobs, mut refused) = (0, 0);
    while Instant::now() < end && !shared.stop.load(Ordering::SeqCst) {
        match session.submit(engine, &stream, &[target.handle]) {
            Ok(seq) => {
                shared.under_way.store(true, Ordering::SeqCst);
                let done = session.wait(engine, seq, PATIENCE_MS);
                shared.under_way.store(false, Ordering::SeqCst);
                match done {
                    Ok(true) => jobs += 1,
                    Ok(false) => return Err(format!("job {seq} not done")),
                    Err(e) => return Err(format!("waiting for job {seq}: {e}")),
                }
            }
            // A hole, a range that is not one mapping, a race that was lost.
            Err(Errno(libc::EFAULT | libc::EPERM | libc::EAGAIN | libc::EDEADLK)) => refused += 1,
            Err(e) => return Err(format!("submission: {e}")),
        }
    }
    Ok((jobs, refused))
}

/// Gives pages back and plants canaries until told to stop, and looks after them.
fn take_away(mem: &mut UserMem, mut rng: Rng, call: Call, shared: &Shared) -> Result<(), String> {
    let mut canaries: VecDeque<UserMem> = VecDeque::new();
    while !shared.stop.load(Ordering::SeqCst) {
        let len = rng.within(1..PAGES + 1);
        let first = rng.within(0..PAGES - len + 1);
        let under_way = shared.under_way.load(Ordering::SeqCst);
        call(mem, first..first + len).map_err(|e| format!("giving pages back: {e}"))?;
        shared.replaced.fetch_add(1, Ordering::SeqCst);
        if under_way {
            shared.hit.fetch_add(1, Ordering::SeqCst);
        }
        let mut planted = UserMem::anonymous(len).map_err(|e| format!("canaries: {e}"))?;
        (0..len).for_each(|page| planted.write_page(page, &CANARY));
        canaries.push_back(planted);
        for set in &canaries {
            intact(set)?;
        }
        if canaries.len() > KEPT {
            canaries.pop_front();
        }
    }
    canaries.iter().try_for_each(intact)
}

fn intact(canaries: &UserMem) -> Result<(), String> {
    let mut bytes = [0; PAGE];
    for page in 0..canaries.pages() {
        canaries.read_page(page, &mut bytes);
        if let Some(at) = bytes.iter().position(|b| *b != CANARY[0]) {
            let by_gpu = bytes[at] == WRITTEN.to_le_bytes()[0];
            return Err(format!(
                "a canary has {:#04x} at byte {at}{}",
                bytes[at],
                if by_gpu { ": the GPU wrote a page that was given back" } else { "" },
            ));
        }
    }
    Ok(())
}
