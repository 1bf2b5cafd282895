// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Locks the reservations of many GEM objects at once.
//!
//! Reservations are wait/wound mutexes: a thread that loses against an older one must release all
//! reservations that it holds and start over. [`lock_all`] does so: it calls a closure that names
//! the objects, repeatedly, until all of them are locked. The result is a [`Locked`], which holds
//! them until it is dropped. Functions that need reservations take a `&Locked` as the proof.
//!
//! The same object, or two objects that share a reservation, may be named more than once.
//!
//! C header: [`include/drm/drm_exec.h`](srctree/include/drm/drm_exec.h)

use crate::{
    abstractions::{
        dma_fence::Interruptible,
        dma_resv::{
            HeldResv,
            Resv, //
        },
    },
    bindings, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A GEM object of any type.
///
/// # Safety
///
/// The pointer that `as_gem_object` returns must be valid for as long as `self` is borrowed, and
/// point to an initialized `struct drm_gem_object` whose reference count is not 0. The object must
/// have a reservation, which stays the same for as long as the object lives.
pub(crate) unsafe trait AsGemObject {
    /// Returns the C object.
    fn as_gem_object(&self) -> *mut bindings::drm_gem_object;

    /// Returns the object's reservation. Objects may share one.
    fn resv(&self) -> &Resv {
        // SAFETY: By the trait's requirement the object and its reservation are initialized and
        // live as long as `self` is borrowed.
        unsafe { Resv::from_raw((*self.as_gem_object()).resv) }
    }
}

// SAFETY: By the requirements of `gem::Object` the C object is initialized, which gives it a
// reservation, and lives as long as `self`; a reservation is only replaced when nobody has a
// reference to the object any more.
unsafe impl<T: super::gem::Object> AsGemObject for T {
    fn as_gem_object(&self) -> *mut bindings::drm_gem_object {
        self.as_gem()
    }
}

/// A locking context.
///
/// # Invariants
///
/// - The wrapped `struct drm_exec` was initialized, by the thread that drops it.
/// - The objects in it are held and referenced.
struct Exec {
    // The locks that it holds refer to the wait/wound context, so it is boxed and never moves.
    inner: Pin<KBox<Opaque<bindings::drm_exec>>>,
    _not_thread_safe: NotThreadSafe,
}

impl Exec {
    /// Initial capacity in objects, which grows on demand. The default would be a whole page,
    /// cleared for each use.
    const FEW: u32 = 64;

    fn new(intr: Interruptible) -> Result<Self> {
        let inner = KBox::pin(Opaque::zeroed(), GFP_KERNEL)?;
        let intr = match intr {
            Interruptible::Yes => bindings::RUST_EXT_DRM_EXEC_INTERRUPTIBLE_WAIT,
            Interruptible::No => 0,
        };
        // SAFETY: The memory is valid for writes.
        unsafe {
            bindings::drm_exec_init(
                inner.get(),
                intr | bindings::RUST_EXT_DRM_EXEC_IGNORE_DUPLICATES,
                Self::FEW,
            )
        };
        // INVARIANT: It was just initialized, and holds no object.
        Ok(Self {
            inner,
            _not_thread_safe: NotThreadSafe,
        })
    }

    fn as_raw(&self) -> *mut bindings::drm_exec {
        self.inner.get()
    }

    /// Returns true if an older context holds an object and it has not been taken since.
    fn is_contended(&self) -> bool {
        // SAFETY: By the type invariant the context is initialized, and only this thread uses it.
        unsafe { !(*self.as_raw()).contended.is_null() }
    }

    /// Returns true to (re)start, with all objects released, or false if all of them are held.
    fn begin(&mut self) -> bool {
        // SAFETY: By the type invariant the context is initialized.
        unsafe { bindings::drm_exec_cleanup(self.as_raw()) }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the context is initialized, and this is its end.
        unsafe { bindings::drm_exec_fini(self.as_raw()) };
    }
}

/// A round of [`lock_all`], to which the closure names objects.
pub(crate) struct Locker<'a> {
    exec: &'a mut Exec,
    /// Set if an older context was found to hold an object in this round, so that all must be
    /// released.
    ///
    /// The C context cannot be asked: it remembers a contended object until the next round has
    /// taken it.
    backing_off: bool,
}

