// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CS: synchronization objects, what a job comes after and where its fence goes.

use std::{
    thread,
    time::Duration, //
};

use amdgpu_client::{
    drm::{
        list_entries,
        list_request, //
    },
    engine::Engine,
    ib::Stream,
    num::u64_of,
    race::{
        Latch,
        wait_at_gate, //
    },
    session::PATIENCE_MS,
    uapi::{
        CHUNK_ID_SYNCOBJ_IN,
        CHUNK_ID_SYNCOBJ_OUT,
        CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL,
        CHUNK_ID_SYNCOBJ_TIMELINE_WAIT,
        Chunk,
        ChunkSem,
        ChunkSyncobj,
        SYNCOBJ_WAIT_FOR_SUBMIT, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Outcome,
        Setup,
        bad,
        expect,
        good, //
    },
    rig::{
        NO_HANDLE,
        Rig,
        handles_chunk,
        ib_chunk, //
    }, //
};

/// Words in the page of data: what a job writes, ...
const WRITTEN: usize = 0x104;
/// ... and where that is copied.
const COPIED: usize = 0x108;
const VALUE: u32 = 0x0dd5_eed5;

/// A job that is not done before the gate opens, and one on another engine that comes after it.
const FIRST: Engine = Engine::Dma(0);
const SECOND: Engine = Engine::Dma(1);

/// Runs `f` with a new synchronization object.
fn with_syncobj(rig: &Rig<'_>, f: impl FnOnce(u32) -> Outcome) -> Outcome {
    let handle = rig.file().syncobj_create().setup("SYNCOBJ_CREATE")?;
    let answer = f(handle);
    rig.file().syncobj_destroy(handle).setup("SYNCOBJ_DESTROY")?;
    answer
}

fn sems(rig: &Rig<'_>, kind: u32, handles: &[u32]) -> Outcome {
    let sems: Vec<_> = handles.iter().map(|&handle| ChunkSem { handle }).collect();
    rig.submit_extra(&[Chunk::of(kind, &sems)])
}

fn point(rig: &Rig<'_>, kind: u32, handle: u32, flags: u32, point: u64) -> Outcome {
    let points = [ChunkSyncobj { handle, flags, point }];
    rig.submit_extra(&[Chunk::of(kind, &points)])
}

/// Submits `stream` with one more chunk, from its own place `at` in the command buffer.
fn submit(
    rig: &Rig<'_>,
    engine: Engine,
    stream: &Stream,
    at: usize,
    extra: Chunk<'_>,
) -> Result<u64, Failure> {
    let ib = [rig.session.place_ib_at(at, engine, stream)];
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    Ok(rig.file().cs(rig.session.ctx, 0, &[handles_chunk(&list), ib_chunk(&ib), extra])?)
}

/// A job that waits for the gate and then writes; its fence goes where `out` says.
fn first(rig: &Rig<'_>, out: Chunk<'_>) -> Result<u64, Failure> {
    let va = rig.session.data.va;
    let mut stream = Stream::new();
    wait_at_gate(&rig.session, FIRST, &mut stream);
    stream.store(FIRST, va + u64_of(WRITTEN), VALUE);
    submit(rig, FIRST, &stream, 0x1000, out)
}

/// A job that copies what the first one writes, and comes after what `after` says.
fn second(rig: &Rig<'_>, after: Chunk<'_>) -> Result<u64, Failure> {
    let va = rig.session.data.va;
    let mut stream = Stream::new();
    stream.copy(SECOND, va + u64_of(WRITTEN), va + u64_of(COPIED), 4);
    submit(rig, SECOND, &stream, 0x2000, after)
}

/// Two jobs, the second of which comes after the first by way of `out` and `after` only.
fn in_order(rig: &Rig<'_>, out: Chunk<'_>, after: Chunk<'_>) -> Outcome {
    let data = &rig.session.data.map;
    for word in [WRITTEN, COPIED] {
        data.write(word, 0);
    }
    let gate = Latch::shut(data);
    let jobs = first(rig, out).and_then(|one| Ok((one, second(rig, after)?)));
    let early = match &jobs {
        Ok((_, two)) => rig.session.wait(SECOND, *two, 100).setup("WAIT_CS")?,
        Err(_) => false,
    };
    gate.open();
    let (one, two) = jobs?;
    rig.finish(FIRST, one)?;
    rig.finish(SECOND, two)?;
    expect(!early, || "the second job was done before the first".into())?;
    let copied = data.read(COPIED);
    expect(copied == VALUE, || format!("the second job read {copied:#x}, before it was written"))
}

