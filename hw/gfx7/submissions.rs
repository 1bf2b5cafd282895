// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the commands that a submission writes to each kind of ring, packet by packet.
//!
//! Single packets are tested beside their types. These tests check the order of packets, and the
//! engine that acts.

use kernel::prelude::*;

use super::{
    recorder::Recorder,
    BONAIRE, //
};
use crate::hw::command::{
    Commands,
    FenceSlot,
    FenceWrite,
    Fill,
    Flush,
    GartWindow,
    Ib,
    Marks,
    RingId,
    Submission,
    Transfer,
    VmState,
    Vmid, //
};

const FENCE: FenceWrite = FenceWrite {
    gpu_addr: 0xff_0000_0040,
    seq: 8,
};

const MARKS: Marks = Marks {
    begun: 0xff_0000_0060,
    gate: 0xff_0000_0068,
    settled: 0xff_0000_0070,
};

/// Two IBs.
const IBS: &[Ib] = &[
    Ib {
        va: 0x8_0000_1000,
        dwords: 0x40,
    },
    Ib {
        va: 0x8_0000_2000,
        dwords: 0x80,
    },
];

/// Returns a job of a process that has every optional part.
fn job(flush: Flush) -> Option<Submission<'static>> {
    Some(Submission {
        vm: Some(VmState {
            vmid: Vmid::new(9)?,
            pd_addr: 0xf4_0012_3000,
            flush,
            on_chip: None,
            pasid: 0x8001,
        }),
        commands: Commands::Ibs(IBS),
        user_fence: Some(FenceSlot {
            gpu_addr: 0xff_0000_1008,
            value: 0x1_0000_0007,
        }),
    })
}

