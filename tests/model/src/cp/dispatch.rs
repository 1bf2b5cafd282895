// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Compute dispatches: DISPATCH_DIRECT and DISPATCH_INDIRECT on the gfx ring and the compute
//! queues.
//!
//! The shader core is a crate of its own (`shader/`). Here it gets the registers of its queue, the
//! settings of its address space, and memory by way of the queue's VMID: the model's page walks,
//! TLB and faults. A dispatch is executed in slices, one a step of its engine, so that other
//! engines, resets and holds come between.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        Weak, //
    }, //
};

use amdgpu_shader::{
    cache::{
        Caches,
        action, //
    },
    context::Config,
    dispatch::{
        Dispatch,
        Progress, //
    },
    draw::Draw,
    launch::{
        Launch,
        POWER_ON,
        WINDOW,
        WINDOW_SIZE, //
    },
    memory::{
        self,
        Path, //
    },
    rng::Rng,
    stop::Stop as ShaderStop,
    tiling::Modes,
    units::ENGINES, //
};

use super::{
    op,
    packets::address, //
};
use crate::{
    config::Cache,
    engine::{
        EngineId,
        Front,
        Stop,
        Stream, //
    },
    gpu::{
        Flow,
        Gpu, //
    },
    mc::{
        Access,
        PAGE,
        Place, //
    },
    memory::Memory,
    regs::index::*, //
};

/// Wave instructions of a slice.
const SLICE: u64 = 4096;
/// First of the tables of tile modes and of macro tile modes.
const GB_TILE_MODE0: u32 = 0x2644;
const GB_MACROTILE_MODE0: u32 = 0x2664;
/// SH_MEM_CONFIG.ALIGNMENT_MODE, and its value for addresses of any byte.
const ALIGNMENT_MODE: u32 = 3 << 2;
const UNALIGNED: u32 = 3 << 2;
/// Positions of shader memory: bytes of VRAM below this, then files of the host's memory by number.
const HOST: u64 = 1 << 44;
/// A position that is nowhere: reads give ones, writes vanish.
const VOID: u64 = memory::Place::NOWHERE;
/// Likewise, but reads give zeros.
const HOLE: u64 = VOID | 1 << 62;

/// Flushes of an end-of-pipe event (`cikd.h`, EOP_TC_WB_ACTION_EN, EOP_TC_ACTION_EN,
/// EOP_TCL1_ACTION_EN).
const EOP_SECOND_LEVEL: u32 = 1 << 15 | 1 << 17;
const EOP_VECTOR: u32 = 1 << 16;
/// SQ_CMD: that waves end; that it is for all of them, and for those of a VMID only.
const KILL: u32 = 3;
const BROADCAST: u32 = 1;
const CHECK_VMID: u32 = 1 << 7;
/// In whose name caches write back: their addresses are past translation.
const CACHES: Access = Access { vmid: 0, client: "TC0", client_id: 0x40, copied: false };

/// Work that an engine has begun.
pub(super) enum Job {
    Dispatch(Box<Dispatch>),
    Draw(Box<Draw>),
}

impl Job {
    fn run<M: memory::Memory + ?Sized>(&mut self, memory: &mut M) -> Result<Progress, ShaderStop> {
        match self {
            Job::Dispatch(dispatch) => dispatch.run(memory, SLICE),
            Job::Draw(draw) => draw.run(memory, SLICE),
        }
    }

    fn kill(&mut self) {
        match self {
            Job::Dispatch(dispatch) => dispatch.kill(),
            Job::Draw(draw) => draw.kill(),
        }
    }

    /// Wave instructions so far, and all counts in words.
    fn count(&self) -> (u64, String) {
        match self {
            Job::Dispatch(dispatch) => {
                (dispatch.count.instructions, format!("dispatch {:?}", dispatch.count))
            }
            Job::Draw(draw) => (draw.count.instructions, format!("draw {:?}", draw.count)),
        }
    }
}

/// A dispatch or a draw that an engine has begun, and in whose name it reaches memory.
pub struct Running(pub(super) Job, pub(super) Access);

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.count().1)
    }
}

/// Needs of the dispatches of all engines besides their registers.
#[derive(Default)]
pub(crate) struct Shaders {
    /// COMPUTE_* of each engine, as hardware keeps them in a queue's descriptor.
    registers: BTreeMap<EngineId, [u32; WINDOW_SIZE as usize]>,
    /// Base that SET_BASE gave the gfx ring's indirect dispatches.
    indirect_base: u64,
    /// Files of the host's memory, in the order of first use.
    files: Vec<Weak<Memory>>,
    /// The shader's caches, in the strict mode.
    caches: Option<Box<Caches>>,
    /// Choice of the lines that fall out.
    aging: Option<Rng>,
    /// Dispatches and draws so far.
    count: u64,
    /// Wave instructions so far.
    instructions: u64,
}

