// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Registers of a draw (`gfx_7_2_d.h`, `gfx_7_2_sh_mask.h`): indices of dwords, and what of them is
//! implemented.

use crate::stop::Stop;

/// Contents of the registers that a draw depends on.
#[derive(Clone)]
pub struct Registers {
    /// Context registers, from 0xa000.
    pub context: Box<[u32; 0x400]>,
    /// Registers of the graphics programs, from 0x2c00.
    pub shader: Box<[u32; 0x200]>,
    /// VGT_PRIMITIVE_TYPE.
    pub primitive: u32,
}

impl Registers {
    /// A context register.
    pub fn get(&self, index: u32) -> u32 {
        self.context[(index - 0xa000) as usize & 0x3ff]
    }

    /// A context register that holds a float.
    pub fn float(&self, index: u32) -> f32 {
        f32::from_bits(self.get(index))
    }

    /// A register of a program.
    pub fn program(&self, index: u32) -> u32 {
        self.shader[(index - 0x2c00) as usize & 0x1ff]
    }

    /// Bits `high` to `low` of a context register.
    pub fn bits(&self, index: u32, high: u32, low: u32) -> u32 {
        self.get(index) >> low & (!0 >> (31 - (high - low)))
    }
}

macro_rules! indices {
    ($($name:ident = $index:expr;)*) => { $(
        #[allow(missing_docs, reason = "the names of the register headers")]
        pub const $name: u32 = $index;
    )* };
}

indices! {
    DB_RENDER_CONTROL = 0xa000;
    DB_DEPTH_VIEW = 0xa002;
    DB_HTILE_DATA_BASE = 0xa005;
    DB_STENCIL_CLEAR = 0xa00a;
    DB_DEPTH_CLEAR = 0xa00b;
    SCREEN_SCISSOR = 0xa00c;
    DB_DEPTH_INFO = 0xa00f;
    DB_Z_INFO = 0xa010;
    DB_STENCIL_INFO = 0xa011;
    DB_Z_READ_BASE = 0xa012;
    DB_STENCIL_READ_BASE = 0xa013;
    DB_Z_WRITE_BASE = 0xa014;
    DB_STENCIL_WRITE_BASE = 0xa015;
    DB_DEPTH_SIZE = 0xa016;
    WINDOW_OFFSET = 0xa080;
    WINDOW_SCISSOR = 0xa081;
    CLIPRECT_RULE = 0xa083;
    CB_TARGET_MASK = 0xa08e;
    CB_SHADER_MASK = 0xa08f;
    GENERIC_SCISSOR = 0xa090;
    VPORT_SCISSOR = 0xa094;
    VPORT_ZMIN = 0xa0b4;
    VPORT_ZMAX = 0xa0b5;
    VGT_MAX_VTX_INDX = 0xa100;
    VGT_MIN_VTX_INDX = 0xa101;
    VGT_INDX_OFFSET = 0xa102;
    RESET_INDX = 0xa103;
    CB_BLEND_RED = 0xa105;
    DB_STENCIL_CONTROL = 0xa10b;
    DB_STENCILREFMASK = 0xa10c;
    DB_STENCILREFMASK_BF = 0xa10d;
    VPORT_XSCALE = 0xa10f;
    SPI_PS_INPUT_CNTL = 0xa191;
    SPI_PS_INPUT_ADDR = 0xa1b4;
    SPI_PS_IN_CONTROL = 0xa1b6;
    SPI_BARYC_CNTL = 0xa1b8;
    SPI_SHADER_COL_FORMAT = 0xa1c5;
    CB_BLEND_CONTROL = 0xa1e0;
    DB_DEPTH_CONTROL = 0xa200;
    CB_COLOR_CONTROL = 0xa202;
    DB_SHADER_CONTROL = 0xa203;
    PA_CL_CLIP_CNTL = 0xa204;
    PA_SU_SC_MODE_CNTL = 0xa205;
    PA_CL_VTE_CNTL = 0xa206;
    PA_CL_VS_OUT_CNTL = 0xa207;
    VGT_GS_MODE = 0xa290;
    PA_SC_MODE_CNTL_0 = 0xa292;
    VGT_MULTI_PRIM_IB_RESET_EN = 0xa2a5;
    VGT_INSTANCE_STEP_RATE_0 = 0xa2a8;
    VGT_SHADER_STAGES_EN = 0xa2d5;
    DB_ALPHA_TO_MASK = 0xa2dc;
    VGT_STRMOUT_CONFIG = 0xa2e5;
    PA_SC_AA_CONFIG = 0xa2f8;
    PA_SU_VTX_CNTL = 0xa2f9;
    CB_COLOR0_BASE = 0xa318;
}

/// Fields that must be 0, as what they ask for is not implemented: register, mask, name.
const ABSENT: &[(u32, u32, &str)] = &[
    (VGT_SHADER_STAGES_EN, 0x1ff, "VGT_SHADER_STAGES_EN: tessellation or geometry programs"),
    (VGT_GS_MODE, 7, "VGT_GS_MODE: geometry programs"),
    (VGT_STRMOUT_CONFIG, 0xf, "VGT_STRMOUT_CONFIG: stream output"),
    (PA_SC_AA_CONFIG, 7, "PA_SC_AA_CONFIG: several samples a pixel"),
    (PA_CL_VS_OUT_CNTL, 7 << 18, "PA_CL_VS_OUT_CNTL: layer, viewport or kill flag of a vertex"),
    (PA_CL_CLIP_CNTL, 0x3f, "PA_CL_CLIP_CNTL: user clip planes"),
    (PA_SU_SC_MODE_CNTL, 3 << 3, "PA_SU_SC_MODE_CNTL: POLY_MODE"),
    (PA_SU_SC_MODE_CNTL, 7 << 11, "PA_SU_SC_MODE_CNTL: polygon offset"),
    (DB_RENDER_CONTROL, 3 << 2, "DB_RENDER_CONTROL: copies"),
    (DB_DEPTH_CONTROL, 1 << 3, "DB_DEPTH_CONTROL: depth bounds"),
    (DB_DEPTH_CONTROL, 3 << 30, "DB_DEPTH_CONTROL: color writes by the result of the depth test"),
    (DB_SHADER_CONTROL, 6, "DB_SHADER_CONTROL: exported stencil"),
    (DB_SHADER_CONTROL, 1 << 8, "DB_SHADER_CONTROL: exported coverage"),
    (DB_ALPHA_TO_MASK, 1, "DB_ALPHA_TO_MASK: alpha to coverage"),
    (SPI_PS_INPUT_ADDR, 1 << 3, "SPI_PS_INPUT_ADDR: pull model"),
    (PA_SC_MODE_CNTL_0, 5, "PA_SC_MODE_CNTL_0: several samples a pixel or line stipple"),
];

/// Refuses what is not implemented, by its name.
pub fn check(r: &Registers) -> Result<(), Stop> {
    let asked = ABSENT.iter().find(|(index, mask, _)| r.get(*index) & mask != 0);
    if let Some((index, _, name)) = asked {
        return Err(Stop::illegal(format!("{name} ({:#x}) is not implemented", r.get(*index))));
    }
    if r.get(CLIPRECT_RULE) & 0xffff != 0xffff {
        let rule = r.get(CLIPRECT_RULE);
        return Err(Stop::illegal(format!(
            "PA_SC_CLIPRECT_RULE {rule:#x}: clip rectangles are not implemented"
        )));
    }
    Ok(())
}
