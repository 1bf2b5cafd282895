// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User memory as a buffer object (`amdgpu_ttm_tt_get_user_pages` and `amdgpu_hmm.c` in the C
//! driver).
//!
//! A userptr buffer is a range of the memory of the process that created it. The process remains
//! free to unmap, replace or move that memory at any time; the kernel tells the driver through an
//! MMU interval notifier. The pages are not pinned. Instead, two rules keep the GPU away from pages
//! that the process has given up:
//!
//! * **Notifier.** An invalidation takes the publish lock of the address space ([`Vm`]) that the
//!   buffer belongs to, raises the buffer's generation, drops the lock, and then waits until every
//!   job of that address space has ended, and every update of its page tables. When the notifier
//!   returns, the pages may be reused: nothing on the GPU can reach them. A job may reach a page
//!   without naming its buffer, since page tables belong to the address space; so the wait is for
//!   all of its jobs.
//! * **Publishing.** A page-table entry that points to user pages is written, or its update queued,
//!   and a job is queued, under the same lock, after a check that the pages are of the current
//!   generation. So a job that the notifier does not wait for has not been queued with old pages,
//!   and never will be.
//!
//! Every invalidation raises the generation, whether the buffer is bound or not: pages may have
//! been gathered that are bound only later.
//!
//! # Life of the pages
//!
//! [`Userptr::gather`] faults the pages in, with no reservation held, and returns [`UserPages`], a
//! value that belongs to one submission. With the buffer reserved, [`Userptr::bind`] hands it to
//! TTM, which maps the pages for DMA. Dropping the value instead frees the array, on every path.
//!
//! # Lock order
//!
//! `mmap_lock` → reservation → `fs_reclaim` → MMU notifier → publish lock. Nothing under the
//! publish lock allocates; the notifier waits with no lock held.

use crate::{
    abstractions::{
        dma_fence::Interruptible,
        drm::{
            gem::ObjectExt,
            ttm, //
        },
        mm::{
            self,
            areas,
            fault::fault_in,
            hmm::{
                self,
                DeviceAccess,
                Pfn, //
            },
            interval_notifier::{
                Callbacks,
                IntervalNotifier,
                Invalidation,
                Noted,
                WouldBlock, //
            }, //
        },
    },
    bindings,
    debug::{
        stats::Stats,
        trace::{
            self,
            Why, //
        },
    },
    drm::{
        DrmDevice,
        DrmFile, //
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
    vm::Vm, //
};
use core::ops::Range;
use kernel::{
    mm::MmWithUser,
    num::casts::usize_as_u64,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};

/// Flags of `AMDGPU_GEM_USERPTR`, decoded into one choice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Access that the GPU has to the memory.
    pub(crate) access: DeviceAccess,
    /// Mappings that the range may consist of.
    pub(crate) accepted: Accepted,
    /// Time at which the pages are gathered and bound.
    pub(crate) validate: Validate,
}

/// Mappings that a range may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Any memory that the process can reach and that devices may use.
    Any,
    /// One mapping of anonymous memory: `EPERM` for anything else.
    AnonymousOnly,
}

/// Time at which the pages of a new buffer are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validate {
    /// With the first submission that uses the buffer.
    OnUse,
    /// On creation, which fails if the memory is not there.
    Now,
}

impl Flags {
    /// Decodes `AMDGPU_GEM_USERPTR_*`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an unknown flag; `EACCES` for writable memory without `REGISTER`, which asks
    /// for changes to be watched. This driver always watches them, but user space must say that it
    /// expects this.
    pub(crate) fn from_uapi(flags: u32) -> Result<Self> {
        const READONLY: u32 = bindings::AMDGPU_GEM_USERPTR_READONLY;
        const ANONONLY: u32 = bindings::AMDGPU_GEM_USERPTR_ANONONLY;
        const VALIDATE: u32 = bindings::AMDGPU_GEM_USERPTR_VALIDATE;
        const REGISTER: u32 = bindings::AMDGPU_GEM_USERPTR_REGISTER;

        if flags & !(READONLY | ANONONLY | VALIDATE | REGISTER) != 0 {
            return Err(EINVAL);
        }
        if flags & (READONLY | REGISTER) == 0 {
            return Err(EACCES);
        }
        Ok(Self {
            access: if flags & READONLY != 0 {
                DeviceAccess::Read
            } else {
                DeviceAccess::Write
            },
            accepted: if flags & ANONONLY != 0 {
                Accepted::AnonymousOnly
            } else {
                Accepted::Any
            },
            validate: if flags & VALIDATE != 0 {
                Validate::Now
            } else {
                Validate::OnUse
            },
        })
    }
}

