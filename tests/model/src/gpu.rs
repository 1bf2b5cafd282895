// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The whole GPU as one value, and the scheduler of its engines.
//!
//! Nothing here has a thread. The host side calls [`Gpu::reg_read`], [`Gpu::reg_write`],
//! [`Gpu::doorbell`]; whoever drives the engines calls [`Gpu::step`], which lets one engine, chosen
//! by the seed, execute one packet. Equal seeds and equal calls give equal runs.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    io,
    sync::Arc,
    time::Instant, //
};

use rand::{
    Rng,
    SeedableRng, //
};
use rand_chacha::ChaCha8Rng;

use crate::{
    config::Config,
    cp::{
        self,
        dispatch::Shaders,
        draw::Graphics,
        on_chip::DataShare, //
    },
    engine::{
        Block,
        EngineId,
        Front,
        Step,
        Stop,
        Stream, //
    },
    fault::Faults,
    flush::{
        Flushes,
        HdpRequests, //
    },
    hdp::Vram,
    host::Host,
    ih::Ih,
    inject::Moment,
    late::{
        Issued,
        UnderWay, //
    },
    mc::Access,
    memory::Memory,
    pace::Pace,
    pci::{
        ConfigEffect,
        Pci, //
    },
    regs::{
        QueueSel,
        Store, //
    },
    rom,
    sdma,
    strict::Rule,
    tlb::{
        Serve,
        Tlb, //
    },
    trace::{
        Event,
        Log, //
    },
    ucode::Ucode,
    watch::Watch, //
};

/// Packets kept per engine for a report.
const RECENT: usize = 16;

/// A GPU.
pub struct Gpu {
    /// Settings that it is made from.
    pub config: Config,
    /// Configuration space.
    pub pci: Pci,
    /// The bus that it sits on.
    pub host: Host,
    /// Trace and violations.
    pub log: Log,
    pub(crate) regs: Store,
    pub(crate) vram: Vram,
    pub(crate) rom: Vec<u8>,
    pub(crate) tlb: Tlb,
    pub(crate) watch: Watch,
    pub(crate) faults: Faults,
    pub(crate) ih: Ih,
    pub(crate) ucode: Ucode,
    pub(crate) shaders: Shaders,
    pub(crate) graphics: Graphics,
    pub(crate) share: DataShare,
    pub(crate) gfx: Front,
    pub(crate) mec: BTreeMap<QueueSel, Front>,
    pub(crate) sdma: [Front; 2],
    /// Fill of the end-of-pipe ring of each compute pipe.
    pub(crate) eop_at: BTreeMap<(u8, u8), u64>,
    pub(crate) pace: Pace,
    pub(crate) hdp_requests: HdpRequests,
    pub(crate) flushes: Flushes,
    /// Vectors of compute queues carry the queue's number.
    pub(crate) queue_in_vectors: bool,
    pub(crate) under_way: UnderWay,
    /// Last write of each engine for a job that is not over.
    pub(crate) last_write: BTreeMap<EngineId, Issued>,
    held: BTreeSet<Block>,
    pub(crate) rng: ChaCha8Rng,
    kicked: bool,
    /// Memory has not been trained since the power came on.
    pub(crate) untrained: bool,
    /// It was allowed to access the host's memory.
    was_used: bool,
    /// Indirect buffers of users that have begun.
    user_ibs: u64,
    /// It was taken out of its slot.
    pub(crate) gone: bool,
    start: Instant,
}

/// Place of an engine's ring, in dwords.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub vmid: u8,
    pub base: u64,
    /// Size in dwords, a power of two.
    pub size: u32,
    pub rptr: u32,
    pub wptr: u32,
}

/// Continuation of the stream after a packet.
pub(crate) enum Flow {
    /// With the next packet.
    Next,
    /// After skipping this many dwords.
    Skip(u32),
    /// With the same packet: a part of it is done.
    Stay,
    /// With an indirect buffer, then back.
    Call(Stream),
    /// With an indirect buffer instead of the rest of this one.
    Chain(Stream),
}

