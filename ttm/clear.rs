// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clearing the VRAM that a buffer object (BO) was given, which holds its previous owner's data
//! (`amdgpu_ttm_clear_buffer` in the C driver).
//!
//! A DMA engine clears it, while the BO is already handed out. The fence of the clear is in the
//! BO's reservation, with usage `Kernel`, so jobs that name the BO, moves of it, and waits for it
//! all wait for the clear. That is not enough in two cases, neither for a clear nor for the copy
//! of a move ([`copy`](super::copy)):
//!
//! * Page-table entries show the BO to all jobs of an address space, including those that do not
//!   name it. So none is written before the BO has its bytes: mapping leaves the entries to the
//!   next job that names the BO, and with that job an update is published that comes after the
//!   clear ([`Bo::content_fences`](super::Bo)).
//! * The clear may fail, because the card is given up. Then no job runs any more, but the CPU still
//!   reaches VRAM. So page faults and moves by the CPU, which are about to let it see the VRAM,
//!   check how the clear ended ([`finish`]), and if it failed the CPU clears.
//!
//! The CPU also clears BOs that are too small for a job to be worthwhile, where it sees them, and
//! those that are created after the card was given up. Page tables are not cleared here: only the
//! GPU's address translation reads them, and `vm.rs` writes their entries before it may find them.
//!
//! A place may have been given away before its former owner's bytes were copied out of it: see
//! `ttm.rs`. An engine clears after that, as the fence of the copy is in the reservation. The CPU
//! would have to wait, so in that case an engine clears small BOs, too.
//!
//! # Caches
//!
//! The CPU's writes for the previous owner are in VRAM before the engine clears it, as each
//! submission begins with a flush of the host data path (HDP). Each submission ends with an
//! invalidation of the HDP, before its fence, so that the CPU does not read old data.

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
        dma_resv::Usage,
        drm::ttm, //
    },
    drm::DrmDevice, //
};

/// Smallest size in bytes that an engine clears or copies where the CPU can, too. The CPU spends as
/// much time on a job and its interrupt as on a few pages (docs/performance.md, row `bo`).
pub(super) const BY_ENGINE_FROM: usize = 64 << 10;

/// Clears the VRAM that the BO was given, which somebody may have written to, or may still be
/// copying from.
pub(super) fn clear(mv: ttm::Move<'_, Ttm>) -> Result<ttm::Moved> {
    let piece = mv.new_place().allocation::<Vram>().ok_or(EINVAL)?.clone();

    match by_engine(&mv, &piece) {
        Some(fence) => {
            mv.buffer().content_comes(fence.clone());
            mv.pipelined(&fence)
        }
        None => {
            mv.may_wait().wait(mv.resv(), Usage::Kernel)?;
            by_cpu(mv.buffer().drm(), &piece)?;
            mv.in_place()
        }
    }
}

/// Starts a clear by an engine, if that is possible and worthwhile.
fn by_engine(mv: &ttm::Move<'_, Ttm>, piece: &VramPiece) -> Option<ARef<Fence>> {
    let bo = mv.buffer();
    let dev = bo.drm();
    let is_small = bo.size() < BY_ENGINE_FROM && mv.resv().is_idle(Usage::Kernel);
    // A card that is being reset may take no notice of what the CPU writes.
    let is_for_cpu =
        is_small && !dev.schedulers.is_recovering() && piece.is_before(dev.facts.vram.visible);
    if is_for_cpu || dev.schedulers.is_given_up() {
        return None;
    }
    let _section = dev.enter()?;
    let vram = &dev.facts.vram;
    let ranges = piece.blocks().iter().map(|block| {
        let start = vram.mc_addr(block.offset);
        start..start + block.size
    });
    dev.kernel_queue.clear(ranges, mv.held()).ok()
}

/// Clears VRAM at once, by the CPU.
fn by_cpu(dev: &DrmDevice, piece: &VramPiece) -> Result {
    for block in piece.blocks() {
        let mut done = 0;
        while done < block.size {
            let card = dev.card().ok_or(ENODEV)?;
            let offset = block.offset + done;
            let step = card.vram().step(offset, block.size - done);
            card.vram().zero(offset, step);
            done += step;
        }
    }
    Ttm::flush_hdp(dev)
}

/// Ensures that the BO's bytes are where they belong. Waits for a clear or copy that is under way.
/// If it has failed, the bytes are lost: the BO's VRAM, which `piece` returns, is cleared. System
/// pages were cleared before the copy. The reservation must be held.
///
/// # Errors
///
/// `ERESTARTSYS`, `ENODEV`.
pub(super) fn finish(
    bo: &ttm::Buffer<BoData>,
    piece: impl FnOnce() -> Option<Arc<VramPiece>>,
    intr: Interruptible,
) -> Result {
    let Some(content) = bo.coming_content() else {
        return Ok(());
    };
    content.wait(intr)?;
    if let Some(Err(_)) = content.status() {
        if let Some(piece) = piece() {
            by_cpu(bo.drm(), &piece)?;
        }
    }
    bo.content_is_there();
    Ok(())
}
