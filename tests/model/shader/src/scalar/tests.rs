// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Each scalar operation, by its mnemonic, against an oracle that computes it another way: logic
//! bit by bit, arithmetic in 128 bits, bit fields as lists of bits.

use crate::{
    gfx7::{
        Words,
        decode,
        entries, //
    },
    isa::{
        Entry,
        Format,
        Inst,
        Op,
        code, //
    },
    mode::Mode,
    rng::Rng,
    wave::Wave, //
};

/// Rounds of each operation.
const ROUNDS: usize = 3000;
/// Sources in s[20:21] and s[24:25], the result in s[30:31].
const SOURCES: [u32; 2] = [20, 24];
const RESULT: u32 = 30;

/// Values that matter: small, of few bits, around the signs' change.
fn value(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => (rng.below(140) as u64).wrapping_sub(70),
        1 => 1 << rng.below(64),
        2 => (1u64 << rng.below(64)).wrapping_sub(1),
        3 => (0x7fff_ffffu64 + rng.below(3) as u64) | (rng.below(2) as u64) << 63,
        4 => !rng.long() >> rng.below(64),
        _ => rng.long(),
    }
}

/// State before an instruction: sources, the result's old content, SCC, EXEC, SIMM16.
struct Before {
    source: [u64; 2],
    old: u64,
    scc: bool,
    exec: u64,
    constant: i128,
}

/// State after it: a result, of 64 bits if the flag says so, and SCC.
struct After {
    result: Option<u64>,
    scc: bool,
    exec: u64,
}

fn bits(value: u64, width: usize) -> Vec<bool> {
    (0..width).map(|n| value >> n & 1 != 0).collect()
}

fn number(bits: &[bool]) -> u64 {
    bits.iter().enumerate().map(|(n, bit)| u64::from(*bit) << n).sum()
}

/// Bit by bit.
fn logic(name: &str, a: u64, b: u64) -> Option<u64> {
    let truth: fn(bool, bool) -> bool = match name {
        "and" => |a, b| a && b,
        "or" => |a, b| a || b,
        "xor" => |a, b| a != b,
        "andn2" => |a, b| a && !b,
        "orn2" => |a, b| a || !b,
        "nand" => |a, b| !(a && b),
        "nor" => |a, b| !(a || b),
        "xnor" => |a, b| a == b,
        _ => return None,
    };
    let all: Vec<bool> =
        bits(a, 64).into_iter().zip(bits(b, 64)).map(|(a, b)| truth(a, b)).collect();
    Some(number(&all))
}

/// The position of the first bit from one end that is what is looked for.
fn first(mut of: impl Iterator<Item = bool>, wanted: bool) -> u64 {
    of.position(|bit| bit == wanted).map_or(0xffff_ffff, |n| n as u64)
}

/// A field of a list of bits, beyond whose end its filling stands.
fn field(of: &[bool], offset: usize, size: usize, signed: bool) -> Vec<bool> {
    let fill = signed && *of.last().unwrap();
    let at = |n: usize| of.get(n).copied().unwrap_or(fill);
    let taken: Vec<bool> = (offset..offset + size).map(at).collect();
    let sign = signed && taken.last().copied().unwrap_or(false);
    (0..of.len()).map(|n| taken.get(n).copied().unwrap_or(sign)).collect()
}

/// Returns true if a comparison holds, by the middle of its mnemonic.
fn holds(name: &str, a: i128, b: i128) -> Option<bool> {
    Some(match name {
        "eq" => a == b,
        "lg" => a != b,
        "gt" => a > b,
        "ge" => a >= b,
        "lt" => a < b,
        "le" => a <= b,
        _ => return None,
    })
}

