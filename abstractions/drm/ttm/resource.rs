// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Pieces of memory, and the managers that allocate them.
//!
//! In C these are `struct ttm_resource` and `struct ttm_resource_manager` (amdgpu:
//! `amdgpu_vram_mgr`, `amdgpu_gtt_mgr`).
//!
//! C header: [`include/drm/ttm/ttm_resource.h`](srctree/include/drm/ttm/ttm_resource.h)

use super::{
    device::Device,
    Driver,
    MemType,
    Place, //
};
use crate::bindings;
use core::{
    any::TypeId,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    ffi,
    page::PAGE_SHIFT,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    types::Opaque, //
};

/// A request to a [`ResourceManager`].
#[derive(Clone, Copy)]
pub(crate) struct ResourceRequest<'a> {
    /// The size in bytes, a multiple of the page size.
    pub(crate) size: usize,
    /// The alignment in pages; 0 means the same as 1.
    pub(crate) align_pages: u32,
    /// The place within the memory.
    pub(crate) place: &'a Place,
}

/// An allocator for one kind of memory.
///
/// Its functions may be called at any time, from any thread, and within reclaim.
pub(crate) trait ResourceManager: Send + Sync + 'static {
    /// A piece of the memory. A clone stands for the same piece.
    type Allocation: Clone + Send + Sync + 'static;

    /// Set if the memory is backed by system pages.
    const USES_TT: bool;

    /// Allocates a piece. Returns it with the number of its first page, if that has a meaning, or
    /// `ENOSPC`.
    fn alloc(&self, request: ResourceRequest<'_>) -> Result<(Self::Allocation, u64)>;

    /// Called when the piece is not used any more. The allocation is dropped next, except for its
    /// clones.
    fn free(&self, _allocation: &Self::Allocation) {}

    /// Returns true if evicting the piece could make room in `place`.
    fn intersects(&self, _allocation: &Self::Allocation, _place: &Place, _size: usize) -> bool {
        true
    }

    /// Returns true if the piece lies within `place`.
    fn compatible(&self, _allocation: &Self::Allocation, _place: &Place, _size: usize) -> bool {
        true
    }
}

/// A C resource with the manager's allocation for it.
///
/// # Invariants
///
/// `raw` is initialized, and is a resource of a `Manager<M>` with `M::Allocation` being `A`.
#[repr(C)]
struct Inner<A> {
    raw: Opaque<bindings::ttm_resource>,
    allocation: A,
}

/// A [`ResourceManager`] with its C object.
///
/// # Invariants
///
/// `raw` is initialized, and has this type's `FUNCS`.
#[repr(C)]
#[pin_data]
pub(super) struct Manager<M: ResourceManager> {
    raw: Opaque<bindings::ttm_resource_manager>,
    #[pin]
    inner: M,
}

impl<M: ResourceManager> Manager<M> {
    const FUNCS: bindings::ttm_resource_manager_func = bindings::ttm_resource_manager_func {
        alloc: Some(Self::alloc),
        free: Some(Self::free),
        intersects: Some(Self::intersects),
        compatible: Some(Self::compatible),
        debug: None,
    };

    /// Makes a manager that the device `bdev`, which must be initialized, does not know yet.
    pub(super) fn new(
        bdev: *mut bindings::ttm_device,
        size: u64,
        inner: impl PinInit<M, Error>,
    ) -> Result<Pin<KBox<Self>>> {
        let this = KBox::pin_init(
            try_pin_init!(Self {
                raw: Opaque::zeroed(),
                inner <- inner,
            }),
            GFP_KERNEL,
        )?;

        let raw = this.raw.get();
        // SAFETY: Nobody else knows of the manager, which is zeroed.
        // INVARIANT: This initializes it.
        unsafe {
            (*raw).use_tt = M::USES_TT;
            (*raw).func = const { &Self::FUNCS };
            bindings::ttm_resource_manager_init(raw, bdev, size);
        }
        Ok(this)
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::ttm_resource_manager {
        self.raw.get()
    }

    /// Returns the manager that `new` made.
    ///
    /// # Safety
    ///
    /// `ptr` must come from `as_raw` of a pinned `Self` that is alive for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::ttm_resource_manager) -> &'a Self {
        // CAST: The C object is the first field of a `repr(C)` structure.
        // SAFETY: By the safety requirements.
        unsafe { &*ptr.cast() }
    }

