// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A job that fails behind one of the same queue that waits.

use std::{
    thread,
    time::Duration, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        self,
        Node,
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
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    stats::FailJobs,
    uapi::{
        self,
        Chunk, //
    }, //
};

/// Long enough for a job to be failed, and for a call that does not wait for it to come back.
const SHUT_MS: u64 = 400;
const WRITTEN: u32 = 0xdead_beef;
/// Place in the session's page of data at which the first job says that it is on its ring.
const STARTED: usize = 512;
/// Place of the second job's commands, beside the first one's.
const BESIDE: usize = 4096;

/// Puts a stream beside that of a job that has not run, and submits it without any BOs.
pub fn submit_beside(session: &Session, engine: Engine, stream: &Stream) -> Result<u64> {
    let ib = [session.place_ib_at(BESIDE, engine, stream)];
    session.file.cs(session.ctx, 0, &[Chunk::of(uapi::CHUNK_ID_IB, &ib)])
}

/// Returns true if a job is done by now, well or not. An error is what it ended with.
fn is_done(session: &Session, engine: Engine, seq: u64) -> Result<bool> {
    let request = uapi::WaitCs {
        handle: seq,
        timeout: drm::deadline_ms(0),
        ip_type: engine.ip_type(),
        ip_instance: 0,
        ring: engine.ring(),
        ctx_id: session.ctx,
    };
    session.file.call(uapi::WAIT_CS, &request).map(|status| status == 0)
}

/// Observations while the gate was shut, or that were due then.
struct Seen {
    /// When the second job was done, if it was.
    done: Option<u64>,
    /// The second job.
    second: u64,
}

pub fn behind(node: &Node, engine: Engine, knob: &FailJobs) -> Outcome {
    let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
    let session = Session::open(node).map_err(say("a session"))?;
    let mut mem = UserMem::anonymous(1).map_err(say("mmap"))?;
    mem.write_page(0, &[1; PAGE]);
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    session.data.map.write(STARTED, 0);
    let gate = Gate::shut_for(&session, SHUT_MS)?;
    let mut stream = Stream::new();
    stream.store(engine, session.data.va + u64_of(STARTED), 1);
    gate.wait(engine, &mut stream);
    target.stores(engine, 1, WRITTEN, &mut stream);
    session.submit_again(engine, &stream, &[target.handle])?;
    while session.data.map.read(STARTED) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    knob.set(1)?;
    let (seen, timing) = gate.open_soon(|| -> std::result::Result<Seen, String> {
        let second = submit_beside(&session, engine, &Stream::new()).map_err(say("CS"))?;
        // Time for it to fail.
        thread::sleep(Duration::from_millis(SHUT_MS / 4));
        let done = match is_done(&session, engine, second) {
            Ok(false) => None,
            Ok(true) | Err(_) => Some(now_ns()),
        };
        mem.unmap_and_map(0..1).map_err(say("munmap and mmap"))?;
        Ok(Seen { done, second })
    });
    let seen = seen?;
    let answer = session.wait(engine, seen.second, PATIENCE_MS);
    knob.set(0)?;
    if answer != Err(Errno(libc::EIO)) {
        return Err(format!("the second job should fail with EIO: {answer:?}"));
    }
    if seen.done.is_some_and(|done| done < timing.opened) {
        return Err("the second job was done while the first waited at its gate".into());
    }
    if !timing.waited() {
        return Err("munmap came back while the first job waited at its gate".into());
    }
    match mem.load(0, 0) {
        0 => Ok(format!("both ended after {SHUT_MS} ms")),
        word => Err(format!("the fresh page holds {word:#x}")),
    }
}
