// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The calls. Each case makes what its call needs, makes the call by way of the shot, and if the
//! call failed, again without; sees that it did what it should; and undoes it.

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        deadline_ms,
        list_entries,
        list_request, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::{
        u32_of,
        u64_of, //
    },
    race::Target,
    session::{
        Buffer,
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        CHUNK_ID_BO_HANDLES,
        CHUNK_ID_DEPENDENCIES,
        CHUNK_ID_FENCE,
        CHUNK_ID_IB,
        CREATE_VM_ALWAYS_VALID,
        Chunk,
        ChunkDep,
        ChunkFence,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_CLEAR,
        VA_OP_MAP,
        VA_OP_REPLACE,
        VA_OP_UNMAP, //
    }, //
};

use crate::{
    Rig,
    inject::Shot, //
};

/// A call, and what it may answer when it gets no memory.
pub struct Case {
    pub name: &'static str,
    pub errors: &'static [i32],
    pub run: fn(&Rig<'_>, &Shot<'_>) -> std::result::Result<(), String>,
}

type Answer = std::result::Result<(), String>;

const NO_MEMORY: &[i32] = &[libc::ENOMEM];
/// A page of the process that cannot be faulted in is an address that cannot be accessed.
const NO_PAGES: &[i32] = &[libc::ENOMEM, libc::EFAULT];

/// Pages of user memory, and of BOs.
const PAGES: usize = 5;
const SIZE: u64 = u64_of(PAGES * PAGE);
/// More than one page table holds, in bytes.
const WIDE: u64 = 8 << 20;
const WRITTEN: u32 = 0x3333_3333;

pub const CASES: &[Case] = &[
    Case { name: "open", errors: NO_MEMORY, run: open },
    Case { name: "CTX ALLOC", errors: NO_MEMORY, run: ctx },
    Case {
        name: "GEM_CREATE in VRAM",
        errors: NO_MEMORY,
        run: |r, s| create(r, s, DOMAIN_VRAM, 0),
    },
    Case { name: "GEM_CREATE in GTT", errors: NO_MEMORY, run: |r, s| create(r, s, DOMAIN_GTT, 0) },
    Case {
        name: "GEM_CREATE, private",
        errors: NO_MEMORY,
        run: |r, s| create(r, s, DOMAIN_GTT, CREATE_VM_ALWAYS_VALID),
    },
    Case { name: "GEM_MMAP", errors: NO_MEMORY, run: mmap },
    Case { name: "GEM_USERPTR", errors: NO_MEMORY, run: |r, s| userptr(r, s, USERPTR_REGISTER) },
    Case {
        name: "GEM_USERPTR, validated",
        errors: NO_PAGES,
        run: |r, s| userptr(r, s, USERPTR_REGISTER | USERPTR_VALIDATE | USERPTR_ANONONLY),
    },
    Case { name: "GEM_VA MAP", errors: NO_MEMORY, run: va_map },
    Case { name: "GEM_VA MAP of user memory", errors: NO_MEMORY, run: va_map_user },
    Case {
        name: "GEM_VA REPLACE",
        errors: NO_MEMORY,
        run: |rig, shot| {
            va_cut(rig, shot, |file, at, other| file.gem_va(VA_OP_REPLACE, other, at, 0, PAGE_SIZE))
        },
    },
    Case {
        name: "GEM_VA CLEAR",
        errors: NO_MEMORY,
        run: |rig, shot| {
            va_cut(rig, shot, |file, at, _| file.gem_va(VA_OP_CLEAR, 0, at, 0, PAGE_SIZE))
        },
    },
    Case { name: "GEM_VA UNMAP", errors: NO_MEMORY, run: va_unmap },
    Case { name: "BO_LIST CREATE", errors: NO_MEMORY, run: list_create },
    Case { name: "BO_LIST UPDATE", errors: NO_MEMORY, run: list_update },
    Case { name: "CS, the first of a context", errors: NO_MEMORY, run: cs_first },
    Case {
        name: "CS with no BO list",
        errors: NO_MEMORY,
        run: |r, s| cs_plain(r, s, ListOf::None),
    },
    Case {
        name: "CS with a BO list",
        errors: NO_MEMORY,
        run: |r, s| cs_plain(r, s, ListOf::Object),
    },
    Case {
        name: "CS with a list of its own",
        errors: NO_MEMORY,
        run: |r, s| cs_plain(r, s, ListOf::Chunk),
    },
    Case { name: "CS with a dependency", errors: NO_MEMORY, run: cs_dependency },
    Case {
        name: "CS with a user fence in GTT",
        errors: NO_MEMORY,
        run: |r, s| cs_user_fence(r, s, DOMAIN_GTT),
    },
    Case {
        name: "CS with a user fence in VRAM",
        errors: NO_MEMORY,
        run: |r, s| cs_user_fence(r, s, DOMAIN_VRAM),
    },
    Case {
        name: "CS of a BO that leaves VRAM",
        errors: NO_MEMORY,
        run: |r, s| cs_moving(r, s, DOMAIN_VRAM, DOMAIN_GTT),
    },
    Case {
        name: "CS of a BO that comes to VRAM",
        errors: NO_MEMORY,
        run: |r, s| cs_moving(r, s, DOMAIN_GTT, DOMAIN_VRAM),
    },
    Case { name: "CS with fresh user memory", errors: NO_PAGES, run: cs_fresh },
    Case { name: "CS after an invalidation", errors: NO_PAGES, run: cs_invalidated },
];

