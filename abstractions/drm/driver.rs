// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM drivers, and the registration of their devices.
//!
//! C header: [`include/drm/drm_drv.h`](srctree/include/drm/drm_drv.h)

use super::{
    debugfs,
    device::{
        device_as_raw,
        Shared, //
    },
    file,
    gem,
    ioctl,
    Device,
    File,
    UnregisteredDevice, //
};
use crate::{
    abstractions::module::Drained,
    bindings, //
};
use core::marker::PhantomData;
use kernel::{
    device,
    devres::Devres,
    error::to_result,
    module::this_module,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::aref::ARef, //
};

/// A driver's description of itself for user space.
pub(crate) struct DriverInfo {
    /// Major version of the driver's interface.
    pub(crate) major: i32,
    /// Minor version of the driver's interface.
    pub(crate) minor: i32,
    /// Patch level of the driver's interface.
    pub(crate) patchlevel: i32,
    /// Name, by which user space chooses the interface that it uses.
    pub(crate) name: &'static CStr,
    /// Human-readable description.
    pub(crate) desc: &'static CStr,
}

/// A set of features that the DRM core provides on behalf of a driver.
#[derive(Clone, Copy)]
pub(crate) struct Features(u32);

impl Features {
    /// Buffer objects with handles. Every driver with its own memory needs this.
    pub(crate) const GEM: Self = Self(bindings::drm_driver_feature_DRIVER_GEM);
    /// A render node, `/dev/dri/renderD*`, in addition to the primary one.
    pub(crate) const RENDER: Self = Self(bindings::drm_driver_feature_DRIVER_RENDER);
    /// Synchronization objects.
    pub(crate) const SYNCOBJ: Self = Self(bindings::drm_driver_feature_DRIVER_SYNCOBJ);
    /// Synchronization objects with points on a timeline.
    pub(crate) const SYNCOBJ_TIMELINE: Self =
        Self(bindings::drm_driver_feature_DRIVER_SYNCOBJ_TIMELINE);

    /// Returns the union of both sets.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A driver for DRM devices.
#[vtable]
pub(crate) trait Driver: Sized + 'static {
    /// The module that the functions are part of. Open files and DMA buffers keep it loaded.
    type OwnerModule: Drained;

    /// The driver's data in each device, dropped with the last reference to the device.
    type Data: Send + Sync;

    /// The driver's data in each open file, passed to [`Driver::close`] when the file is closed.
    type File: Send + Sync;

    /// The driver's buffer object type.
    type Object: gem::Object<Driver = Self>;

    /// The driver's description of itself.
    const INFO: DriverInfo;

    /// The features that the DRM core provides on the driver's behalf.
    const FEATURES: Features;

    /// The driver's ioctls: see [`drm_ioctls!`](super::ioctl::drm_ioctls).
    const IOCTLS: &'static [ioctl::Descriptor<Self>];

    /// The files that each device has in debugfs.
    const DEBUGFS: &'static [debugfs::File<Self>] = &[];

    /// Called when a file is opened.
    fn open(dev: &Device<Self>) -> Result<Pin<KBox<Self::File>>>;

    /// Called when one of the descriptors of an open file is closed, for example as its process
    /// exits.
    ///
    /// The process's memory still exists.
    fn flush(_dev: &Device<Self>, _file: &File<Self>) {}

    /// Called when the last descriptor of an open file was closed. Its handles still exist.
    fn release(_dev: &Device<Self>, _file: &File<Self>) {}

    /// Called when an open file and its handles are gone.
    fn close(file: Pin<KBox<Self::File>>) {
        drop(file);
    }

    /// Called when `/proc/PID/fdinfo/FD` of an open file is read.
    fn show_fdinfo(_dev: &Device<Self>, _file: &File<Self>, _printer: &mut file::Printer) {}
}

/// The C tables of a driver.
pub(super) struct Vtable<T>(PhantomData<T>);

impl<T: Driver> Vtable<T> {
    /// Table for a device without data.
    pub(super) const ALLOCATED: &'static bindings::drm_driver = const { &Self::driver(None) };

    /// Table for a device with data.
    pub(super) const COMPLETE: &'static bindings::drm_driver =
        const { &Self::driver(Some(Device::<T>::release)) };

