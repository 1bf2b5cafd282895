// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM_CREATE, GEM_MMAP with mmap(2), and GEM_USERPTR.

use std::fs::File;

use amdgpu_client::{
    PAGE,
    drm::{
        IoMap,
        MapKind, //
    },
    mem::{
        Access,
        Advice,
        UserMem,
        secret_file, //
    },
    num::usize_of,
    uapi::{
        CREATE_ENCRYPTED,
        CREATE_NO_CPU_ACCESS,
        CREATE_VM_ALWAYS_VALID,
        DOMAIN_CPU,
        DOMAIN_GDS,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        GEM_CREATE,
        GEM_METADATA,
        GEM_MMAP,
        GemCreate,
        GemMetadata,
        Handle,
        METADATA_OP_GET,
        METADATA_OP_SET,
        USERPTR_ANONONLY,
        USERPTR_READONLY,
        USERPTR_REGISTER,
        USERPTR_VALIDATE, //
    }, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        OK,
        Setup,
        bad,
        expect,
        good,
        stricter, //
    },
    rig::{
        NO_HANDLE,
        PAGE64,
        Rig, //
    }, //
};

type Outcome = Result<(), Failure>;

/// Creates one page of GTT, changed as the case wants; gives it back.
fn create_with(rig: &Rig, change: impl FnOnce(&mut GemCreate)) -> Outcome {
    let mut request =
        GemCreate { bo_size: PAGE64, alignment: 0, domains: DOMAIN_GTT, domain_flags: 0 };
    change(&mut request);
    let handle = rig.file().call(GEM_CREATE, &request)?.handle;
    expect(handle != 0, || "accepted, with handle 0".into())?;
    rig.file().gem_close(handle).setup("GEM_CLOSE")
}

pub fn create() -> Vec<Case> {
    let mut cases = vec![
        good("a page of GTT", |rig| create_with(rig, |_| ())),
        good("a page of VRAM", |rig| create_with(rig, |r| r.domains = DOMAIN_VRAM)),
        good("VRAM or GTT", |rig| create_with(rig, |r| r.domains = DOMAIN_VRAM | DOMAIN_GTT)),
        good("no domain", |rig| create_with(rig, |r| r.domains = 0)),
        good("CPU domain", |rig| create_with(rig, |r| r.domains = DOMAIN_CPU)),
        good("a size that is no whole page", |rig| create_with(rig, |r| r.bo_size = 1)),
        good("always valid", |rig| create_with(rig, |r| r.domain_flags = CREATE_VM_ALWAYS_VALID)),
        good("64 KiB alignment", |rig| create_with(rig, |r| r.alignment = 0x1_0000)),
        bad("GDS beside GTT", libc::EINVAL, |rig| {
            create_with(rig, |r| r.domains = DOMAIN_GDS | DOMAIN_GTT)
        }),
        bad("two special domains", libc::EINVAL, |rig| create_with(rig, |r| r.domains = 0x18)),
        bad("GDS, always valid", libc::EINVAL, |rig| {
            create_with(rig, |r| {
                r.domains = DOMAIN_GDS;
                r.domain_flags = CREATE_VM_ALWAYS_VALID;
            })
        }),
        bad("a domain above 32 bits", libc::EINVAL, |rig| {
            create_with(rig, |r| r.domains = DOMAIN_GTT | 1 << 32)
        }),
        bad("encrypted", libc::EINVAL, |rig| {
            create_with(rig, |r| r.domain_flags = CREATE_ENCRYPTED)
        }),
        bad("size 0", libc::ENOSPC, |rig| create_with(rig, |r| r.bo_size = 0)),
        bad("1 TiB of VRAM", libc::ENOMEM, |rig| {
            create_with(rig, |r| {
                r.bo_size = 1 << 40;
                r.domains = DOMAIN_VRAM;
            })
        }),
        bad("1 TiB of GTT", libc::ENOMEM, |rig| create_with(rig, |r| r.bo_size = 1 << 40)),
        stricter(
            "a size that overflows when rounded",
            Expect::Refusal(libc::ENOSPC),
            libc::EINVAL,
            |rig| create_with(rig, |r| r.bo_size = u64::MAX),
        ),
        stricter(
            "an alignment of 2^52",
            Expect::Skip("the C driver truncates it"),
            libc::EINVAL,
            |rig| create_with(rig, |r| r.alignment = 1 << 52),
        ),
    ];
    // Flags that the kernel keeps for itself, and those that nobody has.
    for bit in [4_u32, 5, 8, 11, 17, 31, 32, 63] {
        cases.push(bad(format!("flag bit {bit}"), libc::EINVAL, move |rig| {
            create_with(rig, |r| r.domain_flags = 1 << bit)
        }));
    }
    for bit in [7_u32, 31, 63] {
        cases.push(bad(format!("domain bit {bit}"), libc::EINVAL, move |rig| {
            create_with(rig, |r| r.domains = 1 << bit)
        }));
    }
    cases
}