impl Shaders {
    /// Nothing dispatched yet.
    pub fn new(config: &crate::config::Config) -> Self {
        let strict = config.cache == Cache::Strict;
        let caches = strict.then(Box::default);
        Shaders { caches, aging: strict.then(|| Rng::new(config.seed)), ..Shaders::default() }
    }

    /// Notes a write of a register by an engine.
    pub fn register(&mut self, id: EngineId, reg: u32, value: u32) {
        if let Some(n) = reg.checked_sub(WINDOW).filter(|n| *n < WINDOW_SIZE) {
            self.registers.entry(id).or_insert(POWER_ON)[n as usize] = value;
        }
    }

    /// SET_BASE with the index of indirect arguments.
    pub fn set_indirect_base(&mut self, base: u64) {
        self.indirect_base = base;
    }
}

impl Gpu {
    /// Wave instructions that were executed.
    pub fn wave_instructions(&self) -> u64 {
        self.shaders.instructions
    }

    /// DISPATCH_DIRECT or DISPATCH_INDIRECT: a slice of it.
    pub(super) fn dispatch(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        opcode: u32,
        body: &[u32],
    ) -> Result<Flow, Stop> {
        self.slice_of(id, front, |gpu| gpu.begin_dispatch(id, s, opcode, body))
    }

    /// A slice of the dispatch or the draw that is under way, or else of what begins; that may be
    /// nothing.
    pub(super) fn slice_of(
        &mut self,
        id: EngineId,
        front: &mut Front,
        begin: impl FnOnce(&mut Self) -> Result<Option<Running>, Stop>,
    ) -> Result<Flow, Stop> {
        let running = match front.dispatch.take() {
            Some(running) => Some(running),
            None => begin(self)?,
        };
        running.map_or(Ok(Flow::Next), |running| self.go_on(id, front, running))
    }

    /// A slice of a dispatch or a draw.
    fn go_on(
        &mut self,
        id: EngineId,
        front: &mut Front,
        mut running: Running,
    ) -> Result<Flow, Stop> {
        let (before, _) = running.0.count();
        let outcome = self.slice(&mut running);
        let (now, counts) = running.0.count();
        self.shaders.instructions += now - before;
        match outcome {
            Ok(Progress::Done) => {
                self.log.note(format!("{id}: done, {counts}"));
                Ok(Flow::Next)
            }
            Ok(Progress::More) => {
                front.dispatch = Some(running);
                Ok(Flow::Stay)
            }
            Err(stop) => Err(self.shader_stop(stop)),
        }
    }

    /// SQ_CMD: a command to waves, of one VMID if it says so. Only that to die is known here.
    pub(crate) fn wave_command(&mut self, value: u32) {
        self.regs.set(SQ_CMD, value);
        if value & 7 != KILL || value >> 4 & 7 != BROADCAST {
            let what = format!("SQ_CMD := {value:#x} is not known here");
            self.log.violation("wave-command", what);
            return;
        }
        if self.config.inject.no_wave_kill {
            return;
        }
        let vmid = (value & CHECK_VMID != 0).then_some((value >> 28) as u8);
        for id in self.engines() {
            let running = self.front(id).and_then(|front| front.dispatch.as_mut());
            let Some(Running(job, access)) = running else { continue };
            if vmid.is_none_or(|vmid| vmid == access.vmid) {
                job.kill();
                self.log.note(format!("{id}: its waves are killed"));
            }
        }
        self.kick();
    }

    /// Executes a slice, through the caches if there are any.
    fn slice(&mut self, running: &mut Running) -> Result<Progress, ShaderStop> {
        let (mut caches, mut aging) = (self.shaders.caches.take(), self.shaders.aging.take());
        let mut memory = ShaderMemory::new(self, running.1);
        let outcome = match (&mut caches, &mut aging) {
            (Some(caches), Some(aging)) => {
                caches.age(aging, &mut memory);
                running.0.run(&mut caches.over(&mut memory))
            }
            _ => running.0.run(&mut memory),
        };
        self.shaders.caches = caches;
        self.shaders.aging = aging;
        outcome
    }

    /// Does to the shader's caches what SURFACE_SYNC and ACQUIRE_MEM ask for: CP_COHER_CNTL.
    pub(super) fn cache_actions(&mut self, actions: u32) {
        let Some(mut caches) = self.shaders.caches.take() else { return };
        caches.act(actions, &mut ShaderMemory::new(self, CACHES));
        self.shaders.caches = Some(caches);
    }

    /// Does to them what an end-of-pipe event asks for. The pipe is empty: dispatches end in their
    /// packet.
    pub(super) fn event_actions(&mut self, event: u32) {
        let second = if event & EOP_SECOND_LEVEL != 0 { action::SECOND_LEVEL } else { 0 };
        let vector = if event & EOP_VECTOR != 0 { action::VECTOR } else { 0 };
        self.cache_actions(second | vector);
    }

