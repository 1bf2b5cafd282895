// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Several jobs at once: waits for all and for any of them, their fences as files, and gangs.

use std::os::fd::{
    AsRawFd,
    OwnedFd, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    engine::Engine,
    ib::Stream,
    libdrm::{
        CpuMap,
        Device,
        GpuMap,
        IbPool,
        finish,
        wait_several, //
    },
    num::u64_of,
    report::Tally,
    session::PATIENCE_MS,
    uapi::DOMAIN_GTT, //
};

use crate::{
    at,
    expect, //
};

/// Place at which a job waits.
const GATE: usize = 64;
/// Meeting place of the jobs of a gang, one line each.
const MEETING: usize = 256;

/// 100 ms and the longest that a job may take, in nanoseconds.
const SOON: u64 = 100_000_000;
const PATIENCE: u64 = PATIENCE_MS * 1_000_000;

/// One of each kind: no two of them share a ring of the hardware.
const ENGINES: [Engine; 3] = [Engine::Gfx, Engine::Compute(0), Engine::Dma(0)];

pub fn checks(device: &Device, tally: &mut Tally) {
    tally.check("waits for several jobs", || waits(device));
    tally.check("a gang whose jobs wait for each other", || gangs(device));
}

/// Returns true if a sync file is signaled.
fn is_signaled(file: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which the kernel may write.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

fn waits(device: &Device) -> Result<String, String> {
    let (data, ib_bo) = (
        device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("data"))?,
        IbPool::bo(device, PAGE).map_err(at("IB"))?,
    );
    let (gpu, cpu) = (data.map_gpu().map_err(at("GEM_VA"))?, data.map_cpu().map_err(at("mmap"))?);
    let mut ibs = IbPool::new(&ib_bo).map_err(at("IB"))?;
    let context = device.context().map_err(at("context"))?;
    let handles = [data.handle(), ib_bo.handle()];
    let handles: Vec<_> =
        handles.into_iter().collect::<Result<_, Errno>>().map_err(at("handle"))?;
    let [slow_engine, quick_engine, _] = ENGINES;

    cpu.write(GATE, 0);
    let mut stream = Stream::new();
    stream.wait_equal(slow_engine, gpu.va + u64_of(GATE), 1);
    let ib = ibs.place(slow_engine, &stream);
    let slow = context.submit_handles(slow_engine, &handles, ib).map_err(at("submit"))?;
    let answers = (|| {
        let ib = ibs.place(quick_engine, &Stream::new());
        let quick = context.submit_handles(quick_engine, &handles, ib)?;
        let file = slow.sync_file()?;
        let any = wait_several(&[&slow, &quick], false, PATIENCE)?;
        let all = wait_several(&[&quick, &slow], true, SOON)?;
        let early = is_signaled(&file);
        Ok((file, any, all, early))
    })();
    // Whatever was found, the engine must not be left waiting.
    cpu.write(GATE, 1);
    finish(&slow)?;
    let (file, any, all, early) = answers.map_err(at("while a job waits"))?;
    expect(any == Some(1), || format!("the first of two that was done: {any:?}"))?;
    expect(all.is_none(), || "both were said to be done".into())?;
    expect(!early, || "the sync file was signaled before the job was done".into())?;
    let all = wait_several(&[&slow], true, 0).map_err(at("wait"))?;
    expect(all == Some(0), || "not done afterward".into())?;
    expect(is_signaled(&file), || "the sync file is not signaled afterward".into())?;
    Ok("any: the second; all: not in time".into())
}

/// Returns the commands of a job of a gang: it says that it is there, and waits for the others to
/// say so.
fn meet(gpu: &GpuMap<'_, '_>, member: usize, round: u32) -> Stream {
    let va = |n: usize| gpu.va + u64_of(MEETING + 64 * n);
    let engine = ENGINES[member];
    let mut stream = Stream::new();
    stream.store(engine, va(member), round);
    for other in (0..ENGINES.len()).filter(|&other| other != member) {
        stream.wait_equal(engine, va(other), round);
    }
    stream
}

fn gangs(device: &Device) -> Result<String, String> {
    const ROUNDS: u32 = 20;
    let (data, ib_bo) = (
        device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("data"))?,
        IbPool::bo(device, PAGE).map_err(at("IB"))?,
    );
    let (gpu, cpu): (_, CpuMap<'_, '_>) =
        (data.map_gpu().map_err(at("GEM_VA"))?, data.map_cpu().map_err(at("mmap"))?);
    let mut ibs = IbPool::new(&ib_bo).map_err(at("IB"))?;
    let context = device.context().map_err(at("context"))?;
    let handles = [data.handle(), ib_bo.handle()];
    let handles: Vec<_> =
        handles.into_iter().collect::<Result<_, Errno>>().map_err(at("handle"))?;

    for round in 1..=ROUNDS {
        ibs.clear();
        let members: Vec<_> = (0..ENGINES.len())
            .map(|n| (ENGINES[n], ibs.place(ENGINES[n], &meet(&gpu, n, round))))
            .collect();
        let leader = context.submit_gang(&handles, &members).map_err(at("submit"))?;
        finish(&leader)?;
        let idle = data.wait_idle(PATIENCE).map_err(at("GEM_WAIT_IDLE"))?;
        expect(idle, || format!("round {round}: still busy"))?;
        for (n, engine) in ENGINES.into_iter().enumerate() {
            let seen = cpu.read(MEETING + 64 * n);
            expect(seen == round, || format!("{engine} left {seen} in round {round}"))?;
        }
    }
    Ok(format!("{ROUNDS} times three rings"))
}
