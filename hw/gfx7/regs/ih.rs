// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupt handler ring (OSS 2.0).
//!
//! The C driver has them in oss_2_0_d.h and bif_4_1_d.h.

use kernel::io::register;

// The ring

register! {
    pub(crate) IH_RB_CNTL(u32) @ 0x03e00 {
        0:0 rb_enable => bool;
        5:1 rb_size;
        8:8 wptr_writeback_enable => bool;
        16:16 wptr_overflow_enable => bool;
        31:31 wptr_overflow_clear => bool;
    }

    /// Address of the ring in units of 256 bytes.
    pub(crate) IH_RB_BASE(u32) @ 0x03e04 {}

    pub(crate) IH_RB_RPTR(u32) @ 0x03e08 {}

    pub(crate) IH_RB_WPTR(u32) @ 0x03e0c {}

    pub(crate) IH_RB_WPTR_ADDR_HI(u32) @ 0x03e10 {}

    pub(crate) IH_RB_WPTR_ADDR_LO(u32) @ 0x03e14 {}

    pub(crate) IH_CNTL(u32) @ 0x03e18 {
        0:0 enable_intr => bool;
        4:4 rptr_rearm => bool;
        19:15 mc_wrreq_credit;
        24:20 mc_wr_clean_cnt;
        28:25 mc_vmid;
    }
}

// Who interrupted: the process behind a virtual memory context

register! {
    pub(crate) IH_VMID_LUT(u32)[16] @ 0x03d40 {
        15:0 pasid;
    }
}

// The host's side

register! {
    pub(crate) INTERRUPT_CNTL(u32) @ 0x05468 {
        0:0 ih_dummy_rd_override => bool;
        3:3 ih_req_nonsnoop_en => bool;
    }

    pub(crate) INTERRUPT_CNTL2(u32) @ 0x0546c {}
}
