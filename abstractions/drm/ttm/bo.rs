// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects: creation, destruction, and operations by user space.
//!
//! The C object is `struct ttm_buffer_object`, which amdgpu wraps as `struct amdgpu_bo`.
//!
//! C header: [`include/drm/ttm/ttm_bo.h`](srctree/include/drm/ttm/ttm_bo.h)

use super::{
    attachment::Objects,
    device::Device,
    driver::Driver,
    reserved::{
        LockedObject,
        Reserved, //
    },
    tt::PageSource,
    vma::StandIn,
    MemType,
    Placement, //
};
use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        dma_fence::Interruptible,
        dma_resv::{
            HeldResv,
            Resv, //
        },
        drm::{
            self,
            exec::Locked,
            gem, //
        },
    },
    bindings, //
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    ffi,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
    types::Opaque, //
};

/// Stands for no kind of memory.
const NO_PLACE: u32 = u32::MAX;

/// The TTM device's DRM driver, reached through an object's data.
pub(crate) type Drm<T> = <<T as DriverObject>::Driver as Driver>::Drm;

/// A driver's data in each buffer object.
#[vtable]
pub(crate) trait DriverObject: Send + Sync + Sized + 'static {
    /// The driver's operations for TTM.
    type Driver: Driver<Bo = Self>;

    /// Returns the source of the system pages behind an object with this data. Called once, when
    /// the object is made.
    fn page_source(&self) -> PageSource;

    /// Called when a file gains its first handle to `bo`, or another one.
    fn open(_bo: &Object<Self>, _file: &drm::File<Drm<Self>>) -> Result {
        Ok(())
    }

    /// Called when a file loses a handle to `bo`.
    fn close(_bo: &Object<Self>, _file: &drm::File<Drm<Self>>) {}

    /// Called when user space maps `bo`, unless its system pages are those of a process.
    fn mmap(_bo: &Object<Self>) -> Result {
        Ok(())
    }

    /// Called when user space exports `bo` as a DMA buffer, for other files or other devices.
    fn export(_bo: &Object<Self>) -> Result {
        Err(EOPNOTSUPP)
    }

    /// Returns the data of an object for a DMA buffer of another device. Its
    /// [`page_source`](Self::page_source) must not be that of a process.
    fn imported(drm: &drm::Device<Drm<Self>>, size: usize) -> Result<impl PinInit<Self, Error>>;

    /// Called before another device moves the memory behind `bo`, which it has exported to us.
    /// After this no work may begin that reaches the memory at the old DMA addresses, and the
    /// fences of work that does must be in the reservation, which is `held`.
    fn revoked(_bo: &Buffer<Self>, _held: HeldResv<'_>) {}

    /// Called when the last reference to `bo` is gone. It is destroyed when no fence needs it any
    /// more.
    ///
    /// The reservation is not held for this call, but others may hold it, and so may the caller.
    fn unreferenced(_bo: &Buffer<Self>) {}
}

/// The user that an object is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// User space, which may map it. New system pages are cleared.
    Device,
    /// The kernel alone. Such objects are evicted last when memory is needed.
    Kernel,
}

impl Kind {
    /// Returns the priority. Objects of a lower priority are evicted before those of a higher one.
    fn priority(self) -> ffi::c_uint {
        match self {
            Self::Device => 0,
            Self::Kernel => 1,
        }
    }
}

/// Properties of a new object.
pub(crate) struct Spec<'a, T: DriverObject> {
    /// The size in bytes, a multiple of the page size, not 0.
    pub(crate) size: usize,
    /// The alignment in bytes, a multiple of the page size; 0 if there is none.
    pub(crate) align: usize,
    /// The user that the object is for.
    pub(crate) kind: Kind,
    /// Places where it may lie.
    pub(crate) placement: &'a Placement,
    /// The object whose reservation it shares and keeps alive; `None` to have its own.
    pub(crate) share: Option<&'a Reserved<'a, T>>,
}

/// The origin of an object's memory and reservation.
pub(super) enum Source<'a, T: DriverObject> {
    /// The device's own kinds of memory. The reservation may be that of another object.
    Own {
        kind: Kind,
        share: Option<&'a Reserved<'a, T>>,
    },
    /// A DMA buffer of another device, whose reservation is held.
    Import {
        buf: ARef<DmaBuf>,
        held: HeldResv<'a>,
    },
}

