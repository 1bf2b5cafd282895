// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The interrupt handler block (IH; the C driver's `cik_ih.c`), which writes events into a ring and
//! interrupts the CPU.
//!
//! An entry has 16 bytes: the interrupt's source, data, the ring and the process. After an
//! interrupt, the card does not interrupt again until the driver has told it how far the ring has
//! been read.

use kernel::{
    io::Io,
    prelude::*, //
};

use super::{
    high,
    low,
    regs::*, //
};
use crate::hw::{
    card::Card,
    command::RingId,
    Event,
    Illegal,
    InterruptController,
    InterruptRing, //
};

pub(super) struct Ih;

/// Numbers of the interrupt sources.
mod source {
    pub(super) const PAGE_INVALID_FAULT: u8 = 146;
    pub(super) const PROTECTION_FAULT: u8 = 147;
    pub(super) const CP_END_OF_PIPE: u8 = 181;
    pub(super) const CP_BAD_OPCODE: u8 = 183;
    pub(super) const CP_PRIVILEGED_REGISTER: u8 = 184;
    pub(super) const CP_PRIVILEGED_INSTRUCTION: u8 = 185;
    pub(super) const SDMA_TRAP: u8 = 224;
    pub(super) const SDMA0_ILLEGAL_INSTRUCTION: u8 = 241;
    pub(super) const SDMA1_ILLEGAL_INSTRUCTION: u8 = 247;
}

impl InterruptController for Ih {
    fn start(&self, card: &Card<'_>, ring: &InterruptRing) {
        let regs = card.regs();
        self.stop(card);

        regs.write_reg(INTERRUPT_CNTL2::from(low(ring.dummy_page >> 8)));
        regs.update(INTERRUPT_CNTL, |r| {
            // No dummy read with message-signaled interrupts; and the ring is snooped memory.
            r.with_ih_dummy_rd_override(false)
                .with_ih_req_nonsnoop_en(false)
        });

        regs.write_reg(IH_RB_BASE::from(low(ring.base >> 8)));
        regs.write_reg(IH_RB_WPTR_ADDR_LO::from(low(ring.write_pointer)));
        regs.write_reg(IH_RB_WPTR_ADDR_HI::from(high(ring.write_pointer) & 0xff));
        let control = ring_control();
        regs.write_reg(control.with_wptr_overflow_clear(true));
        regs.write_reg(IH_RB_RPTR::zeroed());
        regs.write_reg(IH_RB_WPTR::zeroed());
        let handler = IH_CNTL::zeroed()
            .with_const_mc_wrreq_credit::<0x10>()
            .with_const_mc_wr_clean_cnt::<0x10>()
            .with_rptr_rearm(true);
        regs.write_reg(handler);

        regs.write_reg(handler.with_enable_intr(true));
        regs.write_reg(control.with_rb_enable(true));
    }

    fn stop(&self, card: &Card<'_>) {
        let regs = card.regs();
        regs.update(IH_RB_CNTL, |r| r.with_rb_enable(false));
        regs.update(IH_CNTL, |r| r.with_enable_intr(false));
        regs.write_reg(IH_RB_RPTR::zeroed());
        regs.write_reg(IH_RB_WPTR::zeroed());
    }

    fn enable_sources(&self, card: &Card<'_>) {
        let regs = card.regs();
        regs.update(CP_INT_CNTL_RING0, |r| {
            r.with_time_stamp_int_enable(true)
                .with_priv_reg_int_enable(true)
                .with_priv_instr_int_enable(true)
        });
        regs.update(CP_ME1_PIPE0_INT_CNTL, |r| {
            r.with_time_stamp_int_enable(true)
        });
        super::sdma::enable_traps(card);
        regs.update(VM_CONTEXT1_CNTL, |r| {
            r.with_range_protection_fault_enable_interrupt(true)
                .with_dummy_page_protection_fault_enable_interrupt(true)
                .with_pde0_protection_fault_enable_interrupt(true)
                .with_valid_protection_fault_enable_interrupt(true)
                .with_read_protection_fault_enable_interrupt(true)
                .with_write_protection_fault_enable_interrupt(true)
        });
    }

    fn acknowledge(&self, card: &Card<'_>, read_pointer: u32) {
        card.regs().write_reg(IH_RB_RPTR::from(read_pointer));
    }

    fn write_pointer(&self, card: &Card<'_>) -> u32 {
        card.regs().read(IH_RB_WPTR).into_raw()
    }

    fn clear_overflow(&self, card: &Card<'_>) {
        let control = ring_control().with_rb_enable(true);
        card.regs()
            .write_reg(control.with_wptr_overflow_clear(true));
        // Cleared at once: otherwise the next overflow would not be seen.
        card.regs().write_reg(control);
    }

    fn decode(&self, entry: [u32; 4]) -> Event {
        let [source, data, ring, _] = entry;
        let [ring, ..] = ring.to_le_bytes();
        let [source, ..] = source.to_le_bytes();
        let data = data & 0xfff_ffff;
        let other = Event::Other { source, data };
        let command_processor = |event: fn(RingId) -> Event| command_ring(ring).map(event);
        let dma = |event: fn(RingId) -> Event| dma_ring(ring).map(event);
        match source {
            source::PAGE_INVALID_FAULT | source::PROTECTION_FAULT => Some(Event::Fault),
            source::CP_END_OF_PIPE => command_processor(fence_of),
            source::CP_BAD_OPCODE => {
                command_processor(|ring| Event::Illegal(Illegal::Opcode, ring))
            }
            source::CP_PRIVILEGED_REGISTER => {
                command_processor(|ring| Event::Illegal(Illegal::Register, ring))
            }
            source::CP_PRIVILEGED_INSTRUCTION => {
                command_processor(|ring| Event::Illegal(Illegal::Instruction, ring))
            }
            source::SDMA_TRAP => dma(Event::Fence),
            source::SDMA0_ILLEGAL_INSTRUCTION => {
                Some(Event::Illegal(Illegal::Instruction, RingId::Sdma(0)))
            }
            source::SDMA1_ILLEGAL_INSTRUCTION => {
                Some(Event::Illegal(Illegal::Instruction, RingId::Sdma(1)))
            }
            _ => None,
        }
        .unwrap_or(other)
    }
}

