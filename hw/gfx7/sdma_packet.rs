// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The command packets of the DMA engines (the C driver's `SDMA_PACKET`).
//!
//! The header of a packet holds an operation, a sub-operation and 16 bits whose meaning depends on
//! the operation. Lengths are exact; there is no "minus one" on this generation.

use super::{
    high,
    low, //
};
use crate::hw::{
    command::{
        EntryRun,
        Fill,
        GartWindow,
        Sink,
        Transfer,
        MAX_SUBMISSION_DWORDS, //
    },
    page_table::PAGE_SIZE, //
};

/// A packet.
pub(crate) trait Packet {
    const OPERATION: u8;
    type Body: AsRef<[u32]>;

    /// Returns the upper half of the header.
    fn extra(&self) -> u16 {
        0
    }

    fn body(&self) -> Self::Body;
}

/// Emits a packet.
pub(crate) fn emit<P: Packet>(out: &mut dyn Sink, packet: P) {
    out.put(&[u32::from(packet.extra()) << 16 | u32::from(P::OPERATION)]);
    out.put(packet.body().as_ref());
}

/// Packet that fills one dword.
pub(crate) const NOP: u32 = 0;

/// Copy of bytes from one linear place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinearCopy {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// At most [`LinearCopy::MAX_BYTES`].
    pub(crate) bytes: u32,
}

impl LinearCopy {
    /// Largest copy of one packet, for the same reason as that of [`ConstantFill`].
    const MAX_BYTES: u32 = ConstantFill::MAX_BYTES;

    /// Returns the packets that copy `bytes` bytes.
    pub(crate) fn split(from: u64, to: u64, bytes: u64) -> impl Iterator<Item = Self> {
        pieces(bytes, Self::MAX_BYTES).map(move |(done, bytes)| Self {
            from: from + done,
            to: to + done,
            bytes,
        })
    }
}

impl Packet for LinearCopy {
    const OPERATION: u8 = 1;
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        const NO_SWAP: u32 = 0;
        [
            self.bytes,
            NO_SWAP,
            low(self.from),
            high(self.from),
            low(self.to),
            high(self.to),
        ]
    }
}

/// Emits the write of page-table entries, which lie in the packet.
pub(crate) fn emit_entries(out: &mut dyn Sink, addr: u64, entries: &[u64]) {
    // CAST: A packet is never longer than a ring.
    let dwords = 2 * entries.len() as u32;
    let operation = u32::from(Write::OPERATION);
    out.put(&[operation, low(addr), high(addr), dwords]);
    for entry in entries {
        out.put(&[low(*entry), high(*entry)]);
    }
}

/// Write of page-table entries that the engine makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GenerateEntries(pub(crate) EntryRun);

impl Packet for GenerateEntries {
    const OPERATION: u8 = 12;
    type Body = [u32; 9];

    fn body(&self) -> [u32; 9] {
        const OFFSET: u64 = PAGE_SIZE - 1;
        let run = self.0;
        let (flags, page) = (run.first & OFFSET, run.first & !OFFSET);
        [
            low(run.addr),
            high(run.addr),
            low(flags),
            high(flags),
            low(page),
            high(page),
            low(PAGE_SIZE),
            high(PAGE_SIZE),
            run.count,
        ]
    }
}

/// Write of one dword.
pub(crate) struct Write {
    pub(crate) addr: u64,
    pub(crate) value: u32,
}

impl Packet for Write {
    const OPERATION: u8 = 2;
    type Body = [u32; 4];

    fn body(&self) -> [u32; 4] {
        [low(self.addr), high(self.addr), 1, self.value]
    }
}

/// Execution of a command buffer (IB). The packet must end on a multiple of 8 dwords of the ring.
pub(crate) struct IndirectBuffer {
    /// A multiple of 32.
    pub(crate) addr: u64,
    pub(crate) dwords: u32,
    pub(crate) vmid: u8,
}

impl IndirectBuffer {
    /// Length of the packet in dwords.
    pub(crate) const DWORDS: u32 = 4;
}

impl Packet for IndirectBuffer {
    const OPERATION: u8 = 4;
    type Body = [u32; 3];

    fn extra(&self) -> u16 {
        u16::from(self.vmid)
    }

    fn body(&self) -> [u32; 3] {
        [low(self.addr) & !0x1f, high(self.addr), self.dwords]
    }
}

/// Fill of memory with a repeated dword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConstantFill {
    /// A multiple of 4.
    pub(crate) addr: u64,
    pub(crate) value: u32,
    /// A multiple of 4, at most [`ConstantFill::MAX_BYTES`].
    pub(crate) bytes: u32,
}

impl ConstantFill {
    /// Largest fill of one packet. The field could hold a few bytes more, but then the next packet
    /// would not begin at the start of a page.
    const MAX_BYTES: u32 = 0x1f_f000;

    /// Returns the packets that fill a range.
    pub(crate) fn split(fill: Fill) -> impl Iterator<Item = Self> {
        pieces(fill.bytes, Self::MAX_BYTES).map(move |(done, bytes)| Self {
            addr: fill.addr + done,
            value: fill.value,
            bytes,
        })
    }
}

