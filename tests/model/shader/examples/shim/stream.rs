// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Command streams: the packets that dispatches and draws need. Others are passed over and counted.

use std::{
    collections::BTreeMap,
    time::{
        Duration,
        Instant, //
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
    draw::{
        Call,
        Draw,
        Registers,
        packets::{
            Sources,
            op, //
        }, //
    },
    gfx7::{
        Words,
        decode,
        text, //
    },
    launch::{
        Launch,
        POWER_ON,
        WINDOW_SIZE, //
    },
    memory::{
        Memory,
        PAGE,
        Path, //
    },
    stop::Stop,
    tiling::Modes, //
};

use crate::{
    clear_state::clear_state,
    memory::Space,
    uapi::Ib, //
};

/// Wave instructions of a slice.
const SLICE: u64 = 1 << 20;
/// Engine type of SDMA.
const SDMA: u32 = 2;

/// State of the command processor, and what was executed.
#[derive(Default)]
pub struct Streams {
    pub tiling: Modes,
    /// Border colors of dispatches.
    borders: u64,
    caches: Caches,
    registers: BTreeMap<u32, [u32; WINDOW_SIZE as usize]>,
    indirect: u64,
    graphics: Option<Registers>,
    sources: Sources,
    dispatches: u64,
    draws: u64,
    pixels: u64,
    instructions: u64,
    time: Duration,
    passed_over: BTreeMap<u32, u64>,
    stops: BTreeMap<String, u64>,
}

fn address(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi & 0xffff) << 32
}

/// Reads bytes anywhere.
fn read(space: &mut Space, va: u64, to: &mut [u8]) -> Result<(), Stop> {
    amdgpu_shader::bus::Bus::new(space).read(Path::Coherent(0), va, to)
}

fn write(space: &mut Space, va: u64, from: &[u8]) -> Result<(), Stop> {
    amdgpu_shader::bus::Bus::new(space).write(Path::Coherent(0), va, from)
}

