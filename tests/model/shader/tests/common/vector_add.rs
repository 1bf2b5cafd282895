// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A vector add, as the tests of the core and those of dispatches run it.

/// out[i] = a[i] + b[i]; s[0:1] leads to the three addresses, s2 is the group's number.
pub const VECTOR_ADD: &[u32] = &[
    0xc0420100, // s_load_dwordx2 s[4:5], s[0:1], 0x0
    0xc0430102, // s_load_dwordx2 s[6:7], s[0:1], 0x2
    0xc0440104, // s_load_dwordx2 s[8:9], s[0:1], 0x4
    0x8f038602, // s_lshl_b32 s3, s2, 6
    0x4a000003, // v_add_i32_e32 v0, vcc, s3, v0
    0x34000082, // v_lshlrev_b32_e32 v0, 2, v0
    0xbf8c007f, // s_waitcnt lgkmcnt(0)
    0x7e040205, // v_mov_b32_e32 v2, s5
    0x4a020004, // v_add_i32_e32 v1, vcc, s4, v0
    0x50040480, // v_addc_u32_e32 v2, vcc, 0, v2, vcc
    0x7e080207, // v_mov_b32_e32 v4, s7
    0x4a060006, // v_add_i32_e32 v3, vcc, s6, v0
    0x50080880, // v_addc_u32_e32 v4, vcc, 0, v4, vcc
    0xdc300000, 0x01000001, // flat_load_dword v1, v[1:2]
    0xdc300000, 0x03000003, // flat_load_dword v3, v[3:4]
    0x7e0c0209, // v_mov_b32_e32 v6, s9
    0x4a0a0008, // v_add_i32_e32 v5, vcc, s8, v0
    0x500c0c80, // v_addc_u32_e32 v6, vcc, 0, v6, vcc
    0xbf8c0070, // s_waitcnt vmcnt(0) lgkmcnt(0)
    0x06020701, // v_add_f32_e32 v1, v1, v3
    0xdc700000, 0x00000105, // flat_store_dword v[5:6], v1
    0xbf810000, // s_endpgm
];