/// Returns the pieces of at most `most` bytes that `bytes` bytes are divided into: the number of
/// bytes before each, and its length.
fn pieces(bytes: u64, most: u32) -> impl Iterator<Item = (u64, u32)> {
    (0..bytes).step_by(most as usize).map(move |done| {
        // CAST: At most `most`, a `u32`.
        (done, (bytes - done).min(u64::from(most)) as u32)
    })
}

/// Proof that the packets of the largest fill leave room for the rest of a submission.
const _: () = {
    const DWORDS_OF_ONE: u64 = 5;
    const ALL_ELSE: u64 = 64;
    let packets = Fill::MAX_BYTES.div_ceil(ConstantFill::MAX_BYTES as u64);
    assert!(packets * DWORDS_OF_ONE + ALL_ELSE <= MAX_SUBMISSION_DWORDS as u64);
};

/// Proof of the same for the largest copy, and for one with a full window.
const _: () = {
    const DWORDS_OF_ONE: u64 = 7;
    const ALL_ELSE: u64 = 64;
    /// Write of entries, their fill, two flushes, and three waits for writes.
    const AROUND_WINDOW: u64 = 4 + 5 + 2 * 9 + 3 * 20;
    let most = LinearCopy::MAX_BYTES as u64;
    let packets = Transfer::MAX_BYTES.div_ceil(most);
    assert!(packets * DWORDS_OF_ONE + ALL_ELSE <= MAX_SUBMISSION_DWORDS as u64);

    let pages = GartWindow::PAGES as u64;
    let copy = (pages * PAGE_SIZE).div_ceil(most) * DWORDS_OF_ONE;
    assert!(2 * pages + copy + AROUND_WINDOW + ALL_ELSE <= MAX_SUBMISSION_DWORDS as u64);
};

/// Proof of the same for the longest list of runs of page-table entries.
const _: () = {
    const DWORDS_OF_ONE: u64 = 10;
    const ALL_ELSE: u64 = 64;
    assert!(EntryRun::MOST as u64 * DWORDS_OF_ONE + ALL_ELSE <= MAX_SUBMISSION_DWORDS as u64);
};

impl Packet for ConstantFill {
    const OPERATION: u8 = 11;
    type Body = [u32; 4];

    fn extra(&self) -> u16 {
        const DWORDS: u16 = 2 << 14;
        DWORDS
    }

    fn body(&self) -> [u32; 4] {
        [low(self.addr), high(self.addr), self.value, self.bytes]
    }
}

/// Write of a dword when everything before it is done.
pub(crate) struct Fence {
    pub(crate) addr: u64,
    pub(crate) value: u32,
}

impl Packet for Fence {
    const OPERATION: u8 = 5;
    type Body = [u32; 3];

    fn body(&self) -> [u32; 3] {
        [low(self.addr), high(self.addr), self.value]
    }
}

/// Interrupt of the CPU.
pub(crate) struct Trap;

impl Packet for Trap {
    const OPERATION: u8 = 6;
    type Body = [u32; 0];

    fn body(&self) -> [u32; 0] {
        []
    }
}

/// Wait until memory or a register has a value.
pub(crate) enum Poll {
    /// Writes bits to one register (numbers in dwords) and waits until another shows them.
    Handshake { request: u32, done: u32, bits: u32 },
    /// Waits until a dword of memory has a value.
    Memory { addr: u64, value: u32 },
    /// Reads a register once and ignores its value. Earlier writes to the register have arrived
    /// then.
    RegisterRead(u32),
}

impl Packet for Poll {
    const OPERATION: u8 = 8;
    type Body = [u32; 5];

    fn extra(&self) -> u16 {
        const WRITE_THEN_WAIT: u16 = 1 << 10;
        const ALWAYS: u16 = 0 << 12;
        const EQUAL: u16 = 3 << 12;
        const MEMORY: u16 = 1 << 15;
        match self {
            Self::Handshake { .. } => WRITE_THEN_WAIT | EQUAL,
            Self::Memory { .. } => MEMORY | EQUAL,
            Self::RegisterRead(_) => ALWAYS,
        }
    }

    fn body(&self) -> [u32; 5] {
        // Retries (all ones: forever), and the pause between two.
        const RETRIES: u32 = 0xfff << 16;
        match *self {
            // Registers are given by byte offset, and the polled one first, unlike in PM4.
            Self::Handshake {
                request,
                done,
                bits,
            } => [done << 2, request << 2, bits, bits, RETRIES | 10],
            Self::Memory { addr, value } => [low(addr), high(addr), value, !0, RETRIES | 4],
            Self::RegisterRead(register) => [register << 2, 0, 0, 0, RETRIES | 10],
        }
    }
}

/// Write of a register (number in dwords).
pub(crate) struct SrbmWrite {
    pub(crate) register: u32,
    pub(crate) value: u32,
}

impl Packet for SrbmWrite {
    const OPERATION: u8 = 14;
    type Body = [u32; 2];

    fn extra(&self) -> u16 {
        const ALL_BYTES: u16 = 0xf << 12;
        ALL_BYTES
    }

