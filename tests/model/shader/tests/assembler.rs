// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The decoder against LLVM's assembler: random instructions of each opcode are decoded, printed,
//! assembled by `llvm-mc -mcpu=bonaire`, and must come back bit for bit.

mod random;

use std::{
    io::Write,
    process::{
        Command,
        Stdio, //
    }, //
};

use amdgpu_shader::{
    gfx7::{
        Words,
        decode,
        entries,
        text, //
    },
    isa::{
        Entry,
        Format,
        Op, //
    },
    rng::Rng, //
};
use random::random_words;

/// Instructions of each opcode.
const SAMPLES: usize = 24;

/// Returns true if LLVM has no word for it, or says otherwise though the bits are good.
fn assembler_lacks(entry: &Entry, words: Words, line: &str) -> bool {
    // A literal that fits an inline constant is assembled as that.
    let small = (-16..=64).contains(&(words.second as i32))
        || entry.name.contains("64") && words.second < 0x1_0000;
    let literal = Words::size(words.first) == 2 && !matches!(entry.format, Format::Smrd);
    let short = !matches!(
        entry.format,
        Format::Ds | Format::Flat | Format::Mubuf | Format::Mtbuf | Format::Mimg | Format::Vop3
    );
    // Literals of 64 bits have rules of their own there.
    literal && short && (small || entry.signature.0.contains(['d', 'q']))
        // A half of VCC beside VCC as the carry is one scalar to hardware, two to LLVM.
        || line.contains("vcc_") && line.ends_with(", vcc")
        || entry.name == "v_writelane_b32" && line.ends_with("m0")
        || entry.name == "v_cvt_f32_f16"
            && entry.format == Format::Vop3
            && words.second & 0x100 == 0
        // It wants addresses of four registers.
        || entry.format == Format::Mimg && words.second & 0xff > 252
        // Of registers that are not named it encodes the first, and of two components a register
        // all four.
        || entry.format == Format::Exp && (words.first & 15 != 15 || words.first >> 10 & 1 != 0)
        // It leaves an address field that is not used zero.
        || matches!(entry.format, Format::Mubuf | Format::Mtbuf)
            && words.first & 0xb000 == 0
            && words.second & 0xff != 0
        || line.contains("RESERVED_15") || line.contains("FORMAT_INVALID")
}

/// Names under which it is found where LLVM_MC does not say how to call it.
const TOOLS: [&str; 4] = ["llvm-mc", "llvm-mc-22", "llvm-mc-21", "llvm-mc-19"];

fn assemble(lines: &[String]) -> Option<(Vec<Vec<u8>>, String)> {
    let arguments = ["-triple=amdgcn", "-mcpu=bonaire", "-show-encoding"];
    let spawn = |tool: &str| {
        let mut words = tool.split(' ');
        let mut command = Command::new(words.next()?);
        command
            .args(words)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()
    };
    let mut child = match std::env::var("LLVM_MC") {
        // It was promised.
        Ok(tool) => Some(spawn(&tool).unwrap_or_else(|| panic!("LLVM_MC={tool} does not start"))),
        Err(_) => TOOLS.iter().find_map(|tool| spawn(tool)),
    }?;
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
    let short: String =
        errors.lines().filter(|l| l.contains("error")).take(4).collect::<Vec<_>>().join("\n");
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
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    eprintln!(
        "{} instructions of {} opcodes agree",
        lines.len(),
        entries().iter().filter(|e| e.op != Op::Absent).count()
    );
}
