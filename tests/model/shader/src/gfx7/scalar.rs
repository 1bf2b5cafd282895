// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Scalar opcodes.

use super::Line;
use crate::isa::{
    Condition::{
        Equal,
        Greater,
        GreaterEqual,
        Less,
        LessEqual,
        LessGreater, //
    },
    Control as C,
    Flag,
    Format,
    Logic,
    Op::{
        self,
        Absent,
        Control,
        Scalar,
        ScalarCompare,
        ScalarMemory, //
    },
    Scalar as S,
    ScalarCompare as K,
    ScalarMemory as M,
    Width::{
        B32,
        B64, //
    }, //
};

pub(super) fn lines() -> Vec<(Format, Line)> {
    let tables: [(Format, &[Line]); 6] = [
        (Format::Sop1, SOP1),
        (Format::Sop2, SOP2),
        (Format::Sopk, SOPK),
        (Format::Sopc, SOPC),
        (Format::Sopp, SOPP),
        (Format::Smrd, SMRD),
    ];
    tables.iter().flat_map(|(format, lines)| lines.iter().map(|line| (*format, *line))).collect()
}

const fn save(logic: Logic) -> Op {
    Scalar(S::SaveExec(logic))
}

const SOP1: &[Line] = &[
    (3, "s_mov_b32", Scalar(S::Mov), "b:b"),
    (4, "s_mov_b64", Scalar(S::Mov), "q:q"),
    (5, "s_cmov_b32", Scalar(S::ConditionalMov), "b:b"),
    (6, "s_cmov_b64", Scalar(S::ConditionalMov), "q:q"),
    (7, "s_not_b32", Scalar(S::Not(B32)), "b:b"),
    (8, "s_not_b64", Scalar(S::Not(B64)), "q:q"),
    (9, "s_wqm_b32", Scalar(S::WholeQuad(B32)), "b:b"),
    (10, "s_wqm_b64", Scalar(S::WholeQuad(B64)), "q:q"),
    (11, "s_brev_b32", Scalar(S::Reverse(B32)), "b:b"),
    (12, "s_brev_b64", Scalar(S::Reverse(B64)), "q:q"),
    (13, "s_bcnt0_i32_b32", Scalar(S::CountZeros(B32)), "b:b"),
    (14, "s_bcnt0_i32_b64", Scalar(S::CountZeros(B64)), "b:q"),
    (15, "s_bcnt1_i32_b32", Scalar(S::CountOnes(B32)), "b:b"),
    (16, "s_bcnt1_i32_b64", Scalar(S::CountOnes(B64)), "b:q"),
    (17, "s_ff0_i32_b32", Scalar(S::FirstZero(B32)), "b:b"),
    (18, "s_ff0_i32_b64", Scalar(S::FirstZero(B64)), "b:q"),
    (19, "s_ff1_i32_b32", Scalar(S::FirstOne(B32)), "b:b"),
    (20, "s_ff1_i32_b64", Scalar(S::FirstOne(B64)), "b:q"),
    (21, "s_flbit_i32_b32", Scalar(S::LeadingBit(B32)), "b:b"),
    (22, "s_flbit_i32_b64", Scalar(S::LeadingBit(B64)), "b:q"),
    (23, "s_flbit_i32", Scalar(S::LeadingSign(B32)), "b:b"),
    (24, "s_flbit_i32_i64", Scalar(S::LeadingSign(B64)), "b:q"),
    (25, "s_sext_i32_i8", Scalar(S::SignExtend8), "b:b"),
    (26, "s_sext_i32_i16", Scalar(S::SignExtend16), "b:b"),
    (27, "s_bitset0_b32", Scalar(S::BitSet0(B32)), "b:b"),
    (28, "s_bitset0_b64", Scalar(S::BitSet0(B64)), "q:b"),
    (29, "s_bitset1_b32", Scalar(S::BitSet1(B32)), "b:b"),
    (30, "s_bitset1_b64", Scalar(S::BitSet1(B64)), "q:b"),
    (31, "s_getpc_b64", Scalar(S::GetPc), "q:"),
    (32, "s_setpc_b64", Scalar(S::SetPc), ":q"),
    (33, "s_swappc_b64", Scalar(S::SwapPc), "q:q"),
    (34, "s_rfe_b64", Absent, ":q"),
    (36, "s_and_saveexec_b64", save(Logic::And), "q:q"),
    (37, "s_or_saveexec_b64", save(Logic::Or), "q:q"),
    (38, "s_xor_saveexec_b64", save(Logic::Xor), "q:q"),
    (39, "s_andn2_saveexec_b64", save(Logic::AndNot), "q:q"),
    (40, "s_orn2_saveexec_b64", save(Logic::OrNot), "q:q"),
    (41, "s_nand_saveexec_b64", save(Logic::Nand), "q:q"),
    (42, "s_nor_saveexec_b64", save(Logic::Nor), "q:q"),
    (43, "s_xnor_saveexec_b64", save(Logic::Xnor), "q:q"),
    (44, "s_quadmask_b32", Scalar(S::QuadMask(B32)), "b:b"),
    (45, "s_quadmask_b64", Scalar(S::QuadMask(B64)), "q:q"),
    (46, "s_movrels_b32", Scalar(S::MovRelSource(B32)), "b:b"),
    (47, "s_movrels_b64", Scalar(S::MovRelSource(B64)), "q:q"),
    (48, "s_movreld_b32", Scalar(S::MovRelDest(B32)), "b:b"),
    (49, "s_movreld_b64", Scalar(S::MovRelDest(B64)), "q:q"),
    (50, "s_cbranch_join", Absent, ":b"),
    (52, "s_abs_i32", Scalar(S::Abs), "b:b"),
];