fn word(space: &mut Space, va: u64) -> Result<u32, Stop> {
    let mut bytes = [0; 4];
    read(space, va, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

impl Streams {
    /// Says what was executed.
    pub fn report(&self) {
        let rate = self.instructions as f64 / 1e6 / self.time.as_secs_f64().max(1e-9);
        eprintln!(
            "shader: {} dispatches, {} draws of {} pixels, {} wave instructions, {:.3} s, \
             {rate:.1} M a second; packets passed over {:x?}; stops {:#?}",
            self.dispatches,
            self.draws,
            self.pixels,
            self.instructions,
            self.time.as_secs_f64(),
            self.passed_over,
            self.stops
        );
    }

    /// Executes an indirect buffer.
    pub fn execute(&mut self, space: &mut Space, ib: &Ib) {
        if ib.engine == SDMA {
            *self.passed_over.entry(0xd0a).or_default() += 1;
            return;
        }
        if let Err(stop) = self.stream(space, ib.engine, ib.address, ib.bytes / 4, 0) {
            self.stopped(stop);
        }
        // The kernel's fence flushes everything.
        self.caches.act(!0, space);
    }

    fn stopped(&mut self, stop: Stop) {
        let what = format!("{:?}: {}", stop.cause, stop.what);
        if !self.stops.contains_key(&what) && std::env::var_os("SHADER_REPORT").is_some() {
            eprintln!("shader: stopped: {what}");
        }
        *self.stops.entry(what).or_default() += 1;
    }

    fn stream(
        &mut self,
        space: &mut Space,
        engine: u32,
        at: u64,
        dwords: u32,
        depth: u32,
    ) -> Result<(), Stop> {
        let mut bytes = vec![0; dwords as usize * 4];
        read(space, at, &mut bytes)?;
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let mut n = 0;
        while let Some(header) = words.get(n).copied() {
            n += 1;
            if header >> 30 != 3 || header == 0xffff_1000 {
                continue;
            }
            let count = (header >> 16 & 0x3fff) as usize + 1;
            let Some(body) = words.get(n..n + count) else { return Ok(()) };
            n += count;
            n += self.packet(space, (engine, depth), header >> 8 & 0xff, body)?;
        }
        Ok(())
    }

    /// Executes a packet. Returns how many dwords to skip.
    fn packet(
        &mut self,
        space: &mut Space,
        (engine, depth): (u32, u32),
        opcode: u32,
        body: &[u32],
    ) -> Result<usize, Stop> {
        match (opcode, body) {
            (0x76, [first, values @ ..]) => self.set(engine, 0x2c00 + (first & 0xffff), values),
            (0x69, [first, values @ ..]) => self.set(engine, 0xa000 + (first & 0xffff), values),
            (0x79, [first, values @ ..]) => self.set(engine, 0xc000 + (first & 0xffff), values),
            (0x12, _) => clear_state(self.graphics()),
            (
                op::INDEX_TYPE
                | op::NUM_INSTANCES
                | op::INDEX_BASE
                | op::INDEX_BUFFER_SIZE
                | op::DRAW_INDEX_AUTO
                | op::DRAW_INDEX_2
                | op::DRAW_INDEX_OFFSET_2,
                _,
            ) => {
                if let Some(call) = self.sources.packet(opcode, body)? {
                    self.draw(space, call);
                }
            }
            // Draws whose arguments are in memory.
            (0x24 | 0x25 | 0x2c | 0x38, _) => {
                self.stopped(Stop::illegal(format!("draw packet {opcode:#x} is not implemented")));
            }
            (0x11, [1, lo, hi]) => self.indirect = address(*lo, *hi),
            (0x15, &[x, y, z, initiator]) => self.dispatch(space, engine, [x, y, z], initiator),
            (0x16, &[offset, initiator]) => {
                self.indirect(space, engine, self.indirect + u64::from(offset), initiator)?
            }
            (0x16, &[lo, hi, initiator]) => {
                self.indirect(space, engine, address(lo, hi), initiator)?
            }
            (0x22, &[lo, hi, _, skip]) if word(space, address(lo & !3, hi))? == 0 => {
                return Ok((skip & 0x3fff) as usize);
            }
            (0x3f | 0x33, &[lo, hi, control]) if depth < 3 => {
                self.stream(space, engine, address(lo & !3, hi), control & 0xf_ffff, depth + 1)?;
            }
            (0x37, [control, lo, hi, data @ ..]) => {
                self.write_data(space, engine, *control, address(*lo, *hi), data)?
            }
            (0x40, &[control, ..]) if body.len() == 5 => {
                self.copy_data(space, engine, control, body)?
            }
            (0x50, _) if body.len() == 6 => self.dma(space, body)?,
            (0x43 | 0x58, &[actions, ..]) => self.caches.act(actions, space),
            (0x47, &[what, lo, hi, low, high]) => {
                self.event_actions(space, what);
                event(space, address(lo, hi), hi >> 29, (low, high))?;
            }
            (0x49, &[what, select, lo, hi, low, high]) => {
                self.event_actions(space, what);
                event(space, address(lo, hi), select >> 29, (low, high))?;
            }
            _ => *self.passed_over.entry(opcode).or_default() += 1,
        }
        Ok(0)
    }

    /// Flushes that a fence has: bit 15 or 17 the second level, 16 the vector caches.
    fn event_actions(&mut self, space: &mut Space, what: u32) {
        let second = if what & (1 << 15 | 1 << 17) != 0 { action::SECOND_LEVEL } else { 0 };
        let vector = if what & 1 << 16 != 0 { action::VECTOR } else { 0 };
        self.caches.act(second | vector, space);
    }

    fn graphics(&mut self) -> &mut Registers {
        self.graphics.get_or_insert_with(|| {
            let (context, shader) = (Box::new([0; 0x400]), Box::new([0; 0x200]));
            let mut registers = Registers { context, shader, primitive: 0 };
            clear_state(&mut registers);
            registers
        })
    }

    fn draw(&mut self, space: &mut Space, call: Call) {
        let start = Instant::now();
        self.draws += 1;
        let registers = self.graphics().clone();
        let borders =
            u64::from(registers.context[0x20]) << 8 | u64::from(registers.context[0x21]) << 40;
        let tiling = self.tiling.clone();
        let config = Config { seed: self.draws, tiling, borders, ..Config::default() };
        let result = Draw::new(registers, call, config).and_then(|mut draw| {
            let result = loop {
                match draw.run(&mut self.caches.over(space), SLICE) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done) => break Ok(()),
                    Err(stop) => break Err(stop),
                }
            };
            self.instructions += draw.count.instructions;
            self.pixels += draw.count.pixels;
            result
        });
        self.time += start.elapsed();
        if let Err(stop) = result {
            self.stopped(stop);
        }
    }

    fn set(&mut self, engine: u32, first: u32, values: &[u32]) {
        for (register, value) in (first..).zip(values) {
            match register {
                0x2c00..=0x2dff => self.graphics().shader[(register - 0x2c00) as usize] = *value,
                0xa000..=0xa3ff => self.graphics().context[(register - 0xa000) as usize] = *value,
                // VGT_PRIMITIVE_TYPE
                0xc242 => self.graphics().primitive = *value,
                // TA_CS_BC_BASE_ADDR, and its high part
                0xc380 => self.borders = self.borders & !0 << 40 | u64::from(*value) << 8,
                0xc381 => self.borders = self.borders & !(!0 << 40) | u64::from(*value) << 40,
                _ => {}
            }
        }
        let window = self.registers.entry(engine).or_insert(POWER_ON);
        for (register, value) in (first..).zip(values) {
            if let Some(slot) =
                register.checked_sub(0x2e00).and_then(|n| window.get_mut(n as usize))
            {
                *slot = *value;
            }
        }
    }

    fn indirect(
        &mut self,
        space: &mut Space,
        engine: u32,
        at: u64,
        initiator: u32,
    ) -> Result<(), Stop> {
        let dims = [word(space, at)?, word(space, at + 4)?, word(space, at + 8)?];
        self.dispatch(space, engine, dims, initiator);
        Ok(())
    }

    fn dispatch(&mut self, space: &mut Space, engine: u32, dims: [u32; 3], initiator: u32) {
        let start = Instant::now();
        self.dispatches += 1;
        let window = self.registers.entry(engine).or_insert(POWER_ON);
        let (tiling, borders) = (self.tiling.clone(), self.borders);
        let config = Config { seed: self.dispatches, tiling, borders, ..Config::default() };
        let result = Launch::new(window, dims, initiator).and_then(|launch| {
            let Some(launch) = launch else { return Ok(()) };
            if std::env::var_os("SHADER_DUMP").is_some() {
                dump(space, launch.program)?;
            }
            let mut dispatch = Dispatch::new(launch, config);
            let result = loop {
                match dispatch.run(&mut self.caches.over(space), SLICE) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done) => break Ok(()),
                    Err(stop) => break Err(stop),
                }
            };
            self.instructions += dispatch.count.instructions;
            result
        });
        self.time += start.elapsed();
        if let Err(stop) = result {
            self.stopped(stop);
        }
    }

    fn write_data(
        &mut self,
        space: &mut Space,
        engine: u32,
        control: u32,
        at: u64,
        data: &[u32],
    ) -> Result<(), Stop> {
        if control >> 8 & 15 == 0 {
            self.set(engine, at as u32 & 0xffff, data);
            return Ok(());
        }
        let bytes: Vec<u8> = data.iter().flat_map(|d| d.to_le_bytes()).collect();
        write(space, at, &bytes)
    }

    fn copy_data(
        &mut self,
        space: &mut Space,
        engine: u32,
        control: u32,
        body: &[u32],
    ) -> Result<(), Stop> {
        let (from, to) = (address(body[1], body[2]), address(body[3], body[4]));
        let wide = control >> 16 & 1 != 0;
        let clock = space.clock();
        let value = match control & 15 {
            1 | 2 => [word(space, from)?, if wide { word(space, from + 4)? } else { 0 }],
            5 => [body[1], body[2]],
            9 => [clock as u32, (clock >> 32) as u32],
            _ => [0; 2],
        };
        let value = &value[..1 + usize::from(wide)];
        match control >> 8 & 15 {
            0 => self.set(engine, to as u32 & 0xffff, value),
            _ => {
                let bytes: Vec<u8> = value.iter().flat_map(|d| d.to_le_bytes()).collect();
                write(space, to, &bytes)?;
            }
        }
        Ok(())
    }

    fn dma(&mut self, space: &mut Space, body: &[u32]) -> Result<(), Stop> {
        let (from, to) = (address(body[1], body[2]), address(body[3], body[4]));
        let len = u64::from(body[5] & 0x1f_ffff);
        let fill = body[0] >> 29 & 3 == 2;
        // Through the second level, or past it.
        if body[0] >> 29 & 3 == 3 || body[0] >> 20 & 3 == 3 {
            self.caches.act(action::SECOND_LEVEL, space);
        }
        let mut done = 0;
        while done < len && (fill || from != to) {
            let n = (len - done).min(PAGE) as usize;
            let mut bytes: Vec<u8> = body[1]
                .to_le_bytes()
                .into_iter()
                .cycle()
                .skip((done % 4) as usize)
                .take(n)
                .collect();
            if !fill {
                read(space, from + done, &mut bytes)?;
            }
            write(space, to + done, &bytes)?;
            done += n as u64;
        }
        Ok(())
    }
}

/// Data at the end of the pipe: nothing, 32 bits, 64 bits, or the clock.
fn event(space: &mut Space, at: u64, select: u32, (low, high): (u32, u32)) -> Result<(), Stop> {
    let value = u64::from(low) | u64::from(high) << 32;
    match select {
        0 => Ok(()),
        1 => write(space, at & !3, &low.to_le_bytes()),
        2 => write(space, at & !7, &value.to_le_bytes()),
        _ => {
            let now = space.clock();
            write(space, at & !7, &now.to_le_bytes())
        }
    }
}

/// Prints a program, up to its last instruction.
fn dump(space: &mut Space, start: u64) -> Result<(), Stop> {
    let mut at = start;
    loop {
        let first = word(space, at)?;
        let size = Words::size(first);
        let second = if size == 2 { word(space, at + 4)? } else { 0 };
        let line = decode(Words { first, second }).map_or_else(|why| why, |inst| text(&inst));
        eprintln!("{at:#x}: {line}");
        at += u64::from(size) * 4;
        if line == "s_endpgm" {
            return Ok(());
        }
    }
}
