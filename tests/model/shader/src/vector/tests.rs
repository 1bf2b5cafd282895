// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Each operation against an oracle that computes it another way: integers in 128 bits, floats in
//! doubles or by comparing exact products and sums.

use std::cmp::Ordering;

use crate::{
    gfx7::{
        Words,
        decode,
        entries, //
    },
    isa::{
        CompareType,
        Condition,
        Entry,
        Format,
        Inst,
        Kind,
        Op,
        Vector,
        code, //
    },
    mode::Mode,
    rng::Rng,
    wave::{
        LANES,
        Row,
        Wave,
        join, //
    }, //
};

/// Rounds of each operation, 64 lanes each.
const ROUNDS: usize = 60;
/// Result register; sources are v0, v2 and v4.
const RESULT: u16 = 8;
/// Rounding to nearest; denormals of doubles and halves kept.
const ORDINARY: Mode = Mode(0x1c0);

/// Values that matter: small, extreme, floats around one, denormals, NaNs.
fn value(kind: Kind, rng: &mut Rng) -> u64 {
    let any = rng.long();
    let single: [u32; 9] = [
        0,
        0x8000_0000,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        1,
        0x7f7f_ffff,
    ];
    match (kind.dwords(), rng.below(6)) {
        (_, 0) => any % 70,
        (1, 1) => single[rng.below(single.len())].into(),
        (2, 1) => f64::from(f32::from_bits(single[rng.below(single.len())])).to_bits(),
        (1, 2) => (rng.word() as i32 as f32 / 65536.0).to_bits().into(),
        (2, 2) => (rng.long() as i64 as f64 / 4294967296.0).to_bits(),
        (1, 3) => u64::from(!(rng.word() >> rng.below(32))),
        (1, _) => rng.word().into(),
        _ => any,
    }
}

/// A wave with random sources.
fn wave(inst: &Inst, rng: &mut Rng) -> Wave {
    let mut vector: Vec<Row> = vec![[0; LANES]; 12];
    for n in 0..3 {
        let kind = inst.entry.signature.source(n).unwrap_or(Kind::B32);
        let values: [u64; LANES] = std::array::from_fn(|_| value(kind, rng));
        vector[2 * n] = values.map(|v| v as u32);
        vector[2 * n + 1] = values.map(|v| (v >> 32) as u32);
    }
    let mut scalar = [0; 128];
    scalar.iter_mut().for_each(|s| *s = rng.word());
    let mut wave = Wave::new(0, ORDINARY, scalar, vector);
    wave.set_pair(code::EXEC, if rng.below(3) == 0 { rng.long() } else { !0 });
    wave
}

/// The long form of an opcode with v0, v2, v4 or s[20:21] as sources.
fn instruction(entry: &Entry) -> Option<Inst> {
    let operand = |n: usize| match entry.signature.source(n) {
        Some(Kind::Mask) => 20,
        Some(_) => 256 + 2 * n as u32,
        None => 0,
    };
    let second = operand(0) | operand(1) << 9 | operand(2) << 18;
    let compare = matches!(entry.op, Op::Compare(_));
    let sdst = if entry.signature.result(1).is_some() { 30 << 8 } else { 0 };
    let dst = if compare { 30 } else { u32::from(RESULT) };
    let first = 0b110100 << 26 | u32::from(entry.opcode) << 17 | sdst | dst;
    decode(Words { first, second }).ok()
}

