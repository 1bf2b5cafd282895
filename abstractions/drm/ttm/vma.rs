// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User space's mappings of buffer objects: their making, page faults in them, and a debugger's
//! accesses (amdgpu: `amdgpu_gem_object_mmap()`, `amdgpu_gem_fault()`, `ttm_bo_vm_access()`).
//!
//! C header: [`include/drm/ttm/ttm_bo.h`](srctree/include/drm/ttm/ttm_bo.h)

use super::{
    bo::{
        Buffer,
        DriverObject,
        Object, //
    },
    driver::Driver, //
};
use crate::{
    abstractions::{
        dma_fence::Interruptible,
        dma_resv::{
            HeldResv,
            Usage, //
        },
        drm::gem::{
            self,
            ObjectExt, //
        }, //
    },
    bindings, //
};
use core::cell::UnsafeCell;
use kernel::{
    ffi,
    page::Page,
    prelude::*,
    sync::aref::ARef, //
};

/// Page that an object's mappings show when its memory is out of reach, or its device gone.
///
/// All mappings of the object show the same one, so there is no more than one for each object, and
/// those who see it could see the object as well. It is charged to whoever looks first.
///
/// # Invariants
///
/// It belongs to the holder of the object's reservation. It is freed with the object, which each
/// mapping keeps.
pub(super) struct StandIn(UnsafeCell<Option<Page>>);

impl StandIn {
    /// Makes a place for the page, without one.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Returns the page, which is allocated if nobody has looked yet.
    ///
    /// # Safety
    ///
    /// The caller must hold the object's reservation.
    unsafe fn page(&self) -> Result<*mut bindings::page> {
        // SAFETY: By the type invariant and the safety requirements nobody else uses it.
        let place = unsafe { &mut *self.0.get() };
        let page = match place {
            Some(page) => page,
            None => place.insert(Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?),
        };
        Ok(page.as_ptr())
    }
}

impl<T: DriverObject> Object<T> {
    /// Implements the `mmap` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct drm_gem_object_funcs` of `Self`.
    pub(super) unsafe extern "C" fn mmap_callback(
        gem: *mut bindings::drm_gem_object,
        vma: *mut bindings::vm_area_struct,
    ) -> ffi::c_int {
        // SAFETY: GEM calls this with a referenced object of ours.
        let bo = unsafe { <Self as gem::Object>::from_gem(gem) };
        if bo.has_user_pages() {
            return EPERM.to_errno();
        }
        if let Err(e) = T::mmap(bo) {
            return e.to_errno();
        }
        if bo.is_imported() {
            // SAFETY: This is the mapping that the core is making.
            return match unsafe { bo.mmap_import(vma) } {
                Ok(()) => 0,
                Err(e) => e.to_errno(),
            };
        }
        // SAFETY: Object and mapping are valid. On success the mapping has a reference, and the one
        // that the caller has made for it is one too many.
        unsafe {
            let ret = bindings::ttm_bo_mmap_obj(vma, bo.as_raw());
            if ret == 0 {
                bindings::rust_ext_drm_gem_object_put(gem);
            }
            ret
        }
    }

    /// Implements the `fault` callback.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct vm_operations_struct` of `Self`.
    pub(super) unsafe extern "C" fn fault_callback(
        vmf: *mut bindings::vm_fault,
    ) -> bindings::vm_fault_t {
        // SAFETY: The memory manager gives us a fault in a mapping of ours, which has a reference
        // to the object.
        let bo = unsafe {
            let vma = (*vmf).__bindgen_anon_1.vma;
            <Self as gem::Object>::from_gem((*vma).vm_private_data.cast())
        };
        let raw = bo.as_raw();

        // SAFETY: Object and fault are valid. On success the reservation is held.
        let ret = unsafe { bindings::ttm_bo_vm_reserve(raw, vmf) };
        if ret != 0 {
            return ret;
        }
        // SAFETY: The fault is valid, and the object reserved.
        let ret = unsafe {
            if let Err(e) = Self::prepare_fault(bo) {
                answer(e)
            } else if Self::retry_when_idle(bo, vmf) {
                bindings::vm_fault_reason_VM_FAULT_RETRY
            } else {
                Self::fault_reserved(bo, vmf)
            }
        };
        // SAFETY: The fault is valid. If it is to be retried after TTM or `retry_when_idle` had to
        // release the `mmap_lock`, the reservation has been released as well, and maybe the object.
        unsafe {
            let nowait = (*vmf).flags & bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT != 0;
            if ret != bindings::vm_fault_reason_VM_FAULT_RETRY || nowait {
                bindings::rust_ext_dma_resv_unlock((*raw).base.resv);
            }
        }
        ret
    }

    /// Calls the driver's `prepare_fault`.
    ///
    /// # Safety
    ///
    /// `bo` must be reserved.
    unsafe fn prepare_fault(bo: &Self) -> Result {
        let Some(_guard) = bo.drm().enter() else {
            return Ok(());
        };
        // SAFETY: By the safety requirements. This value is not used after this call.
        let held = unsafe { HeldResv::new(Buffer::resv(bo)) };
        if <T::Driver as Driver>::HAS_PREPARE_FAULT {
            T::Driver::prepare_fault(&bo.reserved(held).ok_or(EINVAL)?)?;
        }
        Ok(())
    }