    /// DMA_DATA by way of the second level (SRC_SEL or DST_SEL 3): what that has of these pages
    /// goes to memory first. A copy onto itself is a prefetch.
    pub(super) fn dma_coherence(&mut self, id: EngineId, s: &Stream, body: &[u32]) {
        let (src, dst) = (address(body[1], body[2], 16), address(body[3], body[4], 16));
        let len = u64::from(body[5] & 0x1f_ffff);
        let Some(mut caches) = self.shaders.caches.take() else { return };
        let mut memory = ShaderMemory::new(self, Self::access(id, s.vmid));
        let through = [
            (body[0] >> 29 & 3, src, memory::Access::Read),
            (body[0] >> 20 & 3, dst, memory::Access::Write),
        ];
        for (_, start, access) in
            through.into_iter().filter(|(select, ..)| *select == 3 && src != dst)
        {
            let pages = (start & !(PAGE - 1)..start.saturating_add(len)).step_by(PAGE as usize);
            // A page that faults does so again in the transfer, which reports it.
            for place in pages
                .filter_map(|page| memory::Memory::translate(&mut memory, page, access).ok())
                .collect::<Vec<_>>()
            {
                caches.release(place, &mut memory);
            }
        }
        self.shaders.caches = Some(caches);
    }

    pub(super) fn shader_stop(&mut self, stop: ShaderStop) -> Stop {
        Stop::Hang(format!("shader, {:?}: {}", stop.cause, stop.what))
    }

    fn begin_dispatch(
        &mut self,
        id: EngineId,
        s: &Stream,
        opcode: u32,
        body: &[u32],
    ) -> Result<Option<Running>, Stop> {
        let (dims, initiator) = match opcode {
            op::DISPATCH_DIRECT => ([body[0], body[1], body[2]], body[3]),
            _ => self.indirect_dims(id, s, body)?,
        };
        let registers = self.shaders.registers.get(&id).unwrap_or(&POWER_ON);
        let launch =
            Launch::new(registers, dims, initiator).map_err(|stop| self.shader_stop(stop))?;
        let Some(launch) = launch else { return Ok(None) };
        let config = self.shader_config(s.vmid, TA_CS_BC_BASE_ADDR);
        let may = |n: usize| config.units[n] & launch.units[n];
        let dead = self.config.inject.dead_unit.map_or(0, |unit| 1 << unit);
        if dead != 0 && may(0) == dead && (1..ENGINES).all(|n| may(n) == 0) {
            // What only a dead unit may do is not done.
            return Ok(None);
        }
        let access = Access { vmid: s.vmid, client: "TC0", client_id: 0x40, copied: false };
        Ok(Some(Running(Job::Dispatch(Box::new(Dispatch::new(launch, config))), access)))
    }

    /// The dimensions in memory: on the gfx ring from the base that was set, on a compute queue at
    /// an address.
    fn indirect_dims(
        &mut self,
        id: EngineId,
        s: &Stream,
        body: &[u32],
    ) -> Result<([u32; 3], u32), Stop> {
        let (at, initiator) = match (id, body) {
            (EngineId::Gfx, &[offset, initiator]) => {
                (self.shaders.indirect_base + u64::from(offset), initiator)
            }
            // The compute engines of this generation read it wrong elsewhere (Mesa, ac_gpu_info,
            // "has_async_compute_align32_bug").
            (EngineId::Compute { .. }, &[lo, hi, initiator]) if lo % 32 == 0 => {
                (address(lo, hi, 16), initiator)
            }
            _ => {
                return Err(Stop::Illegal(format!(
                    "DISPATCH_INDIRECT on {id} with {} body dwords",
                    body.len()
                )));
            }
        };
        let a = Self::access(id, s.vmid);
        let mut dims = [0; 3];
        for (n, dim) in (0..).zip(&mut dims) {
            *dim = self.mem_read_u32(a, at + 4 * n)?;
        }
        Ok((dims, initiator))
    }

    /// Returns the compute units of each shader engine that are there and not switched off.
    fn units(&self) -> [u32; ENGINES] {
        let there = (1 << self.config.chip.units()) - 1;
        let engines = self.config.chip.shader_engines() as usize;
        let off = |n: usize| {
            let of = |reg: u32| self.regs.of_engine(n as u32, reg) >> 16;
            of(CC_GC_SHADER_ARRAY_CONFIG) | of(GC_USER_SHADER_ARRAY_CONFIG)
        };
        std::array::from_fn(|n| if n < engines { there & !off(n) } else { 0 })
    }

