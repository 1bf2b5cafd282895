// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random images whose programs make sense: every instruction and every kind of operand, with jumps
//! to instructions, calls of tables and programs for indirect access.

use crate::random::Random;

pub const SIZE: usize = 0x8000;

const HEADER: usize = 0x200;
const COMMANDS: usize = 0x240;
const DATA: usize = 0x300;
const FIRMWARE_INFO: usize = 0x380;
const INDIRECT: usize = 0x400;
const DATA_TABLES: usize = 0x1000;
const CODE: usize = 0x2000;
const CODE_SIZE: usize = 0x800;
/// Tables with random code. Table 0 calls the first, and then shows the machine's state.
const TABLES: usize = 8;

/// An image, and where its code is.
pub struct Image {
    pub bytes: Vec<u8>,
    /// Offsets of instructions, and of the last byte of each table.
    pub code: Vec<std::ops::Range<usize>>,
}

impl Image {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_word(&mut self, at: usize, word: usize) {
        self.put(at, &(word as u16).to_le_bytes());
    }
}

/// Makes an image. One that is to be `corrupted` has tables that do not move the parameters, as no
/// nesting then moves them out of the space that the oracle has for them.
pub fn image(random: &mut Random, corrupted: bool) -> Image {
    let mut image = Image { bytes: vec![0; SIZE], code: Vec::new() };
    image.put(0, &[0x55, 0xaa]);
    image.put(0x30, b" 761295520");
    image.put_word(0x48, HEADER);
    image.put(0x80, b"RANDOM");
    image.put(HEADER + 4, b"ATOM");
    image.put_word(HEADER + 0x1e, COMMANDS);
    image.put_word(HEADER + 0x20, DATA);
    // Data tables: FirmwareInfo with two clocks, programs for indirect access, and noise.
    image.put_word(DATA + 4 + 2 * 4, FIRMWARE_INFO);
    image.put(FIRMWARE_INFO + 8, &70_000u32.to_le_bytes());
    image.put(FIRMWARE_INFO + 12, &150_000u32.to_le_bytes());
    image.put_word(DATA + 4 + 2 * 23, INDIRECT);
    for table in 5..12 {
        image.put_word(DATA + 4 + 2 * table, DATA_TABLES + 64 * table);
    }
    for at in DATA_TABLES..DATA_TABLES + 0x800 {
        image.bytes[at] = random.byte();
    }
    indirect(random, &mut image);
    for table in 1..=TABLES {
        let start = CODE + CODE_SIZE * table;
        image.put_word(COMMANDS + 4 + 2 * table, start);
        command(random, &mut image, table, start, corrupted);
    }
    image.put_word(COMMANDS + 4, CODE);
    show(random, &mut image);
    image
}

/// Programs for indirect access: ports 1 to 6 have both, 7 only reads, 8 only writes.
fn indirect(random: &mut Random, image: &mut Image) {
    let mut at = INDIRECT + 4;
    for port in 1..=8u8 {
        for number in [port, 0x80 | port] {
            if matches!(number, 0x87 | 0x08) {
                continue;
            }
            image.put(at, &[1, number]);
            at += 2;
            for _ in 0..random.below(9) {
                let [a, b, c] = [(); 3].map(|()| random.byte());
                // Mostly fields that are inside of a dword.
                let (a, b, c) = if random.one_in(8) { (a, b, c) } else { (a % 33, b % 32, c % 32) };
                let op = match random.byte() % 8 {
                    0 => vec![0],
                    n @ (1 | 2) => vec![n + 1, a, b % 4],
                    n @ (3 | 4) => vec![n + 1, a, b],
                    n => vec![n + 1, a, b, c],
                };
                image.put(at, &op);
                at += op.len();
            }
            image.put(at, &[9, random.byte(), random.byte()]);
            at += 3;
        }
    }
}

