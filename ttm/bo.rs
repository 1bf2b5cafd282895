// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects (BOs): their data, and the operations on them (`amdgpu_bo`, `amdgpu_object.c`).

mod request;
mod reserved;

use self::request::check_room;
pub(super) use self::reserved::snoop;
pub(crate) use self::{
    request::NewBo,
    reserved::ReservedExt, //
};

use kernel::{
    new_mutex,
    new_spinlock,
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
    domains::Part,
    on_chip::OnChipMemory,
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
        dma_resv::{
            HeldResv,
            Usage, //
        },
        drm::{
            gem::ObjectExt,
            ttm, //
        },
        mm::hmm, //
    },
    bindings::{
        self,
        drm_amdgpu_gem_create_in, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    hw::page_table::TableKey,
    mem::{
        BoId,
        Reach,
        TableId, //
    },
    userptr::Userptr,
    vm::Vm, //
};

/// A buffer object.
pub(crate) type Bo = ttm::Object<BoData>;

/// A buffer object whose reservation is held.
pub(crate) type ReservedBo<'a> = ttm::Reserved<'a, BoData>;

/// Type of a BO's memory.
pub(crate) enum Kind {
    /// Memory that TTM allocates and frees.
    Plain,
    /// A page directory or page table of the one address space that the BO knows.
    Table(TableId),
    /// Memory of a process.
    User(Userptr),
    /// Memory of another device.
    Imported,
}

/// The driver's data in each BO.
#[pin_data]
pub(crate) struct BoData {
    id: BoId,
    kind: Kind,
    /// `AMDGPU_GEM_CREATE_*`, as user space passed them.
    flags: u32,
    /// Alignment in bytes, as user space passed it, in whole pages. 0 means no requirement.
    alignment: u64,
    /// Domains that user space prefers.
    domains: Atomic<u32>,
    /// The address space that the BO is private to, if any.
    private_to: Option<BoId>,
    #[pin]
    metadata: Mutex<Metadata>,
    /// Set when the CPU has accessed the BO through a mapping of user space.
    seen_by_cpu: AtomicFlag,
    /// Set if the reservation may hold fences that the BO's first address space does not know of: a
    /// second address space has known the BO, or it was exported. Set before either can add a
    /// fence.
    shared: AtomicFlag,
    /// The address spaces whose file has a handle, by their [`Vm::id`].
    #[pin]
    spaces: Mutex<RBTree<BoId, Arc<Vm>>>,
    /// The fence of the engine's work that gives the BO its bytes, where it is now: a clear or a
    /// copy. `None` if that is known to have succeeded. Changed only with the reservation held.
    #[pin]
    content: SpinLock<Option<ARef<Fence>>>,
}

impl BoData {
    fn new(
        id: BoId,
        kind: Kind,
        new: NewBo,
        private_to: Option<BoId>,
    ) -> impl PinInit<Self, Error> {
        let is_imported = matches!(kind, Kind::Imported);

        try_pin_init!(Self {
            id,
            kind,
            flags: new.flags,
            alignment: new.alignment_of_bo(),
            domains: Atomic::new(new.domains.bits()),
            private_to,
            seen_by_cpu: AtomicFlag::new(false),
            // The exporter has fences of its own in an import.
            shared: AtomicFlag::new(is_imported),
            metadata <- new_mutex!(Metadata::NONE, "BoData::metadata"),
            spaces <- new_mutex!(RBTree::new(), "BoData::spaces"),
            content <- new_spinlock!(None, "BoData::content"),
        })
    }

    /// Returns the BO's ID.
    pub(crate) fn id(&self) -> BoId {
        self.id
    }

    /// Returns the page directory or page table that the BO holds, if any.
    pub(super) fn table(&self) -> Option<TableId> {
        match self.kind {
            Kind::Table(table) => Some(table),
            Kind::Plain | Kind::User(_) | Kind::Imported => None,
        }
    }

