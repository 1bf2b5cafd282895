// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Debuggers (ptrace, /proc/PID/mem) that read and write what a process has mapped of VRAM.
//!
//! The CPU copies, through the VRAM aperture. What jobs do to the BO meanwhile is not waited for, as
//! little as where the process itself looks at it: a job may well be what the debugger is after, one that
//! hangs. But as nobody may see what was in VRAM before, a clear that is under way is: with the address
//! space of the process locked, as TTM leaves it.
//!
//! The bytes are those that the process sees: both go through the host data path (HDP), which is
//! invalidated before a read, so that it shows what jobs wrote, and flushed after a write, so that jobs
//! see it.

use kernel::{
    num::casts::usize_as_u64,
    prelude::*, //
};

use super::{
    vram::VramPiece,
    ReservedBo,
    ReservedExt,
    Ttm,
    Vram, //
};
use crate::{
    abstractions::{
        dma_fence::Interruptible,
        drm::ttm, //
    },
    drm::DrmDevice, //
};

/// Copies from or to a BO in VRAM, from its byte `offset` on.
///
/// # Errors
///
/// `EIO` if it does not lie in VRAM, or ends before; `ENODEV` if the card is gone; `ERESTARTSYS`.
pub(super) fn access(bo: &ReservedBo<'_>, offset: usize, access: ttm::Access<'_>) -> Result {
    let piece = bo.allocation::<Vram>().ok_or(EIO)?;
    let dev = bo.drm();

    bo.finish_clear(Interruptible::Yes)?;
    match access {
        ttm::Access::Read(_) => {
            Ttm::invalidate_hdp(dev)?;
            copy(dev, &piece, offset, access)
        }
        ttm::Access::Write(_) => {
            copy(dev, &piece, offset, access)?;
            Ttm::flush_hdp(dev)
        }
    }
}

/// The bytes go through the aperture, block by block.
fn copy(dev: &DrmDevice, piece: &VramPiece, offset: usize, mut access: ttm::Access<'_>) -> Result {
    /// How much is copied at a time: nobody sleeps meanwhile, and reading VRAM is slow.
    const STEP: usize = 16 << 10;

    let mut done = 0;
    while done < access.len() {
        let run = piece.run_at(usize_as_u64(offset + done)).ok_or(EIO)?;
        let size = usize::try_from(run.end - run.start)?
            .min(access.len() - done)
            .min(STEP);
        let card = dev.card().ok_or(ENODEV)?;
        match &mut access {
            ttm::Access::Read(into) => card.vram().read_bytes(run.start, &mut into[done..][..size]),
            ttm::Access::Write(from) => card.vram().write_bytes(run.start, &from[done..][..size]),
        }
        done += size;
    }
    Ok(())
}