const PAGE_SIZE: u64 = u64_of(PAGE);

fn say(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// The call with the shot, and if it fails, without.
fn twice<T>(
    shot: &Shot<'_>,
    mut call: impl FnMut() -> Result<T>,
) -> std::result::Result<T, String> {
    shot.fire(&mut call).or_else(|_| call()).map_err(say("again, with memory"))
}

fn open(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let file = twice(shot, || rig.node.open())?;
    file.ctx_alloc().map(|_| ()).map_err(say("CTX ALLOC on the new file"))
}

fn ctx(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let ctx = twice(shot, || rig.session.file.ctx_alloc())?;
    rig.session.file.ctx_free(ctx).map_err(say("CTX FREE"))
}

fn create(rig: &Rig<'_>, shot: &Shot<'_>, domain: u64, flags: u64) -> Answer {
    let file = &rig.session.file;
    let handle = twice(shot, || file.gem_create(SIZE, domain, flags))?;
    file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

fn mmap(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let file = &rig.session.file;
    let handle = file.gem_create(SIZE, DOMAIN_GTT, 0).map_err(say("GEM_CREATE"))?;
    twice(shot, || file.map(handle, SIZE))?.write(0, 1);
    file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

/// User memory and a BO of it that has no pages yet.
struct User<'s> {
    /// Undone before the memory goes.
    target: Target<'s>,
    mem: UserMem,
}

impl<'s> User<'s> {
    fn new(session: &'s Session, pages: usize) -> std::result::Result<Self, String> {
        let mem = touched(pages)?;
        let flags = USERPTR_ANONONLY | USERPTR_REGISTER;
        let target = Target::with_flags(session, &mem, flags).map_err(say("userptr"))?;
        Ok(Self { target, mem })
    }

    /// Checks that a job's stores are there.
    fn holds(&self, value: u32) -> Answer {
        let mut bytes = [0; PAGE];
        for page in 0..self.mem.pages() {
            self.mem.read_page(page, &mut bytes);
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if word != value {
                return Err(format!("page {page} has {word:#x}, not {value:#x}"));
            }
        }
        Ok(())
    }
}

fn touched(pages: usize) -> std::result::Result<UserMem, String> {
    let mut mem = UserMem::anonymous(pages).map_err(say("mmap"))?;
    (0..pages).for_each(|page| mem.write_page(page, &[1; PAGE]));
    Ok(mem)
}

fn userptr(rig: &Rig<'_>, shot: &Shot<'_>, flags: u32) -> Answer {
    // Not touched: its pages are made when they are gathered.
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let file = &rig.session.file;
    let handle = twice(shot, || file.gem_userptr(mem.addr(), SIZE, flags))?;
    file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

/// A BO for the cases of GEM_VA; closed, and so unmapped, when dropped.
struct Bo<'s>(&'s Session, u32);

impl<'s> Bo<'s> {
    fn new(session: &'s Session) -> std::result::Result<Self, String> {
        let handle = session.file.gem_create(SIZE, DOMAIN_GTT, 0).map_err(say("GEM_CREATE"))?;
        Ok(Self(session, handle))
    }
}

impl Drop for Bo<'_> {
    fn drop(&mut self) {
        // If it fails there is nothing left to undo.
        let _ = self.0.file.gem_close(self.1);
    }
}

fn va_map(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let bo = Bo::new(rig.session)?;
    // Where there is no page table yet.
    let va = rig.session.reserve_va(WIDE).next_multiple_of(WIDE / 2);
    twice(shot, || rig.session.file.gem_va(VA_OP_MAP, bo.1, va, 0, SIZE))
}

fn va_map_user(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let mem = touched(PAGES)?;
    let file = &rig.session.file;
    let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
    let handle = file.gem_userptr(mem.addr(), SIZE, flags).map_err(say("userptr"))?;
    let bo = Bo(rig.session, handle);
    let va = rig.session.reserve_va(WIDE).next_multiple_of(WIDE / 2);
    twice(shot, || file.gem_va(VA_OP_MAP, bo.1, va, 0, SIZE))
}

/// Cuts a mapping in two by `call`, which gets the address of its middle, and another BO.
fn va_cut(
    rig: &Rig<'_>,
    shot: &Shot<'_>,
    call: impl Fn(&amdgpu_client::drm::File, u64, u32) -> Result,
) -> Answer {
    let (bo, other) = (Bo::new(rig.session)?, Bo::new(rig.session)?);
    let file = &rig.session.file;
    let va = rig.session.reserve_va(SIZE);
    file.gem_va(VA_OP_MAP, bo.1, va, 0, SIZE).map_err(say("MAP"))?;
    twice(shot, || call(file, va + 2 * PAGE_SIZE, other.1))?;
    // The second half begins after the middle, and can be unmapped by that.
    file.gem_va(VA_OP_UNMAP, bo.1, va + 3 * PAGE_SIZE, 0, 0).map_err(say("UNMAP"))
}

fn va_unmap(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let bo = Bo::new(rig.session)?;
    let file = &rig.session.file;
    let va = rig.session.reserve_va(SIZE);
    file.gem_va(VA_OP_MAP, bo.1, va, 0, SIZE).map_err(say("MAP"))?;
    twice(shot, || file.gem_va(VA_OP_UNMAP, bo.1, va, 0, SIZE))
}

/// Enough entries that their tables are no small objects, user memory among them.
fn handles(rig: &Rig<'_>, user: &User<'_>) -> Vec<u32> {
    let mut handles = vec![rig.session.data.handle; 600];
    handles.push(user.target.handle);
    handles
}

fn list_create(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let user = User::new(rig.session, PAGES)?;
    let handles = handles(rig, &user);
    let list = twice(shot, || rig.session.file.bo_list(&handles))?;
    rig.session.file.bo_list_destroy(list).map_err(say("BO_LIST DESTROY"))
}

fn list_update(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let user = User::new(rig.session, PAGES)?;
    let file = &rig.session.file;
    let list = file.bo_list(&[]).map_err(say("BO_LIST CREATE"))?;
    let entries = list_entries(&handles(rig, &user));
    let mut request = list_request(&entries);
    (request.operation, request.list_handle) = (uapi::BO_LIST_OP_UPDATE, list);
    twice(shot, || file.call(uapi::BO_LIST, &request).map(|_| ()))?;
    file.bo_list_destroy(list).map_err(say("BO_LIST DESTROY"))
}

/// Ways in which a submission names its BOs.
#[derive(Clone, Copy)]
enum ListOf {
    None,
    Object,
    Chunk,
}

/// A submission that is ready to be made, and its BOs.
struct Job<'r, 's> {
    rig: &'r Rig<'s>,
    ctx: u32,
    stream: Stream,
    list: ListOf,
    others: Vec<u32>,
    fence: Option<ChunkFence>,
    after: Option<ChunkDep>,
}

impl<'r, 's> Job<'r, 's> {
    fn new(rig: &'r Rig<'s>, stream: Stream) -> Self {
        let ctx = rig.session.ctx;
        Self { rig, ctx, stream, list: ListOf::Chunk, others: vec![], fence: None, after: None }
    }

    /// Submits it by way of the shot, and if that fails again without; and waits for it.
    fn run(self, shot: &Shot<'_>) -> Answer {
        let (rig, ctx) = (self.rig, self.ctx);
        let seq = self.submit(shot)?;
        rig.finish(rig.engine, ctx, seq)
    }

    /// As [`Job::run`], without the waiting: its number.
    fn submit(self, shot: &Shot<'_>) -> std::result::Result<u64, String> {
        let session = self.rig.session;
        let ib = [session.place_ib(self.rig.engine, &self.stream)];
        let handles: Vec<_> =
            [session.ib.handle, session.data.handle].into_iter().chain(self.others).collect();
        let entries = list_entries(&handles);
        let requests = [list_request(&entries)];
        let (fences, deps) = (Vec::from_iter(self.fence), Vec::from_iter(self.after));

        let mut chunks = vec![Chunk::of(CHUNK_ID_IB, &ib)];
        let mut list = 0;
        match self.list {
            ListOf::None => {}
            ListOf::Object => list = session.file.bo_list(&handles).map_err(say("BO_LIST"))?,
            ListOf::Chunk => chunks.push(Chunk::of(CHUNK_ID_BO_HANDLES, &requests)),
        }
        if !fences.is_empty() {
            chunks.push(Chunk::of(CHUNK_ID_FENCE, &fences));
        }
        if !deps.is_empty() {
            chunks.push(Chunk::of(CHUNK_ID_DEPENDENCIES, &deps));
        }
        let seq = twice(shot, || session.file.cs(self.ctx, list, &chunks))?;
        if list != 0 {
            session.file.bo_list_destroy(list).map_err(say("BO_LIST DESTROY"))?;
        }
        Ok(seq)
    }
}

impl Rig<'_> {
    fn finish(&self, engine: Engine, ctx: u32, seq: u64) -> Answer {
        let request = uapi::WaitCs {
            handle: seq,
            timeout: deadline_ms(PATIENCE_MS),
            ip_type: engine.ip_type(),
            ip_instance: 0,
            ring: engine.ring(),
            ctx_id: ctx,
        };
        match self.session.file.call(uapi::WAIT_CS, &request) {
            Ok(0) => Ok(()),
            Ok(_) => Err(format!("job {seq} not done after {PATIENCE_MS} ms")),
            Err(e) => Err(format!("WAIT_CS: {e}")),
        }
    }
}

