// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM devices.
//!
//! C header: [`include/drm/drm_device.h`](srctree/include/drm/drm_device.h)

use super::{
    children::Children,
    driver::Vtable,
    Driver, //
};
use crate::{
    abstractions::task::TaskName,
    bindings, //
};
use core::{
    alloc::Layout,
    cell::Cell,
    mem,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::allocator::Kmalloc,
    device,
    error::from_err_ptr,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// Returns the C object of a device, which `kernel::device` does not export.
pub(crate) fn device_as_raw<Ctx: device::DeviceContext>(
    dev: &device::Device<Ctx>,
) -> *mut bindings::device {
    // CAST: `device::Device` is a transparent wrapper around `Opaque<struct device>`.
    ptr::from_ref(dev).cast_mut().cast()
}

/// The part of a [`Device`] that does not depend on the driver.
///
/// It exists before the driver's data does, so that parts of that data may be built on it.
///
/// # Invariants
///
/// `dev` is an initialized `struct drm_device`, and `self` is at the start of the allocation that
/// the DRM core frees with it.
#[repr(C)]
pub(crate) struct Base {
    dev: Opaque<bindings::drm_device>,
    objects: Children,
    children: Children,
}

impl Base {
    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_device {
        self.dev.get()
    }

    /// Returns the count of objects that use the driver's data without a reference to the device,
    /// such as buffer objects. The data is not dropped before they are gone.
    pub(super) fn objects(&self) -> &Children {
        &self.objects
    }

    /// Returns the count of objects that point at this `Base`, but not at the driver's data,
    /// without a reference to the device. These are parts of that data, and should be gone with it.
    pub(super) fn children(&self) -> &Children {
        &self.children
    }
}

impl AsRef<device::Device> for Base {
    /// Returns the parent device, for example the one on the PCI bus.
    fn as_ref(&self) -> &device::Device {
        // SAFETY: By the type invariant the C object is initialized, and it holds a reference to
        // its parent as long as it lives.
        unsafe { device::Device::from_raw((*self.as_raw()).dev) }
    }
}

/// A DRM device with the data of its driver, which it dereferences to.
///
/// It may outlive the binding of its parent device to the driver. The holder of a `&Device` may use
/// the device, but not take a reference: a buffer object sees its device while the device waits for
/// that object to go away, when the last reference is gone already. Only a [`Shared`] can be
/// referenced again.
///
/// # Invariants
///
/// `data` is initialized, and is dropped in [`Device::release`], when the last reference and the
/// last buffer object are gone.
#[repr(C)]
pub(crate) struct Device<T: Driver> {
    base: Base,
    data: T::Data,
}

impl<T: Driver> Device<T> {
    /// Returns the C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_device {
        self.base.as_raw()
    }

    /// Turns a pointer to the C object into a reference.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the `struct drm_device` of a `Device<T>`, which must stay alive for
    /// `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_device) -> &'a Self {
        // CAST: `Device` and `Base` are `repr(C)`, and start with the C object.
        // SAFETY: By the safety requirements of this function.
        unsafe { &*ptr.cast() }
    }

    /// Enters a section that unplugging the device waits for. Returns `None` once unplugging has
    /// begun.
    ///
    /// While the guard lives, the parent device stays bound to the driver, if the device was
    /// registered at all.
    pub(crate) fn enter(&self) -> Option<UnplugGuard> {
        let mut idx = 0;
        // SAFETY: By the type invariant the C object is valid.
        let entered = unsafe { bindings::drm_dev_enter(self.as_raw(), &mut idx) };
        // Dropping a guard leaves the section, so a guard is made only if it was entered.
        // INVARIANT: It was.
        entered.then(|| UnplugGuard {
            idx,
            _not_send: NotThreadSafe,
        })
    }

    /// Tells user space that the device was recovered, or has to be, and which task is to blame if
    /// one is (a uevent). Sleeps. Once unplugging has begun, nothing is told.
    pub(crate) fn tell_wedged(&self, remedy: Remedy, task: Option<&TaskName>) {
        let Some(_section) = self.enter() else {
            return;
        };
        let mut info = task.map(TaskName::as_wedge_info);
        let info = info.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // The event is lost if there is no memory for it.
        // SAFETY: The device is not unplugged in this section, so its nodes exist. The task's
        // description is valid, or null.
        unsafe { bindings::drm_dev_wedged_event(self.as_raw(), remedy.as_raw(), info) };
    }

    /// Takes away what user space has mapped of objects: the next access is a fault again.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: The inode lives as long as the device. From 0 on, 0 bytes are all there are.
        unsafe {
            let inode = (*self.as_raw()).anon_inode;
            bindings::unmap_mapping_range((*inode).i_mapping, 0, 0, 1);
        }
    }

    /// Implements the `release` callback, called when the last reference is gone.
    pub(super) extern "C" fn release(ptr: *mut bindings::drm_device) {
        // CAST: See `from_raw`.
        let this: *mut Self = ptr.cast();
        // SAFETY: The memory is freed by the DRM core after this callback.
        let base = unsafe { &(*this).base };

        base.objects.wait();

        // SAFETY: The reference count is zero and there are no objects, so nobody else has access
        // to the data, which is initialized by the type invariant and not used again.
        unsafe { ptr::drop_in_place(&raw mut (*this).data) };

        // There are no children, unless a part of the data was leaked.
        base.children.wait();
    }
}

