// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel moves memory about that the process has and keeps: into huge pages and out of them,
//! to other places, into swap, and several pages of equal content into one.

use std::{
    fs,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    frames::{
        Frame,
        Frames, //
    },
    mem::{
        Advice,
        HUGE_PAGES,
        UserMem, //
    },
    num::u64_of,
    race::{
        Latch,
        Target, //
    }, //
};

use crate::{
    arena::{
        Arena,
        Score,
        Side, //
    },
    beat::Beat,
    setting::{
        Answer,
        NOT_HIT,
        Seen,
        Setting, //
    },
    writer::say, //
};

/// Pages that are looked at, where the range is small.
const PAGES: usize = 32;
/// Pages of which as many are looked at, where it is large.
const MANY: usize = 512;
/// Time for which the kernel is kept from its work if there is no job to race with.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sweeps of a job that is to last a while.
const SWEEPS: usize = 8;

fn put(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|e| format!("{path}: {e}"))
}

fn is_huge(frame: Frame) -> bool {
    matches!(frame, Frame::At { huge: true, .. })
}

/// Beats on `spots` of `mem` while `disturb` goes on.
fn race<'a>(
    setting: &'a Setting,
    mem: &'a UserMem,
    spots: Vec<usize>,
    disturb: Side<'a>,
) -> Result<Score, String> {
    let session = setting.session()?;
    let target = Target::of_any(&session, mem).map_err(say("userptr"))?;
    let beat = Beat::new(setting, &session, &target, mem, spots, SWEEPS)?.kept(setting)?;
    let gate = beat.gate()?;
    let beater: Side<'a> = Box::new(move |arena| beat.run_gated(arena, setting));
    let disturber: Side<'a> = Box::new(move |arena| {
        let end = disturb(arena);
        Latch::found(&gate).open();
        end
    });
    Arena::race(setting.time, vec![beater, disturber])
}

/// MADV_COLLAPSE into huge pages, and the split of them.
pub fn collapse(setting: &Setting) -> Answer {
    const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";
    let mem = UserMem::aligned(HUGE_PAGES).map_err(say("mmap"))?;
    let spots: Vec<_> = (0..PAGES).map(|n| n * HUGE_PAGES / PAGES).collect();
    let frames = Frames::open()?;
    let huge = || frames.of(&mem, 0).map(is_huge).map_err(say("pagemap"));
    let end = mem.addr() + u64_of(mem.len());
    let range = format!("{},{:#x},{end:#x}", std::process::id(), mem.addr());
    let (mut collapsed, mut split) = (0, 0);
    let score = race(
        setting,
        &mem,
        spots,
        Box::new(|arena| {
            while arena.goes_on() {
                // The kernel gives up when somebody looks at a page meanwhile.
                arena.wait_for_job(PATIENCE);
                let done = mem.advise(0..mem.pages(), Advice::Collapse).is_ok();
                if done && huge()? {
                    collapsed += 1;
                    arena.wait_for_job(PATIENCE);
                    put(SPLIT, &range)?;
                    split += usize::from(!huge()?);
                }
            }
            Ok(())
        }),
    )?;
    if collapsed == 0 || split == 0 {
        return Err(format!("{collapsed} times collapsed, {split} times split"));
    }
    Ok(score.seen_as(format_args!("{collapsed} times collapsed, {split} times split: {score}")))
}

/// KSM, the kernel's search for pages of equal content, for as long as this lives.
struct Merging;

impl Merging {
    fn set(values: &[(&str, &str)]) -> Result<(), String> {
        values
            .iter()
            .try_for_each(|(name, value)| put(&format!("/sys/kernel/mm/ksm/{name}"), value))
    }

    fn start() -> Result<Self, String> {
        Self::set(&[("sleep_millisecs", "5"), ("pages_to_scan", "200"), ("run", "1")])?;
        // Else it looks less and less often at pages that were not merged.
        let _ = Self::set(&[("smart_scan", "0")]);
        Ok(Self)
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        // 2: and undo what was done. If it cannot be, nothing is lost.
        let _ = Self::set(&[("run", "2")]);
        let _ = Self::set(&[("run", "0"), ("sleep_millisecs", "20")]);
    }
}

