// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VRAM and the host data path (HDP) before it.
//!
//! On hardware, what the host writes through BAR0 lies in the HDP's write cache until a flush: a
//! GPU engine that reads earlier may read the old bytes, and the new ones arrive in any order. What
//! the host reads may come from the HDP's read cache, and be older than what an engine wrote, until
//! that is invalidated. In the strict mode VRAM is two files, the host's view (BAR0) and the GPU's.
//! The host writes one; a flush carries over what differs, and a line may arrive earlier. Engines
//! write both, or the GPU's alone where the seed says that the line is in the read cache: the host
//! sees it after an invalidation, or some time later. In the direct mode, which is faster, both
//! views are one file.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    os::fd::AsFd,
    sync::Arc,
    time::{
        Duration,
        Instant, //
    }, //
};

use rand::{
    Rng,
    SeedableRng, //
};
use rand_chacha::ChaCha8Rng;
use rustix::fs::SeekFrom;

use crate::{
    mc::PAGE,
    memory::Memory,
    noise::Noise, //
};

/// Bytes that are cached together.
const LINE: u64 = 64;
/// Of larger writes of engines one line at most stays unseen.
const LARGE: u64 = 512;
/// Time after which the contents of the read cache are gone.
const STAY: Duration = Duration::from_millis(20);

/// Behavior of the host's writes, which may wait for a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hdp {
    /// The host's writes are seen by the GPU at once, and the reverse.
    #[default]
    Direct,
    /// They are seen after a flush, or some of them earlier.
    Strict,
}

/// Video memory.
pub struct Vram {
    device: Arc<Memory>,
    host: Arc<Memory>,
    mode: Hdp,
    noise: Noise,
    seed: u64,
    rng: ChaCha8Rng,
    /// Lines of which the host sees an old copy, by number, each with what the host's view held.
    read_cache: BTreeMap<u64, [u8; LINE as usize]>,
    /// Since when there are any.
    cached_since: Option<Instant>,
    /// Set if engines' writes may stay unseen.
    stale_reads: bool,
}