/// The fake offset of a new BO.
fn offset_of(rig: &Rig, handle: u32) -> Result<u64, Failure> {
    rig.file().call(GEM_MMAP, &Handle { handle, pad: 0 }).setup("GEM_MMAP")
}

pub fn mmap() -> Vec<Case> {
    vec![
        good("a page, read and written", |rig| {
            let handle = rig.gtt(1)?;
            let map = rig.file().map(handle, PAGE64)?;
            map.write(0, 5);
            expect(map.read(0) == 5 && map.read(4) == 0, || "bytes got lost".into())
        }),
        good("a mapping outlives the handle and the BO list", |rig| {
            let handle = rig.gtt(1)?;
            let map = rig.file().map(handle, PAGE64)?;
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            map.write(8, 9);
            expect(map.read(8) == 9, || "bytes got lost".into())
        }),
        bad("no such handle", libc::ENOENT, |rig| {
            Ok(rig.file().call(GEM_MMAP, &Handle { handle: NO_HANDLE, pad: 0 }).map(|_| ())?)
        }),
        bad("handle 0", libc::ENOENT, |rig| {
            Ok(rig.file().call(GEM_MMAP, &Handle::default()).map(|_| ())?)
        }),
        bad("a userptr BO", libc::EPERM, |rig| {
            let mem = rig.memory(1)?;
            let flags = USERPTR_ANONONLY | USERPTR_REGISTER;
            let handle = rig.file().gem_userptr(mem.addr(), PAGE64, flags).setup("userptr")?;
            let answer = rig.file().call(GEM_MMAP, &Handle { handle, pad: 0 });
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            Ok(answer.map(|_| ())?)
        }),
        bad("a BO without CPU access", libc::EPERM, |rig| {
            let flags = CREATE_NO_CPU_ACCESS;
            let handle = rig.file().gem_create(PAGE64, DOMAIN_VRAM, flags).setup("VRAM BO")?;
            Ok(rig.file().call(GEM_MMAP, &Handle { handle, pad: 0 }).map(|_| ())?)
        }),
        bad("mmap(2) at offset 0", libc::EINVAL, |rig| {
            Ok(IoMap::new(rig.file(), 0, PAGE, MapKind::Shared).map(|_| ())?)
        }),
        bad("mmap(2) at an offset of no BO", libc::EINVAL, |rig| {
            Ok(IoMap::new(rig.file(), 0x7f_ffff_f000, PAGE, MapKind::Shared).map(|_| ())?)
        }),
        bad("mmap(2) of more than the BO", libc::EINVAL, |rig| {
            let offset = offset_of(rig, rig.gtt(1)?)?;
            Ok(IoMap::new(rig.file(), offset, 2 * PAGE, MapKind::Shared).map(|_| ())?)
        }),
        bad("mmap(2) from the middle of a BO", libc::EINVAL, |rig| {
            let offset = offset_of(rig, rig.gtt(2)?)? + PAGE64;
            Ok(IoMap::new(rig.file(), offset, PAGE, MapKind::Shared).map(|_| ())?)
        }),
        bad("mmap(2), private and writable", libc::EINVAL, |rig| {
            let offset = offset_of(rig, rig.gtt(1)?)?;
            Ok(IoMap::new(rig.file(), offset, PAGE, MapKind::Private).map(|_| ())?)
        }),
        bad("mmap(2) through a file that does not have the BO", libc::EACCES, |rig| {
            let offset = offset_of(rig, rig.gtt(1)?)?;
            let other = rig.node.open().setup("open")?;
            Ok(IoMap::new(&other, offset, PAGE, MapKind::Shared).map(|_| ())?)
        }),
    ]
}

const WRITABLE: u32 = USERPTR_REGISTER | USERPTR_VALIDATE;

/// The handle that the next BO gets: the kernel gives the lowest that is free.
fn next_handle(rig: &Rig) -> Result<u32, Failure> {
    let handle = rig.gtt(1)?;
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    Ok(handle)
}

/// GEM_USERPTR over a range; the handle is given back. A call that is refused must leave none.
fn userptr_at(rig: &Rig, addr: u64, size: u64, flags: u32) -> Outcome {
    let next = next_handle(rig)?;
    match rig.file().gem_userptr(addr, size, flags) {
        Ok(handle) => rig.file().gem_close(handle).setup("GEM_CLOSE"),
        Err(e) => {
            expect(next_handle(rig)? == next, || format!("{e}, and a handle was left"))?;
            Err(e.into())
        }
    }
}

