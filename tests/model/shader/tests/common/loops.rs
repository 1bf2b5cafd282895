// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Loops whose speed is measured.

/// A loop of vector and scalar arithmetic, as in the inner loops of a matrix product.
pub const ARITHMETIC: &[u32] = &[
    0xb00403e8, // s_movk_i32 s4, 0x3e8
    0x7e020d00, // v_cvt_f32_u32_e32 v1, v0
    0x7e0402f0, // v_mov_b32_e32 v2, 0.5
    0x7e060282, // v_mov_b32_e32 v3, 2
    0x7e0802f2, // v_mov_b32_e32 v4, 1.0
    0xbe86047e, // s_mov_b64 s[6:7], exec
    0xd2820004, 0x04120501, // v_mad_f32 v4, v1, v2, v4
    0x060a0304, // v_add_f32_e32 v5, v4, v1
    0x100c0af0, // v_mul_f32_e32 v6, 0.5, v5
    0x200e0906, // v_max_f32_e32 v7, v6, v4
    0x4a100700, // v_add_i32_e32 v8, vcc, v0, v3
    0x34121082, // v_lshlrev_b32_e32 v9, 2, v8
    0x361412ff, 0x0000ffff, // v_and_b32_e32 v10, 0xffff, v9
    0xd2d2000b, 0x0002110a, // v_mul_lo_u32 v11, v10, v8
    0x7c020f06, // v_cmp_lt_f32_e32 vcc, v6, v7
    0x00180d05, // v_cndmask_b32_e32 v12, v5, v6, vcc
    0xd286000d, 0x042a1308, // v_mad_u32_u24 v13, v8, v9, v10
    0x80058104, // s_add_u32 s5, s4, 1
    0x8f058205, // s_lshl_b32 s5, s5, 2
    0x3e080d02, // v_mac_f32_e32 v4, v2, v6
    0x80848104, // s_sub_u32 s4, s4, 1
    0xbf078004, // s_cmp_lg_u32 s4, 0
    0xbf85ffeb, // s_cbranch_scc1 -21
    0xbf810000, // s_endpgm
];

/// A loop of loads through a buffer descriptor and the local data share; s[8:11] is the descriptor.
pub const MEMORY: &[u32] = &[
    0xb00400c8, // s_movk_i32 s4, 0xc8
    0x34000082, // v_lshlrev_b32_e32 v0, 2, v0
    0x8f0d880c, // s_lshl_b32 s13, s12, 8
    0x7e080280, // v_mov_b32_e32 v4, 0
    0xe0301000, 0x0d020100, // buffer_load_dword v1, v0, s[8:11], s13 offen
    0xe0301100, 0x0d020200, // buffer_load_dword v2, v0, s[8:11], s13 offen offset:256
    0xbf8c0f71, // s_waitcnt vmcnt(1)
    0x06080901, // v_add_f32_e32 v4, v1, v4
    0xbf8c0f70, // s_waitcnt vmcnt(0)
    0xd2820004, 0x04120501, // v_mad_f32 v4, v1, v2, v4
    0xd8340000, 0x00000400, // ds_write_b32 v0, v4
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    0xd8d80000, 0x05000000, // ds_read_b32 v5, v0
    0x80848104, // s_sub_u32 s4, s4, 1
    0xbf078004, // s_cmp_lg_u32 s4, 0
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    0x06080b04, // v_add_f32_e32 v4, v4, v5
    0xbf85ffed, // s_cbranch_scc1 -19
    0xe0701000, 0x0d020400, // buffer_store_dword v4, v0, s[8:11], s13 offen
    0xbf810000, // s_endpgm
];
