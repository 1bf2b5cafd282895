// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Names and lengths of packets, for the dump of a hang: of those that the driver writes, and of
//! those in the command buffers of clients.
//!
//! The C driver has the numbers in cikd.h (`PACKET3_*`, `SDMA_OPCODE_*`), and no names.

use kernel::num::casts::u32_as_usize;

use super::{
    pm4,
    sdma_packet, //
};
use crate::hw::{
    command::Ib,
    decode::{
        Call,
        DecodedPacket, //
    },
};

/// Opcodes of the packets of type 3, in their order.
const OPCODES: &[(u8, &str)] = &[
    (0x10, "NOP"),
    (0x11, "SET_BASE"),
    (0x12, "CLEAR_STATE"),
    (0x13, "INDEX_BUFFER_SIZE"),
    (0x15, "DISPATCH_DIRECT"),
    (0x16, "DISPATCH_INDIRECT"),
    (0x1d, "ATOMIC_GDS"),
    (0x1e, "ATOMIC_MEM"),
    (0x1f, "OCCLUSION_QUERY"),
    (0x20, "SET_PREDICATION"),
    (0x21, "REG_RMW"),
    (0x22, "COND_EXEC"),
    (0x23, "PRED_EXEC"),
    (0x24, "DRAW_INDIRECT"),
    (0x25, "DRAW_INDEX_INDIRECT"),
    (0x26, "INDEX_BASE"),
    (0x27, "DRAW_INDEX_2"),
    (0x28, "CONTEXT_CONTROL"),
    (0x2a, "INDEX_TYPE"),
    (0x2c, "DRAW_INDIRECT_MULTI"),
    (0x2d, "DRAW_INDEX_AUTO"),
    (0x2f, "NUM_INSTANCES"),
    (0x30, "DRAW_INDEX_MULTI_AUTO"),
    (0x33, "INDIRECT_BUFFER_CONST"),
    (0x34, "STRMOUT_BUFFER_UPDATE"),
    (0x35, "DRAW_INDEX_OFFSET_2"),
    (0x36, "DRAW_PREAMBLE"),
    (0x37, "WRITE_DATA"),
    (0x38, "DRAW_INDEX_INDIRECT_MULTI"),
    (0x39, "MEM_SEMAPHORE"),
    (0x3b, "COPY_DW"),
    (0x3c, "WAIT_REG_MEM"),
    (0x3f, "INDIRECT_BUFFER"),
    (0x40, "COPY_DATA"),
    (0x42, "PFP_SYNC_ME"),
    (0x43, "SURFACE_SYNC"),
    (0x45, "COND_WRITE"),
    (0x46, "EVENT_WRITE"),
    (0x47, "EVENT_WRITE_EOP"),
    (0x48, "EVENT_WRITE_EOS"),
    (0x49, "RELEASE_MEM"),
    (0x4a, "PREAMBLE_CNTL"),
    (0x50, "DMA_DATA"),
    (0x58, "ACQUIRE_MEM"),
    (0x59, "REWIND"),
    (0x5e, "LOAD_UCONFIG_REG"),
    (0x5f, "LOAD_SH_REG"),
    (0x60, "LOAD_CONFIG_REG"),
    (0x61, "LOAD_CONTEXT_REG"),
    (0x68, "SET_CONFIG_REG"),
    (0x69, "SET_CONTEXT_REG"),
    (0x73, "SET_CONTEXT_REG_INDIRECT"),
    (0x76, "SET_SH_REG"),
    (0x77, "SET_SH_REG_OFFSET"),
    (0x78, "SET_QUEUE_REG"),
    (0x79, "SET_UCONFIG_REG"),
    (0x7d, "SCRATCH_RAM_WRITE"),
    (0x7e, "SCRATCH_RAM_READ"),
    (0x80, "LOAD_CONST_RAM"),
    (0x81, "WRITE_CONST_RAM"),
    (0x83, "DUMP_CONST_RAM"),
    (0x84, "INCREMENT_CE_COUNTER"),
    (0x85, "INCREMENT_DE_COUNTER"),
    (0x86, "WAIT_ON_CE_COUNTER"),
    (0x88, "WAIT_ON_DE_COUNTER_DIFF"),
    (0x8b, "SWITCH_BUFFER"),
];

/// Opcodes after which a command buffer follows: `INDIRECT_BUFFER_CONST`, `INDIRECT_BUFFER`.
const CALLS: [u8; 2] = [0x33, 0x3f];

/// Decodes a packet of a command processor.
pub(super) fn pm4(dwords: &[u32]) -> DecodedPacket {
    let header = dwords.first().copied().unwrap_or(0);
    // The number of dwords of the body, less one, for the types that have one.
    let length = u32_as_usize(header >> 16 & 0x3fff) + 2;
    match header >> 30 {
        0 => DecodedPacket::new("registers (type 0)", length),
        2 => DecodedPacket::new("NOP (type 2)", 1),
        3 if header == pm4::NOP => DecodedPacket::new("NOP", 1),
        3 => DecodedPacket {
            name: name(header),
            dwords: length,
            call: call(header, dwords),
        },
        _ => DecodedPacket::new("no packet", 1),
    }
}

/// Returns the opcode of a packet of type 3.
fn opcode(header: u32) -> u8 {
    // CAST: Only these bits are wanted.
    (header >> 8) as u8
}

fn name(header: u32) -> &'static str {
    let found = OPCODES.binary_search_by_key(&opcode(header), |entry| entry.0);
    found.map_or("unknown", |index| OPCODES[index].1)
}

