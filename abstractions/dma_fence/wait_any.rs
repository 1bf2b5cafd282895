// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Waits for the first of many fences.
//!
//! The kernel's `dma_fence_wait_any_timeout()` allocates physically contiguous memory for any
//! number of fences. Here user space chooses the number (amdgpu: `amdgpu_cs_wait_any_fence()`), so
//! the memory is a [`KVVec`] that is charged to the caller.

use super::{
    timeout_to_c,
    Fence,
    Interruptible,
    Waited, //
};
use crate::bindings;
use kernel::{
    container_of,
    prelude::*,
    sync::aref::ARef,
    time::Jiffies,
    types::Opaque, //
};

/// Completion of a wait: completed once one of the fences is signaled.
#[pin_data]
struct Done {
    #[pin]
    inner: Opaque<bindings::completion>,
}

impl Done {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|ptr: *mut bindings::completion| {
                // SAFETY: `ptr` is valid for writes.
                unsafe { bindings::init_completion(ptr) }
            }),
        })
    }

    fn wait(&self, intr: Interruptible, timeout: Jiffies) -> Result<Waited> {
        // SAFETY: The completion is initialized.
        Waited::from_c(unsafe {
            match intr {
                Interruptible::Yes => {
                    let timeout = timeout.min(super::FOREVER);
                    bindings::wait_for_completion_interruptible_timeout(self.inner.get(), timeout)
                }
                Interruptible::No => {
                    let timeout = timeout.min(super::FOREVER);
                    let left = bindings::wait_for_completion_timeout(self.inner.get(), timeout);
                    timeout_to_c(left)
                }
            }
        })
    }
}

/// Callback on one fence.
struct Entry {
    callback: Opaque<bindings::dma_fence_cb>,
    done: *mut bindings::completion,
}

impl Entry {
    /// # Safety
    ///
    /// Must only be called for the callback of an `Entry` whose completion is alive.
    unsafe extern "C" fn signaled(
        _fence: *mut bindings::dma_fence,
        callback: *mut bindings::dma_fence_cb,
    ) {
        // SAFETY: By the function's requirement the callback is within an `Entry`.
        let entry =
            unsafe { container_of!(Opaque::cast_from(callback).cast_mut(), Self, callback) };
        // SAFETY: By the function's requirement.
        unsafe { bindings::complete_all((*entry).done) };
    }
}

/// Callbacks on the fences, removed when this is dropped.
///
/// # Invariants
///
/// `entries` has the capacity for all of `fences`, so that no entry moves. Each entry was added to
/// the fence of the same index.
struct Entries<'a> {
    fences: &'a [ARef<Fence>],
    entries: KVVec<Entry>,
    done: Pin<&'a Done>,
}

impl<'a> Entries<'a> {
    fn new(fences: &'a [ARef<Fence>], done: Pin<&'a Done>) -> Result<Self> {
        // INVARIANT: There are no entries yet.
        Ok(Self {
            fences,
            entries: KVVec::with_capacity(fences.len(), GFP_KERNEL_ACCOUNT)?,
            done,
        })
    }

