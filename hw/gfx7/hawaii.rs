// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Hawaii: Radeon R9 290 and 390, FirePro W8100 and W9100.
//!
//! The C driver's `CHIP_HAWAII`.

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

/// Distribution of tiles over sixteen pipes: `ADDR_SURF_P16_32x32_16x16`.
const PIPES: u32 = 0x11;
/// Distribution over four pipes: `ADDR_SURF_P4_16x16`, for textures that are mapped in part.
const FOUR_PIPES: u32 = 5;

pub(in crate::hw) static HAWAII: Chip = chip(&PARTS, &GFX);

static GFX: Gfx = Gfx(&PARTS);

pub(super) static PARTS: Parts = Parts {
    name: "Hawaii",
    firmware: Names {
        mc: c"amdgpu/hawaii_mc.bin",
        rlc: c"amdgpu/hawaii_rlc.bin",
        pfp: c"amdgpu/hawaii_pfp.bin",
        me: c"amdgpu/hawaii_me.bin",
        ce: c"amdgpu/hawaii_ce.bin",
        mec: c"amdgpu/hawaii_mec.bin",
        sdma: [c"amdgpu/hawaii_sdma.bin", c"amdgpu/hawaii_sdma1.bin"],
    },
    version: (7, 3),
    external_revision: |_| 0x28,
    golden: &[
        CLOCK_GATING,
        BLOCK_CLOCKS,
        UNIT_CLOCK_GATING,
        BUS_CLOCKS,
        REGISTERS,
        COMMON,
        BROADCAST,
    ],
    shader_engines: 4,
    units_per_array: 11,
    backends_per_engine: 4,
    texture_caches: 16,
    address_config: 0x1201_1003,
    raster: raster::Config {
        // RB_MAP_PKR0 = 2, RB_MAP_PKR1 = 2, RB_XSEL2 = 1, PKR_MAP = 2, PKR_XSEL = 1, PKR_YSEL = 1,
        // SE_MAP = 2, SE_XSEL = 2, SE_YSEL = 3.
        config: 2 | 2 << 2 | 1 << 4 | 2 << 8 | 1 << 10 | 1 << 12 | 2 << 24 | 2 << 26 | 3 << 28,
        // SE_PAIR_MAP = 2, SE_PAIR_XSEL = 3, SE_PAIR_YSEL = 2.
        config_1: 2 | 3 << 2 | 2 << 4,
    },
    tiles: TILES,
    macrotiles: MACROTILES,
    shader_light_sleep: false,
    has_semaphore_timer: false,
    has_copy_status: false,
};

const TILES: [Tile; 32] = [
    tile(Thin2D, PIPES, Depth, Bytes(64)),
    tile(Thin2D, PIPES, Depth, Bytes(128)),
    tile(Thin2D, PIPES, Depth, Bytes(256)),
    tile(Thin2D, PIPES, Depth, Bytes(512)),
    tile(Thin2D, PIPES, Depth, Row),
    tile(Thin1D, PIPES, Depth, Row),
    tile(ThinPrt, PIPES, Depth, Row),
    tile(ThinPrt, FOUR_PIPES, Depth, Row),
    tile(LinearAligned, PIPES, Display, Samples(1)),
    tile(Thin1D, PIPES, Display, Samples(1)),
    tile(Thin2D, PIPES, Display, Samples(2)),
    tile(ThinPrt, PIPES, Display, Samples(8)),
    tile(Thin2DPrt, FOUR_PIPES, Display, Samples(8)),
    tile(Thin1D, PIPES, Thin, Samples(1)),
    tile(Thin2D, PIPES, Thin, Samples(2)),
    tile(Thin3D, PIPES, Thin, Samples(2)),
    tile(ThinPrt, PIPES, Thin, Samples(8)),
    tile(ThinPrt, FOUR_PIPES, Thin, Samples(8)),
    tile(Thick1D, PIPES, Thin, Samples(1)),
    tile(Thick1D, PIPES, Thick, Samples(1)),
    tile(Thick2D, PIPES, Thick, Samples(1)),
    tile(Thick3D, PIPES, Thick, Samples(1)),
    tile(ThickPrt, PIPES, Thick, Samples(1)),
    tile(ThickPrt, FOUR_PIPES, Thick, Samples(1)),
    tile(Thick2D, PIPES, Thin, Samples(1)),
    tile(XThick2D, PIPES, Thick, Samples(1)),
    tile(XThick3D, PIPES, Thick, Samples(1)),
    tile(Thin1D, PIPES, Rotated, Samples(1)),
    tile(Thin2D, PIPES, Rotated, Samples(2)),
    tile(ThinPrt, PIPES, Rotated, Samples(8)),
    tile(ThinPrt, FOUR_PIPES, Rotated, Samples(8)),
    Tile::UNUSED,
];