/// A submission that waits for a fence which another thread submits a little later.
fn before_it_is_there(rig: &Rig<'_>, handle: u32) -> Outcome {
    const LATER: Duration = Duration::from_millis(100);
    // The other one needs a command buffer and a context of its own, but the same file.
    let out = [ChunkSyncobj { handle, flags: 0, point: 3 }];
    let wait = [ChunkSyncobj { handle, flags: SYNCOBJ_WAIT_FOR_SUBMIT, point: 3 }];
    thread::scope(|threads| {
        let session = &rig.session;
        let ib = [session.place_ib_at(0x3000, FIRST, &Stream::new())];
        let (file, ctx, handles) = (&session.file, session.ctx, rig.handles());
        let other = threads.spawn(move || {
            thread::sleep(LATER);
            let entries = list_entries(&handles);
            let list = [list_request(&entries)];
            let out = Chunk::of(CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, &out);
            file.cs(ctx, 0, &[handles_chunk(&list), ib_chunk(&ib), out])
        });
        let answer = rig.submit_extra(&[Chunk::of(CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, &wait)]);
        match other.join() {
            Ok(submitted) => submitted.setup("the fence that comes later")?,
            Err(_) => return Err(Failure::Wrong("the other thread panicked".into())),
        };
        answer
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = bad_cases();
    cases.extend([
        good("one job after another by a binary object", |rig| {
            with_syncobj(rig, |handle| {
                let sem = [ChunkSem { handle }];
                let out = Chunk::of(CHUNK_ID_SYNCOBJ_OUT, &sem);
                in_order(rig, out, Chunk::of(CHUNK_ID_SYNCOBJ_IN, &sem))
            })
        }),
        good("one job after another by a timeline", |rig| {
            with_syncobj(rig, |handle| {
                let point = [ChunkSyncobj { handle, flags: 0, point: 7 }];
                let out = Chunk::of(CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, &point);
                in_order(rig, out, Chunk::of(CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, &point))
            })
        }),
        good("the fence is signaled in all objects that it went to", |rig| {
            with_syncobj(rig, |one| {
                with_syncobj(rig, |two| {
                    sems(rig, CHUNK_ID_SYNCOBJ_OUT, &[one, two])?;
                    rig.file().syncobj_wait(one, 0, PATIENCE_MS).setup("the first")?;
                    rig.file().syncobj_wait(two, 0, PATIENCE_MS).setup("the second")
                })
            })
        }),
        good("a fence that is submitted while it is waited for", |rig| {
            with_syncobj(rig, |handle| before_it_is_there(rig, handle))
        }),
        good("objects of no number", |rig| sems(rig, CHUNK_ID_SYNCOBJ_IN, &[])),
    ]);
    cases
}

fn bad_cases() -> Vec<Case> {
    vec![
        bad("no such object to wait for", libc::ENOENT, |rig| {
            sems(rig, CHUNK_ID_SYNCOBJ_IN, &[NO_HANDLE])
        }),
        bad("an object without a fence", libc::EINVAL, |rig| {
            with_syncobj(rig, |handle| sems(rig, CHUNK_ID_SYNCOBJ_IN, &[handle]))
        }),
        bad("no such object for the fence", libc::EINVAL, |rig| {
            sems(rig, CHUNK_ID_SYNCOBJ_OUT, &[NO_HANDLE])
        }),
        bad("no such object for the fence, after a good one", libc::EINVAL, |rig| {
            with_syncobj(rig, |handle| {
                let answer = sems(rig, CHUNK_ID_SYNCOBJ_OUT, &[handle, NO_HANDLE]);
                let held = rig.file().syncobj_wait(handle, 0, 0);
                expect(held.is_err(), || "the good one got a fence".into())?;
                answer
            })
        }),
        bad("two chunks for the fence", libc::EINVAL, |rig| {
            with_syncobj(rig, |handle| {
                let sem = [ChunkSem { handle }];
                let point = [ChunkSyncobj { handle, flags: 0, point: 1 }];
                rig.submit_extra(&[
                    Chunk::of(CHUNK_ID_SYNCOBJ_OUT, &sem),
                    Chunk::of(CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, &point),
                ])
            })
        }),
        bad("no such timeline to wait for", libc::ENOENT, |rig| {
            point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, NO_HANDLE, u32::MAX, 1)
        }),
        bad("an unknown flag of a wait", libc::EINVAL, |rig| {
            with_syncobj(rig, |handle| point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, handle, 1, 1))
        }),
        bad("a point that was not submitted", libc::EINVAL, |rig| {
            with_syncobj(rig, |handle| {
                point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, handle, 0, 4)?;
                point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, handle, 0, 5)
            })
        }),
        bad("a point that nobody ever submits, waited for", libc::ETIME, |rig| {
            with_syncobj(rig, |handle| {
                let flags = SYNCOBJ_WAIT_FOR_SUBMIT;
                point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, handle, flags, 1)
            })
        }),
        bad("no such timeline for the fence", libc::EINVAL, |rig| {
            point(rig, CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, NO_HANDLE, 0, 1)
        }),
    ]
}