const fn logic(logic: Logic, width: crate::isa::Width) -> Op {
    Scalar(S::Logic(logic, width))
}

const SOP2: &[Line] = &[
    (0, "s_add_u32", Scalar(S::AddU32), "b:bb"),
    (1, "s_sub_u32", Scalar(S::SubU32), "b:bb"),
    (2, "s_add_i32", Scalar(S::AddI32), "b:bb"),
    (3, "s_sub_i32", Scalar(S::SubI32), "b:bb"),
    (4, "s_addc_u32", Scalar(S::AddCarry), "b:bb"),
    (5, "s_subb_u32", Scalar(S::SubBorrow), "b:bb"),
    (6, "s_min_i32", Scalar(S::MinI32), "b:bb"),
    (7, "s_min_u32", Scalar(S::MinU32), "b:bb"),
    (8, "s_max_i32", Scalar(S::MaxI32), "b:bb"),
    (9, "s_max_u32", Scalar(S::MaxU32), "b:bb"),
    (10, "s_cselect_b32", Scalar(S::Select), "b:bb"),
    (11, "s_cselect_b64", Scalar(S::Select), "q:qq"),
    (14, "s_and_b32", logic(Logic::And, B32), "b:bb"),
    (15, "s_and_b64", logic(Logic::And, B64), "q:qq"),
    (16, "s_or_b32", logic(Logic::Or, B32), "b:bb"),
    (17, "s_or_b64", logic(Logic::Or, B64), "q:qq"),
    (18, "s_xor_b32", logic(Logic::Xor, B32), "b:bb"),
    (19, "s_xor_b64", logic(Logic::Xor, B64), "q:qq"),
    (20, "s_andn2_b32", logic(Logic::AndNot, B32), "b:bb"),
    (21, "s_andn2_b64", logic(Logic::AndNot, B64), "q:qq"),
    (22, "s_orn2_b32", logic(Logic::OrNot, B32), "b:bb"),
    (23, "s_orn2_b64", logic(Logic::OrNot, B64), "q:qq"),
    (24, "s_nand_b32", logic(Logic::Nand, B32), "b:bb"),
    (25, "s_nand_b64", logic(Logic::Nand, B64), "q:qq"),
    (26, "s_nor_b32", logic(Logic::Nor, B32), "b:bb"),
    (27, "s_nor_b64", logic(Logic::Nor, B64), "q:qq"),
    (28, "s_xnor_b32", logic(Logic::Xnor, B32), "b:bb"),
    (29, "s_xnor_b64", logic(Logic::Xnor, B64), "q:qq"),
    (30, "s_lshl_b32", Scalar(S::ShiftLeft(B32)), "b:bb"),
    (31, "s_lshl_b64", Scalar(S::ShiftLeft(B64)), "q:qb"),
    (32, "s_lshr_b32", Scalar(S::ShiftRight(B32)), "b:bb"),
    (33, "s_lshr_b64", Scalar(S::ShiftRight(B64)), "q:qb"),
    (34, "s_ashr_i32", Scalar(S::ShiftRightSigned(B32)), "b:bb"),
    (35, "s_ashr_i64", Scalar(S::ShiftRightSigned(B64)), "q:qb"),
    (36, "s_bfm_b32", Scalar(S::FieldMask(B32)), "b:bb"),
    (37, "s_bfm_b64", Scalar(S::FieldMask(B64)), "q:bb"),
    (38, "s_mul_i32", Scalar(S::Mul), "b:bb"),
    (39, "s_bfe_u32", Scalar(S::ExtractUnsigned(B32)), "b:bb"),
    (40, "s_bfe_i32", Scalar(S::ExtractSigned(B32)), "b:bb"),
    (41, "s_bfe_u64", Scalar(S::ExtractUnsigned(B64)), "q:qb"),
    (42, "s_bfe_i64", Scalar(S::ExtractSigned(B64)), "q:qb"),
    (43, "s_cbranch_g_fork", Absent, ":qq"),
    (44, "s_absdiff_i32", Scalar(S::AbsDifference), "b:bb"),
];