    /// Returns the driver's part.
    pub(super) fn inner(&self) -> &M {
        &self.inner
    }

    /// Implements the `alloc` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_resource_manager_func` of `M`.
    unsafe extern "C" fn alloc(
        man: *mut bindings::ttm_resource_manager,
        bo: *mut bindings::ttm_buffer_object,
        place: *const bindings::ttm_place,
        res: *mut *mut bindings::ttm_resource,
    ) -> ffi::c_int {
        // SAFETY: This callback is only in managers that `new` made.
        let this = unsafe { Self::from_raw(man) };
        // SAFETY: TTM gives us a valid object; these fields are constant.
        let (size, align_pages) = unsafe { ((*bo).base.size, (*bo).page_alignment) };
        let request = ResourceRequest {
            size,
            align_pages,
            // SAFETY: TTM gives us a valid place.
            place: unsafe { Place::from_raw(place) },
        };

        let made = KBox::<Inner<M::Allocation>>::new_uninit(GFP_KERNEL)
            .map_err(Error::from)
            .and_then(|memory| this.inner.alloc(request).map(|piece| (memory, piece)));
        let (memory, (allocation, start)) = match made {
            Ok(made) => made,
            Err(e) => return e.to_errno(),
        };

        let inner = KBox::into_raw(memory.write(Inner {
            raw: Opaque::zeroed(),
            allocation,
        }));
        // SAFETY: `inner` is ours until it is handed to TTM by `res`.
        // INVARIANT: `raw` becomes initialized, for this manager, as `place` has its kind.
        unsafe {
            let raw = (*inner).raw.get();
            bindings::ttm_resource_init(bo, place, raw);
            // CAST: Page numbers of 64-bit kernels fit.
            (*raw).start = start as ffi::c_ulong;
            *res = raw;
        }
        0
    }

    /// Implements the `free` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_resource_manager_func` of `M`.
    unsafe extern "C" fn free(
        man: *mut bindings::ttm_resource_manager,
        res: *mut bindings::ttm_resource,
    ) {
        // SAFETY: This callback is only in managers that `new` made.
        let this = unsafe { Self::from_raw(man) };
        // SAFETY: `alloc` made the resource; TTM gives it back, so nobody else uses it.
        let inner = unsafe {
            bindings::ttm_resource_fini(man, res);
            KBox::<Inner<M::Allocation>>::from_raw(res.cast())
        };
        this.inner.free(&inner.allocation);
    }

    /// Implements the `intersects` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_resource_manager_func` of `M`.
    unsafe extern "C" fn intersects(
        man: *mut bindings::ttm_resource_manager,
        res: *mut bindings::ttm_resource,
        place: *const bindings::ttm_place,
        size: usize,
    ) -> bool {
        // SAFETY: TTM calls us with one of our managers, a resource that it made, and a place.
        let (this, inner, place) = unsafe {
            (
                Self::from_raw(man),
                &*res.cast::<Inner<M::Allocation>>(),
                Place::from_raw(place),
            )
        };
        this.inner.intersects(&inner.allocation, place, size)
    }

    /// Implements the `compatible` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct ttm_resource_manager_func` of `M`.
    unsafe extern "C" fn compatible(
        man: *mut bindings::ttm_resource_manager,
        res: *mut bindings::ttm_resource,
        place: *const bindings::ttm_place,
        size: usize,
    ) -> bool {
        // SAFETY: As in `intersects`.
        let (this, inner, place) = unsafe {
            (
                Self::from_raw(man),
                &*res.cast::<Inner<M::Allocation>>(),
                Place::from_raw(place),
            )
        };
        this.inner.compatible(&inner.allocation, place, size)
    }
}

// SAFETY: The C object does its own locking; the rest is `Send`.
unsafe impl<M: ResourceManager> Send for Manager<M> {}
// SAFETY: As above.
unsafe impl<M: ResourceManager> Sync for Manager<M> {}

/// A piece of memory that a callback receives.
///
/// # Invariants
///
/// `raw` is an initialized resource of `device`, which lives for `'a`.
pub(crate) struct Resource<'a, D: Driver> {
    raw: NonNull<bindings::ttm_resource>,
    device: &'a Device<D>,
    _lifetime: PhantomData<&'a ()>,
}

impl<D: Driver> Clone for Resource<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Driver> Copy for Resource<'_, D> {}