/// Number 7, and its counterpart 15, are not used.
const MACROTILES: [u32; 16] = [
    macrotile(1, 4, 2, 16),
    macrotile(1, 2, 2, 16),
    macrotile(1, 1, 1, 16),
    macrotile(1, 1, 1, 16),
    macrotile(1, 1, 1, 8),
    macrotile(1, 1, 1, 4),
    macrotile(1, 1, 1, 4),
    0,
    macrotile(1, 4, 2, 16),
    macrotile(1, 2, 2, 16),
    macrotile(1, 1, 1, 16),
    macrotile(1, 1, 1, 8),
    macrotile(1, 1, 2, 16),
    macrotile(1, 1, 2, 8),
    macrotile(1, 1, 1, 4),
    0,
];

/// Clock gating.
#[rustfmt::skip]
static CLOCK_GATING: &[Golden] = &[
    Golden(0x3108, !0, 0xffff_fffd), // RLC_CGTT_MGCG_OVERRIDE
    Golden(0xc200, !0, 0xe000_0000), // GRBM_GFX_INDEX
    Golden(0xf0a8, !0, 0x0000_0100), // CB_CGTT_SCLK_CTRL
    Golden(0xf082, !0, 0x0000_0100), // CGTT_BCI_CLK_CTRL
    Golden(0xf0b0, !0, 0x0000_0100), // CGTT_CP_CLK_CTRL
    Golden(0xf0b2, !0, 0x0000_0100), // CGTT_CPC_CLK_CTRL
    Golden(0xf0b1, !0, 0x0000_0100), // CGTT_CPF_CLK_CTRL
    Golden(0x1579, !0, 0x0020_0100), // CGTT_DRM_CLK_CTRL0
];

/// Clock gating of compute units that Bonaire does not have, and light sleep.
#[rustfmt::skip]
static UNIT_CLOCK_GATING: &[Golden] = &[
    Golden(0xf02b, !0, 0x0001_0000), // CGTS_CU7_SP0_CTRL_REG
    Golden(0xf02c, !0, 0x0003_0002), // CGTS_CU7_LDS_SQ_CTRL_REG
    Golden(0xf02d, !0, 0x0004_0007), // CGTS_CU7_TA_CTRL_REG
    Golden(0xf02e, !0, 0x0006_0005), // CGTS_CU7_SP1_CTRL_REG
    Golden(0xf02f, !0, 0x0009_0008), // CGTS_CU7_TD_TCP_CTRL_REG
    Golden(0xf030, !0, 0x0001_0000), // CGTS_CU8_SP0_CTRL_REG
    Golden(0xf031, !0, 0x0003_0002), // CGTS_CU8_LDS_SQ_CTRL_REG
    Golden(0xf032, !0, 0x0004_0007), // CGTS_CU8_TA_SQC_CTRL_REG
    Golden(0xf033, !0, 0x0006_0005), // CGTS_CU8_SP1_CTRL_REG
    Golden(0xf034, !0, 0x0009_0008), // CGTS_CU8_TD_TCP_CTRL_REG
    Golden(0xf035, !0, 0x0001_0000), // CGTS_CU9_SP0_CTRL_REG
    Golden(0xf036, !0, 0x0003_0002), // CGTS_CU9_LDS_SQ_CTRL_REG
    Golden(0xf037, !0, 0x0004_0007), // CGTS_CU9_TA_CTRL_REG
    Golden(0xf038, !0, 0x0006_0005), // CGTS_CU9_SP1_CTRL_REG
    Golden(0xf039, !0, 0x0009_0008), // CGTS_CU9_TD_TCP_CTRL_REG
    Golden(0xf03a, !0, 0x0001_0000), // CGTS_CU10_SP0_CTRL_REG
    Golden(0xf03b, !0, 0x0003_0002), // CGTS_CU10_LDS_SQ_CTRL_REG
    Golden(0xf03c, !0, 0x0004_0007), // CGTS_CU10_TA_CTRL_REG
    Golden(0xf03d, !0, 0x0006_0005), // CGTS_CU10_SP1_CTRL_REG
    Golden(0xf03e, !0, 0x0009_0008), // CGTS_CU10_TD_TCP_CTRL_REG
    Golden(0x30c6, !0, 0x0002_0200), // RLC_MEM_SLP_CNTL
    Golden(0x0cd4, !0, 0x0000_0200), // ATC_MISC_CG
    Golden(0x0570, !0, 0x0000_0400), // VM_L2_CG
    Golden(0x157a, !0, 0x0000_0000), // without a name in the headers
    Golden(0x0bd4, !0, 0x0000_0902), // HDP_MEM_POWER_LS
    Golden(0xf000, !0, 0x9694_0200), // CGTS_SM_CTRL_REG
];

