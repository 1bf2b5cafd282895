// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Common parts of the race tests: user memory under a GPU that has been told to wait.
//!
//! A job that waits at a *gate*, a word of memory that the CPU sets, makes a race certain: the
//! driver has bound the pages, the GPU is about to use them, and it stays so for as long as the
//! test wants.

use std::{
    io::{
        PipeWriter,
        Read,
        Write, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    Errno,
    PAGE,
    Result,
    drm::{
        IoMap,
        now_ns, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::{
        hi32,
        lo32,
        u64_of, //
    },
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

/// Place of the gate in the session's page of data, in bytes.
const GATE: usize = 1024;
/// And the time at which it was opened, two words.
const OPENED: usize = 1032;
/// And what a job that has come to the gate has written.
const COME: usize = 1048;
/// Time that a job has to come there.
const AT_THE_GATE: Duration = Duration::from_secs(20);

/// Milliseconds for which a gate stays shut: long against any call that does not wait for it, short
/// against the driver's patience with a job.
pub const SHUT_MS: u64 = 150;

/// A userptr BO that is mapped for the GPU.
pub struct Target<'s> {
    /// The file that it is in.
    pub session: &'s Session,
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
        Self::with_flags(session, mem, USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE)
    }

    /// The same with `AMDGPU_GEM_USERPTR_*` of the caller's choice.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn with_flags(session: &'s Session, mem: &UserMem, flags: u32) -> Result<Self> {
        Self::place(session, mem, flags, session.reserve_va(u64_of(mem.len())))
    }

    /// Covers the whole of `mem`, which may be of any kind; its pages are gathered by the first
    /// job.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn of_any(session: &'s Session, mem: &UserMem) -> Result<Self> {
        Self::with_flags(session, mem, USERPTR_REGISTER)
    }

    /// The same at a GPU address that was reserved.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn of_any_at(session: &'s Session, mem: &UserMem, va: u64) -> Result<Self> {
        Self::place(session, mem, USERPTR_REGISTER, va)
    }

    fn place(session: &'s Session, mem: &UserMem, flags: u32, va: u64) -> Result<Self> {
        let size = u64_of(mem.len());
        let handle = session.file.gem_userptr(mem.addr(), size, flags)?;
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
    /// Returns true if the call came back only after the gate was opened.
    pub const fn waited(self) -> bool {
        self.returned > self.opened
    }
}

/// A word in the session's page of data that lets jobs go on when it is set.
///
/// It is set by a *keeper*, a process of its own: the call that is timed may hold locks on this
/// process's address space until the gate opens (fork even write-protects every stack), and then a
/// thread of this process could not be relied on to run.
pub struct Gate<'s> {
    session: &'s Session,
    keeper: libc::pid_t,
    go: Option<PipeWriter>,
}

impl<'s> Gate<'s> {
    /// A gate that is shut, and its keeper. A session has one. To be made before the job that
    /// waits is submitted.
    ///
    /// # Errors
    ///
    /// In words, when there can be no keeper.
    pub fn shut(session: &'s Session) -> std::result::Result<Self, String> {
        Self::shut_for(session, SHUT_MS)
    }

    /// As [`Gate::shut`], with a keeper who takes `ms` milliseconds to open it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn shut_for(session: &'s Session, ms: u64) -> std::result::Result<Self, String> {
        let map = &session.data.map;
        map.write(GATE, 0);
        let (mut wait, go) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        // SAFETY: the child only reads a pipe, sleeps, stores to shared memory, and ends.
        match unsafe { libc::fork() } {
            0 => {
                drop(go);
                if wait.read_exact(&mut [0]).is_ok() {
                    thread::sleep(Duration::from_millis(ms));
                    let now = now_ns();
                    map.write(OPENED, lo32(now));
                    map.write(OPENED + 4, hi32(now));
                    map.write(GATE, 1);
                }
                // SAFETY: ends the child without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
            keeper if keeper > 0 => Ok(Self { session, keeper, go: Some(go) }),
            _ => Err(format!("a keeper for the gate: fork: {}", Errno::last())),
        }
    }

