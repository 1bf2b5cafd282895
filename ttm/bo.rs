// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects (BOs): what they are made of, and what can be done to them.

use kernel::{
    new_mutex,
    new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

use super::{
    clear,
    Domains,
    Metadata,
    Ttm,
    Vram, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        dma_resv::Usage,
        drm::{
            gem::ObjectExt,
            ttm, //
        },
        mm::hmm::{
            self,
            Pfn, //
        },
    },
    bindings::{
        self,
        drm_amdgpu_gem_create_in, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    hw::page_table::{
        Pte,
        Snoop, //
    },
    userptr::Userptr,
    vm::{
        Backing,
        Reach,
        SystemPages,
        TableId,
        Vm, //
    },
};

/// A buffer object.
pub(crate) type Bo = ttm::Object<BoData>;

/// A buffer object whose reservation is held.
pub(crate) type ReservedBo<'a> = ttm::Reserved<'a, BoData>;

/// What tells BOs apart, for as long as the driver is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BoId(u64);

impl BoId {
    /// The least there is.
    pub(crate) const FIRST: Self = Self(0);

    /// One that no BO has yet.
    pub(crate) fn new() -> Self {
        static LAST: Atomic<u64> = Atomic::new(0);

        Self(LAST.fetch_add(1, Relaxed)).next()
    }

    /// As a number.
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// The next greater one.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a BO is made of.
pub(crate) enum Kind {
    /// Memory that TTM gives and takes.
    Plain,
    /// A page directory or page table of the one address space that it knows.
    Table(TableId),
    /// Memory of a process.
    User(Userptr),
}

/// What a new BO is to be like.
#[derive(Clone, Copy)]
pub(crate) struct NewBo {
    /// In bytes; rounded up to whole pages.
    pub(crate) size: u64,
    /// In bytes; a power of two, or less than a page.
    pub(crate) alignment: u64,
    pub(crate) domains: Domains,
    /// `AMDGPU_GEM_CREATE_*`.
    pub(crate) flags: u32,
}

impl NewBo {
    /// After there was no room: asks for less, or gives false if that was the least.
    pub(crate) fn ask_for_less(&mut self) -> bool {
        if self.flags & bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED != 0 {
            self.flags &= !bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED;
            return true;
        }
        let same = self.domains;
        if self.domains == Domains::VRAM {
            self.domains = self.domains.or_gtt();
        }
        self.domains != same
    }

    /// The size in whole pages, not 0.
    fn pages_size(&self) -> Result<usize> {
        if self.size == 0 {
            return Err(ENOSPC);
        }
        let size = self
            .size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        usize::try_from(size).map_err(|_| EINVAL)
    }

    /// The alignment in whole pages.
    fn pages_alignment(&self) -> Result<usize> {
        let alignment = self.alignment.max(PAGE_SIZE as u64);
        if !alignment.is_power_of_two() || alignment > u64::from(u32::MAX) {
            return Err(EINVAL);
        }
        usize::try_from(alignment).map_err(|_| EINVAL)
    }
}

/// The driver's data in each BO.
#[pin_data]
pub(crate) struct BoData {
    id: BoId,
    kind: Kind,
    /// `AMDGPU_GEM_CREATE_*`, as user space gave them.
    flags: u32,
    /// In bytes, as user space gave it, in whole pages. 0: it does not care.
    alignment: u64,
    /// Where user space prefers it.
    domains: Atomic<u32>,
    /// The address space that it is private to, if it is.
    private_to: Option<BoId>,
    #[pin]
    metadata: Mutex<Metadata>,
    /// Whether fences may be in its reservation of which its first address space knows nothing: a
    /// second address space has known it, or it was exported. Set before either can add a fence.
    shared: AtomicFlag,
    /// The address spaces in whose file there is a handle, by their [`Vm::id`].
    #[pin]
    spaces: Mutex<RBTree<BoId, Arc<Vm>>>,
    /// The fence of the engine that clears the BO's VRAM, unless it is known to have ended well. Changed
    /// with the reservation held only.
    #[pin]
    clear: SpinLock<Option<ARef<Fence>>>,
}

impl BoData {
    fn new(
        id: BoId,
        kind: Kind,
        new: NewBo,
        private_to: Option<BoId>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            id,
            kind,
            flags: new.flags,
            alignment: new.alignment.next_multiple_of(PAGE_SIZE as u64),
            domains: Atomic::new(new.domains.bits()),
            private_to,
            shared: AtomicFlag::new(false),
            metadata <- new_mutex!(Metadata::NONE, "BoData::metadata"),
            spaces <- new_mutex!(RBTree::new(), "BoData::spaces"),
            clear <- new_spinlock!(None, "BoData::clear"),
        })
    }

    /// What tells it apart.
    pub(crate) fn id(&self) -> BoId {
        self.id
    }

    /// The page directory or page table that it is, if it is.
    pub(super) fn table(&self) -> Option<TableId> {
        match self.kind {
            Kind::Table(table) => Some(table),
            Kind::Plain | Kind::User(_) => None,
        }
    }

    /// Whether it is made of a process's memory.
    pub(crate) fn is_user_memory(&self) -> bool {
        self.userptr().is_some()
    }

    /// The memory of a process that it is made of, if it is.
    pub(crate) fn userptr(&self) -> Option<&Userptr> {
        match &self.kind {
            Kind::User(userptr) => Some(userptr),
            Kind::Plain | Kind::Table(_) => None,
        }
    }

    /// Whether it is private to an address space, whose jobs use it without naming it.
    pub(crate) fn is_always_valid(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID != 0
    }

    /// Returns the usage that the fences of jobs which may use it have in its reservation. In the
    /// reservation of an address space, which an always valid BO shares, that is `Bookkeep`.
    pub(crate) fn usage_by_jobs(&self) -> Usage {
        if self.is_always_valid() {
            Usage::Bookkeep
        } else {
            Usage::Read
        }
    }

    /// `EPERM` if user space may not map it.
    pub(crate) fn check_cpu_access(&self) -> Result {
        let denied = self.flags & bindings::AMDGPU_GEM_CREATE_NO_CPU_ACCESS != 0;
        match self.kind {
            Kind::Plain if !denied => Ok(()),
            Kind::Plain | Kind::Table(_) | Kind::User(_) => Err(EPERM),
        }
    }

    /// What user space keeps with it.
    pub(crate) fn metadata(&self) -> &Mutex<Metadata> {
        &self.metadata
    }

    /// Where user space prefers it.
    pub(crate) fn domains(&self) -> Domains {
        Domains::from_bits(self.domains.load(Relaxed))
    }

    /// Changes where user space prefers it, from the next job on.
    pub(crate) fn set_domains(&self, domains: Domains) {
        self.domains.store(domains.bits(), Relaxed);
    }

    /// Notes that there is a handle in the file of an address space, whose reservation is held.
    pub(crate) fn add_space(&self, node: RBTreeNode<BoId, Arc<Vm>>) {
        let mut spaces = self.spaces.lock();
        let replaced = spaces.insert(node);
        if spaces.iter().nth(1).is_some() {
            self.shared.store(true, Relaxed);
        }
        drop(spaces);
        drop(replaced);
    }

    /// Returns true if a job that names it may have to wait for fences that are neither the kernel's
    /// nor those of the job's own address space.
    pub(crate) fn has_foreign_fences(&self) -> bool {
        self.shared.load(Relaxed)
    }

    /// Returns true if jobs that name it come after the jobs of other address spaces that did, without
    /// being told to.
    pub(crate) fn has_implicit_order(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_EXPLICIT_SYNC == 0
    }

    /// Notes that there is none any more, and that nothing is mapped there. The reservation of the
    /// address space is held.
    pub(crate) fn remove_space(&self, vm: BoId) {
        let removed = self.spaces.lock().remove_node(&vm);
        drop(removed);
    }

    /// The address space after the one given, of those in whose file there is a handle.
    fn next_space(&self, after: Option<BoId>) -> Option<Arc<Vm>> {
        let spaces = self.spaces.lock();
        let from = after.map_or(BoId::FIRST, BoId::next);
        let cursor = spaces.cursor_lower_bound(&from)?;
        Some(cursor.current().1.clone())
    }

    /// An engine clears the BO's VRAM, until `fence`. The reservation must be held.
    pub(super) fn clear_begins(&self, fence: ARef<Fence>) {
        let replaced = self.clear.lock().replace(fence);
        drop(replaced);
    }

    /// The BO's VRAM is cleared. The reservation must be held.
    pub(super) fn clear_ended(&self) {
        let fence = self.clear.lock().take();
        drop(fence);
    }

    /// The fence of the clear of the BO's VRAM, unless that is known to have ended well.
    pub(super) fn unfinished_clear(&self) -> Option<ARef<Fence>> {
        self.clear.lock().clone()
    }

    /// Whether what lies in the BO's VRAM is its own. It stays so for as long as the reservation is held.
    pub(crate) fn is_cleared(&self) -> bool {
        self.unfinished_clear()
            .is_none_or(|clear| matches!(clear.status(), Some(Ok(()))))
    }

    /// The page directory or page table that this is loses its memory. The reservation must be held, and no
    /// job may run.
    pub(super) fn leave_table(&self, table: TableId) {
        if let Some(vm) = self.next_space(None) {
            vm.evict_table(table);
        }
    }

    /// The bytes are about to go from where they are: sees to it that no job reaches them.
    ///
    /// The reservation must be held, so that nobody maps the BO meanwhile. On failure nothing but the
    /// state of page-table entries has changed.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`; `EBUSY` if there are jobs and `wait` does not allow to wait for them.
    pub(super) fn leave(&self, wait: ttm::Wait) -> Result {
        let mut last = None;
        while let Some(vm) = self.next_space(last) {
            last = Some(vm.id());
            let ((), reach) = vm.invalidate(self.id, || ());
            if reach == Reach::PublishedJobs {
                wait.wait(vm.resv(), Usage::Bookkeep)?;
            }
        }
        Ok(())
    }
}

