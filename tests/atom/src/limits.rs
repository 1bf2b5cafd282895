// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The bounds of the interpreter, one by one, with small programs.

use crate::{
    asic_init,
    card::{
        Access,
        Card, //
    },
    hw::atom::{
        image::Image,
        Budget,
        Cause,
        Fault,
        SCRATCH, //
    },
    Room, //
};

const PLENTY: Budget = Budget { steps: 1_000_000, wait: 1_000_000 };

const COMMANDS: usize = 0x100;
const DATA: usize = 0x200;
const TABLE: usize = 0x300;
const CODE: usize = TABLE + 6;

/// An image whose ASIC_Init has this code, and ends where the code does.
fn image(workspace: u8, parameters: u8, code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; CODE];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x48, &[0x60, 0]);
    put(0x64, b"ATOM");
    put(0x7e, &(COMMANDS as u16).to_le_bytes());
    put(0x80, &(DATA as u16).to_le_bytes());
    put(COMMANDS + 4, &(TABLE as u16).to_le_bytes());
    put(TABLE + 4, &[workspace, parameters]);
    image.extend(code);
    image
}

fn run_within(image: &[u8], budget: Budget) -> (Result<(), Fault>, Vec<Access>) {
    let mut card = Card::new(1);
    let (result, _) = asic_init(image, &mut card, &mut Room::new(), budget);
    (result, card.log)
}

fn run(image: &[u8]) -> (Result<(), Fault>, Vec<Access>) {
    run_within(image, PLENTY)
}

fn fault(at: usize, what: Cause) -> Result<(), Fault> {
    Err(Fault { at, what })
}

/// Instruction that writes an operand to register 0x10.
fn show(source: u8, number: u8) -> Vec<u8> {
    vec![1, source, 0x10, 0, number]
}

/// The values that were written.
fn written(log: &[Access]) -> Vec<u32> {
    let value = |access: &Access| match access {
        Access::Write(_, _, value) => Some(*value),
        _ => None,
    };
    log.iter().filter_map(value).collect()
}

#[test]
fn every_cut_of_an_image_is_a_fault() {
    let code = [
        &[1, 5, 0x10, 0, 1, 2, 3, 4][..],
        &[66, 5, 9, 0, 0, 0, 0x63, 8, 0, 0, 0, 0, 0, 0x5a, 0x5a],
        &[122, 2, 0, 0, 0],
        &[91],
    ];
    let whole = image(4, 0, &code.concat());
    assert_eq!(run(&whole).0, Ok(()));
    for length in 0..whole.len() {
        let what = run(&whole[..length]).0.expect_err("a fault").what;
        assert!(matches!(what, Cause::OutOfImage | Cause::NoTable), "{length}: {what:?}");
    }
}

#[test]
fn data_is_read_inside_of_the_image_only() {
    let mut code = vec![1, 4, 0x10, 0];
    let size = CODE + 4 + 3;
    for (offset, reaches) in [(size - 4, true), (size - 3, false), (0xffff, false)] {
        code.truncate(4);
        code.extend((offset as u16).to_le_bytes());
        code.push(91);
        let expected = if reaches { Ok(()) } else { fault(CODE, Cause::OutOfImage) };
        assert_eq!(run(&image(0, 0, &code)).0, expected, "{offset:#x}");
    }
}

#[test]
fn a_jump_out_of_the_image_is_a_fault() {
    for code in [vec![67, 0xff, 0xff, 91], vec![122, 0xff, 0xff, 91]] {
        let at = match code[0] {
            67 => TABLE + 0xffff,
            _ => CODE + 3 + 0xffff,
        };
        assert_eq!(run(&image(0, 0, &code)).0, fault(at, Cause::OutOfImage));
    }
}

#[test]
fn nesting_ends_at_thirty_two_tables() {
    // The workspaces of all tables are as large as they can be.
    let endless = image(255, 0, &[82, 0, 91]);
    assert_eq!(run(&endless).0, fault(CODE, Cause::Nesting));
    // WS[0] of each table is its own; PS[2] counts the tables.
    let mut code = [&[44, 5, 2, 1, 0, 0, 0][..], &[61, 5, 2, 32, 0, 0, 0]].concat();
    code.extend([72, 6 + 7 + 7 + 3 + 2, 0]);
    code.extend([82, 0]);
    code.extend([85, 0, 2, 91]);
    let end = |nested: u8| {
        let mut code = code.clone();
        code[10] = nested;
        run(&image(255, 0, &code)).0
    };
    assert_eq!(end(32), Ok(()));
    assert_eq!(end(33), fault(CODE + 7 + 7 + 3, Cause::Nesting));
}

