// SPDX-License-Identifier: GPL-2.0 OR MIT

//! SCHED: the master of the primary node changes the priority of other clients.

use std::os::fd::AsRawFd;

use amdgpu_client::{
    Errno,
    drm::{
        File,
        list_entries,
        list_request, //
    },
    uapi::{
        CTX_PRIORITY_HIGH,
        CTX_PRIORITY_LOW,
        CTX_PRIORITY_NORMAL,
        CTX_PRIORITY_UNSET,
        SCHED,
        SCHED_OP_CONTEXT_PRIORITY,
        SCHED_OP_PROCESS_PRIORITY,
        Sched, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Outcome,
        Setup,
        bad,
        good, //
    },
    rig::{
        ENGINE,
        NO_HANDLE,
        Rig,
        handles_chunk,
        ib_chunk, //
    }, //
};

/// The descriptor of `file`, as the interface has it.
fn fd(file: &impl AsRawFd) -> u32 {
    u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX)
}

/// The same of a DRM file.
fn fd_of(file: &File) -> u32 {
    u32::try_from(file.fd()).unwrap_or(u32::MAX)
}

/// The primary node: who opens it first is its master.
fn primary(rig: &Rig) -> Result<File, Failure> {
    rig.node.primary().setup("the primary node")
}

/// A request of the master about the case's file, changed as the case wants.
fn asked(rig: &Rig, change: impl FnOnce(&mut Sched)) -> Outcome {
    let mut request = Sched {
        op: SCHED_OP_PROCESS_PRIORITY,
        fd: fd_of(rig.file()),
        priority: CTX_PRIORITY_LOW,
        ctx_id: 0,
    };
    change(&mut request);
    Ok(primary(rig)?.call(SCHED, &request)?)
}

/// As [`asked`], of one context.
fn asked_of_context(rig: &Rig, change: impl FnOnce(&mut Sched)) -> Outcome {
    asked(rig, |r| {
        (r.op, r.ctx_id) = (SCHED_OP_CONTEXT_PRIORITY, rig.session.ctx);
        change(r);
    })
}

/// The file whose priorities were changed still works, with queues that it had and with new ones.
fn still_works(rig: &Rig) -> Outcome {
    rig.submit_list(|_| ())?;
    let ctx = rig.file().ctx_alloc().setup("ALLOC")?;
    let ib = [rig.session.nop_ib(ENGINE)];
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    rig.file().cs(ctx, 0, &[handles_chunk(&list), ib_chunk(&ib)]).setup("CS")?;
    rig.file().ctx_free(ctx).setup("FREE")
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        bad("on a render node", libc::EACCES, |rig| {
            let request = Sched { op: SCHED_OP_PROCESS_PRIORITY, ..Default::default() };
            Ok(rig.file().call(SCHED, &request)?)
        }),
        bad("on a render node, whatever it asks for", libc::EACCES, |rig| {
            let request = Sched { op: 9, fd: u32::MAX, priority: 1, ctx_id: NO_HANDLE };
            Ok(rig.file().call(SCHED, &request)?)
        }),
        bad("by another than the master", libc::EACCES, |rig| {
            let _master = primary(rig)?;
            let other = primary(rig)?;
            let request = Sched { op: SCHED_OP_PROCESS_PRIORITY, ..Default::default() };
            Ok(other.call(SCHED, &request)?)
        }),
        good("of a context that does not matter for a file", |rig| {
            asked(rig, |r| r.ctx_id = NO_HANDLE)
        }),
        good("the master's own file", |rig| {
            let master = primary(rig)?;
            let request =
                Sched { op: SCHED_OP_PROCESS_PRIORITY, fd: fd_of(&master), ..Default::default() };
            Ok(master.call(SCHED, &request)?)
        }),
        bad("no such context", libc::EINVAL, |rig| asked_of_context(rig, |r| r.ctx_id = NO_HANDLE)),
        bad("context 0", libc::EINVAL, |rig| asked_of_context(rig, |r| r.ctx_id = 0)),
        bad("a context of another file", libc::EINVAL, |rig| {
            let other = rig.node.open().setup("open")?;
            asked_of_context(rig, |r| r.fd = fd_of(&other))
        }),
    ];
    for op in [0, 3, u32::MAX] {
        cases.push(bad(format!("operation {op:#x}"), libc::EINVAL, move |rig| {
            asked(rig, |r| r.op = op)
        }));
    }
    for (op, name) in
        [(SCHED_OP_PROCESS_PRIORITY, "a file"), (SCHED_OP_CONTEXT_PRIORITY, "a context")]
    {
        for priority in [CTX_PRIORITY_LOW, CTX_PRIORITY_NORMAL, CTX_PRIORITY_HIGH, 1023, -1023] {
            cases.push(good(format!("{name} at {priority}"), move |rig| {
                rig.submit_list(|_| ())?;
                asked_of_context(rig, |r| (r.op, r.priority) = (op, priority))?;
                still_works(rig)
            }));
        }
        for priority in [CTX_PRIORITY_UNSET, 1, 1024, -1024, i32::MIN, i32::MAX] {
            cases.push(bad(format!("{name} at {priority}"), libc::EINVAL, move |rig| {
                asked_of_context(rig, |r| (r.op, r.priority) = (op, priority))
            }));
        }
        for bad_fd in [u32::MAX, 0x7fff_ffff, 0x8000_0000] {
            cases.push(bad(
                format!("{name} of descriptor {bad_fd:#x}"),
                libc::EINVAL,
                move |rig| asked_of_context(rig, |r| (r.op, r.fd) = (op, bad_fd)),
            ));
        }
        cases.push(bad(
            format!("{name} of a file that is no DRM file"),
            libc::EINVAL,
            move |rig| {
                let null = std::fs::File::open("/dev/null").map_err(|_| Errno(libc::EIO));
                let null = null.setup("/dev/null")?;
                asked_of_context(rig, |r| (r.op, r.fd) = (op, fd(&null)))
            },
        ));
        cases.push(bad(format!("{name} of a DMA buffer"), libc::EINVAL, move |rig| {
            let dmabuf = rig.file().export(rig.gtt(1)?).setup("export")?;
            asked_of_context(rig, |r| (r.op, r.fd) = (op, fd(&dmabuf)))
        }));
    }
    cases
}
