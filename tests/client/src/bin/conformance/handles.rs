// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM_LIST_HANDLES.

use amdgpu_client::{
    drm::File,
    num::{
        u32_of,
        usize_of, //
    },
    uapi::{
        Addr,
        CREATE_CPU_GTT_USWC,
        CREATE_NO_CPU_ACCESS,
        CREATE_VM_ALWAYS_VALID,
        CREATE_VRAM_CLEARED,
        CREATE_VRAM_WIPE_ON_RELEASE,
        DOMAIN_CPU,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        GEM_CREATE,
        GEM_LIST_HANDLES,
        GemCreate,
        ListHandles,
        ListedHandle,
        USERPTR_ANONONLY,
        USERPTR_REGISTER, //
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
        PAGE64,
        Rig, //
    }, //
};

/// A handle that no driver gives: what an entry has before the kernel writes to it.
const MARK: ListedHandle = ListedHandle {
    gem_handle: u32::MAX,
    flags: u32::MAX,
    size: u64::MAX,
    preferred_domains: u64::MAX,
    alloc_flags: u64::MAX,
    alignment: u64::MAX,
};

/// A BO is wiped when it is given back, and one that is no user memory is cleared when it is made,
/// whether that was asked for or not.
const CLEARED: u64 = CREATE_VRAM_CLEARED | CREATE_VRAM_WIPE_ON_RELEASE;

/// Returns the handles of `file` that the kernel lists, with room for `room`, and their number.
pub fn list(file: &File, room: usize) -> Result<(Vec<ListedHandle>, u32), Failure> {
    let mut entries = vec![MARK; room];
    let request = ListHandles {
        entries: Addr::of_mut(&mut entries),
        num_entries: u32_of(room),
        ..Default::default()
    };
    let count = file.call(GEM_LIST_HANDLES, &request)?.num_entries;
    Ok((entries, count))
}

/// A BO that was made so has this entry in the list of its file.
fn listed(rig: &Rig, request: GemCreate, wanted: ListedHandle) -> Outcome {
    let file = rig.node.open().setup("open")?;
    let gem_handle = file.call(GEM_CREATE, &request).setup("GEM_CREATE")?.handle;
    only(&file, ListedHandle { gem_handle, ..wanted })
}

/// `file` has one BO, with this entry.
fn only(file: &File, wanted: ListedHandle) -> Outcome {
    let (entries, count) = list(file, 2)?;
    expect(count == 1, || format!("{count} entries"))?;
    expect(entries == [wanted, MARK], || format!("{entries:x?}, not {wanted:x?}"))
}

fn gtt(bo_size: u64) -> GemCreate {
    GemCreate { bo_size, domains: DOMAIN_GTT, ..Default::default() }
}

fn entry(size: u64, preferred_domains: u64, alloc_flags: u64) -> ListedHandle {
    ListedHandle { size, preferred_domains, alloc_flags, ..Default::default() }
}

