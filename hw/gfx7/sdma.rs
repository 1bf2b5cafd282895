// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The two DMA engines and their rings (the C driver's `cik_sdma.c`).

use kernel::{
    io::{
        register::{
            RegisterBase,
            WithBase, //
        },
        Io, //
    },
    num::casts::usize_as_u64,
    prelude::*, //
};

use super::{
    cp::vm_flush_writes,
    decode,
    high,
    low,
    place,
    pm4::register,
    regs::*,
    sdma_packet::{
        self,
        emit,
        emit_entries,
        ConstantFill,
        Fence,
        GenerateEntries,
        IndirectBuffer,
        LinearCopy,
        Poll,
        SrbmWrite,
        Trap,
        Write, //
    },
    shaders, //
};
use crate::hw::{
    card::Card,
    command::{
        Block,
        EntryRun,
        FenceValue,
        Fill,
        Ib,
        Interrupt,
        RingId,
        RingMemory,
        Sink,
        Transfer,
        VmState,
        RING_SHIFT, //
    },
    decode::DecodedPacket,
    engine::{
        Dma,
        Engine, //
    },
    firmware::Microcode,
    BringUp, //
};

pub(super) struct Sdma;

impl Engine for Sdma {
    fn start(&self, up: &BringUp<'_>, block: Block) -> Result {
        let [first, second] = &up.firmware.sdma;
        match block {
            Block::Sdma(0) => start_engine::<Sdma0>(up, RingId::Sdma(0), first),
            _ => start_engine::<Sdma1>(up, RingId::Sdma(1), second),
        }
    }

    fn halt(&self, card: &Card<'_>, block: Block) {
        match block {
            Block::Sdma(0) => halt_engine::<Sdma0>(card),
            _ => halt_engine::<Sdma1>(card),
        }
    }

    fn kick(&self, card: &Card<'_>, ring: RingId, position: u64) {
        let bytes = place(position) << 2;
        match ring {
            RingId::Sdma(0) => set_write_pointer::<Sdma0>(card, bytes),
            _ => set_write_pointer::<Sdma1>(card, bytes),
        }
    }

    fn decode(&self, dwords: &[u32]) -> DecodedPacket {
        decode::sdma(dwords)
    }

    fn read_place(&self, reported: u32) -> u32 {
        reported >> 2
    }

    fn dma(&self) -> Option<&dyn Dma> {
        Some(self)
    }

    fn nops(&self, out: &mut dyn Sink, dwords: u32) {
        for _ in 0..dwords {
            out.put(&[sdma_packet::NOP]);
        }
    }

    fn write(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        emit(out, Write { addr, value });
    }

    fn mark(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        self.write(out, addr, value);
        // The engine does not wait for its writes.
        self.wait(out, addr, value);
    }

    fn wait(&self, out: &mut dyn Sink, addr: u64, value: u32) {
        emit(out, Poll::Memory { addr, value });
    }

    fn flush_vm(&self, out: &mut dyn Sink, vm: &VmState) {
        for (register, value) in vm_flush_writes(vm) {
            emit(out, SrbmWrite { register, value });
        }
        let request = register::<VM_INVALIDATE_REQUEST>();
        emit(out, Poll::RegisterRead(request));
    }

    fn flush_hdp(&self, out: &mut dyn Sink, ring: RingId) {
        let client = match ring {
            RingId::Sdma(0) => GPU_HDP_FLUSH_DONE::SDMA0_MASK,
            _ => GPU_HDP_FLUSH_DONE::SDMA1_MASK,
        };
        let handshake = Poll::Handshake {
            request: register::<GPU_HDP_FLUSH_REQ>(),
            done: register::<GPU_HDP_FLUSH_DONE>(),
            bits: client,
        };
        emit(out, handshake);
    }

    fn ib(&self, out: &mut dyn Sink, ib: &Ib, vmid: u8) {
        // The packet must end on a multiple of 8 dwords.
        let end = out.position() + u64::from(IndirectBuffer::DWORDS);
        self.nops(out, low(end.wrapping_neg() % 8));
        let packet = IndirectBuffer {
            addr: ib.va,
            dwords: ib.dwords,
            vmid,
        };
        emit(out, packet);
    }

