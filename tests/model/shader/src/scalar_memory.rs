// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Scalar memory (ISA manual, chapter 7): loads of up to 16 dwords into scalar registers.

use crate::{
    bus::Bus,
    isa::{
        Inst,
        ScalarMemory, //
    },
    memory::{
        Memory,
        Path, //
    },
    stop::Stop,
    wave::Wave, //
};

/// Addresses have 48 bits.
const ADDRESS: u64 = 0xffff_ffff_ffff;

/// Executes a scalar memory instruction.
pub fn execute<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    op: ScalarMemory,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    match op {
        ScalarMemory::Load(n) => {
            let at = (w.pair(i.src[0]) & !3).wrapping_add(offset(w, i)) & ADDRESS;
            load(w, i, n, at, bus)
        }
        ScalarMemory::BufferLoad(n) => buffer(w, i, n, bus),
        ScalarMemory::Time => {
            let now = bus.memory().clock();
            w.set_pair(i.dst, now);
            Ok(())
        }
        ScalarMemory::Invalidate => {
            bus.memory().drop_scalar();
            Ok(())
        }
    }
}

/// The offset in bytes: immediates and literals count dwords, a register bytes.
fn offset(w: &Wave, i: &Inst) -> u64 {
    match (i.flags.imm, i.imm) {
        (true, n) => u64::from(n) * 4,
        (false, 0xff) => u64::from(i.literal) * 4,
        _ => u64::from(w.scalar[usize::from(i.src[1])] & !3),
    }
}

fn load<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    n: u8,
    at: u64,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    let mut bytes = [0; 64];
    let bytes = &mut bytes[..usize::from(n) * 4];
    bus.read(Path::Scalar, at, bytes)?;
    for (register, word) in (i.dst..).zip(bytes.chunks_exact(4)) {
        w.set(register, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    Ok(())
}

/// Each dword is bounded by itself, by NUM_RECORDS times the stride.
fn buffer<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    n: u8,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    let s = usize::from(i.src[0]);
    let base = w.pair(i.src[0]) & ADDRESS & !3;
    let stride = u64::from(w.scalar[s + 1] >> 16 & 0x3fff);
    let size = u64::from(w.scalar[s + 2]) * stride.max(1);
    if w.scalar[s + 3] >> 30 != 0 {
        return Err(Stop::illegal(format!("{}: the descriptor's TYPE is no buffer", i.entry.name)));
    }
    let offset = offset(w, i);
    if offset + u64::from(n) * 4 <= size {
        return load(w, i, n, base.wrapping_add(offset) & ADDRESS, bus);
    }
    for k in 0..u64::from(n) {
        let at = offset + 4 * k;
        let word = if at + 4 <= size {
            bus.word(Path::Scalar, base.wrapping_add(at) & ADDRESS)?
        } else {
            0
        };
        w.set(i.dst + k as u16, word);
    }
    Ok(())
}