fn comparison(name: &str, before: &Before) -> Option<bool> {
    let [a, b] = before.source;
    let mut words = name.split('_').skip(1);
    let (kind, condition, as_type) =
        (words.next()?, words.next().unwrap_or(""), words.next().unwrap_or(""));
    let signed = |v: u64| i128::from(v as u32 as i32);
    let unsigned = |v: u64| i128::from(v as u32);
    match (kind, as_type) {
        ("cmp", "i32") => holds(condition, signed(a), signed(b)),
        ("cmp", _) => holds(condition, unsigned(a), unsigned(b)),
        ("cmpk", "i32") => holds(condition, signed(before.old), before.constant),
        ("cmpk", _) => holds(condition, unsigned(before.old), before.constant & 0xffff),
        ("bitcmp0" | "bitcmp1", _) => {
            let width = if condition == "b64" { 64 } else { 32 };
            Some(bits(a, width)[b as usize % width] == (kind == "bitcmp1"))
        }
        _ => None,
    }
}

/// Arithmetic of 32 bits.
fn arithmetic(name: &str, before: &Before) -> Option<(u64, bool)> {
    let [a, b] = before.source;
    let signed = |v: u64| i128::from(v as u32 as i32);
    let (x, y) = (i128::from(a as u32), i128::from(b as u32));
    let carry = i128::from(before.scc);
    let unsigned = |sum: i128| (sum as u64 & 0xffff_ffff, !(0..=0xffff_ffff).contains(&sum));
    let overflows = |sum: i128| (sum as u64 & 0xffff_ffff, sum != i128::from(sum as i32));
    Some(match name {
        "s_add_u32" => unsigned(x + y),
        "s_sub_u32" => unsigned(x - y),
        "s_addc_u32" => unsigned(x + y + carry),
        "s_subb_u32" => unsigned(x - y - carry),
        "s_add_i32" => overflows(signed(a) + signed(b)),
        "s_sub_i32" => overflows(signed(a) - signed(b)),
        "s_addk_i32" => overflows(signed(before.old) + before.constant),
        "s_mul_i32" => (unsigned(x * y).0, before.scc),
        "s_mulk_i32" => (overflows(signed(before.old) * before.constant).0, before.scc),
        "s_min_i32" => (signed(a).min(signed(b)) as u64 & 0xffff_ffff, signed(a) < signed(b)),
        "s_max_i32" => (signed(a).max(signed(b)) as u64 & 0xffff_ffff, signed(a) > signed(b)),
        "s_min_u32" => (x.min(y) as u64, x < y),
        "s_max_u32" => (x.max(y) as u64, x > y),
        "s_abs_i32" => (signed(a).unsigned_abs() as u64, a as u32 != 0),
        "s_absdiff_i32" => {
            // The difference wraps before its sign is taken away.
            let apart = i128::from((signed(a) - signed(b)) as i32).unsigned_abs() as u64;
            (apart, apart != 0)
        }
        _ => return None,
    })
}

