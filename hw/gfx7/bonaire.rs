// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bonaire: Radeon HD 7790, R7 260, R7 360 and FirePro W5100.
//!
//! The C driver's `CHIP_BONAIRE`.

use super::{
    chip,
    gfx::Gfx,
    golden::{
        Golden,
        BLOCK_CLOCKS,
        BROADCAST,
        BUS_CLOCKS, //
    },
    raster,
    tiling::{
        macrotile,
        tile,
        ArrayMode::*,
        Micro::*,
        Split::*,
        Tile, //
    },
    Parts, //
};
use crate::hw::{
    firmware::Names,
    Chip, //
};

/// Distribution of tiles over four pipes: `ADDR_SURF_P4_16x16`.
const PIPES: u32 = 5;

pub(in crate::hw) static BONAIRE: Chip = chip(&PARTS, &GFX);

static GFX: Gfx = Gfx(&PARTS);

pub(super) static PARTS: Parts = Parts {
    name: "Bonaire",
    firmware: Names {
        mc: c"amdgpu/bonaire_mc.bin",
        rlc: c"amdgpu/bonaire_rlc.bin",
        pfp: c"amdgpu/bonaire_pfp.bin",
        me: c"amdgpu/bonaire_me.bin",
        ce: c"amdgpu/bonaire_ce.bin",
        mec: c"amdgpu/bonaire_mec.bin",
        sdma: [c"amdgpu/bonaire_sdma.bin", c"amdgpu/bonaire_sdma1.bin"],
    },
    version: (7, 2),
    external_revision: |internal| internal + 0x14,
    golden: &[
        CLOCK_GATING,
        BLOCK_CLOCKS,
        UNIT_CLOCK_GATING,
        BUS_CLOCKS,
        REGISTERS,
        COMMON,
        BROADCAST,
    ],
    shader_engines: 2,
    units_per_array: 7,
    backends_per_engine: 2,
    texture_caches: 4,
    address_config: 0x1201_0001,
    raster: raster::Config {
        // RB_MAP_PKR0 = 2, RB_XSEL2 = 1, SE_MAP = 2, SE_XSEL = 1, SE_YSEL = 1.
        config: 2 | 1 << 4 | 2 << 24 | 1 << 26 | 1 << 28,
        config_1: 0,
    },
    tiles: TILES,
    macrotiles: MACROTILES,
    shader_light_sleep: true,
    has_semaphore_timer: true,
    has_copy_status: true,
};

const TILES: [Tile; 32] = [
    tile(Thin2D, PIPES, Depth, Bytes(64)),
    tile(Thin2D, PIPES, Depth, Bytes(128)),
    tile(Thin2D, PIPES, Depth, Bytes(256)),
    tile(Thin2D, PIPES, Depth, Bytes(512)),
    tile(Thin2D, PIPES, Depth, Row),
    tile(Thin1D, PIPES, Depth, Samples(1)),
    tile(ThinPrt, PIPES, Depth, Row),
    Tile::UNUSED_BUT_ROW,
    tile(LinearAligned, PIPES, Display, Samples(1)),
    tile(Thin1D, PIPES, Display, Samples(1)),
    tile(Thin2D, PIPES, Display, Samples(2)),
    tile(ThinPrt, PIPES, Display, Samples(8)),
    Tile::UNUSED_BUT_ROW,
    tile(Thin1D, PIPES, Thin, Samples(1)),
    tile(Thin2D, PIPES, Thin, Samples(2)),
    tile(Thin3D, PIPES, Thin, Samples(2)),
    tile(ThinPrt, PIPES, Thin, Samples(8)),
    Tile::UNUSED_BUT_ROW,
    tile(Thick1D, PIPES, Thin, Samples(1)),
    tile(Thick1D, PIPES, Thin, Samples(1)),
    tile(Thick2D, PIPES, Thin, Samples(1)),
    tile(Thick3D, PIPES, Thin, Samples(1)),
    tile(ThickPrt, PIPES, Thin, Samples(1)),
    Tile::UNUSED_BUT_ROW,
    tile(Thick2D, PIPES, Thin, Samples(1)),
    tile(XThick2D, PIPES, Thin, Samples(1)),
    tile(XThick3D, PIPES, Thin, Samples(1)),
    tile(Thin1D, PIPES, Rotated, Samples(1)),
    tile(Thin2D, PIPES, Rotated, Samples(2)),
    tile(ThinPrt, PIPES, Rotated, Samples(8)),
    Tile::UNUSED_BUT_ROW,
    Tile::UNUSED,
];

