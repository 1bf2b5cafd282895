// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer lists (`amdgpu_bo_list`): the buffers that a submission uses, named by user space.
//!
//! A list is either an object of the file (`AMDGPU_BO_LIST` ioctl) or comes with one submission
//! (`BO_HANDLES` chunk). It is immutable: an update puts a new list under the old handle, and a
//! submission under way keeps the list that it started with. So two threads may submit one list at
//! once, and the pages that a submission gathers are never stored here.
//!
//! Entries are in the order in which they are reserved and validated: highest priority first, user
//! memory last, so that it forms one run that the submission path can walk by itself. A buffer that
//! user space names more than once is in the list once: each entry adds to the cost of a
//! submission.

use crate::{
    abstractions::drm::gem::Handle,
    bindings,
    drm::{
        DrmDevice,
        DrmFile, //
    },
    hw::on_chip::OnChipKind,
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

/// Maximum number of entries in one list, as in the C driver.
const MAX_ENTRIES: u32 = 128 * 1024;

/// Highest priority; user space's priorities are clamped to it, as in the C driver.
const MAX_PRIORITY: u32 = 32;

/// Location in user memory of the entries of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    entries: u32,
    address: u64,
}

impl Source {
    /// Takes the fields of `struct drm_amdgpu_bo_list_in`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for too many entries or an unknown entry size.
    pub(crate) fn new(entries: u32, entry_size: u32, address: u64) -> Result<Self> {
        let known = size_of::<bindings::drm_amdgpu_bo_list_entry>();
        if entries > MAX_ENTRIES || usize::try_from(entry_size)? != known {
            return Err(EINVAL);
        }
        Ok(Self { entries, address })
    }

    /// Copies in the entries: pairs of handle and priority.
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

/// An entry as user space passed it, with its priority clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RawEntry {
    handle: u32,
    priority: u32,
}

/// Returns the sort key of an entry: user memory last, otherwise highest priority first.
/// Entries with equal keys keep the order in which user space named them.
fn sort_key(priority: u32, is_userptr: bool) -> u32 {
    let rank = MAX_PRIORITY - priority.min(MAX_PRIORITY);
    if is_userptr {
        rank + MAX_PRIORITY + 1
    } else {
        rank
    }
}

/// Returns the stable ascending order of entries with these keys: `places[n]` is the index of the
/// entry that comes at `n`. One counting pass, since there are few distinct keys.
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

/// Sorts in place, without memory of its own. `core`'s sort is not used: its panic for an
/// inconsistent `Ord` ends in a way that objtool does not know.
fn heap_sort<T: Ord>(items: &mut [T]) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift_down(&mut items[..end], 0);
    }
}

/// Restores the heap property, which holds for all items but possibly the one at `root`.
fn sift_down<T: Ord>(heap: &mut [T], mut root: usize) {
    loop {
        let mut largest = root;
        for child in [2 * root + 1, 2 * root + 2] {
            if child < heap.len() && heap[child] > heap[largest] {
                largest = child;
            }
        }
        if largest == root {
            return;
        }
        heap.swap(root, largest);
        root = largest;
    }
}

/// Returns, for each of `items` in order, true if no earlier item equals it.
fn first_of_equals(items: impl ExactSizeIterator<Item = impl Ord + Copy>) -> Result<KVVec<bool>> {
    let mut firsts = KVVec::from_elem(false, items.len(), GFP_KERNEL_ACCOUNT)?;
    let mut sorted = KVVec::with_capacity(items.len(), GFP_KERNEL_ACCOUNT)?;
    for (index, item) in items.enumerate() {
        sorted.push((item, index), GFP_KERNEL_ACCOUNT)?;
    }
    heap_sort(&mut sorted);
    let mut previous = None;
    for &(item, index) in &sorted {
        firsts[index] = previous != Some(item);
        previous = Some(item);
    }
    Ok(firsts)
}

/// The buffers of a submission; immutable.
pub(crate) struct BoList {
    /// In order of reservation.
    ///
    /// # Invariants
    ///
    /// Entries from `first_userptr` on are user memory, those before are not. No buffer occurs
    /// twice.
    bos: KVVec<ARef<Bo>>,
    first_userptr: usize,
    /// The buffer that is on-chip memory of each kind, if any: the last that user space named.
    on_chip: [Option<ARef<Bo>>; OnChipKind::ALL.len()],
}

