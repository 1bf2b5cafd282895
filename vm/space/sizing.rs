// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The room that changes of an address space take in an update, computed before they are made.
//!
//! The C driver has `amdgpu_vm_sdma_set_ptes` get memory in the middle of a change, and needs no
//! such thing.

use core::ops::Range;

use super::{
    Entries,
    Mapping,
    Space, //
};
use crate::{
    mem::{
        Backing,
        BoId, //
    },
    vm::{
        backing,
        update::Room, //
    }, //
};

impl<B, T> Space<B, T> {
    /// Returns the room for clearing the first `most` mappings in `pages`, and the page from which
    /// on there may be more.
    pub(in crate::vm) fn room_to_clear(
        &self,
        pages: Range<u64>,
        most: usize,
    ) -> (Room, Option<u64>) {
        let format = self.tables.format();
        let mut room = Room::default();
        let mut next = pages.start;
        for _ in 0..most {
            let Some(mapping) = self.mappings.first_in(next..pages.end) else {
                return (room, None);
            };
            next = mapping.pages().end;
            room = room + Room::to_clear(format, mapping.pages());
        }
        (room, Some(next))
    }

    /// Returns the room that [`Space::map`] takes for a mapping, which may cut another of its BO.
    pub(in crate::vm) fn room_to_map(
        &self,
        mapping: &Mapping,
        backing: Option<Backing<'_>>,
    ) -> Room {
        let format = self.tables.format();
        let others = match self.bos.get(&mapping.bo).map(|va| va.state.entries()) {
            Some(Entries::Clear | Entries::Holes) => self.room_to_write(mapping.bo, backing),
            _ => return backing::room(format, mapping, backing),
        };
        backing::room(format, mapping, backing) + others + Room::to_cut(format)
    }

    /// Returns the room that [`Space::update`] takes for a job that names the BOs `named`, with the
    /// same `find`.
    pub(in crate::vm) fn room_to_update(
        &self,
        named: impl Iterator<Item = BoId>,
        mut find: impl FnMut(&B, &mut dyn FnMut(Backing<'_>)),
    ) -> Room {
        Iterator::chain(self.waiting(named), self.pending.due())
            .map(|bo| self.room_to_update_bo(bo, &mut find))
            .sum()
    }

    fn room_to_update_bo(
        &self,
        bo: BoId,
        find: &mut impl FnMut(&B, &mut dyn FnMut(Backing<'_>)),
    ) -> Room {
        let Some(va) = self.bos.get(&bo) else {
            return Room::default();
        };
        let mut room = None;
        find(&va.bo, &mut |backing| {
            room = Some(self.room_to_write(bo, Some(backing)));
        });
        match room {
            Some(room) => room,
            None if va.state.entries() == Entries::Stale => self.room_to_clear_bo(bo),
            None => Room::default(),
        }
    }

    /// Returns those of the BOs `named` that wait for a job that names them.
    fn waiting<'a>(
        &'a self,
        named: impl Iterator<Item = BoId> + 'a,
    ) -> impl Iterator<Item = BoId> + 'a {
        let named = self.has_waiting().then_some(named).into_iter().flatten();
        named.filter(|bo| self.is_waiting(*bo))
    }

    fn room_to_clear_bo(&self, bo: BoId) -> Room {
        let format = self.tables.format();
        let mappings = self.mappings.of(bo);
        mappings.map(|m| Room::to_clear(format, m.pages())).sum()
    }

    fn room_to_write(&self, bo: BoId, backing: Option<Backing<'_>>) -> Room {
        let format = self.tables.format();
        self.mappings
            .of(bo)
            .map(|m| backing::room(format, &m, backing))
            .sum()
    }
}