impl Gpu {
    /// A GPU that the firmware has posted (unless injected otherwise).
    pub fn new(config: Config) -> io::Result<Self> {
        let vram = Vram::new(config.vram, config.hdp, config.seed)?;
        let vram = vram.with_stale_reads(config.strict.has(Rule::HdpReads));
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        if let Some(picture) = config.picture {
            picture.paint(vram.device());
            picture.paint(vram.host());
        }
        let mut gpu = Gpu {
            pci: Pci::new(&config),
            host: Host::default(),
            log: Log::default(),
            regs: Store::new(&config, !config.inject.not_posted),
            vram,
            rom: rom::build(&config),
            tlb: empty_tlb(&config),
            watch: Watch::default(),
            faults: Faults::default(),
            ih: Ih::default(),
            ucode: Ucode::default(),
            shaders: Shaders::new(&config),
            graphics: Graphics::default(),
            share: DataShare::default(),
            gfx: Front::default(),
            mec: BTreeMap::new(),
            sdma: Default::default(),
            eop_at: BTreeMap::new(),
            pace: Pace::default(),
            hdp_requests: HdpRequests::default(),
            flushes: Flushes::default(),
            queue_in_vectors: !config.strict.has(Rule::EopQueue) || rng.random(),
            under_way: UnderWay::default(),
            last_write: BTreeMap::new(),
            held: BTreeSet::new(),
            rng,
            kicked: false,
            untrained: config.inject.not_posted,
            was_used: false,
            user_ibs: 0,
            gone: false,
            start: Instant::now(),
            config,
        };
        gpu.leave_queues();
        Ok(gpu)
    }

    /// The bus resets the card. On hardware these cards do not respond to that; QEMU resets all of
    /// a machine's devices so when it resets or wakes up. With the fault `power-loss` that is what
    /// it stands for.
    pub fn bus_reset(&mut self) {
        if self.was_used && self.config.inject.lost_by_reset {
            self.config.inject.unplugged = true;
        }
        let lost = self.config.inject.power_loss;
        self.reset(!lost);
        self.untrained = lost || self.config.inject.not_posted;
        if lost {
            self.lose_vram();
        }
    }

    /// The dword at 0x7c: resets the ASIC, which then is not posted.
    fn config_reset(&mut self) {
        if self.config.inject.no_config_reset {
            self.log.note("reset by configuration space ignored: a fault");
            return;
        }
        if self.config.strict.has(Rule::ConfigReset) && !self.smc_runs() {
            self.log.note("reset by configuration space ignored: no firmware runs on the SMC");
            return;
        }
        self.reset(false);
        if self.config.strict.has(Rule::ResetVram) {
            self.lose_vram();
        }
    }

    /// Returns true if firmware runs on the system management controller: its clock is on, and its
    /// program counter beyond the boot code.
    fn smc_runs(&self) -> bool {
        const CLOCK_CNTL: u32 = 0x8000_0004;
        const PROGRAM_COUNTER: u32 = 0x8000_0370;
        let smc = |index| self.regs.indirect("SMC", index);
        smc(CLOCK_CNTL) & 1 == 0 && smc(PROGRAM_COUNTER) >= 0x2_0100
    }

    /// Turns the contents of VRAM into noise.
    pub(crate) fn lose_vram(&mut self) {
        self.log.note("what was in VRAM is lost");
        if let Err(e) = self.vram.lose() {
            self.log.violation("vram", format!("losing its contents: {e}"));
        }
    }

    /// Back to the state after posting, or after power-on. Memory is kept.
    fn reset(&mut self, posted: bool) {
        self.log.note("reset");
        self.regs = Store::new(&self.config, posted && !self.config.inject.not_posted);
        self.tlb = empty_tlb(&self.config);
        self.watch = Watch::default();
        self.faults = Faults::default();
        self.ih = Ih::default();
        self.ucode = Ucode::default();
        self.shaders = Shaders::new(&self.config);
        self.graphics = Graphics::default();
        self.eop_at.clear();
        self.forget_pace();
        self.hdp_requests = HdpRequests::default();
        self.forget_flushes();
        self.under_way.clear();
        self.last_write.clear();
        self.gfx.reset();
        self.mec.clear();
        self.sdma.iter_mut().for_each(Front::reset);
        if posted {
            self.leave_queues();
        }
    }

