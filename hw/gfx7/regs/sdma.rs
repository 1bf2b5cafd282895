// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The two DMA engines (OSS 2.0). Each register exists once for each engine.
//!
//! The C driver has them in oss_2_0_d.h.

use kernel::io::{
    register,
    register::RegisterBase, //
};

/// The family of registers that each engine has.
pub(crate) struct SdmaBase;

/// The first engine.
pub(crate) struct Sdma0;

/// The second engine.
pub(crate) struct Sdma1;

impl RegisterBase<SdmaBase> for Sdma0 {
    const BASE: usize = 0x0d000;
}

impl RegisterBase<SdmaBase> for Sdma1 {
    const BASE: usize = 0x0d800;
}

// Microcode and control

register! {
    pub(crate) SDMA0_UCODE_ADDR(u32) @ SdmaBase + 0x000 {}

    pub(crate) SDMA0_UCODE_DATA(u32) @ SdmaBase + 0x004 {}

    pub(crate) SDMA0_POWER_CNTL(u32) @ SdmaBase + 0x008 {
        8:8 mem_power_override => bool;
    }

    pub(crate) SDMA0_CLK_CTRL(u32) @ SdmaBase + 0x00c {
        11:4 off_hysteresis;
    }

    pub(crate) SDMA0_CNTL(u32) @ SdmaBase + 0x010 {
        0:0 trap_enable => bool;
        18:18 auto_ctxsw_enable => bool;
    }

    pub(crate) SDMA0_TILING_CONFIG(u32) @ SdmaBase + 0x018 {}

    pub(crate) SDMA0_SEM_INCOMPLETE_TIMER_CNTL(u32) @ SdmaBase + 0x020 {}

    pub(crate) SDMA0_SEM_WAIT_FAIL_TIMER_CNTL(u32) @ SdmaBase + 0x024 {}

    pub(crate) SDMA0_STATUS_REG(u32) @ SdmaBase + 0x034 {}

    pub(crate) SDMA0_F32_CNTL(u32) @ SdmaBase + 0x048 {
        0:0 halt => bool;
    }

    /// Time for which a context may run before another gets its turn.
    pub(crate) SDMA0_PHASE0_QUANTUM(u32) @ SdmaBase + 0x050 {
        3:0 unit;
        23:8 value;
    }

    pub(crate) SDMA0_PHASE1_QUANTUM(u32) @ SdmaBase + 0x054 {
        3:0 unit;
        23:8 value;
    }
}

// The ring

register! {
    pub(crate) SDMA0_GFX_RB_CNTL(u32) @ SdmaBase + 0x200 {
        0:0 rb_enable => bool;
        5:1 rb_size;
        12:12 rptr_writeback_enable => bool;
    }

    /// Address of the ring in units of 256 bytes.
    pub(crate) SDMA0_GFX_RB_BASE(u32) @ SdmaBase + 0x204 {}

    pub(crate) SDMA0_GFX_RB_BASE_HI(u32) @ SdmaBase + 0x208 {}

    /// Pointers are in bytes.
    pub(crate) SDMA0_GFX_RB_RPTR(u32) @ SdmaBase + 0x20c {}

    pub(crate) SDMA0_GFX_RB_WPTR(u32) @ SdmaBase + 0x210 {}

    pub(crate) SDMA0_GFX_RB_RPTR_ADDR_HI(u32) @ SdmaBase + 0x220 {}

    pub(crate) SDMA0_GFX_RB_RPTR_ADDR_LO(u32) @ SdmaBase + 0x224 {}
}

// Called buffers

register! {
    pub(crate) SDMA0_GFX_IB_CNTL(u32) @ SdmaBase + 0x228 {
        0:0 ib_enable => bool;
    }

    pub(crate) SDMA0_GFX_IB_RPTR(u32) @ SdmaBase + 0x22c {}

    pub(crate) SDMA0_GFX_IB_OFFSET(u32) @ SdmaBase + 0x230 {}

    pub(crate) SDMA0_GFX_IB_BASE_LO(u32) @ SdmaBase + 0x234 {}

    pub(crate) SDMA0_GFX_IB_BASE_HI(u32) @ SdmaBase + 0x238 {}

    pub(crate) SDMA0_GFX_IB_SIZE(u32) @ SdmaBase + 0x23c {}
}

// What each virtual memory context has (SRBM_GFX_CNTL chooses)

register! {
    pub(crate) SDMA0_GFX_VIRTUAL_ADDR(u32) @ SdmaBase + 0x29c {}

    pub(crate) SDMA0_GFX_APE1_CNTL(u32) @ SdmaBase + 0x2a0 {}
}
