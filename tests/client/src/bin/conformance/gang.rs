// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CS with several rings at once, a gang, and the chunk that is about one ring's state.
//!
//! The jobs of a gang run at the same time, so they may wait for each other. The ring of the last
//! IB leads: the number, the user fence and the fence for others are those of its job.

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
    num::{
        u64_of,
        usize_of, //
    },
    race::{
        Gate,
        Latch,
        Target,
        wait_at_gate, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        CHUNK_ID_CP_GFX_SHADOW,
        CHUNK_ID_DEPENDENCIES,
        CHUNK_ID_FENCE,
        CHUNK_ID_SYNCOBJ_OUT,
        CTX,
        CTX_OP_ALLOC,
        Chunk,
        ChunkDep,
        ChunkFence,
        ChunkSem,
        ChunkShadow,
        Ctx,
        DevInfo,
        IDS_FLAGS_GANG_SUBMIT,
        INFO_DEV_INFO,
        VM,
        VM_OP_RESERVE_VMID,
        VM_OP_UNRESERVE_VMID,
        Vm, //
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
        good, //
    },
    rig::{
        NO_HANDLE,
        Rig,
        handles_chunk,
        ib_chunk, //
    }, //
};

/// One of each kind, so that no two of them share a ring of the hardware.
const KINDS: [Engine; 3] = [Engine::Gfx, Engine::Compute(0), Engine::Dma(0)];

/// An engine that none of these gangs uses.
const BYSTANDER: Engine = Engine::Dma(1);

/// Place, in the page of data, at which the jobs of a gang leave word: one line each.
const WORDS: usize = 0x200;
/// Place at which the bystander's job waits, and the value that it writes.
const ELSEWHERE: usize = 0x800;

/// It lets the first job begin, and then the gangs wait for each other.
const RESETS: Expect = Expect::Skip("the C driver hangs and resets the rings");

/// Bytes of the command buffer that each member has.
pub const ROOM: usize = 0x1000;

/// Place of a member's word.
const fn word(member: usize) -> usize {
    WORDS + 64 * member
}