    fn invalidate_hdp(&self, out: &mut dyn Sink) {
        let register = register::<HDP_DEBUG0>();
        emit(out, SrbmWrite { register, value: 1 });
    }

    fn fence(&self, out: &mut dyn Sink, addr: u64, value: FenceValue, interrupt: Interrupt) {
        match value {
            FenceValue::Dword(value) => emit(out, Fence { addr, value }),
            FenceValue::Qword(value) => {
                // A fence writes one dword. The upper half goes first: the lower half is what
                // changes.
                for (addr, value) in [(addr + 4, high(value)), (addr, low(value))] {
                    emit(out, Fence { addr, value });
                }
            }
        }
        if let Interrupt::Yes = interrupt {
            emit(out, Trap);
        }
    }
}

impl Dma for Sdma {
    fn entries(&self, out: &mut dyn Sink, runs: &[EntryRun]) {
        for run in runs {
            emit(out, GenerateEntries(*run));
        }
    }

    fn fill(&self, out: &mut dyn Sink, fill: Fill) {
        ConstantFill::split(fill).for_each(|packet| emit(out, packet));
    }

    fn transfer(&self, out: &mut dyn Sink, transfer: &Transfer<'_>, settled: u64) {
        let Transfer {
            from, to, bytes, ..
        } = *transfer;
        if let Some(window) = transfer.window {
            emit_entries(out, window.table, window.entries);
            settle(out, settled);
            flush_window(out);
        }
        LinearCopy::split(from, to, bytes).for_each(|packet| emit(out, packet));
        if let Some(window) = transfer.window {
            // An entry that went earlier would take its page from under the copy.
            settle(out, settled);
            let unmapped = Fill {
                addr: window.table,
                bytes: usize_as_u64(size_of_val(window.entries)),
                value: 0,
            };
            self.fill(out, unmapped);
            settle(out, settled);
            flush_window(out);
        }
    }
}

/// Emits a wait until the engine's writes have arrived, which it does not wait for by itself, as
/// only a fence does. Whatever the dword at `settled` holds, one of the two waits is for its fence.
fn settle(out: &mut dyn Sink, settled: u64) {
    for value in [0, 1] {
        let addr = settled;
        emit(out, Fence { addr, value });
        emit(out, Poll::Memory { addr, value });
    }
}

/// Emits the drop of what is cached of the kernel's context, whose table was written.
fn flush_window(out: &mut dyn Sink) {
    const KERNEL: u32 = 1 << 0;

    let register = register::<VM_INVALIDATE_REQUEST>();
    let value = KERNEL;
    emit(out, SrbmWrite { register, value });
    emit(out, Poll::RegisterRead(register));
}

fn halt_engine<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>) {
    let regs = card.regs();
    regs.update(SDMA0_GFX_RB_CNTL::of::<Engine>(), |r| {
        r.with_rb_enable(false)
    });
    regs.write(
        SDMA0_GFX_IB_CNTL::of::<Engine>(),
        SDMA0_GFX_IB_CNTL::zeroed(),
    );
    regs.update(SDMA0_F32_CNTL::of::<Engine>(), |r| r.with_halt(true));
}

fn start_engine<Engine: RegisterBase<SdmaBase>>(
    up: &BringUp<'_>,
    ring: RingId,
    microcode: &Microcode,
) -> Result {
    let card = up.card;
    halt_engine::<Engine>(card);
    load_microcode::<Engine>(card, microcode);
    share_time::<Engine>(card);
    clear_contexts::<Engine>(card);
    let address_config = up.graphics.address_config;
    set_up_ring::<Engine>(card, &up.rings.memory(ring)?, address_config);
    card.regs()
        .update(SDMA0_F32_CNTL::of::<Engine>(), |r| r.with_halt(false));
    Ok(())
}

fn load_microcode<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>, microcode: &Microcode) {
    let address = |value| {
        card.regs().write(
            SDMA0_UCODE_ADDR::of::<Engine>(),
            SDMA0_UCODE_ADDR::from(value),
        );
    };
    address(0);
    for dword in microcode.code() {
        card.regs().write(
            SDMA0_UCODE_DATA::of::<Engine>(),
            SDMA0_UCODE_DATA::from(dword),
        );
    }
    address(microcode.version());
}

