// SPDX-License-Identifier: GPL-2.0 OR MIT

//! TTM devices.
//!
//! C header: [`include/drm/ttm/ttm_device.h`](srctree/include/drm/ttm/ttm_device.h)

use super::{
    attachment::{
        Gate,
        Objects,
        Populated, //
    },
    bo::Object,
    driver::Driver,
    resource::{
        Manager,
        ResourceManager, //
    },
    MemType, //
};
use crate::{
    abstractions::drm::{
        self,
        children::Children, //
    },
    bindings, //
};
use core::{
    any::TypeId,
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// Flags that control how a [`Device`] allocates pages.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Ordinary pages, mapped by the DMA layer one by one.
    pub(crate) const NONE: Self = Self(0);
    /// Pages from the DMA layer's coherent allocator.
    pub(crate) const DMA_ALLOC: Self = Self(bindings::RUST_EXT_TTM_ALLOCATION_POOL_USE_DMA_ALLOC);
    /// Pages below 4 GiB.
    pub(crate) const DMA32: Self = Self(bindings::RUST_EXT_TTM_ALLOCATION_POOL_USE_DMA32);

    /// Returns the union of both.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Avoids trying hard to get contiguous blocks of more than this power of two of pages.
    #[must_use]
    pub(crate) const fn beneficial_order(self, order: u8) -> Self {
        Self(self.0 | order as u32)
    }
}

/// A manager slot of a device.
enum ManagerSlot {
    /// No manager, or TTM's own.
    None,
    /// A manager of the driver.
    Ours {
        type_id: TypeId,
        raw: NonNull<bindings::ttm_resource_manager>,
        drop: unsafe fn(NonNull<bindings::ttm_resource_manager>),
    },
}

/// A TTM device, part of the data of a DRM device.
///
/// Dropping it waits for its last object to go.
///
/// # Invariants
///
/// * `raw` is initialized, with `FUNCS`.
/// * `drm` points to the DRM device that it was made for. That device counts it as a child and thus
///   outlives it.
/// * `slots` names the managers that `raw` has; it does not change once [`Device::new`] has
///   returned.
/// * `children` counts the objects; the DRM device counts them too, as they use its data.
/// * `populated` counts the tables of pages that are mapped for DMA by the DRM device's parent.
///   There are none unless the parent is bound.
/// * `lent` counts the mappings and pins of objects for other devices. There are none unless the
///   parent is bound.
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct Device<D: Driver> {
    #[pin]
    raw: Opaque<bindings::ttm_device>,
    drm: NonNull<drm::device::Base>,
    slots: UnsafeCell<[ManagerSlot; MemType::COUNT]>,
    #[pin]
    children: Children,
    #[pin]
    gate: Gate,
    #[pin]
    objects: Objects,
    #[pin]
    populated: Populated,
    #[pin]
    lent: Children,
    dma_buf_ops: &'static bindings::dma_buf_ops,
    _driver: PhantomData<D>,
}

// SAFETY: The C object does its own locking; the rest is constant or does its own locking, and the
// managers are `Send`.
unsafe impl<D: Driver> Send for Device<D> {}
// SAFETY: As above; the managers are `Sync`.
unsafe impl<D: Driver> Sync for Device<D> {}

