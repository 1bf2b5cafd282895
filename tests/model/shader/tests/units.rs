// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Groups go to the compute units that the registers of the launch allow, and no more of them at
//! once.

mod common;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use amdgpu_shader::{
    dispatch::Progress,
    memory::{
        Access,
        Flat,
        Memory,
        Path,
        Place, //
    },
    stop::Stop, //
};
use common::{
    PROGRAM,
    Setup, //
};

const DATA: u64 = 0x20_0000;
/// Groups of a dispatch.
const GROUPS: u32 = 120;
/// COMPUTE_RESOURCE_LIMITS, COMPUTE_STATIC_THREAD_MGMT_SE0.
const LIMITS: u32 = 0xb854;
const MASKS: u32 = 0xb858;

/// Each group stores HW_ID twice; s[8:11] is the descriptor.
const WHERE: &[u32] = &[
    0x34000082, // v_lshlrev_b32_e32 v0, 2, v0
    0x8f0d880c, // s_lshl_b32 s13, s12, 8
    0xb914f804, // s_getreg_b32 s20, hwreg(4, 0, 32)
    0x7e020214, // v_mov_b32_e32 v1, s20
    0xe0701000, 0x0d020100, // buffer_store_dword v1, v0, s[8:11], s13 offen
    0xbf8c0f70, // s_waitcnt vmcnt(0)
    0xe0701000, 0x0d020100, // buffer_store_dword v1, v0, s[8:11], s13 offen
    0xbf810000, // s_endpgm
];

/// Memory that writes down the stores: the unit's number, and which group's they are.
struct Watched {
    memory: Flat,
    stores: Vec<(u8, u64)>,
}

impl Memory for Watched {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        self.memory.translate(va, access)
    }

    fn read(&mut self, path: Path, at: Place, to: &mut [u8]) {
        self.memory.read(path, at, to);
    }

    fn write(&mut self, path: Path, at: Place, from: &[u8]) {
        let Path::Vector(unit) = path else { panic!("a store by {path:?}") };
        self.stores.push((unit, (at.0 - DATA) / 256));
        self.memory.write(path, at, from);
    }

    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        self.memory.update(at, bytes, f)
    }

    fn clock(&mut self) -> u64 {
        self.memory.clock()
    }
}

fn run(seed: u64, masks: [u32; 2], limits: u32) -> Result<Watched, Stop> {
    let mut watched = Watched { memory: Flat::default(), stores: vec![] };
    watched.memory.put_words(PROGRAM, WHERE);
    watched.memory.map(DATA, 256 * u64::from(GROUPS));
    let mut user = [0; 12];
    user[8..].copy_from_slice(&[DATA as u32, 0, 256 * GROUPS, 0x0002_7fac]);
    let mut setup = Setup::new(64, GROUPS, &user);
    setup.config.seed = seed;
    setup.set(LIMITS, limits).set(MASKS, masks[0]).set(MASKS + 4, masks[1]);
    let mut dispatch = setup.dispatch()?.expect("a dispatch");
    // One instruction at a time, so that groups that may run side by side do.
    while dispatch.run(&mut watched, 1)? == Progress::More {}
    Ok(watched)
}

/// Shader engine and unit of each group, by HW_ID.
fn places(watched: &Watched) -> Vec<(u32, u32)> {
    let ids = (0..GROUPS).map(|group| watched.memory.words(DATA + 256 * u64::from(group), 1)[0]);
    ids.map(|id| (id >> 13 & 3, id >> 8 & 15)).collect()
}

/// The most groups of one unit, and of one engine, that had begun to store and not come to an end.
fn most_at_once(watched: &Watched) -> (usize, usize) {
    let mut open: BTreeMap<u64, u8> = BTreeMap::new();
    let mut most = (0, 0);
    for (unit, group) in &watched.stores {
        if open.remove(group).is_none() {
            open.insert(*group, *unit);
        }
        let count = |same: &dyn Fn(u8) -> bool| open.values().filter(|u| same(**u)).count();
        most.0 = most.0.max(count(&|u| u == *unit));
        most.1 = most.1.max(count(&|u| u >> 5 == unit >> 5));
    }
    most
}

#[test]
fn masks_say_where_groups_go() {
    for (masks, wanted) in [
        ([1 << 3, 0], vec![(0, 3)]),
        ([0, 1 << 6], vec![(1, 6)]),
        ([1 << 1 | 1 << 2, 1], vec![(0, 1), (0, 2), (1, 0)]),
    ] {
        let watched = run(1, masks, 0).unwrap();
        let wanted: BTreeSet<(u32, u32)> = wanted.into_iter().collect();
        let seen: BTreeSet<_> = places(&watched).into_iter().collect();
        assert_eq!(seen, wanted, "by HW_ID, masks {masks:x?}");
        let through: BTreeSet<_> = watched
            .stores
            .iter()
            .map(|(unit, _)| (u32::from(unit >> 5), u32::from(unit & 15)))
            .collect();
        assert_eq!(through, wanted, "by the caches, masks {masks:x?}");
    }
    let all: BTreeSet<_> = places(&run(1, [!0; 2], 0).unwrap()).into_iter().collect();
    assert_eq!(all.len(), 14, "all units of a Bonaire: {all:?}");
}

#[test]
fn no_unit_at_all_is_the_end() {
    for masks in [[0, 0], [1 << 9, 1 << 16]] {
        let stop = run(1, masks, 0).err().expect("no group can start");
        assert!(stop.what.contains("no compute unit"), "{}", stop.what);
    }
}

#[test]
fn limits_say_how_many_groups_run_at_once() {
    let most = |masks, limits| {
        (0..10)
            .map(|seed| most_at_once(&run(seed, masks, limits).unwrap()))
            .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    };
    assert!(most([1, 0], 0).0 > 2, "without a limit they run side by side");
    assert_eq!(most([1, 0], 1 << 12).0, 1, "TG_PER_CU");
    assert_eq!(most([1, 0], 2 << 12).0, 2, "TG_PER_CU");
    assert_eq!(most([0x7f, 0x7f], 2).1, 2, "WAVES_PER_SH");
}
