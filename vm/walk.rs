// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Walks over the BOs of an address space, for statistics.
//!
//! The C driver keeps sums instead (`amdgpu_vm_get_memory`).

use super::{
    Vm,
    AT_ONCE, //
};
use crate::{
    hw::page_table::TableKey,
    mem::BoId,
    ttm::Bo, //
};

impl Vm {
    /// Calls `f` with each BO that the address space knows, and with its page directory and page
    /// tables.
    ///
    /// `f` runs under the publish lock, which is dropped now and then, as there may be many BOs:
    /// those that come or go meanwhile may be left out.
    pub(crate) fn for_each_bo(&self, mut f: impl FnMut(&Bo)) {
        f(self.root());
        let mut next = Some(TableKey::FIRST);
        while let Some(from) = next {
            next = self.for_some_tables(from, &mut f);
        }
        let mut next = Some(BoId::FIRST);
        while let Some(from) = next {
            let space = self.publish.lock();
            next = space.for_some_bos(from, AT_ONCE, |bo| f(bo));
        }
    }

    /// Calls `f` with the first [`AT_ONCE`] tables from `key` on. Returns where to go on, if there
    /// may be more.
    fn for_some_tables(&self, key: TableKey, f: &mut impl FnMut(&Bo)) -> Option<TableKey> {
        let mut space = self.publish.lock();
        let mut key = key;
        for _ in 0..AT_ONCE {
            let (found, table) = space.tables().next(key)?;
            f(table);
            key = found.next();
        }
        Some(key)
    }
}