fn call(header: u32, dwords: &[u32]) -> Option<Call> {
    if !CALLS.contains(&opcode(header)) {
        return None;
    }
    let &[_, low, high, control, ..] = dwords else {
        return None;
    };
    Some(Call {
        ib: Ib {
            va: u64::from(high & 0xffff) << 32 | u64::from(low & !3),
            dwords: control & Ib::MAX_DWORDS,
        },
        // CAST: The field has 4 bits.
        vmid: (control >> 24 & 0xf) as u8,
    })
}

/// Decodes a packet of a DMA engine. One of an unknown length takes all that follows along.
pub(super) fn sdma(dwords: &[u32]) -> DecodedPacket {
    const LINEAR: u32 = 0;
    let [header, low, high, count] = core::array::from_fn(|n| dwords.get(n).copied().unwrap_or(0));
    let sub = header >> 8 & 0xff;
    let (name, length) = match (header & 0xff, sub) {
        (0, _) => ("NOP", 1 + u32_as_usize(header >> 16 & 0x3fff)),
        (1, LINEAR) => ("COPY", 7),
        (1, _) => ("COPY", dwords.len()),
        (2, LINEAR) => ("WRITE", u32_as_usize(count).saturating_add(4)),
        (2, _) => ("WRITE", dwords.len()),
        (4, _) => (
            "INDIRECT_BUFFER",
            u32_as_usize(sdma_packet::IndirectBuffer::DWORDS),
        ),
        (5, _) => ("FENCE", 4),
        (6, _) => ("TRAP", 1),
        (7, _) => ("SEMAPHORE", 3),
        (8, _) => ("POLL_REG_MEM", 6),
        (9, _) => ("COND_EXEC", 5),
        (11, _) => ("CONSTANT_FILL", 5),
        (12, _) => ("GENERATE_PTE_PDE", 10),
        (13, _) => ("TIMESTAMP", 3),
        (14, _) => ("SRBM_WRITE", 3),
        _ => ("unknown", dwords.len()),
    };
    let call = (name == "INDIRECT_BUFFER").then(|| Call {
        ib: Ib {
            va: u64::from(high) << 32 | u64::from(low & !3),
            dwords: count & Ib::MAX_DWORDS,
        },
        // CAST: The field has 4 bits.
        vmid: (header >> 16 & 0xf) as u8,
    });
    DecodedPacket {
        name,
        dwords: length,
        call,
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_gfx7_decode)]
mod tests {
    use super::*;
    use crate::hw::{
        command::{
            Commands,
            FenceWrite,
            Flush,
            Marks,
            Submission,
            VmState,
            Vmid, //
        },
        decode::packets,
        gfx7::{
            recorder::Recorder,
            BONAIRE, //
        },
        on_chip::OnChip, //
    };

    #[test]
    fn opcodes_are_in_order() {
        assert!(OPCODES.is_sorted_by(|a, b| a.0 < b.0));
    }

    /// What is written for a job is read again as packets without a gap, and its calls as such.
    #[test]
    fn what_is_written_is_read_again() {
        let ibs = [0x8_0000_1000, 0x8_0000_2000].map(|va| Ib { va, dwords: 0x40 });
        let vm = VmState {
            vmid: Vmid::new(9).unwrap(),
            pd_addr: 0xf4_0012_3000,
            flush: Flush::Needed,
            on_chip: Some(OnChip::NONE),
            pasid: 0,
        };
        let submission = Submission {
            vm: Some(vm),
            commands: Commands::Ibs(&ibs),
            user_fence: None,
        };
        let marks = Marks {
            begun: 0xff_0000_0060,
            gate: 0xff_0000_0068,
            settled: 0xff_0000_0070,
        };
        let fence = FenceWrite {
            gpu_addr: 0xff_0000_0040,
            seq: 8,
        };
        for &ring in BONAIRE.rings {
            let engine = BONAIRE.engine(ring.engine()).driver;
            let written = Recorder::of(|out| {
                engine.emit_submission(out, ring, &submission, marks, fence);
            });
            let dwords = written.dwords();
            let mut calls = ibs.iter();
            let mut end = 0;
            for (at, packet) in packets(dwords, |rest| engine.decode(rest)) {
                assert_eq!(at, end);
                assert!(packet.name != "unknown" && packet.name != "no packet");
                end = at + packet.dwords;
                if let Some(Call { ib, vmid }) = packet.call {
                    let expected = calls.next().map(|ib| (ib.va, ib.dwords, 9));
                    assert_eq!(Some((ib.va, ib.dwords, vmid)), expected);
                }
            }
            assert_eq!(end, dwords.len());
            assert!(calls.next().is_none());
        }
    }

    #[test]
    fn nonsense_is_read_too() {
        assert_eq!(pm4(&[]), DecodedPacket::new("registers (type 0)", 2));
        assert_eq!(pm4(&[!0]).dwords, 0x4001);
        assert_eq!(pm4(&[0x4000_0000]), DecodedPacket::new("no packet", 1));
        assert_eq!(pm4(&[0x8000_0000]), DecodedPacket::new("NOP (type 2)", 1));
        assert_eq!(pm4(&[0xc000_fe00, 0]), DecodedPacket::new("unknown", 2));
        // Cut off before the address.
        assert_eq!(pm4(&[0xc002_3f00, 4]).call, None);
        assert_eq!(sdma(&[0xff, 1, 2]), DecodedPacket::new("unknown", 3));
        assert_eq!(sdma(&[2, 0, 0, !0]).dwords, 0x1_0000_0003);
    }
}
