// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The compute command processor (MEC) and its queues (the C driver's `gfx_v7_0_cp_compute_*`).
//!
//! The MEC has four pipes of eight queues. The driver uses the eight queues of pipe 0. A queue has
//! its ring, its doorbell, and a set of registers (HQD) that `SRBM_GFX_CNTL` selects. They are
//! loaded from the queue's descriptor in memory, from which the engine loads them again when it
//! returns to the queue.

use kernel::{
    io::{
        poll::read_poll_timeout_atomic,
        Io, //
    },
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    prelude::*,
    time::{
        delay::{
            fsleep,
            udelay, //
        },
        Delta, //
    },
};

use super::{
    cp,
    decode,
    high,
    low,
    mqd::Descriptor,
    place,
    pm4::{
        emit,
        AcquireMem,
        By,
        ClearGds,
        EndOfPipe,
        QueueKind,
        ReleaseMem,
        Wait, //
    },
    regs::*, //
};
use crate::hw::{
    card::Card,
    command::{
        Block,
        FenceValue,
        Ib,
        Interrupt,
        RingId,
        RingMemory,
        Sink,
        VmState,
        RING_SHIFT, //
    },
    decode::DecodedPacket,
    engine::{
        Engine,
        QueueReset, //
    },
    firmware::Microcode,
    on_chip::OnChipRange,
    BringUp, //
};

/// Doorbell of the first queue.
const FIRST_DOORBELL: u32 = 0x10;

/// Number of pipes of the compute engine.
const PIPES: u32 = 4;
/// Number of queues of a pipe.
pub(super) const QUEUES: u8 = 8;
/// Bytes of a pipe's end-of-pipe buffer, as the engine counts them. The buffer has twice as many.
const EOP_SIZE: usize = 2048;

pub(super) struct Mec;

/// Bytes that the compute engine writes to besides the rings: an end-of-pipe buffer for each pipe,
/// then a descriptor for each queue.
pub(super) const SCRATCH: usize = descriptor(QUEUES);

/// Returns the offset of the end-of-pipe buffer of a pipe.
const fn end_of_pipe(pipe: u32) -> usize {
    u32_as_usize(pipe) * EOP_SIZE * 2
}

/// Returns the offset of the descriptor of a queue.
const fn descriptor(queue: u8) -> usize {
    end_of_pipe(PIPES) + queue as usize * Descriptor::SIZE
}

impl Engine for Mec {
    fn start(&self, up: &BringUp<'_>, block: Block) -> Result {
        let card = up.card;
        self.halt(card, block);
        load_microcode(card, &up.firmware.mec);
        // This bit works around a known bug of the fetcher.
        card.regs()
            .update(CP_CPF_DEBUG, |r| (r.into_raw() | 1 << 23).into());
        for pipe in 0..PIPES {
            let buffer = up.scratch.gpu_addr() + usize_as_u64(end_of_pipe(pipe));
            set_up_pipe(card, pipe, buffer);
        }
        for queue in 0..QUEUES {
            set_up_queue(up, queue)?;
        }
        card.regs().write_reg(CP_MEC_CNTL::zeroed());
        fsleep(Delta::from_micros(50));
        Ok(())
    }

    /// A running engine is let go of its queues first: one that is halted leaves them active.
    fn halt(&self, card: &Card<'_>, _block: Block) {
        if !card.regs().read(CP_MEC_CNTL).mec_me1_halt() {
            let _ = dequeue_all(card);
        }
        card.regs().write_reg(
            CP_MEC_CNTL::zeroed()
                .with_mec_me1_halt(true)
                .with_mec_me2_halt(true),
        );
        udelay(Delta::from_micros(50));
    }

    fn kick(&self, card: &Card<'_>, ring: RingId, position: u64) {
        let RingId::Compute(queue) = ring else {
            return;
        };
        card.ring_doorbell(FIRST_DOORBELL + u32::from(queue), place(position));
    }

    fn decode(&self, dwords: &[u32]) -> DecodedPacket {
        decode::pm4(dwords)
    }

    fn queues(&self) -> Option<&dyn QueueReset> {
        Some(self)
    }

    fn nops(&self, out: &mut dyn Sink, dwords: u32) {
        cp::nops(out, dwords);
    }

