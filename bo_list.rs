// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer lists: the buffers that a submission uses, named by user space.
//!
//! A list is either an object of the file (`AMDGPU_BO_LIST` ioctl) or comes with one submission
//! (`BO_HANDLES` chunk). It is immutable: an update puts a new list under the old handle, and a
//! submission that is under way keeps the one that it began with. So two threads may submit one
//! list at once, and what a submission gathers never lives here.
//!
//! Entries are in the order in which they are reserved and validated: most important first, user
//! memory last, so that it forms one run that the submission path can walk by itself.

use crate::{
    abstractions::drm::gem::Handle,
    bindings,
    drm::{
        DrmDevice,
        DrmFile, //
    },
    ttm::Bo,
    uapi::HandleTable, //
};
use core::mem::size_of;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// Most entries in one list, as in the C driver.
const MAX_ENTRIES: u32 = 128 * 1024;

/// Highest priority; higher ones of user space are lowered to it, as in the C driver.
const MAX_PRIORITY: u32 = 32;

/// Where user space keeps the entries of a list to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    entries: u32,
    address: u64,
}

impl Source {
    /// From the fields of `struct drm_amdgpu_bo_list_in`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for too many entries or an unknown size of one.
    pub(crate) fn new(entries: u32, entry_size: u32, address: u64) -> Result<Self> {
        let known = size_of::<bindings::drm_amdgpu_bo_list_entry>();
        if entries > MAX_ENTRIES || usize::try_from(entry_size)? != known {
            return Err(EINVAL);
        }
        Ok(Self { entries, address })
    }

