// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The phases without a race: one thread, which changes memory only while no job runs.

use std::ops::Range;

use amdgpu_client::{
    PAGE,
    ib::Stream,
    libdrm::{
        self,
        Bo,
        BoList,
        Context,
        Device,
        GpuMap,
        Ib,
        IbPool, //
    },
    mem::{
        Difference,
        UserMem, //
    },
    num::u64_of,
    rng::Rng,
    stats::Stats,
    trace,
    uapi::{
        CREATE_NO_CPU_ACCESS,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use crate::{
    Options,
    table::{
        Table,
        Work, //
    }, //
};

/// Ways in which a part of the memory is replaced between two submissions.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// munmap, mmap at the same address, new bytes.
    UnmapMap,
    /// The old pages moved elsewhere, where they live on; mmap in their place, new bytes.
    MoveAway,
    /// MADV_DONTNEED; new bytes in the first half, the second is left to read as zero.
    Discard,
}

const CHANGES: [Change; 3] = [Change::UnmapMap, Change::MoveAway, Change::Discard];

/// Ranges that one round replaces in the source.
const PARTS: usize = 4;

pub fn run(device: &Device, options: &Options, table: &mut Table) -> Result<(), String> {
    let say = |what: &'static str| move |e| format!("{what}: {e}");
    let mut rng = Rng::new(options.seed);
    let anonymous = || UserMem::anonymous(options.pages).map_err(say("mmap"));
    let (mut source, mut result) = (anonymous()?, anonymous()?);
    source.randomize(0..options.pages, &mut rng);

    let source_bo = device.userptr(&source).map_err(say("userptr BO over the source"))?;
    let result_bo = device.userptr(&result).map_err(say("userptr BO over the destination"))?;
    let size = source.len();
    let vram = device.alloc(size, DOMAIN_VRAM, CREATE_NO_CPU_ACCESS).map_err(say("VRAM BO"))?;
    let gtt = device.alloc(size, DOMAIN_GTT, 0).map_err(say("GTT BO"))?;
    let ib_bo = IbPool::bo(device, 64 << 10).map_err(say("command buffer BO"))?;
    let map = |bo| Bo::map_gpu(bo).map_err(say("GEM_VA"));
    let maps = [map(&source_bo)?, map(&vram)?, map(&gtt)?, map(&result_bo)?];
    let mut ibs = IbPool::new(&ib_bo).map_err(say("command buffer BO"))?;
    let bos = [&source_bo, &vram, &gtt, &result_bo, &ib_bo];
    let chain = Chain {
        options,
        context: &device.context().map_err(say("context"))?,
        list: &device.bo_list(&bos).map_err(say("BO list"))?,
        handles: bos
            .iter()
            .map(|bo| bo.handle())
            .collect::<Result<_, _>>()
            .map_err(say("handle"))?,
        hops: hops(options, &maps, &mut ibs),
    };

    table.phase("copy", anything, |work| {
        chain.run_with_list(work)?;
        compare(&source, &result, work)
    })?;
    table.phase("again", nothing_gathered, |work| {
        for page in 0..options.pages {
            result.write_page(page, &[0xa5; PAGE]);
        }
        chain.run_with_handles(work)?;
        compare(&source, &result, work)
    })?;
    let judge = if options.rounds > 0 { replaced_was_gathered } else { anything };
    table.phase("remap", judge, |work| {
        let mut replaced = 0;
        for (round, change) in CHANGES.into_iter().cycle().take(options.rounds).enumerate() {
            trace::mark(&format!("replace {change:?}"));
            for _ in 0..PARTS {
                let part = part(options.pages, &mut rng);
                replaced += part.len();
                apply(change, &mut source, part, &mut rng)?;
            }
            let part = part(options.pages, &mut rng);
            replaced += part.len();
            apply(change, &mut result, part, &mut rng)?;
            trace::mark("run");
            chain.run_with_list(work)?;
            trace::mark("compare");
            compare(&source, &result, work)
                .map_err(|why| format!("round {round} ({change:?}): {why}"))?;
        }
        work.note = format!("{replaced} pages replaced");
        Ok(())
    })
}

/// No matter what was counted.
pub const fn anything(_: &Stats) -> Result<(), String> {
    Ok(())
}

/// Memory that did not change costs no walk over its pages. (The kernel may move pages at any
/// time, which is an invalidation like any other.)
fn nothing_gathered(stats: &Stats) -> Result<(), String> {
    match (stats.invalidations.0, stats.gathers.0) {
        (Some(0), Some(n)) if n > 0 => Err(format!("untouched memory was gathered {n} times")),
        _ => Ok(()),
    }
}

/// Memory that was replaced was noticed, and gathered anew.
fn replaced_was_gathered(stats: &Stats) -> Result<(), String> {
    match (stats.invalidations.0, stats.gathers.0) {
        (Some(0), _) => Err("no invalidation was counted".into()),
        (_, Some(0)) => Err("nothing was gathered".into()),
        _ => Ok(()),
    }
}

/// One command buffer for each hop: source to VRAM, VRAM to GTT, GTT to destination.
fn hops(options: &Options, maps: &[GpuMap<'_, '_>; 4], ibs: &mut IbPool<'_, '_>) -> Vec<Ib> {
    let bytes = u64_of(options.pages * PAGE);
    maps.windows(2)
        .map(|hop| {
            let mut stream = Stream::new();
            stream.copy(options.engine, hop[0].va, hop[1].va, bytes);
            ibs.place(options.engine, &stream)
        })
        .collect()
}

/// The three hops, ready to be submitted any number of times.
struct Chain<'a> {
    options: &'a Options,
    context: &'a Context<'a>,
    list: &'a BoList<'a>,
    handles: Vec<u32>,
    hops: Vec<Ib>,
}