    fn write(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        cp::write(out, addr, value);
    }

    fn wait(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        emit(out, Wait::memory(By::Me, addr, value));
    }

    fn flush_vm(&self, out: &mut dyn Sink, vm: &VmState) {
        cp::flush_vm(out, By::Me, vm);
    }

    fn invalidate_caches(&self, out: &mut dyn Sink) {
        emit(out, AcquireMem);
    }

    fn flush_hdp(&self, out: &mut dyn Sink, _ring: RingId) {
        // All queues of the driver belong to the first pipe.
        emit(out, cp::hdp_flush(By::Me, GPU_HDP_FLUSH_DONE::CP2_MASK));
    }

    fn ib(&self, out: &mut dyn Sink, ib: &Ib, vmid: u8) {
        cp::ib(out, ib, vmid, QueueKind::Compute);
    }

    fn reaches_gds(&self) -> bool {
        true
    }

    fn clear_gds(&self, out: &mut dyn Sink, range: OnChipRange) {
        emit(out, ClearGds(range));
    }

    fn drain(&self, out: &mut dyn Sink) {
        cp::dma_sync(out, &[By::Me]);
    }

    fn invalidate_hdp(&self, out: &mut dyn Sink) {
        emit(out, cp::hdp_invalidate(By::Me));
    }

    fn fence(&self, out: &mut dyn Sink, addr: u64, value: FenceValue, interrupt: Interrupt) {
        let end_of_pipe = EndOfPipe {
            addr,
            value,
            interrupt,
        };
        emit(out, ReleaseMem(end_of_pipe));
    }
}

impl QueueReset for Mec {
    fn take_off(&self, card: &Card<'_>, ring: RingId) -> Result {
        let queue = queue_of(ring)?;
        select(card, 0, queue.into());
        let done = dequeue(card, Dequeue::Reset);
        select_none(card);
        done
    }

    fn start(&self, up: &BringUp<'_>, ring: RingId) -> Result {
        let queue = queue_of(ring)?;
        select(up.card, 0, queue.into());
        forget_ib(up.card);
        select_none(up.card);
        set_up_queue(up, queue)
    }
}

/// Returns the number of a ring's queue.
fn queue_of(ring: RingId) -> Result<u8> {
    match ring {
        RingId::Compute(queue) if queue < QUEUES => Ok(queue),
        _ => Err(ENODEV),
    }
}

/// Selects a queue of the first compute engine for banked registers.
pub(super) fn select(card: &Card<'_>, pipe: u32, queue: u32) {
    const ENGINE: u32 = 1;
    card.regs().write_reg(SRBM_GFX_CNTL::from(
        pipe << SRBM_GFX_CNTL::PIPEID_SHIFT
            | ENGINE << SRBM_GFX_CNTL::MEID_SHIFT
            | queue << SRBM_GFX_CNTL::QUEUEID_SHIFT,
    ));
}

/// Restores the default register bank.
pub(super) fn select_none(card: &Card<'_>) {
    card.regs().write_reg(SRBM_GFX_CNTL::zeroed());
}

fn load_microcode(card: &Card<'_>, microcode: &Microcode) {
    let regs = card.regs();
    regs.write_reg(CP_MEC_ME1_UCODE_ADDR::zeroed());
    for dword in microcode.code() {
        regs.write_reg(CP_MEC_ME1_UCODE_DATA::from(dword));
    }
    regs.write_reg(CP_MEC_ME1_UCODE_ADDR::zeroed());
}

fn set_up_pipe(card: &Card<'_>, pipe: u32, end_of_pipe: u64) {
    /// log2 of the buffer's size in dwords, minus one.
    const LOG2_SIZE: u32 = (EOP_SIZE / 8).ilog2();

    let regs = card.regs();
    select(card, pipe, 0);
    let buffer = end_of_pipe >> 8;
    regs.write_reg(CP_HPD_EOP_BASE_ADDR::from(low(buffer)));
    regs.write_reg(CP_HPD_EOP_BASE_ADDR_HI::from(high(buffer)));
    regs.write_reg(CP_HPD_EOP_VMID::zeroed());
    regs.update(CP_HPD_EOP_CONTROL, |r| r.with_const_eop_size::<LOG2_SIZE>());
    select_none(card);
}

