// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clearing VRAM that a buffer object (BO) got: what was there is somebody else's.
//!
//! A DMA engine clears it, while the BO is handed out already. The fence of that is in the BO's
//! reservation, for the kernel's use, so jobs that name the BO, moves of it and who waits for it wait for
//! the clear. That is not enough for two:
//!
//! * Page-table entries show the BO to all jobs of an address space, also to those that do not name it.
//!   So none is written before the BO is cleared: mapping leaves that to the next job that names it, and
//!   the submission of that waits ([`finish`]).
//! * The clear may fail, because the card is given up. Then no job runs any more, but the CPU still
//!   reaches VRAM. So whoever is about to let the CPU see it ([`finish`] again: page faults, moves) looks
//!   at how the clear ended, and if it failed the CPU clears.
//!
//! The CPU also clears what is too small for the detour, and what is given out when the card was given up
//! already. Page tables are not cleared here: nobody but the GPU's address translation reads them, and
//! `vm.rs` writes what that is to find before it may find it.
//!
//! # Caches
//!
//! What the CPU wrote for the former owner is in VRAM before the engine clears it, as each submission
//! begins with a flush of the host data path (HDP). It ends with an invalidation of it, before its fence,
//! so that the CPU does not read what was there before.

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use super::{
    bo::BoData,
    vram::VramPiece,
    Ttm,
    Vram, //
};
use crate::{
    abstractions::{
        dma_fence::{
            Fence,
            Interruptible, //
        },
        drm::ttm, //
    },
    drm::DrmDevice, //
};

/// From how many bytes on an engine clears. The CPU spends as much on a job and its interrupt as on
/// clearing a few pages (docs/performance.md, row `bo`).
const BY_ENGINE_FROM: usize = 64 << 10;

/// The BO gets VRAM that somebody may have written to.
pub(super) fn clear(mv: ttm::Move<'_, Ttm>) -> Result<ttm::Moved> {
    let piece = mv.new_place().allocation::<Vram>().ok_or(EINVAL)?.clone();

    match by_engine(&mv, &piece) {
        Some(fence) => {
            mv.buffer().clear_begins(fence.clone());
            mv.pipelined(&fence)
        }
        None => {
            by_cpu(mv.buffer().drm(), &piece)?;
            mv.in_place()
        }
    }
}

/// Lets an engine clear, if that is possible and sensible.
fn by_engine(mv: &ttm::Move<'_, Ttm>, piece: &VramPiece) -> Option<ARef<Fence>> {
    let bo = mv.buffer();
    let dev = bo.drm();
    if bo.size() < BY_ENGINE_FROM || dev.schedulers.is_given_up() {
        return None;
    }
    let vram = &dev.facts.vram;
    let ranges = piece.blocks().iter().map(|block| {
        let start = vram.mc_addr(block.offset);
        start..start + block.size
    });
    dev.kernel_queue.clear(ranges, mv.held()).ok()
}

/// Clears at once.
fn by_cpu(dev: &DrmDevice, piece: &VramPiece) -> Result {
    /// How much is cleared at a time: nobody sleeps meanwhile.
    const STEP: u64 = 256 << 10;

    for block in piece.blocks() {
        for offset in (block.offset..block.offset + block.size).step_by(STEP as usize) {
            let end = (offset + STEP).min(block.offset + block.size);
            let card = dev.card().ok_or(ENODEV)?;
            card.vram().zero(offset, end - offset);
        }
    }
    Ttm::flush_hdp(dev)
}

/// Sees to it that the BO is cleared, if it lies in VRAM, where `piece` says. The reservation must be
/// held.
///
/// # Errors
///
/// `ERESTARTSYS`, `ENODEV`.
pub(super) fn finish(
    bo: &ttm::Buffer<BoData>,
    piece: impl FnOnce() -> Option<Arc<VramPiece>>,
    intr: Interruptible,
) -> Result {
    let Some(clear) = bo.unfinished_clear() else {
        return Ok(());
    };
    clear.wait(intr)?;
    if let Some(Err(_)) = clear.status() {
        let piece = piece().ok_or(EINVAL)?;
        by_cpu(bo.drm(), &piece)?;
    }
    bo.clear_ended();
    Ok(())
}
