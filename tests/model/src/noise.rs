// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Contents of VRAM at power-up: anything.
//!
//! VRAM is large, and the guest maps it: to fill it would cost its whole size. So one page in each
//! MiB is filled from the start, for processors that read what nobody wrote, and any other page
//! when an engine first reaches it before the host did.

use std::{
    io,
    os::fd::AsFd, //
};

use rand::{
    Rng,
    RngCore,
    SeedableRng, //
};
use rand_chacha::ChaCha8Rng;
use rustix::fs::SeekFrom;

use crate::{
    mc::PAGE,
    memory::Memory, //
};

const MIB: u64 = 1 << 20;
/// Different pages of noise.
const PAGES: u64 = 61;

/// The contents of pages that nobody wrote, and which pages somebody reached.
pub struct Noise {
    bytes: Vec<u8>,
    reached: Vec<bool>,
}

impl Noise {
    /// Noise for memory of `len` bytes.
    pub fn new(len: u64, seed: u64) -> Self {
        let mut bytes = vec![0; (PAGES * PAGE) as usize];
        ChaCha8Rng::seed_from_u64(seed ^ 0x0a11).fill_bytes(&mut bytes);
        Noise { bytes, reached: vec![false; (len / PAGE) as usize] }
    }

    /// Fills one page of each MiB of all views.
    pub fn sprinkle(&mut self, views: [&Memory; 2], seed: u64) {
        self.reached.fill(false);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5ca7);
        for start in (0..views[0].len()).step_by(MIB as usize) {
            let page = (start + rng.random_range(0..MIB / PAGE) * PAGE) / PAGE;
            self.fill(views, page);
        }
        // A driver may look for a BIOS image at the start. There is none.
        self.fill(views, 0);
        views.iter().for_each(|view| view.write(0, &[0; 2]));
    }

    /// An engine reaches a page: if nobody has before, it is filled.
    pub fn reach(&mut self, views: [&Memory; 2], page: u64) {
        if self.reached.get(page as usize) != Some(&false) {
            return;
        }
        if is_hole(views[0], page).unwrap_or(false) && is_hole(views[1], page).unwrap_or(false) {
            self.fill(views, page);
        }
        self.reached[page as usize] = true;
    }

    fn fill(&mut self, views: [&Memory; 2], page: u64) {
        let at = (page % PAGES * PAGE) as usize;
        for view in views {
            view.write(page * PAGE, &self.bytes[at..at + PAGE as usize]);
        }
        self.reached[page as usize] = true;
    }
}

/// Returns true if a page of the file was never written.
fn is_hole(memory: &Memory, page: u64) -> io::Result<bool> {
    match rustix::fs::seek(memory.fd().as_fd(), SeekFrom::Data(page * PAGE)) {
        Ok(at) => Ok(at >= (page + 1) * PAGE),
        // Nothing but a hole up to the end.
        Err(rustix::io::Errno::NXIO) => Ok(true),
        Err(e) => Err(e.into()),
    }
}