const fn signed(condition: crate::isa::Condition) -> Op {
    ScalarCompare(K::Signed(condition))
}

const fn unsigned(condition: crate::isa::Condition) -> Op {
    ScalarCompare(K::Unsigned(condition))
}

const SOPK: &[Line] = &[
    (0, "s_movk_i32", Scalar(S::Mov), "b:"),
    (2, "s_cmovk_i32", Scalar(S::ConditionalMov), "b:"),
    (3, "s_cmpk_eq_i32", signed(Equal), "b:"),
    (4, "s_cmpk_lg_i32", signed(LessGreater), "b:"),
    (5, "s_cmpk_gt_i32", signed(Greater), "b:"),
    (6, "s_cmpk_ge_i32", signed(GreaterEqual), "b:"),
    (7, "s_cmpk_lt_i32", signed(Less), "b:"),
    (8, "s_cmpk_le_i32", signed(LessEqual), "b:"),
    (9, "s_cmpk_eq_u32", unsigned(Equal), "b:"),
    (10, "s_cmpk_lg_u32", unsigned(LessGreater), "b:"),
    (11, "s_cmpk_gt_u32", unsigned(Greater), "b:"),
    (12, "s_cmpk_ge_u32", unsigned(GreaterEqual), "b:"),
    (13, "s_cmpk_lt_u32", unsigned(Less), "b:"),
    (14, "s_cmpk_le_u32", unsigned(LessEqual), "b:"),
    (15, "s_addk_i32", Scalar(S::AddK), "b:"),
    (16, "s_mulk_i32", Scalar(S::MulK), "b:"),
    (17, "s_cbranch_i_fork", Absent, "q:"),
    (18, "s_getreg_b32", Scalar(S::GetReg), "b:"),
    (19, "s_setreg_b32", Scalar(S::SetReg), "b:"),
    (21, "s_setreg_imm32_b32", Scalar(S::SetRegImmediate), ":"),
];