impl BoList {
    /// Returns a list of no buffers, for submissions that come without one.
    pub(crate) fn empty() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                bos: KVVec::new(),
                first_userptr: 0,
                on_chip: [const { None }; OnChipKind::ALL.len()],
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Builds the list that `source` describes from buffers that `lookup` finds.
    ///
    /// # Errors
    ///
    /// `EFAULT` or `ENOMEM` from copying, the error of `lookup` for a bad handle, and `EPERM` if a
    /// buffer is the memory of another process.
    pub(crate) fn new(
        source: Source,
        lookup: impl Fn(u32) -> Result<ARef<Bo>>,
    ) -> Result<Arc<Self>> {
        let raw = source.copy_in()?;
        let mut found = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        let mut keys = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        let mut on_chip = [const { None }; OnChipKind::ALL.len()];
        for entry in raw.iter() {
            let bo = lookup(entry.handle)?;
            if let Some(userptr) = bo.userptr() {
                userptr.check_owner()?;
            }
            keys.push(
                sort_key(entry.priority, bo.userptr().is_some()),
                GFP_KERNEL_ACCOUNT,
            )?;
            if let Some(kind) = bo.domains().on_chip() {
                // CAST: The discriminants are the indices.
                on_chip[kind as usize] = Some(bo.clone());
            }
            found.push(bo, GFP_KERNEL_ACCOUNT)?;
        }
        let places = stable_order(&keys)?;
        let firsts = first_of_equals(places.iter().map(|&place| found[place].id()))?;

        let mut bos = KVVec::with_capacity(raw.len(), GFP_KERNEL_ACCOUNT)?;
        let mut first_userptr = 0;
        for (&place, _) in places.iter().zip(&firsts).filter(|(_, first)| **first) {
            if found[place].userptr().is_none() {
                first_userptr += 1;
            }
            bos.push(found[place].clone(), GFP_KERNEL_ACCOUNT)?;
        }
        // INVARIANT: Keys of user memory are above all others, and all others were counted. Of a
        // buffer that user space names more than once only the entry with the highest priority was
        // taken.
        let this = Self {
            bos,
            first_userptr,
            on_chip,
        };
        Ok(Arc::new(this, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the buffers whose on-chip memory the submission uses, one of each kind at most.
    pub(crate) fn on_chip(&self) -> impl Iterator<Item = (OnChipKind, &Bo)> + '_ {
        let kinds = OnChipKind::ALL.into_iter().zip(&self.on_chip);
        kinds.filter_map(|(kind, bo)| Some((kind, &**bo.as_ref()?)))
    }

    /// Returns every buffer, once, in order of reservation.
    pub(crate) fn bos(&self) -> &[ARef<Bo>] {
        &self.bos
    }

    /// Returns the buffers that are user memory.
    pub(crate) fn userptrs(&self) -> &[ARef<Bo>] {
        &self.bos[self.first_userptr..]
    }
}

/// A list under its handle. An update replaces the list in it.
#[pin_data]
pub(crate) struct ListSlot {
    #[pin]
    list: Mutex<Arc<BoList>>,
}

/// The buffer lists of one file, by handle.
pub(crate) type BoLists = HandleTable<ListSlot>;

impl BoLists {
    /// Stores `list` under a new handle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn create(&self, list: Arc<BoList>) -> Result<u32> {
        let slot = pin_init!(ListSlot { list <- new_mutex!(list) });
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
        // Dropped here, without the lock: this may drop the last reference to a buffer.
        drop(old);
        Ok(())
    }

    /// Returns the current list under `handle`.
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

/// Creates, updates or destroys a list: `AMDGPU_BO_LIST`.
///
/// # Errors
///
/// `EINVAL` for an unknown operation; those of [`Source::new`] and [`BoList::new`]; `ENOENT` for an
/// update of a list that does not exist. Destroying one that does not exist is no error.
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

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
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
    fn sorts() {
        let mut items = [5, 1, 4, 1, 9, 0, 3, 7, 7, 2];
        heap_sort(&mut items);
        assert_eq!(items, [0, 1, 1, 2, 3, 4, 5, 7, 7, 9]);
        heap_sort(&mut items);
        assert!(items.is_sorted());
        for length in 0..3 {
            let mut few = [2, 1];
            heap_sort(&mut few[..length.min(2)]);
            assert!(few[..length.min(2)].is_sorted());
        }
    }

    #[test]
    fn of_what_is_named_twice_the_first_counts() -> Result {
        let firsts = first_of_equals([7, 3, 7, 7, 1, 3].into_iter())?;
        assert_eq!(&firsts[..], &[true, true, false, false, true, false]);
        assert!(first_of_equals([0u8; 0].into_iter())?.is_empty());
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