/// Describes a queue, has its registers loaded from the descriptor, and starts it.
fn set_up_queue(up: &BringUp<'_>, queue: u8) -> Result {
    let card = up.card;
    let ring = up.rings.memory(RingId::Compute(queue))?;
    let place = descriptor(queue);
    select(card, 0, queue.into());
    clear_pointers(card);
    // Write pointers arrive only by doorbell.
    card.regs()
        .update(CP_PQ_WPTR_POLL_CNTL, |r| r.with_en(false));
    let descriptor = describe(
        card,
        queue,
        &ring,
        up.scratch.gpu_addr() + usize_as_u64(place),
    );
    descriptor.store(up.scratch, place);
    descriptor.load(card);
    select_none(card);
    Ok(())
}

/// Returns the descriptor of the selected queue, which is `queue`. `addr` is where it will be.
fn describe(card: &Card<'_>, queue: u8, ring: &RingMemory, addr: u64) -> Descriptor {
    /// log2 of sizes in dwords, minus one: the ring's, and that of the block which is read before
    /// the read pointer is written back.
    const LOG2_RING: u32 = RING_SHIFT - 1;
    const LOG2_BLOCK: u32 = 9;

    let regs = card.regs();
    let mut mqd = Descriptor::new(card);
    mqd.set(CP_MQD_BASE_ADDR::from(low(addr) & !3));
    mqd.set(CP_MQD_BASE_ADDR_HI::from(high(addr)));
    mqd.set(regs.read(CP_MQD_CONTROL).with_const_vmid::<0>());
    mqd.set(
        regs.read(CP_HQD_QUANTUM)
            .with_quantum_en(true)
            .with_quantum_scale(true)
            .with_const_quantum_duration::<10>(),
    );
    let base = ring.base >> 8;
    mqd.set(CP_HQD_PQ_BASE::from(low(base)));
    mqd.set(CP_HQD_PQ_BASE_HI::from(high(base)));
    mqd.set(CP_HQD_PQ_RPTR_REPORT_ADDR::from(low(ring.read_pointer)));
    mqd.set(CP_HQD_PQ_RPTR_REPORT_ADDR_HI::from(
        high(ring.read_pointer) & 0xffff,
    ));
    mqd.set(CP_HQD_PQ_WPTR_POLL_ADDR::from(low(ring.write_pointer)));
    mqd.set(CP_HQD_PQ_WPTR_POLL_ADDR_HI::from(
        high(ring.write_pointer) & 0xffff,
    ));
    let offset =
        (FIRST_DOORBELL + u32::from(queue)) << CP_HQD_PQ_DOORBELL_CONTROL::DOORBELL_OFFSET_SHIFT;
    let doorbell = regs.read(CP_HQD_PQ_DOORBELL_CONTROL).into_raw()
        & !CP_HQD_PQ_DOORBELL_CONTROL::DOORBELL_OFFSET_MASK;
    mqd.set(
        CP_HQD_PQ_DOORBELL_CONTROL::from(doorbell | offset)
            .with_doorbell_en(true)
            .with_doorbell_source(false)
            .with_doorbell_hit(false),
    );
    mqd.set(
        regs.read(CP_HQD_PQ_CONTROL)
            .with_const_queue_size::<LOG2_RING>()
            .with_const_rptr_block_size::<LOG2_BLOCK>()
            .with_pq_volatile(false)
            .with_unord_dispatch(false)
            .with_roq_pq_ib_flip(false)
            .with_priv_state(true)
            .with_kmd_queue(true),
    );
    mqd.set(CP_HQD_ACTIVE::zeroed().with_active(true));
    mqd
}

/// Takes all queues off the engine, which must be running. Does not sleep.
///
/// # Errors
///
/// Returns `ETIMEDOUT` once a queue does not leave: the engine does not respond, and the others are
/// not tried.
fn dequeue_all(card: &Card<'_>) -> Result {
    let done = (0..QUEUES).try_for_each(|queue| {
        select(card, 0, queue.into());
        dequeue(card, Dequeue::Drain)
    });
    select_none(card);
    done
}