    /// Sees whether what is on the screen is still there; to be called at the end.
    pub fn look_at_the_screen(&mut self) {
        let Some(picture) = self.config.picture else { return };
        if let Some(offset) = picture.first_change(self.vram.device()) {
            self.log.violation("picture", format!("the screen's VRAM has changed at {offset:#x}"));
        }
    }

    /// VRAM as the host sees it, shared with the guest.
    pub fn vram(&self) -> &Arc<Memory> {
        self.vram.host()
    }

    /// The expansion ROM, as its BAR shows it.
    pub fn rom(&self) -> &[u8] {
        if self.config.inject.no_rom_bar { &[0; rom::SIZE] } else { &self.rom }
    }

    /// Reads configuration space.
    pub fn config_read(&self, at: usize, to: &mut [u8]) {
        if self.gone {
            to.fill(0xff);
        } else {
            self.pci.read(at, to);
        }
    }

    /// Takes the card out of its slot if this is the moment. Returns true if it is out.
    pub(crate) fn vanishes(&mut self, moment: Moment) -> bool {
        if !self.gone && self.user_ibs > 0 && self.config.inject.vanish == Some(moment) {
            self.log.note(format!("taken out of its slot ({moment:?})"));
            self.gone = true;
            self.under_way.clear();
            self.host.set_msi(None);
        }
        self.gone
    }

    /// Writes configuration space.
    pub fn config_write(&mut self, at: usize, from: &[u8]) {
        self.log.event(Event::Config { at, bytes: from.to_vec() });
        if self.gone {
            return;
        }
        match self.pci.write(at, from) {
            ConfigEffect::Reset if self.vanishes(Moment::ConfigReset) => {}
            ConfigEffect::Reset => self.config_reset(),
            ConfigEffect::Asleep => _ = self.vanishes(Moment::Sleep),
            // By itself D3 loses nothing: No_Soft_Reset is set.
            ConfigEffect::Woken if self.config.inject.power_loss => self.bus_reset(),
            ConfigEffect::Woken | ConfigEffect::None => (),
        }
        if self.pci.bus_master() {
            self.was_used = true;
        } else {
            // Whoever takes bus mastering away stops what is under way.
            self.under_way.clear();
        }
    }

    /// The GPU's clock: 27 MHz since power-up.
    pub(crate) fn clock(&self) -> u64 {
        (self.start.elapsed().as_nanos() * 27 / 1000) as u64
    }

    /// Says that an engine may have got work.
    pub(crate) fn kick(&mut self) {
        self.kicked = true;
    }

    /// Returns true if an engine may have got work since the last call.
    pub fn take_kick(&mut self) -> bool {
        std::mem::take(&mut self.kicked)
    }

    /// Stops a block before its next packet until [`Gpu::release`].
    pub fn hold(&mut self, block: Block) {
        self.held.insert(block);
    }

    /// Returns true if a block is held.
    pub fn is_held(&self, block: Block) -> bool {
        self.held.contains(&block)
    }

    /// Lets a held block go on.
    pub fn release(&mut self, block: Block) {
        self.held.remove(&block);
        self.kick();
    }

    /// The engines that exist now: the gfx ring, both SDMA engines, and each active queue.
    pub fn engines(&self) -> Vec<EngineId> {
        let mut all = vec![EngineId::Gfx, EngineId::Sdma(0), EngineId::Sdma(1)];
        all.extend(self.mec.keys().map(|&(me, pipe, queue)| EngineId::Compute { me, pipe, queue }));
        all
    }

    pub(crate) fn front(&mut self, id: EngineId) -> Option<&mut Front> {
        match id {
            EngineId::Gfx => Some(&mut self.gfx),
            EngineId::Compute { me, pipe, queue } => self.mec.get_mut(&(me, pipe, queue)),
            EngineId::Sdma(n) => self.sdma.get_mut(usize::from(n)),
        }
    }

