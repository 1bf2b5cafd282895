// SPDX-License-Identifier: GPL-2.0 OR MIT

//! WAIT_FENCES and FENCE_TO_HANDLE.

use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};

use amdgpu_client::{
    Errno,
    Result,
    drm::{
        deadline_ms,
        list_entries,
        list_request,
        now_ns, //
    },
    engine::Engine,
    ib::Stream,
    num::u32_of,
    race::{
        Latch,
        wait_at_gate, //
    },
    session::PATIENCE_MS,
    uapi::{
        Addr,
        FENCE_TO_HANDLE,
        FENCE_TO_SYNC_FILE_FD,
        FENCE_TO_SYNCOBJ,
        FENCE_TO_SYNCOBJ_FD,
        Fence,
        FenceToHandle,
        HW_IP_DMA,
        HW_IP_NUM,
        HW_IP_UVD,
        SYNCOBJ_FD_TO_HANDLE,
        SyncobjHandle,
        WAIT_CS,
        WAIT_FENCES,
        WaitCs,
        WaitFences,
        WaitFencesOut, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Outcome,
        Setup,
        bad,
        expect,
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

/// An engine on which nothing waits when [`ENGINE`] does. (The queues of the two DMA engines share
/// the rings.)
const OTHER: Engine = Engine::Compute(0);

/// Answer of WAIT_FENCES if nothing came in time: no fence is the first.
const NONE: u32 = u32::MAX;

/// Of 50 ms, in nanoseconds: the kernel counts in ticks, which come late on a busy machine.
const HALF: u64 = 25_000_000;

/// WAIT_FENCES: whether for all.
#[derive(Clone, Copy)]
enum For {
    Any = 0,
    All = 1,
}

const BOTH: [(For, &str); 2] = [(For::All, "all"), (For::Any, "any")];

fn fence(rig: &Rig, engine: Engine, seq_no: u64) -> Fence {
    Fence {
        ctx_id: rig.session.ctx,
        ip_type: engine.ip_type(),
        ip_instance: 0,
        ring: engine.ring(),
        seq_no,
    }
}

/// Submits a job from its own place `at` in the command buffer.
fn submit_at(rig: &Rig, ctx: u32, at: usize, stream: &Stream) -> std::result::Result<u64, Failure> {
    let ib = [rig.session.place_ib_at(at, ENGINE, stream)];
    let entries = list_entries(&rig.handles());
    let list = [list_request(&entries)];
    rig.file().cs(ctx, 0, &[handles_chunk(&list), ib_chunk(&ib)]).setup("CS")
}

/// A job that is done.
fn done(rig: &Rig, engine: Engine) -> std::result::Result<Fence, Failure> {
    let seq = rig.session.submit(engine, &Stream::new(), &[]).setup("a job")?;
    rig.finish(engine, seq)?;
    Ok(fence(rig, engine, seq))
}

/// Runs `question` while a job waits at a gate; then lets it go and waits for it.
fn while_busy(rig: &Rig, question: impl FnOnce(Fence, Latch<'_>) -> Outcome) -> Outcome {
    let gate = Latch::shut(&rig.session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&rig.session, ENGINE, &mut stream);
    // Not in the place of the jobs that run beside it.
    let seq = submit_at(rig, rig.session.ctx, 0x1000, &stream)?;
    // The gate opens when the question is through with it.
    let answer = question(fence(rig, ENGINE, seq), gate);
    rig.finish(ENGINE, seq)?;
    answer
}

fn wait(rig: &Rig, what: For, fences: &[Fence], timeout_ns: u64) -> Result<WaitFencesOut> {
    let request = WaitFences {
        fences: Addr::of(fences),
        fence_count: u32_of(fences.len()),
        wait_all: what as u32,
        timeout_ns,
    };
    rig.file().call(WAIT_FENCES, &request)
}

fn says(answer: WaitFencesOut, status: u32, first_signaled: u32) -> Outcome {
    let wanted = WaitFencesOut { status, first_signaled };
    expect(answer == wanted, || format!("{answer:?}, not {wanted:?}"))
}

/// Two jobs that are done, the request changed as the case wants.
fn asked(rig: &Rig, what: For, change: impl FnOnce(&mut WaitFences<'_>)) -> Outcome {
    let fences = [done(rig, ENGINE)?, done(rig, OTHER)?];
    let mut request = WaitFences {
        fences: Addr::of(&fences),
        fence_count: 2,
        wait_all: what as u32,
        timeout_ns: 0,
    };
    change(&mut request);
    says(rig.file().call(WAIT_FENCES, &request)?, 1, 0)
}

/// A job that is done and one that is not as it should be.
fn with_a_bad_one(rig: &Rig, what: For, change: impl FnOnce(&mut Fence)) -> Outcome {
    let good = done(rig, ENGINE)?;
    let mut bad = good;
    change(&mut bad);
    says(wait(rig, what, &[good, bad], 0)?, 1, 0)
}

/// Makes `call` with a signal on its way, whose handler lets no call go on.
fn interrupted<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    const LATER: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
    const NEVER: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = |it_value| {
        let timer = libc::itimerval { it_interval: NEVER, it_value };
        // SAFETY: the kernel reads the structure; it is told to write nothing.
        Errno::of(unsafe {
            libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut())
        })
    };
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: all zeros is a valid action; the handler does nothing at all.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: a handler that does nothing, in place of the default that nobody needs.
    Errno::of(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) })?;
    timer(LATER)?;
    let answer = call();
    timer(NEVER)?;
    answer
}