impl Locker<'_> {
    /// Takes the reservation of `object`, and reserves slots in it for `num_fences` more fences.
    ///
    /// On an error the closure should stop: return the error with `?`.
    pub(crate) fn prepare(&mut self, object: &impl AsGemObject, num_fences: u32) -> Result {
        if self.backing_off {
            return Err(EDEADLK);
        }
        // SAFETY: By the type invariant the context is initialized, and by the trait's requirement
        // the object is alive.
        let result = to_result(unsafe {
            bindings::drm_exec_prepare_obj(self.exec.as_raw(), object.as_gem_object(), num_fences)
        });
        self.backing_off = result.is_err() && self.exec.is_contended();
        result
    }

    /// Ends a round in which all objects were named. If none was named, takes the object that was
    /// contended in the previous round; otherwise the next round would fare no better.
    fn finish(self) -> Result {
        if !self.exec.is_contended() {
            return Ok(());
        }
        // SAFETY: By the type invariant the context is initialized; there are no objects to name.
        to_result(unsafe {
            bindings::drm_exec_prepare_array(self.exec.as_raw(), core::ptr::null_mut(), 0, 0)
        })
    }
}

/// Takes the reservations of all objects that `name` names.
///
/// `name` may be called several times, and must start over each time. An error of its own ends the
/// whole operation, with nothing held.
pub(crate) fn lock_all(
    intr: Interruptible,
    mut name: impl FnMut(&mut Locker<'_>) -> Result,
) -> Result<Locked> {
    let mut exec = Exec::new(intr)?;
    while exec.begin() {
        let mut locker = Locker {
            exec: &mut exec,
            backing_off: false,
        };
        let result = name(&mut locker);
        if !locker.backing_off {
            result?;
            locker.finish()?;
        }
    }
    // INVARIANT: The last round ended without contention.
    Ok(Locked(exec))
}

/// Takes the reservation of one object, with slots for `num_fences` fences.
pub(crate) fn lock_one(
    intr: Interruptible,
    object: &impl AsGemObject,
    num_fences: u32,
) -> Result<Locked> {
    lock_all(intr, |locker| locker.prepare(object, num_fences))
}

/// Objects whose reservations this thread holds until this is dropped.
///
/// It also holds a reference to each object, but for those whose reservation is also that of an
/// object before them.
///
/// # Invariants
///
/// The context is past its acquire phase.
pub(crate) struct Locked(Exec);

impl Locked {
    /// Returns the proof that the object's reservation is among those held, or `None` if it is not.
    pub(crate) fn held<'a>(&'a self, object: &'a impl AsGemObject) -> Option<HeldResv<'a>> {
        self.contains(object).then(|| {
            // SAFETY: The reservation is held in our context, which is this thread's, and not
            // released before `self` is dropped.
            unsafe { HeldResv::new(object.resv()) }
        })
    }

    /// Returns true if the object's reservation is among those held.
    pub(crate) fn contains(&self, object: &impl AsGemObject) -> bool {
        // SAFETY: By the type invariant the context is initialized, and the reservation is as well.
        // The context of a lock is ours only while we hold it, so no other thread can make the
        // comparison come out true.
        unsafe {
            bindings::rust_ext_dma_resv_locking_ctx(object.resv().as_raw())
                == bindings::rust_ext_drm_exec_ticket(self.0.as_raw())
        }
    }

    /// Iterates over the reservations, each once.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = HeldResv<'_>> {
        let exec = self.0.as_raw();
        // SAFETY: By the type invariant the context is initialized, and does not change any more.
        let (objects, count) = unsafe { ((*exec).objects, (*exec).num_objects) };
        (0..count as usize).map(move |i| {
            // SAFETY: The first `num_objects` are valid, held and referenced for as long as `self`
            // is borrowed.
            unsafe { HeldResv::new(Resv::from_raw((**objects.add(i)).resv)) }
        })
    }
}