impl<T: DriverObject> Source<'_, T> {
    /// Returns references to what the object keeps, the owner of its reservation.
    fn keep(&self) -> Result<Kept<T>> {
        Ok(match self {
            Self::Own { share: None, .. } => Kept::Nothing,
            Self::Own {
                share: Some(share), ..
            } => Kept::Object(share.owner()?),
            Self::Import { buf, .. } => Kept::DmaBuf(buf.clone()),
        })
    }

    /// Returns the reservation, or null if the object has its own.
    fn resv(&self) -> *mut bindings::dma_resv {
        match self {
            Self::Own { share, .. } => share.map_or(ptr::null_mut(), |share| share.held.as_raw()),
            Self::Import { held, .. } => held.as_raw(),
        }
    }

    fn bo_type(&self) -> bindings::ttm_bo_type {
        match self {
            Self::Own {
                kind: Kind::Device, ..
            } => bindings::ttm_bo_type_ttm_bo_type_device,
            Self::Own {
                kind: Kind::Kernel, ..
            } => bindings::ttm_bo_type_ttm_bo_type_kernel,
            Self::Import { .. } => bindings::ttm_bo_type_ttm_bo_type_sg,
        }
    }

    fn priority(&self) -> ffi::c_uint {
        match self {
            Self::Own { kind, .. } => kind.priority(),
            Self::Import { .. } => Kind::Device.priority(),
        }
    }
}

/// The owner of an object's reservation, which the object keeps.
enum Kept<T: DriverObject> {
    /// The reservation is the object's own.
    Nothing,
    /// Another object.
    Object(ARef<Object<T>>),
    /// A DMA buffer of another device.
    DmaBuf(#[expect(dead_code, reason = "only kept")] ARef<DmaBuf>),
}

/// Conditions under which an operation may sleep and fail.
pub(crate) struct Ctx(pub(super) bindings::ttm_operation_ctx);

impl Ctx {
    /// Makes a context for operations that wait for as long as needed.
    pub(crate) fn new(intr: Interruptible) -> Self {
        Self(bindings::ttm_operation_ctx {
            interruptible: intr.as_bool(),
            ..Default::default()
        })
    }

    /// Returns the number of bytes that have been moved.
    pub(crate) fn bytes_moved(&self) -> u64 {
        self.0.bytes_moved
    }
}

/// A buffer object as the callbacks of a driver see it. It may have no references any more.
///
/// It dereferences to the driver's data.
///
/// # Invariants
///
/// * `raw` is initialized, of the device of the object's driver, and is destroyed by
///   `destroy_callback`. Its device is one of `Device<T::Driver>`, which counts it as a child.
/// * `eviction`, `moving` and `stand_in` belong to the holder of the reservation. `moving` means
///   that the driver's [`move_`](Driver::move_) is running for the object.
/// * If the reservation is that of another object, or of a DMA buffer of another device, `kept` is
///   a reference to that.
/// * `exported` is null or the DMA buffer that the object was exported as, which was not released
///   yet. It belongs to the holder of the reservation, too.
#[repr(C)]
pub(crate) struct Buffer<T: DriverObject> {
    raw: Opaque<bindings::ttm_buffer_object>,
    eviction: UnsafeCell<Placement>,
    moving: Cell<bool>,
    last_place: Atomic<u32>,
    exported: Cell<*mut bindings::dma_buf>,
    pub(super) stand_in: StandIn,
    page_source: PageSource,
    kept: Kept<T>,
    data: T,
}

// SAFETY: The C object does its own locking or has a reservation for it, as have `eviction`,
// `moving` and `stand_in`; the data is `Send` and `Sync`, and the rest is constant.
unsafe impl<T: DriverObject> Send for Buffer<T> {}
// SAFETY: As above.
unsafe impl<T: DriverObject> Sync for Buffer<T> {}

impl<T: DriverObject> Deref for Buffer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: DriverObject> Buffer<T> {
    /// Turns a pointer to the C object into a reference. Returns `None` for a remnant of a move
    /// that TTM made (ghost object), which has no driver's data.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an object of a `Device<T::Driver>` that is alive for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::ttm_buffer_object) -> Option<&'a Self> {
        // A remnant is a copy of an object except for a few fields. This field is null in a
        // remnant, but never here.
        // SAFETY: By the safety requirements. The C object is the first field of a `repr(C)`
        // structure.
        unsafe { (!(*ptr).base.dev.is_null()).then(|| &*ptr.cast()) }
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::ttm_buffer_object {
        self.raw.get()
    }

    pub(super) fn gem(&self) -> *mut bindings::drm_gem_object {
        // SAFETY: The object is valid by the type invariant; no reference is made.
        unsafe { &raw mut (*self.as_raw()).base }
    }

