// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CTX: alloc, free, query.

use amdgpu_client::{
    drm::File,
    uapi::{
        CTX,
        CTX_OP_ALLOC,
        CTX_OP_FREE,
        CTX_OP_GET_STABLE_PSTATE,
        CTX_OP_QUERY_STATE,
        CTX_OP_QUERY_STATE2,
        CTX_OP_SET_STABLE_PSTATE,
        CTX_QUERY,
        Ctx,
        STABLE_PSTATE_NONE,
        STABLE_PSTATE_PEAK, //
    }, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        OK,
        Setup,
        bad,
        differ,
        expect,
        good, //
    },
    rig::{
        NO_HANDLE,
        Rig, //
    }, //
};

type Outcome = Result<(), Failure>;

/// It keeps others out until the context is freed, though that asks for nothing any more.
const KEPT: Expect = Expect::Refusal(libc::EBUSY);

fn call(rig: &Rig, request: Ctx) -> Outcome {
    Ok(rig.file().call(CTX, &request).map(|_| ())?)
}

/// Allocates with a priority, and frees.
fn alloc_with(rig: &Rig, change: impl FnOnce(&mut Ctx)) -> Outcome {
    let mut request = Ctx { op: CTX_OP_ALLOC, ..Default::default() };
    change(&mut request);
    let ctx = rig.file().call(CTX, &request)?.handle;
    expect(ctx != 0, || "accepted, with context 0".into())?;
    rig.file().ctx_free(ctx).setup("FREE")
}

/// Holds the card at a power state for a context.
fn set_pstate(file: &File, ctx_id: u32, flags: u32) -> amdgpu_client::Result {
    let request = Ctx { op: CTX_OP_SET_STABLE_PSTATE, flags, ctx_id, priority: 0 };
    file.call(CTX, &request).map(|_| ())
}

/// Runs `f` with a context of its own, for which the card is held at the highest power state.
fn while_held(rig: &Rig, f: impl FnOnce(u32) -> Outcome) -> Outcome {
    let ctx = rig.file().ctx_alloc().setup("ALLOC")?;
    set_pstate(rig.file(), ctx, STABLE_PSTATE_PEAK)?;
    let answer = f(ctx);
    rig.file().ctx_free(ctx).setup("FREE")?;
    answer
}

