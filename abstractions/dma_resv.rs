// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Reservations: the lock of a buffer object, and the fences of the work that still uses it.
//!
//! Anyone may wait for a [`Resv`]. Changing the state that it guards, or adding fences, requires
//! holding it. [`HeldResv`] is the proof of that, given by [`Resv::lock`] for one reservation or by
//! [`drm::exec`](super::drm::exec) for many at once. Reservations are wait/wound mutexes of one
//! class: a second one may only be taken in the same locking context.
//!
//! Lock order: `mmap_lock`, then reservations, then reclaim.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h)

use super::dma_fence::{
    timeout_to_c,
    Fence,
    Interruptible,
    Waited,
    FOREVER, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref, //
};
use kernel::{
    error::to_result,
    ffi,
    prelude::*,
    sync::aref::ARef,
    time::Jiffies,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Usage that a fence in a reservation stands for. A query for one usage also yields the fences of
/// the usages before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    /// The kernel moves or clears the memory. Every user must wait for this.
    Kernel,
    /// A write that takes part in implicit synchronization.
    Write,
    /// A read that takes part in implicit synchronization.
    Read,
    /// Any other use. It only requires that the memory stays in place.
    Bookkeep,
}

impl Usage {
    pub(crate) fn as_raw(self) -> bindings::dma_resv_usage {
        match self {
            Self::Kernel => bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
            Self::Write => bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
            Self::Read => bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
            Self::Bookkeep => bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
        }
    }
}

/// A reservation.
///
/// # Invariants
///
/// The wrapped `struct dma_resv` is initialized.
#[repr(transparent)]
pub(crate) struct Resv(Opaque<bindings::dma_resv>);

// SAFETY: A `struct dma_resv` may be used from any thread.
unsafe impl Send for Resv {}
// SAFETY: The methods on a `&Resv` synchronize by themselves; those that need the lock are on
// `HeldResv`.
unsafe impl Sync for Resv {}

impl Resv {
    /// Borrows a reservation.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialized `struct dma_resv` that stays so for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_resv) -> &'a Self {
        // SAFETY: By the function's requirement the type invariant holds for 'a; the layouts are
        // the same as `Resv` is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_resv {
        self.0.get()
    }

    /// Sleeps until every fence of this usage is signaled. Does not need the lock; fences that are
    /// added during the wait may be missed.
    pub(crate) fn wait(&self, usage: Usage, intr: Interruptible) -> Result {
        self.wait_timeout(usage, intr, FOREVER).map(|_| ())
    }

    /// Waits as [`Resv::wait`] does, but no longer than `timeout`. A timeout of 0 only tests.
    pub(crate) fn wait_timeout(
        &self,
        usage: Usage,
        intr: Interruptible,
        timeout: Jiffies,
    ) -> Result<Waited> {
        let timeout = ffi::c_ulong::try_from(timeout_to_c(timeout)).unwrap_or(FOREVER);
        // SAFETY: By the type invariant the reservation is initialized.
        Waited::from_c(unsafe {
            bindings::dma_resv_wait_timeout(self.as_raw(), usage.as_raw(), intr.as_bool(), timeout)
        })
    }

    /// Returns true if every fence of this usage is signaled. Does not need the lock.
    pub(crate) fn is_idle(&self, usage: Usage) -> bool {
        // SAFETY: By the type invariant the reservation is initialized.
        unsafe { bindings::dma_resv_test_signaled(self.as_raw(), usage.as_raw()) }
    }

    /// Iterates over the unsignaled fences of this usage. Does not need the lock. If fences are
    /// added during the walk, it restarts and may yield some fences again.
    pub(crate) fn fences(&self, usage: Usage) -> Fences<'_> {
        let cursor = Opaque::uninit();
        // SAFETY: The cursor is valid for writes; by the type invariant the reservation is
        // initialized.
        unsafe {
            bindings::rust_ext_dma_resv_iter_begin(cursor.get(), self.as_raw(), usage.as_raw())
        };
        // INVARIANT: `cursor` was just initialized, and is not at a fence yet.
        Fences {
            cursor,
            position: Position::Start,
            _resv: PhantomData,
        }
    }

    /// Takes this reservation alone. The caller must hold no other.
    pub(crate) fn lock(&self, intr: Interruptible) -> Result<LockedResv<'_>> {
        let ptr = self.as_raw();
        let no_context = core::ptr::null_mut();
        // SAFETY: By the type invariant the reservation is initialized; a lock without a context is
        // a plain mutex.
        to_result(unsafe {
            match intr {
                Interruptible::Yes => {
                    bindings::rust_ext_dma_resv_lock_interruptible(ptr, no_context)
                }
                Interruptible::No => bindings::rust_ext_dma_resv_lock(ptr, no_context),
            }
        })?;
        // INVARIANT: The reservation was just taken.
        Ok(LockedResv {
            resv: self,
            _not_thread_safe: NotThreadSafe,
        })
    }
}

