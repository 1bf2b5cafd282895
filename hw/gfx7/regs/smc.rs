// SPDX-License-Identifier: GPL-2.0 OR MIT

//! System management controller (SMU 7.0.1). Offsets are addresses behind `SMC_IND_INDEX_0`.
//!
//! The C driver has them in smu_7_0_1_d.h.

use kernel::io::register;

// The power controller

register! {
    pub(crate) SMC_SYSCON_CLOCK_CNTL_0(u32) @ 0x80000004 {}

    pub(crate) SMC_PC_C(u32) @ 0x80000370 {}

    pub(crate) GENERAL_PWRMGT(u32) @ 0xc0200000 {
        2:2 thermal_protection_dis => bool;
    }
}

// Heat and fan

register! {
    /// Temperatures in degrees Celsius.
    pub(crate) CG_MULT_THERMAL_STATUS(u32) @ 0xc0300014 {
        17:9 ctf_temp;
    }

    pub(crate) CG_FDO_CTRL0(u32) @ 0xc0300064 {}

    pub(crate) CG_FDO_CTRL1(u32) @ 0xc0300068 {}

    pub(crate) CG_FDO_CTRL2(u32) @ 0xc030006c {}

    pub(crate) CG_TACH_STATUS(u32) @ 0xc0300074 {}
}

// Clocks

register! {
    pub(crate) CG_SPLL_FUNC_CNTL(u32) @ 0xc0500140 {}

    pub(crate) CG_SPLL_FUNC_CNTL_3(u32) @ 0xc0500148 {}

    pub(crate) CG_CLKPIN_CNTL(u32) @ 0xc05001a0 {
        1:1 xtalin_divide => bool;
    }
}

// The ROM, dword by dword

register! {
    pub(crate) ROM_INDEX(u32) @ 0xc0600010 {}

    pub(crate) ROM_DATA(u32) @ 0xc0600014 {}
}
