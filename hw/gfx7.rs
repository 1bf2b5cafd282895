// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sea Islands (the C driver's CIK: `cik.c`, `gfx_v7_0.c`): Bonaire and Hawaii.

mod bonaire;
mod clear_state;
mod clock_gating;
mod cp;
mod decode;
mod dispatch;
mod gfx;
mod gmc;
mod golden;
mod hawaii;
mod ih;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod inputs;
mod mec;
mod mqd;
mod on_chip;
mod page_table;
mod picture;
mod pm4;
mod raster;
mod readable;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod recorder;
mod regs;
mod rlc;
mod sdma;
mod sdma_packet;
mod shaders;
mod smc;
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod submissions;
mod survey;
mod system;
mod tiling;

pub(super) use self::{
    bonaire::BONAIRE,
    hawaii::HAWAII, //
};

use kernel::dma::DmaMask;

use self::{
    golden::Golden,
    tiling::Tile, //
};

use super::{
    Chip,
    EngineFacts, //
};
use crate::{
    abstractions::pci::Link,
    bindings,
    hw::{
        command::{
            Block,
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

/// Facts that differ between the chips of this generation.
struct Parts {
    name: &'static str,
    firmware: Names,
    /// Major and minor version of the graphics engine.
    version: (u32, u32),
    /// Derives the revision that user space sees from that of the chip.
    external_revision: fn(u32) -> u32,
    /// Tables of golden registers, in the order in which they are programmed.
    golden: &'static [&'static [Golden]],
    /// Number of shader engines, of one array each.
    shader_engines: u32,
    units_per_array: u32,
    backends_per_engine: u32,
    texture_caches: u32,
    /// `GB_ADDR_CONFIG`, without the size of a memory row.
    address_config: u32,
    /// Distribution of screen tiles where all render backends work.
    raster: raster::Config,
    tiles: [Tile; 32],
    macrotiles: [u32; 16],
    /// Set if the shaders' memories may enter light sleep (the C driver's CGTS_LS).
    shader_light_sleep: bool,
    /// Set if there is a `CP_SEM_INCOMPLETE_TIMER_CNTL`.
    has_semaphore_timer: bool,
    /// Set if there is an `RLC_DRIVER_CPDMA_STATUS`.
    has_copy_status: bool,
}

/// All chips of this generation.
#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
static CHIPS: [&Parts; 2] = [&bonaire::PARTS, &hawaii::PARTS];

/// Returns a chip of this generation. `gfx` is its graphics engine.
const fn chip(parts: &'static Parts, gfx: &'static gfx::Gfx) -> Chip {
    Chip {
        name: parts.name,
        firmware: parts.firmware,
        system: parts,
        memory: &gmc::Gmc,
        interrupts: &ih::Ih,
        graphics: parts,
        rings: &RINGS,
        blocks: &[Block::Graphics, Block::Sdma(0), Block::Sdma(1)],
        gfx: EngineFacts {
            driver: gfx,
            version: parts.version,
            ib_alignment: 32,
            ib_size_alignment: 32,
        },
        compute: EngineFacts {
            driver: &mec::Mec,
            version: parts.version,
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
        dma_mask: DmaMask::new::<{ page_table::FORMAT.address_bits() }>(),
        format: &page_table::FORMAT,
        family: bindings::AMDGPU_FAMILY_CI,
        link: Link {
            generation: 3,
            lanes: 16,
        },
        wave_size: 64,
        vector_registers: 256,
        has_double_offchip_buffers: true,
        constant_ram: 32 << 10,
    }
}

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
