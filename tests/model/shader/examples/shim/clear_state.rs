// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The state that CLEAR_STATE brings back. A kernel driver teaches it to the command processor;
//! there is none here, so these are the values that the C driver uses (`clearstate_ci.h`). All
//! others are zero.

use amdgpu_shader::draw::Registers;

/// Scissors: their second dword has the same value each.
const SCISSOR_TL: u32 = 0x8000_0000;
const SCISSOR_BR: u32 = 0x4000_4000;
const ONE: u32 = 0x3f80_0000;

const VALUES: &[(u32, u32)] = &[
    (0xa00d, SCISSOR_BR), // PA_SC_SCREEN_SCISSOR_BR
    (0xa081, SCISSOR_TL), // PA_SC_WINDOW_SCISSOR_TL, BR
    (0xa082, SCISSOR_BR),
    (0xa083, 0xffff),      // PA_SC_CLIPRECT_RULE
    (0xa08c, 0xaa99_aaaa), // PA_SC_EDGERULE
    (0xa08e, !0),          // CB_TARGET_MASK
    (0xa08f, !0),          // CB_SHADER_MASK
    (0xa090, SCISSOR_TL),  // PA_SC_GENERIC_SCISSOR_TL, BR
    (0xa091, SCISSOR_BR),
    (0xa100, !0),       // VGT_MAX_VTX_INDX
    (0xa1b6, 2),        // SPI_PS_IN_CONTROL
    (0xa204, 0x9_0000), // PA_CL_CLIP_CNTL
    (0xa205, 4),        // PA_SU_SC_MODE_CNTL
    (0xa2aa, 0xff),     // IA_MULTI_VGT_PARAM
    (0xa2f7, 0x1000),   // PA_SC_LINE_CNTL
    (0xa2f9, 5),        // PA_SU_VTX_CNTL
    (0xa2fa, ONE),      // PA_CL_GB_VERT_CLIP_ADJ and the three after it
    (0xa2fb, ONE),
    (0xa2fc, ONE),
    (0xa2fd, ONE),
    (0xa30e, !0), // PA_SC_AA_MASK
    (0xa30f, !0),
];

/// Sets all context registers.
pub fn clear_state(registers: &mut Registers) {
    registers.context.fill(0);
    let mut set = |index: u32, value: u32| registers.context[(index - 0xa000) as usize] = value;
    VALUES.iter().for_each(|(index, value)| set(*index, *value));
    for viewport in 0..16 {
        set(0xa094 + 2 * viewport, SCISSOR_TL);
        set(0xa095 + 2 * viewport, SCISSOR_BR);
        set(0xa0b5 + 2 * viewport, ONE);
    }
}
