// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Opcodes by family: those that Mesa's compute shaders use are there, none of them by name only.

use std::collections::BTreeMap;

use amdgpu_shader::{
    gfx7::{
        entries,
        entry, //
    },
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

#[test]
fn what_mesa_emits_is_there() {
    let format = |name: &str| match name {
        "SOP1" => Format::Sop1,
        "SOP2" => Format::Sop2,
        "SOPC" => Format::Sopc,
        "SOPK" => Format::Sopk,
        "SOPP" => Format::Sopp,
        "SMRD" => Format::Smrd,
        "VOP1" => Format::Vop1,
        "VOP2" => Format::Vop2,
        "VOP3" => Format::Vop3,
        "VOPC" => Format::Vopc,
        "VINTRP" => Format::Vintrp,
        "DS" => Format::Ds,
        "MUBUF" => Format::Mubuf,
        "MIMG" => Format::Mimg,
        "FLAT" => Format::Flat,
        "EXP" => Format::Exp,
        other => panic!("{other} is no format"),
    };
    let (mut compute, mut draw, mut absent) = (0, 0, vec![]);
    for line in include_str!("mesa.opcodes").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let found = entry(format(words[0]), words[1].parse().unwrap());
        if found.is_none_or(|entry| entry.op == Op::Absent) {
            absent.push(line);
        }
        *if words[3] == "compute" { &mut compute } else { &mut draw } += 1;
    }
    assert_eq!((compute, draw), (359, 47));
    // Of geometry programs, which no draw has here.
    assert_eq!(absent, ["SOPP 16 s_sendmsg draw"]);
}
