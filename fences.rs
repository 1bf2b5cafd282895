// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Submissions by their numbers: waiting for several of them, and exporting their fences.
//!
//! | ioctl | what it does |
//! |---|---|
//! | `WAIT_FENCES` | waits for all of some submissions, or for the first of them |
//! | `FENCE_TO_HANDLE` | makes a synchronization object or a sync file of a submission's fence |
//!
//! `WAIT_CS`, which waits for one submission, is in `ctx.rs`. The C driver has all three in
//! amdgpu_cs.c (`amdgpu_cs_wait_fences_ioctl`, `amdgpu_cs_fence_to_handle_ioctl`).

use kernel::{
    prelude::*,
    sync::aref::ARef,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use crate::{
    abstractions::{
        dma_fence::{
            wait_any,
            Fence,
            Interruptible,
            Waited, //
        },
        drm::syncobj::Syncobj,
        sync_file, //
    },
    bindings::{
        self,
        drm_amdgpu_fence,
        drm_amdgpu_fence_to_handle__bindgen_ty_1 as drm_amdgpu_fence_to_handle_in,
        drm_amdgpu_fence_to_handle__bindgen_ty_2 as drm_amdgpu_fence_to_handle_out,
        drm_amdgpu_wait_fences_in,
        drm_amdgpu_wait_fences_out, //
    },
    ctx::{
        self,
        QueueName, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    uapi, //
};

/// Size limit of the array of fences. The C driver allocates the array as one physically contiguous
/// piece, and the kernel has none larger.
const MAX_BYTES: usize = 4 << 20;

/// Largest number of fences in one wait.
const MAX_FENCES: usize = MAX_BYTES / size_of::<drm_amdgpu_fence>();

/// Value of `first_signaled` when no fence was signaled.
const NONE: u32 = u32::MAX;

/// A submission, as user space names it. There may be no submission of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Submission {
    ctx: u32,
    ip_type: u32,
    instance: u32,
    ring: u32,
    number: u64,
}

impl Submission {
    /// Converts the words of a `struct drm_amdgpu_fence`.
    fn from_words([ctx, ip_type, instance, ring, low, high]: [u32; 6]) -> Self {
        Self {
            ctx,
            ip_type,
            instance,
            ring,
            number: u64::from(low) | u64::from(high) << 32,
        }
    }

    /// Returns the submission's fence if its job may still be unfinished.
    ///
    /// # Errors
    ///
    /// Those of [`ctx::find_fence`].
    fn fence(self, dev: &DrmDevice, file: &DrmFile) -> Result<Option<ARef<Fence>>> {
        let queue = QueueName::from_user(self.ip_type, self.instance, self.ring)?;
        ctx::find_fence(dev, file, self.ctx, queue, self.number)
    }
}

impl From<&drm_amdgpu_fence> for Submission {
    fn from(fence: &drm_amdgpu_fence) -> Self {
        Self {
            ctx: fence.ctx_id,
            ip_type: fence.ip_type,
            instance: fence.ip_instance,
            ring: fence.ring,
            number: fence.seq_no,
        }
    }
}

/// Checks the number of fences that user space passes.
///
/// # Errors
///
/// `EINVAL` for zero; `ENOMEM` for too many.
fn check_count(count: u32) -> Result<usize> {
    match usize::try_from(count)? {
        0 => Err(EINVAL),
        count if count > MAX_FENCES => Err(ENOMEM),
        count => Ok(count),
    }
}

/// Copies the names of `count` submissions from user space.
///
/// # Errors
///
/// `EFAULT` if the address is not readable; `ENOMEM`.
fn copy_in(address: u64, count: usize) -> Result<KVVec<Submission>> {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    let size = count * size_of::<drm_amdgpu_fence>();
    let mut reader = UserSlice::new(UserPtr::from_addr(address), size).reader();
    let mut submissions = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..count {
        let words = reader.read()?;
        submissions.push(Submission::from_words(words), GFP_KERNEL_ACCOUNT)?;
    }
    Ok(submissions)
}

/// Handles the `WAIT_FENCES` ioctl.
///
/// # Errors
///
/// Those of [`check_count`] and [`copy_in`]; for a submission that is looked at, those of
/// [`ctx::find_fence`] and the error that it ended with; `ERESTARTSYS`.
pub(crate) fn wait(
    dev: &DrmDevice,
    args: &drm_amdgpu_wait_fences_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_wait_fences_out> {
    let count = check_count(args.fence_count)?;
    let submissions = copy_in(args.fences, count)?;
    if args.wait_all != 0 {
        wait_for_all(dev, file, &submissions, args.timeout_ns)
    } else {
        wait_for_any(dev, file, &submissions, args.timeout_ns)
    }
}

/// Waits for the submissions one after the other. After one that times out, later ones are not
/// looked at.
fn wait_for_all(
    dev: &DrmDevice,
    file: &DrmFile,
    submissions: &[Submission],
    deadline: u64,
) -> Result<drm_amdgpu_wait_fences_out> {
    let answer = |status| drm_amdgpu_wait_fences_out {
        status,
        first_signaled: 0,
    };
    for submission in submissions {
        let Some(fence) = submission.fence(dev, file)? else {
            continue;
        };
        if ctx::wait_until(&fence, deadline)? == Waited::TimedOut {
            return Ok(answer(0));
        }
    }
    Ok(answer(1))
}

/// Waits for the first of the submissions to end. After one that ended long ago, later ones are not
/// looked at.
fn wait_for_any(
    dev: &DrmDevice,
    file: &DrmFile,
    submissions: &[Submission],
    deadline: u64,
) -> Result<drm_amdgpu_wait_fences_out> {
    let found = |index: usize| -> Result<_> {
        Ok(drm_amdgpu_wait_fences_out {
            status: 1,
            first_signaled: u32::try_from(index)?,
        })
    };
    let mut fences = KVVec::with_capacity(submissions.len(), GFP_KERNEL_ACCOUNT)?;
    for (index, submission) in submissions.iter().enumerate() {
        match submission.fence(dev, file)? {
            Some(fence) => fences.push(fence, GFP_KERNEL_ACCOUNT)?,
            None => return found(index),
        }
    }
    let Some(index) = wait_any(&fences, Interruptible::Yes, uapi::timeout(deadline))? else {
        return Ok(drm_amdgpu_wait_fences_out {
            status: 0,
            first_signaled: NONE,
        });
    };
    if let Some(status) = fences[index].status() {
        status?;
    }
    found(index)
}

/// Handles the `FENCE_TO_HANDLE` ioctl. A submission that ended long ago has a signaled fence.
///
/// # Errors
///
/// Those of [`ctx::find_fence`]; `EINVAL` for an unknown kind of handle; `EMFILE` if the process
/// has no room for another file; `ENOMEM`.
pub(crate) fn to_handle(
    dev: &DrmDevice,
    args: &drm_amdgpu_fence_to_handle_in,
    file: &DrmFile,
) -> Result<drm_amdgpu_fence_to_handle_out> {
    let fence = Submission::from(&args.fence)
        .fence(dev, file)?
        .unwrap_or_else(Fence::stub);
    let handle = match args.what {
        bindings::AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ => {
            Syncobj::new(&fence)?.create_handle(file)?
        }
        bindings::AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ_FD => Syncobj::new(&fence)?.install()?,
        bindings::AMDGPU_FENCE_TO_HANDLE_GET_SYNC_FILE_FD => sync_file::install(&fence)?,
        _ => return Err(EINVAL),
    };
    Ok(drm_amdgpu_fence_to_handle_out { handle })
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_fences)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let cases = [
            (0, Err(EINVAL)),
            (1, Ok(1)),
            (174_762, Ok(174_762)),
            (174_763, Err(ENOMEM)),
            (u32::MAX, Err(ENOMEM)),
        ];
        for (count, expected) in cases {
            assert_eq!(check_count(count), expected);
        }
    }

    #[test]
    fn names_are_read_field_by_field() {
        let fence = drm_amdgpu_fence {
            ctx_id: 1,
            ip_type: 2,
            ip_instance: 3,
            ring: 4,
            seq_no: 0x0123_4567_89ab_cdef,
        };
        assert_eq!(size_of_val(&fence), size_of::<[u32; 6]>());
        let words = [1, 2, 3, 4, 0x89ab_cdef, 0x0123_4567];
        assert_eq!(Submission::from_words(words), Submission::from(&fence));
    }
}