/// Fate of the waves of a queue that is taken off (`CP_HQD_DEQUEUE_REQUEST`; the C driver's
/// `hqd_dequeue_request_type`).
#[derive(Clone, Copy, Debug)]
enum Dequeue {
    /// They come to their end first.
    Drain,
    /// They are reset.
    Reset,
}

/// Takes the selected queue off the engine, if it is active.
fn dequeue(card: &Card<'_>, how: Dequeue) -> Result {
    /// Number of looks at the queue, and the pause between two: 20 ms in all.
    const LOOKS: usize = 2000;
    const PAUSE: Delta = Delta::from_micros(10);

    let regs = card.regs();
    if !regs.read(CP_HQD_ACTIVE).active() {
        return Ok(());
    }
    regs.update(CP_HQD_DEQUEUE_REQUEST, |r| match how {
        Dequeue::Drain => r.with_const_dequeue_req::<1>(),
        Dequeue::Reset => r.with_const_dequeue_req::<2>(),
    });
    read_poll_timeout_atomic(
        || Ok(regs.read(CP_HQD_ACTIVE)),
        |queue| !queue.active(),
        PAUSE,
        LOOKS,
    )?;
    Ok(())
}

/// Returns true if a queue of the driver's pipe is active. Of a halted engine, that is one that it
/// was not let go of, and that only a reset takes off.
pub(super) fn any_active(card: &Card<'_>) -> bool {
    let active = (0..QUEUES).any(|queue| {
        select(card, 0, queue.into());
        card.regs().read(CP_HQD_ACTIVE).active()
    });
    select_none(card);
    active
}

/// Has the selected queue forget the command buffer that it was in the middle of. The engine would
/// go on with it.
fn forget_ib(card: &Card<'_>) {
    let regs = card.regs();
    regs.write_reg(CP_HQD_IB_BASE_ADDR::zeroed());
    regs.write_reg(CP_HQD_IB_BASE_ADDR_HI::zeroed());
    regs.write_reg(CP_HQD_IB_RPTR::zeroed());
    regs.update(CP_HQD_IB_CONTROL, |r| {
        r.with_const_ib_size::<0>().with_processing_ib(false)
    });
    regs.write_reg(CP_HQD_SEMA_CMD::zeroed());
}

/// Clears the pointers of the selected queue, and a request to take it off.
fn clear_pointers(card: &Card<'_>) {
    let regs = card.regs();
    regs.write_reg(CP_HQD_DEQUEUE_REQUEST::zeroed());
    regs.write_reg(CP_HQD_PQ_RPTR::zeroed());
    regs.write_reg(CP_HQD_PQ_WPTR::zeroed());
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_mec)]
mod tests {
    use super::{
        super::inputs::{
            Inputs,
            UNWRITTEN, //
        },
        *, //
    };
    use crate::hw::{
        command::Vmid,
        fake::{
            write,
            Effect, //
        },
        ChipId, //
    };
    use kernel::io::register::Register;

    /// Registers before the start, as another driver may leave them.
    const LEFT: [(usize, u32); 14] = [
        (0x8234, 0x4000_0000), // CP_MEC_CNTL: halted
        (0xc200, 0x1),         // CP_CPF_DEBUG
        (0xc910, 0xfc0),       // CP_HPD_EOP_CONTROL
        (0xc20c, 0x8000_0007), // CP_PQ_WPTR_POLL_CNTL
        (0xc920, 0x5),         // CP_HQD_VMID
        (0xc924, 0xbe0_5501),  // CP_HQD_PERSISTENT_STATE
        (0xc928, 0x2),         // CP_HQD_PIPE_PRIORITY
        (0xc92c, 0xf),         // CP_HQD_QUEUE_PRIORITY
        (0xc950, 0x907f_ffff), // CP_HQD_PQ_DOORBELL_CONTROL
        (0xc958, 0x3400_0000), // CP_HQD_PQ_CONTROL
        (0xc968, 0x30_0000),   // CP_HQD_IB_CONTROL
        (0xc978, 0x1),         // CP_HQD_DMA_OFFLOAD
        (0xc994, 0x5),         // CP_HQD_HQ_SCHEDULER0
        (0xc99c, 0x10f),       // CP_MQD_CONTROL
    ];

