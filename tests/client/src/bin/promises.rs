// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tries to break what the driver promises of permissions: jobs write where they may not, and read
//! what they may not, on every engine. And what it promises of their writes: the kernel does not
//! take a page for one that nobody has written.
//!
//! A page fault ends no job on this generation: the memory controller redirects the access, and the
//! job goes on. So each case lets the job run to its end, and then looks at the memory, and whether
//! the same engine still writes where it may.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    process::ExitCode, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    engine::Engine,
    ib::Stream,
    mem::{
        Access,
        Advice,
        UserMem,
        memory_file, //
    },
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    race::Target,
    report::{
        Outcome,
        Tally, //
    },
    session::{
        Buffer,
        Session, //
    },
    start::{
        NODE,
        Start, //
    },
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM,
        GEM_VA,
        GemVa,
        USERPTR_READONLY,
        USERPTR_REGISTER,
        VA_OP_MAP,
        VA_OP_UNMAP,
        VM_PAGE_EXECUTABLE,
        VM_PAGE_READABLE,
        VM_PAGE_RWX,
        VM_PAGE_WRITEABLE, //
    }, //
};

/// One of each kind: they differ in their packets, and in how they fault.
const ENGINES: [Engine; 3] = [Engine::Gfx, Engine::Compute(0), Engine::Dma(0)];

const PAGES: usize = 3;
const SIZE: u64 = u64_of(PAGES * PAGE);
/// Word in memory before, and the word that a job tries to put there.
const BEFORE: u32 = 0x0bef_03e5;
const INTRUDER: u32 = 0x1bad_1dea;

/// Maps a buffer once more, with given rights; the address.
fn map_with(session: &Session, handle: u32, flags: u32) -> Result<u64, String> {
    let va_address = session.reserve_va(SIZE);
    let request = GemVa {
        handle,
        operation: VA_OP_MAP,
        flags,
        va_address,
        map_size: SIZE,
        ..Default::default()
    };
    session.file.call(GEM_VA, &request).map_err(|e| format!("GEM_VA: {e}"))?;
    Ok(va_address)
}

fn unmap(session: &Session, handle: u32, va: u64) -> Result<(), String> {
    session.file.gem_va(VA_OP_UNMAP, handle, va, 0, SIZE).map_err(|e| format!("unmap: {e}"))
}

/// Has `engine` write a word into each page from `va` on: its last word, then its first, and by a
/// copy the words in between.
fn intrude(session: &Session, engine: Engine, va: u64, handle: u32) -> Result<(), String> {
    let mut stream = Stream::new();
    for page in 0..u64_of(PAGES) {
        let at = va + page * u64_of(PAGE);
        stream.store(engine, at + u64_of(PAGE) - 4, INTRUDER);
        stream.store(engine, at, INTRUDER);
    }
    session.data.map.fill(0xa5);
    stream.copy(engine, session.data.va, va + 64, 256);
    session.run(engine, &stream, &[handle])
}

/// The first word of the user memory that is not `wanted`, as an error.
fn unchanged(mem: &UserMem, wanted: u32, whose: &str) -> Result<(), String> {
    for page in 0..mem.pages() {
        for offset in (0..PAGE).step_by(4) {
            let seen = mem.load(page, offset);
            if seen != wanted {
                return Err(format!("{whose} has {seen:#x} at {offset:#x} of page {page}"));
            }
        }
    }
    Ok(())
}

