// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Vector ALU opcodes. In VOP3 a comparison has its VOPC number, a VOP2 opcode 256 more than its
//! own, a VOP1 opcode 384 more.

use super::{
    Line,
    named, //
};
use crate::isa::{
    self,
    CompareType::{
        self,
        Class32,
        Class64,
        F32,
        F64,
        I32,
        I64,
        U32,
        U64, //
    },
    Condition as C,
    Format,
    Op::{
        Absent,
        Compare,
        Vector, //
    },
    Vector as V, //
};

/// Offset of VOP2 in VOP3.
const VOP2_IN_VOP3: u16 = 256;
/// Offset of VOP1 in VOP3.
const VOP1_IN_VOP3: u16 = 384;

pub(super) fn lines() -> Vec<(Format, Line)> {
    let shifted = |(opcode, name, op, operands): Line, by| (opcode + by, name, op, operands);
    // The first two carry a literal, the others name a scalar: they have no long form.
    let long = VOP2.iter().filter(|line| !matches!(line.0, MADMK | MADAK | 1 | 2));
    let vopc = compares();
    let mut all: Vec<(Format, Line)> = vec![];
    all.extend(VOP1.iter().map(|line| (Format::Vop1, *line)));
    all.extend(VOP2.iter().map(|line| (Format::Vop2, *line)));
    all.extend(vopc.iter().map(|line| (Format::Vopc, *line)));
    all.extend(VOP3.iter().map(|line| (Format::Vop3, *line)));
    let short = VOP1.iter().filter(|line| !matches!(line.0, 0 | 2));
    all.extend(short.map(|line| (Format::Vop3, shifted(*line, VOP1_IN_VOP3))));
    all.extend(long.map(|line| (Format::Vop3, shifted(*line, VOP2_IN_VOP3))));
    all.extend(vopc.iter().map(|line| (Format::Vop3, *line)));
    all
}

/// Opcodes of VOP2 that always carry a literal.
pub(super) const MADMK: u16 = 32;
pub(super) const MADAK: u16 = 33;

