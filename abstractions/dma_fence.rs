// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fences: promises that some asynchronous work completes in finite time.
//!
//! A [`Fence`] is a reference-counted `struct dma_fence` of any driver. It can be queried and
//! waited for. A driver makes its own fences in three steps, each of which consumes the previous
//! one, so that a fence is neither published twice nor forgotten:
//!
//! 1. [`UniqueFence`]: memory, allocated ahead of time, that only its owner knows.
//! 2. [`PendingFence`]: the fence, published under a sequence number by [`UniqueFence::publish`],
//!    which cannot fail. Only its owner may signal it.
//! 3. [`PendingFence::signal`] signals it. A `PendingFence` that is dropped instead is signaled
//!    with `ECANCELED`, so a published fence is always signaled.
//!
//! The kernel waits for fences when it reclaims memory. So code on the way to a signal may neither
//! wait for memory nor take a lock that is ever held while memory is allocated.
//! [`SignalingSection`] marks such code, and lockdep then checks it.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

mod fence_work;
mod wait_any;

pub(crate) use self::{
    fence_work::{
        FenceWork,
        FenceWorkItem, //
    },
    wait_any::wait_any, //
};

use crate::{
    abstractions::module::Drained,
    bindings, //
};
use core::{
    marker::PhantomData,
    mem::{
        needs_drop,
        ManuallyDrop,
        MaybeUninit, //
    },
    ptr::{
        addr_of,
        addr_of_mut,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    ffi,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    time::Jiffies,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Effect of a signal to the waiting task on a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruptible {
    /// A signal ends the wait with `ERESTARTSYS`.
    Yes,
    /// A signal does not end the wait.
    No,
}

impl Interruptible {
    /// Returns the value that the C functions take.
    pub(crate) fn as_bool(self) -> bool {
        self == Self::Yes
    }
}

/// Result of a wait with a timeout that no signal interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The condition came true.
    Done,
    /// The timeout expired first.
    TimedOut,
}

impl Waited {
    /// Converts the return value of a C function: negative is an error, 0 a timeout.
    pub(crate) fn from_c(remaining: ffi::c_long) -> Result<Self> {
        match remaining {
            0 => Ok(Self::TimedOut),
            1.. => Ok(Self::Done),
            _ => Err(i32::try_from(remaining)
                .map(Error::from_errno)
                .unwrap_or(EINVAL)),
        }
    }
}

/// Longest timeout that the C functions take, which means no timeout.
pub(crate) const FOREVER: Jiffies = Jiffies::MAX >> 1;

/// Converts a timeout for the C functions.
pub(crate) fn timeout_to_c(timeout: Jiffies) -> ffi::c_long {
    ffi::c_long::try_from(timeout).unwrap_or(ffi::c_long::MAX)
}

/// A fence of any driver.
///
/// # Invariants
///
/// The wrapped `struct dma_fence` is initialized, and its reference count is not 0.
#[repr(transparent)]
pub(crate) struct Fence(Opaque<bindings::dma_fence>);

// SAFETY: A `struct dma_fence` may be used and released from any thread.
unsafe impl Send for Fence {}
// SAFETY: Every function on a `struct dma_fence` synchronizes by itself.
unsafe impl Sync for Fence {}

// SAFETY: By the type invariant a `Fence` is reference-counted by `struct dma_fence`, and these are
// the functions that count.
unsafe impl AlwaysRefCounted for Fence {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the fence is alive.
        unsafe { bindings::rust_ext_dma_fence_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference that it owns.
        unsafe { bindings::rust_ext_dma_fence_put(obj.cast().as_ptr()) };
    }
}

impl Fence {
    /// Borrows a fence that C code holds.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialized fence that stays alive for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_fence) -> &'a Self {
        // SAFETY: By the function's requirement the type invariant holds for 'a; the layouts are
        // the same as `Fence` is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Gives a reference to C code.
    pub(crate) fn into_raw(this: ARef<Self>) -> *mut bindings::dma_fence {
        ARef::into_raw(this).cast().as_ptr()
    }

    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_fence {
        self.0.get()
    }

    /// Returns a fence that is signaled already.
    pub(crate) fn stub() -> ARef<Self> {
        // SAFETY: This function has no requirement; it gives a reference to the global stub fence.
        let ptr = unsafe { bindings::dma_fence_get_stub() };
        // SAFETY: The stub fence exists from boot on, and the reference is ours.
        unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast())) }
    }

    /// Returns the fence context (timeline) that the fence belongs to.
    pub(crate) fn context(&self) -> u64 {
        // SAFETY: By the type invariant the fence is alive; the field never changes.
        unsafe { (*self.as_raw()).context }
    }

    /// Returns the sequence number of the fence within its context.
    pub(crate) fn seqno(&self) -> u64 {
        // SAFETY: By the type invariant the fence is alive; the field never changes.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Returns true once the work has ended, successfully or not.
    pub(crate) fn is_signaled(&self) -> bool {
        // SAFETY: By the type invariant the fence is alive.
        unsafe { bindings::rust_ext_dma_fence_is_signaled(self.as_raw()) }
    }

    /// Returns true if the fence stands for others: a point on a timeline
    /// ([`Syncobj`](crate::abstractions::drm::syncobj::Syncobj)), or a set of fences.
    ///
    /// C drops, signals and walks through containers within containers by recursion. So what takes
    /// fences of any origin and makes a container of them, or a part of a fence, must refuse
    /// containers: else a loop makes them as deep as it likes, and the kernel's stack is not.
    pub(crate) fn is_container(&self) -> bool {
        // SAFETY: By the type invariant the fence is alive. The function looks at what kind of
        // fence it is.
        unsafe { bindings::rust_ext_dma_fence_is_container(self.as_raw()) }
    }

    /// Returns the result of the work, or `None` while it has not ended.
    pub(crate) fn status(&self) -> Option<Result> {
        // SAFETY: By the type invariant the fence is alive.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            status => Some(to_result(status)),
        }
    }

    /// Sleeps until the work has ended, successfully or not.
    pub(crate) fn wait(&self, intr: Interruptible) -> Result {
        self.wait_timeout(intr, FOREVER).map(|_| ())
    }

    /// Sleeps until the work has ended, successfully or not, or until `timeout` has expired.
    pub(crate) fn wait_timeout(&self, intr: Interruptible, timeout: Jiffies) -> Result<Waited> {
        // SAFETY: By the type invariant the fence is alive.
        Waited::from_c(unsafe {
            bindings::dma_fence_wait_timeout(self.as_raw(), intr.as_bool(), timeout_to_c(timeout))
        })
    }
}

