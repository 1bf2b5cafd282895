// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Calls beside a job that waits, and so cannot be over by luck.

use amdgpu_client::{
    PAGE,
    engine::Engine,
    mem::UserMem,
    race::{
        SHUT_MS,
        Target,
        beside_a_waiting_job, //
    },
    report::{
        Outcome,
        Tally, //
    },
    session::Session, //
};

const PAGES: usize = 8;
const WRITTEN: u32 = 0xaaaa_aaaa;

/// A call that takes pages away, and what they must hold afterward.
struct Call {
    name: &'static str,
    make: fn(&mut UserMem) -> amdgpu_client::Result<Option<UserMem>>,
    /// The pages that the memory then has are fresh ones; else those that the GPU wrote.
    fresh: bool,
}

const CALLS: [Call; 4] = [
    Call {
        name: "munmap and mmap",
        make: |mem| mem.unmap_and_map(0..PAGES).map(|()| None),
        fresh: true,
    },
    Call { name: "MADV_DONTNEED", make: |mem| mem.discard(0..PAGES).map(|()| None), fresh: true },
    Call { name: "mremap elsewhere", make: |mem| mem.move_away(0..PAGES).map(Some), fresh: true },
    Call {
        name: "mprotect to read-only and back",
        make: |mem| mem.protect_and_back().map(|()| None),
        fresh: false,
    },
];

pub fn checks(session: &Session, engine: Engine, rounds: usize, tally: &mut Tally) {
    for call in &CALLS {
        tally.check(format_args!("gated: {}", call.name), || {
            let mut longest = 0;
            for _ in 0..rounds {
                longest = longest.max(one(session, engine, call)?);
            }
            Ok(format!("waited for the GPU in {rounds} of {rounds}, up to {longest} ms"))
        });
    }
    tally.check("gated: fork", || fork(session, engine, rounds));
}

/// Returns the time of the call beyond the opening of the gate, in milliseconds, plus the time
/// shut.
fn one(session: &Session, engine: Engine, call: &Call) -> Result<u64, String> {
    let say = |what: &'static str| move |e| format!("{what}: {e}");
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    for page in 0..PAGES {
        mem.write_page(page, &[1; PAGE]);
    }
    let target = Target::new(session, &mem).map_err(say("userptr"))?;
    let (answer, timing) = beside_a_waiting_job(
        session,
        engine,
        &target,
        |stream| target.stores(engine, PAGES, WRITTEN, stream),
        || (call.make)(&mut mem),
    )?;
    let away = answer.map_err(say(call.name))?;
    if !timing.waited() {
        return Err(format!(
            "{} came back {} ms before the gate was opened: the GPU wrote pages that were gone",
            call.name,
            (timing.opened - timing.returned) / 1_000_000,
        ));
    }
    // What the GPU wrote is in the old pages, wherever they are now.
    let old = if call.fresh { away.as_ref() } else { Some(&mem) };
    if let Some(old) = old {
        expect_words(old, WRITTEN, "the pages that the job was given")?;
    }
    if call.fresh {
        expect_words(&mem, 0, "the fresh pages")?;
    }
    // And the next job finds the pages that are there now.
    let mut stream = amdgpu_client::ib::Stream::new();
    target.stores(engine, PAGES, !WRITTEN, &mut stream);
    session.run(engine, &stream, &[target.handle])?;
    expect_words(&mem, !WRITTEN, "the pages after the next job")?;
    if let Some(away) = &away {
        expect_words(away, WRITTEN, "the old pages after the next job")?;
    }
    Ok(SHUT_MS + (timing.returned - timing.opened) / 1_000_000)
}

fn expect_words(mem: &UserMem, wanted: u32, what: &str) -> Result<(), String> {
    let mut bytes = [0; PAGE];
    for page in 0..mem.pages() {
        mem.read_page(page, &mut bytes);
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if word != wanted {
            return Err(format!("{what}: page {page} has {word:#x}, not {wanted:#x}"));
        }
    }
    Ok(())
}

/// Exit status of a child that saw what it should.
const CHILD_OK: i32 = 7;

/// fork makes the pages common to two processes. It must wait for the job that writes them; what
/// a later job writes, the parent sees and the child does not.
fn fork(session: &Session, engine: Engine, rounds: usize) -> Outcome {
    const LATER: u32 = 0xbbbb_bbbb;
    for _ in 0..rounds {
        let say = |what: &'static str| move |e| format!("{what}: {e}");
        let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
        for page in 0..PAGES {
            mem.write_page(page, &[1; PAGE]);
        }
        let target = Target::new(session, &mem).map_err(say("userptr"))?;
        let (mut wait, mut tell) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
        let (child, timing) = beside_a_waiting_job(
            session,
            engine,
            &target,
            |stream| target.stores(engine, PAGES, WRITTEN, stream),
            || {
                // SAFETY: the child calls only read, a comparison, and _exit; no lock that another
                // thread may hold is needed for those.
                match unsafe { libc::fork() } {
                    0 => {
                        use std::io::Read;
                        let told = wait.read_exact(&mut [0]).is_ok();
                        let mut bytes = [0; PAGE];
                        let intact = (0..PAGES).all(|page| {
                            mem.read_page(page, &mut bytes);
                            bytes[..4] == WRITTEN.to_le_bytes()
                        });
                        let status = if told && intact { CHILD_OK } else { 1 };
                        // SAFETY: ends the child without the parent's exit handlers.
                        unsafe { libc::_exit(status) }
                    }
                    child => child,
                }
            },
        )?;
        if child < 0 {
            return Err("fork failed".into());
        }
        let mut stream = amdgpu_client::ib::Stream::new();
        target.stores(engine, PAGES, LATER, &mut stream);
        let later = session.run(engine, &stream, &[target.handle]);
        let parent = expect_words(&mem, LATER, "the parent's pages after the later job");
        // Let the child look, whatever was found here.
        std::io::Write::write_all(&mut tell, &[1]).map_err(|e| format!("pipe: {e}"))?;
        let mut status = 0;
        // SAFETY: our child, and a place for its status.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        later?;
        parent?;
        if !timing.waited() {
            return Err("fork came back before the gate was opened".into());
        }
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != CHILD_OK {
            return Err("the child saw what the GPU wrote for its parent after the fork".into());
        }
    }
    Ok(format!("waited for the GPU in {rounds} of {rounds}; the child kept its pages"))
}
