// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processes fork, become other programs, pass their files on, lose threads, and die, while jobs
//! write their memory.

use std::{
    ffi::CString,
    io::Write,
    os::{
        fd::{
            AsRawFd,
            FromRawFd,
            OwnedFd,
            RawFd, //
        },
        unix::net::UnixStream, //
    },
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
    drm::{
        File,
        IoMap,
        now_ns, //
    },
    engine::Engine,
    mem::{
        Advice,
        UserMem, //
    },
    num::{
        u32_of,
        u64_of,
        usize_of, //
    },
    race::{
        Latch,
        Target, //
    },
    session::Session, //
};

use crate::{
    arena::{
        Arena,
        Side, //
    },
    beat::Beat,
    give,
    held::Held,
    owner::{
        Fate,
        Manner,
        Owned,
        Owner,
        PAGES,
        Witness,
        count_busy,
        is_busy,
        judge_held,
        see_them_go,
        spliced,
        stay, //
    },
    setting::{
        Answer,
        NOT_HIT,
        Seen,
        Setting, //
    },
    writer::{
        STAMP,
        WRITTEN,
        say, //
    }, //
};

/// Owners that go at the same time, each of them in a file of its own: most of a round is the start
/// of processes, and the watch that they stay.
const AT_ONCE: usize = 4;

/// A file for each owner.
fn files(setting: &Setting) -> Result<[Session; AT_ONCE], String> {
    let sessions = (0..AT_ONCE).map(|_| setting.session()).collect::<Result<Vec<_>, _>>()?;
    sessions.try_into().map_err(|_| "too few sessions".into())
}

/// Shuts the gates of all files.
fn shut(sessions: &[Session; AT_ONCE]) -> Vec<Latch<'_>> {
    sessions.iter().map(|session| Latch::shut(&session.data.map)).collect()
}

/// Does something again and again, for as long as a race goes on. It says how often it was done
/// while jobs were under way, of `each` times.
fn again(
    setting: &Setting,
    each: usize,
    mut one: impl FnMut(usize) -> Result<u64, String>,
) -> Answer {
    let end = Instant::now() + setting.time;
    let (mut round, mut hit) = (0, 0);
    while Instant::now() < end || round < 2 {
        hit += one(round).map_err(|why| format!("round {round}: {why}"))?;
        round += 1;
    }
    let times = round * each;
    if hit == 0 {
        return Err(format!("{NOT_HIT}, {times} times"));
    }
    Ok(Seen { hit, said: format!("{times} times, {hit} of them while jobs were under way") })
}

/// fork, and writes of both sides to pages that were common: neither sees the other's.
pub fn fork(setting: &Setting) -> Answer {
    let session = setting.session()?;
    let mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    let mut beat = Beat::new(setting, &session, &target, &mem, (0..PAGES).collect(), 8)?;
    let forker: Side<'_> = Box::new(|arena| {
        while arena.goes_on() {
            // SAFETY: the child only reads and writes memory, and ends: it needs no lock that
            // another thread may hold.
            let child = arena.take(|| match unsafe { libc::fork() } {
                0 => {
                    let status = i32::from(!has_its_own(&mem));
                    // SAFETY: ends the child without the parent's exit handlers.
                    unsafe { libc::_exit(status) }
                }
                child => child,
            });
            Errno::of(child).map_err(say("fork"))?;
            let mut status = 0;
            // SAFETY: our child, and a place for its status.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            if status != 0 {
                return Err(format!("a child saw what was written in its parent ({status:#x})"));
            }
        }
        Ok(())
    });
    let beater: Side<'_> = Box::new(move |arena| {
        while arena.goes_on() {
            beat.one(arena)?;
        }
        Ok(())
    });
    Ok(Arena::race(setting.time, vec![beater, forker])?.seen())
}

/// In the child: what it has stays as it was when it was made, but for what it writes itself.
fn has_its_own(mem: &UserMem) -> bool {
    const MINE: u32 = 0x3333_3333;
    let look = |page| (mem.load(page, WRITTEN), mem.load(page, STAMP));
    // No allocation: another thread may have been at it.
    let mut then: [_; PAGES] = std::array::from_fn(look);
    let mut same = true;
    for n in 0..200 {
        same &= then.iter().enumerate().all(|(page, &words)| look(page) == words);
        if n == 50 {
            for (page, words) in then.iter_mut().enumerate().step_by(2) {
                mem.store(page, WRITTEN, MINE);
                mem.store(page, STAMP, MINE);
                *words = (MINE, MINE);
            }
        }
    }
    same
}

