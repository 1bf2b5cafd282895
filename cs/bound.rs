// SPDX-License-Identifier: GPL-2.0 OR MIT

//! From reserved to queued: a submission's buffers are put in their places, its jobs are created
//! with their dependencies, and published.
//!
//! The C driver has this in amdgpu_cs.c (`amdgpu_cs_vm_handling`, `amdgpu_cs_submit`).

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    buffers::{
        is_current,
        UserFence, //
    },
    retry::Publication,
    Member,
    Parsed, //
};
use crate::{
    abstractions::{
        dma_fence::Fence,
        dma_resv::Usage,
        drm::{
            exec::Locked,
            sched::PendingJob, //
        },
    },
    exec::{
        gang::Seat,
        job::{
            self,
            FencePlace,
            Job, //
        },
    },
    hw::on_chip::OnChip,
    mem::Backing,
    ttm::{
        Bo,
        ReservedExt, //
    },
    vm::Vm, //
};

/// Resources that a job keeps until it has ended.
type Keep = KBox<dyn Send>;

impl Parsed<'_> {
    /// Hands the pages to TTM, moves every BO to where the GPU reaches it, and creates the jobs.
    /// Everything is reserved.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ERESTARTSYS`.
    pub(super) fn bind(&mut self, locked: &Locked) -> Result<Bound> {
        for entry in &mut self.user_entries {
            entry.bind(locked)?;
        }
        for bo in self.list.bos() {
            bo.reserved_in(locked).ok_or(EINVAL)?.place()?;
        }
        self.vm().validate(locked)?;

        let (user_fence, keep) = self.bind_user_fence(locked)?;
        let mut seats = match self.jobs() {
            1 => KVec::new(),
            jobs => Seat::gang(jobs)?,
        }
        .into_iter();
        let mut others = KVec::with_capacity(self.others.len(), GFP_KERNEL_ACCOUNT)?;
        for member in &self.others {
            let job = self.job(member, seats.next(), None, None, locked)?;
            others.push(job, GFP_KERNEL_ACCOUNT)?;
        }
        let leader = self.job(&self.leader, seats.next(), user_fence, keep, locked)?;
        for resv in locked.reservations() {
            // Moves may have used up the fence slots that were reserved with the buffers.
            resv.reserve_fences(u32::try_from(self.jobs())?)?;
        }
        Ok(Bound { leader, others })
    }

    /// Creates a job with its dependencies. Everything is reserved and in its place.
    fn job(
        &self,
        member: &Member,
        seat: Option<Seat>,
        user_fence: Option<job::UserFenceWrite>,
        keep: Option<Keep>,
        locked: &Locked,
    ) -> Result<PendingJob<Job>> {
        let mut ibs = KVec::with_capacity(member.ibs.len(), GFP_KERNEL_ACCOUNT)?;
        ibs.extend_from_slice(&member.ibs, GFP_KERNEL_ACCOUNT)?;
        let mut after = KVVec::with_capacity(self.dependencies.len(), GFP_KERNEL_ACCOUNT)?;
        for fence in &self.dependencies {
            after.push(fence.clone(), GFP_KERNEL_ACCOUNT)?;
        }
        let job = Job::new(job::Work {
            space: Some(self.vm().clone()),
            submitter: Some(self.submitter.clone()),
            standing: Some(member.queue.standing.clone()),
            known_losses: Some(member.known_losses),
            on_chip: self.on_chip(locked)?,
            pasid: 0,
            previous: None,
            after,
            task: job::Task::Ibs(ibs),
            user_fence,
            seat,
            _keep: keep,
        })?;
        let mut job = PendingJob::new(
            member.entity.clone(),
            Job::CREDITS,
            self.vm().owner(),
            self.file.client_id(),
            job,
        )?;
        self.order_after_others(&mut job, locked)?;
        // Moves and clears that the kernel has in progress.
        for resv in locked.reservations() {
            job.add_resv_dependencies(resv, Usage::Kernel)?;
        }
        Ok(job)
    }

    /// Returns the on-chip memory that the submission uses. Its BOs are in their places, where they
    /// stay until its fences have ended.
    fn on_chip(&self, locked: &Locked) -> Result<OnChip> {
        let mut on_chip = OnChip::NONE;
        for (kind, bo) in self.list.on_chip() {
            let range = bo.reserved_in(locked).and_then(|bo| bo.on_chip());
            on_chip = on_chip.with(kind, range.ok_or(EINVAL)?);
        }
        Ok(on_chip)
    }

    /// Orders the job after other users of the BOs that it names.
    fn order_after_others(&self, job: &mut PendingJob<Job>, locked: &Locked) -> Result {
        for bo in self.list.bos() {
            self.order_after_others_of(bo, job, locked)?;
        }
        match &self.user_fence {
            Some(fence) => self.order_after_others_of(&fence.bo, job, locked),
            None => Ok(()),
        }
    }

    /// Orders the job after the jobs of other address spaces that name the BO, unless the BO was
    /// created with explicit synchronization, and after any fences that user space has put into its
    /// DMA buffer.
    fn order_after_others_of(&self, bo: &Bo, job: &mut PendingJob<Job>, locked: &Locked) -> Result {
        let own = self.vm().owner();

        if !bo.has_foreign_fences() {
            return Ok(());
        }
        let resv = bo.reserved_in(locked).ok_or(EINVAL)?.held();
        job.add_dependencies_of(resv, Usage::Read, |owner| match owner {
            Some(owner) => bo.has_implicit_order() && owner != own,
            None => true,
        })
    }

    /// Returns the user fence, except for its value, and the resources to keep until the job has
    /// written it.
    fn bind_user_fence(
        &self,
        locked: &Locked,
    ) -> Result<(Option<job::UserFenceWrite>, Option<Keep>)> {
        let Some(UserFence { bo, offset }) = &self.user_fence else {
            return Ok((None, None));
        };
        let reserved = bo.reserved_in(locked).ok_or(EINVAL)?;
        reserved.place()?;
        let offset = u64::from(*offset);
        let place = reserved.with_backing(|backing| match backing {
            Some(Backing::Vram([block, ..])) => {
                let address = self.dev.facts.vram.mc_addr(block.offset);
                Ok(FencePlace::Vram(address + offset))
            }
            Some(Backing::System { pages, .. }) => {
                let page = pages.address(0).ok_or(EINVAL)?;
                Ok(FencePlace::System { page, offset })
            }
            _ => Err(EINVAL),
        })?;
        let fence = job::UserFenceWrite { place, value: 0 };
        // The reservation keeps the page in place until the job's fence signals. The job hides it a
        // moment later, so the page must outlive that.
        let keep = match place {
            FencePlace::System { .. } => Some(KBox::new(bo.clone(), GFP_KERNEL_ACCOUNT)? as Keep),
            FencePlace::Vram(_) => None,
        };
        Ok((Some(fence), keep))
    }
}