    /// Returns the registers of a queue from `CP_MQD_BASE_ADDR` on, as the driver sets them.
    #[rustfmt::skip]
    fn registers(queue: u32) -> [u32; 35] {
        [
            0x2_4000 + queue * 0x800,   // CP_MQD_BASE_ADDR
            0xff,                       // CP_MQD_BASE_ADDR_HI
            1,                          // CP_HQD_ACTIVE
            0,                          // CP_HQD_VMID
            0xbe0_5501,                 // CP_HQD_PERSISTENT_STATE: kept
            0x2,                        // CP_HQD_PIPE_PRIORITY: kept
            0xf,                        // CP_HQD_QUEUE_PRIORITY: kept
            0xa11,                      // CP_HQD_QUANTUM
            0xff00_1080 + queue * 0x80, // CP_HQD_PQ_BASE
            0,                          // CP_HQD_PQ_BASE_HI
            0,                          // CP_HQD_PQ_RPTR
            0x8028 + queue * 0x20,      // CP_HQD_PQ_RPTR_REPORT_ADDR
            0xff,                       // CP_HQD_PQ_RPTR_REPORT_ADDR_HI
            0x8030 + queue * 0x20,      // CP_HQD_PQ_WPTR_POLL_ADDR
            0xff,                       // CP_HQD_PQ_WPTR_POLL_ADDR_HI
            0x4000_0043 + queue * 4,    // CP_HQD_PQ_DOORBELL_CONTROL
            0,                          // CP_HQD_PQ_WPTR
            0xc000_090c,                // CP_HQD_PQ_CONTROL
            0, 0, 0,                    // CP_HQD_IB_BASE_ADDR, its upper half, CP_HQD_IB_RPTR
            0x30_0000,                  // CP_HQD_IB_CONTROL: kept
            0, 0, 0,                    // CP_HQD_IQ_TIMER, CP_HQD_IQ_RPTR, CP_HQD_DEQUEUE_REQUEST
            0, 0, 0,                    // CP_HQD_DMA_OFFLOAD, CP_HQD_SEMA_CMD, CP_HQD_MSG_TYPE
            0, 0, 0, 0,                 // CP_HQD_ATOMIC0_PREOP_LO and HI, CP_HQD_ATOMIC1 likewise
            0, 0,                       // CP_HQD_HQ_SCHEDULER0, CP_HQD_HQ_SCHEDULER1
            0x100,                      // CP_MQD_CONTROL
        ]
    }

    #[test]
    fn start() -> Result {
        let inputs = Inputs::new(&LEFT)?;
        Engine::start(&Mec, &inputs.bring_up(), Block::Graphics)?;

        let mut expected = KVec::new();
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        expect(&[
            write(0x8234, 0x5000_0000), // CP_MEC_CNTL
            write(0xc170, 0),           // CP_MEC_ME1_UCODE_ADDR
            write(0xc174, 0x61),        // CP_MEC_ME1_UCODE_DATA
            write(0xc174, 0x62),
            write(0xc170, 0),
            write(0xc200, 0x80_0001), // CP_CPF_DEBUG
        ])?;
        for pipe in 0..4 {
            expect(&[
                write(0xe44, 0x4 | pipe),                 // SRBM_GFX_CNTL
                write(0xc904, 0xff00_0200 + pipe * 0x10), // CP_HPD_EOP_BASE_ADDR
                write(0xc908, 0),                         // CP_HPD_EOP_BASE_ADDR_HI
                write(0xc90c, 0),                         // CP_HPD_EOP_VMID
                write(0xc910, 0xfc8),                     // CP_HPD_EOP_CONTROL
                write(0xe44, 0),
            ])?;
        }
        for queue in 0..8 {
            expect(&[
                write(0xe44, 0x4 | queue << 8), // SRBM_GFX_CNTL
                write(0xc974, 0),               // CP_HQD_DEQUEUE_REQUEST
                write(0xc93c, 0),               // CP_HQD_PQ_RPTR
                write(0xc954, 0),               // CP_HQD_PQ_WPTR
                write(0xc20c, 0x7),             // CP_PQ_WPTR_POLL_CNTL
            ])?;
            // The first three come last, as they make the queue live.
            let offsets = (0xc914..).step_by(4);
            let registers = offsets
                .zip(registers(queue))
                .map(|(at, value)| write(at, value));
            for register in Iterator::chain(registers.clone().skip(3), registers.take(3)) {
                expect(&[register])?;
            }
            expect(&[write(0xe44, 0)])?;
        }
        expect(&[write(0x8234, 0)])?; // CP_MEC_CNTL
        assert!(inputs.card.saw(&expected));
        Ok(())
    }

