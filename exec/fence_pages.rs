// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Pages of the GART window through which the jobs of a ring write their user fences.
//!
//! A user fence in system memory is written in the kernel's own address space, so its page has to
//! be in the GART window until the job has ended. The C driver binds the BO there for as long as it
//! is in use (`amdgpu_ttm_alloc_gart`), and so the window, which all clients share, may run out.
//! Here a page is shown when its job goes onto the ring. There are few jobs on a ring, so a few
//! pages, used in turn, are enough; nothing is taken for jobs that are queued.
//!
//! # Invariants
//!
//! There is one page more than a ring has unfinished jobs, and each is used in turn. Jobs of a
//! ring end in order: when a page is used again, the job that it was for has ended.
//!
//! # Lock order
//!
//! `FencePage::turn`, then the lock of the GART. Nothing is allocated under them: a job goes onto
//! its ring on the way to the signal of a fence.

use kernel::{
    dma::DmaAddress,
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

use super::gart::{
    Gart,
    GartRange,
    GartRun, //
};
use crate::hw::page_table::{
    Access,
    Snoop, //
};

/// The pages of a ring.
pub(crate) struct FencePages {
    pages: KVec<Pin<KBox<FencePage>>>,
    /// Number of pages shown so far.
    turns: Atomic<u64>,
}

/// A page of the GART window.
#[pin_data]
struct FencePage {
    place: GartRange,
    /// Value of `turns` at its last use.
    #[pin]
    turn: Mutex<u64>,
}

impl FencePages {
    /// Creates pages that show nothing, for a ring with at most `jobs` unfinished jobs.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the GART has no room; `ENOMEM`.
    pub(crate) fn new(gart: &Gart, jobs: u32) -> Result<Arc<Self>> {
        let count = u32_as_usize(jobs) + 1;
        let mut pages = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let place = gart.reserve_to_show(1)?;
            let page = pin_init!(FencePage {
                place,
                turn <- new_mutex!(0, "FencePage::turn"),
            });
            pages.push(KBox::pin_init(page, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let turns = Atomic::new(0);
        Ok(Arc::new(Self { pages, turns }, GFP_KERNEL)?)
    }

    /// Shows a page of system memory to the job that goes onto the ring next. Called by the ring's
    /// scheduler only, so not twice at a time.
    pub(crate) fn show(self: &Arc<Self>, page: DmaAddress) -> ShownPage {
        let turn = self.turns.fetch_add(1, Relaxed) + 1;
        let shown = ShownPage {
            pages: self.clone(),
            turn,
        };
        if let Some(shown_at) = self.page(turn) {
            *shown_at.turn.lock() = turn;
            // Fails only if the card is gone, and then no engine reads the page.
            let _ = shown_at.place.show(GartRun {
                start: page,
                count: 1,
                access: Access::READ_WRITE,
                // Right for memory that the CPU writes past its caches as well.
                snoop: Snoop::Yes,
            });
        }
        shown
    }

    fn page(&self, turn: u64) -> Option<&FencePage> {
        let count = u64::try_from(self.pages.len()).ok()?;
        // CAST: The remainder is smaller than the number of pages, a `usize`.
        let index = turn.checked_rem(count)? as usize;
        self.pages.get(index).map(|page| &**page)
    }
}

/// A page that a job sees; hidden on drop, unless a later job has its place.
pub(crate) struct ShownPage {
    pages: Arc<FencePages>,
    turn: u64,
}

impl ShownPage {
    /// Returns the address of the page in the GPU's own address space (context 0).
    pub(crate) fn gpu_addr(&self) -> Option<u64> {
        Some(self.pages.page(self.turn)?.place.gpu_addr())
    }
}

impl Drop for ShownPage {
    fn drop(&mut self) {
        let Some(page) = self.pages.page(self.turn) else {
            return;
        };
        let turn = page.turn.lock();
        if *turn == self.turn {
            let _ = page.place.show(GartRun::NOTHING);
        }
    }
}
