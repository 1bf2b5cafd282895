// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command submission: the `AMDGPU_CS` ioctl (`amdgpu_cs.c`).
//!
//! A submission names a context and a queue, the indirect buffers (IBs) to run, and the buffer
//! objects (BOs) that they use. It may name several queues: then it becomes one job for each, a
//! gang, and the jobs run at the same time (`exec/gang.rs`). BOs may be user memory, whose pages
//! the process may take away at any moment. Pages must not be faulted in while a BO is reserved:
//! the fault may need memory, reclaim may call the MMU notifier, and the notifier waits for the
//! GPU. So the path is a loop:
//!
//! ```text
//! parse:      copy the chunks in and check them; look up context, BO list, user-fence BO, and the
//!             fences to come after (which may have to be waited for, with nothing held)
//!
//! try again:  (ten times, then EDEADLK)
//! reserve:    lock every BO, the page tables and the user-fence BO (ww-mutexes, back-off inside)
//! check:      for each user-memory BO:
//!                 pages gathered earlier, but invalidated since?   drop them
//!                 neither bound with current pages nor holding any?  it needs pages
//!             if any needs pages:
//!                 drop all reservations, gather the pages, try again
//! bind:       EPERM unless the memory is the caller's; hand the pages to TTM; validate every BO;
//!             build the job with its dependencies
//! publish:    take the address space's publish lock, which the notifier takes too; if page-table
//!             entries cannot be written at once, first prepare an update that comes after the jobs
//!             of the address space (vm.rs)
//!                 generation of any user-memory BO moved?  drop everything, try again
//!                 write the page-table entries, or queue the update; attach the job's fence to
//!                 every BO; push the job
//! ```
//!
//! # States
//!
//! [`Parsed`] (nothing locked; keeps the gathered pages from try to try) → [`Locked`] (the
//! reservations) → [`Bound`](bound::Bound) (pages in place, job ready) → a queued job, known by its
//! sequence number. A step that fails drops the state that it was given, which undoes it.
//!
//! # How long a submission may take
//!
//! Its tries are bounded in number, and each in time, except for waits that the process itself
//! causes: faulting in its memory, and moves of its buffers. A process that
//! replaces its memory all the time, while several of its threads submit it, may see one of them
//! lose again and again. That thread gets `EDEADLK` after ten tries, each of which looks for an
//! undisturbed moment for at most a tenth of a second.
//!
//! # What a submission costs
//!
//! A user-memory BO that was not invalidated costs two comparisons of a counter, whatever its size.
//! Page-table entries are written only if something moved.
//!
//! # Lock order
//!
//! Reservations → publish lock of the address space → locks of scheduler and fences. Nothing is
//! allocated under the publish lock.

mod bound;
mod buffers;
pub(crate) mod chunks;
mod retry;

