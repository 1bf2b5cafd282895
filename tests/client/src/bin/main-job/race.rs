// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs read memory that another thread replaces without pause.
//!
//! Each job copies the source twice, into two GTT BOs. While a job runs the driver must keep the
//! pages that it was given, so the two copies must agree, beyond what [`History`] says of each.

use std::{
    sync::atomic::{
        AtomicBool,
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
    drm::IoMap,
    generations::{
        self,
        History,
        Manner,
        Seen,
        Window, //
    },
    ib::Stream,
    libdrm::{
        self,
        Bo,
        Context,
        Device,
        Ib,
        IbPool,
        RawList, //
    },
    mem::UserMem,
    num::u64_of,
    rng::Rng,
    uapi::{
        DOMAIN_GTT,
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE, //
    }, //
};

use crate::{
    Options,
    copy,
    table::{
        Table,
        Work, //
    }, //
};

/// Fewer jobs than this is no progress, in so many times the time that was asked for: a machine
/// that does much else needs more for each.
const FEWEST_JOBS: usize = 5;
const LONGEST: u32 = 8;

pub fn run(
    device: &Device,
    options: &Options,
    manner: Manner,
    table: &mut Table,
) -> Result<(), String> {
    let say = |what: &'static str| move |e| format!("{what}: {e}");
    let mut source = UserMem::anonymous(options.race_pages).map_err(say("mmap"))?;
    for page in 0..options.race_pages {
        source.write_page(page, &generations::stamped(page, 0));
    }
    let size = source.len();
    // Pages that were moved into place make a range of several mappings, which the C driver does
    // not take as anonymous.
    let flags = match manner {
        Manner::Whole => USERPTR_REGISTER | USERPTR_VALIDATE,
        Manner::InPlace => USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE,
    };
    let from = device.userptr_with(&source, flags).map_err(say("userptr BO"))?;
    let gtt = || device.alloc(size, DOMAIN_GTT, 0).map_err(say("GTT BO"));
    let (first_bo, second_bo) = (gtt()?, gtt()?);
    let ib_bo = IbPool::bo(device, PAGE).map_err(say("command buffer BO"))?;
    let map = |bo| Bo::map_gpu(bo).map_err(say("GEM_VA"));
    let (first, second) = (map(&first_bo)?, map(&second_bo)?);
    let mut ibs = IbPool::new(&ib_bo).map_err(say("command buffer BO"))?;

    let view = |bo| Bo::map_cpu(bo).map_err(say("mmap of a BO"));
    let (first_view, second_view) = (view(&first_bo)?, view(&second_bo)?);

    let mut stream = Stream::new();
    for to in [&first, &second] {
        stream.copy(options.engine, from.va, to.va, u64_of(size));
    }
    let handle = |bo| Bo::handle(bo).map_err(say("handle"));
    let handles = [from.handle, handle(&first_bo)?, handle(&second_bo)?, handle(&ib_bo)?];
    let reader = Reader {
        options,
        context: &device.context().map_err(say("context"))?,
        list: &device.bo_list_of_handles(&handles).map_err(say("BO list"))?,
        ib: ibs.place(options.engine, &stream),
        copies: [&first_view, &second_view],
        history: &History::new(options.race_pages, manner),
        manner,
    };
    let name = match manner {
        Manner::Whole => "race moved",
        Manner::InPlace => "race unmap",
    };
    table.phase(name, copy::anything, |work| reader.race(&mut source, work))
}

/// The side that submits and judges.
struct Reader<'a> {
    options: &'a Options,
    context: &'a Context<'a>,
    list: &'a RawList<'a>,
    ib: Ib,
    copies: [&'a IoMap; 2],
    history: &'a History,
    manner: Manner,
}

impl Reader<'_> {
    fn race(&self, source: &mut UserMem, work: &mut Work) -> Result<(), String> {
        let stop = AtomicBool::new(false);
        let (history, manner) = (self.history, self.manner);
        let rng = Rng::new(self.options.seed ^ 0x7ace);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let rest = self.options.race_rest_ms;
                let result = replace(source, history, manner, rng, rest, &stop);
                // If this side failed, the other need not wait for its time to be over.
                stop.store(true, Ordering::Relaxed);
                result
            });
            let read = self.read(work, &stop);
            stop.store(true, Ordering::Relaxed);
            let replaced = other.join().map_err(|_| "the replacing thread panicked")?;
            replaced.map_err(|e| format!("replacing memory: {e}"))?;
            read
        })
    }

    fn read(&self, work: &mut Work, stop: &AtomicBool) -> Result<(), String> {
        let fewest = FEWEST_JOBS.min(self.options.race_jobs);
        let time = Duration::from_secs(self.options.race_secs);
        let began = Instant::now();
        let mut last = vec![0; self.options.race_pages];
        let mut changed = 0;
        while work.jobs < self.options.race_jobs && !stop.load(Ordering::Relaxed) {
            let patience = if work.jobs < fewest { LONGEST } else { 1 };
            if began.elapsed() >= time * patience {
                break;
            }
            let start = self.history.now();
            match self.context.submit_raw(self.options.engine, self.list, self.ib) {
                Ok(fence) => libdrm::finish(&fence)?,
                Err(e) if self.may_refuse(e) => {
                    work.refused += 1;
                    continue;
                }
                Err(e) => return Err(format!("submission refused: {e}")),
            }
            let window = Window { start, end: self.history.now() };
            work.jobs += 1;
            work.bytes += u64_of(2 * self.options.race_pages * PAGE);
            changed +=
                self.judge(window, &mut last).map_err(|why| format!("job {}: {why}", work.jobs))?;
        }
        let replacements = self.history.replacements();
        work.note = format!("{replacements} replacements, {changed} pages seen to change");
        if work.jobs < fewest {
            return Err(format!("no progress: {} jobs, {} refusals", work.jobs, work.refused));
        }
        if changed == 0 {
            return Err("no race was hit: the GPU never saw a page change".into());
        }
        Ok(())
    }

    /// Returns true if the kernel may answer so to a submission that lost. Where a page is always
    /// there, only not always the same, there is no bad address; where there is a hole, the range
    /// is one (EFAULT), and no single anonymous mapping (EPERM).
    fn may_refuse(&self, error: Errno) -> bool {
        match error.0 {
            libc::EDEADLK | libc::EAGAIN => true,
            libc::EFAULT | libc::EPERM => self.manner == Manner::InPlace,
            _ => false,
        }
    }

    /// Judges both copies of every page; how many pages changed since the job before.
    fn judge(&self, window: Window, last: &mut [u32]) -> Result<usize, String> {
        let mut bytes = [0; PAGE];
        let mut changed = 0;
        for (page, last) in last.iter_mut().enumerate() {
            let mut seen = [Seen { generation: None, zeros: false }; 2];
            for (copy, seen) in self.copies.iter().zip(&mut seen) {
                copy.copy_out(page * PAGE, &mut bytes);
                *seen = generations::inspect(page, &bytes)
                    .and_then(|s| self.history.judge(page, s, window).map(|()| s))
                    .map_err(|wrong| format!("page {page}: {wrong}"))?;
            }
            self.agree(seen).map_err(|why| format!("page {page}: {why}"))?;
            if let Some(generation) = seen[1].generation
                && generation != *last
            {
                changed += 1;
                *last = generation;
            }
        }
        Ok(changed)
    }

    /// Both copies were made by one job, so from the same pages; the second may only show more of
    /// what the CPU was writing into them.
    fn agree(&self, [first, second]: [Seen; 2]) -> Result<(), String> {
        let grew = self.manner == Manner::InPlace
            && first.zeros
            && (first.generation.is_none() || first.generation == second.generation);
        if first == second || grew {
            return Ok(());
        }
        Err(format!("one job read {first:?}, and later {second:?}: its pages were exchanged"))
    }
}