/// Returns the settings of the ring, not yet enabled.
fn ring_control() -> IH_RB_CNTL {
    const LOG2_DWORDS: u32 = InterruptRing::SIZE.ilog2() - size_of::<u32>().ilog2();
    IH_RB_CNTL::zeroed()
        .with_const_rb_size::<LOG2_DWORDS>()
        .with_wptr_writeback_enable(true)
        .with_wptr_overflow_enable(true)
}

/// Returns the event of an end of pipe of the command processor. On this generation the C drivers
/// do not rely on the queue that the entry names (`gfx_v7_0_eop_irq`): they check all queues of the
/// pipe.
fn fence_of(ring: RingId) -> Event {
    match ring {
        RingId::Compute(_) => Event::ComputeFence,
        ring => Event::Fence(ring),
    }
}

/// Returns the command processor's ring with this number: pipe 1:0, engine 3:2, queue 6:4.
fn command_ring(number: u8) -> Option<RingId> {
    let (pipe, engine, queue) = (number & 3, number >> 2 & 3, number >> 4 & 7);
    match (engine, pipe) {
        (0, 0) => Some(RingId::Gfx),
        (1, 0) => Some(RingId::Compute(queue)),
        _ => None,
    }
}

/// Returns the DMA engine's ring with this number: engine 1:0, queue 3:2.
fn dma_ring(number: u8) -> Option<RingId> {
    let (engine, queue) = (number & 3, number >> 2 & 3);
    match (engine, queue) {
        (0 | 1, 0) => Some(RingId::Sdma(engine)),
        _ => None,
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_ih)]
mod tests {
    use super::*;
    use crate::hw::fake::write;

    #[test]
    fn entries() {
        let cases = [
            ([181, 0, 0x00, 0], Event::Fence(RingId::Gfx)),
            ([181, 0, 0x04, 0], Event::ComputeFence),
            ([181, 0, 0x74, 0], Event::ComputeFence),
            ([224, 0, 0x00, 0], Event::Fence(RingId::Sdma(0))),
            ([224, 0, 0x01, 0], Event::Fence(RingId::Sdma(1))),
            ([147, 0, 0, 0], Event::Fault),
            (
                [184, 0, 0x14, 0],
                Event::Illegal(Illegal::Register, RingId::Compute(1)),
            ),
            (
                [241, 0, 0x00, 0],
                Event::Illegal(Illegal::Instruction, RingId::Sdma(0)),
            ),
            (
                [247, 0, 0x01, 0],
                Event::Illegal(Illegal::Instruction, RingId::Sdma(1)),
            ),
            // Queues that the driver does not use, and sources that it did not ask for.
            (
                [181, 5, 0x05, 0],
                Event::Other {
                    source: 181,
                    data: 5,
                },
            ),
            (
                [224, 0, 0x05, 0],
                Event::Other {
                    source: 224,
                    data: 0,
                },
            ),
            (
                [1, !0, 0, 0],
                Event::Other {
                    source: 1,
                    data: 0xfff_ffff,
                },
            ),
        ];
        for (entry, event) in cases {
            assert_eq!(Ih.decode(entry), event);
        }
        // The bits beside the ring's number are not part of it.
        assert_eq!(Ih.decode([181, 0, 0x1234_0504, 0]), Event::ComputeFence);
    }

    #[test]
    fn start() -> Result {
        let card = Card::fake(&[])?;
        let ring = InterruptRing {
            base: 0xff_0000_1000,
            write_pointer: 0xff_0001_1000,
            dummy_page: 0x2fd_f000,
        };
        Ih.start(&card, &ring);
        assert!(card.saw(&[
            write(0x3e00, 0),           // IH_RB_CNTL
            write(0x3e18, 0),           // IH_CNTL
            write(0x3e08, 0),           // IH_RB_RPTR
            write(0x3e0c, 0),           // IH_RB_WPTR
            write(0x546c, 0x2_fdf0),    // INTERRUPT_CNTL2
            write(0x5468, 0),           // INTERRUPT_CNTL
            write(0x3e04, 0xff00_0010), // IH_RB_BASE
            write(0x3e14, 0x1_1000),    // IH_RB_WPTR_ADDR_LO
            write(0x3e10, 0xff),        // IH_RB_WPTR_ADDR_HI
            write(0x3e00, 0x8001_011c), // IH_RB_CNTL
            write(0x3e08, 0),           // IH_RB_RPTR
            write(0x3e0c, 0),           // IH_RB_WPTR
            write(0x3e18, 0x108_0010),  // IH_CNTL
            write(0x3e18, 0x108_0011),
            write(0x3e00, 0x1_011d), // IH_RB_CNTL
        ]));
        Ok(())
    }

    #[test]
    fn overflow() -> Result {
        let card = Card::fake(&[])?;
        Ih.clear_overflow(&card);
        Ih.acknowledge(&card, 0x40);
        assert!(card.saw(&[
            write(0x3e00, 0x8001_011d), // IH_RB_CNTL
            write(0x3e00, 0x0001_011d),
            write(0x3e08, 0x40), // IH_RB_RPTR
        ]));
        Ok(())
    }
}