/// A store to the session's page of data, and whether it came.
fn storing<'r, 's>(rig: &'r Rig<'s>) -> Job<'r, 's> {
    /// In the page of data, where nothing else is.
    const AT: usize = 2048;
    rig.session.data.map.write(AT, 0);
    let mut stream = Stream::new();
    stream.store(rig.engine, rig.session.data.va + u64_of(AT), WRITTEN);
    Job::new(rig, stream)
}

fn stored(rig: &Rig<'_>) -> Answer {
    match rig.session.data.map.read(2048) {
        WRITTEN => Ok(()),
        other => Err(format!("the job should have written {WRITTEN:#x}, memory has {other:#x}")),
    }
}

fn cs_first(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let ctx = rig.session.file.ctx_alloc().map_err(say("CTX ALLOC"))?;
    Job { ctx, ..storing(rig) }.run(shot)?;
    stored(rig)?;
    rig.session.file.ctx_free(ctx).map_err(say("CTX FREE"))
}

fn cs_plain(rig: &Rig<'_>, shot: &Shot<'_>, list: ListOf) -> Answer {
    Job { list, ..storing(rig) }.run(shot)?;
    stored(rig)
}

/// After a job on another ring that is not done when this one is submitted.
fn cs_dependency(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    const GATE: usize = 3072;
    let session = rig.session;
    let other = if rig.engine == Engine::Gfx { Engine::Dma(0) } else { Engine::Gfx };
    let commands = session.buffer(PAGE_SIZE, DOMAIN_GTT, 0).map_err(say("a BO"))?;
    session.data.map.write(GATE, 0);
    let mut stream = Stream::new();
    stream.wait_equal(other, session.data.va + u64_of(GATE), 1);
    let words = stream.padded(other);
    commands.map.copy_in(0, &words);
    let ib = [uapi::ChunkIb {
        va_start: commands.va,
        ib_bytes: u32_of(words.len() * 4),
        ip_type: other.ip_type(),
        ring: other.ring(),
        ..Default::default()
    }];
    let entries = list_entries(&[commands.handle, session.data.handle]);
    let requests = [list_request(&entries)];
    let chunks = [Chunk::of(CHUNK_ID_IB, &ib), Chunk::of(CHUNK_ID_BO_HANDLES, &requests)];
    let earlier = session.file.cs(session.ctx, 0, &chunks).map_err(say("the job before"))?;

    let after = Some(ChunkDep {
        ip_type: other.ip_type(),
        ip_instance: 0,
        ring: other.ring(),
        ctx_id: session.ctx,
        handle: earlier,
    });
    let seq = Job { after, ..storing(rig) }.submit(shot);
    session.data.map.write(GATE, 1);
    rig.finish(other, session.ctx, earlier)?;
    rig.finish(rig.engine, session.ctx, seq?)?;
    stored(rig)?;
    drop(commands.map);
    session.file.gem_close(commands.handle).map_err(say("GEM_CLOSE"))
}

