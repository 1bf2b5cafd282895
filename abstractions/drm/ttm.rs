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
//! # Example
//!
//! ```ignore
//! struct MyTtm;
//!
//! #[vtable]
//! impl ttm::Driver for MyTtm {
//!     type Drm = MyDriver;        // impl drm::Driver<Object = ttm::Object<MyBo>>
//!     type Bo = MyBo;             // impl ttm::DriverObject<Driver = MyTtm>
//!
//!     fn device(drm: &drm::Device<MyDriver>) -> &ttm::Device<Self> {
//!         &drm.ttm                // a #[pin] field of the DRM driver's data
//!     }
//!     fn evict(bo: &ttm::Buffer<MyBo>, from: MemType) -> ttm::Placement {
//!         ttm::Placement::new(&[ttm::Place::new(MemType::SYSTEM)])
//!     }
//!     fn move_(mv: ttm::Move<'_, Self>) -> Result<ttm::Moved> {
//!         mv.buffer().unmap_from_gpu();
//!         match (mv.old(), mv.new_place()) {
//!             (Some(old), new) if old.mem_type() == MemType::VRAM => {
//!                 let fence = copy(old.allocation::<Vram>(), |page| mv.dma_address(page), ..)?;
//!                 mv.pipelined(&fence)
//!             }
//!             _ => mv.in_place(),
//!         }
//!     }
//! }
//!
//! // In the initializer of the driver's data; `base` is that of a `drm::device::Allocation`.
//! ttm <- ttm::Device::new(base, ttm::Flags::NONE, move |setup| {
//!     setup.add(MemType::VRAM, vram_size, Vram::new(..))?;     // impl ttm::ResourceManager
//!     setup.add(MemType::TT, gtt_size, Ok::<_, Error>(ttm::Budget::new(gtt_size)))
//! }),
//!
//! // In probe, with the parent device bound: from here on objects may have pages.
//! let attachment = ttm::Attachment::<MyTtm>::new(parent, &drm)?;
//!
//! // A new object.
//! let mut ctx = ttm::Ctx::new(Interruptible::Yes);
//! let bo = ttm::Object::new(dev, ttm::Spec {
//!     size, align: PAGE_SIZE, kind: ttm::Kind::Device,
//!     placement: &ttm::Placement::new(&[ttm::Place::new(MemType::VRAM)]),
//!     share: None,                    // or the `Reserved` whose reservation it shares
//! }, &mut ctx, my_bo)?;             // an initializer, or a value as `Ok::<_, Error>(value)`
//! let handle = bo.create_handle(file)?;
//!
//! // Move it, with its reservation held alone or among others.
//! let lock = bo.lock(Interruptible::Yes)?;            // or: exec::lock_all(..) -> locked
//! let reserved = lock.reserved();                     //     bo.reserved_in(&locked).ok_or(..)?
//! reserved.validate(&ttm::Placement::new(&[ttm::Place::new(MemType::TT)]), &mut ctx)?;
//! let first = reserved.dma_address(0);
//! ```

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
        Access,
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
        Backing,
        Caching, //
    },
};
