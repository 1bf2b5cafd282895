// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CS: the envelope, the IB chunk, and the other chunks.

use amdgpu_client::{
    drm::{
        list_entries,
        list_request, //
    },
    engine::Engine,
    mem::{
        Access,
        UserMem, //
    },
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    race::Target,
    uapi::{
        self,
        Addr,
        CHUNK_ID_BO_HANDLES,
        CHUNK_ID_DEPENDENCIES,
        CHUNK_ID_FENCE,
        CHUNK_ID_IB,
        Chunk,
        ChunkDep,
        ChunkFence,
        ChunkIb,
        Cs,
        DOMAIN_CPU,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        HW_IP_COMPUTE,
        HW_IP_DMA,
        HW_IP_GFX,
        HW_IP_NUM,
        HW_IP_UVD,
        IB_FLAG_CE,
        IB_FLAG_PREEMPT,
        USERPTR_ANONONLY,
        USERPTR_READONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE, //
    }, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        OK,
        Outcome,
        Setup,
        bad,
        differ,
        expect,
        good,
        stricter, //
    },
    rig::{
        ENGINE,
        NO_HANDLE,
        PAGE64,
        Rig,
        handles_chunk,
        ib_chunk, //
    }, //
};

/// The C driver takes it and lets the engine see it.
const UNTRIED: Expect = Expect::Skip("the C driver hands it to the engine");

