// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VRAM and the host data path (HDP) before it.
//!
//! On hardware, what the host writes through BAR0 lies in the HDP's write cache until a flush: a
//! GPU engine that reads earlier may read the old bytes. In the strict mode VRAM is two files, the
//! host's view (BAR0) and the GPU's: engines write both, the host writes one, and a flush carries
//! over what differs. In the direct mode, which is faster, both views are one file.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::SeekFrom;

use crate::mc::PAGE;
use crate::memory::Memory;
use crate::noise::Noise;

/// Whether the host's writes wait for a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hdp {
    /// The host's writes are seen by the GPU at once.
    #[default]
    Direct,
    /// They are seen after a flush, never earlier.
    Strict,
}

/// Video memory.
pub struct Vram {
    device: Arc<Memory>,
    host: Arc<Memory>,
    mode: Hdp,
    noise: Noise,
    seed: u64,
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
        Ok(Vram { device, host, mode, noise, seed })
    }

    /// An engine reaches the page of an offset.
    pub fn reach(&mut self, offset: u64) {
        self.noise.reach([&self.device, &self.host], offset / PAGE);
    }

    /// Forgets what was in it: there is other noise.
    pub fn lose(&mut self) -> io::Result<()> {
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

    /// Where an engine's write goes besides the GPU's view.
    pub fn mirror(&self) -> Option<Arc<Memory>> {
        match self.mode {
            Hdp::Direct => None,
            Hdp::Strict => Some(self.host.clone()),
        }
    }

    /// Carries the host's writes over.
    pub fn flush(&self) -> io::Result<()> {
        if self.mode == Hdp::Direct {
            return Ok(());
        }
        // Only what the host ever touched is in its file.
        let file = self.host.fd();
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
            let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(start))?;
            self.host.copy_changed(&self.device, start & !7, (end - (start & !7)) & !7);
            at = end;
        }
        Ok(())
    }

    /// Whether the host wrote any of these bytes since the last flush.
    pub fn unflushed(&self, offset: u64, len: usize) -> bool {
        self.mode == Hdp::Strict && self.host.differs(&self.device, offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_seen_after_the_flush_only() {
        let v = Vram::new(1 << 20, Hdp::Strict, 0).unwrap();
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
        let v = Vram::new(1 << 20, Hdp::Direct, 0).unwrap();
        v.host().write_u32(4, 7);
        assert_eq!(v.device().read_u32(4), 7);
        assert!(v.mirror().is_none());
    }
}
