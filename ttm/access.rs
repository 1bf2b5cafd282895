// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Access of debuggers to the bytes of BOs: to VRAM that a process has mapped (ptrace,
//! /proc/PID/mem: the `access_memory` callback of TTM), and for the dump of a hang.
//!
//! The C driver has this in amdgpu_ttm.c (`amdgpu_ttm_access_memory`).
//!
//! The CPU copies, through the VRAM aperture or, beyond that, through registers: a BO that the CPU
//! has not mapped stays where it is. Jobs that use the BO meanwhile are not waited for,
//! just as when the process itself looks at it: the debugger may well be after a job that hangs. A
//! clear that is under way is waited for, as nobody may see the old contents of VRAM. That wait
//! happens with the process's `mmap_lock` held, as TTM leaves it.
//!
//! The bytes are those that the process sees: both go through the host data path (HDP). It is
//! invalidated before a read, so that the read shows what jobs wrote, and flushed after a write, so
//! that jobs see it.

use kernel::{
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};

use super::{
    bytes,
    Bo,
    ReservedBo,
    ReservedExt,
    Ttm,
    Vram, //
};
use crate::abstractions::{
    dma_fence::Interruptible,
    drm::ttm, //
};

/// Copies from or to a BO in VRAM, starting at its byte `offset`.
///
/// # Errors
///
/// `EIO` if the BO does not lie in VRAM, or is too short; `ENODEV` if the card is gone;
/// `ERESTARTSYS`.
pub(super) fn access(bo: &ReservedBo<'_>, offset: usize, access: ttm::BytesAccess<'_>) -> Result {
    let piece = bo.allocation::<Vram>().ok_or(EIO)?;
    let dev = bo.drm();

    bo.finish_content(Interruptible::Yes)?;
    match access {
        ttm::BytesAccess::Read(_) => {
            Ttm::invalidate_hdp(dev)?;
            bytes::copy(dev, &piece, offset, access)
        }
        ttm::BytesAccess::Write(_) => {
            bytes::copy(dev, &piece, offset, access)?;
            Ttm::flush_hdp(dev)
        }
    }
}

/// Copies bytes within a page of a BO, wherever it lies. Takes its reservation.
///
/// # Errors
///
/// `EINVAL` if the page is the process's own memory, or beyond the end; `ENODEV` if the card is
/// gone; `ENXIO` if the BO has no memory.
pub(crate) fn read(bo: &Bo, offset: usize, into: &mut [u8]) -> Result {
    let locked = bo.lock(Interruptible::No)?;
    let reserved = locked.reserved();
    if offset
        .checked_add(into.len())
        .is_none_or(|end| end > reserved.size())
    {
        return Err(EINVAL);
    }
    if reserved.mem_type() == Some(ttm::MemType::VRAM) {
        return access(&reserved, offset, ttm::BytesAccess::Read(into));
    }
    let page = offset >> PAGE_SHIFT;
    let mapping = reserved.map(page..page + 1)?;
    mapping.read(offset % PAGE_SIZE, into)
}