/// Checks all opcodes that `oracle` knows; it gives the result and the carry of a lane. Returns how
/// many there were.
fn check(
    oracle: impl Fn(Vector, [u64; 3], bool) -> Option<(u64, Option<bool>)>,
    same: impl Fn(u64, u64) -> bool,
) -> usize {
    let mut rng = Rng::new(11);
    let mut known = 0;
    for entry in entries().into_iter().filter(|e| e.format == Format::Vop3) {
        let Op::Vector(op) = entry.op else { continue };
        let Some(inst) = instruction(entry).filter(|_| oracle(op, [0; 3], false).is_some()) else {
            continue;
        };
        known += 1;
        for _ in 0..ROUNDS {
            let before = wave(&inst, &mut rng);
            let mut after = before.clone();
            super::execute(&mut after, &inst, op).unwrap();
            let wide = |w: &Wave, n: usize| join(&w.vector[n], &w.vector[n + 1]);
            let sources = [wide(&before, 0), wide(&before, 2), wide(&before, 4)];
            let (result, old) = (wide(&after, RESULT.into()), wide(&before, RESULT.into()));
            let dwords = entry.signature.result(0).map_or(1, Kind::dwords);
            let cut = |v: u64| if dwords == 1 { v & 0xffff_ffff } else { v };
            for lane in 0..LANES {
                let kind = |n: usize| entry.signature.source(n).map_or(0, Kind::dwords);
                let operands = [0, 1, 2].map(|n| match kind(n) {
                    1 => sources[n][lane] & 0xffff_ffff,
                    _ => sources[n][lane],
                });
                let carry_in = before.pair(20) >> lane & 1 != 0;
                let active = before.exec() >> lane & 1 != 0;
                let (want, carry) = oracle(op, operands, carry_in).unwrap();
                let (want, carry) = if active {
                    (cut(want), carry)
                } else {
                    (cut(old[lane]), carry.map(|_| false))
                };
                let got = cut(result[lane]);
                assert!(
                    if active { same(got, want) } else { got == want },
                    "{} {operands:x?}: {got:#x}, expected {want:#x}",
                    entry.name
                );
                if let Some(carry) = carry {
                    assert_eq!(
                        after.pair(30) >> lane & 1 != 0,
                        carry,
                        "{} {operands:x?}: carry",
                        entry.name
                    );
                }
            }
        }
    }
    known
}

/// A number with its sign, of 32 or 24 bits.
fn s(v: u64, width: u32) -> i128 {
    let shift = 128 - width;
    (v as i128) << shift >> shift
}

fn u(v: u64, width: u32) -> i128 {
    i128::from(v) & ((1 << width) - 1)
}

/// Position of the first set bit, by search.
fn first(bits: impl Iterator<Item = bool>) -> i128 {
    bits.into_iter().position(|b| b).map_or(-1, |n| n as i128)
}

