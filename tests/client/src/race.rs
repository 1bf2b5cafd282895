// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the race tests share: user memory under a GPU that has been told to wait.
//!
//! A job that waits at a *gate*, a word of memory that the CPU sets, makes a race certain: the
//! driver has bound the pages, the GPU is about to use them, and it stays so for as long as the
//! test wants.

use crate::drm::now_ns;
use crate::engine::Engine;
use crate::ib::Stream;
use crate::mem::UserMem;
use crate::num::u64_of;
use crate::session::{PATIENCE_MS, Session};
use crate::uapi::{USERPTR_ANONONLY, USERPTR_REGISTER, USERPTR_VALIDATE, VA_OP_MAP, VA_OP_UNMAP};
use crate::{PAGE, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Where in the session's page of data the gate is, in bytes.
const GATE: usize = 1024;

/// How long a gate stays shut, in milliseconds: long against any call that does not wait for it,
/// short against the driver's patience with a job.
pub const SHUT_MS: u64 = 150;

/// A userptr BO that is mapped for the GPU.
pub struct Target<'s> {
    session: &'s Session,
    /// Its handle.
    pub handle: u32,
    /// GPU address of its first byte.
    pub va: u64,
}

impl<'s> Target<'s> {
    /// Covers the whole of `mem`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new(session: &'s Session, mem: &UserMem) -> Result<Self> {
        let size = u64_of(mem.len());
        let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
        let handle = session.file.gem_userptr(mem.addr(), size, flags)?;
        let va = session.reserve_va(size);
        let target = Self { session, handle, va };
        session.file.gem_va(VA_OP_MAP, handle, va, 0, size)?;
        Ok(target)
    }

    /// A store of `value` to the first word of each of `pages`.
    pub fn stores(&self, engine: Engine, pages: usize, value: u32, stream: &mut Stream) {
        for page in 0..pages {
            stream.store(engine, self.va + u64_of(page * PAGE), value);
        }
    }
}

impl Target<'_> {
    /// Leaves the BO and its mapping to the file: handle and GPU address.
    pub fn leak(self) -> (u32, u64) {
        let target = std::mem::ManuallyDrop::new(self);
        (target.handle, target.va)
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        // If either fails there is nothing left to undo.
        let _ = self.session.file.gem_va(VA_OP_UNMAP, self.handle, self.va, 0, 0);
        let _ = self.session.file.gem_close(self.handle);
    }
}

/// When a call that ran beside a shut gate began and came back, and when the gate was opened.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Just before the gate was opened.
    pub opened: u64,
    /// Just after the call came back. 0 if it never did.
    pub returned: u64,
}

impl Timing {
    /// Whether the call came back only after the gate was opened.
    pub const fn waited(self) -> bool {
        self.returned > self.opened
    }
}

/// A word in the session's page of data that the CPU sets to let jobs go on.
pub struct Gate<'s>(&'s Session);

impl<'s> Gate<'s> {
    /// A gate that is shut. A session has one.
    pub fn shut(session: &'s Session) -> Self {
        session.data.map.write(GATE, 0);
        Self(session)
    }

    /// Appends a wait for the gate.
    pub fn wait(&self, engine: Engine, stream: &mut Stream) {
        stream.wait_equal(engine, self.0.data.va + u64_of(GATE), 1);
    }

    /// Makes `call`, and meanwhile, after [`SHUT_MS`], opens the gate. What the call answered, and
    /// when.
    pub fn open_soon<T>(&self, call: impl FnOnce() -> T) -> (T, Timing) {
        let word = &self.0.data.map;
        let opened = AtomicU64::new(0);
        let ready = AtomicBool::new(false);
        let (answer, returned) = thread::scope(|scope| {
            // A thread maps memory for itself when it starts. The call may hold the lock on the
            // address space until the gate opens, so the keeper must have started before, and
            // then only sleep and store.
            scope.spawn(|| {
                ready.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(SHUT_MS));
                opened.store(now_ns(), Ordering::SeqCst);
                word.write(GATE, 1);
            });
            while !ready.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            (call(), now_ns())
        });
        (answer, Timing { opened: opened.into_inner(), returned })
    }
}

/// Submits a job that waits at the gate and then runs `work`; makes `call` while it waits; opens
/// the gate; and waits for both. What the call answered, and when.
///
/// # Errors
///
/// In words, when the job did not come to its end.
pub fn beside_a_waiting_job<T>(
    session: &Session,
    engine: Engine,
    target: &Target<'_>,
    work: impl FnOnce(&mut Stream),
    call: impl FnOnce() -> T,
) -> std::result::Result<(T, Timing), String> {
    let gate = Gate::shut(session);
    let mut stream = Stream::new();
    gate.wait(engine, &mut stream);
    work(&mut stream);
    let seq = session
        .submit(engine, &stream, &[target.handle])
        .map_err(|e| format!("a job that waits: {e}"))?;
    let answer = gate.open_soon(call);
    match session.wait(engine, seq, PATIENCE_MS) {
        Ok(true) => Ok(answer),
        Ok(false) => Err(format!("the job was not done after {PATIENCE_MS} ms")),
        Err(e) => Err(format!("waiting for the job: {e}")),
    }
}
