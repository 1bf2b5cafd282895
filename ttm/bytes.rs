// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The CPU's copies from and to VRAM: through the aperture or, beyond that, through registers. Host
//! data path (HDP) caches are the caller's to flush and invalidate.
//!
//! The C driver's is `amdgpu_device_vram_access`.

use kernel::{
    num::casts::usize_as_u64,
    prelude::*, //
};

use super::vram::VramPiece;
use crate::{
    abstractions::drm::ttm,
    drm::DrmDevice, //
};

/// Copies from or to a piece of VRAM, from its byte `offset` on, block by block.
///
/// # Errors
///
/// `EIO` if the piece is too short; `ENODEV` if the card is gone.
pub(super) fn copy(
    dev: &DrmDevice,
    piece: &VramPiece,
    offset: usize,
    mut access: ttm::BytesAccess<'_>,
) -> Result {
    /// Number of bytes copied at a time: the copy of a step cannot sleep, and reading VRAM is slow.
    const STEP: usize = 16 << 10;

    let mut done = 0;
    while done < access.len() {
        let run = piece.run_at(usize_as_u64(offset + done)).ok_or(EIO)?;
        let size = usize::try_from(run.end - run.start)?
            .min(access.len() - done)
            .min(STEP);
        let card = dev.card().ok_or(ENODEV)?;
        let size = usize::try_from(card.vram().step(run.start, usize_as_u64(size)))?;
        match &mut access {
            ttm::BytesAccess::Read(into) => {
                card.vram().read_bytes(run.start, &mut into[done..][..size])
            }
            ttm::BytesAccess::Write(from) => {
                card.vram().write_bytes(run.start, &from[done..][..size])
            }
        }
        done += size;
    }
    Ok(())
}
