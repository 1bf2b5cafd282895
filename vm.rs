// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU address spaces: the memory that each open file's jobs can reach. The C driver calls one an
//! `amdgpu_vm`, its mappings of one BO a `bo_va`, and one such mapping a `bo_va_mapping`.
//!
//! A [`Vm`] has a page directory and page tables in VRAM, which the CPU writes through the VRAM
//! aperture. The reservation of the page directory ([`Vm::root`]) is that of the address space: the
//! page tables and the buffer objects (BOs) that are private to the address space share it.
//! Mapping, unmapping and submitting hold this reservation. The fence of every job of the address
//! space is in it, with usage `Bookkeep`.
//!
//! # Bytes that are about to move or go away
//!
//! TTM moves BOs, and processes take back the memory behind userptr BOs. Both do the same:
//!
//! 1. [`Vm::invalidate`] (under the publish lock) makes the BO's entries stale: no later job of
//!    this address space runs before they are rewritten or cleared;
//! 2. if [`Vm::invalidate`] says that jobs can reach the bytes, all jobs of the address space come
//!    first, as a job may use a BO that it does not name. An MMU notifier waits for them
//!    ([`Vm::wait_jobs`]) with no lock held. A move adds their fences to the BO's, after which the
//!    engine copies. Then the bytes may go.
//!
//! Page tables are in VRAM that others may need, and that a reset of the card loses: see
//! [`table_memory`].
//!
//! # Changes of page tables
//!
//! No call waits for jobs to change page tables. Where nothing stands in the way, the CPU writes
//! the entries at once, under the publish lock:
//!
//! - entries that go or change, if no job of the address space runs or is queued;
//! - entries that are added, if no update is queued: no job uses what was not there;
//! - both only if the bytes are where the entries show them: a clear or a move may be under way.
//!
//! Anything else is an *update* ([`timeline`]): mappings and states change at once, and the writes
//! are recorded ([`update`]) and done when all jobs have ended that were published before. The
//! update's fence is in the reservation of the address space before the publish lock is dropped, so
//! whoever waits for jobs waits for updates. Every job that is published later waits for the newest
//! update ([`job::SpaceAt::after`]). BOs whose entries an update takes away are known to the
//! address space until it has ended, even without a handle.
//!
//! Each change has a number, and a job has that of the last change before it: a VMID whose caches
//! were last flushed for a job with a lower one must have them flushed ([`job::SpaceAt::seq`]).
//! This holds for updates because the job begins after them.
//!
//! # How a job is submitted
//!
//! ```text
//! reserve vm.root() and the BOs                    drm::exec
//! vm.validate(&locked)?                            private BOs and page tables are in place
//! vm.publish(&locked, .., named, .., |guard| {     publish lock
//!     if a userptr generation moved { back out }
//!     guard.update()                               writes entries, or queues an update
//!     attach the fence to vm.root()'s reservation, and to the BOs'; push the job at guard.at()
//! })?
//! ```
//!
//! Nothing in the closure may allocate, fail half way, or drop the last reference to a BO. The job
//! keeps an `Arc<Vm>`, which keeps the page tables alive.
//!
//! # A circle
//!
//! Address spaces, buffer objects (`ttm.rs`) and user memory (`userptr.rs`) know each other. A BO
//! lists the address spaces that it must tell of a move, an address space holds the BOs that it
//! maps, and user memory is a BO that its process may take away. This circle is inherent in the
//! problem: these three, and no other files above the abstractions, import each other in a circle.
//! The types in which they speak to each other are below them, in `mem.rs`.
//!
//! # Lock order
//!
//! `mmap_lock` → reservations → `BoData`'s list of address spaces → publish lock. The
//! publish lock is taken by reclaim (MMU notifier): nothing is allocated under it. Updates are
//! written with none of these held, on the way to the signal of a fence.

mod backing;
mod change;
mod layout;
mod mapping;
mod publish;
mod space;
mod sparse;
mod table_memory;
mod tables;
mod timeline;
mod update;
mod view;
mod walk;

use core::ops::{
    Deref,
    Range, //
};

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTreeNode,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::Jiffies, //
};