/// A job writes to user memory that the client gave for reading. `touched`: to pages of its own;
/// else to what the kernel shows for memory that was never touched, and shows to every process.
fn read_only_memory(session: &Session, engine: Engine, touched: bool) -> Outcome {
    let said = |e| format!("user memory: {e}");
    let mem = UserMem::anonymous(PAGES).map_err(said)?;
    let wanted = if touched { BEFORE } else { 0 };
    if touched {
        (0..PAGES * PAGE).step_by(4).for_each(|at| mem.store(at / PAGE, at % PAGE, BEFORE));
    }
    mem.protect(Access::ReadOnly).map_err(said)?;
    let handle = session
        .file
        .gem_userptr(mem.addr(), SIZE, USERPTR_READONLY | USERPTR_REGISTER)
        .map_err(|e| format!("GEM_USERPTR: {e}"))?;
    let va = map_with(session, handle, VM_PAGE_RWX)?;
    intrude(session, engine, va, handle)?;
    let seen = unchanged(&mem, wanted, "read-only user memory");
    let others = UserMem::anonymous(PAGES).map_err(said)?;
    let elsewhere = unchanged(&others, 0, "other memory, never touched,");
    unmap(session, handle, va)?;
    session.file.gem_close(handle).map_err(|e| format!("GEM_CLOSE: {e}"))?;
    seen.and(elsewhere)?;
    session.prove_alive(engine).map(|()| String::new())
}

/// A buffer full of what stands in memory before.
fn buffer(session: &Session, domain: u64) -> Result<Buffer, String> {
    let buffer = session.buffer(SIZE, domain, 0).map_err(|e| format!("a buffer: {e}"))?;
    (0..usize_of(SIZE)).step_by(4).for_each(|at| buffer.map.write(at, BEFORE));
    Ok(buffer)
}

/// A job writes through a mapping without the right to, of a buffer that has another mapping.
fn unwriteable_mapping(session: &Session, engine: Engine, domain: u64) -> Outcome {
    let buffer = buffer(session, domain)?;
    let va = map_with(session, buffer.handle, VM_PAGE_READABLE | VM_PAGE_EXECUTABLE)?;
    intrude(session, engine, va, buffer.handle)?;
    for at in (0..usize_of(SIZE)).step_by(4) {
        let seen = buffer.map.read(at);
        if seen != BEFORE {
            return Err(format!("a mapping without WRITEABLE was written: {seen:#x} at {at:#x}"));
        }
    }
    // And the other way: what forbids it is that mapping, and nothing else.
    let mut stream = Stream::new();
    session.run(engine, stream.store(engine, buffer.va, INTRUDER), &[buffer.handle])?;
    if buffer.map.read(0) != INTRUDER {
        return Err("a mapping with WRITEABLE was not written".into());
    }
    unmap(session, buffer.handle, va)?;
    session.file.gem_close(buffer.handle).map_err(|e| format!("GEM_CLOSE: {e}"))?;
    session.prove_alive(engine).map(|()| String::new())
}

/// A job copies from a mapping without the right to read it.
fn unreadable_mapping(session: &Session, engine: Engine, domain: u64) -> Outcome {
    let buffer = buffer(session, domain)?;
    let va = map_with(session, buffer.handle, VM_PAGE_WRITEABLE)?;
    session.data.map.fill(0);
    let mut stream = Stream::new();
    stream.copy(engine, va, session.data.va, u64_of(PAGE));
    session.run(engine, &stream, &[buffer.handle])?;
    let seen = (0..PAGE).step_by(4).filter(|&at| session.data.map.read(at) == BEFORE).count();
    unmap(session, buffer.handle, va)?;
    session.file.gem_close(buffer.handle).map_err(|e| format!("GEM_CLOSE: {e}"))?;
    if seen != 0 {
        return Err(format!("{} words of a mapping without READABLE were read", u32_of(seen)));
    }
    session.prove_alive(engine).map(|()| String::new())
}

/// Memory that the kernel drops when it takes it back, as the process has not written it.
struct Droppable {
    mem: UserMem,
    /// What it is a mapping of, if it is one.
    file: Option<File>,
}

impl Droppable {
    /// More than the kernel collects before it puts pages on its lists.
    const PAGES: usize = 128;

