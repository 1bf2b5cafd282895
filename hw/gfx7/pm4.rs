// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PM4: the command packets of the command processors, graphics and compute (the C driver's
//! `PACKET3_*`).
//!
//! A packet of type 3 has a header and a body. The header holds the opcode and the length of the
//! body. Both come from the packet's Rust type ([`emit`]), so they always agree.
//!
//! Two engines read the graphics ring in turn: the prefetch parser (PFP) and, behind it, the micro
//! engine (ME). Some packets name the one that acts. Compute queues have one engine only, which
//! uses the number of the ME.

use kernel::{
    io::register::Register,
    prelude::*, //
};

use super::{
    high,
    low, //
};
use crate::hw::{
    command::{
        FenceValue,
        Interrupt,
        Sink, //
    },
    on_chip::OnChipRange, //
};

/// A packet of type 3.
pub(crate) trait Packet {
    const OPCODE: u8;
    type Body: AsRef<[u32]>;

    fn body(&self) -> Self::Body;
}

/// Emits a packet.
pub(crate) fn emit<P: Packet>(out: &mut dyn Sink, packet: P) {
    let body = packet.body();
    let body = body.as_ref();
    // A body has at least one dword, and the header counts from zero.
    out.put(&[header(P::OPCODE, body.len() - 1)]);
    out.put(body);
}

/// Returns the header of a packet. `count` is the number of dwords of the body, less one.
pub(super) const fn header(opcode: u8, count: usize) -> u32 {
    // CAST: The field has 14 bits.
    let count = (count & 0x3fff) as u32;
    // CAST: Lossless; `u32::from` is not const.
    3 << 30 | count << 16 | (opcode as u32) << 8
}

/// Packet that fills one dword. Its count, all ones, stands for "no body".
pub(crate) const NOP: u32 = header(0x10, 0x3fff);

/// Returns the number of a register as packets name it: its offset in dwords.
pub(crate) const fn register<R: Register>() -> u32 {
    // CAST: Registers lie in the first 256 KiB.
    (R::OFFSET / size_of::<u32>()) as u32
}

/// Engine of the graphics ring that acts.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Me = 0,
    Pfp = 1,
}

/// Write of a register.
pub(crate) struct WriteRegister {
    pub(crate) by: By,
    /// Offset in dwords.
    pub(crate) register: u32,
    pub(crate) value: u32,
}

impl Packet for WriteRegister {
    const OPCODE: u8 = 0x37; // WRITE_DATA
    type Body = [u32; 4];

    fn body(&self) -> [u32; 4] {
        const DST_SEL_REGISTER: u32 = 0 << 8;
        let control = (self.by as u32) << 30 | DST_SEL_REGISTER;
        [control, self.register, 0, self.value]
    }
}

/// Write of one dword to memory, with a wait for its arrival.
pub(crate) struct WriteMemory {
    pub(crate) by: By,
    pub(crate) addr: u64,
    pub(crate) value: u32,
}

impl Packet for WriteMemory {
    const OPCODE: u8 = 0x37; // WRITE_DATA
    type Body = [u32; 4];

    fn body(&self) -> [u32; 4] {
        const DST_SEL_MEMORY: u32 = 5 << 8;
        const WRITE_CONFIRM: u32 = 1 << 20;
        let control = (self.by as u32) << 30 | DST_SEL_MEMORY | WRITE_CONFIRM;
        [control, low(self.addr), high(self.addr), self.value]
    }
}

/// Comparison that ends a wait.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Function {
    Always = 0,
    Equal = 3,
}

/// Location that a wait polls.
#[derive(Clone, Copy)]
enum Watched {
    /// A register, written first, and then polled until it shows the same bits.
    Handshake {
        request: u32,
        done: u32,
    },
    Register(u32),
    Memory(u64),
}

/// Wait until memory or a register has a value.
pub(crate) struct Wait {
    by: By,
    watched: Watched,
    function: Function,
    reference: u32,
    mask: u32,
    /// Pause between two polls, in units of 16 clocks.
    interval: u32,
}

