// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Invalidations between submissions, and jobs that reach the memory without naming its buffer.

use amdgpu_client::{
    PAGE,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::{
        Gate,
        Target, //
    },
    session::PATIENCE_MS,
    uapi::{
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

use crate::{
    BEFORE,
    Rig,
    WRITTEN,
    expect,
    say, //
};

const PAGES: usize = 4;

type Check = fn(&Rig<'_>) -> Result<(), String>;

pub const CASES: [(&str, Check); 4] = [
    ("before the buffer has an address", no_address),
    ("while a job runs that does not name the buffer", running),
    ("before a job that does not name the buffer", next),
    ("before a job that names the buffer", named),
];

fn memory() -> Result<UserMem, String> {
    let mut mem = UserMem::anonymous(PAGES).map_err(say("mmap"))?;
    let [byte, ..] = BEFORE.to_le_bytes();
    (0..PAGES).for_each(|page| mem.write_page(page, &[byte; PAGE]));
    Ok(mem)
}

/// The buffer is bound when it is made, and its memory replaced before any page table shows it.
fn no_address(rig: &Rig<'_>) -> Result<(), String> {
    let (file, size) = (&rig.session.file, u64_of(PAGES * PAGE));
    let mut mem = memory()?;
    let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
    let handle = file.gem_userptr(mem.addr(), size, flags).map_err(say("userptr"))?;
    let away = mem.move_away(0..PAGES).map_err(say("mremap"))?;
    let va = rig.session.reserve_va(size);
    file.gem_va(VA_OP_MAP, handle, va, 0, size).map_err(say("GEM_VA"))?;
    let mut stream = Stream::new();
    (0..PAGES).for_each(|page| {
        stream.store(rig.engine, va + u64_of(page * PAGE), WRITTEN);
    });
    rig.session.run(rig.engine, &stream, &[handle])?;
    expect("the old pages", &away, PAGES, BEFORE)?;
    expect("the fresh pages", &mem, PAGES, WRITTEN)?;
    file.gem_va(VA_OP_UNMAP, handle, va, 0, 0).map_err(say("GEM_VA"))?;
    file.gem_close(handle).map_err(say("GEM_CLOSE"))
}

/// The buffer, and a job that named it and is done: so its pages can be reached.
fn reached<'s>(rig: &Rig<'s>, mem: &UserMem) -> Result<Target<'s>, String> {
    let target = Target::new(rig.session, mem).map_err(say("userptr"))?;
    let mut stream = Stream::new();
    target.stores(rig.engine, PAGES, BEFORE, &mut stream);
    rig.session.run(rig.engine, &stream, &[target.handle])?;
    Ok(target)
}

/// The call that takes the pages must wait for the job.
fn running(rig: &Rig<'_>) -> Result<(), String> {
    let mut mem = memory()?;
    // First the gate, whose keeper is forked: that is an invalidation too.
    let gate = Gate::shut(rig.session)?;
    let target = reached(rig, &mem)?;
    let mut stream = Stream::new();
    gate.wait(rig.engine, &mut stream);
    target.stores(rig.engine, PAGES, WRITTEN, &mut stream);
    let seq = rig.session.submit(rig.engine, &stream, &[]).map_err(say("CS"))?;
    let (away, timing) = gate.open_soon(|| mem.move_away(0..PAGES));
    let done = rig.session.wait(rig.engine, seq, PATIENCE_MS).map_err(say("WAIT_CS"))?;
    let away = away.map_err(say("mremap"))?;
    if !done {
        return Err("the job is not done".into());
    }
    if !timing.waited() {
        return Err("mremap came back while the job could still write the pages".into());
    }
    expect("the old pages", &away, PAGES, WRITTEN)?;
    expect("the fresh pages", &mem, PAGES, 0)
}

/// The job must not reach the old pages. What it writes goes nowhere.
fn next(rig: &Rig<'_>) -> Result<(), String> {
    let mut mem = memory()?;
    let target = reached(rig, &mem)?;
    let away = mem.move_away(0..PAGES).map_err(say("mremap"))?;
    let mut stream = Stream::new();
    target.stores(rig.engine, PAGES, WRITTEN, &mut stream);
    rig.session.run(rig.engine, &stream, &[])?;
    expect("the old pages", &away, PAGES, BEFORE)?;
    expect("the fresh pages", &mem, PAGES, 0)?;
    // And the one after it, which does name it, reaches the fresh ones.
    rig.session.run(rig.engine, &stream, &[target.handle])?;
    expect("the old pages", &away, PAGES, BEFORE)?;
    expect("the fresh pages", &mem, PAGES, WRITTEN)
}

/// The job must reach the fresh pages.
fn named(rig: &Rig<'_>) -> Result<(), String> {
    let mut mem = memory()?;
    let target = reached(rig, &mem)?;
    let away = mem.move_away(0..PAGES).map_err(say("mremap"))?;
    let mut stream = Stream::new();
    target.stores(rig.engine, PAGES, WRITTEN, &mut stream);
    rig.session.run(rig.engine, &stream, &[target.handle])?;
    expect("the old pages", &away, PAGES, BEFORE)?;
    expect("the fresh pages", &mem, PAGES, WRITTEN)
}
