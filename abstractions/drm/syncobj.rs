// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Synchronization objects: fence containers that user space has handles to.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)

use super::{
    Driver,
    File, //
};
use crate::{
    abstractions::dma_fence::Fence,
    bindings, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::aref::ARef, //
};

/// A synchronization object.
///
/// # Invariants
///
/// This value owns a reference to the C object.
pub(crate) struct Syncobj(NonNull<bindings::drm_syncobj>);

impl Syncobj {
    /// Makes a new object, which holds `fence`.
    pub(crate) fn new(fence: &Fence) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: The fence is alive, and `raw` valid for writes; the object takes a reference of
        // its own.
        to_result(unsafe { bindings::rust_ext_drm_syncobj_create(&mut raw, 0, fence.as_raw()) })?;
        // INVARIANT: The function gives a reference.
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }

    /// Creates a handle to the object in `file`.
    pub(crate) fn create_handle<D: Driver>(&self, file: &File<D>) -> Result<u32> {
        let mut handle = 0;
        // SAFETY: File and object are valid, and `handle` valid for writes.
        to_result(unsafe {
            bindings::drm_syncobj_get_handle(file.as_raw(), self.0.as_ptr(), &mut handle)
        })?;
        Ok(handle)
    }

    /// Installs a file descriptor of the object in the current process. Any DRM file can import it.
    pub(crate) fn install(&self) -> Result<u32> {
        let mut fd = 0;
        // SAFETY: The object is valid, and `fd` valid for writes.
        to_result(unsafe { bindings::drm_syncobj_get_fd(self.0.as_ptr(), &mut fd) })?;
        Ok(u32::try_from(fd)?)
    }

    /// Returns the object with this handle in `file`, or `ENOENT`.
    pub(crate) fn find<D: Driver>(file: &File<D>, handle: u32) -> Result<Self> {
        // SAFETY: The file is valid.
        let raw = unsafe { bindings::drm_syncobj_find(file.as_raw(), handle) };
        // INVARIANT: The function gives a reference.
        NonNull::new(raw).map(Self).ok_or(ENOENT)
    }

    /// Returns the fence that the object with this handle in `file` holds for `point`, which is 0
    /// unless the object is a timeline. `flags` may be `DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT`,
    /// which waits some seconds for a fence that does not exist yet. The caller must hold no lock
    /// then.
    ///
    /// - `ENOENT`: there is no such object.
    /// - `EINVAL`: it holds no such fence, or a flag is unknown.
    /// - `ETIME`: no fence came in time.
    /// - `ERESTARTSYS`: a signal ended the wait.
    pub(crate) fn find_fence<D: Driver>(
        file: &File<D>,
        handle: u32,
        point: u64,
        flags: u32,
    ) -> Result<ARef<Fence>> {
        let mut fence = ptr::null_mut();
        // SAFETY: The file is valid, and `fence` valid for writes.
        to_result(unsafe {
            bindings::drm_syncobj_find_fence(file.as_raw(), handle, point, flags.into(), &mut fence)
        })?;
        // SAFETY: On success the function gives a reference to a fence.
        Ok(unsafe { ARef::from_raw(NonNull::from(Fence::from_raw(fence))) })
    }

    /// Replaces the fence that the object holds.
    pub(crate) fn replace_fence(&self, fence: &Fence) {
        // SAFETY: By the type invariant the object is valid; it takes a reference of its own.
        unsafe { bindings::drm_syncobj_replace_fence(self.0.as_ptr(), fence.as_raw()) };
    }

    /// Adds `fence` to the object as a point on its timeline.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the fence is a container: see [`Fence::is_container`]. A fence of this driver
    /// never is.
    pub(crate) fn add_point(&self, link: Link, fence: &Fence, point: u64) -> Result {
        if fence.is_container() {
            return Err(EINVAL);
        }
        let chain = KBox::into_raw(link.0);
        // SAFETY: By the type invariant the object is valid; it takes a reference to the fence, and
        // the memory of the link, which is freed with `kfree()`, as it was allocated for.
        unsafe {
            bindings::drm_syncobj_add_point(self.0.as_ptr(), chain, fence.as_raw(), point);
        }
        Ok(())
    }

    /// Returns the fence that the object holds: on a timeline, its last point.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    fn fence(&self) -> Option<ARef<Fence>> {
        // SAFETY: By the type invariant the object is valid. The function gives a reference, if
        // there is a fence.
        unsafe {
            let fence = bindings::rust_ext_drm_syncobj_fence_get(self.0.as_ptr());
            NonNull::new(fence.cast()).map(|fence| ARef::from_raw(fence))
        }
    }
}

impl Drop for Syncobj {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own a reference.
        unsafe { bindings::rust_ext_drm_syncobj_put(self.0.as_ptr()) };
    }
}

/// Memory for a point on a timeline: see [`Syncobj::add_point`].
pub(crate) struct Link(KBox<bindings::dma_fence_chain>);

impl Link {
    /// Allocates the memory.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(KBox::new(
            bindings::dma_fence_chain::default(),
            GFP_KERNEL_ACCOUNT,
        )?))
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_drm_syncobj)]
mod tests {
    use super::*;

    #[test]
    fn points_do_not_nest() -> Result {
        let timeline = Syncobj::new(&Fence::stub())?;
        timeline.add_point(Link::new()?, &Fence::stub(), 1)?;
        // A point on a timeline is a fence, too. A chain of such points within points would be
        // dropped by recursion.
        let mut last = timeline.fence().ok_or(EINVAL)?;
        assert!(last.is_container() && !Fence::stub().is_container());
        for point in 2..1000 {
            let other = Syncobj::new(&last)?;
            assert_eq!(other.add_point(Link::new()?, &last, point), Err(EINVAL));
            last = other.fence().ok_or(EINVAL)?;
        }
        // Points in a row are no nest, however many there are.
        for point in 2..1000 {
            timeline.add_point(Link::new()?, &Fence::stub(), point)?;
        }
        Ok(())
    }
}
