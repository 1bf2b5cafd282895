// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Costs of making, mapping and dropping memory.

use amdgpu_client::{
    PAGE,
    clock::median,
    drm::{
        File,
        deadline_ms, //
    },
    mem::UserMem,
    num::u64_of,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM,
        USERPTR_ANONONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE,
        VA_OP_MAP,
        VA_OP_UNMAP, //
    }, //
};

use crate::{
    Bench,
    Outcome,
    PAGES_PER_MIB,
    say,
    size, //
};

fn open(bench: &Bench) -> Result<File, String> {
    bench.node.open().map_err(|e| format!("open: {e}"))
}

/// A userptr BO: made with its pages gathered, and dropped.
pub fn userptr(bench: &Bench) -> Outcome {
    let file = open(bench)?;
    let flags = USERPTR_ANONONLY | USERPTR_REGISTER | USERPTR_VALIDATE;
    for pages in bench.sizes(&[1, PAGES_PER_MIB, 64 * PAGES_PER_MIB]) {
        let mut mem = UserMem::anonymous(pages).map_err(|e| format!("mmap: {e}"))?;
        (0..pages).for_each(|page| mem.write_byte(page, 1));
        let (mut made, mut dropped) = (Vec::new(), Vec::new());
        for _ in 0..bench.samples.min(31) {
            let bytes = u64_of(mem.len());
            let (cost, handle) = bench.meter.thread(|| file.gem_userptr(mem.addr(), bytes, flags));
            let handle = handle.map_err(|e| format!("GEM_USERPTR: {e}"))?;
            made.push(cost);
            dropped.push(bench.meter.thread(|| file.gem_close(handle)).0);
        }
        say("userptr create and validate", size(pages), median(made));
        say("userptr destroy", size(pages), median(dropped));
    }
    Ok(())
}

/// BOs of the driver's own memory: made and dropped, with whatever clears them.
pub fn bos(bench: &Bench) -> Outcome {
    let file = open(bench)?;
    for (name, domain) in [("VRAM", DOMAIN_VRAM), ("GTT", DOMAIN_GTT)] {
        for pages in bench.sizes(&[1, PAGES_PER_MIB, 16 * PAGES_PER_MIB]) {
            let bytes = u64_of(pages * PAGE);
            let rounds = bench.samples.min(if pages > PAGES_PER_MIB { 7 } else { 51 });
            let round = || file.gem_close(file.gem_create(bytes, domain, 0)?);
            let (cost, outcome) = bench.meter.machine(|| (0..rounds).try_for_each(|_| round()));
            outcome.map_err(|e| format!("{} of {name}: {e}", size(pages)))?;
            say(&format!("bo {name} create and destroy, all"), size(pages), cost / u64_of(rounds));
        }
    }
    Ok(())
}

/// GEM_VA of a BO that is in place.
pub fn va(bench: &Bench) -> Outcome {
    let session = Session::open(&bench.node).map_err(|e| format!("open: {e}"))?;
    for (name, domain) in [("VRAM", DOMAIN_VRAM), ("GTT", DOMAIN_GTT)] {
        for pages in bench.sizes(&[1, 2 * PAGES_PER_MIB, 256 * PAGES_PER_MIB]) {
            let bytes = u64_of(pages * PAGE);
            let bad = |what| move |e| format!("{what} {} of {name}: {e}", size(pages));
            let file = &session.file;
            let handle = file.gem_create(bytes, domain, 0).map_err(bad("create"))?;
            // Ours writes no entries of a buffer that is being cleared.
            if !file.wait_idle(handle, deadline_ms(PATIENCE_MS)).map_err(bad("wait for"))? {
                return Err(format!("{} of {name} are not cleared", size(pages)));
            }
            let va = session.reserve_va(bytes);
            let (mut mapped, mut unmapped) = (Vec::new(), Vec::new());
            // The first mapping makes page tables.
            for _ in 0..bench.samples.min(15) + 1 {
                let map = || file.gem_va(VA_OP_MAP, handle, va, 0, bytes);
                let (cost, outcome) = bench.meter.thread(map);
                outcome.map_err(bad("map"))?;
                mapped.push(cost);
                let unmap = || file.gem_va(VA_OP_UNMAP, handle, va, 0, bytes);
                let (cost, outcome) = bench.meter.thread(unmap);
                outcome.map_err(bad("unmap"))?;
                unmapped.push(cost);
            }
            say(&format!("va {name} map"), size(pages), median(mapped.split_off(1)));
            say(&format!("va {name} unmap"), size(pages), median(unmapped.split_off(1)));
            file.gem_close(handle).map_err(bad("close"))?;
        }
    }
    Ok(())
}

/// The first touch of each page of a mapped BO.
pub fn fault_in(bench: &Bench) -> Outcome {
    let file = open(bench)?;
    for (name, domain) in [("VRAM", DOMAIN_VRAM), ("GTT", DOMAIN_GTT)] {
        for pages in bench.sizes(&[16, PAGES_PER_MIB, 16 * PAGES_PER_MIB]) {
            let bytes = u64_of(pages * PAGE);
            let bad = |e| format!("{} of {name}: {e}", size(pages));
            let handle = file.gem_create(bytes, domain, 0).map_err(bad)?;
            let mut costs = Vec::new();
            for _ in 0..bench.samples.min(7) {
                let map = file.map(handle, bytes).map_err(bad)?;
                let touch = || (0..pages).for_each(|page| map.write(page * PAGE, 1));
                costs.push(bench.meter.thread(touch).0);
            }
            let row = format!("fault-in {name}, a page");
            say(&row, size(pages), median(costs) / u64_of(pages));
            file.gem_close(handle).map_err(bad)?;
        }
    }
    Ok(())
}