/// Lets the engine switch between contexts, each of which gets a turn of `CLOCKS` clocks.
fn share_time<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>) {
    const CLOCKS: u32 = 32;
    let regs = card.regs();
    regs.update(SDMA0_CNTL::of::<Engine>(), |r| {
        r.with_auto_ctxsw_enable(true)
    });
    regs.write(
        SDMA0_PHASE0_QUANTUM::of::<Engine>(),
        SDMA0_PHASE0_QUANTUM::zeroed().with_const_value::<CLOCKS>(),
    );
    regs.write(
        SDMA0_PHASE1_QUANTUM::of::<Engine>(),
        SDMA0_PHASE1_QUANTUM::zeroed().with_const_value::<CLOCKS>(),
    );
}

/// Leaves no context with apertures of its own.
fn clear_contexts<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>) {
    for context in 0..16 {
        shaders::select_context(card, context);
        card.regs().write(
            SDMA0_GFX_VIRTUAL_ADDR::of::<Engine>(),
            SDMA0_GFX_VIRTUAL_ADDR::zeroed(),
        );
        card.regs().write(
            SDMA0_GFX_APE1_CNTL::of::<Engine>(),
            SDMA0_GFX_APE1_CNTL::zeroed(),
        );
    }
    shaders::select_context(card, 0);
}

fn set_up_ring<Engine: RegisterBase<SdmaBase>>(
    card: &Card<'_>,
    ring: &RingMemory,
    address_config: u32,
) {
    /// Field of the pipe interleave size, the only part of the configuration that the engine uses.
    const PIPE_INTERLEAVE: u32 = 0x70;

    macro_rules! set {
        ($register:ident, $value:expr) => {
            card.regs()
                .write($register::of::<Engine>(), $register::from($value))
        };
    }

    set!(SDMA0_TILING_CONFIG, address_config & PIPE_INTERLEAVE);
    set!(SDMA0_SEM_INCOMPLETE_TIMER_CNTL, 0);
    set!(SDMA0_SEM_WAIT_FAIL_TIMER_CNTL, 0);
    let control = SDMA0_GFX_RB_CNTL::zeroed().with_const_rb_size::<RING_SHIFT>();
    card.regs()
        .write(SDMA0_GFX_RB_CNTL::of::<Engine>(), control);
    set!(SDMA0_GFX_RB_RPTR, 0);
    set!(SDMA0_GFX_RB_WPTR, 0);
    set!(SDMA0_GFX_IB_RPTR, 0);
    set!(SDMA0_GFX_IB_OFFSET, 0);
    set!(SDMA0_GFX_RB_RPTR_ADDR_HI, high(ring.read_pointer));
    set!(SDMA0_GFX_RB_RPTR_ADDR_LO, low(ring.read_pointer) & !3);
    let base = ring.base >> 8;
    set!(SDMA0_GFX_RB_BASE, low(base));
    set!(SDMA0_GFX_RB_BASE_HI, high(base));
    card.regs().write(
        SDMA0_GFX_RB_CNTL::of::<Engine>(),
        control
            .with_rptr_writeback_enable(true)
            .with_rb_enable(true),
    );
    card.regs().write(
        SDMA0_GFX_IB_CNTL::of::<Engine>(),
        SDMA0_GFX_IB_CNTL::zeroed().with_ib_enable(true),
    );
}

/// Enables the trap interrupts of both engines.
pub(super) fn enable_traps(card: &Card<'_>) {
    let regs = card.regs();
    regs.update(SDMA0_CNTL::of::<Sdma0>(), |r| r.with_trap_enable(true));
    regs.update(SDMA0_CNTL::of::<Sdma1>(), |r| r.with_trap_enable(true));
}

fn set_write_pointer<Engine: RegisterBase<SdmaBase>>(card: &Card<'_>, bytes: u32) {
    card.regs()
        .write(SDMA0_GFX_RB_WPTR::of::<Engine>(), bytes.into());
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_sdma)]
mod tests {
    use super::{
        super::inputs::Inputs,
        *, //
    };
    use crate::hw::fake::{
        write,
        Effect, //
    };