fn integer(op: Vector, [a, b, c]: [u64; 3], carry: bool) -> Option<(u64, Option<bool>)> {
    let bit = |v: u64, n: u32| v >> n & 1 != 0;
    let sh = |v: u64| (v % 32) as u32;
    let two = |n: i128| 1i128 << n;
    let (x, y, z) = (u(a, 32), u(b, 32), u(c, 32));
    let c_in = i128::from(carry);
    let sum = |v: i128| Some((v as u64, Some(!(0..two(32)).contains(&v))));
    let sorted = |mut v: [i128; 3]| {
        v.sort_unstable();
        v
    };
    let all_s = sorted([s(a, 32), s(b, 32), s(c, 32)]);
    let all_u = sorted([x, y, z]);
    let bytes = |v: u64| (v as u32).to_le_bytes();
    let apart: i128 =
        bytes(a).iter().zip(bytes(b)).map(|(p, q)| (i128::from(*p) - i128::from(q)).abs()).sum();
    let value = match op {
        Vector::Mov => x,
        Vector::Not => -1 - x,
        Vector::Reverse => (0..32).filter(|n| bit(a, *n)).map(|n| two(i128::from(31 - n))).sum(),
        Vector::FirstBitHigh => first((0..32).rev().map(|n| bit(a, n))),
        Vector::FirstBitLow => first((0..32).map(|n| bit(a, n))),
        Vector::FirstSignHigh => first((0..32).rev().map(|n| bit(a, n) != bit(a, 31))),
        Vector::MulI24 => s(a, 24) * s(b, 24),
        Vector::MulHighI24 => (s(a, 24) * s(b, 24)).div_euclid(two(32)),
        Vector::MulU24 => u(a, 24) * u(b, 24),
        Vector::MulHighU24 => u(a, 24) * u(b, 24) / two(32),
        Vector::MulLow => x * y,
        Vector::MulHighU32 => x * y / two(32),
        Vector::MulHighI32 => (s(a, 32) * s(b, 32)).div_euclid(two(32)),
        Vector::MinI32 => s(a, 32).min(s(b, 32)),
        Vector::MaxI32 => s(a, 32).max(s(b, 32)),
        Vector::MinU32 => x.min(y),
        Vector::MaxU32 => x.max(y),
        Vector::ShiftRight => x / two(y % 32),
        Vector::ShiftRightRev => y / two(x % 32),
        Vector::ShiftRightSigned => s(a, 32).div_euclid(two(y % 32)),
        Vector::ShiftRightSignedRev => s(b, 32).div_euclid(two(x % 32)),
        Vector::ShiftLeft => x * two(y % 32),
        Vector::ShiftLeftRev => y * two(x % 32),
        Vector::And => (0..32).filter(|n| bit(a, *n) && bit(b, *n)).map(|n| two(n.into())).sum(),
        Vector::Or => (0..32).filter(|n| bit(a, *n) || bit(b, *n)).map(|n| two(n.into())).sum(),
        Vector::Xor => (0..32).filter(|n| bit(a, *n) != bit(b, *n)).map(|n| two(n.into())).sum(),
        Vector::FieldMask => (two(x % 32) - 1) * two(y % 32),
        Vector::CountOnes => (0..32).filter(|n| bit(a, *n)).count() as i128 + y,
        Vector::PackU16 => x.min(65535) + y.min(65535) * two(16),
        Vector::PackI16 => {
            let half = |v| s(v, 32).clamp(-32768, 32767).rem_euclid(two(16));
            half(a) + half(b) * two(16)
        }
        Vector::Add => return sum(x + y),
        Vector::Sub => return sum(x - y),
        Vector::SubRev => return sum(y - x),
        Vector::AddCarry => return sum(x + y + c_in),
        Vector::SubBorrow => return sum(x - y - c_in),
        Vector::SubBorrowRev => return sum(y - x - c_in),
        Vector::Select => {
            if carry {
                y
            } else {
                x
            }
        }
        Vector::MadI24 => s(a, 24) * s(b, 24) + z,
        Vector::MadU24 => u(a, 24) * u(b, 24) + z,
        Vector::ExtractUnsigned => x / two(y % 32) % two(z % 32),
        Vector::ExtractSigned => match z % 32 {
            0 => 0,
            size => {
                let field = s(a, 32).div_euclid(two(y % 32)).rem_euclid(two(size));
                if field >= two(size - 1) { field - two(size) } else { field }
            }
        },
        Vector::Insert => (0..32)
            .filter(|n| if bit(a, *n) { bit(b, *n) } else { bit(c, *n) })
            .map(|n| two(n.into()))
            .sum(),
        Vector::Lerp => (0..4)
            .map(|n| {
                let carry = i128::from(bytes(c)[n] & 1);
                (i128::from(bytes(a)[n]) + i128::from(bytes(b)[n]) + carry) / 2 * two(8 * n as i128)
            })
            .sum(),
        Vector::AlignBit => (x * two(32) + y) / two(sh(c).into()),
        Vector::AlignByte => (x * two(32) + y) / two(8 * (z % 4)),
        Vector::Min3I32 => all_s[0],
        Vector::Min3U32 => all_u[0],
        Vector::Max3I32 => all_s[2],
        Vector::Max3U32 => all_u[2],
        Vector::Med3I32 => all_s[1],
        Vector::Med3U32 => all_u[1],
        Vector::SadU8 => apart + z,
        Vector::SadHighU8 => apart * two(16) + z,
        Vector::SadU16 => (u(a, 16) - u(b, 16)).abs() + (x / two(16) - y / two(16)).abs() + z,
        Vector::SadU32 => (x - y).abs() + z,
        Vector::ShiftLeft64 => i128::from(a) * two(y % 64),
        Vector::ShiftRight64 => i128::from(a) / two(y % 64),
        Vector::ShiftRightSigned64 => i128::from(a as i64).div_euclid(two(y % 64)),
        Vector::MadU64 => {
            let total = u128::from(a) * u128::from(b) + u128::from(c);
            return Some((total as u64, Some(total >> 64 != 0)));
        }
        Vector::I32F32 => saturate(single(a), -two(31), two(31) - 1),
        Vector::U32F32 => saturate(single(a), 0, two(32) - 1),
        Vector::I32F64 => saturate(f64::from_bits(a), -two(31), two(31) - 1),
        Vector::U32F64 => saturate(f64::from_bits(a), 0, two(32) - 1),
        _ => return None,
    };
    Some((value as u64, None))
}

/// A single as a double, denormals as zeros.
fn single(bits: u64) -> f64 {
    let v = f64::from(f32::from_bits(bits as u32));
    if v.abs() < f64::from(f32::MIN_POSITIVE) { v * 0.0 } else { v }
}

fn saturate(v: f64, least: i128, most: i128) -> i128 {
    if v.is_nan() { 0 } else { (v.clamp(least as f64, most as f64).trunc()) as i128 }
}