/// Number 7, and its counterpart 15, are not used.
const MACROTILES: [u32; 16] = [
    macrotile(1, 4, 4, 16),
    macrotile(1, 2, 4, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 8),
    macrotile(1, 1, 1, 4),
    0,
    macrotile(2, 8, 4, 16),
    macrotile(2, 4, 4, 16),
    macrotile(1, 4, 4, 16),
    macrotile(1, 2, 4, 16),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 8),
    macrotile(1, 1, 1, 4),
    0,
];

/// Clock gating.
#[rustfmt::skip]
static CLOCK_GATING: &[Golden] = &[
    Golden(0x3108, !0, 0xffff_fffc), // RLC_CGTT_MGCG_OVERRIDE
    Golden(0xc200, !0, 0xe000_0000), // GRBM_GFX_INDEX
    Golden(0xf0a8, !0, 0x0000_0100), // CB_CGTT_SCLK_CTRL
    Golden(0xf082, !0, 0x0000_0100), // CGTT_BCI_CLK_CTRL
    Golden(0xf0b0, !0, 0xc000_0100), // CGTT_CP_CLK_CTRL
    Golden(0xf0b2, !0, 0xc000_0100), // CGTT_CPC_CLK_CTRL
    Golden(0xf0b1, !0, 0xc000_0100), // CGTT_CPF_CLK_CTRL
    Golden(0x1579, !0, 0x0060_0100), // CGTT_DRM_CLK_CTRL0
];

/// Clock gating of compute units, all in one.
#[rustfmt::skip]
static UNIT_CLOCK_GATING: &[Golden] = &[
    Golden(0xf000, !0, 0x96e0_0200), // CGTS_SM_CTRL_REG
];