fn cs_user_fence(rig: &Rig<'_>, shot: &Shot<'_>, domain: u64) -> Answer {
    let Buffer { handle, map, .. } =
        rig.session.buffer(PAGE_SIZE, domain, 0).map_err(say("a BO"))?;
    map.write(8, 0);
    let fence = Some(ChunkFence { handle, offset: 8 });
    Job { fence, ..storing(rig) }.run(shot)?;
    stored(rig)?;
    if map.read(8) == 0 {
        return Err("the user fence was not written".into());
    }
    drop(map);
    rig.session.file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

/// A BO moves to another domain with a job that names it. Whatever failed, its bytes are all there.
fn cs_moving(rig: &Rig<'_>, shot: &Shot<'_>, from: u64, to: u64) -> Answer {
    /// More than the processor copies.
    const LARGE: usize = 20;

    let size = u64_of(LARGE * PAGE);
    let bo = rig.session.buffer(size, from, 0).map_err(say("a BO"))?;
    for page in 0..LARGE {
        bo.map.write(page * PAGE, WRITTEN ^ u32_of(page));
    }
    let job = |to| {
        rig.session.file.set_placement(bo.handle, to).map_err(say("SET_PLACEMENT"))?;
        Ok::<_, String>(Job { others: vec![bo.handle], ..storing(rig) })
    };
    job(to)?.run(shot)?;
    stored(rig)?;
    for page in 0..LARGE {
        let seen = bo.map.read(page * PAGE);
        if seen != WRITTEN ^ u32_of(page) {
            return Err(format!("page {page} of the BO holds {seen:#x}"));
        }
    }
    let Buffer { handle, map, .. } = bo;
    drop(map);
    rig.session.file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

/// A job that writes a word to each page of user memory.
fn writing<'r, 's>(rig: &'r Rig<'s>, user: &User<'_>) -> Job<'r, 's> {
    let mut stream = Stream::new();
    user.target.stores(rig.engine, user.mem.pages(), WRITTEN, &mut stream);
    Job { others: vec![user.target.handle], ..Job::new(rig, stream) }
}

fn cs_fresh(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let user = User::new(rig.session, PAGES)?;
    writing(rig, &user).run(shot)?;
    user.holds(WRITTEN)
}

fn cs_invalidated(rig: &Rig<'_>, shot: &Shot<'_>) -> Answer {
    let mut user = User::new(rig.session, PAGES)?;
    let mut stream = Stream::new();
    user.target.stores(rig.engine, PAGES, !WRITTEN, &mut stream);
    rig.session.run(rig.engine, &stream, &[user.target.handle])?;
    user.holds(!WRITTEN)?;
    // The pages that come in their place are made when they are gathered.
    user.mem.unmap_and_map(0..PAGES).map_err(say("munmap"))?;
    writing(rig, &user).run(shot)?;
    user.holds(WRITTEN)
}
