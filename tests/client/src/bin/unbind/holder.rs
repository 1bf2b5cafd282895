// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A process that holds on to the driver by all means: buffers, mappings, jobs, DMA buffers,
//! fences.

use std::{
    fs::OpenOptions,
    io::PipeWriter,
    os::{
        fd::{
            FromRawFd,
            OwnedFd, //
        },
        unix::fs::FileExt, //
    },
    thread::sleep,
    time::Duration, //
};

use amdgpu_client::{
    PAGE,
    Result,
    child::say,
    drm::{
        self,
        IoMap,
        Node, //
    },
    engine::Engine,
    ib::{
        START_ALIGN,
        Stream, //
    },
    mem::UserMem,
    num::u64_of,
    rng::Rng,
    session::Session,
    uapi::{
        self,
        Chunk,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        USERPTR_REGISTER,
        VA_OP_MAP, //
    }, //
};

/// Jobs of a process.
#[derive(Clone, Copy, Debug)]
enum Jobs {
    /// There are none.
    None,
    /// They end after so many milliseconds.
    End(u64),
    /// The first never ends.
    Hang,
}

/// Buffers, jobs and other things that a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    buffers: u16,
    jobs: Jobs,
    engine: Engine,
    /// Buffers that the jobs name have no handle any more: TTM destroys them when the jobs end.
    deleted: bool,
    /// Closes the file's handles one by one, without end, and makes new ones.
    churns: bool,
    exports: bool,
    user_memory: bool,
}

impl Plan {
    /// Returns a plan that keeps the card at work for ever.
    pub const fn endless(n: usize) -> Self {
        Self {
            buffers: 20,
            jobs: Jobs::Hang,
            engine: Engine::ALL[n % Engine::ALL.len()],
            deleted: false,
            churns: false,
            exports: true,
            user_memory: true,
        }
    }

    pub fn draw(rng: &mut Rng) -> Self {
        let mut coin = || rng.within(0..2) == 0;
        let (deleted, churns, exports, user_memory) = (coin(), coin(), coin(), coin());
        Self {
            buffers: u16::try_from(rng.within(1..300)).unwrap_or(1),
            jobs: match rng.within(0..8) {
                0 => Jobs::None,
                // Each costs the time after which a job counts as hung.
                1 => Jobs::Hang,
                _ => Jobs::End(u64_of(rng.within(0..300))),
            },
            engine: [Engine::Dma(0), Engine::Dma(1), Engine::Gfx, Engine::Compute(0)]
                [rng.within(0..4)],
            deleted,
            churns,
            exports,
            user_memory,
        }
    }
}

/// All that is held.
#[derive(Default)]
struct Held {
    handles: Vec<u32>,
    maps: Vec<IoMap>,
    dma_bufs: Vec<OwnedFd>,
    fences: Vec<OwnedFd>,
    _memory: Option<UserMem>,
}

const SIZE: u64 = 4 * PAGE as u64;
/// Place in the session's page of the word that the jobs wait for.
const GATE: usize = 2048;
/// Jobs of a process.
const QUEUED: usize = 6;

/// Takes hold, says so, and does what the plan says until it is killed.
pub fn hold(node: &Node, plan: Plan, report: &mut PipeWriter) -> std::result::Result<(), String> {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let mut held = take(&session, plan).map_err(|e| format!("buffers: {e}"))?;
    held.fences = submit(&session, plan, &held.handles).map_err(|e| format!("jobs: {e}"))?;
    if plan.deleted {
        for handle in held.handles.drain(..) {
            session.file.gem_close(handle).map_err(|e| format!("GEM_CLOSE: {e}"))?;
        }
    }
    say(report, &[1])?;
    if let Jobs::End(millis) = plan.jobs {
        sleep(Duration::from_millis(millis));
        session.data.map.write(GATE, 1);
    }
    // From here on everything may fail, as the driver may be gone.
    loop {
        if plan.churns {
            churn(&session, &mut held);
        } else {
            sleep(Duration::from_millis(1));
        }
        look(&held);
    }
}