/// A good submission whose envelope was changed.
fn enveloped(rig: &Rig, change: impl FnOnce(&mut Cs<'_>)) -> Outcome {
    let ib = [rig.session.nop_ib(ENGINE)];
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    let chunks = [handles_chunk(&list), ib_chunk(&ib)];
    let addrs = Addr::of_chunks(&chunks);
    let mut request = Cs {
        ctx_id: rig.session.ctx,
        bo_list_handle: 0,
        num_chunks: 2,
        flags: 0,
        chunks: Addr::of_addrs(&addrs),
    };
    change(&mut request);
    let seq = rig.file().call(uapi::CS, &request)?;
    rig.finish(ENGINE, seq)
}

/// A good submission whose IB chunk header was changed.
fn with_ib_chunk(rig: &Rig, change: impl FnOnce(&mut Chunk<'_>)) -> Outcome {
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    // One word more than the chunk has, for the case that says it is longer.
    let ib = [rig.session.nop_ib(ENGINE), ChunkIb::default()];
    let mut chunks = [handles_chunk(&list), Chunk::of(CHUNK_ID_IB, &ib[..1])];
    // The longer array is what lies behind the same address.
    chunks[1].chunk_data = Addr::of(&ib);
    change(&mut chunks[1]);
    rig.submit(0, &chunks)
}

/// A submission with the BO list of this handle, and no BO_HANDLES chunk.
fn with_list(rig: &Rig, list: u32) -> Outcome {
    let ib = [rig.session.nop_ib(ENGINE)];
    rig.submit(list, &[ib_chunk(&ib)])
}

/// The IB is in user memory, which is all that the list names; a user fence shows that it ran.
fn only_user_memory(rig: &Rig) -> Outcome {
    const FENCE: u32 = 8;
    let mut mem = UserMem::anonymous(1).setup("mmap")?;
    // Zeros are no-operations of the DMA engines.
    mem.write_byte(0, 0);
    let target = Target::new(&rig.session, &mem).setup("userptr")?;
    let entries = list_entries(&[target.handle]);
    let list = [list_request(&entries)];
    let ib = [ChunkIb { va_start: target.va, ..rig.session.nop_ib(ENGINE) }];
    let fence = [ChunkFence { handle: rig.session.data.handle, offset: FENCE }];
    let data = &rig.session.data.map;
    data.write(usize_of(FENCE.into()), 0);
    rig.submit(0, &[handles_chunk(&list), ib_chunk(&ib), Chunk::of(CHUNK_ID_FENCE, &fence)])?;
    expect(data.read(usize_of(FENCE.into())) != 0, || "the user fence was not written".into())
}

pub fn envelope() -> Vec<Case> {
    vec![
        good("a NOP", |rig| enveloped(rig, |_| ())),
        good("flags are ignored", |rig| enveloped(rig, |r| r.flags = u32::MAX)),
        good("a BO list in place of BO_HANDLES", |rig| {
            let list = rig.file().bo_list(&rig.handles()).setup("BO_LIST")?;
            with_list(rig, list)?;
            rig.file().bo_list_destroy(list).setup("DESTROY")
        }),
        good("no BO list", |rig| with_list(rig, 0)),
        good("an empty BO list", |rig| {
            let list = rig.file().bo_list(&[]).setup("BO_LIST")?;
            with_list(rig, list)?;
            rig.file().bo_list_destroy(list).setup("DESTROY")
        }),
        good("a list of user memory only, with a user fence", only_user_memory),
        bad("no chunks", libc::EINVAL, |rig| enveloped(rig, |r| r.num_chunks = 0)),
        bad("no such context", libc::EINVAL, |rig| enveloped(rig, |r| r.ctx_id = NO_HANDLE)),
        bad("context 0", libc::EINVAL, |rig| enveloped(rig, |r| r.ctx_id = 0)),
        bad("chunks at an address of nothing", libc::EFAULT, |rig| {
            enveloped(rig, |r| r.chunks = Addr::UNMAPPED)
        }),
        bad("chunks at a kernel address", libc::EFAULT, |rig| {
            enveloped(rig, |r| r.chunks = Addr::KERNEL)
        }),
        bad("a chunk header at an address of nothing", libc::EFAULT, |rig| {
            let addrs = [Addr::UNMAPPED];
            let request = Cs {
                ctx_id: rig.session.ctx,
                num_chunks: 1,
                chunks: Addr::of_addrs(&addrs),
                ..Default::default()
            };
            Ok(rig.file().call(uapi::CS, &request).map(|_| ())?)
        }),
        bad("a chunk body at an address of nothing", libc::EFAULT, |rig| {
            with_ib_chunk(rig, |c| c.chunk_data = Addr::UNMAPPED)
        }),
        bad("a chunk body at a kernel address", libc::EFAULT, |rig| {
            with_ib_chunk(rig, |c| c.chunk_data = Addr::KERNEL)
        }),
        bad("a chunk of 2 GiB", libc::EINVAL, |rig| {
            with_ib_chunk(rig, |c| c.length_dw = 0x2000_0000)
        }),
        bad("a chunk of 16 GiB", libc::EINVAL, |rig| {
            with_ib_chunk(rig, |c| c.length_dw = u32::MAX)
        }),
        bad("chunk kind 0", libc::EINVAL, |rig| with_ib_chunk(rig, |c| c.chunk_id = 0)),
        bad("chunk kind 0x55", libc::EINVAL, |rig| with_ib_chunk(rig, |c| c.chunk_id = 0x55)),
        bad("an IB chunk that is too short", libc::EINVAL, |rig| {
            with_ib_chunk(rig, |c| c.length_dw = 7)
        }),
        bad("an IB chunk of nothing", libc::EINVAL, |rig| with_ib_chunk(rig, |c| c.length_dw = 0)),
        good("an IB chunk that is longer than it must be", |rig| {
            with_ib_chunk(rig, |c| c.length_dw = 9)
        }),
        bad("no IB", libc::EINVAL, |rig| {
            let entries = list_entries(&rig.handles());
            let list = [list_request(&entries)];
            rig.submit(0, &[handles_chunk(&list)])
        }),
        stricter("257 chunks", OK, libc::EINVAL, |rig| {
            // Dependencies on nothing are valid, however many.
            let nothing: [ChunkDep; 0] = [];
            rig.submit_extra(&vec![Chunk::of(CHUNK_ID_DEPENDENCIES, &nothing); 255])
        }),
        stricter("16 Mi chunks", Expect::Refusal(libc::ENOMEM), libc::EINVAL, |rig| {
            enveloped(rig, |r| r.num_chunks = 0x100_0000)
        }),
        bad("a BO list and BO_HANDLES", libc::EINVAL, |rig| {
            let list = rig.file().bo_list(&rig.handles()).setup("BO_LIST")?;
            let answer = enveloped(rig, |r| r.bo_list_handle = list);
            rig.file().bo_list_destroy(list).setup("DESTROY")?;
            answer
        }),
        bad("no such BO list", libc::ENOENT, |rig| {
            let ib = [rig.session.nop_ib(ENGINE)];
            rig.submit(NO_HANDLE, &[ib_chunk(&ib)])
        }),
    ]
}

/// A submission of `count` NOP IBs on each of `engines`.
fn many(rig: &Rig, engines: &[Engine], count: usize) -> Outcome {
    let ibs: Vec<_> = engines.iter().map(|&e| [rig.session.nop_ib(e)]).collect();
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    let mut chunks = vec![handles_chunk(&list)];
    for ib in &ibs {
        chunks.extend(vec![ib_chunk(ib); count]);
    }
    let seq = rig.file().cs(rig.session.ctx, 0, &chunks)?;
    rig.finish(engines[engines.len() - 1], seq)
}

/// A submission of two NOP IBs with these flags.
fn preemptible(rig: &Rig, engine: Engine, flags: [u32; 2]) -> Outcome {
    let ibs = flags.map(|flags| [ChunkIb { flags, ..rig.session.nop_ib(engine) }]);
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    let mut chunks = vec![handles_chunk(&list)];
    chunks.extend(ibs.iter().map(ib_chunk));
    let seq = rig.file().cs(rig.session.ctx, 0, &chunks)?;
    rig.finish(engine, seq)
}

pub fn ib() -> Vec<Case> {
    let mut cases = vec![
        bad("a kind of engine that this card does not run", libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ip_type = HW_IP_UVD)
        }),
        bad("a second instance", libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ip_instance = 1)
        }),
        bad("on the constant engine", libc::EINVAL, |rig| {
            rig.submit_ib(Engine::Gfx, |ib| ib.flags = IB_FLAG_CE)
        }),
        good("one of two on gfx that may be preempted", |rig| {
            preemptible(rig, Engine::Gfx, [IB_FLAG_PREEMPT, 0])
        }),
        bad("two on gfx that may be preempted", libc::EINVAL, |rig| {
            preemptible(rig, Engine::Gfx, [IB_FLAG_PREEMPT; 2])
        }),
        good("two on compute that may be preempted", |rig| {
            preemptible(rig, Engine::Compute(0), [IB_FLAG_PREEMPT; 2])
        }),
        bad("one word more than the length field holds", libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ib_bytes = 0x40_0000)
        }),
        bad("4 GiB", libc::EINVAL, |rig| rig.submit_ib(ENGINE, |ib| ib.ib_bytes = !3)),
        stricter("no bytes", UNTRIED, libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ib_bytes = 0)
        }),
        stricter("bytes that are no whole words", UNTRIED, libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ib_bytes = 30)
        }),
        stricter("an address that is no word's", UNTRIED, libc::EINVAL, |rig| {
            rig.submit_ib(ENGINE, |ib| ib.va_start += 2)
        }),
        good("49 IBs on SDMA", |rig| many(rig, &[ENGINE], 49)),
        bad("50 IBs on SDMA", libc::EINVAL, |rig| many(rig, &[ENGINE], 50)),
        bad("126 IBs on compute", libc::EINVAL, |rig| many(rig, &[Engine::Compute(0)], 126)),
        bad("193 IBs on gfx", libc::EINVAL, |rig| many(rig, &[Engine::Gfx], 193)),
        bad("five rings in one submission", libc::EINVAL, |rig| many(rig, &Engine::ALL[..5], 1)),
    ];
    for ip_type in [HW_IP_NUM, u32::MAX] {
        cases.push(bad(format!("kind of engine {ip_type}"), libc::EINVAL, move |rig| {
            rig.submit_ib(ENGINE, |ib| ib.ip_type = ip_type)
        }));
    }
    for (name, ip_type, ring) in [
        ("GFX", HW_IP_GFX, 1),
        ("COMPUTE", HW_IP_COMPUTE, 4),
        ("DMA", HW_IP_DMA, 2),
        ("DMA", HW_IP_DMA, u32::MAX),
    ] {
        cases.push(bad(format!("{name} ring {ring}"), libc::EINVAL, move |rig| {
            rig.submit_ib(ENGINE, |ib| (ib.ip_type, ib.ring) = (ip_type, ring))
        }));
    }
    cases
}

