// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Submissions in unusual company: two of one list, one that does not say what it reaches, one
//! beside GEM_VA, one of more than a gather's first slice, two that lock each other's buffers, and
//! those of a stranger who has nothing to do with it.

use std::{
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    PAGE,
    child,
    drm::{
        list_entries,
        list_request,
        now_ns, //
    },
    engine::Engine,
    ib::Stream,
    mem::{
        Access,
        Advice,
        HUGE_PAGES,
        UserMem,
        memory_file, //
    },
    num::u64_of,
    race::{
        Latch,
        Target, //
    },
    session::Session,
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

use crate::{
    arena::{
        Arena,
        Side, //
    },
    banks::{
        Banks,
        MAP_OVER,
        PAGES,
        UNMAP, //
    },
    owner::{
        Manner,
        Owner, //
    },
    setting::{
        Answer,
        NOT_HIT,
        Seen,
        Setting, //
    },
    writer::{
        Fresh,
        Marks,
        Names,
        WRITTEN,
        Writer,
        say, //
    }, //
};

/// The pages that a job writes which does not name the memory: one of those whose page-table
/// entries a GPU caches together. What is mapped beside an entry that it has cached such a job may
/// not see, as nobody drops the caches for it; the model would report that as a mistake of the
/// driver.
const APART: usize = 8;

/// Memory with a witness, a BO of it, and what jobs may see there.
struct Stage<'s> {
    setting: &'s Setting,
    target: Target<'s>,
    marks: Marks,
}

impl<'s> Stage<'s> {
    fn new(setting: &'s Setting, session: &'s Session, banks: &Banks) -> Result<Self, String> {
        let target = Target::of_any(session, &banks.mem).map_err(say("userptr"))?;
        Ok(Self { setting, target, marks: Marks::new(PAGES, Fresh::Stamped) })
    }

    /// One that names the memory.
    fn writer(&self, engine: Engine, refusals: &'static [i32]) -> Result<Writer<'_>, String> {
        Writer::over(&self.target, PAGES, engine, Some(&self.marks), refusals)
    }

    /// Races `others` against the replacement of memory.
    fn race<'a>(&'a self, banks: &'a mut Banks, mut sides: Vec<Side<'a>>) -> Answer {
        let (rng, marks) = (self.setting.rng(), &self.marks);
        sides.push(Box::new(move |arena| banks.take(arena, marks, rng, MAP_OVER)));
        Ok(Arena::race(self.setting.time, sides)?.seen())
    }
}

/// One BO list, submitted by two threads to two engines.
pub fn one_list(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mut banks = Banks::new()?;
    let stage = Stage::new(setting, &session, &banks)?;
    let mut writers =
        [stage.writer(setting.engine, &[])?, stage.writer(setting.other_engine(), &[])?];
    let mut handles = vec![stage.target.handle];
    handles.extend(writers.iter().flat_map(|w| [w.session.ib.handle, w.session.data.handle]));
    let list = session.file.bo_list(&handles).map_err(say("BO_LIST"))?;
    writers.iter_mut().for_each(|writer| writer.names = Names::List(list));
    let [one, other] = writers;
    stage.race(
        &mut banks,
        vec![Box::new(move |arena| one.run(arena)), Box::new(move |arena| other.run(arena))],
    )
}

/// A job that does not name the memory, but has its address.
pub fn unlisted(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mut banks = Banks::new()?;
    let stage = Stage::new(setting, &session, &banks)?;
    let writer = stage.writer(setting.engine, &[])?;
    let mut stranger = stage.writer(setting.other_engine(), &[])?;
    stranger.names = Names::Handles(Vec::new());
    stranger.pages = (0..PAGES).step_by(APART).collect();
    // What it reads while the memory is out of its reach is nothing.
    stranger.marks = None;
    stage.race(
        &mut banks,
        vec![Box::new(move |arena| writer.run(arena)), Box::new(move |arena| stranger.run(arena))],
    )
}

