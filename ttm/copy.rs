// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Copies of the bytes of buffer objects (BOs) that move from or to VRAM (`amdgpu_move_blit` in the
//! C driver).
//!
//! A DMA engine copies, after all fences of the BO's reservation: those of jobs that name the BO,
//! and those that [`BoData::leave`](super::bo::BoData::leave) added. Nobody waits for it here. The
//! BO has its new place at once, and the fence of the copy for usage `Kernel`, so whoever uses the
//! BO next comes after it. The old place and its pages are TTM's until then.
//!
//! The CPU copies, after a wait, if no engine can: the card was given up, or there is no memory for
//! the jobs. Where it has not mapped the VRAM, it does so by registers, which takes its time. It
//! also copies a few pages that nobody uses and that it has mapped, which takes less time than a
//! job.

use kernel::prelude::*;

use super::{
    bo::snoop,
    bytes,
    clear::{
        self,
        BY_ENGINE_FROM, //
    },
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
    drm::DrmDevice,
    exec::{
        copy::{
            direct_pieces,
            window_pieces,
            CopyTask, //
        },
        job::Task, //
    },
    hw::page_table::{
        Access,
        PAGE_SHIFT, //
    },
};
use core::ops::Range;
use kernel::{
    num::casts::usize_as_u64,
    page::PAGE_SIZE,
    sync::aref::ARef, //
};

/// Returns a stop that a BO has to make first, on its way between VRAM and memory that the GPU does
/// not reach.
pub(super) fn stop_before(mv: &ttm::Move<'_, Ttm>) -> Option<ttm::Place> {
    const STOP: ttm::Place = ttm::Place::new(ttm::MemType::TT).temporary();

    let way = [mv.old()?.mem_type(), mv.new_place().mem_type()];
    let is_far = way.contains(&ttm::MemType::VRAM) && way.contains(&ttm::MemType::SYSTEM);
    is_far.then_some(STOP)
}

/// Moves a BO from or to VRAM, with its bytes.
pub(super) fn copy(mv: ttm::Move<'_, Ttm>) -> Result<ttm::Moved> {
    mv.buffer().leave(mv.held());
    match by_engine(&mv) {
        Some(fence) => {
            mv.buffer().content_comes(fence.clone());
            mv.pipelined(&fence)
        }
        None => by_cpu(mv),
    }
}

/// Starts a copy by an engine, if that is possible and worthwhile.
fn by_engine(mv: &ttm::Move<'_, Ttm>) -> Option<ARef<Fence>> {
    let bo = mv.buffer();
    let dev = bo.drm();
    let is_small = bo.size() < BY_ENGINE_FROM && mv.resv().is_idle(Usage::Bookkeep);
    let ends = [mv.old(), Some(mv.new_place())];
    let mut pieces = ends
        .iter()
        .flatten()
        .filter_map(|end| end.allocation::<Vram>());
    let is_for_cpu = is_small && pieces.all(|piece| piece.is_before(dev.facts.vram.visible));
    if is_for_cpu || dev.schedulers.is_given_up() {
        return None;
    }
    let _section = dev.enter()?;
    submit(mv, dev).ok()
}

/// Submits the jobs that copy.
fn submit(mv: &ttm::Move<'_, Ttm>, dev: &DrmDevice) -> Result<ARef<Fence>> {
    let vram = &dev.facts.vram;
    let addresses = |piece: &VramPiece, offset| -> Option<Range<u64>> {
        let run = piece.run_at(offset)?;
        Some(vram.mc_addr(run.start)..vram.mc_addr(run.end))
    };
    let bytes = usize_as_u64(mv.buffer().size());
    let mut operation = dev.kernel_queue.copy(mv.held())?;
    let old = mv.old().ok_or(EINVAL)?;

    match (
        old.allocation::<Vram>(),
        mv.new_place().allocation::<Vram>(),
    ) {
        (Some(from), Some(to)) => direct_pieces(
            bytes,
            |offset| addresses(from, offset),
            |offset| addresses(to, offset),
            |from, to, bytes| operation.add(Task::Copy(CopyTask::Within { from, to, bytes })),
        ),
        (Some(from), None) => window_pieces(
            bytes,
            |offset| addresses(from, offset),
            |offset, run| {
                let entries = entries(mv, offset, &run, Access::WRITE)?;
                let from = run.start;
                operation.add(Task::Copy(CopyTask::Out { from, entries }))
            },
        ),
        (None, Some(to)) => window_pieces(
            bytes,
            |offset| addresses(to, offset),
            |offset, run| {
                let entries = entries(mv, offset, &run, Access::READ)?;
                let to = run.start;
                operation.add(Task::Copy(CopyTask::In { entries, to }))
            },
        ),
        (None, None) => Err(EINVAL),
    }?;
    operation.submit()
}

/// Returns the page-table entries of the BO's system pages from byte `offset` on, as many as `run`
/// is long.
fn entries(
    mv: &ttm::Move<'_, Ttm>,
    offset: u64,
    run: &Range<u64>,
    access: Access,
) -> Result<KVec<u64>> {
    let pages = usize::try_from((run.end - run.start) >> PAGE_SHIFT)?;
    let first = usize::try_from(offset >> PAGE_SHIFT)?;
    let of_page_0 = mv
        .buffer()
        .drm()
        .hw
        .format
        .system(0, access, snoop(mv.buffer().page_source()));
    let mut entries = KVec::from_elem(0, pages, GFP_KERNEL_ACCOUNT)?;

    if mv.dma_addresses(first, of_page_0.into_raw(), &mut entries) != pages {
        return Err(EINVAL);
    }
    Ok(entries)
}

/// Copies at once, by the CPU.
fn by_cpu(mv: ttm::Move<'_, Ttm>) -> Result<ttm::Moved> {
    let dev = mv.buffer().drm();
    let from = mv.old().and_then(|old| old.allocation::<Vram>().cloned());
    let to = mv.new_place().allocation::<Vram>().cloned();

    mv.wait_idle()?;
    clear::finish(mv.buffer(), || from.clone(), Interruptible::No)?;
    if from.is_some() {
        Ttm::invalidate_hdp(dev)?;
    }
    let mut page_bytes = KBox::new([0; PAGE_SIZE], GFP_KERNEL)?;
    for page in 0..mv.buffer().size() >> PAGE_SHIFT {
        let offset = page << PAGE_SHIFT;
        match &from {
            Some(piece) => {
                bytes::copy(dev, piece, offset, ttm::BytesAccess::Read(&mut *page_bytes))?
            }
            None => mv.read_page(page, &mut page_bytes)?,
        }
        match &to {
            Some(piece) => bytes::copy(dev, piece, offset, ttm::BytesAccess::Write(&*page_bytes))?,
            None => mv.write_page(page, &page_bytes)?,
        }
    }
    if to.is_some() {
        Ttm::flush_hdp(dev)?;
    }
    mv.copied()
}
