// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processes fork, become other programs, pass their files on, lose threads, and die, while jobs write
//! their memory.

use crate::arena::{Arena, Side};
use crate::beat::Beat;
use crate::give;
use crate::held::Held;
use crate::owner::{Manner, Owned, Owner, PAGES, Witness, judge_held, spliced};
use crate::setting::{NOT_HIT, Setting};
use crate::writer::{STAMP, WRITTEN, say};
use amdgpu_client::child::{self, Child};
use amdgpu_client::drm::{File, now_ns};
use amdgpu_client::engine::Engine;
use amdgpu_client::mem::UserMem;
use amdgpu_client::num::{u32_of, u64_of, usize_of};
use amdgpu_client::race::{Latch, Target};
use amdgpu_client::report::Outcome;
use amdgpu_client::session::Session;
use amdgpu_client::{Errno, PAGE};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// Does something again and again, for as long as a race goes on.
fn again(
    setting: &Setting,
    mut one: impl FnMut(usize) -> Result<(), String>,
) -> Result<usize, String> {
    let end = Instant::now() + setting.time;
    let mut round = 0;
    while Instant::now() < end || round < 2 {
        one(round).map_err(|why| format!("round {round}: {why}"))?;
        round += 1;
    }
    Ok(round)
}

/// fork, and writes of both sides to pages that were common: neither sees the other's.
pub fn fork(setting: &Setting) -> Outcome {
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
    Ok(Arena::race(setting.time, vec![beater, forker])?.to_string())
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

/// What ends an owner.
type End = fn(UserMem, Owned, &mut std::io::PipeWriter) -> Result<(), String>;

/// An owner goes while jobs are to write its memory.
fn owner_goes(setting: &Setting, end: End, after: fn(&Child)) -> Outcome {
    let session = setting.session()?;
    let engine = setting.engine;
    let rounds = again(setting, |round| {
        let manner = Manner::of(round);
        let witness = Witness::new()?;
        let latch = Latch::shut(&session.data.map);
        let mem = || UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"));
        let owner = Owner::new(&session, engine, manner, mem, end)?;
        after(&owner.child);
        owner.see_it_go(latch, manner)?;
        witness.judge(&session, engine, owner.owned)?;
        session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))
    })?;
    Ok(format!("{rounds} owners, {} of them while a job waited at a gate", rounds.div_ceil(2)))
}

/// exit, with the file in another process, which had it from the beginning.
pub fn exit(setting: &Setting) -> Outcome {
    owner_goes(setting, |_, _, _| Ok(()), |_| ())
}

/// SIGKILL.
pub fn kill(setting: &Setting) -> Outcome {
    let wait: End = |_mem, _, _| {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    };
    owner_goes(setting, wait, Child::kill)
}

/// The out-of-memory killer, whose reaper takes memory away and may not wait: it must be told to come
/// again, as long as a job may write that memory.
pub fn reaper(setting: &Setting) -> Outcome {
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
        spliced(&into)
    };
    let wait: End = |_mem, _, _| {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    };
    let owner = Owner::new(&session, engine, Manner::Gated, mem, wait)?;
    std::fs::write("/proc/sysrq-trigger", "f").map_err(|e| format!("sysrq-trigger: {e}"))?;
    owner.stays(STAY)?;
    latch.open();
    owner.child.reap()?;
    let mut held = Held::of(pipe, PAGES);
    judge_held(&mut held, &session, engine, owner.owned)?;
    session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))?;
    match setting.stats().since(before).would_block.0 {
        Some(0) => Err(format!("{NOT_HIT}: the reaper never came")),
        count => Ok(format!("the reaper was sent away {} times", count.unwrap_or(0))),
    }
}