impl Member {
    /// Has the job come after the one before it in its queue. Called as the job is submitted.
    fn follow(&self, job: &mut Job, fence: &Fence) {
        job.set_previous(self.queue.follow(&self.entity, fence));
    }
}

/// A submission that only has to be queued: everything is reserved and in its place.
pub(super) struct Bound {
    leader: PendingJob<Job>,
    others: KVec<PendingJob<Job>>,
}

impl Bound {
    /// Queues the jobs, unless an invalidation came first. Returns the number and the fence of the
    /// submission.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn publish(
        self,
        parsed: &mut Parsed<'_>,
        locked: &Locked,
    ) -> Result<Publication<(u64, ARef<Fence>)>> {
        // Values that are not consumed under the lock must be dropped after it: dropping may sleep.
        let mut parts = parsed
            .admission
            .take()
            .map(|admission| (self.leader, self.others, admission));
        let vm = parsed.vm().clone();
        let fences = u32::try_from(parsed.jobs())?;
        let of_list = parsed.list.bos().iter().map(|bo| &**bo);
        let of_fence = parsed.user_fence.iter().map(|fence| &*fence.bo);
        let named = Iterator::chain(of_list, of_fence);
        let is_current = |bo: &Bo| is_current(bo, locked);
        let published = vm.publish(locked, fences, named, is_current, |guard| {
            if !parsed.is_current(locked) {
                return None;
            }
            guard.update();
            let (leader, others, admission) = parts.take()?;
            for (job, member) in others.into_iter().zip(&parsed.others) {
                job.submit(|fence, job| {
                    attach(fence, &vm, locked, Usage::Read);
                    job.set_space_at(guard.at());
                    member.follow(job, fence);
                });
            }
            Some(leader.submit(|fence, job| {
                attach(fence, &vm, locked, Usage::Write);
                job.set_space_at(guard.at());
                parsed.leader.follow(job, fence);
                let number = admission.record(fence);
                job.set_number(number);
                parsed.trace_publish(number, fence);
                (number, ARef::from(fence))
            }))
        });
        parsed.admission = parts.map(|(_, _, admission)| admission);
        Ok(match published? {
            Some(done) => Publication::Done(done),
            None => Publication::Invalidated,
        })
    }
}

/// Adds a job's fence to every reservation that is held. Later submissions wait for the leader's
/// fence ([`Usage::Write`]). A wait until a BO is idle waits for the fences of all jobs.
fn attach(fence: &Fence, vm: &Vm, locked: &Locked, usage: Usage) {
    for resv in locked.reservations() {
        // The reservation of the address space, which its private BOs share, has the fences that
        // the notifier and moves wait for. Nobody else's job comes after those.
        let usage = if core::ptr::eq(resv.as_raw(), vm.resv().as_raw()) {
            Usage::Bookkeep
        } else {
            usage
        };
        resv.add_fence(fence, usage);
    }
}
