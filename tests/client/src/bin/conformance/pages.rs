// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The pages of userptr BOs are gathered for a submission no more often than is needed, and so that
//! whoever waits for them can be disturbed.

use std::{
    sync::{
        Barrier,
        mpsc::{
            self,
            Sender, //
        }, //
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
    child::Child,
    drm::list_entries,
    engine::Engine,
    ib::Stream,
    mem::{
        Advice,
        UserMem, //
    },
    num::u64_of,
    race::{
        Latch,
        wait_at_gate, //
    },
    session::Session,
    stats::Stats,
    uapi::{
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_MAP, //
    },
    userfault::Userfault, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        Outcome,
        Setup,
        bad,
        differ,
        expect,
        good, //
    },
    rig::{
        ENGINE,
        Rig, //
    }, //
};

/// Enough that to gather it from the start again for every 512 pages would be seen.
const MANY: usize = 8 * 512;

/// The engine of a job that is held up.
const HELD: Engine = Engine::Dma(1);

/// A userptr BO, mapped for the GPU, of which nothing was gathered yet.
fn user_memory(rig: &Rig, mem: &UserMem) -> Result<u32, Failure> {
    let size = u64_of(mem.len());
    let handle = rig.file().gem_userptr(mem.addr(), size, USERPTR_REGISTER).setup("userptr")?;
    let va = rig.session.reserve_va(size);
    rig.file().gem_va(VA_OP_MAP, handle, va, 0, size).setup("GEM_VA")?;
    Ok(handle)
}

/// Returns the increase of a counter of the driver by `call`; the C driver has none.
fn counted(rig: &Rig, name: &str, call: impl FnOnce() -> Outcome) -> Result<Option<u64>, Failure> {
    let before = Stats::count(&rig.node.slot, name);
    call()?;
    Ok(Stats::count(&rig.node.slot, name).since(before).0)
}

/// `call` gathers `pages` pages.
fn gathers(rig: &Rig, pages: usize, call: impl FnOnce() -> Outcome) -> Outcome {
    match counted(rig, "pages_gathered", call)? {
        Some(gathered) if gathered != u64_of(pages) => {
            Err(Failure::Wrong(format!("{gathered} pages were gathered, not {pages}")))
        }
        _ => Ok(()),
    }
}

/// A child process that shares all memory and does nothing.
fn sharer() -> Result<Child, Failure> {
    let child = Child::new(|_| {
        // SAFETY: waits for the signal that ends it.
        unsafe { libc::pause() };
        Ok(())
    });
    child.map_err(Failure::Wrong)
}

fn named_often(rig: &Rig) -> Outcome {
    const TIMES: usize = 200;

    let mem = rig.memory(64)?;
    let handle = user_memory(rig, &mem)?;
    let [ib, data] = rig.handles();
    let mut handles = vec![handle; TIMES];
    handles.extend([ib, data]);
    let answer = gathers(rig, mem.pages(), || rig.submit_entries(&list_entries(&handles), |_| ()));
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    answer
}

/// The first submission of memory of which a child has a copy as long as nobody writes: each page
/// is copied as it is gathered.
fn copied_on_write(rig: &Rig) -> Outcome {
    let mem = rig.memory(MANY)?;
    mem.advise(0..MANY, Advice::Small).setup("madvise")?;
    let handle = user_memory(rig, &mem)?;
    let child = sharer()?;
    let answer = gathers(rig, MANY, || rig.submit_naming(handle));
    child.kill();
    child.reap().map_err(Failure::Wrong)?;
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    answer
}

/// Submits when all are there, and tells that the call is over.
fn submit_at(
    barrier: &Barrier,
    session: &Session,
    (engine, stream): (Engine, &Stream),
    handle: u32,
    over: Sender<()>,
) -> Result<u64, Errno> {
    barrier.wait();
    let seq = session.submit(engine, stream, &[handle]);
    // Nobody listens any more where the calls took too long.
    let _ = over.send(());
    seq
}

