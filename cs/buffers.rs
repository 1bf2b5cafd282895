// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers of a submission that need more than a reservation: user memory, whose pages have to be
//! gathered and bound, and the page of the user fence.
//!
//! The C driver has this in amdgpu_cs.c (`amdgpu_cs_parser_bos`, `amdgpu_cs_p1_user_fence`).

use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    chunks,
    retry::Pages, //
};
use crate::{
    abstractions::drm::{
        exec::Locked,
        gem::{
            Handle,
            ObjectExt, //
        },
    },
    debug::trace::Why,
    drm::DrmFile,
    ttm::Bo,
    userptr::{
        UserPages,
        Userptr, //
    },
};

/// Location to which the job writes its sequence number for user space.
pub(super) struct UserFence {
    pub(super) bo: ARef<Bo>,
    pub(super) offset: u32,
}

impl UserFence {
    /// Looks up the BO of a user fence.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a bad handle, a BO that is not one page, or one that is user memory.
    pub(super) fn look_up(file: &DrmFile, fence: chunks::UserFenceRequest) -> Result<Self> {
        let bo = Handle(fence.handle).lookup(file).map_err(|_| EINVAL)?;
        if bo.size() != PAGE_SIZE || bo.userptr().is_some() {
            return Err(EINVAL);
        }
        Ok(Self {
            bo,
            offset: fence.offset,
        })
    }
}

/// A user-memory BO of this submission, and the pages gathered for it.
///
/// The entry belongs to the submission and not to the BO list, which others may be submitting too.
pub(super) struct UserEntry {
    pub(super) bo: ARef<Bo>,
    /// Pages that have not been handed to TTM yet.
    pages: Option<UserPages>,
    /// Set if the BO needs pages: it is neither bound to current ones nor are any held for it.
    needy: bool,
}

impl UserEntry {
    /// Creates an entry without pages.
    ///
    /// # Errors
    ///
    /// `EPERM` for another process's memory; `EINVAL` if the BO is not user memory.
    pub(super) fn new(bo: ARef<Bo>) -> Result<Self> {
        bo.userptr().ok_or(EINVAL)?.check_owner()?;
        Ok(Self {
            bo,
            pages: None,
            needy: false,
        })
    }

    /// Drops pages that were invalidated, and returns whether any are missing. The BO is reserved.
    pub(super) fn check(&mut self, locked: &Locked) -> Result<Pages> {
        let userptr = self.bo.userptr().ok_or(EINVAL)?;
        let generation = userptr.generation();
        let stale = self
            .pages
            .take_if(|pages| pages.generation() != generation)
            .is_some();
        let reserved = self.bo.reserved_in(locked).ok_or(EINVAL)?;
        let bound = userptr.bound(&reserved);
        self.needy = self.pages.is_none() && bound != Some(generation);
        if !self.needy {
            return Ok(Pages::Ready);
        }
        userptr.trace_retry(if stale || bound.is_some() {
            Why::Stale
        } else {
            Why::Missing
        });
        Ok(Pages::Missing)
    }

    /// Gathers pages if they are missing. Nothing is reserved.
    pub(super) fn gather(&mut self) -> Result {
        if !self.needy {
            return Ok(());
        }
        let userptr = self.bo.userptr().ok_or(EINVAL)?;
        self.pages = match userptr.gather() {
            // Lost to invalidations: the retry loop counts this as a failed try.
            Err(error) if error == EBUSY => None,
            result => Some(result?),
        };
        Ok(())
    }

    /// Hands the pages to TTM. The BO is reserved.
    pub(super) fn bind(&mut self, locked: &Locked) -> Result {
        let Some(pages) = self.pages.take() else {
            return Ok(());
        };
        let reserved = self.bo.reserved_in(locked).ok_or(EINVAL)?;
        let userptr = self.bo.userptr().ok_or(EINVAL)?;
        if userptr.bound(&reserved) == Some(pages.generation()) {
            // Another submission was faster.
            return Ok(());
        }
        Userptr::bind(&reserved, pages)
    }
}

/// Returns true if page-table entries may point to the bytes of `bo`. Called under the publish
/// lock.
pub(super) fn is_current(bo: &Bo, locked: &Locked) -> bool {
    match (bo.userptr(), bo.reserved_in(locked)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(userptr), Some(reserved)) => userptr.bound(&reserved) == Some(userptr.generation()),
    }
}