/// What is specific to our BOs.
impl Bo {
    /// A BO for user space. `private` is the address space that it is private to, and the proof that
    /// its reservation is held, which the BO shares then.
    ///
    /// # Errors
    ///
    /// `EINVAL` for sizes and alignments that make no sense, `ENOSPC` if the size is 0, `ENOMEM`,
    /// `ERESTARTSYS`.
    pub(crate) fn create(
        dev: &DrmDevice,
        new: NewBo,
        private: Option<(&Vm, &ReservedBo<'_>)>,
    ) -> Result<ARef<Self>> {
        let (size, alignment) = (new.pages_size()?, new.pages_alignment()?);
        check_room(dev, new.domains, size as u64)?;

        Self::new(
            dev,
            ttm::Spec {
                size,
                align: alignment,
                kind: ttm::Kind::Device,
                placement: &new.domains.placement(),
                share: private.map(|(_, root)| root),
            },
            &mut ttm::Ctx::new(Interruptible::Yes),
            BoData::new(
                BoId::new(),
                Kind::Plain,
                new,
                private.map(|(vm, _)| vm.id()),
            ),
        )
    }

    /// Makes the BO `id` of `size` bytes of a process's memory, for the address space `vm`, to which it
    /// is private.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn create_user(
        dev: &DrmDevice,
        id: BoId,
        size: usize,
        vm: &Vm,
        userptr: Userptr,
    ) -> Result<ARef<Self>> {
        let new = NewBo {
            size: size as u64,
            alignment: 0,
            domains: Domains::GTT,
            flags: 0,
        };
        check_room(dev, new.domains, new.size)?;

        // It has no pages before it is used, or validated.
        const NOWHERE: ttm::Place = ttm::Place::new(ttm::MemType::SYSTEM);
        Self::new(
            dev,
            ttm::Spec {
                size,
                align: 0,
                kind: ttm::Kind::Device,
                placement: const { &ttm::Placement::new(&[NOWHERE]) },
                share: None,
            },
            &mut ttm::Ctx::new(Interruptible::Yes),
            BoData::new(id, Kind::User(userptr), new, Some(vm.id())),
        )
    }