    /// Why an engine hangs, if it does.
    pub fn hung(&self, id: EngineId) -> Option<&str> {
        let front = match id {
            EngineId::Gfx => Some(&self.gfx),
            EngineId::Compute { me, pipe, queue } => self.mec.get(&(me, pipe, queue)),
            EngineId::Sdma(n) => self.sdma.get(usize::from(n)),
        };
        front?.hung.as_deref()
    }

    /// Returns true if an engine has packets left, or something under way.
    pub fn busy(&self, id: EngineId) -> bool {
        self.has_work(id) || self.under_way.any(id)
    }

    /// Returns true if an engine has packets or fences left.
    pub(crate) fn has_work(&self, id: EngineId) -> bool {
        let front = match id {
            EngineId::Gfx => Some(&self.gfx),
            EngineId::Compute { me, pipe, queue } => self.mec.get(&(me, pipe, queue)),
            EngineId::Sdma(n) => self.sdma.get(usize::from(n)),
        };
        let more = front.is_some_and(|f| !f.ibs.is_empty());
        front.is_some_and(|f| !f.fences.is_empty())
            || self.ring(id).is_some_and(|r| more || r.rptr != r.wptr)
    }

    /// Lets one engine execute one packet. Which one, the seed decides.
    pub fn step(&mut self) -> Step {
        self.age_flushes();
        if self.land_one() {
            return Step::Progress;
        }
        let all = self.engines();
        for id in all.iter().copied().filter(|id| !self.has_work(*id)).collect::<Vec<_>>() {
            if self.under_way.any(id) {
                self.release_late(id);
            }
        }
        let engines: Vec<EngineId> = all.into_iter().filter(|e| self.has_work(*e)).collect();
        let unseen = self.vram.age();
        let idle = if self.under_way.is_empty() && !unseen { Step::Idle } else { Step::Waiting };
        if engines.is_empty() {
            return idle;
        }
        let first = self.rng.random_range(0..engines.len());
        let mut result = idle;
        for i in 0..engines.len() {
            match self.step_engine(engines[(first + i) % engines.len()]) {
                Step::Progress => return Step::Progress,
                Step::Waiting => result = Step::Waiting,
                Step::Idle => {}
            }
        }
        result
    }

    /// Steps until nothing moves, at most `limit` packets. Answers the last result.
    pub fn run(&mut self, limit: usize) -> Step {
        for _ in 0..limit {
            match self.step() {
                Step::Progress => {}
                other => return other,
            }
        }
        Step::Progress
    }

    /// One packet of one engine, or one fence that it passed before.
    fn step_engine(&mut self, id: EngineId) -> Step {
        let block = id.block();
        if self.config.inject.dead.contains(&block)
            || self.held.contains(&block)
            || !self.is_clocked()
            || self.pci.is_cut_off()
            || self.gone
        {
            return Step::Idle;
        }
        let fences = self.front(id).map_or(0, |f| f.fences.len());
        if fences > 0 && self.rng.random() {
            self.retire_fence(id);
            return Step::Progress;
        }
        let Some(front) = self.front(id) else { return Step::Idle };
        let mut front = std::mem::take(front);
        let step = self.execute(id, &mut front);
        // The packet may have ended the queue.
        if let Some(slot) = self.front(id) {
            *slot = front;
        }
        if step != Step::Progress && fences > 0 {
            self.retire_fence(id);
            return Step::Progress;
        }
        step
    }

    /// Returns the place of a running engine's ring; `None` if it is halted or off.
    pub(crate) fn ring(&self, id: EngineId) -> Option<Ring> {
        match id {
            EngineId::Gfx => self.gfx_ring(),
            EngineId::Compute { me, pipe, queue } => self.compute_ring((me, pipe, queue)),
            EngineId::Sdma(n) => self.sdma_ring(n),
        }
    }

    /// Returns the name of an engine's accesses to memory.
    pub(crate) fn access(id: EngineId, vmid: u8) -> Access {
        let (client, client_id) = match id {
            EngineId::Gfx => ("CPG", 0x20),
            EngineId::Compute { .. } => ("CPC", 0x21),
            EngineId::Sdma(0) => ("SDM0", 0x30),
            EngineId::Sdma(_) => ("SDM1", 0x31),
        };
        Access { vmid, client, client_id, copied: false }
    }