/// Remedy of user space for a device that hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing is to be done: the driver has recovered the device.
    None,
    /// The driver has to be unbound, and bound again.
    Rebind,
}

impl Remedy {
    fn as_raw(self) -> kernel::ffi::c_ulong {
        match self {
            Self::None => bindings::RUST_EXT_DRM_WEDGE_RECOVERY_NONE,
            Self::Rebind => bindings::RUST_EXT_DRM_WEDGE_RECOVERY_REBIND,
        }
    }
}

impl<T: Driver> Deref for Device<T> {
    type Target = T::Data;

    fn deref(&self) -> &T::Data {
        &self.data
    }
}

impl<T: Driver> AsRef<Base> for Device<T> {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}

impl<T: Driver> AsRef<device::Device> for Device<T> {
    fn as_ref(&self) -> &device::Device {
        self.base.as_ref()
    }
}

/// A reference-counted [`Device`].
///
/// # Invariants
///
/// The reference count is not zero.
#[repr(transparent)]
pub(crate) struct Shared<T: Driver>(Device<T>);

impl<T: Driver> Deref for Shared<T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        &self.0
    }
}

// SAFETY: `drm_dev_get()` and `drm_dev_put()` count the references to the whole allocation.
unsafe impl<T: Driver> AlwaysRefCounted for Shared<T> {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the count is not zero.
        unsafe { bindings::drm_dev_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // CAST: See `from_raw`.
        // SAFETY: By the safety requirements the count is not zero.
        unsafe { bindings::drm_dev_put(obj.cast().as_ptr()) };
    }
}

// SAFETY: A device may be released from any thread; its data is `Send`.
unsafe impl<T: Driver> Send for Device<T> {}

// SAFETY: The C object does its own locking; the data is `Sync`.
unsafe impl<T: Driver> Sync for Device<T> {}

/// A section that unplugging a device waits for: see [`Device::enter`].
///
/// # Invariants
///
/// `idx` comes from a successful `drm_dev_enter()` on this thread.
#[must_use]
pub(crate) struct UnplugGuard {
    idx: kernel::ffi::c_int,
    _not_send: NotThreadSafe,
}

impl Drop for UnplugGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::drm_dev_exit(self.idx) };
    }
}

/// A device whose driver's data is not initialized yet.
///
/// [`Allocation::base`] is for parts of the data that refer to the device, such as a memory
/// manager. [`Allocation::init`] initializes the data, and
/// [`Registration::new`](super::driver::Registration::new) shows the device to user space.
///
/// # Invariants
///
/// `dev` owns a reference to the C object, and its `base` is initialized. Its `data` is
/// initialized, and the `release` callback set, if and only if `state` is [`State::Complete`].
pub(crate) struct Allocation<T: Driver> {
    dev: NonNull<Device<T>>,
    state: Cell<State>,
    _not_send: NotThreadSafe,
}

