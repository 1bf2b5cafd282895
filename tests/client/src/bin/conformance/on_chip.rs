// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BOs in the memories on the chip: the global data share (GDS), whose units are bytes, and the
//! counters of global wave sync (GWS) and ordered append (OA). A job reaches what its BO list
//! names. To the kernel a unit is a page.

use amdgpu_client::{
    Errno,
    drm::list_entries,
    engine::Engine,
    ib::Stream,
    num::u32_of,
    pm4::{
        DmaData,
        ShareCopy, //
    },
    uapi::{
        CREATE_VM_ALWAYS_VALID,
        DOMAIN_GDS,
        DOMAIN_GTT,
        DOMAIN_GWS,
        DOMAIN_OA,
        DOMAIN_VRAM,
        GEM_CREATE,
        GEM_MMAP,
        GemCreate,
        Handle,
        ListedHandle,
        VA_OP_MAP, //
    }, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        OK,
        Outcome,
        Setup,
        bad,
        differ,
        expect,
        good,
        stricter, //
    },
    handles,
    rig::{
        PAGE64,
        Rig, //
    }, //
};

/// Each kind with its name, and how much of it there is.
const KINDS: [(&str, u64, u64); 3] =
    [("GDS", DOMAIN_GDS, 0x1_0000), ("GWS", DOMAIN_GWS, 64), ("OA", DOMAIN_OA, 16)];

/// Bytes of the data share that each of these cases looks at, and words.
const BYTES: u32 = 16;
const WORDS: usize = 4;

/// Engines that reach the data share.
const ENGINES: [Engine; 2] = [Engine::Gfx, Engine::Compute(0)];

fn create(rig: &Rig, domains: u64, bo_size: u64, alignment: u64) -> Result<u32, Errno> {
    let request = GemCreate { bo_size, alignment, domains, domain_flags: 0 };
    rig.file().call(GEM_CREATE, &request).map(|answer| answer.handle)
}

/// A part of the data share.
fn part(rig: &Rig, bytes: u64) -> Result<u32, Failure> {
    create(rig, DOMAIN_GDS, bytes, 0).setup("GDS BO")
}

fn close(rig: &Rig, handle: u32) -> Outcome {
    rig.file().gem_close(handle).setup("GEM_CLOSE")
}

/// Creates a BO, has a submission name it, and gives it back.
fn use_one(rig: &Rig, domain: u64, size: u64, alignment: u64) -> Outcome {
    let handle = create(rig, domain, size, alignment)?;
    let used = rig.submit_naming(handle);
    close(rig, handle)?;
    used
}

fn run(rig: &Rig, engine: Engine, stream: &Stream, named: &[u32]) -> Outcome {
    rig.session.run(engine, stream, named).map_err(Failure::Wrong)
}

/// A job that names these BOs copies words to the start of its part.
fn put(rig: &Rig, engine: Engine, named: &[u32], words: [u32; WORDS]) -> Outcome {
    let data = &rig.session.data;
    data.map.copy_in(0, &words);
    let mut stream = Stream::new();
    stream.push(ShareCopy::To(DmaData { src: data.va, dst: 0, bytes: BYTES }));
    run(rig, engine, &stream, named)
}

/// What a job that names these BOs finds from an offset in its part on.
fn get(rig: &Rig, engine: Engine, named: &[u32], offset: u64) -> Result<[u32; WORDS], Failure> {
    let data = &rig.session.data;
    data.map.copy_in(0, &[!0; WORDS]);
    let mut stream = Stream::new();
    stream.push(ShareCopy::From(DmaData { src: offset, dst: data.va, bytes: BYTES }));
    run(rig, engine, &stream, named)?;
    Ok(std::array::from_fn(|n| data.map.read(4 * n)))
}

fn find(found: [u32; WORDS], expected: [u32; WORDS]) -> Outcome {
    expect(found == expected, || format!("found {found:x?}, not {expected:x?}"))
}

/// The words of one case and engine, so that nothing is found that an earlier one has left.
fn words(seed: u32) -> [u32; WORDS] {
    std::array::from_fn(|n| 0x1000_0000 | seed << 8 | u32_of(n))
}