use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            FenceWork,
            Interruptible,
            Waited, //
        },
        dma_resv::{
            Resv,
            Usage, //
        },
        drm::{
            exec::Locked,
            sched::Owner,
            ttm::Buffer, //
        },
    },
    drm::DrmDevice,
    exec::{
        faults::FaultRecord,
        job,
        submitter::LastSubmitter,
        view::View, //
    },
    hw::{
        page_table::Format,
        Fault, //
    },
    mem::{
        BoId,
        Reach, //
    },
    ttm::{
        Bo,
        ReservedBo,
        ReservedExt, //
    },
};

pub(crate) use self::space::{
    MapFlags,
    Mapping, //
};

use self::{
    change::Unmapping,
    mapping::Spare,
    space::{
        BoVa,
        Held,
        Space,
        Users, //
    },
    timeline::{
        After,
        Draft,
        Timeline, //
    },
    update::BY_ENGINE_FROM, //
};

/// Number of mappings that are visited or unmapped per hold of the publish lock: reclaim may wait
/// for the lock.
const AT_ONCE: usize = 256;

/// Action to take if a new mapping overlaps an existing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Return `EINVAL`.
    Refuse,
    /// Unmap the existing one first.
    Replace,
}

/// Address space of an open file.
///
/// No new job can come once this is dropped. Dropping it makes the page tables forget the address
/// space: they are freed with its last job, or earlier if others need their memory.
pub(crate) struct OpenVm(Arc<Vm>);

impl Deref for OpenVm {
    type Target = Arc<Vm>;

    fn deref(&self) -> &Arc<Vm> {
        &self.0
    }
}

impl Drop for OpenVm {
    fn drop(&mut self) {
        self.0.view.close();
        self.0.retire();
    }
}

/// A GPU address space.
#[pin_data]
pub(crate) struct Vm {
    /// The page directory.
    root: ARef<Bo>,
    /// Address of the directory in the GPU's own address space. Changed with the reservation of
    /// `root` held, while no job runs.
    pd_addr: Atomic<u64>,
    /// Number of the last change of the page tables: incremented after each that is written at
    /// once, and when an update is published. Changed with the reservation of `root` held.
    seq: Atomic<u64>,
    /// Number of losses of VRAM after which the page tables were written. Changed with the
    /// reservation of `root` held, while no job runs.
    losses: Atomic<u64>,
    /// Changes of the page tables that wait for jobs.
    timeline: Arc<FenceWork<Timeline<Self>>>,
    /// Process that submitted last.
    #[pin]
    submitters: LastSubmitter,
    /// Record of the faults of jobs.
    faults: Arc<FaultRecord>,
    /// View of the memory, for the dump of a hang. Leads here while the file is open.
    view: Arc<View>,
    /// Set when the file is being closed: no more jobs are submitted.
    closing: AtomicFlag,
    /// Set after `closing`, once the remaining jobs are no longer to be run.
    abandoned: AtomicFlag,
    /// Set once a range was mapped to no BO, see [`sparse`].
    is_sparse: AtomicFlag,
    /// The publish lock, and the state it protects. Mappings, handles and tables are changed only
    /// with the reservation of `root` held as well.
    #[pin]
    publish: Mutex<Space<ARef<Bo>, ARef<Bo>>>,
}

