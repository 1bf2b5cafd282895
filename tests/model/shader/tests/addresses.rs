// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Where buffer accesses and accesses of the local data share go: random instructions, one at a
//! time, against oracles that are written here from the ISA manual's words and know nothing of the
//! executor. Memory holds a pattern, in which each address shows.

use std::collections::BTreeMap;

use amdgpu_shader::{
    bus::Bus,
    context::Context,
    isa::code,
    machine::{
        self,
        Shared, //
    },
    memory::Flat,
    mode::Mode,
    program::{
        Allocation,
        Program, //
    },
    rng::Rng,
    tiling::Modes,
    wave::{
        LANES,
        Row,
        Wave, //
    }, //
};

const PROGRAM: u64 = 0x10_0000;
const REGION: u64 = 0x40_0000;
const REGION_SIZE: usize = 1 << 16;
/// Instructions of each kind.
const ROUNDS: usize = 600;
/// First register of data: v8.
const DATA: usize = 8;

/// What a lane moves: bytes, and whether a sign is extended.
#[derive(Clone, Copy, Debug)]
struct Element {
    bytes: usize,
    signed: bool,
}

const fn element(bytes: usize, signed: bool) -> Element {
    Element { bytes, signed }
}

/// A row of each number.
fn rows(rng: &mut Rng) -> Vec<Row> {
    (0..20).map(|_| std::array::from_fn(|_| rng.word())).collect()
}

/// Executes one instruction.
fn execute(wave: &mut Wave, words: [u32; 2], memory: &mut Flat, lds: &mut [u8]) {
    memory.put_words(PROGRAM, &words);
    let context = Context {
        unit: 0,
        unaligned: true,
        apertures: [0; 2],
        borders: 0,
        tiling: Modes::default(),
    };
    let mut program = Program::new(Allocation { vector: 20, scalar: 104 });
    let mut shared =
        Shared { program: &mut program, lds, context: &context, waits: false, graphics: None };
    machine::run(wave, &mut shared, &mut Bus::new(memory), 1).unwrap();
}

fn wave(vector: Vec<Row>, rng: &mut Rng) -> Wave {
    let mut wave = Wave::new(PROGRAM, Mode(0), [0; 128], vector);
    wave.set_pair(code::EXEC, if rng.below(2) == 0 { !0 } else { rng.long() & rng.long() });
    wave
}

/// A number for each lane: the same, ascending, descending, or any, all below `most`.
fn spread(rng: &mut Rng, step: usize, most: usize) -> Row {
    let first = rng.below(most / 2 + 1);
    let kind = rng.below(4);
    std::array::from_fn(|lane| {
        let n = match kind {
            0 => first,
            1 => first + lane * step,
            2 => first + (LANES - 1 - lane) * step,
            _ => rng.below(most.max(1)) / step * step,
        };
        (n % most.max(1)) as u32
    })
}

/// The bytes that an element in registers has, low ones first.
fn bytes_of(vector: &[Row], lane: usize, element: Element) -> Vec<u8> {
    let words = vector[DATA..].iter().flat_map(|row| row[lane].to_le_bytes());
    words.take(element.bytes).collect()
}