/// Act that ends an owner.
type End = fn(UserMem, Owned, &mut std::io::PipeWriter) -> Result<(), String>;

/// Owners go while jobs are to write their memory.
fn owners_go(setting: &Setting, end: End, after: fn(&Child), fate: Fate) -> Answer {
    let sessions = files(setting)?;
    let engine = setting.engine;
    again(setting, AT_ONCE, |round| {
        let manner = Manner::of(round);
        let gates = shut(&sessions);
        let start = |session: &Session| {
            let witness = Witness::new()?;
            let mem = || UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"));
            let owner = Owner::new(session, engine, manner, mem, end)?;
            after(&owner.child);
            Ok((owner, witness))
        };
        let started = sessions.iter().map(start).collect::<Result<Vec<_>, String>>()?;
        let owners: Vec<_> = started.iter().map(|(owner, _)| owner).collect();
        let hit = see_them_go(&owners, gates, manner, fate)?;
        for (session, (owner, witness)) in sessions.iter().zip(&started) {
            witness.judge(session, engine, owner.owned, fate)?;
            session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))?;
        }
        Ok(hit)
    })
}

/// exit, with the file in another process, which had it from the beginning.
pub fn exit(setting: &Setting) -> Answer {
    owners_go(setting, |_, _, _| Ok(()), |_| (), Fate::Ended)
}

/// SIGKILL.
pub fn kill(setting: &Setting) -> Answer {
    let wait: End = |_mem, _, _| {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    };
    owners_go(setting, wait, Child::kill, Fate::TakenBack)
}

/// The out-of-memory killer, whose reaper takes memory away and may not wait: it must be told to
/// come again, as long as a job may write that memory.
pub fn reaper(setting: &Setting) -> Answer {
    /// The reaper comes two seconds after the killer, and then ten times a second, ten times.
    const STAY: Duration = Duration::from_millis(2500);
    let session = setting.session()?;
    let engine = setting.engine;
    let before = setting.stats();
    let (pipe, into) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let latch = Latch::shut(&session.data.map);
    let mem = || {
        std::fs::write("/proc/self/oom_score_adj", "1000")
            .map_err(|e| format!("oom_score_adj: {e}"))?;
        let mem = spliced(&into)?;
        // Mappings of different advice are different ones, and the reaper asks for each.
        for page in (0..PAGES).step_by(2) {
            mem.advise(page..page + 1, Advice::Small).map_err(say("madvise"))?;
        }
        Ok(mem)
    };
    let wait: End = |_mem, _, _| {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    };
    let owner = Owner::new(&session, engine, Manner::Gated, mem, wait)?;
    latch.expect_a_job()?;
    std::fs::write("/proc/sysrq-trigger", "f").map_err(|e| format!("sysrq-trigger: {e}"))?;
    stay(&[&owner], STAY)?;
    latch.open();
    owner.child.reap()?;
    let mut held = Held::of(pipe, PAGES);
    judge_held(&mut held, &session, engine, owner.owned)?;
    session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))?;
    match setting.stats().since(before).would_block.0 {
        Some(0) => Err(format!("{NOT_HIT}: the reaper never came")),
        count => {
            let hit = count.unwrap_or(1);
            Ok(Seen { hit, said: format!("the reaper was sent away {hit} times") })
        }
    }
}

/// A file that an owner has passed on, and what the one who has it now needs to see the owner go.
struct Legacy {
    owner: Owner,
    witness: Witness,
    /// The gate of the owner's jobs.
    gate: IoMap,
    session: Session,
}