impl Vm {
    /// Creates an empty address space for an open file, without memory for page tables.
    pub(crate) fn open_new(dev: &DrmDevice) -> Result<OpenVm> {
        let format = dev.hw.format;
        let size = usize::try_from(format.directory_entries() * layout::ENTRY_SIZE)?;
        let root = Bo::create_directory(dev, size)?;
        let faults = FaultRecord::new()?;
        let view = View::new()?;
        let timeline = Timeline::new(dev.updates.clone())?;
        let vm = Arc::pin_init(
            pin_init!(Self {
                pd_addr: Atomic::new(0),
                seq: Atomic::new(1),
                losses: Atomic::new(dev.schedulers.vram_losses()),
                timeline,
                submitters <- LastSubmitter::new(),
                faults,
                view,
                closing: AtomicFlag::new(false),
                abandoned: AtomicFlag::new(false),
                is_sparse: AtomicFlag::new(false),
                publish <- new_mutex!(Space::new(format), "Vm::publish"),
                root,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let node = RBTreeNode::new(vm.id(), vm.clone(), GFP_KERNEL_ACCOUNT)?;
        vm.root.add_space(node);
        vm.view.open(vm.clone());
        Ok(OpenVm(vm))
    }

    /// Returns the shape of the page tables.
    fn format(&self) -> &'static Format {
        self.root.drm().hw.format
    }

    /// Returns the number that identifies this address space.
    pub(crate) fn id(&self) -> BoId {
        self.root.id()
    }

    /// Returns the owner under which its jobs run.
    pub(crate) fn owner(&self) -> Owner {
        // CAST: IDs are counted from zero.
        Owner(self.id().get() as usize)
    }

    /// Returns the last access of a job that the page tables did not allow.
    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.faults.last()
    }

    /// Returns the processes that submit jobs to this address space.
    pub(crate) fn submitters(&self) -> &LastSubmitter {
        &self.submitters
    }

    /// Returns the BO whose reservation is that of the address space.
    pub(crate) fn root(&self) -> &Bo {
        &self.root
    }

    /// Returns the reservation of the address space, which has the fences of all its jobs.
    pub(crate) fn resv(&self) -> &Resv {
        Buffer::resv(&self.root)
    }

    /// Returns the fence of the newest change of the page tables, or one that has ended if all are
    /// written.
    pub(crate) fn update_fence(&self) -> ARef<Fence> {
        self.timeline.pending().unwrap_or_else(Fence::stub)
    }

    /// Waits until no job of this address space is running or queued, and no update of its page
    /// tables.
    pub(crate) fn wait_jobs(&self, intr: Interruptible) -> Result {
        self.resv().wait(Usage::Bookkeep, intr)
    }

    /// Returns true if no job and no update of this address space is running or queued: only a
    /// hint, unless the reservation of [`Vm::root`] is held.
    pub(crate) fn is_idle(&self) -> bool {
        self.resv().is_idle(Usage::Bookkeep)
    }

    /// Called when this address space's file gains a handle to `bo`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn open(self: &Arc<Self>, bo: &Bo) -> Result {
        let space = RBTreeNode::new(self.id(), self.clone(), GFP_KERNEL_ACCOUNT)?;
        let users = if bo.is_always_valid() {
            Users::AllJobs
        } else {
            Users::JobsThatNameIt
        };
        let node = RBTreeNode::new(bo.id(), BoVa::new(bo.into(), users)?, GFP_KERNEL_ACCOUNT)?;

        let _root = self.root.lock(Interruptible::Yes)?;
        bo.add_space(space);
        let not_needed = self.publish.lock().open(bo.id(), node);
        drop(not_needed);
        Ok(())
    }

    /// Called when this address space's file loses a handle to `bo`. Losing the last handle unmaps
    /// the BO, which the address space forgets once no job reaches it any more. If the file itself
    /// is being closed while jobs run, [`Vm::tear_down`] does the rest.
    pub(crate) fn close(self: &Arc<Self>, bo: &Bo) {
        if self.closing.load(Relaxed) && !self.is_idle() {
            return;
        }
        self.forget_handle(bo);
    }

    /// Called when the file starts to close. No job is submitted after this.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Lets queued jobs continue for at most `grace`, and waits for running jobs. Then unmaps
    /// everything. To be called once the file is closed.
    pub(crate) fn tear_down(self: &Arc<Self>, grace: Jiffies) {
        let waited = self
            .resv()
            .wait_timeout(Usage::Bookkeep, Interruptible::No, grace);
        if waited != Ok(Waited::Done) {
            self.abandoned.store(true, Relaxed);
            // Only interruptible sleeps fail.
            let _ = self.wait_jobs(Interruptible::No);
        }
        self.end_sparse();
        loop {
            let next = self.publish.lock().any_bo().cloned();
            let Some(bo) = next else { return };
            self.forget_handle(&bo);
            // Other clients may still move a BO: then it is there until the update after that has
            // ended. Only interruptible sleeps fail.
            let _ = self.wait_jobs(Interruptible::No);
        }
    }