/// Values of the chip as a whole.
#[rustfmt::skip]
static REGISTERS: &[Golden] = &[
    Golden(0x0cd5, 0x0000_0333, 0x0000_0333), // ATC_L2_CNTL
    Golden(0x2684, 0x0001_0000, 0x0005_8208), // CB_HW_CONTROL
    Golden(0x260c, !0, 0x0000_0000), // DB_DEBUG
    Golden(0x260d, 0xf00f_ffff, 0x0000_0400), // DB_DEBUG2
    Golden(0x260e, 0x0002_021c, 0x0002_0200), // DB_DEBUG3
    Golden(0x031e, 0x0000_0080, 0x0000_0000), // DCI_CLK_CNTL
    Golden(0x16ec, 0x0000_00f0, 0x0000_0070), // FBC_DEBUG_COMP
    Golden(0x16f0, 0xf031_1fff, 0x8030_0000), // FBC_MISC
    Golden(0x0d43, 0x0081_0000, 0x408a_f000), // GMCON_MISC
    Golden(0x1c0c, 0x3100_0111, 0x0000_0011), // HDMI_CONTROL
    Golden(0x0bd2, 0x7377_3777, 0x1201_0001), // HDP_ADDR_CONFIG
    Golden(0x0848, 0x0000_007f, 0x0000_001b), // MC_HUB_RDREQ_DMIF_LIMIT
    Golden(0x0877, 0x0000_7fb6, 0x0000_2191), // MC_HUB_WDP_UMC
    Golden(0x0d8a, 0x0000_003f, 0x0000_000a), // MC_SEQ_PMG_DVS_CTL
    Golden(0x0d8b, 0x0000_003f, 0x0000_000a), // MC_SEQ_PMG_DVS_CTL_LP
    Golden(0x0ab9, 0x0007_3ffe, 0x0000_22a2), // MC_SEQ_PMG_PG_HWCNTL
    Golden(0x0903, 0x0000_07ff, 0x0000_0000), // MC_XPB_P2P_BAR_CFG
    Golden(0x22fc, 0x0000_2001, 0x0000_0001), // PA_SC_ENHANCE
    Golden(0x22c9, !0, 0x00ff_ffff), // PA_SC_FORCE_EOV_MAX_CNTS
    Golden(0xc281, 0x0000_ff0f, 0x0000_0000), // PA_SC_LINE_STIPPLE_STATE
    Golden(0xa293, 0x07ff_ffff, 0x0600_0000), // PA_SC_MODE_CNTL_1
    Golden(0x0f9e, 0x0000_0001, 0x0000_0002), // SEM_CHICKEN_BITS
    Golden(0x31da, 0x0000_0008, 0x0000_0008), // SPI_RESET_DEBUG
    Golden(0x31dc, 0x0000_0f00, 0x0000_0800), // SPI_RESOURCE_RESERVE_CU_0
    Golden(0x31dd, 0x0000_0f00, 0x0000_0800), // SPI_RESOURCE_RESERVE_CU_1
    Golden(0x31e6, 0x00ff_ffff, 0x00ff_7fbf), // SPI_RESOURCE_RESERVE_EN_CU_0
    Golden(0x31e7, 0x00ff_ffff, 0x00ff_7faf), // SPI_RESOURCE_RESERVE_EN_CU_1
    Golden(0x2300, 0x0000_00ff, 0x0000_0800), // SQ_CONFIG
    Golden(0x0390, 0x0000_1fff, 0x0000_1fff), // SRBM_CNTL
    Golden(0x2418, 0x0000_007f, 0x0000_0020), // SX_DEBUG_1
    Golden(0x2542, 0x0001_0000, 0x0001_0000), // TA_CNTL_AUX
    Golden(0x2b80, 0x0010_0000, 0x000f_f07c), // TCC_CTRL
    Golden(0x2b05, 0x0000_03ff, 0x0000_000f), // TCP_ADDR_CONFIG
    Golden(0x2b04, !0, 0x7564_fdec), // TCP_CHAN_STEER_HI
    Golden(0x2b03, !0, 0x3120_b9a8), // TCP_CHAN_STEER_LO
    Golden(0x2b02, 0x2000_0000, 0x0f9c_0000), // TCP_CNTL
];

/// Addresses, and the distribution of work over render backends. Bring-up later sets them to those
/// of the board.
#[rustfmt::skip]
static COMMON: &[Golden] = &[
    Golden(0xc200, !0, 0xe000_0000), // GRBM_GFX_INDEX
    Golden(0xa0d4, !0, 0x3a00_161a), // PA_SC_RASTER_CONFIG
    Golden(0xa0d5, !0, 0x0000_002e), // PA_SC_RASTER_CONFIG_1
    Golden(0x2684, !0, 0x0001_8208), // CB_HW_CONTROL
    Golden(0x263e, !0, 0x1201_1003), // GB_ADDR_CONFIG
];