/// The file goes to another process through a socket, and the owner exits.
pub fn passed_on(setting: &Setting) -> Outcome {
    let engine = setting.engine;
    let rounds = again(setting, |round| {
        let manner = Manner::of(round);
        let witness = Witness::new()?;
        let (here, there) = UnixStream::pair().map_err(|e| format!("socketpair: {e}"))?;
        let mut child = Child::new(|report| {
            let session = setting.session()?;
            session.data.map.write(0, 0);
            let mem = UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"))?;
            let va = session.reserve_va(u64_of(PAGES * PAGE));
            // Shut before the job that waits is submitted; the one who gets the file opens it.
            std::mem::forget(Latch::shut(&session.data.map));
            let owned = Owned::make(&session, engine, &mem, va, manner)?;
            send(&there, session.file.fd())?;
            child::say(report, &[owned.handle.into(), va, session.data.handle.into()])?;
            std::mem::forget((session, mem));
            Ok(())
        })?;
        let [handle, va, data] = child.hear()?;
        let small = |n| u32_of(usize_of(n));
        let file = File::from_fd(receive(&here)?);
        let data = file.map(small(data), u64_of(PAGE)).map_err(say("mmap of a BO"))?;
        // Far from what the owner used.
        let session = Session::on(file, 2 * va).map_err(say("a session"))?;
        let owner = Owner { child, owned: Owned { handle: small(handle), va } };
        owner.see_it_go(Latch::found(&data), manner)?;
        witness.judge(&session, engine, owner.owned)
    })?;
    Ok(format!("{rounds} owners, {} of them while a job waited at a gate", rounds.div_ceil(2)))
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
pub fn exec(setting: &Setting) -> Outcome {
    let session = setting.session()?;
    let engine = setting.engine;
    let rounds = again(setting, |round| {
        let manner = Manner::of(round);
        let witness = Witness::new()?;
        let latch = Latch::shut(&session.data.map);
        let (file, kept) = (session.file.fd(), witness.file.as_raw_fd());
        let mem = || UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"));
        let mut owner = Owner::new(&session, engine, manner, mem, |_mem, owned, report| {
            let report = report.as_raw_fd();
            let inherited = [file, kept, report];
            become_another(&inherited, engine, owned)
        })?;
        if manner == Manner::Gated {
            owner.stays(Duration::from_millis(40))?;
        }
        let opened = now_ns();
        latch.open();
        let [began] = owner.child.hear()?;
        let said = owner.child.listen();
        owner.child.reap()?;
        said?;
        if manner == Manner::Gated && began < opened {
            return Err("exec was done while a job waited to write the memory".into());
        }
        session.file.gem_close(owner.owned.handle).map_err(say("GEM_CLOSE"))
    })?;
    Ok(format!("{rounds} times, {} of them while a job waited at a gate", rounds.div_ceil(2)))
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
        witness.judge(&session, engine, owned)
    };
    let said = judge().err().unwrap_or_else(|| child::WELL.into());
    report.write_all(said.as_bytes()).map_err(|e| format!("pipe: {e}"))
}

/// The main thread ends, and the others race as before.
pub fn main_thread_ends(setting: &Setting) -> Outcome {
    let mut child = Child::new(|report| {
        let mut report = report.try_clone().map_err(|e| format!("pipe: {e}"))?;
        let setting = setting.clone();
        thread::spawn(move || {
            // Give the main thread time to go.
            thread::sleep(Duration::from_millis(50));
            let said = match give::munmap(&setting) {
                Ok(seen) => format!("{}{seen}", child::WELL),
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
    let said = child.hear_all();
    child.reap()?;
    let said = said?;
    said.strip_prefix(child::WELL).map(str::to_owned).ok_or(said)
}

/// close of the file while its jobs write, and munmap at the same time.
pub fn close(setting: &Setting) -> Outcome {
    let engine = setting.engine;
    let mut busy = 0;
    let rounds = again(setting, |_| {
        let session = setting.session()?;
        let witness = Witness::new()?;
        let mem = UserMem::of_file(&witness.file, PAGES).map_err(say("mmap"))?;
        let va = session.reserve_va(u64_of(PAGES * PAGE));
        Owned::make(&session, engine, &mem, va, Manner::Lasting)?;
        // The last of three.
        busy += usize::from(!session.wait(engine, 3, 0).map_err(say("WAIT_CS"))?);
        thread::scope(|scope| {
            scope.spawn(|| drop(session));
            drop(mem);
            // At once: the file may still be closing.
            witness.plant();
        });
        thread::sleep(Duration::from_millis(2));
        witness.is_intact()
    })?;
    if busy == 0 {
        return Err(format!("{NOT_HIT} in {rounds} rounds"));
    }
    Ok(format!("{rounds} files closed, {busy} of them while jobs were under way"))
}
