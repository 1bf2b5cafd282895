// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The third generation's instruction set (GFX7, "Sea Islands"): opcodes by format.
//!
//! Numbers are those of AMD's "Sea Islands Series Instruction Set Architecture" (chapters 12 and
//! 13); names are LLVM's for `-mcpu=bonaire`, which a test assembles each line with. An opcode that
//! stands here as [`Op::Absent`] is known and not implemented.

mod decode;
mod graphics;
mod memory;
mod scalar;
mod text;
mod vector;

use std::{
    collections::HashMap,
    sync::LazyLock, //
};

use memory::width_dwords;

pub use decode::{
    Words,
    decode, //
};
pub use graphics::exported;
pub use text::text;

use crate::isa::{
    Entry,
    Format,
    Op,
    Signature, //
};

/// A line before it has its format: opcode, name, operation, operands.
type Line = (u16, &'static str, Op, &'static str);

/// All opcodes.
static TABLE: LazyLock<HashMap<(Format, u16), Entry>> = LazyLock::new(|| {
    let lines = scalar::lines()
        .into_iter()
        .chain(vector::lines())
        .chain(memory::lines())
        .chain(graphics::lines());
    lines
        .map(|(format, (opcode, name, op, operands))| {
            let signature = Signature(operands);
            ((format, opcode), Entry { format, opcode, name, op, signature })
        })
        .collect()
});

/// The table's line of an opcode.
pub fn entry(format: Format, opcode: u16) -> Option<&'static Entry> {
    TABLE.get(&(format, opcode))
}

/// All lines, sorted.
pub fn entries() -> Vec<&'static Entry> {
    let mut all: Vec<&Entry> = TABLE.values().collect();
    all.sort_by_key(|e| (e.format, e.opcode));
    all
}

/// A name made of parts, for families that are generated.
fn named(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
