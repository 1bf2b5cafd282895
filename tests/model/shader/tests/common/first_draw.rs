// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A draw as the tests of the core and those of the gfx ring do it: programs of vertices and
//! pixels, and the registers of a linear target.

/// A vertex is its index's 16 bytes of the buffer that s[0:3] describes; its color is its position.
pub const VERTEX: &[u32] = &[
    0xe038_2000,
    0x8000_0400, // buffer_load_dwordx4 v[4:7], v0, s[0:3], 0 idxen
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    0xf800_08cf,
    0x0706_0504, // exp pos0 v4, v5, v6, v7 done
    0xf800_020f,
    0x0706_0504, // exp param0 v4, v5, v6, v7
    0xbf81_0000, // s_endpgm
];

/// Interpolates two components, and kills where the first is not above zero.
pub const PIXEL: &[u32] = &[
    0xbefc_0300, // s_mov_b32 m0, s0
    0xc808_0000, // v_interp_p1_f32 v2, v0, attr0.x
    0xc809_0001, // v_interp_p2_f32 v2, v1, attr0.x
    0xc80c_0100, // v_interp_p1_f32 v3, v0, attr0.y
    0xc80d_0101, // v_interp_p2_f32 v3, v1, attr0.y
    0x7e08_02f2, // v_mov_b32_e32 v4, 1.0
    0x7c02_0480, // v_cmp_lt_f32_e32 vcc, 0, v2
    0x87fe_6a7e, // s_and_b64 exec, exec, vcc
    0xf800_180f,
    0x0404_0302, // exp mrt0 v2, v3, v4, v4 done vm
    0xbf81_0000, // s_endpgm
];

/// Pixels of a row of the target, and rows.
pub const SIZE: u32 = 64;

/// Registers that are zero: what they ask for is not wanted.
const ZEROS: &[u32] = &[
    0xa000, // DB_RENDER_CONTROL
    0xa00c, // scissors: screen, window, generic
    0xa081, 0xa090, 0xa010, // DB_Z_INFO, DB_STENCIL_INFO
    0xa011, 0xa080, // PA_SC_WINDOW_OFFSET
    0xa0b4, // PA_SC_VPORT_ZMIN_0
    0xa101, // VGT_MIN_VTX_INDX, VGT_INDX_OFFSET
    0xa102, 0xa191, // SPI_PS_INPUT_CNTL_0
    0xa1b8, // SPI_BARYC_CNTL
    0xa1e0, // CB_BLEND0_CONTROL
    0xa200, // DB_DEPTH_CONTROL
    0xa203, // DB_SHADER_CONTROL
    0xa204, // PA_CL_CLIP_CNTL
    0xa205, // PA_SU_SC_MODE_CNTL
    0xa207, // PA_CL_VS_OUT_CNTL
    0xa290, // VGT_GS_MODE
    0xa292, // PA_SC_MODE_CNTL_0
    0xa2a5, // VGT_MULTI_PRIM_IB_RESET_EN
    0xa2a8, // VGT_INSTANCE_STEP_RATE_0
    0xa2d5, // VGT_SHADER_STAGES_EN
    0xa2dc, // DB_ALPHA_TO_MASK
    0xa2e5, // VGT_STRMOUT_CONFIG
    0xa2f8, // PA_SC_AA_CONFIG
    0xa31b, // CB_COLOR0_VIEW, ATTRIB
    0xa31d,
];

/// Registers: indices and values. Vertices are 16 bytes each, 64 of them at most.
pub fn settings(vertex: u64, pixel: u64, vertices: u64, target: u64) -> Vec<(u32, u32)> {
    // 8 vector and 16 scalar registers, denormals of doubles, DX10_CLAMP.
    let resources = 1 | 1 << 6 | 0xc0 << 12 | 1 << 21;
    let half = (SIZE as f32 / 2.0).to_bits();
    let scissor = SIZE | SIZE << 16;
    let mut all: Vec<(u32, u32)> = ZEROS.iter().map(|index| (*index, 0)).collect();
    all.extend([
        (0x2c48, (vertex >> 8) as u32), // SPI_SHADER_PGM_LO_VS, HI, RSRC1, RSRC2: four user scalars
        (0x2c49, (vertex >> 40) as u32),
        (0x2c4a, resources),
        (0x2c4b, 4 << 1),
        (0x2c08, (pixel >> 8) as u32), // SPI_SHADER_PGM_LO_PS, HI, RSRC1, RSRC2
        (0x2c09, (pixel >> 40) as u32),
        (0x2c0a, resources),
        (0x2c0b, 0),
        (0xa00d, scissor), // scissors: screen, window, generic
        (0xa082, scissor),
        (0xa091, scissor),
        (0xa083, 0xffff), // PA_SC_CLIPRECT_RULE
        (0xa08e, 0xf),    // CB_TARGET_MASK, CB_SHADER_MASK
        (0xa08f, 0xf),
        (0xa0b5, 1.0f32.to_bits()), // PA_SC_VPORT_ZMAX_0
        (0xa100, !0),               // VGT_MAX_VTX_INDX
        (0xa1b4, 1 << 1),           // SPI_PS_INPUT_ADDR: perspective, center
        (0xa1b6, 1),                // SPI_PS_IN_CONTROL: one parameter
        (0xa1c5, 9),                // SPI_SHADER_COL_FORMAT: 32_ABGR
        (0xa202, 1 << 4 | 0xcc << 16),
        (0xa206, 0x43f),               // PA_CL_VTE_CNTL
        (0xa2f9, 1 | 2 << 1 | 5 << 3), // PA_SU_VTX_CNTL
        (0xa318, (target >> 8) as u32),
        (0xa319, SIZE / 8 - 1),
        (0xa31a, SIZE * SIZE / 64 - 1),
        (0xa31c, 14 << 2 | 7 << 8), // CB_COLOR0_INFO: 32_32_32_32 FLOAT
    ]);
    let descriptor = [vertices as u32, (vertices >> 32) as u32 | 16 << 16, 64, 0x0002_7fac];
    all.extend((0x2c4c..).zip(descriptor));
    // The viewport: the whole target, Y down.
    all.extend((0xa10f..).zip([half, half, half, half, 1.0f32.to_bits(), 0]));
    all
}

/// Place of a pixel's center in the viewport.
pub fn place(n: u32) -> f32 {
    (n as f32 + 0.5) / (SIZE as f32 / 2.0) - 1.0
}
