// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Callbacks before pages of a range of user memory go away.
//!
//! The C object is `struct mmu_interval_notifier` (amdgpu: `amdgpu_hmm_invalidate_gfx()`).
//!
//! C header: [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use crate::{
    abstractions::module::Drained,
    bindings, //
};
use core::{
    marker::PhantomData,
    ops::Range, //
};
use kernel::{
    container_of,
    error::to_result,
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// An invalidation that is about to happen to a part of the range.
///
/// # Invariants
///
/// `notifier` is the notifier whose callback is running, and `seq` is the number that the callback
/// received.
pub(crate) struct Invalidation<'a> {
    notifier: &'a Opaque<bindings::mmu_interval_notifier>,
    range: &'a bindings::mmu_notifier_range,
    seq: usize,
}

/// Proof that an invalidation was recorded: this one, as no other has the same lifetime.
pub(crate) struct Noted<'a>(PhantomData<fn(&'a ()) -> &'a ()>);

/// Reply of a callback that would have to sleep, but may not.
pub(crate) struct WouldBlock;

impl<'a> Invalidation<'a> {
    /// Returns the addresses concerned, which may reach beyond the notifier's range.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.start..self.range.end
    }

    /// Returns true if the callback may sleep.
    pub(crate) fn may_block(&self) -> bool {
        self.range.flags & bindings::MMU_NOTIFIER_RANGE_BLOCKABLE != 0
    }

    /// Records the invalidation, so that look-ups that are under way begin again.
    ///
    /// The caller must hold the lock under which users of the pages check that they are current.
    pub(crate) fn note(self) -> Noted<'a> {
        // SAFETY: By the type invariants the notifier is alive and this is its callback, which is
        // where it may be called, with the number that the callback got.
        unsafe { bindings::rust_ext_mmu_interval_set_seq(self.notifier.get(), self.seq) };
        Noted(PhantomData)
    }
}

/// Operations of a driver that uses user memory.
#[vtable]
pub(crate) trait Callbacks: Send + Sync + 'static {
    /// The module that the functions are part of.
    type OwnerModule: Drained;

    /// Called before pages of the range go away. The device must not use the pages after this
    /// returns: they will be freed.
    ///
    /// The callback must take the driver's lock and call [`Invalidation::note`]. It may release the
    /// lock before it waits for the device. Reclaim may call it, so it may neither wait for memory
    /// nor for anything that does. If it may not block but would have to, it does nothing and
    /// returns [`WouldBlock`]. The kernel then does without those pages, or calls again.
    ///
    /// It is also called when the owner of the memory exits, and may be called concurrently for
    /// several parts of the range.
    fn invalidate<'a>(&self, invalidation: Invalidation<'a>) -> Result<Noted<'a>, WouldBlock>;
}

/// A registered notifier for a range of user memory.
///
/// Dropping it removes the notifier and waits for running callbacks. It may not be dropped from a
/// callback, with a lock held that a callback takes, or in reclaim.
///
/// # Invariants
///
/// `inner` is registered for `range` of `mm` until `self` is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct IntervalNotifier<T: Callbacks> {
    #[pin]
    inner: Opaque<bindings::mmu_interval_notifier>,
    mm: ARef<Mm>,
    range: Range<usize>,
    data: T,
}

// SAFETY: A `struct mmu_interval_notifier` may be used and removed from any thread.
unsafe impl<T: Callbacks> Send for IntervalNotifier<T> {}
// SAFETY: The methods on a `&IntervalNotifier` synchronize by themselves.
unsafe impl<T: Callbacks> Sync for IntervalNotifier<T> {}

impl<T: Callbacks> IntervalNotifier<T> {
    const OPS: bindings::mmu_interval_notifier_ops = bindings::mmu_interval_notifier_ops {
        invalidate: Some(Self::invalidate),
        ..pin_init::zeroed()
    };

    /// Registers a notifier for `range`. Callbacks may come immediately.
    ///
    /// Takes `mmap_lock`. Fails with `EOVERFLOW` if the range is empty or its end overflows.
    pub(crate) fn new(
        mm: &MmWithUser,
        range: Range<usize>,
        data: T,
    ) -> impl PinInit<Self, Error> + '_ {
        let (start, length) = (range.start, range.end.wrapping_sub(range.start));
        try_pin_init!(Self {
            data,
            mm: (&**mm).into(),
            range,
            // This comes last, because a callback uses the other fields.
            inner <- Opaque::try_ffi_init(move |ptr: *mut bindings::mmu_interval_notifier| {
                // SAFETY: `ptr` is valid for writes, and stays so until `self` is dropped, as it is
                // pinned. `mm` has users. The operations live as long as the module, which has
                // promised (`Drained`) that `self` does not outlive it.
                to_result(unsafe {
                    ptr.write_bytes(0, 1);
                    bindings::mmu_interval_notifier_insert(
                        ptr,
                        mm.as_raw(),
                        start,
                        length,
                        const { &Self::OPS },
                    )
                })
            }),
        })
    }

    /// Returns the range.
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns the address space of the range. It may have no users any more.
    pub(crate) fn mm(&self) -> &Mm {
        &self.mm
    }

    /// Returns the driver's data.
    pub(crate) fn data(&self) -> &T {
        &self.data
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::mmu_interval_notifier {
        self.inner.get()
    }

    /// # Safety
    ///
    /// Only the kernel may call this, on a registered notifier that is the `inner` of a `Self`.
    unsafe extern "C" fn invalidate(
        notifier: *mut bindings::mmu_interval_notifier,
        range: *const bindings::mmu_notifier_range,
        seq: usize,
    ) -> bool {
        let notifier: *const Opaque<bindings::mmu_interval_notifier> = Opaque::cast_from(notifier);
        // SAFETY: By the function's requirement `notifier` is the field of a `Self`, which lives at
        // least until the notifier is removed, which waits for this function.
        let this = unsafe { &*container_of!(notifier, Self, inner) };
        // INVARIANT: These are the arguments of the callback.
        let invalidation = Invalidation {
            notifier: &this.inner,
            // SAFETY: The kernel gives a valid range, for as long as the callback runs.
            range: unsafe { &*range },
            seq,
        };
        this.data.invalidate(invalidation).is_ok()
    }
}

#[pinned_drop]
impl<T: Callbacks> PinnedDrop for IntervalNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the notifier is registered, and this is its end.
        unsafe { bindings::mmu_interval_notifier_remove(self.inner.get()) };
    }
}