/// A submission with a fence in a new BO of `size` bytes in `domain`.
fn fenced(rig: &Rig, size: u64, domain: u64, offset: u32) -> Outcome {
    let handle = rig.file().gem_create(size, domain, 0).setup("fence BO")?;
    let fence = [ChunkFence { handle, offset }];
    let answer = rig.submit_extra(&[Chunk::of(CHUNK_ID_FENCE, &fence)]);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    answer
}

/// A submission that names a userptr BO over `mem`.
fn naming_userptr(rig: &Rig, mem: &UserMem, pages: u64, flags: u32) -> Outcome {
    let handle = rig.file().gem_userptr(mem.addr(), pages * PAGE64, flags).setup("userptr")?;
    let answer = rig.submit_naming(handle);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    answer
}

/// A submission that waits for a job, changed as the case wants.
fn depending(rig: &Rig, change: impl FnOnce(&mut ChunkDep)) -> Outcome {
    let mut dep = [ChunkDep {
        ip_type: ENGINE.ip_type(),
        ip_instance: 0,
        ring: ENGINE.ring(),
        ctx_id: rig.session.ctx,
        handle: 1,
    }];
    change(&mut dep[0]);
    rig.submit_extra(&[Chunk::of(CHUNK_ID_DEPENDENCIES, &dep)])
}

