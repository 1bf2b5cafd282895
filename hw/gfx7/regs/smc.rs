// SPDX-License-Identifier: GPL-2.0 OR MIT

//! System management controller (SMU 7.0.1). Offsets are addresses behind `SMC_IND_INDEX_0`.

use kernel::io::register;

// The power controller

register! {
    pub(crate) SMC_SYSCON_CLOCK_CNTL_0(u32) @ 0x80000004 {}

    pub(crate) SMC_PC_C(u32) @ 0x80000370 {}

    pub(crate) GENERAL_PWRMGT(u32) @ 0xc0200000 {
        2:2 thermal_protection_dis => bool;
    }
}

// Clocks

register! {
    pub(crate) CG_CLKPIN_CNTL(u32) @ 0xc05001a0 {
        1:1 xtalin_divide => bool;
    }
}
