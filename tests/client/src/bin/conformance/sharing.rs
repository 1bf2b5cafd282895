// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BOs that several files have: DMA buffers (PRIME), and the order in which jobs use such BOs.

use std::{
    fs::File,
    os::fd::OwnedFd, //
};

use amdgpu_client::{
    drm::{
        IoMap,
        import_sync_file,
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
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        CHUNK_ID_BO_HANDLES,
        CHUNK_ID_IB,
        CHUNK_ID_SYNCOBJ_OUT,
        CREATE_EXPLICIT_SYNC,
        CREATE_VM_ALWAYS_VALID,
        Chunk,
        ChunkSem,
        DMA_BUF_SYNC_READ,
        DMA_BUF_SYNC_RW,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        PRIME_HANDLE_TO_FD,
        Prime,
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_MAP, //
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
        PAGE64,
        Rig, //
    }, //
};

const SIZE: u64 = 4 * PAGE64;
const VALUE: u32 = 0x5ba7_ed00;

/// A word of the second file's data that its job copies to.
const WORD: usize = 0x100;
/// Place in the shared BO of the bytes that go from one to the other.
const PLACE: usize = 0x2004;

/// The first job holds an engine up. Not one for copies: the C driver changes page tables by those.
const FIRST: Engine = Engine::Gfx;
const SECOND: Engine = Engine::Dma(1);

/// A BO as one file sees it.
struct View {
    handle: u32,
    va: u64,
    map: IoMap,
}

impl View {
    fn new(session: &Session, handle: u32) -> Result<Self, Failure> {
        let va = session.reserve_va(SIZE);
        session.file.gem_va(VA_OP_MAP, handle, va, 0, SIZE).setup("GEM_VA")?;
        let map = session.file.map(handle, SIZE).setup("GEM_MMAP")?;
        Ok(Self { handle, va, map })
    }
}

/// Runs `f` with a new BO, and a second file that has it too.
fn shared(
    rig: &Rig<'_>,
    domain: u64,
    flags: u64,
    f: impl FnOnce(&View, &Session, &View) -> Outcome,
) -> Outcome {
    let handle = rig.file().gem_create(SIZE, domain, flags).setup("GEM_CREATE")?;
    let ours = View::new(&rig.session, handle)?;
    let session = Session::open(rig.node).setup("a second session")?;
    let fd = rig.file().export(handle)?;
    let theirs = View::new(&session, session.file.import(&fd)?)?;
    let answer = f(&ours, &session, &theirs);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    answer
}

/// One file sees the writes of the other's CPU and GPU.
fn one_memory(ours: &View, session: &Session, theirs: &View) -> Outcome {
    ours.map.write(PLACE, VALUE);
    expect(theirs.map.read(PLACE) == VALUE, || "the mappings show different memory".into())?;
    let mut stream = Stream::new();
    let data = &session.data;
    stream.copy(SECOND, theirs.va + u64_of(PLACE), data.va + u64_of(WORD), 4);
    session.run(SECOND, &stream, &[theirs.handle]).map_err(Failure::Wrong)?;
    let seen = data.map.read(WORD);
    expect(seen == VALUE, || format!("the second file's job read {seen:#x}"))
}

/// Checks that the job of the second file waited for that of the first, for `watch` milliseconds,
/// and that it came to its end.
fn waits_for_the_first(
    rig: &Rig<'_>,
    ours: &View,
    session: &Session,
    theirs: &View,
    watch: u64,
) -> Result<bool, Failure> {
    let gate = Latch::shut(&rig.session.data.map);
    let mut first = Stream::new();
    wait_at_gate(&rig.session, FIRST, &mut first);
    first.store(FIRST, ours.va + u64_of(PLACE), VALUE);
    let mut second = Stream::new();
    let data = &session.data;
    second.copy(SECOND, theirs.va + u64_of(PLACE), data.va + u64_of(WORD), 4);

    let one = rig.session.submit(FIRST, &first, &[ours.handle])?;
    let two = session.submit(SECOND, &second, &[theirs.handle]);
    let early = match two {
        Ok(two) => session.wait(SECOND, two, watch).setup("WAIT_CS")?,
        Err(_) => false,
    };
    gate.open();
    rig.finish(FIRST, one)?;
    let done = session.wait(SECOND, two?, PATIENCE_MS).setup("WAIT_CS")?;
    expect(done, || "the second job is not done".into())?;
    let seen = data.map.read(WORD);
    if !early {
        expect(seen == VALUE, || format!("it waited, and read {seen:#x}"))?;
    }
    Ok(!early)
}