/// A reservation that was taken alone; released on drop.
///
/// # Invariants
///
/// This thread holds the reservation, and this value releases it.
pub(crate) struct LockedResv<'a> {
    resv: &'a Resv,
    _not_thread_safe: NotThreadSafe,
}

impl LockedResv<'_> {
    /// Returns the proof that the reservation is held.
    pub(crate) fn held(&self) -> HeldResv<'_> {
        // SAFETY: By the type invariant the reservation is held by this thread, for as long as
        // `self` is borrowed.
        unsafe { HeldResv::new(self.resv) }
    }
}

impl Drop for LockedResv<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reservation is held by this thread, and nobody else
        // releases it.
        unsafe { bindings::rust_ext_dma_resv_unlock(self.resv.as_raw()) };
    }
}

/// Proof that a reservation is held for `'a`, by whatever means.
///
/// # Invariants
///
/// This thread holds the reservation for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct HeldResv<'a> {
    resv: &'a Resv,
    _not_thread_safe: NotThreadSafe,
}

impl Deref for HeldResv<'_> {
    type Target = Resv;

    fn deref(&self) -> &Resv {
        self.resv
    }
}

impl<'a> HeldResv<'a> {
    /// Asserts that a reservation is held.
    ///
    /// # Safety
    ///
    /// This thread must hold `resv`, and not release it within `'a`.
    pub(crate) unsafe fn new(resv: &'a Resv) -> Self {
        // INVARIANT: This is the function's requirement.
        Self {
            resv,
            _not_thread_safe: NotThreadSafe,
        }
    }

    /// Reserves slots for `count` more fences, until the reservation is released. A second call
    /// before fences are added does not add to the first.
    pub(crate) fn reserve_fences(&self, count: u32) -> Result {
        // SAFETY: By the type invariants the reservation is initialized and held.
        to_result(unsafe { bindings::dma_resv_reserve_fences(self.as_raw(), count) })
    }

    /// Adds the fences of this usage in another reservation, which need not be held, with the same
    /// usage. Fences that are added there during the call may be missed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if there is a container among them, of which C warns, but which another
    /// driver may have added. Some fences are added then.
    pub(crate) fn copy_fences(&self, from: &Resv, usage: Usage) -> Result {
        for fence in from.fences(usage) {
            if fence.is_container() {
                return Err(EINVAL);
            }
            // One more, so that a slot which the caller of our caller has reserved stays.
            self.reserve_fences(2)?;
            self.add_fence(&fence, usage);
        }
        Ok(())
    }

    /// Adds a fence. It replaces an older fence of the same context.
    ///
    /// Does not allocate and cannot fail.
    ///
    /// # Panics
    ///
    /// If no slot was reserved for the fence, or if it is a container (see
    /// [`Fence::is_container`]): its fences must be added one by one.
    pub(crate) fn add_fence(&self, fence: &Fence, usage: Usage) {
        assert!(!fence.is_container());
        // SAFETY: By the type invariants the reservation is initialized and held.
        // C looks into the list to see whether there is room.
        assert!(!unsafe { (*self.as_raw()).fences }.is_null());
        // SAFETY: By the type invariants the reservation is initialized and held, and the fence is
        // alive.
        unsafe { bindings::dma_resv_add_fence(self.as_raw(), fence.as_raw(), usage.as_raw()) };
    }
}

/// Position of a walk through fences.
enum Position {
    Start,
    Within,
    End,
}

/// A walk through the unsignaled fences of a reservation.
///
/// # Invariants
///
/// `cursor` is an initialized iterator over a reservation that lives for `'a`, and owns a reference
/// to the fence at its position.
pub(crate) struct Fences<'a> {
    cursor: Opaque<bindings::dma_resv_iter>,
    position: Position,
    _resv: PhantomData<&'a Resv>,
}