    /// Makes the BO of a page directory, without memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn create_directory(dev: &DrmDevice, size: usize) -> Result<ARef<Self>> {
        const NOWHERE: ttm::Place = ttm::Place::new(ttm::MemType::SYSTEM);

        let placement = const { &ttm::Placement::new(&[NOWHERE]) };
        Self::create_kernel(dev, size, TableId::Directory, placement, None)
    }

    /// Makes the BO of a page table, in VRAM, with whatever is in there. `root` is that of the page
    /// directory, whose reservation it shares.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn create_table(
        dev: &DrmDevice,
        size: usize,
        index: u64,
        root: &ReservedBo<'_>,
    ) -> Result<ARef<Self>> {
        let placement = Domains::VRAM.placement();
        Self::create_kernel(dev, size, TableId::Table(index), &placement, Some(root))
    }

    fn create_kernel(
        dev: &DrmDevice,
        size: usize,
        table: TableId,
        placement: &ttm::Placement,
        share: Option<&ReservedBo<'_>>,
    ) -> Result<ARef<Self>> {
        let new = NewBo {
            size: size as u64,
            alignment: 0,
            domains: Domains::VRAM,
            flags: 0,
        };
        Self::new(
            dev,
            ttm::Spec {
                size,
                align: 0,
                kind: ttm::Kind::Kernel,
                placement,
                share,
            },
            &mut ttm::Ctx::new(Interruptible::Yes),
            BoData::new(BoId::new(), Kind::Table(table), new, None),
        )
    }

    /// How it was made, as user space asks for it.
    pub(crate) fn create_info(&self) -> drm_amdgpu_gem_create_in {
        drm_amdgpu_gem_create_in {
            bo_size: self.size() as u64,
            alignment: self.alignment,
            domains: self.domains().bits().into(),
            // Whatever is in VRAM is wiped, only later: before somebody else gets it.
            domain_flags: u64::from(self.flags | bindings::AMDGPU_GEM_CREATE_VRAM_WIPE_ON_RELEASE),
        }
    }
}

