// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Contexts, files, waiting, and who waits for whom.

use std::{
    fs,
    io::{
        Read,
        Write, //
    }, //
};

use amdgpu_client::{
    PAGE,
    clock::median,
    drm::now_ns,
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::{
        self,
        Target, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi, //
};

use crate::{
    Bench,
    Outcome,
    say, //
};

/// WAIT_CS for a job that is done.
pub fn wait(bench: &Bench) -> Outcome {
    let session = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    let seq = session.submit(Engine::Gfx, &Stream::new(), &[]).map_err(|e| format!("CS: {e}"))?;
    let wait = || session.wait(Engine::Gfx, seq, PATIENCE_MS);
    wait().map_err(|e| format!("WAIT_CS: {e}"))?;
    let costs = (0..bench.samples).map(|_| bench.meter.thread(wait).0).collect();
    say("wait-signaled", "", median(costs));
    Ok(())
}

/// A context, made and dropped.
pub fn ctx(bench: &Bench) -> Outcome {
    let file = bench.node.open().map_err(|e| format!("open: {e}"))?;
    let (mut made, mut dropped) = (Vec::new(), Vec::new());
    for _ in 0..bench.samples {
        let (cost, ctx) = bench.meter.thread(|| file.ctx_alloc());
        let ctx = ctx.map_err(|e| format!("CTX: {e}"))?;
        made.push(cost);
        dropped.push(bench.meter.thread(|| file.ctx_free(ctx)).0);
    }
    say("ctx alloc", "", median(made));
    say("ctx free", "", median(dropped));
    Ok(())
}

/// Memory that the module and an open file that does nothing take, in bytes.
pub fn file(bench: &Bench) -> Outcome {
    const FILES: usize = 256;
    let module = bench.node.driver.name();
    let modules = fs::read_to_string("/proc/modules").map_err(|e| format!("/proc/modules: {e}"))?;
    let bytes = modules
        .lines()
        .find_map(|line| line.strip_prefix(module)?.strip_prefix(' ')?.split(' ').next())
        .ok_or("the module is not in /proc/modules")?;
    say("module, bytes", "", bytes);

    let witness = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    let used = || -> Result<(u64, u64), String> {
        let (vram, _) = witness.usage().map_err(|e| format!("INFO: {e}"))?;
        Ok((vram, free_memory()?))
    };
    let open = || bench.node.open().map_err(|e| format!("open: {e}"));
    // The first ones fill what the allocator keeps.
    let _first: Vec<_> = (0..FILES).map(|_| open()).collect::<Result<_, _>>()?;
    let (vram, free) = used()?;
    let _files: Vec<_> = (0..FILES).map(|_| open()).collect::<Result<_, _>>()?;
    let (vram_now, free_now) = used()?;
    say("open file, bytes of system memory", "", free.saturating_sub(free_now) / u64_of(FILES));
    say("open file, bytes of VRAM", "", vram_now.saturating_sub(vram) / u64_of(FILES));
    Ok(())
}

/// Bytes of memory that nobody uses.
fn free_memory() -> Result<u64, String> {
    let info = fs::read_to_string("/proc/meminfo").map_err(|e| format!("/proc/meminfo: {e}"))?;
    let kib = info.lines().find_map(|line| line.strip_prefix("MemFree:")?.trim().split(' ').next());
    let kib: u64 = kib.and_then(|n| n.parse().ok()).ok_or("no MemFree in /proc/meminfo")?;
    Ok(kib << 10)
}

/// Time of the longest submission of one process, in microseconds, while munmap in another waits a
/// second for its job.
pub fn stall(bench: &Bench) -> Outcome {
    const SECOND_MS: u64 = 1000;
    let (mut results, to_parent) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    // SAFETY: the child uses what it has opened itself, and ends without the parent's handlers.
    match unsafe { libc::fork() } {
        0 => {
            let mut to_parent = to_parent;
            let line = match other_process(bench) {
                Ok((median, worst)) => format!("{median} {worst}"),
                Err(why) => why,
            };
            let _ = to_parent.write_all(line.as_bytes());
            drop(to_parent);
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child if child > 0 => drop(to_parent),
        _ => return Err("fork".into()),
    }
    let session = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    let mut mem = UserMem::anonymous(1).map_err(|e| format!("mmap: {e}"))?;
    mem.write_page(0, &[1; PAGE]);
    let target = Target::new(&session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
    let dma = Engine::Dma(1);
    let store = |stream: &mut Stream| target.stores(dma, 1, 1, stream);
    let replace = || mem.unmap_and_map(0..1);
    let (answer, timing) =
        race::beside_a_waiting_job_for(SECOND_MS, &session, dma, &target, store, replace)?;
    answer.map_err(|e| format!("munmap: {e}"))?;
    if !timing.waited() {
        return Err("munmap did not wait for the job".into());
    }
    let mut line = String::new();
    results.read_to_string(&mut line).map_err(|e| format!("the other process: {e}"))?;
    let (median, worst) = line.split_once(' ').ok_or_else(|| line.clone())?;
    say("stall, median us", "", median);
    say("stall, longest us", "", worst);
    Ok(())
}

/// Submits all the while; the median and the longest time in the ioctl, in microseconds.
fn other_process(bench: &Bench) -> Result<(u64, u64), String> {
    const WHILE_NS: u64 = 2_500_000_000;
    let session = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    let list = [session.ib.handle];
    let list = session.file.bo_list(&list).map_err(|e| format!("BO_LIST: {e}"))?;
    let ib = [session.nop_ib(Engine::Gfx)];
    let chunks = [uapi::Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    let (start, mut times) = (now_ns(), Vec::new());
    while now_ns() - start < WHILE_NS {
        let before = now_ns();
        let seq = session.file.cs(session.ctx, list, &chunks).map_err(|e| format!("CS: {e}"))?;
        times.push((now_ns() - before) / 1000);
        session.wait(Engine::Gfx, seq, PATIENCE_MS).map_err(|e| format!("WAIT_CS: {e}"))?;
    }
    let worst = times.iter().copied().max().unwrap_or(0);
    Ok((median(times), worst))
}
