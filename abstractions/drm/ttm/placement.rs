// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Places where buffer objects may lie.
//!
//! C header: [`include/drm/ttm/ttm_placement.h`](srctree/include/drm/ttm/ttm_placement.h)

use crate::bindings;
use core::ops::Range;

/// A kind of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemType(u32);

impl MemType {
    /// Number of kinds of memory.
    pub(crate) const COUNT: usize = bindings::TTM_NUM_MEM_TYPES as usize;
    /// System memory that the device cannot access. Every device has it.
    pub(crate) const SYSTEM: Self = Self(bindings::TTM_PL_SYSTEM);
    /// System memory that the device accesses through its translation tables (amdgpu: GTT).
    pub(crate) const TT: Self = Self(bindings::TTM_PL_TT);
    /// The device's own memory.
    pub(crate) const VRAM: Self = Self(bindings::TTM_PL_VRAM);

    /// Returns the `n`th kind whose meaning the driver defines.
    ///
    /// # Panics
    ///
    /// If there are fewer kinds; at build time where `n` is a constant.
    pub(crate) const fn private(n: u32) -> Self {
        let index = bindings::TTM_PL_PRIV + n;
        assert!(index < bindings::TTM_NUM_MEM_TYPES);
        Self(index)
    }

    /// Converts the number that TTM uses.
    pub(super) fn from_raw(index: u32) -> Self {
        Self(index)
    }

    /// Returns the index in an array of [`MemType::COUNT`] elements.
    pub(super) fn index(self) -> usize {
        // CAST: It is below `COUNT`.
        self.0 as usize
    }
}

/// A place in memory: a kind of memory, and optional limits within it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Place(bindings::ttm_place);

impl Place {
    /// Allows any place in a kind of memory.
    pub(crate) const fn new(mem_type: MemType) -> Self {
        Self(bindings::ttm_place {
            fpfn: 0,
            lpfn: 0,
            mem_type: mem_type.0,
            flags: 0,
        })
    }

    /// Restricts the place to these pages. An end of 0 is the end of the memory.
    #[must_use]
    pub(crate) const fn within(mut self, pages: Range<u64>) -> Self {
        self.0.fpfn = pages.start;
        self.0.lpfn = pages.end;
        self
    }

    /// Requires one contiguous piece.
    #[must_use]
    pub(crate) const fn contiguous(self) -> Self {
        self.with(bindings::TTM_PL_FLAG_CONTIGUOUS)
    }

    /// Prefers the end of the memory to the beginning.
    #[must_use]
    pub(crate) const fn top_down(self) -> Self {
        self.with(bindings::TTM_PL_FLAG_TOPDOWN)
    }

    /// Uses the place only if there is room without evicting others.
    #[must_use]
    pub(crate) const fn desired(self) -> Self {
        self.with(bindings::TTM_PL_FLAG_DESIRED)
    }

    /// Uses the place only if there is no room in the places without this flag. Others are evicted
    /// for it.
    #[must_use]
    pub(crate) const fn fallback(self) -> Self {
        self.with(bindings::TTM_PL_FLAG_FALLBACK)
    }

    /// Marks the place as a stop on the way to another.
    #[must_use]
    pub(crate) const fn temporary(self) -> Self {
        self.with(bindings::TTM_PL_FLAG_TEMPORARY)
    }

    const fn with(mut self, flag: u32) -> Self {
        self.0.flags |= flag;
        self
    }

    /// Returns the kind of memory.
    #[cfg_attr(
        not(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST),
        expect(dead_code, reason = "used by tests only")
    )]
    pub(crate) fn mem_type(&self) -> MemType {
        MemType(self.0.mem_type)
    }

    /// Returns the first page and the end page, which is 0 for the end of the memory.
    pub(crate) fn pages(&self) -> Range<u64> {
        self.0.fpfn..self.0.lpfn
    }

    /// Returns true if the place must be contiguous.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.0.flags & bindings::TTM_PL_FLAG_CONTIGUOUS != 0
    }

    /// Returns true if the place should be near the end of the memory.
    pub(crate) fn is_top_down(&self) -> bool {
        self.0.flags & bindings::TTM_PL_FLAG_TOPDOWN != 0
    }

    /// Borrows a place from C code.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *const bindings::ttm_place) -> &'a Self {
        // SAFETY: By the safety requirements; the layouts are the same as `Place` is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C form.
    pub(super) fn to_raw(self) -> bindings::ttm_place {
        self.0
    }
}

/// Places in the order in which they are tried.
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    places: [Place; Self::MAX],
    len: usize,
}

impl Placement {
    /// Largest number of places.
    pub(crate) const MAX: usize = 4;

    /// No place: the contents of the object may be discarded.
    pub(crate) const NOWHERE: Self = Self::new(&[]);

    /// Makes a placement of these places.
    ///
    /// # Panics
    ///
    /// If there are more than [`Placement::MAX`].
    pub(crate) const fn new(places: &[Place]) -> Self {
        assert!(places.len() <= Self::MAX);
        let mut this = Self {
            places: [Place::new(MemType::SYSTEM); Self::MAX],
            len: places.len(),
        };
        let mut i = 0;
        while i < places.len() {
            this.places[i] = places[i];
            i += 1;
        }
        this
    }

    /// Returns the places.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places[..self.len]
    }

    /// Returns the C form, which is valid while `self` stays at its address.
    pub(super) fn as_raw(&self) -> bindings::ttm_placement {
        bindings::ttm_placement {
            // CAST: At most `MAX`.
            num_placement: self.len as u32,
            // CAST: `Place` is a transparent wrapper.
            placement: self.places.as_ptr().cast(),
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_ttm_placement)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_distinct() {
        let kinds = [
            MemType::SYSTEM,
            MemType::TT,
            MemType::VRAM,
            MemType::private(0),
            MemType::private(5),
        ];
        for (i, kind) in kinds.iter().enumerate() {
            assert!(kind.index() < MemType::COUNT);
            assert!(kinds[..i].iter().all(|other| other != kind));
        }
        assert_eq!(MemType::private(5).index(), MemType::COUNT - 1);
    }

    #[test]
    fn place_keeps_what_it_was_told() {
        let plain = Place::new(MemType::VRAM);
        assert_eq!(plain.pages(), 0..0);
        assert!(!plain.is_contiguous() && !plain.is_top_down());

        let place = plain.within(3..17).contiguous().top_down();
        assert_eq!(place.mem_type(), MemType::VRAM);
        assert_eq!(place.pages(), 3..17);
        assert!(place.is_contiguous() && place.is_top_down());
    }

    #[test]
    fn placement_gives_c_its_places_in_order() {
        let placement = Placement::new(&[
            Place::new(MemType::VRAM).desired(),
            Place::new(MemType::TT).fallback(),
        ]);
        assert_eq!(placement.places().len(), 2);

        let raw = placement.as_raw();
        assert_eq!(raw.num_placement, 2);
        // SAFETY: `placement` is alive and has two places.
        let (first, second) = unsafe {
            (
                Place::from_raw(raw.placement),
                Place::from_raw(raw.placement.add(1)),
            )
        };
        assert_eq!(first.mem_type(), MemType::VRAM);
        assert_eq!(second.mem_type(), MemType::TT);
        assert_ne!(first.to_raw().flags, second.to_raw().flags);

        assert_eq!(Placement::NOWHERE.as_raw().num_placement, 0);
        assert_eq!(
            Placement::new(&[Place::new(MemType::SYSTEM); Placement::MAX])
                .places()
                .len(),
            Placement::MAX
        );
    }
}
