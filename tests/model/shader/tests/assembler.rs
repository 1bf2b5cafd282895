// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The decoder against LLVM's assembler: random instructions of each opcode are decoded, printed,
//! assembled by `llvm-mc -mcpu=bonaire`, and must come back bit for bit.

use std::io::Write;
use std::process::{Command, Stdio};

use amdgpu_shader::gfx7::{Words, decode, entries, text};
use amdgpu_shader::isa::{Entry, Format, Op};
use amdgpu_shader::rng::Rng;

/// Instructions of each opcode.
const SAMPLES: usize = 24;

/// Format mark, position of the opcode, and the other fields as (low bit, width) of both dwords.
fn layout(format: Format) -> (u64, u32, &'static [(u32, u32)]) {
    let long = |mark: u64| mark << 26;
    match format {
        Format::Sop2 => (0b10 << 30, 23, &[(0, 8), (8, 8), (16, 7), (32, 32)]),
        Format::Sopk => (0b1011 << 28, 23, &[(0, 16), (16, 7), (32, 32)]),
        Format::Sop1 => (0b1_0111_1101 << 23, 8, &[(0, 8), (16, 7), (32, 32)]),
        Format::Sopc => (0b1_0111_1110 << 23, 16, &[(0, 8), (8, 8), (32, 32)]),
        Format::Sopp => (0b1_0111_1111 << 23, 16, &[(0, 16)]),
        Format::Smrd => (0b11000 << 27, 22, &[(0, 8), (8, 1), (9, 6), (15, 7), (32, 32)]),
        Format::Vop2 => (0, 25, &[(0, 9), (9, 8), (17, 8), (32, 32)]),
        Format::Vop1 => (0x3f << 25, 9, &[(0, 9), (17, 8), (32, 32)]),
        Format::Vopc => (0x3e << 25, 17, &[(0, 9), (9, 8), (32, 32)]),
        Format::Vop3 => {
            let fields = &[(0, 8), (8, 3), (11, 1), (12, 3), (32, 9), (41, 9), (50, 9), (59, 2), (61, 3)];
            (long(0b110100), 17, fields)
        }
        Format::Ds => (long(0b110110), 18, &[(0, 8), (8, 8), (32, 8), (40, 8), (48, 8), (56, 8)]),
        Format::Flat => (long(0b110111), 18, &[(16, 1), (17, 1), (32, 8), (40, 8), (56, 8)]),
        Format::Mubuf => {
            let fields = &[(0, 12), (12, 1), (13, 1), (14, 1), (15, 1), (32, 8), (40, 8), (48, 5), (54, 1), (56, 8)];
            (long(0b111000), 18, fields)
        }
        Format::Mtbuf => {
            let fields = &[(0, 12), (12, 4), (19, 7), (32, 8), (40, 8), (48, 5), (54, 1), (56, 8)];
            (long(0b111010), 16, fields)
        }
        Format::Mimg => {
            let fields = &[(8, 4), (12, 1), (13, 1), (14, 1), (25, 1), (32, 8), (40, 8), (48, 5), (53, 5)];
            (long(0b111100), 18, fields)
        }
    }
}

/// Random dwords of an opcode: each field is left zero half of the time.
fn random_words(entry: &Entry, rng: &mut Rng) -> Words {
    let (mark, position, fields) = layout(entry.format);
    let mut value = mark | u64::from(entry.opcode) << position;
    for (low, width) in fields {
        if rng.below(2) == 1 {
            value |= (rng.long() & (!0 >> (64 - width))) << low;
        }
    }
    let first = value as u32;
    let second = if Words::size(first) == 2 { (value >> 32) as u32 } else { 0 };
    Words { first, second }
}