/// Shifts, fields, and what counts or looks for bits.
fn bitwise(name: &str, before: &Before) -> Option<(u64, bool)> {
    let [a, b] = before.source;
    let wide = name.ends_with("64");
    let width = if wide { 64 } else { 32 };
    let of = bits(a, width);
    let by = b as usize % width;
    let changes = |value: u64| (value, value != 0);
    let keeps = |value: u64| (value, before.scc);
    let shifted = |fill: bool| -> Vec<bool> {
        (by..by + width).map(|n| of.get(n).copied().unwrap_or(fill)).collect()
    };
    let size = (b >> 16 & 0x7f) as usize;
    let sign = *of.last().unwrap();
    let quad = |n: usize| of[n / 4 * 4..n / 4 * 4 + 4].contains(&true);
    Some(match name {
        "s_lshl_b32" | "s_lshl_b64" => {
            changes(number(&(0..width).map(|n| n >= by && of[n - by]).collect::<Vec<_>>()))
        }
        "s_lshr_b32" | "s_lshr_b64" => changes(number(&shifted(false))),
        "s_ashr_i32" | "s_ashr_i64" => changes(number(&shifted(sign))),
        "s_bfe_u32" | "s_bfe_u64" => changes(number(&field(&of, by, size, false))),
        "s_bfe_i32" | "s_bfe_i64" => changes(number(&field(&of, by, size, true))),
        "s_bfm_b32" | "s_bfm_b64" => {
            let ones = a as usize % width;
            keeps(number(&(0..width).map(|n| (by..by + ones).contains(&n)).collect::<Vec<_>>()))
        }
        "s_brev_b32" | "s_brev_b64" => keeps(number(&of.iter().rev().copied().collect::<Vec<_>>())),
        "s_bcnt0_i32_b32" | "s_bcnt0_i32_b64" => {
            changes(of.iter().filter(|bit| !**bit).count() as u64)
        }
        "s_bcnt1_i32_b32" | "s_bcnt1_i32_b64" => {
            changes(of.iter().filter(|bit| **bit).count() as u64)
        }
        "s_ff0_i32_b32" | "s_ff0_i32_b64" => keeps(first(of.into_iter(), false)),
        "s_ff1_i32_b32" | "s_ff1_i32_b64" => keeps(first(of.into_iter(), true)),
        "s_flbit_i32_b32" | "s_flbit_i32_b64" => keeps(first(of.into_iter().rev(), true)),
        "s_flbit_i32" | "s_flbit_i32_i64" => keeps(first(of.into_iter().rev(), !sign)),
        "s_sext_i32_i8" => keeps(i64::from(a as i8) as u64 & 0xffff_ffff),
        "s_sext_i32_i16" => keeps(i64::from(a as i16) as u64 & 0xffff_ffff),
        "s_wqm_b32" | "s_wqm_b64" => changes(number(&(0..width).map(quad).collect::<Vec<_>>())),
        "s_quadmask_b32" | "s_quadmask_b64" => {
            changes(number(&(0..width / 4).map(|n| quad(4 * n)).collect::<Vec<_>>()))
        }
        "s_bitset0_b32" | "s_bitset1_b32" | "s_bitset0_b64" | "s_bitset1_b64" => {
            let mut old = bits(before.old, width);
            old[a as usize % width] = name.starts_with("s_bitset1");
            keeps(number(&old))
        }
        "s_not_b32" | "s_not_b64" => {
            changes(number(&of.iter().map(|bit| !bit).collect::<Vec<_>>()))
        }
        _ => return None,
    })
}

/// Returns the state after an operation; nothing if it is not one of those that are checked here.
fn oracle(entry: &Entry, before: &Before) -> Option<After> {
    let [a, b] = before.source;
    let name = entry.name;
    let exec = before.exec;
    let cut = |value: u64| if name.contains("64") { value } else { value & 0xffff_ffff };
    let done = |(result, scc): (u64, bool)| Some(After { result: Some(result), scc, exec });
    if let Some(scc) = comparison(name, before) {
        return Some(After { result: None, scc, exec });
    }
    if let Some(all) = arithmetic(name, before).or_else(|| bitwise(name, before)) {
        return done(all);
    }
    let word = name.split('_').nth(1)?;
    match name {
        "s_mov_b32" | "s_mov_b64" => done((cut(a), before.scc)),
        "s_cmov_b32" | "s_cmov_b64" => {
            done((if before.scc { cut(a) } else { cut(before.old) }, before.scc))
        }
        "s_cselect_b32" | "s_cselect_b64" => {
            done((cut(if before.scc { a } else { b }), before.scc))
        }
        "s_movk_i32" => done((before.constant as u64 & 0xffff_ffff, before.scc)),
        "s_cmovk_i32" => {
            let value = if before.scc { before.constant as u64 } else { before.old };
            done((value & 0xffff_ffff, before.scc))
        }
        _ if name.ends_with("saveexec_b64") => {
            let new = logic(word, a, exec)?;
            Some(After { result: Some(exec), scc: new != 0, exec: new })
        }
        _ => {
            let value = cut(logic(word, a, b)?);
            done((value, value != 0))
        }
    }
}