/// Submits a gang, the leader last, with more chunks at its end.
fn submit(
    session: &Session,
    members: &[(Engine, Stream)],
    extra: &[Chunk<'_>],
) -> amdgpu_client::Result<u64> {
    submit_naming(session, &[], members, extra)
}

/// The same, with more BOs in its list.
fn submit_naming(
    session: &Session,
    handles: &[u32],
    members: &[(Engine, Stream)],
    extra: &[Chunk<'_>],
) -> amdgpu_client::Result<u64> {
    let ibs: Vec<_> = (0..)
        .zip(members)
        .map(|(n, (engine, stream))| [session.place_ib_at(n * ROOM, *engine, stream)])
        .collect();
    let own = [session.ib.handle, session.data.handle];
    let entries = list_entries(&[&own, handles].concat());
    let list = [list_request(&entries)];
    let mut chunks = vec![handles_chunk(&list)];
    chunks.extend(ibs.iter().map(ib_chunk));
    chunks.extend_from_slice(extra);
    session.file.cs(session.ctx, 0, &chunks)
}

/// Streams of which each says that it is there and waits for all others to have said so. Whoever
/// runs alone waits for ever.
fn rendezvous(session: &Session, engines: &[Engine], round: u32) -> Vec<(Engine, Stream)> {
    let va = |member| session.data.va + u64_of(word(member));
    (0..)
        .zip(engines)
        .map(|(n, &engine)| {
            let mut stream = Stream::new();
            stream.store(engine, va(n), round);
            for other in (0..engines.len()).filter(|&other| other != n) {
                stream.wait_equal(engine, va(other), round);
            }
            (engine, stream)
        })
        .collect()
}

/// Waits until nothing uses the page of data any more.
fn idle(session: &Session) -> Outcome {
    let until = amdgpu_client::drm::deadline_ms(PATIENCE_MS);
    let idle = session.file.wait_idle(session.data.handle, until).setup("GEM_WAIT_IDLE")?;
    expect(idle, || "still busy".into())
}

/// Runs gangs of these engines, one after another.
fn meet(rig: &Rig, engines: &[Engine], rounds: u32) -> Outcome {
    let leader = engines[engines.len() - 1];
    for round in 1..=rounds {
        let seq = submit(&rig.session, &rendezvous(&rig.session, engines, round), &[])?;
        rig.finish(leader, seq)?;
        idle(&rig.session)?;
    }
    Ok(())
}

/// A gang of stores, with more chunks; what its jobs wrote when `look` is called, which is before
/// they are waited for.
fn stores(rig: &Rig, extra: &[Chunk<'_>], look: impl FnOnce() -> Outcome) -> Outcome {
    let data = &rig.session.data;
    let members: Vec<_> = (0..)
        .zip(KINDS)
        .map(|(n, engine)| {
            data.map.write(word(n), 0);
            let mut stream = Stream::new();
            stream.store(engine, data.va + u64_of(word(n)), 0x6a0 + amdgpu_client::num::u32_of(n));
            (engine, stream)
        })
        .collect();
    let seq = submit(&rig.session, &members, extra)?;
    let seen = look();
    rig.finish(KINDS[2], seq)?;
    idle(&rig.session)?;
    seen?;
    for (n, engine) in KINDS.into_iter().enumerate() {
        let word = data.map.read(word(n));
        expect(usize_of(word.into()) == 0x6a0 + n, || format!("{engine}: {word:#x}"))?;
    }
    Ok(())
}

/// Checks that none of the members has written.
fn untouched(rig: &Rig) -> Outcome {
    let words: Vec<_> = (0..KINDS.len()).map(|n| rig.session.data.map.read(word(n))).collect();
    expect(words == [0; 3], || format!("the jobs have run: {words:x?}"))
}

/// Runs `f` while a job of an engine beside the gang waits at the gate; its number goes in.
fn beside_a_job(rig: &Rig, f: impl FnOnce(u64, Latch<'_>) -> Outcome) -> Outcome {
    let gate = Latch::shut(&rig.session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&rig.session, BYSTANDER, &mut stream);
    let seq = submit_after(&rig.session, 4 * ROOM, (BYSTANDER, &stream), &[])?;
    let answer = f(seq, gate);
    rig.finish(BYSTANDER, seq)?;
    answer
}

/// Gangs of two files at once, whose jobs are queued crosswise.
fn two_files(rig: &Rig) -> Outcome {
    const ROUNDS: u32 = 16;
    let other = Session::open(rig.node).setup("another file")?;
    let (there, back) = ([KINDS[0], KINDS[1], KINDS[2]], [KINDS[2], KINDS[1], KINDS[0]]);
    for round in 1..=ROUNDS {
        let mut jobs = Vec::new();
        for (session, engines) in [(&rig.session, &there), (&other, &back)] {
            let gang = rendezvous(session, engines, round);
            jobs.push((session, engines[2], submit(session, &gang, &[])?));
        }
        for (session, leader, seq) in jobs {
            let done = session.wait(leader, seq, PATIENCE_MS).setup("WAIT_CS")?;
            expect(done, || format!("round {round} is not done"))?;
            idle(session)?;
        }
    }
    Ok(())
}

/// A job of its own place in the command buffer, which comes after another.
///
/// # Errors
///
/// The kernel's.
pub fn submit_after(
    session: &Session,
    at: usize,
    (engine, stream): (Engine, &Stream),
    after: &[Chunk<'_>],
) -> Result<u64, Failure> {
    let ib = [session.place_ib_at(at, engine, stream)];
    let entries = list_entries(&[session.ib.handle, session.data.handle]);
    let list = [list_request(&entries)];
    let chunks = [&[handles_chunk(&list), ib_chunk(&ib)], after].concat();
    session.file.cs(session.ctx, 0, &chunks).setup("CS")
}

/// That a job comes after submission `handle` of `session`.
pub fn after(session: &Session, engine: Engine, handle: u64) -> [ChunkDep; 1] {
    [ChunkDep {
        ip_type: engine.ip_type(),
        ip_instance: 0,
        ring: engine.ring(),
        ctx_id: session.ctx,
        handle,
    }]
}

/// A gang of which one job could begin, and the other stands in its queue behind a job that comes
/// after another gang, which can only begin later: the first must not be in the way of the second.
fn behind_another_gang(rig: &Rig) -> Outcome {
    let [member, leader, _] = KINDS;
    let (first, second) = (rig.session.another().setup("another session")?, &rig.session);
    let gate = Latch::shut(&first.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&first, BYSTANDER, &mut stream);
    let waits = submit_after(&first, 4 * ROOM, (BYSTANDER, &stream), &[])?;
    let dep = after(&first, BYSTANDER, waits);
    let gang = rendezvous(&first, &[member, leader], 81);
    let one = submit(&first, &gang, &[Chunk::of(CHUNK_ID_DEPENDENCIES, &dep)]).setup("CS")?;
    let dep = after(&first, leader, one);
    let between = [Chunk::of(CHUNK_ID_DEPENDENCIES, &dep)];
    submit_after(second, 4 * ROOM, (leader, &Stream::new()), &between)?;
    let two = submit(second, &rendezvous(second, &[member, leader], 82), &[]).setup("CS")?;
    // Time enough for the job that could begin.
    thread::sleep(Duration::from_millis(100));
    gate.open();
    for (session, seq) in [(&first, one), (second, two)] {
        let done = session.wait(leader, seq, PATIENCE_MS).setup("WAIT_CS")?;
        expect(done, || "the gangs wait for each other".into())?;
        idle(session)?;
    }
    Ok(())
}

/// A gang of a context of low priority, between two jobs of the queue of its leader.
fn in_its_turn(rig: &Rig) -> Outcome {
    /// `AMDGPU_CTX_PRIORITY_LOW`
    const LOW: i32 = -512;
    let [member, _, leader] = KINDS;
    let mut session = rig.session.another().setup("another session")?;
    let request = Ctx { op: CTX_OP_ALLOC, priority: LOW, ..Default::default() };
    session.ctx = session.file.call(CTX, &request).setup("ALLOC")?.handle;
    let at = |n| session.data.va + u64_of(word(n));
    let stores = |engine, n, value| {
        let mut stream = Stream::new();
        stream.store(engine, at(n), value);
        (engine, stream)
    };
    let gate = Latch::shut(&session.data.map);
    let mut waits = Stream::new();
    wait_at_gate(&session, leader, &mut waits);
    submit_after(&session, 4 * ROOM, (leader, &waits), &[])?;
    submit(&session, &[stores(member, 0, 2), stores(leader, 1, 2)], &[])?;
    let (engine, last) = stores(leader, 1, 3);
    let seq = submit_after(&session, 5 * ROOM, (engine, &last), &[])?;
    thread::sleep(Duration::from_millis(100));
    let early = [0, 1].map(|n| session.data.map.read(word(n)));
    gate.open();
    let done = session.wait(leader, seq, PATIENCE_MS).setup("WAIT_CS")?;
    expect(done, || "not done".into())?;
    idle(&session)?;
    let seen = [0, 1].map(|n| session.data.map.read(word(n)));
    expect(early == [0, 0] && seen == [2, 3], || format!("{early:?} before, {seen:?} after"))
}

/// User memory that a job of a gang writes when the gate opens, and that is unmapped before that,
/// while the leader's job is done.
fn unmapped_under_a_member(rig: &Rig) -> Outcome {
    let [leader, _, member] = KINDS;
    let gate = Gate::shut(&rig.session).map_err(Failure::Wrong)?;
    let mem = rig.memory(1)?;
    let target = Target::new(&rig.session, &mem).setup("userptr")?;
    let mut stream = Stream::new();
    gate.wait(member, &mut stream);
    target.stores(member, 1, 0xdead_beef, &mut stream);
    let gang = [(member, stream), (leader, Stream::new())];
    let seq = submit_naming(&rig.session, &[target.handle], &gang, &[])?;
    rig.finish(leader, seq)?;
    let ((), timing) = gate.open_soon(|| drop(mem));
    idle(&rig.session)?;
    expect(timing.waited(), || "munmap came back while a job could still write".into())
}

/// A submission with a CP_GFX_SHADOW chunk that was changed.
fn shadowed(rig: &Rig, change: impl FnOnce(&mut ChunkShadow, &mut u32)) -> Outcome {
    let mut body = [ChunkShadow::default()];
    let mut length_dw = 8;
    change(&mut body[0], &mut length_dw);
    let mut chunk = Chunk::of(CHUNK_ID_CP_GFX_SHADOW, &body);
    chunk.length_dw = length_dw;
    stores(rig, &[chunk], || Ok(()))
}

fn vm(rig: &Rig, op: u32) -> Outcome {
    rig.file().call(VM, &Vm { op, flags: 0 }).setup("VM")
}

pub fn cases() -> Vec<Case> {
    let mut cases = refused();
    cases.extend(accepted());
    cases.extend(orders());
    cases.extend([
        good("a shadow of graphics state", |rig| shadowed(rig, |_, _| ())),
        good("a shadow to be initialized, anywhere", |rig| {
            shadowed(rig, |r, _| {
                *r = ChunkShadow { shadow_va: u64::MAX, csa_va: 1, gds_va: u64::MAX, flags: 1 };
            })
        }),
        bad("a shadow with a flag that is none", libc::EINVAL, |rig| {
            shadowed(rig, |r, _| r.flags = 2)
        }),
        bad("a shadow with flags above 32 bits", libc::EINVAL, |rig| {
            shadowed(rig, |r, _| r.flags = 1 << 32)
        }),
        bad("a shadow that is too short", libc::EINVAL, |rig| shadowed(rig, |_, len| *len = 7)),
        bad("a shadow of nothing", libc::EINVAL, |rig| shadowed(rig, |_, len| *len = 0)),
    ]);
    cases
}

fn accepted() -> Vec<Case> {
    let mut cases = vec![
        good("DEV_INFO says that there are gangs", |rig| {
            let info: DevInfo = rig.file().info(INFO_DEV_INFO, [0; 4])?;
            expect(info.ids_flags & IDS_FLAGS_GANG_SUBMIT != 0, || format!("{info:x?}"))
        }),
        good("stores of three rings", |rig| stores(rig, &[], || Ok(()))),
        good("gangs of two files at once", two_files),
        good("a gang of low priority comes in its turn", in_its_turn),
        differ("a gang behind a job that comes after another", RESETS, OK, behind_another_gang),
        good("several IBs of each ring, mixed", |rig| {
            let [a, b, _] = KINDS;
            let members: Vec<_> = [a, b, a, b, a].map(|engine| (engine, Stream::new())).into();
            let seq = submit(&rig.session, &members, &[])?;
            rig.finish(a, seq)
        }),
        good("four rings", |rig| {
            let rings = [Engine::Compute(1), Engine::Compute(2), Engine::Dma(1), Engine::Gfx];
            let members: Vec<_> = rings.map(|engine| (engine, Stream::new())).into();
            let seq = submit(&rig.session, &members, &[])?;
            rig.finish(Engine::Gfx, seq)?;
            idle(&rig.session)
        }),
        good("the number is the leader's", |rig| {
            let [member, _, leader] = KINDS;
            let last = |engine: Engine| {
                let seq = rig.session.submit(engine, &Stream::new(), &[]).setup("CS")?;
                rig.finish(engine, seq)?;
                Ok::<_, Failure>(seq)
            };
            let (before, led) = (last(member)?, last(leader)?);
            let gang = rendezvous(&rig.session, &[member, leader], 77);
            let seq = submit(&rig.session, &gang, &[])?;
            rig.finish(leader, seq)?;
            idle(&rig.session)?;
            expect(seq == led + 1, || format!("{seq} after {led}"))?;
            let after = last(member)?;
            expect(after == before + 1, || format!("the member's: {after} after {before}"))
        }),
    ];
    for engines in
        [[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1]].map(|pair| pair.map(|n: usize| KINDS[n]))
    {
        let [member, leader] = engines;
        cases.push(good(format!("{member} and {leader} wait for each other"), move |rig| {
            meet(rig, &engines, 4)
        }));
    }
    cases.push(good("three rings wait for each other", |rig| meet(rig, &KINDS, 16)));
    cases
}

/// Cases of jobs before and after a gang.
fn orders() -> Vec<Case> {
    vec![
        good("none of the jobs runs before what the gang comes after", |rig| {
            beside_a_job(rig, |seq, gate| {
                let dep = after(&rig.session, BYSTANDER, seq);
                stores(rig, &[Chunk::of(CHUNK_ID_DEPENDENCIES, &dep)], || {
                    thread::sleep(Duration::from_millis(100));
                    let answer = untouched(rig);
                    gate.open();
                    answer
                })
            })
        }),
        good("a BO is busy until the last of the jobs is done", |rig| {
            let [leader, _, member] = KINDS;
            let gate = Latch::shut(&rig.session.data.map);
            let mut waits = Stream::new();
            wait_at_gate(&rig.session, member, &mut waits);
            let gang = [(member, waits), (leader, Stream::new())];
            let seq = submit(&rig.session, &gang, &[])?;
            let led = rig.finish(leader, seq);
            let idle_early = rig.file().wait_idle(rig.session.data.handle, 0);
            gate.open();
            led?;
            idle(&rig.session)?;
            let early = idle_early.setup("GEM_WAIT_IDLE")?;
            expect(!early, || "said to be idle, while a job waited".into())
        }),
        good(
            "user memory does not go before the last of the jobs is done",
            unmapped_under_a_member,
        ),
        good("the user fence is the leader's", |rig| {
            let [leader, _, member] = KINDS;
            let data = &rig.session.data;
            let offset = u32::try_from(ELSEWHERE).unwrap_or(0);
            data.map.write(ELSEWHERE, 0);
            let fence = [ChunkFence { handle: data.handle, offset }];
            let gang = rendezvous(&rig.session, &[member, leader], 78);
            let seq = submit(&rig.session, &gang, &[Chunk::of(CHUNK_ID_FENCE, &fence)])?;
            rig.finish(leader, seq)?;
            idle(&rig.session)?;
            let seen = u64::from(data.map.read(ELSEWHERE));
            expect(seen == seq, || format!("{seen}, not {seq}"))
        }),
        good("the fence for others is the leader's", |rig| {
            let [leader, _, member] = KINDS;
            let handle = rig.file().syncobj_create().setup("SYNCOBJ_CREATE")?;
            let sem = [ChunkSem { handle }];
            let gate = Latch::shut(&rig.session.data.map);
            let mut waits = Stream::new();
            wait_at_gate(&rig.session, leader, &mut waits);
            let gang = [(member, Stream::new()), (leader, waits)];
            let submitted = submit(&rig.session, &gang, &[Chunk::of(CHUNK_ID_SYNCOBJ_OUT, &sem)]);
            let early = rig.file().syncobj_wait(handle, 0, 50);
            gate.open();
            rig.finish(leader, submitted?)?;
            expect(early.is_err(), || "signaled before the leader's job was done".into())?;
            rig.file().syncobj_wait(handle, 0, PATIENCE_MS).setup("wait for the object")?;
            rig.file().syncobj_destroy(handle).setup("SYNCOBJ_DESTROY")
        }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        bad("with a VMID of its own", libc::EINVAL, |rig| {
            vm(rig, VM_OP_RESERVE_VMID)?;
            let answer = stores(rig, &[], || Ok(()));
            vm(rig, VM_OP_UNRESERVE_VMID)?;
            answer
        }),
        bad("a bad ring beside good ones: none of the jobs runs", libc::EINVAL, |rig| {
            for n in 0..KINDS.len() {
                rig.session.data.map.write(word(n), 0);
            }
            let bad = [ChunkDep { ctx_id: NO_HANDLE, ..Default::default() }];
            let answer = stores(rig, &[Chunk::of(CHUNK_ID_DEPENDENCIES, &bad)], || Ok(()));
            idle(&rig.session)?;
            untouched(rig)?;
            answer
        }),
        bad("50 IBs on SDMA, among others", libc::EINVAL, |rig| {
            let mut members = vec![(KINDS[2], Stream::new()); 2];
            members.push((KINDS[0], Stream::new()));
            let ibs: Vec<_> = members
                .iter()
                .map(|(engine, stream)| [rig.session.place_ib_at(0, *engine, stream)])
                .collect();
            let entries = list_entries(&rig.handles());
            let list = [list_request(&entries)];
            let mut chunks = vec![handles_chunk(&list), ib_chunk(&ibs[2])];
            chunks.extend(vec![ib_chunk(&ibs[0]); 50]);
            Ok(rig.file().cs(rig.session.ctx, 0, &chunks).map(|_| ())?)
        }),
        good("as many IBs as each ring takes", |rig| {
            let sdma = [rig.session.place_ib_at(0, KINDS[2], &Stream::new())];
            let gfx = [rig.session.place_ib_at(ROOM, KINDS[0], &Stream::new())];
            let entries = list_entries(&rig.handles());
            let list = [list_request(&entries)];
            let mut chunks = vec![handles_chunk(&list)];
            chunks.extend(vec![ib_chunk(&gfx); 192]);
            chunks.extend(vec![ib_chunk(&sdma); 49]);
            let seq = rig.file().cs(rig.session.ctx, 0, &chunks)?;
            rig.finish(KINDS[2], seq)
        }),
    ]
}
