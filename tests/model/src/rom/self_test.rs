// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Command tables that try every instruction on every kind of operand, and say which went wrong.
//! They make the card depend on its interpreter: where a result is not what it should be, the
//! number of the check is left in [`VERDICT`], and posting does not come to its end.

use super::asm::{
    Asm,
    If,
    Label,
    Op,
    Part,
    Table,
    To, //
};

/// BIOS_SCRATCH_1: the number of the check that failed, or zero.
pub const VERDICT: u16 = 0x5ca;
/// BIOS_SCRATCH_0, for the tests.
const REG: To = To::Reg(0x5c9);
/// A dword that is no destination of a test.
const TEMP: To = To::Ws(8);

/// One destination of each kind. Clock generators and memory controller have no registers of this
/// kind in this chip: they read as zeros.
const DESTINATIONS: [To; 6] = [REG, To::Ps(3), To::Ws(1), To::Fb(2), To::Pll(5), To::Mc(6)];

/// Special registers in the workspace.
pub const QUOTIENT: To = To::Ws(0x40);
pub const REMAINDER: To = To::Ws(0x41);
pub const DATA_BLOCK: To = To::Ws(0x42);
pub const SHIFT: To = To::Ws(0x43);
pub const OR_MASK: To = To::Ws(0x44);
pub const AND_MASK: To = To::Ws(0x45);
pub const SCRATCH_WINDOW: To = To::Ws(0x46);
pub const ATTRIBUTES: To = To::Ws(0x47);
pub const REGISTER_BLOCK: To = To::Ws(0x48);

/// Two operands that no operation maps to one of them, or to the result of another.
pub const A: u32 = 0x8765_4321;
const B: u32 = 0x0f1e_2d3c;

/// Checks in a table.
pub struct Checks {
    pub asm: Asm,
    number: u32,
    fail: Label,
}

impl Checks {
    /// Checks with numbers from `first` on.
    pub fn new(first: u32) -> Self {
        let mut asm = Asm::default();
        let fail = asm.label();
        Checks { asm, number: first, fail }
    }

    /// Has the next check's number at hand, should it fail.
    fn next(&mut self) {
        self.number += 1;
        self.asm.op(Op::Move, To::Ws(0), To::Imm(self.number));
    }

    /// An operand has to have a value.
    pub fn expect(&mut self, operand: To, value: u32) {
        self.next();
        self.asm.op(Op::Move, TEMP, operand);
        self.asm.op(Op::Compare, TEMP, To::Imm(value));
        self.asm.jump(If::NotEqual, self.fail);
    }

    /// The table, which leaves the verdict.
    pub fn table(self, parameters: u8) -> Table {
        let mut asm = self.asm;
        asm.end();
        asm.put(self.fail);
        asm.op(Op::Move, To::Reg(VERDICT), To::Ws(0));
        asm.end();
        asm.table(9, parameters)
    }
}

/// Returns true if a kind of destination keeps what is written.
fn keeps(to: To) -> bool {
    !matches!(to, To::Pll(_) | To::Mc(_))
}