fn instruction(entry: &Entry, constant: u16) -> Option<Inst> {
    let opcode = u32::from(entry.opcode);
    let sources = |n: usize| if entry.signature.source(n).is_some() { SOURCES[n] } else { 0 };
    let first = match entry.format {
        Format::Sop1 => 0x17d << 23 | RESULT << 16 | opcode << 8 | sources(0),
        Format::Sop2 => 2 << 30 | opcode << 23 | RESULT << 16 | sources(1) << 8 | sources(0),
        Format::Sopk => 0b1011 << 28 | opcode << 23 | RESULT << 16 | u32::from(constant),
        Format::Sopc => 0x17e << 23 | opcode << 16 | sources(1) << 8 | sources(0),
        _ => return None,
    };
    decode(Words { first, second: 0 }).ok()
}

#[test]
fn scalar_operations() {
    let mut rng = Rng::new(21);
    let (mut checked, mut left): (usize, Vec<&str>) = (0, vec![]);
    for entry in entries() {
        let scalar = matches!(entry.op, Op::Scalar(_) | Op::ScalarCompare(_));
        if !scalar {
            continue;
        }
        let mut known = false;
        for _ in 0..ROUNDS {
            let constant =
                if rng.below(2) == 0 { rng.word() as u16 } else { value(&mut rng) as u16 };
            let Some(inst) = instruction(entry, constant) else { break };
            let mut scalars = [0; 128];
            scalars.iter_mut().for_each(|s| *s = rng.word());
            let mut w = Wave::new(0, Mode(0), scalars, vec![]);
            let equal = rng.below(4) == 0;
            let one = value(&mut rng);
            for (n, at) in SOURCES.into_iter().enumerate() {
                w.set_pair(at as u16, if n == 1 && !equal { value(&mut rng) } else { one });
            }
            w.set_pair(RESULT as u16, if equal { constant as i16 as u64 } else { value(&mut rng) });
            w.scc = rng.below(2) == 0;
            let before = Before {
                source: SOURCES.map(|at| w.pair(at as u16)),
                old: w.pair(RESULT as u16),
                scc: w.scc,
                exec: w.exec(),
                constant: i128::from(constant as i16),
            };
            let Some(want) = oracle(entry, &before) else { break };
            known = true;
            match inst.op {
                Op::Scalar(op) => super::execute(&mut w, &inst, op).unwrap(),
                Op::ScalarCompare(op) => super::compare(&mut w, &inst, op),
                _ => unreachable!(),
            }
            let what = || {
                format!(
                    "{} {:x?} {:#x} {:#x}",
                    entry.name, before.source, before.old, before.constant
                )
            };
            let dwords = entry.signature.result(0).map_or(0, |kind| kind.dwords());
            let result = match dwords {
                2 => w.pair(RESULT as u16),
                _ => u64::from(w.scalar[RESULT as usize]) | before.old & !0xffff_ffff,
            };
            let wanted = match (want.result, dwords) {
                (None, _) => before.old,
                (Some(value), 2) => value,
                (Some(value), _) => value | before.old & !0xffff_ffff,
            };
            assert_eq!(result, wanted, "{}", what());
            assert_eq!(w.scc, want.scc, "{}: SCC", what());
            assert_eq!(w.pair(code::EXEC), want.exec, "{}: EXEC", what());
        }
        if known {
            checked += 1;
        } else {
            left.push(entry.name);
        }
    }
    // Those that jump, move by M0, or reach the mode register have programs of their own.
    let others = [
        "s_getpc_b64",
        "s_setpc_b64",
        "s_swappc_b64",
        "s_movrels_b32",
        "s_movrels_b64",
        "s_movreld_b32",
        "s_movreld_b64",
        "s_getreg_b32",
        "s_setreg_b32",
        "s_setreg_imm32_b32",
    ];
    assert_eq!(left, others);
    assert_eq!(checked, 113);
}