    /// Waits for the kernel's work on the object, if there is any and the fault may be retried.
    /// Waits without the `mmap_lock`, so that others can change the address space meanwhile.
    /// Returns true if the fault is to be retried. The reservation is then released, too, unless
    /// the fault must not wait.
    ///
    /// TTM does the same before it maps pages. This is for the driver's work before that.
    ///
    /// # Safety
    ///
    /// `vmf` must be a fault in a mapping of `bo`, which must be reserved. When this returns true,
    /// `bo` may be gone.
    unsafe fn retry_when_idle(bo: &Self, vmf: *mut bindings::vm_fault) -> bool {
        // SAFETY: By the safety requirements the fault is valid.
        let flags = unsafe { (*vmf).flags };
        // SAFETY: This only looks at the flags.
        let first = unsafe { bindings::rust_ext_fault_flag_allow_retry_first(flags) };
        if !first || Buffer::resv(bo).is_idle(Usage::Kernel) {
            return false;
        }
        if flags & bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT != 0 {
            return true;
        }
        // The mapping, and its reference to the object, may go away once the `mmap_lock` is
        // released.
        let bo: ARef<Self> = bo.into();
        // SAFETY: By the safety requirements the fault is valid, and such a fault holds the lock.
        // After this nobody looks at the mapping.
        unsafe { bindings::rust_ext_mmap_read_unlock((*(*vmf).__bindgen_anon_1.vma).vm_mm) };
        // A signal may end the wait. The process then handles it before it retries.
        let _ = Buffer::resv(&bo).wait(Usage::Kernel, Interruptible::Yes);
        // SAFETY: By the safety requirements it is reserved.
        unsafe { bindings::rust_ext_dma_resv_unlock((*bo.as_raw()).base.resv) };
        true
    }

    /// Calls the driver's `fault`, then lets TTM map pages.
    ///
    /// # Safety
    ///
    /// `vmf` must be a fault in a mapping of `bo`, which must be reserved. It stays reserved,
    /// unless TTM returns that the fault is to be retried and the fault may wait.
    unsafe fn fault_reserved(bo: &Self, vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements the fault is valid.
        let prot = unsafe { (*(*vmf).__bindgen_anon_1.vma).vm_page_prot };
        let Some(_guard) = bo.drm().enter() else {
            // SAFETY: By the safety requirements.
            return unsafe { Self::show_stand_in(bo, vmf) };
        };
        // SAFETY: The reservation is held for as long as this value is used.
        let held = unsafe { HeldResv::new(Buffer::resv(bo)) };
        let out_of_reach = bo
            .reserved(held)
            .is_some_and(|reserved| T::Driver::is_out_of_reach(&reserved));
        if out_of_reach {
            // SAFETY: By the safety requirements.
            return unsafe { Self::show_stand_in(bo, vmf) };
        }
        let asked = bo.reserved(held).ok_or(EINVAL).and_then(|reserved| {
            if <T::Driver as Driver>::HAS_FAULT {
                T::Driver::fault(&reserved)
            } else {
                Ok(())
            }
        });
        match asked {
            // SAFETY: The object is reserved.
            Ok(()) if unsafe { (*bo.as_raw()).resource.is_null() } => {
                bindings::vm_fault_reason_VM_FAULT_SIGBUS
            }
            // SAFETY: The fault is valid, and the object reserved.
            Ok(()) => unsafe {
                bindings::ttm_bo_vm_fault_reserved(
                    vmf,
                    prot,
                    // CAST: A small number.
                    bindings::TTM_BO_VM_NUM_PREFAULT as ffi::c_ulong,
                )
            },
            Err(e) => answer(e),
        }
    }

    /// Maps the page that stands in for the object's memory. TTM's own function for this
    /// (`ttm_bo_vm_dummy_page`) takes a new one for each mapping, and keeps it as long as the
    /// device.
    ///
    /// # Safety
    ///
    /// `vmf` must be a fault in a mapping of `bo`, which must be reserved.
    unsafe fn show_stand_in(bo: &Self, vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements.
        match unsafe { bo.stand_in.page() } {
            // SAFETY: The fault is valid, and its mapping one of page numbers that is not private,
            // as TTM makes no other. The page stays for as long as the mapping, by the invariants
            // of `StandIn`.
            Ok(page) => unsafe { bindings::rust_ext_vmf_insert_page(vmf, page) },
            Err(_) => bindings::vm_fault_reason_VM_FAULT_OOM,
        }
    }

    /// Implements the `access` callback, for a debugger that reads or writes a process's mapping.
    ///
    /// # Safety
    ///
    /// Must only be called through a `struct vm_operations_struct` of `Self`.
    pub(super) unsafe extern "C" fn access_callback(
        vma: *mut bindings::vm_area_struct,
        addr: ffi::c_ulong,
        buf: *mut ffi::c_void,
        len: ffi::c_int,
        write: ffi::c_int,
    ) -> ffi::c_int {
        // SAFETY: The memory manager gives us a mapping of ours, which has a reference to the
        // object.
        let bo = unsafe { <Self as gem::Object>::from_gem((*vma).vm_private_data.cast()) };
        match bo.ttm_device().gate().enter() {
            // TTM reads system pages without asking the driver, also in the middle of a move.
            Some(_section) => match Buffer::resv(bo).wait(Usage::Kernel, Interruptible::Yes) {
                // SAFETY: The arguments are those of the callback.
                Ok(()) => unsafe { bindings::ttm_bo_vm_access(vma, addr, buf, len, write) },
                Err(e) => e.to_errno(),
            },
            None => ENODEV.to_errno(),
        }
    }
}

/// Returns the answer to a fault for which the driver returned an error.
fn answer(error: Error) -> bindings::vm_fault_t {
    match error {
        EINTR | ERESTARTSYS | EAGAIN | EBUSY => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
        _ => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