    fn execute(&mut self, id: EngineId, front: &mut Front) -> Step {
        if front.hung.is_some() {
            return Step::Idle;
        }
        if front.not_before.is_some_and(|t| Instant::now() < t) {
            return Step::Waiting;
        }
        let Some(ring) = self.ring(id) else { return Step::Idle };
        while front.ibs.last().is_some_and(|s| s.pos >= s.size) {
            front.ibs.pop();
        }
        if id == EngineId::Gfx && front.ibs.is_empty() && self.rng.random() {
            self.run_ahead(front, &ring);
        }
        let (stream, available) = match front.ibs.last() {
            Some(s) => (s.clone(), s.size - s.pos),
            None if ring.rptr == ring.wptr => return Step::Idle,
            None => {
                let s = Stream {
                    vmid: ring.vmid,
                    base: ring.base,
                    size: ring.size,
                    pos: ring.rptr,
                    ahead: None,
                };
                (s, ring.wptr.wrapping_sub(ring.rptr) & (ring.size - 1))
            }
        };
        self.log.user(stream.vmid != 0);
        let step = match self.one_packet(id, front, &stream, available) {
            Ok((_, Flow::Stay)) => {
                front.polls += 1;
                Step::Progress
            }
            Ok((used, flow)) => {
                self.advance(id, front, used, available, flow);
                Step::Progress
            }
            Err(Stop::Wait) => {
                front.polls += 1;
                Step::Waiting
            }
            Err(stop) => {
                self.stop(id, front, &stream, stop);
                Step::Progress
            }
        };
        self.log.user(false);
        step
    }

    /// Fetches, traces and executes the packet at the position. Answers its length and the flow.
    fn one_packet(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        available: u32,
    ) -> Result<(u32, Flow), Stop> {
        let a = Self::access(id, s.vmid);
        let mut dwords = vec![match s.fetched(0) {
            Some(dword) => dword,
            None => self.mem_read_u32(a, s.addr(0))?,
        }];
        let is_sdma = matches!(id, EngineId::Sdma(_));
        loop {
            let need = if is_sdma { sdma::length(&dwords) } else { cp::length(dwords[0]) };
            let need = need.map_err(Stop::Illegal)?;
            if need.dwords > available {
                let what = format!(
                    "{id}: packet {:#010x} at {:#x} needs {} dwords, {available} are there",
                    dwords[0],
                    s.addr(0),
                    need.dwords
                );
                self.log.violation("packet-overrun", what.clone());
                return Err(Stop::Hang(what));
            }
            self.fetch(a, s, &mut dwords, need.dwords)?;
            if need.exact {
                break;
            }
        }
        let name = if is_sdma { sdma::name(dwords[0]) } else { cp::name(dwords[0]) };
        let filler = dwords.len() == 1 && name == "NOP";
        if !filler && front.polls == 0 && !front.delayed {
            let e = Event::Packet {
                engine: id,
                vmid: s.vmid,
                addr: s.addr(0),
                name,
                dwords: dwords.clone(),
            };
            if front.recent.len() == RECENT {
                front.recent.pop_front();
            }
            front.recent.push_back(e.to_string());
            self.log.event(e);
        }
        let used = dwords.len() as u32;
        let flow = if is_sdma {
            self.sdma_packet(id, front, s, &dwords)?
        } else {
            self.cp_packet(id, front, s, &dwords)?
        };
        if let Flow::Call(to) | Flow::Chain(to) = &flow {
            let user = to.vmid != 0;
            front.job = user.then_some(to.vmid).or(front.job);
            self.begin_ib(id, front)?;
            self.user_ibs += u64::from(user);
            if user && self.vanishes(Moment::Jobs(self.user_ibs)) {
                return Err(Stop::Wait);
            }
        }
        Ok((used, flow))
    }

