// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The process gives memory back, moves it, or protects it, while jobs write it without pause.

use std::{
    collections::VecDeque,
    fs::File,
    ops::Range,
    os::fd::AsRawFd,
    thread, //
};

use amdgpu_client::{
    PAGE,
    ib::Stream,
    mem::{
        Access,
        Advice,
        UserMem,
        memory_file, //
    },
    num::u64_of,
    race::Target,
    rng::Rng, //
};

use crate::{
    arena::{
        Arena,
        Side, //
    },
    banks::{
        self,
        Banks,
        Call,
        PAGES, //
    },
    held::Held,
    setting::{
        Answer,
        Setting, //
    },
    writer::{
        Fresh,
        Marks,
        STAMP,
        WRITTEN,
        Writer,
        say, //
    }, //
};

/// Sets of pages that are watched after they were given up.
const KEPT: usize = 4;

/// munmap, and mmap of other pages.
pub fn munmap(setting: &Setting) -> Answer {
    // A hole is a bad address.
    replaced(setting, banks::UNMAP, &[libc::EFAULT])
}

/// mremap of other pages to where these are.
pub fn mremap(setting: &Setting) -> Answer {
    replaced(setting, banks::REMAP, &[])
}

fn replaced(setting: &Setting, call: Call, refusals: &[i32]) -> Answer {
    let session = setting.session()?;
    let mut banks = Banks::new()?;
    let target = Target::of_any(&session, &banks.mem).map_err(say("userptr"))?;
    let marks = Marks::new(PAGES, Fresh::Stamped);
    let writer = Writer::over(&target, PAGES, setting.engine, Some(&marks), refusals)?;
    let rng = setting.rng();
    let score = Arena::race(
        setting.time,
        vec![
            Box::new(move |arena| writer.run(arena)),
            Box::new(|arena| banks.take(arena, &marks, rng, call)),
        ],
    )?;
    Ok(score.seen())
}

/// Gives up a range of pages, which then hold nothing.
type GiveUp<'a> = dyn FnMut(Range<usize>) -> Result<Held, String> + Send + 'a;

/// Chooses which pages to give up.
type Choose = fn(&mut Rng) -> Range<usize>;

const ANY: Choose = |rng| {
    let first = rng.within(0..PAGES);
    first..rng.within(first + 1..PAGES + 1)
};

const TO_THE_END: Choose = |rng| rng.within(0..PAGES)..PAGES;

/// Races a writer against `give_up` of ranges that `choose` chooses; the pages that it gives up are
/// watched for a while.
fn emptied(
    setting: &Setting,
    mem: &UserMem,
    choose: Choose,
    refusals: &[i32],
    give_up: &mut GiveUp<'_>,
) -> Answer {
    let session = setting.session()?;
    let target = Target::of_any(&session, mem).map_err(say("userptr"))?;
    let marks = Marks::new(PAGES, Fresh::Zeros);
    let writer = Writer::over(&target, PAGES, setting.engine, Some(&marks), refusals)?;
    let mut rng = setting.rng();
    let taker: Side<'_> = Box::new(|arena| {
        let mut kept = VecDeque::new();
        for generation in 1.. {
            if !arena.goes_on() {
                break;
            }
            arena.ready(&mut rng);
            let pages = choose(&mut rng);
            marks.begin(pages.clone(), generation);
            let held = arena.take(|| give_up(pages.clone()))?;
            pages.clone().for_each(|page| mem.store(page, STAMP, generation));
            marks.settle(pages, generation);
            kept.push_back(held);
            if kept.len() > KEPT {
                kept.pop_front().map_or(Ok(()), |held| held.unchanged())?;
            }
        }
        kept.iter().try_for_each(Held::unchanged)
    });
    let score = Arena::race(setting.time, vec![Box::new(move |arena| writer.run(arena)), taker])?;
    Ok(score.seen())
}

/// Touches every page, so that it is there.
fn touched(mem: UserMem) -> UserMem {
    (0..PAGES).for_each(|page| mem.store(page, STAMP, 0));
    mem
}

/// MADV_DONTNEED.
pub fn discard(setting: &Setting) -> Answer {
    let mem = touched(UserMem::anonymous(PAGES).map_err(say("mmap"))?);
    emptied(setting, &mem, ANY, &[], &mut |pages| {
        let mut held = Held::new(&mem, pages.clone())?;
        mem.advise(pages, Advice::Discard).map_err(say("MADV_DONTNEED"))?;
        held.given_up()?;
        Ok(held)
    })
}

