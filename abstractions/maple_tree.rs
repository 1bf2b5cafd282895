// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A maple tree that threads may share.

use core::ops::Deref;
use kernel::{
    maple_tree::MapleTreeAlloc,
    prelude::*,
    types::ForeignOwnable, //
};

/// A [`MapleTreeAlloc`] that may be sent to another thread and used by several, which the kernel
/// crate does not declare.
#[pin_data]
pub(crate) struct SharedMapleTree<T: ForeignOwnable> {
    #[pin]
    tree: MapleTreeAlloc<T>,
}

// SAFETY: A maple tree is not tied to a thread. What it owns are its nodes and the values, which
// may be sent.
unsafe impl<T: ForeignOwnable + Send> Send for SharedMapleTree<T> {}

// SAFETY: All methods that take `&self` take the tree's own lock. Any code with access to a value
// holds that lock or has taken the value out: values go from thread to thread, and no two threads
// have one at a time.
unsafe impl<T: ForeignOwnable + Send> Sync for SharedMapleTree<T> {}

impl<T: ForeignOwnable> SharedMapleTree<T> {
    /// Returns an empty tree.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { tree <- MapleTreeAlloc::new() })
    }
}

impl<T: ForeignOwnable> Deref for SharedMapleTree<T> {
    type Target = MapleTreeAlloc<T>;

    fn deref(&self) -> &MapleTreeAlloc<T> {
        &self.tree
    }
}