    /// Fetches more dwords of a packet, until there are `wanted`; a ring wraps at its end.
    pub(crate) fn fetch(
        &mut self,
        a: Access,
        s: &Stream,
        dwords: &mut Vec<u32>,
        wanted: u32,
    ) -> Result<(), Stop> {
        while (dwords.len() as u32) < wanted {
            let have = dwords.len() as u32;
            if let Some(dword) = s.fetched(have) {
                dwords.push(dword);
                continue;
            }
            let to_end = s.size - (s.pos + have) % s.size.max(1);
            let mut bytes = vec![0; (wanted - have).min(to_end) as usize * 4];
            self.mem_read(a, s.addr(have), &mut bytes)?;
            dwords.extend(
                bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            );
        }
        Ok(())
    }

    /// Injected slowness and hangs, at the start of an indirect buffer.
    fn begin_ib(&mut self, id: EngineId, front: &mut Front) -> Result<(), Stop> {
        if let (Some(delay), false) = (self.config.inject.delay(id.block()), front.delayed) {
            front.delayed = true;
            front.not_before = Some(Instant::now() + delay);
            return Err(Stop::Wait);
        }
        if self.config.inject.hang_after(id.block()).is_some_and(|n| front.ib_count >= n) {
            // Not a violation: this hang was asked for.
            self.log.note(format!("{id} hangs (injected)"));
            front.hung = Some("injected".into());
            return Err(Stop::Wait);
        }
        self.check_flushes(id);
        front.ib_count += 1;
        Ok(())
    }

    fn advance(&mut self, id: EngineId, front: &mut Front, used: u32, available: u32, flow: Flow) {
        front.advance();
        let at = if front.ibs.is_empty() { self.ring(id).map(|r| r.rptr) } else { None };
        let skip = if let Flow::Skip(n) = flow { n } else { 0 };
        if used + skip > available {
            self.log.violation(
                "packet-overrun",
                format!("{id}: skips {skip} dwords, beyond the stream's end"),
            );
        }
        let step = (used + skip).min(available);
        match front.ibs.last_mut() {
            Some(s) => s.pos += step,
            None => {
                if let Some(ring) = self.ring(id) {
                    let rptr = (ring.rptr + step) & (ring.size - 1);
                    self.set_rptr(id, rptr);
                }
            }
        }
        match flow {
            Flow::Call(mut s) => {
                front.vmid = s.vmid;
                if let Some(at) = at {
                    self.use_fetched(front, at, &mut s);
                }
                front.ibs.push(s);
            }
            Flow::Chain(s) => {
                front.ibs.pop();
                front.ibs.push(s);
            }
            Flow::Skip(_) => front.fetched = None,
            Flow::Next | Flow::Stay => {}
        }
    }

    fn set_rptr(&mut self, id: EngineId, rptr: u32) {
        match id {
            EngineId::Gfx => self.gfx_set_rptr(rptr),
            EngineId::Compute { me, pipe, queue } => self.compute_set_rptr((me, pipe, queue), rptr),
            EngineId::Sdma(n) => self.sdma_set_rptr(n, rptr),
        }
    }

    /// Ends an engine's execution: interrupt where hardware gives one, hang, report.
    fn stop(&mut self, id: EngineId, front: &mut Front, s: &Stream, stop: Stop) {
        let (rule, why) = match stop {
            Stop::Wait => return,
            Stop::Hang(why) => ("engine-hang", why),
            Stop::Illegal(why) => ("illegal-packet", why),
            Stop::Privilege(why) => ("privilege", why),
        };
        let recent: Vec<&str> = front.recent.iter().map(String::as_str).collect();
        let what = format!(
            "{id} stops at {:#x} (vmid {}): {why}; last packets:\n    {}",
            s.addr(0),
            s.vmid,
            recent.join("\n    ")
        );
        self.log.violation(rule, what);
        front.hung = Some(why);
        match id {
            EngineId::Sdma(n) => self.sdma_illegal(n),
            _ => self.cp_error(id, rule, s.vmid),
        }
    }
}

fn empty_tlb(config: &Config) -> Tlb {
    Tlb::new(if config.strict.has(Rule::FragmentBase) { Serve::LowBits } else { Serve::Offset })
}
