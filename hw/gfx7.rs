// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sea Islands (the C driver's CIK: `cik.c`, `gfx_v7_0.c`): Bonaire, and Hawaii to come.

mod clear_state;
mod clock_gating;
mod cp;
mod gfx;
mod gmc;
mod golden;
mod ih;
mod mec;
mod picture;
mod pm4;
mod readable;
#[cfg(CONFIG_KUNIT = "y")]
mod recorder;
mod regs;
mod rlc;
mod sdma;
mod sdma_packet;
mod shaders;
#[cfg(CONFIG_KUNIT = "y")]
mod submissions;
mod system;
mod tiling;

use kernel::dma::DmaMask;

use super::{
    Chip,
    EngineFacts,
    Link, //
};
use crate::{
    bindings,
    hw::{
        command::{
            RingId,
            RING_MASK, //
        },
        firmware::Names,
        page_table::PAGE_SHIFT, //
    },
};

/// Returns the place in its ring of the dword at `position`.
const fn place(position: u64) -> u32 {
    low(position) & RING_MASK
}

/// Returns the lower half of an address, as registers and packets take it.
const fn low(addr: u64) -> u32 {
    // CAST: Only the lower half is wanted.
    addr as u32
}

/// Returns the upper half of an address, as registers and packets take it.
const fn high(addr: u64) -> u32 {
    low(addr >> 32)
}

/// Returns the number of the page of an address. Addresses have 40 bits.
const fn page_number(addr: u64) -> u32 {
    low(addr >> PAGE_SHIFT)
}

pub(super) static BONAIRE: Chip = Chip {
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
    rings: &RINGS,
    gfx: EngineFacts {
        driver: &gfx::Gfx,
        version: (7, 2),
        ib_alignment: 32,
        ib_size_alignment: 32,
    },
    compute: EngineFacts {
        driver: &mec::Mec,
        version: (7, 2),
        ib_alignment: 32,
        ib_size_alignment: 32,
    },
    sdma: EngineFacts {
        driver: &sdma::Sdma,
        version: (2, 0),
        ib_alignment: 256,
        ib_size_alignment: 4,
    },
    scratch: mec::SCRATCH,
    vmids: 16,
    dma_mask: DmaMask::new::<40>(),
    family: bindings::AMDGPU_FAMILY_CI,
    link: Link {
        generation: 3,
        lanes: 16,
    },
    wave_size: 64,
    constant_ram: 32 << 10,
};

const RINGS: [RingId; 11] = [
    RingId::Gfx,
    RingId::Compute(0),
    RingId::Compute(1),
    RingId::Compute(2),
    RingId::Compute(3),
    RingId::Compute(4),
    RingId::Compute(5),
    RingId::Compute(6),
    RingId::Compute(7),
    RingId::Sdma(0),
    RingId::Sdma(1),
];
