// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Cases that take a second process, or one without privileges.

use amdgpu_client::{
    Errno,
    drm::list_entries,
    mem::UserMem,
    uapi::{
        CTX,
        CTX_OP_ALLOC,
        CTX_PRIORITY_HIGH,
        CTX_PRIORITY_NORMAL,
        Ctx,
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE, //
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
        PAGE64,
        Rig, //
    }, //
};

/// Exit status of a child for which something else than the kernel's answer was wrong.
const CONFUSED: i32 = 255;

/// Runs `question` in a child process, and answers what it answered.
fn in_child(question: impl FnOnce() -> Outcome) -> Outcome {
    // SAFETY: this program has one thread, so the child is as whole as its parent.
    match unsafe { libc::fork() } {
        0 => {
            let status = match question() {
                Ok(()) => 0,
                Err(Failure::Refused(Errno(e))) => e,
                Err(Failure::Wrong(why)) => {
                    eprintln!("child: {why}");
                    CONFUSED
                }
            };
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        child if child > 0 => {
            let mut status = 0;
            // SAFETY: our child, and a place for its status.
            Errno::of(unsafe { libc::waitpid(child, &raw mut status, 0) }).setup("waitpid")?;
            if !libc::WIFEXITED(status) {
                return Err(Failure::Wrong(format!("the child died: status {status:#x}")));
            }
            match libc::WEXITSTATUS(status) {
                0 => Ok(()),
                CONFUSED => Err(Failure::Wrong("the child was confused".into())),
                errno => Err(Failure::Refused(Errno(errno))),
            }
        }
        _ => Err(Failure::Wrong(format!("fork: {}", Errno::last()))),
    }
}

/// A userptr BO of this process.
fn userptr(rig: &Rig) -> Result<(UserMem, u32), Failure> {
    let mem = rig.memory(2)?;
    let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
    let handle = rig.file().gem_userptr(mem.addr(), 2 * PAGE64, flags).setup("userptr")?;
    Ok((mem, handle))
}

/// A context at a priority, asked for by a process without privileges.
fn unprivileged_ctx(rig: &Rig, priority: i32) -> Outcome {
    in_child(|| {
        const NOBODY: libc::uid_t = 65_534;
        // SAFETY: changes the identity of this child process alone.
        Errno::of(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }).setup("setresuid")?;
        Ok(rig
            .file()
            .call(CTX, &Ctx { op: CTX_OP_ALLOC, priority, ..Default::default() })
            .map(|_| ())?)
    })
}

pub fn cases() -> Vec<Case> {
    vec![
        good("a userptr BO in its own process", |rig| {
            let (_mem, handle) = userptr(rig)?;
            rig.submit_naming(handle)
        }),
        bad("a child lists its parent's userptr BO", libc::EPERM, |rig| {
            let (_mem, handle) = userptr(rig)?;
            in_child(|| Ok(rig.file().bo_list(&[handle]).map(|_| ())?))
        }),
        bad("a child submits with its parent's userptr BO", libc::EPERM, |rig| {
            let (_mem, handle) = userptr(rig)?;
            let [ib, data] = rig.handles();
            in_child(|| rig.submit_entries(&list_entries(&[ib, data, handle]), |_| ()))
        }),
        good("a child submits without it", |rig| {
            let (_mem, _handle) = userptr(rig)?;
            in_child(|| rig.submit_list(|_| ()))
        }),
        good("the parent submits after a child", |rig| {
            let (_mem, handle) = userptr(rig)?;
            in_child(|| Ok(()))?;
            rig.submit_naming(handle)
        }),
        bad("high priority without privileges", libc::EACCES, |rig| {
            unprivileged_ctx(rig, CTX_PRIORITY_HIGH)
        }),
        good("normal priority without privileges", |rig| {
            unprivileged_ctx(rig, CTX_PRIORITY_NORMAL)
        }),
    ]
}