    pub(super) fn ttm_device(&self) -> &Device<T::Driver> {
        // SAFETY: By the type invariant; the device waits for its objects.
        unsafe { Device::from_raw((*self.as_raw()).bdev) }
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: By the type invariant; constant.
        unsafe { (*self.gem()).size }
    }

    /// Returns the DRM device.
    pub(crate) fn drm(&self) -> &drm::Device<Drm<T>> {
        // SAFETY: By the type invariant; the device waits for its objects.
        unsafe { drm::Device::from_raw((*self.gem()).dev) }
    }

    /// Returns the reservation.
    pub(crate) fn resv(&self) -> &Resv {
        // SAFETY: By the type invariant. It is part of this object or of what `kept` keeps.
        unsafe { Resv::from_raw((*self.gem()).resv) }
    }

    /// Returns the operations on the object that need its reservation. Returns `None` if `held` is
    /// the proof for another reservation, or if the object is being moved, as the move relies on
    /// the object's contents.
    pub(crate) fn reserved<'a>(&'a self, held: HeldResv<'a>) -> Option<Reserved<'a, T>> {
        let ours = ptr::eq(held.as_raw(), self.resv().as_raw());
        // INVARIANT: The proof is for the object's reservation.
        (ours && !self.moving.get()).then_some(Reserved { bo: self, held })
    }

    /// Calls `f`, which moves the object. The caller must hold the reservation.
    pub(super) fn while_moving<R>(&self, f: impl FnOnce() -> R) -> R {
        self.moving.set(true);
        let result = f();
        self.moving.set(false);
        result
    }

    /// Returns the kind of memory that the object was last moved to, if it ever had a place.
    ///
    /// Needs no reservation, so the object may have moved by the time that this returns.
    pub(crate) fn last_mem_type(&self) -> Option<MemType> {
        match self.last_place.load(Relaxed) {
            NO_PLACE => None,
            mem_type => Some(MemType::from_raw(mem_type)),
        }
    }

    /// Returns the DMA buffer that the object was exported as, or null. The caller must hold the
    /// reservation, and the buffer must not be used without it.
    pub(super) fn exported(&self) -> *mut bindings::dma_buf {
        self.exported.get()
    }

    /// Sets the DMA buffer that the object was exported as. The caller must hold the reservation.
    pub(super) fn set_exported(&self, buf: *mut bindings::dma_buf) {
        self.exported.set(buf);
    }

    /// Notes the kind of memory that the object lies in now, if any. The caller must hold the
    /// reservation.
    pub(super) fn note_place(&self) {
        // SAFETY: The object is valid, and its resource stays while the reservation is held.
        let place = unsafe {
            let resource = (*self.as_raw()).resource;
            if resource.is_null() {
                NO_PLACE
            } else {
                (*resource).mem_type
            }
        };
        self.last_place.store(place, Relaxed);
    }

    /// Returns the source of the system pages behind the object.
    pub(crate) fn page_source(&self) -> PageSource {
        self.page_source
    }

    /// Returns the object whose reservation this one shares, if any.
    pub(super) fn share(&self) -> Option<&ARef<Object<T>>> {
        match &self.kept {
            Kept::Object(object) => Some(object),
            Kept::Nothing | Kept::DmaBuf(_) => None,
        }
    }

    /// Returns true if the system pages behind the object exist. The caller must hold the
    /// reservation.
    pub(super) fn is_populated(&self) -> bool {
        // SAFETY: The object is valid; its table as long as the reservation is held.
        unsafe {
            let tt = (*self.as_raw()).ttm;
            !tt.is_null() && bindings::rust_ext_ttm_tt_is_populated(tt)
        }
    }

    /// Returns true if the system pages behind the object are those of a process.
    pub(super) fn has_user_pages(&self) -> bool {
        self.page_source.is_user()
    }

    /// Stores the places that the object may be evicted to. The caller must hold the reservation.
    pub(super) fn set_eviction(&self, placement: Placement) -> bindings::ttm_placement {
        // SAFETY: By the type invariant the field is ours as long as we hold the reservation, which
        // is as long as TTM uses what we return.
        unsafe {
            *self.eviction.get() = placement;
            (*self.eviction.get()).as_raw()
        }
    }
}

/// A reference-counted buffer object. It dereferences to [`Buffer`], and through that to the
/// driver's data.
///
/// # Invariants
///
/// The reference count is not zero.
#[repr(transparent)]
pub(crate) struct Object<T: DriverObject>(Buffer<T>);

impl<T: DriverObject> Deref for Object<T> {
    type Target = Buffer<T>;

