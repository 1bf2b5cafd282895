// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The mappings of a GPU address space (`amdgpu_bo_va_mapping` in the C driver): a set of ranges
//! that never overlap, found by address and by buffer object (BO).
//!
//! The set changes under a lock below which nothing may allocate (reclaim may take it, see vm.rs).
//! The caller therefore passes in the memory for a change as [`Spare`], allocated before taking the
//! lock.

use core::ops::Range;

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
};

/// A range of pages of the address space, and the part of a BO that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping<K, A> {
    /// The first page, and the number of pages; never 0.
    pub(crate) page: u64,
    pub(crate) count: u64,
    /// The BO, and the page of the BO that the first page shows.
    pub(crate) bo: K,
    pub(crate) bo_page: u64,
    /// The access that jobs have there.
    pub(crate) access: A,
}

impl<K: Copy, A: Copy> Mapping<K, A> {
    /// Returns the pages of the address space that are mapped.
    pub(super) fn pages(&self) -> Range<u64> {
        self.page..self.page + self.count
    }

    fn last(&self) -> u64 {
        self.page + self.count - 1
    }

    /// Returns the part of the mapping that lies in `pages`, if any.
    fn part(&self, pages: Range<u64>) -> Option<Self> {
        let start = self.page.max(pages.start);
        let end = (self.page + self.count).min(pages.end);

        (start < end).then(|| Self {
            page: start,
            count: end - start,
            bo_page: self.bo_page + (start - self.page),
            ..*self
        })
    }
}

/// Preallocated memory for mappings. A change needs at most three slots: two to begin with, and
/// that of a mapping that it cuts.
pub(super) struct Spare<K, A>([Option<NodePair<K, A>>; 3]);

struct NodePair<K, A> {
    by_va: RBTreeNodeReservation<u64, Mapping<K, A>>,
    by_bo: RBTreeNodeReservation<(K, u64), ()>,
}

impl<K, A> Spare<K, A> {
    /// Returns no slots: enough to remove whole mappings.
    pub(super) fn none() -> Self {
        Self([None, None, None])
    }

    /// Allocates enough for any one change: a new mapping, and one more piece if it cuts a mapping
    /// in two.
    pub(super) fn new() -> Result<Self> {
        Ok(Self([Some(Self::slot()?), Some(Self::slot()?), None]))
    }

    fn slot() -> Result<NodePair<K, A>> {
        Ok(NodePair {
            by_va: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
            by_bo: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
        })
    }

    fn take(&mut self) -> Option<NodePair<K, A>> {
        self.0.iter_mut().find_map(Option::take)
    }

    /// Keeps the memory of a removed mapping, if there is room.
    fn put(&mut self, slot: NodePair<K, A>) {
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(slot);
        }
    }
}

/// The mappings of an address space.
///
/// # Invariants
///
/// No two mappings overlap. Each mapping is in `by_va` under its last page, and its BO and last
/// page are in `by_bo`. Nothing else is in either.
pub(super) struct Mappings<K, A> {
    by_va: RBTree<u64, Mapping<K, A>>,
    by_bo: RBTree<(K, u64), ()>,
}

impl<K: Copy + Ord, A: Copy> Mappings<K, A> {
    pub(super) fn new() -> Self {
        Self {
            by_va: RBTree::new(),
            by_bo: RBTree::new(),
        }
    }

    /// Returns the first mapping that has a page in `pages`.
    pub(super) fn first_in(&self, pages: Range<u64>) -> Option<Mapping<K, A>> {
        // By the order of the tree this is the first mapping that does not end before `pages`.
        let cursor = self.by_va.cursor_lower_bound(&pages.start)?;
        let (_, mapping) = cursor.current();

        (mapping.page < pages.end && !pages.is_empty()).then_some(*mapping)
    }

    /// Returns the mapping that starts at `page`.
    pub(super) fn starting_at(&self, page: u64) -> Option<Mapping<K, A>> {
        self.first_in(page..page + 1)
            .filter(|mapping| mapping.page == page)
    }