/// Two threads submit one list right after its memory was replaced: the second must not bind again
/// what the first has bound, as that waits for the first one's job.
fn gathered_by_two(rig: &Rig) -> Outcome {
    const ROUNDS: usize = 20;
    // For a call that waits for the held job; below the time after which that job counts as hung.
    const PATIENCE: Duration = Duration::from_secs(6);

    let mem = rig.memory(MANY)?;
    let handle = user_memory(rig, &mem)?;
    let mut other = rig.session.another().setup("a session")?;
    let mut waited = 0;
    for _ in 0..ROUNDS {
        mem.advise(0..MANY, Advice::Discard).setup("madvise")?;
        mem.advise(0..MANY, Advice::Populate).setup("madvise")?;
        let gate = Latch::shut(&rig.session.data.map);
        let mut stream = Stream::new();
        wait_at_gate(&rig.session, HELD, &mut stream);
        let barrier = Barrier::new(2);
        let (over, calls) = mpsc::channel();
        let (held, free, in_time) = thread::scope(|scope| {
            let (other, barrier, over_too) = (&mut other, &barrier, over.clone());
            let free = scope.spawn(move || {
                submit_at(barrier, other, (ENGINE, &Stream::new()), handle, over_too)
            });
            let opener = scope.spawn(move || {
                let until = Instant::now() + PATIENCE;
                let in_time = (0..2).all(|_| {
                    calls.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
                });
                gate.open();
                in_time
            });
            let held = submit_at(barrier, &rig.session, (HELD, &stream), handle, over);
            let lost = |_| Failure::Wrong("a thread panicked".into());
            let in_time = opener.join().map_err(lost)?;
            Ok::<_, Failure>((held, free.join().map_err(lost)?, in_time))
        })?;
        rig.finish(HELD, held?)?;
        let done = other.wait(ENGINE, free?, 20_000).setup("WAIT_CS")?;
        expect(done, || "the second job is not done".into())?;
        waited += usize::from(!in_time);
    }
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    expect(waited == 0, || format!("in {waited} of {ROUNDS} rounds one waited for the other's job"))
}

/// Submits a list again and again until a time; how often that went well, and the longest call.
fn submit_until(
    session: &Session,
    handle: u32,
    until: Instant,
) -> Result<(usize, Duration), Errno> {
    let (mut done, mut longest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let started = Instant::now();
        match session.submit(ENGINE, &Stream::new(), &[handle]) {
            Ok(seq) => done += usize::from(session.wait(ENGINE, seq, 20_000)?),
            Err(Errno(libc::EDEADLK)) => {}
            Err(e) => return Err(e),
        }
        longest = longest.max(started.elapsed());
    }
    Ok((done, longest))
}

/// Two threads submit memory that a third replaces all the time. Whoever loses is told so before
/// long.
fn replaced_all_the_time(rig: &Rig) -> Outcome {
    const FOR: Duration = Duration::from_secs(3);
    const LONGEST: Duration = Duration::from_secs(8);

    let mem = rig.memory(64)?;
    let handle = user_memory(rig, &mem)?;
    let mut other = rig.session.another().setup("a session")?;
    let until = Instant::now() + FOR;
    let (one, two) = thread::scope(|scope| {
        let other = &mut other;
        let two = scope.spawn(move || submit_until(other, handle, until));
        let mem = &mem;
        scope.spawn(move || {
            while Instant::now() < until {
                // Of memory of this test, which nobody looks at.
                let _ = mem.advise(0..32, Advice::Discard);
                let _ = mem.advise(0..32, Advice::Populate);
            }
        });
        let one = submit_until(&rig.session, handle, until);
        let lost = |_| Failure::Wrong("a thread panicked".into());
        Ok::<_, Failure>((one, two.join().map_err(lost)?))
    })?;
    let (one, two) = (one?, two?);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    expect(one.1.max(two.1) < LONGEST, || format!("a call took {:?}", one.1.max(two.1)))?;
    // The C driver sends the caller round again each time.
    expect(one.0 + two.0 > 0, || "none came through".into())
}

/// Memory of which every page is held back.
pub struct Held {
    /// The memory.
    pub mem: UserMem,
    _userfault: Userfault,
}

