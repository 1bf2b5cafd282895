// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM_WAIT_IDLE and WAIT_CS.

use amdgpu_client::{
    drm::{
        deadline_ms,
        now_ns, //
    },
    ib::Stream,
    race::{
        Latch,
        wait_at_gate, //
    },
    uapi::{
        CREATE_VM_ALWAYS_VALID,
        DOMAIN_GTT,
        GEM_WAIT_IDLE,
        HW_IP_DMA,
        HW_IP_GFX,
        HW_IP_NUM,
        HW_IP_UVD,
        WAIT_CS,
        WaitCs,
        WaitIdle, //
    }, //
};

use crate::{
    case::{
        Case,
        Failure,
        Setup,
        bad,
        expect,
        good, //
    },
    rig::{
        ENGINE,
        NO_HANDLE,
        PAGE64,
        Rig, //
    }, //
};

type Outcome = Result<(), Failure>;

/// A timeout that, as a signed number, is negative: without end.
const FOREVER: u64 = u64::MAX;

/// Of 50 ms, in nanoseconds: the kernel counts in ticks, which come late on a busy machine.
const HALF: u64 = 25_000_000;

/// Runs `question` while a job waits at a gate; then lets it go and waits for it.
fn while_busy(rig: &Rig, question: impl FnOnce(u64) -> Outcome) -> Outcome {
    let gate = Latch::shut(&rig.session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(&rig.session, ENGINE, &mut stream);
    let seq = rig.session.submit(ENGINE, &stream, &[]).setup("a job that waits")?;
    let answer = question(seq);
    gate.open();
    rig.finish(ENGINE, seq)?;
    answer
}

fn idle_status(rig: &Rig, handle: u32, flags: u32, timeout: u64) -> Result<u32, Failure> {
    Ok(rig.file().call(GEM_WAIT_IDLE, &WaitIdle { handle, flags, timeout })?.status)
}

pub fn idle() -> Vec<Case> {
    vec![
        good("an idle BO, no time", |rig| {
            let status = idle_status(rig, rig.gtt(1)?, 0, 0)?;
            expect(status == 0, || format!("status {status}"))
        }),
        good("an idle BO, without end", |rig| {
            let status = idle_status(rig, rig.gtt(1)?, 0, FOREVER)?;
            expect(status == 0, || format!("status {status}"))
        }),
        good("flags are ignored", |rig| idle_status(rig, rig.gtt(1)?, u32::MAX, 0).map(|_| ())),
        good("a busy BO, no time", |rig| {
            while_busy(rig, |_| {
                let status = idle_status(rig, rig.session.data.handle, 0, 0)?;
                expect(status == 1, || format!("status {status}"))
            })
        }),
        good("a busy BO, 50 ms", |rig| {
            while_busy(rig, |_| {
                let started = now_ns();
                let status = idle_status(rig, rig.session.data.handle, 0, deadline_ms(50))?;
                let waited = now_ns() - started;
                expect(status == 1 && waited >= HALF, || format!("{status}, after {waited} ns"))
            })
        }),
        good("a BO that a job may use without naming it", |rig| {
            let flags = CREATE_VM_ALWAYS_VALID;
            let handle = rig.file().gem_create(PAGE64, DOMAIN_GTT, flags).setup("GEM_CREATE")?;
            let answer = while_busy(rig, |_| {
                let status = idle_status(rig, handle, 0, 0)?;
                expect(status == 1, || format!("status {status} while the job runs"))
            });
            let status = idle_status(rig, handle, 0, FOREVER)?;
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            answer?;
            expect(status == 0, || format!("status {status} after the job"))
        }),
        bad("no such handle", libc::ENOENT, |rig| idle_status(rig, NO_HANDLE, 0, 0).map(|_| ())),
        bad("handle 0", libc::ENOENT, |rig| idle_status(rig, 0, 0, 0).map(|_| ())),
    ]
}

/// Waits for a job that is done, changed as the case wants.
fn wait_with(rig: &Rig, change: impl FnOnce(&mut WaitCs)) -> Result<u64, Failure> {
    let seq = rig.session.submit(ENGINE, &Stream::new(), &[]).setup("a job")?;
    rig.finish(ENGINE, seq)?;
    let mut request = WaitCs {
        handle: seq,
        timeout: 0,
        ip_type: ENGINE.ip_type(),
        ip_instance: 0,
        ring: ENGINE.ring(),
        ctx_id: rig.session.ctx,
    };
    change(&mut request);
    Ok(rig.file().call(WAIT_CS, &request)?)
}

fn done(rig: &Rig, change: impl FnOnce(&mut WaitCs)) -> Outcome {
    let status = wait_with(rig, change)?;
    expect(status == 0, || format!("status {status}"))
}

fn refused(rig: &Rig, change: impl FnOnce(&mut WaitCs)) -> Outcome {
    wait_with(rig, change).map(|_| ())
}

pub fn cs() -> Vec<Case> {
    let mut cases = vec![
        good("a job that is done", |rig| done(rig, |_| ())),
        good("without end", |rig| done(rig, |r| r.timeout = FOREVER)),
        good("handle 0 stands for nothing", |rig| done(rig, |r| r.handle = 0)),
        good("handle ~0 stands for the last job", |rig| done(rig, |r| r.handle = u64::MAX)),
        good("an old job", |rig| done(rig, |r| r.handle = 1)),
        good("the last job of a ring that had none", |rig| {
            done(rig, |r| {
                r.ring = 1;
                r.handle = 0;
            })
        }),
        good("a busy job, no time", |rig| {
            while_busy(rig, |seq| {
                let done = rig.session.wait(ENGINE, seq, 0)?;
                expect(!done, || "said to be done".into())
            })
        }),
        good("a busy job, 50 ms", |rig| {
            while_busy(rig, |seq| {
                let started = now_ns();
                let done = rig.session.wait(ENGINE, seq, 50)?;
                let waited = now_ns() - started;
                expect(!done && waited >= HALF, || format!("{done}, after {waited} ns"))
            })
        }),
        good("the last job of a busy ring", |rig| {
            while_busy(rig, |_| {
                let done = rig.session.wait(ENGINE, u64::MAX, 0)?;
                expect(!done, || "said to be done".into())
            })
        }),
        bad("a job that is not submitted yet", libc::EINVAL, |rig| refused(rig, |r| r.handle += 1)),
        bad("a job of the far future", libc::EINVAL, |rig| {
            refused(rig, |r| r.handle = u64::MAX - 1)
        }),
        bad("no such context", libc::EINVAL, |rig| refused(rig, |r| r.ctx_id = NO_HANDLE)),
        bad("context 0", libc::EINVAL, |rig| refused(rig, |r| r.ctx_id = 0)),
        bad("a kind of engine that there is not", libc::EINVAL, |rig| {
            refused(rig, |r| (r.ip_type, r.handle) = (HW_IP_UVD, 0))
        }),
        bad("a second instance", libc::EINVAL, |rig| refused(rig, |r| r.ip_instance = 1)),
    ];
    for ip_type in [HW_IP_NUM, u32::MAX] {
        cases.push(bad(format!("kind of engine {ip_type}"), libc::EINVAL, move |rig| {
            refused(rig, |r| r.ip_type = ip_type)
        }));
    }
    for (name, ip_type, ring) in
        [("DMA", HW_IP_DMA, 2), ("DMA", HW_IP_DMA, u32::MAX), ("GFX", HW_IP_GFX, 1)]
    {
        cases.push(bad(format!("{name} ring {ring}"), libc::EINVAL, move |rig| {
            refused(rig, |r| (r.ip_type, r.ring, r.handle) = (ip_type, ring, 0))
        }));
    }
    cases
}