    fn forget_handle(self: &Arc<Self>, bo: &Bo) {
        // Only interruptible sleeps fail.
        let Ok(root) = self.root.lock(Interruptible::No) else {
            return;
        };
        if !self.publish.lock().close(bo.id()) {
            return;
        }
        if self.unmap_bo(&root.reserved(), bo).is_err() {
            // There is no memory for an update. Only interruptible sleeps fail.
            let _ = self.wait_jobs(Interruptible::No);
            self.unmap_at_once(Unmapping::Bo(bo.id()));
        }
        let forgotten = self.forget(&root.reserved(), bo);
        drop(root);
        drop(forgotten);
    }

    /// Forgets a BO without mappings and handles, unless jobs may still reach it. The caller drops
    /// the result after releasing the root.
    fn forget(&self, _root: &ReservedBo<'_>, bo: &Bo) -> Option<RBTreeNode<BoId, BoVa<ARef<Bo>>>> {
        let done = self.timeline.done();
        let forgotten = self.publish.lock().forget(bo.id(), done)?;
        bo.remove_space(self.id());
        Some(forgotten)
    }

    /// Forgets the BOs that were closed, and that no job reaches any more.
    fn forget_closed(&self) {
        loop {
            let done = self.timeline.done();
            let next = self.publish.lock().next_closed(done).cloned();
            let Some(bo) = next else { return };
            // Only interruptible sleeps fail.
            let Ok(root) = self.root.lock(Interruptible::No) else {
                return;
            };
            let forgotten = self.forget(&root.reserved(), &bo);
            drop(root);
            drop(forgotten);
        }
    }

    /// Maps a part of `bo`. `locked` must hold the BO and [`Vm::root`].
    ///
    /// # Errors
    ///
    /// `ENOENT` if this address space's file has no handle to the BO, `EINVAL` if something else is
    /// mapped there, `ENOMEM`, `ERESTARTSYS`.
    pub(crate) fn map(
        self: &Arc<Self>,
        locked: &Locked,
        bo: &Bo,
        mapping: Mapping,
        overlap: Overlap,
    ) -> Result {
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;
        let reserved = bo.reserved_in(locked).ok_or(EINVAL)?;
        let mut spare = Spare::new()?;

        if !self.knows(bo) {
            return Err(ENOENT);
        }
        if overlap == Overlap::Refuse && self.is_mapped(mapping.pages()) {
            return Err(EINVAL);
        }
        self.make_room(locked, || {
            self.place_directory(&root)?;
            let mut tables = self.format().tables_of(mapping.pages());
            tables.try_for_each(|table| self.place_table(&root, table))
        })?;
        // User pages may go away even with the reservation held.
        let held = if bo.is_user_memory() {
            Held::NotHere
        } else {
            Held::Here
        };
        // Written entries would expose the old contents to jobs that do not wait for the new.
        let is_here = bo.content_fences().next().is_none();
        let draft = self.draft_of_map(&root, (&reserved, is_here), &mapping, overlap)?;
        let pages = mapping.pages();
        reserved.with_backing(|backing| {
            let backing = backing.filter(|_| is_here);
            match draft {
                None => {
                    self.unmap_at_once(Unmapping::pages(pages, &mut spare));
                    let mut space = self.publish.lock();
                    self.change(|memory| space.map(memory, mapping, &mut spare, held, backing))
                }
                Some(draft) => self.record(draft, root.held(), |memory| {
                    self.unmap_in(memory, Unmapping::pages(pages, &mut spare));
                    let mut space = self.publish.lock();
                    space.map(memory, mapping, &mut spare, held, backing)
                }),
            }
            .map_err(|_| EINVAL)
        })
    }