impl<D: Driver> Device<D> {
    /// Makes a device, with the kinds of memory that `setup` adds.
    ///
    /// The DRM driver must have [`drm::Features::GEM`].
    pub(crate) fn new<'a>(
        base: &'a drm::device::Base,
        flags: Flags,
        setup: impl FnOnce(&mut Setup<'_, D>) -> Result + 'a,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            // INVARIANT: The child is removed when this is dropped, and was not if this fails.
            drm: NonNull::from(base),
            slots: UnsafeCell::new([const { ManagerSlot::None }; MemType::COUNT]),
            children <- Children::new(),
            gate <- Gate::new(),
            objects <- Objects::new(),
            populated <- Populated::new(),
            lent <- Children::new(),
            dma_buf_ops: const { &Object::<D::Bo>::DMA_BUF_OPS },
            _driver: PhantomData,
            raw <- Opaque::try_ffi_init(|slot: *mut bindings::ttm_device| {
                let ddev = base.as_raw();
                // SAFETY: The device is initialized, by the type invariant of `Base`.
                let (dev, inode, vma_manager) =
                    unsafe { ((*ddev).dev, (*ddev).anon_inode, (*ddev).vma_offset_manager) };
                if vma_manager.is_null() {
                    return Err(EINVAL);
                }
                // SAFETY: The memory is valid for writes; all of the DRM device's parts outlive
                // this device.
                to_result(unsafe {
                    ptr::write_bytes(slot, 0, 1);
                    bindings::ttm_device_init(
                        slot,
                        const { &Self::FUNCS },
                        dev,
                        (*inode).i_mapping,
                        vma_manager,
                        flags.0,
                    )
                })?;
                base.children().add();
                Ok(())
            }),
        }? Error)
        .pin_chain(|this| setup(&mut Setup(Pin::into_ref(this).get_ref())))
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::ttm_device {
        self.raw.get()
    }

    /// Turns a pointer to the C object into a reference.
    ///
    /// # Safety
    ///
    /// `ptr` must point to the C object of a `Self` that lives for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::ttm_device) -> &'a Self {
        // CAST: The C object is the first field of a `repr(C)` structure.
        // SAFETY: By the safety requirements.
        unsafe { &*ptr.cast() }
    }

    /// Counts one more object.
    pub(super) fn add_object(&self) {
        // SAFETY: By the type invariant the DRM device outlives us.
        unsafe { self.drm.as_ref() }.objects().add();
        self.children.add();
    }

    /// Counts one less object.
    ///
    /// # Safety
    ///
    /// `this` must be alive. The object must have been counted, and must not be used any more.
    /// After this, both the TTM device and the DRM device may be gone.
    pub(super) unsafe fn remove_object(this: *const Self) {
        // SAFETY: The TTM device waits for the first removal, the DRM device for the second.
        unsafe {
            let drm = (*this).drm;
            (*this).children.remove();
            drm.as_ref().objects().remove();
        }
    }

    /// Returns the gate that is passed before the hardware is used.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns the set of complete objects.
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns the count of tables of pages that are mapped for DMA.
    pub(super) fn populated(&self) -> &Populated {
        &self.populated
    }

    /// Returns the count of mappings and pins of objects for other devices.
    pub(super) fn lent(&self) -> &Children {
        &self.lent
    }

    /// Returns the operations by which the DMA buffers of the device are recognized.
    pub(super) fn dma_buf_ops(&self) -> &'static bindings::dma_buf_ops {
        self.dma_buf_ops
    }

    /// Returns true if this device is part of `drm`.
    pub(super) fn belongs_to(&self, drm: &drm::Device<D::Drm>) -> bool {
        ptr::eq(self.drm.as_ptr(), drm.as_ref())
    }

    /// Returns the DRM device.
    pub(super) fn drm(&self) -> &drm::Device<D::Drm> {
        // SAFETY: By the type invariant it outlives us. Only objects call this, whose creation
        // checks that the device is complete and of this driver.
        unsafe { drm::Device::from_raw(self.drm.as_ref().as_raw()) }
    }

    /// Returns the device that does DMA.
    pub(super) fn dma_device(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant the DRM device outlives us; it keeps its parent.
        unsafe { (*self.drm.as_ref().as_raw()).dev }
    }

    fn slot(&self, mem_type: MemType) -> &ManagerSlot {
        // SAFETY: `mem_type` is in bounds by construction. By the type invariant only `Setup`
        // changes the array, which is gone before anyone else sees the device.
        unsafe { &(*self.slots.get())[mem_type.index()] }
    }

    /// Returns the type of the manager that was added for a kind of memory.
    pub(super) fn manager_type(&self, mem_type: MemType) -> Option<TypeId> {
        match self.slot(mem_type) {
            ManagerSlot::Ours { type_id, .. } => Some(*type_id),
            ManagerSlot::None => None,
        }
    }

    /// Returns the manager that was added for a kind of memory, if it is an `M`.
    pub(crate) fn manager<M: ResourceManager>(&self, mem_type: MemType) -> Option<&M> {
        match self.slot(mem_type) {
            ManagerSlot::Ours { type_id, raw, .. } if *type_id == TypeId::of::<M>() => {
                // SAFETY: By the type it is a `Manager<M>`, which lives as long as we do.
                Some(unsafe { Manager::<M>::from_raw(raw.as_ptr()) }.inner())
            }
            _ => None,
        }
    }

    /// Returns true if a kind of memory is backed by system pages.
    pub(super) fn uses_tt(&self, mem_type: MemType) -> bool {
        // SAFETY: By the type invariant the device is initialized; managers do not change.
        unsafe {
            let man = (*self.as_raw()).man_drv[mem_type.index()];
            !man.is_null() && (*man).use_tt
        }
    }

    /// Moves all objects out of a kind of memory, except for pinned ones, and waits until they are
    /// out. Waits for the fences in their reservations, of which the caller holds none.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::move_`]; `ENOMEM`. Objects that were moved stay where they are.
    pub(crate) fn evict_all(&self, mem_type: MemType) -> Result {
        // SAFETY: By the type invariant the device is initialized; managers do not change.
        unsafe {
            let man = (*self.as_raw()).man_drv[mem_type.index()];
            if man.is_null() {
                return Ok(());
            }
            to_result(bindings::ttm_resource_manager_evict_all(self.as_raw(), man))
        }
    }

    /// Moves the pages of all objects to swap space as far as they are not in use, so that they
    /// need not be in a memory image.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::move_`]; `ENOMEM`.
    pub(crate) fn prepare_hibernation(&self) -> Result {
        // SAFETY: By the type invariant the device is initialized.
        to_result(unsafe { bindings::ttm_device_prepare_hibernation(self.as_raw()) })
    }

    /// Returns the number of bytes that are allocated of a kind of memory.
    pub(crate) fn usage(&self, mem_type: MemType) -> u64 {
        // SAFETY: By the type invariant the device is initialized; managers do not change.
        unsafe {
            let man = (*self.as_raw()).man_drv[mem_type.index()];
            if man.is_null() {
                0
            } else {
                bindings::ttm_resource_manager_usage(man)
            }
        }
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for Device<D> {
    fn drop(self: Pin<&mut Self>) {
        self.children.wait();

        let bdev = self.as_raw();
        // SAFETY: This is the only reference.
        let slots = unsafe { &mut *self.slots.get() };
        for slot in slots.iter() {
            if let ManagerSlot::Ours { raw, .. } = slot {
                let man = raw.as_ptr();
                // SAFETY: The manager is there, and without objects.
                unsafe {
                    // After this no control group reaches the manager any more.
                    bindings::rust_ext_ttm_resource_manager_uncharge(man);
                    bindings::rust_ext_ttm_resource_manager_set_used(man, false);
                    // Evictions leave fences behind, for which the next user of the memory waits.
                    bindings::ttm_resource_manager_evict_all(bdev, man);
                    bindings::rust_ext_ttm_resource_manager_cleanup(man);
                }
            }
        }

        // SAFETY: By the type invariant the device is initialized, and there are no objects.
        unsafe { bindings::ttm_device_fini(bdev) };
        // Until now, TTM could walk through the managers of all devices when it is short of memory.
        for slot in slots {
            if let ManagerSlot::Ours { raw, drop, .. } = core::mem::replace(slot, ManagerSlot::None)
            {
                // SAFETY: The manager is there, and nobody can find it any more.
                unsafe { drop(raw) };
            }
        }
        // SAFETY: By the type invariant the DRM device waits for us.
        unsafe { self.drm.as_ref() }.children().remove();
    }
}

/// A device under construction, to which kinds of memory are added before anyone uses it.
pub(crate) struct Setup<'a, D: Driver>(&'a Device<D>);