    /// Adds a callback to each fence. Stops early at a fence that is signaled already.
    fn add_all(&mut self) -> Result {
        for fence in self.fences {
            self.entries.push_within_capacity(Entry {
                callback: Opaque::zeroed(),
                done: self.done.inner.get(),
            })?;
            let Some(entry) = self.entries.last() else {
                return Err(EINVAL);
            };
            // SAFETY: The fence is alive. By the type invariant the entry stays where it is until
            // it is dropped, before which the callback is taken back.
            let added = unsafe {
                bindings::dma_fence_add_callback(
                    fence.as_raw(),
                    entry.callback.get(),
                    Some(Entry::signaled),
                )
            };
            if added != 0 {
                // This fails only for a signaled fence. Removing the callback is still valid.
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Entries<'_> {
    fn drop(&mut self) {
        for (fence, entry) in self.fences.iter().zip(&self.entries) {
            // SAFETY: By the type invariant the callback was added to this fence, or would have
            // been if the fence had not been signaled. Its caller holds the fence's lock,
            // which this takes: it is not called any more afterward.
            unsafe {
                bindings::dma_fence_remove_callback(fence.as_raw(), entry.callback.get());
            }
        }
    }
}

/// Sleeps until one of `fences` is signaled or `timeout` has expired. Returns the lowest index at
/// which a signaled fence was seen.
///
/// # Errors
///
/// `ENOMEM`; `ERESTARTSYS` if a signal ended the wait.
pub(crate) fn wait_any(
    fences: &[ARef<Fence>],
    intr: Interruptible,
    timeout: Jiffies,
) -> Result<Option<usize>> {
    let first = || fences.iter().position(|fence| fence.is_signaled());

    if let Some(index) = first() {
        return Ok(Some(index));
    }
    if timeout == 0 || fences.is_empty() {
        return Ok(None);
    }
    pin_init::stack_pin_init!(let done = Done::new());
    let done = done.as_ref();
    let mut entries = Entries::new(fences, done)?;
    entries.add_all()?;
    if entries.entries.len() == fences.len() && first().is_none() {
        done.wait(intr, timeout)?;
    }
    drop(entries);
    Ok(first())
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_dma_fence_wait_any)]
mod tests {
    use super::*;
    use crate::abstractions::dma_fence::{
        DriverFence,
        FenceContext,
        PendingFence,
        UniqueFence,
        FOREVER, //
    };

    struct Name;

    #[vtable]
    impl DriverFence for Name {
        const DRIVER_NAME: &'static CStr = c"test";

        fn timeline_name(&self) -> &'static CStr {
            c"test"
        }
    }

    fn pending() -> Result<PendingFence<Name>> {
        let context = FenceContext::new();
        Ok(UniqueFence::new(GFP_KERNEL)?.publish(&context, 1, Name))
    }

    fn fences(pending: &[PendingFence<Name>]) -> Result<KVec<ARef<Fence>>> {
        let mut fences = KVec::new();
        for fence in pending {
            fences.push(fence.fence().clone(), GFP_KERNEL)?;
        }
        Ok(fences)
    }

    #[test]
    fn nothing_comes() -> Result {
        let pending = [pending()?, pending()?];
        let fences = fences(&pending)?;
        for timeout in [0, 1, 3] {
            assert_eq!(wait_any(&fences, Interruptible::No, timeout), Ok(None));
        }
        assert_eq!(wait_any(&[], Interruptible::Yes, FOREVER), Ok(None));
        Ok(())
    }

    #[test]
    fn the_first_of_those_that_are_signaled() -> Result {
        let [a, b, c] = [pending()?, pending()?, pending()?];
        let fences = fences(&[a, b, c])?;
        // Dropping the pending fences has signaled them all.
        assert_eq!(wait_any(&fences, Interruptible::No, FOREVER), Ok(Some(0)));
        Ok(())
    }

    #[test]
    fn one_fence_many_times() -> Result {
        let promise = pending()?;
        let mut fences = KVec::new();
        for _ in 0..300 {
            fences.push(promise.fence().clone(), GFP_KERNEL)?;
        }
        assert_eq!(wait_any(&fences, Interruptible::No, 1), Ok(None));
        promise.signal(Ok(()));
        assert_eq!(wait_any(&fences, Interruptible::No, 0), Ok(Some(0)));
        Ok(())
    }

    #[test]
    fn callbacks_that_are_called_while_they_are_held() -> Result {
        let pending = [pending()?, pending()?, pending()?];
        let fences = fences(&pending)?;
        pin_init::stack_pin_init!(let done = Done::new());
        let mut entries = Entries::new(&fences, done.as_ref())?;
        entries.add_all()?;
        let [a, b, c] = pending;
        b.signal(Ok(()));
        assert_eq!(done.wait(Interruptible::No, FOREVER), Ok(Waited::Done));
        drop(entries);
        // The callbacks must not be called any more.
        a.signal(Ok(()));
        c.signal(Err(EIO));
        Ok(())
    }
}
