// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory that belongs to a child process, in an open file that both processes have, and jobs
//! that write it when the child goes.

use std::{
    fs::File,
    io::PipeWriter,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    child::{
        self,
        Child, //
    },
    engine::Engine,
    ib::Stream,
    mem::{
        UserMem,
        memory_file, //
    },
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    race::{
        Latch,
        Target,
        wait_at_gate, //
    },
    session::Session, //
};

use crate::{
    held::Held,
    writer::{
        WRITTEN,
        say, //
    }, //
};

/// Pages of the memory.
pub const PAGES: usize = 16;
/// Word that the jobs of the child write.
pub const IN_TIME: u32 = 0x1111_1111;
/// Word that later jobs write.
const LATE: u32 = 0x2222_2222;
const CANARY: u32 = 0xcaca_caca;
/// For how long it is watched that a process stays while a job waits.
const WATCH: Duration = Duration::from_millis(15);

/// The end of the jobs of an owner that goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// They run to their end.
    Ended,
    /// Those that were not begun do not run: the owner was killed.
    TakenBack,
}

/// The child's memory, as others see it.
pub struct Witness {
    pub file: File,
    view: UserMem,
}

impl Witness {
    /// Of a file that the child is to map, in whose pages nothing has been written.
    pub fn new() -> Result<Self, String> {
        Self::of(memory_file(PAGES).map_err(say("a file"))?)
    }

    /// Of a file that another process has mapped.
    pub fn of(file: File) -> Result<Self, String> {
        let view = UserMem::of_file(&file, PAGES).map_err(say("mmap"))?;
        Ok(Self { file, view })
    }

    /// The owner is gone: its jobs must have ended before, and no later one may reach its pages,
    /// neither one that names them nor one that has but their address.
    pub fn judge(
        &self,
        session: &Session,
        engine: Engine,
        owned: Owned,
        fate: Fate,
    ) -> Result<(), String> {
        let written = match fate {
            Fate::TakenBack if self.view.load(0, WRITTEN) == 0 => 0,
            Fate::Ended | Fate::TakenBack => IN_TIME,
        };
        self.all(written, "when the owner was gone")?;
        self.plant();
        owned.is_out_of_reach(session, engine)?;
        self.is_intact()
    }

    /// Plants a canary in every page.
    pub fn plant(&self) {
        (0..PAGES).for_each(|page| self.view.store(page, WRITTEN, CANARY));
    }

    /// Checks that the canaries are as they were planted.
    pub fn is_intact(&self) -> Result<(), String> {
        self.all(CANARY, "that was given up")
    }

    fn all(&self, wanted: u32, when: &str) -> Result<(), String> {
        match (0..PAGES).find(|&page| self.view.load(page, WRITTEN) != wanted) {
            None => Ok(()),
            Some(page) => {
                let word = self.view.load(page, WRITTEN);
                Err(format!("page {page} {when}: {word:#x}, not {wanted:#x}"))
            }
        }
    }
}

/// A userptr BO of another process, as it is known in a file.
#[derive(Clone, Copy, Debug)]
pub struct Owned {
    pub handle: u32,
    pub va: u64,
}

impl Owned {
    /// Makes a userptr BO of `mem` at `va`, and lets jobs write it: one that waits at the gate, or
    /// some that last. The last of them is said, too.
    pub fn make(
        session: &Session,
        engine: Engine,
        mem: &UserMem,
        va: u64,
        manner: Manner,
    ) -> Result<(Self, u64), String> {
        (0..PAGES).for_each(|page| mem.store(page, WRITTEN, 0));
        let (handle, _) = Target::of_any_at(session, mem, va).map_err(say("userptr"))?.leak();
        let owned = Self { handle, va };
        let mut stream = Stream::new();
        let (jobs, sweeps) = match manner {
            Manner::Gated => (1, 1),
            Manner::Lasting => (3, 64),
        };
        if manner == Manner::Gated {
            wait_at_gate(session, engine, &mut stream);
        }
        for _ in 0..sweeps {
            owned.stores(engine, IN_TIME, &mut stream);
        }
        let mut last = 0;
        for _ in 0..jobs {
            last = session.submit(engine, &stream, &[handle]).map_err(say("CS"))?;
        }
        Ok((owned, last))
    }

