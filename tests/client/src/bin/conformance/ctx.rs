// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CTX: alloc, free, query.

use crate::case::{Case, Failure, Setup, bad, expect, good};
use crate::rig::{NO_HANDLE, Rig};
use amdgpu_client::uapi::{
    CTX, CTX_OP_ALLOC, CTX_OP_FREE, CTX_OP_QUERY_STATE, CTX_OP_QUERY_STATE2, CTX_QUERY, Ctx,
};

type Outcome = Result<(), Failure>;

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
