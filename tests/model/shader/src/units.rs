// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Compute units: which of them the groups of a dispatch may go to, and how many of them at once.
//!
//! COMPUTE_STATIC_THREAD_MGMT_SE0 to 3 have a bit for each unit of an engine: of its first array in
//! bits 15:0, of its second in 31:16. COMPUTE_RESOURCE_LIMITS bounds waves of an array
//! (WAVES_PER_SH) and groups of a unit (TG_PER_CU); 0 is no bound. Its other fields choose among
//! SIMDs and between arrays, which the seed does here.

use crate::rng::Rng;

/// Shader engines.
pub const ENGINES: usize = 4;
/// Units that an array has a bit for.
const ARRAY: usize = 16;
/// Arrays of all engines.
const ARRAYS: usize = 2 * ENGINES;
/// Most waves that a unit holds.
pub const WAVES: u32 = 40;

/// A compute unit: of the engine in bits 6:5, its array in 4, its number there in 3:0.
pub type Unit = u8;

/// The units that a dispatch may use, and what runs on them.
#[derive(Clone, Debug)]
pub struct Units {
    units: Vec<Unit>,
    /// Most waves of an array, most groups of a unit.
    most: (u32, u32),
    /// Waves and groups of each unit.
    loads: [(u32, u32); ARRAYS * ARRAY],
}

impl Units {
    /// Those of the units that are there that masks allow, with the limits of
    /// COMPUTE_RESOURCE_LIMITS.
    pub fn new(there: [u32; ENGINES], allowed: [u32; ENGINES], limits: u32) -> Units {
        let has = |n: &usize| (there[n / 32] & allowed[n / 32]) >> (n % 32) & 1 != 0;
        let units = (0..ARRAYS * ARRAY).filter(has).map(|n| n as Unit).collect();
        let bound = |field: u32| if field == 0 { u32::MAX } else { field };
        let most = (bound(limits & 0x3ff), bound(limits >> 12 & 0xf));
        Units { units, most, loads: [(0, 0); ARRAYS * ARRAY] }
    }

    /// Places a group of so many waves on a unit that has room. The seed decides which.
    pub fn place(&mut self, waves: u32, rng: &mut Rng) -> Option<Unit> {
        let count = self.units.len();
        let first = rng.below(count);
        let unit = (0..count)
            .map(|n| self.units[(first + n) % count])
            .find(|unit| self.has_room(usize::from(*unit), waves))?;
        let load = &mut self.loads[usize::from(unit)];
        *load = (load.0 + waves, load.1 + 1);
        Some(unit)
    }

    fn has_room(&self, unit: usize, waves: u32) -> bool {
        let (here, groups) = self.loads[unit];
        let array = &self.loads[unit / ARRAY * ARRAY..][..ARRAY];
        let of_array: u32 = array.iter().map(|(waves, _)| waves).sum();
        here + waves <= WAVES && of_array + waves <= self.most.0 && groups < self.most.1
    }

    /// Takes a group of so many waves off its unit.
    pub fn release(&mut self, unit: Unit, waves: u32) {
        let load = &mut self.loads[usize::from(unit)];
        *load = (load.0 - waves, load.1 - 1);
    }
}

/// What a program reads of a wave in HW_ID: engine, array, unit.
pub fn hardware_id(unit: Unit) -> u32 {
    let unit = u32::from(unit);
    (unit & 15) << 8 | (unit >> 4 & 1) << 12 | unit >> 5 << 13
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: [u32; ENGINES] = [0x7f, 0x7f, 0, 0];

    fn placed(units: &mut Units, waves: u32) -> Vec<Unit> {
        let mut rng = Rng::new(7);
        let mut units: Vec<_> = (0..1000).map_while(|_| units.place(waves, &mut rng)).collect();
        units.sort_unstable();
        units
    }

    #[test]
    fn groups_go_where_masks_allow() {
        let mut units = Units::new(THERE, [1 << 2 | 1 << 9, 1 << 16 | 1 << 6, !0, !0], 0);
        assert_eq!(placed(&mut units, 40), [2, 32 + 6], "units that are not there are not used");
        assert_eq!(placed(&mut Units::new(THERE, [0, 0, !0, !0], 0), 1), []);
    }

    #[test]
    fn limits_bound_groups_of_a_unit_and_waves_of_an_array() {
        let all = [!0; ENGINES];
        assert_eq!(placed(&mut Units::new(THERE, all, 0), 40).len(), 14);
        assert_eq!(placed(&mut Units::new(THERE, all, 2 << 12), 1).len(), 28);
        assert_eq!(placed(&mut Units::new(THERE, all, 5), 2).len(), 4, "two of each array");
        assert_eq!(placed(&mut Units::new(THERE, all, 1), 2), []);
    }

    #[test]
    fn a_unit_that_was_released_has_room() {
        let mut units = Units::new(THERE, [1, 0, 0, 0], 1 << 12);
        let mut rng = Rng::new(7);
        for _ in 0..3 {
            assert_eq!(units.place(4, &mut rng), Some(0));
            assert_eq!(units.place(4, &mut rng), None);
            units.release(0, 4);
        }
    }
}