impl Wait {
    /// Writes `bits` to the register `request` and waits until the register `done` shows them.
    pub(crate) fn handshake(by: By, request: u32, done: u32, bits: u32) -> Self {
        Self {
            by,
            watched: Watched::Handshake { request, done },
            function: Function::Equal,
            reference: bits,
            mask: bits,
            interval: 0x20,
        }
    }

    /// Waits until a dword of memory has a value.
    pub(crate) fn memory(by: By, addr: u64, value: u32) -> Self {
        Self {
            by,
            watched: Watched::Memory(addr),
            function: Function::Equal,
            reference: value,
            mask: !0,
            interval: 4,
        }
    }

    /// Reads a register once and ignores its value. Earlier writes to the register have arrived
    /// then.
    pub(crate) fn register_read(by: By, register: u32) -> Self {
        Self {
            by,
            watched: Watched::Register(register),
            function: Function::Always,
            reference: 0,
            mask: 0,
            interval: 0x20,
        }
    }
}

impl Packet for Wait {
    const OPCODE: u8 = 0x3c; // WAIT_REG_MEM
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        const MEMORY_SPACE: u32 = 1 << 4;
        const WRITE_WAIT_WRITE: u32 = 1 << 6;
        let (space, first, second) = match self.watched {
            Watched::Handshake { request, done } => (WRITE_WAIT_WRITE, request, done),
            Watched::Register(register) => (0, register, 0),
            Watched::Memory(addr) => (MEMORY_SPACE, low(addr), high(addr)),
        };
        let control = (self.by as u32) << 8 | space | self.function as u32;
        [
            control,
            first,
            second,
            self.reference,
            self.mask,
            self.interval,
        ]
    }
}

/// Execution of a command buffer (IB).
pub(crate) struct IndirectBuffer {
    pub(crate) addr: u64,
    pub(crate) dwords: u32,
    pub(crate) vmid: u8,
    pub(crate) queue: QueueKind,
}

/// Kind of queue that a packet is written for, where that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueKind {
    Gfx,
    Compute,
}

impl Packet for IndirectBuffer {
    const OPCODE: u8 = 0x3f; // INDIRECT_BUFFER
    type Body = [u32; 3];

    fn body(&self) -> [u32; 3] {
        // Compute queues accept no IB without this bit.
        const VALID: u32 = 1 << 23;
        let valid = match self.queue {
            QueueKind::Gfx => 0,
            QueueKind::Compute => VALID,
        };
        let control = u32::from(self.vmid) << 24 | valid | (self.dwords & 0xf_ffff);
        [low(self.addr) & !3, high(self.addr) & 0xffff, control]
    }
}

/// Events of the graphics pipeline.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Event {
    CsPartialFlush = 0x07,
    VsPartialFlush = 0x0f,
    CacheFlushAndInvTs = 0x14,
    VgtFlush = 0x24,
}

/// Event sent down the graphics pipeline.
pub(crate) struct EventWrite {
    event: Event,
    index: u32,
}

impl EventWrite {
    /// Wait until the vertex shaders are done.
    pub(crate) const VS_PARTIAL_FLUSH: Self = Self {
        event: Event::VsPartialFlush,
        index: 4,
    };
    /// Wait until the compute shaders are done.
    pub(crate) const CS_PARTIAL_FLUSH: Self = Self {
        event: Event::CsPartialFlush,
        index: 4,
    };
    pub(crate) const VGT_FLUSH: Self = Self {
        event: Event::VgtFlush,
        index: 0,
    };
}

impl Packet for EventWrite {
    const OPCODE: u8 = 0x46; // EVENT_WRITE
    type Body = [u32; 1];

    fn body(&self) -> [u32; 1] {
        [self.event as u32 | self.index << 8]
    }
}

/// Write to memory once all commands before it are done and the caches are written back.
pub(crate) struct EndOfPipe {
    pub(crate) addr: u64,
    pub(crate) value: FenceValue,
    pub(crate) interrupt: Interrupt,
}