/// A page-aligned range of user addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserRange {
    /// First byte; a multiple of the page size.
    pub(crate) start: usize,
    /// Number of pages.
    pub(crate) pages: usize,
}

impl UserRange {
    /// Checks the address and size that user space gave.
    ///
    /// # Errors
    ///
    /// `EINVAL` if not whole pages, `EFAULT` if not user addresses.
    pub(crate) fn new(address: u64, size: u64) -> Result<Self> {
        let address = mm::untagged(usize::try_from(address)?);
        let size = usize::try_from(size)?;
        if address % PAGE_SIZE != 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if !mm::is_user_range(address, size) {
            return Err(EFAULT);
        }
        Ok(Self {
            start: address,
            pages: size / PAGE_SIZE,
        })
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> usize {
        // Cannot overflow: the number of pages came from a length in bytes.
        self.pages * PAGE_SIZE
    }

    /// Returns the addresses of the range.
    fn addresses(self) -> Range<usize> {
        // Cannot overflow: these are user addresses.
        self.start..self.start + self.len()
    }

    /// Returns the addresses of some of the range's pages, counted from 0.
    fn addresses_of(self, pages: Range<usize>) -> Range<usize> {
        self.start + pages.start * PAGE_SIZE..self.start + pages.end * PAGE_SIZE
    }

    /// Returns the number of the range's pages that `addresses` touches.
    fn pages_in(self, addresses: Range<usize>) -> u64 {
        let own = self.addresses();
        let (start, end) = (addresses.start.max(own.start), addresses.end.min(own.end));
        usize_as_u64(end.saturating_sub(start).div_ceil(PAGE_SIZE))
    }
}

/// Number of times that the memory behind a buffer has been invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// Returns the generation as a number, for traces.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Data of the notifier.
struct Watched {
    vm: Arc<Vm>,
    bo: BoId,
    range: UserRange,
    stats: Arc<Stats>,
    /// Raised under the publish lock of `vm`. A read is reliable under that lock, and a hint
    /// outside it.
    generation: Atomic<u64>,
}

#[vtable]
impl Callbacks for Watched {
    fn invalidate<'a>(&self, invalidation: Invalidation<'a>) -> Result<Noted<'a>, WouldBlock> {
        // Waiting for the GPU may take long. A caller that cannot block is told before anything
        // changes.
        if !invalidation.may_block() {
            self.stats.would_block.add(1);
            return Err(WouldBlock);
        }
        let pages = self.range.pages_in(invalidation.range());
        let ((generation, noted), reach) = self.vm.invalidate(self.bo, || {
            // In this order: a gatherer reads the generation without the lock. If it reads the new
            // generation, its look-up of the pages must know that they are about to go, and wait.
            let noted = invalidation.note();
            (self.generation.fetch_add(1, Release) + 1, noted)
        });
        self.stats.invalidations.add(1);
        let wait = reach == Reach::PublishedJobs;
        trace::userptr_invalidate(self.bo.get(), generation, pages, wait);
        if wait {
            // When a process exits, its memory goes before its files: its jobs must not be waited
            // for first.
            self.vm.submitters().leave();
            if !self.vm.is_idle() {
                self.stats.waits.add(1);
            }
            // Cannot fail: the wait is not interruptible.
            let _ = self.vm.wait_jobs(Interruptible::No);
        }
        trace::userptr_invalidated(self.bo.get(), generation, pages);
        Ok(noted)
    }
}

/// State of a buffer object that is specific to user memory.
pub(crate) struct Userptr {
    flags: Flags,
    /// Generation of the pages that the buffer is bound to, or 0 if to none. Protected by the
    /// reservation.
    bound: Atomic<u64>,
    watch: Pin<KBox<IntervalNotifier<Watched>>>,
}

impl Userptr {
    /// Watches `range` of the calling process for the buffer `bo` of the address space `vm`.
    ///
    /// Takes the `mmap_lock`; no reservation may be held.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` if the range wraps around, `ENOMEM`, `EFAULT` without an mm.
    pub(crate) fn new(
        vm: Arc<Vm>,
        bo: BoId,
        stats: Arc<Stats>,
        range: UserRange,
        flags: Flags,
    ) -> Result<Self> {
        let watched = Watched {
            vm,
            bo,
            range,
            stats,
            generation: Atomic::new(1),
        };
        let task = current!();
        let mm = task.mm().ok_or(EFAULT)?;
        let watch = KBox::pin_init(
            IntervalNotifier::new(mm, range.addresses(), watched),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Self {
            flags,
            bound: Atomic::new(0),
            watch,
        })
    }