/// The file behind the memory loses its end, and gets it back; or a hole in its middle.
pub fn truncate(setting: &Setting) -> Answer {
    let file = memory_file(PAGES).map_err(say("a file"))?;
    let mem = touched(UserMem::of_file(&file, PAGES).map_err(say("mmap"))?);
    let mut punch = false;
    // Memory beyond the end of its file is a bad address.
    emptied(setting, &mem, TO_THE_END, &[libc::EFAULT], &mut |pages| {
        punch = !punch;
        let mut held = Held::new(&mem, pages.clone())?;
        if punch {
            punch_hole(&file, pages).map_err(say("fallocate"))?;
            held.given_up()?;
        } else {
            set_pages(&file, pages.start)?;
            held.given_up()?;
            set_pages(&file, pages.end)?;
        }
        Ok(held)
    })
}

fn set_pages(file: &File, pages: usize) -> Result<(), String> {
    file.set_len(u64_of(pages * PAGE)).map_err(|e| format!("ftruncate: {e}"))
}

fn punch_hole(file: &File, pages: Range<usize>) -> amdgpu_client::Result {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let at = |page: usize| i64::try_from(page * PAGE).unwrap_or(i64::MAX);
    let (from, len) = (at(pages.start), at(pages.len()));
    // SAFETY: changes a file, whose mappings are never lent.
    amdgpu_client::Errno::of(unsafe { libc::fallocate(file.as_raw_fd(), mode, from, len) })
}

/// mprotect to read-only: from then on nobody writes, until it is undone.
pub fn protect(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mem = touched(UserMem::anonymous(PAGES).map_err(say("mmap"))?);
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    // What the process may not write, it may not let the GPU write.
    let writer = Writer::over(&target, PAGES, setting.engine, None, &[libc::EPERM])?;
    let look = || -> Vec<_> { (0..PAGES).map(|page| mem.load(page, WRITTEN)).collect() };
    let mut rng = setting.rng();
    let taker: Side<'_> = Box::new(|arena| {
        while arena.goes_on() {
            arena.ready(&mut rng);
            arena.take(|| mem.protect(Access::ReadOnly)).map_err(say("mprotect"))?;
            let then = look();
            thread::yield_now();
            let now = look();
            mem.protect(Access::ReadWrite).map_err(say("mprotect"))?;
            if let Some(page) = (0..PAGES).find(|&page| then[page] != now[page]) {
                return Err(format!(
                    "page {page} was read-only, and went from {:#x} to {:#x}",
                    then[page], now[page]
                ));
            }
        }
        Ok(())
    });
    let score = Arena::race(setting.time, vec![Box::new(move |arena| writer.run(arena)), taker])?;
    Ok(score.seen())
}

/// MADV_FREE: the kernel may drop the pages when it needs memory, but not if they were written to
/// since. The GPU's writes count.
pub fn free_later(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mem = touched(UserMem::anonymous(PAGES).map_err(say("mmap"))?);
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    let engine = setting.engine;
    // One side only: it submits, and takes memory away while the job is under way.
    let session = session.another().map_err(say("a session"))?;
    let (handle, va) = (target.handle, target.va);
    let mem = &mem;
    let beside_a_job = move |arena: &Arena, value: u32, advice| -> Result<(), String> {
        let mut stream = Stream::new();
        for _ in 0..4 {
            for page in 0..PAGES {
                stream.store(engine, va + u64_of(page * PAGE + WRITTEN), value);
            }
        }
        let job = arena.submit(engine, &[], || session.submit(engine, &stream, &[handle]))?;
        let advised = arena.take(|| mem.advise(0..PAGES, advice));
        job.map_or(Ok(()), |seq| arena.finish(&session, engine, seq))?;
        advised.map_err(say("madvise"))
    };
    let both: Side<'_> = Box::new(move |arena| {
        for round in 1.. {
            if !arena.goes_on() {
                break;
            }
            beside_a_job(arena, 2 * round, Advice::FreeLater)?;
            beside_a_job(arena, 2 * round + 1, Advice::PageOut)?;
            for page in 0..PAGES {
                let word = mem.load(page, WRITTEN);
                if word != 2 * round + 1 {
                    return Err(format!(
                        "round {round}: page {page} has {word:#x}: what the GPU wrote was dropped"
                    ));
                }
            }
        }
        Ok(())
    });
    let score = Arena::race(setting.time, vec![both])?;
    Ok(score.seen())
}