/// Arithmetic on whole dwords, in each kind of destination.
pub fn arithmetic() -> Table {
    let mut c = Checks::new(0);
    for to in DESTINATIONS {
        let a = if keeps(to) { A } else { 0 };
        let results = [
            (Op::Move, B),
            (Op::And, a & B),
            (Op::Or, a | B),
            (Op::Xor, a ^ B),
            (Op::Add, a.wrapping_add(B)),
            (Op::Sub, a.wrapping_sub(B)),
            (Op::Shl, a << (B & 31)),
            (Op::Shr, a >> (B & 31)),
        ];
        for (op, result) in results {
            c.asm.op(Op::Move, to, To::Imm(A));
            let by = if matches!(op, Op::Shl | Op::Shr) { B & 31 } else { B };
            c.asm.op(op, to, To::Imm(by));
            c.expect(to, if keeps(to) { result } else { 0 });
        }
        c.asm.op(Op::Move, to, To::Imm(A));
        c.asm.mask(to, 0, 0x00ff_ff00, To::Imm(B & 0xff), Part::DWORD);
        c.expect(to, if keeps(to) { A & 0x00ff_ff00 | B & 0xff } else { 0 });
        for (op, result) in [(Op::ShiftLeft, A << 5), (Op::ShiftRight, A >> 5)] {
            c.asm.op(Op::Move, to, To::Imm(A));
            c.asm.shift(op, to, Part::DWORD, 5);
            c.expect(to, if keeps(to) { result } else { 0 });
        }
        c.asm.op(Op::Move, to, To::Imm(A));
        c.asm.clear(to, Part(2));
        c.expect(to, if keeps(to) { A & 0xff00_00ff } else { 0 });
        c.asm.op(Op::Move, to, To::Imm(A));
        c.asm.op(Op::Mul, to, To::Imm(B));
        c.expect(QUOTIENT, a.wrapping_mul(B));
        c.asm.op(Op::Div, to, To::Imm(B));
        c.expect(QUOTIENT, a / B);
        c.expect(REMAINDER, a % B);
        if matches!(to, To::Ps(_) | To::Ws(_)) {
            let product = u64::from(A) * u64::from(B);
            c.asm.op(Op::Mul32, to, To::Imm(B));
            c.expect(QUOTIENT, product as u32);
            c.expect(REMAINDER, (product >> 32) as u32);
            // The upper half of the dividend is what the product left.
            let quotient = (product >> 32 << 32 | u64::from(A)) / 0x1234;
            c.asm.op(Op::Div32, to, To::Imm(0x1234));
            c.expect(QUOTIENT, quotient as u32);
            c.expect(REMAINDER, (quotient >> 32) as u32);
        }
        c.asm.op(Op::Div, to, To::Imm(0));
        c.expect(QUOTIENT, 0);
    }
    c.table(0)
}

/// Parts of dwords: each of a source at each position of a destination.
pub fn parts() -> Table {
    let mut c = Checks::new(1000);
    let to = To::Ws(1);
    for part in (0..8).map(Part) {
        for position in 0..4 {
            let (width, from) = part.bits();
            let (to_width, at) = part.at(position).bits();
            let ones = |width: u32| u32::MAX >> (32 - width);
            let mask = ones(to_width) << at;
            let insert = |value: u32| B & !mask | value << at & mask;
            let source = A >> from & ones(width);
            let old = (B & mask) >> at;
            let shifted = B << 3 & mask;
            let results = [
                (Op::Move, insert(source)),
                (Op::Add, insert(old.wrapping_add(source))),
                (Op::Xor, insert(old ^ source)),
                (Op::And, insert(old & source)),
                (Op::Shl, B & !mask | shifted),
            ];
            for (op, result) in results {
                c.asm.op(Op::Move, To::Ps(3), To::Imm(if op == Op::Shl { 3 << from } else { A }));
                c.asm.op(Op::Move, to, To::Imm(B));
                c.asm.part(op, to, position, To::Ps(3), part);
                c.expect(to, result);
            }
        }
    }
    c.table(0)
}

/// Each kind of source, and jumps, switches and the rest of the instructions. `data` is the number
/// of a data table whose dword behind the header is `A`.
pub fn control(data: u8, callee: u8) -> Table {
    let mut c = Checks::new(2000);
    sources(&mut c, data);
    jumps(&mut c);
    switches(&mut c);
    special(&mut c);
    others(&mut c);
    // A called table gets the parameters behind ours.
    c.asm.op(Op::Move, To::Ps(4), To::Imm(A));
    c.asm.call(callee);
    c.expect(To::Ps(4), !A);
    // One that does not exist is not called.
    c.asm.call(80);
    c.table(16)
}

