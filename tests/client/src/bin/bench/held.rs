// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Calls that are made while a job of the same process is held on the GPU.
//!
//! Every application frees and maps buffers while it renders. A call that waits for jobs that do
//! not use its buffer has the application run in lockstep with the GPU; where the job waits for
//! that very thread, neither goes on. Each row is the time of a call, in microseconds, while a job
//! that names none of the call's buffers waits at a gate for [`HELD_MS`]: the median of a few
//! rounds.

use amdgpu_client::{
    Errno,
    PAGE,
    clock::median,
    drm::{
        self,
        now_ns, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::{
        Gate,
        Target, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use crate::{
    Bench,
    Outcome,
    say, //
};

/// Time for which the job is held: long against any call that does not wait for it.
const HELD_MS: u64 = 300;
/// Place of the second job's commands, beside the held one's.
const BESIDE: usize = 4096;
/// Rounds of each call.
const ROUNDS: usize = 3;
/// Size of the buffers that are mapped.
const BYTES: u64 = u64_of(16 * PAGE);

/// A BO of the process that the held job does not name.
struct Bystander {
    handle: u32,
    va: u64,
}

/// Objects of a call: two mapped BOs and a userptr BO, all idle.
struct Scene<'s> {
    session: &'s Session,
    bo: Bystander,
    other: Bystander,
    user: (u32, u64),
    user_bytes: u64,
}

type Answer = Result<(), String>;
type Call = fn(&Scene<'_>) -> Answer;

/// Every call, in the order of the table.
const CALLS: &[(&str, Call)] = &[
    ("GEM_VA MAP", map),
    ("GEM_VA UNMAP", |s| va(s, uapi::VA_OP_UNMAP, s.bo.handle, s.bo.va)),
    ("GEM_VA REPLACE", |s| va(s, uapi::VA_OP_REPLACE, s.other.handle, s.bo.va)),
    ("GEM_VA CLEAR", |s| va(s, uapi::VA_OP_CLEAR, 0, s.bo.va)),
    ("GEM_CLOSE, mapped", |s| close(s, s.bo.handle)),
    ("GEM_CLOSE, unmapped before", |s| {
        va(s, uapi::VA_OP_UNMAP, s.bo.handle, s.bo.va)?;
        close(s, s.bo.handle)
    }),
    ("GEM_CLOSE, userptr", |s| close(s, s.user.0)),
    ("GEM_CREATE", |s| create(s).map(drop)),
    ("GEM_USERPTR, VALIDATE", userptr),
    ("CS, other ring", |s| submit(s, &[])),
    ("CS, after UNMAP", |s| {
        va(s, uapi::VA_OP_UNMAP, s.bo.handle, s.bo.va)?;
        submit(s, &[])
    }),
    ("CS, after REPLACE", |s| {
        va(s, uapi::VA_OP_REPLACE, s.other.handle, s.bo.va)?;
        submit(s, &[s.other.handle])
    }),
    ("CS, new BO", |s| {
        let handle = create(s)?;
        va(s, uapi::VA_OP_MAP, handle, s.session.reserve_va(BYTES))?;
        submit(s, &[handle])
    }),
    ("CS, after SET_PLACEMENT", |s| {
        let moved = s.session.file.set_placement(s.bo.handle, DOMAIN_GTT);
        moved.map_err(|e| format!("SET_PLACEMENT: {e}"))?;
        submit(s, &[s.bo.handle])
    }),
    ("mmap and first touch", |s| {
        let handle = create(s)?;
        let map = s.session.file.map(handle, BYTES).map_err(|e| format!("mmap: {e}"))?;
        map.write(0, 1);
        Ok(())
    }),
    ("PRIME export and import", |s| {
        let file = &s.session.file;
        let fd = file.export(s.bo.handle).map_err(|e| format!("export: {e}"))?;
        file.import(&fd).map(drop).map_err(|e| format!("import: {e}"))
    }),
    ("CTX ALLOC and FREE", |s| {
        let file = &s.session.file;
        let ctx = file.ctx_alloc().map_err(|e| format!("CTX: {e}"))?;
        file.ctx_free(ctx).map_err(|e| format!("CTX: {e}"))
    }),
];

fn va(scene: &Scene<'_>, op: u32, handle: u32, va: u64) -> Answer {
    let answer = scene.session.file.gem_va(op, handle, va, 0, BYTES);
    answer.map_err(|e| format!("GEM_VA {op}: {e}"))
}

fn close(scene: &Scene<'_>, handle: u32) -> Answer {
    scene.session.file.gem_close(handle).map_err(|e| format!("GEM_CLOSE: {e}"))
}

fn create(scene: &Scene<'_>) -> Result<u32, String> {
    scene.session.file.gem_create(BYTES, DOMAIN_VRAM, 0).map_err(|e| format!("GEM_CREATE: {e}"))
}

fn map(scene: &Scene<'_>) -> Answer {
    va(scene, uapi::VA_OP_MAP, scene.bo.handle, scene.session.reserve_va(BYTES))
}

fn userptr(scene: &Scene<'_>) -> Answer {
    let flags = uapi::USERPTR_ANONONLY | uapi::USERPTR_REGISTER | uapi::USERPTR_VALIDATE;
    loop {
        match scene.session.file.gem_userptr(scene.user.1, scene.user_bytes, flags) {
            // The gate's keeper shares the pages, which the GPU is to write: they are copied.
            Err(Errno(libc::EAGAIN)) => {}
            answer => return answer.map(drop).map_err(|e| format!("GEM_USERPTR: {e}")),
        }
    }
}

/// Submits an empty job on a ring of its own, without waiting for it.
fn submit(scene: &Scene<'_>, handles: &[u32]) -> Answer {
    const RING: Engine = Engine::Compute(1);

    let ib = [scene.session.place_ib_at(BESIDE, RING, &Stream::new())];
    let handles: Vec<_> = [scene.session.ib.handle].iter().chain(handles).copied().collect();
    let entries = drm::list_entries(&handles);
    let list = [drm::list_request(&entries)];
    let chunks = [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    let answer = scene.session.file.cs(scene.session.ctx, 0, &chunks);
    answer.map(drop).map_err(|e| format!("CS: {e}"))
}

/// A mapped BO in VRAM whose clear is over and that a job has used.
fn bystander(session: &Session) -> Result<Bystander, String> {
    let bad = |e| format!("a bystander: {e}");
    let buffer = session.buffer(BYTES, DOMAIN_VRAM, 0).map_err(bad)?;
    session.file.wait_idle(buffer.handle, drm::deadline_ms(PATIENCE_MS)).map_err(bad)?;
    Ok(Bystander { handle: buffer.handle, va: buffer.va })
}

/// Returns the time of a call while a job is held, in microseconds.
fn round(bench: &Bench, call: Call) -> Result<u64, String> {
    let session = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    let mut mem = UserMem::anonymous(4).map_err(|e| format!("mmap: {e}"))?;
    (0..4).for_each(|page| mem.write_byte(page, 1));
    let user = Target::new(&session, &mem).map_err(|e| format!("userptr BO: {e}"))?;
    let (bo, other) = (bystander(&session)?, bystander(&session)?);
    session.run(Engine::Gfx, &Stream::new(), &[user.handle, bo.handle, other.handle])?;
    let scene = Scene {
        session: &session,
        bo,
        other,
        user: (user.leak().0, mem.addr()),
        user_bytes: u64_of(mem.len()),
    };
    let gate = Gate::shut_for(&session, HELD_MS)?;
    let mut stream = Stream::new();
    gate.wait(Engine::Gfx, &mut stream);
    let held = session.submit_again(Engine::Gfx, &stream, &[])?;
    let ((answer, took), _) = gate.open_soon(|| {
        let before = now_ns();
        let answer = call(&scene);
        (answer, (now_ns() - before) / 1000)
    });
    answer?;
    if !session.wait(Engine::Gfx, held, PATIENCE_MS).map_err(|e| format!("WAIT_CS: {e}"))? {
        return Err("the held job does not end".into());
    }
    Ok(took)
}

/// The time of each call while a job is held.
pub fn calls(bench: &Bench) -> Outcome {
    let mut failures = Vec::new();
    for (name, call) in CALLS {
        let times: Result<Vec<_>, _> = (0..ROUNDS).map(|_| round(bench, *call)).collect();
        match times {
            Ok(times) => say("held job, us", name, median(times)),
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}