const VOP1: &[Line] = &[
    (0, "v_nop", Vector(V::Nop), ":"),
    (1, "v_mov_b32", Vector(V::Mov), "b:b"),
    (2, "v_readfirstlane_b32", Vector(V::ReadFirstLane), "b:b"),
    (3, "v_cvt_i32_f64", Vector(V::I32F64), "b:d"),
    (4, "v_cvt_f64_i32", Vector(V::F64I32), "d:b"),
    (5, "v_cvt_f32_i32", Vector(V::F32I32), "f:b"),
    (6, "v_cvt_f32_u32", Vector(V::F32U32), "f:b"),
    (7, "v_cvt_u32_f32", Vector(V::U32F32), "b:f"),
    (8, "v_cvt_i32_f32", Vector(V::I32F32), "b:f"),
    (10, "v_cvt_f16_f32", Vector(V::F16F32), "h:f"),
    (11, "v_cvt_f32_f16", Vector(V::F32F16), "f:h"),
    (12, "v_cvt_rpi_i32_f32", Vector(V::RoundI32F32), "b:f"),
    (13, "v_cvt_flr_i32_f32", Vector(V::FloorI32F32), "b:f"),
    (14, "v_cvt_off_f32_i4", Vector(V::OffsetF32I4), "f:b"),
    (15, "v_cvt_f32_f64", Vector(V::F32F64), "f:d"),
    (16, "v_cvt_f64_f32", Vector(V::F64F32), "d:f"),
    (17, "v_cvt_f32_ubyte0", Vector(V::F32Byte(0)), "f:b"),
    (18, "v_cvt_f32_ubyte1", Vector(V::F32Byte(1)), "f:b"),
    (19, "v_cvt_f32_ubyte2", Vector(V::F32Byte(2)), "f:b"),
    (20, "v_cvt_f32_ubyte3", Vector(V::F32Byte(3)), "f:b"),
    (21, "v_cvt_u32_f64", Vector(V::U32F64), "b:d"),
    (22, "v_cvt_f64_u32", Vector(V::F64U32), "d:b"),
    (23, "v_trunc_f64", Vector(V::TruncF64), "d:d"),
    (24, "v_ceil_f64", Vector(V::CeilF64), "d:d"),
    (25, "v_rndne_f64", Vector(V::RoundEvenF64), "d:d"),
    (26, "v_floor_f64", Vector(V::FloorF64), "d:d"),
    (32, "v_fract_f32", Vector(V::FractF32), "f:f"),
    (33, "v_trunc_f32", Vector(V::TruncF32), "f:f"),
    (34, "v_ceil_f32", Vector(V::CeilF32), "f:f"),
    (35, "v_rndne_f32", Vector(V::RoundEvenF32), "f:f"),
    (36, "v_floor_f32", Vector(V::FloorF32), "f:f"),
    (37, "v_exp_f32", Vector(V::ExpF32), "f:f"),
    (38, "v_log_clamp_f32", Absent, "f:f"),
    (39, "v_log_f32", Vector(V::LogF32), "f:f"),
    (40, "v_rcp_clamp_f32", Absent, "f:f"),
    (41, "v_rcp_legacy_f32", Absent, "f:f"),
    (42, "v_rcp_f32", Vector(V::RcpF32), "f:f"),
    (43, "v_rcp_iflag_f32", Vector(V::RcpF32), "f:f"),
    (44, "v_rsq_clamp_f32", Absent, "f:f"),
    (45, "v_rsq_legacy_f32", Absent, "f:f"),
    (46, "v_rsq_f32", Vector(V::RsqF32), "f:f"),
    (47, "v_rcp_f64", Vector(V::RcpF64), "d:d"),
    (48, "v_rcp_clamp_f64", Absent, "d:d"),
    (49, "v_rsq_f64", Vector(V::RsqF64), "d:d"),
    (50, "v_rsq_clamp_f64", Absent, "d:d"),
    (51, "v_sqrt_f32", Vector(V::SqrtF32), "f:f"),
    (52, "v_sqrt_f64", Vector(V::SqrtF64), "d:d"),
    (53, "v_sin_f32", Vector(V::SinF32), "f:f"),
    (54, "v_cos_f32", Vector(V::CosF32), "f:f"),
    (55, "v_not_b32", Vector(V::Not), "b:b"),
    (56, "v_bfrev_b32", Vector(V::Reverse), "b:b"),
    (57, "v_ffbh_u32", Vector(V::FirstBitHigh), "b:b"),
    (58, "v_ffbl_b32", Vector(V::FirstBitLow), "b:b"),
    (59, "v_ffbh_i32", Vector(V::FirstSignHigh), "b:b"),
    (60, "v_frexp_exp_i32_f64", Vector(V::FrexpExpF64), "b:d"),
    (61, "v_frexp_mant_f64", Vector(V::FrexpMantF64), "d:d"),
    (62, "v_fract_f64", Vector(V::FractF64), "d:d"),
    (63, "v_frexp_exp_i32_f32", Vector(V::FrexpExpF32), "b:f"),
    (64, "v_frexp_mant_f32", Vector(V::FrexpMantF32), "f:f"),
    (65, "v_clrexcp", Absent, ":"),
    (66, "v_movreld_b32", Vector(V::MovRelDest), "b:b"),
    (67, "v_movrels_b32", Vector(V::MovRelSource), "b:b"),
    (68, "v_movrelsd_b32", Vector(V::MovRelBoth), "b:b"),
    (69, "v_log_legacy_f32", Absent, "f:f"),
    (70, "v_exp_legacy_f32", Absent, "f:f"),
];

