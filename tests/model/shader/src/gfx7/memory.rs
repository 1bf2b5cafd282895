// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Opcodes of the local data share, buffers, flat addresses and images.

use super::{
    Line,
    named, //
};
use crate::isa::{
    Access as A,
    Atomic as T,
    Element::{
        Dwords,
        I8,
        I16,
        U8,
        U16, //
    },
    Format,
    Image as I,
    Lds as D,
    Level,
    Op::{
        self,
        Absent,
        Image,
        Lds,
        Memory, //
    },
    Sample,
    Width::{
        self,
        B32,
        B64, //
    }, //
};

pub(super) fn lines() -> Vec<(Format, Line)> {
    let mut all = vec![];
    all.extend(DS.iter().copied().chain(ds_atomics()).map(|line| (Format::Ds, line)));
    all.extend(buffers("buffer").into_iter().map(|line| (Format::Mubuf, line)));
    all.extend(MUBUF.iter().map(|line| (Format::Mubuf, *line)));
    all.extend(buffers("flat").into_iter().map(|line| (Format::Flat, line)));
    all.extend(MTBUF.iter().map(|line| (Format::Mtbuf, *line)));
    all.extend(images().into_iter().map(|line| (Format::Mimg, line)));
    all
}

const DS: &[Line] = &[
    (13, "ds_write_b32", Lds(D::Write(Dwords(1))), ""),
    (14, "ds_write2_b32", Lds(D::Write2(B32, 1)), ""),
    (15, "ds_write2st64_b32", Lds(D::Write2(B32, 64)), ""),
    (20, "ds_nop", Lds(D::Nothing), ""),
    (24, "ds_gws_sema_release_all", Absent, ""),
    (25, "ds_gws_init", Absent, ""),
    (26, "ds_gws_sema_v", Absent, ""),
    (27, "ds_gws_sema_br", Absent, ""),
    (28, "ds_gws_sema_p", Absent, ""),
    (29, "ds_gws_barrier", Absent, ""),
    (30, "ds_write_b8", Lds(D::Write(U8)), ""),
    (31, "ds_write_b16", Lds(D::Write(U16)), ""),
    (46, "ds_wrxchg2_rtn_b32", Absent, ""),
    (47, "ds_wrxchg2st64_rtn_b32", Absent, ""),
    (52, "ds_wrap_rtn_b32", Absent, ""),
    (53, "ds_swizzle_b32", Lds(D::Swizzle), ""),
    (54, "ds_read_b32", Lds(D::Read(Dwords(1))), ""),
    (55, "ds_read2_b32", Lds(D::Read2(B32, 1)), ""),
    (56, "ds_read2st64_b32", Lds(D::Read2(B32, 64)), ""),
    (57, "ds_read_i8", Lds(D::Read(I8)), ""),
    (58, "ds_read_u8", Lds(D::Read(U8)), ""),
    (59, "ds_read_i16", Lds(D::Read(I16)), ""),
    (60, "ds_read_u16", Lds(D::Read(U16)), ""),
    (61, "ds_consume", Lds(D::Consume), ""),
    (62, "ds_append", Lds(D::Append), ""),
    (63, "ds_ordered_count", Absent, ""),
    (77, "ds_write_b64", Lds(D::Write(Dwords(2))), ""),
    (78, "ds_write2_b64", Lds(D::Write2(B64, 1)), ""),
    (79, "ds_write2st64_b64", Lds(D::Write2(B64, 64)), ""),
    (110, "ds_wrxchg2_rtn_b64", Absent, ""),
    (111, "ds_wrxchg2st64_rtn_b64", Absent, ""),
    (118, "ds_read_b64", Lds(D::Read(Dwords(2))), ""),
    (119, "ds_read2_b64", Lds(D::Read2(B64, 1)), ""),
    (120, "ds_read2st64_b64", Lds(D::Read2(B64, 64)), ""),
    (126, "ds_condxchg32_rtn_b64", Absent, ""),
    (222, "ds_write_b96", Lds(D::Write(Dwords(3))), ""),
    (223, "ds_write_b128", Lds(D::Write(Dwords(4))), ""),
    (254, "ds_read_b96", Lds(D::Read(Dwords(3))), ""),
    (255, "ds_read_b128", Lds(D::Read(Dwords(4))), ""),
];