    /// Prepares an update for [`Vm::map`], unless the page tables can be written at once, by the
    /// CPU. `is_here` tells whether the BO's bytes are where the entries will show them.
    fn draft_of_map(
        self: &Arc<Self>,
        root: &ReservedBo<'_>,
        (bo, is_here): (&ReservedBo<'_>, bool),
        mapping: &Mapping,
        overlap: Overlap,
    ) -> Result<Option<Draft<Self>>> {
        let displaces = overlap == Overlap::Replace && self.is_mapped(mapping.pages());
        let at_once = !self.timeline.is_behind() && (!displaces || self.is_idle());
        if at_once && mapping.count < BY_ENGINE_FROM {
            return Ok(None);
        }
        let room = bo.with_backing(|backing| {
            let backing = backing.filter(|_| is_here);
            self.publish.lock().room_to_map(mapping, backing)
        });
        if at_once && room.for_engine().is_none() {
            return Ok(None);
        }
        let after = if displaces {
            After::Jobs
        } else {
            After::Updates
        };
        let room = room + self.room_to_unmap(mapping.pages());
        self.draft(root, 0, (after, &[]), room).map(Some)
    }

    /// Unmaps the mapping of `bo` that starts at `page`. `locked` must hold [`Vm::root`].
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such mapping, `ENOMEM`.
    pub(crate) fn unmap(self: &Arc<Self>, locked: &Locked, bo: &Bo, page: u64) -> Result {
        self.unmap_starting_at(locked, bo.id(), page)
    }

    fn unmap_starting_at(self: &Arc<Self>, locked: &Locked, bo: BoId, page: u64) -> Result {
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;
        let mapping = self.publish.lock().mappings().starting_at(page);
        let mapping = mapping.filter(|mapping| mapping.bo == bo).ok_or(ENOENT)?;

        self.unmap_pages(&root, mapping.pages(), &mut Spare::none())
    }

    /// Unmaps everything mapped in `pages`. `locked` must hold [`Vm::root`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn clear(self: &Arc<Self>, locked: &Locked, pages: Range<u64>) -> Result {
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;

        self.unmap_pages(&root, pages, &mut Spare::new()?)
    }

    /// Returns true if user space holds a handle to the BO in this address space's file.
    pub(crate) fn knows(&self, bo: &Bo) -> bool {
        self.publish.lock().knows(bo.id())
    }

    /// Calls `f` with each mapping of the BO. `f` runs under the publish lock. The lock is dropped
    /// now and then, as there may be many mappings.
    pub(crate) fn for_each_mapping(&self, bo: &Bo, mut f: impl FnMut(Mapping)) {
        let mut next = 0;
        loop {
            let space = self.publish.lock();
            let mut count = 0;
            for mapping in space.mappings().of_from(bo.id(), next).take(AT_ONCE) {
                next = mapping.pages().end;
                count += 1;
                f(mapping);
            }
            if count < AT_ONCE {
                return;
            }
        }
    }

    /// Called before the BO's bytes move or go away: no job published after this reaches them at
    /// the old location. Calls `then` under the publish lock.
    ///
    /// Unless this returns [`Reach::None`], the bytes may go only after the fences that are in
    /// [`Vm::resv`] now.
    pub(crate) fn invalidate<R>(&self, bo: BoId, then: impl FnOnce() -> R) -> (R, Reach) {
        let mut space = self.publish.lock();
        // An update that ends meanwhile is only waited for in vain.
        let reach = space.invalidate(bo, self.timeline.done());
        (then(), reach)
    }

    /// Brings the page tables, and the BOs that are private to this address space, to where jobs
    /// can reach them. `locked` must hold [`Vm::root`], whose reservation the page tables and the
    /// private BOs share.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`, `ENODEV` if the card is gone.
    pub(crate) fn validate(self: &Arc<Self>, locked: &Locked) -> Result {
        self.notice_loss()?;
        let root = self.root.reserved_in(locked).ok_or(EINVAL)?;
        self.make_room(locked, || self.place_tables(&root))?;
        let mut after = None;

        loop {
            let next = self.publish.lock().next_due(after).cloned();
            let Some(bo) = next else { return Ok(()) };
            after = Some(bo.id());
            if bo.is_always_valid() {
                bo.reserved_in(locked).ok_or(EINVAL)?.place()?;
            }
        }
    }

    /// Returns true if anything is mapped in `pages`.
    fn is_mapped(&self, pages: Range<u64>) -> bool {
        self.publish.lock().mappings().first_in(pages).is_some()
    }
}

impl job::AddressSpace for Vm {
    fn id(&self) -> u64 {
        self.id().get()
    }

    fn pd_addr(&self) -> u64 {
        self.pd_addr.load(Acquire)
    }

    fn faults(&self) -> &Arc<FaultRecord> {
        &self.faults
    }

    fn view(&self) -> &Arc<View> {
        &self.view
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Relaxed)
    }
}