#[test]
fn integers_are_exact() {
    let known = check(integer, |got, want| got == want);
    assert!(known >= 62, "{known} opcodes");
}

/// A double as a single, rounded once, denormals as zeros.
fn to_single(v: f64) -> u64 {
    let v = v as f32;
    let flushed = if v.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(v) } else { v };
    flushed.to_bits().into()
}

/// Products and sums of singles: a product is exact in a double, and a sum rounded to a double and
/// then to a single is right, as 53 bits are more than twice 24 and two (Figueroa 1995).
fn floats(op: Vector, [a, b, c]: [u64; 3], _carry: bool) -> Option<(u64, Option<bool>)> {
    let (x, y, z) = (single(a), single(b), single(c));
    let legacy = |p: f64, q: f64| if p == 0.0 || q == 0.0 { 0.0 } else { p * q };
    let twice = |p: f64| single(to_single(p));
    let value = match op {
        Vector::AddF32 => to_single(x + y),
        Vector::SubF32 => to_single(x - y),
        Vector::SubRevF32 => to_single(y - x),
        Vector::MulF32 => to_single(x * y),
        Vector::MulLegacyF32 => to_single(legacy(x, y)),
        Vector::MadF32 => to_single(twice(x * y) + z),
        Vector::MadLegacyF32 => to_single(twice(legacy(x, y)) + z),
        Vector::TruncF32 => to_single(x.trunc()),
        Vector::CeilF32 => to_single(x.ceil()),
        Vector::FloorF32 => to_single(x.floor()),
        Vector::RoundEvenF32 => to_single(x.round_ties_even()),
        Vector::FractF32 if x.is_finite() => {
            to_single((x - x.floor()).min(f64::from(1.0f32.next_down())))
        }
        Vector::FractF32 => to_single(f64::NAN),
        Vector::F32I32 => to_single(s(a, 32) as f64),
        Vector::F32U32 => to_single(u(a, 32) as f64),
        Vector::F32Byte(n) => to_single((a >> (8 * n) & 0xff) as f64),
        Vector::F32F64 => to_single(f64::from_bits(a)),
        Vector::F64F32 => x.to_bits(),
        Vector::F64I32 => (s(a, 32) as f64).to_bits(),
        Vector::F64U32 => (u(a, 32) as f64).to_bits(),
        Vector::MinF32 | Vector::MaxF32 => {
            extreme(f32::from_bits(a as u32), f32::from_bits(b as u32), op == Vector::MinF32)
        }
        _ => return None,
    };
    Some((value, None))
}

/// Smaller or greater by the total order, a NaN last.
fn extreme(a: f32, b: f32, least: bool) -> u64 {
    let chosen = match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if (a.total_cmp(&b) == Ordering::Less) == least => a,
        _ => b,
    };
    chosen.to_bits().into()
}

fn same_float(got: u64, want: u64) -> bool {
    let nan =
        |v: u64| f32::from_bits(v as u32).is_nan() && v >> 32 == 0 || f64::from_bits(v).is_nan();
    got == want || nan(got) && nan(want)
}

#[test]
fn singles_are_rounded_right() {
    let known = check(floats, same_float);
    assert!(known >= 24, "{known} opcodes");
}

fn doubles(op: Vector, [a, b, c]: [u64; 3], _carry: bool) -> Option<(u64, Option<bool>)> {
    let (x, y, z) = (f64::from_bits(a), f64::from_bits(b), f64::from_bits(c));
    let value = match op {
        Vector::AddF64 => x + y,
        Vector::MulF64 => x * y,
        Vector::FmaF64 => x.mul_add(y, z),
        Vector::TruncF64 => x.trunc(),
        Vector::CeilF64 => x.ceil(),
        Vector::FloorF64 => x.floor(),
        Vector::RoundEvenF64 => x.round_ties_even(),
        Vector::SqrtF64 => x.sqrt(),
        Vector::RcpF64 => 1.0 / x,
        _ => return None,
    };
    Some((value.to_bits(), None))
}

#[test]
fn doubles_are_the_hosts() {
    let known = check(doubles, same_float);
    assert!(known >= 9, "{known} opcodes");
}