/// The list of a file with three BOs, the request changed as the case wants.
fn asked(rig: &Rig, change: impl FnOnce(&mut ListHandles<'_>)) -> Result<u32, Failure> {
    let file = rig.node.open().setup("open")?;
    for _ in 0..3 {
        file.call(GEM_CREATE, &gtt(PAGE64)).setup("GEM_CREATE")?;
    }
    let mut entries = [MARK; 3];
    let mut request =
        ListHandles { entries: Addr::of_mut(&mut entries), num_entries: 3, padding: 0 };
    change(&mut request);
    Ok(file.call(GEM_LIST_HANDLES, &request)?.num_entries)
}

fn counts(rig: &Rig, change: impl FnOnce(&mut ListHandles<'_>)) -> Outcome {
    let count = asked(rig, change)?;
    expect(count == 3, || format!("{count} entries"))
}

pub fn cases() -> Vec<Case> {
    vec![
        good("a page of GTT", |rig| listed(rig, gtt(PAGE64), entry(PAGE64, DOMAIN_GTT, CLEARED))),
        good("a size that is no whole page", |rig| {
            listed(rig, gtt(PAGE64 + 1), entry(2 * PAGE64, DOMAIN_GTT, CLEARED))
        }),
        good("VRAM that the CPU does not map", |rig| {
            let request = GemCreate {
                domains: DOMAIN_VRAM,
                domain_flags: CREATE_NO_CPU_ACCESS,
                ..gtt(PAGE64)
            };
            listed(rig, request, entry(PAGE64, DOMAIN_VRAM, CREATE_NO_CPU_ACCESS | CLEARED))
        }),
        good("write-combined, always valid", |rig| {
            let domain_flags = CREATE_CPU_GTT_USWC | CREATE_VM_ALWAYS_VALID;
            let request = GemCreate { domain_flags, ..gtt(PAGE64) };
            listed(rig, request, entry(PAGE64, DOMAIN_GTT, domain_flags | CLEARED))
        }),
        good("VRAM or GTT", |rig| {
            let domains = DOMAIN_VRAM | DOMAIN_GTT;
            listed(rig, GemCreate { domains, ..gtt(PAGE64) }, entry(PAGE64, domains, CLEARED))
        }),
        good("CPU domain", |rig| {
            let request = GemCreate { domains: DOMAIN_CPU, ..gtt(PAGE64) };
            listed(rig, request, entry(PAGE64, DOMAIN_CPU, CLEARED))
        }),
        good("64 KiB alignment", |rig| {
            let request = GemCreate { alignment: 0x1_0000, ..gtt(PAGE64) };
            let wanted = ListedHandle { alignment: 0x1_0000, ..entry(PAGE64, DOMAIN_GTT, CLEARED) };
            listed(rig, request, wanted)
        }),
        good("an alignment below a page", |rig| {
            let request = GemCreate { alignment: 1, ..gtt(PAGE64) };
            let wanted = ListedHandle { alignment: PAGE64, ..entry(PAGE64, DOMAIN_GTT, CLEARED) };
            listed(rig, request, wanted)
        }),
        good("user memory", |rig| {
            let mem = rig.memory(1)?;
            let file = rig.node.open().setup("open")?;
            let flags = USERPTR_ANONONLY | USERPTR_REGISTER;
            let gem_handle = file.gem_userptr(mem.addr(), PAGE64, flags).setup("userptr")?;
            only(
                &file,
                ListedHandle {
                    gem_handle,
                    ..entry(PAGE64, DOMAIN_GTT, CREATE_VRAM_WIPE_ON_RELEASE)
                },
            )
        }),
        good("a BO of another file of the same device is no import", |rig| {
            let file = rig.node.open().setup("open")?;
            let fd = rig.file().export(rig.gtt(1)?).setup("export")?;
            let gem_handle = file.import(&fd).setup("import")?;
            only(&file, ListedHandle { gem_handle, ..entry(PAGE64, DOMAIN_GTT, CLEARED) })
        }),
        good("every BO once", |rig| {
            let file = rig.node.open().setup("open")?;
            let mut wanted = Vec::new();
            for pages in 1..=20 {
                let size = pages * PAGE64;
                let gem_handle = file.call(GEM_CREATE, &gtt(size)).setup("GEM_CREATE")?.handle;
                wanted.push(ListedHandle { gem_handle, ..entry(size, DOMAIN_GTT, CLEARED) });
            }
            file.gem_close(wanted.remove(7).gem_handle).setup("GEM_CLOSE")?;
            let (entries, count) = list(&file, 30)?;
            expect(usize_of(count.into()) == wanted.len(), || format!("{count} entries"))?;
            wanted.resize(30, MARK);
            expect(entries == wanted, || format!("{entries:x?}, not {wanted:x?}"))
        }),
        good("nothing to list", |rig| {
            let (entries, count) = list(&rig.node.open().setup("open")?, 1)?;
            expect(count == 0 && entries == [MARK], || format!("{count}: {entries:x?}"))
        }),
        good("nothing to list, at an address of nothing", |rig| {
            let request =
                ListHandles { entries: Addr::UNMAPPED, num_entries: u32::MAX, padding: 0 };
            let count =
                rig.node.open().setup("open")?.call(GEM_LIST_HANDLES, &request)?.num_entries;
            expect(count == 0, || format!("{count} entries"))
        }),
        good("room for none", |rig| counts(rig, |r| r.num_entries = 0)),
        good("room for none, at an address of nothing", |rig| {
            counts(rig, |r| (r.num_entries, r.entries) = (0, Addr::UNMAPPED))
        }),
        good("room for one less, which is left alone", |rig| {
            let file = rig.node.open().setup("open")?;
            for _ in 0..2 {
                file.call(GEM_CREATE, &gtt(PAGE64)).setup("GEM_CREATE")?;
            }
            let (entries, count) = list(&file, 1)?;
            expect(count == 2 && entries == [MARK], || format!("{count}: {entries:x?}"))
        }),
        good("just enough room", |rig| counts(rig, |_| ())),
        good("room for 4 Gi", |rig| counts(rig, |r| r.num_entries = u32::MAX)),
        good("padding is ignored", |rig| counts(rig, |r| r.padding = u32::MAX)),
        bad("at an address of nothing", libc::EFAULT, |rig| {
            asked(rig, |r| r.entries = Addr::UNMAPPED).map(|_| ())
        }),
        bad("at address 0", libc::EFAULT, |rig| asked(rig, |r| r.entries = Addr::NULL).map(|_| ())),
        bad("in the kernel", libc::EFAULT, |rig| {
            asked(rig, |r| r.entries = Addr::KERNEL).map(|_| ())
        }),
    ]
}