pub fn pstate_cases() -> Vec<Case> {
    let mut cases = vec![
        good("set, and set again", |rig| {
            while_held(rig, |ctx| Ok(set_pstate(rig.file(), ctx, STABLE_PSTATE_PEAK)?))
        }),
        good("let go, and set again", |rig| {
            while_held(rig, |ctx| {
                set_pstate(rig.file(), ctx, STABLE_PSTATE_NONE)?;
                Ok(set_pstate(rig.file(), ctx, STABLE_PSTATE_PEAK)?)
            })
        }),
        good("get", |rig| {
            let request =
                Ctx { op: CTX_OP_GET_STABLE_PSTATE, ctx_id: rig.session.ctx, ..Default::default() };
            let state = rig.file().call(CTX, &request)?.handle;
            expect(state == STABLE_PSTATE_NONE, || format!("{state:#x}"))
        }),
        bad("another context of the file", libc::EBUSY, |rig| {
            while_held(rig, |_| Ok(set_pstate(rig.file(), rig.session.ctx, STABLE_PSTATE_PEAK)?))
        }),
        bad("another context that lets go", libc::EBUSY, |rig| {
            while_held(rig, |_| Ok(set_pstate(rig.file(), rig.session.ctx, STABLE_PSTATE_NONE)?))
        }),
        bad("a context of another file", libc::EBUSY, |rig| {
            while_held(rig, |_| {
                let other = rig.node.open().setup("open")?;
                let ctx = other.ctx_alloc().setup("ALLOC")?;
                Ok(set_pstate(&other, ctx, STABLE_PSTATE_PEAK)?)
            })
        }),
        differ("another context, after the first has let go", KEPT, OK, |rig| {
            while_held(rig, |ctx| {
                set_pstate(rig.file(), ctx, STABLE_PSTATE_NONE)?;
                set_pstate(rig.file(), rig.session.ctx, STABLE_PSTATE_PEAK)?;
                set_pstate(rig.file(), rig.session.ctx, STABLE_PSTATE_NONE).setup("letting go")
            })
        }),
        good("another context, after the first was freed", |rig| {
            while_held(rig, |_| Ok(()))?;
            while_held(rig, |_| Ok(()))
        }),
        good("another context, after the first one's file was closed", |rig| {
            let other = rig.node.open().setup("open")?;
            let ctx = other.ctx_alloc().setup("ALLOC")?;
            set_pstate(&other, ctx, STABLE_PSTATE_PEAK)?;
            drop(other);
            while_held(rig, |_| Ok(()))
        }),
        good("who asks for nothing holds nothing", |rig| {
            set_pstate(rig.file(), rig.session.ctx, STABLE_PSTATE_NONE)?;
            while_held(rig, |_| Ok(()))
        }),
        bad("get with flags", libc::EINVAL, |rig| {
            call(
                rig,
                Ctx {
                    op: CTX_OP_GET_STABLE_PSTATE,
                    flags: 1,
                    ctx_id: rig.session.ctx,
                    priority: 0,
                },
            )
        }),
    ];
    for state in 1..=STABLE_PSTATE_PEAK {
        cases.push(good(format!("state {state}"), move |rig| {
            let ctx = rig.file().ctx_alloc().setup("ALLOC")?;
            set_pstate(rig.file(), ctx, state)?;
            rig.file().ctx_free(ctx).setup("FREE")
        }));
    }
    for state in [STABLE_PSTATE_PEAK + 1, 0xf, 0x10, 0x14, u32::MAX] {
        cases.push(bad(format!("state {state:#x}"), libc::EINVAL, move |rig| {
            Ok(set_pstate(rig.file(), rig.session.ctx, state)?)
        }));
        cases.push(bad(format!("state {state:#x}, while held"), libc::EINVAL, move |rig| {
            while_held(rig, |_| Ok(set_pstate(rig.file(), rig.session.ctx, state)?))
        }));
    }
    for (name, op) in [("get", CTX_OP_GET_STABLE_PSTATE), ("set", CTX_OP_SET_STABLE_PSTATE)] {
        for ctx_id in [0, NO_HANDLE] {
            cases.push(bad(format!("{name} of no such context ({ctx_id:#x})"), libc::EINVAL, {
                move |rig| call(rig, Ctx { op, ctx_id, ..Default::default() })
            }));
        }
    }
    cases
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        good("alloc", |rig| alloc_with(rig, |_| ())),
        good("low priority", |rig| alloc_with(rig, |r| r.priority = -512)),
        good("a priority that is none is the normal one", |rig| {
            alloc_with(rig, |r| r.priority = 12_345)
        }),
        good("two contexts are two", |rig| {
            let first = rig.file().ctx_alloc()?;
            let second = rig.file().ctx_alloc()?;
            rig.file().ctx_free(first).setup("FREE")?;
            rig.file().ctx_free(second).setup("FREE")?;
            expect(first != second, || format!("both are {first}"))
        }),
        good("query", |rig| {
            let request =
                Ctx { op: CTX_OP_QUERY_STATE, ctx_id: rig.session.ctx, ..Default::default() };
            let state = rig.file().call(CTX_QUERY, &request)?;
            expect(state.hangs == 0 && state.reset_status == 0, || format!("{state:?}"))
        }),
        bad("operation 0", libc::EINVAL, |rig| call(rig, Ctx::default())),
        bad("operation 7", libc::EINVAL, |rig| {
            call(rig, Ctx { op: 7, ctx_id: rig.session.ctx, ..Default::default() })
        }),
        bad("alloc with flags", libc::EINVAL, |rig| alloc_with(rig, |r| r.flags = 1)),
        bad("free twice", libc::EINVAL, |rig| {
            let ctx = rig.file().ctx_alloc().setup("ALLOC")?;
            rig.file().ctx_free(ctx).setup("FREE")?;
            Ok(rig.file().ctx_free(ctx)?)
        }),
        bad("free of another file's context", libc::EINVAL, |rig| {
            // IDs count up in each file: a fresh file has none like this.
            let other = rig.node.open().setup("open")?;
            Ok(other.ctx_free(rig.session.ctx)?)
        }),
        bad("submission with a freed context", libc::EINVAL, |rig| {
            let ctx = rig.file().ctx_alloc().setup("ALLOC")?;
            rig.file().ctx_free(ctx).setup("FREE")?;
            let ib = [rig.session.nop_ib(crate::rig::ENGINE)];
            Ok(rig.file().cs(ctx, 0, &[crate::rig::ib_chunk(&ib)]).map(|_| ())?)
        }),
    ];
    for (name, op) in
        [("free", CTX_OP_FREE), ("query", CTX_OP_QUERY_STATE), ("newer query", CTX_OP_QUERY_STATE2)]
    {
        for ctx_id in [0, NO_HANDLE] {
            cases.push(bad(format!("{name} of no such context ({ctx_id:#x})"), libc::EINVAL, {
                move |rig| call(rig, Ctx { op, ctx_id, ..Default::default() })
            }));
        }
        cases.push(bad(format!("{name} with flags"), libc::EINVAL, move |rig| {
            let ctx_id = rig.file().ctx_alloc().setup("ALLOC")?;
            let answer = call(rig, Ctx { op, ctx_id, flags: 1, priority: 0 });
            rig.file().ctx_free(ctx_id).setup("FREE")?;
            answer
        }));
    }
    cases
}