/// Values of the chip as a whole.
#[rustfmt::skip]
static REGISTERS: &[Golden] = &[
    Golden(0x0cd5, 0x0000_0333, 0x0000_0333), // ATC_L2_CNTL
    Golden(0x0cd4, 0x000c_0fc0, 0x0004_0200), // ATC_MISC_CG
    Golden(0x2684, 0x0001_0000, 0x0005_8208), // CB_HW_CONTROL
    Golden(0xf000, 0xffff_1fff, 0x0014_0000), // CGTS_SM_CTRL_REG
    Golden(0xf080, 0xfdfc_0fff, 0x0000_0100), // CGTT_SPI_CLK_CTRL
    Golden(0xf08d, 0x4000_0000, 0x4000_0200), // CGTT_SQG_CLK_CTRL
    Golden(0x260c, !0, 0x0000_0000), // DB_DEBUG
    Golden(0x260d, 0xf00f_ffff, 0x0000_0400), // DB_DEBUG2
    Golden(0x260e, 0x0002_021c, 0x0002_0200), // DB_DEBUG3
    Golden(0x031e, 0x0000_0080, 0x0000_0000), // DCI_CLK_CNTL
    Golden(0x16ec, 0x0000_00f0, 0x0000_0070), // FBC_DEBUG_COMP
    Golden(0x16f0, 0xf031_1fff, 0x8030_0000), // FBC_MISC
    Golden(0x263e, 0x7377_3777, 0x1201_0001), // GB_ADDR_CONFIG
    Golden(0x0d43, 0x0081_0000, 0x408a_f000), // GMCON_MISC
    Golden(0x1c0c, 0x3100_0111, 0x0000_0011), // HDMI_CONTROL
    Golden(0x0bd2, 0x7377_3777, 0x1201_0001), // HDP_ADDR_CONFIG
    Golden(0x0883, 0x0000_7fb6, 0x0021_a1b1), // MC_HUB_RDREQ_ACPG
    Golden(0x0884, 0x0000_7fb6, 0x0020_21b1), // MC_HUB_RDREQ_ACPO
    Golden(0x0860, 0x0000_7fb6, 0x0000_2191), // MC_HUB_RDREQ_UMC
    Golden(0x0886, 0x0000_7fb6, 0x0021_21b1), // MC_HUB_WDP_ACPG
    Golden(0x0887, 0x0000_7fb6, 0x0020_21b1), // MC_HUB_WDP_ACPO
    Golden(0x0877, 0x0000_7fb6, 0x0000_2191), // MC_HUB_WDP_UMC
    Golden(0x0878, 0x0000_7fb6, 0x0000_2191), // MC_HUB_WDP_UVD
    Golden(0x0d8a, 0x0000_003f, 0x0000_000a), // MC_SEQ_PMG_DVS_CTL
    Golden(0x0d8b, 0x0000_003f, 0x0000_000a), // MC_SEQ_PMG_DVS_CTL_LP
    Golden(0x0ab9, 0x0007_3ffe, 0x0000_22a2), // MC_SEQ_PMG_PG_HWCNTL
    Golden(0x0903, 0x0000_07ff, 0x0000_0000), // MC_XPB_P2P_BAR_CFG
    Golden(0x2285, 0xf000_003f, 0x0000_0007), // PA_CL_ENHANCE
    Golden(0x22fc, 0x0000_2001, 0x0000_0001), // PA_SC_ENHANCE
    Golden(0x22c9, !0, 0x00ff_ffff), // PA_SC_FORCE_EOV_MAX_CNTS
    Golden(0xc281, 0x0000_ff0f, 0x0000_0000), // PA_SC_LINE_STIPPLE_STATE
    Golden(0xa293, 0x07ff_ffff, 0x0600_0000), // PA_SC_MODE_CNTL_1
    Golden(0x0136, 0x0000_0fff, 0x0000_0100), // SCLK_CGTT_BLK_CTRL_REG
    Golden(0x0f9e, 0x0000_0001, 0x0000_0002), // SEM_CHICKEN_BITS
    Golden(0x2440, 0x0300_0000, 0x0362_c688), // SPI_CONFIG_CNTL
    Golden(0x2300, 0x0000_00ff, 0x0000_0001), // SQ_CONFIG
    Golden(0x0390, 0x0000_1fff, 0x0000_1fff), // SRBM_CNTL
    Golden(0x2418, 0x0000_007f, 0x0000_0020), // SX_DEBUG_1
    Golden(0x2542, 0x0001_0000, 0x0001_0000), // TA_CNTL_AUX
    Golden(0x2b05, 0x0000_03ff, 0x0000_00f3), // TCP_ADDR_CONFIG
    Golden(0x2b03, !0, 0x0000_1032), // TCP_CHAN_STEER_LO
];

/// Shader processor input.
#[rustfmt::skip]
static COMMON: &[Golden] = &[
    Golden(0x31dc, !0, 0x0000_0800), // SPI_RESOURCE_RESERVE_CU_0
    Golden(0x31dd, !0, 0x0000_0800), // SPI_RESOURCE_RESERVE_CU_1
    Golden(0x31e6, !0, 0x0000_7fbf), // SPI_RESOURCE_RESERVE_EN_CU_0
    Golden(0x31e7, !0, 0x0000_7faf), // SPI_RESOURCE_RESERVE_EN_CU_1
];