    fn deref(&self) -> &Buffer<T> {
        &self.0
    }
}

// SAFETY: GEM counts the references; the object is freed by `free_callback` when there are none.
unsafe impl<T: DriverObject> AlwaysRefCounted for Object<T> {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the count is not zero.
        unsafe { bindings::rust_ext_drm_gem_object_get(self.gem()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements the count is not zero.
        unsafe { bindings::rust_ext_drm_gem_object_put(obj.as_ref().gem()) };
    }
}

// SAFETY: The C object is initialized by the type invariants, and at the start of the object. A DRM
// driver has one type of object, and the only objects that get handles are those of this type.
unsafe impl<T: DriverObject> gem::Object for Object<T> {
    type Driver = Drm<T>;

    fn as_gem(&self) -> *mut bindings::drm_gem_object {
        self.gem()
    }

    const IMPORT: gem::Import = Self::import_callback;

    unsafe fn from_gem<'a>(ptr: *mut bindings::drm_gem_object) -> &'a Self {
        // CAST: The C object is the first field of `repr(C)` and `repr(transparent)` structures.
        // SAFETY: By the safety requirements.
        unsafe { &*ptr.cast() }
    }
}

impl<T: DriverObject> Object<T> {
    /// Largest size, as C code counts pages in an `int` in places.
    const MAX_SIZE: usize = (i32::MAX as usize) << PAGE_SHIFT;

    const GEM_FUNCS: bindings::drm_gem_object_funcs = {
        let mut funcs: bindings::drm_gem_object_funcs = pin_init::zeroed();
        funcs.free = Some(Self::free_callback);
        funcs.open = Some(Self::open_callback);
        funcs.close = Some(Self::close_callback);
        funcs.export = Some(Self::export_callback);
        funcs.mmap = Some(Self::mmap_callback);
        funcs.vm_ops = const { &Self::VM_OPS };
        funcs
    };

    const VM_OPS: bindings::vm_operations_struct = {
        let mut ops: bindings::vm_operations_struct = pin_init::zeroed();
        ops.fault = Some(Self::fault_callback);
        ops.open = Some(bindings::ttm_bo_vm_open);
        ops.close = Some(bindings::ttm_bo_vm_close);
        ops.access = Some(Self::access_callback);
        ops
    };

