// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The clear state: values of all context registers of the graphics pipeline after `CLEAR_STATE`
//! (the C driver's `clearstate_ci.h`).
//!
//! The ring starts with a preamble that sets these registers. The command processor keeps the
//! values given there, and user space's `CLEAR_STATE` packets restore them. Almost all are zero.

use kernel::num::casts::u32_as_usize;

use super::pm4::SetContextReg;
use crate::hw::command::Sink;

/// Runs of consecutive registers: number of the first register, and their count.
const RUNS: [(u32, u32); 7] = [
    (0xa000, 212),
    (0xa0d6, 274),
    (0xa1f5, 6),
    (0xa200, 157),
    (0xa2a0, 2),
    (0xa2a3, 1),
    (0xa2a5, 233),
];

/// Registers of those runs that are not zero: number and value.
#[rustfmt::skip]
const VALUES: [(u32, u32); 79] = [
    (0xa00d, 0x4000_4000), // PA_SC_SCREEN_SCISSOR_BR
    (0xa081, 0x8000_0000), // PA_SC_WINDOW_SCISSOR_TL
    (0xa082, 0x4000_4000), // PA_SC_WINDOW_SCISSOR_BR
    (0xa083, 0x0000_ffff), // PA_SC_CLIPRECT_RULE
    (0xa085, 0x4000_4000), // PA_SC_CLIPRECT_0_BR
    (0xa087, 0x4000_4000), // PA_SC_CLIPRECT_1_BR
    (0xa089, 0x4000_4000), // PA_SC_CLIPRECT_2_BR
    (0xa08b, 0x4000_4000), // PA_SC_CLIPRECT_3_BR
    (0xa08c, 0xaa99_aaaa), // PA_SC_EDGERULE
    (0xa08e, 0xffff_ffff), // CB_TARGET_MASK
    (0xa08f, 0xffff_ffff), // CB_SHADER_MASK
    (0xa090, 0x8000_0000), // PA_SC_GENERIC_SCISSOR_TL
    (0xa091, 0x4000_4000), // PA_SC_GENERIC_SCISSOR_BR
    (0xa094, 0x8000_0000), // PA_SC_VPORT_SCISSOR_0_TL
    (0xa095, 0x4000_4000), // PA_SC_VPORT_SCISSOR_0_BR
    (0xa096, 0x8000_0000), // PA_SC_VPORT_SCISSOR_1_TL
    (0xa097, 0x4000_4000), // PA_SC_VPORT_SCISSOR_1_BR
    (0xa098, 0x8000_0000), // PA_SC_VPORT_SCISSOR_2_TL
    (0xa099, 0x4000_4000), // PA_SC_VPORT_SCISSOR_2_BR
    (0xa09a, 0x8000_0000), // PA_SC_VPORT_SCISSOR_3_TL
    (0xa09b, 0x4000_4000), // PA_SC_VPORT_SCISSOR_3_BR
    (0xa09c, 0x8000_0000), // PA_SC_VPORT_SCISSOR_4_TL
    (0xa09d, 0x4000_4000), // PA_SC_VPORT_SCISSOR_4_BR
    (0xa09e, 0x8000_0000), // PA_SC_VPORT_SCISSOR_5_TL
    (0xa09f, 0x4000_4000), // PA_SC_VPORT_SCISSOR_5_BR
    (0xa0a0, 0x8000_0000), // PA_SC_VPORT_SCISSOR_6_TL
    (0xa0a1, 0x4000_4000), // PA_SC_VPORT_SCISSOR_6_BR
    (0xa0a2, 0x8000_0000), // PA_SC_VPORT_SCISSOR_7_TL
    (0xa0a3, 0x4000_4000), // PA_SC_VPORT_SCISSOR_7_BR
    (0xa0a4, 0x8000_0000), // PA_SC_VPORT_SCISSOR_8_TL
    (0xa0a5, 0x4000_4000), // PA_SC_VPORT_SCISSOR_8_BR
    (0xa0a6, 0x8000_0000), // PA_SC_VPORT_SCISSOR_9_TL
    (0xa0a7, 0x4000_4000), // PA_SC_VPORT_SCISSOR_9_BR
    (0xa0a8, 0x8000_0000), // PA_SC_VPORT_SCISSOR_10_TL
    (0xa0a9, 0x4000_4000), // PA_SC_VPORT_SCISSOR_10_BR
    (0xa0aa, 0x8000_0000), // PA_SC_VPORT_SCISSOR_11_TL
    (0xa0ab, 0x4000_4000), // PA_SC_VPORT_SCISSOR_11_BR
    (0xa0ac, 0x8000_0000), // PA_SC_VPORT_SCISSOR_12_TL
    (0xa0ad, 0x4000_4000), // PA_SC_VPORT_SCISSOR_12_BR
    (0xa0ae, 0x8000_0000), // PA_SC_VPORT_SCISSOR_13_TL
    (0xa0af, 0x4000_4000), // PA_SC_VPORT_SCISSOR_13_BR
    (0xa0b0, 0x8000_0000), // PA_SC_VPORT_SCISSOR_14_TL
    (0xa0b1, 0x4000_4000), // PA_SC_VPORT_SCISSOR_14_BR
    (0xa0b2, 0x8000_0000), // PA_SC_VPORT_SCISSOR_15_TL
    (0xa0b3, 0x4000_4000), // PA_SC_VPORT_SCISSOR_15_BR
    (0xa0b5, 0x3f80_0000), // PA_SC_VPORT_ZMAX_0
    (0xa0b7, 0x3f80_0000), // PA_SC_VPORT_ZMAX_1
    (0xa0b9, 0x3f80_0000), // PA_SC_VPORT_ZMAX_2
    (0xa0bb, 0x3f80_0000), // PA_SC_VPORT_ZMAX_3
    (0xa0bd, 0x3f80_0000), // PA_SC_VPORT_ZMAX_4
    (0xa0bf, 0x3f80_0000), // PA_SC_VPORT_ZMAX_5
    (0xa0c1, 0x3f80_0000), // PA_SC_VPORT_ZMAX_6
    (0xa0c3, 0x3f80_0000), // PA_SC_VPORT_ZMAX_7
    (0xa0c5, 0x3f80_0000), // PA_SC_VPORT_ZMAX_8
    (0xa0c7, 0x3f80_0000), // PA_SC_VPORT_ZMAX_9
    (0xa0c9, 0x3f80_0000), // PA_SC_VPORT_ZMAX_10
    (0xa0cb, 0x3f80_0000), // PA_SC_VPORT_ZMAX_11
    (0xa0cd, 0x3f80_0000), // PA_SC_VPORT_ZMAX_12
    (0xa0cf, 0x3f80_0000), // PA_SC_VPORT_ZMAX_13
    (0xa0d1, 0x3f80_0000), // PA_SC_VPORT_ZMAX_14
    (0xa0d3, 0x3f80_0000), // PA_SC_VPORT_ZMAX_15
    (0xa100, 0xffff_ffff), // VGT_MAX_VTX_INDX
    (0xa1b6, 0x0000_0002), // SPI_PS_IN_CONTROL
    (0xa204, 0x0009_0000), // PA_CL_CLIP_CNTL
    (0xa205, 0x0000_0004), // PA_SU_SC_MODE_CNTL
    (0xa295, 0x0000_0100), // VGT_GS_PER_ES
    (0xa296, 0x0000_0080), // VGT_ES_PER_GS
    (0xa297, 0x0000_0002), // VGT_GS_PER_VS
    (0xa2aa, 0x0000_00ff), // IA_MULTI_VGT_PARAM
    (0xa2f7, 0x0000_1000), // PA_SC_LINE_CNTL
    (0xa2f9, 0x0000_0005), // PA_SU_VTX_CNTL
    (0xa2fa, 0x3f80_0000), // PA_CL_GB_VERT_CLIP_ADJ
    (0xa2fb, 0x3f80_0000), // PA_CL_GB_VERT_DISC_ADJ
    (0xa2fc, 0x3f80_0000), // PA_CL_GB_HORZ_CLIP_ADJ
    (0xa2fd, 0x3f80_0000), // PA_CL_GB_HORZ_DISC_ADJ
    (0xa30e, 0xffff_ffff), // PA_SC_AA_MASK_X0Y0_X1Y0
    (0xa30f, 0xffff_ffff), // PA_SC_AA_MASK_X0Y1_X1Y1
    (0xa316, 0x0000_000e), // VGT_VERTEX_REUSE_BLOCK_CNTL
    (0xa317, 0x0000_0010), // VGT_OUT_DEALLOC_CNTL
];

