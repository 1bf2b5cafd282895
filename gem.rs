// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The ioctls on buffer objects (BOs), except for BOs made of user memory (`userptr.rs`). Their
//! counterpart is `amdgpu_gem.c`.
//!
//! | ioctl | purpose |
//! |---|---|
//! | `GEM_CREATE` | creates a BO and returns a handle |
//! | `GEM_MMAP` | returns the offset at which the CPU can map the BO |
//! | `GEM_WAIT_IDLE` | waits until no job uses the BO |
//! | `GEM_VA` | maps BOs into the file's GPU address space |
//! | `GEM_METADATA` | stores a few words that user space shares with a BO |
//! | `GEM_OP` | returns how a BO was created or mapped, or changes its preferred domains |
//! | `GEM_LIST_HANDLES` | lists the BOs to which the file has handles (`gem/handles.rs`) |
//!
//! User space chooses every bit of the arguments. Checks come in the order in which the C driver
//! makes them, so that a call with two errors returns the same errno.

mod handles;

pub(crate) use self::handles::list_handles;

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use crate::{
    abstractions::{
        dma_fence::{
            Interruptible,
            Waited, //
        },
        drm::{
            exec::{
                self,
                Locked, //
            },
            gem::{
                Handle,
                ObjectExt, //
            },
        },
    },
    bindings::{
        self,
        drm_amdgpu_gem_create_in,
        drm_amdgpu_gem_create_out,
        drm_amdgpu_gem_mmap_in,
        drm_amdgpu_gem_mmap_out,
        drm_amdgpu_gem_op,
        drm_amdgpu_gem_va,
        drm_amdgpu_gem_vm_entry,
        drm_amdgpu_gem_wait_idle_in,
        drm_amdgpu_gem_wait_idle_out, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    hw::page_table::{
        Format,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    sync::{
        Signal,
        Wait, //
    },
    ttm::{
        Bo,
        Domains,
        NewBo,
        Words, //
    },
    uapi,
    vm::{
        MapFlags,
        Mapping,
        Overlap,
        Vm, //
    },
};

/// Flags of `GEM_CREATE` that user space may pass.
const CREATE_FLAGS: u32 = bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED
    | bindings::AMDGPU_GEM_CREATE_NO_CPU_ACCESS
    | bindings::AMDGPU_GEM_CREATE_CPU_GTT_USWC
    | bindings::AMDGPU_GEM_CREATE_VRAM_CLEARED
    | bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID
    | bindings::AMDGPU_GEM_CREATE_EXPLICIT_SYNC
    | bindings::AMDGPU_GEM_CREATE_VRAM_WIPE_ON_RELEASE
    | bindings::AMDGPU_GEM_CREATE_DISCARDABLE
    | bindings::AMDGPU_GEM_CREATE_COHERENT
    | bindings::AMDGPU_GEM_CREATE_UNCACHED
    | bindings::AMDGPU_GEM_CREATE_EXT_COHERENT
    | bindings::AMDGPU_GEM_CREATE_GFX12_DCC;

/// Implements `GEM_CREATE`.
///
/// Encrypted memory and the domain of doorbells, which nothing on this hardware requests, are
/// rejected like unknown ones. On-chip memory is only given to jobs whose submission names the BO.
pub(crate) fn create(
    dev: &DrmDevice,
    args: &drm_amdgpu_gem_create_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_gem_create_out> {
    let flags = u32::try_from(args.domain_flags).map_err(|_| EINVAL)?;
    if flags & !CREATE_FLAGS != 0 {
        return Err(EINVAL);
    }
    let mut new = NewBo {
        size: args.bo_size,
        alignment: args.alignment,
        domains: Domains::from_user(args.domains)?,
        // All VRAM is handed out cleared.
        flags: flags | bindings::AMDGPU_GEM_CREATE_VRAM_CLEARED,
    };
    if new.domains.on_chip().is_some() {
        if flags & bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID != 0 {
            return Err(EINVAL);
        }
        new.flags |= bindings::AMDGPU_GEM_CREATE_NO_CPU_ACCESS;
    }

    let bo = loop {
        match create_bo(dev, new, file) {
            Ok(bo) => break bo,
            Err(e) if e == ERESTARTSYS || !new.ask_for_less() => return Err(e),
            Err(_) => (),
        }
    };
    Ok(drm_amdgpu_gem_create_out {
        handle: bo.create_handle(file)?.0,
        _pad: 0,
    })
}

fn create_bo(dev: &DrmDevice, new: NewBo, file: &DrmFile) -> Result<ARef<Bo>> {
    if new.flags & bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID == 0 {
        return Bo::create(dev, new, None);
    }
    let vm = vm(file);
    let root = vm.root().lock(Interruptible::Yes)?;
    Bo::create(dev, new, Some((vm, &root.reserved())))
}

/// Returns the address space of an open file.
fn vm(file: &DrmFile) -> &Arc<Vm> {
    &file.inner().get_ref().vm
}

/// Implements `GEM_MMAP`.
pub(crate) fn mmap(
    _dev: &DrmDevice,
    args: &drm_amdgpu_gem_mmap_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_gem_mmap_out> {
    let bo = Handle(args.handle).lookup(file)?;

    bo.check_cpu_access()?;
    Ok(drm_amdgpu_gem_mmap_out {
        addr_ptr: bo.mmap_offset()?,
    })
}

/// Implements `GEM_WAIT_IDLE`.
pub(crate) fn wait_idle(
    _dev: &DrmDevice,
    args: &drm_amdgpu_gem_wait_idle_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_gem_wait_idle_out> {
    let bo = Handle(args.handle).lookup(file)?;
    let timeout = uapi::timeout(args.timeout);
    let waited = bo
        .resv()
        .wait_timeout(bo.usage_by_jobs(), Interruptible::Yes, timeout)?;

    Ok(drm_amdgpu_gem_wait_idle_out {
        status: match waited {
            Waited::Done => 0,
            Waited::TimedOut => 1,
        },
        domain: 0,
    })
}

/// `drm_amdgpu_gem_metadata`, whose last four bytes belong to no field of C's.
#[repr(C)]
#[derive(FromBytes, IntoBytes)]
pub(crate) struct MetadataArgs {
    handle: u32,
    op: u32,
    flags: u64,
    tiling_info: u64,
    data_size_bytes: u32,
    data: [u32; 64],
    _gap: u32,
}

/// Implements `GEM_METADATA`.
pub(crate) fn metadata(_dev: &DrmDevice, args: &mut MetadataArgs, file: &DrmFile) -> Result<u32> {
    let bo = Handle(args.handle).lookup(file)?;
    let mut metadata = bo.metadata().lock();

    match args.op {
        bindings::AMDGPU_GEM_METADATA_OP_GET_METADATA => {
            args.tiling_info = metadata.tiling;
            args.flags = metadata.flags;
            args.data_size_bytes = metadata.data.size();
            metadata.data.copy_to(&mut args.data);
        }
        bindings::AMDGPU_GEM_METADATA_OP_SET_METADATA => {
            let data = Words::first(args.data_size_bytes, &args.data)?;
            metadata.set_tiling(args.tiling_info)?;
            metadata.set(args.flags, data);
        }
        // The C driver ignores this as well.
        _ => (),
    }
    Ok(0)
}

/// Implements `GEM_OP`.
pub(crate) fn op(_dev: &DrmDevice, args: &mut drm_amdgpu_gem_op, file: &DrmFile) -> Result<u32> {
    if args.padding != 0 {
        return Err(EINVAL);
    }
    let bo = Handle(args.handle).lookup(file)?;

    match args.op {
        bindings::AMDGPU_GEM_OP_GET_GEM_CREATE_INFO => {
            uapi::write(args.value, &bo.create_info())?;
        }
        bindings::AMDGPU_GEM_OP_SET_PLACEMENT => {
            if bo.is_user_memory() {
                return Err(EPERM);
            }
            let domains = Domains::masked(args.value);
            // On-chip memory has no bytes to move.
            let stays = bo.domains().on_chip().is_some();
            if stays || (bo.is_imported() && domains.has(Domains::VRAM)) {
                return Err(EINVAL);
            }
            bo.set_domains(domains);
        }
        bindings::AMDGPU_GEM_OP_GET_MAPPING_INFO => mapping_info(args, &bo, file)?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// Returns the number of a BO's mappings, and the mappings themselves if there is room for all of
/// them.
fn mapping_info(args: &mut drm_amdgpu_gem_op, bo: &Bo, file: &DrmFile) -> Result {
    let vm = vm(file);
    let room = usize::try_from(args.num_entries)?;

    if !vm.knows(bo) {
        return Err(ENOENT);
    }
    if room > i32::MAX as usize / size_of::<drm_amdgpu_gem_vm_entry>() {
        return Err(EINVAL);
    }
    // User space chooses the room, but not the memory allocated here.
    let mut there = 0;
    vm.for_each_mapping(bo, |_| there += 1);
    let mut entries = KVVec::with_capacity(room.min(there), GFP_KERNEL_ACCOUNT)?;
    let mut count = 0u32;
    vm.for_each_mapping(bo, |mapping| {
        // Mappings that do not fit are only counted.
        let _ = entries.push_within_capacity(vm_entry(&mapping));
        count = count.saturating_add(1);
    });
    if entries.len() == usize::try_from(count)? {
        uapi::write(args.value, &entries[..])?;
    }
    args.num_entries = count;
    Ok(())
}

fn vm_entry(mapping: &Mapping) -> drm_amdgpu_gem_vm_entry {
    drm_amdgpu_gem_vm_entry {
        addr: mapping.page << PAGE_SHIFT,
        size: mapping.count << PAGE_SHIFT,
        offset: mapping.bo_page << PAGE_SHIFT,
        flags: mapping.access.0.into(),
    }
}

/// Sizes of the ranges at the bottom and top of the address space that user space may not use. The
/// C driver also reserves them; it keeps things of its own at the top.
const RESERVED_BOTTOM: u64 = 64 << 10;
const RESERVED_TOP: u64 = (64 << 10) + (2 << 20) + (2 << 20);

/// Returns the addresses at which user space may map things.
pub(crate) const fn user_space(format: &Format) -> Range<u64> {
    RESERVED_BOTTOM..(format.pages() << PAGE_SHIFT) - RESERVED_TOP
}

/// Addresses that are not canonical (`AMDGPU_GMC_HOLE_*`). Bits above [`HOLE_MASK`] are ignored.
const HOLE: Range<u64> = 0x8000_0000_0000..0xffff_8000_0000_0000;
const HOLE_MASK: u64 = 0xffff_ffff_ffff;

/// Flags of `GEM_VA` for a mapping of a BO.
const MAP_FLAGS: u32 = bindings::AMDGPU_VM_DELAY_UPDATE
    | bindings::AMDGPU_VM_PAGE_READABLE
    | bindings::AMDGPU_VM_PAGE_WRITEABLE
    | bindings::AMDGPU_VM_PAGE_EXECUTABLE
    | bindings::AMDGPU_VM_MTYPE_MASK
    | bindings::AMDGPU_VM_PAGE_NOALLOC;

/// Flags of `GEM_VA` for a range that reads as zeroes.
const PRT_FLAGS: u32 = bindings::AMDGPU_VM_DELAY_UPDATE | bindings::AMDGPU_VM_PAGE_PRT;

/// Operation of `GEM_VA`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum VaOp {
    Map(Overlap),
    Unmap,
    Clear,
}

impl VaOp {
    fn from_user(op: u32) -> Result<Self> {
        match op {
            bindings::AMDGPU_VA_OP_MAP => Ok(Self::Map(Overlap::Refuse)),
            bindings::AMDGPU_VA_OP_REPLACE => Ok(Self::Map(Overlap::Replace)),
            bindings::AMDGPU_VA_OP_UNMAP => Ok(Self::Unmap),
            bindings::AMDGPU_VA_OP_CLEAR => Ok(Self::Clear),
            _ => Err(EINVAL),
        }
    }
}

/// The range of the address space that `GEM_VA` operates on, checked as far as possible without a
/// BO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct VaRange {
    address: u64,
    size: u64,
}

impl VaRange {
    fn from_user(format: &Format, address: u64, size: u64) -> Result<Self> {
        let space = user_space(format);
        if address < space.start || HOLE.contains(&address) {
            return Err(EINVAL);
        }
        let address = address & HOLE_MASK;
        match address.checked_add(size) {
            Some(end) if end <= space.end => Ok(Self { address, size }),
            _ => Err(EINVAL),
        }
    }

    /// Returns the pages of the range, and the page at `offset` of the object of `limit` bytes that
    /// is mapped there.
    fn pages(&self, offset: u64, limit: u64) -> Result<(Range<u64>, u64)> {
        let misaligned = (self.address | self.size | offset) & (PAGE_SIZE - 1) != 0;
        let end = offset.checked_add(self.size).ok_or(EINVAL)?;
        if misaligned || self.size == 0 || end > limit {
            return Err(EINVAL);
        }
        let start = self.address >> PAGE_SHIFT;
        Ok((
            start..start + (self.size >> PAGE_SHIFT),
            offset >> PAGE_SHIFT,
        ))
    }
}

/// Implements `GEM_VA`.
pub(crate) fn va(dev: &DrmDevice, args: &mut drm_amdgpu_gem_va, file: &DrmFile) -> Result<u32> {
    let range = VaRange::from_user(dev.hw.format, args.va_address, args.map_size)?;
    if args.flags & !MAP_FLAGS != 0 && args.flags & !PRT_FLAGS != 0 {
        return Err(EINVAL);
    }
    let op = VaOp::from_user(args.operation)?;
    if args.flags & bindings::AMDGPU_VM_DELAY_UPDATE != 0 && args.vm_timeline_syncobj_out != 0 {
        return Err(EINVAL);
    }

    let is_sparse = args.flags & bindings::AMDGPU_VM_PAGE_PRT != 0;
    match op {
        VaOp::Clear => clear(dev, file, args, range),
        VaOp::Map(overlap) if is_sparse => map_nothing(dev, file, args, range, overlap),
        VaOp::Unmap if is_sparse => unmap_nothing(dev, file, args, range),
        VaOp::Map(overlap) => map(dev, file, args, range, overlap),
        VaOp::Unmap => unmap(dev, file, args, range),
    }?;
    Ok(0)
}

fn map(
    dev: &DrmDevice,
    file: &DrmFile,
    args: &drm_amdgpu_gem_va,
    range: VaRange,
    overlap: Overlap,
) -> Result {
    let bo = Handle(args.handle).lookup(file)?;
    let vm = vm(file);

    wait_before(file, args)?;
    let _section = dev.enter().ok_or(ENODEV)?;
    let locked = exec::lock_all(Interruptible::Yes, |locker| {
        locker.prepare(&*bo, 1)?;
        locker.prepare(vm.root(), 1)
    })?;
    if !vm.knows(&bo) {
        return Err(ENOENT);
    }
    let done = signal_after(file, args)?;
    let (pages, bo_page) = range.pages(args.offset_in_bo, bo.size() as u64)?;
    let mapping = Mapping {
        page: pages.start,
        count: pages.end - pages.start,
        bo: bo.id(),
        bo_page,
        access: MapFlags(args.flags),
    };
    vm.map(&locked, &bo, mapping, overlap)?;
    signal(done, vm);
    Ok(())
}

fn unmap(dev: &DrmDevice, file: &DrmFile, args: &drm_amdgpu_gem_va, range: VaRange) -> Result {
    let bo = Handle(args.handle).lookup(file)?;
    let vm = vm(file);

    wait_before(file, args)?;
    let _section = dev.enter().ok_or(ENODEV)?;
    let locked = exec::lock_one(Interruptible::Yes, vm.root(), 1)?;
    if !vm.knows(&bo) {
        return Err(ENOENT);
    }
    let done = signal_after(file, args)?;
    vm.unmap(&locked, &bo, range.address >> PAGE_SHIFT)?;
    signal(done, vm);
    Ok(())
}

/// Maps a range to no BO, so that shaders read zeros there. The handle does not matter.
fn map_nothing(
    dev: &DrmDevice,
    file: &DrmFile,
    args: &drm_amdgpu_gem_va,
    range: VaRange,
    overlap: Overlap,
) -> Result {
    let space = user_space(dev.hw.format);
    let space = space.start >> PAGE_SHIFT..space.end >> PAGE_SHIFT;

    change(dev, file, args, |vm, locked| {
        let (pages, _) = range.pages(args.offset_in_bo, u64::MAX)?;
        vm.map_nothing(locked, pages, overlap, space)
    })
}

fn unmap_nothing(
    dev: &DrmDevice,
    file: &DrmFile,
    args: &drm_amdgpu_gem_va,
    range: VaRange,
) -> Result {
    change(dev, file, args, |vm, locked| {
        vm.unmap_nothing(locked, range.address >> PAGE_SHIFT)
    })
}

fn clear(dev: &DrmDevice, file: &DrmFile, args: &drm_amdgpu_gem_va, range: VaRange) -> Result {
    change(dev, file, args, |vm, locked| {
        let (pages, _) = range.pages(0, u64::MAX)?;
        vm.clear(locked, pages)
    })
}

/// Makes a change of the address space that concerns no BO of the caller's choice, with the fences
/// before and after it that user space asks for.
fn change(
    dev: &DrmDevice,
    file: &DrmFile,
    args: &drm_amdgpu_gem_va,
    make: impl FnOnce(&Arc<Vm>, &Locked) -> Result,
) -> Result {
    let vm = vm(file);

    wait_before(file, args)?;
    let _section = dev.enter().ok_or(ENODEV)?;
    let locked = exec::lock_one(Interruptible::Yes, vm.root(), 1)?;
    let done = signal_after(file, args)?;
    make(vm, &locked)?;
    signal(done, vm);
    Ok(())
}

/// Waits for the fences that user space wants to precede a change of its address space.
fn wait_before(file: &DrmFile, args: &drm_amdgpu_gem_va) -> Result {
    /// More handles than anyone has.
    const MAX: usize = 64 << 10;

    let count = args.num_syncobj_handles as usize;
    if count > MAX {
        return Err(EINVAL);
    }
    for handle in uapi::read_words(args.input_fence_syncobj_handles, count)? {
        if handle == 0 {
            return Err(EINVAL);
        }
        // The fence's status does not matter.
        let wait = Wait {
            handle,
            point: 0,
            flags: 0,
        };
        match wait.fence(file)?.wait(Interruptible::Yes) {
            Err(e) if e == ERESTARTSYS => return Err(e),
            _ => (),
        }
    }
    Ok(())
}

/// Returns the point that user space wants signaled when a change of its address space is complete.
fn signal_after(file: &DrmFile, args: &drm_amdgpu_gem_va) -> Result<Option<Signal>> {
    match args.vm_timeline_syncobj_out {
        0 => Ok(None),
        handle => Signal::new(file, handle, args.vm_timeline_point).map(Some),
    }
}

/// Gives that point the fence of the newest change. The reservation of the address space is held.
fn signal(done: Option<Signal>, vm: &Vm) {
    if let Some(done) = done {
        done.give(&vm.update_fence());
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_gem)]
mod tests {
    use super::*;
    use crate::hw::page_table::fake::TWO;

    #[test]
    fn ranges_of_user_space() {
        let end = (64 << 30) - (64 << 10) - (4 << 20);
        let good = |address, size| VaRange::from_user(&TWO, address, size).is_ok();

        assert!(good(0x1_0000, 0x1000));
        assert!(!good(0xffff, 0x1000));
        assert!(!good(0, 0));
        assert!(good(end - 0x1000, 0x1000));
        assert!(good(end, 0));
        assert!(!good(end, 1));
        assert!(!good(0x1_0000, u64::MAX));
        assert!(!good(0x8000_0000_0000, 0x1000));
        assert!(!good(0xffff_7fff_ffff_f000, 0x1000));
        // Above the hole the upper bits do not count.
        assert_eq!(
            VaRange::from_user(&TWO, 0xffff_8000_0000_0000, 0x1000),
            Err(EINVAL)
        );
    }

    #[test]
    fn pages_of_a_range() {
        let range = VaRange {
            address: 0x2_0000,
            size: 0x3000,
        };
        assert_eq!(range.pages(0x1000, 0x4000), Ok((0x20..0x23, 1)));
        assert_eq!(range.pages(0x2000, 0x4000), Err(EINVAL));
        assert_eq!(range.pages(0x800, 0x4000), Err(EINVAL));
        assert_eq!(range.pages(!0xfff, u64::MAX), Err(EINVAL));
        for (address, size) in [(0x2_0800, 0x1000), (0x2_0000, 0x800), (0x2_0000, 0)] {
            assert_eq!(VaRange { address, size }.pages(0, 0x4000), Err(EINVAL));
        }
    }

    #[test]
    fn operations() {
        assert_eq!(VaOp::from_user(0), Err(EINVAL));
        assert_eq!(VaOp::from_user(1), Ok(VaOp::Map(Overlap::Refuse)));
        assert_eq!(VaOp::from_user(4), Ok(VaOp::Map(Overlap::Replace)));
        assert_eq!(VaOp::from_user(5), Err(EINVAL));
    }
}