/// GEM_VA maps the BO at another address and unmaps it, current or invalidated, and a job that does
/// not name it uses that address.
pub fn gem_va(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mut banks = Banks::new()?;
    let stage = Stage::new(setting, &session, &banks)?;
    let writer = stage.writer(setting.engine, &[])?;
    let (engine, handle) = (setting.other_engine(), stage.target.handle);
    let size = u64_of(PAGES * PAGE);
    let va = session.reserve_va(size);
    let mapper = session.another().map_err(say("a session"))?;
    let mut stream = Stream::new();
    for page in (0..PAGES).step_by(APART).cycle().take(32) {
        stream.store(engine, va + u64_of(page * PAGE + WRITTEN), 0x0077_0077);
    }
    let mut mapped = 0;
    let count = &mut mapped;
    let mapping: Side<'_> = Box::new(move |arena| {
        while arena.goes_on() {
            mapper.file.gem_va(VA_OP_MAP, handle, va, 0, size).map_err(say("GEM_VA map"))?;
            arena.run(&mapper, engine, &stream, &[], &[])?;
            mapper.file.gem_va(VA_OP_UNMAP, handle, va, 0, 0).map_err(say("GEM_VA unmap"))?;
            *count += 1;
        }
        Ok(())
    });
    let seen = stage.race(&mut banks, vec![Box::new(move |arena| writer.run(arena)), mapping])?;
    let said = format!("{mapped} times mapped and unmapped: {}", seen.said);
    Ok(Seen { said, ..seen })
}

/// A range of more than 2 GiB, of which the beginning is replaced while the rest is gathered.
pub fn beyond_2_gib(setting: &Setting) -> Answer {
    /// A slice of a gather of the C driver, and something.
    const HUGE: usize = 1024 + 32;
    const RANGE: usize = HUGE * HUGE_PAGES;
    /// Number of times that the memory is replaced in the time of one gather.
    const STRIKES: u64 = 32;
    /// A gather of that much takes its time.
    const LEAST: Duration = Duration::from_secs(4);
    let session = setting.session()?;
    // Read-only, so that the kernel does not count it as memory that will be needed.
    let reserved = UserMem::aligned_with(RANGE, Access::ReadOnly).map_err(say("mmap"))?;
    let banks = Banks::at_the_start_of(reserved, |mem| {
        // One huge page, again and again.
        let file = memory_file(HUGE_PAGES).map_err(say("a file"))?;
        let mut page = UserMem::aligned(HUGE_PAGES).map_err(say("mmap"))?;
        page.map_over(0..HUGE_PAGES, &file, 0).map_err(say("mmap"))?;
        (0..HUGE_PAGES).for_each(|n| page.store(n, WRITTEN, 0));
        // Where the kernel has no huge pages for files, small ones do, only slower.
        let _ = page.advise(0..HUGE_PAGES, Advice::Collapse);
        (0..HUGE)
            .try_for_each(|n| mem.map_over(n * HUGE_PAGES..(n + 1) * HUGE_PAGES, &file, 0))
            .map_err(say("mmap"))
    });
    let mut banks = banks?;
    let stage = Stage::new(setting, &session, &banks)?;
    let writer = stage.writer(setting.engine, &[])?;
    let before = setting.stats();
    let (mut rng, marks) = (setting.rng(), &stage.marks);
    let taker: Side<'_> = Box::new(|arena| {
        let mut longest = 1;
        while arena.goes_on() {
            // The next submission gathers everything; somewhere in it, again and again.
            banks.replace(arena, marks, &mut rng, MAP_OVER)?;
            let Some(began) = next_submission(arena) else { break };
            for _ in 0..STRIKES {
                std::thread::sleep(Duration::from_nanos(rng.next() % longest / STRIKES));
                banks.replace(arena, marks, &mut rng, MAP_OVER)?;
            }
            banks.intact()?;
            while arena.is_submitting() && arena.goes_on() {
                std::thread::sleep(Duration::from_micros(100));
            }
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(1);
            longest = longest.max(took).min(2 * took);
        }
        banks.intact()
    });
    let time = setting.time.max(LEAST);
    let score = Arena::race(time, vec![Box::new(move |arena| writer.run(arena)), taker])?;
    let since = setting.stats().since(before);
    if score.submissions_hit == 0 || since.retries.0 == Some(0) {
        return Err(format!("{NOT_HIT}: {score}, {} retries", since.retries));
    }
    Ok(Seen {
        hit: score.submissions_hit,
        said: format!(
            "{score}; {} pages gathered, {} retries",
            since.pages_gathered, since.retries
        ),
    })
}

/// Waits for a submission to begin.
fn next_submission(arena: &Arena) -> Option<Instant> {
    while arena.goes_on() {
        if arena.is_submitting() {
            return Some(Instant::now());
        }
        std::thread::yield_now();
    }
    None
}

