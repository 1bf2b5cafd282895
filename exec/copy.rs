// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Copies of memory by a DMA engine, piece by piece (the C driver's `amdgpu_ttm_copy_mem_to_mem`).
//!
//! VRAM has addresses of its own in the GPU's address space (context 0). System pages have none
//! there: each DMA ring has a part of the GART window, its *transfer window*, in which a submission
//! shows the pages of its piece. The submission itself writes the page-table entries before it
//! copies, and takes them away before its fence. So the window needs no manager: submissions of a
//! ring come one after the other, and none leaves anything there. Pages that a copy used are not
//! reachable once its fence has signaled.

use core::ops::Range;

use kernel::{
    num::casts::usize_as_u64,
    prelude::*, //
};

use crate::{
    exec::ring::Ring,
    hw::{
        command::{
            Commands,
            GartWindow,
            Transfer, //
        },
        page_table::PAGE_SIZE, //
    },
};

/// Bytes to copy in one submission. Addresses are those of VRAM in context 0.
pub(crate) enum CopyTask {
    /// From one place in VRAM to another.
    Within { from: u64, to: u64, bytes: u64 },
    /// From VRAM to system pages, which have these page-table entries.
    Out { from: u64, entries: KVec<u64> },
    /// From system pages, which have these page-table entries, to VRAM.
    In { entries: KVec<u64>, to: u64 },
}

impl CopyTask {
    /// Returns the commands for a ring, in whose transfer window system pages are shown.
    pub(crate) fn commands(&self, ring: &Ring) -> Commands<'_> {
        let entries = match self {
            &Self::Within { from, to, bytes } => {
                return Commands::Transfer(Transfer {
                    from,
                    to,
                    bytes,
                    window: None,
                });
            }
            Self::Out { entries, .. } | Self::In { entries, .. } => entries,
        };
        let Some(range) = ring.window() else {
            return Commands::Fail(EINVAL);
        };
        let pages = range.gpu_addr();
        let (from, to) = match *self {
            Self::Out { from, .. } => (from, pages),
            Self::In { to, .. } | Self::Within { to, .. } => (pages, to),
        };
        Commands::Transfer(Transfer {
            from,
            to,
            bytes: usize_as_u64(entries.len()) * PAGE_SIZE,
            window: Some(GartWindow {
                table: range.entry_addr(),
                entries,
            }),
        })
    }
}

/// Bytes that a piece with system pages has at most.
const WINDOW_BYTES: u64 = usize_as_u64(GartWindow::PAGES) * PAGE_SIZE;

/// Divides `bytes` bytes into pieces for [`CopyTask::Out`] and [`CopyTask::In`]. `run_at` returns
/// the contiguous VRAM that begins at an offset, as its addresses. Calls `f` with the offset of a
/// piece and its addresses in VRAM.
///
/// # Errors
///
/// `EINVAL` if there is less VRAM; those of `f`.
pub(crate) fn window_pieces(
    bytes: u64,
    run_at: impl Fn(u64) -> Option<Range<u64>>,
    mut f: impl FnMut(u64, Range<u64>) -> Result,
) -> Result {
    let mut done = 0;
    while done < bytes {
        let run = run_at(done).filter(|run| !run.is_empty()).ok_or(EINVAL)?;
        let length = (run.end - run.start).min(bytes - done).min(WINDOW_BYTES);
        f(done, run.start..run.start + length)?;
        done += length;
    }
    Ok(())
}

/// Divides `bytes` bytes into pieces for [`CopyTask::Within`]. `from_at` and `to_at` return the
/// contiguous VRAM that begins at an offset of the source and of the destination. Calls `f` with
/// the addresses of both, and the length.
///
/// # Errors
///
/// As those of [`window_pieces`].
pub(crate) fn direct_pieces(
    bytes: u64,
    from_at: impl Fn(u64) -> Option<Range<u64>>,
    to_at: impl Fn(u64) -> Option<Range<u64>>,
    mut f: impl FnMut(u64, u64, u64) -> Result,
) -> Result {
    let mut done = 0;
    while done < bytes {
        let run = |at: Option<Range<u64>>| at.filter(|run| !run.is_empty()).ok_or(EINVAL);
        let (from, to) = (run(from_at(done))?, run(to_at(done))?);
        let length = (from.end - from.start)
            .min(to.end - to.start)
            .min(bytes - done)
            .min(Transfer::MAX_BYTES);
        f(from.start, to.start, length)?;
        done += length;
    }
    Ok(())
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_copy)]
mod tests {
    use super::*;

    /// Returns the VRAM from `offset` on of a buffer that lies in `blocks`.
    fn run_at(blocks: &[Range<u64>], offset: u64) -> Option<Range<u64>> {
        let mut before = offset;
        for block in blocks {
            let size = block.end - block.start;
            if before < size {
                return Some(block.start + before..block.end);
            }
            before -= size;
        }
        None
    }

    #[test]
    fn pieces_end_with_blocks_and_windows() -> Result {
        let blocks = [0x10_0000..0x11_0000, 0x80_0000..0x100_0000];
        let bytes = 0x1_0000 + WINDOW_BYTES + 0x3000;
        let mut pieces = KVec::new();
        window_pieces(
            bytes,
            |offset| run_at(&blocks, offset),
            |offset, vram| Ok(pieces.push((offset, vram), GFP_KERNEL)?),
        )?;
        let second = 0x80_0000 + WINDOW_BYTES;
        assert_eq!(
            pieces[..],
            [
                (0, 0x10_0000..0x11_0000),
                (0x1_0000, 0x80_0000..second),
                (0x1_0000 + WINDOW_BYTES, second..second + 0x3000),
            ]
        );
        let more = blocks
            .iter()
            .map(|block| block.end - block.start)
            .sum::<u64>()
            + PAGE_SIZE;
        let less = window_pieces(more, |offset| run_at(&blocks, offset), |_, _| Ok(()));
        assert_eq!(less, Err(EINVAL));
        let failed = window_pieces(bytes, |offset| run_at(&blocks, offset), |_, _| Err(ENOMEM));
        assert_eq!(failed, Err(ENOMEM));
        Ok(())
    }

    #[test]
    fn pieces_end_with_blocks_of_both() -> Result {
        let from = [0x10_0000..0x10_3000, 0x20_0000..0x40_0000_0000];
        let to = [
            0x50_0000_0000..0x50_0000_5000,
            0x60_0000_0000..0x70_0000_0000,
        ];
        let mut pieces = KVec::new();
        direct_pieces(
            0x5000 + Transfer::MAX_BYTES + 0x1000,
            |offset| run_at(&from, offset),
            |offset| run_at(&to, offset),
            |from, to, bytes| Ok(pieces.push((from, to, bytes), GFP_KERNEL)?),
        )?;
        let most = Transfer::MAX_BYTES;
        assert_eq!(
            pieces[..],
            [
                (0x10_0000, 0x50_0000_0000, 0x3000),
                (0x20_0000, 0x50_0000_3000, 0x2000),
                (0x20_2000, 0x60_0000_0000, most),
                (0x20_2000 + most, 0x60_0000_0000 + most, 0x1000),
            ]
        );
        Ok(())
    }
}