    /// Returns the mappings of `bo`, by address.
    pub(super) fn of(&self, bo: K) -> impl Iterator<Item = Mapping<K, A>> + '_ {
        self.of_from(bo, 0)
    }

    /// Returns the mappings of `bo` that do not end before `page`, by address.
    pub(super) fn of_from(&self, bo: K, page: u64) -> impl Iterator<Item = Mapping<K, A>> + '_ {
        let mut next = page;

        core::iter::from_fn(move || {
            let cursor = self.by_bo.cursor_lower_bound(&(bo, next))?;
            let &(owner, last) = cursor.current().0;
            if owner != bo {
                return None;
            }
            next = last + 1;
            self.by_va.get(&last).copied()
        })
    }

    /// Adds a mapping, or returns it as the error if it overlaps another.
    pub(super) fn insert(
        &mut self,
        mapping: Mapping<K, A>,
        spare: &mut Spare<K, A>,
    ) -> Result<(), Mapping<K, A>> {
        if self.first_in(mapping.pages()).is_some() {
            return Err(mapping);
        }
        let slot = spare.take().ok_or(mapping)?;

        // INVARIANT: It overlaps nothing, and goes into both trees.
        self.by_bo
            .insert(slot.by_bo.into_node((mapping.bo, mapping.last()), ()));
        self.by_va
            .insert(slot.by_va.into_node(mapping.last(), mapping));
        Ok(())
    }

    /// Removes from `pages` the part covered by the first mapping in it, and leaves the rest of
    /// that mapping in place. Returns the removed part, or `None` once nothing is left in `pages`.
    pub(super) fn carve_next(
        &mut self,
        pages: Range<u64>,
        spare: &mut Spare<K, A>,
    ) -> Option<Mapping<K, A>> {
        let mapping = self.first_in(pages.clone())?;

        self.remove(&mapping, spare);
        for rest in [0..pages.start, pages.end..u64::MAX] {
            if let Some(rest) = mapping.part(rest) {
                // Only one mapping can leave two pieces. Its own slot was just freed, and `spare`
                // has one for the other piece.
                let _ = self.insert(rest, spare);
            }
        }
        mapping.part(pages)
    }

    fn remove(&mut self, mapping: &Mapping<K, A>, spare: &mut Spare<K, A>) {
        // INVARIANT: It leaves both trees.
        let by_va = self.by_va.remove_node(&mapping.last());
        let by_bo = self.by_bo.remove_node(&(mapping.bo, mapping.last()));

        if let (Some(by_va), Some(by_bo)) = (by_va, by_bo) {
            spare.put(NodePair {
                by_va: by_va.into_reservation(),
                by_bo: by_bo.into_reservation(),
            });
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vm_mapping)]
mod tests {
    use super::*;

    type Map = Mappings<u32, ()>;

    fn mapping(page: u64, count: u64, bo: u32, bo_page: u64) -> Mapping<u32, ()> {
        Mapping {
            page,
            count,
            bo,
            bo_page,
            access: (),
        }
    }

    fn add(map: &mut Map, new: Mapping<u32, ()>) -> Result {
        map.insert(new, &mut Spare::new()?).map_err(|_| EINVAL)
    }

