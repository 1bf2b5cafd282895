// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clearing the VRAM that a buffer object (BO) was given, which holds its previous owner's data
//! (`amdgpu_ttm_clear_buffer` in the C driver).
//!
//! A DMA engine clears it, while the BO is already handed out. The fence of the clear is in the
//! BO's reservation, with usage `Kernel`, so jobs that name the BO, moves of it, and waits for it
//! all wait for the clear. That is not enough in two cases:
//!
//! * Page-table entries show the BO to all jobs of an address space, including those that do not
//!   name it. So none is written before the BO is cleared: mapping leaves the entries to the next
//!   job that names the BO, and its submission waits ([`finish`]).
//! * The clear may fail, because the card is given up. Then no job runs any more, but the CPU still
//!   reaches VRAM. So page faults and moves, which are about to let the CPU see the VRAM, check how
//!   the clear ended ([`finish`] again), and if it failed the CPU clears.
//!
//! The CPU also clears BOs that are too small for a job to be worthwhile, and those that are
//! created after the card was given up. Page tables are not cleared here: only the GPU's address
//! translation reads them, and `vm.rs` writes their entries before it may find them.
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
        drm::ttm, //
    },
    drm::DrmDevice, //
};

/// Smallest size in bytes that an engine clears. The CPU spends as much time on a job and its
/// interrupt as on clearing a few pages (docs/performance.md, row `bo`).
const BY_ENGINE_FROM: usize = 64 << 10;

/// Clears the VRAM that the BO was given, which somebody may have written to.
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

/// Starts a clear by an engine, if that is possible and worthwhile.
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

/// Clears VRAM at once, by the CPU.
fn by_cpu(dev: &DrmDevice, piece: &VramPiece) -> Result {
    /// Number of bytes cleared at a time: the clear of a step cannot sleep.
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

/// Ensures that the BO is cleared, if it lies in VRAM. `piece` returns its VRAM. The reservation
/// must be held.
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