impl<'a, D: Driver> Resource<'a, D> {
    /// Wraps a pointer. Returns `None` if it is null.
    ///
    /// # Safety
    ///
    /// `raw` must be null or meet the type invariant.
    pub(super) unsafe fn from_raw(
        raw: *mut bindings::ttm_resource,
        device: &'a Device<D>,
    ) -> Option<Self> {
        // INVARIANT: By the safety requirements.
        Some(Self {
            raw: NonNull::new(raw)?,
            device,
            _lifetime: PhantomData,
        })
    }

    /// Returns a summary of the resource.
    pub(crate) fn placed(&self) -> Placed {
        // SAFETY: By the type invariant; these fields are constant.
        unsafe {
            let raw = self.raw.as_ptr();
            Placed {
                mem_type: MemType::from_raw((*raw).mem_type),
                // CAST: `u64` is never narrower than `c_ulong`.
                start: (*raw).start as u64,
                size: (*raw).size,
                contiguous: (*raw).placement & bindings::TTM_PL_FLAG_CONTIGUOUS != 0,
            }
        }
    }

    /// Returns the kind of memory.
    pub(crate) fn mem_type(&self) -> MemType {
        self.placed().mem_type
    }

    /// Returns the manager's allocation, if `M` is its manager.
    pub(crate) fn allocation<M: ResourceManager>(&self) -> Option<&'a M::Allocation> {
        if self.device.manager_type(self.mem_type()) != Some(TypeId::of::<M>()) {
            return None;
        }
        // SAFETY: The manager is a `Manager<M>`, so the resource is the start of an `Inner` with
        // its allocation, and lives for `'a` by the type invariant.
        Some(unsafe { &self.raw.cast::<Inner<M::Allocation>>().as_ref().allocation })
    }
}

/// The place of a buffer object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    /// The kind of memory.
    pub(crate) mem_type: MemType,
    /// The first page, if that has a meaning.
    pub(crate) start: u64,
    /// The size in bytes.
    pub(crate) size: usize,
    /// Set if the place was requested to be contiguous.
    pub(crate) contiguous: bool,
}

/// A manager for memory without places, which only counts bytes.
pub(crate) struct Budget {
    limit: u64,
    used: Atomic<u64>,
}

impl Budget {
    /// Makes a manager that allocates `limit` bytes at most.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: limit >> PAGE_SHIFT,
            used: Atomic::new(0),
        }
    }
}

impl ResourceManager for Budget {
    /// Number of pages.
    type Allocation = u64;

    const USES_TT: bool = true;

    fn alloc(&self, request: ResourceRequest<'_>) -> Result<(u64, u64)> {
        // CAST: `u64` is never narrower than `usize`.
        let pages = (request.size >> PAGE_SHIFT) as u64;
        // The sum is compared before it is stored: a refused request must not block others
        // meanwhile.
        let mut used = self.used.load(Relaxed);
        loop {
            let sum = used.checked_add(pages).filter(|&sum| sum <= self.limit);
            match self.used.cmpxchg(used, sum.ok_or(ENOSPC)?, Relaxed) {
                Ok(_) => return Ok((pages, 0)),
                Err(now) => used = now,
            }
        }
    }

    fn free(&self, pages: &u64) {
        self.used.fetch_sub(*pages, Relaxed);
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_ttm_resource)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

    fn ask(budget: &Budget, pages: usize) -> Result<(u64, u64)> {
        budget.alloc(ResourceRequest {
            size: pages * PAGE_SIZE,
            align_pages: 0,
            place: &Place::new(MemType::TT),
        })
    }

    #[test]
    fn budget_is_kept() -> Result {
        // Half a page counts as none.
        // CAST: A small number.
        let budget = Budget::new((4 * PAGE_SIZE + PAGE_SIZE / 2) as u64);

        assert_eq!(ask(&budget, 5), Err(ENOSPC));
        let (three, start) = ask(&budget, 3)?;
        assert_eq!((three, start), (3, 0));
        assert_eq!(ask(&budget, 2), Err(ENOSPC));
        let (one, _) = ask(&budget, 1)?;
        assert_eq!(ask(&budget, 1), Err(ENOSPC));

        budget.free(&three);
        budget.free(&one);
        assert_eq!(ask(&budget, 4)?.0, 4);
        assert_eq!(ask(&budget, usize::MAX / PAGE_SIZE), Err(ENOSPC));
        Ok(())
    }
}
