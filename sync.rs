// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Synchronization objects in ioctls: what a job or a change of an address space comes after, and
//! where user space finds its fence.
//!
//! The objects themselves, and the ioctls on them, are the DRM core's.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    abstractions::{
        dma_fence::Fence,
        drm::syncobj::{
            Link,
            Syncobj, //
        },
    },
    drm::DrmFile, //
};

/// A fence that something comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Handle of the object.
    pub(crate) handle: u32,
    /// Point of a timeline; 0: whatever the object holds.
    pub(crate) point: u64,
    /// `DRM_SYNCOBJ_WAIT_FLAGS_*`.
    pub(crate) flags: u32,
}

impl Wait {
    /// The fence. Where the flags say so, waits until there is one: nothing may be locked.
    ///
    /// # Errors
    ///
    /// `ENOENT` without such an object; `EINVAL` for an unknown flag or if there is no such fence;
    /// `ETIME` if none came in time, `ERESTARTSYS`.
    pub(crate) fn fence(self, file: &DrmFile) -> Result<ARef<Fence>> {
        Syncobj::find_fence(file, self.handle, self.point, self.flags)
    }
}

/// Where a fence is to go.
pub(crate) struct Signal {
    syncobj: Syncobj,
    /// The point of a timeline, unless the fence takes the place of all that the object holds.
    point: Option<(Link, u64)>,
}

impl Signal {
    /// Point `point` of the timeline with this handle; 0: the object as a whole.
    ///
    /// # Errors
    ///
    /// `ENOENT` without such an object; `ENOMEM`.
    pub(crate) fn new(file: &DrmFile, handle: u32, point: u64) -> Result<Self> {
        let syncobj = Syncobj::find(file, handle)?;
        let point = match point {
            0 => None,
            _ => Some((Link::new()?, point)),
        };
        Ok(Self { syncobj, point })
    }

    /// Puts the fence there.
    pub(crate) fn give(self, fence: &Fence) {
        match self.point {
            None => self.syncobj.replace_fence(fence),
            Some((link, point)) => self.syncobj.add_point(link, fence, point),
        }
    }
}