/// Two files submit the same buffers in opposite orders: each is in the other's way again and
/// again, and neither for ever.
pub fn opposite_orders(setting: &Setting) -> Answer {
    /// Buffers that both name.
    const SHARED: usize = 24;
    /// Jobs that may be queued.
    const AHEAD: u64 = 16;
    let first = setting.session()?;
    let bo = |_| first.file.gem_create(u64_of(PAGE), DOMAIN_GTT, 0).map_err(say("a BO"));
    let bos = (0..SHARED).map(bo).collect::<Result<Vec<_>, String>>()?;
    let second = setting.session()?;
    let share = |&bo| second.file.import(&first.file.export(bo)?);
    let mut shared =
        bos.iter().map(share).collect::<amdgpu_client::Result<Vec<_>>>().map_err(say("PRIME"))?;
    shared.reverse();
    let handles = [bos, shared];
    let sessions = [first, second];
    let inside = AtomicUsize::new(0);
    let engines = [setting.engine, setting.other_engine()];
    let sides = sessions.iter().zip(handles).zip(engines).map(|((session, handles), engine)| {
        // Sessions are not shared between threads: this one needs its own, in the same file.
        let session = session.another().map_err(say("a session"))?;
        let inside = &inside;
        let side: Side<'_> = Box::new(move |arena| {
            let ib = [session.nop_ib(engine)];
            let mut named = vec![session.ib.handle];
            named.extend(handles);
            let entries = list_entries(&named);
            let list = [list_request(&entries)];
            let chunks =
                [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
            for number in 1.. {
                if !arena.goes_on() {
                    break;
                }
                let other = inside.fetch_add(1, Ordering::SeqCst) > 0;
                let seq = session.file.cs(session.ctx, 0, &chunks);
                inside.fetch_sub(1, Ordering::SeqCst);
                let seq = seq.map_err(say("CS"))?;
                if number % AHEAD == 0 {
                    arena.run_with(&session, engine, &[], || Ok(seq))?;
                }
                arena.met(other);
            }
            Ok(())
        });
        Ok(side)
    });
    let sides = sides.collect::<Result<Vec<_>, String>>()?;
    Ok(Arena::race(setting.time, sides)?.seen())
}

/// A process's munmap waits for its job, which waits at a gate: meanwhile another process submits,
/// replaces its memory, and submits again, as if there were no other.
pub fn another_process(setting: &Setting) -> Answer {
    let engine = setting.engine;
    let held = setting.session()?;
    // With much left on the other engine, new buffers would be cleared behind the gate.
    held.prove_alive(setting.other_engine())?;
    let latch = Latch::shut(&held.data.map);
    let mem = || UserMem::anonymous(crate::owner::PAGES).map_err(say("mmap"));
    let mut owner = Owner::new(&held, engine, Manner::Gated, mem, |mem, _, report| {
        child::say(report, &[now_ns()])?;
        drop(mem);
        child::say(report, &[now_ns()])
    })?;
    let [begun] = owner.child.hear()?;
    // It is in munmap by then, and stays there.
    std::thread::sleep(Duration::from_millis(5));

    let session = setting.session()?;
    let mut banks = Banks::new()?;
    let stage = Stage::new(setting, &session, &banks)?;
    let writer = stage.writer(setting.other_engine(), &[])?;
    let (mut slowest, mut rng, marks) = (Duration::ZERO, setting.rng(), &stage.marks);
    let taker: Side<'_> = Box::new(|arena| {
        while arena.goes_on() {
            let began = Instant::now();
            banks.replace(arena, marks, &mut rng, UNMAP)?;
            slowest = slowest.max(began.elapsed());
            banks.intact()?;
        }
        Ok(())
    });
    // Short against the driver's patience with the job that waits.
    let time = setting.time.min(Duration::from_secs(3));
    let writer = Writer { refusals: &[libc::EFAULT], ..writer };
    let score = Arena::race(time, vec![Box::new(move |arena| writer.run(arena)), taker]);
    let opened = now_ns();
    latch.open();
    let [returned] = owner.child.hear()?;
    owner.child.reap()?;
    let score = score?;
    if begun > opened || returned < opened {
        return Err("munmap was not waiting: it was back before the gate was open".into());
    }
    Ok(score.seen_as(format_args!(
        "beside a munmap that waited {} ms: {score}; the slowest replacement took {slowest:?}",
        (returned - begun) / 1_000_000
    )))
}