pub fn chunks() -> Vec<Case> {
    let mut cases = fence_cases();
    cases.extend(list_cases());
    cases.extend(userptr_cases());
    cases.extend([
        bad("a dependency on a job of the future", libc::EINVAL, |rig| {
            depending(rig, |d| d.handle = 1 << 40)
        }),
        bad("a dependency on no such context", libc::EINVAL, |rig| {
            depending(rig, |d| d.ctx_id = NO_HANDLE)
        }),
        bad("a dependency on no such ring", libc::EINVAL, |rig| depending(rig, |d| d.ring = 2)),
    ]);
    cases
}

fn fence_cases() -> Vec<Case> {
    vec![
        good("a fence in GTT", |rig| fenced(rig, PAGE64, DOMAIN_GTT, 0)),
        differ("a fence in VRAM", Expect::Skip("the C driver takes it and warns"), OK, |rig| {
            fenced(rig, PAGE64, DOMAIN_VRAM, 8)
        }),
        good("a fence at the last place", |rig| fenced(rig, PAGE64, DOMAIN_GTT, 4088)),
        bad("a fence beyond the page", libc::EINVAL, |rig| fenced(rig, PAGE64, DOMAIN_GTT, 4096)),
        bad("a fence over the page's end", libc::EINVAL, |rig| {
            fenced(rig, PAGE64, DOMAIN_GTT, 4089)
        }),
        bad("a fence at 4 Gi", libc::EINVAL, |rig| fenced(rig, PAGE64, DOMAIN_GTT, !7)),
        stricter("a fence at an odd place", UNTRIED, libc::EINVAL, |rig| {
            fenced(rig, PAGE64, DOMAIN_GTT, 4)
        }),
        bad("a fence BO of two pages", libc::EINVAL, |rig| fenced(rig, 2 * PAGE64, DOMAIN_GTT, 0)),
        stricter("a fence BO that the GPU cannot reach", UNTRIED, libc::EINVAL, |rig| {
            fenced(rig, PAGE64, DOMAIN_CPU, 0)
        }),
        bad("a fence in no such BO", libc::EINVAL, |rig| {
            let fence = [ChunkFence { handle: NO_HANDLE, offset: 0 }];
            rig.submit_extra(&[Chunk::of(CHUNK_ID_FENCE, &fence)])
        }),
        bad("a fence in user memory", libc::EINVAL, |rig| {
            let mem = rig.memory(1)?;
            let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
            let handle = rig.file().gem_userptr(mem.addr(), PAGE64, flags).setup("userptr")?;
            let fence = [ChunkFence { handle, offset: 0 }];
            let answer = rig.submit_extra(&[Chunk::of(CHUNK_ID_FENCE, &fence)]);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            answer
        }),
        bad("a fence chunk that is too short", libc::EINVAL, |rig| {
            let handle = rig.gtt(1)?;
            let fence = [ChunkFence { handle, offset: 0 }];
            let mut chunk = Chunk::of(CHUNK_ID_FENCE, &fence);
            chunk.length_dw = 1;
            rig.submit_extra(&[chunk])
        }),
        bad("two fences", libc::EINVAL, |rig| {
            let handle = rig.gtt(1)?;
            let fence = [ChunkFence { handle, offset: 0 }];
            rig.submit_extra(&[Chunk::of(CHUNK_ID_FENCE, &fence); 2])
        }),
    ]
}