    /// Returns true if the BO consists of another device's memory.
    pub(super) fn is_import(&self) -> bool {
        matches!(self.kind, Kind::Imported)
    }

    /// Returns true if the BO consists of a process's memory.
    pub(crate) fn is_user_memory(&self) -> bool {
        self.userptr().is_some()
    }

    /// Returns the process memory that the BO consists of, if any.
    pub(crate) fn userptr(&self) -> Option<&Userptr> {
        match &self.kind {
            Kind::User(userptr) => Some(userptr),
            Kind::Plain | Kind::Table(_) | Kind::Imported => None,
        }
    }

    /// Returns true if the BO is private to an address space, whose jobs use it without naming it.
    pub(crate) fn is_always_valid(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_VM_ALWAYS_VALID != 0
    }

    /// Returns true if the BO should lie where the CPU can access it: user space has said so, or
    /// the CPU has accessed it, or the kernel does.
    pub(super) fn needs_cpu(&self) -> bool {
        const REQUIRED: u32 = bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED;

        self.flags & REQUIRED != 0 || self.table().is_some() || self.seen_by_cpu.load(Relaxed)
    }

    /// Records that the CPU accesses the BO through a mapping of user space.
    pub(super) fn note_cpu_access(&self) {
        self.seen_by_cpu.store(true, Relaxed);
    }

    /// Returns true if user space allows the contents to be dropped rather than saved.
    pub(crate) fn is_discardable(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_DISCARDABLE != 0
    }

    /// Returns the usage with which fences of jobs that may use the BO are in its reservation. In
    /// the reservation of an address space, which page tables and always valid BOs share, the usage
    /// is `Bookkeep`.
    pub(crate) fn usage_by_jobs(&self) -> Usage {
        if self.is_always_valid() || self.table().is_some() {
            Usage::Bookkeep
        } else {
            Usage::Read
        }
    }

    /// Returns `EPERM` if user space may not map the BO.
    pub(crate) fn check_cpu_access(&self) -> Result {
        let denied = self.flags & bindings::AMDGPU_GEM_CREATE_NO_CPU_ACCESS != 0;
        match self.kind {
            Kind::Plain | Kind::Imported if !denied => Ok(()),
            Kind::Plain | Kind::Table(_) | Kind::User(_) | Kind::Imported => Err(EPERM),
        }
    }

    /// Returns the metadata that user space stores with the BO.
    pub(crate) fn metadata(&self) -> &Mutex<Metadata> {
        &self.metadata
    }

    /// Returns the domains that user space prefers.
    pub(crate) fn domains(&self) -> Domains {
        Domains::from_bits(self.domains.load(Relaxed))
    }

    /// Sets the domains that user space prefers, from the next job on.
    pub(crate) fn set_domains(&self, domains: Domains) {
        self.domains.store(domains.bits(), Relaxed);
    }

    /// Adds an address space whose file has a handle, and whose reservation is held.
    pub(crate) fn add_space(&self, node: RBTreeNode<BoId, Arc<Vm>>) {
        let mut spaces = self.spaces.lock();
        let replaced = spaces.insert(node);
        if spaces.iter().nth(1).is_some() {
            self.shared.store(true, Relaxed);
        }
        drop(spaces);
        drop(replaced);
    }

    /// Returns true if a job that names the BO may have to wait for fences that are neither the
    /// kernel's nor those of the job's own address space.
    pub(crate) fn has_foreign_fences(&self) -> bool {
        self.shared.load(Relaxed)
    }

    /// Returns true if jobs that name the BO are ordered after other address spaces' jobs that name
    /// it, without an explicit dependency.
    pub(crate) fn has_implicit_order(&self) -> bool {
        self.flags & bindings::AMDGPU_GEM_CREATE_EXPLICIT_SYNC == 0
    }

    /// Removes an address space whose file has no handle any more, and that maps nothing of the BO.
    /// The reservation of the address space is held.
    pub(crate) fn remove_space(&self, vm: BoId) {
        let removed = self.spaces.lock().remove_node(&vm);
        drop(removed);
    }