impl<D: Driver> Setup<'_, D> {
    /// Adds a kind of memory of `size` bytes, which `manager` allocates.
    ///
    /// TTM only uses the size to show it.
    pub(crate) fn add<M: ResourceManager>(
        &mut self,
        mem_type: MemType,
        size: u64,
        manager: impl PinInit<M, Error>,
    ) -> Result {
        self.check_free(mem_type)?;
        let manager = Manager::new(self.0.as_raw(), size, manager)?;
        let raw = manager.as_raw();
        // SAFETY: It is not moved until `drop_manager` drops it.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(manager) });

        /// Drops a manager that was added.
        ///
        /// # Safety
        ///
        /// `raw` must be the C object of a boxed `Manager<M>`, which nobody uses.
        unsafe fn drop_manager<M: ResourceManager>(raw: NonNull<bindings::ttm_resource_manager>) {
            // CAST: The C object is the first field of a `repr(C)` structure.
            // SAFETY: By the safety requirements.
            drop(unsafe { KBox::<Manager<M>>::from_raw(raw.as_ptr().cast()) });
        }

        // SAFETY: The device is initialized, and by the type `Setup` nobody uses it.
        // INVARIANT: The slot says what the device has.
        unsafe {
            (*self.0.as_raw()).man_drv[mem_type.index()] = raw;
            bindings::rust_ext_ttm_resource_manager_set_used(raw, true);
            (*self.0.slots.get())[mem_type.index()] = ManagerSlot::Ours {
                type_id: TypeId::of::<M>(),
                raw: NonNull::new_unchecked(raw),
                drop: drop_manager::<M>,
            };
        }
        Ok(())
    }

    /// Charges the memory of a kind, `size` bytes of which there are, to the control groups of the
    /// processes that make objects there: as the region `name` of the device, by the dmem
    /// controller. Does nothing where the kernel has no such controller.
    ///
    /// An object that a limit has no room for evicts others of its group, or does not fit.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the kind has not been added, or is charged already; `ENOMEM`.
    pub(crate) fn charge(&mut self, mem_type: MemType, name: &'static CStr, size: u64) -> Result {
        let ManagerSlot::Ours { raw, .. } = self.0.slot(mem_type) else {
            return Err(EINVAL);
        };
        let man = raw.as_ptr();
        // SAFETY: The manager is there and initialized; it is uncharged before it is dropped. The
        // DRM device is initialized, and has its name.
        to_result(unsafe {
            if !(*man).cg.is_null() {
                return Err(EINVAL);
            }
            let drm = self.0.drm.as_ref().as_raw();
            bindings::rust_ext_ttm_resource_manager_charge(man, drm, name.as_char_ptr(), size)
        })
    }

    fn check_free(&self, mem_type: MemType) -> Result {
        if mem_type == MemType::SYSTEM {
            return Err(EINVAL);
        }
        match self.0.slot(mem_type) {
            ManagerSlot::None => Ok(()),
            ManagerSlot::Ours { .. } => Err(EBUSY),
        }
    }
}