fn take(session: &Session, plan: Plan) -> Result<Held> {
    let mut held = Held::default();
    for n in 0..plan.buffers {
        let domain = if n % 4 == 3 { DOMAIN_VRAM } else { DOMAIN_GTT };
        let handle = session.file.gem_create(SIZE, domain, 0)?;
        held.handles.push(handle);
        if n % 3 == 0 {
            let map = session.file.map(handle, SIZE)?;
            map.write(0, n.into());
            held.maps.push(map);
        }
        if plan.exports && n % 5 == 0 {
            held.dma_bufs.push(session.file.export(handle)?);
        }
    }
    if plan.user_memory {
        const PAGES: usize = 16;
        let memory = UserMem::anonymous(PAGES)?;
        let len = u64_of(memory.len());
        let handle = session.file.gem_userptr(memory.addr(), len, USERPTR_REGISTER)?;
        session.file.gem_va(VA_OP_MAP, handle, session.reserve_va(len), 0, len)?;
        held.handles.push(handle);
        held._memory = Some(memory);
    }
    Ok(held)
}

/// Jobs, of which the first waits for the gate and the others for it. They name all buffers.
fn submit(session: &Session, plan: Plan, handles: &[u32]) -> Result<Vec<OwnedFd>> {
    let mut fences = Vec::new();
    if matches!(plan.jobs, Jobs::None) {
        return Ok(fences);
    }
    session.data.map.write(GATE, 0);
    let gate = session.data.va + u64_of(GATE);
    let named: Vec<_> = [session.ib.handle, session.data.handle]
        .into_iter()
        .chain(handles.iter().copied())
        .collect();
    let entries = drm::list_entries(&named);
    let list = [drm::list_request(&entries)];
    for n in 0..QUEUED {
        let mut stream = Stream::new();
        if n == 0 {
            stream.wait_equal(plan.engine, gate, 1);
        } else {
            stream.store(plan.engine, session.data.va, u32::try_from(n).unwrap_or(0));
        }
        let ib = [session.place_ib_at(n * START_ALIGN, plan.engine, &stream)];
        let fence = session.file.syncobj_create()?;
        let signal = [uapi::ChunkSem { handle: fence }];
        let chunks = [
            Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list),
            Chunk::of(uapi::CHUNK_ID_IB, &ib),
            Chunk::of(uapi::CHUNK_ID_SYNCOBJ_OUT, &signal),
        ];
        session.file.cs(session.ctx, 0, &chunks)?;
        fences.push(sync_file(session, fence)?);
    }
    Ok(fences)
}

/// `DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD`, for the fence that a syncobj holds.
fn sync_file(session: &Session, syncobj: u32) -> Result<OwnedFd> {
    const REQUEST: u64 = 0xc010_64c1;
    const EXPORT_SYNC_FILE: u32 = 1;
    let words = [syncobj, EXPORT_SYNC_FILE, 0, 0];
    let mut argument: Vec<_> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    session.file.call_any(REQUEST, &mut argument)?;
    let fd = i32::from_ne_bytes([argument[8], argument[9], argument[10], argument[11]]);
    // SAFETY: the kernel gave us this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a buffer and frees another.
fn churn(session: &Session, held: &mut Held) {
    const MOST: usize = 400;
    if let Ok(handle) = session.file.gem_create(SIZE, DOMAIN_GTT, 0) {
        held.handles.push(handle);
        if let Ok(map) = session.file.map(handle, SIZE) {
            map.write(0, 1);
            held.maps.push(map);
        }
    }
    if held.handles.len() > MOST / 2 || held.maps.len() > MOST {
        let _ = session.file.gem_close(held.handles.swap_remove(0));
        held.maps.swap_remove(0);
    }
}

/// Looks at mappings as the processor does, and as a debugger.
fn look(held: &Held) {
    let Ok(memory) = OpenOptions::new().read(true).write(true).open("/proc/self/mem") else {
        return;
    };
    for map in held.maps.iter().take(8) {
        map.read(0);
        let mut word = [0; 4];
        let _ = memory.read_at(&mut word, map.addr() + 8);
        let _ = memory.write_at(&word, map.addr() + 8);
    }
}
