// SPDX-License-Identifier: GPL-2.0 OR MIT

//! VRAM beyond the part that the CPU has mapped (BAR 0), dword by dword through two registers: an
//! offset is written to MM_INDEX, and MM_DATA is then the dword there (`amdgpu_device_mm_access`).
//! They are at the same place on every generation.
//!
//! A dword takes up to three accesses to the card, some thousand times as long as an engine takes.
//! So this is for debuggers, for dumps, and for when no engine works any more. It goes through the
//! host data path (HDP), as the mapping does.

use kernel::{
    io::Io,
    new_spinlock,
    pci,
    prelude::*,
    sync::SpinLock, //
};

use super::REGISTERS_SIZE;

/// Byte offset in VRAM, bits 30 to 0. Bit 31 says that VRAM is meant, and not a register.
const MM_INDEX: usize = 0x0;
const MM_DATA: usize = 0x4;
/// Bits 31 and up of the byte offset.
const MM_INDEX_HI: usize = 0x18;

const IN_VRAM: u32 = 1 << 31;
const INDEX_BITS: u32 = 31;
const DWORD: u64 = size_of::<u32>() as u64;

/// Registers of the card.
type Registers<'a> = pci::Bar<'a, REGISTERS_SIZE>;

/// Access to all of VRAM by registers.
pub(super) struct Indirect {
    /// Held from when an offset is written to until the dword there was accessed.
    index: Pin<KBox<SpinLock<()>>>,
}

impl Indirect {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            index: KBox::pin_init(new_spinlock!((), "Indirect::index"), GFP_KERNEL)?,
        })
    }

    /// Copies bytes from VRAM.
    pub(super) fn read(&self, registers: &Registers<'_>, offset: u64, into: &mut [u8]) {
        for (at, part) in parts(offset, into.len()) {
            let dword = self.dword(registers, at.offset, None).to_le_bytes();
            into[part].copy_from_slice(&dword[at.first..at.end]);
        }
    }

    /// Copies bytes to VRAM. The rest of a dword of which only some are written stays as it is.
    pub(super) fn write(&self, registers: &Registers<'_>, offset: u64, from: &[u8]) {
        for (at, part) in parts(offset, from.len()) {
            let mut dword = [0; DWORD as usize];
            if at.end - at.first < dword.len() {
                dword = self.dword(registers, at.offset, None).to_le_bytes();
            }
            dword[at.first..at.end].copy_from_slice(&from[part]);
            self.dword(registers, at.offset, Some(u32::from_le_bytes(dword)));
        }
    }

    /// Reads a dword, or writes one.
    fn dword(&self, registers: &Registers<'_>, offset: u64, write: Option<u32>) -> u32 {
        let (high, low) = index(offset);
        let _index = self.index.lock();

        // The offsets are within the part of the BAR that was mapped.
        let _ = registers.try_write32(high, MM_INDEX_HI);
        let _ = registers.try_write32(low, MM_INDEX);
        match write {
            Some(value) => {
                let _ = registers.try_write32(value, MM_DATA);
                value
            }
            None => registers.try_read32(MM_DATA).unwrap_or(!0),
        }
    }
}

/// Returns the values of MM_INDEX_HI and MM_INDEX for the dword at an offset in VRAM.
fn index(offset: u64) -> (u32, u32) {
    // CAST: VRAM has no more than 2^63 bytes; the lower half is what the other register has.
    let (high, low) = ((offset >> INDEX_BITS) as u32, offset as u32);
    (high, low & !IN_VRAM & !3 | IN_VRAM)
}

/// Some of the bytes of a dword.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// Offset of the dword in VRAM.
    offset: u64,
    first: usize,
    end: usize,
}

/// Divides `len` bytes at an offset into parts of dwords, each with its place among the bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (Part, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = offset + done as u64;
        // CAST: Less than 4.
        let first = (at % DWORD) as usize;
        let count = (DWORD as usize - first).min(len - done);
        let part = Part {
            offset: at - first as u64,
            first,
            end: first + count,
        };
        let bytes = done..done + count;
        done += count;
        (count != 0).then_some((part, bytes))
    })
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_card_indirect)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_in_two_registers() {
        assert_eq!(index(0), (0, 0x8000_0000));
        assert_eq!(index(0x7fff_fffc), (0, 0xffff_fffc));
        assert_eq!(index(0x8000_0000), (1, 0x8000_0000));
        assert_eq!(index(0x3_ffff_fffc), (7, 0xffff_fffc));
    }

    #[test]
    fn bytes_are_parts_of_dwords() {
        let seen = |offset, len, expected: &[(u64, core::ops::Range<usize>, usize)]| {
            let mut expected = expected.iter();
            parts(offset, len).all(|(part, bytes)| {
                expected.next().is_some_and(|(at, within, start)| {
                    part.offset == *at
                        && (part.first..part.end) == *within
                        && bytes == (*start..*start + within.len())
                })
            }) && expected.next().is_none()
        };
        assert!(seen(0x100, 8, &[(0x100, 0..4, 0), (0x104, 0..4, 4)]));
        assert!(seen(0x102, 1, &[(0x100, 2..3, 0)]));
        let uneven = [(0x100, 3..4, 0), (0x104, 0..4, 1), (0x108, 0..1, 5)];
        assert!(seen(0x103, 6, &uneven));
        assert!(seen(0x103, 0, &[]));
    }
}
