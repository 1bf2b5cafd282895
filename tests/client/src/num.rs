// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Integer conversions that lose nothing, or say in their name what they drop.

/// Widens a length or an address. Lossless on the 64-bit targets that this crate is for.
pub const fn u64_of(n: usize) -> u64 {
    const { assert!(size_of::<usize>() == 8) };
    n as u64
}

/// A byte or element count that must fit the address space.
///
/// # Panics
///
/// When it does not, which on 64-bit targets cannot happen.
pub fn usize_of(n: u64) -> usize {
    usize::try_from(n).expect("64-bit target")
}

/// A count that must fit 32 bits.
///
/// # Panics
///
/// When it does not: the caller has built something larger than the interface can name.
pub fn u32_of(n: usize) -> u32 {
    u32::try_from(n).expect("count fits 32 bits")
}

/// Bits 31:0.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub const fn lo32(n: u64) -> u32 {
    n as u32
}

/// Bits 63:32.
pub const fn hi32(n: u64) -> u32 {
    lo32(n >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        assert_eq!(lo32(0x1122_3344_5566_7788), 0x5566_7788);
        assert_eq!(hi32(0x1122_3344_5566_7788), 0x1122_3344);
    }
}
