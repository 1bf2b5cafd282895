// SPDX-License-Identifier: GPL-2.0 OR MIT

//! SDMA packets of Sea Islands, after the `SDMA_*` definitions of the kernel's
//! `drivers/gpu/drm/amd/amdgpu/cikd.h`.
//!
//! Header: operation in bits 7:0, sub-operation in 15:8, operation-specific bits in 31:16. On this
//! generation counts are exact (later ones count from zero).

use crate::{
    ib::Packet,
    num::{
        hi32,
        lo32,
        u32_of, //
    }, //
};

/// A single word that does nothing.
pub const NOP: u32 = 0;

/// The most that the byte count of [`CopyLinear`] can say.
pub const COPY_MAX: u32 = 0x1f_ffff;

const OP_COPY: u32 = 1;
const OP_WRITE: u32 = 2;
const OP_TRAP: u32 = 6;
const OP_POLL_REG_MEM: u32 = 8;
const OP_CONSTANT_FILL: u32 = 11;

/// Copies bytes between two linear places.
#[derive(Clone, Copy, Debug)]
pub struct CopyLinear {
    /// GPU address to read.
    pub src: u64,
    /// GPU address to write.
    pub dst: u64,
    /// At most [`COPY_MAX`].
    pub bytes: u32,
}

impl Packet for CopyLinear {
    fn encode(&self, words: &mut Vec<u32>) {
        assert!(0 < self.bytes && self.bytes <= COPY_MAX, "one packet cannot copy that much");
        let no_swap = 0;
        words.extend([
            OP_COPY,
            self.bytes,
            no_swap,
            lo32(self.src),
            hi32(self.src),
            lo32(self.dst),
            hi32(self.dst),
        ]);
    }
}

/// Stores words that lie in the packet.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// GPU address to write, a multiple of 4.
    pub dst: u64,
    /// Dwords to write.
    pub data: &'a [u32],
}

impl Packet for Write<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        words.extend([OP_WRITE, lo32(self.dst), hi32(self.dst), u32_of(self.data.len())]);
        words.extend(self.data);
    }
}

/// Fills memory with a 32-bit pattern.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// GPU address to write, a multiple of 4.
    pub dst: u64,
    /// The pattern.
    pub value: u32,
    /// A multiple of 4, at most [`COPY_MAX`].
    pub bytes: u32,
}

impl Packet for Fill {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `SDMA_CONSTANT_FILL_EXTRA_SIZE`: 2 fills whole words.
        const WORDS: u32 = 2 << 14;
        assert!(self.bytes <= COPY_MAX && self.bytes.is_multiple_of(4));
        words.extend([
            OP_CONSTANT_FILL | WORDS << 16,
            lo32(self.dst),
            hi32(self.dst),
            self.value,
            self.bytes,
        ]);
    }
}

/// Interrupts.
#[derive(Clone, Copy, Debug)]
pub struct Trap;

impl Packet for Trap {
    fn encode(&self, words: &mut Vec<u32>) {
        words.push(OP_TRAP);
    }
}

/// Waits, for as long as it takes, until a word of memory equals a value.
#[derive(Clone, Copy, Debug)]
pub struct PollMem {
    /// GPU address to read, a multiple of 4.
    pub addr: u64,
    /// Value to wait for.
    pub value: u32,
}

impl Packet for PollMem {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `SDMA_POLL_REG_MEM_EXTRA_FUNC(3)`: until equal.
        const EQUAL: u32 = 3 << 12;
        /// `SDMA_POLL_REG_MEM_EXTRA_M`: memory, not a register.
        const MEMORY: u32 = 1 << 15;
        const WHOLE_WORD: u32 = 0xffff_ffff;
        /// Retry count in bits 27:16, all ones without end; interval in 15:0.
        const FOREVER: u32 = 0xfff << 16 | 10;
        words.extend([
            OP_POLL_REG_MEM | (EQUAL | MEMORY) << 16,
            lo32(self.addr),
            hi32(self.addr),
            self.value,
            WHOLE_WORD,
            FOREVER,
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(packet: impl Packet) -> Vec<u32> {
        let mut words = Vec::new();
        packet.encode(&mut words);
        words
    }

    #[test]
    fn copy() {
        let packet = CopyLinear { src: 0x12_3456_7000, dst: 0x9a_bcde_f000, bytes: COPY_MAX };
        assert_eq!(
            words(packet),
            [0x0000_0001, 0x001f_ffff, 0, 0x3456_7000, 0x12, 0xbcde_f000, 0x9a]
        );
    }

    #[test]
    #[should_panic(expected = "cannot copy")]
    fn copy_too_long() {
        words(CopyLinear { src: 0, dst: 0, bytes: COPY_MAX + 1 });
    }

    #[test]
    fn write() {
        let packet = Write { dst: 0x1_0000_0010, data: &[7, 8] };
        assert_eq!(words(packet), [0x0000_0002, 0x10, 1, 2, 7, 8]);
    }

    #[test]
    fn fill() {
        let packet = Fill { dst: 0x2000, value: 0xdead_beef, bytes: 0x1000 };
        assert_eq!(words(packet), [0x8000_000b, 0x2000, 0, 0xdead_beef, 0x1000]);
    }

    #[test]
    fn poll() {
        let packet = PollMem { addr: 0x1_0000_2000, value: 5 };
        assert_eq!(words(packet), [0xb000_0008, 0x2000, 1, 5, 0xffff_ffff, 0x0fff_000a]);
    }
}