    /// Returns the access that the GPU has to the memory.
    pub(crate) fn access(&self) -> DeviceAccess {
        self.flags.access
    }

    /// Returns the generation of the memory. Only a value read under the publish lock of the
    /// address space is reliable, and only until that lock is dropped.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.watch.data().generation.load(Acquire))
    }

    /// Returns the generation of the pages that the buffer is bound to.
    pub(crate) fn bound(&self, _reserved: &ReservedBo<'_>) -> Option<Generation> {
        match self.bound.load(Relaxed) {
            0 => None,
            generation => Some(Generation(generation)),
        }
    }

    /// Binds the buffer to `pages`, which must be its own, and maps them for DMA. Page tables do
    /// not change.
    ///
    /// If the buffer was bound, it was to pages of an earlier generation: no job reaches them. The
    /// gatherer of `pages` waited until the notifiers of all earlier ones had returned, and jobs
    /// that were published since run after the entries are gone.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the buffer is not user memory, or the pages are another's; `ENOMEM`,
    /// `ERESTARTSYS`.
    pub(crate) fn bind(reserved: &ReservedBo<'_>, pages: UserPages) -> Result {
        let userptr = reserved.userptr().ok_or(EINVAL)?;
        if pages.bo != userptr.watch.data().bo {
            return Err(EINVAL);
        }
        userptr.bound.store(0, Relaxed);
        let mut ctx = ttm::Ctx::new(Interruptible::Yes);
        // SAFETY: The pages were looked up in the buffer's own range, which has a notifier. By the
        // two rules in the head of this file, their addresses reach the GPU only as long as they
        // are of the present generation, which `bound` tells from now on, and the notifier waits
        // for the GPU.
        unsafe { reserved.set_user_pages(&pages.pages, &mut ctx)? };
        reserved.map_user_pages()?;
        userptr.bound.store(pages.generation.0, Relaxed);
        Ok(())
    }

    /// Rejects callers in another process.
    ///
    /// # Errors
    ///
    /// `EPERM` if the memory is not that of the calling process.
    pub(crate) fn check_owner(&self) -> Result {
        let owner = self.watch.mm().as_raw();
        match current!().mm() {
            Some(mm) if core::ptr::eq(mm.as_raw(), owner) => Ok(()),
            _ => Err(EPERM),
        }
    }

    /// Faults the pages in and records them.
    ///
    /// Sleeps, and takes the `mmap_lock`: no reservation may be held. The result may already be out
    /// of date on return; its generation tells.
    ///
    /// # Errors
    ///
    /// `EFAULT` for a hole or for memory that devices may not use, `EPERM` for anything but one
    /// anonymous mapping in an anonymous-only buffer or write access to a read-only mapping,
    /// `ESRCH` if the process is gone, `ENOMEM`, `ERESTARTSYS` if a signal came during the wait for
    /// a page, `EINTR` if the caller is being killed; `EBUSY` if invalidations interfered with
    /// every attempt.
    pub(crate) fn gather(&self) -> Result<UserPages> {
        let (bo, count) = (self.watch.data().bo.get(), self.pages());

        trace::userptr_gather(bo, self.generation().get(), count);
        let gathered = self.collect();
        let (generation, error) = match &gathered {
            Ok(pages) => (pages.generation, 0),
            Err(error) => (self.generation(), error.to_errno()),
        };
        trace::userptr_gathered(bo, generation.get(), count, error);

        let gathered = gathered?;
        let stats = &self.watch.data().stats;
        stats.gathers.add(1);
        stats.pages_gathered.add(count);
        Ok(gathered)
    }

    /// Looks the pages up, faults in the missing ones, and looks again.
    ///
    /// Faulting a page in may change the mapping, for example if the page is copied because a child
    /// process shares it. So the generation is that of the last look-up, during which nothing is
    /// faulted in.
    fn collect(&self) -> Result<UserPages> {
        /// Number of look-ups before giving up. Pages that go away this often mean that memory is
        /// scarce.
        const LOOKS: usize = 10;

        let range = self.watch.data().range;
        let access = self.flags.access;
        let mm = self.watch.mm().mmget_not_zero().ok_or(ESRCH)?;
        let mut pages = KVVec::from_elem(Pfn::NONE, range.pages, GFP_KERNEL_ACCOUNT)?;

        for _ in 0..LOOKS {
            // Read before the pages are looked up: an invalidation in between makes the pages look
            // older than they are, never younger. The same goes for the mappings.
            let generation = self.generation();
            self.check_mappings(&mm)?;
            hmm::snapshot(&self.watch, range.addresses(), &mut pages)?;
            let mut missing = missing(&pages, access)?.peekable();
            if missing.peek().is_none() {
                drop(missing);
                return Ok(UserPages {
                    bo: self.watch.data().bo,
                    pages,
                    generation,
                });
            }
            for run in missing {
                fault_in(&mm, range.addresses_of(run), access)?;
            }
        }
        Err(EBUSY)
    }

    /// Checks the mappings that the range consists of.
    fn check_mappings(&self, mm: &MmWithUser) -> Result {
        let end = self.watch.range().end;

        areas::for_each(mm, self.watch.range(), |area| {
            // As in the C driver: a single mapping, even where several would do as well.
            if self.flags.accepted == Accepted::AnonymousOnly
                && (area.has_file() || area.end() < end)
            {
                return Err(EPERM);
            }
            area.check(self.flags.access)
        })
    }

    /// Returns the number of pages of the buffer.
    fn pages(&self) -> u64 {
        usize_as_u64(self.watch.data().range.pages)
    }

    /// Traces that the buffer makes a submission try again.
    pub(crate) fn trace_retry(&self, why: Why) {
        let (bo, generation) = (self.watch.data().bo.get(), self.generation().get());
        trace::userptr_retry(bo, generation, self.pages(), why.number());
    }

    /// Traces that a job that names the buffer is queued, with its number. Called under the publish
    /// lock.
    pub(crate) fn trace_publish(&self, ip: u32, queue: u32, number: u64) {
        let (bo, generation) = (self.watch.data().bo.get(), self.generation().get());
        trace::userptr_publish(bo, generation, self.pages(), ip, queue, number);
    }
}

