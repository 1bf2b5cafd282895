// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory for as long as one likes: all changes, in an order that the seed decides, before
//! jobs and while they are under way, on all queues, while the kernel is made to take memory back.
//!
//! A change that takes pages away waits for the jobs that can reach them. So it is known what the
//! memory holds after it, also if the job was under way: each byte is compared after each job.
//!
//! A submission that loses the race for its memory ten times in a row is refused with EDEADLK, by
//! design (docs/userptr.md), and RADV gives the device up. Then this does what its user has to do:
//! it makes another device and goes on. The driver counts such refusals: a device that is lost for
//! another reason is the end.

use std::{
    fmt,
    fs::{
        self,
        File, //
    },
    io::{
        ErrorKind,
        Write, //
    },
    ops::Range,
    process::Command,
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    PAGE,
    drm::Node,
    mem::{
        HUGE_PAGES,
        UserMem, //
    },
    report::Outcome,
    rng::Rng,
    stats::Stats, //
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
    gpu::{
        Gpu,
        Result, //
    },
    program::{
        Program,
        Resource,
        shader, //
    },
    snapshot::Snapshot,
    user_memory::{
        CHANGES,
        Change,
        GROUP,
        mix,
        paged_out,
        words_of, //
    }, //
};

/// Pages of each piece of memory. The last is one huge page.
const PIECES: [usize; 4] = [1, 7, 64, HUGE_PAGES];
/// Between two times that memory is taken back.
const RECLAIM: Duration = Duration::from_secs(1);
/// One submission in so many may be refused.
const MOST_REFUSED: u64 = 50;
/// Between two lines that say how far it is.
const STEP: Duration = Duration::from_secs(60);

/// A piece of memory.
struct Piece {
    mem: UserMem,
    /// Its pages came by mremap. To the kernel they lie where they came from, and what is mapped
    /// between them would be a mapping of its own: no more than all of it is mapped anew then.
    moved: bool,
}

impl Piece {
    /// Pages to which a change happens.
    fn pages(&mut self, change: Change, rng: &mut Rng) -> Range<usize> {
        let all = 0..self.mem.pages();
        let pages = if self.moved && change == Change::Mapped {
            all.clone()
        } else {
            change.pages(rng, all.len())
        };
        self.moved = match change {
            Change::Replaced => true,
            Change::Mapped if pages == all => false,
            _ => self.moved,
        };
        pages
    }
}

/// Work that was done.
#[derive(Default)]
struct Done {
    jobs: u64,
    before: u64,
    beside: u64,
    out: u64,
    bytes: u64,
    /// A submission was refused last.
    refused: bool,
    /// Devices that were made anew after that.
    devices: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs, {} MiB compared; {} changes before them, {} while they were under way; \
             {} pages in swap before their jobs; {} submissions refused with EDEADLK, after which \
             another device was made",
            self.jobs,
            self.bytes >> 20,
            self.before,
            self.beside,
            self.out,
            self.devices
        )
    }
}

/// Goes on for so long, on the device with `word` in its name.
///
/// # Errors
///
/// In words: what is asked of Vulkan, of the kernel, and the first byte that is not right.
pub fn soak(word: &str, seed: u64, time: Duration) -> Outcome {
    let (stop, reclaims) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut file = reclaim_file()?;
    // Not by madvise: what is mapped between two parts with an advice would be a mapping of its
    // own.
    let huge = "/sys/kernel/mm/transparent_hugepage/enabled";
    fs::write(huge, "always").map_err(|e| format!("{huge}: {e}"))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| reclaim(&mut file, &stop, &reclaims));
        let outcome = persist(word, seed, time);
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap_or_else(|_| Err("the other thread panicked".into()))?;
        let reclaims = reclaims.load(Ordering::Relaxed);
        match outcome? {
            done if done.out > 0 && done.beside > 0 && reclaims > 0 => {
                Ok(format!("{done}; memory was taken back {reclaims} times"))
            }
            done => Err(format!("nothing to speak of happened: {done}; {reclaims} reclaims")),
        }
    })
}

/// Opens the file that makes the kernel take memory back.
fn reclaim_file() -> Result<File> {
    const ROOT: &str = "/sys/fs/cgroup";
    let path = format!("{ROOT}/memory.reclaim");
    if fs::metadata(&path).is_err() {
        let mount = Command::new("mount").args(["-t", "cgroup2", "none", ROOT]).status();
        mount.map_err(|e| format!("mount: {e}"))?;
    }
    File::options().write(true).open(&path).map_err(|e| format!("{path}: {e}"))
}

/// Has the kernel take anonymous memory back, again and again: a little, and seldom. With 2 MiB ten
/// times a second, on a machine so slow that two megabytes are gathered in as much, memory is never
/// at rest, and a submission is refused in the end. It answers EAGAIN where it found less than was
/// asked for.
fn reclaim(file: &mut File, stop: &AtomicBool, reclaims: &AtomicU64) -> Result {
    while !stop.load(Ordering::Relaxed) {
        match file.write(b"64K swappiness=max") {
            Err(e) if e.kind() != ErrorKind::WouldBlock => return Err(format!("reclaim: {e}")),
            _ => reclaims.fetch_add(1, Ordering::Relaxed),
        };
        std::thread::sleep(RECLAIM);
    }
    Ok(())
}

/// Memory for a piece.
fn memory(pages: usize) -> Result<UserMem> {
    let mem = if pages == HUGE_PAGES { UserMem::aligned(pages) } else { UserMem::anonymous(pages) };
    mem.map_err(|e| format!("mmap: {e}"))
}