impl Legacy {
    /// An owner that passes its file on and exits.
    fn new(setting: &Setting, manner: Manner) -> Result<Self, String> {
        let engine = setting.engine;
        let witness = Witness::new()?;
        let (here, there) = UnixStream::pair().map_err(|e| format!("socketpair: {e}"))?;
        let mut child = Child::new(|report| {
            let session = setting.session()?;
            session.data.map.write(0, 0);
            let mem = UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"))?;
            let va = session.reserve_va(u64_of(PAGES * PAGE));
            // Shut before the job that waits is submitted; the one who gets the file opens it.
            std::mem::forget(Latch::shut(&session.data.map));
            let (owned, last) = Owned::make(&session, engine, &mem, va, manner)?;
            let busy = is_busy(&session, engine, last)?;
            send(&there, session.file.fd())?;
            let handles = [owned.handle, session.data.handle].map(u64::from);
            child::say(report, &[handles[0], handles[1], va, busy.into()])?;
            std::mem::forget((session, mem));
            Ok(())
        })?;
        let [handle, data, va, busy] = child.hear()?;
        let small = |n| u32_of(usize_of(n));
        let file = File::from_fd(receive(&here)?);
        let gate = file.map(small(data), u64_of(PAGE)).map_err(say("mmap of a BO"))?;
        // Far from what the owner used.
        let session = Session::on(file, 2 * va).map_err(say("a session"))?;
        let owned = Owned { handle: small(handle), va };
        Ok(Self { owner: Owner { child, owned, busy: busy != 0 }, witness, gate, session })
    }
}

/// The file goes to another process through a socket, and the owner exits.
pub fn passed_on(setting: &Setting) -> Answer {
    again(setting, AT_ONCE, |round| {
        let manner = Manner::of(round);
        let legacies =
            (0..AT_ONCE).map(|_| Legacy::new(setting, manner)).collect::<Result<Vec<_>, _>>()?;
        let owners: Vec<_> = legacies.iter().map(|legacy| &legacy.owner).collect();
        let gates = legacies.iter().map(|legacy| Latch::found(&legacy.gate)).collect();
        let hit = see_them_go(&owners, gates, manner, Fate::Ended)?;
        for Legacy { owner, witness, session, .. } in &legacies {
            witness.judge(session, setting.engine, owner.owned, Fate::Ended)?;
        }
        Ok(hit)
    })
}

/// A control message with room for one descriptor.
#[repr(C)]
struct Passing {
    head: libc::cmsghdr,
    fd: RawFd,
    _pad: u32,
}

fn message(byte: &mut libc::iovec, passing: &mut Passing) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is one that says nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(passing).cast();
    message.msg_controllen = size_of::<Passing>();
    message
}

fn passing(fd: RawFd) -> Passing {
    // SAFETY: a cmsghdr is made of integers.
    let mut head: libc::cmsghdr = unsafe { std::mem::zeroed() };
    head.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<RawFd>();
    head.cmsg_level = libc::SOL_SOCKET;
    head.cmsg_type = libc::SCM_RIGHTS;
    Passing { head, fd, _pad: 0 }
}

fn send(to: &UnixStream, fd: RawFd) -> Result<(), String> {
    let mut byte = [1_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut passing = passing(fd);
    let message = message(&mut part, &mut passing);
    // SAFETY: the message and what it refers to live until the call is back.
    let sent = unsafe { libc::sendmsg(to.as_raw_fd(), &raw const message, 0) };
    if sent == 1 { Ok(()) } else { Err(format!("sendmsg: {}", Errno::last())) }
}

fn receive(from: &UnixStream) -> Result<OwnedFd, String> {
    let mut byte = [0_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut passing = passing(-1);
    let mut message = message(&mut part, &mut passing);
    // SAFETY: the message and what it refers to live until the call is back.
    let got = unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if got != 1 || passing.fd < 0 {
        return Err(format!("recvmsg: {got}, {}", Errno::last()));
    }
    // SAFETY: the kernel just made the descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(passing.fd) })
}

/// exec with the file kept: the new program has none of the memory.
pub fn exec(setting: &Setting) -> Answer {
    /// Time for which no new program may be seen to begin while a job waits.
    const WATCH: Duration = Duration::from_millis(40);
    let sessions = files(setting)?;
    let engine = setting.engine;
    again(setting, AT_ONCE, |round| {
        let manner = Manner::of(round);
        let gates = shut(&sessions);
        let start = |session: &Session| {
            let witness = Witness::new()?;
            let (file, kept) = (session.file.fd(), witness.file.as_raw_fd());
            let mem = || UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"));
            Owner::new(session, engine, manner, mem, |_mem, owned, report| {
                become_another(&[file, kept, report.as_raw_fd()], engine, owned)
            })
        };
        let mut started = sessions.iter().map(start).collect::<Result<Vec<_>, String>>()?;
        let owners: Vec<_> = started.iter().collect();
        let hit = count_busy(&owners);
        if manner == Manner::Gated {
            stay(&owners, WATCH)?;
        }
        let opened = now_ns();
        gates.into_iter().for_each(Latch::open);
        for (session, owner) in sessions.iter().zip(&mut started) {
            let [began] = owner.child.hear()?;
            let said = owner.child.listen();
            owner.child.reap()?;
            said?;
            if manner == Manner::Gated && began < opened {
                return Err("exec was done while a job waited to write the memory".into());
            }
            session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))?;
        }
        Ok(hit)
    })
}