/// What can be done to a BO whose reservation is held.
pub(crate) trait ReservedExt {
    /// Brings it to where user space prefers it, if there is room, or at least to where the GPU reaches
    /// it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`; `EFAULT` for a userptr BO without pages.
    fn place(&self) -> Result;

    /// Brings it to VRAM. Others may have to make room.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    fn place_in_vram(&self) -> Result;

    /// Waits until what lies in VRAM that the BO got is its own, and nobody else's any more.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`; `ENODEV` if the card is gone.
    fn finish_clear(&self, intr: Interruptible) -> Result;

    /// Binds the pages of a process, and maps them for DMA. Those that were bound before are let go,
    /// after the jobs that may reach them have ended. No job reaches the new ones before its page-table
    /// entries are made current.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`, `EFAULT` if a page is missing, `EINVAL` if it is no userptr BO.
    fn bind_user_pages(&self, pages: &[Pfn]) -> Result;

    /// Calls `f` with where the bytes are, if the GPU reaches them there.
    fn with_backing<R>(&self, f: impl FnOnce(Option<Backing<'_>>) -> R) -> R;
}

impl ReservedExt for ReservedBo<'_> {
    fn place(&self) -> Result {
        // No job throws others out of VRAM: two that do not fit there together would do so in turn.
        let domains = match self.domains() {
            Domains::VRAM => Domains::VRAM.or_gtt(),
            domains => domains,
        };
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);

        let result = self.validate(&domains.placement(), &mut ctx);
        let moved = ctx.bytes_moved();
        self.drm().memory.bytes_moved.add(moved, Relaxed);
        result
    }

    fn place_in_vram(&self) -> Result {
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);
        self.validate(&Domains::VRAM.placement(), &mut ctx)
    }

    fn finish_clear(&self, intr: Interruptible) -> Result {
        clear::finish(self, || self.allocation::<Vram>(), intr)
    }

    fn bind_user_pages(&self, pages: &[Pfn]) -> Result {
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);

        self.leave(ttm::Wait::Yes(Interruptible::Yes))?;
        self.set_user_pages(pages, &mut ctx)?;
        self.validate(&Domains::GTT.placement(), &mut ctx)
    }

    fn with_backing<R>(&self, f: impl FnOnce(Option<Backing<'_>>) -> R) -> R {
        match self.mem_type() {
            Some(ttm::MemType::VRAM) => {
                let piece = self.allocation::<Vram>();
                f(piece.as_ref().map(|piece| Backing::Vram(piece.blocks())))
            }
            Some(ttm::MemType::TT) if self.is_populated() => f(Some(Backing::System {
                pages: self,
                snoop: match self.backing() {
                    ttm::Backing::Pages(ttm::Caching::Uncached | ttm::Caching::WriteCombined) => {
                        Snoop::No
                    }
                    _ => Snoop::Yes,
                },
                read_only: self.backing() == ttm::Backing::UserRead,
            })),
            _ => f(None),
        }
    }
}