    /// Returns the address space after `after` among those whose file has a handle.
    fn next_space(&self, after: Option<BoId>) -> Option<Arc<Vm>> {
        let spaces = self.spaces.lock();
        let from = after.map_or(BoId::FIRST, BoId::next);
        let cursor = spaces.cursor_lower_bound(&from)?;
        Some(cursor.current().1.clone())
    }

    /// Records that an engine clears the BO's VRAM, or copies the BO's bytes to its new place,
    /// until `fence`. The reservation must be held.
    pub(super) fn content_comes(&self, fence: ARef<Fence>) {
        let replaced = self.content.lock().replace(fence);
        drop(replaced);
    }

    /// Records that the BO's bytes are where they belong. The reservation must be held.
    pub(super) fn content_is_there(&self) {
        let fence = self.content.lock().take();
        drop(fence);
    }

    /// Returns the fence of the clear or copy that gives the BO its bytes, unless it is known to
    /// have succeeded.
    pub(super) fn coming_content(&self) -> Option<ARef<Fence>> {
        self.content.lock().clone()
    }

    /// Called before this page directory or page table loses its memory. The reservation must be
    /// held, and no job may run.
    pub(super) fn leave_table(&self, table: TableId) {
        if let Some(vm) = self.next_space(None) {
            vm.evict_table(table);
        }
    }

    /// Called before the BO's bytes move or go away. No job that is published later accesses the
    /// old location. Those that may access it, and do not name the BO, are added to its fences:
    /// whoever waits for all of these, or has an engine wait, may take the bytes away.
    ///
    /// `held` proves that the BO's reservation is held, so that nobody maps the BO meanwhile.
    pub(super) fn leave(&self, held: HeldResv<'_>) {
        let mut last = None;
        while let Some(vm) = self.next_space(last) {
            last = Some(vm.id());
            let ((), reach) = vm.invalidate(self.id, || ());
            // A private BO shares the reservation that all jobs of the address space are in.
            let is_shared = core::ptr::eq(vm.resv().as_raw(), held.as_raw());
            if reach == Reach::PublishedJobs && !is_shared {
                // What was published before is in there: its fences are added with the lock held
                // that the invalidation took.
                if held.copy_fences(vm.resv(), Usage::Bookkeep).is_err() {
                    // Without memory for them they are waited for. Only interruptible waits fail.
                    let _ = vm.resv().wait(Usage::Bookkeep, Interruptible::No);
                }
            }
        }
    }
}