/// A wait that a signal ends.
fn ended_by_a_signal(rig: &Rig, call: impl FnOnce(&Rig, Fence) -> Result<()>) -> Outcome {
    while_busy(rig, |busy, _gate| Ok(interrupted(|| call(rig, busy))?))
}

pub fn wait_cases() -> Vec<Case> {
    let mut cases = vec![
        good("any of a busy job and one that is done", |rig| {
            while_busy(rig, |busy, _gate| {
                let fences = [busy, done(rig, OTHER)?];
                says(wait(rig, For::Any, &fences, deadline_ms(PATIENCE_MS))?, 1, 1)
            })
        }),
        good("all of a busy job and one that is done, no time", |rig| {
            while_busy(rig, |busy, _gate| {
                says(wait(rig, For::All, &[done(rig, OTHER)?, busy], 0)?, 0, 0)
            })
        }),
        good("any of the first that is done of several", |rig| {
            let fences = [done(rig, OTHER)?, done(rig, ENGINE)?, done(rig, OTHER)?];
            says(wait(rig, For::Any, &fences, 0)?, 1, 0)
        }),
        good("all looks at no fence behind one that is busy", |rig| {
            while_busy(rig, |busy, _gate| {
                let bad = Fence { ctx_id: NO_HANDLE, ..busy };
                says(wait(rig, For::All, &[busy, bad], 0)?, 0, 0)
            })
        }),
        bad("any looks at all fences", libc::EINVAL, |rig| {
            while_busy(rig, |busy, _gate| {
                let bad = Fence { ctx_id: NO_HANDLE, ..busy };
                Ok(wait(rig, For::Any, &[busy, bad], 0).map(|_| ())?)
            })
        }),
        good("any looks at no fence behind one that stands for nothing", |rig| {
            let one = done(rig, ENGINE)?;
            let nothing = Fence { seq_no: 0, ..one };
            let bad = Fence { ctx_id: NO_HANDLE, ..one };
            says(wait(rig, For::Any, &[one, nothing, bad], 0)?, 1, 1)
        }),
        good("any other number than 0 is all", |rig| {
            while_busy(rig, |busy, _gate| {
                let fences = [done(rig, OTHER)?, busy];
                let request = WaitFences {
                    fences: Addr::of(&fences),
                    fence_count: 2,
                    wait_all: 0x8000_0000,
                    timeout_ns: 0,
                };
                says(rig.file().call(WAIT_FENCES, &request)?, 0, 0)
            })
        }),
        bad("WAIT_CS, ended by a signal", libc::EINTR, |rig| {
            ended_by_a_signal(rig, |rig, busy| {
                let request = WaitCs {
                    handle: busy.seq_no,
                    timeout: deadline_ms(PATIENCE_MS),
                    ip_type: busy.ip_type,
                    ip_instance: 0,
                    ring: busy.ring,
                    ctx_id: busy.ctx_id,
                };
                rig.file().call(WAIT_CS, &request).map(|_| ())
            })
        }),
    ];
    for (what, name) in BOTH {
        cases.extend(wait_cases_for(what, name));
    }
    cases
}