const SOPC: &[Line] = &[
    (0, "s_cmp_eq_i32", signed(Equal), ":bb"),
    (1, "s_cmp_lg_i32", signed(LessGreater), ":bb"),
    (2, "s_cmp_gt_i32", signed(Greater), ":bb"),
    (3, "s_cmp_ge_i32", signed(GreaterEqual), ":bb"),
    (4, "s_cmp_lt_i32", signed(Less), ":bb"),
    (5, "s_cmp_le_i32", signed(LessEqual), ":bb"),
    (6, "s_cmp_eq_u32", unsigned(Equal), ":bb"),
    (7, "s_cmp_lg_u32", unsigned(LessGreater), ":bb"),
    (8, "s_cmp_gt_u32", unsigned(Greater), ":bb"),
    (9, "s_cmp_ge_u32", unsigned(GreaterEqual), ":bb"),
    (10, "s_cmp_lt_u32", unsigned(Less), ":bb"),
    (11, "s_cmp_le_u32", unsigned(LessEqual), ":bb"),
    (12, "s_bitcmp0_b32", ScalarCompare(K::BitClear(B32)), ":bb"),
    (13, "s_bitcmp1_b32", ScalarCompare(K::BitSet(B32)), ":bb"),
    (14, "s_bitcmp0_b64", ScalarCompare(K::BitClear(B64)), ":qb"),
    (15, "s_bitcmp1_b64", ScalarCompare(K::BitSet(B64)), ":qb"),
    (16, "s_setvskip", Absent, ":bb"),
];

const SOPP: &[Line] = &[
    (0, "s_nop", Control(C::Nothing), ""),
    (1, "s_endpgm", Control(C::End), ""),
    (2, "s_branch", Control(C::Branch), ""),
    (4, "s_cbranch_scc0", Control(C::BranchIf(Flag::Scc, false)), ""),
    (5, "s_cbranch_scc1", Control(C::BranchIf(Flag::Scc, true)), ""),
    (6, "s_cbranch_vccz", Control(C::BranchIf(Flag::VccZero, true)), ""),
    (7, "s_cbranch_vccnz", Control(C::BranchIf(Flag::VccZero, false)), ""),
    (8, "s_cbranch_execz", Control(C::BranchIf(Flag::ExecZero, true)), ""),
    (9, "s_cbranch_execnz", Control(C::BranchIf(Flag::ExecZero, false)), ""),
    (10, "s_barrier", Control(C::Barrier), ""),
    (12, "s_waitcnt", Control(C::WaitCount), ""),
    (13, "s_sethalt", Absent, ""),
    (14, "s_sleep", Control(C::Nothing), ""),
    (15, "s_setprio", Control(C::Nothing), ""),
    (16, "s_sendmsg", Absent, ""),
    (17, "s_sendmsghalt", Absent, ""),
    (18, "s_trap", Absent, ""),
    (19, "s_icache_inv", Absent, ""),
    (20, "s_incperflevel", Control(C::Nothing), ""),
    (21, "s_decperflevel", Control(C::Nothing), ""),
    (22, "s_ttracedata", Control(C::Nothing), ""),
    (23, "s_cbranch_cdbgsys", Absent, ""),
    (24, "s_cbranch_cdbguser", Absent, ""),
    (25, "s_cbranch_cdbgsys_or_user", Absent, ""),
    (26, "s_cbranch_cdbgsys_and_user", Absent, ""),
];

const SMRD: &[Line] = &[
    (0, "s_load_dword", ScalarMemory(M::Load(1)), ""),
    (1, "s_load_dwordx2", ScalarMemory(M::Load(2)), ""),
    (2, "s_load_dwordx4", ScalarMemory(M::Load(4)), ""),
    (3, "s_load_dwordx8", ScalarMemory(M::Load(8)), ""),
    (4, "s_load_dwordx16", ScalarMemory(M::Load(16)), ""),
    (8, "s_buffer_load_dword", ScalarMemory(M::BufferLoad(1)), ""),
    (9, "s_buffer_load_dwordx2", ScalarMemory(M::BufferLoad(2)), ""),
    (10, "s_buffer_load_dwordx4", ScalarMemory(M::BufferLoad(4)), ""),
    (11, "s_buffer_load_dwordx8", ScalarMemory(M::BufferLoad(8)), ""),
    (12, "s_buffer_load_dwordx16", ScalarMemory(M::BufferLoad(16)), ""),
    (29, "s_dcache_inv_vol", ScalarMemory(M::Invalidate), ""),
    (30, "s_memtime", ScalarMemory(M::Time), ""),
    (31, "s_dcache_inv", ScalarMemory(M::Invalidate), ""),
];
