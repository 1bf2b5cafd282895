// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory under a shader: VK_EXT_external_memory_host, which is GEM_USERPTR.
//!
//! A shader changes each word in place. Before it, or meanwhile, the pages are taken away,
//! replaced, shared with a child, written to swap. Each byte is compared afterward.

use std::{
    fmt,
    ops::Range,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    PAGE,
    frames::Frames,
    mem::{
        Advice,
        UserMem, //
    },
    report::Outcome,
    rng::Rng, //
};

use crate::{
    buffer::{
        Buffer,
        UserBuffer,
        WORDS_OF_PAGE, //
    },
    compute::{
        On,
        compare,
        count_of, //
    },
    gpu::Result,
    program::{
        Program,
        Resource,
        shader, //
    },
    snapshot::Snapshot, //
};

/// Pages of the memory.
const PAGES: usize = 64;
/// Between two changes that another thread makes.
const PAUSE: Duration = Duration::from_millis(10);
/// Lanes of a workgroup.
pub const GROUP: u32 = 64;

/// Something that happens to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Written by the processor, no more.
    Written,
    /// munmap, then mmap at the same place.
    Mapped,
    /// mremap of other memory over it.
    Replaced,
    /// MADV_DONTNEED.
    Discarded,
    /// mprotect to read-only, and back.
    Protected,
    /// fork: the child has what was there, whatever the device writes.
    Forked,
    /// MADV_PAGEOUT: out to swap.
    PagedOut,
}

/// All of them.
pub const CHANGES: [Change; 7] = [
    Change::Written,
    Change::Mapped,
    Change::Replaced,
    Change::Discarded,
    Change::Protected,
    Change::Forked,
    Change::PagedOut,
];

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Written => "written by the processor",
            Change::Mapped => "unmapped and mapped anew",
            Change::Replaced => "replaced by mremap",
            Change::Discarded => "discarded",
            Change::Protected => "made read-only for a while",
            Change::Forked => "with a forked child",
            Change::PagedOut => "paged out",
        })
    }
}

impl Change {
    /// Returns true if another thread may do it to a part while jobs run: not an act on the whole
    /// mapping; not a fork; and not unmapping, as something else might be mapped into the hole.
    fn fits_beside_jobs(self) -> bool {
        matches!(self, Change::Written | Change::Discarded | Change::PagedOut)
    }

    /// Pages of `all` to which it happens: any, but for what would leave more than one mapping.
    /// RADV asks for user memory that is one (AMDGPU_GEM_USERPTR_ANONONLY); the kernel refuses
    /// anything else.
    pub fn pages(self, rng: &mut Rng, all: usize) -> Range<usize> {
        let at = rng.within(0..all);
        match self {
            Change::Replaced => 0..all,
            _ => at..rng.within(at..all) + 1,
        }
    }

    /// Does the act's first part, before the memory is looked at.
    ///
    /// # Errors
    ///
    /// The kernel's, in words; so for `after`.
    pub fn before(self, mem: &mut UserMem, pages: Range<usize>, rng: &mut Rng) -> Result {
        let said = |e| format!("{self}: {e}");
        match self {
            Change::Mapped => mem.unmap_and_map(pages.clone()).map_err(said)?,
            Change::Discarded => {
                mem.discard(pages.clone()).map_err(said)?;
                // The rest reads as zero.
                mem.randomize(pages.start..pages.start + pages.len() / 2, rng);
                return Ok(());
            }
            Change::Replaced => {
                let mut fresh = UserMem::unguarded(pages.len()).map_err(said)?;
                fresh.randomize(0..pages.len(), rng);
                return mem.replace(pages.start, fresh).map_err(said);
            }
            Change::Written | Change::Protected | Change::Forked | Change::PagedOut => {}
        }
        mem.randomize(pages, rng);
        Ok(())
    }

    /// Does the rest, once the contents of the memory are known.
    pub fn after(
        self,
        mem: &mut UserMem,
        pages: Range<usize>,
        words: &[u32],
    ) -> Result<Option<Snapshot>> {
        let said = |e| format!("{self}: {e}");
        match self {
            Change::Protected => mem.protect_and_back().map_err(said)?,
            Change::PagedOut => mem.advise(pages, Advice::PageOut).map_err(said)?,
            Change::Forked => return Snapshot::take(mem, words).map(Some),
            Change::Written | Change::Mapped | Change::Replaced | Change::Discarded => {}
        }
        Ok(None)
    }
}

/// Returns the words that the processor sees.
pub fn words_of(mem: &UserMem) -> Vec<u32> {
    let mut words = Vec::with_capacity(mem.pages() * WORDS_OF_PAGE);
    let mut page = [0; PAGE];
    for n in 0..mem.pages() {
        mem.read_page(n, &mut page);
        let (chunks, _) = page.as_chunks();
        words.extend(chunks.iter().map(|bytes| u32::from_le_bytes(*bytes)));
    }
    words
}