use self::{
    buffers::{
        is_current,
        UserEntry,
        UserFence, //
    },
    chunks::{
        Dependency,
        JobEvent,
        Order,
        QueueIbs,
        Request, //
    },
    retry::{
        Attempt,
        Pages,
        Publication, //
    }, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        drm::{
            device::UnplugGuard,
            exec::{
                self,
                Locked, //
            },
            gem::Handle,
            sched::{
                self,
                Entity, //
            }, //
        }, //
    },
    bindings,
    bo_list::BoList,
    ctx::{
        self,
        Admission,
        Context, //
    },
    debug::trace::{
        self,
        Why, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    exec::{
        job::Job,
        submitter::Submitter, //
    },
    hw::command,
    sync::Signal,
    vm::Vm, //
};
use kernel::{
    num::casts::usize_as_u64,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// Queues a job and returns its sequence number in its context and queue: `AMDGPU_CS`.
///
/// # Errors
///
/// Errors from parsing the chunks: see [`Request::copy_in`] and [`Parsed::new`]. Then `EDEADLK` if
/// the process took its memory away faster than the kernel could gather it, the errors of
/// [`Userptr::gather`](crate::userptr::Userptr::gather), `ENOMEM`, `ERESTARTSYS`.
pub(crate) fn ioctl(
    dev: &DrmDevice,
    args: &bindings::drm_amdgpu_cs_in,
    file: &DrmFile,
) -> Result<bindings::drm_amdgpu_cs_out> {
    let mut submission = Parsed::new(dev, args, file)?;
    dev.heat.check()?;
    submission.trace_submit();
    let handle = retry::run(&mut submission).inspect_err(|&error| {
        if error == EDEADLK {
            dev.stats.edeadlk.add(1);
        }
    })?;
    Ok(bindings::drm_amdgpu_cs_out { handle })
}

/// The reservations, in a section that the unplugging of the device waits for. Pages are gathered
/// outside the section: the process that owns them determines how long that takes.
struct Reservations {
    // Dropped first.
    locked: Locked,
    _section: UnplugGuard,
}

/// A job of a submission: the IBs for one queue of its context.
struct Member {
    queue: Arc<ctx::Queue>,
    /// Entity of the queue that takes the job.
    entity: Arc<Entity<Job>>,
    name: ctx::QueueName,
    ibs: KVec<command::Ib>,
    /// Number of losses of VRAM that the context knows of.
    known_losses: u64,
}

impl Member {
    /// Looks up the queue of `part`, one of `jobs` parts of a submission.
    ///
    /// # Errors
    ///
    /// The error of a queue that is lost; `ENOMEM`; `ENODEV`.
    fn look_up(dev: &DrmDevice, context: &Context, part: QueueIbs, jobs: usize) -> Result<Self> {
        let _section = dev.enter().ok_or(ENODEV)?;
        let queue = context.queue(&dev.schedulers, part.queue)?;
        Ok(Self {
            entity: context.entity(&dev.schedulers, &queue, jobs)?,
            queue,
            name: part.queue,
            ibs: part.ibs,
            known_losses: context.losses(),
        })
    }
}

/// A submission that has been checked and looked up, with nothing locked.
struct Parsed<'a> {
    dev: &'a DrmDevice,
    file: &'a DrmFile,
    submitter: Arc<Submitter>,
    /// The job whose number and fence become those of the submission.
    leader: Member,
    /// Jobs of other queues that run at the same time: together with the leader, a gang.
    others: KVec<Member>,
    user_fence: Option<UserFence>,
    list: Arc<BoList>,
    user_entries: KVVec<UserEntry>,
    /// Fences that the jobs wait for.
    dependencies: KVVec<ARef<Fence>>,
    /// Syncobjs that get the submission's fence.
    signals: KVVec<Signal>,
    /// Permission for one more submission on the queue.
    admission: Option<Admission>,
}

impl<'a> Parsed<'a> {
    /// Copies the chunks in and looks up the objects that they name.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an unknown context, queue, user-fence buffer, dependency, or for two BO lists;
    /// `ENOENT` for an unknown BO list, BO in one, or synchronization object to wait for; `EPERM`
    /// for another process's memory; those of [`Request::copy_in`]; the error of a queue that is
    /// lost.
    fn new(
        dev: &'a DrmDevice,
        args: &bindings::drm_amdgpu_cs_in,
        file: &'a DrmFile,
    ) -> Result<Self> {
        let inner = file.inner().get_ref();
        let context = inner.contexts.get(args.ctx_id)?;
        let request = Request::copy_in(args.chunks, args.num_chunks)?;
        let jobs = 1 + request.others.len();
        let leader = Member::look_up(dev, &context, request.leader, jobs)?;
        let mut others = KVec::with_capacity(request.others.len(), GFP_KERNEL_ACCOUNT)?;
        for part in request.others {
            let member = Member::look_up(dev, &context, part, jobs)?;
            others.push(member, GFP_KERNEL_ACCOUNT)?;
        }
        // As in the C driver, on hardware that cannot flush a VM context (VMID) that is in use.
        if !others.is_empty() && inner.has_own_vmid() {
            return Err(EINVAL);
        }

        let user_fence = request
            .user_fence
            .map(|fence| UserFence::look_up(file, fence))
            .transpose()?;
        let own_list = request
            .bo_handles
            .map(|source| BoList::new(source, |handle| Handle(handle).lookup(file)))
            .transpose()?;
        let (dependencies, signals) = look_up_orders(dev, file, &request.orders)?;
        let list = match (args.bo_list_handle, own_list) {
            (0, None) => BoList::empty()?,
            (0, Some(list)) => list,
            (handle, None) => inner.bo_lists.current(handle)?,
            (_, Some(_)) => return Err(EINVAL),
        };
        let mut user_entries = KVVec::with_capacity(list.userptrs().len(), GFP_KERNEL_ACCOUNT)?;
        for bo in list.userptrs() {
            user_entries.push(UserEntry::new(bo.clone())?, GFP_KERNEL_ACCOUNT)?;
        }

        let submitter = inner.vm.submitters().current()?;
        let admission = Some(leader.queue.admit()?);
        Ok(Self {
            dev,
            file,
            submitter,
            leader,
            others,
            user_fence,
            list,
            user_entries,
            dependencies,
            signals,
            admission,
        })
    }

    fn vm(&self) -> &Arc<Vm> {
        &self.file.inner().get_ref().vm
    }

