// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Synchronization objects (syncobjs) in ioctls: the dependencies of a job or of an address-space
//! change, and the objects that get its fence.
//!
//! The C driver has this in amdgpu_cs.c (`amdgpu_cs_p2_syncobj_in`, `amdgpu_cs_p2_syncobj_out`).
//!
//! The objects themselves and the ioctls on them belong to the DRM core.

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

/// A dependency: the fence that a job or an address-space change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Handle of the synchronization object.
    pub(crate) handle: u32,
    /// Point of a timeline, or 0 for the fence that the object holds.
    pub(crate) point: u64,
    /// Flags, `DRM_SYNCOBJ_WAIT_FLAGS_*`.
    pub(crate) flags: u32,
}

impl Wait {
    /// Returns the fence of the object. Waits until it has one where the flags say so: no lock may
    /// be held.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such object; `EINVAL` for an unknown flag, or if the object has no
    /// such fence; `ETIME` if no fence arrived in time; `ERESTARTSYS`.
    pub(crate) fn fence(self, file: &DrmFile) -> Result<ARef<Fence>> {
        Syncobj::find_fence(file, self.handle, self.point, self.flags)
    }
}

/// A synchronization object that is to receive a fence.
pub(crate) struct Signal {
    syncobj: Syncobj,
    /// Point of a timeline, unless the fence replaces everything that the object holds.
    point: Option<(Link, u64)>,
}

impl Signal {
    /// Prepares point `point` of the timeline with this handle, or the object as a whole if `point`
    /// is 0.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such object; `ENOMEM`.
    pub(crate) fn new(file: &DrmFile, handle: u32, point: u64) -> Result<Self> {
        let syncobj = Syncobj::find(file, handle)?;
        let point = match point {
            0 => None,
            _ => Some((Link::new()?, point)),
        };
        Ok(Self { syncobj, point })
    }

    /// Puts the fence of a job or of an update into the object.
    pub(crate) fn give(self, fence: &Fence) {
        match self.point {
            None => self.syncobj.replace_fence(fence),
            Some((link, point)) => {
                // Cannot fail: it is a fence of a job or of an update, and so no container.
                let _ = self.syncobj.add_point(link, fence, point);
            }
        }
    }
}