impl Vram {
    /// `len` bytes, of noise.
    pub fn new(len: u64, mode: Hdp, seed: u64) -> io::Result<Self> {
        let device = Arc::new(Memory::anonymous("vram", len)?);
        let host = match mode {
            Hdp::Direct => device.clone(),
            Hdp::Strict => Arc::new(Memory::anonymous("vram-host", len)?),
        };
        let mut noise = Noise::new(len, seed);
        noise.sprinkle([&device, &host], seed);
        Ok(Vram {
            device,
            host,
            mode,
            noise,
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x1dea),
            read_cache: BTreeMap::new(),
            cached_since: None,
            stale_reads: false,
        })
    }

    /// Lets engines' writes stay unseen until an invalidation, in the strict mode.
    pub fn with_stale_reads(mut self, stale_reads: bool) -> Self {
        self.stale_reads = stale_reads;
        self
    }

    /// An engine reaches the page of an offset.
    pub fn reach(&mut self, offset: u64) {
        self.noise.reach([&self.device, &self.host], offset / PAGE);
    }

    /// Forgets what was in it: there is other noise.
    pub fn lose(&mut self) -> io::Result<()> {
        self.read_cache.clear();
        self.device.discard()?;
        self.host.discard()?;
        self.seed = self.seed.wrapping_add(1);
        self.noise = Noise::new(self.device.len(), self.seed);
        self.noise.sprinkle([&self.device, &self.host], self.seed);
        Ok(())
    }

    /// The host's view: BAR0.
    pub fn host(&self) -> &Arc<Memory> {
        &self.host
    }

    /// The GPU's view.
    pub fn device(&self) -> &Arc<Memory> {
        &self.device
    }

    /// Returns true if there are two views.
    pub fn is_strict(&self) -> bool {
        self.mode == Hdp::Strict
    }

    /// An engine wrote these bytes of the GPU's view: the host sees them, or not yet.
    pub fn written(&mut self, offset: u64, len: u64) {
        if self.mode == Hdp::Direct || len == 0 {
            return;
        }
        if !self.stale_reads {
            self.see(offset, len);
            return;
        }
        let lines = offset / LINE..(offset + len).div_ceil(LINE);
        let (first, count) = (lines.start, lines.end - lines.start);
        let unseen: Vec<u64> = if len > LARGE {
            let one = first + self.rng.random_range(0..count);
            if self.rng.random_ratio(1, 8) { vec![one] } else { vec![] }
        } else {
            lines.filter(|_| self.rng.random_ratio(1, 4)).collect()
        };
        let mut from = offset;
        for line in unseen {
            let start = offset.max(line * LINE);
            let end = (offset + len).min((line + 1) * LINE);
            self.see(from, start - from);
            if !self.hide(line, start..end) {
                self.see(start, end - start);
            }
            from = end;
        }
        self.see(from, offset + len - from);
    }

    /// Leaves the host with its old copy of a line of which an engine wrote a part. Not where the
    /// host itself has written to the rest of it.
    fn hide(&mut self, line: u64, part: Range<u64>) -> bool {
        if self.read_cache.contains_key(&line) {
            return true;
        }
        let (before, after) = (line * LINE..part.start, part.end..(line + 1) * LINE);
        let dirty =
            |r: Range<u64>| self.host.differs(&self.device, r.start, (r.end - r.start) as usize);
        if dirty(before) || dirty(after) {
            return false;
        }
        let mut old = [0; LINE as usize];
        self.host.read(line * LINE, &mut old);
        self.read_cache.insert(line, old);
        self.cached_since.get_or_insert_with(Instant::now);
        true
    }

    /// The host sees these bytes.
    fn see(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let lines = offset / LINE..(offset + len).div_ceil(LINE);
        let cached: Vec<u64> = self.read_cache.range(lines).map(|(line, _)| *line).collect();
        for line in cached {
            self.refresh(line);
        }
        self.device.copy_to(offset, &self.host, offset, len as usize);
    }

    /// Drops a line from the read cache. What the host wrote there stays, to be flushed.
    fn refresh(&mut self, line: u64) {
        let Some(old) = self.read_cache.remove(&line) else { return };
        for (i, old) in words(&old) {
            let at = line * LINE + i;
            if self.host.read_u32(at) == old {
                self.host.write_u32(at, self.device.read_u32(at));
            }
        }
    }

    /// Drops the read cache.
    pub fn invalidate(&mut self) {
        while let Some(line) = self.read_cache.keys().next().copied() {
            self.refresh(line);
        }
        self.cached_since = None;
    }

    /// Drops old bytes that the host has seen for long enough. Returns true if it may still see
    /// some.
    pub fn age(&mut self) -> bool {
        if self.cached_since.is_some_and(|t| t.elapsed() > STAY) {
            self.invalidate();
        }
        self.cached_since.is_some()
    }

    /// Carries the host's writes over.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.mode == Hdp::Direct {
            return Ok(());
        }
        let cached: Vec<u64> = self.read_cache.keys().copied().collect();
        for line in &cached {
            self.flush_cached(*line);
        }
        // Only what the host ever touched is in its file.
        let file = self.host.fd();
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
            let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(start))?;
            let mut from = start & !7;
            for line in
                self.read_cache.range(from / LINE..end.div_ceil(LINE)).map(|(line, _)| *line)
            {
                self.host.copy_changed(&self.device, from, (line * LINE).saturating_sub(from));
                from = (line + 1) * LINE;
            }
            self.host.copy_changed(&self.device, from, end.saturating_sub(from) & !7);
            at = end;
        }
        Ok(())
    }

    /// Carries over what the host wrote to a line of which it sees an old copy.
    fn flush_cached(&mut self, line: u64) {
        let Some(old) = self.read_cache.get_mut(&line) else { return };
        let mut now = [0; LINE as usize];
        self.host.read(line * LINE, &mut now);
        for ((i, old), (_, now)) in words(old).zip(words(&now)) {
            if old != now {
                self.device.write_u32(line * LINE + i, now);
            }
        }
        *old = now;
    }

    /// Lets the line of an offset arrive early, if the host wrote it and the seed says so.
    pub fn arrive(&mut self, offset: u64) {
        let start = offset & !(LINE - 1);
        if self.unflushed(start, LINE as usize) && self.rng.random() {
            if self.read_cache.contains_key(&(start / LINE)) {
                self.flush_cached(start / LINE);
            } else {
                self.host.copy_changed(&self.device, start, LINE);
            }
        }
    }

    /// Returns true if the host wrote any of these bytes since the last flush.
    pub fn unflushed(&self, offset: u64, len: usize) -> bool {
        if self.mode == Hdp::Direct {
            return false;
        }
        let end = offset + len as u64;
        let mut from = offset;
        for (line, old) in self.read_cache.range(offset / LINE..end.div_ceil(LINE)) {
            let start = line * LINE;
            if start > from && self.host.differs(&self.device, from, (start - from) as usize) {
                return true;
            }
            let (first, last) = (offset.max(start), end.min(start + LINE));
            let mut now = vec![0; (last - first) as usize];
            self.host.read(first, &mut now);
            if now != old[(first - start) as usize..(last - start) as usize] {
                return true;
            }
            from = last;
        }
        from < end && self.host.differs(&self.device, from, (end - from) as usize)
    }
}