    fn body(&self) -> [u32; 2] {
        [self.register, self.value]
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_sdma_packet)]
mod tests {
    use super::{
        super::recorder::Recorder,
        *, //
    };

    fn check<P: Packet>(packet: P, expected: &[u32]) -> bool {
        Recorder::of(|out| emit(out, packet)).dwords() == expected
    }

    #[test]
    fn writes() {
        let write = Write {
            addr: 0xff_0000_0060,
            value: 0xdead_beef,
        };
        assert!(check(write, &[2, 0x60, 0xff, 1, 0xdead_beef]));
    }

    #[test]
    fn fills() {
        let fill = ConstantFill {
            addr: 0xf4_0012_3000,
            value: 0x1234_5678,
            bytes: 0x1_0000,
        };
        let vector = [0x8000_000b, 0x0012_3000, 0xf4, 0x1234_5678, 0x1_0000];
        assert!(check(fill, &vector));
    }

    #[test]
    fn fills_are_split() {
        const MAX: u64 = ConstantFill::MAX_BYTES as u64;

        for (bytes, packets) in [
            (0, 0),
            (4, 1),
            (MAX - 4, 1),
            (MAX, 1),
            (MAX + 4, 2),
            (2 * MAX, 2),
            (2 << 20, 2),
            (Fill::MAX_BYTES, 129),
        ] {
            let start = 0xff_ffff_f000;
            let fill = Fill {
                addr: start,
                bytes,
                value: 7,
            };
            let mut end = start;
            for packet in ConstantFill::split(fill) {
                assert_eq!((packet.addr, packet.value), (end, 7));
                assert!(0 < packet.bytes && packet.bytes <= ConstantFill::MAX_BYTES);
                end += u64::from(packet.bytes);
            }
            assert_eq!(end, start + bytes);
            assert_eq!(ConstantFill::split(fill).count(), packets);
        }
    }

    #[test]
    fn copies_are_split() {
        const MAX: u64 = LinearCopy::MAX_BYTES as u64;

        let (from, to) = (0xf4_0012_3000, 0xff_ffff_f000);
        let copy = LinearCopy {
            from,
            to: 0xff_0000_5000,
            bytes: 0x3000,
        };
        let vector = [1, 0x3000, 0, 0x0012_3000, 0xf4, 0x5000, 0xff];
        assert!(check(copy, &vector));
        for (bytes, packets) in [
            (0, 0),
            (0x1000, 1),
            (MAX, 1),
            (MAX + 0x1000, 2),
            (Transfer::MAX_BYTES, 33),
        ] {
            let mut done = 0;
            for packet in LinearCopy::split(from, to, bytes) {
                assert_eq!((packet.from, packet.to), (from + done, to + done));
                assert!(0 < packet.bytes && packet.bytes <= LinearCopy::MAX_BYTES);
                done += u64::from(packet.bytes);
            }
            assert_eq!(done, bytes);
            assert_eq!(LinearCopy::split(from, to, bytes).count(), packets);
        }
    }

    #[test]
    fn entries() {
        let written = Recorder::of(|out| {
            emit_entries(out, 0xf4_0fe0_0008, &[0x1_2345_6077, 0x89_abcd_e071]);
        });
        let vector = [2, 0x0fe0_0008, 0xf4, 4, 0x2345_6077, 1, 0xabcd_e071, 0x89];
        assert!(written.dwords() == vector);
    }

    #[test]
    fn generated_entries() {
        let run = EntryRun {
            addr: 0xf4_0fe0_0008,
            first: 0x12_3456_70e1,
            count: 1024,
        };
        let vector = [
            12,
            0x0fe0_0008,
            0xf4,
            0xe1,
            0,
            0x3456_7000,
            0x12,
            0x1000,
            0,
            1024,
        ];
        assert!(check(GenerateEntries(run), &vector));
    }

    #[test]
    fn control() {
        let ib = IndirectBuffer {
            addr: 0x1_2345_6780,
            dwords: 16,
            vmid: 3,
        };
        assert!(check(ib, &[0x0003_0004, 0x2345_6780, 1, 16]));
        let fence = Fence {
            addr: 0xff_0000_0240,
            value: 8,
        };
        assert!(check(fence, &[5, 0x240, 0xff, 8]));
        assert!(check(Trap, &[6]));
        let register = SrbmWrite {
            register: 0x51e,
            value: 2,
        };
        assert!(check(register, &[0xf000_000e, 0x51e, 2]));
    }

    #[test]
    fn polls() {
        let hdp = Poll::Handshake {
            request: 0x1537,
            done: 0x1538,
            bits: 1 << 10,
        };
        let vector = [0x3400_0008, 0x54e0, 0x54dc, 0x400, 0x400, 0x0fff_000a];
        assert!(check(hdp, &vector));
        let fence = Poll::Memory {
            addr: 0xff_0000_0240,
            value: 7,
        };
        assert!(check(
            fence,
            &[0xb000_0008, 0x240, 0xff, 7, !0, 0x0fff_0004]
        ));
    }
}