    /// Carves, and checks the removed parts: (page, count, bo, bo_page).
    fn carve(map: &mut Map, pages: Range<u64>, expected: &[(u64, u64, u32, u64)]) -> Result {
        let mut spare = Spare::new()?;
        let mut n = 0;
        let mut same = true;
        while let Some(part) = map.carve_next(pages.clone(), &mut spare) {
            same &= expected.get(n) == Some(&(part.page, part.count, part.bo, part.bo_page));
            n += 1;
        }
        if same && n == expected.len() {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    #[test]
    fn finds_by_page() -> Result {
        let mut map = Map::new();
        assert!(map.first_in(0..u64::MAX).is_none());
        add(&mut map, mapping(16, 4, 1, 0))?;
        add(&mut map, mapping(20, 1, 2, 7))?;

        assert!(map.first_in(0..16).is_none());
        assert!(map.first_in(21..100).is_none());
        assert!(map.first_in(17..17).is_none());
        assert_eq!(map.first_in(0..17), Some(mapping(16, 4, 1, 0)));
        assert_eq!(map.first_in(19..21), Some(mapping(16, 4, 1, 0)));
        assert_eq!(map.first_in(20..100), Some(mapping(20, 1, 2, 7)));
        assert_eq!(map.starting_at(16), Some(mapping(16, 4, 1, 0)));
        assert_eq!(map.starting_at(20), Some(mapping(20, 1, 2, 7)));
        assert!(map.starting_at(17).is_none());
        assert!(map.starting_at(21).is_none());
        Ok(())
    }

    #[test]
    fn refuses_overlap() -> Result {
        let mut map = Map::new();
        add(&mut map, mapping(16, 4, 1, 0))?;
        for (page, count) in [(16, 4), (15, 2), (19, 1), (19, 9), (17, 1), (0, 100)] {
            assert!(add(&mut map, mapping(page, count, 2, 0)).is_err());
        }
        add(&mut map, mapping(15, 1, 2, 0))?;
        add(&mut map, mapping(20, 1, 2, 0))?;
        Ok(())
    }

    #[test]
    fn finds_by_bo() -> Result {
        let mut map = Map::new();
        for (page, bo) in [(40, 2), (10, 2), (20, 1), (30, 3)] {
            add(&mut map, mapping(page, 5, bo, page))?;
        }
        let mut of_two = map.of(2);
        assert_eq!(of_two.next(), Some(mapping(10, 5, 2, 10)));
        assert_eq!(of_two.next(), Some(mapping(40, 5, 2, 40)));
        assert_eq!(of_two.next(), None);
        drop(of_two);
        assert_eq!(map.of(0).next(), None);
        assert_eq!(map.of(4).next(), None);
        assert_eq!(map.of(3).count(), 1);
        assert_eq!(map.of_from(2, 15).next(), Some(mapping(40, 5, 2, 40)));
        assert_eq!(map.of_from(2, 45).next(), None);
        Ok(())
    }

    #[test]
    fn cuts_a_mapping_in_two() -> Result {
        let mut map = Map::new();
        add(&mut map, mapping(100, 50, 1, 1000))?;
        carve(&mut map, 110..120, &[(110, 10, 1, 1010)])?;
        assert_eq!(map.starting_at(100), Some(mapping(100, 10, 1, 1000)));
        assert_eq!(map.starting_at(120), Some(mapping(120, 30, 1, 1020)));
        assert_eq!(map.of(1).count(), 2);
        carve(&mut map, 110..120, &[])?;
        Ok(())
    }

    #[test]
    fn trims_at_either_end() -> Result {
        let mut map = Map::new();
        add(&mut map, mapping(100, 50, 1, 0))?;
        carve(&mut map, 50..110, &[(100, 10, 1, 0)])?;
        carve(&mut map, 140..200, &[(140, 10, 1, 40)])?;
        assert_eq!(map.first_in(0..1000), Some(mapping(110, 30, 1, 10)));
        assert_eq!(map.of(1).count(), 1);
        carve(&mut map, 110..140, &[(110, 30, 1, 10)])?;
        assert!(map.first_in(0..1000).is_none());
        assert_eq!(map.of(1).count(), 0);
        Ok(())
    }

    #[test]
    fn carves_through_many() -> Result {
        let mut map = Map::new();
        for n in 0..8 {
            add(&mut map, mapping(n * 10, 10, 1, n * 10))?;
        }
        carve(
            &mut map,
            15..42,
            &[
                (15, 5, 1, 15),
                (20, 10, 1, 20),
                (30, 10, 1, 30),
                (40, 2, 1, 40),
            ],
        )?;
        assert_eq!(map.first_in(11..100), Some(mapping(10, 5, 1, 10)));
        assert_eq!(map.first_in(15..100), Some(mapping(42, 8, 1, 42)));
        assert_eq!(map.of(1).count(), 6);
        add(&mut map, mapping(15, 27, 2, 0))?;
        Ok(())
    }

    #[test]
    fn spare_is_enough_to_replace_the_middle() -> Result {
        let mut map = Map::new();
        add(&mut map, mapping(0, 100, 1, 0))?;
        let mut spare = Spare::new()?;
        assert!(map.carve_next(40..60, &mut spare).is_some());
        assert!(map.carve_next(40..60, &mut spare).is_none());
        assert!(map.insert(mapping(40, 20, 2, 0), &mut spare).is_ok());
        assert_eq!(map.of(1).count(), 2);
        assert_eq!(map.of(2).count(), 1);
        Ok(())
    }
}