/// Atomics of the local data share: opcode, name before and after the width, operation. The form
/// that returns is 32 above, 64 bits 64 above.
const DS_ATOMICS: &[(u16, &str, &str, T)] = &[
    (0, "add", "u", T::Add),
    (1, "sub", "u", T::Sub),
    (2, "rsub", "u", T::ReverseSub),
    (3, "inc", "u", T::Increment),
    (4, "dec", "u", T::Decrement),
    (5, "min", "i", T::MinSigned),
    (6, "max", "i", T::MaxSigned),
    (7, "min", "u", T::MinUnsigned),
    (8, "max", "u", T::MaxUnsigned),
    (9, "and", "b", T::And),
    (10, "or", "b", T::Or),
    (11, "xor", "b", T::Xor),
    (12, "mskor", "b", T::MaskOr),
    (16, "cmpst", "b", T::CompareSwap),
    (17, "cmpst", "f", T::FloatCompareSwap),
    (18, "min", "f", T::FloatMin),
    (19, "max", "f", T::FloatMax),
];

fn ds_atomics() -> Vec<Line> {
    let mut all = vec![];
    for (width, bits, above) in [(B32, 32, 0), (B64, 64, 64)] {
        for &(opcode, name, letter, op) in DS_ATOMICS {
            for (returns, rtn, more) in [(false, "", 0), (true, "_rtn", 32)] {
                let name = named(format!("ds_{name}{rtn}_{letter}{bits}"));
                all.push((opcode + above + more, name, Lds(D::Atomic { op, width, returns }), ""));
            }
        }
        let exchange = D::Atomic { op: T::Swap, width, returns: true };
        all.push((45 + above, named(format!("ds_wrxchg_rtn_b{bits}")), Lds(exchange), ""));
    }
    all
}

/// Instructions that buffers alone have.
const MUBUF: &[Line] = &[
    (0, "buffer_load_format_x", Memory(A::LoadFormat(1)), ""),
    (1, "buffer_load_format_xy", Memory(A::LoadFormat(2)), ""),
    (2, "buffer_load_format_xyz", Memory(A::LoadFormat(3)), ""),
    (3, "buffer_load_format_xyzw", Memory(A::LoadFormat(4)), ""),
    (4, "buffer_store_format_x", Memory(A::StoreFormat(1)), ""),
    (5, "buffer_store_format_xy", Memory(A::StoreFormat(2)), ""),
    (6, "buffer_store_format_xyz", Memory(A::StoreFormat(3)), ""),
    (7, "buffer_store_format_xyzw", Memory(A::StoreFormat(4)), ""),
    (112, "buffer_wbinvl1_vol", Memory(A::Invalidate), ""),
    (113, "buffer_wbinvl1", Memory(A::Invalidate), ""),
];

const MTBUF: &[Line] = &[
    (0, "tbuffer_load_format_x", Memory(A::LoadFormat(1)), ""),
    (1, "tbuffer_load_format_xy", Memory(A::LoadFormat(2)), ""),
    (2, "tbuffer_load_format_xyz", Memory(A::LoadFormat(3)), ""),
    (3, "tbuffer_load_format_xyzw", Memory(A::LoadFormat(4)), ""),
    (4, "tbuffer_store_format_x", Memory(A::StoreFormat(1)), ""),
    (5, "tbuffer_store_format_xy", Memory(A::StoreFormat(2)), ""),
    (6, "tbuffer_store_format_xyz", Memory(A::StoreFormat(3)), ""),
    (7, "tbuffer_store_format_xyzw", Memory(A::StoreFormat(4)), ""),
];

/// Loads and stores that buffers and flat addresses have alike.
const ACCESSES: &[(u16, &str, A)] = &[
    (8, "load_ubyte", A::Load(U8)),
    (9, "load_sbyte", A::Load(I8)),
    (10, "load_ushort", A::Load(U16)),
    (11, "load_sshort", A::Load(I16)),
    (12, "load_dword", A::Load(Dwords(1))),
    (13, "load_dwordx2", A::Load(Dwords(2))),
    (14, "load_dwordx4", A::Load(Dwords(4))),
    (15, "load_dwordx3", A::Load(Dwords(3))),
    (24, "store_byte", A::Store(U8)),
    (26, "store_short", A::Store(U16)),
    (28, "store_dword", A::Store(Dwords(1))),
    (29, "store_dwordx2", A::Store(Dwords(2))),
    (30, "store_dwordx4", A::Store(Dwords(4))),
    (31, "store_dwordx3", A::Store(Dwords(3))),
];

