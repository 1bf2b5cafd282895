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
    Ttm,
    Vram, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
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
    hw::gfx7::pte::{
        Pte,
        Snoop, //
    },
    userptr::Userptr,
    vm::{
        Backing,
        Reach,
        SystemPages,
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
    /// A page directory or page table: VRAM that stays where it is.
    Table,
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

/// A few words that user space wants to share with a BO.
#[derive(Clone, Copy)]
pub(crate) struct Metadata {
    pub(crate) tiling: u64,
    pub(crate) flags: u64,
    /// How many bytes of `data` count.
    pub(crate) size: u32,
    pub(crate) data: [u32; 64],
}

impl Metadata {
    const NONE: Self = Self {
        tiling: 0,
        flags: 0,
        size: 0,
        data: [0; 64],
    };

    /// Keeps how the BO is tiled.
    pub(crate) fn set_tiling(&mut self, tiling: u64) -> Result {
        const SHIFT: u32 = bindings::AMDGPU_TILING_TILE_SPLIT_SHIFT;
        const MASK: u64 = bindings::AMDGPU_TILING_TILE_SPLIT_MASK as u64;
        const LARGEST_SPLIT: u64 = 6;

        if (tiling >> SHIFT) & MASK > LARGEST_SPLIT {
            return Err(EINVAL);
        }
        self.tiling = tiling;
        Ok(())
    }

    /// Keeps `size` bytes of `data`, or forgets what was kept if that is 0.
    pub(crate) fn set(&mut self, flags: u64, data: &[u32; 64], size: u32) {
        if size != 0 {
            self.data = *data;
            self.flags = flags;
        }
        self.size = size;
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
    /// Whether more than one address space has known it at once: set before any job of the second
    /// can name it.
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

    /// Whether it is a page directory or page table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table)
    }

    /// Whether it is made of a process's memory.
    pub(crate) fn is_user_memory(&self) -> bool {
        self.userptr().is_some()
    }

    /// The memory of a process that it is made of, if it is.
    pub(crate) fn userptr(&self) -> Option<&Userptr> {
        match &self.kind {
            Kind::User(userptr) => Some(userptr),
            Kind::Plain | Kind::Table => None,
        }
    }

    /// Whether it is private to an address space, whose jobs use it without naming it.
    pub(crate) fn is_always_valid(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID != 0
    }

    /// `EPERM` if user space may not map it.
    pub(crate) fn check_cpu_access(&self) -> Result {
        let denied = self.flags & bindings::AMDGPU_GEM_CREATE_NO_CPU_ACCESS != 0;
        match self.kind {
            Kind::Plain if !denied => Ok(()),
            Kind::Plain | Kind::Table | Kind::User(_) => Err(EPERM),
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

    /// Whether a job that names it comes after those of other address spaces that did, without being
    /// told to. It never does where no other address space ever knew it.
    pub(crate) fn has_implicit_order(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_EXPLICIT_SYNC == 0 && self.shared.load(Relaxed)
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

    /// The bytes are about to go from where they are: sees to it that no job reaches them.
    ///
    /// The reservation must be held, so that nobody maps the BO meanwhile. Fails with `ERESTARTSYS`
    /// only, and then nothing but page-table entries has changed.
    pub(super) fn leave(&self, intr: Interruptible) -> Result {
        let mut last = None;
        while let Some(vm) = self.next_space(last) {
            last = Some(vm.id());
            let ((), reach) = vm.invalidate(self.id, || ());
            if reach == Reach::PublishedJobs {
                vm.wait_jobs(intr)?;
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

    /// A BO made of `size` bytes of a process's memory, for the address space `vm`, to which it is
    /// private. `watch` is called with what tells the BO apart.
    ///
    /// # Errors
    ///
    /// Those of `watch`; `ENOMEM`.
    pub(crate) fn create_user(
        dev: &DrmDevice,
        size: usize,
        vm: &Vm,
        watch: impl FnOnce(BoId) -> Result<Userptr>,
    ) -> Result<ARef<Self>> {
        let id = BoId::new();
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
            BoData::new(id, Kind::User(watch(id)?), new, Some(vm.id())),
        )
    }

    /// VRAM for a page directory or page table, with whatever is in there; `root` is the page directory, whose reservation
    /// a page table shares.
    pub(crate) fn create_table(
        dev: &DrmDevice,
        size: usize,
        root: Option<&ReservedBo<'_>>,
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
                placement: &Domains::VRAM.placement(),
                share: root,
            },
            &mut ttm::Ctx::new(Interruptible::Yes),
            BoData::new(BoId::new(), Kind::Table, new, None),
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

    fn finish_clear(&self, intr: Interruptible) -> Result {
        clear::finish(self, || self.allocation::<Vram>(), intr)
    }

    fn bind_user_pages(&self, pages: &[Pfn]) -> Result {
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);

        self.leave(Interruptible::Yes)?;
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
            Kind::Plain | Kind::Table if write_combined => {
                ttm::Backing::Pages(ttm::Caching::WriteCombined)
            }
            Kind::Plain | Kind::Table => ttm::Backing::Pages(ttm::Caching::Cached),
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
        match bo.private_to {
            Some(_) => Err(EPERM),
            None => Ok(()),
        }
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

    #[test]
    fn metadata_is_kept_and_forgotten() {
        let mut metadata = Metadata::NONE;
        assert_eq!(metadata.set_tiling(7 << 9), Err(EINVAL));
        assert_eq!(metadata.tiling, 0);
        assert_eq!(metadata.set_tiling(6 << 9), Ok(()));
        assert_eq!(metadata.tiling, 6 << 9);

        metadata.set(3, &[5; 64], 8);
        assert_eq!((metadata.flags, metadata.size, metadata.data[0]), (3, 8, 5));
        metadata.set(4, &[6; 64], 0);
        assert_eq!((metadata.flags, metadata.size), (3, 0));
    }
}