/// Returns a submission of the kernel itself.
fn kernel(commands: Commands<'_>) -> Submission<'_> {
    Submission {
        vm: None,
        commands,
        user_fence: None,
    }
}

/// Returns true if `submission` is written to `ring` as these packets. Logs the first difference.
fn check(ring: RingId, submission: &Submission<'_>, packets: &[&[u32]]) -> bool {
    let written = Recorder::of(|out| {
        BONAIRE
            .engine(ring.engine())
            .driver
            .emit_submission(out, ring, submission, MARKS, FENCE);
    });
    let mut rest = written.dwords();
    for (number, packet) in packets.iter().enumerate() {
        let Some(after) = rest.strip_prefix(*packet) else {
            let is = &rest[..packet.len().min(rest.len())];
            pr_err!("{ring:?}: packet {number} is {is:x?}, not {packet:x?}\n");
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_submissions)]
mod tests {
    use super::*;
    use crate::hw::{
        card::Card,
        fake::{
            write,
            Effect, //
        },
        on_chip::{
            OnChip,
            OnChipKind,
            OnChipRange, //
        },
    };

    /// NOP of the DMA engines.
    const NOP: u32 = 0;

    #[test]
    fn graphics() {
        let packets: &[&[u32]] = &[
            // WAIT_REG_MEM, by the prefetch parser: the submission before is done
            &[0xc005_3c00, 0x113, 0x40, 0xff, 7, !0, 4],
            // WRITE_DATA: page directory, process number, flush
            &[0xc003_3700, 0x4000_0000, 0x50f, 0, 0xf40_0123],
            &[0xc003_3700, 0x4000_0000, 0xf59, 0, 0x8001],
            &[0xc003_3700, 0x4000_0000, 0x51e, 0, 0x200],
            // WAIT_REG_MEM, by the micro engine; PFP_SYNC_ME; SWITCH_BUFFER
            &[0xc005_3c00, 0, 0x51e, 0, 0, 0, 0x20],
            &[0xc000_4200, 0],
            &[0xc000_8b00, 0],
            &[0xc000_8b00, 0],
            // SURFACE_SYNC
            &[0xc003_4300, 0x28c0_0000, !0, 0, 10],
            // WAIT_REG_MEM: flush of the host data path
            &[0xc005_3c00, 0x143, 0x1537, 0x1538, 1, 1, 0x20],
            // WAIT_REG_MEM: the gate is open; WRITE_DATA: the submission begins; both by the parser
            &[0xc005_3c00, 0x113, 0x68, 0xff, 1, !0, 4],
            &[0xc003_3700, 0x4010_0500, 0x60, 0xff, 8],
            // EVENT_WRITE: VS_PARTIAL_FLUSH, VGT_FLUSH; CONTEXT_CONTROL
            &[0xc000_4600, 0x40f],
            &[0xc000_4600, 0x24],
            &[0xc001_2800, 0x8101_8003, 0],
            // INDIRECT_BUFFER
            &[0xc002_3f00, 0x1000, 8, 0x0900_0040],
            &[0xc002_3f00, 0x2000, 8, 0x0900_0080],
            // DMA_DATA: copies are waited for, of both engines
            &[0xc005_5000, 0x8000_0001, 0, 0, 0, 0, 0],
            &[0xc005_5000, 0x8000_0000, 0, 0, 0, 0, 0],
            // WRITE_DATA: invalidation of the host data path
            &[0xc003_3700, 0x4000_0000, 0xbcc, 0, 1],
            // EVENT_WRITE_EOP: the user fence, then the kernel's, each with the number before first
            &[0xc004_4700, 0x3_0514, 0x1008, 0x4000_00ff, 6, 1],
            &[0xc004_4700, 0x3_0514, 0x1008, 0x4000_00ff, 7, 1],
            &[0xc004_4700, 0x3_0514, 0x40, 0x2000_00ff, 7, 0],
            &[0xc004_4700, 0x3_0514, 0x40, 0x2200_00ff, 8, 0],
            // SWITCH_BUFFER
            &[0xc000_8b00, 0],
        ];
        let job = job(Flush::Needed).unwrap();
        assert!(check(RingId::Gfx, &job, packets));
    }

    #[test]
    fn compute() {
        let packets: &[&[u32]] = &[
            // WAIT_REG_MEM: the submission before is done
            &[0xc005_3c00, 0x13, 0x40, 0xff, 7, !0, 4],
            // WRITE_DATA: page directory, process number, flush; WAIT_REG_MEM
            &[0xc003_3700, 0, 0x50f, 0, 0xf40_0123],
            &[0xc003_3700, 0, 0xf59, 0, 0x8001],
            &[0xc003_3700, 0, 0x51e, 0, 0x200],
            &[0xc005_3c00, 0, 0x51e, 0, 0, 0, 0x20],
            // ACQUIRE_MEM
            &[0xc005_5800, 0x28c0_0000, !0, 0xff, 0, 0, 10],
            // WAIT_REG_MEM: flush of the host data path
            &[0xc005_3c00, 0x43, 0x1537, 0x1538, 4, 4, 0x20],
            // WAIT_REG_MEM: the gate is open; WRITE_DATA: the submission begins
            &[0xc005_3c00, 0x13, 0x68, 0xff, 1, !0, 4],
            &[0xc003_3700, 0x0010_0500, 0x60, 0xff, 8],
            // INDIRECT_BUFFER
            &[0xc002_3f00, 0x1000, 8, 0x0980_0040],
            &[0xc002_3f00, 0x2000, 8, 0x0980_0080],
            // DMA_DATA: copies are waited for
            &[0xc005_5000, 0x8000_0000, 0, 0, 0, 0, 0],
            // WRITE_DATA: invalidation of the host data path
            &[0xc003_3700, 0, 0xbcc, 0, 1],
            // RELEASE_MEM: the user fence, then the kernel's
            &[0xc005_4900, 0x3_0514, 0x4000_0000, 0x1008, 0xff, 7, 1],
            &[0xc005_4900, 0x3_0514, 0x2200_0000, 0x40, 0xff, 8, 0],
        ];
        let job = job(Flush::Needed).unwrap();
        for queue in 0..8 {
            assert!(check(RingId::Compute(queue), &job, packets));
        }
    }

    #[test]
    fn dma() {
        for (engine, client) in [(0, 1 << 10), (1, 1 << 11)] {
            let packets: &[&[u32]] = &[
                // POLL_REG_MEM: the submission before is done
                &[0xb000_0008, 0x40, 0xff, 7, !0, 0x0fff_0004],
                // SRBM_WRITE: page directory, process number, flush; POLL_REG_MEM
                &[0xf000_000e, 0x50f, 0xf40_0123],
                &[0xf000_000e, 0xf59, 0x8001],
                &[0xf000_000e, 0x51e, 0x200],
                &[0x8, 0x1478, 0, 0, 0, 0x0fff_000a],
                // POLL_REG_MEM: flush of the host data path
                &[0x3400_0008, 0x54e0, 0x54dc, client, client, 0x0fff_000a],
                // POLL_REG_MEM: the gate is open; WRITE: the submission begins
                &[0xb000_0008, 0x68, 0xff, 1, !0, 0x0fff_0004],
                &[2, 0x60, 0xff, 1, 8],
                &[0xb000_0008, 0x60, 0xff, 8, !0, 0x0fff_0004],
                // INDIRECT_BUFFER, each up to a multiple of 8
                &[0x0009_0004, 0x1000, 8, 0x40],
                &[NOP, NOP, NOP, NOP],
                &[0x0009_0004, 0x2000, 8, 0x80],
                // SRBM_WRITE: invalidation of the host data path
                &[0xf000_000e, 0xbcc, 1],
                // FENCE: the user fence, the upper half first, then the kernel's; TRAP
                &[5, 0x100c, 0xff, 1],
                &[5, 0x1008, 0xff, 7],
                &[5, 0x40, 0xff, 8],
                &[6],
            ];
            let job = job(Flush::Needed).unwrap();
            assert!(check(RingId::Sdma(engine), &job, packets));
        }
    }

    #[test]
    fn no_flush() {
        let flushed = job(Flush::Needed).unwrap();
        let not = job(Flush::NotNeeded).unwrap();
        for &ring in BONAIRE.rings {
            let length = |job| {
                let engine = BONAIRE.engine(ring.engine()).driver;
                let written = Recorder::of(|out| {
                    engine.emit_submission(out, ring, job, MARKS, FENCE);
                });
                written.dwords().len()
            };
            let flush = match ring {
                RingId::Gfx => 3 * 5 + 7 + 3 * 2,
                RingId::Compute(_) => 3 * 5 + 7,
                // And seven NOPs less.
                RingId::Sdma(_) => 3 * 3 + 6 - 7,
            };
            assert_eq!(length(&flushed) - length(&not), flush);
        }
    }

    #[test]
    fn on_chip_memory() {
        let range = |first, count| OnChipRange { first, count };
        let on_chip = OnChip::NONE
            .with(OnChipKind::Gds, range(0x400, 0x100))
            .with(OnChipKind::Gws, range(2, 1))
            .with(OnChipKind::Oa, range(4, 2));
        let written: &[u32] = &[
            // WRITE_DATA by the micro engine, for context 9
            0xc003_3700,
            0,
            0x3312,
            0,
            0x400, //
            0xc003_3700,
            0,
            0x3313,
            0,
            0x100, //
            0xc003_3700,
            0,
            0x3329,
            0,
            0x1_0002, //
            0xc003_3700,
            0,
            0x3339,
            0,
            0x30,
        ];
        for &ring in BONAIRE.rings {
            let words = |on_chip| {
                let mut job = job(Flush::Needed).unwrap();
                if let Some(vm) = &mut job.vm {
                    vm.on_chip = on_chip;
                }
                let engine = BONAIRE.engine(ring.engine()).driver;
                Recorder::of(|out| {
                    engine.emit_submission(out, ring, &job, MARKS, FENCE);
                })
            };
            let (without, with) = (words(None), words(Some(on_chip)));
            let (without, with) = (without.dwords(), with.dwords());
            if let RingId::Sdma(_) = ring {
                assert_eq!(with, without);
                continue;
            }
            // Behind the wait for the submission before.
            let wait = 7;
            assert_eq!(with[..wait], without[..wait]);
            assert_eq!(&with[wait..wait + written.len()], written);
            assert_eq!(with[wait + written.len()..], without[wait..]);
        }
    }

    #[test]
    fn kernel_graphics() {
        let packets: &[&[u32]] = &[
            &[0xc005_3c00, 0x113, 0x40, 0xff, 7, !0, 4],
            &[0xc003_4300, 0x28c0_0000, !0, 0, 10],
            &[0xc005_3c00, 0x143, 0x1537, 0x1538, 1, 1, 0x20],
            // WAIT_REG_MEM: the gate is open; WRITE_DATA: the submission begins; both by the parser
            &[0xc005_3c00, 0x113, 0x68, 0xff, 1, !0, 4],
            &[0xc003_3700, 0x4010_0500, 0x60, 0xff, 8],
            &[0xc005_5000, 0x8000_0001, 0, 0, 0, 0, 0],
            &[0xc005_5000, 0x8000_0000, 0, 0, 0, 0, 0],
            &[0xc003_3700, 0x4000_0000, 0xbcc, 0, 1],
            &[0xc004_4700, 0x3_0514, 0x40, 0x2000_00ff, 7, 0],
            &[0xc004_4700, 0x3_0514, 0x40, 0x2200_00ff, 8, 0],
            &[0xc000_8b00, 0],
        ];
        let nothing = kernel(Commands::Ibs(&[]));
        assert!(check(RingId::Gfx, &nothing, packets));
    }

    #[test]
    fn kernel_compute() {
        let packets: &[&[u32]] = &[
            &[0xc005_3c00, 0x13, 0x40, 0xff, 7, !0, 4],
            &[0xc005_5800, 0x28c0_0000, !0, 0xff, 0, 0, 10],
            &[0xc005_3c00, 0x43, 0x1537, 0x1538, 4, 4, 0x20],
            // WAIT_REG_MEM: the gate is open; WRITE_DATA: the submission begins
            &[0xc005_3c00, 0x13, 0x68, 0xff, 1, !0, 4],
            &[0xc003_3700, 0x0010_0500, 0x60, 0xff, 8],
            &[0xc005_5000, 0x8000_0000, 0, 0, 0, 0, 0],
            &[0xc003_3700, 0, 0xbcc, 0, 1],
            &[0xc005_4900, 0x3_0514, 0x2200_0000, 0x40, 0xff, 8, 0],
        ];
        let nothing = kernel(Commands::Ibs(&[]));
        assert!(check(RingId::Compute(3), &nothing, packets));
    }

    #[test]
    fn kernel_clears_the_share() {
        let share = OnChipRange {
            first: 0x400,
            count: 0x100,
        };
        let clear = kernel(Commands::ClearGds(share));
        let nothing = kernel(Commands::Ibs(&[]));
        let words = |submission| {
            let engine = BONAIRE.engine(RingId::Compute(0).engine()).driver;
            Recorder::of(|out| {
                engine.emit_submission(out, RingId::Compute(0), submission, MARKS, FENCE);
            })
        };
        let (with, without) = (words(&clear), words(&nothing));
        // DMA_DATA, before that which waits for copies.
        let packet = [0xc005_5000, 0xc010_0000, 0, 0, 0x400, 0, 0x100];
        let at = with.dwords().windows(7).position(|words| words == packet);
        let Some(at) = at else {
            panic!("no such packet");
        };
        assert_eq!(with.dwords()[..at], without.dwords()[..at]);
        assert_eq!(with.dwords()[at + 7..], without.dwords()[at..]);
    }

    #[test]
    fn kernel_dma() {
        let fill = Fill {
            addr: 0xf4_0020_0000,
            bytes: 0x20_0000,
            value: 0x55,
        };
        let packets: &[&[u32]] = &[
            &[0xb000_0008, 0x40, 0xff, 7, !0, 0x0fff_0004],
            &[0x3400_0008, 0x54e0, 0x54dc, 0x400, 0x400, 0x0fff_000a],
            &[0xb000_0008, 0x68, 0xff, 1, !0, 0x0fff_0004],
            &[2, 0x60, 0xff, 1, 8],
            &[0xb000_0008, 0x60, 0xff, 8, !0, 0x0fff_0004],
            // CONSTANT_FILL
            &[0x8000_000b, 0x0020_0000, 0xf4, 0x55, 0x1f_f000],
            &[0x8000_000b, 0x003f_f000, 0xf4, 0x55, 0x1000],
            &[0xf000_000e, 0xbcc, 1],
            &[5, 0x40, 0xff, 8],
            &[6],
        ];
        let fill = kernel(Commands::Fill(fill));
        assert!(check(RingId::Sdma(0), &fill, packets));
    }

    #[test]
    fn kernel_dma_by_window() {
        // FENCE and POLL_REG_MEM, for each of two values: the writes before have arrived
        let settled: &[u32] = &[
            5,
            0x70,
            0xff,
            0,
            0xb000_0008,
            0x70,
            0xff,
            0,
            !0,
            0x0fff_0004, //
            5,
            0x70,
            0xff,
            1,
            0xb000_0008,
            0x70,
            0xff,
            1,
            !0,
            0x0fff_0004,
        ];
        // SRBM_WRITE and POLL_REG_MEM: the flush of context 0
        let flushed: &[u32] = &[0xf000_000e, 0x51e, 1, 0x8, 0x1478, 0, 0, 0, 0x0fff_000a];
        let packets: &[&[u32]] = &[
            &[0xb000_0008, 0x40, 0xff, 7, !0, 0x0fff_0004],
            &[0x3400_0008, 0x54e0, 0x54dc, 0x400, 0x400, 0x0fff_000a],
            &[0xb000_0008, 0x68, 0xff, 1, !0, 0x0fff_0004],
            &[2, 0x60, 0xff, 1, 8],
            &[0xb000_0008, 0x60, 0xff, 8, !0, 0x0fff_0004],
            // WRITE: entries
            &[2, 0x0fe0_0080, 0xf4, 4, 0x0123_4027, 0, 0x5678_9027, 1],
            settled,
            flushed,
            // COPY
            &[1, 0x2000, 0, 0x1_0000, 0xff, 0x0020_0000, 0xf4],
            settled,
            // CONSTANT_FILL: no entries
            &[0x8000_000b, 0x0fe0_0080, 0xf4, 0, 0x10],
            settled,
            flushed,
            &[0xf000_000e, 0xbcc, 1],
            &[5, 0x40, 0xff, 8],
            &[6],
        ];
        let transfer = kernel(Commands::Transfer(Transfer {
            from: 0xff_0001_0000,
            to: 0xf4_0020_0000,
            bytes: 0x2000,
            window: Some(GartWindow {
                table: 0xf4_0fe0_0080,
                entries: &[0x0123_4027, 0x1_5678_9027],
            }),
        }));
        assert!(check(RingId::Sdma(0), &transfer, packets));
    }

    #[test]
    fn places() {
        for (place, ring) in BONAIRE.rings.iter().enumerate() {
            assert_eq!(ring.place(), place);
        }
        assert!(BONAIRE.rings.len() <= RingId::PLACES);
    }

    #[test]
    fn fills_and_copies_are_for_dma_engines() {
        const ENTRIES: &[u64] = &[0; GartWindow::PAGES + 1];

        let transfer = |bytes, pages| {
            Commands::Transfer(Transfer {
                from: 0,
                to: 0,
                bytes,
                window: Some(GartWindow {
                    table: 0,
                    entries: &ENTRIES[..pages],
                }),
            })
        };
        let fill = |bytes| {
            Commands::Fill(Fill {
                addr: 0,
                bytes,
                value: 0,
            })
        };
        for &ring in BONAIRE.rings {
            let is_dma = matches!(ring, RingId::Sdma(_));
            let engine = BONAIRE.engine(ring.engine()).driver;
            assert_eq!(engine.can(&fill(Fill::MAX_BYTES)), is_dma);
            assert!(!engine.can(&fill(Fill::MAX_BYTES + 4)));
            assert_eq!(engine.can(&transfer(Transfer::MAX_BYTES, 0)), is_dma);
            assert_eq!(engine.can(&transfer(0x1000, GartWindow::PAGES)), is_dma);
            assert!(!engine.can(&transfer(Transfer::MAX_BYTES + 0x1000, 0)));
            assert!(!engine.can(&transfer(0x1000, GartWindow::PAGES + 1)));
            let is_compute = matches!(ring, RingId::Compute(_));
            assert_eq!(
                engine.can(&Commands::ClearGds(OnChipRange::NONE)),
                is_compute
            );
            assert!(engine.can(&Commands::Ibs(&[])));
            assert!(engine.can(&Commands::Fail(EIO)));
        }
    }

    #[test]
    fn kicks() -> Result {
        let cases = [
            (RingId::Gfx, write(0xc114, 0x10)), // CP_RB0_WPTR
            (RingId::Compute(0), Effect::Doorbell(0x10, 0x10)),
            (RingId::Compute(7), Effect::Doorbell(0x17, 0x10)),
            (RingId::Sdma(0), write(0xd210, 0x40)), // SDMA0_GFX_RB_WPTR, in bytes
            (RingId::Sdma(1), write(0xda10, 0x40)),
        ];
        for (ring, expected) in cases {
            // The ring wraps, but the position does not, not even beyond 32 bits.
            for position in [0x10, 0x2010, (1 << 32) + 0x10] {
                let card = Card::fake(&[])?;
                let engine = BONAIRE.engine(ring.engine()).driver;
                engine.kick(&card, ring, position);
                assert!(card.saw(&[expected]));
            }
        }
        Ok(())
    }
}