fn shared_file() -> Result<(File, UserMem), Failure> {
    use std::io::Write;
    let path = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    let wrong = |e: std::io::Error| Failure::Wrong(format!("{}: {e}", path.display()));
    let mut file =
        File::options().read(true).write(true).create_new(true).open(&path).map_err(wrong)?;
    std::fs::remove_file(&path).map_err(wrong)?;
    file.write_all(&[1; 2 * PAGE]).map_err(wrong)?;
    let mem = UserMem::of_file(&file, 2).setup("mmap of a file")?;
    Ok((file, mem))
}

pub fn userptr() -> Vec<Case> {
    let mut cases = vec![
        good("as libdrm does", |rig| {
            let mem = rig.memory(4)?;
            userptr_at(rig, mem.addr(), 4 * PAGE64, USERPTR_ANONONLY | WRITABLE)
        }),
        good("untouched memory", |rig| {
            let mem = UserMem::anonymous(4).setup("mmap")?;
            userptr_at(rig, mem.addr(), 4 * PAGE64, WRITABLE)
        }),
        good("two BOs over one range", |rig| {
            let mem = rig.memory(2)?;
            let first =
                rig.file().gem_userptr(mem.addr(), 2 * PAGE64, WRITABLE).setup("the first")?;
            let second = userptr_at(rig, mem.addr() + PAGE64, PAGE64, WRITABLE);
            rig.file().gem_close(first).setup("GEM_CLOSE")?;
            second
        }),
        good("read-only without a notifier", |rig| {
            let mem = rig.memory(2)?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_READONLY | USERPTR_VALIDATE)
        }),
        good("read-only over a read-only mapping", |rig| {
            let mem = UserMem::anonymous_with(2, Access::ReadOnly).setup("mmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_READONLY | WRITABLE)
        }),
        good("a hole, not validated", |rig| {
            let mut mem = rig.memory(2)?;
            mem.truncate(1).setup("munmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_REGISTER)
        }),
        good("a file mapping", |rig| {
            let (_file, mem) = shared_file()?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        bad("writable without a notifier", libc::EACCES, |rig| {
            let mem = rig.memory(1)?;
            userptr_at(rig, mem.addr(), PAGE64, USERPTR_VALIDATE)
        }),
        bad("an address that is no page's", libc::EINVAL, |rig| {
            let mem = rig.memory(2)?;
            userptr_at(rig, mem.addr() + 8, PAGE64, WRITABLE)
        }),
        bad("a size that is no whole page", libc::EINVAL, |rig| {
            let mem = rig.memory(2)?;
            userptr_at(rig, mem.addr(), PAGE64 + 8, WRITABLE)
        }),
        bad("size 0", libc::ENOSPC, |rig| {
            let mem = rig.memory(1)?;
            userptr_at(rig, mem.addr(), 0, WRITABLE)
        }),
        bad("a kernel address", libc::EFAULT, |rig| {
            userptr_at(rig, 0xffff_8000_0000_0000, PAGE64, WRITABLE)
        }),
        bad("a range that ends in the kernel's half", libc::EFAULT, |rig| {
            userptr_at(rig, 0x00ff_ffff_ffff_f000, 2 * PAGE64, WRITABLE)
        }),
        bad("a range that wraps", libc::EFAULT, |rig| {
            userptr_at(rig, 0xffff_ffff_ffff_f000, 2 * PAGE64, WRITABLE)
        }),
        bad("nothing mapped at the start", libc::EFAULT, |rig| {
            let mut mem = rig.memory(2)?;
            mem.truncate(0).setup("munmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        bad("a hole at the end", libc::EFAULT, |rig| {
            let mut mem = rig.memory(2)?;
            mem.truncate(1).setup("munmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        bad("ANONONLY, a hole at the end", libc::EPERM, |rig| {
            let mut mem = rig.memory(2)?;
            mem.truncate(1).setup("munmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_ANONONLY | WRITABLE)
        }),
        bad("ANONONLY, a hole at the start", libc::EFAULT, |rig| {
            let mut mem = rig.memory(2)?;
            mem.truncate(0).setup("munmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_ANONONLY | WRITABLE)
        }),
        bad("ANONONLY over two mappings that touch", libc::EPERM, |rig| {
            let mem = rig.memory(2)?;
            // Of another kind, so that the kernel does not join them.
            mem.advise(1..2, Advice::NotForked).setup("madvise")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_ANONONLY | WRITABLE)
        }),
        good("two mappings that touch", |rig| {
            let mem = rig.memory(2)?;
            mem.advise(1..2, Advice::NotForked).setup("madvise")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        bad("size 0, writable without a notifier", libc::EACCES, |rig| {
            let mem = rig.memory(1)?;
            userptr_at(rig, mem.addr(), 0, USERPTR_VALIDATE)
        }),
        stricter("secret memory", OK, libc::EFAULT, |rig| {
            let file = secret_file(2).setup("memfd_secret")?;
            let mem = UserMem::of_file(&file, 2).setup("mmap")?;
            mem.store(0, 0, 1);
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        stricter("secret memory, only to be read", OK, libc::EFAULT, |rig| {
            let file = secret_file(2).setup("memfd_secret")?;
            let mem = UserMem::of_file(&file, 2).setup("mmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_READONLY | WRITABLE)
        }),
        bad("ANONONLY over a file mapping", libc::EPERM, |rig| {
            let (_file, mem) = shared_file()?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, USERPTR_ANONONLY | WRITABLE)
        }),
        bad("writable over a read-only mapping", libc::EPERM, |rig| {
            let mem = UserMem::anonymous_with(2, Access::ReadOnly).setup("mmap")?;
            userptr_at(rig, mem.addr(), 2 * PAGE64, WRITABLE)
        }),
        bad("to be moved to VRAM", libc::EPERM, |rig| {
            let mem = rig.memory(2)?;
            let handle =
                rig.file().gem_userptr(mem.addr(), 2 * PAGE64, WRITABLE).setup("userptr")?;
            let answer = rig.file().set_placement(handle, DOMAIN_VRAM);
            rig.file().gem_close(handle).setup("GEM_CLOSE")?;
            Ok(answer?)
        }),
        bad("the mapping of a BO", libc::EFAULT, |rig| {
            let data = &rig.session.data;
            userptr_at(rig, data.map.addr(), data.size, WRITABLE)
        }),
    ];
    for bit in [4_u32, 31] {
        cases.push(bad(format!("flag bit {bit}"), libc::EINVAL, move |rig| {
            let mem = rig.memory(1)?;
            userptr_at(rig, mem.addr(), PAGE64, WRITABLE | 1 << bit)
        }));
    }
    cases
}

/// A request for the metadata of a BO, all of whose words hold `word`.
const fn metadata_of(handle: u32, op: u32, data_size_bytes: u32, word: u32) -> GemMetadata {
    let data = [word; 64];
    GemMetadata { handle, op, flags: 1, tiling_info: 0, data_size_bytes, data, pad: 0 }
}

/// Sets `size` bytes; what another file sees of them.
fn metadata_elsewhere(rig: &Rig, size: u32, word: u32) -> Result<GemMetadata, Failure> {
    let handle = rig.gtt(1)?;
    let answer = rig.file().call(GEM_METADATA, &metadata_of(handle, METADATA_OP_SET, size, word));
    let other = rig.node.open().setup("open")?;
    let buffer = rig.file().export(handle).setup("export")?;
    let theirs = other.import(&buffer).setup("import")?;
    answer?;
    let seen = other.call(GEM_METADATA, &metadata_of(theirs, METADATA_OP_GET, 0, ELSE))?;
    rig.file().gem_close(handle).setup("GEM_CLOSE")?;
    Ok(seen)
}

/// Word behind the bytes that the setter meant, and in the next constant, that of the getter.
const MEANT: u32 = 0x5ec7_e700;
const ELSE: u32 = 0xe15e_e15e;

pub fn metadata() -> Vec<Case> {
    let mut cases = vec![
        good("an operation that there is not", |rig| {
            let handle = rig.gtt(1)?;
            rig.file().call(GEM_METADATA, &metadata_of(handle, 7, 0, 0))?;
            rig.file().gem_close(handle).setup("GEM_CLOSE")
        }),
        bad("more bytes than there are", libc::EINVAL, |rig| {
            metadata_elsewhere(rig, 257, MEANT).map(|_| ())
        }),
        bad("no such handle", libc::ENOENT, |rig| {
            Ok(rig
                .file()
                .call(GEM_METADATA, &metadata_of(NO_HANDLE, METADATA_OP_GET, 0, 0))
                .map(|_| ())?)
        }),
    ];
    for size in [0_u32, 8, 256] {
        cases.push(good(format!("{size} bytes are kept, and no more"), move |rig| {
            let seen = metadata_elsewhere(rig, size, MEANT)?;
            let words = usize_of(u64::from(size / 4));
            expect(seen.data_size_bytes == size, || format!("{} bytes", seen.data_size_bytes))?;
            expect(seen.data[..words].iter().all(|&word| word == MEANT), || "lost".into())?;
            let leaked = seen.data[words..].iter().filter(|&&word| word == MEANT).count();
            expect(leaked == 0, || format!("{leaked} words of the setter's stack were given away"))
        }));
    }
    cases
}