/// The driver's own operations on BOs.
impl Bo {
    /// Returns the fences after which the BO's bytes are where they belong, as far as they have not
    /// ended well. Until then the BO's place may hold another's bytes. The reservation must be
    /// held.
    pub(crate) fn content_fences(&self) -> impl Iterator<Item = ARef<Fence>> + '_ {
        let own = self.coming_content();
        let own = own.filter(|content| !matches!(content.status(), Some(Ok(()))));
        // The bytes of an import are moved by its exporter.
        let lent = self.is_import().then(|| self.resv().fences(Usage::Kernel));
        Iterator::chain(own.into_iter(), lent.into_iter().flatten())
    }

    /// Creates a BO for user space. `private` is the address space that the BO is private to, and
    /// the proof that its reservation is held, which the BO then shares.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid size or alignment, `ENOSPC` if the size is 0, `ENOMEM`,
    /// `ERESTARTSYS`.
    pub(crate) fn create(
        dev: &DrmDevice,
        new: NewBo,
        private: Option<(&Vm, &ReservedBo<'_>)>,
    ) -> Result<ARef<Self>> {
        let (size, alignment) = (new.pages_size()?, new.pages_alignment()?);
        check_room(dev, new.domains, size as u64)?;
        // On-chip memory is given to a BO when a submission names it.
        let at_first = match new.domains.on_chip() {
            Some(_) => Domains::CPU,
            None => new.domains,
        };

        Self::new(
            dev,
            ttm::Spec {
                size,
                align: alignment,
                kind: ttm::Kind::Device,
                placement: &at_first.placement(Part::of_new(dev, new.flags)),
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

    /// Creates the BO `id` of `size` bytes of a process's memory. The BO is private to the address
    /// space `vm`.
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

        // The BO has no pages until it is used or validated.
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

    /// Creates the BO of a page directory, without memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn create_directory(dev: &DrmDevice, size: usize) -> Result<ARef<Self>> {
        const NOWHERE: ttm::Place = ttm::Place::new(ttm::MemType::SYSTEM);

        let placement = const { &ttm::Placement::new(&[NOWHERE]) };
        Self::create_kernel(dev, size, TableId::Directory, placement, None)
    }

    /// Creates the BO of another table, in VRAM, with arbitrary contents. `root` is the BO of the
    /// page directory, whose reservation it shares.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn create_table(
        dev: &DrmDevice,
        size: usize,
        key: TableKey,
        root: &ReservedBo<'_>,
    ) -> Result<ARef<Self>> {
        let placement = ttm::Placement::new(&[Part::visible(dev).place().contiguous()]);
        Self::create_kernel(dev, size, TableId::Table(key), &placement, Some(root))
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

    /// Returns the arguments with which the BO was created, for user space.
    pub(crate) fn create_info(&self) -> drm_amdgpu_gem_create_in {
        let mut flags = self.flags;
        if self.seen_by_cpu.load(Relaxed) {
            flags |= bindings::AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED;
        }
        drm_amdgpu_gem_create_in {
            bo_size: self.size() as u64,
            alignment: self.alignment,
            domains: self.domains().bits().into(),
            // VRAM is always wiped, but later than at release: before somebody else gets it.
            domain_flags: u64::from(flags | bindings::AMDGPU_GEM_CREATE_VRAM_WIPE_ON_RELEASE),
        }
    }
}

#[vtable]
impl ttm::DriverObject for BoData {
    type Driver = Ttm;

    fn page_source(&self) -> ttm::PageSource {
        let write_combined = self.flags & bindings::AMDGPU_GEM_CREATE_CPU_GTT_USWC != 0;
        match &self.kind {
            Kind::Plain | Kind::Table(_) if write_combined => {
                ttm::PageSource::Pages(ttm::Caching::WriteCombined)
            }
            Kind::Plain | Kind::Table(_) | Kind::Imported => {
                ttm::PageSource::Pages(ttm::Caching::Cached)
            }
            Kind::User(userptr) => match userptr.access() {
                hmm::DeviceAccess::Read => ttm::PageSource::UserRead,
                hmm::DeviceAccess::Write => ttm::PageSource::UserWrite,
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
    /// `EPERM` if the BO cannot be used outside of one address space, or is on-chip memory.
    fn export(bo: &Bo) -> Result {
        if bo.private_to.is_some() {
            return Err(EPERM);
        }
        if bo.domains().on_chip().is_some() {
            return Err(EPERM);
        }
        // User space may put anybody's fences into a DMA buffer.
        bo.shared.store(true, Relaxed);
        Ok(())
    }

    /// # Errors
    ///
    /// `EOPNOTSUPP` if the card does not reach memory that it has not allocated.
    fn imported(dev: &DrmDevice, size: usize) -> Result<impl PinInit<Self, Error>> {
        if !dev.memory.has_user_memory() {
            return Err(EOPNOTSUPP);
        }
        let new = NewBo {
            size: size as u64,
            alignment: 0,
            domains: Domains::GTT,
            flags: 0,
        };
        Ok(Self::new(BoId::new(), Kind::Imported, new, None))
    }

    fn revoked(bo: &ttm::Buffer<Self>, held: HeldResv<'_>) {
        bo.leave(held);
    }
}