/// KSM makes one page of several, or is about to when a job changes them; then the next job writes
/// some of them with something else.
pub fn merge(setting: &Setting) -> Answer {
    /// Few, so that they are soon merged again.
    const PAGES: usize = 8;
    /// Time that pages have to be merged.
    const PATIENCE: Duration = Duration::from_millis(200);
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    for advice in [Advice::Small, Advice::Mergeable] {
        mem.advise(0..PAGES, advice).map_err(say("madvise"))?;
    }
    let frames = Frames::open()?;
    let session = setting.session()?;
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    let mut beat =
        Beat::new(setting, &session, &target, &mem, (0..PAGES).collect(), SWEEPS)?.kept(setting)?;
    let _merging = Merging::start()?;
    let merged = || {
        let seen = frames.of_all(&mem, 0..PAGES).map_err(say("pagemap"))?;
        let is = |frame: &&Frame| matches!(frame, Frame::At { merged: true, .. });
        Ok::<_, String>(seen.iter().filter(is).count())
    };
    let mut pages_merged = 0;
    let beater: Side<'_> = Box::new(|arena| {
        while arena.goes_on() {
            beat.gated(arena, setting)?;
            let end = Instant::now() + PATIENCE;
            let mut now = 0;
            while arena.goes_on() && now < PAGES && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
                now = merged()?;
            }
            pages_merged += now;
        }
        Ok(())
    });
    let score = Arena::race(setting.time, vec![beater])?;
    if pages_merged == 0 {
        return Err(format!("no pages were merged: {score}"));
    }
    Ok(score.seen_as(format_args!("{pages_merged} pages merged: {score}")))
}

/// Compaction, of memory that lies between free pages, and moves to another node and back where
/// there is more than one.
pub fn migrate(setting: &Setting) -> Answer {
    let nodes = (0..2)
        .filter(|n| fs::exists(format!("/sys/devices/system/node/node{n}")).is_ok_and(|is| is));
    let nodes = nodes.count();
    let by_compaction = compact(setting)?;
    if nodes < 2 {
        let said = format!("{} (this machine has one node)", by_compaction.said);
        return Ok(Seen { said, ..by_compaction });
    }
    let by_call = move_pages(setting)?;
    Ok(Seen {
        hit: by_compaction.hit + by_call.hit,
        said: format!("{}; move_pages: {}", by_compaction.said, by_call.said),
    })
}

/// Counts the pages that are elsewhere than before.
fn moved(before: &[Option<u64>], now: &[Option<u64>]) -> usize {
    let pairs = before.iter().zip(now);
    pairs.filter(|(then, now)| then.zip(**now).is_some_and(|(then, now)| then != now)).count()
}

/// Memory of small pages, all of them there.
fn small_pages(pages: usize) -> Result<UserMem, String> {
    let mem = UserMem::anonymous(pages).map_err(say("mmap"))?;
    for advice in [Advice::Small, Advice::Populate] {
        mem.advise(0..pages, advice).map_err(say("madvise"))?;
    }
    Ok(mem)
}

/// Memory with gaps, where there is to be room: compaction puts pages into blocks that are used
/// already, and higher up.
fn room() -> Result<UserMem, String> {
    const ROOM: usize = 4 << 10;
    /// One of so many pages of it stays.
    const GAP: usize = 8;
    let room = small_pages(ROOM)?;
    // Of no use to the keeper, which would lock it.
    room.advise(0..ROOM, Advice::NotForked).map_err(say("madvise"))?;
    for page in (0..ROOM).step_by(GAP) {
        room.advise(page + 1..page + GAP, Advice::Discard).map_err(say("madvise"))?;
    }
    Ok(room)
}

/// Compaction leaves locked memory where it is, for as long as this lives: that of the keeper of
/// the gate, which else might wait for a page that waits for the gate.
struct LockedStays;

impl LockedStays {
    const ALLOWED: &str = "/proc/sys/vm/compact_unevictable_allowed";

    fn new() -> Result<Self, String> {
        put(Self::ALLOWED, "0").map(|()| Self)
    }
}

impl Drop for LockedStays {
    fn drop(&mut self) {
        // If it cannot be, nothing is lost.
        let _ = put(Self::ALLOWED, "1");
    }
}