    /// Copies the entries in: pairs of handle and priority.
    fn copy_in(self) -> Result<KVVec<RawEntry>> {
        let entries = usize::try_from(self.entries)?;
        let address = usize::try_from(self.address).map_err(|_| EFAULT)?;
        let length = entries * size_of::<bindings::drm_amdgpu_bo_list_entry>();
        let mut reader = UserSlice::new(UserPtr::from_addr(address), length).reader();

        let mut raw = KVVec::with_capacity(entries, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..entries {
            let handle = reader.read::<u32>()?;
            let priority = reader.read::<u32>()?.min(MAX_PRIORITY);
            raw.push(RawEntry { handle, priority }, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(raw)
    }
}

/// An entry as user space names it, with the priority already within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RawEntry {
    handle: u32,
    priority: u32,
}

/// Where an entry of this priority belongs: user memory last, else the most important first.
/// Entries with equal keys keep the order in which user space named them.
fn sort_key(priority: u32, is_userptr: bool) -> u32 {
    let rank = MAX_PRIORITY - priority.min(MAX_PRIORITY);
    if is_userptr {
        rank + MAX_PRIORITY + 1
    } else {
        rank
    }
}

/// The places of entries with these keys in a stable ascending order: `places[n]` is the index of
/// the entry that comes at `n`. One counting pass, since there are few distinct keys.
fn stable_order(keys: &[u32]) -> Result<KVVec<usize>> {
    const KEYS: usize = 2 * (MAX_PRIORITY as usize + 1);
    let mut next = [0usize; KEYS + 1];
    for key in keys {
        next[usize::try_from(*key)? + 1] += 1;
    }
    for n in 1..=KEYS {
        next[n] += next[n - 1];
    }
    let mut places = KVVec::from_elem(0, keys.len(), GFP_KERNEL_ACCOUNT)?;
    for (index, key) in keys.iter().enumerate() {
        let slot = &mut next[usize::try_from(*key)?];
        places[*slot] = index;
        *slot += 1;
    }
    Ok(places)
}

/// The buffers of a submission; immutable.
pub(crate) struct BoList {
    /// In order of reservation.
    ///
    /// # Invariants
    ///
    /// Entries from `first_userptr` on are user memory, those before are not.
    bos: KVVec<ARef<Bo>>,
    first_userptr: usize,
}

impl BoList {
    /// A list of no buffers, for submissions that come without one.
    pub(crate) fn empty() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                bos: KVVec::new(),
                first_userptr: 0,
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Builds the list that `source` describes from buffers that `lookup` finds.
    ///
    /// # Errors
    ///
    /// `EFAULT` or `ENOMEM` from copying, what `lookup` returns for a bad handle, and `EPERM` if a
    /// buffer is the memory of another process.
    pub(crate) fn new(
        source: Source,
        lookup: impl Fn(u32) -> Result<ARef<Bo>>,
    ) -> Result<Arc<Self>> {
        let raw = source.copy_in()?;
        let mut found = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        let mut keys = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        let mut first_userptr = 0;
        for entry in raw.iter() {
            let bo = lookup(entry.handle)?;
            if let Some(userptr) = bo.userptr() {
                userptr.check_owner()?;
            } else {
                first_userptr += 1;
            }
            keys.push(
                sort_key(entry.priority, bo.userptr().is_some()),
                GFP_KERNEL_ACCOUNT,
            )?;
            found.push(bo, GFP_KERNEL_ACCOUNT)?;
        }

        let mut bos = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        for place in stable_order(&keys)? {
            bos.push(found[place].clone(), GFP_KERNEL_ACCOUNT)?;
        }
        // INVARIANT: Keys of user memory are above all others, and all others were counted.
        Ok(Arc::new(Self { bos, first_userptr }, GFP_KERNEL_ACCOUNT)?)
    }

    /// Every buffer, in order of reservation; one may occur more than once.
    pub(crate) fn bos(&self) -> &[ARef<Bo>] {
        &self.bos
    }

    /// The buffers that are user memory.
    pub(crate) fn userptrs(&self) -> &[ARef<Bo>] {
        &self.bos[self.first_userptr..]
    }
}

/// The place of a list under its handle. An update exchanges the list in it.
#[pin_data]
pub(crate) struct Slot {
    #[pin]
    list: Mutex<Arc<BoList>>,
}

/// The buffer lists of one file, by handle.
pub(crate) type BoLists = HandleTable<Slot>;

impl BoLists {
    /// Stores `list` under a new handle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn create(&self, list: Arc<BoList>) -> Result<u32> {
        let slot = pin_init!(Slot { list <- new_mutex!(list) });
        self.insert(Arc::pin_init(slot, GFP_KERNEL_ACCOUNT)?)
    }

    /// Puts `list` under an existing handle. Submissions under way keep the old list.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such handle.
    pub(crate) fn update(&self, handle: u32, list: Arc<BoList>) -> Result {
        let slot = self.get(handle).ok_or(ENOENT)?;
        let old = core::mem::replace(&mut *slot.list.lock(), list);
        // Dropped here, without the lock: the last reference to a buffer may go with it.
        drop(old);
        Ok(())
    }

    /// The list under `handle`, as it is now.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such handle.
    pub(crate) fn current(&self, handle: u32) -> Result<Arc<BoList>> {
        let slot = self.get(handle).ok_or(ENOENT)?;
        let list = slot.list.lock().clone();
        Ok(list)
    }
}

/// `AMDGPU_BO_LIST`: makes, replaces or drops a list.
///
/// # Errors
///
/// `EINVAL` for an unknown operation; those of [`Source::new`] and [`BoList::new`]; `ENOENT` for an
/// update of a list that is not there. Dropping one that is not there is no error.
pub(crate) fn ioctl(
    _dev: &DrmDevice,
    args: &bindings::drm_amdgpu_bo_list_in,
    file: &DrmFile,
) -> Result<bindings::drm_amdgpu_bo_list_out> {
    let lists = &file.inner().get_ref().bo_lists;
    let read = || {
        let source = Source::new(args.bo_number, args.bo_info_size, args.bo_info_ptr)?;
        BoList::new(source, |handle| Handle(handle).lookup(file))
    };
    let list_handle = match args.operation {
        bindings::AMDGPU_BO_LIST_OP_CREATE => lists.create(read()?)?,
        bindings::AMDGPU_BO_LIST_OP_UPDATE => {
            lists.update(args.list_handle, read()?)?;
            args.list_handle
        }
        bindings::AMDGPU_BO_LIST_OP_DESTROY => {
            lists.remove(args.list_handle);
            0
        }
        _ => return Err(EINVAL),
    };
    Ok(bindings::drm_amdgpu_bo_list_out {
        list_handle,
        ..Default::default()
    })
}

#[kunit_tests(amdgpu_rs_bo_list)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_checked() {
        assert!(Source::new(0, 8, 0).is_ok());
        assert!(Source::new(MAX_ENTRIES, 8, u64::MAX).is_ok());
        assert_eq!(Source::new(MAX_ENTRIES + 1, 8, 0), Err(EINVAL));
        assert_eq!(Source::new(1, 4, 0), Err(EINVAL));
        assert_eq!(Source::new(1, 0, 0), Err(EINVAL));
        assert_eq!(Source::new(1, 16, 0), Err(EINVAL));
    }

    #[test]
    fn important_entries_come_first_and_user_memory_last() {
        assert!(sort_key(32, false) < sort_key(0, false));
        assert!(sort_key(0, false) < sort_key(32, true));
        assert!(sort_key(32, true) < sort_key(0, true));
        assert_eq!(sort_key(u32::MAX, false), sort_key(MAX_PRIORITY, false));
    }

    #[test]
    fn order_is_stable() -> Result {
        let keys = [5, 0, 5, 65, 0, 33, 65];
        let places = stable_order(&keys)?;
        assert_eq!(&places[..], &[1, 4, 0, 2, 5, 3, 6]);
        assert!(stable_order(&[])?.is_empty());
        Ok(())
    }

    #[test]
    fn every_key_has_its_bucket() -> Result {
        for is_userptr in [false, true] {
            for priority in 0..=MAX_PRIORITY {
                let key = sort_key(priority, is_userptr);
                assert_eq!(&stable_order(&[key, key])?[..], &[0, 1]);
            }
        }
        Ok(())
    }
}