    /// Returns the number of jobs.
    fn jobs(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns true if every user-memory BO is bound to its current pages. Called under the publish
    /// lock.
    fn is_current(&self, locked: &Locked) -> bool {
        let overtaken = self
            .user_entries
            .iter()
            .find(|entry| !is_current(&entry.bo, locked));
        if let Some(userptr) = overtaken.and_then(|entry| entry.bo.userptr()) {
            userptr.trace_retry(Why::Overtaken);
        }
        overtaken.is_none()
    }

    fn trace_submit(&self) {
        let (bos, userptrs) = (self.list.bos().len(), self.user_entries.len());
        trace::cs_submit(
            self.file.client_id(),
            usize_as_u64(bos),
            usize_as_u64(userptrs),
        );
    }

    /// Traces that the job was queued. Called under the publish lock.
    fn trace_publish(&self, number: u64, fence: &Fence) {
        let (ip, queue) = self.leader.name.as_uapi();
        let client = self.file.client_id();
        trace::cs_publish(client, ip, queue, number, fence.context(), fence.seqno());
        if trace::userptr_publish_enabled() {
            for userptr in self.user_entries.iter().filter_map(|e| e.bo.userptr()) {
                userptr.trace_publish(ip, queue, number);
            }
        }
    }
}

impl Attempt for Parsed<'_> {
    type Reservations = Reservations;
    type Output = u64;

    fn reserve(&mut self) -> Result<Reservations> {
        let section = self.dev.enter().ok_or(ENODEV)?;
        // Each reservation gets the fences of all jobs.
        let fences = u32::try_from(self.jobs())?;
        let locked = exec::lock_all(Interruptible::Yes, |locker| {
            locker.prepare(self.vm().root(), fences)?;
            for bo in self.list.bos() {
                locker.prepare(&**bo, fences)?;
            }
            match &self.user_fence {
                Some(fence) => locker.prepare(&*fence.bo, fences),
                None => Ok(()),
            }
        })?;
        Ok(Reservations {
            locked,
            _section: section,
        })
    }

    fn check_pages(&mut self, reserved: &Reservations) -> Result<Pages> {
        let mut pages = Pages::Ready;
        for entry in &mut self.user_entries {
            if entry.check(&reserved.locked)? == Pages::Missing {
                pages = Pages::Missing;
            }
        }
        Ok(pages)
    }

    fn gather(&mut self) -> Result {
        self.user_entries.iter_mut().try_for_each(UserEntry::gather)
    }

    fn publish(&mut self, reserved: Reservations) -> Result<Publication<u64>> {
        let published = self
            .bind(&reserved.locked)?
            .publish(self, &reserved.locked)?;
        // Not under the reservations: an object that is named often has its timeline walked as
        // often.
        drop(reserved);
        Ok(match published {
            Publication::Done((number, fence)) => {
                for signal in core::mem::take(&mut self.signals) {
                    signal.give(&fence);
                }
                Publication::Done(number)
            }
            Publication::Invalidated => Publication::Invalidated,
        })
    }

    fn retried(&mut self, tries: u32) {
        self.dev.stats.retries.add(1);
        trace::cs_retry(self.file.client_id(), tries);
    }
}

/// Looks up the fences that a job waits for, and the syncobjs that get its own. May wait until
/// there is a fence to wait for.
fn look_up_orders(
    dev: &DrmDevice,
    file: &DrmFile,
    orders: &[Order],
) -> Result<(KVVec<ARef<Fence>>, KVVec<Signal>)> {
    let mut dependencies = KVVec::new();
    let mut signals = KVVec::new();
    for order in orders {
        match *order {
            Order::AfterJob(dependency) => {
                let Dependency {
                    queue,
                    ctx,
                    sequence,
                    event,
                } = dependency;
                if let Some(end) = ctx::find_fence(dev, file, ctx, queue, sequence)? {
                    let fence = match event {
                        JobEvent::End => end,
                        // A queue remembers the fences that its scheduler made.
                        JobEvent::Start => sched::start_of(&end).unwrap_or(end),
                    };
                    dependencies.push(fence, GFP_KERNEL_ACCOUNT)?;
                }
            }
            Order::After(wait) => dependencies.push(wait.fence(file)?, GFP_KERNEL_ACCOUNT)?,
            Order::Signal { handle, point } => {
                // An unknown handle is `EINVAL` here, but not for a fence to wait for.
                let signal = Signal::new(file, handle, point).map_err(|e| {
                    if e == ENOENT {
                        EINVAL
                    } else {
                        e
                    }
                })?;
                signals.push(signal, GFP_KERNEL_ACCOUNT)?;
            }
        }
    }
    Ok((dependencies, signals))
}