    const fn driver(
        release: Option<unsafe extern "C" fn(*mut bindings::drm_device)>,
    ) -> bindings::drm_driver {
        let mut driver: bindings::drm_driver = pin_init::zeroed();

        driver.release = release;
        driver.open = Some(File::<T>::open_callback);
        driver.postclose = Some(File::<T>::postclose_callback);
        if T::HAS_SHOW_FDINFO {
            driver.show_fdinfo = Some(File::<T>::show_fdinfo_callback);
        }
        driver.gem_prime_import = Some(<T::Object as gem::Object>::IMPORT);
        driver.major = T::INFO.major;
        driver.minor = T::INFO.minor;
        driver.patchlevel = T::INFO.patchlevel;
        driver.name = as_char_ptr_in_const_context(T::INFO.name).cast_mut();
        driver.desc = as_char_ptr_in_const_context(T::INFO.desc).cast_mut();
        driver.driver_features = T::FEATURES.0;
        driver.ioctls = T::IOCTLS.as_ptr().cast();
        // CAST: There are at most 96 driver ioctls: see `ioctl::table`.
        driver.num_ioctls = T::IOCTLS.len() as i32;
        driver.fops = const { &Self::fops() };
        driver
    }

    const fn fops() -> bindings::file_operations {
        let mut fops: bindings::file_operations = pin_init::zeroed();

        fops.owner = this_module::<T::OwnerModule>().as_ptr();
        fops.open = Some(bindings::drm_open);
        fops.release = Some(if T::HAS_RELEASE {
            File::<T>::release_callback
        } else {
            bindings::drm_release
        });
        if T::HAS_FLUSH {
            fops.flush = Some(File::<T>::flush_callback);
        }
        fops.unlocked_ioctl = Some(bindings::drm_ioctl);
        #[cfg(CONFIG_COMPAT)]
        {
            fops.compat_ioctl = Some(bindings::drm_compat_ioctl);
        }
        fops.poll = Some(bindings::drm_poll);
        fops.read = Some(bindings::drm_read);
        fops.llseek = Some(bindings::noop_llseek);
        fops.mmap = Some(bindings::drm_gem_mmap);
        #[cfg(CONFIG_PROC_FS)]
        {
            fops.show_fdinfo = Some(bindings::drm_show_fdinfo);
        }
        fops.fop_flags = bindings::FOP_UNSIGNED_OFFSET;
        fops
    }
}

/// A device that is visible to user space.
///
/// Dropping this unplugs the device. If it is leaked, the driver core unplugs the device when the
/// parent is unbound. Unplugging waits for the ioctls in progress and the other sections of
/// [`Device::enter`], and removes the CPU mappings of the device's memory.
pub(crate) struct Registration<T: Driver>(
    #[expect(dead_code, reason = "kept for its drop")] Devres<Registered<T>>,
);

impl<T: Driver> Registration<T> {
    /// Registers a device, which makes it visible to user space. `parent` must be the device that
    /// it was allocated with.
    pub(crate) fn new(
        parent: &device::Device<device::Bound>,
        drm: UnregisteredDevice<T>,
    ) -> Result<Self> {
        let drm = drm.into_inner();
        let actual: &device::Device = (**drm).as_ref();
        if device_as_raw(actual) != device_as_raw(parent) {
            return Err(EINVAL);
        }
        T::DEBUGFS.iter().for_each(|file| file.create(&drm));
        let registered = try_init!(Registered {
            drm: {
                // SAFETY: The device is complete, and was never registered by the type invariant of
                // `UnregisteredDevice`.
                to_result(unsafe { bindings::drm_dev_register(drm.as_raw(), 0) })?;
                drm
            },
        }? Error);
        // INVARIANT: It is registered.
        Ok(Self(Devres::new(parent, registered)?))
    }
}

/// The part of a registration that the driver core drops before the parent is unbound.
///
/// # Invariants
///
/// `drm_dev_register()` succeeded on the device, and `drm_dev_unplug()` was not called.
struct Registered<T: Driver> {
    drm: ARef<Shared<T>>,
}

impl<T: Driver> Drop for Registered<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the device is registered.
        unsafe { bindings::drm_dev_unplug(self.drm.as_raw()) };
    }
}