/// A fence context (timeline), within which fences are numbered.
///
/// Fences of one context must be signaled in the order of their sequence numbers.
pub(crate) struct FenceContext(u64);

impl FenceContext {
    /// Allocates a context number that is unique in the system.
    pub(crate) fn new() -> Self {
        // SAFETY: This function has no requirement.
        Self(unsafe { bindings::dma_fence_context_alloc(1) })
    }
}

/// A driver's description of its fences, for traces and debug output.
///
/// A signaled fence no longer belongs to the driver: the kernel frees it without asking. So the
/// data in the fence is not dropped.
#[vtable]
pub(crate) trait DriverFence: Sync + Send + 'static {
    /// The module that the functions are part of.
    type OwnerModule: Drained;

    /// The driver's name.
    const DRIVER_NAME: &'static CStr;

    /// Returns the name of the timeline that the fence belongs to. May be called in any context, in
    /// an RCU section.
    fn timeline_name(&self) -> &'static CStr;
}

/// A fence with the driver's data for it.
///
/// `fence` must come first: the kernel frees the allocation through the address of the fence.
#[repr(C)]
struct Inner<T> {
    fence: bindings::dma_fence,
    data: T,
}

impl<T: DriverFence> Inner<T> {
    const OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
        get_driver_name: Some(Self::driver_name),
        get_timeline_name: Some(Self::timeline_name),
        // With neither `wait` nor `release`, a signaled fence does not refer to the driver, which
        // may be unloaded while others still hold the fence.
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `fence` must be within an `Inner<T>`, and alive.
    unsafe extern "C" fn driver_name(_fence: *mut bindings::dma_fence) -> *const ffi::c_char {
        T::DRIVER_NAME.as_char_ptr()
    }

    /// # Safety
    ///
    /// `fence` must be within an `Inner<T>`, and alive.
    unsafe extern "C" fn timeline_name(fence: *mut bindings::dma_fence) -> *const ffi::c_char {
        // SAFETY: These operations are only ever given to fences within an `Inner<T>`, where the
        // fence comes first; the kernel calls this while the fence is alive.
        let data = unsafe { &*addr_of!((*fence.cast::<Self>()).data) };
        data.timeline_name().as_char_ptr()
    }
}

/// Memory for a fence that is not published yet.
pub(crate) struct UniqueFence<T: DriverFence>(KBox<MaybeUninit<Inner<T>>>);

// SAFETY: It is memory that holds nothing yet.
unsafe impl<T: DriverFence> Send for UniqueFence<T> {}

