// SPDX-License-Identifier: GPL-2.0 OR MIT

//! BO_LIST.

use amdgpu_client::{
    drm::{
        list_entries,
        list_request, //
    },
    uapi::{
        self,
        Addr,
        BO_LIST,
        BO_LIST_OP_DESTROY,
        BO_LIST_OP_UPDATE,
        BoList,
        BoListEntry, //
    }, //
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
        Rig,
        ib_chunk, //
    }, //
};

type Outcome = Result<(), Failure>;

/// The most entries that a list may have (`AMDGPU_BO_LIST_MAX_ENTRIES`).
const MAX_ENTRIES: u32 = 131_072;

/// Creates a list over the session's BOs, changed as the case wants; destroys it.
fn create_with(rig: &Rig, change: impl FnOnce(&mut BoList<'_>)) -> Outcome {
    create_of(rig, &list_entries(&rig.handles()), change)
}

fn create_of(rig: &Rig, entries: &[BoListEntry], change: impl FnOnce(&mut BoList<'_>)) -> Outcome {
    let mut request = list_request(entries);
    change(&mut request);
    let list = rig.file().call(BO_LIST, &request)?.handle;
    rig.file().bo_list_destroy(list).setup("DESTROY")
}

/// Updates a good list, changed as the case wants; whatever came of it, a submission with the
/// list must still work.
fn update_with(rig: &Rig, change: impl FnOnce(&mut BoList<'_>)) -> Outcome {
    let list = rig.file().bo_list(&rig.handles()).setup("CREATE")?;
    let entries = list_entries(&rig.handles());
    let mut request = list_request(&entries);
    request.operation = BO_LIST_OP_UPDATE;
    request.list_handle = list;
    change(&mut request);
    let answer = rig.file().call(BO_LIST, &request);
    let ib = [rig.session.nop_ib(crate::rig::ENGINE)];
    match rig.submit(list, &[ib_chunk(&ib)]) {
        Ok(()) => {}
        Err(failure) => return Err(Failure::Wrong(format!("the list afterward: {failure:?}"))),
    }
    rig.file().bo_list_destroy(list).setup("DESTROY")?;
    Ok(answer.map(|_| ())?)
}

fn destroy(rig: &Rig, list_handle: u32) -> Outcome {
    let request = BoList { operation: BO_LIST_OP_DESTROY, list_handle, ..Default::default() };
    Ok(rig.file().call(BO_LIST, &request).map(|_| ())?)
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        good("create", |rig| create_with(rig, |_| ())),
        good("no entries", |rig| {
            create_with(rig, |r| (r.bo_number, r.bo_info_ptr) = (0, Addr::NULL))
        }),
        good("an entry twice", |rig| {
            let [ib, _] = rig.handles();
            create_of(rig, &list_entries(&[ib, ib]), |_| ())
        }),
        good("a priority beyond the highest", |rig| {
            let entries = [BoListEntry { bo_handle: rig.handles()[0], bo_priority: u32::MAX }];
            create_of(rig, &entries, |_| ())
        }),
        bad("operation 3", libc::EINVAL, |rig| create_with(rig, |r| r.operation = 3)),
        bad("operation 0xffffffff", libc::EINVAL, |rig| {
            create_with(rig, |r| r.operation = u32::MAX)
        }),
        bad("one entry too many", libc::EINVAL, |rig| {
            let [ib, _] = rig.handles();
            let entries = vec![
                BoListEntry { bo_handle: ib, bo_priority: 0 };
                amdgpu_client::num::usize_of(u64::from(MAX_ENTRIES) + 1)
            ];
            create_of(rig, &entries, |_| ())
        }),
        bad("4 Gi entries", libc::EINVAL, |rig| create_with(rig, |r| r.bo_number = u32::MAX)),
        bad("entries at an address of nothing", libc::EFAULT, |rig| {
            create_with(rig, |r| r.bo_info_ptr = Addr::UNMAPPED)
        }),
        bad("entries at a kernel address", libc::EFAULT, |rig| {
            create_with(rig, |r| r.bo_info_ptr = Addr::KERNEL)
        }),
        bad("no such BO", libc::ENOENT, |rig| create_of(rig, &list_entries(&[NO_HANDLE]), |_| ())),
        bad("one of three BOs does not exist", libc::ENOENT, |rig| {
            let [ib, data] = rig.handles();
            create_of(rig, &list_entries(&[ib, NO_HANDLE, data]), |_| ())
        }),
        bad("BO handle 0", libc::ENOENT, |rig| create_of(rig, &list_entries(&[0]), |_| ())),
        good("update", |rig| update_with(rig, |_| ())),
        bad("update of no such list", libc::ENOENT, |rig| {
            update_with(rig, |r| r.list_handle = NO_HANDLE)
        }),
        bad("update with entries of another size", libc::EINVAL, |rig| {
            update_with(rig, |r| r.bo_info_size = 4)
        }),
        bad("update with entries at an address of nothing", libc::EFAULT, |rig| {
            update_with(rig, |r| r.bo_info_ptr = Addr::UNMAPPED)
        }),
        good("destroy of no such list", |rig| destroy(rig, NO_HANDLE)),
        good("destroy of list 0", |rig| destroy(rig, 0)),
        good("destroy twice", |rig| {
            let list = rig.file().bo_list(&rig.handles()).setup("CREATE")?;
            destroy(rig, list)?;
            destroy(rig, list)
        }),
        good("a list keeps a BO whose handle is closed", |rig| {
            let extra = rig.gtt(1)?;
            let [ib, data] = rig.handles();
            let list = rig.file().bo_list(&[ib, data, extra]).setup("CREATE")?;
            rig.file().gem_close(extra).setup("GEM_CLOSE")?;
            let nop = [rig.session.nop_ib(crate::rig::ENGINE)];
            rig.submit(list, &[ib_chunk(&nop)])?;
            destroy(rig, list)
        }),
        bad("submission with a list that was destroyed", libc::ENOENT, |rig| {
            let list = rig.file().bo_list(&rig.handles()).setup("CREATE")?;
            rig.file().bo_list_destroy(list).setup("DESTROY")?;
            let nop = [rig.session.nop_ib(crate::rig::ENGINE)];
            rig.submit(list, &[uapi::Chunk::of(uapi::CHUNK_ID_IB, &nop)])
        }),
    ];
    for size in [0_u32, 4, 12, u32::MAX] {
        cases.push(bad(format!("entries of {size} bytes"), libc::EINVAL, move |rig| {
            create_with(rig, |r| r.bo_info_size = size)
        }));
    }
    cases
}