const VOP2: &[Line] = &[
    (0, "v_cndmask_b32", Vector(V::Select), "b:ffm"),
    (1, "v_readlane_b32", Vector(V::ReadLane), "b:bb"),
    (2, "v_writelane_b32", Vector(V::WriteLane), "b:bb"),
    (3, "v_add_f32", Vector(V::AddF32), "f:ff"),
    (4, "v_sub_f32", Vector(V::SubF32), "f:ff"),
    (5, "v_subrev_f32", Vector(V::SubRevF32), "f:ff"),
    (6, "v_mac_legacy_f32", Vector(V::MacLegacyF32), "f:ff"),
    (7, "v_mul_legacy_f32", Vector(V::MulLegacyF32), "f:ff"),
    (8, "v_mul_f32", Vector(V::MulF32), "f:ff"),
    (9, "v_mul_i32_i24", Vector(V::MulI24), "b:bb"),
    (10, "v_mul_hi_i32_i24", Vector(V::MulHighI24), "b:bb"),
    (11, "v_mul_u32_u24", Vector(V::MulU24), "b:bb"),
    (12, "v_mul_hi_u32_u24", Vector(V::MulHighU24), "b:bb"),
    (13, "v_min_legacy_f32", Vector(V::MinLegacyF32), "f:ff"),
    (14, "v_max_legacy_f32", Vector(V::MaxLegacyF32), "f:ff"),
    (15, "v_min_f32", Vector(V::MinF32), "f:ff"),
    (16, "v_max_f32", Vector(V::MaxF32), "f:ff"),
    (17, "v_min_i32", Vector(V::MinI32), "b:bb"),
    (18, "v_max_i32", Vector(V::MaxI32), "b:bb"),
    (19, "v_min_u32", Vector(V::MinU32), "b:bb"),
    (20, "v_max_u32", Vector(V::MaxU32), "b:bb"),
    (21, "v_lshr_b32", Vector(V::ShiftRight), "b:bb"),
    (22, "v_lshrrev_b32", Vector(V::ShiftRightRev), "b:bb"),
    (23, "v_ashr_i32", Vector(V::ShiftRightSigned), "b:bb"),
    (24, "v_ashrrev_i32", Vector(V::ShiftRightSignedRev), "b:bb"),
    (25, "v_lshl_b32", Vector(V::ShiftLeft), "b:bb"),
    (26, "v_lshlrev_b32", Vector(V::ShiftLeftRev), "b:bb"),
    (27, "v_and_b32", Vector(V::And), "b:bb"),
    (28, "v_or_b32", Vector(V::Or), "b:bb"),
    (29, "v_xor_b32", Vector(V::Xor), "b:bb"),
    (30, "v_bfm_b32", Vector(V::FieldMask), "b:bb"),
    (31, "v_mac_f32", Vector(V::MacF32), "f:ff"),
    (MADMK, "v_madmk_f32", Vector(V::MadF32), "f:fff"),
    (MADAK, "v_madak_f32", Vector(V::MadF32), "f:fff"),
    (34, "v_bcnt_u32_b32", Vector(V::CountOnes), "b:bb"),
    (35, "v_mbcnt_lo_u32_b32", Vector(V::MaskCountLow), "b:bb"),
    (36, "v_mbcnt_hi_u32_b32", Vector(V::MaskCountHigh), "b:bb"),
    (37, "v_add_i32", Vector(V::Add), "bm:bb"),
    (38, "v_sub_i32", Vector(V::Sub), "bm:bb"),
    (39, "v_subrev_i32", Vector(V::SubRev), "bm:bb"),
    (40, "v_addc_u32", Vector(V::AddCarry), "bm:bbm"),
    (41, "v_subb_u32", Vector(V::SubBorrow), "bm:bbm"),
    (42, "v_subbrev_u32", Vector(V::SubBorrowRev), "bm:bbm"),
    (43, "v_ldexp_f32", Vector(V::LdexpF32), "f:fb"),
    (44, "v_cvt_pkaccum_u8_f32", Absent, "b:fb"),
    (45, "v_cvt_pknorm_i16_f32", Vector(V::PackNormI16), "b:ff"),
    (46, "v_cvt_pknorm_u16_f32", Vector(V::PackNormU16), "b:ff"),
    (47, "v_cvt_pkrtz_f16_f32", Vector(V::PackTowardZeroF16), "b:ff"),
    (48, "v_cvt_pk_u16_u32", Vector(V::PackU16), "b:bb"),
    (49, "v_cvt_pk_i16_i32", Vector(V::PackI16), "b:bb"),
];