fn wait_cases_for(what: For, name: &str) -> Vec<Case> {
    let none = match what {
        For::All => 0,
        For::Any => NONE,
    };
    let mut cases = vec![
        good(format!("{name}: jobs that are done"), move |rig| asked(rig, what, |_| ())),
        good(format!("{name}: a busy job, no time"), move |rig| {
            while_busy(rig, |busy, _gate| says(wait(rig, what, &[busy], 0)?, 0, none))
        }),
        good(format!("{name}: a busy job, 50 ms"), move |rig| {
            while_busy(rig, |busy, _gate| {
                let started = now_ns();
                let answer = wait(rig, what, &[busy, busy], deadline_ms(50))?;
                let waited = now_ns() - started;
                says(answer, 0, none)?;
                expect(waited >= HALF, || format!("came back after {waited} ns"))
            })
        }),
        good(format!("{name}: a job that ends while it is waited for"), move |rig| {
            while_busy(rig, |busy, gate| {
                let mut answer = Ok(WaitFencesOut::default());
                std::thread::scope(|threads| {
                    // Only the gate goes to the other thread, which has it opened a little later.
                    let opener = threads.spawn(move || {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        gate.open();
                    });
                    answer = wait(rig, what, &[busy, busy], u64::MAX);
                    opener.join().is_ok()
                });
                says(answer?, 1, 0)
            })
        }),
        good(format!("{name}: a thousand times one job"), move |rig| {
            let fences = vec![done(rig, ENGINE)?; 1000];
            says(wait(rig, what, &fences, 0)?, 1, 0)
        }),
        good(format!("{name}: a thousand times one busy job, 50 ms"), move |rig| {
            while_busy(rig, |busy, _gate| {
                says(wait(rig, what, &vec![busy; 1000], deadline_ms(50))?, 0, none)
            })
        }),
        good(format!("{name}: number 0 stands for nothing"), move |rig| {
            let nothing = fence(rig, ENGINE, 0);
            says(wait(rig, what, &[nothing], 0)?, 1, 0)
        }),
        good(format!("{name}: number ~0 stands for the last"), move |rig| {
            while_busy(rig, |busy, _gate| {
                let last = Fence { seq_no: u64::MAX, ..busy };
                says(wait(rig, what, &[last], 0)?, 0, none)
            })
        }),
        bad(format!("{name}: ended by a signal"), libc::EINTR, move |rig| {
            ended_by_a_signal(rig, |rig, busy| {
                wait(rig, what, &[busy], deadline_ms(PATIENCE_MS)).map(|_| ())
            })
        }),
        bad(format!("{name}: no fences"), libc::EINVAL, move |rig| {
            asked(rig, what, |r| r.fence_count = 0)
        }),
        bad(format!("{name}: 4 Gi fences"), libc::ENOMEM, move |rig| {
            asked(rig, what, |r| r.fence_count = u32::MAX)
        }),
        bad(format!("{name}: 4 Gi fences of nothing"), libc::ENOMEM, move |rig| {
            asked(rig, what, |r| (r.fence_count, r.fences) = (u32::MAX, Addr::UNMAPPED))
        }),
        bad(format!("{name}: more than fit into 4 MiB"), libc::ENOMEM, move |rig| {
            asked(rig, what, |r| (r.fence_count, r.fences) = ((4 << 20) / 24 + 1, Addr::UNMAPPED))
        }),
        bad(format!("{name}: no fences at an address of nothing"), libc::EINVAL, move |rig| {
            asked(rig, what, |r| (r.fence_count, r.fences) = (0, Addr::UNMAPPED))
        }),
        bad(format!("{name}: fences at an address of nothing"), libc::EFAULT, move |rig| {
            asked(rig, what, |r| r.fences = Addr::UNMAPPED)
        }),
        bad(format!("{name}: fences at address 0"), libc::EFAULT, move |rig| {
            asked(rig, what, |r| r.fences = Addr::NULL)
        }),
        bad(format!("{name}: fences in the kernel"), libc::EFAULT, move |rig| {
            asked(rig, what, |r| r.fences = Addr::KERNEL)
        }),
        bad(format!("{name}: another file's context"), libc::EINVAL, move |rig| {
            let one = done(rig, ENGINE)?;
            let other = rig.node.open().setup("open")?;
            let fences = [one];
            let request =
                WaitFences { fences: Addr::of(&fences), fence_count: 1, ..Default::default() };
            Ok(other.call(WAIT_FENCES, &request).map(|_| ())?)
        }),
    ];
    for (defect, change) in DEFECTS {
        cases.push(bad(format!("{name}: {defect}"), libc::EINVAL, move |rig| {
            with_a_bad_one(rig, what, change)
        }));
    }
    cases
}

