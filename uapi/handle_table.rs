// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Objects of one file that user space names by a small number: contexts and buffer lists. The C
//! driver has two xarrays for them, `ctx_handles` and `bo_list_handles`.
//!
//! Handles start at 1, as 0 means 'none' in this interface. A lookup returns a counted reference,
//! so an object that is removed while an ioctl uses it lives until that ioctl drops it.

use crate::abstractions::maple_tree::SharedMapleTree;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A table from handle to shared object.
#[pin_data]
pub(crate) struct HandleTable<T: 'static> {
    #[pin]
    tree: SharedMapleTree<Arc<T>>,
}

impl<T: 'static> HandleTable<T> {
    /// Creates an empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { tree <- SharedMapleTree::new() })
    }

    /// Stores `object` under the lowest free handle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `EBUSY` if all handles are in use.
    pub(crate) fn insert(&self, object: Arc<T>) -> Result<u32> {
        let handle = self
            .tree
            .alloc_range(1, object, 1..=HANDLE_MAX, GFP_KERNEL_ACCOUNT)?;
        Ok(u32::try_from(handle)?)
    }

    /// Returns the object with this handle.
    pub(crate) fn get(&self, handle: u32) -> Option<Arc<T>> {
        let mut tree = self.tree.lock();
        tree.load(usize::try_from(handle).ok()?)
            .map(|object| object.into())
    }

    /// Returns all objects in the order of their handles, as a snapshot of one moment.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn all(&self) -> Result<KVVec<Arc<T>>> {
        loop {
            let mut count = 0;
            self.for_each(|_| count += 1);
            let mut objects = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
            let mut fits = true;
            // Nothing may be allocated under the lock of the table.
            self.for_each(|object| fits &= objects.push_within_capacity(object).is_ok());
            if fits {
                return Ok(objects);
            }
        }
    }

    /// Calls `f` with each object, under the lock of the table.
    fn for_each(&self, mut f: impl FnMut(Arc<T>)) {
        let mut tree = self.tree.lock();
        let mut place = tree.ma_state(0, HANDLE_MAX);
        while let Some(object) = place.find(HANDLE_MAX) {
            f(object.into());
        }
    }

    /// Removes the object from the table.
    pub(crate) fn remove(&self, handle: u32) -> Option<Arc<T>> {
        self.tree.erase(usize::try_from(handle).ok()?)
    }
}

/// Highest handle. User space may keep handles in a signed 32-bit field, so it is positive there.
const HANDLE_MAX: usize = 0x7fff_ffff;