/// Files that know a BO into which a stranger's fence is put.
#[derive(Clone, Copy)]
enum Known {
    ToOne,
    ToTwo,
}

/// A job of a stranger, behind a gate, and its fence, which user space hands about.
fn strangers_job(stranger: &Session) -> Result<(u64, OwnedFd), Failure> {
    let mut stream = Stream::new();
    wait_at_gate(stranger, FIRST, &mut stream);
    let handle = stranger.file.syncobj_create().setup("SYNCOBJ_CREATE")?;
    let (ib, out) = ([stranger.place_ib(FIRST, &stream)], [ChunkSem { handle }]);
    let entries = list_entries(&[stranger.ib.handle, stranger.data.handle]);
    let list = [list_request(&entries)];
    let chunks = [
        Chunk::of(CHUNK_ID_BO_HANDLES, &list),
        Chunk::of(CHUNK_ID_IB, &ib),
        Chunk::of(CHUNK_ID_SYNCOBJ_OUT, &out),
    ];
    let seq = stranger.file.cs(stranger.ctx, 0, &chunks).setup("the stranger's job")?;
    Ok((seq, stranger.file.sync_file(handle).setup("a sync file")?))
}

/// Checks that a job that names a BO waits for the fence that user space has put into it.
fn waits_for_a_strangers_fence(
    rig: &Rig<'_>,
    create_flags: u64,
    sync_flags: u32,
    known: Known,
) -> Result<bool, Failure> {
    let stranger = Session::open(rig.node).setup("a session")?;
    let handle = rig.file().gem_create(SIZE, DOMAIN_GTT, create_flags).setup("GEM_CREATE")?;
    let ours = View::new(&rig.session, handle)?;
    let buffer = rig.file().export(handle).setup("PRIME_HANDLE_TO_FD")?;
    if matches!(known, Known::ToTwo) {
        stranger.file.import(&buffer).setup("PRIME_FD_TO_HANDLE")?;
    }

    let gate = Latch::shut(&stranger.data.map);
    let (theirs, fence) = strangers_job(&stranger)?;
    import_sync_file(&buffer, &fence, sync_flags).setup("IMPORT_SYNC_FILE")?;
    let mut stream = Stream::new();
    stream.store(SECOND, ours.va + u64_of(PLACE), VALUE);
    let job = rig.session.submit(SECOND, &stream, &[handle]);
    // It need not be quick where it does not wait.
    let early = match job {
        Ok(job) => rig.session.wait(SECOND, job, 500).setup("WAIT_CS")?,
        Err(_) => false,
    };
    gate.open();
    let done = stranger.wait(FIRST, theirs, PATIENCE_MS).setup("WAIT_CS")?;
    expect(done, || "the stranger's job is not done".into())?;
    rig.finish(SECOND, job?)?;
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    Ok(!early)
}

fn fences_of_strangers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (files, known) in [("one file knows", Known::ToOne), ("two files know", Known::ToTwo)] {
        for (usage, flags) in [("reads", DMA_BUF_SYNC_READ), ("writes", DMA_BUF_SYNC_RW)] {
            let name = format!("a fence put into a BO that {files}: it {usage}");
            cases.push(good(name, move |rig| {
                let waited = waits_for_a_strangers_fence(rig, 0, flags, known)?;
                expect(waited, || "the job did not wait for it".into())
            }));
        }
    }
    cases.push(good("a fence put into a BO whose jobs go by explicit fences", |rig| {
        let flags = CREATE_EXPLICIT_SYNC;
        let waited = waits_for_a_strangers_fence(rig, flags, DMA_BUF_SYNC_RW, Known::ToOne)?;
        expect(!waited, || "the job waited for it".into())
    }));
    cases
}