impl Chain<'_> {
    /// Jobs of one context on one ring run in order, so only the last is waited for.
    fn run_with_list(&self, work: &mut Work) -> Result<(), String> {
        let submit = |&ib: &Ib| self.context.submit(self.options.engine, self.list, &[ib], None);
        self.finish(work, self.hops.iter().map(submit))
    }

    fn run_with_handles(&self, work: &mut Work) -> Result<(), String> {
        let submit = |&ib: &Ib| self.context.submit_handles(self.options.engine, &self.handles, ib);
        self.finish(work, self.hops.iter().map(submit))
    }

    fn finish<'f>(
        &self,
        work: &mut Work,
        jobs: impl Iterator<Item = amdgpu_client::Result<libdrm::Fence<'f>>>,
    ) -> Result<(), String> {
        let fences =
            jobs.collect::<Result<Vec<_>, _>>().map_err(|e| format!("submission refused: {e}"))?;
        fences.iter().try_for_each(libdrm::finish)?;
        work.jobs += fences.len();
        work.bytes += u64_of(fences.len() * self.options.pages * PAGE);
        Ok(())
    }
}

fn compare(source: &UserMem, result: &UserMem, work: &mut Work) -> Result<(), String> {
    let Some(Difference { offset, left, right, pages }) = source.difference(result) else {
        return Ok(());
    };
    work.note = format!("{pages} pages wrong");
    Err(format!(
        "{pages} of {} pages differ, the first at byte {offset:#x} (page {}): \
         the source has {left:#04x}, the destination {right:#04x}",
        source.pages(),
        offset / PAGE,
    ))
}

/// A random range of at most a sixteenth of the memory.
fn part(pages: usize, rng: &mut Rng) -> Range<usize> {
    let len = rng.within(1..(pages / 16).max(1) + 1);
    let first = rng.within(0..pages - len + 1);
    first..first + len
}

fn apply(
    change: Change,
    mem: &mut UserMem,
    pages: Range<usize>,
    rng: &mut Rng,
) -> Result<(), String> {
    let fresh_bytes = match change {
        Change::Discard => pages.start..pages.start + pages.len().div_ceil(2),
        _ => pages.clone(),
    };
    match change {
        Change::UnmapMap => mem.unmap_and_map(pages),
        // The old pages are given back only when the fresh ones have been touched, so that these
        // cannot be the same.
        Change::MoveAway => mem.move_away(pages.clone()).map(|away| {
            mem.randomize(pages, rng);
            drop(away);
        }),
        Change::Discard => mem.discard(pages),
    }
    .map_err(|e| format!("replacing memory ({change:?}): {e}"))?;
    if matches!(change, Change::UnmapMap | Change::Discard) {
        mem.randomize(fresh_bytes, rng);
    }
    Ok(())
}