const VOP3: &[Line] = &[
    (320, "v_mad_legacy_f32", Vector(V::MadLegacyF32), "f:fff"),
    (321, "v_mad_f32", Vector(V::MadF32), "f:fff"),
    (322, "v_mad_i32_i24", Vector(V::MadI24), "b:bbb"),
    (323, "v_mad_u32_u24", Vector(V::MadU24), "b:bbb"),
    (324, "v_cubeid_f32", Vector(V::CubeId), "f:fff"),
    (325, "v_cubesc_f32", Vector(V::CubeS), "f:fff"),
    (326, "v_cubetc_f32", Vector(V::CubeT), "f:fff"),
    (327, "v_cubema_f32", Vector(V::CubeMajor), "f:fff"),
    (328, "v_bfe_u32", Vector(V::ExtractUnsigned), "b:bbb"),
    (329, "v_bfe_i32", Vector(V::ExtractSigned), "b:bbb"),
    (330, "v_bfi_b32", Vector(V::Insert), "b:bbb"),
    (331, "v_fma_f32", Vector(V::FmaF32), "f:fff"),
    (332, "v_fma_f64", Vector(V::FmaF64), "d:ddd"),
    (333, "v_lerp_u8", Vector(V::Lerp), "b:bbb"),
    (334, "v_alignbit_b32", Vector(V::AlignBit), "b:bbb"),
    (335, "v_alignbyte_b32", Vector(V::AlignByte), "b:bbb"),
    (336, "v_mullit_f32", Absent, "f:fff"),
    (337, "v_min3_f32", Vector(V::Min3F32), "f:fff"),
    (338, "v_min3_i32", Vector(V::Min3I32), "b:bbb"),
    (339, "v_min3_u32", Vector(V::Min3U32), "b:bbb"),
    (340, "v_max3_f32", Vector(V::Max3F32), "f:fff"),
    (341, "v_max3_i32", Vector(V::Max3I32), "b:bbb"),
    (342, "v_max3_u32", Vector(V::Max3U32), "b:bbb"),
    (343, "v_med3_f32", Vector(V::Med3F32), "f:fff"),
    (344, "v_med3_i32", Vector(V::Med3I32), "b:bbb"),
    (345, "v_med3_u32", Vector(V::Med3U32), "b:bbb"),
    (346, "v_sad_u8", Vector(V::SadU8), "b:bbb"),
    (347, "v_sad_hi_u8", Vector(V::SadHighU8), "b:bbb"),
    (348, "v_sad_u16", Vector(V::SadU16), "b:bbb"),
    (349, "v_sad_u32", Vector(V::SadU32), "b:bbb"),
    (350, "v_cvt_pk_u8_f32", Vector(V::PackU8F32), "b:fbb"),
    (351, "v_div_fixup_f32", Absent, "f:fff"),
    (352, "v_div_fixup_f64", Absent, "d:ddd"),
    (353, "v_lshl_b64", Vector(V::ShiftLeft64), "q:qb"),
    (354, "v_lshr_b64", Vector(V::ShiftRight64), "q:qb"),
    (355, "v_ashr_i64", Vector(V::ShiftRightSigned64), "q:qb"),
    (356, "v_add_f64", Vector(V::AddF64), "d:dd"),
    (357, "v_mul_f64", Vector(V::MulF64), "d:dd"),
    (358, "v_min_f64", Vector(V::MinF64), "d:dd"),
    (359, "v_max_f64", Vector(V::MaxF64), "d:dd"),
    (360, "v_ldexp_f64", Vector(V::LdexpF64), "d:db"),
    (361, "v_mul_lo_u32", Vector(V::MulLow), "b:bb"),
    (362, "v_mul_hi_u32", Vector(V::MulHighU32), "b:bb"),
    (363, "v_mul_lo_i32", Vector(V::MulLow), "b:bb"),
    (364, "v_mul_hi_i32", Vector(V::MulHighI32), "b:bb"),
    (365, "v_div_scale_f32", Absent, "fm:fff"),
    (366, "v_div_scale_f64", Absent, "dm:ddd"),
    (367, "v_div_fmas_f32", Absent, "f:fff"),
    (368, "v_div_fmas_f64", Absent, "d:ddd"),
    (369, "v_msad_u8", Absent, "b:bbb"),
    (370, "v_qsad_pk_u16_u8", Absent, "q:qbq"),
    (371, "v_mqsad_pk_u16_u8", Absent, "q:qbq"),
    (372, "v_trig_preop_f64", Absent, "d:db"),
    (373, "v_mqsad_u32_u8", Absent, "q:qbq"),
    (374, "v_mad_u64_u32", Vector(V::MadU64), "qm:bbq"),
    (375, "v_mad_i64_i32", Vector(V::MadI64), "qm:bbq"),
];