impl EndOfPipe {
    /// Returns the selection of the data to write, and of an interrupt after the write.
    fn select(&self) -> u32 {
        let data = match self.value {
            FenceValue::Dword(_) => 1 << 29,
            FenceValue::Qword(_) => 2 << 29,
        };
        let interrupt = match self.interrupt {
            Interrupt::No => 0,
            Interrupt::Yes => 2 << 24,
        };
        data | interrupt
    }

    fn dwords(&self) -> [u32; 2] {
        match self.value {
            FenceValue::Dword(value) => [value, 0],
            FenceValue::Qword(value) => [low(value), high(value)],
        }
    }

    const EVENT: u32 = Event::CacheFlushAndInvTs as u32
        | 5 << 8 // EVENT_INDEX: end of pipe
        | 1 << 16 // EOP_TCL1_ACTION_EN
        | 1 << 17; // EOP_TC_ACTION_EN
}

/// [`EndOfPipe`] in the form of the graphics ring.
pub(crate) struct EventWriteEop(pub(crate) EndOfPipe);

impl Packet for EventWriteEop {
    const OPCODE: u8 = 0x47; // EVENT_WRITE_EOP
    type Body = [u32; 5];

    fn body(&self) -> [u32; 5] {
        let [first, second] = self.0.dwords();
        [
            EndOfPipe::EVENT,
            low(self.0.addr) & !3,
            (high(self.0.addr) & 0xffff) | self.0.select(),
            first,
            second,
        ]
    }
}

/// [`EndOfPipe`] in the form of a compute queue.
pub(crate) struct ReleaseMem(pub(crate) EndOfPipe);

impl Packet for ReleaseMem {
    const OPCODE: u8 = 0x49; // RELEASE_MEM
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        let [first, second] = self.0.dwords();
        [
            EndOfPipe::EVENT,
            self.0.select(),
            low(self.0.addr) & !3,
            high(self.0.addr),
            first,
            second,
        ]
    }
}

/// Wait until all copies that this engine has handed to the command processor's DMA are done: an
/// empty copy that the engine waits for.
///
/// The end of the pipe does not wait for such copies, and an IB does not have to.
pub(crate) struct DmaSync(pub(crate) By);

impl Packet for DmaSync {
    const OPCODE: u8 = 0x50; // DMA_DATA
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        const CP_SYNC: u32 = 1 << 31;
        let engine = self.0 as u32;
        [CP_SYNC | engine, 0, 0, 0, 0, 0]
    }
}

/// Fill of a part of the global data share of context 0 with zeros, which the engine waits for.
pub(crate) struct ClearGds(pub(crate) OnChipRange);

impl Packet for ClearGds {
    const OPCODE: u8 = 0x50; // DMA_DATA
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        const CP_SYNC: u32 = 1 << 31;
        const SRC_SEL_DATA: u32 = 2 << 29;
        const DST_SEL_GDS: u32 = 1 << 20;
        let OnChipRange { first, count } = self.0;
        [CP_SYNC | SRC_SEL_DATA | DST_SEL_GDS, 0, 0, first, 0, count]
    }
}

/// Caches that must not hold old data for the commands that follow.
const COHER_CNTL: u32 = 1 << 22 // TCL1_ACTION_ENA
    | 1 << 23 // TC_ACTION_ENA
    | 1 << 27 // SH_KCACHE_ACTION_ENA
    | 1 << 29; // SH_ICACHE_ACTION_ENA

/// Invalidation of the shader caches for all memory, for the graphics ring.
pub(crate) struct SurfaceSync;

impl Packet for SurfaceSync {
    const OPCODE: u8 = 0x43; // SURFACE_SYNC
    type Body = [u32; 4];

    fn body(&self) -> [u32; 4] {
        [COHER_CNTL, !0, 0, 10]
    }
}

/// Invalidation of the shader caches for all memory, for compute queues.
pub(crate) struct AcquireMem;

impl Packet for AcquireMem {
    const OPCODE: u8 = 0x58; // ACQUIRE_MEM
    type Body = [u32; 6];

