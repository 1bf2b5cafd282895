// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bonaire: Radeon HD 7790, R7 260, R7 360 and FirePro W5100.

use super::{
    chip,
    gfx::Gfx,
    golden::{
        Golden,
        BROADCAST, //
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
    golden: &[CLOCK_GATING, REGISTERS, COMMON, BROADCAST],
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
    Golden(0xf0a0, !0, 0x0000_0100), // CGTT_GDS_CLK_CTRL
    Golden(0xf085, !0, 0x0600_0100), // CGTT_IA_CLK_CTRL
    Golden(0xf088, !0, 0x0000_0100), // CGTT_PA_CLK_CTRL
    Golden(0xf086, !0, 0x0600_0100), // CGTT_WD_CLK_CTRL
    Golden(0xf081, !0, 0x0000_0100), // CGTT_PC_CLK_CTRL
    Golden(0xf0b8, !0, 0x0000_0100), // CGTT_RLC_CLK_CTRL
    Golden(0xf089, !0, 0x0000_0100), // CGTT_SC_CLK_CTRL
    Golden(0xf080, !0, 0x0000_0100), // CGTT_SPI_CLK_CTRL
    Golden(0xf08c, !0, 0x0000_0100), // CGTT_SQ_CLK_CTRL
    Golden(0xf08d, !0, 0x0000_0100), // CGTT_SQG_CLK_CTRL
    Golden(0xf094, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL0
    Golden(0xf095, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL1
    Golden(0xf096, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL2
    Golden(0xf097, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL3
    Golden(0xf098, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL4
    Golden(0xf09f, !0, 0x0000_0100), // CGTT_TCI_CLK_CTRL
    Golden(0xf09e, !0, 0x0000_0100), // CGTT_TCP_CLK_CTRL
    Golden(0xf084, !0, 0x0600_0100), // CGTT_VGT_CLK_CTRL
    Golden(0xf0a4, !0, 0x0000_0100), // DB_CGTT_CLK_CTRL_0
    Golden(0xf09d, !0, 0x0000_0100), // TA_CGTT_CTRL
    Golden(0xf0ad, !0, 0x0000_0100), // TCA_CGTT_SCLK_CTRL
    Golden(0xf0ac, !0, 0x0000_0100), // TCC_CGTT_SCLK_CTRL
    Golden(0xf09c, !0, 0x0000_0100), // TD_CGTT_CTRL
    Golden(0xc200, !0, 0xe000_0000), // GRBM_GFX_INDEX
    Golden(0xf008, !0, 0x0001_0000), // CGTS_CU0_SP0_CTRL_REG
    Golden(0xf009, !0, 0x0003_0002), // CGTS_CU0_LDS_SQ_CTRL_REG
    Golden(0xf00a, !0, 0x0004_0007), // CGTS_CU0_TA_SQC_CTRL_REG
    Golden(0xf00b, !0, 0x0006_0005), // CGTS_CU0_SP1_CTRL_REG
    Golden(0xf00c, !0, 0x0009_0008), // CGTS_CU0_TD_TCP_CTRL_REG
    Golden(0xf00d, !0, 0x0001_0000), // CGTS_CU1_SP0_CTRL_REG
    Golden(0xf00e, !0, 0x0003_0002), // CGTS_CU1_LDS_SQ_CTRL_REG
    Golden(0xf00f, !0, 0x0004_0007), // CGTS_CU1_TA_CTRL_REG
    Golden(0xf010, !0, 0x0006_0005), // CGTS_CU1_SP1_CTRL_REG
    Golden(0xf011, !0, 0x0009_0008), // CGTS_CU1_TD_TCP_CTRL_REG
    Golden(0xf012, !0, 0x0001_0000), // CGTS_CU2_SP0_CTRL_REG
    Golden(0xf013, !0, 0x0003_0002), // CGTS_CU2_LDS_SQ_CTRL_REG
    Golden(0xf014, !0, 0x0004_0007), // CGTS_CU2_TA_CTRL_REG
    Golden(0xf015, !0, 0x0006_0005), // CGTS_CU2_SP1_CTRL_REG
    Golden(0xf016, !0, 0x0009_0008), // CGTS_CU2_TD_TCP_CTRL_REG
    Golden(0xf017, !0, 0x0001_0000), // CGTS_CU3_SP0_CTRL_REG
    Golden(0xf018, !0, 0x0003_0002), // CGTS_CU3_LDS_SQ_CTRL_REG
    Golden(0xf019, !0, 0x0004_0007), // CGTS_CU3_TA_CTRL_REG
    Golden(0xf01a, !0, 0x0006_0005), // CGTS_CU3_SP1_CTRL_REG
    Golden(0xf01b, !0, 0x0009_0008), // CGTS_CU3_TD_TCP_CTRL_REG
    Golden(0xf01c, !0, 0x0001_0000), // CGTS_CU4_SP0_CTRL_REG
    Golden(0xf01d, !0, 0x0003_0002), // CGTS_CU4_LDS_SQ_CTRL_REG
    Golden(0xf01e, !0, 0x0004_0007), // CGTS_CU4_TA_SQC_CTRL_REG
    Golden(0xf01f, !0, 0x0006_0005), // CGTS_CU4_SP1_CTRL_REG
    Golden(0xf020, !0, 0x0009_0008), // CGTS_CU4_TD_TCP_CTRL_REG
    Golden(0xf021, !0, 0x0001_0000), // CGTS_CU5_SP0_CTRL_REG
    Golden(0xf022, !0, 0x0003_0002), // CGTS_CU5_LDS_SQ_CTRL_REG
    Golden(0xf023, !0, 0x0004_0007), // CGTS_CU5_TA_CTRL_REG
    Golden(0xf024, !0, 0x0006_0005), // CGTS_CU5_SP1_CTRL_REG
    Golden(0xf025, !0, 0x0009_0008), // CGTS_CU5_TD_TCP_CTRL_REG
    Golden(0xf026, !0, 0x0001_0000), // CGTS_CU6_SP0_CTRL_REG
    Golden(0xf027, !0, 0x0003_0002), // CGTS_CU6_LDS_SQ_CTRL_REG
    Golden(0xf028, !0, 0x0004_0007), // CGTS_CU6_TA_CTRL_REG
    Golden(0xf029, !0, 0x0006_0005), // CGTS_CU6_SP1_CTRL_REG
    Golden(0xf02a, !0, 0x0009_0008), // CGTS_CU6_TD_TCP_CTRL_REG
    Golden(0xf000, !0, 0x96e0_0200), // CGTS_SM_CTRL_REG
    Golden(0x21c2, !0, 0x0090_0100), // CP_RB_WPTR_POLL_CNTL
    Golden(0x3109, !0, 0x0020_003f), // RLC_CGCG_CGLS_CTRL
    Golden(0x000e, !0, 0x0140_001c), // PCIE_INDEX
    Golden(0x000f, 0x000f_0000, 0x000f_0000), // PCIE_DATA
    Golden(0x0088, !0, 0xc060_000c), // SMC_IND_INDEX_4
    Golden(0x0089, 0xc000_0fff, 0x0000_0100), // SMC_IND_DATA_4
    Golden(0x03e4, !0, 0x0000_0100), // XDMA_CLOCK_GATING_CNTL
    Golden(0x03e6, 0x0000_0101, 0x0000_0000), // XDMA_MEM_POWER_CNTL
    Golden(0x082a, !0, 0x0000_0104), // MC_MEM_POWER_LS
    Golden(0x1579, 0xff00_0fff, 0x0000_0100), // CGTT_DRM_CLK_CTRL0
    Golden(0x0c33, 0xc000_0fff, 0x0000_0104), // HDP_XDP_CGTT_BLK_CTRL
    Golden(0x3079, 0x0000_0001, 0x0000_0001), // CP_MEM_SLP_CNTL
    Golden(0x3403, 0xff00_0ff0, 0x0000_0100), // SDMA0_CLK_CTRL
    Golden(0x3603, 0xff00_0ff0, 0x0000_0100), // SDMA1_CLK_CTRL
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
