// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A dispatch of compute shaders by the kernel itself: the test shader of a first boot.
//!
//! The C driver has none on these chips; on later ones it fills the registers of the shaders so
//! (`gfx_v9_0_do_edc_gpr_workarounds`).
//!
//! The packets are the same on the graphics ring and on compute queues.

use kernel::{
    io::register::Register,
    prelude::*, //
};

use super::{
    high,
    low,
    pm4::{
        self,
        emit,
        header,
        EventWrite, //
    },
    regs::*, //
};
use crate::hw::{
    command::Sink,
    ShaderTest,
    MAX_SHADER_ENGINES, //
};

/// Threads of a group: those of a wave.
const GROUP: u32 = 64;
/// Scalar registers with which a wave begins: a buffer's descriptor, and the key. The number of its
/// group comes behind them.
const USER_REGISTERS: u32 = 5;

/// The test shader.
pub(super) const SHADER: [u32; 7] = [
    0x8f06_8605, // s_lshl_b32 s6, s5, 6
    0x4a00_0006, // v_add_i32_e32 v0, vcc, s6, v0
    0x1602_0100, // v_mul_u32_u24_e32 v1, v0, v0
    0x3a02_0204, // v_xor_b32_e32 v1, s4, v1
    0xe070_2000, // buffer_store_dword v1, v0, s[0:3], 0 idxen
    0x8000_0100, //
    0xbf81_0000, // s_endpgm
];

/// Emits a run of the test shader.
pub(super) fn emit_test(out: &mut dyn Sink, test: &ShaderTest) {
    let code = test.code >> 8;
    set::<COMPUTE_NUM_THREAD_X>(out, &[GROUP, 1, 1]);
    set::<COMPUTE_PGM_LO>(out, &[low(code), high(code)]);
    set::<COMPUTE_PGM_RSRC1>(out, &resources());
    set::<COMPUTE_RESOURCE_LIMITS>(out, &[0]);
    set::<COMPUTE_TMPRING_SIZE>(out, &[0]);
    allow(out, test.units);
    let [first, second, third, fourth] = descriptor(test.result);
    set::<COMPUTE_USER_DATA_0>(out, &[first, second, third, fourth, test.key]);
    let initiator = COMPUTE_DISPATCH_INITIATOR::zeroed()
        .with_compute_shader_en(true)
        .with_force_start_at_000(true);
    emit_dispatch(out, ShaderTest::THREADS / GROUP, initiator);
    emit(out, EventWrite::CS_PARTIAL_FLUSH);
    allow(out, [!0; MAX_SHADER_ENGINES]);
}

/// Returns the values of `COMPUTE_PGM_RSRC1` and `2`: few registers of either kind, denormals of
/// doubles, and the number of the group.
fn resources() -> [u32; 2] {
    /// In units of 4 vector registers, and of 8 scalar ones, less one.
    const VECTORS: u32 = 0;
    const SCALARS: u32 = 1;
    const DENORMALS: u32 = 0xc0;

    let first = COMPUTE_PGM_RSRC1::zeroed()
        .with_const_vgprs::<VECTORS>()
        .with_const_sgprs::<SCALARS>()
        .with_const_float_mode::<DENORMALS>()
        .with_dx10_clamp(true);
    let second = COMPUTE_PGM_RSRC2::zeroed()
        .with_const_user_sgpr::<USER_REGISTERS>()
        .with_tgid_x_en(true);
    [first.into_raw(), second.into_raw()]
}

/// Returns the descriptor of a buffer of dwords, one for each thread.
fn descriptor(addr: u64) -> [u32; 4] {
    /// Bytes from one element to the next, in the second dword.
    const STRIDE: u32 = 4 << 16;
    /// Components x, y, z and w, of one dword that is a number.
    const FORMAT: u32 = 4 | 5 << 3 | 6 << 6 | 7 << 9 | 4 << 12 | 4 << 15;

    let base = [low(addr), high(addr) & 0xffff | STRIDE];
    [base[0], base[1], ShaderTest::THREADS, FORMAT]
}

/// Emits the limitation of dispatches to some compute units of each shader engine.
fn allow(out: &mut dyn Sink, units: [u32; MAX_SHADER_ENGINES]) {
    let [first, second, third, fourth] = units;
    set::<COMPUTE_STATIC_THREAD_MGMT_SE0>(out, &[first, second]);
    set::<COMPUTE_STATIC_THREAD_MGMT_SE2>(out, &[third, fourth]);
}

/// Emits the writing of consecutive shader registers, from `R` on.
fn set<R: Register>(out: &mut dyn Sink, values: &[u32]) {
    const SET_SH_REG: u8 = 0x76;
    /// Number of the first shader register.
    const START: u32 = 0x2c00;

    let register = pm4::register::<R>() - START;
    out.put(&[header(SET_SH_REG, values.len()), register]);
    out.put(values);
}

/// Emits the dispatch of so many groups.
fn emit_dispatch(out: &mut dyn Sink, groups: u32, initiator: COMPUTE_DISPATCH_INITIATOR) {
    const DISPATCH_DIRECT: u8 = 0x15;
    /// Bit of the header: the packet is about compute shaders.
    const COMPUTE: u32 = 1 << 1;

    let body = [groups, 1, 1, initiator.into_raw()];
    out.put(&[header(DISPATCH_DIRECT, body.len() - 1) | COMPUTE]);
    out.put(&body);
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_dispatch)]
mod tests {
    use super::{
        super::recorder::Recorder,
        *, //
    };

    /// Register numbers and values are from the register headers and the shader's own code.
    #[test]
    fn packets() {
        let test = ShaderTest {
            code: 0xff_0012_3400,
            result: 0xff_0012_4000,
            key: 0x5555_aaaa,
            units: [0, 1 << 3, 0, 0],
        };
        let expected = [
            0xc003_7600,
            0x207,
            64,
            1,
            1, // COMPUTE_NUM_THREAD_X to Z
            0xc002_7600,
            0x20c,
            0xff00_1234,
            0, // COMPUTE_PGM_LO, HI
            0xc002_7600,
            0x212,
            0x002c_0040,
            0x8a, // COMPUTE_PGM_RSRC1, 2
            0xc001_7600,
            0x215,
            0, // COMPUTE_RESOURCE_LIMITS
            0xc001_7600,
            0x218,
            0, // COMPUTE_TMPRING_SIZE
            0xc002_7600,
            0x216,
            0,
            8, // COMPUTE_STATIC_THREAD_MGMT_SE0, SE1
            0xc002_7600,
            0x219,
            0,
            0, // COMPUTE_STATIC_THREAD_MGMT_SE2, SE3
            0xc005_7600,
            0x240,
            0x0012_4000,
            0x0004_00ff,
            1024,
            0x0002_4fac,
            0x5555_aaaa, // COMPUTE_USER_DATA_0 to 4
            0xc003_1502,
            16,
            1,
            1,
            5, // DISPATCH_DIRECT
            0xc000_4600,
            0x407, // CS_PARTIAL_FLUSH
            0xc002_7600,
            0x216,
            !0,
            !0, // COMPUTE_STATIC_THREAD_MGMT_SE0, SE1
            0xc002_7600,
            0x219,
            !0,
            !0, // COMPUTE_STATIC_THREAD_MGMT_SE2, SE3
        ];
        assert_eq!(Recorder::of(|out| emit_test(out, &test)).dwords(), expected);
        assert_eq!(
            (test.expected(0), test.expected(1023)),
            (0x5555_aaaa, 0x555a_52ab)
        );
    }
}
