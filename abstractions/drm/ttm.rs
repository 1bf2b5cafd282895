// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Translation Table Maps (TTM): a memory manager for GPUs with memory of their own.
//!
//! C headers: [`include/drm/ttm/`](srctree/include/drm/ttm)
//!
//! A [`Device`] has up to nine kinds of memory ([`MemType`]), each with a [`ResourceManager`] that
//! allocates pieces of it. Its buffer objects ([`Object`]) each have a piece of one kind, or none.
//! Kinds that are backed by system memory keep the pages in a translation table ([`tt`]), which
//! knows the device addresses of the pages. TTM moves objects from one kind of memory to another
//! when a driver asks for it ([`Reserved::validate`]), or to make room. The driver chooses the
//! destination ([`Driver::evict`]) and moves the contents ([`Driver::move_`]).
//!
//! TTM's types are defined in terms of each other, as in C: the files of this folder import each
//! other in a circle.
//!
//! # References
//!
//! [`Object`] is reference-counted. When the last reference is gone, TTM may need to wait for
//! fences before it destroys the object. Meanwhile, for example when it makes room, it calls the
//! driver with objects that have no references any more. So the callbacks receive a [`Buffer`],
//! which an [`Object`] dereferences to, but which cannot be referenced again.
//!
//! Objects point at their device without a reference to it. When the last reference to the DRM
//! device is gone, the device waits for the last object before it drops the driver's data. So a
//! device, or an object that it owns, must not own buffer objects, and an object's data must not
//! own a reference to the device.
//!
//! Objects also outlive the binding of the device to the driver, and then hold nothing: see
//! [`Attachment`].
//!
//! Dropping the last reference may sleep.
//!
//! # Lock order
//!
//! Reservations, then the locks of a [`ResourceManager`], then TTM's own list lock. The callbacks
//! run with the object's reservation held, except [`Driver::io_memory`]. They may run within
//! reclaim (memory pressure may swap objects out), so the locks that they take must never be held
//! while allocating memory.
//!
//! # Use
//!
//! 1. Implement [`Driver`] for a type that stands for the operations, and [`DriverObject`] for the
//!    data of a buffer object. The DRM driver's object type is an [`Object`] of that data.
//! 2. Create a [`Device`] in the initializer of the DRM device's data, and in its `setup` add a
//!    [`ResourceManager`] for each kind of memory: a [`Budget`] if only an amount is shared out.
//! 3. At probe, with the parent device bound, create an [`Attachment`]. From then on objects may
//!    have pages.
//! 4. Create objects with [`Object::new`]. Lock one with its `lock` method, or several with
//!    [`exec::lock_all`](super::exec::lock_all), to get a [`Reserved`]: it moves the object
//!    ([`Reserved::validate`]) and knows where its bytes are.
//!
//! The test driver in this folder's `tests.rs` does all of this on a device without hardware.

pub(crate) mod attachment;
pub(crate) mod bo;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod mapping;
pub(crate) mod moves;
pub(crate) mod placement;
pub(crate) mod reserved;
pub(crate) mod resource;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;
pub(crate) mod tt;
mod vma;

#[expect(
    unused_imports,
    reason = "the interface is complete, a driver uses a part"
)]
pub(crate) use self::{
    attachment::Attachment,
    bo::{
        Buffer,
        Ctx,
        DriverObject,
        Kind,
        Object,
        Spec, //
    },
    device::{
        Device,
        Flags,
        Setup, //
    },
    driver::{
        BytesAccess,
        Driver,
        IoMemory, //
    },
    mapping::Mapping,
    moves::{
        Move,
        Moved,
        Wait, //
    },
    placement::{
        MemType,
        Place,
        Placement, //
    },
    reserved::{
        LockedObject,
        Reserved, //
    },
    resource::{
        Budget,
        Placed,
        Resource,
        ResourceManager,
        ResourceRequest, //
    },
    tt::{
        system_limit,
        Caching,
        PageSource, //
    },
};