/// The only BO of a file is as large, and as aligned, as it has pages: one for each unit.
fn sized(rig: &Rig, domains: u64, units: u64, alignment: u64) -> Outcome {
    let file = rig.node.open().setup("open")?;
    let request = GemCreate { bo_size: units, alignment, domains, domain_flags: 0 };
    file.call(GEM_CREATE, &request).setup("GEM_CREATE")?;
    let (found, _) = handles::list(&file, 1)?;
    let granule = if domains == DOMAIN_GDS { 4 } else { 1 };
    let pages = |units: u64| units.next_multiple_of(granule) * PAGE64;
    let is = |bo: &ListedHandle| {
        (bo.size, bo.alignment, bo.preferred_domains) == (pages(units), pages(alignment), domains)
    };
    expect(found.iter().all(is), || format!("{found:x?}"))
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (name, domain, all) in KINDS {
        cases.extend([
            good(format!("{name}: one"), move |rig| use_one(rig, domain, 1, 0)),
            good(format!("{name}: all"), move |rig| use_one(rig, domain, all, 0)),
            good(format!("{name}: aligned"), move |rig| use_one(rig, domain, 4, 8)),
            stricter(format!("{name}: one too many"), OK, libc::ENOMEM, move |rig| {
                close(rig, create(rig, domain, all + 1, 0)?)
            }),
            bad(format!("{name}: beside VRAM"), libc::EINVAL, move |rig| {
                close(rig, create(rig, domain | DOMAIN_VRAM, 1, 0)?)
            }),
            bad(format!("{name}: always valid"), libc::EINVAL, move |rig| {
                let domain_flags = CREATE_VM_ALWAYS_VALID;
                let request = GemCreate { bo_size: 1, alignment: 0, domains: domain, domain_flags };
                close(rig, rig.file().call(GEM_CREATE, &request)?.handle)
            }),
            bad(format!("{name}: GEM_MMAP"), libc::EPERM, move |rig| {
                let handle = create(rig, domain, 4, 0).setup("BO")?;
                let answer = rig.file().call(GEM_MMAP, &Handle { handle, pad: 0 });
                close(rig, handle)?;
                Ok(answer.map(|_| ())?)
            }),
            bad(format!("{name}: two that do not fit together"), libc::ENOMEM, move |rig| {
                let a = create(rig, domain, all, 0).setup("the first")?;
                let b = create(rig, domain, 4, 0).setup("the second")?;
                let [ib, data] = rig.handles();
                let used = rig.submit_entries(&list_entries(&[ib, data, a, b]), |_| ());
                close(rig, a)?;
                close(rig, b)?;
                used
            }),
            good(format!("{name}: a unit is a page"), move |rig| sized(rig, domain, 5, 13)),
            good(format!("{name}: mapped"), move |rig| {
                let handle = create(rig, domain, 4, 0).setup("BO")?;
                let va = rig.session.reserve_va(4 * PAGE64);
                rig.file().gem_va(VA_OP_MAP, handle, va, 0, PAGE64)?;
                let used = rig.submit_naming(handle);
                close(rig, handle)?;
                used
            }),
            stricter(format!("{name}: SET_PLACEMENT"), OK, libc::EINVAL, move |rig| {
                let handle = create(rig, domain, 4, 0).setup("BO")?;
                let answer = rig.file().set_placement(handle, DOMAIN_GTT);
                close(rig, handle)?;
                Ok(answer?)
            }),
            stricter(format!("{name}: exported"), OK, libc::EPERM, move |rig| {
                let handle = create(rig, domain, 4, 0).setup("BO")?;
                let answer = rig.file().export(handle);
                close(rig, handle)?;
                Ok(answer.map(|_| ())?)
            }),
            bad(format!("{name}: none"), libc::ENOSPC, move |rig| {
                close(rig, create(rig, domain, 0, 0)?)
            }),
            stricter(
                format!("{name}: 2^52"),
                Expect::Skip("the C driver truncates it"),
                libc::ENOMEM,
                move |rig| close(rig, create(rig, domain, 1 << 52, 0)?),
            ),
        ]);
    }
    cases.extend([
        good("GDS: bytes stay from job to job", |rig| {
            let bo = part(rig, 1024)?;
            for (seed, engine) in (1..).zip(ENGINES) {
                put(rig, engine, &[bo], words(seed))?;
                for reader in ENGINES {
                    find(get(rig, reader, &[bo], 0)?, words(seed))?;
                }
            }
            close(rig, bo)
        }),
        good("GDS: no more than the part", |rig| {
            let bo = part(rig, BYTES.into())?;
            for engine in ENGINES {
                put(rig, engine, &[bo], words(3))?;
                let [.., a, b] = words(3);
                find(get(rig, engine, &[bo], u64::from(BYTES) / 2)?, [a, b, 0, 0])?;
            }
            close(rig, bo)
        }),
        good("GDS: nothing without a name", |rig| {
            let bo = part(rig, 1024)?;
            for engine in ENGINES {
                put(rig, engine, &[bo], words(4))?;
                find(get(rig, engine, &[], 0)?, [0; WORDS])?;
                put(rig, engine, &[], words(5))?;
                find(get(rig, engine, &[bo], 0)?, words(4))?;
            }
            close(rig, bo)
        }),
        good("GDS: two parts", |rig| {
            let [a, b] = [part(rig, 512)?, part(rig, 512)?];
            for engine in ENGINES {
                put(rig, engine, &[a], words(6))?;
                put(rig, engine, &[b], words(7))?;
                find(get(rig, engine, &[a], 0)?, words(6))?;
                find(get(rig, engine, &[b], 0)?, words(7))?;
                // Of two, the last one that the list names.
                find(get(rig, engine, &[b, a], 0)?, words(6))?;
                find(get(rig, engine, &[a, b], 0)?, words(7))?;
            }
            close(rig, a)?;
            close(rig, b)
        }),
        differ(
            "GDS: nothing of those before",
            Expect::Skip("the C driver leaves it there"),
            OK,
            |rig| {
                for engine in ENGINES {
                    let all = part(rig, 0x1_0000)?;
                    put(rig, engine, &[all], words(20))?;
                    close(rig, all)?;
                    let next = Rig::new(rig.node).setup("another file")?;
                    let theirs = part(&next, 0x1_0000)?;
                    find(get(&next, engine, &[theirs], 0)?, [0; WORDS])?;
                }
                Ok(())
            },
        ),
        good("GDS: taken from each other", |rig| {
            let all = [part(rig, 0x1_0000)?, part(rig, 0x1_0000)?, part(rig, 0x8000)?];
            for (turn, seed) in (8..17).enumerate() {
                let (bo, engine) = (all[turn % all.len()], ENGINES[turn % ENGINES.len()]);
                put(rig, engine, &[bo], words(seed))?;
                find(get(rig, engine, &[bo], 0)?, words(seed))?;
            }
            all.into_iter().try_for_each(|bo| close(rig, bo))
        }),
    ]);
    cases
}
