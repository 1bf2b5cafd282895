// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The command tables that post the card, the data that they read, and the programs for indirect
//! access that they use.

use super::{
    asm::{
        Asm,
        If,
        Op,
        Part,
        Table,
        To,
        indirect, //
    },
    self_test::{
        self,
        ATTRIBUTES,
        QUOTIENT,
        VERDICT, //
    }, //
};
use crate::{
    config::Config,
    inject::AsicInit,
    regs::{
        index::*,
        reset::{
            self,
            FB_BASE,
            INIT_COMPLETE,
            REFERENCE_CLOCK, //
        }, //
    }, //
};

/// Numbers of command tables.
const ASIC_INIT: u8 = 0;
const MEMORY_CONTROLLER_INIT: u8 = 5;
const SET_ENGINE_CLOCK: u8 = 10;
const SET_MEMORY_CLOCK: u8 = 11;
const ARITHMETIC: u8 = 70;
const PARTS: u8 = 71;
const CONTROL: u8 = 72;
const CALLEE: u8 = 73;

/// Numbers of data tables.
const SELF_TEST_DATA: u8 = 33;
const MEMORY_DATA: u8 = 34;

/// Ports: SMC registers, with the upper half of their index in the attributes; those of the clock
/// generators, whose upper half is always the same.
const SMC: u8 = 1;
const CLOCKS: u8 = 2;

fn reg(index: u32) -> To {
    To::Reg(u16::try_from(index).expect("a register of the BAR"))
}

/// Command tables, by their numbers.
pub fn commands(config: &Config) -> Vec<(u8, Table)> {
    vec![
        (ASIC_INIT, asic_init(config.inject.asic_init)),
        (MEMORY_CONTROLLER_INIT, memory_controller_init()),
        (SET_ENGINE_CLOCK, set_engine_clock()),
        (SET_MEMORY_CLOCK, set_memory_clock()),
        (ARITHMETIC, self_test::arithmetic()),
        (PARTS, self_test::parts()),
        (CONTROL, self_test::control(SELF_TEST_DATA, CALLEE)),
        (CALLEE, self_test::callee()),
    ]
}

/// Data tables, by their numbers.
pub fn data(config: &Config) -> Vec<(u8, Vec<u8>)> {
    let table = |dwords: &[u32]| {
        let mut bytes = (4 + 4 * dwords.len() as u16).to_le_bytes().to_vec();
        bytes.extend([1, 1]);
        dwords.iter().for_each(|dword| bytes.extend(dword.to_le_bytes()));
        bytes
    };
    let memory = reset::memory_of(config);
    let size = (config.vram >> 20) as u32;
    vec![
        (SELF_TEST_DATA, table(&[self_test::A])),
        (
            MEMORY_DATA,
            table(&[memory.ramcfg, memory.chmap, memory.misc0, size, (FB_BASE >> 24) as u32]),
        ),
        (23, indirect_access()),
    ]
}

/// Posts the card. The first two parameters are the clocks of engine and memory in 10 kHz.
fn asic_init(how: AsicInit) -> Table {
    let mut asm = Asm::default();
    let end = asm.label();
    match how {
        AsicInit::Sound => {}
        AsicInit::Empty => asm.end(),
        AsicInit::Garbage => asm.instruction(0xff, &[]),
        AsicInit::Loop => {
            let again = asm.label();
            asm.put(again);
            asm.jump(If::Always, again);
        }
    }
    asm.op(Op::Move, To::Reg(VERDICT), To::Imm(0));
    for table in [ARITHMETIC, PARTS, CONTROL] {
        asm.call(table);
        asm.op(Op::Compare, To::Reg(VERDICT), To::Imm(0));
        asm.jump(If::NotEqual, end);
    }
    for table in [SET_ENGINE_CLOCK, SET_MEMORY_CLOCK, MEMORY_CONTROLLER_INIT] {
        asm.call(table);
    }
    asm.op(Op::Or, reg(BIOS_SCRATCH_7), To::Imm(INIT_COMPLETE));
    asm.put(end);
    asm.end();
    asm.table(4, 0)
}

