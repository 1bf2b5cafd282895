// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CS: jobs that come after the start of another, and what a queue of jobs says to its process.
//!
//! A job that has started is on its ring. It may still wait for something in memory, and who comes
//! after its start may be the one that brings it.

use std::{
    thread,
    time::Duration, //
};

use amdgpu_client::{
    engine::Engine,
    ib::Stream,
    num::u64_of,
    race::{
        Latch,
        wait_at_gate, //
    },
    uapi::{
        CHUNK_ID_DEPENDENCIES,
        CHUNK_ID_FENCE,
        CHUNK_ID_SCHEDULED_DEPENDENCIES,
        Chunk,
        ChunkFence, //
    }, //
};

use crate::{
    case::{
        Case,
        Outcome,
        Setup,
        bad,
        expect,
        good, //
    },
    gang::{
        ROOM,
        after,
        submit_after, //
    },
    rig::Rig, //
};

/// Who waits, and who comes after the start of that.
const PAIRS: [[Engine; 2]; 3] = [
    [Engine::Gfx, Engine::Dma(0)],
    [Engine::Compute(0), Engine::Gfx],
    [Engine::Dma(0), Engine::Compute(0)],
];

/// Where, in the page of data, the second job writes.
const WORD: usize = 0xa00;

/// A job that waits in memory for what the second one writes.
fn waits_for_the_second(rig: &Rig, [first, second]: [Engine; 2]) -> Outcome {
    let data = &rig.session.data;
    let word = data.va + u64_of(WORD);
    data.map.write(WORD, 0);
    let mut waits = Stream::new();
    waits.wait_equal(first, word, 1);
    let waiting = submit_after(&rig.session, 0, (first, &waits), &[])?;
    let mut stores = Stream::new();
    stores.store(second, word, 1);
    let dep = after(&rig.session, first, waiting);
    let started = [Chunk::of(CHUNK_ID_SCHEDULED_DEPENDENCIES, &dep)];
    let storing = submit_after(&rig.session, ROOM, (second, &stores), &started)?;
    rig.finish(second, storing)?;
    rig.finish(first, waiting)
}

/// A job that comes after the start of one that has not started: that comes after the end of a
/// third, which waits at the gate.
fn not_before_the_start(rig: &Rig) -> Outcome {
    let [third, first, second] = [Engine::Dma(1), Engine::Gfx, Engine::Compute(0)];
    let data = &rig.session.data;
    data.map.write(WORD, 0);
    let gate = Latch::shut(&data.map);
    let mut waits = Stream::new();
    wait_at_gate(&rig.session, third, &mut waits);
    let waiting = submit_after(&rig.session, 0, (third, &waits), &[])?;
    let dep = after(&rig.session, third, waiting);
    let ended = [Chunk::of(CHUNK_ID_DEPENDENCIES, &dep)];
    let between = submit_after(&rig.session, ROOM, (first, &Stream::new()), &ended)?;
    let mut stores = Stream::new();
    stores.store(second, data.va + u64_of(WORD), 1);
    let dep = after(&rig.session, first, between);
    let started = [Chunk::of(CHUNK_ID_SCHEDULED_DEPENDENCIES, &dep)];
    let storing = submit_after(&rig.session, 2 * ROOM, (second, &stores), &started)?;
    thread::sleep(Duration::from_millis(100));
    let early = data.map.read(WORD);
    gate.open();
    rig.finish(third, waiting)?;
    rig.finish(first, between)?;
    rig.finish(second, storing)?;
    expect(early == 0, || "it has run before the other had started".into())?;
    expect(data.map.read(WORD) == 1, || "it has not run".into())
}

/// More jobs than a ring takes, each with a user fence in a page of its own, behind one that waits.
fn a_page_for_each_fence(rig: &Rig, engine: Engine) -> Outcome {
    const JOBS: usize = 20;
    const PAGE: u64 = 4096;
    let gate = Latch::shut(&rig.session.data.map);
    let mut waits = Stream::new();
    wait_at_gate(&rig.session, engine, &mut waits);
    submit_after(&rig.session, 0, (engine, &waits), &[])?;
    let mut fences = Vec::new();
    for n in 0..JOBS {
        let handle = rig.gtt(1)?;
        let offset = u32::try_from(8 * n).unwrap_or(0);
        let fence = [ChunkFence { handle, offset }];
        let told = [Chunk::of(CHUNK_ID_FENCE, &fence)];
        let seq = submit_after(&rig.session, ROOM, (engine, &Stream::new()), &told)?;
        fences.push((handle, seq));
    }
    gate.open();
    for (n, (handle, seq)) in fences.into_iter().enumerate() {
        rig.finish(engine, seq)?;
        let map = rig.file().map(handle, PAGE).setup("a mapping")?;
        for word in 0..JOBS {
            let (seen, wanted) = (map.read(8 * word), if word == n { seq } else { 0 });
            expect(u64::from(seen) == wanted, || {
                format!("job {n}, place {word}: {seen}, not {wanted}")
            })?;
        }
        drop(map);
        rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    }
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for pair in PAIRS {
        let [first, second] = pair;
        cases.push(good(
            format!("{first} waits for {second}, which comes after its start"),
            move |rig| waits_for_the_second(rig, pair),
        ));
    }
    cases.extend([
        good("not before the start of another", not_before_the_start),
        good("after the start of a job that has ended", |rig| {
            let engine = Engine::Gfx;
            let seq = submit_after(&rig.session, 0, (engine, &Stream::new()), &[])?;
            rig.finish(engine, seq)?;
            let dep = after(&rig.session, engine, seq);
            rig.submit_extra(&[Chunk::of(CHUNK_ID_SCHEDULED_DEPENDENCIES, &dep)])
        }),
        bad("after the start of a job of the future", libc::EINVAL, |rig| {
            let dep = after(&rig.session, Engine::Gfx, 1 << 40);
            rig.submit_extra(&[Chunk::of(CHUNK_ID_SCHEDULED_DEPENDENCIES, &dep)])
        }),
    ]);
    for engine in [Engine::Gfx, Engine::Dma(0)] {
        cases.push(good(format!("user fences of a full queue on {engine}"), move |rig| {
            a_page_for_each_fence(rig, engine)
        }));
    }
    cases
}
