// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sea Islands: Bonaire, and Hawaii to come.

mod clear_state;
mod gfx;
mod gmc;
mod golden;
mod ih;
mod mec;
mod pm4;
pub(crate) mod pte;
mod readable;
mod regs;
mod rlc;
mod sdma;
mod sdma_packet;
mod shaders;
mod system;
mod tiling;

pub(crate) use mec::ComputeMemory;

use super::{Generation, IpVersions};
use crate::firmware::Names;

pub(super) static BONAIRE: Generation = Generation {
    firmware: Names {
        mc: c"amdgpu/bonaire_mc.bin",
        rlc: c"amdgpu/bonaire_rlc.bin",
        pfp: c"amdgpu/bonaire_pfp.bin",
        me: c"amdgpu/bonaire_me.bin",
        ce: c"amdgpu/bonaire_ce.bin",
        mec: c"amdgpu/bonaire_mec.bin",
        sdma: [c"amdgpu/bonaire_sdma.bin", c"amdgpu/bonaire_sdma1.bin"],
    },
    system: &system::Bonaire,
    memory: &gmc::Gmc,
    interrupts: &ih::Ih,
    graphics: &shaders::Bonaire,
    versions: IpVersions {
        graphics: (7, 2),
        sdma: (2, 0),
    },
    gfx: &gfx::Gfx,
    compute: &mec::Mec,
    sdma: &sdma::Sdma,
    mover: &sdma::Sdma,
};