    fn body(&self) -> [u32; 6] {
        [COHER_CNTL, !0, 0xff, 0, 0, 10]
    }
}

/// Wait of the prefetch parser for the micro engine.
pub(crate) struct PfpSyncMe;

impl Packet for PfpSyncMe {
    const OPCODE: u8 = 0x42; // PFP_SYNC_ME
    type Body = [u32; 1];

    fn body(&self) -> [u32; 1] {
        [0]
    }
}

/// Switch of the constant engine to the next buffer.
pub(crate) struct SwitchBuffer;

impl Packet for SwitchBuffer {
    const OPCODE: u8 = 0x8b; // SWITCH_BUFFER
    type Body = [u32; 1];

    fn body(&self) -> [u32; 1] {
        [0]
    }
}

/// Selection of the state to load and the state to shadow.
pub(crate) struct ContextControl {
    load: u32,
    shadow: u32,
}

impl ContextControl {
    const ENABLE: u32 = 1 << 31;

    /// Selection for the state of another process's job, which follows.
    pub(crate) const SWITCH: Self = Self {
        load: Self::ENABLE
            | 1 << 0 // load_global_config
            | 1 << 15 // load_global_uconfig
            | 1 << 24 // load_cs_sh_regs
            | 1 << 1 // load_per_context_state
            | 1 << 16, // load_gfx_sh_regs
        shadow: 0,
    };

    /// Selection of no state to load or shadow, for the start of the ring.
    pub(crate) const NOTHING: Self = Self {
        load: Self::ENABLE,
        shadow: Self::ENABLE,
    };
}

impl Packet for ContextControl {
    const OPCODE: u8 = 0x28; // CONTEXT_CONTROL
    type Body = [u32; 2];

    fn body(&self) -> [u32; 2] {
        [self.load, self.shadow]
    }
}

/// Values of consecutive context registers.
pub(crate) struct SetContextReg<'a> {
    /// Number of the first register.
    pub(crate) register: u32,
    pub(crate) values: &'a [u32],
}

impl SetContextReg<'_> {
    /// Number of the first context register.
    const START: u32 = 0xa000;

    /// Emits the packet. Its length depends on its values.
    pub(crate) fn emit(&self, out: &mut dyn Sink) {
        out.put(&[header(0x69, self.values.len()), self.register - Self::START]);
        out.put(self.values);
    }
}

/// Marks of the start and end of the preamble that sets the clear state.
#[derive(Clone, Copy)]
pub(crate) enum PreambleCntl {
    BeginClearState = 2,
    EndClearState = 3,
}

impl Packet for PreambleCntl {
    const OPCODE: u8 = 0x4a; // PREAMBLE_CNTL
    type Body = [u32; 1];

    fn body(&self) -> [u32; 1] {
        [(*self as u32) << 28]
    }
}

/// Activation of the clear state.
pub(crate) struct ClearState;

impl Packet for ClearState {
    const OPCODE: u8 = 0x12; // CLEAR_STATE
    type Body = [u32; 1];

    fn body(&self) -> [u32; 1] {
        [0]
    }
}

/// Division of the constant engine's memory.
pub(crate) struct SetCePartition {
    pub(crate) first: u32,
    pub(crate) second: u32,
}

impl Packet for SetCePartition {
    const OPCODE: u8 = 0x11; // SET_BASE
    type Body = [u32; 3];

    fn body(&self) -> [u32; 3] {
        const CE_PARTITION_BASE: u32 = 3;
        [CE_PARTITION_BASE, self.first, self.second]
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_pm4)]
mod tests {
    use super::{
        super::recorder::Recorder,
        *, //
    };

    /// Returns true if a packet is encoded as expected. The vectors are written from the packet
    /// descriptions of AMD's "Sea Islands" register and PM4 documents.
    fn check<P: Packet>(packet: P, expected: &[u32]) -> bool {
        Recorder::of(|out| emit(out, packet)).dwords() == expected
    }