impl Iterator for Fences<'_> {
    type Item = ARef<Fence>;

    fn next(&mut self) -> Option<ARef<Fence>> {
        // SAFETY: By the type invariant the cursor is initialized and the reservation is alive;
        // these two functions do not need the lock.
        let fence = unsafe {
            match self.position {
                Position::Start => bindings::dma_resv_iter_first_unlocked(self.cursor.get()),
                Position::Within => bindings::dma_resv_iter_next_unlocked(self.cursor.get()),
                Position::End => return None,
            }
        };
        if fence.is_null() {
            self.position = Position::End;
            return None;
        }
        self.position = Position::Within;
        // SAFETY: The cursor owns a reference to the fence, so it is alive.
        Some(unsafe { Fence::from_raw(fence) }.into())
    }
}

impl Drop for Fences<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the cursor is initialized; it is not used afterward.
        unsafe { bindings::rust_ext_dma_resv_iter_end(self.cursor.get()) };
    }
}

/// A reservation that belongs to no object, for tests.
///
/// # Invariants
///
/// `inner` is initialized.
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[pin_data(PinnedDrop)]
pub(crate) struct OwnResv {
    #[pin]
    inner: Opaque<bindings::dma_resv>,
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl OwnResv {
    /// Creates a reservation without fences.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: The function initializes it.
        pin_init!(Self {
            // SAFETY: The memory is valid for writes.
            inner <- Opaque::ffi_init(|ptr| unsafe { bindings::dma_resv_init(ptr) }),
        })
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
impl Deref for OwnResv {
    type Target = Resv;

    fn deref(&self) -> &Resv {
        // SAFETY: By the type invariant it is initialized, as long as `self` lives.
        unsafe { Resv::from_raw(self.inner.get()) }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[pinned_drop]
impl PinnedDrop for OwnResv {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant it is initialized, and nobody uses it any more.
        unsafe { bindings::dma_resv_fini(self.inner.get()) };
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(rust_dma_resv)]
mod tests {
    use super::*;
    use crate::abstractions::dma_fence::{
        DriverFence,
        FenceContext,
        PendingFence,
        UniqueFence, //
    };

    struct Name;

    #[vtable]
    impl DriverFence for Name {
        const DRIVER_NAME: &'static CStr = c"test";

        fn timeline_name(&self) -> &'static CStr {
            c"test"
        }
    }

    /// Fences of which each is of a context of its own, so that none replaces another.
    struct Fences(KVec<PendingFence<Name>>);

    impl Fences {
        fn add_to(&mut self, held: HeldResv<'_>, usage: Usage) -> Result {
            let fence = UniqueFence::new(GFP_KERNEL)?.publish(&FenceContext::new(), 1, Name);
            held.add_fence(fence.fence(), usage);
            self.0.push(fence, GFP_KERNEL)?;
            Ok(())
        }
    }

    #[test]
    fn copied_fences_leave_a_slot_that_was_reserved_before() -> Result {
        const COPIED: u32 = 3;
        /// More than one allocation's worth of slots, so that copies end where a list is full.
        const MOST: u32 = 40;

        for there in 0..MOST {
            let mut fences = Fences(KVec::new());
            let from = KBox::pin_init(OwnResv::new(), GFP_KERNEL)?;
            let to = KBox::pin_init(OwnResv::new(), GFP_KERNEL)?;
            let locked = from.lock(Interruptible::No)?;
            for _ in 0..COPIED {
                locked.held().reserve_fences(1)?;
                fences.add_to(locked.held(), Usage::Bookkeep)?;
            }
            drop(locked);

            let locked = to.lock(Interruptible::No)?;
            for _ in 0..there {
                locked.held().reserve_fences(1)?;
                fences.add_to(locked.held(), Usage::Bookkeep)?;
            }
            // Whoever moves the object has reserved a slot for the move's fence.
            locked.held().reserve_fences(1)?;
            locked.held().copy_fences(&from, Usage::Bookkeep)?;
            // Without a slot this is a BUG of the kernel.
            fences.add_to(locked.held(), Usage::Kernel)?;
            let count = to.fences(Usage::Bookkeep).count();
            assert_eq!(u32::try_from(count)?, there + COPIED + 1);
            assert_eq!(to.fences(Usage::Kernel).count(), 1);
        }
        Ok(())
    }
}
