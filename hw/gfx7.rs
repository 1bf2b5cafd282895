// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sea Islands: Bonaire, and Hawaii to come.

mod gfx;
mod gmc;
mod mec;
mod pm4;
pub(crate) mod pte;
mod regs;
mod sdma;
mod sdma_packet;

use super::Generation;

pub(super) static GENERATION: Generation = Generation {
    memory: &gmc::Gmc,
    gfx: &gfx::Gfx,
    compute: &mec::Mec,
    sdma: &sdma::Sdma,
    mover: &sdma::Sdma,
};