    fn stores(self, engine: Engine, value: u32, stream: &mut Stream) {
        for page in 0..PAGES {
            stream.store(engine, self.va + u64_of(page * PAGE + WRITTEN), value);
        }
    }

    /// For this process the memory is not there.
    pub fn is_out_of_reach(self, session: &Session, engine: Engine) -> Result<(), String> {
        let mut stream = Stream::new();
        self.stores(engine, LATE, &mut stream);
        match session.submit(engine, &stream, &[self.handle]) {
            Err(Errno(libc::EPERM | libc::ESRCH | libc::EFAULT)) => {}
            other => return Err(format!("a job that names the memory: {other:?}")),
        }
        session.run(engine, &stream, &[])
    }
}

/// Jobs that are under way when the owner goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// One that waits at the gate of the session.
    Gated,
    /// Some that last.
    Lasting,
}

impl Manner {
    /// In turn.
    pub const fn of(round: usize) -> Self {
        if round.is_multiple_of(2) { Self::Gated } else { Self::Lasting }
    }
}

/// A child process that owns memory, and how it is to go.
pub struct Owner {
    pub child: Child,
    pub owned: Owned,
    /// Set if its jobs were under way when it was about to go.
    pub busy: bool,
}

impl Owner {
    /// Starts a child, which makes its memory of `mem`, submits jobs, and then does `end`.
    pub fn new(
        session: &Session,
        engine: Engine,
        manner: Manner,
        mem: impl FnOnce() -> Result<UserMem, String>,
        end: impl FnOnce(UserMem, Owned, &mut PipeWriter) -> Result<(), String>,
    ) -> Result<Self, String> {
        let va = session.reserve_va(u64_of(PAGES * PAGE));
        let mut child = Child::new(|report| {
            let mem = mem()?;
            let (owned, last) = Owned::make(session, engine, &mem, va, manner)?;
            let busy = is_busy(session, engine, last)?;
            child::say(report, &[u64::from(owned.handle), u64::from(busy)])?;
            end(mem, owned, report)
        })?;
        let [handle, busy] = child.hear()?;
        let owned = Owned { handle: u32_of(usize_of(handle)), va };
        Ok(Self { child, owned, busy: busy != 0 })
    }
}

/// Returns true if a job is under way.
pub fn is_busy(session: &Session, engine: Engine, job: u64) -> Result<bool, String> {
    session.wait(engine, job, 0).map(|done| !done).map_err(say("WAIT_CS"))
}

/// Sees owners go: not before the gates are open, if jobs wait there that are not taken back. How
/// many went while their jobs were under way.
pub fn see_them_go(
    owners: &[&Owner],
    gates: Vec<Latch<'_>>,
    manner: Manner,
    fate: Fate,
) -> Result<u64, String> {
    if manner == Manner::Gated && fate == Fate::Ended {
        stay(owners, WATCH)?;
    }
    gates.into_iter().for_each(Latch::open);
    owners.iter().try_for_each(|owner| owner.child.reap().map(|_| ()))?;
    Ok(count_busy(owners))
}

/// Counts those that went, or are to go, while their jobs are under way.
pub fn count_busy(owners: &[&Owner]) -> u64 {
    u64_of(owners.iter().filter(|owner| owner.busy).count())
}

/// Watches that no owner is gone for some time.
pub fn stay(owners: &[&Owner], time: Duration) -> Result<(), String> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for owner in owners {
            if owner.child.is_gone().map_err(say("waitpid"))? {
                return Err("the process was gone while a job waited to write its memory".into());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Anonymous memory of a child, whose pages are put into a pipe that the parent has, too.
pub fn spliced(into: &PipeWriter) -> Result<UserMem, String> {
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    (0..PAGES).for_each(|page| mem.store(page, WRITTEN, 0));
    mem.splice_into(0..PAGES, into).map_err(say("vmsplice"))?;
    Ok(mem)
}

/// The same as [`Witness::judge`] for pages in a pipe.
pub fn judge_held(
    held: &mut Held,
    session: &Session,
    engine: Engine,
    owned: Owned,
) -> Result<(), String> {
    held.given_up()?;
    if !held.were(IN_TIME) {
        return Err("the owner was gone before its jobs had ended".into());
    }
    owned.is_out_of_reach(session, engine)?;
    held.unchanged()
}