/// A table that inverts its first parameter, if its workspace is clear.
pub fn callee() -> Table {
    let mut asm = Asm::default();
    let end = asm.label();
    asm.op(Op::Compare, To::Ws(0), To::Imm(0));
    asm.jump(If::NotEqual, end);
    asm.op(Op::Xor, To::Ps(0), To::Imm(!0));
    asm.put(end);
    asm.end();
    asm.table(2, 0)
}

fn sources(c: &mut Checks, data: u8) {
    let to = To::Ws(2);
    for from in [REG, To::Ps(3), To::Ws(1), To::Fb(2)] {
        c.asm.op(Op::Move, from, To::Imm(A));
        c.asm.op(Op::Move, to, from);
        c.expect(to, A);
    }
    for from in [To::Pll(1), To::Mc(1)] {
        c.asm.op(Op::Move, to, from);
        c.expect(to, 0);
    }
    c.asm.data_block(data);
    c.expect(To::Id(4), A);
    // This table, whose workspace is nine dwords.
    c.asm.data_block(255);
    c.asm.part(Op::Move, to, 0, To::Id(4), Part::BYTE);
    c.asm.mask(to, 0, 0xff, To::Imm(0), Part::DWORD);
    c.expect(to, 9);
    // The image.
    c.asm.data_block(0);
    c.asm.part(Op::Move, to, 0, To::Id(0), Part::WORD);
    c.asm.mask(to, 0, 0xffff, To::Imm(0), Part::DWORD);
    c.expect(to, 0xaa55);
}

fn jumps(c: &mut Checks) {
    // Whether each is taken where the first operand is below, equal to, or above the second.
    let conditions = [
        (If::Always, [true, true, true]),
        (If::Equal, [false, true, false]),
        (If::NotEqual, [true, false, true]),
        (If::Below, [true, false, false]),
        (If::Above, [false, false, true]),
        (If::BelowOrEqual, [true, true, false]),
        (If::AboveOrEqual, [false, true, true]),
    ];
    let to = To::Ws(2);
    for (condition, taken_if) in conditions {
        for ((a, b), holds) in
            [(1, 0xffff_fff0), (A, A), (0xffff_fff0, 1)].into_iter().zip(taken_if)
        {
            let taken = c.asm.label();
            c.asm.op(Op::Move, to, To::Imm(a));
            c.asm.op(Op::Move, To::Ws(3), To::Imm(1));
            c.asm.op(Op::Compare, to, To::Imm(b));
            c.asm.jump(condition, taken);
            c.asm.op(Op::Move, To::Ws(3), To::Imm(0));
            c.asm.put(taken);
            c.expect(To::Ws(3), holds.into());
        }
    }
    // A comparison in each kind of destination, equal and not.
    for to in DESTINATIONS {
        let a = if keeps(to) { A } else { 0 };
        for (op, from, equal) in [
            (Op::Compare, a, true),
            (Op::Compare, !a, false),
            (Op::Test, !a, true),
            (Op::Test, !0, a == 0),
        ] {
            let taken = c.asm.label();
            c.asm.op(Op::Move, to, To::Imm(A));
            c.asm.op(Op::Move, To::Ws(3), To::Imm(1));
            c.asm.op(op, to, To::Imm(from));
            c.asm.jump(If::Equal, taken);
            c.asm.op(Op::Move, To::Ws(3), To::Imm(0));
            c.asm.put(taken);
            c.expect(To::Ws(3), equal.into());
        }
    }
    // A loop.
    c.asm.op(Op::Move, To::Ws(2), To::Imm(10));
    c.asm.op(Op::Move, To::Ws(3), To::Imm(0));
    let again = c.asm.label();
    c.asm.put(again);
    c.asm.op(Op::Add, To::Ws(3), To::Ws(2));
    c.asm.op(Op::Sub, To::Ws(2), To::Imm(1));
    c.asm.op(Op::Compare, To::Ws(2), To::Imm(0));
    c.asm.jump(If::NotEqual, again);
    c.expect(To::Ws(3), 55);
}