/// Returns the runs of pages that are not present for `access`.
///
/// # Errors
///
/// `EFAULT` if an entry is neither a page nor missing.
fn missing(pages: &[Pfn], access: DeviceAccess) -> Result<impl Iterator<Item = Range<usize>> + '_> {
    if pages.iter().any(|page| page.is_error()) {
        return Err(EFAULT);
    }
    let mut next = 0;
    Ok(core::iter::from_fn(move || {
        let start = next + pages[next..].iter().position(|page| !page.allows(access))?;
        let rest = &pages[start..];
        let length = rest.iter().position(|page| page.allows(access));
        next = start + length.unwrap_or(rest.len());
        Some(start..next)
    }))
}

/// A snapshot of the pages of a buffer.
///
/// Owns the array, but no page. The generation tells, under the publish lock, whether they still
/// are the buffer's pages.
pub(crate) struct UserPages {
    bo: BoId,
    pages: KVVec<Pfn>,
    generation: Generation,
}

impl UserPages {
    /// Returns the generation of the buffer that the pages belong to.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }
}

/// Creates a buffer object from a range of the caller's memory: `AMDGPU_GEM_USERPTR`.
///
/// # Errors
///
/// Those of [`UserRange::new`], [`Flags::from_uapi`] and [`Userptr::new`]; `ENOSPC` if the range is
/// empty, `ENODEV` if the card does not reach the memory of processes; with `VALIDATE`, those of
/// [`Userptr::gather`], but `EAGAIN` if invalidations interfered; `ENOMEM`.
pub(crate) fn ioctl(
    dev: &DrmDevice,
    args: &mut bindings::drm_amdgpu_gem_userptr,
    file: &DrmFile,
) -> Result<u32> {
    let range = UserRange::new(args.addr, args.size)?;
    let flags = Flags::from_uapi(args.flags)?;
    if range.pages == 0 {
        return Err(ENOSPC);
    }
    if !dev.memory.has_user_memory() {
        return Err(ENODEV);
    }
    let vm: &Arc<Vm> = &file.inner().get_ref().vm;
    let id = BoId::new();
    // Takes the `mmap_lock` of the process, so this is outside the section, which unplugging waits
    // for.
    let userptr = Userptr::new(vm.clone(), id, dev.stats.clone(), range, flags)?;
    let bo = {
        let _section = dev.enter().ok_or(ENODEV)?;
        Bo::create_user(dev, id, range.len(), vm, userptr)?
    };
    if flags.validate == Validate::Now {
        validate(dev, &bo)?;
    }
    args.handle = bo.create_handle(file)?.0;
    Ok(0)
}