/// What LLVM has no word for, or says otherwise though the bits are good.
fn assembler_lacks(entry: &Entry, words: Words, line: &str) -> bool {
    // A literal that fits an inline constant is assembled as that.
    let small = (-16..=64).contains(&(words.second as i32)) || entry.name.contains("64") && words.second < 0x1_0000;
    let literal = Words::size(words.first) == 2 && !matches!(entry.format, Format::Smrd);
    let short = !matches!(
        entry.format,
        Format::Ds | Format::Flat | Format::Mubuf | Format::Mtbuf | Format::Mimg | Format::Vop3
    );
    literal && short && small
        // Constants of 64 bits and literals of doubles have rules of their own there.
        || short && literal && (entry.signature.0.contains('d') || entry.signature.0.contains('q'))
        // A half of VCC beside VCC as the carry is one scalar to hardware, two to LLVM.
        || line.contains("vcc_") && line.ends_with(", vcc")
        || entry.name == "v_writelane_b32" && line.ends_with("m0")
        || entry.name == "v_cvt_f32_f16" && entry.format == Format::Vop3 && words.second & 0x100 == 0
        // It wants addresses of four registers.
        || entry.format == Format::Mimg && words.second & 0xff > 252
        || line.contains("RESERVED_15") || line.contains("FORMAT_INVALID")
}

fn assemble(lines: &[String]) -> Option<(Vec<Vec<u8>>, String)> {
    let tools = ["llvm-mc", "llvm-mc-22", "llvm-mc-21", "llvm-mc-19"];
    let arguments = ["-triple=amdgcn", "-mcpu=bonaire", "-show-encoding"];
    let spawn = |tool: &&str| {
        let mut command = Command::new(tool);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()
    };
    let mut child = tools.iter().find_map(spawn)?;
    let mut input = child.stdin.take()?;
    let source = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(source.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let encodings = stdout.lines().filter_map(|line| line.split("encoding: [").nth(1));
    let bytes = |list: &str| {
        let list = list.trim_end_matches(']');
        list.split(',').map(|b| u8::from_str_radix(&b[2..], 16).unwrap()).collect()
    };
    Some((encodings.map(bytes).collect(), String::from_utf8(output.stderr).unwrap()))
}

#[test]
fn every_opcode_comes_back_from_the_assembler() {
    let mut rng = Rng::new(7);
    let (mut lines, mut expected) = (vec![], vec![]);
    for entry in entries() {
        if entry.op == Op::Absent {
            continue;
        }
        let mut found = 0;
        for _ in 0..1_000_000 {
            let words = random_words(entry, &mut rng);
            let Ok(inst) = decode(words) else { continue };
            assert_eq!(inst.entry.name, entry.name);
            let line = text(&inst);
            if assembler_lacks(entry, words, &line) {
                continue;
            }
            lines.push(line);
            expected.push(words);
            found += 1;
            if found == SAMPLES {
                break;
            }
        }
        assert!(found > 0, "no instruction found for {}", entry.name);
    }
    let Some((encodings, errors)) = assemble(&lines) else {
        eprintln!("skipped: there is no llvm-mc here");
        return;
    };
    let short: String = errors.lines().filter(|l| l.contains("error")).take(4).collect::<Vec<_>>().join("\n");
    if !short.is_empty() {
        let number = |l: &str| l.split(':').nth(1).and_then(|n| n.parse::<usize>().ok());
        let mut bad: Vec<&str> = vec![];
        for error in errors.lines().filter(|l| l.contains("error")) {
            let line = number(error).and_then(|n| lines.get(n - 1)).map_or("", String::as_str);
            let name = line.split(' ').next().unwrap_or("");
            if !bad.iter().any(|b| b.split(' ').next() == Some(name)) {
                bad.push(line);
            }
        }
        panic!("{} lines do not assemble:\n{short}\n{bad:#?}", errors.matches("error:").count());
    }
    assert_eq!(encodings.len(), lines.len());
    let mut wrong = vec![];
    for ((line, words), bytes) in lines.iter().zip(&expected).zip(&encodings) {
        let mut want = words.first.to_le_bytes().to_vec();
        if Words::size(words.first) == 2 {
            want.extend(words.second.to_le_bytes());
        }
        if want != *bytes {
            wrong.push(format!("{line}: {want:02x?}, LLVM {bytes:02x?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    eprintln!(
        "{} instructions of {} opcodes agree",
        lines.len(),
        entries().iter().filter(|e| e.op != Op::Absent).count()
    );
}