/// Length of the longest run.
const LONGEST: u32 = 274;

fn value(register: u32) -> u32 {
    VALUES
        .iter()
        .find(|(other, _)| *other == register)
        .map_or(0, |(_, value)| *value)
}

/// Emits packets that set every register of the clear state.
pub(super) fn emit(out: &mut dyn Sink) {
    for (first, count) in RUNS {
        let mut values = [0; u32_as_usize(LONGEST)];
        let values = &mut values[..u32_as_usize(count)];
        for (register, slot) in (first..).zip(&mut *values) {
            *slot = value(register);
        }
        SetContextReg {
            register: first,
            values,
        }
        .emit(out);
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(amdgpu_rs_clear_state)]
mod tests {
    use kernel::num::casts::usize_as_u64;

    use super::*;

    #[test]
    fn values_lie_in_ascending_runs() {
        let mut end = 0;
        for (first, count) in RUNS {
            assert!(end <= first && count <= LONGEST);
            end = first + count;
        }
        let inside = |register| {
            let within = |(first, count)| (first..first + count).contains(&register);
            RUNS.into_iter().any(within)
        };
        for (register, value) in VALUES {
            assert!(inside(register) && value != 0);
        }
    }

    #[test]
    fn length() {
        struct Counter(usize);

        impl Sink for Counter {
            fn put(&mut self, dwords: &[u32]) {
                self.0 += dwords.len();
            }

            fn position(&self) -> u64 {
                usize_as_u64(self.0)
            }
        }

        let mut counter = Counter(0);
        emit(&mut counter);
        let registers: u32 = RUNS.iter().map(|(_, count)| count).sum();
        assert_eq!(counter.0, u32_as_usize(registers) + 2 * RUNS.len());
    }
}