#[test]
fn time_ends() {
    let endless = image(0, 0, &[67, 6, 0]);
    let budget = Budget { steps: 100_000, wait: 0 };
    let mut card = Card::new(1);
    let (result, steps) = asic_init(&endless, &mut card, &mut Room::new(), budget);
    assert_eq!((result, steps), (fault(CODE, Cause::Steps), 100_000));
    assert_eq!(card.pauses, 100_000 / 4096 + 1, "others run meanwhile");

    let waits = image(0, 0, &[80, 200, 81, 200, 67, 6, 0]);
    let budget = Budget { steps: 1_000, wait: 200_000 + 200 + 200_000 };
    let (result, log) = run_within(&waits, budget);
    assert_eq!(result, fault(CODE + 2, Cause::Wait));
    let delays = [200_000, 200, 200_000].map(Access::Delay);
    assert_eq!(log, delays);
}

#[test]
fn a_switch_takes_steps_for_its_cases() {
    let mut code = vec![66, 0x25, 1];
    code.extend([0x63, 0, 0, 0].repeat(500));
    code.extend([0x5a, 0x5a, 91]);
    let within = |steps| run_within(&image(0, 0, &code), Budget { steps, wait: 0 }).0;
    // The switch, its cases, the end of them, and that of the table.
    assert_eq!(within(1 + 500 + 1 + 1), Ok(()));
    assert_eq!(within(500), fault(CODE, Cause::Steps));
}

#[test]
fn instructions_and_cases_that_there_are_not() {
    for opcode in [0, 127, 255] {
        let (result, _) = run(&image(0, 0, &[opcode, 91]));
        assert_eq!(result, fault(CODE, Cause::Opcode(opcode)));
    }
    let (result, _) = run(&image(0, 0, &[66, 0x25, 1, 0x64, 1, 0, 0, 91]));
    assert_eq!(result, fault(CODE, Cause::Case(0x64)));
}

#[test]
fn dwords_that_do_not_exist() {
    // Two dwords of workspace, and the sixteen parameters: those behind them, and special ones.
    let code = [
        show(2, 1),
        show(2, 2),
        show(2, 0x3f),
        show(2, 0x49),
        show(1, 0),
        show(1, 15),
        show(1, 16),
        show(1, 255),
        vec![91],
    ];
    let (result, log) = run(&image(2, 0, &code.concat()));
    assert_eq!(result, Ok(()));
    const NOTHING: u32 = 0xcdcd_cdcd;
    let expected = [0, NOTHING, NOTHING, NOTHING, crate::CLOCKS[0], 0, NOTHING, NOTHING];
    assert_eq!(written(&log), expected);
}

#[test]
fn parameters_may_move_behind_the_last() {
    // Each table moves the parameters of the next by 31 dwords.
    let code = [show(1, 0), vec![82, 0, 91]].concat();
    let (result, log) = run(&image(0, 124, &code));
    assert_eq!(result, fault(CODE + 5, Cause::Nesting));
    assert_eq!(written(&log)[..2], [crate::CLOCKS[0], 0xcdcd_cdcd]);
}

#[test]
fn the_scratch_area_has_an_end() {
    let last = 4 * (SCRATCH as u32 - 1);
    let program = |window: u32| {
        let mut code = vec![59, 5];
        code.extend(window.to_le_bytes());
        // FB[0] := 7, and what it is then; FB[1].
        code.extend([4, 5, 0, 7, 0, 0, 0]);
        code.extend([show(3, 0), show(3, 1), vec![91]].concat());
        let (result, log) = run(&image(0, 0, &code));
        (result, written(&log))
    };
    assert_eq!(program(last - 4), (Ok(()), vec![7, 0]));
    assert_eq!(program(last), (Ok(()), vec![7, 0]));
    // A window within the last dword, and behind it.
    assert_eq!(program(last + 1), (Ok(()), vec![0, 0]));
    assert_eq!(program(last + 4), (Ok(()), vec![0, 0]));
    assert_eq!(program(u32::MAX).0, fault(CODE + 6, Cause::Scratch));
}

#[test]
fn an_image_may_ask_for_more_scratch() {
    let asks = |address: u32, kib: u16| {
        let mut image = image(0, 0, &[91]);
        let table = DATA + 4 + 2 * 11;
        image[table..table + 2].copy_from_slice(&0x280u16.to_le_bytes());
        image[0x284..0x288].copy_from_slice(&address.to_le_bytes());
        image[0x288..0x28a].copy_from_slice(&kib.to_le_bytes());
        Image(&image).scratch()
    };
    assert_eq!(asks(0x1000, 24), Some(24 * 256));
    assert_eq!(asks(0x1000, 0), None);
    assert_eq!(asks(0x8000_1000, 24), None, "that is for virtual machines");
    assert_eq!(Image(&image(0, 0, &[91])).scratch(), None);
    assert_eq!(Image(&[]).scratch(), None);
}