/// Atomics that they have alike; images too, 33 below.
const ATOMICS: &[(u16, &str, T)] = &[
    (48, "swap", T::Swap),
    (49, "cmpswap", T::CompareSwap),
    (50, "add", T::Add),
    (51, "sub", T::Sub),
    (53, "smin", T::MinSigned),
    (54, "umin", T::MinUnsigned),
    (55, "smax", T::MaxSigned),
    (56, "umax", T::MaxUnsigned),
    (57, "and", T::And),
    (58, "or", T::Or),
    (59, "xor", T::Xor),
    (60, "inc", T::Increment),
    (61, "dec", T::Decrement),
    (62, "fcmpswap", T::FloatCompareSwap),
    (63, "fmin", T::FloatMin),
    (64, "fmax", T::FloatMax),
];

fn buffers(prefix: &str) -> Vec<Line> {
    let mut all = vec![];
    for &(opcode, name, access) in ACCESSES {
        all.push((opcode, named(format!("{prefix}_{name}")), Memory(access), ""));
    }
    for (width, suffix, above) in [(B32, "", 0), (B64, "_x2", 32)] {
        for &(opcode, name, op) in ATOMICS {
            let name = named(format!("{prefix}_atomic_{name}{suffix}"));
            all.push((opcode + above, name, Memory(A::Atomic(op, width)), ""));
        }
    }
    all
}

const IMAGES: &[(u16, &str, Op)] = &[
    (0, "load", Image(I::Load { mip: false })),
    (1, "load_mip", Image(I::Load { mip: true })),
    (2, "load_pck", Absent),
    (3, "load_pck_sgn", Absent),
    (4, "load_mip_pck", Absent),
    (5, "load_mip_pck_sgn", Absent),
    (8, "store", Image(I::Store { mip: false })),
    (9, "store_mip", Image(I::Store { mip: true })),
    (10, "store_pck", Absent),
    (11, "store_mip_pck", Absent),
    (14, "get_resinfo", Image(I::Resource)),
    (96, "get_lod", Image(I::Lod)),
];

/// Ways to choose the level, by the low three bits of a sampling opcode, with and without clamp.
const LEVELS: [(&str, Level, bool); 8] = [
    ("", Level::Implicit, false),
    ("_cl", Level::Implicit, true),
    ("_d", Level::Derivative, false),
    ("_d_cl", Level::Derivative, true),
    ("_l", Level::Given, false),
    ("_b", Level::Bias, false),
    ("_b_cl", Level::Bias, true),
    ("_lz", Level::Zero, false),
];

fn images() -> Vec<Line> {
    let mut all: Vec<Line> = vec![];
    all.extend(
        IMAGES.iter().map(|&(opcode, name, op)| (opcode, named(format!("image_{name}")), op, "")),
    );
    for &(opcode, name, op) in ATOMICS {
        all.push((opcode - 33, named(format!("image_atomic_{name}")), Image(I::Atomic(op)), ""));
    }
    for n in 0..32u16 {
        let (suffix, level, clamp) = LEVELS[usize::from(n % 8)];
        let (compare, offset) = (n & 8 != 0, n & 16 != 0);
        let with = Sample { compare, offset, level, clamp };
        let (c, o) = (if compare { "_c" } else { "" }, if offset { "_o" } else { "" });
        all.push((
            32 + n,
            named(format!("image_sample{c}{suffix}{o}")),
            Image(I::Sample(with)),
            "",
        ));
        if level != Level::Derivative {
            all.push((
                64 + n,
                named(format!("image_gather4{c}{suffix}{o}")),
                Image(I::Gather(with)),
                "",
            ));
        }
    }
    // Derivatives in coarse precision: sample_cd, at 104, in the order of sample_d.
    for n in 0..8u16 {
        let (cl, c, o) = (n & 1 != 0, n & 2 != 0, n & 4 != 0);
        let name = format!(
            "image_sample{}_cd{}{}",
            if c { "_c" } else { "" },
            if cl { "_cl" } else { "" },
            if o { "_o" } else { "" }
        );
        let with = Sample { compare: c, offset: o, level: Level::Derivative, clamp: cl };
        all.push((104 + n, named(name), Image(I::Sample(with)), ""));
    }
    all
}

/// Width of an atomic's operand, in registers.
pub(super) fn width_dwords(width: Width) -> u16 {
    match width {
        B32 => 1,
        B64 => 2,
    }
}
