// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random programs beside the C driver's interpreter: the same accesses to the card in the same
//! order, and the same end where the C driver's has one.

use crate::{
    asic_init,
    card::{
        Access,
        Card,
        LOGGED, //
    },
    generate,
    hw::atom::{
        Budget,
        Cause,
        Fault, //
    },
    oracle::{
        self,
        Coverage,
        End, //
    },
    random::Random,
    Room, //
};

const BUDGET: Budget = Budget { steps: 5_000, wait: 10_000_000 };
/// Reads of the image for which the oracle goes on, more than ours can take steps.
const READS: u64 = 100_000;

/// The ends of runs.
#[derive(Default, Debug)]
struct Tally {
    well: u32,
    out_of_image: u32,
    nesting: u32,
    /// Instructions that there are not.
    no_sense: u32,
    /// Ends of ours where the C driver's goes on as it may.
    ours_only: u32,
    accesses: usize,
    steps: u64,
}

/// Runs an image on both. Panics where they differ.
fn compare(seed: u64, image: &[u8], room: &mut Room, coverage: &mut Coverage, tally: &mut Tally) {
    let mut ours = Card::new(seed);
    let (result, steps) = asic_init(image, &mut ours, room, BUDGET);
    let mut theirs = Card::new(seed);
    let end = oracle::asic_init(image, &mut theirs, READS, coverage);

    let same = same_accesses(&ours.log, &theirs.log);
    let all = ours.log.len() == theirs.log.len();
    let fits = match result.map_err(|Fault { what, .. }| what) {
        Ok(()) => all && end == End::Well,
        Err(Cause::OutOfImage) => all && end == End::OutOfImage,
        Err(Cause::Nesting) => all && end == End::Error,
        // Here the C driver goes on with something that is not so, or has more time.
        Err(Cause::Opcode(_) | Cause::Case(_) | Cause::Indirect(_) | Cause::Scratch) => true,
        Err(Cause::Steps | Cause::Wait) => true,
        Err(Cause::NoTable | Cause::Workspace) => false,
    };
    assert!(
        fits && same.is_ok(),
        "seed {seed:#x}: ours ended with {result:x?} after {} accesses, the C driver's \
         with {end:?} after {}: {same:x?}",
        ours.log.len(),
        theirs.log.len(),
    );
    let count = match result.map_err(|Fault { what, .. }| what) {
        Ok(()) => &mut tally.well,
        Err(Cause::OutOfImage) => &mut tally.out_of_image,
        Err(Cause::Nesting) => &mut tally.nesting,
        Err(Cause::Opcode(_) | Cause::Case(_) | Cause::Indirect(_)) => &mut tally.no_sense,
        Err(_) => &mut tally.ours_only,
    };
    *count += 1;
    tally.accesses += ours.log.len();
    tally.steps += u64::from(steps);
}

/// Compares what ours did with as much of what the C driver's did. Returns the first difference.
fn same_accesses(
    ours: &[Access],
    theirs: &[Access],
) -> Result<(), (usize, Access, Option<Access>)> {
    // Where the C driver's was ended earlier, at its own limit, its log is the shorter one.
    let until = if theirs.len() < LOGGED / 2 { ours.len() } else { ours.len().min(theirs.len()) };
    let differs = (0..until).find(|&n| ours.get(n) != theirs.get(n));
    match differs {
        Some(n) => Err((n, ours[n], theirs.get(n).copied())),
        None => Ok(()),
    }
}

/// Output of the C driver's interpreter at its operands: kinds, and parts that are read and
/// written.
const OPERANDS: [&str; 24] = [
    "REG[0x%04X]",
    "PS[0x%02X,0x%04X]",
    "PS[0x%02X]",
    "WS[0x%02X]",
    "FB[0x%02X]",
    "ID[0x%04X]",
    "ID[0x%04X+%04X]",
    "IMM 0x%08X",
    "IMM 0x%04X",
    "IMM 0x%02X",
    "PLL[0x%02X]",
    "MC[0x%02X]",
    ".[31:0] -> 0x%08X",
    ".[15:0] -> 0x%04X",
    ".[23:8] -> 0x%04X",
    ".[31:16] -> 0x%04X",
    ".[7:0] -> 0x%02X",
    ".[15:8] -> 0x%02X",
    ".[23:16] -> 0x%02X",
    ".[31:24] -> 0x%02X",
    ".[31:0] <- 0x%08X",
    ".[23:8] <- 0x%04X",
    ".[7:0] <- 0x%02X",
    ".[31:24] <- 0x%02X",
];

/// Output for operands that do not exist, of those that ours takes too.
const MISSING: [&str; 6] = [
    "PS index out of range: %i > %i",
    "WS index out of range: %i > %i",
    "ATOM: fb read beyond scratch region: %d vs. %d",
    "ATOM: fb write beyond scratch region: %d vs. %d",
    "Undefined indirect IO read method %d",
    "Undefined indirect IO write method %d",
];

#[test]
fn programs_do_what_they_do_on_the_c_driver() {
    let (mut room, mut coverage, mut tally) = (Room::new(), Coverage::default(), Tally::default());
    for seed in 0..6_000 {
        let image = generate::image(&mut Random::new(seed), false);
        compare(seed, &image.bytes, &mut room, &mut coverage, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.well > 1_000, "too few programs come to their end: {tally:?}");
    assert_eq!(tally.no_sense, 0, "all of them make sense: {tally:?}");
    let missing: Vec<u8> = (1..=126).filter(|op| !coverage.opcodes.contains(op)).collect();
    assert!(missing.is_empty(), "opcodes that no program has run: {missing:?}");
    let lines = coverage.lines();
    for line in OPERANDS.iter().chain(&MISSING) {
        assert!(lines.contains(*line), "no program came to `{line}`");
    }
}

#[test]
fn corrupted_programs_do_the_same_until_they_make_no_sense() {
    let (mut room, mut coverage, mut tally) = (Room::new(), Coverage::default(), Tally::default());
    for seed in 1 << 32..(1 << 32) + 6_000 {
        let mut random = Random::new(seed);
        let mut image = generate::image(&mut random, true);
        generate::corrupt(&mut random, &mut image);
        compare(seed, &image.bytes, &mut room, &mut coverage, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.no_sense > 1_000, "too few programs make no sense: {tally:?}");
    assert!(tally.out_of_image > 0, "no program leaves the image: {tally:?}");
}