impl Held {
    const PAGES: usize = 4;

    /// Makes the memory.
    pub fn new() -> Result<Self, Errno> {
        let mem = UserMem::anonymous(Self::PAGES)?;
        let userfault = Userfault::new()?;
        userfault.hold(&mem)?;
        Ok(Self { mem, _userfault: userfault })
    }
}

/// A signal with a handler, after a while and then again and again.
fn signals() -> Result<(), Errno> {
    const EVERY: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 200_000 };

    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: a structure of integers and a function pointer, for which zeros are valid: no flags,
    // so that calls are not begun again.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    let timer = libc::itimerval { it_interval: EVERY, it_value: EVERY };
    // SAFETY: the handler does nothing.
    unsafe {
        Errno::of(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()))?;
        Errno::of(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()))
    }
}

/// Submits memory that is held back, with a session of its own, in a process of its own.
fn submit_held(rig: &Rig, disturb: impl FnOnce() -> Result<(), Errno>) -> Result<(), String> {
    let say = |e: Errno| e.to_string();
    let session = Session::open(rig.node).map_err(say)?;
    let held = Held::new().map_err(say)?;
    let size = u64_of(Held::PAGES * PAGE);
    let handle = session.file.gem_userptr(held.mem.addr(), size, USERPTR_REGISTER).map_err(say)?;
    disturb().map_err(say)?;
    match session.submit(ENGINE, &Stream::new(), &[handle]) {
        Err(Errno(libc::EINTR)) => Ok(()),
        Err(e) => Err(format!("CS: {e}, not EINTR")),
        Ok(_) => Err("CS was accepted".into()),
    }
}

/// Waits until a child is gone, for some seconds.
pub fn is_soon_gone(child: &Child) -> Result<bool, Failure> {
    const PATIENCE: Duration = Duration::from_secs(10);

    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if child.is_gone().setup("waitpid")? {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

fn held_back_and_disturbed(rig: &Rig) -> Outcome {
    let mut child = Child::new(|_| submit_held(rig, signals)).map_err(Failure::Wrong)?;
    if !is_soon_gone(&child)? {
        child.kill();
        child.reap().map_err(Failure::Wrong)?;
        return Err(Failure::Wrong("signals did not end the call".into()));
    }
    child.listen().map_err(Failure::Wrong)
}

fn held_back_and_killed(rig: &Rig) -> Outcome {
    let child = Child::new(|_| submit_held(rig, || Ok(()))).map_err(Failure::Wrong)?;
    thread::sleep(Duration::from_millis(500));
    child.kill();
    let gone = is_soon_gone(&child)?;
    expect(gone, || "SIGKILL did not end the call".into())
}

pub fn cases() -> Vec<Case> {
    vec![
        good("a list that names a BO 200 times gathers it once", named_often),
        differ(
            "memory that is copied as it is gathered is gathered once",
            Expect::Skip("it does not count"),
            Expect::Success,
            copied_on_write,
        ),
        good("what one submission has bound another does not bind again", gathered_by_two),
        differ(
            "two that submit what a third replaces are told before long",
            Expect::Skip("it sends its callers round with EAGAIN"),
            Expect::Success,
            replaced_all_the_time,
        ),
        differ(
            "a signal ends a call that waits for a page",
            Expect::Skip("it answers EAGAIN, in places"),
            Expect::Success,
            held_back_and_disturbed,
        ),
        good("SIGKILL ends a call that waits for a page", held_back_and_killed),
        bad("memory that the process cannot read", libc::EFAULT, |rig| {
            let mem = rig.memory(2)?;
            // SAFETY: memory of this test, which nobody looks at any more.
            Errno::of(unsafe {
                libc::mprotect(mem.addr() as *mut libc::c_void, mem.len(), libc::PROT_NONE)
            })
            .setup("mprotect")?;
            let flags = USERPTR_REGISTER | USERPTR_VALIDATE;
            rig.file().gem_userptr(mem.addr(), u64_of(mem.len()), flags)?;
            Ok(())
        }),
    ]
}