    /// Appends a wait for the gate.
    pub fn wait(&self, engine: Engine, stream: &mut Stream) {
        wait_at_gate(self.session, engine, stream);
    }

    /// Makes `call`, and meanwhile, after [`SHUT_MS`], lets the keeper open the gate. What the
    /// call answered, and when.
    pub fn open_soon<T>(mut self, call: impl FnOnce() -> T) -> (T, Timing) {
        if let Some(mut go) = self.go.take() {
            // It is waiting at the other end; if it is not, the drop below opens the gate.
            let _ = go.write_all(&[1]);
        }
        let answer = call();
        let returned = now_ns();
        self.reap();
        let map = &self.session.data.map;
        let opened = u64::from(map.read(OPENED)) | u64::from(map.read(OPENED + 4)) << 32;
        (answer, Timing { opened, returned })
    }

    fn reap(&mut self) {
        if self.keeper > 0 {
            // SAFETY: our child, whose status is of no interest.
            unsafe { libc::waitpid(self.keeper, std::ptr::null_mut(), 0) };
            self.keeper = 0;
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // Without a word the keeper goes; whatever happened, no job is left waiting.
        self.go = None;
        self.reap();
        self.session.data.map.write(GATE, 1);
    }
}

/// A gate without a keeper: this process, or one that it is a child of, opens it.
///
/// For where the call that is raced is made by another process.
pub struct Latch<'m>(&'m IoMap);

impl<'m> Latch<'m> {
    /// A gate that is shut, in the page of data of a session. It opens when this is dropped.
    pub fn shut(data: &'m IoMap) -> Self {
        data.write(GATE, 0);
        data.write(COME, 0);
        Self(data)
    }

    /// Waits until a job has come to the gate. One that has not is taken back if its process is
    /// killed.
    ///
    /// # Errors
    ///
    /// In words, if none comes.
    pub fn expect_a_job(&self) -> std::result::Result<(), String> {
        let start = Instant::now();
        while self.0.read(COME) != 1 {
            if start.elapsed() > AT_THE_GATE {
                return Err("no job has come to the gate".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// A gate that another process has shut.
    pub const fn found(data: &'m IoMap) -> Self {
        Self(data)
    }

    /// Lets the jobs go on.
    pub fn open(self) {}

    /// Returns true if somebody has let the jobs go on.
    pub fn is_open(&self) -> bool {
        self.0.read(GATE) == 1
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        self.0.write(GATE, 1);
    }
}

/// Appends a wait for the gate in the page of data of `session`.
pub fn wait_at_gate(session: &Session, engine: Engine, stream: &mut Stream) {
    stream.store(engine, session.data.va + u64_of(COME), 1);
    stream.wait_equal(engine, session.data.va + u64_of(GATE), 1);
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
    beside_a_waiting_job_for(SHUT_MS, session, engine, target, work, call)
}

/// As [`beside_a_waiting_job`], with a gate that opens after `ms` milliseconds.
///
/// # Errors
///
/// As there.
pub fn beside_a_waiting_job_for<T>(
    ms: u64,
    session: &Session,
    engine: Engine,
    target: &Target<'_>,
    work: impl FnOnce(&mut Stream),
    call: impl FnOnce() -> T,
) -> std::result::Result<(T, Timing), String> {
    let gate = Gate::shut_for(session, ms)?;
    let mut stream = Stream::new();
    gate.wait(engine, &mut stream);
    work(&mut stream);
    let seq = session
        .submit_again(engine, &stream, &[target.handle])
        .map_err(|why| format!("a job that waits: {why}"))?;
    let answer = gate.open_soon(call);
    match session.wait(engine, seq, PATIENCE_MS) {
        Ok(true) => Ok(answer),
        Ok(false) => Err(format!("the job was not done after {PATIENCE_MS} ms")),
        Err(e) => Err(format!("waiting for the job: {e}")),
    }
}