    /// Anonymous memory that the process has given up, and may still use (MADV_FREE).
    fn given_up() -> amdgpu_client::Result<Self> {
        let mem = UserMem::anonymous(Self::PAGES)?;
        mem.advise(0..Self::PAGES, Advice::Small)?;
        (0..Self::PAGES).for_each(|page| mem.store(page, 0, BEFORE));
        mem.advise(0..Self::PAGES, Advice::FreeLater)?;
        Ok(Self { mem, file: None })
    }

    /// A file in memory that the process has read and never written.
    fn of_file() -> amdgpu_client::Result<Self> {
        let file = memory_file(Self::PAGES)?;
        let mem = UserMem::of_file(&file, Self::PAGES)?;
        (0..Self::PAGES).for_each(|page| _ = mem.load(page, 0));
        Ok(Self { mem, file: Some(file) })
    }

    /// How many pages the kernel has dropped.
    fn dropped(&self) -> Result<usize, String> {
        /// Of the number of blocks of a file, in bytes.
        const BLOCK: usize = 512;
        let Some(file) = &self.file else {
            return Ok((0..Self::PAGES).filter(|&page| self.mem.load(page, 0) == 0).count());
        };
        let blocks = file.metadata().map_err(|e| format!("fstat: {e}"))?.blocks();
        Ok(Self::PAGES - usize_of(blocks) * BLOCK / PAGE)
    }
}

/// The kernel takes memory back that a job has written: what the job wrote must not be lost, as is
/// what nobody has written.
fn outlives_reclaim(
    session: &Session,
    engine: Engine,
    memory: fn() -> amdgpu_client::Result<Droppable>,
) -> Outcome {
    const WRITTEN: u32 = 0x600d_da7a;
    let said = |e| format!("user memory: {e}");
    let (written, other) = (memory().map_err(said)?, memory().map_err(said)?);
    let target = Target::of_any(session, &written.mem).map_err(|e| format!("GEM_USERPTR: {e}"))?;
    let mut stream = Stream::new();
    target.stores(engine, Droppable::PAGES, WRITTEN, &mut stream);
    session.run(engine, &stream, &[target.handle])?;
    for mem in [&written.mem, &other.mem] {
        mem.advise(0..Droppable::PAGES, Advice::PageOut).map_err(said)?;
    }
    let dropped = other.dropped()?;
    if dropped == 0 {
        return Err("nothing was tried: the kernel keeps what nobody has written".into());
    }
    for page in 0..Droppable::PAGES {
        let seen = written.mem.load(page, 0);
        if seen != WRITTEN {
            return Err(format!("page {page} has {seen:#x}: what a job wrote was dropped"));
        }
    }
    Ok(format!("{dropped} of {} pages of other memory were dropped", Droppable::PAGES))
}

fn main() -> ExitCode {
    let args = Args::parse("Lets jobs write and read what they may not.", &[NODE]);
    let Start { session, .. } = match Start::new("promises", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    for engine in ENGINES {
        tally.check(format_args!("{engine}: read-only user memory is not written"), || {
            read_only_memory(&session, engine, true)
        });
        tally.check(format_args!("{engine}: memory never touched stays zero for all"), || {
            read_only_memory(&session, engine, false)
        });
        for (name, domain) in [("GTT", DOMAIN_GTT), ("VRAM", DOMAIN_VRAM)] {
            tally.check(format_args!("{engine}: {name} mapped for reading is not written"), || {
                unwriteable_mapping(&session, engine, domain)
            });
            tally.check(format_args!("{engine}: {name} mapped for writing is not read"), || {
                unreadable_mapping(&session, engine, domain)
            });
        }
    }
    let engine = Engine::Dma(0);
    tally.check("what only a job wrote to memory given up outlives reclaim", || {
        outlives_reclaim(&session, engine, Droppable::given_up)
    });
    tally.check("what only a job wrote to a file outlives reclaim", || {
        outlives_reclaim(&session, engine, Droppable::of_file)
    });
    tally.close()
}