/// Table 0: calls table 1, then writes all that a table can see of the machine to registers.
fn show(random: &mut Random, image: &mut Image) {
    let mut code = vec![82, 1];
    let write = |register: u16, source: u8, number: &[u8]| {
        let mut op = vec![1, source];
        op.extend(register.to_le_bytes());
        op.extend(number);
        op
    };
    // Which jumps the flags allow.
    for (n, opcode) in (67..=73).enumerate() {
        // Over the instruction behind the jump, of eight bytes.
        let target = 6 + code.len() + 3 + 8;
        code.push(opcode);
        code.extend((target as u16).to_le_bytes());
        code.extend(write(0x100 + n as u16, 5, &[n as u8, 0, 0, 1]));
    }
    for special in 0x40..=0x48 {
        code.extend(write(0x200, 2, &[special]));
    }
    // By the port that was set, then by none.
    code.extend([55, 0, 0]);
    for special in 0x40..=0x48 {
        code.extend(write(0x201, 2, &[special]));
    }
    for parameter in 0..20 {
        code.extend(write(0x202, 1, &[parameter]));
    }
    code.extend([59, 5, 0, 0, 0, 0]);
    for dword in 0..=255 {
        code.extend(write(0x203, 3, &[dword]));
    }
    code.push(91);
    let size = 6 + code.len();
    image.put_word(CODE, size);
    image.put(CODE + 4, &[random.byte() % 8, 0]);
    image.put(CODE + 6, &code);
}

/// One instruction, with the place of its target if it jumps.
struct Instruction {
    bytes: Vec<u8>,
    targets: Vec<usize>,
}

fn command(random: &mut Random, image: &mut Image, table: usize, start: usize, corrupted: bool) {
    let workspace = random.byte() % 20;
    let parameters = if corrupted { 0 } else { random.pick(&[0, 4, 8, 0x80, 0x88]) };
    let mut ops = Vec::new();
    let mut size = 6;
    while size < CODE_SIZE - 64 && ops.len() < 120 {
        let op = instruction(random, table, workspace, corrupted);
        size += op.bytes.len();
        ops.push((size - op.bytes.len(), op));
    }
    // Places to jump to: every instruction, and the end.
    let mut places: Vec<usize> = ops.iter().map(|(at, _)| *at).collect();
    places.push(size);
    for (n, (_, op)) in ops.iter_mut().enumerate() {
        for target in op.targets.clone() {
            let to = if random.one_in(24) {
                random.below(places.len())
            } else {
                (n + 1 + random.below(6)).min(places.len() - 1)
            };
            op.bytes[target..target + 2].copy_from_slice(&(places[to] as u16).to_le_bytes());
        }
    }
    image.put_word(start, size + 1);
    image.put(start + 4, &[workspace, parameters]);
    for (at, op) in &ops {
        image.put(start + at, &op.bytes);
    }
    image.put(start + size, &[91]);
    image.code.push(start + 6..start + size + 1);
}

/// Bytes of a constant, by the part in bits 5:3 of the attributes.
fn constant(random: &mut Random, attributes: u8) -> Vec<u8> {
    let size = match attributes >> 3 & 7 {
        0 => 4,
        1..=3 => 2,
        _ => 1,
    };
    (0..size).map(|_| if random.one_in(3) { random.byte() % 4 } else { random.byte() }).collect()
}

/// The number of an operand of a kind, as attributes have it in bits 2:0.
fn operand(random: &mut Random, kind: u8, workspace: u8) -> Vec<u8> {
    match kind {
        0 => (random.word() % 48).to_le_bytes().to_vec(),
        1 => vec![if random.one_in(32) { random.byte() } else { random.byte() % 17 }],
        2 => vec![match random.below(8) {
            0 | 1 => 0x40 + random.byte() % 9,
            2 => random.byte() % 0x60,
            _ => random.byte() % (workspace + 1),
        }],
        3 => vec![random.byte()],
        4 if random.one_in(400) => random.word().to_le_bytes().to_vec(),
        4 => (random.word() % 0x800).to_le_bytes().to_vec(),
        _ => vec![random.byte() % 16],
    }
}

