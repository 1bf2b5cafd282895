// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PM4 type-3 packets of Sea Islands, after the `PACKET3_*` definitions of the kernel's
//! `drivers/gpu/drm/amd/amdgpu/cikd.h`. The graphics ring and the compute rings both take those
//! that are here.
//!
//! Header: 3 in bits 31:30, words in the body less one in 29:16, operation in 15:8.

use crate::{
    ib::Packet,
    num::{
        hi32,
        lo32,
        u32_of, //
    }, //
};

/// A single word that does nothing: NOP whose count field, all ones, stands for 'no body'.
pub const NOP: u32 = header(OP_NOP, 0x4000);

const OP_NOP: u32 = 0x10;
const OP_DISPATCH_DIRECT: u32 = 0x15;
const OP_WRITE_DATA: u32 = 0x37;
const OP_WAIT_REG_MEM: u32 = 0x3c;
const OP_DMA_DATA: u32 = 0x50;
const OP_SET_SH_REG: u32 = 0x76;

/// The most that the byte count of [`DmaData`] can say.
pub const DMA_DATA_MAX: u32 = 0x1f_ffff;

const fn header(op: u32, body_words: u32) -> u32 {
    3 << 30 | ((body_words - 1) & 0x3fff) << 16 | op << 8
}

/// A NOP with a body, which the engine skips.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a>(
    /// One word at least.
    pub &'a [u32],
);

impl Packet for Skip<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        words.push(header(OP_NOP, u32_of(self.0.len())));
        words.extend(self.0);
    }
}

/// Stores words that lie in the packet, and goes on when they have been written.
#[derive(Clone, Copy, Debug)]
pub struct WriteData<'a> {
    /// GPU address to write, a multiple of 4.
    pub dst: u64,
    /// Dwords to write.
    pub data: &'a [u32],
}

impl Packet for WriteData<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `WRITE_DATA_DST_SEL(5)`: memory, not through the register bus.
        const MEMORY: u32 = 5 << 8;
        const CONFIRM: u32 = 1 << 20;
        words.extend([
            header(OP_WRITE_DATA, 3 + u32_of(self.data.len())),
            MEMORY | CONFIRM,
            lo32(self.dst),
            hi32(self.dst),
        ]);
        words.extend(self.data);
    }
}

/// Copies bytes with the command processor's own DMA, and waits for it.
#[derive(Clone, Copy, Debug)]
pub struct DmaData {
    /// GPU address to read.
    pub src: u64,
    /// GPU address to write.
    pub dst: u64,
    /// At most [`DMA_DATA_MAX`].
    pub bytes: u32,
}

impl DmaData {
    fn encode_with(&self, control: u32, words: &mut Vec<u32>) {
        assert!(0 < self.bytes && self.bytes <= DMA_DATA_MAX, "one packet cannot copy that much");
        words.extend([
            header(OP_DMA_DATA, 6),
            control,
            lo32(self.src),
            hi32(self.src),
            lo32(self.dst),
            hi32(self.dst),
            self.bytes,
        ]);
    }
}

impl Packet for DmaData {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `PACKET3_DMA_DATA_CP_SYNC`; source and destination selectors 0: plain addresses.
        const WAIT: u32 = 1 << 31;
        self.encode_with(WAIT, words);
    }
}

/// As [`DmaData`], but goes on at once: the copy is done some time later.
#[derive(Clone, Copy, Debug)]
pub struct LooseDmaData(
    /// Copy to make.
    pub DmaData,
    /// Engine of the gfx ring that hands it to the DMA.
    pub By,
);

/// An engine of the gfx ring, `PACKET3_DMA_DATA_ENGINE`. Compute rings have an ME only.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The micro engine.
    Me = 0,
    /// The prefetch parser.
    Pfp = 1,
}

impl Packet for LooseDmaData {
    fn encode(&self, words: &mut Vec<u32>) {
        self.0.encode_with(self.1 as u32, words);
    }
}