impl SystemPages for ReservedBo<'_> {
    fn address(&self, page: usize) -> Option<u64> {
        self.dma_address(page)
    }

    fn entries(&self, first: usize, of_page_0: Pte, into: &mut [u64]) -> usize {
        // The device's DMA mask keeps addresses within an entry's field for them.
        self.dma_addresses(first, of_page_0.into_raw(), into)
    }
}

/// `ENOMEM` for a BO that is larger than all that there is where it is to be, however empty that were.
fn check_room(dev: &DrmDevice, domains: Domains, size: u64) -> Result {
    let limit = if domains == Domains::VRAM {
        dev.memory.vram
    } else {
        dev.memory.gtt
    };
    if size < limit {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}

#[vtable]
impl ttm::DriverObject for BoData {
    type Driver = Ttm;

    fn backing(&self) -> ttm::Backing {
        let write_combined = self.flags & bindings::AMDGPU_GEM_CREATE_CPU_GTT_USWC != 0;
        match &self.kind {
            Kind::Plain | Kind::Table(_) if write_combined => {
                ttm::Backing::Pages(ttm::Caching::WriteCombined)
            }
            Kind::Plain | Kind::Table(_) => ttm::Backing::Pages(ttm::Caching::Cached),
            Kind::User(userptr) => match userptr.access() {
                hmm::Access::Read => ttm::Backing::UserRead,
                hmm::Access::Write => ttm::Backing::UserWrite,
            },
        }
    }

    /// # Errors
    ///
    /// `EPERM` if the BO is private to the address space of another file, `ENOMEM`.
    fn open(bo: &Bo, file: &DrmFile) -> Result {
        let vm = &file.inner().get_ref().vm;
        if bo.private_to.is_some_and(|owner| owner != vm.id()) {
            return Err(EPERM);
        }
        vm.open(bo)
    }

    fn close(bo: &Bo, file: &DrmFile) {
        file.inner().get_ref().vm.close(bo);
    }

    fn mmap(bo: &Bo) -> Result {
        bo.check_cpu_access()
    }

    /// # Errors
    ///
    /// `EPERM` if it cannot be used outside of one address space.
    fn export(bo: &Bo) -> Result {
        if bo.private_to.is_some() {
            return Err(EPERM);
        }
        // User space may put fences of anyone's into a DMA buffer.
        bo.shared.store(true, Relaxed);
        Ok(())
    }
}

#[kunit_tests(amdgpu_rs_bo)]
mod tests {
    use super::*;

    fn new(size: u64, alignment: u64, flags: u32) -> NewBo {
        NewBo {
            size,
            alignment,
            domains: Domains::VRAM,
            flags,
        }
    }

    #[test]
    fn sizes_and_alignments() {
        let size = |size| new(size, 0, 0).pages_size();
        assert_eq!(size(0), Err(ENOSPC));
        assert_eq!(size(u64::MAX), Err(EINVAL));
        assert_eq!(size(1), Ok(0x1000));
        assert_eq!(size(0x1000), Ok(0x1000));
        assert_eq!(size(0x1001), Ok(0x2000));

        let alignment = |alignment| new(1, alignment, 0).pages_alignment();
        assert_eq!(alignment(0), Ok(0x1000));
        assert_eq!(alignment(256), Ok(0x1000));
        assert_eq!(alignment(0x10000), Ok(0x10000));
        assert_eq!(alignment(0x3000), Err(EINVAL));
        assert_eq!(alignment(1 << 32), Err(EINVAL));
        assert_eq!(alignment(u64::MAX), Err(EINVAL));
    }

    #[test]
    fn less_is_asked_for_in_two_steps() {
        let mut bo = new(1, 0, bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED);
        assert!(bo.ask_for_less());
        assert_eq!((bo.flags, bo.domains), (0, Domains::VRAM));
        assert!(bo.ask_for_less());
        assert_eq!(bo.domains, Domains::VRAM.or_gtt());
        assert!(!bo.ask_for_less());
        bo.domains = Domains::GTT;
        assert!(!bo.ask_for_less());
    }
}