/// Refusals that the driver has counted so far; the C driver counts none.
fn refusals() -> Result<u64> {
    let count = Stats::count(&Node::find(None)?.slot, "edeadlk");
    count.0.ok_or_else(|| "the driver counts no refusals".into())
}

/// Makes another device where a submission was refused, as long as that is seldom.
fn persist(word: &str, seed: u64, time: Duration) -> Result<Done> {
    let (mut done, begin) = (Done::default(), Instant::now());
    loop {
        let before = refusals();
        let gpu = Gpu::open(word)?;
        let left = time.saturating_sub(begin.elapsed());
        let Err(why) = changes(&gpu, seed.wrapping_add(done.devices), left, &mut done) else {
            return Ok(done);
        };
        let counted = refusals()? > before?;
        if !done.refused || !counted || done.devices > 2 + done.jobs / MOST_REFUSED {
            return Err(why);
        }
        println!("another device: {why}");
        done.devices += 1;
    }
}

fn changes(gpu: &Gpu, seed: u64, time: Duration, done: &mut Done) -> Result {
    let mut rng = Rng::new(seed);
    let (mut all, mut buffers, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for pages in PIECES {
        let UserBuffer { buffer, mem } = UserBuffer::new(gpu, memory(pages)?)?;
        all.push(Piece { mem, moved: false });
        buffers.push(buffer);
        parts.push(Buffer::holding(gpu, &[0, count_of(pages * WORDS_OF_PAGE)])?);
    }
    let programs = buffers.iter().zip(&parts).map(|(buffer, part)| {
        Program::new(gpu, &shader!("mix"), &[Resource::Buffer(buffer), Resource::Buffer(part)])
    });
    let programs: Vec<_> = programs.collect::<Result<_>>()?;
    let (begin, mut said) = (Instant::now(), Duration::ZERO);
    done.refused = false;
    while begin.elapsed() < time {
        let n = rng.within(0..PIECES.len());
        let queue = &gpu.queues[rng.within(0..gpu.queues.len())];
        let on = On { gpu, queue, seed };
        let change = CHANGES[rng.within(0..CHANGES.len())];
        round(&on, &programs[n], &mut all[n], change, &mut rng, done)
            .map_err(|why| format!("{queue}, {} pages {change}: {why}; {done}", PIECES[n]))?;
        if begin.elapsed() >= said + STEP {
            said = begin.elapsed();
            println!("after {} s: {done}", said.as_secs());
        }
    }
    Ok(())
}

/// A change, a job, perhaps another change meanwhile; then each byte.
fn round(
    on: &On<'_>,
    program: &Program<'_, '_>,
    piece: &mut Piece,
    change: Change,
    rng: &mut Rng,
    done: &mut Done,
) -> Result {
    let pages = piece.pages(change, rng);
    let mem = &mut piece.mem;
    change.before(mem, pages.clone(), rng)?;
    let mut wanted = words_of(mem);
    let child = change.after(mem, pages, &wanted)?;
    done.before += 1;
    done.out += paged_out(mem) as u64;
    let mut job = on.job()?;
    let submitted = job.dispatch(program, [count_of(wanted.len()).div_ceil(GROUP), 1, 1]).submit();
    done.refused = submitted.is_err();
    submitted?;
    let all = 0..wanted.len();
    mix(&mut wanted, all);
    let late = match rng.within(0..2) {
        0 => None,
        _ => {
            done.beside += 1;
            beside(piece, &mut wanted, rng)?
        }
    };
    job.wait()?;
    let mem = &piece.mem;
    compare(&words_of(mem), &wanted)?;
    // What children have is not what the next job makes of it.
    for child in [child, late].into_iter().flatten() {
        child.check()?;
    }
    done.jobs += 1;
    done.bytes += mem.len() as u64;
    Ok(())
}

/// A change while a job is under way, of which it is known what it leaves.
fn beside(piece: &mut Piece, wanted: &mut [u32], rng: &mut Rng) -> Result<Option<Snapshot>> {
    let change = CHANGES[rng.within(0..CHANGES.len())];
    let pages = piece.pages(change, rng);
    let mem = &mut piece.mem;
    let said = |e| format!("meanwhile {change}: {e}");
    let gone = |pages: &Range<usize>| pages.start * WORDS_OF_PAGE..pages.end * WORDS_OF_PAGE;
    match change {
        Change::Mapped => {
            mem.unmap_and_map(pages.clone()).map_err(said)?;
            wanted[gone(&pages)].fill(0);
        }
        Change::Discarded => {
            mem.discard(pages.clone()).map_err(said)?;
            wanted[gone(&pages)].fill(0);
        }
        Change::Replaced => {
            let mut fresh = UserMem::unguarded(mem.pages()).map_err(said)?;
            fresh.randomize(0..fresh.pages(), rng);
            wanted.copy_from_slice(&words_of(&fresh));
            mem.replace(0, fresh).map_err(said)?;
        }
        // The processor and the job would write the same words.
        Change::Written | Change::Protected | Change::Forked | Change::PagedOut => {
            let child = change.after(mem, pages, wanted).map_err(|e| format!("meanwhile {e}"))?;
            return Ok(child);
        }
    }
    Ok(None)
}

// A page is whole words.
const _: () = assert!(PAGE == WORDS_OF_PAGE * size_of::<u32>());