/// Copies bytes between memory and the job's part of the global data share, and waits for it.
#[derive(Clone, Copy, Debug)]
pub enum ShareCopy {
    /// `src` and `dst` of this: an address, and an offset in the share.
    To(DmaData),
    /// `src` and `dst` of this: an offset in the share, and an address.
    From(DmaData),
}

impl Packet for ShareCopy {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `PACKET3_DMA_DATA_CP_SYNC`, and selector 1 (GDS) for the destination or the source.
        const TO: u32 = 1 << 31 | 1 << 20;
        const FROM: u32 = 1 << 31 | 1 << 29;
        match self {
            Self::To(copy) => copy.encode_with(TO, words),
            Self::From(copy) => copy.encode_with(FROM, words),
        }
    }
}

/// Waits until a word of memory equals a value.
#[derive(Clone, Copy, Debug)]
pub struct WaitMem {
    /// GPU address to read, a multiple of 4.
    pub addr: u64,
    /// Value to wait for.
    pub value: u32,
}

impl Packet for WaitMem {
    fn encode(&self, words: &mut Vec<u32>) {
        const EQUAL: u32 = 3;
        const MEMORY: u32 = 1 << 4;
        const WHOLE_WORD: u32 = 0xffff_ffff;
        const INTERVAL: u32 = 10;
        words.extend([
            header(OP_WAIT_REG_MEM, 6),
            EQUAL | MEMORY,
            lo32(self.addr),
            hi32(self.addr),
            self.value,
            WHOLE_WORD,
            INTERVAL,
        ]);
    }
}

/// Bit 1 of a header: the packet is about compute shaders (`PACKET3_COMPUTE`).
const COMPUTE: u32 = 1 << 1;

/// Sets registers of compute shaders, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct SetComputeRegs<'a> {
    /// Index of the first, in words, as in `gfx_7_2_d.h`.
    pub first: u32,
    /// Values to write.
    pub values: &'a [u32],
}

impl Packet for SetComputeRegs<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `PACKET3_SET_SH_REG_START`
        const START: u32 = 0x2c00;
        let body = 1 + u32_of(self.values.len());
        words.extend([header(OP_SET_SH_REG, body) | COMPUTE, self.first - START]);
        words.extend(self.values);
    }
}

/// Starts groups of a compute shader, in one dimension.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    /// Groups.
    pub groups: u32,
}

impl Packet for Dispatch {
    fn encode(&self, words: &mut Vec<u32>) {
        /// `COMPUTE_DISPATCH_INITIATOR`: COMPUTE_SHADER_EN, FORCE_START_AT_000.
        const INITIATOR: u32 = 1 | 1 << 2;
        words.extend([header(OP_DISPATCH_DIRECT, 4) | COMPUTE, self.groups, 1, 1, INITIATOR]);
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
    fn nop() {
        assert_eq!(NOP, 0xffff_1000);
        assert_eq!(words(Skip(&[1, 2])), [0xc001_1000, 1, 2]);
    }

    #[test]
    fn write_data() {
        let packet = WriteData { dst: 0x1_0000_0010, data: &[7, 8] };
        assert_eq!(words(packet), [0xc004_3700, 0x0010_0500, 0x10, 1, 7, 8]);
    }

    #[test]
    fn dma_data() {
        let packet = DmaData { src: 0x1_0000_0000, dst: 0x2_0000_1000, bytes: 0x1000 };
        assert_eq!(words(packet), [0xc005_5000, 0x8000_0000, 0, 1, 0x1000, 2, 0x1000]);
    }

    #[test]
    fn dispatch() {
        let registers = SetComputeRegs { first: 0x2e40, values: &[5, 6] };
        assert_eq!(words(registers), [0xc002_7602, 0x240, 5, 6]);
        assert_eq!(words(Dispatch { groups: 3 }), [0xc003_1502, 3, 1, 1, 5]);
    }

    #[test]
    fn wait_mem() {
        let packet = WaitMem { addr: 0x3_0000_0004, value: 9 };
        assert_eq!(words(packet), [0xc005_3c00, 0x13, 4, 3, 9, 0xffff_ffff, 10]);
    }
}