    /// Settings of a dispatch or a draw that begins; `borders` is the register, and the next, that
    /// say where its table of border colors is.
    pub(super) fn shader_config(&mut self, vmid: u8, borders: u32) -> Config {
        self.shaders.count += 1;
        let bases = self.regs.of_vmid(vmid, SH_MEM_BASES);
        // ROW_SIZE: 1, 2 or 4 KiB.
        let row = 1024 << (self.regs.get(GB_ADDR_CONFIG) >> 28 & 3);
        Config {
            seed: self.config.seed ^ self.shaders.count.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            noise: true,
            waits: true,
            unaligned: self.regs.of_vmid(vmid, SH_MEM_CONFIG) & ALIGNMENT_MODE == UNALIGNED,
            apertures: [bases as u16, (bases >> 16) as u16],
            borders: u64::from(self.regs.get(borders)) << 8
                | u64::from(self.regs.get(borders + 1) & 0xff) << 40,
            units: self.units(),
            tiling: Modes {
                tile: std::array::from_fn(|n| self.regs.get(GB_TILE_MODE0 + n as u32)),
                macrotile: std::array::from_fn(|n| self.regs.get(GB_MACROTILE_MODE0 + n as u32)),
                row,
            },
        }
    }
}

/// Memory of a VMID, for one slice.
struct ShaderMemory<'a> {
    gpu: &'a mut Gpu,
    access: Access,
    vram: Arc<Memory>,
    /// The file of the host's memory that was used last.
    file: Option<(u64, Arc<Memory>)>,
}

impl<'a> ShaderMemory<'a> {
    fn new(gpu: &'a mut Gpu, access: Access) -> Self {
        let vram = gpu.vram.device().clone();
        ShaderMemory { gpu, access, vram, file: None }
    }

    /// The number of a file of the host's memory.
    fn number(&mut self, file: &Arc<Memory>) -> u64 {
        let files = &mut self.gpu.shaders.files;
        let known = files.iter().position(|f| std::ptr::eq(f.as_ptr(), Arc::as_ptr(file)));
        let number = known.unwrap_or(files.len());
        if known.is_none() {
            files.push(Arc::downgrade(file));
        }
        number as u64
    }

    /// Returns the memory of a position; nothing for one that is nowhere.
    fn memory(&mut self, at: u64) -> Option<(&Memory, u64)> {
        if at & VOID != 0 {
            return None;
        }
        let Some(number) = (at / HOST).checked_sub(1) else { return Some((&self.vram, at)) };
        if self.file.as_ref().is_none_or(|(n, _)| *n != number) {
            let file = self.gpu.shaders.files.get(number as usize)?.upgrade()?;
            self.file = Some((number, file));
        }
        self.file.as_ref().map(|(_, file)| (&**file, at % HOST))
    }
}

impl memory::Memory for ShaderMemory<'_> {
    fn translate(&mut self, va: u64, want: memory::Access) -> Result<memory::Place, ShaderStop> {
        let found = self.gpu.resolve(self.access, va, want == memory::Access::Write);
        let place = match found {
            Ok(Place::Bytes { memory, offset, .. })
                if Arc::ptr_eq(&memory, self.gpu.vram.device()) =>
            {
                offset
            }
            Ok(Place::Bytes { memory, offset, .. }) => (self.number(&memory) + 1) * HOST + offset,
            Ok(Place::Void) => VOID,
            Ok(Place::Hole) => HOLE,
            Err(Stop::Hang(what) | Stop::Illegal(what) | Stop::Privilege(what)) => {
                return Err(ShaderStop::memory(what));
            }
            Err(Stop::Wait) => return Err(ShaderStop::memory("memory waits".into())),
        };
        Ok(memory::Place(place))
    }

    fn read(&mut self, _path: Path, at: memory::Place, to: &mut [u8]) {
        if at.0 < HOST {
            self.gpu.check_flushed(self.access, at.0, true, at.0, to.len());
        }
        match self.memory(at.0) {
            Some((memory, offset)) => memory.read(offset, to),
            None => to.fill(if at.0 & HOLE == HOLE { 0 } else { 0xff }),
        }
    }

    fn write(&mut self, _path: Path, at: memory::Place, from: &[u8]) {
        let Some((memory, offset)) = self.memory(at.0) else { return };
        match *from {
            [a, b, c, d] if offset % 4 == 0 => {
                memory.write_u32(offset, u32::from_le_bytes([a, b, c, d]));
            }
            _ => memory.write(offset, from),
        }
        if at.0 < HOST {
            self.gpu.vram.written(at.0, from.len() as u64);
        }
    }

    fn update(&mut self, at: memory::Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        let mut old = [0; 8];
        self.read(Path::Coherent(0), at, &mut old[..bytes]);
        let old = u64::from_le_bytes(old);
        self.write(Path::Coherent(0), at, &f(old).to_le_bytes()[..bytes]);
        old
    }

    fn clock(&mut self) -> u64 {
        self.gpu.clock()
    }
}