    /// Makes an object, and places it as `spec` says.
    ///
    /// - `EINVAL`: `spec` is invalid.
    /// - `ENOMEM`: there is no room.
    pub(crate) fn new(
        drm: &drm::Device<Drm<T>>,
        spec: Spec<'_, T>,
        ctx: &mut Ctx,
        data: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>> {
        let source = Source::Own {
            kind: spec.kind,
            share: spec.share,
        };
        Self::create_from(
            drm,
            spec.size,
            spec.align,
            spec.placement,
            source,
            ctx,
            data,
        )
    }

    /// Makes an object of `size` bytes out of `source`, and places it.
    pub(super) fn create_from(
        drm: &drm::Device<Drm<T>>,
        size: usize,
        align: usize,
        placement: &Placement,
        source: Source<'_, T>,
        ctx: &mut Ctx,
        data: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>> {
        let device = T::Driver::device(drm);
        if !device.belongs_to(drm)
            || size == 0
            || size > Self::MAX_SIZE
            || size % PAGE_SIZE != 0
            || align % PAGE_SIZE != 0
            || placement.places().is_empty()
        {
            return Err(EINVAL);
        }
        let align = u32::try_from(align >> PAGE_SHIFT)?;
        let kept = source.keep()?;
        let resv = source.resv();
        // Held until the object is complete and listed, so that the end of the attachment sees it.
        let _section = device.gate().enter();

        let mut memory = KBox::<Buffer<T>>::new_uninit(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?;
        let node = Objects::node(NonNull::from(&mut *memory).cast())?;
        let buffer = memory.as_mut_ptr();
        // SAFETY: The memory is ours, and stays where it is until `destroy_callback` frees it.
        unsafe {
            pin_init::raw_try_init(&raw mut (*buffer).data, data)?;
            (&raw mut (*buffer).eviction).write(UnsafeCell::new(Placement::NOWHERE));
            (&raw mut (*buffer).moving).write(Cell::new(false));
            (&raw mut (*buffer).last_place).write(Atomic::new(NO_PLACE));
            (&raw mut (*buffer).exported).write(Cell::new(ptr::null_mut()));
            (&raw mut (*buffer).stand_in).write(StandIn::new());
            (&raw mut (*buffer).page_source).write((*buffer).data.page_source());
            (&raw mut (*buffer).kept).write(kept);
        }
        let buffer = KBox::into_raw(memory).cast::<Buffer<T>>();
        // The C object is the first field.
        let bo = buffer.cast::<bindings::ttm_buffer_object>();
        device.add_object();

        // SAFETY: The object is zeroed, and the size a multiple of the page size.
        unsafe {
            (*bo).priority = source.priority();
            (*bo).base.funcs = const { &Self::GEM_FUNCS };
            bindings::drm_gem_private_object_init(drm.as_raw(), &raw mut (*bo).base, size);
        }

        // SAFETY: The device is initialized; object, placement and context are valid, and a
        // reservation that is not the object's own is held by the type invariants of `Reserved` and
        // `HeldResv`, and its owner kept by `kept`. On failure this calls `destroy_callback`, at
        // once or later.
        // INVARIANT: Those of `Buffer` are met; the reference count is one.
        to_result(unsafe {
            bindings::ttm_bo_init_reserved(
                device.as_raw(),
                bo,
                source.bo_type(),
                &mut placement.as_raw(),
                align,
                &mut ctx.0,
                ptr::null_mut(),
                resv,
                Some(Self::destroy_callback),
            )
        })?;
        // SAFETY: The object is complete, and removed when it is freed.
        unsafe { device.objects().add(node) };
        if resv.is_null() {
            // SAFETY: A new object with a reservation of its own is returned reserved.
            unsafe {
                bindings::rust_ext_ttm_bo_move_to_lru_tail_unlocked(bo);
                bindings::rust_ext_dma_resv_unlock((*bo).base.resv);
            }
        }

        // SAFETY: We own the one reference.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(buffer.cast())) })
    }

    /// Takes the reservation of this object alone. The caller must hold no other.
    pub(crate) fn lock(&self, intr: Interruptible) -> Result<LockedObject<'_, T>> {
        Ok(LockedObject {
            bo: self,
            lock: Buffer::resv(self).lock(intr)?,
        })
    }

    /// Returns the operations on the object that need its reservation, or `None` if it is not among
    /// those of `locked`.
    pub(crate) fn reserved_in<'a>(&'a self, locked: &'a Locked) -> Option<Reserved<'a, T>> {
        self.reserved(locked.held(self)?)
    }

    /// Implements the `destroy` callback, called when TTM is done with the object.
    ///
    /// # Safety
    ///
    /// Must only be called by TTM, for an object that `new` made.
    unsafe extern "C" fn destroy_callback(bo: *mut bindings::ttm_buffer_object) {
        // SAFETY: TTM gives us back what `new` gave to it; nobody else uses it. The device waits
        // for us to be done with it.
        unsafe {
            let device = Device::<T::Driver>::from_raw((*bo).bdev);
            device.objects().remove(NonNull::new_unchecked(bo));
            let attachment = (*bo).base.import_attach;
            if !attachment.is_null() {
                bindings::dma_buf_detach((*attachment).dmabuf, attachment);
            }
            bindings::drm_gem_object_release(&raw mut (*bo).base);
            drop(KBox::<Buffer<T>>::from_raw(bo.cast()));
            Device::remove_object(device);
        }
    }

    /// Implements the `free` callback, called when the last reference is gone.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_gem_object_funcs` of `Self`.
    unsafe extern "C" fn free_callback(gem: *mut bindings::drm_gem_object) {
        let bo = gem.cast::<bindings::ttm_buffer_object>();
        // SAFETY: GEM calls this for our objects, as the last reference is gone; TTM has the object
        // until we tell it.
        unsafe {
            if T::HAS_UNREFERENCED {
                if let Some(buffer) = Buffer::<T>::from_raw(bo) {
                    T::unreferenced(buffer);
                }
            }
            bindings::ttm_bo_fini(bo);
        }
    }

    /// Implements the `open` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_gem_object_funcs` of `Self`.
    unsafe extern "C" fn open_callback(
        gem: *mut bindings::drm_gem_object,
        file: *mut bindings::drm_file,
    ) -> ffi::c_int {
        // SAFETY: GEM calls this with a referenced object of ours and an open file of its device.
        let (bo, file) = unsafe {
            (
                <Self as gem::Object>::from_gem(gem),
                drm::File::from_raw(file),
            )
        };
        match T::open(bo, file) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// Implements the `close` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_gem_object_funcs` of `Self`.
    unsafe extern "C" fn close_callback(
        gem: *mut bindings::drm_gem_object,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: As in `open_callback`; the file's data is dropped after its handles.
        let (bo, file) = unsafe {
            (
                <Self as gem::Object>::from_gem(gem),
                drm::File::from_raw(file),
            )
        };
        T::close(bo, file);
    }
}