/// Names of the sixteen conditions of floats.
const FLOAT: [(&str, C); 16] = [
    ("f", C::False),
    ("lt", C::Less),
    ("eq", C::Equal),
    ("le", C::LessEqual),
    ("gt", C::Greater),
    ("lg", C::LessGreater),
    ("ge", C::GreaterEqual),
    ("o", C::Ordered),
    ("u", C::Unordered),
    ("nge", C::NotGreaterEqual),
    ("nlg", C::NotLessGreater),
    ("ngt", C::NotGreater),
    ("nle", C::NotLessEqual),
    ("neq", C::NotEqual),
    ("nlt", C::NotLess),
    ("tru", C::True),
];

/// Names of the eight conditions of integers.
const INTEGER: [(&str, C); 8] = [
    ("f", C::False),
    ("lt", C::Less),
    ("eq", C::Equal),
    ("le", C::LessEqual),
    ("gt", C::Greater),
    ("ne", C::LessGreater),
    ("ge", C::GreaterEqual),
    ("t", C::True),
];

/// Families of comparisons: first opcode, type, suffix. `v_cmpx` is 16 above; of floats, the
/// signaling forms 64.
const FAMILIES: [(u16, CompareType, &str); 6] = [
    (0, F32, "f32"),
    (32, F64, "f64"),
    (128, I32, "i32"),
    (160, I64, "i64"),
    (192, U32, "u32"),
    (224, U64, "u64"),
];

fn compares() -> Vec<Line> {
    let mut all = vec![];
    for (first, kind, suffix) in FAMILIES {
        let float = matches!(kind, F32 | F64);
        let conditions: &[(&str, C)] = if float { &FLOAT } else { &INTEGER };
        let operands = match kind {
            F32 => ":ff",
            F64 => ":dd",
            I32 | U32 => ":bb",
            _ => ":qq",
        };
        for (n, (name, condition)) in (0u16..).zip(conditions) {
            for exec in [false, true] {
                let op = Compare(isa::Compare { kind, condition: *condition, exec });
                let opcode = first + n + u16::from(exec) * 16;
                let x = if exec { "x" } else { "" };
                all.push((opcode, named(format!("v_cmp{x}_{name}_{suffix}")), op, operands));
                if float {
                    // Signals on quiet NaNs; without traps there is nothing to see of it.
                    all.push((
                        opcode + 64,
                        named(format!("v_cmps{x}_{name}_{suffix}")),
                        op,
                        operands,
                    ));
                }
            }
        }
    }
    for (opcode, kind, name, operands) in
        [(136, Class32, "f32", ":fb"), (168, Class64, "f64", ":db")]
    {
        for exec in [false, true] {
            let op = Compare(isa::Compare { kind, condition: C::True, exec });
            let x = if exec { "x" } else { "" };
            let opcode = opcode + u16::from(exec) * 16;
            all.push((opcode, named(format!("v_cmp{x}_class_{name}")), op, operands));
        }
    }
    all
}
