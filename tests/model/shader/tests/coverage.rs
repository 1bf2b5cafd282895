// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Opcodes by family: those that Mesa's compute shaders use are there, none of them by name only.

use std::collections::BTreeMap;

use amdgpu_shader::{
    gfx7::entries,
    isa::{
        Format,
        Op, //
    }, //
};

#[test]
fn families_are_whole() {
    let mut count: BTreeMap<Format, (usize, usize)> = BTreeMap::new();
    for entry in entries() {
        let of = count.entry(entry.format).or_default();
        of.0 += usize::from(entry.op != Op::Absent);
        of.1 += usize::from(entry.op == Op::Absent);
    }
    eprintln!("implemented and absent: {count:?}");
    let comparisons =
        entries().iter().filter(|e| e.format == Format::Vopc && e.op != Op::Absent).count();
    assert_eq!(
        comparisons,
        2 * 2 * 2 * 16 + 4 * 2 * 8 + 4,
        "floats, doubles with signaling forms; integers; classes"
    );
    let atomics = |format| {
        entries().iter().filter(|e| e.format == format && e.name.contains("atomic")).count()
    };
    assert_eq!(
        (atomics(Format::Mubuf), atomics(Format::Flat), atomics(Format::Mimg)),
        (32, 32, 16)
    );
}