pub fn cases() -> Vec<Case> {
    let mut cases = bad_cases();
    cases.extend(fences_of_strangers());
    cases.extend([
        good("a BO in GTT is the same memory in both files", |rig| {
            shared(rig, DOMAIN_GTT, 0, one_memory)
        }),
        good("a BO in VRAM is the same memory in both files", |rig| {
            shared(rig, DOMAIN_VRAM, 0, one_memory)
        }),
        good("a job comes after those of the other file", |rig| {
            shared(rig, DOMAIN_GTT, 0, |ours, session, theirs| {
                let waited = waits_for_the_first(rig, ours, session, theirs, 100)?;
                expect(waited, || "it did not wait".into())
            })
        }),
        good("a job does not come after those of the other file if told so", |rig| {
            shared(rig, DOMAIN_GTT, CREATE_EXPLICIT_SYNC, |ours, session, theirs| {
                // It need not be quick, on a machine that is not.
                let waited = waits_for_the_first(rig, ours, session, theirs, PATIENCE_MS / 10)?;
                expect(!waited, || "it waited".into())
            })
        }),
        good("a BO outlives the file that made it", |rig| {
            let first = Session::open(rig.node).setup("a session")?;
            let handle = first.file.gem_create(SIZE, DOMAIN_VRAM, 0).setup("GEM_CREATE")?;
            let map = first.file.map(handle, SIZE).setup("GEM_MMAP")?;
            map.write(PLACE, VALUE);
            let fd = first.file.export(handle)?;
            drop(map);
            drop(first);
            let handle = rig.file().import(&fd)?;
            let seen = View::new(&rig.session, handle)?.map.read(PLACE);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            expect(seen == VALUE, || format!("it holds {seen:#x}"))
        }),
        good("a DMA buffer that comes back to its file is the same handle", |rig| {
            let handle = rig.gtt(4)?;
            let fd = rig.file().export(handle)?;
            let again = rig.file().import(&fd)?;
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            expect(again == handle, || format!("handle {handle} came back as {again}"))
        }),
    ]);
    cases
}

fn bad_cases() -> Vec<Case> {
    vec![
        bad("export of no such BO", libc::ENOENT, |rig| {
            Ok(rig.file().export(NO_HANDLE).map(|_| ())?)
        }),
        bad("export with unknown flags", libc::EINVAL, |rig| {
            let prime = Prime { handle: rig.session.data.handle, flags: 1 << 31, fd: 0 };
            Ok(rig.file().call(PRIME_HANDLE_TO_FD, &prime).map(|_| ())?)
        }),
        bad("export of user memory", libc::EPERM, |rig| {
            let mem = rig.memory(1)?;
            let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
            let handle = rig.file().gem_userptr(mem.addr(), PAGE64, flags).setup("userptr")?;
            let answer = rig.file().export(handle);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            Ok(answer.map(|_| ())?)
        }),
        bad("export of a BO that is private to an address space", libc::EPERM, |rig| {
            let handle = rig
                .file()
                .gem_create(SIZE, DOMAIN_GTT, CREATE_VM_ALWAYS_VALID)
                .setup("GEM_CREATE")?;
            let answer = rig.file().export(handle);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            Ok(answer.map(|_| ())?)
        }),
        bad("import of a file that is no DMA buffer", libc::EINVAL, |rig| {
            let file = File::open("/dev/null").map_err(|e| Failure::Wrong(e.to_string()))?;
            Ok(rig.file().import(&file).map(|_| ())?)
        }),
    ]
}
