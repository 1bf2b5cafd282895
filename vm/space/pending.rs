// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The buffer objects (BOs) of an address space whose page-table entries are not current, by who
//! has to do with them.
//!
//! The C driver has lists for that: `evicted`, `needs_update` and `idle` of `amdgpu_vm_bo_status`.
//!
//! An address space may have any number of BOs that are mapped and that no job ever names, and no
//! job may pay for them. So the BOs that a job has to do with whichever it names, those that are
//! *due*, are in a tree of their own. A BO that only a job that names it has to do with *waits*. It
//! is found by its name, and otherwise only counted.
//!
//! | entries | private BO | any other BO |
//! |---|---|---|
//! | stale | due | due |
//! | clear, holes | due | waits |
//!
//! A job makes the entries of BOs that are due current, or clears those that are stale. So it pays
//! for what has changed since the last job.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
};

use super::Entries;
use crate::mem::BoId;

/// Jobs of an address space that may use a BO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vm) enum Users {
    /// All jobs: the BO is private to the address space.
    AllJobs,
    /// Jobs that name the BO.
    JobsThatNameIt,
}

/// State of a BO's page-table entries. Starts as current.
pub(super) struct EntriesState {
    entries: Entries,
    users: Users,
    /// Memory for the BO's node in `Pending::due`, while the node is not in the tree.
    node: Option<RBTreeNodeReservation<BoId, ()>>,
}

impl EntriesState {
    /// Creates the state of a BO without entries. Allocates.
    pub(super) fn new(users: Users) -> Result<Self> {
        Ok(Self {
            entries: Entries::Current,
            users,
            node: Some(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?),
        })
    }

    pub(super) fn entries(&self) -> Entries {
        self.entries
    }

    /// Returns true if every job has to do with the BO.
    fn is_due(&self) -> bool {
        match self.entries {
            Entries::Current => false,
            Entries::Stale => true,
            Entries::Clear | Entries::Holes => self.users == Users::AllJobs,
        }
    }

    /// Returns true if a job that names the BO, and no other, has to do with it.
    pub(super) fn is_waiting(&self) -> bool {
        self.entries != Entries::Current && !self.is_due()
    }
}

/// The BOs of an address space whose entries are not current.
///
/// # Invariants
///
/// A BO is in `due` if and only if its state says so. `waiting` is the number of BOs whose state
/// says that they wait.
pub(super) struct Pending {
    due: RBTree<BoId, ()>,
    waiting: usize,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            due: RBTree::new(),
            waiting: 0,
        }
    }

    /// Sets the state of a BO's entries.
    pub(super) fn set(&mut self, bo: BoId, state: &mut EntriesState, entries: Entries) {
        // INVARIANT: The BO is added, removed and counted as its new state says.
        self.waiting -= usize::from(state.is_waiting());
        state.entries = entries;
        self.waiting += usize::from(state.is_waiting());
        if state.is_due() {
            if let Some(node) = state.node.take() {
                self.due.insert(node.into_node(bo, ()));
            }
        } else if state.node.is_none() {
            let node = self.due.remove_node(&bo);
            state.node = node.map(|node| node.into_reservation());
        }
    }

    /// Returns the BOs that are due.
    pub(super) fn due(&self) -> impl Iterator<Item = BoId> + '_ {
        self.due.keys().copied()
    }

    /// Returns the first BO from `from` on that is due.
    pub(super) fn due_from(&self, from: BoId) -> Option<BoId> {
        let cursor = self.due.cursor_lower_bound(&from)?;
        Some(*cursor.current().0)
    }

    /// Returns true if any BO waits for a job that names it.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting != 0
    }

    /// Returns true if the entries of all BOs are current.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.waiting == 0
    }
}