/// Replaces random ranges, each of up to the whole memory, until told to stop. Filling takes
/// longer than gathering does, so a submission that goes round again can win without a rest; where
/// it does not, `rest_ms` is the longest of the random rests between two replacements.
fn replace(
    mem: &mut UserMem,
    history: &History,
    manner: Manner,
    mut rng: Rng,
    rest_ms: usize,
    stop: &AtomicBool,
) -> amdgpu_client::Result {
    while !stop.load(Ordering::Relaxed) {
        let len = rng.within(1..mem.pages() + 1);
        let first = rng.within(0..mem.pages() - len + 1);
        let generation = history.upcoming();
        match manner {
            Manner::Whole => {
                let mut fresh = UserMem::unguarded(len)?;
                for page in 0..len {
                    fresh.write_page(page, &generations::stamped(first + page, generation));
                }
                history.begin(first..first + len);
                mem.replace(first, fresh)?;
            }
            Manner::InPlace => {
                history.begin(first..first + len);
                mem.unmap_and_map(first..first + len)?;
                for page in first..first + len {
                    mem.write_page(page, &generations::stamped(page, generation));
                }
            }
        }
        history.end();
        if rest_ms > 0 {
            let rest = rng.within(0..rest_ms + 1);
            thread::sleep(Duration::from_millis(u64_of(rest)));
        }
    }
    Ok(())
}