fn switches(c: &mut Checks) {
    for (part, value) in [(Part::DWORD, A), (Part::WORD, A & 0xffff), (Part::BYTE, A & 0xff)] {
        for known in [true, false] {
            let labels = [(); 3].map(|()| c.asm.label());
            let last = c.asm.label();
            c.asm.op(Op::Move, To::Ws(2), To::Imm(A));
            let third = if known { value } else { value ^ 3 };
            c.asm.switch(
                To::Ws(2),
                part,
                &[(value ^ 1, labels[0]), (value ^ 2, labels[1]), (third, labels[2])],
            );
            c.asm.op(Op::Move, To::Ws(3), To::Imm(9));
            c.asm.jump(If::Always, last);
            for (n, label) in labels.into_iter().enumerate() {
                c.asm.put(label);
                c.asm.op(Op::Move, To::Ws(3), To::Imm(n as u32));
                c.asm.jump(If::Always, last);
            }
            c.asm.put(last);
            c.expect(To::Ws(3), if known { 2 } else { 9 });
        }
    }
}

fn special(c: &mut Checks) {
    c.asm.op(Op::Move, SHIFT, To::Imm(7));
    c.expect(OR_MASK, 1 << 7);
    c.expect(AND_MASK, !(1 << 7));
    c.expect(SHIFT, 7);
    c.asm.op(Op::Move, ATTRIBUTES, To::Imm(A));
    c.expect(ATTRIBUTES, A & 0xffff);
    c.asm.op(Op::Move, DATA_BLOCK, To::Imm(0x30));
    c.asm.part(Op::Move, To::Ws(2), 0, To::Id(1), Part::DWORD);
    c.expect(To::Ws(2), u32::from_le_bytes(*b"7612"));
    c.asm.data_block(0);
    // The window moves the scratch area's dwords, in bytes.
    c.asm.scratch_window(To::Imm(0));
    c.asm.op(Op::Move, To::Fb(9), To::Imm(B));
    c.asm.scratch_window(To::Imm(32));
    c.expect(SCRATCH_WINDOW, 32);
    c.expect(To::Fb(1), B);
    c.asm.scratch_window(To::Imm(0));
    // The block moves the registers.
    c.asm.op(Op::Move, REG, To::Imm(A));
    c.asm.register_block(0x5c0);
    c.expect(REGISTER_BLOCK, 0x5c0);
    c.expect(To::Reg(9), A);
    c.asm.register_block(0);
    // Register 0 takes the offset of another register in bytes, register 1 is that one.
    c.asm.op(Op::Move, To::Reg(0), To::Imm(0x5c9));
    c.expect(To::Reg(1), A);
    c.asm.op(Op::Move, To::Reg(1), To::Imm(B));
    c.expect(REG, B);
    c.asm.op(Op::Move, To::Reg(0), To::Imm(0));
}

fn others(c: &mut Checks) {
    // REPEAT, NOP, BEEP, SAVE_REG, RESTORE_REG; POST_CARD, DEBUG.
    for opcode in [83, 90, 99, 100, 101] {
        c.asm.instruction(opcode, &[]);
    }
    for opcode in [98, 121] {
        c.asm.instruction(opcode, &[0x42]);
    }
    // PROCESS_DS, over instructions that do not exist.
    c.asm.instruction(122, &[3, 0, 0xff, 0xff, 0xff]);
    // The ports of the configuration space and of the system's I/O.
    c.asm.op(Op::Move, REG, To::Imm(A));
    for port in [56, 57] {
        c.asm.instruction(port, &[0]);
        c.asm.op(Op::Move, REG, To::Imm(B));
        c.expect(REG, 0);
        c.asm.port(0);
        c.expect(REG, A);
    }
}
