// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Comparisons of each lane. Inactive lanes get 0.

use super::{
    double,
    single, //
};
use crate::{
    float::{
        F32,
        F64,
        class, //
    },
    isa::{
        Compare,
        CompareType,
        Condition,
        Inst,
        code, //
    },
    scalar::holds,
    wave::{
        LANES,
        Wave,
        mask_of, //
    }, //
};

/// Executes a comparison.
pub fn execute(w: &mut Wave, i: &Inst, op: Compare) {
    let all = match op.kind {
        CompareType::F32 => singles(w, i, op.condition),
        CompareType::F64 => doubles(w, i, op.condition),
        CompareType::I32 => integers(w, i, op.condition, |a| a as i32),
        CompareType::U32 => integers(w, i, op.condition, |a| a),
        CompareType::I64 => longs(w, i, op.condition, |a| a as i64),
        CompareType::U64 => longs(w, i, op.condition, |a| a),
        CompareType::Class32 => classes(w, i),
        CompareType::Class64 => classes64(w, i),
    };
    let mask = all & w.exec();
    w.set_pair(i.sdst, mask);
    if op.exec {
        w.set_pair(code::EXEC, mask);
    }
}

/// Calls the comparison with the condition known, so that each loop has one.
macro_rules! by_condition {
    ($condition:expr, $compare:ident) => {
        match $condition {
            Condition::False => 0,
            Condition::True => !0,
            Condition::Less => $compare!(|a, b| a < b),
            Condition::Equal => $compare!(|a, b| a == b),
            Condition::LessEqual => $compare!(|a, b| a <= b),
            Condition::Greater => $compare!(|a, b| a > b),
            Condition::LessGreater => $compare!(|a, b| a < b || a > b),
            Condition::GreaterEqual => $compare!(|a, b| a >= b),
            Condition::Ordered => $compare!(|a, b| a == a && b == b),
            Condition::Unordered => $compare!(|a, b| a != a || b != b),
            Condition::NotGreaterEqual => $compare!(|a, b| !(a >= b)),
            Condition::NotLessGreater => $compare!(|a, b| !(a < b || a > b)),
            Condition::NotGreater => $compare!(|a, b| !(a > b)),
            Condition::NotLessEqual => $compare!(|a, b| !(a <= b)),
            Condition::NotEqual => $compare!(|a, b| a != b),
            Condition::NotLess => $compare!(|a, b| !(a < b)),
        }
    };
}

/// The comparisons that are true where neither operand is ordered are written as what they negate.
#[allow(
    clippy::neg_cmp_op_on_partial_ord,
    clippy::eq_op,
    clippy::double_comparisons,
    reason = "with a NaN, !(a > b) is not a <= b"
)]
fn singles(w: &Wave, i: &Inst, condition: Condition) -> u64 {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, b) = (single::source(w, i, 0, p), single::source(w, i, 1, q));
    let keep = w.mode.single().denormals.input;
    let value = |bits: u32| f32::from_bits(if keep { bits } else { F32.flush(bits.into()) as u32 });
    macro_rules! compare {
        (|$a:ident, $b:ident| $test:expr) => {
            mask_of(|lane| {
                let ($a, $b) = (value(a[lane]), value(b[lane]));
                $test
            })
        };
    }
    by_condition!(condition, compare)
}

#[allow(
    clippy::neg_cmp_op_on_partial_ord,
    clippy::eq_op,
    clippy::double_comparisons,
    reason = "with a NaN, !(a > b) is not a <= b"
)]
fn doubles(w: &Wave, i: &Inst, condition: Condition) -> u64 {
    let (a, b) = (double::source(w, i, 0), double::source(w, i, 1));
    let keep = w.mode.double().denormals.input;
    let value = |bits: u64| f64::from_bits(if keep { bits } else { F64.flush(bits) });
    macro_rules! compare {
        (|$a:ident, $b:ident| $test:expr) => {
            mask_of(|lane| {
                let ($a, $b) = (value(a[lane]), value(b[lane]));
                $test
            })
        };
    }
    by_condition!(condition, compare)
}

fn integers<T: Ord>(w: &Wave, i: &Inst, condition: Condition, as_type: impl Fn(u32) -> T) -> u64 {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, b) = (w.row(i, 0, p), w.row(i, 1, q));
    match condition {
        Condition::Less => mask_of(|n| as_type(a[n]) < as_type(b[n])),
        Condition::Equal => mask_of(|n| a[n] == b[n]),
        Condition::LessEqual => mask_of(|n| as_type(a[n]) <= as_type(b[n])),
        Condition::Greater => mask_of(|n| as_type(a[n]) > as_type(b[n])),
        Condition::GreaterEqual => mask_of(|n| as_type(a[n]) >= as_type(b[n])),
        other => mask_of(|n| holds(other, &a[n], &b[n])),
    }
}

fn longs<T: Ord>(w: &Wave, i: &Inst, condition: Condition, as_type: impl Fn(u64) -> T) -> u64 {
    let (a, b) = (w.row64(i, 0), w.row64(i, 1));
    mask_of(|lane| holds(condition, &as_type(a[lane]), &as_type(b[lane])))
}

fn classes(w: &Wave, i: &Inst) -> u64 {
    let mut buffers = [[0; LANES]; 2];
    let [p, q] = &mut buffers;
    let (a, wanted) = (single::source(w, i, 0, p), w.row(i, 1, q));
    mask_of(|lane| class(F32, a[lane].into()) & wanted[lane] != 0)
}

fn classes64(w: &Wave, i: &Inst) -> u64 {
    let mut buffer = [0; LANES];
    let a = double::source(w, i, 0);
    let wanted = w.row(i, 1, &mut buffer);
    mask_of(|lane| class(F64, a[lane]) & wanted[lane] != 0)
}
