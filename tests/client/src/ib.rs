// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Indirect buffers: packets in a row, padded as the engine wants them.

use crate::{
    engine::Engine,
    pm4,
    sdma, //
};

/// Something that an engine executes.
pub trait Packet {
    /// Appends the packet's words.
    fn encode(&self, words: &mut Vec<u32>);
}

/// Alignment of an indirect buffer, in bytes. 256 satisfies every ring of GFX7
/// (`AMDGPU_INFO_HW_IP_INFO`: 32 for gfx and compute, 256 for SDMA).
pub const START_ALIGN: usize = 256;

/// An indirect buffer ends on a multiple of this many words.
const PAD_WORDS: usize = 8;

/// Packets in the order in which an engine will run them.
#[derive(Clone, Debug, Default)]
pub struct Stream(Vec<u32>);

impl Stream {
    /// No packets yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: impl Packet) -> &mut Self {
        packet.encode(&mut self.0);
        self
    }

    /// Appends a copy of any length, in as many packets as it takes.
    pub fn copy(&mut self, engine: Engine, src: u64, dst: u64, bytes: u64) -> &mut Self {
        self.copy_in_pieces(engine, src, dst, bytes, COPY_PIECE)
    }

    /// As [`Stream::copy`], with packets of at most `piece` bytes.
    pub fn copy_in_pieces(
        &mut self,
        engine: Engine,
        src: u64,
        dst: u64,
        bytes: u64,
        piece: u32,
    ) -> &mut Self {
        let mut done = 0;
        while done < bytes {
            let now = u32::try_from(bytes - done).map_or(piece, |left| left.min(piece));
            let (src, dst) = (src + done, dst + done);
            if engine.is_dma() {
                self.push(sdma::CopyLinear { src, dst, bytes: now });
            } else {
                self.push(pm4::DmaData { src, dst, bytes: now });
            }
            done += u64::from(now);
        }
        self
    }

    /// Appends a store of `value` at `dst`.
    pub fn store(&mut self, engine: Engine, dst: u64, value: u32) -> &mut Self {
        if engine.is_dma() {
            self.push(sdma::Write { dst, data: &[value] })
        } else {
            self.push(pm4::WriteData { dst, data: &[value] })
        }
    }

    /// Appends a wait until the word at `addr` equals `value`.
    pub fn wait_equal(&mut self, engine: Engine, addr: u64, value: u32) -> &mut Self {
        if engine.is_dma() {
            self.push(sdma::PollMem { addr, value })
        } else {
            self.push(pm4::WaitMem { addr, value })
        }
    }

    /// The words, followed by the engine's no-operation up to a whole number of eight. An empty
    /// stream becomes eight no-operations.
    pub fn padded(&self, engine: Engine) -> Vec<u32> {
        let len = self.0.len().max(1).next_multiple_of(PAD_WORDS);
        let mut words = self.0.clone();
        words.resize(len, if engine.is_dma() { sdma::NOP } else { pm4::NOP });
        words
    }
}

/// The largest copy that one packet makes here: whole pages, within both engines' 21-bit byte
/// counts.
pub const COPY_PIECE: u32 = 0x1f_f000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_eight() {
        assert_eq!(Stream::new().padded(Engine::Dma(0)), [0; 8]);
        assert_eq!(Stream::new().padded(Engine::Gfx), [0xffff_1000; 8]);
        let mut stream = Stream::new();
        stream.push(sdma::CopyLinear { src: 0, dst: 0, bytes: 4 });
        assert_eq!(stream.padded(Engine::Dma(1)).len(), 8);
        stream.push(sdma::CopyLinear { src: 0, dst: 0, bytes: 4 });
        assert_eq!(stream.padded(Engine::Dma(1)).len(), 16);
    }

    #[test]
    fn long_copies_are_cut() {
        let bytes = 64 << 20;
        let mut stream = Stream::new();
        stream.copy(Engine::Dma(0), 0x1_0000_0000, 0x2_0000_0000, bytes);
        // Seven words a packet; the byte counts are exact and add up.
        let counts: Vec<u64> = stream.0.chunks(7).map(|p| u64::from(p[1])).collect();
        assert_eq!(counts.len(), 33);
        assert_eq!(counts.iter().sum::<u64>(), bytes);
        assert!(counts.iter().all(|&c| c <= 0x1f_ffff));
        // The last packet continues where the one before it ended.
        let last = stream.0.chunks(7).next_back().unwrap();
        assert_eq!(last[3..7], [32 * COPY_PIECE, 1, 32 * COPY_PIECE, 2]);
    }
}