/// Progress of the initialization of an [`Allocation`]'s data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The data is not initialized.
    Empty,
    /// The initializer of the data runs.
    Busy,
    /// The data is initialized.
    Complete,
}

impl<T: Driver> Allocation<T> {
    /// Allocates a device below `parent`.
    pub(crate) fn new(parent: &device::Device<device::Bound>) -> Result<Self> {
        // `__drm_dev_alloc()` uses `kzalloc()`.
        let layout = Kmalloc::aligned_layout(Layout::new::<Device<T>>());

        // SAFETY: `parent` is a valid device, the driver description is a static, and the C object
        // lies at the given offset of an allocation of that size.
        let raw = unsafe {
            bindings::__drm_dev_alloc(
                device_as_raw(parent),
                Vtable::<T>::ALLOCATED,
                layout.size(),
                mem::offset_of!(Base, dev),
            )
        };
        let dev = NonNull::new(from_err_ptr(raw)?.cast::<Device<T>>()).ok_or(ENOMEM)?;

        // SAFETY: The memory is allocated, uninitialized and pinned.
        unsafe {
            pin_init::raw_init(&raw mut (*dev.as_ptr()).base.objects, Children::new());
            pin_init::raw_init(&raw mut (*dev.as_ptr()).base.children, Children::new());
        }

        // INVARIANT: `__drm_dev_alloc()` gave us a reference; `base` is now complete, and the
        // driver description without `release` was used.
        Ok(Self {
            dev,
            state: Cell::new(State::Empty),
            _not_send: NotThreadSafe,
        })
    }

    /// Returns the base that the driver's data may be built on.
    pub(crate) fn base(&self) -> &Base {
        // SAFETY: By the type invariant `base` is initialized, and lives as long as `self`.
        unsafe { &self.dev.as_ref().base }
    }

    /// Initializes the driver's data. This succeeds only once, and fails within the initializer
    /// itself.
    pub(crate) fn init(&self, data: impl PinInit<T::Data, Error>) -> Result<UnregisteredDevice<T>> {
        if self.state.get() != State::Empty {
            return Err(EBUSY);
        }
        self.state.set(State::Busy);

        let dev = self.dev.as_ptr();
        // SAFETY: `data` is allocated, not initialized by the type invariant, and pinned, as the
        // C object's memory never moves.
        unsafe { pin_init::raw_try_init(&raw mut (*dev).data, data) }
            .inspect_err(|_| self.state.set(State::Empty))?;

        // SAFETY: Nobody else knows of the device yet.
        unsafe { (*(*dev).base.as_raw()).driver = Vtable::<T>::COMPLETE };
        // INVARIANT: `data` is initialized and `release` is set.
        self.state.set(State::Complete);

        // SAFETY: The device is complete, and `self` owns a reference to it.
        // INVARIANT: So the count is not zero.
        let dev = unsafe { &*dev.cast::<Shared<T>>() };
        // INVARIANT: It was not registered, as nobody else knows of it.
        Ok(UnregisteredDevice(ARef::from(dev), NotThreadSafe))
    }
}

impl<T: Driver> Drop for Allocation<T> {
    fn drop(&mut self) {
        if self.state.get() != State::Complete {
            // There is no data to drop with the device, but parts of it may have been made outside
            // of `init`, and point at `base`.
            self.base().children().wait();
        }
        // SAFETY: By the type invariant we own a reference; if it is the last one, `release` runs
        // if and only if the data is there.
        unsafe { bindings::drm_dev_put(self.base().as_raw()) };
    }
}

/// A device that was never visible to user space.
///
/// # Invariants
///
/// `drm_dev_register()` was not called on the device.
pub(crate) struct UnregisteredDevice<T: Driver>(ARef<Shared<T>>, NotThreadSafe);

impl<T: Driver> UnregisteredDevice<T> {
    /// Returns the device, no longer known to be unregistered.
    pub(super) fn into_inner(self) -> ARef<Shared<T>> {
        self.0
    }
}

impl<T: Driver> Deref for UnregisteredDevice<T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.0
    }
}