/// A name, and the change to a good submission's.
type Defect = (&'static str, fn(&mut Fence));

/// Defects that the name of a submission can have.
const DEFECTS: [Defect; 8] = [
    ("no such context", |f| f.ctx_id = NO_HANDLE),
    ("context 0", |f| f.ctx_id = 0),
    ("a job of the future", |f| f.seq_no += 1),
    ("a job of the far future", |f| f.seq_no = u64::MAX - 1),
    ("a second instance", |f| f.ip_instance = 1),
    ("a third DMA ring", |f| (f.ip_type, f.ring) = (HW_IP_DMA, 2)),
    ("a kind of engine that this card does not run", |f| (f.ip_type, f.seq_no) = (HW_IP_UVD, 0)),
    ("a kind of engine behind the last", |f| f.ip_type = HW_IP_NUM),
];

fn to_handle(rig: &Rig, fence: Fence, what: u32) -> Result<u32> {
    rig.file().call(FENCE_TO_HANDLE, &FenceToHandle { fence, what, pad: 0 })
}

/// As [`to_handle`], for what gives a descriptor.
fn to_fd(rig: &Rig, fence: Fence, what: u32) -> Result<OwnedFd> {
    let fd = RawFd::try_from(to_handle(rig, fence, what)?).map_err(|_| Errno(libc::EBADF))?;
    // SAFETY: the kernel has just made it, and told nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The handle in `file` of a synchronization object that comes as a descriptor.
fn import(file: &amdgpu_client::drm::File, fd: &OwnedFd) -> std::result::Result<u32, Failure> {
    let request = SyncobjHandle { fd: fd.as_raw_fd(), ..Default::default() };
    Ok(file.call(SYNCOBJ_FD_TO_HANDLE, &request).setup("SYNCOBJ_FD_TO_HANDLE")?.handle)
}

/// Returns true if a sync file is signaled within so many milliseconds.
fn signaled(fd: &OwnedFd, ms: libc::c_int) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which the kernel may write.
    let ready = unsafe { libc::poll(&raw mut poll, 1, ms) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

const PATIENCE: libc::c_int = 20_000;

/// A synchronization object is signaled when the job is, and not before.
fn follows(file: &amdgpu_client::drm::File, handle: u32, gate: Latch<'_>) -> Outcome {
    let early = file.syncobj_wait(handle, 0, 50);
    gate.open();
    expect(early == Err(Errno(libc::ETIME)), || format!("before the job was done: {early:?}"))?;
    file.syncobj_wait(handle, 0, PATIENCE_MS).setup("wait for the object")?;
    file.syncobj_destroy(handle).setup("SYNCOBJ_DESTROY")
}

/// With no room for one more descriptor.
fn without_room(rig: &Rig, what: u32) -> Outcome {
    let one = done(rig, ENGINE)?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure that the kernel may write.
    Errno::of(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })
        .setup("getrlimit")?;
    let none = libc::rlimit { rlim_cur: 0, ..limit };
    // SAFETY: a structure that the kernel reads.
    Errno::of(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) })
        .setup("setrlimit")?;
    let answer = to_fd(rig, one, what);
    // SAFETY: as above.
    Errno::of(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
        .setup("setrlimit back")?;
    Ok(answer.map(|_| ())?)
}

pub fn handle_cases() -> Vec<Case> {
    let mut cases = vec![
        good("a synchronization object of a busy job", |rig| {
            while_busy(rig, |busy, gate| {
                follows(rig.file(), to_handle(rig, busy, FENCE_TO_SYNCOBJ)?, gate)
            })
        }),
        good("a descriptor of one, for another file", |rig| {
            while_busy(rig, |busy, gate| {
                let fd = to_fd(rig, busy, FENCE_TO_SYNCOBJ_FD)?;
                let other = rig.node.open().setup("open")?;
                follows(&other, import(&other, &fd)?, gate)
            })
        }),
        good("a sync file of a busy job", |rig| {
            while_busy(rig, |busy, gate| {
                let fd = to_fd(rig, busy, FENCE_TO_SYNC_FILE_FD)?;
                let early = signaled(&fd, 50);
                gate.open();
                expect(!early, || "signaled before the job was done".into())?;
                expect(signaled(&fd, PATIENCE), || "not signaled afterward".into())
            })
        }),
        good("a sync file is closed on exec", |rig| {
            let fd = to_fd(rig, done(rig, ENGINE)?, FENCE_TO_SYNC_FILE_FD)?;
            // SAFETY: asks for flags, of a descriptor of our own.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            expect(flags & libc::FD_CLOEXEC != 0, || format!("flags {flags:#x}"))
        }),
        good("a sync file outlives its context", |rig| {
            let ctx_id = rig.file().ctx_alloc().setup("ALLOC")?;
            let seq_no = submit_at(rig, ctx_id, 0, &Stream::new())?;
            let job = Fence { ctx_id, ..fence(rig, ENGINE, seq_no) };
            let fd = to_fd(rig, job, FENCE_TO_SYNC_FILE_FD)?;
            rig.file().ctx_free(ctx_id).setup("FREE")?;
            expect(signaled(&fd, PATIENCE), || "not signaled".into())
        }),
        good("padding is ignored", |rig| {
            let request =
                FenceToHandle { fence: done(rig, ENGINE)?, what: FENCE_TO_SYNCOBJ, pad: u32::MAX };
            let handle = rig.file().call(FENCE_TO_HANDLE, &request)?;
            rig.file().syncobj_destroy(handle).setup("SYNCOBJ_DESTROY")
        }),
        bad("no room for a synchronization object's descriptor", libc::EMFILE, |rig| {
            without_room(rig, FENCE_TO_SYNCOBJ_FD)
        }),
        bad("no room for a sync file", libc::EMFILE, |rig| {
            without_room(rig, FENCE_TO_SYNC_FILE_FD)
        }),
        bad("another file's context", libc::EINVAL, |rig| {
            let fence = done(rig, ENGINE)?;
            let other = rig.node.open().setup("open")?;
            let request = FenceToHandle { fence, what: FENCE_TO_SYNCOBJ, pad: 0 };
            Ok(other.call(FENCE_TO_HANDLE, &request).map(|_| ())?)
        }),
    ];
    for (name, seq_no) in [("nothing", 0), ("the last job", u64::MAX)] {
        cases.push(good(format!("a synchronization object of {name}"), move |rig| {
            let one = Fence { seq_no, ..done(rig, ENGINE)? };
            let handle = to_handle(rig, one, FENCE_TO_SYNCOBJ)?;
            rig.file().syncobj_wait(handle, 0, 0).setup("wait for the object")?;
            rig.file().syncobj_destroy(handle).setup("SYNCOBJ_DESTROY")
        }));
        cases.push(good(format!("a sync file of {name}"), move |rig| {
            let one = Fence { seq_no, ..done(rig, ENGINE)? };
            let fd = to_fd(rig, one, FENCE_TO_SYNC_FILE_FD)?;
            expect(signaled(&fd, 0), || "not signaled".into())
        }));
    }
    for what in [3, u32::MAX] {
        cases.push(bad(format!("what {what:#x}"), libc::EINVAL, move |rig| {
            Ok(to_handle(rig, done(rig, ENGINE)?, what).map(|_| ())?)
        }));
    }
    for (defect, change) in DEFECTS {
        for what in [FENCE_TO_SYNCOBJ, FENCE_TO_SYNCOBJ_FD, FENCE_TO_SYNC_FILE_FD] {
            cases.push(bad(format!("{defect}, as kind {what}"), libc::EINVAL, move |rig| {
                let mut one = done(rig, ENGINE)?;
                change(&mut one);
                Ok(to_handle(rig, one, what).map(|_| ())?)
            }));
        }
    }
    cases
}
