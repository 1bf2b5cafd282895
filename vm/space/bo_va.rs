// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The buffer objects (BOs) that an address space knows, from the first handle until nothing can
//! reach them any more.
//!
//! The C driver's `amdgpu_bo_va`, with `amdgpu_gem_object_open` and `amdgpu_gem_object_close`.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
};

use super::{
    pending::{
        EntriesState,
        Users, //
    },
    Space, //
};
use crate::mem::BoId;

/// State that the address space keeps for a BO with a handle: the `amdgpu_bo_va` of the C driver.
pub(in crate::vm) struct BoVa<B> {
    pub(super) bo: B,
    /// Number of handles.
    handles: usize,
    pub(super) state: EntriesState,
    /// Number of the update until whose end jobs may reach the BO by entries that are gone.
    pub(super) shown_until: u64,
    /// The BO's node in `Space::closed`.
    closed: Closed,
}

/// Place of a BO's node in [`Space::closed`].
enum Closed {
    /// Not in the tree.
    No(RBTreeNodeReservation<(u64, BoId), ()>),
    /// In the tree, under this number.
    Until(u64),
}

impl<B> BoVa<B> {
    /// Creates the state for a first handle. Allocates.
    pub(in crate::vm) fn new(bo: B, users: Users) -> Result<Self> {
        Ok(Self {
            bo,
            handles: 1,
            state: EntriesState::new(users)?,
            shown_until: 0,
            closed: Closed::No(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?),
        })
    }
}

impl<B, T> Space<B, T> {
    /// Adds a handle to a BO. Returns `node` if it was not needed, as the BO has one already.
    pub(in crate::vm) fn open(
        &mut self,
        bo: BoId,
        node: RBTreeNode<BoId, BoVa<B>>,
    ) -> Option<RBTreeNode<BoId, BoVa<B>>> {
        if let Some(va) = self.bos.get_mut(&bo) {
            va.handles += 1;
            return Some(node);
        }
        self.bos.insert(node)
    }

    /// Removes a handle to a BO. Returns true if it was the last: then the BO's mappings must be
    /// cleared, and [`Space::forget`] called.
    pub(in crate::vm) fn close(&mut self, bo: BoId) -> bool {
        match self.bos.get_mut(&bo) {
            Some(va) => {
                va.handles = va.handles.saturating_sub(1);
                va.handles == 0
            }
            None => false,
        }
    }

    /// Removes a BO that has no mapping and no handle. The caller drops the node after releasing
    /// the lock. `done` is the number of the last update that has ended: if jobs may reach the BO
    /// until a later one ends, the BO is only noted for [`Space::next_closed`].
    pub(in crate::vm) fn forget(
        &mut self,
        bo: BoId,
        done: u64,
    ) -> Option<RBTreeNode<BoId, BoVa<B>>> {
        let mapped = self.is_mapped(bo);
        let va = self.bos.get_mut(&bo)?;
        Self::set_closed(&mut self.closed, bo, va, None);
        if mapped || va.handles != 0 {
            return None;
        }
        if va.shown_until > done {
            let until = Some(va.shown_until);
            Self::set_closed(&mut self.closed, bo, va, until);
            return None;
        }
        self.bos.remove_node(&bo)
    }

    /// Returns a BO that was to be forgotten, and that no job reaches now that the update `done`
    /// has ended: [`Space::forget`] is to be called again.
    pub(in crate::vm) fn next_closed(&self, done: u64) -> Option<&B> {
        let (until, bo) = self.closed.keys().next()?;
        if *until > done {
            return None;
        }
        self.bos.get(bo).map(|va| &va.bo)
    }

    /// Adds a BO to or removes it from `closed`.
    fn set_closed(
        closed: &mut RBTree<(u64, BoId), ()>,
        bo: BoId,
        va: &mut BoVa<B>,
        until: Option<u64>,
    ) {
        // INVARIANT: The node is in the tree if and only if `va.closed` says so.
        if let Closed::Until(number) = va.closed {
            if let Some(node) = closed.remove_node(&(number, bo)) {
                va.closed = Closed::No(node.into_reservation());
            }
        }
        if let Some(until) = until {
            if let Closed::No(node) = core::mem::replace(&mut va.closed, Closed::Until(until)) {
                closed.insert(node.into_node((until, bo), ()));
            }
        }
    }

    /// Returns true if user space holds a handle to the BO.
    pub(in crate::vm) fn knows(&self, bo: BoId) -> bool {
        self.bos.get(&bo).is_some_and(|va| va.handles != 0)
    }

    /// Calls `f` with the first `most` BOs from `from` on. Returns where to go on, if there may be
    /// more.
    pub(in crate::vm) fn for_some_bos(
        &self,
        from: BoId,
        most: usize,
        mut f: impl FnMut(&B),
    ) -> Option<BoId> {
        let mut next = from;
        for _ in 0..most {
            let cursor = self.bos.cursor_lower_bound(&next)?;
            let (id, va) = cursor.current();
            f(&va.bo);
            next = id.next();
        }
        Some(next)
    }

    /// Returns a BO that is known to the address space.
    pub(in crate::vm) fn bo(&self, bo: BoId) -> Option<&B> {
        self.bos.get(&bo).map(|va| &va.bo)
    }

    /// Returns any BO that is known to the address space.
    pub(in crate::vm) fn any_bo(&self) -> Option<&B> {
        self.bos.values().next().map(|va| &va.bo)
    }
}