/// Runs this program anew, with some files, and what [`after_exec`] needs.
fn become_another(inherited: &[RawFd; 3], engine: Engine, owned: Owned) -> Result<(), String> {
    for &fd in inherited {
        // SAFETY: changes a flag of a descriptor of this process.
        Errno::of(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map_err(say("fcntl"))?;
    }
    let [file, kept, report] = inherited;
    let what = format!("{file},{kept},{report},{},{}", owned.handle, owned.va);
    let words = ["race-mm", "--after-exec", &what, "--engine", &engine.to_string()]
        .map(|word| CString::new(word).unwrap_or_default());
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: strings that end in zero, and an array of them that ends in null. It only comes back
    // if it fails.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    Err(format!("exec: {}", Errno::last()))
}

/// The program that comes after [`exec`]: says when it began, and what is wrong.
pub fn after_exec(what: &str, engine: Engine) -> Result<(), String> {
    let began = now_ns();
    let numbers: Vec<u64> = what.split(',').filter_map(|n| n.parse().ok()).collect();
    let &[file, kept, report, handle, va] = numbers.as_slice() else {
        return Err(format!("not five numbers: {what}"));
    };
    let fd = |n: u64| {
        let fd = RawFd::try_from(n).map_err(|e| format!("{n}: {e}"))?;
        // SAFETY: who started this program left it these descriptors, for nobody else.
        Ok::<_, String>(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    let mut report = std::io::PipeWriter::from(fd(report)?);
    child::say(&mut report, &[began])?;
    let judge = || {
        let session = Session::on(File::from_fd(fd(file)?), 2 * va).map_err(say("a session"))?;
        let witness = Witness::of(fd(kept)?.into())?;
        let owned = Owned { handle: u32_of(usize_of(handle)), va };
        witness.judge(&session, engine, owned, Fate::Ended)
    };
    let said = judge().err().unwrap_or_else(|| child::WELL.into());
    report.write_all(said.as_bytes()).map_err(|e| format!("pipe: {e}"))
}

/// The main thread ends, and the others race as before.
pub fn main_thread_ends(setting: &Setting) -> Answer {
    let mut child = Child::new(|report| {
        let mut report = report.try_clone().map_err(|e| format!("pipe: {e}"))?;
        let setting = setting.clone();
        thread::spawn(move || {
            // Give the main thread time to go.
            thread::sleep(Duration::from_millis(50));
            let said = match give::munmap(&setting) {
                Ok(Seen { hit, said }) => format!("{} {hit} {said}", child::WELL),
                Err(wrong) => wrong,
            };
            let _ = report.write_all(said.as_bytes());
            // SAFETY: ends the whole child.
            unsafe { libc::_exit(0) }
        });
        // SAFETY: ends this thread alone. Nothing on its stack is used by the other.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!("the thread has ended")
    })?;
    let answer = child.hear_all();
    child.reap()?;
    let answer = answer?;
    match *answer.splitn(3, ' ').collect::<Vec<_>>() {
        [child::WELL, hit, said] => {
            let hit = hit.parse().map_err(|e| format!("{hit}: {e}"))?;
            Ok(Seen { hit, said: said.to_owned() })
        }
        _ => Err(answer),
    }
}

/// close of the file while its jobs write, and munmap at the same time.
pub fn close(setting: &Setting) -> Answer {
    let engine = setting.engine;
    again(setting, 1, |_| {
        let session = setting.session()?;
        let witness = Witness::new()?;
        let mem = UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"))?;
        let va = session.reserve_va(u64_of(PAGES * PAGE));
        let (_, last) = Owned::make(&session, engine, &mem, va, Manner::Lasting)?;
        let busy = is_busy(&session, engine, last)?;
        thread::scope(|scope| {
            scope.spawn(|| drop(session));
            drop(mem);
            // At once: the file may still be closing.
            witness.plant();
        });
        thread::sleep(Duration::from_millis(2));
        witness.is_intact().map(|()| u64::from(busy))
    })
}