/// Does what the shader does.
pub fn mix(words: &mut [u32], part: Range<usize>) {
    for at in part {
        words[at] = words[at].wrapping_mul(2_654_435_761).wrapping_add(count_of(at));
    }
}

/// Memory that no huge page can cover, so that each page goes its own way.
fn memory() -> Result<UserMem> {
    UserMem::anonymous(PAGES).map_err(|e| format!("mmap: {e}"))
}

/// Returns the number of pages in swap.
pub fn paged_out(mem: &UserMem) -> usize {
    // Without the right to see frames there is nothing to count.
    let frames = Frames::open().ok().and_then(|frames| frames.numbers(mem).ok());
    frames.map_or(0, |numbers| numbers.iter().filter(|number| number.is_none()).count())
}

/// One change between jobs, `rounds` times, each byte compared each time.
pub fn between(on: &On<'_>, change: Change, rounds: u32) -> Outcome {
    let mut rng = Rng::new(on.seed);
    let mut user = UserBuffer::new(on.gpu, memory()?)?;
    let all = 0..PAGES * WORDS_OF_PAGE;
    let part = Buffer::holding(on.gpu, &[0, count_of(all.len())])?;
    let resources = [&user.buffer, &part].map(Resource::Buffer);
    let program = Program::new(on.gpu, &shader!("mix"), &resources)?;
    let mut out = 0;
    for round in 0..rounds {
        let pages = change.pages(&mut rng, PAGES);
        change.before(&mut user.mem, pages.clone(), &mut rng)?;
        let mut wanted = words_of(&user.mem);
        let child = change.after(&mut user.mem, pages, &wanted)?;
        out += paged_out(&user.mem);
        let mut job = on.job()?;
        job.dispatch(&program, [count_of(all.len()).div_ceil(GROUP), 1, 1]).run()?;
        mix(&mut wanted, all.clone());
        compare(&words_of(&user.mem), &wanted).map_err(|why| format!("round {round}: {why}"))?;
        child.map_or(Ok(()), Snapshot::check).map_err(|why| format!("round {round}: {why}"))?;
    }
    let kib = rounds as usize * PAGES * PAGE / 1024;
    match change {
        Change::PagedOut => Ok(format!("{kib} KiB compared, {out} pages not in memory before")),
        _ => Ok(format!("{kib} KiB compared")),
    }
}

/// Changes in one half of the memory by another thread, while jobs change the other.
pub fn meanwhile(on: &On<'_>, time: Duration) -> Outcome {
    const HALF: usize = PAGES / 2;
    let mut rng = Rng::new(on.seed);
    let mut user = UserBuffer::new(on.gpu, memory()?)?;
    user.mem.randomize(0..PAGES, &mut rng);
    let ours = 0..HALF * WORDS_OF_PAGE;
    let part = Buffer::holding(on.gpu, &[0, count_of(ours.len())])?;
    let resources = [&user.buffer, &part].map(Resource::Buffer);
    let program = Program::new(on.gpu, &shader!("mix"), &resources)?;
    let mut wanted = words_of(&user.mem);
    let stop = AtomicBool::new(false);
    let churned = &mut user.mem;
    let (jobs, changes) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| churn(churned, HALF..PAGES, &mut rng, &stop));
        let jobs = work(on, &program, time, ours.len());
        stop.store(true, Ordering::Relaxed);
        let changes = thread.join().unwrap_or_else(|_| Err("the other thread panicked".into()));
        (jobs, changes)
    });
    let (jobs, (changes, theirs)) = (jobs?, changes?);
    for _ in 0..jobs {
        mix(&mut wanted, ours.clone());
    }
    wanted[ours.end..].copy_from_slice(&theirs);
    compare(&words_of(&user.mem), &wanted)?;
    if changes == 0 {
        return Err("nothing happened meanwhile".into());
    }
    Ok(format!("{jobs} jobs, {changes} changes meanwhile, each word right"))
}

/// Jobs until the time is up: how many.
fn work(on: &On<'_>, program: &Program<'_, '_>, time: Duration, words: usize) -> Result<u32> {
    let begin = Instant::now();
    let mut jobs = 0;
    while begin.elapsed() < time {
        let mut job = on.job()?;
        job.dispatch(program, [count_of(words).div_ceil(GROUP), 1, 1]).run()?;
        jobs += 1;
    }
    Ok(jobs)
}

/// Changes until told to stop: how many, and what the pages then hold. A pause after each lets the
/// kernel find the pages of a submission at rest, as it gives up after some tries.
fn churn(
    mem: &mut UserMem,
    pages: Range<usize>,
    rng: &mut Rng,
    stop: &AtomicBool,
) -> Result<(u32, Vec<u32>)> {
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        let at = rng.within(pages.clone());
        let some = at..rng.within(at..pages.end) + 1;
        for change in CHANGES {
            if change.fits_beside_jobs() {
                change.before(mem, some.clone(), rng)?;
                change.after(mem, some.clone(), &[])?;
                changes += 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
    Ok((changes, words_of(mem).split_off(pages.start * WORDS_OF_PAGE)))
}