impl<T: DriverFence> UniqueFence<T> {
    /// Allocates a fence.
    pub(crate) fn new(flags: kernel::alloc::Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Publishes the fence. From now on it can be waited for, and will be signaled.
    ///
    /// `seqno` must increase with each fence that is published in `context`; it does not wrap.
    pub(crate) fn publish(self, context: &FenceContext, seqno: u64, data: T) -> PendingFence<T> {
        const {
            assert!(!needs_drop::<T>(), "nobody drops the data of a fence");
        };
        let ptr = KBox::into_raw(self.0).cast::<Inner<T>>();
        // SAFETY: The memory is ours, and large and aligned enough for an `Inner<T>`.
        unsafe { addr_of_mut!((*ptr).data).write(data) };
        // SAFETY: `ptr` is valid for writes, and the operations live as long as the module. The
        // module has promised (`Drained`) that its fences are signaled before it is unloaded, and
        // its memory is freed only after an RCU grace period, which those wait for who look at the
        // operations. With no lock given, the fence uses its own.
        unsafe {
            bindings::dma_fence_init64(
                addr_of_mut!((*ptr).fence),
                const { &Inner::<T>::OPS },
                core::ptr::null_mut(),
                context.0,
                seqno,
            )
        };
        // INVARIANT: The fence is initialized, and its first reference is ours. The allocation is
        // freed by `dma_fence_free()`, which uses `kfree_rcu()` on the address of the fence; that
        // is the address of the allocation, which came from `kmalloc()`.
        PendingFence {
            // SAFETY: `ptr` is not null and the initial reference is ours.
            fence: unsafe { ARef::from_raw(NonNull::new_unchecked(ptr.cast())) },
            _data: PhantomData,
        }
    }
}

/// A published fence, and the duty to signal it.
///
/// # Invariants
///
/// `fence` is a driver's fence within an `Inner<T>` that has not been signaled, and nobody else
/// signals it.
pub(crate) struct PendingFence<T: DriverFence> {
    fence: ARef<Fence>,
    _data: PhantomData<T>,
}

impl<T: DriverFence> PendingFence<T> {
    /// Returns the fence, which may be shared freely.
    pub(crate) fn fence(&self) -> &ARef<Fence> {
        &self.fence
    }

    /// Signals the fence with the result of the work. Callbacks run before this returns.
    ///
    /// May be called in any context.
    pub(crate) fn signal(self, result: Result) {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used nor dropped afterward, so the reference moves out of it.
        let fence = unsafe { core::ptr::read(&this.fence) };
        // SAFETY: By the type invariant only we signal this fence, and `this` is consumed.
        unsafe { Self::finish(&fence, result) };
    }

    /// Signals `fence`.
    ///
    /// # Safety
    ///
    /// `fence` must not have been signaled, and nobody else may ever do so.
    unsafe fn finish(fence: &Fence, result: Result) {
        if let Err(error) = result {
            // SAFETY: The fence is alive and not signaled, and as only we signal it, nobody looks
            // at its error yet.
            unsafe { bindings::rust_ext_dma_fence_set_error(fence.as_raw(), error.to_errno()) };
        }
        // SAFETY: The fence is alive.
        unsafe { bindings::dma_fence_signal(fence.as_raw()) };
    }
}

impl<T: DriverFence> Drop for PendingFence<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant only we signal this fence, and `self` ends here.
        unsafe { Self::finish(&self.fence, Err(ECANCELED)) };
    }
}

/// A section of code on the way to the signal of a fence, marked for lockdep. While it lives, the
/// thread may neither wait for a fence nor do anything that waits for one, such as allocating with
/// `GFP_KERNEL`.
///
/// C: `dma_fence_begin_signalling()`.
///
/// Sections may be nested. They cost nothing without lockdep.
pub(crate) struct SignalingSection {
    cookie: bool,
    // The section must end on the thread that began it.
    _not_thread_safe: NotThreadSafe,
}

impl SignalingSection {
    /// Begins a section, which ends when the value is dropped.
    pub(crate) fn begin() -> Self {
        Self {
            // SAFETY: This function has no requirement but its counterpart, which `drop` calls.
            cookie: unsafe { bindings::rust_ext_dma_fence_begin_signalling() },
            _not_thread_safe: NotThreadSafe,
        }
    }
}

impl Drop for SignalingSection {
    fn drop(&mut self) {
        // SAFETY: `cookie` is what the call that began this section returned.
        unsafe { bindings::rust_ext_dma_fence_end_signalling(self.cookie) };
    }
}
