// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Allocates parts of the on-chip memories: the global data share and its like (`hw/on_chip.rs`;
//! the C driver's `amdgpu_ttm_init_on_chip`, with TTM's range manager).
//!
//! To TTM, each unit is a page. A BO in one of these domains lies nowhere until a submission names
//! it. Then it has a part of the memory until the part is taken for another BO: what is in it is
//! lost, as with the C driver, and whoever takes it waits for the jobs that use it. The C driver
//! leaves the bytes of the data share for the next user to read; here a compute queue clears them
//! first. The counters of the other two are cleared by neither.

use kernel::{
    bitmap::BitmapVec,
    new_spinlock,
    num::casts::u32_as_usize,
    prelude::*,
    sync::SpinLock, //
};

use super::Ttm;
use crate::{
    abstractions::drm::ttm::{
        self,
        MemType,
        ResourceManager,
        ResourceRequest, //
    },
    hw::{
        on_chip::{
            OnChip,
            OnChipKind,
            OnChipRange, //
        },
        page_table::PAGE_SHIFT, //
    }, //
};

/// The kinds of on-chip memory, as TTM knows them.
pub(super) trait OnChipExt {
    /// Returns TTM's number of the kind.
    fn mem_type(self) -> MemType;
}

impl OnChipExt for OnChipKind {
    fn mem_type(self) -> MemType {
        match self {
            Self::Gds => const { MemType::private(0) },
            Self::Gws => const { MemType::private(1) },
            Self::Oa => const { MemType::private(2) },
        }
    }
}

/// Gives a BO its part, or takes it away. What was in it is lost. Jobs that name the BO wait until
/// its part of the global data share has been filled with zeros; counters have to be set by who
/// uses them.
///
/// # Errors
///
/// `ENOMEM`, `ENODEV`.
pub(super) fn move_(mv: ttm::Move<'_, Ttm>) -> Result<ttm::Moved> {
    let new = mv.new_place();
    let is_gds = new.mem_type() == OnChipKind::Gds.mem_type();
    let Some(&range) = new.allocation::<OnChipMemory>().filter(|_| is_gds) else {
        return mv.in_place();
    };
    let dev = mv.buffer().drm();
    let _section = dev.enter().ok_or(ENODEV)?;
    let fence = dev.kernel_queue.clear_gds(range, mv.held())?;
    mv.prepared(&fence)
}

/// The manager of one kind of on-chip memory.
#[pin_data]
pub(super) struct OnChipMemory {
    granule: u32,
    #[pin]
    granules: SpinLock<Granules>,
}

impl OnChipMemory {
    /// Creates a manager for all memory of a kind.
    pub(super) fn new(kind: OnChipKind, there_is: &OnChip) -> impl PinInit<Self, Error> {
        let granule = kind.granule();
        let count = there_is.get(kind).count / granule;

        try_pin_init!(Self {
            granule,
            granules <- {
                let granules = Granules::new(count)?;
                new_spinlock!(granules, "OnChipMemory::granules")
            },
        })
    }

    /// Returns a number of units as a number of granules, rounded up.
    fn granules_of(&self, units: u64) -> Result<u32> {
        u32::try_from(units.div_ceil(u64::from(self.granule))).map_err(|_| ENOSPC)
    }
}

impl ResourceManager for OnChipMemory {
    type Allocation = OnChipRange;

    const USES_TT: bool = false;

    fn alloc(&self, request: ResourceRequest<'_>) -> Result<(OnChipRange, u64)> {
        // LOSSLESS: `usize` has 64 bits.
        let count = self.granules_of(request.size as u64 >> PAGE_SHIFT)?;
        let align = self.granules_of(request.align_pages.into())?.max(1);
        let first = self.granules.lock().take(count, align).ok_or(ENOSPC)?;
        let range = OnChipRange {
            first: first * self.granule,
            count: count * self.granule,
        };
        Ok((range, range.first.into()))
    }

    fn free(&self, range: &OnChipRange) {
        let (first, count) = (range.first / self.granule, range.count / self.granule);
        self.granules.lock().give_back(first, count);
    }
}

/// Granules, one bit each: set if the granule is taken.
struct Granules(BitmapVec);

impl Granules {
    fn new(count: u32) -> Result<Self> {
        Ok(Self(BitmapVec::new(u32_as_usize(count), GFP_KERNEL)?))
    }

    /// Takes the first `count` free granules in a row that start at a multiple of `align`. Returns
    /// the first of them.
    fn take(&mut self, count: u32, align: u32) -> Option<u32> {
        let (count, align) = (u32_as_usize(count), u32_as_usize(align));
        let last = self.0.len().checked_sub(count)?;
        let mut first = 0;
        while first <= last {
            let taken = self.0.next_bit(first).filter(|n| *n < first + count);
            match taken {
                None => {
                    (first..first + count).for_each(|n| self.0.set_bit(n));
                    return u32::try_from(first).ok();
                }
                Some(granule) => first = (granule + 1).checked_next_multiple_of(align)?,
            }
        }
        None
    }

    /// Gives back what was taken.
    fn give_back(&mut self, first: u32, count: u32) {
        let first = u32_as_usize(first);
        (first..first + u32_as_usize(count)).for_each(|n| self.0.clear_bit(n));
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_on_chip_memory)]
mod tests {
    use super::*;

    #[test]
    fn granules_are_taken_once() -> Result {
        let mut granules = Granules::new(100)?;
        assert_eq!(granules.take(101, 1), None);
        assert_eq!(granules.take(60, 1), Some(0));
        assert_eq!(granules.take(10, 1), Some(60));
        // Not the rest of the last word, which there is not.
        assert_eq!(granules.take(31, 1), None);
        assert_eq!(granules.take(8, 32), None);
        assert_eq!(granules.take(4, 32), Some(96));
        granules.give_back(0, 60);
        assert_eq!(granules.take(8, 32), Some(0));
        assert_eq!(granules.take(8, 32), Some(32));
        assert_eq!(granules.take(9, 1), Some(8));
        assert_eq!(granules.take(24, 1), Some(70));
        assert_eq!(granules.take(1, u32::MAX), None);
        assert_eq!(granules.take(20, 1), Some(40));
        Ok(())
    }

    #[test]
    fn kinds_have_places_of_their_own() {
        let [gds, gws, oa] = OnChipKind::ALL.map(OnChipExt::mem_type);
        assert!(gds != gws && gws != oa && oa != gds);
    }

    #[test]
    fn requests_are_in_units() -> Result {
        use crate::abstractions::drm::ttm::Place;

        let there_is = OnChip::NONE.with(
            OnChipKind::Gds,
            OnChipRange {
                first: 0,
                count: 64,
            },
        );
        let memory = KBox::pin_init(OnChipMemory::new(OnChipKind::Gds, &there_is), GFP_KERNEL)?;
        let ask = |units: usize, align_pages| {
            memory.alloc(ResourceRequest {
                size: units << PAGE_SHIFT,
                align_pages,
                place: &Place::new(OnChipKind::Gds.mem_type()),
            })
        };
        let range = |first, count| OnChipRange { first, count };
        assert_eq!(ask(4, 0)?, (range(0, 4), 0));
        assert_eq!(ask(8, 16)?, (range(16, 8), 16));
        assert_eq!(ask(44, 0), Err(ENOSPC));
        assert_eq!(ask(40, 0)?, (range(24, 40), 24));
        memory.free(&range(0, 4));
        assert_eq!(ask(16, 0)?, (range(0, 16), 0));
        assert_eq!(ask(usize::MAX >> PAGE_SHIFT, 0), Err(ENOSPC));
        Ok(())
    }
}