/// Gathers the pages of a new buffer and binds it. On failure the buffer is dropped.
fn validate(dev: &DrmDevice, bo: &Bo) -> Result {
    let userptr = bo.userptr().ok_or(EINVAL)?;
    let pages = userptr
        .gather()
        .map_err(|error| if error == EBUSY { EAGAIN } else { error })?;
    let _section = dev.enter().ok_or(ENODEV)?;
    let locked = bo.lock(Interruptible::Yes)?;
    Userptr::bind(&locked.reserved(), pages)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_userptr)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_checked() -> Result {
        assert_eq!(Flags::from_uapi(0), Err(EACCES));
        assert_eq!(
            Flags::from_uapi(bindings::AMDGPU_GEM_USERPTR_VALIDATE),
            Err(EACCES)
        );
        assert_eq!(Flags::from_uapi(0x10), Err(EINVAL));
        assert_eq!(Flags::from_uapi(u32::MAX), Err(EINVAL));

        let flags = Flags::from_uapi(bindings::AMDGPU_GEM_USERPTR_READONLY)?;
        assert_eq!(flags.access, DeviceAccess::Read);
        assert_eq!(flags.accepted, Accepted::Any);
        assert_eq!(flags.validate, Validate::OnUse);

        let flags = Flags::from_uapi(0xf & !bindings::AMDGPU_GEM_USERPTR_READONLY)?;
        assert_eq!(flags.access, DeviceAccess::Write);
        assert_eq!(flags.accepted, Accepted::AnonymousOnly);
        assert_eq!(flags.validate, Validate::Now);
        Ok(())
    }

    #[test]
    fn ranges_are_whole_pages_of_user_addresses() {
        let page = PAGE_SIZE as u64;
        assert_eq!(UserRange::new(page, 1), Err(EINVAL));
        assert_eq!(UserRange::new(page + 1, page), Err(EINVAL));
        assert_eq!(UserRange::new(page, 0).map(|range| range.pages), Ok(0));
        assert_eq!(UserRange::new(!(page - 1), page), Err(EFAULT));
        assert_eq!(UserRange::new(page, !(page - 1)), Err(EFAULT));
        let good = UserRange {
            start: PAGE_SIZE,
            pages: 2,
        };
        assert_eq!(UserRange::new(page, 2 * page), Ok(good));
        assert_eq!(good.len(), 2 * PAGE_SIZE);
    }

    #[test]
    fn runs_of_pages_that_are_missing() -> Result {
        let pages = |text: &[u8]| {
            let mut pages = KVec::new();
            for kind in text {
                let page = match kind {
                    b'w' => Pfn::for_test(7, DeviceAccess::Write),
                    b'r' => Pfn::for_test(7, DeviceAccess::Read),
                    b'!' => Pfn::ERROR,
                    _ => Pfn::NONE,
                };
                pages.push(page, GFP_KERNEL)?;
            }
            Ok::<_, Error>(pages)
        };
        let mixed = pages(b"w..r.ww")?;
        let mut runs = missing(&mixed, DeviceAccess::Read)?;
        assert_eq!(runs.next(), Some(1..3));
        assert_eq!(runs.next(), Some(4..5));
        assert_eq!(runs.next(), None);
        assert!(missing(&mixed, DeviceAccess::Write)?.eq([1..5]));
        assert!(missing(&pages(b"rr.")?, DeviceAccess::Write)?.eq([0..3]));
        assert!(missing(&pages(b"ww")?, DeviceAccess::Write)?
            .next()
            .is_none());
        assert!(missing(&pages(b"")?, DeviceAccess::Read)?.next().is_none());
        assert!(missing(&pages(b"w!")?, DeviceAccess::Read).is_err());
        Ok(())
    }

    #[test]
    fn pages_that_an_invalidation_touches() {
        let range = UserRange {
            start: 4 * PAGE_SIZE,
            pages: 4,
        };
        let touched =
            |pages: Range<usize>| range.pages_in(pages.start * PAGE_SIZE..pages.end * PAGE_SIZE);
        assert_eq!(touched(0..usize::MAX / PAGE_SIZE), 4);
        assert_eq!(touched(4..5), 1);
        assert_eq!(touched(6..100), 2);
        assert_eq!(touched(0..4), 0);
        assert_eq!(touched(8..9), 0);
    }
}