/// A dword as an element of these bytes fills it.
fn extended(bytes: &[u8], element: Element) -> u32 {
    let mut word = [0; 4];
    let fill = element.signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
    word.fill(if fill { 0xff } else { 0 });
    word[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(word)
}

/// A buffer as the manual tells of it.
#[derive(Debug)]
struct Buffer {
    base: u64,
    stride: usize,
    records: usize,
    /// Bytes of an element and records of a block, of a swizzled buffer.
    swizzle: Option<(usize, usize)>,
    lane_index: bool,
    /// Where each byte of each record is, of a swizzled buffer.
    layout: BTreeMap<(usize, usize), usize>,
}

impl Buffer {
    fn random(rng: &mut Rng) -> Buffer {
        let base = REGION + rng.below(64) as u64;
        let stride = [0, 0, 4, 12, 16, 32, 64, 96][rng.below(8)];
        let lane_index = stride != 0 && rng.below(3) == 0;
        let records = if stride == 0 { rng.below(1 << 14) } else { rng.below(120) };
        let element = [4, 8, 16][rng.below(3)];
        let swizzled = stride != 0 && stride % element == 0 && rng.below(2) == 0;
        let swizzle = swizzled.then(|| (element, 8 << rng.below(4)));
        let mut buffer =
            Buffer { base, stride, records, swizzle, lane_index, layout: BTreeMap::new() };
        buffer.lay_out();
        buffer
    }

    /// Blocks of records stand one behind the other. In a block all records' first elements stand
    /// together, then all second ones.
    fn lay_out(&mut self) {
        let Some((element, block)) = self.swizzle else { return };
        let mut at = 0;
        for first in (0..256).step_by(block) {
            for part in (0..self.stride).step_by(element) {
                for record in first..first + block {
                    for byte in part..part + element {
                        self.layout.insert((record, byte), at);
                        at += 1;
                    }
                }
            }
        }
    }

    fn words(&self) -> [u32; 4] {
        let (element, block) = self.swizzle.unwrap_or((4, 8));
        let flags = u32::from(self.swizzle.is_some()) << 31;
        [
            self.base as u32,
            (self.base >> 32) as u32 | (self.stride as u32) << 16 | flags,
            self.records as u32,
            0x0002_7fac
                | (element / 4).ilog2() + 1 << 19
                | (block / 8).ilog2() << 21
                | u32::from(self.lane_index) << 23,
        ]
    }

    /// The address of each byte of an access, or nothing for one that is out of range. A structured
    /// buffer counts records, a raw one bytes, dword by dword.
    fn addresses(
        &self,
        (index, offset, soffset): (usize, usize, usize),
        element: Element,
    ) -> Vec<Option<u64>> {
        let at = |position: usize| self.base + (soffset + position) as u64;
        (0..element.bytes)
            .map(|byte| match self.swizzle {
                _ if self.stride != 0 && index >= self.records => None,
                Some(_) => Some(at(self.layout[&(index, offset)] + byte)),
                None if self.stride != 0 => Some(at(index * self.stride + offset + byte)),
                None => {
                    let last = offset + (byte / 4 * 4 + 4).min(element.bytes);
                    (soffset + last <= self.records).then(|| at(offset + byte))
                }
            })
            .collect()
    }
}

/// An access of a buffer: registers, flags, and where each lane's bytes are.
struct Access {
    wave: Wave,
    flags: u32,
    soffset: u32,
    addresses: Vec<Vec<Option<u64>>>,
    said: String,
}

fn access(element: Element, rng: &mut Rng) -> Access {
    let buffer = Buffer::random(rng);
    let mut vector = rows(rng);
    let (idxen, offen) = (buffer.stride != 0 && rng.below(4) != 0, rng.below(3) != 0);
    // In a swizzled buffer an access stays in its element.
    let step = buffer.swizzle.map_or(element.bytes, |(e, _)| e.max(element.bytes));
    let reach = match (buffer.swizzle, buffer.stride) {
        (Some(_), stride) => stride,
        (None, 0) => 1 << 13,
        (None, stride) => stride + 20,
    };
    let fits = buffer.swizzle.is_none_or(|(e, _)| element.bytes <= e);
    let (imm, offsets) = match buffer.swizzle {
        None => (rng.below(200), spread(rng, element.bytes, reach)),
        Some(_) => {
            let offsets = spread(rng, step, reach).map(|n| n / step as u32 * step as u32);
            (0, offsets)
        }
    };
    if !fits {
        return access(element, rng);
    }
    let indices = spread(rng, 1, 130);
    let mut next = 0;
    if idxen {
        vector[next] = indices;
        next += 1;
    }
    if offen {
        vector[next] = offsets;
    }
    let mut wave = wave(vector, rng);
    wave.scalar[8..12].copy_from_slice(&buffer.words());
    let soffset = rng.below(3) * rng.below(1000);
    wave.scalar[20] = soffset as u32;
    let addresses = (0..LANES)
        .map(|lane| {
            let index = if idxen { indices[lane] as usize } else { 0 }
                + if buffer.lane_index { lane } else { 0 };
            let offset = imm + if offen { offsets[lane] as usize } else { 0 };
            buffer.addresses((index, offset, soffset), element)
        })
        .collect();
    let said = format!("{buffer:x?}, idxen {idxen}, offen {offen}, imm {imm}, soffset {soffset}");
    let flags = imm as u32 | u32::from(offen) << 12 | u32::from(idxen) << 13;
    Access { wave, flags, soffset: 20, addresses, said }
}

fn mubuf(opcode: u32, access: &Access) -> [u32; 2] {
    [
        0b111000 << 26 | opcode << 18 | access.flags,
        (DATA as u32) << 8 | 2 << 16 | access.soffset << 24,
    ]
}

fn pattern(rng: &mut Rng) -> Vec<u8> {
    (0..REGION_SIZE).map(|_| rng.word() as u8).collect()
}

#[test]
#[allow(clippy::needless_range_loop, reason = "a lane is one in all registers")]
fn buffer_loads_read_where_the_descriptor_says() {
    let mut rng = Rng::new(1);
    let pattern = pattern(&mut rng);
    let byte = |at: u64| pattern[(at - REGION) as usize];
    let mut memory = Flat::default();
    memory.put(REGION, &pattern);
    let kinds = [
        (8, element(1, false)),
        (9, element(1, true)),
        (10, element(2, false)),
        (11, element(2, true)),
        (12, element(4, false)),
        (13, element(8, false)),
        (15, element(12, false)),
        (14, element(16, false)),
    ];
    for round in 0..ROUNDS {
        let (opcode, element) = kinds[round % kinds.len()];
        let mut access = access(element, &mut rng);
        let before = access.wave.vector.clone();
        let exec = access.wave.exec();
        let words = mubuf(opcode, &access);
        execute(&mut access.wave, words, &mut memory, &mut []);
        for lane in 0..LANES {
            for word in 0..element.bytes.div_ceil(4) {
                let bytes = &access.addresses[lane];
                let bytes = &bytes[4 * word..bytes.len().min(4 * word + 4)];
                let read: Option<Vec<u8>> = bytes.iter().map(|at| at.map(byte)).collect();
                let wanted = match read {
                    _ if exec >> lane & 1 == 0 => before[DATA + word][lane],
                    None => 0,
                    Some(bytes) => extended(&bytes, element),
                };
                assert_eq!(
                    access.wave.vector[DATA + word][lane],
                    wanted,
                    "opcode {opcode}, lane {lane}, dword {word}: {}",
                    access.said
                );
            }
        }
    }
}

#[test]
fn buffer_stores_write_there_and_nowhere_else() {
    let mut rng = Rng::new(2);
    let kinds = [
        (24, element(1, false)),
        (26, element(2, false)),
        (28, element(4, false)),
        (29, element(8, false)),
        (31, element(12, false)),
        (30, element(16, false)),
    ];
    for round in 0..ROUNDS / 2 {
        let (opcode, element) = kinds[round % kinds.len()];
        let mut access = access(element, &mut rng);
        let mut wanted = pattern(&mut rng);
        let mut memory = Flat::default();
        memory.put(REGION, &wanted);
        let exec = access.wave.exec();
        // Lanes that reach all of their element, then those that reach a part.
        for whole in [true, false] {
            for lane in (0..LANES).filter(|lane| exec >> lane & 1 != 0) {
                let to = &access.addresses[lane];
                if to.iter().all(Option::is_some) == whole {
                    for (at, byte) in to.iter().zip(bytes_of(&access.wave.vector, lane, element)) {
                        at.iter().for_each(|at| wanted[(at - REGION) as usize] = byte);
                    }
                }
            }
        }
        let words = mubuf(opcode, &access);
        execute(&mut access.wave, words, &mut memory, &mut []);
        let seen: Vec<u8> =
            memory.words(REGION, REGION_SIZE / 4).iter().flat_map(|w| w.to_le_bytes()).collect();
        let wrong = (0..REGION_SIZE).find(|n| seen[*n] != wanted[*n]);
        assert_eq!(wrong, None, "opcode {opcode}: {}", access.said);
    }
}

/// An instruction of the local data share.
struct Lds {
    opcode: u32,
    element: Element,
    /// Bytes that a step of an offset is, for those with two offsets.
    two: Option<usize>,
    stores: bool,
}

const fn one(opcode: u32, element: Element, stores: bool) -> Lds {
    Lds { opcode, element, two: None, stores }
}

const fn two(opcode: u32, bytes: usize, step: usize, stores: bool) -> Lds {
    Lds { opcode, element: element(bytes, false), two: Some(step), stores }
}

const LDS: &[Lds] = &[
    one(13, element(4, false), true),
    two(14, 4, 4, true),
    two(15, 4, 256, true),
    one(30, element(1, false), true),
    one(31, element(2, false), true),
    one(54, element(4, false), false),
    two(55, 4, 4, false),
    two(56, 4, 256, false),
    one(57, element(1, true), false),
    one(58, element(1, false), false),
    one(59, element(2, true), false),
    one(60, element(2, false), false),
    one(77, element(8, false), true),
    two(78, 8, 8, true),
    two(79, 8, 512, true),
    one(118, element(8, false), false),
    two(119, 8, 8, false),
    two(120, 8, 512, false),
];

#[test]
fn the_local_data_share_is_where_addresses_and_limits_say() {
    let mut rng = Rng::new(3);
    for round in 0..4 * ROUNDS {
        let Lds { opcode, element, two, stores } = &LDS[round % LDS.len()];
        let size = 512 * (1 + rng.below(8));
        let mut share: Vec<u8> = (0..size).map(|_| rng.word() as u8).collect();
        let mut vector = rows(&mut rng);
        // Some lanes are beyond the end.
        vector[0] = spread(&mut rng, element.bytes, size + 64).map(|n| n / 4 * 4);
        let mut wave = wave(vector, &mut rng);
        let limit = if rng.below(2) == 0 { !0 } else { rng.below(size) as u32 };
        wave.scalar[usize::from(code::M0)] = limit;
        let limit = size.min(limit as usize);
        let raw = if two.is_some() { rng.word() & 0xffff } else { rng.word() & 0xff & !3 };
        let offsets = match two {
            Some(step) => vec![(raw & 0xff) as usize * step, (raw >> 8) as usize * step],
            None => vec![raw as usize],
        };
        let (before, exec, mut wanted) = (wave.vector.clone(), wave.exec(), share.clone());
        let words = [
            0b110110 << 26 | opcode << 18 | raw,
            // Both operands of data, and the result.
            (DATA as u32) << 8
                | (DATA as u32 + element.bytes.div_ceil(4) as u32) << 16
                | (DATA as u32) << 24,
        ];
        let words = match (stores, two) {
            (true, Some(_)) => [words[0], words[1] & 0xff_ffff],
            (true, None) => [words[0], words[1] & 0xffff],
            (false, _) => [words[0], words[1] & 0xff00_0000],
        };
        execute(&mut wave, words, &mut Flat::default(), &mut share);
        let mut result = before.clone();
        for lane in (0..LANES).filter(|lane| exec >> lane & 1 != 0) {
            for (n, offset) in offsets.iter().enumerate() {
                for word in 0..element.bytes.div_ceil(4) {
                    let register = DATA + n * element.bytes.div_ceil(4) + word;
                    let at = before[0][lane] as usize + offset + 4 * word;
                    let bytes = at..at + element.bytes.min(4);
                    let inside = bytes.end <= limit;
                    if *stores && inside {
                        let word = before[register][lane].to_le_bytes();
                        wanted[bytes.clone()].copy_from_slice(&word[..bytes.len()]);
                    } else if !*stores {
                        let word = if inside { extended(&share[bytes], *element) } else { 0 };
                        result[register][lane] = word;
                    }
                }
            }
        }
        assert_eq!(share, wanted, "opcode {opcode}: what is in it, limit {limit}");
        assert!(wave.vector == result, "opcode {opcode}: registers, limit {limit}");
    }
}