fn compact(setting: &Setting) -> Answer {
    /// Number of uses of the room before there is a new one.
    const USES: usize = 8;
    let _stays = LockedStays::new()?;
    let frames = Frames::open()?;
    let (mut pages_moved, mut all) = (0, None::<Score>);
    let end = Instant::now() + setting.time;
    // Where the pages lie is luck.
    let last = end + 4 * setting.time;
    let goes_on = |all: Option<Score>, pages_moved: usize| {
        let now = Instant::now();
        now < end || (all.is_none() || pages_moved == 0) && now < last
    };
    while goes_on(all, pages_moved) {
        let _room = room()?;
        for _ in 0..USES {
            if !goes_on(all, pages_moved) {
                break;
            }
            match compact_once(setting, &frames, &mut pages_moved) {
                Ok(score) => all = Some(all.map_or(score, |all| all.plus(score))),
                Err(why) if why.starts_with(NOT_HIT) => {}
                Err(why) => return Err(why),
            }
        }
    }
    match all {
        Some(score) if pages_moved > 0 => {
            Ok(score.seen_as(format_args!("compaction moved {pages_moved} pages: {score}")))
        }
        _ => Err(format!("{NOT_HIT}: compaction moved {pages_moved} pages")),
    }
}

/// Compaction of memory that is new: what has been moved stays where it is.
fn compact_once(
    setting: &Setting,
    frames: &Frames,
    pages_moved: &mut usize,
) -> Result<Score, String> {
    let mem = small_pages(MANY)?;
    let spots: Vec<_> = (0..MANY).step_by(MANY / PAGES).collect();
    let look = || frames.numbers(&mem).map_err(say("pagemap"));
    let disturb: Side<'_> = Box::new(|arena| {
        arena.wait_for_job(PATIENCE);
        let before = look()?;
        put("/proc/sys/vm/compact_memory", "1")?;
        *pages_moved += moved(&before, &look()?);
        Ok(())
    });
    race(setting, &mem, spots, disturb)
}

fn move_pages(setting: &Setting) -> Answer {
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    mem.advise(0..PAGES, Advice::Small).map_err(say("madvise"))?;
    let mut pages_moved = 0;
    let disturb: Side<'_> = Box::new(|arena| {
        for round in 0.. {
            if !arena.goes_on() {
                break;
            }
            arena.wait_for_job(PATIENCE);
            pages_moved += to_node(&mem, round % 2).map_err(say("move_pages"))?;
        }
        Ok(())
    });
    let score = race(setting, &mem, (0..PAGES).collect(), disturb)?;
    Ok(score.seen_as(format_args!("moved {pages_moved} pages: {score}")))
}

/// Moves all pages to a node; how many are there now.
fn to_node(mem: &UserMem, node: i32) -> amdgpu_client::Result<usize> {
    const MOVE: i32 = 1 << 1;
    let pages: Vec<u64> = (0..mem.pages()).map(|page| mem.addr() + u64_of(page * PAGE)).collect();
    let nodes = vec![node; pages.len()];
    let mut status = vec![0_i32; pages.len()];
    // SAFETY: three arrays of as many entries as is said, the last of them for the kernel to write.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            nodes.as_ptr(),
            status.as_mut_ptr(),
            MOVE,
        )
    };
    if done < 0 {
        return Err(Errno::last());
    }
    Ok(status.iter().filter(|&&at| at == node).count())
}

/// MADV_PAGEOUT into swap; whoever needs a page next brings it back.
pub fn swap(setting: &Setting) -> Answer {
    let swaps = fs::read_to_string("/proc/swaps").map_err(|e| format!("/proc/swaps: {e}"))?;
    if swaps.lines().count() < 2 {
        return Err("there is no swap (scripts/guest --swap)".into());
    }
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    mem.advise(0..PAGES, Advice::Small).map_err(say("madvise"))?;
    let before = swapped_out()?;
    let disturb: Side<'_> = Box::new(|arena| {
        while arena.goes_on() {
            arena.wait_for_job(PATIENCE);
            mem.advise(0..PAGES, Advice::PageOut).map_err(say("MADV_PAGEOUT"))?;
        }
        Ok(())
    });
    let score = race(setting, &mem, (0..PAGES).collect(), disturb)?;
    let out = swapped_out()? - before;
    if out == 0 {
        return Err(format!("no page was written to swap: {score}"));
    }
    Ok(score.seen_as(format_args!("{out} pages written to swap: {score}")))
}

/// Returns the number of pages that the kernel has written to swap.
fn swapped_out() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/vmstat").map_err(|e| format!("/proc/vmstat: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("pswpout "));
    line.and_then(|count| count.parse().ok()).ok_or_else(|| "/proc/vmstat: no pswpout".into())
}