    #[test]
    fn descriptors_agree_with_the_registers() -> Result {
        let inputs = Inputs::new(&LEFT)?;
        Engine::start(&Mec, &inputs.bring_up(), Block::Graphics)?;

        let mut expected = KVec::from_elem(0, 0x200, GFP_KERNEL)?;
        expected[0] = 0xc031_0800;
        // COMPUTE_STATIC_THREAD_MGMT_SE0 to SE3
        for dword in [23, 24, 26, 27] {
            expected[dword] = !0;
        }
        for (n, queue) in (0..8).enumerate() {
            expected[51..51 + 35].copy_from_slice(&registers(queue));
            assert!(inputs.memory.holds(0x1000 + n * 0x200, &expected));
        }
        // The buffers of the pipes come before them.
        assert!(inputs.memory.holds(0xfff, &[UNWRITTEN, 0xc031_0800]));
        Ok(())
    }

    #[test]
    fn a_running_engine_is_let_go_of_its_queues() -> Result {
        // CP_HQD_ACTIVE, which no fake engine clears: the other queues are not tried.
        let stuck = Card::fake(&[(0xc91c, 1)])?;
        Mec.halt(&stuck, Block::Graphics);
        assert!(stuck.saw(&[
            write(0xe44, 0x4), // SRBM_GFX_CNTL
            write(0xc974, 1),  // CP_HQD_DEQUEUE_REQUEST
            write(0xe44, 0),
            write(0x8234, 0x5000_0000), // CP_MEC_CNTL
        ]));
        let idle = Card::fake(&[])?;
        Mec.halt(&idle, Block::Graphics);
        let mut expected = KVec::new();
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        for queue in 0..8 {
            expect(&[write(0xe44, 0x4 | queue << 8)])?;
        }
        let last = [write(0xe44, 0), write(0x8234, 0x5000_0000)];
        expect(&last)?;
        assert!(idle.saw(&expected));
        Ok(())
    }

    /// `SRBM_GFX_CNTL` for the third queue of the first pipe.
    const SELECTED: u32 = 1 << 2 | 2 << 8;

    #[test]
    fn a_queue_is_off_when_it_is_not_active() -> Result {
        let chip = ChipId::Bonaire.chip();
        let ring = RingId::Compute(2);
        let card = Card::fake(&[(CP_HQD_ACTIVE::OFFSET, 0)])?;
        assert!(chip.take_off(&card, ring).is_ok());
        // One that the engine does not let go of is not believed to be off.
        let card = Card::fake(&[(CP_HQD_ACTIVE::OFFSET, 1)])?;
        assert_eq!(chip.take_off(&card, ring).err(), Some(ETIMEDOUT));
        assert!(card.saw(&[
            write(SRBM_GFX_CNTL::OFFSET, SELECTED),
            write(CP_HQD_DEQUEUE_REQUEST::OFFSET, 2),
            write(SRBM_GFX_CNTL::OFFSET, 0),
        ]));
        Ok(())
    }

    #[test]
    fn only_compute_queues_are_taken_off() -> Result {
        let chip = ChipId::Bonaire.chip();
        let card = Card::fake(&[])?;
        for ring in [RingId::Gfx, RingId::Sdma(0), RingId::Compute(QUEUES)] {
            assert_eq!(chip.take_off(&card, ring).err(), Some(ENODEV));
        }
        assert!(card.saw(&[]));
        Ok(())
    }

    #[test]
    fn waves_of_one_context_are_killed() -> Result {
        let card = Card::fake(&[])?;
        let vmid = Vmid::new(9).ok_or(EINVAL)?;
        ChipId::Bonaire.chip().graphics.kill_waves(&card, vmid);
        // SQ_CMD: kill, broadcast, of this context.
        assert!(card.saw(&[write(0x8dec, 3 | 1 << 4 | 1 << 7 | 9 << 28)]));
        Ok(())
    }
}
