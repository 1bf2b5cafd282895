// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of memory, for a card that nobody has run before. Each counts the locations that do not
//! hold what was written.
//!
//! The C driver has no such test.
//!
//! Run at probe only, before anything is allocated in VRAM.

use core::ops::Range;

use kernel::{
    device::{
        self,
        Bound, //
    },
    fmt,
    prelude::*,
    sizes::SizeConstants, //
};

use crate::{
    debug::report::Report,
    device::Device,
    exec::{
        gart::KernelBuffer,
        ring::Ring, //
    },
    hw::{
        card::Card,
        command::{
            Commands,
            EngineKind,
            Fill, //
        }, //
    },
};

/// Bytes that are filled and compared at a time.
const CHUNK: usize = 256 << 10;

/// Tests VRAM as the CPU sees it: at the start and the end of what is free, and at each power of
/// two, where a wrong size or window shows as an alias.
pub(crate) fn by_cpu(device: &Device, card: &Card<'_>, report: &Report) {
    let free = free(device);
    let places = || {
        let powers = (12..40).map(|shift| 1 << shift);
        let places = powers.filter(|at| free.contains(at));
        Iterator::chain(places, [free.start, free.end - 8])
    };
    let mut wrong = 0;
    for flip in [0, !0] {
        for at in places() {
            card.vram().write64(at, at ^ flip);
        }
        device.hw.memory.flush_hdp(card);
        device.hw.memory.invalidate_hdp(card);
        wrong += places()
            .filter(|at| card.vram().read64(*at) != at ^ flip)
            .count();
    }
    report.say(
        fmt!("memory.cpu"),
        fmt!("{wrong} wrong of {}", 2 * places().count()),
    );
}

/// Has each DMA engine that works fill `mib` MiB of VRAM, and as much of system memory, and
/// compares.
pub(crate) fn by_engines(
    device: &Device,
    dev: &device::Device<Bound>,
    mib: u32,
    report: &Report,
) -> Result {
    let card = device.card.access(dev)?;
    let system = KernelBuffer::new(dev, &device.gart, CHUNK)?;
    let mut seen = KVec::from_elem(0, CHUNK, GFP_KERNEL)?;
    let bytes = u64::from(mib) * u64::SZ_1M;
    let mut reachable = false;
    for ring in device.rings().filter(|ring| is_tested(ring)) {
        let name = ring.kind.name();
        let vram = in_vram(device, card, ring, bytes, &mut seen);
        say(report, fmt!("memory.{name}.vram"), vram);
        let filled = in_system(ring, &system, bytes);
        reachable |= filled.is_err();
        say(report, fmt!("memory.{name}.system"), filled);
    }
    if reachable {
        // An engine that did not finish may do so yet.
        device.abandon(system);
    }
    Ok(())
}

fn is_tested(ring: &Ring) -> bool {
    ring.kind.engine() == EngineKind::Sdma && !ring.is_left_out()
}

fn say(report: &Report, key: fmt::Arguments<'_>, wrong: Result<(u64, u64)>) {
    match wrong {
        Ok((wrong, all)) => report.say(key, fmt!("{wrong} wrong of {all}")),
        Err(error) => report.say(key, fmt!("{error:?}")),
    }
}

/// Returns how many dwords of VRAM are wrong, and how many were tested.
fn in_vram(
    device: &Device,
    card: &Card<'_>,
    ring: &Ring,
    bytes: u64,
    seen: &mut [u8],
) -> Result<(u64, u64)> {
    let free = free(device);
    let mut wrong = 0;
    let chunks = (bytes.min(free.end - free.start) / CHUNK as u64).max(1);
    for n in 0..chunks {
        let at = free.start + n * CHUNK as u64;
        let value = pattern(n);
        fill(ring, device.facts.vram.mc_addr(at), value)?;
        device.hw.memory.invalidate_hdp(card);
        card.vram().read_bytes(at, seen);
        let dwords = seen.chunks_exact(size_of::<u32>());
        wrong += dwords
            .filter(|dword| **dword != value.to_le_bytes())
            .count() as u64;
    }
    Ok((wrong, chunks * DWORDS))
}

/// Returns how many dwords of system memory are wrong, and how many were tested.
fn in_system(ring: &Ring, memory: &KernelBuffer, bytes: u64) -> Result<(u64, u64)> {
    let mut wrong = 0;
    let chunks = (bytes / CHUNK as u64).max(1);
    for n in 0..chunks {
        let value = pattern(!n);
        fill(ring, memory.gpu_addr(), value)?;
        // CAST: The kernel is a 64-bit one.
        let dwords = 0..DWORDS as usize;
        wrong += dwords
            .filter(|dword| memory.read(*dword) != Some(value))
            .count() as u64;
    }
    Ok((wrong, chunks * DWORDS))
}

const DWORDS: u64 = (CHUNK / size_of::<u32>()) as u64;

fn fill(ring: &Ring, addr: u64, value: u32) -> Result {
    ring.execute(Commands::Fill(Fill {
        addr,
        bytes: CHUNK as u64,
        value,
    }))
}

/// Returns a value that differs from chunk to chunk in many bits.
fn pattern(n: u64) -> u32 {
    // CAST: The lower half will do.
    (n as u32).wrapping_add(1).wrapping_mul(0x9e37_79b9)
}

/// Returns the part of VRAM that holds nothing yet, and that the CPU can access.
fn free(device: &Device) -> Range<u64> {
    let vram = &device.facts.vram;
    vram.picture.next_multiple_of(u64::SZ_4K)..vram.reserved().start
}