    #[test]
    fn writes() {
        assert_eq!(NOP, 0xffff_1000);
        let register = WriteRegister {
            by: By::Pfp,
            register: 0x54f + 3,
            value: 0xf4_0012,
        };
        let vector = [0xc003_3700, 0x4000_0000, 0x552, 0, 0xf4_0012];
        assert!(check(register, &vector));
        let memory = WriteMemory {
            by: By::Me,
            addr: 0xff_1234_5678,
            value: 0xdead_beef,
        };
        let vector = [0xc003_3700, 0x0010_0500, 0x1234_5678, 0xff, 0xdead_beef];
        assert!(check(memory, &vector));
    }

    #[test]
    fn waits() {
        let hdp = Wait::handshake(By::Pfp, 0x1537, 0x1538, 1);
        let vector = [0xc005_3c00, 0x143, 0x1537, 0x1538, 1, 1, 0x20];
        assert!(check(hdp, &vector));
        let fence = Wait::memory(By::Me, 0xff_0000_0040, 7);
        let vector = [0xc005_3c00, 0x13, 0x40, 0xff, 7, !0, 4];
        assert!(check(fence, &vector));
        let read = Wait::register_read(By::Me, 0x51e);
        let vector = [0xc005_3c00, 0, 0x51e, 0, 0, 0, 0x20];
        assert!(check(read, &vector));
    }

    #[test]
    fn indirect_buffers() {
        let ib = |queue| IndirectBuffer {
            addr: 0x8_0000_1000,
            dwords: 0x40,
            vmid: 5,
            queue,
        };
        let gfx = [0xc002_3f00, 0x1000, 8, 0x0500_0040];
        assert!(check(ib(QueueKind::Gfx), &gfx));
        let compute = [0xc002_3f00, 0x1000, 8, 0x0580_0040];
        assert!(check(ib(QueueKind::Compute), &compute));
    }

    #[test]
    fn ends_of_pipe() {
        let eop = |value, interrupt| EndOfPipe {
            addr: 0xff_0000_0080,
            value,
            interrupt,
        };
        let gfx = EventWriteEop(eop(FenceValue::Dword(9), Interrupt::Yes));
        let vector = [0xc004_4700, 0x0003_0514, 0x80, 0x2200_00ff, 9, 0];
        assert!(check(gfx, &vector));
        let compute = ReleaseMem(eop(FenceValue::Qword(0x1_0000_0002), Interrupt::No));
        let vector = [0xc005_4900, 0x0003_0514, 0x4000_0000, 0x80, 0xff, 2, 1];
        assert!(check(compute, &vector));
    }

    #[test]
    fn dma() {
        let vector = [0xc005_5000, 0x8000_0000, 0, 0, 0, 0, 0];
        assert!(check(DmaSync(By::Me), &vector));
        let vector = [0xc005_5000, 0x8000_0001, 0, 0, 0, 0, 0];
        assert!(check(DmaSync(By::Pfp), &vector));
    }

    #[test]
    fn caches() {
        let vector = [0xc003_4300, 0x28c0_0000, !0, 0, 10];
        assert!(check(SurfaceSync, &vector));
        let vector = [0xc005_5800, 0x28c0_0000, !0, 0xff, 0, 0, 10];
        assert!(check(AcquireMem, &vector));
    }

    #[test]
    fn start_of_the_ring() {
        let partition = SetCePartition {
            first: 0x8000,
            second: 0x8000,
        };
        assert!(check(partition, &[0xc002_1100, 3, 0x8000, 0x8000]));
        assert!(check(
            PreambleCntl::BeginClearState,
            &[0xc000_4a00, 0x2000_0000]
        ));
        assert!(check(
            PreambleCntl::EndClearState,
            &[0xc000_4a00, 0x3000_0000]
        ));
        assert!(check(ClearState, &[0xc000_1200, 0]));
        assert!(check(
            ContextControl::NOTHING,
            &[0xc001_2800, 0x8000_0000, 0x8000_0000]
        ));
        assert!(check(
            ContextControl::SWITCH,
            &[0xc001_2800, 0x8101_8003, 0]
        ));
    }
}