/// Functions with an error bound, in units in the last place of the exact value's single.
fn functions(op: Vector, [a, ..]: [u64; 3], _carry: bool) -> Option<(u64, Option<bool>)> {
    let x = single(a);
    let turns = x * std::f64::consts::TAU;
    let value = match op {
        Vector::ExpF32 => x.exp2(),
        Vector::LogF32 => x.log2(),
        Vector::RcpF32 => x.recip(),
        Vector::RsqF32 => x.sqrt().recip(),
        Vector::SqrtF32 => x.sqrt(),
        Vector::SinF32 if x.abs() <= 1.0 => turns.sin(),
        Vector::CosF32 if x.abs() <= 1.0 => turns.cos(),
        Vector::SinF32 | Vector::CosF32 => f64::NAN,
        _ => return None,
    };
    Some((to_single(value), None))
}

#[test]
fn functions_are_within_a_unit() {
    let near = |got: u64, want: u64| {
        let (g, w) = (f32::from_bits(got as u32), f32::from_bits(want as u32));
        // A large argument of sine and cosine is not compared.
        w.is_nan()
            || g == w
            || (f64::from(g) - f64::from(w)).abs() <= 1e-9
            || (got as i64 - want as i64).abs() <= 1
    };
    // V_RCP_IFLAG_F32 is a reciprocal too.
    assert_eq!(check(functions, near), 8);
}

/// The condition by the ordering of two numbers.
fn holds(condition: Condition, order: Option<Ordering>) -> bool {
    use Ordering::{
        Equal,
        Greater,
        Less, //
    };
    let is = |wanted: &[Ordering]| order.is_some_and(|o| wanted.contains(&o));
    match condition {
        Condition::False => false,
        Condition::Less => is(&[Less]),
        Condition::Equal => is(&[Equal]),
        Condition::LessEqual => is(&[Less, Equal]),
        Condition::Greater => is(&[Greater]),
        Condition::LessGreater => is(&[Less, Greater]),
        Condition::GreaterEqual => is(&[Greater, Equal]),
        Condition::Ordered => order.is_some(),
        Condition::Unordered => order.is_none(),
        Condition::NotGreaterEqual => !is(&[Greater, Equal]),
        Condition::NotLessGreater => !is(&[Less, Greater]),
        Condition::NotGreater => !is(&[Greater]),
        Condition::NotLessEqual => !is(&[Less, Equal]),
        Condition::NotEqual => !is(&[Equal]),
        Condition::NotLess => !is(&[Less]),
        Condition::True => true,
    }
}

#[test]
fn comparisons_follow_the_order() {
    let mut rng = Rng::new(5);
    let mut known = 0;
    for entry in entries().into_iter().filter(|e| e.format == Format::Vop3) {
        let (Op::Compare(op), Some(inst)) = (entry.op, instruction(entry)) else { continue };
        known += 1;
        for _ in 0..ROUNDS {
            let mut w = wave(&inst, &mut rng);
            if rng.below(2) == 0 {
                w.vector[2] = w.vector[0];
                w.vector[3] = w.vector[1];
            }
            let exec = w.exec();
            let (a, b) = (join(&w.vector[0], &w.vector[1]), join(&w.vector[2], &w.vector[3]));
            super::compare(&mut w, &inst, op);
            for lane in 0..LANES {
                let (a, b) = (a[lane], b[lane]);
                let want = match op.kind {
                    CompareType::F32 => holds(
                        op.condition,
                        single(a & 0xffff_ffff).partial_cmp(&single(b & 0xffff_ffff)),
                    ),
                    CompareType::F64 => {
                        holds(op.condition, f64::from_bits(a).partial_cmp(&f64::from_bits(b)))
                    }
                    CompareType::I32 => holds(op.condition, Some(s(a, 32).cmp(&s(b, 32)))),
                    CompareType::U32 => holds(op.condition, Some(u(a, 32).cmp(&u(b, 32)))),
                    CompareType::I64 => holds(op.condition, Some((a as i64).cmp(&(b as i64)))),
                    CompareType::U64 => holds(op.condition, Some(a.cmp(&b))),
                    CompareType::Class32 | CompareType::Class64 => continue,
                };
                let want = want && exec >> lane & 1 != 0;
                assert_eq!(w.pair(30) >> lane & 1 != 0, want, "{} {a:#x} {b:#x}", entry.name);
                assert!(
                    !op.exec || w.exec() >> lane & 1 == u64::from(want),
                    "{}: EXEC",
                    entry.name
                );
            }
        }
    }
    assert_eq!(known, 4 * 16 * 2 + 4 * 8 * 2 + 4, "all families");
}