fn source(random: &mut Random, attributes: u8, workspace: u8) -> Vec<u8> {
    match attributes & 7 {
        5 => constant(random, attributes),
        kind => operand(random, kind, workspace),
    }
}

/// Kinds of destinations, by the distance of the opcode from the first of its six.
const DESTINATIONS: [u8; 6] = [0, 1, 2, 3, 6, 7];

fn instruction(random: &mut Random, table: usize, workspace: u8, corrupted: bool) -> Instruction {
    // All opcodes alike, but that the end of the table shall not come soon.
    let opcode = match random.byte() % 126 + 1 {
        91 if !random.one_in(8) => 90,
        opcode => opcode,
    };
    let attributes = random.byte();
    let mut bytes = vec![opcode];
    let mut targets = Vec::new();
    let first = match opcode {
        1..=54 => Some(1),
        60..=65 => Some(60),
        74..=79 => Some(74),
        84..=89 => Some(84),
        92..=97 => Some(92),
        103..=120 => Some(103),
        123..=126 => None,
        _ => None,
    };
    let destination = match (first, opcode) {
        (Some(first), _) => Some(DESTINATIONS[usize::from(opcode - first) % 6]),
        (None, 123 | 125) => Some(1),
        (None, 124 | 126) => Some(2),
        _ => None,
    };
    if let Some(kind) = destination {
        bytes.push(attributes);
        bytes.extend(operand(random, kind, workspace));
        match opcode {
            // Shifts by a constant, clears.
            19..=30 => {
                bytes.push(if random.one_in(8) { random.byte() } else { random.byte() % 32 })
            }
            84..=89 => {}
            92..=97 => {
                bytes.extend(constant(random, attributes));
                bytes.extend(source(random, attributes, workspace));
            }
            _ => bytes.extend(source(random, attributes, workspace)),
        }
        return Instruction { bytes, targets };
    }
    match opcode {
        55 => {
            let port = random.below(10) as u16;
            bytes.extend(if random.one_in(8) { port << 8 | 0x80 } else { port }.to_le_bytes());
        }
        56 | 57 | 98 | 121 => bytes.push(random.byte()),
        58 => bytes.extend((random.word() % 64).to_le_bytes()),
        // Mostly a window inside of the scratch area.
        59 if random.one_in(4) => {
            bytes.push(attributes);
            bytes.extend(source(random, attributes, workspace));
        }
        59 => {
            bytes.push(5 | 1 << 3);
            bytes.extend((random.word() % (20 << 10)).to_le_bytes());
        }
        66 => {
            bytes.push(attributes);
            bytes.extend(source(random, attributes, workspace));
            for _ in 0..random.below(5) {
                bytes.push(0x63);
                bytes.extend(constant(random, attributes));
                targets.push(bytes.len());
                bytes.extend([0; 2]);
            }
            bytes.extend([0x5a; 2]);
        }
        67..=73 => {
            targets.push(1);
            bytes.extend([0; 2]);
        }
        80 | 81 => bytes.push(random.byte()),
        82 => {
            // Tables behind this one, tables that do not exist, and perhaps any.
            let any = corrupted && random.one_in(16);
            let callee = table + 1 + random.below(TABLES);
            bytes.push(if any { random.byte() % 10 } else { callee as u8 });
        }
        102 => bytes.push(random.pick(&[0, 0, 5, 6, 11, 40, 255])),
        122 => {
            let size = random.below(8);
            bytes.extend((size as u16).to_le_bytes());
            bytes.extend((0..size).map(|_| random.byte()));
        }
        _ => {}
    }
    Instruction { bytes, targets }
}

/// Changes some bytes of the code.
pub fn corrupt(random: &mut Random, image: &mut Image) {
    for _ in 0..=random.below(20) {
        let range = image.code[random.below(image.code.len())].clone();
        let at = range.start + random.below(range.len());
        image.bytes[at] = random.byte();
    }
}
