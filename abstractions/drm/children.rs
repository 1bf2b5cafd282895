// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A count of the objects that point at another object, so that it can wait for them to go away.

use kernel::{
    prelude::*,
    sync::{
        Completion,
        Refcount, //
    },
};

/// The number of objects that point at the owner of this field.
///
/// A count is used where a reference would make a cycle, or would be dropped in a place where the
/// last drop must not happen. The owner calls [`Children::wait`] before it goes away.
///
/// # Invariants
///
/// `count` is the number of children, plus one until [`Children::wait`] is called. `gone` is
/// completed when it falls to zero.
#[pin_data]
pub(super) struct Children {
    count: Refcount,
    #[pin]
    gone: Completion,
}

impl Children {
    /// Returns a count of no children.
    pub(super) fn new() -> impl PinInit<Self> {
        // INVARIANT: No children; `wait` was not called.
        pin_init!(Self {
            count: Refcount::new(1),
            gone <- Completion::new(),
        })
    }

    /// Adds a child. Must not be called after [`Children::wait`] began, except by a child.
    pub(super) fn add(&self) {
        self.count.inc();
    }

    /// Removes a child. The owner may be gone when this returns.
    pub(super) fn remove(&self) {
        if self.count.dec_and_test() {
            self.gone.complete_all();
        }
    }

    /// Waits until there is no child. Must be called once, by the owner.
    pub(super) fn wait(&self) {
        self.remove();
        self.gone.wait_for_completion();
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_drm_children)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_none_left() -> Result {
        let children = KBox::pin_init(Children::new(), GFP_KERNEL)?;
        children.add();
        children.add();
        children.remove();
        children.remove();
        // Would never return if a child were left.
        children.wait();
        Ok(())
    }
}