fn list_cases() -> Vec<Case> {
    vec![
        good("a BO twice", |rig| {
            let [ib, data] = rig.handles();
            rig.submit_entries(&list_entries(&[ib, data, ib, data]), |_| ())
        }),
        good("a BO that is not mapped for the GPU", |rig| rig.submit_naming(rig.gtt(1)?)),
        good("the operation and the handle in BO_HANDLES are ignored", |rig| {
            rig.submit_list(|r| (r.operation, r.list_handle) = (u32::MAX, u32::MAX))
        }),
        bad("no such BO", libc::ENOENT, |rig| rig.submit_naming(NO_HANDLE)),
        bad("entries of another size", libc::EINVAL, |rig| rig.submit_list(|r| r.bo_info_size = 4)),
        bad("4 Gi entries", libc::EINVAL, |rig| rig.submit_list(|r| r.bo_number = u32::MAX)),
        bad("entries at an address of nothing", libc::EFAULT, |rig| {
            rig.submit_list(|r| r.bo_info_ptr = Addr::UNMAPPED)
        }),
        bad("a BO_HANDLES chunk that is too short", libc::EINVAL, |rig| {
            let entries = list_entries(&rig.handles());
            let list = [list_request(&entries)];
            let ib = [rig.session.nop_ib(ENGINE)];
            let mut chunk = handles_chunk(&list);
            chunk.length_dw = u32_of(size_of::<uapi::BoList<'_>>() / 4 - 1);
            rig.submit(0, &[chunk, ib_chunk(&ib)])
        }),
        bad("two BO_HANDLES chunks", libc::EINVAL, |rig| {
            let entries = list_entries(&rig.handles());
            let list = [list_request(&entries)];
            rig.submit_extra(&[Chunk::of(CHUNK_ID_BO_HANDLES, &list)])
        }),
    ]
}

fn userptr_cases() -> Vec<Case> {
    vec![
        good("user memory", |rig| {
            let mem = rig.memory(3)?;
            naming_userptr(rig, &mem, 3, USERPTR_ANONONLY | USERPTR_REGISTER)
        }),
        good("user memory, untouched", |rig| {
            let mem = UserMem::anonymous(3).setup("mmap")?;
            naming_userptr(rig, &mem, 3, USERPTR_REGISTER)
        }),
        good("user memory, read-only", |rig| {
            let mem = UserMem::anonymous_with(3, Access::ReadOnly).setup("mmap")?;
            naming_userptr(rig, &mem, 3, USERPTR_READONLY | USERPTR_REGISTER)
        }),
        bad("user memory with a hole", libc::EFAULT, |rig| {
            let mut mem = rig.memory(3)?;
            mem.truncate(2).setup("munmap")?;
            naming_userptr(rig, &mem, 3, USERPTR_REGISTER)
        }),
        bad("user memory that is read-only, to be written", libc::EPERM, |rig| {
            let mem = UserMem::anonymous_with(3, Access::ReadOnly).setup("mmap")?;
            naming_userptr(rig, &mem, 3, USERPTR_REGISTER)
        }),
        bad("user memory that was unmapped after the BO was made", libc::EFAULT, |rig| {
            let mut mem = rig.memory(3)?;
            let flags = USERPTR_REGISTER | USERPTR_VALIDATE;
            let handle = rig.file().gem_userptr(mem.addr(), 3 * PAGE64, flags).setup("userptr")?;
            rig.submit_naming(handle).map_err(|f| Failure::Wrong(format!("before: {f:?}")))?;
            mem.truncate(0).setup("munmap")?;
            let answer = rig.submit_naming(handle);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            answer
        }),
        good("a submission without the BO whose memory is gone", |rig| {
            let mut mem = rig.memory(3)?;
            let flags = USERPTR_REGISTER | USERPTR_VALIDATE;
            let handle = rig.file().gem_userptr(mem.addr(), 3 * PAGE64, flags).setup("userptr")?;
            let va = rig.session.reserve_va(3 * u64_of(amdgpu_client::PAGE));
            rig.file().gem_va(uapi::VA_OP_MAP, handle, va, 0, 3 * PAGE64).setup("GEM_VA")?;
            mem.truncate(0).setup("munmap")?;
            let answer = rig.submit_list(|_| ());
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            answer
        }),
    ]
}