/// Has the engine's clock generator make the clock of the first parameter, and waits for it.
fn set_engine_clock() -> Table {
    const SPLL: u16 = CG_SPLL_FUNC_CNTL as u16;
    const DIVIDER: u16 = CG_SPLL_FUNC_CNTL_3 as u16;
    const STATUS: u16 = CG_SPLL_STATUS as u16;

    let mut asm = Asm::default();
    // Feedback divider, with 14 bits behind the point.
    asm.op(Op::Move, To::Ws(1), To::Ps(0));
    asm.op(Op::Mul32, To::Ws(1), To::Imm(1 << 14));
    asm.op(Op::Move, To::Ws(1), QUOTIENT);
    asm.op(Op::Div32, To::Ws(1), To::Imm(REFERENCE_CLOCK));
    asm.op(Op::Move, ATTRIBUTES, To::Imm(CG_SPLL_FUNC_CNTL >> 16));
    asm.port(SMC.into());
    asm.op(Op::Move, To::Reg(DIVIDER), QUOTIENT);
    // Out of reset and bypass, a byte of the register.
    asm.mask(To::Reg(SPLL), 0, 0xf0, To::Imm(SPLL_ON), Part::BYTE);
    asm.port(CLOCKS.into());
    let again = asm.label();
    asm.put(again);
    asm.microseconds(10);
    asm.op(Op::Test, To::Reg(STATUS), To::Imm(SPLL_LOCKED));
    asm.jump(If::Equal, again);
    asm.port(0);
    asm.end();
    asm.table(2, 0)
}

/// Has the memory run by its clock generator. Whatever was in it is lost.
fn set_memory_clock() -> Table {
    let mut asm = Asm::default();
    asm.op(Op::Or, reg(MPLL_CNTL_MODE), To::Imm(MCLK_SEL));
    asm.milliseconds(1);
    asm.end();
    asm.table(0, 0)
}

/// Tells the memory controller of the memory: what it is, how much, and where.
fn memory_controller_init() -> Table {
    let mut asm = Asm::default();
    let (size, base, top) = (To::Ws(1), To::Ws(2), To::Ws(3));
    asm.data_block(MEMORY_DATA);
    for (n, register) in [MC_ARB_RAMCFG, MC_SHARED_CHMAP, MC_SEQ_MISC0].into_iter().enumerate() {
        asm.op(Op::Move, reg(register), To::Id(4 + 4 * n as u16));
    }
    // In MiB for the driver, in 16 MiB for the controller.
    asm.op(Op::Move, size, To::Id(16));
    asm.op(Op::Move, reg(CONFIG_MEMSIZE), size);
    asm.shift(Op::ShiftRight, size, Part::DWORD, 4);
    asm.op(Op::Move, base, To::Id(20));
    asm.op(Op::Move, top, base);
    asm.op(Op::Add, top, size);
    asm.op(Op::Sub, top, To::Imm(1));
    asm.part(Op::Move, reg(MC_VM_FB_LOCATION), 0, base, Part::WORD);
    asm.part(Op::Move, reg(MC_VM_FB_LOCATION), 2, top, Part::WORD);
    // Pages of 4 KiB.
    asm.op(Op::Shl, base, To::Imm(12));
    asm.op(Op::Shl, top, To::Imm(12));
    asm.op(Op::Or, top, To::Imm(0xfff));
    asm.op(Op::Move, reg(MC_VM_SYSTEM_APERTURE_LOW_ADDR), base);
    asm.op(Op::Move, reg(MC_VM_SYSTEM_APERTURE_HIGH_ADDR), top);
    asm.op(Op::Move, reg(BIF_FB_EN), To::Imm(3));
    asm.end();
    asm.table(4, 0)
}

/// Programs for indirect access, with a table's header.
fn indirect_access() -> Vec<u8> {
    use indirect::*;

    const WRITE: u8 = 0x80;
    let (select, value) = (write(SMC_IND_INDEX_0 as u16), SMC_IND_DATA_0 as u16);
    let by_attributes: [&[u8]; 4] = [&NOP, &clear(32, 0), &index(16, 0, 0), &attributes(16, 0, 16)];
    let clocks: [&[u8]; 5] =
        [&clear(32, 0), &index(16, 0, 0), &set(2, 30), &set(1, 22), &set(1, 20)];
    let (fetch, put): ([&[u8]; 2], [&[u8]; 3]) =
        ([&select, &read(value)], [&select, &data(32, 0, 0), &write(value)]);
    let mut table = vec![0, 0, 1, 1];
    for (port, choose) in [(SMC, &by_attributes[..]), (CLOCKS, &clocks[..])] {
        table.extend(program(port, &[choose, &fetch].concat()));
        table.extend(program(WRITE | port, &[choose, &put].concat()));
    }
    let size = table.len() as u16;
    table[..2].copy_from_slice(&size.to_le_bytes());
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_instruction_is_used() {
        let used: BTreeSet<u8> =
            commands(&Config::default()).into_iter().flat_map(|(_, table)| table.opcodes).collect();
        assert_eq!(used, (1..=126).collect());
    }
}