    /// An engine, with its registers, its version, and the low halves of its ring and read pointer.
    const ENGINES: [(Block, usize, u32, [u32; 2]); 2] = [
        (Block::Sdma(0), 0xd000, 0x70, [0xff00_1480, 0x8128]),
        (Block::Sdma(1), 0xd800, 0x80, [0xff00_1500, 0x8148]),
    ];

    #[test]
    fn start() -> Result {
        for (block, base, version, [ring, read_pointer]) in ENGINES {
            // SDMA0_GFX_RB_CNTL, SDMA0_F32_CNTL and SDMA0_CNTL, of this engine
            let mut inputs = Inputs::new(&[
                (base + 0x200, 0x1019),
                (base + 0x48, 0x8),
                (base + 0x10, 0x1),
            ])?;
            inputs.graphics.address_config = 0x1201_0013;
            Sdma.start(&inputs.bring_up(), block)?;

            let write_own = |offset, value| write(base + offset, value);
            let mut expected = KVec::new();
            let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
            expect(&[
                write_own(0x200, 0x1018),    // SDMA0_GFX_RB_CNTL
                write_own(0x228, 0),         // SDMA0_GFX_IB_CNTL
                write_own(0x48, 0x9),        // SDMA0_F32_CNTL: halted
                write_own(0x0, 0),           // SDMA0_UCODE_ADDR
                write_own(0x4, version + 1), // SDMA0_UCODE_DATA
                write_own(0x4, version + 2),
                write_own(0x0, version),   // SDMA0_UCODE_ADDR
                write_own(0x10, 0x4_0001), // SDMA0_CNTL
                write_own(0x50, 0x2000),   // SDMA0_PHASE0_QUANTUM
                write_own(0x54, 0x2000),   // SDMA0_PHASE1_QUANTUM
            ])?;
            for context in 0..16 {
                expect(&[
                    write(0xe44, context << 4), // SRBM_GFX_CNTL
                    write_own(0x29c, 0),        // SDMA0_GFX_VIRTUAL_ADDR
                    write_own(0x2a0, 0),        // SDMA0_GFX_APE1_CNTL
                ])?;
            }
            expect(&[
                write(0xe44, 0),                // SRBM_GFX_CNTL
                write_own(0x18, 0x10),          // SDMA0_TILING_CONFIG
                write_own(0x20, 0),             // SDMA0_SEM_INCOMPLETE_TIMER_CNTL
                write_own(0x24, 0),             // SDMA0_SEM_WAIT_FAIL_TIMER_CNTL
                write_own(0x200, 0x1a),         // SDMA0_GFX_RB_CNTL
                write_own(0x20c, 0),            // SDMA0_GFX_RB_RPTR
                write_own(0x210, 0),            // SDMA0_GFX_RB_WPTR
                write_own(0x22c, 0),            // SDMA0_GFX_IB_RPTR
                write_own(0x230, 0),            // SDMA0_GFX_IB_OFFSET
                write_own(0x220, 0xff),         // SDMA0_GFX_RB_RPTR_ADDR_HI
                write_own(0x224, read_pointer), // SDMA0_GFX_RB_RPTR_ADDR_LO
                write_own(0x204, ring),         // SDMA0_GFX_RB_BASE
                write_own(0x208, 0),            // SDMA0_GFX_RB_BASE_HI
                write_own(0x200, 0x101b),       // SDMA0_GFX_RB_CNTL
                write_own(0x228, 1),            // SDMA0_GFX_IB_CNTL
                write_own(0x48, 0x8),           // SDMA0_F32_CNTL: running
            ])?;
            assert!(inputs.card.saw(&expected));
        }
        Ok(())
    }

    #[test]
    fn traps() -> Result {
        let card = Card::fake(&[(0xd010, 0x4_0000)])?;
        enable_traps(&card);
        // SDMA0_CNTL, SDMA1_CNTL
        assert!(card.saw(&[write(0xd010, 0x4_0001), write(0xd810, 1)]));
        Ok(())
    }
}