/// The dwords of a line, each with its offset.
fn words(line: &[u8; LINE as usize]) -> impl Iterator<Item = (u64, u32)> + '_ {
    (0..).step_by(4).zip(line.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vram(mode: Hdp, seed: u64) -> Vram {
        Vram::new(1 << 20, mode, seed).unwrap().with_stale_reads(true)
    }

    #[test]
    fn the_host_is_seen_after_the_flush_only() {
        let mut v = vram(Hdp::Strict, 0);
        let before = v.device().read_u32(0x8004);
        v.host().write_u32(0x8004, 7);
        assert_eq!(v.device().read_u32(0x8004), before);
        assert_ne!(before, 7);
        assert!(v.unflushed(0x8000, 8));
        v.flush().unwrap();
        assert_eq!(v.device().read_u32(0x8004), 7);
        assert!(!v.unflushed(0x8000, 8));
    }

    #[test]
    fn a_line_may_arrive_before_another_that_was_written_first() {
        let order = |seed| {
            let mut v = vram(Hdp::Strict, seed);
            v.host().write_u64(0x8000, 7);
            v.host().write_u64(0x8040, 8);
            v.arrive(0x8000);
            v.arrive(0x8040);
            (v.device().read_u64(0x8000) == 7, v.device().read_u64(0x8040) == 8)
        };
        let seen: std::collections::BTreeSet<_> = (0..32).map(order).collect();
        assert_eq!(seen.len(), 4, "none, one, the other, both");
    }

    /// An engine writes a dword; true if the host does not see it.
    fn engine_writes(v: &mut Vram, at: u64, value: u32) -> bool {
        v.reach(at);
        v.device().write_u32(at, value);
        v.written(at, 4);
        v.host().read_u32(at) != value
    }

    #[test]
    fn the_host_may_see_old_bytes_until_the_invalidation() {
        let mut unseen = 0;
        for seed in 0..32 {
            let mut v = vram(Hdp::Strict, seed);
            unseen += u32::from(engine_writes(&mut v, 0x8000, 9));
            // It is no write of the host's, and is not undone by a flush.
            assert!(!v.unflushed(0x8000, 64));
            v.flush().unwrap();
            assert_eq!(v.device().read_u32(0x8000), 9);
            // What the host writes to the same line is carried over.
            v.host().write_u32(0x8008, 5);
            assert!(v.unflushed(0x8000, 64) && !v.unflushed(0x8000, 8));
            v.flush().unwrap();
            assert_eq!((v.device().read_u32(0x8000), v.device().read_u32(0x8008)), (9, 5));
            v.host().write_u32(0x800c, 6);
            v.invalidate();
            assert_eq!((v.host().read_u32(0x8000), v.host().read_u32(0x800c)), (9, 6));
            v.flush().unwrap();
            assert_eq!(v.device().read_u32(0x800c), 6);
        }
        assert!((1..32).contains(&unseen), "{unseen} of 32 unseen");
    }

    #[test]
    fn the_read_cache_does_not_hold_for_ever() {
        let mut v = vram(Hdp::Strict, 0);
        for n in 0..64 {
            engine_writes(&mut v, 0x8000 + n * LINE, 1 + n as u32);
        }
        assert!(v.age());
        std::thread::sleep(STAY + Duration::from_millis(1));
        assert!(!v.age());
        assert!((0..64).all(|n| v.host().read_u32(0x8000 + n * LINE) == 1 + n as u32));
    }

    #[test]
    fn what_nobody_wrote_is_noise_once_an_engine_reaches_it() {
        let mut v = Vram::new(4 << 20, Hdp::Strict, 1).unwrap();
        v.host().write_u64(0x9000, 5);
        let noisy = |v: &mut Vram, at: u64| {
            v.reach(at);
            (v.device().read_u64(at), v.host().read_u64(at))
        };
        let zeros = (0..1024).filter(|page| noisy(&mut v, page * 4096).0 == 0).collect::<Vec<_>>();
        assert_eq!(zeros, [9], "only what the host wrote, and did not flush");
        let (device, host) = noisy(&mut v, 0x5000);
        assert!(device == host && !v.unflushed(0x5000, 4096));
        v.device().write_u64(0x5000, 6);
        v.lose().unwrap();
        assert!(!matches!(noisy(&mut v, 0x5000).0, 0 | 6));
    }

    #[test]
    fn direct_memory_is_one() {
        let v = vram(Hdp::Direct, 0);
        v.host().write_u32(4, 7);
        assert_eq!(v.device().read_u32(4), 7);
        assert!(!v.is_strict());
    }
}
