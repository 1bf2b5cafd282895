// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM_VA: map and unmap.

use amdgpu_client::uapi::{
    DOMAIN_VRAM,
    GEM_VA,
    GemVa,
    VA_OP_CLEAR,
    VA_OP_MAP,
    VA_OP_REPLACE,
    VA_OP_UNMAP,
    VM_DELAY_UPDATE,
    VM_PAGE_PRT,
    VM_PAGE_READABLE,
    VM_PAGE_RWX, //
};

use crate::{
    case::{
        Case,
        Failure,
        Setup,
        bad,
        good, //
    },
    rig::{
        NO_HANDLE,
        PAGE64,
        Rig, //
    }, //
};

type Outcome = Result<(), Failure>;

/// Pages of the BO that the cases map.
const PAGES: u64 = 4;

/// The Sea Islands address hole, if there were that many bits: no address in it is ever valid.
const HOLE: u64 = 0x0000_8000_0000_0000;

/// Maps a new BO, changed as the case wants; undoes it.
fn map_with(rig: &Rig, change: impl FnOnce(&mut GemVa<'_>)) -> Outcome {
    let handle = rig.gtt(PAGES)?;
    let mut request = GemVa {
        handle,
        operation: VA_OP_MAP,
        flags: VM_PAGE_RWX,
        va_address: rig.session.reserve_va(PAGES * PAGE64),
        offset_in_bo: 0,
        map_size: PAGES * PAGE64,
        ..Default::default()
    };
    change(&mut request);
    let answer = rig.file().call(GEM_VA, &request);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    Ok(answer?)
}

/// Unmaps from a BO that is mapped, changed as the case wants.
fn unmap_with(rig: &Rig, change: impl FnOnce(&mut GemVa<'_>)) -> Outcome {
    let handle = rig.gtt(PAGES)?;
    let va = rig.session.reserve_va(PAGES * PAGE64);
    rig.file().gem_va(VA_OP_MAP, handle, va, 0, PAGES * PAGE64).setup("map")?;
    let mut request = GemVa {
        handle,
        operation: VA_OP_UNMAP,
        flags: VM_PAGE_RWX,
        va_address: va,
        map_size: PAGES * PAGE64,
        ..Default::default()
    };
    change(&mut request);
    let answer = rig.file().call(GEM_VA, &request);
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    Ok(answer?)
}

/// One call for a range of pages where nothing is resident (PRT), which is of no BO.
fn hole(rig: &Rig, operation: u32, va: u64, pages: u64) -> amdgpu_client::Result {
    hole_with(rig, operation, va, |r| r.map_size = pages * PAGE64)
}

fn hole_with(
    rig: &Rig,
    operation: u32,
    va: u64,
    change: impl FnOnce(&mut GemVa<'_>),
) -> amdgpu_client::Result {
    let mut request = GemVa {
        handle: NO_HANDLE,
        operation,
        flags: VM_PAGE_PRT,
        va_address: va,
        map_size: PAGES * PAGE64,
        ..Default::default()
    };
    change(&mut request);
    rig.file().call(GEM_VA, &request)
}

/// Makes a hole with `change` in the call, and takes it away.
fn hole_made_with(rig: &Rig, change: impl FnOnce(&mut GemVa<'_>)) -> Outcome {
    let va = rig.session.reserve_va(PAGES * PAGE64);
    let answer = hole_with(rig, VA_OP_MAP, va, change);
    let _ = hole(rig, VA_OP_UNMAP, va, PAGES);
    Ok(answer?)
}

/// A hole at an address of its own, for as long as `f` runs.
fn beside_hole(rig: &Rig, f: impl FnOnce(u64) -> Outcome) -> Outcome {
    let va = rig.session.reserve_va(PAGES * PAGE64);
    hole(rig, VA_OP_MAP, va, PAGES).setup("a hole")?;
    let outcome = f(va);
    hole(rig, VA_OP_CLEAR, va, PAGES).setup("CLEAR")?;
    outcome
}

/// Calls for ranges where nothing is resident.
fn holes() -> Vec<Case> {
    vec![
        good("a hole, of no handle", |rig| hole_made_with(rig, |_| ())),
        good("a hole, update later", |rig| hole_made_with(rig, |r| r.flags |= VM_DELAY_UPDATE)),
        good("a hole, at any offset", |rig| hole_made_with(rig, |r| r.offset_in_bo = 1 << 40)),
        good("a hole in place of a hole", |rig| {
            beside_hole(rig, |va| Ok(hole(rig, VA_OP_REPLACE, va + PAGE64, 2)?))
        }),
        good("a BO in the middle of a hole, and a hole again", |rig| {
            let data = rig.session.data.handle;
            beside_hole(rig, |va| {
                let middle = va + PAGE64;
                rig.file().gem_va(VA_OP_REPLACE, data, middle, 0, PAGE64)?;
                hole(rig, VA_OP_UNMAP, va, 0).setup("unmapping the start")?;
                hole(rig, VA_OP_UNMAP, middle + PAGE64, 0).setup("unmapping the end")?;
                hole(rig, VA_OP_REPLACE, middle, 1)?;
                Ok(hole(rig, VA_OP_UNMAP, middle, 0)?)
            })
        }),
        good("CLEAR takes the flag", |rig| {
            beside_hole(rig, |va| Ok(hole(rig, VA_OP_CLEAR, va, PAGES)?))
        }),
        bad("a hole where something is", libc::EINVAL, |rig| {
            let va = rig.session.data.va;
            hole_made_with(rig, |r| (r.va_address, r.map_size) = (va, PAGE64))
        }),
        bad("a hole where a hole is", libc::EINVAL, |rig| {
            beside_hole(rig, |va| Ok(hole(rig, VA_OP_MAP, va + PAGE64, 1)?))
        }),
        bad("a BO where a hole is", libc::EINVAL, |rig| {
            let data = rig.session.data.handle;
            beside_hole(rig, |va| Ok(rig.file().gem_va(VA_OP_MAP, data, va, 0, PAGE64)?))
        }),
        bad("a hole at an address that is no page's", libc::EINVAL, |rig| {
            hole_made_with(rig, |r| r.va_address += 0x10)
        }),
        bad("a hole at an offset that is no page's", libc::EINVAL, |rig| {
            hole_made_with(rig, |r| r.offset_in_bo = 0x800)
        }),
        bad("a hole at an offset that wraps", libc::EINVAL, |rig| {
            hole_made_with(rig, |r| r.offset_in_bo = PAGE64.wrapping_neg())
        }),
        bad("a hole of size 0", libc::EINVAL, |rig| hole_made_with(rig, |r| r.map_size = 0)),
        bad("a hole below the reserved bottom", libc::EINVAL, |rig| {
            hole_made_with(rig, |r| r.va_address = 0xf000)
        }),
        bad("unmap no hole", libc::ENOENT, |rig| {
            let va = rig.session.reserve_va(PAGE64);
            Ok(hole(rig, VA_OP_UNMAP, va, 1)?)
        }),
        bad("unmap a BO as a hole", libc::ENOENT, |rig| {
            Ok(hole(rig, VA_OP_UNMAP, rig.session.data.va, 1)?)
        }),
        bad("unmap a hole as a BO", libc::ENOENT, |rig| {
            let data = rig.session.data.handle;
            beside_hole(rig, |va| Ok(rig.file().gem_va(VA_OP_UNMAP, data, va, 0, PAGE64)?))
        }),
        bad("unmap from the middle of a hole", libc::ENOENT, |rig| {
            beside_hole(rig, |va| Ok(hole(rig, VA_OP_UNMAP, va + PAGE64, 1)?))
        }),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        good("map", |rig| map_with(rig, |_| ())),
        good("map a part", |rig| {
            map_with(rig, |r| (r.offset_in_bo, r.map_size) = (PAGE64, 2 * PAGE64))
        }),
        good("map read-only", |rig| map_with(rig, |r| r.flags = VM_PAGE_READABLE)),
        good("map without rights", |rig| map_with(rig, |r| r.flags = 0)),
        good("map, update later", |rig| map_with(rig, |r| r.flags |= VM_DELAY_UPDATE)),
        good("map twice, at two addresses", |rig| {
            let va = rig.session.reserve_va(PAGE64);
            let data = &rig.session.data;
            rig.file().gem_va(VA_OP_MAP, data.handle, va, 0, PAGE64)?;
            Ok(rig.file().gem_va(VA_OP_UNMAP, data.handle, va, 0, PAGE64)?)
        }),
        good("unmap", |rig| unmap_with(rig, |_| ())),
        good("unmap, with a size and an offset that say nothing", |rig| {
            unmap_with(rig, |r| (r.map_size, r.offset_in_bo) = (PAGE64, 0x123))
        }),
        good("map where something was", |rig| {
            let handle = rig.gtt(1)?;
            let va = rig.session.reserve_va(PAGE64);
            for _ in 0..3 {
                rig.file().gem_va(VA_OP_MAP, handle, va, 0, PAGE64)?;
                rig.file().gem_va(VA_OP_UNMAP, handle, va, 0, PAGE64)?;
            }
            rig.file().gem_close(handle).setup("GEM_CLOSE")
        }),
        bad("below the reserved bottom", libc::EINVAL, |rig| {
            map_with(rig, |r| r.va_address = 0xf000)
        }),
        bad("address 0", libc::EINVAL, |rig| map_with(rig, |r| r.va_address = 0)),
        bad("in the address hole", libc::EINVAL, |rig| map_with(rig, |r| r.va_address = HOLE)),
        bad("behind the last address", libc::EINVAL, |rig| {
            map_with(rig, |r| r.va_address = 1 << 40)
        }),
        bad("a size that wraps", libc::EINVAL, |rig| {
            map_with(rig, |r| r.map_size = PAGE64.wrapping_neg())
        }),
        bad("PRT beside rights", libc::EINVAL, |rig| map_with(rig, |r| r.flags |= VM_PAGE_PRT)),
        bad("operation 0", libc::EINVAL, |rig| map_with(rig, |r| r.operation = 0)),
        bad("operation 5", libc::EINVAL, |rig| map_with(rig, |r| r.operation = 5)),
        bad("update later, and say when", libc::EINVAL, |rig| {
            map_with(rig, |r| {
                r.flags |= VM_DELAY_UPDATE;
                r.vm_timeline_syncobj_out = 1;
            })
        }),
        bad("no such handle", libc::ENOENT, |rig| map_with(rig, |r| r.handle = NO_HANDLE)),
        bad("handle 0", libc::ENOENT, |rig| map_with(rig, |r| r.handle = 0)),
        bad("an address that is no page's", libc::EINVAL, |rig| {
            map_with(rig, |r| r.va_address += 0x10)
        }),
        bad("an offset that is no page's", libc::EINVAL, |rig| {
            map_with(rig, |r| (r.offset_in_bo, r.map_size) = (0x800, PAGE64))
        }),
        bad("a size that is no whole page", libc::EINVAL, |rig| {
            map_with(rig, |r| r.map_size = 0x800)
        }),
        bad("size 0", libc::EINVAL, |rig| map_with(rig, |r| r.map_size = 0)),
        bad("more than the BO", libc::EINVAL, |rig| {
            map_with(rig, |r| r.map_size = (PAGES + 1) * PAGE64)
        }),
        bad("behind the BO's end", libc::EINVAL, |rig| {
            map_with(rig, |r| (r.offset_in_bo, r.map_size) = (PAGES * PAGE64, PAGE64))
        }),
        bad("an offset that wraps", libc::EINVAL, |rig| {
            map_with(rig, |r| r.offset_in_bo = PAGE64.wrapping_neg())
        }),
        bad("where something is", libc::EINVAL, |rig| {
            let va = rig.session.data.va;
            map_with(rig, |r| (r.va_address, r.map_size) = (va, PAGE64))
        }),
        bad("over the end of something", libc::EINVAL, |rig| {
            let va = rig.session.ib.va + rig.session.ib.size - PAGE64;
            map_with(rig, |r| r.va_address = va)
        }),
        bad("unmap what is not mapped", libc::ENOENT, |rig| {
            let va = rig.session.reserve_va(PAGE64);
            unmap_with(rig, |r| r.va_address = va)
        }),
        bad("unmap from the middle", libc::ENOENT, |rig| {
            unmap_with(rig, |r| r.va_address += PAGE64)
        }),
        bad("unmap what another BO has mapped", libc::ENOENT, |rig| {
            let va = rig.session.data.va;
            unmap_with(rig, |r| r.va_address = va)
        }),
        bad("unmap of no such handle", libc::ENOENT, |rig| {
            unmap_with(rig, |r| r.handle = NO_HANDLE)
        }),
        bad("unmap twice", libc::ENOENT, |rig| {
            let handle = rig.file().gem_create(PAGE64, DOMAIN_VRAM, 0).setup("BO")?;
            let va = rig.session.reserve_va(PAGE64);
            rig.file().gem_va(VA_OP_MAP, handle, va, 0, PAGE64).setup("map")?;
            rig.file().gem_va(VA_OP_UNMAP, handle, va, 0, PAGE64).setup("unmap")?;
            let answer = rig.file().gem_va(VA_OP_UNMAP, handle, va, 0, PAGE64);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            Ok(answer?)
        }),
    ];
    cases.extend(holes());
    for bit in [10_u32, 31] {
        cases.push(bad(format!("flag bit {bit}"), libc::EINVAL, move |rig| {
            map_with(rig, |r| r.flags |= 1 << bit)
        }));
    }
    cases
}
